//! Pauses: entries that stay as they are because an operator said so.
//!
//! In: pauses, what every cluster shall run, what it was told. Out: which entries stay, and of which of them a change waits.
//! Never: keeps a cluster that an operator ordered to be emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Codec, Member, ShareOut};
use nave_placement::decide::Wanted;
use nave_placement::overrides::Shapes;
use nave_placement::schedule::Freeze;
use nave_placement::{AppKey, ClusterName};

use super::core::Write;
use super::staying::OfCluster;
use crate::state::records::{PauseRecord, PauseScope, key};
use crate::state::{Audit, State, Step, Versioned};
use crate::store::Batch;

/// What is paused of a fleet.
#[derive(Debug, Default)]
pub struct Paused {
    /// Entries that stay as they are, or do not come.
    pub stays: BTreeSet<(AppKey, ClusterName)>,
    /// Of these, those that would change, and why they do not.
    pub waiting: Waiting,
}

/// Entries of which a change waits, and what it waits for.
pub type Waiting = BTreeMap<(ClusterName, AppKey), Arc<str>>;

/// Finds them.
pub fn paused(
    state: &State,
    members: &BTreeMap<ClusterName, Member<'_>>,
    wanted: &Wanted,
    (shapes, shares): (&Shapes, &ShareOut),
    codec: &dyn Codec,
    now_ms: u64,
) -> Paused {
    let pauses: Vec<&PauseRecord> = state.paused(now_ms).collect();
    let mut paused = Paused::default();
    for (cluster, member) in members.iter().filter(|(_, member)| member.emptied_by.is_none()) {
        let pauses: Vec<&PauseRecord> = pauses.iter().copied().filter(|p| p.scope.is_on(cluster)).collect();
        if pauses.is_empty() {
            continue;
        }
        let of = OfCluster { cluster, told: &member.told, shall: wanted.get(cluster), shapes, shares, codec };
        for (app, pause) in stays(&of, &pauses) {
            if of.changes(app) {
                paused.waiting.insert((cluster.clone(), app.clone()), pause.to_string().into());
            }
            paused.stays.insert((app.clone(), cluster.clone()));
        }
    }
    paused
}

/// Apps that stay as they are, and by which pause: those that are meant, and those that take such a one's place.
fn stays<'a>(of: &OfCluster<'a>, pauses: &[&'a PauseRecord]) -> BTreeMap<&'a AppKey, &'a PauseRecord> {
    let under = |name: &AppKey| pauses.iter().copied().find(|pause| pause.scope.covers(name, of.cluster));
    let entries = &of.told.assignment.entries;
    let mut stays = BTreeMap::new();
    for app in of.apps().into_iter().filter(|app| !of.comes_back(app)) {
        let former = || of.former(app).filter(|old| entries.contains_key(*old)).find_map(under);
        stays.extend(under(app).or_else(former).map(|pause| (app, pause)));
    }
    of.with_who_hands_over(&mut stays);
    stays
}

/// What the spoke of a cluster is told on which everything is paused: it starts nothing that it was told before, either, and the
/// pause ends there too if nobody says so.
pub fn freeze(state: &State, cluster: &ClusterName, now_ms: u64) -> Option<Freeze> {
    let meant = state.paused(now_ms).filter(|pause| pause.scope.app.is_none() && pause.scope.is_on(cluster));
    let until_ms = meant.map(|pause| pause.until_ms).max()?;
    Freeze::until(until_ms)
}

/// Pauses that are over are forgotten.
pub(super) fn over(state: &State, now_ms: u64) -> Vec<Write> {
    let over = state.pauses.iter().filter(|(_, pause)| pause.until_ms <= now_ms);
    let write = |(scope, pause): (&PauseScope, &Versioned<Arc<PauseRecord>>)| {
        let place = key::pause(scope);
        let audit = Audit {
            who: "hub".to_owned(),
            what: "Resumed",
            subject: scope.to_string(),
            why: "its time is over".to_owned(),
            ..Audit::default()
        };
        // Only the one that is over: it may have been ordered anew.
        let batch = Batch::new().require_at(place.clone(), pause.version).delete(place);
        Write { step: Step::PauseOrdered, batch, audits: vec![audit] }
    };
    over.map(write).collect()
}
