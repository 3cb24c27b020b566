//! Assignments for tests, from a few words.
//!
//! In: app names and objects. Out: everything that a round needs. Never: leaves the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use nave_placement::assign::{Assignment, Cause, EncodedEntry, Entry, Epoch, Leaving, Options};
use nave_placement::catalog::{CommitId, OnRemove};
use nave_placement::{AppKey, Digest, ObjectKey};
use serde_json::{Value, json};

use crate::apply::{Closed, Desired, Engine, Interrupt, Look, Uninterrupted};
use crate::plan::Step;
use crate::report::Outcome;
use crate::target::Target;

/// An app's key.
pub fn app(name: &str) -> AppKey {
    name.parse().expect("a valid name")
}

/// A ConfigMap in the namespace `default`.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"value": value}})
}

/// Its key.
pub fn config_map_key(name: &str) -> ObjectKey {
    ObjectKey {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: name.into(),
    }
}

/// What one cluster shall run.
#[derive(Clone)]
pub struct Wish {
    /// The assignment.
    pub assignment: Assignment,
    /// Its entries.
    pub entries: BTreeMap<AppKey, Result<Entry, String>>,
    /// Bundles that are here.
    pub bundles: BTreeMap<Digest, Arc<[u8]>>,
}

/// What an app is that says nothing.
pub fn options() -> Options {
    Options {
        namespace: None,
        prune: true,
        on_remove: OnRemove::Delete,
        share: None,
        grant: None,
        formerly: BTreeSet::new(),
        substitute: false,
        treatment: nave_placement::catalog::Treatment::default(),
    }
}

impl Wish {
    /// Nothing.
    pub fn none() -> Self {
        let assignment = Assignment::none(Epoch(1));
        Self { assignment, entries: BTreeMap::new(), bundles: BTreeMap::new() }
    }

    /// An app with these objects, and a hundred approved drops.
    pub fn app(mut self, name: &str, objects: &[Value]) -> Self {
        let lines: Vec<_> = objects.iter().map(Value::to_string).collect();
        let bytes: Arc<[u8]> = lines.join("\n").into_bytes().into();
        let bundle = Digest::of(&bytes);
        self.bundles.insert(bundle, bytes);
        let options = options();
        let entry = Entry {
            bundle,
            values: BTreeMap::new(),
            options,
            version: bundle,
            commit: CommitId("c".into()),
            objects: u32::try_from(objects.len()).expect("few"),
            drops: 100,
            drops_cause: None,
            drops_of: None,
            at_once: false,
            source_at: None,
        };
        self.assignment.entries.insert(app(name), EncodedEntry::new(bundle.0.to_vec()));
        self.entries.insert(app(name), Ok(entry));
        self
    }

    /// Changes an entry.
    pub fn change(mut self, name: &str, change: impl FnOnce(&mut Entry)) -> Self {
        let entry = self.entries.get_mut(&app(name)).and_then(|entry| entry.as_mut().ok());
        let entry = entry.expect("an entry");
        change(entry);
        let encoded = EncodedEntry::new(format!("{entry:?}").into_bytes());
        self.assignment.entries.insert(app(name), encoded);
        self
    }

    /// An app that leaves, with a hundred approved deletions.
    pub fn leaving(mut self, name: &str, policy: OnRemove) -> Self {
        let leaving = Leaving { policy, cause: Cause::Labels, objects: 100, drops_of: None };
        self.assignment.leaving.insert(app(name), leaving);
        self
    }

    /// One round on a target.
    pub async fn reconcile(&self, target: &dyn Target) -> Outcome {
        self.interrupted(target, &Uninterrupted).await
    }

    /// One round that may be broken off.
    pub async fn interrupted(&self, target: &dyn Target, interrupt: &dyn Interrupt) -> Outcome {
        self.round(&mut Engine::default(), target, Look::Everything, interrupt).await
    }

    /// One round of an engine that may know something already.
    pub async fn round(
        &self,
        engine: &mut Engine,
        target: &dyn Target,
        look: Look<'_>,
        interrupt: &dyn Interrupt,
    ) -> Outcome {
        let bundles = |digest: &Digest| self.bundles.get(digest).cloned();
        let (assignment, entries) = (&self.assignment, &self.entries);
        let desired = Desired { assignment, entries, bundles: &bundles, secrets: &Closed };
        engine.round(target, &desired, look, interrupt).await
    }

    /// Every object that an entry claims.
    pub fn claimed(&self) -> BTreeSet<ObjectKey> {
        let bundles = self.entries.values().flatten().map(|entry| &self.bundles[&entry.bundle]);
        let read = |bytes: &Arc<[u8]>| nave_placement::render::Bundle::read(bytes.to_vec()).expect("ours");
        bundles.flat_map(|bytes| (*read(bytes).objects).clone()).collect()
    }
}

/// Breaks a round off after so many writes, once.
pub struct After(AtomicI64);

impl After {
    /// After `writes` writes.
    pub fn writes(writes: i64) -> Self {
        Self(AtomicI64::new(writes))
    }
}

impl Interrupt for After {
    fn before(&self, _: &AppKey, _: &Step) -> ControlFlow<()> {
        if self.0.fetch_sub(1, Ordering::Relaxed) == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
