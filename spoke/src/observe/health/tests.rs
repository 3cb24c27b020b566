//! Rows: an object, and what is said of it (`State Reason: message`).

#![expect(clippy::needless_pass_by_value, reason = "rows of literals read better without `&`")]

use serde_json::{Value, json};

use super::{Given, judge};

mod kinds;
mod moments;
mod rest;

fn check(name: &str, object: Value, expected: &str) {
    judged(name, &object, &Given::default(), expected);
}

#[track_caller]
fn judged(name: &str, object: &Value, given: &Given<'_>, expected: &str) {
    let health = judge(object, given);
    let said = format!("{:?} {}: {}", health.state, health.reason, health.message);
    assert_eq!(said.trim_end_matches([':', ' ']), expected, "{name}: {object:#}");
}

fn object(api_version: &str, kind: &str, spec: Value, status: Value) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "generation": 2}, "spec": spec, "status": status})
}

fn conditions(rows: &[(&str, &str, &str, &str)]) -> Value {
    let rows = rows.iter().map(|(kind, status, reason, message)| json!({"type": kind, "status": status, "reason": reason, "message": message}));
    rows.collect()
}

/// A status of one condition.
fn one(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"conditions": conditions(&[(kind, status, reason, message)])})
}

#[test]
fn deployments_say_what_is_missing() {
    let available =
        conditions(&[("Available", "True", "", ""), ("Progressing", "True", "NewReplicaSetAvailable", "")]);
    let all = |n: u32| json!({"observedGeneration": 2, "replicas": n, "updatedReplicas": n, "availableReplicas": n, "readyReplicas": n, "conditions": available});
    let rows = [
        ("new", json!({}), json!({}), "Progressing NotObserved: the controller has not seen it yet"),
        (
            "not observed",
            json!({}),
            json!({"observedGeneration": 1}),
            "Progressing LatestGenerationNotObserved: generation 2 is not observed yet, the latest observed is 1",
        ),
        (
            "no pods",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2}),
            "Progressing LessReplicas: 0 of 2 replicas created",
        ),
        (
            "old pods",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 1}),
            "Progressing LessUpdated: 1 of 2 replicas updated",
        ),
        (
            "unavailable",
            json!({}),
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1}),
            "Progressing LessAvailable: 0 of 1 replicas available",
        ),
        (
            "surplus",
            json!({"replicas": 1}),
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 2, "readyReplicas": 2}),
            "Progressing ExtraReplicas: 1 old replicas are still terminating",
        ),
        (
            "refused pods",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "conditions": conditions(&[("ReplicaFailure", "True", "FailedCreate", "exceeded quota: small")])}),
            "Progressing LessReplicas: 0 of 2 replicas created; FailedCreate, exceeded quota: small",
        ),
        (
            "not available",
            json!({"replicas": 1}),
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}),
            "Progressing DeploymentNotAvailable: it is not available yet",
        ),
        (
            "no word of progress",
            json!({"replicas": 1, "progressDeadlineSeconds": 600}),
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1, "conditions": conditions(&[("Available", "True", "", "")])}),
            "Progressing ReplicaSetNotAvailable: its new ReplicaSet is not available yet",
        ),
        (
            "still updating",
            json!({"replicas": 1}),
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "readyReplicas": 1, "conditions": conditions(&[("Available", "True", "", ""), ("Progressing", "True", "ReplicaSetUpdated", "ReplicaSet \"x\" is progressing")])}),
            "Progressing ReplicaSetUpdated: ReplicaSet \"x\" is progressing",
        ),
        ("done", json!({"replicas": 3}), all(3), "Healthy"),
        ("scaled to zero", json!({"replicas": 0}), all(0), "Healthy"),
        ("paused and done", json!({"replicas": 1, "paused": true}), all(1), "Healthy"),
        (
            "paused",
            json!({"replicas": 2, "paused": true}),
            all(1),
            "Suspended Suspended: the Deployment is paused",
        ),
        (
            "deadline",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "conditions": conditions(&[("Progressing", "False", "ProgressDeadlineExceeded", "timed out")])}),
            "Degraded ProgressDeadlineExceeded: 0 of 2 replicas available; the progress deadline is exceeded",
        ),
    ];
    for (name, spec, status, expected) in rows {
        check(name, object("apps/v1", "Deployment", spec, status), expected);
    }
}

#[test]
fn other_workloads_follow_their_own_counts() {
    let rows = [
        (
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 1}),
            "Progressing LessReady: 1 of 2 replicas ready",
        ),
        (
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"}),
            "Progressing LessUpdated: 1 of 2 replicas updated",
        ),
        (
            "StatefulSet",
            json!({"replicas": 2, "updateStrategy": {"rollingUpdate": {"partition": 1}}}),
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 1, "currentRevision": "a", "updateRevision": "b"}),
            "Healthy",
        ),
        ("StatefulSet", json!({"replicas": 2, "updateStrategy": {"type": "OnDelete"}}), json!({}), "Healthy"),
        (
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "currentReplicas": 2, "currentRevision": "a", "updateRevision": "a"}),
            "Healthy",
        ),
        (
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "currentRevision": "a", "updateRevision": "b"}),
            "Progressing RevisionMismatch: all replicas are updated; the controller has not closed the update yet",
        ),
        (
            "StatefulSet",
            json!({"replicas": 4}),
            json!({"observedGeneration": 2, "replicas": 4, "readyReplicas": 4, "currentReplicas": 2}),
            "Progressing LessCurrent: 2 of 4 replicas of the current revision",
        ),
        (
            "StatefulSet",
            json!({"replicas": 2}),
            json!({"observedGeneration": 2, "replicas": 4, "readyReplicas": 4, "currentReplicas": 4}),
            "Progressing ExtraReplicas: 2 old replicas are still terminating",
        ),
        (
            "DaemonSet",
            json!({"updateStrategy": {"type": "OnDelete"}}),
            json!({"observedGeneration": 2, "desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberAvailable": 1, "numberReady": 1}),
            "Healthy",
        ),
        (
            "ReplicaSet",
            json!({"replicas": 1}),
            json!({"observedGeneration": 2, "replicas": 2, "fullyLabeledReplicas": 1, "availableReplicas": 1, "readyReplicas": 1}),
            "Progressing ExtraReplicas: 1 old replicas are still terminating",
        ),
        (
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 2}),
            "Progressing NotObserved: the controller has not seen it yet",
        ),
        (
            "DaemonSet",
            json!({}),
            json!({"observedGeneration": 2, "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 1}),
            "Progressing LessAvailable: 1 of 3 pods available",
        ),
        ("DaemonSet", json!({}), json!({"observedGeneration": 2, "desiredNumberScheduled": 0}), "Healthy"),
        (
            "ReplicaSet",
            json!({}),
            json!({"observedGeneration": 2, "conditions": conditions(&[("ReplicaFailure", "True", "FailedCreate", "quota exceeded")])}),
            "Progressing FailedCreate: quota exceeded",
        ),
        (
            "ReplicaSet",
            json!({}),
            json!({"observedGeneration": 2, "fullyLabeledReplicas": 1}),
            "Progressing LessAvailable: 0 of 1 replicas available",
        ),
    ];
    for (kind, spec, status, expected) in rows {
        check(kind, object("apps/v1", kind, spec, status), expected);
    }
}

#[test]
fn jobs_are_healthy_once_complete() {
    let started = "2026-01-01T00:00:00Z";
    let rows = [
        (json!({}), json!({}), "Progressing NotStarted: the Job has not started"),
        (
            json!({"completions": 3}),
            json!({"startTime": started, "succeeded": 1, "failed": 2}),
            "Progressing Running: 1 of 3 completions, 2 failed",
        ),
        (
            json!({}),
            json!({"startTime": started, "conditions": conditions(&[("Complete", "True", "", "")])}),
            "Healthy",
        ),
        (
            json!({}),
            json!({"startTime": started, "conditions": conditions(&[("Failed", "True", "BackoffLimitExceeded", "too many retries")])}),
            "Degraded BackoffLimitExceeded: too many retries",
        ),
        (json!({"suspend": true}), json!({}), "Suspended Suspended: the Job is suspended"),
    ];
    for (spec, status, expected) in rows {
        check("Job", object("batch/v1", "Job", spec, status), expected);
    }
    check(
        "CronJob",
        object("batch/v1", "CronJob", json!({"suspend": true}), json!({})),
        "Suspended Suspended: the CronJob is suspended",
    );
    check("CronJob", object("batch/v1beta1", "CronJob", json!({}), json!({})), "Healthy");
}

#[test]
fn pods_name_their_trouble() {
    let waiting = |reason: &str, message: &str| json!([{"name": "app", "state": {"waiting": {"reason": reason, "message": message}}}]);
    let rows = [
        (json!({}), "Progressing Pending: not observed yet"),
        (json!({"phase": "Pending"}), "Progressing Pending: pending"),
        (
            json!({"phase": "Pending", "conditions": conditions(&[("PodScheduled", "False", "Unschedulable", "0/1 nodes are available")])}),
            "Progressing Unschedulable: 0/1 nodes are available",
        ),
        (
            json!({"phase": "Pending", "containerStatuses": waiting("ImagePullBackOff", "Back-off pulling image \"x\"")}),
            "Progressing ImagePullBackOff: container app: Back-off pulling image \"x\"",
        ),
        (
            json!({"phase": "Running", "containerStatuses": waiting("CrashLoopBackOff", "")}),
            "Degraded CrashLoopBackOff: container app: CrashLoopBackOff",
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": waiting("CrashLoopBackOff", "back-off 10s")}),
            "Degraded CrashLoopBackOff: container app: back-off 10s",
        ),
        (
            json!({"phase": "Pending", "containerStatuses": waiting("ContainerCreating", "")}),
            "Progressing Pending: pending",
        ),
        (
            json!({"phase": "Running", "conditions": conditions(&[("Ready", "False", "ContainersNotReady", "containers with unready status: [app]")])}),
            "Progressing ContainersNotReady: containers with unready status: [app]",
        ),
        (json!({"phase": "Running", "conditions": conditions(&[("Ready", "True", "", "")])}), "Healthy"),
        (json!({"phase": "Succeeded"}), "Healthy"),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}),
            "Degraded Evicted: low on memory",
        ),
    ];
    check(
        "a pod that crashed",
        object(
            "v1",
            "Pod",
            json!({}),
            json!({"phase": "Running", "containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]}),
        ),
        "Degraded CrashLoopBackOff: container app: back-off 40s; it ended with OOMKilled, exit code 137",
    );
    check(
        "a pod that failed",
        object(
            "v1",
            "Pod",
            json!({}),
            json!({"phase": "Failed", "containerStatuses": [{"name": "app", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}),
        ),
        "Degraded Failed: container app: Error, exit code 3",
    );
    for (status, expected) in rows {
        check("Pod", object("v1", "Pod", json!({}), status), expected);
    }
}

#[test]
fn storage_services_and_definitions() {
    let rows = [
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({}),
            "Progressing NotBound: its phase is not known yet",
        ),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Pending"}),
            "Progressing NotBound: its phase is Pending",
        ),
        ("v1", "PersistentVolumeClaim", json!({}), json!({"phase": "Bound"}), "Healthy"),
        (
            "v1",
            "PersistentVolumeClaim",
            json!({}),
            json!({"phase": "Lost"}),
            "Degraded Lost: its phase is Lost",
        ),
        ("v1", "Service", json!({"type": "ClusterIP"}), json!({}), "Healthy"),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer"}),
            json!({"loadBalancer": {}}),
            "Progressing NoAddress: the load balancer has no address yet",
        ),
        (
            "v1",
            "Service",
            json!({"type": "LoadBalancer"}),
            json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
            "Healthy",
        ),
        ("v1", "Namespace", json!({}), json!({"phase": "Active"}), "Healthy"),
        ("v1", "ConfigMap", json!(null), json!(null), "Healthy"),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({}),
            "Progressing Installing: the definition is not established yet",
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": conditions(&[("NamesAccepted", "False", "ListKindConflict", "in use")])}),
            "Degraded ListKindConflict: in use",
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": conditions(&[("Established", "False", "Installing", "")])}),
            "Progressing Installing: the definition is not established yet",
        ),
        (
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            json!({}),
            json!({"conditions": conditions(&[("NamesAccepted", "True", "", ""), ("Established", "True", "", "")])}),
            "Healthy",
        ),
    ];
    for (version, kind, spec, status, expected) in rows {
        check(kind, object(version, kind, spec, status), expected);
    }
}

#[test]
fn the_rest_goes_by_conditions() {
    let rows = [
        (json!({}), "Healthy"),
        (json!({"conditions": conditions(&[("Ready", "True", "", "")])}), "Healthy"),
        (
            json!({"conditions": conditions(&[("Ready", "False", "Issuing", "waiting for the issuer")])}),
            "Progressing Issuing: waiting for the issuer",
        ),
        (
            json!({"conditions": conditions(&[("Available", "Unknown", "", "")])}),
            "Progressing Available: Available is Unknown",
        ),
        (
            json!({"conditions": conditions(&[("Ready", "True", "", ""), ("Reconciling", "True", "Progressing", "building")])}),
            "Progressing Progressing: building",
        ),
        (
            json!({"conditions": conditions(&[("Stalled", "True", "BuildFailed", "no such file")])}),
            "Degraded BuildFailed: no such file",
        ),
        (
            json!({"observedGeneration": 1, "conditions": conditions(&[("Ready", "True", "", "")])}),
            "Progressing LatestGenerationNotObserved: generation 2 is not observed yet, the latest observed is 1",
        ),
        (
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}),
            "Progressing LatestGenerationNotObserved: Ready is of an older generation",
        ),
        (json!({"conditions": "nonsense"}), "Healthy"),
    ];
    for (status, expected) in rows {
        check("Widget", object("example.com/v1", "Widget", json!({}), status), expected);
    }
}

#[test]
fn whatever_is_being_deleted_is_terminating() {
    let mut dying = object("v1", "ConfigMap", json!({}), json!({}));
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    check("no finalizer", dying.clone(), "Progressing Terminating: it is being deleted");
    dying["metadata"]["finalizers"] = json!(["example.com/a", "example.com/b"]);
    check(
        "finalizers",
        dying,
        "Progressing Terminating: it is being deleted; finalizers: example.com/a, example.com/b",
    );
}
