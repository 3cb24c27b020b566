//! Charts that depend on charts of repositories: fetched by the hub, followed or held by a lock, kept to return to.

use std::time::Duration;

use harness::fleet::{Fleet, Target, documents};
use harness::git::Repository;
use harness::wait;

use crate::charts::given::Given;
use crate::elsewhere::{seen, told};
use crate::values::value;

const QUIET: Duration = Duration::from_secs(2);
/// What the dependency is in the end: its version, and a value that the chart above it gives.
const TEMPLATE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {value: \"{{ .Chart.Version }} {{ .Values.of }}\"}\n";

/// A chart that depends on the chart `cache`.
fn chart(repository: &str, range: &str) -> String {
    format!(
        "apiVersion: v2\nname: shop\nversion: 0.1.0\ndependencies: [{{name: cache, version: '{range}', repository: '{repository}', condition: cache.enabled}}]\n"
    )
}

/// What `helm dependency update` writes beside it.
fn lock(repository: &str, version: &str) -> String {
    format!(
        "dependencies:\n- name: cache\n  repository: {repository}\n  version: {version}\ndigest: sha256:0\ngenerated: \"2026-01-01T00:00:00Z\"\n"
    )
}

#[tokio::test]
async fn what_a_chart_depends_on_is_fetched_and_moves_within_its_range_or_stays_where_its_lock_says() {
    let given = Given::new();
    let server = given.server().await;
    let released = async |version: &str| {
        given.packed_with("helm", "cache", &[version], TEMPLATE).await;
        given.indexed("helm", &server, "/stable", None).await;
    };
    released("1.0.0").await;
    let repository = server.url("/stable");
    let app = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec:\n  namespace: {name: web}\n  source: {helm: {chart: ./charts/shop}}\n";
    let placement = documents::placement("web", &["web"], "{selector: {}}");
    let own = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own}\n";
    let files = [
        ("web.yaml", app),
        ("placement.yaml", &*placement),
        ("charts/shop/Chart.yaml", &*chart(&repository, "^1.0")),
        ("charts/shop/values.yaml", "cache: {of: shop}\n"),
        ("charts/shop/templates/own.yaml", own),
    ];
    let catalog = Repository::with("catalog", &files).expect("a repository");
    let mut fleet = Fleet::prepare(catalog).await.expect("it is prepared");
    let helm = harness::assets::binary("helm").expect("tests/setup/kubectl provides it");
    let configuration = format!(
        "engines: {{helm: {}}}\ncredentials: [{{name: charts, url: '{}', caFile: {}}}]\n",
        helm.display(),
        server.url("/"),
        given.path("ca.pem").display()
    );
    fleet.configure(&configuration).expect("it is written");
    fleet.start_hub().await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    fleet.converge(&["--commit", &fleet.catalog.head().expect("a commit")]).await.expect("it converges");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("1.0.0 shop"), "{}", fleet.tails());

    // It is followed within its range.
    released("1.1.0").await;
    released("2.0.0").await;
    fleet.converge(&["--app", "web"]).await.expect("it converges");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("1.1.0 shop"), "{}", fleet.tails());
    let history = fleet.order(&["history", "web"]).await;
    assert!(history.contains("its source moved to 1.1.0@"), "{history}");
    let shown =
        fleet.hub(&["app", "show", "web", "-o", "json"]).await.expect("it runs").json().expect("JSON");
    let depends = &shown["dependencies"][0];
    assert_eq!((&depends["chart"], &depends["repository"]), (&"cache".into(), &repository.as_str().into()));
    assert!(depends["at"].as_str().is_some_and(|at| at.starts_with("1.1.0@sha256:")), "{shown:#}");
    let shown = fleet.order(&["app", "show", "web"]).await;
    assert!(shown.contains("chart cache 1.1.0@") && shown.contains(&repository), "{shown}");

    // A lock holds it, and is held to what it locks.
    fleet.catalog.commit_file("charts/shop/Chart.lock", &lock(&repository, "1.0.0")).expect("a commit");
    seen(&fleet, "fra-1", "1.0.0 shop").await;
    released("1.2.0").await;
    fleet.converge(&["--app", "web"]).await.expect("it converges");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("1.0.0 shop"));
    fleet.catalog.commit_file("charts/shop/Chart.yaml", &chart(&repository, "^1.1")).expect("a commit");
    told(&fleet, "names no such version of https://").await;
    wait::throughout("it stays", QUIET, async || {
        value(&fleet, "fra-1", "web").as_deref() == Some("1.0.0 shop")
    })
    .await;
    fleet.catalog.remove("charts/shop/Chart.lock").expect("it goes");
    fleet.catalog.commit("Follow it again").expect("a commit");
    seen(&fleet, "fra-1", "1.2.0 shop").await;
    fleet.converge(&["--app", "web"]).await.expect("it converges");

    // Nobody answers any more: what it was can still be returned to, by a hub that was killed meanwhile.
    drop(server);
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    let said = fleet.order(&["rollback", "web", "--reason", "1.2 is worse"]).await;
    assert!(said.contains("pinned"), "{said}");
    seen(&fleet, "fra-1", "1.0.0 shop").await;
}
