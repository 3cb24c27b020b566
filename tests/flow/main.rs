//! The whole path: real cores in a simulated world, and what placements pick with real processes.

mod charts;
mod depending;
mod directories;
mod elsewhere;
mod events;
mod guarding;
mod history;
mod hostile;
mod pausing;
mod placing;
mod planning;
mod pushing;
mod rendering;
mod rolling;
mod simulation;
mod tenants;
mod together;
mod values;

use std::time::Instant;

use simulation::{Mutation, play};

/// Seeds of a run, unless `NAVE_SIM_SEEDS` says otherwise.
const SEEDS: u64 = 250;
/// Seeds in which each bug that is put in has to be found.
const SEEDS_OF_A_BUG: u64 = 150;

fn seeds() -> u64 {
    std::env::var("NAVE_SIM_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(SEEDS)
}

/// Seeds that failed once.
fn kept() -> Vec<u64> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn seeds_that_failed_once_pass_now() {
    for seed in kept() {
        if let Err(failure) = play(seed, Mutation::None) {
            panic!("seed {seed}: {failure}");
        }
    }
}

#[test]
fn whatever_happens_nothing_is_lost_and_the_fleet_comes_to_rest() {
    let first = std::env::var("NAVE_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let range = first.map_or(0..seeds(), |seed| seed..seed + 1);
    let begun = Instant::now();
    let (mut deletions, mut losses, mut holds, mut objects, mut failures) = (0, 0, 0, 0, Vec::new());
    let (mut apps, mut stuck) = (0, 0);
    for seed in range {
        match play(seed, Mutation::None) {
            Ok(played) => {
                deletions += played.deletions;
                losses += played.losses;
                holds += played.holds;
                objects += played.objects;
                apps += played.apps;
                stuck += played.stuck;
            }
            Err(failure) => failures.push(format!("seed {seed}: {failure}")),
        }
    }
    eprintln!(
        "{deletions} deletions, {losses} lost states, {holds} holds, {objects} objects, {stuck} of {apps} apps stuck, {:?}",
        begun.elapsed()
    );
    let count = failures.len();
    failures.truncate(20);
    assert!(failures.is_empty(), "{count} failures; NAVE_SIM_SEED=N runs one:\n{}", failures.join("\n"));
    assert!(
        first.is_some() || (deletions > 0 && losses > 0 && holds > 0 && objects > 0),
        "too little happened"
    );
    // Who fights with others over objects never gets healthy.
    assert!(first.is_some() || stuck * 20 < apps, "{stuck} of {apps} apps were never rolled out");
}

#[test]
fn a_bug_that_is_put_in_is_found() {
    let bugs = [
        Mutation::SpokeGoesBack,
        Mutation::SpokeDeletesMissing,
        Mutation::SpokePrunesUnasked,
        Mutation::SpokeIgnoresFreezes,
        Mutation::SpokeWaitsForNobody,
        Mutation::HubForgetsLeaving,
        Mutation::HubSendsInDoubt,
        Mutation::HubAwaitsNoHealth,
        Mutation::HubMiscountsBudgets,
        Mutation::HubSplitsGroups,
    ];
    for bug in bugs {
        let found = (0..SEEDS_OF_A_BUG).find_map(|seed| Some((seed, play(seed, bug).err()?)));
        let Some((seed, failure)) = found else {
            panic!("{bug:?} was not found in {SEEDS_OF_A_BUG} seeds");
        };
        let line = failure.lines().next().unwrap_or_default();
        eprintln!("{bug:?} in seed {seed}: {line}");
    }
}
