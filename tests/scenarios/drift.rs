//! Drift: from a foreign write to the object as it was, on a real API server.
//!
//! The clock starts when the API server has taken the write and stops when an independent watch gets the object with its
//! own value again: noticing, looking, planning and writing are all in it.

use std::pin::pin;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use harness::fleet::documents::{app, config_map, placement};
use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

use crate::figures::{cpu, joined, size, times};
use crate::latency::objects;

/// Scenario 13.
pub async fn corrected(samples: usize) -> Value {
    // Each foreign write meets an object of its own: who changes one again and again is in a fight, which ends.
    let manifests: String = (0..samples).map(|n| config_map(&format!("web-{n}"), "ours") + "---\n").collect();
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", manifests),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let mut fleet = Fleet::start(Repository::with("catalog", &files).unwrap()).await.unwrap();
    fleet.join("fra-1", &[], &Target::Kube(cluster.kubeconfig().to_owned())).await.unwrap();
    fleet.connected(1).await;
    let head = fleet.catalog.head().unwrap();
    fleet.converge(&["--commit", &head]).await.unwrap();

    let objects = objects(&cluster).await;
    let begin = objects.get("web-0").await.unwrap().metadata.resource_version.unwrap();
    let mut events = pin!(objects.watch(&WatchParams::default(), &begin).await.unwrap());
    let mut took = Vec::new();
    for sample in 0..samples {
        let theirs = Patch::Merge(json!({"data": {"value": format!("theirs-{sample}")}}));
        let name = format!("web-{sample}");
        objects.patch(&name, &PatchParams::default(), &theirs).await.unwrap();
        let written = Instant::now();
        let mut foreign = false;
        let seen = async {
            while let Some(event) = events.next().await {
                let WatchEvent::Modified(object) = event.unwrap() else { continue };
                if object.metadata.name.as_deref() != Some(&name) {
                    continue;
                }
                let ours = object.data["data"]["value"] == "ours";
                // The watch shows the foreign value first.
                if ours && foreign {
                    return;
                }
                foreign |= !ours;
            }
            panic!("the watch ended");
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
        took.push(written.elapsed());
    }
    let spoke = fleet.spoke_process("fra-1").unwrap();
    joined(&[
        json!({"scenario": 13, "n": samples}),
        times(&mut took),
        json!({"rss_kb": size(spoke, "VmRSS"), "cpu_s": cpu(spoke).as_secs_f64()}),
    ])
}
