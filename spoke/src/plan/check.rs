//! Check: whether a plan breaks a promise, told without the planner's code.
//!
//! In: what a plan was made from, and the plan. Out: every [`Violation`]. The executor runs no plan that has one.
//! Never: mends a plan.

use std::cell::LazyCell;
use std::collections::BTreeSet;

use nave_placement::assign::Entry;
use nave_placement::catalog::{Adopt, Mode, OnImmutable};
use nave_placement::render::Resolved;
use nave_placement::{AppKey, Fingerprints, ObjectKey};

use super::{AppPlan, Input, Plan, Step};
use crate::target::{Contact, Seen, Write};

/// A promise that a plan would break.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It would take away an object that an entry wants.
    #[error("{app} would remove {key}, which an entry of the assignment wants")]
    RemovesClaimed {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would take something away while it is not known what is wanted.
    #[error("{app} would remove {key} although the claims of an entry are unknown")]
    RemovesBlindly {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would delete more than was approved.
    #[error("{app} would delete {would} objects, {approved} are approved")]
    DeletesTooMany {
        /// Whose plan.
        app: AppKey,
        /// So many.
        would: usize,
        /// So many are allowed.
        approved: u32,
    },
    /// It would delete something else than what was approved by name.
    #[error("{app} would delete {key}, which is none of those that were approved")]
    DeletesUnnamed {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would take away something that no inventory has.
    #[error("{app} would remove {key}, which is in no inventory of its own")]
    RemovesUnlisted {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would write an object that no inventory would remember.
    #[error("{app} would write {key} before its inventory names it")]
    WritesUnlisted {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would write for an app that only observes.
    #[error("{app} only observes, and would write")]
    WritesObserved {
        /// Whose plan.
        app: AppKey,
    },
    /// It would take over what must not be taken over.
    #[error("{app} would adopt {key}, which `adopt: Never` forbids")]
    AdoptsForbidden {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would write an object that is left to others as a whole.
    #[error("{app} would write {key}, all of which is ignored once it is there")]
    WritesIgnored {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would delete an object in order to change it, and must not.
    #[error("{app} would make {key} anew, which its kind or `onImmutable` forbids")]
    RecreatesForbidden {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would delete an object whose manifest, or whose kind, says that it stays.
    #[error("{app} would delete {key}, which stays")]
    DeletesKept {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
    /// It would delete what others have something in.
    #[error("{app} would delete {key}, and with it {inner}")]
    DeletesWithin {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
        /// What would go with it.
        inner: ObjectKey,
    },
    /// It would write without having looked, or take what is not ours.
    #[error("{app} would write {key} over what it did not see as ours")]
    WritesBlindly {
        /// Whose plan.
        app: AppKey,
        /// Which object.
        key: ObjectKey,
    },
}

impl Violation {
    /// Whose plan it is.
    pub fn app(&self) -> &AppKey {
        match self {
            Self::RemovesClaimed { app, .. }
            | Self::RemovesBlindly { app, .. }
            | Self::DeletesTooMany { app, .. }
            | Self::DeletesUnnamed { app, .. }
            | Self::RemovesUnlisted { app, .. }
            | Self::WritesUnlisted { app, .. }
            | Self::WritesObserved { app }
            | Self::AdoptsForbidden { app, .. }
            | Self::WritesIgnored { app, .. }
            | Self::RecreatesForbidden { app, .. }
            | Self::DeletesKept { app, .. }
            | Self::DeletesWithin { app, .. }
            | Self::WritesBlindly { app, .. } => app,
        }
    }
}

/// Every promise that a plan would break.
pub fn check(input: &Input<'_>, plan: &Plan) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (app, steps) in &plan.apps {
        removals(input, app, steps, &mut violations);
        writes(input, app, steps, &mut violations);
        observes(input, app, steps, &mut violations);
    }
    violations
}

fn removals(input: &Input<'_>, app: &AppKey, plan: &AppPlan, violations: &mut Vec<Violation>) {
    // Looked up only for who removes something: each app of a round is checked, and most remove nothing.
    let blind = LazyCell::new(|| input.index.values().any(|claimed| claimed.objects.is_none()));
    for step in &plan.settle {
        let (Step::Prune { of, key } | Step::Orphan { of, key }) = step else {
            continue;
        };
        if wants(input, key) {
            violations.push(Violation::RemovesClaimed { app: app.clone(), key: key.clone() });
        }
        if *blind {
            violations.push(Violation::RemovesBlindly { app: app.clone(), key: key.clone() });
        }
        if let Step::Prune { .. } = step
            && stays(input, of, key)
        {
            violations.push(Violation::DeletesKept { app: app.clone(), key: key.clone() });
        }
        if let Step::Prune { .. } = step
            && let Some(inner) = goes_with(input, of, key)
        {
            violations.push(Violation::DeletesWithin { app: app.clone(), key: key.clone(), inner });
        }
        if !input.inventories.get(of).is_some_and(|inventory| inventory.objects.contains(key)) {
            violations.push(Violation::RemovesUnlisted { app: app.clone(), key: key.clone() });
        }
    }
    let (approved, only) = match (input.wanted.get(app), input.leaving.get(app)) {
        (Some(Ok(wanted)), _) => (wanted.entry.drops, wanted.entry.drops_of.as_ref()),
        (None, Some(leaving)) => (leaving.objects, leaving.drops_of.as_ref()),
        _ => (0, None),
    };
    let mut would = 0;
    for step in &plan.settle {
        let Step::Prune { of, key } = step else { continue };
        would += 1;
        if only.is_some_and(|only| !Fingerprints::of([(of, key)]).is_subset(only)) {
            violations.push(Violation::DeletesUnnamed { app: app.clone(), key: key.clone() });
        }
    }
    if would > approved as usize {
        violations.push(Violation::DeletesTooMany { app: app.clone(), would, approved });
    }
}

/// Whether any entry wants the object, wherever its namespace is not known yet.
fn wants(input: &Input<'_>, key: &ObjectKey) -> bool {
    let same_but_namespace = |k: &ObjectKey| k.group == key.group && k.kind == key.kind && k.name == key.name;
    let claimed = input.index.values().flat_map(|claimed| claimed.objects.iter().flatten());
    claimed.into_iter().any(|o| o.key == *key || (!o.served && same_but_namespace(&o.key)))
}

/// What an entry wants, or another app has, that would be deleted together with an object.
fn goes_with(input: &Input<'_>, of: &AppKey, key: &ObjectKey) -> Option<ObjectKey> {
    let is_within: Box<dyn Fn(&&ObjectKey) -> bool> = match &*key.kind {
        "Namespace" if key.group.is_empty() => Box::new(|other| other.namespace == key.name),
        "CustomResourceDefinition" if key.group == "apiextensions.k8s.io" => {
            Box::new(|other| !other.group.is_empty() && key.name.ends_with(&format!(".{}", other.group)))
        }
        _ => return None,
    };
    let wanted = input.index.values().flat_map(|claimed| claimed.objects.iter().flatten()).map(|o| &o.key);
    let others = input.inventories.iter().filter(|(app, _)| *app != of);
    wanted.chain(others.flat_map(|(_, inventory)| &inventory.objects)).find(is_within).cloned()
}

fn writes(input: &Input<'_>, app: &AppKey, plan: &AppPlan, violations: &mut Vec<Violation>) {
    let mut listed: BTreeSet<&ObjectKey> =
        input.inventories.get(app).map(|inventory| inventory.objects.iter().collect()).unwrap_or_default();
    for step in &plan.raise {
        match step {
            Step::Widen(inventory) => listed.extend(&inventory.objects),
            Step::Apply { object, how } => {
                let key = &object.key;
                if !listed.contains(key) {
                    violations.push(Violation::WritesUnlisted { app: app.clone(), key: key.clone() });
                }
                let seen = input.seen.get(app).and_then(|seen| seen.get(key));
                let may = match (seen, how.contact) {
                    (Some(Ok(Seen::Ours { .. })), Contact::Ours) => true,
                    (Some(Ok(Seen::Absent)), Contact::Absent)
                    | (Some(Ok(Seen::Foreign(_))), Contact::Foreign) => !how.take && !how.recreate,
                    _ => false,
                };
                if !may {
                    violations.push(Violation::WritesBlindly { app: app.clone(), key: key.clone() });
                }
                terms(input, app, object, *how, violations);
            }
            _ => {}
        }
    }
}

/// An app that observes has no steps at all.
fn observes(input: &Input<'_>, app: &AppKey, plan: &AppPlan, violations: &mut Vec<Violation>) {
    let observed = |entry: &Entry| entry.options.treatment.mode == Mode::Observe;
    let is_observed = matches!(input.wanted.get(app), Some(Ok(wanted)) if observed(&wanted.entry));
    if is_observed && !(plan.raise.is_empty() && plan.settle.is_empty()) {
        violations.push(Violation::WritesObserved { app: app.clone() });
    }
}

/// What the app's options, and the object's own annotations, forbid; read from where they stand.
fn terms(input: &Input<'_>, app: &AppKey, object: &Resolved, how: Write, violations: &mut Vec<Violation>) {
    let Some(Ok(wanted)) = input.wanted.get(app) else { return };
    let treatment = &wanted.entry.options.treatment;
    let said = |name: &str| object.object.pointer(&format!("/metadata/annotations/nave.dev~1{name}"));
    let (app, key) = (app.clone(), object.key.clone());
    let never = said("adopt").map_or(treatment.adopt == Adopt::Never, |said| said == "Never");
    if how.contact == Contact::Foreign && never {
        violations.push(Violation::AdoptsForbidden { app: app.clone(), key: key.clone() });
    }
    let is_left = said("ignore").is_some_and(|said| said == "*" || said == "true");
    let of_this_app = input.seen.get(&app).and_then(|seen| seen.get(&key));
    let as_wanted = matches!(of_this_app, Some(Ok(Seen::Ours { differs: false, .. } | Seen::Foreign(_))));
    let is_listed = input.inventories.get(&app).is_some_and(|inventory| inventory.objects.contains(&key));
    if is_left && as_wanted && (is_listed || how.contact == Contact::Foreign) {
        violations.push(Violation::WritesIgnored { app: app.clone(), key: key.clone() });
    }
    let is_container = ["Namespace", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition"];
    let is_run = said_of_hooks(object) && matches!((&*key.group, &*key.kind), ("batch", "Job") | ("", "Pod"));
    if how.anew && !is_run {
        violations.push(Violation::RecreatesForbidden { app: app.clone(), key: key.clone() });
    }
    if how.recreate && (treatment.on_immutable != OnImmutable::Recreate || is_container.contains(&&*key.kind))
    {
        violations.push(Violation::RecreatesForbidden { app, key });
    }
}

/// Whether an object says that it is a hook.
fn said_of_hooks(object: &Resolved) -> bool {
    object.object.pointer("/metadata/annotations/helm.sh~1hook").is_some()
}

/// Whether an object is said to stay where others are deleted.
fn stays(input: &Input<'_>, of: &AppKey, key: &ObjectKey) -> bool {
    let Some(inventory) = input.inventories.get(of) else { return false };
    let container = match key.group.as_str() {
        "" => matches!(&*key.kind, "Namespace" | "PersistentVolume" | "PersistentVolumeClaim"),
        group => group == "apiextensions.k8s.io",
    };
    inventory.kept.contains(key) || (container && !inventory.expendable.contains(key))
}
