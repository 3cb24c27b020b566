//! The order of writing, by kind; removal is its reverse.
//!
//! In: an object's identity. Out: its rank, and whether it is one that is never deleted.
//! Never: looks at content or at what other objects refer to.

use nave_placement::ObjectKey;

use crate::target::builtin;

/// What an object is to the objects around it, in the order of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Namespaces: everything namespaced needs one.
    Namespace,
    /// Definitions of kinds: their objects need them.
    Definition,
    /// Configuration of the cluster as a whole.
    ClusterConfiguration,
    /// Configuration that workloads refer to.
    Configuration,
    /// Workloads, and every kind of Kubernetes that is not named here.
    Workload,
    /// Objects of kinds that somebody defined: who serves them is a workload, and has to be there until their finalizers
    /// are done.
    Custom,
    /// Webhook configurations: once there, they may refuse everything else while what answers them is not up.
    Webhook,
}

/// The rank of an object.
pub fn rank(key: &ObjectKey) -> Rank {
    match (key.group.as_str(), key.kind.as_str()) {
        ("", "Namespace") => Rank::Namespace,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => Rank::Definition,
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
            | "ValidatingAdmissionPolicyBinding"
            | "MutatingAdmissionPolicyBinding",
        ) => Rank::Webhook,
        ("", "ServiceAccount" | "ConfigMap" | "Secret" | "ResourceQuota" | "LimitRange")
        | ("rbac.authorization.k8s.io", "Role" | "RoleBinding") => Rank::Configuration,
        ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding")
        | ("", "PersistentVolume")
        | ("storage.k8s.io", "StorageClass" | "CSIDriver")
        | ("scheduling.k8s.io", "PriorityClass")
        | ("node.k8s.io", "RuntimeClass")
        | ("networking.k8s.io", "IngressClass")
        | ("policy", "PodSecurityPolicy")
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => {
            Rank::ClusterConfiguration
        }
        (group, kind) if builtin::scope(group, kind).is_none() => Rank::Custom,
        _ => Rank::Workload,
    }
}

/// Whether the second goes when the first is deleted. Which kind of its group a definition is of is not known by its name,
/// so that it counts for all of them.
pub(super) fn holds(outer: &ObjectKey, inner: &ObjectKey) -> bool {
    match (outer.group.as_str(), outer.kind.as_str()) {
        ("", "Namespace") => inner.namespace == outer.name,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            outer.name.split_once('.').is_some_and(|(_, group)| group == inner.group)
        }
        _ => false,
    }
}

/// Whether an object outlives its app: deleting it would delete what is in it, objects that are not ours and data
/// included. Where others are deleted, it becomes nobody's and stays.
pub fn is_kept(key: &ObjectKey) -> bool {
    matches!(
        (key.group.as_str(), key.kind.as_str()),
        ("", "Namespace" | "PersistentVolume" | "PersistentVolumeClaim")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
    )
}
