//! Each rule of a rollout by its name.

use std::collections::BTreeSet;

use super::*;
use crate::catalog::{Count, Failure, Pace};
use crate::select::Selector;

#[test]
fn without_a_rollout_one_cluster_then_a_quarter_then_all() {
    let mut world = World::of(12);
    world.deliver(2);
    world.step();
    assert_eq!(world.sent, [name("c-01")], "the canary");
    world.step();
    assert_eq!(world.sent.len(), 1, "health is awaited");
    world.obey();
    world.step();
    assert_eq!(world.sent.len(), 3, "a quarter, the canary included");
    world.obey();
    world.step();
    assert_eq!(world.sent.len(), 12);
    world.run();
    assert!(world.is_over(2));
    assert_eq!(
        world.course.past.last().expect("remembered").id.as_str(),
        format!("shop@{}.1", basis(2).digest().short())
    );
}

#[test]
fn the_default_canary_is_picked_among_online_clusters() {
    let mut world = World::of(4);
    world.offline("c-01");
    world.deliver(2);
    world.step();
    assert_eq!(world.sent, [name("c-02")]);
    // Nor is it one that is paused, or whose window is closed.
    world.run();
    world.online("c-01");
    world.run();
    world.at("c-01").paused = true;
    world.at("c-02").closed = true;
    world.deliver(3);
    world.step();
    assert_eq!(world.sent, [name("c-03")]);
}

#[test]
fn a_bad_version_is_taken_back_and_blocked_until_the_version_changes() {
    let mut world = World::of(12);
    world.bad.insert(2);
    world.deliver(2);
    world.run();
    assert_eq!(world.told(2), ["c-01"]);
    assert_eq!(world.due_ms, Some(1_000 + TIMEOUT));
    world.now_ms += TIMEOUT;
    world.run();
    assert_eq!((world.told(2).len(), world.told(1).len()), (0, 12), "nobody else was touched");
    assert!(
        world.events.ends_with(&["RollingBack".to_owned(), "RolledBack".to_owned()]),
        "{:?}",
        world.events
    );
    let block = world.course.block.clone().expect("blocked");
    assert!(block.reason.contains("c-01"), "{}", block.reason);
    // The same version again, by whatever commit: nothing.
    world.now_ms += TIMEOUT;
    world.run();
    assert_eq!(world.told(2).len(), 0);
    world.deliver(3);
    world.run();
    assert!(world.is_over(3) && world.course.block.is_none());
}

#[test]
fn retry_ends_a_block() {
    let mut world = World::of(3);
    world.bad.insert(2);
    world.deliver(2);
    world.run();
    world.now_ms += TIMEOUT;
    world.run();
    world.bad.clear();
    world.course.retry = Some(Order { by: "ada".into(), at_ms: 1, reason: String::new() });
    world.run();
    assert!(world.is_over(2));
    assert!(world.course.past.last().expect("remembered").id.as_str().ends_with(".2"));
}

#[test]
fn then_pause_halts_and_goes_on_when_an_operator_says_so() {
    let mut world = World::of(8);
    world.rule.failure.then = Then::Pause;
    world.bad.insert(2);
    world.deliver(2);
    world.run();
    world.now_ms += TIMEOUT;
    world.run();
    assert_eq!(world.told(2), ["c-01"], "it stays as it is");
    assert!(matches!(world.waits_for, Some(WaitsFor::Retry { .. })), "{:?}", world.waits_for);
    world.bad.clear();
    world.course.retry = Some(Order { by: "ada".into(), at_ms: 1, reason: String::new() });
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn as_many_may_fail_as_the_rule_says_rounded_down() {
    for (max, may, over) in [(Count::Share(percent(49)), 1, false), (Count::Share(percent(50)), 2, true)] {
        let mut world = World::with(4, vec![wave("all")]);
        world.rule.failure = Failure { max, ..Failure::default() };
        world.deliver(2);
        world.step();
        for cluster in ["c-01", "c-02"] {
            world.offline(cluster);
        }
        world.run();
        world.now_ms += TIMEOUT;
        world.run();
        assert_eq!(world.is_over(2), over, "{max}: {may} may, two failed");
    }
}

#[test]
fn who_was_offline_before_it_was_sent_is_set_apart_and_catches_up() {
    let mut world = World::of(6);
    world.offline("c-02");
    world.offline("c-05");
    world.deliver(2);
    world.run();
    assert!(world.is_over(2), "nobody waits for them: {:?}", world.waits_for);
    assert_eq!(world.told(1), ["c-02", "c-05"]);
    world.online("c-05");
    world.run();
    assert_eq!(world.told(1), ["c-02"]);
    world.online("c-02");
    world.run();
    assert!(world.told(1).is_empty());
    assert!(world.course.completed.as_ref().expect("completed").apart.is_empty());
}

#[test]
fn who_was_set_apart_catches_up_under_the_last_waves_budget() {
    let last = Wave { max_unavailable: Some(Count::Clusters(1)), ..wave("all") };
    let mut world = World::with(6, vec![last]);
    for cluster in ["c-02", "c-03", "c-04"] {
        world.offline(cluster);
    }
    world.deliver(2);
    world.run();
    for cluster in ["c-02", "c-03", "c-04"] {
        world.online(cluster);
    }
    world.step();
    assert_eq!(world.told(1).len(), 2);
    world.step();
    assert_eq!(world.told(1).len(), 2, "the first is not healthy yet");
    world.run();
    assert!(world.told(1).is_empty());
}

#[test]
fn who_goes_silent_after_it_was_sent_keeps_its_slot_and_fails_at_the_deadline() {
    let all = Wave { max_unavailable: Some(Count::Clusters(1)), ..wave("all") };
    let mut world = World::with(3, vec![all]);
    world.deliver(2);
    world.step();
    world.offline("c-01");
    world.run();
    assert_eq!(world.told(2), ["c-01"], "its slot is taken");
    world.now_ms += TIMEOUT;
    world.run();
    assert!(world.course.block.is_some());
    assert_eq!(world.told(1).len(), 3, "it returns whenever it is back");
}

#[test]
fn an_all_offline_wave_waits() {
    let mut world = World::with(
        4,
        vec![Wave { clusters: Some(by_label("env", "staging")), ..wave("staging") }, wave("all")],
    );
    world.offline("c-01");
    world.offline("c-03");
    world.deliver(2);
    world.run();
    assert_eq!(world.waits_for, Some(WaitsFor::Reachable { wave: "staging".into(), clusters: 2 }));
    world.online("c-03");
    world.run();
    assert!(world.is_over(2));
}

fn by_label(key: &str, value: &str) -> crate::catalog::ClusterSelection {
    crate::catalog::ClusterSelection { selector: Some(selector(key, value)), ..Default::default() }
}

fn selector(key: &str, value: &str) -> Selector {
    let operator = crate::select::Operator::In(BTreeSet::from([value.to_owned()]));
    Selector(vec![crate::select::Requirement { key: key.to_owned(), operator }])
}

#[test]
fn an_empty_wave_is_skipped_and_asks_nothing() {
    let nobody = Wave {
        clusters: Some(by_label("env", "nowhere")),
        before: Before { approval: true, ..Before::default() },
        ..wave("nobody")
    };
    let mut world = World::with(3, vec![nobody, wave("all")]);
    world.deliver(2);
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn a_cluster_in_no_named_wave_belongs_to_an_implied_last_one() {
    let staging = Wave { clusters: Some(by_label("env", "staging")), ..wave("staging") };
    let mut world = World::with(4, vec![staging]);
    world.deliver(2);
    world.step();
    assert_eq!(world.sent, [name("c-01"), name("c-03")]);
    assert_eq!(world.plan.as_ref().expect("a plan").waves[1].name, "rest");
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn a_wave_waits_for_its_approval() {
    let all = Wave { before: Before { approval: true, ..Before::default() }, ..wave("all") };
    let mut world = World::with(4, vec![Wave { count: Some(1), ..wave("canary") }, all]);
    world.deliver(2);
    world.run();
    assert_eq!(world.waits_for, Some(WaitsFor::Approval { wave: "all".into() }));
    world.course.current.as_mut().expect("a rollout").approved.insert("all".into(), "ada".into());
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn a_wave_waits_until_the_version_was_healthy_elsewhere_for_long_enough() {
    let prod = Wave {
        before: Before {
            healthy_on: Some(selector("env", "staging")),
            for_ms: 5 * MINUTE,
            ..Before::default()
        },
        ..wave("prod")
    };
    let staging = Wave { clusters: Some(by_label("env", "staging")), ..wave("staging") };
    let mut world = World::with(4, vec![staging, prod]);
    world.deliver(2);
    world.run();
    let until_ms = Some(1_000 + 5 * MINUTE);
    assert_eq!(
        world.waits_for,
        Some(WaitsFor::HealthyOn { wave: "prod".into(), healthy: 2, of: 2, until_ms })
    );
    // A break: it counts from anew.
    world.now_ms += MINUTE;
    world.at("c-03").degraded = true;
    world.step();
    assert!(matches!(world.waits_for, Some(WaitsFor::HealthyOn { healthy: 1, until_ms: None, .. })));
    world.now_ms += 10 * MINUTE;
    world.run();
    assert_eq!(world.told(2).len(), 2);
    world.now_ms += 5 * MINUTE;
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn a_wave_soaks_before_the_next_begins() {
    let canary = Wave { count: Some(1), soak_ms: 10 * MINUTE, ..wave("canary") };
    let mut world = World::with(4, vec![canary, wave("all")]);
    world.deliver(2);
    world.run();
    let until_ms = 1_000 + 10 * MINUTE;
    assert_eq!(world.waits_for, Some(WaitsFor::Soak { wave: "canary".into(), until_ms }));
    assert_eq!(world.due_ms, Some(until_ms));
    // It falls sick while it soaks: it has its time, and then it failed.
    world.now_ms += 9 * MINUTE;
    world.bad.insert(2);
    world.obey();
    world.run();
    world.now_ms += 2 * MINUTE;
    world.run();
    assert_eq!(world.told(2), ["c-01"]);
    world.now_ms += TIMEOUT;
    world.run();
    assert!(world.course.block.is_some());
}

#[test]
fn a_wave_never_has_more_unavailable_than_its_budget() {
    let all = Wave { max_unavailable: Some(Count::Share(percent(30))), ..wave("all") };
    let mut world = World::with(10, vec![all]);
    world.deliver(2);
    for round in 1..=4 {
        world.step();
        world.step();
        assert_eq!(world.sent.len(), (3 * round).min(10));
        world.obey();
    }
    let tiny = Wave { max_unavailable: Some(Count::Share(percent(1))), ..wave("all") };
    let mut world = World::with(10, vec![tiny]);
    world.deliver(2);
    world.step();
    assert_eq!(world.sent.len(), 1, "rounded down, but at least one");
}

#[test]
fn clusters_unhealthy_before_go_first_and_cost_no_budget() {
    let all = Wave { max_unavailable: Some(Count::Clusters(1)), ..wave("all") };
    let mut world = World::with(4, vec![all]);
    world.at("c-03").degraded = true;
    world.at("c-04").degraded = true;
    world.deliver(2);
    world.step();
    assert_eq!(world.told(2), ["c-01", "c-03", "c-04"]);
}

#[test]
fn a_pace_lets_so_many_more_go_each_time() {
    let slow = Wave { pace: Some(Pace { step: Count::Share(percent(10)), every_ms: MINUTE }), ..wave("all") };
    let mut world = World::with(20, vec![slow]);
    world.deliver(2);
    world.run();
    assert_eq!(world.sent.len(), 2);
    assert_eq!(world.waits_for, Some(WaitsFor::Pace { wave: "all".into(), until_ms: 1_000 + MINUTE }));
    world.now_ms += MINUTE - 1;
    world.run();
    assert_eq!(world.sent.len(), 2);
    world.now_ms += 1;
    world.run();
    assert_eq!(world.sent.len(), 4);
    world.now_ms += 8 * MINUTE;
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn shares_are_cumulative_and_spread_as_evenly_as_can_be() {
    let zone = || vec!["labels.zone".parse().expect("a label")];
    let waves = vec![
        Wave { count: Some(3), spread: zone(), ..wave("canary") },
        Wave { share: Some(percent(50)), ..wave("half") },
        wave("all"),
    ];
    let mut world = World::with(12, waves);
    world.deliver(2);
    world.step();
    let zones: BTreeSet<String> =
        world.sent.iter().map(|n| world.clusters[n].candidate.labels["zone"].clone()).collect();
    assert_eq!((world.sent.len(), zones.len()), (3, 3));
    let sizes: Vec<usize> =
        world.plan.as_ref().expect("a plan").waves.iter().map(|wave| wave.members.len()).collect();
    assert_eq!(sizes, [3, 3, 6]);
}

#[test]
fn after_a_hub_start_nothing_advances_until_sessions_have_settled() {
    let mut world = World::of(4);
    world.settles_ms = Some(50_000);
    world.deliver(2);
    world.run();
    assert!(world.sent.is_empty());
    assert_eq!(
        (&world.waits_for, world.due_ms),
        (&Some(WaitsFor::Sessions { until_ms: 50_000 }), Some(50_000))
    );
    world.settles_ms = None;
    world.step();
    assert_eq!(world.sent.len(), 1);
    world.obey();
    // And in the middle of one: nothing fails meanwhile either.
    world.settles_ms = Some(50_000);
    world.now_ms += 2 * TIMEOUT;
    world.run();
    assert_eq!((world.sent.len(), world.wave()), (1, 0));
}

#[test]
fn a_window_on_the_spoke_is_waiting_and_never_an_error() {
    let mut world = World::of(2);
    world.at("c-01").waits = true;
    world.deliver(2);
    world.run();
    world.now_ms += 20 * TIMEOUT;
    world.run();
    assert_eq!((world.told(2), world.wave()), (vec!["c-01"], 0));
    // It begins now, and has its time from now on.
    world.at("c-01").waits = false;
    world.step();
    assert_eq!(world.due_ms, Some(world.now_ms + TIMEOUT));
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn who_leaves_drops_out_and_nothing_is_aborted() {
    let mut world = World::of(3);
    world.deliver(2);
    world.step();
    world.clusters.remove(&name("c-01"));
    world.run();
    assert!(world.is_over(2), "{:?}", world.waits_for);
}

#[test]
fn a_first_installation_goes_at_once_to_ten_clusters_and_otherwise_through_the_waves_without_soak() {
    let canary = Wave { count: Some(1), soak_ms: 10 * MINUTE, ..wave("canary") };
    for (size, at_once) in [(10, 10), (11, 1)] {
        let mut world = World::with(size, vec![canary.clone(), wave("all")]);
        world.course = Course::default();
        world.clusters.values_mut().for_each(|c| (c.told, c.healthy) = (None, None));
        world.deliver(1);
        world.step();
        assert_eq!(world.sent.len(), at_once);
        world.obey();
        world.run();
        assert_eq!(world.told(1).len(), size, "no soak");
    }
}

#[test]
fn who_has_just_joined_is_installed_at_once() {
    let mut world = World::of(12);
    for cluster in world.clusters.values_mut().take(11) {
        (cluster.told, cluster.healthy, cluster.joined) = (None, None, true);
    }
    world.step();
    assert_eq!(world.sent.len(), 11);
    assert!(world.course.current.is_none());
}

#[test]
fn rules_that_move_many_clusters_start_a_rollout_and_removals_follow_the_waves() {
    for install in [true, false] {
        let mut world = World::of(12);
        for c in world.clusters.values_mut().take(11) {
            if install {
                (c.told, c.healthy) = (None, None);
            } else {
                c.wanted = false;
            }
        }
        world.step();
        let plan = world.plan.as_ref().expect("a plan");
        assert_eq!((plan.cause, plan.size()), (Cause::Placement, 11));
        let done = |world: &World| world.clusters.values().filter(|c| c.wanted == c.told.is_some()).count();
        assert_eq!(done(&world), 2, "the canary, and who is not concerned");
        world.run();
        assert_eq!(done(&world), 12);
        assert!(world.is_over(1));
    }
}

#[test]
fn a_new_version_supersedes_and_three_times_is_starved() {
    let mut world = World::of(12);
    for version in 2..=5 {
        world.deliver(version);
        world.step();
        assert_eq!(world.events.last().map(String::as_str), Some("WaveStarted"));
        let current = world.course.current.as_ref().expect("a rollout");
        assert_eq!(current.superseded, version - 2);
    }
    assert!(world.course.current.as_ref().is_some_and(|c| c.superseded >= STARVED));
    world.run();
    assert!(world.is_over(5));
    assert_eq!(world.course.past.iter().filter(|p| p.outcome == Outcome::Superseded).count(), 3);
    world.deliver(6);
    world.step();
    assert_eq!(world.course.current.as_ref().map(|c| c.superseded), Some(0), "forgotten with the last wave");
}

#[test]
fn a_rollback_keeps_the_budget_and_takes_the_failed_first() {
    let all = Wave { max_unavailable: Some(Count::Clusters(3)), ..wave("all") };
    let mut world = World::with(9, vec![all]);
    world.deliver(2);
    world.step();
    world.obey();
    world.step();
    world.obey();
    assert_eq!(world.told(2).len(), 6);
    world.bad.insert(2);
    world.step();
    for cluster in world.clusters.values_mut().skip(6) {
        cluster.degraded = true;
    }
    world.now_ms += TIMEOUT;
    world.step();
    // The three that failed cost nothing; three others at once.
    assert_eq!(world.told(2).len(), 3);
    world.step();
    assert_eq!(world.told(2).len(), 3, "those are not healthy yet");
    world.run();
    assert_eq!(world.told(1).len(), 9);
    assert!(world.course.block.is_some());
}

#[test]
fn one_clusters_own_change_moves_that_cluster_alone() {
    let mut world = World::of(12);
    // Its labels changed: another version for it, the same app.
    world.at("c-07").told = Some(77);
    world.step();
    assert_eq!(world.sent, [name("c-07")]);
    assert!(world.course.current.is_none());
}

#[test]
fn paused_clusters_keep_the_wave_waiting() {
    let mut world = World::with(3, vec![wave("all")]);
    world.at("c-02").paused = true;
    world.deliver(2);
    world.run();
    assert_eq!(world.waits_for, Some(WaitsFor::Reachable { wave: "all".into(), clusters: 1 }));
    world.at("c-02").paused = false;
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn whoever_is_cut_off_between_the_plan_and_the_change_sends_it_again() {
    let mut world = World::of(4);
    world.deliver(2);
    let before = world.clusters.clone();
    world.step();
    // The record was written, the assignment was not.
    world.clusters = before;
    world.sent.clear();
    world.step();
    assert_eq!(world.sent, [name("c-01")]);
    world.run();
    assert!(world.is_over(2));
}

#[test]
fn an_operators_pause_stops_it_where_it_is() {
    let mut world = World::of(6);
    world.deliver(2);
    world.step();
    let order = Order { by: "ada".into(), at_ms: 5, reason: "lunch".into() };
    world.course.current.as_mut().expect("a rollout").paused = Some(order.clone());
    world.obey();
    world.run();
    assert_eq!((world.sent.len(), &world.waits_for), (1, &Some(WaitsFor::Resume { order })));
    world.course.current.as_mut().expect("a rollout").paused = None;
    world.run();
    assert!(world.is_over(2));
}
