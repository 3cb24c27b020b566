//! The rules of planning, as rows: given what is wanted, had and seen, these are the steps.

mod given;
mod terms;

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::Digest;
use nave_placement::catalog::{NamespaceOptions, OnRemove};

use super::{Step, Unresolved, Wanted};
use crate::report::Reason;
use crate::target::{Foreign, Seen};
use given::{DIFFERS, DRIFTED, Given, OURS, app, key, line, prints, refused};

#[test]
fn objects_are_written_in_the_order_of_their_kinds() {
    let objects = [
        "ValidatingWebhookConfiguration.admissionregistration.k8s.io/w",
        "Deployment.apps/a",
        "ServiceAccount/a",
        "ClusterRole.rbac.authorization.k8s.io/a",
        "CustomResourceDefinition.apiextensions.k8s.io/a",
        "Namespace/d",
    ];
    let plan = Given::default().wants("web", &objects).plan();
    let lines: Vec<_> = plan.apps[&app("web")].raise.iter().skip(1).map(line).collect();
    let expected: Vec<_> = objects.iter().rev().map(|object| format!("apply {object}")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn objects_are_removed_in_reverse_order() {
    Given::default()
        .wants("web", &["Secret/s"])
        .has(
            "web",
            &["ConfigMap/c", "Deployment.apps/a", "Secret/s", "ClusterRole.rbac.authorization.k8s.io/r"],
        )
        .drops("web", 3)
        .check(
            "web",
            &[
                "prune Deployment.apps/a of web",
                "prune ConfigMap/c of web",
                "prune ClusterRole.rbac.authorization.k8s.io/r of web",
                "narrow web, complete",
            ],
        );
}

#[test]
fn an_object_of_a_defined_kind_goes_before_the_workload_that_serves_it_and_comes_after_it() {
    let objects = ["Deployment.apps/operator", "Database.example.com/a", "Ingress.networking.k8s.io/a"];
    Given::default().wants("web", &objects).check(
        "web",
        &[
            "widen to Deployment.apps/operator Database.example.com/a Ingress.networking.k8s.io/a",
            "apply Deployment.apps/operator",
            "apply Ingress.networking.k8s.io/a",
            "apply Database.example.com/a",
            "narrow web, complete",
        ],
    );
    Given::default().leaves("web", OnRemove::Delete, 9).has("web", &objects).check(
        "web",
        &[
            "prune Database.example.com/a of web",
            "prune Ingress.networking.k8s.io/a of web",
            "prune Deployment.apps/operator of web",
            "forget web",
        ],
    );
}

#[test]
fn the_inventory_is_widened_before_the_first_write_and_narrowed_after_the_last_removal() {
    Given::default().wants("web", &["ConfigMap/b"]).has("web", &["ConfigMap/a"]).drops("web", 1).check(
        "web",
        &[
            "widen to ConfigMap/a ConfigMap/b",
            "apply ConfigMap/b",
            "prune ConfigMap/a of web",
            "narrow web, complete",
        ],
    );
}

#[test]
fn an_app_that_is_merely_missing_is_kept_and_reported() {
    let given = Given::default().has("web", &["ConfigMap/a"]);
    given.check("web", &[]);
    assert_eq!(given.plan().unassigned, BTreeSet::from([app("web")]));
}

#[test]
fn what_another_entry_claims_is_handed_over_and_never_pruned() {
    let given = Given::default()
        .wants("a", &["ConfigMap/a"])
        .wants("b", &["ConfigMap/x"])
        .has("a", &["ConfigMap/a", "ConfigMap/x"]);
    given.check("a", &["hand ConfigMap/x of a over to b", "narrow a, complete"]);
    given.check("b", &["widen to ConfigMap/x", "take ConfigMap/x", "narrow b, complete"]);
}

#[test]
fn nothing_is_removed_while_the_claims_of_an_entry_are_unknown() {
    let given = Given::default()
        .wants("a", &[])
        .drops("a", 9)
        .unresolved("b")
        .leaves("c", OnRemove::Delete, 9)
        .leaves("d", OnRemove::Orphan, 9)
        .has("a", &["ConfigMap/a"])
        .has("c", &["ConfigMap/c"])
        .has("d", &["ConfigMap/d"]);
    given.check("a", &["narrow a"]);
    given.check("c", &["forget c"]);
    given.check("d", &["forget d"]);
    assert_eq!(given.blocked("a"), [Reason::ClaimsUnknown { app: app("b") }]);
}

#[test]
fn an_object_of_an_app_whose_claims_are_unknown_is_not_taken_from_it() {
    let given = Given::default().unresolved("a").wants("b", &["ConfigMap/x"]).has("a", &["ConfigMap/x"]);
    given.check("b", &["narrow b"]);
    assert_eq!(given.blocked("b"), [Reason::ClaimsUnknown { app: app("a") }]);
}

#[test]
fn more_than_approved_prunes_none() {
    let given =
        Given::default().wants("web", &[]).has("web", &["ConfigMap/a", "ConfigMap/b"]).drops("web", 1);
    given.check("web", &["narrow web"]);
    assert_eq!(given.blocked("web"), [refused(1, &[("web", "ConfigMap/a"), ("web", "ConfigMap/b")])]);
}

#[test]
fn what_was_approved_by_name_is_deleted_also_in_parts_and_never_with_anything_else() {
    let named = prints(&[("web", "ConfigMap/a"), ("web", "ConfigMap/b")]);
    // What is here; whether it goes.
    let rows: [(&[&str], bool); 4] = [
        (&["ConfigMap/a", "ConfigMap/b"], true),
        (&["ConfigMap/b"], true),
        (&["ConfigMap/b", "ConfigMap/c"], false),
        (&["ConfigMap/a", "ConfigMap/b", "ConfigMap/c"], false),
    ];
    for (objects, goes) in rows {
        let entry = Given::default().wants("web", &[]).has("web", objects).change("web", |wanted| {
            wanted.entry.drops = 2;
            wanted.entry.drops_of = Some(named.clone());
        });
        let leaving = Given::default().has("web", objects).leaves("web", OnRemove::Delete, 2);
        for given in [entry, leaving.only("web", &named)] {
            let all: Vec<_> = objects.iter().map(|object| ("web", *object)).collect();
            let expected = if goes { Vec::new() } else { vec![refused(2, &all)] };
            assert_eq!(given.blocked("web"), expected);
            let plan = given.plan();
            let prunes = plan.apps[&app("web")].settle.iter().filter(|s| matches!(s, Step::Prune { .. }));
            assert_eq!(prunes.count(), if goes { objects.len() } else { 0 });
        }
    }
}

#[test]
fn without_prune_what_left_the_app_becomes_nobodys() {
    Given::default()
        .wants("web", &[])
        .has("web", &["ConfigMap/a"])
        .change("web", |wanted| wanted.entry.options.prune = false)
        .check("web", &["orphan ConfigMap/a of web", "narrow web, complete"]);
}

#[test]
fn namespaces_definitions_and_volumes_are_kept_and_do_not_count() {
    Given::default()
        .leaves("web", OnRemove::Delete, 1)
        .has("web", &["Namespace/d", "PersistentVolumeClaim/data", "ConfigMap/a"])
        .check(
            "web",
            &[
                "orphan PersistentVolumeClaim/data of web",
                "prune ConfigMap/a of web",
                "orphan Namespace/d of web",
                "forget web",
            ],
        );
}

#[test]
fn a_leaving_app_is_deleted_if_that_was_approved() {
    let given = |objects| {
        Given::default().leaves("web", OnRemove::Delete, objects).has("web", &["ConfigMap/a", "ConfigMap/b"])
    };
    given(2).check("web", &["prune ConfigMap/b of web", "prune ConfigMap/a of web", "forget web"]);
    given(1).check("web", &["forget web"]);
    assert_eq!(given(1).blocked("web"), [refused(1, &[("web", "ConfigMap/a"), ("web", "ConfigMap/b")])]);
}

#[test]
fn a_leaving_app_may_let_its_objects_be() {
    Given::default()
        .leaves("web", OnRemove::Orphan, 0)
        .has("web", &["ConfigMap/a"])
        .check("web", &["orphan ConfigMap/a of web", "forget web"]);
}

#[test]
fn a_leaving_app_of_which_nothing_is_here_has_left() {
    let given = Given::default().leaves("web", OnRemove::Delete, 1);
    assert_eq!(given.plan().left, BTreeSet::from([app("web")]));
    let given = given.has("web", &["ConfigMap/a"]);
    assert_eq!(given.plan().left, BTreeSet::new());
}

#[test]
fn an_entry_beats_a_leaving_record() {
    let given = Given::default().wants("web", &["ConfigMap/a"]).leaves("web", OnRemove::Delete, 9);
    let given = given.has("web", &["ConfigMap/a"]);
    given.check("web", &["narrow web, complete"]);
    assert_eq!(given.plan().left, BTreeSet::new());
}

#[test]
fn a_renamed_app_takes_its_objects_with_it() {
    let given = Given::default()
        .wants("new", &["ConfigMap/a", "ConfigMap/c"])
        .formerly("new", "old")
        .drops("new", 1)
        .has("old", &["ConfigMap/a", "ConfigMap/b"]);
    given.check(
        "new",
        &[
            "widen to ConfigMap/a ConfigMap/c",
            "take ConfigMap/a",
            "apply ConfigMap/c",
            "hand ConfigMap/a of old over to new",
            "prune ConfigMap/b of old",
            "narrow new, complete",
            "forget old",
        ],
    );
    assert_eq!(given.plan().unassigned, BTreeSet::new());
}

#[test]
fn a_rename_prunes_under_the_new_entrys_approval() {
    let given = Given::default().wants("new", &[]).formerly("new", "old").has("old", &["ConfigMap/b"]);
    given.check("new", &["narrow new", "forget old"]);
    assert_eq!(given.blocked("new"), [refused(0, &[("old", "ConfigMap/b")])]);
}

#[test]
fn a_former_name_that_has_an_entry_keeps_what_it_has() {
    let given = Given::default()
        .wants("new", &[])
        .formerly("new", "old")
        .wants("old", &["ConfigMap/a"])
        .has("old", &["ConfigMap/a"]);
    given.check("new", &["narrow new, complete"]);
    given.check("old", &["narrow old, complete"]);
}

#[test]
fn a_rename_whose_bundle_is_missing_leaves_the_old_app_alone() {
    let mut given = Given::default().unresolved("new").leaves("old", OnRemove::Delete, 9);
    if let Some(Err(Unresolved { entry: Some(entry), .. })) = given.wanted.get_mut(&app("new")) {
        entry.options.formerly.insert(app("old"));
    }
    let given = given.has("old", &["ConfigMap/a"]);
    given.check("old", &[]);
    given.check("new", &["narrow new"]);
    assert_eq!(given.plan().unassigned, BTreeSet::new());
}

#[test]
fn of_two_entries_that_claim_one_object_the_first_has_it_and_the_second_says_so() {
    let given = Given::default().wants("a", &["ConfigMap/x"]).wants("b", &["ConfigMap/x", "ConfigMap/y"]);
    given.check("a", &["widen to ConfigMap/x", "apply ConfigMap/x", "narrow a, complete"]);
    given.check("b", &["widen to ConfigMap/y", "apply ConfigMap/y", "narrow b"]);
    let twice = Reason::ClaimedTwice { object: key("ConfigMap/x"), by: app("a") };
    assert_eq!(given.blocked("b"), [twice]);
}

#[test]
fn of_two_entries_that_claim_one_object_the_one_that_runs_it_keeps_it() {
    let given =
        Given::default().wants("a", &["ConfigMap/x"]).wants("b", &["ConfigMap/x"]).has("b", &["ConfigMap/x"]);
    given.check("a", &["narrow a"]);
    given.check("b", &["narrow b, complete"]);
    let twice = Reason::ClaimedTwice { object: key("ConfigMap/x"), by: app("b") };
    assert_eq!(given.blocked("a"), [twice]);
    // Under a former name it ran it too.
    let given = Given::default()
        .wants("a", &["ConfigMap/x"])
        .wants("b", &["ConfigMap/x"])
        .formerly("b", "z")
        .has("z", &["ConfigMap/x"]);
    given.check("a", &["narrow a"]);
}

#[test]
fn what_others_have_something_in_is_not_deleted_whatever_it_says_of_itself() {
    let namespace = "Namespace/d";
    let definition = "CustomResourceDefinition.apiextensions.k8s.io/tabs.example.com";
    let (inside, custom) = ("ConfigMap/x", "Tab.example.com/x");
    let orphans = [[format!("orphan {namespace} of web")], [format!("orphan {definition} of web")]];
    let prunes = [[format!("prune {namespace} of web")], [format!("prune {definition} of web")]];
    let leaves = |outer: &str, with: &dyn Fn(Given) -> Given, expected: &[String]| {
        let mut given = Given::default().leaves("web", OnRemove::Delete, 9).has("web", &[outer]);
        for inventory in given.inventories.values_mut() {
            inventory.expendable.insert(key(outer));
        }
        let expected: Vec<_> = expected.iter().map(String::as_str).chain(["forget web"]).collect();
        with(given).check("web", &expected);
    };
    for (at, (outer, inner)) in [(namespace, inside), (definition, custom)].into_iter().enumerate() {
        leaves(outer, &|given| given, &prunes[at]);
        leaves(outer, &|given| given.wants("b", &[inner]), &orphans[at]);
        // Merely missing, or on its way out itself.
        leaves(outer, &|given| given.has("b", &[inner]), &orphans[at]);
        leaves(outer, &|given| given.has("b", &["ClusterRole.rbac.authorization.k8s.io/a"]), &prunes[at]);
    }
}

#[test]
fn apps_may_share_the_namespace_that_each_would_create() {
    let option = NamespaceOptions { name: "d".into(), labels: BTreeMap::new(), create: true, force: false };
    let given = Given::default()
        .wants("a", &["Namespace/d"])
        .wants("b", &["Namespace/d"])
        .change("a", |wanted| wanted.entry.options.namespace = Some(option.clone()))
        .change("b", |wanted| wanted.entry.options.namespace = Some(option.clone()));
    given.check("a", &["widen to Namespace/d", "apply Namespace/d", "narrow a, complete"]);
    given.check("b", &["narrow b, complete"]);
}

#[test]
fn what_is_seen_decides_how_it_is_written() {
    for (seen, expected) in [
        (Seen::Absent, Some("apply ConfigMap/a")),
        (Seen::Foreign(Foreign::default()), Some("adopt ConfigMap/a")),
        (OURS, None),
        (DIFFERS, Some("take ConfigMap/a")),
        (DRIFTED, Some("take ConfigMap/a, drifted")),
    ] {
        let given = Given::default().wants("web", &["ConfigMap/a"]).has("web", &["ConfigMap/a"]);
        let expected: Vec<_> = expected.into_iter().chain(["narrow web, complete"]).collect();
        given.seen("ConfigMap/a", seen).check("web", &expected);
    }
}

#[test]
fn a_complete_app_that_lacks_an_object_has_drifted() {
    let mut given = Given::default().wants("web", &["ConfigMap/a"]).has("web", &["ConfigMap/a"]);
    for inventory in given.inventories.values_mut() {
        inventory.version = Some(Digest::of(b"new"));
    }
    let given = given.seen("ConfigMap/a", Seen::Absent);
    given.check("web", &["apply ConfigMap/a, drifted", "narrow web, complete"]);
}

#[test]
fn what_could_not_be_seen_is_left_alone_and_nothing_is_pruned() {
    let given = Given::default()
        .wants("web", &["ConfigMap/a", "ConfigMap/b"])
        .drops("web", 9)
        .has("web", &["ConfigMap/b", "ConfigMap/z"])
        .unseen("ConfigMap/a");
    given.check("web", &["narrow web"]);
    let message = "time-out".to_owned();
    assert_eq!(given.blocked("web"), [Reason::NotSeen { object: key("ConfigMap/a"), message }]);
}

#[test]
fn an_object_whose_kind_is_not_served_waits_and_is_claimed_in_every_namespace() {
    let unserved = |wanted: &mut Wanted| {
        wanted.objects[0].served = false;
        wanted.objects[0].key.namespace.clear();
    };
    let given = Given::default()
        .wants("a", &[])
        .drops("a", 9)
        .has("a", &["Certificate.cert-manager.io/x"])
        .wants("b", &["Certificate.cert-manager.io/x", "ConfigMap/y"])
        .change("b", unserved);
    given.check("a", &["hand Certificate.cert-manager.io/x of a over to b", "narrow a, complete"]);
    given.check("b", &["widen to ConfigMap/y", "apply ConfigMap/y", "narrow b"]);
    assert!(matches!(given.blocked("b")[..], [Reason::NotServed { .. }]));
}

#[test]
fn an_unassigned_apps_object_is_handed_over_when_an_entry_claims_it() {
    let given = Given::default().wants("b", &["ConfigMap/x"]).has("a", &["ConfigMap/w", "ConfigMap/x"]);
    given.check("a", &["hand ConfigMap/x of a over to b", "forget a"]);
    assert_eq!(given.plan().unassigned, BTreeSet::from([app("a")]));
}

#[test]
fn a_hand_over_that_was_broken_off_goes_on_where_it_was() {
    let given = Given::default()
        .wants("b", &["ConfigMap/x"])
        .leaves("a", OnRemove::Delete, 0)
        .has("a", &["ConfigMap/x"])
        .has("b", &["ConfigMap/x"]);
    let not_written = given.seen("ConfigMap/x", DIFFERS);
    not_written.check("b", &["take ConfigMap/x", "narrow b, complete"]);
    let written = not_written.seen("ConfigMap/x", OURS);
    written.check("b", &["narrow b, complete"]);
    written.check("a", &["hand ConfigMap/x of a over to b", "forget a"]);
}
