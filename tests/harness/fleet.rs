//! A fleet of real processes: a hub, a catalog in Git, spokes, and the command line to ask them.
//!
//! In: the binaries of this workspace. Out: a [`Fleet`] whose hub can be killed, started again and given another store.
//! Every question goes through `hub`'s command line, as an operator's would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::git::Repository;
use crate::port::Port;
use crate::process::{Process, Program, binary};
use crate::wait;

/// A process of ours comes up, or answers, within this on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Where a spoke's objects live.
#[derive(Clone, Debug)]
pub enum Target {
    /// A directory of this fleet, `dir:`.
    Directory,
    /// A real cluster, by its kubeconfig.
    Kube(PathBuf),
}

/// What the command line said.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Answer {
    /// Standard output, read as JSON.
    ///
    /// # Errors
    /// When it is none, or the command failed.
    pub fn json(&self) -> Result<Value> {
        ensure!(self.code == 0, "exit code {}: {}{}", self.code, self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).with_context(|| format!("not JSON: {}", self.stdout))
    }
}

/// The fleet.
#[derive(Debug)]
pub struct Fleet {
    directory: TempDir,
    /// The root catalog.
    pub catalog: Repository,
    url: String,
    branch: &'static str,
    poll: &'static str,
    grpc: Port,
    http: Port,
    hub: Option<Process>,
    spokes: BTreeMap<String, Process>,
    environment: Vec<(String, String)>,
    log: Option<&'static str>,
    address_space: Option<u64>,
}

impl Fleet {
    /// A fleet whose hub follows this catalog; the hub runs when this returns.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(catalog: Repository) -> Result<Self> {
        let mut fleet = Self::prepare(catalog).await?;
        fleet.start_hub().await?;
        Ok(fleet)
    }

    /// A fleet whose hub was initialised and does not run.
    ///
    /// # Errors
    /// When `hub init` fails.
    pub async fn prepare(catalog: Repository) -> Result<Self> {
        let directory = TempDir::with_prefix("nave-fleet-")?;
        let url = format!("file://{}", catalog.path().display());
        let (grpc, http) = (Port::take()?, Port::take()?);
        let fleet = Self {
            directory,
            catalog,
            url,
            branch: "main",
            poll: "1s",
            grpc,
            http,
            hub: None,
            spokes: BTreeMap::new(),
            environment: Vec::new(),
            log: None,
            address_space: None,
        };
        let advertise = fleet.address();
        let data = fleet.data();
        let data = data.to_string_lossy();
        let made =
            fleet.hub(&["init", "--data-dir", &data, "--fleet", "test", "--advertise", &advertise]).await?;
        ensure!(made.code == 0, "hub init: {}{}", made.stdout, made.stderr);
        Ok(fleet)
    }

    /// Everything of this fleet is below this directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The hub's data directory.
    pub fn data(&self) -> PathBuf {
        self.directory().join("hub")
    }

    /// Where a spoke keeps its state.
    pub fn state(&self, cluster: &str) -> PathBuf {
        self.directory().join("spokes").join(cluster)
    }

    /// Where a `dir:` cluster's manifests are.
    pub fn manifests(&self, cluster: &str) -> PathBuf {
        self.directory().join("clusters").join(cluster)
    }

    /// Where the hub is reached.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.grpc.number())
    }

    /// Where the hub answers HTTP.
    pub fn http_address(&self) -> String {
        format!("127.0.0.1:{}", self.http.number())
    }

    /// What the hub answers over HTTP, head and body, to a request line, headers and a body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn http(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Result<String> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.http_address()).await?;
        let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (host, length) = (self.http_address(), body.len());
        let head = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n"
        );
        stream.write_all(format!("{head}{more}\r\n{body}").as_bytes()).await?;
        let mut text = String::new();
        tokio::time::timeout(LIMIT, stream.read_to_string(&mut text)).await??;
        Ok(text)
    }

    /// The file of its configuration.
    pub fn config(&self) -> PathBuf {
        self.directory().join("hub.yaml")
    }

    /// Gives the hub a configuration, from its next start on: what stands below its head.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn configure(&self, rest: &str) -> Result<()> {
        let head = "apiVersion: nave.dev/v1alpha1\nkind: HubConfig\n";
        Ok(std::fs::write(self.config(), format!("{head}{rest}"))?)
    }

    /// Makes the hub follow another URL from its next start on.
    pub fn follow(&mut self, url: impl Into<String>) {
        self.url = url.into();
    }

    /// Makes the hub follow this of its catalog from its next start on; `main` before, whatever is checked out meanwhile.
    pub fn follow_ref(&mut self, reference: &'static str) {
        self.branch = reference;
    }

    /// Makes the hub ask Git so often from its next start on; every second before.
    pub fn poll_every(&mut self, interval: &'static str) {
        self.poll = interval;
    }

    /// Sets a variable of the hub's environment from its next start on; a failpoint, say.
    pub fn environment(&mut self, variable: &str, value: &str) {
        self.environment.retain(|(name, _)| name != variable);
        if !value.is_empty() {
            self.environment.push((variable.to_owned(), value.to_owned()));
        }
    }

    /// Makes the hub and each spoke log so much from their next start on, as `RUST_LOG` says.
    pub fn log(&mut self, filter: &'static str) {
        self.log = Some(filter);
    }

    /// Lets the hub, and whatever it runs, have no more addresses than so many bytes each, from its next start on.
    pub fn limit_addresses(&mut self, bytes: u64) {
        self.address_space = Some(bytes);
    }

    /// Starts the hub without waiting for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch_hub(&mut self) -> Result<()> {
        let hub = match self.address_space {
            // It becomes what it runs, so that the process is the hub.
            Some(bytes) => {
                Program::at("prlimit").arg(format!("--as={bytes}")).arg(binary("hub")?).named("hub")
            }
            None => Program::built("hub")?,
        };
        let mut program = hub
            .args(["serve", "--data-dir"])
            .arg(self.data())
            .args(["--catalog", &self.url, "--poll", self.poll, "--listen", &self.address()])
            .args(["--http", &self.http_address(), "--branch", self.branch])
            .env("XDG_CONFIG_HOME", self.directory().join("config"));
        if self.config().exists() {
            program = program.arg("--config").arg(self.config());
        }
        for (variable, value) in &self.environment {
            program = program.env(variable, value);
        }
        if let Some(filter) = self.log {
            program = program.env("RUST_LOG", filter);
        }
        self.hub = Some(program.start(self.directory())?);
        Ok(())
    }

    /// Starts the hub and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start_hub(&mut self) -> Result<()> {
        self.launch_hub()?;
        let port = self.grpc.number();
        self.hub_process()?.port(port, LIMIT).await
    }

    /// The hub's process.
    ///
    /// # Errors
    /// When none was started.
    pub fn hub_process(&mut self) -> Result<&mut Process> {
        self.hub.as_mut().context("no hub was started")
    }

    /// `kill -9` for the hub.
    pub fn kill_hub(&mut self) {
        self.hub = None;
    }

    /// Runs `hub` with these arguments and the admin's context.
    ///
    /// # Errors
    /// When it cannot be run, or hangs. A failure of the command is an [`Answer`].
    pub async fn hub(&self, arguments: &[&str]) -> Result<Answer> {
        self.hub_within(arguments, LIMIT).await
    }

    /// As [`Fleet::hub`], with another limit.
    ///
    /// # Errors
    /// As [`Fleet::hub`].
    pub async fn hub_within(&self, arguments: &[&str], limit: Duration) -> Result<Answer> {
        let mut command = tokio::process::Command::new(binary("hub")?);
        command
            .args(arguments)
            .env("HUB_CONTEXT", self.data().join("admin.yaml"))
            .env("XDG_CONFIG_HOME", self.directory().join("config"))
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        let Ok(done) = tokio::time::timeout(limit, command.output()).await else {
            bail!("hub {arguments:?} was not done within {limit:?}");
        };
        let Output { status, stdout, stderr } = done?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Answer { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) })
    }

    /// As [`Fleet::hub`], for a command that has to succeed; what it printed.
    ///
    /// # Panics
    /// When it fails.
    pub async fn order(&self, arguments: &[&str]) -> String {
        let done = self.hub(arguments).await.expect("the command runs");
        assert_eq!(done.code, 0, "{arguments:?}: {}{}", done.stdout, done.stderr);
        done.stdout
    }

    /// Waits until the rollout of an app waits for something of this type; `hub rollout show`.
    pub async fn rollout_waits(&self, app: &str, kind: &str) -> Value {
        wait::until(&format!("the rollout of {app} waits for {kind}"), LIMIT, async || {
            let shown = self.hub(&["rollout", "show", app, "-o", "json"]).await?.json()?;
            ensure!(shown["waitsFor"]["type"] == kind, "{shown:#}\n{}", self.tails());
            Ok(shown)
        })
        .await
    }

    /// A join token for a cluster.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn token(&self, cluster: &str, labels: &[&str]) -> Result<String> {
        let mut arguments = vec!["cluster", "join", cluster, "-o", "json"];
        for label in labels {
            arguments.extend(["--label", label]);
        }
        let joined = self.hub(&arguments).await?.json()?;
        joined["token"].as_str().map(str::to_owned).context("join gives a token")
    }

    /// Joins a cluster and starts its spoke.
    ///
    /// # Errors
    /// When the hub refuses, or the spoke cannot be started.
    pub async fn join(&mut self, cluster: &str, labels: &[&str], target: &Target) -> Result<()> {
        let token = self.token(cluster, labels).await?;
        self.start_spoke(cluster, Some(&token), target)
    }

    /// Starts a cluster's spoke, with a token or from its state alone.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_spoke(&mut self, cluster: &str, token: Option<&str>, target: &Target) -> Result<()> {
        let mut program = Program::built("spoke")?
            .named(format!("spoke-{cluster}"))
            .args(["run", "--state-dir"])
            .arg(self.state(cluster));
        if let Some(token) = token {
            program = program.args(["--join", token]);
        }
        if let Some(filter) = self.log {
            program = program.env("RUST_LOG", filter);
        }
        program = match target {
            Target::Directory => {
                let manifests = self.manifests(cluster);
                std::fs::create_dir_all(&manifests)?;
                program.arg("--target").arg(format!("dir:{}", manifests.display()))
            }
            Target::Kube(kubeconfig) => program.arg("--kubeconfig").arg(kubeconfig),
        };
        self.spokes.insert(cluster.to_owned(), program.start(self.directory())?);
        Ok(())
    }

    /// Starts a cluster's spoke by a program that is complete but for its name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn adopt_spoke(&mut self, cluster: &str, program: Program) -> Result<()> {
        let program = program.named(format!("spoke-{cluster}"));
        self.spokes.insert(cluster.to_owned(), program.start(self.directory())?);
        Ok(())
    }

    /// A spoke's process.
    ///
    /// # Errors
    /// When none was started.
    pub fn spoke_process(&mut self, cluster: &str) -> Result<&mut Process> {
        self.spokes.get_mut(cluster).with_context(|| format!("no spoke of {cluster} was started"))
    }

    /// What a spoke has logged so far.
    pub fn spoke_log(&self, cluster: &str) -> String {
        self.spokes.get(cluster).map(Process::stderr).unwrap_or_default()
    }

    /// `kill -9` for a spoke.
    pub fn kill_spoke(&mut self, cluster: &str) {
        self.spokes.remove(cluster);
    }

    /// `hub wait`, which has to end with converged.
    ///
    /// # Errors
    /// When it does not, with the hub's and the spokes' last lines.
    pub async fn converge(&self, arguments: &[&str]) -> Result<()> {
        let all = [&["wait", "--timeout", "60s", "--include-offline"], arguments].concat();
        let answer = self.hub_within(&all, LIMIT * 2).await?;
        ensure!(answer.code == 0, "{}{}\n{}", answer.stdout, answer.stderr, self.tails());
        Ok(())
    }

    /// `hub status -o json`.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn status(&self) -> Result<Value> {
        self.hub(&["status", "-o", "json"]).await?.json()
    }

    /// Waits until the hub counts so many connected clusters, each with an assignment that is confirmed.
    ///
    /// # Panics
    /// When that does not come to pass.
    pub async fn connected(&self, count: usize) {
        wait::until(&format!("{count} clusters connect"), LIMIT, async || {
            let status = self.status().await?;
            ensure!(status["connected"] == count, "{status}\n{}", self.tails());
            Ok(())
        })
        .await;
    }

    /// The last lines of all processes.
    pub fn tails(&self) -> String {
        self.hub.iter().chain(self.spokes.values()).map(Process::tail).collect::<Vec<_>>().join("\n")
    }

    /// The text of every manifest of a `dir:` cluster, by file name.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn files(&self, cluster: &str) -> Result<BTreeMap<String, String>> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(self.manifests(cluster))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                files.insert(name, std::fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
        Ok(files)
    }
}

/// Catalog documents that tests are made of.
pub mod documents {
    /// An app from `manifests/NAME`, in a namespace of its own.
    pub fn app(name: &str) -> String {
        app_with(name, "")
    }

    /// An app with more lines in its `spec`, each indented by two spaces.
    pub fn app_with(name: &str, more: &str) -> String {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  source: {{path: \
             ./manifests/{name}}}\n  namespace: {{name: {name}}}\n{more}"
        )
    }

    /// A placement of apps on the clusters that a `clusters` term selects, e.g. `{selector: {}}`.
    pub fn placement(name: &str, apps: &[&str], clusters: &str) -> String {
        let apps = apps.join(", ");
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {{name: {name}}}\nspec:\n  apps: {{names: \
             [{apps}]}}\n  clusters: {clusters}\n"
        )
    }

    /// Every change goes to all clusters at once, whatever comes of it.
    pub fn all_at_once() -> String {
        "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {name: fleet}\nspec: {defaults: {rollout: at-once}}\n---\n\
         apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: at-once}\n\
         spec: {waves: [{name: all}], failure: {max: 100%}}\n"
            .to_owned()
    }

    /// A ConfigMap with one value.
    pub fn config_map(name: &str, value: &str) -> String {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{value: {value:?}}}\n")
    }
}
