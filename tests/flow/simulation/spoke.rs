//! A simulated spoke: the real session core, the real plan and apply, a target in memory, a disk that survives.
//!
//! In: messages, chances to do something. Out: messages, objects on its target. Never: has a socket or a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use futures::executor::block_on;
use nave_placement::assign::{Assignment, Cause, Entry, Leaving};
use nave_placement::catalog::OnRemove;
use nave_placement::render::effective_objects;
use nave_placement::{AppKey, ClusterName, Digest};
use nave_proto::v1;
use nave_spoke::apply::{Closed, Desired, reconcile};
use nave_spoke::plan::Step;
use nave_spoke::report::Reporter;
use nave_spoke::session::core::{Action, Core, Held};
use nave_spoke::started::{Enforced, Entries, Memory, Met, Stand, Started, Wait, at_work, met, step};
use nave_spoke::target::memory::MemoryTarget;

use super::Mutation;

/// What survives a restart.
pub struct Disk {
    /// Starts so far.
    pub boot: u64,
    /// What was accepted.
    pub held: Held,
    /// What was accepted before that.
    pub before: Held,
    /// What had begun before it, while some of it waits.
    pub started: Option<Started>,
    /// What is remembered of the order in which changes begin.
    pub memory: Memory,
    /// The order to detach.
    pub detached: bool,
    /// Bundles that are here.
    pub bundles: BTreeMap<Digest, Arc<[u8]>>,
}

/// A spoke.
pub struct Spoke {
    /// Its cluster.
    pub name: ClusterName,
    /// Its target.
    pub target: MemoryTarget,
    /// Its disk.
    pub disk: Disk,
    /// The process, while it runs.
    pub core: Option<Core>,
    /// Writes to the disk that are not done.
    pub persisting: VecDeque<Action>,
    /// Versions that were accepted while changes could start: what may begin at any time.
    free: BTreeSet<(AppKey, Digest)>,
    /// What apps are doing, by the last round.
    doing: BTreeMap<AppKey, Met>,
    /// Since when each is at work.
    since: BTreeMap<AppKey, u64>,
    /// Its clock: rounds are far apart, so that groups run out of time.
    minutes: u64,
    /// A change that began in a freeze.
    pub broke_freeze: Option<String>,
    mutation: Mutation,
}

impl Spoke {
    /// One that was just installed.
    pub fn new(name: ClusterName, mutation: Mutation) -> Self {
        let target = MemoryTarget::new(format!("uid-{name}"));
        let (held, before) = (Held::nothing(), Held::nothing());
        let bundles = BTreeMap::new();
        let disk = Disk {
            boot: 0,
            held,
            before,
            started: None,
            memory: Memory::default(),
            detached: false,
            bundles,
        };
        Self {
            name,
            target,
            disk,
            core: None,
            persisting: VecDeque::new(),
            free: BTreeSet::new(),
            doing: BTreeMap::new(),
            since: BTreeMap::new(),
            minutes: 0,
            broke_freeze: None,
            mutation,
        }
    }

    /// The process starts with what is on the disk.
    pub fn start(&mut self) {
        self.disk.boot += 1;
        let (uid, held) = (format!("uid-{}", self.name), self.disk.held.clone());
        self.core = Some(Core::new(self.disk.boot, uid, "simulated".into(), held, self.disk.detached));
    }

    /// The process is killed; what was not on the disk is gone.
    pub fn kill(&mut self) {
        self.core = None;
        self.doing.clear();
        self.since.clear();
        self.persisting.clear();
        if self.mutation == Mutation::SpokeGoesBack {
            self.disk.held = self.disk.before.clone();
        }
    }

    /// Takes what the core asks for; returns what is to be sent, and whether the session is to end.
    pub fn take(&mut self, actions: Vec<Action>) -> (Vec<v1::FromSpoke>, bool) {
        let (mut send, mut close) = (Vec::new(), false);
        for action in actions {
            match action {
                Action::Send(message) => send.push(message),
                Action::Close { .. } => close = true,
                Action::Persist(..) | Action::PersistDetach => self.persisting.push_back(action),
                // Nobody asks simulated clusters.
                Action::Remember { .. } | Action::Answer(_) | Action::Cancel(_) => {}
            }
        }
        (send, close)
    }

    /// One write to the disk comes to its end.
    pub fn persist(&mut self) -> Vec<Action> {
        let Some(core) = &mut self.core else { return Vec::new() };
        match self.persisting.pop_front() {
            Some(Action::Persist(held, _)) => {
                // As the shell does: what is older than the disk's is not written over it.
                if held.assignment.order() > self.disk.held.assignment.order() {
                    let is_frozen = !held.assignment.schedule.is_empty();
                    let may_wait = is_frozen || !held.assignment.relations.is_empty();
                    if may_wait && self.disk.started.is_none() {
                        let entries = self.disk.held.assignment.entries.clone();
                        // What it holds is never lost here.
                        self.disk.started = Some(Started { entries, is_all: true });
                    }
                    if !is_frozen {
                        self.free.extend(versions(&held.assignment.entries));
                    }
                    self.disk.before = std::mem::replace(&mut self.disk.held, held.clone());
                }
                core.persisted(held)
            }
            Some(Action::PersistDetach) => {
                self.disk.detached = true;
                core.detached()
            }
            _ => Vec::new(),
        }
    }

    /// What it enforces of what it accepted.
    pub fn enforced(&self) -> Enforced {
        let accepted = &self.disk.held.assignment;
        match self.disk.started.as_ref().filter(|_| self.mutation != Mutation::SpokeIgnoresFreezes) {
            Some(started) => Enforced::of(accepted, started),
            None => Enforced::all(accepted),
        }
    }

    /// Digests of bundles that the accepted assignment needs and that are not here.
    pub fn lacks(&self) -> Vec<Digest> {
        let enforced = self.enforced().assignment;
        let all = entries(&self.disk.held.assignment.entries)
            .into_values()
            .chain(entries(&enforced.entries).into_values());
        let bundles = all.flatten().map(|entry| entry.bundle);
        bundles.filter(|digest| !self.disk.bundles.contains_key(digest)).collect()
    }

    /// One round, broken off after so many writes; then the core is told what was observed.
    pub fn round(&mut self, writes: i64) -> Vec<Action> {
        let Some(core) = &self.core else { return Vec::new() };
        if core.is_detached() {
            return Vec::new();
        }
        let accepted = core.held().assignment.clone();
        let closed = nave_proto::closed(&accepted.schedule, 1_000_000_000);
        let stored = self.target.stored();
        let runs_nothing = stored.values().all(|inventory| inventory.objects.is_empty());
        let is_empty =
            runs_nothing && self.disk.started.as_ref().is_some_and(|started| started.entries.is_empty());
        if closed.is_none() || is_empty {
            self.free.extend(versions(&accepted.entries));
        }
        self.minutes += 6;
        let wait = closed.clone().map(Wait::from);
        let mut waits = BTreeMap::new();
        if !accepted.relations.is_empty() {
            waits = self.in_order(&accepted, wait.as_ref(), is_empty);
        } else if closed.is_none() || is_empty {
            self.disk.started = None;
            self.disk.memory = Memory::default();
        } else if let Some(wait) = wait {
            waits = self.enforced().waiting.into_iter().map(|app| (app, wait.clone())).collect();
        }
        let enforced = self.enforced();
        let mut assignment = (*enforced.assignment).clone();
        let mut entries = entries(&assignment.entries);
        match self.mutation {
            Mutation::SpokeDeletesMissing => {
                for app in self.target.stored().into_keys().filter(|app| !entries.contains_key(app)) {
                    let leaving = Leaving {
                        policy: OnRemove::Delete,
                        cause: Cause::Labels,
                        objects: 99,
                        drops_of: None,
                    };
                    assignment.leaving.insert(app, leaving);
                }
            }
            Mutation::SpokePrunesUnasked => {
                entries.values_mut().flatten().for_each(|entry| entry.drops = 99);
            }
            _ => {}
        }
        let left = AtomicI64::new(writes);
        let interrupt = |_: &AppKey, _: &Step| match left.fetch_sub(1, Ordering::Relaxed) {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let bundles = |digest: &Digest| self.disk.bundles.get(digest).cloned();
        let desired =
            Desired { assignment: &assignment, entries: &entries, bundles: &bundles, secrets: &Closed };
        let mut outcome = block_on(reconcile(&self.target, &desired, &interrupt));
        self.doing = met(&enforced.assignment, &outcome.apps);
        at_work(&mut self.since, &outcome.apps, self.minutes * 60_000);
        enforced.tell(&accepted, &waits, &mut outcome);
        if closed.is_some() {
            for (app, inventory) in self.target.stored() {
                let before = stored.get(&app).and_then(|inventory| inventory.version);
                let began = inventory.version.filter(|version| {
                    Some(*version) != before && !self.free.contains(&(app.clone(), *version))
                });
                if let Some(version) = began {
                    self.broke_freeze = Some(format!("{app} went to {} in a freeze", version.short()));
                }
            }
        }
        let report = Reporter::default().report(accepted.order(), outcome);
        let Some(core) = &mut self.core else { return Vec::new() };
        core.observed(report)
    }

    /// Lets begin what has its turn; why the rest waits.
    fn in_order(
        &mut self,
        accepted: &Assignment,
        closed: Option<&Wait>,
        is_empty: bool,
    ) -> BTreeMap<AppKey, Wait> {
        let Some(started) = &self.disk.started else { return BTreeMap::new() };
        let mut relations = nave_proto::decode_relations(&accepted.relations).expect("the hub wrote them");
        if self.mutation == Mutation::SpokeWaitsForNobody {
            relations.first.clear();
        }
        let bundles = &self.disk.bundles;
        let objects = |entry: &Entry| {
            let bundle = nave_placement::render::Bundle::read(bundles.get(&entry.bundle)?.to_vec()).ok()?;
            Some(effective_objects(&bundle.objects, &entry.options, &entry.values))
        };
        let stand = Stand {
            accepted,
            relations: &relations,
            closed,
            is_empty,
            doing: &self.doing,
            since: &self.since,
            has_bundle: &|digest| bundles.contains_key(digest),
            objects: &objects,
            now_ms: self.minutes * 60_000,
            random: 0.5,
        };
        let next = step(started, &self.disk.memory, &stand);
        (self.disk.started, self.disk.memory) = (Some(next.started), next.memory);
        next.waits
    }
}

/// Entries, decoded.
pub fn entries(encoded: &Entries) -> BTreeMap<AppKey, Result<Entry, String>> {
    let decode = |entry: &[u8]| nave_proto::decode_entry(entry).map_err(|error| error.to_string());
    encoded.iter().map(|(app, entry)| (app.clone(), decode(&entry.bytes))).collect()
}

fn versions(encoded: &Entries) -> impl Iterator<Item = (AppKey, Digest)> {
    entries(encoded).into_iter().filter_map(|(app, entry)| Some((app, entry.ok()?.version)))
}
