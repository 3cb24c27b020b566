//! What an object says of others, checked once all of them are known.

use std::collections::{BTreeMap, BTreeSet};

use super::assemble::{Defined, Named};
use super::joined::may_be_called;
use super::problems::{Position, Problem};
use super::suggest::did_you_mean;
use super::template::Starred;
use super::{Catalog, Dependency, Kind, Object, ObjectId, Source, Spec, Tree, overlaps};
use crate::CatalogName;
use crate::render::{Contents, Release, Trees, needs};

/// Apps of one group: what takes them back by hand is one batch of the hub's store.
const MOST_GROUPED: usize = 30;

/// Something that an object names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reference {
    /// An app of the same catalog.
    App(String),
    /// A cluster set.
    Set(String),
    /// A rollout of the same catalog.
    Rollout(String),
    /// The app's own source.
    Source,
    /// A name that the app had before.
    Formerly(String),
    /// The name of a tenant's catalog, its own.
    Tenant(String),
    /// Nothing is granted to it.
    Ungranted,
    /// In this field a server that is asked without encryption.
    InClear(String),
}

/// What a document names, and where.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct References(BTreeMap<Reference, Position>);

impl References {
    pub fn add(&mut self, reference: Reference, at: Position) {
        self.0.entry(reference).or_insert(at);
    }
}

/// Checks what the documents that are in effect name. A dangling reference has no effect; the rest of the object has.
/// What is defined and not in effect has a problem of its own.
pub(super) fn check(
    catalog: &Catalog,
    taken: &[Defined<'_>],
    named: &Named<'_>,
    root: bool,
    tree: &Tree,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let successors = successors(taken);
    let missing = |kind, name: &str| missing(catalog, named, kind, name);
    for defined in taken {
        let Some(object) = &defined.object else { continue };
        for (reference, at) in &defined.document.references.0 {
            let wrong = match reference {
                Reference::App(name) => missing(Kind::App, name),
                // Sets are the root catalog's alone; another catalog cannot tell whether one is missing.
                Reference::Set(name) => root.then(|| missing(Kind::ClusterSet, name)).flatten(),
                Reference::Rollout(name) => missing(Kind::Rollout, name),
                Reference::Source => source(defined, object, tree),
                Reference::Formerly(name) => {
                    formerly(catalog, &successors, object, &former_name(defined, name))
                }
                Reference::Tenant(name) => match CatalogName::new(name) {
                    Ok(name) if !may_be_called(&name, catalog) => Some(format!(
                        "{name} is what apps of the root catalog go by; call the tenant's catalog otherwise"
                    )),
                    _ => None,
                },
                Reference::Ungranted => Some(
                    "it grants nothing, so that nothing of it runs, and what runs stays as it is; give it spec.grants"
                        .to_owned(),
                ),
                Reference::InClear(field) => Some(format!(
                    "{field} is asked in clear: whoever is between the hub and the server reads it, and can change what clusters run; write https:// or ssh://"
                )),
            };
            let problem = |message| {
                let problem = Problem::error(&object.origin.file, *at, message).of(Some(&object.id));
                if matches!(reference, Reference::InClear(_) | Reference::Ungranted) {
                    problem.warning()
                } else {
                    problem
                }
            };
            problems.extend(wrong.map(problem));
        }
    }
    problems.extend(overlaps::check(catalog, taken));
    problems.extend(groups(catalog, taken));
    problems
}

fn missing(catalog: &Catalog, named: &Named<'_>, kind: Kind, name: &str) -> Option<String> {
    let id = ObjectId { kind, name: name.into() };
    if catalog.objects.contains_key(&id) || named.has(&id) {
        return None;
    }
    let names = catalog.objects.keys().filter(|id| id.kind == kind).map(|id| &*id.name);
    let suggestion = did_you_mean(name, names);
    Some(format!("{id} is not in this catalog{suggestion}; add it, or remove the name"))
}

/// What is wrong with a source as far as that shows without reading a file.
fn source(defined: &Defined<'_>, object: &Object, tree: &Tree) -> Option<String> {
    let source = match &object.spec {
        Spec::App(app) => app.source.clone(),
        Spec::Override(spec) => Source::of(spec.source.clone()?).ok()?,
        _ => return None,
    };
    if source.remote.is_some() {
        return None;
    }
    let release = Release { app: &object.id.name, namespace: None, is_tenants: false };
    let error = needs(&source, release, Trees::of_catalog(tree), &Contents::new()).err()?;
    let field = if defined.directory.is_some() { "directories" } else { source.field() };
    Some(format!("spec.source.{field}: {error}"))
}

/// Apps of a group move together, so by one `Rollout`.
fn groups(catalog: &Catalog, taken: &[Defined<'_>]) -> Vec<Problem> {
    let of = |object: &Object| match &object.spec {
        Spec::App(app) => Some((app.group.clone()?, app.rollout.clone())),
        _ => None,
    };
    let mut problems = Vec::new();
    for object in taken.iter().filter_map(|defined| defined.object.as_ref()) {
        let Some((group, rollout)) = of(object) else { continue };
        let Some((first, lead)) = catalog.group(&group).next() else { continue };
        let apps = catalog.group(&group).count();
        if apps > MOST_GROUPED && first.object.id == object.id {
            let message = format!(
                "group {group} has {apps} apps, of which one order could not take all back; {MOST_GROUPED} are the most"
            );
            problems.push(Problem::at(&object.origin, message).of(Some(&object.id)));
        }
        let Spec::App(app) = &object.spec else { continue };
        let of_own = |dependency: &Dependency| {
            let mut group = catalog.group(&group);
            dependency.clusters.is_some() && group.any(|(other, _)| dependency.on.means(other))
        };
        if app.depends_on.iter().flatten().any(of_own) {
            let message = format!(
                "it waits on other clusters for an app of its own group {group}, and each cluster would wait for the others; remove that from dependsOn, or use a Rollout with before.healthyOn"
            );
            problems.push(Problem::at(&object.origin, message).of(Some(&object.id)));
        }
        if catalog.rollout_of(lead) != catalog.rollout_of_named(rollout.as_deref()) {
            let message = format!(
                "it is in group {group}, which moves by the Rollout of App/{}; give both the same spec.rollout",
                first.object.id.name
            );
            problems.push(Problem::at(&object.origin, message).of(Some(&object.id)));
        }
    }
    problems
}

/// Apps by the former names that they claim.
fn successors<'a>(taken: &'a [Defined<'_>]) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let mut successors: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for object in taken.iter().filter_map(|d| d.object.as_ref()) {
        if let Spec::App(app) = &object.spec {
            app.formerly
                .iter()
                .for_each(|name| _ = successors.entry(name).or_default().insert(&object.id.name));
        }
    }
    successors
}

/// The name that an app had before; where a template says it, the `*` stands for the same as in the name that it has.
fn former_name(defined: &Defined<'_>, name: &str) -> String {
    let directory = defined.directory.as_ref().map(|path| path.rsplit('/').next().unwrap_or(path));
    let filled = directory.and_then(|directory| Some(Starred::parse(name)?.filled(directory)));
    filled.unwrap_or_else(|| name.to_owned())
}

fn formerly(
    catalog: &Catalog,
    successors: &BTreeMap<&str, BTreeSet<&str>>,
    object: &Object,
    name: &str,
) -> Option<String> {
    if catalog.app(name).is_some() {
        return Some(format!("App/{name} is still in effect; remove it, or this name from spec.formerly"));
    }
    let other = successors.get(name)?.iter().find(|app| **app != &*object.id.name)?;
    Some(format!("App/{other} was formerly {name} too; only one app can take over what {name} owns"))
}
