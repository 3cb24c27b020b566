//! Parts: how the decider takes the newest commits of the root catalog and of tenants'.

use super::*;
use crate::deciding::picture::TenantStanding;

impl Deciding {
    /// Takes the newest commits of all catalogs, as far as they may be taken. One of a tenant that cannot be read stays as it is, and
    /// delays nobody.
    pub(super) async fn take_catalogs(&mut self, head: Option<&CommitId>) -> Result<(), DecideError> {
        let mut others = BTreeSet::new();
        if self.root.take(&self.ledger, head).await? {
            others.insert(self.root.place.name.clone());
        }
        self.follow_tenants(&mut others);
        for (name, part) in &mut self.tenants {
            let observation = self.catalogs.observation(name).unwrap_or_default();
            let head = observation.head.map(|head| head.commit);
            match part.take(&self.ledger, head.as_ref()).await {
                Ok(is_new) => {
                    part.obstacle = observation.last_error.map(|error| chain(&*error));
                    if is_new {
                        others.insert(name.clone());
                    }
                }
                Err(error) => {
                    warn!(catalog = %name, error = chain(&error), "the catalog stays as it is");
                    part.obstacle = Some(chain(&error));
                }
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        let parts = std::iter::once(&self.root).chain(self.tenants.values());
        let owns: Vec<Own> = parts.filter_map(|part| part.own.clone()).collect();
        // Without the root nothing is known of tenants.
        let revision = self.root.own.is_some().then(|| Revision::of(owns)).flatten();
        if let Some(revision) = revision {
            self.replace(revision, &others);
        }
        Ok(())
    }

    /// Follows the tenants that the root catalog in effect names.
    fn follow_tenants(&mut self, others: &mut BTreeSet<CatalogName>) {
        let Some(root) = self.root.own.as_ref().map(|own| own.catalog.clone()) else { return };
        let meant =
            |git: &nave_placement::catalog::Tenant| Meant { git: git.git.clone(), path: git.path.clone() };
        let meant: BTreeMap<CatalogName, Meant> =
            root.tenants_named().map(|(name, _, tenant)| (name, meant(tenant))).collect();
        self.catalogs.want(&meant);
        self.tenants.retain(|name, part| {
            let stays = meant.contains_key(name);
            if !stays && part.own.is_some() {
                others.insert(name.clone());
            }
            stays
        });
        for name in meant.keys() {
            let Ok((place, repository)) = self.catalogs.of(name) else {
                // What is in effect of it stays so.
                continue;
            };
            match self.tenants.get_mut(name) {
                Some(part) if part.place == place => part.repository = repository,
                // Another directory makes another catalog of the same commit.
                _ => drop(self.tenants.insert(name.clone(), Part::new((place, repository)))),
            }
        }
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
            let unopened = self.catalogs.of(&name).err();
            let obstacle = waits.or(unopened).or_else(|| part.and_then(|part| part.obstacle.clone()));
            let newest = observation.head.map(|head| head.commit);
            (name, TenantStanding { url: url.to_owned(), commit, newest, obstacle })
        };
        Arc::new(root.tenants_named().map(|(name, _, tenant)| view(name, &tenant.git.url)).collect())
    }
}
