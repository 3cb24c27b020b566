//! Watch: changes of what is ours are counted.
//!
//! In: which kinds we own. Out: a counter that goes up.
//! Never: keeps objects; asks for more than their metadata; misses a change (after every new list it counts once).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::api::{DynamicObject, PartialObjectMeta};
use kube::core::discovery::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use nave_placement::ObjectKey;
use nave_placement::render::{Scope, Scopes as _};
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::marks::PART_OF;
use super::shared::Shared;

/// Metadata of this many objects is held at once while a list is read.
const PAGE: u32 = 50;
/// Between two attempts at a kind that the server did not know: a definition that is replaced is back within seconds.
const PAUSE_MS: std::ops::Range<u64> = 1_000..5_000;

type Meta = PartialObjectMeta<DynamicObject>;

/// The running watches; they end with it.
#[derive(Default)]
pub(super) struct Watches {
    running: Mutex<HashMap<(String, String), AbortOnDropHandle<()>>>,
}

impl Watches {
    /// Starts the watches that are missing and ends those that are not wanted any more.
    pub fn set(&self, kinds: &BTreeSet<(String, String)>, shared: &Arc<Shared>, runtime: &Handle) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|kind, _| kinds.contains(kind));
        for kind in kinds {
            running.entry(kind.clone()).or_insert_with(|| {
                let task = follow(shared.clone(), kind.0.clone(), kind.1.clone());
                AbortOnDropHandle::new(runtime.spawn(task))
            });
        }
    }
}

/// Follows a kind for as long as it is owned: while it is not served, waits for a discovery that finds it.
async fn follow(shared: Arc<Shared>, group: String, kind: String) {
    let mut discovered = shared.discovered.subscribe();
    loop {
        let Some(resource) = shared.kinds().preferred(&group, &kind) else {
            // The sender lives in `shared`: this waits, and does not fail.
            if discovered.changed().await.is_err() {
                return;
            }
            continue;
        };
        follow_served(&shared, &resource).await;
        // Its objects are gone with it, which is news.
        if let Err(problem) = shared.discover_group(&group).await {
            tracing::debug!(kind, group, error = %problem.error, "discovery failed");
        }
        shared.bump();
        sleep(Duration::from_millis(fastrand::u64(PAUSE_MS))).await;
    }
}

/// Counts events of a kind until the server no longer knows the kind.
async fn follow_served(shared: &Shared, resource: &ApiResource) {
    let config = watcher::Config::default().labels(PART_OF).page_size(PAGE);
    let namespaced = shared.kinds().scope(&resource.group, &resource.kind) == Some(Scope::Namespaced);
    // A kind of the cluster is looked at as a whole, whatever namespaces are chosen.
    let places = if namespaced { shared.everywhere() } else { vec![""] };
    let watches = places.into_iter().map(|namespace| {
        let client = shared.wire.client.clone();
        let api: Api<Meta> = match namespace {
            "" => Api::all_with(client, resource),
            namespace => Api::namespaced_with(client, namespace, resource),
        };
        watcher(api, config.clone()).default_backoff().boxed()
    });
    let mut events = futures::stream::select_all(watches);
    let mut healthy = true;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                healthy = true;
                if matters(shared, resource, &event) {
                    shared.bump();
                }
            }
            Err(error) if not_served(&error) => return,
            Err(error) => {
                // Once for each outage: the stream retries with a growing, jittered delay.
                if std::mem::take(&mut healthy) {
                    tracing::warn!(kind = resource.kind, error = %error, "watch interrupted; it is taken up again");
                }
            }
        }
    }
}

/// Whether an event can be news: all are, but the trace of our own last write.
fn matters(shared: &Shared, resource: &ApiResource, event: &Event<Meta>) -> bool {
    match event {
        Event::Init | Event::InitApply(_) => false,
        Event::InitDone | Event::Delete(_) => true,
        Event::Apply(object) => {
            let metadata = &object.metadata;
            let key = ObjectKey {
                group: resource.group.clone(),
                kind: resource.kind.clone(),
                namespace: metadata.namespace.clone().unwrap_or_default(),
                name: metadata.name.clone().unwrap_or_default(),
            };
            let version = shared.notes.version(metadata.resource_version.as_deref().unwrap_or_default());
            shared.notes.get(&key).is_none_or(|note| note.written != version)
        }
    }
}

fn not_served(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    status.code == 404
}
