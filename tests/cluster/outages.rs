//! Outages on real clusters: the spoke dies between two writes, the hub is away, the API server goes and comes back.

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

/// So many that a process is killed among them, whatever the machine: writing one takes some milliseconds.
const MANY: usize = 400;

fn catalog() -> Vec<(&'static str, String)> {
    vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

/// The names of an app's ConfigMaps.
async fn config_maps(stage: &Stage, namespace: &str) -> Vec<String> {
    let found = stage.cluster("fra-1").kubectl(&["get", "configmaps", "-n", namespace, "-o", "name"]).await;
    let found = found.unwrap();
    let ours = found.lines().filter(|name| !name.contains("kube-root-ca"));
    ours.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_spoke_killed_between_two_writes_goes_on_where_it_was() {
    let mut files = catalog();
    let many: String = (0..MANY).map(|n| config_map(&format!("web-{n}"), "many") + "---\n").collect();
    files.retain(|(path, _)| !path.starts_with("manifests"));
    files.push(("manifests/web/many.yaml", many));
    let mut stage = Stage::start(&files, &[("fra-1", &[])]).await;

    // Twice: after the first writes, and after some more.
    let mut killed_at = Vec::new();
    for _ in 0..2 {
        let least = killed_at.last().copied().unwrap_or(0);
        until("some objects are written, not all", LIMIT, async || {
            let seen = config_maps(&stage, "web").await.len();
            ensure!(seen > least, "{seen} of {MANY}\n{}", stage.fleet.tails());
            Ok(())
        })
        .await;
        stage.fleet.kill_spoke("fra-1");
        let written = config_maps(&stage, "web").await.len();
        assert!(written < MANY, "the spoke was faster than the kill: {written} of {MANY}");
        killed_at.push(written);
        stage.restart_spoke("fra-1");
    }
    stage.converge().await;
    assert_eq!(config_maps(&stage, "web").await.len(), MANY);

    // It knows all of them as its own, also those that were written just before it died.
    stage.fleet.catalog.write("manifests/web/many.yaml", &config_map("web-0", "one")).unwrap();
    stage.fleet.catalog.commit("Keep one\n\nNave-Allow-Removal: app/web/objects=399").unwrap();
    stage.converge().await;
    assert_eq!(config_maps(&stage, "web").await, ["configmap/web-0"]);
    assert_eq!(stage.cluster("fra-1").config_map("web/web-0").await.unwrap(), "one");
}

#[tokio::test]
async fn while_the_hub_is_away_the_spoke_keeps_its_cluster_also_after_a_restart() {
    let mut stage = Stage::start(&catalog(), &[("fra-1", &[])]).await;
    stage.converge().await;
    stage.fleet.kill_hub();

    let edit =
        ["patch", "-n", "web", "configmap/web", "--type=merge", "-p", r#"{"data":{"value":"theirs"}}"#];
    stage.cluster("fra-1").kubectl(&edit).await.unwrap();
    stage.value("fra-1", "web/web", "one").await;

    stage.fleet.kill_spoke("fra-1");
    stage.cluster("fra-1").kubectl(&["delete", "-n", "web", "configmap/web"]).await.unwrap();
    stage.restart_spoke("fra-1");
    stage.value("fra-1", "web/web", "one").await;
    stage.cluster("fra-1").kubectl(&edit).await.unwrap();
    stage.value("fra-1", "web/web", "one").await;

    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "two")).unwrap();
    stage.fleet.catalog.commit("Change web").unwrap();
    stage.fleet.start_hub().await.unwrap();
    stage.converge().await;
    assert_eq!(stage.cluster("fra-1").config_map("web/web").await.unwrap(), "two");
}

#[tokio::test]
async fn a_running_spoke_outlives_its_api_server() {
    let mut stage = Stage::start(&catalog(), &[("fra-1", &[])]).await;
    stage.converge().await;
    let before = stage.cluster("fra-1").uid("web", "configmap/web").await;

    // A change comes while nobody answers: the hub says what it waits for.
    stage.cluster_mut("fra-1").kill_api_server();
    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "two")).unwrap();
    stage.fleet.catalog.commit("Change web").unwrap();
    let group = stage.group("the outage is told", "web", |g| g["reason"] == "TargetUnreachable").await;
    assert_eq!(group["clusters"], serde_json::json!(["fra-1"]), "{group:#}");

    stage.cluster_mut("fra-1").start_api_server().await.unwrap();
    stage.converge().await;
    let fra = stage.cluster("fra-1");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "two");
    assert_eq!(fra.uid("web", "configmap/web").await, before, "nothing was deleted");

    // Its watches are back as well.
    let edit =
        ["patch", "-n", "web", "configmap/web", "--type=merge", "-p", r#"{"data":{"value":"theirs"}}"#];
    fra.kubectl(&edit).await.unwrap();
    stage.value("fra-1", "web/web", "two").await;
    assert_eq!(fra.uid("web", "configmap/web").await, before);
}
