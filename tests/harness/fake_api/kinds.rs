//! Kinds: what the fake server serves, its schemas, and its discovery documents.
//!
//! In: nothing. Out: [`KINDS`], which is all there is: no definitions can be added. Pure.

use serde_json::{Value, json};

/// What a field may hold, and how those who apply it share it.
#[derive(Debug)]
pub enum Schema {
    /// Anything, owned as one piece.
    Any,
    /// A string.
    Text,
    /// A whole number.
    Number,
    /// Names of the user's choice, each owned by itself.
    Map,
    /// These fields and no others.
    Fields(&'static [(&'static str, Schema)]),
    /// Items that are told apart by these of their fields; `protocol` is TCP where it is not said.
    List(&'static [&'static str], &'static Schema),
}

/// A kind.
#[derive(Debug)]
pub struct Kind {
    /// Empty for the core group.
    pub group: &'static str,
    /// The only one.
    pub version: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
    /// All fields but `apiVersion`, `kind`, `metadata` and `status`.
    pub schema: &'static [(&'static str, Schema)],
    /// Fields that stay as they were created, as JSON pointers.
    pub immutable: &'static [&'static str],
}

use Schema::{Any, Fields, List, Map, Number, Text};

/// What every object has. Names and what the server sets belong to nobody and are no part of it.
pub const METADATA: Schema =
    Fields(&[("labels", Map), ("annotations", Map), ("finalizers", Any), ("ownerReferences", Any)]);

const CONTAINER: Schema = Fields(&[
    ("name", Text),
    ("image", Text),
    ("args", Any),
    ("env", List(&["name"], &Fields(&[("name", Text), ("value", Text)]))),
    ("ports", List(&["containerPort", "protocol"], &PORT)),
]);
const PORT: Schema = Fields(&[("name", Text), ("containerPort", Number), ("protocol", Text)]);
const TEMPLATE: Schema =
    Fields(&[("metadata", METADATA), ("spec", Fields(&[("containers", List(&["name"], &CONTAINER))]))]);
const DEPLOYMENT: Schema = Fields(&[("replicas", Number), ("selector", Any), ("template", TEMPLATE)]);

/// Everything that is served.
pub const KINDS: &[Kind] = &[
    kind("", "Namespace", "namespaces", false, &[("spec", Any)], &[]),
    kind("", "Node", "nodes", false, &[("spec", Any)], &[]),
    kind("", "Pod", "pods", true, &[("spec", Any)], &[]),
    kind("", "ConfigMap", "configmaps", true, &[("data", Map), ("immutable", Any)], &[]),
    kind("", "Secret", "secrets", true, &[("data", Map), ("type", Text)], &["/type"]),
    kind("apps", "Deployment", "deployments", true, &[("spec", DEPLOYMENT)], &["/spec/selector"]),
    kind(
        "example.com",
        "Widget",
        "widgets",
        true,
        &[("spec", Fields(&[("size", Number), ("colour", Text)]))],
        &[],
    ),
];

const fn kind(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    namespaced: bool,
    schema: &'static [(&'static str, Schema)],
    immutable: &'static [&'static str],
) -> Kind {
    Kind { group, version: "v1", kind, plural, namespaced, schema, immutable }
}

impl Kind {
    /// The kind of this group and plural.
    pub fn of(group: &str, plural: &str) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.group == group && kind.plural == plural)
    }

    /// As objects say it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// How messages name it: `deployments.apps`.
    pub fn in_messages(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

const VERBS: [&str; 6] = ["create", "delete", "get", "list", "patch", "watch"];

/// The aggregated document of `/api` (the core group) or `/apis`; of a stale group the server knows no resources now.
pub fn aggregated(core: bool, stale: &[String]) -> Value {
    let mut items = Vec::new();
    for group in groups().filter(|group| group.is_empty() == core) {
        let resource = |kind: &Kind| {
            json!({
                "resource": kind.plural,
                "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
                "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": kind.kind.to_lowercase(),
                "verbs": VERBS,
            })
        };
        let is_stale = stale.iter().any(|known| known == group);
        let of_group = KINDS.iter().filter(|kind| kind.group == group && !is_stale);
        let freshness = if is_stale { "Stale" } else { "Current" };
        let resources: Vec<_> = of_group.map(resource).collect();
        items.push(json!({
            "metadata": {"name": group, "creationTimestamp": null},
            "versions": [{"version": "v1", "freshness": freshness, "resources": resources}],
        }));
    }
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items})
}

/// The document of one group, as servers gave it before there were aggregated ones, and still do.
pub fn group(name: &str) -> Option<Value> {
    groups().find(|known| *known == name && !name.is_empty())?;
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    Some(
        json!({"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version}),
    )
}

/// The resources of one group's version.
pub fn resources(group: &str) -> Option<Value> {
    let of_group = KINDS.iter().filter(|kind| kind.group == group);
    let resource = |kind: &Kind| json!({"name": kind.plural, "singularName": kind.kind.to_lowercase(), "namespaced": kind.namespaced, "kind": kind.kind, "verbs": VERBS});
    let resources: Vec<_> = of_group.map(resource).collect();
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources});
    (!resources.is_empty()).then_some(list)
}

fn groups() -> impl Iterator<Item = &'static str> {
    let mut names: Vec<_> = KINDS.iter().map(|kind| kind.group).collect();
    names.dedup();
    names.into_iter()
}
