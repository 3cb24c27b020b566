//! The fleet: what placements may look at when they choose clusters.
//!
//! In: members as the hub records them, what the catalog says of them. Out: [`Candidate`]s with merged labels.
//! Never: takes a label from an agent; an agent reports [`Facts`] only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ClusterName;
use crate::catalog::Catalog;

/// Something a spoke reports. *Unknown* (stale or never reported) is not *absent* (observed so).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fact<T> {
    /// Never reported, or too old to rely on.
    #[default]
    Unknown,
    /// Observed not to be there.
    Absent,
    /// Observed.
    Present(T),
}

impl<T> Fact<T> {
    /// The value, if it was observed.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(value) => Some(value),
            Self::Unknown | Self::Absent => None,
        }
    }
}

/// What a spoke says of its cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Facts {
    /// Kubernetes version; absent where the target is no Kubernetes.
    pub kubernetes: Fact<KubernetesVersion>,
    /// Number of nodes.
    pub nodes: Fact<u32>,
    /// Architectures of the nodes, e.g. `amd64`.
    pub architectures: Fact<BTreeSet<String>>,
    /// What the nodes can hold together.
    pub capacity: Fact<Resources>,
    /// The provider that the nodes' `providerID` names, e.g. `aws`.
    pub provider: Fact<String>,
    /// The region that the nodes are in, where all are in one.
    pub region: Fact<String>,
    /// The zones that the nodes are in.
    pub zones: Fact<BTreeSet<String>>,
    /// Kinds that are served, as `GROUP/VERSION/KIND`; of the core group `v1/KIND`.
    pub apis: Fact<BTreeSet<String>>,
    /// The cluster's `ClusterProperty` objects (`about.k8s.io`), by name.
    pub properties: Fact<BTreeMap<String, String>>,
    /// The data of the ConfigMap `nave-facts` in the spoke's namespace.
    pub custom: Fact<BTreeMap<String, String>>,
    /// The age recipient to which secrets for this cluster are encrypted.
    pub recipient: Fact<String>,
}

/// Amounts of resources: what there is of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resources {
    /// Processors, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory: u64,
    /// Everything else by its resource name, e.g. `nvidia.com/gpu`, rounded down to a whole number.
    pub other: BTreeMap<String, u64>,
}

/// A Kubernetes server's version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesVersion {
    /// As the server says it, e.g. `v1.31.2-gke.1`.
    pub version: String,
    /// Major number.
    pub major: u32,
    /// Minor number, without a provider's `+`.
    pub minor: u32,
}

/// Keeps placements that do not tolerate it away from a cluster, as a taint of a Kubernetes node does with pods.
///
/// A cluster has at most one taint for each pair of key and effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Its key, written as a label's.
    pub key: String,
    /// Its value; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// What it does.
    pub effect: Effect,
}

/// What a taint does to placements that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Effect {
    /// Nothing new is placed.
    NoSchedule,
    /// Something new is placed only where no other cluster will do.
    PreferNoSchedule,
    /// Nothing new is placed, and what was placed moves away.
    NoExecute,
}

impl std::fmt::Display for Taint {
    /// As `kubectl taint` writes it: `KEY=VALUE:EFFECT`, or `KEY:EFFECT`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key)?;
        if !self.value.is_empty() {
            write!(f, "={}", self.value)?;
        }
        write!(f, ":{:?}", self.effect)
    }
}

impl std::str::FromStr for Effect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "NoSchedule" => Ok(Self::NoSchedule),
            "PreferNoSchedule" => Ok(Self::PreferNoSchedule),
            "NoExecute" => Ok(Self::NoExecute),
            _ => Err(format!("{text:?} is no effect: use NoSchedule, PreferNoSchedule or NoExecute")),
        }
    }
}

/// A member as the hub records it: what operators said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Membership {
    /// Labels that an operator set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The set that an operator put it in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Taints that an operator put on it; the catalog wins per key and effect.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<Taint>,
    /// Nothing new is placed on it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// What `pick` placed on it moves away. A cluster that is drained is cordoned too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// It is being worked on: its assignment does not change, it raises no alarms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

/// A time in which a cluster is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Maintenance {
    /// Until when, Unix milliseconds.
    pub until_ms: u64,
    /// Why, as far as it was said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl Membership {
    /// The maintenance that the cluster is in at a time.
    pub fn maintained(&self, now_ms: u64) -> Option<&Maintenance> {
        self.maintenance.as_ref().filter(|m| now_ms < m.until_ms)
    }
}

/// A cluster that placements may choose: a member, with everything merged that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Effective labels: the catalog wins per key over the operator.
    pub labels: BTreeMap<String, String>,
    /// Effective set: the catalog wins over the operator.
    pub set: Option<String>,
    /// Taints, and since when each is there (Unix milliseconds), as far as that is known.
    pub taints: BTreeMap<Taint, Option<u64>>,
    /// Nothing new is placed.
    pub cordoned: bool,
    /// What `pick` placed moves away.
    pub draining: bool,
    /// Under maintenance: nothing changes here, and it counts as away.
    pub maintained: bool,
    /// Slow facts.
    pub facts: Facts,
    /// What is free, less what decisions took since it was reported: for `pick` alone.
    pub free: Fact<Resources>,
    /// Whether its spoke is heard.
    pub contact: Contact,
}

/// Whether a cluster's spoke is heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Contact {
    /// It never was.
    #[default]
    Never,
    /// It is.
    Connected,
    /// It was, and is not any more.
    Silent {
        /// Since then, in Unix milliseconds.
        since_ms: u64,
    },
}

/// The clusters that placements may choose, by name.
pub type Fleet = BTreeMap<ClusterName, Candidate>;

/// Merges what the catalog says of a cluster over what operators said. A member has enrolled, so it was heard; what is known
/// of its spoke beyond that, the caller adds.
pub fn candidate(
    catalog: Option<&Catalog>,
    name: &ClusterName,
    member: &Membership,
    now_ms: u64,
) -> Candidate {
    let mut merged = Candidate {
        labels: member.labels.clone(),
        set: member.set.clone(),
        taints: member.taints.iter().map(|taint| (taint.clone(), None)).collect(),
        cordoned: member.cordoned,
        draining: member.draining,
        maintained: member.maintained(now_ms).is_some(),
        contact: Contact::Connected,
        ..Candidate::default()
    };
    if let Some((object, cluster)) = catalog.and_then(|c| c.cluster(name)) {
        merged.labels.extend(object.object.labels.clone());
        for taint in &cluster.taints {
            let hides = |theirs: &Taint| (&theirs.key, theirs.effect) == (&taint.key, taint.effect);
            merged.taints.retain(|theirs, _| !hides(theirs));
            merged.taints.insert(taint.clone(), None);
        }
        merged.cordoned |= cluster.cordoned;
        if cluster.set.is_some() {
            merged.set.clone_from(&cluster.set);
        }
    }
    merged
}
