//! Laws: what holds for every fleet, every rule and every order in which things change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::Placement;
use nave_placement::check::{self, DecisionStep};
use nave_placement::decide::{Decision, Engine, Memory, Moment, Settled, Settling, Standing, judge, outcome};
use nave_placement::fleet::{Fact, Facts, Fleet};
use nave_placement::{AppKey, ClusterName};
use proptest::prelude::*;

use super::world::{Dice, candidate, cluster_name, fleet, name, placement, web};

const START_MS: u64 = 1_800_000_000_000;

/// Everything that decisions are made of.
#[derive(Clone)]
struct World {
    fleet: Fleet,
    rules: BTreeMap<Arc<str>, Placement>,
    healthy: BTreeSet<ClusterName>,
    /// Rules that were removed since the last step: what they had decided is forgotten.
    forgotten: BTreeSet<Arc<str>>,
    now_ms: u64,
}

impl World {
    fn new(dice: &mut Dice<'_>) -> Self {
        let rules = (0..4).map(|n| (name(n), placement(dice))).collect();
        let fleet = fleet(dice, 9, START_MS);
        Self { fleet, rules, healthy: BTreeSet::new(), forgotten: BTreeSet::new(), now_ms: START_MS }
    }

    /// The decisions of a new engine, and the engine.
    fn full(&self, previous: &Memory) -> (Vec<Decision>, Engine) {
        let (decisions, engine, _) = self.full_with_taken(previous);
        (decisions, engine)
    }

    fn full_with_taken(&self, previous: &Memory) -> (Vec<Decision>, Engine, Settling) {
        let mut engine = Engine::new(&self.fleet);
        for (name, placement) in &self.rules {
            let settled = previous.get(name).cloned().unwrap_or_default();
            engine.set_rule(name, Arc::new(placement.clone()), web(), settled);
        }
        let settling = self.settle(&mut engine);
        (engine.decisions(), engine, settling)
    }

    fn settle(&self, engine: &mut Engine) -> Settling {
        let healthy = |cluster: &ClusterName, _: &AppKey| self.healthy.contains(cluster);
        engine.settle(Moment { now_ms: self.now_ms, hub_since_ms: START_MS - 3_600_000, healthy: &healthy })
    }

    /// Changes something, here and in an engine.
    fn change(&mut self, dice: &mut Dice<'_>, engine: &mut Engine) {
        let cluster = cluster_name(dice.roll(10));
        match dice.roll(8) {
            0 => {
                self.fleet.remove(&cluster);
                engine.set_cluster(&cluster, None);
                return;
            }
            1 => {
                let (rule, placement) = (name(dice.roll(5)), placement(dice));
                engine.set_rule(&rule, Arc::new(placement.clone()), web(), Settled::default());
                self.rules.insert(rule, placement);
                return;
            }
            2 => {
                let rule = name(dice.roll(5));
                engine.remove_rule(&rule);
                self.rules.remove(&rule);
                self.forgotten.insert(rule);
                return;
            }
            3 => {
                if !self.healthy.remove(&cluster) {
                    self.healthy.insert(cluster);
                }
                engine.touch_health();
                return;
            }
            4 => {
                self.now_ms += u64::from(dice.roll(10)) * 60_000;
                return;
            }
            5 => {
                if let Some(known) = self.fleet.get_mut(&cluster) {
                    let (key, value) = (*dice.pick(&["env", "region"]), *dice.pick(&["prod", "eu", "us"]));
                    known.labels.insert(key.into(), value.into());
                }
            }
            6 => {
                let other = candidate(dice, self.now_ms);
                if let Some(known) = self.fleet.get_mut(&cluster) {
                    (known.contact, known.free) = (other.contact, other.free);
                }
            }
            _ => _ = self.fleet.insert(cluster.clone(), candidate(dice, self.now_ms)),
        }
        if let Some(candidate) = self.fleet.get(&cluster) {
            engine.set_cluster(&cluster, Some(candidate.clone()));
        }
    }

    fn check(&self, previous: &Memory, decisions: &[Decision]) -> Vec<String> {
        let healthy = |cluster: &ClusterName, _: &AppKey| self.healthy.contains(cluster);
        let moment = Moment { now_ms: self.now_ms, hub_since_ms: START_MS - 3_600_000, healthy: &healthy };
        let nothing = Settled::default();
        let mut said = Vec::new();
        for decision in decisions {
            let step = DecisionStep {
                placement: &self.rules[&decision.placement],
                apps: &decision.apps,
                fleet: &self.fleet,
                previous: previous.get(&decision.placement).unwrap_or(&nothing),
                next: &decision.settled,
                moment,
            };
            let violations = check::decision(&step);
            said.extend(
                violations.iter().map(|v| format!("{}: {v}: {:?}", decision.placement, step.placement)),
            );
        }
        said
    }
}

fn memory(decisions: &[Decision]) -> Memory {
    decisions.iter().map(|d| (d.placement.clone(), d.settled.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(160))]

    /// What is decided step by step is what is decided at once from the same beginning, after any sequence of changes; every
    /// step passes the independent checker; deciding again changes nothing.
    #[test]
    fn steps_and_a_whole_evaluation_decide_the_same(numbers: [Vec<u8>; 6]) {
        let mut dice = Dice::new(&numbers[0]);
        let mut world = World::new(&mut dice);
        let (decisions, mut engine) = world.full(&Memory::new());
        prop_assert_eq!(world.check(&Memory::new(), &decisions), Vec::<String>::new());
        let mut previous = memory(&decisions);
        for numbers in &numbers[1..] {
            let mut dice = Dice::new(numbers);
            // What decisions took is free again: the spokes have reported.
            for (cluster, candidate) in &world.fleet {
                engine.set_cluster(cluster, Some(candidate.clone()));
            }
            for _ in 0..dice.roll(3) + 1 {
                world.change(&mut dice, &mut engine);
            }
            world.settle(&mut engine);
            let stepped = engine.decisions();
            let forgotten = std::mem::take(&mut world.forgotten);
            let kept: Memory = previous.into_iter().filter(|(name, _)| !forgotten.contains(name)).collect();
            let (whole, _) = world.full(&kept);
            prop_assert_eq!(&stepped, &whole);
            prop_assert_eq!(world.check(&kept, &stepped), Vec::<String>::new());
            previous = memory(&stepped);
        }
    }

    /// An engine that is given another fleet and what is remembered decides what a new one decides, also where less was
    /// carried out than it had decided.
    #[test]
    fn an_engine_that_is_brought_up_to_date_decides_what_a_new_one_does(numbers: [Vec<u8>; 6]) {
        let mut dice = Dice::new(&numbers[0]);
        let mut world = World::new(&mut dice);
        let (decisions, mut engine) = world.full(&Memory::new());
        let selections: BTreeMap<Arc<str>, _> = (0..3).map(|n| (name(n), placement(&mut dice).clusters)).collect();
        selections.iter().for_each(|(name, clusters)| engine.set_selection(name, clusters));
        let mut previous = memory(&decisions);
        for numbers in &numbers[1..] {
            let mut dice = Dice::new(numbers);
            let rules = world.rules.clone();
            for _ in 0..dice.roll(3) + 1 {
                world.change(&mut dice, &mut Engine::default());
            }
            world.rules = rules;
            engine.refresh(&world.fleet, &previous);
            for (name, clusters) in &selections {
                for (cluster, candidate) in &world.fleet {
                    let expected = outcome(clusters, cluster, candidate);
                    prop_assert_eq!(engine.selects(name, cluster), expected, "{} {:?}", cluster, clusters);
                }
            }
            let settling = world.settle(&mut engine);
            let (whole, _, at_once) = world.full_with_taken(&previous);
            prop_assert_eq!(&engine.decisions(), &whole);
            prop_assert_eq!((settling.taken, settling.open), (at_once.taken, at_once.open));
            // It may wake for a time that means nothing any more, but never too late.
            let wakes = |due| settling.due_ms.is_some_and(|own| own <= due);
            prop_assert!(at_once.due_ms.is_none_or(wakes), "{:?} {:?}", settling.due_ms, at_once.due_ms);
            let carried_out = memory(&whole).into_iter().filter(|_| dice.roll(4) > 0);
            previous.extend(carried_out);
        }
    }

    /// Deciding again with nothing changed moves nothing.
    #[test]
    fn deciding_again_changes_nothing(numbers: Vec<u8>) {
        let mut world = World::new(&mut Dice::new(&numbers));
        let (first, _, settling) = world.full_with_taken(&Memory::new());
        for (cluster, taken) in &settling.taken {
            if let Some(Fact::Present(free)) = world.fleet.get_mut(cluster).map(|cluster| &mut cluster.free) {
                free.take(taken);
            }
        }
        let (second, _) = world.full(&memory(&first));
        prop_assert_eq!(first, second);
    }

    /// The order in which clusters become known does not matter.
    #[test]
    fn the_order_of_arrival_decides_nothing(numbers: Vec<u8>, order: Vec<prop::sample::Index>) {
        let world = World::new(&mut Dice::new(&numbers));
        let (expected, _) = world.full(&Memory::new());
        let mut engine = Engine::new(&Fleet::new());
        let mut clusters: Vec<_> = world.fleet.iter().collect();
        let mut rules: Vec<_> = world.rules.iter().collect();
        for index in order {
            let (a, b) = (index.index(clusters.len()), index.index(rules.len()));
            let (last_cluster, last_rule) = (clusters.len() - 1, rules.len() - 1);
            clusters.swap(a, last_cluster);
            rules.swap(b, last_rule);
        }
        for (n, (name, placement)) in rules.into_iter().enumerate() {
            for (cluster, candidate) in clusters.iter().skip(n).step_by(world.rules.len()) {
                engine.set_cluster(cluster, Some((*candidate).clone()));
            }
            engine.set_rule(name, Arc::new(placement.clone()), web(), Settled::default());
        }
        world.settle(&mut engine);
        prop_assert_eq!(engine.decisions(), expected);
    }

    /// The index agrees with the definition, pair by pair.
    #[test]
    fn the_index_agrees_with_the_definition(numbers: Vec<u8>, later: Vec<u8>) {
        let mut world = World::new(&mut Dice::new(&numbers));
        for placement in world.rules.values_mut() {
            (placement.pick, placement.replicas) = (None, None);
        }
        let (first, _) = world.full(&Memory::new());
        let previous = memory(&first);
        world.fleet = fleet(&mut Dice::new(&later), 9, START_MS);
        let (second, _) = world.full(&previous);
        for decision in second {
            let placement = &world.rules[&decision.placement];
            let before = &previous[&decision.placement];
            for (name, candidate) in &world.fleet {
                let was = before.chosen.contains_key(name);
                let standing = judge(placement, name, candidate, was, world.now_ms).standing;
                let expected = standing != Standing::Out;
                prop_assert_eq!(decision.settled.chosen.contains_key(name), expected, "{} {}", decision.placement, name);
            }
        }
    }

    /// Facts that become unknown change no decision.
    #[test]
    fn unknown_facts_change_nothing(numbers: Vec<u8>) {
        let mut world = World::new(&mut Dice::new(&numbers));
        let (first, _) = world.full(&Memory::new());
        for cluster in world.fleet.values_mut() {
            (cluster.facts, cluster.free) = (Facts::default(), Fact::Unknown);
        }
        let (second, _) = world.full(&memory(&first));
        for (before, after) in first.iter().zip(&second) {
            let was = &before.settled.chosen;
            prop_assert!(was.keys().all(|name| after.settled.chosen.contains_key(name)), "{}", before.placement);
        }
    }
}
