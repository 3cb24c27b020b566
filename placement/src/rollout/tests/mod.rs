//! A world of clusters that do as they are told, for the rules of rollouts.

mod edges;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::catalog::{Percent, Sources, Wave};
use crate::fleet::Contact;
use crate::overrides::Variant;

const MINUTE: u64 = 60_000;
const TIMEOUT: u64 = 10 * MINUTE;

/// What a cluster of the world is like.
#[derive(Clone, Debug)]
struct Cluster {
    candidate: Candidate,
    /// The version that it was told, the one before, and the version that it runs healthily.
    told: Option<u32>,
    told_ms: u64,
    previous: Option<u32>,
    healthy: Option<u32>,
    degraded: bool,
    waits: bool,
    paused: bool,
    closed: bool,
    wanted: bool,
    joined: bool,
    pinned: bool,
}

struct World {
    clusters: BTreeMap<ClusterName, Cluster>,
    rule: Rollout,
    version: u32,
    course: Course,
    plan: Option<Plan>,
    now_ms: u64,
    settles_ms: Option<u64>,
    since_ms: u64,
    /// Versions that no cluster gets healthy with.
    bad: BTreeSet<u32>,
    waits_for: Option<WaitsFor>,
    due_ms: Option<u64>,
    sent: Vec<ClusterName>,
    events: Vec<String>,
}

fn name(text: &str) -> ClusterName {
    text.parse().expect("valid")
}

fn basis(version: u32) -> Basis {
    let json = serde_json::json!({"forms": {"": Digest::of(&version.to_be_bytes())}});
    let basis: Basis = serde_json::from_value(json).expect("a basis");
    assert!(!basis.is_empty() && Variant::default().as_str().is_empty());
    basis
}

fn percent(value: u8) -> Percent {
    Percent::new(value).expect("at most 100")
}

fn wave(name: &str) -> Wave {
    Wave { name: name.to_owned(), ..Wave::default() }
}

impl World {
    /// So many clusters, `c-01` and on, that run version 1.
    fn of(size: usize) -> Self {
        let cluster = |number: usize| {
            let env = if number.is_multiple_of(2) { "prod" } else { "staging" };
            let zone = ["a", "b", "c"][number % 3];
            let labels = BTreeMap::from([("env".into(), env.into()), ("zone".into(), zone.into())]);
            let candidate = Candidate { labels, contact: Contact::Connected, ..Candidate::default() };
            let cluster = Cluster {
                candidate,
                told: Some(1),
                told_ms: 0,
                previous: None,
                healthy: Some(1),
                degraded: false,
                waits: false,
                paused: false,
                closed: false,
                wanted: true,
                joined: false,
                pinned: false,
            };
            (name(&format!("c-{number:02}")), cluster)
        };
        let mut world = Self {
            clusters: (1..=size).map(cluster).collect(),
            rule: Rollout::default(),
            version: 1,
            course: Course::default(),
            plan: None,
            now_ms: 1_000,
            settles_ms: None,
            since_ms: 0,
            bad: BTreeSet::new(),
            waits_for: None,
            due_ms: None,
            sent: Vec::new(),
            events: Vec::new(),
        };
        world.step();
        assert!(world.course.completed.is_some() && world.sent.is_empty());
        world
    }

    fn with(size: usize, waves: Vec<Wave>) -> Self {
        let mut world = Self::of(size);
        world.rule.waves = waves;
        world
    }

    fn at(&mut self, cluster: &str) -> &mut Cluster {
        self.clusters.get_mut(&name(cluster)).expect("a cluster")
    }

    /// One step; what may go is told at once.
    fn step(&mut self) {
        let version = self.version;
        let seen: BTreeMap<ClusterName, Seen<'_>> = self
            .clusters
            .iter()
            .filter(|(_, c)| c.wanted || c.told.is_some())
            .map(|(name, c)| {
                let to_do = match (c.wanted, c.told) {
                    (true, None) => ToDo::Install,
                    (true, Some(told)) if told == version => ToDo::Nothing,
                    (true, Some(_)) => ToDo::Change,
                    (false, _) => ToDo::Remove,
                };
                let health = match () {
                    () if c.waits => Health::Waits,
                    () if c.degraded => Health::Degraded,
                    () if c.told.is_some() && c.healthy == c.told => Health::Healthy,
                    () => Health::NotYet,
                };
                let away = c.candidate.contact != Contact::Connected;
                let obstacle = if away { Some(Obstacle::Away) } else { c.paused.then_some(Obstacle::Paused) };
                let seen = Seen {
                    is_withdrawn: false,
                    candidate: &c.candidate,
                    to_do,
                    health,
                    obstacle,
                    may_start: !c.closed,
                    has_just_joined: c.joined,
                    can_return: c.previous.is_some(),
                    is_pinned: c.pinned,
                    told_ms: c.told_ms,
                };
                (name.clone(), seen)
            })
            .collect();
        let (app, basis) = ("shop".parse().expect("valid"), basis(version));
        let commit = CommitId(format!("{version:040}").into());
        let (rule, sources) = (&self.rule, &Sources::new());
        let (app, basis, commit) = (&app, &basis, &commit);
        let target = Target { app, basis, commit, sources, rule, timeout_ms: TIMEOUT, is_gone: false };
        let moment = Moment { now_ms: self.now_ms, settles_ms: self.settles_ms, since_ms: self.since_ms };
        let next = step(&self.course, self.plan.as_ref(), target, &seen, moment);
        // What is not written down is not needed.
        let stored = serde_json::to_vec(&next.course).expect("serializes");
        self.course = serde_json::from_slice(&stored).expect("is read back");
        assert_eq!(self.course, next.course);
        if next.plan.is_some() {
            self.plan = next.plan;
        }
        self.waits_for = next.waits_for;
        self.due_ms = next.due_ms;
        self.events.extend(next.events.iter().map(|event| event.what.to_owned()));
        for cluster in next.go {
            let c = self.clusters.get_mut(&cluster).expect("a cluster");
            if !c.wanted {
                (c.told, c.healthy) = (None, None);
            } else if c.told != Some(version) {
                c.previous = c.told;
                (c.told, c.told_ms) = (Some(version), self.now_ms);
                c.joined = false;
                self.sent.push(cluster);
            }
        }
        for cluster in next.back {
            let c = self.clusters.get_mut(&cluster).expect("a cluster");
            c.told = c.previous.take();
        }
    }

    /// Spokes that are online do what they were told.
    fn obey(&mut self) {
        for c in self.clusters.values_mut() {
            let online = c.candidate.contact == Contact::Connected;
            if online && !c.waits && c.told.is_some_and(|told| !self.bad.contains(&told)) {
                (c.healthy, c.degraded) = (c.told, false);
            } else if online && c.told.is_some_and(|told| self.bad.contains(&told)) {
                c.degraded = true;
            }
        }
    }

    /// Steps until nothing changes any more, with spokes that obey.
    fn run(&mut self) {
        for _ in 0..200 {
            let before = (self.course.clone(), self.sent.len(), format!("{:?}", self.clusters));
            self.step();
            self.obey();
            if before == (self.course.clone(), self.sent.len(), format!("{:?}", self.clusters)) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn deliver(&mut self, version: u32) {
        self.version = version;
        self.sent.clear();
        self.events.clear();
    }

    fn told(&self, version: u32) -> Vec<&str> {
        let with = self.clusters.iter().filter(|(_, c)| c.told == Some(version));
        with.map(|(name, _)| name.as_str()).collect()
    }

    fn offline(&mut self, cluster: &str) {
        self.at(cluster).candidate.contact = Contact::Silent { since_ms: 1 };
    }

    fn online(&mut self, cluster: &str) {
        self.at(cluster).candidate.contact = Contact::Connected;
    }

    fn wave(&self) -> usize {
        self.course.current.as_ref().expect("a rollout").wave
    }

    fn is_over(&self, version: u32) -> bool {
        let is_done = |c: &Completed| c.basis.is_same(&basis(version));
        self.course.current.is_none() && self.course.completed.as_ref().is_some_and(is_done)
    }
}
