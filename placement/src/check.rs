//! Check: whether assignments that were just made break a promise, told without the planner's or the guard's code.
//!
//! In: what clusters were told, what they are to be told next, what is wanted, what is approved. Out: every [`Violation`].
//! Never: mends anything, trusts a number that it can count itself.
//!
//! The cost is that of one look at every entry of the clusters that change, so that a hub can afford it before each commit.

mod decisions;
mod leftovers;
mod limits;
mod objects;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::assign::{
    AllRules, AppForm, Assignment, Cause, Codec, EncodedEntry, Entry, Epoch, Generation, Leaving, Options,
    ShareOut, Told,
};
use crate::decide::Wanted;
use crate::guard::{Approval, EntryKey, Guarded, HoldCause, PastLoss};
use crate::overrides::{Because, Shapes};
use crate::report::Report;
use crate::{AppKey, ClusterName};

pub use decisions::{DecisionStep, DecisionViolation, decision};

/// A step from what clusters were told to what they are told next, and everything that justifies it.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// What every planned member was told.
    pub previous: &'a BTreeMap<ClusterName, Arc<Told>>,
    /// What those that change are told next.
    pub next: &'a BTreeMap<ClusterName, Told>,
    /// What every cluster shall run.
    pub wanted: &'a Wanted,
    /// The forms in effect, by cluster.
    pub forms: &'a Shapes,
    /// The groups that apps are in.
    pub groups: &'a BTreeMap<AppKey, String>,
    /// Entries that wait: for their wave, or the end of a pause.
    pub stays: &'a BTreeSet<EntryKey>,
    /// Replicas that placements divide.
    pub shares: &'a ShareOut,
    /// When changes may start on clusters, in which order and which together.
    pub rules: &'a AllRules,
    /// What clusters reported last.
    pub reports: &'a BTreeMap<ClusterName, &'a Report>,
    /// Clusters that an operator ordered to be emptied, and who did.
    pub emptied: &'a BTreeMap<ClusterName, String>,
    /// What is approved, trailers that this step uses included.
    pub approvals: &'a [Approval],
    /// The limits of the revision before, and what it protects.
    pub guarded: &'a Guarded,
    /// What left lately.
    pub window: &'a [PastLoss],
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Reads entries and bundles.
    pub codec: &'a dyn Codec,
}

/// A limit of the guard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Clusters of an app.
    App(AppKey),
    /// Apps of a cluster.
    Cluster(ClusterName),
    /// Clusters that lose their last entry.
    LastEntries,
    /// Entries of the fleet.
    Fleet,
    /// Distinct objects of an app.
    Objects(AppKey),
}

/// A promise that the step breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum Violation {
    #[error("{cluster}: order went from {from:?} to {to:?}")]
    OrderNotGrown { cluster: ClusterName, from: (Epoch, Generation), to: (Epoch, Generation) },
    #[error("{cluster}: what was sent before is not remembered")]
    PastForgotten { cluster: ClusterName },
    #[error(
        "{cluster}: when, in which order or with which others changes start there is not what the catalog says"
    )]
    OtherRules { cluster: ClusterName },
    #[error("{cluster}: {app} disappeared without a leaving record or a successor")]
    Disappeared { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} leaves though it is wanted")]
    WantedLeaves { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} leaves for a cause that nothing supports: {cause:?}")]
    CauseUnfounded { cluster: ClusterName, app: AppKey, cause: Cause },
    #[error("{cluster}: {app} changed though its version did not")]
    ChangedWithoutVersion { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} changed though it waits")]
    ChangedWaiting { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} changed, and {left} of its group did not")]
    GroupApart { cluster: ClusterName, app: AppKey, left: AppKey },
    #[error("{cluster}: {app} is not the form in effect")]
    NotTheForm { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} was added though nothing wants it")]
    AddedUnwanted { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} is wanted, can be rendered, and is missing")]
    WantedMissing { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: the leaving record of {app} vanished before it was acknowledged")]
    LeavingForgotten { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} has a leaving record but was never there")]
    LeavingInvented { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: the leaving record of {app} changed")]
    LeavingChanged { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} is both an entry and leaving")]
    EntryAndLeaving { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: the earlier version of {app} is not remembered")]
    TrailForgotten { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} may drop {drops} objects, {lost} are lost")]
    DropsTooMany { cluster: ClusterName, app: AppKey, drops: u32, lost: usize },
    #[error("{cluster}: {app} may drop objects and says no cause")]
    DropsWithoutCause { cluster: ClusterName, app: AppKey },
    #[error("{cluster}: {app} leaves though it is protected and nobody approved that: {cause:?}")]
    ProtectedLeaves { cluster: ClusterName, app: AppKey, cause: Cause },
    #[error("{limit:?}: {losing} of {of} go unapproved, {allowed} may")]
    OverLimit { limit: Limit, losing: usize, of: usize, allowed: usize },
}

/// Checks a step. No violations: it may be committed.
pub fn assignment(change: &Change<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut unapproved: BTreeSet<EntryKey> = BTreeSet::new();
    for (cluster, told) in change.previous {
        let next = change.next.get(cluster).unwrap_or(told);
        let step = Step { change, cluster, previous: told, next, wanted: wanted(change, cluster) };
        step.wanted_is_there(&mut found);
        if change.next.contains_key(cluster) {
            step.order(&mut found);
            step.rules(&mut found);
            step.entries(&mut found);
            step.waiting(&mut found);
            step.together(&mut found);
            step.departures(&mut found, &mut unapproved);
            step.leaving(&mut found);
        }
    }
    for cluster in change.next.keys().filter(|cluster| !change.previous.contains_key(*cluster)) {
        found.push(Violation::PastForgotten { cluster: cluster.clone() });
    }
    limits::entries(change, &unapproved, &mut found);
    objects::drops(change, &mut found);
    found
}

fn wanted<'a>(change: &Change<'a>, cluster: &ClusterName) -> BTreeSet<&'a AppKey> {
    if change.emptied.contains_key(cluster) {
        return BTreeSet::new();
    }
    change.wanted.get(cluster).into_iter().flat_map(|apps| apps.keys()).collect()
}

/// The step of one cluster.
struct Step<'a> {
    change: &'a Change<'a>,
    cluster: &'a ClusterName,
    previous: &'a Told,
    next: &'a Told,
    wanted: BTreeSet<&'a AppKey>,
}

impl Step<'_> {
    fn decode(&self, entry: &EncodedEntry) -> Option<Entry> {
        self.change.codec.decode(entry)
    }

    fn wanted_is_there(&self, found: &mut Vec<Violation>) {
        for app in &self.wanted {
            let there = self.next.assignment.entries.contains_key(*app);
            let ran = self.previous.assignment.entries.contains_key(*app);
            let waits = self.change.stays.contains(&((*app).clone(), self.cluster.clone()));
            if !there && (ran || !waits && self.change.forms.get(app, self.cluster).is_some()) {
                found.push(Violation::WantedMissing { cluster: self.cluster.clone(), app: (*app).clone() });
            }
        }
    }

    /// What waits is as it was.
    fn waiting(&self, found: &mut Vec<Violation>) {
        let (before, after) = (&self.previous.assignment, &self.next.assignment);
        let waits = self.change.stays.iter().filter(|(_, cluster)| cluster == self.cluster);
        for (app, _) in waits {
            if before.entries.get(app) != after.entries.get(app) {
                found.push(Violation::ChangedWaiting { cluster: self.cluster.clone(), app: app.clone() });
            }
        }
    }

    fn order(&self, found: &mut Vec<Violation>) {
        let (before, after) = (&self.previous.assignment, &self.next.assignment);
        let (from, to) = ((before.epoch, before.generation), (after.epoch, after.generation));
        if to <= from {
            found.push(Violation::OrderNotGrown { cluster: self.cluster.clone(), from, to });
        }
        let sent = (before.epoch, before.generation, before.digest());
        if self.next.past.last() != Some(&sent) {
            found.push(Violation::PastForgotten { cluster: self.cluster.clone() });
        }
    }

    fn rules(&self, found: &mut Vec<Violation>) {
        let says = self.change.rules.get(self.cluster).cloned().unwrap_or_default();
        let is = &self.next.assignment;
        if says.schedule != is.schedule || says.relations != is.relations {
            found.push(Violation::OtherRules { cluster: self.cluster.clone() });
        }
    }

    fn entries(&self, found: &mut Vec<Violation>) {
        for (app, entry) in &self.next.assignment.entries {
            let (cluster, app) = (self.cluster.clone(), app.clone());
            let old = self.previous.assignment.entries.get(&app);
            if old == Some(entry) {
                continue;
            }
            let read = (old.and_then(|old| self.decode(old)), self.decode(entry));
            if let (Some(before), Some(after)) = &read
                && before.version == after.version
            {
                let raised = Entry {
                    drops: before.drops,
                    drops_cause: before.drops_cause.clone(),
                    drops_of: before.drops_of.clone(),
                    commit: before.commit.clone(),
                    ..after.clone()
                };
                let others = after.drops_of.is_some() && after.drops_of != before.drops_of;
                let more = after.drops > before.drops || others;
                if raised != *before || !more || after.commit != before.commit {
                    found.push(Violation::ChangedWithoutVersion { cluster, app });
                }
                continue;
            }
            if old.is_some_and(|old| !self.next.trail.get(&app).is_some_and(|trail| trail.contains(old))) {
                found.push(Violation::TrailForgotten { cluster: cluster.clone(), app: app.clone() });
            }
            if !self.wanted.contains(&app) {
                found.push(Violation::AddedUnwanted { cluster, app });
                continue;
            }
            let share = self.change.shares.get(&cluster).and_then(|shares| shares.get(&app)).cloned();
            let is_form = |entry: &Entry, form: &AppForm| {
                // Former names that a spoke has not confirmed may be added.
                let formerly = form.options.formerly.union(&entry.options.formerly).cloned().collect();
                // What returns is what it was, its share too.
                let returns = self.change.forms.because(&app, self.cluster) == Some(Because::Returns);
                let share = if returns { form.options.share.clone() } else { share.clone() };
                let options = Options { formerly, share: share.clone(), ..form.options.clone() };
                let same_version = entry.version == form.version;
                (entry.bundle, &entry.options, &entry.values) == (form.bundle, &options, &form.values)
                    && same_version == (returns || share.is_none())
            };
            let form = self.change.forms.get(&app, self.cluster);
            if !read.1.as_ref().zip(form).is_some_and(|(entry, form)| is_form(entry, form)) {
                found.push(Violation::NotTheForm { cluster, app });
            }
        }
    }

    /// Apps of a group change together, or none of them does.
    fn together(&self, found: &mut Vec<Violation>) {
        let mut groups: BTreeMap<&String, [Option<&AppKey>; 2]> = BTreeMap::new();
        for (app, group) in self.change.groups.iter().filter(|(app, _)| self.wanted.contains(*app)) {
            let Some(form) = self.change.forms.get(app, self.cluster) else { continue };
            let returns = self.change.forms.because(app, self.cluster) == Some(Because::Returns);
            let share = self.change.shares.get(self.cluster).and_then(|shares| shares.get(app));
            let version = share.filter(|_| !returns).map_or(form.version, |share| form.with(share).version);
            let (before, after) = (&self.previous.assignment, &self.next.assignment);
            let is_there = |told: &Assignment| {
                let entry = told.entries.get(app).and_then(|entry| self.decode(entry));
                entry.is_some_and(|entry| entry.version == version)
            };
            let comes_back = |name: &AppKey| before.leaving.contains_key(name);
            if comes_back(app) || form.options.formerly.iter().any(comes_back) {
                continue;
            }
            let [moved, left] = groups.entry(group).or_default();
            match (is_there(before), is_there(after)) {
                (false, true) => *moved = Some(app),
                (_, false) => *left = Some(app),
                (true, true) => {}
            }
        }
        for (app, left) in groups.into_values().filter_map(|[moved, left]| moved.zip(left)) {
            let (cluster, app, left) = (self.cluster.clone(), app.clone(), left.clone());
            found.push(Violation::GroupApart { cluster, app, left });
        }
    }

    fn departures(&self, found: &mut Vec<Violation>, unapproved: &mut BTreeSet<EntryKey>) {
        for app in self.previous.assignment.entries.keys() {
            if self.next.assignment.entries.contains_key(app) {
                continue;
            }
            let (cluster, key) = (self.cluster.clone(), app.clone());
            if self.wanted.contains(app) {
                found.push(Violation::WantedLeaves { cluster, app: key });
                continue;
            }
            match self.next.assignment.leaving.get(app) {
                None if self.has_successor(app) => {}
                None => found.push(Violation::Disappeared { cluster, app: key }),
                Some(leaving) if !self.permits(app, &leaving.cause) => {
                    found.push(Violation::CauseUnfounded { cluster, app: key, cause: leaving.cause.clone() });
                }
                Some(leaving) => {
                    if self.is_protected(app, &leaving.cause) {
                        let (cluster, app, cause) = (cluster.clone(), key.clone(), leaving.cause.clone());
                        found.push(Violation::ProtectedLeaves { cluster, app, cause });
                    }
                    if matches!(leaving.cause, Cause::Revision { .. } | Cause::Labels) {
                        unapproved.insert((key, cluster));
                    }
                }
            }
        }
    }

    /// Whether something is protected and nobody who was told so lets it go, nor orders it.
    fn is_protected(&self, app: &AppKey, cause: &Cause) -> bool {
        if let Cause::Operator { .. } = cause {
            return false;
        }
        let key = (app.clone(), self.cluster.clone());
        let lets_go = |of: &dyn Fn(&HoldCause) -> bool| {
            let mut approvals = self.change.approvals.iter();
            approvals.any(|approval| of(&approval.hold.cause) && approval.hold.entries.contains(&key))
        };
        let app_held = self.change.guarded.apps.contains(app)
            && !lets_go(&|cause| matches!(cause, HoldCause::ProtectedApp { app: of } if of == app));
        let cluster_held = self.change.guarded.clusters.contains(self.cluster)
            && !lets_go(
                &|cause| matches!(cause, HoldCause::ProtectedCluster { cluster } if cluster == self.cluster),
            );
        app_held || cluster_held
    }

    fn has_successor(&self, app: &AppKey) -> bool {
        let entries = self.next.assignment.entries.values().filter_map(|entry| self.decode(entry));
        entries.into_iter().any(|entry| entry.options.formerly.contains(app))
    }

    fn permits(&self, app: &AppKey, cause: &Cause) -> bool {
        match cause {
            Cause::Revision { .. } | Cause::Labels => true,
            Cause::Operator { by } => self.change.emptied.get(self.cluster) == Some(by),
            Cause::Approved { hold, by } => self.change.approvals.iter().any(|approval| {
                let covered = approval.hold.entries.contains(&(app.clone(), self.cluster.clone()));
                let covered = covered && !matches!(approval.hold.cause, HoldCause::Leftovers { .. });
                approval.hold.id == *hold && approval.by == *by && covered
            }),
        }
    }

    fn leaving(&self, found: &mut Vec<Violation>) {
        let (before, after) = (&self.previous.assignment, &self.next.assignment);
        let about_this = |report: &&&Report| (report.epoch, report.generation) == before.order();
        let report = self.change.reports.get(self.cluster).filter(about_this);
        for (app, record) in &before.leaving {
            let (cluster, app) = (self.cluster.clone(), app.clone());
            match after.leaving.get(&app) {
                Some(same) if same == record => {}
                Some(raised)
                    if Leaving {
                        objects: record.objects,
                        drops_of: record.drops_of.clone(),
                        ..raised.clone()
                    } == *record
                        && leftovers::approved(
                            self.change,
                            self.cluster,
                            before,
                            &app,
                            raised.drops_of.as_ref(),
                        ) == Some(raised.objects as usize) => {}
                Some(_) => found.push(Violation::LeavingChanged { cluster, app }),
                None => {
                    let done = report.is_some_and(|report| report.left.contains(&app));
                    if !done && !after.entries.contains_key(&app) && !self.has_successor(&app) {
                        found.push(Violation::LeavingForgotten { cluster, app });
                    }
                }
            }
        }
        for app in after.leaving.keys() {
            let (cluster, key) = (self.cluster.clone(), app.clone());
            if after.entries.contains_key(app) {
                found.push(Violation::EntryAndLeaving { cluster, app: key });
            } else if !before.leaving.contains_key(app) && !self.was_here(app) {
                found.push(Violation::LeavingInvented { cluster, app: key });
            }
        }
    }

    /// Whether an app had an entry, under this name or, before a rename that nobody confirmed, as a former name of one.
    fn was_here(&self, app: &AppKey) -> bool {
        let entries = &self.previous.assignment.entries;
        let gone = entries.iter().filter(|(name, _)| !self.next.assignment.entries.contains_key(*name));
        let trail = |name| self.previous.trail.get(name).into_iter().flatten();
        let earlier = gone.flat_map(|(name, entry)| trail(name).chain([entry]));
        let former = earlier.filter_map(|entry| self.decode(entry)).any(|e| e.options.formerly.contains(app));
        entries.contains_key(app) || former
    }
}
