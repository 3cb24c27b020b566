//! Brought: the files of a remote in one state.
//!
//! In: a commit's tree, or the files of an archive. Out: a [`Tree`] and the content of its blobs.
//! Never: is another's although it has the same name: it is kept by its id.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nave_placement::catalog::{BlobId, CommitId, FileKind, Remote, SourceAt, Tree, TreeEntry};
use nave_placement::render::Contents;

use crate::deciding::revision::Content;
use crate::git::{Repository, blob_id};

/// As many are kept at hand: a tree of some thousand paths takes a MiB or less.
const MOST: usize = 32;

/// The files of a remote in one state.
pub struct Brought {
    /// What is there.
    pub tree: Tree,
    /// What stands in it.
    pub content: Arc<dyn Content>,
}

impl Brought {
    pub(super) fn of_git(tree: Tree, repository: Repository) -> Self {
        Self { tree, content: Arc::new(repository) }
    }

    /// Files that are in no repository: their blobs have the ids that Git would give them.
    pub(super) fn of_files(files: &Contents) -> Self {
        let (mut tree, mut blobs) = (Tree::new(), BTreeMap::new());
        let sha1 = CommitId("0".repeat(40).into());
        for (path, content) in files {
            let Some(blob) = blob_id(content, &sha1) else { continue };
            let entry = TreeEntry { kind: FileKind::File, blob: blob.clone(), size: content.len() as u64 };
            tree.insert(path.clone(), entry);
            blobs.insert(blob, content.clone());
        }
        Self { tree, content: Arc::new(Blobs(blobs)) }
    }
}

struct Blobs(BTreeMap<BlobId, Arc<[u8]>>);

#[async_trait]
impl Content for Blobs {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let read = |blob: &BlobId| match self.0.get(blob) {
            Some(content) if content.len() as u64 <= limit => Ok(content.clone()),
            Some(_) => Err(format!("it is larger than {limit} bytes")),
            None => Err(format!("{} is not here", blob.0)),
        };
        blobs.iter().map(read).collect()
    }
}

/// What was brought last.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Vec<Kept>>);

/// A remote, the id of its state, and what that has.
type Kept = (Remote, Arc<str>, Arc<Brought>);

impl Shelf {
    pub fn get(&self, remote: &Remote, at: &SourceAt) -> Option<Arc<Brought>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = kept.iter().position(|(of, id, _)| of == remote && *id == at.id)?;
        let found = kept.remove(place);
        let brought = found.2.clone();
        kept.push(found);
        Some(brought)
    }

    pub fn put(&self, remote: &Remote, at: &SourceAt, brought: Arc<Brought>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = (kept.len() + 1).saturating_sub(MOST);
        kept.drain(..surplus);
        kept.push((remote.clone(), at.id.clone(), brought));
    }
}
