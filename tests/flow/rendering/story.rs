//! A hub with charts, kustomizations and manifests side by side.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;

use crate::rendering::given::{HEAD, paths};

const LIMIT: Duration = Duration::from_secs(60);

fn app(name: &str, source: &str) -> String {
    format!(
        "{HEAD}kind: App\nmetadata: {{name: {name}}}\nspec: {{source: {source}, namespace: {{name: {name}}}}}\n"
    )
}

fn in_prod(name: &str, source: &str) -> String {
    format!(
        "{HEAD}kind: Override\nmetadata: {{name: {name}-prod}}\nspec: {{apps: {{names: [{name}]}}, clusters: {{selector: {{matchLabels: {{env: prod}}}}}}, source: {source}}}\n"
    )
}

fn template(value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {{{{ .Release.Name }}}}}}\ndata: {{value: {value}}}\n"
    )
}

/// The value of an app's ConfigMap on a cluster.
fn value(fleet: &Fleet, cluster: &str, app: &str) -> String {
    let files = fleet.files(cluster).unwrap_or_default();
    let text = files.get(&format!("configmap--{app}--{app}.yaml")).cloned().unwrap_or_default();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("value: ")).unwrap_or_default();
    value.trim_matches(['"', '\'']).to_owned()
}

fn configuration(helm: &std::path::Path) -> String {
    let kustomize = paths().kustomize.expect("it is there");
    format!("engines: {{helm: {}, kustomize: {}}}\n", helm.display(), kustomize.display())
}

#[tokio::test]
async fn charts_kustomizations_and_manifests_reach_their_clusters_and_one_that_fails_is_alone() {
    let placement = documents::placement("all", &["plain", "chart", "kust"], "{selector: {}}");
    let files = [
        ("fleet.yaml", documents::all_at_once()),
        ("placement.yaml", placement),
        ("plain.yaml", app("plain", "{path: ./manifests/plain}")),
        ("manifests/plain/a.yaml", documents::config_map("plain", "one")),
        ("chart.yaml", app("chart", "{helm: {chart: ./charts/shop, values: {value: dev}}}")),
        (
            "chart-prod.yaml",
            in_prod("chart", "{helm: {valuesFiles: [./values/prod.yaml], values: {value: null}}}"),
        ),
        ("charts/shop/Chart.yaml", "apiVersion: v2\nname: shop\nversion: 1.0.0\n".to_owned()),
        (
            "charts/shop/templates/a.yaml",
            template(
                "{{ .Values.value | default \"none\" | quote }}, tier: {{ .Values.tier | default \"none\" }}",
            ),
        ),
        ("values/prod.yaml", "tier: gold\n".to_owned()),
        ("kust.yaml", app("kust", "{kustomize: {path: ./k/base}}")),
        ("kust-prod.yaml", in_prod("kust", "{kustomize: {path: ./k/prod}}")),
        ("k/base/kustomization.yaml", "resources: [a.yaml]\n".to_owned()),
        ("k/base/a.yaml", documents::config_map("kust", "base")),
        ("k/prod/kustomization.yaml", "resources: [../base]\npatches: [{path: p.yaml}]\n".to_owned()),
        ("k/prod/p.yaml", documents::config_map("kust", "prod")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    let catalog = Repository::with("catalog", &files).expect("it is written");
    let mut fleet = Fleet::prepare(catalog).await.expect("it is prepared");
    fleet.configure(&configuration(&paths().helm.expect("it is there"))).expect("it is written");
    fleet.start_hub().await.expect("it starts");
    for (cluster, env) in [("dev-1", "env=dev"), ("prod-1", "env=prod")] {
        fleet.join(cluster, &[env], &Target::Directory).await.expect("it joins");
    }
    fleet.connected(2).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    let on = |fleet: &Fleet, cluster: &str| ["plain", "chart", "kust"].map(|app| value(fleet, cluster, app));
    assert_eq!(on(&fleet, "dev-1"), ["one", "dev", "base"]);
    assert_eq!(on(&fleet, "prod-1"), ["one", "none", "prod"]);
    let shown =
        fleet.hub(&["render", "chart", "--cluster", "prod-1", "--provenance"]).await.expect("it runs").stdout;
    assert!(shown.contains("charts/shop/templates/a.yaml by helm") && shown.contains("gold"), "{shown}");
    let shown =
        fleet.hub(&["render", "kust", "--cluster", "prod-1", "--provenance"]).await.expect("it runs").stdout;
    assert!(shown.contains("k/prod by kustomize"), "{shown}");

    let broken = template("{{ now }}");
    fleet.catalog.write("charts/shop/templates/a.yaml", &broken).expect("it is written");
    fleet.catalog.write("k/base/a.yaml", &documents::config_map("kust", "changed")).expect("it is written");
    fleet.catalog.commit("Break the chart, change the kustomization").expect("a commit");
    wait::until("the others go on, and the chart is told", LIMIT, async || {
        ensure!(value(&fleet, "dev-1", "kust") == "changed", "{}", fleet.tails());
        let shown = fleet.hub(&["app", "show", "chart"]).await?.stdout;
        ensure!(
            shown.contains("charts/shop/templates/a.yaml:4:1") && shown.contains("now gives something else"),
            "{shown}"
        );
        Ok(())
    })
    .await;
    assert_eq!(on(&fleet, "dev-1"), ["one", "dev", "changed"], "what cannot be rendered stays");

    // A second mistake, in the app's own document, is what is told then: that is what somebody has to mend first.
    let chart = app("chart", "{helm: {chart: ./charts/shop, values: {value: dev}}}");
    let mistyped = chart.replace("source:", "sourc:");
    fleet.catalog.commit_file("chart.yaml", &mistyped).expect("a commit");
    wait::until("the mistake is told alone", LIMIT, async || {
        let shown = fleet.hub(&["app", "show", "chart"]).await?.stdout;
        ensure!(shown.contains("sourc") && !shown.contains("now gives something else"), "{shown}");
        Ok(())
    })
    .await;
    fleet.catalog.write("chart.yaml", &chart).expect("it is written");

    // A hub without the engine keeps what runs, and says what it lacks.
    fleet.kill_hub();
    let late = fleet.directory().join("late-helm");
    fleet.configure(&configuration(&late)).expect("it is written");
    fleet.catalog.commit_file("charts/shop/templates/a.yaml", &template("late")).expect("a commit");
    fleet.start_hub().await.expect("it starts");
    wait::until("the missing engine is told", LIMIT, async || {
        let shown = fleet.hub(&["app", "show", "chart"]).await?.stdout;
        ensure!(shown.contains("late-helm is not there"), "{shown}\n{}", fleet.tails());
        Ok(())
    })
    .await;
    assert_eq!(on(&fleet, "prod-1"), ["one", "none", "prod"]);
    // Once it is there nobody has to do anything.
    std::os::unix::fs::symlink(paths().helm.expect("it is there"), &late).expect("it is linked");
    wait::until("it is rendered, and what was told of it is gone", LIMIT, async || {
        ensure!(value(&fleet, "prod-1", "chart") == "late", "{}", fleet.tails());
        let shown = fleet.hub(&["app", "show", "chart"]).await?.stdout;
        ensure!(!shown.contains("is not there"), "{shown}");
        Ok(())
    })
    .await;
}
