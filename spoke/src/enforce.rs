//! Enforce: keeps the target at the accepted assignment, with the hub or without.
//!
//! In: the accepted assignment, bundles, signs that something changed. Out: rounds of [`crate::apply`], and a report of each.
//! Never: decides what to write (a round does), lets a change begin while no window is open, needs the hub, goes on once the
//! order to detach was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use nave_placement::assign::{Assignment, Entry};
use nave_placement::report::{EntryReason, EntryReport, EntryState, Report};
use nave_placement::{AppKey, Digest, ObjectKey};
use nave_proto::backoff::{Backoff, jittered};
use nave_proto::tls::Clock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::apply::{Bundles, Desired, Engine, Interrupt, Look};
use crate::gate::Gate;
use crate::link;
use crate::plan::{Plan, Step};
use crate::report::{Outcome, Reporter};
use crate::secrets::Secrets;
use crate::session::core::Held;
use crate::started::{Now, Starting};
use crate::state::{State, entries};
use crate::target::{Deleted, Inventory, Owned, Target, TargetError};

/// Changes come in flocks: one round for all that come within this time.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// After a round the target has as long for itself as the round took, up to this.
const REST_MAX: Duration = Duration::from_secs(2);
/// A look at everything though nothing changed, as far as anybody noticed. Changes are told by the target; this is for
/// what nobody told.
const RESYNC: Duration = Duration::from_secs(600);
/// The target is asked anew which kinds it serves, while something waits for one and otherwise; it tells most of it itself.
const REDISCOVER_WAITING: Duration = Duration::from_secs(60);
const REDISCOVER: Duration = Duration::from_secs(1_200);
/// Looks at an app that is not settled, and at a target that does not answer.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Apps whose next look is so near are looked at now, in one round.
const NEAR: Duration = Duration::from_millis(250);
/// A newer assignment breaks off a round that has run so long. Not earlier, or assignments that follow each other closely
/// would keep every round from writing anything.
const UNDISTURBED: Duration = Duration::from_secs(2);

/// Runs rounds.
pub struct Enforcer {
    /// Where.
    pub target: Arc<dyn Target>,
    /// Where bundles are.
    pub state: Arc<State>,
    /// What opens encrypted objects.
    pub secrets: Arc<Secrets>,
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
    pub gate: Arc<Gate>,
    /// By which windows open.
    pub clock: Clock,
}

/// While something is paused on the spot, its end is looked for this often: whoever resumes is waiting.
const PAUSED: Duration = Duration::from_secs(5);
/// How often the policy and the pause file are looked at: two looks at a directory's entry.
const FILES: Duration = Duration::from_secs(2);

/// What a round goes by before each write.
struct Bounds<'a, F> {
    gate: &'a Gate,
    interrupt: F,
}

#[async_trait]
impl<F: Fn(&AppKey, &Step) -> ControlFlow<()> + Send + Sync> Interrupt for Bounds<'_, F> {
    fn before(&self, app: &AppKey, step: &Step) -> ControlFlow<()> {
        (self.interrupt)(app, step)
    }

    fn allow(&self, plan: &mut Plan, inventories: &BTreeMap<AppKey, Inventory>) {
        self.gate.allow(plan, inventories);
    }

    async fn may_delete(&self, app: &AppKey, keys: &[&ObjectKey]) -> Result<(), String> {
        self.gate.may_delete(app, keys).await
    }

    fn came_of(&self, app: &AppKey, key: &ObjectKey, deleted: Option<&Result<Deleted, TargetError>>) {
        self.gate.came_of(app, key, deleted);
    }
}

type Decoded = BTreeMap<AppKey, Result<Entry, String>>;

/// Why the next round begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A newer assignment, which does not wait.
    Assigned,
    /// Something changed.
    Noticed,
    /// It is time.
    Time,
}

impl Enforcer {
    /// Round after round, until cancelled or detached.
    pub async fn run(self, cancel: CancellationToken) {
        self.run_at(Pace::new(Instant::now()), cancel).await;
    }

    async fn run_at(mut self, mut pace: Pace, cancel: CancellationToken) {
        let mut changes = self.target.changes();
        let (mut engine, mut reporter) = (Engine::default(), Reporter::default());
        let mut decoded: Option<(Arc<Assignment>, Arc<Decoded>)> = None;
        let mut locked = false;
        let mut starting = Starting::new(self.state.clone(), self.target.clone(), self.clock.clone());
        let mut waited = BTreeSet::new();
        while !*self.detached.borrow() {
            // Marked as seen before the round, so that whatever comes meanwhile leads to another.
            let held = self.held.borrow_and_update().clone();
            self.arrived.borrow_and_update();
            changes.borrow_and_update();
            let changed = self.target.changed();
            let began = Instant::now();
            if pace.is_time_to_rediscover(began) {
                self.rediscover().await;
            }
            if std::mem::take(&mut locked) {
                // Something could not be opened: another key may have been given meanwhile.
                self.secrets.refresh(&*self.target).await;
            }
            let Now { enforced, waits, due_ms } = tokio::select! {
                () = cancel.cancelled() => return,
                now = starting.now(&held.assignment) => now,
            };
            if let Some((app, wait)) = waits.first_key_value().filter(|_| enforced.waiting != waited) {
                let apps = enforced.waiting.len();
                tracing::info!(apps, "changes wait; that of {app}: {}", wait.message);
            }
            waited.clone_from(&enforced.waiting);
            let assignment = &enforced.assignment;
            let known = decoded.take().filter(|(of, _)| of == assignment);
            let entries = known.map_or_else(|| Arc::new(entries(assignment)), |(_, entries)| entries);
            decoded = Some((assignment.clone(), entries.clone()));
            let due = pace.due(began);
            let other_rules = tokio::select! {
                () = cancel.cancelled() => return,
                news = self.gate.look(&*self.target) => news,
            };
            let look = if pace.is_time_for_everything(began) || other_rules {
                Look::Everything
            } else {
                Look::At { changed: &changed, due: &due }
            };
            let mut outcome = tokio::select! {
                // A round that is dropped between two writes is completed by the next, in whatever process.
                () = cancel.cancelled() => return,
                (outcome, failed) = self.round(&mut engine, assignment, &entries, look, &cancel) => { locked = failed; outcome },
            };
            let rest = began.elapsed().clamp(DEBOUNCE, REST_MAX);
            // After a list it names every object of a kind; until the next round may be long.
            drop(changed);
            tell(&outcome);
            let next = pace.after(Instant::now(), &outcome, engine.is_blind());
            // What came of it may let something begin that waits for it, or end a switch.
            let next =
                if starting.heard(&held.assignment, &enforced, &outcome) { Instant::now() } else { next };
            enforced.tell(&held.assignment, &waits, &mut outcome);
            let is_open = || due_ms.is_some_and(|due| (self.clock)() >= due);
            let report = Some(reporter.report(held.assignment.order(), outcome));
            self.reports.send_if_modified(|last| {
                let news = *last != report;
                *last = report;
                news
            });
            let why = tokio::select! {
                () = cancel.cancelled() => return,
                Ok(()) = self.detached.changed() => Why::Noticed,
                Ok(()) = self.held.changed() => Why::Assigned,
                Ok(()) = self.arrived.changed() => Why::Noticed,
                Ok(()) = changes.changed() => Why::Noticed,
                () = idle(&self.gate, &*self.target, next, is_open) => Why::Time,
            };
            if why == Why::Noticed {
                // Resting as long as the round took leaves a busy cluster at least half of the time for itself.
                tokio::select! {
                    () = cancel.cancelled() => return,
                    Ok(()) = self.held.changed() => {}
                    () = sleep(rest) => {}
                }
            }
        }
        // Nobody asks any more what changed.
        self.target.watch_kinds(&Owned::new());
    }

    async fn rediscover(&self) {
        if let Err(error) = self.target.discover().await {
            tracing::warn!(%error, "the target does not say which kinds it serves");
        }
    }

    /// The outcome, and whether something could not be decrypted.
    async fn round(
        &self,
        engine: &mut Engine,
        assignment: &Assignment,
        entries: &Decoded,
        look: Look<'_>,
        cancel: &CancellationToken,
    ) -> (Outcome, bool) {
        let began = Instant::now();
        let interrupt = |_: &AppKey, _: &Step| {
            let newer = began.elapsed() >= UNDISTURBED && self.held.has_changed().unwrap_or(false);
            let ends = cancel.is_cancelled() || *self.detached.borrow();
            if newer || ends { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let bundles = Stored { state: &self.state, missing: AtomicBool::new(false) };
        let secrets = self.secrets.round();
        let desired = Desired { assignment, entries, bundles: &bundles, secrets: &secrets };
        let bounds = Bounds { gate: &self.gate, interrupt };
        let outcome = engine.round(&*self.target, &desired, look, &bounds).await;
        if bundles.missing.into_inner() {
            self.missed.send_modify(|count| *count += 1);
        }
        (outcome, secrets.has_failed())
    }
}

/// The bundles that are here, read when an app has its turn: nothing of them stays in memory.
struct Stored<'a> {
    state: &'a Arc<State>,
    missing: AtomicBool,
}

#[async_trait]
impl Bundles for Stored<'_> {
    async fn bundle(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let bundle = self.state.bundle(digest).await.unwrap_or_else(|error| {
            tracing::error!(error = link::chain(&error), "a bundle cannot be read");
            None
        });
        if bundle.is_none() {
            self.missing.store(true, Ordering::Relaxed);
        }
        bundle
    }
}

/// When there is to be another round though nobody asks for one, and at which apps it looks.
struct Pace {
    everything: Instant,
    rediscover: Instant,
    blind: Backoff,
    /// Apps that are not settled: what was last said of them, and when they are looked at again.
    open: BTreeMap<AppKey, Open>,
}

struct Open {
    said: (EntryState, EntryReason, u32),
    backoff: Backoff,
    at: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            // The first round looks at everything anyway: it knows nothing.
            everything: now + jittered(RESYNC, fastrand::f64()),
            rediscover: now + jittered(REDISCOVER, fastrand::f64()),
            blind: Backoff::new(RETRY_MIN, RETRY_MAX),
            open: BTreeMap::new(),
        }
    }

    fn is_time_to_rediscover(&mut self, now: Instant) -> bool {
        let is_time = now >= self.rediscover;
        if is_time {
            self.rediscover = now + jittered(REDISCOVER, fastrand::f64());
        }
        is_time
    }

    fn is_time_for_everything(&mut self, now: Instant) -> bool {
        let is_time = now >= self.everything;
        if is_time {
            self.everything = now + jittered(RESYNC, fastrand::f64());
        }
        is_time
    }

    /// Apps whose time has come.
    fn due(&self, now: Instant) -> BTreeSet<AppKey> {
        let due = self.open.iter().filter(|(_, open)| open.at <= now + NEAR);
        due.map(|(app, _)| app.clone()).collect()
    }

    /// What a round said decides when the next one is.
    fn after(&mut self, now: Instant, outcome: &Outcome, blind: bool) -> Instant {
        let random = fastrand::f64;
        let all = || outcome.apps.iter().chain(&outcome.leaving);
        let is_open = |report: &EntryReport| report.state != EntryState::Healthy;
        self.open.retain(|app, _| {
            let report = outcome.apps.get(app).or_else(|| outcome.leaving.get(app));
            report.is_some_and(is_open)
        });
        for (app, report) in all().filter(|(_, report)| is_open(report)) {
            let said = (report.state, report.reason, report.healthy);
            let fresh = || Open { said, backoff: Backoff::new(RETRY_MIN, RETRY_MAX), at: now };
            let known = self.open.get(app).map(|open| (open.said.0, open.said.1));
            if known != Some((report.state, report.reason)) {
                tell_of(app, report);
            }
            let open = self.open.entry(app.clone()).or_insert_with(fresh);
            if open.said != said {
                *open = fresh();
            }
            if open.at <= now + NEAR {
                open.at = now + open.backoff.after_failure(random());
            }
        }
        if outcome.apps.values().any(|report| report.reason == EntryReason::NotServed) {
            self.rediscover = self.rediscover.min(now + jittered(REDISCOVER_WAITING, random()));
        }
        if blind {
            return now + self.blind.after_failure(random());
        }
        self.blind.reset();
        let at = self.open.values().map(|open| open.at).min();
        let next = self.everything.min(self.rediscover).min(at.unwrap_or(self.everything));
        if outcome.interrupted { now } else { next }
    }
}

/// Until the time has come, a window opens, a pause has begun or ended, or the policy is another.
async fn idle(gate: &Gate, target: &dyn Target, next: Instant, is_open: impl Fn() -> bool) {
    while Instant::now() < next && !is_open() {
        let is_paused = gate.is_paused();
        sleep_until(next.min(Instant::now() + if is_paused { PAUSED } else { FILES })).await;
        if is_paused && gate.look(target).await {
            gate.look_at_everything();
            return;
        }
        if gate.has_news().await {
            return;
        }
    }
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

/// What ails an app, once for each cause: who reads this log may have no hub to ask. What is under way says nothing.
fn tell_of(app: &AppKey, report: &EntryReport) {
    let EntryReport { state, reason, message: why, .. } = report;
    match state {
        EntryState::Failed | EntryState::Degraded => {
            tracing::warn!(%app, ?state, ?reason, why, "an app fails")
        }
        EntryState::Waiting => tracing::info!(%app, ?reason, why, "an app waits"),
        EntryState::Healthy | EntryState::Progressing | EntryState::Pending => {}
    }
}

#[cfg(test)]
mod tests {
    use nave_proto::encode_entry;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::Removals;
    use crate::target::memory::MemoryTarget;
    use crate::testing::{Wish, app};

    /// An enforcer of a wish, and what it reports.
    async fn enforcer(
        wish: &Wish,
        target: &Arc<MemoryTarget>,
        state: State,
    ) -> (Enforcer, watch::Receiver<Option<Report>>) {
        let state = Arc::new(state);
        for (digest, bytes) in &wish.bundles {
            let packed = zstd::encode_all(&bytes[..], 0).expect("in memory");
            state.store_bundle(digest, &packed).await.expect("stored");
        }
        let mut assignment = wish.assignment.clone();
        let encoded = |entry: &Result<Entry, String>| encode_entry(entry.as_ref().expect("an entry"));
        assignment.entries = wish.entries.iter().map(|(app, entry)| (app.clone(), encoded(entry))).collect();
        let held = Held { assignment: Arc::new(assignment), mac: Vec::new() };
        let clock: Clock = Arc::new(|| 1);
        let counted = (state.clone(), Removals::default());
        let reports = watch::Sender::new(None);
        let reported = reports.subscribe();
        let enforcer = Enforcer {
            target: target.clone(),
            secrets: Arc::new(Secrets::new(state.clone(), None)),
            state,
            held: watch::Sender::new(held).subscribe(),
            detached: watch::Sender::new(false).subscribe(),
            arrived: watch::Sender::new(0).subscribe(),
            missed: watch::Sender::new(0),
            reports,
            gate: Arc::new(Gate::new(None, None, clock.clone(), watch::Sender::new(None), counted)),
            clock,
        };
        (enforcer, reported)
    }

    /// What an app that waits for a kind makes of a round.
    fn waits_for_a_kind() -> Outcome {
        let report = EntryReport {
            state: EntryState::Waiting,
            reason: EntryReason::NotServed,
            ..crate::report::pending()
        };
        Outcome { apps: BTreeMap::from([(app("web"), report)]), ..Outcome::default() }
    }

    #[tokio::test]
    async fn kinds_are_asked_for_after_a_minute_while_something_waits_for_one_and_rarely_otherwise() {
        let began = Instant::now();
        // (what came of the round, when it is not time yet, when it is), in seconds, whatever chance says
        let rows = [(waits_for_a_kind(), 47, 73), (Outcome::default(), 900, 1_441)];
        for (outcome, early, late) in rows {
            let at = |seconds| began + Duration::from_secs(seconds);
            let mut pace = Pace::new(began);
            let next = pace.after(began, &outcome, false);
            assert!(!pace.is_time_to_rediscover(at(early)) && next <= at(late));
            // Rounds in between, which it waits through, put it off no further.
            pace.after(at(early), &outcome, false);
            assert!(pace.is_time_to_rediscover(at(late)));
            assert!(!pace.is_time_to_rediscover(at(late)), "once");
        }
    }

    #[tokio::test]
    async fn what_waits_for_a_kind_of_which_nobody_tells_is_applied_when_kinds_are_asked_for() {
        let object = |version: &str, kind: &str, spec: Value| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "widgets.example.com"}, "spec": spec});
        let wish = Wish::none().app("web", &[object("example.com/v1", "Widget", json!({}))]);
        let target = Arc::new(MemoryTarget::new("t"));
        let dir = tempfile::tempdir().expect("a directory");
        let state = State::open(dir.path()).await.expect("free");
        let (enforcer, mut reported) = enforcer(&wish, &target, state).await;
        let began = Instant::now();
        let soon = began + Duration::from_secs(2);
        let cancel = CancellationToken::new();
        let pace = Pace { rediscover: soon, ..Pace::new(began) };
        let running = tokio::spawn(enforcer.run_at(pace, cancel.clone()));
        let mut says = async |reason: EntryReason| {
            let is = |report: &Option<Report>| {
                report.as_ref().is_some_and(|report| report.entries[&app("web")].reason == reason)
            };
            let said = tokio::time::timeout(Duration::from_secs(30), reported.wait_for(is)).await;
            drop(said.expect("it is reported in time").expect("it runs"));
        };
        says(EntryReason::NotServed).await;

        // Somebody brings it. That something changed is told; that it is a kind is not.
        let spec = json!({"group": "example.com", "scope": "Cluster", "names": {"kind": "Widget"}});
        let key = ObjectKey {
            group: "apiextensions.k8s.io".into(),
            kind: "CustomResourceDefinition".into(),
            namespace: String::new(),
            name: "widgets.example.com".into(),
        };
        target.edit(&key, object("apiextensions.k8s.io/v1", "CustomResourceDefinition", spec));
        says(EntryReason::None).await;
        assert!(Instant::now() >= soon, "earlier than it was asked for");
        assert_eq!(target.calls().discover, 1);
        cancel.cancel();
        running.await.expect("it ends");
    }
}
