//! Pod: what a single pod says of itself.
//!
//! In: a pod, the time. Out: how it is; of a container that does not run, why, and how it ended last.
//! Never: calls a pod that waits for a node failed before it has waited for a while.

use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, condition, degraded, items, number, or, progressing, text};
use crate::target::{Health, HealthState};

/// A pod that no node can take is given so long, as `kstatus` does it.
const SCHEDULE_WINDOW_S: i64 = 15;

/// What a waiting container's reason means. Others (`ContainerCreating`, `PodInitializing`) are no trouble.
const WAITING: &[(&str, HealthState)] = &[
    ("CrashLoopBackOff", HealthState::Degraded),
    ("CreateContainerConfigError", HealthState::Degraded),
    ("CreateContainerError", HealthState::Degraded),
    ("InvalidImageName", HealthState::Degraded),
    ("RunContainerError", HealthState::Degraded),
    ("ImagePullBackOff", HealthState::Progressing),
    ("ErrImagePull", HealthState::Progressing),
    ("ErrImageNeverPull", HealthState::Progressing),
];

pub(super) fn pod(object: &Value, now: Option<Timestamp>) -> Health {
    match text(object, "/status/phase") {
        "Succeeded" => return Health::healthy(),
        "Failed" => return failed(object),
        "Running" if condition(object, "Ready").is_some_and(|c| c.is_true()) => return Health::healthy(),
        _ => {}
    }
    if let Some((state, reason, message)) = container_trouble(object) {
        return Health { state, reason, message };
    }
    if let Some(unscheduled) = condition(object, "PodScheduled").filter(|c| c.status == "False") {
        let created = text(object, "/metadata/creationTimestamp");
        let waited = now.is_some_and(|now| age(created, now).is_none_or(|age| age > SCHEDULE_WINDOW_S));
        let stuck = waited && unscheduled.reason == "Unschedulable";
        let verdict =
            unscheduled.verdict(if stuck { HealthState::Degraded } else { HealthState::Progressing });
        // What the scheduler says of preemption repeats the rest.
        let message = verdict.message.split(" preemption: ").next().unwrap_or_default().to_owned();
        return Health { message, ..verdict };
    }
    match condition(object, "Ready").filter(|c| !c.is_true()) {
        Some(ready) if text(object, "/status/phase") == "Running" => ready.verdict(HealthState::Progressing),
        _ => progressing("Pending", or(text(object, "/status/phase"), "not observed yet").to_lowercase()),
    }
}

fn failed(pod: &Value) -> Health {
    let (reason, message) = (text(pod, "/status/reason"), text(pod, "/status/message"));
    let ended = containers(pod).find_map(|container| {
        let end = ended(container, "/state/terminated")
            .filter(|_| number(container, "/state/terminated/exitCode", 0) != 0)?;
        Some(format!("container {}: {end}", text(container, "/name")))
    });
    let message = match (message, ended) {
        ("", Some(ended)) => ended,
        (message, _) => or(message, "the pod failed"),
    };
    degraded(if reason.is_empty() { "Failed" } else { reason }, message)
}

fn container_trouble(pod: &Value) -> Option<(HealthState, String, String)> {
    containers(pod).find_map(|container| {
        let reason = text(container, "/state/waiting/reason");
        let (_, state) = WAITING.iter().find(|(known, _)| *known == reason)?;
        let mut message = or(text(container, "/state/waiting/message"), reason);
        if let Some(end) = ended(container, "/lastState/terminated") {
            message.push_str(&format!("; it ended with {end}"));
        }
        Some((*state, reason.to_owned(), format!("container {}: {message}", text(container, "/name"))))
    })
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    lists.into_iter().flat_map(|list| items(pod, list))
}

/// How a container ended: `OOMKilled, exit code 137`. Its last words may hold what nobody else shall see.
fn ended(container: &Value, place: &str) -> Option<String> {
    let end = container.pointer(place)?;
    let code = end.get("exitCode")?.as_i64()?;
    Some(format!("{}, exit code {code}", or(text(end, "/reason"), "Error")))
}
