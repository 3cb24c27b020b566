//! Events with real processes: what is told to whom, by hubs and receivers that fail.

mod audit;
mod row;
mod sinks;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::process::Program;
use harness::receiver::{Received, Receiver};
use harness::wait;
use serde_json::Value;

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_millis(1500);
const KEY: &str = "a key of a test";

const AT_ONCE: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Rollout
metadata: {name: at-once}
spec:
  waves: [{name: all}]
  failure: {max: 100%}
";

/// A fleet with an app `web` on two clusters, and a hub that is configured so.
async fn fleet(config: &str) -> Fleet {
    let app = documents::app_with("web", "  rollout: at-once\n");
    let files = [
        ("rollout.yaml", AT_ONCE),
        ("web.yaml", &app),
        ("manifests/web/web.yaml", &documents::config_map("web", "one")),
        ("placement.yaml", &documents::placement("web", &["web"], "{selector: {}}")),
    ];
    let mut fleet =
        Fleet::prepare(Repository::with("catalog", &files).expect("it is so")).await.expect("it is so");
    std::fs::write(fleet.directory().join("key"), format!("{KEY}\n")).expect("it is so");
    std::fs::write(fleet.directory().join("token"), "t0ken").expect("it is so");
    fleet.configure(config).expect("it is so");
    fleet.start_hub().await.expect("it is so");
    for cluster in ["fra-1", "fra-2"] {
        fleet.join(cluster, &[], &Target::Directory).await.expect("it is so");
    }
    fleet.connected(2).await;
    fleet
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("- {{name: {name}, webhook: {{url: '{url}', secretFile: key}}{more}}}\n")
}

fn change(fleet: &Fleet, to: &str) -> String {
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", to)).expect("it is so");
    fleet.catalog.commit(to).expect("it is so")
}

async fn converged(fleet: &Fleet, commit: &str) {
    fleet.converge(&["--commit", commit]).await.expect("it is so");
}

/// `hub events` as JSON.
async fn events(fleet: &Fleet) -> Vec<Value> {
    let answer = fleet.hub(&["events", "-o", "json"]).await.expect("it is so").json().expect("it is so");
    answer.as_array().cloned().unwrap_or_default()
}

/// Waits until the hub has told an event of this kind about this.
async fn told(fleet: &Fleet, kind: &str, subject: &str) -> Value {
    wait::until(&format!("{kind} of {subject} is told"), LIMIT, async || {
        let events = events(fleet).await;
        let found = events.iter().find(|event| event["type"] == kind && event["subject"] == subject).cloned();
        found.ok_or_else(|| format!("{events:#?}\n{}", fleet.tails()))
    })
    .await
}

/// What the hub says must be what a receiver got: each event once, in order.
async fn all_arrived(fleet: &Fleet, receiver: &Receiver) -> Vec<Received> {
    wait::until("everything that was told arrived", LIMIT, async || {
        let told = ids(&events(fleet).await);
        let taken: Vec<Received> =
            receiver.received().into_iter().filter(|request| request.answered == 200).collect();
        let mut got: Vec<String> =
            taken.iter().map(|request| request.header("nave-event-id").to_owned()).collect();
        // One that was delivered and not written down when the hub was ended comes twice, at once.
        got.dedup();
        ensure!(told == got, "told {told:?}, got {got:?}\n{}", fleet.tails());
        Ok(taken)
    })
    .await
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

/// Checks a signature as a receiver would, by another library than the hub's.
fn is_signed(request: &Received) -> Result<()> {
    let signature = request.header("nave-signature");
    let parts: BTreeMap<&str, &str> = signature.split(',').filter_map(|part| part.split_once('=')).collect();
    let (time, hex) = (parts["t"], parts["v1"]);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
    let signed = [time.as_bytes(), b".", &request.body].concat();
    let expected = ring::hmac::sign(&key, &signed);
    let expected: String = expected.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(hex == expected, "{signature} is not {expected}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    ensure!(now.abs_diff(time.parse()?) < 300, "signed at {time}, now is {now}");
    Ok(())
}

#[tokio::test]
async fn clusters_that_go_and_come_are_told_and_those_that_are_worked_on_are_not() {
    let mut fleet = fleet("events: {offlineAfter: 2s}\n").await;
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    fleet.kill_spoke("fra-1");
    told(&fleet, "ClusterOffline", "cluster fra-1").await;
    fleet.start_spoke("fra-1", None, &Target::Directory).expect("it is so");
    told(&fleet, "ClusterBack", "cluster fra-1").await;

    let maintained = fleet.hub(&["cluster", "maintain", "fra-2", "--for", "1h", "--reason", "disks"]).await;
    assert_eq!(maintained.expect("it is so").code, 0);
    let before = events(&fleet).await;
    fleet.kill_spoke("fra-2");
    wait::throughout("it is silent", QUIET * 3, async || events(&fleet).await == before).await;

    // Whoever asks for one cluster, or by time, gets no more than that.
    let of = async |arguments: &[&str]| {
        let answer = fleet.hub(&[&["events", "-o", "name"], arguments].concat()).await.expect("it is so");
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        answer.stdout.lines().count()
    };
    // With the commit, if the cluster was there by the time that it converged.
    let names = |event: &&Value| {
        event["clusters"]["names"].as_array().is_some_and(|all| all.contains(&"fra-1".into()))
    };
    let named = before.iter().filter(names).count();
    assert!(named >= 2, "{before:#?}");
    assert_eq!(of(&["--cluster", "fra-1"]).await, named);
    assert_eq!(of(&["-l", "kubernetes.io/nothing=x"]).await, 0);
    assert_eq!(of(&["--cluster", "ams-*"]).await, 0);
    assert_eq!(of(&["--since", "1h"]).await, before.len());
    assert_eq!(of(&["--app", "web"]).await, 1);
    let table = fleet.hub(&["events"]).await.expect("it is so").stdout;
    assert!(table.starts_with("WHEN") && table.contains("ClusterOffline"), "{table}");
}

#[tokio::test]
async fn rollouts_that_wait_and_are_taken_back_and_changes_that_are_held_are_told() {
    let hook = Receiver::start().await;
    let fleet = fleet(&format!("sinks:\n{}", webhook("hook", &hook.url("/"), ""))).await;
    let first = fleet.catalog.head().expect("it is so");
    converged(&fleet, &first).await;
    told(&fleet, "Converged", "app web").await;
    let careful = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: at-once}\n\
        spec: {waves: [{name: canary, count: 1}, {name: rest, before: {approval: true}}]}\n";
    fleet.catalog.write("rollout.yaml", careful).expect("it is so");
    let commit = change(&fleet, "two");
    let waits = wait::until("the approval is awaited", LIMIT, async || {
        let events = events(&fleet).await;
        let found = events.into_iter().find(|event| event["type"] == "AwaitsApproval");
        found.ok_or_else(|| fleet.tails())
    })
    .await;
    assert_eq!((&waits["wave"], &waits["commit"]), (&"rest".into(), &commit.as_str().into()), "{waits:#}");
    let rollout = waits["rollout"].as_str().expect("it has one").to_owned();
    let done = fleet.hub(&["rollout", "abort", &rollout, "--reason", "wrong image"]).await.expect("it is so");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let back = told(&fleet, "RolledBack", &format!("rollout {rollout}")).await;
    assert!(back["message"].as_str().is_some_and(|why| why.contains("wrong image")), "{back:#}");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("one"));
    // It is well with what it had before.
    wait::until("it is told to be well again", LIMIT, async || {
        let events = events(&fleet).await;
        let is_well = |event: &&Value| event["type"] == "Converged" && event["app"] == "web";
        let after = events.iter().skip_while(|event| event["type"] != "RolledBack").find(is_well);
        ensure!(after.is_some_and(|event| event["commit"] == *first), "{events:#?}\n{}", fleet.tails());
        Ok(())
    })
    .await;

    // The catalog is emptied: that is held, and no longer once it is taken back.
    let files = ["rollout.yaml", "web.yaml", "placement.yaml"];
    let texts = files.map(|file| std::fs::read_to_string(fleet.catalog.path().join(file)).expect("it is so"));
    files.iter().for_each(|file| fleet.catalog.remove(file).expect("it is so"));
    fleet.catalog.commit("empty").expect("it is so");
    let held = wait::until("it is held", LIMIT, async || {
        events(&fleet).await.into_iter().find(|event| event["type"] == "Held").ok_or_else(|| fleet.tails())
    })
    .await;
    for (file, text) in files.iter().zip(&texts) {
        fleet.catalog.write(file, text).expect("it is so");
    }
    fleet.catalog.commit("back").expect("it is so");
    told(&fleet, "HoldEnded", held["subject"].as_str().expect("it has one")).await;
    all_arrived(&fleet, &hook).await;
}

#[tokio::test]
async fn changes_by_hand_are_told_whether_they_are_put_back_or_stay() {
    let fleet = fleet("").await;
    let by_hand = |to: &str| {
        let path = fleet.manifests("fra-1").join("configmap--web--web.yaml");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let value = text.lines().find(|line| line.contains("value: ")).expect("it has one").to_owned();
        std::fs::write(&path, text.replace(&value, &format!("  value: {to}"))).expect("it is so");
    };
    let drifted = async |corrected: bool| {
        wait::until(&format!("drift is told, corrected: {corrected}"), LIMIT, async || {
            let events = events(&fleet).await;
            let is_it = |event: &&Value| event["type"] == "Drifted" && event["corrected"] == corrected;
            let found = events.iter().find(is_it).cloned();
            found.ok_or_else(|| format!("{events:#?}\n{}", fleet.tails()))
        })
        .await
    };
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    told(&fleet, "Converged", "app web").await;
    by_hand("theirs");
    let put_back = drifted(true).await;
    assert_eq!(put_back["clusters"]["names"][0], "fra-1", "{put_back:#}");

    let app = documents::app_with("web", "  rollout: at-once\n  drift: Report\n");
    fleet.catalog.write("web.yaml", &app).expect("it is so");
    let commit = fleet.catalog.commit("Report").expect("it is so");
    converged(&fleet, &commit).await;
    by_hand("theirs");
    drifted(false).await;
    by_hand("one");
    told(&fleet, "DriftEnded", "app web").await;
}

#[tokio::test]
async fn whoever_watches_gets_each_event_once_also_from_the_next_hub() {
    let mut fleet = fleet("").await;
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    let watching = Program::built("hub")
        .expect("it is so")
        .named("watching")
        .args(["events", "--watch", "-o", "json"])
        .env("HUB_CONTEXT", fleet.data().join("admin.yaml"))
        .start(fleet.directory())
        .expect("it starts");
    let same = async |fleet: &Fleet| {
        wait::until("the watcher has what the hub has", LIMIT, async || {
            let lines = watching.stdout();
            let seen: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let told = ids(&events(fleet).await);
            ensure!(told == ids(&seen), "told {told:?}\n{lines}\n{}", watching.stderr());
            Ok(())
        })
        .await;
    };
    same(&fleet).await;
    let second = change(&fleet, "two");
    told(&fleet, "Converged", &format!("commit {}", &second[..8])).await;
    same(&fleet).await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it is so");
    fleet.connected(2).await;
    let third = change(&fleet, "three");
    told(&fleet, "Converged", &format!("commit {}", &third[..8])).await;
    same(&fleet).await;
}
