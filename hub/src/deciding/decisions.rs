//! What is remembered of decisions between steps.
//!
//! In: the state, a catalog. Out: the decisions that the next ones begin with; the records of new ones.
//! Never: keeps a record for a placement that takes all that match: for it, what clusters were told is the record.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::catalog::{Catalog, Placement, Problem};
use nave_placement::decide::{Decision, Memory, Numbers, Place, Settled, apps};
use nave_placement::report::EntryState;
use nave_placement::{AppKey, ClusterName};

use super::core::{Write, chunked, json};
use crate::state::records::key;
use crate::state::{State, Step};

/// Whether a placement's decision is more than the clusters that run its apps.
fn is_recorded(placement: &Placement) -> bool {
    placement.pick.is_some() || placement.replicas.is_some()
}

/// What was decided before. A placement without a record chose the clusters that were told to run one of its apps.
pub fn remembered(state: &State, catalog: &Catalog) -> Memory {
    let mut memory = Memory::new();
    let mut by_app: BTreeMap<AppKey, Vec<Arc<str>>> = BTreeMap::new();
    for (object, placement) in catalog.placements() {
        let name = &object.object.id.name;
        let record = state.decisions.get(&(catalog.name.clone(), name.to_string()));
        if let Some(record) = record.filter(|_| is_recorded(placement)) {
            memory.insert(name.clone(), Settled::clone(&record.record));
            continue;
        }
        memory.insert(name.clone(), Settled { numbers: Some(Numbers::default()), ..Settled::default() });
        for app in apps(catalog, &placement.apps) {
            by_app.entry(app).or_default().push(name.clone());
        }
    }
    for (cluster, told) in &state.told {
        let running = told.assignment.entries.keys().filter_map(|app| by_app.get(app));
        for placement in running.flatten() {
            if let Some(settled) = memory.get_mut(placement) {
                settled.chosen.entry(cluster.clone()).or_insert_with(Place::default);
            }
        }
    }
    memory
}

/// Whether an app is healthy on a cluster, as its spoke reported last.
pub fn is_healthy(state: &State, cluster: &ClusterName, app: &AppKey) -> bool {
    let report = state.reports.get(cluster);
    report.and_then(|report| report.entries.get(app)).is_some_and(|entry| entry.state == EntryState::Healthy)
}

/// What placements say that is decided and shown, and that this version does not carry out: warnings, so that nobody waits.
pub fn not_carried_out(catalog: &Catalog) -> Vec<Problem> {
    const FAILOVER: &str = "spec.pick.failover: this version of the hub does not let deciding know of silent spokes, so nothing fails over yet; `hub decide` shows what would";
    const REPLICAS: &str =
        "spec.replicas: this version does not put the shares into manifests yet; `hub decide` shows them";
    let mut problems = Vec::new();
    for (object, placement) in catalog.placements() {
        let failover = placement.pick.as_ref().is_some_and(|pick| pick.failover.is_some());
        for (given, message) in [(failover, FAILOVER), (placement.replicas.is_some(), REPLICAS)] {
            let problem =
                || Problem::at(&object.object.origin, message).of(Some(&object.object.id)).warning();
            problems.extend(given.then(problem));
        }
    }
    problems
}

/// The records that differ from what was decided now.
pub fn records(state: &State, catalog: &Catalog, decisions: &[Decision]) -> Vec<Write> {
    let recorded: BTreeMap<&str, &Placement> = catalog
        .placements()
        .filter(|(_, placement)| is_recorded(placement))
        .map(|(object, placement)| (&*object.object.id.name, placement))
        .collect();
    let mut operations: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    for decision in decisions.iter().filter(|decision| recorded.contains_key(&*decision.placement)) {
        let held = state.decisions.get(&(catalog.name.clone(), decision.placement.to_string()));
        if held.is_none_or(|held| *held.record != decision.settled) {
            let key = key::decision(&catalog.name, &decision.placement);
            operations.push((key, Some(json(&decision.settled))));
        }
    }
    let stale = |(owner, name): &&(nave_placement::CatalogName, String)| {
        *owner == catalog.name && !recorded.contains_key(name.as_str())
    };
    let stale = state.decisions.keys().filter(stale);
    operations.extend(stale.map(|(owner, name)| (key::decision(owner, name), None)));
    // With the assignments that follow from them: whoever is cut off in between decides the same again.
    chunked(Step::AssignmentsMade, operations)
}
