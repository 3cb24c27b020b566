//! What the state directory survives: files that are cut anywhere, and what belongs to no file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use nave_placement::assign::{EncodedEntry, EncodedRelations, EncodedSchedule, Generation, Options};
use nave_placement::catalog::{CommitId, OnRemove};
use nave_placement::schedule::Schedule;
use nave_proto::encode_entry;

use super::*;
use crate::identity::{Der, Secret};

fn entry(bundle: Digest) -> EncodedEntry {
    let options = Options {
        namespace: None,
        prune: true,
        on_remove: OnRemove::Delete,
        share: None,
        grant: None,
        formerly: BTreeSet::new(),
        substitute: false,
        treatment: nave_placement::catalog::Treatment::default(),
    };
    encode_entry(&Entry {
        bundle,
        values: BTreeMap::new(),
        options,
        version: bundle,
        commit: CommitId("c".into()),
        objects: 1,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    })
}

fn packed(content: &str) -> (Digest, Vec<u8>) {
    (Digest::of(content.as_bytes()), zstd::encode_all(content.as_bytes(), 0).expect("in memory"))
}

fn held(generation: u64, bundle: Digest) -> Held {
    let entries = [("web".parse().expect("valid"), entry(bundle))].into();
    let assignment = Assignment {
        epoch: Epoch(1),
        generation: Generation(generation),
        entries,
        leaving: BTreeMap::new(),
        schedule: EncodedSchedule::default(),
        relations: EncodedRelations::default(),
    };
    Held { assignment: Arc::new(assignment), mac: vec![1, 2] }
}

fn identity() -> Identity {
    Identity {
        fleet: "acme".into(),
        cluster: "fra-1".into(),
        token: "t".into(),
        cluster_uid: "uid".into(),
        hub_addresses: vec!["127.0.0.1:1".into()],
        ca: Der(vec![1]),
        certificate: Der(vec![2]),
        key: Secret(vec![3]),
    }
}

#[tokio::test]
async fn everything_reads_back_after_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let (bundle, zstd) = packed("{}");
    {
        let state = State::open(dir.path()).await.expect("opens");
        assert_eq!(state.held().await.expect("readable"), Held::nothing());
        state.store_identity(&identity()).await.expect("stored");
        state.store_held(&held(1, bundle), &[(bundle, zstd)], true).await.expect("stored");
        state.store_hub_time(77).await.expect("stored");
        assert_eq!(state.next_boot(1000).await.expect("counted"), 1);
    }
    let state = State::open(dir.path()).await.expect("opens");
    assert_eq!(state.identity().await.expect("readable"), Some(identity()));
    assert_eq!(state.held().await.expect("readable"), held(1, bundle));
    assert_eq!(state.bundle(&bundle).await.expect("readable").as_deref(), Some(&b"{}"[..]));
    assert_eq!(
        (state.hub_time().await.expect("readable"), state.is_detached().await.expect("readable")),
        (77, false)
    );
    assert_eq!(state.next_boot(1000).await.expect("counted"), 2);
}

#[tokio::test]
async fn a_file_that_is_cut_anywhere_is_told_and_costs_nothing_that_cannot_be_had_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let (bundle, zstd) = packed("{}");
    let state = State::open(dir.path()).await.expect("opens");
    let store = async || {
        state.store_identity(&identity()).await.expect("stored");
        state.store_held(&held(1, bundle), &[(bundle, zstd.clone())], true).await.expect("stored");
        state.store_hub_time(77).await.expect("stored");
        state.next_boot(1000).await.expect("counted");
    };
    store().await;
    for name in ["assignment", "identity.json", "hub-time", "boot"] {
        let path = dir.path().join(name);
        let length = fs::read(&path).expect("readable").len();
        for cut in (0..length).step_by(7) {
            store().await;
            let whole = fs::read(&path).expect("readable");
            fs::write(&path, &whole[..cut.min(whole.len() - 1)]).expect("written");
            let held = state.held().await.expect("readable");
            match name {
                "assignment" => {
                    assert_eq!(held, Held::nothing());
                    assert!(dir.path().join("assignment.damaged").exists());
                }
                "identity.json" => {
                    assert!(matches!(state.identity().await, Err(StateError::Damaged(_))));
                    assert!(path.exists(), "the file is left for whoever mends it");
                }
                "hub-time" => assert_eq!(state.hub_time().await.expect("readable"), 0),
                _ => assert!(state.next_boot(1_000_000).await.expect("counted") >= 1_000_000),
            }
        }
    }
    let path = dir.path().join("bundles").join(bundle.to_string());
    store().await;
    fs::write(&path, b"half").expect("written");
    assert_eq!(state.bundle(&bundle).await.expect("readable"), None);
    assert!(!state.has_bundle(&bundle), "so that it is fetched again");
}

#[tokio::test]
async fn the_previous_bundle_of_an_app_stays_and_older_ones_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = State::open(dir.path()).await.expect("opens");
    let bundles: Vec<_> = ["1", "2", "3"].map(packed).into();
    for (generation, (digest, zstd)) in (1..).zip(&bundles) {
        state.store_held(&held(generation, *digest), &[(*digest, zstd.clone())], true).await.expect("stored");
    }
    let here = |i: usize| state.has_bundle(&bundles[i].0);
    assert_eq!([here(0), here(1), here(2)], [false, true, true]);
    // The same bundle again is no change of version.
    state.store_held(&held(4, bundles[2].0), &[], true).await.expect("stored");
    assert_eq!([here(1), here(2)], [true, true]);
}

#[tokio::test]
async fn an_inlined_bundle_that_is_not_what_it_says_is_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = State::open(dir.path()).await.expect("opens");
    let (bundle, _) = packed("right");
    let (_, wrong) = packed("wrong");
    state.store_held(&held(1, bundle), &[(bundle, wrong)], true).await.expect("stored");
    assert!(!state.has_bundle(&bundle));
}

#[tokio::test]
async fn joining_again_makes_what_was_held_void() {
    let dir = tempfile::tempdir().expect("a directory");
    let state = State::open(dir.path()).await.expect("opens");
    state.store_held(&held(1, packed("x").0), &[], true).await.expect("stored");
    state.detach().await.expect("stored");
    state.joined(&identity()).await.expect("stored");
    assert_eq!(
        (state.held().await.expect("readable"), state.is_detached().await.expect("readable")),
        (Held::nothing(), false)
    );
}

#[tokio::test]
async fn the_key_is_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let state = State::open(dir.path()).await.expect("opens");
    state.store_identity(&identity()).await.expect("stored");
    let mode = fs::metadata(dir.path().join("identity.json")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_directory_is_cleared_of_what_is_a_spokes_and_of_nothing_else() {
    for others in [&[][..], &["notes", "bundles/theirs"]] {
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().join("spoke");
        let state = State::open(&at).await.expect("opens");
        state.store_identity(&identity()).await.expect("stored");
        state.next_boot(1).await.expect("stored");
        state.digest_key().await.expect("stored");
        state.detach().await.expect("stored");
        let zstd = zstd::encode_all(&b"{}"[..], 0).expect("in memory");
        state.store_bundle(&Digest::of(b"{}"), &zstd).await.expect("stored");
        state.keep().show(b"{}").await.expect("shown");
        state.keep().set_aside("boot").await.expect("aside");
        std::fs::create_dir_all(at.join("target/written")).expect("made");
        for name in ["target/uid", "paused", "identity.json.new"].iter().chain(others) {
            std::fs::write(at.join(name), "x").expect("written");
        }
        assert!(matches!(Files::of_a_spoke(&at), Err(StateError::InUse(_))), "it runs");
        drop(state);
        let left = Files::of_a_spoke(&at).expect("it is one").clear().expect("cleared");
        match others {
            [] => assert!(left.is_empty() && !at.exists(), "{left:?}"),
            _ => {
                assert_eq!(left, ["bundles".to_owned(), "notes".to_owned()].into());
                assert!(others.iter().all(|name| at.join(name).exists()));
                assert_eq!(std::fs::read_dir(at.join("bundles")).expect("there").count(), 1);
            }
        }
    }
}

#[test]
fn a_directory_that_no_spoke_ran_with_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("hub.json"), "{}").expect("written");
    for path in [dir.path().to_owned(), dir.path().join("missing")] {
        let refused = Files::of_a_spoke(&path).map(drop).expect_err("none").to_string();
        assert!(refused.contains("is no state directory of a spoke"), "{refused}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("there").count(), 1);
}

/// Changes may start on no day of this assignment.
fn frozen(generation: u64, bundle: Digest) -> Held {
    let Held { assignment, mac } = held(generation, bundle);
    let freeze = nave_placement::schedule::Freeze {
        from: "2026-11-20".parse().expect("a date"),
        to: "9999-12-31".parse().expect("a date"),
        timezone: nave_placement::schedule::Zone::utc(),
    };
    let schedule = Schedule { windows: Vec::new(), freezes: vec![freeze] };
    let schedule = nave_proto::encode_schedule(&schedule);
    Held { assignment: Arc::new(Assignment { schedule, ..(*assignment).clone() }), mac }
}

#[tokio::test]
async fn what_had_begun_is_remembered_with_its_bundle_until_the_change_begins() {
    let dir = tempfile::tempdir().expect("a directory");
    let [(one, first), (two, second), (three, third)] = ["1", "2", "3"].map(packed);
    let open = async || State::open(dir.path()).await.expect("opens");
    let runs = |state: &State, held: &Held| {
        let enforced = state.enforced(&held.assignment);
        entries(&enforced.assignment).into_values().flatten().map(|entry| entry.bundle).collect::<Vec<_>>()
    };
    let state = open().await;
    state.store_held(&held(1, one), &[(one, first)], true).await.expect("stored");
    assert_eq!(state.started(), None, "nothing may have to wait");
    let second = (frozen(2, two), [(two, second)]);
    state.store_held(&second.0, &second.1, false).await.expect("stored");
    drop(state);

    // Over a restart, and a change that takes the place of the one that waits.
    let state = open().await;
    assert_eq!(runs(&state, &second.0), [one]);
    let third = (frozen(3, three), [(three, third)]);
    state.store_held(&third.0, &third.1, false).await.expect("stored");
    assert_eq!(runs(&state, &third.0), [one]);
    assert_eq!(
        [one, two, three].map(|bundle| state.has_bundle(&bundle)),
        [true, false, true],
        "what never ran and never will is cleared away"
    );

    // The turn of an older one is over once a newer one was accepted.
    state.begin(&second.0.assignment).await.expect("stored");
    assert_eq!(runs(&state, &third.0), [one]);
    drop(state);
    let state = open().await;
    assert_eq!(runs(&state, &third.0), [one]);
    state.begin(&third.0.assignment).await.expect("stored");
    assert_eq!((state.started(), runs(&state, &third.0)), (None, vec![three]));

    // A damaged record: nothing counts as begun, but what is found.
    let fourth = frozen(4, one);
    state.store_held(&fourth, &[], false).await.expect("stored");
    drop(state);
    fs::write(dir.path().join("started"), b"damaged").expect("written");
    let state = open().await;
    assert_eq!(runs(&state, &fourth), []);
    assert!(state.started().is_some_and(|started| started.entries.is_empty() && !started.is_all));
    state.found_begun(third.0.assignment.entries.clone()).await.expect("stored");
    drop(state);
    let state = open().await;
    assert_eq!(runs(&state, &fourth), [three]);
}

#[tokio::test]
async fn what_returns_begins_whatever_windows_say_and_what_follows_it_waits_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let [(one, first), (two, second), (three, third)] = ["1", "2", "3"].map(packed);
    let state = State::open(dir.path()).await.expect("opens");
    let runs = |held: &Held| {
        let enforced = state.enforced(&held.assignment);
        entries(&enforced.assignment).into_values().flatten().map(|entry| entry.bundle).collect::<Vec<_>>()
    };
    // The bad version runs, and no change may start any more.
    state.store_held(&held(1, two), &[(two, second)], true).await.expect("stored");
    let Held { assignment, mac } = frozen(2, one);
    let at_once = |entry: &EncodedEntry| {
        let entry = decode_entry(&entry.bytes).expect("ours");
        encode_entry(&Entry { at_once: true, ..entry })
    };
    let returning = assignment.entries.iter().map(|(app, entry)| (app.clone(), at_once(entry))).collect();
    let assignment = Arc::new(Assignment { entries: returning, ..(*assignment).clone() });
    let back = Held { assignment, mac };
    state.store_held(&back, &[(one, first)], false).await.expect("stored");
    assert_eq!(runs(&back), [one]);
    // A newer version waits, and does not bring the bad one back.
    let newer = frozen(3, three);
    state.store_held(&newer, &[(three, third)], false).await.expect("stored");
    assert_eq!(runs(&newer), [one]);
}

#[tokio::test]
async fn a_crash_while_a_change_is_accepted_or_begins_leaves_one_of_both() {
    let dir = tempfile::tempdir().expect("a directory");
    let (one, first) = packed("1");
    let (two, second) = packed("2");
    let files = Arc::new(Files::open(dir.path()).expect("opens"));
    let state = State::within(files.clone()).await.expect("opens");
    state.store_held(&held(1, one), &[(one, first)], true).await.expect("stored");
    // The record was written, the assignment not yet.
    let entries = held(1, one).assignment.entries.clone();
    state.store_started(Some(Started { entries, is_all: true })).await.expect("stored");
    let state = State::within(files.clone()).await.expect("opens");
    let stored = state.held().await.expect("readable");
    assert_eq!(state.enforced(&stored.assignment), crate::started::Enforced::all(&stored.assignment));
    // And the assignment that follows waits for its turn.
    state.store_held(&frozen(2, two), &[(two, second)], false).await.expect("stored");
    let enforced = state.enforced(&frozen(2, two).assignment);
    assert_eq!(enforced.assignment.entries, held(1, one).assignment.entries);
}
