//! Stage: a fleet on real clusters, and `kubectl` as the witness of what is there.
//!
//! In: a catalog's files, clusters with their labels. Out: a [`Stage`] whose spokes are connected.
//! Never: takes Nave's word for what is on a cluster.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use harness::faults::ApiProxy;
use harness::fleet::{Fleet, Target};
use harness::git::Repository;
use harness::kubernetes::{Cluster, Options};
use harness::process::Process;
use harness::wait::until;
use serde_json::Value;

/// Within this a condition comes to hold on a loaded machine with two cores.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A cluster of a story: its name and its labels.
pub type Member<'a> = (&'a str, &'a [&'a str]);

/// The fleet and its clusters.
pub struct Stage {
    // Dropped in this order: spokes end before what they watch.
    pub fleet: Fleet,
    /// One before each cluster, where the story has faults.
    pub proxies: Vec<ApiProxy>,
    pub clusters: Vec<Cluster>,
}

impl Stage {
    /// Clusters without workloads: API server and etcd each.
    pub async fn start(files: &[(&str, String)], members: &[Member<'_>]) -> Self {
        Self::launch(files, members, false, false).await.unwrap()
    }

    /// Clusters without workloads, each behind a proxy that can fail.
    pub async fn start_behind_proxies(files: &[(&str, String)], members: &[Member<'_>]) -> Self {
        Self::launch(files, members, false, true).await.unwrap()
    }

    /// Clusters that run workloads.
    pub async fn start_with_workloads(files: &[(&str, String)], members: &[Member<'_>]) -> Self {
        Self::launch(files, members, true, false).await.unwrap()
    }

    async fn launch(
        files: &[(&str, String)],
        members: &[Member<'_>],
        workloads: bool,
        proxied: bool,
    ) -> Result<Self> {
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let repository = Repository::with("catalog", &files)?;
        let clusters =
            members.iter().map(|(name, _)| Cluster::start(Options { name: (*name).to_owned(), workloads }));
        let (fleet, clusters) = tokio::join!(Fleet::start(repository), try_join_all(clusters));
        let clusters = clusters?;
        let before =
            clusters.iter().filter(|_| proxied).map(|cluster| ApiProxy::before(cluster.kubeconfig()));
        let mut stage = Self { fleet: fleet?, proxies: before.collect::<Result<_>>()?, clusters };
        for (name, labels) in members {
            let target = stage.target(name);
            stage.fleet.join(name, labels, &target).await?;
        }
        stage.fleet.connected(members.len()).await;
        Ok(stage)
    }

    /// The cluster of this name.
    pub fn cluster(&self, name: &str) -> &Cluster {
        self.clusters.iter().find(|cluster| cluster.name() == name).expect("the story has such a cluster")
    }

    /// As [`Stage::cluster`].
    pub fn cluster_mut(&mut self, name: &str) -> &mut Cluster {
        self.clusters.iter_mut().find(|cluster| cluster.name() == name).expect("the story has such a cluster")
    }

    /// The cluster as its spoke reaches it.
    fn target(&self, name: &str) -> Target {
        let at = self.clusters.iter().position(|cluster| cluster.name() == name);
        let at = at.expect("the story has such a cluster");
        let direct = self.clusters[at].kubeconfig();
        Target::Kube(self.proxies.get(at).map_or(direct, ApiProxy::kubeconfig).to_owned())
    }

    /// Starts a cluster's spoke again, from its state alone.
    pub fn restart_spoke(&mut self, name: &str) {
        self.fleet.kill_spoke(name);
        let target = self.target(name);
        self.fleet.start_spoke(name, None, &target).unwrap();
    }

    /// Waits with `hub wait` until the last commit is everywhere.
    pub async fn converge(&self) {
        let head = self.fleet.catalog.head().unwrap();
        self.fleet.converge(&["--commit", &head]).await.unwrap();
    }

    /// Commits what was written, and waits until it is everywhere.
    pub async fn commit(&self, message: &str) {
        self.fleet.catalog.commit(message).unwrap();
        self.converge().await;
    }

    /// `hub wait` for the last commit: its exit code, and what it said.
    pub async fn wait(&self, arguments: &[&str]) -> (i32, String) {
        let head = self.fleet.catalog.head().unwrap();
        let all = [&["wait", "--include-offline", "--commit", &head], arguments].concat();
        let answer = self.fleet.hub_within(&all, LIMIT * 2).await.unwrap();
        (answer.code, answer.stdout + &answer.stderr)
    }

    /// `hub status`, as an operator reads it.
    pub async fn screen(&self) -> String {
        let answer = self.fleet.hub(&["status"]).await.unwrap();
        answer.stdout + &answer.stderr
    }

    /// Waits until the group of `hub status` for this app and cluster is as the closure wants it.
    pub async fn group(&self, what: &str, app: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, LIMIT, async || {
            let status = self.fleet.status().await?;
            let groups = status["groups"].as_array().context("status has groups")?;
            let group = groups.iter().find(|group| group["app"] == app && wanted(group));
            group.cloned().with_context(|| format!("{groups:#?}\n{}", self.fleet.tails()))
        })
        .await
    }

    /// Waits until what `hub app show` says of an app on its one cluster is as the closure wants it.
    pub async fn shown(&self, what: &str, app: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, LIMIT, async || {
            let shown = self.fleet.hub(&["app", "show", app, "-o", "json"]).await?.json()?;
            let entry = shown["entries"][0].clone();
            ensure!(wanted(&entry), "{entry:#}\n{}", self.fleet.tails());
            Ok(entry)
        })
        .await
    }

    /// Waits until a cluster's ConfigMap `namespace/name` has this value.
    pub async fn value(&self, cluster: &str, object: &str, wanted: &str) {
        until(&format!("{object} of {cluster} is {wanted}"), LIMIT, async || {
            let seen = self.cluster(cluster).config_map(object).await?;
            ensure!(seen == wanted, "{seen}\n{}", self.fleet.tails());
            Ok(())
        })
        .await;
    }
}

/// What `kubectl` says.
pub trait Witness {
    /// The value of a ConfigMap `namespace/name`.
    async fn config_map(&self, object: &str) -> Result<String>;
    /// A field of an object, `namespace kind/name`.
    async fn field(&self, namespace: &str, object: &str, path: &str) -> String;
    /// Its UID: another one is another object.
    async fn uid(&self, namespace: &str, object: &str) -> String;
    /// Whether it is there; an answer that is none is a panic.
    async fn has(&self, namespace: &str, object: &str) -> bool;
    /// Starts `kubectl get KIND --watch`, which prints each event, and waits until it shows a marker that was made before.
    async fn record(&self, kind: &str) -> Recording<'_>;
}

impl Witness for Cluster {
    async fn config_map(&self, object: &str) -> Result<String> {
        let (namespace, name) = object.split_once('/').context("namespace/name")?;
        self.kubectl(&["get", "configmap", "-n", namespace, name, "-o", "jsonpath={.data.value}"]).await
    }

    async fn field(&self, namespace: &str, object: &str, path: &str) -> String {
        self.kubectl(&["get", "-n", namespace, object, "-o", &format!("jsonpath={path}")]).await.unwrap()
    }

    async fn uid(&self, namespace: &str, object: &str) -> String {
        self.field(namespace, object, "{.metadata.uid}").await
    }

    async fn has(&self, namespace: &str, object: &str) -> bool {
        let found = self.kubectl(&["get", "-n", namespace, object, "--ignore-not-found", "-o", "name"]).await;
        !found.unwrap().is_empty()
    }

    async fn record(&self, kind: &str) -> Recording<'_> {
        let arguments = ["get", kind, "-A", "--watch", "--output-watch-events"];
        let process = self.kubectl_process(&arguments).unwrap();
        let mut recording = Recording { cluster: self, kind: kind.to_owned(), process };
        recording.mark("recording-begins").await;
        recording.process.line("recording-begins", LIMIT).await.unwrap();
        recording
    }
}

/// A running watch of a kind.
pub struct Recording<'a> {
    cluster: &'a Cluster,
    kind: String,
    process: Process,
}

impl Recording<'_> {
    /// An object of the recorded kind, whose event shows how far the recording is.
    async fn mark(&self, name: &str) {
        let mut create = vec!["create", self.kind.trim_end_matches('s'), "-n", "default", name];
        if self.kind == "deployments" {
            create.push("--image=none");
        }
        self.cluster.kubectl(&create).await.unwrap();
    }

    /// All events so far: whatever happened on the cluster before this call is in it.
    pub async fn end(mut self) -> Vec<String> {
        self.mark("recording-ends").await;
        self.process.line("recording-ends", LIMIT).await.unwrap();
        self.process.stdout().lines().map(str::to_owned).collect()
    }
}
