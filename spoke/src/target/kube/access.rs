//! Access: what the API server lets this spoke do, asked of itself.
//!
//! In: a verb, a resource, a place. Out: yes or no. Never: tries a thing in order to find out.

use kube::api::PostParams;
use nave_placement::AppKey;
use serde_json::{Value, json};

use super::kinds::builtin;
use super::marks::Marks;
use super::timings::Timings;
use super::wire::{Wire, path};
use crate::target::TargetError;

/// Something that one wants to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// `get`, `list`, …
    pub verb: &'static str,
    /// The API group.
    pub group: String,
    /// The resource, in plural.
    pub resource: String,
    /// Where; everywhere, or in the cluster, when empty.
    pub namespace: String,
    /// Which; any, when empty.
    pub name: String,
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        let dotted = |f: &mut std::fmt::Formatter<'_>| write!(f, ".{}", self.group);
        if !self.group.is_empty() {
            dotted(f)?;
        }
        if !self.name.is_empty() {
            write!(f, "/{}", self.name)?;
        }
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in namespace {}", self.namespace) }
    }
}

/// Whether this client's user has a right.
///
/// # Errors
/// When the API server does not say.
pub async fn may(client: &kube::Client, right: &Right) -> Result<bool, TargetError> {
    let wire = Wire::new(client.clone(), Timings::default());
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": right.verb, "group": right.group, "resource": right.resource,
            "namespace": right.namespace, "name": right.name,
        }},
    });
    let reviews = builtin("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews");
    let request = path(&reviews, "").create(&PostParams::default(), body.to_string().into_bytes());
    let answer = wire.send(request).await?.body;
    Ok(answer.pointer("/status/allowed").and_then(Value::as_bool).unwrap_or_default())
}

/// The name of the ConfigMap with an app's inventory.
pub fn inventory_name(app: &AppKey) -> String {
    Marks::parent_name(app)
}
