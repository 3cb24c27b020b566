//! Commits by the names that people give them.

use nave_hub::git::{FetchError, Repository};

use crate::fixture::{Scratch, Server, text};

#[tokio::test]
async fn a_branch_a_tag_a_reference_and_an_id_are_found_and_the_catalogs_branch_stays() {
    for is_remote in [false, true] {
        let scratch = Scratch::new();
        let server = Server::start(scratch.directory.path());
        scratch.commit(&[("a", "0")], "root");
        let main = scratch.commit(&[("a", "1")], "main");
        let repository = match is_remote {
            true => Repository::open(scratch.options(format!("{}/source", server.address))).unwrap(),
            false => scratch.local(),
        };
        assert_eq!(repository.fetch().await.unwrap().commit, main);

        scratch.git(&["switch", "-q", "-c", "feature/x"]);
        let feature = scratch.commit(&[("a", "feature")], "feature");
        scratch.git(&["tag", "-a", "v1", "-m", "first"]);
        let tagged = feature.clone();
        let newest = scratch.commit(&[("a", "newest")], "newest");
        scratch.git(&["update-ref", "refs/pull/7/head", &newest.0]);
        scratch.git(&["reset", "-q", "--hard", &feature.0]);
        scratch.git(&["switch", "-q", "main"]);

        for (rev, expected) in [
            ("feature/x", &feature),
            ("main", &main),
            ("v1", &tagged),
            ("refs/heads/feature/x", &feature),
            ("refs/pull/7/head", &newest),
            (&main.0[..10], &main),
            (&*newest.0, &newest),
        ] {
            let found = repository.fetch_named(rev).await.unwrap_or_else(|e| panic!("{rev}: {e}"));
            assert_eq!(found, *expected, "{rev}, remote {is_remote}");
        }
        let tree = repository.tree(&newest).await.unwrap();
        assert_eq!(text(&repository, &tree, "a").await, "newest");
        assert!(repository.is_descendant(&main, &newest).await.unwrap());
        assert_eq!(repository.fetch().await.unwrap().commit, main, "remote {is_remote}");

        for rev in ["nowhere", "0123456789", "a..b", "", "main~1"] {
            let Err(FetchError::Unknown { found, .. }) = repository.fetch_named(rev).await else {
                panic!("{rev} is found, remote {is_remote}");
            };
            assert!(found.contains(&"main".to_owned()), "{found:?}");
        }
    }
}

#[tokio::test]
async fn a_commit_that_no_branch_brought_is_asked_for_by_its_id() {
    let scratch = Scratch::new();
    let server = Server::start(scratch.directory.path());
    scratch.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    let main = scratch.commit(&[("a", "1")], "main");
    let repository = Repository::open(scratch.options(format!("{}/source", server.address))).unwrap();
    assert_eq!(repository.fetch().await.unwrap().commit, main);
    scratch.git(&["switch", "-q", "--detach"]);
    let alone = scratch.commit(&[("a", "alone")], "alone");
    scratch.git(&["switch", "-q", "main"]);
    assert_eq!(repository.fetch_named(&alone.0).await.unwrap(), alone);
    let tree = repository.tree(&alone).await.unwrap();
    assert_eq!(text(&repository, &tree, "a").await, "alone");
}
