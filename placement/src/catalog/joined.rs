//! Joined: the root catalog and those of tenants become the one that is decided by.
//!
//! In: the root catalog, the catalogs of the tenants that it names, each assembled by itself. Out: one [`Catalog`], in which what is a
//! tenant's is called `CATALOG/NAME`, names within it as well, and stands in `CATALOG:FILE`.
//! Never: lets a tenant's object mean anything of another catalog; joins a catalog that the root does not name.

use std::sync::Arc;

use super::{
    App, AppSelection, Catalog, CommitId, Dependency, DependsOn, Effective, Grant, Grants, Object, ObjectId,
    Origin, Override, Placement, Problem, Spec, Tenant,
};
use crate::{AppKey, CatalogName, ROOT_CATALOG};

/// A tenant's catalog, as it is joined to the root's.
#[derive(Clone, Debug, PartialEq)]
pub struct Joined {
    /// Its commit.
    pub commit: CommitId,
    /// What the root catalog says of it.
    pub tenant: Arc<Tenant>,
}

/// The catalogs that are decided by.
///
/// # Guarantees
/// Every object is in it once; the root's as they are.
pub fn join<'a>(root: &Catalog, tenants: impl IntoIterator<Item = &'a Catalog>) -> Catalog {
    let mut all = root.clone();
    for own in tenants {
        let Some(tenant) = root.tenant(&own.name).filter(|_| may_be_called(&own.name, root)) else {
            continue;
        };
        let joining = Joining { name: &own.name, tenant };
        all.objects.extend(own.objects.values().map(|effective| {
            let object = joining.object(&effective.object);
            (object.id.clone(), Effective { object: Arc::new(object), commit: effective.commit.clone() })
        }));
        all.problems.extend(own.problems.iter().map(|problem| joining.problem(problem)));
        let joined = Joined { commit: own.commit.clone(), tenant: Arc::new(tenant.clone()) };
        all.tenants.insert(own.name.clone(), joined);
    }
    all.problems.sort();
    all
}

/// Whether a tenant may have this name: an app of it is told from one of the root's by that.
pub(super) fn may_be_called(name: &CatalogName, root: &Catalog) -> bool {
    *name != root.name && name.as_str() != ROOT_CATALOG
}

struct Joining<'a> {
    name: &'a CatalogName,
    tenant: &'a Tenant,
}

impl Joining<'_> {
    fn named(&self, name: &str) -> String {
        format!("{}/{name}", self.name)
    }

    fn file(&self, file: &str) -> Arc<str> {
        format!("{}:{file}", self.name).into()
    }

    fn id(&self, id: &ObjectId) -> ObjectId {
        ObjectId { kind: id.kind, name: self.named(&id.name).into() }
    }

    fn problem(&self, problem: &Problem) -> Problem {
        let object = problem.object.as_ref().map(|id| self.id(id));
        Problem { file: self.file(&problem.file), object, ..problem.clone() }
    }

    fn object(&self, object: &Object) -> Object {
        let origin = Origin { file: self.file(&object.origin.file), ..object.origin };
        Object {
            id: self.id(&object.id),
            labels: object.labels.clone(),
            origin,
            spec: self.spec(&object.spec),
        }
    }

    fn spec(&self, spec: &Spec) -> Spec {
        match spec {
            Spec::App(app) => Spec::App(self.app(app)),
            Spec::Placement(placement) => Spec::Placement(Box::new(Placement {
                apps: self.apps(&placement.apps),
                grants: Some(Grants { catalog: self.name.clone(), sets: self.tenant.sets() }),
                ..(**placement).clone()
            })),
            Spec::Override(spec) => Spec::Override(Override { apps: self.apps(&spec.apps), ..spec.clone() }),
            // They name nothing that is a tenant's; what may stand in the root alone was refused.
            Spec::Rollout(_) | Spec::Fleet(_) | Spec::Cluster(_) | Spec::ClusterSet(_) | Spec::Catalog(_) => {
                spec.clone()
            }
        }
    }

    fn app(&self, app: &App) -> App {
        let dependency = |dependency: &Dependency| {
            let on = match &dependency.on {
                DependsOn::App(name) => DependsOn::App(self.named(name)),
                selected @ DependsOn::Selected(_) => selected.clone(),
            };
            Dependency { on, ..dependency.clone() }
        };
        App {
            formerly: app.formerly.iter().map(|name| self.named(name)).collect(),
            rollout: app.rollout.as_deref().map(|name| self.named(name)),
            group: app.group.as_deref().map(|name| self.named(name)),
            depends_on: app.depends_on.as_ref().map(|all| all.iter().map(dependency).collect()),
            ..app.clone()
        }
    }

    fn apps(&self, selection: &AppSelection) -> AppSelection {
        let names = selection.names.as_ref().map(|names| names.iter().map(|name| self.named(name)).collect());
        AppSelection { names, within: Some(self.name.clone()), ..selection.clone() }
    }
}

impl ObjectId {
    /// The tenant's catalog that it is of, where several are joined; none of the root's.
    pub fn tenant(&self) -> Option<&str> {
        self.name.split_once('/').map(|(catalog, _)| catalog)
    }

    /// Its name within its catalog.
    pub fn own_name(&self) -> &str {
        self.name.split_once('/').map_or(&*self.name, |(_, name)| name)
    }
}

impl Catalog {
    /// What it says of a tenant's catalog.
    pub fn tenant(&self, name: &CatalogName) -> Option<&Tenant> {
        let id = ObjectId { kind: super::Kind::Catalog, name: name.as_str().into() };
        self.objects.get(&id).and_then(|effective| match &effective.object.spec {
            Spec::Catalog(tenant) => Some(tenant),
            _ => None,
        })
    }

    /// All of them that may be joined, in order of name.
    pub fn tenants_named(&self) -> impl Iterator<Item = (CatalogName, &Effective, &Tenant)> {
        self.objects.values().filter_map(|effective| match &effective.object.spec {
            Spec::Catalog(tenant) => {
                let name = CatalogName::new(&effective.object.id.name).ok()?;
                may_be_called(&name, self).then_some((name, effective, tenant))
            }
            _ => None,
        })
    }

    /// Whose an app is that it calls so; none where that is no name.
    pub fn key(&self, name: &str) -> Option<AppKey> {
        match name.split_once('/') {
            Some((catalog, name)) => AppKey::new(CatalogName::new(catalog).ok()?, name).ok(),
            None => AppKey::new(self.name.clone(), name).ok(),
        }
    }

    /// What it calls an app.
    pub fn name_of(&self, app: &AppKey) -> String {
        match app.catalog == self.name {
            true => app.name().to_owned(),
            false => format!("{}/{}", app.catalog, app.name()),
        }
    }

    /// An app by whose it is.
    pub fn app_of(&self, app: &AppKey) -> Option<(&Effective, &App)> {
        self.app(&self.name_of(app))
    }

    /// The catalog that an object of it is of.
    pub fn owner(&self, id: &ObjectId) -> CatalogName {
        id.tenant().and_then(|name| CatalogName::new(name).ok()).unwrap_or_else(|| self.name.clone())
    }

    /// The catalog that a problem is of.
    pub fn owner_of(&self, problem: &Problem) -> CatalogName {
        let of_file = || problem.file.split_once(':').map(|(catalog, _)| catalog);
        let tenant = problem.object.as_ref().map_or_else(of_file, ObjectId::tenant);
        let tenant = tenant
            .and_then(|name| CatalogName::new(name).ok())
            .filter(|name| self.tenants.contains_key(name));
        tenant.unwrap_or_else(|| self.name.clone())
    }

    /// The commit of the root or of a tenant's catalog; none of what is not joined.
    pub fn commit_of(&self, catalog: &CatalogName) -> Option<&CommitId> {
        match *catalog == self.name {
            true => Some(&self.commit),
            false => self.tenants.get(catalog).map(|joined| &joined.commit),
        }
    }

    /// What is granted to the tenant that an app is of on clusters of a set; none of the root's.
    pub fn grant_on(&self, app: &AppKey, set: Option<&str>) -> Option<&Grant> {
        self.tenants.get(&app.catalog)?.tenant.grant(set)
    }

    /// The commit of its catalog, where that is what made an object as it is.
    pub fn newly(&self, effective: &Effective) -> Option<&CommitId> {
        self.commit_of(&self.owner(&effective.object.id)).filter(|commit| **commit == effective.commit)
    }
}

impl AppSelection {
    /// Whether it means this app.
    pub fn selects(&self, app: &Object) -> bool {
        self.within.as_ref().map(CatalogName::as_str) == app.id.tenant()
            && self.names.as_ref().is_none_or(|names| names.contains(&*app.id.name))
            && self.selector.as_ref().is_none_or(|selector| selector.matches(&app.labels))
    }
}
