//! Pauses: entries that stay as they are because an operator said so.
//!
//! In: pauses, what every cluster shall run, what it was told. Out: which entries stay, and of which of them a change waits.
//! Never: keeps a cluster that an operator ordered to be emptied.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{Codec, Member, ShareOut};
use nave_placement::decide::Wanted;
use nave_placement::overrides::Shapes;
use nave_placement::{AppKey, ClusterName};

use super::core::{Write, chunked};
use crate::state::records::{PauseRecord, key};
use crate::state::{State, Step};

/// What is paused of a fleet.
#[derive(Debug, Default)]
pub struct Paused {
    /// Entries that stay as they are, or do not come.
    pub stays: BTreeSet<(AppKey, ClusterName)>,
    /// Of these, those that would change, and why they do not.
    pub waiting: Waiting,
}

/// Entries of which a change waits for the end of a pause, and what the pause is.
pub type Waiting = BTreeMap<(ClusterName, AppKey), String>;

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
        let pauses: Vec<_> =
            pauses.iter().filter(|p| p.scope.cluster.as_ref().is_none_or(|c| c == cluster)).collect();
        if pauses.is_empty() {
            continue;
        }
        let told = &member.told.assignment;
        let shall = wanted.get(cluster);
        let wants = |app: &AppKey| shall.is_some_and(|apps| apps.contains_key(app));
        let apps: BTreeSet<&AppKey> =
            shall.into_iter().flat_map(|apps| apps.keys()).chain(told.entries.keys()).collect();
        for app in &apps {
            // An app that takes another's place is paused with it.
            let under = |name: &AppKey| pauses.iter().find(|pause| pause.scope.covers(name, cluster));
            let former = || shapes.former(app).filter(|old| told.entries.contains_key(*old)).find_map(under);
            let Some(pause) = under(app).or_else(former) else { continue };
            paused.stays.insert(((*app).clone(), cluster.clone()));
            let share = shares.get(cluster).and_then(|shares| shares.get(*app));
            let form = shapes.get(app, cluster);
            let version = form.map(|form| share.map_or(form.version, |share| form.with(share).version));
            let entry = told.entries.get(*app).map(|entry| codec.decode(entry).map(|entry| entry.version));
            let changes = match (entry, wants(app)) {
                (Some(entry), true) => version.is_some() && entry != version,
                (None, true) => version.is_some(),
                (Some(_), false) => !is_renamed(shapes, &apps, app),
                (None, false) => false,
            };
            if changes {
                paused.waiting.insert((cluster.clone(), (*app).clone()), pause.to_string());
            }
        }
    }
    paused
}

/// Whether an app goes on under another name: that says what waits.
fn is_renamed(shapes: &Shapes, apps: &BTreeSet<&AppKey>, app: &AppKey) -> bool {
    apps.iter().any(|new| shapes.former(new).any(|old| old == app))
}

/// Pauses that are over are forgotten.
pub(super) fn over(state: &State, now_ms: u64) -> Vec<Write> {
    let over = state.pauses.iter().filter(|(_, pause)| pause.until_ms <= now_ms);
    chunked(Step::HoldsShown, over.map(|(scope, _)| (key::pause(scope), None)).collect())
}
