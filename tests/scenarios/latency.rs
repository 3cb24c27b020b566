//! Latency: from a commit that the hub can see to the object on a real API server.
//!
//! The clock starts when the forge's webhook is sent (after `git commit` has returned; the hub does not poll) and stops when an
//! independent watch gets the object with the commit's value. Beside it runs the least that anybody could do: a bare server-side apply by
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

/// What the forge and the hub share.
const SECRET: &str = "of the forge and the hub";
/// What the forge says; the hub believes nothing of it.
const PUSHED: &str = r#"{"ref": "refs/heads/main"}"#;

/// Sends what GitHub would.
async fn push(fleet: &Fleet) {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = ring::hmac::sign(&key, PUSHED.as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={hex}");
    let headers = [("X-GitHub-Event", "push"), ("X-Hub-Signature-256", signature.as_str())];
    let answer = fleet.http("POST /webhook", &headers, PUSHED).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
}

/// Scenario 3.
pub async fn commit_to_applied(samples: usize) -> Value {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "begin")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let mut fleet = Fleet::prepare(Repository::with("catalog", &files).unwrap()).await.unwrap();
    fleet.configure("webhooks: [{name: forge, provider: GitHub, secretFile: forge.secret}]\n").unwrap();
    std::fs::write(fleet.directory().join("forge.secret"), SECRET).unwrap();
    fleet.poll_every("1h");
    fleet.start_hub().await.unwrap();
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
        let (seen, ()) = tokio::join!(seen, push(&fleet));
        applied.push(seen);
        // It asks Git, too, and nothing is new by then.
        operator.wait(&commit).await;
        known.push(start.elapsed());
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
        json!({"scenario": 3, "n": samples, "trigger": "webhook"}),
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
