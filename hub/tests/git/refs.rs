//! What the catalog names of a repository: its default branch, names, commits, ranges over its tags.

use nave_hub::git::{FetchError, Meant, Options, Repository};
use nave_placement::catalog::{CommitId, GitRef};

use crate::fixture::{Scratch, Server, text};

fn reference(text: &str) -> GitRef {
    text.parse().expect(text)
}

/// `main` and `next`, tags of both kinds, one that is called as a branch, and one of a file.
fn made(format: &str) -> (Scratch, [CommitId; 4]) {
    let scratch = Scratch::with_format(format);
    let first = scratch.commit(&[("a", "first")], "first");
    scratch.git(&["tag", "v1.2.0"]);
    let second = scratch.commit(&[("a", "second")], "second");
    scratch.git(&["tag", "-a", "v1.10.0", "-m", "annotated"]);
    scratch.git(&["tag", "both"]);
    let main = scratch.commit(&[("a", "main")], "main");
    scratch.git(&["tag", "v2.0.0-rc.1"]);
    scratch.git(&["tag", "latest"]);
    scratch.git(&["tag", "a-file", &format!("{}:a", main.0)]);
    scratch.git(&["switch", "-q", "-c", "next"]);
    let next = scratch.commit(&[("a", "next")], "next");
    scratch.git(&["branch", "both"]);
    scratch.git(&["update-ref", "refs/pull/7/head", &next.0]);
    scratch.git(&["switch", "-q", "main"]);
    (scratch, [first, second, main, next])
}

#[tokio::test]
async fn what_is_named_is_found_and_readable_and_told_by_its_name() {
    for (format, is_remote) in [("sha1", false), ("sha1", true), ("sha256", true)] {
        let (scratch, [first, second, main, next]) = made(format);
        let server = Server::start(scratch.directory.path());
        let repository = match is_remote {
            true => Repository::open(scratch.options(format!("{}/source", server.address))).unwrap(),
            false => scratch.local(),
        };
        for (named, commit, name, content) in [
            ("^1", &second, "v1.10.0", "second"),
            ("", &main, "main", "main"),
            ("next", &next, "next", "next"),
            ("both", &second, "both", "second"),
            ("refs/heads/both", &next, "both", "next"),
            ("refs/pull/7/head", &next, "refs/pull/7/head", "next"),
            ("v1.2.0", &first, "v1.2.0", "first"),
            ("~1.2", &first, "v1.2.0", "first"),
            ("*", &second, "v1.10.0", "second"),
            (">=1.0.0-0 <3", &main, "v2.0.0-rc.1", "main"),
            (&*second.0, &second, &*second.0, "second"),
        ] {
            let found =
                repository.fetch_ref(&reference(named)).await.unwrap_or_else(|e| panic!("{named}: {e}"));
            let expected = Meant { commit: commit.clone(), name: name.to_owned() };
            assert_eq!(found, expected, "{named:?}, {format}, remote {is_remote}");
            let tree = repository.tree(commit).await.unwrap();
            assert_eq!(text(&repository, &tree, "a").await, content, "{named:?}");
        }
        let absent = "0".repeat(first.0.len());
        for (named, exists) in
            [("nowhere", "both, main, next"), ("^3", "v2.0.0-rc.1, v1.10.0, v1.2.0"), (&absent, "main")]
        {
            let error = repository.fetch_ref(&reference(named)).await.unwrap_err();
            assert!(matches!(error, FetchError::Unknown { .. }), "{named}: {error:?}");
            let told = error.to_string();
            assert!(told.contains(&format!("commit {named}")) && told.contains(exists), "{told}");
        }
        let error = repository.fetch_ref(&reference("a-file")).await.unwrap_err();
        assert!(matches!(error, FetchError::Failed { .. }), "{error:?}");
        assert_eq!(repository.fetch().await.unwrap().commit, main, "{format}, remote {is_remote}");
    }
}

#[tokio::test]
async fn what_is_here_already_is_asked_for_no_more_than_once() {
    let (scratch, [first, second, main, _]) = made("sha1");
    let server = Server::start(scratch.directory.path());
    let packs = || std::mem::take(&mut server.demands.lock().unwrap().packs);
    let asked = || std::mem::take(&mut server.demands.lock().unwrap().requests);
    let repository = Repository::open(scratch.options(format!("{}/source", server.address))).unwrap();
    let fixed = GitRef::Commit(first.clone());
    scratch.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
    assert_eq!(repository.fetch_ref(&fixed).await.unwrap().commit, first);
    assert_eq!(packs(), 1);
    asked();
    assert_eq!(repository.fetch_ref(&fixed).await.unwrap().commit, first);
    assert_eq!(asked(), 0, "a commit that is here costs no request");

    for reference in [reference("^1"), reference("main")] {
        repository.fetch_ref(&reference).await.unwrap();
        assert_eq!(packs(), 1, "{reference:?}");
        repository.fetch_ref(&reference).await.unwrap();
        assert_eq!(packs(), 0, "{reference:?}: only what it means is asked");
    }
    // Nobody needs the history of what is named.
    let mirror = scratch.directory.path().join("data/git/main");
    let shallow = std::fs::read_to_string(mirror.join("shallow")).unwrap();
    for commit in [&first, &second, &main] {
        assert!(shallow.contains(&*commit.0) || *commit == first, "{commit} of {shallow}");
    }
    repository.pin(&second).await.unwrap();
    scratch.git(&["tag", "-f", "v1.11.0", "main"]);
    let moved = scratch.commit(&[("b", "1")], "moved");
    scratch.git(&["tag", "v1.12.0"]);
    let expected = Meant { commit: moved, name: "v1.12.0".into() };
    assert_eq!(repository.fetch_ref(&reference("^1")).await.unwrap(), expected);
    let tree = repository.tree(&second).await.unwrap();
    assert_eq!(text(&repository, &tree, "a").await, "second", "what is pinned stays");
    crate::fixture::git(&mirror, &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_catalog_is_followed_by_whatever_means_one_of_its_commits() {
    for is_remote in [false, true] {
        let (scratch, [first, second, main, next]) = made("sha1");
        scratch.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        let server = Server::start(scratch.directory.path());
        let at = |branch: &str| {
            let room = scratch.directory.path().join("data").join(branch.replace(['/', ' '], "-"));
            let url = match is_remote {
                true => format!("{}/source", server.address),
                false => format!("file://{}", scratch.source().display()),
            };
            Options { branch: branch.to_owned(), ..Options::new(url, room) }
        };
        for (branch, commit) in [
            ("", &main),
            ("next", &next),
            ("v1.2.0", &first),
            ("v1.10.0", &second),
            // A branch comes before a tag: whoever followed it goes on.
            ("both", &next),
            ("refs/tags/both", &second),
            ("^1", &second),
            (">=1.2 <1.10", &first),
            (&*second.0, &second),
        ] {
            let repository = Repository::open(at(branch)).unwrap();
            for _ in 0..2 {
                let found =
                    repository.fetch().await.unwrap_or_else(|e| panic!("{branch}, remote {is_remote}: {e}"));
                assert_eq!(found.commit, *commit, "{branch}, remote {is_remote}");
            }
            assert!(repository.tree(commit).await.is_ok(), "{branch}");
            if first != *commit {
                assert!(
                    repository.is_descendant(&first, commit).await.unwrap(),
                    "{branch}, remote {is_remote}"
                );
            }
        }
        for branch in ["nowhere", "^7", &"0".repeat(40)] {
            let told = Repository::open(at(branch)).unwrap().fetch().await.expect_err(branch);
            assert!(
                matches!(told, FetchError::BranchGone { .. } | FetchError::Unknown { .. }),
                "{branch}: {told:?}"
            );
        }
        let told = Repository::open(at("a..b")).err().expect("it is no name");
        assert!(matches!(told, FetchError::BadBranch(_)), "{told:?}");
        // A release comes.
        let repository = Repository::open(at("^1")).unwrap();
        scratch.git(&["tag", "v1.11.0", &main.0]);
        assert_eq!(repository.fetch().await.unwrap().commit, main);
    }
}
