//! The ledger: the one way in which the hub's state changes. A batch goes to the store first; what the store took is folded
//! into memory, then everybody who waits for a change is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use nave_placement::ClusterName;
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::records::key;
use super::{Audit, RecordError, State};
use crate::store::{Batch, Checked, Key, Store, StoreError, Value, Version};

/// Every place where the hub persists something. A test build can end the process before or after each
/// (`hub failpoints` prints them all).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say what is persisted")]
pub enum Step {
    FleetMade,
    OperatorAdded,
    TokenIssued,
    MemberEnrolled,
    CertificateRenewed,
    MemberLabelled,
    MemberOrderedOut,
    MemberDetached,
    MemberRevoked,
    HeadTaken,
    SourcesTaken,
    FormsTaken,
    RolloutAdvanced,
    RolloutOrdered,
    AssignmentsMade,
    HoldsShown,
    HoldRejected,
    HoldApproved,
    PauseOrdered,
    PinOrdered,
    ReportTaken,
    ReportHeeded,
    FactsTaken,
    DoubtRaised,
    RestoreAccepted,
    SeedTaken,
    EventsTold,
    SinkAdvanced,
    AuditTrimmed,
}

impl Step {
    /// Whether deciding has to look at it: what it writes itself, and what never changes an assignment, is none.
    fn is_input(self) -> bool {
        match self {
            Self::MemberEnrolled
            | Self::MemberLabelled
            | Self::MemberOrderedOut
            | Self::MemberDetached
            | Self::MemberRevoked
            | Self::HoldApproved
            | Self::RolloutOrdered
            | Self::PauseOrdered
            | Self::PinOrdered
            | Self::ReportHeeded
            | Self::FactsTaken
            | Self::RestoreAccepted
            | Self::SeedTaken => true,
            Self::FleetMade
            | Self::OperatorAdded
            | Self::TokenIssued
            | Self::CertificateRenewed
            | Self::HeadTaken
            | Self::SourcesTaken
            | Self::FormsTaken
            | Self::RolloutAdvanced
            | Self::AssignmentsMade
            | Self::HoldsShown
            | Self::HoldRejected
            | Self::ReportTaken
            | Self::DoubtRaised
            | Self::EventsTold
            | Self::SinkAdvanced
            | Self::AuditTrimmed => false,
        }
    }

    /// All of them, in the order of a fleet's life.
    pub const ALL: [Self; 29] = [
        Self::FleetMade,
        Self::OperatorAdded,
        Self::TokenIssued,
        Self::MemberEnrolled,
        Self::CertificateRenewed,
        Self::MemberLabelled,
        Self::MemberOrderedOut,
        Self::MemberDetached,
        Self::MemberRevoked,
        Self::HeadTaken,
        Self::SourcesTaken,
        Self::FormsTaken,
        Self::RolloutAdvanced,
        Self::RolloutOrdered,
        Self::AssignmentsMade,
        Self::HoldsShown,
        Self::HoldRejected,
        Self::HoldApproved,
        Self::PauseOrdered,
        Self::PinOrdered,
        Self::ReportTaken,
        Self::ReportHeeded,
        Self::FactsTaken,
        Self::DoubtRaised,
        Self::RestoreAccepted,
        Self::SeedTaken,
        Self::EventsTold,
        Self::SinkAdvanced,
        Self::AuditTrimmed,
    ];
}

/// Why a commit did not happen, or may not have.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The store said no, or nothing.
    #[error("the hub's store")]
    Store(#[from] StoreError),
    /// The store holds a record that this hub cannot read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Others were faster again and again.
    #[error("too many changes of the same thing at once")]
    Busy,
}

impl CommitError {
    /// Somebody else changed what the batch was based on: decide again.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict { .. }))
    }
}

/// The state and the store behind it.
pub struct Ledger {
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
    /// Audited commits go one after another: each line needs the hash of the one before.
    audited: Arc<Mutex<()>>,
    clock: nave_proto::tls::Clock,
}

/// What a commit changes, whether or not its caller is still there.
struct Shared {
    state: RwLock<State>,
    /// Counts folded commits; whoever waits for a change of the state watches it.
    changed: watch::Sender<u64>,
    /// Counts commits that deciding has to look at.
    inputs: watch::Sender<u64>,
    /// Held while a batch is on its way to the store and the state; exclusively while the store is read back.
    writing: tokio::sync::RwLock<()>,
    /// Clusters whose reports changed since somebody asked.
    reported: std::sync::Mutex<BTreeSet<ClusterName>>,
    /// Per cluster with a session: counts changes of what it was told, of its membership and of the fleet.
    clusters: std::sync::Mutex<BTreeMap<ClusterName, watch::Sender<u64>>>,
}

impl Ledger {
    /// Loads the state from the store.
    ///
    /// # Errors
    /// When the store cannot be read, or holds a record that this hub cannot read: going on without it could remove things.
    pub async fn load(store: Arc<dyn Store>, clock: nave_proto::tls::Clock) -> Result<Self, CommitError> {
        let mut state = State::default();
        for (key, record) in store.list("").await?.records {
            state.fold(&key, record.version, Some(&record.value))?;
        }
        let shared = Shared {
            state: RwLock::new(state),
            changed: watch::Sender::new(0),
            inputs: watch::Sender::new(0),
            writing: tokio::sync::RwLock::default(),
            reported: std::sync::Mutex::default(),
            clusters: std::sync::Mutex::default(),
        };
        Ok(Self { store, shared: Arc::new(shared), audited: Arc::default(), clock })
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        (self.clock)()
    }

    /// A look at the state; never held across an await.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts up with every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Counts up with every change that deciding has to look at.
    pub fn inputs(&self) -> watch::Receiver<u64> {
        self.shared.inputs.subscribe()
    }

    /// Counts up with every change that a session of this cluster has to look at. Latest wins: a slow session misses
    /// numbers, never the last state.
    pub fn changes_of(&self, cluster: &ClusterName) -> watch::Receiver<u64> {
        let mut clusters = self.shared.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        clusters.retain(|_, sender| sender.receiver_count() > 0);
        clusters.entry(cluster.clone()).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Clusters whose reports changed since this was asked last.
    pub fn take_reported(&self) -> BTreeSet<ClusterName> {
        std::mem::take(&mut *self.shared.reported.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The store, for readers of what the state does not keep (the audit log).
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Commits a batch durably, then folds it in; both happen also when the caller does not wait for it.
    ///
    /// # Errors
    /// [`CommitError::is_conflict`]: nothing happened, decide again. Others: it may have happened or not.
    pub async fn commit(&self, step: Step, batch: Batch) -> Result<Version, CommitError> {
        self.commit_under(step, batch, None).await
    }

    /// A session or a call that ends while its batch is on the way to the disk is dropped, and the store would hold what the
    /// state never learns: so writing and folding are a task of their own, which the caller only waits for.
    async fn commit_under(
        &self,
        step: Step,
        batch: Batch,
        turn: Option<OwnedMutexGuard<()>>,
    ) -> Result<Version, CommitError> {
        if batch.is_empty() {
            return Ok(Version::ZERO);
        }
        failpoint(step, "before");
        let checked = batch.checked()?;
        let (store, shared) = (self.store.clone(), self.shared.clone());
        let committing = tokio::spawn(async move {
            let _until_folded = turn;
            let writes = checked.writes().clone();
            let concerned = concerned(&checked);
            let writing = shared.writing.read().await;
            match store.write(checked).await {
                Ok(version) => {
                    failpoint(step, "after");
                    shared.fold(step, version, &writes)?;
                    Ok(version)
                }
                Err(error) => {
                    drop(writing);
                    shared.read_back(&*store, &error, &concerned).await;
                    Err(error.into())
                }
            }
        });
        match committing.await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is ending, and the caller with it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Commits a batch together with lines of the audit log: both or neither.
    ///
    /// # Errors
    /// As [`Ledger::commit`].
    pub async fn commit_audited(
        &self,
        step: Step,
        batch: Batch,
        audits: &[Audit],
    ) -> Result<Version, CommitError> {
        // Nothing to chain: it waits for nobody, and the store takes it together with others.
        if audits.is_empty() {
            return self.commit(step, batch).await;
        }
        let turn = self.audited.clone().lock_owned().await;
        let mut tail = self.state().audit;
        let mut batch = batch;
        for audit in audits {
            let record = tail.next(audit, self.now_ms());
            tail = super::audit::Tail { sequence: record.sequence, hash: record.hash, ..tail };
            let json = serde_json::to_vec(&record).expect("an audit record always serializes");
            let key = key::audit(record.sequence);
            batch = batch.require_absent(key.clone()).put(key, json);
        }
        self.commit_under(step, batch, Some(turn)).await
    }
}

/// Every key that a batch looks at or writes.
fn concerned(batch: &Checked) -> BTreeSet<Key> {
    batch.require().iter().map(|(key, _)| key).chain(batch.writes().keys()).cloned().collect()
}

impl Shared {
    /// A batch whose fate is not known may have been written, and one that met a conflict proves that the store holds what
    /// the state does not: both are read back, or no later batch could ever be based on these keys again.
    async fn read_back(&self, store: &dyn Store, error: &StoreError, keys: &BTreeSet<Key>) {
        if matches!(error, StoreError::TooLarge { .. }) {
            return;
        }
        let _alone = self.writing.write().await;
        for key in keys {
            let Ok(found) = store.get(key).await else { return };
            // Nothing is under way: what is not there now was deleted, whenever that was.
            let version = found.as_ref().map_or(Version(u64::MAX), |record| record.version);
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = state.fold(key, version, found.as_ref().map(|record| &record.value)) {
                tracing::error!(
                    key,
                    error = crate::deciding::run::chain(&error),
                    "a record cannot be read back"
                );
            }
        }
        self.tell(keys.iter());
        self.changed.send_modify(|n| *n += 1);
        self.inputs.send_modify(|n| *n += 1);
    }

    /// Takes what the store took, and tells everybody who waits for it.
    fn fold(
        &self,
        step: Step,
        version: Version,
        writes: &BTreeMap<Key, Option<Value>>,
    ) -> Result<(), RecordError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in writes {
            state.fold(key, version, value.as_ref())?;
        }
        drop(state);
        self.tell(writes.keys());
        self.changed.send_modify(|n| *n += 1);
        if step.is_input() {
            self.inputs.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    /// Tells the sessions that these keys concern, and notes who reported.
    fn tell<'a>(&self, keys: impl Iterator<Item = &'a String>) {
        let clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            match key.split_once('/') {
                Some(("assignment" | "member", name)) => {
                    if let Some(sender) = ClusterName::new(name).ok().and_then(|name| clusters.get(&name)) {
                        sender.send_modify(|n| *n += 1);
                    }
                }
                Some(("report", name)) => {
                    let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
                    reported.extend(ClusterName::new(name));
                }
                None if [key::FLEET, key::DOUBT].contains(&key.as_str()) => {
                    clusters.values().for_each(|sender| sender.send_modify(|n| *n += 1));
                }
                _ => {}
            }
        }
    }
}

/// Names of all failpoints: each step, before and after it is durable.
#[cfg(feature = "failpoints")]
pub fn failpoints() -> Vec<String> {
    Step::ALL.iter().flat_map(|s| [format!("{s:?}.before"), format!("{s:?}.after")]).collect()
}

/// Ends the process, as `kill -9` would, at the place that `NAVE_FAILPOINT=STEP.before` or `STEP.after` names.
#[cfg(feature = "failpoints")]
fn failpoint(step: Step, when: &str) {
    if std::env::var("NAVE_FAILPOINT").is_ok_and(|wanted| wanted == format!("{step:?}.{when}")) {
        std::process::abort();
    }
}

#[cfg(not(feature = "failpoints"))]
fn failpoint(_step: Step, _when: &str) {}

#[cfg(test)]
mod tests;
