//! Settling an app: what it no longer has leaves its inventory, by being handed over, deleted or let be.
//!
//! In: inventories, claims, what was approved. Out: `settle` of a plan, and why something is not removed.
//! Never: removes while anybody's claims are unknown, or a part of what it may not remove whole.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use nave_placement::assign::Leaving;
use nave_placement::catalog::{Mode, OnRemove, Treatment};
use nave_placement::report::MAX_NOTES;
use nave_placement::{AppKey, Fingerprints, ObjectKey};

use super::{AppPlan, Claims, Input, Step, Unresolved, Wanted, is_kept, rank};
use crate::report::Reason;
use crate::target::Inventory;

/// An object that nobody claims.
struct Dropped {
    /// The inventory it stands in.
    of: AppKey,
    key: ObjectKey,
    /// By its kind, by its own word, or for what is in it, it stays where others are deleted.
    outlives: bool,
}

/// What is done with what nobody claims.
struct Removal {
    /// Delete it (or else let it be).
    delete: bool,
    /// Most objects that may be deleted.
    approved: u32,
    /// Which these are, where that was approved by name.
    only: Option<Fingerprints>,
}

/// The second half of an entry's plan. What its former names have is settled with it, under the same approval.
pub(super) fn entry(
    input: &Input<'_>,
    claims: &Claims<'_>,
    app: &AppKey,
    wanted: &Result<Wanted, Unresolved>,
    plan: &mut AppPlan,
) {
    let none = Inventory::default();
    let inventory = input.inventories.get(app).unwrap_or(&none);
    if plan.treatment.mode == Mode::Observe {
        return;
    }
    let mut dropped = hand_over(app, inventory, claims, plan);
    let Ok(wanted) = wanted else {
        plan.settle.push(Step::Narrow { of: app.clone(), complete: None });
        return;
    };
    let taken_over = |of: &&AppKey| claims.successor(of) == Some(app);
    let formerly = wanted.entry.options.formerly.iter().filter(taken_over);
    let former: Vec<_> = formerly.filter_map(|of| Some((of, input.inventories.get(of)?))).collect();
    for (of, inventory) in &former {
        dropped.extend(hand_over(of, inventory, claims, plan));
    }
    if plan.blocked.is_empty() {
        let options = &wanted.entry.options;
        let (approved, only) = (wanted.entry.drops, wanted.entry.drops_of.clone());
        remove(dropped, claims, &Removal { delete: options.prune, approved, only }, plan);
    }
    let complete = plan.blocked.is_empty().then_some(wanted.entry.version);
    plan.settle.push(Step::Narrow { of: app.clone(), complete });
    plan.settle.extend(former.iter().map(|(of, _)| Step::Forget { of: (*of).clone() }));
}

/// The plan of an app that leaves.
pub(super) fn leaving(
    app: &AppKey,
    inventory: &Inventory,
    leaving: &Leaving,
    claims: &Claims<'_>,
) -> AppPlan {
    let treatment = Treatment { service_account: inventory.service_account.clone(), ..Treatment::default() };
    let mut plan = AppPlan { treatment, ..AppPlan::default() };
    let dropped = hand_over(app, inventory, claims, &mut plan);
    let delete = leaving.policy == OnRemove::Delete;
    let removal = Removal { delete, approved: leaving.objects, only: leaving.drops_of.clone() };
    remove(dropped, claims, &removal, &mut plan);
    plan.settle.push(Step::Forget { of: app.clone() });
    plan
}

/// The plan of an app that is merely missing: what others claim is theirs, the rest is not touched.
pub(super) fn unassigned(app: &AppKey, inventory: &Inventory, claims: &Claims<'_>) -> Option<AppPlan> {
    let mut plan = AppPlan::default();
    hand_over(app, inventory, claims, &mut plan);
    let moved = !plan.settle.is_empty();
    plan.settle.push(Step::Forget { of: app.clone() });
    moved.then_some(plan)
}

/// Plans to hand over what another app holds; returns what nobody does.
fn hand_over(of: &AppKey, inventory: &Inventory, claims: &Claims<'_>, plan: &mut AppPlan) -> Vec<Dropped> {
    let mut dropped = Vec::new();
    for key in &inventory.objects {
        match claims.holder(key) {
            Some(to) if to == of => {}
            Some(to) => plan.settle.push(Step::HandOver { of: of.clone(), key: key.clone(), to: to.clone() }),
            None => {
                let kept = is_kept(key) && !inventory.expendable.contains(key);
                let needed = || is_kept(key) && claims.is_needed(of, key);
                let outlives = kept || inventory.kept.contains(key) || needed();
                dropped.push(Dropped { of: of.clone(), key: key.clone(), outlives });
            }
        }
    }
    dropped
}

/// Plans to remove what nobody claims: all of it, or nothing and says why.
fn remove(mut dropped: Vec<Dropped>, claims: &Claims<'_>, removal: &Removal, plan: &mut AppPlan) {
    if dropped.is_empty() {
        return;
    }
    if let Some(app) = claims.unknown() {
        plan.blocked.push(Reason::ClaimsUnknown { app: app.clone() });
        return;
    }
    let deletes = |dropped: &Dropped| removal.delete && !dropped.outlives;
    let would: BTreeSet<(&AppKey, &ObjectKey)> = dropped
        .iter()
        .filter(|dropped| deletes(dropped))
        .map(|dropped| (&dropped.of, &dropped.key))
        .collect();
    let prints = Fingerprints::of(would.iter().copied());
    let others = removal.only.as_ref().is_some_and(|only| !prints.is_subset(only));
    if would.len() > removal.approved as usize || others {
        let first = would.iter().take(MAX_NOTES).map(|(_, key)| (*key).clone()).collect();
        let (would, approved) = (would.len() as u64, removal.approved);
        plan.blocked.push(Reason::PruneRefused { would, approved, prints, first });
        return;
    }
    dropped.sort_by_cached_key(|Dropped { key, .. }| Reverse((rank(key), key.clone())));
    plan.settle.extend(dropped.into_iter().map(|dropped| {
        let deleted = deletes(&dropped);
        let Dropped { of, key, .. } = dropped;
        if deleted { Step::Prune { of, key } } else { Step::Orphan { of, key } }
    }));
}
