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
    // Not before it has left is the fleet as it shall be.
    fleet.converge(&[]).await.unwrap();
    let second = match holders(&fleet)[..] {
        [second] if second != first => second,
        ref others => panic!("{first} is drained, and it is on {others:?}\n{}", fleet.tails()),
    };
    let list = fleet.hub(&["cluster", "list"]).await.unwrap().stdout;
    assert!(list.contains("Draining"), "{list}");

    fleet.kill_spoke(second);
    let both = until(&fleet, "another takes over from the silent one", |holders| holders.len() == 2).await;
    let third = both.into_iter().find(|cluster| *cluster != second).unwrap();
    assert_ne!(third, first, "nothing comes back to a drained cluster");
    fleet.start_spoke(second, None, &Target::Directory).unwrap();
    until(&fleet, "the silent one is left once it is heard again", |holders| holders == [third]).await;
}

#[tokio::test]
async fn replicas_are_divided_over_the_chosen_clusters_and_divided_anew_with_them() {
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: web}\nspec:\n  replicas: 1\n  \
                      selector: {matchLabels: {app: web}}\n  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, \
                      image: example.com/web}]}}\n";
    let divided = |target: &str| {
        let rule = documents::placement("web", &["web"], "{selector: {matchLabels: {web: here}}}");
        rule + &format!("  replicas: {{target: {{kind: Deployment, name: {target}}}, total: 30}}\n")
    };
    let files = [
        ("apps/web.yaml", documents::app("web")),
        ("apps/manifests/web/web.yaml", deployment.to_owned()),
        ("web.yaml", divided("web")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut fleet = Fleet::start(Repository::with("catalog", &files).unwrap()).await.unwrap();
    for (cluster, labels) in CLUSTERS.into_iter().zip([&["web=here"][..], &["web=here"], &[]]) {
        fleet.join(cluster, labels, &Target::Directory).await.unwrap();
    }
    let shares = |fleet: &Fleet| {
        let share = |cluster: &str| {
            let files = fleet.files(cluster).unwrap_or_default();
            let text = files.get("deployment--web--web.yaml")?;
            let line = text.lines().find(|line| line.trim_start().starts_with("replicas:"))?;
            line.rsplit(' ').next()?.parse::<u32>().ok()
        };
        CLUSTERS.map(share)
    };
    let reach = async |fleet: &Fleet, wanted: [Option<u32>; 3]| {
        wait::until("replicas are divided", LIMIT, async || {
            let shares = shares(fleet);
            ensure!(shares == wanted, "{shares:?}, not {wanted:?}\n{}", fleet.tails());
            Ok(())
        })
        .await;
    };
    reach(&fleet, [Some(15), Some(15), None]).await;
    let labelled = fleet.hub(&["cluster", "label", "fra-3", "web=here"]).await.unwrap();
    assert_eq!(labelled.code, 0, "{}{}", labelled.stdout, labelled.stderr);
    reach(&fleet, [Some(10), Some(10), Some(10)]).await;

    // What is not there cannot be divided, and that is said; what was divided stays so.
    let newer = deployment.replace("example.com/web", "example.com/newer");
    fleet.catalog.write("apps/manifests/web/web.yaml", &newer).unwrap();
    let commit = fleet.catalog.commit_file("web.yaml", &divided("wbe")).unwrap();
    let waited = fleet.hub(&["wait", "--commit", &commit, "--timeout", "30s"]).await.unwrap();
    let said = waited.stdout + &waited.stderr;
    assert!(waited.code == 1 && said.contains("spec.replicas.target is no object of App/web"), "{said}");
    wait::until("the newer image is everywhere", LIMIT, async || {
        for cluster in CLUSTERS {
            let text = fleet.files(cluster)?.remove("deployment--web--web.yaml").unwrap_or_default();
            ensure!(text.contains("example.com/newer"), "{cluster}: {text}");
        }
        Ok(())
    })
    .await;
    assert_eq!(shares(&fleet), [Some(10), Some(10), Some(10)]);
    let why = fleet.hub(&["why", "web", "fra-1"]).await.unwrap().stdout;
    assert!(why.contains("spec.replicas.target is no object of App/web"), "{why}");
}
