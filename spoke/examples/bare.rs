//! Bare: the least that anybody could do to apply manifests: a concurrent loop of server-side applies, and nothing else. What
//! a spoke is measured beside (`tests/scenarios/install.rs`), as a program of its own, so that it can be built for speed.
//!
//! In: a kubeconfig, a file with an object a line, a number of requests at once. Out: one line, how long it took from before
//! the first connection, and how much processor time of its own that was. Never: looks, compares, remembers.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Config};
use serde_json::{Value, json};

fn main() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kubeconfig, objects, at_once] = arguments.as_slice() else { panic!("KUBECONFIG OBJECTS AT_ONCE") };
    let text = std::fs::read_to_string(objects).unwrap();
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let took = runtime.block_on(async {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let began = Instant::now();
        let each = objects.iter().map(|object| apply(client.clone(), object));
        let at_once = at_once.parse().unwrap();
        futures::stream::iter(each).buffer_unordered(at_once).try_collect::<()>().await.unwrap();
        began.elapsed()
    });
    println!("{}", json!({"ms": took.as_millis() as u64, "cpu_s": cpu_s()}));
}

async fn apply(client: Client, object: &Value) -> kube::Result<()> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    api.patch(&name, &PatchParams::apply("bench").force(), &Patch::Apply(object)).await.map(drop)
}

/// As `tests/scenarios/figures.rs` counts it.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
    ticks.map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
