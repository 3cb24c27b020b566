//! Shared: what the target's calls and its watchers have in common.
//!
//! In: the way to the API server. Out: what is known of kinds, whose marks are ours, the counter of changes.
//! Never: decides.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use serde_json::Value;
use tokio::sync::watch;

use super::autoscale::Autoscaled;
use super::facts::Denied;
use super::inventory::Stored;
use super::kinds::Kinds;
use super::marks::Marks;
use super::notes::Notes;
use super::pause::PausedApps;
use super::problem::Problem;
use super::search::Searched;
use super::sightings::Sightings;
use super::wire::Wire;
use crate::target::{Changed, TargetError};

/// Where more objects changed than this at once, all is looked at.
const MANY_CHANGED: usize = 2_000;

/// Where more was listed anew before somebody asked, all is looked at: some 200 bytes an object.
const MANY_LISTED: usize = 50_000;

pub(super) struct Shared {
    pub wire: Wire,
    pub marks: Marks,
    pub notes: Notes,
    pub sightings: Sightings,
    /// Apps that are paused on the spot.
    pub paused: PausedApps,
    /// The namespaces that it may look at; all, when empty.
    pub namespaces: Vec<String>,
    pub scaled: Autoscaled,
    pub searched: Searched,
    /// Counts what may have changed.
    pub changed: watch::Sender<u64>,
    /// What may have, until it is asked for.
    what: Mutex<Pending>,
    pub stored: Stored,
    /// Facts that may not be asked for.
    pub denied: Denied,
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
            sightings: Sightings::default(),
            changed,
            what: Mutex::default(),
            stored: Stored::default(),
            denied: Denied::default(),
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
            // Whoever waits for a kind, or has objects of one that is gone, finds out by comparing.
            self.changed.send_modify(|n| *n += 1);
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
    pub fn tell(&self, what: impl FnOnce(&mut Changed)) {
        let mut pending = self.pending();
        what(&mut pending.changed);
        let listed: usize = pending.changed.relisted.iter().map(|list| list.present.len() + 1).sum();
        if listed > MANY_LISTED {
            *pending = Pending { changed: Changed::anything(), ..Pending::default() };
        }
        drop(pending);
        self.changed.send_modify(|n| *n += 1);
    }

    /// An object was changed, and has this version now; `None`: it is gone.
    pub fn tell_of(&self, key: ObjectKey, version: Option<u64>) {
        self.sightings.happened(&key, version);
        let mut pending = self.pending();
        pending.objects.insert(key, version);
        if pending.objects.len() > MANY_CHANGED {
            *pending = Pending { changed: Changed::anything(), ..Pending::default() };
        }
        drop(pending);
        self.changed.send_modify(|n| *n += 1);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.what.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may have changed since the last call. The event of our own write may come before the answer to it, so that
    /// only now it can be told from others.
    pub fn take_changed(&self) -> Changed {
        let Pending { mut changed, objects } = std::mem::take(&mut *self.pending());
        let is_news = |(key, version): &(ObjectKey, Option<u64>)| {
            version.is_none_or(|version| self.notes.is_news(key, version))
        };
        changed.objects.extend(objects.into_iter().filter(is_news).map(|(key, _)| key));
        changed
    }
}

/// What may have changed, until somebody asks.
#[derive(Default)]
struct Pending {
    changed: Changed,
    objects: HashMap<ObjectKey, Option<u64>>,
}

/// The text at a JSON pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
