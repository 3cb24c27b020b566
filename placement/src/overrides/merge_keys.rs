//! Merge keys: which lists of the Kubernetes API a strategic merge patch merges, and by what.
//!
//! In: group, kind, the path of a field. Out: how it is patched; data, taken from the patch strategies of `k8s.io/api`.
//! Never: guesses: a list that is not here is replaced.

/// How a list or map is patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A list of maps, told apart by these fields; the second only where the first is not enough, `TCP` where it is absent.
    Keys(&'static [&'static str]),
    /// A list of scalars without doubles.
    Set,
    /// It is replaced.
    Replace,
}

use Strategy::{Keys, Replace, Set};

/// Where a kind keeps pods: group, kind, path.
const PODS: &[(&str, &str, &str)] = &[
    ("", "Pod", ""),
    ("", "PodTemplate", "template"),
    ("", "ReplicationController", "spec.template"),
    ("apps", "DaemonSet", "spec.template"),
    ("apps", "Deployment", "spec.template"),
    ("apps", "ReplicaSet", "spec.template"),
    ("apps", "StatefulSet", "spec.template"),
    ("batch", "CronJob", "spec.jobTemplate.spec.template"),
    ("batch", "Job", "spec.template"),
];

/// In a pod's `spec`.
const IN_POD: &[(&str, Strategy)] = &[
    ("containers", Keys(&["name"])),
    ("initContainers", Keys(&["name"])),
    ("ephemeralContainers", Keys(&["name"])),
    ("hostAliases", Keys(&["ip"])),
    ("imagePullSecrets", Keys(&["name"])),
    ("resourceClaims", Keys(&["name"])),
    ("schedulingGates", Keys(&["name"])),
    ("topologySpreadConstraints", Keys(&["topologyKey"])),
    ("volumes", Keys(&["name"])),
];

/// In a container of any list.
const IN_CONTAINER: &[(&str, Strategy)] = &[
    ("env", Keys(&["name"])),
    ("ports", Keys(&["containerPort", "protocol"])),
    ("volumeDevices", Keys(&["devicePath"])),
    ("volumeMounts", Keys(&["mountPath"])),
];

/// Elsewhere: group, kind, path.
const IN_KIND: &[(&str, &str, &str, Strategy)] = &[
    ("", "Service", "spec.ports", Keys(&["port", "protocol"])),
    ("", "ServiceAccount", "secrets", Keys(&["name"])),
    ("policy", "PodDisruptionBudget", "spec.selector", Replace),
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration", "webhooks", Keys(&["name"])),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        "webhooks.matchConditions",
        Keys(&["name"]),
    ),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration", "webhooks", Keys(&["name"])),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "webhooks.matchConditions",
        Keys(&["name"]),
    ),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "spec.matchConditions", Keys(&["name"])),
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "spec.variables", Keys(&["name"])),
];

/// Groups whose kinds are built in: only of these is known which lists merge.
const BUILT_IN: &[&str] = &[
    "",
    "admissionregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

/// How the field at a path (names joined by dots, without indices) is patched; `None`: as its type says, lists replaced.
pub fn strategy(group: &str, kind: &str, path: &str) -> Option<Strategy> {
    if !BUILT_IN.contains(&group) {
        return None;
    }
    if path == "metadata.ownerReferences" {
        return Some(Keys(&["uid"]));
    }
    if path == "metadata.finalizers" || path.ends_with(".metadata.finalizers") {
        return Some(Set);
    }
    let own = IN_KIND.iter().find(|(g, k, p, _)| (*g, *k, *p) == (group, kind, path));
    if let Some((_, _, _, strategy)) = own {
        return Some(*strategy);
    }
    let (_, _, pods) = PODS.iter().find(|(g, k, _)| (*g, *k) == (group, kind))?;
    let inner = path.strip_prefix(pods)?;
    let inner = if pods.is_empty() { inner } else { inner.strip_prefix('.')? };
    let inner = inner.strip_prefix("spec.")?;
    let found =
        |rows: &[(&str, Strategy)], path: &str| rows.iter().find(|(p, _)| *p == path).map(|(_, s)| *s);
    match inner.split_once('.') {
        None => found(IN_POD, inner),
        Some(("containers" | "initContainers" | "ephemeralContainers", inner)) => found(IN_CONTAINER, inner),
        Some(_) => None,
    }
}

/// How a field is patched of a kind of which no more than its name is known: as of the built-in kind of that name.
pub fn strategy_of_kind(group: Option<&str>, kind: &str, path: &str) -> Option<Strategy> {
    match group {
        Some(group) => strategy(group, kind, path),
        None => BUILT_IN.iter().find_map(|group| strategy(group, kind, path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_merge_where_the_kubernetes_api_says_so() {
        let rows = [
            ("apps", "Deployment", "spec.template.spec.containers", Some(Keys(&["name"]))),
            ("apps", "Deployment", "spec.template.spec.containers.env", Some(Keys(&["name"]))),
            ("apps", "Deployment", "spec.template.spec.containers.args", None),
            ("apps", "Deployment", "spec.template.spec.tolerations", None),
            ("apps", "Deployment", "spec.containers", None),
            ("batch", "CronJob", "spec.jobTemplate.spec.template.spec.initContainers", Some(Keys(&["name"]))),
            ("", "Pod", "spec.volumes", Some(Keys(&["name"]))),
            ("", "Pod", "spec.volumes.projected.sources", None),
            ("", "Pod", "metadata.finalizers", Some(Set)),
            ("", "Service", "spec.ports", Some(Keys(&["port", "protocol"]))),
            ("policy", "PodDisruptionBudget", "spec.selector", Some(Replace)),
            ("example.com", "Deployment", "spec.template.spec.containers", None),
            ("example.com", "Deployment", "metadata.finalizers", None),
        ];
        for (group, kind, path, expected) in rows {
            assert_eq!(strategy(group, kind, path), expected, "{kind} {path}");
        }
        let containers = |kind| strategy_of_kind(None, kind, "spec.template.spec.containers");
        assert_eq!((containers("Deployment"), containers("Shop")), (Some(Keys(&["name"])), None));
    }
}
