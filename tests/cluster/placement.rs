//! Placement, change, pruning and removal on three clusters.

use harness::fleet::documents::{app, config_map, placement};

use crate::stage::{Stage, Witness};

const CLUSTERS: [(&str, &[&str]); 3] =
    [("fra-1", &["env=prod"]), ("nyc-1", &["env=prod"]), ("dev-1", &["env=dev"])];

fn catalog() -> Vec<(&'static str, String)> {
    vec![
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placements/web.yaml", placement("web", &["web"], "{selector: {matchLabels: {env: prod}}}")),
        ("tool.yaml", app("tool")),
        ("manifests/tool/tool.yaml", config_map("tool", "one")),
        ("placements/tool.yaml", placement("tool", &["tool"], "{selector: {matchLabels: {env: dev}}}")),
        ("base.yaml", app("base")),
        ("manifests/base/one.yaml", config_map("one", "one")),
        ("manifests/base/two.yaml", config_map("two", "two")),
        ("placements/base.yaml", placement("base", &["base"], "{selector: {}}")),
    ]
}

#[tokio::test]
async fn apps_are_placed_by_label_changed_pruned_and_removed_after_approval() {
    let stage = Stage::start(&catalog(), &CLUSTERS).await;
    stage.converge().await;
    apps_are_where_the_labels_say(&stage).await;
    a_change_arrives_where_the_app_is(&stage).await;
    an_object_that_left_its_app_is_pruned(&stage).await;
    removing_an_app_is_held_until_it_is_approved(&stage).await;
}

async fn apps_are_where_the_labels_say(stage: &Stage) {
    for (cluster, prod) in [("fra-1", true), ("nyc-1", true), ("dev-1", false)] {
        let cluster = stage.cluster(cluster);
        for (app, here) in [("web", prod), ("tool", !prod)] {
            let name = cluster.name();
            assert_eq!(cluster.has(app, &format!("configmap/{app}")).await, here, "{app} on {name}");
            assert_eq!(cluster.has("", &format!("namespace/{app}")).await, here, "namespace {app} on {name}");
        }
        assert_eq!(cluster.config_map("base/one").await.unwrap(), "one");
        assert_eq!(cluster.config_map("base/two").await.unwrap(), "two");
    }
}

async fn a_change_arrives_where_the_app_is(stage: &Stage) {
    let before = stage.cluster("fra-1").uid("web", "configmap/web").await;
    let other = stage.cluster("fra-1").field("base", "configmap/one", "{.metadata.resourceVersion}").await;
    stage.fleet.catalog.write("manifests/web/web.yaml", &config_map("web", "two")).unwrap();
    stage.commit("Change web").await;
    for cluster in ["fra-1", "nyc-1"] {
        assert_eq!(stage.cluster(cluster).config_map("web/web").await.unwrap(), "two", "{cluster}");
    }
    let fra = stage.cluster("fra-1");
    assert_eq!(fra.uid("web", "configmap/web").await, before, "it was changed in place");
    let same = fra.field("base", "configmap/one", "{.metadata.resourceVersion}").await;
    assert_eq!(same, other, "what did not change was not written");
    assert!(!stage.cluster("dev-1").has("web", "configmap/web").await);
}

async fn an_object_that_left_its_app_is_pruned(stage: &Stage) {
    stage.fleet.catalog.remove("manifests/base/two.yaml").unwrap();
    stage.commit("Drop two").await;
    for (cluster, _) in CLUSTERS {
        let cluster = stage.cluster(cluster);
        assert!(!cluster.has("base", "configmap/two").await, "{}", cluster.name());
        assert_eq!(cluster.config_map("base/one").await.unwrap(), "one");
    }
}

async fn removing_an_app_is_held_until_it_is_approved(stage: &Stage) {
    let fleet = &stage.fleet;
    for path in ["base.yaml", "placements/base.yaml", "manifests/base"] {
        fleet.catalog.remove(path).unwrap();
    }
    fleet.catalog.commit("Remove base").unwrap();
    let (code, said) = stage.wait(&[]).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("hold") && said.contains("app base"), "{said}");

    let holds = fleet.status().await.unwrap()["holds"].clone();
    let [hold] = holds.as_array().unwrap().as_slice() else { panic!("one hold: {holds:#}") };
    let id = hold["hold"]["id"].as_str().or(hold["id"].as_str()).expect("a hold has an id").to_owned();
    let screen = stage.screen().await;
    assert!(screen.contains(&id) && screen.contains("base"), "{screen}");
    for (cluster, _) in CLUSTERS {
        assert_eq!(stage.cluster(cluster).config_map("base/one").await.unwrap(), "one", "held on {cluster}");
    }

    let approved =
        fleet.hub(&["hold", "approve", &id, "--reason", "base is no longer needed"]).await.unwrap();
    assert_eq!(approved.code, 0, "{}{}", approved.stdout, approved.stderr);
    stage.converge().await;
    for (cluster, _) in CLUSTERS {
        let cluster = stage.cluster(cluster);
        assert!(!cluster.has("base", "configmap/one").await, "{}", cluster.name());
        assert!(cluster.has("", "namespace/base").await, "the namespace stays on {}", cluster.name());
    }
    assert_eq!(stage.cluster("fra-1").config_map("web/web").await.unwrap(), "two", "others are untouched");
}
