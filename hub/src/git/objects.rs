//! What a commit holds: paths, sizes, content.
//!
//! In: ids of fetched commits and blobs. Out: a [`Tree`] without content; the bytes of one file; a full commit id.
//! Never: writes; inflates a file before its size was judged; follows a symbolic link.

use std::collections::HashSet;
use std::sync::Arc;

use gix::ObjectId;
use gix::objs::Kind;
use gix::objs::tree::EntryKind;
use nave_placement::catalog::{BlobId, CommitId, FileKind, Tree, TreeEntry};

use super::errors::ReadError;

/// Longest path in bytes: Linux' PATH_MAX, beyond which nothing could have been checked out anyway.
const MAX_PATH_BYTES: usize = 4096;

/// The places where objects are looked for: the source repository (if it is local), then our copy.
pub(super) struct Objects {
    pub(super) places: Vec<gix::Repository>,
}

pub(super) fn parse(id: &str) -> Result<ObjectId, ReadError> {
    ObjectId::from_hex(id.as_bytes()).map_err(|_| ReadError::Missing { id: id.to_owned() })
}

pub(super) fn damaged(id: impl ToString, cause: impl Into<super::errors::Cause>) -> ReadError {
    ReadError::Damaged { id: id.to_string(), cause: cause.into() }
}

impl Objects {
    /// Asks one place after the other. A place that fails counts only if no other one answers: the source may vanish.
    fn first<'a, T>(
        &'a self,
        id: ObjectId,
        ask: impl Fn(&'a gix::Repository) -> gix::Result<Option<T>>,
    ) -> Result<T, ReadError> {
        let mut failure = ReadError::Missing { id: id.to_string() };
        for place in &self.places {
            match ask(place) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(e) => failure = damaged(id, e),
            }
        }
        Err(failure)
    }

    pub(super) fn object(&self, id: ObjectId) -> Result<gix::Object<'_>, ReadError> {
        self.first(id, |place| place.try_find_object(id))
    }

    pub(super) fn header(&self, id: ObjectId) -> Result<gix::odb::find::Header, ReadError> {
        self.first(id, |place| place.try_find_header(id))
    }

    pub(super) fn commit(&self, id: ObjectId) -> Result<gix::Commit<'_>, ReadError> {
        self.object(id)?.try_into_commit().map_err(|_| ReadError::Missing { id: format!("commit {id}") })
    }

    /// The place that has a commit.
    pub(super) fn home(&self, id: ObjectId) -> Result<&gix::Repository, ReadError> {
        let found = self.places.iter().find(|place| place.has_object(id));
        found.ok_or_else(|| ReadError::Missing { id: id.to_string() })
    }

    pub(super) fn tree(&self, commit: &CommitId, max_paths: usize) -> Result<Tree, ReadError> {
        let root = self.commit(parse(&commit.0)?)?.tree_id().map_err(|e| damaged(commit, e))?.detach();
        let mut tree = Tree::new();
        // Directories count too: nested empty ones would otherwise be a way to keep us busy for ever.
        let mut seen = 0;
        let mut pending = vec![(root, String::new())];
        while let Some((id, prefix)) = pending.pop() {
            let object = self.object(id)?;
            for entry in gix::objs::TreeRefIter::from_bytes(&object.data, id.kind()) {
                let entry = entry.map_err(|e| damaged(id, e))?;
                let name = String::from_utf8_lossy(entry.filename);
                let path = format!("{prefix}{name}");
                seen += 1;
                if seen > max_paths {
                    return Err(ReadError::TooManyPaths { commit: commit.clone(), limit: max_paths, path });
                }
                let strange = name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']);
                if strange || path.len() > MAX_PATH_BYTES {
                    return Err(ReadError::BadPath { commit: commit.clone(), path });
                }
                let kind = match entry.mode.kind() {
                    EntryKind::Tree => {
                        pending.push((entry.oid.to_owned(), path + "/"));
                        continue;
                    }
                    EntryKind::Blob | EntryKind::BlobExecutable => FileKind::File,
                    EntryKind::Link => FileKind::Symlink,
                    EntryKind::Commit => FileKind::Submodule,
                };
                let size = match kind {
                    FileKind::Submodule => 0,
                    _ => self.header(entry.oid.to_owned())?.size(),
                };
                let blob = BlobId(entry.oid.to_string().into());
                tree.insert(path.into(), TreeEntry { kind, blob, size });
            }
        }
        Ok(tree)
    }

    pub(super) fn read(&self, blob: &BlobId, limit: u64) -> Result<Arc<[u8]>, ReadError> {
        let id = parse(&blob.0)?;
        let header = self.header(id)?;
        if header.kind() != Kind::Blob {
            return Err(ReadError::Missing { id: format!("file {id}") });
        }
        if header.size() > limit {
            return Err(ReadError::TooLarge { blob: blob.clone(), size: header.size(), limit });
        }
        Ok(self.object(id)?.data.as_slice().into())
    }

    /// Completes an abbreviated commit id of at least four digits.
    pub(super) fn resolve(&self, rev: &str) -> Result<CommitId, ReadError> {
        let prefix = gix::hash::Prefix::from_hex(&rev.to_ascii_lowercase())
            .map_err(|_| ReadError::Ambiguous { rev: rev.to_owned() })?;
        let mut candidates: HashSet<ObjectId> = HashSet::default();
        for place in &self.places {
            let mut found = HashSet::default();
            place.objects.lookup_prefix(prefix, Some(&mut found)).map_err(|e| damaged(rev, e))?;
            candidates.extend(found);
        }
        let exists = !candidates.is_empty();
        let mut commits = candidates
            .into_iter()
            .filter(|id| self.header(*id).is_ok_and(|header| header.kind() == Kind::Commit));
        match (commits.next(), commits.next()) {
            (Some(id), None) => Ok(CommitId(id.to_string().into())),
            (None, _) if !exists => Err(ReadError::Missing { id: rev.to_owned() }),
            _ => Err(ReadError::Ambiguous { rev: rev.to_owned() }),
        }
    }
}
