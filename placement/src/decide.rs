//! Decide: which clusters each placement chooses, and why.
//!
//! In: a [`Catalog`] and the [`Fleet`]. Out: one [`Decision`] a placement, and what every cluster shall run.
//! Never: looks at what runs; whether something may leave is the guard's question.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::{AppSelection, Catalog, ClusterSelection, Placement};
use crate::fleet::{Candidate, Fleet};
use crate::{AppKey, ClusterName};

/// What a placement chose. Why it did not choose the others is told on demand by [`judge`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The placement's name.
    pub placement: Arc<str>,
    /// The apps that it selects.
    pub apps: BTreeSet<AppKey>,
    /// The clusters that it chose.
    pub clusters: BTreeSet<ClusterName>,
}

/// Why a placement chose a cluster or did not: the first term that failed, in the order of the fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Reason {
    /// All terms hold.
    Matches,
    /// `clusters.exclude` names it.
    Excluded,
    /// `clusters.names` does not name it.
    NotNamed,
    /// Its set is none of `clusters.sets`.
    SetDiffers {
        /// The set that it is in.
        set: Option<String>,
        /// The sets that would do.
        wanted: BTreeSet<String>,
    },
    /// A requirement of `clusters.selector` does not hold.
    LabelDiffers {
        /// The requirement, as `kubectl -l` writes it.
        requirement: String,
        /// The label's value on the cluster.
        value: Option<String>,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Matches => f.write_str("all terms hold"),
            Self::Excluded => f.write_str("clusters.exclude names it"),
            Self::NotNamed => f.write_str("clusters.names does not name it"),
            Self::SetDiffers { set, wanted } => {
                let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                match set {
                    Some(set) => write!(f, "its set is {set}, clusters.sets wants {wanted}"),
                    None => write!(f, "it is in no set, clusters.sets wants {wanted}"),
                }
            }
            Self::LabelDiffers { requirement, value: Some(value) } => {
                let key = requirement.split(['=', '!', ' ']).find(|k| !k.is_empty()).unwrap_or(requirement);
                write!(f, "its label {key} is {value:?}, clusters.selector wants {requirement}")
            }
            Self::LabelDiffers { requirement, value: None } => {
                write!(f, "it has no such label, clusters.selector wants {requirement}")
            }
        }
    }
}

/// What every cluster shall run, each app with the placements that chose it.
pub type Wanted = BTreeMap<ClusterName, BTreeMap<AppKey, BTreeSet<Arc<str>>>>;

/// Evaluates every placement of a catalog over the fleet.
pub fn decide(catalog: &Catalog, fleet: &Fleet) -> Vec<Decision> {
    let decision = |(object, placement): (&crate::catalog::Effective, &Placement)| Decision {
        placement: object.object.id.name.clone(),
        apps: apps(catalog, &placement.apps),
        clusters: fleet
            .iter()
            .filter(|(name, cluster)| judge(&placement.clusters, name, cluster) == Reason::Matches)
            .map(|(name, _)| name.clone())
            .collect(),
    };
    catalog.placements().map(decision).collect()
}

/// Turns decisions around: what every cluster shall run.
pub fn wanted(decisions: &[Decision]) -> Wanted {
    let mut wanted = Wanted::new();
    for decision in decisions {
        for cluster in &decision.clusters {
            let apps = wanted.entry(cluster.clone()).or_default();
            for app in &decision.apps {
                apps.entry(app.clone()).or_default().insert(decision.placement.clone());
            }
        }
    }
    wanted
}

/// The apps of the catalog that a selection means.
pub fn apps(catalog: &Catalog, selection: &AppSelection) -> BTreeSet<AppKey> {
    let selected = catalog.apps().filter(|(object, _)| {
        let named = selection.names.as_ref().is_none_or(|names| names.contains(&*object.object.id.name));
        let labelled = selection.selector.as_ref().is_none_or(|s| s.matches(&object.object.labels));
        named && labelled
    });
    selected
        .filter_map(|(object, _)| AppKey::new(catalog.name.clone(), &object.object.id.name).ok())
        .collect()
}

/// Whether a selection means a cluster, and if not, which term failed first.
pub fn judge(selection: &ClusterSelection, name: &ClusterName, cluster: &Candidate) -> Reason {
    if selection.exclude.contains(name) {
        return Reason::Excluded;
    }
    if selection.names.as_ref().is_some_and(|names| !names.contains(name)) {
        return Reason::NotNamed;
    }
    if let Some(sets) = &selection.sets
        && !cluster.set.as_ref().is_some_and(|set| sets.contains(set))
    {
        return Reason::SetDiffers { set: cluster.set.clone(), wanted: sets.clone() };
    }
    match selection.selector.as_ref().and_then(|s| s.first_unmet(&cluster.labels)) {
        Some(unmet) => Reason::LabelDiffers {
            requirement: unmet.to_string(),
            value: cluster.labels.get(&unmet.key).cloned(),
        },
        None => Reason::Matches,
    }
}
