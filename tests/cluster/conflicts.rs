//! Conflicts: fields of others, drift that is only reported, fields that are ignored.

use harness::fleet::documents::{app_with, placement};

use crate::stage::{Stage, Witness};

fn object(data: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: web}}\ndata: {{{data}}}\n")
}

#[tokio::test]
async fn a_field_of_another_manager_goes_by_the_apps_word_and_ours_is_put_back_whatever_it_is() {
    let files = [
        ("web.yaml", app_with("web", "")),
        ("manifests/web/web.yaml", object("value: ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    let patch = |manager: &'static str, data: &str| {
        let patch = format!("{{\"data\":{data}}}");
        async move {
            let by = format!("--field-manager={manager}");
            fra.kubectl(&["patch", "-n", "web", "configmap/web", "--type=merge", &by, "-p", &patch])
                .await
                .unwrap();
        }
    };
    patch("painter", r#"{"colour":"red"}"#).await;

    // Never ours: named, and nothing of the object is written.
    catalog.write("manifests/web/web.yaml", &object("value: newer, colour: blue")).unwrap();
    catalog.commit("Wish for a colour").unwrap();
    let entry = stage.shown("the conflict is named", "web", |entry| entry["reason"] == "Conflict").await;
    let said = entry["message"].as_str().unwrap();
    assert!(said.contains(".data.colour") && said.contains("painter"), "{entry:#}");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "ours");

    // Left to the other; the rest is written, and it is said.
    catalog.write("web.yaml", &app_with("web", "  conflicts: Yield\n")).unwrap();
    stage.commit("Yield").await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "newer");
    assert_eq!(fra.field("web", "configmap/web", "{.data.colour}").await, "red");
    let yielded = |entry: &serde_json::Value| entry["notes"][0]["reason"] == "Yielded";
    let entry = stage.shown("what was left is told", "web", yielded).await;
    assert!(entry["notes"][0]["message"].as_str().unwrap().contains("painter"), "{entry:#}");
    // Ours is ours, whatever `conflicts` says.
    patch("kubectl-edit", r#"{"value":"theirs"}"#).await;
    stage.value("fra-1", "web/web", "newer").await;
    assert_eq!(fra.field("web", "configmap/web", "{.data.colour}").await, "red");

    catalog.write("web.yaml", &app_with("web", "  conflicts: Force\n")).unwrap();
    stage.commit("Force").await;
    assert_eq!(fra.field("web", "configmap/web", "{.data.colour}").await, "blue");
    catalog.write("manifests/web/web.yaml", &object("value: newer")).unwrap();
    stage.commit("No colour").await;
    assert_eq!(fra.field("web", "configmap/web", "{.data.colour}").await, "");

    // Reported only, field by field, with who did it; a new content is applied in full.
    catalog.write("web.yaml", &app_with("web", "  drift: Report\n")).unwrap();
    stage.commit("Report").await;
    patch("kubectl-edit", r#"{"value":"theirs"}"#).await;
    let entry = stage.shown("the drift is told", "web", |entry| entry["drifted"] == 1).await;
    let note = entry["notes"][0]["message"].as_str().unwrap();
    assert_eq!(entry["notes"][0]["reason"], "Drifted", "{entry:#}");
    assert!(
        note.contains("/data/value is \"theirs\", not \"newer\"") && note.contains("kubectl-edit"),
        "{note}"
    );
    assert_eq!(entry["phase"], "Converged", "{entry:#}");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
    catalog.write("manifests/web/web.yaml", &object("value: newest")).unwrap();
    stage.commit("A new content").await;
    assert_eq!(fra.config_map("web/web").await.unwrap(), "newest");

    // Ignored from now on: let go, not removed, not put back, not reset by the next content.
    let ignore = "  ignore: [{target: {kind: ConfigMap}, fields: [/data/value]}]\n";
    catalog.write("web.yaml", &app_with("web", ignore)).unwrap();
    catalog.write("manifests/web/web.yaml", &object("value: other, more: \"1\"")).unwrap();
    stage.commit("Ignore").await;
    assert_eq!(fra.field("web", "configmap/web", "{.data.more}").await, "1");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "newest");
    patch("kubectl-edit", r#"{"value":"theirs"}"#).await;
    catalog.write("manifests/web/web.yaml", &object("value: other, more: \"2\"")).unwrap();
    stage.commit("Something else").await;
    assert_eq!(fra.field("web", "configmap/web", "{.data.more}").await, "2");
    assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
}
