//! Managers: who else looks after an object, by the marks that each tool is known to leave.
//!
//! In: a live object. Out: [`Manager`]s, each with the mark that names it. Never: guesses without saying by what.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::redact::LAST_APPLIED;

/// What kind of manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tool {
    /// A Helm release.
    Helm,
    /// An Argo CD application.
    ArgoCd,
    /// A Flux `Kustomization` or `HelmRelease`.
    Flux,
    /// A bundle of Rancher Fleet, or another of Rancher's object sets.
    RancherFleet,
    /// Karmada.
    Karmada,
    /// Open Cluster Management.
    OpenClusterManagement,
    /// kubectl: apply, edit, create and their like.
    Kubectl,
    /// A controller in the cluster, which owns the object.
    Controller,
    /// Whoever else applies on the server's side.
    ServerSideApply,
}

/// Who looks after an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Manager {
    /// What kind.
    pub tool: Tool,
    /// Its name: a release, an application, a field manager.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The mark that says so.
    pub by: String,
}

/// Labels and annotations that name a tool: its kind, the mark, and the mark that has the namespace of the name.
const MARKS: &[(Tool, &str, &str)] = &[
    (Tool::Helm, "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"),
    (Tool::Flux, "kustomize.toolkit.fluxcd.io/name", "kustomize.toolkit.fluxcd.io/namespace"),
    (Tool::Flux, "helm.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/namespace"),
    (Tool::ArgoCd, "argocd.argoproj.io/instance", ""),
    (Tool::RancherFleet, "objectset.rio.cattle.io/id", ""),
    (Tool::RancherFleet, "objectset.rio.cattle.io/owner-name", "objectset.rio.cattle.io/owner-namespace"),
    (Tool::RancherFleet, "objectset.rio.cattle.io/hash", ""),
    (Tool::RancherFleet, "fleet.cattle.io/bundle-id", ""),
    (Tool::RancherFleet, "fleet.cattle.io/bundle-name", "fleet.cattle.io/bundle-namespace"),
    (Tool::Karmada, "resourcebinding.karmada.io/name", "resourcebinding.karmada.io/namespace"),
    (Tool::Karmada, "work.karmada.io/name", "work.karmada.io/namespace"),
    (Tool::Karmada, "karmada.io/managed", ""),
    (Tool::OpenClusterManagement, "apps.open-cluster-management.io/hosting-subscription", ""),
];

/// The value is the application's name up to the first colon.
const ARGO_TRACKING: &str = "argocd.argoproj.io/tracking-id";
/// Argo CD's default mark before v3; others use it as well.
const INSTANCE: &str = "app.kubernetes.io/instance";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Everybody who looks after an object, but for us.
pub fn managers(live: &Value, ours: &str) -> Vec<Manager> {
    let mut found = Vec::new();
    by_marks(live, &mut found);
    by_owners(live, &mut found);
    by_fields(live, ours, &mut found);
    if mark(live, LAST_APPLIED).is_some() {
        add(&mut found, Tool::Kubectl, "apply", LAST_APPLIED);
    }
    found.sort();
    found
}

fn mark<'a>(live: &'a Value, name: &str) -> Option<&'a str> {
    let of = |map: &str| live.get("metadata")?.get(map)?.get(name)?.as_str();
    of("annotations").or_else(|| of("labels"))
}

/// A tool that one mark has named is not named once more, unless it has another name there.
fn add(found: &mut Vec<Manager>, tool: Tool, name: &str, by: &str) {
    let known = |m: &Manager| m.tool == tool && (name.is_empty() || m.name == name);
    if !found.iter().any(known) {
        found.push(Manager { tool, name: name.to_owned(), by: by.to_owned() });
    }
}

fn by_marks(live: &Value, found: &mut Vec<Manager>) {
    for (tool, name, namespace) in MARKS {
        if let Some(value) = mark(live, name) {
            let named = match mark(live, namespace) {
                Some(namespace) if !namespace.is_empty() => format!("{namespace}/{value}"),
                // A hash or a flag is no name.
                _ if name.ends_with("/hash") || name.ends_with("/managed") => String::new(),
                _ => value.to_owned(),
            };
            add(found, *tool, &named, name);
        }
    }
    if let Some(tracking) = mark(live, ARGO_TRACKING) {
        add(found, Tool::ArgoCd, tracking.split(':').next().unwrap_or_default(), ARGO_TRACKING);
    }
    if mark(live, MANAGED_BY) == Some("Helm") {
        add(found, Tool::Helm, "", MANAGED_BY);
    }
    let named_otherwise = found.iter().any(|m| matches!(m.tool, Tool::Helm | Tool::ArgoCd | Tool::Flux));
    if let Some(instance) = mark(live, INSTANCE).filter(|_| !named_otherwise) {
        add(found, Tool::ArgoCd, instance, INSTANCE);
    }
}

fn by_owners(live: &Value, found: &mut Vec<Manager>) {
    let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    for owner in owners.into_iter().flatten() {
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        if text("kind") == "AppliedManifestWork" {
            add(found, Tool::OpenClusterManagement, text("name"), "ownerReferences");
        } else if owner.get("controller") == Some(&Value::Bool(true)) {
            add(found, Tool::Controller, &format!("{}/{}", text("kind"), text("name")), "ownerReferences");
        }
    }
}

fn by_fields(live: &Value, ours: &str, found: &mut Vec<Manager>) {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let (manager, applies) = (text("manager"), text("operation") == "Apply");
        // What writes only `status` reports of the object; it does not look after it.
        let of_status = text("subresource") == "status"
            || entry
                .get("fieldsV1")
                .and_then(Value::as_object)
                .is_some_and(|f| f.keys().all(|k| k == "f:status"));
        if manager == ours || of_status {
            continue;
        }
        let known = match manager {
            "helm" | "Helm" => Some(Tool::Helm),
            "argocd-controller" | "argocd-application-controller" => Some(Tool::ArgoCd),
            "kustomize-controller" | "helm-controller" => Some(Tool::Flux),
            "fleetagent" | "fleet-agent" | "fleetcontroller" => Some(Tool::RancherFleet),
            "karmada-agent" | "karmada-controller-manager" => Some(Tool::Karmada),
            "work-agent" | "klusterlet-agent" => Some(Tool::OpenClusterManagement),
            _ => None,
        };
        let by = format!("managedFields: {manager}");
        if let Some(tool) = known {
            add(found, tool, "", &by);
        } else if manager == "kubectl" || manager.starts_with("kubectl-") {
            let verb = match (manager.strip_prefix("kubectl-"), applies) {
                (_, true) => "apply --server-side",
                (Some("client-side-apply"), _) => "apply",
                (verb, _) => verb.unwrap_or_default(),
            };
            add(found, Tool::Kubectl, verb, &by);
        } else if applies {
            add(found, Tool::ServerSideApply, manager, &by);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(live: &Value) -> Vec<String> {
        managers(live, "nave").iter().map(|m| format!("{:?} {} by {}", m.tool, m.name, m.by)).collect()
    }

    #[test]
    fn each_tool_is_named_by_the_mark_that_it_leaves() {
        let labels = |labels: Value| json!({"metadata": {"labels": labels}});
        let annotations = |annotations: Value| json!({"metadata": {"annotations": annotations}});
        let fields = |manager: &str, operation: &str| json!({"metadata": {"managedFields": [{"manager": manager, "operation": operation, "fieldsV1": {"f:data": {}}}]}});
        let rows = [
            (
                json!({"metadata": {
                    "annotations": {"meta.helm.sh/release-name": "web", "meta.helm.sh/release-namespace": "shop"},
                    "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/instance": "web"},
                }}),
                vec!["Helm shop/web by meta.helm.sh/release-name"],
            ),
            (
                labels(json!({"app.kubernetes.io/managed-by": "Helm"})),
                vec!["Helm  by app.kubernetes.io/managed-by"],
            ),
            (
                annotations(json!({ARGO_TRACKING: "web:apps/Deployment:shop/web"})),
                vec!["ArgoCd web by argocd.argoproj.io/tracking-id"],
            ),
            (labels(json!({INSTANCE: "web"})), vec!["ArgoCd web by app.kubernetes.io/instance"]),
            (
                labels(
                    json!({"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}),
                ),
                vec!["Flux flux-system/apps by kustomize.toolkit.fluxcd.io/name"],
            ),
            (
                labels(json!({"helm.toolkit.fluxcd.io/name": "web"})),
                vec!["Flux web by helm.toolkit.fluxcd.io/name"],
            ),
            (
                labels(json!({"objectset.rio.cattle.io/hash": "abc"})),
                vec!["RancherFleet  by objectset.rio.cattle.io/hash"],
            ),
            (labels(json!({"karmada.io/managed": "true"})), vec!["Karmada  by karmada.io/managed"]),
            (
                json!({"metadata": {"ownerReferences": [{"kind": "AppliedManifestWork", "name": "w"}]}}),
                vec!["OpenClusterManagement w by ownerReferences"],
            ),
            (
                json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "name": "r", "controller": true}]}}),
                vec!["Controller ReplicaSet/r by ownerReferences"],
            ),
            (
                json!({"metadata": {"annotations": {LAST_APPLIED: "{}"}, "managedFields": [
                    {"manager": "kubectl-client-side-apply", "operation": "Update", "fieldsV1": {"f:data": {}}},
                ]}}),
                vec!["Kubectl apply by managedFields: kubectl-client-side-apply"],
            ),
            (fields("kubectl", "Apply"), vec!["Kubectl apply --server-side by managedFields: kubectl"]),
            (fields("kubectl-edit", "Update"), vec!["Kubectl edit by managedFields: kubectl-edit"]),
            (fields("terraform", "Apply"), vec!["ServerSideApply terraform by managedFields: terraform"]),
            (fields("kube-controller-manager", "Update"), vec![]),
            (fields("nave", "Apply"), vec![]),
        ];
        for (live, expected) in rows {
            assert_eq!(told(&live), expected, "{live}");
        }
    }
}
