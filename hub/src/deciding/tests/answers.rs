//! Charts that ask something of the cluster.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use nave_placement::fleet::{Fact, Facts, KubernetesVersion};
use nave_placement::overrides::Lack;
use nave_placement::rollout::Outcome;

use super::*;
use crate::state::history::Cause;

const APP: &str = "\
apiVersion: nave.dev/v1alpha1
kind: App
metadata: {name: web}
spec: {source: {helm: {chart: ./web}}}
---
apiVersion: nave.dev/v1alpha1
kind: Placement
metadata: {name: web}
spec: {apps: {names: [web]}, clusters: {selector: {}}}
";
const MINOR: &str = "{{ .Capabilities.KubeVersion.Minor }}";
/// Stands in for helm: gives what it is told, and what stands in the first template.
const HELM: &str = r#"#!/bin/sh
case "$1" in version) echo v3.0.0; exit;; esac
chart="$3"; apis=none
while [ $# -gt 0 ]; do
  case "$1" in --kube-version) version="$2";; --api-versions) apis="$2";; esac
  shift
done
read -r line < "$chart/templates/a.yaml"
printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: default}\n'
printf 'data: {version: "%s", apis: "%s", line: "%s"}\n' "$version" "$apis" "${line%% *}"
"#;

/// A fleet, and the directory of the program that stands in.
fn world(template: &str) -> (World, tempfile::TempDir) {
    let room = tempfile::tempdir().expect("a directory");
    let helm: PathBuf = room.path().join("helm");
    std::fs::write(&helm, HELM).expect("it is written");
    std::fs::set_permissions(&helm, std::fs::Permissions::from_mode(0o755)).expect("they are set");
    let mut world = World { obeys: true, helm: Some(helm), ..World::default() };
    world.files.insert("apps.yaml".into(), APP.into());
    world.files.insert("web/Chart.yaml".into(), "apiVersion: v2\nname: web\nversion: 1.0.0\n".into());
    world.files.insert("web/templates/a.yaml".into(), template.into());
    (world, room)
}

/// A member that says what it has.
fn cluster(world: &mut World, name: &str, minor: u32, apis: &[&str]) {
    world.member(name, &[]);
    says(world, name, minor, apis);
}

fn says(world: &mut World, name: &str, minor: u32, apis: &[&str]) {
    let version = KubernetesVersion { version: format!("v1.{minor}.2"), major: 1, minor };
    let apis = apis.iter().map(|name| (*name).to_owned()).collect();
    let facts = Facts { kubernetes: Fact::Present(version), apis: Fact::Present(apis), ..Facts::default() };
    world.fold(&key::facts(&name.parse().expect("a name")), Some(json(&facts)));
}

fn variants(world: &World) -> Vec<String> {
    world.state.forms.keys().map(|(_, variant)| variant.to_string()).collect()
}

/// What the ConfigMap of a cluster has in its data.
fn data(world: &World, cluster: &str) -> String {
    let bundle = &world.bundles[&world.entry(cluster).expect("it runs").bundle];
    let object: serde_json::Value = serde_json::from_slice(&bundle.bytes).expect("an object");
    ["version", "apis"].map(|key| object["data"][key].as_str().expect("a text").to_owned()).join(" ")
}

#[tokio::test]
async fn a_thousand_clusters_of_three_versions_are_three_renders_and_an_upgrade_moves_one() {
    let (mut world, _room) = world(MINOR);
    for number in 0..1_000 {
        cluster(&mut world, &format!("c-{number:04}"), 30 + number % 3, &[]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 3));
    assert_eq!(variants(&world), ["@v1.30.0", "@v1.31.0", "@v1.32.0"]);
    assert_eq!(data(&world, "c-0001"), "v1.31.0 none");
    let (first, second) = (world.entry("c-0001"), world.entry("c-0004"));
    assert_eq!(first.as_ref().map(|e| e.version), second.as_ref().map(|e| e.version));

    // An upgrade is the cluster's own, also by a later commit: nobody else moves, and no rollout begins.
    world.files.insert("README.md".into(), "new".into());
    world.commit("1222222222222222222222222222222222222222").await;
    world.history.clear();
    let courses = world.state.rollouts.clone();
    says(&mut world, "c-0001", 33, &["policy/v1/PodDisruptionBudget"]);
    world.decide().await;
    assert_eq!(data(&world, "c-0001"), "v1.33.0 none");
    assert_eq!((world.entry("c-0004"), world.rendered), (second, 4));
    let commit = |cluster: &str| world.entry(cluster).map(|entry| entry.commit);
    assert_eq!(commit("c-0001"), commit("c-0004"), "it is no newer version");
    let causes: Vec<&Cause> = world.history.iter().flat_map(|r| &r.changes).map(|c| &c.cause).collect();
    assert_eq!(causes, [&Cause::Labels]);
    let app: AppKey = "web".parse().expect("a name");
    assert!(world.state.plans.is_empty());
    assert_eq!(
        world.state.rollouts.get(&app).map(|course| course.past.len()),
        courses.get(&app).map(|course| course.past.len())
    );
    assert!(first.is_some());

    // Another version of the app is one for all, by waves.
    world.obeys = false;
    world.files.insert("web/templates/a.yaml".into(), format!("new {MINOR}"));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!((world.rendered, world.state.plans.len()), (8, 1));
    let changed = world.entry("c-0004").map(|entry| entry.bundle);
    world.obeys = true;
    world.report();
    world.decide().await;
    assert_ne!(world.entry("c-0004").map(|entry| entry.bundle), changed);
    let course = &world.state.rollouts[&app].record;
    assert_eq!(course.past.last().map(|ended| ended.outcome), Some(Outcome::Completed));
}

#[tokio::test]
async fn a_cluster_that_has_not_said_what_it_has_keeps_its_entry_and_a_new_one_waits() {
    let (mut world, _room) = world(MINOR);
    cluster(&mut world, "old", 31, &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let entry = world.entry("old");
    assert!(entry.is_some());
    world.fold(&key::facts(&"old".parse().expect("a name")), None);
    world.member("new", &[]);
    let decided = world.decide().await;
    assert_eq!((world.entry("old"), world.entry("new")), (entry, None));
    let lacks: Vec<String> =
        decided.lacking.iter().map(|lacking| format!("{}: {}", lacking.cluster, lacking.lack)).collect();
    assert_eq!(lacks.len(), 2, "{lacks:?}");
    assert!(
        decided
            .lacking
            .iter()
            .all(|lacking| matches!(lacking.lack, Lack::Unanswered(_)) && lacking.lack.passes())
    );
    assert!(lacks[0].contains("new: the chart asks for facts.kubernetes"), "{lacks:?}");
    says(&mut world, "new", 33, &[]);
    let decided = world.decide().await;
    assert_eq!((data(&world, "new").as_str(), decided.lacking.len()), ("v1.33.0 none", 1));
}

#[tokio::test]
async fn api_versions_count_only_where_they_are_asked_for() {
    let (mut world, _room) = world("{{ .Capabilities.APIVersions.Has \"acme.io/v1\" }}");
    cluster(&mut world, "with", 31, &["acme.io/v1/Shop", "apps/v1/Deployment"]);
    cluster(&mut world, "without", 30, &["apps/v1/Deployment"]);
    cluster(&mut world, "other", 32, &["example.com/v1/Other"]);
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!(
        (world.problems.clone(), variants(&world)),
        (Vec::new(), vec!["@acme.io/v1".into(), "@none".into()])
    );
    assert_eq!([data(&world, "with"), data(&world, "other")], ["1.31.0 acme.io/v1", "1.31.0 none"]);
    assert_eq!(world.entry("without").map(|e| e.version), world.entry("other").map(|e| e.version));
}

#[tokio::test]
async fn a_chart_that_asks_nothing_is_as_it_was_and_one_that_begins_to_ask_is_a_new_version() {
    let (mut world, _room) = world("fixed");
    cluster(&mut world, "a", 30, &[]);
    cluster(&mut world, "b", 31, &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!((world.rendered, variants(&world)), (1, vec![String::new()]));
    let before = world.entry("a").expect("it runs");
    // A record from before there were answers is read once more, and changes nothing.
    let app: AppKey = "web".parse().expect("a name");
    let form = key::form(&app, &Variant::default());
    let mut record = (*world.state.forms[&(app, Variant::default())].record).clone();
    assert!(record.asked.is_some_and(|asked| asked.asks.is_nothing() && asked.version == record.version));
    record.asked = None;
    world.fold(&form, Some(json(&record)));
    world.commit("2222222222222222222222222222222222222222").await;
    assert_eq!((world.rendered, world.entry("a")), (1, Some(before.clone())));

    world.obeys = false;
    world.files.insert("web/templates/a.yaml".into(), MINOR.into());
    world.commit("3333333333333333333333333333333333333333").await;
    assert_eq!((world.rendered, world.state.plans.len()), (3, 1), "it goes by waves");
    let moved = ["a", "b"].iter().filter(|c| world.entry(c).map(|e| e.version) != Some(before.version));
    assert_eq!(moved.count(), 1);
    world.obeys = true;
    world.report();
    world.decide().await;
    assert_eq!([data(&world, "a"), data(&world, "b")], ["v1.30.0 none", "v1.31.0 none"]);
    assert_eq!(variants(&world), ["@v1.30.0", "@v1.31.0"]);

    // The templates of a chart that is as it was are not read again, whatever the hub forgot.
    world.forgets = Some("web/templates/a.yaml".into());
    world.commit("4444444444444444444444444444444444444444").await;
    assert_eq!((world.problems.clone(), world.rendered), (Vec::new(), 3));
}

#[tokio::test]
async fn what_cannot_be_rendered_any_more_stays_for_each_answer() {
    let (mut world, _room) = world(MINOR);
    cluster(&mut world, "a", 30, &[]);
    cluster(&mut world, "b", 31, &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    let (a, b) = (world.entry("a"), world.entry("b"));
    world.files.remove("web/Chart.yaml");
    world.commit("2222222222222222222222222222222222222222").await;
    assert!(
        world.problems.iter().any(|problem| problem.contains("there is no Chart.yaml")),
        "{:?}",
        world.problems
    );
    assert_eq!((world.entry("a"), world.entry("b"), world.state.forms.len()), (a, b, 2));
}

#[tokio::test]
async fn a_plan_tells_what_each_answer_becomes() {
    let (mut world, _room) = world(MINOR);
    cluster(&mut world, "a", 30, &[]);
    cluster(&mut world, "b", 31, &[]);
    cluster(&mut world, "c", 31, &[]);
    world.commit("1111111111111111111111111111111111111111").await;
    assert_eq!(world.plan().await.summary.changes, 0);
    // It asks for something else, and one cluster did not say that yet.
    world
        .files
        .insert("web/templates/a.yaml".into(), "{{ .Capabilities.APIVersions.Has \"acme.io/v1\" }}".into());
    let version = KubernetesVersion { version: "v1.31.2".into(), major: 1, minor: 31 };
    let facts = Facts { kubernetes: Fact::Present(version), ..Facts::default() };
    world.fold(&key::facts(&"c".parse().expect("a name")), Some(json(&facts)));
    let plan = world.plan().await;
    assert_eq!((plan.summary.changed, plan.summary.lost, plan.summary.errors), (2, 0, 0), "{plan:#?}");
    let told: Vec<&str> = plan.problems.iter().map(|problem| &*problem.message).collect();
    assert!(told.len() == 1 && told[0].starts_with("on c: the chart asks for facts.apis"), "{told:?}");
}
