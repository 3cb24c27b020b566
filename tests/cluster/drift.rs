//! Drift: what somebody changes is put back, what somebody else owns is left alone, what is as wanted is not touched.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::fleet::documents::{app, config_map, placement};
use harness::process::Program;
use harness::wait::{throughout, until};
use serde_json::Value;

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

/// Kinds that a server fills up with defaults, a definition and objects of it among them: many a false difference is one
/// of those. Nothing makes them healthy here.
const KINDS: &str = include_str!("beside_kubectl/first.yaml");

#[tokio::test]
async fn a_restarted_spoke_writes_nothing_where_all_is_as_wanted() {
    let mut files = catalog();
    files.push(("beside.yaml", app("beside")));
    files.push(("manifests/beside/all.yaml", KINDS.to_owned()));
    files.push(("beside-placement.yaml", placement("beside", &["beside"], "{selector: {}}")));
    let mut stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.shown("web is well", "web", |entry| entry["phase"] == "Converged").await;
    let is_applied = |entry: &Value| entry["version"].is_string() && entry["running"] == entry["version"];
    let entry = stage.shown("every kind is applied", "beside", is_applied).await;
    assert!(entry["objects"].as_u64() >= Some(30), "{entry:#}");
    let before = writes(&stage, 0).await;
    for resource in ["deployments", "services", "namespaces", "customresourcedefinitions", "widgets"] {
        let is_one = |write: &String| write.split(' ').nth(1) == Some(resource);
        assert!(before.iter().any(is_one), "{resource} is not in the log: {before:#?}");
    }

    let since = stage.cluster("fra-1").audit().await.unwrap().len();
    stage.restart_spoke("fra-1");
    let process = stage.fleet.spoke_process("fra-1").unwrap().id();
    until("the new process has seen that all is as it was", LIMIT, async || {
        let state = stage.fleet.state("fra-1");
        let spoke = Program::built("spoke")?.args(["status", "-o", "json", "--state-dir"]).arg(state);
        let status: Value = serde_json::from_str(&spoke.output(LIMIT).await?)?;
        ensure!(status["pid"] == process, "{status:#}");
        let apps = status["apps"].as_array().context("apps")?;
        let said = |name: &str| apps.iter().find(|app| app["app"] == name).context("the app");
        let (web, beside) = (said("web")?, said("beside")?);
        ensure!(web["state"] == "Healthy" && beside["healthy"] == entry["healthy"], "{status:#}");
        Ok(())
    })
    .await;
    throughout("not even a call that changes nothing", QUIET, async || {
        let more = writes(&stage, since).await;
        ensure!(more.is_empty(), "{more:#?}");
        Ok::<_, anyhow::Error>(())
    })
    .await;

    // Another app beside it costs its own writes only.
    let catalog = &stage.fleet.catalog;
    catalog.write("extra.yaml", &app("extra")).unwrap();
    catalog.write("manifests/extra/extra.yaml", &config_map("extra", "new")).unwrap();
    catalog.write("extra-placement.yaml", &placement("extra", &["extra"], "{selector: {}}")).unwrap();
    catalog.commit("Add extra").unwrap();
    stage.shown("extra is there", "extra", |entry| entry["phase"] == "Converged" && is_applied(entry)).await;
    assert_eq!(stage.cluster("fra-1").config_map("extra/extra").await.unwrap(), "new");
    let more = writes(&stage, since).await;
    let mut objects: Vec<&str> =
        more.iter().filter_map(|write| write.split_once(' ')).map(|(_, of)| of).collect();
    objects.sort_unstable();
    // The object and the namespace; the inventory, which is widened before, and its version, which comes after.
    let wanted = [
        "configmaps extra/extra",
        "configmaps nave-system/nave-completions-",
        "configmaps nave-system/nave-main-extra-",
        "namespaces extra/extra",
    ];
    let are_those = objects.iter().zip(wanted).all(|(object, wanted)| object.starts_with(wanted));
    assert!(objects.len() == wanted.len() && are_those, "{more:#?}");
}

/// A round that follows something comes within a second; this is some of them.
const QUIET: Duration = Duration::from_secs(4);

/// What the spoke asked to be changed since the API server's audit log was so long.
async fn writes(stage: &Stage, since: usize) -> Vec<String> {
    let audit = stage.cluster("fra-1").audit().await.unwrap();
    let is_spoke = |entry: &&Value| {
        entry["user"]["username"] == "admin"
            && entry["userAgent"].as_str().is_none_or(|agent| !agent.starts_with("kubectl"))
    };
    let of = |entry: &Value, field: &str| entry["objectRef"][field].as_str().unwrap_or_default().to_owned();
    let write = |entry: &Value| {
        let verb = entry["verb"].as_str().unwrap_or_default();
        format!("{verb} {} {}/{}", of(entry, "resource"), of(entry, "namespace"), of(entry, "name"))
    };
    audit.iter().skip(since).filter(is_spoke).map(write).collect()
}
