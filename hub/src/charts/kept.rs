//! Kept: archives and indexes that were brought, by their digest.
//!
//! In: bytes. Out: the same, as long as its digest is right. Never: gives what has another digest than its name; leaves a part of one.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nave_placement::Digest;
use tokio::time::Instant;

use super::error::ChartError;

/// How what is not whole yet is called.
const NEW: &str = ".new-";
/// So long stays what somebody asked for: who did writes down that it is used within a round of deciding, which takes seconds.
const GRACE: Duration = Duration::from_secs(600);

/// A directory of files that are called as their digest is.
pub(super) struct Kept {
    room: Arc<Path>,
    /// When somebody asked last for what was asked for lately.
    fresh: Mutex<BTreeMap<Digest, Instant>>,
}

impl Kept {
    /// In a directory, which is made when it is needed. What a killed process left half-written goes.
    pub fn new(room: PathBuf) -> Self {
        for entry in std::fs::read_dir(&room).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(NEW) {
                std::fs::remove_file(entry.path()).ok();
            }
        }
        Self { room: room.into(), fresh: Mutex::default() }
    }

    /// What has a digest; what was changed on the disk has not, and goes.
    pub async fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ChartError> {
        let (path, digest) = (self.path(digest), *digest);
        self.on_disk(move || {
            let bytes = match std::fs::read(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                read => read?,
            };
            if Digest::of(&bytes) == digest {
                return Ok(Some(bytes));
            }
            std::fs::remove_file(&path)?;
            Ok(None)
        })
        .await
    }

    /// Keeps bytes; they appear whole or not at all.
    pub async fn put(&self, bytes: Vec<u8>) -> Result<Digest, ChartError> {
        let digest = Digest::of(&bytes);
        self.name(digest);
        let (room, path) = (self.room.clone(), self.path(&digest));
        self.on_disk(move || {
            std::fs::create_dir_all(&room)?;
            let mut file = tempfile::Builder::new().prefix(NEW).tempfile_in(&room)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(digest)
        })
        .await
    }

    /// Somebody is about to use it.
    pub fn name(&self, digest: Digest) {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, Instant::now());
    }

    /// Removes what is neither used nor was named lately, as of now.
    pub async fn clear(&self, used: &BTreeSet<Digest>, now: Instant) -> Result<(), ChartError> {
        let stay: BTreeSet<String> = {
            let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            fresh.retain(|_, named| now.saturating_duration_since(*named) < GRACE);
            used.iter().chain(fresh.keys()).map(Digest::to_string).collect()
        };
        let room = self.room.clone();
        self.on_disk(move || {
            let entries = match std::fs::read_dir(&room) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                read => read?,
            };
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if !name.starts_with(NEW) && !stay.contains(&*name) {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
        .await
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.room.join(digest.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_came_lately_outlives_clearings_until_somebody_had_time_to_say_that_it_is_used() {
        let room = tempfile::tempdir().expect("a directory");
        let kept = Kept::new(room.path().to_owned());
        let is_there = async |digest: &Digest| kept.get(digest).await.expect("it is read").is_some();
        let used = kept.put(b"used".to_vec()).await.expect("it is kept");
        let fresh = kept.put(b"fresh".to_vec()).await.expect("it is kept");
        let others = BTreeSet::from([used]);
        for _ in 0..3 {
            kept.clear(&others, Instant::now()).await.expect("it is cleared");
            assert!(is_there(&used).await && is_there(&fresh).await);
        }
        kept.clear(&others, Instant::now() + GRACE).await.expect("it is cleared");
        assert!(is_there(&used).await && !is_there(&fresh).await);
    }
}
