//! Catalogs: the repositories of the root catalog and of those of tenants that it names.
//!
//! In: which tenants there are. Out: what each of them has as its newest commit; the files of commits, of whichever it is: a commit and
//! a file have one id wherever they lie.
//! Never: lets one that is slow or hostile delay another: each is polled by itself, as the root is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use nave_placement::CatalogName;
use nave_placement::catalog::{
    self, BlobId, Catalog, CommitId, Effective, GitRemote, Problem, Remote, SourceAt, Tree,
};
use nave_proto::tls::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::deciding::older::{Places, Trees};
use crate::deciding::reading::read_of;
use crate::deciding::revision::{Content, Place};
use crate::deciding::run::chain;
use crate::git::poller::{self, Observation};
use crate::git::{self, Access, CommitInfo, ReadError, Repository};
use crate::sources::{Brought, Files, NotHere, Once, Remotes};

/// After about so long one that cannot be opened is tried again.
const AGAIN: Duration = Duration::from_secs(30);

/// The repositories of catalogs.
pub struct Catalogs {
    root: (Place, Repository),
    /// Where the mirrors are.
    room: PathBuf,
    access: Vec<Access>,
    tenants: watch::Sender<Arc<Tenants>>,
    /// How often one of them was found otherwise than before.
    observed: watch::Sender<u64>,
}

type Tenants = BTreeMap<CatalogName, Arc<Tenant>>;

/// Where a tenant's catalog is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meant {
    /// Its repository, and what of it is followed.
    pub git: GitRemote,
    /// Its directory there.
    pub path: Arc<str>,
}

/// A tenant's catalog, as it is followed.
struct Tenant {
    meant: Meant,
    /// Or why it cannot be opened as it is meant, with what is kept of it: the commits that are in effect.
    repository: Mutex<Result<Repository, (String, Option<Repository>)>>,
    observation: watch::Sender<Observation>,
    end: CancellationToken,
}

impl Tenant {
    /// Where its commits are.
    fn repository(&self) -> Result<Repository, String> {
        match &*self.repository.lock().unwrap_or_else(PoisonError::into_inner) {
            Ok(repository) | Err((_, Some(repository))) => Ok(repository.clone()),
            Err((why, None)) => Err(why.clone()),
        }
    }

    /// Why it cannot be opened as it is meant now.
    fn unopened(&self) -> Option<String> {
        let repository = self.repository.lock().unwrap_or_else(PoisonError::into_inner);
        repository.as_ref().err().map(|(why, _)| why.clone())
    }
}

impl Catalogs {
    /// With the root's; tenants' are kept in `room`, and reached as `access` says.
    pub fn new(root: (Place, Repository), room: PathBuf, access: Vec<Access>) -> Self {
        Self { root, room, access, tenants: watch::Sender::default(), observed: watch::Sender::default() }
    }

    /// The name of the root catalog.
    pub fn root(&self) -> &CatalogName {
        &self.root.0.name
    }

    /// How often a tenant's catalog was found otherwise than before.
    pub fn observed(&self) -> watch::Receiver<u64> {
        self.observed.subscribe()
    }

    /// A catalog, and where it stands in its repository.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub fn of(&self, name: &CatalogName) -> Result<(Place, Repository), String> {
        if name == self.root() {
            return Ok(self.root.clone());
        }
        let tenants = self.tenants.borrow();
        let tenant = tenants.get(name).ok_or_else(|| {
            let names: Vec<&str> =
                [self.root()].into_iter().chain(tenants.keys()).map(CatalogName::as_str).collect();
            format!("there is no catalog {name}; those that there are: {}", names.join(", "))
        })?;
        let repository = tenant.repository()?;
        let directory = tenant.meant.path.to_string();
        Ok((Place { name: name.clone(), directory, is_root: false, configured: None }, repository))
    }

    /// Where each of them stands, as far as it can be opened.
    pub fn places(&self) -> Places {
        let names = self.tenants.borrow().keys().cloned().chain([self.root().clone()]).collect::<Vec<_>>();
        names.into_iter().filter_map(|name| Some((name.clone(), self.of(&name).ok()?.0))).collect()
    }

    /// Why a tenant's repository cannot be opened.
    pub fn unopened(&self, name: &CatalogName) -> Option<String> {
        self.tenants.borrow().get(name)?.unopened()
    }

    /// What is known of the newest commit of a tenant's catalog.
    pub fn observation(&self, name: &CatalogName) -> Option<Observation> {
        self.tenants.borrow().get(name).map(|tenant| tenant.observation.borrow().clone())
    }

    /// Waits until all tenants' repositories, or that of one catalog, were asked anew; who does not answer is not waited for here.
    pub fn polled_anew(&self, of: Option<&CatalogName>) -> impl Future<Output = ()> + use<> {
        let tenants = self.tenants.borrow().clone();
        let meant = tenants.iter().filter(|(name, _)| of.is_none_or(|of| of == *name));
        let polls: Vec<_> = meant
            .filter(|(_, tenant)| tenant.unopened().is_none())
            .map(|(_, tenant)| {
                let seen = tenant.observation.subscribe();
                let fresh = seen.borrow().next_fresh();
                (seen, fresh)
            })
            .collect();
        async move {
            for (mut seen, fresh) in polls {
                let _ = seen.wait_for(|seen| seen.polls >= fresh).await;
            }
        }
    }

    /// Follows just these from now on.
    pub fn want(&self, meant: &BTreeMap<CatalogName, Meant>) {
        self.tenants.send_if_modified(|tenants| {
            let is_same = tenants.len() == meant.len()
                && meant
                    .iter()
                    .all(|(name, meant)| tenants.get(name).is_some_and(|known| known.meant == *meant));
            if is_same {
                return false;
            }
            let mut next = Tenants::new();
            for (name, meant) in meant {
                let known = tenants.get(name).filter(|known| known.meant == *meant);
                let tenant = known.cloned().unwrap_or_else(|| {
                    let repository = self.open(name, meant);
                    let repository = repository.map_err(|why| (why.clone(), self.kept(name, meant, why)));
                    Arc::new(Tenant {
                        meant: meant.clone(),
                        repository: Mutex::new(repository),
                        observation: watch::Sender::default(),
                        end: CancellationToken::new(),
                    })
                });
                next.insert(name.clone(), tenant);
            }
            for (name, tenant) in tenants.iter() {
                if !next.get(name).is_some_and(|next| Arc::ptr_eq(next, tenant)) {
                    tenant.end.cancel();
                }
            }
            *tenants = Arc::new(next);
            true
        });
    }

    /// Tenants that a root catalog gives credentials which there are not.
    pub fn unreachable(&self, root: &Catalog) -> Vec<Problem> {
        let problem = |(_, effective, tenant): (CatalogName, &Effective, &catalog::Tenant)| {
            let why = self.access(&tenant.git).err()?;
            let object = &effective.object;
            Some(Problem::at(&object.origin, why).of(Some(&object.id)))
        };
        root.tenants_named().filter_map(problem).collect()
    }

    /// What a repository is reached by.
    fn access(&self, git: &GitRemote) -> Result<Option<Access>, String> {
        let access = Access::named(&self.access, &git.url, git.credentials.as_deref());
        access.map(Option::<&Access>::cloned).ok_or_else(|| {
            let name = git.credentials.as_deref().unwrap_or_default();
            format!(
                "the hub has no credentials {name} that are for {}; add them to its configuration, or correct spec.git.credentials",
                git.url
            )
        })
    }

    fn open(&self, name: &CatalogName, meant: &Meant) -> Result<Repository, String> {
        let access = self.access(&meant.git)?;
        Repository::open(git::Options { access, ..self.options(name, meant) }).map_err(|error| chain(&error))
    }

    /// What is kept of one that cannot be opened as it is meant; nobody is asked for it.
    fn kept(&self, name: &CatalogName, meant: &Meant, why: String) -> Option<Repository> {
        let options = git::Options { unasked: Some(why), ..self.options(name, meant) };
        let kept = Repository::open(options);
        kept.inspect_err(
            |error| warn!(catalog = %name, error = chain(error), "what is kept of it cannot be read"),
        )
        .ok()
    }

    fn options(&self, name: &CatalogName, meant: &Meant) -> git::Options {
        let mut options = git::Options::new(&*meant.git.url, self.room.join(name.as_str()));
        options.branch = meant.git.reference.to_string();
        options.is_guarded = true;
        options
    }

    /// Polls all of them until cancelled.
    pub async fn follow(
        &self,
        interval: Duration,
        poke: watch::Receiver<()>,
        clock: Clock,
        cancel: CancellationToken,
    ) {
        let mut tenants = self.tenants.subscribe();
        let mut polled: BTreeMap<CatalogName, Arc<Tenant>> = BTreeMap::new();
        let mut polls: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        loop {
            let now = tenants.borrow_and_update().clone();
            polled.retain(|name, known| now.get(name).is_some_and(|now| Arc::ptr_eq(now, known)));
            for (name, tenant) in
                now.iter().filter(|(name, _)| !polled.contains_key(*name)).collect::<Vec<_>>()
            {
                polled.insert(name.clone(), tenant.clone());
                polls.push(Box::pin(self.poll(
                    name.clone(),
                    tenant.clone(),
                    interval,
                    poke.clone(),
                    clock.clone(),
                )));
            }
            tokio::select! {
                () = cancel.cancelled() => {
                    polled.values().for_each(|tenant| tenant.end.cancel());
                    return;
                }
                changed = tenants.changed() => if changed.is_err() { return },
                Some(()) = polls.next() => {}
            }
        }
    }

    /// Polls one of them until it is not followed any more.
    async fn poll(
        &self,
        name: CatalogName,
        tenant: Arc<Tenant>,
        interval: Duration,
        poke: watch::Receiver<()>,
        clock: Clock,
    ) {
        // What cannot be opened now, for want of the machine, may be later.
        while let Some(why) = tenant.unopened() {
            tokio::select! {
                () = tenant.end.cancelled() => return,
                () = tokio::time::sleep(AGAIN.mul_f64(0.5 + fastrand::f64())) => {}
            }
            match self.open(&name, &tenant.meant) {
                Ok(opened) => {
                    *tenant.repository.lock().unwrap_or_else(PoisonError::into_inner) = Ok(opened);
                    self.observed.send_modify(|times| *times += 1);
                }
                Err(again) => {
                    let mut known = tenant.repository.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err((_, kept @ None)) = &mut *known {
                        *kept = self.kept(&name, &tenant.meant, again.clone());
                    }
                    drop(known);
                    if again != why {
                        warn!(catalog = %name, error = again, "the repository cannot be opened");
                    }
                }
            }
        }
        let Ok(repository) = tenant.repository() else { return };
        let (end, out) = (tenant.end.clone(), tenant.observation.clone());
        let mut seen = out.subscribe();
        let polling = poller::run(repository, interval, poke, end, out, move || clock());
        let telling = async {
            // Who found what was known already wakes nobody.
            let mut known = None;
            while seen.changed().await.is_ok() {
                let now = {
                    let seen = seen.borrow_and_update();
                    let error = seen.last_error.as_ref().map(|error| chain(&**error));
                    Some((seen.head.as_ref().map(|head| head.commit.clone()), error))
                };
                if known != now {
                    known = now;
                    self.observed.send_modify(|times| *times += 1);
                }
            }
        };
        tokio::select! {
            () = polling => {}
            () = telling => {}
        }
    }

    /// The repository of a catalog in this place that is reached so.
    fn at(&self, git: &GitRemote) -> Option<Repository> {
        if git.credentials.is_none() && self.root.1.is_at(&git.url) {
            return Some(self.root.1.clone());
        }
        let tenants = self.tenants.borrow();
        let is_there = |tenant: &&Arc<Tenant>| {
            let meant = &tenant.meant.git;
            meant.url == git.url && meant.credentials == git.credentials && tenant.unopened().is_none()
        };
        tenants.values().find(is_there).and_then(|tenant| tenant.repository().ok())
    }

    /// All repositories, the root's first.
    fn all(&self) -> Vec<Repository> {
        let tenants = self.tenants.borrow().clone();
        let tenants = tenants.values().filter_map(|tenant| tenant.repository().ok());
        std::iter::once(self.root.1.clone()).chain(tenants).collect()
    }

    /// Completes an abbreviated commit id, of whichever catalog it is.
    pub async fn resolve(&self, rev: &str) -> Option<(CatalogName, CommitId)> {
        for name in self.places().into_keys() {
            let Ok((_, repository)) = self.of(&name) else { continue };
            if let Ok(commit) = repository.resolve(rev).await {
                return Some((name, commit));
            }
        }
        None
    }

    /// Who wrote a commit, and what.
    ///
    /// # Errors
    /// No repository has it, or it cannot be read.
    pub async fn commit_info(&self, commit: &CommitId) -> Result<CommitInfo, ReadError> {
        let mut first = None;
        for repository in self.all() {
            match repository.commit_info(commit).await {
                Ok(info) => return Ok(info),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.expect("the root has a repository"))
    }

    /// The files of a commit.
    ///
    /// # Errors
    /// No repository has it, or it cannot be read.
    pub async fn tree(&self, commit: &CommitId) -> Result<Tree, ReadError> {
        let mut first = None;
        for repository in self.all() {
            match repository.tree(commit).await {
                Ok(tree) => return Ok(tree),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.expect("the root has a repository"))
    }
}

#[async_trait]
impl Content for Catalogs {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let all = self.all();
        let places: Vec<&dyn Content> = all.iter().map(|repository| repository as _).collect();
        read_of(&places, &blobs, limit).await
    }
}

/// Remotes of catalogs, of which some are where catalogs are that are followed: these are reached as those are.
pub struct AndCatalogs<'a> {
    /// The catalogs.
    pub catalogs: &'a Catalogs,
    /// All other remotes.
    pub others: Once<'a>,
}

#[async_trait]
impl Remotes for AndCatalogs<'_> {
    async fn files(&self, remote: &Remote, at: Option<&SourceAt>) -> Result<Files, NotHere> {
        let Remote::Git(git) = remote else { return self.others.files(remote, at).await };
        let Some(repository) = self.catalogs.at(git).filter(|_| at.is_none()) else {
            return self.others.files(remote, at).await;
        };
        let meant =
            repository.fetch_ref(&git.reference).await.map_err(|error| NotHere::from(chain(&error)))?;
        let tree = repository.tree(&meant.commit).await.map_err(|error| NotHere::from(chain(&error)))?;
        let at = SourceAt { name: meant.name.into(), id: meant.commit.0 };
        Ok((at, Arc::new(Brought::of_git(tree, repository))))
    }
}

#[async_trait]
impl Trees for Catalogs {
    async fn tree_of(&self, commit: &CommitId) -> Result<Tree, String> {
        self.tree(commit).await.map_err(|error| chain(&error))
    }
}
