//! Check: whether a plan breaks a promise, told without the planner's code.
//!
//! In: what a plan was made from, and the plan. Out: every [`Violation`]. The executor runs no plan that has one.
//! Never: mends a plan.

use std::collections::BTreeSet;

use nave_placement::{AppKey, ObjectKey};

use super::{AppPlan, Input, Plan, Step};
use crate::target::Seen;

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
            | Self::RemovesUnlisted { app, .. }
            | Self::WritesUnlisted { app, .. }
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
    }
    violations
}

fn removals(input: &Input<'_>, app: &AppKey, plan: &AppPlan, violations: &mut Vec<Violation>) {
    let blind = input.index.values().any(|claimed| claimed.objects.is_none());
    for step in &plan.settle {
        let (Step::Prune { of, key } | Step::Orphan { of, key }) = step else {
            continue;
        };
        if wants(input, key) {
            violations.push(Violation::RemovesClaimed { app: app.clone(), key: key.clone() });
        }
        if blind {
            violations.push(Violation::RemovesBlindly { app: app.clone(), key: key.clone() });
        }
        if !input.inventories.get(of).is_some_and(|inventory| inventory.objects.contains(key)) {
            violations.push(Violation::RemovesUnlisted { app: app.clone(), key: key.clone() });
        }
    }
    let would = plan.settle.iter().filter(|step| matches!(step, Step::Prune { .. })).count();
    let approved = match (input.wanted.get(app), input.leaving.get(app)) {
        (Some(Ok(wanted)), _) => wanted.entry.drops,
        (None, Some(leaving)) => leaving.objects,
        _ => 0,
    };
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

fn writes(input: &Input<'_>, app: &AppKey, plan: &AppPlan, violations: &mut Vec<Violation>) {
    let mut listed: BTreeSet<&ObjectKey> =
        input.inventories.get(app).map(|inventory| inventory.objects.iter().collect()).unwrap_or_default();
    for step in &plan.raise {
        match step {
            Step::Widen(inventory) => listed.extend(&inventory.objects),
            Step::Apply { object, take, .. } => {
                let key = &object.key;
                if !listed.contains(key) {
                    violations.push(Violation::WritesUnlisted { app: app.clone(), key: key.clone() });
                }
                let seen = input.seen.get(app).and_then(|seen| seen.get(key));
                let may = match seen {
                    Some(Ok(Seen::Ours { .. })) => true,
                    Some(Ok(Seen::Absent | Seen::Foreign)) => !take,
                    Some(Err(_)) | None => false,
                };
                if !may {
                    violations.push(Violation::WritesBlindly { app: app.clone(), key: key.clone() });
                }
            }
            _ => {}
        }
    }
}
