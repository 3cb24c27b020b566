//! What is shown of members: what they say of themselves, what operators said of them.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::ClusterName;
use nave_placement::fleet::{Fact, Facts, KubernetesVersion, Resources, Taint};
use serde::{Deserialize, Serialize};

/// What a cluster says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FactsView {
    /// Kubernetes version.
    pub kubernetes: Fact<KubernetesVersion>,
    /// Number of nodes.
    pub nodes: Fact<u32>,
    /// Architectures of the nodes.
    pub architectures: Fact<BTreeSet<String>>,
    /// What the nodes can hold together.
    pub capacity: Fact<Resources>,
    /// The provider of the nodes.
    pub provider: Fact<String>,
    /// Where they are.
    pub region: Fact<String>,
    /// Where they are.
    pub zones: Fact<BTreeSet<String>>,
    /// The age recipient to which secrets for this cluster are encrypted.
    pub recipient: Fact<String>,
    /// Kinds that are served; not in a list of clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apis: Option<Fact<BTreeSet<String>>>,
    /// `ClusterProperty` objects; not in a list of clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub properties: Option<Fact<BTreeMap<String, String>>>,
    /// The ConfigMap `nave-facts`; not in a list of clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<Fact<BTreeMap<String, String>>>,
    /// What is free now, as far as its spoke said since it connected.
    pub free: Fact<Resources>,
    /// When it said so, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_ms: Option<u64>,
    /// Nothing was heard of the cluster for so long that rules take all of these for unknown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl FactsView {
    /// All of the facts.
    pub fn of(facts: &Facts) -> Self {
        Self {
            apis: Some(facts.apis.clone()),
            properties: Some(facts.properties.clone()),
            custom: Some(facts.custom.clone()),
            ..Self::brief(facts)
        }
    }

    /// Without those that have no bound worth the name: ten thousand rows of a list have their own.
    pub fn brief(facts: &Facts) -> Self {
        Self {
            kubernetes: facts.kubernetes.clone(),
            nodes: facts.nodes,
            architectures: facts.architectures.clone(),
            capacity: facts.capacity.clone(),
            provider: facts.provider.clone(),
            region: facts.region.clone(),
            zones: facts.zones.clone(),
            recipient: facts.recipient.clone(),
            ..Self::default()
        }
    }
}

/// What came of an order about members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// What was done to those that changed, for people: `labelled`, `cordoned`.
    pub done: String,
    /// Members of which something else is said now.
    pub changed: Vec<ClusterName>,
    /// Members of which that was said already.
    pub unchanged: Vec<ClusterName>,
}

/// `hub cluster export`: what operators said of one cluster, as Git would say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportView {
    /// The file in which the catalog has the cluster already: what is exported belongs into that document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The document.
    pub document: ClusterDocument,
}

/// A `Cluster` of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterDocument {
    /// `nave.dev/v1alpha1`.
    pub api_version: String,
    /// `Cluster`.
    pub kind: String,
    /// Its name and labels.
    pub metadata: ClusterMetadata,
    /// Its set and taints.
    pub spec: ClusterSpec,
}

/// Name and labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMetadata {
    /// The cluster's name.
    pub name: ClusterName,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Set and taints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSpec {
    /// Its set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Its taints.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<Taint>,
}
