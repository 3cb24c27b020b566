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
                let (credentials, options, token) = (credentials.as_ref(), &self.options, &self.token);
                let remote = Remote { url, credentials, options, token, ssh: None };
                self.fetch_remote_named(&remote, rev, &names, stop)?
            }
            Address::Ssh { url } => {
                let (options, token) = (&self.options, &self.token);
                let ssh = Some(&self.ssh(url)?);
                let remote = Remote { url, credentials: None, options, token, ssh };
                self.fetch_remote_named(&remote, rev, &names, stop)?
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
        let by_ssh = remote.ssh.map(|ssh| mirror::reopen_for_ssh(&self.options.mirror, ssh.command()));
        let by_ssh = by_ssh.transpose()?.map(|mirror| mirror.to_thread_local());
        for name in names.iter().chain(&by_id) {
            match remote.fetch_into(
                by_ssh.as_ref().unwrap_or(&mirror),
                (name, mirror::NAMED),
                shallow.clone(),
                stop,
            ) {
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
                let (credentials, options, token) = (credentials.as_ref(), &self.options, &self.token);
                let remote = Remote { url, credentials, options, token, ssh: None };
                remote.branches(&mirror.to_thread_local()).ok()
            }),
            // Asking takes another login.
            Address::Ssh { .. } => None,
        };
        let url = super::address::redacted(&self.options.url);
        FetchError::Unknown { url, rev: rev.to_owned(), found: found.unwrap_or_default() }
    }
}
