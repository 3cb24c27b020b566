//! Pauses: entries that stay as they are because an operator said so.
//!
//! In: pauses, what every cluster shall run, what it was told. Out: which entries stay, and of which of them a change waits.
//! Never: keeps a cluster that an operator ordered to be emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Codec, Member, Options, ShareOut, Told};
use nave_placement::decide::Wanted;
use nave_placement::overrides::Shapes;
use nave_placement::overrides::template::Values;
use nave_placement::render::effective_objects;
use nave_placement::schedule::Freeze;
use nave_placement::{AppKey, ClusterName, Digest, ObjectKey};

use super::core::Write;
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
        let pauses: Vec<&PauseRecord> = pauses.iter().copied().filter(|p| p.scope.is_on(cluster)).collect();
        if pauses.is_empty() {
            continue;
        }
        let of = OfCluster { cluster, told: &member.told, shall: wanted.get(cluster), shapes, shares, codec };
        for (app, pause) in of.stays(&pauses) {
            if of.changes(app) {
                paused.waiting.insert((cluster.clone(), app.clone()), pause.to_string());
            }
            paused.stays.insert((app.clone(), cluster.clone()));
        }
    }
    paused
}

/// One cluster.
struct OfCluster<'a> {
    cluster: &'a ClusterName,
    told: &'a Told,
    shall: Option<&'a BTreeMap<AppKey, BTreeSet<Arc<str>>>>,
    shapes: &'a Shapes,
    shares: &'a ShareOut,
    codec: &'a dyn Codec,
}

impl<'a> OfCluster<'a> {
    fn wants(&self, app: &AppKey) -> bool {
        self.shall.is_some_and(|apps| apps.contains_key(app))
    }

    fn apps(&self) -> BTreeSet<&'a AppKey> {
        let shall = self.shall.into_iter().flat_map(|apps| apps.keys());
        shall.chain(self.told.assignment.entries.keys()).collect()
    }

    /// Former names that an app goes on for. A name that somebody else has now is that one's.
    fn former(&self, app: &AppKey) -> impl Iterator<Item = &'a AppKey> {
        self.shapes.former(app).filter(|old| !self.wants(old))
    }

    /// Whether an app comes back that is on its way out: that takes a removal back, and changes nothing.
    fn comes_back(&self, app: &AppKey) -> bool {
        let leaving = &self.told.assignment.leaving;
        leaving.contains_key(app) || self.former(app).any(|old| leaving.contains_key(old))
    }

    /// Apps that stay as they are, and by which pause: those that are meant, those that take such a one's place, and those
    /// whose objects such a one is to take over: the others would let go what nobody takes.
    fn stays(&self, pauses: &[&'a PauseRecord]) -> BTreeMap<&'a AppKey, &'a PauseRecord> {
        let under =
            |name: &AppKey| pauses.iter().copied().find(|pause| pause.scope.covers(name, self.cluster));
        let entries = &self.told.assignment.entries;
        let mut stays = BTreeMap::new();
        let apps = self.apps();
        for app in apps.iter().copied().filter(|app| !self.comes_back(app)) {
            let former = || self.former(app).filter(|old| entries.contains_key(*old)).find_map(under);
            stays.extend(under(app).or_else(former).map(|pause| (app, pause)));
        }
        let mut open: Vec<&AppKey> = stays.keys().copied().collect();
        while let Some(app) = open.pop() {
            let comes: BTreeSet<ObjectKey> =
                self.coming(app).difference(&self.present(app)).cloned().collect();
            if comes.is_empty() {
                continue;
            }
            for other in apps.iter().copied().filter(|other| !self.comes_back(other)) {
                if !stays.contains_key(other) && !self.present(other).is_disjoint(&comes) {
                    stays.insert(other, stays[app]);
                    open.push(other);
                }
            }
        }
        stays
    }

    /// Objects that an app was told to have.
    fn present(&self, app: &AppKey) -> BTreeSet<ObjectKey> {
        let entry = self.told.assignment.entries.get(app).and_then(|entry| self.codec.decode(entry));
        entry.map(|entry| self.objects(&entry.bundle, &entry.options, &entry.values)).unwrap_or_default()
    }

    /// Objects that it is to have.
    fn coming(&self, app: &AppKey) -> BTreeSet<ObjectKey> {
        let form = self.shapes.get(app, self.cluster).filter(|_| self.wants(app));
        form.map(|form| self.objects(&form.bundle, &form.options, &form.values)).unwrap_or_default()
    }

    fn objects(&self, bundle: &Digest, options: &Options, values: &Values) -> BTreeSet<ObjectKey> {
        let objects = self.codec.objects(bundle);
        objects.map(|objects| effective_objects(&objects, options, values)).unwrap_or_default()
    }

    /// Whether it would change, come or leave.
    fn changes(&self, app: &AppKey) -> bool {
        let share = self.shares.get(self.cluster).and_then(|shares| shares.get(app));
        let form = self.shapes.get(app, self.cluster);
        let version = form.map(|form| share.map_or(form.version, |share| form.with(share).version));
        let entry = self.told.assignment.entries.get(app);
        match (entry.map(|entry| self.codec.decode(entry).map(|entry| entry.version)), self.wants(app)) {
            (Some(entry), true) => version.is_some() && entry != version,
            (None, true) => version.is_some(),
            // One that goes on under another name says so under that.
            (Some(_), false) => !self.apps().into_iter().any(|new| self.former(new).any(|old| old == app)),
            (None, false) => false,
        }
    }
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
