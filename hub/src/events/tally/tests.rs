//! Sums after any row of changes are those of counting anew.

use nave_placement::assign::{Entry, Epoch, Generation, Leaving, Options};
use nave_placement::catalog::{OnRemove, Treatment};
use nave_placement::guard::EntryKey;
use nave_placement::report::EntryReason;

use super::*;
use crate::deciding::granting::Stay;
use crate::state::{Heard, Versioned};

fn entry(commit: &str) -> Entry {
    let options = Options {
        namespace: None,
        prune: true,
        on_remove: OnRemove::Delete,
        share: None,
        grant: None,
        formerly: BTreeSet::new(),
        substitute: false,
        treatment: Treatment::default(),
    };
    Entry {
        bundle: Digest::of(b"b"),
        values: BTreeMap::new(),
        options,
        version: Digest::of(commit.as_bytes()),
        commit: CommitId(commit.into()),
        objects: 1,
        drops: 0,
        drops_cause: None,
        drops_of: None,
        at_once: false,
        source_at: None,
    }
}

fn said(state: EntryState, corrected: u64, drifted: u32) -> EntryReport {
    EntryReport {
        version: None,
        state,
        reason: EntryReason::ApplyRefused,
        message: "no".into(),
        objects: 1,
        healthy: 0,
        unhealthy: Vec::new(),
        corrected,
        drifted,
        notes: Vec::new(),
        asks: None,
        digest: Digest::default(),
    }
}

fn app(name: &str) -> AppKey {
    name.parse().expect("a name")
}

/// A cluster that was told two apps by a commit, and reports these states.
fn put(
    state: &mut State,
    name: &ClusterName,
    version: u64,
    commit: &str,
    reported: &[(EntryState, u64, u32)],
) {
    let mut told = Told::nothing(Epoch(1));
    told.assignment.generation = Generation(version);
    for name in ["web", "db"] {
        told.assignment.entries.insert(app(name), nave_proto::encode_entry(&entry(commit)));
    }
    let cause = LeavingCause::Revision { commit: CommitId("gone".into()) };
    let leaving = Leaving { policy: OnRemove::Delete, cause, objects: 1, drops_of: None };
    if version.is_multiple_of(3) {
        told.assignment.leaving.insert(app("old"), leaving);
    }
    let mut report =
        Report { boot: 1, generation: Generation(version), epoch: Epoch(1), ..Report::default() };
    for (name, (stands, corrected, drifted)) in ["web", "db"].iter().zip(reported) {
        report.entries.insert(app(name), said(*stands, *corrected, *drifted));
    }
    let version = Version(version);
    let heard = Heard { report: Arc::new(report), ..Heard::default() };
    state.told.insert(name.clone(), Versioned { record: Arc::new(told), version });
    state.reports.insert(name.clone(), Versioned { record: Arc::new(heard), version });
}

/// An app that takes no changes.
fn stay(name: &str, on: &ClusterName, commit: &str) -> (EntryKey, Stay) {
    let told = Some(nave_proto::encode_entry(&entry(commit)).digest);
    ((app(name), on.clone()), Stay { kind: StayKind::AtRest, told, why: "it is not granted".into() })
}

#[test]
fn what_takes_no_changes_is_at_no_commit_and_is_told_to_fail() {
    let name: ClusterName = "fra-1".parse().expect("a name");
    let contacts = BTreeMap::from([(name.clone(), Contact::Here)]);
    let (mut state, mut tally) = (State::default(), Tally::default());
    let ungranted = Arc::new(Stays::from([stay("web", &name, "a"), stay("db", &name, "a")]));
    let reported = [(EntryState::Healthy, 0, 0), (EntryState::Failed, 0, 1)];
    put(&mut state, &name, 1, "a", &reported);
    tally.update(&state, &contacts, &ungranted, 10);
    let sums = |tally: &Tally| {
        let of = |name: &str| tally.apps.get(&app(name)).cloned().unwrap_or_default();
        [of("web"), of("db")]
            .map(|sums| (sums.clusters, sums.healthy, sums.failing.len(), sums.drifting.len()))
    };
    assert_eq!(sums(&tally), [(0, 0, 0, 0), (1, 0, 1, 1)]);
    // What waits for a grant, or for its catalog, counts as before; and what is granted again does.
    let waits = |kind| {
        let (key, stay) = stay("web", &name, "a");
        Arc::new(Stays::from([(key, Stay { kind, ..stay })]))
    };
    // So does what was told since it was found to stay.
    let earlier = Arc::new(Stays::from([stay("web", &name, "before")]));
    for ungranted in [waits(StayKind::Waits), waits(StayKind::Unread), earlier, Arc::default()] {
        tally.update(&state, &contacts, &ungranted, 10);
        assert_eq!(sums(&tally), [(1, 1, 0, 0), (1, 0, 1, 1)]);
    }
}

#[test]
fn counting_what_changed_comes_to_what_counting_all_does() {
    const STATES: [EntryState; 4] =
        [EntryState::Healthy, EntryState::Waiting, EntryState::Failed, EntryState::Degraded];
    const CONTACTS: [Contact; 4] = [Contact::Here, Contact::Unsure, Contact::Away, Contact::Maintained];
    let mut random = fastrand::Rng::with_seed(7);
    let names: Vec<ClusterName> = (0..6).map(|n| format!("c{n}").parse().expect("a name")).collect();
    let (mut state, mut contacts, mut tally) = (State::default(), BTreeMap::new(), Tally::default());
    let mut ungranted = Arc::new(Stays::new());
    for version in 1..400 {
        let name = &names[random.usize(..names.len())];
        match random.u8(..5) {
            4 => {
                let of = ["web", "db"][random.usize(..2)];
                let commit = ["a", "b"][random.usize(..2)];
                ungranted = Arc::new(Stays::from([stay(of, name, commit)]));
            }
            0 => drop(contacts.remove(name)),
            1 => drop(contacts.insert(name.clone(), CONTACTS[random.usize(..4)])),
            _ => {
                let mut one = || (STATES[random.usize(..4)], random.u64(..3), random.u32(..2));
                let reported = [one(), one()];
                put(&mut state, name, version, ["a", "b"][random.usize(..2)], &reported);
            }
        }
        while tally.update(&state, &contacts, &ungranted, 2) {}
        let mut anew = Tally::default();
        assert!(!anew.update(&state, &contacts, &ungranted, usize::MAX));
        assert_eq!(
            (&tally.apps, &tally.having, &tally.unfinished),
            (&anew.apps, &anew.having, &anew.unfinished),
            "after change {version}"
        );
    }
}

#[test]
fn who_is_not_there_is_neither_healthy_nor_failing_and_a_correction_is_heard_once() {
    let name: ClusterName = "fra-1".parse().expect("a name");
    let (mut state, mut tally) = (State::default(), Tally::default());
    let mut look = |state: &State, contact: Contact| {
        tally.update(state, &BTreeMap::from([(name.clone(), contact)]), &Arc::default(), 10);
        let sums = tally.apps.get(&app("web")).cloned().unwrap_or_default();
        (sums.clusters, sums.healthy, sums.failing.len(), tally.corrected().len())
    };
    put(&mut state, &name, 1, "a", &[(EntryState::Failed, 3, 0), (EntryState::Healthy, 0, 0)]);
    assert_eq!(look(&state, Contact::Here), (1, 0, 1, 0));
    assert_eq!(look(&state, Contact::Unsure), (1, 0, 0, 0));
    assert_eq!(look(&state, Contact::Away), (0, 0, 0, 0));
    put(&mut state, &name, 2, "a", &[(EntryState::Healthy, 4, 0), (EntryState::Healthy, 0, 0)]);
    assert_eq!(look(&state, Contact::Here), (1, 1, 0, 1));
    assert_eq!(look(&state, Contact::Here), (1, 1, 0, 0));
}
