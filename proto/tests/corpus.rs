//! Messages as earlier builds wrote them: what was recorded for a protocol version must read the same for ever.
//!
//! `NAVE_BLESS=1 cargo test -p nave-proto --test corpus` records samples that have no recording yet; it never changes one.

use std::path::{Path, PathBuf};

use nave_proto::v1::{self, from_spoke, to_spoke};
use prost::Message;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/v1").join(name)
}

/// A recording reads as the sample, and the sample is written as recorded.
fn check<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, sample: &M) {
    let path = file(name);
    if !path.exists() && std::env::var_os("NAVE_BLESS").is_some() {
        std::fs::write(&path, sample.encode_to_vec()).expect("the corpus can be written");
    }
    let recorded = std::fs::read(&path).unwrap_or_else(|_| panic!("{name} is not recorded"));
    assert_eq!(&M::decode(&*recorded).expect(name), sample, "{name} reads otherwise");
    assert_eq!(sample.encode_to_vec(), recorded, "{name} is written otherwise");
}

fn app() -> v1::AppKey {
    v1::AppKey { catalog: "main".into(), name: "web".into() }
}

fn entry() -> v1::Entry {
    let namespace = v1::Namespace {
        name: "web".into(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        create: true,
        force: false,
    };
    let former = v1::AppKey { catalog: "main".into(), name: "old".into() };
    v1::Entry {
        bundle: vec![1; 32],
        version: vec![2; 32],
        commit: vec![3; 20],
        values: vec![v1::Value { name: "replicas".into(), json: "2".into() }],
        options: Some(v1::Options {
            namespace: Some(namespace),
            prune: true,
            on_remove: v1::OnRemove::Delete.into(),
            formerly: vec![former],
            treatment: None,
            share: None,
            grant: None,
            substitute: false,
        }),
        objects: 3,
        drops: 1,
        drops_cause: Some(cause()),
        drops_of: Vec::new(),
        at_once: false,
        source_at: String::new(),
    }
}

fn cause() -> v1::Cause {
    let approved = v1::cause::Approved { hold: "h-1".into(), by: "ann".into() };
    v1::Cause { cause: Some(v1::cause::Cause::Approved(approved)) }
}

fn assignment() -> v1::Assignment {
    v1::Assignment {
        epoch: 1,
        generation: 7,
        digest: vec![4; 32],
        mac: vec![5; 32],
        base: Some(v1::Base { epoch: 1, generation: 6, digest: vec![6; 32] }),
        entries: vec![v1::KeyedEntry { app: Some(app()), entry: entry().encode_to_vec().into() }],
        gone: vec![v1::AppKey { catalog: "team-a".into(), name: "gone".into() }],
        leaving: vec![v1::Leaving {
            app: Some(app()),
            policy: v1::OnRemove::Orphan.into(),
            cause: Some(cause()),
            objects: 9,
            drops_of: Vec::new(),
        }],
        bundles: vec![v1::InlineBundle { digest: vec![1; 32], zstd: vec![7; 8].into() }],
        schedule: Vec::new(),
        relations: Vec::new(),
    }
}

fn report() -> v1::Report {
    let unhealthy = v1::ObjectReport {
        group: "apps".into(),
        kind: "Deployment".into(),
        namespace: "web".into(),
        name: "web".into(),
        state: "Progressing".into(),
        reason: "Unschedulable".into(),
        message: "0 of 1 replicas available".into(),
    };
    let entry = v1::EntryReport {
        app: Some(app()),
        version: vec![2; 32],
        state: v1::EntryState::Progressing.into(),
        reason: "ObjectUnhealthy".into(),
        message: "waits".into(),
        objects: 3,
        healthy: 2,
        unhealthy: vec![unhealthy],
        corrected: 1,
        digest: vec![8; 32],
        drifted: 0,
        notes: Vec::new(),
        asks: Vec::new(),
    };
    v1::Report {
        boot: 2,
        sequence: 5,
        epoch: 1,
        generation: 7,
        whole: true,
        entries: vec![entry.clone()],
        left: vec![app()],
        unassigned: vec![app()],
        digest: vec![9; 32],
        leaving: vec![entry],
    }
}

fn resources() -> v1::Resources {
    v1::Resources { cpu_millis: 12_000, memory: 64 << 30, other: [("nvidia.com/gpu".to_owned(), 8)].into() }
}

fn all_facts() -> v1::Facts {
    use v1::facts::{Amounts, Map, Set, Table, Text, Texts};
    let set = |items: &[&str]| {
        let items = items.iter().map(|item| (*item).to_owned()).collect();
        Some(Set { present: Some(Texts { items }) })
    };
    let map = |key: &str, value: &str| {
        Some(Map { present: Some(Table { items: [(key.to_owned(), value.to_owned())].into() }) })
    };
    v1::Facts {
        kubernetes: Some(v1::facts::Kubernetes { present: None }),
        nodes: Some(v1::facts::Number { present: None }),
        recipient: None,
        architectures: set(&["amd64", "arm64"]),
        capacity: Some(Amounts { present: Some(resources()) }),
        provider: Some(Text { present: Some("aws".into()) }),
        region: Some(Text { present: None }),
        zones: set(&[]),
        apis: set(&["apps/v1/Deployment", "v1/Pod"]),
        properties: map("cluster.clusterset.k8s.io", "fra-1"),
        custom: map("store", "0417"),
    }
}

#[test]
fn messages_of_a_spoke_read_as_they_were_recorded() {
    let message = |message| v1::FromSpoke { message: Some(message) };
    let hello = v1::Hello {
        versions: Some(v1::VersionRange { min: 1, max: 1 }),
        cluster_uid: "uid".into(),
        boot: 2,
        epoch: 1,
        generation: 7,
        assignment_digest: vec![4; 32],
        mac: vec![5; 32],
        report_sequence: 5,
        report_digest: vec![9; 32],
        software: "0.1.0".into(),
    };
    check("hello.bin", &message(from_spoke::Message::Hello(hello)));
    let version = v1::KubernetesVersion { version: "v1.31.2".into(), major: 1, minor: 31 };
    let facts = v1::Facts {
        kubernetes: Some(v1::facts::Kubernetes { present: Some(version) }),
        nodes: Some(v1::facts::Number { present: Some(3) }),
        ..v1::Facts::default()
    };
    check("facts.bin", &message(from_spoke::Message::Facts(facts)));
    check("report.bin", &message(from_spoke::Message::Report(report())));
    let accepted = v1::Accepted { epoch: 1, generation: 7, digest: vec![4; 32] };
    check("accepted.bin", &message(from_spoke::Message::Accepted(accepted)));
    let answer = v1::Answer {
        question: 1,
        answer: Some(v1::answer::Answer::Assignment(assignment())),
        truncated: false,
    };
    check("answer.bin", &message(from_spoke::Message::Answer(answer)));
    let json = v1::answer::Answer::Json(b"{}".to_vec());
    let answer = v1::Answer { question: 2, answer: Some(json), truncated: true };
    check("answer-json.bin", &message(from_spoke::Message::Answer(answer)));
    let facts = v1::Facts {
        recipient: Some(v1::facts::Text { present: Some("age1".into()) }),
        ..v1::Facts::default()
    };
    check("facts-recipient.bin", &message(from_spoke::Message::Facts(facts)));
    check("facts-all.bin", &message(from_spoke::Message::Facts(all_facts())));
    check("free.bin", &message(from_spoke::Message::Free(v1::Free { amounts: Some(resources()) })));
    check("free-unknown.bin", &message(from_spoke::Message::Free(v1::Free { amounts: None })));
    let mut noted = report();
    noted.entries[0].drifted = 1;
    noted.entries[0].notes = noted.entries[0].unhealthy.clone();
    check("report-notes.bin", &message(from_spoke::Message::Report(noted)));
    let mut asking = report();
    asking.entries[0].asks = vec![1, 2, 3, 4, 5, 6, 7, 8];
    check("report-asks.bin", &message(from_spoke::Message::Report(asking)));
    check("detached.bin", &message(from_spoke::Message::Detached(v1::Detached {})));
}

#[test]
fn messages_of_a_hub_read_as_they_were_recorded() {
    let message = |message| v1::ToSpoke { message: Some(message) };
    let welcome = v1::Welcome {
        version: 1,
        hub_addresses: vec!["hub.example.com:7443".into()],
        time_ms: 1_767_225_600_000,
        report_wanted: true,
    };
    check("welcome.bin", &message(to_spoke::Message::Welcome(welcome)));
    check("assignment.bin", &message(to_spoke::Message::Assignment(assignment())));
    let question = v1::question::Question::Assignment(v1::WholeAssignment {});
    let question = v1::Question { id: 1, question: Some(question), ..v1::Question::default() };
    check("question.bin", &message(to_spoke::Message::Question(question)));
    let objects = v1::LiveObjects {
        kind: "deployments.apps".into(),
        namespace: "web".into(),
        selector: "tier=web".into(),
        limit: 10,
        ..v1::LiveObjects::default()
    };
    let question = v1::Question {
        id: 2,
        question: Some(v1::question::Question::Objects(objects)),
        asker: Some(v1::Asker { name: "ann".into(), role: "viewer".into() }),
        timeout_ms: 5_000,
    };
    check("question-objects.bin", &message(to_spoke::Message::Question(question)));
    check("cancel.bin", &message(to_spoke::Message::Cancel(v1::Cancel { question: 2 })));
    check("detach.bin", &message(to_spoke::Message::Detach(v1::Detach {})));
    let goodbye = v1::Goodbye { reason: "stopping".into(), retry_after_ms: 100 };
    check("goodbye.bin", &message(to_spoke::Message::Goodbye(goodbye)));
}

#[test]
fn what_carries_a_digest_and_what_is_stored_read_as_they_were_recorded() {
    check("entry.bin", &entry());
    let mut treated = entry();
    if let Some(options) = &mut treated.options {
        options.treatment = Some(v1::Treatment {
            conflicts: v1::treatment::Conflicts::Yield.into(),
            ignore: vec![v1::treatment::Ignore {
                target: Some(v1::ObjectTarget { kind: Some("Deployment".into()), ..Default::default() }),
                fields: vec!["/spec/replicas".into()],
            }],
            service_account: Some("deployer".into()),
            timeout_ms: 1_000,
            ..v1::Treatment::default()
        });
    }
    check("entry-treated.bin", &treated);
    check("entry-leftovers.bin", &v1::Entry { drops_of: vec![1, 2, 3, 4, 5, 6, 7, 8], ..entry() });
    let mut leaving = assignment();
    leaving.leaving[0].drops_of = vec![1, 2, 3, 4, 5, 6, 7, 8];
    check("assignment-leftovers.bin", &leaving);
    let window = v1::schedule::Window {
        cron: "0 1 * * *".into(),
        duration_ms: 14_400_000,
        timezone: "Europe/Berlin".into(),
    };
    let freeze =
        v1::schedule::Freeze { from: "2026-11-20".into(), to: "2026-12-01".into(), timezone: "UTC".into() };
    let schedule = v1::Schedule { windows: vec![window], freezes: vec![freeze] };
    check("schedule.bin", &schedule);
    let schedule = schedule.encode_to_vec();
    check("assignment-schedule.bin", &v1::Assignment { schedule, ..assignment() });
    let first =
        v1::relations::First { app: Some(app()), until: v1::relations::Until::Healthy.into(), missing: true };
    let relations = v1::Relations {
        waits: vec![v1::relations::Waits { app: Some(app()), first: vec![first] }],
        groups: vec![v1::relations::Group { name: "shop".into(), apps: vec![app()] }],
    };
    check("relations.bin", &relations);
    let relations = relations.encode_to_vec();
    check("assignment-relations.bin", &v1::Assignment { relations, ..assignment() });
    let past = v1::Past { epoch: 1, generation: 6, digest: vec![6; 32] };
    let keyed = v1::KeyedEntry { app: Some(app()), entry: entry().encode_to_vec().into() };
    let stored = v1::StoredAssignment {
        assignment: Some(assignment()),
        trail: vec![keyed],
        past: vec![past],
        changes: Vec::new(),
    };
    check("stored-assignment.bin", &stored);
    let previous = entry().encode_to_vec();
    let change = v1::Change { app: Some(app()), epoch: 1, generation: 7, at_ms: 1_790_000_000_000, previous };
    check("stored-assignment-changes.bin", &v1::StoredAssignment { changes: vec![change], ..stored });
    check("entry-at-once.bin", &v1::Entry { at_once: true, ..entry() });
    let stored = v1::StoredReport { report: Some(report()), stood: Vec::new() };
    check("stored-report.bin", &stored);
    let stood = v1::Stood {
        app: Some(nave_proto::app_to_proto(&"web".parse().expect("a name"))),
        since_ms: 1_790_000_000_000,
        version: vec![7; 32],
        well_ms: 1_789_999_999_000,
    };
    check("stored-report-stood.bin", &v1::StoredReport { stood: vec![stood], ..stored });
    let token = v1::JoinToken {
        hub_addresses: vec!["hub.example.com:7443".into()],
        ca_sha256: vec![1; 32],
        id: "id".into(),
        secret: vec![2; 32],
        fleet: "acme".into(),
    };
    check("join-token.bin", &token);
}

#[test]
fn an_entry_that_was_recorded_is_encoded_to_the_same_bytes_again() {
    let recorded = std::fs::read(file("entry.bin")).expect("recorded");
    let entry = nave_proto::decode_entry(&recorded).expect("readable");
    assert_eq!(&*nave_proto::encode_entry(&entry).bytes, &*recorded);
}
