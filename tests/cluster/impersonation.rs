//! Impersonation: an app does what its service account may do, and is removed as the same.

use harness::fleet::documents::{app_with, config_map, placement};

use crate::stage::{LIMIT, Stage, Witness};

const RIGHTS: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: web}\n---\n\
apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: deployer, namespace: web}\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: deployer, namespace: web}\n\
rules: [{apiGroups: [\"\"], resources: [configmaps], verbs: [get, list, create, patch, delete]}]\n---\n\
apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: deployer, namespace: web}\n\
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: deployer}\n\
subjects: [{kind: ServiceAccount, name: deployer, namespace: web}]\n";

#[tokio::test]
async fn an_app_is_applied_and_removed_as_its_service_account() {
    let stage = Stage::start(&[], &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    fra.apply(RIGHTS).await.unwrap();
    catalog
        .write(
            "web.yaml",
            &app_with("web", "  serviceAccount: deployer\n")
                .replace("namespace: {name: web}", "namespace: {name: web, create: false}"),
        )
        .unwrap();
    catalog.write("manifests/web/web.yaml", &config_map("web", "ours")).unwrap();
    catalog.write("manifests/web/more.yaml", &config_map("more", "ours")).unwrap();
    catalog.write("placement.yaml", &placement("web", &["web"], "{selector: {}}")).unwrap();
    stage.commit("Add web").await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "ours");

    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: forbidden}\n";
    catalog.write("manifests/web/secret.yaml", secret).unwrap();
    catalog.commit("Reach for more").unwrap();
    let entry =
        stage.shown("what is forbidden is named", "web", |entry| entry["reason"] == "Forbidden").await;
    let said = entry.to_string();
    for word in ["system:serviceaccount:web:deployer", "secrets", "Secret web/forbidden"] {
        assert!(said.contains(word), "{word} is missing: {said}");
    }
    assert!(!fra.has("web", "secret/forbidden").await);

    // Removed as the same: without the right to delete, nothing goes, and it is said who may not.
    catalog.remove("manifests/web/secret.yaml").unwrap();
    stage.commit("Back").await;
    let no_delete = "[{\"op\":\"replace\",\"path\":\"/rules/0/verbs\",\"value\":[\"get\",\"list\",\"create\",\"patch\"]}]";
    fra.kubectl(&["patch", "role", "-n", "web", "deployer", "--type=json", "-p", no_delete]).await.unwrap();
    catalog.remove("manifests/web/more.yaml").unwrap();
    catalog.commit("Drop one").unwrap();
    let refused =
        |entry: &serde_json::Value| entry["message"].as_str().unwrap_or_default().contains("cannot delete");
    let entry = stage.shown("the refused removal is named", "web", refused).await;
    assert!(entry["message"].as_str().unwrap().contains("system:serviceaccount:web:deployer"), "{entry:#}");
    assert!(fra.has("web", "configmap/more").await);
    fra.apply(RIGHTS).await.unwrap();
    harness::wait::until("it is pruned", LIMIT, async || {
        anyhow::ensure!(!fra.has("web", "configmap/more").await, "still there");
        Ok(())
    })
    .await;
}
