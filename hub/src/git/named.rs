//! Named: the commit that is meant by a word: a branch, a tag, a full reference, an id, a range of versions.
//!
//! In: the word, or a [`GitRef`] of the catalog. Out: the commit, readable afterwards. Never: changes what the catalog's own branch is; asks
//! for what is here already.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::remote::fetch::Shallow;
use nave_placement::catalog::{CommitId, GitRef, Range};

use super::address::redacted;
use super::errors::{FetchError, ReadError};
use super::fetch::{self, Known, Remote};
use super::mirror;
use super::objects::parse;
use super::repository::Core;

/// Most tags that a range is looked up in; the largest public repositories have a tenth of that.
const MOST_TAGS: usize = 100_000;
/// How many existing tags an error names.
const TAGS_NAMED: usize = 5;
pub(super) const TAGS: &str = "refs/tags/";

/// What a reference means now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// The commit.
    pub commit: CommitId,
    /// The tag or branch that was taken, or the commit where just that was named.
    pub name: String,
}

impl Core {
    pub(super) fn fetch_named(&self, rev: &str, stop: &AtomicBool) -> Result<CommitId, FetchError> {
        let names = fetch::meant(rev);
        let here = |path: &Path| Ok(self.local_first(path, &names)?.map(|known| known.commit));
        let there = |remote: &Remote<'_>| match self.first(remote, &names)? {
            Some(known) => self.brought(remote, known, stop).map(|known| Some(known.commit)),
            None => self.by_id(remote, rev, stop),
        };
        match self.at(here, there)? {
            Some(id) => Ok(CommitId(id.to_string().into())),
            None => self.objects().resolve(rev).map_err(|_| self.unknown(rev, self.some_branches())),
        }
    }

    pub(super) fn fetch_ref(&self, reference: &GitRef, stop: &AtomicBool) -> Result<Meant, FetchError> {
        let known = match reference {
            GitRef::Commit(commit) => return self.fetch_commit(commit, stop),
            GitRef::Range(range) => self.fetch_best(range, stop)?,
            GitRef::Default => self.fetch_first(&["HEAD".to_owned()], stop)?,
            GitRef::Name(name) => self.fetch_first(&fetch::meant(name), stop)?,
        };
        match known {
            Some(known) => {
                Ok(Meant { name: known.short(), commit: CommitId(known.commit.to_string().into()) })
            }
            None => Err(self.unknown(&reference.to_string(), self.some_branches())),
        }
    }

    fn fetch_commit(&self, commit: &CommitId, stop: &AtomicBool) -> Result<Meant, FetchError> {
        let unknown = |_: ReadError| self.unknown(&commit.0, self.some_branches());
        let id = parse(&commit.0).map_err(unknown)?;
        if self.objects().commit(id).is_err() {
            let here = |path: &Path| self.local_first(path, &[]).map(drop);
            self.at(here, |remote| self.by_id(remote, &commit.0, stop).map(drop))?;
            self.objects().commit(id).map_err(unknown)?;
        }
        Ok(Meant { commit: commit.clone(), name: commit.to_string() })
    }

    fn fetch_first(&self, names: &[String], stop: &AtomicBool) -> Result<Option<Known>, FetchError> {
        self.at(
            |path| self.local_first(path, names),
            |remote| match self.first(remote, names)? {
                Some(known) => self.brought(remote, known, stop).map(Some),
                None => Ok(None),
            },
        )
    }

    fn fetch_best(&self, range: &Range, stop: &AtomicBool) -> Result<Option<Known>, FetchError> {
        let here = |path: &Path| {
            let tags = fetch::local_tags(path)?;
            let tag = self.best(range, &tags)?;
            self.local_first(path, &[format!("{TAGS}{tag}")])
        };
        let there = |remote: &Remote<'_>| {
            let known = self.listed(remote, &[format!("{TAGS}*")])?;
            let tags: Vec<String> = known.iter().map(Known::short).collect();
            let tag = format!("{TAGS}{}", self.best(range, &tags)?);
            let Some(known) = known.into_iter().find(|known| known.name == tag) else { return Ok(None) };
            self.brought(remote, known, stop).map(Some)
        };
        self.at(here, there)
    }

    /// The tag that a range means; where there is none, the highest ones are named.
    pub(super) fn best<'t>(&self, range: &Range, tags: &'t [String]) -> Result<&'t str, FetchError> {
        if tags.len() > MOST_TAGS {
            let cause =
                format!("it has more than {MOST_TAGS} tags; name one of them instead of {range}").into();
            return Err(FetchError::Failed { url: redacted(&self.options.url), cause });
        }
        let tags = || tags.iter().map(|tag| &**tag);
        range.best(tags()).ok_or_else(|| {
            let found = Range::highest(tags(), TAGS_NAMED).into_iter().map(str::to_owned).collect();
            self.unknown(&range.to_string(), found)
        })
    }

    pub(super) fn local_first(&self, path: &Path, names: &[String]) -> Result<Option<Known>, FetchError> {
        let (source, known) = fetch::local_named(path, names)?;
        self.lock().source = Some(source);
        Ok(known)
    }

    /// The first of some names that the server has.
    fn first(&self, remote: &Remote<'_>, names: &[String]) -> Result<Option<Known>, FetchError> {
        let known = if names.is_empty() { Vec::new() } else { self.listed(remote, names)? };
        Ok(names.iter().find_map(|name| known.iter().find(|known| known.name == *name)).cloned())
    }

    pub(super) fn listed(&self, remote: &Remote<'_>, patterns: &[String]) -> Result<Vec<Known>, FetchError> {
        let mirror = self.mirror(gix::hash::Kind::Sha1)?.to_thread_local();
        remote.listed(&mirror, patterns)
    }

    /// With the commit here; one that is here already is not fetched.
    fn brought(&self, remote: &Remote<'_>, known: Known, stop: &AtomicBool) -> Result<Known, FetchError> {
        let mirror = self.mirror(gix::hash::Kind::Sha1)?.to_thread_local();
        let fits = known.commit.kind() == mirror.object_hash();
        if fits && self.objects().commit(known.commit).is_ok() {
            return Ok(known);
        }
        let names = (&*known.name, mirror::NAMED);
        let commit = self.fetch_remote(remote, names, without_history(&mirror), stop)?;
        Ok(Known { commit, ..known })
    }

    /// Asks for a commit by its id. A server that lets nobody do so says so; then it is unknown.
    fn by_id(
        &self,
        remote: &Remote<'_>,
        rev: &str,
        stop: &AtomicBool,
    ) -> Result<Option<ObjectId>, FetchError> {
        let missing = |id: &ObjectId| matches!(self.objects().commit(*id), Err(ReadError::Missing { .. }));
        let Some(id) = ObjectId::from_hex(rev.as_bytes()).ok().filter(missing) else { return Ok(None) };
        let mirror = self.mirror(id.kind())?.to_thread_local();
        let shallow = without_history(&mirror);
        match self.fetch_remote(remote, (&id.to_string(), mirror::NAMED), shallow, stop) {
            Ok(id) => Ok(Some(id)),
            Err(FetchError::BranchGone { .. } | FetchError::Failed { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Nothing has that name; some that exist are named.
    fn unknown(&self, rev: &str, found: Vec<String>) -> FetchError {
        FetchError::Unknown { url: redacted(&self.options.url), rev: rev.to_owned(), found }
    }

    /// Where they can be had.
    fn some_branches(&self) -> Vec<String> {
        let here = |path: &Path| fetch::local_branches(path);
        let there = |remote: &Remote<'_>| {
            let mirror = self.mirror(gix::hash::Kind::Sha1)?.to_thread_local();
            remote.branches(&mirror)
        };
        self.at(here, there).unwrap_or_default()
    }
}

/// Where the branch was never fetched, nobody asks for history; where it was, a cut would take some away.
fn without_history(mirror: &gix::Repository) -> Option<Shallow> {
    (!mirror::has_head(mirror)).then_some(Shallow::DepthAtRemote(std::num::NonZeroU32::MIN))
}
