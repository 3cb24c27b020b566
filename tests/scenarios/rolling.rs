//! Rolling: a change goes through its waves over simulated clusters, and many apps become ready from one commit.
//!
//! The clusters are memory, their spokes are the product's, and talk to a hub of its own process over real TLS. The clock is the
//! hub's: it starts when the audit log says that the commit is taken and stops when it says that the last rollout is completed, so
//! applying and reporting of the slowest spoke of each wave are in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use async_trait::async_trait;
use harness::fleet::Fleet;
use harness::fleet::documents::{app, app_with, config_map, placement};
use harness::git::Repository;
use harness::wait::until;
use nave_spoke::run::{RunOptions, Storage, run};
use nave_spoke::state::{Found, Keep, StateError};
use nave_spoke::target::memory::MemoryTarget;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::figures::{cpu, joined, size, times};

/// Changes of scenario 12, each measured by itself.
const SAMPLES: usize = 5;
/// A fleet of a thousand joins within this.
const LIMIT: Duration = Duration::from_secs(600);

const WAVES: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Rollout
metadata: {name: waves}
spec: {waves: [{name: first, share: 10%}, {name: half, share: 50%}, {name: all}]}
";

/// Records in memory: what is measured is not this disk.
#[derive(Default)]
struct Records(Mutex<BTreeMap<String, Vec<u8>>>);

impl Records {
    fn with<T>(&self, look: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Keep for Records {
    fn place(&self, name: &str) -> String {
        format!("memory/{name}")
    }

    async fn read(&self, name: &str) -> Result<Found, StateError> {
        Ok(self.with(|records| records.get(name).cloned()).map_or(Found::Missing, Found::Whole))
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        self.with(|records| records.insert(name.to_owned(), bytes.to_vec()));
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), StateError> {
        self.with(|records| records.remove(name));
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<BTreeSet<String>, StateError> {
        Ok(self.with(|records| records.keys().filter(|name| name.starts_with(prefix)).cloned().collect()))
    }

    async fn set_aside(&self, name: &str) -> Result<String, StateError> {
        Ok(name.to_owned())
    }

    async fn show(&self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }

    async fn still_held(&self) -> Result<(), StateError> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

/// A hub and so many spokes.
struct Simulated {
    fleet: Fleet,
    spokes: JoinSet<()>,
    end: CancellationToken,
}

impl Simulated {
    async fn start(files: &[(&str, &str)], clusters: usize) -> Self {
        let fleet = Fleet::start(Repository::with("catalog", files).unwrap()).await.unwrap();
        let (mut spokes, end) = (JoinSet::new(), CancellationToken::new());
        for number in 0..clusters {
            let name = format!("c-{number:05}");
            let mut options = RunOptions::new("unused".into(), Arc::new(MemoryTarget::new(&name)));
            options.storage = Storage::Kept(Arc::new(Records::default()));
            options.join = Some(fleet.token(&name, &[]).await.unwrap());
            let end = end.clone();
            spokes.spawn(async move { _ = run(options, end).await.unwrap() });
        }
        until("all spokes connect", LIMIT, async || {
            let status = fleet.status().await?;
            ensure!(status["connected"] == clusters, "{}", status["connected"]);
            Ok(())
        })
        .await;
        Self { fleet, spokes, end }
    }

    async fn converge(&self) {
        let head = self.fleet.catalog.head().unwrap();
        let waited = ["wait", "--commit", &head, "--timeout", "600s"];
        let waited = self.fleet.hub_within(&waited, LIMIT).await.unwrap();
        assert_eq!(waited.code, 0, "{}{}", waited.stdout, waited.stderr);
    }

    /// Waits until the newest commit is everywhere and its last rollout is completed.
    async fn rolled_out(&self) {
        self.converge().await;
        until("no rollout is under way", LIMIT, async || {
            let listed = self.fleet.hub(&["rollout", "list", "-o", "json"]).await?.json()?;
            ensure!(listed.as_array().is_some_and(Vec::is_empty), "{listed}");
            Ok(())
        })
        .await;
    }

    /// From the newest commit being taken to its last rollout being completed, by the audit log.
    async fn took(&self) -> Duration {
        let head = self.fleet.catalog.head().unwrap();
        let exported = self.fleet.hub(&["audit", "export"]).await.unwrap().stdout;
        let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let at = |line: &Value| line["atMs"].as_u64().unwrap();
        let taken =
            |line: &&Value| line["what"] == "Taken" && line["who"].as_str().unwrap().ends_with(&head[..8]);
        let begin = lines.iter().find(taken).map(at).expect("the commit was taken");
        let completed = lines.iter().filter(|line| line["what"] == "RolloutCompleted").map(at).max();
        Duration::from_millis(completed.expect("a rollout was completed") - begin)
    }

    async fn stop(mut self) {
        self.end.cancel();
        while self.spokes.join_next().await.is_some() {}
    }
}

/// Scenario 12.
pub async fn three_waves(clusters: usize) -> Value {
    let app = app_with("web", "  rollout: waves\n");
    let files = [
        ("rollout.yaml", WAVES),
        ("web.yaml", &app),
        ("manifests/web/web.yaml", &config_map("web", "0")),
        ("placement.yaml", &placement("web", &["web"], "{selector: {}}")),
    ];
    let mut simulated = Simulated::start(&files, clusters).await;
    simulated.converge().await;
    let (mut took, mut spent) = (Vec::new(), Duration::ZERO);
    for sample in 1..=SAMPLES {
        let changed = config_map("web", &sample.to_string());
        simulated.fleet.catalog.write("manifests/web/web.yaml", &changed).unwrap();
        // What is asked afterwards to measure by is not the rollout's.
        let before = cpu(simulated.fleet.hub_process().unwrap());
        simulated.fleet.catalog.commit("Change").unwrap();
        simulated.rolled_out().await;
        spent += cpu(simulated.fleet.hub_process().unwrap()) - before;
        took.push(simulated.took().await);
    }
    let hub = simulated.fleet.hub_process().unwrap();
    let spent = spent.as_secs_f64() / SAMPLES as f64;
    let figures = joined(&[
        json!({"scenario": 12, "n": clusters}),
        times(&mut took),
        json!({"rss_kb": size(hub, "VmRSS"), "cpu_s": spent}),
    ]);
    simulated.stop().await;
    figures
}

/// Scenario 15. The clusters run something already, so that the apps take the waves of a first installation.
pub async fn many_apps(number: usize) -> Value {
    let files = [
        ("web.yaml", &*app("web")),
        ("manifests/web/web.yaml", &config_map("web", "0")),
        ("web-everywhere.yaml", &placement("web", &["web"], "{selector: {}}")),
    ];
    let mut simulated = Simulated::start(&files, number).await;
    simulated.converge().await;
    let catalog = &simulated.fleet.catalog;
    let names: Vec<String> = (0..number).map(|n| format!("app-{n}")).collect();
    for name in &names {
        catalog.write(&format!("{name}.yaml"), &app(name)).unwrap();
        catalog.write(&format!("manifests/{name}/{name}.yaml"), &config_map(name, "1")).unwrap();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    catalog.write("placement.yaml", &placement("all", &names, "{selector: {}}")).unwrap();
    catalog.commit("All of them").unwrap();
    let before = cpu(simulated.fleet.hub_process().unwrap());
    simulated.rolled_out().await;
    let spent = (cpu(simulated.fleet.hub_process().unwrap()) - before).as_secs_f64();
    let mut took = vec![simulated.took().await];
    let hub = simulated.fleet.hub_process().unwrap();
    let figures = joined(&[
        json!({"scenario": 15, "n": number}),
        times(&mut took),
        json!({"rss_kb": size(hub, "VmRSS"), "cpu_s": spent}),
    ]);
    simulated.stop().await;
    figures
}
