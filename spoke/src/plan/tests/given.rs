//! What a plan is made from, in a few words, and what comes of it, in lines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Cause, Entry, Leaving, Options};
use nave_placement::catalog::{CommitId, OnRemove, Treatment};
use nave_placement::render::Resolved;
use nave_placement::{AppKey, Digest, Fingerprints, ObjectKey};

use crate::plan::{Claimed, Input, Observed, Plan, Step, Unresolved, Wanted, check, plan};
use crate::report::Reason;
use crate::target::{Contact, Found, Health, HealthState, Inventory, Seen, TargetError};

pub(super) fn app(name: &str) -> AppKey {
    name.parse().expect("a valid name")
}

/// `Kind[.group]/name`; whatever is not `Cluster…`, a namespace or a CRD is in namespace `d`.
pub(super) fn key(text: &str) -> ObjectKey {
    let (kind, name) = text.split_once('/').expect("kind/name");
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let cluster = kind.starts_with("Cluster") || ["Namespace", "CustomResourceDefinition"].contains(&kind);
    let namespace = if cluster { "" } else { "d" };
    ObjectKey { group: group.into(), kind: kind.into(), namespace: namespace.into(), name: name.into() }
}

pub(super) fn text(key: &ObjectKey) -> String {
    let dot = if key.group.is_empty() { "" } else { "." };
    format!("{}{dot}{}/{}", key.kind, key.group, key.name)
}

pub(super) fn entry(version: &str) -> Entry {
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
    Entry {
        bundle: Digest::of(version.as_bytes()),
        values: BTreeMap::new(),
        options,
        version: Digest::of(version.as_bytes()),
        commit: CommitId("c".into()),
        objects: 0,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    }
}

pub(super) const OURS: Seen = Seen::Ours { differs: false, drifted: false, health: HEALTHY, found: NOTHING };
pub(super) const DIFFERS: Seen =
    Seen::Ours { differs: true, drifted: false, health: HEALTHY, found: NOTHING };
pub(super) const DRIFTED: Seen = Seen::Ours { differs: true, drifted: true, health: HEALTHY, found: NOTHING };
pub(super) const FOUGHT: Seen = Seen::Ours {
    differs: true,
    drifted: true,
    health: HEALTHY,
    found: Found {
        changes: Vec::new(),
        fought: true,
        yielded: Vec::new(),
        mutated: Vec::new(),
        adopted: None,
        run: None,
    },
};
const NOTHING: Found = Found {
    changes: Vec::new(),
    fought: false,
    yielded: Vec::new(),
    mutated: Vec::new(),
    adopted: None,
    run: None,
};

pub(super) const HEALTHY: Health =
    Health { state: HealthState::Healthy, reason: String::new(), message: String::new() };

/// What a plan is made from. What is in an inventory is seen as ours and unchanged, the rest as absent.
#[derive(Default)]
pub(super) struct Given {
    pub(super) wanted: BTreeMap<AppKey, Result<Wanted, Unresolved>>,
    leaving: BTreeMap<AppKey, Leaving>,
    pub(super) inventories: BTreeMap<AppKey, Inventory>,
    seen: BTreeMap<ObjectKey, Result<Seen, TargetError>>,
}

impl Given {
    pub(super) fn wants(mut self, name: &str, objects: &[&str]) -> Self {
        let resolved = |object: &&str| Resolved {
            key: key(object),
            object: Arc::new((*object).into()),
            served: true,
            sealed: None,
        };
        let objects = objects.iter().map(resolved).collect();
        self.wanted.insert(app(name), Ok(Wanted { entry: entry("new"), objects }));
        self
    }

    pub(super) fn unresolved(mut self, name: &str) -> Self {
        let reason = Box::new(Reason::BundleMissing { bundle: Digest::default() });
        self.wanted
            .insert(app(name), Err(Unresolved { entry: Some(Box::new(entry("new"))), reason, claims: None }));
        self
    }

    pub(super) fn change(mut self, name: &str, change: impl FnOnce(&mut Wanted)) -> Self {
        let wanted = self.wanted.get_mut(&app(name)).and_then(|wanted| wanted.as_mut().ok());
        change(wanted.expect("an entry"));
        self
    }

    pub(super) fn drops(self, name: &str, drops: u32) -> Self {
        self.change(name, |wanted| wanted.entry.drops = drops)
    }

    pub(super) fn formerly(self, name: &str, former: &str) -> Self {
        self.change(name, |wanted| {
            wanted.entry.options.formerly.insert(app(former));
        })
    }

    pub(super) fn leaves(mut self, name: &str, policy: OnRemove, objects: u32) -> Self {
        self.leaving.insert(app(name), Leaving { policy, cause: Cause::Labels, objects, drops_of: None });
        self
    }

    pub(super) fn only(mut self, name: &str, prints: &Fingerprints) -> Self {
        let leaving = self.leaving.get_mut(&app(name)).expect("it leaves");
        leaving.drops_of = Some(prints.clone());
        self
    }

    pub(super) fn has(mut self, name: &str, objects: &[&str]) -> Self {
        let objects = objects.iter().map(|object| key(object)).collect();
        self.inventories.insert(
            app(name),
            Inventory { objects, version: Some(Digest::of(b"old")), ..Inventory::default() },
        );
        self
    }

    pub(super) fn seen(mut self, object: &str, seen: Seen) -> Self {
        self.seen.insert(key(object), Ok(seen));
        self
    }

    pub(super) fn unseen(mut self, object: &str) -> Self {
        self.seen.insert(key(object), Err(TargetError::Unreachable("time-out".into())));
        self
    }

    pub(super) fn plan(&self) -> Plan {
        let held: BTreeSet<_> = self.inventories.values().flat_map(|i| &i.objects).collect();
        let look = |key: &ObjectKey| {
            let default = if held.contains(key) { OURS } else { Seen::Absent };
            self.seen.get(key).cloned().unwrap_or(Ok(default))
        };
        let observed = |wanted: &Wanted| -> Observed {
            let served = wanted.objects.iter().filter(|object| object.served);
            served.map(|object| (object.key.clone(), look(&object.key))).collect()
        };
        let seen = self.wanted.iter().filter_map(|(app, w)| Some((app.clone(), observed(w.as_ref().ok()?))));
        let seen = seen.collect();
        let index = self.wanted.iter().map(|(app, wanted)| (app.clone(), Claimed::of(wanted))).collect();
        let input = Input {
            wanted: &self.wanted,
            index: &index,
            leaving: &self.leaving,
            inventories: &self.inventories,
            seen: &seen,
        };
        let plan = plan(&input);
        assert_eq!(check(&input, &plan), [], "the checker objects to {plan:#?}");
        plan
    }

    /// The steps of an app, one line each.
    #[track_caller]
    pub(super) fn check(&self, name: &str, expected: &[&str]) {
        let steps = self.plan().apps.remove(&app(name)).unwrap_or_default();
        let lines: Vec<_> = steps.raise.iter().chain(&steps.settle).map(line).collect();
        assert_eq!(lines, expected, "{name}, blocked by {:?}", steps.blocked);
    }

    pub(super) fn blocked(&self, name: &str) -> Vec<Reason> {
        self.plan().apps.remove(&app(name)).unwrap_or_default().blocked
    }
}

/// The fingerprints of objects, each with its app.
pub(super) fn prints(objects: &[(&str, &str)]) -> Fingerprints {
    let objects: Vec<_> = objects.iter().map(|(of, object)| (app(of), key(object))).collect();
    Fingerprints::of(objects.iter().map(|(app, key)| (app, key)))
}

/// What is said of objects that may not be deleted.
pub(super) fn refused(approved: u32, objects: &[(&str, &str)]) -> Reason {
    let first = objects.iter().map(|(_, object)| key(object)).collect();
    Reason::PruneRefused { would: objects.len() as u64, approved, prints: prints(objects), first }
}

pub(super) fn line(step: &Step) -> String {
    match step {
        Step::Widen(i) => {
            format!("widen to {}", i.objects.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        Step::Apply { object, how } => {
            let verb = match how.contact {
                Contact::Absent => "apply",
                Contact::Foreign => "adopt",
                Contact::Ours => "take",
            };
            let flags = [(how.corrects, ", drifted"), (how.recreate, ", or make it anew")];
            let flags = flags.iter().filter(|(set, _)| *set).map(|(_, words)| *words);
            format!("{verb} {}{}", text(&object.key), flags.collect::<String>())
        }
        Step::HandOver { of, key, to } => format!("hand {} of {of} over to {to}", text(key)),
        Step::Prune { of, key } => format!("prune {} of {of}", text(key)),
        Step::Orphan { of, key } => format!("orphan {} of {of}", text(key)),
        Step::Narrow { of, complete } => {
            format!("narrow {of}{}", if complete.is_some() { ", complete" } else { "" })
        }
        Step::Forget { of } => format!("forget {of}"),
    }
}
