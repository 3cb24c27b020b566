//! Offline: a fleet as people write it, for CI and in front of a whiteboard.
//!
//! In: a stream of `Cluster` documents whose `status` says what their spokes would report; an earlier decision. Out: what a
//! catalog's placements choose, and why. Never: takes a field that it does not know; needs a hub.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::{API_VERSION, Catalog, Position, Problem, yaml};
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
        if let Err(message) = take(&mut given, root.to_json(), catalog) {
            problems.push(Problem::error(&file, root.position, message));
        }
    }
    if given.fleet.is_empty() && problems.is_empty() {
        let message = format!("there is no Cluster (apiVersion {API_VERSION}) in it");
        problems.push(Problem::error(&file, Position::START, message));
    }
    if problems.is_empty() { Ok(given) } else { Err(problems) }
}

fn take(given: &mut Given, document: Value, catalog: &Catalog) -> Result<(), String> {
    if document.is_null() {
        return Ok(());
    }
    let Document { api_version, kind, metadata, spec, status } =
        serde_json::from_value(document).map_err(|error| error.to_string())?;
    if (&*api_version, &*kind) != (API_VERSION, "Cluster") {
        return Err(format!(
            "{kind} of {api_version} is no Cluster of {API_VERSION}; move it to the catalog"
        ));
    }
    let Metadata { name, labels } = metadata;
    let Spec { set, taints, cordoned, .. } = spec;
    let membership =
        Membership { labels, set, taints: taints.into_iter().collect(), cordoned, ..Membership::default() };
    let mut cluster = candidate(Some(catalog), &name, &membership, NOW_MS);
    cluster.contact = Contact::Never;
    if let Some(status) = status {
        cluster.contact = status.contact()?;
        (cluster.draining, cluster.maintained) = (status.draining, status.maintained);
        given.healthy.extend(status.healthy.into_iter().map(|app| (name.clone(), app)));
        observe(&mut cluster, status.facts);
    }
    match given.fleet.insert(name.clone(), cluster) {
        None => Ok(()),
        Some(_) => Err(format!("Cluster/{name} stands there twice; remove one of them")),
    }
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
