//! Ask: questions about a cluster, put to its API server.
//!
//! In: an inquiry. Out: one bounded document, without the value of any Secret.
//! Never: writes (what may look like it is a dry-run), keeps anything.
//!
//! | module | in | out |
//! |---|---|---|
//! | `kind` | what somebody typed | the kind that is meant, by the cluster's own names |
//! | `objects` | a kind, names, labels | the table that kubectl would print, or whole objects |
//! | `images` | | what containers run |
//! | `diff` | what an app wants | what applying it would change, and who manages what is there |
//! | `events`, `logs` | an object | what was said about it, and by it |

mod diff;
mod events;
mod images;
mod kind;
mod logs;
mod objects;

use http::HeaderValue;
use http::header::ACCEPT;
use kube::core::discovery::ApiResource;
use kube::core::request::Error as BuildError;

use super::shared::Shared;
use super::wire::HttpRequest;
use crate::target::ask::{Answer, Inquiry, Question, Refusal};

/// Requests at once for one question: as many as the enforcer makes, so that it keeps at least half.
const AT_ONCE: usize = 4;

impl Shared {
    pub async fn answer(&self, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        match &inquiry.question {
            Question::Objects(asked) => self.live_objects(asked, &inquiry.asker).await,
            Question::Images => self.images().await,
            Question::Diff(app) => self.diff(app, inquiry).await,
            Question::Adoption(app) => self.adoption(app, inquiry).await,
            Question::Events(about) => self.events(about).await,
            Question::Logs(asked) => self.logs(asked).await,
        }
    }
}

/// The same request, for an answer of another media type.
fn accepting(
    request: Result<HttpRequest, BuildError>,
    media: &'static str,
) -> Result<HttpRequest, BuildError> {
    request.map(|mut request| {
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(media));
        request
    })
}

/// Whether a kind is the core group's Secret, whatever version was asked for.
fn is_secret(kind: &ApiResource) -> bool {
    kind.group.is_empty() && kind.kind == "Secret"
}
