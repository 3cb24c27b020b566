//! Worlds: small fleets and rules out of a few numbers, so that a failing one shrinks to something that can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::{
    AppSelection, ClusterSelection, Count, Divide, Failover, Grants, ObjectTarget, OnReturn, Percent, Pick,
    Placement, Preference, Preferred, Replicas, Spread,
};
use nave_placement::fleet::{Candidate, Contact, Effect, Fact, Fleet, Resources, Taint};
use nave_placement::select::{Condition, Look, Selector, Toleration};
use nave_placement::{AppKey, ClusterName};

/// Numbers that are used up one by one; after the last they are 0.
pub struct Dice<'a>(pub &'a [u8], pub usize);

impl<'a> Dice<'a> {
    pub fn new(numbers: &'a [u8]) -> Self {
        Self(numbers, 0)
    }

    /// Below `sides`.
    pub fn roll(&mut self, sides: u8) -> u8 {
        let number = self.0.get(self.1).copied().unwrap_or(0);
        self.1 += 1;
        number % sides
    }

    /// Once in so many; never where no numbers are left.
    pub fn one_in(&mut self, sides: u8) -> bool {
        self.roll(sides) == sides - 1
    }

    pub fn pick<'b, T>(&mut self, of: &'b [T]) -> &'b T {
        let at = self.roll(u8::try_from(of.len()).unwrap());
        &of[usize::from(at)]
    }
}

pub fn cluster_name(n: u8) -> ClusterName {
    format!("c{n:02}").parse().unwrap()
}

pub fn web() -> BTreeSet<AppKey> {
    BTreeSet::from(["web".parse().unwrap()])
}

pub fn candidate(dice: &mut Dice<'_>, now_ms: u64) -> Candidate {
    let mut cluster = Candidate::default();
    for (key, values) in [("env", ["prod", "test"]), ("region", ["eu", "us"]), ("tier", ["gold", "iron"])] {
        if !dice.one_in(5) {
            cluster.labels.insert(key.into(), (*dice.pick(&values)).into());
        }
    }
    if dice.one_in(3) {
        cluster.set = Some((*dice.pick(&["blue", "green"])).into());
    }
    cluster.facts.nodes = match dice.roll(6) {
        5 => Fact::Unknown,
        4 => Fact::Absent,
        nodes => Fact::Present(u32::from(nodes)),
    };
    cluster.free = match dice.roll(6) {
        5 => Fact::Unknown,
        free => Fact::Present(Resources { cpu_millis: u64::from(free) * 1_000, ..Resources::default() }),
    };
    if dice.one_in(5) {
        let effects = [Effect::NoSchedule, Effect::PreferNoSchedule, Effect::NoExecute];
        let taint = Taint { key: "gpu".into(), value: String::new(), effect: *dice.pick(&effects) };
        let since = [None, Some(now_ms), Some(now_ms.saturating_sub(60_000))];
        cluster.taints.insert(taint, *dice.pick(&since));
    }
    cluster.cordoned = dice.one_in(9);
    cluster.draining = dice.one_in(9);
    cluster.maintained = dice.one_in(11);
    cluster.contact = match dice.roll(12) {
        11 => Contact::Never,
        10 => Contact::Silent { since_ms: now_ms.saturating_sub(600_000) },
        9 => Contact::Silent { since_ms: now_ms },
        _ => Contact::Connected,
    };
    cluster
}

pub fn fleet(dice: &mut Dice<'_>, size: u8, now_ms: u64) -> Fleet {
    (0..size).map(|n| (cluster_name(n), candidate(dice, now_ms))).collect()
}

pub fn placement(dice: &mut Dice<'_>) -> Placement {
    let selectors =
        ["", "env=prod", "env!=prod", "env in (prod,test)", "tier", "!tier", "env=prod,region=eu"];
    let conditions =
        ["facts.nodes >= 2", "!has(facts.nodes) || labels.env == 'prod'", "cluster.name != 'c01'"];
    let mut clusters = ClusterSelection {
        selector: Some(dice.pick::<&str>(&selectors).parse::<Selector>().unwrap()),
        ..ClusterSelection::default()
    };
    if dice.one_in(4) {
        clusters.condition = Some(Condition::parse(dice.pick::<&str>(&conditions), false).unwrap());
    }
    if dice.one_in(6) {
        clusters.sets = Some(["blue".to_owned()].into());
    }
    if dice.one_in(6) {
        clusters.exclude = [cluster_name(dice.roll(6))].into();
    }
    if dice.one_in(9) {
        clusters.names = Some((0..4).map(cluster_name).collect());
    }
    let toleration = Toleration { key: "gpu".into(), seconds: Some(30), ..Toleration::default() };
    Placement {
        apps: AppSelection { names: Some(["web".to_owned()].into()), selector: None, within: None },
        clusters,
        tolerations: if dice.one_in(4) { vec![toleration] } else { Vec::new() },
        pick: (!dice.one_in(3)).then(|| pick(dice)),
        replicas: dice.one_in(4).then(|| replicas(dice)),
        grants: dice.one_in(4).then(|| grants(dice)),
    }
}

/// What a tenant is granted, if the placement is one's.
fn grants(dice: &mut Dice<'_>) -> Grants {
    let catalog = "team-a".parse().unwrap();
    Grants { catalog, sets: BTreeSet::from([(*dice.pick(&["blue", "green"])).to_owned()]) }
}

fn replicas(dice: &mut Dice<'_>) -> Replicas {
    Replicas {
        target: ObjectTarget { kind: Some("Deployment".into()), ..ObjectTarget::default() },
        total: u32::from(dice.roll(40)),
        divide: *dice.pick(&[Divide::Even, Divide::Weighted, Divide::Free]),
    }
}

fn pick(dice: &mut Dice<'_>) -> Pick {
    let look = |text: &str| text.parse::<Look>().unwrap();
    let counts = [
        None,
        Some(Count::Clusters(1)),
        Some(Count::Clusters(3)),
        Some(Count::Share(Percent::new(50).unwrap())),
    ];
    let preferred = [
        Preferred::Selector("tier=gold".parse().unwrap()),
        Preferred::Most(look("facts.free.cpu")),
        Preferred::Least(look("facts.nodes")),
        Preferred::Balance,
        Preferred::Cel(Condition::parse("facts.free.cpu >= 2.0", true).unwrap()),
    ];
    let prefer = (0..dice.roll(3))
        .map(|_| Preference { weight: u32::from(dice.roll(9)) + 1, what: dice.pick(&preferred).clone() });
    let prefer = prefer.collect();
    Pick {
        count: *dice.pick(&counts),
        per: dice.one_in(4).then(|| look("labels.region")),
        min: if dice.one_in(4) { 1 } else { 0 },
        fits: if dice.one_in(4) { BTreeMap::from([("cpu".to_owned(), 2_000)]) } else { BTreeMap::new() },
        spread: (0..dice.roll(4) / 2)
            .map(|_| Spread {
                topology: look(dice.pick::<&str>(&["labels.region", "labels.tier", "facts.nodes"])),
                max_skew: u32::from(dice.roll(2)) + 1,
                min_domains: dice.one_in(4).then_some(2),
                soft: dice.one_in(3),
            })
            .collect(),
        prefer,
        failover: dice.one_in(2).then(|| Failover {
            unreachable_ms: 300_000,
            suspend_above: Percent::new(if dice.one_in(3) { 10 } else { 60 }).unwrap(),
            on_return: *dice.pick(&[OnReturn::Keep, OnReturn::Return]),
        }),
    }
}

pub fn name(n: u8) -> Arc<str> {
    format!("p{n}").into()
}
