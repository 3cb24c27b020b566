//! Effects: what the actions of sessions, and an operator's word on a restored store, make of the state.
//!
//! In: the state, what a session said. Out: batches to commit, in order; none where nothing changes.
//! Never: commits, sends, or takes from a spoke anything that would let a loss pass unseen by the guard.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::assign::{Assignment, Epoch, Generation, Known, PAST, TRAIL, Told};
use nave_placement::report::Report;
use nave_placement::{AppKey, ClusterName, Fingerprints};

use super::core::Action;
use crate::deciding::core::{Write, json};
use crate::deciding::history;
use crate::state::history::{Authors, Cause, What, Writer};
use crate::state::records::{DoubtRecord, FleetRecord, key};
use crate::state::{Audit, Heard, State, Step, report_to_bytes, told_to_bytes};
use crate::store::{Batch, MAX_BATCH_BYTES};

/// Operations of one batch of assignments: one put and one precondition each, with room for the fleet's record and an audit
/// line below the store's 128.
const CLUSTERS_PER_BATCH: usize = 60;

/// What an action of a cluster's session writes. Whoever gets a conflict on commit asks again with the newer state.
pub fn effects(state: &State, cluster: &ClusterName, action: &Action, now_ms: u64) -> Vec<Write> {
    let write = match action {
        Action::Report(report) => {
            // The order alone is worth a write only once a boot: a hello is compared with it.
            let same = |held: &Report| held.boot == report.boot && held.digest() == report.digest();
            if state.reports.get(cluster).is_some_and(|held| same(&held.record)) {
                return Vec::new();
            }
            // Only the end of a removal, and what waits for approval, changes what a cluster is to be told next.
            let done = report.left.iter().any(|app| state.told(cluster).assignment.leaving.contains_key(app));
            let before = state.reports.get(cluster).map(|held| asked(&held.record)).unwrap_or_default();
            let heeded = done || before != asked(report);
            let step = if heeded { Step::ReportHeeded } else { Step::ReportTaken };
            let before = state.reports.get(cluster).map(|held| &*held.record);
            let heard = Heard::of(report.clone(), before, &state.told(cluster), now_ms);
            plain(step, kept(cluster, &heard))
        }
        Action::Facts(facts) => {
            if state.facts.get(cluster).is_some_and(|held| *held.record == *facts) {
                return Vec::new();
            }
            let record = json(facts);
            // Escapes make JSON of what the protocol's limit let through: the last facts stay, and no session fails by it.
            if record.len() > MAX_BATCH_BYTES / 2 {
                tracing::warn!(%cluster, bytes = record.len(), "its facts are larger than the store takes");
                return Vec::new();
            }
            plain(Step::FactsTaken, Batch::new().put(key::facts(cluster), record))
        }
        Action::LostState(epoch, generation) => return doubt(state, cluster, *epoch, *generation, now_ms),
        Action::Seed(held) => return seed(state, cluster, held, now_ms),
        Action::Send(_)
        | Action::Free(_)
        | Action::Accepted(..)
        | Action::Answered(_)
        | Action::Detached
        | Action::Alarm(_)
        | Action::Close(_) => return Vec::new(),
    };
    vec![write]
}

/// What a spoke asks to delete, each under which assignment.
fn asked(report: &Report) -> Vec<(Epoch, Generation, &AppKey, &Fingerprints)> {
    let entries = report.entries.iter().chain(&report.leaving);
    entries
        .filter_map(|(app, entry)| Some((report.epoch, report.generation, app, entry.asks.as_ref()?)))
        .collect()
}

/// A report, with as many of its details as the store takes. Its digest is as the spoke sealed it, so that both ends still
/// hold the same.
fn kept(cluster: &ClusterName, heard: &Heard) -> Batch {
    let batch = |heard: &Heard| Batch::new().put(key::report(cluster), report_to_bytes(heard));
    let brief = |objects, text| {
        let report = Arc::new(heard.report.without_details(objects, text));
        batch(&Heard { report, stood: heard.stood.clone() })
    };
    let whole = batch(heard);
    if whole.bytes() <= MAX_BATCH_BYTES {
        return whole;
    }
    let some = brief(1, 200);
    if some.bytes() <= MAX_BATCH_BYTES { some } else { brief(0, 0) }
}

fn plain(step: Step, batch: Batch) -> Write {
    Write { step, batch, audits: Vec::new() }
}

/// From the first proof on nothing is sent to anybody. Later proofs only raise the epoch that has to be surpassed.
fn doubt(
    state: &State,
    cluster: &ClusterName,
    epoch: Epoch,
    generation: Generation,
    now_ms: u64,
) -> Vec<Write> {
    let held = state.doubt.as_ref();
    let record = match held {
        Some(held) if held.epoch >= epoch => return Vec::new(),
        Some(held) => DoubtRecord { epoch, ..(*held.record).clone() },
        None => DoubtRecord { cluster: cluster.clone(), epoch, generation, since_ms: now_ms },
    };
    let batch = Batch::new().require_same(key::DOUBT, held.map(|h| h.version)).put(key::DOUBT, json(&record));
    let audit = Audit {
        who: format!("spoke {cluster}"),
        what: "StateLost",
        subject: "fleet".to_owned(),
        why: format!(
            "it holds assignment {}.{} with this hub's seal, which this store does not know",
            epoch.0, generation.0
        ),
        ..Audit::default()
    };
    vec![Write { step: Step::DoubtRaised, batch, audits: vec![audit] }]
}

/// What a spoke holds from before a restore becomes what it was told: from there on a removal is a loss that the guard sees.
/// What this store thought it had told is remembered in the trail, since objects of it may be there.
fn seed(state: &State, cluster: &ClusterName, held: &Assignment, now_ms: u64) -> Vec<Write> {
    let told = state.told(cluster);
    let own = &told.assignment;
    // What is not from an epoch before ours is a reason to doubt, not a seed; and a doubt comes first.
    if state.doubt.is_some() || held.epoch >= own.epoch || !state.members.contains_key(cluster) {
        return Vec::new();
    }
    // Another session of this cluster was asked the same and answered: taken again, it would undo what was decided since.
    if told.knows(held.epoch, held.generation, &held.digest()) != Known::Lost {
        return Vec::new();
    }
    let mut trail = told.trail.clone();
    for (app, entry) in own.entries.iter().filter(|(app, entry)| held.entries.get(*app) != Some(*entry)) {
        trail.entry(app.clone()).or_default().push(entry.clone());
    }
    trail.retain(|app, _| held.entries.contains_key(app));
    for entries in trail.values_mut() {
        entries.drain(..entries.len().saturating_sub(TRAIL));
    }
    let mut past = told.past.clone();
    // From now on it is something that this store knows: the seed is taken once.
    past.push((held.epoch, held.generation, held.digest()));
    past.push((own.epoch, own.generation, own.digest()));
    past.drain(..past.len().saturating_sub(PAST));
    let assignment = Assignment {
        epoch: own.epoch,
        generation: Generation(own.generation.0 + 1),
        entries: held.entries.clone(),
        leaving: held.leaving.clone(),
        schedule: held.schedule.clone(),
        relations: held.relations.clone(),
    };
    let key = key::assignment(cluster);
    let mut changes = told.changes.clone();
    changes.retain(|app, _| held.entries.get(app) == own.entries.get(app));
    let next = Told { assignment, trail, past, changes };
    let value = told_to_bytes(&next);
    let batch =
        Batch::new().require_same(key.clone(), state.told.get(cluster).map(|t| t.version)).put(key, value);
    let found = history::all(&told, &next, cluster, (What::Found, &Cause::Restored));
    let batch = Writer::new(&state.history, &Authors::new(), now_ms).put(batch, found);
    let audit = Audit {
        who: format!("spoke {cluster}"),
        what: "Seeded",
        subject: format!("cluster {cluster}"),
        why: format!("it holds assignment {}.{} from before the restore", held.epoch.0, held.generation.0),
        details: BTreeMap::from([("entries".to_owned(), held.entries.len().to_string())]),
        ..Audit::default()
    };
    vec![Write { step: Step::SeedTaken, batch, audits: vec![audit] }]
}

/// An operator takes the store for the truth: a new epoch above every one that was seen, every assignment again in it,
/// and when all that is written, the end of the doubt. Cut off anywhere, the doubt stays and the next attempt begins anew.
///
/// `None` while there is no doubt and no fleet.
pub fn accept_restore(state: &State, operator: &Audit) -> Option<Vec<Write>> {
    let (fleet, doubt) = (state.fleet.as_ref()?, state.doubt.as_ref()?);
    let told = state.told.values().map(|told| told.assignment.epoch);
    let highest = told.chain([fleet.epoch, doubt.epoch]).max()?;
    let epoch = Epoch(highest.0 + 1);
    let record = FleetRecord { epoch, ..(*fleet.record).clone() };
    let mut batch = Batch::new().require_at(key::FLEET, fleet.version).put(key::FLEET, json(&record));
    let mut writes = Vec::new();
    for (count, (cluster, told)) in state.told.iter().enumerate() {
        let key = key::assignment(cluster);
        let value = told_to_bytes(&again(told, epoch));
        if (count > 0 && count % CLUSTERS_PER_BATCH == 0) || batch.bytes() + value.len() > MAX_BATCH_BYTES / 2
        {
            writes.push(plain(Step::RestoreAccepted, std::mem::take(&mut batch)));
        }
        batch = batch.require_at(key.clone(), told.version).put(key, value);
    }
    writes.push(plain(Step::RestoreAccepted, batch));
    let audit = Audit {
        what: "RestoreAccepted",
        subject: "fleet".to_owned(),
        details: BTreeMap::from([("epoch".to_owned(), epoch.0.to_string())]),
        ..operator.clone()
    };
    let end = Batch::new().require_at(key::DOUBT, doubt.version).delete(key::DOUBT);
    writes.push(Write { step: Step::RestoreAccepted, batch: end, audits: vec![audit] });
    Some(writes)
}

/// The same assignment, first of a new epoch.
fn again(told: &Told, epoch: Epoch) -> Told {
    let mut next = told.clone();
    let before = &told.assignment;
    next.past.push((before.epoch, before.generation, before.digest()));
    next.past.drain(..next.past.len().saturating_sub(PAST));
    next.assignment.epoch = epoch;
    next.assignment.generation = Generation(1);
    next
}

#[cfg(test)]
mod tests {
    use nave_placement::fleet::{Fact, Facts, Resources};
    use nave_placement::report::{EntryReason, EntryReport, EntryState, ObjectReport};
    use nave_placement::{Digest, ObjectKey};

    use super::*;
    use crate::state::Ledger;
    use crate::store::StoreError;
    use crate::store::memory::Memory;

    #[tokio::test]
    async fn facts_are_written_when_they_change_and_what_is_free_never() {
        let ledger = Ledger::load(Arc::new(Memory::new()), Arc::new(|| 1)).await.expect("an empty store");
        let cluster: ClusterName = "fra-1".parse().expect("valid");
        let nodes = |count| Action::Facts(Facts { nodes: Fact::Present(count), ..Facts::default() });
        let free = |cpu_millis| Action::Free(Some(Resources { cpu_millis, ..Resources::default() }));
        let custom = BTreeMap::from([("a".to_owned(), "\u{1}".repeat(MAX_BATCH_BYTES / 6))]);
        let huge = Action::Facts(Facts { custom: Fact::Present(custom), ..Facts::default() });
        // (what is said, commits since the beginning)
        let rows = [
            (nodes(3), 1),
            (nodes(3), 1),
            (free(1_000), 1),
            (free(2_000), 1),
            (nodes(4), 2),
            (huge, 2),
            (nodes(4), 2),
        ];
        let commits = ledger.changes();
        for (said, expected) in rows {
            let writes = effects(&ledger.state(), &cluster, &said, 1);
            for write in writes {
                ledger.commit_audited(write.step, write.batch, &write.audits).await.expect("committed");
            }
            assert_eq!(*commits.borrow(), expected, "{said:?}");
        }
        assert_eq!(ledger.state().facts[&cluster].record.nodes, Fact::Present(4));
    }

    fn entry(details: usize, text: usize) -> EntryReport {
        let object = |number: usize| ObjectReport {
            key: ObjectKey {
                group: "apps".into(),
                kind: "Deployment".into(),
                namespace: "shop".into(),
                name: format!("web-{number}"),
            },
            state: "Degraded".into(),
            reason: "Unschedulable".into(),
            message: "x".repeat(text),
        };
        let report = EntryReport {
            version: Some(Digest::of(b"1")),
            state: EntryState::Degraded,
            reason: EntryReason::ObjectUnhealthy,
            message: "y".repeat(text),
            objects: 20,
            healthy: 0,
            unhealthy: (0..details).map(object).collect(),
            corrected: 0,
            drifted: 0,
            notes: (0..details).map(object).collect(),
            asks: None,
            digest: Digest::default(),
        };
        report.seal()
    }

    #[test]
    fn a_report_that_the_store_does_not_take_loses_details_and_never_its_digest() {
        let cluster: ClusterName = "fra-1".parse().expect("valid");
        // Entries, objects and text of each; what is left of the objects; whether that is said.
        let rows = [
            (10, 20, 100, 20, false),
            (500, 20, 100, 1, true),
            (2_000, 1, 1_000, 0, true),
            (3_000, 0, 0, 0, false),
        ];
        for (entries, details, text, left, told) in rows {
            let entries = (0..entries)
                .map(|number| (format!("app-{number}").parse().expect("valid"), entry(details, text)));
            let report = Report { boot: 1, sequence: 1, entries: entries.collect(), ..Report::default() };
            let mut state = State::default();
            let writes = effects(&state, &cluster, &Action::Report(report.clone()), 1);
            let [write] = <[Write; 1]>::try_from(writes).expect("one write");
            let batch = write.batch.checked().map_err(|e: StoreError| e.to_string()).expect("it fits");
            for (key, value) in batch.writes() {
                state.fold(key, crate::store::Version(1), value.as_ref()).expect("it can be read");
            }
            let held = &state.reports[&cluster];
            assert_eq!(held.digest(), report.digest());
            assert!(held.entries.values().all(|entry| entry.unhealthy.len() == left));
            assert!(held.entries.values().all(|entry| entry.message.contains("left out") == told));
            assert!(
                effects(&state, &cluster, &Action::Report(report), 2).is_empty(),
                "it is not written again"
            );
        }
    }
}
