//! Tenants whose catalogs are not where they were, or cannot be reached: they keep what they have.

use super::*;

#[tokio::test]
async fn a_tenant_that_cannot_be_reached_as_it_is_meant_is_at_the_commit_that_it_had() {
    let (mut fleet, own, server) = fleet(SHARED).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    fleet.converge(&[]).await.expect("it converges");
    let first = own.head().expect("a commit");
    let meant = tenant(&server.url(), SHARED);
    let unknown = meant.replace("path: nave}", "path: nave, credentials: nobody}");
    fleet.catalog.commit_file("team-a.yaml", &unknown).expect("a commit");
    let obstacle = "the hub has no credentials nobody that are for http";
    told(&fleet, obstacle).await;
    let second = own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two"));
    let second = second.expect("a commit");
    for has_restarted in [false, true] {
        if has_restarted {
            fleet.kill_hub();
            fleet.start_hub().await.expect("it starts");
            fleet.connected(1).await;
        }
        wait::until("it is told", LIMIT, async || {
            let status = fleet.status().await?;
            let standing = &status["tenants"][0];
            let why = standing["obstacle"].as_str().unwrap_or_default();
            ensure!(
                standing["commit"] == *first && why.contains(obstacle),
                "{standing:#}\n{}",
                fleet.tails()
            );
            Ok(())
        })
        .await;
        let why = fleet.order(&["why", "team-a/web", "fra-1"]).await;
        assert!(why.contains("runs, as the catalog says"), "{why}");
        // Its place is asked by nobody else's credentials, and by nobody without.
        let asked = server.requests();
        let planned = fleet.hub(&["plan", "--catalog", "team-a"]).await.expect("it runs");
        assert!(
            planned.code == 1 && planned.stderr.contains(obstacle),
            "{}{}",
            planned.stdout,
            planned.stderr
        );
        let waited = fleet.hub(&["wait"]).await.expect("it runs");
        assert!(waited.code == 1 && waited.stdout.contains(obstacle), "{}{}", waited.stdout, waited.stderr);
        let wait = ["wait", "--app", "team-a/web", "--commit", &second, "--timeout", "2s"];
        let waited = fleet.hub(&wait).await.expect("it runs");
        let said = format!("commit {second} is not in effect; {} of catalog team-a is", &first[..8]);
        assert!(waited.code == 3 && waited.stdout.contains(&said), "{}{}", waited.stdout, waited.stderr);
        assert_eq!(server.requests(), asked);
        stays(&fleet, "fra-1", OWN, Some("one")).await;
    }
    fleet.catalog.commit_file("team-a.yaml", &meant).expect("a commit");
    seen(&fleet, "fra-1", OWN, Some("two")).await;
    fleet.converge(&["--commit", &second]).await.expect("it converges");
}

#[tokio::test]
async fn a_tenant_loses_nothing_by_another_directory() {
    let (mut fleet, own, server) = fleet(SHARED).await;
    fleet.join("fra-1", &[], &Target::Directory).await.expect("it joins");
    seen(&fleet, "fra-1", OWN, Some("one")).await;
    fleet.converge(&[]).await.expect("it converges");
    let meant = tenant(&server.url(), SHARED);
    // Of the same commit there is nothing in another directory: the plan says that it is wrong, and what is in effect stays.
    let elsewhere = meant.replace("path: nave}", "path: other}");
    fleet.catalog.switch("elsewhere").expect("a branch");
    fleet.catalog.commit_file("team-a.yaml", &elsewhere).expect("a commit");
    fleet.catalog.switch("main").expect("a branch");
    let said = "outside the catalog's directory; its last good form stays in effect";
    let planned = fleet.hub(&["plan", "elsewhere"]).await.expect("it runs");
    assert!(planned.code == 1 && planned.stdout.contains(said), "{}{}", planned.stdout, planned.stderr);
    fleet.catalog.merge("elsewhere", "Merge").expect("it merges");
    for has_restarted in [false, true] {
        if has_restarted {
            fleet.kill_hub();
            fleet.start_hub().await.expect("it starts");
            fleet.connected(1).await;
        }
        told(&fleet, said).await;
        stays(&fleet, "fra-1", OWN, Some("one")).await;
    }
    fleet.catalog.commit_file("team-a.yaml", &meant).expect("a commit");
    let second = own.commit_file("nave/web/web.yaml", &documents::config_map("web", "two"));
    seen(&fleet, "fra-1", OWN, Some("two")).await;
    fleet.converge(&["--commit", &second.expect("a commit")]).await.expect("it converges");
}
