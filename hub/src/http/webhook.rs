//! Webhooks: a forge says that something was pushed, and Git is asked at once instead of at the next poll.
//!
//! In: POST requests of GitHub, GitLab, Gitea, Bitbucket, or of whoever signs as they do. Out: a poke of the poller.
//! Never: reads a body for anything but its signature (what was pushed is for Git to say); takes a request that is not proven to
//! come from who has the secret; keeps more of a body than one chunk.
//!
//! | header | what it has | who sends it |
//! |---|---|---|
//! | `X-Hub-Signature-256` | `sha256=` and HMAC-SHA256 of the body in hex | [GitHub], Gitea |
//! | `X-Gitea-Signature`, `X-Forgejo-Signature` | the same without `sha256=` | Gitea, Forgejo |
//! | `X-Hub-Signature` | as `X-Hub-Signature-256` | [Bitbucket] |
//! | `X-Gitlab-Token` | the secret itself | GitLab |
//! | `Webhook-Signature` | `v1,` and HMAC-SHA256 of id, time and body in base64 | GitLab, [Standard Webhooks] |
//!
//! [GitHub]: https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
//! [Bitbucket]: https://bitbucket.org/blog/enhanced-webhook-security
//! [Standard Webhooks]: https://www.standardwebhooks.com

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use hmac::{Hmac, KeyInit as _, Mac as _};
use nave_proto::tls::Clock;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use tokio::io::AsyncReadExt as _;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::config::{Forge, WebhookConfig};

/// As much as GitHub sends at most.
const LONGEST: usize = 25 << 20;
/// Secrets are shorter.
const LONGEST_SECRET: u64 = 4096;
/// Bodies that are read at once; who comes then is told to come again.
const AT_ONCE: usize = 8;
/// What takes longer comes from no forge.
const PATIENCE: Duration = Duration::from_secs(10);
/// A signature that has its time in it holds for so many seconds, before and after.
const HOLDS_S: u64 = 300;

/// The door for forges.
pub struct Webhooks {
    configured: Vec<WebhookConfig>,
    poke: watch::Sender<()>,
    clock: Clock,
    places: Semaphore,
    counts: [AtomicU64; 4],
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Git is asked.
    Triggered,
    /// It is proven, and about something else than a push.
    Ignored,
    /// It is not proven.
    Refused,
    /// It is too large or too slow, or one too many.
    Dropped,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Triggered, Self::Ignored, Self::Refused, Self::Dropped];
}

/// How a request is answered.
pub type Answer = (Outcome, StatusCode, &'static str);

const TRIGGERED: Answer = (Outcome::Triggered, StatusCode::ACCEPTED, "Git is asked\n");
const IGNORED: Answer = (Outcome::Ignored, StatusCode::OK, "this is no push; there is nothing to do\n");
const CLOSED: Answer = (
    Outcome::Refused,
    StatusCode::NOT_FOUND,
    "no webhook is configured; see `webhooks` of the hub's configuration file\n",
);
const UNSIGNED: Answer = (
    Outcome::Refused,
    StatusCode::UNAUTHORIZED,
    "it is not signed; give the webhook a secret at the forge\n",
);
const UNKNOWN: Answer = (
    Outcome::Refused,
    StatusCode::UNAUTHORIZED,
    "no webhook that is configured for such a forge has this secret\n",
);
const BUSY: Answer =
    (Outcome::Dropped, StatusCode::SERVICE_UNAVAILABLE, "too many webhooks at once; send it again\n");
const LARGE: Answer = (Outcome::Dropped, StatusCode::PAYLOAD_TOO_LARGE, "it has more than 25 MiB\n");
const SLOW: Answer = (Outcome::Dropped, StatusCode::REQUEST_TIMEOUT, "it did not come within 10 seconds\n");
const CUT: Answer = (Outcome::Dropped, StatusCode::BAD_REQUEST, "it was cut off\n");

/// What shows that a request comes from who has the secret.
enum Proof<'a> {
    /// An HMAC over what stands before the body and the body.
    Signatures { before: String, any: Vec<Vec<u8>> },
    /// The secret.
    Secret(&'a str),
}

impl Webhooks {
    /// For those that are configured.
    pub fn new(configured: Vec<WebhookConfig>, poke: watch::Sender<()>, clock: Clock) -> Self {
        Self { configured, poke, clock, places: Semaphore::new(AT_ONCE), counts: Default::default() }
    }

    /// How many requests came to which end since the hub started; none where no webhook is configured.
    pub fn counts(&self) -> impl Iterator<Item = (Outcome, u64)> {
        let counts = Outcome::ALL.into_iter().filter(|_| !self.configured.is_empty());
        counts.map(|outcome| (outcome, self.counts[outcome as usize].load(Ordering::Relaxed)))
    }

    /// Takes a request.
    pub async fn take(&self, headers: &HeaderMap, body: Body) -> Answer {
        let answer = match self.whose(headers, body).await {
            Ok(webhook) if webhook.forge.is_push(headers) => {
                info!(webhook = webhook.name, "something was pushed");
                self.poke.send_replace(());
                TRIGGERED
            }
            Ok(_) => IGNORED,
            Err(answer) => {
                warn!(code = answer.1.as_u16(), "a webhook is not taken: {}", answer.2.trim_end());
                answer
            }
        };
        self.counts[answer.0 as usize].fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// The webhook that a request is proven to be of.
    async fn whose(&self, headers: &HeaderMap, body: Body) -> Result<&WebhookConfig, Answer> {
        if self.configured.is_empty() {
            return Err(CLOSED);
        }
        let now_s = (self.clock)() / 1000;
        let mut proofs = Vec::new();
        for webhook in &self.configured {
            if let Some(proof) = webhook.forge.proof(headers, now_s) {
                proofs.push((webhook, proof));
            }
        }
        if proofs.is_empty() {
            return Err(if is_signed(headers) { UNKNOWN } else { UNSIGNED });
        }
        let _place = self.places.try_acquire().map_err(|_| BUSY)?;
        let mut macs = Vec::new();
        for (webhook, proof) in proofs {
            let Some(secret) = secret(webhook).await else { continue };
            match proof {
                Proof::Secret(given) if given.as_bytes().ct_eq(&secret).into() => return Ok(webhook),
                Proof::Secret(_) => {}
                Proof::Signatures { before, any } => {
                    let mut mac =
                        Hmac::<Sha256>::new_from_slice(&key(&secret)).expect("HMAC takes keys of any length");
                    mac.update(before.as_bytes());
                    macs.push((webhook, mac, any));
                }
            }
        }
        if macs.is_empty() {
            return Err(UNKNOWN);
        }
        let read = read(body.into_data_stream(), |chunk| {
            macs.iter_mut().for_each(|(_, mac, _)| mac.update(chunk));
        });
        tokio::time::timeout(PATIENCE, read).await.map_err(|_| SLOW)??;
        let is_one = |mac: Hmac<Sha256>, any: Vec<Vec<u8>>| {
            any.into_iter().any(|signature| mac.clone().verify_slice(&signature).is_ok())
        };
        macs.into_iter().find_map(|(webhook, mac, any)| is_one(mac, any).then_some(webhook)).ok_or(UNKNOWN)
    }
}

impl Forge {
    /// What a request has to show that it is of such a forge.
    fn proof(self, headers: &HeaderMap, now_s: u64) -> Option<Proof<'_>> {
        let signed = |name: &str| text(headers, name).and_then(|value| hex(value.strip_prefix("sha256=")?));
        let bare = |name: &str| text(headers, name).and_then(hex);
        let of_body = |signature| Proof::Signatures { before: String::new(), any: vec![signature] };
        let gitlab = || text(headers, "x-gitlab-token").map(Proof::Secret);
        match self {
            Self::GitHub => signed("x-hub-signature-256").map(of_body),
            Self::Gitea => bare("x-gitea-signature").or_else(|| bare("x-forgejo-signature")).map(of_body),
            Self::Bitbucket => signed("x-hub-signature").map(of_body),
            Self::GitLab => standard(headers, now_s).or_else(gitlab),
            Self::Generic => standard(headers, now_s).or_else(|| signed("x-hub-signature-256").map(of_body)),
        }
    }

    /// Whether a request is about a push; what does not say is taken for one.
    fn is_push(self, headers: &HeaderMap) -> bool {
        let (name, pushes): (&str, &[&str]) = match self {
            Self::GitHub => ("x-github-event", &["push"]),
            Self::Gitea => ("x-gitea-event", &["push"]),
            Self::GitLab => ("x-gitlab-event", &["Push Hook", "Tag Push Hook", "System Hook"]),
            Self::Bitbucket => ("x-event-key", &["repo:push", "repo:refs_changed"]),
            Self::Generic => return true,
        };
        text(headers, name).is_none_or(|event| pushes.contains(&event))
    }
}

/// The signatures of Standard Webhooks, of which one has to be right; none where their time is not now.
fn standard(headers: &HeaderMap, now_s: u64) -> Option<Proof<'static>> {
    let (id, at) = (text(headers, "webhook-id")?, text(headers, "webhook-timestamp")?);
    let signed = text(headers, "webhook-signature")?.split(' ');
    let any: Vec<Vec<u8>> = signed.filter_map(|one| STANDARD.decode(one.strip_prefix("v1,")?).ok()).collect();
    let is_now = at.parse::<u64>().is_ok_and(|at| at.abs_diff(now_s) <= HOLDS_S);
    (is_now && !any.is_empty()).then(|| Proof::Signatures { before: format!("{id}.{at}."), any })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn is_signed(headers: &HeaderMap) -> bool {
    let names = [
        "x-hub-signature-256",
        "x-hub-signature",
        "x-gitea-signature",
        "x-forgejo-signature",
        "x-gitlab-token",
        "webhook-signature",
    ];
    names.iter().any(|name| headers.contains_key(*name))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// The secret as its file has it now, so that a renewed one holds without a restart.
async fn secret(webhook: &WebhookConfig) -> Option<Zeroizing<Vec<u8>>> {
    let read = async {
        let mut secret = Zeroizing::new(Vec::new());
        let file = tokio::fs::File::open(&webhook.secret_file).await?;
        file.take(LONGEST_SECRET).read_to_end(&mut secret).await?;
        Ok::<_, std::io::Error>(Zeroizing::new(secret.trim_ascii().to_vec()))
    };
    match read.await {
        Ok(secret) if !secret.is_empty() => Some(secret),
        Ok(_) => {
            warn!(webhook = webhook.name, file = %webhook.secret_file.display(), "the secret of a webhook is empty; it takes nothing");
            None
        }
        Err(error) => {
            warn!(webhook = webhook.name, file = %webhook.secret_file.display(), %error, "the secret of a webhook cannot be read");
            None
        }
    }
}

/// What signs: Standard Webhooks write keys in base64 behind `whsec_`.
fn key(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    let decoded = secret.strip_prefix(b"whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    Zeroizing::new(decoded.unwrap_or_else(|| secret.to_vec()))
}

/// Reads a body chunk by chunk.
async fn read(mut body: BodyDataStream, mut each: impl FnMut(&[u8])) -> Result<(), Answer> {
    let mut length = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| CUT)?;
        length += chunk.len();
        if length > LONGEST {
            return Err(LARGE);
        }
        each(&chunk);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
