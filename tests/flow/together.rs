//! Apps that wait for others on other clusters, and apps of a group, with real processes.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;

use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_millis(700);

async fn fleet(files: &[(&str, &str)], clusters: &[(&str, &[&str])]) -> Fleet {
    let catalog = Repository::with("catalog", files).expect("it is written");
    let mut fleet = Fleet::start(catalog).await.expect("it starts");
    for (cluster, labels) in clusters {
        fleet.join(cluster, labels, &Target::Directory).await.expect("it joins");
    }
    fleet.connected(clusters.len()).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    fleet
}

/// Waits until `hub why` says something of an app on a cluster.
async fn why(fleet: &Fleet, app: &str, cluster: &str, words: &str) {
    wait::until(words, LIMIT, async || {
        let why = fleet.hub(&["why", app, cluster]).await?.stdout;
        ensure!(why.contains(words), "{why}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_app_waits_for_another_on_other_clusters_and_is_told_where_that_is_nowhere() {
    let (db, web) = (documents::config_map("db", "one"), documents::config_map("web", "one"));
    let app = documents::app("db");
    let everywhere = documents::placement("db", &["db"], "{selector: {}}");
    let files = [("db.yaml", &*app), ("manifests/db/db.yaml", &*db), ("placement.yaml", &*everywhere)];
    let clusters: [(&str, &[&str]); 2] = [("prod-1", &["env=prod"]), ("staging-1", &["env=staging"])];
    let mut fleet = fleet(&files, &clusters).await;

    // The app comes with a new version of what it waits for, which staging cannot have now.
    fleet.kill_spoke("staging-1");
    fleet.connected(1).await;
    let waits = |clusters: &str, more: &str| {
        documents::app_with(
            "web",
            &format!(
                "  dependsOn: [{{app: db, clusters: {{selector: {{matchLabels: {{env: {clusters}}}}}}}{more}}}]\n"
            ),
        )
    };
    let write = |path: &str, text: &str| fleet.catalog.write(path, text).expect("written");
    write("web.yaml", &waits("staging", ""));
    write("manifests/web/web.yaml", &web);
    write(
        "web-placement.yaml",
        &documents::placement("web", &["web"], "{selector: {matchLabels: {env: prod}}}"),
    );
    write("manifests/db/db.yaml", &documents::config_map("db", "two"));
    fleet.catalog.commit("Web, and another db").expect("a commit");
    why(&fleet, "web", "prod-1", "it waits until app db is healthy on staging-1").await;
    wait::throughout("it is not there", QUIET, async || value(&fleet, "prod-1", "web").is_none()).await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    why(&fleet, "web", "prod-1", "it waits until app db is healthy on staging-1").await;
    fleet.start_spoke("staging-1", None, &Target::Directory).expect("it starts");
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    assert_eq!(value(&fleet, "prod-1", "web").as_deref(), Some("one"));

    // What is nowhere is waited for, or told as an error; the app stays as it was.
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", "two")).expect("written");
    for (more, words) in [
        ("", "it waits for app db on clusters env=nowhere, where nobody runs it yet"),
        (", ifAbsent: Fail", "it depends on app db on clusters env=nowhere, and no such cluster runs it"),
    ] {
        fleet.catalog.write("web.yaml", &waits("nowhere", more)).expect("written");
        fleet.catalog.commit(&format!("Waits{more}")).expect("a commit");
        why(&fleet, "web", "prod-1", words).await;
        let screen = fleet.hub(&["status"]).await.expect("it runs").stdout;
        assert_eq!(screen.contains("error: App/web: it depends on"), more.contains("Fail"), "{screen}");
    }
    assert_eq!(value(&fleet, "prod-1", "web").as_deref(), Some("one"));
    fleet.catalog.write("web.yaml", &waits("nowhere", ", ifAbsent: Ignore")).expect("written");
    let commit = fleet.catalog.commit("Does without").expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    assert_eq!(value(&fleet, "prod-1", "web").as_deref(), Some("two"));
}

#[tokio::test]
async fn a_group_goes_through_the_waves_as_one_and_is_pinned_as_one() {
    const CAREFUL: &str = "\
apiVersion: nave.dev/v1alpha1
kind: Rollout
metadata: {name: careful}
spec:
  waves:
  - {name: canary, count: 1}
  - {name: rest, before: {approval: true}}
";
    let grouped = ["api", "web"].map(|name| documents::app_with(name, "  group: shop\n  rollout: careful\n"));
    let [api, web] = ["api", "web"].map(|name| documents::config_map(name, "one"));
    // The second app is not everywhere: where it is, both go together.
    let files = [
        ("rollout.yaml", CAREFUL),
        ("api.yaml", &*grouped[0]),
        ("web.yaml", &*grouped[1]),
        ("manifests/api/api.yaml", &*api),
        ("manifests/web/web.yaml", &*web),
        ("api-placement.yaml", &*documents::placement("api", &["api"], "{selector: {}}")),
        ("web-placement.yaml", &*documents::placement("web", &["web"], "{names: [fra-2, fra-3]}")),
    ];
    let names = ["fra-1", "fra-2", "fra-3"];
    let fleet = fleet(&files, &names.map(|name| (name, &[][..]))).await;
    let change = |to: &str| {
        for name in ["api", "web"] {
            let text = documents::config_map(name, to);
            fleet.catalog.write(&format!("manifests/{name}/{name}.yaml"), &text).expect("written");
        }
        fleet.catalog.commit(to).expect("a commit")
    };
    let seen = async |what: &str, wanted: [[Option<&str>; 2]; 3]| {
        wait::until(what, LIMIT, async || {
            let seen = names.map(|cluster| ["api", "web"].map(|app| value(&fleet, cluster, app)));
            let seen = seen.each_ref().map(|of| of.each_ref().map(Option::as_deref));
            ensure!(seen == wanted, "{seen:?}\n{}", fleet.tails());
            Ok(())
        })
        .await;
    };
    let (one, two) = ([Some("one"), Some("one")], [Some("two"), Some("two")]);
    let second = change("two");
    seen("the canary has it", [[Some("two"), None], one, one]).await;
    fleet.rollout_waits("web", "Approval").await;
    fleet.order(&["rollout", "approve", "web"]).await;
    fleet.converge(&["--commit", &second]).await.expect("it converges");
    seen("all have it", [[Some("two"), None], two, two]).await;
    let listed =
        fleet.hub(&["rollout", "list", "--all", "--app", "web", "-o", "json"]).await.expect("it runs");
    let listed = listed.json().expect("JSON");
    assert!(listed.as_array().is_some_and(|all| all.iter().all(|row| row["app"] == "api")), "{listed:#}");

    let told = fleet.order(&["history", "web", "-o", "json"]).await;
    assert!(told.contains("\"rollout\": \"api@") && told.contains("\"approvedBy\""), "{told}");

    // Only one of them changes: the other is none of its business.
    fleet.catalog.write("manifests/web/web.yaml", &documents::config_map("web", "three")).expect("written");
    let third = fleet.catalog.commit("three").expect("a commit");
    seen("its canary has it", [[Some("two"), None], [Some("two"), Some("three")], two]).await;
    fleet.rollout_waits("web", "Approval").await;
    fleet.order(&["rollout", "approve", "api"]).await;
    fleet.converge(&["--commit", &third]).await.expect("it converges");

    // Taken back by hand, both go back to the commit before; and on again, both.
    let first = fleet.catalog.git(&["rev-list", "--max-parents=0", "HEAD"]).expect("a commit");
    let said = fleet.order(&["rollback", "web", "--to", first.trim(), "--reason", "incident 812"]).await;
    assert!(said.contains("the other app of its group goes with it"), "{said}");
    seen("both are back", [[Some("one"), None], one, one]).await;
    let pins = fleet.hub(&["pin", "list", "-o", "json"]).await.expect("it runs").json().expect("JSON");
    assert_eq!(pins.as_array().map(Vec::len), Some(2), "{pins:#}");
    fleet.order(&["pin", "remove", "api", "--reason", "mended"]).await;
    let pins = fleet.hub(&["pin", "list", "-o", "json"]).await.expect("it runs").json().expect("JSON");
    assert_eq!(pins.as_array().map(Vec::len), Some(0), "{pins:#}");
}
