//! The scopes of Kubernetes' own kinds, for targets that have no API server to ask.
//!
//! In: group and kind. Out: a scope. Never: guesses a kind of a group that is not Kubernetes' own; who asks does.

use nave_placement::render::Scope;

/// The scope of a kind of Kubernetes itself; `None` for every other.
pub fn scope(group: &str, kind: &str) -> Option<Scope> {
    if is_cluster_kind(group, kind) {
        return Some(Scope::Cluster);
    }
    is_own_group(group).then_some(Scope::Namespaced)
}

fn is_cluster_kind(group: &str, kind: &str) -> bool {
    match group {
        "" => matches!(kind, "Namespace" | "Node" | "PersistentVolume" | "ComponentStatus"),
        // Everything in these groups is.
        "apiextensions.k8s.io"
        | "admissionregistration.k8s.io"
        | "apiregistration.k8s.io"
        | "node.k8s.io"
        | "scheduling.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "storagemigration.k8s.io"
        | "internal.apiserver.k8s.io" => true,
        "rbac.authorization.k8s.io" => matches!(kind, "ClusterRole" | "ClusterRoleBinding"),
        "storage.k8s.io" => {
            matches!(
                kind,
                "StorageClass" | "VolumeAttachment" | "CSIDriver" | "CSINode" | "VolumeAttributesClass"
            )
        }
        "networking.k8s.io" => matches!(kind, "IngressClass" | "IPAddress" | "ServiceCIDR"),
        "certificates.k8s.io" => matches!(kind, "CertificateSigningRequest" | "ClusterTrustBundle"),
        "resource.k8s.io" => matches!(kind, "DeviceClass" | "ResourceSlice" | "DeviceTaintRule"),
        "authentication.k8s.io" => true,
        "authorization.k8s.io" => kind != "LocalSubjectAccessReview",
        "policy" => kind == "PodSecurityPolicy",
        _ => false,
    }
}

/// Groups without a dot are Kubernetes' own (`apps`, `batch`); of those with one, these are.
fn is_own_group(group: &str) -> bool {
    const OWN: [&str; 9] = [
        "authorization.k8s.io",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "storage.k8s.io",
    ];
    !group.contains('.') || OWN.contains(&group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_kubernetes_have_their_scope_and_others_none() {
        for (group, kind, expected) in [
            ("", "Namespace", Some(Scope::Cluster)),
            ("", "ConfigMap", Some(Scope::Namespaced)),
            ("apps", "Deployment", Some(Scope::Namespaced)),
            ("rbac.authorization.k8s.io", "Role", Some(Scope::Namespaced)),
            ("rbac.authorization.k8s.io", "ClusterRole", Some(Scope::Cluster)),
            ("apiextensions.k8s.io", "CustomResourceDefinition", Some(Scope::Cluster)),
            ("storage.k8s.io", "CSIStorageCapacity", Some(Scope::Namespaced)),
            ("cert-manager.io", "Certificate", None),
        ] {
            assert_eq!(scope(group, kind), expected, "{kind}.{group}");
        }
    }
}
