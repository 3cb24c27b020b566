//! How the options of an app, and what an object says of itself, change what is planned; and that the checker knows it.

use nave_placement::catalog::{Adopt, Conflicts, Drift, Mode, OnImmutable, OnRemove, Treatment};
use serde_json::json;

use super::given::{DIFFERS, DRIFTED, FOUGHT, Given, OURS, app, key};
use crate::observe::changes::FieldChange;
use crate::plan::{Claimed, Input, Step, Violation, check, plan};
use crate::report::Reason;
use crate::target::{Contact, Foreign, Seen, Write};

fn foreign(changes: Option<usize>) -> Seen {
    let change =
        FieldChange { path: "/data/a".into(), manager: "kubectl-create".into(), ..FieldChange::default() };
    let changes = changes.map(|many| vec![change; many]);
    Seen::Foreign(Foreign { managers: vec!["Helm release web".into()], changes, health: None })
}

fn treated(change: impl Fn(&mut Treatment)) -> Given {
    Given::default()
        .wants("web", &["ConfigMap/a"])
        .change("web", |wanted| change(&mut wanted.entry.options.treatment))
}

fn annotated(name: &str, value: &str) -> Given {
    let object = json!({"metadata": {"annotations": {name: value}}});
    Given::default()
        .wants("web", &["ConfigMap/a"])
        .change("web", |wanted| wanted.objects[0].object = object.clone().into())
}

#[test]
fn first_contact_goes_by_the_apps_word_and_by_the_objects_own() {
    let adopts = ["widen to ConfigMap/a", "adopt ConfigMap/a", "narrow web, complete"];
    let refuses = ["narrow web"];
    for (adopt, changes, is_adopted) in [
        (Adopt::Never, Some(0), false),
        (Adopt::IfEqual, Some(0), true),
        (Adopt::IfEqual, None, true),
        (Adopt::IfEqual, Some(1), false),
        (Adopt::Always, Some(1), true),
    ] {
        let given = treated(|treatment| treatment.adopt = adopt).seen("ConfigMap/a", foreign(changes));
        given.check("web", if is_adopted { &adopts } else { &refuses });
        if !is_adopted {
            let blocked = given.blocked("web");
            assert!(
                matches!(&blocked[..], [Reason::AdoptionRefused { message, .. }] if message.contains("Helm release web")),
                "{blocked:?}"
            );
        }
    }
    annotated("nave.dev/adopt", "Never").seen("ConfigMap/a", foreign(Some(0))).check("web", &refuses);
    annotated("nave.dev/adopt", "Always").seen("ConfigMap/a", foreign(Some(2))).check("web", &adopts);
    annotated("nave.dev/ignore", "*")
        .seen("ConfigMap/a", foreign(None))
        .check("web", &["narrow web, complete"]);
    let given = annotated("nave.dev/adopt", "Sometimes");
    assert!(
        matches!(&given.blocked("web")[..], [Reason::Refused { message, .. }] if message.contains("Sometimes"))
    );
}

#[test]
fn drift_is_put_back_unless_it_is_only_to_be_reported_or_is_fought_over() {
    let report = |given: Given| given.change("web", |w| w.entry.options.treatment.drift = Drift::Report);
    let given = |seen| {
        Given::default().wants("web", &["ConfigMap/a"]).has("web", &["ConfigMap/a"]).seen("ConfigMap/a", seen)
    };
    let rest = ["narrow web, complete"];
    let take = ["take ConfigMap/a", "narrow web, complete"];
    let correct = ["take ConfigMap/a, drifted", "narrow web, complete"];
    given(DRIFTED).check("web", &correct);
    given(FOUGHT).check("web", &rest);
    report(given(DRIFTED)).check("web", &rest);
    report(given(DIFFERS)).check("web", &take);
}

#[test]
fn an_app_that_observes_writes_nothing_and_prunes_nothing() {
    for seen in [Seen::Absent, OURS, DIFFERS, DRIFTED, foreign(Some(1))] {
        let given = treated(|treatment| treatment.mode = Mode::Observe)
            .has("web", &["ConfigMap/a", "ConfigMap/old"])
            .drops("web", 9)
            .seen("ConfigMap/a", seen);
        given.check("web", &[]);
    }
    treated(|treatment| treatment.mode = Mode::Observe).seen("ConfigMap/a", Seen::Absent).check("web", &[]);
}

#[test]
fn only_what_may_be_deleted_may_be_made_anew() {
    for (object, flag) in [("Job.batch/a", ", or make it anew"), ("PersistentVolumeClaim/a", "")] {
        let given = Given::default()
            .wants("web", &[object])
            .has("web", &[object])
            .change("web", |wanted| wanted.entry.options.treatment.on_immutable = OnImmutable::Recreate)
            .seen(object, DIFFERS);
        given.check("web", &[&format!("take {object}{flag}"), "narrow web, complete"]);
    }
}

#[test]
fn an_object_outlives_its_app_if_it_or_its_kind_says_so() {
    let mut given = Given::default()
        .wants("web", &[])
        .has("web", &["ConfigMap/a", "ConfigMap/kept", "Namespace/n", "Namespace/expendable"])
        .drops("web", 2);
    for inventory in given.inventories.values_mut() {
        inventory.kept.insert(key("ConfigMap/kept"));
        inventory.expendable.insert(key("Namespace/expendable"));
    }
    given.check(
        "web",
        &[
            "orphan ConfigMap/kept of web",
            "prune ConfigMap/a of web",
            "orphan Namespace/n of web",
            "prune Namespace/expendable of web",
            "narrow web, complete",
        ],
    );
    let given = annotated("nave.dev/prune", "false").seen("ConfigMap/a", Seen::Absent);
    let plan = given.plan();
    assert!(
        matches!(&plan.apps[&app("web")].raise[0], Step::Widen(i) if i.kept.contains(&key("ConfigMap/a")))
    );
}

#[test]
fn an_app_leaves_as_the_one_who_it_was_applied_as() {
    let mut given = Given::default().leaves("web", OnRemove::Delete, 9).has("web", &["ConfigMap/a"]);
    for inventory in given.inventories.values_mut() {
        inventory.service_account = Some("shop/deployer".into());
    }
    let plan = given.plan();
    assert_eq!(plan.apps[&app("web")].treatment.service_account.as_deref(), Some("shop/deployer"));
}

#[test]
fn a_terminating_object_is_waited_for_and_then_named() {
    for (stuck, state) in [(false, "Progressing"), (true, "Degraded")] {
        let message = "it waits for x".to_owned();
        let given = treated(|_| ()).seen("ConfigMap/a", Seen::Terminating { message, stuck });
        given.check("web", &["narrow web"]);
        assert_eq!(format!("{:?}", given.blocked("web")[0].state()), state);
    }
}

/// A plan in which one thing was changed: the checker must object to it.
fn mutated(given: &Given, seen: Seen, how: Write) -> Vec<Violation> {
    let seen = [(app("web"), [(key("ConfigMap/a"), Ok(seen))].into())].into();
    let leaving = Default::default();
    let index = given.wanted.iter().map(|(app, wanted)| (app.clone(), Claimed::of(wanted))).collect();
    let input = Input {
        wanted: &given.wanted,
        index: &index,
        leaving: &leaving,
        inventories: &given.inventories,
        seen: &seen,
    };
    let mut mutated = plan(&input);
    let Ok(wanted) = &given.wanted[&app("web")] else { panic!("an entry") };
    let steps = mutated.apps.entry(app("web")).or_default();
    steps.raise.retain(|step| matches!(step, Step::Widen(_)));
    steps.raise.push(Step::Apply { object: wanted.objects[0].clone(), how });
    check(&input, &mutated)
}

#[test]
fn the_checker_knows_what_options_and_annotations_forbid() {
    let own = Write { contact: Contact::Ours, ..Write::default() };
    let met = Write { contact: Contact::Foreign, ..Write::default() };
    let (app, key) = (app("web"), key("ConfigMap/a"));
    let listed = |given: Given| given.has("web", &["ConfigMap/a"]);
    let observes = listed(treated(|treatment| treatment.mode = Mode::Observe));
    assert_eq!(mutated(&observes, DIFFERS, own), [Violation::WritesObserved { app: app.clone() }]);
    let adopts = [Violation::AdoptsForbidden { app: app.clone(), key: key.clone() }];
    assert_eq!(mutated(&listed(treated(|t| t.adopt = Adopt::Never)), foreign(None), met), adopts);
    assert_eq!(mutated(&listed(annotated("nave.dev/adopt", "Never")), foreign(None), met), adopts);
    let ignored = [Violation::WritesIgnored { app: app.clone(), key: key.clone() }];
    assert_eq!(mutated(&listed(annotated("nave.dev/ignore", "*")), OURS, own), ignored);
    assert_eq!(mutated(&listed(annotated("nave.dev/ignore", "true")), foreign(None), met), ignored);
    let anew = Write { recreate: true, ..own };
    let recreates = [Violation::RecreatesForbidden { app: app.clone(), key: key.clone() }];
    assert_eq!(mutated(&listed(treated(|_| ())), DIFFERS, anew), recreates);
    assert_eq!(
        mutated(&listed(treated(|t| t.conflicts = Conflicts::Force)), DIFFERS, Write { take: true, ..own }),
        []
    );
    let blindly = [Violation::WritesBlindly { app, key }];
    assert_eq!(mutated(&listed(treated(|_| ())), foreign(None), own), blindly);
    assert_eq!(mutated(&listed(treated(|_| ())), Seen::Absent, met), blindly);
    assert_eq!(mutated(&listed(treated(|_| ())), foreign(None), Write { take: true, ..met }), blindly);
}
