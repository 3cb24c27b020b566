//! One app for each directory, told as a team sees it: services of three kinds, one more, one less, and a template that is broken.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;
use serde_json::Value;

use crate::rendering::given::paths;

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_secs(2);

const TEMPLATE: &str = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: svc-*, labels: {tier: web}}\nspec:\n  source: {directories: ../services/*}\n  namespace: {name: shop}\n";
/// `web` and `db` are on every cluster, all others on the one for development.
const PLACEMENTS: &str = "apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {name: everywhere}\nspec:\n  apps: {names: [svc-web, svc-db]}\n  clusters: {selector: {}}\n---\napiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {name: dev}\nspec:\n  apps: {selector: {matchLabels: {tier: web}}}\n  clusters: {selector: {matchLabels: {env: dev}}}\n";
const CHART_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {value: \"{{ .Chart.Version }}\"}\n";

async fn fleet() -> Fleet {
    let files = [
        ("fleet.yaml", documents::all_at_once()),
        ("apps/services.yaml", TEMPLATE.to_owned()),
        ("placements.yaml", PLACEMENTS.to_owned()),
        ("services/web/web.yaml", documents::config_map("svc-web", "one")),
        ("services/db/Chart.yaml", "apiVersion: v2\nname: db\nversion: 1.2.3\n".to_owned()),
        ("services/db/templates/map.yaml", CHART_MAP.to_owned()),
        ("services/job/kustomization.yaml", "resources: [job.yaml]\nnamePrefix: svc-\n".to_owned()),
        ("services/job/job.yaml", documents::config_map("job", "nightly")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let catalog = Repository::with("catalog", &files).expect("it is written");
    let mut fleet = Fleet::prepare(catalog).await.expect("it is prepared");
    let (helm, kustomize) = (paths().helm.expect("it is there"), paths().kustomize.expect("it is there"));
    let engines = format!("engines: {{helm: {}, kustomize: {}}}\n", helm.display(), kustomize.display());
    fleet.configure(&engines).expect("it is written");
    fleet.start_hub().await.expect("it starts");
    for (cluster, env) in [("dev-1", "env=dev"), ("prod-1", "env=prod"), ("prod-2", "env=prod")] {
        fleet.join(cluster, &[env], &Target::Directory).await.expect("it joins");
    }
    fleet.connected(3).await;
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    fleet
}

/// What each app's ConfigMap says on a cluster, by app.
fn on(fleet: &Fleet, cluster: &str) -> Vec<(String, String)> {
    let files = fleet.files(cluster).unwrap_or_default();
    let value = |(file, text): (&String, &String)| {
        let app = file.strip_prefix("configmap--shop--")?.strip_suffix(".yaml")?;
        let value = text.lines().find_map(|line| line.trim().strip_prefix("value: "))?;
        Some((app.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
    };
    files.iter().filter_map(value).collect()
}

fn apps(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(app, value)| ((*app).to_owned(), (*value).to_owned())).collect()
}

async fn told(fleet: &Fleet, wanted: &str) {
    wait::until(&format!("it is told: {wanted}"), LIMIT, async || {
        let status = fleet.status().await?;
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        let told = |problem: &Value| problem["message"].as_str().is_some_and(|text| text.contains(wanted));
        ensure!(problems.iter().any(told), "{problems:#?}");
        Ok(())
    })
    .await;
}

async fn holds(fleet: &Fleet) -> Vec<Value> {
    let listed = fleet.hub(&["hold", "list", "-o", "json"]).await.expect("it runs");
    listed.json().expect("JSON").as_array().cloned().expect("a list")
}

#[tokio::test]
async fn directories_of_three_kinds_are_apps_and_a_template_that_is_broken_takes_none_away() {
    let mut fleet = fleet().await;
    let (db, job, web) = (("svc-db", "1.2.3"), ("svc-job", "nightly"), ("svc-web", "one"));
    assert_eq!(on(&fleet, "dev-1"), apps(&[db, job, web]), "{}", fleet.tails());
    assert_eq!(on(&fleet, "prod-1"), apps(&[db, web]));
    let rendered = fleet.order(&["render", "svc-db", "--cluster", "prod-1", "--provenance"]).await;
    assert!(rendered.contains("services/db/templates/map.yaml by helm"), "{rendered}");

    // One directory more is one app more; the plan said so.
    fleet.catalog.switch("new").expect("a branch");
    fleet
        .catalog
        .write("services/new/new.yaml", &documents::config_map("svc-new", "first"))
        .expect("written");
    fleet.catalog.commit("Add a service").expect("a commit");
    fleet.catalog.switch("main").expect("a branch");
    let planned = fleet.hub(&["plan", "new", "-o", "json"]).await.expect("it runs");
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    let planned: Value = serde_json::from_str(&planned.stdout).expect("JSON");
    let changed: Vec<&Value> =
        planned["apps"].as_array().into_iter().flatten().map(|app| &app["app"]).collect();
    assert_eq!(changed, ["svc-new"], "{planned:#}");
    fleet.catalog.git(&["merge", "-q", "--ff-only", "new"]).expect("it is merged");
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    let new = ("svc-new", "first");
    assert_eq!(on(&fleet, "dev-1"), apps(&[db, job, new, web]));
    assert_eq!(on(&fleet, "prod-1"), apps(&[db, web]));

    // One that is gone takes its app from the one cluster that has it: no limit is broken.
    fleet.catalog.remove("services/job").expect("it was there");
    fleet.catalog.commit("Without the job").expect("a commit");
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    assert_eq!(on(&fleet, "dev-1"), apps(&[db, new, web]));

    // A slip in the template, in a commit that takes a directory away as well: nobody knows what it means, so all stays.
    let torn = TEMPLATE.replace("tier: web", "tier: 1");
    fleet.catalog.write("apps/services.yaml", &torn).expect("written");
    fleet.catalog.remove("services/web").expect("it was there");
    fleet.catalog.commit("Without web, with a slip").expect("a commit");
    let slip = "metadata.labels.tier: 1 is read as the number 1";
    told(&fleet, slip).await;
    let stays =
        async || on(&fleet, "dev-1") == apps(&[db, new, web]) && on(&fleet, "prod-2") == apps(&[db, web]);
    wait::throughout("all stays", QUIET, stays).await;
    let shown = fleet.order(&["app", "show", "svc-web"]).await;
    assert!(shown.contains(slip), "{shown}");
    // A plan of the same directory changes nothing, on the hub and from a snapshot.
    let tree = fleet.catalog.path().display().to_string();
    let file = fleet.directory().join("fleet.snapshot").display().to_string();
    fleet.order(&["snapshot", "-f", &file]).await;
    for offline in [&[][..], &["--snapshot", &file]] {
        let same = fleet.hub(&[&["plan", "--dir", &tree], offline].concat()).await.expect("it runs");
        assert_eq!(same.code, 0, "{offline:?}: {}{}", same.stdout, same.stderr);
    }

    // What mending it would do is known to both, too: the snapshot has the apps that nothing in this commit makes any more.
    fleet.catalog.write("apps/services.yaml", TEMPLATE).expect("written");
    for offline in [&[][..], &["--snapshot", &file]] {
        let held = fleet.hub(&[&["plan", "--dir", &tree], offline].concat()).await.expect("it runs");
        let is_told = held.stdout.contains("app svc-web would leave 3 of its 3 clusters");
        assert_eq!((held.code, is_told), (1, true), "{offline:?}: {}{}", held.stdout, held.stderr);
    }
    fleet.catalog.write("apps/services.yaml", &torn).expect("written");

    // A hub that begins anew finds the last good form of each again.
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    fleet.connected(3).await;
    told(&fleet, slip).await;
    let stays =
        async || on(&fleet, "dev-1") == apps(&[db, new, web]) && on(&fleet, "prod-2") == apps(&[db, web]);
    wait::throughout("all stays", QUIET, stays).await;

    // Mended, the directory is what is gone: an app would leave all its clusters, which is held.
    fleet.catalog.write("apps/services.yaml", TEMPLATE).expect("written");
    fleet.catalog.commit("Mend the template").expect("a commit");
    let hold = wait::until("it is held", LIMIT, async || {
        let held = holds(&fleet).await;
        ensure!(held.len() == 1, "{held:#?}\n{}", fleet.tails());
        Ok(held[0].clone())
    })
    .await;
    let id = hold["hold"]["id"].as_str().expect("it has one").to_owned();
    let screen = fleet.hub(&["status"]).await.expect("it runs").stdout;
    assert!(screen.contains("app svc-web would leave 3 of its 3 clusters"), "{screen}");
    assert_eq!(on(&fleet, "prod-1"), apps(&[db, web]));
    fleet.order(&["hold", "approve", &id, "--reason", "web is retired"]).await;
    wait::until("web is gone", LIMIT, async || {
        let (dev, prod) = (on(&fleet, "dev-1"), on(&fleet, "prod-2"));
        ensure!(dev == apps(&[db, new]) && prod == apps(&[db]), "{dev:?} {prod:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;

    // A template that is taken away takes its apps away, as far as the guard lets it.
    fleet.catalog.remove("apps/services.yaml").expect("it was there");
    fleet.catalog.commit("Without services").expect("a commit");
    wait::until("it is held", LIMIT, async || {
        let held = holds(&fleet).await;
        ensure!(!held.is_empty(), "{}", fleet.tails());
        Ok(())
    })
    .await;
    assert_eq!(on(&fleet, "prod-1"), apps(&[db]));
}
