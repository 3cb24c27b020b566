//! Pausing: nothing of what is paused changes, everything else goes on, and it ends by an order or by itself.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
const CLUSTERS: [&str; 2] = ["fra-1", "fra-2"];

async fn values(fleet: &Fleet, what: &str, app: &str, wanted: [Option<&str>; 2]) {
    wait::until(what, LIMIT, async || {
        let seen = CLUSTERS.map(|cluster| value(fleet, cluster, app));
        ensure!(seen.each_ref().map(Option::as_deref) == wanted, "{app}: {seen:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

/// Waits until the screen says this of the app.
async fn waits(fleet: &Fleet, app: &str, message: &str) {
    wait::until(&format!("{app} waits"), LIMIT, async || {
        let status = fleet.status().await?;
        let groups = status["groups"].as_array().context("status has groups")?;
        let told =
            |group: &&serde_json::Value| group["message"].as_str().is_some_and(|m| m.contains(message));
        let group = groups.iter().filter(|group| group["app"] == app).find(told);
        let group = group.with_context(|| format!("{groups:#?}\n{}", fleet.tails()))?;
        ensure!(group["phase"] == "Waiting" && status["converged"] == false, "{status:#}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn what_is_paused_stays_and_everything_else_goes_on() {
    let apps = ["web", "shop"];
    let mut files = Vec::new();
    for app in apps {
        files.push((format!("apps/{app}.yaml"), documents::app(app)));
        files.push((format!("apps/manifests/{app}/{app}.yaml"), documents::config_map(app, "one")));
        let placement = documents::placement(app, &[app], "{selector: {}}");
        files.push((format!("placements/{app}.yaml"), placement));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut fleet = Fleet::start(Repository::with("catalog", &files).unwrap()).await.unwrap();
    for cluster in CLUSTERS {
        fleet.join(cluster, &[], &Target::Directory).await.unwrap();
    }
    fleet.converge(&[]).await.unwrap();
    let write = |fleet: &Fleet, value: &str| {
        for app in apps {
            let path = format!("apps/manifests/{app}/{app}.yaml");
            fleet.catalog.write(&path, &documents::config_map(app, value)).unwrap();
        }
        fleet.catalog.commit(value).unwrap();
    };

    // An app, everywhere, also over a hub that is killed.
    let said = fleet.order(&["pause", "web", "--for", "1h", "--reason", "incident 812"]).await;
    assert!(
        said.starts_with("app web is paused until ") && said.contains("by admin: incident 812"),
        "{said}"
    );
    write(&fleet, "two");
    values(&fleet, "the other app changes", "shop", [Some("two"), Some("two")]).await;
    waits(&fleet, "web", "a change waits: app web is paused until ").await;
    fleet.kill_hub();
    fleet.start_hub().await.unwrap();
    fleet.connected(2).await;
    write(&fleet, "three");
    values(&fleet, "the other app changes again", "shop", [Some("three"), Some("three")]).await;
    values(&fleet, "the paused app stays", "web", [Some("one"), Some("one")]).await;
    let screen = fleet.order(&["status"]).await;
    assert!(screen.contains("PAUSED: app web is paused until "), "{screen}");
    let why = fleet.order(&["why", "web", "fra-1"]).await;
    assert!(why.contains("incident 812; `hub resume web` ends it"), "{why}");
    let refused = fleet.hub(&["resume", "shop"]).await.unwrap();
    assert!(
        refused.code == 1 && refused.stderr.contains("app shop is not paused; paused is app web"),
        "{refused:?}"
    );
    fleet.order(&["resume", "web"]).await;
    values(&fleet, "it goes on", "web", [Some("three"), Some("three")]).await;
    fleet.converge(&[]).await.unwrap();

    // A cluster: nothing comes, changes, or leaves there.
    fleet.order(&["pause", "--cluster", "fra-1", "--for", "1h"]).await;
    fleet.catalog.remove("placements/shop.yaml").unwrap();
    write(&fleet, "four");
    values(&fleet, "the removal goes on elsewhere", "shop", [Some("three"), None]).await;
    values(&fleet, "so does the change", "web", [Some("three"), Some("four")]).await;
    waits(&fleet, "shop", "a change waits: cluster fra-1 is paused until ").await;
    fleet.order(&["resume", "--cluster", "fra-1"]).await;
    values(&fleet, "the removal takes place", "shop", [None, None]).await;
    values(&fleet, "and the change", "web", [Some("four"), Some("four")]).await;

    // Everything, until it ends by itself.
    fleet.order(&["pause", "--all", "--for", "8s"]).await;
    write(&fleet, "five");
    waits(&fleet, "web", "a change waits: everything is paused until ").await;
    values(&fleet, "nothing changes", "web", [Some("four"), Some("four")]).await;
    values(&fleet, "the pause is over", "web", [Some("five"), Some("five")]).await;
    fleet.converge(&[]).await.unwrap();
    let audit = fleet.order(&["audit", "--limit", "200"]).await;
    assert!(audit.contains("Paused") && audit.contains("Resumed"), "{audit}");
    let exported = fleet.order(&["audit", "export", "--after", "1"]).await;
    let lines: Vec<serde_json::Value> =
        exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().zip(2..).all(|(line, at)| line["sequence"] == at), "{exported}");
    assert_eq!(lines.iter().filter(|line| line["what"] == "Paused").count(), 3, "{exported}");
}
