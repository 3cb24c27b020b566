//! servers: what servers of Git and of tokens answer who mean no good. In: what they are to send, or where they lead. Out: answers.
//! Never: shows anything; ends what is without end.

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use harness::charts::{Answer, Made};

use crate::hostile::packs::{Repository, Sent, packet};

const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";

/// What speaks the second version of Git's protocol.
fn advertisement() -> Vec<u8> {
    let lines = ["version 2\n", "agent=git/2.50.0\n", "ls-refs\n", "fetch=shallow\n", "object-format=sha1\n"];
    let lines: Vec<u8> = lines.iter().flat_map(|line| packet(line.as_bytes())).collect();
    [packet(b"# service=git-upload-pack\n"), b"0000".to_vec(), lines, b"0000".to_vec()].concat()
}

fn body(sent: &Sent) -> Body {
    let first = stream::iter([Bytes::from(sent.first.clone())]);
    let then = sent.then.clone().map(|then| stream::repeat(Bytes::from(then)));
    let then = stream::iter(then).flatten();
    Body::from_stream(first.chain(then).map(Ok::<_, std::io::Error>))
}

/// What answers who asks for references, at `/info/refs`; or who shows a password, too.
pub fn begins(wants: bool) -> Answer {
    Made::by(move |asked, _| match wants && asked.authorization.is_none() {
        true => wants_a_password(),
        false => ([(CONTENT_TYPE, ADVERTISEMENT)], advertisement()).into_response(),
    })
}

/// What answers at `/git-upload-pack`.
pub fn sends(repository: Repository) -> Answer {
    Made::by(move |_, asked| {
        let asks_for_references = asked.windows(15).any(|words| words == b"command=ls-refs");
        let sent = if asks_for_references { &repository.references } else { &repository.pack };
        ([(CONTENT_TYPE, RESULT)], body(sent)).into_response()
    })
}

fn wants_a_password() -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"git\"")]).into_response()
}

/// Wants a password, and gives nothing for it.
pub fn wants() -> Answer {
    Made::by(|_, _| wants_a_password())
}

/// Leads whoever shows a password to another place, by this status.
pub fn leads(status: u16, to: String) -> Answer {
    let status = StatusCode::from_u16(status).expect("a status");
    Made::by(move |asked, _| match asked.authorization {
        None => wants_a_password(),
        Some(_) => (status, [(LOCATION, to.clone())]).into_response(),
    })
}

/// Wants a token, as this header says.
pub fn challenges(header: String) -> Answer {
    Made::by(move |_, _| (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, header.clone())]).into_response())
}

/// Says this.
pub fn says(text: String) -> Answer {
    Made::by(move |_, _| text.clone().into_response())
}
