//! Waves: who of a wave may go now, and when the next one begins.
//!
//! In: progress, its plan, what is seen now. Out: progress, clusters that go, what is waited for.
//! Never: lets more clusters of a wave be unavailable than its budget.

use std::collections::{BTreeMap, BTreeSet};

use super::advance::Step;
use super::{Health, Obstacle, Phase, Plan, PlannedWave, Progress, Seen, ToDo, Underway, WaitsFor};
use crate::ClusterName;
use crate::catalog::Then;

impl Step<'_> {
    /// Goes from wave to wave, as far as it may now.
    pub(super) fn waves(&mut self, progress: &mut Progress, plan: &Plan) {
        while let Some(wave) = plan.waves.get(progress.wave) {
            let members = self.members(progress, plan);
            if members.is_empty() {
                // Where nobody has it, nobody says that it is well.
                let withdrawn = self.due().filter(|(name, seen)| seen.is_withdrawn && plan.has(name)).count();
                let is_last = progress.wave + 1 == plan.waves.len();
                if is_last && withdrawn > 0 && progress.healthy.is_empty() && progress.gone.is_empty() {
                    let waits_for = WaitsFor::Reachable { wave: wave.name.clone(), clusters: withdrawn };
                    self.next.waits_for = Some(waits_for);
                    return;
                }
                self.next_wave(progress);
                continue;
            }
            if let Some(order) = &progress.paused {
                self.next.waits_for = Some(WaitsFor::Resume { order: order.clone() });
                return;
            }
            if let Some(until_ms) = self.moment.settles_ms {
                self.due_at(until_ms);
                self.next.waits_for = Some(WaitsFor::Sessions { until_ms });
                return;
            }
            if self.is_broken(progress, plan, wave) {
                return;
            }
            if progress.wave_since_ms.is_none() {
                if let Some(waits_for) = self.before(progress, wave) {
                    self.next.waits_for = Some(waits_for);
                    return;
                }
                progress.wave_since_ms = Some(self.moment.now_ms);
                if progress.wave + 1 == plan.waves.len() {
                    progress.superseded = 0;
                }
                self.event("WaveStarted", &plan.id, format!("{}, {} clusters", wave.name, members.len()));
            }
            if !self.send(progress, plan, wave, &members) {
                return;
            }
            self.next_wave(progress);
        }
    }

    fn next_wave(&mut self, progress: &mut Progress) {
        progress.wave += 1;
        // They were as many as may fail.
        progress.excused.append(&mut progress.failed);
        progress.wave_since_ms = None;
        progress.soaking_since_ms = None;
        progress.healthy_on_since_ms = None;
    }

    /// The clusters of the wave that has its turn, as far as they are there. The last one has whoever joined and who was away
    /// in an earlier one, too.
    fn members(&self, progress: &Progress, plan: &Plan) -> BTreeSet<ClusterName> {
        let is_there = |name: &ClusterName| self.clusters.get(name).is_some_and(|seen| !seen.is_withdrawn);
        let here = |name: &&ClusterName| is_there(name) || progress.had(name);
        let wave = plan.waves.get(progress.wave);
        let mut members: BTreeSet<ClusterName> =
            wave.into_iter().flat_map(|wave| &wave.members).filter(here).cloned().collect();
        if progress.wave + 1 == plan.waves.len() {
            members.extend(self.due().filter(|(_, seen)| !seen.is_withdrawn).map(|(name, _)| name.clone()));
            // Whoever came late is at work under this one's budget.
            members.extend(progress.underway.keys().chain(&progress.failed).cloned());
        }
        members
    }

    /// Whether more failed than may; then it halts or rolls back.
    fn is_broken(&mut self, progress: &mut Progress, plan: &Plan, wave: &PlannedWave) -> bool {
        let failed: Vec<&ClusterName> = progress.failed.iter().collect();
        let [first, ..] = failed.as_slice() else { return false };
        if failed.len() <= wave.max_failed as usize {
            return false;
        }
        let reason = match failed.len() {
            1 => format!("{first} was not healthy in time, in wave {}", wave.name),
            n => {
                format!("{n} clusters were not healthy in time, in wave {}, the first is {first}", wave.name)
            }
        };
        let can_return = self.clusters.iter().any(|(name, seen)| seen.can_return && progress.had(name));
        match plan.then {
            Then::Rollback if can_return => {
                self.event("RollingBack", &plan.id, &reason);
                progress.phase = Phase::RollingBack { reason, by: None, returned: BTreeMap::new() };
            }
            _ => {
                self.event("RolloutHalted", &plan.id, &reason);
                progress.phase = Phase::Halted { reason };
            }
        }
        true
    }

    /// What a wave waits for before it begins.
    fn before(&mut self, progress: &mut Progress, wave: &PlannedWave) -> Option<WaitsFor> {
        let before = &wave.before;
        if before.approval && !progress.approved.contains_key(&wave.name) {
            return Some(WaitsFor::Approval { wave: wave.name.clone() });
        }
        let selector = before.healthy_on.as_ref()?;
        let of: Vec<&Seen<'_>> = self
            .clusters
            .values()
            .filter(|seen| seen.to_do != ToDo::Leaving && !seen.is_withdrawn)
            .filter(|seen| selector.matches(&seen.candidate.labels))
            .collect();
        let is_well = |seen: &&&Seen<'_>| seen.to_do == ToDo::Nothing && seen.health == Health::Healthy;
        let healthy = of.iter().filter(is_well).count();
        let waits =
            |until_ms| WaitsFor::HealthyOn { wave: wave.name.clone(), healthy, of: of.len(), until_ms };
        if healthy < of.len() || of.is_empty() {
            progress.healthy_on_since_ms = None;
            return Some(waits(None));
        }
        let since_ms = *progress.healthy_on_since_ms.get_or_insert(self.moment.now_ms);
        let until_ms = since_ms.saturating_add(before.for_ms);
        if self.moment.now_ms >= until_ms {
            return None;
        }
        let waits = waits(Some(until_ms));
        self.due_at(until_ms);
        Some(waits)
    }

    /// Sends as many clusters of the wave as its budget allows; true when all of it is done.
    fn send(
        &mut self,
        progress: &mut Progress,
        plan: &Plan,
        wave: &PlannedWave,
        members: &BTreeSet<ClusterName>,
    ) -> bool {
        let (now_ms, clusters) = (self.moment.now_ms, self.clusters);
        let unsent: Vec<(&ClusterName, &Seen<'_>)> = members
            .iter()
            .filter(|name| !progress.had(name))
            .filter_map(|name| Some((name, clusters.get(name)?)))
            .filter(|(_, seen)| seen.to_do.is_due())
            .collect();
        let sent = members.iter().filter(|name| progress.had(name)).count();
        let turns = wave.pace.map_or(usize::MAX, |pace| {
            let begun = now_ms.saturating_sub(progress.wave_since_ms.unwrap_or(now_ms));
            let turns = begun / pace.every_ms.max(1) + 1;
            (pace.step as usize).saturating_mul(usize::try_from(turns).unwrap_or(usize::MAX))
        });
        let mut turns = turns.saturating_sub(sent);
        let is_of = |name: &ClusterName| members.contains(name);
        let costs = |(name, underway): &(&ClusterName, &Underway)| is_of(name) && !underway.sick;
        let unavailable = progress.underway.iter().filter(costs).count();
        let failed = progress.failed.iter().filter(|name| is_of(name)).count();
        let mut room = (wave.max_unavailable as usize).saturating_sub(unavailable + failed);
        // As many may fail as the rule says: those alone do not stop it.
        if room == 0 && unavailable == 0 {
            room = 1;
        }
        // Whoever was to go ahead has left: others do.
        if progress.healthy.is_empty() && progress.gone.is_empty() {
            let ahead = plan.waves.first().map_or(1, |first| first.members.len());
            room = room.min(ahead.saturating_sub(progress.underway.len()));
        }
        let is_sick = |seen: &Seen<'_>| seen.to_do == ToDo::Change && seen.health == Health::Degraded;
        let (sick, well): (Vec<_>, Vec<_>) = unsent
            .iter()
            .filter(|(_, seen)| seen.obstacle.is_none())
            .partition::<Vec<_>, _>(|(_, seen)| is_sick(seen));
        let mut held_by_pace = false;
        for (name, seen) in sick.iter().chain(&well).copied() {
            let sick = is_sick(seen);
            if turns == 0 {
                held_by_pace = true;
                break;
            }
            if !sick && room == 0 {
                break;
            }
            turns -= 1;
            room -= usize::from(!sick);
            let leaves = seen.to_do == ToDo::Remove;
            let underway = Underway { since_ms: now_ms, sick, waits: false, leaves };
            progress.underway.insert((*name).clone(), underway);
            self.next.go.insert((*name).clone());
            progress.soaking_since_ms = None;
        }
        if !progress.underway.is_empty() {
            self.due_at(now_ms.saturating_add(plan.deadline_ms));
        }
        if held_by_pace && let Some(pace) = wave.pace {
            let since = progress.wave_since_ms.unwrap_or(now_ms);
            let gone = now_ms.saturating_sub(since) / pace.every_ms.max(1);
            let until_ms = since.saturating_add((gone + 1).saturating_mul(pace.every_ms));
            self.due_at(until_ms);
            self.next.waits_for = Some(WaitsFor::Pace { wave: wave.name.clone(), until_ms });
            return false;
        }
        let underway: Vec<&ClusterName> = progress.underway.keys().filter(|name| is_of(name)).collect();
        if let [first, ..] = underway.as_slice() {
            let waits_for = WaitsFor::Health {
                wave: wave.name.clone(),
                clusters: underway.len(),
                first: (*first).clone(),
            };
            self.next.waits_for = Some(waits_for);
            return false;
        }
        let left = unsent.iter().filter(|(name, _)| !progress.had(name));
        let paused = left.clone().filter(|(_, seen)| seen.obstacle == Some(Obstacle::Paused)).count();
        let is_well = |name: &ClusterName| progress.healthy.contains(name) || progress.gone.contains(name);
        let succeeded = members.iter().any(is_well);
        // Whoever an operator let pass counts as seen to.
        let excused = members.iter().any(|name| progress.excused.contains(name));
        if paused > 0 || !succeeded && !excused {
            let clusters = if paused > 0 { paused } else { left.count() };
            self.next.waits_for = Some(WaitsFor::Reachable { wave: wave.name.clone(), clusters });
            return false;
        }
        let since_ms = *progress.soaking_since_ms.get_or_insert(now_ms);
        let until_ms = since_ms.saturating_add(wave.soak_ms);
        if now_ms < until_ms {
            self.due_at(until_ms);
            self.next.waits_for = Some(WaitsFor::Soak { wave: wave.name.clone(), until_ms });
            return false;
        }
        true
    }
}
