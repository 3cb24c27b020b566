//! A directory as if it were a commit: for a catalog that is not pushed yet.
//!
//! In: a directory. Out: its [`Tree`], and the content of its files.
//! Never: follows a symbolic link, looks into `.git` or another repository, reads a file that is larger than asked for.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use nave_placement::catalog::{BlobId, FileKind, Tree, TreeEntry};

use crate::deciding::revision::Content;

/// A directory.
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// This one.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// All its files. A file's path stands for its blob's id: the directory is looked at once.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn tree(&self) -> anyhow::Result<Tree> {
        let mut tree = Tree::new();
        let mut pending = vec![String::new()];
        while let Some(prefix) = pending.pop() {
            let directory = self.root.join(&prefix);
            let entries =
                fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))?;
            for entry in entries {
                let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
                let metadata = entry.path().symlink_metadata();
                let metadata =
                    metadata.with_context(|| format!("cannot look at {}", entry.path().display()))?;
                let name = entry.file_name();
                // Git's own; and names that are not UTF-8 read as they do in a commit.
                let name = name.to_string_lossy();
                let path = format!("{prefix}{name}");
                let kind = match metadata.file_type() {
                    _ if name == ".git" => continue,
                    kind if kind.is_symlink() => FileKind::Symlink,
                    kind if kind.is_dir() && entry.path().join(".git").exists() => FileKind::Submodule,
                    kind if kind.is_dir() => {
                        pending.push(path + "/");
                        continue;
                    }
                    kind if kind.is_file() => FileKind::File,
                    // Git keeps no sockets, pipes and devices.
                    _ => continue,
                };
                let size = if kind == FileKind::File { metadata.len() } else { 0 };
                let path: Arc<str> = path.into();
                tree.insert(path.clone(), TreeEntry { kind, blob: BlobId(path), size });
            }
        }
        Ok(tree)
    }
}

#[async_trait]
impl Content for Directory {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        blobs.iter().map(|blob| read(&self.root.join(&*blob.0), limit)).collect()
    }
}

fn read(path: &Path, limit: u64) -> Result<Arc<[u8]>, String> {
    let cannot = |error: io::Error| format!("the file cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    let size = file.metadata().map_err(cannot)?.len();
    if size > limit {
        return Err(format!("the file has {size} bytes; {limit} are allowed"));
    }
    let mut content = Vec::new();
    file.take(limit).read_to_end(&mut content).map_err(cannot)?;
    Ok(content.into())
}
