//! Pick: how a placement chooses some of the clusters that match, keeps what it chose, and lets others stand in.
//!
//! In: the clusters that are kept and those that may be chosen, what was settled before, the time. Out: what is settled now.
//! Never: moves a cluster for a better one; depends on an order of arrival.
//!
//! In each group (all clusters, or those that share `pick.per`): stand-ins whose time has come are resolved; places beyond
//! the count go, if it was the rule that changed; open places are filled; clusters that are drained or silent get a stand-in.
//! With fewer places than `min` the group stays what it was.

use std::collections::{BTreeMap, BTreeSet};

use super::lanes::Lanes;
use super::score::{Score, Scored, scores};
use super::{Cause, Group, Moment, Numbers, Place, Reason, Settled, StandIn, lot};
use crate::catalog::{Count, Pick};
use crate::fleet::{Candidate, Contact, Effect, Fact, Resources};
use crate::select::{Tolerance, Toleration, tolerance};
use crate::{AppKey, ClusterName};

/// How a cluster comes into the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// It was chosen and may stay.
    Kept,
    /// It was chosen and may not stay.
    Broken,
    /// It may be chosen.
    Open,
}

/// A cluster of the pool.
pub(super) struct Member<'a> {
    pub name: &'a ClusterName,
    pub cluster: &'a Candidate,
    pub entry: Entry,
    /// Whether it could be chosen if it were not already.
    pub anew: bool,
    /// How many placements picked it.
    pub load: u64,
}

/// What a choice is made of.
pub(super) struct Situation<'a> {
    pub placement: &'a str,
    pub pick: &'a Pick,
    pub tolerations: &'a [Toleration],
    pub apps: &'a BTreeSet<AppKey>,
    /// By name.
    pub members: Vec<Member<'a>>,
    pub previous: &'a Settled,
    pub moment: Moment<'a>,
    /// Silent members of the fleet, and all that were ever heard.
    pub silent: (usize, usize),
    /// What decisions of this step took of what is free.
    pub taken: &'a mut BTreeMap<ClusterName, Resources>,
}

/// What was chosen.
pub(super) struct Chosen {
    /// By member.
    pub states: Vec<State>,
    scores: Vec<Score>,
    /// By member, its rank from 0; those that may not stay have none.
    pub order: Vec<Option<usize>>,
    /// How many have a rank.
    ranked: usize,
    /// Something would be different with other clusters or at another time.
    pub open: bool,
    /// When the time changes something.
    pub due_ms: Option<u64>,
    pub reasons: BTreeMap<usize, Reason>,
    /// By member, where it stands in its group; only of a choice that is told, and only with `per`.
    pub positions: BTreeMap<usize, Position>,
    below_min: bool,
}

/// Where a cluster stands among those that it competes with.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// From 1.
    pub rank: usize,
    /// How many there are.
    pub of: usize,
    /// What they have in common, with `per`.
    pub group: Option<Group>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub chosen: bool,
    pub stands_in: Option<(usize, Cause)>,
}

/// Chooses.
pub(super) fn choose(situation: &mut Situation<'_>) -> Chosen {
    Choosing::new(situation).run()
}

impl Chosen {
    /// What is settled now.
    pub fn settled(&self, situation: &Situation<'_>) -> Settled {
        let members = &situation.members;
        let place = |(state, member): (&State, &Member<'_>)| {
            let stands_in =
                state.stands_in.map(|(other, cause)| StandIn { cluster: members[other].name.clone(), cause });
            state.chosen.then(|| (member.name.clone(), Place { stands_in }))
        };
        // What stands as it was stands under the old numbers; of several groups, others may have changed.
        let stands = self.below_min && situation.pick.per.is_none();
        let numbers = match stands && situation.previous.numbers.is_some() {
            true => situation.previous.numbers.clone(),
            false => Some(Numbers::of(situation.pick)),
        };
        let chosen = self.states.iter().zip(members).filter_map(place).collect();
        Settled { numbers, chosen, shares: None }
    }

    /// Score and rank of a cluster of the pool.
    pub fn rank(&self, member: usize) -> Option<(usize, &Score)> {
        Some((self.order[member]? + 1, &self.scores[member]))
    }

    /// Where a cluster stands: in its group, where there are groups and this is told.
    pub fn position(&self, member: usize) -> Position {
        let overall =
            || Position { rank: self.order[member].map_or(0, |rank| rank + 1), of: self.ranked, group: None };
        self.positions.get(&member).cloned().unwrap_or_else(overall)
    }

    /// Why a cluster of the pool was chosen, or was not.
    pub fn reason(&self, situation: &Situation<'_>, member: usize) -> Reason {
        if let Some(reason) = self.reasons.get(&member) {
            return reason.clone();
        }
        let Position { rank, of, group } = self.position(member);
        match (&self.states[member], situation.members[member].entry) {
            (State { chosen: true, stands_in: Some((other, cause)) }, _) => {
                Reason::StandsIn { cluster: situation.members[*other].name.clone(), cause: *cause }
            }
            (State { chosen: true, .. }, Entry::Open) => Reason::Picked { rank, of, group },
            (State { chosen: true, .. }, _) => Reason::Kept { rank, of, group },
            (State { chosen: false, .. }, _) => {
                Reason::Outranked { rank, of, count: situation.pick.count, group, needs: None }
            }
        }
    }

    /// The sum of a cluster's score.
    pub fn total(&self, member: usize) -> u64 {
        self.scores[member].total
    }
}

/// A choice that is being made.
pub(super) struct Choosing<'s, 'a> {
    pub at: &'s mut Situation<'a>,
    pub chosen: Chosen,
}

impl<'s, 'a> Choosing<'s, 'a> {
    fn new(at: &'s mut Situation<'a>) -> Self {
        let kept = |member: &Member<'_>| State { chosen: member.entry == Entry::Kept, stands_in: None };
        let chosen = Chosen {
            states: at.members.iter().map(kept).collect(),
            scores: Vec::new(),
            order: vec![None; at.members.len()],
            ranked: 0,
            open: false,
            due_ms: None,
            reasons: BTreeMap::new(),
            positions: BTreeMap::new(),
            below_min: false,
        };
        Self { at, chosen }
    }

    fn run(mut self) -> Chosen {
        self.rank();
        for (value, members) in self.groups() {
            match value {
                None => self.in_no_group(&members),
                Some(_) => self.group(&members),
            }
        }
        self.chosen
    }

    fn rank(&mut self) {
        let (pick, members) = (self.at.pick, &self.at.members);
        let ranked: Vec<usize> =
            (0..members.len()).filter(|member| members[*member].entry != Entry::Broken).collect();
        // Who has to leave is no measure for those that stay: the next evaluation does not see it.
        let scored = ranked.iter().map(|member| &members[*member]).map(|m| Scored {
            name: m.name,
            cluster: m.cluster,
            load: m.load,
            taken: self.at.taken.get(m.name),
        });
        let scores = scores(&pick.prefer, &scored.collect::<Vec<_>>());
        self.chosen.scores = vec![Score::default(); members.len()];
        ranked.iter().zip(scores).for_each(|(member, score)| self.chosen.scores[*member] = score);
        let key = |member: &usize| {
            let Member { name, cluster, .. } = &members[*member];
            let score = self.chosen.scores[*member].total;
            (self.avoided(cluster), std::cmp::Reverse(score), lot(self.at.placement, name), *name)
        };
        let mut ranking = ranked;
        ranking.sort_by_cached_key(key);
        self.chosen.ranked = ranking.len();
        ranking.iter().enumerate().for_each(|(rank, member)| self.chosen.order[*member] = Some(rank));
    }

    /// How many taints say that others are preferred.
    fn avoided(&self, cluster: &Candidate) -> usize {
        let now_ms = self.at.moment.now_ms;
        let avoids = |(taint, since): &(&crate::fleet::Taint, &Option<u64>)| {
            taint.effect == Effect::PreferNoSchedule
                && tolerance(self.at.tolerations, taint, **since, now_ms) == Tolerance::None
        };
        cluster.taints.iter().filter(avoids).count()
    }

    /// The members by their value of `per`, in order; without `per` all are one group.
    pub fn groups(&self) -> BTreeMap<Option<String>, Vec<usize>> {
        let mut groups: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
        for (at, member) in self.at.members.iter().enumerate() {
            let value = match &self.at.pick.per {
                None => Some(String::new()),
                Some(per) => per.text(member.cluster).present().cloned(),
            };
            groups.entry(value).or_default().push(at);
        }
        groups
    }

    /// A cluster whose group is not known is not chosen; one that was stays.
    fn in_no_group(&mut self, members: &[usize]) {
        let Some(per) = self.at.pick.per.clone() else { return };
        for &member in members {
            let unknown = per.text(self.at.members[member].cluster) == Fact::Unknown;
            let was = self.at.members[member].entry == Entry::Kept;
            self.chosen.states[member].chosen =
                was && (unknown || self.at.members[member].cluster.maintained);
            self.chosen.open |= unknown;
            if !self.chosen.states[member].chosen {
                self.chosen.reasons.insert(member, Reason::InNoGroup { per: per.clone() });
            }
        }
    }

    fn group(&mut self, members: &[usize]) {
        self.resolve_stand_ins(members);
        let candidates = self.places(members).count() + self.open(members).count();
        let places = self.places(members).count();
        let changed = self.at.previous.numbers.as_ref().is_some_and(|n| *n != Numbers::of(self.at.pick));
        let target = match self.at.pick.count {
            None => usize::MAX,
            Some(count @ Count::Clusters(_)) => count.of(candidates),
            Some(count @ Count::Share(_)) if changed => count.of(candidates),
            Some(count @ Count::Share(_)) => count.of(candidates).max(places),
        };
        if changed {
            self.trim(members, target);
        }
        let mut lanes = Lanes::new(self, members);
        let mut found = self.places(members).count();
        while found < target {
            let Some(member) = lanes.next(self, false) else { break };
            self.take(member, &mut lanes);
            found += 1;
        }
        let all = target == usize::MAX && self.open(members).next().is_none();
        self.chosen.open |= found < target && !all;
        if found < self.at.pick.min as usize {
            return self.stay(members, found);
        }
        self.stand_in(members, &mut lanes);
        self.explain_rest(members, &lanes, found < target);
        self.take_resources(members);
    }

    /// Chosen clusters, without those that stand in for another.
    pub fn places<'m>(&'m self, members: &'m [usize]) -> impl Iterator<Item = usize> {
        let place = |member: &usize| {
            let state = &self.chosen.states[*member];
            state.chosen && state.stands_in.is_none()
        };
        members.iter().copied().filter(place)
    }

    /// Clusters that may be chosen and are not.
    pub fn open<'m>(&'m self, members: &'m [usize]) -> impl Iterator<Item = usize> {
        let open = |member: &usize| {
            self.at.members[*member].entry == Entry::Open && !self.chosen.states[*member].chosen
        };
        members.iter().copied().filter(open)
    }

    /// The rule wants fewer than before: those go first that are to be left anyway, then those that come last, but for those
    /// that the spread needs.
    fn trim(&mut self, members: &[usize], target: usize) {
        let mut places: Vec<usize> = self.places(members).collect();
        places.sort_by_key(|member| (self.cause(*member).is_some(), self.chosen.order[*member]));
        if places.len() > target && !self.at.pick.spread.is_empty() {
            let stays = |member: &&usize| self.cause(**member).is_none();
            let may_stay: Vec<usize> = places.iter().filter(stays).copied().collect();
            let mut lanes = Lanes::among(self, members, &may_stay);
            let mut first: Vec<usize> = Vec::new();
            while first.len() < target
                && let Some(member) = lanes.next(self, false)
            {
                lanes.count(member, true);
                first.push(member);
            }
            places.retain(|member| !first.contains(member));
            places.splice(0..0, first);
        }
        for member in places.into_iter().skip(target) {
            if self.at.members[member].cluster.maintained {
                continue;
            }
            self.leave(member);
            let stands_in = |state: &State| state.stands_in.is_some_and(|(other, _)| other == member);
            if let Some(stand_in) = self.chosen.states.iter().position(stands_in) {
                self.leave(stand_in);
            }
        }
    }

    /// A cluster goes. From now on it may be chosen as any other may, so that the next step has nothing to add.
    pub fn leave(&mut self, member: usize) {
        self.chosen.states[member] = State::default();
        if self.at.members[member].anew {
            self.at.members[member].entry = Entry::Open;
        }
    }

    /// Chooses a cluster.
    pub fn take(&mut self, member: usize, lanes: &mut Lanes<'a>) {
        self.chosen.states[member].chosen = true;
        lanes.count(member, true);
    }

    /// Takes what is wanted of what is free on the clusters that were chosen now.
    fn take_resources(&mut self, members: &[usize]) {
        for &member in members {
            let Member { name, entry, .. } = self.at.members[member];
            let new = entry == Entry::Open && !self.at.previous.chosen.contains_key(name);
            if new && self.chosen.states[member].chosen && !self.at.pick.fits.is_empty() {
                let taken = self.at.taken.entry(name.clone()).or_default();
                self.at.pick.fits.iter().for_each(|(resource, amount)| taken.add(resource, *amount));
            }
        }
    }

    /// Fewer than `min`: the group stays what it was.
    fn stay(&mut self, members: &[usize], found: usize) {
        self.chosen.below_min = true;
        let reason = Reason::BelowMin { found, min: self.at.pick.min };
        for &member in members {
            let was = self.at.previous.chosen.get(self.at.members[member].name);
            let stands_in = was.and_then(|place| place.stands_in.as_ref()).and_then(|stand_in| {
                let other =
                    members.iter().copied().find(|m| *self.at.members[*m].name == stand_in.cluster)?;
                Some((other, stand_in.cause))
            });
            self.chosen.states[member] = State { chosen: was.is_some(), stands_in };
            self.chosen.reasons.insert(member, reason.clone());
        }
    }

    /// Why those that could have been chosen were not.
    fn explain_rest(&mut self, members: &[usize], lanes: &Lanes<'a>, unfilled: bool) {
        let rest: Vec<usize> = self.open(members).collect();
        for member in rest {
            let why = self.why_not(member).or_else(|| if unfilled { lanes.refusal(member) } else { None });
            self.chosen.reasons.extend(why.map(|reason| (member, reason)));
        }
    }

    /// Why a cluster that matches cannot be chosen now.
    pub fn why_not(&self, member: usize) -> Option<Reason> {
        let Member { name, cluster, .. } = self.at.members[member];
        let away = self.counts_as_away(member);
        if let (true, Contact::Silent { since_ms }) = (away, cluster.contact) {
            return Some(Reason::Silent { since_ms, limit_ms: Some(self.period_ms()) });
        }
        let taken = self.at.taken.get(name);
        self.at.pick.fits.iter().find_map(|(resource, wanted)| {
            let free = cluster.free.present().map(|free| {
                free.thousandths(resource)
                    .saturating_sub(taken.map_or(0, |taken| taken.thousandths(resource)))
            });
            let fits = free.is_some_and(|free| free >= *wanted);
            let reason = || Reason::DoesNotFit { resource: resource.clone(), wanted: *wanted, free };
            (!fits).then(reason)
        })
    }
}
