//! Apply: the small executor. It asks the target, has a plan made, and carries it out.
//!
//! In: an accepted assignment with its decoded entries, the bundles that are here, a target. Out: an [`Outcome`].
//! Never: decides what to write or delete (the plan does), runs a plan that [`crate::plan::check`] objects to, keeps
//! anything from one round to the next: whoever is killed between two writes begins again from what the target shows.

mod desired;
mod judge;
mod round;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nave_placement::assign::{Assignment, Entry};
use nave_placement::{AppKey, Digest};

pub use desired::resolve_all;

use crate::plan::{Input, Plan, Rank, Step, check, plan, rank};
use crate::report::{Outcome, Reason};
use crate::target::Target;
use round::Round;

/// What shall be.
#[derive(Clone, Copy)]
pub struct Desired<'a> {
    /// The accepted assignment.
    pub assignment: &'a Assignment,
    /// Its entries decoded, or why one cannot be read. One that is missing here counts as unreadable.
    pub entries: &'a BTreeMap<AppKey, Result<Entry, String>>,
    /// The bundles that are here. Their bytes were checked against the digest when they came.
    pub bundles: &'a (dyn Fn(&Digest) -> Option<Arc<[u8]>> + Send + Sync),
}

/// Asked before every write; may break the round off there: a newer assignment has come, the process is to end, or a
/// test wants to know what is left behind.
pub trait Interrupt: Send + Sync {
    /// `Break` ends the round before this step.
    fn before(&self, app: &AppKey, step: &Step) -> ControlFlow<()>;
}

impl<F: Fn(&AppKey, &Step) -> ControlFlow<()> + Send + Sync> Interrupt for F {
    fn before(&self, app: &AppKey, step: &Step) -> ControlFlow<()> {
        self(app, step)
    }
}

/// Breaks nothing off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn before(&self, _: &AppKey, _: &Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// One round: makes the target what is desired, as far as it can be now.
///
/// # Guarantees
/// Apps are independent: what one cannot do is in its own report, the others go on. A round that was broken off at any
/// write, or ran into an error, is completed by the next. In a target that is as desired nothing is written.
pub async fn reconcile(target: &dyn Target, desired: &Desired<'_>, interrupt: &dyn Interrupt) -> Outcome {
    let inventories = match target.inventories().await {
        Ok(inventories) => inventories,
        Err(error) => return judge::unreachable(desired, &error),
    };
    let mut round = Round::new(target, interrupt, inventories);
    let mut wanted = resolve_all(desired, &*target.scopes());
    let mut seen = round.observe(&wanted).await;
    round.recover(desired.assignment.leaving.keys(), &seen).await;
    let mut plan = checked(&round, desired, &wanted, &seen);
    round.raise(&plan).await;
    if !round.stopped() && defines_kinds(&plan) && round.lacks_kinds(&plan) && target.discover().await.is_ok()
    {
        // Kinds that this very round defined may be served now: once more, with their objects.
        wanted = resolve_all(desired, &*target.scopes());
        seen = round.observe(&wanted).await;
        plan = checked(&round, desired, &wanted, &seen);
        round.raise(&plan).await;
    }
    round.settle(&plan).await;
    round.look_again(&wanted, &mut seen).await;
    target.watch_kinds(&round.kinds());
    judge::outcome(desired, &wanted, &seen, &plan, round)
}

/// A plan that keeps every promise: an app whose steps would break one does nothing and says so.
fn checked(
    round: &Round<'_>,
    desired: &Desired<'_>,
    wanted: &desired::AllWanted,
    seen: &round::AllSeen,
) -> Plan {
    let leaving = &desired.assignment.leaving;
    let input = Input { wanted, leaving, inventories: round.inventories(), seen };
    let mut plan = plan(&input);
    for violation in check(&input, &plan) {
        tracing::error!(app = %violation.app(), %violation, "a plan was not carried out");
        if let Some(app) = plan.apps.get_mut(violation.app()) {
            app.raise.clear();
            app.settle.clear();
            app.blocked.push(Reason::PlanRefused { message: violation.to_string() });
        }
    }
    plan
}

fn defines_kinds(plan: &Plan) -> bool {
    let defines =
        |step: &Step| matches!(step, Step::Apply { object, .. } if rank(&object.key) == Rank::Definition);
    plan.apps.values().flat_map(|app| &app.raise).any(defines)
}
