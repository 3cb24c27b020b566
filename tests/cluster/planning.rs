//! Plans that clusters are asked about: what a real API server would make of a branch, before anybody merges it.

use std::collections::BTreeMap;

use harness::fleet::documents::{app, config_map, placement};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Stage, Witness};

fn service(port: u32) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec: {{clusterIP: None, ports: [{{port: {port}}}]}}\n"
    )
}

/// How the objects of an app would differ on one cluster: object, state, and the paths that change.
fn differing(live: &Value) -> BTreeMap<String, (String, Vec<String>)> {
    let objects = live["answer"]["differing"].as_array().expect("a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |object: &Value| {
        let key = &object["object"];
        let changes = object["changes"].as_array().into_iter().flatten();
        let paths = changes.map(|change| text(&change["path"])).collect();
        (format!("{} {}", text(&key["kind"]), text(&key["name"])), (text(&object["state"]), paths))
    };
    objects.map(one).collect()
}

#[tokio::test]
async fn clusters_say_what_a_branch_would_change_there_and_what_they_would_refuse() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("manifests/web/service.yaml", service(80)),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let mut stage = Stage::start(&files, &[("fra-1", &[]), ("fra-2", &[])]).await;
    stage.converge().await;
    let version = async |stage: &Stage| {
        stage.cluster("fra-1").field("web", "configmap/web", "{.metadata.resourceVersion}").await
    };
    let catalog = &stage.fleet.catalog;
    catalog.switch("next").unwrap();
    catalog.write("manifests/web/web.yaml", &config_map("web", "two")).unwrap();
    catalog.write("manifests/web/more.yaml", &config_map("more", "new")).unwrap();
    catalog.write("manifests/web/service.yaml", &service(99_999)).unwrap();
    catalog.commit("Change and break it").unwrap();
    catalog.switch("main").unwrap();
    let before = version(&stage).await;

    let answer = stage.fleet.hub_within(&["plan", "next", "--live", "-o", "json"], LIMIT).await.unwrap();
    assert_eq!(answer.code, 3, "{}{}", answer.stdout, answer.stderr);
    let plan: Value = serde_json::from_str(&answer.stdout).unwrap();
    let change = &plan["apps"][0]["changed"][0];
    let live = change["live"].as_array().expect("they were asked");
    let asked: Vec<&str> = live.iter().filter_map(|live| live["cluster"].as_str()).collect();
    assert_eq!(asked, ["fra-1", "fra-2"], "{plan:#}");
    for live in live {
        let differing = differing(live);
        assert_eq!(differing["ConfigMap web"], ("Differs".into(), vec!["/data/value".into()]), "{live:#}");
        assert_eq!(differing["ConfigMap more"].0, "Absent");
        assert_eq!(differing["Service web"].0, "Unknown");
        assert!(live.to_string().contains("99999"), "the server's words are told: {live:#}");
    }
    assert_eq!(change["notAsked"], Value::Null);
    assert_eq!(version(&stage).await, before, "nothing was written");
    assert!(!stage.cluster("fra-1").has("web", "configmap/more").await);

    // One is away: it is named, and waited for by nobody.
    stage.fleet.kill_spoke("fra-2");
    stage.fleet.connected(1).await;
    let answer = stage.fleet.hub_within(&["plan", "next", "--live"], LIMIT).await.unwrap();
    assert_eq!(answer.code, 3, "{}{}", answer.stdout, answer.stderr);
    for line in [
        "on fra-1: 1 of 4 objects would stay as they are",
        "~ ConfigMap web/web /data/value: one → two, which nave owns",
        "+ ConfigMap web/more",
        "! Service web/web:",
        "not asked: 1 cluster",
    ] {
        assert!(answer.stdout.contains(line), "{line}:\n{}", answer.stdout);
    }
    // Nobody is asked who was not meant to be.
    let answer = stage.fleet.hub(&["plan", "next", "-o", "json"]).await.unwrap();
    let plan: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(plan["apps"][0]["changed"][0]["live"], json!(null));
}
