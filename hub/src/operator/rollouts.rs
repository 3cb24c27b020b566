//! Rollouts: what operators see of them and order.
//!
//! In: a [`Look`]; requests whose role was checked. Out: views; changed courses, with what to say.
//! Never: sends anything: deciding carries out what was ordered.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::rollout::{
    Cause, Course, Ended, Order, Outcome, Phase, Plan, Progress, STARVED, WaitsFor,
};
use nave_proto::v1;
use tonic::Status;

use super::look::Look;
use super::service::{Answer, OperatorService, argument, commit_status, document};
use super::views::{BlockView, DoneView, RolloutPhase, RolloutRow, RolloutView, WaveState, WaveView};
use crate::deciding::core::json;
use crate::deciding::units::Units;
use crate::deciding::waiting::told;
use crate::state::records::key;
use crate::state::{Audit, State, Step, Versioned};
use crate::store::Batch;

impl Look<'_> {
    /// `hub rollout list`: those that are under way, worst first; with `all` those that ended too, the newest first.
    pub fn rollouts(&self, app: Option<&AppKey>, all: bool) -> Vec<RolloutRow> {
        let units = self.units();
        let courses = self.courses(app.map(|app| units.lead(app)));
        let mut rows: Vec<RolloutRow> = courses
            .clone()
            .filter_map(|(app, course)| {
                let (progress, plan) = current(self.state, app, course)?;
                Some(self.row(app, progress, plan))
            })
            .collect();
        rows.sort_by(|a, b| (a.phase, &a.id).cmp(&(b.phase, &b.id)));
        if all {
            let mut past: Vec<RolloutRow> = courses
                .flat_map(|(app, course)| course.past.iter().map(|ended| row_of(app, course, ended)))
                .collect();
            past.sort_by_key(|row| std::cmp::Reverse(row.ended_ms));
            rows.extend(past);
        }
        rows
    }

    /// Which apps move as one.
    pub fn units(&self) -> Units {
        self.picture.revision.as_ref().map(|revision| Units::of(&revision.catalog)).unwrap_or_default()
    }

    fn courses<'b>(
        &'b self,
        app: Option<&'b AppKey>,
    ) -> impl Iterator<Item = (&'b AppKey, &'b Course)> + Clone {
        let all = self.state.rollouts.iter().map(|(app, course)| (app, &*course.record));
        all.filter(move |(of, _)| app.is_none_or(|app| app == *of))
    }

    /// What is blocked.
    pub fn blocks(&self, app: Option<&AppKey>) -> Vec<BlockView> {
        let block = |(app, course): (&AppKey, &Course)| {
            let block = course.block.as_ref()?;
            Some(BlockView {
                app: app.clone(),
                rollout: block.rollout.to_string(),
                since_ms: block.at_ms,
                reason: block.reason.clone(),
            })
        };
        self.courses(app).filter_map(block).collect()
    }

    /// `hub rollout show`.
    pub fn rollout(&self, name: &str) -> Option<RolloutView> {
        let led = self.units().led(name);
        let name = led.as_str();
        let (app, course) = self.courses(None).find(|(app, course)| is_meant(app, course, name))?;
        if let Some((progress, plan)) = current(self.state, app, course)
            && (plan.id.as_str() == name || app.to_string() == name)
        {
            let waves = plan.waves.iter().enumerate().map(|(at, _)| wave(plan, progress, at)).collect();
            return Some(RolloutView {
                row: self.row(app, progress, plan),
                waves,
                paused: progress.paused.clone(),
                superseded: progress.superseded,
            });
        }
        let ended = course.past.iter().rev().find(|e| e.id.as_str() == name || app.to_string() == name)?;
        let row = row_of(app, course, ended);
        Some(RolloutView { row, waves: Vec::new(), paused: None, superseded: 0 })
    }

    fn row(&self, app: &AppKey, progress: &Progress, plan: &Plan) -> RolloutRow {
        let waits_for = self.picture.waits_for.get(app).cloned();
        let phase = match (&progress.phase, &waits_for) {
            (Phase::Halted { .. }, _) => RolloutPhase::Halted,
            (Phase::RollingBack { .. }, _) => RolloutPhase::RollingBack,
            (Phase::Progressing, _) if progress.paused.is_some() => RolloutPhase::Paused,
            (Phase::Progressing, _) if progress.superseded >= STARVED => RolloutPhase::Starved,
            (Phase::Progressing, None | Some(WaitsFor::Health { .. })) => RolloutPhase::Progressing,
            (Phase::Progressing, Some(_)) => RolloutPhase::Waiting,
        };
        let why = match &progress.phase {
            Phase::RollingBack { reason, .. } => format!("{reason}; "),
            _ => String::new(),
        };
        let now = waits_for.as_ref().map(|waits_for| told(waits_for, plan)).unwrap_or_default();
        let starved = match progress.superseded {
            times if times >= STARVED => format!(
                "; it was superseded {times} times before its last wave: `onNewRevision: Finish` lets one come to its end"
            ),
            _ => String::new(),
        };
        RolloutRow {
            id: plan.id.to_string(),
            app: app.clone(),
            group: self.units().group(app),
            phase,
            cause: plan.cause,
            commit: plan.commit.clone(),
            since_ms: plan.made_ms,
            ended_ms: None,
            wave: Some(progress.wave.min(plan.waves.len().saturating_sub(1)) + 1),
            clusters: plan.size(),
            healthy: progress.healthy.len() + progress.gone.len(),
            underway: progress.underway.len(),
            failed: progress.failed.len() + progress.excused.len(),
            waits_for,
            message: format!("{why}{now}{starved}"),
        }
    }
}

/// Whether a name means a rollout of an app: its id, or the app's name.
fn is_meant(app: &AppKey, course: &Course, name: &str) -> bool {
    let current = course.current.as_ref().is_some_and(|progress| progress.plan.as_str() == name);
    current || app.to_string() == name || course.past.iter().any(|ended| ended.id.as_str() == name)
}

fn current<'a>(state: &'a State, app: &AppKey, course: &'a Course) -> Option<(&'a Progress, &'a Plan)> {
    let progress = course.current.as_ref()?;
    let plan = state.plans.get(&(app.clone(), progress.plan.as_str().to_owned()))?;
    Some((progress, &plan.record))
}

fn row_of(app: &AppKey, course: &Course, ended: &Ended) -> RolloutRow {
    let is_blocked = course.block.as_ref().is_some_and(|block| block.rollout == ended.id);
    RolloutRow {
        id: ended.id.to_string(),
        app: app.clone(),
        group: Vec::new(),
        phase: match ended.outcome {
            _ if is_blocked => RolloutPhase::Blocked,
            Outcome::Completed => RolloutPhase::Completed,
            Outcome::RolledBack => RolloutPhase::RolledBack,
            Outcome::Superseded => RolloutPhase::Superseded,
        },
        cause: ended.cause,
        commit: ended.commit.clone(),
        since_ms: ended.made_ms,
        ended_ms: Some(ended.at_ms),
        wave: None,
        clusters: ended.clusters as usize,
        healthy: ended.healthy as usize,
        underway: 0,
        failed: 0,
        waits_for: None,
        message: ended.reason.clone(),
    }
}

fn wave(plan: &Plan, progress: &Progress, at: usize) -> WaveView {
    let wave = &plan.waves[at];
    let is_last = at + 1 == plan.waves.len();
    let is_of = |cluster: &&nave_placement::ClusterName| plan.wave_of(cluster) == at;
    let healthy = progress.healthy.iter().chain(&progress.gone).filter(is_of).count();
    let joined = if is_last { healthy.saturating_sub(wave.members.len()) } else { 0 };
    WaveView {
        name: wave.name.clone(),
        state: match at.cmp(&progress.wave) {
            std::cmp::Ordering::Less => WaveState::Done,
            std::cmp::Ordering::Equal => WaveState::Current,
            std::cmp::Ordering::Greater => WaveState::Next,
        },
        clusters: wave.members.len() + joined,
        healthy,
        max_unavailable: wave.max_unavailable,
        underway: progress.underway.keys().filter(is_of).cloned().collect(),
        failed: progress.failed.iter().chain(&progress.excused).filter(is_of).cloned().collect(),
        approved_by: progress.approved.get(&wave.name).cloned(),
    }
}

/// What an order makes of a course, what the audit log calls it, and what to say.
type Ordered = (Course, &'static str, String);

impl OperatorService {
    pub(super) async fn order_rollout(&self, request: v1::RolloutOrderRequest, audit: Audit) -> Answer {
        let kind = request.order();
        let v1::RolloutOrderRequest { id, wave, reason, .. } = request;
        let id = self.look(|look| look.units().led(&id));
        let order =
            Order { by: audit.name().to_owned(), at_ms: self.rooms.ledger.now_ms(), reason: reason.clone() };
        let found = {
            let state = self.rooms.ledger.state();
            let meant = |(app, course): &(&AppKey, &Versioned<Arc<Course>>)| is_meant(app, course, &id);
            let course = state.rollouts.iter().find(meant).map(|(app, course)| (app.clone(), course.clone()));
            let plan =
                course.as_ref().and_then(|(app, course)| Some(current(&state, app, course)?.1.clone()));
            course.map(|(app, course)| (app, course, plan))
        };
        let (app, course, plan) = found.ok_or_else(|| unknown_rollout(&id))?;
        let ordered = ordered(&app, &course, plan.as_ref(), (kind, &id, &wave), order);
        let (next, what, message) = ordered.map_err(|why| match why {
            Refused::Argument(why) => argument(why),
            Refused::Precondition(why) => Status::failed_precondition(why),
        })?;
        let subject = match (&plan, &course.block) {
            (Some(plan), _) => format!("rollout {}", plan.id),
            (None, Some(block)) => format!("rollout {}", block.rollout),
            (None, None) => format!("app {app}"),
        };
        let details = match wave.is_empty() {
            true => BTreeMap::new(),
            false => BTreeMap::from([("wave".to_owned(), wave)]),
        };
        let audit = Audit { what, subject, why: reason, details, ..audit };
        let place = key::rollout(&app);
        let batch = Batch::new().require_at(place.clone(), course.version).put(place, json(&next));
        let committed = self.rooms.ledger.commit_audited(Step::RolloutOrdered, batch, &[audit]).await;
        committed.map_err(|e| commit_status(&e))?;
        document(&DoneView { message })
    }
}

/// There is none of this name.
pub(super) fn unknown_rollout(id: &str) -> Status {
    Status::not_found(format!(
        "there is no rollout {id} (any more), and no app of that name that moves; `hub rollout list --all` shows those that there are"
    ))
}

/// Why an order is not carried out.
enum Refused {
    Argument(String),
    Precondition(String),
}

fn ordered(
    app: &AppKey,
    course: &Course,
    plan: Option<&Plan>,
    (kind, name, wave): (v1::rollout_order_request::Order, &str, &str),
    order: Order,
) -> Result<Ordered, Refused> {
    use v1::rollout_order_request::Order as Kind;
    let mut next = course.clone();
    let precondition = |why: String| Err(Refused::Precondition(why));
    // A version that is blocked can be tried again.
    if let (Kind::Retry, None, Some(block)) = (kind, plan, &course.block) {
        if block.rollout.as_str() != name && app.to_string() != name {
            return precondition(format!("rollout {name} is over; blocked is {}", block.rollout));
        }
        next.retry = Some(order);
        return Ok((
            next,
            "RolloutRetried",
            format!("app {app} is rolled out again; {} is blocked no longer", block.rollout),
        ));
    }
    let (Some(plan), Some(progress)) = (plan, &mut next.current) else {
        return precondition(format!(
            "no rollout of app {app} is under way; `hub rollout list --all` shows how they ended"
        ));
    };
    let id = &plan.id;
    if id.as_str() != name && app.to_string() != name {
        return precondition(format!("rollout {name} is over; under way is {id}"));
    }
    match kind {
        Kind::Unspecified => Err(Refused::Argument("no order is named".to_owned())),
        Kind::Pause => {
            if let Some(paused) = &progress.paused {
                return precondition(format!("rollout {id} is paused already, by {}", paused.by));
            }
            progress.paused = Some(order);
            Ok((
                next,
                "RolloutPaused",
                format!("rollout {id} sends no further cluster the change; what was sent goes on"),
            ))
        }
        Kind::Resume => {
            if progress.paused.take().is_none() {
                let halted = matches!(progress.phase, Phase::Halted { .. });
                let hint =
                    if halted { format!("; it halted: `hub rollout retry {id}`") } else { String::new() };
                return precondition(format!("rollout {id} is not paused{hint}"));
            }
            Ok((next, "RolloutResumed", format!("rollout {id} goes on")))
        }
        Kind::Approve => {
            let of: Vec<&str> = plan
                .waves
                .iter()
                .filter(|wave| wave.before.approval)
                .map(|wave| wave.name.as_str())
                .collect();
            let open = |name: &&&str| !progress.approved.contains_key(**name);
            let chosen = match wave {
                "" => plan
                    .waves
                    .get(progress.wave)
                    .filter(|wave| wave.before.approval && progress.wave_since_ms.is_none())
                    .map(|wave| wave.name.clone())
                    .filter(|name| !progress.approved.contains_key(name)),
                name => of.iter().filter(open).find(|of| **of == name).map(|name| (*name).to_owned()),
            };
            let Some(chosen) = chosen else {
                let open: Vec<&str> = of.iter().filter(open).copied().collect();
                let hint = match open.is_empty() {
                    true => "none of its waves needs an approval".to_owned(),
                    false => format!("to approve a later one, name it with --wave: {}", open.join(", ")),
                };
                let what = if wave.is_empty() { "nothing".to_owned() } else { format!("no wave {wave}") };
                return precondition(format!("{what} of rollout {id} waits for approval; {hint}"));
            };
            progress.approved.insert(chosen.clone(), order.by);
            Ok((next, "WaveApproved", format!("wave {chosen} of rollout {id} is approved")))
        }
        Kind::Retry => {
            if !matches!(progress.phase, Phase::Halted { .. }) {
                return precondition(format!("rollout {id} did not halt"));
            }
            next.retry = Some(order);
            Ok((next, "RolloutRetried", format!("rollout {id} goes on, past the clusters that failed")))
        }
        Kind::Abort if plan.cause == Cause::Pin => precondition(format!(
            "rollout {id} takes the app back itself: `hub pin remove {app}` lets it go on to what Git says"
        )),
        Kind::Abort => {
            if matches!(progress.phase, Phase::RollingBack { .. }) {
                return precondition(format!("rollout {id} rolls back already"));
            }
            let why = if order.reason.is_empty() { String::new() } else { format!(": {}", order.reason) };
            progress.phase = Phase::RollingBack {
                reason: format!("aborted by {}{why}", order.by),
                by: Some(order.by),
                returned: BTreeMap::new(),
            };
            let message = format!(
                "rollout {id} is taken back, and its version is blocked until the app changes or `hub rollout retry {id}`"
            );
            Ok((next, "RolloutAborted", message))
        }
    }
}
