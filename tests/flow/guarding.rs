//! The guard on a fleet of some size, with real processes: what is meant goes through, what is a slip is held.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;
use serde_json::Value;

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(120);
const CLUSTERS: usize = 51;
const MISTAKEN: usize = 15;

fn name(number: usize) -> String {
    format!("c-{number:02}")
}

/// What Git says of so many clusters, the first of them with another label.
fn clusters(mistaken: usize) -> String {
    let cluster = |number: usize| {
        let env = if number < mistaken { "prdo" } else { "prod" };
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {}, labels: {{env: {env}}}}}\nspec: {{}}\n",
            name(number)
        )
    };
    (0..CLUSTERS).map(cluster).collect::<Vec<_>>().join("---\n")
}

async fn holds(fleet: &Fleet) -> Value {
    let listed = fleet.hub(&["hold", "list", "-o", "json"]).await.expect("it runs");
    listed.json().expect("JSON")
}

#[tokio::test]
async fn one_object_of_each_of_51_clusters_goes_as_meant_and_a_label_with_a_typo_that_empties_15_is_held() {
    let both =
        format!("{}---\n{}", documents::config_map("web", "one"), documents::config_map("extra", "one"));
    let (app, all) = (documents::app("web"), clusters(0));
    let placement = documents::placement("prod", &["web"], "{selector: {matchLabels: {env: prod}}}");
    let files = [
        ("clusters.yaml", &*all),
        ("web.yaml", &*app),
        ("manifests/web/web.yaml", &*both),
        ("placement.yaml", &*placement),
    ];
    let mut fleet =
        Fleet::start(Repository::with("catalog", &files).expect("it is written")).await.expect("it starts");
    for number in 0..CLUSTERS {
        fleet.join(&name(number), &[], &Target::Directory).await.expect("it joins");
    }
    fleet.connected(CLUSTERS).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");

    let files = fleet.files(&name(0)).expect("they are there");
    assert!(files.contains_key("configmap--web--extra.yaml"), "{files:?}");

    // Each cluster loses an object, by a change that says so.
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", "one")).expect("written");
    let commit = fleet.catalog.commit("Without extra").expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    assert_eq!(holds(&fleet).await, serde_json::json!([]));
    for number in 0..CLUSTERS {
        let files = fleet.files(&name(number)).expect("they are there");
        assert!(!files.contains_key("configmap--web--extra.yaml"), "{files:?}");
    }

    // A slip in a label would take the app from some, and each of these would be empty.
    fleet.catalog.write("clusters.yaml", &clusters(MISTAKEN)).expect("written");
    fleet.catalog.commit("Relabel").expect("a commit");
    wait::until("it is held", LIMIT, async || {
        let held = holds(&fleet).await;
        ensure!(held.as_array().is_some_and(|held| !held.is_empty()), "{held:#}\n{}", fleet.tails());
        Ok(())
    })
    .await;
    let screen = fleet.hub(&["status"]).await.expect("it runs").stdout;
    let held = format!("app web would leave {MISTAKEN} of its {CLUSTERS} clusters");
    assert!(screen.contains(&held), "{screen}");
    for number in 0..CLUSTERS {
        assert_eq!(value(&fleet, &name(number), "web").as_deref(), Some("one"), "{number}");
    }
}
