//! A spoke against a stand-in for its hub, over real TCP and TLS: stories that each try to break one promise.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod questions;
mod stand_in;
mod windows;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::assign::{
    Assignment, EncodedRelations, EncodedSchedule, Entry, Epoch, Generation, Options,
};
use nave_placement::catalog::{CommitId, OnRemove, Treatment};
use nave_placement::{Digest, ObjectKey};
use nave_proto::v1::{self, from_spoke::Message, to_spoke};
use nave_proto::{assignment_to_proto, encode_entry};
use nave_spoke::run::{Exit, RunError, RunOptions, run};
use nave_spoke::target::memory::MemoryTarget;
use serde_json::{Value, json};
use stand_in::{Hub, TestClock};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

struct Spoke {
    cancel: CancellationToken,
    task: JoinHandle<Result<Exit, RunError>>,
}

impl Spoke {
    fn start(dir: &Path, join: Option<String>, target: &Arc<MemoryTarget>, clock: &TestClock) -> Self {
        let options = RunOptions::new(dir.to_owned(), target.clone());
        let options = RunOptions { join, clock: clock.clock(), ..options };
        let cancel = CancellationToken::new();
        Self { task: tokio::spawn(run(options, cancel.clone())), cancel }
    }

    async fn stop(self) -> Exit {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap()
    }
}

/// Waits until the target's objects are so. The target tells of foreign changes only, so it is looked at again and again.
async fn until(target: &MemoryTarget, what: &str, is: impl Fn(&MemoryTarget) -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        while !is(target) {
            looks.tick().await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), waiting).await.is_err() {
        panic!("{what}: {:?}", target.objects());
    }
}

fn config_map(value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default"}, "data": {"value": value}})
}

fn key() -> ObjectKey {
    ObjectKey {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: "a".into(),
    }
}

fn has(target: &MemoryTarget, value: &str) -> bool {
    target.objects().get(&key()).is_some_and(|object| object.live["data"]["value"] == value)
}

/// An assignment of one app with one ConfigMap, and its bundle, compressed.
fn assignment(generation: u64, value: &str) -> (v1::Assignment, Digest, Vec<u8>) {
    assignment_of(generation, config_map(value).to_string().as_bytes(), Treatment::default())
}

fn assignment_of(generation: u64, bytes: &[u8], treatment: Treatment) -> (v1::Assignment, Digest, Vec<u8>) {
    let bundle = Digest::of(bytes);
    let options = Options {
        namespace: None,
        prune: true,
        on_remove: OnRemove::Delete,
        share: None,
        grant: None,
        formerly: BTreeSet::new(),
        substitute: false,
        treatment,
    };
    let entry = Entry {
        bundle,
        values: BTreeMap::new(),
        options,
        version: bundle,
        commit: CommitId("c".into()),
        objects: 1,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    };
    let entries = [("web".parse().unwrap(), encode_entry(&entry))].into();
    let assignment = Assignment {
        epoch: Epoch(1),
        generation: Generation(generation),
        entries,
        leaving: BTreeMap::new(),
        schedule: EncodedSchedule::default(),
        relations: EncodedRelations::default(),
    };
    (assignment_to_proto(&assignment), bundle, zstd::encode_all(bytes, 0).unwrap())
}

/// With the bundle inline.
fn inlined(generation: u64, value: &str) -> to_spoke::Message {
    within(assignment(generation, value))
}

/// One app with these objects.
fn assigned(generation: u64, bytes: &[u8], treatment: Treatment) -> to_spoke::Message {
    within(assignment_of(generation, bytes, treatment))
}

fn within((mut message, bundle, zstd): (v1::Assignment, Digest, Vec<u8>)) -> to_spoke::Message {
    message.mac = vec![1, 2, 3];
    message.bundles = vec![v1::InlineBundle { digest: bundle.0.to_vec(), zstd: zstd.into() }];
    to_spoke::Message::Assignment(message)
}

async fn accepted(hub: &Hub, count: usize) -> u64 {
    let what = format!("{count} acceptances");
    hub.until(&what, |record| {
        let accepted = record.received.iter().filter_map(|m| match m {
            Message::Accepted(accepted) => Some(accepted.generation),
            _ => None,
        });
        accepted.collect::<Vec<_>>().get(count - 1).copied()
    })
    .await
}

fn world() -> (tempfile::TempDir, Arc<MemoryTarget>, TestClock) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    (tempfile::tempdir().unwrap(), Arc::new(MemoryTarget::new("uid")), TestClock::new())
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key_even_after_a_restart() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    hub.edit(|record| record.lose_answers = true);
    let first = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.until("two attempts", |record| (record.enrolled.len() >= 2).then_some(())).await;
    first.stop().await;
    hub.edit(|record| record.lose_answers = false);
    let second = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.until("a hello", |record| (!record.received.is_empty()).then_some(())).await;
    second.stop().await;
    let keys: BTreeSet<_> = hub.edit(|record| record.enrolled.drain(..).collect());
    assert_eq!(keys.len(), 1, "every attempt presents the one key that the token is bound to");
    // The token is used; the same command line starts the spoke all the same, and without asking for it again.
    let third = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.until("another hello", |record| {
        (record.received.iter().filter(|m| matches!(m, Message::Hello(_))).count() == 2).then_some(())
    })
    .await;
    third.stop().await;
    assert!(hub.edit(|record| record.enrolled.is_empty()));
}

#[tokio::test]
async fn a_refused_token_ends_the_spoke_and_says_why() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let mut token = v1::JoinToken::from_text(&hub.token()).unwrap();
    token.secret = vec![8; 32];
    let spoke = Spoke::start(dir.path(), Some(token.to_text()), &target, &clock);
    let error = spoke.task.await.unwrap().unwrap_err().to_string();
    assert_eq!(error, "the hub refuses to let this cluster join: the join token is not valid (any more)");
}

#[tokio::test]
async fn an_assignment_is_applied_accepted_and_reported_and_an_older_one_is_refused() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(inlined(2, "new")).await;
    assert_eq!(accepted(&hub, 1).await, 2);
    until(&target, "the new value", |target| has(target, "new")).await;
    hub.until("a healthy report", |record| {
        let healthy = |m: &Message| match m {
            Message::Report(report) => {
                report.generation == 2 && report.entries.iter().any(|e| e.state() == v1::EntryState::Healthy)
            }
            _ => false,
        };
        record.received.iter().any(healthy).then_some(())
    })
    .await;
    hub.order(inlined(1, "old")).await;
    assert_eq!(accepted(&hub, 2).await, 2, "the answer says what is held instead");
    assert!(has(&target, "new"));
    assert_eq!(spoke.stop().await, Exit::Stopped);
}

#[tokio::test]
async fn a_restarted_spoke_puts_things_right_before_it_reaches_any_hub_and_shows_the_mac_later() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(inlined(1, "x")).await;
    accepted(&hub, 1).await;
    until(&target, "the value", |target| has(target, "x")).await;
    spoke.stop().await;
    target.edit(&key(), config_map("changed by hand"));
    let options =
        RunOptions { connector: Arc::new(Nowhere), ..RunOptions::new(dir.path().to_owned(), target.clone()) };
    let cancel = CancellationToken::new();
    let alone = tokio::spawn(run(options, cancel.clone()));
    until(&target, "the value is put back", |target| has(target, "x")).await;
    cancel.cancel();
    assert_eq!(alone.await.unwrap().unwrap(), Exit::Stopped);
    hub.edit(|record| record.received.clear());
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    let hello = hub.until("a hello", |record| match record.received.first() {
        Some(Message::Hello(hello)) => Some(hello.clone()),
        _ => None,
    });
    let hello = hello.await;
    assert_eq!((hello.generation, hello.boot, hello.mac, &*hello.cluster_uid), (1, 3, vec![1, 2, 3], "uid"));
    let report = hub.until("a report", |record| {
        record.received.iter().find_map(|m| if let Message::Report(r) = m { Some(r.clone()) } else { None })
    });
    let report = report.await;
    assert_eq!(
        (report.generation, report.entries.len()),
        (1, 1),
        "nothing is reported before the first look"
    );
    spoke.stop().await;
}

/// No network.
struct Nowhere;

#[async_trait::async_trait]
impl nave_spoke::link::Connect for Nowhere {
    async fn connect(&self, _: &str) -> std::io::Result<Box<dyn nave_spoke::link::Stream>> {
        Err(std::io::ErrorKind::NetworkUnreachable.into())
    }
}

#[tokio::test]
async fn a_transfer_that_was_cut_goes_on_where_it_ended() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let (message, bundle, zstd) = assignment(1, "fetched");
    assert!(zstd.len() > 64, "more than one chunk");
    hub.edit(|record| {
        record.bundles.insert(bundle, zstd);
        record.cut = 1;
    });
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(to_spoke::Message::Assignment(message)).await;
    until(&target, "the fetched value", |target| has(target, "fetched")).await;
    assert_eq!(hub.edit(|record| record.offsets.clone()), [0, 64]);
    spoke.stop().await;
}

#[tokio::test]
async fn a_bundle_that_the_hub_lacks_keeps_no_other_from_the_spoke() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let (_, bundle, zstd) = assignment(1, "here");
    // Of several that are gone at least one sorts before it.
    let lacking: Vec<_> = (0..4).map(|number| assignment(1, &format!("gone {number}")).0).collect();
    let of = |message: &v1::Assignment, name: &str| {
        let nothing = Assignment::none(Epoch(1));
        let mut whole = nave_proto::assignment_from_proto(message.clone(), &nothing).unwrap();
        (name.parse().unwrap(), whole.entries.remove(&"web".parse().unwrap()).unwrap())
    };
    let mut entries: BTreeMap<_, _> =
        lacking.iter().enumerate().map(|(number, message)| of(message, &format!("gone-{number}"))).collect();
    entries.extend([of(&assignment(1, "here").0, "web")]);
    let all = Assignment {
        epoch: Epoch(1),
        generation: Generation(1),
        entries,
        leaving: BTreeMap::new(),
        schedule: EncodedSchedule::default(),
        relations: EncodedRelations::default(),
    };
    hub.edit(|record| record.bundles.insert(bundle, zstd));
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(to_spoke::Message::Assignment(assignment_to_proto(&all))).await;
    hub.until("a report of the one that came", |record| {
        let reports =
            record.received.iter().filter_map(|m| if let Message::Report(r) = m { Some(r) } else { None });
        let mut entries = reports.flat_map(|report| &report.entries);
        let came = |entry: &v1::EntryReport| entry.app.as_ref().is_some_and(|app| app.name == "web");
        entries.any(|entry| came(entry) && entry.reason != "BundleMissing").then_some(())
    })
    .await;
    spoke.stop().await;
}

#[tokio::test]
async fn a_spoke_that_was_away_for_36_hours_renews_its_expired_certificate_and_comes_back() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.until("a hello", |record| (!record.received.is_empty()).then_some(())).await;
    spoke.stop().await;
    hub.edit(|record| record.received.clear());
    clock.advance(Duration::from_secs(36 * 3600));
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    hub.until("another hello", |record| (!record.received.is_empty()).then_some(())).await;
    assert_eq!(hub.edit(|record| record.renewed.clone()), [true]);
    spoke.stop().await;
}

#[tokio::test]
async fn a_detached_spoke_says_so_and_stays_idle_also_after_a_restart() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(inlined(1, "x")).await;
    until(&target, "the value", |target| has(target, "x")).await;
    hub.order(to_spoke::Message::Detach(v1::Detach {})).await;
    let detached = |m: &Message| matches!(m, Message::Detached(_));
    // A hub that ends before it has written that down hears it again, from the same process; whatever it says meanwhile.
    let goodbye = || to_spoke::Message::Goodbye(v1::Goodbye { reason: "stopping".into(), retry_after_ms: 0 });
    for time in 1..=2 {
        let told =
            |r: &stand_in::Record| (r.received.iter().filter(|m| detached(m)).count() == time).then_some(());
        hub.until("the acknowledgement", told).await;
        hub.order(goodbye()).await;
    }
    assert_eq!(spoke.stop().await, Exit::Detached);
    hub.edit(|record| record.received.clear());
    let writes = target.calls().apply;
    target.edit(&key(), config_map("changed by hand"));
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    hub.until("the acknowledgement, again", |r| r.received.iter().any(detached).then_some(())).await;
    assert_eq!(spoke.stop().await, Exit::Detached);
    assert_eq!(target.calls().apply, writes);
}

#[tokio::test]
async fn a_spoke_that_the_hub_refuses_keeps_what_runs_and_says_so() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.order(inlined(1, "x")).await;
    until(&target, "the value", |target| has(target, "x")).await;
    hub.edit(|record| record.refuse = true);
    hub.hang_up();
    spoke.stop().await;
    target.edit(&key(), config_map("changed by hand"));
    let spoke = Spoke::start(dir.path(), None, &target, &clock);
    until(&target, "the value is put back", |target| has(target, "x")).await;
    until(&target, "the status", |_| {
        let status = nave_spoke::status::read(dir.path());
        status.is_ok_and(|status| status.problem.contains("was revoked") && status.generation == 1)
    })
    .await;
    let status = nave_spoke::status::read(dir.path()).unwrap();
    assert!(
        status.table(Some(true)).contains("Assignment   generation 1 (epoch 1)"),
        "{}",
        status.table(Some(true))
    );
    spoke.stop().await;
}

#[tokio::test]
async fn two_spokes_do_not_share_a_state_directory() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let spoke = Spoke::start(dir.path(), Some(hub.token()), &target, &clock);
    hub.until("a hello", |record| (!record.received.is_empty()).then_some(())).await;
    let second = Spoke::start(dir.path(), None, &target, &clock);
    let error = second.task.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("in use by another spoke"), "{error}");
    spoke.stop().await;
}
