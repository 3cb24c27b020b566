//! Repositories on this machine: read in place, never written, pinned in the mirror.

use std::collections::BTreeMap;

use nave_hub::git::{FetchError, ReadError, Repository, author};
use nave_placement::catalog::FileKind;

use crate::fixture::{Scratch, git, paths, text};

#[tokio::test]
async fn a_local_repository_is_read_in_place_and_nothing_is_written_there() {
    for format in ["sha1", "sha256"] {
        let scratch = Scratch::with_format(format);
        std::os::unix::fs::symlink("apps/a.yaml", scratch.source().join("link")).unwrap();
        scratch.git(&["add", "-A"]);
        let zeros = "1".repeat(if format == "sha1" { 40 } else { 64 });
        scratch.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{zeros},sub")]);
        std::fs::create_dir_all(scratch.source().join("apps")).unwrap();
        std::fs::write(scratch.source().join("apps/a.yaml"), "kind: App\n").unwrap();
        scratch.git(&["add", "apps"]);
        scratch.git(&["commit", "-qm", "one"]);
        let before = scratch.snapshot();

        let repository = scratch.local();
        let head = repository.fetch().await.unwrap();
        assert_eq!(head.commit, scratch.head());
        let tree = repository.tree(&head.commit).await.unwrap();
        assert_eq!(
            paths(&tree),
            [
                ("apps/a.yaml", FileKind::File, 10),
                ("link", FileKind::Symlink, 11),
                ("sub", FileKind::Submodule, 0)
            ]
        );
        assert_eq!(text(&repository, &tree, "apps/a.yaml").await, "kind: App\n");
        repository.pin(&head.commit).await.unwrap();
        let short = repository.resolve(head.commit.short()).await.unwrap();
        assert_eq!(short, head.commit);
        assert_eq!(scratch.snapshot(), before, "{format}: the source repository was written to");
    }
}

#[tokio::test]
async fn bare_repositories_worktrees_and_detached_heads_are_read_too() {
    let scratch = Scratch::new();
    let first = scratch.commit(&[("a", "1")], "one");
    let bare = scratch.directory.path().join("bare");
    git(&scratch.source(), &["clone", "-q", "--bare", ".", bare.to_str().unwrap()]);
    let linked = scratch.directory.path().join("linked");
    scratch.git(&["worktree", "add", "-q", "--detach", linked.to_str().unwrap()]);
    scratch.commit(&[("a", "2")], "two");
    for path in [bare, linked] {
        let mut options = scratch.options(path.to_str().unwrap());
        options.mirror = path.with_extension("mirror");
        let head = Repository::open(options).unwrap().fetch().await.unwrap();
        assert_eq!(head.commit, first, "{}", path.display());
    }
}

#[tokio::test]
async fn a_missing_branch_or_repository_is_said_with_what_there_is_instead() {
    let scratch = Scratch::new();
    let empty = scratch.local().fetch().await.unwrap_err();
    assert!(matches!(empty, FetchError::BranchGone { .. }), "{empty}");
    scratch.commit(&[("a", "1")], "one");
    scratch.git(&["branch", "staging"]);
    let mut options = scratch.options(scratch.source().to_str().unwrap());
    options.branch = "production".into();
    let error = Repository::open(options).unwrap().fetch().await.unwrap_err().to_string();
    assert!(error.ends_with("has no branch production; it has main, staging"), "{error}");

    let error = Repository::open(scratch.options("/no/such/place")).unwrap().fetch().await.unwrap_err();
    assert!(matches!(&error, FetchError::NotARepository { url, .. } if url == "/no/such/place"), "{error}");
}

#[tokio::test]
async fn a_pinned_commit_survives_force_push_garbage_collection_and_loss_of_the_source() {
    let scratch = Scratch::new();
    scratch.commit(&[("keep/a", "same"), ("b", "old")], "one");
    let repository = scratch.local();
    let base = repository.fetch().await.unwrap().commit;
    let pinned = scratch.commit(&[("b", "pinned")], "two\n\nNave-Allow-Removal: *=1");
    repository.fetch().await.unwrap();
    repository.pin(&pinned).await.unwrap();
    let lost = scratch.commit(&[("b", "lost")], "three");

    scratch.git(&["reset", "-q", "--hard", &base.0]);
    let rewritten = scratch.commit(&[("b", "rewritten")], "another two");
    scratch.git(&["reflog", "expire", "--expire=now", "--all"]);
    scratch.git(&["gc", "-q", "--prune=now"]);
    assert_eq!(repository.fetch().await.unwrap().commit, rewritten);
    assert!(!repository.is_descendant(&pinned, &rewritten).await.unwrap());
    assert!(repository.is_descendant(&base, &rewritten).await.unwrap());
    assert!(matches!(repository.tree(&lost).await, Err(ReadError::Missing { .. })));

    std::fs::remove_dir_all(scratch.source()).unwrap();
    drop(repository);
    let repository = scratch.local();
    assert!(repository.fetch().await.is_err());
    let tree = repository.tree(&pinned).await.unwrap();
    assert_eq!(text(&repository, &tree, "b").await, "pinned");
    assert_eq!(text(&repository, &tree, "keep/a").await, "same");
    assert_eq!(repository.commit_info(&pinned).await.unwrap().trailers.len(), 1);
    assert_eq!(repository.pinned().await.unwrap(), std::slice::from_ref(&pinned));
    let mirror = scratch.directory.path().join("data/git/main");
    git(&mirror, &["fsck", "--strict"]);
    repository.unpin(&pinned).await.unwrap();
    repository.unpin(&pinned).await.unwrap();
    assert!(repository.pinned().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_pins_leave_few_packs_and_lose_nothing() {
    let scratch = Scratch::new();
    let repository = scratch.local();
    let mut commits = Vec::new();
    for n in 0..60 {
        let mut files = BTreeMap::from([("same".to_owned(), vec![b'x'; 3000])]);
        files.insert(format!("dir/{n}"), format!("content {n}").into_bytes());
        commits.push(
            author::commit(&scratch.source(), &files, &format!("commit {n}"), 1_700_000_000 + n).unwrap(),
        );
        repository.fetch().await.unwrap();
        repository.pin(commits.last().unwrap()).await.unwrap();
    }
    let packs = std::fs::read_dir(scratch.directory.path().join("data/git/main/objects/pack")).unwrap();
    let packs = packs.filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|x| x == "pack")).count();
    assert!(packs <= 50, "{packs} packs");
    std::fs::remove_dir_all(scratch.source()).unwrap();
    drop(repository);
    let repository = scratch.local();
    for (n, commit) in commits.iter().enumerate() {
        let tree = repository.tree(commit).await.unwrap();
        assert_eq!(text(&repository, &tree, &format!("dir/{n}")).await, format!("content {n}"));
    }
    git(&scratch.directory.path().join("data/git/main"), &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_commit_made_without_git_leaves_a_clean_work_tree_that_git_understands() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("catalog");
    let files = |list: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    };
    let one =
        author::commit(&directory, &files(&[("a.yaml", "1"), ("gone/deep/b", "2")]), "one", 1_700_000_000)
            .unwrap();
    std::fs::write(directory.join("mine.txt"), "not tracked").unwrap();
    let two =
        author::commit(&directory, &files(&[("a.yaml", "3"), ("a/b", "4")]), "two", 1_700_000_060).unwrap();
    assert_eq!(git(&directory, &["rev-list", "main"]), format!("{two}\n{one}"));
    assert_eq!(git(&directory, &["symbolic-ref", "HEAD"]), "refs/heads/main");
    assert_eq!(git(&directory, &["status", "--porcelain"]), "?? mine.txt");
    assert_eq!(git(&directory, &["ls-files"]), "a.yaml\na/b");
    assert_eq!(
        git(&directory, &["log", "-1", "--format=%an <%ae> %at %s"]),
        "Nave demo <demo@nave.invalid> 1700000060 two"
    );
    assert!(!directory.join("gone").exists());
    git(&directory, &["fsck", "--strict"]);
    for path in ["../x", "/x", ".git/config", "a/../../x", "", "a//b", "./a"] {
        let error = author::commit(&directory, &files(&[(path, "")]), "bad", 0).unwrap_err();
        assert!(matches!(error, author::AuthorError::BadPath { .. }), "{path}: {error}");
    }
}
