//! Rounds on a target in memory: stories, and rounds that are broken off at every write.

mod broken_off;

use nave_placement::ObjectKey;
use nave_placement::catalog::OnRemove;
use serde_json::json;

use crate::report::{AppState, Reason};
use crate::target::memory::MemoryTarget;
use crate::target::{Health, HealthState};
use crate::testing::{Wish, app, config_map, config_map_key};

#[tokio::test]
async fn a_second_round_writes_nothing() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]);
    let first = wish.reconcile(&target).await;
    let web = &first.apps[&app("web")];
    assert_eq!((web.state, web.objects, web.healthy, first.writes), (AppState::Healthy, 2, 2, 4));
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
    assert_eq!(outcome.apps[&app("web")].corrected, 2);
    assert_eq!(target.objects(), as_wanted);
}

#[tokio::test]
async fn an_app_that_fails_does_not_stop_the_others() {
    let target = MemoryTarget::new("t");
    target.refuse(&config_map_key("a"), Some("the webhook says no"));
    let wish = Wish::none().app("a", &[config_map("a", "1")]).app("b", &[config_map("b", "1")]);
    let outcome = wish.reconcile(&target).await;
    let failed = &outcome.apps[&app("a")];
    assert_eq!((failed.state, failed.version), (AppState::Failed, None));
    assert_eq!(failed.message, "ConfigMap default/a: the webhook says no (and 1 more)");
    assert_eq!(outcome.apps[&app("b")].state, AppState::Healthy);
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
async fn an_unreachable_target_is_never_read_as_empty() {
    let target = MemoryTarget::new("t");
    let wish = Wish::none().app("web", &[config_map("a", "1")]).leaving("old", OnRemove::Delete);
    wish.reconcile(&target).await;
    target.set_unreachable(Some("no route to host"));
    let outcome = wish.reconcile(&target).await;
    assert_eq!(outcome.apps[&app("web")].state, AppState::Waiting);
    assert!(matches!(outcome.apps[&app("web")].reason, Some(Reason::Unreachable { .. })));
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
    assert_eq!(outcome.apps[&app("tab")].state, AppState::Waiting);
    assert_eq!(target.calls().discover, 0, "nothing was defined, so nothing new is served");

    let outcome = alone.app("z-definitions", &[definition]).reconcile(&target).await;
    assert_eq!(outcome.apps[&app("tab")].state, AppState::Healthy);
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
    assert_eq!((web.state, web.objects), (AppState::Progressing, 1));
    assert_eq!(web.reason, Some(Reason::Terminating { object: config_map_key("a") }));
    assert!(outcome.left.is_empty() && outcome.unfinished());
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
        (HealthState::Healthy, HealthState::Suspended, AppState::Healthy),
        (HealthState::Progressing, HealthState::Healthy, AppState::Progressing),
        (HealthState::Unknown, HealthState::Healthy, AppState::Progressing),
        (HealthState::Progressing, HealthState::Degraded, AppState::Degraded),
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
    assert_eq!(outcome.apps[&app("web")].state, AppState::Failed);
    let objects = target.objects();
    assert_eq!(objects[&config_map_key("same")].app, Some(app("web")));
    assert_eq!(objects[&config_map_key("other")].live, config_map("other", "theirs"));
    Wish::none().leaving("web", OnRemove::Delete).reconcile(&target).await;
    assert_eq!(target.objects().into_keys().collect::<Vec<_>>(), [config_map_key("other")]);
}
