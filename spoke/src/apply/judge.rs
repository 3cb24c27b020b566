//! Judging a round: what was planned, done and seen becomes a report per app.
//!
//! In: progress, observations. Out: an app's report. Never: calls an app healthy that has anything open.

use std::collections::BTreeMap;

use nave_placement::catalog::{Drift, Mode};
use nave_placement::render::Resolved;
use nave_placement::report::{EntryReport, EntryState, MAX_NOTES, MAX_UNHEALTHY, ObjectReport, WOULD_PRUNE};
use nave_placement::{AppKey, Digest, Fingerprints, ObjectKey};

use super::Desired;
use super::round::Progress;
use crate::observe::changes::told;
use crate::plan::{AppPlan, Ignored, Observed, Step, Terms, Unresolved, Wanted, is_given};
use crate::report::{Outcome, Reason, pending, short};
use crate::target::{Foreign, Found, Health, HealthState, Inventory, Seen, TargetError};

/// The reason of a note that tells what was put back.
const CORRECTED: &str = "Corrected";
/// So many are remembered of an app.
const MOST_CORRECTIONS: usize = 5;

/// The outcome of a round that could not even begin. The versions that are known stay: what was applied still is.
pub(super) fn unreachable(
    desired: &Desired<'_>,
    version: impl Fn(&AppKey) -> Option<Digest>,
    error: &TargetError,
) -> Outcome {
    let report = |version, objects| {
        let reason = Reason::Unreachable { message: error.to_string() };
        short(verdict(EntryReport { objects, version, ..pending() }, vec![reason]))
    };
    let objects = |app: &AppKey| match desired.entries.get(app) {
        Some(Ok(entry)) => entry.objects,
        _ => 0,
    };
    let assignment = desired.assignment;
    Outcome {
        apps: assignment
            .entries
            .keys()
            .map(|app| (app.clone(), report(version(app), objects(app))))
            .collect(),
        leaving: assignment.leaving.iter().map(|(app, l)| (app.clone(), report(None, l.objects))).collect(),
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
            let (mut unhealthy, mut notes) = (Vec::new(), Vec::new());
            for object in &wanted.objects {
                if let Some(trouble) = troubles.get(&object.key) {
                    unhealthy.push((object.key.clone(), trouble.clone()));
                    continue;
                }
                let Some(Ok(seen)) = seen.get(&object.key) else { continue };
                let standing = standing(wanted, object, seen);
                report.drifted += u32::from(standing.drifted);
                notes.extend(standing.notes);
                if let Some(reason) = standing.reason {
                    unhealthy.extend(reason.trouble());
                    reasons.push(reason);
                    continue;
                }
                let health = standing.health;
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
            report.notes = notes.into_iter().map(object_report).collect();
        }
    }
    ask(&mut report, &reasons);
    report.notes.truncate(MAX_NOTES);
    (report, reasons)
}

/// How one object stands.
struct Standing {
    health: Health,
    /// What is wrong with it apart from its health.
    reason: Option<Reason>,
    /// A foreign change of it stays.
    drifted: bool,
    notes: Vec<(ObjectKey, Health)>,
}

fn standing(wanted: &Wanted, object: &Resolved, seen: &Seen) -> Standing {
    let key = &object.key;
    let terms = Terms::of(&wanted.entry.options.treatment, object).ok();
    let observes = terms.as_ref().is_some_and(|terms| terms.mode == Mode::Observe);
    let mut standing =
        Standing { health: Health::healthy(), reason: None, drifted: false, notes: Vec::new() };
    let differs = |message: String| Some(Reason::Differs { object: key.clone(), message });
    match seen {
        Seen::Absent if observes => standing.reason = differs("it is not there".to_owned()),
        Seen::Absent => standing.health = not_there(),
        Seen::Terminating { message, stuck } => {
            let (object, message) = (key.clone(), message.clone());
            standing.reason = Some(Reason::Terminating { object, message, stuck: *stuck });
        }
        Seen::Foreign(_) if is_given(wanted, object) => {}
        Seen::Foreign(Foreign { changes, health, .. }) if observes => {
            standing.health = health.clone().unwrap_or_else(Health::healthy);
            match changes.as_deref().unwrap_or_default() {
                [] => {}
                changes => standing.reason = differs(told(changes)),
            }
        }
        Seen::Foreign(Foreign { health, .. })
            if terms.as_ref().is_some_and(|t| t.ignored == Ignored::Whole) =>
        {
            standing.health = health.clone().unwrap_or_else(Health::healthy);
        }
        Seen::Foreign(_) => standing.health = not_there(),
        Seen::Ours { found, health, .. } if observes => {
            standing.health = health.clone();
            if !found.changes.is_empty() {
                standing.drifted = true;
                standing.reason = differs(told(&found.changes));
            }
        }
        Seen::Ours { differs, drifted, health, found } => {
            standing.health = health.clone();
            standing.notes = notes(key, found);
            let stays = *differs && *drifted;
            if stays && terms.as_ref().is_some_and(|terms| terms.drift == Drift::Report) {
                standing.drifted = true;
                standing.notes.push((key.clone(), note("Drifted", told(&found.changes))));
            } else if stays && found.fought {
                standing.drifted = true;
                let message = format!(
                    "{}; it was corrected again and again, and is left as it is until the app changes, or for an hour",
                    told(&found.changes)
                );
                standing.reason = Some(Reason::Fought { object: key.clone(), message });
            }
        }
    }
    standing
}

/// What is worth saying of an object that is well.
fn notes(key: &ObjectKey, found: &Found) -> Vec<(ObjectKey, Health)> {
    let mut notes = Vec::new();
    if let Some(from) = &found.adopted {
        notes.push(note("Adopted", format!("taken over from {from}")));
    }
    if !found.yielded.is_empty() {
        notes.push(note("Yielded", told(&found.yielded)));
    }
    if !found.mutated.is_empty() {
        let message = format!("the cluster makes something else of it: {}", told(&found.mutated));
        notes.push(note("Mutated", message));
    }
    notes.into_iter().map(|note| (key.clone(), note)).collect()
}

/// What waits for approval stands before all other notes. More than can be named is not asked for.
fn ask(report: &mut EntryReport, reasons: &[Reason]) {
    for reason in reasons {
        let Reason::PruneRefused { would, prints, first, .. } = reason else { continue };
        report.asks = (prints.len() <= Fingerprints::MOST).then(|| prints.clone());
        let message = format!("one of {would} that would be deleted once that is approved");
        let notes = first.iter().map(|key| object_report((key.clone(), note(WOULD_PRUNE, message.clone()))));
        report.notes.splice(0..0, notes);
    }
}

/// What a plan puts back: who changed what, of an app's first objects.
pub(super) fn corrections(steps: &AppPlan, seen: &Observed) -> Vec<ObjectReport> {
    let corrected = |step: &Step| {
        let Step::Apply { object, how } = step else { return None };
        if !how.corrects {
            return None;
        }
        let message = match seen.get(&object.key)?.as_ref().ok()? {
            Seen::Absent => "it was deleted, and is made anew".to_owned(),
            Seen::Ours { found, .. } if found.changes.is_empty() => {
                "it was changed, and is put back".to_owned()
            }
            Seen::Ours { found, .. } => format!("found and put back: {}", told(&found.changes)),
            _ => return None,
        };
        Some(object_report((object.key.clone(), note(CORRECTED, message))))
    };
    steps.raise.iter().filter_map(corrected).take(MOST_CORRECTIONS).collect()
}

/// Adds what was put back to what is to be said of objects that are well: the newest first, of each object the last.
pub(super) fn remember(report: &mut EntryReport, new: Vec<ObjectReport>, before: Option<&EntryReport>) {
    let old = before.into_iter().flat_map(|before| &before.notes).filter(|note| note.reason == CORRECTED);
    let old: Vec<_> = old.filter(|old| new.iter().all(|new| new.key != old.key)).cloned().collect();
    let room = MAX_NOTES.saturating_sub(report.notes.len()).min(MOST_CORRECTIONS);
    report.notes.extend(new.into_iter().chain(old).take(room));
}

fn note(reason: &str, message: String) -> Health {
    Health { state: HealthState::Healthy, reason: reason.to_owned(), message }
}

/// The report of an app on its way out.
pub(super) fn leaving(mut report: EntryReport, remaining: &Inventory, reasons: Vec<Reason>) -> EntryReport {
    report.objects = u32::try_from(remaining.objects.len()).unwrap_or(u32::MAX);
    ask(&mut report, &reasons);
    let mut report = short(verdict(report, reasons));
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
