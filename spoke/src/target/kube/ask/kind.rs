//! Kind: what somebody typed, as kubectl takes it.
//!
//! In: a kind, plural, singular or short name, with `.GROUP` or `.VERSION.GROUP` behind it where needed. Out: the kind.
//! Never: keeps short names in memory: they are asked for when somebody types one.

use futures::StreamExt as _;
use kube::core::discovery::ApiResource;
use nave_placement::render::{Scope, Scopes as _};
use serde_json::Value;

use super::super::problem::Problem;
use super::super::shared::{Shared, text};
use super::AT_ONCE;
use crate::target::ask::Refusal;

/// The kind that was meant, and whether its objects live in namespaces.
pub(super) struct Meant {
    pub resource: ApiResource,
    pub namespaced: bool,
}

impl Meant {
    /// The namespace to ask in: none for what lives in none.
    pub fn place<'a>(&self, namespace: &'a str) -> &'a str {
        if self.namespaced { namespace } else { "" }
    }
}

/// What was typed, in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Typed {
    name: String,
    /// Only this group; `Some("")` is the core group.
    group: Option<String>,
    version: Option<String>,
}

/// `deployments.v1.apps`, `deployments.apps`, `secrets.v1.`, `deploy`.
fn read(typed: &str) -> Typed {
    let typed = typed.trim().to_ascii_lowercase();
    let Some((name, rest)) = typed.split_once('.') else {
        return Typed { name: typed, group: None, version: None };
    };
    let is_version = |text: &str| {
        let number = text.strip_prefix('v').unwrap_or_default();
        number.starts_with(|c: char| c.is_ascii_digit()) && number.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let (version, group) = match rest.split_once('.') {
        Some((version, group)) if is_version(version) => (Some(version.to_owned()), group),
        None if is_version(rest) => (Some(rest.to_owned()), ""),
        _ => (None, rest),
    };
    Typed { name: name.to_owned(), group: Some(group.to_owned()), version }
}

impl Shared {
    /// The kind that is meant: of several groups that have it, the first in the cluster's own order, as kubectl takes it.
    pub(super) async fn meant(&self, typed: &str) -> Result<Meant, Refusal> {
        let wanted = read(typed);
        let unknown = || Refusal(format!("this cluster serves no kind {typed:?}"));
        if wanted.name.is_empty() {
            return Err(Refusal("the question names no kind".into()));
        }
        let kinds = self.kinds();
        let known = kinds.named(&wanted.name, wanted.group.as_deref());
        let (group, kind) = match known.as_slice() {
            [one] => one.clone(),
            // The core group comes first everywhere; and where nothing is known, the name may be a short one.
            [first, ..] if first.0.is_empty() => first.clone(),
            _ => self.look_up(&wanted).await?.ok_or_else(unknown)?,
        };
        if self.kinds().scope(&group, &kind).is_none() {
            self.discover_group(&group).await.map_err(refused)?;
        }
        let kinds = self.kinds();
        let resource = match &wanted.version {
            Some(version) if group.is_empty() => kinds.exactly(version, &kind),
            Some(version) => kinds.exactly(&format!("{group}/{version}"), &kind),
            None => kinds.preferred(&group, &kind),
        };
        let namespaced = kinds.scope(&group, &kind) == Some(Scope::Namespaced);
        resource.map(|resource| Meant { resource, namespaced }).ok_or_else(unknown)
    }

    /// Asks the cluster's discovery documents, group by group in its order, until one has the name.
    async fn look_up(&self, wanted: &Typed) -> Result<Option<(String, String)>, Refusal> {
        let listed = self.wire.document("", "apis").await.map_err(refused)?;
        let listed = listed.get("groups").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut documents = Vec::new();
        if wanted.group.as_ref().is_none_or(String::is_empty) {
            documents.push(self.document_of(String::new(), "v1".to_owned()));
        }
        for group in &listed {
            let (name, version) = (text(group, "/name"), text(group, "/preferredVersion/version"));
            if wanted.group.as_ref().is_none_or(|only| only == name) {
                documents.push(self.document_of(name.to_owned(), version.to_owned()));
            }
        }
        // In order, so that the first that has it is the first of the cluster's.
        let mut answers = futures::stream::iter(documents).buffered(AT_ONCE);
        let mut failed = None;
        while let Some((group, document)) = answers.next().await {
            match document {
                Ok(document) => {
                    if let Some(kind) = kind_of(&document, &wanted.name) {
                        return Ok(Some((group, kind)));
                    }
                }
                Err(problem) if problem.is_not_served() => {}
                // An aggregated API that is down says nothing about the others.
                Err(problem) => failed = Some(format!("{group}: {}", problem.error)),
            }
        }
        match failed {
            Some(failed) => {
                let name = &wanted.name;
                Err(Refusal(format!(
                    "no kind {name:?} was found, and not all of the cluster's APIs answered: {failed}"
                )))
            }
            None => Ok(None),
        }
    }
}

impl Shared {
    async fn document_of(&self, group: String, version: String) -> (String, Result<Value, Problem>) {
        let parent = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        let document = self.wire.document(&parent, &version).await;
        (group, document)
    }
}

fn refused(problem: Problem) -> Refusal {
    problem.error.into()
}

/// The kind that has this name in a discovery document.
fn kind_of(document: &Value, name: &str) -> Option<String> {
    let resources = document.get("resources")?.as_array()?;
    let of = |resource: &&Value| {
        let plural = text(resource, "/name");
        let short = resource.get("shortNames").and_then(Value::as_array).into_iter().flatten();
        !plural.contains('/')
            && (plural == name
                || text(resource, "/singularName") == name
                || text(resource, "/kind").eq_ignore_ascii_case(name)
                || short.filter_map(Value::as_str).any(|short| short == name))
    };
    resources.iter().find(of).map(|resource| text(resource, "/kind").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_read_as_kubectl_reads_them() {
        let typed = |name: &str, group: Option<&str>, version: Option<&str>| Typed {
            name: name.into(),
            group: group.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        let rows = [
            ("Pods", typed("pods", None, None)),
            ("deployments.apps", typed("deployments", Some("apps"), None)),
            ("deployments.v1.apps", typed("deployments", Some("apps"), Some("v1"))),
            ("secrets.v1.", typed("secrets", Some(""), Some("v1"))),
            ("secrets.v1", typed("secrets", Some(""), Some("v1"))),
            ("widgets.example.com", typed("widgets", Some("example.com"), None)),
            ("widgets.vendor.example.com", typed("widgets", Some("vendor.example.com"), None)),
        ];
        for (text, expected) in rows {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_document_names_its_kinds_in_every_way() {
        let document = json!({"resources": [
            {"name": "pods/log", "kind": "Pod", "singularName": ""},
            {"name": "pods", "kind": "Pod", "singularName": "", "shortNames": ["po"]},
            {"name": "policies", "kind": "Policy", "singularName": "policy"},
        ]});
        for (name, expected) in [
            ("po", Some("Pod")),
            ("pods", Some("Pod")),
            ("pod", Some("Pod")),
            ("policy", Some("Policy")),
            ("pods/log", None),
            ("p", None),
        ] {
            assert_eq!(kind_of(&document, name).as_deref(), expected, "{name}");
        }
    }
}
