//! Health: an app's own rules on a real kind, and the time that a status without a generation is given.

use std::time::{Duration, Instant};

use harness::fleet::documents::{app, app_with, placement};

use crate::stage::{LIMIT, Stage, Witness};

/// A kind whose status only its controller writes: here, `kubectl`.
const DEFINITION: &str = "\
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: databases.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Database, plural: databases, singular: database}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

const RULES: &str = "  health:
  - target: {group: example.com, kind: Database}
    healthy: object.status.phase == \"Ready\" && object.status.replicas >= object.spec.replicas
    failed: has(object.status) && object.status.phase in [\"Broken\", \"Lost\"]
";

fn database(replicas: u32) -> String {
    format!(
        "apiVersion: example.com/v1\nkind: Database\nmetadata: {{name: main}}\nspec: {{replicas: {replicas}}}\n"
    )
}

async fn status(stage: &Stage, namespace: &str, status: &str) {
    let patch = format!("{{\"status\":{status}}}");
    let arguments =
        ["patch", "-n", namespace, "database/main", "--subresource=status", "--type=merge", "-p", &patch];
    stage.cluster("fra-1").kubectl(&arguments).await.unwrap();
}

#[tokio::test]
async fn rules_of_the_app_say_how_an_object_is_and_people_read_why() {
    let files = [
        ("db.yaml", app_with("db", RULES)),
        ("manifests/db/definition.yaml", DEFINITION.to_owned()),
        ("manifests/db/main.yaml", database(2)),
        ("placement.yaml", placement("all", &["db"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let group = stage.group("nothing can be said yet", "db", |g| g["reason"] == "RuleUndecided").await;
    assert_eq!(group["object"], "Database.example.com db/main", "{group:#}");
    status(&stage, "db", r#"{"phase":"Ready","replicas":1}"#).await;
    stage.group("it is on its way", "db", |g| g["reason"] == "RuleNotMet").await;
    let (code, said) = stage.wait(&["--timeout", "1s"]).await;
    assert_eq!(code, 3, "{said}");

    status(&stage, "db", r#"{"phase":"Ready","replicas":2}"#).await;
    stage.converge().await;

    status(&stage, "db", r#"{"phase":"Broken"}"#).await;
    let group = stage.group("it failed", "db", |g| g["reason"] == "RuleFailed").await;
    assert_eq!(group["phase"], "Degraded", "{group:#}");
    let shown = stage.fleet.hub(&["app", "show", "db", "-o", "wide"]).await.unwrap();
    for word in ["Degraded", "Database.example.com db/main", "RuleFailed", "object.status.phase in"] {
        assert!(shown.stdout.contains(word), "{word} is missing:\n{}{}", shown.stdout, shown.stderr);
    }
    let (code, said) = stage.wait(&["--timeout", "5s"]).await;
    assert_eq!(code, 1, "{said}");

    // What the hub's command says of the object, offline, is what the spoke says.
    let live =
        stage.cluster("fra-1").kubectl(&["get", "-n", "db", "database/main", "-o", "yaml"]).await.unwrap();
    let dumped = stage.fleet.directory().join("database.yaml");
    std::fs::write(&dumped, live).unwrap();
    let app_file = stage.fleet.directory().join("db.yaml");
    std::fs::write(&app_file, app_with("db", RULES)).unwrap();
    let (dumped, app_file) = (dumped.to_str().unwrap(), app_file.to_str().unwrap());
    let arguments = ["health", "-f", dumped, "--app-file", app_file, "-o", "json"];
    let judged = stage.fleet.hub(&arguments).await.unwrap();
    assert_eq!(judged.code, 0, "{}", judged.stderr);
    let judged = judged.json().unwrap();
    assert_eq!(judged[0]["state"], "Degraded", "{judged:#}");
    assert_eq!(judged[0]["reason"], "RuleFailed", "{judged:#}");
    let nowhere = stage.fleet.hub(&["health", "-f", "/nowhere.yaml"]).await.unwrap();
    assert_eq!(nowhere.code, 1, "{}", nowhere.stderr);
    assert_eq!(stage.fleet.hub(&["health"]).await.unwrap().code, 2);
}

#[tokio::test]
async fn a_status_that_names_no_generation_is_believed_after_a_while() {
    let files = [
        ("db.yaml", app("db")),
        ("manifests/db/definition.yaml", DEFINITION.to_owned()),
        ("manifests/db/main.yaml", database(1)),
        ("placement.yaml", placement("all", &["db"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    status(&stage, "db", r#"{"conditions":[{"type":"Ready","status":"True"}]}"#).await;

    stage.fleet.catalog.write("manifests/db/main.yaml", &database(2)).unwrap();
    stage.fleet.catalog.commit("Two replicas").unwrap();
    harness::wait::until("the change is applied", LIMIT, async || {
        let seen = stage.cluster("fra-1").field("db", "database/main", "{.spec.replicas}").await;
        anyhow::ensure!(seen == "2", "{seen}");
        Ok(())
    })
    .await;
    let applied = Instant::now();
    stage.group("it settles", "db", |group| group["reason"] == "Settling").await;
    stage.converge().await;
    // Seen by this test a moment after it was done.
    let after = applied.elapsed() + Duration::from_secs(1);
    assert!(after >= Duration::from_secs(5), "it was believed after {after:?}");
}
