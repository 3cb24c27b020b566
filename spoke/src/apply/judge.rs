//! Judging a round: what was planned, done and seen becomes a report per app.
//!
//! In: progress, observations. Out: an app's report. Never: calls an app healthy that has anything open.

use std::collections::BTreeMap;

use nave_placement::report::{EntryReport, EntryState, MAX_UNHEALTHY, ObjectReport};
use nave_placement::{AppKey, ObjectKey};

use super::Desired;
use super::round::Progress;
use crate::plan::{Observed, Unresolved, Wanted, is_given};
use crate::report::{Outcome, Reason, pending};
use crate::target::{Health, HealthState, Inventory, Seen, TargetError};

/// The outcome of a round that could not even begin.
pub(super) fn unreachable(desired: &Desired<'_>, error: &TargetError) -> Outcome {
    let report = |objects: u32| {
        let reason = Reason::Unreachable { message: error.to_string() };
        verdict(EntryReport { objects, ..pending() }, vec![reason])
    };
    let objects = |app: &AppKey| match desired.entries.get(app) {
        Some(Ok(entry)) => entry.objects,
        _ => 0,
    };
    let assignment = desired.assignment;
    Outcome {
        apps: assignment.entries.keys().map(|app| (app.clone(), report(objects(app)))).collect(),
        leaving: assignment.leaving.iter().map(|(app, l)| (app.clone(), report(l.objects))).collect(),
        ..Outcome::default()
    }
}

/// What was seen of an entry's objects, and what stands in its way before it is settled.
pub(super) fn entry(
    wanted: &Result<Wanted, Unresolved>,
    seen: &Observed,
    blocked: &[Reason],
    progress: &Progress,
) -> (EntryReport, Vec<Reason>) {
    let mut report = pending();
    let mut reasons = blocked.to_vec();
    // What could not be written speaks for itself, whatever is there.
    let troubles: BTreeMap<_, _> =
        reasons.iter().chain(&progress.problems).filter_map(Reason::trouble).collect();
    match wanted {
        Err(unresolved) => report.objects = unresolved.entry.as_ref().map_or(0, |entry| entry.objects),
        Ok(wanted) => {
            report.objects = u32::try_from(wanted.objects.len()).unwrap_or(u32::MAX);
            let mut unhealthy = Vec::new();
            for object in &wanted.objects {
                if let Some(trouble) = troubles.get(&object.key) {
                    unhealthy.push((object.key.clone(), trouble.clone()));
                    continue;
                }
                let health = match seen.get(&object.key) {
                    Some(Ok(Seen::Ours { health, .. })) => health.clone(),
                    Some(Ok(Seen::Foreign)) if is_given(wanted, object) => Health::healthy(),
                    Some(Ok(Seen::Absent | Seen::Foreign)) => not_there(),
                    Some(Err(_)) | None => continue,
                };
                if matches!(health.state, HealthState::Healthy | HealthState::Suspended) {
                    report.healthy += 1;
                    continue;
                }
                let object = object.key.clone();
                reasons.push(Reason::Unhealthy { object: object.clone(), health: health.clone() });
                unhealthy.push((object, health));
            }
            // The worst first; the rest is in the counts.
            unhealthy.sort_by_key(|(_, health)| std::cmp::Reverse(health.state));
            unhealthy.truncate(MAX_UNHEALTHY);
            report.unhealthy = unhealthy.into_iter().map(object_report).collect();
        }
    }
    (report, reasons)
}

/// The report of an app on its way out.
pub(super) fn leaving(mut report: EntryReport, remaining: &Inventory, reasons: Vec<Reason>) -> EntryReport {
    report.objects = u32::try_from(remaining.objects.len()).unwrap_or(u32::MAX);
    let mut report = verdict(report, reasons);
    // Something remains, or it would have left: what was handed over waits for its new app, for one.
    report.state = report.state.max(EntryState::Progressing);
    report
}

fn object_report((key, health): (ObjectKey, Health)) -> ObjectReport {
    let Health { state, reason, message } = health;
    ObjectReport { key, state: format!("{state:?}"), reason, message }
}

fn not_there() -> Health {
    Health {
        state: HealthState::Progressing,
        reason: "NotThere".into(),
        message: "it is not there yet".into(),
    }
}

/// Puts the worst reason first and derives the state from it.
pub(super) fn verdict(mut report: EntryReport, reasons: Vec<Reason>) -> EntryReport {
    let open = reasons.iter().filter(|reason| reason.state() != EntryState::Healthy).count();
    // `max_by_key` takes the last of equals; reversed, that is the first that was found.
    let worst = reasons.into_iter().rev().max_by_key(Reason::state);
    report.state = worst.as_ref().map_or(EntryState::Healthy, Reason::state);
    if let Some(worst) = worst {
        report.message = match open {
            0 | 1 => worst.to_string(),
            more => format!("{worst} (and {} more)", more - 1),
        };
        report.reason = worst.kind();
    }
    report
}
