//! An API server that fails as it is told: an HTTP proxy with TLS of its own before a real one.
//!
//! In: a kubeconfig. Out: another one that leads through the proxy, the faults that a test switches on and off, and the
//! requests that were seen. Watch streams and upgrades pass through unbuffered. Who asks is who the client says it is:
//! tokens go through, and rights are the real server's to judge.

mod asked;
mod fault;
mod forward;
mod upstream;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::Instant;

pub use asked::{Asked, Which};
pub use fault::Fault;
use upstream::Upstream;

use crate::servers::{self, Serving};
use crate::tls::Authority;

/// So many requests are remembered; a client that asks more often than this in a test is in a hot loop.
const REMEMBERED: usize = 200_000;

/// Instead of a status: the connection was reset.
pub const RESET: u16 = 0;

/// The proxy. Connections end when it is dropped.
#[derive(Debug)]
pub struct ApiProxy {
    url: String,
    authority: Authority,
    directory: TempDir,
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    _serving: Serving,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// When.
    pub at: Instant,
    /// What for.
    pub asked: Asked,
    /// What the client was answered, or [`RESET`]; `None` when it was not, or not yet.
    pub code: Option<u16>,
    /// Whether a fault met it.
    pub failed: bool,
}

/// A fault and the requests that it meets.
#[derive(Debug)]
struct Rule {
    which: Which,
    fault: Fault,
    /// How many more; `None` is until cleared.
    left: Option<usize>,
}

/// What connections go by.
#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    rules: Mutex<Vec<Rule>>,
    requests: Mutex<Vec<Request>>,
    /// A stream that began before this was counted up is cut.
    cut: watch::Sender<u64>,
    /// A stream that began before this was counted up says nothing any more, and stays open.
    silenced: watch::Sender<u64>,
}

impl ApiProxy {
    /// A proxy before the API server of a kubeconfig, which forwards faithfully.
    ///
    /// # Errors
    /// When the kubeconfig has not the form in which this harness writes them, or no port can be bound.
    pub fn before(kubeconfig: &Path) -> Result<Self> {
        let given = read(kubeconfig)?;
        let shared = Arc::new(Shared {
            upstream: Upstream::of(&given["clusters"][0]["cluster"])?,
            rules: Mutex::default(),
            requests: Mutex::default(),
            cut: watch::Sender::new(0),
            silenced: watch::Sender::new(0),
        });
        let authority = Authority::new()?;
        let acceptor = authority.server(&["127.0.0.1", "localhost"])?.listener()?;
        let of_connections = shared.clone();
        let (address, serving) =
            servers::serve(|listener| forward::accept(listener, acceptor, of_connections))?;
        let directory = TempDir::with_prefix("nave-faults-")?;
        let path = directory.path().join("kubeconfig.json");
        let this = Self {
            url: format!("https://{address}"),
            authority,
            directory,
            kubeconfig: path,
            shared,
            _serving: serving,
        };
        this.write("kubeconfig", given["users"][0]["user"].clone())?;
        Ok(this)
    }

    /// The user of the kubeconfig that it stands before, through the proxy.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Whoever's token stands in a file when it is read, as of a pod's service account.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_with_token_file(&self, token_file: &Path) -> Result<PathBuf> {
        self.write("kubeconfig-token-file", json!({"tokenFile": token_file}))
    }

    fn write(&self, name: &str, user: Value) -> Result<PathBuf> {
        let authority = STANDARD.encode(self.authority.pem());
        let value = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": "proxy", "user": user}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        let path = self.directory.path().join(format!("{name}.json"));
        fs::write(&path, format!("{value:#}\n"))?;
        Ok(path)
    }

    /// These requests meet this fault until [`ApiProxy::clear`]. Of several that fit, the first that was given counts.
    pub fn inject(&self, which: Which, fault: Fault) {
        lock(&self.shared.rules).push(Rule { which, fault, left: None });
    }

    /// The next so many of these requests meet this fault.
    pub fn inject_times(&self, times: usize, which: Which, fault: Fault) {
        lock(&self.shared.rules).push(Rule { which, fault, left: Some(times) });
    }

    /// Ends all faults. Streams that were silenced stay silent, as half-open connections do.
    pub fn clear(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Closes all connections with an answer in progress, watch streams foremost; new ones work.
    pub fn cut_streams(&self) {
        self.shared.cut.send_modify(|n| *n += 1);
    }

    /// Makes all answers in progress half open: nothing comes any more, and nobody says so.
    pub fn silence_streams(&self) {
        self.shared.silenced.send_modify(|n| *n += 1);
    }

    /// What came since the beginning, or since [`ApiProxy::forget`], in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// Forgets what came.
    pub fn forget(&self) {
        lock(&self.shared.requests).clear();
    }

    /// How many of these came.
    pub fn count(&self, which: &Which) -> usize {
        lock(&self.shared.requests).iter().filter(|request| which.fits(&request.asked)).count()
    }

    /// How many came, by verb and resource (or path, of what is none); for the message of a failure.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for Request { asked, .. } in &*lock(&self.shared.requests) {
            let what = if asked.resource.is_empty() { &asked.path } else { &asked.resource };
            *counts.entry(format!("{} {what}", asked.verb)).or_default() += 1;
        }
        counts
    }

    /// The times between one of these and the next.
    pub fn pauses(&self, which: &Which) -> Vec<Duration> {
        let requests = lock(&self.shared.requests);
        let times: Vec<_> = requests.iter().filter(|r| which.fits(&r.asked)).map(|r| r.at).collect();
        times.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

impl Shared {
    /// Notes a request, and says what happens to it.
    fn meets(&self, asked: &Asked) -> (usize, Option<Fault>) {
        let fault = self.fault(asked);
        let mut requests = lock(&self.requests);
        assert!(requests.len() < REMEMBERED, "more than {REMEMBERED} requests: a hot loop");
        let failed = fault.is_some();
        requests.push(Request { at: Instant::now(), asked: asked.clone(), code: None, failed });
        (requests.len() - 1, fault)
    }

    fn fault(&self, asked: &Asked) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let fits = |rule: &&mut Rule| rule.left != Some(0) && rule.which.fits(asked);
        let rule = rules.iter_mut().find(fits)?;
        rule.left = rule.left.map(|left| left - 1);
        Some(rule.fault.clone())
    }

    /// Notes what a request was answered, unless it was forgotten meanwhile.
    fn answered(&self, at: usize, asked: &Asked, code: u16) {
        if let Some(request) = lock(&self.requests).get_mut(at).filter(|request| request.asked == *asked) {
            request.code = Some(code);
        }
    }
}

fn read(kubeconfig: &Path) -> Result<Value> {
    let text = fs::read(kubeconfig).with_context(|| format!("reading {}", kubeconfig.display()))?;
    Ok(serde_json::from_slice(&text)?)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
