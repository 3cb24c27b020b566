//! Variants: which overrides change the manifests of an app on which clusters, and what these answer where its chart asks.
//!
//! In: the catalog, the fleet, what every cluster shall run, what charts ask. Out: the distinct lists of overrides that apply
//! somewhere, with the distinct answers.
//! Never: tells two clusters apart by parameters; those are in the values.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Lack;
use super::answering::{Answering, Asking};
use crate::catalog::{Catalog, Effective, Override};
use crate::decide::{Outcome, Reason, Wanted, outcome, terms};
use crate::fleet::{Candidate, Fleet};
use crate::render::Capabilities;
use crate::{AppKey, ClusterName};

/// The names of the overrides that change the manifests, the weakest first, joined by `+`; empty where there is none. Where a
/// chart asks something of the cluster, `@` and a label of the answers follow.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Arc<str>", into = "Arc<str>")]
pub struct Variant {
    written: Arc<str>,
    /// What the label stands for; not known where the variant was read.
    answers: Option<Arc<Capabilities>>,
}

impl Variant {
    /// The variant of these overrides, the weakest first.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::from(Arc::from(names.into_iter().collect::<Vec<_>>().join("+")))
    }

    /// The same with what a cluster answers.
    #[must_use]
    pub fn with(&self, answers: Capabilities) -> Self {
        let written = format!("{}@{}", self.overrides(), answers.label()).into();
        Self { written, answers: Some(Arc::new(answers)) }
    }

    /// The same without answers.
    #[must_use]
    pub fn unanswered(&self) -> Self {
        if self.has_answers() { Self::from(Arc::from(self.overrides())) } else { self.clone() }
    }

    /// Whether it is one for what some cluster answers.
    pub fn has_answers(&self) -> bool {
        self.written.contains('@')
    }

    /// What the clusters answer that it is for, as far as that is known.
    pub fn answers(&self) -> Option<&Arc<Capabilities>> {
        self.answers.as_ref()
    }

    /// Its overrides, the weakest first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.overrides().split('+').filter(|name| !name.is_empty())
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    fn overrides(&self) -> &str {
        self.written.split_once('@').map_or(&*self.written, |(overrides, _)| overrides)
    }
}

impl From<Arc<str>> for Variant {
    fn from(written: Arc<str>) -> Self {
        Self { written, answers: None }
    }
}

impl From<Variant> for Arc<str> {
    fn from(variant: Variant) -> Self {
        variant.written
    }
}

/// What is written says which it is.
impl PartialEq for Variant {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Variant {}

impl PartialOrd for Variant {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Variant {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.written.cmp(&other.written)
    }
}

impl Hash for Variant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.written.hash(state);
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

/// An override and the object that it is.
pub type Named<'a> = (&'a Effective, &'a Override);

/// The overrides of an app, the weakest first: by priority, and by name where that is equal.
pub fn of_app<'a>(catalog: &'a Catalog, app: &AppKey) -> Vec<Named<'a>> {
    let Some((object, _)) = catalog.app_of(app) else {
        return Vec::new();
    };
    let selects = |(_, spec): &Named<'_>| spec.apps.selects(&object.object);
    let mut named: Vec<Named<'_>> = catalog.overrides().filter(selects).collect();
    named.sort_by_key(|(effective, spec)| (spec.priority, effective.object.id.name.clone()));
    named
}

/// The overrides of an app that make a variant.
pub fn of_variant<'a>(catalog: &'a Catalog, app: &AppKey, variant: &Variant) -> Vec<Named<'a>> {
    let named = |(effective, _): &Named<'_>| variant.names().any(|name| *name == *effective.object.id.name);
    of_app(catalog, app).into_iter().filter(named).collect()
}

/// Whether an override applies to a cluster, and why it does not, or why that cannot be told.
pub fn applies(spec: &Override, cluster: &ClusterName, candidate: &Candidate) -> (Outcome, Reason) {
    let failed = terms(&spec.clusters, cluster, candidate).into_iter();
    let failed = failed.filter_map(|check| Some((check.outcome, check.reason?)));
    // The first of the worst: what breaks counts, whatever cannot be told.
    let worst = failed.rev().max_by_key(|(outcome, _)| *outcome);
    worst.unwrap_or((Outcome::Holds, Reason::Matches))
}

/// What the terms of an override say of a cluster. Who has the answers already gives these, and the other is the definition:
/// [`judged`].
pub type Judge<'j> = dyn Fn(&Named<'_>, &ClusterName, &Candidate) -> Outcome + 'j;

/// Looks at the terms.
pub fn judged((_, spec): &Named<'_>, cluster: &ClusterName, candidate: &Candidate) -> Outcome {
    outcome(&spec.clusters, cluster, candidate)
}

/// Those of an app's overrides that apply to a cluster.
///
/// # Errors
/// It cannot be told whether one of them does.
pub fn applying<'a>(
    of_app: &[Named<'a>],
    cluster: &ClusterName,
    candidate: &Candidate,
    judge: &Judge<'_>,
) -> Result<Vec<Named<'a>>, Lack> {
    let mut applying = Vec::new();
    for named in of_app {
        let (effective, spec) = *named;
        match judge(named, cluster, candidate) {
            Outcome::Holds => applying.push(*named),
            Outcome::Unknown => {
                let name = effective.object.id.name.to_string();
                let (_, reason) = applies(spec, cluster, candidate);
                return Err(match reason {
                    Reason::FactUnknown { .. } => Lack::Undecided(name, reason.to_string()),
                    _ => Lack::Untold(name, reason.to_string()),
                });
            }
            Outcome::Bars | Outcome::Breaks => {}
        }
    }
    Ok(applying)
}

/// The variant that some overrides make.
pub fn variant(applying: &[Named<'_>]) -> Variant {
    let changing = applying.iter().filter(|(_, spec)| spec.changes_manifests());
    Variant::of(changing.map(|(effective, _)| &*effective.object.id.name))
}

/// The clusters that shall run each of these apps, by one walk over all.
pub(super) fn runners<'a>(
    wanted: &'a Wanted,
    apps: impl Iterator<Item = &'a AppKey>,
) -> BTreeMap<&'a AppKey, Vec<&'a ClusterName>> {
    let mut clusters: BTreeMap<&AppKey, Vec<&ClusterName>> = apps.map(|app| (app, Vec::new())).collect();
    if clusters.is_empty() {
        return clusters;
    }
    for (cluster, apps) in wanted {
        for app in apps.keys() {
            if let Some(clusters) = clusters.get_mut(app) {
                clusters.push(cluster);
            }
        }
    }
    clusters
}

/// The variants of every app of a catalog that some cluster shall run; of an app that none shall run, the one without overrides.
/// What an app's chart asks is known once the variant without answers was looked at; where none answers, what is assumed counts.
pub fn needed(
    catalog: &Catalog,
    fleet: &Fleet,
    wanted: &Wanted,
    asking: &Asking,
    judge: &Judge<'_>,
) -> BTreeMap<AppKey, BTreeSet<Variant>> {
    let mut needed: BTreeMap<AppKey, BTreeSet<Variant>> = BTreeMap::new();
    let mut overridden: BTreeMap<AppKey, Vec<Named<'_>>> = BTreeMap::new();
    for (effective, _) in catalog.apps() {
        let Some(app) = catalog.key(&effective.object.id.name) else { continue };
        let overrides = of_app(catalog, &app);
        if overrides.is_empty() && !asking.contains_key(&app) {
            needed.insert(app, BTreeSet::from([Variant::default()]));
        } else {
            overridden.insert(app, overrides);
        }
    }
    let clusters = runners(wanted, overridden.keys());
    for (app, overrides) in &overridden {
        let here = clusters.get(app).into_iter().flatten();
        let here = here.filter_map(|cluster| Some((*cluster, fleet.get(*cluster)?)));
        let applying = here.filter_map(|(cluster, candidate)| {
            Some((applying(overrides, cluster, candidate, judge).ok()?, candidate))
        });
        let mut answering = Answering::of(asking, app);
        let mut variants: BTreeSet<Variant> = applying
            .filter_map(|(applying, candidate)| answering.variant(variant(&applying), candidate).ok())
            .collect();
        if variants.is_empty() {
            variants.insert(answering.assumed(Variant::default()));
        }
        needed.insert(app.clone(), variants);
    }
    needed
}
