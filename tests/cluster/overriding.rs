//! Overrides and parameters: one app, different on each cluster; where only values differ, from one bundle.

use harness::fleet::documents::{app_with, placement};
use serde_json::{Value, json};

use crate::stage::{Stage, Witness};

const HEAD: &str = "apiVersion: nave.dev/v1alpha1\n";
/// Two tills of one set, and a cluster that runs the next version.
const CLUSTERS: [(&str, &[&str]); 3] = [("till-1", &[]), ("till-2", &[]), ("next-1", &["stage=next"])];

fn cluster(name: &str, spec: &str) -> String {
    format!("{HEAD}kind: Cluster\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// The settings of the app, and a template of pods: a kind that needs no controller to be well, and refuses text for a number.
fn manifests(settings: &str) -> String {
    format!(
        r#"apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data:
  cluster: "${{cluster.name}}"
  domain: "shop.${{parameters.domain}}"
  store: "${{parameters.store.number}}"
  tier: "${{parameters.tier}}"
  stage: "${{labels.stage:-stable}}"
  literal: "$${{HOME}}"
{settings}---
apiVersion: v1
kind: PodTemplate
metadata: {{name: till}}
template:
  metadata: {{labels: {{app: till}}}}
  spec:
    terminationGracePeriodSeconds: ${{parameters.grace}}
    containers: [{{name: till, image: "registry.example.com/till:1.0"}}]
"#
    )
}

fn catalog() -> Vec<(&'static str, String)> {
    let parameters = "  substitute: true\n  parameters: {grace: 20, greeting: hello}\n";
    vec![
        (
            "fleet.yaml",
            format!(
                "{HEAD}kind: Fleet\nmetadata: {{name: fleet}}\nspec: {{parameters: {{domain: example.com, tier: none, grace: 10}}}}\n---\n\
                 {HEAD}kind: ClusterSet\nmetadata: {{name: tills}}\nspec: {{parameters: {{tier: gold}}}}\n"
            ),
        ),
        ("clusters/till-1.yaml", cluster("till-1", "{set: tills, parameters: {store: {number: '0417'}}}")),
        (
            "clusters/till-2.yaml",
            cluster("till-2", "{set: tills, parameters: {store: {number: '0418'}, grace: 40}}"),
        ),
        ("clusters/next-1.yaml", cluster("next-1", "{parameters: {store: {number: '0001'}}}")),
        ("web.yaml", app_with("web", parameters)),
        ("manifests/web/web.yaml", manifests("  greeting: \"${parameters.greeting}\"\n")),
        ("manifests/next/web.yaml", manifests("  greeting: \"${parameters.greeting}\"\n  next: \"yes\"\n")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
        (
            "overrides.yaml",
            format!(
                "{HEAD}kind: Override\nmetadata: {{name: patient}}\nspec:\n  apps: {{names: [web]}}\n  clusters: {{sets: [tills]}}\n  \
                 priority: 10\n  parameters: {{grace: 30}}\n---\n\
                 {HEAD}kind: Override\nmetadata: {{name: next}}\nspec:\n  apps: {{names: [web]}}\n  \
                 clusters: {{selector: {{matchLabels: {{stage: next}}}}}}\n  priority: 20\n  source: {{path: ./manifests/next}}\n  \
                 parameters: {{greeting: next}}\n  images: [{{name: registry.example.com/till, newTag: \"2.0\"}}]\n  patches:\n  \
                 - target: {{kind: PodTemplate, name: till}}\n    patch: {{template: {{spec: {{containers: [{{name: till, env: [{{name: STAGE, value: next}}]}}]}}}}}}\n  \
                 - target: {{kind: ConfigMap}}\n    patch: [{{op: add, path: /metadata/annotations, value: {{team: next}}}}]\n"
            ),
        ),
    ]
}

#[tokio::test]
async fn an_app_is_each_clusters_own_by_parameters_and_overrides() {
    let stage = Stage::start(&catalog(), &CLUSTERS).await;
    stage.converge().await;
    every_cluster_has_its_own_objects(&stage).await;
    what_is_rendered_is_what_is_there_and_each_value_has_who_set_it(&stage).await;
    why_names_the_overrides(&stage).await;
    a_name_that_one_cluster_lacks_stops_nobody_else(&stage).await;
}

/// `hub render web --cluster NAME` as JSON.
async fn rendered(stage: &Stage, cluster: &str, more: &[&str]) -> Value {
    let arguments = [&["render", "web", "--cluster", cluster, "-o", "json"], more].concat();
    let answer = stage.fleet.hub(&arguments).await.unwrap();
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    answer.json().unwrap()
}

async fn live(stage: &Stage, cluster: &str, object: &str) -> Value {
    let text = stage.cluster(cluster).kubectl(&["get", "-n", "web", object, "-o", "json"]).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn every_cluster_has_its_own_objects(stage: &Stage) {
    let settings = |cluster: &str, store: &str, tier: &str, greeting: &str, at: &str| {
        json!({
            "cluster": cluster, "domain": "shop.example.com", "store": store, "tier": tier, "greeting": greeting,
            "stage": at, "literal": "${HOME}",
        })
    };
    let mut next = settings("next-1", "0001", "none", "next", "next");
    next["next"] = "yes".into();
    let rows = [
        ("till-1", settings("till-1", "0417", "gold", "hello", "stable"), 30, "1.0"),
        ("till-2", settings("till-2", "0418", "gold", "hello", "stable"), 40, "1.0"),
        ("next-1", next, 20, "2.0"),
    ];
    for (cluster, data, grace, tag) in rows {
        assert_eq!(live(stage, cluster, "configmap/settings").await["data"], data, "{cluster}");
        let spec = live(stage, cluster, "podtemplate/till").await["template"]["spec"].clone();
        assert_eq!(spec["terminationGracePeriodSeconds"], grace, "{cluster}: {spec:#}");
        let container = &spec["containers"][0];
        assert_eq!(container["image"], format!("registry.example.com/till:{tag}"), "{cluster}");
        let env = if cluster == "next-1" { json!([{"name": "STAGE", "value": "next"}]) } else { Value::Null };
        assert_eq!(container["env"], env, "{cluster}");
    }
    let mut bundles = Vec::new();
    for (cluster, _) in CLUSTERS {
        bundles.push(rendered(stage, cluster, &[]).await["bundle"].clone());
    }
    assert_eq!(bundles[0], bundles[1], "only values differ");
    assert_ne!(bundles[0], bundles[2]);
}

async fn what_is_rendered_is_what_is_there_and_each_value_has_who_set_it(stage: &Stage) {
    for (cluster, _) in CLUSTERS {
        let view = rendered(stage, cluster, &["--provenance"]).await;
        let objects = view["objects"].as_array().unwrap();
        assert_eq!(objects.len(), 3, "the namespace, the settings, the template: {view:#}");
        for object in objects {
            let name = object["metadata"]["name"].as_str().unwrap();
            let kind = object["kind"].as_str().unwrap();
            let there = live(stage, cluster, &format!("{kind}/{name}")).await;
            holds(&there, object, &format!("{cluster} {kind}/{name}"));
            assert_eq!(object.get("data"), there.get("data"), "nothing beside it on {cluster}");
        }
    }
    // (cluster, path, who wrote it, who filled it in)
    let rows = [
        ("till-1", "/data/domain", "manifests/web/web.yaml:6", "Fleet/fleet"),
        ("till-1", "/data/greeting", "manifests/web/web.yaml:11", "App/web"),
        ("till-1", "/data/tier", "manifests/web/web.yaml:8", "ClusterSet/tills"),
        ("till-1", "/data/store", "manifests/web/web.yaml:7", "Cluster/till-1"),
        ("till-1", "/data/stage", "manifests/web/web.yaml:9", "default"),
        ("till-1", "/data/cluster", "manifests/web/web.yaml:5", "cluster"),
        (
            "till-1",
            "/template/spec/terminationGracePeriodSeconds",
            "manifests/web/web.yaml:19",
            "Override/patient",
        ),
        (
            "till-2",
            "/template/spec/terminationGracePeriodSeconds",
            "manifests/web/web.yaml:19",
            "Cluster/till-2",
        ),
        ("next-1", "/template/spec/terminationGracePeriodSeconds", "manifests/next/web.yaml:20", "App/web"),
        ("next-1", "/data/greeting", "manifests/next/web.yaml:11", "Override/next"),
        ("next-1", "/data/stage", "manifests/next/web.yaml:9", "label"),
        ("next-1", "/data/next", "manifests/next/web.yaml:12", ""),
        ("next-1", "/template/spec/containers/0/image", "Override/next (overrides.yaml:", ""),
        ("next-1", "/template/spec/containers/0/env/0/value", "Override/next (overrides.yaml:", ""),
        ("next-1", "/metadata/annotations/team", "Override/next (overrides.yaml:", ""),
    ];
    for (cluster, path, by, filled) in rows {
        let view = rendered(stage, cluster, &["--provenance"]).await;
        let told = view["provenance"].as_array().unwrap().iter().find(|told| told["path"] == path);
        let told = told.unwrap_or_else(|| panic!("{cluster} {path}: {:#}", view["provenance"]));
        assert_eq!(
            told["filled"][0]["by"].as_str().unwrap_or_default(),
            filled,
            "{cluster} {path}: {told:#}"
        );
        let arguments = ["render", "web", "--cluster", cluster, "--provenance"];
        let screen = stage.fleet.hub(&arguments).await.unwrap().stdout;
        let wanted = [&format!(" {path} "), by, filled];
        let line = screen.lines().find(|line| wanted.iter().all(|part| line.contains(*part)));
        assert!(line.is_some(), "{wanted:?}:\n{screen}");
    }
}

/// Whether everything of an object is in the live one.
fn holds(there: &Value, wanted: &Value, place: &str) {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            for (name, value) in wanted {
                holds(there.get(name).unwrap_or(&Value::Null), value, &format!("{place}/{name}"));
            }
        }
        (Value::Array(there), Value::Array(wanted)) => {
            assert_eq!(there.len(), wanted.len(), "{place}");
            there.iter().zip(wanted).for_each(|(there, wanted)| holds(there, wanted, place));
        }
        _ => assert_eq!(there, wanted, "{place}"),
    }
}

async fn why_names_the_overrides(stage: &Stage) {
    let why = async |cluster: &str| stage.fleet.hub(&["why", "web", cluster]).await.unwrap().stdout;
    let said = why("next-1").await;
    assert!(said.contains("✗ override patient (10): it is in no set"), "{said}");
    assert!(said.contains("✓ override next (20): all terms hold"), "{said}");
    let said = why("till-1").await;
    assert!(said.contains("✓ override patient (10)") && said.contains("✗ override next (20)"), "{said}");
}

async fn a_name_that_one_cluster_lacks_stops_nobody_else(stage: &Stage) {
    let git = &stage.fleet.catalog;
    let before = live(stage, "till-2", "configmap/settings").await;
    let greeting = "  greeting: \"${parameters.greeting} from ${parameters.store.city}\"\n";
    git.write("manifests/web/web.yaml", &manifests(greeting)).unwrap();
    let with_city = "{set: tills, parameters: {store: {number: '0417', city: Ulm}}}";
    git.write("clusters/till-1.yaml", &cluster("till-1", with_city)).unwrap();
    git.commit("Greet from the city").unwrap();

    let (code, said) = stage.wait(&[]).await;
    assert_eq!(code, 1, "{said}");
    let lacks = "on till-2: ${parameters.store.city} has no value";
    assert!(said.contains("App/web") && said.contains(lacks), "{said}");
    for cluster in ["till-1", "next-1"] {
        let (code, said) = stage.wait(&["--cluster", cluster]).await;
        assert_eq!(code, 0, "{cluster} lacks nothing: {said}");
    }
    assert_eq!(live(stage, "till-1", "configmap/settings").await["data"]["greeting"], "hello from Ulm");
    assert_eq!(live(stage, "next-1", "configmap/settings").await["data"]["greeting"], "next");
    assert_eq!(live(stage, "till-2", "configmap/settings").await, before, "it stays as it was");
    let screen = stage.screen().await;
    assert!(screen.contains(lacks), "{screen}");
    let why = stage.fleet.hub(&["why", "web", "till-2"]).await.unwrap().stdout;
    assert!(
        why.contains("${parameters.store.city} has no value") && why.contains("stays as it was"),
        "{why}"
    );

    let with_city = "{set: tills, parameters: {store: {number: '0418', city: Bonn}, grace: 40}}";
    git.write("clusters/till-2.yaml", &cluster("till-2", with_city)).unwrap();
    stage.commit("Say where till-2 is").await;
    let seen = live(stage, "till-2", "configmap/settings").await;
    assert_eq!(seen["data"]["greeting"], "hello from Bonn");
    assert_eq!(seen["metadata"]["uid"], before["metadata"]["uid"], "it was changed in place");
    assert!(stage.cluster("till-2").has("web", "podtemplate/till").await);
}
