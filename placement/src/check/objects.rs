//! What entries may prune, counted again object by object.
//!
//! In: entries with drops. Out: drops that are more than what is lost, that name no cause, or that break the app's limit.
//! Never: counts an object that another app of the same cluster claims.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Limit, Violation, leftovers, limits::allowed};
use crate::assign::{Cause, EncodedEntry, Entry, Told};
use crate::guard::HoldCause;
use crate::render::effective_objects;
use crate::report::{EntryReason, EntryState};
use crate::{AppKey, ClusterName, ObjectKey};

/// The objects of one app over all clusters.
#[derive(Default)]
struct Tally {
    lost: BTreeSet<ObjectKey>,
    had: BTreeSet<ObjectKey>,
    unapproved: bool,
}

pub(super) fn drops(change: &Change<'_>, found: &mut Vec<Violation>) {
    let mut tallies: BTreeMap<&AppKey, Tally> = BTreeMap::new();
    for (cluster, told) in change.next {
        let Some(previous) = change.previous.get(cluster) else { continue };
        for (app, entry) in &told.assignment.entries {
            if previous.assignment.entries.get(app) == Some(entry) {
                continue;
            }
            let Some(entry) = change.codec.decode(entry).filter(|entry| entry.drops > 0) else { continue };
            one(change, cluster, app, &entry, previous, told, tallies.entry(app).or_default(), found);
        }
    }
    for (app, tally) in tallies.into_iter().filter(|(_, tally)| tally.unapproved) {
        let mut had = tally.had;
        for (cluster, told) in change.previous {
            had.extend(earlier(change, cluster, told, app, &[]));
        }
        let (losing, of) = (tally.lost.len(), had.len());
        let allowed = allowed(of, 10, 25, usize::MAX, change.guarded.limits.objects);
        if losing > allowed {
            found.push(Violation::OverLimit { limit: Limit::Objects(app.clone()), losing, of, allowed });
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "one look at one entry")]
fn one(
    change: &Change<'_>,
    cluster: &ClusterName,
    app: &AppKey,
    entry: &Entry,
    previous: &Told,
    next: &Told,
    tally: &mut Tally,
    found: &mut Vec<Violation>,
) {
    if let Some(of) = &entry.drops_of {
        let asked = leftovers::approved(change, cluster, &previous.assignment, app, Some(of));
        let by_approval = matches!(entry.drops_cause, Some(Cause::Approved { .. }));
        if asked != Some(entry.drops as usize) || !by_approval {
            let (cluster, app, drops) = (cluster.clone(), app.clone(), entry.drops);
            found.push(Violation::DropsTooMany { cluster, app, drops, lost: asked.unwrap_or(0) });
        }
        return;
    }
    let former: Vec<&AppKey> = entry.options.formerly.iter().collect();
    let had = earlier(change, cluster, previous, app, &former);
    let mut lost = had.clone();
    for other in next.assignment.entries.values() {
        let claimed = objects(change, other);
        lost.retain(|key| !claimed.contains(key));
    }
    if entry.drops as usize > lost.len() {
        let (cluster, app, drops) = (cluster.clone(), app.clone(), entry.drops);
        found.push(Violation::DropsTooMany { cluster, app, drops, lost: lost.len() });
    }
    match &entry.drops_cause {
        None => found.push(Violation::DropsWithoutCause { cluster: cluster.clone(), app: app.clone() }),
        Some(Cause::Approved { hold, by }) => {
            let about = |cause: &HoldCause| matches!(cause, HoldCause::Objects { app: a } if a == app);
            let known =
                |a: &&crate::guard::Approval| a.hold.id == *hold && a.by == *by && about(&a.hold.cause);
            if change.approvals.iter().find(known).is_none() {
                let cause = Cause::Approved { hold: hold.clone(), by: by.clone() };
                found.push(Violation::CauseUnfounded { cluster: cluster.clone(), app: app.clone(), cause });
            }
        }
        Some(_) => {
            tally.unapproved = true;
            tally.lost.extend(lost);
        }
    }
    tally.had.extend(had);
}

/// Objects that an app, under any of its names, ever was told to have on a cluster, as far as it is remembered.
fn earlier(
    change: &Change<'_>,
    cluster: &ClusterName,
    told: &Told,
    app: &AppKey,
    former: &[&AppKey],
) -> BTreeSet<ObjectKey> {
    let names = || former.iter().copied().chain([app]);
    let entries = names().filter_map(|name| told.assignment.entries.get(name));
    // What a spoke said that it applied and pruned, of just this assignment, is all that is left of what was before.
    let report = change.reports.get(cluster).filter(|r| (r.epoch, r.generation) == told.assignment.order());
    let is_all = |name: &AppKey| {
        let entry = told.assignment.entries.get(name).and_then(|entry| change.codec.decode(entry));
        let said = report.and_then(|report| report.entries.get(name));
        said.zip(entry).is_some_and(|(said, entry)| {
            let applied =
                matches!(said.state, EntryState::Healthy | EntryState::Progressing | EntryState::Degraded);
            applied && said.reason != EntryReason::PruneRefused && said.version == Some(entry.version)
        })
    };
    let trail = names().filter(|name| !is_all(name)).filter_map(|name| told.trail.get(name)).flatten();
    entries.chain(trail).flat_map(|entry| objects(change, entry)).collect()
}

fn objects(change: &Change<'_>, entry: &EncodedEntry) -> BTreeSet<ObjectKey> {
    let read = change.codec.decode(entry);
    let objects = read.and_then(|entry| {
        let objects = change.codec.objects(&entry.bundle)?;
        Some(effective_objects(&objects, &entry.options, &entry.values))
    });
    objects.unwrap_or_default()
}
