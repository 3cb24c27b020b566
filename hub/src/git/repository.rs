//! The one door to a catalog's repository.
//!
//! In: [`Options`]. Out: a [`Repository`], cheap to clone, whose methods are the module's whole work.
//! Never: blocks the runtime; lets two fetches of one repository run at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gix::remote::fetch::Shallow;
use nave_placement::catalog::{BlobId, CommitId, GitRef, Tree};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::access::{Access, Login};
use super::address::{self, Address, redacted};
use super::app::Token;
use super::errors::{FetchError, ReadError};
use super::fetch::{self, Fetched, Remote};
use super::history::{CommitInfo, Walk};
use super::named::Meant;
use super::objects::{Objects, damaged, parse};
use super::ssh::Ssh;
use super::{mirror, packs};
use crate::addresses;

/// Which repository, and how it is treated.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://`, `ssh://` or its short form, `http://`, `file://` or a path. Credentials in it are taken out and never shown.
    pub url: String,
    /// What is followed, as [`GitRef`] writes it: a branch or a tag, a full name below `refs/`, a range over the tags, a commit; empty for the
    /// repository's default branch.
    pub branch: String,
    /// Where the mirror is kept; made when first needed. No other process and no other `Repository` may use it.
    pub mirror: PathBuf,
    /// The time for one fetch, from start to end. The first one of a large repository must fit.
    pub timeout: Duration,
    /// How it is reached; what is shown there comes before what stands in the URL, and is shown over TLS or SSH alone.
    pub access: Option<Access>,
    /// Whether a catalog names it: it is not asked where it leads to a link-local address.
    pub is_guarded: bool,
    /// Why nobody is asked for it; what the mirror keeps is read all the same.
    pub unasked: Option<String>,
    /// Most paths (files and directories) that a commit may have.
    pub max_paths: usize,
}

impl Options {
    /// The default branch, two minutes for a fetch, 200 000 paths.
    pub fn new(url: impl Into<String>, mirror: impl Into<PathBuf>) -> Self {
        Self {
            url: url.into(),
            branch: String::new(),
            mirror: mirror.into(),
            timeout: Duration::from_secs(120),
            access: None,
            is_guarded: false,
            unasked: None,
            max_paths: 200_000,
        }
    }
}

/// The newest commit of the branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its id.
    pub commit: CommitId,
}

/// A catalog's repository.
#[derive(Clone)]
pub struct Repository {
    core: Arc<Core>,
    /// One fetch at a time, also counting one that was given up and has not ended yet.
    turn: Arc<Semaphore>,
}

pub(super) struct Core {
    pub(super) options: Options,
    pub(super) address: Address,
    pub(super) reference: GitRef,
    open: Mutex<Open>,
    /// Held while the mirror gets pinned objects.
    pinning: Mutex<()>,
    /// The last token that was asked for.
    pub(super) token: Mutex<Option<Token>>,
}

#[derive(Clone, Default)]
pub(super) struct Open {
    /// The source repository, if it is on this machine and was fetched.
    pub(super) source: Option<gix::ThreadSafeRepository>,
    pub(super) mirror: Option<gix::ThreadSafeRepository>,
}

/// Tells the fetch to end when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Repository {
    /// Checks the options and opens the mirror, if there is one. Touches neither network nor source.
    ///
    /// # Errors
    /// [`FetchError::UnsupportedScheme`], [`FetchError::BadUrl`], [`FetchError::BadBranch`], [`FetchError::Mirror`].
    pub fn open(options: Options) -> Result<Self, FetchError> {
        let address = Address::parse(&options.url)?;
        let reference = options.branch.parse()?;
        if let Address::Http { url, credentials } = &address
            && url.starts_with("http://")
            && (credentials.is_some() || options.access.as_ref().is_some_and(Access::shows_a_secret))
        {
            let reason = "credentials are never sent in clear text; use https://";
            return Err(FetchError::BadUrl { url: url.clone(), reason });
        }
        let open = Mutex::new(Open { source: None, mirror: mirror::open(&options.mirror)? });
        if let Address::Ssh { url } = &address
            && !matches!(&options.access, Some(Access { login: Login::Ssh { .. }, .. }))
            && options.unasked.is_none()
        {
            return Err(FetchError::NoSsh { url: url.clone() });
        }
        let core = Arc::new(Core {
            options,
            address,
            reference,
            open,
            pinning: Mutex::new(()),
            token: Mutex::default(),
        });
        Ok(Self { core, turn: Arc::new(Semaphore::new(1)) })
    }

    /// Whether somebody has it beside whoever asks.
    pub(crate) fn is_in_hand(&self) -> bool {
        Arc::strong_count(&self.core) > 1
    }

    /// Whether the other is a copy of it.
    #[cfg(test)]
    pub(crate) fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    /// Whether it is opened at just this URL.
    pub(crate) fn is_at(&self, url: &str) -> bool {
        self.core.options.url == url
    }

    /// The URL without credentials.
    pub fn url(&self) -> String {
        redacted(&self.core.options.url)
    }

    /// Brings the newest commit of the branch. Dropping the future ends the fetch as soon as the server allows.
    ///
    /// # Errors
    /// Says why there is none; what was fetched before stays readable.
    pub async fn fetch(&self) -> Result<Head, FetchError> {
        self.off_runtime(|core, stop| core.with_token(|| core.fetch(None, stop))).await
    }

    /// Brings the commit that a branch, tag, full reference or commit id means. What [`Self::fetch`] brought stays as it is.
    ///
    /// # Errors
    /// [`FetchError::Unknown`] where it means nothing; otherwise as [`Self::fetch`].
    pub async fn fetch_named(&self, rev: &str) -> Result<CommitId, FetchError> {
        let rev = rev.to_owned();
        self.off_runtime(move |core, stop| core.with_token(|| core.fetch_named(&rev, stop))).await
    }

    /// Brings the commit that a reference of the catalog means now; a range is looked up in the repository's tags. A commit that is here already
    /// costs no request, and what means the same as before no more than one. What [`Self::fetch`] brought stays as it is.
    ///
    /// # Errors
    /// [`FetchError::Unknown`] where it means nothing, with some tags or branches that exist; otherwise as [`Self::fetch`].
    pub async fn fetch_ref(&self, reference: &GitRef) -> Result<Meant, FetchError> {
        let reference = reference.clone();
        self.off_runtime(move |core, stop| core.with_token(|| core.fetch_ref(&reference, stop))).await
    }

    /// All paths of a commit, without content.
    ///
    /// # Errors
    /// [`ReadError::TooManyPaths`], [`ReadError::BadPath`], [`ReadError::Missing`], [`ReadError::Damaged`].
    pub async fn tree(&self, commit: &CommitId) -> Result<Tree, ReadError> {
        let (commit, max) = (commit.clone(), self.core.options.max_paths);
        self.blocking(move |core| core.objects().tree(&commit, max)).await
    }

    /// The content of a file of at most `limit` bytes; a larger one is not inflated.
    ///
    /// # Errors
    /// [`ReadError::TooLarge`], [`ReadError::Missing`], [`ReadError::Damaged`].
    pub async fn read(&self, blob: &BlobId, limit: u64) -> Result<Arc<[u8]>, ReadError> {
        let blob = blob.clone();
        self.blocking(move |core| core.objects().read(&blob, limit)).await
    }

    /// The contents of many files, in order, each of at most `limit` bytes; one hop to the blocking pool for all.
    pub async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, ReadError>> {
        self.blocking(move |core| {
            let objects = core.objects();
            blobs.iter().map(|blob| objects.read(blob, limit)).collect()
        })
        .await
    }

    /// Author, subject and trailers of a commit.
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Damaged`].
    pub async fn commit_info(&self, commit: &CommitId) -> Result<CommitInfo, ReadError> {
        let commit = commit.clone();
        self.blocking(move |core| core.objects().commit_info(&commit)).await
    }

    /// Completes an abbreviated commit id (four digits or more).
    ///
    /// # Errors
    /// [`ReadError::Missing`], [`ReadError::Ambiguous`].
    pub async fn resolve(&self, rev: &str) -> Result<CommitId, ReadError> {
        let rev = rev.to_owned();
        self.blocking(move |core| core.objects().resolve(&rev)).await
    }

    /// Whether `ancestor` is `head` or one of its ancestors, through merges too. Fetches older history if it must.
    ///
    /// # Errors
    /// [`ReadError::HistoryCut`] where the source itself is shallow; [`ReadError::Fetch`]; [`ReadError::Missing`] for `head`.
    pub async fn is_descendant(&self, ancestor: &CommitId, head: &CommitId) -> Result<bool, ReadError> {
        let (ancestor, head) = (ancestor.clone(), head.clone());
        let tip = head.clone();
        self.history(&tip, move |objects| objects.is_descendant(&ancestor, &head)).await
    }

    /// The commits of `to`'s first-parent line that `from` does not reach, oldest first. Without `from`, `to` alone.
    ///
    /// # Errors
    /// As [`Self::is_descendant`]; also [`ReadError::Missing`] when `from` is in no repository any more, and
    /// [`ReadError::HistoryCut`] when the branch was rewritten before the server was asked for older history: which
    /// commits are new cannot be told then, and no trailer of them should count.
    pub async fn first_parents(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
    ) -> Result<Vec<CommitId>, ReadError> {
        let (from, to) = (from.cloned(), to.clone());
        let tip = to.clone();
        self.history(&tip, move |objects| objects.first_parents(from.as_ref(), &to)).await
    }

    /// Keeps a commit and everything in its tree readable until [`Self::unpin`], whatever becomes of the source.
    ///
    /// # Errors
    /// [`ReadError::Missing`] when it is gone already; [`ReadError::Damaged`].
    pub async fn pin(&self, commit: &CommitId) -> Result<(), ReadError> {
        let commit = commit.clone();
        self.blocking(move |core| core.pin(&commit)).await
    }

    /// Lets go of a commit; one that is not pinned is no error.
    ///
    /// # Errors
    /// [`ReadError::Damaged`].
    pub async fn unpin(&self, commit: &CommitId) -> Result<(), ReadError> {
        let commit = commit.clone();
        self.blocking(move |core| {
            let id = parse(&commit.0)?;
            let Some(mirror) = core.opened().mirror else {
                return Ok(());
            };
            mirror::unpin(&mirror.to_thread_local(), id).map_err(|e| damaged(id, e))
        })
        .await
    }

    /// All pinned commits, in order of id.
    ///
    /// # Errors
    /// [`ReadError::Damaged`].
    pub async fn pinned(&self) -> Result<Vec<CommitId>, ReadError> {
        self.blocking(move |core| {
            let Some(mirror) = core.opened().mirror else {
                return Ok(Vec::new());
            };
            mirror::pins(&mirror.to_thread_local()).map_err(|e| damaged("refs/nave/pin", e))
        })
        .await
    }

    async fn history<T: Send + 'static>(
        &self,
        tip: &CommitId,
        ask: impl Fn(&Objects) -> Result<Walk<T>, ReadError> + Clone + Send + 'static,
    ) -> Result<T, ReadError> {
        let first = ask.clone();
        let mut answer = self.blocking(move |core| first(&core.objects())).await;
        let lacking = matches!(answer, Ok(Walk::Cut) | Err(ReadError::Missing { .. }));
        if lacking && self.blocking(|core| core.is_shallow()).await {
            self.off_runtime(|core, stop| core.with_token(|| core.fetch(Some(Shallow::undo()), stop)))
                .await?;
            answer = self.blocking(move |core| ask(&core.objects())).await;
        }
        match answer? {
            Walk::Known(answer) => Ok(answer),
            Walk::Cut => Err(ReadError::HistoryCut { commit: tip.clone() }),
        }
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Core) -> T + Send + 'static) -> T {
        let core = self.core.clone();
        match tokio::task::spawn_blocking(move || work(&core)).await {
            Ok(answer) => answer,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime is shutting down: nobody waits for the answer.
            Err(_) => std::future::pending().await,
        }
    }

    /// Runs `work` on a thread of its own until it ends or the time is up. The blocking pool would not do: a runtime
    /// waits for it when it shuts down, and a silent server may hold a thread until its socket times out.
    async fn off_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core, &AtomicBool) -> Result<T, FetchError> + Send + 'static,
    ) -> Result<T, FetchError> {
        if let Some(why) = &self.core.options.unasked {
            return Err(FetchError::Unasked { why: why.clone() });
        }
        let after = self.core.options.timeout;
        let deadline = Instant::now() + after;
        let late = || FetchError::TimedOut { url: self.url(), after };
        let failed = |cause| FetchError::Failed { url: self.url(), cause };
        let turn = timeout_at(deadline, self.turn.clone().acquire_owned()).await.map_err(|_| late())?;
        let stop = StopOnDrop(Arc::default());
        let (flag, core) = (stop.0.clone(), self.core.clone());
        let (answer, answered) = oneshot::channel();
        let thread = std::thread::Builder::new().name("git-fetch".into()).spawn(move || {
            let _turn = turn;
            answer.send(work(&core, &flag)).ok();
        });
        thread.map_err(|e| failed(e.into()))?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(failed("the fetch panicked; the log has the message".into())),
            Err(_) => Err(late()),
        }
    }
}

impl Core {
    /// The mutex guards plain assignments, so a panic elsewhere cannot have left it half-changed.
    pub(super) fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn opened(&self) -> Open {
        self.lock().clone()
    }

    pub(super) fn objects(&self) -> Objects {
        let Open { source, mirror } = self.opened();
        Objects { places: [source, mirror].iter().flatten().map(|r| r.to_thread_local()).collect() }
    }

    /// Whether more history could be had from a server.
    fn is_shallow(&self) -> bool {
        let Open { mirror: Some(mirror), .. } = self.opened() else {
            return false;
        };
        !matches!(self.address, Address::Local(_)) && mirror.to_thread_local().is_shallow().unwrap_or(false)
    }

    fn with_token<T>(&self, fetch: impl FnOnce() -> Result<T, FetchError>) -> Result<T, FetchError> {
        let fetched = fetch();
        if matches!(fetched, Err(FetchError::AuthRefused { .. })) {
            // It may have been revoked: the next fetch asks for another.
            *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        fetched
    }

    /// Does one thing where the repository is on this machine, and another where a server has it.
    pub(super) fn at<T>(
        &self,
        here: impl FnOnce(&Path) -> Result<T, FetchError>,
        there: impl FnOnce(&Remote<'_>) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let (options, token) = (&self.options, &self.token);
        match &self.address {
            Address::Local(path) => here(path),
            Address::Http { url, credentials } => {
                self.guard(|| addresses::objection(&url.parse().ok()?), url)?;
                let credentials = credentials.as_ref();
                there(&Remote { url, credentials, options, token, ssh: None })
            }
            Address::Ssh { url } => {
                let (host, port) = address::host_and_port(url).unwrap_or_default();
                self.guard(|| addresses::objection_to_host(&host, port), url)?;
                let ssh = Some(&self.ssh(url)?);
                there(&Remote { url, credentials: None, options, token, ssh })
            }
        }
    }

    /// Whom a catalog names is looked at before it is asked.
    fn guard(&self, objection: impl FnOnce() -> Option<&'static str>, url: &str) -> Result<(), FetchError> {
        let objection = if self.options.is_guarded { objection() } else { None };
        objection.map_or(Ok(()), |why| Err(FetchError::Forbidden { url: redacted(url), why }))
    }

    pub(super) fn ssh(&self, url: &str) -> Result<Ssh, FetchError> {
        let Some(Access { name, login: Login::Ssh { key_file, known_hosts_file }, .. }) =
            &self.options.access
        else {
            return Err(FetchError::NoSsh { url: url.to_owned() });
        };
        let failed = |cause| FetchError::NoCredentials { name: name.clone(), cause };
        let directory = self.options.mirror.parent().unwrap_or(&self.options.mirror);
        std::fs::create_dir_all(directory).map_err(|error| mirror::broken(directory, error))?;
        let name = self.options.mirror.file_name().unwrap_or_default().to_string_lossy();
        let log = directory.join(format!("{name}.ssh.log"));
        let patience = self.options.timeout.min(fetch::SILENCE);
        let limits = (patience, self.options.timeout);
        Ssh::new(key_file.as_deref(), known_hosts_file, log, limits).map_err(failed)
    }

    /// Fetches what a server knows by one name into a reference of the mirror.
    pub(super) fn fetch_remote(
        &self,
        remote: &Remote<'_>,
        names: (&str, &str),
        shallow: Option<Shallow>,
        stop: &AtomicBool,
    ) -> Result<gix::ObjectId, FetchError> {
        let mut mirror = self.mirror(gix::hash::Kind::Sha1)?.to_thread_local();
        loop {
            let fresh = mirror::is_empty(&mirror);
            let depth = match &shallow {
                Some(shallow) => shallow.clone(),
                None if fresh => Shallow::DepthAtRemote(std::num::NonZeroU32::MIN),
                None => Shallow::NoChange,
            };
            let fetched = match remote.fetch_into(&mirror, names, depth, stop) {
                // A commit with a parent that branched off before what is here brings all history behind that.
                Err(FetchError::TooMuch { .. }) if shallow.is_none() && !fresh => {
                    remote.fetch_into(&mirror, names, Shallow::DepthAtRemote(std::num::NonZeroU32::MIN), stop)
                }
                fetched => fetched,
            };
            match fetched? {
                Fetched::Head(id) => {
                    self.settle(&mirror)?;
                    return Ok(id);
                }
                Fetched::OtherHash(hash) if fresh && hash != mirror.object_hash() => {
                    let made = mirror::create(&self.options.mirror, hash)?;
                    mirror = made.to_thread_local();
                    self.lock().mirror = Some(made);
                }
                Fetched::OtherHash(hash) => {
                    let reason = format!("it uses {}, the server uses {hash}", mirror.object_hash());
                    return Err(mirror::broken(&self.options.mirror, reason));
                }
            }
        }
    }

    /// After the mirror grew: few packs, and a handle that knows them.
    fn settle(&self, mirror: &gix::Repository) -> Result<(), FetchError> {
        packs::consolidate(mirror).map_err(|e| mirror::broken(&self.options.mirror, e))?;
        let reopened = mirror::reopen(&self.options.mirror)?;
        self.lock().mirror = Some(reopened);
        Ok(())
    }

    pub(super) fn mirror(&self, hash: gix::hash::Kind) -> Result<gix::ThreadSafeRepository, FetchError> {
        if let Some(mirror) = self.opened().mirror {
            return Ok(mirror);
        }
        let made = mirror::create(&self.options.mirror, hash)?;
        self.lock().mirror = Some(made.clone());
        Ok(made)
    }

    fn pin(&self, commit: &CommitId) -> Result<(), ReadError> {
        let _one = self.pinning.lock().unwrap_or_else(PoisonError::into_inner);
        let id = parse(&commit.0)?;
        let objects = self.objects();
        let found = objects.commit(id)?;
        let mirror = self.mirror(id.kind())?.to_thread_local();
        if mirror.object_hash() != id.kind() {
            let reason = format!("it uses {}, the source uses {}", mirror.object_hash(), id.kind());
            return Err(mirror::broken(&self.options.mirror, reason).into());
        }
        if matches!(self.address, Address::Local(_)) && !mirror.has_object(id) {
            // Before the objects: a commit whose parents are missing must never be seen unmarked.
            if found.parent_ids().any(|parent| !mirror.has_object(parent.detach())) {
                mirror::mark_shallow(&mirror, id).map_err(|e| mirror::broken(&self.options.mirror, e))?;
            }
            packs::copy_commit(&objects, &mirror, id)?;
        }
        mirror::pin(&mirror, id).map_err(|e| mirror::broken(&self.options.mirror, e))?;
        self.settle(&mirror)?;
        Ok(())
    }
}
