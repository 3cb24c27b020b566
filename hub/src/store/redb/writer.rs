//! The one thread that writes to the file.
//!
//! In: checked batches, through a bounded channel. Out: an answer to each, after the disk has it. All batches that
//! wait while one transaction is being synced go into the next, so that a thousand callers cost a few syncs. It
//! never answers early, and after a failure of the disk it never writes again.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use ::redb::{Database, Durability, ReadableTable, Table};
use tokio::sync::{mpsc, oneshot};

use super::{META, META_VERSION, RECORDS, failed};
use crate::store::history::History;
use crate::store::{Change, Checked, StoreError, Version};

/// Batches that wait, and the most that go into one transaction: at some 10 us for each to apply, such a
/// transaction takes about as long as the sync of a slow disk. When it is full, callers wait in their tasks.
const WAITING: usize = 256;

/// Bytes in one transaction, from which on no more batches are added: bounds what redb holds in memory.
const GROUP_BYTES: usize = 4 << 20;

/// Work counters: what the group commit saves is the difference.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Batches answered.
    pub batches: u64,
    /// Transactions committed, each with one sync of the disk.
    pub transactions: u64,
}

#[derive(Default)]
struct Counters {
    batches: AtomicU64,
    transactions: AtomicU64,
}

type Answer = Result<Version, StoreError>;

struct Request {
    batch: Checked,
    answer: oneshot::Sender<Answer>,
}

/// The way to the thread; the thread ends, and with it the file is free, when this is dropped.
pub(super) struct Writer {
    requests: Option<mpsc::Sender<Request>>,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub fn start(database: Arc<Database>, history: Arc<History>) -> io::Result<Self> {
        let (requests, waiting) = mpsc::channel(WAITING);
        let counters = Arc::<Counters>::default();
        let worker = Worker { database, history, counters: counters.clone() };
        let thread = thread::Builder::new().name("store-writer".into()).spawn(move || worker.run(waiting))?;
        Ok(Self { requests: Some(requests), counters, thread: Mutex::new(Some(thread)) })
    }

    pub async fn write(&self, batch: Checked) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = || StoreError::Failed("the store stopped writing after a failure, or was closed".into());
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(Request { batch, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Waits for the thread to stop after a failure.
    pub async fn stopped(&self) {
        if let Some(requests) = &self.requests {
            requests.closed().await;
        }
    }

    pub fn work(&self) -> Work {
        Work {
            batches: self.counters.batches.load(Ordering::Relaxed),
            transactions: self.counters.transactions.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.requests = None;
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was reported as it happened; its callers got errors.
        thread.map(JoinHandle::join);
    }
}

struct Worker {
    database: Arc<Database>,
    history: Arc<History>,
    counters: Arc<Counters>,
}

impl Worker {
    fn run(self, mut waiting: mpsc::Receiver<Request>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut bytes = first.batch.bytes();
            let mut group = vec![first];
            while group.len() < WAITING && bytes < GROUP_BYTES {
                let Ok(next) = waiting.try_recv() else { break };
                bytes += next.batch.bytes();
                group.push(next);
            }
            if !self.answer(group) {
                break;
            }
        }
    }

    /// Writes the batches and answers them. Says whether the file can still be written to.
    fn answer(&self, group: Vec<Request>) -> bool {
        let outcome = self.commit(&group);
        self.counters.batches.fetch_add(group.len() as u64, Ordering::Relaxed);
        match outcome {
            Ok(done) => {
                for changes in done.changes {
                    self.history.publish(changes);
                }
                for (request, answer) in group.into_iter().zip(done.answers) {
                    // Nobody waits for it where the caller was cancelled.
                    let _ = request.answer.send(answer);
                }
                true
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the store cannot be written to");
                let error = Arc::new(error);
                for request in group {
                    let _ = request.answer.send(Err(failed(error.clone())));
                }
                false
            }
        }
    }

    fn commit(&self, group: &[Request]) -> Result<Done, ::redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut done = Done::default();
        {
            let mut meta = transaction.open_table(META)?;
            let mut records = transaction.open_table(RECORDS)?;
            let mut version =
                meta.get(META_VERSION)?.map_or(Version::ZERO, |version| Version(version.value()));
            for request in group {
                let answer = apply(&request.batch, &mut records, version)?;
                done.answers.push(answer.map(|changes| {
                    if let Some(change) = changes.first() {
                        version = change.version;
                        done.changes.push(changes);
                    }
                    version
                }));
            }
            meta.insert(META_VERSION, version.0)?;
        }
        if done.changes.is_empty() {
            transaction.abort()?;
        } else {
            transaction.commit()?;
            self.counters.transactions.fetch_add(1, Ordering::Relaxed);
        }
        Ok(done)
    }
}

/// What became of a group: an answer to each request, and the changes of each batch that made some.
#[derive(Default)]
struct Done {
    answers: Vec<Answer>,
    changes: Vec<Vec<Change>>,
}

type Records<'t> = Table<'t, &'static str, (u64, &'static [u8])>;

/// Applies one batch inside the transaction, or finds that it must not be. The outer error is the file's.
fn apply(
    batch: &Checked,
    records: &mut Records<'_>,
    last: Version,
) -> Result<Result<Vec<Change>, StoreError>, ::redb::Error> {
    let version_of = |key: &str| {
        let record = records.get(key)?;
        Ok::<_, ::redb::Error>(record.map(|record| Version(record.value().0)))
    };
    if let Some(key) = batch.conflict(version_of)? {
        return Ok(Err(StoreError::Conflict { key: key.clone() }));
    }
    let version = Version(last.0 + 1);
    let mut changes = Vec::with_capacity(batch.writes().len());
    for (key, value) in batch.writes() {
        let changed = match value {
            Some(value) => {
                records.insert(key.as_str(), (version.0, value.as_ref()))?;
                true
            }
            None => records.remove(key.as_str())?.is_some(),
        };
        if changed {
            changes.push(Change { key: key.clone(), version, value: value.clone() });
        }
    }
    Ok(Ok(changes))
}
