//! Matching: placements over a large fleet, beside a loop over selectors and maps of labels in the same run.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nave_placement::ClusterName;
use nave_placement::catalog::{AppSelection, ClusterSelection, Placement};
use nave_placement::decide::{Engine, Moment, Settled};
use nave_placement::fleet::{Candidate, Contact, Fleet};
use nave_placement::select::Selector;
use serde_json::{Value, json};

use crate::figures::times;

/// Labels of a cluster, and values of each: what fleets have that are labelled by region, stage, owner, hardware, …
const KEYS: usize = 20;
const VALUES: usize = 20;
/// Evaluations of everything, and changes of one label.
const ROUNDS: usize = 20;
const CHANGES: usize = 1_000;
/// Pairs that the map walk looks at; the rest is extrapolated, since all of them take long.
const WALKED: usize = 5_000_000;

/// Scenario 1: every placement on every cluster, three terms each.
pub fn evaluation(size: usize) -> Value {
    let (fleet, rules) = (fleet(size), rules(size));
    let began = Instant::now();
    let mut engine = Engine::new(&fleet);
    let indexed = began.elapsed();
    let mut samples = Vec::new();
    let compile = |engine: &mut Engine| {
        for (name, placement) in &rules {
            engine.set_rule(name, placement.clone(), std::collections::BTreeSet::new(), Settled::default());
        }
    };
    compile(&mut engine);
    let mut before = engine.work();
    for round in 0..ROUNDS {
        let began = Instant::now();
        engine.settle(Moment::at(0));
        samples.push(began.elapsed());
        black_box(engine.changed().len());
        if round + 1 < ROUNDS {
            before = engine.work();
            compile(&mut engine);
        }
    }
    let work = engine.work();
    let walk = map_walk(&fleet, &rules);
    let ours = samples.iter().min().copied().unwrap_or_default();
    let mut figures = json!({
        "scenario": 1,
        "n": size,
        "index_ms": indexed.as_secs_f64() * 1_000.0,
        "words": work.words - before.words,
        "baseline": {"method": "selectors over maps of labels", "ms": walk.as_secs_f64() * 1_000.0},
        "ratio": walk.as_secs_f64() / ours.as_secs_f64(),
    });
    merge(&mut figures, &times(&mut samples));
    figures
}

/// Scenario 2, up to what every placement chooses: one label of one cluster changes. Durable it is elsewhere.
pub fn one_label(size: usize) -> Value {
    let (mut fleet, rules) = (fleet(size), rules(size));
    let mut engine = Engine::new(&fleet);
    for (name, placement) in &rules {
        engine.set_rule(name, placement.clone(), std::collections::BTreeSet::new(), Settled::default());
    }
    engine.settle(Moment::at(0));
    let before = engine.work();
    let names: Vec<ClusterName> = fleet.keys().cloned().collect();
    let mut microseconds: Vec<f64> = Vec::new();
    for change in 0..CHANGES {
        let name = &names[change * 7919 % names.len()];
        let candidate = fleet.get_mut(name).unwrap();
        candidate.labels.insert(format!("key-{}", change % KEYS), format!("value-{}", change * 31 % VALUES));
        let candidate = candidate.clone();
        let began = Instant::now();
        engine.set_cluster(name, Some(candidate));
        black_box(engine.settle(Moment::at(0)).due_ms);
        microseconds.push(began.elapsed().as_secs_f64() * 1_000_000.0);
    }
    let work = engine.work();
    microseconds.sort_by(f64::total_cmp);
    let at = |percent: usize| microseconds[(microseconds.len() * percent).div_ceil(100).max(1) - 1];
    let walk = one_cluster(&fleet, &rules).as_secs_f64() * 1_000_000.0;
    json!({
        "scenario": 2,
        "part": "matching",
        "n": size,
        "p50_us": at(50),
        "p99_us": at(99),
        "max_us": at(100),
        "rules_looked_at": (work.pairs - before.pairs) as f64 / CHANGES as f64,
        "rules_evaluated": work.rules - before.rules,
        "baseline": {"method": "selectors of all placements over the cluster's map of labels", "us": walk},
        "ratio": walk / at(50),
    })
}

fn merge(figures: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        figures[key] = value.clone();
    }
}

fn fleet(size: usize) -> Fleet {
    let mut random = fastrand::Rng::with_seed(1);
    let cluster = |n: usize| {
        let label = |key: usize| (format!("key-{key}"), format!("value-{}", random.usize(..VALUES)));
        let labels: BTreeMap<String, String> = (0..KEYS).map(label).collect();
        let candidate = Candidate { labels, contact: Contact::Connected, ..Candidate::default() };
        (format!("cluster-{n}").parse().unwrap(), candidate)
    };
    (0..size).map(cluster).collect()
}

/// Three terms each: one value, one of several, not one.
fn rules(size: usize) -> Vec<(Arc<str>, Arc<Placement>)> {
    let mut random = fastrand::Rng::with_seed(2);
    let rule = |n: usize| {
        let mut value = || format!("value-{}", random.usize(..VALUES));
        let (a, b, c, d) = (value(), value(), value(), value());
        let key = |offset: usize| format!("key-{}", (n + offset * 7) % KEYS);
        let text = format!("{}={a},{} in ({b},{c}),{}!={d}", key(0), key(1), key(2));
        let selector: Selector = text.parse().unwrap();
        let placement = Placement {
            apps: AppSelection::default(),
            clusters: ClusterSelection { selector: Some(selector), ..ClusterSelection::default() },
            tolerations: Vec::new(),
            pick: None,
            replicas: None,
            grants: None,
        };
        (Arc::from(format!("placement-{n}")), Arc::new(placement))
    };
    (0..size).map(rule).collect()
}

/// What it takes to ask every placement of one cluster, on average.
fn one_cluster(fleet: &Fleet, rules: &[(Arc<str>, Arc<Placement>)]) -> Duration {
    let began = Instant::now();
    let mut matching = 0_usize;
    for candidate in fleet.values().take(ROUNDS) {
        let matches =
            |placement: &Placement| placement.clusters.selector.as_ref().unwrap().matches(&candidate.labels);
        matching += rules.iter().filter(|(_, placement)| matches(placement)).count();
    }
    black_box(matching);
    began.elapsed() / u32::try_from(ROUNDS.min(fleet.len())).unwrap()
}

fn map_walk(fleet: &Fleet, rules: &[(Arc<str>, Arc<Placement>)]) -> Duration {
    let all = fleet.len() * rules.len();
    let few = &rules[..(WALKED / fleet.len()).clamp(1, rules.len())];
    let began = Instant::now();
    let mut matching = 0_usize;
    for (_, placement) in few {
        let selector = placement.clusters.selector.as_ref().unwrap();
        matching += fleet.values().filter(|candidate| selector.matches(&candidate.labels)).count();
    }
    black_box(matching);
    began.elapsed().mul_f64(all as f64 / (few.len() * fleet.len()) as f64)
}
