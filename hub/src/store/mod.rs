//! The hub's memory.
//!
//! In: batches of puts and deletes with preconditions. Out: records with versions, listings of one moment, and
//! streams of changes. The store never interprets a value, never writes a part of a batch, never retries a change
//! whose fate it does not know, and never holds bundles as records ([`bundles`] keeps those as files).
//!
//! Three backends keep one contract ([`contract`]): [`redb`] for a hub alone, [`etcd`] for hubs of several
//! replicas, and [`memory`] for tests and the seeded simulation.

mod batch;
pub mod bundles;
#[cfg(any(test, feature = "failpoints"))]
pub mod contract;
#[cfg(feature = "etcd")]
pub mod etcd;
mod history;
pub mod memory;
pub mod redb;

use std::error::Error;
use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

pub use batch::{Batch, Checked, MAX_BATCH_BYTES, MAX_OPERATIONS, Precondition};

/// The name of a record: words separated by `/`, so that a prefix names a kind.
pub type Key = String;

/// The content of a record, opaque here; cheap to clone.
pub type Value = Bytes;

/// A moment of the whole store. It grows with every batch that changes something, by one or by more; a record's
/// version is that of the batch that last wrote it. Versions of different stores do not compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl Version {
    /// Before the first change.
    pub const ZERO: Self = Self(0);
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The content.
    pub value: Value,
    /// The batch that last wrote it; for [`Precondition::At`].
    pub version: Version,
}

/// All records under a prefix at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In the order of the keys' bytes.
    pub records: Vec<(Key, Record)>,
    /// The moment. [`Store::watch`] after it misses nothing.
    pub version: Version,
}

/// One record that was written or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which record.
    pub key: Key,
    /// The batch that did it; all changes of a batch carry the same version.
    pub version: Version,
    /// The content now; `None` where the record was deleted.
    pub value: Option<Value>,
}

/// Why a watch ended. In every case the consumer lists again and watches after the listing's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WatchEnd {
    /// Changes were made faster than the consumer took them, and the next one is no longer kept.
    #[error("the consumer of the changes was too slow")]
    Lagged,
    /// The version asked for is older than the changes that are kept.
    #[error("the changes after that version are no longer kept")]
    Compacted,
    /// The store was closed or the connection to it lost.
    #[error("the stream of changes was interrupted")]
    Interrupted,
}

/// The changes under a prefix, in the order of their versions, without gaps until the end.
pub struct Watch(BoxStream<'static, Result<Change, WatchEnd>>);

impl Watch {
    /// Waits for the next change. May be dropped while it waits; nothing is lost then.
    ///
    /// # Errors
    /// When there will be no more; asking again says [`WatchEnd::Interrupted`].
    pub async fn next(&mut self) -> Result<Change, WatchEnd> {
        self.0.next().await.unwrap_or(Err(WatchEnd::Interrupted))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// What another library said; kept for the chain of causes.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold; nothing was written. Read again and decide again.
    #[error("{key} was changed by another writer")]
    Conflict {
        /// The first key whose precondition did not hold.
        key: Key,
    },
    /// The batch is larger than every backend takes; nothing was sent. A mistake in the caller.
    #[error(
        "a batch of {operations} operations and {bytes} bytes: \
         at most {MAX_OPERATIONS} operations and {MAX_BATCH_BYTES} bytes are taken"
    )]
    TooLarge {
        /// Puts, deletes and preconditions.
        operations: usize,
        /// Bytes of keys and values.
        bytes: usize,
    },
    /// The store did not answer in time. Of a commit nothing is known: it may have happened, may not have, or
    /// may happen yet.
    #[error("the store did not answer")]
    Unavailable(#[source] Cause),
    /// The store refuses to go on until somebody helps: a full or failing disk, a closed store, refused
    /// credentials. Of a commit nothing is known.
    #[error("the store failed")]
    Failed(#[source] Cause),
    /// The store answered something that this program did not write.
    #[error("the store is damaged")]
    Corrupt(#[source] Cause),
}

impl StoreError {
    /// Whether the same call may succeed later with nobody's help. A commit is tried again only where doing it
    /// twice does no harm.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Conflict { .. } | Self::TooLarge { .. } | Self::Failed(_) | Self::Corrupt(_) => false,
        }
    }
}

/// Versioned records with atomic batches.
///
/// # Guarantees
/// A batch is written whole or not at all. When [`commit`](Store::commit) returns `Ok` the batch is durable, and
/// every later `get`, `list` and `watch`, by anyone, sees it. Keys are ordered by their bytes.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The record under this key, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Failed`] or [`StoreError::Corrupt`].
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError>;

    /// Every record whose key starts with `prefix`, and the moment at which that was so.
    ///
    /// # Errors
    /// As [`get`](Store::get).
    async fn list(&self, prefix: &str) -> Result<Listing, StoreError>;

    /// Writes the batch if all its preconditions hold, and says at which version. A batch that changes nothing
    /// (no put, and no delete of a record that is there) makes no new version. When the returned future is
    /// dropped early the batch may still be written.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] before anything is sent, the same on every backend; [`StoreError::Conflict`];
    /// and as [`get`](Store::get), when it is not known whether the batch was written.
    async fn commit(&self, batch: Batch) -> Result<Version, StoreError> {
        self.write(batch.checked()?).await
    }

    /// The backend's part of [`commit`](Store::commit), which is what to call.
    ///
    /// # Errors
    /// As [`commit`](Store::commit).
    async fn write(&self, batch: Checked) -> Result<Version, StoreError>;

    /// The changes under `prefix` made after the moment `after`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] or [`StoreError::Failed`]. A version that is too old is not an error here:
    /// the stream says so ([`WatchEnd::Compacted`]).
    async fn watch(&self, prefix: &str, after: Version) -> Result<Watch, StoreError>;
}
