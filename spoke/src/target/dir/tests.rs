//! A directory target on a real file system.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nave_placement::catalog::OnRemove;
use nave_placement::report::EntryState;
use tempfile::TempDir;

use super::DirTarget;
use crate::target::Target;
use crate::testing::{Wish, app, config_map, config_map_key};

fn open(root: &TempDir) -> DirTarget {
    DirTarget::open(&root.path().join("manifests"), &root.path().join("state")).expect("it can be made")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("it is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_app_becomes_files_and_leaves_none() {
    let root = TempDir::new().expect("a directory");
    let target = open(&root);
    let dir = root.path().join("manifests");
    let wish = Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]);
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, EntryState::Healthy, "{outcome:?}");
    assert_eq!(names(&dir), ["configmap--default--a.yaml", "configmap--default--b.yaml"]);
    let text = fs::read_to_string(target.path(&config_map_key("a"))).expect("written");
    assert!(text.starts_with("# nave.dev/app: web "), "{text}");
    assert!(text.contains("kind: ConfigMap"), "{text}");

    let outcome = Wish::none().leaving("web", OnRemove::Delete).reconcile(&target).await;
    assert_eq!(outcome.left, [app("web")].into());
    assert_eq!(names(&dir), [""; 0]);
    assert_eq!(names(&root.path().join("state/inventory")), [""; 0]);
    assert_eq!(names(&root.path().join("state/written")), [""; 0]);
}

#[tokio::test]
async fn what_was_done_is_remembered_over_a_restart() {
    let root = TempDir::new().expect("a directory");
    let wish = Wish::none().app("team-a/web", &[config_map("a", "1")]);
    let first = open(&root);
    wish.reconcile(&first).await;
    let (uid, inventories) = (first.uid().await, first.inventories().await);
    drop(first);
    let second = open(&root);
    assert_eq!((second.uid().await.ok(), second.inventories().await.ok()), (uid.ok(), inventories.ok()));
    assert_eq!(wish.reconcile(&second).await.writes, 0);
}

#[tokio::test]
async fn every_kind_of_foreign_change_is_put_back() {
    let root = TempDir::new().expect("a directory");
    let target = open(&root);
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    wish.reconcile(&target).await;
    let path = target.path(&config_map_key("a"));
    let written = fs::read_to_string(&path).expect("written");
    let edits: [(&str, &dyn Fn()); 4] = [
        ("edited", &|| fs::write(&path, written.replace("value: ", "value: changed-")).expect("edited")),
        ("overwritten without our mark", &|| fs::write(&path, "kind: Nonsense\n").expect("edited")),
        ("emptied", &|| fs::write(&path, "").expect("edited")),
        ("removed", &|| fs::remove_file(&path).expect("removed")),
    ];
    for (what, edit) in edits {
        edit();
        assert_ne!(fs::read_to_string(&path).unwrap_or_default(), written, "{what}");
        let outcome = wish.reconcile(&target).await;
        assert_eq!(outcome.apps[&app("web")].corrected, 1, "{what}");
        assert_eq!(fs::read_to_string(&path).expect("put back"), written, "{what}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_neither_overwritten_nor_deleted() {
    let root = TempDir::new().expect("a directory");
    let target = open(&root);
    let path = target.path(&config_map_key("a"));
    fs::write(&path, "kind: Theirs\n").expect("written");
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, EntryState::Failed);
    Wish::none().leaving("web", OnRemove::Delete).reconcile(&target).await;
    assert_eq!(fs::read_to_string(&path).expect("untouched"), "kind: Theirs\n");
}

#[tokio::test]
async fn an_orphan_stays_without_our_mark() {
    let root = TempDir::new().expect("a directory");
    let target = open(&root);
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    wish.reconcile(&target).await;
    Wish::none().leaving("web", OnRemove::Orphan).reconcile(&target).await;
    let text = fs::read_to_string(target.path(&config_map_key("a"))).expect("it stays");
    assert!(!text.contains("nave.dev") && text.contains("ConfigMap"), "{text}");
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, EntryState::Healthy, "equal content is adopted");
}

#[tokio::test]
async fn a_directory_that_is_gone_is_not_an_empty_one() {
    let root = TempDir::new().expect("a directory");
    let target = open(&root);
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    wish.reconcile(&target).await;
    fs::remove_dir_all(root.path().join("manifests")).expect("removed");
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, EntryState::Waiting);
    let outcome = Wish::none().leaving("web", OnRemove::Delete).reconcile(&target).await;
    assert!(outcome.left.is_empty(), "{outcome:?}");
}

#[tokio::test]
async fn a_change_is_noticed_and_reading_is_none() {
    let root = TempDir::new().expect("a directory");
    let target = open(&root);
    let wish = Wish::none().app("web", &[config_map("a", "1")]);
    wish.reconcile(&target).await;
    let path = target.path(&config_map_key("a"));
    let mut changes = target.changes();
    let noticed = |mut changes: tokio::sync::watch::Receiver<u64>| async move {
        tokio::time::timeout(Duration::from_secs(20), changes.changed()).await.is_ok()
    };
    // What the round itself wrote may still be on its way: a change of ours, then look only at what follows.
    fs::write(&path, "kind: Changed\n").expect("edited");
    assert!(noticed(changes.clone()).await, "an edit is noticed");
    wish.reconcile(&target).await;
    fs::remove_file(&path).expect("removed");
    changes.mark_unchanged();
    wish.reconcile(&target).await;
    assert!(noticed(changes).await, "a deletion, or its correction, is noticed");
}

#[test]
fn only_what_may_be_a_change_wakes_anybody() {
    use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RemoveKind};
    use notify::{Event, EventKind};
    for (kind, path, expected) in [
        (EventKind::Access(AccessKind::Open(AccessMode::Any)), "/d/a.yaml", false),
        (EventKind::Access(AccessKind::Close(AccessMode::Read)), "/d/a.yaml", false),
        (EventKind::Access(AccessKind::Close(AccessMode::Write)), "/d/a.yaml", true),
        (EventKind::Modify(ModifyKind::Any), "/d/a.yaml", true),
        (EventKind::Remove(RemoveKind::File), "/d/a.yaml", true),
        (EventKind::Create(CreateKind::File), "/d/.a.yaml.nave", false),
    ] {
        let event = Event::new(kind).add_path(path.into());
        assert_eq!(super::watch::may_be_a_change(&event), expected, "{event:?}");
    }
}
