//! From a commit with overrides to entries and back to objects: what the task does, without Git and a store.

mod answers;
mod deciding;
mod directories;
mod draft;
mod foretold;
mod granting;
mod history;
mod pausing;
mod planning;
mod rollouts;
mod taking;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::assign::{Entry, Told};
use nave_placement::catalog::{BlobId, CommitId, FileKind, LastGood, Tree, TreeEntry};
use nave_placement::overrides::Variant;
use nave_placement::render::Bundle;
use nave_placement::report::{EntryReason, EntryReport, EntryState, Report};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

use super::core::{Decided, Given, Kept, Revision, json, step};
use super::hearing::Hearing;
use super::parts::Own;
use super::rendered::{self, render_all};
use super::revision::{Asked, Content, Loader, Place};
use crate::engines::{Engines, Paths};
use crate::sources::Nowhere;
use crate::state::history::HistoryRecord;
use crate::state::records::{MemberRecord, key};
use crate::state::{Heard, State, WireCodec, report_to_bytes};
use crate::store::Version;

const APPS: &str = "\
apiVersion: nave.dev/v1alpha1
kind: App
metadata: {name: web}
spec: {source: {path: ./web}, substitute: true}
---
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: web}
spec: {apps: {names: [web]}, clusters: {selector: {}}}
---
apiVersion: nave.dev/v1alpha1
kind: Override
metadata: {name: big}
spec: {apps: {names: [web]}, clusters: {selector: {matchLabels: {size: big}}}, patches: [{target: {kind: ConfigMap, name: web}, patch: {data: {size: big}}}]}
";

fn config_map(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{on: \"${{cluster.name}}\", owner: \"${{labels.owner:-none}}\"}}\n"
    )
}

#[derive(Default)]
struct World {
    files: BTreeMap<String, String>,
    state: State,
    revision: Option<Revision>,
    tree: Tree,
    /// Catalogs of tenants: their files, and those of the commit in effect.
    tenants: BTreeMap<CatalogName, (BTreeMap<String, String>, Tree)>,
    bundles: BTreeMap<Digest, Bundle>,
    version: u64,
    /// Records of history, as they were written.
    history: Vec<HistoryRecord>,
    rendered: u64,
    problems: Vec<String>,
    kept: Kept,
    /// Spokes carry out what they are told, and say so.
    obeys: bool,
    now_ms: u64,
    /// What stands in for helm.
    helm: Option<PathBuf>,
    /// A file that cannot be read any more.
    forgets: Option<String>,
}

struct Files(BTreeMap<BlobId, Arc<[u8]>>);

#[async_trait]
impl Content for Files {
    async fn read_all(&self, blobs: Vec<BlobId>, _: u64) -> Vec<Result<Arc<[u8]>, String>> {
        blobs.iter().map(|blob| self.0.get(blob).cloned().ok_or_else(|| "it is gone".to_owned())).collect()
    }
}

fn blob(text: &str) -> BlobId {
    BlobId(Digest::of(text.as_bytes()).to_string().into())
}

impl World {
    fn content(&self) -> Files {
        let known = self.files.iter().filter(|(path, _)| self.forgets.as_ref() != Some(*path));
        let known = known.chain(self.tenants.values().flat_map(|(files, _)| files));
        Files(known.map(|(_, text)| (blob(text), Arc::from(text.as_bytes()))).collect())
    }

    fn engines(&self) -> Engines {
        let paths = Paths { helm: self.helm.clone(), ..Paths::default() };
        Engines::new(std::env::temp_dir(), paths)
    }

    fn fold(&mut self, key: &str, value: Option<Vec<u8>>) {
        self.version += 1;
        if let Some(record) = value.as_ref().filter(|_| key.starts_with("history/")) {
            self.history.push(serde_json::from_slice(record).expect("a record"));
        }
        let value = value.map(Into::into);
        self.state.fold(&key.to_owned(), Version(self.version), value.as_ref()).expect("a record");
    }

    fn member(&mut self, name: &str, labels: &[(&str, &str)]) {
        let mut record = MemberRecord::default();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        record.membership.labels = labels.collect();
        self.fold(&format!("member/{name}"), Some(json(&record)));
    }

    /// A member that has just enrolled.
    fn enrol(&mut self, name: &str) {
        let record = MemberRecord { enrolled_ms: 1_000 + self.now_ms, ..MemberRecord::default() };
        self.fold(&format!("member/{name}"), Some(json(&record)));
    }

    async fn commit(&mut self, id: &str) {
        self.tree = tree(&self.files);
        let root = self.read(&CatalogName::root(), &self.tree, id).await;
        self.problems = root.catalog.problems.iter().map(ToString::to_string).collect();
        let tenants = self.revision.take().into_iter().flat_map(|revision| revision.owns).skip(1);
        self.revision = Revision::of(std::iter::once(root).chain(tenants).collect());
        self.decide().await;
    }

    /// A commit of a tenant's catalog.
    async fn commit_of(&mut self, tenant: &CatalogName, id: &str) {
        let now = self.tenants.get(tenant).map(|(files, _)| tree(files)).expect("it has files");
        let own = self.read(tenant, &now, id).await;
        self.tenants.get_mut(tenant).expect("it has files").1 = now;
        let mut owns = self.revision.take().expect("a commit was made").owns;
        owns.retain(|known| known.catalog.name != *tenant);
        owns.push(own);
        self.revision = Revision::of(owns);
        self.decide().await;
    }

    fn place(name: &CatalogName) -> Place {
        let is_root = *name == CatalogName::root();
        Place { name: name.clone(), directory: String::new(), is_root, configured: None }
    }

    /// A catalog with these files, by what is in effect of it.
    async fn read(&self, name: &CatalogName, tree: &Tree, id: &str) -> Own {
        let owns = self.revision.iter().flat_map(|revision| &revision.owns);
        let last_good = owns.clone().find(|own| own.catalog.name == *name);
        let last_good = last_good.map_or_else(LastGood::new, |own| own.catalog.objects.clone());
        let (content, commit, place) = (self.content(), CommitId(id.into()), Self::place(name));
        let mut loader = Loader::default();
        Own::of(Arc::new(loader.catalog(&content, &place, &commit, tree, &last_good).await))
    }

    fn step(&mut self) -> Decided {
        let codec = WireCodec(|digest: &Digest| self.bundles.get(digest).map(|b| b.objects.clone()));
        let connected = self.state.members.keys().map(|name| (name.clone(), None)).collect();
        let given = Given {
            state: &self.state,
            revision: self.revision.as_ref().expect("a commit was made"),
            waiting: &BTreeMap::new(),
            codec: &codec,
            hearing: &Hearing { connected, ..Hearing::default() },
            older: &super::older::Olders::default(),
            authors: &Default::default(),
            now_ms: 1_000 + self.now_ms,
        };
        step(given, &mut self.kept)
    }

    /// Renders what is missing, then writes until there is nothing to write.
    async fn decide(&mut self) -> Decided {
        let mut decided = self.step();
        let mut tried = Asked::new();
        loop {
            let mut missing = decided.missing.clone();
            for (app, variants) in &mut missing {
                variants.retain(|variant| tried.get(app).is_none_or(|tried| !tried.contains(variant)));
            }
            missing.retain(|_, variants| !variants.is_empty());
            if missing.is_empty() {
                break;
            }
            self.render(&missing).await;
            missing.into_iter().for_each(|(app, variants)| tried.entry(app).or_default().extend(variants));
            decided = self.step();
        }
        while !decided.writes.is_empty() {
            for write in decided.writes {
                for (key, value) in write.batch.checked().expect("within the limits").writes() {
                    self.fold(key, value.as_ref().map(|value| value.to_vec()));
                }
            }
            if self.obeys {
                self.report();
            }
            decided = self.step();
        }
        decided
    }

    /// What spokes say that carried everything out.
    fn report(&mut self) {
        let healthy = |(app, entry): (&AppKey, &nave_placement::assign::EncodedEntry)| {
            let version = nave_proto::decode_entry(&entry.bytes).ok().map(|entry| entry.version);
            (app.clone(), healthy_report(version))
        };
        let report = |(cluster, told): (&ClusterName, &crate::state::Versioned<Arc<Told>>)| {
            let (epoch, generation) = told.assignment.order();
            let entries = told.assignment.entries.iter().map(healthy).collect();
            let left = told.assignment.leaving.keys().cloned().collect();
            let report = Report { epoch, generation, entries, left, ..Report::default() };
            let earlier = self.state.reports.get(cluster).map(|held| &*held.record);
            let heard = Heard::of(report, earlier, told, 1_000 + self.now_ms);
            (key::report(cluster), report_to_bytes(&heard))
        };
        let reports: Vec<_> = self.state.told.iter().map(report).collect();
        reports.into_iter().for_each(|(key, value)| self.fold(&key, Some(value)));
    }

    async fn render(&mut self, missing: &Asked) {
        let in_effect = self.state.forms();
        let catalog = self.revision.as_ref().expect("a commit was made").catalog.clone();
        let content = self.content();
        let engines = self.engines();
        let (root, sources) = (CatalogName::root(), &self.state.sources());
        let tenants = self.tenants.iter().map(|(name, (_, tree))| (name, tree));
        let trees = tenants.chain([(&root, &self.tree)]).collect();
        let files = rendered::Files { content: &content, trees, remotes: &Nowhere, sources };
        let rendered = render_all(&files, &engines, &catalog, missing, &in_effect, &|_| true);
        let rendered = Box::pin(rendered).await;
        self.rendered += rendered.variants_rendered;
        self.problems.extend(rendered.problems.values().flatten().map(ToString::to_string));
        self.bundles.extend(rendered.bundles.into_iter().map(|bundle| (bundle.digest, bundle)));
        let revision = self.revision.as_mut().expect("a commit was made");
        for (app, variants) in rendered.forms {
            revision.forms.entry(app).or_default().extend(variants);
        }
        for (app, variants) in rendered.asking {
            revision.asking.entry(app).or_default().extend(variants);
        }
    }

    /// The entry of the only app.
    fn entry(&self, cluster: &str) -> Option<Entry> {
        let cluster: ClusterName = cluster.parse().expect("a name");
        let app: AppKey = "web".parse().expect("a name");
        let told = self.state.told(&cluster);
        let entry = told.assignment.entries.get(&app)?;
        Some(nave_proto::decode_entry(&entry.bytes).expect("ours"))
    }
}

fn tree(files: &BTreeMap<String, String>) -> Tree {
    let entry = |(path, text): (&String, &String)| {
        let entry = TreeEntry { kind: FileKind::File, blob: blob(text), size: text.len() as u64 };
        (Arc::from(path.as_str()), entry)
    };
    files.iter().map(entry).collect()
}

fn healthy_report(version: Option<Digest>) -> EntryReport {
    EntryReport {
        version,
        state: EntryState::Healthy,
        reason: EntryReason::None,
        message: String::new(),
        objects: 1,
        healthy: 1,
        unhealthy: Vec::new(),
        corrected: 0,
        drifted: 0,
        notes: Vec::new(),
        asks: None,
        digest: Digest::default(),
    }
}

/// Two apps, `web` with the ConfigMaps of `first`, `shop` with those of `second`, each on all clusters.
fn two_apps(first: &[&str], second: &[&str]) -> [(String, String); 3] {
    let app = |name: &str| {
        format!(
            "---\napiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{source: {{path: ./{name}}}}}\n---\n\
             apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {{name: {name}}}\nspec: {{apps: {{names: [{name}]}}, clusters: {{selector: {{}}}}}}\n"
        )
    };
    let maps = |names: &[&str]| {
        let map = |name: &&str| {
            format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\n")
        };
        names.iter().map(map).collect::<String>()
    };
    [
        ("apps.yaml".to_owned(), app("web") + &app("shop")),
        ("web/web.yaml".to_owned(), maps(first)),
        ("shop/shop.yaml".to_owned(), maps(second)),
    ]
}
