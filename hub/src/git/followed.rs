//! Followed: the newest commit of what a catalog is followed by: a branch, a tag, a range over its tags, a commit.
//!
//! In: the [`GitRef`]. Out: the commit, which the mirror's head is now. A name is a branch, or a tag where no branch is called so: whoever
//! follows a branch is not led elsewhere by a tag.
//! Never: takes another name for one that is gone.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::remote::fetch::Shallow;
use nave_placement::catalog::{CommitId, GitRef, Range};

use super::address::redacted;
use super::errors::{FetchError, ReadError};
use super::fetch::{self, Known, Remote};
use super::mirror;
use super::named::TAGS;
use super::objects::parse;
use super::repository::{Core, Head};

impl Core {
    /// Brings it; with `shallow` also where it is here, to have more or less of its history.
    pub(super) fn fetch(&self, shallow: Option<Shallow>, stop: &AtomicBool) -> Result<Head, FetchError> {
        let commit = match &self.reference {
            GitRef::Default => self.fetch_head("", shallow, stop)?,
            GitRef::Name(name) => match self.fetch_head(name, shallow.clone(), stop) {
                Err(FetchError::BranchGone { url, branch, found }) if !name.starts_with("refs/") => {
                    match self.fetch_head(&format!("{TAGS}{name}"), shallow, stop) {
                        Err(FetchError::BranchGone { .. }) => {
                            return Err(FetchError::BranchGone { url, branch, found });
                        }
                        fetched => fetched?,
                    }
                }
                fetched => fetched?,
            },
            GitRef::Range(range) => self.fetch_head_of(range, shallow, stop)?,
            GitRef::Commit(commit) => self.fetch_head_at(commit, shallow, stop)?,
        };
        Ok(Head { commit: CommitId(commit.to_string().into()) })
    }

    fn fetch_head(
        &self,
        name: &str,
        shallow: Option<Shallow>,
        stop: &AtomicBool,
    ) -> Result<ObjectId, FetchError> {
        let reference = fetch::reference(name);
        let there =
            |remote: &Remote<'_>| self.fetch_remote(remote, (&reference, mirror::HEAD), shallow, stop);
        self.at(|path| self.local_head(path, name), there)
    }

    fn local_head(&self, path: &Path, name: &str) -> Result<ObjectId, FetchError> {
        let (source, id) = fetch::local(path, name)?;
        self.lock().source = Some(source);
        Ok(id)
    }

    fn fetch_head_of(
        &self,
        range: &Range,
        shallow: Option<Shallow>,
        stop: &AtomicBool,
    ) -> Result<ObjectId, FetchError> {
        let here = |path: &Path| {
            let tags = fetch::local_tags(path)?;
            self.local_head(path, &format!("{TAGS}{}", self.best(range, &tags)?))
        };
        let there = |remote: &Remote<'_>| {
            let known = self.listed(remote, &[format!("{TAGS}*")])?;
            let tags: Vec<String> = known.iter().map(Known::short).collect();
            let tag = format!("{TAGS}{}", self.best(range, &tags)?);
            let mirror = self.mirror(gix::hash::Kind::Sha1)?.to_thread_local();
            let head = mirror::tip(&mirror, mirror::HEAD).ok().flatten();
            match known.iter().find(|known| known.name == tag).map(|known| known.commit) {
                Some(commit) if shallow.is_none() && head == Some(commit) => Ok(commit),
                _ => self.fetch_remote(remote, (&tag, mirror::HEAD), shallow, stop),
            }
        };
        self.at(here, there)
    }

    fn fetch_head_at(
        &self,
        commit: &CommitId,
        shallow: Option<Shallow>,
        stop: &AtomicBool,
    ) -> Result<ObjectId, FetchError> {
        let unknown = |_: ReadError| FetchError::Unknown {
            url: redacted(&self.options.url),
            rev: commit.to_string(),
            found: Vec::new(),
        };
        let id = parse(&commit.0).map_err(unknown)?;
        let there = |remote: &Remote<'_>| {
            let is_here = self.objects().commit(id).is_ok();
            let mirror = self.mirror(id.kind())?.to_thread_local();
            if is_here && shallow.is_none() && mirror::has_head(&mirror) {
                return Ok(());
            }
            let fetched = self.fetch_remote(remote, (&id.to_string(), mirror::HEAD), shallow, stop);
            match fetched {
                // A server that lets nobody ask for a commit by its id says so; then it is unknown.
                Err(FetchError::BranchGone { .. } | FetchError::Failed { .. }) => Ok(()),
                fetched => fetched.map(drop),
            }
        };
        self.at(|path| self.local_first(path, &[]).map(drop), there)?;
        self.objects().commit(id).map_err(unknown)?;
        Ok(id)
    }
}
