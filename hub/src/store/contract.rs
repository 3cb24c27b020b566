//! What every backend must do: one test, run on each of them.
//!
//! In: a way to make a store and to open it again. Out: a panic that names the step that failed. It touches only keys
//! under `contract/` and does not require that the store is empty, so that it can be run again on the same etcd.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::{self, StreamExt};

use super::{Batch, Change, MAX_BATCH_BYTES, MAX_OPERATIONS, Store, StoreError, Version, WatchEnd};

/// Makes stores of one backend.
#[async_trait]
pub trait Backend: Send {
    /// The backend's store.
    type Store: Store;

    /// Opens the one store of this backend; called again only after the store before was dropped.
    async fn open(&mut self) -> Arc<Self::Store>;

    /// Makes the store forget old changes, of which some were made.
    async fn forget_changes(&mut self, store: &Self::Store) {
        let commit = |i: usize| store.commit(Batch::new().put("contract/forget", i.to_string()));
        // Batches of several callers go to the disk together.
        let commits = (0..super::history::KEPT_BATCHES + 1).map(commit);
        stream::iter(commits)
            .buffer_unordered(64)
            .for_each(|done| async move { assert!(done.is_ok(), "{done:?}") })
            .await;
    }
}

/// An etcd that is running, for nobody else.
#[cfg(feature = "etcd")]
pub struct InEtcd(pub super::etcd::EtcdOptions);

#[cfg(feature = "etcd")]
#[async_trait]
impl Backend for InEtcd {
    type Store = super::etcd::EtcdStore;

    async fn open(&mut self) -> Arc<Self::Store> {
        Arc::new(super::etcd::EtcdStore::connect(&self.0).await.expect("etcd runs"))
    }

    async fn forget_changes(&mut self, store: &Self::Store) {
        store.compact().await.expect("etcd runs");
    }
}

/// Runs all of it.
///
/// # Panics
/// Where the backend breaks the contract.
pub async fn check(backend: &mut impl Backend) {
    let store = backend.open().await;
    clear(&*store).await;
    puts_are_read_back_and_listed_in_order(&*store).await;
    a_batch_is_written_whole_or_not_at_all(&*store).await;
    a_batch_that_changes_nothing_makes_no_version(&*store).await;
    limits_are_the_same_everywhere(&*store).await;
    one_of_many_writers_wins(&store).await;
    a_watch_sees_every_change_in_order(&*store).await;
    a_watch_has_no_silent_gap(&store).await;
    a_long_listing_is_of_one_moment(&store).await;
    an_old_version_cannot_be_watched(backend, &store).await;
    opening_again_keeps_everything(backend, store).await;
}

async fn clear(store: &impl Store) {
    let listing = store.list("contract/").await.expect("a listing");
    for keys in listing.records.chunks(MAX_OPERATIONS) {
        let batch = keys.iter().fold(Batch::new(), |batch, (key, _)| batch.delete(key));
        store.commit(batch).await.expect("a delete");
    }
}

async fn keys(store: &impl Store, prefix: &str) -> Vec<String> {
    store.list(prefix).await.expect("a listing").records.into_iter().map(|(key, _)| key).collect()
}

fn conflict(result: Result<Version, StoreError>) -> String {
    match result {
        Err(StoreError::Conflict { key }) => key,
        other => panic!("a conflict was expected, not {other:?}"),
    }
}

async fn puts_are_read_back_and_listed_in_order(store: &impl Store) {
    let before = store.list("contract/order/").await.expect("a listing");
    assert_eq!(before.records, []);
    let first = store.commit(Batch::new().put("contract/order/b", "1").put("contract/order/é", "")).await;
    let first = first.expect("two puts");
    let second =
        store.commit(Batch::new().put("contract/order/a/c", vec![0u8, 255]).put("contract/order/B", "x"));
    let second = second.await.expect("two puts");
    store.commit(Batch::new().put("contract/order0", "outside the prefix")).await.expect("a put");
    assert!(before.version < first && first < second, "{} {first} {second}", before.version);

    let read = store.get("contract/order/a/c").await.expect("a get").expect("it was put");
    assert_eq!((&read.value[..], read.version), (&[0u8, 255][..], second));
    assert_eq!(store.get("contract/order/a").await.expect("a get"), None);
    assert_eq!(store.get("contract/order/é").await.expect("a get").expect("it was put").value, "");

    let listing = store.list("contract/order/").await.expect("a listing");
    let found: Vec<_> =
        listing.records.iter().map(|(k, r)| (&k["contract/order/".len()..], r.version)).collect();
    assert_eq!(found, [("B", second), ("a/c", second), ("b", first), ("é", first)]);
    assert!(listing.version > second);

    store
        .commit(Batch::new().delete("contract/order/B").put("contract/order/b", "2"))
        .await
        .expect("a batch");
    assert_eq!(
        keys(store, "contract/order/").await,
        ["a/c", "b", "é"].map(|k| format!("contract/order/{k}"))
    );
}

async fn a_batch_is_written_whole_or_not_at_all(store: &impl Store) {
    let (a, b, c) = ("contract/cas/a", "contract/cas/b", "contract/cas/c");
    let made = store.commit(Batch::new().require_absent(a).put(a, "1")).await.expect("a is absent");
    assert_eq!(conflict(store.commit(Batch::new().require_absent(a).put(a, "2").put(b, "2")).await), a);
    let wrong = Version(made.0 + 1);
    assert_eq!(conflict(store.commit(Batch::new().require_at(a, wrong).delete(a).put(c, "2")).await), a);
    assert_eq!(conflict(store.commit(Batch::new().require_at(b, made).put(b, "2")).await), b);
    let several = Batch::new().require_at(a, made).require_absent(b).require_at(c, made).put(a, "2");
    assert_eq!(conflict(store.commit(several).await), c, "the first that does not hold is named");
    assert_eq!(keys(store, "contract/cas/").await, [a]);
    assert_eq!(store.get(a).await.expect("a get").expect("a is there").version, made);

    let batch = Batch::new().require_at(a, made).require_absent(b).put(a, "3").put(b, "3");
    let changed = store.commit(batch).await.expect("all of them hold");
    let listing = store.list("contract/cas/").await.expect("a listing");
    assert!(listing.records.iter().all(|(_, r)| r.version == changed && r.value == "3"), "{listing:?}");
    // A condition on a record that the batch does not write.
    store.commit(Batch::new().require_at(a, changed).delete(b)).await.expect("a is as it was");
    // A record that was deleted and made again is another one.
    store.commit(Batch::new().delete(a)).await.expect("a delete");
    let again = store.commit(Batch::new().require_absent(a).put(a, "3")).await.expect("a is absent");
    assert_eq!(conflict(store.commit(Batch::new().require_at(a, changed).put(a, "4")).await), a);
    assert!(again > changed);
}

async fn a_batch_that_changes_nothing_makes_no_version(store: &impl Store) {
    let at = store.commit(Batch::new().put("contract/nothing", "")).await.expect("a put");
    assert_eq!(store.commit(Batch::new()).await.expect("nothing"), at);
    assert_eq!(store.commit(Batch::new().delete("contract/never")).await.expect("a delete"), at);
    assert_eq!(store.commit(Batch::new().require_at("contract/nothing", at)).await.expect("a check"), at);
    assert!(store.commit(Batch::new().put("contract/nothing", "")).await.expect("the same put") > at);
}

async fn limits_are_the_same_everywhere(store: &impl Store) {
    let key = |i: usize| format!("contract/limits/{i:03}");
    let full = (0..MAX_OPERATIONS / 2).fold(Batch::new(), |b, i| b.require_absent(key(i)).put(key(i), "x"));
    assert_eq!(full.operations(), MAX_OPERATIONS);
    let over = full.clone().delete("contract/limits/one-more");
    let error = store.commit(over).await.expect_err("129 operations");
    assert!(matches!(error, StoreError::TooLarge { operations: 129, .. }), "{error:?}");
    assert!(!error.is_retriable());
    store.commit(full).await.expect("128 operations");

    let large = |bytes: usize| Batch::new().put("contract/large", vec![7; bytes - "contract/large".len()]);
    let error = store.commit(large(MAX_BATCH_BYTES + 1)).await.expect_err("1 MiB and a byte");
    assert!(matches!(error, StoreError::TooLarge { bytes, .. } if bytes == MAX_BATCH_BYTES + 1), "{error:?}");
    assert_eq!(store.get("contract/large").await.expect("a get"), None);
    store.commit(large(MAX_BATCH_BYTES)).await.expect("1 MiB");
    let read = store.get("contract/large").await.expect("a get").expect("it was put");
    assert_eq!(read.value.len() + "contract/large".len(), MAX_BATCH_BYTES);
    store.commit(Batch::new().delete("contract/large")).await.expect("a delete");
}

async fn one_of_many_writers_wins(store: &Arc<impl Store>) {
    const WRITERS: usize = 32;
    let key = "contract/race";
    let mut seen = None;
    for round in 0..5 {
        let attempt = |i: usize| {
            let batch = Batch::new().require_same(key, seen).put(key, format!("{round} {i}"));
            let store = store.clone();
            tokio::spawn(async move { store.commit(batch).await })
        };
        let results = join_all((0..WRITERS).map(attempt)).await;
        let (won, lost): (Vec<_>, Vec<_>) =
            results.into_iter().map(|r| r.expect("no panic")).partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{won:?}");
        lost.into_iter().for_each(|result| assert_eq!(conflict(result), key));
        seen = won.into_iter().find_map(Result::ok);
        assert_eq!(store.get(key).await.expect("a get").map(|record| record.version), seen);
    }
}

async fn a_watch_sees_every_change_in_order(store: &impl Store) {
    let (a, b) = ("contract/watch/a", "contract/watch/b");
    store.commit(Batch::new().put(a, "before")).await.expect("a put");
    let listed = store.list("contract/watch/").await.expect("a listing");
    let first = store.commit(Batch::new().put(a, "1").put("contract/elsewhere", "")).await.expect("a batch");
    let mut watch = store.watch("contract/watch/", listed.version).await.expect("a watch");
    let second = store.commit(Batch::new().put(b, "2").delete(a)).await.expect("a batch");
    store.commit(Batch::new().put("contract/elsewhere", "")).await.expect("a put");
    let third = store.commit(Batch::new().put(a, "3")).await.expect("a put");

    let mut changes = Vec::new();
    for _ in 0..4 {
        changes.push(watch.next().await.expect("a change"));
    }
    // Within a batch the order is the backend's.
    changes[1..3].sort_by(|x, y| x.key.cmp(&y.key));
    let change = |key: &str, version, value: Option<&'static str>| Change {
        key: key.into(),
        version,
        value: value.map(Into::into),
    };
    let expected = [
        change(a, first, Some("1")),
        change(a, second, None),
        change(b, second, Some("2")),
        change(a, third, Some("3")),
    ];
    assert_eq!(changes, expected);

    let mut later = store.watch("contract/watch/", second).await.expect("a watch");
    assert_eq!(later.next().await, Ok(change(a, third, Some("3"))));
}

/// A consumer that takes nothing while thousands of changes are made gets all of them, or is told that it lagged.
async fn a_watch_has_no_silent_gap(store: &Arc<impl Store>) {
    const CHANGES: usize = 5000;
    let from = store.list("contract/gap/").await.expect("a listing").version;
    let mut watch = store.watch("contract/gap/", from).await.expect("a watch");
    let commit = |i: usize| {
        let store = store.clone();
        async move { store.commit(Batch::new().put(format!("contract/gap/{i}"), "")).await.expect("a put") }
    };
    let mut versions: Vec<_> = stream::iter((0..CHANGES).map(commit)).buffer_unordered(64).collect().await;
    versions.sort();
    for (i, version) in versions.iter().enumerate() {
        match watch.next().await {
            Ok(change) => assert_eq!(change.version, *version, "change {i}"),
            Err(end) => {
                assert_eq!(end, WatchEnd::Lagged, "change {i}");
                break;
            }
        }
    }
    clear(&**store).await;
}

/// More records than any backend lists in one piece, while a writer moves a mark through them.
async fn a_long_listing_is_of_one_moment(store: &Arc<impl Store>) {
    const RECORDS: usize = 1000;
    let key = |i: usize| format!("contract/long/{i:04}");
    for chunk in (0..RECORDS).collect::<Vec<_>>().chunks(MAX_OPERATIONS) {
        let batch =
            chunk.iter().fold(Batch::new(), |batch, i| batch.put(key(*i), if *i == 0 { "mark" } else { "" }));
        store.commit(batch).await.expect("puts");
    }
    let mover = {
        let store = store.clone();
        tokio::spawn(async move {
            for i in 1..RECORDS {
                store.commit(Batch::new().put(key(i - 1), "").put(key(i), "mark")).await.expect("puts");
            }
        })
    };
    loop {
        let ended = mover.is_finished();
        let listing = store.list("contract/long/").await.expect("a listing");
        assert_eq!(listing.records.len(), RECORDS);
        let marked: Vec<_> = listing.records.iter().filter(|(_, record)| record.value == "mark").collect();
        assert_eq!(marked.len(), 1, "{marked:?}");
        assert!(listing.records.iter().all(|(_, record)| record.version <= listing.version));
        if ended {
            break;
        }
        // A store in memory never waits, and this may be the only thread.
        tokio::task::yield_now().await;
    }
    mover.await.expect("no panic");
    clear(&**store).await;
}

async fn an_old_version_cannot_be_watched<B: Backend>(backend: &mut B, store: &B::Store) {
    let old = store.commit(Batch::new().put("contract/old", "1")).await.expect("a put");
    store.commit(Batch::new().put("contract/old", "2")).await.expect("a put");
    backend.forget_changes(store).await;
    let mut watch = store.watch("contract/", old).await.expect("a watch");
    assert_eq!(watch.next().await, Err(WatchEnd::Compacted));
    let now = store.list("contract/").await.expect("a listing").version;
    let mut watch = store.watch("contract/", now).await.expect("a watch");
    let put = store.commit(Batch::new().put("contract/old", "3")).await.expect("a put");
    assert_eq!(watch.next().await.map(|change| change.version), Ok(put));
}

async fn opening_again_keeps_everything<B: Backend>(backend: &mut B, store: Arc<B::Store>) {
    let last =
        store.commit(Batch::new().put("contract/kept", "1").put("contract/kept/2", "2")).await.expect("puts");
    let before = store.list("contract/").await.expect("a listing");
    drop(store);
    let store = backend.open().await;
    assert_eq!(store.list("contract/").await.expect("a listing"), before);
    let mut watch = store.watch("contract/", before.version).await.expect("a watch");
    let next = store.commit(Batch::new().require_at("contract/kept", last).delete("contract/kept")).await;
    let next = next.expect("its version was kept");
    assert!(next > last);
    let deleted = Change { key: "contract/kept".into(), version: next, value: None };
    assert_eq!(watch.next().await, Ok(deleted));
    clear(&*store).await;
}

#[cfg(test)]
mod tests {
    use super::super::memory::Memory;
    use super::super::redb::RedbStore;
    use super::*;

    struct InMemory(Arc<Memory>);

    #[async_trait]
    impl Backend for InMemory {
        type Store = Memory;
        async fn open(&mut self) -> Arc<Memory> {
            // As a file does, it keeps the records and forgets who watched them.
            self.0 = Arc::new(self.0.copy());
            self.0.clone()
        }
    }

    struct InFile(tempfile::TempDir);

    #[async_trait]
    impl Backend for InFile {
        type Store = RedbStore;
        async fn open(&mut self) -> Arc<RedbStore> {
            Arc::new(RedbStore::open(&self.0.path().join("store.redb")).expect("a file that nobody holds"))
        }
    }

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        check(&mut InMemory(Arc::default())).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn redb_keeps_the_contract() {
        check(&mut InFile(tempfile::tempdir().expect("a directory"))).await;
    }
}
