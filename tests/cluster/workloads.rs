//! Workloads: what becomes available, what does not, and what `hub wait` and `hub status` make of it.

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

/// A Deployment; `more` goes into the pod's spec.
fn deployment(name: &str, replicas: u32, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: {replicas}\n  selector: \
         {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{{more}containers: \
         [{{name: {name}, image: {name}}}]}}\n"
    )
}

#[tokio::test]
async fn what_becomes_available_and_what_cannot_be_scheduled_is_told_apart() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", deployment("web", 2, "")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start_with_workloads(&files, &[("fra-1", &["env=prod"])]).await;
    let fra = stage.cluster("fra-1");
    let (code, said) = stage.wait(&["--timeout", "90s"]).await;
    assert_eq!(code, 0, "{said}\n{}", stage.fleet.tails());
    // Nave does not say so before it is so.
    assert_eq!(fra.field("web", "deployment/web", "{.status.availableReplicas}").await, "2");
    assert_eq!(
        fra.field("web", "deployment/web", "{.status.conditions[?(@.type=='Available')].status}").await,
        "True"
    );

    let catalog = &stage.fleet.catalog;
    catalog.write("big.yaml", &app("big")).unwrap();
    let nowhere = "nodeSelector: {disk: none-has-this}, ";
    catalog.write("manifests/big/big.yaml", &deployment("big", 1, nowhere)).unwrap();
    catalog.write("placement.yaml", &placement("all", &["web", "big"], "{selector: {}}")).unwrap();
    catalog.commit("Add big").unwrap();
    let group = stage.group("the hub knows why", "big", |group| group["reason"] == "Unschedulable").await;
    assert_eq!(group["clusters"], serde_json::json!(["fra-1"]), "{group:#}");
    assert_eq!(group["object"], "Deployment.apps big/big", "{group:#}");
    // What is missing, which pod of it, and why it is, in the scheduler's words.
    let said = group["message"].as_str().unwrap();
    let missing = "0 of 1 replicas available; pod big-";
    assert!(said.contains(missing), "{said}");
    assert!(said.contains(": Unschedulable, 0/1 nodes are available"), "{said}");
    let shown =
        stage.shown("the app's own page says it", "big", |entry| entry["reason"] == "ObjectUnhealthy").await;
    let said = shown["unhealthy"][0]["message"].as_str().unwrap();
    assert!(said.starts_with(missing) && said.contains("Unschedulable, 0/1 nodes"), "{said}");
    let screen = stage.screen().await;
    for word in ["fra-1", "big", "Deployment.apps big/big", "Unschedulable"] {
        assert!(screen.contains(word), "{word} is missing:\n{screen}");
    }
    assert_eq!(fra.field("big", "deployment/big", "{.status.availableReplicas}").await, "");

    // Not in time; the other app is as it should be; one that is refused has failed.
    let (code, said) = stage.wait(&["--timeout", "2s"]).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("big") && said.contains("fra-1"), "{said}");
    let (code, said) = stage.wait(&["--app", "web", "--timeout", "30s"]).await;
    assert_eq!(code, 0, "{said}");
    catalog.write("bad.yaml", &app("bad")).unwrap();
    catalog.write("manifests/bad/bad.yaml", &config_map("Not_A_Name", "x")).unwrap();
    catalog.write("placement.yaml", &placement("all", &["web", "big", "bad"], "{selector: {}}")).unwrap();
    catalog.commit("Add bad").unwrap();
    let (code, said) = stage.wait(&["--timeout", "60s"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("bad") && said.contains("fra-1") && said.contains("Not_A_Name"), "{said}");
    assert!(said.contains("Invalid value"), "the API server's own words: {said}");

    // The node gets what the pod asks for: it is scheduled, and the hub hears of it without any commit.
    fra.kubectl(&["label", "node", "--all", "disk=none-has-this"]).await.unwrap();
    let (code, said) = stage.wait(&["--app", "big", "--timeout", "90s"]).await;
    assert_eq!(code, 0, "{said}\n{}", stage.fleet.tails());
    assert_eq!(fra.field("big", "deployment/big", "{.status.availableReplicas}").await, "1");
}

#[tokio::test]
async fn a_namespace_that_somebody_deletes_is_named_while_it_ends_and_comes_back_with_all_that_was_in_it() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", deployment("web", 1, "")),
        ("manifests/web/more.yaml", config_map("more", "ours")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start_with_workloads(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let fra = stage.cluster("fra-1");
    let before = fra.uid("web", "namespace/web").await;
    // It cannot end before somebody has let go of this.
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, namespace: web, finalizers: [example.com/hold]}\n";
    fra.apply(held).await.unwrap();
    fra.kubectl(&["delete", "namespace", "web", "--wait=false"]).await.unwrap();
    let named = |group: &serde_json::Value| {
        let said = group["message"].as_str().unwrap_or_default();
        group["reason"] == "Terminating"
            && group["object"] == "Namespace web"
            && said.contains("example.com/hold")
    };
    stage.group("the namespace is named, and what it waits for", "web", named).await;

    let let_go = r#"{"metadata":{"finalizers":null}}"#;
    fra.kubectl(&["patch", "-n", "web", "configmap/held", "--type=merge", "-p", let_go]).await.unwrap();
    until("all of it is there again", LIMIT * 2, async || {
        ensure!(fra.has("web", "deployment/web").await, "{}", stage.screen().await);
        let seen = fra.kubectl(&[
            "get",
            "-n",
            "web",
            "deployment/web",
            "-o",
            "jsonpath={.status.availableReplicas}",
        ]);
        ensure!(seen.await? == "1", "{}", stage.screen().await);
        ensure!(fra.config_map("web/more").await? == "ours", "another value");
        Ok(())
    })
    .await;
    assert_ne!(fra.uid("web", "namespace/web").await, before, "another namespace");
    stage.converge().await;
}
