//! What a hub does not know any more: objects that only a version had which nobody remembers, and bundles whose files are gone.

use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::wait;
use serde_json::Value;

use crate::given::{
    LIMIT, WATCHED, catalog, done, fleet, holds, remove_app, until_held, until_status, until_values, values,
    write_value,
};
use crate::restored::restart_spokes;

/// Removes the files of all bundles that a process keeps.
fn lose_bundles(directory: &Path) {
    for file in std::fs::read_dir(directory).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
    assert!(copied.success());
}

fn hold(status: &Value) -> &Value {
    &status["holds"][0]
}

#[tokio::test]
async fn what_only_a_forgotten_version_had_goes_once_exactly_that_is_approved() {
    let clusters = ["fra-1", "fra-2"];
    let mut fleet = fleet(catalog(&["web", "db"]), &clusters).await;
    fleet.kill_hub();
    let backup = fleet.directory().join("backup");
    copy(&fleet.data(), &backup);
    fleet.start_hub().await.unwrap();
    restart_spokes(&mut fleet, &clusters);

    // A version with two more objects, of which the backup knows nothing, and which Git soon does not know any more either.
    for name in ["more", "most"] {
        let path = format!("apps/manifests/web/{name}.yaml");
        fleet.catalog.write(&path, &documents::config_map(name, "1")).unwrap();
    }
    let commit = fleet.catalog.commit("More").unwrap();
    fleet.connected(2).await;
    fleet.converge(&["--commit", &commit]).await.unwrap();
    fleet.kill_hub();
    std::fs::remove_dir_all(fleet.data()).unwrap();
    copy(&backup, &fleet.data());
    for words in [
        &["reset", "--hard", "HEAD~1"][..],
        &["reflog", "expire", "--expire=now", "--all"],
        &["gc", "--prune=now", "--quiet"],
    ] {
        fleet.catalog.git(words).unwrap();
    }
    write_value(&fleet.catalog, "web", "2");
    fleet.catalog.commit("Less").unwrap();
    fleet.start_hub().await.unwrap();
    restart_spokes(&mut fleet, &clusters);
    until_status(&fleet, "the store is in doubt", |status| status["doubt"].is_string()).await;
    done(&fleet, &["accept-restore"]).await.unwrap();

    let status = until_status(&fleet, "both clusters have the same left over", |status| {
        hold(status)["hold"]["entries"].as_array().is_some_and(|entries| entries.len() == 2)
    })
    .await;
    let [id] = &holds(&status)[..] else { panic!("one hold: {status:#}") };
    let left = |fleet: &Fleet, cluster: &str| values(fleet, cluster).contains_key("more");
    let shown = done(&fleet, &["hold", "show", id]).await.unwrap();
    assert!(shown.contains("ConfigMap web/more") && shown.contains("ConfigMap web/most"), "{shown}");
    let waited = fleet.hub(&["wait", "--timeout", "20s"]).await.unwrap();
    assert!(waited.code == 1 && waited.stdout.contains("would delete 2 objects"), "{waited:?}");
    wait::throughout("nothing goes by itself", WATCHED, async || {
        clusters.iter().all(|cluster| left(&fleet, cluster))
    })
    .await;

    done(&fleet, &["hold", "approve", id, "--reason", "the store was lost"]).await.unwrap();
    for cluster in clusters {
        until_values(&fleet, cluster, &[("db", "1"), ("web", "2")]).await;
    }
    fleet.converge(&[]).await.unwrap();
    assert_eq!(holds(&fleet.status().await.unwrap()), Vec::<String>::new());
    let audit = done(&fleet, &["audit", "--limit", "1000", "-o", "json"]).await.unwrap();
    let audit: Value = serde_json::from_str(&audit).unwrap();
    let lines = audit["lines"].as_array().unwrap();
    let pruned = lines.iter().any(|line| {
        line["what"] == "Pruned" && line["subject"] == "app web" && line["why"] == format!("Approved {id}")
    });
    assert!(pruned, "{audit:#}");
}

#[tokio::test]
async fn a_bundle_whose_file_is_gone_is_rendered_again_also_for_an_entry_that_only_a_hold_keeps() {
    let mut fleet = fleet(catalog(&["web", "p", "q", "r"]), &["fra-1"]).await;
    for app in ["p", "q", "r"] {
        remove_app(&fleet.catalog, app);
    }
    fleet.catalog.commit("Three are to go, which is more than may").unwrap();
    until_held(&fleet, 1).await;
    fleet.kill_spoke("fra-1");
    lose_bundles(&fleet.data().join("bundles"));
    lose_bundles(&fleet.state("fra-1").join("bundles"));
    for name in fleet.files("fra-1").unwrap().keys().filter(|name| name.starts_with("configmap")) {
        std::fs::remove_file(fleet.manifests("fra-1").join(name)).unwrap();
    }
    fleet.start_spoke("fra-1", None, &Target::Directory).unwrap();
    wait::until("everything is there again", LIMIT, async || {
        let seen: Vec<String> = values(&fleet, "fra-1").into_keys().collect();
        ensure!(seen == ["p", "q", "r", "web"], "{seen:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}
