//! Rows: what an API server, or what stands before it, answers, cuts or withholds; one row each, on one cluster.

use std::time::Duration;

use anyhow::ensure;
use harness::faults::{Fault, Which};
use harness::wait::{throughout, until};

use super::world::World;
use crate::stage::{LIMIT, Witness};

/// How long it is watched that a fault does no harm: some tries of a spoke, whose first pauses are a second or two.
const WATCHED: Duration = Duration::from_secs(4);
/// A spoke that tries `web` again after 1, 2, 4 … seconds has some six rounds in a fault of 4 to 10 seconds; a round asks for
/// inventories and for the objects of both apps and the namespaces, and tries a write or two of each. A hot loop would ask
/// for thousands.
const REQUESTS: usize = 200;

/// A fault, and what it does to `web`, which the change is about.
struct Row {
    what: &'static str,
    which: fn() -> Which,
    fault: Fault,
    /// How the hub names it, and the spoke's log.
    reason: &'static str,
    /// Whether the other app goes on.
    rest_goes_on: bool,
    /// Whether the first write happens all the same.
    written: bool,
}

fn writes() -> Which {
    Which::writes().namespace("web").resource("configmaps")
}

fn looks() -> Which {
    Which::all().verbs(&["list", "get"]).namespace("web").resource("configmaps")
}

fn rows() -> Vec<Row> {
    let row = |what, which, fault| Row {
        what,
        which,
        fault,
        reason: "TargetUnreachable",
        rest_goes_on: true,
        written: false,
    };
    vec![
        row("500 for writes", writes, Fault::answer(500)),
        row("502 for writes", writes, Fault::answer(502)),
        row("504 for writes", writes, Fault::answer(504)),
        row("401 for writes", writes, Fault::answer(401)),
        row("reset before the server heard of a write", writes, Fault::CutBefore),
        Row { written: true, ..row("reset after the server has written", writes, Fault::CutAfter) },
        Row {
            written: true,
            ..row("reset in the middle of the answer to a write", writes, Fault::ResetInBody(20))
        },
        Row { written: true, ..row("half of the answer to a write", writes, Fault::Truncate) },
        row("503 for looks", looks, Fault::answer(503)),
        row("reset in the middle of a look", looks, Fault::ResetInBody(60)),
        row("half of a look", looks, Fault::Truncate),
        Row { rest_goes_on: false, ..row("503 for everything", Which::all, Fault::answer(503)) },
        Row { rest_goes_on: false, ..row("reset of everything", Which::all, Fault::CutBefore) },
        Row {
            reason: "ApplyRefused",
            ..row("403 as an admission policy gives it", writes, Fault::answer(403))
        },
    ]
}

#[tokio::test]
async fn no_answer_loses_or_doubles_anything_and_each_is_told_and_gone_when_it_is_over() {
    let mut world = World::start().await;
    for Row { what, which, fault, reason, rest_goes_on, written } in rows() {
        let mut before = world.uids().await;
        // Where writes happen and are only never answered, what leaves the app does leave.
        before.retain(|name, _| !written || !name.contains("coming-"));
        let watched = format!("{what}: {fault:?}");
        let said = world.said(reason);
        world.proxy().forget();
        world.proxy().inject(which(), fault);
        let round = world.change();
        if rest_goes_on {
            world.rest_is(round).await;
        }
        if written {
            // The next round finds everything done, and all is well: too soon for a hub that is asked now and then.
            world.spoke_says(reason, said).await;
            until("the write happened", LIMIT, async || {
                let seen = world.cluster().config_map("web/fixed").await?;
                ensure!(seen == round.to_string(), "{seen}");
                Ok(())
            })
            .await;
        } else {
            world.web_is(reason).await;
        }
        throughout(&watched, WATCHED, async || {
            let now = world.uids().await;
            let lost: Vec<_> = before.iter().filter(|(name, uid)| now.get(*name) != Some(*uid)).collect();
            ensure!(lost.is_empty(), "{lost:?} of {now:?}");
            Ok(())
        })
        .await;
        let asked = world.proxy().requests().len();
        assert!(asked < REQUESTS, "{what}: {asked} requests: {:#?}", world.proxy().counts());
        world.proxy().clear();
        world.recover().await;
        world.is_as_wanted(&before, what).await;
    }
}

#[tokio::test]
async fn a_server_that_says_when_to_come_again_is_not_asked_before() {
    let mut world = World::start().await;
    let before = world.uids().await;
    world.proxy().forget();
    world.proxy().inject(writes(), Fault::after(429, 5));
    let round = world.change();
    world.rest_is(round).await;
    world.web_is("TargetUnreachable").await;
    let tried = Which::writes().namespace("web").resource("configmaps").named("fixed");
    until("it was tried twice", LIMIT, async || world.proxy().count(&tried) >= 2).await;
    let pauses = world.proxy().pauses(&tried);
    assert!(
        pauses.iter().all(|pause| *pause >= Duration::from_secs(5)),
        "{pauses:?}\n{:#?}",
        world.proxy().counts()
    );
    world.proxy().clear();
    world.stage.converge().await;
    world.is_as_wanted(&before, "429").await;
}

#[tokio::test]
async fn a_write_that_is_never_answered_is_found_done() {
    let mut world = World::start().await;
    let before = world.uids().await;
    let said = world.said("TargetUnreachable");
    world.proxy().inject_times(1, writes(), Fault::HangAfter);
    let round = world.change();
    world.rest_is(round).await;
    world.spoke_says("TargetUnreachable", said).await;
    world.stage.converge().await;
    world.is_as_wanted(&before, "a write without an answer").await;
}
