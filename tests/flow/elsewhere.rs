//! Sources in other repositories than the catalog's: they move, are taken back, cannot be reached, and are chosen by overrides.

use std::time::Duration;

use anyhow::ensure;
use harness::fleet::{Fleet, Target, documents};
use harness::git::{Repository, Server};
use harness::wait;
use serde_json::Value;

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

async fn seen(fleet: &Fleet, cluster: &str, wanted: &str) {
    wait::until(&format!("{wanted} is on {cluster}"), LIMIT, async || {
        let found = value(fleet, cluster, "web");
        ensure!(found.as_deref() == Some(wanted), "{found:?}\n{}", fleet.tails());
        Ok(())
    })
    .await;
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

#[tokio::test]
async fn an_app_follows_another_repository_returns_to_what_that_was_and_stays_while_it_is_away() {
    let (mut fleet, shop, server) =
        fleet(|url| format!("{{git: {{url: '{url}', ref: main, path: web}}}}"), &[]).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    let commit = fleet.catalog.head().expect("a commit");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
    seen(&fleet, "fra-1", "one").await;

    let first = shop.head().expect("a commit");
    let second = shop.commit_file("web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    seen(&fleet, "fra-1", "two").await;
    fleet.converge(&[]).await.expect("it converges");

    // The catalog's commit is the same, what runs is not.
    let said = fleet.order(&["rollback", "web", "--reason", "two is worse"]).await;
    assert!(said.contains(&format!("with its source main@{}", &first[..12])), "{said}");
    seen(&fleet, "fra-1", "one").await;
    fleet.kill_hub();
    fleet.start_hub().await.expect("it starts");
    fleet.connected(1).await;
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
    server.refuse(false);

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
