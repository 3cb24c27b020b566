//! Messages: the request that tells a receiver of events.
//!
//! In: what a sink is, the events. Out: URL, headers and body; nothing where there is nothing to say.
//! Never: keeps a secret: its file is read for each message, so a new one counts at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::catalog::CommitId;
use serde::Serialize;
use zeroize::Zeroizing;

use super::signature::{HEADER, sign};
use super::status::{Forge, Standing, remembered};
use crate::config::{SinkKind, SlackUrl};
use crate::events::EventRecord;
use crate::operator::views::EventView;
use crate::state::records::SinkRecord;

/// Bytes of a secret's file: more is none.
const SECRET: usize = 64 << 10;
/// A file on a disk that hangs is as good as none.
const READ: Duration = Duration::from_secs(10);

/// A request: POST, JSON.
pub struct Message {
    /// Where to.
    pub url: String,
    /// Beside the content's type.
    pub headers: Vec<(&'static str, String)>,
    /// JSON.
    pub body: Vec<u8>,
}

/// What a message is made of.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The fleet's name.
    pub fleet: &'a str,
    /// What to tell.
    pub events: &'a [Arc<EventRecord>],
    /// How far the receiver is.
    pub record: &'a SinkRecord,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
}

/// Statuses of commits that are to be remembered.
type Statuses = Vec<(CommitId, String)>;

/// A message, and what is to be remembered once it was taken.
///
/// # Errors
/// Why it cannot be made now: a file with a secret cannot be read.
pub async fn of(kind: &SinkKind, wanted: Wanted<'_>) -> Result<Option<(Message, Option<Statuses>)>, String> {
    match kind {
        SinkKind::Webhook { url, secret_file } => {
            let Some(event) = wanted.events.first() else { return Ok(None) };
            let key = secret(secret_file).await?;
            Ok(Some((webhook(url, &key, wanted.fleet, event, wanted.now_ms), None)))
        }
        SinkKind::Slack(url) => {
            let url = match url {
                SlackUrl::Given(url) => url.clone(),
                SlackUrl::File(file) => text(file).await?.to_string(),
            };
            Ok(Some((chat(url, wanted.fleet, wanted.events), None)))
        }
        SinkKind::CommitStatus { provider, url, repository, token_file, context, target_url } => {
            let Some(event) = wanted.events.first() else { return Ok(None) };
            let Some((commit, standing)) = Standing::of(&event.event) else { return Ok(None) };
            let said = &wanted.record.statuses;
            let word = standing.word(*provider);
            if said.iter().any(|(of, said)| of == commit && said == word) {
                return Ok(None);
            }
            let token = text(token_file).await?;
            let target_url = target_url.as_deref();
            let forge = Forge { provider: *provider, url, repository, context, target_url, token: &token };
            let message = forge.message(commit, standing, &event.event);
            Ok(Some((message, Some(remembered(said, commit, word)))))
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    fleet: &'a str,
    #[serde(flatten)]
    event: EventView,
}

fn webhook(url: &str, key: &[u8], fleet: &str, event: &EventRecord, now_ms: u64) -> Message {
    let body = Body { fleet, event: EventView::of(event) };
    let body = serde_json::to_vec(&body).expect("an event always serializes");
    let headers = vec![("Nave-Event-Id", event.id.clone()), (HEADER, sign(key, now_ms / 1000, &body))];
    Message { url: url.to_owned(), headers, body }
}

/// One line an event; a heading says whose they are.
fn chat(url: String, fleet: &str, events: &[Arc<EventRecord>]) -> Message {
    let lines = events.iter().map(|record| {
        let kind = record.event.kind();
        let line = format!("{}: {}", record.event.subject(), record.event.why());
        format!("*{kind}* {}", escaped(&line))
    });
    let text = format!("[{}] {}", escaped(fleet), lines.collect::<Vec<_>>().join("\n"));
    let body = serde_json::json!({ "text": text }).to_string().into_bytes();
    Message { url, headers: Vec::new(), body }
}

/// The three characters that mean something to Slack.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A secret: the bytes of its file, without the line's end that editors put there.
async fn secret(file: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let wrong = |why: &str| format!("the secret's file {} {why}", file.display());
    let read = tokio::time::timeout(READ, tokio::fs::read(file)).await;
    let read = read.map_err(|_| wrong("cannot be read in time"))?;
    let mut bytes = Zeroizing::new(read.map_err(|error| wrong(&format!("cannot be read: {error}")))?);
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    bytes.truncate(end);
    match bytes.len() {
        0 => Err(wrong("is empty")),
        1..=SECRET => Ok(bytes),
        _ => Err(wrong("is too large")),
    }
}

/// A secret that goes into a header or is a URL.
async fn text(file: &Path) -> Result<Zeroizing<String>, String> {
    let bytes = secret(file).await?;
    let text = std::str::from_utf8(&bytes)
        .ok()
        .map(str::trim)
        .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
    match text {
        Some(text) => Ok(Zeroizing::new(text.to_owned())),
        None => Err(format!("the secret's file {} has not just one word in it", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::CommitId;
    use serde_json::Value;

    use super::*;
    use crate::events::{Clusters, Event};

    fn record(event: Event) -> Arc<EventRecord> {
        Arc::new(EventRecord::new(7, 1_790_000_000_123, event))
    }

    #[test]
    fn a_webhook_gets_the_event_its_id_and_a_signature_over_both() {
        let event = record(Event::Taken { commit: CommitId("0123456789".into()), catalog: None });
        let message = webhook("https://h/x", b"key", "test", &event, 1_790_000_001_999);
        let body: Value = serde_json::from_slice(&message.body).expect("JSON");
        let expected = serde_json::json!({
            "fleet": "test",
            "sequence": 7,
            "atMs": 1_790_000_000_123_u64,
            "id": event.id,
            "type": "Taken",
            "commit": "0123456789",
            "subject": "commit 01234567",
            "message": "it is in effect",
        });
        assert_eq!(body, expected);
        let signed = sign(b"key", 1_790_000_001, &message.body);
        assert_eq!(message.headers, [("Nave-Event-Id", event.id.clone()), (HEADER, signed)]);
    }

    #[test]
    fn a_chat_gets_a_line_an_event_and_nothing_that_it_would_take_for_its_own() {
        let names: Vec<_> = (1..=7).map(|n| format!("fra-{n}").parse().expect("a name")).collect();
        let offline = record(Event::ClusterOffline { clusters: Clusters::of(&names) });
        let failed = record(Event::Failed {
            app: Some("web".parse().expect("a name")),
            commit: CommitId("c".into()),
            catalog: None,
            clusters: Clusters::of(&names[..1]),
            reason: "Stuck".into(),
            object: None,
            detail: "a < b & <!channel>".into(),
        });
        let missed = record(Event::Missed { count: 3 });
        let message = chat("https://h/x".into(), "test", &[offline, failed, missed]);
        let body: Value = serde_json::from_slice(&message.body).expect("JSON");
        let expected = "\
[test] *ClusterOffline* 7 clusters: not connected: fra-1, fra-2, fra-3, fra-4, fra-5 and 2 more
*Failed* app web: on fra-1: Stuck: a &lt; b &amp; &lt;!channel&gt;
*Missed* 3 events: they are no longer kept, and were not told here";
        assert_eq!(body["text"], expected);
    }

    #[tokio::test]
    async fn a_secret_is_what_its_file_has_now() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("key");
        let missing = text(&file).await.expect_err("there is none");
        assert!(missing.contains("cannot be read"), "{missing}");
        for (content, expected) in
            [("t0\n", Some("t0")), ("t1", Some("t1")), ("\n", None), ("a b", None), ("ä", None)]
        {
            std::fs::write(&file, content).expect("it is so");
            assert_eq!(text(&file).await.ok().as_ref().map(|text| text.as_str()), expected, "{content:?}");
        }
    }
}
