//! Rollouts on real clusters: a change that nothing can run is stopped at the first cluster, taken back, and named.

use anyhow::ensure;
use harness::fleet::documents::{app_with, placement};
use harness::wait::until;
use serde_json::Value;

use crate::stage::{LIMIT, Stage, Witness};

fn deployment(image: &str, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: \
         web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{{more}containers: [{{name: web, image: \
         {image}}}]}}\n"
    )
}

async fn image(stage: &Stage, cluster: &str) -> String {
    let path = "{.spec.template.spec.containers[0].image}";
    stage.cluster(cluster).field("web", "deployment/web", path).await
}

async fn rollouts(stage: &Stage) -> Value {
    let listed = stage.fleet.hub(&["rollout", "list", "--all", "-o", "json"]).await.unwrap();
    listed.json().unwrap()
}

#[tokio::test]
async fn a_canary_that_cannot_be_scheduled_is_taken_back_and_nobody_else_is_touched() {
    let files = [
        ("web.yaml", app_with("web", "  timeout: 20s\n")),
        ("manifests/web/web.yaml", deployment("one", "")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start_with_workloads(&files, &[("fra-1", &[]), ("nyc-1", &[])]).await;
    stage.converge().await;
    let untouched = stage.cluster("nyc-1").field("web", "deployment/web", "{.metadata.generation}").await;

    let nowhere = deployment("two", "nodeSelector: {disk: none}, ");
    stage.fleet.catalog.write("manifests/web/web.yaml", &nowhere).unwrap();
    stage.fleet.catalog.commit("Two, where no node is").unwrap();
    let ended = until("it is rolled back", LIMIT, async || {
        let listed = rollouts(&stage).await;
        ensure!(listed[0]["phase"] == "Blocked", "{listed:#}\n{}", stage.fleet.tails());
        Ok(listed[0].clone())
    })
    .await;
    let id = ended["id"].as_str().unwrap().to_owned();
    assert!(ended["message"].as_str().unwrap().contains("fra-1 was not healthy in time"), "{ended:#}");
    until("the canary runs what it had", LIMIT, async || {
        let seen = image(&stage, "fra-1").await;
        ensure!(seen == "one", "{seen}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    let generation = stage.cluster("nyc-1").field("web", "deployment/web", "{.metadata.generation}").await;
    assert_eq!(generation, untouched, "nobody else was touched");
    let screen = stage.screen().await;
    assert!(
        screen.contains(&format!("BLOCKED: app web does not go to the version of rollout {id}")),
        "{screen}"
    );
    let (code, said) = stage.wait(&[]).await;
    assert!(code == 1 && said.contains("was taken back"), "{said}");
    let why = stage.fleet.hub(&["why", "web", "nyc-1"]).await.unwrap().stdout;
    assert!(why.contains("this version is blocked"), "{why}");

    // A commit that changes nothing of it releases nothing.
    stage.fleet.catalog.write("README.md", "words").unwrap();
    stage.fleet.catalog.commit("Words").unwrap();
    let (code, said) = stage.wait(&[]).await;
    assert!(code == 1 && said.contains("was taken back"), "{said}");
    assert_eq!((image(&stage, "fra-1").await, image(&stage, "nyc-1").await), ("one".into(), "one".into()));

    // Mended, it goes on.
    stage.fleet.catalog.write("manifests/web/web.yaml", &deployment("three", "")).unwrap();
    stage.commit("Three").await;
    assert_eq!(
        (image(&stage, "fra-1").await, image(&stage, "nyc-1").await),
        ("three".into(), "three".into())
    );
    let audit = stage.fleet.hub(&["audit", "-o", "json"]).await.unwrap().stdout;
    for what in ["RolloutStarted", "WaveStarted", "RollingBack", "RolledBack", "RolloutCompleted"] {
        assert!(audit.contains(&format!("\"{what}\"")), "{what} is not in {audit}");
    }
}
