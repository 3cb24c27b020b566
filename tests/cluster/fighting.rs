//! Fighting: who flips a field back each time is noticed, named, and left with it.

use harness::fleet::documents::{app, config_map, placement};
use harness::wait::until;

use crate::stage::{LIMIT, Stage, Witness};

#[tokio::test]
async fn a_controller_that_flips_a_field_back_is_named_and_left_alone_whether_it_applies_or_updates() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "ours")),
        ("placement.yaml", placement("web", &["web"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let (fra, catalog) = (stage.cluster("fra-1"), &stage.fleet.catalog);
    let object = fra.directory().join("theirs.yaml");
    let text =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: web}\ndata: {value: theirs}\n";
    std::fs::write(&object, text).unwrap();
    let file = object.to_str().unwrap();
    let patch = r#"{"data":{"value":"theirs"}}"#;
    let applies = ["apply", "--server-side", "--force-conflicts", "--field-manager=flipper-a", "-f", file];
    let updates =
        ["patch", "-n", "web", "configmap/web", "--type=merge", "--field-manager=flipper-u", "-p", patch];
    for (manager, flip, value) in [("flipper-a", &applies[..], "ours"), ("flipper-u", &updates[..], "newer")]
    {
        stage.value("fra-1", "web/web", value).await;
        // The controller: whenever the value is not its own, it sets it. It gives up only when we have.
        let entry = until("the fight is over", LIMIT * 2, async || {
            if fra.config_map("web/web").await? != "theirs" {
                fra.kubectl(flip).await?;
            }
            let shown = stage.fleet.hub(&["app", "show", "web", "-o", "json"]).await?.json()?;
            let entry = shown["entries"][0].clone();
            anyhow::ensure!(entry["reason"] == "Fought", "{entry:#}\n{}", stage.fleet.tails());
            Ok(entry)
        })
        .await;
        assert_eq!(entry["drifted"], 1, "{entry:#}");
        assert_eq!(entry["phase"], "Degraded", "{entry:#}");
        let said = entry["unhealthy"][0]["message"].as_str().unwrap();
        assert!(said.contains("/data/value") && said.contains(manager), "{said}");
        let calls = entry["corrected"].as_u64().unwrap();
        assert_eq!(fra.config_map("web/web").await.unwrap(), "theirs");
        // Another change of the object wakes the spoke; the lost field stays lost.
        let touch = ["annotate", "-n", "web", "configmap/web", "touched=yes", "--overwrite"];
        fra.kubectl(&touch).await.unwrap();
        let entry = stage.shown("it is still told", "web", |entry| entry["reason"] == "Fought").await;
        assert_eq!(entry["corrected"].as_u64().unwrap(), calls, "{entry:#}");

        // A new content is a new wish: it is written once more.
        catalog.write("manifests/web/web.yaml", &config_map("web", "newer")).unwrap();
        catalog.commit(&format!("A new content against {manager}")).unwrap();
        if value == "ours" {
            stage.value("fra-1", "web/web", "newer").await;
        }
    }
}
