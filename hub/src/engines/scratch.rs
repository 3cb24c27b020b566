//! Scratch: a directory that holds the files of one render, and nothing else of this machine.
//!
//! In: files by relative path. Out: a directory that is gone when it is dropped. Never: writes outside of it.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use nave_placement::render::Contents;

/// The directory of the source's files. Other ones are beside it, where no chart takes them for its own.
pub(super) const SOURCE: &str = "source";

/// The directory.
pub(super) struct Scratch {
    _directory: tempfile::TempDir,
    source: PathBuf,
    own: PathBuf,
    home: PathBuf,
}

impl Scratch {
    /// Writes the source's files, and our own.
    pub async fn new(room: &Path, files: Contents, own: Contents) -> io::Result<Self> {
        let room = room.to_owned();
        let made = tokio::task::spawn_blocking(move || Self::made(&room, &files, &own)).await;
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }

    fn made(room: &Path, files: &Contents, own: &Contents) -> io::Result<Self> {
        fs::create_dir_all(room)?;
        // Links on the way would show as other paths in what engines say.
        let room = room.canonicalize()?;
        let directory = tempfile::Builder::new().prefix("render-").tempdir_in(room)?;
        let [source, own_files, home] = [SOURCE, "own", "home"].map(|name| directory.path().join(name));
        fs::create_dir(&home)?;
        for (directory, files) in [(&source, files), (&own_files, own)] {
            fs::create_dir(directory)?;
            for (relative, content) in files {
                let path = directory.join(checked(relative)?);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                fs::write(path, content)?;
            }
        }
        Ok(Self { _directory: directory, source, own: own_files, home })
    }

    /// Where the files are.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// Where our own files are.
    pub fn own(&self) -> &Path {
        &self.own
    }

    /// Where a child may write.
    pub fn home(&self) -> &Path {
        &self.home
    }
}

/// A path that stays below: a tree may hold what no honest Git writes.
fn checked(relative: &str) -> io::Result<&Path> {
    let path = Path::new(relative);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
    let wrong = || io::Error::other(format!("{relative:?} is no path of a file in a repository"));
    if stays && !relative.is_empty() { Ok(path) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn files_stay_in_the_directory_and_leave_with_it() {
        let room = tempfile::tempdir().expect("a directory");
        let files = |path: &str| Contents::from([(path.into(), Arc::from(&b"x"[..]))]);
        let scratch =
            Scratch::new(room.path(), files("a/b.yaml"), Contents::new()).await.expect("it can be written");
        let source = scratch.source().to_owned();
        assert_eq!(fs::read(source.join("a/b.yaml")).expect("it is there"), b"x");
        drop(scratch);
        assert!(!source.exists());
        for path in ["../x", "/x", "a/../../x", ""] {
            assert!(Scratch::new(room.path(), files(path), Contents::new()).await.is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(room.path()).expect("it is there").count(), 0, "nothing is left");
    }
}
