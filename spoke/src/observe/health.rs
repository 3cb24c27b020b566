//! Health: one live object becomes one verdict.
//!
//! In: an object as the API server returns it, with its status. Out: [`Health`], whose message says what is missing.
//! Never: asks the cluster, reads a clock. What only other objects can tell (a workload's pods) the target adds.
//!
//! The rules are those that the `kstatus` library of `sigs.k8s.io/cli-utils` publishes, except where a fleet needs a
//! stricter word: a Job is healthy when it completed, not when it started (so that "until healthy" means "migrated"); a
//! failed Pod is degraded; a custom resource whose `Ready` or `Available` is not true is still on its way.

use serde_json::Value;

use crate::target::{Health, HealthState};

#[cfg(test)]
mod tests;

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
const DAEMON_SET: &[Count] = &[
    count("/status/currentNumberScheduled", SCHEDULED, "LessReplicas", "pods created"),
    count("/status/updatedNumberScheduled", SCHEDULED, "LessUpdated", "pods updated"),
    count("/status/numberAvailable", SCHEDULED, "LessAvailable", "pods available"),
    count("/status/numberReady", SCHEDULED, "LessReady", "pods ready"),
];

/// Judges an object.
pub fn judge(object: &Value) -> Health {
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null()) {
        return progressing("Terminating", terminating(object));
    }
    if let Some(behind) = generation_behind(object) {
        return behind;
    }
    for (kind, state) in [("Reconciling", HealthState::Progressing), ("Stalled", HealthState::Degraded)] {
        if let Some(condition) = condition(object, kind).filter(|c| c.status == "True") {
            return condition.verdict(state);
        }
    }
    let group = text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    match (group, text(object, "/kind")) {
        ("apps" | "extensions", "Deployment") => deployment(object),
        ("apps" | "extensions", "ReplicaSet") => replica_set(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => daemon_set(object),
        ("batch", "Job") => job(object),
        ("batch", "CronJob") if flag(object, "/spec/suspend") => suspended("the CronJob is suspended"),
        ("", "Pod") => pod(object),
        ("", "PersistentVolumeClaim") => phase(object, &["Bound"], "NotBound"),
        ("", "PersistentVolume") => phase(object, &["Available", "Bound", "Released"], "NotAvailable"),
        ("", "Service") => service(object),
        ("", "Namespace") => phase(object, &["Active"], "NotActive"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        // These are what they are as soon as they are stored; the disruption controller's conditions say nothing else.
        ("", "ConfigMap" | "Secret" | "ServiceAccount") | ("policy", "PodDisruptionBudget") => {
            Health::healthy()
        }
        _ => by_conditions(object),
    }
}

/// `status.observedGeneration` or a condition's own lags behind `metadata.generation`: what the status says is old.
fn generation_behind(object: &Value) -> Option<Health> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64)?;
    let observed = object.pointer("/status/observedGeneration").and_then(Value::as_i64)?;
    (observed < generation).then(|| {
        let message =
            format!("generation {generation} is not observed yet, the latest observed is {observed}");
        progressing("LatestGenerationNotObserved", message)
    })
}

fn deployment(object: &Value) -> Health {
    let progress = condition(object, "Progressing");
    if let Some(stuck) = progress.as_ref().filter(|c| c.reason == "ProgressDeadlineExceeded") {
        let (_, message) = short(object, DEPLOYMENT).unwrap_or((stuck.reason, stuck.message.to_owned()));
        return degraded("ProgressDeadlineExceeded", format!("{message}; the progress deadline is exceeded"));
    }
    let verdict = workload(object, DEPLOYMENT, REPLICAS).or_else(|| {
        let available = condition(object, "Available")?;
        (available.status != "True").then(|| available.verdict(HealthState::Progressing))
    });
    match verdict {
        Some(_) if flag(object, "/spec/paused") => suspended("the Deployment is paused"),
        Some(verdict) => verdict,
        None => Health::healthy(),
    }
}

fn replica_set(object: &Value) -> Health {
    match condition(object, "ReplicaFailure").filter(|c| c.status == "True") {
        Some(failure) => failure.verdict(HealthState::Progressing),
        None => workload(object, REPLICA_SET, REPLICAS).unwrap_or_else(Health::healthy),
    }
}

fn stateful_set(object: &Value) -> Health {
    // Whoever chose OnDelete replaces the pods by hand; nothing tells when that is done.
    if text(object, "/spec/updateStrategy/type") == "OnDelete" {
        return Health::healthy();
    }
    if let Some(short) = workload(object, STATEFUL_SET, REPLICAS) {
        return short;
    }
    let replicas = number(object, "/spec/replicas", 1);
    let updated = number(object, "/status/updatedReplicas", 0);
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition", 0);
    let revisions = (text(object, "/status/currentRevision"), text(object, "/status/updateRevision"));
    // While revisions agree the controller need not count updated pods.
    if revisions.0 != revisions.1 && updated < replicas - partition {
        return progressing("LessUpdated", format!("{updated} of {} replicas updated", replicas - partition));
    }
    Health::healthy()
}

fn daemon_set(object: &Value) -> Health {
    if object.pointer("/status/desiredNumberScheduled").is_none() {
        return progressing("NotObserved", "the controller has not seen it yet".into());
    }
    workload(object, DAEMON_SET, SCHEDULED).unwrap_or_else(Health::healthy)
}

/// What pod controllers have in common: observed at all, enough of everything, nothing old left.
fn workload(object: &Value, counts: &[Count], wanted: (&str, i64)) -> Option<Health> {
    if object.pointer("/status/observedGeneration").is_none() {
        return Some(progressing("NotObserved", "the controller has not seen it yet".into()));
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

fn job(object: &Value) -> Health {
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
        return progressing("NotStarted", "the Job has not started".into());
    }
    let wanted = number(object, "/spec/completions", number(object, "/spec/parallelism", 1));
    let succeeded = number(object, "/status/succeeded", 0);
    let failed = number(object, "/status/failed", 0);
    let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    progressing("Running", format!("{succeeded} of {wanted} completions{failures}"))
}

fn pod(object: &Value) -> Health {
    match text(object, "/status/phase") {
        "Succeeded" => return Health::healthy(),
        "Failed" => {
            let (reason, message) = (text(object, "/status/reason"), text(object, "/status/message"));
            return degraded(
                if reason.is_empty() { "Failed" } else { reason },
                or(message, "the pod failed"),
            );
        }
        "Running" if condition(object, "Ready").is_some_and(|c| c.status == "True") => {
            return Health::healthy();
        }
        _ => {}
    }
    if let Some((state, reason, message)) = container_trouble(object) {
        return Health { state, reason, message };
    }
    if let Some(unscheduled) = condition(object, "PodScheduled").filter(|c| c.status == "False") {
        return unscheduled.verdict(HealthState::Progressing);
    }
    match condition(object, "Ready").filter(|c| c.status != "True") {
        Some(ready) if text(object, "/status/phase") == "Running" => ready.verdict(HealthState::Progressing),
        _ => progressing("Pending", or(text(object, "/status/phase"), "not observed yet").to_lowercase()),
    }
}

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

fn container_trouble(pod: &Value) -> Option<(HealthState, String, String)> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let mut containers = lists.iter().filter_map(|path| pod.pointer(path)?.as_array()).flatten();
    containers.find_map(|container| {
        let reason = text(container, "/state/waiting/reason");
        let (_, state) = WAITING.iter().find(|(known, _)| *known == reason)?;
        let message = or(text(container, "/state/waiting/message"), reason);
        Some((*state, reason.to_owned(), format!("container {}: {message}", text(container, "/name"))))
    })
}

fn service(object: &Value) -> Health {
    let waits = text(object, "/spec/type") == "LoadBalancer"
        && object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).is_none_or(Vec::is_empty);
    if waits {
        progressing("NoAddress", "the load balancer has no address yet".into())
    } else {
        Health::healthy()
    }
}

fn phase(object: &Value, good: &[&str], reason: &str) -> Health {
    match text(object, "/status/phase") {
        phase if good.contains(&phase) => Health::healthy(),
        phase @ ("Lost" | "Failed") => degraded(phase, format!("its phase is {phase}")),
        phase => progressing(reason, format!("its phase is {}", or(phase, "not known yet"))),
    }
}

fn definition(object: &Value) -> Health {
    if let Some(refused) = condition(object, "NamesAccepted").filter(|c| c.status == "False") {
        return refused.verdict(HealthState::Degraded);
    }
    match condition(object, "Established") {
        Some(c) if c.status == "True" => Health::healthy(),
        Some(c) if c.status == "False" && c.reason != "Installing" => c.verdict(HealthState::Degraded),
        _ => progressing("Installing", "the definition is not established yet".into()),
    }
}

/// Custom resources and the rest: no condition that we know means that it is what it is.
fn by_conditions(object: &Value) -> Health {
    let generation = number(object, "/metadata/generation", 0);
    for kind in ["Ready", "Available"] {
        let Some(condition) = condition(object, kind) else {
            continue;
        };
        if condition.observed.is_some_and(|observed| observed < generation) {
            return progressing("LatestGenerationNotObserved", format!("{kind} is of an older generation"));
        }
        if condition.status != "True" {
            return condition.verdict(HealthState::Progressing);
        }
    }
    Health::healthy()
}

struct Condition<'a> {
    kind: &'a str,
    status: &'a str,
    reason: &'a str,
    message: &'a str,
    observed: Option<i64>,
}

impl Condition<'_> {
    fn verdict(&self, state: HealthState) -> Health {
        let message = match self.message {
            "" => format!("{} is {}", self.kind, self.status),
            message => message.to_owned(),
        };
        Health { state, reason: or(self.reason, self.kind), message }
    }
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|c| text(c, "/type") == kind)?;
    Some(Condition {
        kind: text(found, "/type"),
        status: text(found, "/status"),
        reason: text(found, "/reason"),
        message: text(found, "/message"),
        observed: found.get("observedGeneration").and_then(Value::as_i64),
    })
}

/// Names what holds a deletion up.
fn terminating(object: &Value) -> String {
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    let names: Vec<_> = finalizers.into_iter().flatten().filter_map(Value::as_str).collect();
    match names.as_slice() {
        [] => "it is being deleted".into(),
        names => format!("it is being deleted; finalizers: {}", names.join(", ")),
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value, pointer: &str, absent: i64) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(absent)
}

fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

fn progressing(reason: &str, message: String) -> Health {
    Health { state: HealthState::Progressing, reason: reason.to_owned(), message }
}

fn degraded(reason: &str, message: String) -> Health {
    Health { state: HealthState::Degraded, reason: reason.to_owned(), message }
}

fn suspended(message: &str) -> Health {
    Health { state: HealthState::Suspended, reason: "Suspended".into(), message: message.to_owned() }
}
