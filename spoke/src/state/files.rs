//! Files: records in a directory, one sealed file each.
//!
//! In: a directory of this spoke's own. Out: a [`Keep`]. Never: writes a file in place; shares the directory.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;

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

fn failed(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError {
    let place = path.display().to_string();
    move |source| StateError::Failed { verb, place: place.clone(), source: Box::new(source) }
}
