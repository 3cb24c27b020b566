//! Real Kubernetes clusters on the loopback interface.
//!
//! In: a name, and whether the cluster is to run workloads. Out: a [`Cluster`] that answers, with an administrator's
//! kubeconfig. Several may start at once. Dropping one ends all its processes and removes all its files.
//!
//! A cluster with workloads has a hollow node: a kubelet on a runtime that only pretends. Pods become ready, no
//! container runs. One without has no controllers at all: nothing is garbage-collected, namespaces stay `Terminating`,
//! and the aggregated roles (`view`, `edit`, `admin`) are empty.

mod components;
mod kubeconfig;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::assets;
use crate::etcd::Etcd;
use crate::process::{Process, Program, Signal};
use crate::wait;

use components::{Components, Workers};
pub use kubeconfig::merge;

/// An API server is ready within 5 s on an idle machine; eight of them on two busy cores need longer.
const API_LIMIT: Duration = Duration::from_secs(90);

/// A node is ready about 10 s after the API server.
const NODE_LIMIT: Duration = Duration::from_secs(120);

/// The longest that one kubectl may take; waiting for a condition with `kubectl wait` is done in it too.
const KUBECTL_LIMIT: Duration = Duration::from_secs(120);

/// What a cluster is to be.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name, which is also the name of its context in kubeconfigs.
    pub name: String,
    /// Whether there are controllers, a scheduler and a node, so that a Deployment becomes available.
    pub workloads: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { name: "cluster".into(), workloads: false }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    name: String,
    // Dropped in this order: what watches the API server ends before it, and its store after it.
    workers: Workers,
    api_server: Process,
    _etcd: Etcd,
    components: Components,
    kubectl: PathBuf,
}

impl Cluster {
    /// Starts a cluster and waits until it serves requests and, with workloads, has a ready node.
    ///
    /// # Errors
    /// When a binary is missing, a process ends, or readiness does not come; with the last lines of the log in question.
    pub async fn start(options: Options) -> Result<Self> {
        let Options { name, workloads } = options;
        Self::launch(&name, workloads).await.with_context(|| format!("starting the cluster {name}"))
    }

    async fn launch(name: &str, workloads: bool) -> Result<Self> {
        let binaries = assets::cluster_binaries(workloads)?;
        let kubectl = assets::binary("kubectl")?;
        let etcd = Etcd::forgetful(&binaries).await?;
        let components = Components::prepare(binaries, name, &etcd.endpoints())?;
        let api_server = components.api_server()?;
        let mut cluster = Self {
            name: name.into(),
            workers: Workers::default(),
            api_server,
            _etcd: etcd,
            components,
            kubectl,
        };
        cluster.api_ready().await?;
        if workloads {
            cluster.workers = cluster.components.workers()?;
            cluster.node_ready().await?;
        }
        Ok(cluster)
    }

    /// Its name, and that of its context.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of its API server.
    pub fn url(&self) -> String {
        self.components.url()
    }

    /// A kubeconfig of an administrator, complete in itself, with one context, named as the cluster.
    pub fn kubeconfig(&self) -> &Path {
        self.components.kubeconfig()
    }

    /// Every request so far that may have changed something, by the API server's own audit log, the oldest first. It is
    /// written up to a second later: a request of the caller's, at the end, shows that all before it are there.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn audit(&self) -> Result<Vec<Value>> {
        let marker = format!("audit-{}", fastrand::u64(..));
        self.kubectl(&["create", "configmap", "-n", "default", &marker]).await?;
        let read = async || -> Result<Vec<Value>> {
            let text = fs::read_to_string(self.components.audit_log())?;
            // The last line may be being written.
            let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            let lines: Vec<Value> = lines.collect();
            let end = lines.iter().position(|line| line["objectRef"]["name"] == *marker);
            let end = end.context("the audit log is behind")?;
            Ok(lines.into_iter().take(end).collect())
        };
        wait::within(API_LIMIT, read).await.map_err(|state| anyhow::anyhow!("{state}"))
    }

    /// A directory of this cluster's own, for what a test wants to put beside it.
    pub fn directory(&self) -> &Path {
        self.components.directory()
    }

    /// Runs kubectl as the administrator, and returns what it printed.
    ///
    /// # Errors
    /// When it fails, with its outputs.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_as(self.kubeconfig(), arguments).await
    }

    /// Runs kubectl with another kubeconfig, as one of [`Cluster::service_account`].
    ///
    /// # Errors
    /// As for [`Cluster::kubectl`].
    pub async fn kubectl_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Result<String> {
        self.program(kubeconfig).args(arguments).output(KUBECTL_LIMIT).await
    }

    /// Starts a kubectl that goes on, as `get --watch`. One of these at a time: they share their log files.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn kubectl_process(&self, arguments: &[&str]) -> Result<Process> {
        self.program(self.kubeconfig()).args(arguments).start(self.directory())
    }

    fn program(&self, kubeconfig: &Path) -> Program {
        // Discovery is cached below the home directory: per cluster, since ports are used again.
        Program::at(&self.kubectl).env("KUBECONFIG", kubeconfig).env("HOME", self.directory())
    }

    /// Applies manifests, as text, as the administrator.
    ///
    /// # Errors
    /// As for [`Cluster::kubectl`].
    pub async fn apply(&self, manifests: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::with_suffix(".yaml")?;
        fs::write(file.path(), manifests)?;
        self.kubectl(&["apply", "-f", &file.path().to_string_lossy()]).await
    }

    /// A kubeconfig of a service account, which is made if it is not there; without a binding it may do next to nothing.
    ///
    /// # Errors
    /// When the API server refuses; the namespace must exist.
    pub async fn service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        if self.kubectl(&["get", "serviceaccount", "-n", namespace, name]).await.is_err() {
            self.kubectl(&["create", "serviceaccount", "-n", namespace, name]).await?;
        }
        let token = self.kubectl(&["create", "token", "-n", namespace, name, "--duration=24h"]).await?;
        self.components.kubeconfig_for(&format!("{namespace}-{name}"), token.trim())
    }

    /// Ends the API server in good order; watches are told.
    ///
    /// # Errors
    /// When it does not end within the limit.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        self.api_server.terminate(API_LIMIT).await.map(drop)
    }

    /// Ends the API server as a power cut would.
    pub fn kill_api_server(&mut self) {
        self.api_server.kill9();
    }

    /// Makes the API server hang: connections stay open and nothing answers.
    pub fn freeze_api_server(&mut self) {
        self.api_server.signal(Signal::STOP);
    }

    /// Ends the hanging.
    pub fn thaw_api_server(&mut self) {
        self.api_server.signal(Signal::CONT);
    }

    /// Starts the API server again, at the same address and with all that was in it. One that runs is killed first.
    ///
    /// # Errors
    /// As for [`Cluster::start`].
    pub async fn start_api_server(&mut self) -> Result<()> {
        self.api_server.kill9();
        self.api_server = self.components.api_server()?;
        self.api_ready().await
    }

    async fn api_ready(&mut self) -> Result<()> {
        self.api_server.port(self.components.port(), API_LIMIT).await?;
        let ready = wait::within(API_LIMIT, async || {
            if let Some(status) = self.api_server.status() {
                return Ok(Err(format!("it ended with {status}")));
            }
            self.kubectl(&["get", "--raw", "/readyz"]).await?;
            // Made by the server itself, a moment after it calls itself ready.
            self.kubectl(&["get", "namespace", "default"]).await.map(Ok)
        })
        .await;
        match ready {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(state)) | Err(state) => bail!("no API server: {state}\n{}", self.api_server.tail()),
        }
    }

    async fn node_ready(&mut self) -> Result<()> {
        let nodes = ["wait", "node", "--all", "--for=condition=Ready", "--timeout=0"];
        let ready = wait::within(NODE_LIMIT, async || {
            if let Some(log) = self.workers.ended() {
                return Ok(Err(log));
            }
            self.kubectl(&nodes).await.map(Ok)
        })
        .await;
        match ready {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(log)) => bail!("a component ended\n{log}"),
            Err(state) => bail!("no ready node within {NODE_LIMIT:?}: {state}\n{}", self.workers.tail()),
        }
    }
}
