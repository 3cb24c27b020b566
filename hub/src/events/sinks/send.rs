//! Sending: one request, and what its answer means.
//!
//! In: a message. Out: taken, refused for good, or to be repeated, and after how long.
//! Never: follows a redirect, which would carry a token elsewhere; says a URL, which may be a secret; waits without end.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Certificate, StatusCode};

use super::message::Message;

/// From the first byte of a request to the last of its answer.
const TIMEOUT: Duration = Duration::from_secs(15);
/// TCP and TLS.
const CONNECT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: enough for what a forge says of its reasons.
const ANSWER: usize = 8 << 10;
/// Of these, so many are told, in characters.
const TOLD: usize = 200;

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken,
    /// It never will be.
    Refused(String),
    /// It may be later.
    Later {
        /// Why not now.
        why: String,
        /// After how long, if the server said so.
        after: Option<Duration>,
    },
}

/// Sends. Its connections are kept between messages.
pub struct Client {
    ca_file: Option<PathBuf>,
    made: Option<reqwest::Client>,
}

impl Client {
    /// One that checks servers by the authorities in a file, or by the machine's.
    pub fn new(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file, made: None }
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) -> Outcome {
        let client = match self.client().await {
            Ok(client) => client,
            Err(why) => return Outcome::Later { why, after: None },
        };
        let mut request =
            client.post(message.url).header(CONTENT_TYPE, "application/json").body(message.body);
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        match request.send().await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                judge(status, &headers, &read(answer).await)
            }
            Err(error) => {
                // The file of authorities may be another by the next time.
                self.made = None;
                let error = error.without_url();
                Outcome::Later { why: crate::deciding::run::chain(&error), after: None }
            }
        }
    }

    async fn client(&mut self) -> Result<reqwest::Client, String> {
        if let Some(client) = &self.made {
            return Ok(client.clone());
        }
        // reqwest panics without a default provider; installing one twice is harmless.
        rustls::crypto::ring::default_provider().install_default().ok();
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT)
            .redirect(Policy::none())
            .user_agent(concat!("nave-hub/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.ca_file {
            let wrong = |why: String| format!("the authorities in {}: {why}", file.display());
            let pem = tokio::time::timeout(CONNECT, tokio::fs::read(file)).await;
            let pem = pem.map_err(|_| wrong("not read in time".to_owned()))?;
            let pem = pem.map_err(|error| wrong(error.to_string()))?;
            let certificates =
                Certificate::from_pem_bundle(&pem).map_err(|error| wrong(error.to_string()))?;
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|error| crate::deciding::run::chain(&error))?;
        self.made = Some(client.clone());
        Ok(client)
    }
}

/// The beginning of an answer; what breaks off is as good as what came.
async fn read(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER {
        match answer.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    bytes.truncate(ANSWER);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn judge(status: StatusCode, headers: &HeaderMap, body: &str) -> Outcome {
    // GitLab's word for a commit that has this status already.
    let is_so_already = status == StatusCode::BAD_REQUEST && body.contains("Cannot transition status");
    if status.is_success() || is_so_already {
        return Outcome::Taken;
    }
    let said: String = body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TOLD).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let why = format!("HTTP {}{said}", status.as_u16());
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let after =
        header(RETRY_AFTER.as_str()).and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    // GitHub says so too when somebody asks too often.
    let is_limited = status == StatusCode::FORBIDDEN
        && (after.is_some() || header("x-ratelimit-remaining").is_some_and(|left| left.trim() == "0"));
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Outcome::Later { why, after }
        }
        _ if status.is_server_error() || is_limited => Outcome::Later { why, after },
        _ if status.is_redirection() => Outcome::Refused(format!(
            "{why} (redirects are not followed; configure the URL that it leads to)"
        )),
        _ => Outcome::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_refused_or_later() {
        let later = |why: &str, after: Option<u64>| Outcome::Later {
            why: why.into(),
            after: after.map(Duration::from_secs),
        };
        let rows = [
            (200, None, "", Outcome::Taken),
            (204, None, "", Outcome::Taken),
            (400, None, "{message: Cannot transition status via :run from :running}", Outcome::Taken),
            (400, None, "no\n such  thing", Outcome::Refused("HTTP 400: no such thing".into())),
            (401, None, "", Outcome::Refused("HTTP 401".into())),
            (403, None, "", Outcome::Refused("HTTP 403".into())),
            (403, Some("7"), "", later("HTTP 403", Some(7))),
            (408, None, "", later("HTTP 408", None)),
            (425, None, "", later("HTTP 425", None)),
            (429, Some("30"), "", later("HTTP 429", Some(30))),
            (429, Some("Fri, 31 Dec 1999 23:59:59 GMT"), "", later("HTTP 429", None)),
            (500, None, "", later("HTTP 500", None)),
            (503, Some("5"), "", later("HTTP 503", Some(5))),
        ];
        for (status, retry_after, body, expected) in rows {
            let mut headers = HeaderMap::new();
            if let Some(value) = retry_after {
                headers.insert(RETRY_AFTER, value.parse().expect("a header"));
            }
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(judge(status, &headers, body), expected, "{status} {retry_after:?}");
        }
        let moved = judge(StatusCode::FOUND, &HeaderMap::new(), "");
        assert!(
            matches!(&moved, Outcome::Refused(why) if why.contains("redirects are not followed")),
            "{moved:?}"
        );
    }
}
