//! The watcher: the task that notices what there is to tell, and writes it down.
//!
//! In: changes of the ledger, of sessions, of the picture; the time. Out: events and what was told, in one batch.
//! Never: looks more often than once a second, or when nothing changed; holds the state for longer than a few hundred clusters
//! take to be read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::conditions::Conditions;
use super::seen::{contacts, seen};
use super::tally::Tally;
use super::tell::tell;
use super::{EventRecord, KEPT};
use crate::deciding::core::json;
use crate::deciding::run::{Picture, chain};
use crate::operator::OperatorService;
use crate::sessions::service::Sessions;
use crate::state::records::key;
use crate::state::{CommitError, Ledger, Step, trim};
use crate::store::{Batch, Version};

/// At most one look in this time.
const PAUSE: Duration = Duration::from_secs(1);
/// What only the time brings (certificates, the age of the audit log) is looked at this often.
const AT_LEAST: Duration = Duration::from_secs(60);
/// After the store did not take what was to be written. The next look is the retry.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
/// Events of one batch: 40 puts, as many deletes of the oldest, what was told and its precondition are 82 of 128 operations; and
/// with 100 clusters each of 63 letters, 260 KiB beside the 640 KiB of 10,000 clusters that are told to be offline.
pub(super) const AT_ONCE: usize = 40;
/// Receivers that are forgotten at one start.
const SINKS: usize = 100;
/// Clusters that are read while the state is held: some milliseconds.
const CLUSTERS: usize = 256;

/// The watcher.
pub struct Watcher {
    /// The state.
    pub ledger: Arc<Ledger>,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// Looks.
    pub operator: OperatorService,
    /// What was decided.
    pub picture: watch::Receiver<Arc<Picture>>,
    /// For how long a cluster may be silent.
    pub offline_after: Duration,
    /// When the fleet's CA ends, Unix milliseconds.
    pub ca_until_ms: Option<u64>,
    /// How long the audit log is kept.
    pub audit: trim::Keep,
    /// The names of all receivers.
    pub sinks: BTreeSet<String>,
}

impl Watcher {
    /// Watches until cancelled.
    pub async fn run(mut self, cancel: CancellationToken) {
        if let Err(error) = self.forget().await {
            warn!(error = chain(&error), "receivers of events that are no longer configured are remembered");
        }
        let (mut changes, mut contacts) = (self.ledger.changes(), self.sessions.contacts());
        let mut tally = Tally::default();
        let mut trimmed_at = (0, Instant::now());
        loop {
            let (wait, due_ms) = match self.look(&mut tally).await {
                Ok(due_ms) => (PAUSE, due_ms),
                Err(error) if error.is_conflict() => (PAUSE, None),
                Err(error) => {
                    warn!(error = chain(&error), "events cannot be written; they are told later");
                    (nave_proto::backoff::jittered(AFTER_FAILURE, fastrand::f64()), None)
                }
            };
            let audited = self.ledger.state().audit.sequence;
            if audited != trimmed_at.0 || trimmed_at.1.elapsed() >= AT_LEAST {
                trimmed_at = (audited, Instant::now());
                if let Err(error) = trim::trim(&self.ledger, self.audit).await {
                    warn!(error = chain(&error), "the audit log cannot be trimmed; it is tried again");
                }
            }
            let in_ms = due_ms.map(|due_ms| due_ms.saturating_sub(self.ledger.now_ms()));
            let next = Instant::now() + in_ms.map_or(AT_LEAST, Duration::from_millis).min(AT_LEAST);
            tokio::select! {
                () = cancel.cancelled() => return,
                () = sleep(wait) => {}
            }
            tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = changes.changed() => {}
                Ok(()) = contacts.changed() => {}
                Ok(()) = self.picture.changed() => {}
                () = sleep_until(next) => {}
            }
            // What came meanwhile is seen by the same look.
            changes.mark_unchanged();
            contacts.mark_unchanged();
            self.picture.mark_unchanged();
        }
    }

    /// A receiver that is not configured any more is new when it is again: it shall not get what happened meanwhile.
    async fn forget(&self) -> Result<(), CommitError> {
        let batch = {
            let state = self.ledger.state();
            let over = state.sinks.keys().filter(|name| !self.sinks.contains(*name)).take(SINKS);
            over.fold(Batch::new(), |batch, name| batch.delete(key::sink(name)))
        };
        self.ledger.commit(Step::SinkAdvanced, batch).await.map(drop)
    }

    /// Looks, and tells until there is nothing more to tell; when the time alone brings the next.
    async fn look(&self, tally: &mut Tally) -> Result<Option<u64>, CommitError> {
        loop {
            let held = self.ledger.state().conditions.clone();
            let told = held.as_ref().map(|held| Conditions::clone(&held.record)).unwrap_or_default();
            let offline_after_ms = u64::try_from(self.offline_after.as_millis()).unwrap_or(u64::MAX);
            let (met, due_ms) = self.operator.look(|look| contacts(look, &told, offline_after_ms));
            let ungranted = self.picture.borrow().ungranted.clone();
            while tally.update(&self.ledger.state(), &met, &ungranted, CLUSTERS) {
                tokio::task::yield_now().await;
            }
            let seen = self.operator.look(|look| {
                // What changed meanwhile is counted too, or a commit that was just sent out would pass for one that is healthy.
                tally.update(look.state, &met, &look.picture.ungranted, usize::MAX);
                seen(look, tally, met, self.ca_until_ms)
            });
            let (mut now, events) = tell(&told, &seen, AT_ONCE);
            if now == told {
                return Ok(due_ms);
            }
            let is_all = events.len() < AT_ONCE;
            let records: Vec<EventRecord> = (now.sequence + 1..)
                .zip(events)
                .map(|(sequence, event)| EventRecord::new(sequence, seen.now_ms, event))
                .collect();
            now.sequence += records.len() as u64;
            self.write(held.as_ref().map(|held| held.version), &now, &records).await?;
            for record in records {
                info!(event = record.event.kind(), id = record.id, "{}", record.event.line());
            }
            if is_all {
                return Ok(due_ms);
            }
        }
    }

    async fn write(
        &self,
        held: Option<Version>,
        now: &Conditions,
        records: &[EventRecord],
    ) -> Result<(), CommitError> {
        let mut batch = Batch::new().require_same(key::CONDITIONS, held).put(key::CONDITIONS, json(now));
        for record in records {
            batch = batch.put(key::event(record.sequence), json(record));
        }
        let over: Vec<u64> = {
            let state = self.ledger.state();
            let over = (state.events.len() + records.len()).saturating_sub(KEPT).min(AT_ONCE);
            state.events.keys().take(over).copied().collect()
        };
        for sequence in over {
            batch = batch.delete(key::event(sequence));
        }
        self.ledger.commit(Step::EventsTold, batch).await.map(drop)
    }
}
