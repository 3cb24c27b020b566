//! Kept: archives that were brought, by their digest.
//!
//! In: an archive. Out: the same, as long as its digest is right. Never: gives what has another digest than its name; leaves a part of one.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nave_placement::Digest;

use super::error::ChartError;

const ENDING: &str = ".tgz";

/// A directory of archives.
pub(super) struct Kept {
    room: Arc<Path>,
    /// What came since the last clearing: whoever asked for it has hardly written down that it is used.
    fresh: Mutex<BTreeSet<Digest>>,
}

impl Kept {
    /// In a directory, which is made when it is needed.
    pub fn new(room: PathBuf) -> Self {
        Self { room: room.into(), fresh: Mutex::default() }
    }

    /// An archive; one that was changed on the disk is none, and goes.
    pub async fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ChartError> {
        let (path, digest) = (self.path(digest), *digest);
        self.on_disk(move || {
            let archive = match std::fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                read => read?,
            };
            if Digest::of(&archive) == digest {
                return Ok(Some(archive));
            }
            std::fs::remove_file(&path)?;
            Ok(None)
        })
        .await
    }

    /// Keeps an archive; it appears whole or not at all.
    pub async fn put(&self, archive: Vec<u8>) -> Result<Digest, ChartError> {
        let digest = Digest::of(&archive);
        self.name(digest);
        let (room, path) = (self.room.clone(), self.path(&digest));
        self.on_disk(move || {
            std::fs::create_dir_all(&room)?;
            let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&room)?;
            file.write_all(&archive)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(digest)
        })
        .await
    }

    /// Somebody is about to use it.
    pub fn name(&self, digest: Digest) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
    }

    /// Removes what is neither used nor named since the last time, and what a killed process left half-written.
    pub async fn clear(&self, used: &BTreeSet<Digest>) -> Result<(), ChartError> {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        let stay: BTreeSet<String> =
            used.iter().chain(&fresh).map(|digest| format!("{digest}{ENDING}")).collect();
        let room = self.room.clone();
        self.on_disk(move || {
            let entries = match std::fs::read_dir(&room) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                read => read?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let is_ours = name.to_str().is_some_and(|name| name.ends_with(ENDING));
                if is_ours && !name.to_str().is_some_and(|name| stay.contains(name)) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
        .await
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.room.join(format!("{digest}{ENDING}"))
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, ChartError> {
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        done.map_err(|cause| ChartError::Room { path: self.room.to_path_buf(), cause })
    }
}
