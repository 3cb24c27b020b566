//! Moves: an app from cluster to cluster, an object from app to app. What moves within a cluster is never deleted.

use harness::fleet::documents::{app, app_with, config_map, placement};

use crate::stage::{Stage, Witness};

#[tokio::test]
async fn a_label_change_moves_an_app_from_one_cluster_to_another() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("placement.yaml", placement("web", &["web"], "{selector: {matchLabels: {web: here}}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &["web=here"]), ("nyc-1", &[])]).await;
    stage.converge().await;
    let (fra, nyc) = (stage.cluster("fra-1"), stage.cluster("nyc-1"));
    assert!(fra.has("web", "configmap/web").await && !nyc.has("web", "configmap/web").await);

    for order in [["cluster", "label", "nyc-1", "web=here"], ["cluster", "label", "fra-1", "web-"]] {
        let done = stage.fleet.hub(&order).await.unwrap();
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }
    stage.converge().await;
    assert!(!fra.has("web", "configmap/web").await, "it left fra-1");
    assert_eq!(nyc.config_map("web/web").await.unwrap(), "one", "it came to nyc-1");
}

#[tokio::test]
async fn what_is_renamed_or_changes_its_app_is_never_deleted_in_between() {
    let together = |name: &str, more: &str| {
        app_with(name, more).replace(&format!("namespace: {{name: {name}}}"), "namespace: {name: shared}")
    };
    let files = [
        ("old.yaml", together("old", "")),
        ("manifests/old/kept.yaml", config_map("kept", "one")),
        ("old-placement.yaml", placement("old", &["old"], "{selector: {}}")),
        ("a.yaml", together("a", "")),
        ("manifests/a/stays.yaml", config_map("stays", "one")),
        ("manifests/a/goes.yaml", config_map("goes", "one")),
        ("b.yaml", together("b", "")),
        ("manifests/b/was.yaml", config_map("was", "one")),
        ("placement.yaml", placement("both", &["a", "b"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    stage.converge().await;
    let fra = stage.cluster("fra-1");
    let objects = ["configmap/kept", "configmap/stays", "configmap/goes", "configmap/was"];
    let mut before = Vec::new();
    for object in objects {
        before.push(fra.uid("shared", object).await);
    }
    let recording = fra.record("configmaps").await;

    let catalog = &stage.fleet.catalog;
    catalog.remove("old.yaml").unwrap();
    catalog.remove("old-placement.yaml").unwrap();
    catalog.write("new.yaml", &together("new", "  formerly: [old]\n").replace("/new}", "/old}")).unwrap();
    catalog.write("new-placement.yaml", &placement("new", &["new"], "{selector: {}}")).unwrap();
    stage.commit("Rename old").await;

    catalog.remove("manifests/a/goes.yaml").unwrap();
    catalog.write("manifests/b/goes.yaml", &config_map("goes", "two")).unwrap();
    stage.commit("Move goes from a to b").await;

    // The new owners are in charge: what they change arrives, and what they drop goes.
    catalog.write("manifests/old/kept.yaml", &config_map("kept", "two")).unwrap();
    stage.commit("Change kept").await;
    assert_eq!(fra.config_map("shared/kept").await.unwrap(), "two");
    assert_eq!(fra.config_map("shared/goes").await.unwrap(), "two");
    for (object, before) in objects.iter().zip(&before) {
        assert_eq!(fra.uid("shared", object).await, *before, "{object} is the same object");
    }
    let events = recording.end().await;
    let ours: Vec<&String> = events.iter().filter(|event| event.contains("shared")).collect();
    assert!(ours.iter().any(|event| event.starts_with("MODIFIED")), "{events:#?}");
    assert!(!ours.iter().any(|event| event.starts_with("DELETED")), "{events:#?}");

    catalog.remove("manifests/b/goes.yaml").unwrap();
    stage.commit("Drop goes from b").await;
    assert!(!fra.has("shared", "configmap/goes").await, "b had taken it over");
    assert!(fra.has("shared", "configmap/stays").await && fra.has("shared", "configmap/was").await);
}

#[tokio::test]
async fn an_app_that_cannot_leave_says_at_the_hub_what_it_waits_for() {
    let files = [
        ("web.yaml", app("web")),
        ("manifests/web/web.yaml", config_map("web", "one")),
        ("web-placement.yaml", placement("web", &["web"], "{selector: {}}")),
        ("stays.yaml", app("stays")),
        ("manifests/stays/stays.yaml", config_map("stays", "one")),
        ("placement.yaml", placement("stays", &["stays"], "{selector: {}}")),
    ];
    let stage = Stage::start(&files, &[("fra-1", &[])]).await;
    let fra = stage.cluster("fra-1");
    stage.converge().await;
    let finalizers = |list: &str| format!(r#"{{"metadata":{{"finalizers":{list}}}}}"#);
    let hold = finalizers(r#"["example.com/hold"]"#);
    fra.kubectl(&["patch", "-n", "web", "configmap/web", "--type=merge", "-p", &hold]).await.unwrap();

    let catalog = &stage.fleet.catalog;
    catalog.remove("web.yaml").unwrap();
    catalog.remove("web-placement.yaml").unwrap();
    catalog.commit("Remove web\n\nNave-Allow-Removal: app/web=1").unwrap();
    let group = stage.group("web is leaving", "web", |group| {
        group["phase"] == "Leaving" && group["message"].to_string().contains("example.com/hold")
    });
    assert_eq!(group.await["reason"], "Terminating");
    let (code, said) = stage.wait(&["--timeout", "2s"]).await;
    assert!(code != 0 && said.contains("web") && said.contains("example.com/hold"), "{code} {said}");
    for order in [&["app", "show", "web"] as &[&str], &["why", "web", "fra-1"]] {
        let shown = stage.fleet.hub(order).await.unwrap().stdout;
        assert!(shown.contains("Leaving") && shown.contains("example.com/hold"), "{order:?}\n{shown}");
    }

    let free = finalizers("[]");
    fra.kubectl(&["patch", "-n", "web", "configmap/web", "--type=merge", "-p", &free]).await.unwrap();
    stage.converge().await;
    assert!(!fra.has("web", "configmap/web").await && fra.has("stays", "configmap/stays").await);
    let shown = stage.fleet.hub(&["app", "show", "web"]).await.unwrap();
    assert!(shown.code != 0, "nothing of it is left: {}", shown.stdout);
}
