//! Kinds: how the kinds that people run say how they are, one row each.
//!
//! In: nothing; these are data. Out: the row of a group and kind. Each names the upstream document that it follows.
//! Never: holds what code has to say; rows point to it ([`Sign::By`]).
//!
//! | group | kinds |
//! |---|---|
//! | `cert-manager.io`, `acme.cert-manager.io` | Certificate, CertificateRequest, Issuer, ClusterIssuer; Order, Challenge |
//! | `argoproj.io` | Rollout, AnalysisRun, Experiment, Workflow, Application |
//! | `*.toolkit.fluxcd.io` | all: Kustomization, HelmRelease, GitRepository … |
//! | `*.knative.dev` | all: Service, Revision, Route, Configuration, Broker, Trigger … |
//! | `*.crossplane.io`, `*.upbound.io`; others with `Synced` | packages, definitions, managed and composite resources |
//! | `cluster.x-k8s.io`, `*.cluster.x-k8s.io` | all: Cluster, Machine, MachineDeployment, KubeadmControlPlane … |
//! | `external-secrets.io` | ExternalSecret, SecretStore, ClusterSecretStore, PushSecret … |
//! | `keda.sh` | ScaledObject, ScaledJob |
//! | `monitoring.coreos.com` | Prometheus, PrometheusAgent, Alertmanager, ThanosRuler |
//! | `gateway.networking.k8s.io` | GatewayClass, Gateway, all routes |
//! | Kubernetes itself | HorizontalPodAutoscaler, APIService, CertificateSigningRequest, VolumeSnapshot |

use super::signs::Phase;
use super::signs::Sign::{self, By, Delays, Fails, Heeds, Needs, NeedsFlag, Suffices};
use super::signs::Test::{self, Annotated, Because, Flag, Is, Text, There};
use super::{autoscaler, gateway};

/// Kinds that say in the same way how they are.
pub(super) struct Row {
    /// `*.x` stands for every group that ends so.
    group: &'static str,
    /// None: all of the group that stand in no row before.
    kinds: &'static [&'static str],
    /// Somebody stopped it on purpose.
    pub stops: &'static [Test],
    /// In the order in which they count.
    pub signs: &'static [Sign],
    /// Where this is documented. Read by people, and by the test that no row is without.
    #[cfg_attr(not(test), expect(dead_code, reason = "the reader's reference"))]
    pub source: &'static str,
}

/// The first row of a group and kind.
pub(super) fn row(group: &str, kind: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| {
        let of_group = match row.group.strip_prefix('*') {
            Some(suffix) => group.ends_with(suffix),
            None => group == row.group,
        };
        of_group && (row.kinds.is_empty() || row.kinds.contains(&kind))
    })
}

const fn phase(at: &'static str, good: &'static [&'static str], bad: &'static [&'static str]) -> Phase {
    Phase { at, message: "", good, bad, paused: &[], unclear: &[] }
}

/// Of Argo's own runs.
const RUN: Sign = Sign::Phase(Phase {
    message: "/status/message",
    unclear: &["Inconclusive"],
    ..phase("/status/phase", &["Successful", "Succeeded"], &["Failed", "Error"])
});

/// Of those that Flux' documentation lists, the reasons for which a person is needed.
const FLUX: &[&str] = &[
    "ArtifactFailed",
    "AuthenticationFailed",
    "BuildFailed",
    "ChartPullFailed",
    "GitOperationFailed",
    "HealthCheckFailed",
    "IndexationFailed",
    "InstallFailed",
    "InvalidChartReference",
    "PruneFailed",
    "ReconciliationFailed",
    "RollbackFailed",
    "StorageOperationFailed",
    "TestFailed",
    "UninstallFailed",
    "UpgradeFailed",
    "URLInvalid",
    "VerificationError",
];

/// A Cluster API object that is paused is not looked at.
const PAUSED_CLUSTER: &[Test] =
    &[Flag("/spec/paused"), Annotated("cluster.x-k8s.io/paused"), Is("Paused", "True")];

/// In the order in which they are looked through.
pub(super) const ROWS: &[Row] = &[
    Row {
        group: "cert-manager.io",
        kinds: &["Certificate"],
        stops: &[],
        // A renewal of what is still good is no news.
        signs: &[Suffices("Ready"), Fails(Because("Issuing", &["Failed"])), Needs("Ready")],
        source: "cert-manager.io/docs/usage/certificate, reference/api-docs CertificateConditionType",
    },
    Row {
        group: "cert-manager.io",
        kinds: &["CertificateRequest"],
        stops: &[],
        signs: &[
            Fails(Is("Denied", "True")),
            Fails(Is("InvalidRequest", "True")),
            Fails(Because("Ready", &["Failed", "Denied"])),
            Needs("Ready"),
        ],
        source: "cert-manager.io/docs/usage/certificaterequest, conditions",
    },
    Row {
        group: "cert-manager.io",
        kinds: &["Issuer", "ClusterIssuer"],
        stops: &[],
        signs: &[Fails(Is("Ready", "False")), Needs("Ready")],
        source: "cert-manager.io/docs/configuration/issuers, conditions",
    },
    Row {
        group: "acme.cert-manager.io",
        kinds: &["Order", "Challenge"],
        stops: &[],
        signs: &[Sign::Phase(Phase {
            message: "/status/reason",
            ..phase("/status/state", &["valid"], &["invalid", "expired", "errored"])
        })],
        source: "cert-manager.io/docs/troubleshooting/acme, states of RFC 8555",
    },
    Row {
        group: "argoproj.io",
        kinds: &["Rollout"],
        stops: &[Flag("/spec/paused")],
        signs: &[
            Fails(Is("InvalidSpec", "True")),
            Fails(Because("Progressing", &["ProgressDeadlineExceeded", "RolloutAborted"])),
            Sign::Phase(Phase {
                message: "/status/message",
                paused: &["Paused"],
                ..phase("/status/phase", &["Healthy"], &["Degraded", "Error"])
            }),
        ],
        source: "argo-rollouts.readthedocs.io: features/specification, status.phase",
    },
    Row {
        group: "argoproj.io",
        kinds: &["AnalysisRun", "Experiment", "Workflow"],
        stops: &[Flag("/spec/suspend")],
        signs: &[RUN],
        source: "argo-rollouts.readthedocs.io: features/analysis; argo-workflows fields, status.phase",
    },
    Row {
        group: "argoproj.io",
        kinds: &["Application"],
        stops: &[],
        signs: &[Sign::Phase(Phase {
            message: "/status/health/message",
            paused: &["Suspended"],
            unclear: &["Unknown"],
            ..phase("/status/health/status", &["Healthy"], &["Degraded"])
        })],
        source: "argo-cd.readthedocs.io: operator-manual/health",
    },
    Row {
        group: "*.toolkit.fluxcd.io",
        // They have no status of their own.
        kinds: &["Alert", "Provider"],
        stops: &[Flag("/spec/suspend")],
        signs: &[Heeds("Ready")],
        source: "fluxcd.io/flux/components/notification, v1beta3 has no status",
    },
    Row {
        group: "*.toolkit.fluxcd.io",
        kinds: &["HelmRepository"],
        stops: &[Flag("/spec/suspend")],
        // One of type oci is only read by others.
        signs: &[Fails(Because("Ready", FLUX)), Heeds("Ready")],
        source: "fluxcd.io/flux/components/source/helmrepositories, type oci has no status",
    },
    Row {
        group: "*.toolkit.fluxcd.io",
        kinds: &[],
        stops: &[Flag("/spec/suspend")],
        signs: &[Fails(Because("Ready", FLUX)), Needs("Ready")],
        source: "fluxcd.io/flux/components: conditions Ready, Reconciling, Stalled; spec.suspend",
    },
    Row {
        group: "*.knative.dev",
        kinds: &[],
        stops: &[],
        // `Unknown` is under way; `False` is terminal.
        signs: &[
            Fails(Is("Ready", "False")),
            Fails(Is("Succeeded", "False")),
            Heeds("Ready"),
            Heeds("Succeeded"),
        ],
        source: "github.com/knative/specs: specs/serving/knative-api-specification, error signalling",
    },
    Row {
        group: "pkg.crossplane.io",
        kinds: &[
            "Provider",
            "Function",
            "Configuration",
            "ProviderRevision",
            "FunctionRevision",
            "ConfigurationRevision",
        ],
        stops: &[Annotated("crossplane.io/paused")],
        signs: &[Fails(Is("Healthy", "False")), Heeds("Installed"), Needs("Healthy")],
        source: "docs.crossplane.io: packages/providers, conditions Installed and Healthy",
    },
    Row {
        group: "apiextensions.crossplane.io",
        kinds: &["CompositeResourceDefinition"],
        stops: &[Annotated("crossplane.io/paused")],
        signs: &[Needs("Established"), Heeds("Offered")],
        source: "docs.crossplane.io: composition/composite-resource-definitions, conditions",
    },
    Row {
        group: "*.crossplane.io",
        // Configuration, which is what it is.
        kinds: &[
            "Composition",
            "CompositionRevision",
            "EnvironmentConfig",
            "ProviderConfig",
            "ClusterProviderConfig",
            "ProviderConfigUsage",
            "DeploymentRuntimeConfig",
            "ControllerConfig",
            "Lock",
            "Usage",
            "ImageConfig",
            "StoreConfig",
        ],
        stops: &[],
        signs: &[Heeds("Ready")],
        source: "docs.crossplane.io/latest/api",
    },
    Row {
        group: "*.upbound.io",
        kinds: &["ProviderConfig", "ClusterProviderConfig", "ProviderConfigUsage", "StoreConfig"],
        stops: &[],
        signs: &[],
        source: "docs.crossplane.io: managed-resources, provider configuration",
    },
    Row {
        group: "*.crossplane.io",
        kinds: &[],
        stops: CROSSPLANE_PAUSED,
        signs: CROSSPLANE,
        source: CROSSPLANE_SOURCE,
    },
    Row {
        group: "*.upbound.io",
        kinds: &[],
        stops: CROSSPLANE_PAUSED,
        signs: CROSSPLANE,
        source: CROSSPLANE_SOURCE,
    },
    Row {
        group: "cluster.x-k8s.io",
        kinds: &["Cluster"],
        stops: PAUSED_CLUSTER,
        signs: &[
            Fails(There("/status/failureReason", "/status/failureMessage")),
            Fails(Text("/status/phase", &["Failed"])),
            By(gateway::severe),
            Sign::Phase(phase("/status/phase", &["Provisioned"], &[])),
            Heeds("Available"),
            Heeds("Ready"),
        ],
        source: "cluster-api.sigs.k8s.io: developer/providers/contracts, ClusterPhase; conditions v1beta1, v1beta2",
    },
    Row {
        group: "cluster.x-k8s.io",
        kinds: &["Machine", "MachineDeployment", "MachineSet", "MachinePool"],
        stops: PAUSED_CLUSTER,
        signs: &[
            Fails(There("/status/failureReason", "/status/failureMessage")),
            Fails(Text("/status/phase", &["Failed"])),
            By(gateway::severe),
            Sign::Phase(phase("/status/phase", &["Running"], &[])),
            Delays(Is("RollingOut", "True")),
            Heeds("Available"),
            Heeds("Ready"),
        ],
        source: "cluster-api.sigs.k8s.io: reference/api, MachinePhase, MachineDeploymentPhase",
    },
    Row {
        group: "*cluster.x-k8s.io",
        kinds: &[],
        stops: PAUSED_CLUSTER,
        signs: &[
            Fails(There("/status/failureReason", "/status/failureMessage")),
            By(gateway::severe),
            Delays(Is("RollingOut", "True")),
            Heeds("Available"),
            Heeds("Ready"),
        ],
        source: "cluster-api.sigs.k8s.io: contracts of infrastructure, bootstrap and control plane providers",
    },
    Row {
        group: "external-secrets.io",
        kinds: &[
            "ExternalSecret",
            "SecretStore",
            "ClusterSecretStore",
            "PushSecret",
            "ClusterExternalSecret",
            "ClusterPushSecret",
        ],
        stops: &[],
        signs: &[Fails(Is("Ready", "False")), Needs("Ready")],
        source: "external-secrets.io: api/externalsecret, api/secretstore, conditions",
    },
    Row {
        group: "keda.sh",
        kinds: &["ScaledObject", "ScaledJob"],
        stops: &[
            Is("Paused", "True"),
            Annotated("autoscaling.keda.sh/paused"),
            Annotated("autoscaling.keda.sh/paused-replicas"),
        ],
        // Not active is having nothing to do.
        signs: &[Fails(Is("Ready", "False")), Needs("Ready")],
        source: "keda.sh/docs: reference/scaledobject-spec, conditions Ready, Active, Fallback, Paused",
    },
    Row {
        group: "monitoring.coreos.com",
        kinds: &["Prometheus", "PrometheusAgent", "Alertmanager", "ThanosRuler"],
        stops: &[Flag("/spec/paused")],
        // Available is `Degraded` while a pod restarts.
        signs: &[Fails(Is("Reconciled", "False")), Needs("Reconciled"), Needs("Available")],
        source: "prometheus-operator.dev/docs: api-reference, ConditionType Available and Reconciled",
    },
    Row {
        group: "gateway.networking.k8s.io",
        kinds: &["GatewayClass"],
        stops: &[],
        signs: &[Fails(Is("Accepted", "False")), Needs("Accepted")],
        source: "gateway-api.sigs.k8s.io: api-types/gatewayclass",
    },
    Row {
        group: "gateway.networking.k8s.io",
        kinds: &["Gateway"],
        stops: &[],
        signs: &[
            Fails(Is("Accepted", "False")),
            Fails(Because("Programmed", &["Invalid", "NoResources", "AddressNotUsable"])),
            By(gateway::listeners),
            Needs("Accepted"),
            Needs("Programmed"),
        ],
        source: "gateway-api.sigs.k8s.io: api-types/gateway, geps/gep-1364",
    },
    Row {
        group: "gateway.networking.k8s.io",
        kinds: &["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"],
        stops: &[],
        signs: &[By(gateway::parents)],
        source: "gateway-api.sigs.k8s.io: api-types/httproute, RouteParentStatus",
    },
    Row {
        group: "autoscaling",
        kinds: &["HorizontalPodAutoscaler"],
        stops: &[Because("ScalingActive", &["ScalingDisabled"])],
        // Being at a limit (ScalingLimited) is what limits are for.
        signs: &[
            By(autoscaler::judge),
            Fails(Is("AbleToScale", "False")),
            Fails(Is("ScalingActive", "False")),
        ],
        source: "kubernetes.io/docs: tasks/run-application/horizontal-pod-autoscale, status conditions",
    },
    Row {
        group: "apiregistration.k8s.io",
        kinds: &["APIService"],
        stops: &[],
        signs: &[Needs("Available")],
        source: "kubernetes.io/docs: reference/kubernetes-api/cluster-resources/api-service-v1",
    },
    Row {
        group: "certificates.k8s.io",
        kinds: &["CertificateSigningRequest"],
        stops: &[],
        signs: &[Fails(Is("Denied", "True")), Fails(Is("Failed", "True")), Needs("Approved")],
        source: "kubernetes.io/docs: reference/access-authn-authz/certificate-signing-requests",
    },
    Row {
        group: "snapshot.storage.k8s.io",
        kinds: &["VolumeSnapshot", "VolumeSnapshotContent"],
        stops: &[],
        signs: &[
            Fails(There("/status/error/message", "/status/error/message")),
            NeedsFlag("/status/readyToUse", "NotReadyToUse"),
        ],
        source: "kubernetes.io/docs: concepts/storage/volume-snapshots; kubernetes-csi.github.io/docs",
    },
];

const CROSSPLANE_PAUSED: &[Test] =
    &[Annotated("crossplane.io/paused"), Because("Synced", &["ReconcilePaused"])];
const CROSSPLANE: &[Sign] = &[Fails(Is("Synced", "False")), Needs("Synced"), Needs("Ready")];
const CROSSPLANE_SOURCE: &str = "docs.crossplane.io: managed-resources, conditions Synced and Ready";

/// Custom resources of which nothing is known: composite resources and claims of Crossplane have any group, and others use
/// `Synced` in the same sense.
pub(super) const CUSTOM: &[Sign] =
    &[Fails(Because("Synced", &["ReconcileError"])), Heeds("Synced"), Heeds("Ready"), Heeds("Available")];
