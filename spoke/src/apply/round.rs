//! One round on one target: carries steps out, and remembers what came of them.
//!
//! In: plans. Out: what was written, what went wrong, the inventories as they are stored now.
//! Never: makes a step up; goes on after a write of the inventory failed.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::{AppKey, Digest, ObjectKey};

use super::Interrupt;
use super::desired::AllWanted;
use crate::plan::{AppPlan, Observed, Plan, Step};
use crate::report::Reason;
use crate::target::{Applied, Behalf, Deleted, Inventory, Missing, Seen, Target, TargetError};

/// What was seen, by the app that wants it.
pub type AllSeen = BTreeMap<AppKey, Observed>;

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
    /// Foreign changes put back.
    pub corrected: u32,
    /// Another app claims an object and does not have it yet: until then this app's version is not complete, because it
    /// would have to delete the object if the other never takes it.
    pub handing_over: bool,
    /// All its steps had their turn.
    pub finished: bool,
}

/// A round in progress.
pub struct Round<'a> {
    target: &'a dyn Target,
    interrupt: &'a dyn Interrupt,
    inventories: BTreeMap<AppKey, Inventory>,
    progress: BTreeMap<AppKey, Progress>,
    writes: u64,
    stopped: bool,
    unsure: BTreeSet<AppKey>,
}

/// The round was broken off.
struct Stopped;

impl<'a> Round<'a> {
    /// A round that begins with these inventories.
    pub fn new(
        target: &'a dyn Target,
        interrupt: &'a dyn Interrupt,
        inventories: BTreeMap<AppKey, Inventory>,
    ) -> Self {
        Self {
            target,
            interrupt,
            inventories,
            progress: BTreeMap::new(),
            writes: 0,
            stopped: false,
            unsure: BTreeSet::new(),
        }
    }

    /// The inventories as they are stored now.
    pub fn inventories(&self) -> &BTreeMap<AppKey, Inventory> {
        &self.inventories
    }

    /// What came of an app's steps.
    pub fn progress(&mut self, app: &AppKey) -> &mut Progress {
        self.progress.entry(app.clone()).or_default()
    }

    /// Whether the round was broken off.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Number of writes so far.
    pub fn writes(&self) -> u64 {
        self.writes
    }

    /// What left an inventory and stays on the target, by app.
    pub fn kept(&self) -> BTreeMap<AppKey, Vec<ObjectKey>> {
        let kept = self.progress.iter().filter(|(_, progress)| !progress.kept.is_empty());
        kept.map(|(app, progress)| (app.clone(), progress.kept.clone())).collect()
    }

    /// The kinds of all that is ours.
    pub fn kinds(&self) -> BTreeSet<(String, String)> {
        let keys = self.inventories.values().flat_map(|inventory| &inventory.objects);
        keys.map(|key| (key.group.clone(), key.kind.clone())).collect()
    }

    /// Looks at everything that is wanted and served.
    pub async fn observe(&self, wanted: &AllWanted) -> AllSeen {
        let mut seen = AllSeen::new();
        for app in wanted.keys() {
            seen.insert(app.clone(), self.observe_one(app, wanted).await);
        }
        seen
    }

    async fn observe_one(&self, app: &AppKey, wanted: &AllWanted) -> Observed {
        let Some(Ok(wanted)) = wanted.get(app) else {
            return Observed::new();
        };
        let of = Behalf { app, treatment: &wanted.entry.options.treatment };
        if wanted.objects.iter().all(|object| object.served) {
            return self.target.observe(of, &wanted.objects).await;
        }
        let served: Vec<_> = wanted.objects.iter().filter(|object| object.served).cloned().collect();
        self.target.observe(of, &served).await
    }

    /// Looks again at the apps that something was applied for.
    pub async fn look_again(&self, wanted: &AllWanted, seen: &mut AllSeen) {
        let changed = self.progress.iter().filter(|(_, progress)| !progress.applied.is_empty());
        for (app, _) in changed.filter(|_| !self.stopped) {
            seen.insert(app.clone(), self.observe_one(app, wanted).await);
        }
    }

    /// Finds the inventories that are missing though their apps have objects here. What could not be searched for is not
    /// taken for gone.
    pub async fn recover<'b>(&mut self, leaving: impl Iterator<Item = &'b AppKey>, seen: &AllSeen) {
        let missing = |app: &&AppKey| !self.inventories.contains_key(*app);
        let ours = |observed: &Observed| observed.values().any(|seen| matches!(seen, Ok(Seen::Ours { .. })));
        let assigned: BTreeSet<_> = seen.keys().filter(missing).cloned().collect();
        let lost = assigned.iter().filter(|app| ours(&seen[*app])).cloned().collect();
        let leaving: BTreeSet<_> =
            leaving.filter(|app| missing(app) && !seen.contains_key(*app)).cloned().collect();
        if assigned.is_empty() && leaving.is_empty() {
            return;
        }
        let missing = Missing { assigned, seen: lost, leaving };
        match self.target.rebuild(&missing).await {
            Ok(found) => self.inventories.extend(found),
            Err(error) => {
                tracing::warn!(%error, "it cannot be told which objects are here of apps without an inventory");
                self.unsure = missing.leaving;
            }
        }
    }

    /// Leaving apps of which it is not known whether anything is left of them.
    pub fn unsure(&self) -> &BTreeSet<AppKey> {
        &self.unsure
    }

    /// Whether an object of the plan waits for its kind.
    pub fn lacks_kinds(&self, plan: &Plan) -> bool {
        let lacks = |reasons: &[Reason]| reasons.iter().any(|r| matches!(r, Reason::NotServed { .. }));
        plan.apps.values().any(|app| lacks(&app.blocked))
            || self.progress.values().any(|progress| lacks(&progress.problems))
    }

    /// Widens and applies, app by app.
    pub async fn raise(&mut self, plan: &Plan) {
        for (app, steps) in &plan.apps {
            self.progress(app).problems.clear();
            if self.raise_one(app, steps).await.is_err() {
                self.stopped = true;
                return;
            }
        }
    }

    async fn raise_one(&mut self, app: &AppKey, plan: &AppPlan) -> Result<(), Stopped> {
        let of = Behalf { app, treatment: &plan.treatment };
        for step in &plan.raise {
            self.may(app, step)?;
            match step {
                Step::Widen(inventory) => {
                    let stored = self.store(app, app, inventory.clone()).await;
                    if !stored {
                        return Ok(());
                    }
                }
                Step::Apply { object, how } => match self.target.apply(of, object, *how).await {
                    Ok(applied) => {
                        let progress = self.progress(app);
                        progress.applied.insert(object.key.clone());
                        progress.corrected += u32::from(how.corrects && applied != Applied::Unchanged);
                    }
                    Err(error) => {
                        let unreachable = matches!(error, TargetError::Unreachable(_));
                        self.progress(app).problems.push(Reason::of(&object.key, &error));
                        if unreachable {
                            return Ok(());
                        }
                    }
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Hands over, removes and narrows, app by app.
    pub async fn settle(&mut self, plan: &Plan) {
        for (app, steps) in &plan.apps {
            if self.stopped {
                return;
            }
            if self.settle_one(app, steps, plan).await.is_err() {
                self.stopped = true;
                return;
            }
            self.progress(app).finished = true;
        }
    }

    async fn settle_one(&mut self, app: &AppKey, steps: &AppPlan, plan: &Plan) -> Result<(), Stopped> {
        let behalf = |of| Behalf { app: of, treatment: &steps.treatment };
        let mut raised = steps.blocked.is_empty() && self.progress(app).problems.is_empty();
        for step in &steps.settle {
            match step {
                Step::HandOver { of, key, to } => {
                    let rests = plan.apps.get(to).is_some_and(|steps| steps.rest.contains(key));
                    if rests || self.progress(to).applied.contains(key) {
                        self.progress(app).settled.insert((of.clone(), key.clone()));
                    } else {
                        self.progress(app).handing_over = true;
                    }
                }
                Step::Prune { of, key } if raised => {
                    self.may(app, step)?;
                    let deleted = self.target.delete(behalf(of), key).await;
                    raised = !matches!(deleted, Err(TargetError::Unreachable(_)));
                    self.removed(app, of, key, deleted);
                }
                Step::Orphan { of, key } if raised => {
                    self.may(app, step)?;
                    let kept = self.target.orphan(behalf(of), key).await;
                    let kept = kept.map(|()| Deleted::NotOurs(String::new()));
                    self.removed(app, of, key, kept);
                }
                Step::Narrow { of, complete } => self.narrow(app, of, *complete, step).await?,
                Step::Forget { of } => self.forget(app, of, step).await?,
                Step::Prune { .. } | Step::Orphan { .. } | Step::Widen(_) | Step::Apply { .. } => {}
            }
        }
        Ok(())
    }

    fn removed(&mut self, app: &AppKey, of: &AppKey, key: &ObjectKey, answer: Result<Deleted, TargetError>) {
        let progress = self.progress(app);
        match answer {
            Ok(Deleted::Gone) => {
                progress.settled.insert((of.clone(), key.clone()));
            }
            Ok(Deleted::NotOurs(_)) => {
                progress.settled.insert((of.clone(), key.clone()));
                progress.kept.push(key.clone());
            }
            Ok(Deleted::Terminating) => {
                let (object, message) = (key.clone(), String::new());
                progress.problems.push(Reason::Terminating { object, message, stuck: false });
            }
            Err(TargetError::Unreachable(message)) => {
                progress.problems.push(Reason::NotSeen { object: key.clone(), message });
            }
            Err(error) => {
                let message = error.to_string();
                progress.problems.push(Reason::RemovalFailed { object: key.clone(), message });
            }
        }
    }

    /// What remains of an inventory.
    fn remaining(&mut self, app: &AppKey, of: &AppKey) -> Inventory {
        let mut inventory = self.inventories.get(of).cloned().unwrap_or_default();
        let settled = &self.progress(app).settled;
        inventory.retain(|key| !settled.contains(&(of.clone(), key.clone())));
        inventory
    }

    async fn narrow(
        &mut self,
        app: &AppKey,
        of: &AppKey,
        complete: Option<Digest>,
        step: &Step,
    ) -> Result<(), Stopped> {
        let mut remaining = self.remaining(app, of);
        let progress = self.progress(app);
        if progress.problems.is_empty() && !progress.handing_over {
            remaining.version = complete.or(remaining.version);
        }
        let stored = self.inventories.get(of).cloned();
        if stored.unwrap_or_default() != remaining {
            self.may(app, step)?;
            self.store(app, of, remaining).await;
        }
        Ok(())
    }

    async fn forget(&mut self, app: &AppKey, of: &AppKey, step: &Step) -> Result<(), Stopped> {
        if !self.remaining(app, of).objects.is_empty() {
            return self.narrow(app, of, None, step).await;
        }
        self.may(app, step)?;
        match self.target.forget_inventory(of).await {
            Ok(()) => {
                self.inventories.remove(of);
            }
            Err(error) => {
                self.progress(app).problems.push(Reason::Unreachable { message: error.to_string() })
            }
        }
        Ok(())
    }

    async fn store(&mut self, app: &AppKey, of: &AppKey, inventory: Inventory) -> bool {
        match self.target.store_inventory(of, &inventory).await {
            Ok(()) => {
                self.inventories.insert(of.clone(), inventory);
                true
            }
            Err(error) => {
                self.progress(app).problems.push(Reason::Unreachable { message: error.to_string() });
                false
            }
        }
    }

    fn may(&mut self, app: &AppKey, step: &Step) -> Result<(), Stopped> {
        if self.interrupt.before(app, step).is_break() {
            return Err(Stopped);
        }
        self.writes += 1;
        Ok(())
    }
}
