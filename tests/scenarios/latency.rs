//! Latency: from a commit that the hub can see to the object on a real API server.
//!
//! The clock starts when the hub is told to look (after `git commit` has returned) and stops when an independent watch
//! gets the object with the commit's value. Beside it runs the least that anybody could do: a bare server-side apply by
//! the same kind of client, seen by the same watch.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::{Stream, StreamExt as _};
use harness::fleet::documents::{app, config_map, placement};
use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use kube::api::{Api, DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::figures::{cpu, joined, size, times};
use crate::operator::Operator;

/// First of all come these, which warm the caches of all that takes part, and are not counted.
const WARM: usize = 5;

/// Scenario 3, by a poke instead of a webhook.
pub async fn commit_to_applied(samples: usize) -> Value {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "begin")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let mut fleet = Fleet::start(Repository::with("catalog", &files).unwrap()).await.unwrap();
    fleet.join("fra-1", &[], &Target::Kube(cluster.kubeconfig().to_owned())).await.unwrap();
    fleet.connected(1).await;
    let mut operator = Operator::connect(&fleet.data()).await;
    operator.wait(&fleet.catalog.head().unwrap()).await;

    let objects = objects(&cluster).await;
    let begin = objects.get("web").await.unwrap().metadata.resource_version.unwrap();
    let mut events = pin!(objects.watch(&WatchParams::default(), &begin).await.unwrap());
    let (mut applied, mut known) = (Vec::new(), Vec::new());
    for sample in 0..WARM + samples {
        let value = format!("sample-{sample}");
        let commit = fleet.catalog.commit_file("manifests/web/web.yaml", &config_map("web", &value)).unwrap();
        let start = Instant::now();
        let seen = async {
            until(&mut events, "web", &value).await;
            start.elapsed()
        };
        let told = async {
            operator.wait(&commit).await;
            start.elapsed()
        };
        let (seen, told) = tokio::join!(seen, told);
        applied.push(seen);
        known.push(told);
    }
    let mut bare = Vec::new();
    for sample in 0..WARM + samples {
        let value = format!("sample-{sample}");
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bare"}, "data": {"value": value}});
        let start = Instant::now();
        let (by, patch) = (PatchParams::apply("bench").force(), Patch::Apply(object));
        let write = objects.patch("bare", &by, &patch);
        let (write, ()) = tokio::join!(write, until(&mut events, "bare", &value));
        write.unwrap();
        bare.push(start.elapsed());
    }
    let hub = fleet.hub_process().unwrap();
    let (hub_rss, hub_cpu) = (size(hub, "VmRSS"), cpu(hub));
    let spoke = fleet.spoke_process("fra-1").unwrap();
    let figures = times(&mut applied[WARM..]);
    let baseline = times(&mut bare[WARM..]);
    let ratio = figures["p50_ms"].as_f64().unwrap() / baseline["p50_ms"].as_f64().unwrap();
    joined(&[
        json!({"scenario": 3, "n": samples, "trigger": "hub wait"}),
        figures,
        json!({
            "known_to_the_hub": times(&mut known[WARM..]),
            "rss_kb": {"hub": hub_rss, "spoke": size(spoke, "VmRSS")},
            "cpu_s": {"hub": hub_cpu.as_secs_f64(), "spoke": cpu(spoke).as_secs_f64()},
            "baseline": joined(&[json!({"what": "a bare server-side apply"}), baseline]),
            "ratio": (ratio * 10.0).round() / 10.0,
        }),
    ])
}

/// The ConfigMaps of the namespace `web`.
pub async fn objects(cluster: &Cluster) -> Api<DynamicObject> {
    let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig()).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    Api::namespaced_with(kube::Client::try_from(config).unwrap(), "web", &resource)
}

async fn until<S>(events: &mut S, name: &str, value: &str)
where
    S: Stream<Item = kube::Result<WatchEvent<DynamicObject>>> + Unpin,
{
    let limit = Duration::from_secs(60);
    let seen = async {
        while let Some(event) = events.next().await {
            if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event.unwrap()
                && object.metadata.name.as_deref() == Some(name)
                && object.data["data"]["value"] == value
            {
                return;
            }
        }
        panic!("the watch ended");
    };
    tokio::time::timeout(limit, seen)
        .await
        .unwrap_or_else(|_| panic!("{name} is not {value} within {limit:?}"));
}
