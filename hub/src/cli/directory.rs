//! A directory as if it were a commit: for a catalog that is not pushed yet.
//!
//! In: a directory. Out: its [`Tree`], and the content of its files.
//! Never: follows a symbolic link, looks into `.git` or another repository, reads a file that is larger than asked for.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use async_trait::async_trait;
use nave_placement::catalog::{BlobId, CommitId, FileKind, Tree, TreeEntry};
use nave_placement::render::MAX_BUNDLE_BYTES;

use crate::deciding::revision::Content;
use crate::git::blob_id;

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

/// A directory whose files have the ids that Git gives them: what is the same as in a commit has the same id.
pub struct Checkout {
    directory: Directory,
    /// Where the content of a blob stands.
    paths: BTreeMap<BlobId, BlobId>,
}

impl Checkout {
    /// Of a directory, with ids as long as those of a commit's repository. Reads every file once.
    ///
    /// # Errors
    /// When a directory cannot be listed, or a file cannot be read.
    pub fn of(root: PathBuf, commit: &CommitId) -> anyhow::Result<(Self, Tree)> {
        let directory = Directory::new(root);
        let mut tree = directory.tree()?;
        let mut paths = BTreeMap::new();
        for (path, entry) in &mut tree {
            let place = directory.root.join(&**path);
            let content = match entry.kind {
                FileKind::File if entry.size <= MAX_BUNDLE_BYTES as u64 => {
                    fs::read(&place).with_context(|| format!("cannot read {}", place.display()))?
                }
                FileKind::Symlink => {
                    let target = fs::read_link(&place);
                    target
                        .with_context(|| format!("cannot read {}", place.display()))?
                        .into_os_string()
                        .into_encoded_bytes()
                }
                // Larger than anything that is rendered, or another repository: no content of ours.
                FileKind::File | FileKind::Submodule => continue,
            };
            let id = blob_id(&content, commit).context("the commit's id is as long as no hash")?;
            paths.insert(id.clone(), std::mem::replace(&mut entry.blob, id));
        }
        Ok((Self { directory, paths }, tree))
    }
}

#[async_trait]
impl Content for Checkout {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let place = |blob: BlobId| self.paths.get(&blob).cloned().unwrap_or(blob);
        self.directory.read_all(blobs.into_iter().map(place).collect(), limit).await
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
