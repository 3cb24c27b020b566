//! From a commit with overrides to entries and back to objects: what the task does, without Git and a store.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::assign::Entry;
use nave_placement::catalog::{BlobId, CommitId, FileKind, LastGood, Tree, TreeEntry};
use nave_placement::fleet::{Fact, Facts};
use nave_placement::guard::HoldCause;
use nave_placement::overrides::Forms;
use nave_placement::render::Bundle;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

use super::core::{Decided, Given, Kept, Revision, json, step};
use super::hearing::Hearing;
use super::revision::{Asked, Content, Loader, Place, render};
use crate::state::records::{MemberRecord, PauseRecord, PauseScope, key};
use crate::state::{State, WireCodec};
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
    bundles: BTreeMap<Digest, Bundle>,
    version: u64,
    rendered: u64,
    problems: Vec<String>,
    kept: Kept,
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
        Files(self.files.values().map(|text| (blob(text), Arc::from(text.as_bytes()))).collect())
    }

    fn fold(&mut self, key: &str, value: Option<Vec<u8>>) {
        self.version += 1;
        let value = value.map(Into::into);
        self.state.fold(&key.to_owned(), Version(self.version), value.as_ref()).expect("a record");
    }

    fn member(&mut self, name: &str, labels: &[(&str, &str)]) {
        let mut record = MemberRecord::default();
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        record.membership.labels = labels.collect();
        self.fold(&format!("member/{name}"), Some(json(&record)));
    }

    async fn commit(&mut self, id: &str) {
        let entry = |(path, text): (&String, &String)| {
            let entry = TreeEntry { kind: FileKind::File, blob: blob(text), size: text.len() as u64 };
            (Arc::from(path.as_str()), entry)
        };
        self.tree = self.files.iter().map(entry).collect();
        let place = Place { name: CatalogName::root(), directory: String::new() };
        let last_good =
            self.revision.take().map_or_else(LastGood::new, |revision| revision.catalog.objects.clone());
        let commit = CommitId(id.into());
        let catalog =
            Loader::default().catalog(&self.content(), &place, &commit, &self.tree, &last_good).await;
        self.problems = catalog.problems.iter().map(ToString::to_string).collect();
        self.revision = Some(Revision {
            catalog: Arc::new(catalog),
            forms: Forms::new(),
            allowances: Vec::new(),
            author: String::new(),
        });
        self.decide().await;
    }

    fn step(&mut self) -> Decided {
        let codec = WireCodec(|digest: &Digest| self.bundles.get(digest).map(|b| b.objects.clone()));
        let given = Given {
            state: &self.state,
            revision: self.revision.as_ref().expect("a commit was made"),
            waiting: None,
            codec: &codec,
            hearing: &Hearing::default(),
            now_ms: 1_000,
        };
        step(given, &mut self.kept)
    }

    /// Renders what is missing, then writes until there is nothing to write.
    async fn decide(&mut self) -> Decided {
        let mut decided = self.step();
        if !decided.missing.is_empty() {
            self.render(&decided.missing).await;
            decided = self.step();
        }
        while !decided.writes.is_empty() {
            for write in decided.writes {
                for (key, value) in write.batch.checked().expect("within the limits").writes() {
                    self.fold(key, value.as_ref().map(|value| value.to_vec()));
                }
            }
            decided = self.step();
        }
        decided
    }

    async fn render(&mut self, missing: &Asked) {
        let mut in_effect = Forms::new();
        for ((app, variant), record) in &self.state.forms {
            in_effect.entry(app.clone()).or_default().insert(variant.clone(), (&*record.record).into());
        }
        let catalog = self.revision.as_ref().expect("a commit was made").catalog.clone();
        let content = self.content();
        let rendered = render(&content, &catalog, &self.tree, missing, &in_effect, &|_| true).await;
        self.rendered += rendered.variants_rendered;
        self.problems.extend(rendered.problems.iter().map(ToString::to_string));
        self.bundles.extend(rendered.bundles.into_iter().map(|bundle| (bundle.digest, bundle)));
        let forms = &mut self.revision.as_mut().expect("a commit was made").forms;
        for (app, variants) in rendered.forms {
            forms.entry(app).or_default().extend(variants);
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

#[tokio::test]
async fn overrides_reach_the_clusters_that_they_select_and_what_cannot_be_rendered_stays() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for number in 0..30 {
        world.member(&format!("small-{number}"), &[]);
    }
    world.member("big-1", &[("size", "big")]);
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 2), "each variant is rendered once");
    let (big, small) = (world.entry("big-1").expect("it runs"), world.entry("small-1").expect("it runs"));
    assert_ne!(big.bundle, small.bundle);
    assert_eq!(world.entry("small-29").expect("it runs").bundle, small.bundle);
    assert_eq!(small.values, [("cluster.name".to_owned(), "small-1".into())].into());
    let records: Vec<String> =
        world.state.forms.keys().map(|(app, variant)| format!("{app} {variant}")).collect();
    assert_eq!(records, ["web ", "web big"]);

    // A label without a commit: one that is named changes the values, one that selects the override the variant.
    world.member("small-1", &[("owner", "ann"), ("color", "red")]);
    world.member("small-2", &[("size", "big")]);
    world.decide().await;
    let owned = world.entry("small-1").expect("it runs");
    assert_eq!((owned.bundle, owned.values["labels.owner"].clone()), (small.bundle, "ann".into()));
    let told = world.state.told(&"small-1".parse().expect("a name"));
    world.member("small-1", &[("owner", "ann"), ("color", "blue")]);
    world.decide().await;
    assert_eq!(world.state.told(&"small-1".parse().expect("a name")), told, "nothing names that label");
    assert_eq!(world.entry("small-2").expect("it runs").bundle, big.bundle);
    assert_eq!(world.rendered, 2);

    // The patch loses its target: the override's clusters keep what they have, also after the hub forgot all but its records.
    world.files.insert("web/web.yaml".into(), config_map("other"));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!(world.problems.len(), 1, "{:?}", world.problems);
    assert!(world.problems[0].contains("Override/big: app web has no object"), "{:?}", world.problems);
    assert_eq!(world.entry("big-1"), Some(big.clone()));
    assert_ne!(world.entry("small-3").expect("it runs").bundle, small.bundle);

    // Mended, everybody has the newest.
    world.files.insert("apps.yaml".into(), APPS.replace("name: web}, patch", "name: other}, patch"));
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!(world.problems, Vec::<String>::new());
    assert_ne!(world.entry("big-1").expect("it runs").bundle, big.bundle);
}

#[tokio::test]
async fn a_value_that_lacks_keeps_one_entry_and_no_other() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for name in ["a", "b", "c"] {
        world.member(name, &[("zone", "z")]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    let before = world.entry("b");
    world.files.insert("web/web.yaml".into(), config_map("web").replace("cluster.name", "labels.zone"));
    world.member("b", &[]);
    world.commit("2222222222222222222222222222222222222222").await;
    let decided = world.decide().await;
    assert_eq!(world.entry("b"), before);
    assert_eq!(world.entry("a").expect("it runs").values["labels.zone"], "z");
    let lacks: Vec<String> = decided.lacking.iter().map(|l| format!("{}: {}", l.cluster, l.lack)).collect();
    assert_eq!(
        lacks,
        ["b: ${labels.zone} has no value; give the cluster the label, or write ${labels.zone:-DEFAULT}"]
    );
    world.member("b", &[("zone", "y")]);
    world.decide().await;
    assert_eq!(world.entry("b").expect("it runs").values["labels.zone"], "y");
}

#[tokio::test]
async fn a_renamed_app_that_cannot_be_rendered_loses_nothing() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let before = world.entry("a");
    let renamed = APPS.replace("name: web}\nspec: {source", "name: shop}\nspec: {formerly: [web], source");
    world.files.insert("apps.yaml".into(), renamed.replace("names: [web]", "names: [shop]"));
    world.files.insert("web/web.yaml".into(), config_map("web").replace("cluster.name", "labels.zone"));
    world.commit("2222222222222222222222222222222222222222").await;
    let told = world.state.told(&"a".parse().expect("a name"));
    assert_eq!((world.entry("a"), told.assignment.leaving.len()), (before, 0), "{:?}", world.problems);
    world.member("a", &[("zone", "z")]);
    world.decide().await;
    let told = world.state.told(&"a".parse().expect("a name"));
    let apps: Vec<String> = told.assignment.entries.keys().map(ToString::to_string).collect();
    assert_eq!((apps, told.assignment.leaving.len()), (vec!["shop".to_owned()], 0));
}

#[tokio::test]
async fn whether_an_override_applies_is_not_guessed_while_a_fact_is_unknown() {
    let facts = |nodes: Fact<u32>| json(&Facts { nodes, ..Facts::default() });
    let mut world = World::default();
    let apps = APPS.replace("selector: {matchLabels: {size: big}}", "where: facts.nodes > 3");
    world.files.insert("apps.yaml".into(), apps);
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for (name, nodes) in [("large", Fact::Present(9)), ("small", Fact::Present(2)), ("silent", Fact::Unknown)]
    {
        world.member(name, &[]);
        world.fold(&format!("facts/{name}"), Some(facts(nodes)));
    }
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 2));
    let bundle = |world: &World, name: &str| world.entry(name).map(|entry| entry.bundle);
    assert_ne!(bundle(&world, "large"), bundle(&world, "small"));
    assert_eq!(world.entry("silent"), None, "unknown never adds");
    let decided = world.decide().await;
    let lacks: Vec<String> = decided.lacking.iter().map(|l| format!("{}: {}", l.cluster, l.lack)).collect();
    assert_eq!(
        lacks,
        [
            "silent: whether Override/big applies is not known yet: facts.nodes is not known, so the answer stays what it was; clusters.where is facts.nodes > 3"
        ]
    );
    assert!(
        super::lacking::lacks(&world.revision.as_ref().expect("a commit was made").catalog, &decided.lacking)
            .iter()
            .all(|problem| !problem.is_error())
    );

    world.fold("facts/silent", Some(facts(Fact::Present(4))));
    world.decide().await;
    assert_eq!(bundle(&world, "silent"), bundle(&world, "large"));
    let before = world.entry("large");
    world.fold("facts/large", Some(facts(Fact::Unknown)));
    world.decide().await;
    assert_eq!(world.entry("large"), before, "it stays as it was");
    world.fold("facts/large", Some(facts(Fact::Absent)));
    world.decide().await;
    assert_eq!((bundle(&world, "large"), world.rendered), (bundle(&world, "small"), 2));
}

#[tokio::test]
async fn a_step_looks_only_at_what_changed_since_the_one_before() {
    let mut world = World::default();
    let region = |n: usize| {
        let app = format!("kind: App\nmetadata: {{name: app-{n}}}\nspec: {{source: {{path: ./web}}}}\n");
        let clusters = format!("{{selector: {{matchLabels: {{region: r{n}}}}}}}");
        let spec = format!("{{apps: {{names: [app-{n}]}}, clusters: {clusters}}}");
        let placement = format!("kind: Placement\nmetadata: {{name: region-{n}}}\nspec: {spec}\n");
        [app, placement].map(|object| format!("---\napiVersion: nave.dev/v1alpha1\n{object}")).concat()
    };
    let over = "---\napiVersion: nave.dev/v1alpha1\nkind: Override\nmetadata: {name: gold}\nspec: {apps: {selector: {}}, clusters: {where: \"labels.team == 'a'\"}, patches: [{target: {kind: ConfigMap}, patch: {data: {team: some}}}]}\n";
    world.files.insert("apps.yaml".into(), (0..50).map(region).collect::<String>() + over);
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for number in 0..100 {
        world.member(&format!("c{number}"), &[("region", &format!("r{}", number % 50))]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    let apps = |world: &World| -> Vec<String> {
        let told = world.state.told(&"c7".parse().expect("a name"));
        told.assignment.entries.keys().map(ToString::to_string).collect()
    };
    assert_eq!(apps(&world), ["app-7"], "{:?}", world.problems);
    let work = async |world: &mut World| {
        let before = world.kept.work();
        world.decide().await;
        let after = world.kept.work();
        (after.rules - before.rules, after.pairs - before.pairs, after.evaluations - before.evaluations)
    };
    let bundle = |world: &World, cluster: &str, app: &str| {
        let told = world.state.told(&cluster.parse().expect("a name"));
        let entry = told.assignment.entries.get(&app.parse::<AppKey>().expect("a name"));
        entry.map(|entry| nave_proto::decode_entry(&entry.bytes).expect("ours").bundle)
    };
    assert_eq!(work(&mut world).await, (0, 0, 0), "nothing changed");
    world.member("c7", &[("region", "r8")]);
    assert_eq!(work(&mut world).await, (0, 2, 0), "the rule that it left, and the one that it came to");
    assert_eq!(apps(&world), ["app-8"]);
    world.member("c7", &[("region", "r8"), ("team", "a")]);
    assert_eq!(work(&mut world).await, (0, 0, 1), "the override's expression, once for all apps");
    assert_ne!(bundle(&world, "c7", "app-8"), bundle(&world, "c8", "app-8"), "{:?}", world.problems);
    world.member("c100", &[("region", "r9")]);
    assert_eq!(
        work(&mut world).await,
        (0, 50, 1),
        "who is new is looked at by every rule, and nobody else is"
    );
}

#[tokio::test]
async fn no_commit_takes_away_what_the_one_before_protects() {
    let mut world = World::default();
    let protected = APPS.replace("spec: {source", "spec: {protect: true, source");
    assert_ne!(protected, APPS);
    let nothing = "apiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {name: prod}\n".to_owned();
    world.files.insert("apps.yaml".into(), protected.clone());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let ran = world.entry("a");
    assert!(ran.is_some());
    let held =
        |world: &World| world.state.holds.values().map(|hold| hold.hold.to_string()).collect::<Vec<_>>();
    let waits =
        ["app web is protected and would leave 1 of its 1 clusters; none may go without approval".to_owned()];

    // It vanishes, and nothing of the commits after it says a word of it.
    for commit in ["2222222222222222222222222222222222222222", "3333333333333333333333333333333333333333"] {
        world.files.insert("apps.yaml".into(), nothing.replace("prod", &format!("s{}", &commit[..1])));
        world.commit(commit).await;
        assert_eq!((world.entry("a"), held(&world)), (ran.clone(), waits.to_vec()), "{commit}");
    }

    // It comes back and loses its placement together with its protection; that is one commit too early, and another that
    // has nothing to do with it lets nothing through.
    let app_alone = APPS.split("---").next().expect("the app comes first").to_owned();
    assert!(app_alone.contains("kind: App"));
    world.files.insert("apps.yaml".into(), protected.clone());
    world.commit("4444444444444444444444444444444444444444").await;
    assert_eq!((world.entry("a").is_some(), held(&world)), (true, Vec::new()));
    for (commit, more) in [
        ("5555555555555555555555555555555555555555", ""),
        ("6666666666666666666666666666666666666666", "---\n"),
    ] {
        let more = if more.is_empty() { String::new() } else { format!("{more}{nothing}") };
        world.files.insert("apps.yaml".into(), app_alone.clone() + &more);
        world.commit(commit).await;
        assert_eq!((world.entry("a").is_some(), held(&world)), (true, waits.to_vec()), "{commit}");
    }

    // First the protection goes, then the app.
    world.files.insert("apps.yaml".into(), APPS.into());
    world.commit("7777777777777777777777777777777777777777").await;
    world.files.insert("apps.yaml".into(), protected);
    world.commit("8888888888888888888888888888888888888888").await;
    world.files.insert("apps.yaml".into(), APPS.into());
    world.commit("9999999999999999999999999999999999999999").await;
    world.files.insert("apps.yaml".into(), app_alone);
    world.commit("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert_eq!((world.entry("a"), held(&world)), (None, Vec::new()));
}

#[tokio::test]
async fn what_the_commit_in_effect_protects_no_label_takes_away() {
    let mut world = World::default();
    let selected =
        APPS.replace("clusters: {selector: {}}}", "clusters: {selector: {matchLabels: {env: prod}}}}");
    assert_ne!(selected, APPS);
    world.files.insert("apps.yaml".into(), selected.replace("spec: {source", "spec: {protect: true, source"));
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[("env", "prod")]);
    // The very first commit binds itself.
    world.commit("1111111111111111111111111111111111111111").await;
    assert!(world.entry("a").is_some(), "{:?}", world.problems);
    world.member("a", &[]);
    world.decide().await;
    let held: Vec<_> = world.state.holds.values().map(|hold| hold.hold.cause.clone()).collect();
    let app = "web".parse().expect("a name");
    assert_eq!((world.entry("a").is_some(), held), (true, vec![HoldCause::ProtectedApp { app }]));

    // Nor does a commit that takes the protection away and is taken while the hold is shown no more.
    world.state.holds.clear();
    world.files.insert("apps.yaml".into(), selected.clone());
    world.commit("2222222222222222222222222222222222222222").await;
    world.state.holds.clear();
    world.files.insert(
        "apps.yaml".into(),
        format!("{selected}---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {{name: prod}}\n"),
    );
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!((world.entry("a").is_some(), world.state.holds.len()), (true, 1));
}

#[tokio::test]
async fn what_is_paused_neither_comes_nor_changes_nor_leaves_nor_goes_on_under_another_name() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let apps = |world: &World, cluster: &str| -> Vec<String> {
        let told = world.state.told(&cluster.parse().expect("a name"));
        assert!(told.assignment.leaving.is_empty());
        told.assignment.entries.keys().map(ToString::to_string).collect()
    };
    let pause = |world: &mut World, app: Option<&str>, cluster: Option<&str>, until_ms: u64| {
        let scope = PauseScope {
            app: app.map(|app| app.parse().expect("a name")),
            cluster: cluster.map(|cluster| cluster.parse().expect("a name")),
        };
        let record = PauseRecord {
            scope: scope.clone(),
            since_ms: 0,
            until_ms,
            by: "ann".into(),
            reason: String::new(),
        };
        world.fold(&key::pause(&scope), Some(json(&record)));
    };
    let waits = |decided: &Decided| -> Vec<String> {
        decided.paused.iter().map(|((cluster, app), why)| format!("{app} on {cluster}: {why}")).collect()
    };
    let first = world.entry("a");
    pause(&mut world, Some("web"), None, 5_000);
    assert_eq!(waits(&world.decide().await), Vec::<String>::new(), "nothing of it would change");

    // It changes and comes to another cluster.
    world.files.insert("web/web.yaml".into(), config_map("web").replace("{on:", "{off:"));
    world.member("b", &[]);
    world.commit("2222222222222222222222222222222222222222").await;
    let why = "app web is paused until 1970-01-01T00:00:05Z by ann";
    assert_eq!(
        waits(&world.decide().await),
        [format!("web on a: {why}"), format!("web on b: {why}")],
        "{:?}",
        world.problems
    );
    assert_eq!((world.entry("a"), apps(&world, "b")), (first.clone(), vec![]));

    // It goes on under another name: that waits where the old one runs, and nowhere else.
    let renamed = APPS.replace("name: web}\nspec: {source", "name: shop}\nspec: {formerly: [web], source");
    world.files.insert("apps.yaml".into(), renamed.replace("names: [web]", "names: [shop]"));
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!(waits(&world.decide().await), [format!("shop on a: {why}")]);
    assert_eq!((world.entry("a"), apps(&world, "b")), (first.clone(), vec!["shop".to_owned()]));

    // It is dropped: nothing leaves, though nobody holds it.
    let app_alone = APPS.split("---").next().expect("the app comes first").to_owned();
    world.files.insert("apps.yaml".into(), app_alone);
    pause(&mut world, None, None, 2_000);
    world.commit("4444444444444444444444444444444444444444").await;
    assert_eq!((world.entry("a"), apps(&world, "b")), (first, vec!["shop".to_owned()]));
    assert_eq!(world.state.holds.len(), 0);

    // All pauses are over: what waited takes place, and they are forgotten.
    for scope in world.state.pauses.keys().cloned().collect::<Vec<_>>() {
        let until_ms = 1_000;
        let record = PauseRecord { until_ms, ..(*world.state.pauses[&scope].record).clone() };
        world.fold(&key::pause(&scope), Some(json(&record)));
    }
    world.decide().await;
    let left = |cluster: &str| world.state.told(&cluster.parse().expect("a name")).assignment.leaving.len();
    // Of the renamed one its former name leaves, too: nobody has confirmed yet that it took the new one.
    assert_eq!((left("a"), left("b"), world.state.pauses.len()), (1, 2, 0));
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

#[tokio::test]
async fn who_hands_objects_over_to_a_paused_app_keeps_them_until_that_may_take_them() {
    let mut world = World::default();
    world.files.extend(two_apps(&["db", "old", "web"], &["shop"]));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let drops = |world: &World| {
        let told = world.state.told(&"a".parse().expect("a name"));
        let drops = |(app, entry): (&AppKey, &nave_placement::assign::EncodedEntry)| {
            format!("{app} {}", nave_proto::decode_entry(&entry.bytes).expect("ours").drops)
        };
        (told.assignment.generation.0, told.assignment.entries.iter().map(drops).collect::<Vec<_>>())
    };
    let before = drops(&world);
    let scope = PauseScope { app: Some("shop".parse().expect("a name")), cluster: None };
    let pause = |until_ms| PauseRecord {
        scope: scope.clone(),
        since_ms: 0,
        until_ms,
        by: "ann".into(),
        reason: String::new(),
    };
    world.fold(&key::pause(&scope), Some(json(&pause(5_000))));
    // `db` goes to the paused app, `old` goes for good.
    world.files.extend(two_apps(&["web"], &["shop", "db"]));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!(drops(&world), before, "{:?}", world.problems);
    let waits: Vec<String> = world.decide().await.paused.keys().map(|(_, app)| app.to_string()).collect();
    assert_eq!(waits, ["shop", "web"]);
    world.fold(&key::pause(&scope), Some(json(&pause(1_000))));
    world.decide().await;
    assert_eq!(drops(&world).1, ["shop 0", "web 1"]);
}

#[tokio::test]
async fn a_pause_keeps_no_removal_from_being_taken_back_and_freezes_what_was_told_where_all_is_paused() {
    let mut world = World::default();
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    world.member("a", &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let app_alone = APPS.split("---").next().expect("the app comes first").to_owned();
    world.files.insert("apps.yaml".into(), app_alone);
    world.commit("2222222222222222222222222222222222222222").await;
    let told = |world: &World| world.state.told(&"a".parse().expect("a name"));
    assert_eq!((told(&world).assignment.leaving.len(), world.entry("a")), (1, None));
    // Its spoke has not acknowledged it.
    let scope = PauseScope::default();
    let pause = PauseRecord {
        scope: scope.clone(),
        since_ms: 0,
        until_ms: 5_000,
        by: "ann".into(),
        reason: String::new(),
    };
    world.fold(&key::pause(&scope), Some(json(&pause)));
    world.decide().await;
    let closed = nave_proto::closed(&told(&world).assignment.schedule, 1_000).expect("nothing starts");
    assert_eq!(closed.until_ms, Some(5_000), "the spoke ends it by itself");
    world.files.insert("apps.yaml".into(), APPS.into());
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!((told(&world).assignment.leaving.len(), world.entry("a").is_some()), (0, true));
    world.fold(&key::pause(&scope), None);
    world.decide().await;
    assert!(told(&world).assignment.schedule.is_empty());
}
