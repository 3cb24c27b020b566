//! Offline: a fleet as people write it, for CI and in front of a whiteboard.
//!
//! In: a stream of `Cluster` documents whose `status` says what their spokes would report; an earlier decision. Out: what a
//! catalog's placements choose, and why. Never: takes a field that it does not know; needs a hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::yaml::{self, Node};
use crate::catalog::{API_VERSION, Catalog, Position, Problem, did_you_mean};
use crate::decide::{DecisionReport, Engine, Memory, Moment};
use crate::fleet::{
    Candidate, Contact, Fact, Facts, Fleet, KubernetesVersion, Membership, Resources, Taint, candidate,
};
use crate::select::thousandths;
use crate::{AppKey, ClusterName, duration};

/// The time at which offline decisions are made, in Unix milliseconds: any, but the same for all.
const NOW_MS: u64 = 1_800_000_000_000;
/// For how long a spoke that is not connected is silent, where its status does not say.
const SILENT_MS: u64 = 24 * 3_600_000;

/// A fleet, and what is healthy on it.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The clusters.
    pub fleet: Fleet,
    /// Apps that are healthy, by cluster.
    pub healthy: BTreeSet<(ClusterName, AppKey)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Metadata {
    name: ClusterName,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Spec {
    set: Option<String>,
    taints: Vec<Taint>,
    cordoned: bool,
    /// These decide nothing.
    #[serde(rename = "timezone")]
    _timezone: Option<Value>,
    #[serde(rename = "parameters")]
    _parameters: Option<Value>,
    #[serde(rename = "protect")]
    _protect: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Status {
    connected: bool,
    /// For how long it has not been connected.
    silent_for: Option<String>,
    draining: bool,
    maintained: bool,
    /// Apps that are healthy there.
    healthy: BTreeSet<AppKey>,
    facts: FactsDocument,
}

/// What is not given is unknown, what is null is absent.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct FactsDocument {
    #[serde(deserialize_with = "given")]
    kubernetes: Fact<KubernetesDocument>,
    #[serde(deserialize_with = "given")]
    nodes: Fact<u32>,
    #[serde(deserialize_with = "given")]
    architectures: Fact<BTreeSet<String>>,
    #[serde(deserialize_with = "amounts")]
    capacity: Fact<Resources>,
    #[serde(deserialize_with = "amounts")]
    free: Fact<Resources>,
    #[serde(deserialize_with = "given")]
    provider: Fact<String>,
    #[serde(deserialize_with = "given")]
    region: Fact<String>,
    #[serde(deserialize_with = "given")]
    zones: Fact<BTreeSet<String>>,
    #[serde(deserialize_with = "given")]
    apis: Fact<BTreeSet<String>>,
    #[serde(deserialize_with = "given")]
    properties: Fact<BTreeMap<String, String>>,
    #[serde(deserialize_with = "given")]
    custom: Fact<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubernetesDocument {
    version: Option<String>,
    major: Option<u32>,
    minor: Option<u32>,
}

fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Fact<T>, D::Error> {
    Ok(Option::<T>::deserialize(from)?.map_or(Fact::Absent, Fact::Present))
}

/// Resources by name, amounts as Kubernetes writes them.
fn amounts<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Fact<Resources>, D::Error> {
    let Some(given) = Option::<BTreeMap<String, Value>>::deserialize(from)? else { return Ok(Fact::Absent) };
    let mut resources = Resources::default();
    for (name, amount) in given {
        let text = match &amount {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let amount = thousandths(&text).map_err(serde::de::Error::custom)?;
        match name.as_str() {
            "cpu" => resources.cpu_millis = amount,
            "memory" => resources.memory = amount / 1_000,
            _ => _ = resources.other.insert(name, amount / 1_000),
        }
    }
    Ok(Fact::Present(resources))
}

impl KubernetesDocument {
    fn read(self) -> KubernetesVersion {
        let version = self.version.unwrap_or_default();
        let mut parts = version.trim_start_matches('v').split('.');
        let mut number = || {
            let digits = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse().ok()
        };
        let (major, minor) = (number(), number());
        let major = self.major.or(major).unwrap_or(1);
        let minor = self.minor.or(minor).unwrap_or(0);
        let version = if version.is_empty() { format!("v{major}.{minor}.0") } else { version };
        KubernetesVersion { version, major, minor }
    }
}

impl Status {
    fn contact(&self) -> Result<Contact, String> {
        if self.connected {
            return Ok(Contact::Connected);
        }
        let silent_ms = match &self.silent_for {
            Some(text) => {
                let read = duration(text).map_err(|error| format!("status.silentFor: {error}"))?;
                u64::try_from(read.as_millis()).unwrap_or(u64::MAX)
            }
            None => SILENT_MS,
        };
        Ok(Contact::Silent { since_ms: NOW_MS.saturating_sub(silent_ms) })
    }
}

/// Reads the fleet. What the catalog says of a cluster goes before what the fleet's document says, as it does at the hub.
///
/// # Errors
/// Every document that cannot be read, with its place.
pub fn fleet(file: &str, text: &str, catalog: &Catalog) -> Result<Given, Vec<Problem>> {
    let file: Arc<str> = file.into();
    let (mut given, mut problems) = (Given::default(), Vec::new());
    for read in yaml::read(text) {
        let faults =
            read.faults.into_iter().map(|fault| Problem::error(&file, fault.position, fault.message));
        problems.extend(faults);
        let Some(root) = read.root else { continue };
        if let Err((position, message)) = take(&mut given, &root, catalog) {
            problems.push(Problem::error(&file, position, message));
        }
    }
    if given.fleet.is_empty() && problems.is_empty() {
        let message = format!("there is no Cluster (apiVersion {API_VERSION}) in it");
        problems.push(Problem::error(&file, Position::START, message));
    }
    if problems.is_empty() { Ok(given) } else { Err(problems) }
}

fn take(given: &mut Given, root: &Node, catalog: &Catalog) -> Result<(), (Position, String)> {
    let document = root.to_json();
    if document.is_null() {
        return Ok(());
    }
    let Document { api_version, kind, metadata, spec, status } =
        Document::deserialize(&document).map_err(|error| refused(&document, root, &error.to_string()))?;
    if (&*api_version, &*kind) != (API_VERSION, "Cluster") {
        let message =
            format!("{kind} of {api_version} is no Cluster of {API_VERSION}; move it to the catalog");
        return Err((root.position, message));
    }
    let Metadata { name, labels } = metadata;
    let Spec { set, taints, cordoned, .. } = spec;
    let membership =
        Membership { labels, set, taints: taints.into_iter().collect(), cordoned, ..Membership::default() };
    let mut cluster = candidate(Some(catalog), &name, &membership, NOW_MS);
    cluster.contact = Contact::Never;
    if let Some(status) = status {
        cluster.contact =
            status.contact().map_err(|message| (place(root, &["status", "silentFor"]), message))?;
        (cluster.draining, cluster.maintained) = (status.draining, status.maintained);
        given.healthy.extend(status.healthy.into_iter().map(|app| (name.clone(), app)));
        observe(&mut cluster, status.facts);
    }
    match given.fleet.insert(name.clone(), cluster) {
        None => Ok(()),
        Some(_) => {
            let message = format!("Cluster/{name} stands there twice; remove one of them");
            Err((place(root, &["metadata", "name"]), message))
        }
    }
}

/// Where a field stands, or else the last mapping around it that is there.
fn place(root: &Node, path: &[&str]) -> Position {
    let mut node = root;
    for key in path {
        match node.map().and_then(|map| map.first(key)) {
            Some(inner) => node = inner,
            None => break,
        }
    }
    node.position
}

/// Where and why a document is refused: its innermost part without which it is not, or is for something else.
fn refused(document: &Value, root: &Node, why: &str) -> (Position, String) {
    const MISSING: &str = "missing field ";
    if why == "missing field `name`" && root.map().is_some_and(|map| map.first("metadata").is_some()) {
        return (place(root, &["metadata"]), worded(why));
    }
    let (mut node, mut pointer, mut names) = (root, String::new(), Vec::<String>::new());
    let (mut key, mut value) = (root.position, root.position);
    loop {
        let parts: Vec<(String, Position, &Node)> = match &node.value {
            yaml::Value::Map(map) => {
                map.0.iter().map(|entry| (entry.key.clone(), entry.position, &entry.node)).collect()
            }
            yaml::Value::List(items) => {
                items.iter().enumerate().map(|(n, item)| (n.to_string(), item.position, item)).collect()
            }
            _ => Vec::new(),
        };
        let is_guilty = |part: &(String, Position, &Node)| {
            let mut rest = document.clone();
            match rest.pointer_mut(&pointer) {
                Some(Value::Object(fields)) => drop(fields.remove(&part.0)),
                Some(Value::Array(items)) => {
                    let at = part.0.parse::<usize>().ok().filter(|at| *at < items.len());
                    if let Some(at) = at {
                        items.remove(at);
                    }
                }
                _ => {}
            }
            match Document::deserialize(&rest) {
                Ok(_) => true,
                Err(error) => {
                    let error = error.to_string();
                    error != why && !(error.starts_with(MISSING) && why.starts_with(MISSING))
                }
            }
        };
        let Some((name, position, part)) = parts.into_iter().find(is_guilty) else { break };
        pointer = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        names.push(name);
        (node, key, value) = (part, position, part.position);
    }
    if why.starts_with("unknown field ") {
        return (key, worded(why));
    }
    let path = if names.is_empty() { String::new() } else { format!("{}: ", names.join(".")) };
    (value, format!("{path}{}", worded(why)))
}

/// A reader's words for what it refuses, in those of people.
fn worded(why: &str) -> String {
    let quoted: Vec<&str> = why.split('`').skip(1).step_by(2).collect();
    if let (true, Some((name, valid))) = (why.starts_with("unknown field "), quoted.split_first()) {
        let meant = did_you_mean(name, valid.iter().copied());
        return match meant.is_empty() {
            true => format!("unknown field {name}; valid is {}", valid.join(", ")),
            false => format!("unknown field {name}{meant}"),
        };
    }
    if let (true, Some((name, valid))) = (why.starts_with("unknown variant "), quoted.split_first()) {
        return format!("{name} is none of {}", valid.join(", "));
    }
    if let (true, Some(name)) = (why.starts_with("missing field "), quoted.first()) {
        return format!("field {name} is missing");
    }
    let typed = why.strip_prefix("invalid type: ").or_else(|| why.strip_prefix("invalid value: "));
    let Some((is, wanted)) = typed.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return why.to_owned();
    };
    let is = match is.split_once(' ') {
        Some(("string", text)) => format!("the text {text}"),
        Some(("integer", number)) => format!("the number {}", number.trim_matches('`')),
        Some(("floating", rest)) => {
            format!("the number {}", rest.trim_start_matches("point ").trim_matches('`'))
        }
        Some(("boolean", flag)) => flag.trim_matches('`').to_owned(),
        _ if is == "null" => "empty".to_owned(),
        _ if is == "map" => "a mapping".to_owned(),
        _ if is == "sequence" => "a list".to_owned(),
        _ => is.to_owned(),
    };
    let wanted = match wanted {
        "a string" => "a text",
        "a boolean" => "true or false",
        "a map" => "a mapping",
        "a sequence" => "a list",
        "u32" => "a whole number",
        other if other.starts_with("struct ") => "a mapping",
        other => other,
    };
    format!("it is {is}; {wanted} is wanted")
}

fn observe(cluster: &mut Candidate, facts: FactsDocument) {
    cluster.free = facts.free;
    cluster.facts = Facts {
        kubernetes: match facts.kubernetes {
            Fact::Unknown => Fact::Unknown,
            Fact::Absent => Fact::Absent,
            Fact::Present(version) => Fact::Present(version.read()),
        },
        nodes: facts.nodes,
        architectures: facts.architectures,
        capacity: facts.capacity,
        provider: facts.provider,
        region: facts.region,
        zones: facts.zones,
        apis: facts.apis,
        properties: facts.properties,
        custom: facts.custom,
        recipient: Fact::Unknown,
    };
}

/// Every placement's decision: what `hub decide -o json` prints, and what its `--previous` reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    /// By name.
    pub placements: Vec<DecisionReport>,
}

impl Decided {
    /// What is remembered of it.
    pub fn memory(&self) -> Memory {
        self.placements.iter().map(|report| (report.placement.clone(), report.settled())).collect()
    }
}

/// Decides.
pub fn decide(catalog: &Catalog, given: &Given, previous: &Memory) -> Decided {
    let healthy =
        |cluster: &ClusterName, app: &AppKey| given.healthy.contains(&(cluster.clone(), app.clone()));
    let moment = Moment { now_ms: NOW_MS, hub_since_ms: 0, healthy: &healthy };
    let mut engine = Engine::of(catalog, &given.fleet, previous);
    engine.settle(moment);
    Decided { placements: engine.reports(moment, previous) }
}
