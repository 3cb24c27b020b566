//! Starting: lets changes begin when they may, and finds out what runs where that was forgotten.
//!
//! In: the accepted assignment, the time, the target. Out: what is enforced. Never: enforces a change before its beginning is
//! stored, takes what it could not see for nothing.

use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::assign::{Assignment, EncodedEntry, Epoch, Generation};
use nave_placement::report::EntryReason;
use nave_placement::schedule::{Closed, ClosedBy};
use nave_proto::tls::Clock;

use super::{Enforced, Entries};
use crate::link;
use crate::state::State;
use crate::target::{Missing, Target};

/// What is needed for it.
pub struct Starting {
    state: Arc<State>,
    target: Arc<dyn Target>,
    clock: Clock,
    /// For which assignment the target was asked what runs.
    asked: Option<(Epoch, Generation)>,
}

/// Why changes wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// As screens group by it.
    pub reason: EntryReason,
    /// For people.
    pub message: String,
    /// When it ends, if that is to be seen, Unix milliseconds.
    pub until_ms: Option<u64>,
}

impl From<Closed> for Wait {
    fn from(closed: Closed) -> Self {
        let reason = match closed.by {
            ClosedBy::Windows => EntryReason::WindowClosed,
            ClosedBy::Freeze => EntryReason::Frozen,
            ClosedBy::Unreadable => EntryReason::Unreadable,
        };
        Self { reason, message: closed.to_string(), until_ms: closed.until_ms }
    }
}

/// What is enforced of an accepted assignment, and why the rest of it waits.
pub struct Now {
    /// What is enforced.
    pub enforced: Enforced,
    /// Why no change starts; absent where none waits.
    pub wait: Option<Wait>,
}

impl Starting {
    /// Over these.
    pub fn new(state: Arc<State>, target: Arc<dyn Target>, clock: Clock) -> Self {
        Self { state, target, clock, asked: None }
    }

    /// What of the accepted assignment may be enforced now. Where nothing runs, nothing can be disturbed: all of it begins.
    pub async fn now(&mut self, accepted: &Arc<Assignment>) -> Now {
        // Before the first assignment nothing is known of what shall be, so nothing begins.
        if accepted.generation == Generation(0) {
            return Now { enforced: Enforced::all(accepted), wait: None };
        }
        let closed = nave_proto::closed(&accepted.schedule, (self.clock)());
        let Some(closed) = closed else { return self.begin(accepted).await };
        let enforced = self.state.enforced(accepted);
        if enforced.waiting.is_empty() {
            return Now { enforced, wait: None };
        }
        let is_all = self.state.started().is_none_or(|s| s.is_all && !s.entries.is_empty());
        if is_all || self.asked == Some(accepted.order()) {
            return Now { enforced, wait: Some(closed.into()) };
        }
        match self.found(accepted).await {
            Found::Nothing => return self.begin(accepted).await,
            Found::Unknown => {}
            Found::Running(entries) => {
                self.asked = Some(accepted.order());
                if let Err(error) = self.state.found_begun(entries).await {
                    tracing::error!(error = link::chain(&error), "what runs here cannot be stored");
                }
            }
        }
        let enforced = self.state.enforced(accepted);
        Now { wait: (!enforced.waiting.is_empty()).then(|| closed.into()), enforced }
    }

    /// Lets everything begin, if that can be stored.
    async fn begin(&self, accepted: &Arc<Assignment>) -> Now {
        let begun = self.state.begin(accepted).await;
        let enforced = self.state.enforced(accepted);
        let wait = (!enforced.waiting.is_empty()).then(|| Wait {
            reason: EntryReason::Interrupted,
            message: match &begun {
                Ok(()) => "a newer assignment was accepted".to_owned(),
                Err(error) => format!("it cannot be stored that it begins: {}", link::chain(error)),
            },
            until_ms: None,
        });
        if let Err(error) = begun {
            tracing::error!(error = link::chain(&error), "changes cannot begin: that cannot be stored");
        }
        Now { enforced, wait }
    }

    /// Asks the target what runs: inventories, and objects that carry marks without one.
    async fn found(&self, accepted: &Assignment) -> Found {
        let stored = match self.target.inventories().await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "what runs here cannot be told; changes wait");
                return Found::Unknown;
            }
        };
        if stored.values().all(|inventory| inventory.objects.is_empty()) {
            let apps =
                || accepted.entries.keys().chain(accepted.leaving.keys()).chain(stored.keys()).cloned();
            let missing =
                Missing { assigned: apps().collect(), lost: apps().collect(), leaving: apps().collect() };
            let rebuilt = self.target.rebuild(&missing).await;
            if let Some(error) = rebuilt.unknown {
                tracing::warn!(%error, "what runs here cannot be told; changes wait");
                return Found::Unknown;
            }
            if rebuilt.inventories.values().all(|inventory| inventory.objects.is_empty()) {
                return Found::Nothing;
            }
        }
        let runs = |(app, entry): &(&AppKey, &EncodedEntry)| {
            let version = stored.get(*app).and_then(|inventory| inventory.version);
            let wanted = nave_proto::decode_entry(&entry.bytes).map(|entry| entry.version);
            version.is_some_and(|version| wanted == Ok(version))
        };
        let found = accepted.entries.iter().filter(runs);
        Found::Running(found.map(|(app, entry)| (app.clone(), entry.clone())).collect())
    }
}

/// What runs on the target.
enum Found {
    /// Nothing.
    Nothing,
    /// Something; these entries do just as they are assigned.
    Running(Entries),
    /// It did not say.
    Unknown,
}
