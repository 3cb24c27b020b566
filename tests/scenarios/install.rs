//! Install: many small apps on one real API server, beside the least that anybody could do: a bare loop that applies the
//! same manifests, sixteen requests at once; once before the spoke and once after it, since a server slows down as it fills.
//!
//! How long the spoke took is told by the API server's audit log: from its first write of an app to its last. What it does
//! before, joining and taking what it shall apply from the hub, is told beside it.

use std::time::{Duration, Instant};

use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use harness::process::Program;
use serde_json::{Value, json};

use crate::figures::{cpu, joined, size};

/// Requests at once, of the bare loop and of a spoke.
const AT_ONCE: usize = 16;
const LIMIT: Duration = Duration::from_secs(600);
const CLUSTER: &str = "fra-1";

/// Scenario 9.
pub async fn many_apps(apps: usize) -> Value {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    for namespace in ["bare", "apps", "bare-after"] {
        cluster.kubectl(&["create", "namespace", namespace]).await.unwrap();
    }
    // Both ways meet a server whose caches are warm.
    bare(&cluster, 20, "bare").await;
    cluster
        .kubectl(&["delete", "-n", "bare", "configmaps,serviceaccounts,services,podtemplates", "--all"])
        .await
        .unwrap();
    let bare_before = bare(&cluster, apps, "bare").await;

    // Whoever waits has the hub look at once. Between, it shall not: of a hub, a bare loop has none beside it.
    let mut fleet = Fleet::prepare(catalog(apps)).await.unwrap();
    fleet.poll_every("10m");
    fleet.start_hub().await.unwrap();
    let before = cluster.audit().await.unwrap().len();
    fleet.join(CLUSTER, &[], &Target::Kube(cluster.kubeconfig().to_owned())).await.unwrap();
    converge(&fleet).await;
    let install = writes(&cluster, before).await;
    let spoke = fleet.spoke_process(CLUSTER).unwrap();
    let installing = json!({"max_rss_kb": size(spoke, "VmHWM"), "rss_kb": size(spoke, "VmRSS"),
        "rss_anon_kb": size(spoke, "RssAnon"), "cpu_s": cpu(spoke).as_secs_f64()});

    // A new process knows nothing and has to look at everything.
    let before = cluster.audit().await.unwrap().len();
    fleet.kill_spoke(CLUSTER);
    let began = Instant::now();
    fleet.start_spoke(CLUSTER, None, &Target::Kube(cluster.kubeconfig().to_owned())).unwrap();
    let resync = healthy(&mut fleet, apps, began).await;
    let spoke = fleet.spoke_process(CLUSTER).unwrap();
    let resynced = json!({"max_rss_kb": size(spoke, "VmHWM"), "rss_anon_kb": size(spoke, "RssAnon"),
        "cpu_s": cpu(spoke).as_secs_f64()});
    let no_op = writes(&cluster, before).await;

    let before = cluster.audit().await.unwrap().len();
    fleet.catalog.commit_file("manifests/app-0/all.yaml", &text(&manifests(0, "apps", "changed"))).unwrap();
    converge(&fleet).await;
    let change = writes(&cluster, before).await;
    // Nobody watches what the bare loop makes, then as before.
    fleet.kill_spoke(CLUSTER);
    let bare_after = bare(&cluster, apps, "bare-after").await;
    let bare = (bare_before.took + bare_after.took) / 2;

    let rate = |objects: usize, took: Duration| (objects as f64 / took.as_secs_f64()).round();
    let objects = apps * 4;
    joined(&[
        json!({"scenario": 9, "n": apps, "objects": objects}),
        json!({
            "install": joined(&[
                json!({"ms": install.took.as_millis() as u64, "mutating_calls": install.calls,
                    "before_ms": install.before.as_millis() as u64,
                    "objects_per_s": rate(objects, install.took)}), installing]),
            "resync": joined(&[json!({"ms": resync.as_millis() as u64, "mutating_calls": no_op.calls}), resynced]),
            "one_field": {"ms": change.took.as_millis() as u64, "mutating_calls": change.calls},
            "baseline": {"what": "bare server-side applies, 16 at once, mean of before and after",
                "ms": bare.as_millis() as u64, "before_ms": bare_before.took.as_millis() as u64,
                "after_ms": bare_after.took.as_millis() as u64, "cpu_s": bare_before.cpu_s,
                "objects_per_s": rate(objects, bare)},
            "ratio": (bare.as_secs_f64() / install.took.as_secs_f64() * 100.0).round() / 100.0,
        }),
    ])
}

/// Four objects of an app, without anything that the API server would have to hand out (addresses, tokens).
fn manifests(app: usize, namespace: &str, value: &str) -> [Value; 4] {
    let metadata = json!({"name": format!("app-{app}"), "namespace": namespace, "labels": {"app": format!("app-{app}")}});
    let labels = json!({"app": format!("app-{app}")});
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"value": value, "app": app.to_string()}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"clusterIP": "None", "selector": labels,
            "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]}}),
        // As large as a workload, and well without a controller that looks after it.
        json!({"apiVersion": "v1", "kind": "PodTemplate", "metadata": metadata, "template": {"metadata": {"labels": labels}, "spec": {
            "serviceAccountName": format!("app-{app}"),
            "containers": [{"name": "app", "image": "example.com/app:1", "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}}]}}}),
    ]
}

fn text(manifests: &[Value]) -> String {
    manifests.iter().map(|manifest| format!("{manifest}\n---\n")).collect()
}

fn catalog(apps: usize) -> Repository {
    let app = |n: usize| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: app-{n}, labels: {{bench: \"9\"}}}}\nspec: {{source: {{path: ./manifests/app-{n}}}}}\n---\n"
        )
    };
    let placement = "apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {name: all}\nspec:\n  apps: {selector: {matchLabels: {bench: \"9\"}}}\n  clusters: {selector: {}}\n";
    let mut files: Vec<(String, String)> = vec![
        ("apps.yaml".into(), (0..apps).map(app).collect()),
        ("placement.yaml".into(), placement.to_owned()),
    ];
    files.extend(
        (0..apps).map(|n| (format!("manifests/app-{n}/all.yaml"), text(&manifests(n, "apps", "first")))),
    );
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    Repository::with("catalog", &files).unwrap()
}

async fn converge(fleet: &Fleet) {
    let head = fleet.catalog.head().unwrap();
    let wait = ["wait", "--timeout", "600s", "--include-offline", "--commit", &head];
    let answer = fleet.hub_within(&wait, LIMIT).await.unwrap();
    assert_eq!(answer.code, 0, "{}{}\n{}", answer.stdout, answer.stderr, fleet.tails());
}

/// Until the new process has seen that all apps are well.
async fn healthy(fleet: &mut Fleet, apps: usize, began: Instant) -> Duration {
    let process = fleet.spoke_process(CLUSTER).unwrap().id();
    let file = fleet.state(CLUSTER).join("status.json");
    harness::wait::until("all is seen to be well", LIMIT, async || {
        let status: Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        let seen = status["apps"]
            .as_array()
            .map_or(0, |seen| seen.iter().filter(|app| app["state"] == "Healthy").count());
        anyhow::ensure!(status["pid"] == process && seen == apps, "{seen} of {apps}");
        Ok(())
    })
    .await;
    began.elapsed()
}

struct Writes {
    calls: usize,
    /// From its first write of all, its own namespace, to the first of an app.
    before: Duration,
    took: Duration,
}

/// What the spoke wrote since the audit log was so long, by the log's own times.
async fn writes(cluster: &Cluster, since: usize) -> Writes {
    let log = cluster.audit().await.unwrap();
    let spoke = |line: &&Value| !line["userAgent"].as_str().unwrap_or_default().starts_with("kubectl");
    let user = |line: &&Value| line["user"]["username"] == "admin";
    let lines: Vec<&Value> = log.iter().skip(since).filter(user).filter(spoke).collect();
    let micros = |line: &Value, field: &str| {
        let at: k8s_time::Time = line[field].as_str().unwrap().parse().unwrap();
        at.0
    };
    let begun = lines.iter().map(|line| micros(line, "requestReceivedTimestamp")).min();
    // Its own namespace comes before it knows of any app.
    let of_apps = lines.iter().filter(|line| line["objectRef"]["resource"] != "namespaces");
    let first = of_apps.map(|line| micros(line, "requestReceivedTimestamp")).min();
    let last = lines.iter().map(|line| micros(line, "stageTimestamp")).max();
    let took = first.zip(last).map_or(0, |(first, last)| last - first);
    let before = begun.zip(first).map_or(0, |(begun, first)| first - begun);
    Writes { calls: lines.len(), before: Duration::from_micros(before), took: Duration::from_micros(took) }
}

/// Times of an audit log, on one day or two.
mod k8s_time {
    pub struct Time(pub u64);

    impl std::str::FromStr for Time {
        type Err = std::num::ParseIntError;

        /// `2026-01-02T03:04:05.678901Z`
        fn from_str(text: &str) -> Result<Self, Self::Err> {
            let part = |at: std::ops::Range<usize>| text.get(at).unwrap_or("0").parse::<u64>();
            let seconds = ((part(8..10)? * 24 + part(11..13)?) * 60 + part(14..16)?) * 60 + part(17..19)?;
            Ok(Self(seconds * 1_000_000 + part(20..26)?))
        }
    }
}

struct Bare {
    took: Duration,
    /// Processor time of the loop.
    cpu_s: f64,
}

/// The same objects by a bare loop, in a process of its own: this one is built as tests are.
async fn bare(cluster: &Cluster, apps: usize, namespace: &str) -> Bare {
    let objects = cluster.directory().join("bare.jsonl");
    let each = (0..apps).flat_map(|app| manifests(app, namespace, "first"));
    std::fs::write(&objects, each.map(|object| format!("{object}\n")).collect::<String>()).unwrap();
    let bare =
        Program::built("bare").unwrap().arg(cluster.kubeconfig()).arg(objects).arg(AT_ONCE.to_string());
    let told: Value = serde_json::from_str(&bare.output(LIMIT).await.unwrap()).unwrap();
    let took = Duration::from_millis(told["ms"].as_u64().unwrap());
    Bare { took, cpu_s: told["cpu_s"].as_f64().unwrap() }
}
