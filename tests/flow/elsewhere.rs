//! Sources in other repositories than the catalog's: they move, are taken back, cannot be reached, and are chosen by overrides.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Answer, Fleet, Target, documents};
use harness::git::{Repository, Server};
use harness::wait;
use serde_json::Value;

use crate::charts::given::Given;
use crate::values::value;

const LIMIT: Duration = Duration::from_secs(60);
/// Long enough for anything that is wrong to show.
const QUIET: Duration = Duration::from_secs(2);

/// A repository of manifests, and a catalog whose app `web` comes from it.
async fn fleet(source: impl Fn(&str) -> String, more: &[(&str, &str)]) -> (Fleet, Repository, Server) {
    let shop = Repository::with("shop", &[("web/web.yaml", &documents::config_map("web", "one"))])
        .expect("a repository");
    let server = shop.serve().expect("it is served");
    let app = format!(
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: web}}\nspec:\n  namespace: {{name: web}}\n  source: {}\n",
        source(&server.url())
    );
    let placement = documents::placement("web", &["web"], "{selector: {}}");
    let files = [&[("web.yaml", app.as_str()), ("placement.yaml", &placement)], more].concat();
    let fleet = Fleet::start(Repository::with("catalog", &files).expect("a repository")).await;
    (fleet.expect("it starts"), shop, server)
}

/// Waits until an app's ConfigMap has this value there.
pub async fn seen(fleet: &Fleet, cluster: &str, wanted: &str) {
    wait::until(&format!("{wanted} is on {cluster}"), LIMIT, async || {
        let found = value(fleet, cluster, "web");
        ensure!(found.as_deref() == Some(wanted), "{found:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
}

/// Waits until a problem says this.
pub async fn told(fleet: &Fleet, wanted: &str) {
    wait::until(&format!("it is told: {wanted}"), LIMIT, async || {
        let status = fleet.status().await?;
        let problems = status["problems"].as_array().cloned().unwrap_or_default();
        let told = |problem: &Value| problem["message"].as_str().is_some_and(|text| text.contains(wanted));
        ensure!(problems.iter().any(told), "{problems:#?}");
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn an_app_follows_another_repository_returns_to_what_that_was_and_stays_while_it_is_away() {
    let (mut fleet, shop, server) =
        fleet(|url| format!("{{git: {{url: '{url}', ref: main, path: web}}}}"), &[]).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    let commit = fleet.catalog.head().expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    seen(&fleet, "fra-1", "one").await;
    let directory = fleet.catalog.path();
    let checked =
        fleet.hub(&["catalog", "check", directory.to_str().expect("UTF-8")]).await.expect("it runs");
    assert_eq!(checked.code, 0, "{}{}", checked.stdout, checked.stderr);
    assert!(checked.stdout.contains("warning: App/web: its source is not at hand"), "{}", checked.stdout);

    let first = shop.head().expect("a commit");
    let second = shop.commit_file("web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    seen(&fleet, "fra-1", "two").await;
    fleet.converge(&[]).await.expect("it converges");

    // The catalog's commit is the same, what runs is not.
    let said = fleet.order(&["rollback", "web", "--reason", "two is worse"]).await;
    assert!(said.contains(&format!("with its source main@{}", &first[..12])), "{said}");
    let shown = fleet.order(&["app", "show", "web"]).await;
    assert!(shown.contains("Pinned: ") && shown.contains("two is worse"), "{shown}");
    seen(&fleet, "fra-1", "one").await;
    // Whoever waits, waits for what is fetched again, too.
    shop.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]).expect("it is configured");
    fleet.kill_hub();
    std::fs::remove_dir_all(fleet.data().join("sources")).expect("it goes");
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    fleet.converge(&[]).await.expect("it converges");
    let shown = fleet.order(&["app", "show", "web"]).await;
    assert!(!shown.contains("could not be rendered"), "{shown}");
    wait::throughout("it stays as it is pinned", QUIET, async || {
        value(&fleet, "fra-1", "web").as_deref() == Some("one")
    })
    .await;
    fleet.order(&["pin", "remove", "web", "--reason", "two is fine"]).await;
    seen(&fleet, "fra-1", "two").await;

    // It cannot be asked any more: nobody loses anything, nor does a hub that starts meanwhile.
    server.refuse(true);
    told(&fleet, &format!("its source stays at main@{}", &second[..12])).await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    fleet.converge(&[]).await.expect("it converges");
    seen(&fleet, "fra-1", "two").await;
    told(&fleet, &format!("its source stays at main@{}", &second[..12])).await;
    // Not even what was fetched is left.
    fleet.kill_hub();
    std::fs::remove_dir_all(fleet.data().join("sources")).expect("it goes");
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    told(&fleet, "is being fetched again").await;
    wait::throughout("it stays", QUIET, async || value(&fleet, "fra-1", "web").as_deref() == Some("two"))
        .await;
    server.refuse(false);
    wait::until("nothing is told any more", LIMIT, async || {
        let status = fleet.status().await?;
        ensure!(status["problems"].as_array().is_none_or(Vec::is_empty), "{:#}", status["problems"]);
        Ok(())
    })
    .await;

    // What lacks in a new commit of it stays as it was.
    shop.git(&["rm", "-rq", "web"]).expect("it goes");
    shop.commit("Nothing is left").expect("a commit");
    told(&fleet, "there is nothing at \"web\"").await;
    wait::throughout("it stays", QUIET, async || value(&fleet, "fra-1", "web").as_deref() == Some("two"))
        .await;
    shop.commit_file("web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    seen(&fleet, "fra-1", "three").await;
    wait::until("nothing is told any more", LIMIT, async || {
        let status = fleet.status().await?;
        ensure!(status["problems"].as_array().is_none_or(Vec::is_empty), "{:#}", status["problems"]);
        Ok(())
    })
    .await;
}

#[tokio::test]
async fn a_plan_of_a_directory_fetches_what_apps_take_from_elsewhere_in_the_state_that_the_hub_has() {
    let (mut fleet, shop, server) =
        fleet(|url| format!("{{git: {{url: '{url}', ref: main, path: web}}}}"), &[]).await;
    shop.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]).expect("it is configured");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    let commit = fleet.catalog.head().expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    let file = fleet.directory().join("fleet.snapshot").display().to_string();
    fleet.order(&["snapshot", "-f", &file]).await;
    shop.commit_file("web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    seen(&fleet, "fra-1", "two").await;
    fleet.kill_hub();

    let directory = fleet.catalog.path().display().to_string();
    let plan = async |more: &[&str]| {
        let offline = ["plan", "--dir", &directory, "--snapshot", &file];
        fleet.hub(&[&offline, more].concat()).await.expect("it runs")
    };
    let alone = plan(&[]).await;
    assert!(alone.code == 0 && alone.stdout.contains("is asked here only with --fetch"), "{}", alone.stdout);
    // That it moved since is none of this change.
    let same = plan(&["--fetch"]).await;
    assert_eq!((same.code, same.stdout.lines().count()), (0, 1), "{}{}", same.stdout, same.stderr);

    shop.switch("next").expect("a branch");
    shop.commit_file("web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    let app = std::fs::read_to_string(fleet.catalog.path().join("web.yaml")).expect("a file");
    fleet.catalog.write("web.yaml", &app.replace("ref: main", "ref: next")).expect("it is written");
    let differs = plan(&["--fetch"]).await;
    assert!(differs.code == 3, "{}{}", differs.stdout, differs.stderr);
    assert!(
        differs.stdout.contains("-  value: one") && differs.stdout.contains("+  value: three"),
        "{}",
        differs.stdout
    );

    // Who does not answer is an error, not silence; but for what the hub has, which the change is none of.
    server.refuse(true);
    fleet.catalog.write("web.yaml", &app).expect("it is written");
    let same = plan(&["--fetch"]).await;
    assert!(same.code == 0 && same.stdout.contains("warning: App/web"), "{}{}", same.stdout, same.stderr);
    fleet.catalog.write("web.yaml", &app.replace("ref: main", "ref: next")).expect("it is written");
    let away = plan(&["--fetch"]).await;
    assert!(away.code == 1 && away.stdout.contains("error: App/web"), "{}{}", away.stdout, away.stderr);
    for of_no_directory in [["main", "--fetch"], ["--fetch", "--live"]] {
        let usage = fleet.hub(&[&["plan"][..], &of_no_directory].concat()).await.expect("it runs");
        assert_eq!(usage.code, 2, "{}", usage.stderr);
    }
}

#[tokio::test]
async fn a_bundle_that_is_gone_with_all_that_it_is_made_of_is_made_again_once_its_repository_answers() {
    let (mut fleet, shop, server) =
        fleet(|url| format!("{{git: {{url: '{url}', ref: main, path: web}}}}"), &[]).await;
    shop.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]).expect("it is configured");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", "one").await;
    fleet.converge(&[]).await.expect("it converges");
    // What runs is not what is in effect.
    fleet.order(&["pause", "web", "--for", "2h", "--reason", "it has to stay"]).await;
    let second = shop.commit_file("web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    wait::until("its source moved", LIMIT, async || {
        let shown = fleet.order(&["app", "show", "web"]).await;
        ensure!(shown.contains(&second[..12]), "{shown}");
        Ok(())
    })
    .await;

    // The hub loses all files, the spoke what it was sent.
    server.refuse(true);
    fleet.kill_spoke("fra-1");
    fleet.kill_hub();
    for directory in [
        fleet.data().join("sources"),
        fleet.data().join("bundles"),
        fleet.state("fra-1").join("bundles"),
        fleet.manifests("fra-1"),
    ] {
        std::fs::remove_dir_all(directory).expect("it goes");
    }
    fleet.start_hub().await.expect("it starts");
    fleet.start_spoke("fra-1", None, &Target::Directory).expect("it starts");
    wait::until("the bundle is looked for in vain", LIMIT, async || {
        ensure!(fleet.tails().contains("what it is made of is not at hand now"), "{}", fleet.tails());
        Ok(())
    })
    .await;
    server.refuse(false);
    seen(&fleet, "fra-1", "one").await;
}

#[tokio::test]
async fn whoever_waits_waits_for_what_is_fetched_again() {
    let shop = Repository::with("shop", &[("web/web.yaml", &documents::config_map("web", "one"))])
        .expect("a repository");
    let (server, commit) = (shop.serve().expect("it is served"), shop.head().expect("a commit"));
    let app = format!(
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: web}}\nspec:\n  namespace: {{name: web}}\n  source: {{git: {{url: '{}', ref: {commit}, path: web}}}}\n",
        server.url()
    );
    let placement = documents::placement("web", &["web"], "{selector: {}}");
    let files = [("web.yaml", &*app), ("placement.yaml", &*placement)];
    let mut fleet =
        Fleet::start(Repository::with("catalog", &files).expect("a repository")).await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", "one").await;

    // All that was fetched is lost, and who is asked for it again says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = format!("http://{}", silent.local_addr().expect("an address"));
    fleet.kill_hub();
    std::fs::remove_dir_all(fleet.data().join("sources")).expect("it goes");
    fleet.environment("http_proxy", &proxy);
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    told(&fleet, "is being fetched again").await;
    let waited = fleet.hub(&["wait", "--timeout", "3s"]).await.expect("it runs");
    assert_eq!(waited.code, 3, "{}{}", waited.stdout, waited.stderr);
    assert!(waited.stdout.contains("a source is being fetched"), "{}{}", waited.stdout, waited.stderr);

    fleet.kill_hub();
    fleet.environment("http_proxy", "");
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
    fleet.converge(&[]).await.expect("it converges");
    let status = fleet.status().await.expect("it is told");
    assert!(status["problems"].as_array().is_none_or(Vec::is_empty), "{:#}", status["problems"]);
}

#[tokio::test]
async fn a_state_that_cannot_be_kept_is_told_at_its_app_and_taken_once_it_can() {
    let (mut fleet, shop, server) =
        fleet(|url| format!("{{git: {{url: '{url}', ref: main, path: web}}}}"), &[]).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", "one").await;
    let first = shop.head().expect("a commit");

    // Somebody else holds the lock of what would say that the next commit is used.
    server.refuse(true);
    let second = shop.commit_file("web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    let mirrors = std::fs::read_dir(fleet.data().join("sources/git")).expect("it is there");
    let mirror = mirrors.flatten().map(|entry| entry.path()).find(|path| path.is_dir()).expect("a mirror");
    let lock = mirror.join(format!("refs/nave/pin/{second}.lock"));
    std::fs::write(&lock, "").expect("it is written");
    server.refuse(false);
    told(&fleet, &format!("its source is main@{} now, which cannot be kept", &second[..12])).await;
    told(&fleet, &format!("it stays at main@{}", &first[..12])).await;
    let shown = fleet.order(&["app", "show", "web"]).await;
    assert!(shown.contains("cannot be kept"), "{shown}");
    let waited = fleet.hub(&["wait", "--timeout", "30s"]).await.expect("it runs");
    assert!(
        waited.code == 1 && waited.stdout.contains("cannot be kept"),
        "{}{}",
        waited.stdout,
        waited.stderr
    );

    std::fs::remove_file(lock).expect("it goes");
    seen(&fleet, "fra-1", "two").await;
    fleet.converge(&[]).await.expect("it converges");
}

#[tokio::test]
async fn a_source_that_only_a_pin_names_is_followed_as_long_as_the_pin_lives() {
    let old = Repository::with("old", &[("web/web.yaml", &documents::config_map("web", "old"))])
        .expect("a repository");
    let old_server = old.serve().expect("it is served");
    let source = |url: &str| {
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: web}}\nspec:\n  namespace: {{name: web}}\n  source: {{git: {{url: '{url}', path: web}}}}\n"
        )
    };
    let shop = Repository::with("shop", &[("web/web.yaml", &documents::config_map("web", "new"))])
        .expect("a repository");
    let server = shop.serve().expect("it is served");
    let placement = documents::placement("web", &["web"], "{selector: {}}");
    let files = [("web.yaml", &*source(&old_server.url())), ("placement.yaml", &*placement)];
    let catalog = Repository::with("catalog", &files).expect("a repository");
    let before = catalog.head().expect("a commit");
    catalog.commit_file("web.yaml", &source(&server.url())).expect("a commit");
    // The hub never saw the commit before, so that it knows no state of what that names.
    let mut fleet = Fleet::start(catalog).await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", "new").await;
    fleet.order(&["rollback", "web", "--to", &before, "--reason", "as it was"]).await;
    seen(&fleet, "fra-1", "old").await;

    let commit = fleet.catalog.commit_file("readme.md", "nothing of the catalog\n").expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    // More than whoever was being asked may still be sent.
    let enough = old_server.requests() + 8;
    wait::until("it is asked again and again", LIMIT, async || {
        ensure!(old_server.requests() >= enough, "{}", old_server.requests());
        Ok(())
    })
    .await;
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("old"));
    fleet.order(&["pin", "remove", "web", "--reason", "as it is"]).await;
    seen(&fleet, "fra-1", "new").await;
}

#[tokio::test]
async fn an_override_chooses_the_tag_that_some_clusters_have() {
    let prod = "apiVersion: nave.dev/v1alpha1\nkind: Override\nmetadata: {name: prod}\nspec:\n  apps: {names: [web]}\n  clusters: {selector: {matchLabels: {env: prod}}}\n  source: {git: {ref: ^1.0}}\n";
    let (mut fleet, shop, _server) =
        fleet(|url| format!("{{git: {{url: '{url}', path: web}}}}"), &[("prod.yaml", prod)]).await;
    shop.git(&["tag", "v1.0.0"]).expect("a tag");
    shop.commit_file("web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    fleet.join("dev-1", &["env=dev"], &Target::Directory).await.expect("it joins");
    fleet.join("fra-1", &["env=prod"], &Target::Directory).await.expect("it joins");
    seen(&fleet, "dev-1", "two").await;
    seen(&fleet, "fra-1", "one").await;
    shop.git(&["tag", "-a", "-m", "Version 1.1", "v1.1.0"]).expect("a tag");
    seen(&fleet, "fra-1", "two").await;
    // A release that nobody asked for goes nowhere.
    shop.commit_file("web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    shop.git(&["tag", "v2.0.0"]).expect("a tag");
    seen(&fleet, "dev-1", "three").await;
    wait::throughout("prod stays", QUIET, async || value(&fleet, "fra-1", "web").as_deref() == Some("two"))
        .await;
}

#[tokio::test]
async fn a_chart_of_a_helm_repository_is_what_its_range_of_versions_means_with_values_of_the_catalog() {
    let given = Given::new();
    let server = given.server().await;
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {value: \"{{ .Chart.Version }} {{ .Values.of }}\"}\n";
    given.packed_with("helm", "web", &["1.0.0"], template).await;
    given.indexed("helm", &server, "/stable", None).await;
    let repository = server.url("/stable");
    let app = format!(
        "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: web}}\nspec:\n  namespace: {{name: web}}\n  source:\n    helm: {{repository: '{repository}', chart: web, version: ^1, valuesFiles: [./values.yaml]}}\n"
    );
    let placement = documents::placement("web", &["web"], "{selector: {}}");
    let files =
        [("apps/web.yaml", app.as_str()), ("apps/values.yaml", "of: here\n"), ("placement.yaml", &placement)];
    let catalog = Repository::with("catalog", &files).expect("a repository");
    let mut fleet = Fleet::prepare(catalog).await.expect("it is prepared");
    let helm = harness::assets::binary("helm").expect("tests/setup/kubectl provides it");
    let (ca_file, url) = (given.path("ca.pem"), server.url("/"));
    let configuration = format!(
        "engines: {{helm: {}}}\ncredentials: [{{name: charts, url: '{url}', caFile: {}}}]\n",
        helm.display(),
        ca_file.display()
    );
    fleet.configure(&configuration).expect("it is written");
    fleet.start_hub().await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    let commit = fleet.catalog.head().expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("1.0.0 here"), "{}", fleet.tails());

    given.packed_with("helm", "web", &["1.1.0", "2.0.0"], template).await;
    given.indexed("helm", &server, "/stable", None).await;
    // Whoever waits sees what was there before.
    fleet.converge(&["--app", "web"]).await.expect("it converges");
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("1.1.0 here"), "{}", fleet.tails());
    let shown = fleet.order(&["app", "show", "web"]).await;
    assert!(shown.contains("with its source 1.1.0@"), "{shown}");
    let history = fleet.order(&["history", "web"]).await;
    assert!(history.contains("its source moved to 1.1.0@"), "{history}");
    let rendered = fleet.order(&["render", "web", "--cluster", "fra-1", "--provenance"]).await;
    assert!(rendered.contains("1.1.0 here"), "{rendered}");

    // What is released next is none of a plan that does not name it; a commit that names it is told what it does.
    fleet.catalog.switch("two").expect("a branch");
    fleet.catalog.write("apps/web.yaml", &app.replace("^1", "^2")).expect("it is written");
    fleet.catalog.commit("Take version 2").expect("a commit");
    fleet.catalog.switch("main").expect("a branch");
    let planned = fleet.hub(&["plan", "two"]).await.expect("it runs");
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    assert!(planned.stdout.contains("2.0.0 here"), "{}", planned.stdout);
    assert_eq!(value(&fleet, "fra-1", "web").as_deref(), Some("1.1.0 here"));
    // So is who plans the files of it, with the hub's configuration.
    let plan = async |arguments: &[&str]| fleet.hub(&[&["plan"], arguments].concat()).await.expect("it runs");
    let json = |answer: &Answer| serde_json::from_str::<Value>(&answer.stdout).expect("JSON");
    let mut by_hub = json(&plan(&["two", "-o", "json"]).await);
    by_hub.as_object_mut().expect("a document").remove("commit");
    fleet.catalog.switch("two").expect("a branch");
    let directory = fleet.catalog.path().display().to_string();
    let configuration = fleet.config().display().to_string();
    let here = ["--dir", &directory, "--fetch", "--config", &configuration, "-o", "json"];
    let by_file = plan(&here).await;
    assert_eq!((by_file.code, json(&by_file)), (3, by_hub), "{}", by_file.stderr);
    let check = ["catalog", "check", &directory, "--fetch", "--config", &configuration];
    let checked = fleet.hub(&check).await.expect("it runs");
    assert_eq!(
        (checked.code, checked.stdout.contains("1 of 1 app rendered")),
        (0, true),
        "{}",
        checked.stdout
    );
    let without = fleet.hub(&check[..4]).await.expect("it runs");
    assert!(without.code == 1 && without.stdout.contains("certificate"), "{}", without.stdout);
    fleet.catalog.switch("main").expect("a branch");

    // Back to what it was, while nobody answers.
    drop(server);
    fleet.order(&["rollback", "web", "--reason", "1.0 was better"]).await;
    seen(&fleet, "fra-1", "1.0.0 here").await;
}

#[tokio::test]
async fn a_catalog_that_is_followed_by_a_range_of_versions_takes_what_is_tagged_within_it_alone() {
    let first = [
        ("web.yaml", documents::app("web")),
        ("manifests/web/web.yaml", documents::config_map("web", "one")),
        ("placement.yaml", documents::placement("web", &["web"], "{selector: {}}")),
    ];
    let first: Vec<(&str, &str)> = first.iter().map(|(path, text)| (*path, &**text)).collect();
    let release = |catalog: &Repository, value: &str, tag: &str| {
        catalog
            .commit_file("manifests/web/web.yaml", &documents::config_map("web", value))
            .expect("a commit");
        catalog.git(&["tag", "-a", "-m", tag, tag]).expect("a tag");
    };
    for is_served in [false, true] {
        let catalog = Repository::with("catalog", &first).expect("a repository");
        catalog.git(&["tag", "v1.0.0"]).expect("a tag");
        let mut fleet = Fleet::prepare(catalog).await.expect("it is prepared");
        let server = is_served.then(|| fleet.catalog.serve().expect("it is served"));
        if let Some(server) = &server {
            fleet.follow(server.url());
        }
        fleet.follow_ref(">=1.0 <2");
        fleet.start_hub().await.expect("it starts");
        fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
        seen(&fleet, "fra-1", "one").await;
        // The branch goes on, and nobody is told before it is released.
        fleet.catalog.commit_file("readme.md", "soon\n").expect("a commit");
        release(&fleet.catalog, "two", "v1.1.0");
        seen(&fleet, "fra-1", "two").await;
        release(&fleet.catalog, "three", "v2.0.0");
        fleet.converge(&[]).await.expect("it converges");
        wait::throughout("it stays", QUIET, async || value(&fleet, "fra-1", "web").as_deref() == Some("two"))
            .await;
    }
}
