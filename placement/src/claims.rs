//! Claims: objects that two apps of one cluster define.
//!
//! In: the forms of apps, the objects of their bundles, what every cluster shall run. Out: every [`Clash`].
//! Never: decides who yields. The spoke leaves the object to the app that runs it, or else to the first by key; this only
//! says so before it gets there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decide::Wanted;
use crate::overrides::template::Values;
use crate::overrides::{Forms, Shapes};
use crate::render::effective_objects;
use crate::{AppKey, ClusterName, Digest, ObjectKey};

/// Objects that more than one app defines, with the bundles of these apps that have them. Made once per revision: it looks at
/// every object. A name with a `${…}` in it is compared as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared(BTreeMap<ObjectKey, Definers>);

/// Apps, each with the bundles in which it defines an object.
type Definers = BTreeMap<AppKey, BTreeSet<Digest>>;

/// Two apps that define the same objects and meet on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The app that gets the objects where neither has them yet.
    pub holder: AppKey,
    /// The app that does not get them.
    pub other: AppKey,
    /// The objects.
    pub objects: BTreeSet<ObjectKey>,
    /// Where they meet.
    pub clusters: BTreeSet<ClusterName>,
}

impl Shared {
    /// Looks for objects with more than one app. A namespace that apps only live in is no clash; an app whose bundle is not
    /// at hand is passed over.
    pub fn of(forms: &Forms, objects: impl Fn(&Digest) -> Option<Arc<BTreeSet<ObjectKey>>>) -> Self {
        let mut apps: BTreeMap<ObjectKey, Definers> = BTreeMap::new();
        let forms = forms.iter().flat_map(|(app, variants)| variants.values().map(move |form| (app, form)));
        for (app, form) in forms {
            let Some(bundle) = objects(&form.bundle) else { continue };
            let created = form.options.namespace.as_ref().filter(|n| n.create).map(|n| n.name.as_str());
            for key in effective_objects(&bundle, &form.options, &Values::new()) {
                let is_home = key.group.is_empty()
                    && key.kind == "Namespace"
                    && created == Some(key.name.as_str())
                    && !bundle.contains(&key);
                if !is_home {
                    apps.entry(key).or_default().entry(app.clone()).or_default().insert(form.bundle);
                }
            }
        }
        apps.retain(|_, apps| apps.len() > 1);
        Self(apps)
    }

    /// The pairs that meet on a cluster.
    pub fn clashes(&self, wanted: &Wanted, shapes: &Shapes) -> Vec<Clash> {
        type Bundles<'a> = (&'a BTreeSet<Digest>, &'a BTreeSet<Digest>);
        let mut pairs: BTreeMap<(&AppKey, &AppKey, Bundles<'_>), BTreeSet<ObjectKey>> = BTreeMap::new();
        for (key, apps) in &self.0 {
            let mut apps = apps.iter();
            while let Some((holder, held)) = apps.next() {
                for (other, defined) in apps.clone() {
                    pairs.entry((holder, other, (held, defined))).or_default().insert(key.clone());
                }
            }
        }
        let mut clashes: Vec<Clash> = Vec::new();
        for ((holder, other, (held, defined)), objects) in pairs {
            let has = |app: &AppKey, cluster: &ClusterName, bundles: &BTreeSet<Digest>| {
                shapes.get(app, cluster).is_some_and(|form| bundles.contains(&form.bundle))
            };
            let meets = wanted.iter().filter(|(cluster, apps)| {
                apps.contains_key(holder)
                    && apps.contains_key(other)
                    && has(holder, cluster, held)
                    && has(other, cluster, defined)
            });
            let clusters: BTreeSet<ClusterName> = meets.map(|(cluster, _)| cluster.clone()).collect();
            match clashes.last_mut() {
                _ if clusters.is_empty() => {}
                // Objects of other variants of the same two apps.
                Some(clash) if (&clash.holder, &clash.other) == (holder, other) => {
                    clash.objects.extend(objects);
                    clash.clusters.extend(clusters);
                }
                _ => clashes.push(Clash { holder: holder.clone(), other: other.clone(), objects, clusters }),
            }
        }
        clashes
    }
}

impl std::fmt::Display for Clash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = self.objects.first().map(ToString::to_string).unwrap_or_default();
        let more = match self.objects.len() {
            0 | 1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        let clusters: Vec<&str> = self.clusters.iter().take(3).map(ClusterName::as_str).collect();
        let beyond = match self.clusters.len() {
            0..=3 => String::new(),
            all => format!(" and {} more", all - 3),
        };
        write!(
            f,
            "{first}{more} is defined by app {} too, and both are on {}{beyond}, where the app that has it keeps it, or else {} gets it; remove it from one of the two",
            self.holder,
            clusters.join(", "),
            self.holder
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assign::Options;
    use crate::catalog::{CommitId, NamespaceOptions, OnRemove, Treatment};
    use crate::overrides::{Form, Variant};

    fn app(name: &str) -> AppKey {
        name.parse().expect("valid")
    }

    fn key(text: &str) -> ObjectKey {
        let (kind, name) = text.split_once('/').expect("Kind/name");
        ObjectKey { group: String::new(), kind: kind.into(), namespace: String::new(), name: name.into() }
    }

    /// Apps as `NAME[@NAMESPACE]: Kind/name …`, clusters as `NAME: app …`.
    fn found(apps: &[&str], clusters: &[&str]) -> Vec<String> {
        let mut forms = Forms::new();
        let mut bundles: BTreeMap<Digest, Arc<BTreeSet<ObjectKey>>> = BTreeMap::new();
        for line in apps {
            let (name, objects) = line.split_once(": ").expect("NAME: objects");
            let (name, namespace) = name.split_once('@').map_or((name, None), |(n, ns)| (n, Some(ns)));
            let bundle = Digest::of(line.as_bytes());
            bundles.insert(bundle, Arc::new(objects.split(' ').map(key).collect()));
            let namespace = namespace.map(|name| NamespaceOptions {
                name: name.into(),
                labels: BTreeMap::new(),
                create: true,
                force: false,
            });
            let options = Options {
                namespace,
                prune: true,
                on_remove: OnRemove::Delete,
                share: None,
                grant: None,
                formerly: BTreeSet::new(),
                substitute: false,
                treatment: Treatment::default(),
            };
            let commit = CommitId("c".into());
            let form = Form {
                bundle,
                options,
                source: bundle,
                version: bundle,
                commit,
                source_at: None,
                dependencies: BTreeMap::new(),
                uses: Default::default(),
                asked: None,
                is_stale: false,
            };
            forms.insert(app(name), BTreeMap::from([(Variant::default(), form)]));
        }
        let mut wanted = Wanted::new();
        for line in clusters {
            let (name, apps) = line.split_once(": ").expect("NAME: apps");
            let apps = apps.split(' ').map(|name| (app(name), BTreeSet::new())).collect();
            wanted.insert(name.parse().expect("valid"), apps);
        }
        let shared = Shared::of(&forms, |digest| bundles.get(digest).cloned());
        let shape = |(app, variants): (&AppKey, &BTreeMap<Variant, Form>)| {
            let form = &variants[&Variant::default()];
            (app.clone(), form.with(Values::new(), form.commit.clone()))
        };
        shared.clashes(&wanted, &forms.iter().map(shape).collect()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_object_of_two_apps_is_told_where_they_meet_and_only_there() {
        let rows: [(&[&str], &[&str], &[&str]); 6] = [
            (
                &["a: ConfigMap/x ConfigMap/y", "b: ConfigMap/x"],
                &["fra-1: a b", "fra-2: a"],
                &[
                    "ConfigMap x is defined by app a too, and both are on fra-1, where the app that has it keeps it, or else a gets it; remove it from one of the two",
                ],
            ),
            (&["a: ConfigMap/x", "b: ConfigMap/x"], &["fra-1: a", "fra-2: b"], &[]),
            // The app's namespace tells them apart.
            (&["a@one: ConfigMap/x", "b@two: ConfigMap/x"], &["fra-1: a b"], &[]),
            // To live in one namespace is no clash.
            (&["a@one: ConfigMap/x", "b@one: ConfigMap/y"], &["fra-1: a b"], &[]),
            (
                &["a@one: ConfigMap/x ConfigMap/y", "b@one: ConfigMap/x ConfigMap/y"],
                &["c-1: a b", "c-2: a b", "c-3: a b", "c-4: a b"],
                &[
                    "ConfigMap one/x and 1 more is defined by app a too, and both are on c-1, c-2, c-3 and 1 more, where the app that has it keeps it, or else a gets it; remove it from one of the two",
                ],
            ),
            (
                &["a: ConfigMap/x", "b: ConfigMap/x", "c: ConfigMap/x"],
                &["fra-1: a c"],
                &[
                    "ConfigMap x is defined by app a too, and both are on fra-1, where the app that has it keeps it, or else a gets it; remove it from one of the two",
                ],
            ),
        ];
        for (apps, clusters, expected) in rows {
            assert_eq!(found(apps, clusters), expected, "{apps:?} {clusters:?}");
        }
    }
}
