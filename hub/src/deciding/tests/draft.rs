//! Drafts: catalogs before they are text, and what people do to them, by chance.
//!
//! In: a random number generator. Out: files. Never: a document that is not valid.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use nave_placement::CatalogName;

/// A catalog before it is text.
#[derive(Clone)]
pub(super) struct Draft {
    apps: BTreeMap<String, AppDraft>,
    /// By name: `env` and `size`. The set is called as `env`.
    pub clusters: BTreeMap<String, (&'static str, &'static str)>,
    tier: u32,
    words: u32,
    /// Of many there is none.
    pub tenant: Option<TenantDraft>,
}

/// Whose catalog changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Root,
    Tenant,
}

/// A tenant's catalog, and what the root says of it.
#[derive(Clone)]
pub(super) struct TenantDraft {
    apps: BTreeMap<String, AppDraft>,
    pub is_named: bool,
    sets: BTreeSet<&'static str>,
    namespace: &'static str,
    account: bool,
    most: Option<u32>,
}

/// The tenant.
pub(super) fn team() -> CatalogName {
    "team".parse().expect("a name")
}

#[derive(Clone)]
struct AppDraft {
    objects: BTreeSet<u32>,
    text: u32,
    env: Option<&'static str>,
    pick: Option<u32>,
    prune: bool,
    protect: bool,
    uses: bool,
    careful: bool,
    group: bool,
    patch: Option<u32>,
}

const ENVS: [&str; 3] = ["prod", "dev", "test"];
const SIZES: [&str; 2] = ["big", "small"];

const CAREFUL: &str = "apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {name: careful}\nspec: {waves: [{name: first, count: 2}, {name: half, share: 50%, maxUnavailable: 2}]}\n";

impl AppDraft {
    fn new(rng: &mut Rng) -> Self {
        Self {
            objects: (0..rng.u32(1..4)).collect(),
            text: rng.u32(..),
            env: rng.bool().then(|| ENVS[rng.usize(..2)]),
            pick: (rng.u32(..3) == 0).then(|| rng.u32(1..5)),
            prune: rng.u32(..5) > 0,
            protect: rng.u32(..8) == 0,
            uses: rng.bool(),
            careful: rng.bool(),
            group: rng.u32(..4) == 0,
            patch: rng.bool().then(|| rng.u32(..)),
        }
    }

    /// One thing that people do to it.
    fn change(&mut self, rng: &mut Rng) {
        match rng.u32(..9) {
            0 | 1 => self.text = rng.u32(..),
            2 => _ = self.objects.insert(rng.u32(..6)),
            3 => self.objects = self.objects.iter().copied().take(1).collect(),
            4 => self.env = (rng.bool()).then(|| ENVS[rng.usize(..3)]),
            5 => self.pick = rng.bool().then(|| rng.u32(1..6)),
            6 => self.patch = rng.bool().then(|| rng.u32(..)),
            7 => self.prune = !self.prune,
            _ => self.careful = !self.careful,
        }
    }

    fn documents(&self, name: &str) -> String {
        let Self { prune, protect, careful, .. } = self;
        let group = if self.group { ", group: together" } else { "" };
        let rollout = if *careful { ", rollout: careful" } else { "" };
        let clusters = self.env.map_or("{selector: {}}".to_owned(), |env| {
            format!("{{selector: {{matchLabels: {{env: {env}}}}}}}")
        });
        let pick = self.pick.map(|count| format!(", pick: {{count: {count}}}")).unwrap_or_default();
        let patch = self.patch.map(|text| {
            format!(
                "---\napiVersion: nave.dev/v1alpha1\nkind: Override\nmetadata: {{name: {name}-big}}\nspec: {{apps: {{names: [{name}]}}, clusters: {{selector: {{matchLabels: {{size: big}}}}}}, patches: [{{target: {{kind: ConfigMap}}, patch: {{data: {{patch: \"{text}\"}}}}}}]}}\n"
            )
        });
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{source: {{path: ./{name}}}, substitute: true, prune: {prune}, protect: {protect}{group}{rollout}}}\n---\n\
             apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {{name: {name}}}\nspec: {{apps: {{names: [{name}]}}, clusters: {clusters}{pick}}}\n{}",
            patch.unwrap_or_default()
        )
    }

    fn manifests(&self, name: &str) -> String {
        let tier = if self.uses { ", tier: \"${parameters.tier}\"" } else { "" };
        let map = |number: &u32| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}-{number}, namespace: default}}\ndata: {{text: \"{}\"{tier}}}\n",
                self.text
            )
        };
        self.objects.iter().map(map).collect()
    }
}

impl TenantDraft {
    fn new(rng: &mut Rng) -> Self {
        let apps = ["alpha", "beta"].into_iter().take(rng.usize(1..=2));
        Self {
            apps: apps.map(|name| (name.to_owned(), AppDraft::new(rng))).collect(),
            is_named: rng.u32(..8) > 0,
            sets: ENVS.into_iter().take(rng.usize(1..3)).collect(),
            namespace: "default",
            account: rng.bool(),
            most: (rng.u32(..3) == 0).then(|| rng.u32(1..6)),
        }
    }

    /// One thing that the root does to it.
    fn regrant(&mut self, rng: &mut Rng) {
        match rng.u32(..5) {
            // One that is named again is read again, which no plan does.
            0 => self.is_named = false,
            1 => self.sets = ENVS.into_iter().filter(|_| rng.bool()).collect(),
            2 => self.namespace = if rng.bool() { "default" } else { "others" },
            3 => self.account = !self.account,
            _ => self.most = rng.bool().then(|| rng.u32(1..6)),
        }
    }

    /// One thing that the tenant does.
    fn change(&mut self, rng: &mut Rng) {
        let names: Vec<String> = self.apps.keys().cloned().collect();
        match (names.get(rng.usize(..names.len().max(1))), rng.u32(..8)) {
            (Some(name), 0) => _ = self.apps.remove(name),
            (None, _) | (_, 1) => _ = self.apps.insert("delta".to_owned(), AppDraft::new(rng)),
            (Some(name), _) => self.apps.get_mut(name).expect("it is there").change(rng),
        }
    }

    /// What the root says of it.
    fn document(&self) -> String {
        if !self.is_named {
            return String::new();
        }
        let Self { sets, namespace, .. } = self;
        let account = if self.account { ", serviceAccount: team" } else { "" };
        let most = self.most.map(|most| format!(", maxClusters: {most}")).unwrap_or_default();
        let sets = sets.iter().copied().collect::<Vec<_>>().join(", ");
        let grants = format!("[{{sets: [{sets}], namespaces: [{namespace}]{account}{most}}}]");
        let grants = if sets.is_empty() { "[]".to_owned() } else { grants };
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Catalog\nmetadata: {{name: team}}\nspec: {{git: {{url: 'https://git.example.com/team'}}, grants: {grants}}}\n"
        )
    }

    pub fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::from([("careful.yaml".to_owned(), CAREFUL.to_owned())]);
        for (name, app) in &self.apps {
            files.insert(format!("{name}.yaml"), app.documents(name));
            // An app of the root has objects of its own.
            files.insert(format!("{name}/all.yaml"), app.manifests(&format!("team-{name}")));
        }
        files
    }
}

impl Draft {
    pub fn new(rng: &mut Rng) -> Self {
        let apps = ["alpha", "beta", "gamma"].into_iter().take(rng.usize(1..=3));
        let apps = apps.map(|name| (name.to_owned(), AppDraft::new(rng))).collect();
        let clusters = (0..rng.usize(2..15))
            .map(|number| (format!("c-{number:02}"), (ENVS[rng.usize(..2)], SIZES[rng.usize(..2)])))
            .collect();
        let tenant = rng.bool().then(|| TenantDraft::new(rng));
        Self { apps, clusters, tier: rng.u32(..), words: 0, tenant }
    }

    /// One thing that people do.
    pub fn change(&mut self, who: Who, rng: &mut Rng) {
        match (who, &mut self.tenant) {
            (Who::Tenant, Some(tenant)) => tenant.change(rng),
            (_, Some(tenant)) if rng.u32(..3) == 0 => tenant.regrant(rng),
            _ => self.change_root(rng),
        }
    }

    fn change_root(&mut self, rng: &mut Rng) {
        let names: Vec<String> = self.apps.keys().cloned().collect();
        let Some(app) = names.get(rng.usize(..names.len().max(1))).and_then(|name| self.apps.get_mut(name))
        else {
            self.apps.insert("delta".to_owned(), AppDraft::new(rng));
            return;
        };
        match rng.u32(..14) {
            0..9 => app.change(rng),
            9 => self.tier = rng.u32(..),
            10 => self.words += 1,
            11 => _ = self.apps.insert("delta".to_owned(), AppDraft::new(rng)),
            12 => _ = self.apps.remove(&names[rng.usize(..names.len())]),
            _ => {
                let env = ENVS[rng.usize(..3)];
                let size = SIZES[rng.usize(..2)];
                let some = rng.usize(1..6);
                self.clusters.values_mut().take(some).for_each(|labels| *labels = (env, size));
            }
        }
    }

    pub fn files(&self) -> BTreeMap<String, String> {
        let cluster = |(name, (env, size)): (&String, &(&str, &str))| {
            format!(
                "---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}, labels: {{env: {env}, size: {size}}}}}\nspec: {{set: {env}}}\n"
            )
        };
        let set = |name: &str| {
            format!("---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {{name: {name}}}\n")
        };
        let mut files = BTreeMap::from([
            ("clusters.yaml".to_owned(), self.clusters.iter().map(cluster).collect()),
            (
                "fleet.yaml".to_owned(),
                format!(
                    "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: fleet}}\nspec: {{parameters: {{tier: \"{}\"}}}}\n---\n{CAREFUL}",
                    self.tier
                ),
            ),
            ("sets.yaml".to_owned(), ENVS.map(set).concat()),
            ("tenant.yaml".to_owned(), self.tenant.as_ref().map(TenantDraft::document).unwrap_or_default()),
            ("README.md".to_owned(), self.words.to_string()),
        ]);
        for (name, app) in &self.apps {
            files.insert(format!("{name}.yaml"), app.documents(name));
            files.insert(format!("{name}/all.yaml"), app.manifests(name));
        }
        files
    }
}
