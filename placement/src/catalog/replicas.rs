//! Reading which replicas a `Placement` divides.
//!
//! In: its field `replicas`. Out: [`Replicas`]. Never: takes a kind of Kubernetes itself that has no replicas to divide.

use super::fields::{Field, Reader};
use super::pick::{Divide, Replicas};
use super::{ObjectTarget, did_you_mean, treat};

/// The kinds of Kubernetes itself that have `spec.replicas`, each with its API group.
const DIVIDED: [(&str, &str); 4] =
    [("apps", "Deployment"), ("apps", "StatefulSet"), ("apps", "ReplicaSet"), ("", "ReplicationController")];

/// What else people may think of where no group says that something else is meant: kinds without `spec.replicas`.
const OTHERS: [&str; 16] = [
    "ClusterRole",
    "ConfigMap",
    "CronJob",
    "CustomResourceDefinition",
    "DaemonSet",
    "HorizontalPodAutoscaler",
    "Ingress",
    "Job",
    "Namespace",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "Role",
    "Secret",
    "Service",
    "ServiceAccount",
];

/// Whether a group is one of Kubernetes itself.
fn is_built_in(group: &str) -> bool {
    matches!(group, "" | "apps" | "autoscaling" | "batch" | "extensions" | "policy")
        || group.ends_with(".k8s.io")
}

/// Reads it.
pub(super) fn replicas(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Replicas> {
    let fields = reader.fields(field, &["target", "total", "divide"], &[])?;
    let choices = [("Even", Divide::Even), ("Weighted", Divide::Weighted), ("Free", Divide::Free)];
    let target = treat::target(reader, &fields);
    if let (Some(target), Some(given)) = (&target, fields.get("target"))
        && let Some((name, problem)) = problem(target)
    {
        let node = given.node.map().and_then(|map| map.get(name));
        let at = node.map_or(given.node.position, |node| node.position);
        reader.error(at, format!("{}.{name}: {problem}", given.path));
    }
    let total = fields.get("total").and_then(|f| reader.count(&f));
    if fields.get("total").is_none() {
        reader.missing(fields.position, &fields.path_of("total"), "say how many replicas there are in all");
    }
    let divide = fields.get("divide").and_then(|f| reader.choice(&f, &choices)).unwrap_or_default();
    Some(Replicas { target: target?, total: total?, divide })
}

/// Which field of a target is wrong, and why. Of what is not built in, nobody knows here what it has.
fn problem(target: &ObjectTarget) -> Option<(&'static str, String)> {
    let kind = target.kind.as_deref()?;
    let built_in = match target.group.as_deref() {
        Some(group) => is_built_in(group),
        None => OTHERS.contains(&kind),
    };
    if !built_in {
        return None;
    }
    if let Some((home, _)) = DIVIDED.iter().find(|(_, divided)| *divided == kind) {
        let (of, write) = if home.is_empty() { ("the core API group", "\"\"") } else { ("apps", *home) };
        let is_home = target.group.as_deref() == Some(*home);
        return (!is_home)
            .then(|| ("group", format!("a {kind} is of {of}; write group: {write}, or remove the group")));
    }
    let article = if kind.starts_with(['A', 'E', 'I', 'O']) { "an" } else { "a" };
    let suggestion = did_you_mean(kind, DIVIDED.map(|(_, divided)| divided));
    let message = format!(
        "{article} {kind} has no spec.replicas{suggestion}; name a Deployment, StatefulSet, ReplicaSet, or a custom kind that has it (with its group)"
    );
    Some(("kind", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_kubernetes_without_replicas_are_refused_and_custom_ones_taken() {
        // (group, kind, the field that is wrong and how its message begins)
        type Row = (Option<&'static str>, &'static str, Option<(&'static str, &'static str)>);
        let rows: [Row; 19] = [
            (None, "Deployment", None),
            (None, "StatefulSet", None),
            (None, "ReplicationController", None),
            (None, "Rollout", None),
            (Some("apps"), "ReplicaSet", None),
            (Some(""), "ReplicationController", None),
            (Some("argoproj.io"), "Rollout", None),
            (Some("cluster.x-k8s.io"), "MachineDeployment", None),
            (Some("serving.knative.dev"), "Service", None),
            (None, "ConfigMap", Some(("kind", "a ConfigMap has no spec.replicas; name a Deployment, "))),
            (None, "Ingress", Some(("kind", "an Ingress has no spec.replicas; "))),
            (None, "DaemonSet", Some(("kind", "a DaemonSet has no spec.replicas; "))),
            (Some("apps"), "DaemonSet", Some(("kind", "a DaemonSet has no spec.replicas; "))),
            (Some("batch"), "Job", Some(("kind", "a Job has no spec.replicas; "))),
            (Some("storage.k8s.io"), "Thing", Some(("kind", "a Thing has no spec.replicas; "))),
            (
                Some("apps"),
                "Deploymnet",
                Some(("kind", "a Deploymnet has no spec.replicas; did you mean Deployment?; ")),
            ),
            (Some("batch"), "Deployment", Some(("group", "a Deployment is of apps; write group: apps, "))),
            (Some(""), "StatefulSet", Some(("group", "a StatefulSet is of apps; write group: apps, "))),
            (
                Some("apps"),
                "ReplicationController",
                Some(("group", "a ReplicationController is of the core API group; write group: \"\", ")),
            ),
        ];
        for (group, kind, expected) in rows {
            let group = group.map(str::to_owned);
            let target = ObjectTarget { group, kind: Some(kind.to_owned()), ..ObjectTarget::default() };
            let told = problem(&target);
            let is_expected = match (&told, expected) {
                (None, None) => true,
                (Some((field, message)), Some((name, start))) => *field == name && message.starts_with(start),
                _ => false,
            };
            assert!(is_expected, "{target:?}: {told:?}");
        }
    }
}
