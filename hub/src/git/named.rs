//! Named: the commit that people mean by a word: a branch, a tag, a full reference, an id.
//!
//! In: the word. Out: the commit, readable afterwards. Never: changes what the catalog's own branch is.

use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix::remote::fetch::Shallow;
use nave_placement::catalog::CommitId;

use super::address::Address;
use super::errors::{FetchError, ReadError};
use super::fetch::{self, Fetched, Remote};
use super::mirror;
use super::repository::Core;

impl Core {
    pub(super) fn fetch_named(&self, rev: &str, stop: &AtomicBool) -> Result<CommitId, FetchError> {
        let names = fetch::meant(rev);
        let found = match &self.address {
            Address::Local(path) => {
                let (source, tip) = fetch::local_named(path, &names)?;
                self.lock().source = Some(source);
                tip
            }
            Address::Http { url, credentials } => {
                let credentials = self.options.credentials.as_ref().or(credentials.as_ref());
                self.fetch_remote_named(
                    &Remote { url, credentials, options: &self.options },
                    rev,
                    &names,
                    stop,
                )?
            }
        };
        match found {
            Some(id) => Ok(CommitId(id.to_string().into())),
            None => self.objects().resolve(rev).map_err(|_| self.unknown(rev)),
        }
    }

    fn fetch_remote_named(
        &self,
        remote: &Remote<'_>,
        rev: &str,
        names: &[String],
        stop: &AtomicBool,
    ) -> Result<Option<ObjectId>, FetchError> {
        let mirror = self.mirror(gix::hash::Kind::Sha1)?.to_thread_local();
        let shallow = match mirror::is_empty(&mirror) {
            true => Shallow::DepthAtRemote(std::num::NonZeroU32::MIN),
            false => Shallow::NoChange,
        };
        let id = ObjectId::from_hex(rev.as_bytes()).ok();
        let known = |id: &ObjectId| matches!(self.objects().commit(*id), Err(ReadError::Missing { .. }));
        // A server that lets nobody ask for it by its id says so; then it is unknown.
        let by_id = id.filter(known).map(|id| id.to_string());
        for name in names.iter().chain(&by_id) {
            match remote.fetch_into(&mirror, (name, mirror::NAMED), shallow.clone(), stop) {
                Ok(Fetched::Head(id)) => {
                    self.settle(&mirror)?;
                    return Ok(Some(id));
                }
                Ok(Fetched::OtherHash(hash)) => {
                    let reason = format!("it uses {}, the server uses {hash}", mirror.object_hash());
                    return Err(mirror::broken(&self.options.mirror, reason));
                }
                Err(FetchError::BranchGone { .. }) => {}
                Err(FetchError::Failed { .. }) if by_id.as_ref() == Some(name) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Nothing has that name; some branches are named, where they can be had.
    fn unknown(&self, rev: &str) -> FetchError {
        let opened = self.opened();
        let found = match &self.address {
            Address::Local(_) => {
                opened.source.and_then(|source| fetch::branches(&source.to_thread_local()).ok())
            }
            Address::Http { url, credentials } => opened.mirror.and_then(|mirror| {
                let credentials = self.options.credentials.as_ref().or(credentials.as_ref());
                let remote = Remote { url, credentials, options: &self.options };
                remote.branches(&mirror.to_thread_local()).ok()
            }),
        };
        let url = super::address::redacted(&self.options.url);
        FetchError::Unknown { url, rev: rev.to_owned(), found: found.unwrap_or_default() }
    }
}
