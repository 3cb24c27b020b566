//! Shapes: what every app is on every cluster.
//!
//! In: the forms of variants, parameters, labels, facts. Out: an [`AppForm`] for each entry there shall be, or what it lacks.
//! Never: gives a cluster a value that its bundle does not name, so that nothing else changes an entry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::answering::{Answering, Asking};
use super::template::{Uses, Values};
use super::values::at;
use super::variants::{Judge, Named, applying, of_app, runners, variant};
use super::{Lack, Parameters, Scope, Variant, merge, merged, values};
use crate::assign::{AppForm, Entry, Options};
use crate::catalog::{App, Catalog, CommitId, Effective, Kind, ObjectId, RemoteId, SourceAt, Sources, Spec};
use crate::decide::Wanted;
use crate::fleet::{Candidate, Fleet};
use crate::render::Asks;
use crate::{AppKey, ClusterName, Digest};

/// One variant of an app, rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The rendered manifests.
    pub bundle: Digest,
    /// How it is treated.
    pub options: Options,
    /// The digest of its source and of what overrides change: with values and options, the recipe.
    pub source: Digest,
    /// The recipe digest without values.
    pub version: Digest,
    /// The commit that gave it this version.
    pub commit: CommitId,
    /// What the remote of its source was, if it has one.
    pub source_at: Option<(RemoteId, SourceAt)>,
    /// What the charts elsewhere were that its chart depends on.
    pub dependencies: Sources,
    /// The names that its `${…}` use.
    pub uses: Uses,
    /// What its chart asks of clusters. Of no chart, and of a record from before there were answers, none.
    pub asked: Option<Asked>,
    /// The newest manifests cannot be rendered, so that these are older than the parameters of the catalog.
    pub is_stale: bool,
}

impl Form {
    /// What it is with these values.
    pub fn with(&self, values: Values, commit: CommitId) -> AppForm {
        let version = match values.is_empty() {
            true => self.version,
            false => Entry::recipe(self.source, &values, &self.options),
        };
        let source_at = self.source_at.as_ref().map(|(_, at)| at.clone());
        AppForm { bundle: self.bundle, options: self.options.clone(), version, commit, source_at, values }
    }

    /// What all that is elsewhere was.
    pub fn sources(&self) -> impl Iterator<Item = (RemoteId, SourceAt)> {
        self.source_at.clone().into_iter().chain(self.dependencies.clone())
    }

    /// The recipe digest without what is one cluster's own.
    pub fn common_version(&self) -> Digest {
        self.asked.as_ref().map_or(self.version, |asked| asked.version)
    }
}

/// What a chart asks of clusters, whatever these answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// What it asks.
    #[serde(default, skip_serializing_if = "Asks::is_nothing")]
    pub asks: Asks,
    /// The recipe digest without values and answers.
    pub version: Digest,
}

/// The forms in effect: of every app, its variants.
pub type Forms = BTreeMap<AppKey, BTreeMap<Variant, Form>>;

/// What the remotes of some apps' sources are.
pub fn sources<'a>(forms: &Forms, apps: impl IntoIterator<Item = &'a AppKey>) -> Sources {
    let forms = apps.into_iter().filter_map(|app| forms.get(app)).flat_map(BTreeMap::values);
    forms.flat_map(Form::sources).collect()
}

/// Entries that are something else than the catalog says.
pub type Instead = BTreeMap<(AppKey, ClusterName), (Arc<AppForm>, Because)>;

/// Why an entry is something else than the catalog says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It returns to what it was, as a whole.
    Returns,
    /// An operator pinned it.
    Pinned,
    /// It has the version that was rolled out last, until its turn for the newest.
    Meanwhile,
}

/// What every app is on every cluster.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    /// Apps that are the same everywhere.
    everywhere: Arc<BTreeMap<AppKey, Arc<AppForm>>>,
    /// All others.
    on: Arc<BTreeMap<AppKey, BTreeMap<ClusterName, Arc<AppForm>>>>,
    /// Former names of apps, whether they have a form or not.
    former: BTreeMap<AppKey, BTreeSet<AppKey>>,
    /// Entries that stay as they are, whatever they shall be.
    stays: BTreeSet<(AppKey, ClusterName)>,
    /// Entries that are something else, whatever the catalog says.
    instead: Instead,
}

impl Shapes {
    /// What an app is on a cluster; `None` where that is not known: then its entry stays as it is.
    pub fn get(&self, app: &AppKey, cluster: &ClusterName) -> Option<&AppForm> {
        if !self.stays.is_empty() && self.stays.contains(&(app.clone(), cluster.clone())) {
            return None;
        }
        if let Some((form, _)) = self.instead(app, cluster) {
            return Some(form);
        }
        let own = self.on.get(app).map(|clusters| clusters.get(cluster));
        own.unwrap_or_else(|| self.everywhere.get(app)).map(|form| &**form)
    }

    /// The former names of an app: where it is not known what the app is, they stay too.
    pub fn former(&self, app: &AppKey) -> impl Iterator<Item = &AppKey> {
        self.former.get(app).into_iter().flatten()
    }

    /// The same, but that of these entries it is not known what they are to become: they stay as they are.
    #[must_use]
    pub fn without(&self, stays: &BTreeSet<(AppKey, ClusterName)>) -> Self {
        Self { stays: stays.clone(), ..self.clone() }
    }

    /// The same, but that these entries are something else.
    #[must_use]
    pub fn with(&self, instead: Instead) -> Self {
        let mut all = self.instead.clone();
        all.extend(instead);
        Self { instead: all, ..self.clone() }
    }

    /// The same, but that apps of tenants are bound by what is granted to them where they shall run. What returns as a whole is bound
    /// by what was granted then.
    #[must_use]
    pub fn granted(&self, catalog: &Catalog, fleet: &Fleet, wanted: &Wanted) -> Self {
        let mut all = self.clone();
        if catalog.tenants.is_empty() {
            return all;
        }
        all.instead = bound(std::mem::take(&mut all.instead), catalog, fleet);
        let mut made: BTreeMap<(Digest, Option<&str>, &AppKey), Arc<AppForm>> = BTreeMap::new();
        for (cluster, apps) in wanted {
            let set = fleet.get(cluster).and_then(|candidate| candidate.set.as_deref());
            for app in apps.keys().filter(|app| self.instead(app, cluster).is_none()) {
                let grant = catalog.grant_on(app, set);
                let Some((grant, form)) = grant.zip(self.get(app, cluster)) else { continue };
                let of = (form.version, set, app);
                let form = made.entry(of).or_insert_with(|| Arc::new(form.granted(grant))).clone();
                all.put(app, cluster, form);
            }
        }
        all
    }

    fn instead(&self, app: &AppKey, cluster: &ClusterName) -> Option<&(Arc<AppForm>, Because)> {
        if self.instead.is_empty() { None } else { self.instead.get(&(app.clone(), cluster.clone())) }
    }

    /// Why an entry is something else than the catalog says.
    pub fn because(&self, app: &AppKey, cluster: &ClusterName) -> Option<Because> {
        self.instead(app, cluster).map(|(_, because)| *because)
    }

    /// The same for all that share it with this cluster.
    fn put(&mut self, app: &AppKey, cluster: &ClusterName, form: Arc<AppForm>) {
        Arc::make_mut(&mut self.on).entry(app.clone()).or_default().insert(cluster.clone(), form);
    }
}

impl FromIterator<(AppKey, AppForm)> for Shapes {
    /// Apps that are the same everywhere.
    fn from_iter<I: IntoIterator<Item = (AppKey, AppForm)>>(forms: I) -> Self {
        let everywhere = forms.into_iter().map(|(app, form)| (app, Arc::new(form))).collect();
        Self { everywhere: Arc::new(everywhere), ..Self::default() }
    }
}

/// Entries that are something else, bound by what is granted to their tenants now; but for those that return to what they were as a
/// whole.
pub fn bound(mut instead: Instead, catalog: &Catalog, fleet: &Fleet) -> Instead {
    for ((app, cluster), (form, because)) in &mut instead {
        let set = fleet.get(cluster).and_then(|candidate| candidate.set.as_deref());
        let grant = catalog.grant_on(app, set).filter(|_| *because != Because::Returns);
        if let Some(grant) = grant {
            *form = Arc::new(form.granted(grant));
        }
    }
    instead
}

/// An app on a cluster for whose `${…}` something lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lacking {
    /// The app.
    pub app: AppKey,
    /// What lacks.
    pub lack: Lack,
    /// The cluster.
    pub cluster: ClusterName,
}

/// Finds what every app is on every cluster that shall run it.
pub fn shapes(
    catalog: &Catalog,
    fleet: &Fleet,
    wanted: &Wanted,
    forms: &Forms,
    asking: &Asking,
    judge: &Judge<'_>,
) -> (Shapes, BTreeSet<Lacking>) {
    let mut shapes = Shapes { former: former(catalog), ..Shapes::default() };
    let mut lacking = BTreeSet::new();
    let mut differing = Vec::new();
    let none = BTreeMap::new();
    // Of an app whose clusters answer nothing yet nothing may be rendered.
    let formless = asking.keys().filter(|app| !forms.contains_key(*app)).map(|app| (app, &none));
    for (app, forms) in forms.iter().chain(formless) {
        let overrides = of_app(catalog, app);
        let is_alone = overrides.is_empty() && Answering::of(asking, app).is_nothing();
        let alone = forms.get(&Variant::default()).filter(|form| form.uses.is_empty() && is_alone);
        if let Some(form) = alone {
            let form = form.with(Values::new(), form.commit.clone());
            Arc::make_mut(&mut shapes.everywhere).insert(app.clone(), Arc::new(form));
            continue;
        }
        differing.push((app, forms, overrides));
    }
    let clusters = runners(wanted, differing.iter().map(|(app, _, _)| *app));
    for (app, forms, overrides) in differing {
        Arc::make_mut(&mut shapes.on).insert(app.clone(), BTreeMap::new());
        let layers = Layers::of(catalog, app);
        let mut plain: BTreeMap<&Variant, Arc<AppForm>> = BTreeMap::new();
        let mut answering = Answering::of(asking, app);
        for cluster in clusters.get(app).into_iter().flatten().copied() {
            let Some(candidate) = fleet.get(cluster) else { continue };
            let lacks = |lack: Lack| Lacking { app: app.clone(), lack, cluster: cluster.clone() };
            let applying = match applying(&overrides, cluster, candidate, judge) {
                Ok(applying) => applying,
                Err(lack) => {
                    lacking.insert(lacks(lack));
                    continue;
                }
            };
            let variant = match answering.variant(variant(&applying), candidate) {
                Ok(variant) => variant,
                Err(lack) => {
                    lacking.insert(lacks(lack));
                    continue;
                }
            };
            let Some((variant, form)) = forms.get_key_value(&variant) else { continue };
            // Old manifests with new values would be half of a commit: entries stay as they are.
            if form.is_stale && !form.uses.is_empty() {
                continue;
            }
            if form.uses.is_empty() {
                let shape = || Arc::new(form.with(Values::new(), form.commit.clone()));
                let shape = plain.entry(variant).or_insert_with(shape).clone();
                shapes.put(app, cluster, shape);
                continue;
            }
            let (parameters, commit) = layers.on(&applying, cluster, candidate, &form.commit);
            let scope = Scope {
                cluster,
                labels: &candidate.labels,
                facts: &candidate.facts,
                parameters: &parameters,
            };
            match values(&form.uses, &scope) {
                Ok(values) => shapes.put(app, cluster, Arc::new(form.with(values, commit))),
                Err(all) => lacking.extend(all.into_iter().map(lacks)),
            }
        }
    }
    (shapes, lacking)
}

/// The parameters without a default that an app uses and that no layer of the catalog sets, whatever the cluster.
pub fn unset<'u>(catalog: &Catalog, app: &AppKey, uses: &'u Uses) -> Vec<&'u str> {
    let own = catalog.objects.values().filter_map(|effective| match &effective.object.spec {
        Spec::Cluster(cluster) => Some(&cluster.parameters),
        Spec::ClusterSet(set) => Some(&set.parameters),
        _ => None,
    });
    let lower = Layers::lower(catalog, app).into_iter().map(|(_, layer)| layer);
    let overrides = of_app(catalog, app).into_iter().map(|(_, spec)| &spec.parameters);
    let layers: Vec<&Parameters> = lower.chain(overrides).chain(own).collect();
    let is_set =
        |name: &str| layers.iter().any(|layer| at(layer, name).is_some_and(|value| !value.is_null()));
    let required = uses.iter().filter(|(_, used)| used.required);
    let names = required.filter_map(|(name, _)| Some((name, name.strip_prefix("parameters.")?)));
    names.filter(|(_, parameter)| !is_set(parameter)).map(|(name, _)| name.as_str()).collect()
}

fn former(catalog: &Catalog) -> BTreeMap<AppKey, BTreeSet<AppKey>> {
    let key = |name: &str| catalog.key(name);
    let renamed = catalog.apps().filter(|(_, app)| !app.formerly.is_empty());
    let names = renamed.filter_map(|(effective, app)| {
        Some((key(&effective.object.id.name)?, app.formerly.iter().filter_map(|name| key(name)).collect()))
    });
    names.collect()
}

/// The layers of an app's parameters, by the objects that set them.
pub(super) struct Layers<'a> {
    catalog: &'a Catalog,
    /// Fleet and App, merged.
    base: Parameters,
    /// The commit in effect, where it changed one of these.
    base_is_of: Option<&'a CommitId>,
}

/// The parameters of an app on a cluster, all layers merged.
pub fn parameters(
    catalog: &Catalog,
    app: &AppKey,
    applying: &[Named<'_>],
    cluster: &ClusterName,
    candidate: &Candidate,
) -> Parameters {
    let layers = Layers::lower(catalog, app).into_iter();
    merged(layers.chain(Layers::upper(catalog, applying, cluster, candidate)).map(|(_, layer)| layer))
}

/// One layer: who set it, and what.
pub(super) type Layer<'a> = (&'a Effective, &'a Parameters);

impl<'a> Layers<'a> {
    pub fn of(catalog: &'a Catalog, app: &AppKey) -> Self {
        let layers = Self::lower(catalog, app);
        let base = merged(layers.iter().map(|(_, parameters)| *parameters));
        let base_is_of = layers.iter().find_map(|(object, _)| catalog.newly(object));
        Self { catalog, base, base_is_of }
    }

    /// Fleet, then App.
    pub fn lower(catalog: &'a Catalog, app: &AppKey) -> Vec<Layer<'a>> {
        let first = ObjectId { kind: Kind::Fleet, name: "".into() };
        let fleet = catalog.objects.range(first..).map(|(_, effective)| effective);
        let fleet = fleet.map_while(|effective| match &effective.object.spec {
            Spec::Fleet(fleet) => Some((effective, &fleet.parameters)),
            _ => None,
        });
        let fleet = fleet.take(1);
        let app = catalog.app_of(app).map(|(effective, app): (_, &App)| (effective, &app.parameters));
        fleet.chain(app).collect()
    }

    /// ClusterSet, Overrides by priority, Cluster.
    pub fn upper(
        catalog: &'a Catalog,
        applying: &[Named<'a>],
        cluster: &ClusterName,
        candidate: &Candidate,
    ) -> Vec<Layer<'a>> {
        let set = candidate.set.as_deref().and_then(|set| catalog.set(set));
        let set = set.map(|(effective, set)| (effective, &set.parameters));
        let overrides = applying.iter().map(|(effective, spec)| (*effective, &spec.parameters));
        let own = catalog.cluster(cluster).map(|(effective, cluster)| (effective, &cluster.parameters));
        set.into_iter().chain(overrides).chain(own).collect()
    }

    /// All of them, and the commit that changed something last: the one in effect if it changed a layer, else the form's.
    fn on(
        &self,
        applying: &[Named<'a>],
        cluster: &ClusterName,
        candidate: &Candidate,
        form: &CommitId,
    ) -> (Parameters, CommitId) {
        let mut parameters = self.base.clone();
        let mut is_of = self.base_is_of;
        for (object, layer) in Self::upper(self.catalog, applying, cluster, candidate) {
            merge(&mut parameters, layer);
            is_of = is_of.or_else(|| self.catalog.newly(object));
        }
        (parameters, is_of.unwrap_or(form).clone())
    }
}
