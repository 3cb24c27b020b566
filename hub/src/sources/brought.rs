//! Brought: the files of a remote in one state.
//!
//! In: a commit's tree, or the files of an archive. Out: a [`Tree`] and the content of its blobs.
//! Never: is another's although it has the same name: it is kept by its id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nave_placement::catalog::{BlobId, CommitId, FileKind, Remote, SourceAt, Tree, TreeEntry};
use nave_placement::render::Contents;

use crate::deciding::revision::Content;
use crate::git::{Repository, blob_id};

/// As much is kept at hand: some hundred trees of a thousand paths each, or the largest chart that there may be.
const MOST_BYTES: u64 = 128 << 20;
/// What a path takes beside its letters: its place in the tree, and the id of its blob.
const OF_A_PATH: u64 = 160;
/// What each takes however little it has.
const OF_EACH: u64 = 1 << 10;

/// The files of a remote in one state.
pub struct Brought {
    /// What is there.
    pub tree: Tree,
    /// What stands in it.
    pub content: Arc<dyn Content>,
    /// What it takes of memory, about.
    bytes: u64,
}

impl Brought {
    /// A commit of a repository.
    pub(crate) fn of_git(tree: Tree, repository: Repository) -> Self {
        Self { bytes: of_paths(&tree), tree, content: Arc::new(repository) }
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
        let bytes = of_paths(&tree) + blobs.values().map(|content| content.len() as u64).sum::<u64>();
        Self { tree, content: Arc::new(Blobs(blobs)), bytes }
    }
}

fn of_paths(tree: &Tree) -> u64 {
    OF_EACH + tree.keys().map(|path| OF_A_PATH + path.len() as u64).sum::<u64>()
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

/// What was brought and asked for last, as much as there is room for.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// By the remote and the id of the state; with its last use.
    states: HashMap<(Remote, Arc<str>), (u64, Arc<Brought>)>,
    bytes: u64,
    uses: u64,
}

impl Shelf {
    pub fn get(&self, remote: &Remote, at: &SourceAt) -> Option<Arc<Brought>> {
        let mut kept = self.lock();
        kept.uses += 1;
        let now = kept.uses;
        let (used, brought) = kept.states.get_mut(&(remote.clone(), at.id.clone()))?;
        *used = now;
        Some(brought.clone())
    }

    pub fn put(&self, remote: &Remote, at: &SourceAt, brought: Arc<Brought>) {
        let mut kept = self.lock();
        kept.uses += 1;
        let now = kept.uses;
        kept.bytes += brought.bytes;
        if let Some((_, before)) = kept.states.insert((remote.clone(), at.id.clone()), (now, brought)) {
            kept.bytes -= before.bytes;
        }
        while kept.bytes > MOST_BYTES {
            let least = kept.states.iter().min_by_key(|(_, (used, _))| *used).map(|(which, _)| which.clone());
            let Some((_, gone)) = least.and_then(|which| kept.states.remove(&which)) else { break };
            kept.bytes -= gone.bytes;
        }
    }

    /// Only what has one of these ids stays.
    pub fn keep(&self, used: &BTreeSet<Arc<str>>) {
        let mut kept = self.lock();
        kept.states.retain(|(_, id), _| used.contains(id));
        kept.bytes = kept.states.values().map(|(_, brought)| brought.bytes).sum();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::{GitRef, GitRemote};

    use super::*;

    fn state(number: usize) -> (Remote, SourceAt) {
        let url = format!("https://git.example.com/{number}").into();
        let remote = Remote::Git(GitRemote {
            url,
            reference: GitRef::Default,
            credentials: None,
            is_strangers: false,
        });
        (remote, format!("main@{number}").parse().expect("a state"))
    }

    fn of_bytes(bytes: u64) -> Arc<Brought> {
        Arc::new(Brought { bytes, ..Brought::of_files(&Contents::new()) })
    }

    #[test]
    fn what_files_take_is_counted() {
        let files = Contents::from([("a".into(), vec![0; 5_000].into()), ("b/c".into(), vec![1; 10].into())]);
        let bytes = Brought::of_files(&files).bytes;
        assert!((5_010..10_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_was_asked_for_longest_ago_goes_first_where_there_is_no_room() {
        let shelf = Shelf::default();
        let has = |number| {
            let (remote, at) = state(number);
            shelf.get(&remote, &at).is_some()
        };
        let put = |number, bytes| {
            let (remote, at) = state(number);
            shelf.put(&remote, &at, of_bytes(bytes));
        };
        let third = MOST_BYTES / 3 - OF_EACH * 1_000;
        (0..3).for_each(|number| put(number, third));
        assert!(has(0) && has(2) && has(1));
        put(3, third);
        assert_eq!([0, 1, 2, 3].map(has), [false, true, true, true]);
        // Put twice it counts once.
        (0..9).for_each(|_| put(3, third));
        assert_eq!([1, 2, 3].map(has), [true; 3]);
        (4..1_000).for_each(|number| put(number, OF_EACH));
        assert!((4..1_000).all(has), "small ones take what they have");
        let used = BTreeSet::from([state(7).1.id]);
        shelf.keep(&used);
        assert_eq!([3, 7, 8].map(has), [false, true, false]);
    }
}
