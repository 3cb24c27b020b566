//! Charts that are published, by either helm.

use nave_placement::fleet::{Fact, Facts, KubernetesVersion};

use super::{Count, Outcome, by_hand, published};
use crate::rendering::given::{app, engines_with};

use Outcome::{Fails, Refused, Same};

const OPENSTACK: &str = "magnum-cluster-api-0.38.2";
const CHARTS: &str = "magnum_cluster_api/charts";
/// For what they are rendered, by Nave and by hand.
const KUBERNETES: &str = "v1.31.0";

struct Row {
    package: &'static str,
    /// Where the chart stands in it.
    chart: &'static str,
    /// What the app gives it, files of the chart and values.
    files: &'static [&'static str],
    values: &'static str,
    /// What clusters serve beside what Helm takes for given.
    apis: &'static [&'static str],
    outcome: Outcome,
}

fn row((package, chart): (&'static str, &'static str), values: &'static str, outcome: Outcome) -> Row {
    Row { package, chart, files: &[], values, apis: &[], outcome }
}

const DASK: (&str, &str) =
    ("dask-kubernetes-2026.3.0", "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator");
const REDIS: (&str, &str) = ("redis-commander-0.9.0", "k8s/helm-chart/redis-commander");
const OPS: (&str, &str) = ("ragleap-ops-0.6.2", "ragleap_ops/helm/ragleap-ops");
const ANY: (&str, &str) = ("ragleap-app-chart-0.3.2", "ragleap_app_chart/helm/ragleap-app-chart");
const OBSERVABILITY: (&str, &str) =
    ("ragleap-observability-0.8.4", "ragleap_observability/helm/ragleap-observability");
/// What clusters serve where the operator of Prometheus is installed.
const PROMETHEUS: &[&str] = &["monitoring.coreos.com/v1", "monitoring.coreos.com/v1/ServiceMonitor"];
/// It judges lengths of time by the time of day, and shows nothing of that.
const CILIUM: &str = "{prometheus: {enabled: true, serviceMonitor: {enabled: true}}, operator: {prometheus: {serviceMonitor: {enabled: true}}}, gatewayAPI: {enabled: true}, kubeProxyReplacement: 'true', ingressController: {enabled: true}, nodeinit: {enabled: true}, dashboards: {enabled: true}, hubble: {relay: {enabled: true}, ui: {enabled: true}, tls: {auto: {method: cronJob}}}}";
const CILIUM_ASKS: &[&str] =
    &["monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1/GatewayClass", "cilium.io/v2"];

fn rows() -> Vec<Row> {
    let openstack = |chart, values, outcome| row((OPENSTACK, chart), values, outcome);
    vec![
        openstack("k8s-keystone-auth", "{}", Same),
        openstack("cluster-autoscaler", "{}", Same),
        Row {
            apis: PROMETHEUS,
            ..openstack(
                "cluster-autoscaler",
                "{autoDiscovery: {clusterName: shop}, serviceMonitor: {enabled: true}, prometheusRule: {enabled: true, rules: [{alert: Gone}]}, expanderPriorities: '10: [a]', rbac: {pspEnabled: true}}",
                Same,
            )
        },
        openstack(
            "cluster-autoscaler",
            "{autoDiscovery: {clusterName: shop}, vpa: {enabled: true}}",
            Fails(&["YAML parse error on cluster-autoscaler/templates/vpa.yaml"]),
        ),
        openstack("openstack-cinder-csi", "{}", Same),
        openstack(
            "openstack-cinder-csi",
            "{storageClass: {enabled: true}, clusterID: '0417', csi: {plugin: {podMonitor: {enabled: true}, httpEndpoint: {enabled: true}, controllerPlugin: {replicas: 3}}}, secret: {enabled: true, create: true, name: cloud, data: {cloud.conf: 'a=b'}}}",
            Same,
        ),
        openstack("openstack-manila-csi", "{}", Same),
        // It depends on a chart of another publisher, whose helpers know `lookup`.
        openstack("openstack-cloud-controller-manager", "{}", Same),
        openstack(
            "openstack-cloud-controller-manager",
            "{commonAnnotations: {helm.sh/hook: 'pre-install,pre-upgrade', helm.sh/hook-weight: '-100'}, cloudConfig: {global: {auth-url: 'https://a'}}, serviceMonitor: {interval: 10s}}",
            Same,
        ),
        openstack(
            "cilium",
            "{}",
            Refused(&["cilium/templates/_helpers.tpl:123:1: error: App/web: lookup asks a cluster"]),
        ),
        openstack("cilium", "{hubble: {enabled: false}}", Same),
        openstack("cilium", "{hubble: {tls: {auto: {method: cronJob}}}}", Same),
        openstack("cilium", CILIUM, Fails(&["Service Monitor requires monitoring.coreos.com/v1 CRDs"])),
        Row { apis: CILIUM_ASKS, ..openstack("cilium", CILIUM, Same) },
        row(DASK, "{}", Same),
        row(
            DASK,
            "{rbac: {cluster: false}, metrics: {scheduler: {enabled: true, serviceMonitor: {enabled: true}}, worker: {enabled: true, podMonitor: {enabled: true}}}, kopfArgs: [--namespace=a]}",
            Same,
        ),
        row(REDIS, "{}", Same),
        row(
            REDIS,
            "{ingress: {enabled: true, hosts: [{host: a.b, paths: [/]}]}, serviceAccount: {create: true}, connections: {a: 1}, istio: {enabled: true, host: a, gateway: g}}",
            Same,
        ),
        // Helm takes the second of two.
        row(
            REDIS,
            "{autoscaling: {enabled: true, maxReplicas: 3}}",
            Refused(&["key \"target\" stands at 11"]),
        ),
        row(OPS, "{}", Same),
        Row { files: &["values-prod.yaml"], ..row(OPS, "{app: {replicaCount: 4}}", Same) },
        row(ANY, "{}", Same),
        Row { files: &["values-example.yaml", "values-staging.yaml"], ..row(ANY, "{}", Same) },
        row(OBSERVABILITY, "{}", Same),
    ]
}

#[tokio::test]
async fn charts_of_others_give_object_by_object_what_helm_gives() {
    compare("helm").await;
}

#[tokio::test]
async fn charts_of_others_give_object_by_object_what_helm_3_gives() {
    compare("helm3").await;
}

async fn compare(helm: &str) {
    let (engines, _room) = engines_with(helm);
    let mut count = Count::default();
    for row in rows() {
        let directory = match row.package {
            OPENSTACK => format!("{CHARTS}/{}", row.chart),
            _ => row.chart.to_owned(),
        };
        let name = row.chart.rsplit('/').next().expect("it has a name");
        let chart = format!("charts/{name}");
        let paths: Vec<String> = row.files.iter().map(|file| format!("./{chart}/{file}")).collect();
        let web = app(&format!(
            "{{helm: {{chart: ./{chart}, valuesFiles: [{}], values: {}}}}}",
            paths.join(", "),
            row.values
        ));
        let given = published(row.package, &directory, &chart);
        let given =
            given.with("web.yaml", web.into_bytes()).with("values.yaml", row.values.as_bytes().to_vec());
        let rendered = given.rendered_for(&engines, &facts(row.apis)).await;
        let flags = ["--namespace", "shop", "--include-crds", "--skip-tests", "--kube-version", KUBERNETES];
        let mut arguments = vec!["template", "web", &*chart];
        arguments.extend(flags);
        arguments.extend(row.apis.iter().flat_map(|api| ["--api-versions", api]));
        arguments.extend(paths.iter().flat_map(|path| ["--values", &**path]));
        arguments.extend(["--values", "values.yaml"]);
        let by_helm = by_hand(&given, helm, &arguments).await;
        count.judge(&format!("{helm}: {name} {}", row.values), &row.outcome, &rendered, by_helm);
    }
    count.assert(20, 271, 2, 2);
}

fn facts(apis: &[&str]) -> Facts {
    let kubernetes = KubernetesVersion { version: KUBERNETES.to_owned(), major: 1, minor: 31 };
    let apis = apis.iter().map(|name| (*name).to_owned()).collect();
    Facts { kubernetes: Fact::Present(kubernetes), apis: Fact::Present(apis), ..Facts::default() }
}
