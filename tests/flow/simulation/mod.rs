//! A fleet in virtual time: one hub, some spokes, one repository, one network, all from one seed.
//!
//! In: a seed. Out: how it went, or the first promise that was broken. Never: waits, reads a clock, or depends on anything
//! but the seed.

mod faults;
mod git;
mod history;
mod hub;
mod look;
mod network;
mod oracle;
mod order;
mod rest;
mod rules;
mod spoke;
mod waves;

use std::collections::BTreeSet;

use fastrand::Rng;
use nave_hub::state::Step;
use nave_hub::state::records::{MemberRecord, Standing, key};
use nave_hub::store::Batch;
use nave_placement::ClusterName;
use nave_proto::v1;

use git::Git;
use hub::Hub;
use network::Link;
use oracle::Oracle;
use spoke::Spoke;

/// A bug that is put in, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// None.
    None,
    /// A spoke that forgets what it accepted last.
    SpokeGoesBack,
    /// A spoke that deletes what is merely missing.
    SpokeDeletesMissing,
    /// A spoke that prunes as much as it likes.
    SpokePrunesUnasked,
    /// A spoke to which windows and freezes mean nothing.
    SpokeIgnoresFreezes,
    /// A spoke on which no app waits for another.
    SpokeWaitsForNobody,
    /// A hub that writes no leaving records.
    HubForgetsLeaving,
    /// A hub that goes on sending when its state is in doubt.
    HubSendsInDoubt,
    /// A hub that takes every cluster for healthy.
    HubAwaitsNoHealth,
    /// A hub that lets one more cluster of a wave be unavailable than it may.
    HubMiscountsBudgets,
    /// The hub moves each app of a group by itself.
    HubSplitsGroups,
}

/// What happened in a simulation, for a test that wants to know that anything did.
#[derive(Debug, Default)]
pub struct Played {
    /// Objects deleted.
    pub deletions: usize,
    /// Times that the hub's state was lost.
    pub losses: u32,
    /// Holds in the end.
    pub holds: usize,
    /// Objects on targets in the end.
    pub objects: usize,
    /// Apps that are rolled out.
    pub apps: usize,
    /// Of these, those that nothing brings further, since something of them never gets healthy.
    pub stuck: usize,
}

/// Everything.
struct World {
    rng: Rng,
    git: Git,
    hub: Hub,
    spokes: Vec<Spoke>,
    links: Vec<Link>,
    oracle: Oracle,
    now_ms: u64,
    /// Whether the hub's state may be lost: only without that everything has to come out exactly.
    loses: bool,
}

/// Plays a seed.
///
/// # Errors
/// The first promise that was broken, and at which step.
pub fn play(seed: u64, mutation: Mutation) -> Result<Played, String> {
    let mut world = World::new(seed, mutation);
    let steps = world.rng.usize(100..600);
    for step in 0..steps {
        let what = world.step();
        if trace() {
            eprintln!("{step}: {what}");
        }
        if let Some(failure) = world.oracle.failure() {
            return Err(format!("step {step} ({what}): {failure}"));
        }
    }
    world.rest()
}

/// `NAVE_SIM_TRACE` prints every step.
fn trace() -> bool {
    std::env::var_os("NAVE_SIM_TRACE").is_some()
}

impl World {
    fn new(seed: u64, mutation: Mutation) -> Self {
        let mut rng = Rng::with_seed(seed);
        let count = rng.usize(3..=8);
        let name = |i: usize| ClusterName::new(&format!("c{i}")).expect("a valid name");
        let names: Vec<ClusterName> = (0..count).map(name).collect();
        let now_ms = 1_000_000_000;
        Self {
            git: Git::new(&mut rng),
            hub: Hub::new(&names, now_ms, mutation),
            spokes: names.into_iter().map(|name| Spoke::new(name, mutation)).collect(),
            links: (0..count).map(|_| Link::default()).collect(),
            oracle: Oracle::default(),
            now_ms,
            loses: rng.bool(),
            rng,
        }
    }

    /// One thing happens. Returns what, for the trace.
    fn step(&mut self) -> String {
        let i = self.rng.usize(0..self.spokes.len());
        self.now_ms += self.rng.u64(0..20_000);
        self.hub.set_clock(self.now_ms);
        match self.rng.u32(0..1000) {
            0..330 => self.deliver(i),
            330..400 => self.connect(i),
            400..500 => self.decide_or_write(),
            500..620 => self.round(i),
            620..700 => self.persist(i),
            700..740 => self.fetch(i),
            740..780 => self.offer(i),
            780..830 => self.repository(),
            830..850 => self.label(i),
            850..890 => self.approve(),
            890..900 => self.break_stream(i),
            900..912 => self.restart_spoke(i),
            912..925 => self.restart_hub(),
            925..935 => self.partition(i),
            935..938 if self.loses => self.lose_hub(),
            938..950 => {
                self.hub.copy();
                "the store is copied".into()
            }
            950..970 => self.accept_restore(),
            970..990 => self.foreign(i),
            990..994 => self.jump(),
            994..996 => self.empty(i),
            _ => self.unreachable(i),
        }
    }

    fn deliver(&mut self, i: usize) -> String {
        if self.links[i].partitioned || self.links[i].streams.is_empty() {
            return String::new();
        }
        let which = self.rng.usize(0..self.links[i].streams.len());
        let id = self.links[i].streams[which].id;
        if self.rng.bool() { self.deliver_up(i, id) } else { self.deliver_down(i, id) }
    }

    fn deliver_up(&mut self, i: usize, id: u64) -> String {
        let name = self.spokes[i].name.clone();
        let Some(stream) = self.links[i].get(id).filter(|stream| stream.hub) else { return String::new() };
        if !self.hub.is_up() {
            return String::new();
        }
        let Some(message) = stream.up.pop_front() else { return String::new() };
        let said = format!("{name} → hub on {id}: {}", up_name(&message));
        if let Some(other) = self.hub.connection(&name).filter(|other| *other != id) {
            self.links[i].get(other).into_iter().for_each(|stream| stream.hub = false);
        }
        match self.hub.on_message(&name, id, message, &mut self.oracle) {
            Some(outgoing) => self.links[i].get(id).into_iter().for_each(|s| s.down.extend(outgoing.clone())),
            None => {
                self.hub.disconnected(&name);
                self.links[i].get(id).into_iter().for_each(|stream| stream.hub = false);
            }
        }
        self.links[i].tidy();
        said
    }

    fn deliver_down(&mut self, i: usize, id: u64) -> String {
        let Some(stream) = self.links[i].get(id).filter(|stream| stream.spoke) else { return String::new() };
        let (message, open) = (stream.down.pop_front(), stream.hub);
        let spoke = &mut self.spokes[i];
        let Some(core) = &mut spoke.core else { return String::new() };
        let said = match message {
            Some(message) => {
                let said = format!("hub → {} on {id}: {}", spoke.name, down_name(&message));
                let actions = core.on_message(message);
                self.act(i, actions);
                said
            }
            // The end of the stream.
            None if !open => {
                core.disconnected();
                self.links[i].get(id).into_iter().for_each(|stream| stream.spoke = false);
                format!("{} sees the end of {id}", self.spokes[i].name)
            }
            None => String::new(),
        };
        self.links[i].tidy();
        said
    }

    /// Does what a spoke's core asks for.
    fn act(&mut self, i: usize, actions: Vec<nave_spoke::session::core::Action>) {
        let (send, close) = self.spokes[i].take(actions);
        let link = &mut self.links[i];
        if let Some(stream) = link.spokes() {
            stream.up.extend(send);
            if close {
                stream.spoke = false;
                self.spokes[i].core.as_mut().into_iter().for_each(|core| core.disconnected());
            }
        }
        self.links[i].tidy();
        self.oracle.look(&self.spokes[i]);
    }

    fn connect(&mut self, i: usize) -> String {
        let spoke = &mut self.spokes[i];
        if spoke.core.is_none() {
            spoke.start();
            return format!("{} starts", spoke.name);
        }
        if !self.hub.is_up() {
            self.hub.start();
            return "the hub starts".into();
        }
        let link = &mut self.links[i];
        if link.partitioned || link.spokes().is_some() {
            return String::new();
        }
        let id = link.open().id;
        let actions = self.spokes[i].core.as_mut().map(|core| core.connected()).unwrap_or_default();
        self.act(i, actions);
        format!("{} opens {id}", self.spokes[i].name)
    }

    fn decide_or_write(&mut self) -> String {
        if self.hub.write(&mut self.oracle) {
            return "the hub writes".into();
        }
        let away = self.away();
        self.hub.decide(&mut self.git, &away, &mut self.oracle);
        "the hub decides".into()
    }

    /// Clusters that the network cuts off.
    fn away(&self) -> BTreeSet<ClusterName> {
        let all = self.spokes.iter().zip(&self.links);
        all.filter(|(_, link)| link.partitioned).map(|(spoke, _)| spoke.name.clone()).collect()
    }

    fn round(&mut self, i: usize) -> String {
        let writes = if self.rng.u32(0..3) == 0 { self.rng.i64(0..8) } else { i64::MAX };
        self.apply(i, writes);
        let report = self.spokes[i].core.as_ref().map(|core| core.report().entries.clone());
        let report: Vec<_> = report.iter().flatten().map(|(app, e)| (app, e.version, e.reason)).collect();
        let stored = self.spokes[i].target.stored();
        format!(
            "{} applies, at most {writes} writes; it has {stored:?}; it says {report:?}",
            self.spokes[i].name
        )
    }

    /// A spoke brings its target to what it holds, at most so many writes of it.
    fn apply(&mut self, i: usize, writes: i64) {
        self.oracle.begins(&self.spokes[i]);
        let actions = self.spokes[i].round(writes);
        self.oracle.applied(&self.spokes[i]);
        self.act(i, actions);
    }

    fn persist(&mut self, i: usize) -> String {
        let actions = self.spokes[i].persist();
        self.act(i, actions);
        format!("{} stores; it holds {:?}", self.spokes[i].name, self.spokes[i].disk.held.assignment.order())
    }

    fn fetch(&mut self, i: usize) -> String {
        if self.links[i].spokes().is_none() || !self.hub.is_up() {
            return String::new();
        }
        for digest in self.spokes[i].lacks() {
            let bytes = self.git.bundles[&digest].bytes.clone();
            self.spokes[i].disk.bundles.insert(digest, bytes);
        }
        format!("{} fetches", self.spokes[i].name)
    }

    fn offer(&mut self, i: usize) -> String {
        let name = self.spokes[i].name.clone();
        let Some(id) = self.hub.connection(&name) else { return String::new() };
        let outgoing = self.hub.offer(&name, &mut self.oracle);
        self.links[i].get(id).into_iter().for_each(|stream| stream.down.extend(outgoing.clone()));
        format!("the hub looks at {name}")
    }

    fn repository(&mut self) -> String {
        if self.rng.u32(0..15) == 0 {
            self.git.rewind(&mut self.rng);
            return format!("the branch goes to {}", self.git.tip);
        }
        self.git.commit(&mut self.rng);
        format!("commit {}: {:?}", self.git.tip, self.git.commits[self.git.tip].apps)
    }

    fn label(&mut self, i: usize) -> String {
        let env = self.rng.choice(["prod", "dev"]).unwrap_or_default();
        self.member(i, Step::MemberLabelled, |member| {
            member.membership.labels.insert("env".into(), env.into());
        });
        format!("{} is labelled {env}", self.spokes[i].name)
    }

    fn empty(&mut self, i: usize) -> String {
        self.member(i, Step::MemberOrderedOut, |member| {
            if member.standing == Standing::Member {
                member.standing = Standing::Emptying;
                member.ordered_by = Some("ann".into());
            }
        });
        format!("{} is ordered out", self.spokes[i].name)
    }

    fn member(&mut self, i: usize, step: Step, change: impl FnOnce(&mut MemberRecord)) {
        let name = &self.spokes[i].name;
        let Some(state) = self.hub.state() else { return };
        let Some(member) = state.members.get(name) else { return };
        let mut record = (*member.record).clone();
        change(&mut record);
        let key = key::member(name);
        let value = serde_json::to_vec(&record).expect("a record serializes");
        let batch = Batch::new().require_at(key.clone(), member.version).put(key, value);
        self.hub.order(step, batch, &mut self.oracle);
    }

    fn approve(&mut self) -> String {
        let holds: Vec<String> =
            self.hub.state().into_iter().flat_map(|state| state.holds.into_keys()).collect();
        let Some(id) = self.rng.choice(&holds) else { return String::new() };
        self.hub.approve(id, &mut self.oracle);
        format!("ann approves {id}")
    }
}

fn up_name(message: &v1::FromSpoke) -> String {
    format!("{message:?}").chars().take(160).collect()
}

fn down_name(message: &v1::ToSpoke) -> String {
    format!("{message:?}").chars().take(160).collect()
}
