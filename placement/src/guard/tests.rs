//! The guard's numbers, as rows.

use super::*;
use crate::catalog::LastGood;

fn key(app: usize, cluster: usize) -> EntryKey {
    (format!("a{app}").parse().expect("valid"), ClusterName::new(&format!("c{cluster:04}")).expect("valid"))
}

fn commit() -> CommitId {
    CommitId("c0ffee00".into())
}

/// A fleet of `apps` × `clusters` entries.
fn counts(apps: usize, clusters: usize) -> Counts {
    Counts {
        by_app: (0..apps).map(|a| (key(a, 0).0, clusters)).collect(),
        by_cluster: (0..clusters).map(|c| (key(0, c).1, apps)).collect(),
        objects: (0..apps).map(|a| (key(a, 0).0, 20)).collect(),
    }
}

fn losing(keys: impl IntoIterator<Item = EntryKey>) -> Losses {
    let cause = Cause::Revision { commit: commit() };
    Losses { entries: keys.into_iter().map(|k| (k, cause.clone())).collect(), ..Losses::default() }
}

struct Case {
    losses: Losses,
    counts: Counts,
    window: Vec<PastLoss>,
    approvals: Vec<Approval>,
    allowances: Vec<Allowance>,
    guarded: Guarded,
}

impl Case {
    fn new(losses: Losses, counts: Counts) -> Self {
        Self {
            losses,
            counts,
            window: Vec::new(),
            approvals: Vec::new(),
            allowances: Vec::new(),
            guarded: Guarded::default(),
        }
    }

    fn judge(&self) -> Verdict {
        judge(&Question {
            losses: &self.losses,
            counts: &self.counts,
            guarded: &self.guarded,
            window: &self.window,
            now_ms: 10 * WINDOW_MS,
            approvals: &self.approvals,
            allowances: &self.allowances,
        })
    }
}

fn causes(verdict: &Verdict) -> Vec<HoldCause> {
    verdict.holds.iter().map(|h| h.cause.clone()).collect()
}

#[test]
fn the_numbers_are_those_of_the_design() {
    let app = HoldCause::App { app: key(0, 0).0 };
    let cluster = HoldCause::Cluster { cluster: key(0, 0).1 };
    // (apps, clusters, what goes, what holds it)
    type Row = (usize, usize, Vec<EntryKey>, Vec<HoldCause>);
    let rows: Vec<Row> = vec![
        // An app may leave 2 clusters, or a quarter of them.
        (10, 4, (0..2).map(|c| key(0, c)).collect(), vec![]),
        (10, 4, (0..3).map(|c| key(0, c)).collect(), vec![app.clone()]),
        (10, 40, (0..10).map(|c| key(0, c)).collect(), vec![]),
        (10, 40, (0..11).map(|c| key(0, c)).collect(), vec![app]),
        // A cluster may lose 2 apps, or a quarter of them.
        (5, 40, (0..2).map(|a| key(a, 0)).collect(), vec![]),
        (5, 40, (0..3).map(|a| key(a, 0)).collect(), vec![cluster]),
        // Two clusters may lose their last entry.
        (1, 40, (0..2).map(|c| key(0, c)).collect(), vec![]),
        (1, 40, (0..3).map(|c| key(0, c)).collect(), vec![HoldCause::LastEntries]),
        // The fleet may lose 3 entries, or 5 %, at most 200.
        (10, 5, vec![key(0, 0), key(1, 1), key(2, 2)], vec![]),
        (10, 5, vec![key(0, 0), key(1, 1), key(2, 2), key(3, 3)], vec![HoldCause::Fleet]),
        (20, 1000, (0..200).map(|i| key(i % 20, i)).collect(), vec![]),
        (20, 1000, (0..201).map(|i| key(i % 20, i)).collect(), vec![HoldCause::Fleet]),
    ];
    for (apps, clusters, keys, expected) in rows {
        let verdict = Case::new(losing(keys.clone()), counts(apps, clusters)).judge();
        assert_eq!(causes(&verdict), expected, "{apps} apps × {clusters} clusters lose {keys:?}");
        let held: usize = verdict.holds.iter().map(|h| h.entries.len()).sum();
        assert_eq!(held + verdict.entries.len(), keys.len(), "each loss is either held or goes");
    }
}

#[test]
fn a_hold_covers_what_broke_the_limit_and_all_else_goes_on() {
    let mut keys: Vec<_> = (0..4).map(|c| key(0, c)).collect();
    keys.push(key(1, 7));
    let verdict = Case::new(losing(keys), counts(10, 10)).judge();
    assert_eq!(verdict.entries.keys().collect::<Vec<_>>(), [&key(1, 7)]);
    assert_eq!(verdict.holds[0].entries.len(), 4);
}

#[test]
fn losses_of_the_last_hour_count_and_older_ones_do_not() {
    let past = |at_ms| PastLoss { at_ms, app: key(0, 0).0, cluster: key(0, 1).1 };
    let mut case = Case::new(losing([key(0, 2)]), counts(10, 6));
    case.window = vec![past(10 * WINDOW_MS - 1), past(10 * WINDOW_MS - 2)];
    let verdict = case.judge();
    assert_eq!(causes(&verdict), [HoldCause::App { app: key(0, 0).0 }]);
    assert_eq!(
        verdict.holds[0].to_string(),
        "app a0 would leave 1 cluster now, with those of the last hour 3 of 8; 2 may go without approval"
    );
    case.window = vec![past(9 * WINDOW_MS), past(8 * WINDOW_MS)];
    assert!(case.judge().holds.is_empty());
}

#[test]
fn what_went_within_the_hour_is_told_apart_from_what_would_go_now() {
    let app = || HoldCause::App { app: key(0, 0).0 };
    let cluster = || HoldCause::Cluster { cluster: key(0, 0).1 };
    let rows = [
        (
            app(),
            4,
            3,
            "app a0 would leave 3 clusters now, with those of the last hour 4 of 9; 2 may go without approval",
        ),
        (app(), 3, 3, "app a0 would leave 3 of its 9 clusters; 2 may go without approval"),
        (
            cluster(),
            3,
            1,
            "cluster c0000 would lose 1 app now, with those of the last hour 3 of 9; 2 may go without approval",
        ),
        (cluster(), 3, 3, "cluster c0000 would lose 3 of its 9 apps; 2 may go without approval"),
        (
            HoldCause::LastEntries,
            3,
            2,
            "2 clusters now, with those of the last hour 3, would lose their last app; 2 may without approval",
        ),
        (HoldCause::LastEntries, 3, 3, "3 clusters would lose their last app; 2 may without approval"),
        (
            HoldCause::Fleet,
            5,
            1,
            "the fleet would lose 1 entry now, with those of the last hour 5 of 9; 2 may go without approval",
        ),
        (HoldCause::Fleet, 5, 5, "the fleet would lose 5 of its 9 entries; 2 may go without approval"),
    ];
    for (cause, losing, now, expected) in rows {
        let hold = Hold::new(cause, losing, 9, 2, (0..now).map(|c| key(0, c)).collect());
        assert_eq!(hold.to_string(), expected);
    }
}

#[test]
fn an_approval_covers_what_it_named_and_nothing_else() {
    let mut case = Case::new(losing((0..3).map(|c| key(0, c))), counts(10, 4));
    let hold = case.judge().holds.remove(0);
    case.approvals = vec![Approval { hold: hold.clone(), by: "ann".into() }];
    let verdict = case.judge();
    assert!(verdict.holds.is_empty());
    assert_eq!(verdict.entries[&key(0, 0)], Cause::Approved { hold: hold.id, by: "ann".into() });
    case.losses = losing((0..3).map(|c| key(1, c)));
    assert_eq!(case.judge().holds.len(), 1, "another app's removal is not covered");
}

#[test]
fn a_trailer_allows_its_number_once() {
    let allow = |value: &str| Allowance::parse(&commit(), value).expect("valid");
    let mut case = Case::new(losing((0..3).map(|c| key(0, c))), counts(10, 4));
    for (trailer, holds) in
        [("app/a0=3", 0), ("app/a0=2", 1), ("app/a1=3", 1), ("*=3", 0), ("app/a1=9, app/a0=3", 0)]
    {
        case.allowances = allow(trailer);
        let verdict = case.judge();
        assert_eq!(verdict.holds.len(), holds, "{trailer}");
        assert_eq!(verdict.used.len(), 1 - holds, "{trailer}");
    }
    case.losses = losing((0..6).map(|i| key(i / 3, i % 3)));
    case.allowances = allow("*=3");
    assert_eq!(case.judge().holds.len(), 1, "one of the two apps is allowed, not both");
    for bad in ["", "app/a0", "a0=1", "app/a0=x", "*", "app/A=1"] {
        assert_eq!(Allowance::parse(&commit(), bad), None, "{bad}");
    }
}

#[test]
fn an_app_may_drop_ten_objects_or_a_quarter() {
    for (losing, of, holds) in [(10, 20, 0), (11, 20, 1), (25, 100, 0), (26, 100, 1)] {
        let mut case = Case::new(Losses::default(), counts(1, 1));
        case.counts.objects = BTreeMap::from([(key(0, 0).0, of)]);
        case.losses.objects = BTreeMap::from([(key(0, 0).0, losing)]);
        let verdict = case.judge();
        assert_eq!(verdict.holds.len(), holds, "{losing} of {of}");
        assert_eq!(verdict.objects.len(), 1 - holds);
        if let Some(hold) = verdict.holds.first() {
            case.approvals = vec![Approval { hold: hold.clone(), by: "ann".into() }];
            assert!(case.judge().holds.is_empty());
        }
    }
}

#[test]
fn leftovers_wait_for_an_approval_of_exactly_these_on_exactly_these_clusters() {
    let object = |name: &str| crate::ObjectKey {
        group: String::new(),
        kind: "ConfigMap".into(),
        namespace: "shop".into(),
        name: name.into(),
    };
    let app = key(0, 0).0;
    let left = |names: &[&str]| {
        let objects: Vec<_> = names.iter().map(|name| object(name)).collect();
        Fingerprints::of(objects.iter().map(|object| (&app, object)))
    };
    let mut case = Case::new(Losses::default(), counts(1, 4));
    case.allowances = Allowance::parse(&commit(), "app/a0/objects=9, *=9").expect("valid");
    let all = [(0, left(&["a"])), (1, left(&["a"])), (2, left(&["a", "b"]))];
    case.losses.leftovers = all.into_iter().map(|(cluster, of)| (key(0, cluster), of)).collect();
    let verdict = case.judge();
    assert_eq!(verdict.leftovers, BTreeMap::new());
    let hold = verdict.holds.iter().find(|hold| hold.entries.len() == 2).expect("two have the same").clone();
    assert_eq!((verdict.holds.len(), hold.losing, hold.limit), (2, 1, 0));
    assert_eq!(
        hold.to_string(),
        "app a0 would delete 1 objects on c0000, c0001, which is more than is known to be left over; none may go without approval"
    );

    case.approvals = vec![Approval { hold: hold.clone(), by: "ann".into() }];
    let verdict = case.judge();
    let cause = Cause::Approved { hold: hold.id, by: "ann".into() };
    let expected = [0, 1].map(|cluster| (key(0, cluster), (left(&["a"]), cause.clone())));
    assert_eq!(verdict.leftovers, BTreeMap::from(expected));
    assert_eq!(verdict.holds.len(), 1, "other objects on another cluster");

    // Another set, another cluster, or the whole entry: nobody approved it.
    case.allowances.clear();
    case.losses.leftovers = BTreeMap::from([(key(0, 0), left(&["b"])), (key(0, 3), left(&["a"]))]);
    case.losses.entries = losing((0..3).map(|c| key(0, c))).entries;
    let verdict = case.judge();
    assert_eq!((verdict.leftovers.len(), verdict.entries.len(), verdict.holds.len()), (0, 0, 3));
}

#[test]
fn what_is_protected_waits_for_an_approval_of_just_that() {
    let vault = HoldCause::ProtectedApp { app: key(0, 0).0 };
    let cluster = HoldCause::ProtectedCluster { cluster: key(0, 3).1 };
    // Well within the numbers.
    let mut case = Case::new(losing([key(0, 1), key(1, 3), key(2, 4)]), counts(10, 40));
    case.guarded =
        Guarded { apps: [key(0, 0).0].into(), clusters: [key(0, 3).1].into(), ..Guarded::default() };
    case.allowances = Allowance::parse(&commit(), "app/a0=9, *=9").expect("valid");
    let verdict = case.judge();
    assert_eq!(causes(&verdict), [vault.clone(), cluster]);
    assert_eq!(verdict.entries.keys().collect::<Vec<_>>(), [&key(2, 4)], "all else goes on");
    assert_eq!(
        verdict.holds[0].to_string(),
        "app a0 is protected and would leave 1 of its 40 clusters; none may go without approval"
    );

    // Who approved the number before it was protected did not approve this.
    let number = Hold::new(HoldCause::App { app: key(0, 0).0 }, 1, 40, 0, [key(0, 1)].into());
    case.approvals = vec![Approval { hold: number, by: "ann".into() }];
    assert_eq!(case.judge().holds.len(), 2);
    let hold = Hold::new(vault.clone(), 1, 40, 0, [key(0, 1)].into());
    case.approvals = vec![Approval { hold, by: "ann".into() }];
    assert_eq!(case.judge().holds.len(), 1);

    // Each of its protections has to be approved.
    let cluster = HoldCause::ProtectedCluster { cluster: key(0, 3).1 };
    case.losses = losing([key(0, 3)]);
    case.approvals = Vec::new();
    for cause in [vault, cluster] {
        let verdict = case.judge();
        assert_eq!((causes(&verdict), verdict.entries.len()), (vec![cause], 0));
        case.approvals.push(Approval { hold: verdict.holds[0].clone(), by: "ann".into() });
    }
    assert_eq!(case.judge().entries.len(), 1);

    // An order of an operator is its own approval.
    case.losses = Losses::default();
    case.losses.entries.insert(key(0, 1), Cause::Operator { by: "ann".into() });
    assert_eq!(case.judge().holds, Vec::new());
}

#[test]
fn a_document_that_vanishes_takes_back_no_protection_and_one_that_says_so_does() {
    let read = |documents: &[(&str, &str, &str)]| {
        let document = |(kind, name, spec): &(&str, &str, &str)| {
            format!(
                "---\napiVersion: nave.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n"
            )
        };
        let text: String = documents.iter().map(document).collect();
        crate::catalog::tests::assembled(
            "1",
            &[("a.yaml", &text), ("web/c.yaml", "kind: ConfigMap")],
            &LastGood::new(),
        )
    };
    let first = read(&[
        ("App", "vault", "source: {path: ./web}, protect: true"),
        ("App", "web", "source: {path: ./web}"),
        ("Cluster", "fra-1", "protect: true"),
        ("Fleet", "fleet", "guard: {app: {atMost: 1}}"),
    ]);
    let said = Guarded::of(&first);
    let keys = |guarded: &Guarded| {
        let apps = guarded.apps.iter().map(ToString::to_string);
        apps.chain(guarded.clusters.iter().map(ToString::to_string)).collect::<Vec<_>>()
    };
    assert_eq!(keys(&said), ["vault", "fra-1"]);
    assert_eq!(said.limits.app.at_most, Some(1));
    let keeping =
        |catalog: &crate::catalog::Catalog| Guarded::of(catalog).keeping(&said, catalog, |_| true, |_| true);
    let gone = read(&[("App", "web", "source: {path: ./web}, protect: true")]);
    assert_eq!(keys(&keeping(&gone)), ["vault", "web", "fra-1"]);
    let unread = read(&[("Cluster", "fra-2", "protect: true, timezone: Mars/Base")]);
    assert_eq!(keys(&Guarded::of(&unread)), ["fra-2"], "what never could be read may have said so");
    let lifted = read(&[("App", "vault", "source: {path: ./web}"), ("Cluster", "fra-1", "protect: false")]);
    let mut guarded = keeping(&lifted);
    assert_eq!(keys(&guarded), Vec::<String>::new());
    guarded.add(&HoldCause::ProtectedApp { app: "vault".parse().expect("valid") });
    assert_eq!(keys(&guarded), ["vault"], "what waits for approval goes on waiting");
}
