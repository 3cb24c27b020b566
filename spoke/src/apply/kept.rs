//! Kept: what is kept of each app from one round to the next, and told of all.
//!
//! In: apps after their turns. Out: a report of every app, whether this round looked at it or an earlier one.
//! Never: holds objects; lets an app rest that is not just as its entry says.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::Mode;
use nave_placement::report::{EntryReport, EntryState};
use nave_placement::{AppKey, Digest};

use super::pass::Done;
use super::{Desired, judge};
use crate::plan::{Index, successor};
use crate::report::{Outcome, Reason, pending, short};
use crate::target::Inventory;

/// What is kept of an app.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Of which entry.
    pub entry: Digest,
    pub report: EntryReport,
    /// Its version is that of the entry.
    complete: bool,
    /// It must be looked at in the next round.
    pub stale: bool,
    /// Something that another app may bring stands in its way.
    waits: Waits,
}

impl Kept {
    /// Whether nothing is to be done for this entry unless something changed.
    pub fn rests(&self, entry: &Digest) -> bool {
        let healthy = self.report.state == EntryState::Healthy;
        self.entry == *entry && !self.stale && healthy && self.complete
    }
}

/// What another app may bring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waits {
    kinds: bool,
    others: bool,
}

/// What came of one way through the apps in focus.
#[derive(Default)]
pub(super) struct Turns {
    pub done: Vec<Done>,
    /// Whose version could not be stored, and why.
    pub unstored: BTreeMap<AppKey, Reason>,
    /// Who had no turn, since the round was broken off.
    pub not_looked_at: Vec<AppKey>,
}

/// What is kept of all apps.
#[derive(Default)]
pub(super) struct Keeping {
    pub apps: BTreeMap<AppKey, Kept>,
    pub leaving: BTreeMap<AppKey, EntryReport>,
    /// Leaving apps of which it is not known whether anything is left.
    pub unsure: BTreeSet<AppKey>,
}

impl Keeping {
    /// Apps that wait for what others may bring, and whether one of them waits for a kind.
    pub fn waiting(&self) -> (BTreeSet<AppKey>, bool) {
        let waiting = self.apps.iter().filter(|(_, kept)| kept.waits != Waits::default());
        let apps = waiting.map(|(app, _)| app.clone()).collect();
        (apps, self.apps.values().any(|kept| kept.waits.kinds))
    }

    /// Makes reports of what came of the apps' turns, and keeps them.
    pub fn keep(
        &mut self,
        turns: Turns,
        desired: &Desired<'_>,
        inventories: &BTreeMap<AppKey, Inventory>,
        outcome: &mut Outcome,
    ) {
        let Turns { done, mut unstored, not_looked_at } = turns;
        for app in done {
            let unstored = unstored.remove(&app.app);
            self.keep_one(app, desired, inventories, unstored, outcome);
        }
        for app in not_looked_at {
            if let Some(kept) = self.apps.get_mut(&app) {
                kept.stale = true;
            }
        }
    }

    fn keep_one(
        &mut self,
        done: Done,
        desired: &Desired<'_>,
        inventories: &BTreeMap<AppKey, Inventory>,
        unstored: Option<Reason>,
        outcome: &mut Outcome,
    ) {
        let Done { app, steps, progress, mut report, mut reasons } = done;
        reasons.extend(progress.problems);
        let finished = progress.finished && unstored != Some(Reason::Interrupted);
        reasons.extend(unstored.filter(|_| finished));
        if !finished {
            reasons.push(Reason::Interrupted);
        }
        if !progress.kept.is_empty() {
            outcome.kept.entry(app.clone()).or_default().extend(progress.kept);
        }
        let inventory = inventories.get(&app);
        let Some(entry) = desired.assignment.entries.get(&app) else {
            if let Some(inventory) = inventory.filter(|_| desired.assignment.leaving.contains_key(&app)) {
                self.leaving.insert(app, judge::leaving(report, inventory, reasons));
            }
            return;
        };
        let waits = Waits {
            kinds: reasons.iter().any(|reason| matches!(reason, Reason::NotServed { .. })),
            others: reasons.iter().any(|r| matches!(r, Reason::Refused { .. } | Reason::NotSeen { .. })),
        };
        // Two passes of one round are one round to the reader.
        let before = self.apps.get(&app).map(|kept| &kept.report);
        report.corrected = before.map_or(0, |report| report.corrected) + progress.corrected.len() as u64;
        judge::remember(&mut report, progress.corrections, before);
        let wanted = desired.entries.get(&app).and_then(|e| e.as_ref().ok()).map(|entry| entry.version);
        let observes = steps.treatment.mode == Mode::Observe;
        report.version = if observes && reasons.is_empty() {
            // Nothing is applied (any more), and nothing would have to be.
            wanted
        } else {
            inventory.and_then(|inventory| inventory.version)
        };
        let complete = report.version.is_some() && report.version == wanted;
        let mut report = judge::verdict(report, reasons);
        // Here, since a later round tells it again and has not opened anything of this app.
        desired.secrets.scrub(&mut report);
        let (entry, report) = (entry.digest, short(report));
        self.apps.insert(app, Kept { entry, report, complete, stale: !finished, waits });
    }

    /// Tells of all apps, whether this round looked at them or an earlier one.
    pub fn tell(
        &mut self,
        desired: &Desired<'_>,
        index: &Index,
        inventories: &BTreeMap<AppKey, Inventory>,
        outcome: &mut Outcome,
    ) {
        let assignment = desired.assignment;
        for (app, entry) in &assignment.entries {
            let report = match self.apps.get_mut(app) {
                Some(kept) if kept.entry == entry.digest => {
                    let report = kept.report.clone();
                    kept.report.corrected = 0;
                    report
                }
                _ => {
                    let version = inventories.get(app).and_then(|inventory| inventory.version);
                    judge::verdict(EntryReport { version, ..pending() }, vec![Reason::Interrupted])
                }
            };
            outcome.apps.insert(app.clone(), report);
        }
        self.leaving.retain(|app, _| {
            assignment.leaving.contains_key(app)
                && !assignment.entries.contains_key(app)
                && inventories.contains_key(app)
        });
        for app in assignment.leaving.keys().filter(|app| !assignment.entries.contains_key(*app)) {
            if inventories.contains_key(app) {
                let report = self.leaving.get(app).cloned();
                let report = report.unwrap_or_else(|| judge::verdict(pending(), vec![Reason::Interrupted]));
                outcome.leaving.insert(app.clone(), report);
            } else if self.unsure.contains(app) {
                let message = "it is not known which of its objects are here".to_owned();
                let report = judge::verdict(pending(), vec![Reason::Unreachable { message }]);
                outcome.leaving.insert(app.clone(), report);
            } else {
                outcome.left.insert(app.clone());
            }
        }
        let unassigned = |app: &&AppKey| {
            !assignment.entries.contains_key(*app)
                && !assignment.leaving.contains_key(*app)
                && successor(index, app).is_none()
        };
        outcome.unassigned = inventories.keys().filter(unassigned).cloned().collect();
    }
}
