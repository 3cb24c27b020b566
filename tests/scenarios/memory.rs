//! Memory: what idle processes hold, as the kernel counts it.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use harness::fleet::documents::{app, config_map, placement};
use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use serde_json::{Value, json};

use crate::figures::{cpu, size, threads};

/// From converged to measured.
const IDLE: Duration = Duration::from_secs(60);

/// Scenario 10: one spoke on a real cluster, with so many objects of its own, after a minute in which nothing happens.
pub async fn idle_spoke(objects: usize) -> Value {
    let (mut fleet, _clusters) = converged(1, objects).await;
    let spoke = fleet.spoke_process("cluster-1").unwrap();
    let (began, before) = (Instant::now(), cpu(spoke));
    tokio::time::sleep(IDLE).await;
    let used = cpu(spoke).saturating_sub(before);
    let millicores = used.as_secs_f64() / began.elapsed().as_secs_f64() * 1_000.0;
    json!({
        "scenario": 10,
        "n": objects,
        "rss_kb": size(spoke, "VmRSS"),
        "rss_anon_kb": size(spoke, "RssAnon"),
        "max_rss_kb": size(spoke, "VmHWM"),
        "threads": threads(spoke),
        "cpu_s": used.as_secs_f64(),
        "millicores": (millicores * 10.0).round() / 10.0,
    })
}

/// The hub with so many spokes on real clusters, after a minute in which nothing happens.
pub async fn hub(spokes: usize) -> Value {
    let (mut fleet, _clusters) = converged(spokes, 1).await;
    let hub = fleet.hub_process().unwrap();
    let before = cpu(hub);
    tokio::time::sleep(IDLE).await;
    json!({
        "scenario": "hub-rss",
        "n": spokes,
        "rss_kb": size(hub, "VmRSS"),
        "rss_anon_kb": size(hub, "RssAnon"),
        "max_rss_kb": size(hub, "VmHWM"),
        "threads": threads(hub),
        "cpu_s": cpu(hub).saturating_sub(before).as_secs_f64(),
    })
}

/// A fleet on real clusters that has come to rest.
async fn converged(clusters: usize, objects: usize) -> (Fleet, Vec<Cluster>) {
    let names: Vec<String> = (1..=clusters).map(|n| format!("cluster-{n}")).collect();
    let starting = names.iter().map(|name| Cluster::start(Options { name: name.clone(), workloads: false }));
    let clusters = try_join_all(starting).await.unwrap();
    let manifests: String = (0..objects).map(|n| config_map(&format!("web-{n}"), "idle") + "---\n").collect();
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", manifests),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let mut fleet = Fleet::start(Repository::with("catalog", &files).unwrap()).await.unwrap();
    for (name, cluster) in names.iter().zip(&clusters) {
        fleet.join(name, &[], &Target::Kube(cluster.kubeconfig().to_owned())).await.unwrap();
    }
    fleet.connected(names.len()).await;
    let head = fleet.catalog.head().unwrap();
    fleet.converge(&["--commit", &head]).await.unwrap();
    (fleet, clusters)
}
