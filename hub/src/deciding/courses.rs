//! Courses: the records of how apps move.
//!
//! In: courses that changed. Out: batches in order, a plan never after the course that names it.
//! Never: writes a batch that the store would not take.

use nave_placement::AppKey;
use nave_placement::rollout::{Course, Next};

use super::core::{Write, json};
use crate::state::records::key;
use crate::state::{Audit, State, Step};
use crate::store::{Batch, MAX_BATCH_BYTES};

/// Apps of one batch: at most four operations and a precondition each, and two operations for each line of the audit log, make at
/// most 78 of the store's 128.
const APPS_PER_BATCH: usize = 6;
/// Audit lines of one app and step.
const LINES_PER_APP: usize = 4;
/// Bytes of one batch, with room for audit lines below the store's limit. One that is larger by itself is alone.
const BYTES_PER_BATCH: usize = MAX_BATCH_BYTES / 2;

/// The records of courses that changed, with their new plans and without those that ended.
pub(super) fn records(state: &State, changed: &[(&AppKey, Next)]) -> Vec<Write> {
    let mut writes = Vec::new();
    let (mut last, mut apps) = (write(), 0);
    for (app, next) in changed {
        let place = key::rollout(app);
        let course = (next.course != Course::default()).then(|| json(&next.course));
        let current = next.course.current.as_ref().map(|progress| progress.plan.as_str());
        let plan = next.plan.as_ref().filter(|plan| Some(plan.id.as_str()) == current);
        let plan = plan.map(|plan| (key::plan(app, plan.id.as_str()), json(plan)));
        let bytes = course.as_ref().map_or(0, Vec::len) + plan.as_ref().map_or(0, |(_, plan)| plan.len());
        if apps > 0 && (apps == APPS_PER_BATCH || last.batch.bytes() + bytes > BYTES_PER_BATCH) {
            writes.push(std::mem::replace(&mut last, write()));
            apps = 0;
        }
        if let Some((place, plan)) = plan {
            // A plan that nobody names yet says nothing.
            if bytes > BYTES_PER_BATCH {
                writes.push(Write { batch: Batch::new().put(place, plan), ..write() });
            } else {
                last.batch = last.batch.put(place, plan);
            }
        }
        apps += 1;
        let held = state.rollouts.get(*app).map(|course| course.version);
        last.batch = last.batch.require_same(place.clone(), held);
        last.batch = match course {
            Some(course) => last.batch.put(place, course),
            None => last.batch.delete(place),
        };
        let over = state.plans.keys().filter(|(of, id)| of == *app && Some(id.as_str()) != current);
        for (_, id) in over.take(1) {
            last.batch = last.batch.delete(key::plan(app, id));
        }
        last.audits.extend(next.events.iter().take(LINES_PER_APP).map(|event| Audit {
            who: "hub".to_owned(),
            what: event.what,
            subject: format!("rollout {}", event.id),
            why: event.why.clone(),
            ..Audit::default()
        }));
    }
    if apps > 0 {
        writes.push(last);
    }
    writes
}

fn write() -> Write {
    Write { step: Step::RolloutAdvanced, batch: Batch::new(), audits: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use nave_placement::ClusterName;
    use nave_placement::rollout::{Event, Phase, Plan, PlannedWave, Progress, RolloutId, Underway};

    use super::*;

    /// A course of so many clusters, all of them under way.
    fn large(app: &AppKey, clusters: usize) -> Next {
        let names: Vec<ClusterName> =
            (0..clusters).map(|n| format!("cluster-{n:06}.example").parse().expect("valid")).collect();
        let id = RolloutId::new(app, &nave_placement::Digest::of(b"v"), 1);
        let underway = Underway { since_ms: 1_790_000_000_000, sick: true, waits: true, leaves: true };
        let progress = Progress {
            plan: id.clone(),
            phase: Phase::Progressing,
            wave: 0,
            wave_since_ms: None,
            soaking_since_ms: None,
            healthy_on_since_ms: None,
            approved: BTreeMap::new(),
            underway: names.iter().map(|name| (name.clone(), underway)).collect(),
            healthy: BTreeSet::new(),
            failed: BTreeSet::new(),
            excused: BTreeSet::new(),
            gone: BTreeSet::new(),
            paused: None,
            superseded: 0,
        };
        let wave = PlannedWave {
            name: "all".into(),
            members: names,
            max_unavailable: 1,
            max_failed: 0,
            soak_ms: 0,
            pace: None,
            before: Default::default(),
        };
        let plan = Plan {
            id: id.clone(),
            parent: None,
            cause: nave_placement::rollout::Cause::Version,
            basis: Default::default(),
            sources: Default::default(),
            commit: nave_placement::catalog::CommitId("0".repeat(40).into()),
            made_ms: 1,
            waves: vec![wave],
            deadline_ms: 1,
            then: Default::default(),
            on_new_revision: Default::default(),
        };
        let event = |_| Event { what: "WaveStarted", id: id.clone(), why: "x".repeat(100) };
        let course = Course { current: Some(progress), ..Course::default() };
        Next { course, plan: Some(plan), events: (0..9).map(event).collect(), ..Next::default() }
    }

    #[test]
    fn ten_thousand_clusters_and_many_apps_fit_the_store_s_batches() {
        for (apps, clusters) in [(20, 10), (20, 10_000), (1, 10_000)] {
            let keys: Vec<AppKey> = (0..apps).map(|n| format!("app-{n}").parse().expect("valid")).collect();
            let changed: Vec<(&AppKey, Next)> = keys.iter().map(|app| (app, large(app, clusters))).collect();
            let writes = records(&State::default(), &changed);
            let mut written = 0;
            for Write { batch, audits, .. } in writes {
                assert!(batch.bytes() + audits.len() * 600 <= MAX_BATCH_BYTES, "{}", batch.bytes());
                let checked = batch.checked().expect("within the limits");
                assert!(checked.writes().len() + checked.require().iter().count() + 2 * audits.len() <= 128);
                written += checked.writes().len();
            }
            assert_eq!(written, 2 * apps, "{apps} courses and plans");
        }
    }
}
