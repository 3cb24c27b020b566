//! The checker itself: a right step has no violation, and every wrong one that is made of it is found.

use nave_placement::assign::{Cause, Codec, EncodedRelations, EncodedSchedule, Entry, Told};
use nave_placement::catalog::{CommitId, GuardLimit, OnRemove};
use nave_placement::check::{Limit, Violation};
use nave_placement::guard::{Approval, Hold, HoldCause};
use nave_placement::report::{EntryReason, EntryReport, EntryState};
use nave_placement::{AppKey, ClusterName, Fingerprints, ObjectKey};

use super::story::{Made, World};

/// One step in which apps come, change, drop an object, are renamed, leave and have left.
fn step() -> Made {
    let mut world = World::default();
    let before = "
        clusters c1..c2 prod
        clusters c3..c3 dev
        window c1 0 1 * * *
        app web w1..w4
        app shop s1
        app old o1
        app blog b1
        app gone g1
        app base x
        commit 1
        remove app gone
        commit 2
        approve app gone would leave
        report c1 left gone
        app web w1..w3
        app new o1 formerly=old
        remove app old
        app blog b1 env=dev
        app fresh f1";
    for line in before.lines().map(str::trim).filter(|line| !line.is_empty()) {
        world.line(line);
    }
    world.decide(&[])
}

fn c1() -> ClusterName {
    ClusterName::new("c1").expect("a valid name")
}

fn app(name: &str) -> AppKey {
    name.parse().expect("a valid name")
}

fn edit(made: &mut Made, change: impl FnOnce(&mut Told)) {
    let mut told = made.next.get(&c1()).cloned().unwrap_or_else(|| (*made.previous[&c1()]).clone());
    change(&mut told);
    made.next.insert(c1(), told);
}

fn edit_entry(made: &mut Made, name: &str, change: impl FnOnce(&mut Entry)) {
    let books = made.books.clone();
    edit(made, |told| {
        let entry = told.assignment.entries.get_mut(&app(name)).expect("it has an entry");
        let mut decoded = books.decode(entry).expect("it is there");
        change(&mut decoded);
        *entry = books.encode(&decoded);
    });
}

#[test]
fn a_right_step_has_no_violation() {
    assert_eq!(step().violations(), Vec::new());
    let mut made = step();
    approve_leftovers(&mut made, &["z1", "z2"]);
    edit_entry(&mut made, "shop", |entry| leftovers(entry, &["z1", "z2"]));
    assert_eq!(made.violations(), Vec::new());
}

fn prints(names: &[&str]) -> Fingerprints {
    let key = |name: &&str| ObjectKey {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "default".into(),
        name: (*name).into(),
    };
    let (shop, objects) = (app("shop"), names.iter().map(key).collect::<Vec<_>>());
    Fingerprints::of(objects.iter().map(|object| (&shop, object)))
}

/// The hold of these objects of `shop` on the first cluster.
fn hold(names: &[&str]) -> Hold {
    let cause = HoldCause::Leftovers { app: app("shop"), of: prints(names).digest() };
    Hold::new(cause, names.len(), names.len(), 0, [(app("shop"), c1())].into())
}

/// The entry may drop them.
fn leftovers(entry: &mut Entry, names: &[&str]) {
    entry.drops = names.len() as u32;
    entry.drops_of = Some(prints(names));
    entry.drops_cause = Some(Cause::Approved { hold: hold(names).id, by: "ann".into() });
}

/// The first cluster asked for these, and somebody approved it.
fn approve_leftovers(made: &mut Made, names: &[&str]) {
    let report = made.reports.get_mut(&c1()).expect("it reported");
    let entry = EntryReport {
        version: None,
        state: EntryState::Failed,
        reason: EntryReason::PruneRefused,
        message: String::new(),
        objects: 1,
        healthy: 1,
        unhealthy: Vec::new(),
        corrected: 0,
        drifted: 0,
        notes: Vec::new(),
        asks: Some(prints(names)),
        digest: nave_placement::Digest::default(),
    };
    report.entries.insert(app("shop"), entry);
    made.approvals.push(Approval { hold: hold(names), by: "ann".into() });
}

/// A wrong step: what is done to the right one, and the violation that has to be found.
type Wrong = (&'static str, fn(&mut Made), fn(&Violation) -> bool);

macro_rules! finds {
    ($pattern:pat) => {
        |violation| matches!(violation, $pattern)
    };
}

const WRONG: &[Wrong] = &[
    (
        "an entry is merely missing",
        |made| edit(made, |told| drop(told.assignment.leaving.remove(&app("blog")))),
        finds!(Violation::Disappeared { .. }),
    ),
    (
        "what is wanted is missing",
        |made| edit(made, |told| drop(told.assignment.entries.remove(&app("fresh")))),
        finds!(Violation::WantedMissing { .. }),
    ),
    (
        "what is wanted leaves",
        |made| {
            edit(made, |told| {
                let shop = app("shop");
                let leaving = told.assignment.leaving[&app("blog")].clone();
                told.assignment.entries.remove(&shop);
                told.assignment.leaving.insert(shop, leaving);
            });
        },
        finds!(Violation::WantedLeaves { .. }),
    ),
    (
        "an operator is named who ordered nothing",
        |made| {
            edit(made, |told| {
                let leaving = told.assignment.leaving.get_mut(&app("blog")).expect("it is there");
                leaving.cause = Cause::Operator { by: "eve".into() };
            });
        },
        finds!(Violation::CauseUnfounded { .. }),
    ),
    (
        "an approval is named that nobody gave",
        |made| {
            edit(made, |told| {
                let leaving = told.assignment.leaving.get_mut(&app("blog")).expect("it is there");
                leaving.cause = Cause::Approved { hold: "h-1".into(), by: "eve".into() };
            });
        },
        finds!(Violation::CauseUnfounded { .. }),
    ),
    (
        "an entry changes and its version does not",
        |made| edit_entry(made, "shop", |entry| entry.options.on_remove = OnRemove::Orphan),
        finds!(Violation::ChangedWithoutVersion { .. }),
    ),
    (
        "an entry's commit changes and its version does not",
        |made| edit_entry(made, "shop", |entry| entry.commit = CommitId("beef".into())),
        finds!(Violation::ChangedWithoutVersion { .. }),
    ),
    (
        "an entry has a bundle that is not the form's",
        |made| edit_entry(made, "fresh", |entry| entry.bundle = nave_placement::Digest::of(b"other")),
        finds!(Violation::NotTheForm { .. }),
    ),
    (
        "an app is added that nothing wants",
        |made| {
            let entry = made.next[&c1()].assignment.entries[&app("fresh")].clone();
            edit(made, |told| drop(told.assignment.entries.insert(app("stray"), entry)));
        },
        finds!(Violation::AddedUnwanted { .. }),
    ),
    (
        "the generation stays",
        |made| {
            let before = made.previous[&c1()].assignment.generation;
            edit(made, |told| told.assignment.generation = before);
        },
        finds!(Violation::OrderNotGrown { .. }),
    ),
    (
        "what was sent before is forgotten",
        |made| edit(made, |told| told.past.clear()),
        finds!(Violation::PastForgotten { .. }),
    ),
    (
        "the trail is forgotten",
        |made| edit(made, |told| told.trail.clear()),
        finds!(Violation::TrailForgotten { .. }),
    ),
    (
        "a leaving record vanishes before it is acknowledged",
        |made| made.reports.clear(),
        finds!(Violation::LeavingForgotten { .. }),
    ),
    (
        "an acknowledgement of another assignment is taken",
        |made| made.reports.values_mut().for_each(|report| report.generation.0 += 1),
        finds!(Violation::LeavingForgotten { .. }),
    ),
    (
        "a leaving record is made up",
        |made| {
            edit(made, |told| {
                let leaving = told.assignment.leaving[&app("blog")].clone();
                told.assignment.leaving.insert(app("stray"), leaving);
            });
        },
        finds!(Violation::LeavingInvented { .. }),
    ),
    (
        "a leaving record stands beside its entry",
        |made| {
            edit(made, |told| {
                let leaving = told.assignment.leaving[&app("blog")].clone();
                told.assignment.leaving.insert(app("shop"), leaving);
            });
        },
        finds!(Violation::EntryAndLeaving { .. }),
    ),
    (
        "more objects may be dropped than are lost",
        |made| edit_entry(made, "web", |entry| entry.drops = 2),
        finds!(Violation::DropsTooMany { .. }),
    ),
    (
        "objects may be dropped that another app claims",
        |made| {
            edit_entry(made, "new", |entry| {
                entry.drops = 1;
                entry.drops_cause = Some(Cause::Labels);
            });
        },
        finds!(Violation::DropsTooMany { .. }),
    ),
    (
        "drops have no cause",
        |made| edit_entry(made, "web", |entry| entry.drops_cause = None),
        finds!(Violation::DropsWithoutCause { .. }),
    ),
    (
        "leftovers may be dropped that nobody approved",
        |made| edit_entry(made, "shop", |entry| leftovers(entry, &["z1"])),
        finds!(Violation::DropsTooMany { .. }),
    ),
    (
        "other leftovers may be dropped than those that were approved",
        |made| {
            approve_leftovers(made, &["z1"]);
            edit_entry(made, "shop", |entry| leftovers(entry, &["z2"]));
        },
        finds!(Violation::DropsTooMany { .. }),
    ),
    (
        "leftovers are approved on another cluster",
        |made| {
            approve_leftovers(made, &["z1"]);
            let other = ClusterName::new("c2").expect("a valid name");
            made.approvals.iter_mut().for_each(|approval| {
                approval.hold.entries = [(app("shop"), other.clone())].into();
            });
            edit_entry(made, "shop", |entry| leftovers(entry, &["z1"]));
        },
        finds!(Violation::DropsTooMany { .. }),
    ),
    (
        "any leftovers may be dropped where some were approved",
        |made| {
            approve_leftovers(made, &["z1"]);
            edit_entry(made, "shop", |entry| {
                leftovers(entry, &["z1"]);
                entry.drops_of = None;
            });
        },
        finds!(Violation::DropsTooMany { .. }),
    ),
    (
        "an approval of leftovers lets the whole app leave",
        |made| {
            approve_leftovers(made, &["z1"]);
            let hold = made.approvals.last().expect("just made").hold.id.clone();
            made.approvals.last_mut().expect("just made").hold.entries = [(app("blog"), c1())].into();
            edit(made, |told| {
                let leaving = told.assignment.leaving.get_mut(&app("blog")).expect("it is there");
                leaving.cause = Cause::Approved { hold, by: "ann".into() };
            });
        },
        finds!(Violation::CauseUnfounded { .. }),
    ),
    (
        "the hour's losses are not counted",
        |made| {
            let loss = |i: u32| nave_placement::guard::PastLoss {
                at_ms: made.now_ms,
                app: app("blog"),
                cluster: ClusterName::new(&format!("c{i}")).expect("it is there"),
            };
            made.window = (7..9).map(loss).collect();
        },
        finds!(Violation::OverLimit { limit: Limit::App(_), .. }),
    ),
    (
        "other relations than the catalog's are told",
        |made| edit(made, |told| told.assignment.relations = EncodedRelations(b"web".as_slice().into())),
        finds!(Violation::OtherRules { .. }),
    ),
    (
        "another schedule than the catalog's is told",
        |made| edit(made, |told| told.assignment.schedule = EncodedSchedule::default()),
        finds!(Violation::OtherRules { .. }),
    ),
    (
        "a protected app leaves",
        |made| _ = made.guarded.apps.insert(app("blog")),
        finds!(Violation::ProtectedLeaves { .. }),
    ),
    (
        "a protected cluster loses an app",
        |made| _ = made.guarded.clusters.insert(c1()),
        finds!(Violation::ProtectedLeaves { .. }),
    ),
    (
        "an approval of a number lets a protected app leave",
        |made| {
            made.guarded.apps.insert(app("blog"));
            let entries = [(app("blog"), c1())].into();
            let hold = Hold::new(HoldCause::App { app: app("blog") }, 1, 1, 0, entries);
            let cause = Cause::Approved { hold: hold.id.clone(), by: "ann".into() };
            made.approvals.push(Approval { hold, by: "ann".into() });
            edit(made, |told| {
                told.assignment.leaving.get_mut(&app("blog")).expect("it is there").cause = cause;
            });
        },
        finds!(Violation::ProtectedLeaves { .. }),
    ),
    (
        "a revision's own limit is not kept",
        |made| made.guarded.limits.fleet = GuardLimit { max: None, at_most: Some(1) },
        finds!(Violation::OverLimit { limit: Limit::Fleet, .. }),
    ),
];

#[test]
fn every_wrong_step_is_found() {
    for (what, wrong, finds) in WRONG {
        let mut made = step();
        wrong(&mut made);
        let found = made.violations();
        assert!(found.iter().any(finds), "{what}: {found:?}");
    }
}
