//! What the other tests of this target take for granted.

use std::time::Duration;

use harness::kubernetes::{Cluster, Options, merge};
use harness::wait::until;

const DEPLOYMENT: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
"#;

const WIDGETS: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Widget, plural: widgets}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {size: {type: integer}}}}}}
"#;

const WIDGET: &str = "
apiVersion: example.com/v1
kind: Widget
metadata: {name: small}
spec: {size: 1}
";

fn named(name: &str, workloads: bool) -> Options {
    Options { name: name.into(), workloads }
}

#[tokio::test]
async fn a_deployment_becomes_available() {
    let cluster = Cluster::start(named("fra-1", true)).await.unwrap();
    cluster.apply(DEPLOYMENT).await.unwrap();
    cluster.kubectl(&["wait", "deployment/web", "--for=condition=Available", "--timeout=60s"]).await.unwrap();
    let ready =
        cluster.kubectl(&["get", "deployment/web", "-o", "jsonpath={.status.readyReplicas}"]).await.unwrap();
    assert_eq!(ready, "2");
}

#[tokio::test]
async fn two_clusters_start_together_and_share_a_kubeconfig() {
    let (first, second) =
        tokio::join!(Cluster::start(named("fra-1", false)), Cluster::start(named("nyc-1", false)));
    let (first, second) = (first.unwrap(), second.unwrap());
    first.kubectl(&["create", "namespace", "only-here"]).await.unwrap();

    let both = first.directory().join("both.json");
    merge(&[&first, &second], &both).unwrap();
    let namespaces = async |context| {
        first.kubectl_as(&both, &["--context", context, "get", "namespaces", "-o", "name"]).await.unwrap()
    };
    assert!(namespaces("fra-1").await.contains("only-here"));
    assert!(!namespaces("nyc-1").await.contains("only-here"));
}

#[tokio::test]
async fn what_an_api_server_accepted_is_there_after_it_was_killed() {
    let mut cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.apply(WIDGETS).await.unwrap();
    cluster
        .kubectl(&["wait", "crd/widgets.example.com", "--for=condition=Established", "--timeout=30s"])
        .await
        .unwrap();
    until("the new kind is served", Duration::from_secs(30), async || cluster.apply(WIDGET).await).await;

    cluster.kill_api_server();
    assert!(cluster.kubectl(&["get", "widgets"]).await.is_err());
    cluster.start_api_server().await.unwrap();
    let widgets = cluster.kubectl(&["get", "widgets", "-o", "name"]).await.unwrap();
    assert_eq!(widgets, "widget.example.com/small\n");
}

#[tokio::test]
async fn a_service_account_may_do_what_it_is_bound_to() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    let kubeconfig = cluster.service_account("default", "reader").await.unwrap();
    let get = ["get", "configmaps", "-n", "default"];
    let error = cluster.kubectl_as(&kubeconfig, &get).await.unwrap_err().to_string();
    assert!(error.contains("Forbidden"), "{error}");

    cluster.kubectl(&["create", "role", "reader", "--verb=list", "--resource=configmaps"]).await.unwrap();
    let bind = ["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"];
    cluster.kubectl(&bind).await.unwrap();
    until("the binding counts", Duration::from_secs(10), async || {
        cluster.kubectl_as(&kubeconfig, &get).await
    })
    .await;
}

#[tokio::test]
async fn workloads_run_in_clusters_that_start_together() {
    let (first, second) =
        tokio::join!(Cluster::start(named("fra-1", true)), Cluster::start(named("nyc-1", true)));
    let (first, second) = (first.unwrap(), second.unwrap());
    second.apply(DEPLOYMENT).await.unwrap();
    drop(second);
    first.apply(DEPLOYMENT).await.unwrap();
    first.kubectl(&["wait", "deployment/web", "--for=condition=Available", "--timeout=60s"]).await.unwrap();
}
