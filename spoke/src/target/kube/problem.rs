//! Problem: what an API server (or the way to it) answered becomes one of the ways in which a target fails.
//!
//! In: HTTP status and `Status` body, or the error of a request that got no answer. Out: [`Problem`].
//! Never: retries, and never takes "could not see" for "is not there".

use kube::core::Status;
use kube::core::response::StatusCause;

use crate::target::TargetError;

/// A request that failed, classified.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// HTTP status; 0 without an answer.
    pub code: u16,
    /// For the caller of the target.
    pub error: TargetError,
    /// The fields that others own, where a server-side apply met them: the field as the server writes it, and the manager.
    pub contested: Vec<(String, String)>,
    /// An object of this name is there already.
    pub name_is_taken: bool,
    /// An address or a port is somebody's already; of an object that is there, its own.
    pub is_allocated: bool,
    /// The server said so of exactly the object (or group) that was asked for.
    named: bool,
}

impl Problem {
    /// An answer of 400 or above.
    pub fn answered(code: u16, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<Status>(body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body[..body.len().min(MAX_TEXT)]);
            Status::failure(text.trim(), "").with_code(code)
        });
        let named = status.details.as_ref().is_some_and(|d| !d.name.is_empty());
        let contested = contested(&status);
        let name_is_taken = code == 409 && status.reason == "AlreadyExists";
        let is_allocated = code == 422 && all_causes(&status, |said| said.contains("already allocated"));
        Self { code, error: classify(code, &status), contested, name_is_taken, is_allocated, named }
    }

    /// No answer.
    pub fn unanswered(what: impl std::fmt::Display) -> Self {
        Self {
            code: 0,
            error: TargetError::Unreachable(what.to_string()),
            contested: Vec::new(),
            name_is_taken: false,
            is_allocated: false,
            named: false,
        }
    }

    /// The server knows the kind, and says that this object is not there.
    pub fn is_absent(&self) -> bool {
        self.code == 404 && self.named
    }

    /// The server does not know the path: group, version or kind is not served.
    pub fn is_not_served(&self) -> bool {
        self.code == 404 && !self.named
    }
}

impl From<Problem> for TargetError {
    fn from(problem: Problem) -> Self {
        problem.error
    }
}

/// An answer that is no `Status` is shown up to here: enough for a proxy's sentence, not for its page.
const MAX_TEXT: usize = 300;

/// What a 500 says when the object, not the server, is at fault: server-side apply before v1.21 had no better code.
const AT_FAULT_IS_THE_OBJECT: &[&str] = &[
    "field not declared in schema",
    "failed to create typed patch object",
    "failed to create typed new object",
    "error decoding patch",
    "cannot unmarshal",
    "unable to convert unstructured object",
    "duplicate entries for key",
];

/// What the server says when it could not ask a webhook: itself it is well, and so may be all other objects.
const OF_A_WEBHOOK: &[&str] = &["failed calling webhook", "failed to call webhook", "conversion webhook for"];

fn classify(code: u16, status: &Status) -> TargetError {
    let message = said(code, status);
    match code {
        404 if of_namespace(status) => {
            TargetError::Refused(format!("{message}; add it to the app, or set `namespace.create`"))
        }
        404 if status.details.as_ref().is_some_and(|d| !d.name.is_empty()) => TargetError::Refused(message),
        404 => TargetError::NotServed(message),
        409 => conflict(status).map_or(TargetError::Unreachable(message), TargetError::Conflict),
        // A namespace on its way out; it may be created again once it is gone.
        403 if message.contains("is being terminated") => TargetError::Terminating { message, stuck: false },
        403 if message.contains("cannot ") && message.contains("is forbidden: User") => {
            TargetError::Forbidden(message)
        }
        422 if all_causes(status, is_immutable) => TargetError::Immutable(message),
        500.. if OF_A_WEBHOOK.iter().any(|known| message.contains(known)) => {
            TargetError::WebhookDown(message)
        }
        500 if AT_FAULT_IS_THE_OBJECT.iter().any(|known| message.contains(known)) => {
            TargetError::Refused(message)
        }
        // Expired or not yet known credentials, an expired list, overload: the same request may work later.
        401 | 408 | 410 | 429 | 500.. => TargetError::Unreachable(message),
        _ => TargetError::Refused(message),
    }
}

fn said(code: u16, status: &Status) -> String {
    match (status.message.as_str(), code) {
        ("", 401) => "the API server does not accept these credentials".into(),
        ("", code) => format!("the API server answered {code}"),
        (message, 401) => format!("the API server does not accept these credentials: {message}"),
        (message, _) => message.to_owned(),
    }
}

fn of_namespace(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|d| d.kind == "namespaces" && !d.name.is_empty())
}

/// What API servers say of a field that cannot be changed.
const IMMUTABLE: &[&str] = &[
    "field is immutable",
    "is immutable after creation",
    "updates to statefulset spec for fields other than",
    "spec is immutable after creation",
    "cannot change roleRef",
    "may not be changed once set",
    "may not change once set",
    "is immutable",
    "updates to parameters are forbidden",
    "updates to provisioner are forbidden",
    "updates to reclaimPolicy are forbidden",
    "pod updates may not change fields other than",
];

fn is_immutable(message: &str) -> bool {
    IMMUTABLE.iter().any(|known| message.contains(known))
}

/// Whether causes are given, and this holds for every one of them. An object that is wrong in another way too would not be
/// taken after it was deleted either.
fn all_causes(status: &Status, holds: impl Fn(&str) -> bool) -> bool {
    let causes = status.details.as_ref().map(|details| details.causes.as_slice()).unwrap_or_default();
    !causes.is_empty() && causes.iter().all(|cause| holds(&cause.message))
}

fn contested(status: &Status) -> Vec<(String, String)> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| (cause.field.clone(), manager(cause).to_owned()))
        .collect()
}

/// Managers and fields of a server-side apply's conflict; `None` for other conflicts (a race), which pass.
fn conflict(status: &Status) -> Option<String> {
    let causes = &status.details.as_ref()?.causes;
    let fields: Vec<_> = causes.iter().filter(|c| c.reason == "FieldManagerConflict").map(told).collect();
    (!fields.is_empty()).then(|| format!("owned by another manager: {}", fields.join("; ")))
}

fn told(cause: &StatusCause) -> String {
    format!("{} by {:?}", cause.field, manager(cause))
}

/// The server says `conflict with "kubectl" using apps/v1`, and at times adds a time.
fn manager(cause: &StatusCause) -> &str {
    cause.message.split('"').nth(1).unwrap_or(&cause.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(error: &TargetError) -> String {
        match error {
            TargetError::Refused(m) => format!("Refused {m}"),
            TargetError::Conflict(m) => format!("Conflict {m}"),
            TargetError::NotServed(m) => format!("NotServed {m}"),
            TargetError::Unreachable(m) => format!("Unreachable {m}"),
            TargetError::WebhookDown(m) => format!("WebhookDown {m}"),
            TargetError::NotAdopted(m) => format!("NotAdopted {m}"),
            TargetError::Immutable(m) => format!("Immutable {m}"),
            TargetError::Forbidden(m) => format!("Forbidden {m}"),
            TargetError::Terminating { message, .. } => format!("Terminating {message}"),
        }
    }

    #[test]
    fn each_answer_says_in_which_way_it_failed() {
        let conflict = r#"{"message":"Apply failed with 1 conflict","details":{"causes":[{"reason":"FieldManagerConflict","field":".spec.replicas","message":"conflict with \"kubectl\" using apps/v1"}]}}"#;
        let rows = [
            (400, r#"{"message":"bad"}"#, "Refused bad"),
            (422, r#"{"message":"spec.x: Invalid value"}"#, "Refused spec.x: Invalid value"),
            (403, r#"{"message":"exceeded quota"}"#, "Refused exceeded quota"),
            (
                403,
                r#"{"message":"x is forbidden: User \"a\" cannot patch resource \"x\""}"#,
                "Forbidden x is forbidden: User \"a\" cannot patch resource \"x\"",
            ),
            (
                422,
                r#"{"message":"spec.selector: 1: field is immutable","details":{"causes":[{"field":"spec.selector","message":"Invalid value: 1: field is immutable"}]}}"#,
                "Immutable spec.selector: 1: field is immutable",
            ),
            (
                422,
                r#"{"message":"[x: field is immutable, y: bad]","details":{"causes":[{"message":"field is immutable"},{"message":"`selector` does not match template `labels`"}]}}"#,
                "Refused [x: field is immutable, y: bad]",
            ),
            (422, r#"{"message":"x: field is immutable"}"#, "Refused x: field is immutable"),
            (
                403,
                r#"{"message":"admission webhook \"p\" denied the request: image is immutable","details":{"causes":[{"message":"image is immutable"}]}}"#,
                "Refused admission webhook \"p\" denied the request: image is immutable",
            ),
            (
                500,
                r#"{"message":"Internal error occurred: failed calling webhook \"p\": connection refused"}"#,
                "WebhookDown Internal error occurred: failed calling webhook \"p\": connection refused",
            ),
            (
                403,
                r#"{"message":"unable to create new content in namespace x because it is being terminated"}"#,
                "Terminating unable to create new content in namespace x because it is being terminated",
            ),
            (
                401,
                r#"{"message":"Unauthorized"}"#,
                "Unreachable the API server does not accept these credentials: Unauthorized",
            ),
            (404, "404 page not found\n", "NotServed 404 page not found"),
            (
                404,
                r#"{"message":"the server could not find the requested resource","details":{}}"#,
                "NotServed the server could not find the requested resource",
            ),
            (
                404,
                r#"{"message":"namespaces \"x\" not found","details":{"name":"x","kind":"namespaces"}}"#,
                "Refused namespaces \"x\" not found; add it to the app, or set `namespace.create`",
            ),
            (409, conflict, "Conflict owned by another manager: .spec.replicas by \"kubectl\""),
            (
                409,
                r#"{"message":"the object has been modified"}"#,
                "Unreachable the object has been modified",
            ),
            (
                410,
                r#"{"message":"The provided continue parameter is too old"}"#,
                "Unreachable The provided continue parameter is too old",
            ),
            (429, "", "Unreachable the API server answered 429"),
            (
                500,
                r#"{"message":"etcdserver: request timed out"}"#,
                "Unreachable etcdserver: request timed out",
            ),
            (
                500,
                r#"{"message":".spec.foo: field not declared in schema"}"#,
                "Refused .spec.foo: field not declared in schema",
            ),
            (503, "no healthy upstream", "Unreachable no healthy upstream"),
        ];
        for (code, body, expected) in rows {
            assert_eq!(class(&Problem::answered(code, body.as_bytes()).error), expected, "{code} {body}");
        }
    }

    #[test]
    fn a_creation_that_pretends_says_whether_only_the_object_itself_is_in_its_way() {
        let allocated = r#""details":{"causes":[{"field":"spec.clusterIPs","message":"Invalid value: provided IP is already allocated"}]}"#;
        let rows = [
            (409, r#"{"reason":"AlreadyExists","message":"it exists"}"#.to_owned(), (true, false)),
            (409, r#"{"reason":"Conflict","message":"it was modified"}"#.to_owned(), (false, false)),
            (422, format!("{{{allocated}}}"), (false, true)),
            (422, r#"{"details":{"causes":[{"message":"Required value"}]}}"#.to_owned(), (false, false)),
            (403, r#"{"message":"already exists, already allocated"}"#.to_owned(), (false, false)),
        ];
        for (code, body, expected) in rows {
            let problem = Problem::answered(code, body.as_bytes());
            assert_eq!((problem.name_is_taken, problem.is_allocated), expected, "{code} {body}");
        }
    }

    #[test]
    fn an_absent_object_is_not_an_unserved_kind() {
        let object =
            Problem::answered(404, br#"{"reason":"NotFound","details":{"name":"a","kind":"configmaps"}}"#);
        let kind = Problem::answered(404, b"404 page not found");
        assert!(object.is_absent() && !object.is_not_served());
        assert!(kind.is_not_served() && !kind.is_absent());
        assert!(!Problem::answered(503, b"").is_absent() && !Problem::unanswered("timed out").is_absent());
    }
}
