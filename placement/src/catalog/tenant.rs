//! Tenant: what a `Catalog` of the root catalog says: where a tenant's catalog is, and what it may do.
//!
//! In: the set of a cluster, objects. Out: the [`Grant`] that counts there, and what of the objects it does not permit.
//! Never: permits what no grant names; where several name a set, the first counts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::GitRemote;
use crate::assign::Options;
use crate::pattern::matches;
use crate::{CatalogName, ObjectKey};

/// The namespace of objects that name none, of apps that say none.
const DEFAULT: &str = "default";

/// A tenant's catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its repository, and what of it is followed.
    pub git: GitRemote,
    /// Its directory there, without slashes around it; empty for the repository's root.
    pub path: Arc<str>,
    /// The entries of the hub's `credentials` that its sources may name beside that of its own repository.
    pub credentials: BTreeSet<String>,
    /// What its apps may do, and where.
    pub grants: Vec<Grant>,
}

/// What apps of a tenant may do on the clusters of some sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The cluster sets.
    pub sets: BTreeSet<String>,
    /// Patterns of namespaces in which they may have objects.
    pub namespaces: BTreeSet<String>,
    /// Patterns of kinds without a namespace of which they may have objects, as `Kind.group`.
    pub cluster_scoped: BTreeSet<String>,
    /// As whom a spoke applies their objects; absent: as each app says.
    pub service_account: Option<String>,
    /// On how many clusters they may be; absent: on all.
    pub max_clusters: Option<u32>,
}

/// A grant as it goes with an entry: the spoke judges objects by it once more. A part of the recipe.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// Patterns of namespaces.
    #[serde(default)]
    pub namespaces: BTreeSet<String>,
    /// Patterns of kinds without a namespace.
    #[serde(default)]
    pub cluster_scoped: BTreeSet<String>,
}

impl Tenant {
    /// The grant that counts on clusters of a set.
    pub fn grant(&self, set: Option<&str>) -> Option<&Grant> {
        let set = set?;
        self.grants.iter().find(|grant| grant.sets.contains(set))
    }

    /// The sets of all grants.
    pub fn sets(&self) -> BTreeSet<String> {
        self.grants.iter().flat_map(|grant| grant.sets.iter().cloned()).collect()
    }

    /// Whether its sources may name this entry of the hub's `credentials`.
    pub fn may_use(&self, credentials: &str) -> bool {
        self.credentials.contains(credentials) || self.git.credentials.as_deref() == Some(credentials)
    }
}

impl Grant {
    /// As it goes with an entry.
    pub fn granted(&self) -> Granted {
        Granted { namespaces: self.namespaces.clone(), cluster_scoped: self.cluster_scoped.clone() }
    }
}

impl Granted {
    /// Why an object is not permitted. `is_namespaced` is what is known of its kind; where that is not known, an object without a
    /// namespace has to be permitted as one that has none.
    pub fn objects_to(
        &self,
        catalog: &CatalogName,
        key: &ObjectKey,
        is_namespaced: Option<bool>,
    ) -> Option<String> {
        let any =
            |patterns: &BTreeSet<String>, word: &str| patterns.iter().any(|pattern| matches(pattern, word));
        let namespace =
            Some(&key.namespace).filter(|namespace| !namespace.is_empty() && is_namespaced != Some(false));
        if let Some(namespace) = namespace {
            let is_granted = any(&self.namespaces, namespace);
            return (!is_granted)
                .then(|| format!("namespace {namespace} is not granted to catalog {catalog}"));
        }
        // A tenant's namespace is in it.
        let is_namespace = key.group.is_empty() && key.kind == "Namespace";
        if is_namespace && any(&self.namespaces, &key.name) {
            return None;
        }
        let kind = match key.group.as_str() {
            "" => key.kind.clone(),
            group => format!("{}.{group}", key.kind),
        };
        if any(&self.cluster_scoped, &kind) {
            return None;
        }
        Some(match (is_namespace, is_namespaced) {
            (true, _) => format!("namespace {} is not granted to catalog {catalog}", key.name),
            (_, Some(true)) => format!("it names no namespace, and catalog {catalog} is granted some alone"),
            _ => format!("kind {kind} without a namespace is not granted to catalog {catalog}"),
        })
    }

    /// Those of these objects of a bundle that are not permitted, each with why. What its manifests name no namespace for goes to the
    /// app's, unless its kind is known to have none; the spoke knows every kind, and judges once more.
    pub fn objections<'k>(
        &self,
        catalog: &CatalogName,
        options: &Options,
        keys: impl IntoIterator<Item = &'k ObjectKey>,
    ) -> impl Iterator<Item = (ObjectKey, String)> {
        let home = options.namespace.as_ref();
        keys.into_iter().filter_map(move |key| {
            let is_without = is_without_namespace(key);
            let mut judged = key.clone();
            match home {
                _ if is_without => judged.namespace.clear(),
                Some(home) if home.force || key.namespace.is_empty() => {
                    judged.namespace.clone_from(&home.name)
                }
                // Where a spoke puts what names none.
                None if key.namespace.is_empty() => DEFAULT.clone_into(&mut judged.namespace),
                _ => {}
            }
            let why = self.objects_to(catalog, &judged, is_without.then_some(false))?;
            Some((judged, why))
        })
    }
}

/// Whether objects of this kind have no namespace, on every cluster that Nave supports.
fn is_without_namespace(key: &ObjectKey) -> bool {
    match key.group.as_str() {
        "" => matches!(key.kind.as_str(), "Namespace" | "Node" | "PersistentVolume" | "ComponentStatus"),
        "rbac.authorization.k8s.io" => key.kind.starts_with("ClusterRole"),
        "storage.k8s.io" => key.kind != "CSIStorageCapacity",
        "apiextensions.k8s.io"
        | "apiregistration.k8s.io"
        | "admissionregistration.k8s.io"
        | "scheduling.k8s.io"
        | "node.k8s.io"
        | "certificates.k8s.io"
        | "flowcontrol.apiserver.k8s.io" => true,
        "networking.k8s.io" => key.kind == "IngressClass",
        "policy" => key.kind == "PodSecurityPolicy",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        // `[NAMESPACE:]KIND[.GROUP]/NAME`
        let (namespace, rest) = text.split_once(':').unwrap_or(("", text));
        let (kind, name) = rest.split_once('/').expect("a kind and a name");
        let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
        let [group, kind, namespace, name] = [group, kind, namespace, name].map(str::to_owned);
        ObjectKey { group, kind, namespace, name }
    }

    fn texts(words: &[&str]) -> BTreeSet<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_grant_permits_what_it_names_and_nothing_else() {
        let granted = Granted {
            namespaces: texts(&["team-a-*", "shop"]),
            cluster_scoped: texts(&["ClusterRole*.rbac.authorization.k8s.io"]),
        };
        let rows = [
            ("shop:ConfigMap/a", None, None),
            ("team-a-x:Deployment.apps/a", Some(true), None),
            ("kube-system:ConfigMap/a", None, Some("namespace kube-system is not granted to catalog team-a")),
            ("team-a:ConfigMap/a", None, Some("namespace team-a is not granted to catalog team-a")),
            ("Namespace/team-a-x", None, None),
            ("Namespace/other", None, Some("namespace other is not granted to catalog team-a")),
            ("ClusterRole.rbac.authorization.k8s.io/a", Some(false), None),
            ("ClusterRoleBinding.rbac.authorization.k8s.io/a", None, None),
            // Whatever a manifest writes into metadata.namespace, a kind without namespaces has none.
            (
                "shop:StorageClass.storage.k8s.io/a",
                Some(false),
                Some("kind StorageClass.storage.k8s.io without a namespace is not granted to catalog team-a"),
            ),
            (
                "ConfigMap/a",
                Some(true),
                Some("it names no namespace, and catalog team-a is granted some alone"),
            ),
            (
                "Widget.example.com/a",
                None,
                Some("kind Widget.example.com without a namespace is not granted to catalog team-a"),
            ),
        ];
        let catalog = CatalogName::new("team-a").expect("valid");
        for (object, is_namespaced, expected) in rows {
            let why = granted.objects_to(&catalog, &key(object), is_namespaced);
            assert_eq!(why.as_deref(), expected, "{object}");
        }
    }

    #[test]
    fn the_first_grant_that_names_a_set_counts_there() {
        let grant = |sets: &[&str], most| Grant {
            sets: texts(sets),
            namespaces: BTreeSet::new(),
            cluster_scoped: BTreeSet::new(),
            service_account: None,
            max_clusters: Some(most),
        };
        let git = GitRemote {
            url: "https://h/r".into(),
            reference: super::super::GitRef::Default,
            credentials: Some("own".into()),
            is_strangers: false,
        };
        let grants = vec![grant(&["dev"], 1), grant(&["dev", "prod"], 2)];
        let tenant = Tenant { git, path: "".into(), credentials: texts(&["charts"]), grants };
        let most = |set: Option<&str>| tenant.grant(set).and_then(|grant| grant.max_clusters);
        assert_eq!(
            [most(Some("dev")), most(Some("prod")), most(Some("x")), most(None)],
            [Some(1), Some(2), None, None]
        );
        assert_eq!(tenant.sets(), texts(&["dev", "prod"]));
        assert_eq!(["own", "charts", "root"].map(|name| tenant.may_use(name)), [true, true, false]);
    }
}
