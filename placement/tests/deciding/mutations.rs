//! Mutations: decisions made wrong on purpose, each of which the independent checker has to find.

use nave_placement::catalog::{
    AppSelection, ClusterSelection, Count, Divide, ObjectTarget, Pick, Placement, Replicas, Spread,
};
use nave_placement::check::{self, DecisionStep, DecisionViolation};
use nave_placement::decide::{Cause, Engine, Moment, Place, Settled, StandIn};
use nave_placement::fleet::{Candidate, Contact, Effect, Fleet, Taint};

use super::world::{cluster_name, web};

fn six() -> Fleet {
    let cluster = |n: u8| {
        let region = if n.is_multiple_of(2) { "eu" } else { "us" };
        let labels = [("env", "prod"), ("region", region)].map(|(k, v)| (k.to_owned(), v.to_owned()));
        (
            cluster_name(n),
            Candidate { labels: labels.into(), contact: Contact::Connected, ..Candidate::default() },
        )
    };
    (0..6).map(cluster).collect()
}

fn four_of_prod() -> Placement {
    let clusters =
        ClusterSelection { selector: Some("env=prod".parse().unwrap()), ..ClusterSelection::default() };
    let spread =
        Spread { topology: "labels.region".parse().unwrap(), max_skew: 1, min_domains: None, soft: false };
    Placement {
        apps: AppSelection::default(),
        clusters,
        tolerations: Vec::new(),
        pick: Some(Pick { count: Some(Count::Clusters(4)), spread: vec![spread], ..Pick::default() }),
        replicas: Some(Replicas { target: ObjectTarget::default(), total: 10, divide: Divide::Even }),
        grants: None,
    }
}

fn settled(placement: &Placement, fleet: &Fleet, previous: &Settled) -> Settled {
    let mut engine = Engine::new(fleet);
    engine.set_rule(&"p".into(), std::sync::Arc::new(placement.clone()), web(), previous.clone());
    engine.settle(Moment::at(1_000_000));
    engine.decisions().remove(0).settled
}

/// What the checker says of a step.
fn said(placement: &Placement, fleet: &Fleet, previous: &Settled, next: &Settled) -> Vec<DecisionViolation> {
    let moment = Moment::at(1_000_000);
    check::decision(&DecisionStep { placement, apps: &web(), fleet, previous, next, moment })
}

fn replace(settled: &mut Settled, out: usize, into: u8) {
    let name = settled.chosen.keys().nth(out).unwrap().clone();
    let place = settled.chosen.remove(&name).unwrap();
    settled.chosen.insert(cluster_name(into), place);
}

#[test]
fn a_good_step_passes() {
    let (placement, fleet) = (four_of_prod(), six());
    let first = settled(&placement, &fleet, &Settled::default());
    assert_eq!(first.chosen.len(), 4);
    assert_eq!(said(&placement, &fleet, &Settled::default(), &first), []);
    let second = settled(&placement, &fleet, &first);
    assert_eq!(said(&placement, &fleet, &first, &second), []);
}

#[test]
fn every_mutation_is_found() {
    let placement = four_of_prod();
    let good = settled(&placement, &six(), &Settled::default());
    let chosen = |n: usize| good.chosen.keys().nth(n).unwrap().clone();
    let unchosen = (0..6).find(|n| !good.chosen.contains_key(&cluster_name(*n))).unwrap();
    type Mutate<'a> = Box<dyn Fn(&mut Fleet, &mut Settled, &mut Settled) + 'a>;
    // (what is done to fleet, previous and next; what has to be said)
    let rows: Vec<(&str, Mutate<'_>, &str)> = vec![
        ("a stranger", Box::new(|_, _, next| replace(next, 0, 77)), "is no member"),
        (
            "another one for no reason",
            Box::new(|_, _, next| replace(next, 0, unchosen)),
            "was left, and nothing moves it",
        ),
        (
            "one whose label differs",
            Box::new(|fleet, previous, _| {
                previous.chosen.remove(&chosen(0));
                fleet.get_mut(&chosen(0)).unwrap().labels.insert("env".into(), "test".into());
            }),
            "its terms do not hold",
        ),
        (
            "one that is cordoned",
            Box::new(|fleet, previous, _| {
                previous.chosen.remove(&chosen(1));
                fleet.get_mut(&chosen(1)).unwrap().cordoned = true;
            }),
            "it is cordoned or drained",
        ),
        (
            "one that never connected",
            Box::new(|fleet, previous, _| {
                previous.chosen.remove(&chosen(1));
                fleet.get_mut(&chosen(1)).unwrap().contact = Contact::Never;
            }),
            "it never connected",
        ),
        (
            "one that is tainted",
            Box::new(|fleet, previous, _| {
                previous.chosen.remove(&chosen(1));
                let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoSchedule };
                fleet.get_mut(&chosen(1)).unwrap().taints.insert(taint, None);
            }),
            "a taint keeps it away",
        ),
        (
            "one that a taint drives away",
            Box::new(|fleet, _, _| {
                let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoExecute };
                fleet.get_mut(&chosen(1)).unwrap().taints.insert(taint, None);
            }),
            "it has to leave",
        ),
        (
            "five of four",
            Box::new(|_, _, next| _ = next.chosen.insert(cluster_name(unchosen), Place::default())),
            "5 were chosen where 4 are wanted",
        ),
        (
            "three of four",
            Box::new(|_, previous, next| {
                previous.chosen.remove(&chosen(3));
                next.chosen.remove(&chosen(3));
            }),
            "replicas are divided over other clusters",
        ),
        (
            "too many replicas",
            Box::new(|_, _, next| {
                let shares = next.shares.as_mut().unwrap();
                *shares.by.values_mut().next().unwrap() += 1;
            }),
            "replicas sum up to 11",
        ),
        (
            "all in one region",
            Box::new(|fleet, previous, _| {
                previous.chosen.clear();
                fleet.values_mut().take(5).for_each(|c| _ = c.labels.insert("region".into(), "eu".into()));
                fleet.values_mut().skip(5).for_each(|c| _ = c.labels.insert("region".into(), "us".into()));
            }),
            "of the chosen, the fewest are",
        ),
        (
            "a stand-in for nobody",
            Box::new(|_, _, next| {
                let stands_in = Some(StandIn { cluster: chosen(0), cause: Cause::Unreachable });
                next.chosen.insert(cluster_name(unchosen), Place { stands_in });
            }),
            "stands in for a cluster that is not to be left",
        ),
    ];
    for (what, mutate, expected) in rows {
        let (mut fleet, mut previous, mut next) = (six(), good.clone(), good.clone());
        mutate(&mut fleet, &mut previous, &mut next);
        let said = said(&placement, &fleet, &previous, &next);
        let found = said.iter().any(|violation| violation.to_string().contains(expected));
        assert!(found, "{what}: {said:?}");
    }
}
