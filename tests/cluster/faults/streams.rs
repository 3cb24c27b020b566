//! Streams and pages: what breaks while a long answer is under way.

use std::time::Duration;

use anyhow::ensure;
use harness::faults::{ApiProxy, Fault, Which};
use harness::kubernetes::{Cluster, Options};
use harness::wait::until;
use nave_placement::report::{EntryReason, EntryState};
use serde_json::Value;

use super::world::{FRA, World};
use crate::rounds::{Wish, config_map, entry, target};
use crate::stage::LIMIT;

/// More than a page has.
const MANY: usize = 120;

#[tokio::test]
async fn watches_that_are_cut_or_outdated_or_refused_for_a_while_do_not_lose_a_change() {
    let world = World::start().await;
    let uids = world.uids().await;
    let watches = Which::all().verbs(&["watch"]);
    world.edit_is_put_back("while nothing is wrong", LIMIT).await;
    for _ in 0..3 {
        world.proxy().cut_streams();
        world.edit_is_put_back("after streams were cut", LIMIT).await;
    }
    world.proxy().inject_times(3, watches.clone(), Fault::Expired);
    world.proxy().cut_streams();
    world.edit_is_put_back("after a version was too old", LIMIT).await;

    // While no watch can be had nobody asks without a pause; and what happened meanwhile is found.
    world.proxy().clear();
    world.proxy().forget();
    world.proxy().inject(watches.clone(), Fault::answer(503));
    world.proxy().cut_streams();
    let secrets = watches.clone().resource("secrets");
    until("a watch was refused three times", LIMIT, async || {
        ensure!(world.proxy().count(&secrets) >= 3, "{:#?}", world.proxy().counts());
        Ok(())
    })
    .await;
    // Half of a step is the shortest pause, and steps double from a second.
    for (pause, least) in world.proxy().pauses(&secrets).into_iter().zip([500, 1000]) {
        assert!(
            pause >= Duration::from_millis(least),
            "{pause:?} is less than {least} ms: {:#?}",
            world.proxy().counts()
        );
    }
    let name = world.edit().await;
    world.proxy().clear();
    world.stage.value(FRA, &format!("web/{name}"), "same").await;
    assert_eq!(world.uids().await, uids, "everything was mended in place");
}

#[tokio::test]
async fn a_list_that_breaks_off_between_or_in_its_pages_is_not_taken_for_the_whole() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    cluster.kubectl(&["create", "namespace", "many"]).await.unwrap();
    let proxy = ApiProxy::before(cluster.kubeconfig()).unwrap();
    let objects: Vec<Value> = (0..MANY).map(|n| config_map("many", &format!("a-{n}"), "1")).collect();
    let wish = Wish::none().app("many", &objects);
    let through = target(proxy.kubeconfig()).await;
    wish.round(&through).await;
    let versions = async || {
        let each = "jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{\"\\n\"}{end}";
        cluster.kubectl(&["get", "configmaps", "-n", "many", "-o", each]).await.unwrap()
    };
    let before = versions().await;
    assert_eq!(before.lines().count(), MANY);

    let pages = || Which::all().verbs(&["list"]).namespace("many");
    let later = || pages().query("continue=");
    let rows = [
        ("the token of the next page is too old", later(), Fault::Expired),
        ("the next page breaks off", later(), Fault::ResetInBody(500)),
        ("the next page is half", later(), Fault::Truncate),
        ("the next page is refused", later(), Fault::answer(429)),
        ("the first page is half", pages(), Fault::Truncate),
        ("no page comes", pages(), Fault::answer(500)),
    ];
    for (what, which, fault) in rows {
        // A spoke that just started, so that only what it sees counts; and one that knows.
        for known in [false, true] {
            let fresh = target(proxy.kubeconfig()).await;
            let spoke = if known { &through } else { &fresh };
            proxy.inject(which.clone(), fault.clone());
            let outcome = wish.round(spoke).await;
            let many = entry(&outcome, "many");
            assert_eq!(many.reason, EntryReason::TargetUnreachable, "{what}: {many:#?}");
            assert_eq!(outcome.writes, 0, "{what}");
            proxy.clear();
            assert_eq!(versions().await, before, "{what}");
            let after = wish.round(spoke).await;
            assert_eq!((entry(&after, "many").state, after.writes), (EntryState::Healthy, 0), "{what}");
        }
    }
}
