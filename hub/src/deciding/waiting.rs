//! Waiting: what a rollout, and an entry of it, waits for, in words.
//!
//! In: a step's outcome. Out: sentences for people. Never: decides.

use nave_placement::ClusterName;
use nave_placement::fleet::Contact;
use nave_placement::rollout::{self, Obstacle, Phase, Plan, Seen, WaitsFor};

use crate::state::rfc3339;

/// Why an entry stays as it is for now, for people.
pub(super) fn why_it_waits(
    next: &rollout::Next,
    current: Option<(&rollout::Progress, &Plan)>,
    cluster: &ClusterName,
    seen: &Seen<'_>,
) -> String {
    if let (None, Some(block)) = (current, &next.course.block) {
        return format!(
            "this version is blocked, since rollout {} was rolled back: {}; change the app, or `hub rollout retry {}`",
            block.rollout, block.reason, block.rollout
        );
    }
    let Some((progress, plan)) = current else {
        return match next.waits_for {
            Some(WaitsFor::Sessions { until_ms }) => {
                format!("the hub has just started, and waits for sessions until {}", rfc3339(until_ms))
            }
            _ if seen.obstacle == Some(Obstacle::Away) => {
                format!("{}, and catches up when that is over", away(seen))
            }
            _ => "it catches up, a few clusters at a time".to_owned(),
        };
    };
    let wave = plan.wave_of(cluster);
    let name = plan.waves.get(wave).map_or("", |wave| wave.name.as_str());
    let of = format!("wave {name} ({} of {}) of rollout {}", wave + 1, plan.waves.len(), plan.id);
    let now = next.waits_for.as_ref().map(|waits_for| told(waits_for, plan)).unwrap_or_default();
    match &progress.phase {
        Phase::Halted { .. } | Phase::RollingBack { .. } => format!("{of}: {now}"),
        Phase::Progressing if wave > progress.wave => {
            let at = plan.waves.get(progress.wave).map_or("", |wave| wave.name.as_str());
            format!("it has its turn in {of}, which is at wave {at}: {now}")
        }
        Phase::Progressing if seen.obstacle == Some(Obstacle::Away) => {
            format!("{} in {of}, and catches up in the last wave", away(seen))
        }
        Phase::Progressing => format!("it has its turn soon, in {of}: {now}"),
    }
}

fn away(seen: &Seen<'_>) -> &'static str {
    match seen.candidate.contact {
        Contact::Connected => "it cannot change now, as it is held, maintained or granted no more,",
        _ => "it is away",
    }
}

/// What a rollout waits for, for people.
pub fn told(waits_for: &WaitsFor, plan: &Plan) -> String {
    let clusters =
        |number: usize| if number == 1 { "1 cluster".to_owned() } else { format!("{number} clusters") };
    match waits_for {
        WaitsFor::Sessions { until_ms } => {
            format!("the hub has just started, and waits for sessions until {}", rfc3339(*until_ms))
        }
        WaitsFor::Resume { order } => {
            let reason = if order.reason.is_empty() { String::new() } else { format!(": {}", order.reason) };
            format!("it is paused by {}{reason}; `hub rollout resume {}`", order.by, plan.id)
        }
        WaitsFor::Retry { reason } => format!(
            "it halted, since {reason}; `hub rollout retry {id}` goes on, `hub rollout abort {id}` takes it back",
            id = plan.id
        ),
        WaitsFor::Approval { wave } => {
            format!("wave {wave} waits for approval: `hub rollout approve {}`", plan.id)
        }
        WaitsFor::HealthyOn { wave, of: 0, .. } => {
            format!(
                "wave {wave} waits for clusters to be healthy that are none: no cluster of the app has these labels"
            )
        }
        WaitsFor::HealthyOn { wave, healthy, of, until_ms: None } => {
            format!("wave {wave} waits until {of} clusters are healthy; {healthy} are")
        }
        WaitsFor::HealthyOn { wave, of, until_ms: Some(until_ms), .. } => {
            format!("wave {wave} waits until {}, while {} stay healthy", rfc3339(*until_ms), clusters(*of))
        }
        WaitsFor::Health { wave, clusters: number, first } => {
            format!("wave {wave} waits for {} to become healthy, the first is {first}", clusters(*number))
        }
        WaitsFor::Soak { wave, until_ms } => format!("wave {wave} soaks until {}", rfc3339(*until_ms)),
        WaitsFor::Pace { wave, until_ms } => {
            format!("the pace of wave {wave} lets more go at {}", rfc3339(*until_ms))
        }
        WaitsFor::Reachable { wave, clusters: number } => {
            let are = if *number == 1 { "is" } else { "are" };
            format!("{} of wave {wave} cannot be reached, or {are} paused", clusters(*number))
        }
        WaitsFor::Granted { wave, clusters: number, why } => {
            let wait = if *number == 1 { "waits" } else { "wait" };
            format!("{} of wave {wave} {wait} for a grant: {why}", clusters(*number))
        }
        WaitsFor::Return { clusters: 1 } => "1 cluster returns to what it had".to_owned(),
        WaitsFor::Return { clusters: number } => format!("{number} clusters return to what they had"),
    }
}
