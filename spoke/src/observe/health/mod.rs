//! Health: one live object becomes one verdict.
//!
//! In: an object as the API server returns it, with its status; the rules of its app; what is known of the time.
//! Out: [`Health`], whose message says what is missing.
//! Never: asks the cluster, reads a clock. What only other objects can tell (a workload's pods) the target adds.
//!
//! The rules are those that the `kstatus` library of `sigs.k8s.io/cli-utils` publishes, except where a fleet needs a
//! stricter word: a Job is healthy when it completed, not when it started (so that "until healthy" means "migrated"); a
//! failed Pod is degraded; a load balancer without an address, and a custom resource whose `Ready` or `Available` is not
//! true, are still on their way.
//!
//! | file | of what |
//! |---|---|
//! | `workloads`, `pod` | Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, CronJob; Pod |
//! | here | PersistentVolumeClaim, PersistentVolume, Service, Namespace, CustomResourceDefinition, what is as it is stored |
//! | `kinds`, by `signs` | the kinds that people run, as rows of data; all others by their conditions |
//! | `gateway`, `autoscaler` | what does not fit into a row |
//! | `rules` | the app's own rules, which decide alone |

mod autoscaler;
mod gateway;
mod kinds;
mod pod;
mod read;
mod rules;
mod signs;
#[cfg(test)]
mod tests;
mod workloads;

use std::time::Duration;

use jiff::Timestamp;
use nave_placement::ObjectKey;
use serde_json::Value;

use self::read::{condition, degraded, flag, items, or, progressing, suspended, text};
use self::signs::Moment;
use crate::target::{Health, HealthState};

pub use rules::Rules;

/// A controller that keeps no `observedGeneration` may not have seen what was just applied: what its conditions say is
/// believed once it had this time.
pub const SETTLING: Duration = Duration::from_secs(5);
/// The reason of what settles.
pub const SETTLES: &str = "Settling";

/// What is known besides the object.
#[derive(Clone, Copy, Debug, Default)]
pub struct Given<'a> {
    /// The rules of its app.
    pub rules: Option<&'a Rules>,
    /// How long ago we changed it last; `None`: longer than anybody remembers.
    pub applied: Option<Duration>,
    /// The time; without it nothing counts as having lasted.
    pub now: Option<Timestamp>,
}

/// Groups of Kubernetes' own kinds, besides those without a dot in their name. Their statuses follow their
/// generations, or they have none.
const BUILT_IN: &[&str] = &[
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// Judges an object.
pub fn judge(object: &Value, given: &Given<'_>) -> Health {
    if object.pointer("/metadata/deletionTimestamp").is_some_and(|t| !t.is_null()) {
        return progressing("Terminating", terminating(object));
    }
    let by_rule = given.rules.and_then(|rules| rules.judge(object));
    let health = by_rule.unwrap_or_else(|| by_kind(object, given));
    match health.state {
        HealthState::Healthy => settling(object, given).unwrap_or(health),
        _ => health,
    }
}

fn by_kind(object: &Value, given: &Given<'_>) -> Health {
    let (group, kind) = (group(object), text(object, "/kind"));
    let row = kinds::row(group, kind);
    if let Some(stopped) = row.and_then(|row| signs::stopped(object, row.stops)) {
        return stopped;
    }
    if let Some(behind) = generation_behind(object) {
        return behind;
    }
    for (kind, state) in [("Reconciling", HealthState::Progressing), ("Stalled", HealthState::Degraded)] {
        if let Some(condition) = condition(object, kind).filter(|c| c.is_true()) {
            return condition.verdict(state);
        }
    }
    match (group, kind) {
        ("apps" | "extensions", "Deployment") => workloads::deployment(object),
        ("apps" | "extensions", "ReplicaSet") => workloads::replica_set(object),
        ("apps", "StatefulSet") => workloads::stateful_set(object),
        ("apps" | "extensions", "DaemonSet") => workloads::daemon_set(object),
        ("", "ReplicationController") => workloads::replication_controller(object),
        ("batch", "Job") => workloads::job(object),
        ("batch", "CronJob") if flag(object, "/spec/suspend") => suspended("the CronJob is suspended"),
        ("", "Pod") => pod::pod(object, given.now),
        ("", "PersistentVolumeClaim") => phase(object, &["Bound"], "NotBound"),
        ("", "PersistentVolume") => phase(object, &["Available", "Bound", "Released"], "NotAvailable"),
        ("", "Service") => service(object),
        // One that was just written has no phase before its first controller ran.
        ("", "Namespace") => phase(object, &["Active"], "NotActive"),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        // These are what they are as soon as they are stored; conditions that some of them have say nothing else.
        ("", "ConfigMap" | "Secret" | "ServiceAccount" | "ResourceQuota" | "LimitRange" | "Endpoints")
        | ("policy", "PodDisruptionBudget")
        | ("batch", "CronJob")
        | ("networking.k8s.io" | "extensions", "Ingress" | "NetworkPolicy" | "IngressClass") => {
            Health::healthy()
        }
        _ => {
            let generation = read::number(object, "/metadata/generation", 0);
            let moment = Moment { now: given.now, generation };
            signs::judge(object, row.map_or(kinds::CUSTOM, |row| row.signs), &moment)
        }
    }
}

/// The API group of an object; empty for the core group.
fn group(object: &Value) -> &str {
    text(object, "/apiVersion").split_once('/').map_or("", |(group, _)| group)
}

/// What identifies an object.
pub fn key(object: &Value) -> ObjectKey {
    rules::key(object)
}

/// A custom resource that looks healthy, and may look so because nobody has seen yet what we wrote.
fn settling(object: &Value, given: &Given<'_>) -> Option<Health> {
    let remaining = SETTLING.checked_sub(given.applied?).filter(|remaining| !remaining.is_zero())?;
    let group = group(object);
    if !group.contains('.') || BUILT_IN.contains(&group) {
        return None;
    }
    let conditions = items(object, "/status/conditions");
    let has_generation = object.pointer("/status/observedGeneration").is_some()
        || conditions.iter().any(|condition| condition.get("observedGeneration").is_some());
    (!conditions.is_empty() && !has_generation).then(|| {
        let seconds = remaining.as_millis().div_ceil(1000);
        let message = format!("its status names no generation; it is believed {seconds} s from now");
        progressing(SETTLES, message)
    })
}

/// `status.observedGeneration` lags behind `metadata.generation`: what the status says is old. Argo Rollouts writes it as
/// text.
fn generation_behind(object: &Value) -> Option<Health> {
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64)?;
    let observed = object.pointer("/status/observedGeneration")?;
    let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok())?;
    (observed < generation).then(|| {
        let message =
            format!("generation {generation} is not observed yet, the latest observed is {observed}");
        progressing("LatestGenerationNotObserved", message)
    })
}

fn service(object: &Value) -> Health {
    let waits = text(object, "/spec/type") == "LoadBalancer"
        && items(object, "/status/loadBalancer/ingress").is_empty();
    if waits { progressing("NoAddress", "the load balancer has no address yet") } else { Health::healthy() }
}

fn phase(object: &Value, good: &[&str], reason: &str) -> Health {
    match text(object, "/status/phase") {
        phase if good.contains(&phase) => Health::healthy(),
        phase @ ("Lost" | "Failed") => {
            degraded(phase, or(text(object, "/status/message"), &format!("its phase is {phase}")))
        }
        phase => progressing(reason, format!("its phase is {}", or(phase, "not known yet"))),
    }
}

fn definition(object: &Value) -> Health {
    if let Some(refused) = condition(object, "NamesAccepted").filter(|c| c.status == "False") {
        return refused.verdict(HealthState::Degraded);
    }
    match condition(object, "Established") {
        Some(c) if c.is_true() => Health::healthy(),
        Some(c) if c.status == "False" && c.reason != "Installing" => c.verdict(HealthState::Degraded),
        _ => progressing("Installing", "the definition is not established yet"),
    }
}

/// Names what holds a deletion up: finalizers; of a namespace, what its controller says.
fn terminating(object: &Value) -> String {
    let names: Vec<_> = items(object, "/metadata/finalizers").iter().filter_map(Value::as_str).collect();
    let mut message = match names.as_slice() {
        [] => "it is being deleted".to_owned(),
        names => format!("it is being deleted; finalizers: {}", names.join(", ")),
    };
    for kind in
        ["NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionContentFailure"]
    {
        if let Some(remains) = condition(object, kind).filter(|c| c.is_true() && !c.message.is_empty()) {
            message.push_str(&format!("; {}", remains.message));
        }
    }
    message
}
