//! The guard's limits on entries, counted again from nothing but the assignments and the window.
//!
//! In: the entries that leave without anybody's approval. Out: every limit that they break. Never: holds anything.

use std::collections::BTreeSet;

use super::{Change, Limit, Violation};
use crate::catalog::GuardLimit;
use crate::guard::{EntryKey, PastLoss};

const HOUR_MS: u64 = 3_600_000;

/// How many of so many may go: the built-in number, or the revision's own where that is less.
pub(super) fn allowed(of: usize, floor: usize, percent: usize, cap: usize, own: GuardLimit) -> usize {
    let ours = std::cmp::max(floor, std::cmp::min(of * percent / 100, cap));
    let mut theirs = ours;
    if let Some(max) = own.max {
        theirs = std::cmp::max(floor, max.floor_of(of));
    }
    if let Some(cap) = own.at_most {
        theirs = std::cmp::min(theirs, cap as usize);
    }
    std::cmp::min(ours, theirs)
}

pub(super) fn entries(change: &Change<'_>, unapproved: &BTreeSet<EntryKey>, found: &mut Vec<Violation>) {
    let now = change.now_ms;
    let recent: Vec<&PastLoss> = change.window.iter().filter(|loss| loss.at_ms + HOUR_MS > now).collect();
    let told = || change.previous.iter().map(|(cluster, told)| (cluster, &told.assignment.entries));
    let mut over = |limit: Limit, now: usize, before: usize, all: usize, rule: &dyn Fn(usize) -> usize| {
        let (losing, of) = (now + before, all + before);
        let allowed = rule(of);
        if now > 0 && losing > allowed {
            found.push(Violation::OverLimit { limit, losing, of, allowed });
        }
    };
    for app in unapproved.iter().map(|(app, _)| app).collect::<BTreeSet<_>>() {
        let now = unapproved.iter().filter(|(a, _)| a == app).count();
        let before = recent.iter().filter(|loss| loss.app == *app).count();
        let all = told().filter(|(_, entries)| entries.contains_key(app)).count();
        let rule = |of| allowed(of, 2, 25, usize::MAX, change.guarded.limits.app);
        over(Limit::App(app.clone()), now, before, all, &rule);
    }
    for cluster in unapproved.iter().map(|(_, cluster)| cluster).collect::<BTreeSet<_>>() {
        let now = unapproved.iter().filter(|(_, c)| c == cluster).count();
        let before = recent.iter().filter(|loss| loss.cluster == *cluster).count();
        let all = change.previous.get(cluster).map_or(0, |told| told.assignment.entries.len());
        let rule = |of| allowed(of, 2, 25, usize::MAX, change.guarded.limits.cluster);
        over(Limit::Cluster(cluster.clone()), now, before, all, &rule);
    }
    let rule = |of| allowed(of, 3, 5, 200, change.guarded.limits.fleet);
    let all = told().map(|(_, entries)| entries.len()).sum();
    over(Limit::Fleet, unapproved.len(), recent.len(), all, &rule);

    let emptied = |cluster: &_| {
        let told = change.next.get(cluster).map(|told| &told.assignment);
        told.is_some_and(|assignment| assignment.entries.is_empty())
    };
    let now: BTreeSet<_> = unapproved.iter().map(|(_, c)| c).filter(|c| emptied(c)).collect();
    let was_empty =
        |cluster: &_| change.previous.get(cluster).is_some_and(|told| told.assignment.entries.is_empty());
    let before: BTreeSet<_> = recent.iter().map(|loss| &loss.cluster).filter(|c| was_empty(c)).collect();
    over(Limit::LastEntries, now.len(), before.len(), change.previous.len(), &|_| 2);
}
