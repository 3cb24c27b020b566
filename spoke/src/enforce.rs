//! Enforce: keeps the target at the accepted assignment, with the hub or without.
//!
//! In: the accepted assignment, bundles, signs that something changed. Out: rounds of [`crate::apply`], and a report of each.
//! Never: decides what to write (a round does), needs the hub, goes on once the order to detach was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::assign::Entry;
use nave_placement::report::{EntryReason, Report};
use nave_placement::{AppKey, Digest};
use nave_proto::backoff::{Backoff, jittered};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::apply::{Desired, Interrupt, reconcile};
use crate::gate::Gate;
use crate::link;
use crate::plan::{Plan, Step};
use crate::report::{Outcome, Reporter};
use crate::session::core::Held;
use crate::state::{State, entries};
use crate::target::Target;

/// Changes come in flocks: one round for all that come within this time.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// A round though nothing changed, as far as anybody noticed.
const RESYNC: Duration = Duration::from_secs(60);
/// The target is asked anew which kinds it serves, though nothing waits for one.
const REDISCOVER: u32 = 10;
/// Rounds while something is not settled.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// A newer assignment breaks off a round that has run so long. Not earlier, or assignments that follow each other closely
/// would keep every round from writing anything.
const UNDISTURBED: Duration = Duration::from_secs(2);

/// Runs rounds.
pub struct Enforcer {
    /// Where.
    pub target: Arc<dyn Target>,
    /// Where bundles are.
    pub state: Arc<State>,
    /// What shall be.
    pub held: watch::Receiver<Held>,
    /// The order to detach.
    pub detached: watch::Receiver<bool>,
    /// Counts up with each bundle that has come.
    pub arrived: watch::Receiver<u64>,
    /// Counts up when a bundle turns out to be missing.
    pub missed: watch::Sender<u64>,
    /// What is reported.
    pub reports: watch::Sender<Option<Report>>,
    /// What may be done here, whatever the hub says.
    pub gate: Gate,
}

/// While something is paused on the spot, its end is looked for this often: whoever resumes is waiting.
const PAUSED: Duration = Duration::from_secs(5);

/// What a round goes by before each write.
struct Bounds<'a, F> {
    gate: &'a Gate,
    target: &'a dyn Target,
    interrupt: F,
}

impl<F: Fn(&AppKey, &Step) -> ControlFlow<()> + Send + Sync> Interrupt for Bounds<'_, F> {
    fn before(&self, app: &AppKey, step: &Step) -> ControlFlow<()> {
        (self.interrupt)(app, step)?;
        self.gate.count(step);
        ControlFlow::Continue(())
    }

    fn allow(&self, plan: &mut Plan) {
        self.gate.allow(plan, self.target.paused_apps());
    }
}

type Decoded = BTreeMap<AppKey, Result<Entry, String>>;
type Loaded = BTreeMap<Digest, Arc<[u8]>>;

impl Enforcer {
    /// Round after round, until cancelled or detached.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut changes = self.target.changes();
        let mut reporter = Reporter::default();
        let mut retry = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut quiet = 0;
        while !*self.detached.borrow() {
            // Marked as seen before the round, so that whatever comes meanwhile leads to another.
            let held = self.held.borrow_and_update().clone();
            self.arrived.borrow_and_update();
            changes.borrow_and_update();
            let began = Instant::now();
            let outcome = tokio::select! {
                // A round that is dropped between two writes is completed by the next, in whatever process.
                () = cancel.cancelled() => return,
                outcome = self.round(&held, &cancel) => outcome,
            };
            let rest = DEBOUNCE.max(began.elapsed());
            tell(&outcome);
            let unsettled = outcome.unsettled();
            let lacks_kinds = outcome.apps.values().any(|entry| entry.reason == EntryReason::NotServed);
            if outcome.writes > 0 || !unsettled {
                retry.reset();
            }
            let report = Some(reporter.report(held.assignment.order(), outcome));
            self.reports.send_if_modified(|last| {
                let news = *last != report;
                *last = report;
                news
            });
            let pause = if unsettled {
                retry.after_failure(fastrand::f64())
            } else {
                jittered(RESYNC, fastrand::f64())
            };
            let next = Instant::now() + pause;
            let noticed = tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = self.detached.changed() => true,
                // A newer assignment does not wait.
                Ok(()) = self.held.changed() => { retry.reset(); continue; }
                Ok(()) = self.arrived.changed() => true,
                Ok(()) = changes.changed() => true,
                () = idle(&self.gate, &*self.target, next) => false,
            };
            if noticed {
                // Resting as long as the round took leaves a busy cluster at least half of the time for itself.
                tokio::select! {
                    () = cancel.cancelled() => return,
                    Ok(()) = self.held.changed() => {}
                    () = sleep(rest) => {}
                }
            } else {
                quiet += 1;
                if lacks_kinds || quiet % REDISCOVER == 0 {
                    self.rediscover().await;
                }
            }
        }
    }

    async fn rediscover(&self) {
        if let Err(error) = self.target.discover().await {
            tracing::warn!(%error, "the target does not say which kinds it serves");
        }
    }

    async fn round(&self, held: &Held, cancel: &CancellationToken) -> Outcome {
        let assignment = &*held.assignment;
        let entries = entries(assignment);
        let bundles = self.load(&entries).await;
        let began = Instant::now();
        let interrupt = |_: &AppKey, _: &Step| {
            let newer = began.elapsed() >= UNDISTURBED && self.held.has_changed().unwrap_or(false);
            let ends = cancel.is_cancelled() || *self.detached.borrow();
            if newer || ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let bundle = |digest: &Digest| bundles.get(digest).cloned();
        let desired = Desired { assignment, entries: &entries, bundles: &bundle };
        self.gate.look(&*self.target).await;
        let bounds = Bounds { gate: &self.gate, target: &*self.target, interrupt };
        reconcile(&*self.target, &desired, &bounds).await
    }

    /// The bundles that are here, for one round: nothing of them stays in memory.
    async fn load(&self, entries: &Decoded) -> Loaded {
        let wanted: BTreeSet<Digest> = entries.values().flatten().map(|entry| entry.bundle).collect();
        let all = wanted.len();
        let mut loaded = Loaded::new();
        for digest in wanted {
            match self.state.bundle(&digest).await {
                Ok(Some(bytes)) => {
                    loaded.insert(digest, bytes);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(error = link::chain(&error), "a bundle cannot be read"),
            }
        }
        if loaded.len() < all {
            self.missed.send_modify(|count| *count += 1);
        }
        loaded
    }
}

/// Until the time has come, or a pause has ended.
async fn idle(gate: &Gate, target: &dyn Target, next: Instant) {
    while gate.is_paused() && Instant::now() < next {
        sleep_until(next.min(Instant::now() + PAUSED)).await;
        gate.look(target).await;
        if !gate.is_paused() {
            return;
        }
    }
    sleep_until(next).await;
}

/// What a round did, for the log; a round that did nothing says nothing.
fn tell(outcome: &Outcome) {
    if outcome.writes > 0 {
        let unhealthy = outcome.apps.values().filter(|entry| entry.reason != EntryReason::None).count();
        tracing::info!(writes = outcome.writes, apps = outcome.apps.len(), unhealthy, "a round");
    }
    for (app, objects) in &outcome.kept {
        let objects: Vec<_> = objects.iter().map(ToString::to_string).collect();
        tracing::info!(%app, ?objects, "left the app and stays on the cluster");
    }
}
