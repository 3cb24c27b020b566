//! Observing: compared and reported, never written.

use harness::fleet::documents::{app, app_with, config_map, placement};

use crate::stage::{Stage, Witness};

#[tokio::test]
async fn an_app_that_observes_tells_what_differs_and_writes_nothing() {
    let files = [
        ("web.yaml", app_with("web", "  mode: Observe\n")),
        ("manifests/web/web.yaml", config_map("web", "ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    let differs = |entry: &serde_json::Value| entry["reason"] == "Differs";
    let entry = stage.shown("what is missing is told", "web", differs).await;
    assert!(entry["unhealthy"].to_string().contains("it is not there"), "{entry:#}");
    assert!(fra.kubectl(&["get", "namespace", "web"]).await.is_err(), "nothing was written");
    let inventories =
        ["get", "configmap", "-n", "nave-system", "-l", "nave.dev/inventory=true", "-o", "name"];
    assert_eq!(fra.kubectl(&inventories).await.unwrap(), "", "no inventory either");

    fra.kubectl(&["create", "namespace", "web"]).await.unwrap();
    fra.kubectl(&["create", "configmap", "-n", "web", "web", "--from-literal=value=theirs"]).await.unwrap();
    let field = |entry: &serde_json::Value| entry["unhealthy"].to_string().contains("/data/value");
    let entry = stage.shown("the field is told", "web", field).await;
    let said = entry["unhealthy"].to_string();
    assert!(said.contains("theirs") && said.contains("ours") && said.contains("kubectl-create"), "{said}");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
    fra.kubectl(&["delete", "configmap", "-n", "web", "web"]).await.unwrap();
    fra.kubectl(&["create", "configmap", "-n", "web", "web", "--from-literal=value=ours"]).await.unwrap();
    stage.shown("it is as wanted", "web", |entry| entry["phase"] == "Converged").await;
    let before = fra.field("web", "configmap/web", "{.metadata.resourceVersion}").await;

    // Applied, and only observed again: the inventory stays, and nothing is written.
    catalog.write("web.yaml", &app("web")).unwrap();
    stage.commit("Apply").await;
    let applied = fra.field("web", "configmap/web", "{.metadata.resourceVersion}").await;
    assert_ne!(before, applied, "it was adopted");
    catalog.write("web.yaml", &app_with("web", "  mode: Observe\n")).unwrap();
    catalog.write("manifests/web/web.yaml", &config_map("web", "newer")).unwrap();
    catalog.commit("Observe again").unwrap();
    stage.shown("the newer content is told", "web", |entry| entry.to_string().contains("newer")).await;
    assert_eq!(fra.field("web", "configmap/web", "{.metadata.resourceVersion}").await, applied);
    assert_ne!(fra.kubectl(&inventories).await.unwrap(), "");
    catalog.write("web.yaml", &app("web")).unwrap();
    stage.commit("Apply again").await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "newer");
}
