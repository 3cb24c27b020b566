//! Relations: which apps of a cluster wait for which others, and which switch together.
//!
//! In: a catalog, what every cluster shall run. Out: [`Relations`] of each cluster, which its spoke keeps to; what waits for apps on
//! other clusters, which the hub does. Never: a part of an app's version: who waits for whom changes nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Catalog, IfAbsent, Until};
use crate::decide::Wanted;
use crate::select::Selector;
use crate::{AppKey, ClusterName};

/// What the apps of one cluster have to do with each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relations {
    /// What each app waits for before it changes.
    pub first: BTreeMap<AppKey, Vec<First>>,
    /// Apps that switch together, by the name of their group; at least two each.
    pub groups: BTreeMap<String, BTreeSet<AppKey>>,
}

/// An app that comes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct First {
    /// Which.
    pub app: AppKey,
    /// What has to be so of it.
    pub until: Until,
    /// It shall not run here, and that is a failure; otherwise it is waited for.
    pub is_missing: bool,
}

impl Relations {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty() && self.groups.is_empty()
    }

    /// The group that an app is in.
    pub fn group_of(&self, app: &AppKey) -> Option<(&str, &BTreeSet<AppKey>)> {
        let group = self.groups.iter().find(|(_, apps)| apps.contains(app));
        group.map(|(name, apps)| (name.as_str(), apps))
    }
}

/// What an app waits for on other clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// One of these apps, or all of them.
    pub apps: Vec<AppKey>,
    /// What has to be so of them.
    pub until: Until,
    /// What happens where none of them shall run there.
    pub if_absent: IfAbsent,
    /// On which clusters.
    pub clusters: Selector,
}

/// A dependency with the apps that it means.
struct Meant {
    apps: Vec<AppKey>,
    until: Until,
    if_absent: IfAbsent,
    clusters: Option<Selector>,
}

/// What each app depends on.
fn meant(catalog: &Catalog) -> BTreeMap<AppKey, Vec<Meant>> {
    let mut meant = BTreeMap::new();
    for (effective, app) in catalog.apps() {
        let of = catalog.dependencies_of(effective, app);
        let Some(own) = catalog.key(&effective.object.id.name).filter(|_| !of.is_empty()) else { continue };
        // What the fleet says of all means the root's apps.
        let of_whom = effective.object.id.tenant().filter(|_| app.depends_on.is_some());
        let dependency = |dependency: &crate::catalog::Dependency| {
            let named = match &dependency.on {
                // Also one that is not in the catalog: it is waited for.
                crate::catalog::DependsOn::App(name) => catalog.key(name).into_iter().collect(),
                crate::catalog::DependsOn::Selected(_) => {
                    let selected = catalog.apps().filter(|(other, _)| {
                        other.object.id.tenant() == of_whom && dependency.on.means(other)
                    });
                    selected.filter_map(|(other, _)| catalog.key(&other.object.id.name)).collect::<Vec<_>>()
                }
            };
            Meant {
                apps: named.into_iter().filter(|app| *app != own).collect(),
                until: dependency.until,
                if_absent: dependency.if_absent(),
                clusters: dependency.clusters.clone(),
            }
        };
        meant.insert(own.clone(), of.iter().map(dependency).collect());
    }
    meant
}

/// What apps wait for on other clusters, of those that wait for something there.
pub fn elsewhere(catalog: &Catalog) -> BTreeMap<AppKey, Vec<Elsewhere>> {
    let elsewhere = |meant: Meant| {
        let Meant { apps, until, if_absent, clusters } = meant;
        clusters.map(|clusters| Elsewhere { apps, until, if_absent, clusters })
    };
    let all = meant(catalog).into_iter();
    let all = all.map(|(app, of)| (app, of.into_iter().filter_map(elsewhere).collect::<Vec<_>>()));
    all.filter(|(_, of)| !of.is_empty()).collect()
}

/// The relations of every cluster that has some.
pub fn relations(catalog: &Catalog, wanted: &Wanted) -> BTreeMap<ClusterName, Arc<Relations>> {
    let meant = meant(catalog);
    let grouped = |(effective, app): (&crate::catalog::Effective, &crate::catalog::App)| {
        Some((catalog.key(&effective.object.id.name)?, app.group.clone()?))
    };
    let grouped: BTreeMap<AppKey, String> = catalog.apps().filter_map(grouped).collect();
    if meant.is_empty() && grouped.is_empty() {
        return BTreeMap::new();
    }
    // Most clusters run the same as others.
    let mut made: BTreeMap<Vec<&AppKey>, Arc<Relations>> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for (cluster, apps) in wanted {
        let apps: Vec<&AppKey> = apps.keys().collect();
        let relations = made.entry(apps).or_insert_with_key(|apps| Arc::new(relate(apps, &meant, &grouped)));
        if !relations.is_empty() {
            all.insert(cluster.clone(), relations.clone());
        }
    }
    all
}

fn relate(
    apps: &[&AppKey],
    meant: &BTreeMap<AppKey, Vec<Meant>>,
    grouped: &BTreeMap<AppKey, String>,
) -> Relations {
    let mut relations = Relations::default();
    for app in apps {
        let here = meant.get(*app).into_iter().flatten().filter(|meant| meant.clusters.is_none());
        let mut first: BTreeMap<&AppKey, First> = BTreeMap::new();
        for meant in here {
            let is_here = |other: &AppKey| apps.binary_search(&other).is_ok();
            let any = meant.apps.iter().any(is_here);
            for other in &meant.apps {
                let is_missing = match (is_here(other), meant.if_absent) {
                    (true, _) => false,
                    // What is selected and is not here is not what was meant here.
                    (false, _) if any => continue,
                    (false, IfAbsent::Ignore) => continue,
                    (false, absent) => absent == IfAbsent::Fail,
                };
                let of = First { app: other.clone(), until: meant.until, is_missing };
                let known = first.entry(other).or_insert_with(|| of.clone());
                known.until = known.until.max(of.until);
                known.is_missing |= of.is_missing;
            }
        }
        if !first.is_empty() {
            relations.first.insert((*app).clone(), first.into_values().collect());
        }
        if let Some(group) = grouped.get(*app) {
            relations.groups.entry(group.clone()).or_default().insert((*app).clone());
        }
    }
    relations.groups.retain(|_, apps| apps.len() > 1);
    relations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::assembled;

    #[test]
    fn a_cluster_s_apps_wait_for_what_it_runs_and_switch_with_their_group() {
        let objects = [
            "kind: Fleet\nmetadata: {name: f}\nspec: {defaults: {dependsOn: [{selector: {matchLabels: {tier: base}}}]}}",
            "kind: App\nmetadata: {name: cert, labels: {tier: base}}\nspec: {source: {path: ./m}}",
            "kind: App\nmetadata: {name: net, labels: {tier: base}}\nspec: {source: {path: ./m}}",
            "kind: App\nmetadata: {name: web}\nspec: {source: {path: ./m}, group: shop}",
            "kind: App\nmetadata: {name: api}\nspec: {source: {path: ./m}, group: shop, dependsOn: [{app: db, until: Applied}, {app: cert, ifAbsent: Ignore}]}",
            "kind: App\nmetadata: {name: db}\nspec: {source: {path: ./m}, dependsOn: [{app: net, ifAbsent: Fail}]}",
            "kind: App\nmetadata: {name: free}\nspec: {source: {path: ./m}, dependsOn: []}",
        ];
        let api = format!("apiVersion: {}\n", crate::catalog::API_VERSION);
        let text = objects.map(|object| format!("{api}{object}\n")).join("---\n");
        let manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
        let files = [("a.yaml", text.as_str()), ("m/c.yaml", manifest)];
        let catalog = assembled("c1", &files, &Default::default());
        assert_eq!(catalog.problems, []);
        // (what a cluster runs, who waits for whom there, groups)
        let rows = [
            ("cert net web", "web<cert,net", ""),
            ("web", "", ""),
            ("net web api db cert", "api<cert,db' db<net web<cert,net", "shop=api,web"),
            ("api web", "api<db'", "shop=api,web"),
            ("db free", "db<net!", ""),
            ("cert free", "", ""),
        ];
        for (runs, waits, groups) in rows {
            let apps = runs.split(' ').map(|app| (app.parse().expect("a name"), BTreeSet::new())).collect();
            let cluster: ClusterName = "fra-1".parse().expect("a name");
            let of = relations(&catalog, &Wanted::from([(cluster.clone(), apps)]));
            let of = of.get(&cluster).cloned().unwrap_or_default();
            let first = |first: &First| {
                let applied = if first.until == Until::Applied { "'" } else { "" };
                format!("{}{}{applied}", first.app, if first.is_missing { "!" } else { "" })
            };
            let said = of
                .first
                .iter()
                .map(|(app, of)| format!("{app}<{}", of.iter().map(first).collect::<Vec<_>>().join(",")));
            assert_eq!(said.collect::<Vec<_>>().join(" "), waits, "{runs}");
            let said = of.groups.iter().map(|(name, apps)| {
                let apps: Vec<String> = apps.iter().map(ToString::to_string).collect();
                format!("{name}={}", apps.join(","))
            });
            assert_eq!(said.collect::<Vec<_>>().join(" "), groups, "{runs}");
        }
    }
}
