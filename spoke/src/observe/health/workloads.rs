//! Workloads: what has replicas, and what runs to an end.
//!
//! In: a Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController or Job. Out: how far it is.
//! Never: looks at pods; the target adds their words.

use serde_json::Value;

use super::read::{condition, degraded, flag, number, or, progressing, suspended, text};
use crate::target::{Health, HealthState};

/// One number that has to reach another.
struct Count {
    /// Where the number stands; 0 when absent.
    have: &'static str,
    /// Where the number that is wanted stands, and what it is when absent.
    want: (&'static str, i64),
    /// The reason while it is short.
    reason: &'static str,
    /// The message: `1 of 3 replicas …`.
    says: &'static str,
}

const fn count(
    have: &'static str,
    want: (&'static str, i64),
    reason: &'static str,
    says: &'static str,
) -> Count {
    Count { have, want, reason, says }
}

/// The controllers take 1 for `spec.replicas` that is not given.
const REPLICAS: (&str, i64) = ("/spec/replicas", 1);
/// Only the controller knows how many nodes a DaemonSet is for.
const SCHEDULED: (&str, i64) = ("/status/desiredNumberScheduled", 0);

/// In the order in which a rollout passes them, so that the first that is short says where it stands.
const DEPLOYMENT: &[Count] = &[
    count("/status/replicas", REPLICAS, "LessReplicas", "replicas created"),
    count("/status/updatedReplicas", REPLICAS, "LessUpdated", "replicas updated"),
    count("/status/availableReplicas", REPLICAS, "LessAvailable", "replicas available"),
    count("/status/readyReplicas", REPLICAS, "LessReady", "replicas ready"),
];
const REPLICA_SET: &[Count] = &[
    count("/status/fullyLabeledReplicas", REPLICAS, "LessReplicas", "replicas created"),
    count("/status/availableReplicas", REPLICAS, "LessAvailable", "replicas available"),
    count("/status/readyReplicas", REPLICAS, "LessReady", "replicas ready"),
];
const STATEFUL_SET: &[Count] = &[
    count("/status/replicas", REPLICAS, "LessReplicas", "replicas created"),
    count("/status/readyReplicas", REPLICAS, "LessReady", "replicas ready"),
];
const REPLICATION_CONTROLLER: &[Count] = &[
    count("/status/replicas", REPLICAS, "LessReplicas", "replicas created"),
    count("/status/availableReplicas", REPLICAS, "LessAvailable", "replicas available"),
    count("/status/readyReplicas", REPLICAS, "LessReady", "replicas ready"),
];
const DAEMON_SET: &[Count] = &[
    count("/status/currentNumberScheduled", SCHEDULED, "LessReplicas", "pods created"),
    count("/status/updatedNumberScheduled", SCHEDULED, "LessUpdated", "pods updated"),
    count("/status/numberAvailable", SCHEDULED, "LessAvailable", "pods available"),
    count("/status/numberReady", SCHEDULED, "LessReady", "pods ready"),
];

/// Without a deadline, or with this one, the controller keeps no condition `Progressing`.
const NO_DEADLINE: i64 = i32::MAX as i64;

pub(super) fn deployment(object: &Value) -> Health {
    let progress = condition(object, "Progressing");
    if let Some(stuck) = progress.filter(|c| c.reason == "ProgressDeadlineExceeded") {
        let (_, message) = short(object, DEPLOYMENT).unwrap_or((stuck.reason, stuck.message.to_owned()));
        let message = with_failure(object, message);
        return degraded("ProgressDeadlineExceeded", format!("{message}; the progress deadline is exceeded"));
    }
    let verdict = workload(object, DEPLOYMENT, REPLICAS).or_else(|| {
        let deadline = number(object, "/spec/progressDeadlineSeconds", NO_DEADLINE);
        match progress {
            Some(c) if !c.is_true() || c.reason != "NewReplicaSetAvailable" => {
                return Some(c.verdict(HealthState::Progressing));
            }
            None if deadline != NO_DEADLINE => {
                return Some(progressing(
                    "ReplicaSetNotAvailable",
                    "its new ReplicaSet is not available yet",
                ));
            }
            _ => {}
        }
        match condition(object, "Available") {
            Some(available) if available.is_true() => None,
            Some(available) => Some(available.verdict(HealthState::Progressing)),
            None => Some(progressing("DeploymentNotAvailable", "it is not available yet")),
        }
    });
    match verdict {
        Some(_) if flag(object, "/spec/paused") => suspended("the Deployment is paused"),
        Some(verdict) => Health { message: with_failure(object, verdict.message), ..verdict },
        None => Health::healthy(),
    }
}

/// Why pods cannot even be made: a quota, an admission webhook.
fn with_failure(object: &Value, message: String) -> String {
    match condition(object, "ReplicaFailure").filter(|c| c.is_true() && !c.message.is_empty()) {
        Some(failure) => format!("{message}; {}, {}", or(failure.reason, "ReplicaFailure"), failure.message),
        None => message,
    }
}

pub(super) fn replica_set(object: &Value) -> Health {
    match condition(object, "ReplicaFailure").filter(|c| c.is_true()) {
        Some(failure) => failure.verdict(HealthState::Progressing),
        None => workload(object, REPLICA_SET, REPLICAS).unwrap_or_else(Health::healthy),
    }
}

pub(super) fn replication_controller(object: &Value) -> Health {
    match condition(object, "ReplicaFailure").filter(|c| c.is_true()) {
        Some(failure) => failure.verdict(HealthState::Progressing),
        None => workload(object, REPLICATION_CONTROLLER, REPLICAS).unwrap_or_else(Health::healthy),
    }
}

pub(super) fn stateful_set(object: &Value) -> Health {
    // Whoever chose OnDelete replaces the pods by hand; nothing tells when that is done.
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy();
    }
    if let Some(short) = workload(object, STATEFUL_SET, REPLICAS) {
        return short;
    }
    let replicas = number(object, "/spec/replicas", 1);
    let updated = number(object, "/status/updatedReplicas", 0);
    let less_updated = |of: i64| progressing("LessUpdated", format!("{updated} of {of} replicas updated"));
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition", 0);
    if partition > 0 {
        let wanted = (replicas - partition).max(0);
        return if updated < wanted { less_updated(wanted) } else { Health::healthy() };
    }
    let (current, update) = (text(object, "/status/currentRevision"), text(object, "/status/updateRevision"));
    if current != update && updated < replicas {
        return less_updated(replicas);
    }
    let of_current = number(object, "/status/currentReplicas", 0);
    if current != update {
        return progressing(
            "RevisionMismatch",
            "all replicas are updated; the controller has not closed the update yet",
        );
    }
    if of_current < replicas {
        return progressing(
            "LessCurrent",
            format!("{of_current} of {replicas} replicas of the current revision"),
        );
    }
    Health::healthy()
}

pub(super) fn daemon_set(object: &Value) -> Health {
    if object.pointer("/status/desiredNumberScheduled").is_none() {
        return progressing("NotObserved", "the controller has not seen it yet");
    }
    // With OnDelete, pods are replaced by hand; nothing tells when that is done.
    let by_hand = text(object, "/spec/updateStrategy/type") == "OnDelete";
    match workload(object, DAEMON_SET, SCHEDULED) {
        Some(short) if by_hand && short.reason == "LessUpdated" => Health::healthy(),
        Some(short) => short,
        None => Health::healthy(),
    }
}

/// What pod controllers have in common: observed at all, enough of everything, nothing old left.
fn workload(object: &Value, counts: &[Count], wanted: (&str, i64)) -> Option<Health> {
    if object.pointer("/status/observedGeneration").is_none() {
        return Some(progressing("NotObserved", "the controller has not seen it yet"));
    }
    if let Some((reason, message)) = short(object, counts) {
        return Some(progressing(reason, message));
    }
    let surplus = number(object, "/status/replicas", 0) - number(object, wanted.0, wanted.1);
    (surplus > 0 && wanted.0 == REPLICAS.0)
        .then(|| progressing("ExtraReplicas", format!("{surplus} old replicas are still terminating")))
}

/// The first count that is short.
fn short(object: &Value, counts: &[Count]) -> Option<(&'static str, String)> {
    counts.iter().find_map(|row| {
        let have = number(object, row.have, 0);
        let want = number(object, row.want.0, row.want.1);
        (have < want).then(|| (row.reason, format!("{have} of {want} {}", row.says)))
    })
}

pub(super) fn job(object: &Value) -> Health {
    for kind in ["Failed", "FailureTarget"] {
        if let Some(failed) = condition(object, kind).filter(|c| c.status == "True") {
            return failed.verdict(HealthState::Degraded);
        }
    }
    if condition(object, "Complete").is_some_and(|c| c.status == "True") {
        return Health::healthy();
    }
    if flag(object, "/spec/suspend") || condition(object, "Suspended").is_some_and(|c| c.status == "True") {
        return suspended("the Job is suspended");
    }
    if text(object, "/status/startTime").is_empty() {
        return progressing("NotStarted", "the Job has not started");
    }
    let wanted = number(object, "/spec/completions", number(object, "/spec/parallelism", 1));
    let succeeded = number(object, "/status/succeeded", 0);
    let failed = number(object, "/status/failed", 0);
    let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    progressing("Running", format!("{succeeded} of {wanted} completions{failures}"))
}
