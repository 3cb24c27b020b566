//! Facts: what a real cluster says of itself reaches the hub; what it does not serve is absent.

use anyhow::ensure;
use harness::fleet::documents::{app, config_map, placement};
use harness::wait::until;
use serde_json::{Value, json};

use crate::stage::{LIMIT, Stage};

/// `ClusterProperty`, as `about.k8s.io` defines it.
const PROPERTIES: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: clusterproperties.about.k8s.io
  annotations: {api-approved.kubernetes.io: 'https://github.com/kubernetes/enhancements/pull/3084'}
spec:
  group: about.k8s.io
  scope: Cluster
  names: {kind: ClusterProperty, plural: clusterproperties, singular: clusterproperty}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {value: {type: string}}}}}}
";

/// A node that nobody runs, as its kubelet would register it.
fn node(name: &str, zone: &str) -> String {
    let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2"});
    let labels = json!({"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": zone});
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"providerID": format!("aws:///{zone}/{name}")},
        "status": {
            "allocatable": amounts,
            "capacity": amounts,
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {
                "architecture": "arm64", "bootID": "", "containerRuntimeVersion": "", "kernelVersion": "",
                "kubeProxyVersion": "", "kubeletVersion": "", "machineID": "", "operatingSystem": "linux",
                "osImage": "", "systemUUID": "",
            },
        },
    });
    node.to_string()
}

/// A pod on a node, which asks for this.
fn pod(node: &str) -> String {
    let requests = json!({"cpu": "1500m", "nvidia.com/gpu": "1"});
    let resources = json!({"requests": requests, "limits": {"nvidia.com/gpu": "1"}});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "busy", "namespace": "busy"},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "containers": [{"name": "a", "image": "a", "resources": resources}],
        },
    });
    pod.to_string()
}

/// Waits until the facts of `fra-1` are as the closure wants them.
async fn facts(stage: &Stage, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    until(what, LIMIT, async || {
        let shown = stage.fleet.hub(&["cluster", "show", "fra-1", "-o", "json"]).await?.json()?;
        ensure!(wanted(&shown["facts"]), "{:#}\n{}", shown["facts"], stage.fleet.tails());
        Ok(shown["facts"].clone())
    })
    .await
}

#[tokio::test]
async fn nodes_properties_and_a_clusters_own_words_reach_the_hub() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "1")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let mut stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let seen = facts(&stage, "the cluster says what it has", |f| f["nodes"] != "unknown").await;
    assert_eq!((&seen["nodes"], &seen["region"]), (&json!({"present": 0}), &json!("absent")), "{seen:#}");
    assert_eq!((&seen["properties"], &seen["custom"]), (&json!("absent"), &json!("absent")), "{seen:#}");

    let fra = stage.cluster("fra-1");
    fra.apply(PROPERTIES).await.unwrap();
    // The new kind is news by itself.
    let kind = json!("about.k8s.io/v1alpha1/ClusterProperty");
    facts(&stage, "the new kind is told", |f| {
        f["apis"]["present"].as_array().is_some_and(|apis| apis.contains(&kind))
    })
    .await;
    fra.apply(
        "apiVersion: about.k8s.io/v1alpha1\nkind: ClusterProperty\nmetadata: {name: store}\nspec: {value: '0417'}\n",
    )
    .await
    .unwrap();
    fra.kubectl(&["create", "configmap", "-n", "nave-system", "nave-facts", "--from-literal=tier=gold"])
        .await
        .unwrap();
    for (name, zone) in [("one", "eu-a"), ("two", "eu-b")] {
        fra.apply(&node(name, zone)).await.unwrap();
    }
    fra.kubectl(&["create", "namespace", "busy"]).await.unwrap();
    fra.kubectl(&["create", "serviceaccount", "-n", "busy", "default"]).await.unwrap();
    fra.apply(&pod("one")).await.unwrap();

    // A spoke that starts looks at once.
    stage.restart_spoke("fra-1");
    let seen = facts(&stage, "everything is told", |f| f["nodes"]["present"] == 2).await;
    let present = |fact: &str| seen[fact]["present"].clone();
    assert_eq!(present("architectures"), json!(["arm64"]));
    assert_eq!((present("provider"), present("region")), (json!("aws"), json!("eu")));
    assert_eq!(present("zones"), json!(["eu-a", "eu-b"]));
    assert_eq!(present("capacity")["cpuMillis"], 8_000);
    assert_eq!(present("capacity")["memory"], 16u64 << 30);
    assert_eq!(present("capacity")["other"]["nvidia.com/gpu"], 4);
    assert_eq!(present("properties"), json!({"store": "0417"}));
    assert_eq!(present("custom"), json!({"tier": "gold"}));
    let seen = facts(&stage, "what is free is told", |f| f["free"] != "unknown").await;
    let free = &seen["free"]["present"];
    assert_eq!(
        (&free["cpuMillis"], &free["other"]["nvidia.com/gpu"]),
        (&json!(6_500), &json!(3)),
        "{free:#}"
    );
}
