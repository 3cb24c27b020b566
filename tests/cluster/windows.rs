//! Windows, freezes and protection on real clusters: what may not change stays, is kept right meanwhile, and says why.

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

/// Frozen for a lifetime, by the clock of each cluster.
const FROZEN: &str = "freeze: [{from: 2000-01-01, to: 2100-01-01}]";
/// Open at all times.
const OPEN: &str = "windows: [{cron: \"* * * * *\", duration: 2m, timezone: Europe/Berlin}]";

fn set(rules: &str) -> String {
    format!("apiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {{name: prod}}\nspec:\n  {rules}\n")
}

fn catalog() -> Vec<(&'static str, String)> {
    let cluster = "apiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {name: fra-1}\nspec: {set: prod, timezone: Asia/Tokyo}\n";
    vec![
        ("set.yaml", set(FROZEN)),
        ("cluster.yaml", cluster.to_owned()),
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placements/web.yaml", placement("web", &["web"], "{selector: {}}")),
    ]
}

async fn why(stage: &Stage, cluster: &str) -> String {
    stage.fleet.hub(&["why", "web", cluster]).await.unwrap().stdout
}

#[tokio::test]
async fn a_frozen_cluster_keeps_what_it_has_until_changes_may_start() {
    let mut stage = Stage::start(&catalog(), &[("fra-1", &[]), ("nyc-1", &[])]).await;
    // Where nothing runs nothing is disturbed.
    stage.converge().await;
    stage.value("fra-1", "web/web", "one").await;

    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "two")).unwrap();
    stage.fleet.catalog.commit("Change web").unwrap();
    stage.value("nyc-1", "web/web", "two").await;
    let reason = "changes are frozen; they may start at 2100-01-02 00:00 Asia/Tokyo";
    until("the frozen cluster says why it waits", LIMIT, async || {
        let said = why(&stage, "fra-1").await;
        ensure!(said.contains(reason), "{said}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    let shown = stage.group("the group waits", "web", |group| group["phase"] == "Waiting").await;
    assert_eq!(shown["reason"], "Frozen", "{shown:#}");
    let (code, said) = stage.wait(&["--timeout", "2s"]).await;
    assert_eq!(code, 3, "{said}");
    let cluster = stage.fleet.hub(&["cluster", "show", "fra-1"]).await.unwrap().stdout;
    assert!(
        cluster.contains(&format!("frozen from 2000-01-01 to 2100-01-01 (Asia/Tokyo); {reason}")),
        "{cluster}"
    );

    // What runs is kept right all the same, also by a spoke that knows it from its state alone.
    let spoil =
        ["patch", "configmap", "-n", "web", "web", "--type=merge", "-p", r#"{"data":{"value":"by hand"}}"#];
    for _ in 0..2 {
        stage.cluster("fra-1").kubectl(&spoil).await.unwrap();
        stage.value("fra-1", "web/web", "one").await;
        stage.restart_spoke("fra-1");
    }

    stage.fleet.catalog.write("set.yaml", &set(OPEN)).unwrap();
    stage.commit("Open a window").await;
    stage.value("fra-1", "web/web", "two").await;
}

#[tokio::test]
async fn what_is_protected_stays_until_somebody_approves_just_that() {
    let mut files = catalog();
    files[0].1 = set(OPEN);
    files[2].1 += "  protect: true\n";
    let stage = Stage::start(&files, &[("fra-1", &[]), ("nyc-1", &[])]).await;
    stage.converge().await;
    stage.fleet.catalog.remove("placements/web.yaml").unwrap();
    stage.fleet.catalog.write("web.yaml", &app("web")).unwrap();
    stage.fleet.catalog.commit("Take web away, and its protection\n\nNave-Allow-Removal: *=9").unwrap();
    let (code, said) = stage.wait(&[]).await;
    assert_eq!(code, 1, "{said}");
    let message = "app web is protected and would leave 2 of its 2 clusters; none may go without approval";
    assert!(said.contains(message), "{said}");
    let holds = stage.fleet.hub(&["hold", "list", "-o", "json"]).await.unwrap().json().unwrap();
    assert_eq!(holds[0]["hold"]["cause"]["type"], "ProtectedApp", "{holds:#}");
    // Another commit, which has nothing to do with it, lets nothing through.
    stage.fleet.catalog.write("web.yaml", &(app("web") + "  prune: false\n")).unwrap();
    stage.fleet.catalog.commit("Something else").unwrap();
    let (code, said) = stage.wait(&[]).await;
    assert!(code == 1 && said.contains(message), "{said}");
    for name in ["fra-1", "nyc-1"] {
        assert!(stage.cluster(name).has("web", "configmap/web").await, "{name}");
    }
    // An operator who orders the cluster out is told, too.
    let refused = stage.fleet.hub(&["cluster", "remove", "nyc-1", "--workloads", "delete"]).await.unwrap();
    assert_eq!(refused.code, 1, "{}", refused.stdout);
    let told = "app web, which runs on cluster nyc-1, is protected; take its protection away in Git first, or repeat this with \
                --including-protected";
    assert!(refused.stderr.contains(told), "{}", refused.stderr);
    let id = holds[0]["hold"]["id"].as_str().unwrap().to_owned();
    let rejected = stage.fleet.hub(&["hold", "reject", &id, "--reason", "not yet"]).await.unwrap();
    assert!(rejected.code == 0 && rejected.stdout.contains("it stays held"), "{}", rejected.stderr);
    let screen = stage.screen().await;
    assert!(screen.contains(&format!("rejected by admin (not yet): {message}")), "{screen}");
    let done = stage.fleet.hub(&["hold", "approve", &id, "--reason", "it moved"]).await.unwrap();
    assert_eq!(done.code, 0, "{}", done.stderr);
    stage.converge().await;
    for name in ["fra-1", "nyc-1"] {
        assert!(!stage.cluster(name).has("web", "configmap/web").await, "{name}");
    }
}
