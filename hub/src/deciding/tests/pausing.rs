//! Pauses.

use super::*;
use crate::state::records::{PauseRecord, PauseScope};

#[tokio::test]
async fn what_is_paused_neither_comes_nor_changes_nor_leaves_nor_goes_on_under_another_name() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let apps = |world: &World, cluster: &str| -> Vec<String> {
        let told = world.state.told(&cluster.parse().expect("a name"));
        assert!(told.assignment.leaving.is_empty());
        told.assignment.entries.keys().map(ToString::to_string).collect()
    };
    let pause = |world: &mut World, app: Option<&str>, cluster: Option<&str>, until_ms: u64| {
        let scope = PauseScope {
            app: app.map(|app| app.parse().expect("a name")),
            cluster: cluster.map(|cluster| cluster.parse().expect("a name")),
        };
        let record = PauseRecord {
            scope: scope.clone(),
            since_ms: 0,
            until_ms,
            by: "ann".into(),
            reason: String::new(),
        };
        world.fold(&key::pause(&scope), Some(json(&record)));
    };
    let waits = |decided: &Decided| -> Vec<String> {
        decided.waiting.iter().map(|((cluster, app), why)| format!("{app} on {cluster}: {why}")).collect()
    };
    let first = world.entry("a");
    pause(&mut world, Some("web"), None, 5_000);
    assert_eq!(waits(&world.decide().await), Vec::<String>::new(), "nothing of it would change");

    // It changes and comes to another cluster.
    world.files.insert("web/web.yaml".into(), config_map("web").replace("{on:", "{off:"));
    world.member("b", &[]);
    world.commit("2222222222222222222222222222222222222222").await;
    let why = "app web is paused until 1970-01-01T00:00:05Z by ann";
    assert_eq!(
        waits(&world.decide().await),
        [format!("web on a: {why}"), format!("web on b: {why}")],
        "{:?}",
        world.problems
    );
    assert_eq!((world.entry("a"), apps(&world, "b")), (first.clone(), vec![]));

    // It goes on under another name: that waits where the old one runs, and nowhere else.
    let renamed = APPS.replace("name: web}\nspec: {source", "name: shop}\nspec: {formerly: [web], source");
    world.files.insert("apps.yaml".into(), renamed.replace("names: [web]", "names: [shop]"));
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!(waits(&world.decide().await), [format!("shop on a: {why}")]);
    assert_eq!((world.entry("a"), apps(&world, "b")), (first.clone(), vec!["shop".to_owned()]));

    // It is dropped: nothing leaves, though nobody holds it.
    let app_alone = APPS.split("---").next().expect("the app comes first").to_owned();
    world.files.insert("apps.yaml".into(), app_alone);
    pause(&mut world, None, None, 2_000);
    world.commit("4444444444444444444444444444444444444444").await;
    assert_eq!((world.entry("a"), apps(&world, "b")), (first, vec!["shop".to_owned()]));
    assert_eq!(world.state.holds.len(), 0);

    // All pauses are over: what waited takes place, and they are forgotten.
    for scope in world.state.pauses.keys().cloned().collect::<Vec<_>>() {
        let until_ms = 1_000;
        let record = PauseRecord { until_ms, ..(*world.state.pauses[&scope].record).clone() };
        world.fold(&key::pause(&scope), Some(json(&record)));
    }
    world.decide().await;
    let left = |cluster: &str| world.state.told(&cluster.parse().expect("a name")).assignment.leaving.len();
    // Of the renamed one its former name leaves, too: nobody has confirmed yet that it took the new one.
    assert_eq!((left("a"), left("b"), world.state.pauses.len()), (1, 2, 0));
}

#[tokio::test]
async fn who_hands_objects_over_to_a_paused_app_keeps_them_until_that_may_take_them() {
    let mut world = World::default();
    world.files.extend(two_apps(&["db", "old", "web"], &["shop"]));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let drops = |world: &World| {
        let told = world.state.told(&"a".parse().expect("a name"));
        let drops = |(app, entry): (&AppKey, &nave_placement::assign::EncodedEntry)| {
            format!("{app} {}", nave_proto::decode_entry(&entry.bytes).expect("ours").drops)
        };
        (told.assignment.generation.0, told.assignment.entries.iter().map(drops).collect::<Vec<_>>())
    };
    let before = drops(&world);
    let scope = PauseScope { app: Some("shop".parse().expect("a name")), cluster: None };
    let pause = |until_ms| PauseRecord {
        scope: scope.clone(),
        since_ms: 0,
        until_ms,
        by: "ann".into(),
        reason: String::new(),
    };
    world.fold(&key::pause(&scope), Some(json(&pause(5_000))));
    // `db` goes to the paused app, `old` goes for good.
    world.files.extend(two_apps(&["web"], &["shop", "db"]));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!(drops(&world), before, "{:?}", world.problems);
    let waits: Vec<String> = world.decide().await.waiting.keys().map(|(_, app)| app.to_string()).collect();
    assert_eq!(waits, ["shop", "web"]);
    world.fold(&key::pause(&scope), Some(json(&pause(1_000))));
    world.decide().await;
    assert_eq!(drops(&world).1, ["shop 0", "web 1"]);
}

#[tokio::test]
async fn a_pause_keeps_no_removal_from_being_taken_back_and_freezes_what_was_told_where_all_is_paused() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let app_alone = APPS.split("---").next().expect("the app comes first").to_owned();
    world.files.insert("apps.yaml".into(), app_alone);
    world.commit("2222222222222222222222222222222222222222").await;
    let told = |world: &World| world.state.told(&"a".parse().expect("a name"));
    assert_eq!((told(&world).assignment.leaving.len(), world.entry("a")), (1, None));
    // Its spoke has not acknowledged it.
    let scope = PauseScope::default();
    let pause = PauseRecord {
        scope: scope.clone(),
        since_ms: 0,
        until_ms: 5_000,
        by: "ann".into(),
        reason: String::new(),
    };
    world.fold(&key::pause(&scope), Some(json(&pause)));
    world.decide().await;
    let closed = nave_proto::closed(&told(&world).assignment.schedule, 1_000).expect("nothing starts");
    assert_eq!(closed.until_ms, Some(5_000), "the spoke ends it by itself");
    world.files.insert("apps.yaml".into(), APPS.into());
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!((told(&world).assignment.leaving.len(), world.entry("a").is_some()), (0, true));
    world.fold(&key::pause(&scope), None);
    world.decide().await;
    assert!(told(&world).assignment.schedule.is_empty());
}
