//! Back: clusters that changed return to what they had.
//!
//! In: progress, its plan, what is seen now. Out: clusters that return, in the end a block.
//! Never: takes more healthy clusters back at once than the wave's budget; minds windows, approvals or soak.

use super::advance::Step;
use super::{Block, Health, Outcome, Phase, Plan, Progress, Seen, ToDo, WaitsFor};
use crate::ClusterName;

impl Step<'_> {
    /// Clusters that changed return to what they had: those that failed first.
    pub(super) fn roll_back(&mut self, mut progress: Progress, plan: &Plan) {
        let (now_ms, clusters) = (self.moment.now_ms, self.clusters);
        let Phase::RollingBack { reason, by, mut returned } = progress.phase.clone() else { return };
        returned.retain(|name, _| clusters.contains_key(name));
        // Sent the change, with something to return to: that ends once it is told so.
        let is_moved =
            |seen: &Seen<'_>| seen.can_return && !matches!(seen.to_do, ToDo::Remove | ToDo::Leaving);
        let moved = clusters.iter().filter(|(name, seen)| progress.had(name) && is_moved(seen));
        let (well, sick): (Vec<_>, Vec<_>) = moved.partition(|(_, seen)| seen.health == Health::Healthy);
        self.next.back.extend(sick.iter().map(|(name, _)| (*name).clone()));
        let wave = plan.waves.get(progress.wave).or(plan.waves.last());
        let budget = wave.map_or(1, |wave| wave.max_unavailable) as usize;
        let is_away = |name: &ClusterName, since_ms: u64| {
            let seen = clusters.get(name);
            let healthy = seen.is_some_and(|s| !s.can_return && s.health == Health::Healthy);
            !healthy && now_ms < since_ms.saturating_add(plan.deadline_ms)
        };
        let was_well = |name: &&ClusterName| progress.healthy.contains(*name);
        let unavailable = returned.iter().filter(|(name, since)| was_well(name) && is_away(name, **since));
        let room = budget.saturating_sub(unavailable.count());
        self.next.back.extend(well.iter().take(room).map(|(name, _)| (*name).clone()));
        for name in &self.next.back {
            returned.entry(name.clone()).or_insert(now_ms);
        }
        let left = well.len() + sick.len();
        if left > 0 {
            let waiting = well.len().saturating_sub(room);
            if waiting > 0 {
                self.due_at(now_ms.saturating_add(plan.deadline_ms));
            }
            self.next.waits_for = Some(WaitsFor::Return { clusters: left });
            progress.phase = Phase::RollingBack { reason, by, returned };
            self.next.course.current = Some(progress);
            return;
        }
        self.event("RolledBack", &plan.id, &reason);
        self.next.course.block = Some(Block {
            basis: plan.basis.clone(),
            rollout: plan.id.clone(),
            at_ms: now_ms,
            reason: reason.clone(),
            kept: clusters
                .iter()
                .filter(|(name, seen)| seen.to_do == ToDo::Remove && plan.has(name))
                .map(|(name, _)| name.clone())
                .collect(),
        });
        self.end(&progress, plan, Outcome::RolledBack, reason);
    }
}
