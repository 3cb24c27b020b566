//! Watch: changes of what is ours are told.
//!
//! In: which kinds we own, and where. Out: which objects may have changed.
//! Never: keeps objects; asks for more than their metadata; takes what is refused once for what is refused for good: after
//! every new list, what differs from what was last seen is told.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{AbortHandle, abortable};
use futures::stream::FuturesUnordered;
use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use nave_placement::render::{Scope, Scopes as _};
use nave_proto::backoff::Backoff;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;

use super::marks::PART_OF;
use super::problem::Problem;
use super::shared::{Shared, text};
use super::stream::{Event, Stream};
use crate::target::{Owned, Relisted};

/// Between two attempts at a kind that the server did not know: a definition that is replaced is back within seconds.
const PAUSE_MS: std::ops::Range<u64> = 1_000..5_000;
/// What could be watched for so long was not forbidden.
const PROVEN: Duration = Duration::from_secs(60);

/// The running watches; they end with it.
#[derive(Default)]
pub(super) struct Watches {
    running: Mutex<HashMap<(String, String), Running>>,
}

struct Running {
    namespaces: watch::Sender<BTreeSet<String>>,
    _task: AbortOnDropHandle<()>,
}

impl Watches {
    /// Starts the watches that are missing and ends those that are not wanted any more.
    pub fn set(&self, owned: &Owned, shared: &Arc<Shared>, runtime: &Handle) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|kind, _| owned.contains_key(kind));
        for (kind, namespaces) in owned {
            let start = || {
                let (sender, receiver) = watch::channel(namespaces.clone());
                let task = follow(shared.clone(), kind.0.clone(), kind.1.clone(), receiver);
                Running { namespaces: sender, _task: AbortOnDropHandle::new(runtime.spawn(task)) }
            };
            let running = running.entry(kind.clone()).or_insert_with(start);
            running.namespaces.send_if_modified(|known| {
                let news = known != namespaces;
                known.clone_from(namespaces);
                news
            });
        }
    }
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    NotServed,
    Forbidden,
}

impl End {
    /// Whether a failure is an end: the kind is not served, or we may not watch it. All others pass.
    pub fn of(problem: &Problem) -> Option<Self> {
        match problem.code {
            404 => Some(Self::NotServed),
            403 => Some(Self::Forbidden),
            _ => None,
        }
    }
}

/// Follows a kind for as long as it is owned: while it is not served, waits for a discovery that finds it.
async fn follow(
    shared: Arc<Shared>,
    group: String,
    kind: String,
    mut namespaces: watch::Receiver<BTreeSet<String>>,
) {
    let mut discovered = shared.discovered.subscribe();
    loop {
        let Some(resource) = shared.kinds().preferred(&group, &kind).map(Arc::new) else {
            // The sender lives in `shared`: this waits, and does not fail.
            if discovered.changed().await.is_err() {
                return;
            }
            continue;
        };
        let namespaced = shared.kinds().scope(&group, &kind) == Some(Scope::Namespaced);
        // A kind of the cluster is looked at as a whole, whatever namespaces are chosen.
        if namespaced && !shared.namespaces.is_empty() {
            follow_narrowly(&shared, &resource, &mut namespaces).await;
        } else {
            follow_widely(&shared, &resource, &mut namespaces).await;
        }
        // Its objects are gone with it, which is news.
        if let Err(problem) = shared.discover_group(&group).await {
            tracing::debug!(kind, group, error = %problem.error, "discovery failed");
        }
        shared.tell(|changed| changed.kinds.extend([kind_of(&resource)]));
        sleep(rest()).await;
    }
}

fn rest() -> Duration {
    Duration::from_millis(fastrand::u64(PAUSE_MS))
}

/// Follows a kind everywhere until it is not served. Where that is refused twice in a row, it is followed where our objects
/// are, until it is not refused any more.
async fn follow_widely(
    shared: &Shared,
    resource: &Arc<ApiResource>,
    namespaces: &mut watch::Receiver<BTreeSet<String>>,
) {
    let mut pause = shared.wire.timings.refused();
    let mut refused = false;
    loop {
        let began = Instant::now();
        if follow_in(shared, resource, "").await == End::NotServed {
            return;
        }
        if began.elapsed() > PROVEN {
            refused = false;
            pause.reset();
        }
        if !std::mem::replace(&mut refused, true) {
            sleep(pause.after_failure(fastrand::f64())).await;
            continue;
        }
        tokio::select! {
            () = follow_narrowly(shared, resource, namespaces) => return,
            () = until_allowed(shared, resource, &mut pause) => {}
        }
    }
}

/// Returns when the kind may be listed everywhere; asks more and more rarely.
async fn until_allowed(shared: &Shared, resource: &ApiResource, pause: &mut Backoff) {
    loop {
        sleep(pause.after_failure(fastrand::f64())).await;
        if shared.wire.for_streams().page(resource, "", Some(PART_OF), true, None).await.is_ok() {
            return;
        }
    }
}

/// Follows a kind in the namespaces where we have objects of it, until it is not served.
async fn follow_narrowly(
    shared: &Shared,
    resource: &Arc<ApiResource>,
    namespaces: &mut watch::Receiver<BTreeSet<String>>,
) {
    let mut running: BTreeMap<String, AbortHandle> = BTreeMap::new();
    let mut all = FuturesUnordered::new();
    loop {
        let names = namespaces.borrow_and_update().clone();
        running.retain(|name, task| {
            let wanted = names.contains(name);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for name in names.into_iter().filter(|name| !name.is_empty()) {
            if !running.contains_key(&name) {
                let (task, handle) = abortable(follow_one(shared, resource, name.clone()));
                running.insert(name, handle);
                all.push(task);
            }
        }
        tokio::select! {
            Some(ended) = all.next() => if ended.is_ok() { return },
            changed = namespaces.changed() => if changed.is_err() { return },
        }
    }
}

/// Follows a kind in one namespace until it is not served.
async fn follow_one(shared: &Shared, resource: &Arc<ApiResource>, namespace: String) {
    let mut pause = shared.wire.timings.refused();
    loop {
        let began = Instant::now();
        if follow_in(shared, resource, &namespace).await == End::NotServed {
            return;
        }
        if began.elapsed() > PROVEN {
            pause.reset();
        }
        sleep(pause.after_failure(fastrand::f64())).await;
    }
}

/// Tells of events of a kind, everywhere (`""`) or in one namespace, until the server no longer knows the kind or refuses.
async fn follow_in(shared: &Shared, resource: &Arc<ApiResource>, namespace: &str) -> End {
    let mut events = Stream::of(&shared.wire, resource, namespace, Some(PART_OF));
    let mut failed = 0;
    // What a new list has shown so far.
    let mut listed: BTreeSet<ObjectKey> = BTreeSet::new();
    loop {
        match events.next().await {
            Ok(event) => {
                let is_back = !matches!(event, Event::Begun | Event::Listed(_))
                    && std::mem::take(&mut failed) >= OUTAGE;
                take(shared, resource, namespace, event, &mut listed);
                if is_back {
                    // Who could not look meanwhile shall not wait for his turn.
                    shared.tell(|changed| changed.kinds.extend([kind_of(resource)]));
                }
            }
            Err(problem) => {
                if let Some(end) = End::of(&problem) {
                    return end;
                }
                failed += 1;
                // Once for each outage.
                if failed == OUTAGE {
                    tracing::warn!(kind = resource.kind, error = %problem.error, "watch interrupted; it is taken up again");
                    // Nothing is known of the kind for now, and that shall be said.
                    shared.tell(|changed| changed.kinds.extend([kind_of(resource)]));
                }
            }
        }
    }
}

/// So many failures in a row are an outage; a single one is a stream that was cut.
const OUTAGE: u32 = 2;

fn take(
    shared: &Shared,
    resource: &ApiResource,
    namespace: &str,
    event: Event,
    listed: &mut BTreeSet<ObjectKey>,
) {
    match event {
        Event::Begun => listed.clear(),
        Event::Listed(object) => {
            let key = key(resource, &object);
            tell(shared, &key, &object);
            listed.insert(key);
        }
        Event::Complete => {
            // What is ours and not in the list is gone, or lost its label: whoever knows what is ours can tell.
            let (group, kind) = kind_of(resource);
            let (namespace, present) = (namespace.to_owned(), std::mem::take(listed));
            shared.tell(|changed| changed.relisted.push(Relisted { group, kind, namespace, present }));
        }
        Event::Changed(object) => tell(shared, &key(resource, &object), &object),
        Event::Deleted(object) => shared.tell_of(key(resource, &object), None),
    }
}

fn kind_of(resource: &ApiResource) -> (String, String) {
    (resource.group.clone(), resource.kind.clone())
}

fn key(resource: &ApiResource, object: &Value) -> ObjectKey {
    let (group, kind) = kind_of(resource);
    let of = |field: &str| text(object, field).to_owned();
    ObjectKey { group, kind, namespace: of("/metadata/namespace"), name: of("/metadata/name") }
}

/// All is news but what we saw already, and the trace of our own last write.
fn tell(shared: &Shared, key: &ObjectKey, object: &Value) {
    let version = shared.notes.version(text(object, "/metadata/resourceVersion"));
    if shared.notes.is_news(key, version) {
        shared.tell_of(key.clone(), Some(version));
    }
}
