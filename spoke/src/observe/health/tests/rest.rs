//! The rest of the rows: kinds that are rarer, each as it says that it is well, and that it is not.

use serde_json::{Value, json};

use super::{check, conditions, object, one};

#[test]
fn kinds_that_are_rarer_have_their_rows() {
    let none = || json!({});
    let rows = [
        ("argoproj.io/v1alpha1", "Workflow", none(), json!({"phase": "Succeeded"}), "Healthy"),
        (
            "argoproj.io/v1alpha1",
            "Workflow",
            none(),
            json!({"phase": "Failed", "message": "child failed"}),
            "Degraded Failed: child failed",
        ),
        (
            "argoproj.io/v1alpha1",
            "Experiment",
            none(),
            json!({"phase": "Inconclusive"}),
            "Unknown Inconclusive: its phase is Inconclusive",
        ),
        (
            "argoproj.io/v1alpha1",
            "Application",
            none(),
            json!({"health": {"status": "Degraded", "message": "1 of 2"}}),
            "Degraded Degraded: 1 of 2",
        ),
        ("notification.toolkit.fluxcd.io/v1beta3", "Alert", none(), none(), "Healthy"),
        (
            "notification.toolkit.fluxcd.io/v1beta3",
            "Provider",
            json!({"suspend": true}),
            none(),
            "Suspended Suspended: the Provider is suspended (spec.suspend)",
        ),
        ("source.toolkit.fluxcd.io/v1", "HelmRepository", json!({"type": "oci"}), none(), "Healthy"),
        (
            "source.toolkit.fluxcd.io/v1",
            "HelmRepository",
            none(),
            one("Ready", "False", "IndexationFailed", "no such host"),
            "Degraded IndexationFailed: no such host",
        ),
        (
            "apiextensions.crossplane.io/v1",
            "CompositeResourceDefinition",
            none(),
            one("Established", "True", "WatchingCompositeResource", ""),
            "Healthy",
        ),
        (
            "apiextensions.crossplane.io/v1",
            "CompositeResourceDefinition",
            none(),
            none(),
            "Progressing NotObserved: there is no condition Established yet",
        ),
        ("apiextensions.crossplane.io/v1", "Composition", none(), none(), "Healthy"),
        ("aws.upbound.io/v1beta1", "ProviderConfig", none(), none(), "Healthy"),
        (
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            none(),
            one("Denied", "True", "ByPolicy", "not this name"),
            "Degraded ByPolicy: not this name",
        ),
        (
            "certificates.k8s.io/v1",
            "CertificateSigningRequest",
            none(),
            one("Approved", "True", "AutoApproved", ""),
            "Healthy",
        ),
        (
            "monitoring.coreos.com/v1",
            "ThanosRuler",
            none(),
            json!({"conditions": conditions(&[("Reconciled", "True", "", ""), ("Available", "True", "", "")])}),
            "Healthy",
        ),
        (
            "monitoring.coreos.com/v1alpha1",
            "PrometheusAgent",
            none(),
            one("Reconciled", "False", "ReconciliationFailed", "bad selector"),
            "Degraded ReconciliationFailed: bad selector",
        ),
        (
            "external-secrets.io/v1alpha1",
            "PushSecret",
            none(),
            one("Ready", "False", "Errored", "could not push"),
            "Degraded Errored: could not push",
        ),
        (
            "gateway.networking.k8s.io/v1alpha2",
            "TLSRoute",
            none(),
            parents("True", "Accepted", ""),
            "Healthy",
        ),
        (
            "gateway.networking.k8s.io/v1alpha2",
            "TCPRoute",
            none(),
            parents("False", "NotAllowedByListeners", "no listener"),
            "Degraded NotAllowedByListeners: parent gateway: no listener",
        ),
        (
            "v1",
            "ReplicationController",
            json!({"replicas": 1}),
            json!({"observedGeneration": 2, "replicas": 1, "fullyLabeledReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}),
            "Healthy",
        ),
    ];
    for (version, kind, spec, status, expected) in rows {
        check(kind, object(version, kind, spec, status), expected);
    }
}

/// What a route says of its one parent.
fn parents(status: &str, reason: &str, message: &str) -> Value {
    let accepted = one("Accepted", status, reason, message);
    json!({"parents": [{"parentRef": {"name": "gateway"}, "controllerName": "example.com/c", "conditions": accepted["conditions"]}]})
}
