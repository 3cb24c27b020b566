//! Nodes: what all nodes of a cluster together are and can hold.
//!
//! In: nodes, one after another. Out: sums and sets. Never: keeps a node.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::fleet::Fact;
use serde_json::Value;

use super::super::quantity::Amounts;
use super::super::shared::text;

/// Where a node is, as Kubernetes names it now, and as it did before v1.17; clusters of v1.20 may have either.
const REGION: [&str; 2] = ["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"];
const ZONE: [&str; 2] = ["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"];
/// A taint of these keys keeps whatever is not part of the cluster itself away from a node. Other taints do not count here: a
/// node with GPUs has one, and what wants a GPU tolerates it.
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// All nodes that were added.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    /// How many.
    pub count: u32,
    /// Of all of them.
    pub architectures: BTreeSet<String>,
    /// The schemes of their `providerID`s.
    pub providers: BTreeSet<String>,
    /// Where they are.
    pub regions: BTreeSet<String>,
    /// Where they are.
    pub zones: BTreeSet<String>,
    /// What they can hold together; `None` where an amount cannot be read.
    pub capacity: Option<Amounts>,
    /// What those can hold together that take pods.
    pub open: Option<Amounts>,
    /// The names of those.
    pub taking: BTreeSet<String>,
}

impl Nodes {
    /// No node yet.
    pub fn none() -> Self {
        Self { capacity: Some(Amounts::default()), open: Some(Amounts::default()), ..Self::default() }
    }

    /// One more node.
    pub fn add(&mut self, node: &Value) {
        self.count = self.count.saturating_add(1);
        let label = |keys: [&str; 2]| {
            let labels = node.pointer("/metadata/labels")?;
            keys.iter().find_map(|key| labels.get(*key)?.as_str()).filter(|value| !value.is_empty())
        };
        let named = |value: &str| Some(value.to_owned()).filter(|v| !v.is_empty());
        self.architectures.extend(named(text(node, "/status/nodeInfo/architecture")));
        self.providers.extend(text(node, "/spec/providerID").split_once("://").and_then(|(p, _)| named(p)));
        self.regions.extend(label(REGION).and_then(named));
        self.zones.extend(label(ZONE).and_then(named));
        let holds = Amounts::read(node.pointer("/status/allocatable"));
        add(&mut self.capacity, holds.as_ref());
        if takes_pods(node) {
            self.taking.insert(text(node, "/metadata/name").to_owned());
            add(&mut self.open, holds.as_ref());
        }
    }
}

fn add(sum: &mut Option<Amounts>, more: Option<&Amounts>) {
    match (sum.as_mut(), more) {
        (Some(sum), Some(more)) => sum.add(more),
        _ => *sum = None,
    }
}

/// Whether a node is ready, not cordoned, and open to others than the control plane.
fn takes_pods(node: &Value) -> bool {
    let list = |at: &str| node.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let ready =
        list("/status/conditions").any(|c| text(c, "/type") == "Ready" && text(c, "/status") == "True");
    let cordoned = node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or_default();
    let reserved = list("/spec/taints")
        .any(|t| CONTROL_PLANE.contains(&text(t, "/key")) && text(t, "/effect") != "PreferNoSchedule");
    ready && !cordoned && !reserved
}

/// What all of them say alike; absent where nobody says it, or they do not agree.
pub(super) fn the_one(said: &BTreeSet<String>) -> Fact<String> {
    let mut said = said.iter();
    match (said.next(), said.next()) {
        (Some(one), None) => Fact::Present(one.clone()),
        _ => Fact::Absent,
    }
}

/// What a pod takes of its node, as the scheduler counts it: its containers and side-cars together, or what its
/// initialization needs at once, whichever is more; with its overhead, and itself as one of the pods that a node may have.
/// `None` where an amount cannot be read.
pub(super) fn taken(pod: &Value) -> Option<Amounts> {
    let containers = |at: &str| pod.pointer(at).and_then(Value::as_array).into_iter().flatten();
    let requests = |container: &Value| Amounts::read(container.pointer("/resources/requests"));
    let (mut sum, mut first, mut sidecars) = (Amounts::default(), Amounts::default(), Amounts::default());
    for container in containers("/spec/initContainers") {
        let wanted = requests(container)?;
        let mut at_once = sidecars.clone();
        at_once.add(&wanted);
        first.at_least(&at_once);
        if text(container, "/restartPolicy") == "Always" {
            sidecars = at_once;
        }
    }
    for container in containers("/spec/containers") {
        sum.add(&requests(container)?);
    }
    sum.add(&sidecars);
    sum.at_least(&first);
    // What is said for the pod as a whole counts instead.
    sum.replace(Amounts::read(pod.pointer("/spec/resources/requests"))?);
    sum.add(&Amounts::read(pod.pointer("/spec/overhead"))?);
    sum.add(&Amounts::of("pods", 1));
    Some(sum)
}

/// Name and value of a `ClusterProperty`.
pub(super) fn property(object: &Value) -> Option<(String, String)> {
    let value = object.pointer("/spec/value").and_then(Value::as_str)?;
    Some((text(object, "/metadata/name").to_owned(), value.to_owned()))
}

/// The texts of a ConfigMap.
pub(super) fn data(object: &Value) -> BTreeMap<String, String> {
    let data = object.get("data").and_then(Value::as_object).into_iter().flatten();
    data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, more: Value) -> Value {
        let mut node = json!({
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "eu-a"}},
            "spec": {"providerID": "aws:///eu-a/i-1"},
            "status": {
                "nodeInfo": {"architecture": "amd64"},
                "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "nvidia.com/gpu": "2"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        for (at, value) in more.as_object().unwrap() {
            let (parent, field) = at.rsplit_once('/').unwrap();
            node.pointer_mut(parent).unwrap()[field] = value.clone();
        }
        node
    }

    fn summed(nodes: &[Value]) -> Nodes {
        let mut sum = Nodes::none();
        nodes.iter().for_each(|node| sum.add(node));
        sum
    }

    #[test]
    fn only_nodes_that_take_pods_have_anything_free() {
        let rows = [
            ("a plain node", json!({}), true),
            ("cordoned", json!({"/spec/unschedulable": true}), false),
            ("not ready", json!({"/status/conditions": [{"type": "Ready", "status": "Unknown"}]}), false),
            ("without conditions", json!({"/status/conditions": []}), false),
            (
                "of the control plane",
                json!({"/spec/taints": [{"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}]}),
                false,
            ),
            ("with GPUs", json!({"/spec/taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}), true),
        ];
        for (what, more, takes) in rows {
            let sum = summed(&[node("a", more)]);
            assert_eq!(sum.open.unwrap().resources().cpu_millis, if takes { 4_000 } else { 0 }, "{what}");
            assert_eq!(sum.capacity.unwrap().resources().cpu_millis, 4_000, "{what}");
            assert_eq!(sum.taking.contains("a"), takes, "{what}");
        }
    }

    #[test]
    fn places_and_providers_are_of_all_nodes_and_one_only_where_they_agree() {
        let old = json!({"/metadata/labels": {"failure-domain.beta.kubernetes.io/zone": "eu-b"}});
        let other = json!({"/spec/providerID": "gce://x", "/metadata/labels": null});
        let sum = summed(&[node("a", json!({})), node("b", old)]);
        assert_eq!(sum.zones, BTreeSet::from(["eu-a".to_owned(), "eu-b".to_owned()]));
        assert_eq!(the_one(&sum.regions), Fact::Present("eu".to_owned()));
        assert_eq!(the_one(&sum.providers), Fact::Present("aws".to_owned()));
        let sum = summed(&[node("a", json!({})), node("b", other)]);
        assert_eq!((sum.count, the_one(&sum.providers)), (2, Fact::Absent));
        assert_eq!(the_one(&BTreeSet::new()), Fact::Absent);
    }

    #[test]
    fn an_amount_that_cannot_be_read_makes_no_sum() {
        let sum = summed(&[node("a", json!({"/status/allocatable": {"cpu": "four"}})), node("b", json!({}))]);
        assert_eq!((sum.capacity, sum.open, sum.count), (None, None, 2));
    }

    #[test]
    fn a_pod_takes_what_the_scheduler_counts() {
        let asks = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = |cpu: &str| json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        let rows = [
            ("containers add up", json!({"containers": [asks("1"), asks("500m"), {}]}), 1_500),
            (
                "initialization needs more",
                json!({"containers": [asks("1")], "initContainers": [asks("3"), asks("2")]}),
                3_000,
            ),
            (
                "a side-car stays",
                json!({"containers": [asks("1")], "initContainers": [sidecar("1"), asks("500m")]}),
                2_000,
            ),
            (
                "a side-car is there while others begin",
                json!({"containers": [asks("1")], "initContainers": [sidecar("1"), asks("3")]}),
                4_000,
            ),
            ("with overhead", json!({"containers": [asks("1")], "overhead": {"cpu": "250m"}}), 1_250),
            (
                "the pod's own word counts",
                json!({"containers": [asks("1")], "resources": {"requests": {"cpu": "4"}}}),
                4_000,
            ),
            ("nothing asked", json!({"containers": [{}]}), 0),
        ];
        for (what, spec, cpu_millis) in rows {
            let resources = taken(&json!({"spec": spec})).unwrap().resources();
            assert_eq!((resources.cpu_millis, resources.other["pods"]), (cpu_millis, 1), "{what}");
        }
        assert_eq!(taken(&json!({"spec": {"containers": [asks("?")]}})), None);
    }
}
