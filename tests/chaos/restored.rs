//! A store from yesterday under a fleet of today: the hub learns of it from a spoke's hello, tells nobody anything, and goes
//! on from what the spokes run once an operator has accepted it.

use harness::fleet::{Fleet, Target, documents};
use harness::wait;
use serde_json::Value;

use crate::given::{
    LIMIT, WATCHED, catalog, done, files, fleet, until_status, until_values, values, write_app, write_value,
};

const CLUSTERS: [&str; 2] = ["fra-1", "fra-2"];

/// The store and everything that belongs to it, but not the keys: what a backup holds.
fn copy(fleet: &Fleet) -> Vec<u8> {
    std::fs::read(fleet.data().join("store.redb")).unwrap()
}

fn put_back(fleet: &Fleet, copy: &[u8]) {
    std::fs::write(fleet.data().join("store.redb"), copy).unwrap();
}

/// Spokes that just started, so that no back-off from the hub's absence makes the test wait.
pub fn restart_spokes(fleet: &mut Fleet, clusters: &[&str]) {
    for cluster in clusters {
        fleet.kill_spoke(cluster);
        fleet.start_spoke(cluster, None, &Target::Directory).unwrap();
    }
}

async fn epoch(fleet: &Fleet, cluster: &str) -> u64 {
    let shown = done(fleet, &["cluster", "show", cluster, "-o", "json"]).await.unwrap();
    let view: Value = serde_json::from_str(&shown).unwrap();
    view["epoch"].as_u64().unwrap()
}

#[tokio::test]
async fn a_hub_with_an_old_store_is_silent_until_it_is_accepted_and_then_drops_nothing() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    fleet.kill_hub();
    let old = copy(&fleet);
    fleet.start_hub().await.unwrap();

    // After the copy: a change, an app that the copy does not know, and one that it does not know and Git drops again.
    write_value(&fleet.catalog, "web", "2");
    for app in ["new", "gone"] {
        write_app(&fleet.catalog, app, "1");
        let placement = documents::placement(app, &[app], "{selector: {}}");
        fleet.catalog.write(&format!("placements/{app}.yaml"), &placement).unwrap();
    }
    let commit = fleet.catalog.commit("Go on after the copy").unwrap();
    restart_spokes(&mut fleet, &CLUSTERS);
    fleet.connected(2).await;
    fleet.converge(&["--commit", &commit]).await.unwrap();

    fleet.kill_hub();
    put_back(&fleet, &old);
    crate::given::remove_app(&fleet.catalog, "gone");
    write_value(&fleet.catalog, "web", "3");
    fleet.catalog.commit("While the store is in doubt").unwrap();
    fleet.start_hub().await.unwrap();
    restart_spokes(&mut fleet, &CLUSTERS);
    until_status(&fleet, "hub status says that the store is old", |status| {
        status["doubt"].as_str().is_some_and(|doubt| doubt.contains("hub accept-restore"))
    })
    .await;
    fleet.connected(2).await;
    let before = files(&fleet, &CLUSTERS);
    assert_eq!(values(&fleet, "fra-1")["web"], Some("2".to_owned()));
    write_value(&fleet.catalog, "web", "4");
    fleet.catalog.commit("Another one while the store is in doubt").unwrap();
    wait::throughout("nobody is told anything", WATCHED, async || files(&fleet, &CLUSTERS) == before).await;
    // Not even over a restart: the doubt is stored.
    fleet.kill_hub();
    fleet.start_hub().await.unwrap();
    until_status(&fleet, "a restarted hub says so too", |status| status["doubt"].is_string()).await;
    wait::throughout("nobody is told anything", WATCHED, async || files(&fleet, &CLUSTERS) == before).await;
    let waited = fleet.hub(&["wait", "--timeout", "2s"]).await.unwrap();
    assert_eq!(waited.code, 3, "{waited:?}");

    assert_eq!(epoch(&fleet, "fra-1").await, 1);
    done(&fleet, &["accept-restore"]).await.unwrap();
    assert_eq!(epoch(&fleet, "fra-1").await, 2);
    restart_spokes(&mut fleet, &CLUSTERS);
    fleet.connected(2).await;
    fleet.converge(&[]).await.unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "1"), ("new", "1"), ("web", "4")]).await;
    }
    // What left did so as an order with its reason in the log, not by being unknown.
    let audit = done(&fleet, &["audit", "--limit", "1000", "-o", "json"]).await.unwrap();
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let lines = audit["lines"].as_array().unwrap();
    let of_gone =
        |line: &&Value| line["what"] == "Leaving" && line["subject"].as_str().unwrap().contains("gone");
    let clusters = lines
        .iter()
        .filter(of_gone)
        .flat_map(|line| line["details"]["clusters"].as_str().unwrap().split(','));
    let mut left: Vec<&str> = clusters.collect();
    left.sort_unstable();
    assert_eq!(left, CLUSTERS, "{audit}");
    for what in ["StateLost", "RestoreAccepted", "Seeded"] {
        assert!(lines.iter().any(|line| line["what"] == what), "{what}: {audit}");
    }
    done(&fleet, &["audit", "verify"]).await.unwrap();
}

#[tokio::test]
async fn a_cluster_that_the_old_store_does_not_know_keeps_everything_and_is_refused() {
    let mut fleet = fleet(catalog(&["web"]), &["fra-1"]).await;
    fleet.kill_hub();
    let old = copy(&fleet);
    fleet.start_hub().await.unwrap();
    restart_spokes(&mut fleet, &["fra-1"]);
    fleet.join("fra-2", &[], &Target::Directory).await.unwrap();
    fleet.connected(2).await;
    fleet.converge(&["--cluster", "fra-2"]).await.unwrap();
    let before = files(&fleet, &["fra-2"]);

    fleet.kill_hub();
    put_back(&fleet, &old);
    fleet.start_hub().await.unwrap();
    restart_spokes(&mut fleet, &["fra-2"]);
    fleet.spoke_process("fra-2").unwrap().line("refused=true", LIMIT).await.unwrap();
    wait::throughout("it keeps what it has", WATCHED, async || files(&fleet, &["fra-2"]) == before).await;
    // And it goes on to keep it so.
    let name = before["fra-2"].keys().next().unwrap().clone();
    std::fs::remove_file(fleet.manifests("fra-2").join(name)).unwrap();
    wait::until("what was removed by hand is back", LIMIT, async || files(&fleet, &["fra-2"]) == before)
        .await;
}
