//! Fault: what can happen to a request on its way to an API server and back.
//!
//! In: what a test wants. Out: answers as an API server, or what stands before it, would give them. Pure.

use std::time::Duration;

use axum::body::Body;
use hyper::Response;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::json;

/// What happens to a request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It never reaches the server, and is answered so. 429 and 503 may say when to come again.
    Answer {
        /// The status.
        code: u16,
        /// Whole seconds.
        retry_after: Option<Duration>,
    },
    /// It reaches the server this much later.
    Delay(Duration),
    /// The connection is reset before it reaches the server.
    CutBefore,
    /// The server has done it and answered, and the connection is reset before the client hears.
    CutAfter,
    /// It never reaches the server; the client hears nothing, and the connection stays open.
    HangBefore,
    /// The server has done it and answered; the client hears nothing, and the connection stays open.
    HangAfter,
    /// The answer begins, and the connection is reset after so many bytes of its body.
    ResetInBody(usize),
    /// The answer ends in good order after half of its body, which is no JSON any more.
    Truncate,
    /// A watch begins and tells at once that its version is too old; a list with a `continue` is refused so.
    Expired,
}

impl Fault {
    /// The answer of an API server that refuses with a code.
    pub fn answer(code: u16) -> Self {
        Self::Answer { code, retry_after: None }
    }

    /// As [`Fault::answer`], and asks to come again after whole seconds.
    pub fn after(code: u16, seconds: u64) -> Self {
        Self::Answer { code, retry_after: Some(Duration::from_secs(seconds)) }
    }
}

/// The answer of an API server that refuses.
pub(super) fn refusal(code: u16, retry_after: Option<Duration>) -> Response<Body> {
    let (reason, message) = match code {
        401 => ("Unauthorized", "Unauthorized"),
        403 => ("Forbidden", "forbidden: the test forbids it"),
        410 => ("Expired", "The provided continue parameter is too old to display a consistent list result."),
        429 => ("TooManyRequests", "Too many requests, please try again later."),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "Timeout: request did not complete within requested timeout"),
        _ => ("InternalError", "Internal error occurred: the test wants it"),
    };
    let mut status = status(code, reason, message);
    let mut response = Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    if let Some(wait) = retry_after {
        status["details"] = json!({"retryAfterSeconds": wait.as_secs()});
        response = response.header(RETRY_AFTER, wait.as_secs());
    }
    response.body(Body::from(status.to_string())).expect("its parts are constants and numbers")
}

/// A watch stream that says that the version which it was asked to begin at is gone.
pub(super) fn expired() -> Response<Body> {
    let object = status(410, "Expired", "too old resource version");
    let line = json!({"type": "ERROR", "object": object}).to_string() + "\n";
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(line))
        .expect("its parts are constants")
}

fn status(code: u16, reason: &str, message: &str) -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message})
}
