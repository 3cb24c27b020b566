//! Stand-ins: clusters that take the place of one that is drained or silent.
//!
//! In: a choice that is being made, stand-ins that were settled before. Out: new stand-ins, and who goes of a pair.
//! Never: lets the old one go before the new one is healthy; fails over while many members are silent at once.

use super::lanes::Lanes;
use super::pick::{Choosing, State};
use super::{Cause, Moment, Reason, StandIn};
use crate::ClusterName;
use crate::catalog::{Failover, OnReturn};
use crate::fleet::Contact;

/// From a silent spoke to a cluster that is not chosen, where there is no `failover`.
const UNREACHABLE_MS: u64 = 5 * 60_000;

impl<'a> Choosing<'_, 'a> {
    pub fn period_ms(&self) -> u64 {
        self.at.pick.failover.map_or(UNREACHABLE_MS, |failover| failover.unreachable_ms)
    }

    /// When a cluster counts as unreachable; `None` while its spoke is heard.
    fn away_from(&self, member: usize) -> Option<u64> {
        let Contact::Silent { since_ms } = self.at.members[member].cluster.contact else { return None };
        Some(since_ms.max(self.at.moment.hub_since_ms).saturating_add(self.period_ms()))
    }

    pub fn is_away(&self, member: usize) -> bool {
        self.away_from(member).is_some_and(|from| from <= self.at.moment.now_ms)
    }

    /// Whether it has been silent for so long that it would not be chosen; who takes all that match takes silent ones too.
    pub fn counts_as_away(&self, member: usize) -> bool {
        self.at.pick.count.is_some() && self.is_away(member)
    }

    pub fn is_connected(&self, member: usize) -> bool {
        self.at.members[member].cluster.contact == Contact::Connected
    }

    fn is_healthy(&self, member: usize) -> bool {
        let name = self.at.members[member].name;
        self.is_connected(member) && self.at.apps.iter().all(|app| (self.at.moment.healthy)(name, app))
    }

    /// Stand-ins that were settled before: is it time for one of the two to go?
    pub fn resolve_stand_ins(&mut self, members: &[usize]) {
        let named = |name: &ClusterName| members.iter().copied().find(|m| self.at.members[*m].name == name);
        let standing = |member: &usize| {
            let place = self.at.previous.chosen.get(self.at.members[*member].name)?;
            let StandIn { cluster, cause } = place.stands_in.as_ref()?;
            Some((*member, named(cluster)?, *cause))
        };
        let pairs: Vec<(usize, usize, Cause)> = members.iter().filter_map(standing).collect();
        for (stand_in, other, cause) in pairs {
            if !(self.chosen.states[stand_in].chosen && self.chosen.states[other].chosen) {
                continue;
            }
            self.chosen.states[stand_in].stands_in = Some((other, cause));
            self.chosen.open = true;
            let cluster = self.at.members[other].cluster;
            if cluster.maintained || self.at.members[stand_in].cluster.maintained {
                continue;
            }
            let back = self.is_connected(other);
            let (leave_other, leave_stand_in) = match cause {
                Cause::Drained => (cluster.draining && self.is_healthy(stand_in), !cluster.draining),
                Cause::Unreachable if cluster.draining => (back && self.is_healthy(stand_in), false),
                Cause::Unreachable if self.stays_when_back() => (false, self.is_healthy(other)),
                Cause::Unreachable => (back && self.is_healthy(stand_in), false),
            };
            if leave_other {
                self.leave(other);
                self.chosen.states[stand_in].stands_in = None;
            } else if leave_stand_in {
                self.leave(stand_in);
            }
        }
    }

    /// Whether a cluster that was silent keeps its place once it is heard again.
    fn stays_when_back(&self) -> bool {
        self.at.pick.failover.is_some_and(|failover| failover.on_return == OnReturn::Return)
    }

    /// Why a chosen cluster is there though another stands in for it.
    fn leaves(&self, place: usize, to: usize, cause: Cause) -> Reason {
        let silent = cause == Cause::Unreachable;
        Reason::Leaves {
            to: self.at.members[to].name.clone(),
            cause,
            unheard: silent && !self.is_connected(place),
            returns: silent && self.stays_when_back() && !self.at.members[place].cluster.draining,
        }
    }

    /// Why a chosen cluster is to be left.
    pub fn cause(&self, member: usize) -> Option<Cause> {
        let cluster = self.at.members[member].cluster;
        if cluster.maintained {
            None
        } else if cluster.draining {
            Some(Cause::Drained)
        } else {
            (self.at.pick.failover.is_some() && self.is_away(member)).then_some(Cause::Unreachable)
        }
    }

    /// Gives a stand-in to each cluster that is to be left and has none.
    pub fn stand_in(&mut self, members: &[usize], lanes: &mut Lanes<'a>) {
        let (silent, of) = self.at.silent;
        let Moment { now_ms, hub_since_ms, .. } = self.at.moment;
        let mut places: Vec<usize> = self.places(members).collect();
        places.sort_by_key(|member| self.chosen.order[*member]);
        for place in places {
            let failover = self.at.pick.failover.filter(|_| !self.at.members[place].cluster.maintained);
            if failover.is_some() {
                let later = self.away_from(place).filter(|from| *from > now_ms);
                self.chosen.due_ms = self.chosen.due_ms.into_iter().chain(later).min();
            }
            let pair = |state: &State| state.stands_in.is_some_and(|(other, _)| other == place);
            if let Some(stand_in) = self.chosen.states.iter().position(pair) {
                let cause = self.chosen.states[stand_in].stands_in.map_or(Cause::Drained, |(_, cause)| cause);
                let stays = self.stays_when_back() && cause == Cause::Unreachable && self.is_connected(place);
                if !stays {
                    let reason = self.leaves(place, stand_in, cause);
                    self.chosen.reasons.insert(place, reason);
                }
                continue;
            }
            let Some(cause) = self.cause(place) else { continue };
            self.chosen.open = true;
            let suspended = |failover: Failover| {
                let suspend_above = failover.suspend_above.value();
                let listened_ms = hub_since_ms.saturating_add(failover.unreachable_ms);
                let too_many = silent * 100 > of * usize::from(suspend_above);
                let until_ms = (!too_many && now_ms < listened_ms).then_some(listened_ms);
                let is_suspended = too_many || until_ms.is_some();
                is_suspended.then_some(Reason::FailoverSuspended { silent, of, suspend_above, until_ms })
            };
            let unreachable = failover.filter(|_| cause == Cause::Unreachable);
            if let Some(reason) = unreachable.and_then(suspended) {
                self.chosen.reasons.insert(place, reason);
                continue;
            }
            // What is left is not counted where its stand-in goes.
            lanes.count(place, false);
            match lanes.next(self, true) {
                Some(member) => {
                    self.take(member, lanes);
                    self.chosen.states[member].stands_in = Some((place, cause));
                    let reason = self.leaves(place, member, cause);
                    self.chosen.reasons.insert(place, reason);
                }
                None => {
                    lanes.count(place, true);
                    self.chosen.reasons.insert(place, Reason::NoStandIn { cause });
                }
            }
        }
    }
}
