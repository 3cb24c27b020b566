//! What is enforced while changes wait, as rows of "app=version" before and after.

use nave_placement::Digest;
use nave_placement::assign::{EncodedRelations, Entry, Epoch, Generation, Leaving, Options};
use nave_placement::catalog::{CommitId, OnRemove, Treatment};
use nave_placement::report::EntryReport;
use nave_placement::schedule::{Freeze, Schedule, Zone};
use nave_proto::{encode_entry, encode_schedule};

use super::*;

/// `web=1` is an app at a version; `web=1+5` has five objects that may be pruned, `web=1<old` was `old`.
pub(super) fn entries(words: &str) -> Entries {
    let entry = |word: &str| {
        let (app, version) = word.split_once('=').expect("an app and its version");
        let (version, former) = version.split_once('<').unwrap_or((version, ""));
        let (version, drops) = version.split_once('+').unwrap_or((version, "0"));
        let options = Options {
            namespace: None,
            prune: true,
            on_remove: OnRemove::Delete,
            share: None,
            grant: None,
            formerly: former.parse().into_iter().collect(),
            substitute: false,
            treatment: Treatment::default(),
        };
        let entry = Entry {
            bundle: Digest::of(version.as_bytes()),
            values: BTreeMap::new(),
            options,
            version: Digest::of(version.as_bytes()),
            commit: CommitId("c".into()),
            objects: 3,
            drops: drops.parse().expect("a number"),
            drops_cause: None,
            drops_of: None,
            at_once: false,
            source_at: None,
        };
        (app.parse().expect("a name"), encode_entry(&entry))
    };
    words.split_whitespace().map(entry).collect()
}

/// `-web` leaves by a commit, `!web` by an operator's order.
pub(super) fn accepted(words: &str) -> Arc<Assignment> {
    let (leaving, here): (Vec<&str>, Vec<&str>) =
        words.split_whitespace().partition(|word| word.starts_with(['-', '!']));
    let record = |word: &&str| {
        let cause = match word.starts_with('!') {
            true => Cause::Operator { by: "ann".into() },
            false => Cause::Labels,
        };
        let leaving = Leaving { policy: OnRemove::Delete, cause, objects: 3, drops_of: None };
        (word[1..].parse().expect("a name"), leaving)
    };
    let freeze = Freeze {
        from: "2026-11-20".parse().expect("a date"),
        to: "2026-12-01".parse().expect("a date"),
        timezone: Zone::utc(),
    };
    Arc::new(Assignment {
        epoch: Epoch(1),
        generation: Generation(7),
        entries: entries(&here.join(" ")),
        leaving: leaving.iter().map(record).collect(),
        schedule: encode_schedule(&Schedule { windows: Vec::new(), freezes: vec![freeze] }),
        relations: EncodedRelations::default(),
    })
}

fn names<'a>(apps: impl IntoIterator<Item = &'a AppKey>) -> String {
    apps.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn what_has_begun_goes_on_and_what_has_not_waits() {
    // (begun before, accepted, enforced, leaving, waiting)
    let rows = [
        ("web=1 db=1", "web=1 db=1", "web=1 db=1", "", ""),
        ("web=1 db=1", "web=2 db=1", "web=1 db=1", "", "web"),
        ("web=1", "web=1 db=1", "web=1", "", "db"),
        // What may be pruned is no other version.
        ("web=1 db=1", "web=1+5 db=2", "web=1+5 db=1", "", "db"),
        ("web=1 db=1", "db=1 -web", "web=1 db=1", "", "web"),
        ("web=1 db=1", "db=1 !web", "db=1", "web", ""),
        // It was on its way out before anything had to wait.
        ("db=1", "db=1 -web", "db=1", "web", ""),
        // Another name: the old one goes on. What is merely missing is nobody's to enforce.
        ("old=1 db=1", "new=1<old db=1", "db=1 old=1", "", "new old"),
        ("old=1 db=1", "new=1 db=1", "db=1", "", "new"),
        ("", "web=1", "", "", "web"),
        // What had begun is not known: a removal is not taken for one that has.
        ("? db=1", "db=1 -web", "db=1", "", "web"),
        ("? db=1", "db=1 !web", "db=1", "web", ""),
        ("?", "db=1 -web", "", "", "db web"),
    ];
    for (before, after, runs, leaving, waiting) in rows {
        let accepted = accepted(after);
        let known = before.trim_start_matches('?');
        let started = Started { entries: entries(known), is_all: known == before };
        let enforced = Enforced::of(&accepted, &started);
        assert_eq!(enforced.assignment.entries, entries(runs), "{before} -> {after}");
        assert_eq!(names(enforced.assignment.leaving.keys()), leaving, "{before} -> {after}");
        assert_eq!(names(&enforced.waiting), waiting, "{before} -> {after}");
        let whole = enforced.assignment.order() == accepted.order()
            && enforced.assignment.schedule == accepted.schedule;
        assert!(whole, "{before} -> {after}");
    }
}

#[test]
fn what_waits_says_so_under_its_name_and_hides_nothing_that_ails() {
    let accepted = accepted("web=2 db=2 new=1 -left other=1<former ask=2");
    let started = Started { entries: entries("web=1 db=1 left=1 former=1 ask=1"), is_all: true };
    let enforced = Enforced::of(&accepted, &started);
    let now = 1_795_900_000_000;
    let wait: Wait = nave_proto::closed(&accepted.schedule, now).expect("frozen").into();
    let waits = enforced.waiting.iter().map(|app| (app.clone(), wait.clone())).collect();
    let ran = |state, message: &str| EntryReport {
        state,
        message: message.into(),
        version: Some(Digest::of(b"1")),
        objects: 2,
        asks: Some(nave_placement::Fingerprints::default()),
        ..pending()
    };
    let mut outcome = Outcome::default();
    for (app, state) in [
        ("web", EntryState::Healthy),
        ("db", EntryState::Degraded),
        ("left", EntryState::Progressing),
        ("former", EntryState::Healthy),
    ] {
        outcome.apps.insert(app.parse().expect("a name"), ran(state, "as it is"));
    }
    let refused = EntryReport { reason: EntryReason::PruneRefused, ..ran(EntryState::Failed, "approve it") };
    outcome.apps.insert("ask".parse().expect("a name"), refused);
    enforced.tell(&accepted, &waits, &mut outcome);
    assert_eq!(
        (names(outcome.apps.keys()), names(outcome.leaving.keys())),
        ("ask db new other web".into(), "left".into())
    );
    let said = |app: &str| {
        let app: AppKey = app.parse().expect("a name");
        let report = outcome.apps.get(&app).or_else(|| outcome.leaving.get(&app)).expect("it is told of");
        assert_eq!(report.asks, None, "{app}");
        (report.state, report.reason, report.message.as_str(), report.version.is_some(), report.objects)
    };
    let frozen = "changes are frozen; they may start at 2026-12-02 00:00 UTC";
    assert_eq!(said("web"), (EntryState::Waiting, EntryReason::Frozen, frozen, true, 2));
    let ails = "as it is; a change waits: changes are frozen; they may start at 2026-12-02 00:00 UTC";
    assert_eq!(said("db"), (EntryState::Degraded, EntryReason::None, ails, true, 2));
    assert_eq!(said("ask"), (EntryState::Waiting, EntryReason::Frozen, frozen, true, 2));
    assert_eq!(said("new"), (EntryState::Waiting, EntryReason::Frozen, frozen, false, 3));
    assert_eq!(said("left"), (EntryState::Waiting, EntryReason::Frozen, frozen, true, 2));
}
