//! Plan: which clusters have their turn in which wave, and what a wave's numbers are for them.
//!
//! In: how an app moves, the clusters on which something is to change. Out: a [`Plan`].
//! Never: leaves a cluster out, or takes one twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Cause, Plan, PlannedPace, PlannedWave, RolloutId, Seen, Target, ToDo};
use crate::catalog::{Before, Count, Percent, Rollout, Then, Wave};
use crate::decide::{Outcome, outcome};
use crate::fleet::Contact;
use crate::select::Look;
use crate::{ClusterName, Digest};

/// The name of the wave of all that no other has.
pub(super) const REST: &str = "rest";

/// Clusters by name.
pub(super) type Clusters<'a> = BTreeMap<ClusterName, Seen<'a>>;

/// A plan for these clusters.
pub(super) fn plan(
    target: Target<'_>,
    clusters: &Clusters<'_>,
    meant: BTreeSet<&ClusterName>,
    cause: Cause,
    (parent, number): (Option<RolloutId>, u32),
    now_ms: u64,
) -> Plan {
    let version: Digest = target.basis.digest();
    Plan {
        id: RolloutId::new(target.app, &version, number),
        parent,
        cause,
        basis: target.basis.clone(),
        commit: target.commit.clone(),
        sources: target.sources.clone(),
        made_ms: now_ms,
        waves: waves(target.rule, clusters, meant, cause),
        deadline_ms: target.rule.failure.deadline_ms.unwrap_or(target.timeout_ms),
        // Taken back from what was taken back: somebody has to look at it.
        then: if cause == Cause::Pin { Then::Pause } else { target.rule.failure.then },
        on_new_revision: target.rule.on_new_revision,
    }
}

/// The waves that are not empty.
fn waves(
    rule: &Rollout,
    clusters: &Clusters<'_>,
    mut left: BTreeSet<&ClusterName>,
    cause: Cause,
) -> Vec<PlannedWave> {
    let all = left.len();
    let mut waves = Vec::new();
    for wave in &rule.waves {
        let members = members(wave, clusters, &left, all);
        left.retain(|cluster| !members.contains(cluster));
        waves.push(planned(wave, members, rule.failure.max, cause));
    }
    let rest = Wave { name: REST.to_owned(), ..Wave::default() };
    waves.push(planned(&rest, left.into_iter().cloned().collect(), rule.failure.max, cause));
    waves.retain(|wave| !wave.members.is_empty());
    waves
}

fn planned(wave: &Wave, members: BTreeSet<ClusterName>, failures: Count, cause: Cause) -> PlannedWave {
    let size = members.len();
    let first = cause == Cause::FirstInstallation;
    // Nobody waits longer than budgets demand for what an operator takes back.
    let pinned = cause == Cause::Pin;
    PlannedWave {
        name: wave.name.clone(),
        max_unavailable: wave.max_unavailable.map_or(number(size), |max| down(max, size).max(1)),
        max_failed: down(failures, size),
        soak_ms: if first || pinned { 0 } else { wave.soak_ms },
        pace: wave
            .pace
            .filter(|_| !pinned)
            .map(|pace| PlannedPace { step: number(pace.step.of(size)).max(1), every_ms: pace.every_ms }),
        before: if pinned { Before::default() } else { wave.before.clone() },
        members: members.into_iter().collect(),
    }
}

/// Rounded down.
fn down(count: Count, of: usize) -> u32 {
    match count {
        Count::Clusters(count) => count,
        Count::Share(percent) => number(percent.floor_of(of)),
    }
}

fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

/// The clusters of a wave, of those that are left.
fn members(
    wave: &Wave,
    clusters: &Clusters<'_>,
    left: &BTreeSet<&ClusterName>,
    all: usize,
) -> BTreeSet<ClusterName> {
    let matches = |name: &ClusterName| match &wave.clusters {
        Some(selection) => {
            clusters.get(name).is_some_and(|seen| outcome(selection, name, seen.candidate) == Outcome::Holds)
        }
        None => true,
    };
    let pool: Vec<&ClusterName> = left.iter().copied().filter(|name| matches(name)).collect();
    let had = all - left.len();
    let cumulative = |share: Percent| share.ceil_of(all).saturating_sub(had);
    let count = wave.count.map(|count| count as usize).or(wave.share.map(cumulative));
    match count {
        Some(count) if count < pool.len() => chosen(wave, clusters, pool, count),
        _ => pool.into_iter().cloned().collect(),
    }
}

/// So many of a pool: those first that can begin now, by name, evenly over what the wave is spread over.
fn chosen(
    wave: &Wave,
    clusters: &Clusters<'_>,
    pool: Vec<&ClusterName>,
    count: usize,
) -> BTreeSet<ClusterName> {
    let seen = |name: &ClusterName| clusters.get(name).map(|seen| seen.candidate);
    // Whoever cannot begin now would keep all others waiting; a removal says nothing of a version, and may be held.
    let is_late = |name: &ClusterName| {
        let can = |seen: &Seen<'_>| {
            let is_here = seen.candidate.contact == Contact::Connected && seen.obstacle.is_none();
            is_here && seen.may_start && seen.to_do != ToDo::Remove
        };
        !clusters.get(name).is_some_and(can)
    };
    let domain = |look: &Look, name: &ClusterName| {
        seen(name).and_then(|c| look.text(c).present().map(ToString::to_string))
    };
    // By the values that it is spread over; in each, in order.
    let mut groups: BTreeMap<Vec<Option<String>>, VecDeque<(bool, &ClusterName)>> = BTreeMap::new();
    let mut pool: Vec<_> = pool.into_iter().map(|name| (is_late(name), name)).collect();
    pool.sort();
    for (late, name) in pool {
        let of = wave.spread.iter().map(|look| domain(look, name)).collect();
        groups.entry(of).or_default().push_back((late, name));
    }
    let mut had: Vec<BTreeMap<Option<String>, usize>> = vec![BTreeMap::new(); wave.spread.len()];
    let mut chosen = BTreeSet::new();
    while chosen.len() < count {
        let crowd = |of: &[Option<String>]| -> Vec<usize> {
            of.iter().zip(&had).map(|(value, had)| had.get(value).copied().unwrap_or(0)).collect()
        };
        let next = groups.iter().filter_map(|(of, names)| {
            let (late, name) = *names.front()?;
            Some((late, crowd(of), name, of.clone()))
        });
        let Some((_, _, name, of)) = next.min() else { break };
        for (value, had) in of.iter().zip(&mut had) {
            *had.entry(value.clone()).or_default() += 1;
        }
        groups.entry(of).or_default().pop_front();
        chosen.insert(name.clone());
    }
    chosen
}
