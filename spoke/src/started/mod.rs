//! Started: what runs while changes of the accepted assignment may not start.
//!
//! In: the accepted assignment, the entries that had begun before it. Out: the assignment that is enforced meanwhile, and which
//! apps wait. Never: mixes two versions of one app, lets a removal begin that waits, keeps back what an operator ordered.

mod starting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::assign::{Assignment, Cause, EncodedEntry, Leaving};
use nave_placement::report::{EntryReason, EntryReport, EntryState};
use nave_placement::schedule::{Closed, ClosedBy};
use nave_proto::decode_entry;

pub use starting::{Now, Starting};

use crate::report::{Outcome, pending};

/// Entries by app.
pub type Entries = BTreeMap<AppKey, EncodedEntry>;

/// What is enforced of an accepted assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// The entries that run, removals that have begun.
    pub assignment: Arc<Assignment>,
    /// Apps of which something waits: another version, the first one, their removal.
    pub waiting: BTreeSet<AppKey>,
}

impl Enforced {
    /// All of it: every change has begun.
    pub fn all(accepted: &Arc<Assignment>) -> Self {
        Self { assignment: accepted.clone(), waiting: BTreeSet::new() }
    }

    /// What had begun before, brought as far as no change of a version is needed.
    pub fn of(accepted: &Arc<Assignment>, started: &Entries) -> Self {
        let mut waiting = BTreeSet::new();
        let mut entries = Entries::new();
        for (app, entry) in &accepted.entries {
            match started.get(app) {
                // What may be pruned, and the commit, are of the same version.
                Some(before) if is_same(before, entry) => drop(entries.insert(app.clone(), entry.clone())),
                before => {
                    entries.extend(before.map(|before| (app.clone(), before.clone())));
                    waiting.insert(app.clone());
                }
            }
        }
        let begun = |(app, leaving): &(&AppKey, &Leaving)| {
            !started.contains_key(*app) || matches!(leaving.cause, Cause::Operator { .. })
        };
        let leaving: BTreeMap<AppKey, Leaving> = accepted
            .leaving
            .iter()
            .filter(begun)
            .map(|(app, leaving)| (app.clone(), leaving.clone()))
            .collect();
        // Those that are to leave, and those that go on under another name.
        for (app, before) in started.iter().filter(|(app, _)| !accepted.entries.contains_key(*app)) {
            if !leaving.contains_key(app) {
                entries.insert(app.clone(), before.clone());
                waiting.insert(app.clone());
            }
        }
        if waiting.is_empty() && entries == accepted.entries && leaving == accepted.leaving {
            return Self::all(accepted);
        }
        Self { assignment: Arc::new(Assignment { entries, leaving, ..(**accepted).clone() }), waiting }
    }

    /// Says of those that wait why, in what is reported of the accepted assignment.
    pub fn tell(&self, accepted: &Assignment, closed: &Closed, outcome: &mut Outcome) {
        for app in &self.waiting {
            let mut report = outcome.apps.remove(app).unwrap_or_else(pending);
            // What ails the version that runs is not hidden by what waits.
            if report.state < EntryState::Waiting {
                report.state = EntryState::Waiting;
                report.reason = match closed.by {
                    ClosedBy::Windows => EntryReason::WindowClosed,
                    ClosedBy::Freeze => EntryReason::Frozen,
                };
                report.message = closed.to_string();
            }
            let told = match accepted.entries.get(app) {
                Some(entry) => {
                    // Nobody approves anything of a version that is on its way out.
                    let objects = decode_entry(&entry.bytes).map_or(report.objects, |entry| entry.objects);
                    let objects = if report.version.is_none() { objects } else { report.objects };
                    outcome.apps.insert(app.clone(), EntryReport { asks: None, objects, ..report });
                    continue;
                }
                None => accepted.leaving.contains_key(app),
            };
            // One that has another name is told of under that.
            if told {
                outcome.leaving.insert(app.clone(), EntryReport { asks: None, ..report });
            }
        }
    }
}

fn is_same(before: &EncodedEntry, after: &EncodedEntry) -> bool {
    let version = |entry: &EncodedEntry| decode_entry(&entry.bytes).ok().map(|entry| entry.version);
    before == after || version(before).is_some_and(|before| version(after) == Some(before))
}
