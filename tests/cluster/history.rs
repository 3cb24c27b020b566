//! History on real clusters: from a pod to who wanted it, from an image to what runs.

use anyhow::ensure;
use harness::fleet::documents::{app, placement};
use harness::wait::until;
use serde_json::{Value, json};

use crate::stage::{LIMIT, Stage};

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  selector: {{matchLabels: {{app: \
         web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: {image}}}]}}\n"
    )
}

async fn asked(stage: &Stage, arguments: &[&str]) -> Value {
    let all = [arguments, &["-o", "json"]].concat();
    let answer = stage.fleet.hub(&all).await.unwrap();
    serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"))
}

#[tokio::test]
async fn a_pod_leads_to_the_commit_that_wants_it_and_an_image_to_the_clusters_that_run_it() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", deployment("ghcr.io/acme/podinfo:6.1")),
        ("placement.yaml", placement("all", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start_with_workloads(&files, &[("fra-1", &["env=prod"])]).await;
    stage.converge().await;
    let head = stage.fleet.catalog.head().unwrap();
    let fra = stage.cluster("fra-1");

    let listed = fra.kubectl(&["get", "pods", "-n", "web", "-o", "name"]).await.unwrap();
    let pod = listed.lines().next().unwrap();
    let traced = asked(&stage, &["trace", pod, "-n", "web", "--cluster", "fra-1"]).await;
    let owners: Vec<&Value> =
        traced["owners"].as_array().unwrap().iter().map(|owner| &owner["kind"]).collect();
    assert_eq!(owners, ["ReplicaSet", "Deployment"], "{traced:#}");
    assert_eq!((&traced["app"], &traced["commit"]), (&json!("web"), &json!(head)), "{traced:#}");
    // The hub may have taken the commit before or after the cluster joined.
    let cause = &traced["change"]["cause"]["type"];
    assert!(cause == "Joined" || cause == "Commit", "{traced:#}");
    assert_eq!(traced["message"], Value::Null, "{traced:#}");
    // By its short name, wherever it is.
    let by_name = asked(&stage, &["trace", "deploy/web", "--cluster", "fra-1"]).await;
    assert_eq!(
        (&by_name["app"], &by_name["object"]["namespace"]),
        (&json!("web"), &json!("web")),
        "{by_name:#}"
    );

    // What is not ours says whose it is; what is in two namespaces wants one named.
    for namespace in ["default", "kube-public"] {
        let create = ["create", "configmap", "theirs", "-n", namespace, "--from-literal=a=b"];
        fra.kubectl(&create).await.unwrap();
    }
    let theirs = ["trace", "cm/theirs", "-n", "default", "--cluster", "fra-1"];
    let answer = stage.fleet.hub(&theirs).await.unwrap();
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(
        answer.stdout.contains("it is none of ours: it is managed by Kubectl create"),
        "{}",
        answer.stdout
    );
    let several = stage.fleet.hub(&["trace", "cm/theirs", "--cluster", "fra-1"]).await.unwrap();
    assert_eq!(several.code, 1, "{several:?}");
    assert!(several.stderr.contains("default, kube-public; name one with -n"), "{}", several.stderr);

    let running = until("both pods run it", LIMIT, async || {
        let images = asked(&stage, &["images", "podinfo:6.1", "--running"]).await;
        ensure!(images["images"][0]["containers"] == 2, "{images:#}");
        Ok(images)
    })
    .await;
    let image = &running["images"][0];
    assert_eq!(image["image"], "ghcr.io/acme/podinfo:6.1", "{running:#}");
    assert_eq!(
        (&image["clusters"], &image["namespaces"]),
        (&json!(["fra-1"]), &json!(["web"])),
        "{running:#}"
    );
    let none = asked(&stage, &["images", "podinfo:6.2", "--running"]).await;
    assert_eq!(none["images"], json!([]), "{none:#}");
}
