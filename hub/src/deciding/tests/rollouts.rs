//! Rollouts, from commits to entries.

use nave_placement::rollout::{Cause, Outcome};

use super::*;
use crate::deciding::awaited::Worth;

const TWELVE: usize = 12;

fn world() -> World {
    let mut world = World { obeys: true, ..World::default() };
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for number in 1..=TWELVE {
        world.member(&format!("c-{number:02}"), &[]);
    }
    world
}

fn change(world: &mut World, word: &str) {
    world.files.insert("web/web.yaml".into(), config_map("web").replace("{on:", &format!("{{{word}:")));
}

/// How many clusters have another bundle than the first one had at the beginning.
fn moved(world: &World, from: &Entry) -> usize {
    let bundle = |number: usize| world.entry(&format!("c-{number:02}")).map(|entry| entry.bundle);
    (1..=TWELVE).filter(|number| bundle(*number) != Some(from.bundle)).count()
}

fn course(world: &World) -> &nave_placement::rollout::Course {
    let app: AppKey = "web".parse().expect("a name");
    &world.state.rollouts[&app].record
}

#[tokio::test]
async fn a_change_goes_through_the_waves_and_the_plan_ends_with_it() {
    let mut world = world();
    world.commit("1111111111111111111111111111111111111111").await;
    let first = world.entry("c-01").expect("it runs");
    world.obeys = false;
    change(&mut world, "two");
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!((moved(&world, &first), world.state.plans.len()), (1, 1), "the canary");
    let plan = world.state.plans.values().next().expect("a plan").record.clone();
    assert_eq!((plan.cause, plan.waves.len()), (Cause::Version, 3));
    let waiting = world.decide().await.waiting;
    assert_eq!(waiting.len(), TWELVE - 1);
    let why = waiting.values().next().expect("a reason");
    assert!(why.contains("wave quarter (2 of 3)") && why.contains("the first is c-01"), "{why}");
    world.report();
    world.decide().await;
    assert_eq!(moved(&world, &first), 3, "a quarter");
    // The hub is another one: all that it needs is in the store.
    world.kept = Kept::default();
    world.obeys = true;
    world.report();
    world.decide().await;
    assert_eq!((moved(&world, &first), world.state.plans.len()), (TWELVE, 0));
    let ended = course(&world).past.last().expect("remembered");
    assert_eq!((ended.outcome, ended.healthy as usize), (Outcome::Completed, TWELVE));
}

#[tokio::test]
async fn a_commit_that_changes_no_version_moves_nothing_and_ends_no_block() {
    let mut world = world();
    world.commit("1111111111111111111111111111111111111111").await;
    let first = world.entry("c-01").expect("it runs");
    world.obeys = false;
    change(&mut world, "bad");
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!(moved(&world, &first), 1);
    world.now_ms += 600_000;
    world.decide().await;
    assert_eq!(moved(&world, &first), 0, "taken back");
    let back = world.entry("c-01").expect("it runs");
    assert_eq!((back.version, back.at_once), (first.version, true), "it waits for no window");
    assert!(course(&world).block.is_some());
    let epoch = world.state.told(&"c-01".parse().expect("a name")).assignment.order();
    world.files.insert("README.md".into(), "words".into());
    world.commit("3333333333333333333333333333333333333333").await;
    world.report();
    let waiting = world.decide().await.waiting;
    assert_eq!((moved(&world, &first), waiting.len()), (0, TWELVE));
    assert!(waiting.values().all(|why| why.contains("is blocked")), "{waiting:?}");
    assert_eq!(world.state.told(&"c-01".parse().expect("a name")).assignment.order(), epoch);
    // One cluster's own label is no other version of the app: it stays blocked there, too.
    world.member("c-02", &[("owner", "ann")]);
    world.decide().await;
    assert_eq!(moved(&world, &first), 0);
    world.obeys = true;
    change(&mut world, "good");
    world.commit("4444444444444444444444444444444444444444").await;
    assert_eq!((moved(&world, &first), course(&world).block.is_some()), (TWELVE, false));
}

#[tokio::test]
async fn parameters_that_the_app_does_not_use_start_nothing_and_those_that_it_uses_do() {
    let mut world = world();
    let used = config_map("web").replace("data: {", "data: {tier: \"${parameters.tier}\", ");
    world.files.insert("web/web.yaml".into(), used);
    let fleet = |tier: &str, other: &str| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: fleet}}\nspec: {{parameters: {{tier: {tier}, other: {other}}}}}\n"
        )
    };
    world.files.insert("fleet.yaml".into(), fleet("gold", "a"));
    world.commit("1111111111111111111111111111111111111111").await;
    let before = course(&world).clone();
    assert!(before.completed.is_some(), "{:?}", world.problems);
    world.obeys = false;
    world.files.insert("fleet.yaml".into(), fleet("gold", "b"));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!(*course(&world), before);
    world.files.insert("fleet.yaml".into(), fleet("silver", "b"));
    world.commit("3333333333333333333333333333333333333333").await;
    assert!(course(&world).current.is_some(), "{:?}", world.problems);
    let silver = |world: &World| {
        let tier = |n: usize| world.entry(&format!("c-{n:02}")).map(|e| e.values["parameters.tier"].clone());
        (1..=TWELVE).filter(|number| tier(*number) == Some("silver".into())).count()
    };
    assert_eq!(silver(&world), 1);
}

#[tokio::test]
async fn removals_follow_the_waves_by_the_commit_that_ordered_them() {
    let mut world = world();
    world.commit("1111111111111111111111111111111111111111").await;
    world.obeys = false;
    let nobody = APPS.replace("clusters: {selector: {}}}", "clusters: {names: [c-12]}}");
    world.files.insert("apps.yaml".into(), nobody);
    world.commit("2222222222222222222222222222222222222222").await;
    // The guard comes first.
    let gone = |world: &World| (1..=TWELVE).filter(|n| world.entry(&format!("c-{n:02}")).is_none()).count();
    assert_eq!((gone(&world), world.state.holds.is_empty()), (0, false));
    let approve = |world: &mut World| {
        for hold in world.state.holds.values().map(|hold| hold.hold.clone()).collect::<Vec<_>>() {
            let approval = nave_placement::guard::Approval { hold, by: "operator ann".into() };
            world.fold(&key::approval(&approval.hold.id), Some(json(&approval)));
        }
    };
    approve(&mut world);
    world.decide().await;
    assert_eq!(gone(&world), 1, "the canary");
    let told = world.state.told(&"c-01".parse().expect("a name"));
    assert_eq!(told.assignment.leaving.len(), 1);
}

#[tokio::test]
async fn what_was_to_leave_stays_where_its_rollout_is_taken_back_until_that_is_tried_again() {
    let gone = |world: &World| (1..=TWELVE).filter(|n| world.entry(&format!("c-{n:02}")).is_none()).count();
    let everywhere = "clusters: {selector: {}}}";
    assert!(APPS.contains(everywhere));
    // The app goes; or a placement lets go of all but one.
    for (without, left) in [(String::new(), 0), (APPS.replace(everywhere, "clusters: {names: [c-12]}}"), 1)] {
        let mut world = world();
        world.commit("1111111111111111111111111111111111111111").await;
        world.obeys = false;
        world.files.insert("web/web.yaml".into(), config_map("more"));
        world.commit("2222222222222222222222222222222222222222").await;
        // The first wave has it; then all is to leave, and that is approved.
        world.files.insert("apps.yaml".into(), without);
        world.commit("3333333333333333333333333333333333333333").await;
        for hold in world.state.holds.values().map(|hold| hold.hold.clone()).collect::<Vec<_>>() {
            let approval = nave_placement::guard::Approval { hold, by: "operator ann".into() };
            world.fold(&key::approval(&approval.hold.id), Some(json(&approval)));
        }
        world.decide().await;
        assert!(gone(&world) <= 1, "it goes by the waves: {}", gone(&world));
        aborted(&mut world, "web");
        world.obeys = true;
        world.report();
        world.decide().await;
        assert!(gone(&world) <= 1, "{} left at once", gone(&world));
        let web: AppKey = "web".parse().expect("a name");
        let mut course = (*world.state.rollouts[&web].record).clone();
        assert!(course.current.is_none() && course.block.is_some(), "{course:?}");
        // Who tries again has it go, by waves, under the guard.
        let order = nave_placement::rollout::Order { by: "ann".into(), at_ms: 0, reason: String::new() };
        course.retry = Some(order);
        world.fold(&key::rollout(&web), Some(json(&course)));
        for _ in 0..3 {
            world.decide().await;
            for hold in world.state.holds.values().map(|hold| hold.hold.clone()).collect::<Vec<_>>() {
                let approval = nave_placement::guard::Approval { hold, by: "operator ann".into() };
                world.fold(&key::approval(&approval.hold.id), Some(json(&approval)));
            }
        }
        assert_eq!(TWELVE - gone(&world), left);
    }
}

/// An operator takes the rollout of an app back.
pub(super) fn aborted(world: &mut World, app: &str) {
    let app: AppKey = app.parse().expect("a name");
    let mut course = (*world.state.rollouts[&app].record).clone();
    let progress = course.current.as_mut().expect("a rollout is under way");
    progress.phase = nave_placement::rollout::Phase::RollingBack {
        reason: "aborted by ann".into(),
        by: Some("ann".into()),
        returned: BTreeMap::new(),
    };
    world.fold(&key::rollout(&app), Some(json(&course)));
}

#[tokio::test]
async fn who_hands_objects_over_waits_with_whom_it_hands_them_to() {
    let mut world = World { obeys: true, ..World::default() };
    world.files.extend(two_apps(&["db", "web"], &["shop"]));
    for number in 1..=TWELVE {
        world.member(&format!("c-{number:02}"), &[]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    world.obeys = false;
    world.files.extend(two_apps(&["web"], &["shop", "db"]));
    world.commit("2222222222222222222222222222222222222222").await;
    for number in 1..=TWELVE {
        let told = world.state.told(&format!("c-{number:02}").parse().expect("a name"));
        let changed: Vec<&str> = told
            .changes
            .iter()
            .filter(|(_, change)| change.previous.is_some())
            .map(|(app, _)| app.name())
            .collect();
        assert_eq!(changed.len(), if number == 1 { 2 } else { 0 }, "c-{number:02}: {changed:?}");
    }
}

/// One wave at once, or three clusters at a time.
fn rolled_by(world: &mut World, wave: &str) {
    let rule = format!(
        "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: fleet}}\nspec: {{defaults: {{rollout: r}}}}\n---\n\
         apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: r}}\nspec: {{waves: [{wave}]}}\n"
    );
    world.files.insert("rollout.yaml".into(), rule);
}

#[tokio::test]
async fn a_word_is_worth_a_step_when_it_ends_a_wave_or_makes_room_in_one_or_is_no_good_one() {
    let cluster = |number: usize| format!("c-{number:02}").parse::<ClusterName>().expect("a name");
    for (wave, is_at_once) in [("{name: all}", true), ("{name: all, maxUnavailable: 3}", false)] {
        let mut world = world();
        rolled_by(&mut world, wave);
        world.commit("1111111111111111111111111111111111111111").await;
        assert!(world.decide().await.awaited.is_nothing(), "everybody is healthy");
        world.obeys = false;
        change(&mut world, "two");
        world.commit("2222222222222222222222222222222222222222").await;
        let mut awaited = world.decide().await.awaited;
        let silent = world.state.clone();
        assert_eq!(awaited.hear(&silent, &BTreeSet::new()), Worth::Nothing, "{wave}: nobody said anything");
        world.report();
        let mut failing = awaited.clone();
        // One after another; before the last nothing comes of it where all are under way.
        for number in 1..=TWELVE {
            let said = BTreeSet::from([cluster(number)]);
            let expected = match (is_at_once, number) {
                (false, _) => Worth::Something,
                (true, TWELVE) => Worth::All,
                (true, _) => Worth::Nothing,
            };
            assert_eq!(awaited.hear(&world.state, &said), expected, "{wave}: {number}");
        }
        let fails = world.state.reports.get_mut(&cluster(7)).expect("it reported");
        let mut heard = Heard::clone(&fails.record);
        let mut report = Report::clone(&heard.report);
        report.entries.values_mut().for_each(|entry| entry.state = EntryState::Degraded);
        heard.report = report.into();
        fails.record = heard.into();
        let one = BTreeSet::from([cluster(7)]);
        assert_eq!(failing.hear(&world.state, &one), Worth::Something, "{wave}: one fails");
    }
}

#[tokio::test]
async fn an_app_that_comes_to_a_group_with_a_change_goes_through_the_group_s_waves() {
    let app = |name: &str, more: &str| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{source: {{path: ./{name}}}{more}}}\n---\napiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {{name: {name}}}\nspec: {{apps: {{names: [{name}]}}, clusters: {{selector: {{}}}}}}\n"
        )
    };
    let grouped = ", group: shop";
    let apps = |last: String| [app("api", grouped), app("cart", grouped), last].join("---\n");
    // (its name then, what else is said of it)
    for (name, more) in [("web", ""), ("zone", ", formerly: [web]")] {
        let mut world = World { obeys: true, ..World::default() };
        for of in ["api", "cart", "web"] {
            world.files.insert(format!("{of}/{of}.yaml"), config_map(of));
        }
        world.files.insert("apps.yaml".into(), apps(app("web", "")));
        (1..=4).for_each(|number| world.member(&format!("c-{number:02}"), &[]));
        world.commit("1111111111111111111111111111111111111111").await;
        let first = world.entry("c-01").expect("it runs");
        world.obeys = false;
        world.files.remove("web/web.yaml");
        let changed = config_map("web").replace("{on:", "{two:");
        world.files.insert(format!("{name}/web.yaml"), changed);
        world.files.insert("apps.yaml".into(), apps(app(name, &format!("{grouped}{more}"))));
        world.commit("2222222222222222222222222222222222222222").await;
        assert_eq!(world.problems, Vec::<String>::new(), "{name}");
        let same = |number: usize| {
            world.entry(&format!("c-{number:02}")).is_some_and(|entry| entry.version == first.version)
        };
        assert_eq!((1..=4).filter(|number| same(*number)).count(), 3, "{name}: one goes ahead");
        let key: AppKey = "api".parse().expect("a name");
        assert!(world.state.rollouts[&key].record.current.is_some(), "{name}");
    }
}
