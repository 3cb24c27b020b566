//! Autoscaling: the replicas of what an autoscaler scales are not ours.

use harness::fleet::documents::{app, placement};

use crate::stage::{LIMIT, Stage, Witness};

const SCALER: &str = "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: web}\nspec: \
                      {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 9}\n";

const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: scaledobjects.keda.sh}
spec:
  group: keda.sh
  scope: Namespaced
  names: {kind: ScaledObject, plural: scaledobjects, singular: scaledobject}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const SCALED: &str = "apiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: web, namespace: web}\nspec: \
                      {scaleTargetRef: {name: web}}\n";

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
    let image = async |wanted: &str| {
        harness::wait::until(&format!("the image {wanted} is there"), LIMIT, async || {
            let seen = fra.field("web", "deployment/web", "{.spec.template.spec.containers[0].image}").await;
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
    image("b").await;
    replicas("5").await;
    scale("7").await;
    catalog.write("manifests/web/web.yaml", &deployment("c")).unwrap();
    catalog.commit("Another image still").unwrap();
    image("c").await;
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
    // KEDA's own kind says it too, in short, and while KEDA has made no autoscaler of it.
    fra.apply(DEFINITION).await.unwrap();
    harness::wait::until("the spoke knows the kind", LIMIT, async || {
        if fra.apply(SCALED).await.is_err() {
            return Err("the kind is not served yet".to_owned());
        }
        let seen = stage.fleet.hub(&["get", "scaledobjects.keda.sh", "web", "-n", "web"]).await.unwrap();
        if seen.code == 0 { Ok(()) } else { Err(seen.stderr) }
    })
    .await;
    scale("6").await;
    catalog.write("manifests/web/web.yaml", &deployment("d")).unwrap();
    catalog.commit("The last image").unwrap();
    image("d").await;
    replicas("6").await;
    fra.kubectl(&["delete", "scaledobject", "-n", "web", "web"]).await.unwrap();
    replicas("2").await;
}
