//! Placing: what a rule picked moves when its cluster is drained or silent, with a real hub and spokes on directories.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;

/// More than the least time after which a silent cluster may be left, which is 30 s, and what then has to happen.
const LIMIT: Duration = Duration::from_secs(90);

const CLUSTERS: [&str; 3] = ["fra-1", "fra-2", "fra-3"];

/// A directory has no nodes, and only its spoke can have said so.
const WHERE: &str = "{selector: {}, where: '!has(facts.nodes)'}";
const PICK: &str = "  pick: {count: 1, failover: {unreachable: 30s, suspendAbove: 60%}}\n";

/// The clusters on which app `web` is. Its namespace stays where others might live in it.
fn holders(fleet: &Fleet) -> Vec<&'static str> {
    let holds = |cluster: &&str| {
        fleet.files(cluster).is_ok_and(|files| files.keys().any(|name| name == "configmap--web--web.yaml"))
    };
    CLUSTERS.into_iter().filter(holds).collect()
}

async fn until(fleet: &Fleet, what: &str, reached: impl Fn(&[&str]) -> bool) -> Vec<&'static str> {
    wait::until(what, LIMIT, async || {
        let holders = holders(fleet);
        ensure!(reached(&holders), "it is on {holders:?}\n{}", fleet.tails());
        Ok(holders)
    })
    .await
}

#[tokio::test]
async fn what_was_picked_leaves_a_drained_cluster_and_a_silent_one_once_another_is_healthy() {
    let placement = documents::placement("web", &["web"], WHERE) + PICK;
    let catalog = Repository::with(
        "catalog",
        &[
            ("apps/web.yaml", &documents::app("web")),
            ("apps/manifests/web/web.yaml", &documents::config_map("web", "1")),
            ("web.yaml", &placement),
        ],
    );
    let mut fleet = Fleet::start(catalog.unwrap()).await.unwrap();
    for cluster in CLUSTERS {
        fleet.join(cluster, &[], &Target::Directory).await.unwrap();
    }
    let first = until(&fleet, "one is picked by a fact", |holders| holders.len() == 1).await[0];

    let drained = fleet.hub(&["cluster", "drain", first]).await.unwrap();
    assert_eq!(drained.code, 0, "{}{}", drained.stdout, drained.stderr);
    let moved = |holders: &[&str]| holders.len() == 1 && holders[0] != first;
    let second = until(&fleet, "the drained cluster is left", moved).await[0];
    let list = fleet.hub(&["cluster", "list"]).await.unwrap().stdout;
    assert!(list.contains("Draining"), "{list}");

    fleet.kill_spoke(second);
    let both = until(&fleet, "another takes over from the silent one", |holders| holders.len() == 2).await;
    let third = both.into_iter().find(|cluster| *cluster != second).unwrap();
    assert_ne!(third, first, "nothing comes back to a drained cluster");
    fleet.start_spoke(second, None, &Target::Directory).unwrap();
    until(&fleet, "the silent one is left once it is heard again", |holders| holders == [third]).await;
}
