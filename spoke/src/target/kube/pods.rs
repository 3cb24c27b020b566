//! Pods: why a workload is short of replicas.
//!
//! In: an unhealthy workload. Out: its health, with the worst pod's reason and words.
//! Never: changes the verdict itself, asks for more than one page of pods.

use kube::api::ListParams;
use serde_json::Value;

use super::kinds::core;
use super::shared::{Shared, text};
use super::wire::path;
use crate::observe::health;
use crate::target::{Health, HealthState};

/// Pods looked at: a workload whose first twenty pods are well is not explained by its pods.
const PODS: u32 = 20;

/// How a workload selects its pods, as a label selector in text form.
pub(super) struct Selected(String);

impl Selected {
    /// `None` for what has no pods, is well, or was not seen by its controller yet.
    pub fn of(workload: &Value, health: &Health) -> Option<Self> {
        let troubled = matches!(health.state, HealthState::Progressing | HealthState::Degraded);
        let early =
            matches!(health.reason.as_str(), "NotObserved" | "LatestGenerationNotObserved" | "Terminating");
        let kind = text(workload, "/kind");
        let has_pods = matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job");
        if !troubled || early || !has_pods {
            return None;
        }
        selector(workload.pointer("/spec/selector")?).map(Self)
    }
}

impl Shared {
    /// Adds the worst pod's words to a workload's health; where pods cannot be read, the workload's words stand alone.
    pub async fn explain_by_pods(&self, namespace: &str, selected: &Selected, health: &mut Health) {
        let params = ListParams::default().labels(&selected.0).limit(PODS);
        let answer = match self.wire.send(path(&core("Pod", "pods"), namespace).list(&params)).await {
            Ok(answer) => answer.body,
            Err(problem) => {
                return tracing::debug!(namespace, error = %problem.error, "pods could not be read");
            }
        };
        let items = answer.get("items").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if let Some((pod, trouble)) = worst(items) {
            let Health { reason, message, .. } = trouble;
            health.message.push_str(&format!("; pod {pod}: {reason}, {message}"));
            if health.reason != "ProgressDeadlineExceeded" {
                health.reason = reason;
            }
        }
    }
}

/// The pod that says most: failed before stuck before merely not ready.
fn worst(pods: &[Value]) -> Option<(String, Health)> {
    let judged = pods.iter().filter_map(|pod| {
        let pod = with_kind(pod);
        let health = health::judge(&pod, &health::Given::default());
        let rank = match (health.state, health.reason.as_str()) {
            (HealthState::Degraded, _) => 3,
            // Being created, or on its way out: nothing that a person could act on.
            (HealthState::Progressing, "Pending" | "Terminating") => return None,
            (HealthState::Progressing, "ContainersNotReady") => 1,
            (HealthState::Progressing, _) => 2,
            _ => return None,
        };
        Some((rank, text(&pod, "/metadata/name").to_owned(), health))
    });
    judged.max_by_key(|(rank, ..)| *rank).map(|(_, name, health)| (name, health))
}

/// Items of a list do not repeat their kind.
fn with_kind(item: &Value) -> Value {
    let mut item = item.clone();
    item["kind"] = "Pod".into();
    item["apiVersion"] = "v1".into();
    item
}

/// A `LabelSelector` as text; `None` where it selects nothing or says something that is not known here.
pub(super) fn selector(spec: &Value) -> Option<String> {
    let mut terms = Vec::new();
    for (key, value) in spec.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
        terms.push(format!("{key}={}", value.as_str()?));
    }
    for expression in spec.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
        let key = text(expression, "/key");
        let values = expression.get("values").and_then(Value::as_array).into_iter().flatten();
        let values: Vec<_> = values.filter_map(Value::as_str).collect();
        terms.push(match text(expression, "/operator") {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        });
    }
    (!terms.is_empty()).then(|| terms.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_are_written_as_the_api_server_reads_them() {
        let spec = json!({"matchLabels": {"app": "web"}, "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "x", "operator": "DoesNotExist"},
        ]});
        assert_eq!(selector(&spec).as_deref(), Some("app=web,tier in (a,b),!x"));
        assert_eq!(selector(&json!({})), None);
    }

    #[test]
    fn the_worst_pod_speaks() {
        let pod = |name: &str, status: Value| json!({"metadata": {"name": name}, "status": status});
        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}]});
        let crashing = json!({"phase": "Running", "containerStatuses": [{"name": "app", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        let said = |pods: &[Value]| worst(pods).map(|(name, health)| format!("{name} {}", health.reason));
        let pods = [pod("a", json!({})), pod("b", unschedulable), pod("c", crashing)];
        assert_eq!(said(&pods).as_deref(), Some("c CrashLoopBackOff"));
        assert_eq!(said(&pods[..2]).as_deref(), Some("b Unschedulable"));
        assert_eq!(said(&pods[..1]), None);
    }
}
