//! Passed over: why clusters that could have been chosen were not.
//!
//! In: a choice that was made. Out: for each cluster that others came before, whether it was its rank, `pick.spread`, or those
//! that were chosen earlier, and how many would have to be chosen for it.
//! Never: changes the choice; is asked while one is made.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::lanes::Lanes;
use super::pick::{Choosing, Chosen, Position, Situation, State};
use super::{Group, Reason};
use crate::ClusterName;

/// So many are named that hold the places.
const NAMED: usize = 5;

/// How much is looked at to find how many would have to be chosen: a step looks at every lane, and there at every value.
const WORK: usize = 1_000_000;
/// So many steps are made in any case.
const STEPS: usize = 16;

/// Adds why clusters were passed over, and where each stands in its group. `was` says who was chosen before.
pub(super) fn explain(
    situation: &mut Situation<'_>,
    chosen: Chosen,
    was: &dyn Fn(&ClusterName) -> bool,
) -> Chosen {
    let mut choosing = Choosing { at: situation, chosen };
    for (value, members) in choosing.groups() {
        let Some(value) = value else { continue };
        choosing.rank_in_group(value, &members);
        choosing.pass_over(&members, was);
    }
    choosing.chosen
}

impl Choosing<'_, '_> {
    fn rank_in_group(&mut self, value: String, members: &[usize]) {
        let Some(per) = self.at.pick.per.clone() else { return };
        let group = Group { per, value };
        let mut ranked: Vec<(usize, usize)> =
            members.iter().filter_map(|member| Some((self.chosen.order[*member]?, *member))).collect();
        ranked.sort_unstable();
        let of = ranked.len();
        for (at, (_, member)) in ranked.into_iter().enumerate() {
            let position = Position { rank: at + 1, of, group: Some(group.clone()) };
            self.chosen.positions.insert(member, position);
        }
    }

    fn pass_over(&mut self, members: &[usize], was: &dyn Fn(&ClusterName) -> bool) {
        let Some(count) = self.at.pick.count else { return };
        let open: Vec<usize> = self.open(members).collect();
        let places: Vec<usize> = self.places(members).collect();
        let target = count.of(open.len() + places.len());
        let rest: Vec<usize> =
            open.into_iter().filter(|member| !self.chosen.reasons.contains_key(member)).collect();
        if rest.is_empty() {
            return;
        }
        let needs = self.needs(members, places.len());
        // Whom this would choose if nobody were chosen yet.
        let mut anew = Lanes::anew(self, members);
        let mut best = BTreeSet::new();
        while best.len() < target {
            let Some(member) = anew.next(self, false) else { break };
            anew.pass_over(&self.chosen.order, member);
            anew.count(member, true);
            best.insert(member);
        }
        for member in rest {
            let needs = needs.get(&member).copied();
            let reason = match anew.passed(&self.chosen.order, member) {
                _ if best.contains(&member) => self.held(member, &places, &best, needs, was),
                Some((by, reason)) => self.refused(reason, by, needs),
                None => {
                    let Position { rank, of, group } = self.chosen.position(member);
                    Reason::Outranked { rank, of, count: Some(count), group, needs }
                }
            };
            self.chosen.reasons.insert(member, reason);
        }
    }

    /// How many have to be chosen for each that is not: as many as are when its turn comes.
    fn needs(&self, members: &[usize], places: usize) -> BTreeMap<usize, usize> {
        let mut lanes = Lanes::new(self, members);
        let steps = (WORK / lanes.len().pow(2).max(1)).max(STEPS);
        let mut needs = BTreeMap::new();
        for step in 1..=steps {
            let Some(member) = lanes.next(self, false) else { break };
            lanes.count(member, true);
            needs.insert(member, places + step);
        }
        needs
    }

    /// A constraint of `pick.spread` lets one of a lower rank come before.
    fn refused(&self, reason: Reason, by: usize, more: Option<usize>) -> Reason {
        match reason {
            Reason::SpreadRefuses { topology_key, value, chosen, fewest, max_skew, .. } => {
                let instead = Some(self.at.members[by].name.clone());
                Reason::SpreadRefuses { topology_key, value, chosen, fewest, max_skew, instead, needs: more }
            }
            other => other,
        }
    }

    /// Those that were chosen before have the places.
    fn held(
        &self,
        member: usize,
        places: &[usize],
        best: &BTreeSet<usize>,
        needs: Option<usize>,
        was: &dyn Fn(&ClusterName) -> bool,
    ) -> Reason {
        let order = &self.chosen.order;
        let name = |place: usize| self.at.members[place].name;
        let leaves = |place: usize| {
            let other = |state: &State| state.stands_in.is_some_and(|(other, _)| other == place);
            self.chosen.states.iter().any(other)
        };
        // Who comes after it by rank, or would not be chosen at all.
        let holds =
            |place: &usize| order[*place].is_none() || order[*place] > order[member] || !best.contains(place);
        let holders: Vec<usize> = places.iter().copied().filter(holds).collect();
        let stay = |place: &usize| was(name(*place)) && !leaves(*place);
        let staying: Vec<usize> = holders.iter().copied().filter(stay).collect();
        let mut holders = if staying.is_empty() { holders } else { staying };
        holders.sort_by_key(|place| Reverse(order[*place].unwrap_or(usize::MAX)));
        let others = holders.len().saturating_sub(NAMED);
        let mut by: Vec<ClusterName> =
            holders.into_iter().take(NAMED).map(|place| name(place).clone()).collect();
        by.sort();
        let Position { rank, of, group } = self.chosen.position(member);
        let count = self.at.pick.count;
        Reason::PlacesHeld { rank, of, count, group, by, others, places: places.len(), needs }
    }
}
