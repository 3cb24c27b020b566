//! Tenants: catalogs of others, which reach only what the root catalog grants them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::{Repository, Server};
use harness::receiver::Receiver;
use harness::wait;
use serde_json::Value;

use crate::elsewhere::told;

mod planned;
mod reached;

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_secs(2);

/// The value of a ConfigMap on a cluster; none where it is not.
fn value(fleet: &Fleet, cluster: &str, namespace: &str, name: &str) -> Option<String> {
    let files = fleet.files(cluster).ok()?;
    let text = files.get(&format!("configmap--{namespace}--{name}.yaml"))?;
    let value = text.lines().find_map(|line| line.trim().strip_prefix("value: "))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

/// Waits until a ConfigMap has this value.
async fn seen(fleet: &Fleet, cluster: &str, (namespace, name): (&str, &str), wanted: Option<&str>) {
    wait::until(&format!("{namespace}/{name} is {wanted:?} on {cluster}"), LIMIT, async || {
        let found = value(fleet, cluster, namespace, name);
        ensure!(found.as_deref() == wanted, "{found:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

async fn stays(fleet: &Fleet, cluster: &str, (namespace, name): (&str, &str), wanted: Option<&str>) {
    wait::throughout(&format!("{namespace}/{name} stays {wanted:?} on {cluster}"), QUIET, async || {
        value(fleet, cluster, namespace, name).as_deref() == wanted
    })
    .await;
}

/// An app of a tenant, in a namespace of its own.
fn app(name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec:\n  namespace: {{name: {namespace}}}\n  source: {{path: ./{name}}}\n"
    )
}

fn cluster(name: &str, set: &str) -> String {
    format!(
        "---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}}}\nspec: {{set: {set}}}\n"
    )
}

fn set(name: &str) -> String {
    format!("---\napiVersion: nave.dev/v1alpha1\nkind: ClusterSet\nmetadata: {{name: {name}}}\n")
}

fn tenant(url: &str, rest: &str) -> String {
    format!(
        "apiVersion: nave.dev/v1alpha1\nkind: Catalog\nmetadata: {{name: team-a}}\nspec:\n  git: {{url: '{url}', branch: main, path: nave}}\n  {rest}\n"
    )
}

const SHARED: &str = "grants: [{sets: [shared], namespaces: [\"team-a-*\"]}]";

/// A tenant's repository with an app on all clusters, served.
fn served() -> (Repository, Server) {
    let own = Repository::with(
        "team-a",
        &[
            ("nave/web.yaml", &app("web", "team-a-web")),
            ("nave/web/web.yaml", &documents::config_map("web", "one")),
            ("nave/placement.yaml", &documents::placement("everywhere", &["web"], "{selector: {}}")),
        ],
    )
    .expect("a repository");
    let server = own.serve().expect("it is served");
    (own, server)
}

/// A root catalog with an app of the same name, and whatever it says of tenants.
fn root(tenants: &str) -> Repository {
    let clusters = [cluster("fra-1", "shared"), cluster("ber-1", "own"), set("shared"), set("own")].concat();
    let files = [
        ("clusters.yaml", clusters.as_str()),
        ("web.yaml", &documents::app("web")),
        ("manifests/web/web.yaml", &documents::config_map("web", "root")),
        ("placement.yaml", &documents::placement("everywhere", &["web"], "{selector: {}}")),
        ("team-a.yaml", tenants),
    ];
    Repository::with("catalog", &files).expect("a repository")
}

async fn fleet(rest: &str) -> (Fleet, Repository, Server) {
    let (own, server) = served();
    let fleet = Fleet::start(root(&tenant(&server.url(), rest))).await;
    (fleet.expect("it starts"), own, server)
}

const ROOTS: (&str, &str) = ("web", "web");
const OWN: (&str, &str) = ("team-a-web", "web");

#[tokio::test]
async fn a_tenants_apps_run_where_it_is_granted_and_keep_running_where_that_is_withdrawn() {
    let (mut fleet, own, server) = fleet(SHARED).await;
    for name in ["fra-1", "ber-1"] {
        fleet.join(name, &[], &Target::Directory).await.expect("it joins");
    }
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    seen(&fleet, "fra-1", ROOTS, Some("root")).await;
    seen(&fleet, "ber-1", ROOTS, Some("root")).await;
    fleet.converge(&[]).await.expect("it converges");
    stays(&fleet, "ber-1", OWN, None).await;
    let why = fleet.order(&["why", "team-a/web", "ber-1"]).await;
    assert!(why.contains("its set is own, which is not granted to catalog team-a"), "{why}");
    let status = fleet.status().await.expect("it is told");
    let head = own.head().expect("a commit");
    assert_eq!(status["tenants"][0]["name"], "team-a", "{status:#}");
    assert_eq!(status["tenants"][0]["commit"], *head, "{status:#}");
    let shown = fleet.order(&["status"]).await;
    assert!(shown.contains(&format!("Tenant's catalog team-a at {} of ", &head[..8])), "{shown}");
    let apps = fleet.order(&["app", "list"]).await;
    assert!(apps.contains("team-a/web"), "{apps}");

    // Its commits move its own apps alone, and are waited for as the root's are.
    let second =
        own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    fleet.converge(&["--commit", &second]).await.expect("it converges");
    seen(&fleet, "fra-1", OWN, Some("two")).await;
    let history = fleet.order(&["history", "team-a/web"]).await;
    assert!(history.contains(&second[..8]), "{history}");

    // Nothing is taken for lost by a hub that starts anew, whether it can ask the tenant's server or not.
    server.refuse(true);
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    fleet.connected(2).await;
    wait::until("who waits for all hears of it", LIMIT, async || {
        let waited = fleet.hub(&["wait"]).await?;
        let said = "what is in the repository of catalog team-a is not known: ";
        ensure!(waited.code == 0 && waited.stdout.contains(said), "{}{}", waited.stdout, waited.stderr);
        Ok(())
    })
    .await;
    stays(&fleet, "fra-1", OWN, Some("two")).await;
    server.refuse(false);
    let log = fleet.hub_process().expect("it runs").stderr();
    assert!(!log.contains("catalog team-a could not be read yet"), "{log}");

    // What runs under a grant that is withdrawn stays, and takes no changes.
    let withdrawn = tenant(&server.url(), "grants: [{sets: [own], namespaces: [\"team-a-*\"]}]");
    fleet.catalog.commit_file("team-a.yaml", &withdrawn).expect("a commit");
    seen(&fleet, "ber-1", OWN, Some("two")).await;
    let third =
        own.commit_file("nave/web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    seen(&fleet, "ber-1", OWN, Some("three")).await;
    stays(&fleet, "fra-1", OWN, Some("two")).await;
    // Nobody who waits waits for that, and it is told.
    let waited = fleet.order(&["wait", "--commit", &third]).await;
    let said = "app team-a/web on fra-1: set shared is not granted to catalog team-a any more";
    let at = format!("converged at commit {} of catalog team-a", &third[..8]);
    assert!(waited.starts_with(&at) && waited.contains(said), "{waited}");
    for of in [&["wait"][..], &["wait", "--app", "team-a/web"]] {
        let waited = fleet.order(of).await;
        assert!(waited.contains(said), "{of:?}: {waited}");
    }
    let shown = fleet.order(&["app", "show", "team-a/web"]).await;
    assert!(shown.contains("Ungranted, 1 of 2 converged"), "{shown}");
    // A plan of the tenant's says where it does not come to.
    own.switch("next").expect("a branch");
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "next")).expect("a commit");
    own.switch("main").expect("a branch");
    let planned = fleet.hub(&["plan", "next", "--catalog", "team-a"]).await.expect("it runs");
    let waits = "waits: 1 cluster (fra-1): set shared is not granted to catalog team-a any more";
    assert!(planned.code == 3 && planned.stdout.contains(waits), "{}{}", planned.stdout, planned.stderr);
    wait::until("who has it is told to be well", LIMIT, async || {
        let events = events(&fleet).await;
        let well = events.iter().filter(|event| event["type"] == "Converged" && event["commit"] == third);
        let on: Vec<_> = well.map(|event| (&event["app"], &event["clusters"]["total"])).collect();
        ensure!(on == [(&"team-a/web".into(), &1.into()), (&Value::Null, &1.into())], "{events:#?}");
        Ok(())
    })
    .await;
    told(&fleet, "and takes no changes until it is granted again: 1 entry").await;
    let traced = fleet.order(&["trace", "ConfigMap/web", "-n", "team-a-web", "--cluster", "ber-1"]).await;
    assert!(
        traced.contains("team-a/web (team-a:nave/web.yaml") || traced.contains("team-a/everywhere"),
        "{traced}"
    );
    let why = fleet.order(&["why", "team-a/web", "fra-1"]).await;
    assert!(
        why.contains("set shared is not granted to catalog team-a any more: what runs stays as it is"),
        "{why}"
    );
    let holds = fleet.status().await.expect("it is told")["holds"].clone();
    assert!(holds.as_array().is_none_or(Vec::is_empty), "{holds:#}");

    // Without the Catalog, too; and a restart forgets none of that.
    fleet.catalog.remove("team-a.yaml").expect("it goes");
    let commit = fleet.catalog.commit("No tenant any more").expect("a commit");
    wait::until("the commit is in effect", LIMIT, async || {
        let status = fleet.status().await?;
        ensure!(status["catalog"]["commit"] == *commit, "{:#}", status["catalog"]);
        Ok(())
    })
    .await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    fleet.connected(2).await;
    stays(&fleet, "fra-1", OWN, Some("two")).await;
    stays(&fleet, "ber-1", OWN, Some("three")).await;
    let holds = fleet.status().await.expect("it is told")["holds"].clone();
    assert!(holds.as_array().is_none_or(Vec::is_empty), "{holds:#}");
    let why = fleet.order(&["why", "team-a/web", "ber-1"]).await;
    for said in [
        "runs as it was, and is granted no more",
        "takes no changes until it is named again",
        "or it goes, by a commit of the root catalog with the trailer `Nave-Remove-Catalog: team-a`",
    ] {
        assert!(why.contains(said), "{said}: {why}");
    }
    let waited = fleet.order(&["wait", "--app", "team-a/web"]).await;
    assert!(waited.contains("catalog team-a is named no more"), "{waited}");

    // Granted again it takes what it missed.
    fleet.catalog.commit_file("team-a.yaml", &tenant(&server.url(), SHARED)).expect("a commit");
    seen(&fleet, "fra-1", OWN, Some("three")).await;
    fleet.converge(&["--commit", &third]).await.expect("it converges");
    let root = fleet.catalog.head().expect("a commit");
    let history = fleet.order(&["history", "team-a/web", "-o", "json"]).await;
    let history: Value = serde_json::from_str(&history).expect("JSON");
    let line = &history["lines"][0];
    assert_eq!(
        (&line["cause"]["commit"], &line["to"]["commit"]),
        (&root.into(), &third.clone().into()),
        "{line:#}"
    );
    let taken: Vec<Value> = events(&fleet).await;
    let taken = taken.iter().filter(|event| event["type"] == "Taken" && event["commit"] == third);
    assert_eq!(taken.count(), 1, "it is told once");

    // Who removes it and says so has it go, within what the guard lets go.
    fleet.catalog.remove("team-a.yaml").expect("it goes");
    fleet
        .catalog
        .commit("No tenant any more\n\nNave-Remove-Catalog: team-a\nNave-Allow-Removal: app/team-a/web=2\n")
        .expect("a commit");
    seen(&fleet, "fra-1", OWN, None).await;
    seen(&fleet, "ber-1", OWN, None).await;
    seen(&fleet, "ber-1", ROOTS, Some("root")).await;
    let shown = fleet.order(&["status"]).await;
    assert!(!shown.contains("team-a"), "{shown}");
    let audit: Value = serde_json::from_str(&fleet.order(&["audit", "-o", "json"]).await).expect("JSON");
    let lines = audit["lines"].as_array().unwrap_or_else(|| panic!("{audit:#}"));
    let left = lines.iter().find(|line| line["what"] == "Leaving").expect("a line");
    let root = fleet.catalog.head().expect("a commit");
    assert_eq!(left["who"], format!("catalog main@{}", &root[..8]), "{left:#}");
}

#[tokio::test]
async fn a_tenant_reaches_nothing_beyond_its_grants() {
    let (mut fleet, own, _server) = fleet(SHARED).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", OWN, Some("one")).await;

    // Another namespace, a kind without one, and what a namespace is made of: each is told, and nothing of that version comes.
    let beyond = [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web, namespace: kube-system}\n",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: web}\n",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: web}\n",
    ];
    let said = [
        "ConfigMap kube-system/web: namespace kube-system is not granted to catalog team-a",
        "kind ClusterRole.rbac.authorization.k8s.io without a namespace is not granted to catalog team-a",
        "namespace web is not granted to catalog team-a",
    ];
    for (more, said) in beyond.into_iter().zip(said) {
        let text = format!("{}---\n{more}", documents::config_map("web", "two"));
        own.commit_file("nave/web/web.yaml", &text).expect("a commit");
        told(&fleet, said).await;
        stays(&fleet, "fra-1", OWN, Some("one")).await;
    }
    // One app that goes too far keeps none of the others.
    own.write("nave/api.yaml", &app("api", "team-a-api")).expect("it is written");
    own.write("nave/api/api.yaml", &documents::config_map("api", "one")).expect("it is written");
    own.commit_file("nave/api-placement.yaml", &documents::placement("api", &["api"], "{selector: {}}"))
        .expect("a commit");
    seen(&fleet, "fra-1", ("team-a-api", "api"), Some("one")).await;
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    seen(&fleet, "fra-1", OWN, Some("three")).await;

    // What is the root's alone is refused by name; a selection of all means its own.
    own.commit_file("nave/cluster.yaml", &cluster("fra-1", "own")).expect("a commit");
    told(&fleet, "kind Cluster exists only in the root catalog").await;
    let patch = "apiVersion: nave.dev/v1alpha1\nkind: Override\nmetadata: {name: all}\nspec:\n  apps: {selector: {}}\n  clusters: {selector: {}}\n  patches:\n  - {target: {kind: ConfigMap}, patch: {apiVersion: v1, kind: ConfigMap, data: {value: patched}}}\n";
    own.commit_file("nave/override.yaml", patch).expect("a commit");
    seen(&fleet, "fra-1", OWN, Some("patched")).await;
    stays(&fleet, "fra-1", ROOTS, Some("root")).await;
    // The hub's credentials are not a tenant's.
    let elsewhere = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: stolen}\nspec:\n  namespace: {name: team-a-web}\n  source: {git: {url: 'https://git.example.com/platform', credentials: platform}}\n";
    own.write("nave/stolen.yaml", elsewhere).expect("it is written");
    own.commit_file(
        "nave/stolen-placement.yaml",
        &documents::placement("stolen", &["stolen"], "{selector: {}}"),
    )
    .expect("a commit");
    told(&fleet, "platform is not granted to this catalog").await;
}

#[tokio::test]
async fn a_tenants_rewritten_branch_and_lost_apps_are_held_for_it_alone() {
    let (mut fleet, own, _server) = fleet(SHARED).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    let first = own.head().expect("a commit");
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    seen(&fleet, "fra-1", OWN, Some("two")).await;
    own.rewind(&first).expect("it is rewound");
    let other =
        own.commit_file("nave/web/web.yaml", &documents::config_map("web", "other")).expect("a commit");
    wait::until("it is held", LIMIT, async || {
        let status = fleet.status().await?;
        let hold = &status["holds"][0];
        ensure!(hold["catalog"] == "team-a" && hold["commit"] == *other, "{status:#}");
        Ok(())
    })
    .await;
    fleet
        .catalog
        .commit_file("manifests/web/web.yaml", &documents::config_map("web", "on"))
        .expect("a commit");
    seen(&fleet, "fra-1", ROOTS, Some("on")).await;
    stays(&fleet, "fra-1", OWN, Some("two")).await;
    let status = fleet.status().await.expect("it is told");
    let hold = status["holds"][0]["hold"]["id"].as_str().expect("an id").to_owned();
    fleet.order(&["hold", "approve", &hold, "--reason", "they rewrote it"]).await;
    seen(&fleet, "fra-1", OWN, Some("other")).await;

    // What a plan of its branch says is what comes.
    own.switch("next").expect("a branch");
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "next")).expect("a commit");
    let planned = fleet.hub(&["plan", "next", "--catalog", "team-a"]).await.expect("it runs");
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    assert!(planned.stdout.contains("team-a/web"), "{}", planned.stdout);
    let unknown = fleet.hub(&["plan", "--catalog", "team-b"]).await.expect("it runs");
    assert!(
        unknown.stderr.contains("there is no catalog team-b; those that there are: main, team-a"),
        "{}",
        unknown.stderr
    );
    let directory = own.path();
    let offline = fleet
        .hub(&["plan", "--catalog", "team-a", "--dir", directory.to_str().expect("UTF-8"), "-o", "json"])
        .await
        .expect("it runs");
    assert_eq!(offline.code, 3, "{}{}", offline.stdout, offline.stderr);
    let view: Value = serde_json::from_str(&offline.stdout).expect("JSON");
    assert_eq!(view["apps"][0]["app"], "team-a/web", "{view:#}");

    // It goes back, by itself.
    let said = fleet.order(&["rollback", "team-a/web", "--to", &first, "--reason", "as it was"]).await;
    assert!(said.contains("team-a/web"), "{said}");
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    stays(&fleet, "fra-1", ROOTS, Some("on")).await;
}

#[tokio::test]
async fn a_tenant_is_kept_to_as_many_clusters_as_it_is_granted() {
    let (mut fleet, own, server) =
        fleet("grants: [{sets: [shared, own], namespaces: [\"team-a-*\"], maxClusters: 1}]").await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    fleet.join("ber-1", &[], &Target::Directory).await.expect("it joins");
    told(&fleet, "onto 2 clusters, and 1 are granted: it keeps what it has").await;
    stays(&fleet, "ber-1", OWN, None).await;
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    seen(&fleet, "fra-1", OWN, Some("two")).await;
    let more = "grants: [{sets: [shared, own], namespaces: [\"team-a-*\"], maxClusters: 2}]";
    fleet.catalog.commit_file("team-a.yaml", &tenant(&server.url(), more)).expect("a commit");
    seen(&fleet, "ber-1", OWN, Some("two")).await;
    fleet.converge(&[]).await.expect("it converges");
}

async fn events(fleet: &Fleet) -> Vec<Value> {
    serde_json::from_str(&fleet.order(&["events", "-o", "json"]).await).expect("JSON")
}

#[tokio::test]
async fn a_grant_that_is_taken_away_is_no_failure_of_the_tenants_commit() {
    let grants = |namespaces: &str| format!("grants: [{{sets: [shared], namespaces: [{namespaces}]}}]");
    let (mut fleet, own, server) = fleet(&grants("\"team-a-*\", elsewhere")).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    let there = |value: &str| {
        let more =
            documents::config_map("more", value).replace("metadata: {", "metadata: {namespace: elsewhere, ");
        format!("{}---\n{more}", documents::config_map("web", value))
    };
    let second = own.commit_file("nave/web/web.yaml", &there("two")).expect("a commit");
    seen(&fleet, "fra-1", ("elsewhere", "more"), Some("two")).await;
    fleet.converge(&["--commit", &second]).await.expect("it converges");
    let narrow = |namespaces: &str| tenant(&server.url(), &grants(namespaces));
    let narrowed = fleet.catalog.commit_file("team-a.yaml", &narrow("\"team-a-*\"")).expect("a commit");
    told(&fleet, "app team-a/web on fra-1: ConfigMap elsewhere/more: namespace elsewhere is not granted")
        .await;
    wait::throughout("nobody is told to have failed", QUIET, async || {
        events(&fleet).await.iter().all(|event| event["type"] != "Failed")
    })
    .await;
    let waited = fleet.order(&["wait", "--commit", &narrowed]).await;
    assert!(waited.contains("app team-a/web on fra-1: ConfigMap elsewhere/more"), "{waited}");
    // An own commit without that object cannot have it go: who waits for that is told at once.
    let less = own.commit_file("nave/web/web.yaml", &documents::config_map("web", "less"));
    let less = less.expect("a commit");
    let failed = fleet.hub(&["wait", "--commit", &less, "--timeout", "60s"]).await.expect("it runs");
    assert_eq!(failed.code, 1, "{}{}", failed.stdout, failed.stderr);
    assert!(
        failed.stdout.contains("waits for a grant: ConfigMap elsewhere/more cannot go"),
        "{}",
        failed.stdout
    );
    let again = own.commit_file("nave/web/web.yaml", &there("two")).expect("a commit");
    fleet.converge(&["--commit", &again]).await.expect("it converges");
    let fourth = fleet
        .catalog
        .commit_file("team-a.yaml", &narrow("\"team-a-*\", elsewhere, further"))
        .expect("a commit");
    fleet.converge(&["--commit", &fourth]).await.expect("it converges");
    let history = fleet.order(&["history", "team-a/web", "-o", "json"]).await;
    let history: Value = serde_json::from_str(&history).expect("JSON");
    let line = &history["lines"][0];
    assert_eq!((&line["cause"]["type"], &line["cause"]["commit"]), (&"Granted".into(), &fourth.into()));
    assert!(
        line["why"].as_str().is_some_and(|why| why.starts_with("what is granted to catalog team-a changed"))
    );
    assert!(!history.to_string().contains(&narrowed), "nothing changed by what was not carried out");

    // A commit of its own that goes beyond is its failure, and its rollout says what it waits for.
    let beyond = there("three").replace("elsewhere", "kube-system");
    let third = own.commit_file("nave/web/web.yaml", &beyond).expect("a commit");
    wait::until("it is told", LIMIT, async || {
        let events = events(&fleet).await;
        let failed = events.iter().find(|event| event["type"] == "Failed");
        ensure!(failed.is_some_and(|event| event["commit"] == *third), "{events:#?}");
        let shown = fleet.hub(&["rollout", "list"]).await?.stdout;
        ensure!(shown.contains("waits for a grant: ConfigMap kube-system/more"), "{shown}");
        Ok(())
    })
    .await;
    // It is taken back: the app is what it was, and well.
    let fifth = own.commit_file("nave/web/web.yaml", &there("two")).expect("a commit");
    fleet.converge(&["--commit", &fifth]).await.expect("it converges");
    wait::until("it is told to be well", LIMIT, async || {
        let events = events(&fleet).await;
        let after = events.iter().skip_while(|event| event["type"] != "Failed");
        let well: Vec<&Value> = after.filter(|event| event["type"] == "Converged").collect();
        let is_well = |event: &&&Value| event["app"] == "team-a/web" || event["commit"] == *fifth;
        ensure!(well.iter().filter(is_well).count() == 2, "{events:#?}");
        let named = well.iter().find(|event| event["app"].is_null());
        ensure!(named.is_some_and(|event| event["clusters"]["names"][0] == "fra-1"), "{events:#?}");
        Ok(())
    })
    .await;
}

/// The states that a commit was given on a forge, by repository.
fn states(forge: &Receiver, commit: &str) -> BTreeMap<String, Vec<String>> {
    let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for request in forge.received().iter().filter(|request| request.path.ends_with(commit)) {
        let repository = request.path.trim_start_matches("/repos/").trim_end_matches(commit).to_owned();
        let state = request.json()["state"].as_str().unwrap_or_default().to_owned();
        states.entry(repository).or_default().push(state);
    }
    states
}

async fn stand(fleet: &Fleet, forge: &Receiver, commit: &str, repository: &str, expected: &[&str]) {
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    let expected = BTreeMap::from([(format!("{repository}/statuses/"), expected)]);
    wait::until("the forge says so", LIMIT, async || {
        let states = states(forge, commit);
        ensure!(states == expected, "{states:#?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_catalog_of_the_configuration_is_as_one_of_the_root_and_its_forge_hears_of_its_commits() {
    let (own, server) = served();
    let mut fleet = Fleet::prepare(root("")).await.expect("it is prepared");
    let forge = Receiver::start().await;
    std::fs::write(fleet.directory().join("token"), "t0").expect("it is written");
    let status = |name: &str, of: &str, repository: &str| {
        let url = forge.url("/");
        format!(
            "- {{name: {name}, {of}commitStatus: {{provider: Gitea, url: '{url}', repository: {repository}, tokenFile: token}}}}\n"
        )
    };
    let sinks = format!(
        "sinks:\n{}{}",
        status("root", "", "acme/fleet"),
        status("team", "catalogs: [team-a], ", "team-a/deploy")
    );
    let url = server.url();
    let catalogs =
        format!("catalogs:\n- name: team-a\n  git: {{url: '{url}', branch: main, path: nave}}\n  {SHARED}\n");
    fleet.configure(&format!("{sinks}{catalogs}")).expect("it is configured");
    fleet.start_hub().await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    fleet.converge(&[]).await.expect("it converges");
    let (roots, first) = (fleet.catalog.head().expect("a commit"), own.head().expect("a commit"));
    stand(&fleet, &forge, &first, "team-a/deploy", &["pending", "success"]).await;
    stand(&fleet, &forge, &roots, "acme/fleet", &["pending", "success"]).await;
    let events = fleet.order(&["events"]).await;
    assert!(events.contains(&format!("commit {} of catalog team-a", &first[..8])), "{events}");

    // A mistake of the tenant's is its commit's alone.
    let wrong = app("web", "team-a-web").replace("source:", "sorce:");
    let second = own.commit_file("nave/web.yaml", &wrong).expect("a commit");
    stand(&fleet, &forge, &second, "team-a/deploy", &["pending", "failure"]).await;
    own.write("nave/web.yaml", &app("web", "team-a-web")).expect("it is written");
    let third = own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    stand(&fleet, &forge, &third, "team-a/deploy", &["pending", "success"]).await;
    stand(&fleet, &forge, &roots, "acme/fleet", &["pending", "success"]).await;

    // A snapshot has it, too: the root as it is changes nothing.
    let (file, directory) = (fleet.directory().join("fleet.snapshot"), fleet.catalog.path());
    let [file, directory] = [&file, &directory].map(|path| path.to_str().expect("UTF-8").to_owned());
    fleet.order(&["snapshot", "-f", &file]).await;
    let planned = fleet.hub(&["plan", "--dir", &directory, "--snapshot", &file]).await.expect("it runs");
    assert_eq!(planned.code, 0, "{}{}", planned.stdout, planned.stderr);

    // One that the configuration does not say any more is as one that the root removed; and comes back.
    // A mistake that stands there is no commit's.
    fleet.kill_hub();
    let nowhere = catalogs.replace("team-a", "team-b").replace("[shared]", "[nowhere]");
    fleet.configure(&format!("{sinks}{nowhere}")).expect("it is configured");
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    told(&fleet, "and takes no changes until it is named again: 1 entry").await;
    told(&fleet, "there is no ClusterSet nowhere").await;
    wait::throughout("the root's commit stays well", QUIET, async || {
        !states(&forge, &roots).values().flatten().any(|state| state == "failure")
    })
    .await;
    stand(&fleet, &forge, &roots, "acme/fleet", &["pending", "success"]).await;
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    stays(&fleet, "fra-1", OWN, Some("two")).await;
    fleet.kill_hub();
    fleet.configure(&format!("{sinks}{catalogs}")).expect("it is configured");
    fleet.start_hub().await.expect("it starts");
    seen(&fleet, "fra-1", OWN, Some("three")).await;
    assert_eq!(fleet.order(&["hold", "list", "-o", "json"]).await.trim(), "[]");
    let audit = fleet.order(&["audit", "export"]).await;
    let audit = audit.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let said: Vec<Value> =
        audit.filter(|line| line["what"] == "Configured").map(|line| line["details"].clone()).collect();
    let expected = serde_json::json!([
        {"came": "team-a"}, {"came": "team-b", "went": "team-a"}, {"came": "team-a", "went": "team-b"}
    ]);
    assert_eq!(Value::from(said), expected);

    // It is told where one stands twice.
    let twice = fleet.catalog.commit_file("team-a.yaml", &tenant(&server.url(), SHARED)).expect("a commit");
    told(&fleet, "hub.yaml:7:5 too; remove one of them").await;
    stand(&fleet, &forge, &twice, "acme/fleet", &["pending", "failure"]).await;
}
