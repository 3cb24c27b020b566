//! The default store: one file, for a hub alone.
//!
//! In and out as [`Store`] says. Reads are read transactions in the caller's thread; every write goes through one
//! thread ([`writer`]), which commits all batches that wait with a single sync of the disk. Nothing here answers a
//! commit before it is durable, and no two processes hold one file.

#[cfg(test)]
mod power_cut;
mod writer;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::redb::backends::FileBackend;
use ::redb::{Builder, Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition};
use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::history::History;
use super::{Cause, Checked, Key, Listing, Record, Store, StoreError, Value, Version, Watch};
pub use writer::Work;
use writer::Writer;

/// Key -> (version of the batch that last wrote it, content).
const RECORDS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("records");

/// Numbers about the store as a whole.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const META_VERSION: &str = "version";
const META_FORMAT: &str = "format";

/// The shape of the two tables above. A file of another format is refused, not guessed at.
const FORMAT: u64 = 1;

/// Bytes of pages kept in memory. The records of a thousand clusters are some MB; redb would take 1 GiB.
const CACHE_BYTES: usize = 8 << 20;

/// Why a store's file could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the file.
    #[error("{} is in use by another process: does a hub run on this directory?", .0.display())]
    InUse(PathBuf),
    /// The file was written by a version of this program that keeps its records otherwise.
    #[error("{} has format {found}, and this program reads format {FORMAT}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format that it says it has.
        found: u64,
    },
    /// The file cannot be opened, or is not a store.
    #[error("cannot open the store {}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
}

/// A store in one file.
pub struct RedbStore {
    database: Arc<Database>,
    history: Arc<History>,
    writer: Writer,
}

impl RedbStore {
    /// Opens the store in this file, making it, readable by its owner only, where there is none. A store that was
    /// not closed is repaired, which reads all of it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed then.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |source: Cause| OpenError::Unusable { path: path.to_owned(), source };
        let file = create(path).map_err(|error| unusable(error.into()))?;
        let backend = FileBackend::new(file).map_err(|error| unusable(error.into()))?;
        Self::over(backend).map_err(|error| match error {
            Refusal::InUse => OpenError::InUse(path.to_owned()),
            Refusal::Format(found) => OpenError::Format { path: path.to_owned(), found },
            Refusal::Unusable(source) => unusable(source),
        })
    }

    /// Opens the store on anything that reads, writes and syncs as a file does.
    fn over(backend: impl StorageBackend) -> Result<Self, Refusal> {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        let database = Arc::new(builder.create_with_backend(backend)?);
        let history = Arc::new(History::starting_at(prepare(&database)?));
        let writer = Writer::start(database.clone(), history.clone())?;
        Ok(Self { database, history, writer })
    }

    /// Waits until the store can no longer be written to, which ends the process: a disk that failed once is
    /// not trusted again before the file was opened and repaired.
    pub async fn stopped(&self) {
        self.writer.stopped().await;
    }

    /// What the writer has done since the store was opened.
    pub fn work(&self) -> Work {
        self.writer.work()
    }
}

/// As [`OpenError`], where no path is known.
#[derive(Debug)]
enum Refusal {
    InUse,
    Format(u64),
    Unusable(Cause),
}

impl<E: Into<::redb::Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        match error.into() {
            ::redb::Error::DatabaseAlreadyOpen => Self::InUse,
            other => Self::Unusable(other.into()),
        }
    }
}

/// Opens the file; a new one also gets its directory synced, or a power cut could take its name.
fn create(path: &Path) -> io::Result<File> {
    let new = !path.try_exists()?;
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if new {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(file)
}

/// Makes the tables of a new file. Gives the version of the last batch.
fn prepare(database: &Database) -> Result<Version, Refusal> {
    let transaction = database.begin_write()?;
    let version = {
        let mut meta = transaction.open_table(META)?;
        let format = meta.get(META_FORMAT)?.map(|format| format.value());
        match format {
            Some(FORMAT) => {}
            Some(found) => return Err(Refusal::Format(found)),
            None => {
                meta.insert(META_FORMAT, FORMAT)?;
                meta.insert(META_VERSION, Version::ZERO.0)?;
                transaction.open_table(RECORDS)?;
            }
        }
        let version = meta.get(META_VERSION)?.map_or(Version::ZERO.0, |version| version.value());
        Version(version)
    };
    transaction.commit()?;
    Ok(version)
}

fn read(database: &Database, key: &str) -> Result<Option<Record>, ::redb::Error> {
    let records = database.begin_read()?.open_table(RECORDS)?;
    Ok(records.get(key)?.map(|entry| record(entry.value())))
}

fn list(database: &Database, prefix: &str) -> Result<Listing, ::redb::Error> {
    let transaction = database.begin_read()?;
    let version = transaction.open_table(META)?.get(META_VERSION)?.map_or(0, |version| version.value());
    let mut records: Vec<(Key, Record)> = Vec::new();
    for entry in transaction.open_table(RECORDS)?.range(prefix..)? {
        let (key, content) = entry?;
        if !key.value().starts_with(prefix) {
            break;
        }
        records.push((key.value().to_owned(), record(content.value())));
    }
    Ok(Listing { records, version: Version(version) })
}

fn record((version, value): (u64, &[u8])) -> Record {
    Record { value: Value::copy_from_slice(value), version: Version(version) }
}

/// A damaged page is told apart from a disk that refuses; neither heals by asking again.
fn failed(error: impl Into<Arc<::redb::Error>>) -> StoreError {
    let error = error.into();
    match *error {
        ::redb::Error::Corrupted(_) => StoreError::Corrupt(error.into()),
        _ => StoreError::Failed(error.into()),
    }
}

#[async_trait]
impl Store for RedbStore {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        // Some microseconds: less than handing it to another thread.
        read(&self.database, key).map_err(failed)
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let (database, prefix) = (self.database.clone(), prefix.to_owned());
        let listing = spawn_blocking(move || list(&database, &prefix)).await;
        listing.map_err(|error| StoreError::Failed(error.into()))?.map_err(failed)
    }

    async fn write(&self, batch: Checked) -> Result<Version, StoreError> {
        self.writer.write(batch).await
    }

    async fn watch(&self, prefix: &str, after: Version) -> Result<Watch, StoreError> {
        Ok(self.history.watch(prefix, after))
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::Batch;

    #[tokio::test]
    async fn a_file_that_is_held_or_is_no_store_or_is_of_another_format_is_refused()
    -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store.redb");
        let held = RedbStore::open(&path)?;
        let error = RedbStore::open(&path).err().ok_or("it is held")?;
        assert!(matches!(error, OpenError::InUse(_)), "{error:?}");
        assert!(error.to_string().contains("store.redb is in use by another process"), "{error}");
        assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o600);
        drop(held);

        let database = Database::create(&path)?;
        let transaction = database.begin_write()?;
        transaction.open_table(META)?.insert(META_FORMAT, FORMAT + 1)?;
        transaction.commit()?;
        drop(database);
        let error = RedbStore::open(&path).err().ok_or("it is of another format")?;
        assert!(matches!(error, OpenError::Format { found, .. } if found == FORMAT + 1), "{error:?}");

        let text = directory.path().join("notes");
        std::fs::write(&text, "not a store at all".repeat(1000))?;
        let error = RedbStore::open(&text).err().ok_or("it is no store")?;
        assert!(matches!(error, OpenError::Unusable { .. }), "{error:?}");
        assert!(std::fs::read(&text)?.starts_with(b"not a store"), "it was not touched");
        Ok(())
    }

    #[tokio::test]
    async fn batches_that_wait_together_share_a_transaction() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let store = RedbStore::open(&directory.path().join("store.redb"))?;
        let commits = (0..200).map(|i| store.commit(Batch::new().put(format!("report/{i}"), "Healthy")));
        for answer in futures::future::join_all(commits).await {
            answer?;
        }
        let work = store.work();
        assert_eq!(work.batches, 200);
        // All of them are sent before the first is synced, or nearly so on a loaded machine.
        assert!(work.transactions <= 100, "{work:?}");
        Ok(())
    }
}
