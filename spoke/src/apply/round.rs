//! One round on one target: carries steps out, and remembers what came of them.
//!
//! In: plans. Out: what was written, what went wrong, the inventories as they are stored now.
//! Never: makes a step up; goes on with an app after a write of its inventory failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::iter;
use nave_placement::render::Resolved;
use nave_placement::report::ObjectReport;
use nave_placement::{AppKey, Digest, ObjectKey};

use super::Interrupt;
use crate::plan::{AppPlan, Observed, Plan, Rank, Step, Turn, Unresolved, Wanted, rank, runs};
use crate::report::Reason;
use crate::target::{Applied, Behalf, Contact, Deleted, Inventory, Target, TargetError, Write};

/// Objects of one app that are written at once. The target bounds its requests too; what waits there is held there.
const AT_ONCE: usize = 16;

/// What came of one app's steps.
#[derive(Debug, Default)]
pub struct Progress {
    /// What went wrong.
    pub problems: Vec<Reason>,
    /// What was applied in this round.
    pub applied: BTreeSet<ObjectKey>,
    /// What left an inventory in this round.
    pub settled: BTreeSet<(AppKey, ObjectKey)>,
    /// What left it and stays on the target.
    pub kept: Vec<ObjectKey>,
    /// Objects of which foreign changes were put back.
    pub corrected: BTreeSet<ObjectKey>,
    /// Which changes, and by whom.
    pub corrections: Vec<ObjectReport>,
    /// All its steps had their turn.
    pub finished: bool,
    /// A namespace or a definition came into being or was changed: others may have waited for it.
    pub prepared: bool,
}

/// A round in progress. Its apps are worked on at the same time, so that what they share is behind locks; none is held
/// over an await.
pub struct Round<'a> {
    pub target: &'a dyn Target,
    interrupt: &'a dyn Interrupt,
    stored: Mutex<BTreeMap<AppKey, Option<Inventory>>>,
    /// What an app has that stands in another's inventory too: the other may let it go.
    taken: Mutex<BTreeSet<(AppKey, ObjectKey)>>,
    /// Inventories of which only the version is not stored yet, and for which app it was completed.
    complete: Mutex<BTreeMap<AppKey, (AppKey, Inventory)>>,
    writes: AtomicU64,
    stopped: AtomicBool,
}

/// The round was broken off.
pub struct Stopped;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Round<'a> {
    /// Leaves in a plan what may be done here.
    pub fn allow(&self, plan: &mut Plan, inventories: &BTreeMap<AppKey, Inventory>) {
        self.interrupt.allow(plan, inventories);
    }

    /// A round that has written nothing yet.
    pub fn new(target: &'a dyn Target, interrupt: &'a dyn Interrupt) -> Self {
        Self {
            target,
            interrupt,
            stored: Mutex::default(),
            taken: Mutex::default(),
            complete: Mutex::default(),
            writes: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// Whether the round was broken off.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Number of writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Brings inventories up to date with what was stored since the last call.
    pub fn merge(&self, inventories: &mut BTreeMap<AppKey, Inventory>) {
        for (app, stored) in std::mem::take(&mut *locked(&self.stored)) {
            match stored {
                Some(inventory) => drop(inventories.insert(app, inventory)),
                None => drop(inventories.remove(&app)),
            }
        }
    }

    /// Looks at everything that an app wants and that is served.
    pub async fn observe(&self, app: &AppKey, wanted: &Result<Wanted, Unresolved>) -> Observed {
        let Ok(wanted) = wanted else { return Observed::new() };
        let of = Behalf { app, treatment: &wanted.entry.options.treatment };
        if wanted.objects.iter().all(|object| object.served) {
            return self.target.observe(of, &wanted.objects).await;
        }
        let may_be_there = |object: &&Resolved| object.served || self.target.is_silent(&object.key.group);
        let looked_at: Vec<_> = wanted.objects.iter().filter(may_be_there).cloned().collect();
        self.target.observe(of, &looked_at).await
    }

    /// Widens and applies: the objects of one rank at once, one rank after another.
    ///
    /// # Errors
    /// [`Stopped`] when the round was broken off.
    pub async fn raise(&self, app: &AppKey, plan: &AppPlan, progress: &mut Progress) -> Result<(), Stopped> {
        for group in
            plan.raise.chunk_by(|a, b| raised_with(a).is_some_and(|turn| raised_with(b) == Some(turn)))
        {
            if let [step @ Step::Widen(inventory)] = group {
                self.may(app, step)?;
                if !self.store(app, inventory.clone(), progress).await {
                    return Ok(());
                }
                continue;
            }
            let is_run = |step: &Step| matches!(step, Step::Apply { object, .. } if runs(object));
            if !progress.problems.is_empty() && group.iter().any(is_run) {
                // Whatever it needs may be what is missing.
                return Ok(());
            }
            let writes: Vec<_> = group.iter().map(|step| self.apply(app, plan, step)).collect();
            let mut writes = iter(writes).buffer_unordered(AT_ONCE);
            let (mut stopped, mut unreachable) = (false, false);
            while let Some((step, answer)) = writes.next().await {
                let Step::Apply { object, how } = step else { continue };
                match answer {
                    None => stopped = true,
                    Some(Ok(applied)) => {
                        progress.applied.insert(object.key.clone());
                        if how.corrects && matches!(applied, Applied::Created | Applied::Changed) {
                            progress.corrected.insert(object.key.clone());
                        }
                        let prepares = rank(&object.key) <= Rank::Definition;
                        progress.prepared |= prepares && applied != Applied::Unchanged;
                    }
                    Some(Err(reason)) => {
                        unreachable |= matches!(reason, Reason::NotSeen { .. });
                        progress.problems.push(reason);
                    }
                }
            }
            match (stopped, unreachable) {
                (true, _) => return Err(Stopped),
                (false, true) => return Ok(()),
                (false, false) => {}
            }
        }
        Ok(())
    }

    async fn apply<'s>(
        &self,
        app: &AppKey,
        plan: &AppPlan,
        step: &'s Step,
    ) -> (&'s Step, Option<Result<Applied, Reason>>) {
        let Step::Apply { object, how } = step else { return (step, None) };
        if self.may(app, step).is_err() {
            return (step, None);
        }
        let of = Behalf { app, treatment: &plan.treatment };
        if how.anew && self.target.runs() {
            return (step, Some(self.make_anew(of, object, *how, "it runs again").await));
        }
        let answer = match self.target.apply(of, object, *how).await {
            Err(TargetError::Immutable(why)) if how.recreate => self.make_anew(of, object, *how, &why).await,
            answer => answer.map_err(|error| Reason::of(&object.key, &error)),
        };
        (step, Some(answer))
    }

    /// Deletes an object that cannot be changed, and makes it anew; one that is still on its way out is made anew by a
    /// later round, for which it is absent.
    async fn make_anew(
        &self,
        of: Behalf<'_>,
        object: &Resolved,
        how: Write,
        why: &str,
    ) -> Result<Applied, Reason> {
        let key = &object.key;
        self.interrupt.may_delete(of.app, &[key]).await.map_err(|why| Reason::Unpermitted {
            message: format!("{key} would have to be made anew: {why}"),
        })?;
        let deleted = self.target.make_way(of, object).await;
        self.interrupt.came_of(of.app, key, Some(&deleted));
        let error = match deleted {
            Ok(Deleted::Gone | Deleted::Absent) => {
                let anew =
                    Write { contact: Contact::Absent, take: false, recreate: false, anew: false, ..how };
                let made = self.target.apply(of, object, anew).await;
                return made.map_err(|error| Reason::of(key, &error));
            }
            Ok(Deleted::Terminating { message, stuck }) => TargetError::Terminating {
                message: format!("it is made anew once it is gone; {message}"),
                stuck,
            },
            Ok(Deleted::NotOurs(not)) => TargetError::Immutable(format!("{why}; it is not made anew: {not}")),
            Err(error) => error,
        };
        Err(Reason::of(key, &error))
    }

    /// Lets an object be handed over to this app: it has it.
    pub fn take(&self, app: &AppKey, key: &ObjectKey) {
        locked(&self.taken).insert((app.clone(), key.clone()));
    }

    /// Hands over, removes and narrows.
    ///
    /// # Errors
    /// [`Stopped`] when the round was broken off.
    pub async fn settle<'s>(
        &self,
        pass: &BTreeMap<AppKey, Inventory>,
        app: &AppKey,
        steps: &'s AppPlan,
        progress: &mut Progress,
    ) -> Result<(), Stopped> {
        let mut goes_on = steps.blocked.is_empty() && progress.problems.is_empty();
        progress.problems.extend(steps.withheld.iter().cloned());
        let pruned = |step: &'s Step| if let Step::Prune { key, .. } = step { Some(key) } else { None };
        let mut untried: BTreeSet<&ObjectKey> = steps.settle.iter().filter_map(pruned).collect();
        if goes_on && !untried.is_empty() {
            let keys: Vec<_> = untried.iter().copied().collect();
            if let Err(message) = self.interrupt.may_delete(app, &keys).await {
                progress.problems.push(Reason::Unpermitted { message });
                goes_on = false;
                untried.clear();
            }
        } else {
            untried.clear();
        }
        let settled = self.settle_all(pass, app, steps, goes_on, &mut untried, progress).await;
        for key in untried {
            self.interrupt.came_of(app, key, None);
        }
        settled
    }

    /// One rank after another. A rank waits for what of an earlier one is on its way out, for as long as the app's time
    /// limit: whoever serves that object may stand in it.
    async fn settle_all<'s>(
        &self,
        pass: &BTreeMap<AppKey, Inventory>,
        app: &AppKey,
        steps: &'s AppPlan,
        mut goes_on: bool,
        untried: &mut BTreeSet<&'s ObjectKey>,
        progress: &mut Progress,
    ) -> Result<(), Stopped> {
        for group in
            steps.settle.chunk_by(|a, b| removed_with(a).is_some_and(|rank| removed_with(b) == Some(rank)))
        {
            let mut removals = Vec::new();
            for step in group {
                match step {
                    Step::HandOver { of, key, to } => {
                        if locked(&self.taken).contains(&(to.clone(), key.clone())) {
                            progress.settled.insert((of.clone(), key.clone()));
                        } else {
                            let (object, to) = (key.clone(), to.clone());
                            progress.problems.push(Reason::HandingOver { object, to });
                        }
                    }
                    Step::Prune { .. } | Step::Orphan { .. } if goes_on => {
                        removals.push(self.remove(app, steps, step));
                    }
                    Step::Narrow { of, complete } => {
                        let complete = complete.filter(|_| steps.blocked.is_empty());
                        self.narrow(pass, app, of, complete, step, progress).await?;
                    }
                    Step::Forget { of } => self.forget(pass, app, of, step, progress).await?,
                    Step::Prune { .. } | Step::Orphan { .. } | Step::Widen(_) | Step::Apply { .. } => {}
                }
            }
            let mut removals = iter(removals).buffer_unordered(AT_ONCE);
            let mut stopped = false;
            while let Some((step, answer)) = removals.next().await {
                let (Step::Prune { of, key } | Step::Orphan { of, key }) = step else { continue };
                let Some(answer) = answer else {
                    stopped = true;
                    continue;
                };
                if untried.remove(key) {
                    self.interrupt.came_of(app, key, Some(&answer));
                }
                goes_on &= !matches!(
                    answer,
                    Err(TargetError::Unreachable(_)) | Ok(Deleted::Terminating { stuck: false, .. })
                );
                removed(of, key, answer, progress);
            }
            if stopped {
                return Err(Stopped);
            }
        }
        progress.finished = true;
        Ok(())
    }

    async fn remove<'s>(
        &self,
        app: &AppKey,
        steps: &AppPlan,
        step: &'s Step,
    ) -> (&'s Step, Option<Result<Deleted, TargetError>>) {
        if self.may(app, step).is_err() {
            return (step, None);
        }
        let behalf = |of| Behalf { app: of, treatment: &steps.treatment };
        let answer = match step {
            Step::Prune { of, key } => Some(self.target.delete(behalf(of), key).await),
            Step::Orphan { of, key } => {
                let kept = self.target.orphan(behalf(of), key).await;
                Some(kept.map(|()| Deleted::NotOurs(String::new())))
            }
            _ => None,
        };
        (step, answer)
    }

    /// What was stored of an app in this round.
    pub fn stored(&self, app: &AppKey) -> Option<Inventory> {
        locked(&self.stored).get(app).cloned().flatten()
    }

    fn current(&self, pass: &BTreeMap<AppKey, Inventory>, of: &AppKey) -> Inventory {
        let stored = locked(&self.stored).get(of).cloned();
        stored.unwrap_or_else(|| pass.get(of).cloned()).unwrap_or_default()
    }

    /// What remains of an inventory.
    fn remaining(&self, pass: &BTreeMap<AppKey, Inventory>, of: &AppKey, progress: &Progress) -> Inventory {
        let mut inventory = self.current(pass, of);
        inventory.retain(|key| !progress.settled.contains(&(of.clone(), key.clone())));
        inventory
    }

    async fn narrow(
        &self,
        pass: &BTreeMap<AppKey, Inventory>,
        app: &AppKey,
        of: &AppKey,
        complete: Option<Digest>,
        step: &Step,
        progress: &mut Progress,
    ) -> Result<(), Stopped> {
        let mut remaining = self.remaining(pass, of, progress);
        if progress.problems.is_empty() {
            remaining.version = complete.or(remaining.version);
        }
        let stored = self.current(pass, of);
        let with_version = Inventory { version: remaining.version, ..stored.clone() };
        if with_version != remaining {
            self.may(app, step)?;
            self.store(of, remaining, progress).await;
        } else if stored != remaining {
            // The version alone: one write tells it of many apps.
            locked(&self.complete).insert(of.clone(), (app.clone(), remaining));
        }
        Ok(())
    }

    async fn forget(
        &self,
        pass: &BTreeMap<AppKey, Inventory>,
        app: &AppKey,
        of: &AppKey,
        step: &Step,
        progress: &mut Progress,
    ) -> Result<(), Stopped> {
        if !self.remaining(pass, of, progress).objects.is_empty() {
            return self.narrow(pass, app, of, None, step, progress).await;
        }
        self.may(app, step)?;
        match self.target.forget_inventory(of).await {
            Ok(()) => drop(locked(&self.stored).insert(of.clone(), None)),
            Err(error) => progress.problems.push(Reason::Unreachable { message: error.to_string() }),
        }
        Ok(())
    }

    async fn store(&self, of: &AppKey, inventory: Inventory, progress: &mut Progress) -> bool {
        match self.target.store_inventory(of, &inventory).await {
            Ok(()) => {
                locked(&self.stored).insert(of.clone(), Some(inventory));
                true
            }
            Err(error) => {
                progress.problems.push(Reason::Unreachable { message: error.to_string() });
                false
            }
        }
    }

    /// How many versions wait to be stored.
    pub fn completed(&self) -> usize {
        locked(&self.complete).len()
    }

    /// Stores the versions of all apps that were completed since the last call. The apps whose version was not stored are
    /// returned with why.
    pub async fn complete(&self) -> BTreeMap<AppKey, Reason> {
        let complete = std::mem::take(&mut *locked(&self.complete));
        let Some((of, (app, inventory))) = complete.first_key_value() else { return BTreeMap::new() };
        let step = Step::Narrow { of: of.clone(), complete: inventory.version };
        if self.may(app, &step).is_err() {
            return complete.into_values().map(|(app, _)| (app, Reason::Interrupted)).collect();
        }
        let done = complete.iter().map(|(of, (_, inventory))| (of.clone(), inventory.clone())).collect();
        match self.target.complete(&done).await {
            Ok(()) => {
                locked(&self.stored).extend(done.into_iter().map(|(of, inventory)| (of, Some(inventory))));
                BTreeMap::new()
            }
            Err(error) => {
                let why = Reason::Unreachable { message: error.to_string() };
                complete.into_values().map(|(app, _)| (app, why.clone())).collect()
            }
        }
    }

    /// Counts a write, unless the round was or is to be broken off. Whoever breaks off stops all others at their next.
    fn may(&self, app: &AppKey, step: &Step) -> Result<(), Stopped> {
        if self.stopped() || self.interrupt.before(app, step).is_break() {
            self.stopped.store(true, Ordering::Relaxed);
            return Err(Stopped);
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Objects of one rank are written at once.
fn raised_with(step: &Step) -> Option<Turn> {
    let Step::Apply { object, .. } = step else { return None };
    // What runs is alone in its turn, and what stays has the same one whether it is an upgrade or not.
    Some(Turn::of(object, true))
}

/// And removed at once.
fn removed_with(step: &Step) -> Option<Rank> {
    let (Step::Prune { key, .. } | Step::Orphan { key, .. }) = step else { return None };
    Some(rank(key))
}

fn removed(of: &AppKey, key: &ObjectKey, answer: Result<Deleted, TargetError>, progress: &mut Progress) {
    match answer {
        Ok(Deleted::Gone | Deleted::Absent) => {
            progress.settled.insert((of.clone(), key.clone()));
        }
        Ok(Deleted::NotOurs(_)) => {
            progress.settled.insert((of.clone(), key.clone()));
            progress.kept.push(key.clone());
        }
        Ok(Deleted::Terminating { message, stuck }) => {
            progress.problems.push(Reason::Terminating { object: key.clone(), message, stuck });
        }
        Err(error @ (TargetError::Unreachable(_) | TargetError::WebhookDown(_))) => {
            progress.problems.push(Reason::of(key, &error));
        }
        Err(error) => {
            let message = error.to_string();
            progress.problems.push(Reason::RemovalFailed { object: key.clone(), message });
        }
    }
}
