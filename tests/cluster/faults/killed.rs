//! Killed and left alone: a spoke that dies between any two of its writes, and one that has neither hub nor API server.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::ensure;
use harness::faults::{Fault, Which};
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::{until, within};

use super::world::{FRA, World};
use crate::stage::{LIMIT, Stage, Witness};

/// Objects of the app.
const OBJECTS: usize = 40;
/// A spoke that has something to write begins to within this time on a loaded machine.
const STARTED: Duration = Duration::from_secs(15);
/// So often it is killed in an installation; each time some writes further on.
const KILLS: usize = 6;

fn files(objects: std::ops::Range<usize>, value: &str) -> Vec<(&'static str, String)> {
    let many = objects.map(|n| config_map(&format!("web-{n}"), value)).collect::<Vec<_>>().join("---\n");
    vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", many),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

/// Names of what is on the cluster with our mark and in no inventory.
async fn orphans(stage: &Stage) -> Vec<String> {
    let fra = stage.cluster(FRA);
    let inventories = [
        "get",
        "configmaps",
        "-n",
        "nave-system",
        "-l",
        "nave.dev/inventory=true",
        "-o",
        "jsonpath={.items[*].data.inventory}",
    ];
    // First the objects, then the inventories: those are written before.
    let marked = [
        "get",
        "configmaps",
        "-A",
        "-l",
        "applyset.kubernetes.io/part-of",
        "-o",
        "jsonpath={.items[*].metadata.name}",
    ];
    let marked = fra.kubectl(&marked).await.unwrap();
    let inventories = fra.kubectl(&inventories).await.unwrap();
    let known = |name: &&str| inventories.contains(&format!("{name:?}"));
    marked.split_whitespace().filter(|name| !known(name)).map(str::to_owned).collect()
}

/// Kills the spoke again and again while it writes, until there is nothing left to write.
async fn kill_between_writes(stage: &mut Stage, seed: u64) {
    let writes = Which::writes();
    let mut random = fastrand::Rng::with_seed(seed);
    for kill in 0..KILLS {
        stage.proxies[0].forget();
        let after = random.usize(1..OBJECTS / 4);
        let writing = within(STARTED, async || {
            let seen = stage.proxies[0].count(&writes);
            ensure!(seen >= after, "{seen}\n{}", stage.fleet.tails());
            Ok(())
        })
        .await;
        if let Err(state) = writing {
            // It has come through, with what it wrote before it was killed and with what was under way then.
            assert!(kill >= 2, "kill {kill} after {after} writes, seed {seed}: {state}");
            return;
        }
        stage.fleet.kill_spoke(FRA);
        assert_eq!(
            orphans(stage).await,
            Vec::<String>::new(),
            "kill {kill} after {after} writes, seed {seed}"
        );
        stage.restart_spoke(FRA);
    }
}

#[tokio::test]
async fn a_spoke_killed_at_any_write_leaves_no_orphan_and_makes_nothing_twice() {
    let seed = fastrand::u64(..);
    let mut stage = Stage::start_behind_proxies(&files(0..1, "begin"), &[(FRA, &[])]).await;
    stage.converge().await;
    let recording_cluster = stage.clusters.iter().position(|c| c.name() == FRA).expect("it is the only one");

    // Slow enough that kills come between writes.
    stage.proxies[0].inject(Which::writes(), Fault::Delay(Duration::from_millis(60)));
    for (path, text) in files(0..OBJECTS, "one") {
        stage.fleet.catalog.write(path, &text).unwrap();
    }
    stage.fleet.catalog.commit("Install").unwrap();
    kill_between_writes(&mut stage, seed).await;
    stage.converge().await;
    let uids = async |stage: &Stage| {
        let each = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid}{\"\\n\"}{end}";
        let ours = ["get", "configmaps", "-n", "web", "-l", "applyset.kubernetes.io/part-of", "-o", each];
        let listed = stage.clusters[recording_cluster].kubectl(&ours).await.unwrap();
        listed.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let installed = uids(&stage).await;
    assert_eq!(installed.len(), OBJECTS, "seed {seed}");

    // A change of all and the removal of half, broken off as well: what stays is what it was.
    for (path, text) in files(0..OBJECTS / 2, "two") {
        stage.fleet.catalog.write(path, &text).unwrap();
    }
    let allowed = format!("Halve\n\nNave-Allow-Removal: app/web/objects={}", OBJECTS / 2);
    stage.fleet.catalog.commit(&allowed).unwrap();
    kill_between_writes(&mut stage, seed.wrapping_add(1)).await;
    stage.proxies[0].clear();
    stage.converge().await;
    let left = uids(&stage).await;
    assert_eq!(left.len(), OBJECTS / 2, "seed {seed}: {left:#?}");
    assert!(left.is_subset(&installed), "seed {seed}: something was made anew");
    assert_eq!(stage.cluster(FRA).config_map("web/web-7").await.unwrap(), "two");
    assert_eq!(orphans(&stage).await, Vec::<String>::new());
}

#[tokio::test]
async fn without_hub_and_api_server_a_restarted_spoke_waits_and_then_does_what_it_was_told_last() {
    let mut world = World::start().await;
    let uids = world.uids().await;
    let stage = &mut world.stage;
    stage.fleet.kill_hub();
    stage.cluster_mut(FRA).kill_api_server();
    stage.restart_spoke(FRA);
    // It does not end, and does not ask in a hot loop.
    stage.proxies[0].forget();
    harness::wait::throughout("the spoke waits", Duration::from_secs(6), async || {
        ensure!(stage.fleet.spoke_process(FRA)?.status().is_none(), "it has ended");
        Ok(())
    })
    .await;
    let asked = stage.proxies[0].requests().len();
    assert!(asked < 60, "{asked} requests: {:#?}", stage.proxies[0].counts());

    stage.cluster_mut(FRA).start_api_server().await.unwrap();
    stage.cluster(FRA).kubectl(&["delete", "-n", "rest", "secret/rest"]).await.unwrap();
    world.edit_is_put_back("after both were away", LIMIT).await;
    until("the deleted secret is back", LIMIT, async || world.cluster().has("rest", "secret/rest").await)
        .await;

    // The API server once more, with the hub still away, and then the hub: what it is told is the latest.
    world.stage.cluster_mut(FRA).start_api_server().await.unwrap();
    world.edit_is_put_back("after the API server was away once more", LIMIT).await;
    let stage = &mut world.stage;
    stage.fleet.start_hub().await.unwrap();
    stage.fleet.connected(1).await;
    let shown = until("the hub hears of the corrections", LIMIT, async || {
        let shown = world.stage.fleet.hub(&["cluster", "show", FRA, "-o", "json"]).await?.json()?;
        let corrected = shown["apps"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|a| a["corrected"].as_u64())
            .sum::<u64>();
        ensure!(corrected >= 2, "{shown:#}");
        Ok(shown)
    })
    .await;
    assert!(!shown.is_null());
    let mut now = world.uids().await;
    now.insert("rest/Secret/rest".into(), uids["rest/Secret/rest"].clone());
    assert_eq!(now, uids, "nothing but the secret was made anew");
    world.change();
    world.stage.converge().await;
    world
        .is_as_wanted(&now.into_iter().filter(|(name, _)| !name.contains("Secret")).collect(), "after all")
        .await;
}
