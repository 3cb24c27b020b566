//! Events with real processes: what is told to whom, by hubs and receivers that fail.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::process::Program;
use harness::receiver::{Answer, Received, Receiver};
use harness::tls::Authority;
use harness::wait;
use serde_json::Value;

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_millis(1500);
const KEY: &str = "a key of a test";

const AT_ONCE: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Rollout
metadata: {name: at-once}
spec:
  waves: [{name: all}]
  failure: {max: 100%}
";

/// A fleet with an app `web` on two clusters, and a hub that is configured so.
async fn fleet(config: &str) -> Fleet {
    let app = documents::app_with("web", "  rollout: at-once\n");
    let files = [
        ("rollout.yaml", AT_ONCE),
        ("web.yaml", &app),
        ("manifests/web/web.yaml", &documents::config_map("web", "one")),
        ("placement.yaml", &documents::placement("web", &["web"], "{selector: {}}")),
    ];
    let mut fleet =
        Fleet::prepare(Repository::with("catalog", &files).expect("it is so")).await.expect("it is so");
    std::fs::write(fleet.directory().join("key"), format!("{KEY}\n")).expect("it is so");
    std::fs::write(fleet.directory().join("token"), "t0ken").expect("it is so");
    fleet.configure(config).expect("it is so");
    fleet.start_hub().await.expect("it is so");
    for cluster in ["fra-1", "fra-2"] {
        fleet.join(cluster, &[], &Target::Directory).await.expect("it is so");
    }
    fleet.connected(2).await;
    fleet
}

fn webhook(name: &str, url: &str, more: &str) -> String {
    format!("- {{name: {name}, webhook: {{url: '{url}', secretFile: key}}{more}}}\n")
}

fn change(fleet: &Fleet, to: &str) -> String {
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", to)).expect("it is so");
    fleet.catalog.commit(to).expect("it is so")
}

/// Somebody else has put an object there, which is not the app's to take.
fn obstruct(fleet: &Fleet, cluster: &str) {
    let path = fleet.manifests(cluster).join("configmap--web--other.yaml");
    let theirs =
        documents::config_map("other", "theirs").replace("name: other", "name: other, namespace: web");
    std::fs::write(path, theirs).expect("it is so");
}

async fn converged(fleet: &Fleet, commit: &str) {
    fleet.converge(&["--commit", commit]).await.expect("it is so");
}

/// `hub events` as JSON.
async fn events(fleet: &Fleet) -> Vec<Value> {
    let answer = fleet.hub(&["events", "-o", "json"]).await.expect("it is so").json().expect("it is so");
    answer.as_array().cloned().unwrap_or_default()
}

/// Waits until the hub has told an event of this kind about this.
async fn told(fleet: &Fleet, kind: &str, subject: &str) -> Value {
    wait::until(&format!("{kind} of {subject} is told"), LIMIT, async || {
        let events = events(fleet).await;
        let found = events.iter().find(|event| event["type"] == kind && event["subject"] == subject).cloned();
        found.ok_or_else(|| format!("{events:#?}\n{}", fleet.tails()))
    })
    .await
}

/// What the hub says must be what a receiver got: each event once, in order.
async fn all_arrived(fleet: &Fleet, receiver: &Receiver) -> Vec<Received> {
    wait::until("everything that was told arrived", LIMIT, async || {
        let told = ids(&events(fleet).await);
        let taken: Vec<Received> =
            receiver.received().into_iter().filter(|request| request.answered == 200).collect();
        let mut got: Vec<String> =
            taken.iter().map(|request| request.header("nave-event-id").to_owned()).collect();
        // One that was delivered and not written down when the hub was ended comes twice, at once.
        got.dedup();
        ensure!(told == got, "told {told:?}, got {got:?}\n{}", fleet.tails());
        Ok(taken)
    })
    .await
}

fn ids(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect()
}

/// Checks a signature as a receiver would, by another library than the hub's.
fn is_signed(request: &Received) -> Result<()> {
    let signature = request.header("nave-signature");
    let parts: BTreeMap<&str, &str> = signature.split(',').filter_map(|part| part.split_once('=')).collect();
    let (time, hex) = (parts["t"], parts["v1"]);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
    let signed = [time.as_bytes(), b".", &request.body].concat();
    let expected = ring::hmac::sign(&key, &signed);
    let expected: String = expected.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(hex == expected, "{signature} is not {expected}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    ensure!(now.abs_diff(time.parse()?) < 300, "signed at {time}, now is {now}");
    Ok(())
}

#[tokio::test]
async fn each_event_arrives_once_signed_though_receivers_fail_and_the_hub_is_killed() {
    let (hook, silent, chat) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    silent.answer(Answer::Silence);
    let config = format!(
        "sinks:\n{}{}- {{name: chat, events: [Converged], slack: {{url: '{}'}}}}\n",
        webhook("hook", &hook.url("/hook"), ""),
        webhook("silent", &silent.url("/"), ""),
        chat.url("/services/T0/B0/secret"),
    );
    let mut fleet = fleet(&config).await;
    let first = fleet.catalog.head().expect("it is so");
    // A receiver that never answers keeps nobody waiting.
    converged(&fleet, &first).await;
    let subject = format!("commit {}", &first[..8]);
    told(&fleet, "Converged", &subject).await;
    let arrived = all_arrived(&fleet, &hook).await;
    arrived.iter().try_for_each(is_signed).expect("all of them are signed");
    let body = arrived[0].json();
    assert_eq!(
        (&body["type"], &body["commit"], &body["fleet"]),
        (&"Taken".into(), &first.as_str().into(), &"test".into())
    );

    // It fails for a while; then what came meanwhile arrives, and nothing else.
    hook.answer(Answer::Status(500));
    let second = change(&fleet, "two");
    converged(&fleet, &second).await;
    wait::until("it was tried again", LIMIT, async || {
        let failed = hook.received().iter().filter(|request| request.answered == 500).count();
        ensure!(failed >= 2, "{failed} attempts\n{}", fleet.tails());
        Ok(())
    })
    .await;
    let sinks =
        fleet.hub(&["events", "sinks", "-o", "json"]).await.expect("it is so").json().expect("it is so");
    assert_eq!(sinks[0]["trouble"]["message"], "HTTP 500", "{sinks:#}");
    hook.answer(Answer::Status(200));
    told(&fleet, "Converged", &format!("commit {}", &second[..8])).await;
    all_arrived(&fleet, &hook).await;

    // Killed while a receiver is down: nothing is lost, nothing is told again.
    hook.answer(Answer::Status(503));
    let third = change(&fleet, "three");
    converged(&fleet, &third).await;
    told(&fleet, "Converged", &format!("commit {}", &third[..8])).await;
    let before = events(&fleet).await;
    fleet.kill_hub();
    hook.answer(Answer::Status(200));
    fleet.start_hub().await.expect("it is so");
    fleet.connected(2).await;
    all_arrived(&fleet, &hook).await;
    wait::throughout("nothing is told again", QUIET, async || events(&fleet).await == before).await;

    // A chat gets one line an event, and only those that it asked for.
    let lines: Vec<String> = wait::until("the chat has all", LIMIT, async || {
        let texts = chat
            .received()
            .into_iter()
            .map(|request| request.json()["text"].as_str().unwrap_or_default().to_owned());
        let lines: Vec<String> =
            texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        let converged = before.iter().filter(|event| event["type"] == "Converged").count();
        ensure!(lines.len() == converged, "{lines:#?}\n{}", fleet.tails());
        Ok(lines)
    })
    .await;
    assert!(lines.iter().all(|line| line.contains("*Converged* ")), "{lines:#?}");
    assert_eq!(silent.received().first().map(|request| request.path.clone()).as_deref(), Some("/"));
    // The URL of a chat is a secret.
    let screen = fleet.hub(&["events", "sinks"]).await.expect("it is so").stdout;
    assert!(
        screen.contains("chat") && !screen.contains("secret") && !fleet.tails().contains("B0/secret"),
        "{screen}"
    );
    let metrics = page(&fleet, "/metrics").await;
    assert!(metrics.contains("nave_sink_events_sent_total{sink=\"hook\"}"), "{metrics}");
}

/// What the hub says over HTTP.
async fn page(fleet: &Fleet, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = fleet.http_address();
    let mut stream = tokio::net::TcpStream::connect(&address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is so");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it is so");
    text
}

#[tokio::test]
async fn commits_get_their_status_on_three_forges_each_state_once() {
    let forge = Receiver::start().await;
    let status = |name: &str, provider: &str, base: &str, repository: &str| {
        let url = forge.url(base);
        format!(
            "- {{name: {name}, commitStatus: {{provider: {provider}, url: '{url}', repository: {repository}, tokenFile: token}}}}\n"
        )
    };
    let config = format!(
        "sinks:\n{}{}{}",
        status("github", "GitHub", "/github", "acme/fleet"),
        status("gitlab", "GitLab", "/gitlab/api/v4", "acme/ops/fleet"),
        status("gitea", "Gitea", "/gitea/api/v1", "acme/fleet"),
    );
    let fleet = fleet(&config).await;
    let good = fleet.catalog.head().expect("it is so");
    converged(&fleet, &good).await;
    let states = |commit: &str| {
        let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for request in forge.received().iter().filter(|request| request.path.ends_with(commit)) {
            let state = request.json()["state"].as_str().unwrap_or_default().to_owned();
            states.entry(request.path.replace(commit, "")).or_default().push(state);
        }
        states
    };
    let expected = |last: [&str; 3]| {
        let paths = [
            "/github/repos/acme/fleet/statuses/",
            "/gitlab/api/v4/projects/acme%2Fops%2Ffleet/statuses/",
            "/gitea/api/v1/repos/acme/fleet/statuses/",
        ];
        let pairs = paths.into_iter().zip(last);
        pairs.map(|(path, last)| (path.to_owned(), vec!["pending".to_owned(), last.to_owned()])).collect()
    };
    let seen = async |commit: &str, last: [&str; 3]| {
        let expected: BTreeMap<String, Vec<String>> = expected(last);
        wait::until("the forges say so", LIMIT, async || {
            let states = states(commit);
            ensure!(states == expected, "{states:#?}\n{}", fleet.tails());
            Ok(())
        })
        .await;
    };
    seen(&good, ["success"; 3]).await;
    let first = &forge.received()[0];
    assert!(["Bearer t0ken", "token t0ken", ""].contains(&first.header("authorization")), "{first:?}");

    // A commit of which an object cannot be written on one cluster.
    obstruct(&fleet, "fra-1");
    fleet.catalog.write("manifests/web/other.yaml", &documents::config_map("other", "x")).expect("it is so");
    let bad = fleet.catalog.commit("bad").expect("it is so");
    seen(&bad, ["failure", "failed", "failure"]).await;
    let failed = told(&fleet, "Failed", "app web").await;
    assert_eq!(
        (&failed["commit"], &failed["clusters"]["total"]),
        (&bad.as_str().into(), &1.into()),
        "{failed:#}"
    );
    let description = forge.received().last().map(|request| request.json()["description"].to_string());
    assert!(description.as_ref().is_some_and(|text| text.contains("app web: on fra-1")), "{description:?}");

    // The next mends it; what was said is not said again.
    fleet.catalog.remove("manifests/web/other.yaml").expect("it is so");
    let mended = fleet.catalog.commit("mended").expect("it is so");
    converged(&fleet, &mended).await;
    seen(&mended, ["success"; 3]).await;
    wait::throughout("the first keeps its status", QUIET, async || {
        states(&good).values().all(|states| states.len() == 2)
    })
    .await;
}

#[tokio::test]
async fn clusters_that_go_and_come_are_told_and_those_that_are_worked_on_are_not() {
    let mut fleet = fleet("events: {offlineAfter: 2s}\n").await;
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    fleet.kill_spoke("fra-1");
    told(&fleet, "ClusterOffline", "cluster fra-1").await;
    fleet.start_spoke("fra-1", None, &Target::Directory).expect("it is so");
    told(&fleet, "ClusterBack", "cluster fra-1").await;

    let maintained = fleet.hub(&["cluster", "maintain", "fra-2", "--for", "1h", "--reason", "disks"]).await;
    assert_eq!(maintained.expect("it is so").code, 0);
    let before = events(&fleet).await;
    fleet.kill_spoke("fra-2");
    wait::throughout("it is silent", QUIET * 3, async || events(&fleet).await == before).await;

    // Whoever asks for one cluster, or by time, gets no more than that.
    let of = async |arguments: &[&str]| {
        let answer = fleet.hub(&[&["events", "-o", "name"], arguments].concat()).await.expect("it is so");
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        answer.stdout.lines().count()
    };
    assert_eq!(of(&["--cluster", "fra-1"]).await, 2);
    assert_eq!(of(&["--cluster", "ams-*"]).await, 0);
    assert_eq!(of(&["--since", "1h"]).await, before.len());
    assert_eq!(of(&["--app", "web"]).await, 1);
    let table = fleet.hub(&["events"]).await.expect("it is so").stdout;
    assert!(table.starts_with("WHEN") && table.contains("ClusterOffline"), "{table}");
}

#[tokio::test]
async fn rollouts_that_wait_and_are_taken_back_and_changes_that_are_held_are_told() {
    let hook = Receiver::start().await;
    let fleet = fleet(&format!("sinks:\n{}", webhook("hook", &hook.url("/"), ""))).await;
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    let careful = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: at-once}\n\
        spec: {waves: [{name: canary, count: 1}, {name: rest, before: {approval: true}}]}\n";
    fleet.catalog.write("rollout.yaml", careful).expect("it is so");
    let commit = change(&fleet, "two");
    let waits = wait::until("the approval is awaited", LIMIT, async || {
        let events = events(&fleet).await;
        let found = events.into_iter().find(|event| event["type"] == "AwaitsApproval");
        found.ok_or_else(|| fleet.tails())
    })
    .await;
    assert_eq!((&waits["wave"], &waits["commit"]), (&"rest".into(), &commit.as_str().into()), "{waits:#}");
    let rollout = waits["rollout"].as_str().expect("it has one").to_owned();
    let done = fleet.hub(&["rollout", "abort", &rollout, "--reason", "wrong image"]).await.expect("it is so");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let back = told(&fleet, "RolledBack", &format!("rollout {rollout}")).await;
    assert!(back["message"].as_str().is_some_and(|why| why.contains("wrong image")), "{back:#}");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("one"));

    // The catalog is emptied: that is held, and no longer once it is taken back.
    let files = ["rollout.yaml", "web.yaml", "placement.yaml"];
    let texts = files.map(|file| std::fs::read_to_string(fleet.catalog.path().join(file)).expect("it is so"));
    files.iter().for_each(|file| fleet.catalog.remove(file).expect("it is so"));
    fleet.catalog.commit("empty").expect("it is so");
    let held = wait::until("it is held", LIMIT, async || {
        events(&fleet).await.into_iter().find(|event| event["type"] == "Held").ok_or_else(|| fleet.tails())
    })
    .await;
    for (file, text) in files.iter().zip(&texts) {
        fleet.catalog.write(file, text).expect("it is so");
    }
    fleet.catalog.commit("back").expect("it is so");
    told(&fleet, "HoldEnded", held["subject"].as_str().expect("it has one")).await;
    all_arrived(&fleet, &hook).await;
}

#[tokio::test]
async fn a_receiver_is_told_over_tls_if_its_authority_is_trusted_and_not_otherwise() {
    let authority = Authority::new().expect("it is so");
    let identity = authority.server(&["127.0.0.1"]).expect("it is so");
    let hook = Receiver::start_tls(identity.listener().expect("it is so")).await;
    let config = format!(
        "sinks:\n{}{}",
        webhook("trusted", &hook.url("/trusted"), ", caFile: ca.pem"),
        webhook("stranger", &hook.url("/stranger"), ""),
    );
    let fleet = Fleet::prepare(Repository::with("catalog", &[]).expect("it is so")).await;
    let mut fleet = fleet.expect("it is so");
    for (file, text) in [("key", KEY), ("ca.pem", &authority.pem())] {
        std::fs::write(fleet.directory().join(file), text).expect("it is so");
    }
    fleet.catalog.write("web.yaml", &documents::app("web")).expect("it is so");
    fleet.catalog.commit("An app").expect("it is so");
    fleet.configure(&config).expect("it is so");
    fleet.start_hub().await.expect("it is so");
    let first = wait::until("it is told", LIMIT, async || hook.received().into_iter().next()).await;
    is_signed(&first).expect("it is signed");
    wait::until("it is said why the other is not", LIMIT, async || {
        let sinks = fleet.hub(&["events", "sinks", "-o", "json"]).await?.json()?;
        let said = sinks[1]["trouble"]["message"].as_str().unwrap_or_default().to_lowercase();
        ensure!(said.contains("certificate") && !said.contains("/stranger"), "{sinks:#}");
        Ok(())
    })
    .await;
    assert!(hook.received().iter().all(|request| request.path == "/trusted"), "{:?}", hook.received());
}

#[tokio::test]
async fn changes_by_hand_are_told_whether_they_are_put_back_or_stay() {
    let fleet = fleet("").await;
    let by_hand = |to: &str| {
        let path = fleet.manifests("fra-1").join("configmap--web--web.yaml");
        let text = std::fs::read_to_string(&path).expect("it is there");
        let value = text.lines().find(|line| line.contains("value: ")).expect("it has one").to_owned();
        std::fs::write(&path, text.replace(&value, &format!("  value: {to}"))).expect("it is so");
    };
    let drifted = async |corrected: bool| {
        wait::until(&format!("drift is told, corrected: {corrected}"), LIMIT, async || {
            let events = events(&fleet).await;
            let is_it = |event: &&Value| event["type"] == "Drifted" && event["corrected"] == corrected;
            let found = events.iter().find(is_it).cloned();
            found.ok_or_else(|| format!("{events:#?}\n{}", fleet.tails()))
        })
        .await
    };
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    told(&fleet, "Converged", "app web").await;
    by_hand("theirs");
    let put_back = drifted(true).await;
    assert_eq!(put_back["clusters"]["names"][0], "fra-1", "{put_back:#}");

    let app = documents::app_with("web", "  rollout: at-once\n  drift: Report\n");
    fleet.catalog.write("web.yaml", &app).expect("it is so");
    let commit = fleet.catalog.commit("Report").expect("it is so");
    converged(&fleet, &commit).await;
    by_hand("theirs");
    drifted(false).await;
    by_hand("one");
    told(&fleet, "DriftEnded", "app web").await;
}

#[tokio::test]
async fn whoever_watches_gets_each_event_once_also_from_the_next_hub() {
    let mut fleet = fleet("").await;
    converged(&fleet, &fleet.catalog.head().expect("it is so")).await;
    let watching = Program::built("hub")
        .expect("it is so")
        .named("watching")
        .args(["events", "--watch", "-o", "json"])
        .env("HUB_CONTEXT", fleet.data().join("admin.yaml"))
        .start(fleet.directory())
        .expect("it starts");
    let same = async |fleet: &Fleet| {
        wait::until("the watcher has what the hub has", LIMIT, async || {
            let lines = watching.stdout();
            let seen: Vec<Value> = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            let told = ids(&events(fleet).await);
            ensure!(told == ids(&seen), "told {told:?}\n{lines}\n{}", watching.stderr());
            Ok(())
        })
        .await;
    };
    same(&fleet).await;
    let second = change(&fleet, "two");
    told(&fleet, "Converged", &format!("commit {}", &second[..8])).await;
    same(&fleet).await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it is so");
    fleet.connected(2).await;
    let third = change(&fleet, "three");
    told(&fleet, "Converged", &format!("commit {}", &third[..8])).await;
    same(&fleet).await;
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_before_anything_is_opened() {
    let fleet = Fleet::prepare(Repository::with("catalog", &[]).expect("it is so")).await.expect("it is so");
    let rows = [
        ("sinks:\n- {name: ops}\n", "hub.yaml:4: sink ops needs one of webhook, slack and commitStatus"),
        ("audit: {maxAgee: 1d}\n", "hub.yaml:3: unknown field `maxAgee`"),
    ];
    for (text, expected) in rows {
        fleet.configure(text).expect("it is so");
        let config = fleet.directory().join("hub.yaml");
        let (data, config) = (fleet.data().display().to_string(), config.display().to_string());
        let refused =
            fleet.hub(&["serve", "--data-dir", &data, "--catalog", "/nowhere", "--config", &config]).await;
        let refused = refused.expect("it ends");
        assert!(refused.code == 1 && refused.stderr.contains(expected), "{}", refused.stderr);
        assert!(!refused.stdout.contains("ready"), "{}", refused.stdout);
    }
}

#[tokio::test]
async fn the_audit_log_is_trimmed_and_what_is_left_can_be_verified() {
    let mut fleet = fleet("audit: {maxSize: 4Ki}\n").await;
    for number in 0..40 {
        let label = format!("n={number}");
        let done = fleet.hub(&["cluster", "label", "fra-1", &label, "--overwrite"]).await.expect("it is so");
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
    let verified = wait::until("the log was trimmed", LIMIT, async || {
        let answer = fleet.hub(&["audit", "verify", "-o", "json"]).await?;
        ensure!(answer.code == 0, "{}{}", answer.stdout, answer.stderr);
        let verified = answer.json()?;
        ensure!(verified["anchor"]["rule"] == "Size", "{verified:#}\n{}", fleet.tails());
        Ok(verified)
    })
    .await;
    let first = verified["anchor"]["sequence"].as_u64().expect("a number");
    let exported = fleet.hub(&["audit", "export"]).await.expect("it is so").stdout;
    let lines: Vec<Value> = exported.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // What is exported begins where the anchor says, with its hash.
    assert_eq!(lines[0]["sequence"].as_u64(), Some(first + 1), "{}", lines[0]);
    assert_eq!(lines[0]["previous"], verified["anchor"]["hash"]);
    assert!(lines.iter().any(|line| line["what"] == "AuditTrimmed"), "{exported}");
    let said = fleet.hub(&["audit", "verify"]).await.expect("it is so").stdout;
    assert!(said.contains("are no longer kept: trimmed by size at"), "{said}");

    // Nobody can take lines away, or change one, unseen.
    fleet.kill_hub();
    let path = fleet.data().join("store.redb");
    let forged = lines.iter().skip(2).find(|line| line["who"] == "operator admin").expect("there is one");
    forge::forge(&path, forged["sequence"].as_u64().expect("a number")).await;
    fleet.configure("").expect("it is so");
    fleet.start_hub().await.expect("it is so");
    let found = fleet.hub(&["audit", "verify"]).await.expect("it is so");
    assert!(
        found.code == 1 && found.stdout.contains("is missing, changed or out of order"),
        "{}",
        found.stdout
    );
}

/// Whoever has the store can write into it.
mod forge {
    use std::path::Path;

    use nave_hub::store::redb::RedbStore;
    use nave_hub::store::{Batch, Store as _};

    pub async fn forge(path: &Path, sequence: u64) {
        let store = RedbStore::open(path).expect("the hub has let it go");
        let key = format!("audit/{sequence:020}");
        let line = store.get(&key).await.expect("it can be read").expect("it is there");
        let text = String::from_utf8(line.value.to_vec()).expect("JSON");
        let forged = text.replace("operator admin", "operator mallory");
        assert_ne!(text, forged);
        store.commit(Batch::new().put(key, forged.into_bytes())).await.expect("it is written");
    }
}
