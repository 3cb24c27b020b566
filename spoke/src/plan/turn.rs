//! Turn: when in an app's change an object is written, after its kind and what hooks say.
//!
//! In: an object, the app's inventory. Out: its [`Turn`], and which hooks have none ([`Hooks::is_over`]).
//! Never: gives a hook a turn that is known to have run for the version, or while that is not known.

use std::collections::BTreeMap;

use nave_placement::catalog::Mode;
use nave_placement::render::{Resolved, Side, Timing};
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;

use super::{Observed, Rank, Wanted, rank};
use crate::target::{Found, Health, Inventory, Seen, TargetError};

/// Of which version a hook ran last.
pub const RUN: &str = "nave.dev/run";

/// A part of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// What everything stands in.
    Ground,
    /// Hooks before all others.
    Before,
    /// All others.
    Main,
    /// Hooks after them.
    After,
}

/// When an object is written: those of one turn at once, a hook that runs alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    part: Part,
    weight: i64,
    rank: Rank,
    run: Option<ObjectKey>,
}

impl Turn {
    /// Of an object, in an upgrade or a first installation.
    pub fn of(object: &Resolved, is_upgrade: bool) -> Self {
        let rank = rank(&object.key);
        let timing = Timing::of(&object.object);
        let part = match timing.and_then(|timing| timing.side(is_upgrade)) {
            None if rank <= Rank::Definition => Part::Ground,
            None => Part::Main,
            Some(Side::Before) => Part::Before,
            Some(Side::After) => Part::After,
        };
        let run = timing.filter(|timing| timing.runs).map(|_| object.key.clone());
        Self { part, weight: timing.map_or(0, |timing| timing.weight), rank, run }
    }

    /// Whether what comes later waits until its object has run to its end.
    pub fn runs(&self) -> bool {
        self.run.is_some()
    }
}

/// Whether an object is a hook that runs.
pub fn runs(object: &Resolved) -> bool {
    Timing::of(&object.object).is_some_and(|timing| timing.runs)
}

/// The version that a hook was made for.
pub fn made_for(live: &Value) -> Option<Box<str>> {
    live.pointer("/metadata/annotations")?.get(RUN)?.as_str().map(Into::into)
}

/// The hooks of an app, and what is known of its past.
#[derive(Clone, Copy)]
pub struct Hooks<'a> {
    wanted: &'a Wanted,
    inventory: Option<&'a Inventory>,
    /// The app was here before, perhaps under a former name, or by other hands: what comes is an upgrade.
    pub is_upgrade: bool,
}

impl<'a> Hooks<'a> {
    /// Of an app, as it was seen.
    pub fn of(
        inventories: &'a BTreeMap<AppKey, Inventory>,
        app: &AppKey,
        wanted: &'a Wanted,
        seen: Option<&Observed>,
    ) -> Self {
        let names = std::iter::once(app).chain(&wanted.entry.options.formerly);
        let was_installed = names.filter_map(|name| inventories.get(name)).any(Inventory::was_installed);
        let is_theirs = |(key, seen): (&ObjectKey, &Result<Seen, TargetError>)| {
            key.kind != "Namespace"
                && matches!(seen, Ok(Seen::Foreign(foreign)) if !foreign.managers.is_empty())
        };
        let is_adopted = || seen.is_some_and(|seen| seen.iter().any(is_theirs));
        Self { wanted, inventory: inventories.get(app), is_upgrade: was_installed || is_adopted() }
    }

    /// Whether it is not known what ran here.
    pub fn is_in_doubt(&self) -> bool {
        self.inventory.is_some_and(|inventory| inventory.partial)
    }

    /// Whether a hook has no turn (any more): it has run, or this is none of its occasions.
    pub fn is_over(&self, object: &Resolved) -> bool {
        let Some(timing) = Timing::of(&object.object).filter(|timing| timing.runs) else { return false };
        let entry = &self.wanted.entry;
        let version = Some(entry.version);
        let is_complete = self.inventory.is_some_and(|inventory| inventory.version == version);
        let ran = self.inventory.and_then(|inventory| inventory.ran.get(&object.key).copied());
        // What an installation needs once it has; what returns to an earlier version goes back, and is no upgrade.
        let had_its_once = ran.is_some() && timing.side(true).is_none();
        let returns = entry.at_once && self.is_upgrade;
        let observes = entry.options.treatment.mode == Mode::Observe;
        let has_side = timing.side(self.is_upgrade).is_some();
        is_complete || ran == version || had_its_once || returns || observes || !has_side
    }

    /// Takes for well what has no turn, whatever became of it.
    pub fn pass_over(&self, seen: &mut Observed) {
        for object in self.wanted.objects.iter().filter(|object| self.is_over(object)) {
            let (health, found) = (Health::healthy(), Found::default());
            let done = Seen::Ours { differs: false, drifted: false, health, found };
            seen.insert(object.key.clone(), Ok(done));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(kind: &str, hook: Option<&str>, weight: i64) -> Resolved {
        let (group, version) = match kind {
            "Job" => ("batch", "batch/v1"),
            "Deployment" => ("apps", "apps/v1"),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", "apiextensions.k8s.io/v1"),
            _ => ("", "v1"),
        };
        let name = format!("{}{weight}", hook.unwrap_or("plain"));
        let key = ObjectKey { group: group.into(), kind: kind.into(), namespace: "d".into(), name };
        let annotations: Value = match hook {
            Some(hook) => json!({"helm.sh/hook": hook, "helm.sh/hook-weight": weight.to_string()}),
            None => json!({}),
        };
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"annotations": annotations}});
        Resolved { key, object: object.into(), served: true, sealed: None }
    }

    #[test]
    fn hooks_come_by_weight_around_all_others_and_each_that_runs_alone() {
        let in_order = [
            resolved("Namespace", None, 0),
            resolved("CustomResourceDefinition", None, 0),
            resolved("ServiceAccount", Some("pre-install,pre-upgrade"), -5),
            resolved("Job", Some("pre-install,pre-upgrade"), -5),
            resolved("Secret", Some("pre-install,pre-upgrade"), 0),
            resolved("Job", Some("pre-install,pre-upgrade"), 0),
            resolved("Secret", None, 0),
            resolved("Deployment", None, 0),
            resolved("Job", Some("post-install,post-upgrade"), -1),
            resolved("Job", Some("post-install,post-upgrade"), 1),
        ];
        for is_upgrade in [false, true] {
            let turns: Vec<_> = in_order.iter().map(|object| Turn::of(object, is_upgrade)).collect();
            assert!(turns.windows(2).all(|two| two[0] < two[1]), "{turns:#?}");
        }
        let twins = [resolved("Pod", Some("pre-install"), 0), resolved("Job", Some("pre-install"), 0)];
        assert_ne!(Turn::of(&twins[0], false), Turn::of(&twins[1], false));
    }
}
