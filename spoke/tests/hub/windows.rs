//! Windows and freezes: a change waits for its time, and nothing else does.

use std::fs;
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use nave_placement::assign::{Cause, Leaving};
use nave_placement::schedule::{Schedule, Window, Zone};
use nave_proto::{assignment_from_proto, assignment_to_proto, encode_schedule};

use super::*;

/// An hour a day, which begins six hours from now.
fn later() -> Schedule {
    let begins = Timestamp::now() + 6.hours();
    let at = begins.to_zoned(jiff::tz::TimeZone::UTC);
    let cron = format!("{} {} * * *", at.minute(), at.hour()).parse().unwrap();
    Schedule {
        windows: vec![Window { cron, duration_ms: 3_600_000, timezone: Zone::utc() }],
        freezes: Vec::new(),
    }
}

fn scheduled(generation: u64, value: &str, schedule: Schedule) -> to_spoke::Message {
    let (message, bundle, zstd) = assignment(generation, value);
    let schedule = encode_schedule(&schedule);
    let whole = assignment_from_proto(message, &Assignment::none(Epoch(1))).unwrap();
    within((assignment_to_proto(&Assignment { schedule, ..whole }), bundle, zstd))
}

/// The app leaves, in a later window.
fn leaves(generation: u64, cause: Cause) -> to_spoke::Message {
    let leaving = Leaving { policy: OnRemove::Delete, cause, objects: 1, drops_of: None };
    let assignment = Assignment {
        epoch: Epoch(1),
        generation: Generation(generation),
        entries: BTreeMap::new(),
        leaving: [("web".parse().unwrap(), leaving)].into(),
        schedule: encode_schedule(&later()),
        relations: Default::default(),
    };
    to_spoke::Message::Assignment(v1::Assignment { mac: vec![1], ..assignment_to_proto(&assignment) })
}

/// The last report of this generation says this of the app, which is an entry or leaves.
async fn says(hub: &Hub, generation: u64, reason: &str) -> v1::EntryReport {
    let what = format!("{generation} is reported as {reason:?}");
    hub.until(&what, |record| {
        let reports = record.received.iter().rev();
        let report =
            reports.filter_map(|m| if let Message::Report(r) = m { Some(r) } else { None }).next()?;
        let mut entries = report.entries.iter().chain(&report.leaving);
        let said = entries.find(|entry| entry.reason == reason);
        said.filter(|_| report.generation == generation).cloned()
    })
    .await
}

/// A spoke's records of what it holds and what runs are lost.
fn forget(hub: &Hub, dir: &Path) {
    for lost in ["assignment", "started"] {
        let _ = fs::remove_file(dir.join(lost));
    }
    hub.edit(|record| record.received.clear());
}

async fn greeted(hub: &Hub) {
    let hello = |m: &Message| matches!(m, Message::Hello(hello) if hello.generation == 0);
    hub.until("a hello that knows nothing", |record| record.received.iter().any(hello).then_some(())).await;
}

#[tokio::test]
async fn a_change_waits_for_its_window_and_drift_is_corrected_meanwhile_over_restarts() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    // Nothing runs yet: nothing can be disturbed.
    hub.order(scheduled(1, "one", later())).await;
    until(&target, "the first value", |target| has(target, "one")).await;
    says(&hub, 1, "None").await;

    hub.order(scheduled(2, "two", later())).await;
    let waits = says(&hub, 2, "WindowClosed").await;
    assert_eq!(waits.state(), v1::EntryState::Waiting);
    assert!(waits.message.starts_with("no window is open; the next opens at "), "{}", waits.message);
    let one = Digest::of(config_map("one").to_string().as_bytes());
    assert_eq!(waits.version, one.0, "what runs is told of");
    target.edit(&key(), config_map("changed by hand"));
    until(&target, "the value is put back", |target| has(target, "one")).await;

    spoke.stop().await;
    target.edit(&key(), config_map("changed by hand"));
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    until(&target, "the value is put back after the restart", |target| has(target, "one")).await;
    says(&hub, 2, "WindowClosed").await;

    clock.advance(Duration::from_secs(6 * 3600 + 60));
    until(&target, "the second value", |target| has(target, "two")).await;
    says(&hub, 2, "None").await;
    // The window is open still.
    hub.order(scheduled(3, "three", later())).await;
    until(&target, "the third value", |target| has(target, "three")).await;
    clock.advance(Duration::from_secs(3600));
    hub.order(scheduled(4, "four", later())).await;
    says(&hub, 4, "WindowClosed").await;
    // Without windows nothing has to be waited for.
    hub.order(scheduled(5, "five", Schedule::default())).await;
    until(&target, "the fifth value", |target| has(target, "five")).await;
    spoke.stop().await;
}

#[tokio::test]
async fn a_spoke_that_forgot_what_ran_keeps_it_until_the_window_opens() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(scheduled(1, "one", later())).await;
    until(&target, "the first value", |target| has(target, "one")).await;
    says(&hub, 1, "None").await;
    spoke.stop().await;
    forget(&hub, dir.path());
    // The same is known again by what stands on the target, and is kept right; another waits.
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    greeted(&hub).await;
    hub.order(scheduled(1, "one", later())).await;
    says(&hub, 1, "None").await;
    target.edit(&key(), config_map("changed by hand"));
    until(&target, "the value is put back", |target| has(target, "one")).await;
    spoke.stop().await;
    forget(&hub, dir.path());
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    greeted(&hub).await;
    hub.order(scheduled(2, "two", later())).await;
    says(&hub, 2, "WindowClosed").await;
    assert!(has(&target, "one"));
    clock.advance(Duration::from_secs(6 * 3600 + 60));
    until(&target, "the second value", |target| has(target, "two")).await;
    spoke.stop().await;
}

#[tokio::test]
async fn a_removal_waits_for_its_window_unless_an_operator_orders_it() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(scheduled(1, "one", later())).await;
    until(&target, "the value", |target| has(target, "one")).await;
    hub.order(leaves(2, Cause::Labels)).await;
    let waits = says(&hub, 2, "WindowClosed").await;
    assert_eq!(waits.state(), v1::EntryState::Waiting);
    assert!(has(&target, "one"));
    hub.order(leaves(3, Cause::Operator { by: "ann".into() })).await;
    until(&target, "nothing is left", |target| target.objects().is_empty()).await;
    spoke.stop().await;
}

#[tokio::test]
async fn a_removal_is_not_taken_for_one_that_has_begun_by_a_spoke_that_forgot() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(scheduled(1, "one", later())).await;
    until(&target, "the value", |target| has(target, "one")).await;
    hub.order(leaves(2, Cause::Labels)).await;
    says(&hub, 2, "WindowClosed").await;
    // One record is damaged, then both are gone.
    spoke.stop().await;
    fs::write(dir.path().join("started"), b"damaged").unwrap();
    hub.edit(|record| record.received.clear());
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    says(&hub, 2, "WindowClosed").await;
    assert!(has(&target, "one"));
    spoke.stop().await;
    forget(&hub, dir.path());
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    greeted(&hub).await;
    hub.order(leaves(3, Cause::Labels)).await;
    says(&hub, 3, "WindowClosed").await;
    assert!(has(&target, "one"));
    clock.advance(Duration::from_secs(6 * 3600 + 60));
    until(&target, "nothing is left", |target| target.objects().is_empty()).await;
    spoke.stop().await;
}
