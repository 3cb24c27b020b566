//! Rounds: a spoke's enforcement on a target, round by round, without a hub and without a process.
//!
//! In: apps and their objects. Out: what a round came to. Never: decides; this is `nave_spoke::apply`, with its arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use nave_placement::assign::{Assignment, EncodedEntry, Entry, Epoch, Options};
use nave_placement::catalog::{CommitId, OnRemove, Treatment};
use nave_placement::report::EntryReport;
use nave_placement::{AppKey, Digest};
use nave_spoke::apply::{Closed, Desired, Uninterrupted, reconcile};
use nave_spoke::report::Outcome;
use nave_spoke::target::Target;
use nave_spoke::target::kube::{self, KubeTarget};
use serde_json::{Value, json};

/// What a cluster shall run.
#[derive(Clone)]
pub struct Wish {
    assignment: Assignment,
    entries: BTreeMap<AppKey, Result<Entry, String>>,
    bundles: BTreeMap<Digest, Arc<[u8]>>,
}

impl Wish {
    /// Nothing.
    pub fn none() -> Self {
        Self { assignment: Assignment::none(Epoch(1)), entries: BTreeMap::new(), bundles: BTreeMap::new() }
    }

    /// An app with these objects, all of which it may prune.
    pub fn app(mut self, name: &str, objects: &[Value]) -> Self {
        let lines: Vec<_> = objects.iter().map(Value::to_string).collect();
        let bytes: Arc<[u8]> = lines.join("\n").into_bytes().into();
        let bundle = Digest::of(&bytes);
        self.bundles.insert(bundle, bytes);
        let options = Options {
            namespace: None,
            prune: true,
            on_remove: OnRemove::Delete,
            share: None,
            grant: None,
            formerly: BTreeSet::new(),
            substitute: false,
            treatment: Treatment::default(),
        };
        let entry = Entry {
            bundle,
            values: BTreeMap::new(),
            options,
            version: bundle,
            commit: CommitId("c".into()),
            objects: u32::try_from(objects.len()).expect("few"),
            drops: 1000,
            drops_cause: None,
            drops_of: None,
            at_once: false,
            source_at: None,
        };
        let app: AppKey = name.parse().expect("a valid name");
        self.assignment.entries.insert(app.clone(), EncodedEntry::new(bundle.0.to_vec()));
        self.entries.insert(app, Ok(entry));
        self
    }

    /// One round, and what came of it.
    pub async fn round(&self, target: &dyn Target) -> Outcome {
        let bundles = |digest: &Digest| self.bundles.get(digest).cloned();
        let (assignment, entries) = (&self.assignment, &self.entries);
        let desired = Desired { assignment, entries, bundles: &bundles, secrets: &Closed };
        reconcile(target, &desired, &Uninterrupted).await
    }
}

/// What a round says of an app.
pub fn entry<'a>(outcome: &'a Outcome, app: &str) -> &'a EntryReport {
    &outcome.apps[&app.parse::<AppKey>().expect("a valid name")]
}

/// A target of a kubeconfig.
pub async fn target(kubeconfig: &Path) -> KubeTarget {
    target_with(kubeconfig, kube::Options::default()).await
}

/// A target of a kubeconfig, with other options beside it.
pub async fn target_with(kubeconfig: &Path, options: kube::Options) -> KubeTarget {
    let options = kube::Options { kubeconfig: Some(kubeconfig.to_owned()), ..options };
    KubeTarget::connect(options).await.unwrap()
}

/// A ConfigMap in a namespace.
pub fn config_map(namespace: &str, name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"value": value}})
}
