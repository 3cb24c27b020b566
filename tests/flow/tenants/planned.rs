//! Plans of what the root catalog says of tenants: each says what then comes.

use super::*;

/// Commits the `Catalog` of the tenant, or nothing in its place, on a branch, and plans that: what the plan says, as JSON and as text.
async fn proposed(fleet: &Fleet, branch: &str, text: &str, code: i32) -> (Value, String) {
    fleet.catalog.switch(branch).expect("a branch");
    fleet.catalog.commit_file("team-a.yaml", text).expect("a commit");
    fleet.catalog.switch("main").expect("a branch");
    let answer = fleet.hub(&["plan", branch, "-o", "json"]).await.expect("it runs");
    assert_eq!(answer.code, code, "{}{}\n{}", answer.stdout, answer.stderr, fleet.tails());
    let screen = fleet.hub(&["plan", branch]).await.expect("it runs");
    assert_eq!(screen.code, code, "{}{}", screen.stdout, screen.stderr);
    (serde_json::from_str(&answer.stdout).expect("JSON"), screen.stdout)
}

/// Merges a branch, and waits until nothing of it is left to do.
async fn merged(fleet: &Fleet, branch: &str) {
    let commit = fleet.catalog.merge(branch, "Merge").expect("it merges");
    fleet.converge(&["--commit", &commit]).await.expect("it converges");
}

/// The apps of which a plan says that something changes.
fn apps(view: &Value) -> Vec<&str> {
    let apps = view["apps"].as_array().expect("a list").iter();
    apps.map(|app| app["app"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn what_becomes_of_a_tenant_is_planned_before_it_comes() {
    let (own, server) = served();
    let mut fleet = Fleet::start(root("")).await.expect("it starts");
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", ROOTS, Some("root")).await;

    // The hub asks nobody whom only a branch names. Who plans on a machine of their own may.
    let shared = tenant(&server.url(), SHARED);
    let (view, screen) = proposed(&fleet, "new", &shared, 3).await;
    assert_eq!((&view["summary"]["catalogs"], apps(&view).len()), (&1.into(), 0), "{view:#}");
    for expected in [
        "no entry changes; 1 catalog changes",
        "+ catalog team-a is new: what it has there is in no plan, and shows once this is taken: ",
        "grants[0].namespaces: [\"team-a-*\"]",
    ] {
        assert!(screen.contains(expected), "{expected}: {screen}");
    }
    assert_eq!(server.requests(), 0);
    fleet.catalog.switch("new").expect("a branch");
    let directory = fleet.catalog.path();
    let directory = directory.to_str().expect("UTF-8");
    let fetched = fleet.hub(&["plan", "--dir", directory, "--fetch", "-o", "json"]).await.expect("it runs");
    assert_eq!(fetched.code, 3, "{}{}", fetched.stdout, fetched.stderr);
    let view: Value = serde_json::from_str(&fetched.stdout).expect("JSON");
    assert_eq!(apps(&view), ["team-a/web"], "{view:#}");
    assert_eq!(view["apps"][0]["gained"][0]["cluster"], "fra-1", "{view:#}");
    fleet.catalog.switch("main").expect("a branch");
    merged(&fleet, "new").await;
    seen(&fleet, "fra-1", OWN, Some("one")).await;

    // What is granted no more stays, and comes to what it was meanwhile.
    let (view, screen) = proposed(&fleet, "elsewhere", &shared.replace("[shared]", "[own]"), 3).await;
    assert!(screen.contains("1 entry is granted no more, stays as it is and takes no changes"), "{screen}");
    assert_eq!(apps(&view).len(), 0, "{view:#}");
    merged(&fleet, "elsewhere").await;
    let two = own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two")).expect("a commit");
    wait::until("the tenant's commit is taken", LIMIT, async || {
        let status = fleet.status().await?;
        ensure!(status["tenants"][0]["commit"] == *two, "{:#}", status["tenants"]);
        Ok(())
    })
    .await;
    let (view, _) = told_again(&fleet, &shared, "back", &["team-a/web"]).await;
    assert_eq!(view["apps"][0]["changed"][0]["clusters"], serde_json::json!(["fra-1"]), "{view:#}");
    seen(&fleet, "fra-1", OWN, Some("two")).await;

    // What is narrowed and widened again was never another on the cluster.
    let narrow = shared.replace("team-a-*", "others-*");
    let (_, screen) = proposed(&fleet, "narrow", &narrow, 3).await;
    assert!(screen.contains("1 entry is granted no more"), "{screen}");
    assert!(screen.contains("namespace team-a-web is not granted to catalog team-a"), "{screen}");
    let commit = fleet.catalog.merge("narrow", "Merge").expect("it merges");
    fleet.hub(&["wait", "--timeout", "5s", "--commit", &commit]).await.expect("it runs");
    stays(&fleet, "fra-1", OWN, Some("two")).await;
    told_again(&fleet, &shared, "wide", &[]).await;

    // Another branch of a repository that is followed is read.
    own.switch("v2").expect("a branch");
    own.commit_file("nave/web/web.yaml", &documents::config_map("web", "three")).expect("a commit");
    let third = shared.replace("branch: main", "branch: v2");
    let (view, screen) = proposed(&fleet, "third", &third, 3).await;
    assert_eq!(apps(&view), ["team-a/web"], "{view:#}");
    assert!(screen.contains("git.branch: \"main\" → \"v2\""), "{screen}");
    merged(&fleet, "third").await;
    seen(&fleet, "fra-1", OWN, Some("three")).await;

    // What is not there is a mistake, or is told.
    let missing = third.replace("branch: v2", "branch: v3");
    let (_, screen) = proposed(&fleet, "missing", &missing, 1).await;
    assert!(screen.contains("its repository cannot be read: ") && screen.contains("v3"), "{screen}");
    let (_, screen) = proposed(&fleet, "astray", &third.replace("path: nave", "path: navy"), 1).await;
    assert!(screen.contains("no document of catalog team-a stands in navy of this commit"), "{screen}");

    // Credentials that there are not are a mistake; one that goes says what stays.
    let unknown = third.replace("path: nave}", "path: nave, credentials: nobody}");
    let (_, screen) = proposed(&fleet, "unknown", &unknown, 1).await;
    assert!(screen.contains("the hub has no credentials nobody"), "{screen}");
    let (view, screen) = proposed(&fleet, "gone", "", 3).await;
    assert!(screen.contains("- catalog team-a is named no more: what runs of it stays as it is"), "{screen}");
    assert_eq!(apps(&view).len(), 0, "{view:#}");
    merged(&fleet, "gone").await;
    stays(&fleet, "fra-1", OWN, Some("three")).await;
    let (_, screen) = proposed(&fleet, "again", &third, 3).await;
    assert!(screen.contains("+ catalog team-a is new: "), "{screen}");
}

/// Plans and merges what was said of the tenant before: these apps change by it.
async fn told_again(fleet: &Fleet, text: &str, branch: &str, expected: &[&str]) -> (Value, String) {
    let (view, screen) = proposed(fleet, branch, text, 3).await;
    assert_eq!(apps(&view), expected, "{view:#}");
    merged(fleet, branch).await;
    (view, screen)
}
