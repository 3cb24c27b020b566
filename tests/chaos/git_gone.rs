//! Absence never deletes: whatever happens to the catalog's repository, what runs goes on to run, also over a restart of the
//! hub; and when the repository is well again, so are changes.

use harness::fleet::Fleet;
use harness::git::{Repository, Server};
use harness::wait;
use serde_json::Value;

use crate::given::{
    LIMIT, WATCHED, catalog, done, files, fleet, until_held, until_status, until_values, write_value,
};

const CLUSTERS: [&str; 2] = ["fra-1", "fra-2"];

/// The hub says in `hub status` why the newest commit is not in effect, in these words.
async fn says(fleet: &Fleet, words: &str) {
    let what = format!("hub status says {words:?}");
    until_status(fleet, &what, |status| said(status).contains(words)).await;
}

fn said(status: &Value) -> String {
    status["catalog"]["obstacle"].as_str().unwrap_or_default().to_owned()
}

/// In this state nothing changes anywhere, whether the hub is restarted or not, and a restarted spoke is told nothing else.
async fn nothing_goes(fleet: &mut Fleet, words: &str) {
    let before = files(fleet, &CLUSTERS);
    says(fleet, words).await;
    wait::throughout("nothing is removed", WATCHED, async || files(fleet, &CLUSTERS) == before).await;
    fleet.kill_hub();
    fleet.start_hub().await.unwrap();
    says(fleet, words).await;
    fleet.connected(CLUSTERS.len()).await;
    wait::throughout("nothing is removed after a restart", WATCHED, async || {
        files(fleet, &CLUSTERS) == before
    })
    .await;
    let apps = done(fleet, &["app", "list", "-o", "json"]).await.unwrap();
    for app in ["web", "db"] {
        assert!(apps.contains(app), "the hub forgot {app}: {apps}");
    }
    done(fleet, &["audit", "verify"]).await.unwrap();
}

/// A new value arrives everywhere.
async fn goes_on(fleet: &Fleet, value: &str) {
    write_value(&fleet.catalog, "web", value);
    let commit = fleet.catalog.commit("Go on").unwrap();
    fleet.converge(&["--commit", &commit]).await.unwrap();
    for cluster in CLUSTERS {
        until_values(fleet, cluster, &[("db", "1"), ("web", value)]).await;
    }
}

#[tokio::test]
async fn a_repository_whose_directory_is_gone_removes_nothing() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    let path = fleet.catalog.path().parent().unwrap().join("bare.git");
    let aside = path.with_extension("aside");
    std::fs::rename(&path, &aside).unwrap();
    nothing_goes(&mut fleet, "").await;
    until_status(&fleet, "hub status says that Git does not answer", |status| !said(status).is_empty()).await;
    std::fs::rename(&aside, &path).unwrap();
    goes_on(&fleet, "2").await;
}

/// A fleet that follows its catalog over http.
async fn over_http() -> (Fleet, Server) {
    let repository: Repository = catalog(&["web", "db"]);
    let server = repository.serve().unwrap();
    let mut fleet = Fleet::prepare(repository).await.unwrap();
    fleet.follow(server.url());
    fleet.start_hub().await.unwrap();
    for cluster in CLUSTERS {
        fleet.join(cluster, &[], &harness::fleet::Target::Directory).await.unwrap();
    }
    fleet.connected(CLUSTERS.len()).await;
    fleet.converge(&[]).await.unwrap();
    (fleet, server)
}

#[tokio::test]
async fn a_server_that_refuses_removes_nothing() {
    let (mut fleet, server) = over_http().await;
    server.refuse(true);
    until_status(&fleet, "hub status says that Git does not answer", |status| !said(status).is_empty()).await;
    nothing_goes(&mut fleet, "").await;
    until_status(&fleet, "it still says so", |status| !said(status).is_empty()).await;
    server.refuse(false);
    goes_on(&fleet, "2").await;
}

#[tokio::test]
async fn a_branch_that_was_deleted_removes_nothing() {
    let (mut fleet, _server) = over_http().await;
    let head = fleet.catalog.head().unwrap();
    fleet.catalog.git(&["update-ref", "-d", "refs/heads/main"]).unwrap();
    until_status(&fleet, "hub status says that the branch is gone", |status| !said(status).is_empty()).await;
    nothing_goes(&mut fleet, "").await;
    fleet.catalog.git(&["update-ref", "refs/heads/main", &head]).unwrap();
    goes_on(&fleet, "2").await;
}

#[tokio::test]
async fn a_catalog_that_became_empty_is_held_and_removes_nothing() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    for path in ["apps", "placements"] {
        fleet.catalog.remove(path).unwrap();
    }
    fleet.catalog.write("README.md", "Nothing here.\n").unwrap();
    fleet.catalog.commit("Empty it").unwrap();
    nothing_goes(&mut fleet, "holds no catalog document").await;
    assert_eq!(until_held(&fleet, 1).await.len(), 1);
    let waited = fleet.hub(&["wait", "--timeout", "60s"]).await.unwrap();
    assert_eq!(waited.code, 1, "{waited:?}");
    fleet.catalog.git(&["revert", "--no-edit", "HEAD"]).unwrap();
    goes_on(&fleet, "2").await;
    assert!(until_held(&fleet, 0).await.is_empty());
}

#[tokio::test]
async fn a_file_that_cannot_be_parsed_removes_nothing_and_holds_up_no_other() {
    let mut fleet = fleet(catalog(&["web", "db"]), &CLUSTERS).await;
    let whole = std::fs::read_to_string(fleet.catalog.path().join("apps/web.yaml")).unwrap();
    fleet
        .catalog
        .write("apps/web.yaml", "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: [\n")
        .unwrap();
    write_value(&fleet.catalog, "db", "2");
    fleet.catalog.commit("Break one file").unwrap();
    let problem = |status: &Value| {
        let problems = status["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
        problems
            .iter()
            .any(|problem| problem["file"] == "apps/web.yaml" && problem["line"].as_u64() >= Some(1))
    };
    until_status(&fleet, "hub status names the file", problem).await;
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "2"), ("web", "1")]).await;
    }
    nothing_goes(&mut fleet, "").await;
    until_status(&fleet, "a restarted hub names it too", problem).await;
    let waited = fleet.hub(&["wait", "--timeout", "60s"]).await.unwrap();
    assert_eq!(waited.code, 1, "{waited:?}");

    // The last good form is in effect in full: what it is made of can still change.
    write_value(&fleet.catalog, "web", "2");
    fleet.catalog.commit("Change it all the same").unwrap();
    for cluster in CLUSTERS {
        until_values(&fleet, cluster, &[("db", "2"), ("web", "2")]).await;
    }
    fleet.catalog.write("apps/web.yaml", &whole).unwrap();
    write_value(&fleet.catalog, "web", "3");
    let commit = fleet.catalog.commit("Mend it").unwrap();
    fleet.converge(&["--commit", &commit]).await.unwrap();
    wait::until("no problem is left", LIMIT, async || {
        fleet.status().await.is_ok_and(|status| status["problems"] == serde_json::json!([]))
    })
    .await;
    until_values(&fleet, "fra-1", &[("db", "2"), ("web", "3")]).await;
}
