//! Kube: a Kubernetes cluster as a target.
//!
//! In: objects to write by server-side apply, keys to delete. Out: what is there, whose it is, how it is.
//! Never: depends on one Kubernetes version (it discovers), writes what is as wanted, waits without a limit, deletes
//! what does not carry all of our marks, touches the spoke's own namespace for an app.
//!
//! | module | in | out |
//! |---|---|---|
//! | `client` | a configuration | connections |
//! | `wire`, `gate`, `problem` | a request | its answer, or which kind of failure |
//! | `stream`, `bookless`, `timings` | a kind | what happens to its objects, without an end |
//! | `kinds`, `definitions` | discovery documents, events of CRDs and APIServices | scopes, paths |
//! | `sent`, `marks` | an app, an object | the object with our marks; whether a live one is ours |
//! | `listed`, `books` | an object as sent, a live one | which fields were ours, who owns which now, and books that say otherwise |
//! | `compare`, `notes` | what was sent, what is there | whether it differs, whether that is news, whether somebody fights |
//! | `look`, `pods` | wanted objects | what was seen, with health and its reasons |
//! | `survey`, `sightings` | what all apps claim | what is at rest, and what was seen of many at once |
//! | `apply`, `adopt`, `recreate`, `remove` | an object, a key | what came of it |
//! | `autoscale` | a namespace | what is scaled there by others |
//! | `age_keys` | the Secret `nave-age` | identities that secrets are encrypted to |
//! | `ask` | a question | what kubectl would show, a dry-run's changes |
//! | `facts`, `quantity` | nodes, pods, properties, page by page | what the cluster is, what it has left |
//! | `inventory`, `search`, `watch`, `settle` | | what apps have, that something changed |

pub mod access;
mod adopt;
mod age_keys;
mod apply;
mod ask;
mod autoscale;
mod bookless;
mod books;
mod client;
mod compare;
mod definitions;
mod facts;
mod gate;
mod inventory;
mod kinds;
mod listed;
mod look;
mod marks;
mod notes;
mod pause;
mod places;
mod pods;
mod problem;
mod quantity;
mod recreate;
mod remove;
mod search;
mod sent;
mod settle;
mod shared;
mod sightings;
mod stream;
mod survey;
mod timings;
mod watch;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::discovery::ApiResource;
use kube::{Client, Config};
use nave_placement::fleet::Facts;
use nave_placement::render::{Resolved, Scopes};
use nave_placement::{AppKey, ObjectKey};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::watch::Receiver;
use tokio_util::task::AbortOnDropHandle;
use zeroize::Zeroizing;

use self::kinds::Kinds;
pub use self::kinds::{builtin, core};
use self::marks::Marks;
use self::settle::Settling;
use self::shared::{Shared, text};
pub use self::timings::Timings;
use self::watch::Watches;
use self::wire::{Wire, path};
use super::ask::{Answer, Inquiry, Refusal};
use super::{
    Applied, Behalf, Changed, Claims, Deleted, Free, Inventory, Missing, Owned, Rebuilt, Seen, Target,
    TargetError, Write,
};
use crate::pause::Pauses;

/// The namespace of the spoke unless it was told another.
pub const DEFAULT_NAMESPACE: &str = "nave-system";

/// Which cluster, and where in it the spoke keeps its own things.
#[derive(Clone, Debug)]
pub struct Options {
    /// A kubeconfig file. Without one: `KUBECONFIG`, `~/.kube/config`, or the pod's service account, in this order.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig other than its current one.
    pub context: Option<String>,
    /// The spoke's own namespace. No app may touch it.
    pub namespace: String,
    /// Whether it is made where it is absent: by who moves in, never by who only looks, or moves out.
    pub create_namespace: bool,
    /// The only namespaces that it may look at, where its rights do not cover all; empty: all.
    pub namespaces: Vec<String>,
    /// The UID by which the spoke knows the cluster already. Where its own namespace stood for the cluster, it still does,
    /// whoever looks now, and with whatever rights.
    pub uid: Option<String>,
    /// How long the API server is waited for, and how often it is asked again.
    pub timings: Timings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespace: DEFAULT_NAMESPACE.to_owned(),
            create_namespace: true,
            namespaces: Vec::new(),
            uid: None,
            timings: Timings::default(),
        }
    }
}

/// A Kubernetes cluster. Its watches run while it lives.
pub struct KubeTarget {
    url: String,
    shared: Arc<Shared>,
    watches: Watches,
    _definitions: [AbortOnDropHandle<()>; 2],
    _pauses: [AbortOnDropHandle<()>; 2],
    settling: Settling,
    runtime: Handle,
    uid: String,
}

impl KubeTarget {
    /// Connects: makes the spoke's namespace where that is asked for, learns the cluster's UID and what it serves.
    ///
    /// # Errors
    /// [`TargetError::Refused`] when the configuration cannot be used or the cluster denies what a spoke needs;
    /// [`TargetError::Unreachable`] when the cluster does not answer: the caller tries again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(options: Options) -> Result<Self, TargetError> {
        let (client, url) = client(&options).await?;
        let wire = Wire::new(client, options.timings.clone());
        if options.create_namespace {
            own_namespace(&wire, &options.namespace).await?;
        }
        let cluster = cluster_uid(&wire, &options).await?;
        let kinds = Kinds::default().ask(&wire).await?;
        let uid = cluster.clone();
        let marks = Marks { cluster, namespace: options.namespace, digests: Arc::default() };
        let shared = Arc::new(Shared::new(wire, marks, kinds, options.namespaces));
        let runtime = Handle::current();
        let definitions = definitions::follow(&shared, &runtime);
        let pauses = pause::follow(&shared, &runtime);
        let (watches, settling) = (Watches::default(), Settling::default());
        Ok(Self { url, shared, watches, _definitions: definitions, _pauses: pauses, settling, runtime, uid })
    }

    /// The plural by which the API server knows a kind; `None` where it is not served.
    pub fn resource(&self, group: &str, kind: &str) -> Option<String> {
        self.shared.kinds().preferred(group, kind).map(|resource| resource.plural)
    }

    /// The way to the cluster, for the spoke's own things.
    pub fn client(&self) -> Client {
        self.shared.wire.client.clone()
    }
}

/// A client of the cluster, and its URL. Nothing is asked yet.
///
/// # Errors
/// [`TargetError::Refused`] when the configuration cannot be used.
pub async fn client(options: &Options) -> Result<(Client, String), TargetError> {
    let mut config = configuration(options).await?;
    // The proxy of the environment is for the way out, to the hub. An API server is beside its spoke.
    let of_environment =
        ["HTTPS_PROXY", "https_proxy"].into_iter().filter_map(|name| std::env::var(name).ok());
    let proxies: Vec<http::Uri> = of_environment.filter_map(|proxy| proxy.parse().ok()).collect();
    if config.proxy_url.as_ref().is_some_and(|url| proxies.contains(url)) {
        config.proxy_url = None;
    }
    let url = config.cluster_url.to_string();
    // Said here and without the URL, which has a password at times.
    if let Some(scheme) = config.proxy_url.as_ref().and_then(http::Uri::scheme_str)
        && !matches!(scheme, "http" | "https" | "socks5")
    {
        let why = format!("the kubeconfig's proxy-url begins with {scheme}; use http, https or socks5");
        return Err(TargetError::Refused(format!("no client for {url}: {why}")));
    }
    let refused = |e: kube::Error| TargetError::Refused(format!("no client for {url}: {e}"));
    Ok((client::connect(&config).map_err(refused)?, url))
}

async fn configuration(options: &Options) -> Result<Config, TargetError> {
    let refused =
        |e: &dyn std::fmt::Display| TargetError::Refused(format!("no usable cluster configuration: {e}"));
    let chosen = KubeConfigOptions { context: options.context.clone(), ..Default::default() };
    match (&options.kubeconfig, &options.context) {
        (Some(file), _) => {
            let read =
                Kubeconfig::read_from(file).map_err(|e| refused(&format!("{}: {e}", file.display())))?;
            Config::from_custom_kubeconfig(read, &chosen).await.map_err(|e| refused(&e))
        }
        (None, Some(_)) => Config::from_kubeconfig(&chosen).await.map_err(|e| refused(&e)),
        (None, None) => Config::infer().await.map_err(|e| refused(&e)),
    }
}

fn namespaces() -> ApiResource {
    core("Namespace", "namespaces")
}

async fn namespace_uid(wire: &Wire, name: &str) -> Result<String, TargetError> {
    let found = wire.get(&namespaces(), "", name).await?;
    let uid = found.as_ref().map(|n| text(n, "/metadata/uid").to_owned()).filter(|uid| !uid.is_empty());
    uid.ok_or_else(|| TargetError::Refused(format!("namespace {name} is absent, or has no UID")))
}

/// The UID of `kube-system`; where that may not be seen, that of the spoke's own namespace, which is not another cluster's
/// either.
async fn cluster_uid(wire: &Wire, options: &Options) -> Result<String, TargetError> {
    let own = options.namespace.as_str();
    if let Some(known) = &options.uid
        && namespace_uid(wire, own).await.is_ok_and(|uid| uid == *known)
    {
        return Ok(known.clone());
    }
    match wire.get(&namespaces(), "", "kube-system").await {
        Err(problem) if problem.code == 403 => {
            let uid = namespace_uid(wire, own).await?;
            tracing::info!(
                namespace = own,
                "the namespace kube-system may not be seen; the spoke's own stands for the cluster"
            );
            Ok(uid)
        }
        Err(problem) => Err(problem.into()),
        Ok(_) => namespace_uid(wire, "kube-system").await,
    }
}

async fn own_namespace(wire: &Wire, name: &str) -> Result<(), TargetError> {
    match wire.get(&namespaces(), "", name).await {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => {}
        // Narrow rights may leave this out; what is in the namespace shows later whether it is there.
        Err(problem) if problem.code == 403 => return Ok(()),
        Err(problem) => return Err(problem.into()),
    }
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}).to_string();
    match wire.send(path(&namespaces(), "").create(&PostParams::default(), body.into_bytes())).await {
        Ok(_) => Ok(()),
        // Somebody else was faster.
        Err(problem) if problem.code == 409 => Ok(()),
        Err(problem) => Err(problem.into()),
    }
}

#[async_trait]
impl Target for KubeTarget {
    fn describe(&self) -> String {
        format!("kube {}", self.url)
    }

    async fn uid(&self) -> Result<String, TargetError> {
        match namespace_uid(&self.shared.wire, "kube-system").await {
            Ok(uid) if uid == self.uid => Ok(uid),
            // The spoke's own namespace stands for the cluster: rights that change do not make another cluster of it.
            Ok(_) | Err(TargetError::Refused(_) | TargetError::Forbidden(_)) => {
                let own = namespace_uid(&self.shared.wire, &self.shared.marks.namespace).await;
                if own.as_ref().is_ok_and(|uid| *uid == self.uid) {
                    return own;
                }
                namespace_uid(&self.shared.wire, "kube-system").await
            }
            Err(error) => Err(error),
        }
    }

    async fn facts(&self) -> Facts {
        self.shared.facts().await
    }

    async fn free(&self) -> Option<Free> {
        self.shared.free().await
    }

    fn discoveries(&self) -> Receiver<u64> {
        self.shared.discovered.subscribe()
    }

    async fn age_keys(&self) -> Result<Option<Zeroizing<String>>, TargetError> {
        self.shared.age_keys().await
    }

    fn key_digests(&self, key: &[u8; 32]) {
        self.shared.marks.digests.set(key);
    }

    fn scopes(&self) -> Arc<dyn Scopes + Send + Sync> {
        self.shared.kinds()
    }

    fn is_silent(&self, group: &str) -> bool {
        self.shared.kinds().is_silent(group)
    }

    async fn discover(&self) -> Result<(), TargetError> {
        Ok(self.shared.discover().await?)
    }

    async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        self.shared.inventories().await
    }

    async fn rebuild(&self, apps: &Missing) -> Rebuilt {
        self.shared.search(apps).await
    }

    async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError> {
        self.shared.store_inventory(app, inventory).await
    }

    async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError> {
        self.shared.forget_inventory(app).await
    }

    async fn complete(&self, inventories: &BTreeMap<AppKey, Inventory>) -> Result<(), TargetError> {
        self.shared.complete(inventories).await
    }

    async fn survey(&self, claims: &dyn Claims) -> BTreeSet<ObjectKey> {
        self.shared.survey(claims).await
    }

    async fn observe(
        &self,
        of: Behalf<'_>,
        wanted: &[Resolved],
    ) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        let seen = self.shared.observe(of, wanted).await;
        self.settling.after(&seen, &self.shared, &self.runtime);
        seen
    }

    async fn apply(&self, of: Behalf<'_>, object: &Resolved, how: Write) -> Result<Applied, TargetError> {
        self.shared.apply(of, object, how).await
    }

    async fn delete(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<Deleted, TargetError> {
        self.shared.delete(of, key).await
    }

    fn runs(&self) -> bool {
        true
    }

    async fn make_way(&self, of: Behalf<'_>, object: &Resolved) -> Result<Deleted, TargetError> {
        self.shared.make_way(of, object).await
    }

    async fn orphan(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<(), TargetError> {
        self.shared.orphan(of, key).await
    }

    async fn answer(&self, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        self.shared.answer(inquiry).await
    }

    async fn pauses(&self) -> Result<Pauses, TargetError> {
        self.shared.pauses().await
    }

    fn changes(&self) -> Receiver<u64> {
        self.shared.changed.subscribe()
    }

    fn changed(&self) -> Changed {
        self.shared.take_changed()
    }

    fn watch_kinds(&self, owned: &Owned) {
        self.watches.set(owned, &self.shared, &self.runtime);
    }
}
