//! Overriding: what an `Override` says. What it does stands in [`crate::overrides`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::{AppSelection, ClusterSelection, Position, SourceChange};
use crate::ObjectKey;
use crate::overrides::{Change, Image, Parameters};
use crate::select::Selector;

/// A change of apps for some clusters.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Which apps of the same catalog.
    pub apps: AppSelection,
    /// On which clusters.
    pub clusters: ClusterSelection,
    /// The higher one wins.
    pub priority: i64,
    /// What differs in where the manifests come from.
    pub source: Option<SourceChange>,
    /// A layer of parameters.
    pub parameters: Parameters,
    /// Rules about images.
    pub images: Vec<Image>,
    /// Changes of manifests, in order.
    pub patches: Vec<Patch>,
}

impl Override {
    /// Whether the manifests are others with it; parameters alone change values only.
    pub fn changes_manifests(&self) -> bool {
        self.source.is_some() || !self.images.is_empty() || !self.patches.is_empty()
    }
}

/// A change of some manifests.
#[derive(Clone, Debug)]
pub struct Patch {
    /// Of which objects.
    pub target: PatchTarget,
    /// What is done to them.
    pub change: Change,
    /// Where it stands in the file of its override; two that differ in nothing else are the same.
    pub position: Position,
}

impl PartialEq for Patch {
    fn eq(&self, other: &Self) -> bool {
        (&self.target, &self.change) == (&other.target, &other.change)
    }
}

/// Which objects a patch means. What is not given matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchTarget {
    /// API group; empty for the core group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// API version, without the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Namespace, as the manifest gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name, as the manifest gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<Selector>,
    /// Annotations of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_selector: Option<Selector>,
}

impl PatchTarget {
    /// Whether it means this manifest.
    pub fn matches(&self, key: &ObjectKey, manifest: &serde_json::Value) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        let version = manifest.get("apiVersion").and_then(serde_json::Value::as_str).unwrap_or_default();
        let selected = |selector: &Option<Selector>, field: &str| {
            selector.as_ref().is_none_or(|selector| selector.matches(&texts(manifest, field)))
        };
        is(&self.group, &key.group)
            && is(&self.version, version.rsplit('/').next().unwrap_or_default())
            && is(&self.kind, &key.kind)
            && is(&self.namespace, &key.namespace)
            && is(&self.name, &key.name)
            && selected(&self.label_selector, "labels")
            && selected(&self.annotation_selector, "annotations")
    }
}

/// `metadata.labels` or `metadata.annotations`.
fn texts(manifest: &serde_json::Value, field: &str) -> BTreeMap<String, String> {
    let map = manifest.get("metadata").and_then(|metadata| metadata.get(field)?.as_object());
    let text = |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.to_owned()));
    map.into_iter().flatten().filter_map(text).collect()
}

impl std::fmt::Display for PatchTarget {
    /// `Deployment.apps/v1 shop/web with labels tier=web`, as far as it is given.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or("any kind"))?;
        match (self.group.as_deref().filter(|group| !group.is_empty()), &self.version) {
            (Some(group), Some(version)) => write!(f, ".{group}/{version}")?,
            (Some(group), None) => write!(f, ".{group}")?,
            (None, Some(version)) => write!(f, " {version}")?,
            (None, None) => {}
        }
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, " {namespace}/{name}")?,
            (Some(namespace), None) => write!(f, " in namespace {namespace}")?,
            (None, Some(name)) => write!(f, " {name}")?,
            (None, None) => {}
        }
        for (selector, what) in [(&self.label_selector, "labels"), (&self.annotation_selector, "annotations")]
        {
            if let Some(selector) = selector {
                write!(f, " with {what} {selector}")?;
            }
        }
        Ok(())
    }
}
