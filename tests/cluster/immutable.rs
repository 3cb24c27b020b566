//! Immutable fields: named, or the object is made anew; what holds other things never is.

use harness::fleet::documents::{app_with, placement};

use crate::stage::{Stage, Witness};

fn secret(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: fixed}}\nimmutable: true\ndata: {{value: {value}}}\n"
    )
}

fn service(address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
}

fn claim(class: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: data}}\nspec: {{storageClassName: {class}, \
         accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}\n"
    )
}

fn binding(role: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: web}}\nroleRef: {{apiGroup: \
         rbac.authorization.k8s.io, kind: Role, name: {role}}}\n"
    )
}

#[tokio::test]
async fn what_cannot_be_changed_is_named_or_made_anew() {
    let files = [
        ("web.yaml", app_with("web", "")),
        ("manifests/web/secret.yaml", secret("MQ==")),
        ("manifests/web/service.yaml", service("None")),
        ("manifests/web/binding.yaml", binding("a")),
        ("manifests/web/claim.yaml", claim("slow")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    stage.shown("all is written", "web", |entry| entry["objects"] == 5 && entry["running"].is_string()).await;
    let mut before = Vec::new();
    let objects = ["secret/fixed", "rolebinding/web", "pvc/data"];
    for object in objects {
        before.push(fra.uid("web", object).await);
    }

    catalog.write("manifests/web/secret.yaml", &secret("Mg==")).unwrap();
    catalog.write("manifests/web/binding.yaml", &binding("b")).unwrap();
    catalog.write("manifests/web/claim.yaml", &claim("fast")).unwrap();
    catalog.commit("Change what cannot be changed").unwrap();
    let named = |entry: &serde_json::Value| {
        let objects = entry["unhealthy"].as_array().cloned().unwrap_or_default();
        objects.iter().filter(|object| object["reason"] == "ImmutableField").count()
    };
    let entry = stage.shown("each is named", "web", |entry| named(entry) == 3).await;
    assert_eq!(entry["reason"], "ImmutableField", "{entry:#}");
    assert!(entry["unhealthy"].to_string().contains("onImmutable: Recreate"), "{entry:#}");
    assert!(!entry.to_string().contains("Mg=="), "a secret's value is nowhere: {entry:#}");

    catalog.write("web.yaml", &app_with("web", "  onImmutable: Recreate\n")).unwrap();
    catalog.commit("Make them anew").unwrap();
    let entry = stage.shown("only the claim is left", "web", |entry| named(entry) == 1).await;
    assert!(entry["message"].as_str().unwrap().contains("PersistentVolumeClaim web/data"), "{entry:#}");
    assert_eq!(fra.field("web", "secret/fixed", "{.data.value}").await, "Mg==");
    assert_eq!(fra.field("web", "rolebinding/web", "{.roleRef.name}").await, "b");
    let mut after = Vec::new();
    for object in objects {
        after.push(fra.uid("web", object).await);
    }
    assert!(before[0] != after[0] && before[1] != after[1] && before[2] == after[2], "{before:?} {after:?}");

    // What was made anew is ours: it goes with its manifest.
    catalog.write("manifests/web/claim.yaml", &claim("slow")).unwrap();
    catalog.remove("manifests/web/secret.yaml").unwrap();
    catalog.commit("Drop one").unwrap();
    stage.shown("it is pruned", "web", |entry| entry["objects"] == 4 && named(entry) == 0).await;
    harness::wait::until("the secret is gone", crate::stage::LIMIT, async || {
        anyhow::ensure!(!fra.has("web", "secret/fixed").await, "still there");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_would_not_be_taken_is_not_deleted_to_be_made_anew() {
    let files = [
        ("web.yaml", app_with("web", "  onImmutable: Recreate\n")),
        ("manifests/web/service.yaml", service("10.0.0.77")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    stage.shown("it is written", "web", |entry| entry["running"].is_string()).await;
    let before = fra.uid("web", "service/web").await;

    // The address cannot be changed, and something else is wrong too.
    let wrong = service("10.0.0.78").replace("ports:", "sessionAffinity: Never, ports:");
    catalog.write("manifests/web/service.yaml", &wrong).unwrap();
    catalog.commit("Mistype").unwrap();
    let entry = stage.shown("it is refused", "web", |entry| entry["reason"] == "ApplyRefused").await;
    assert!(entry["unhealthy"].to_string().contains("sessionAffinity"), "{entry:#}");
    assert_eq!(fra.uid("web", "service/web").await, before);

    // Alone, the address is a reason to make it anew.
    catalog.write("manifests/web/service.yaml", &service("10.0.0.78")).unwrap();
    catalog.commit("Mend it").unwrap();
    stage.converge().await;
    assert_ne!(fra.uid("web", "service/web").await, before);
    assert_eq!(fra.field("web", "service/web", "{.spec.clusterIP}").await, "10.0.0.78");
}
