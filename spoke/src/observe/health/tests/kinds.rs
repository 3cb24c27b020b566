//! Rows: the kinds that people run, with statuses as their controllers write them.

use serde_json::{Value, json};

use super::super::kinds::ROWS;
use super::{check, conditions, object, one};

type Row<'a> = (&'a str, &'a str, Value, Value, &'a str);

fn all(rows: Vec<Row<'_>>) {
    for (version, kind, spec, status, expected) in rows {
        check(kind, object(version, kind, spec, status), expected);
    }
}

#[test]
fn every_row_names_where_it_is_documented() {
    for row in ROWS {
        assert!(row.source.contains('.'), "{}", row.source);
    }
}

#[test]
fn certificates() {
    let none = || json!({});
    all(vec![
        (
            "cert-manager.io/v1",
            "Certificate",
            none(),
            none(),
            "Progressing NotObserved: there is no condition Ready yet",
        ),
        (
            "cert-manager.io/v1",
            "Certificate",
            none(),
            json!({"conditions": conditions(&[
                ("Issuing", "True", "DoesNotExist", "Issuing certificate as Secret does not exist"),
                ("Ready", "False", "DoesNotExist", "Issuing certificate as Secret does not exist"),
            ])}),
            "Progressing DoesNotExist: Issuing certificate as Secret does not exist",
        ),
        (
            "cert-manager.io/v1",
            "Certificate",
            none(),
            json!({"conditions": conditions(&[
                ("Issuing", "False", "Failed", "The certificate request has failed to complete"),
                ("Ready", "False", "DoesNotExist", "Issuing certificate as Secret does not exist"),
            ])}),
            "Degraded Failed: The certificate request has failed to complete",
        ),
        (
            "cert-manager.io/v1",
            "Certificate",
            none(),
            json!({"conditions": [
                {"type": "Ready", "status": "True", "observedGeneration": 2, "reason": "Ready"},
                {"type": "Issuing", "status": "True", "observedGeneration": 2, "reason": "Renewing"},
            ]}),
            "Healthy",
        ),
        (
            "cert-manager.io/v1",
            "Certificate",
            none(),
            json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}),
            "Progressing LatestGenerationNotObserved: Ready is of an older generation",
        ),
        (
            "cert-manager.io/v1",
            "ClusterIssuer",
            none(),
            one("Ready", "False", "ErrRegisterACMEAccount", "Failed to register ACME account"),
            "Degraded ErrRegisterACMEAccount: Failed to register ACME account",
        ),
        (
            "cert-manager.io/v1",
            "Issuer",
            none(),
            one("Ready", "True", "ACMEAccountRegistered", ""),
            "Healthy",
        ),
        (
            "cert-manager.io/v1",
            "CertificateRequest",
            none(),
            one("Ready", "False", "Pending", "Waiting on certificate issuance"),
            "Progressing Pending: Waiting on certificate issuance",
        ),
        (
            "cert-manager.io/v1",
            "CertificateRequest",
            none(),
            json!({"conditions": conditions(&[("Denied", "True", "Policy", "no"), ("Ready", "False", "Denied", "")])}),
            "Degraded Policy: no",
        ),
        (
            "acme.cert-manager.io/v1",
            "Challenge",
            none(),
            json!({"state": "invalid", "reason": "Error accepting authorization"}),
            "Degraded invalid: Error accepting authorization",
        ),
        (
            "acme.cert-manager.io/v1",
            "Order",
            none(),
            json!({"state": "pending"}),
            "Progressing pending: its state is pending",
        ),
    ]);
}

#[test]
fn argo_and_flux() {
    let none = || json!({});
    let rollout =
        |phase: &str, message: &str| json!({"observedGeneration": "2", "phase": phase, "message": message});
    all(vec![
        ("argoproj.io/v1alpha1", "Rollout", none(), rollout("Healthy", ""), "Healthy"),
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            none(),
            rollout("Progressing", "more replicas need to be updated"),
            "Progressing Progressing: more replicas need to be updated",
        ),
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            none(),
            rollout("Paused", "CanaryPauseStep"),
            "Suspended Suspended: CanaryPauseStep",
        ),
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            none(),
            rollout("Degraded", "ProgressDeadlineExceeded: timed out"),
            "Degraded Degraded: ProgressDeadlineExceeded: timed out",
        ),
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            json!({"paused": true}),
            none(),
            "Suspended Suspended: the Rollout is suspended (spec.paused)",
        ),
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            none(),
            json!({"observedGeneration": "1", "phase": "Healthy"}),
            "Progressing LatestGenerationNotObserved: generation 2 is not observed yet, the latest observed is 1",
        ),
        (
            "argoproj.io/v1alpha1",
            "Rollout",
            none(),
            none(),
            "Progressing NotObserved: its phase is not known yet",
        ),
        (
            "argoproj.io/v1alpha1",
            "AnalysisRun",
            none(),
            json!({"phase": "Running"}),
            "Progressing Running: its phase is Running",
        ),
        (
            "argoproj.io/v1alpha1",
            "AnalysisRun",
            none(),
            json!({"phase": "Inconclusive", "message": "Metric \"m\" assessed Inconclusive"}),
            "Unknown Inconclusive: Metric \"m\" assessed Inconclusive",
        ),
        ("argoproj.io/v1alpha1", "AnalysisRun", none(), json!({"phase": "Successful"}), "Healthy"),
        (
            "argoproj.io/v1alpha1",
            "AnalysisRun",
            none(),
            json!({"phase": "Error", "message": "no data"}),
            "Degraded Error: no data",
        ),
        (
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            none(),
            json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "True", "ReconciliationSucceeded", "Applied revision: main@sha1:1")])}),
            "Healthy",
        ),
        (
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            json!({"suspend": true}),
            json!({"observedGeneration": 1}),
            "Suspended Suspended: the Kustomization is suspended (spec.suspend)",
        ),
        (
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            none(),
            json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "False", "BuildFailed", "kustomization path not found")])}),
            "Degraded BuildFailed: kustomization path not found",
        ),
        (
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            none(),
            json!({"observedGeneration": 2, "conditions": conditions(&[
                ("Reconciling", "True", "ProgressingWithRetry", "Detecting drift"), ("Ready", "False", "HealthCheckFailed", "timeout"),
            ])}),
            "Progressing ProgressingWithRetry: Detecting drift",
        ),
        (
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            none(),
            json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "False", "DependencyNotReady", "dependency 'a' is not ready")])}),
            "Progressing DependencyNotReady: dependency 'a' is not ready",
        ),
        (
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            none(),
            json!({"observedGeneration": 2, "conditions": conditions(&[("Stalled", "True", "RetriesExceeded", "Failed to install after 1 attempt(s)")])}),
            "Degraded RetriesExceeded: Failed to install after 1 attempt(s)",
        ),
        (
            "source.toolkit.fluxcd.io/v1",
            "GitRepository",
            none(),
            none(),
            "Progressing NotObserved: there is no condition Ready yet",
        ),
    ]);
}

#[test]
fn knative_crossplane_and_cluster_api() {
    let none = || json!({});
    all(vec![
        (
            "serving.knative.dev/v1",
            "Service",
            none(),
            one("Ready", "Unknown", "RevisionMissing", "Configuration is waiting for a Revision"),
            "Progressing RevisionMissing: Configuration is waiting for a Revision",
        ),
        (
            "serving.knative.dev/v1",
            "Revision",
            none(),
            one("Ready", "False", "ContainerMissing", "Unable to fetch image"),
            "Degraded ContainerMissing: Unable to fetch image",
        ),
        (
            "serving.knative.dev/v1",
            "Revision",
            none(),
            json!({"conditions": conditions(&[("Active", "False", "NoTraffic", ""), ("Ready", "True", "", "")])}),
            "Healthy",
        ),
        (
            "s3.aws.upbound.io/v1beta1",
            "Bucket",
            none(),
            json!({"conditions": conditions(&[("Synced", "True", "ReconcileSuccess", ""), ("Ready", "False", "Creating", "")])}),
            "Progressing Creating: Ready is False",
        ),
        (
            "s3.aws.upbound.io/v1beta1",
            "Bucket",
            none(),
            json!({"conditions": conditions(&[("Synced", "False", "ReconcileError", "cannot create: AccessDenied"), ("Ready", "True", "", "")])}),
            "Degraded ReconcileError: cannot create: AccessDenied",
        ),
        (
            "s3.aws.upbound.io/v1beta1",
            "Bucket",
            none(),
            json!({"conditions": conditions(&[("Synced", "False", "ReconcilePaused", "Reconciliation is paused")])}),
            "Suspended Suspended: Reconciliation is paused",
        ),
        (
            "s3.aws.upbound.io/v1beta1",
            "Bucket",
            none(),
            none(),
            "Progressing NotObserved: there is no condition Synced yet",
        ),
        ("aws.upbound.io/v1beta1", "ProviderConfig", none(), none(), "Healthy"),
        (
            "pkg.crossplane.io/v1",
            "Provider",
            none(),
            json!({"conditions": conditions(&[("Installed", "True", "", ""), ("Healthy", "Unknown", "UnknownPackageRevisionHealth", "")])}),
            "Progressing UnknownPackageRevisionHealth: Healthy is Unknown",
        ),
        // A claim: any group.
        (
            "platform.example.com/v1",
            "Database",
            none(),
            json!({"conditions": conditions(&[("Synced", "True", "", ""), ("Ready", "False", "Waiting", "Claim is waiting")])}),
            "Progressing Waiting: Claim is waiting",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            none(),
            json!({"phase": "Provisioning"}),
            "Progressing Provisioning: its phase is Provisioning",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            none(),
            json!({"phase": "Provisioned", "conditions": [{"type": "Ready", "status": "False", "severity": "Info", "reason": "ScalingUp", "message": "1 of 3"}]}),
            "Progressing ScalingUp: 1 of 3",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            none(),
            json!({"phase": "Provisioned", "conditions": [
                {"type": "Ready", "status": "False", "severity": "Error", "reason": "InstanceTerminated"},
                {"type": "InfrastructureReady", "status": "False", "severity": "Error", "reason": "InstanceTerminated", "message": "gone"},
            ]}),
            "Degraded InstanceTerminated: gone",
        ),
        (
            "cluster.x-k8s.io/v1beta2",
            "Cluster",
            none(),
            json!({"phase": "Provisioned", "conditions": [{"type": "Available", "status": "False", "observedGeneration": 2, "reason": "NotAvailable", "message": "* ControlPlaneAvailable: no"}]}),
            "Progressing NotAvailable: * ControlPlaneAvailable: no",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            none(),
            json!({"phase": "Provisioned", "v1beta2": {"conditions": [{"type": "Available", "status": "True", "reason": "Available"}]}}),
            "Healthy",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            json!({"paused": true}),
            none(),
            "Suspended Suspended: the Cluster is suspended (spec.paused)",
        ),
        (
            "cluster.x-k8s.io/v1beta1",
            "Machine",
            none(),
            json!({"phase": "Failed", "failureReason": "CreateError", "failureMessage": "no capacity"}),
            "Degraded CreateError: no capacity",
        ),
        (
            "cluster.x-k8s.io/v1beta2",
            "MachineDeployment",
            none(),
            json!({"phase": "Running", "conditions": conditions(&[("Available", "True", "", ""), ("RollingOut", "True", "RollingOut", "Rolling out 2 not up-to-date replicas")])}),
            "Progressing RollingOut: Rolling out 2 not up-to-date replicas",
        ),
        (
            "controlplane.cluster.x-k8s.io/v1beta1",
            "KubeadmControlPlane",
            none(),
            one("Ready", "True", "", ""),
            "Healthy",
        ),
    ]);
}

#[test]
fn secrets_scaling_and_monitoring() {
    let none = || json!({});
    all(vec![
        (
            "external-secrets.io/v1",
            "ExternalSecret",
            none(),
            one("Ready", "False", "SecretSyncedError", "could not get secret data from provider"),
            "Degraded SecretSyncedError: could not get secret data from provider",
        ),
        (
            "external-secrets.io/v1",
            "ExternalSecret",
            none(),
            one("Ready", "True", "SecretSynced", ""),
            "Healthy",
        ),
        (
            "external-secrets.io/v1",
            "SecretStore",
            none(),
            none(),
            "Progressing NotObserved: there is no condition Ready yet",
        ),
        (
            "keda.sh/v1alpha1",
            "ScaledObject",
            none(),
            json!({"conditions": conditions(&[
                ("Ready", "True", "ScaledObjectReady", ""), ("Active", "False", "ScalerNotActive", ""), ("Fallback", "False", "", ""),
            ])}),
            "Healthy",
        ),
        (
            "keda.sh/v1alpha1",
            "ScaledObject",
            none(),
            one(
                "Ready",
                "False",
                "ScaledObjectCheckFailed",
                "ScaledObject doesn't have correct scaleTargetRef specification",
            ),
            "Degraded ScaledObjectCheckFailed: ScaledObject doesn't have correct scaleTargetRef specification",
        ),
        (
            "keda.sh/v1alpha1",
            "ScaledObject",
            none(),
            json!({"conditions": conditions(&[("Ready", "True", "", ""), ("Paused", "True", "ScaledObjectPaused", "ScaledObject is paused")])}),
            "Suspended Suspended: ScaledObject is paused",
        ),
        (
            "keda.sh/v1alpha1",
            "ScaledJob",
            none(),
            none(),
            "Progressing NotObserved: there is no condition Ready yet",
        ),
        (
            "monitoring.coreos.com/v1",
            "Prometheus",
            none(),
            json!({"conditions": conditions(&[("Reconciled", "True", "", ""), ("Available", "Degraded", "SomePodsNotReady", "shard 0: pod p-1: not ready")])}),
            "Progressing SomePodsNotReady: shard 0: pod p-1: not ready",
        ),
        (
            "monitoring.coreos.com/v1",
            "Alertmanager",
            none(),
            one("Reconciled", "False", "ReconciliationFailed", "no such secret"),
            "Degraded ReconciliationFailed: no such secret",
        ),
        ("monitoring.coreos.com/v1", "ServiceMonitor", none(), none(), "Healthy"),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            none(),
            json!({"conditions": conditions(&[
                ("AbleToScale", "True", "ReadyForNewScale", ""), ("ScalingActive", "True", "ValidMetricFound", ""),
                ("ScalingLimited", "True", "TooManyReplicas", "the desired replica count is more than the maximum"),
            ])}),
            "Healthy",
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            none(),
            json!({"conditions": conditions(&[
                ("AbleToScale", "True", "SucceededGetScale", ""), ("ScalingActive", "False", "FailedGetResourceMetric", "no metrics returned"),
            ])}),
            "Degraded FailedGetResourceMetric: no metrics returned",
        ),
        (
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            none(),
            one(
                "ScalingActive",
                "False",
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
            ),
            "Suspended Suspended: scaling is disabled since the replica count of the target is zero",
        ),
        (
            "apiregistration.k8s.io/v1",
            "APIService",
            none(),
            one("Available", "False", "MissingEndpoints", "endpoints for service/metrics have no addresses"),
            "Progressing MissingEndpoints: endpoints for service/metrics have no addresses",
        ),
        ("networking.k8s.io/v1", "Ingress", none(), json!({"loadBalancer": {}}), "Healthy"),
        ("v1", "ResourceQuota", none(), json!({"hard": {"pods": "1"}, "used": {"pods": "1"}}), "Healthy"),
        (
            "policy/v1",
            "PodDisruptionBudget",
            none(),
            json!({"observedGeneration": 2, "conditions": conditions(&[("DisruptionAllowed", "False", "InsufficientPods", "")])}),
            "Healthy",
        ),
        ("snapshot.storage.k8s.io/v1", "VolumeSnapshot", none(), json!({"readyToUse": true}), "Healthy"),
        (
            "snapshot.storage.k8s.io/v1",
            "VolumeSnapshot",
            none(),
            json!({"readyToUse": false}),
            "Progressing NotReadyToUse: status.readyToUse is not true yet",
        ),
    ]);
}

#[test]
fn gateways_and_routes() {
    let none = || json!({});
    let parent = |accepted: &str, resolved: &str| {
        json!({"parentRef": {"name": "edge"}, "conditions": [
            {"type": "Accepted", "status": accepted, "reason": "NoMatchingParent", "message": "no listener", "observedGeneration": 2},
            {"type": "ResolvedRefs", "status": resolved, "reason": "BackendNotFound", "message": "service web not found", "observedGeneration": 2},
        ]})
    };
    let to_edge = || json!({"parentRefs": [{"name": "edge"}]});
    let version = "gateway.networking.k8s.io/v1";
    all(vec![
        (version, "GatewayClass", none(), one("Accepted", "True", "Accepted", ""), "Healthy"),
        (
            version,
            "GatewayClass",
            none(),
            one("Accepted", "Unknown", "Pending", "Waiting for controller"),
            "Progressing Pending: Waiting for controller",
        ),
        (
            version,
            "GatewayClass",
            none(),
            one("Accepted", "False", "InvalidParameters", "no"),
            "Degraded InvalidParameters: no",
        ),
        (
            version,
            "Gateway",
            none(),
            json!({"conditions": conditions(&[("Accepted", "True", "Accepted", ""), ("Programmed", "False", "AddressNotAssigned", "no address yet")])}),
            "Progressing AddressNotAssigned: no address yet",
        ),
        (
            version,
            "Gateway",
            none(),
            json!({
                "conditions": conditions(&[("Accepted", "True", "", ""), ("Programmed", "True", "", "")]),
                "listeners": [{"name": "https", "conditions": conditions(&[("ResolvedRefs", "False", "InvalidCertificateRef", "secret tls not found")])}],
            }),
            "Degraded InvalidCertificateRef: listener https: secret tls not found",
        ),
        (
            version,
            "Gateway",
            none(),
            json!({"conditions": conditions(&[("Accepted", "True", "", ""), ("Programmed", "True", "", "")])}),
            "Healthy",
        ),
        (version, "HTTPRoute", to_edge(), none(), "Progressing NotAccepted: 0 of 1 parents have taken it"),
        (version, "HTTPRoute", to_edge(), json!({"parents": [parent("True", "True")]}), "Healthy"),
        (
            version,
            "HTTPRoute",
            to_edge(),
            json!({"parents": [parent("False", "True")]}),
            "Degraded NoMatchingParent: parent edge: no listener",
        ),
        (
            version,
            "GRPCRoute",
            to_edge(),
            json!({"parents": [parent("True", "False")]}),
            "Degraded BackendNotFound: parent edge: service web not found",
        ),
        (
            version,
            "HTTPRoute",
            json!({"parentRefs": [{"name": "edge"}, {"name": "inner"}]}),
            json!({"parents": [parent("True", "True")]}),
            "Progressing NotAccepted: 1 of 2 parents have taken it",
        ),
    ]);
}
