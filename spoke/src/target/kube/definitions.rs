//! Definitions: events of CustomResourceDefinitions and APIServices tell which groups serve other kinds than before.
//!
//! In: their metadata. Out: a discovery of just that group.
//! Never: keeps anything of them; misses one: after every new list everything is discovered once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Api;
use kube::core::discovery::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::shared::Shared;
use super::watch::{End, FORBIDDEN_MS, Meta, ended};

/// A definition is written some times on its way to being served: its group is asked for once it has come to rest so long.
const REST: Duration = Duration::from_millis(150);
/// And once more: an API server serves a kind a moment after its definition says that it is established.
const AGAIN: Duration = Duration::from_secs(2);
/// Metadata of so many is held at once.
const PAGE: u32 = 50;

/// What brings and takes kinds: group, kind, plural, and what stands before the group in its name.
const BRINGS: [(&str, &str, &str); 2] = [
    ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "APIService", "apiservices"),
];

/// Follows both; the watches end with the handles.
pub(super) fn follow(shared: &Arc<Shared>, runtime: &Handle) -> [AbortOnDropHandle<()>; 2] {
    BRINGS.map(|(group, kind, plural)| {
        let [group, kind, plural, version] = [group, kind, plural, "v1"].map(str::to_owned);
        let api_version = format!("{group}/{version}");
        let resource = ApiResource { group, version, api_version, kind, plural };
        AbortOnDropHandle::new(runtime.spawn(follow_kind(shared.clone(), resource)))
    })
}

async fn follow_kind(shared: Arc<Shared>, resource: ApiResource) {
    loop {
        follow_served(&shared, &resource).await;
        // Not served, or forbidden: what is left is the slow discovery.
        sleep(Duration::from_millis(fastrand::u64(FORBIDDEN_MS))).await;
    }
}

async fn follow_served(shared: &Shared, resource: &ApiResource) {
    let api: Api<Meta> = Api::all_with(shared.wire.client.clone(), resource);
    let config = watcher::Config::default().page_size(PAGE);
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut stale: BTreeSet<String> = BTreeSet::new();
    let mut again: BTreeSet<String> = BTreeSet::new();
    let mut begun = false;
    let mut at = Instant::now();
    loop {
        let rests = async {
            if stale.is_empty() && again.is_empty() {
                std::future::pending::<()>().await;
            }
            sleep_until(at).await;
        };
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(object) | Event::Delete(object))) => {
                    let name = object.metadata.name.unwrap_or_default();
                    // `PLURAL.GROUP` and `VERSION.GROUP`: the group follows the first dot; the core group has none.
                    stale.extend(name.split_once('.').map(|(_, group)| group.to_owned()));
                    at = Instant::now() + REST;
                }
                // The first list comes with what was discovered at the start; later ones may hide anything.
                Some(Ok(Event::InitDone)) if std::mem::replace(&mut begun, true) => {
                    if let Err(problem) = shared.discover().await {
                        tracing::debug!(error = %problem.error, "discovery failed");
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => if ended(&error).is_some_and(ends) { return },
                None => return,
            },
            () = rests => {
                let groups = if stale.is_empty() {
                    std::mem::take(&mut again)
                } else {
                    again.extend(stale.iter().cloned());
                    std::mem::take(&mut stale)
                };
                for group in groups {
                    if let Err(problem) = shared.discover_group(&group).await {
                        tracing::debug!(group, error = %problem.error, "discovery failed");
                    }
                }
                at = Instant::now() + AGAIN;
            }
        }
    }
}

fn ends(end: End) -> bool {
    matches!(end, End::NotServed | End::Forbidden)
}
