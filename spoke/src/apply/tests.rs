//! Rounds on a target in memory: stories, and rounds that are broken off at every write.

mod broken_off;
mod hooks;
mod removals;
mod versions;

use std::collections::BTreeSet;

use nave_placement::catalog::{NamespaceOptions, OnRemove};
use nave_placement::report::{EntryReason, EntryReport, EntryState};
use nave_placement::{AppKey, ObjectKey};
use serde_json::json;

use crate::apply::{Engine, Look, Uninterrupted};
use crate::target::memory::MemoryTarget;
use crate::target::{Changed, Health, HealthState, Target as _, TargetError};
use crate::testing::{After, Wish, app, config_map, config_map_key};

#[tokio::test]
async fn a_second_round_writes_nothing() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]);
    let first = wish.reconcile(&target).await;
    let web = &first.apps[&app("web")];
    assert_eq!((web.state, web.objects, web.healthy, first.writes), (EntryState::Healthy, 2, 2, 4));
    let second = wish.reconcile(&target).await;
    assert_eq!((second.writes, &second.apps[&app("web")]), (0, web));
    assert_eq!(target.watched(), [(String::new(), "ConfigMap".to_owned())].into());
}

#[tokio::test]
async fn a_foreign_change_and_a_foreign_deletion_are_put_back_and_counted() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]);
    wish.reconcile(&target).await;
    let as_wanted = target.objects();
    target.edit(&config_map_key("a"), config_map("a", "changed by hand"));
    target.remove(&config_map_key("b"));
    let outcome = wish.reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert_eq!(web.corrected, 2);
    let told = |report: &EntryReport| {
        let notes = report.notes.iter().filter(|note| note.reason == "Corrected");
        notes.map(|note| (note.key.name.clone(), note.message.contains("deleted"))).collect::<Vec<_>>()
    };
    assert_eq!(told(web), [("a".to_owned(), false), ("b".to_owned(), true)]);
    assert_eq!(target.objects(), as_wanted);
    target.edit(&config_map_key("b"), config_map("b", "changed by hand"));
    let outcome = wish.reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert_eq!((web.corrected, told(web)), (1, vec![("b".to_owned(), false)]), "a new engine knows no more");
}

#[tokio::test]
async fn an_app_that_fails_does_not_stop_the_others() {
    let target = MemoryTarget::new("t");
    target.refuse(&config_map_key("a"), Some("the webhook says no"));
    let wish = Wish::none().app("a", &[config_map("a", "1")]).app("b", &[config_map("b", "1")]);
    let outcome = wish.reconcile(&target).await;
    let failed = &outcome.apps[&app("a")];
    assert_eq!((failed.state, failed.version), (EntryState::Failed, None));
    assert_eq!(failed.message, "ConfigMap default/a: the webhook says no");
    assert_eq!(outcome.apps[&app("b")].state, EntryState::Healthy);
}

#[tokio::test]
async fn a_webhook_that_is_down_does_not_stop_what_would_mend_it() {
    let target = MemoryTarget::new("t");
    let down = TargetError::WebhookDown("failed calling webhook p".into());
    target.refuse_with(&config_map_key("a"), Some(down));
    let webhook = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "p", "namespace": "default"}});
    let outcome = Wish::none().app("web", &[config_map("a", "1"), webhook]).reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert_eq!((web.state, web.reason, web.healthy), (EntryState::Waiting, EntryReason::WebhookDown, 1));
    assert_eq!(web.message, "ConfigMap default/a: failed calling webhook p");
}

#[tokio::test]
async fn a_message_is_no_longer_than_it_is_read() {
    let target = MemoryTarget::new("t");
    target.refuse(&config_map_key("a"), Some(&"no ".repeat(10_000)));
    let outcome = Wish::none().app("web", &[config_map("a", "1")]).reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert!(web.message.len() <= 512 && web.unhealthy[0].message.len() <= 512, "{web:#?}");
}

#[tokio::test]
async fn an_object_that_is_refused_says_why_itself() {
    let target = MemoryTarget::new("t");
    target.refuse(&config_map_key("a"), Some("the webhook says no"));
    let outcome =
        Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]).reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    let [refused] = web.unhealthy.as_slice() else { panic!("{web:?}") };
    assert_eq!((&refused.key, web.healthy), (&config_map_key("a"), 1));
    assert_eq!((refused.reason.as_str(), refused.message.as_str()), ("ApplyRefused", "the webhook says no"));
}

#[tokio::test]
async fn a_namespace_that_is_there_already_is_used_and_stays_its_makers() {
    let namespace = |labels: &[(&str, &str)]| NamespaceOptions {
        name: "default".into(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        create: true,
        force: false,
    };
    let key = ObjectKey {
        group: String::new(),
        kind: "Namespace".into(),
        namespace: String::new(),
        name: "default".into(),
    };
    let theirs = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {"by": "them"}}});
    for (labels, state) in [(&[][..], EntryState::Healthy), (&[("team", "web")][..], EntryState::Failed)] {
        let target = MemoryTarget::new("t");
        target.edit(&key, theirs.clone());
        let wish = Wish::none()
            .app("web", &[config_map("a", "1")])
            .change("web", |entry| entry.options.namespace = Some(namespace(labels)));
        let outcome = wish.reconcile(&target).await;
        let web = &outcome.apps[&app("web")];
        assert_eq!(web.state, state, "{web:?}");
        assert_eq!(target.objects()[&key].live, theirs);
        assert!(target.objects().contains_key(&config_map_key("a")));
        let listed = target.stored().values().any(|inventory| inventory.objects.contains(&key));
        assert!(!listed, "what is not ours is in no inventory");
    }
}

#[tokio::test]
async fn nothing_is_pruned_while_an_object_of_the_app_is_refused() {
    let target = MemoryTarget::new("t");
    Wish::none().app("web", &[config_map("old", "1")]).reconcile(&target).await;
    target.refuse(&config_map_key("new"), Some("no"));
    let wish = Wish::none().app("web", &[config_map("new", "1")]);
    wish.reconcile(&target).await;
    assert!(target.objects().contains_key(&config_map_key("old")));
    target.refuse(&config_map_key("new"), None);
    wish.reconcile(&target).await;
    assert_eq!(target.objects().into_keys().collect::<Vec<_>>(), [config_map_key("new")]);
}

#[tokio::test]
async fn what_a_search_for_a_lost_inventory_did_not_see_is_its_apps_once_it_is_seen() {
    for restarts in [false, true] {
        let target = MemoryTarget::new("t");
        let three = [config_map("a", "1"), config_map("b", "1"), config_map("c", "1")];
        Wish::none().app("web", &three).reconcile(&target).await;
        target.forget_inventory(&app("web")).await.expect("forgotten");
        target.set_unlisted(&config_map_key("c"), true);
        // Meanwhile the app is another: it goes on, and what is found of the old one is pruned.
        let wish = Wish::none().app("web", &[config_map("a", "2")]);
        let mut engine = Engine::default();
        let first = wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
        assert_eq!(first.apps[&app("web")].state, EntryState::Healthy, "restarts: {restarts}");
        let there = target.objects().into_keys().collect::<Vec<_>>();
        assert_eq!(there, [config_map_key("a"), config_map_key("c")]);
        target.set_unlisted(&config_map_key("c"), false);
        if restarts {
            engine = Engine::default();
        }
        wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
        assert_eq!(target.objects().into_keys().collect::<Vec<_>>(), [config_map_key("a")]);
        assert!(!target.stored()[&app("web")].partial, "it is known to be whole");
    }
}

#[tokio::test]
async fn an_app_has_not_left_while_a_search_for_its_lost_inventory_sees_only_a_part() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]);
    let mut engine = Engine::default();
    wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
    target.forget_inventory(&app("web")).await.expect("forgotten");
    target.set_unlisted(&config_map_key("b"), true);
    let leaves = Wish::none().leaving("web", OnRemove::Delete);
    for _ in 0..2 {
        let outcome = leaves.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
        assert!(outcome.left.is_empty() && outcome.leaving.contains_key(&app("web")), "{outcome:#?}");
        assert_eq!(target.objects().len(), 2, "nothing is removed until all is known");
    }
    // Its time has come: it need not wait for a look at everything.
    target.set_unlisted(&config_map_key("b"), false);
    let (changed, due) = (Changed::default(), BTreeSet::from([app("web")]));
    for _ in 0..2 {
        let look = Look::At { changed: &changed, due: &due };
        leaves.round(&mut engine, &target, look, &Uninterrupted).await;
    }
    assert!(target.objects().is_empty());
}

#[tokio::test]
async fn an_unreachable_target_is_never_read_as_empty() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1")]).leaving("old", OnRemove::Delete);
    wish.reconcile(&target).await;
    target.set_unreachable(Some("no route to host"));
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, EntryState::Waiting);
    assert!(matches!(outcome.apps[&app("web")].reason, EntryReason::TargetUnreachable));
    assert!(outcome.left.is_empty(), "what cannot be seen has not left");
}

#[tokio::test]
async fn a_custom_resource_is_applied_in_the_round_that_defines_its_kind() {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Tab"}},
    });
    let tab = json!({"apiVersion": "example.com/v1", "kind": "Tab", "metadata": {"name": "t"}});
    let target = MemoryTarget::new("t");
    let alone = Wish::none().app("tab", std::slice::from_ref(&tab));
    let outcome = alone.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("tab")].state, EntryState::Waiting);
    assert_eq!(target.calls().discover, 0, "nothing was defined, so nothing new is served");

    let outcome = alone.app("z-definitions", &[definition]).reconcile(&target).await;
    assert_eq!(outcome.apps[&app("tab")].state, EntryState::Healthy);
    let namespace = "default".to_owned();
    let key = ObjectKey { group: "example.com".into(), kind: "Tab".into(), namespace, name: "t".into() };
    assert!(target.objects().contains_key(&key), "{:?}", target.objects());
}

#[tokio::test]
async fn an_app_has_left_when_the_last_finalizer_is_done() {
    let target = MemoryTarget::new("t");
    Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]).reconcile(&target).await;
    target.finalize(&config_map_key("a"), true);
    let wish = Wish::none().leaving("web", OnRemove::Delete);
    let outcome = wish.reconcile(&target).await;
    let web = &outcome.leaving[&app("web")];
    assert_eq!((web.state, web.objects), (EntryState::Progressing, 1));
    assert_eq!(web.reason, EntryReason::Terminating);
    assert!(outcome.left.is_empty() && outcome.unsettled());
    target.finalize(&config_map_key("a"), false);
    assert_eq!(wish.reconcile(&target).await.left, [app("web")].into());
    assert!(target.objects().is_empty() && target.stored().is_empty());
}

#[tokio::test]
async fn an_app_is_as_well_as_its_worst_object() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]);
    wish.reconcile(&target).await;
    for (a, b, expected) in [
        (HealthState::Healthy, HealthState::Suspended, EntryState::Healthy),
        (HealthState::Progressing, HealthState::Healthy, EntryState::Progressing),
        (HealthState::Unknown, HealthState::Healthy, EntryState::Progressing),
        (HealthState::Progressing, HealthState::Degraded, EntryState::Degraded),
    ] {
        for (name, state) in [("a", a), ("b", b)] {
            let health = Health { state, reason: "Why".into(), message: "so".into() };
            target.set_health(&config_map_key(name), health);
        }
        let outcome = wish.reconcile(&target).await;
        assert_eq!(outcome.apps[&app("web")].state, expected, "{a:?} and {b:?}");
    }
    let web = wish.reconcile(&target).await.apps.remove(&app("web")).expect("reported");
    assert_eq!(web.message, "ConfigMap default/b: Why: so (and 1 more)");
    assert_eq!((web.healthy, web.unhealthy.len()), (0, 2));
}

#[tokio::test]
async fn what_is_foreign_is_adopted_only_if_it_is_as_wanted() {
    let target = MemoryTarget::new("t");
    target.edit(&config_map_key("same"), config_map("same", "1"));
    target.edit(&config_map_key("other"), config_map("other", "theirs"));
    let wish = Wish::none().app("web", &[config_map("same", "1"), config_map("other", "ours")]);
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, EntryState::Failed);
    let objects = target.objects();
    assert_eq!(objects[&config_map_key("same")].app, Some(app("web")));
    assert_eq!(objects[&config_map_key("other")].live, config_map("other", "theirs"));
    Wish::none().leaving("web", OnRemove::Delete).reconcile(&target).await;
    assert_eq!(target.objects().into_keys().collect::<Vec<_>>(), [config_map_key("other")]);
}

#[tokio::test]
async fn an_object_stays_with_its_old_app_until_the_new_one_wrote_it() {
    let target = MemoryTarget::new("t");
    Wish::none().app("a", &[config_map("x", "1")]).reconcile(&target).await;
    target.refuse(&config_map_key("x"), Some("no"));
    let wish = Wish::none().app("a", &[]).app("b", &[config_map("x", "1")]);
    wish.reconcile(&target).await;
    assert!(target.stored()[&app("a")].objects.contains(&config_map_key("x")));
    let a = wish.reconcile(&target).await.apps.remove(&app("a")).expect("reported");
    assert_eq!((a.state, a.reason), (EntryState::Waiting, EntryReason::HandingOver));
    assert_eq!(a.message, "ConfigMap default/x goes to b, which has not taken it yet: see there");
    target.refuse(&config_map_key("x"), None);
    wish.reconcile(&target).await;
    assert!(target.stored()[&app("a")].objects.is_empty());
    assert_eq!(target.objects()[&config_map_key("x")].app, Some(app("b")));
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_keeps_everything_where_it_is() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("a", &[config_map("a", "1")]).app("b", &[config_map("b", "1")]);
    wish.reconcile(&target).await;
    let before = (target.objects(), target.stored());
    let mut wish = wish.app("b", &[]);
    wish.entries.insert(app("a"), Err("field 12 is not known here".into()));
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("a")].message, "the entry cannot be read: field 12 is not known here");
    assert_eq!(outcome.apps[&app("b")].reason, EntryReason::ClaimsUnknown);
    assert_eq!((target.objects(), target.stored()), before);
}

#[tokio::test]
async fn an_app_whose_objects_fall_together_does_not_stop_the_others() {
    let target = MemoryTarget::new("t");
    let mut elsewhere = config_map("a", "2");
    elsewhere["metadata"]["namespace"] = json!("other");
    let namespace = NamespaceOptions {
        name: "web".into(),
        labels: std::collections::BTreeMap::new(),
        create: false,
        force: true,
    };
    Wish::none().app("b", &[config_map("a", "1"), config_map("b", "1")]).reconcile(&target).await;
    let wish = Wish::none()
        .app("a", &[config_map("a", "1"), elsewhere])
        .change("a", |entry| entry.options.namespace = Some(namespace))
        .app("b", &[]);
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("a")].reason, EntryReason::Unreadable);
    let left: Vec<_> = target.objects().into_keys().collect();
    assert_eq!(left, [config_map_key("a")], "what it may mean is kept, the rest is pruned");
}

#[tokio::test]
async fn a_bundle_that_is_not_here_yet_is_waited_for() {
    let target = MemoryTarget::new("t");
    let mut wish = Wish::none().app("web", &[config_map("a", "1")]);
    let bundles = std::mem::take(&mut wish.bundles);
    let outcome = wish.reconcile(&target).await;
    assert_eq!((outcome.apps[&app("web")].state, outcome.writes), (EntryState::Waiting, 0));
    wish.bundles = bundles;
    assert_eq!(wish.reconcile(&target).await.apps[&app("web")].state, EntryState::Healthy);
}

#[tokio::test]
async fn a_round_looks_only_at_the_apps_that_a_change_belongs_to() {
    let target = MemoryTarget::new("t");
    let mut wish = Wish::none();
    for name in ["a", "b", "c"] {
        wish = wish.app(name, &[config_map(name, "1")]);
    }
    let mut engine = Engine::default();
    let none = BTreeSet::new();
    let mut looks = async |wish: &Wish, due: &BTreeSet<AppKey>| {
        let before = target.calls();
        let changed = target.changed();
        let look = Look::At { changed: &changed, due };
        let outcome = wish.round(&mut engine, &target, look, &Uninterrupted).await;
        let after = target.calls();
        assert_eq!(outcome.apps.len(), 3, "the report is of all apps");
        assert!(outcome.apps.values().all(|report| report.state == EntryState::Healthy), "{outcome:#?}");
        let corrected: u64 = outcome.apps.values().map(|report| report.corrected).sum();
        ((after.observe - before.observe, after.inventories - before.inventories, outcome.writes), corrected)
    };
    // Each app is looked at before and after it is written; the versions are stored by one write.
    assert_eq!(looks(&wish, &none).await, ((6, 1, 7), 0));
    assert_eq!(looks(&wish, &none).await, ((0, 0, 0), 0), "nothing changed, nothing is asked");
    target.edit(&config_map_key("b"), config_map("b", "theirs"));
    assert_eq!(looks(&wish, &none).await, ((2, 0, 1), 1));
    assert_eq!(looks(&wish, &none).await, ((0, 0, 0), 0), "what was put back is counted once");
    assert_eq!(looks(&wish, &[app("c")].into()).await, ((1, 0, 0), 0));
    let wish = wish.app("a", &[config_map("a", "2")]);
    assert_eq!(looks(&wish, &none).await, ((2, 0, 2), 0), "its object and its version");
    target.edit(&config_map_key("nobodys"), config_map("nobodys", "1"));
    assert_eq!(looks(&wish, &none).await, ((0, 0, 0), 0));
}

#[tokio::test]
async fn what_a_round_that_did_not_end_was_told_is_looked_at_by_the_next() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("a", &[config_map("a", "1")]).app("b", &[config_map("b", "1")]);
    let mut engine = Engine::default();
    let none = BTreeSet::new();
    wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
    for key in ["a", "b"] {
        target.edit(&config_map_key(key), config_map(key, "theirs"));
    }
    let changed = target.changed();
    let look = Look::At { changed: &changed, due: &none };
    let outcome = wish.round(&mut engine, &target, look, &After::writes(1)).await;
    assert!(outcome.interrupted);
    let nothing = Changed::default();
    let look = Look::At { changed: &nothing, due: &none };
    wish.round(&mut engine, &target, look, &Uninterrupted).await;
    for key in ["a", "b"] {
        assert_eq!(target.objects()[&config_map_key(key)].live, config_map(key, "1"));
    }
}

#[tokio::test]
async fn a_look_at_everything_passes_over_the_apps_that_are_known_to_be_at_rest() {
    let target = MemoryTarget::new("t");
    let names: Vec<String> = (0..20).map(|n| format!("app-{n}")).collect();
    let wish = names.iter().fold(Wish::none(), |wish, name| wish.app(name, &[config_map(name, "1")]));
    let mut engine = Engine::default();
    let mut looks = async |what: &str| {
        let before = target.calls().observe;
        let outcome = wish.round(&mut engine, &target, Look::Everything, &Uninterrupted).await;
        assert!(
            outcome.apps.values().all(|report| report.state == EntryState::Healthy),
            "{what}: {outcome:#?}"
        );
        (target.calls().observe - before, outcome.writes)
    };
    // Each before and after its write; one write for all versions.
    assert_eq!(looks("install").await, (40, 41));
    assert_eq!(looks("nothing changed").await, (0, 0));
    target.edit(&config_map_key("app-7"), config_map("app-7", "theirs"));
    target.remove(&config_map_key("app-8"));
    assert_eq!(looks("two changed, and nobody told").await, (4, 2));
    // A new engine looks at everything and writes nothing.
    let before = target.calls().observe;
    assert_eq!(wish.reconcile(&target).await.writes, 0);
    assert_eq!(target.calls().observe - before, 20);
}

#[tokio::test]
async fn a_target_with_little_room_is_no_reason_to_stand_still() {
    let target = MemoryTarget::new("t");
    target.dawdle(Some(7));
    // More than are completed by one write, and more writes at once than there is room for.
    let apps = (0..600).map(|n| {
        let objects = [0, 1, 2, 3].map(|object| config_map(&format!("{n}-{object}"), "1"));
        (format!("app-{n}"), objects)
    });
    let wish = apps.fold(Wish::none(), |wish, (name, objects)| wish.app(&name, &objects));
    let round = tokio::time::timeout(std::time::Duration::from_secs(60), wish.reconcile(&target)).await;
    let outcome = round.expect("it comes to its end");
    assert!(outcome.apps.values().all(|report| report.state == EntryState::Healthy));
    assert_eq!(outcome.apps.len(), 600);
}
