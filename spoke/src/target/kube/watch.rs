//! Watch: changes of what is ours are told.
//!
//! In: which kinds we own, and where. Out: which objects may have changed.
//! Never: keeps objects; asks for more than their metadata; misses a change: after every new list, what differs from what
//! was last seen is told.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, select_all};
use kube::Api;
use kube::api::{DynamicObject, ObjectMeta, PartialObjectMeta};
use kube::core::discovery::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use nave_placement::ObjectKey;
use nave_placement::render::{Scope, Scopes as _};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::marks::PART_OF;
use super::shared::Shared;
use crate::target::{Owned, Relisted};

/// Metadata of this many objects is held at once while a list is read.
const PAGE: u32 = 50;
/// Between two attempts at a kind that the server did not know: a definition that is replaced is back within seconds.
const PAUSE_MS: std::ops::Range<u64> = 1_000..5_000;
/// Between two attempts at what is forbidden: rights change rarely, and by hand.
pub(super) const FORBIDDEN_MS: std::ops::Range<u64> = 240_000..360_000;

pub(super) type Meta = PartialObjectMeta<DynamicObject>;

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
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    NotServed,
    Forbidden,
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
        let Some(resource) = shared.kinds().preferred(&group, &kind) else {
            // The sender lives in `shared`: this waits, and does not fail.
            if discovered.changed().await.is_err() {
                return;
            }
            continue;
        };
        let namespaced = shared.kinds().scope(&group, &kind) == Some(Scope::Namespaced);
        // A kind of the cluster is looked at as a whole, whatever namespaces are chosen.
        let mut end = if namespaced && !shared.namespaces.is_empty() {
            End::Forbidden
        } else {
            follow_in(&shared, &resource, "").await
        };
        if end == End::Forbidden {
            // Narrow rights: where our objects are, and nowhere else.
            end = follow_narrowly(&shared, &resource, &mut namespaces).await;
        }
        if end == End::NotServed {
            // Its objects are gone with it, which is news.
            if let Err(problem) = shared.discover_group(&group).await {
                tracing::debug!(kind, group, error = %problem.error, "discovery failed");
            }
            shared.tell(|changed| changed.kinds.extend([(group.clone(), kind.clone())]));
        }
        sleep(Duration::from_millis(fastrand::u64(PAUSE_MS))).await;
    }
}

/// Follows a kind in the namespaces where we have objects of it.
async fn follow_narrowly(
    shared: &Shared,
    resource: &ApiResource,
    namespaces: &mut watch::Receiver<BTreeSet<String>>,
) -> End {
    loop {
        let names: Vec<String> =
            namespaces.borrow_and_update().iter().filter(|name| !name.is_empty()).cloned().collect();
        let each = names.iter().map(|name| -> BoxFuture<'_, End> {
            async move {
                loop {
                    match follow_in(shared, resource, name).await {
                        End::NotServed => return End::NotServed,
                        End::Forbidden => sleep(Duration::from_millis(fastrand::u64(FORBIDDEN_MS))).await,
                    }
                }
            }
            .boxed()
        });
        let never: BoxFuture<'_, End> = std::future::pending().boxed();
        let all = select_all(each.chain([never]));
        tokio::select! {
            (end, ..) = all => return end,
            changed = namespaces.changed() => if changed.is_err() { return End::NotServed },
        }
    }
}

/// Tells of events of a kind, everywhere (`""`) or in one namespace, until the server no longer knows the kind or refuses.
async fn follow_in(shared: &Shared, resource: &ApiResource, namespace: &str) -> End {
    let client = shared.wire.client.clone();
    let api: Api<Meta> = match namespace {
        "" => Api::all_with(client, resource),
        namespace => Api::namespaced_with(client, namespace, resource),
    };
    let config = watcher::Config::default().labels(PART_OF).page_size(PAGE);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let (mut failed, mut lost) = (0, false);
    // What a new list has shown so far.
    let mut listed: BTreeSet<ObjectKey> = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failed = 0;
                let is_back = matches!(event, Event::InitDone) && std::mem::take(&mut lost);
                take(shared, resource, namespace, event, &mut listed);
                if is_back {
                    // Who could not look meanwhile shall not wait for his turn.
                    shared.tell(|changed| changed.kinds.extend([kind_of(resource)]));
                }
            }
            Err(error) => match ended(&error) {
                Some(end) => return end,
                None => {
                    failed += 1;
                    // Once for each outage: the stream retries with a growing, jittered delay.
                    if failed == 2 {
                        tracing::warn!(kind = resource.kind, error = %error, "watch interrupted; it is taken up again");
                        // Nothing is known of the kind for now, and that shall be said.
                        lost = true;
                        shared.tell(|changed| changed.kinds.extend([kind_of(resource)]));
                    }
                }
            },
        }
    }
    End::NotServed
}

fn take(
    shared: &Shared,
    resource: &ApiResource,
    namespace: &str,
    event: Event<Meta>,
    listed: &mut BTreeSet<ObjectKey>,
) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(object) => {
            let key = key(resource, &object.metadata);
            tell(shared, &key, &object.metadata);
            listed.insert(key);
        }
        Event::InitDone => {
            // What is ours and not in the list is gone, or lost its label: whoever knows what is ours can tell.
            let (group, kind) = (resource.group.clone(), resource.kind.clone());
            let (namespace, present) = (namespace.to_owned(), std::mem::take(listed));
            shared.tell(|changed| changed.relisted.push(Relisted { group, kind, namespace, present }));
        }
        Event::Apply(object) => tell(shared, &key(resource, &object.metadata), &object.metadata),
        Event::Delete(object) => shared.tell_of(key(resource, &object.metadata), None),
    }
}

fn kind_of(resource: &ApiResource) -> (String, String) {
    (resource.group.clone(), resource.kind.clone())
}

fn key(resource: &ApiResource, metadata: &ObjectMeta) -> ObjectKey {
    ObjectKey {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
    }
}

/// All is news but what we saw already, and the trace of our own last write.
fn tell(shared: &Shared, key: &ObjectKey, metadata: &ObjectMeta) {
    let version = shared.notes.version(metadata.resource_version.as_deref().unwrap_or_default());
    if shared.notes.is_news(key, version) {
        shared.tell_of(key.clone(), Some(version));
    }
}

/// Whether this error ends a watch: the kind is not served, or we may not watch it.
pub(super) fn ended(error: &watcher::Error) -> Option<End> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return None,
    };
    match status.code {
        404 => Some(End::NotServed),
        403 => Some(End::Forbidden),
        _ => None,
    }
}
