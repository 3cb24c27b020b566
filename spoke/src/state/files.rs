//! Files: records in a directory, one sealed file each.
//!
//! In: a directory of this spoke's own. Out: a [`Keep`]. Never: writes a file in place; shares the directory; removes what
//! is not a spoke's.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use nave_placement::Digest;

use super::keep::{Found, Keep};
use super::{StateError, blocking, sealed};

/// A directory, locked while this lives.
#[derive(Debug)]
pub struct Files {
    dir: PathBuf,
    _lock: Option<File>,
}

impl Files {
    /// Opens a directory, makes it where it is missing, and keeps others out of it while this lives.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let bundles = dir.join("bundles");
        fs::create_dir_all(&bundles).map_err(failed("create", &bundles))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(failed("create", &path))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => StateError::InUse(format!(
                "{} is in use by another spoke; every cluster needs a state directory of its own",
                dir.display()
            )),
            fs::TryLockError::Error(source) => failed("lock", &path)(source),
        })?;
        Ok(Self { dir: dir.to_owned(), _lock: Some(lock) })
    }

    /// Takes a directory that a spoke ran with, in order to remove it.
    ///
    /// # Errors
    /// When a spoke runs with it, or none ever did: then nothing is made in it.
    pub fn of_a_spoke(dir: &Path) -> Result<Self, StateError> {
        let is_one = super::SIGNS.iter().any(|name| dir.join(name).is_file());
        if is_one { Self::open(dir) } else { Err(StateError::NoState(dir.display().to_string())) }
    }

    /// Removes what a spoke keeps here, and the directory where nothing else is in it; gives what else there is. What says
    /// that it is a spoke's goes last, so that a second attempt finds it.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn clear(self) -> Result<BTreeSet<String>, StateError> {
        let bundles = self.dir.join(super::BUNDLES);
        for name in names(&bundles).map_err(failed("read", &bundles))? {
            let digest = name.split('.').next().unwrap_or_default();
            if digest.parse::<Digest>().is_ok() {
                remove(&bundles.join(name))?;
            }
        }
        remove_empty(&bundles)?;
        let target = self.dir.join(super::TARGET);
        if target.join("uid").is_file() {
            fs::remove_dir_all(&target).map_err(failed("remove", &target))?;
        }
        for name in super::OTHERS.iter().chain(&super::SIGNS) {
            // Beside each may be what was set aside, or a write that was cut off.
            for ending in ["", ".new", ".damaged"] {
                remove(&self.dir.join(format!("{name}{ending}")))?;
            }
        }
        remove(&self.dir.join("lock"))?;
        let left = names(&self.dir).map_err(failed("read", &self.dir))?;
        remove_empty(&self.dir)?;
        Ok(left)
    }

    /// Whether a spoke runs with a directory; `None` where that cannot be told.
    pub fn is_in_use(dir: &Path) -> Option<bool> {
        match File::open(dir.join("lock")).ok()?.try_lock_shared() {
            Ok(()) => Some(false),
            Err(fs::TryLockError::WouldBlock) => Some(true),
            Err(fs::TryLockError::Error(_)) => None,
        }
    }

    /// The directory as it is, to look at beside a running spoke.
    pub fn to_look_at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), _lock: None }
    }

    async fn on<T: Send + 'static>(
        &self,
        verb: &'static str,
        name: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, StateError> {
        let path = self.dir.join(name);
        blocking(move || work(&path).map_err(failed(verb, &path))).await
    }
}

#[async_trait]
impl Keep for Files {
    fn place(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    async fn read(&self, name: &str) -> Result<Found, StateError> {
        self.on("read", name, sealed::read).await
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let bytes = bytes.to_vec();
        self.on("write", name, move |path| sealed::write(path, &bytes)).await
    }

    async fn remove(&self, name: &str) -> Result<(), StateError> {
        self.on("remove", name, sealed::remove).await
    }

    async fn list(&self, prefix: &str) -> Result<BTreeSet<String>, StateError> {
        let (within, begins) = match prefix.split_once('/') {
            Some((within, begins)) => (format!("{within}/"), begins.to_owned()),
            None => (String::new(), prefix.to_owned()),
        };
        let below = self.dir.join(&within);
        let read = move |path: &Path| {
            let mut names = BTreeSet::new();
            for entry in fs::read_dir(path)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if name.starts_with(&begins) {
                    names.insert(format!("{within}{name}"));
                }
            }
            Ok(names)
        };
        blocking(move || read(&below).map_err(failed("read", &below))).await
    }

    async fn set_aside(&self, name: &str) -> Result<String, StateError> {
        let aside = self.dir.join(format!("{name}.damaged"));
        let place = aside.display().to_string();
        self.on("move", name, move |path| fs::rename(path, aside)).await?;
        Ok(place)
    }

    async fn show(&self, status: &[u8]) -> Result<(), StateError> {
        let status = status.to_vec();
        self.on("write", super::STATUS, move |path| {
            let aside = path.with_extension("json.new");
            fs::write(&aside, status)?;
            fs::rename(aside, path)
        })
        .await
    }

    async fn still_held(&self) -> Result<(), StateError> {
        Ok(())
    }

    fn is_shared(&self) -> bool {
        false
    }
}

fn names(dir: &Path) -> io::Result<BTreeSet<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn remove(path: &Path) -> Result<(), StateError> {
    sealed::remove(path).map_err(failed("remove", path))
}

/// A directory that has something in it stays.
fn remove_empty(dir: &Path) -> Result<(), StateError> {
    match fs::remove_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Ok(())
        }
        done => done.map_err(failed("remove", dir)),
    }
}

fn failed(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError {
    let place = path.display().to_string();
    move |source| StateError::Failed { verb, place: place.clone(), source: Box::new(source) }
}
