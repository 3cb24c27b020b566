//! The store of hubs of several replicas: an etcd cluster that somebody else runs.
//!
//! In and out as [`Store`] says; a [`Version`] is etcd's revision. Records lie below one prefix, one etcd key each, so
//! that a person can read them with `etcdctl`. A batch is one transaction. Nothing here compacts etcd's history
//! (run it with `--auto-compaction-retention`), elects a leader, or repeats a change whose fate is not known
//! where doing it twice could do harm.

mod endpoints;
mod options;
mod watch;

use std::fmt;

use async_trait::async_trait;
use etcd_client::{
    Compare, CompareOp, GetOptions, GetResponse, KeyValue, ResponseHeader, Txn, TxnOp, TxnOpResponse,
};

use super::{Cause, Checked, Key, Listing, Precondition, Record, Store, StoreError, Version, Watch};
use endpoints::{Endpoints, Repeat};
pub use options::{EtcdOptions, EtcdTls, OptionsError};

/// Records in one answer to a listing. Each has at most [`MAX_BATCH_BYTES`](super::MAX_BATCH_BYTES), so that an
/// answer stays below [`endpoints::MAX_ANSWER_BYTES`] whatever they hold.
const PAGE: i64 = 128;

/// How often a listing starts again because its moment was compacted away under it: minutes lie between two
/// compactions, and milliseconds between two pages.
const MAX_LISTINGS: usize = 3;

/// Why no store could be made from its options.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options are wrong, or a file that they name is.
    #[error("the etcd store cannot be used as it is configured")]
    Options(#[from] OptionsError),
    /// No endpoint answered a read, or all refused it.
    #[error("cannot read from etcd at {endpoints}")]
    Unreachable {
        /// Host and port of each, with commas.
        endpoints: String,
        /// What the last one said.
        #[source]
        source: StoreError,
    },
}

/// A store in etcd.
pub struct EtcdStore {
    endpoints: Endpoints,
    prefix: String,
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl EtcdStore {
    /// Connects to the endpoints, and makes sure that one of them answers.
    ///
    /// # Errors
    /// [`ConnectError`], after some seconds when nobody answers.
    pub async fn connect(options: &EtcdOptions) -> Result<Self, ConnectError> {
        let endpoints = Endpoints::new(options).await?;
        let store = Self { endpoints, prefix: options.prefix().to_owned() };
        match store.get("").await {
            Ok(_) => Ok(store),
            Err(source) => Err(ConnectError::Unreachable { endpoints: options.hosts().join(","), source }),
        }
    }

    fn full(&self, key: &str) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_bytes()].concat()
    }

    /// Our name for an etcd key.
    fn key(&self, key_value: &KeyValue) -> Result<Key, StoreError> {
        watch::strip(key_value, &self.prefix)
            .ok_or_else(|| corrupt(format!("{:?} is not a key below {}", key_value.key(), self.prefix)))
    }

    async fn range(&self, key: Vec<u8>, options: GetOptions) -> Result<GetResponse, StoreError> {
        let call = |mut etcd: etcd_client::KvClient| {
            let (key, options) = (key.clone(), options.clone());
            async move { etcd.get(key, Some(options)).await }
        };
        Ok(self.endpoints.call(Repeat::Always, call).await?.answer)
    }

    async fn list_once(&self, prefix: &str) -> Result<Listing, StoreError> {
        let mut from = self.full(prefix);
        let end = after_prefix(&from);
        let mut listing = Listing { records: Vec::new(), version: Version::ZERO };
        loop {
            // Revision 0 is the latest; the pages after the first are read at the revision of the first.
            let at = i64::try_from(listing.version.0).unwrap_or(i64::MAX);
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(at);
            let mut page = self.range(from, options).await?;
            if listing.version == Version::ZERO {
                listing.version = version(page.header())?;
            }
            let more = page.more();
            from = page.kvs().last().map_or_else(Vec::new, |last| [last.key(), &[0]].concat());
            for key_value in page.take_kvs() {
                let key = self.key(&key_value)?;
                listing.records.push((key, record(key_value)));
            }
            if !more || from.is_empty() {
                return Ok(listing);
            }
        }
    }

    /// Makes etcd forget all changes before now.
    #[cfg(any(test, feature = "failpoints"))]
    pub(super) async fn compact(&self) -> Result<(), StoreError> {
        let now = self.range(self.full(""), GetOptions::new()).await?;
        let revision = version(now.header())?.0 as i64;
        let call = |mut etcd: etcd_client::KvClient| async move { etcd.compact(revision, None).await };
        self.endpoints.call(Repeat::Always, call).await.map(drop)
    }
}

/// The least key that is greater than all keys with this prefix, which is UTF-8 and so never ends with 255.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn corrupt(what: impl Into<Cause>) -> StoreError {
    StoreError::Corrupt(what.into())
}

fn version(header: Option<&ResponseHeader>) -> Result<Version, StoreError> {
    let revision = header.ok_or_else(|| corrupt("an answer of etcd has no header"))?.revision();
    Ok(revision_to_version(revision))
}

fn revision_to_version(revision: i64) -> Version {
    // etcd counts up from 1.
    Version(u64::try_from(revision).unwrap_or_default())
}

fn record(key_value: KeyValue) -> Record {
    let version = revision_to_version(key_value.mod_revision());
    Record { value: key_value.into_key_value().1.into(), version }
}

/// A transaction whose other branch reads the versions of the records with preconditions, to name the one that
/// does not hold.
fn transaction(store: &EtcdStore, batch: &Checked) -> Txn {
    let compare = |(key, precondition): &(Key, Precondition)| {
        let revision = match precondition {
            Precondition::Absent => 0,
            Precondition::At(version) => i64::try_from(version.0).unwrap_or(i64::MAX),
        };
        Compare::mod_revision(store.full(key), CompareOp::Equal, revision)
    };
    let write = |(key, value): (&Key, &Option<super::Value>)| match value {
        Some(value) => TxnOp::put(store.full(key), value.to_vec(), None),
        None => TxnOp::delete(store.full(key), None),
    };
    let read = |(key, _): &(Key, Precondition)| {
        TxnOp::get(store.full(key), Some(GetOptions::new().with_keys_only()))
    };
    Txn::new()
        .when(batch.require().iter().map(compare).collect::<Vec<_>>())
        .and_then(batch.writes().iter().map(write).collect::<Vec<_>>())
        .or_else(batch.require().iter().map(read).collect::<Vec<_>>())
}

/// Which precondition did not hold, from the answers to the reads of the other branch, one for each.
fn failed_precondition(batch: &Checked, reads: &[TxnOpResponse]) -> Option<Key> {
    let version_of = |read: &TxnOpResponse| match read {
        TxnOpResponse::Get(read) => read.kvs().first().map(|found| revision_to_version(found.mod_revision())),
        _ => None,
    };
    let failed = |((_, precondition), read): &(&(Key, Precondition), &TxnOpResponse)| {
        !precondition.holds(version_of(read))
    };
    batch.require().iter().zip(reads).find(failed).map(|((key, _), _)| key.clone())
}

/// A batch that was written fails when it is sent once more, if it writes a record that it requires to be at a
/// version: no other batch ever has that version. (`Absent` does not do: the record may be made, then deleted by
/// another, then made again by us.)
fn fails_when_repeated(batch: &Checked) -> bool {
    let guards = |(key, precondition): &(Key, Precondition)| {
        matches!(precondition, Precondition::At(_)) && batch.writes().contains_key(key)
    };
    batch.require().iter().any(guards)
}

#[async_trait]
impl Store for EtcdStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        let mut answer = self.range(self.full(key), GetOptions::new()).await?;
        Ok(answer.take_kvs().pop().map(record))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let mut listings = 0;
        loop {
            match self.list_once(prefix).await {
                Err(StoreError::Failed(cause)) if endpoints::is_compacted(&*cause) => {
                    listings += 1;
                    if listings == MAX_LISTINGS {
                        return Err(StoreError::Unavailable(cause));
                    }
                }
                other => return other,
            }
        }
    }

    async fn write(&self, batch: Checked) -> Result<Version, StoreError> {
        let repeat = if fails_when_repeated(&batch) { Repeat::Always } else { Repeat::IfNotSent };
        let transaction = transaction(self, &batch);
        let call = |mut etcd: etcd_client::KvClient| {
            let transaction = transaction.clone();
            async move { etcd.txn(transaction).await }
        };
        let called = self.endpoints.call(repeat, call).await?;
        if called.answer.succeeded() {
            return version(called.answer.header());
        }
        if called.in_doubt {
            return Err(StoreError::Unavailable("an earlier attempt may have made this change".into()));
        }
        let key = failed_precondition(&batch, &called.answer.op_responses());
        Err(key.map_or_else(
            || corrupt("etcd refused a batch of which all holds"),
            |key| StoreError::Conflict { key },
        ))
    }

    async fn watch(&self, prefix: &str, after: Version) -> Result<Watch, StoreError> {
        watch::start(&self.endpoints, &self.prefix, prefix, after).await
    }
}
