//! Fighting: who flips a field back each time is noticed, named, and left with it.

use std::time::Duration;

use harness::fleet::documents::{app, config_map, placement};
use harness::wait::{throughout, until};
use harness::webhook::Webhook;
use serde_json::Value;

use crate::stage::{LIMIT, Stage, Witness};

#[tokio::test]
async fn a_controller_that_flips_a_field_back_is_named_and_left_alone_whether_it_applies_or_updates() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    let object = fra.directory().join("theirs.yaml");
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: web}\ndata: {value: theirs}\n";
    std::fs::write(&object, text).unwrap();
    let file = object.to_str().unwrap();
    let patch = r#"{"data":{"value":"theirs"}}"#;
    let applies = ["apply", "--server-side", "--force-conflicts", "--field-manager=flipper-a", "-f", file];
    let updates =
        ["patch", "-n", "web", "configmap/web", "--type=merge", "--field-manager=flipper-u", "-p", patch];
    for (manager, flip, value) in [("flipper-a", &applies[..], "ours"), ("flipper-u", &updates[..], "newer")]
    {
        stage.value("fra-1", "web/web", value).await;
        // The controller: whenever the value is not its own, it sets it. It gives up only when we have.
        let entry = until("the fight is over", LIMIT * 2, async || {
            if fra.config_map("web/web").await? != "theirs" {
                fra.kubectl(flip).await?;
            }
            let shown = stage.fleet.hub(&["app", "show", "web", "-o", "json"]).await?.json()?;
            let entry = shown["entries"][0].clone();
            anyhow::ensure!(entry["reason"] == "Fought", "{entry:#}\n{}", stage.fleet.tails());
            Ok(entry)
        })
        .await;
        assert_eq!(entry["drifted"], 1, "{entry:#}");
        assert_eq!(entry["phase"], "Degraded", "{entry:#}");
        let said = entry["unhealthy"][0]["message"].as_str().unwrap();
        assert!(said.contains("/data/value") && said.contains(manager), "{said}");
        let calls = entry["corrected"].as_u64().unwrap();
        assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
        // Another change of the object wakes the spoke; the lost field stays lost.
        let touch = ["annotate", "-n", "web", "configmap/web", "touched=yes", "--overwrite"];
        fra.kubectl(&touch).await.unwrap();
        let entry = stage.shown("it is still told", "web", |entry| entry["reason"] == "Fought").await;
        assert_eq!(entry["corrected"].as_u64().unwrap(), calls, "{entry:#}");

        // A new content is a new wish: it is written once more.
        catalog.write("manifests/web/web.yaml", &config_map("web", "newer")).unwrap();
        catalog.commit(&format!("A new content against {manager}")).unwrap();
        if value == "ours" {
            stage.value("fra-1", "web/web", "newer").await;
        }
    }
}

/// A round that follows something comes within a second; this is some of them.
const QUIET: Duration = Duration::from_secs(4);

#[tokio::test]
async fn what_a_webhook_makes_of_a_field_is_written_a_few_times_and_then_named_and_left() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let mut stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let webhook = Webhook::start("web/web", "/data/value", "theirs").unwrap();
    let configuration = webhook.configuration("flipper", "configmaps").to_string();
    stage.cluster("fra-1").apply(&configuration).await.unwrap();
    // Whoever writes the object next has the field changed with it: here, first of all, somebody who wants something else.
    until("the webhook is asked", LIMIT, async || {
        let fra = stage.cluster("fra-1");
        fra.kubectl(&["annotate", "-n", "web", "configmap/web", "touched=once", "--overwrite"]).await?;
        let seen = fra.config_map("web/web").await?;
        anyhow::ensure!(seen == "theirs", "{seen}");
        Ok(())
    })
    .await;
    is_left(&stage, "is \"theirs\", not \"ours\"").await;
    // What was not put back is not told as put back.
    let entry = stage.shown("it is still told", "web", |entry| told(entry).contains("Mutated")).await;
    assert!(!told(&entry).contains("Corrected") && entry["corrected"] == 0, "{entry:#}");
    let events = stage.fleet.hub(&["events", "-o", "json"]).await.unwrap().stdout;
    assert!(events.contains("Converged") && !events.contains("Drifted"), "{events}");

    // A new content, and a spoke that remembers nothing, try it a bounded number of times too.
    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "newer")).unwrap();
    stage.fleet.catalog.commit("A new content against the webhook").unwrap();
    is_left(&stage, "is \"theirs\", not \"newer\"").await;
    let before = writes(&stage).await;
    stage.restart_spoke("fra-1");
    until("it tries it too", LIMIT, async || writes(&stage).await > before).await;
    is_left(&stage, "is \"theirs\", not \"newer\"").await;
    let more = writes(&stage).await - before;
    assert!(more <= 2, "{more} writes by a spoke that was started again");

    // Without it the next content is what it says.
    stage.cluster("fra-1").kubectl(&["delete", "mutatingwebhookconfiguration", "flipper"]).await.unwrap();
    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "newest")).unwrap();
    stage.fleet.catalog.commit("A content without the webhook").unwrap();
    stage.value("fra-1", "web/web", "newest").await;
    stage.shown("nothing is told any more", "web", |entry| !told(entry).contains("something else")).await;
}

/// What is told of objects that are well.
fn told(entry: &Value) -> String {
    let notes = entry["notes"].as_array().into_iter().flatten();
    let text = |note: &Value, field: &str| note[field].as_str().unwrap_or_default().to_owned();
    notes.map(|note| format!("{}: {}\n", text(note, "reason"), text(note, "message"))).collect()
}

/// Writes of the object by the spoke, by the API server's own book.
async fn writes(stage: &Stage) -> usize {
    let audit = stage.cluster("fra-1").audit().await.unwrap();
    let is_ours = |entry: &&Value| {
        entry["objectRef"]["namespace"] == "web"
            && entry["objectRef"]["name"] == "web"
            && entry["objectRef"]["resource"] == "configmaps"
            && entry["userAgent"].as_str().is_none_or(|agent| !agent.starts_with("kubectl"))
    };
    audit.iter().filter(is_ours).count()
}

/// Waits until the note is there; then nothing is written any more, also when the object changes otherwise.
async fn is_left(stage: &Stage, words: &str) {
    let entry = stage
        .shown("the webhook's work is told", "web", |entry| {
            let told = told(entry);
            told.contains(&format!("Mutated: the cluster makes something else of it: /data/value {words}"))
        })
        .await;
    assert_eq!(entry["phase"], "Converged", "{entry:#}");
    let fra = stage.cluster("fra-1");
    let before = writes(stage).await;
    let touched = format!("touched={}", fastrand::u64(..));
    fra.kubectl(&["annotate", "-n", "web", "configmap/web", &touched, "--overwrite"]).await.unwrap();
    throughout("nothing is written", QUIET, async || {
        let now = writes(stage).await;
        anyhow::ensure!(now == before, "{before} writes, and then {now}\n{}", stage.fleet.tails());
        Ok::<_, anyhow::Error>(())
    })
    .await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
}
