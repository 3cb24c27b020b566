//! How much is looked at when something changes: counters of work, which do not depend on the machine.

use super::*;
use crate::catalog::{ClusterSelection, Placement};
use crate::fleet::{Candidate, Contact, Fact, Resources};
use crate::select::{Condition, Selector};

fn cluster(labels: &str) -> Candidate {
    let labels = labels.split(',').filter_map(|pair| pair.split_once('='));
    Candidate {
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        contact: Contact::Connected,
        ..Candidate::default()
    }
}

fn placement(selector: &str) -> Placement {
    let selector: Selector = selector.parse().expect("a selector");
    Placement {
        apps: AppSelection::default(),
        clusters: ClusterSelection { selector: Some(selector), ..ClusterSelection::default() },
        tolerations: Vec::new(),
        pick: None,
        replicas: None,
        grants: None,
    }
}

fn name(n: usize) -> ClusterName {
    format!("c{n}").parse().expect("a name")
}

/// Ten rules on each of ten values of ten keys, a hundred clusters.
fn hundred() -> (Engine, Fleet) {
    let labels =
        |n: usize| (0..10).map(|key| format!("k{key}={}", (n + key) % 10)).collect::<Vec<_>>().join(",");
    let fleet: Fleet = (0..100).map(|n| (name(n), cluster(&labels(n)))).collect();
    let mut engine = Engine::new(&fleet);
    for n in 0..100 {
        set(&mut engine, &format!("r{n}"), placement(&format!("k{}={}", n / 10, n % 10)));
    }
    engine.settle(Moment::at(0));
    (engine, fleet)
}

fn set(engine: &mut Engine, name: &str, placement: Placement) {
    engine.set_rule(&name.into(), Arc::new(placement), BTreeSet::new(), Settled::default());
}

/// The placements that settling changes.
fn changes(engine: &mut Engine, now_ms: u64) -> BTreeSet<Arc<str>> {
    engine.settle(Moment::at(now_ms));
    engine.changed()
}

fn since(engine: &Engine, before: Work) -> Work {
    let now = engine.work();
    Work {
        rules: now.rules - before.rules,
        words: now.words - before.words,
        pairs: now.pairs - before.pairs,
        pool: now.pool - before.pool,
        evaluations: now.evaluations - before.evaluations,
    }
}

#[test]
fn a_changed_label_looks_only_at_rules_that_name_it() {
    let (mut engine, mut fleet) = hundred();
    let before = engine.work();
    let changed = fleet.get_mut(&name(7)).expect("a cluster");
    changed.labels.insert("k3".into(), "5".into());
    engine.set_cluster(&name(7), Some(changed.clone()));
    // It left what k3=0 says and came to what k3=5 says.
    assert_eq!(changes(&mut engine, 0), BTreeSet::from(["r30".into(), "r35".into()]));
    assert_eq!(since(&engine, before), Work { pairs: 2, ..Work::default() });

    let before = engine.work();
    changed.labels.insert("nobody-names".into(), "this".into());
    engine.set_cluster(&name(7), Some(changed.clone()));
    engine.settle(Moment::at(0));
    assert_eq!(since(&engine, before), Work::default());
}

#[test]
fn a_rule_that_does_not_match_before_and_after_is_not_looked_at() {
    let (mut engine, mut fleet) = hundred();
    set(&mut engine, "both", placement("k3=5,k4=9"));
    engine.settle(Moment::at(0));
    let changed = fleet.get_mut(&name(7)).expect("a cluster");
    let mut change = |labels: &[(&str, &str)]| {
        let before = engine.work();
        changed.labels.extend(labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        engine.set_cluster(&name(7), Some(changed.clone()));
        (changes(&mut engine, 0).contains("both"), since(&engine, before).pairs)
    };
    // Beside the two that say nothing else: k3=0 and k3=5.
    assert_eq!(change(&[("k3", "5")]), (false, 2));
    assert_eq!(change(&[("k4", "9")]), (true, 3));
    assert_eq!(change(&[("k3", "0")]), (true, 3));
    // Both at once: each term is the other's guard.
    assert_eq!(change(&[("k3", "5"), ("k4", "8")]), (false, 5));
    assert_eq!(change(&[("k3", "4"), ("k4", "9")]), (false, 5));
}

#[test]
fn an_outcome_is_the_worst_of_what_all_terms_say() {
    let condition = |text: &str| Some(Condition::parse(text, false).expect("a condition"));
    let names = |name: &str| Some(BTreeSet::from([name.parse().expect("a name")]));
    let selector = |text: &str| Some(text.parse::<Selector>().expect("a selector"));
    let all = ClusterSelection { selector: selector(""), ..ClusterSelection::default() };
    let rows = [
        (all.clone(), Outcome::Holds),
        (ClusterSelection { selector: selector("a=2"), ..all.clone() }, Outcome::Breaks),
        (ClusterSelection { names: names("c1"), ..all.clone() }, Outcome::Holds),
        (ClusterSelection { names: names("c2"), ..all.clone() }, Outcome::Breaks),
        (ClusterSelection { exclude: names("c1").unwrap_or_default(), ..all.clone() }, Outcome::Breaks),
        (ClusterSelection { sets: Some(["s".to_owned()].into()), ..all.clone() }, Outcome::Holds),
        (ClusterSelection { sets: Some(["t".to_owned()].into()), ..all.clone() }, Outcome::Breaks),
        (ClusterSelection { condition: condition("labels.a == '1'"), ..all.clone() }, Outcome::Holds),
        (ClusterSelection { condition: condition("labels.a == '2'"), ..all.clone() }, Outcome::Breaks),
        (ClusterSelection { condition: condition("facts.nodes > 2"), ..all.clone() }, Outcome::Unknown),
        (
            ClusterSelection { condition: condition("facts.nodes > 2"), names: names("c2"), ..all },
            Outcome::Breaks,
        ),
    ];
    let candidate = Candidate { set: Some("s".into()), ..cluster("a=1") };
    for (selection, expected) in rows {
        let worst = terms(&selection, &name(1), &candidate).iter().map(|check| check.outcome).max();
        assert_eq!(outcome(&selection, &name(1), &candidate), expected, "{selection:?}");
        assert_eq!(worst.unwrap_or(Outcome::Holds), expected, "{selection:?}");
    }
}

#[test]
fn a_changed_rule_looks_only_at_itself() {
    let (mut engine, _) = hundred();
    let before = engine.work();
    set(&mut engine, "r30", placement("k3=1,k4!=2"));
    assert_eq!(changes(&mut engine, 0), BTreeSet::from(["r30".into()]));
    let work = since(&engine, before);
    assert_eq!((work.rules, work.pairs), (1, 0));
    assert!(work.words <= 2 * 100_u64.div_ceil(64), "{work:?}");
    engine.remove_rule(&"r30".into());
    assert_eq!(changes(&mut engine, 0), BTreeSet::from(["r30".into()]));
    assert_eq!(since(&engine, before).rules, 1);
}

#[test]
fn an_expression_is_evaluated_once_for_each_cluster_however_many_rules_use_it() {
    let (mut engine, mut fleet) = hundred();
    let condition = Condition::parse("facts.nodes > 2 && labels.k0 != '1'", false).expect("a condition");
    let before = engine.work();
    for n in 0..20 {
        let mut rule = placement("");
        rule.clusters.condition = Some(condition.clone());
        set(&mut engine, &format!("w{n}"), rule);
    }
    engine.settle(Moment::at(0));
    assert_eq!(since(&engine, before).evaluations, 100);

    let before = engine.work();
    let changed = fleet.get_mut(&name(7)).expect("a cluster");
    changed.facts.nodes = Fact::Present(3);
    engine.set_cluster(&name(7), Some(changed.clone()));
    assert_eq!(changes(&mut engine, 0).len(), 20);
    assert_eq!(since(&engine, before), Work { pairs: 20, evaluations: 1, ..Work::default() });

    let before = engine.work();
    changed.facts.provider = Fact::Present("aws".into());
    changed.free = Fact::Present(Resources::default());
    engine.set_cluster(&name(7), Some(changed.clone()));
    engine.settle(Moment::at(0));
    assert_eq!(since(&engine, before), Work::default(), "nobody looks at these");
}

#[test]
fn time_alone_wakes_only_who_waits_for_it() {
    let (mut engine, mut fleet) = hundred();
    let changed = fleet.get_mut(&name(7)).expect("a cluster");
    let taint = crate::fleet::Taint {
        key: "x".into(),
        value: String::new(),
        effect: crate::fleet::Effect::NoExecute,
    };
    changed.taints.insert(taint, Some(0));
    let mut patient = placement("k0=7");
    patient.tolerations =
        vec![crate::select::Toleration { key: "x".into(), seconds: Some(60), ..Default::default() }];
    set(&mut engine, "patient", patient);
    engine.settle(Moment::at(0));
    engine.set_cluster(&name(7), Some(changed.clone()));
    let settling = engine.settle(Moment::at(1_000));
    assert!(!engine.changed().contains("patient"));
    assert_eq!(settling.due_ms, Some(60_000));
    let before = engine.work();
    assert!(changes(&mut engine, 59_999).is_empty());
    assert_eq!(since(&engine, before), Work::default());
    assert_eq!(changes(&mut engine, 60_000), BTreeSet::from(["patient".into()]));
    assert_eq!(since(&engine, before).rules, 1);
}

#[test]
fn ties_are_broken_by_a_number_that_never_changes() {
    let lots: Vec<u64> =
        ["a", "b"].iter().map(|cluster| lot("web", &cluster.parse().expect("a name"))).collect();
    assert_eq!(lots, [lot("web", &"a".parse().expect("a name")), lot("web", &"b".parse().expect("a name"))]);
    assert_ne!(lots[0], lots[1]);
    assert_ne!(lot("web", &"a".parse().expect("a name")), lot("db", &"a".parse().expect("a name")));
}

#[test]
fn every_chosen_cluster_has_a_share_of_every_app_and_the_larger_of_two() {
    let names = [name(1), name(2)];
    let shares = |replicas: [u32; 2]| {
        let target = crate::catalog::ObjectTarget { kind: Some("Deployment".into()), ..Default::default() };
        let total = replicas.iter().sum();
        let of = crate::catalog::Replicas { target, total, divide: crate::catalog::Divide::Even };
        Shares { of, by: names.iter().cloned().zip(replicas).collect() }
    };
    let app: AppKey = "web".parse().expect("an app");
    let decision = |placement: &str, shares| Decision {
        placement: placement.into(),
        apps: [app.clone()].into(),
        settled: Settled {
            chosen: names.iter().map(|name| (name.clone(), Place::default())).collect(),
            shares,
            ..Settled::default()
        },
    };
    let none = share_out(&[decision("all", None)]);
    assert!(none.is_empty());
    let out = share_out(&[decision("a", Some(shares([3, 1]))), decision("b", Some(shares([2, 2])))]);
    let counts: Vec<u32> = out.values().map(|shares| shares[&app].replicas).collect();
    assert_eq!(counts, [3, 2]);
}
