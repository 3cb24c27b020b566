//! Spokes and hubs that are killed at moments that chance chooses, while commits come.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::fleet::Target;
use harness::wait;

use crate::given::{catalog, done, fleet, remove_app, until_values, values, write_app, write_value};

/// Changed where a failure is looked at again.
const SEED: u64 = 20_260_101;
const KILLS: usize = 24;
/// A round of a spoke over this catalog takes some tens of milliseconds, a commit up to a second until it arrives: between
/// none and all of a change is done when the kill comes.
const LONGEST_LIFE_MS: u64 = 1_500;

#[tokio::test]
async fn a_spoke_that_is_killed_again_and_again_ends_with_exactly_what_is_wanted() {
    let apps = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7"];
    let mut fleet = fleet(catalog(&apps), &["fra-1"]).await;
    let mut random = fastrand::Rng::with_seed(SEED);
    for kill in 0..KILLS {
        // All apps change with each commit; every third takes an object away and every other third brings it back.
        for app in apps {
            write_value(&fleet.catalog, app, &kill.to_string());
            let extra = format!("apps/manifests/{app}/extra.yaml");
            match kill % 3 {
                0 => fleet
                    .catalog
                    .write(&extra, &harness::fleet::documents::config_map(&format!("{app}-extra"), "x"))
                    .unwrap(),
                1 => fleet.catalog.remove(&extra).unwrap(),
                _ => {}
            }
        }
        fleet.catalog.commit("Change everything").unwrap();
        let life = Duration::from_millis(random.u64(..LONGEST_LIFE_MS));
        // It runs for exactly so long: nothing is waited for but the moment of the kill.
        let _ = wait::within(life, async || None::<()>).await;
        fleet.kill_spoke("fra-1");
        assert!(values(&fleet, "fra-1").len() >= apps.len(), "kill {kill} of seed {SEED} lost an object");
        assert!(
            values(&fleet, "fra-1").values().all(Option::is_some),
            "kill {kill} of seed {SEED} left half a file"
        );
        fleet.start_spoke("fra-1", None, &Target::Directory).unwrap();
    }
    for app in apps {
        write_value(&fleet.catalog, app, "last");
        let _ = fleet.catalog.remove(&format!("apps/manifests/{app}/extra.yaml"));
    }
    let commit = fleet.catalog.commit("Last").unwrap();
    fleet.converge(&["--commit", &commit]).await.unwrap();
    let wanted: Vec<_> = apps.iter().map(|app| (*app, "last")).collect();
    until_values(&fleet, "fra-1", &wanted).await;
    no_rest(&fleet, "fra-1", apps.len());
}

/// Nothing beside the wanted ConfigMaps and their namespaces: no orphan, no file that was being written, no second name.
fn no_rest(fleet: &harness::fleet::Fleet, cluster: &str, apps: usize) {
    let entries = std::fs::read_dir(fleet.manifests(cluster)).unwrap();
    let names: BTreeSet<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let maps = names.iter().filter(|name| name.starts_with("configmap--")).count();
    let namespaces = names.iter().filter(|name| name.starts_with("namespace--")).count();
    assert_eq!((maps, maps + namespaces), (apps, names.len()), "{names:?}");
}

#[tokio::test]
async fn a_hub_that_is_killed_again_and_again_loses_nothing_that_it_acknowledged() {
    let mut fleet = fleet(catalog(&["web"]), &["fra-1", "fra-2"]).await;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut labels = Vec::new();
    for round in 0..8 {
        write_value(&fleet.catalog, "web", &round.to_string());
        let commit = fleet.catalog.commit("Change").unwrap();
        let label = format!("round-{round}=done");
        // What the command line acknowledged has to be there in the end; what it did not may be.
        if fleet.hub(&["cluster", "label", "fra-1", &label]).await.unwrap().code == 0 {
            labels.push(format!("round-{round}"));
        }
        let life = Duration::from_millis(random.u64(..800));
        let _ = wait::within(life, async || None::<()>).await;
        fleet.kill_hub();
        fleet.start_hub().await.unwrap();
        if round == 7 {
            // Spokes come back after a pause that grows with each of these failures; new ones do at once.
            for cluster in ["fra-1", "fra-2"] {
                fleet.kill_spoke(cluster);
                fleet.start_spoke(cluster, None, &Target::Directory).unwrap();
            }
            fleet.connected(2).await;
            fleet.converge(&["--commit", &commit]).await.unwrap();
        }
    }
    for cluster in ["fra-1", "fra-2"] {
        until_values(&fleet, cluster, &[("web", "7")]).await;
    }
    assert_eq!(labels.len(), 8);
    let shown = done(&fleet, &["cluster", "show", "fra-1", "-o", "json"]).await.unwrap();
    assert!(labels.iter().all(|label| shown.contains(label)), "{labels:?} {shown}");
    done(&fleet, &["audit", "verify"]).await.unwrap();
}

#[tokio::test]
async fn a_removal_that_the_spoke_was_killed_in_is_finished_and_acknowledged_once() {
    let mut fleet = fleet(catalog(&["web", "db"]), &["fra-1"]).await;
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..4 {
        // Two entries may leave in an hour, so each round's app was new.
        let app = format!("passing-{round}");
        if round < 3 {
            write_app(&fleet.catalog, &app, "1");
            let placement = harness::fleet::documents::placement(&app, &[&app], "{selector: {}}");
            fleet.catalog.write(&format!("placements/{app}.yaml"), &placement).unwrap();
            let commit = fleet.catalog.commit("Add an app").unwrap();
            fleet.converge(&["--commit", &commit]).await.unwrap();
            remove_app(&fleet.catalog, &app);
            fleet.catalog.commit("Take it away\n\nNave-Allow-Removal: *=1").unwrap();
        }
        let _ = wait::within(Duration::from_millis(random.u64(..LONGEST_LIFE_MS)), async || None::<()>).await;
        fleet.kill_spoke("fra-1");
        fleet.start_spoke("fra-1", None, &Target::Directory).unwrap();
        fleet.connected(1).await;
        fleet.converge(&[]).await.unwrap();
        until_values(&fleet, "fra-1", &[("db", "1"), ("web", "1")]).await;
    }
}
