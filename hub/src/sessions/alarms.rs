//! Alarms: what is wrong with single spokes, and for how long that is said.
//!
//! In: what sessions noticed, and which of them took the place of another. Out: the worst alarm of each cluster.
//! Never: keeps anything that a restarted hub would not notice again; ends an alarm because the spoke that it is about was
//! followed by one that is well.

use std::collections::{BTreeMap, VecDeque};

use nave_placement::ClusterName;

use super::core::Alarm;

/// How long an alarm is said after it was raised last: long enough for somebody to look.
const SAID_MS: u64 = 3_600_000;
/// How often within that time a session may take the place of one that is still open. A spoke whose connection broke unseen
/// does it once for each time; two that use one identity do it all day.
const TAKEOVERS: usize = 5;

/// All alarms.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// When each was raised last, Unix milliseconds.
    raised: BTreeMap<ClusterName, BTreeMap<Alarm, u64>>,
    /// When sessions took the place of open ones, oldest first.
    takeovers: BTreeMap<ClusterName, VecDeque<u64>>,
}

impl Alarms {
    pub(super) fn raise(&mut self, cluster: &ClusterName, alarm: Alarm, now_ms: u64) {
        self.raised.entry(cluster.clone()).or_default().insert(alarm, now_ms);
    }

    /// A session has begun, perhaps in the place of one that was open.
    pub(super) fn begun(&mut self, cluster: &ClusterName, took_over: bool, now_ms: u64) {
        if let Some(raised) = self.raised.get_mut(cluster) {
            // What the spoke holds is judged anew.
            raised.remove(&Alarm::ForeignAssignment);
        }
        if !took_over {
            return;
        }
        let takeovers = self.takeovers.entry(cluster.clone()).or_default();
        takeovers.retain(|at_ms| at_ms + SAID_MS > now_ms);
        takeovers.push_back(now_ms);
        if takeovers.len() > TAKEOVERS {
            takeovers.pop_front();
            self.raise(cluster, Alarm::IdentityShared, now_ms);
        }
    }

    /// The worst of each cluster that is about a member as it is: `enrolled` tells when one did, Unix milliseconds.
    pub(super) fn said(
        &self,
        enrolled: impl Fn(&ClusterName) -> Option<u64>,
        now_ms: u64,
    ) -> BTreeMap<ClusterName, Alarm> {
        let worst = |(cluster, raised): (&ClusterName, &BTreeMap<Alarm, u64>)| {
            let enrolled_ms = enrolled(cluster)?;
            let lasts = |alarm: Alarm, at_ms: u64| {
                at_ms >= enrolled_ms && (alarm == Alarm::ForeignAssignment || at_ms + SAID_MS > now_ms)
            };
            let (alarm, _) = raised.iter().find(|(alarm, at_ms)| lasts(**alarm, **at_ms))?;
            Some((cluster.clone(), *alarm))
        };
        self.raised.iter().filter_map(worst).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterName {
        "fra-1".parse().expect("valid")
    }

    fn said(alarms: &Alarms, enrolled_ms: Option<u64>, now_ms: u64) -> Option<Alarm> {
        alarms.said(|_| enrolled_ms, now_ms).get(&cluster()).copied()
    }

    #[test]
    fn a_changed_cluster_is_said_for_an_hour_whoever_comes_back_and_ends_when_it_joins_again() {
        let mut alarms = Alarms::default();
        alarms.raise(&cluster(), Alarm::ClusterChanged, 1_000);
        alarms.begun(&cluster(), false, 2_000);
        let rows = [
            (Some(0), 2_000, Some(Alarm::ClusterChanged)),
            (Some(0), SAID_MS + 999, Some(Alarm::ClusterChanged)),
            (Some(0), SAID_MS + 1_000, None),
            (Some(1_500), 2_000, None),
            (None, 2_000, None),
        ];
        for (enrolled_ms, now_ms, expected) in rows {
            assert_eq!(said(&alarms, enrolled_ms, now_ms), expected, "{enrolled_ms:?} {now_ms}");
        }
    }

    #[test]
    fn a_foreign_assignment_is_said_until_the_spoke_says_hello_again() {
        let mut alarms = Alarms::default();
        alarms.raise(&cluster(), Alarm::ForeignAssignment, 0);
        assert_eq!(said(&alarms, Some(0), 2 * SAID_MS), Some(Alarm::ForeignAssignment));
        alarms.begun(&cluster(), false, 2 * SAID_MS);
        assert_eq!(said(&alarms, Some(0), 2 * SAID_MS), None);
    }

    #[test]
    fn sessions_that_keep_taking_each_others_place_are_an_alarm_and_a_few_in_an_hour_are_not() {
        // Minutes between two sessions; whether the older was open; whether it is an alarm.
        for (minutes, took_over, shared) in
            [(1, true, true), (9, true, true), (15, true, false), (1, false, false)]
        {
            let mut alarms = Alarms::default();
            let mut now_ms = 0;
            for _ in 0..20 {
                now_ms += minutes * 60_000;
                alarms.begun(&cluster(), took_over, now_ms);
            }
            let expected = shared.then_some(Alarm::IdentityShared);
            assert_eq!(said(&alarms, Some(0), now_ms), expected, "every {minutes} minutes");
            assert!(alarms.takeovers.values().all(|times| times.len() <= TAKEOVERS));
        }
    }
}
