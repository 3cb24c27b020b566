//! Beside kubectl: one set of manifests, by Nave on one cluster and by `kubectl apply --server-side` on another. The clusters
//! end equal, after an installation and after a change that drops fields, list items and objects.
//!
//! Never: leaves out of the comparison what Nave could have written. Only what a server or a controller makes by itself, and
//! the marks by which Nave knows its own, are no part of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::ensure;
use harness::fleet::documents::{app_with, placement};
use harness::kubernetes::{Cluster, Options};
use harness::wait::until;
use serde_json::Value;

use crate::stage::{LIMIT, Stage};

const FIRST: &str = include_str!("beside_kubectl/first.yaml");
const SECOND: &str = include_str!("beside_kubectl/second.yaml");

/// Every kind of the manifests, as kubectl names them.
const KINDS: &[&str] = &[
    "configmaps",
    "secrets",
    "services",
    "serviceaccounts",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.v1beta1.batch",
    "horizontalpodautoscalers.v1.autoscaling",
    "poddisruptionbudgets.v1beta1.policy",
    "ingresses.networking.k8s.io",
    "networkpolicies.networking.k8s.io",
    "persistentvolumeclaims",
    "resourcequotas",
    "limitranges",
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "widgets.beside.example.com",
];

/// Kinds of the manifests that are in no namespace; only objects that bear the label of the set are compared.
const CLUSTER_KINDS: &[&str] = &[
    "namespaces",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
    "priorityclasses.scheduling.k8s.io",
    "storageclasses.storage.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
];

/// What is told apart by its name, without the rest.
type Objects = BTreeMap<String, Value>;

async fn objects(cluster: &Cluster) -> anyhow::Result<Objects> {
    let mut found = Objects::new();
    for (kinds, place) in [(KINDS, ["-n", "beside"]), (CLUSTER_KINDS, ["-l", "set=beside"])] {
        let listed =
            cluster.kubectl(&[&["get", &kinds.join(","), "-o", "json"][..], &place].concat()).await?;
        let listed: Value = serde_json::from_str(&listed)?;
        for mut object in listed["items"].as_array().cloned().unwrap_or_default() {
            let name = format!("{} {}", object["kind"], object["metadata"]["name"]).replace('"', "");
            if name == "ConfigMap kube-root-ca.crt"
                || name == "ServiceAccount default"
                || name.starts_with("Secret default-token")
            {
                continue;
            }
            without_what_is_its_own(&mut object);
            found.insert(name, object);
        }
    }
    Ok(found)
}

/// Takes away what no two servers have in common, and Nave's marks.
fn without_what_is_its_own(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().expect("every object has metadata");
    for field in ["uid", "resourceVersion", "creationTimestamp", "managedFields", "generation", "selfLink"] {
        metadata.remove(field);
    }
    for (map, marks) in [("labels", "applyset.kubernetes.io/"), ("annotations", "nave.dev/")] {
        let Some(fields) = metadata.get_mut(map).and_then(Value::as_object_mut) else { continue };
        fields.retain(|name, _| !name.starts_with(marks));
        if fields.is_empty() {
            metadata.remove(map);
        }
    }
    // Of the uid of a Job its selector is made, of the rest of the service net an address is taken.
    let uid_of_job = "/spec/template/metadata/labels/controller-uid";
    for at in [
        "/status",
        "/spec/clusterIP",
        "/spec/clusterIPs",
        "/spec/selector/matchLabels/controller-uid",
        uid_of_job,
    ] {
        if let Some((parent, name)) = at.rsplit_once('/')
            && let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut)
            && fields.get(name).is_some_and(|value| value != "None")
        {
            fields.remove(name);
        }
    }
    // A token's Secret is named after it.
    if object["kind"] == "ServiceAccount" {
        object.as_object_mut().expect("it is one").remove("secrets");
    }
    if let Some(ports) = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut) {
        ports.iter_mut().filter_map(Value::as_object_mut).for_each(|port| drop(port.remove("nodePort")));
    }
}

/// Where two clusters differ, for people.
fn differences(nave: &Objects, kubectl: &Objects) -> String {
    let mut text = String::new();
    for name in nave.keys().chain(kubectl.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (ours, theirs) = (nave.get(name), kubectl.get(name));
        if ours != theirs {
            let show =
                |object: Option<&Value>| object.map_or("absent".to_owned(), |object| format!("{object:#}"));
            let _ = writeln!(text, "{name}:\n--- by Nave\n{}\n--- by kubectl\n{}", show(ours), show(theirs));
        }
    }
    text
}

async fn are_equal(nave: &Cluster, kubectl: &Cluster, what: &str, least: usize) {
    let count = until(what, LIMIT, async || {
        let (ours, theirs) = (objects(nave).await?, objects(kubectl).await?);
        ensure!(ours == theirs, "{}", differences(&ours, &theirs));
        Ok(ours.len())
    })
    .await;
    assert!(count >= least, "only {count} objects were compared");
}

async fn apply(cluster: &Cluster, manifests: &str) {
    let file = cluster.directory().join("manifests.yaml");
    std::fs::write(&file, manifests).unwrap();
    let arguments = ["apply", "--server-side", "--force-conflicts", "-f", &file.to_string_lossy()];
    // Kinds that the same file defines are served a moment later.
    until("kubectl applies everything", LIMIT, async || cluster.kubectl(&arguments).await).await;
}

/// Deletes what only the first manifests have, as `--prune` would.
async fn prune(cluster: &Cluster) {
    for (object, place) in GONE {
        let arguments = [&["delete", object][..], place].concat();
        cluster.kubectl(&arguments).await.unwrap();
    }
}

/// What the change drops.
const GONE: &[(&str, &[&str])] = &[
    ("configmap/dropped", &["-n", "beside"]),
    ("service/headless", &["-n", "beside"]),
    ("networkpolicy/deny", &["-n", "beside"]),
    ("role/reader", &["-n", "beside"]),
    ("rolebinding/reader", &["-n", "beside"]),
    ("clusterrolebinding/beside", &[]),
    ("mutatingwebhookconfiguration/beside", &[]),
    ("widget.beside.example.com/large", &["-n", "beside"]),
];

#[tokio::test]
async fn nave_and_kubectl_leave_equal_clusters_behind() {
    let files = vec![
        ("beside.yaml", app_with("beside", "")),
        ("manifests/beside/all.yaml", FIRST.to_owned()),
        ("placement.yaml", placement("beside", &["beside"], "{selector: {}}")),
    ];
    // Without controllers: what they add would be compared with itself.
    let other = Options { name: "by-kubectl".into(), workloads: false };
    let (stage, kubectl) = tokio::join!(Stage::start(&files, &[("by-nave", &[])]), Cluster::start(other));
    let kubectl = kubectl.unwrap();
    apply(&kubectl, FIRST).await;
    are_equal(stage.cluster("by-nave"), &kubectl, "the clusters are equal after an installation", 30).await;

    stage.fleet.catalog.write("manifests/beside/all.yaml", SECOND).unwrap();
    stage
        .fleet
        .catalog
        .commit(&format!("Change\n\nNave-Allow-Removal: app/beside/objects={}", GONE.len()))
        .unwrap();
    apply(&kubectl, SECOND).await;
    prune(&kubectl).await;
    are_equal(stage.cluster("by-nave"), &kubectl, "the clusters are equal after a change", 22).await;
}
