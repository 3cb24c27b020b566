//! Ancestry, the main line, and what commits say.

use nave_hub::git::ReadError;
use nave_placement::catalog::CommitId;

use crate::fixture::Scratch;

#[tokio::test]
async fn descent_is_found_through_merges_and_not_where_there_is_none() {
    let scratch = Scratch::new();
    let root = scratch.commit(&[("a", "1")], "root");
    scratch.git(&["checkout", "-qb", "topic"]);
    let topic = scratch.commit(&[("b", "1")], "topic");
    scratch.git(&["checkout", "-q", "main"]);
    let straight = scratch.commit(&[("a", "2")], "straight");
    scratch.git(&["merge", "-q", "--no-ff", "-m", "merge", "topic"]);
    let merge = scratch.head();
    scratch.git(&["checkout", "-q", "--orphan", "other"]);
    let orphan = scratch.commit(&[("c", "1")], "orphan");
    scratch.git(&["checkout", "-q", "main"]);
    let repository = scratch.local();
    repository.fetch().await.unwrap();
    for (ancestor, head, expected) in [
        (&root, &merge, true),
        (&topic, &merge, true),
        (&merge, &merge, true),
        (&merge, &straight, false),
        (&topic, &straight, false),
        (&orphan, &merge, false),
    ] {
        assert_eq!(
            repository.is_descendant(ancestor, head).await.unwrap(),
            expected,
            "{ancestor:?} {head:?}"
        );
    }
    for (from, to, expected) in [
        (Some(&root), &merge, vec![&straight, &merge]),
        (Some(&topic), &merge, vec![&straight, &merge]),
        (Some(&straight), &merge, vec![&merge]),
        (Some(&merge), &merge, vec![]),
        (Some(&merge), &root, vec![]),
        (None, &merge, vec![&merge]),
    ] {
        let found = repository.first_parents(from, to).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{from:?}..{to:?}");
    }
    let unknown = CommitId("1".repeat(40).into());
    let error = repository.first_parents(Some(&unknown), &merge).await.unwrap_err();
    assert!(matches!(error, ReadError::Missing { .. }), "{error}");
}

#[tokio::test]
async fn trailers_are_those_of_the_last_paragraph() {
    let scratch = Scratch::new();
    for (message, expected) in [
        ("subject", vec![]),
        (
            "subject\n\nbody\n\nNave-Allow-Removal: app/podinfo=12\nNave-Allow-Removal: *=40\n",
            vec![("Nave-Allow-Removal", "app/podinfo=12"), ("Nave-Allow-Removal", "*=40")],
        ),
        ("subject\n\nNave-Allow-Removal: *=1\n\nmore text\n", vec![]),
        ("Nave-Allow-Removal: *=1", vec![]),
    ] {
        let commit = scratch.commit(&[], message);
        let repository = scratch.local();
        repository.fetch().await.unwrap();
        let info = repository.commit_info(&commit).await.unwrap();
        let trailers: Vec<_> = info.trailers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(trailers, expected, "{message:?}");
        assert_eq!((info.author.as_str(), info.email.as_str()), ("Ann", "ann@example.com"));
        assert_eq!(info.subject, message.lines().next().unwrap());
        assert!(info.time > 1_700_000_000);
    }
}

#[tokio::test]
async fn a_shallow_source_says_that_its_history_is_cut() {
    let scratch = Scratch::new();
    let root = scratch.commit(&[("a", "1")], "root");
    let head = scratch.commit(&[("a", "2")], "head");
    let clone = scratch.directory.path().join("clone");
    let url = format!("file://{}", scratch.source().display());
    scratch.git(&["clone", "-q", "--depth=1", &url, clone.to_str().unwrap()]);
    let repository = nave_hub::git::Repository::open(scratch.options(clone.to_str().unwrap())).unwrap();
    assert_eq!(repository.fetch().await.unwrap().commit, head);
    let error = repository.is_descendant(&root, &head).await.unwrap_err();
    assert!(matches!(error, ReadError::HistoryCut { .. }), "{error}");
}

#[tokio::test]
async fn an_abbreviation_must_name_one_commit() {
    let scratch = Scratch::new();
    let head = scratch.commit(&[("a", "1")], "one");
    let repository = scratch.local();
    repository.fetch().await.unwrap();
    let tree = repository.tree(&head).await.unwrap();
    assert_eq!(repository.resolve(&head.0).await.unwrap(), head);
    assert_eq!(repository.resolve(&head.short().to_uppercase()).await.unwrap(), head);
    assert!(matches!(repository.resolve("main").await, Err(ReadError::Ambiguous { .. })));
    assert!(matches!(repository.resolve(&tree["a"].blob.0[..12]).await, Err(ReadError::Ambiguous { .. })));
    assert!(matches!(repository.resolve(&"1".repeat(40)).await, Err(ReadError::Missing { .. })));
}
