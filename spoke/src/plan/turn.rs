//! Turn: when in an app's change an object is written, after its kind and what hooks say.
//!
//! In: an object, the app's inventory. Out: its [`Turn`], and which hooks have none left.
//! Never: runs a hook twice for a version that is complete.

use std::collections::BTreeMap;

use nave_placement::catalog::Mode;
use nave_placement::render::{Resolved, Side, Timing};
use nave_placement::{AppKey, ObjectKey};

use super::{Observed, Rank, Wanted, rank};
use crate::target::{Found, Health, Inventory, Seen};

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

/// Whether any version of the app was complete here, also under a former name.
pub fn is_upgrade(inventories: &BTreeMap<AppKey, Inventory>, app: &AppKey, wanted: &Wanted) -> bool {
    let names = std::iter::once(app).chain(&wanted.entry.options.formerly);
    names.filter_map(|name| inventories.get(name)).any(Inventory::was_complete)
}

/// Takes for well what has no turn (any more): hooks that ran for this version, whatever became of them since, and those
/// of another occasion.
pub fn pass_over(
    inventories: &BTreeMap<AppKey, Inventory>,
    app: &AppKey,
    wanted: &Wanted,
    seen: &mut Observed,
) {
    let entry = &wanted.entry;
    let is_complete = inventories.get(app).is_some_and(|inventory| inventory.version == Some(entry.version));
    let is_upgrade = is_upgrade(inventories, app, wanted);
    for object in &wanted.objects {
        let Some(timing) = Timing::of(&object.object).filter(|timing| timing.runs) else { continue };
        let observes = entry.options.treatment.mode == Mode::Observe;
        if is_complete || observes || timing.side(is_upgrade).is_none() {
            let (health, found) = (Health::healthy(), Found::default());
            let done = Seen::Ours { differs: false, drifted: false, health, found };
            seen.insert(object.key.clone(), Ok(done));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
