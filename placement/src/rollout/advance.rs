//! Advance: one step of an app's course.
//!
//! In: the course, its plan, what is seen now. Out: [`Next`]. Never: counts a cluster as healthy twice, or forgets that it was.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Clusters, plan};
use super::{
    AT_ONCE, Block, Cause, Completed, Course, Ended, Event, Health, Next, Outcome, PAST, Phase, Plan,
    Progress, RolloutId, Seen, Target, ToDo, VERSIONS, Version, WaitsFor,
};
use crate::ClusterName;
use crate::catalog::Then;

/// The moment of a step.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Unix milliseconds.
    pub now_ms: u64,
    /// Until when the hub, which has just started, waits for sessions, Unix milliseconds; absent: it has heard enough.
    pub settles_ms: Option<u64>,
    /// Since when the hub hears, Unix milliseconds: nobody was late before that.
    pub since_ms: u64,
}

/// Brings an app's course up to date. `plan` is that of its current rollout.
pub fn step(
    course: &Course,
    plan: Option<&Plan>,
    target: Target<'_>,
    clusters: &Clusters<'_>,
    moment: Moment,
) -> Next {
    let mut step =
        Step { target, clusters, moment, next: Next { course: course.clone(), ..Next::default() } };
    let current = step.next.course.current.take();
    match (current, plan) {
        (Some(progress), Some(plan)) if progress.plan == plan.id => step.under_way(progress, plan),
        // A plan that is lost is made anew: what was sent is seen of the clusters.
        _ => step.idle(),
    }
    step.next
}

pub(super) struct Step<'a> {
    pub target: Target<'a>,
    pub clusters: &'a Clusters<'a>,
    pub moment: Moment,
    pub next: Next,
}

impl Step<'_> {
    /// Clusters on which something has to be sent.
    pub(super) fn due(&self) -> impl Iterator<Item = (&ClusterName, &Seen<'_>)> {
        self.clusters.iter().filter(|(name, seen)| seen.to_do.is_due() && !self.is_kept(name, seen))
    }

    /// Whether a cluster keeps an app that was to leave it, since that was taken back.
    fn is_kept(&self, name: &ClusterName, seen: &Seen<'_>) -> bool {
        let block = self.next.course.block.as_ref();
        seen.to_do == ToDo::Remove && block.is_some_and(|block| block.kept.contains(name))
    }

    pub(super) fn event(&mut self, what: &'static str, id: &RolloutId, why: impl Into<String>) {
        self.next.events.push(Event { what, id: id.clone(), why: why.into() });
    }

    pub(super) fn due_at(&mut self, due_ms: u64) {
        self.next.due_ms = self.next.due_ms.into_iter().chain([due_ms]).min();
    }

    /// No rollout is under way: does one have to be?
    fn idle(&mut self) {
        let basis = self.target.basis;
        // Whoever is kept at an older version does not unblock the newer one.
        // What was to leave with it is not let go by that alone that nothing is left of the app.
        let keeps = |block: &Block| self.target.is_gone && !block.kept.is_empty();
        let ends = |block: &Block| !basis.has_pins() && !block.basis.is_same_version(basis) && !keeps(block);
        if self.next.course.block.as_ref().is_some_and(ends) {
            self.next.course.block = None;
        }
        // Who is wanted again, and leaves later, leaves by that.
        let clusters = self.clusters;
        let leaves = |seen: &Seen<'_>| seen.to_do == ToDo::Remove || seen.is_withdrawn;
        if let Some(block) = &mut self.next.course.block {
            block.kept.retain(|name| clusters.get(name).is_some_and(leaves));
        }
        let ordered = self.next.course.retry.take();
        let retry = ordered.is_some();
        if retry {
            self.next.course.block = None;
        } else if self.next.course.block.is_some() && self.due().any(|(_, seen)| !seen.is_pinned) {
            // A version is blocked, not its end, but where that was taken back with it.
            let leave = self.due().filter(|(_, seen)| seen.to_do == ToDo::Remove);
            self.next.go = leave.map(|(name, _)| name.clone()).collect();
            return;
        }
        let first = self.next.course.completed.is_none();
        let is_new = self.next.course.completed.as_ref().is_none_or(|c| !c.basis.is_same(basis));
        let apart = self.next.course.completed.as_ref().map(|completed| &completed.apart);
        let waits = |name: &ClusterName| apart.is_some_and(|apart| apart.contains(name));
        // Who was set apart, or is away, begins nothing new.
        let count = |to_do: ToDo| {
            let can = |(name, seen): &(&ClusterName, &Seen<'_>)| {
                seen.to_do == to_do && !seen.has_just_joined && seen.obstacle.is_none() && !waits(name)
            };
            self.due().filter(can).count()
        };
        let many =
            [ToDo::Install, ToDo::Remove, ToDo::Change].into_iter().any(|to_do| count(to_do) > AT_ONCE);
        let changes = self.due().any(|(_, seen)| seen.to_do == ToDo::Change);
        let cause = match (retry, is_new && changes, many) {
            (true, _, _) => Some(Cause::Retry),
            (_, true, _) => Some(self.cause()),
            (_, _, true) if first => Some(Cause::FirstInstallation),
            (_, _, true) => Some(Cause::Placement),
            _ => None,
        };
        if let Some(cause) = cause.filter(|_| self.due().next().is_some()) {
            // Who is online is not known yet, and an order to try again is not forgotten.
            if let Some(until_ms) = self.moment.settles_ms {
                self.next.course.retry = ordered;
                self.due_at(until_ms);
                self.next.waits_for = Some(WaitsFor::Sessions { until_ms });
                return;
            }
            let progress = self.begin(cause, 0);
            if let Some((plan, progress)) = progress {
                self.next.plan = Some(plan.clone());
                self.under_way(progress, &plan);
            }
            return;
        }
        if is_new {
            self.completed(Completed {
                basis: basis.clone(),
                commit: self.target.commit.clone(),
                sources: self.target.sources.clone(),
                at_ms: self.moment.now_ms,
                apart: BTreeSet::new(),
                apart_at_once: 0,
            });
        } else if let Some(completed) = &mut self.next.course.completed {
            // Other variants of the same.
            let all = completed.basis.with(basis);
            completed.basis = all;
        }
        let go = self.due().map(|(name, _)| name.clone()).collect();
        self.next.go = go;
        self.catch_up();
    }

    /// Clusters that were offline when they had their turn have it now, so many at once.
    fn catch_up(&mut self) {
        let Some(mut completed) = self.next.course.completed.take() else { return };
        let clusters = self.clusters;
        // Who is not well in time makes room for the next.
        let late_ms = self.target.timeout_ms;
        let moment = self.moment;
        let is_done = |seen: &Seen<'_>| {
            let over = moment.now_ms >= seen.told_ms.max(moment.since_ms).saturating_add(late_ms);
            let is_over = matches!(seen.health, Health::Healthy | Health::Degraded)
                || seen.health == Health::NotYet && over;
            seen.to_do == ToDo::Nothing && is_over
        };
        completed.apart.retain(|name| clusters.get(name).is_some_and(|seen| !is_done(seen)));
        let (waiting, underway): (Vec<_>, Vec<_>) =
            completed.apart.iter().partition(|name| clusters[*name].to_do.is_due());
        let room = (completed.apart_at_once.max(1) as usize).saturating_sub(underway.len());
        let can = waiting.iter().filter(|name| clusters[**name].obstacle.is_none()).take(room);
        let now: BTreeSet<&ClusterName> = can.copied().collect();
        let stay: Vec<ClusterName> =
            waiting.into_iter().filter(|name| !now.contains(*name)).cloned().collect();
        self.next.go.retain(|name| !stay.contains(name));
        self.next.course.completed = Some(completed);
    }

    /// Why the app changes. What waits for approvals and soak goes on to wait, if only others are pinned.
    fn cause(&self) -> Cause {
        let only_pinned = self.due().next().is_some() && self.due().all(|(_, seen)| seen.is_pinned);
        if only_pinned { Cause::Pin } else { Cause::Version }
    }

    /// Remembers what the app is now.
    fn completed(&mut self, completed: Completed) {
        let Completed { basis, commit, sources, at_ms, .. } = completed.clone();
        let version = Version { digest: basis.digest(), commit, sources, at_ms };
        let versions = &mut self.next.course.versions;
        versions.retain(|known| known.digest != version.digest);
        versions.push(version);
        versions.drain(..versions.len().saturating_sub(VERSIONS));
        self.next.course.completed = Some(completed);
    }

    /// A new plan, and its beginning. None where it would have no cluster.
    fn begin(&mut self, cause: Cause, superseded: u32) -> Option<(Plan, Progress)> {
        // Whoever was told already and is not well yet has its place in it too.
        let is_meant = |seen: &Seen<'_>| {
            seen.to_do.is_due() && !(seen.to_do == ToDo::Install && seen.has_just_joined)
                || seen.to_do == ToDo::Nothing && seen.health != Health::Healthy && cause != Cause::Placement
        };
        let meant = self
            .clusters
            .iter()
            .filter(|(name, seen)| is_meant(seen) && !seen.is_withdrawn && !self.is_kept(name, seen));
        let meant = meant.map(|(name, _)| name).collect();
        let past = &self.next.course.past;
        let parent = past.last().map(|ended| ended.id.clone());
        let digest = self.target.basis.digest();
        let taken = |number: u32| {
            let id = RolloutId::new(self.target.app, &digest, number);
            past.iter().any(|ended| ended.id == id)
        };
        let number = (1..).find(|number| !taken(*number))?;
        let plan = plan(self.target, self.clusters, meant, cause, (parent, number), self.moment.now_ms);
        if plan.waves.is_empty() {
            return None;
        }
        let id = plan.id.clone();
        self.event("RolloutStarted", &id, format!("{cause:?}, {} clusters", plan.size()));
        let progress = Progress {
            plan: id,
            phase: Phase::Progressing,
            wave: 0,
            wave_since_ms: None,
            soaking_since_ms: None,
            healthy_on_since_ms: None,
            approved: BTreeMap::new(),
            underway: BTreeMap::new(),
            healthy: BTreeSet::new(),
            failed: BTreeSet::new(),
            excused: BTreeSet::new(),
            gone: BTreeSet::new(),
            paused: None,
            superseded,
        };
        Some((plan, progress))
    }

    fn under_way(&mut self, mut progress: Progress, plan: &Plan) {
        // What is being taken back is taken back first, whatever comes next.
        if matches!(progress.phase, Phase::RollingBack { .. }) {
            return self.roll_back(progress, plan);
        }
        if self.next.plan.is_none() && self.is_another(plan) {
            return self.superseded(progress, plan);
        }
        if self.next.course.retry.take().is_some() {
            let failed = std::mem::take(&mut progress.failed);
            progress.excused.extend(failed);
            if matches!(progress.phase, Phase::Halted { .. }) {
                progress.phase = Phase::Progressing;
                self.event("RolloutRetried", &plan.id, "");
            }
        }
        self.hear(&mut progress, plan);
        // One cluster's own change moves that cluster alone, once it had its turn.
        let had = |name: &ClusterName| progress.had(name) && !progress.underway.contains_key(name);
        let few = self.due().filter(|(_, seen)| seen.to_do == ToDo::Remove).count() <= AT_ONCE;
        let own = self.due().filter(|(name, seen)| match seen.to_do {
            ToDo::Remove => few && (had(name) || !plan.has(name)),
            _ => had(name),
        });
        let own = own.map(|(name, _)| name.clone());
        let own: BTreeSet<ClusterName> = own.collect();
        self.next.go.extend(own);
        // Where the app has no version to stay at meanwhile, who joins has it at once.
        if self.next.course.completed.is_none() {
            let joins: Vec<ClusterName> = self
                .due()
                .filter(|(_, seen)| seen.to_do == ToDo::Install && seen.has_just_joined)
                .map(|(name, _)| name.clone())
                .collect();
            self.next.go.extend(joins);
        }
        // With nothing to return to it halted, and what failed is well now.
        let halted = matches!(progress.phase, Phase::Halted { .. }) && plan.then == Then::Rollback;
        if halted && progress.failed.is_empty() {
            progress.phase = Phase::Progressing;
            self.event("RolloutResumed", &plan.id, "what failed is healthy now");
        }
        if matches!(progress.phase, Phase::Progressing) {
            self.waves(&mut progress, plan);
        }
        match &progress.phase {
            Phase::Progressing if progress.wave >= plan.waves.len() => return self.complete(progress, plan),
            Phase::RollingBack { .. } => return self.roll_back(progress, plan),
            Phase::Halted { reason } => {
                self.next.waits_for = Some(WaitsFor::Retry { reason: reason.clone() });
            }
            Phase::Progressing => {}
        }
        // What was counted as sent and was not, because somebody was cut off in between, is sent.
        let again = progress.underway.keys().filter(|name| {
            self.clusters.get(*name).is_some_and(|seen| seen.to_do.is_due() && seen.obstacle.is_none())
        });
        self.next.go.extend(again.cloned());
        self.next.course.current = Some(progress);
    }

    /// Whether the app is to become something else than a plan says. What came to its group meanwhile is none of the plan's, unless
    /// it changes.
    fn is_another(&self, plan: &Plan) -> bool {
        let basis = self.target.basis;
        let was = self.next.course.completed.as_ref().map(|completed| &completed.basis);
        !plan.basis.is_same(basis) || was.is_some_and(|was| basis.changes_beside(&plan.basis, was))
    }

    /// Another version takes its place.
    fn superseded(&mut self, progress: Progress, plan: &Plan) {
        if let Some(until_ms) = self.moment.settles_ms {
            self.due_at(until_ms);
            self.next.waits_for = Some(WaitsFor::Sessions { until_ms });
            self.next.course.current = Some(progress);
            return;
        }
        let is_last = progress.wave + 1 >= plan.waves.len();
        let superseded = if is_last { 0 } else { progress.superseded + 1 };
        let id = plan.id.clone();
        self.event("RolloutSuperseded", &id, format!("by commit {}", self.target.commit));
        self.end(&progress, plan, Outcome::Superseded, String::new());
        // Back at what is complete: whoever changed returns by way of a plan as well.
        match self.begin(self.cause(), superseded) {
            Some((plan, progress)) => {
                self.next.plan = Some(plan.clone());
                self.under_way(progress, &plan);
            }
            None => self.idle(),
        }
    }

    /// All waves had their turn.
    fn complete(&mut self, progress: Progress, plan: &Plan) {
        let apart: BTreeSet<ClusterName> = self
            .due()
            .filter(|(name, _)| !self.next.go.contains(*name))
            .map(|(name, _)| name.clone())
            .collect();
        let last = plan.waves.last();
        self.completed(Completed {
            basis: plan.basis.with(self.target.basis),
            commit: plan.commit.clone(),
            sources: plan.sources.clone(),
            at_ms: self.moment.now_ms,
            apart,
            apart_at_once: last.map_or(1, |wave| wave.max_unavailable),
        });
        let id = plan.id.clone();
        self.event(
            "RolloutCompleted",
            &id,
            format!(
                "{} of {} clusters are healthy",
                progress.healthy.len() + progress.gone.len(),
                plan.size()
            ),
        );
        self.end(&progress, plan, Outcome::Completed, String::new());
    }

    pub(super) fn end(&mut self, progress: &Progress, plan: &Plan, outcome: Outcome, reason: String) {
        let number = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        let past = &mut self.next.course.past;
        past.push(Ended {
            id: plan.id.clone(),
            cause: plan.cause,
            commit: plan.commit.clone(),
            outcome,
            made_ms: plan.made_ms,
            at_ms: self.moment.now_ms,
            clusters: number(plan.size()),
            healthy: number(progress.healthy.len() + progress.gone.len()),
            reason,
        });
        past.drain(..past.len().saturating_sub(PAST));
        self.next.course.current = None;
    }
}
