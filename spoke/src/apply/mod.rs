//! Apply: the executor. It asks the target, has plans made, and carries them out, app by app, several at once.
//!
//! In: an accepted assignment with its decoded entries, the bundles that are here, a target, what has changed. Out: an
//! [`Outcome`]. Never: decides what to write or delete (the plan does), runs a plan that [`crate::plan::check`] objects
//! to, needs anything that it keeps from one round to the next: whoever is killed between two writes begins again from
//! what the target shows.
//!
//! | module | in | out |
//! |---|---|---|
//! | `desired` | an entry, its bundle | its objects |
//! | `engine` | what has changed | which apps a round looks at |
//! | `kept` | apps after their turns | what is kept of each between rounds; reports of all |
//! | `survey` | what apps claim | the same, for a look at many at once |
//! | `pass` | one app | its turn: resolve, look, plan, raise, settle |
//! | `round` | plans | writes, and what came of them |
//! | `judge` | plans, progress, what was seen | reports |

mod desired;
mod engine;
mod judge;
mod kept;
mod pass;
mod round;
mod survey;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use async_trait::async_trait;
use nave_placement::{AppKey, ObjectKey};

pub use desired::{Bundles, Closed, Desired, Opener};
pub use engine::{Engine, Look};

use crate::plan::{Plan, Step};
use crate::report::{Outcome, Reason};
use crate::target::{Deleted, Inventory, Target, TargetError};

/// Asked before every write; may break the round off there: a newer assignment has come, the process is to end, or a
/// test wants to know what is left behind.
#[async_trait]
pub trait Interrupt: Send + Sync {
    /// `Break` ends the round before this step.
    fn before(&self, app: &AppKey, step: &Step) -> ControlFlow<()>;

    /// Takes out of a plan what must not be done on this cluster, and says so in it. Adds nothing.
    fn allow(&self, _plan: &mut Plan, _inventories: &BTreeMap<AppKey, Inventory>) {}

    /// Asked before objects of an app are deleted, of all of them at once.
    ///
    /// # Errors
    /// Why none of them may be deleted now.
    async fn may_delete(&self, _app: &AppKey, _keys: &[&ObjectKey]) -> Result<(), Reason> {
        Ok(())
    }

    /// What came of each of these; `None`: it was not tried.
    fn came_of(&self, _app: &AppKey, _key: &ObjectKey, _deleted: Option<&Result<Deleted, TargetError>>) {}
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

/// One round that looks at everything and keeps nothing: makes the target what is desired, as far as it can be now.
///
/// # Guarantees
/// As for [`Engine::round`].
pub async fn reconcile(target: &dyn Target, desired: &Desired<'_>, interrupt: &dyn Interrupt) -> Outcome {
    Engine::default().round(target, desired, Look::Everything, interrupt).await
}
