//! Moves: how the changes of a plan would go through the fleet, and what stops them.
//!
//! In: what the decider comes to with base and revision. Out: waves, waits and holds of apps.
//! Never: makes a rollout's plan: the decider made it.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::guard::{Hold, HoldCause, TRAILER};
use nave_placement::rollout::{AT_ONCE, Cause, Plan, PlannedWave};
use nave_placement::{AppKey, ClusterName};

use super::settle::Rest;
use super::view::{HoldPlan, Moves, RolloutPlan, Told, Wait, WavePlan, WaveWaits};
use crate::deciding::core::maintained;
use crate::deciding::units::Units;
use crate::operator::worked_on;
use crate::state::State;

/// The plan of the rollout that begins with the revision, under whose name an app moves.
pub fn begins<'a>(base: &State, new: &'a Rest, units: &Units, app: &AppKey) -> Option<&'a Plan> {
    let lead = units.lead(app);
    let progress = new.state.rollouts.get(lead)?.current.as_ref()?;
    let key = (lead.clone(), progress.plan.as_str().to_owned());
    let plan = new.state.plans.get(&key).filter(|_| !base.plans.contains_key(&key))?;
    Some(&plan.record)
}

/// A rollout, named.
pub fn rollout(plan: &Plan) -> RolloutPlan {
    RolloutPlan { id: plan.id.to_string(), cause: plan.cause }
}

/// The waves of a plan, and what each waits for.
pub fn waves(plan: &Plan) -> Vec<WavePlan> {
    let before = std::iter::once(None).chain(plan.waves.iter().map(Some));
    let wave = |(before, wave): (Option<&PlannedWave>, &PlannedWave)| WavePlan {
        name: wave.name.clone(),
        clusters: wave.members.clone(),
        waits_for: waits_for(before, wave).into_iter().map(Told::new).collect(),
    };
    before.zip(&plan.waves).map(wave).collect()
}

fn waits_for(before: Option<&PlannedWave>, wave: &PlannedWave) -> Vec<WaveWaits> {
    let mut waits = Vec::new();
    if let Some(before) = before {
        waits.push(WaveWaits::Healthy { wave: before.name.clone() });
        if before.soak_ms > 0 {
            waits.push(WaveWaits::Soak { wave: before.name.clone(), ms: before.soak_ms });
        }
    }
    if wave.before.approval {
        waits.push(WaveWaits::Approval);
    }
    if let Some(selector) = &wave.before.healthy_on {
        waits.push(WaveWaits::HealthyOn { selector: selector.to_string(), for_ms: wave.before.for_ms });
    }
    if let Some(pace) = &wave.pace {
        waits.push(WaveWaits::Pace { step: pace.step, every_ms: pace.every_ms });
    }
    if (wave.max_unavailable as usize) < wave.members.len() {
        waits.push(WaveWaits::AtOnce { clusters: wave.max_unavailable });
    }
    waits
}

/// How an app moves to these clusters.
pub fn how(
    (base, new): (&State, &State),
    (plan, units): (Option<&Plan>, &Units),
    app: &AppKey,
    is_new: bool,
    clusters: &[&ClusterName],
) -> Moves {
    match plan {
        Some(plan) if plan.cause == Cause::FirstInstallation && plan.waves.len() == 1 => {
            Moves::FirstInstallation
        }
        Some(_) => Moves::InWaves,
        None if !clusters.iter().any(|cluster| is_told(base, new, app, cluster)) => Moves::NotYet,
        None if new.rollouts.get(units.lead(app)).is_some_and(|course| course.current.is_some()) => {
            Moves::UnderWay
        }
        None if is_new && clusters.len() <= AT_ONCE => Moves::FirstInstallation,
        None => Moves::AtOnce,
    }
}

/// Whether a cluster is told something else of an app.
fn is_told(base: &State, new: &State, app: &AppKey, cluster: &ClusterName) -> bool {
    let entry = |state: &State| {
        let told = state.told.get(cluster)?;
        told.assignment.entries.get(app).map(|entry| entry.digest)
    };
    entry(base) != entry(new)
}

/// Clusters of a plan that the app is to leave whatever comes of the revision.
pub fn leaving((base, new): (&Rest, &Rest), plan: &Plan, app: &AppKey) -> Vec<ClusterName> {
    let wants = |rest: &Rest, cluster: &ClusterName| {
        rest.decided.wanted.get(cluster).is_some_and(|apps| apps.contains_key(app))
    };
    let has = |cluster: &ClusterName| {
        base.state.told.get(cluster).is_some_and(|told| told.assignment.entries.contains_key(app))
    };
    let members = plan.waves.iter().flat_map(|wave| &wave.members);
    members.filter(|on| has(on) && !wants(base, on) && !wants(new, on)).cloned().collect()
}

/// What of these clusters does not happen yet for another reason than its wave or the guard.
pub fn waits(
    (base, new): (&State, &Rest),
    (app, units): (&AppKey, &Units),
    clusters: &[&ClusterName],
    in_waves: bool,
    now_ms: u64,
) -> Vec<Wait> {
    let mut by_message: BTreeMap<String, Vec<ClusterName>> = BTreeMap::new();
    let pauses: Vec<_> = new.state.paused(now_ms).collect();
    for cluster in clusters {
        let maintenance =
            maintained(&new.state, cluster, now_ms).map(|work| format!("the cluster is {}", worked_on(work)));
        let pause = pauses.iter().find(|pause| pause.scope.covers(app, cluster));
        let pause = pause.map(|pause| format!("{pause}; `{}` ends it", pause.scope.resume()));
        // What is held already keeps all that moves with it on the cluster; what comes up is told by itself.
        let is_of =
            |(other, on): &(AppKey, ClusterName)| on == *cluster && units.lead(other) == units.lead(app);
        let mut held = new.state.holds.values().map(|held| &held.hold);
        let held = held.find(|hold| base.holds.contains_key(&hold.id) && hold.entries.iter().any(is_of));
        let held = held.map(|hold| format!("hold {}: {hold}", hold.id));
        // That it waits for its wave is told by the waves.
        let other = || {
            let waiting = if in_waves { &new.decided.held_back } else { &new.decided.waiting };
            waiting.get(&((*cluster).clone(), app.clone())).map(ToString::to_string)
        };
        if let Some(message) = maintenance.or(pause).or(held).or_else(other) {
            by_message.entry(message).or_default().push((*cluster).clone());
        }
    }
    by_message.into_iter().map(|(message, clusters)| Wait { clusters, message }).collect()
}

/// Pins that keep an app from what the revision changes of it.
pub fn pinned(base: &Rest, new: &Rest, app: &AppKey) -> Vec<Wait> {
    if !is_changed(base, new, app) {
        return Vec::new();
    }
    let pins = new.state.pins.values().filter(|pin| pin.app == *app);
    let wait = |pin: &crate::state::records::PinRecord| {
        let is_meant = |cluster: &&ClusterName| {
            let candidate = new.decided.fleet.get(*cluster);
            candidate.is_some_and(|candidate| pin.selector.matches(&candidate.labels))
        };
        let wanted = new.decided.wanted.iter().filter(|(_, apps)| apps.contains_key(app));
        Wait {
            clusters: wanted.map(|(cluster, _)| cluster).filter(is_meant).cloned().collect(),
            message: format!("{pin}; `hub pin remove {}` lets it go on", pin.id),
        }
    };
    pins.map(|pin| wait(&pin.record)).filter(|wait| !wait.clusters.is_empty()).collect()
}

/// Clusters on which an app that the revision changes takes no changes, since it is not granted there.
pub fn ungranted(base: &Rest, new: &Rest, app: &AppKey) -> Vec<Wait> {
    let mut by_message: BTreeMap<&str, Vec<ClusterName>> = BTreeMap::new();
    let of = new.decided.withdrawn.iter().filter(|((of, _), stay)| of == app && stay.told.is_some());
    for ((_, cluster), stay) in of.filter(|_| is_changed(base, new, app)) {
        by_message.entry(&stay.why).or_default().push(cluster.clone());
    }
    by_message.into_iter().map(|(why, clusters)| Wait { clusters, message: why.to_owned() }).collect()
}

/// Whether the revision makes an app something else somewhere.
fn is_changed(base: &Rest, new: &Rest, app: &AppKey) -> bool {
    let versions = |rest: &Rest| {
        let forms = rest.revision.forms.get(app);
        forms.map(|forms| forms.iter().map(|(v, form)| (v.clone(), form.version)).collect::<BTreeMap<_, _>>())
    };
    let (before, after) = (versions(base), versions(new));
    before != after && after.is_some()
}

/// Holds that come up with the revision. `admissions` are those of whole commits.
pub fn holds(base: &State, new: &State, admissions: &[Hold]) -> Vec<HoldPlan> {
    let come = new.holds.values().map(|held| &held.hold).filter(|hold| !base.holds.contains_key(&hold.id));
    admissions.iter().chain(come).map(hold).collect()
}

fn hold(hold: &Hold) -> HoldPlan {
    let Hold { id, cause, losing, of, limit, entries } = hold;
    let mut apps: BTreeSet<AppKey> = entries.iter().map(|(app, _)| app.clone()).collect();
    let clusters: BTreeSet<&ClusterName> = entries.iter().map(|(_, cluster)| cluster).collect();
    if let HoldCause::Objects { app } = cause {
        apps.insert(app.clone());
    }
    let approve = format!("`hub hold approve {id}` once it is held");
    let trailer = |of: String, count: usize| format!("trailer `{TRAILER}: {of}={count}` in the commit");
    let allow = match cause {
        HoldCause::App { app } => vec![trailer(format!("app/{app}"), entries.len()), approve],
        HoldCause::Objects { app } => vec![trailer(format!("app/{app}/objects"), *losing), approve],
        HoldCause::Cluster { .. } | HoldCause::LastEntries | HoldCause::Fleet => {
            vec![trailer("*".to_owned(), entries.len()), approve]
        }
        HoldCause::NotDescendant { taken, .. } => {
            vec![format!("rebase it onto {}, or merge that into it", taken.short()), approve]
        }
        HoldCause::EmptyCatalog { .. }
        | HoldCause::ProtectedApp { .. }
        | HoldCause::ProtectedCluster { .. }
        | HoldCause::Leftovers { .. } => vec![approve],
    };
    HoldPlan {
        id: id.clone(),
        cause: cause.clone(),
        losing: *losing,
        of: *of,
        limit: *limit,
        apps: apps.into_iter().collect(),
        clusters: clusters.into_iter().cloned().collect(),
        message: hold.to_string(),
        allow,
    }
}
