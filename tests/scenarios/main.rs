//! Scenarios: measures one figure of the list of goals at a time, in release builds, and prints one JSON object.
//!
//! In: a scenario's name, a scale. Out: figures. Never: asserts a time (tests assert counters of work, not times).
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on panics")]

mod drift;
mod figures;
mod install;
mod latency;
mod matching;
mod memory;
mod operator;
mod rolling;

use std::process::ExitCode;

/// What is measured elsewhere or not at all so far, and why.
const NOT_BUILT: &[(&str, &str)] = &[
    ("4", "10,000 connected spokes need the fleet simulator over sockets, which is not built yet"),
    ("5", "10,000 idle sessions need the fleet simulator over sockets, which is not built yet"),
    ("6", "the return of 10,000 spokes needs the fleet simulator over sockets, which is not built yet"),
    ("7", "the cold start with 1,000,000 entries is not measured yet"),
    ("8", "state per entry is not measured yet"),
    ("11", "10,000 reports within a second need the fleet simulator over sockets, which is not built yet"),
    ("14", "the time to notice a dead spoke is not measured yet"),
];

const USAGE: &str = "use: tests/bench 1|2|3|9|10|12|13|15|hub-rss [--scale K] [--json]";

fn main() -> ExitCode {
    // `cargo bench` adds --bench.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let (mut scenario, mut scale, mut one_line) = (None, None, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--json" => one_line = true,
            "--scale" => match arguments.next().and_then(|k| k.parse().ok()) {
                Some(k) => scale = Some(k),
                None => return usage("--scale needs a number"),
            },
            name if scenario.is_none() && !name.starts_with('-') => scenario = Some(name.to_owned()),
            other => return usage(&format!("what is {other:?}?")),
        }
    }
    let Some(scenario) = scenario else { return usage("which scenario?") };
    if let Some((name, why)) = NOT_BUILT.iter().find(|(name, _)| *name == scenario) {
        return usage(&format!("scenario {name}: {why}"));
    }
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let figures = match scenario.as_str() {
        "1" => matching::evaluation(scale.unwrap_or(10_000)),
        "2" => matching::one_label(scale.unwrap_or(10_000)),
        "3" => runtime.block_on(latency::commit_to_applied(scale.unwrap_or(100))),
        "9" => runtime.block_on(install::many_apps(scale.unwrap_or(1_000))),
        "12" => runtime.block_on(rolling::three_waves(scale.unwrap_or(100))),
        "15" => runtime.block_on(rolling::many_apps(scale.unwrap_or(50))),
        "13" => runtime.block_on(drift::corrected(scale.unwrap_or(200))),
        "10" => runtime.block_on(memory::idle_spoke(scale.unwrap_or(1))),
        "hub-rss" => runtime.block_on(memory::hub(scale.unwrap_or(3))),
        other => return usage(&format!("there is no scenario {other}")),
    };
    if one_line {
        println!("{figures}")
    } else {
        println!("{figures:#}")
    }
    ExitCode::SUCCESS
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}\n{USAGE}");
    ExitCode::from(2)
}
