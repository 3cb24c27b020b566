//! A simulated hub: the real state, ledger, deciding and session cores, over a store in memory that survives.
//!
//! In: messages, chances to do something. Out: messages, and what the oracle is told. Never: has a socket or a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nave_hub::deciding::core::{Given, Kept, Write, admit, step};
use nave_hub::deciding::guarding::binding;
use nave_hub::deciding::hearing::Hearing;
use nave_hub::deciding::history;
use nave_hub::deciding::older::Olders;
use nave_hub::pki::MacKey;
use nave_hub::sessions::core::{Action, Core, View};
use nave_hub::sessions::effects::{accept_restore, effects};
use nave_hub::state::history::{Authors, Cause, What, Writer};
use nave_hub::state::records::{FleetRecord, MemberRecord, Standing, key};
use nave_hub::state::{Audit, Heard, Ledger, State, Step, WireCodec, told_to_bytes};
use nave_hub::store::memory::Memory;
use nave_hub::store::{Batch, Version};
use nave_placement::assign::{Epoch, Told};
use nave_placement::catalog::{App, Catalog, Effective, Object, Spec};
use nave_placement::fleet::Membership;
use nave_placement::guard::Approval;
use nave_placement::report::{EntryState, Report};
use nave_placement::rollout::{Course, Order};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest, check};
use nave_proto::v1;

use super::Mutation;
use super::git::{Git, SET};
use super::oracle::Oracle;
use super::rest::is_stuck;
use super::spoke::entries;

/// A store that a restarted hub opens again.
#[derive(Clone)]
struct Disk(Arc<Memory>);

/// What goes to a spoke.
pub type Outgoing = Vec<v1::ToSpoke>;

/// The process.
struct Running {
    ledger: Ledger,
    kept: Kept,
    sessions: BTreeMap<ClusterName, (u64, Core)>,
    pending: VecDeque<Write>,
}

/// A hub.
pub struct Hub {
    disk: Disk,
    copies: Vec<Memory>,
    running: Option<Running>,
    clock: Arc<AtomicU64>,
    mac: MacKey,
    mutation: Mutation,
    /// How often its state was lost.
    pub lost: u32,
}

fn json(record: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record serializes")
}

impl Hub {
    /// A hub with these members, and a first copy of its store.
    pub fn new(members: &[ClusterName], now_ms: u64, mutation: Mutation) -> Self {
        let store = Memory::new();
        let fleet = FleetRecord { name: "simulated".into(), epoch: Epoch(1), advertise: Vec::new() };
        let mut batch = Batch::new().put(key::FLEET, json(&fleet));
        for name in members {
            let set = name.as_str().ends_with(['1', '3', '5', '7']).then(|| SET.to_owned());
            let membership = Membership { set, ..Membership::default() };
            let uid = format!("uid-{name}");
            let member = MemberRecord { cluster_uid: uid, membership, ..MemberRecord::default() };
            batch = batch.put(key::member(name), json(&member));
        }
        let hub = Self {
            copies: vec![store.copy()],
            disk: Disk(Arc::new(store)),
            running: None,
            clock: Arc::new(AtomicU64::new(now_ms)),
            mac: MacKey::new([7; 32]),
            mutation,
            lost: 0,
        };
        block_on(nave_hub::store::Store::commit(&*hub.disk.0, batch)).expect("small");
        Self { copies: vec![hub.disk.0.copy()], ..hub }
    }

    /// Whether the process runs.
    pub fn is_up(&self) -> bool {
        self.running.is_some()
    }

    /// The process starts: the state is what the records say.
    pub fn start(&mut self) {
        let clock = self.clock.clone();
        let clock = Arc::new(move || clock.load(Ordering::Relaxed));
        // A copy of the store's handle: what is committed is there for the next process.
        let ledger = block_on(Ledger::load(self.disk.0.clone(), clock)).expect("its own records");
        self.running = Some(Running {
            ledger,
            sessions: BTreeMap::new(),
            pending: VecDeque::new(),
            kept: Kept::default(),
        });
    }

    /// The process is killed.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// A copy of the store is put aside.
    pub fn copy(&mut self) {
        self.copies.push(self.disk.0.copy());
    }

    /// The store is lost, and an older copy of it is taken.
    pub fn lose(&mut self, which: usize) {
        self.kill();
        let copy = self.copies[which % self.copies.len()].copy();
        self.disk = Disk(Arc::new(copy));
        self.lost += 1;
    }

    /// Time passes, or the clock is set.
    pub fn set_clock(&self, now_ms: u64) {
        self.clock.store(now_ms, Ordering::Relaxed);
    }

    /// Unix milliseconds as this hub has them.
    pub fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    /// A look at the state, while the process runs.
    pub fn state(&self) -> Option<State> {
        self.running.as_ref().map(|running| running.ledger.state().clone())
    }

    /// Whether history, told again, gives what is told; a hub with a bug has other failures to show.
    pub fn retold(&self) -> Result<(), String> {
        match &self.running {
            Some(running) if self.mutation == Mutation::None => {
                block_on(super::history::retold(&*self.disk.0, &running.ledger.state()))
            }
            _ => Ok(()),
        }
    }

    /// The store's version: it grows with every write.
    pub fn written(&self) -> Version {
        let listing = block_on(nave_hub::store::Store::list(&*self.disk.0, "fleet")).expect("in memory");
        listing.version
    }

    /// Decides anew from the branch as it is now, without hearing of those that are away; what is to be written waits for [`Hub::write`].
    pub fn decide(&mut self, git: &mut Git, away: &BTreeSet<ClusterName>, oracle: &mut Oracle) {
        let now_ms = self.now_ms();
        let Some(state) = self.state() else { return };
        let head = state.heads.get(&CatalogName::root()).map(|head| head.commit.clone());
        let tip = &git.commits[git.tip];
        let descends = head.as_ref().is_none_or(|head| git.descends(git.tip, git.find(head)));
        let approved = |id: &str| state.approvals.contains_key(id);
        let (commit, waiting) = match admit(None, head.as_ref(), &tip.id, tip.empty, descends, approved) {
            Ok(()) => (git.tip, None),
            Err(hold) => (git.find(head.as_ref().expect("a first commit is always taken")), Some(*hold)),
        };
        let mut revision = git.revision(commit, &state);
        oracle.deciding(&state, &git.commits[commit], &revision.forms, (away, now_ms));
        let groups = groups(&revision.catalog);
        if self.mutation == Mutation::HubSplitsGroups {
            revision.catalog = Arc::new(ungrouped(&revision.catalog));
        }
        let bundles = git.bundles.clone();
        let codec = WireCodec(|digest: &Digest| bundles.get(digest).map(|bundle| bundle.objects.clone()));
        // Whoever has no session for a moment is not yet silent.
        let heard = state.members.keys().filter(|name| !away.contains(*name));
        let connected = heard.map(|name| (name.clone(), None)).collect();
        let hearing = Hearing { connected, ..Hearing::default() };
        let waiting = waiting.map(|hold| (CatalogName::root(), hold)).into_iter().collect();
        let (revision, waiting) = (&revision, &waiting);
        let older = Olders::default();
        let state = match self.mutation {
            Mutation::HubAwaitsNoHealth => all_healthy(state),
            Mutation::HubMiscountsBudgets => with_one_more(state),
            _ => state,
        };
        let given = Given {
            state: &state,
            revision,
            waiting,
            codec: &codec,
            hearing: &hearing,
            older: &older,
            authors: &Default::default(),
            now_ms,
        };
        let Some(running) = &mut self.running else { return };
        let decided = step(given, &mut running.kept);
        for refused in &decided.refused {
            oracle.fail(format!("the checker objects: {refused}"));
        }
        oracle.decided(&state, &git.commits[commit], &decided, &codec);
        let mut writes = decided.writes;
        if self.mutation == Mutation::HubForgetsLeaving {
            writes.iter_mut().for_each(forget_leaving);
        }
        let next = next(&state, &writes);
        let previous = planned(&state);
        let reports: BTreeMap<ClusterName, &Report> =
            state.reports.iter().map(|(name, report)| (name.clone(), &*report.report)).collect();
        let approvals = approvals(&state, &writes);
        let change = check::Change {
            previous: &previous,
            next: &next,
            wanted: &decided.wanted,
            forms: &decided.shapes,
            groups: &groups,
            stays: &decided.stays,
            shares: &decided.shares,
            rules: &decided.rules,
            reports: &reports,
            emptied: &emptied(&state),
            approvals: &approvals,
            guarded: &binding(&state, &revision.catalog),
            window: state.losses(),
            now_ms,
            codec: &codec,
        };
        // The mutated hub has to be found out by what happens, not by this.
        if self.mutation != Mutation::HubForgetsLeaving {
            for violation in check::assignment(&change) {
                oracle.fail(format!("the checker objects: {violation}"));
            }
        }
        if let Some(running) = &mut self.running {
            running.pending = writes.into();
        }
    }

    /// Commits the next batch that waits. A conflict drops the rest: it is decided anew.
    pub fn write(&mut self, oracle: &mut Oracle) -> bool {
        let Some(running) = &mut self.running else { return false };
        let Some(write) = running.pending.pop_front() else { return false };
        if !commit(running, write, oracle) {
            running.pending.clear();
        }
        true
    }

    /// Does what an operator orders, at once.
    pub fn order(&mut self, step: Step, batch: Batch, oracle: &mut Oracle) {
        if let Some(running) = &mut self.running {
            commit(running, Write { step, batch, audits: Vec::new() }, oracle);
        }
    }

    /// An operator accepts the restored store; the batches wait for [`Hub::write`].
    pub fn accept_restore(&mut self) {
        let Some(running) = &mut self.running else { return };
        let operator = Audit { who: "operator ann".into(), ..Audit::default() };
        if let Some(writes) = accept_restore(&running.ledger.state(), &operator) {
            running.pending = writes.into();
        }
    }

    /// An operator approves a hold.
    pub fn approve(&mut self, id: &str, oracle: &mut Oracle) {
        let Some(hold) = self.state().and_then(|state| state.holds.get(id).map(|held| held.hold.clone()))
        else {
            return;
        };
        let batch = Batch::new().put(key::approval(id), json(&Approval { hold, by: "ann".into() }));
        self.order(Step::HoldApproved, batch, oracle);
    }

    /// An operator has everything tried again that was taken back or halted; false where there is nothing.
    pub fn retry(&mut self, oracle: &mut Oracle) -> bool {
        let Some(state) = self.state() else { return false };
        let stuck: Vec<_> = state.rollouts.iter().filter(|(_, course)| is_stuck(course)).collect();
        for (app, course) in &stuck {
            let order = Order { by: "ann".into(), at_ms: self.now_ms(), reason: String::new() };
            let next = Course { retry: Some(order), ..(*course.record).clone() };
            let place = key::rollout(app);
            let batch = Batch::new().require_at(place.clone(), course.version).put(place, json(&next));
            self.order(Step::RolloutOrdered, batch, oracle);
            oracle.retried(app);
        }
        !stuck.is_empty()
    }

    /// The connection that a cluster's session is on.
    pub fn connection(&self, cluster: &ClusterName) -> Option<u64> {
        self.running.as_ref()?.sessions.get(cluster).map(|(connection, _)| *connection)
    }

    /// The end of a cluster's session.
    pub fn disconnected(&mut self, cluster: &ClusterName) {
        if let Some(running) = &mut self.running {
            running.sessions.remove(cluster);
        }
    }

    /// A message of a cluster. `None`: the session is ended.
    pub fn on_message(
        &mut self,
        cluster: &ClusterName,
        connection: u64,
        message: v1::FromSpoke,
        oracle: &mut Oracle,
    ) -> Option<Outgoing> {
        let view = self.view(cluster)?;
        let (mac, mutation, now_ms) = (self.mac.clone(), self.mutation, self.now_ms());
        let running = self.running.as_mut()?;
        // The newest stream wins.
        if running.sessions.get(cluster).is_none_or(|(current, _)| *current != connection) {
            running.sessions.insert(cluster.clone(), (connection, Core::new(cluster.to_string(), mac)));
        }
        let actions = running.sessions.get_mut(cluster)?.1.on_message(message, &view);
        let mut outgoing = Vec::new();
        for action in actions {
            match &action {
                Action::Send(message) => outgoing.push(message.clone()),
                Action::Close(_) => return None,
                Action::Alarm(alarm) => oracle.fail(format!("{cluster}: alarm {alarm:?}")),
                Action::Detached => forget(running, cluster, oracle),
                Action::Accepted(..) | Action::Answered(_) | Action::Facts(_) | Action::Free(_) => {}
                Action::Report(_) | Action::LostState(..) | Action::Seed(_) => {
                    let writes = effects(&running.ledger.state(), cluster, &action, now_ms);
                    for write in writes {
                        commit(running, write, oracle);
                    }
                }
            }
            if matches!(action, Action::Seed(_)) {
                let view = view_of(running, cluster, mutation, now_ms)?;
                let actions = running.sessions.get_mut(cluster)?.1.seeded(&view);
                outgoing.extend(sends(actions));
            }
        }
        oracle.sent(&running.ledger.state(), cluster, &outgoing);
        Some(outgoing)
    }

    /// Tells a cluster what is due.
    pub fn offer(&mut self, cluster: &ClusterName, oracle: &mut Oracle) -> Outgoing {
        let Some(view) = self.view(cluster) else { return Vec::new() };
        let Some(running) = &mut self.running else { return Vec::new() };
        let Some((_, core)) = running.sessions.get_mut(cluster) else { return Vec::new() };
        let outgoing: Outgoing = sends(core.offer(&view)).collect();
        oracle.sent(&running.ledger.state(), cluster, &outgoing);
        outgoing
    }

    fn view(&self, cluster: &ClusterName) -> Option<View> {
        view_of(self.running.as_ref()?, cluster, self.mutation, self.now_ms())
    }
}

fn view_of(running: &Running, cluster: &ClusterName, mutation: Mutation, now_ms: u64) -> Option<View> {
    let state = running.ledger.state();
    let member = state.members.get(cluster)?;
    Some(View {
        told: state.told(cluster),
        report: state.reports.get(cluster).map(|report| report.report.clone()),
        cluster_uid: member.cluster_uid.clone(),
        sending: state.doubt.is_none() || mutation == Mutation::HubSendsInDoubt,
        detaching: member.standing == Standing::Detaching,
        addresses: Vec::new(),
        now_ms,
    })
}

fn sends(actions: Vec<Action>) -> impl Iterator<Item = v1::ToSpoke> {
    actions.into_iter().filter_map(|action| match action {
        Action::Send(message) => Some(message),
        _ => None,
    })
}

/// As `Members::detached`.
fn forget(running: &mut Running, cluster: &ClusterName, oracle: &mut Oracle) {
    let batch = Batch::new()
        .delete(key::member(cluster))
        .delete(key::assignment(cluster))
        .delete(key::report(cluster))
        .delete(key::facts(cluster));
    let batch = {
        let (state, now_ms) = (running.ledger.state(), running.ledger.now_ms());
        let cause = Cause::Operator { by: "admin".to_owned() };
        let nothing = Told::nothing(state.epoch());
        let left = history::all(&state.told(cluster), &nothing, cluster, (What::Detached, &cause));
        Writer::new(&state.history, &Authors::new(), now_ms).put(batch, left)
    };
    let detaching =
        |state: &State| state.members.get(cluster).is_some_and(|m| m.standing == Standing::Detaching);
    if detaching(&running.ledger.state()) {
        commit(running, Write { step: Step::MemberDetached, batch, audits: Vec::new() }, oracle);
    }
}

/// A state in which every spoke says that it is healthy with what it was told last.
fn all_healthy(mut state: State) -> State {
    for (cluster, report) in &mut state.reports {
        let Some(told) = state.told.get(cluster) else { continue };
        let mut healthy = (*report.report).clone();
        (healthy.epoch, healthy.generation) = told.assignment.order();
        for (app, entry) in entries(&told.assignment.entries) {
            let version = entry.ok().map(|entry| entry.version);
            if let Some(said) = healthy.entries.get_mut(&app) {
                (said.state, said.version) = (EntryState::Healthy, version);
            }
        }
        report.record = Arc::new(Heard { report: Arc::new(healthy), stood: report.stood.clone() });
    }
    state
}

/// A state in which every plan lets one more cluster of each wave be unavailable.
fn with_one_more(mut state: State) -> State {
    for plan in state.plans.values_mut() {
        let mut more = (*plan.record).clone();
        more.waves.iter_mut().for_each(|wave| wave.max_unavailable += 1);
        plan.record = Arc::new(more);
    }
    state
}

fn commit(running: &mut Running, write: Write, oracle: &mut Oracle) -> bool {
    let committed = block_on(running.ledger.commit_audited(write.step, write.batch, &write.audits));
    match committed {
        Ok(_) => {
            oracle.committed(write.step, &write.audits, &running.ledger.state());
            true
        }
        Err(error) if error.is_conflict() => false,
        Err(error) => {
            oracle.fail(format!("{:?}: {error}", write.step));
            false
        }
    }
}

/// The state as it will be when all is written.
fn after(state: &State, writes: &[Write]) -> State {
    let mut after = state.clone();
    for write in writes {
        let checked = write.batch.clone().checked().expect("within the store's limits");
        for (key, value) in checked.writes() {
            after.fold(key, Version(u64::MAX), value.as_ref()).expect("a record of ours");
        }
    }
    after
}

fn next(state: &State, writes: &[Write]) -> BTreeMap<ClusterName, Told> {
    let changed = after(state, writes).told.into_iter().filter(|(_, told)| told.version == Version(u64::MAX));
    changed.map(|(name, told)| (name, (*told.record).clone())).collect()
}

fn approvals(state: &State, writes: &[Write]) -> Vec<Approval> {
    let mut all: BTreeMap<String, Approval> =
        state.approvals.iter().map(|(id, approval)| (id.clone(), (*approval.record).clone())).collect();
    let new = after(state, writes).approvals;
    all.extend(new.iter().map(|(id, approval)| (id.clone(), (*approval.record).clone())));
    all.into_values().collect()
}

fn planned(state: &State) -> BTreeMap<ClusterName, Arc<Told>> {
    let planned = |m: &MemberRecord| matches!(m.standing, Standing::Member | Standing::Emptying);
    let members = state.members.iter().filter(|(_, member)| planned(&member.record));
    members.map(|(name, _)| (name.clone(), state.told(name))).collect()
}

fn emptied(state: &State) -> BTreeMap<ClusterName, String> {
    let emptying = state.members.iter().filter(|(_, member)| member.standing == Standing::Emptying);
    emptying.map(|(name, member)| (name.clone(), member.ordered_by.clone().unwrap_or_default())).collect()
}

/// A hub with a bug: leaving records are not written.
fn forget_leaving(write: &mut Write) {
    if write.step != Step::AssignmentsMade {
        return;
    }
    let checked = write.batch.clone().checked().expect("within the store's limits");
    let mut state = State::default();
    let mut batch = write.batch.clone();
    for (key, value) in checked.writes().iter().filter(|(key, _)| key.starts_with("assignment/")) {
        state.fold(key, Version(1), value.as_ref()).expect("a record of ours");
    }
    for (name, told) in &state.told {
        let mut told = (*told.record).clone();
        told.assignment.leaving = BTreeMap::new();
        batch = batch.put(key::assignment(name), told_to_bytes(&told));
    }
    write.batch = batch;
}

/// The names of clusters that somebody may still place apps on.
pub fn members(state: &State) -> BTreeSet<ClusterName> {
    planned(state).into_keys().collect()
}

/// Runs a future of the hub's to its end. The ledger commits in a task of its own, so it needs a runtime; this one has
/// one thread and no clock, and does the same in every run.
fn block_on<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime without a driver needs nothing");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// The group that each app is in.
fn groups(catalog: &Catalog) -> BTreeMap<AppKey, String> {
    let of = |(effective, app): (&Effective, &App)| {
        let key = AppKey::new(catalog.name.clone(), &effective.object.id.name).ok()?;
        Some((key, app.group.clone()?))
    };
    catalog.apps().filter_map(of).collect()
}

/// A catalog whose apps have nothing to do with each other.
fn ungrouped(catalog: &Catalog) -> Catalog {
    let mut catalog = catalog.clone();
    for effective in catalog.objects.values_mut() {
        if let Spec::App(app) = &effective.object.spec {
            let spec = Spec::App(App { group: None, ..app.clone() });
            effective.object = Arc::new(Object { spec, ..(*effective.object).clone() });
        }
    }
    catalog
}
