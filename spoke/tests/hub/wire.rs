//! What leaves the cluster, byte by byte: no secret value in any message, nothing at all before TLS.
//!
//! The same values stand in clear in a ConfigMap of the same app, so that a recording that missed a message would be
//! noticed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nave_placement::catalog::{Adopt, Treatment};
use nave_placement::{Digest, ObjectKey};
use nave_proto::v1::{self, from_spoke::Message, question::Question, to_spoke};
use nave_spoke::link::{Connect, Connector, Stream, Tcp};
use nave_spoke::run::{RunOptions, run};
use nave_spoke::target::memory::MemoryTarget;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::stand_in::Hub;
use super::{assigned, config_map, key, until, world};

/// As Git has them, encrypted by SOPS itself.
const SEALED: &str = include_str!("../../src/secrets/vectors/by_sops.json");
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/secrets/vectors/keys.txt");
/// What is encrypted there.
const SECRETS: [&str; 3] = ["canary-of-a-secret", "canary-of-a-deployment", "815162342"];
/// What somebody else put in its place on the cluster; of a Secret no less secret.
const BEFORE: [&str; 3] = ["earlier-password-of-it", "earlier-word-of-it", "423621518"];
/// In clear.
const MARKERS: [&str; 2] = ["marker-that-is-wanted", "marker-that-is-there"];

/// A bundle of one ConfigMap in clear and of two encrypted objects.
fn bundle() -> Vec<u8> {
    let rows: Vec<Value> = serde_json::from_str(SEALED).unwrap();
    let row = rows.into_iter().find(|row| row["name"] == "what must not be told").unwrap();
    let head = |object: &Value| json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"]});
    let heads: Vec<Value> = row["objects"].as_array().unwrap().iter().map(head).collect();
    let sealed = json!({"nave.dev/sops": {"format": row["format"], "objects": heads, "text": row["text"]}});
    format!("{}\n{sealed}\n", config_map(MARKERS[0])).into_bytes()
}

fn vault(group: &str, kind: &str) -> ObjectKey {
    let [group, kind, namespace, name] = [group, kind, "default", "vault"].map(str::to_owned);
    ObjectKey { group, kind, namespace, name }
}

/// Somebody else makes all three objects so.
fn by_hand(target: &MemoryTarget) {
    let head = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "vault", "namespace": "default"}});
    let mut secret = head("v1", "Secret");
    secret["stringData"] = json!({"password": BEFORE[0]});
    secret["metadata"]["annotations"] = json!({"kapp.k14s.io/original": secret.to_string()});
    let mut deployment = head("apps/v1", "Deployment");
    let number: u64 = BEFORE[2].parse().unwrap();
    deployment["metadata"]["annotations"] = json!({"nave.dev/secret": "true"});
    deployment["spec"] = json!({"progressDeadlineSeconds": number, "template": {"word": BEFORE[1]}});
    target.edit(&key(), config_map(MARKERS[1]));
    target.edit(&vault("", "Secret"), secret);
    target.edit(&vault("apps", "Deployment"), deployment);
}

/// Asks everything that can be asked; waits until all of it is answered.
async fn ask_everything(hub: &Hub, round: u64) {
    let app = || Some(v1::AppKey { catalog: "main".into(), name: "web".into() });
    let objects = |kind: &str, whole: bool| {
        Question::Objects(v1::LiveObjects { kind: kind.into(), whole, ..Default::default() })
    };
    let events =
        v1::ObjectEvents { kind: "secret".into(), namespace: "default".into(), name: "vault".into() };
    let logs = v1::ObjectLogs {
        kind: "deploy".into(),
        namespace: "default".into(),
        name: "vault".into(),
        ..Default::default()
    };
    let questions = [
        objects("cm", true),
        objects("secret", true),
        objects("secret", false),
        objects("deploy", true),
        objects("deploy", false),
        Question::Diff(v1::EntryDiff { app: app() }),
        Question::Adoption(v1::Adoption { app: app() }),
        Question::Events(events),
        Question::Logs(logs),
        Question::Assignment(v1::WholeAssignment {}),
        Question::Report(v1::WholeReport {}),
    ];
    let asker = || Some(v1::Asker { name: "ann".into(), role: "admin".into() });
    for (at, question) in questions.into_iter().enumerate() {
        let id = round * 100 + at as u64;
        let question = v1::Question { id, question: Some(question), asker: asker(), timeout_ms: 0 };
        hub.order(to_spoke::Message::Question(question)).await;
        hub.until(&format!("an answer to question {id}"), |record| {
            let is = |m: &Message| match m {
                Message::Answer(answer) => answer.question == id,
                // A whole report is a report.
                Message::Report(_) => at == 10,
                _ => false,
            };
            record.received.iter().any(is).then_some(())
        })
        .await;
    }
}

async fn reported(hub: &Hub, what: &str, words: &[&str]) {
    hub.until(what, |record| {
        let is = |m: &Message| match m {
            Message::Report(report) => words.iter().all(|word| format!("{report:?}").contains(word)),
            _ => false,
        };
        record.received.iter().any(is).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_secret_leaves_in_any_message_and_nothing_leaves_before_tls() {
    let (dir, target, clock) = world();
    let hub = Hub::start(&clock).await;
    let witness = Arc::new(Witness::default());
    let connector: Connector = witness.clone();
    let options = RunOptions {
        join: Some(hub.token()),
        clock: clock.clock(),
        connector,
        age_key_file: Some(KEYS.into()),
        ..RunOptions::new(dir.path().to_owned(), target.clone())
    };
    let cancel = CancellationToken::new();
    let spoke = tokio::spawn(run(options, cancel.clone()));
    let report_drift = |adopt| -> Treatment {
        let treatment: Treatment = serde_json::from_value(json!({"drift": "Report"})).unwrap();
        Treatment { adopt, ..treatment }
    };

    // First contact with what is not ours and differs.
    by_hand(&target);
    hub.order(assigned(1, &bundle(), report_drift(Adopt::IfEqual))).await;
    reported(&hub, "what is there is not taken over", &[MARKERS[1], "Secret", "Deployment"]).await;
    ask_everything(&hub, 1).await;

    // Ours, and changed by hand: told, not put back.
    hub.order(assigned(2, &bundle(), report_drift(Adopt::Always))).await;
    until(&target, "what was encrypted is there", |target| {
        let live = |key: &ObjectKey| target.objects().get(key).map(|held| held.live.to_string());
        let has = |key: &ObjectKey, value: &str| live(key).is_some_and(|live| live.contains(value));
        has(&vault("", "Secret"), SECRETS[0]) && has(&vault("apps", "Deployment"), SECRETS[2])
    })
    .await;
    ask_everything(&hub, 2).await;
    by_hand(&target);
    reported(&hub, "the drift", &["Drifted", MARKERS[1], "has another value"]).await;
    ask_everything(&hub, 3).await;

    // An API server quotes what it refuses.
    let quoted = format!("spec: Invalid value: {}: {:?}", SECRETS[2], SECRETS[1]);
    for object in [vault("", "Secret"), vault("apps", "Deployment")] {
        target.refuse(&object, Some(&format!("{quoted} {}", SECRETS[0])));
        target.remove(&object);
    }
    reported(&hub, "what was refused", &["Invalid value: <secret>"]).await;
    ask_everything(&hub, 4).await;
    cancel.cancel();
    spoke.await.unwrap().unwrap();

    let messages: Vec<Vec<u8>> = hub.edit(|record| {
        let encoded = |message: &Message| v1::FromSpoke { message: Some(message.clone()) }.encode_to_vec();
        record.received.iter().map(encoded).collect()
    });
    for marker in MARKERS {
        let told = messages.iter().filter(|message| holds(message, marker)).count();
        assert!(told >= 4, "{marker} is in {told} of {} messages", messages.len());
    }
    let all = hub.edit(|record| format!("{:#?}", record.received));
    for value in SECRETS.iter().chain(&BEFORE) {
        assert!(!messages.iter().any(|message| holds(message, value)), "{value} left the cluster: {all}");
    }
    let longest = messages.iter().map(Vec::len).max().unwrap();
    witness.saw_only_tls(longest);
}

/// Whether a value is in these bytes, as it is, as base64 at any offset, or as its digest.
fn holds(bytes: &[u8], value: &str) -> bool {
    let digest = Digest::of(value.as_bytes());
    let mut spellings = vec![value.as_bytes().to_vec(), digest.to_string().into_bytes(), digest.0.to_vec()];
    for offset in 0..3 {
        let padded = [&vec![0; offset], value.as_bytes()].concat();
        let encoded = STANDARD.encode(&padded[..padded.len() / 3 * 3]);
        spellings.push(encoded.as_bytes()[[0, 2, 3][offset]..].to_vec());
    }
    spellings.iter().any(|wanted| bytes.windows(wanted.len()).any(|window| window == wanted))
}

/// All bytes that the spoke sends, by connection.
#[derive(Default)]
struct Witness(Mutex<Vec<Arc<Mutex<Vec<u8>>>>>);

impl Witness {
    /// Each connection is TLS records from its first byte on, and the messages were within them.
    fn saw_only_tls(&self, longest: usize) {
        let connections: Vec<Vec<u8>> =
            self.0.lock().unwrap().iter().map(|sent| sent.lock().unwrap().clone()).collect();
        let mut most = 0;
        for sent in connections.iter().filter(|sent| !sent.is_empty()) {
            let (mut rest, mut within) = (&sent[..], 0);
            while let [kind, major, _, high, low, behind @ ..] = rest {
                assert!(
                    (20..=23).contains(kind) && *major == 3,
                    "no TLS record: {:?}",
                    &rest[..16.min(rest.len())]
                );
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                within += if *kind == 23 { length } else { 0 };
                rest = behind.get(length..).unwrap_or_default();
            }
            most = most.max(within);
        }
        assert!(most > longest, "{most} bytes within TLS, of which one message has {longest}");
    }
}

#[async_trait::async_trait]
impl Connect for Witness {
    async fn connect(&self, address: &str) -> io::Result<Box<dyn Stream>> {
        let sent = Arc::<Mutex<Vec<u8>>>::default();
        self.0.lock().unwrap().push(sent.clone());
        Ok(Box::new(Watched { stream: Tcp.connect(address).await?, sent }))
    }
}

struct Watched {
    stream: Box<dyn Stream>,
    sent: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            this.sent.lock().unwrap().extend_from_slice(&bytes[..*count]);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
