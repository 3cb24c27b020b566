//! Removals: what waits for what, and what a local policy lets through.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

use async_trait::async_trait;
use nave_placement::catalog::{OnImmutable, OnRemove};
use nave_placement::report::{EntryReason, EntryState};
use nave_placement::{AppKey, ObjectKey};
use serde_json::{Value, json};

use crate::apply::Interrupt;
use crate::plan::{Plan, Step};
use crate::policy::{Policy, Removals};
use crate::target::memory::{Event, MemoryTarget};
use crate::target::{Deleted, Inventory, TargetError};
use crate::testing::{Wish, app, config_map, config_map_key};

/// A local policy at noon.
struct Ruled(Policy, Mutex<Removals>);

impl Ruled {
    fn by(policy: &str) -> Self {
        Self(Policy::read(policy).expect("a policy"), Mutex::default())
    }
}

#[async_trait]
impl Interrupt for Ruled {
    fn before(&self, _: &AppKey, _: &Step) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn allow(&self, plan: &mut Plan, inventories: &BTreeMap<AppKey, Inventory>) {
        self.0.allow(plan, inventories);
    }

    async fn may_delete(&self, app: &AppKey, keys: &[&ObjectKey]) -> Result<(), String> {
        self.0.may_delete(app, keys, &mut self.1.lock().expect("free"), 0).map(|_| ())
    }

    fn came_of(&self, app: &AppKey, key: &ObjectKey, deleted: Option<&Result<Deleted, TargetError>>) {
        self.1.lock().expect("free").came_of(app, key, deleted);
    }
}

fn tabs() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"kind": "Tab"}},
    })
}

fn object(api_version: &str, kind: &str, name: &str) -> (Value, ObjectKey) {
    let metadata = json!({"name": name, "namespace": "default"});
    let (group, _) = api_version.split_once('/').unwrap_or_default();
    let [group, kind, namespace, name] = [group, kind, "default", name].map(str::to_owned);
    let object = json!({"apiVersion": api_version, "kind": kind, "metadata": metadata});
    (object, ObjectKey { group, kind, namespace, name })
}

#[tokio::test]
async fn who_serves_an_object_stays_until_its_finalizers_are_done_but_not_for_ever() {
    let (tab, tab_key) = object("example.com/v1", "Tab", "t");
    let (operator, operator_key) = object("apps/v1", "Deployment", "operator");
    for gives_up in [false, true] {
        let target = MemoryTarget::new("t");
        let defined = Wish::none().app("definitions", &[tabs()]);
        defined.clone().app("web", &[tab.clone(), operator.clone()]).reconcile(&target).await;
        assert!(target.objects().contains_key(&tab_key), "{:?}", target.objects());
        target.finalize(&tab_key, true);
        let wish = defined.leaving("web", OnRemove::Delete);
        for _ in 0..2 {
            let outcome = wish.reconcile(&target).await;
            let web = &outcome.leaving[&app("web")];
            assert_eq!((web.reason, web.state), (EntryReason::Terminating, EntryState::Progressing));
            assert_eq!(web.message, "Tab.example.com default/t is being deleted: a finalizer is at work");
            assert!(target.objects().contains_key(&operator_key), "it has to do the finalizer's work");
        }
        if gives_up {
            target.keep_waiting(&tab_key);
            let outcome = wish.reconcile(&target).await;
            assert_eq!(outcome.leaving[&app("web")].state, EntryState::Degraded);
        } else {
            target.finalize(&tab_key, false);
            assert_eq!(wish.reconcile(&target).await.left, [app("web")].into());
        }
        assert!(!target.objects().contains_key(&operator_key));
    }
}

#[tokio::test]
async fn what_is_on_its_way_out_is_counted_once() {
    let target = MemoryTarget::new("t");
    Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]).reconcile(&target).await;
    target.finalize(&config_map_key("a"), true);
    target.finalize(&config_map_key("b"), true);
    let (rules, wish) = (Ruled::by("maxRemovals: 2"), Wish::none().leaving("web", OnRemove::Delete));
    for _ in 0..3 {
        let outcome = wish.interrupted(&target, &rules).await;
        assert_eq!(outcome.leaving[&app("web")].reason, EntryReason::Terminating, "{outcome:#?}");
    }
    target.finalize(&config_map_key("a"), false);
    target.finalize(&config_map_key("b"), false);
    assert_eq!(wish.interrupted(&target, &rules).await.left, [app("web")].into());

    let other = Wish::none().app("other", &[config_map("c", "1")]);
    other.reconcile(&target).await;
    let outcome = other.app("other", &[]).interrupted(&target, &rules).await;
    assert_eq!(outcome.apps[&app("other")].reason, EntryReason::Denied, "{outcome:#?}");
    assert!(target.objects().contains_key(&config_map_key("c")));
}

#[tokio::test]
async fn what_was_gone_already_is_not_counted() {
    let target = MemoryTarget::new("t");
    Wish::none().app("web", &[config_map("a", "1"), config_map("b", "1")]).reconcile(&target).await;
    target.remove(&config_map_key("a"));
    let rules = Ruled::by("maxRemovals: 2");
    Wish::none().leaving("web", OnRemove::Delete).interrupted(&target, &rules).await;
    let other = Wish::none().app("other", &[config_map("c", "1")]);
    other.reconcile(&target).await;
    other.app("other", &[]).interrupted(&target, &rules).await;
    assert!(target.objects().is_empty());
}

#[tokio::test]
async fn nothing_is_removed_that_an_app_may_want_which_defines_an_object_twice() {
    let target = MemoryTarget::new("t");
    Wish::none().app("old", &[config_map("web-fra-1", "1")]).reconcile(&target).await;
    let twice = [config_map("web-${cluster.name}", "1"), config_map("web-fra-1", "2")];
    let wish = Wish::none().app("web", &twice).leaving("old", OnRemove::Delete).change("web", |entry| {
        entry.options.substitute = true;
        entry.values = [("cluster.name".to_owned(), json!("fra-1"))].into();
    });
    let outcome = wish.reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert!(web.message.contains("is defined twice"), "{web:?}");
    assert!(target.objects().contains_key(&config_map_key("web-fra-1")), "{outcome:#?}");
}

#[tokio::test]
async fn making_anew_is_a_removal_too() {
    for (most, state) in [(1, EntryState::Healthy), (0, EntryState::Failed)] {
        let target = MemoryTarget::new("t");
        let wish = |value| {
            Wish::none()
                .app("web", &[config_map("a", value)])
                .change("web", |entry| entry.options.treatment.on_immutable = OnImmutable::Recreate)
        };
        wish("1").reconcile(&target).await;
        target.fix(&config_map_key("a"), "/data/value");
        let rules = Ruled::by(&format!("maxRemovals: {most}"));
        let outcome = wish("2").interrupted(&target, &rules).await;
        let web = &outcome.apps[&app("web")];
        assert_eq!(web.state, state, "{web:#?}");
        assert_eq!(
            target.objects()[&config_map_key("a")].live,
            config_map("a", if most > 0 { "2" } else { "1" })
        );
        let deleted = target.events().contains(&Event::Deleted(app("web"), config_map_key("a")));
        assert_eq!(deleted, most > 0);
    }
}

#[tokio::test]
async fn what_is_still_on_its_way_out_is_made_anew_once_it_is_gone() {
    let target = MemoryTarget::new("t");
    let wish = |value| {
        Wish::none()
            .app("web", &[config_map("a", value)])
            .change("web", |entry| entry.options.treatment.on_immutable = OnImmutable::Recreate)
    };
    wish("1").reconcile(&target).await;
    target.fix(&config_map_key("a"), "/data/value");
    target.finalize(&config_map_key("a"), true);
    let outcome = wish("2").reconcile(&target).await;
    let web = &outcome.apps[&app("web")];
    assert_eq!((web.state, web.reason), (EntryState::Progressing, EntryReason::Terminating), "{web:#?}");
    target.finalize(&config_map_key("a"), false);
    wish("2").reconcile(&target).await;
    assert_eq!(target.objects()[&config_map_key("a")].live, config_map("a", "2"));
}

#[tokio::test]
async fn an_object_that_the_policy_denies_does_not_keep_its_app_here() {
    let (secret, _) = object("v1", "Secret", "s");
    let target = MemoryTarget::new("t");
    let rules = Ruled::by("deny: {kinds: [Secret]}");
    let wish = Wish::none().app("web", &[config_map("a", "1"), secret]);
    let web = wish.interrupted(&target, &rules).await.apps.remove(&app("web")).expect("reported");
    assert_eq!((web.reason, web.version), (EntryReason::Denied, None), "not all of it was applied");
    let outcome = Wish::none().leaving("web", OnRemove::Delete).interrupted(&target, &rules).await;
    assert_eq!(outcome.left, [app("web")].into(), "{outcome:#?}");
    assert!(target.objects().is_empty());
}
