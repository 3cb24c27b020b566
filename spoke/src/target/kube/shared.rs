//! Shared: what the target's calls and its watchers have in common.
//!
//! In: the way to the API server. Out: what is known of kinds, whose marks are ours, the counter of changes.
//! Never: decides.

use std::sync::{Arc, PoisonError, RwLock};

use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use serde_json::Value;
use tokio::sync::watch;

use super::autoscale::Autoscaled;
use super::kinds::Kinds;
use super::marks::Marks;
use super::notes::Notes;
use super::pause::PausedApps;
use super::problem::Problem;
use super::search::Searched;
use super::wire::Wire;
use crate::target::TargetError;

pub(super) struct Shared {
    pub wire: Wire,
    pub marks: Marks,
    pub notes: Notes,
    /// Apps that are paused on the spot.
    pub paused: PausedApps,
    /// The namespaces that it may look at; all, when empty.
    pub namespaces: Vec<String>,
    pub scaled: Autoscaled,
    pub searched: Searched,
    /// Counts what may have changed.
    pub changed: watch::Sender<u64>,
    /// Counts discoveries that found something new, for those who wait for a kind.
    pub discovered: watch::Sender<u64>,
    kinds: RwLock<Arc<Kinds>>,
}

impl Shared {
    pub fn new(wire: Wire, marks: Marks, kinds: Kinds, namespaces: Vec<String>) -> Self {
        let kinds = RwLock::new(Arc::new(kinds));
        let (changed, discovered) = (watch::Sender::new(0), watch::Sender::new(0));
        Self {
            wire,
            marks,
            notes: Notes::default(),
            paused: PausedApps::default(),
            namespaces,
            scaled: Autoscaled::default(),
            searched: Searched::default(),
            changed,
            discovered,
            kinds,
        }
    }

    /// What is served, as far as known.
    pub fn kinds(&self) -> Arc<Kinds> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn know(&self, kinds: Kinds) {
        let mut known = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if **known != kinds {
            *known = Arc::new(kinds);
            drop(known);
            self.discovered.send_modify(|n| *n += 1);
        }
    }

    /// Learns again what is served.
    pub async fn discover(&self) -> Result<(), Problem> {
        let kinds = self.kinds().ask(&self.wire).await?;
        self.know(kinds);
        Ok(())
    }

    /// Learns again what one group serves.
    pub async fn discover_group(&self, group: &str) -> Result<(), Problem> {
        let kinds = self.kinds().ask_one(&self.wire, group).await?;
        self.know(kinds);
        Ok(())
    }

    /// The kind of an object, in the object's own version.
    pub fn resource_of(&self, key: &ObjectKey, object: &Value) -> Result<ApiResource, TargetError> {
        let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let found = self.kinds().exactly(version, &key.kind);
        found.ok_or_else(|| {
            TargetError::NotServed(format!("{version} {} is not served by this cluster", key.kind))
        })
    }

    /// The kind of an object whose version is not known. `None`: asked just now, the cluster does not serve the kind.
    pub async fn resource_now(&self, key: &ObjectKey) -> Result<Option<ApiResource>, Problem> {
        if let Some(known) = self.kinds().preferred(&key.group, &key.kind) {
            return Ok(Some(known));
        }
        self.discover_group(&key.group).await?;
        Ok(self.kinds().preferred(&key.group, &key.kind))
    }

    /// Refuses what no app may touch: the spoke's own namespace and what is in it.
    pub fn permitted(&self, key: &ObjectKey) -> Result<(), TargetError> {
        let own = &self.marks.namespace;
        let is_namespace = key.group.is_empty() && key.kind == "Namespace" && key.name == *own;
        if is_namespace || key.namespace == *own {
            return Err(TargetError::Refused(format!(
                "{key}: no app may touch the spoke's own namespace {own:?}"
            )));
        }
        Ok(())
    }

    /// The namespaces to look at; `""` stands for all.
    pub fn everywhere(&self) -> Vec<&str> {
        match self.namespaces.as_slice() {
            [] => vec![""],
            some => some.iter().map(String::as_str).collect(),
        }
    }

    /// Something may have changed.
    pub fn bump(&self) {
        self.changed.send_modify(|n| *n += 1);
    }
}

/// The text at a JSON pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
