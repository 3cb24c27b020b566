//! Started: what runs while changes of the accepted assignment may not start, or have not their turn yet.
//!
//! In: the accepted assignment, the entries that had begun before it. Out: the assignment that is enforced meanwhile, and which
//! apps wait. Never: mixes two versions of one app, lets a removal begin that waits, keeps back what an operator ordered.

mod order;
#[cfg(test)]
mod order_tests;
mod starting;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::assign::{Assignment, Cause, EncodedEntry};
use nave_placement::report::{EntryReason, EntryState, WOULD_PRUNE};
use nave_proto::decode_entry;

pub use order::{Memory, Met, Stand, Step, Switch, Switching, met, step};
pub use starting::{Now, Starting, Wait};

use crate::report::{Outcome, pending, short};

/// Entries by app.
pub type Entries = BTreeMap<AppKey, EncodedEntry>;

/// What had begun before the accepted assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// What runs of it.
    pub entries: Entries,
    /// Whether nothing else runs. Where a record was lost, that is not known.
    pub is_all: bool,
}

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
    pub fn of(accepted: &Arc<Assignment>, started: &Started) -> Self {
        let mut waiting = BTreeSet::new();
        let mut entries = Entries::new();
        for (app, entry) in &accepted.entries {
            match started.entries.get(app) {
                // What may be pruned, and the commit, are of the same version.
                Some(before) if is_same(before, entry) => drop(entries.insert(app.clone(), entry.clone())),
                before => {
                    entries.extend(before.map(|before| (app.clone(), before.clone())));
                    waiting.insert(app.clone());
                }
            }
        }
        let mut leaving = BTreeMap::new();
        for (app, record) in &accepted.leaving {
            let had_begun = started.is_all && !started.entries.contains_key(app);
            if had_begun || matches!(record.cause, Cause::Operator { .. }) {
                leaving.insert(app.clone(), record.clone());
            } else {
                entries.extend(started.entries.get(app).map(|before| (app.clone(), before.clone())));
                waiting.insert(app.clone());
            }
        }
        // What goes on under another name does so together with that. An app that is merely missing is enforced no more.
        let gone =
            |app: &&AppKey| !accepted.entries.contains_key(*app) && !accepted.leaving.contains_key(*app);
        let gone: Vec<&AppKey> = started.entries.keys().filter(gone).collect();
        if !gone.is_empty() {
            let next = waiting.iter().filter_map(|app| accepted.entries.get(app));
            let former: BTreeSet<AppKey> = next
                .filter_map(|entry| decode_entry(&entry.bytes).ok())
                .flat_map(|entry| entry.options.formerly)
                .collect();
            for app in gone.into_iter().filter(|app| former.contains(*app)) {
                entries.insert(app.clone(), started.entries[app].clone());
                waiting.insert(app.clone());
            }
        }
        if waiting.is_empty() && entries == accepted.entries && leaving == accepted.leaving {
            return Self::all(accepted);
        }
        Self { assignment: Arc::new(Assignment { entries, leaving, ..(**accepted).clone() }), waiting }
    }

    /// Says of those that wait why, in what is reported of the accepted assignment.
    pub fn tell(&self, accepted: &Assignment, waits: &BTreeMap<AppKey, Wait>, outcome: &mut Outcome) {
        for app in &self.waiting {
            // What goes on under another name is told of under that.
            let Some(wait) = waits.get(app) else {
                if !accepted.entries.contains_key(app) && !accepted.leaving.contains_key(app) {
                    outcome.apps.remove(app);
                }
                continue;
            };
            let mut report = outcome.apps.remove(app).unwrap_or_else(pending);
            // Nobody approves anything of a version that is on its way out.
            report.asks = None;
            let asks = report.reason == EntryReason::PruneRefused;
            report.notes.retain(|note| note.reason != WOULD_PRUNE);
            if wait.fails {
                report.state = EntryState::Failed;
                report.reason = wait.reason;
                report.message = match report.message.as_str() {
                    "" => wait.message.clone(),
                    _ if asks => format!(
                        "{}; what the new version brought stays until the hub lets it go",
                        wait.message
                    ),
                    ails => format!("{}; {ails}", wait.message),
                };
            } else if report.state < EntryState::Waiting || asks {
                report.state = EntryState::Waiting;
                report.reason = wait.reason;
                report.message.clone_from(&wait.message);
            } else {
                // What ails the version that runs comes first.
                report.message = format!("{}; a change waits: {}", report.message, wait.message);
            }
            match (accepted.entries.get(app), accepted.leaving.contains_key(app)) {
                (Some(entry), _) => {
                    if report.version.is_none() {
                        let entry = decode_entry(&entry.bytes);
                        report.objects = entry.map_or(report.objects, |entry| entry.objects);
                    }
                    outcome.apps.insert(app.clone(), short(report));
                }
                (None, true) => _ = outcome.leaving.insert(app.clone(), short(report)),
                // It is told of under its other name.
                (None, false) => {}
            }
        }
    }
}

fn is_same(before: &EncodedEntry, after: &EncodedEntry) -> bool {
    let version = |entry: &EncodedEntry| decode_entry(&entry.bytes).ok().map(|entry| entry.version);
    before == after || version(before).is_some_and(|before| version(after) == Some(before))
}

/// Encoded entries in JSON, as base64.
mod encoded {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use nave_placement::assign::EncodedEntry;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(entry: &Option<EncodedEntry>, to: S) -> Result<S::Ok, S::Error> {
        match entry {
            Some(entry) => to.serialize_some(&STANDARD.encode(&entry.bytes)),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<EncodedEntry>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let bytes = text.map(|text| STANDARD.decode(text)).transpose().map_err(de::Error::custom)?;
        Ok(bytes.map(EncodedEntry::new))
    }
}
