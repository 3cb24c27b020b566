//! Rollouts on real clusters: a change that nothing can run is stopped at the first cluster, taken back, and named.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::Target;
use harness::fleet::documents::{app_with, config_map, placement};
use harness::wait::{throughout, until};
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_cluster_that_is_cut_off_in_its_wave_keeps_its_place_fails_in_time_and_comes_back_to_what_it_had() {
    let rollout = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\nspec:\n  waves: [{name: canary, count: 1}, \
                   {name: rest, maxUnavailable: 1}]\n  failure: {deadline: 12s}\n";
    let files = [
        ("rollout.yaml", rollout.to_owned()),
        ("web.yaml", app_with("web", "  rollout: careful\n")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let members: [(&str, &[&str]); 3] = [("fra-1", &[]), ("fra-2", &[]), ("nyc-1", &[])];
    let mut stage = Stage::start(&files, &members).await;
    stage.converge().await;

    // It is told of the change and cannot carry it out; then nobody hears of it any more.
    stage.cluster_mut("fra-2").freeze_api_server();
    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "two")).unwrap();
    stage.fleet.catalog.commit("Two").unwrap();
    until("the second wave has it", LIMIT, async || {
        let shown = stage.fleet.hub(&["rollout", "show", "web", "-o", "json"]).await?.json()?;
        ensure!(shown["waves"][1]["underway"] == json!(["fra-2"]), "{shown:#}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    stage.fleet.kill_spoke("fra-2");
    stage.value("fra-1", "web/web", "two").await;
    throughout("its place is not another's", Duration::from_secs(2), async || {
        stage.cluster("nyc-1").config_map("web/web").await.unwrap() == "one"
    })
    .await;
    until("it is taken back", LIMIT, async || {
        let listed = rollouts(&stage).await;
        ensure!(listed[0]["phase"] == "Blocked", "{listed:#}\n{}", stage.fleet.tails());
        let message = listed[0]["message"].as_str().unwrap();
        ensure!(message.contains("fra-2 was not healthy in time"), "{message}");
        Ok(())
    })
    .await;
    stage.value("fra-1", "web/web", "one").await;

    // Back again, it carries out what it was told last, until the hub tells it to return as the others did.
    stage.cluster_mut("fra-2").thaw_api_server();
    let target = Target::Kube(stage.cluster("fra-2").kubeconfig().to_owned());
    stage.fleet.start_spoke("fra-2", None, &target).unwrap();
    stage.fleet.connected(3).await;
    stage.wait(&["--cluster", "fra-2"]).await;
    stage.value("fra-2", "web/web", "one").await;
    assert_eq!(stage.cluster("nyc-1").config_map("web/web").await.unwrap(), "one");
}

#[tokio::test]
async fn a_commit_that_waits_for_approval_is_superseded_by_the_next_and_that_one_goes_on_once_approved() {
    let rollout = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\nspec:\n  waves: [{name: canary, count: 1}, \
                   {name: rest, before: {approval: true}}]\n";
    let files = [
        ("rollout.yaml", rollout.to_owned()),
        ("web.yaml", app_with("web", "  rollout: careful\n")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[]), ("nyc-1", &[])]).await;
    stage.converge().await;
    let written =
        async || stage.cluster("nyc-1").field("web", "configmap/web", "{.metadata.resourceVersion}").await;
    let untouched = written().await;

    let mut waiting = Vec::new();
    for value in ["two", "three"] {
        stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", value)).unwrap();
        stage.fleet.catalog.commit(value).unwrap();
        stage.value("fra-1", "web/web", value).await;
        let shown = stage.fleet.rollout_waits("web", "Approval").await;
        waiting.push(shown["id"].as_str().unwrap().to_owned());
    }
    let [first, id] = &waiting[..] else { panic!("{waiting:?}") };
    assert_ne!(first, id);
    throughout("nobody else is touched", Duration::from_secs(2), async || written().await == untouched).await;
    let (code, said) = stage.wait(&["--timeout", "1s"]).await;
    assert_eq!(code, 3, "{said}");
    let why = stage.fleet.hub(&["why", "web", "nyc-1"]).await.unwrap().stdout;
    assert!(why.contains(&format!("wave rest waits for approval: `hub rollout approve {id}")), "{why}");

    stage.fleet.order(&["rollout", "approve", id, "--reason", "seen by two"]).await;
    stage.converge().await;
    stage.value("nyc-1", "web/web", "three").await;
    assert_eq!(stage.cluster("fra-1").config_map("web/web").await.unwrap(), "three");
    let listed = rollouts(&stage).await;
    let phase =
        |id: &str| listed.as_array().unwrap().iter().find(|r| r["id"] == id).map(|r| r["phase"].clone());
    assert_eq!(
        (phase(first), phase(id)),
        (Some(json!("Superseded")), Some(json!("Completed"))),
        "{listed:#}"
    );
    // What stands on the cluster leads to the approval.
    let traced = stage.fleet.order(&["trace", "configmap/web", "-n", "web", "--cluster", "nyc-1"]).await;
    assert!(traced.contains("three") && traced.contains("seen by two"), "{traced}");
}
