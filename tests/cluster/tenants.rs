//! Tenants: what the hub cannot know of a kind the spoke judges by the grant once more, and applies as whom the grant says.

use harness::fleet::documents::{app_with, config_map, placement};
use harness::git::Repository;

use crate::stage::{LIMIT, Stage, Witness};

const FLEET: &str = "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: fra-1}\nspec: {set: shared}\n---\n\
apiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: shared}\n";

/// A kind without namespaces that no program knows from home.
const WIDGETS: &str = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\n\
spec:\n  group: example.com\n  scope: Cluster\n  names: {kind: Widget, plural: widgets, singular: widget}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n";

const RIGHTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: team-a-web}\n---\n\
apiVersion: v1\nkind: Namespace\nmetadata: {name: platform}\n---\n\
apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: team-a, namespace: platform}\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: team-a, namespace: team-a-web}\n\
rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, create, patch, delete]}]\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: team-a, namespace: team-a-web}\n\
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: team-a}\n\
subjects: [{kind: ServiceAccount, name: team-a, namespace: platform}]\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: widgets}\n\
rules: [{apiGroups: [example.com], resources: [widgets], verbs: [get, list, create, patch, delete]}]\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: widgets}\n\
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: widgets}\n\
subjects: [{kind: ServiceAccount, name: team-a, namespace: platform}]\n";

#[tokio::test]
async fn a_spoke_refuses_what_is_not_granted_and_applies_the_rest_as_the_grants_service_account() {
    let own = Repository::with(
        "team-a",
        &[
            (
                "web.yaml",
                // Whatever the app says, it is applied as the grant says.
                &app_with("web", "  serviceAccount: kube-system/admin\n")
                    .replace("namespace: {name: web}", "namespace: {name: team-a-web, create: false}"),
            ),
            ("manifests/web/web.yaml", &config_map("web", "one")),
            ("manifests/web/widget.yaml", "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\n"),
            ("placement.yaml", &placement("web", &["web"], "{selector: {}}")),
        ],
    )
    .unwrap();
    let server = own.serve().unwrap();
    let tenant = |more: &str| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Catalog\nmetadata: {{name: team-a}}\nspec:\n  git: {{url: '{}', branch: main}}\n  grants: [{{sets: [shared], namespaces: [\"team-a-*\"], serviceAccount: platform/team-a{more}}}]\n",
            server.url()
        )
    };
    let stage = Stage::start(&[], &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    fra.apply(WIDGETS).await.unwrap();
    fra.apply(RIGHTS).await.unwrap();
    catalog.write("fleet.yaml", FLEET).unwrap();
    catalog.write("team-a.yaml", &tenant("")).unwrap();
    catalog.commit("Add a tenant").unwrap();

    let entry =
        stage.shown("what is not granted is named", "team-a/web", |entry| entry["reason"] == "Denied").await;
    let said = entry.to_string();
    assert!(
        said.contains("kind Widget.example.com without a namespace is not granted to catalog team-a"),
        "{said}"
    );
    assert_eq!(fra.config_map("team-a-web/web").await.unwrap(), "one", "the rest is applied");
    assert!(!fra.has("default", "widget/w").await);

    catalog.write("team-a.yaml", &tenant(", clusterScoped: [Widget.example.com]")).unwrap();
    catalog.commit("Grant widgets").unwrap();
    stage.shown("all of it is applied", "team-a/web", |entry| entry["phase"] == "Converged").await;
    assert!(fra.has("default", "widget/w").await);

    // What is granted the service account may still not.
    own.write("manifests/web/account.yaml", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: more}\n")
        .unwrap();
    own.commit("Reach for more").unwrap();
    let entry =
        stage.shown("who may not is named", "team-a/web", |entry| entry["reason"] == "Forbidden").await;
    assert!(entry.to_string().contains("system:serviceaccount:platform:team-a"), "{entry:#}");
    own.remove("manifests/web/account.yaml").unwrap();

    // Removed from its catalog it goes, as the same.
    own.remove("manifests/web/widget.yaml").unwrap();
    own.commit("No widget").unwrap();
    harness::wait::until("it is pruned", LIMIT, async || {
        anyhow::ensure!(!fra.has("default", "widget/w").await, "still there");
        Ok(())
    })
    .await;
}
