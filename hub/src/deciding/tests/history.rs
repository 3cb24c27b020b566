//! History, from commits, labels and pins to records.

use nave_placement::assign::{Cause as Why, EncodedEntry, Epoch, Leaving};
use nave_placement::catalog::OnRemove;

use super::super::history::differences;
use super::*;
use crate::state::history::{Cause, Changed, What};

fn told(world: &World, what: What) -> Vec<&Changed> {
    let all = world.history.iter().flat_map(|record| &record.changes);
    all.filter(|change| change.what == what).collect()
}

fn clusters(changes: &[&Changed]) -> Vec<String> {
    let mut names: Vec<String> = changes.iter().flat_map(|c| &c.clusters).map(ToString::to_string).collect();
    names.sort();
    names
}

fn by(commit: &str) -> Cause {
    Cause::Commit { commit: CommitId(commit.into()) }
}

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
const THIRD: &str = "3333333333333333333333333333333333333333";
const FOURTH: &str = "4444444444444444444444444444444444444444";

#[tokio::test]
async fn every_change_is_told_once_with_what_caused_it() {
    let mut world = World { obeys: true, ..World::default() };
    world.files.insert("apps.yaml".into(), APPS.into());
    world.files.insert("web/web.yaml".into(), config_map("web"));
    let all = ["c-1", "c-2", "c-3"];
    all.iter().for_each(|name| world.member(name, &[]));
    world.commit(FIRST).await;
    let installed = told(&world, What::Installed);
    assert_eq!(clusters(&installed), all, "each once");
    assert!(installed.iter().all(|c| c.cause == by(FIRST) && c.placements == ["web"] && c.from.is_none()));

    // Who joins later has it because of that.
    world.history.clear();
    world.enrol("c-4");
    world.decide().await;
    let joined = told(&world, What::Installed);
    assert_eq!((clusters(&joined), &joined[0].cause), (vec!["c-4".to_owned()], &Cause::Joined));
    let all = ["c-1", "c-2", "c-3", "c-4"];

    // A label of one cluster: an override applies there, and nowhere else, by no rollout.
    world.history.clear();
    world.member("c-2", &[("size", "big")]);
    world.decide().await;
    let changed = told(&world, What::Changed);
    assert_eq!((clusters(&changed), &changed[0].cause), (vec!["c-2".to_owned()], &Cause::Labels));

    // A commit: all of them, in waves.
    world.history.clear();
    world.files.insert("web/web.yaml".into(), config_map("web").replace("{on:", "{off:"));
    world.commit(SECOND).await;
    let changed = told(&world, What::Changed);
    assert_eq!(clusters(&changed), all);
    for change in changed {
        let turn = change.turn.as_ref().expect("it moves by a rollout");
        assert_eq!((&change.cause, turn.commit.0.as_ref()), (&by(SECOND), SECOND), "{change:?}");
        assert!(turn.rollout.starts_with("web@"), "{turn:?}");
        assert!(change.from.as_ref().is_some_and(|from| *from.commit.0 == *FIRST));
    }

    // A rule that names fewer clusters.
    world.history.clear();
    let fewer = APPS.replace(
        "clusters: {selector: {}}}\n---",
        "clusters: {selector: {matchExpressions: [{key: size, operator: DoesNotExist}]}}}\n---",
    );
    assert_ne!(fewer, APPS);
    world.files.insert("apps.yaml".into(), fewer);
    world.commit(THIRD).await;
    let removed = told(&world, What::Removed);
    assert_eq!((clusters(&removed), &removed[0].cause), (vec!["c-2".to_owned()], &by(THIRD)));
    assert!(removed[0].to.is_none() && removed[0].from.is_some());

    // Without its label it has the app again; nothing else happens, and nothing is told twice. The rule is of this very commit:
    // it might also have waited since then.
    world.history.clear();
    world.member("c-2", &[]);
    world.decide().await;
    let back = told(&world, What::Installed);
    assert_eq!((clusters(&back), &back[0].cause), (vec!["c-2".to_owned()], &Cause::Placed));
    assert_eq!(world.history.iter().flat_map(|record| &record.changes).count(), 1);
    world.member("c-2", &[("size", "big")]);
    world.decide().await;
    world.files.insert("README.md".into(), "words".into());
    world.commit(FOURTH).await;
    world.history.clear();
    world.member("c-2", &[]);
    world.decide().await;
    let back = told(&world, What::Installed);
    assert_eq!((clusters(&back), &back[0].cause), (vec!["c-2".to_owned()], &Cause::Labels));
}

pub(super) fn entry(version: &[u8], drops: u32, formerly: &[&str]) -> Entry {
    let formerly = formerly.iter().map(|name| name.parse().expect("a name")).collect();
    let options =
        serde_json::json!({"namespace": null, "prune": true, "on_remove": "Delete", "formerly": []});
    let options: nave_placement::assign::Options = serde_json::from_value(options).expect("options");
    Entry {
        bundle: Digest::of(version),
        values: BTreeMap::new(),
        options: nave_placement::assign::Options { formerly, ..options },
        version: Digest::of(version),
        commit: CommitId(FIRST.into()),
        objects: 1,
        drops,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    }
}

#[test]
fn what_differs_is_seen_between_what_was_told_and_what_is_told() {
    let encoded = |entry: &Entry| -> EncodedEntry { nave_proto::encode_entry(entry) };
    let (one, two) = (entry(b"1", 0, &[]), entry(b"2", 0, &[]));
    let (more, new) = (entry(b"1", 3, &[]), entry(b"1", 0, &["old"]));
    // (entries before, entries after, apps that leave after, what is told: app and what)
    type Entries<'a> = &'a [(&'a str, &'a Entry)];
    type Row<'a> = (Entries<'a>, Entries<'a>, &'a [&'a str], &'a [(&'a str, What)]);
    let rows: [Row<'_>; 9] = [
        (&[], &[], &[], &[]),
        (&[], &[("a", &one)], &[], &[("a", What::Installed)]),
        (&[("a", &one)], &[("a", &one)], &[], &[]),
        (&[("a", &one)], &[("a", &two)], &[], &[("a", What::Changed)]),
        (&[("a", &one)], &[("a", &more)], &[], &[("a", What::Pruned)]),
        (&[("a", &more)], &[("a", &one)], &[], &[]),
        (&[("a", &one), ("b", &one)], &[("b", &two)], &["a"], &[("b", What::Changed), ("a", What::Removed)]),
        (&[("old", &one)], &[("new", &new)], &[], &[("new", What::Renamed)]),
        (&[("old", &one)], &[("new", &new)], &["old"], &[("new", What::Installed), ("old", What::Removed)]),
    ];
    let of = |entries: Entries<'_>, leaving: &[&str]| {
        let mut told = Told::nothing(Epoch(1));
        let key = |name: &str| name.parse::<AppKey>().expect("a name");
        told.assignment.entries = entries.iter().map(|(name, entry)| (key(name), encoded(entry))).collect();
        let record = Leaving { policy: OnRemove::Delete, cause: Why::Labels, objects: 1, drops_of: None };
        told.assignment.leaving = leaving.iter().map(|name| (key(name), record.clone())).collect();
        told
    };
    let codec = WireCodec(|_: &Digest| None);
    for (before, after, leaving, expected) in rows {
        let found = differences(&of(before, &[]), &of(after, leaving), &codec);
        let found: Vec<(String, What)> = found.into_iter().map(|d| (d.app.to_string(), d.what)).collect();
        let expected: Vec<(String, What)> =
            expected.iter().map(|(app, what)| ((*app).to_owned(), *what)).collect();
        assert_eq!(found, expected, "{before:?} {after:?}");
    }
}
