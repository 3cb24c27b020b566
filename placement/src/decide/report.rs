//! Report: a whole decision in words: who was chosen, by which rank and score, and why everybody else was not.
//!
//! In: an engine that has settled, and what was decided before. Out: [`DecisionReport`]s, which read back as what is
//! remembered of a decision. Never: is stored; reasons are cheap to find again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::engine::{Buffers, situation, stand};
use super::passed_over;
use super::pick::{Chosen, Situation, choose};
use super::rule::Rule;
use super::{
    Cause, Check, Engine, Judgement, Memory, Moment, Numbers, Outcome, Part, Place, Reason, Settled, Shares,
    StandIn, judge,
};
use crate::catalog::Replicas;
use crate::fleet::Resources;
use crate::{AppKey, ClusterName};

/// What a placement decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionReport {
    /// The placement.
    pub placement: Arc<str>,
    /// The apps that it selects.
    pub apps: Vec<AppKey>,
    /// The numbers under which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
    /// How replicas are divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Replicas>,
    /// Those that it chose, best first.
    pub chosen: Vec<ChosenReport>,
    /// All others, by name.
    pub rejected: Vec<RejectedReport>,
}

/// A cluster that was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChosenReport {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its rank among all that could be chosen, from 1; absent where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Its score.
    #[serde(default)]
    pub score: u64,
    /// What the score is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// For whom it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in: Option<StandIn>,
    /// Its share of the replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// Why it was chosen, and what there is to say against it that moves nothing.
    #[serde(default)]
    pub reasons: Vec<Reason>,
}

/// A cluster that was not chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedReport {
    /// The cluster.
    pub cluster: ClusterName,
    /// Why not: everything that keeps it out.
    pub reasons: Vec<Reason>,
}

impl DecisionReport {
    /// What is remembered of it.
    pub fn settled(&self) -> Settled {
        let place =
            |chosen: &ChosenReport| (chosen.cluster.clone(), Place { stands_in: chosen.stands_in.clone() });
        let share = |chosen: &ChosenReport| {
            let own = chosen.stands_in.is_none();
            chosen.replicas.filter(|_| own).map(|share| (chosen.cluster.clone(), share))
        };
        let by = || self.chosen.iter().filter_map(share).collect();
        Settled {
            numbers: self.numbers.clone(),
            chosen: self.chosen.iter().map(place).collect(),
            shares: self.replicas.clone().map(|of| Shares { of, by: by() }),
        }
    }
}

/// What a placement says of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it chose it.
    pub chosen: bool,
    /// Every predicate, those that hold too.
    pub checks: Vec<Check>,
    /// Why it was chosen, or was not.
    pub reasons: Vec<Reason>,
    /// Its rank, and its score with its parts, where it was ranked.
    pub rank: Option<(usize, u64, Vec<Part>)>,
}

impl Engine {
    /// Tells what every placement decided. `before` is what had been decided before: who is in it was kept.
    pub fn reports(&self, moment: Moment<'_>, before: &Memory) -> Vec<DecisionReport> {
        self.rules().map(|rule| self.report(rule, moment, before)).collect()
    }

    /// Tells what one placement says of one cluster; `None` where there is no such placement or cluster.
    pub fn explain(
        &self,
        placement: &str,
        cluster: &ClusterName,
        moment: Moment<'_>,
        before: &Memory,
    ) -> Option<Explanation> {
        self.explain_each(placement, [cluster], moment, before).remove(cluster)
    }

    /// Tells what one placement says of several clusters, of those that there are: the decision is made once for all of them.
    pub fn explain_each<'c>(
        &self,
        placement: &str,
        clusters: impl IntoIterator<Item = &'c ClusterName>,
        moment: Moment<'_>,
        before: &Memory,
    ) -> BTreeMap<ClusterName, Explanation> {
        let Some(rule) = self.rules().find(|rule| &*rule.name == placement) else { return BTreeMap::new() };
        let mut taken = BTreeMap::new();
        let told = Told::new(self, rule, moment, before, &mut taken);
        let of = |cluster: &ClusterName| Some((cluster.clone(), told.of(cluster)?));
        clusters.into_iter().filter_map(of).collect()
    }

    fn report(&self, rule: &Rule, moment: Moment<'_>, before: &Memory) -> DecisionReport {
        let mut taken = BTreeMap::new();
        let told = Told::new(self, rule, moment, before, &mut taken);
        let settled = rule.settled(self.index());
        let (mut chosen, mut rejected) = (Vec::new(), Vec::new());
        let clusters: BTreeSet<&ClusterName> =
            self.index().clusters().map(|(_, cluster, _)| cluster).collect();
        for cluster in clusters {
            let Some(explanation) = told.of(cluster) else { continue };
            let Explanation { reasons, rank, .. } = explanation;
            if !explanation.chosen {
                rejected.push(RejectedReport { cluster: cluster.clone(), reasons });
                continue;
            }
            let place = settled.chosen.get(cluster);
            let (rank, score, parts) = rank.map_or((None, 0, Vec::new()), |(r, s, p)| (Some(r), s, p));
            chosen.push(ChosenReport {
                cluster: cluster.clone(),
                rank,
                score,
                parts,
                stands_in: place.and_then(|place| place.stands_in.clone()),
                replicas: settled.replicas(cluster),
                reasons,
            });
        }
        chosen.sort_by_key(|chosen| chosen.rank.unwrap_or(usize::MAX));
        DecisionReport {
            placement: rule.name.clone(),
            apps: rule.apps.iter().cloned().collect(),
            numbers: settled.numbers,
            replicas: settled.shares.map(|shares| shares.of),
            chosen,
            rejected,
        }
    }
}

/// A decision, made once more to be told.
struct Told<'a> {
    engine: &'a Engine,
    rule: &'a Rule,
    moment: Moment<'a>,
    before: Option<&'a Settled>,
    pool: Option<(Situation<'a>, Chosen)>,
}

impl<'a> Told<'a> {
    fn new(
        engine: &'a Engine,
        rule: &'a Rule,
        moment: Moment<'a>,
        before: &'a Memory,
        taken: &'a mut BTreeMap<ClusterName, Resources>,
    ) -> Self {
        let mut buffers = Buffers::default();
        let before = before.get(&rule.name);
        let pool = rule.pick.is_some().then(|| {
            stand(engine.index(), rule, moment.now_ms, &mut buffers);
            let Buffers { kept, open, .. } = &buffers;
            let mut situation = situation(engine.index(), engine.load(), rule, kept, open, moment, taken)?;
            let chosen = choose(&mut situation);
            let was = |name: &ClusterName| before.is_some_and(|before| before.chosen.contains_key(name));
            let chosen = passed_over::explain(&mut situation, chosen, &was);
            Some((situation, chosen))
        });
        Self { engine, rule, moment, before, pool: pool.flatten() }
    }

    fn of(&self, cluster: &ClusterName) -> Option<Explanation> {
        let index = self.engine.index();
        let id = index.id(cluster)?;
        let candidate = index.candidate(id)?;
        let is = self.rule.chosen.has(id);
        let was = self.before.is_some_and(|before| before.chosen.contains_key(cluster));
        let judgement = judge(&self.rule.placement, cluster, candidate, is, self.moment.now_ms);
        let member = self.pool.as_ref().and_then(|(situation, chosen)| {
            let at = situation.members.binary_search_by(|member| member.name.cmp(cluster)).ok()?;
            Some((situation, chosen, at))
        });
        let rank = member.and_then(|(_, chosen, at)| {
            let (rank, score) = chosen.rank(at)?;
            Some((rank, score.total, score.parts.clone()))
        });
        let mut reasons = match (is, member) {
            (_, Some((situation, chosen, at))) => vec![told(chosen.reason(situation, at), was)],
            (true, None) if was && !self.would_match(&judgement) => vec![Reason::Stays],
            (true, None) => vec![Reason::Matches],
            (false, None) => Vec::new(),
        };
        let breaks = judgement.checks.iter().any(|check| check.outcome == Outcome::Breaks);
        if let Some(left) = self.left(cluster).filter(|_| !is && !breaks) {
            reasons.insert(0, left);
        }
        let drained = reasons.iter().any(|reason| {
            matches!(
                reason,
                Reason::Leaves { cause: Cause::Drained, .. } | Reason::NoStandIn { cause: Cause::Drained }
            )
        });
        let more = if is { judgement.notes() } else { judgement.reasons() };
        reasons.extend(more.into_iter().filter(|reason| !(drained && *reason == Reason::Draining)));
        Some(Explanation { chosen: is, checks: judgement.checks, reasons, rank })
    }

    /// What this step did to a cluster that was chosen before.
    fn left(&self, cluster: &ClusterName) -> Option<Reason> {
        let before = self.before?;
        let stood_in = before.chosen.get(cluster)?.stands_in.as_ref();
        if let Some(stand_in) = stood_in {
            return Some(Reason::NoLongerNeeded { cluster: stand_in.cluster.clone() });
        }
        let replaced = |(other, place): &(&ClusterName, &Place)| {
            place.stands_in.as_ref().is_some_and(|stand_in| stand_in.cluster == *cluster)
                && self.rule.settled.chosen.contains_key(*other)
        };
        let (by, _) = before.chosen.iter().find(replaced)?;
        Some(Reason::Replaced { by: by.clone() })
    }

    fn would_match(&self, judgement: &Judgement) -> bool {
        judgement.checks.iter().all(|check| check.outcome == Outcome::Holds)
    }
}

/// A decision that is told again has kept everything; what is new in it was picked.
fn told(reason: Reason, was: bool) -> Reason {
    match reason {
        Reason::Kept { rank, of, group } if !was => Reason::Picked { rank, of, group },
        Reason::Picked { rank, of, group } if was => Reason::Kept { rank, of, group },
        other => other,
    }
}
