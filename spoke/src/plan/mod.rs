//! Plan: what is wanted and what was seen become the steps that lead from one to the other.
//!
//! In: the resolved entries of an assignment (or why one is not resolved), its leaving records, every app's inventory,
//! what was seen of every wanted object. Out: a [`Plan`]: per app two ordered lists of [`Step`]s, and what stands in the
//! way. Never: does anything; reads *could not be seen* as *absent*; deletes what any entry claims.
//!
//! Every app is first *raised* (widen the inventory, then apply), then *settled* (hand over, prune, narrow); one that
//! hands over only after all others were raised. So an object that moves between apps has its new owner before it loses
//! the old one. What other apps claim is known by their [`Index`] alone: their objects need not be at hand.

mod check;
mod claims;
mod index;
mod order;
mod raise;
mod settle;
pub mod terms;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{Entry, Leaving};
use nave_placement::catalog::{Granted, Treatment};
use nave_placement::render::Resolved;
use nave_placement::{AppKey, Digest, ObjectKey};

pub use check::{Violation, check};
pub use claims::{Claims, successor};
pub(crate) use index::digest;
pub use index::{Claimed, ClaimedObject, Index};
use order::holds;
pub use order::{Rank, is_kept, rank};
pub(crate) use raise::is_given;

use crate::report::Reason;
pub use terms::{Ignored, Terms};
pub use turn::{Hooks, RUN, Turn, made_for, runs};

use crate::target::{Inventory, Seen, TargetError, Write};

/// An entry and its objects.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The entry.
    pub entry: Entry,
    /// Its objects, each once, in the order of the bundle.
    pub objects: Vec<Resolved>,
}

/// An entry whose objects are not known.
#[derive(Clone, Debug, PartialEq)]
pub struct Unresolved {
    /// The entry, if at least that could be read.
    pub entry: Option<Box<Entry>>,
    /// Why.
    pub reason: Box<Reason>,
    /// What it claims at least, where that is known; `None` stops every removal on the cluster.
    pub claims: Option<BTreeSet<ObjectKey>>,
}

/// What was seen of the objects that an app wants.
pub type Observed = BTreeMap<ObjectKey, Result<Seen, TargetError>>;

/// Everything a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The entries that are planned now, with their objects.
    pub wanted: &'a BTreeMap<AppKey, Result<Wanted, Unresolved>>,
    /// What every entry of the assignment claims.
    pub index: &'a Index,
    /// Apps on their way out. Where an app has an entry too, the entry holds and the record is not acknowledged.
    pub leaving: &'a BTreeMap<AppKey, Leaving>,
    /// What every app has on the target.
    pub inventories: &'a BTreeMap<AppKey, Inventory>,
    /// What was seen, by the app that wants it. An object that is missing here was not looked at.
    pub seen: &'a BTreeMap<AppKey, Observed>,
}

/// One thing to do. `of` names the app in whose inventory the object stands; it differs from the app that plans the
/// step when that one takes over a former name.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Store the inventory with what is about to be written.
    Widen(Inventory),
    /// Write an object.
    Apply {
        /// What to write.
        object: Resolved,
        /// How.
        how: Write,
    },
    /// Another app has it now: it leaves this inventory and is not touched. Provided that it is `to`'s: applied for it
    /// in this round, or at [`AppPlan::rest`] there.
    HandOver {
        /// The inventory it leaves.
        of: AppKey,
        /// The object.
        key: ObjectKey,
        /// Who claims it.
        to: AppKey,
    },
    /// Delete an object.
    Prune {
        /// Whose it is.
        of: AppKey,
        /// The object.
        key: ObjectKey,
    },
    /// Let an object be: it stays, without our marks.
    Orphan {
        /// Whose it was.
        of: AppKey,
        /// The object.
        key: ObjectKey,
    },
    /// Store the inventory without what the steps before took out of it.
    Narrow {
        /// Whose.
        of: AppKey,
        /// The version that is complete if every step before has succeeded; `None` leaves the recorded one.
        complete: Option<Digest>,
    },
    /// Forget the inventory if nothing remains in it, else narrow it.
    Forget {
        /// Whose.
        of: AppKey,
    },
}

/// The steps of one app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppPlan {
    /// How the app's objects are treated; the default where there is no entry that could be read.
    pub treatment: Treatment,
    /// What it may do, if it is a tenant's.
    pub grant: Option<Granted>,
    /// Objects that are as the app wants them, and its own.
    pub rest: BTreeSet<ObjectKey>,
    /// First, for all apps: widen and apply.
    pub raise: Vec<Step>,
    /// Then, for all apps: hand over always; prune, orphan and call it complete only if all of `raise` succeeded.
    pub settle: Vec<Step>,
    /// What stands in the way already now. Not empty: nothing is pruned and the version is not complete.
    pub blocked: Vec<Reason>,
    /// What of `settle` was taken out, and why. It stops nothing else, but the version is not complete.
    pub withheld: Vec<Reason>,
}

impl AppPlan {
    /// Whether it lets something go that another app takes: only once the other was raised.
    pub fn hands_over(&self) -> bool {
        self.settle.iter().any(|step| matches!(step, Step::HandOver { .. }))
    }
}

/// What to do on one cluster in one round.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// By app: every entry, every leaving app that has an inventory, every app that something is handed over from.
    pub apps: BTreeMap<AppKey, AppPlan>,
    /// Apps that are merely missing from the assignment. What they have is kept.
    pub unassigned: BTreeSet<AppKey>,
    /// Leaving apps of which nothing remains.
    pub left: BTreeSet<AppKey>,
}

/// What an inventory is to the assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing<'a> {
    /// Its app has an entry.
    Assigned,
    /// Its app was renamed; the successor settles it.
    Renamed,
    /// Its app is on its way out.
    Leaving(&'a Leaving),
    /// Nobody says anything.
    Unassigned,
}

impl Input<'_> {
    /// An entry beats a rename, and a rename a leaving record, which deletes more.
    fn standing(&self, app: &AppKey, claims: &Claims<'_>) -> Standing<'_> {
        if self.index.contains_key(app) {
            return Standing::Assigned;
        }
        let leaving = || self.leaving.get(app).map_or(Standing::Unassigned, Standing::Leaving);
        claims.successor(app).map_or_else(leaving, |_| Standing::Renamed)
    }
}

/// Plans for all entries that are given with their objects, and for all apps that have none.
///
/// # Guarantees
/// No step deletes an object that an entry claims; none deletes more than was approved; none deletes anything while the
/// claims of an entry are unknown; no object is written before an inventory names it; nothing is planned for an object
/// that could not be seen. [`check`] proves it for every plan, with other code.
pub fn plan(input: &Input<'_>) -> Plan {
    let claims = Claims::of(input.index, input.inventories);
    let mut plan = others(input, &claims);
    for app in input.wanted.keys() {
        plan.apps.extend(one(input, &claims, app).map(|steps| (app.clone(), steps)));
    }
    plan
}

/// Plans for one of the entries that are given with their objects. Claims may be gathered once for many plans, as long
/// as index and inventories stay what they were.
pub fn one(input: &Input<'_>, claims: &Claims<'_>, app: &AppKey) -> Option<AppPlan> {
    let wanted = input.wanted.get(app)?;
    let mut steps = raise::entry(input, claims, app, wanted);
    settle::entry(input, claims, app, wanted, &mut steps);
    Some(steps)
}

/// Plans for all apps that have no entry: those that leave, and those that are merely missing.
pub fn others(input: &Input<'_>, claims: &Claims<'_>) -> Plan {
    let mut plan = Plan::default();
    let others = input.inventories.iter().filter(|(app, _)| !input.index.contains_key(*app));
    for (app, inventory) in others {
        match input.standing(app, claims) {
            Standing::Leaving(leaving) => {
                plan.apps.insert(app.clone(), settle::leaving(app, inventory, leaving, claims));
            }
            Standing::Unassigned => {
                plan.unassigned.insert(app.clone());
                plan.apps
                    .extend(settle::unassigned(app, inventory, claims).map(|steps| (app.clone(), steps)));
            }
            Standing::Assigned | Standing::Renamed => {}
        }
    }
    let gone = |app: &&AppKey| !input.inventories.contains_key(app) && !input.index.contains_key(app);
    plan.left = input.leaving.keys().filter(gone).cloned().collect();
    plan
}
