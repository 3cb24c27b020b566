//! Definitions: events of CustomResourceDefinitions and APIServices tell which groups serve other kinds than before.
//!
//! In: their metadata. Out: a discovery of just that group.
//! Never: keeps anything of them; relies on having heard of one: after every list of them everything is discovered once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::core::discovery::ApiResource;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::kinds::builtin;
use super::shared::{Shared, text};
use super::stream::{Event, Stream};
use super::watch::End;

/// A definition is written some times on its way to being served: its group is asked for once it has come to rest so long.
const REST: Duration = Duration::from_millis(150);
/// And once more: an API server serves a kind a moment after its definition says that it is established.
const AGAIN: Duration = Duration::from_secs(2);

/// What brings and takes kinds: group, kind, plural, and what stands before the group in its name.
const BRINGS: [(&str, &str, &str); 2] = [
    ("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "APIService", "apiservices"),
];

/// Follows both; the watches end with the handles.
pub(super) fn follow(shared: &Arc<Shared>, runtime: &Handle) -> [AbortOnDropHandle<()>; 2] {
    BRINGS.map(|(group, kind, plural)| {
        let resource = Arc::new(builtin(group, kind, plural));
        AbortOnDropHandle::new(runtime.spawn(follow_kind(shared.clone(), resource)))
    })
}

async fn follow_kind(shared: Arc<Shared>, resource: Arc<ApiResource>) {
    let mut events = Stream::of(&shared.wire, &resource, "", None);
    let mut refused = shared.wire.timings.refused();
    let mut stale = Stale::default();
    loop {
        tokio::select! {
            event = events.next() => match event {
                Ok(Event::Changed(object) | Event::Deleted(object)) => {
                    // `PLURAL.GROUP` and `VERSION.GROUP`: the group follows the first dot; the core group has none.
                    let group = text(&object, "/metadata/name").split_once('.').map(|(_, group)| group);
                    stale.groups.extend(group.map(str::to_owned));
                    stale.at = Instant::now() + REST;
                    refused.reset();
                }
                // What was discovered before the list is older than the list.
                Ok(Event::Complete) => {
                    stale.everything = true;
                    stale.at = Instant::now() + REST;
                    refused.reset();
                }
                Ok(Event::Begun | Event::Listed(_)) => {}
                // What is left meanwhile is the slow discovery.
                Err(problem) if End::of(&problem).is_some() => {
                    events.rest(refused.after_failure(fastrand::f64()));
                }
                Err(problem) => {
                    tracing::debug!(kind = resource.kind, error = %problem.error, "watch interrupted");
                }
            },
            () = stale.rests() => stale.ask(&shared).await,
        }
    }
}

/// What is to be discovered, and when.
struct Stale {
    everything: bool,
    groups: BTreeSet<String>,
    again: BTreeSet<String>,
    at: Instant,
}

impl Default for Stale {
    fn default() -> Self {
        let (groups, again) = (BTreeSet::new(), BTreeSet::new());
        Self { everything: false, groups, again, at: Instant::now() }
    }
}

impl Stale {
    /// Until what is stale has come to rest; for ever where nothing is.
    async fn rests(&self) {
        if !self.everything && self.groups.is_empty() && self.again.is_empty() {
            std::future::pending::<()>().await;
        }
        sleep_until(self.at).await;
    }

    async fn ask(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.everything)
            && let Err(problem) = shared.discover().await
        {
            tracing::debug!(error = %problem.error, "discovery failed");
        }
        let groups = if self.groups.is_empty() {
            std::mem::take(&mut self.again)
        } else {
            self.again.extend(self.groups.iter().cloned());
            std::mem::take(&mut self.groups)
        };
        for group in groups {
            if let Err(problem) = shared.discover_group(&group).await {
                tracing::debug!(group, error = %problem.error, "discovery failed");
            }
        }
        self.at = Instant::now() + AGAIN;
    }
}
