//! Hear: what clusters say of what they were sent becomes who is healthy, who failed and who still has time.
//!
//! In: progress, what is seen now. Out: progress. Never: lets anybody fail while the hub cannot have heard it.

use std::collections::BTreeMap;

use super::advance::Step;
use super::{Health, Plan, Progress, ToDo, Underway};
use crate::ClusterName;

impl Step<'_> {
    /// Takes in what clusters say.
    pub(super) fn hear(&mut self, progress: &mut Progress, plan: &Plan) {
        let now_ms = self.moment.now_ms;
        for set in [&mut progress.healthy, &mut progress.failed, &mut progress.excused] {
            set.retain(|name| self.clusters.contains_key(name));
        }
        // Whoever was told already and is not counted yet.
        for wave in plan.waves.iter().take(progress.wave + 1) {
            for name in &wave.members {
                let Some(seen) = self.clusters.get(name) else { continue };
                let known = progress.had(name);
                if !known && matches!(seen.to_do, ToDo::Nothing | ToDo::Leaving) {
                    let leaves = seen.to_do == ToDo::Leaving;
                    let underway = Underway { since_ms: now_ms, sick: false, waits: false, leaves };
                    progress.underway.insert(name.clone(), underway);
                }
            }
        }
        let mut waiting = BTreeMap::new();
        for (name, mut underway) in std::mem::take(&mut progress.underway) {
            let Some(seen) = self.clusters.get(&name) else {
                // It left, as it was to.
                if underway.leaves {
                    progress.gone.insert(name);
                }
                continue;
            };
            if seen.to_do.is_due() {
                // It was not told yet; what stands in its way now, stands there for as long as it does. Who went first because it
                // was not well, and is no longer so, has its turn with the others: now it costs something.
                let has_come_round = underway.sick && seen.health != Health::Degraded;
                if seen.obstacle.is_none() && !has_come_round {
                    waiting.insert(name, underway);
                }
                continue;
            }
            let waits = seen.health == Health::Waits;
            if underway.waits && !waits {
                underway.since_ms = now_ms;
            }
            underway.waits = waits;
            // A hub that is cut off in between tells it later than it decided so.
            let since_ms = underway.since_ms.max(seen.told_ms).max(self.moment.since_ms);
            let due_ms = since_ms.saturating_add(plan.deadline_ms);
            if seen.health == Health::Healthy {
                progress.healthy.insert(name);
            } else if !waits && self.moment.settles_ms.is_none() && now_ms >= due_ms {
                progress.failed.insert(name);
            } else {
                if !waits {
                    self.due_at(due_ms);
                }
                waiting.insert(name, underway);
            }
        }
        progress.underway = waiting;
        // Whoever falls sick while its wave soaks has its time again.
        if let Some(wave) = plan.waves.get(progress.wave).filter(|_| progress.soaking_since_ms.is_some()) {
            let is_sick = |name: &&ClusterName| {
                let degraded = self.clusters.get(*name).is_some_and(|seen| seen.health == Health::Degraded);
                degraded && progress.healthy.contains(*name)
            };
            let sick: Vec<ClusterName> = wave.members.iter().filter(is_sick).cloned().collect();
            for name in sick {
                progress.healthy.remove(&name);
                progress.soaking_since_ms = None;
                let underway = Underway { since_ms: now_ms, sick: false, waits: false, leaves: false };
                progress.underway.insert(name, underway);
            }
        }
        // Late, but healthy: it counts no longer as failed.
        let back = |name: &&ClusterName| {
            let seen = self.clusters.get(*name);
            seen.is_some_and(|seen| seen.to_do == ToDo::Nothing && seen.health == Health::Healthy)
        };
        let back: Vec<ClusterName> =
            progress.failed.iter().chain(&progress.excused).filter(back).cloned().collect();
        for name in back {
            progress.failed.remove(&name);
            progress.excused.remove(&name);
            progress.healthy.insert(name);
        }
    }
}
