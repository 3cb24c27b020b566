//! The batches of assignments, and the lines of the audit log that tell what leaves with them.
//!
//! In: what clusters are told next, what the guard lets go. Out: batches in order, each with its own losses.
//! Never: writes a record that the store would not take; decides what leaves.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{Cause, Told};
use nave_placement::catalog::Catalog;
use nave_placement::guard::{BY_TRAILER, PastLoss, Verdict, WINDOW_MS};
use nave_placement::{AppKey, ClusterName};

use super::core::{Write, json};
use crate::state::history::{Authors, Changed, RECORD_BYTES, Writer, size_of};
use crate::state::records::{WindowRecord, key};
use crate::state::{Audit, State, Step, told_to_bytes};
use crate::store::{Batch, MAX_BATCH_BYTES};

/// Clusters of one batch of assignments: three operations each (a put and two preconditions), so 90; one for the window, two for
/// each audit line, two for the record of history and three for old ones that go make at most 128, as many as the store takes.
const CLUSTERS_PER_BATCH: usize = 30;
/// Audit lines of one batch; what more apps leave is told in the last of them.
const LINES_PER_BATCH: usize = 16;
/// Bytes of one batch, with room for the window and audit lines below the store's limit.
const BYTES_PER_BATCH: usize = MAX_BATCH_BYTES / 2;
/// Clusters that one audit line lists.
const CLUSTERS_PER_LINE: usize = 50;

/// A record that fits a batch: of what a spoke has not confirmed for long, the oldest is given up first, but for the very
/// first, which may be what runs there; what only that had is then not approved to be pruned, and the spoke says so. `None`
/// where the entries alone are too many.
fn fitted(mut told: Told) -> Option<Vec<u8>> {
    loop {
        let value = told_to_bytes(&told);
        if value.len() <= BYTES_PER_BATCH {
            return Some(value);
        }
        // Then nothing can return to what it was; what may be pruned matters more.
        if told.changes.values().any(|change| change.previous.is_some()) {
            told.changes.values_mut().for_each(|change| change.previous = None);
            continue;
        }
        if told.trail.is_empty() {
            return None;
        }
        told.trail.retain(|_, entries| {
            entries.remove(usize::from(entries.len() > 1));
            !entries.is_empty()
        });
    }
}

/// A cluster's part of a batch.
struct Part {
    cluster: ClusterName,
    value: Vec<u8>,
    changes: Vec<Changed>,
}

/// The assignments that differ, some clusters a batch; each batch counts its own losses into the guard's window, and tells what
/// changes. And the clusters whose assignment no batch can hold.
pub(super) fn assignments(
    (state, catalog): (&State, &Catalog),
    next: BTreeMap<ClusterName, Told>,
    verdict: &Verdict,
    changes: &dyn Fn(&ClusterName, &Told) -> Vec<Changed>,
    authors: &Authors,
    now_ms: u64,
) -> (Vec<Write>, BTreeSet<ClusterName>) {
    let recent = |l: &&PastLoss| l.at_ms + WINDOW_MS > now_ms;
    let mut window: Vec<PastLoss> = state.losses().iter().filter(recent).cloned().collect();
    let mut writes = Vec::new();
    let mut history = Writer::new(&state.history, authors, now_ms);
    let mut chunk: Vec<Part> = Vec::new();
    let (mut bytes, mut told_bytes) = (0, 0);
    let mut flush = |chunk: &mut Vec<Part>| {
        if !chunk.is_empty() {
            let mut parts = std::mem::take(chunk);
            let changes = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.changes)).collect();
            let Write { step, batch, audits } =
                assignment_batch((state, catalog), &parts, verdict, &mut window, now_ms);
            writes.push(Write { step, batch: history.put(batch, changes), audits });
        }
    };
    let mut too_large = BTreeSet::new();
    for (cluster, told) in next {
        let changes = changes(&cluster, &told);
        let Some(value) = fitted(told) else {
            too_large.insert(cluster);
            continue;
        };
        let of_changes: usize = changes.iter().map(size_of).sum();
        let is_full = bytes + value.len() > BYTES_PER_BATCH || told_bytes + of_changes > RECORD_BYTES;
        if chunk.len() == CLUSTERS_PER_BATCH || is_full {
            flush(&mut chunk);
            (bytes, told_bytes) = (0, 0);
        }
        bytes += value.len();
        told_bytes += of_changes;
        chunk.push(Part { cluster, value, changes });
    }
    flush(&mut chunk);
    (writes, too_large)
}

fn assignment_batch(
    (state, catalog): (&State, &Catalog),
    chunk: &[Part],
    verdict: &Verdict,
    window: &mut Vec<PastLoss>,
    now_ms: u64,
) -> Write {
    let mut batch = Batch::new();
    let mut lost: BTreeMap<(&'static str, &AppKey, &Cause), Vec<&ClusterName>> = BTreeMap::new();
    let before = window.len();
    for Part { cluster, value, .. } in chunk {
        let key = key::assignment(cluster);
        batch = batch.require_same(key.clone(), state.told.get(cluster).map(|t| t.version));
        batch = batch.put(key, value.clone());
        let member = key::member(cluster);
        batch = batch.require_same(member, state.members.get(cluster).map(|m| m.version));
    }
    let clusters: BTreeSet<&ClusterName> = chunk.iter().map(|part| &part.cluster).collect();
    for ((app, cluster), cause) in &verdict.entries {
        if clusters.contains(cluster) {
            lost.entry(("Leaving", app, cause)).or_default().push(cluster);
            // What somebody approved by name does not use up what may go unasked.
            if matches!(cause, Cause::Revision { .. } | Cause::Labels) {
                window.push(PastLoss { at_ms: now_ms, app: app.clone(), cluster: cluster.clone() });
            }
        }
    }
    if window.len() != before {
        batch = batch.put(key::WINDOW, json(&WindowRecord { losses: window.clone() }));
    }
    for ((app, cluster), (_, cause)) in &verdict.leftovers {
        if clusters.contains(cluster) {
            lost.entry(("Pruned", app, cause)).or_default().push(cluster);
        }
    }
    let lines =
        |((what, app, cause), clusters): (_, Vec<_>)| audits_of(what, (catalog, app), cause, &clusters);
    let audits = lost.into_iter().flat_map(lines);
    Write { step: Step::AssignmentsMade, batch, audits: bounded(audits.collect()) }
}

/// As many lines as a batch has room for: the last one tells of all that are left, each by its app.
fn bounded(mut audits: Vec<Audit>) -> Vec<Audit> {
    if audits.len() <= LINES_PER_BATCH {
        return audits;
    }
    let rest = audits.split_off(LINES_PER_BATCH - 1);
    let told = |a: &Audit| {
        let clusters = a.details.get("clusters").cloned().unwrap_or_default();
        (a.subject.clone(), format!("{} by {}: {clusters}", a.why, a.who))
    };
    audits.push(Audit {
        who: "hub".to_owned(),
        what: "Leaving",
        subject: format!("{} apps", rest.len()),
        details: rest.iter().map(told).collect(),
        ..Audit::default()
    });
    audits
}

fn audits_of(
    what: &'static str,
    (catalog, app): (&Catalog, &AppKey),
    cause: &Cause,
    clusters: &[&ClusterName],
) -> Vec<Audit> {
    let (who, why) = match cause {
        Cause::Revision { commit } => {
            // The root may have its part in what becomes of a tenant's app.
            let is_roots = catalog.commit == *commit && catalog.commit_of(&app.catalog) != Some(commit);
            let of = if is_roots { &catalog.name } else { &app.catalog };
            (format!("catalog {of}@{}", commit.short()), "Revision".to_owned())
        }
        Cause::Labels => ("hub".to_owned(), "Labels".to_owned()),
        Cause::Operator { by } => (format!("operator {by}"), "Operator".to_owned()),
        Cause::Approved { hold, by } => {
            let who = if by.starts_with(BY_TRAILER) { by.clone() } else { format!("operator {by}") };
            (who, format!("Approved {hold}"))
        }
    };
    let line = |clusters: &[&ClusterName]| {
        let names = clusters.iter().map(|c| c.as_str()).collect::<Vec<_>>().join(",");
        let details = BTreeMap::from([("clusters".to_owned(), names)]);
        Audit {
            who: who.clone(),
            what,
            subject: format!("app {app}"),
            why: why.clone(),
            details,
            ..Audit::default()
        }
    };
    clusters.chunks(CLUSTERS_PER_LINE).map(line).collect()
}

#[cfg(test)]
mod tests {
    use nave_placement::CatalogName;
    use nave_placement::assign::{EncodedEntry, Epoch};
    use nave_placement::catalog::{CommitId, Files, LastGood, Tree, assemble};

    use super::*;

    fn catalog() -> Catalog {
        let commit = CommitId("c".into());
        assemble(&CatalogName::root(), &commit, true, &Tree::new(), &Files::new(), &LastGood::new())
    }

    #[test]
    fn a_line_names_the_catalog_whose_commit_it_is() {
        let app: AppKey = "team-a/web".parse().expect("valid");
        let who = |cause: Cause| {
            audits_of("Leaving", (&catalog(), &app), &cause, &[&"fra-1".parse().expect("valid")])[0]
                .who
                .clone()
        };
        let revision = |commit: &str| Cause::Revision { commit: CommitId(commit.into()) };
        let approved = |by: &str| Cause::Approved { hold: "h-1".into(), by: by.into() };
        assert_eq!(who(revision("c")), "catalog main@c");
        assert_eq!(who(revision("t")), "catalog team-a@t");
        assert_eq!(who(approved("admin")), "operator admin");
        assert_eq!(who(approved("trailer c")), "trailer c");
    }

    fn told(entries: usize, trail: usize) -> Told {
        let mut told = Told::nothing(Epoch(1));
        for number in 0..entries {
            let app: AppKey = format!("app-{number}").parse().expect("valid");
            let entry = |version: usize| EncodedEntry::new(vec![version as u8; 400]);
            told.assignment.entries.insert(app.clone(), entry(trail));
            if trail > 0 {
                told.trail.insert(app, (0..trail).map(entry).collect());
            }
        }
        told
    }

    #[test]
    fn a_record_gives_up_its_oldest_memories_before_it_is_too_large_for_the_store() {
        assert!(fitted(told(10, 8)).is_some_and(|value| value.len() > 10 * 9 * 400));
        let value = fitted(told(1_000, 8)).expect("without its trail it fits");
        assert!(value.len() <= BYTES_PER_BATCH);
        assert_eq!(fitted(told(2_000, 0)), None);
        let next = BTreeMap::from([
            ("fra-1".parse().expect("valid"), told(2_000, 1)),
            ("fra-2".parse().expect("valid"), told(1, 0)),
        ]);
        let none = |_: &ClusterName, _: &Told| Vec::new();
        let (state, verdict) = (State::default(), Verdict::default());
        let (writes, too_large) =
            assignments((&state, &catalog()), next, &verdict, &none, &Authors::new(), 1);
        assert_eq!((writes.len(), too_large.len()), (1, 1), "one cluster goes on without the other");
    }

    #[test]
    fn the_fullest_batch_has_as_many_operations_as_the_store_takes() {
        let mut state = State::default();
        // So many old records that some go with each batch.
        for at_ms in 0..10 {
            let place = crate::state::history::Place(at_ms, 0);
            let version = crate::store::Version(1);
            state.fold(&place.key(), version, Some(&b"{}".to_vec().into())).expect("where it stands is all");
        }
        let clusters = (0..2 * CLUSTERS_PER_BATCH).map(|n| format!("fra-{n:03}").parse().expect("valid"));
        let clusters: Vec<ClusterName> = clusters.collect();
        let next = clusters.iter().map(|cluster| (cluster.clone(), told(3, 0))).collect();
        let leaves = |cluster: &ClusterName| {
            let app = move |n: usize| format!("gone-{n}").parse::<AppKey>().expect("valid");
            let cluster = cluster.clone();
            (0..LINES_PER_BATCH * 2).map(move |n| ((app(n), cluster.clone()), Cause::Labels))
        };
        let verdict = Verdict { entries: clusters.iter().flat_map(leaves).collect(), ..Verdict::default() };
        let changes = |cluster: &ClusterName, next: &Told| {
            let apps = next.assignment.entries.keys();
            let changed = |app: &AppKey| Changed {
                app: app.clone(),
                what: crate::state::history::What::Installed,
                from: None,
                to: None,
                formerly: None,
                drops: 0,
                cause: crate::state::history::Cause::Joined,
                turn: None,
                placements: Vec::new(),
                clusters: vec![cluster.clone()],
            };
            apps.map(changed).collect()
        };
        let now_ms = 401 * 86_400_000;
        let (writes, _) =
            assignments((&state, &catalog()), next, &verdict, &changes, &Authors::new(), now_ms);
        let operations: Vec<usize> =
            writes.iter().map(|write| write.batch.operations() + 2 * write.audits.len()).collect();
        assert_eq!(operations, [crate::store::MAX_OPERATIONS; 2]);
        for write in writes {
            let batch = write.batch.checked().expect("within the limits");
            let history: Vec<_> =
                batch.writes().iter().filter(|(key, _)| key.starts_with("history/")).collect();
            let made: Vec<_> = history.iter().filter_map(|(_, value)| value.as_ref()).collect();
            assert_eq!((made.len(), history.len()), (1, 1 + crate::state::history::TRIMMED));
            let record: crate::state::history::HistoryRecord =
                serde_json::from_slice(made[0]).expect("a record");
            assert_eq!(record.changes.len(), 3, "one an app, whatever the clusters");
            assert_eq!(record.changes[0].clusters.len(), CLUSTERS_PER_BATCH);
        }
    }
}
