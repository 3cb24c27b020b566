//! Plans: what a revision would do, told before it is taken.

use bytes::Bytes;
use nave_placement::guard::HoldCause;
use nave_placement::rollout::Cause;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::deciding::older::Trees;
use crate::planning::view::{Moves, ObjectChange, PlanView, WaveWaits, Why};
use crate::planning::{Shelf, Side, Stock, plan};

/// No earlier commit is at hand.
struct NoTrees;

#[async_trait]
impl Content for NoTrees {
    async fn read_all(&self, blobs: Vec<BlobId>, _: u64) -> Vec<Result<Arc<[u8]>, String>> {
        blobs.iter().map(|_| Err("it is gone".to_owned())).collect()
    }
}

#[async_trait]
impl Trees for NoTrees {
    async fn tree_of(&self, _: &CommitId) -> Result<Tree, String> {
        Err("it is gone".to_owned())
    }
}

impl Stock for BTreeMap<Digest, Bundle> {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.get(digest).map(|bundle| Bytes::copy_from_slice(&bundle.bytes))
    }

    fn has(&self, digest: &Digest) -> bool {
        self.contains_key(digest)
    }
}

impl World {
    /// What the files, as they are now, would do.
    pub(super) async fn plan(&self) -> PlanView {
        self.plan_of(&CatalogName::root()).await
    }

    /// What the files of a catalog, as they are now, would do.
    pub(super) async fn plan_of(&self, name: &CatalogName) -> PlanView {
        let in_effect = self.revision.as_ref().expect("a commit was made");
        let trees: BTreeMap<CatalogName, Tree> = (self.tenants.iter())
            .map(|(name, (_, tree))| (name.clone(), tree.clone()))
            .chain([(CatalogName::root(), self.tree.clone())])
            .collect();
        let tree = tree(self.tenants.get(name).map_or(&self.files, |(files, _)| files));
        let planned = self.read(name, &tree, "9999999999999999999999999999999999999999").await;
        let owns = in_effect.owns.iter().cloned();
        let owns = owns.map(|own| if own.catalog.name == *name { planned.clone() } else { own });
        let new = Revision::of(owns.collect()).expect("it has a root");
        let connected = self.state.members.keys().map(|name| (name.clone(), None)).collect();
        let world = crate::planning::World {
            catalog: name.clone(),
            places: &trees.keys().map(|name| (name.clone(), Self::place(name))).collect(),
            trees: &NoTrees,
            remotes: &Nowhere,
            elsewhere: &Nowhere,
            engines: &self.engines(),
            hearing: Hearing { connected, ..Hearing::default() },
            now_ms: 1_000 + self.now_ms,
            stop: CancellationToken::new(),
            live: None,
        };
        let content = self.content();
        let side = |revision, trees| Side { revision, trees, content: &content, problems: Vec::new() };
        let base = side(in_effect.clone(), trees.clone());
        let new = side(new, trees.into_iter().chain([(name.clone(), tree)]).collect());
        let planned = plan(&world, Shelf::new(&self.bundles), self.state.clone(), base, new, None);
        planned.await.expect("a plan").view
    }
}

fn world(clusters: usize) -> World {
    let mut world = World { obeys: true, ..World::default() };
    world
        .files
        .insert("apps.yaml".into(), APPS.replace("selector: {}", "selector: {matchLabels: {env: prod}}"));
    world.files.insert("web/web.yaml".into(), config_map("web"));
    for number in 1..=clusters {
        world.member(&format!("c-{number:02}"), &[("env", "prod")]);
    }
    world
}

fn relabelled(world: &mut World, clusters: &[&str], env: &str) {
    let text: String = clusters
        .iter()
        .map(|name| {
            format!("---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}, labels: {{env: {env}}}}}\nspec: {{}}\n")
        })
        .collect();
    world.files.insert("clusters.yaml".into(), text);
}

#[tokio::test]
async fn the_same_files_change_nothing() {
    let mut world = world(3);
    world.commit("1111111111111111111111111111111111111111").await;
    world.files.insert("README.md".into(), "words".into());
    let planned = world.plan().await;
    assert_eq!(
        (planned.apps.len(), planned.summary.changes, planned.changes()),
        (0, 0, false),
        "{planned:#?}"
    );
    assert!(!planned.is_stopped());
}

#[tokio::test]
async fn what_goes_in_the_middle_of_a_rollout_is_what_is_there() {
    let mut world = world(12);
    world.commit("1111111111111111111111111111111111111111").await;
    world.obeys = false;
    world.files.insert("web/web.yaml".into(), config_map("more"));
    world.commit("2222222222222222222222222222222222222222").await;
    relabelled(&mut world, &["c-12"], "dev");
    let planned = world.plan().await;
    let removed = &planned.apps[0].removed;
    assert_eq!((planned.summary.lost, removed.len()), (1, 1), "{planned:#?}");
    let names: Vec<&str> = removed[0].objects.iter().map(|object| &*object.name).collect();
    assert_eq!(names, ["web"], "its turn has not come: {planned:#?}");
}

#[tokio::test]
async fn in_the_middle_of_a_rollout_a_plan_compares_with_what_each_cluster_has() {
    let mut world = world(12);
    world.commit("1111111111111111111111111111111111111111").await;
    world.obeys = false;
    let first = world.files["web/web.yaml"].clone();
    world.files.insert("web/web.yaml".into(), first.clone() + "---\n" + &config_map("more"));
    world.commit("2222222222222222222222222222222222222222").await;
    let plan = async |world: &mut World, text: String| {
        world.files.insert("web/web.yaml".into(), text);
        world.plan().await
    };
    let changed = |planned: &PlanView| {
        let of = |change: &crate::planning::view::Change| {
            let objects: Vec<_> = change.objects.iter().map(|o| (o.change, o.name.clone())).collect();
            (change.clusters.len(), objects)
        };
        planned.apps[0].changed.iter().map(of).collect::<Vec<_>>()
    };
    let (deleted, created) = (ObjectChange::Deleted, ObjectChange::Created);
    // It goes back: the canary does, and the others stay.
    let back = plan(&mut world, first.clone()).await;
    assert_eq!(changed(&back), [(1, vec![(deleted, "more".to_owned())])], "{back:#?}");
    let (summary, stays) = (&back.summary, back.apps[0].stays.len());
    assert_eq!((summary.changes, summary.clusters, summary.stays, stays), (1, 1, 11, 11));
    assert!(back.apps[0].leaving.is_empty());
    // What is to go already goes in the waves that begin.
    world.files.insert("web/web.yaml".into(), first.clone() + "---\n" + &config_map("more"));
    relabelled(&mut world, &["c-12"], "dev");
    world.commit("3333333333333333333333333333333333333333").await;
    let back = plan(&mut world, first.clone()).await;
    let names: Vec<&str> = back.apps[0].leaving.iter().map(|cluster| cluster.as_str()).collect();
    assert_eq!((names, back.summary.lost), (vec!["c-12"], 0), "{back:#?}");
    relabelled(&mut world, &["c-12"], "prod");
    world.files.insert("web/web.yaml".into(), first.clone() + "---\n" + &config_map("more"));
    world.commit("4444444444444444444444444444444444444444").await;
    // Something else comes: the canary alone has what was to come.
    let other = plan(&mut world, first.clone() + "---\n" + &config_map("other")).await;
    let comes = (created, "other".to_owned());
    assert_eq!(changed(&other), [(11, vec![comes.clone()]), (1, vec![comes, (deleted, "more".to_owned())])]);
    assert_eq!((other.summary.changes, other.summary.stays, other.apps[0].moves), (12, 0, Moves::InWaves));
}

#[tokio::test]
async fn what_moves_with_something_that_is_held_already_says_so() {
    let mut world = world(4);
    let group = |apps: &str| apps.replace("substitute: true", "substitute: true, group: shop");
    let second =
        |apps: &str| apps.replace("name: web", "name: db").replace("[web]", "[db]").replace("./web", "./db");
    let first = group(&world.files["apps.yaml"]);
    let both = format!("{first}\n---\n{}", second(&first));
    world.files.insert("apps.yaml".into(), both.clone());
    world.files.insert("db/db.yaml".into(), config_map("db"));
    world.commit("1111111111111111111111111111111111111111").await;
    let away = second(&first).replace("env: prod", "env: none");
    world.files.insert("apps.yaml".into(), format!("{first}\n---\n{away}"));
    world.commit("2222222222222222222222222222222222222222").await;
    let hold = world.state.holds.keys().next().expect("it is held").clone();
    world.files.insert("web/web.yaml".into(), config_map("web").replace("owner:", "keeper:"));
    let planned = world.plan().await;
    let app = &planned.apps[0];
    assert_eq!((app.app.name(), app.waits.len(), planned.holds.len()), ("web", 1, 0), "{planned:#?}");
    assert_eq!(app.waits[0].clusters.len(), 4);
    assert!(app.waits[0].message.starts_with(&format!("hold {hold}: ")), "{app:#?}");
}

#[tokio::test]
async fn a_changed_object_has_its_diff_and_goes_in_the_waves_that_the_hub_would_make() {
    let mut world = world(12);
    world.commit("1111111111111111111111111111111111111111").await;
    world.obeys = false;
    world.files.insert(
        "web/web.yaml".into(),
        config_map("web").replace("owner:", "keeper:") + "---\n" + &config_map("more"),
    );
    let planned = world.plan().await;
    let app = &planned.apps[0];
    assert_eq!(
        (planned.summary.changed, app.changed.len(), app.moves),
        (12, 1, Moves::InWaves),
        "{planned:#?}"
    );
    let objects = &app.changed[0].objects;
    assert_eq!(
        objects.iter().map(|o| (o.change, &*o.name)).collect::<Vec<_>>(),
        [(ObjectChange::Created, "more"), (ObjectChange::Changed, "web")]
    );
    assert!(
        objects[1].diff.contains("-  owner: ") && objects[1].diff.contains("+  keeper: "),
        "{objects:#?}"
    );
    world.commit("9999999999999999999999999999999999999999").await;
    let real = world.state.plans.values().next().expect("a plan").record.clone();
    let names = |names: &[ClusterName]| names.to_vec();
    let planned: Vec<_> = app.waves.iter().map(|wave| (wave.name.clone(), names(&wave.clusters))).collect();
    assert_eq!(planned, real.waves.iter().map(|w| (w.name.clone(), names(&w.members))).collect::<Vec<_>>());
    let rollout = app.rollout.as_ref().expect("a rollout");
    assert_eq!((rollout.id.as_str(), rollout.cause), (real.id.as_str(), Cause::Version));
    let waits = &app.waves[1].waits_for[0].what;
    assert_eq!(*waits, WaveWaits::Healthy { wave: app.waves[0].name.clone() });
}

#[tokio::test]
async fn clusters_that_come_and_go_have_the_reasons_of_their_placements() {
    let mut world = world(3);
    world.member("d-01", &[("env", "dev")]);
    world.commit("1111111111111111111111111111111111111111").await;
    let apps = world.files["apps.yaml"].replace("{env: prod}", "{env: dev}");
    world.files.insert("apps.yaml".into(), apps);
    let planned = world.plan().await;
    let app = &planned.apps[0];
    assert_eq!((app.gained.len(), app.lost.len(), planned.summary.changes), (1, 3, 4), "{planned:#?}");
    assert!(matches!(&app.gained[0].why[0].what, Why::Chosen { placement, .. } if placement == "web"));
    assert_eq!(
        app.lost[0].why[0].message,
        "placement web: its label env is \"prod\", clusters.selector wants env=dev"
    );
    assert_eq!(app.installed[0].objects[0].change, ObjectChange::Created);
    assert_eq!(app.removed[0].objects[0].change, ObjectChange::Deleted);
}

#[tokio::test]
async fn a_slip_in_a_label_is_held_by_name_and_says_what_would_let_it_go() {
    let mut world = world(12);
    world.commit("1111111111111111111111111111111111111111").await;
    relabelled(&mut world, &["c-01", "c-02", "c-03", "c-04"], "prdo");
    let planned = world.plan().await;
    assert_eq!((planned.summary.lost, planned.is_stopped()), (4, true), "{planned:#?}");
    let causes: Vec<_> = planned.holds.iter().map(|hold| &hold.cause).collect();
    let web: AppKey = "web".parse().expect("a name");
    assert_eq!(causes, [&HoldCause::App { app: web.clone() }]);
    assert_eq!(planned.holds[0].allow[0], "trailer `Nave-Allow-Removal: app/web=4` in the commit");
    assert_eq!(planned.apps[0].holds.len(), 1);
    world.commit("9999999999999999999999999999999999999999").await;
    assert!(world.state.holds.contains_key(&planned.holds[0].id), "the id is the one that the hub gives");
    // What is held is no change of the next plan.
    world.files.insert("README.md".into(), "words".into());
    let next = world.plan().await;
    assert_eq!((next.apps.len(), next.holds.len()), (0, 0), "{next:#?}");
}

#[tokio::test]
async fn a_file_that_is_no_yaml_is_a_problem_and_changes_nothing() {
    let mut world = world(3);
    world.commit("1111111111111111111111111111111111111111").await;
    let broken = world.files["apps.yaml"].replace("kind: Placement", "kind: [Placement");
    world.files.insert("apps.yaml".into(), broken);
    let planned = world.plan().await;
    assert_eq!((planned.apps.len(), planned.is_stopped()), (0, true), "{planned:#?}");
    assert_eq!(&*planned.problems[0].file, "apps.yaml");
}

#[tokio::test]
async fn what_is_paused_waits_and_says_so() {
    let mut world = world(3);
    world.commit("1111111111111111111111111111111111111111").await;
    let pause = json!({"scope": {"app": "web"}, "sinceMs": 0, "untilMs": 90_000_000, "by": "ann", "reason": "a fair"});
    world.fold("pause/*/web", Some(json(&pause)));
    world.files.insert("web/web.yaml".into(), config_map("web").replace("owner:", "keeper:"));
    let planned = world.plan().await;
    let app = &planned.apps[0];
    assert_eq!(
        (app.moves, app.waits.len(), app.waits[0].clusters.len()),
        (Moves::InWaves, 1, 3),
        "{planned:#?}"
    );
    assert!(app.waits[0].message.contains("a fair"), "{app:#?}");
}

#[tokio::test]
async fn options_and_values_that_change_alone_are_told_by_name() {
    let mut world = world(3);
    let used = config_map("web").replace("data: {", "data: {tier: \"${parameters.tier}\", ");
    world.files.insert("web/web.yaml".into(), used);
    let fleet = |tier: &str| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: fleet}}\nspec: {{parameters: {{tier: {tier}}}}}\n"
        )
    };
    world.files.insert("fleet.yaml".into(), fleet("gold"));
    world.commit("1111111111111111111111111111111111111111").await;
    world.files.insert("fleet.yaml".into(), fleet("silver"));
    let apps = world.files["apps.yaml"].replace("substitute: true", "substitute: true, prune: false");
    world.files.insert("apps.yaml".into(), apps);
    let planned = world.plan().await;
    let change = &planned.apps[0].changed[0];
    assert_eq!((change.objects.len(), change.clusters.len()), (0, 3), "{planned:#?}");
    let named = |fields: &[crate::planning::view::FieldChange]| {
        let field = |f: &crate::planning::view::FieldChange| (f.name.clone(), f.from.clone(), f.to.clone());
        fields.iter().map(field).collect::<Vec<_>>()
    };
    assert_eq!(
        named(&change.values),
        [("parameters.tier".into(), Some(json!("gold")), Some(json!("silver")))]
    );
    assert_eq!(named(&change.options), [("prune".into(), Some(json!(true)), Some(json!(false)))]);
}

#[tokio::test]
async fn what_is_only_observed_and_a_hub_in_doubt_say_so() {
    let mut world = world(3);
    let apps = world.files["apps.yaml"].replace("substitute: true", "substitute: true, mode: Observe");
    world.files.insert("apps.yaml".into(), apps);
    world.commit("1111111111111111111111111111111111111111").await;
    let doubt = json!({"cluster": "c-02", "epoch": 1, "generation": 9, "sinceMs": 0});
    world.fold("doubt", Some(json(&doubt)));
    world.files.insert("web/web.yaml".into(), config_map("web").replace("owner:", "keeper:"));
    let planned = world.plan().await;
    let change = &planned.apps[0].changed[0];
    assert_eq!((change.objects.len(), change.clusters.len()), (0, 3), "{planned:#?}");
    assert!(change.not_compared.as_ref().is_some_and(|why| why.contains("Observe")), "{change:#?}");
    assert!(planned.obstacle.is_some_and(|why| why.contains("cluster c-02 proved")));
}
