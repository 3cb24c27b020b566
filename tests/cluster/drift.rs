//! Drift: what somebody changes is put back, what somebody else owns is left alone, what is as wanted is not touched.

use std::collections::BTreeMap;

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::process::Program;
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

fn catalog() -> Vec<(&'static str, String)> {
    vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "ours")),
        ("manifests/web/more.yaml", config_map("more", "ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

#[tokio::test]
async fn what_somebody_changes_or_deletes_by_hand_is_put_back() {
    let stage = Stage::start(&catalog(), &[("fra-1", &[])]).await;
    stage.converge().await;
    let fra = stage.cluster("fra-1");

    let edit =
        ["patch", "-n", "web", "configmap/web", "--type=merge", "-p", r#"{"data":{"value":"theirs"}}"#];
    let before = fra.uid("web", "configmap/web").await;
    fra.kubectl(&edit).await.unwrap();
    stage.value("fra-1", "web/web", "ours").await;
    assert_eq!(fra.uid("web", "configmap/web").await, before, "it was mended in place");
    until("the hub counts the correction", LIMIT, async || {
        let shown = stage.fleet.hub(&["cluster", "show", "fra-1", "-o", "json"]).await?.json()?;
        ensure!(shown["apps"][0]["corrected"].as_u64() >= Some(1), "{shown:#}");
        Ok(())
    })
    .await;
    let shown = stage.fleet.hub(&["app", "show", "web"]).await.unwrap().stdout;
    for word in ["ConfigMap web/web", "Corrected", "/data/value", "theirs", "kubectl"] {
        assert!(shown.contains(word), "who changed what is told: {word}\n{shown}");
    }

    fra.kubectl(&["delete", "-n", "web", "configmap/web"]).await.unwrap();
    stage.value("fra-1", "web/web", "ours").await;
    assert_ne!(fra.uid("web", "configmap/web").await, before, "it was made anew");

    // Others may add what is not ours.
    let add = ["patch", "-n", "web", "configmap/web", "--type=merge", "-p", r#"{"data":{"theirs":"stays"}}"#];
    fra.kubectl(&add).await.unwrap();
    fra.kubectl(&edit).await.unwrap();
    stage.value("fra-1", "web/web", "ours").await;
    assert_eq!(fra.field("web", "configmap/web", "{.data.theirs}").await, "stays");
}

#[tokio::test]
async fn an_object_of_somebody_else_with_our_name_is_not_overwritten() {
    let stage = Stage::start(&[], &[("fra-1", &[])]).await;
    let fra = stage.cluster("fra-1");
    fra.kubectl(&["create", "namespace", "web"]).await.unwrap();
    fra.kubectl(&["create", "configmap", "-n", "web", "web", "--from-literal=value=theirs"]).await.unwrap();
    let before = fra.field("web", "configmap/web", "{.metadata.resourceVersion}").await;

    for (path, text) in catalog() {
        stage.fleet.catalog.write(path, &text).unwrap();
    }
    stage.fleet.catalog.commit("Add web").unwrap();
    let (code, said) = stage.wait(&["--timeout", "60s"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("fra-1") && said.contains("ConfigMap web/web"), "{said}");
    let group = stage.group("the conflict is shown", "web", |group| group["phase"] == "Failed").await;
    assert_eq!(group["reason"], "AdoptionRefused", "{group:#}");
    assert_eq!(group["object"], "ConfigMap web/web", "{group:#}");
    assert!(group["message"].as_str().unwrap().contains("kubectl-create"), "{group:#}");
    let screen = stage.screen().await;
    assert!(screen.contains("AdoptionRefused") && screen.contains("ConfigMap web/web"), "{screen}");

    assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
    assert_eq!(fra.field("web", "configmap/web", "{.metadata.resourceVersion}").await, before);
    assert_eq!(fra.config_map("web/more").await.unwrap(), "ours", "the app's other objects go on");

    // What is left to an operator: take theirs away.
    fra.kubectl(&["delete", "-n", "web", "configmap/web"]).await.unwrap();
    // Until the spoke has looked again, the hub says what failed.
    until("the app recovers by itself", LIMIT, async || match stage.wait(&["--timeout", "5s"]).await {
        (0, _) => Ok(()),
        (code, said) => Err(format!("exit code {code}: {said}")),
    })
    .await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "ours");
}

#[tokio::test]
async fn a_restarted_spoke_writes_nothing_where_all_is_as_wanted() {
    let mut stage = Stage::start(&catalog(), &[("fra-1", &[])]).await;
    stage.converge().await;
    let before = versions(&stage).await;
    let calls = mutating_calls(&stage).await;

    stage.restart_spoke("fra-1");
    let process = stage.fleet.spoke_process("fra-1").unwrap().id();
    until("the new process has seen that all is well", LIMIT, async || {
        let state = stage.fleet.state("fra-1");
        let spoke = Program::built("spoke")?.args(["status", "-o", "json", "--state-dir"]).arg(state);
        let status: serde_json::Value = serde_json::from_str(&spoke.output(LIMIT).await?)?;
        let seen = status["pid"] == process && status["apps"][0]["state"] == "Healthy";
        ensure!(seen, "{status:#}");
        Ok(())
    })
    .await;
    assert_eq!(versions(&stage).await, before);
    assert_eq!(mutating_calls(&stage).await, calls, "not even a call that changes nothing");

    // Another app beside it costs its own writes only.
    let catalog = &stage.fleet.catalog;
    catalog.write("extra.yaml", &app("extra")).unwrap();
    catalog.write("manifests/extra/extra.yaml", &config_map("extra", "new")).unwrap();
    catalog.write("extra-placement.yaml", &placement("extra", &["extra"], "{selector: {}}")).unwrap();
    stage.commit("Add extra").await;
    assert_eq!(stage.cluster("fra-1").config_map("extra/extra").await.unwrap(), "new");
    let after = versions(&stage).await;
    for (object, version) in &before {
        assert_eq!(after.get(object), Some(version), "{object} was not written");
    }
    // The object; the inventory, which is widened before and gets its version after.
    assert_eq!(mutating_calls(&stage).await, calls + 3);
}

/// The resource version of every ConfigMap and namespace, whoever made it.
async fn versions(stage: &Stage) -> BTreeMap<String, String> {
    let columns = r"jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}={.metadata.resourceVersion}{'\n'}{end}";
    let listed = stage.cluster("fra-1").kubectl(&["get", "configmaps,namespaces", "-A", "-o", columns]).await;
    let listed = listed.unwrap();
    let objects = listed.lines().filter_map(|line| line.split_once('='));
    objects.map(|(object, version)| (object.to_owned(), version.to_owned())).collect()
}

/// How many requests that may change ConfigMaps the API server has answered, by its own count.
async fn mutating_calls(stage: &Stage) -> u64 {
    let metrics = stage.cluster("fra-1").kubectl(&["get", "--raw", "/metrics"]).await.unwrap();
    let counts = metrics.lines().filter(|line| {
        let mutates = ["APPLY", "PATCH", "POST", "PUT", "DELETE"].iter();
        line.starts_with("apiserver_request_total{")
            && line.contains("resource=\"configmaps\"")
            && mutates.clone().any(|verb| line.contains(&format!("verb=\"{verb}\"")))
    });
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}
