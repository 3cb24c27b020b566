//! Rollouts with real processes: approvals, pins, versions that follow each other, a hub that is killed.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
const CLUSTERS: [&str; 3] = ["fra-1", "fra-2", "fra-3"];
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_millis(700);

const CAREFUL: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Rollout
metadata: {name: careful}
spec:
  waves:
  - {name: canary, count: 1}
  - {name: rest, maxUnavailable: 1, before: {approval: true}}
";

async fn fleet() -> Fleet {
    let app = documents::app_with("web", "  rollout: careful\n");
    let files = [
        ("rollout.yaml", CAREFUL),
        ("web.yaml", &app),
        ("manifests/web/web.yaml", &documents::config_map("web", "one")),
        ("placement.yaml", &documents::placement("web", &["web"], "{selector: {}}")),
    ];
    let mut fleet =
        Fleet::start(Repository::with("catalog", &files).expect("it is so")).await.expect("it is so");
    for cluster in CLUSTERS {
        fleet.join(cluster, &[], &Target::Directory).await.expect("it is so");
    }
    fleet.connected(CLUSTERS.len()).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("it is so")]).await.expect("it is so");
    fleet
}

fn change(fleet: &Fleet, to: &str) -> String {
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", to)).expect("it is so");
    fleet.catalog.commit(to).expect("it is so")
}

fn values(fleet: &Fleet) -> [Option<String>; 3] {
    CLUSTERS.map(|cluster| value(fleet, cluster, "web"))
}

async fn seen(fleet: &Fleet, what: &str, wanted: [&str; 3]) {
    wait::until(what, LIMIT, async || {
        let seen = values(fleet);
        ensure!(seen.each_ref().map(Option::as_deref) == wanted.map(Some), "{seen:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_wave_waits_for_its_approval_also_when_the_hub_was_killed_meanwhile() {
    let mut fleet = fleet().await;
    let commit = change(&fleet, "two");
    let shown = fleet.rollout_waits("web", "Approval").await;
    assert_eq!(shown["waves"][0]["state"], "Done", "{shown:#}");
    seen(&fleet, "the canary has it", ["two", "one", "one"]).await;
    let waited = fleet.hub(&["wait", "--commit", &commit, "--timeout", "1s"]).await.expect("it is so");
    assert_eq!(waited.code, 3, "{}", waited.stdout);
    let why = fleet.order(&["why", "web", "fra-3"]).await;
    assert!(why.contains("wave rest waits for approval: `hub rollout approve web@"), "{why}");
    fleet.kill_hub();
    fleet.start_hub().await.expect("it is so");
    fleet.connected(CLUSTERS.len()).await;
    fleet.rollout_waits("web", "Approval").await;
    wait::throughout("nobody else has it", QUIET, async || values(&fleet)[1].as_deref() == Some("one")).await;
    fleet.order(&["rollout", "approve", "web", "--reason", "looked at it"]).await;
    fleet.converge(&["--commit", &commit]).await.expect("it is so");
    seen(&fleet, "everybody has it", ["two"; 3]).await;
    // The last cluster's report and the end of the rollout are two records; between them nothing waits either.
    wait::until("the rollout ends", LIMIT, async || {
        let refused = fleet.hub(&["rollout", "approve", "web"]).await?;
        ensure!(refused.code == 1, "{}", refused.stdout);
        ensure!(refused.stderr.contains("no rollout of app web is under way"), "{}", refused.stderr);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_newer_version_takes_the_place_of_one_that_waits_and_abort_takes_it_back() {
    let fleet = fleet().await;
    change(&fleet, "two");
    let first = fleet.rollout_waits("web", "Approval").await;
    change(&fleet, "three");
    seen(&fleet, "the canary has the newest", ["three", "one", "one"]).await;
    let second = fleet.rollout_waits("web", "Approval").await;
    assert_ne!(first["id"], second["id"]);
    let id = second["id"].as_str().expect("it is so");
    fleet.order(&["rollout", "pause", id, "--reason", "lunch"]).await;
    fleet.order(&["rollout", "approve", id, "--wave", "rest"]).await;
    wait::throughout("it is paused", QUIET, async || values(&fleet)[1].as_deref() == Some("one")).await;
    let said = fleet.order(&["rollout", "abort", id, "--reason", "wrong image"]).await;
    assert!(said.contains("is taken back"), "{said}");
    seen(&fleet, "the canary has what it had", ["two", "one", "one"]).await;
    let screen = fleet.order(&["status"]).await;
    assert!(screen.contains("BLOCKED: app web") && screen.contains("wrong image"), "{screen}");
    fleet.order(&["rollout", "retry", id]).await;
    fleet.rollout_waits("web", "Approval").await;
    fleet.order(&["rollout", "approve", "web"]).await;
    seen(&fleet, "everybody has it", ["three"; 3]).await;
}

#[tokio::test]
async fn an_app_is_taken_back_without_git_and_stays_there_until_somebody_lets_it_go_on() {
    let mut fleet = fleet().await;
    let first = fleet.catalog.head().expect("it is so");
    for to in ["two", "three"] {
        let commit = change(&fleet, to);
        fleet.rollout_waits("web", "Approval").await;
        fleet.order(&["rollout", "approve", "web"]).await;
        fleet.converge(&["--commit", &commit]).await.expect("it is so");
    }
    let said = fleet.order(&["rollback", "web", "--reason", "incident 812"]).await;
    assert!(said.contains("app web is pinned to commit") && said.contains(": 3 clusters"), "{said}");
    // No approval, no soak: its budgets alone.
    seen(&fleet, "everybody has the one before", ["two"; 3]).await;
    let commit = change(&fleet, "four");
    fleet.converge(&["--commit", &commit]).await.expect("it is so");
    wait::throughout("it stays there", QUIET, async || {
        values(&fleet).iter().all(|v| v.as_deref() == Some("two"))
    })
    .await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it is so");
    fleet.connected(CLUSTERS.len()).await;
    let screen = fleet.order(&["status"]).await;
    assert!(
        screen.contains("PINNED: app web is pinned to commit") && screen.contains("incident 812"),
        "{screen}"
    );

    // Who joins has it too.
    let joined = fleet.join("fra-4", &[], &Target::Directory).await;
    joined.expect("it is so");
    wait::until("who joins has it too", LIMIT, async || {
        let seen = value(&fleet, "fra-4", "web");
        ensure!(seen.as_deref() == Some("two"), "{seen:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
    fleet.order(&["rollback", "web", "--to", &first[..10], "--reason", "further back"]).await;
    seen(&fleet, "everybody has the first", ["one"; 3]).await;
    let none = fleet.hub(&["rollback", "wbe", "--reason", "typo"]).await.expect("it is so");
    assert!(none.code == 1 && none.stderr.contains("there is no app wbe"), "{}", none.stderr);

    // Let go by a commit: through the waves, from the canary on.
    fleet.catalog.write("README.md", "words").expect("it is so");
    fleet.catalog.commit("Go on\n\nNave-Unpin: web").expect("it is so");
    seen(&fleet, "the canary goes on", ["four", "one", "one"]).await;
    fleet.rollout_waits("web", "Approval").await;
    let pins = fleet.order(&["pin", "list"]).await;
    assert_eq!(pins, "Nothing is pinned.\n");
    fleet.order(&["audit", "verify"]).await;
}
