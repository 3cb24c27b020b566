//! Judge: what a placement says of one cluster by itself, before it chooses among several.
//!
//! In: a placement, a cluster, whether it was chosen before, the time. Out: every predicate with the value that it saw.
//! Never: looks at another cluster. This is the definition that the index has to agree with.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::Reason;
use crate::ClusterName;
use crate::catalog::{ClusterSelection, Placement};
use crate::fleet::{Candidate, Contact, Effect};
use crate::select::{Tolerance, Truth, tolerance};

/// What came of a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It cannot be told: the answer stays what it was.
    Unknown,
    /// The cluster cannot be chosen; where it was, it stays.
    Bars,
    /// The cluster can neither be chosen nor stay.
    Breaks,
}

/// One predicate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// What is asked, e.g. `clusters.selector: env=prod`.
    pub predicate: String,
    /// What was seen, where it is a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saw: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
    /// Why it does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

/// What a placement says of a cluster by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It was chosen, and nothing says that it has to leave.
    Kept,
    /// It may be chosen.
    Open,
    /// Neither.
    Out,
}

/// A cluster, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Every predicate, in the order of the fields.
    pub checks: Vec<Check>,
    /// What follows.
    pub standing: Standing,
}

impl Judgement {
    /// Why predicates do not hold.
    pub fn reasons(&self) -> Vec<Reason> {
        let failed = self.checks.iter().filter(|check| check.outcome != Outcome::Holds);
        failed.filter_map(|check| check.reason.clone()).collect()
    }

    /// What there is to say of predicates, also of those that hold.
    pub fn notes(&self) -> Vec<Reason> {
        self.checks.iter().filter_map(|check| check.reason.clone()).collect()
    }
}

/// Judges a cluster that was, or was not, chosen before.
pub fn judge(
    placement: &Placement,
    name: &ClusterName,
    cluster: &Candidate,
    was: bool,
    now_ms: u64,
) -> Judgement {
    let mut checks = terms(&placement.clusters, name, cluster);
    checks.extend(granted(placement, cluster));
    checks.extend(taints(placement, cluster, now_ms));
    checks.extend(states(cluster));
    let worst = checks.iter().map(|check| check.outcome).max().unwrap_or(Outcome::Holds);
    let standing = match worst {
        // Nothing changes under maintenance, whatever breaks.
        _ if was && (worst != Outcome::Breaks || cluster.maintained) => Standing::Kept,
        Outcome::Holds => Standing::Open,
        _ => Standing::Out,
    };
    Judgement { checks, standing }
}

fn check(predicate: impl Into<String>, saw: Option<String>, broken: Option<(Outcome, Reason)>) -> Check {
    let (outcome, reason) = match broken {
        Some((outcome, reason)) => (outcome, Some(reason)),
        None => (Outcome::Holds, None),
    };
    Check { predicate: predicate.into(), saw, outcome, reason }
}

/// The worst that [`terms`] says of a cluster, without the words.
pub fn outcome(selection: &ClusterSelection, name: &ClusterName, cluster: &Candidate) -> Outcome {
    let among =
        |names: &Option<BTreeSet<ClusterName>>| names.as_ref().is_none_or(|names| names.contains(name));
    let in_set = |sets: &BTreeSet<String>| cluster.set.as_ref().is_some_and(|set| sets.contains(set));
    let meets = !selection.exclude.contains(name)
        && among(&selection.names)
        && selection.sets.as_ref().is_none_or(in_set)
        && selection.selector.as_ref().is_none_or(|selector| selector.matches(&cluster.labels));
    if !meets {
        return Outcome::Breaks;
    }
    match selection.condition.as_ref().map(|condition| condition.judge(name, cluster)) {
        None | Some(Truth::Holds) => Outcome::Holds,
        Some(Truth::Fails { .. }) => Outcome::Breaks,
        Some(Truth::Unknown { .. } | Truth::Undecided { .. }) => Outcome::Unknown,
    }
}

/// What the terms of a selection say of a cluster: these alone choose for an override.
pub fn terms(selection: &ClusterSelection, name: &ClusterName, cluster: &Candidate) -> Vec<Check> {
    let breaks = |holds: bool, reason: Reason| (!holds).then_some((Outcome::Breaks, reason));
    let mut checks = Vec::new();
    if !selection.exclude.is_empty() {
        let broken = breaks(!selection.exclude.contains(name), Reason::Excluded);
        checks.push(check("clusters.exclude", None, broken));
    }
    if let Some(names) = &selection.names {
        checks.push(check("clusters.names", None, breaks(names.contains(name), Reason::NotNamed)));
    }
    if let Some(sets) = &selection.sets {
        let holds = cluster.set.as_ref().is_some_and(|set| sets.contains(set));
        let reason = Reason::SetDiffers { set: cluster.set.clone(), wanted: sets.clone() };
        checks.push(check("clusters.sets", cluster.set.clone(), breaks(holds, reason)));
    }
    for requirement in selection.selector.iter().flat_map(|selector| &selector.0) {
        let value = cluster.labels.get(&requirement.key).cloned();
        let reason = Reason::LabelDiffers { requirement: requirement.to_string(), value: value.clone() };
        let broken = breaks(requirement.holds(&cluster.labels), reason);
        checks.push(check(format!("clusters.selector: {requirement}"), value, broken));
    }
    if let Some(condition) = &selection.condition {
        let expression = condition.to_string();
        let predicate = format!("clusters.where: {expression}");
        let saw = condition.seen(name, cluster);
        let broken = match condition.judge(name, cluster) {
            Truth::Holds => None,
            Truth::Fails { absent } => {
                let saw = saw.clone();
                Some((Outcome::Breaks, Reason::ConditionFails { expression, absent, saw }))
            }
            Truth::Unknown { fact } => Some((Outcome::Unknown, Reason::FactUnknown { expression, fact })),
            Truth::Undecided { error } => {
                Some((Outcome::Unknown, Reason::ConditionUndecided { expression, error }))
            }
        };
        checks.push(check(predicate, Some(saw), broken));
    }
    checks
}

/// Whether a tenant's placement may place anything there. What runs where that was withdrawn stays.
fn granted(placement: &Placement, cluster: &Candidate) -> Option<Check> {
    let grants = placement.grants.as_ref()?;
    let set = cluster.set.clone();
    let is_granted = set.as_ref().is_some_and(|set| grants.sets.contains(set));
    let reason = Reason::NotGranted { catalog: grants.catalog.clone(), set: set.clone() };
    let broken = (!is_granted).then_some((Outcome::Bars, reason));
    Some(check(format!("grants of Catalog/{}", grants.catalog), set, broken))
}

fn taints(placement: &Placement, cluster: &Candidate, now_ms: u64) -> Vec<Check> {
    let judged = |(taint, since): (&crate::fleet::Taint, &Option<u64>)| {
        let tolerated = tolerance(&placement.tolerations, taint, *since, now_ms);
        let reason = || Reason::NotTolerated { taint: taint.clone() };
        let mut checked = check(format!("taint {taint}"), None, None);
        (checked.outcome, checked.reason) = match (tolerated, taint.effect) {
            (Tolerance::Always, _) => (Outcome::Holds, None),
            (Tolerance::Until(until_ms), _) => {
                (Outcome::Holds, Some(Reason::ToleratedUntil { taint: taint.clone(), until_ms }))
            }
            (Tolerance::None, Effect::NoExecute) => (Outcome::Breaks, Some(reason())),
            (Tolerance::None, Effect::NoSchedule) => (Outcome::Bars, Some(reason())),
            (Tolerance::None, Effect::PreferNoSchedule) => (Outcome::Holds, Some(reason())),
        };
        checked
    };
    cluster.taints.iter().map(judged).collect()
}

fn states(cluster: &Candidate) -> Vec<Check> {
    let rows = [
        // Who is drained is cordoned too.
        (cluster.cordoned && !cluster.draining, "cordoned", Reason::Cordoned),
        (cluster.draining, "drained", Reason::Draining),
        (cluster.maintained, "under maintenance", Reason::Maintained),
        (cluster.contact == Contact::Never, "never connected", Reason::NeverConnected),
    ];
    let set = rows.into_iter().filter(|(is, _, _)| *is);
    set.map(|(_, predicate, reason)| check(predicate, None, Some((Outcome::Bars, reason)))).collect()
}
