//! Apps that wait for others, and apps that switch together, on real clusters.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::documents::{app_with, placement};
use harness::wait::{throughout, until};
use serde_json::Value;

use crate::stage::{LIMIT, Stage, Witness};

/// An app of one Deployment; `more` of its pods.
fn deployment(name: &str, image: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: \
         {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    spec: {{{more}containers: [{{name: main, image: \
         {image}}}]}}\n"
    )
}

/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_millis(700);

const NOWHERE: &str = "nodeSelector: {disk: none}, ";

async fn image(stage: &Stage, cluster: &str, app: &str) -> String {
    let path = "{.spec.template.spec.containers[0].image}";
    stage.cluster(cluster).field(app, &format!("deployment/{app}"), path).await
}

async fn images(stage: &Stage, what: &str, cluster: &str, wanted: [&str; 2]) {
    until(what, LIMIT, async || {
        let seen = [image(stage, cluster, "api").await, image(stage, cluster, "web").await];
        ensure!(seen == wanted, "{seen:?}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_group_that_does_not_come_through_returns_also_while_the_hub_is_away_and_is_blocked_as_one() {
    let grouped = "  group: shop\n  timeout: 15s\n";
    let files = [
        ("api.yaml", app_with("api", grouped)),
        ("web.yaml", app_with("web", grouped)),
        ("manifests/api/api.yaml", deployment("api", "one", "")),
        ("manifests/web/web.yaml", deployment("web", "one", "")),
        ("placement.yaml", placement("all", &["api", "web"], "{selector: {}}")),
    ];
    let mut stage = Stage::start_with_workloads(&files, &[("fra-1", &[]), ("nyc-1", &[])]).await;
    stage.converge().await;

    // Both change; one of them can run nowhere, and brings something along.
    let extra = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: brought}\n";
    stage.fleet.catalog.write("manifests/api/api.yaml", &deployment("api", "two", NOWHERE)).expect("written");
    let web = format!("{}{extra}", deployment("web", "two", ""));
    stage.fleet.catalog.write("manifests/web/web.yaml", &web).expect("written");
    stage.fleet.catalog.commit("Two, where no node is for one of them").expect("a commit");
    images(&stage, "both switch on the canary", "fra-1", ["two", "two"]).await;
    until("what came with it is there", LIMIT, async || {
        ensure!(stage.cluster("fra-1").has("web", "configmap/brought").await, "{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    stage.fleet.kill_hub();
    images(&stage, "both return without the hub", "fra-1", ["one", "one"]).await;
    // The hub alone knows who else may be in need of what came with it.
    assert!(stage.cluster("fra-1").has("web", "configmap/brought").await);

    stage.fleet.start_hub().await.expect("it starts");
    let ended = until("it is taken back and blocked, as one", LIMIT, async || {
        let listed: Value = stage.fleet.hub(&["rollout", "list", "--all", "-o", "json"]).await?.json()?;
        ensure!(listed[0]["phase"] == "Blocked", "{listed:#}\n{}", stage.fleet.tails());
        Ok(listed[0].clone())
    })
    .await;
    until("what came with it has gone", LIMIT, async || {
        let is_there = stage.cluster("fra-1").has("web", "configmap/brought").await;
        ensure!(!is_there, "it is there\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    assert_eq!(ended["app"], "api", "it moves under the name of the first: {ended:#}");
    assert_eq!([image(&stage, "nyc-1", "api").await, image(&stage, "nyc-1", "web").await], ["one", "one"]);
    let shown = stage.fleet.hub(&["rollout", "show", "web", "-o", "json"]).await.expect("it runs");
    assert_eq!(shown.json().expect("JSON")["id"], ended["id"], "also under that of the other");

    // Mended, both go everywhere, through one rollout.
    stage.fleet.catalog.write("manifests/api/api.yaml", &deployment("api", "three", "")).expect("written");
    stage.commit("Three").await;
    for cluster in ["fra-1", "nyc-1"] {
        images(&stage, "both are there", cluster, ["three", "two"]).await;
    }
}

#[tokio::test]
async fn an_app_waits_until_what_it_depends_on_is_healthy_and_says_so() {
    let files = [
        ("db.yaml", app_with("db", "  timeout: 5m\n")),
        ("web.yaml", app_with("web", "  dependsOn: [{app: db}]\n")),
        ("manifests/db/db.yaml", deployment("db", "one", NOWHERE)),
        ("manifests/web/web.yaml", deployment("web", "one", "")),
        ("placement.yaml", placement("all", &["db", "web"], "{selector: {}}")),
    ];
    let stage = Stage::start_with_workloads(&files, &[("fra-1", &[])]).await;
    let shown = stage.shown("it waits", "web", |entry| entry["reason"] == "DependencyNotReady").await;
    assert_eq!(shown["phase"], "Waiting", "{shown:#}");
    let why = stage.fleet.hub(&["why", "web", "fra-1"]).await.expect("it runs").stdout;
    assert!(why.contains("it waits until app db is healthy"), "{why}");
    throughout("nothing of it is there", QUIET, async || {
        !stage.cluster("fra-1").has("web", "deployment/web").await
    })
    .await;

    // What it waits for is mended.
    stage.fleet.catalog.write("manifests/db/db.yaml", &deployment("db", "one", "")).expect("written");
    stage.commit("Where nodes are").await;
    assert_eq!(image(&stage, "fra-1", "web").await, "one");
}
