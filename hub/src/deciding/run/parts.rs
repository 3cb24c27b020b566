//! Parts: how the decider takes the newest commits of the root catalog and of tenants'.

use nave_placement::catalog::Kind;

use super::*;
use crate::deciding::picture::TenantStanding;

/// So many tenants' commits are looked at at once.
const AT_ONCE: usize = 4;

/// After about so long one that could not be read is looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// A tenant's catalog that looked at its newest commit, or why that could not be read.
pub(super) type Back = (Part, Result<(), String>);

impl Deciding {
    /// Takes the newest commits of all catalogs, as far as they may be taken. One of a tenant that cannot be read stays as it is, and
    /// delays nobody.
    pub(super) async fn take_catalogs(&mut self, head: Option<&CommitId>) -> Result<(), DecideError> {
        let taken = self.root.take(&self.ledger, head).await;
        self.follow_tenants();
        self.come_back();
        self.look_at_tenants();
        let others = self.others();
        if others.is_empty() {
            return taken;
        }
        let parts = std::iter::once(&self.root).chain(self.tenants.values());
        let owns: Vec<Own> = parts.filter_map(|part| part.own.clone()).collect();
        // Without the root nothing is known of tenants.
        let revision = self.root.own.is_some().then(|| Revision::of(owns)).flatten();
        if let Some(revision) = revision {
            self.replace(revision, &others);
        }
        taken
    }

    /// The catalogs of which another commit is in effect than in the revision, or none any more.
    fn others(&self) -> BTreeSet<CatalogName> {
        let known = self.revision.iter().flat_map(|revision| &revision.owns);
        let known: BTreeMap<&CatalogName, &Own> = known.map(|own| (&own.catalog.name, own)).collect();
        let parts = std::iter::once(&self.root).chain(self.tenants.values());
        let now: BTreeMap<&CatalogName, &Own> =
            parts.filter_map(|part| Some((&part.place.name, part.own.as_ref()?))).collect();
        let is_same = |name: &CatalogName| match (known.get(name), now.get(name)) {
            (Some(known), Some(now)) => Arc::ptr_eq(&known.catalog, &now.catalog),
            (known, now) => known.is_none() && now.is_none(),
        };
        known.keys().chain(now.keys()).filter(|name| !is_same(name)).map(|name| (*name).clone()).collect()
    }

    /// Takes back those that looked at their newest commits.
    fn come_back(&mut self) {
        let now_ms = self.ledger.now_ms();
        for (mut part, result) in std::mem::take(&mut self.back) {
            let name = part.place.name.clone();
            let Some(known) = self.tenants.get_mut(&name).filter(|known| known.place == part.place) else {
                continue;
            };
            match result {
                Ok(()) => (part.obstacle, part.again_ms) = (None, None),
                Err(why) => {
                    warn!(catalog = %name, error = why, "the catalog stays as it is");
                    part.obstacle = Some(why);
                    let pause = AGAIN.mul_f64(0.5 + fastrand::f64());
                    part.again_ms = Some(now_ms + u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
                }
            }
            part.repository = known.repository.clone();
            *known = part;
        }
    }

    /// Has tenants' newest commits looked at, where they are due: elsewhere, so that one that is slow or large holds up nobody else.
    fn look_at_tenants(&mut self) {
        let (state, now_ms) = (self.ledger.state(), self.ledger.now_ms());
        let mut places = AT_ONCE.saturating_sub(self.away.len());
        for (name, part) in self.tenants.iter_mut().filter(|(_, part)| !part.is_away) {
            let head = self.catalogs.observation(name).and_then(|seen| seen.head).map(|head| head.commit);
            if places == 0 || !part.is_due(&state, head.as_ref(), now_ms) {
                continue;
            }
            places -= 1;
            let mut looking = std::mem::replace(part, part.stand_in());
            let (ledger, cancel) = (self.ledger.clone(), self.cancel.clone());
            let runtime = tokio::runtime::Handle::current();
            let looked = async move {
                let taken = tokio::select! {
                    taken = looking.take(&ledger, head.as_ref()) => taken.map_err(|error| chain(&error)),
                    () = cancel.cancelled() => Ok(()),
                };
                (looking, taken)
            };
            self.away.spawn_blocking(move || runtime.block_on(looked));
        }
    }

    /// Follows the tenants that the root catalog in effect names.
    fn follow_tenants(&mut self) {
        let Some(root) = self.root.own.as_ref().map(|own| own.catalog.clone()) else { return };
        let meant =
            |git: &nave_placement::catalog::Tenant| Meant { git: git.git.clone(), path: git.path.clone() };
        let meant: BTreeMap<CatalogName, Meant> =
            root.tenants_named().map(|(name, _, tenant)| (name, meant(tenant))).collect();
        self.catalogs.want(&meant);
        self.tenants.retain(|name, _| meant.contains_key(name));
        for name in meant.keys() {
            let Ok((place, repository)) = self.catalogs.of(name) else {
                // What is in effect of it stays so.
                continue;
            };
            match self.tenants.get_mut(name) {
                Some(part) if part.place == place => part.repository = repository,
                // Another directory makes another catalog of the same commit. Until that is read, what was in effect is.
                _ => drop(self.tenants.insert(name.clone(), Part::new((place, repository)))),
            }
        }
    }

    /// When a tenant's commit that could not be read is tried again, Unix milliseconds.
    pub(super) fn again_ms(&self) -> Option<u64> {
        self.tenants.values().filter_map(|part| part.again_ms).min()
    }

    /// Whether something is said of a tenant's catalog that is being read for the first time: most are read in a moment.
    pub(super) fn is_early(&self, problem: &Problem) -> bool {
        let object = problem.object.as_ref().filter(|object| object.kind == Kind::Catalog);
        let Some(name) = object.and_then(|object| CatalogName::new(&object.name).ok()) else { return false };
        let is_unread = self
            .tenants
            .get(&name)
            .is_some_and(|part| part.own.is_none() && part.obstacle.is_none() && part.waiting.is_none());
        let is_asked = || self.catalogs.observation(&name).is_none_or(|seen| seen.last_error.is_none());
        // One that was taken once is read from what there is of it here, whoever answers.
        is_unread && (self.ledger.state().heads.contains_key(&name) || is_asked())
    }

    /// The holds of commits that wait.
    pub(super) fn waiting(&self) -> BTreeMap<CatalogName, Hold> {
        let parts = std::iter::once(&self.root).chain(self.tenants.values());
        parts.filter_map(|part| Some((part.place.name.clone(), part.waiting.clone()?))).collect()
    }

    /// Where each catalog stands in its repository.
    pub(super) fn places(&self) -> BTreeMap<CatalogName, Place> {
        let parts = std::iter::once(&self.root).chain(self.tenants.values());
        parts.map(|part| (part.place.name.clone(), part.place.clone())).collect()
    }

    /// How tenants' catalogs are, for people.
    pub(super) fn tenants_view(&self) -> Arc<BTreeMap<CatalogName, TenantStanding>> {
        let Some(root) = self.root.own.as_ref().map(|own| own.catalog.clone()) else { return Arc::default() };
        let view = |name: CatalogName, url: &str| {
            let part = self.tenants.get(&name);
            let observation = self.catalogs.observation(&name).unwrap_or_default();
            let commit = part.and_then(|part| Some(part.own.as_ref()?.catalog.commit.clone()));
            let waits = part.and_then(|part| part.waiting.as_ref()).map(ToString::to_string);
            let unopened = self.catalogs.unopened(&name);
            let unread = part.and_then(|part| part.obstacle.clone());
            let unheard = observation.last_error.map(|error| chain(&*error));
            let obstacle = waits.or(unopened).or(unread).or(unheard);
            let newest = observation.head.map(|head| head.commit);
            (name, TenantStanding { url: url.to_owned(), commit, newest, obstacle })
        };
        Arc::new(root.tenants_named().map(|(name, _, tenant)| view(name, &tenant.git.url)).collect())
    }
}
