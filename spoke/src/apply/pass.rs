//! A pass: the turn of each app of a round, with what the apps have in common.
//!
//! In: what is desired, claims, inventories. Out: [`Done`] apps: what was done for each, and what was seen.
//! Never: holds an app's objects longer than its turn; carries out a plan that breaks a promise.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use nave_placement::render::Scopes;
use nave_placement::report::EntryReport;
use nave_placement::{AppKey, ObjectKey};

use super::engine::Look;
use super::round::{Progress, Round};
use super::{Desired, judge};
use crate::plan::{self, AppPlan, Claims, Index, Input, Plan, check};
use crate::report::{Reason, pending};
use crate::target::{Health, HealthState, Inventory, Seen};

/// One way through the apps in focus, with what they have in common.
pub(super) struct Pass<'a> {
    pub round: &'a Round<'a>,
    pub desired: &'a Desired<'a>,
    pub scopes: &'a (dyn Scopes + Send + Sync),
    pub index: &'a Index,
    pub claims: &'a Claims<'a>,
    pub inventories: &'a BTreeMap<AppKey, Inventory>,
}

/// An app after its turn; its objects are not held any more.
pub(super) struct Done {
    pub app: AppKey,
    pub steps: AppPlan,
    pub progress: Progress,
    pub report: EntryReport,
    pub reasons: Vec<Reason>,
}

impl Pass<'_> {
    /// Resolves, looks, plans and raises one app, and settles it unless it hands something over.
    pub async fn entry(&self, app: &AppKey) -> Done {
        let wanted = self.desired.resolve(app, self.scopes).await;
        let mut seen = self.round.observe(app, &wanted).await;
        let wanted = BTreeMap::from([(app.clone(), wanted)]);
        let mut steps = self.planned(app, self.inventories, &wanted, &mut seen);
        let corrections = judge::corrections(&steps, &seen);
        let mut progress = Progress::default();
        let mut raised = self.round.raise(app, &steps, &mut progress).await;
        let only = &wanted[app];
        let mut hooks =
            only.as_ref().map_or(0, |wanted| wanted.objects.iter().filter(|o| plan::runs(o)).count());
        let has_hooks = hooks > 0;
        while raised.is_ok() && !progress.applied.is_empty() {
            seen = self.round.observe(app, only).await;
            // A hook that has succeeded by now holds back nothing any more.
            let is_done =
                |reason: &Reason| matches!(reason, Reason::Runs { object, .. } if is_well(&seen, object));
            if hooks == 0 || !progress.problems.is_empty() || !steps.blocked.iter().any(is_done) {
                break;
            }
            hooks -= 1;
            steps = self.planned(app, &self.inventories_now(app), &wanted, &mut seen);
            raised = self.round.raise(app, &steps, &mut progress).await;
        }
        let wanted = only;
        for key in steps.rest.iter().chain(&progress.applied) {
            if self.claims.elsewhere(app, key).is_some() {
                self.round.take(app, key);
            }
        }
        if let (Ok(wanted), true) = (wanted, has_hooks) {
            let inventories = self.inventories_now(app);
            let hooks = plan::Hooks::of(&inventories, app, wanted, Some(&seen));
            hooks.pass_over(&mut seen);
        }
        progress.corrections = corrections;
        progress.corrections.retain(|note| progress.corrected.contains(&note.key));
        let (report, reasons) = judge::entry(wanted, &seen, &steps.blocked, &progress);
        steps.raise = Vec::new();
        if raised.is_ok() && !steps.hands_over() {
            raised = self.round.settle(self.inventories, app, &steps, &mut progress).await;
        }
        if raised.is_err() {
            // It has had all the turns that this round gives it.
            steps.settle.clear();
        }
        if !steps.hands_over() {
            // Of a thousand apps that are done, only what their reports need is held.
            steps = AppPlan { treatment: steps.treatment, ..AppPlan::default() };
            (progress.applied, progress.settled) = <_>::default();
        }
        Done { app: app.clone(), steps, progress, report, reasons }
    }

    /// The inventories, this app's as it is stored by now: what it says of hooks counts at once.
    fn inventories_now(&self, app: &AppKey) -> Cow<'_, BTreeMap<AppKey, Inventory>> {
        let Some(stored) = self.round.stored(app) else { return Cow::Borrowed(self.inventories) };
        let mut inventories = self.inventories.clone();
        inventories.insert(app.clone(), stored);
        Cow::Owned(inventories)
    }

    /// A plan that keeps every promise: one that would break one does nothing and says so.
    fn planned(
        &self,
        app: &AppKey,
        inventories: &BTreeMap<AppKey, Inventory>,
        wanted: &BTreeMap<AppKey, Result<plan::Wanted, plan::Unresolved>>,
        seen: &mut plan::Observed,
    ) -> AppPlan {
        let seen_by_app = BTreeMap::from([(app.clone(), std::mem::take(seen))]);
        let input = Input { inventories, ..self.input(wanted, &seen_by_app) };
        let steps = plan::one(&input, self.claims, app).unwrap_or_default();
        let mut plan = Plan { apps: BTreeMap::from([(app.clone(), steps)]), ..Plan::default() };
        checked(&input, &mut plan);
        self.round.allow(&mut plan, inventories);
        *seen = seen_by_app.into_values().next().unwrap_or_default();
        plan.apps.remove(app).unwrap_or_default()
    }

    fn input<'i>(
        &'i self,
        wanted: &'i BTreeMap<AppKey, Result<plan::Wanted, plan::Unresolved>>,
        seen: &'i BTreeMap<AppKey, plan::Observed>,
    ) -> Input<'i> {
        let leaving = &self.desired.assignment.leaving;
        Input { wanted, index: self.index, leaving, inventories: self.inventories, seen }
    }

    /// Settles an app that had to wait until all others were raised.
    pub async fn settle(&self, mut done: Done) -> Done {
        // Whether it is broken off is told by the progress: not finished.
        let _ = self.round.settle(self.inventories, &done.app, &done.steps, &mut done.progress).await;
        done
    }

    /// The plans of apps that have no entry: of those that leave, and of those that something is handed over from.
    pub fn others(
        &self,
        focus: &BTreeSet<AppKey>,
        look: Look<'_>,
        known: &BTreeMap<AppKey, EntryReport>,
    ) -> Vec<Done> {
        let (wanted, seen) = (BTreeMap::new(), BTreeMap::new());
        let input = self.input(&wanted, &seen);
        let mut plan = plan::others(&input, self.claims);
        checked(&input, &mut plan);
        self.round.allow(&mut plan, self.inventories);
        let wakes = |app: &AppKey, steps: &AppPlan| match look {
            Look::Everything => true,
            Look::At { changed, due } => {
                let has =
                    |inventory: &Inventory| changed.objects.iter().any(|o| inventory.objects.contains(o));
                changed.all
                    || due.contains(app)
                    || !known.contains_key(app)
                    || steps
                        .settle
                        .iter()
                        .any(|step| matches!(step, plan::Step::HandOver { to, .. } if focus.contains(to)))
                    || self.inventories.get(app).is_some_and(has)
            }
        };
        let awake = plan.apps.into_iter().filter(|(app, steps)| wakes(app, steps));
        let done = |(app, steps): (AppKey, AppPlan)| {
            let reasons = steps.blocked.clone();
            Done { app, steps, progress: Progress::default(), report: pending(), reasons }
        };
        awake.map(done).collect()
    }
}

/// Whether an object is there as it is wanted, and healthy.
fn is_well(seen: &plan::Observed, key: &ObjectKey) -> bool {
    let well = |health: &Health| health.state == HealthState::Healthy;
    matches!(seen.get(key), Some(Ok(Seen::Ours { differs: false, health, .. })) if well(health))
}

/// Empties every plan that would break a promise.
fn checked(input: &Input<'_>, plan: &mut Plan) {
    for violation in check(input, plan) {
        tracing::error!(app = %violation.app(), %violation, "a plan was not carried out");
        if let Some(app) = plan.apps.get_mut(violation.app()) {
            app.raise.clear();
            app.settle.clear();
            app.blocked.push(Reason::PlanRefused { message: violation.to_string() });
        }
    }
}
