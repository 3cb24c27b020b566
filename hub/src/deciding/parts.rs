//! Parts: the catalogs that are decided by, each as it is in effect: the root's, and those of tenants.
//!
//! In: the newest commit of a catalog's repository, what the store knows of it. Out: the [`Own`] that is in effect of it.
//! Never: lets an object of it disappear because something cannot be read; takes a commit that waits for approval.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::{Catalog, CommitId, Effective, LastGood, ObjectId, Tree, is_configured};
use nave_placement::guard::{Allowance, AllowanceScope, Hold, HoldCause};
use nave_placement::{AppKey, CatalogName};
use tracing::{info, warn};

use super::commits::{Trailers, trailers};
use super::core;
use super::revision::{Earlier, Loader, Place};
use super::run::{DecideError, chain};
use crate::git::{FetchError, ReadError, Repository};
use crate::state::{Ledger, State};

/// A catalog by itself, and what came with its commit.
#[derive(Clone, Debug)]
pub struct Own {
    /// Its objects.
    pub catalog: Arc<Catalog>,
    /// What trailers of its new commits allow.
    pub allowances: Vec<Allowance>,
    /// Apps whose pins trailers of its new commits end.
    pub unpins: BTreeSet<AppKey>,
    /// Tenants of which trailers of its new commits say that what runs of them goes with their `Catalog`.
    pub let_go: BTreeSet<CatalogName>,
    /// Who wrote its newest commit, for the audit log.
    pub author: String,
}

impl Own {
    /// Without anything that came with its commit.
    pub fn of(catalog: Arc<Catalog>) -> Self {
        let (unpins, let_go) = (BTreeSet::new(), BTreeSet::new());
        Self { catalog, allowances: Vec::new(), unpins, let_go, author: String::new() }
    }

    /// With what trailers of its new commits say.
    #[must_use]
    pub fn saying(self, said: Trailers, place: &Place) -> Self {
        let Trailers { allowances, unpins, let_go } = said;
        match place.is_root {
            true => Self { allowances, unpins, let_go, ..self },
            false => {
                let (allowances, unpins) = of_tenant(&place.name, allowances, unpins);
                Self { allowances, unpins, ..self }
            }
        }
    }
}

/// One of the catalogs, as it is in effect.
pub(super) struct Part {
    pub place: Place,
    pub repository: Repository,
    pub own: Option<Own>,
    /// The files of its commit.
    pub tree: Arc<Tree>,
    /// Why its newest commit is not in effect: somebody has to approve it.
    pub waiting: Option<Hold>,
    /// Why its newest commit could not be read.
    pub obstacle: Option<String>,
    /// When that is tried again, Unix milliseconds.
    pub again_ms: Option<u64>,
    /// A copy looks at its newest commit meanwhile.
    pub is_away: bool,
    loader: Loader,
    /// Objects in effect whose last good form could not be read since the start.
    unread: BTreeSet<ObjectId>,
}

impl Part {
    pub fn new((place, repository): (Place, Repository)) -> Self {
        Self {
            place,
            repository,
            own: None,
            tree: Arc::default(),
            waiting: None,
            obstacle: None,
            again_ms: None,
            is_away: false,
            loader: Loader::default(),
            unread: BTreeSet::new(),
        }
    }

    /// What stands for it while it looks at its newest commit.
    pub fn stand_in(&self) -> Self {
        Self {
            own: self.own.clone(),
            tree: self.tree.clone(),
            waiting: self.waiting.clone(),
            obstacle: self.obstacle.clone(),
            is_away: true,
            ..Self::new((self.place.clone(), self.repository.clone()))
        }
    }

    /// Whether there is something to look at: a commit in effect that is not at hand, or another one that is not held, or approved by now.
    pub fn is_due(&self, state: &State, head: Option<&CommitId>, now_ms: u64) -> bool {
        if self.again_ms.is_some_and(|again_ms| now_ms < again_ms) {
            return false;
        }
        let is_held = self.waiting.as_ref().is_some_and(|hold| {
            let of = match &hold.cause {
                HoldCause::EmptyCatalog { commit, .. } | HoldCause::NotDescendant { commit, .. } => {
                    Some(commit)
                }
                _ => None,
            };
            of == head && !state.approvals.contains_key(&hold.id)
        });
        match (&self.own, head) {
            (_, Some(_)) if is_held => false,
            (None, head) => head.is_some() || state.heads.contains_key(&self.place.name),
            (Some(own), Some(head)) => own.catalog.commit != *head || self.waiting.is_some(),
            (Some(_), None) => false,
        }
    }

    /// Takes the newest commit if it may be taken.
    ///
    /// # Errors
    /// It cannot be read. What is in effect may be another all the same: what the store says was not at hand before.
    pub async fn take(&mut self, ledger: &Ledger, head: Option<&CommitId>) -> Result<(), DecideError> {
        let taken = ledger.state().heads.get(&self.place.name).map(|head| head.commit.clone());
        if self.own.is_none()
            && let Some(taken) = &taken
        {
            let last_good = self.last_good(ledger).await;
            match self.load(taken, &last_good).await {
                Ok((own, tree)) => self.replace(own, tree),
                // Of a tenant it is tried again after a while, whatever Git says.
                Err(error) if !self.place.is_root && head.is_none() => return Err(error),
                // It is not at hand before Git answers; what the spokes were told stays.
                Err(error) => {
                    let catalog = &self.place.name;
                    warn!(%catalog, commit = %taken, error = chain(&error), "the commit in effect cannot be read now");
                }
            }
        }
        if let Some(head) = head
            && self.own.as_ref().is_none_or(|own| own.catalog.commit != *head)
        {
            self.incoming(ledger, taken.as_ref(), head).await?;
        } else if head.is_some() {
            self.waiting = None;
        }
        Ok(())
    }

    /// Looks at a commit that is not in effect: takes it, or says what it waits for.
    async fn incoming(
        &mut self,
        ledger: &Ledger,
        taken: Option<&CommitId>,
        head: &CommitId,
    ) -> Result<(), DecideError> {
        let last_good = match &self.own {
            Some(own) => own.catalog.objects.clone(),
            None => self.last_good(ledger).await,
        };
        let descends = match taken {
            None => true,
            Some(taken) => match self.repository.is_descendant(taken, head).await {
                Ok(descends) => descends,
                // History that cannot be seen proves nothing.
                Err(
                    ReadError::HistoryCut { .. }
                    | ReadError::Missing { .. }
                    | ReadError::Fetch(FetchError::TooMuch { .. }),
                ) => false,
                Err(error) => return Err(error.into()),
            },
        };
        // Nothing of a branch that was rewritten counts as known to be a removal, before somebody approved it.
        let (own, tree) = self.load(head, &last_good).await?;
        let approved = |id: &str| ledger.state().approvals.contains_key(id);
        let tenant = Some(&self.place.name).filter(|_| !self.place.is_root);
        match core::admit(tenant, taken, head, own.catalog.empty, descends, approved) {
            Err(hold) => {
                info!(catalog = %self.place.name, commit = %head, hold = hold.id, "{hold}");
                self.waiting = Some(*hold);
            }
            Ok(()) => {
                let said = trailers(&self.repository, taken, head).await;
                let own = own.saying(said, &self.place);
                self.repository.pin(head).await?;
                let problems = own.catalog.problems.len();
                info!(catalog = %self.place.name, commit = %head, problems, "taking the commit");
                self.waiting = None;
                self.replace(own, tree);
            }
        }
        Ok(())
    }

    fn replace(&mut self, own: Own, tree: Tree) {
        (self.own, self.tree) = (Some(own), Arc::new(tree));
        self.unread.clear();
    }

    /// A commit's catalog and its files. Nothing of it is rendered yet: that waits until it may be taken.
    async fn load(&mut self, commit: &CommitId, last_good: &LastGood) -> Result<(Own, Tree), DecideError> {
        let tree = self.repository.tree(commit).await?;
        let catalog = self.loader.catalog(&self.repository, &self.place, commit, &tree, last_good).await;
        if let Some(id) = self.unread.iter().find(|id| !catalog.objects.contains_key(id)) {
            return Err(DecideError::LastGood(id.clone()));
        }
        let author = match self.repository.commit_info(commit).await {
            Ok(info) => format!("{} <{}>: {}", info.author, info.email, info.subject),
            Err(_) => String::new(),
        };
        Ok((Own { author, ..Own::of(Arc::new(catalog)) }, tree))
    }

    /// The last good form of every object, read again from the commits that the store names.
    async fn last_good(&mut self, ledger: &Ledger) -> LastGood {
        let records: Vec<_> = {
            let state = ledger.state();
            // What the configuration does not say any more is none of the catalog's.
            let ours = state.good.iter().filter(|((catalog, _, _), good)| {
                *catalog == self.place.name && !is_configured(&good.record.file)
            });
            ours.map(|((_, kind, name), record)| (kind.clone(), name.clone(), record.record.clone()))
                .collect()
        };
        self.unread.clear();
        let mut trees: BTreeMap<CommitId, Option<Tree>> = BTreeMap::new();
        let mut earlier = Earlier::default();
        let mut last_good = LastGood::new();
        for (kind, name, record) in records {
            let Ok(kind) = serde_json::from_value(serde_json::Value::String(kind)) else { continue };
            let id = ObjectId { kind, name: name.as_str().into() };
            if !trees.contains_key(&record.commit) {
                trees.insert(record.commit.clone(), self.repository.tree(&record.commit).await.ok());
            }
            let object = match trees.get(&record.commit) {
                Some(Some(tree)) => earlier.object(&self.repository, tree, &record.file, &id).await,
                _ => None,
            };
            match object {
                Some(object) => {
                    last_good.insert(id, Effective { object, commit: record.commit.clone() });
                }
                None => {
                    self.unread.insert(id);
                }
            }
        }
        last_good
    }
}

/// What trailers of a tenant's commits say, who knows no apps but its own and calls them as it does: `app/web=1` means its web, `*` all
/// that it has.
fn of_tenant(
    tenant: &CatalogName,
    allowances: Vec<Allowance>,
    unpins: BTreeSet<AppKey>,
) -> (Vec<Allowance>, BTreeSet<AppKey>) {
    let own = |app: &AppKey| {
        let is_own = app.catalog == *tenant || app.catalog == CatalogName::root();
        is_own.then(|| AppKey::new(tenant.clone(), app.name()).ok()).flatten()
    };
    let allowed = |allowance: Allowance| {
        let scope = match &allowance.scope {
            AllowanceScope::App(app) => AllowanceScope::App(own(app)?),
            AllowanceScope::Objects(app) => AllowanceScope::Objects(own(app)?),
            AllowanceScope::Anything => AllowanceScope::Catalog(tenant.clone()),
            of @ AllowanceScope::Catalog(_) => of.clone(),
        };
        Some(Allowance { scope, ..allowance })
    };
    (allowances.into_iter().filter_map(allowed).collect(), unpins.iter().filter_map(own).collect())
}
