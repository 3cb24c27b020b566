//! Rules: how apps move and who waits for whom, as the catalogs of a simulation write them.
//!
//! In: a seed's randomness. Out: `Rollout`s and dependencies that change from commit to commit, in plain numbers that a checker reads
//! by itself, and as a catalog has them. Never: lets apps wait for each other in a circle, asks for an approval.

use std::collections::BTreeMap;

use fastrand::Rng;
use nave_placement::catalog::{
    ClusterSelection, Count, Dependency, DependsOn, Failure, IfAbsent, OnNewRevision, Percent, Rollout, Then,
    Until, Wave,
};
use nave_placement::select::{Operator, Requirement, Selector};

/// So many names of `Rollout`s are in use.
const NAMES: u32 = 3;

/// So many clusters, or so many of a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// Clusters.
    Of(usize),
    /// Percent.
    Percent(usize),
}

impl Number {
    /// Of so many, rounded up.
    pub fn up(self, of: usize) -> usize {
        match self {
            Self::Of(count) => count,
            Self::Percent(percent) => (percent * of).div_ceil(100),
        }
    }

    /// Of so many, rounded down.
    pub fn down(self, of: usize) -> usize {
        match self {
            Self::Of(count) => count,
            Self::Percent(percent) => percent * of / 100,
        }
    }

    fn written(self) -> Count {
        match self {
            Self::Of(count) => Count::Clusters(u32::try_from(count).expect("a small number")),
            Self::Percent(of) => Count::Share(percent(of)),
        }
    }
}

fn percent(of: usize) -> Percent {
    Percent::new(u8::try_from(of).expect("at most 100")).expect("at most 100")
}

/// Clusters that change together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaveRule {
    /// Those with this label `env` alone.
    pub env: Option<&'static str>,
    /// So many of these; a share is of all clusters of the rollout, with the waves before.
    pub size: Option<Number>,
    /// So many of the wave may be unavailable.
    pub unavailable: Option<Number>,
    /// For how long all of it has to be healthy, milliseconds.
    pub soak_ms: u64,
}

/// How an app moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// One after the other; who is in none of them comes last.
    pub waves: Vec<WaveRule>,
    /// So many of a wave may fail.
    pub failed: Number,
    /// How long a cluster may take, milliseconds; absent: as long as an app may.
    pub deadline_ms: Option<u64>,
    /// With more failures it waits for an operator; otherwise it is taken back.
    pub pauses: bool,
}

impl Default for Rule {
    /// What holds where nothing is written: one cluster, a quarter, all.
    fn default() -> Self {
        let wave = |size| WaveRule { size: Some(size), ..WaveRule::default() };
        let waves = vec![wave(Number::Of(1)), wave(Number::Percent(25)), WaveRule::default()];
        Self { waves, failed: Number::Of(0), deadline_ms: None, pauses: false }
    }
}

impl Rule {
    fn random(rng: &mut Rng) -> Self {
        let minutes = |rng: &mut Rng, most: u64| rng.u64(1..=most) * 60_000;
        let wave = |rng: &mut Rng| WaveRule {
            env: rng.choice([None, None, Some("prod"), Some("dev")]).flatten(),
            size: match rng.u32(0..3) {
                0 => Some(Number::Of(rng.usize(1..=3))),
                1 => Some(Number::Percent(rng.usize(10..=90))),
                _ => None,
            },
            unavailable: match rng.u32(0..5) {
                0 => None,
                1 | 2 => Some(Number::Of(rng.usize(1..=2))),
                _ => Some(Number::Percent(rng.usize(10..=70))),
            },
            soak_ms: if rng.u32(0..3) == 0 { minutes(rng, 5) } else { 0 },
        };
        Self {
            waves: (0..rng.usize(1..=3)).map(|_| wave(rng)).collect(),
            failed: match rng.u32(0..3) {
                0 => Number::Of(0),
                1 => Number::Of(1),
                _ => Number::Percent(rng.usize(10..=50)),
            },
            deadline_ms: rng.bool().then(|| minutes(rng, 10)),
            pauses: rng.bool(),
        }
    }

    /// As a catalog has it.
    pub fn written(&self) -> Rollout {
        let wave = |(number, wave): (usize, &WaveRule)| {
            let (count, share) = match wave.size {
                Some(Number::Of(count)) => (Some(u32::try_from(count).expect("a small number")), None),
                Some(Number::Percent(of)) => (None, Some(percent(of))),
                None => (None, None),
            };
            let selection = |env: &str| ClusterSelection {
                selector: Some(Selector(vec![requirement(env)])),
                ..ClusterSelection::default()
            };
            Wave {
                name: format!("wave-{number}"),
                clusters: wave.env.map(selection),
                count,
                share,
                max_unavailable: wave.unavailable.map(Number::written),
                soak_ms: wave.soak_ms,
                ..Wave::default()
            }
        };
        Rollout {
            waves: self.waves.iter().enumerate().map(wave).collect(),
            failure: Failure {
                max: self.failed.written(),
                deadline_ms: self.deadline_ms,
                then: if self.pauses { Then::Pause } else { Then::Rollback },
            },
            on_new_revision: OnNewRevision::Supersede,
        }
    }
}

/// The label `env` has this value.
pub fn requirement(env: &str) -> Requirement {
    Requirement { key: "env".into(), operator: Operator::In([env.to_owned()].into()) }
}

/// How the apps of a commit move.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What is written, by name.
    pub rollouts: BTreeMap<String, Rule>,
    /// Which of these the apps that move as one name.
    pub named: BTreeMap<String, String>,
    /// What the others have; absent: nothing that is written.
    pub default: Option<String>,
}

impl Rules {
    /// Some.
    pub fn random(rng: &mut Rng) -> Self {
        let mut rules = Self::default();
        for number in 0..NAMES {
            rules.rollouts.insert(format!("r{number}"), Rule::random(rng));
        }
        rules
    }

    /// Others, by a little: which one an app names, which one the others have, or what one of them says.
    pub fn change(&mut self, units: &[&str], rng: &mut Rng) {
        if self.rollouts.is_empty() {
            return;
        }
        let name = format!("r{}", rng.u32(0..NAMES));
        match (rng.u32(0..8), rng.choice(units)) {
            (0 | 1, _) => drop(self.rollouts.insert(name, Rule::random(rng))),
            (2, _) => self.default = Some(name),
            (3, _) => self.default = None,
            (4, Some(unit)) => drop(self.named.remove(*unit)),
            (_, Some(unit)) => drop(self.named.insert((*unit).to_owned(), name)),
            (_, None) => {}
        }
    }

    /// How apps move that have this name together, or one that has it alone.
    pub fn of(&self, unit: &str) -> Rule {
        let name = self.named.get(unit).or(self.default.as_ref());
        name.and_then(|name| self.rollouts.get(name)).cloned().unwrap_or_default()
    }
}

/// What an app waits for of another on its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Awaits {
    /// That it is healthy; otherwise, that it is applied.
    pub healthy: bool,
    /// Where it does not run, that it comes.
    pub absent: bool,
}

impl Awaits {
    /// Something.
    pub fn random(rng: &mut Rng) -> Self {
        Self { healthy: rng.bool(), absent: rng.u32(0..3) == 0 }
    }

    /// As a catalog has it.
    pub fn written(self, app: &str) -> Dependency {
        Dependency {
            on: DependsOn::App(app.to_owned()),
            until: if self.healthy { Until::Healthy } else { Until::Applied },
            if_absent: Some(if self.absent { IfAbsent::Wait } else { IfAbsent::Ignore }),
            clusters: None,
        }
    }
}
