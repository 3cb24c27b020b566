//! What is remembered of decisions between steps.
//!
//! In: the state, a catalog. Out: the decisions that the next ones begin with; the records of new ones.
//! Never: keeps a record for a placement that takes all that match: for it, what clusters were told is the record.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::catalog::{Catalog, Count, Effective, Placement, Problem};
use nave_placement::check::{self, DecisionStep};
use nave_placement::decide::{Decision, Memory, Moment, Numbers, Place, Settled, apps};
use nave_placement::fleet::Fleet;
use nave_placement::report::EntryState;
use nave_placement::{AppKey, CatalogName, ClusterName};

use super::core::{Write, chunked, json};
use super::granting;
use crate::state::records::key;
use crate::state::{State, Step};

/// Whether a placement's decision is more than the clusters that run its apps.
pub(super) fn is_recorded(placement: &Placement) -> bool {
    placement.pick.is_some() || placement.replicas.is_some()
}

/// What was decided before. A placement without a record chose the clusters that were told to run one of its apps.
pub fn remembered(state: &State, catalog: &Catalog) -> Memory {
    let mut memory = Memory::new();
    let mut by_app: BTreeMap<AppKey, Vec<Arc<str>>> = BTreeMap::new();
    for (object, placement) in catalog.placements() {
        let name = &object.object.id.name;
        let record = state.decisions.get(&record_key(catalog, name));
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

/// What the record of a placement's decision is called.
fn record_key(catalog: &Catalog, placement: &str) -> (CatalogName, String) {
    let tenant = placement.split_once('/').and_then(|(of, name)| Some((CatalogName::new(of).ok()?, name)));
    let (of, name) = tenant.unwrap_or_else(|| (catalog.name.clone(), placement));
    (of, name.to_owned())
}

/// Whether an app is healthy on a cluster, as its spoke reported last of what it is told to run now.
pub fn is_healthy(state: &State, cluster: &ClusterName, app: &AppKey) -> bool {
    let (Some(report), Some(told)) = (state.reports.get(cluster), state.told.get(cluster)) else {
        return false;
    };
    let current = (report.epoch, report.generation) == told.assignment.order();
    let assigned = told.assignment.entries.contains_key(app);
    let healthy = report.entries.get(app).is_some_and(|entry| entry.state == EntryState::Healthy);
    current && assigned && healthy
}

/// Has the checker look at each decision that changed. What breaks a rule is not carried out: such a placement keeps what it
/// had, and a problem tells so.
pub fn checked(
    catalog: &Catalog,
    fleet: &Fleet,
    remembered: &Memory,
    mut decisions: Vec<Decision>,
    moment: Moment<'_>,
) -> (Vec<Decision>, Vec<Problem>) {
    let placements: BTreeMap<&str, _> = catalog
        .placements()
        .map(|(object, placement)| (&*object.object.id.name, (object, placement)))
        .collect();
    let nothing = Settled::default();
    let mut refused = granting::limited(catalog, fleet, remembered, &mut decisions);
    for decision in &mut decisions {
        let previous = remembered.get(&decision.placement).unwrap_or(&nothing);
        let next = &decision.settled;
        let Some((object, placement)) = placements.get(&*decision.placement) else { continue };
        if (&previous.chosen, &previous.shares) == (&next.chosen, &next.shares) {
            continue;
        }
        let apps = &decision.apps;
        let step = DecisionStep { placement, apps, fleet, previous, next, moment };
        if let Some(violation) = check::decision(&step).first() {
            let message = format!(
                "nothing of it changes, since what was decided breaks its rules: {violation}; this is a fault of Nave, please report it"
            );
            refused.push(Problem::at(&object.object.origin, message).of(Some(&object.object.id)));
            decision.settled = previous.clone();
        }
    }
    (decisions, refused)
}

/// Placements that chose fewer clusters than they say, as warnings.
pub fn short(catalog: &Catalog, decisions: &[Decision]) -> Vec<Problem> {
    let chosen: BTreeMap<&str, usize> =
        decisions.iter().map(|decision| (&*decision.placement, decision.settled.places().count())).collect();
    let problem = |(object, placement): (&Effective, &Placement)| {
        let pick = placement.pick.as_ref().filter(|pick| pick.per.is_none())?;
        let Some(Count::Clusters(count)) = pick.count else { return None };
        let id = &object.object.id;
        let chosen = chosen.get(&*id.name).copied().filter(|chosen| *chosen < count as usize)?;
        let clusters = if chosen == 1 { "cluster is" } else { "clusters are" };
        let message = format!(
            "pick.count is {count}, and {chosen} {clusters} chosen, since no others can be; let more match, or lower it"
        );
        Some(Problem::at(&object.object.origin, message).of(Some(id)).warning())
    };
    catalog.placements().filter_map(problem).collect()
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
        let record = record_key(catalog, &decision.placement);
        let held = state.decisions.get(&record);
        if held.is_none_or(|held| *held.record != decision.settled) {
            operations.push((key::decision(&record.0, &record.1), Some(json(&decision.settled))));
        }
    }
    let stale = |(owner, name): &&(CatalogName, String)| {
        let called = if *owner == catalog.name { name.clone() } else { format!("{owner}/{name}") };
        catalog.commit_of(owner).is_some() && !recorded.contains_key(called.as_str())
    };
    let stale = state.decisions.keys().filter(stale);
    operations.extend(stale.map(|(owner, name)| (key::decision(owner, name), None)));
    // With the assignments that follow from them: whoever is cut off in between decides the same again.
    chunked(Step::AssignmentsMade, operations)
}
