//! Autoscaling: the replicas of what an autoscaler scales are not ours.

use harness::fleet::documents::{app, placement};

use crate::stage::{LIMIT, Stage, Witness};

const SCALER: &str = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: web}\nspec: \
                      {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 9}\n";

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  replicas: 2\n  selector: {{matchLabels: \
         {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec: {{containers: [{{name: web, image: \
         {image}}}]}}\n"
    )
}

#[tokio::test]
async fn an_autoscaler_and_nave_never_fight() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", deployment("a")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    let replicas = async |wanted: &str| {
        harness::wait::until(&format!("{wanted} replicas"), LIMIT, async || {
            let seen = fra.field("web", "deployment/web", "{.spec.replicas}").await;
            anyhow::ensure!(seen == wanted, "{seen}\n{}", stage.fleet.tails());
            Ok(())
        })
        .await;
    };
    stage.shown("it is written", "web", |entry| entry["running"].is_string()).await;
    let scale = |to: &'static str| async move {
        fra.kubectl(&["scale", "-n", "web", "deployment/web", &format!("--replicas={to}")]).await.unwrap();
    };
    // Nobody scales it: what somebody does by hand is put back.
    scale("3").await;
    replicas("2").await;

    fra.apply(SCALER).await.unwrap();
    scale("5").await;
    // A new content is applied, and the replicas stay what the autoscaler made of them, in every version that is seen.
    let recording = fra.record("deployments").await;
    catalog.write("manifests/web/web.yaml", &deployment("b")).unwrap();
    catalog.commit("Another image").unwrap();
    harness::wait::until("the new image is there", LIMIT, async || {
        let seen = fra.field("web", "deployment/web", "{.spec.template.spec.containers[0].image}").await;
        anyhow::ensure!(seen == "b", "{seen}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    replicas("5").await;
    scale("7").await;
    catalog.write("manifests/web/web.yaml", &deployment("c")).unwrap();
    catalog.commit("Another image still").unwrap();
    harness::wait::until("the newest image is there", LIMIT, async || {
        let seen = fra.field("web", "deployment/web", "{.spec.template.spec.containers[0].image}").await;
        anyhow::ensure!(seen == "c", "{seen}\n{}", stage.fleet.tails());
        Ok(())
    })
    .await;
    replicas("7").await;
    for line in recording.end().await {
        let is_web = line.split_whitespace().nth(1) == Some("web");
        assert!(
            !is_web || !(line.contains("0/2 ") || line.contains("0/1 ")),
            "the replicas were set back: {line}"
        );
    }

    // Without the autoscaler they are ours again.
    fra.kubectl(&["delete", "hpa", "-n", "web", "web"]).await.unwrap();
    replicas("2").await;
}
