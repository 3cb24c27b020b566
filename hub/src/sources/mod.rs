//! Sources: files of apps that are not in their catalog's repository.
//!
//! In: [`Remote`]s that a catalog names; how repositories are reached. Out: which state each of them is in ([`follow`]), the files of a
//! state ([`Remotes`]).
//! A repository has one mirror however many apps name it; the archive of a chart is kept by its digest.
//! Never: lets one that is slow or hostile delay another one's; takes a state for another because it has the same name; forgets
//! one that something still returns to.

mod brought;
mod follow;
mod lost;
mod mirrors;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use nave_placement::Digest;
use nave_placement::catalog::{CommitId, GitRef, Remote, RemoteId, SourceAt};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

pub use brought::Brought;
pub use follow::{Observed, Seen};

use crate::charts::{Charts, Pinned};
use crate::deciding::run::chain;
use crate::git::{self, Access};
use brought::Shelf;
use follow::Round;
use lost::{Lack, Lost};
use mirrors::Mirrors;

/// What the id of an archive begins with.
const SHA256: &str = "sha256:";

/// Why the files of a remote are not at hand, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotHere {
    /// Why.
    pub why: String,
    /// That is no fault: it is being asked, or nobody asks it here.
    pub is_awaited: bool,
    /// After what it may be otherwise.
    pub until: Until,
}

/// After what files that are not at hand may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Their remote is known otherwise than now ([`Observed`]).
    Asked,
    /// Their state was brought again, or could not be ([`Sources::brought_again`]).
    Brought,
    /// This machine has something that it lacks now.
    Mended,
}

impl From<String> for NotHere {
    fn from(why: String) -> Self {
        Self { why, is_awaited: false, until: Until::Mended }
    }
}

/// The files of a remote, and its state.
pub type Files = (SourceAt, Arc<Brought>);

/// The files of remotes.
#[async_trait]
pub trait Remotes: Send + Sync {
    /// The files of a remote in a state; without one, in that which it is in now.
    ///
    /// # Errors
    /// Why they are not at hand.
    async fn files(&self, remote: &Remote, at: Option<&SourceAt>) -> Result<Files, NotHere>;
}

/// In which state a remote is, since the hub took it so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRecord {
    /// The remote.
    pub remote: Remote,
    /// Its state.
    pub at: SourceAt,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
}

/// The remotes of a hub.
pub struct Sources {
    charts: Charts,
    mirrors: Mirrors,
    shelf: Shelf,
    /// What is followed, and the states of those that are meant to be the same for ever, as far as one was taken.
    wanted: watch::Sender<Arc<Wanted>>,
    observed: watch::Sender<Arc<Observed>>,
    /// States that were here before and are to be brought again.
    lacking: watch::Sender<BTreeMap<Lost, Lack>>,
    /// How often one of them was, or could not be.
    brought_again: watch::Sender<u64>,
    /// How often each was asked.
    rounds: watch::Sender<BTreeMap<Remote, Round>>,
    /// Of each host, places for those that ask it.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Remotes, with their states where these are for ever.
type Wanted = BTreeMap<Remote, Option<SourceAt>>;

impl Sources {
    /// Sources that are kept in `room`, and reached as `access` says.
    pub fn new(room: PathBuf, access: Vec<Access>) -> Self {
        Self {
            charts: Charts::new(room.join("charts"), access.clone()),
            mirrors: Mirrors::new(room.join("git"), access),
            shelf: Shelf::default(),
            wanted: watch::Sender::default(),
            observed: watch::Sender::default(),
            lacking: watch::Sender::default(),
            brought_again: watch::Sender::default(),
            rounds: watch::Sender::default(),
            hosts: Mutex::default(),
        }
    }

    /// What is known of the remotes that are followed.
    pub fn observed(&self) -> watch::Receiver<Arc<Observed>> {
        self.observed.subscribe()
    }

    /// Follows just these from now on, of which these states were taken. What is meant to be the same for ever is asked once in its life:
    /// who pushes other content by its name moves nobody, not even after a restart.
    pub fn want(&self, remotes: BTreeSet<Remote>, taken: &BTreeMap<RemoteId, SourceAt>) {
        let known = |remote: &Remote| taken.get(&remote.id()).filter(|_| remote.is_fixed()).cloned();
        let remotes: Wanted = remotes.into_iter().map(|remote| (remote.clone(), known(&remote))).collect();
        self.wanted.send_if_modified(|wanted| {
            let differs = **wanted != remotes;
            if differs {
                *wanted = Arc::new(remotes);
            }
            differs
        });
    }

    /// The state that a remote is in now; its files are at hand afterwards.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub async fn resolve(&self, remote: &Remote) -> Result<SourceAt, String> {
        match remote {
            Remote::Git(remote) => {
                let meant = self.mirrors.of(remote).await?.fetch_ref(&remote.reference).await;
                let meant = meant.map_err(|error| chain(&error))?;
                Ok(SourceAt { name: meant.name.into(), id: meant.commit.0 })
            }
            Remote::Chart(name) => {
                let Pinned { version, digest } =
                    self.charts.resolve(name).await.map_err(|error| chain(&error))?;
                Ok(SourceAt { name: version.into(), id: format!("{SHA256}{digest}").into() })
            }
        }
    }

    /// Keeps the files of a state readable, whatever becomes of the remote. An archive is kept as long as [`Self::keep`] is told that it is used.
    ///
    /// # Errors
    /// They are not here, and are brought again; or cannot be kept.
    pub async fn pin(&self, remote: &Remote, at: &SourceAt) -> Result<(), NotHere> {
        let is_here = match remote {
            Remote::Git(place) => match self.mirrors.of(place).await?.pin(&CommitId(at.id.clone())).await {
                Ok(()) => true,
                Err(git::ReadError::Missing { .. }) => false,
                Err(error) => return Err(chain(&error).into()),
            },
            Remote::Chart(_) => self.charts.has(&pinned(at)?).await.map_err(|error| chain(&error))?,
        };
        if is_here { Ok(()) } else { Err(self.lacks(remote, at)) }
    }

    /// Lets go of what is not among these states, in mirrors that are open and among the archives.
    pub async fn keep(&self, used: &BTreeSet<Arc<str>>) {
        for repository in self.mirrors.all().await {
            let pinned = repository.pinned().await.unwrap_or_default();
            for commit in pinned.iter().filter(|commit| !used.contains(&commit.0)) {
                if let Err(error) = repository.unpin(commit).await {
                    tracing::warn!(url = repository.url(), %commit, error = chain(&error), "a commit could not be let go");
                }
            }
        }
        // What was found may be about to be taken.
        let observed = self.observed.borrow().clone();
        let found = observed.0.values().filter_map(|seen| Some(&seen.at.as_ref()?.id));
        let archives =
            used.iter().chain(found).filter_map(|id| id.strip_prefix(SHA256)?.parse::<Digest>().ok());
        self.charts.keep(&archives.collect()).await;
    }

    /// Removes the mirrors of repositories that are not followed and have nothing that is used.
    pub async fn clear(&self, used: &BTreeSet<Arc<str>>) {
        self.shelf.keep(used);
        let (wanted, lacking) = (self.wanted.borrow().clone(), self.lacking.borrow().clone());
        let named = wanted.keys().chain(lacking.keys().map(|(remote, _)| remote));
        let named = named.filter_map(|remote| match remote {
            Remote::Git(remote) => Some(remote),
            Remote::Chart(_) => None,
        });
        self.mirrors.clear(named, used.clone()).await;
    }

    /// The files of a state; where they are not here any more they are brought again.
    async fn brought(&self, remote: &Remote, at: &SourceAt) -> Result<Arc<Brought>, String> {
        if let Some(brought) = self.at_hand(remote, at).await? {
            return Ok(brought);
        }
        self.bring(remote, at).await?;
        let brought = self.at_hand(remote, at).await?;
        brought.ok_or_else(|| format!("{} has no {} any more", remote.shown(), at.short()))
    }

    /// The files of a state, if they are here; nobody is asked.
    async fn at_hand(&self, remote: &Remote, at: &SourceAt) -> Result<Option<Arc<Brought>>, String> {
        if let Some(brought) = self.shelf.get(remote, at) {
            return Ok(Some(brought));
        }
        let found = match remote {
            Remote::Git(place) => {
                let repository = self.mirrors.of(place).await?;
                match repository.tree(&CommitId(at.id.clone())).await {
                    Ok(tree) => Some(Brought::of_git(tree, repository)),
                    Err(git::ReadError::Missing { .. }) => None,
                    Err(error) => return Err(chain(&error)),
                }
            }
            Remote::Chart(name) => {
                let files = self.charts.kept(name, &pinned(at)?).await.map_err(|error| chain(&error))?;
                files.map(|files| Brought::of_files(&files))
            }
        };
        let Some(found) = found.map(Arc::new) else { return Ok(None) };
        self.shelf.put(remote, at, found.clone());
        Ok(Some(found))
    }

    /// Brings a state that was here before: a mirror may be a new one.
    async fn bring(&self, remote: &Remote, at: &SourceAt) -> Result<(), String> {
        match remote {
            Remote::Git(place) => {
                let commit = GitRef::Commit(CommitId(at.id.clone()));
                let fetched = self.mirrors.of(place).await?.fetch_ref(&commit).await;
                fetched.map(drop).map_err(|error| chain(&error))
            }
            Remote::Chart(name) => {
                let files = self.charts.files(name, &pinned(at)?).await;
                files.map(drop).map_err(|error| chain(&error))
            }
        }
    }
}

#[async_trait]
impl Remotes for Sources {
    async fn files(&self, remote: &Remote, at: Option<&SourceAt>) -> Result<Files, NotHere> {
        let at = match at {
            Some(at) => at.clone(),
            None => self.resolve(remote).await?,
        };
        Ok((at.clone(), self.brought(remote, &at).await?))
    }
}

/// What is here; nobody is waited for: what is not is asked for meanwhile.
pub struct Followed<'a>(pub &'a Sources);

#[async_trait]
impl Remotes for Followed<'_> {
    async fn files(&self, remote: &Remote, at: Option<&SourceAt>) -> Result<Files, NotHere> {
        let Some(at) = at else { return Err(self.0.observed.borrow().why_not(remote)) };
        match self.0.at_hand(remote, at).await? {
            Some(brought) => Ok((at.clone(), brought)),
            None => Err(self.0.lacks(remote, at)),
        }
    }
}

/// For one look: a remote is asked once for a state, and is in one state for all who name it.
pub struct Once<'a> {
    sources: &'a Sources,
    asks: Asks,
    found: tokio::sync::Mutex<Answers>,
}

/// What was asked for, and what that is.
type Answers = BTreeMap<(Remote, Option<SourceAt>), Result<SourceAt, NotHere>>;

/// Who is asked for what is not here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// The repositories that the catalog in effect names, with whatever commit or version.
    Known,
    /// Whoever is named.
    Anybody,
}

impl<'a> Once<'a> {
    /// For plans of the hub, which whoever may view asks for: what a branch names first would else be fetched, with the hub's own
    /// credentials, before anybody took it.
    pub fn of_known(sources: &'a Sources) -> Self {
        Self { sources, asks: Asks::Known, found: tokio::sync::Mutex::default() }
    }

    /// For people, on their own machine and with their own credentials.
    pub fn of_anybody(sources: &'a Sources) -> Self {
        Self { sources, asks: Asks::Anybody, found: tokio::sync::Mutex::default() }
    }

    async fn bring(&self, remote: &Remote, at: Option<&SourceAt>) -> Result<SourceAt, NotHere> {
        let mut found = self.found.lock().await;
        let asked = (remote.clone(), at.cloned());
        if let Some(found) = found.get(&asked) {
            return found.clone();
        }
        let mut told = self.sources.files(remote, at).await.map(|(at, _)| at);
        // What the hub has is no fault of who only cannot look at it.
        if let (Asks::Anybody, Some(_), Err(lacks)) = (self.asks, at, &mut told) {
            lacks.is_awaited = true;
        }
        found.insert(asked, told.clone());
        told
    }
}

#[async_trait]
impl Remotes for Once<'_> {
    async fn files(&self, remote: &Remote, at: Option<&SourceAt>) -> Result<Files, NotHere> {
        // What is here asks nobody.
        if let Some(at) = at
            && let Some(brought) = self.sources.at_hand(remote, at).await?
        {
            return Ok((at.clone(), brought));
        }
        let wanted = self.sources.wanted.borrow().clone();
        if self.asks == Asks::Known && !wanted.keys().any(|named| is_one_place(named, remote)) {
            let what = match wanted.keys().any(|named| is_one_repository(named, remote)) {
                true => "is reached otherwise by the catalog in effect",
                false => "is in a place that the catalog in effect does not name",
            };
            let why = format!(
                "{} {what}, and is asked for no plan; what it gives shows once it is taken",
                remote.shown()
            );
            return Err(NotHere { why, is_awaited: true, until: Until::Asked });
        }
        let at = self.bring(remote, at).await?;
        self.sources.files(remote, Some(&at)).await
    }
}

/// Whether two remotes are of one repository, and reached in one way.
fn is_one_place(one: &Remote, other: &Remote) -> bool {
    let way = |remote: &Remote| match remote {
        Remote::Git(git) => git.credentials.clone(),
        Remote::Chart(_) => None,
    };
    is_one_repository(one, other) && way(one) == way(other)
}

/// Whether two remotes are of one repository.
fn is_one_repository(one: &Remote, other: &Remote) -> bool {
    match (one, other) {
        (Remote::Git(one), Remote::Git(other)) => one.url == other.url,
        (Remote::Chart(one), Remote::Chart(other)) => {
            one.repository == other.repository && one.chart == other.chart
        }
        _ => false,
    }
}

/// Where nobody is asked.
pub struct Nowhere;

#[async_trait]
impl Remotes for Nowhere {
    async fn files(&self, remote: &Remote, _: Option<&SourceAt>) -> Result<Files, NotHere> {
        let why =
            format!("{} is asked here only with --fetch; what it gives shows on the hub", remote.shown());
        Err(NotHere { why, is_awaited: true, until: Until::Asked })
    }
}

/// The archive of a state.
fn pinned(at: &SourceAt) -> Result<Pinned, String> {
    let digest = at.id.strip_prefix(SHA256).and_then(|digest| digest.parse().ok());
    let digest = digest.ok_or_else(|| format!("{at} names no archive of a chart"))?;
    Ok(Pinned { version: at.name.to_string(), digest })
}
