//! Decide: which clusters each placement chooses, and why.
//!
//! In: a [`Catalog`], the [`Fleet`], what was decided before, the time. Out: one [`Decision`] a placement, and what every
//! cluster shall run.
//! Never: looks at what runs; whether something may leave is the guard's question.
//!
//! | file | what it knows |
//! |---|---|
//! | `judge` | what a placement says of one cluster by itself: the definition |
//! | `index`, `bits`, `rule` | the same for all clusters at once, and for those that change |
//! | `pick`, `score`, `lanes` | how some of them are chosen and kept |
//! | `passed_over` | why those were not that could have been |
//! | `stand_ins`, `shares` | who takes the place of whom, and how replicas are divided |
//! | `engine` | who has to look again when something changes |
//! | `reasons` | the words in which all of it is told |
//! | `report` | a whole decision in those words |

mod bits;
mod engine;
mod index;
mod judge;
mod lanes;
mod passed_over;
mod pick;
mod reasons;
mod report;
mod rule;
mod score;
mod shares;
mod stand_ins;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::assign::{Share, ShareOut};
use crate::catalog::{AppSelection, Catalog, Count, Pick};
use crate::fleet::Fleet;
use crate::select::Look;
use crate::{AppKey, ClusterName};

pub use engine::{Engine, Settling, Work};
pub use judge::{Check, Judgement, Outcome, Standing, judge, outcome, terms};
pub use reasons::{Cause, Group, Reason};
pub use report::{ChosenReport, DecisionReport, Explanation, RejectedReport};
pub use score::{Part, Score};
pub use shares::Shares;

/// What a placement chose. Why, [`Engine::reports`] tells on demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The placement's name.
    pub placement: Arc<str>,
    /// The apps that it selects.
    pub apps: BTreeSet<AppKey>,
    /// The clusters that it chose.
    pub settled: Settled,
}

/// What is remembered of a decision: the next one begins here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settled {
    /// The numbers under which it was made; absent where they are not known. Only when these change may a decision
    /// shrink to them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
    /// The clusters.
    pub chosen: BTreeMap<ClusterName, Place>,
    /// How replicas are divided over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Shares>,
}

impl Settled {
    /// Whether it says no more than which clusters were chosen.
    fn is_plain(&self) -> bool {
        let stands_in = |place: &Place| place.stands_in.is_some();
        self.numbers == Some(Numbers::default())
            && self.shares.is_none()
            && !self.chosen.values().any(stands_in)
    }

    /// The clusters that do not stand in for another.
    pub fn places(&self) -> impl Iterator<Item = &ClusterName> {
        self.chosen.iter().filter(|(_, place)| place.stands_in.is_none()).map(|(name, _)| name)
    }

    /// How many replicas a cluster has; a stand-in has as many as the cluster that it stands in for.
    pub fn replicas(&self, cluster: &ClusterName) -> Option<u32> {
        let place = self.chosen.get(cluster)?;
        let named = place.stands_in.as_ref().map_or(cluster, |stand_in| &stand_in.cluster);
        self.shares.as_ref()?.by.get(named).copied()
    }
}

/// What is remembered of a chosen cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// The cluster for which it stands in until one of the two leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in: Option<StandIn>,
}

/// For whom, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StandIn {
    /// The other cluster.
    pub cluster: ClusterName,
    /// Why that one is left.
    pub cause: Cause,
}

/// The numbers of a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Numbers {
    /// How many; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<Count>,
    /// In each group of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Look>,
}

impl Numbers {
    fn of(pick: &Pick) -> Self {
        Self { count: pick.count, per: pick.per.clone() }
    }
}

/// What was decided before, by placement.
pub type Memory = BTreeMap<Arc<str>, Settled>;

/// The time, and what else is true only now.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Since when the hub is up: before that it did not hear whom it does not hear.
    pub hub_since_ms: u64,
    /// Whether an app is healthy on a cluster.
    pub healthy: &'a dyn Fn(&ClusterName, &AppKey) -> bool,
}

impl Moment<'_> {
    /// A moment at which nothing is known to be healthy.
    pub fn at(now_ms: u64) -> Self {
        Self { now_ms, hub_since_ms: 0, healthy: &|_, _| false }
    }
}

/// A number that a placement and a cluster have for ever: ties are broken by it, never by time or order of arrival.
/// FNV-1a, stirred so that names that differ in the last letter are far apart.
fn lot(placement: &str, cluster: &ClusterName) -> u64 {
    let bytes = placement.bytes().chain([0]).chain(cluster.as_str().bytes());
    let mut hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    for (shift, factor) in [(33, 0xff51_afd7_ed55_8ccd_u64), (33, 0xc4ce_b9fe_1a85_ec53)] {
        hash = (hash ^ (hash >> shift)).wrapping_mul(factor);
    }
    hash ^ (hash >> 33)
}

/// What every cluster shall run, each app with the placements that chose it.
pub type Wanted = BTreeMap<ClusterName, BTreeMap<AppKey, BTreeSet<Arc<str>>>>;

/// Evaluates every placement of a catalog over the fleet.
pub fn decide(catalog: &Catalog, fleet: &Fleet, previous: &Memory, moment: Moment<'_>) -> Vec<Decision> {
    let mut engine = Engine::of(catalog, fleet, previous);
    engine.settle(moment);
    engine.decisions()
}

/// Turns decisions around: what every cluster shall run.
pub fn wanted(decisions: &[Decision]) -> Wanted {
    let mut wanted = Wanted::new();
    for decision in decisions {
        for cluster in decision.settled.chosen.keys() {
            let apps = wanted.entry(cluster.clone()).or_default();
            for app in &decision.apps {
                apps.entry(app.clone()).or_default().insert(decision.placement.clone());
            }
        }
    }
    wanted
}

/// How the replicas of apps are divided: what every cluster has of them. Placements that divide the same app agree on
/// how; of two that chose one cluster the larger share counts.
pub fn share_out(decisions: &[Decision]) -> ShareOut {
    let mut out = ShareOut::new();
    for decision in decisions {
        let Some(shares) = &decision.settled.shares else { continue };
        for cluster in decision.settled.chosen.keys() {
            let Some(count) = decision.settled.replicas(cluster) else { continue };
            for app in &decision.apps {
                let share = Share { target: shares.of.target.clone(), replicas: count };
                let known = out
                    .entry(cluster.clone())
                    .or_default()
                    .entry(app.clone())
                    .or_insert_with(|| share.clone());
                if known.replicas < count {
                    *known = share;
                }
            }
        }
    }
    out
}

/// The apps of the catalog that a selection means.
pub fn apps(catalog: &Catalog, selection: &AppSelection) -> BTreeSet<AppKey> {
    let selected = |(app, _): &(&crate::catalog::Effective, _)| selection.selects(&app.object);
    let key = |(app, _): (&crate::catalog::Effective, _)| catalog.key(&app.object.id.name);
    match &selection.names {
        Some(names) => {
            names.iter().filter_map(|name| catalog.app(name)).filter(selected).filter_map(key).collect()
        }
        None => catalog.apps().filter(selected).filter_map(key).collect(),
    }
}
