//! What happens where rules meet.

use super::*;
use crate::catalog::Count;

#[test]
fn whoever_was_away_in_an_earlier_wave_has_its_turn_under_the_last_ones_budget() {
    let last = Wave { max_unavailable: Some(Count::Clusters(1)), ..wave("rest") };
    let mut world = World::with(12, vec![Wave { count: Some(8), ..wave("first") }, last]);
    let late = ["c-02", "c-03", "c-04", "c-05", "c-06"];
    late.iter().for_each(|cluster| world.offline(cluster));
    world.deliver(2);
    world.step();
    world.obey();
    late.iter().for_each(|cluster| world.online(cluster));
    for _ in 0..20 {
        world.step();
        let current = world.course.current.as_ref();
        let at_work = current.map_or(0, |progress| progress.underway.len());
        assert!(current.is_none_or(|progress| progress.wave == 0) || at_work <= 1, "{at_work} at once");
        // One that gets well only now and then.
        world.step();
        world.obey();
    }
    world.run();
    assert!(world.is_over(2) && world.told(1).is_empty());
}

#[test]
fn nobody_fails_for_the_time_in_which_the_hub_was_away() {
    let mut world = World::with(2, vec![wave("all")]);
    world.deliver(2);
    world.step();
    world.now_ms += 2 * TIMEOUT;
    world.since_ms = world.now_ms;
    world.step();
    assert!(world.course.current.as_ref().is_some_and(|progress| progress.failed.is_empty()));
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn what_is_taken_back_is_taken_back_before_the_next_version_begins() {
    let all = Wave { max_unavailable: Some(Count::Clusters(1)), ..wave("all") };
    let mut world = World::with(3, vec![all]);
    world.deliver(2);
    world.step();
    world.obey();
    world.step();
    world.bad.insert(2);
    world.obey();
    world.offline("c-02");
    world.now_ms += TIMEOUT;
    world.step();
    world.deliver(3);
    world.step();
    world.step();
    let ended = world.course.past.last().expect("remembered");
    assert_eq!(ended.outcome, Outcome::RolledBack, "{:?}", world.course);
    world.online("c-02");
    world.run();
    assert!(world.is_over(3));
}

#[test]
fn what_an_operator_pinned_moves_though_a_version_is_blocked() {
    let mut world = World::of(3);
    world.bad.insert(2);
    world.deliver(2);
    world.run();
    world.now_ms += TIMEOUT;
    world.run();
    assert!(world.course.block.is_some());
    // All of it is pinned to an older version.
    world.clusters.values_mut().for_each(|c| (c.told, c.healthy) = (Some(77), Some(77)));
    world.run();
    assert_eq!(world.told(77).len(), 3, "blocked");
    world.clusters.values_mut().for_each(|c| c.pinned = true);
    world.sent.clear();
    world.step();
    assert_eq!(world.sent.len(), 1, "by its waves");
}

#[test]
fn labels_that_change_many_clusters_at_once_start_a_rollout() {
    let mut world = World::of(12);
    world.clusters.values_mut().take(11).for_each(|c| c.told = Some(77));
    world.step();
    assert_eq!((world.sent.len(), world.plan.as_ref().map(|plan| plan.cause)), (1, Some(Cause::Placement)));
}

#[test]
fn where_the_canary_left_another_goes_ahead() {
    let mut world = World::of(12);
    world.deliver(2);
    world.step();
    world.clusters.remove(&name("c-01"));
    world.step();
    world.step();
    assert_eq!(world.told(2).len(), 1);
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn whoever_is_told_late_because_the_hub_was_cut_off_has_its_whole_time() {
    let mut world = World::with(2, vec![wave("all")]);
    world.deliver(2);
    world.step();
    // The course was written and the assignments were not: another hub tells them.
    world.clusters.values_mut().for_each(|c| (c.told, c.previous) = (Some(1), None));
    world.now_ms += TIMEOUT - MINUTE;
    world.step();
    assert_eq!(world.told(2).len(), 2);
    let failed = |world: &World| world.course.current.as_ref().map_or(0, |progress| progress.failed.len());
    world.now_ms += TIMEOUT - MINUTE;
    world.step();
    assert_eq!(failed(&world), 0, "for {} ms", TIMEOUT - MINUTE);
    world.offline("c-02");
    world.obey();
    world.now_ms += MINUTE;
    world.step();
    assert!(world.events.iter().any(|event| event == "RollingBack"), "{:?}", world.course);
}

#[test]
fn whoever_got_well_before_it_was_told_has_its_turn_with_the_others() {
    let all = Wave { max_unavailable: Some(Count::Clusters(1)), ..wave("all") };
    let mut world = World::with(2, vec![all]);
    world.at("c-02").degraded = true;
    world.deliver(2);
    world.step();
    assert_eq!(world.told(2), ["c-01", "c-02"], "what is not well costs nothing");
    // The hub was cut off before it told the second.
    let second = world.at("c-02");
    (second.told, second.previous, second.degraded) = (Some(1), None, false);
    world.step();
    assert_eq!(world.told(2), ["c-01"]);
    world.run();
    assert!(world.is_over(2));
}
