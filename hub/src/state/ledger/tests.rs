//! Batches whose fate is not known.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::*;
use crate::state::records::MemberRecord;
use crate::store::memory::Memory;
use crate::store::{Checked, Listing, Record, Watch};

/// A store that writes the next batch and then does not answer; one that is held does not write lines of the audit log.
struct Mute {
    memory: Memory,
    mute: AtomicBool,
    held: tokio::sync::RwLock<()>,
    /// A line of the audit log has come.
    came: tokio::sync::Notify,
}

impl Mute {
    fn new() -> Self {
        Self {
            memory: Memory::new(),
            mute: AtomicBool::new(false),
            held: Default::default(),
            came: Default::default(),
        }
    }
}

#[async_trait]
impl Store for Mute {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        self.memory.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.memory.list(prefix).await
    }

    async fn write(&self, batch: Checked) -> Result<Version, StoreError> {
        if batch.writes().keys().any(|key| key.starts_with("audit/")) {
            self.came.notify_one();
            drop(self.held.read().await);
        }
        let written = self.memory.write(batch).await;
        if self.mute.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Unavailable("no answer".into()));
        }
        written
    }

    async fn watch(&self, prefix: &str, after: Version) -> Result<Watch, StoreError> {
        self.memory.watch(prefix, after).await
    }
}

fn record(uid: &str) -> Vec<u8> {
    let record = MemberRecord { cluster_uid: uid.to_owned(), ..MemberRecord::default() };
    serde_json::to_vec(&record).expect("serializes")
}

#[tokio::test]
async fn what_was_written_without_an_answer_is_read_back_so_that_later_batches_can_be_based_on_it() {
    let cluster: ClusterName = "fra-1".parse().expect("valid");
    let key = key::member(&cluster);
    let store = Arc::new(Mute::new());
    let ledger = Ledger::load(store.clone(), Arc::new(|| 1)).await.expect("an empty store");
    let version = || ledger.state().members.get(&cluster).map(|m| m.version);
    let uid = || ledger.state().members.get(&cluster).map(|m| m.cluster_uid.clone());
    let mut told = ledger.changes_of(&cluster);

    for (mute, value) in [(false, "one"), (true, "two"), (false, "three")] {
        store.mute.store(mute, Ordering::Relaxed);
        let batch = Batch::new().require_same(key.clone(), version()).put(key.clone(), record(value));
        let committed = ledger.commit(Step::MemberEnrolled, batch).await;
        assert_eq!(committed.is_err(), mute, "{value}: {committed:?}");
        assert_eq!(uid().as_deref(), Some(value));
        assert!(told.has_changed().expect("the ledger lives"));
        told.mark_unchanged();
    }

    store.mute.store(true, Ordering::Relaxed);
    let audit = Audit { what: "Removed", ..Audit::default() };
    let batch = Batch::new().require_same(key.clone(), version()).delete(key.clone());
    ledger
        .commit_audited(Step::MemberDetached, batch, std::slice::from_ref(&audit))
        .await
        .expect_err("no answer");
    assert_eq!(uid(), None);
    // The audit log goes on behind the line that was written.
    let again =
        ledger.commit_audited(Step::MemberEnrolled, Batch::new().put(key, record("four")), &[audit]).await;
    again.expect("committed");
    assert_eq!((uid().as_deref(), ledger.state().audit.sequence), (Some("four"), 2));
}

#[tokio::test]
async fn a_conflict_teaches_the_state_what_the_store_holds() {
    let cluster: ClusterName = "fra-1".parse().expect("valid");
    let key = key::member(&cluster);
    let memory = Arc::new(Memory::new());
    let ledger = Ledger::load(memory.clone(), Arc::new(|| 1)).await.expect("an empty store");
    memory.commit(Batch::new().put(key.clone(), record("theirs"))).await.expect("committed");
    let batch = || {
        let version = ledger.state().members.get(&cluster).map(|m| m.version);
        Batch::new().require_same(key.clone(), version).put(key.clone(), record("ours"))
    };
    assert!(ledger.commit(Step::MemberEnrolled, batch()).await.expect_err("a conflict").is_conflict());
    assert_eq!(ledger.state().members[&cluster].cluster_uid, "theirs");
    ledger.commit(Step::MemberEnrolled, batch()).await.expect("based on what is there");
}

#[tokio::test]
async fn what_has_no_line_for_the_audit_log_waits_for_none() {
    let name = |name: &str| name.parse::<ClusterName>().expect("valid");
    let store = Arc::new(Mute::new());
    let ledger = Arc::new(Ledger::load(store.clone(), Arc::new(|| 1)).await.expect("an empty store"));
    let held = store.held.write().await;
    let audit = Audit { what: "Removed", ..Audit::default() };
    let batch = |cluster: &str| Batch::new().put(key::member(&name(cluster)), record(cluster));
    let waits = tokio::spawn({
        let (ledger, batch) = (ledger.clone(), batch("told"));
        async move { ledger.commit_audited(Step::MemberDetached, batch, &[audit]).await }
    });
    store.came.notified().await;
    let goes = ledger.commit_audited(Step::MemberEnrolled, batch("silent"), &[]);
    goes.await.expect("committed while the other waits");
    assert_eq!(ledger.state().members.keys().collect::<Vec<_>>(), [&name("silent")]);
    drop(held);
    waits.await.expect("it ends").expect("committed");
    assert_eq!(ledger.state().members.len(), 2);
}
