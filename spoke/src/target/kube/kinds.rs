//! Kinds: what the API server serves, asked for and remembered.
//!
//! In: its discovery documents, aggregated where it has them. Out: [`Kinds`], which answer for scopes and paths.
//! Never: forgets a group because its documents could not be read (an aggregated API that is down serves them badly).

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use kube::core::discovery::ApiResource;
use kube::core::discovery::v2::{ACCEPT_AGGREGATED_DISCOVERY_V2, APIGroupDiscovery, APIGroupDiscoveryList};
use kube::core::request::Error as BuildError;
use nave_placement::render::{Scope, Scopes};
use serde_json::Value;

use super::problem::Problem;
use super::wire::Wire;

/// How many discovery documents are asked for at once, where they are not aggregated.
const AT_ONCE: usize = 4;

/// A kind of the core group, which every API server serves.
pub fn core(kind: &str, plural: &str) -> ApiResource {
    builtin("", kind, plural)
}

/// A kind that every API server serves in v1 of its group.
pub fn builtin(group: &str, kind: &str, plural: &str) -> ApiResource {
    let [group, version, kind, plural] = [group, "v1", kind, plural].map(str::to_owned);
    let api_version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
    ApiResource { group, version, api_version, kind, plural }
}

/// One kind of a group.
#[derive(Clone, Debug, PartialEq)]
struct Kind {
    plural: Box<str>,
    namespaced: bool,
    /// Preferred first.
    versions: Vec<Box<str>>,
}

/// The kinds of one group.
type Group = BTreeMap<Box<str>, Kind>;

/// Everything that is served, as far as known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kinds {
    groups: BTreeMap<Box<str>, Group>,
    /// Groups that are there and whose documents could not be read, or not all of them.
    silent: BTreeSet<Box<str>>,
    /// Those of them that were never read whole.
    unread: BTreeSet<Box<str>>,
}

impl Scopes for Kinds {
    fn scope(&self, group: &str, kind: &str) -> Option<Scope> {
        let kind = self.groups.get(group)?.get(kind)?;
        Some(if kind.namespaced { Scope::Namespaced } else { Scope::Cluster })
    }
}

impl Kinds {
    /// Every kind, in its preferred version.
    pub fn all(&self) -> Vec<ApiResource> {
        let kinds = self.groups.iter().flat_map(|(group, kinds)| kinds.keys().map(move |kind| (group, kind)));
        kinds.filter_map(|(group, kind)| self.preferred(group, kind)).collect()
    }

    /// Every kind in every version that is served, as `GROUP/VERSION/KIND`; `None` while a group is there that was never read:
    /// what is not in the list would then not be absent. Of a group that was read before, what was read stands.
    pub fn apis(&self) -> Option<BTreeSet<String>> {
        let named = self.groups.iter().flat_map(|(group, kinds)| {
            let prefix = if group.is_empty() { String::new() } else { format!("{group}/") };
            kinds.iter().flat_map(move |(kind, known)| {
                let prefix = prefix.clone();
                known.versions.iter().map(move |version| format!("{prefix}{version}/{kind}"))
            })
        });
        self.unread.is_empty().then(|| named.collect())
    }

    /// A group answered, or did not. Whoever was read once is known.
    fn heard(&mut self, group: &str, whole: bool, before: &Self) {
        if !whole {
            self.silent.insert(group.into());
            if !before.groups.contains_key(group) || before.unread.contains(group) {
                self.unread.insert(group.into());
            }
        }
    }

    /// The preferred version of a kind.
    pub fn preferred(&self, group: &str, kind: &str) -> Option<ApiResource> {
        self.resource(group, kind, self.groups.get(group)?.get(kind)?.versions.first()?)
    }

    /// A kind in exactly this version.
    pub fn exactly(&self, api_version: &str, kind: &str) -> Option<ApiResource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let served = &self.groups.get(group)?.get(kind)?.versions;
        self.resource(group, kind, served.iter().find(|v| ***v == *version)?)
    }

    /// Whether a group is there that could not be asked: a kind of it that is not known is unknown, not absent.
    pub fn is_silent(&self, group: &str) -> bool {
        self.silent.contains(group)
    }

    /// Groups that are there and could not be asked, or not for all of their kinds.
    pub fn silent(&self) -> Vec<String> {
        self.silent.iter().map(|group| group.to_string()).collect()
    }

    /// Groups and kinds that a lower-case plural or kind may mean, the core group first; with `only`, of this group.
    pub fn named(&self, name: &str, only: Option<&str>) -> Vec<(String, String)> {
        let groups = self.groups.iter().filter(|(group, _)| only.is_none_or(|only| only == &***group));
        let kinds = groups.flat_map(|(group, kinds)| kinds.iter().map(move |(kind, k)| (group, kind, k)));
        let meant = kinds.filter(|(_, kind, k)| &*k.plural == name || kind.eq_ignore_ascii_case(name));
        meant.map(|(group, kind, _)| (group.to_string(), kind.to_string())).collect()
    }

    fn resource(&self, group: &str, kind: &str, version: &str) -> Option<ApiResource> {
        let plural = self.groups.get(group)?.get(kind)?.plural.to_string();
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let (group, kind, version) = (group.to_owned(), kind.to_owned(), version.to_owned());
        Some(ApiResource { group, version, api_version, kind, plural })
    }

    /// Asks for everything. What cannot be read stays as it was in `self`.
    pub async fn ask(&self, wire: &Wire) -> Result<Self, Problem> {
        match self.ask_aggregated(wire).await? {
            Some(kinds) => Ok(kinds),
            None => self.ask_each(wire).await,
        }
    }

    /// `None` where the server has no aggregated documents (before v1.26): it answers with an empty list, or of another kind.
    async fn ask_aggregated(&self, wire: &Wire) -> Result<Option<Self>, Problem> {
        let groups = match aggregated(wire, "/apis").await {
            Ok(Some(groups)) if !groups.items.is_empty() => groups,
            Ok(_) => return Ok(None),
            Err(problem) if problem.code == 406 => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let Some(core) = aggregated(wire, "/api").await? else { return Ok(None) };
        let mut found = Self::default();
        for document in groups.items.into_iter().chain(core.items) {
            let name = document.metadata.as_ref().and_then(|m| m.name.clone()).unwrap_or_default();
            let (group, stale) = read_aggregated(document);
            found.heard(&name, !stale, self);
            found.insert(&name, group, self.groups.get(name.as_str()).filter(|_| stale));
        }
        Ok(Some(found))
    }

    async fn ask_each(&self, wire: &Wire) -> Result<Self, Problem> {
        let listed = wire.document("", "apis").await?;
        let groups = listed.get("groups").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut names: Vec<(String, Vec<String>)> = groups.iter().map(versions_of).collect();
        names.push((String::new(), vec!["v1".into()]));
        let asked = names.into_iter().map(|(name, versions)| async move {
            let (group, partial) = ask_group(wire, &name, &versions).await;
            (name, group, partial)
        });
        let mut answers = futures::stream::iter(asked).buffer_unordered(AT_ONCE);
        let mut found = Self::default();
        while let Some((name, group, partial)) = answers.next().await {
            if let Some(problem) = &partial {
                tracing::warn!(group = name, error = %problem.error, "discovery of a group failed; it stays as it was known");
            }
            // Without the core group nothing can be done, and nothing should be concluded.
            match partial {
                Some(problem) if name.is_empty() && self.groups.is_empty() => return Err(problem),
                partial => {
                    found.heard(&name, partial.is_none(), self);
                    found.insert(&name, group, self.groups.get(name.as_str()).filter(|_| partial.is_some()))
                }
            }
        }
        Ok(found)
    }

    /// Asks for one group, and returns these kinds with it brought up to date. A group that is not there is positively gone.
    pub async fn ask_one(&self, wire: &Wire, name: &str) -> Result<Self, Problem> {
        let mut kinds = self.clone();
        let versions = if name.is_empty() {
            vec!["v1".to_owned()]
        } else {
            match wire.document("/apis", name).await {
                Ok(document) => versions_of(&document).1,
                Err(problem) if problem.is_not_served() => Vec::new(),
                Err(problem) => return Err(problem),
            }
        };
        let (group, partial) = ask_group(wire, name, &versions).await;
        if let Some(problem) = partial {
            return Err(problem);
        }
        kinds.silent.remove(name);
        kinds.unread.remove(name);
        kinds.groups.remove(name);
        kinds.insert(name, group, None);
        Ok(kinds)
    }

    /// Adds a group; with `known`, what was known of it and is not in the new one stays.
    fn insert(&mut self, name: &str, mut group: Group, known: Option<&Group>) {
        for (kind, was) in known.into_iter().flatten() {
            group.entry(kind.clone()).or_insert_with(|| was.clone());
        }
        if !group.is_empty() {
            self.groups.insert(name.into(), group);
        }
    }
}

/// An aggregated document; `None` where the answer is something else.
async fn aggregated(wire: &Wire, at: &str) -> Result<Option<APIGroupDiscoveryList>, Problem> {
    let request = http::Request::get(at).header(http::header::ACCEPT, ACCEPT_AGGREGATED_DISCOVERY_V2);
    let answer = wire.send(request.body(Vec::new()).map_err(BuildError::BuildRequest)).await?;
    Ok(serde_json::from_value(answer.body).ok())
}

/// Name and versions of a group, the preferred version first.
fn versions_of(group: &Value) -> (String, Vec<String>) {
    let text = |v: &Value, at: &str| v.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let preferred = text(group, "/preferredVersion/version");
    let all =
        group.get("versions").and_then(Value::as_array).into_iter().flatten().map(|v| text(v, "/version"));
    let mut versions: Vec<String> = all.filter(|v| !v.is_empty()).collect();
    versions.sort_by_key(|v| *v != preferred);
    (text(group, "/name"), versions)
}

/// Asks for all versions of a group; a version that cannot be read is told beside the rest.
async fn ask_group(wire: &Wire, name: &str, versions: &[String]) -> (Group, Option<Problem>) {
    let mut group = Group::new();
    let mut failed = None;
    let parent = if name.is_empty() { "/api".to_owned() } else { format!("/apis/{name}") };
    for version in versions {
        match wire.document(&parent, version).await {
            Ok(list) => {
                for resource in list.get("resources").and_then(Value::as_array).into_iter().flatten() {
                    let text = |field: &str| resource.get(field).and_then(Value::as_str).unwrap_or_default();
                    let namespaced = resource.get("namespaced").and_then(Value::as_bool).unwrap_or_default();
                    add(&mut group, text("name"), text("kind"), namespaced, version);
                }
            }
            // Between the list of versions and this request the version went away.
            Err(problem) if problem.is_not_served() => {}
            Err(problem) => failed = Some(problem),
        }
    }
    (group, failed)
}

/// The kinds of an aggregated document, and whether the server says that a part of it is stale.
fn read_aggregated(document: APIGroupDiscovery) -> (Group, bool) {
    let mut group = Group::new();
    let mut stale = false;
    for version in document.versions {
        stale |= version.freshness.as_deref() == Some("Stale");
        let name = version.version.unwrap_or_default();
        for resource in version.resources {
            let kind = resource.response_kind.and_then(|k| k.kind).unwrap_or_default();
            let namespaced = resource.scope.as_deref() == Some("Namespaced");
            add(&mut group, resource.resource.as_deref().unwrap_or_default(), &kind, namespaced, &name);
        }
    }
    (group, stale)
}

/// Adds a resource, unless it is a subresource.
fn add(group: &mut Group, plural: &str, kind: &str, namespaced: bool, version: &str) {
    if plural.is_empty() || kind.is_empty() || plural.contains('/') {
        return;
    }
    let new = || Kind { plural: plural.into(), namespaced, versions: Vec::new() };
    let known = group.entry(kind.into()).or_insert_with(new);
    if !known.versions.iter().any(|v| **v == *version) {
        known.versions.push(version.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(rows: &[(&str, &str, &str, bool, &str)]) -> Kinds {
        let mut kinds = Kinds::default();
        for (group, plural, kind, namespaced, version) in rows {
            add(kinds.groups.entry((*group).into()).or_default(), plural, kind, *namespaced, version);
        }
        kinds
    }

    #[test]
    fn a_kind_has_a_scope_a_preferred_version_and_only_the_versions_that_are_served() {
        let kinds = kinds(&[
            ("", "namespaces", "Namespace", false, "v1"),
            ("", "namespaces/status", "Namespace", false, "v1"),
            ("apps", "deployments", "Deployment", true, "v1"),
            ("apps", "deployments", "Deployment", true, "v1beta1"),
        ]);
        assert_eq!(kinds.scope("", "Namespace"), Some(Scope::Cluster));
        assert_eq!(kinds.scope("apps", "Deployment"), Some(Scope::Namespaced));
        assert_eq!(kinds.scope("example.com", "Widget"), None);
        let version = |r: Option<ApiResource>| r.map(|r| r.api_version);
        assert_eq!(version(kinds.preferred("apps", "Deployment")), Some("apps/v1".into()));
        assert_eq!(version(kinds.exactly("apps/v1beta1", "Deployment")), Some("apps/v1beta1".into()));
        assert_eq!(version(kinds.exactly("apps/v1beta2", "Deployment")), None);
        assert_eq!(version(kinds.exactly("v1", "Namespace")), Some("v1".into()));
    }

    #[test]
    fn a_group_whose_documents_cannot_be_read_stays_known() {
        let known = kinds(&[("metrics.k8s.io", "pods", "PodMetrics", true, "v1beta1")]);
        let mut found = Kinds::default();
        found.insert("metrics.k8s.io", Group::new(), known.groups.get("metrics.k8s.io"));
        assert_eq!(found, known);
        let mut gone = Kinds::default();
        gone.insert("metrics.k8s.io", Group::new(), None);
        assert_eq!(gone.scope("metrics.k8s.io", "PodMetrics"), None);
    }

    #[test]
    fn kinds_are_listed_in_every_version_unless_a_group_was_never_read() {
        let mut known = kinds(&[
            ("", "pods", "Pod", true, "v1"),
            ("apps", "deployments", "Deployment", true, "v1"),
            ("apps", "deployments", "Deployment", true, "v1beta1"),
        ]);
        let listed = ["apps/v1/Deployment", "apps/v1beta1/Deployment", "v1/Pod"].map(str::to_owned);
        assert_eq!(known.apis(), Some(BTreeSet::from(listed.clone())));
        let before = known.clone();
        known.heard("apps", false, &before);
        assert_eq!(known.apis(), Some(BTreeSet::from(listed)), "what was read before stands");
        let before = known.clone();
        known.heard("metrics.k8s.io", false, &before);
        assert_eq!(known.apis(), None);
    }

    #[test]
    fn aggregated_documents_say_which_part_of_them_is_stale() {
        let document = serde_json::json!({"metadata": {"name": "apps"}, "versions": [
            {"version": "v1", "freshness": "Current", "resources": [
                {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced", "verbs": ["get"]},
            ]},
            {"version": "v1beta1", "freshness": "Stale"},
        ]});
        let (group, stale) = read_aggregated(serde_json::from_value(document).expect("a group's document"));
        let mut kinds = Kinds::default();
        kinds.insert("apps", group, None);
        assert!(stale);
        assert_eq!(kinds.scope("apps", "Deployment"), Some(Scope::Namespaced));
        assert_eq!(kinds.preferred("apps", "Deployment").map(|r| r.plural), Some("deployments".into()));
    }
}
