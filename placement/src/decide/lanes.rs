//! Lanes: the clusters that may be chosen, lined up by the values over which a placement spreads.
//!
//! In: a choice that is being made. Out: the best cluster that may be taken next, or the constraint that keeps one out.
//! Never: looks at more than the first of each lane, since those of one lane differ by rank alone.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Reason;
use super::pick::{Choosing, Entry};
use crate::catalog::Pick;

/// The open clusters of a group by the values over which they are spread: in each lane they differ by rank alone.
pub(super) struct Lanes<'a> {
    lanes: Vec<Lane>,
    /// By member, its values.
    values: BTreeMap<usize, Vec<Option<String>>>,
    /// By constraint, how many chosen clusters have each value.
    counts: Vec<BTreeMap<String, usize>>,
    pick: &'a Pick,
}

struct Lane {
    values: Vec<Option<String>>,
    /// By rank.
    queue: VecDeque<usize>,
    /// The last by rank that was taken while a constraint kept better ones of this lane out, and what that said.
    passed: Option<(usize, Reason)>,
}

impl<'a> Lanes<'a> {
    pub fn new(choosing: &Choosing<'_, 'a>, members: &[usize]) -> Self {
        Self::lined_up(choosing, members, false)
    }

    /// As if nobody were chosen: those that are line up as well, if they could be chosen now.
    pub fn anew(choosing: &Choosing<'_, 'a>, members: &[usize]) -> Self {
        let could: Vec<usize> =
            members.iter().copied().filter(|member| choosing.at.members[*member].anew).collect();
        Self::lined_up(choosing, &could, true)
    }

    /// Of chosen clusters those that may stay, in order of rank, as if none were chosen yet.
    pub fn among(choosing: &Choosing<'_, 'a>, members: &[usize], places: &[usize]) -> Self {
        let mut this = Self::lined_up(choosing, members, true);
        let mut lanes: BTreeMap<Vec<Option<String>>, VecDeque<usize>> = BTreeMap::new();
        for member in places {
            let values = this.values.get(member).cloned().unwrap_or_default();
            lanes.entry(values).or_default().push_back(*member);
        }
        this.lanes = lanes.into_iter().map(|(values, queue)| Lane { values, queue, passed: None }).collect();
        this
    }

    fn lined_up(choosing: &Choosing<'_, 'a>, members: &[usize], anew: bool) -> Self {
        let pick = choosing.at.pick;
        let mut this = Self {
            lanes: Vec::new(),
            values: BTreeMap::new(),
            counts: vec![BTreeMap::new(); pick.spread.len()],
            pick,
        };
        let mut members: Vec<usize> =
            members.iter().copied().filter(|m| choosing.at.members[*m].entry != Entry::Broken).collect();
        members.sort_by_key(|member| choosing.chosen.order[*member]);
        let mut lanes: BTreeMap<Vec<Option<String>>, VecDeque<usize>> = BTreeMap::new();
        let leaving: BTreeSet<usize> =
            choosing.chosen.states.iter().filter_map(|state| Some(state.stands_in?.0)).collect();
        for member in members {
            let cluster = choosing.at.members[member].cluster;
            let values: Vec<Option<String>> =
                pick.spread.iter().map(|s| s.topology.text(cluster).present().cloned()).collect();
            for (counts, value) in this.counts.iter_mut().zip(&values) {
                value.iter().for_each(|value| _ = counts.entry(value.clone()).or_default());
            }
            this.values.insert(member, values.clone());
            match choosing.chosen.states[member].chosen {
                // What it has is not free any more, but it has it.
                true if anew && choosing.counts_as_away(member) => {}
                true if anew => lanes.entry(values).or_default().push_back(member),
                true if leaving.contains(&member) => {}
                true => this.count(member, true),
                false if choosing.at.members[member].entry == Entry::Open => {
                    if choosing.why_not(member).is_some() {
                        continue;
                    }
                    lanes.entry(values).or_default().push_back(member);
                }
                false => {}
            }
        }
        this.lanes = lanes.into_iter().map(|(values, queue)| Lane { values, queue, passed: None }).collect();
        this
    }

    pub fn count(&mut self, member: usize, more: bool) {
        let values = self.values.get(&member).map(|values| &**values).unwrap_or_default();
        for (counts, value) in self.counts.iter_mut().zip(values) {
            if let Some(count) = value.as_ref().and_then(|value| counts.get_mut(value)) {
                *count = if more { *count + 1 } else { count.saturating_sub(1) };
            }
        }
    }

    /// The best cluster that may be chosen now; it is taken out of its lane.
    pub fn next(&mut self, choosing: &Choosing<'_, 'a>, connected: bool) -> Option<usize> {
        let mut best: Option<((usize, usize), usize, usize)> = None;
        for lane in 0..self.lanes.len() {
            let Some(soft) = self.breaks(&self.lanes[lane].values) else { continue };
            let mut queue = self.lanes[lane].queue.iter().enumerate();
            let eligible = |(_, member): &(usize, &usize)| !connected || choosing.is_connected(**member);
            let Some((at, member)) = queue.find(eligible) else { continue };
            let key = (soft, choosing.chosen.order[*member]?);
            if best.is_none_or(|(least, _, _)| key < least) {
                best = Some((key, lane, at));
            }
        }
        let (_, lane, at) = best?;
        self.lanes[lane].queue.remove(at)
    }

    /// How many soft constraints a cluster with these values would break; `None` where it breaks a hard one.
    fn breaks(&self, values: &[Option<String>]) -> Option<usize> {
        let mut soft = 0;
        for (at, (spread, value)) in self.pick.spread.iter().zip(values).enumerate() {
            if self.broken(at, value.as_ref()).is_some() {
                if !spread.soft {
                    return None;
                }
                soft += 1;
            }
        }
        Some(soft)
    }

    /// What one constraint says against one more cluster with this value.
    fn broken(&self, at: usize, value: Option<&String>) -> Option<Reason> {
        let (spread, counts) = (&self.pick.spread[at], &self.counts[at]);
        let few = spread.min_domains.is_some_and(|least| counts.len() < least as usize);
        let fewest = if few { 0 } else { counts.values().copied().min().unwrap_or(0) };
        let chosen = value.and_then(|value| counts.get(value)).copied();
        let fits = chosen.is_some_and(|chosen| chosen < fewest + spread.max_skew as usize);
        let reason = || Reason::SpreadRefuses {
            topology_key: spread.topology.clone(),
            value: value.cloned(),
            chosen: chosen.unwrap_or(0),
            fewest,
            max_skew: spread.max_skew,
            instead: None,
            needs: None,
        };
        (!fits).then(reason)
    }

    /// The hard constraint that keeps a cluster out.
    pub fn refusal(&self, member: usize) -> Option<Reason> {
        let values = self.values.get(&member)?;
        let hard = (0..self.pick.spread.len()).filter(|at| !self.pick.spread[*at].soft);
        hard.into_iter().find_map(|at| self.broken(at, values[at].as_ref()))
    }

    /// How many lanes there are.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Notes what keeps out those that come before the one that is being taken. It is not counted yet.
    pub fn pass_over(&mut self, order: &[Option<usize>], taken: usize) {
        for at in 0..self.lanes.len() {
            let Lane { values, queue, passed } = &self.lanes[at];
            let ahead = queue.front().is_some_and(|first| order[*first] < order[taken]);
            let noted = passed.as_ref().is_some_and(|(by, _)| order[*by] > order[taken]);
            if !ahead || noted {
                continue;
            }
            if let Some(reason) = self.against(values) {
                self.lanes[at].passed = Some((taken, reason));
            }
        }
    }

    /// What the constraints say against one more cluster with these values, hard ones first.
    fn against(&self, values: &[Option<String>]) -> Option<Reason> {
        let mut all: Vec<usize> = (0..self.pick.spread.len()).collect();
        all.sort_by_key(|at| self.pick.spread[*at].soft);
        all.into_iter().find_map(|at| self.broken(at, values[at].as_ref()))
    }

    /// The one of a lower rank that was taken before a cluster, and the constraint that made it so.
    pub fn passed(&self, order: &[Option<usize>], member: usize) -> Option<(usize, Reason)> {
        let values = self.values.get(&member)?;
        let lane = self.lanes.iter().find(|lane| lane.values == *values)?;
        lane.passed.clone().filter(|(by, _)| order[*by] > order[member])
    }
}
