//! Decisions, judged by what they may and may not do, without the code that makes them.
//!
//! In: a placement, the fleet, what was settled before and what is settled now. Out: every rule that the step breaks.
//! Never: chooses; looks at an index, a rank or a score.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Count, Placement};
use crate::decide::{Cause, Moment, Settled};
use crate::fleet::{Candidate, Contact, Effect, Fact, Fleet};
use crate::select::{Operator, Truth};
use crate::{AppKey, ClusterName};

/// A step of one placement.
#[derive(Clone, Copy)]
pub struct DecisionStep<'a> {
    /// Its rule.
    pub placement: &'a Placement,
    /// Its apps.
    pub apps: &'a BTreeSet<AppKey>,
    /// The clusters that there are.
    pub fleet: &'a Fleet,
    /// What it had settled.
    pub previous: &'a Settled,
    /// What it settled now.
    pub next: &'a Settled,
    /// When.
    pub moment: Moment<'a>,
}

/// A rule that a decision breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum DecisionViolation {
    #[error("{0} is chosen and is no member")]
    Stranger(ClusterName),
    #[error("{0} was chosen though {1}")]
    Added(ClusterName, &'static str),
    #[error("{0} was left, and nothing moves it")]
    Moved(ClusterName),
    #[error("{0} was kept though a term or a taint says that it has to leave")]
    NotLeft(ClusterName),
    #[error("{found} were chosen where {count} are wanted")]
    TooMany { found: usize, count: usize },
    #[error("{found} are chosen where {count} are wanted, and {open} could be")]
    TooFew { found: usize, count: usize, open: ClusterName },
    #[error("with {found} chosen, fewer than min {min}, the previous decision does not stand")]
    BelowMin { found: usize, min: u32 },
    #[error("{value} has {chosen} of the chosen, the fewest are {fewest}")]
    Skewed { value: String, chosen: usize, fewest: usize },
    #[error("{0} stands in for a cluster that is not to be left")]
    StandsInForNothing(ClusterName),
    #[error("replicas sum up to {sum}, {total} are wanted")]
    Replicas { sum: u64, total: u32 },
    #[error("replicas are divided over other clusters than those that are chosen")]
    ReplicasElsewhere,
}

/// Checks a step. No violations: it may be committed.
pub fn decision(step: &DecisionStep<'_>) -> Vec<DecisionViolation> {
    let mut found = Vec::new();
    for name in step.next.chosen.keys() {
        if !step.fleet.contains_key(name) {
            found.push(DecisionViolation::Stranger(name.clone()));
        }
    }
    for (_, members) in step.groups() {
        let group = Group { step, members };
        if group.stands() {
            continue;
        }
        group.added(&mut found);
        group.left(&mut found);
        group.numbers(&mut found);
        group.spread(&mut found);
    }
    step.replicas(&mut found);
    found
}

impl<'a> DecisionStep<'a> {
    fn groups(&self) -> BTreeMap<Option<String>, BTreeMap<&'a ClusterName, &'a Candidate>> {
        let mut groups: BTreeMap<Option<String>, BTreeMap<_, _>> = BTreeMap::new();
        let per = self.placement.pick.as_ref().and_then(|pick| pick.per.as_ref());
        for (name, cluster) in self.fleet {
            let value = match per.map(|per| per.text(cluster)) {
                None => Some(String::new()),
                Some(Fact::Present(value)) => Some(value),
                Some(Fact::Absent | Fact::Unknown) => None,
            };
            groups.entry(value).or_default().insert(name, cluster);
        }
        groups
    }

    /// Whether the terms hold; `None` where that cannot be told.
    fn matches(&self, name: &ClusterName, cluster: &Candidate) -> Option<bool> {
        let terms = &self.placement.clusters;
        let labels = terms.selector.iter().flat_map(|selector| &selector.0).all(|requirement| {
            match (&requirement.operator, cluster.labels.get(&requirement.key)) {
                (Operator::In(values), Some(value)) => values.contains(value),
                (Operator::NotIn(values), Some(value)) => !values.contains(value),
                (Operator::Exists, value) => value.is_some(),
                (Operator::DoesNotExist, value) => value.is_none(),
                (Operator::In(_), None) => false,
                (Operator::NotIn(_), None) => true,
            }
        });
        let named = terms.names.as_ref().is_none_or(|names| names.contains(name));
        let excluded = terms.exclude.contains(name);
        let in_set = match (&terms.sets, &cluster.set) {
            (None, _) => true,
            (Some(sets), Some(set)) => sets.contains(set),
            (Some(_), None) => false,
        };
        if !labels || !named || excluded || !in_set {
            return Some(false);
        }
        match terms.condition.as_ref().map(|condition| condition.judge(name, cluster)) {
            None | Some(Truth::Holds) => Some(true),
            Some(Truth::Fails { .. }) => Some(false),
            Some(Truth::Unknown { .. } | Truth::Undecided { .. }) => None,
        }
    }

    /// Whether a taint with this effect is not tolerated, or no longer.
    fn repelled(&self, cluster: &Candidate, effect: Effect) -> bool {
        let now = self.moment.now_ms;
        cluster.taints.iter().filter(|(taint, _)| taint.effect == effect).any(|(taint, since)| {
            let first = self.placement.tolerations.iter().find(|toleration| {
                (toleration.key.is_empty() || toleration.key == taint.key)
                    && toleration.value.as_ref().is_none_or(|value| value == &taint.value)
                    && toleration.effect.is_none_or(|of| of == effect)
            });
            match (first, first.and_then(|toleration| toleration.seconds)) {
                (None, _) => true,
                (Some(_), Some(seconds)) if effect == Effect::NoExecute => {
                    seconds <= 0 || since.is_some_and(|since| now >= since + seconds.unsigned_abs() * 1_000)
                }
                (Some(_), _) => false,
            }
        })
    }

    fn has_to_leave(&self, name: &ClusterName, cluster: &Candidate) -> bool {
        let broken = self.matches(name, cluster) == Some(false) || self.repelled(cluster, Effect::NoExecute);
        broken && !cluster.maintained
    }

    fn period_ms(&self) -> u64 {
        let failover = self.placement.pick.as_ref().and_then(|pick| pick.failover);
        failover.map_or(300_000, |failover| failover.unreachable_ms)
    }

    fn is_away(&self, cluster: &Candidate) -> bool {
        let Contact::Silent { since_ms } = cluster.contact else { return false };
        self.moment.now_ms >= since_ms.max(self.moment.hub_since_ms) + self.period_ms()
    }

    fn is_healthy(&self, name: &ClusterName) -> bool {
        let connected = self.fleet.get(name).is_some_and(|cluster| cluster.contact == Contact::Connected);
        connected && self.apps.iter().all(|app| (self.moment.healthy)(name, app))
    }

    /// Why a cluster cannot be chosen; what others took of what is free in the same step is not known here.
    fn why_not(&self, name: &ClusterName, cluster: &Candidate) -> Option<&'static str> {
        let picks = self.placement.pick.as_ref();
        let does_not_fit = || {
            picks.is_some_and(|pick| {
                pick.fits.iter().any(|(resource, wanted)| match &cluster.free {
                    Fact::Present(free) => free.thousandths(resource) < *wanted,
                    Fact::Absent | Fact::Unknown => true,
                })
            })
        };
        let silent = || picks.is_some_and(|pick| pick.count.is_some()) && self.is_away(cluster);
        let not_granted = || {
            let grants = self.placement.grants.as_ref();
            grants.is_some_and(|grants| cluster.set.as_ref().is_none_or(|set| !grants.sets.contains(set)))
        };
        let rows: [(&dyn Fn() -> bool, &'static str); 9] = [
            (&|| self.matches(name, cluster) != Some(true), "its terms do not hold"),
            (&not_granted, "it is not granted"),
            (&|| self.repelled(cluster, Effect::NoSchedule), "a taint keeps it away"),
            (&|| self.repelled(cluster, Effect::NoExecute), "a taint drives it away"),
            (&|| cluster.cordoned || cluster.draining, "it is cordoned or drained"),
            (&|| cluster.maintained, "it is under maintenance"),
            (&|| cluster.contact == Contact::Never, "it never connected"),
            (&does_not_fit, "it does not fit"),
            (&silent, "it is silent"),
        ];
        rows.iter().find(|(applies, _)| applies()).map(|(_, why)| *why)
    }

    fn replicas(&self, found: &mut Vec<DecisionViolation>) {
        let Some(replicas) = &self.placement.replicas else { return };
        let by = self.next.shares.as_ref().map(|shares| shares.by.clone()).unwrap_or_default();
        let places: BTreeSet<&ClusterName> =
            self.next.chosen.iter().filter(|(_, p)| p.stands_in.is_none()).map(|(name, _)| name).collect();
        if !by.keys().eq(places.iter().copied()) {
            found.push(DecisionViolation::ReplicasElsewhere);
        }
        let sum: u64 = by.values().map(|share| u64::from(*share)).sum();
        if !places.is_empty() && sum != u64::from(replicas.total) {
            found.push(DecisionViolation::Replicas { sum, total: replicas.total });
        }
    }
}

/// The clusters of one group.
struct Group<'s, 'a> {
    step: &'s DecisionStep<'a>,
    members: BTreeMap<&'a ClusterName, &'a Candidate>,
}

impl Group<'_, '_> {
    fn chosen<'g>(&'g self, settled: &'g Settled) -> impl Iterator<Item = &'g ClusterName> {
        settled.chosen.keys().filter(|name| self.members.contains_key(name))
    }

    fn places<'g>(&'g self, settled: &'g Settled) -> impl Iterator<Item = &'g ClusterName> {
        self.chosen(settled).filter(|name| settled.chosen[*name].stands_in.is_none())
    }

    /// Whether the previous decision stands as it was; below `min` it may, and then nothing else is asked.
    fn stands(&self) -> bool {
        let min = self.step.placement.pick.as_ref().map_or(0, |pick| pick.min);
        let same = self.chosen(self.step.previous).eq(self.chosen(self.step.next));
        let good = |name: &&ClusterName| !self.step.has_to_leave(name, self.members[*name]);
        min > 0 && same && self.places(self.step.next).filter(good).count() < min as usize
    }

    fn added(&self, found: &mut Vec<DecisionViolation>) {
        let step = self.step;
        for name in self.chosen(step.next) {
            let cluster = self.members[name];
            let place = &step.next.chosen[name];
            if let Some(stand_in) = &place.stands_in {
                let before = step.previous.chosen.get(name).and_then(|place| place.stands_in.as_ref());
                let other = step.fleet.get(&stand_in.cluster);
                let to_be_left = other.is_some_and(|other| match stand_in.cause {
                    Cause::Drained => other.draining,
                    Cause::Unreachable => step.is_away(other),
                });
                if before != Some(stand_in) && !to_be_left
                    || !step.next.chosen.contains_key(&stand_in.cluster)
                {
                    found.push(DecisionViolation::StandsInForNothing(name.clone()));
                }
            }
            if step.previous.chosen.contains_key(name) {
                if step.has_to_leave(name, cluster) {
                    found.push(DecisionViolation::NotLeft(name.clone()));
                }
            } else if let Some(why) = step.why_not(name, cluster) {
                found.push(DecisionViolation::Added(name.clone(), why));
            }
        }
    }

    /// What was left, and why that was allowed.
    fn left(&self, found: &mut Vec<DecisionViolation>) {
        let step = self.step;
        let changed = step.previous.numbers.is_some() && step.previous.numbers != step.next.numbers;
        let gone = self.chosen(step.previous).filter(|name| !step.next.chosen.contains_key(*name));
        for name in gone {
            let cluster = self.members[name];
            // First, as all that follows looks at the others: a rule that changed may let go thousands.
            if step.has_to_leave(name, cluster) {
                continue;
            }
            let stood_in = step.previous.chosen[name].stands_in.as_ref();
            // Somebody stood in for it and is healthy.
            let replaced = step.previous.chosen.iter().any(|(other, place)| {
                place.stands_in.as_ref().is_some_and(|stand_in| stand_in.cluster == *name)
                    && step.next.chosen.contains_key(other)
                    && step.is_healthy(other)
            });
            let left = cluster.draining || cluster.contact == Contact::Connected;
            let no_longer_needed = stood_in.is_some_and(|stand_in| {
                let back = step.is_healthy(&stand_in.cluster);
                let undrained = step.fleet.get(&stand_in.cluster).is_some_and(|other| !other.draining);
                if stand_in.cause == Cause::Drained { undrained } else { back }
            });
            let per = step.placement.pick.as_ref().and_then(|pick| pick.per.as_ref());
            let in_no_group = per.is_some_and(|per| per.text(cluster) == Fact::Absent);
            let allowed =
                (changed || replaced && left || no_longer_needed || in_no_group) && !cluster.maintained;
            if !allowed {
                found.push(DecisionViolation::Moved(name.clone()));
            }
        }
    }

    fn numbers(&self, found: &mut Vec<DecisionViolation>) {
        let step = self.step;
        let Some(pick) = &step.placement.pick else { return self.all(found) };
        if pick.per.is_some()
            && self.members.values().all(|c| pick.per.as_ref().is_some_and(|p| p.text(c).present().is_none()))
        {
            return;
        }
        let places = self.places(step.next).count();
        if places < pick.min as usize && !self.chosen(step.previous).eq(self.chosen(step.next)) {
            found.push(DecisionViolation::BelowMin { found: places, min: pick.min });
        }
        let kept = self.places(step.next).filter(|name| step.previous.chosen.contains_key(*name)).count();
        let open: Vec<&ClusterName> = self
            .members
            .iter()
            .filter(|(name, cluster)| {
                !step.next.chosen.contains_key(**name) && step.why_not(name, cluster).is_none()
            })
            .map(|(name, _)| *name)
            .collect();
        let count = match pick.count {
            None => usize::MAX,
            Some(Count::Clusters(count)) => count as usize,
            // Who is a candidate and does not fit is not told here, so a share has a lower bound alone; where others may have
            // taken what is free, not even that.
            Some(Count::Share(percent)) => {
                let least = percent.ceil_of(places + open.len());
                if places < least
                    && pick.fits.is_empty()
                    && pick.spread.is_empty()
                    && pick.min == 0
                    && let Some(open) = open.first()
                {
                    let open = (*open).clone();
                    found.push(DecisionViolation::TooFew { found: places, count: least, open });
                }
                return;
            }
        };
        if places > count && places > kept {
            found.push(DecisionViolation::TooMany { found: places, count });
        }
        let hard = pick.spread.iter().any(|spread| !spread.soft);
        if places < count
            && !hard
            && pick.fits.is_empty()
            && places >= pick.min as usize
            && let Some(open) = open.first()
        {
            found.push(DecisionViolation::TooFew { found: places, count, open: (*open).clone() });
        }
    }

    /// A placement that takes all that match has all that could be chosen.
    fn all(&self, found: &mut Vec<DecisionViolation>) {
        let step = self.step;
        for (name, cluster) in &self.members {
            if !step.next.chosen.contains_key(*name) && step.why_not(name, cluster).is_none() {
                let (found_now, open) = (self.chosen(step.next).count(), (*name).clone());
                found.push(DecisionViolation::TooFew { found: found_now, count: usize::MAX, open });
            }
        }
    }

    /// What was placed now did not make a value have too many.
    fn spread(&self, found: &mut Vec<DecisionViolation>) {
        let step = self.step;
        let Some(pick) = &step.placement.pick else { return };
        let stands_in = |settled: &Settled| settled.chosen.values().any(|place| place.stands_in.is_some());
        if stands_in(step.next) || stands_in(step.previous) {
            return;
        }
        for spread in pick.spread.iter().filter(|spread| !spread.soft) {
            let value = |name: &ClusterName| spread.topology.text(self.members[name]).present().cloned();
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for (name, cluster) in &self.members {
                let open = step
                    .why_not(name, cluster)
                    .is_none_or(|why| ["it does not fit", "it is silent"].contains(&why));
                let stays = step.next.chosen.contains_key(*name);
                if open || stays {
                    value(name).into_iter().for_each(|value| _ = counts.entry(value).or_default());
                }
            }
            for name in self.chosen(step.next) {
                value(name).into_iter().for_each(|value| *counts.entry(value).or_default() += 1);
            }
            let few = spread.min_domains.is_some_and(|least| counts.len() < least as usize);
            let fewest = if few { 0 } else { counts.values().copied().min().unwrap_or(0) };
            for name in self.chosen(step.next).filter(|name| !step.previous.chosen.contains_key(*name)) {
                let value = value(name).unwrap_or_default();
                let chosen = counts.get(&value).copied().unwrap_or(usize::MAX);
                if chosen > fewest + spread.max_skew as usize {
                    found.push(DecisionViolation::Skewed { value, chosen, fewest });
                }
            }
        }
    }
}
