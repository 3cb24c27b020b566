//! Starting: lets changes begin when they may, and finds out what runs where that was forgotten.
//!
//! In: the accepted assignment, the time, inventories. Out: what is enforced. Never: enforces a change before its beginning is
//! stored.

use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::assign::{Assignment, EncodedEntry};
use nave_placement::schedule::Closed;
use nave_proto::tls::Clock;

use super::{Enforced, Entries};
use crate::link;
use crate::state::State;
use crate::target::Target;

/// What is needed for it.
pub struct Starting {
    /// Where it is stored what has begun.
    pub state: Arc<State>,
    /// Where things run.
    pub target: Arc<dyn Target>,
    /// By which windows open.
    pub clock: Clock,
}

/// What is enforced of an accepted assignment, and why the rest of it waits.
pub struct Now {
    /// What is enforced.
    pub enforced: Enforced,
    /// Why no change may start.
    pub closed: Option<Closed>,
}

impl Starting {
    /// What of the accepted assignment may be enforced now. Where nothing runs, nothing can be disturbed: all of it begins.
    pub async fn now(&self, accepted: &Arc<Assignment>) -> Now {
        let closed = accepted.schedule.closed((self.clock)());
        if closed.is_none() {
            self.begin(accepted).await;
            return Now { enforced: self.state.enforced(accepted), closed };
        }
        let enforced = self.state.enforced(accepted);
        let is_known = || self.state.started().is_none_or(|started| !started.is_empty());
        if enforced.waiting.is_empty() || is_known() {
            return Now { enforced, closed };
        }
        // Nothing ran, or what did was forgotten: the target knows.
        match self.target.inventories().await {
            Ok(inventories) if inventories.values().all(|inventory| inventory.objects.is_empty()) => {
                self.begin(accepted).await;
            }
            Ok(inventories) => {
                let runs = |(app, entry): &(&AppKey, &EncodedEntry)| {
                    let version = inventories.get(*app).and_then(|inventory| inventory.version);
                    let wanted = nave_proto::decode_entry(&entry.bytes).map(|entry| entry.version);
                    version.is_some_and(|version| wanted == Ok(version))
                };
                let found = accepted.entries.iter().filter(runs);
                let found: Entries = found.map(|(app, entry)| (app.clone(), entry.clone())).collect();
                if !found.is_empty()
                    && let Err(error) = self.state.found_begun(found).await
                {
                    tracing::error!(error = link::chain(&error), "what runs here cannot be stored");
                }
            }
            Err(error) => tracing::warn!(%error, "what runs here cannot be told; changes wait"),
        }
        Now { enforced: self.state.enforced(accepted), closed }
    }

    async fn begin(&self, accepted: &Assignment) {
        if let Err(error) = self.state.begin(accepted).await {
            tracing::error!(error = link::chain(&error), "changes cannot begin: that cannot be stored");
        }
    }
}
