//! Hooks: what runs before and after a change, once for each version, and what waits for it.

use nave_placement::ObjectKey;
use nave_placement::catalog::{Adopt, Drift};
use nave_placement::report::{EntryReason, EntryReport, EntryState};
use serde_json::{Value, json};

use crate::target::memory::{Event, MemoryTarget};
use crate::target::{Health, HealthState};
use crate::testing::{After, Wish, app, config_map, config_map_key};

fn hook(kind: &str, name: &str, times: &str, weight: i64) -> Value {
    let api = if kind == "Job" { "batch/v1" } else { "v1" };
    let annotations = json!({"helm.sh/hook": times, "helm.sh/hook-weight": weight.to_string()});
    json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": "default", "annotations": annotations}})
}

fn job(name: &str) -> ObjectKey {
    let (group, kind) = ("batch".to_owned(), "Job".to_owned());
    ObjectKey { group, kind, namespace: "default".to_owned(), name: name.to_owned() }
}

/// An app with hooks on both sides, whose content is a value.
fn wish(value: &str) -> Wish {
    Wish::none().app("web", &objects(value))
}

fn objects(value: &str) -> [Value; 5] {
    [
        hook("ConfigMap", "settings", "pre-install,pre-upgrade", -5),
        hook("Job", "first", "pre-install", 0),
        hook("Job", "migrate", "pre-install,pre-upgrade", 1),
        config_map("a", value),
        hook("Job", "tell", "post-install,post-upgrade", 0),
    ]
}

fn failed() -> Health {
    let (reason, message) = ("BackoffLimitExceeded".to_owned(), "it failed".to_owned());
    Health { state: HealthState::Degraded, reason, message }
}

fn names(target: &MemoryTarget) -> Vec<String> {
    target.objects().into_keys().map(|key| key.name).collect()
}

async fn round(wish: &Wish, target: &MemoryTarget) -> EntryReport {
    wish.reconcile(target).await.apps[&app("web")].clone()
}

/// How often each hook was made.
fn made(target: &MemoryTarget) -> Vec<usize> {
    let made = |name: &str| {
        let created = |event: &&Event| matches!(event, Event::Created(_, key) if *key == job(name));
        target.events().iter().filter(created).count()
    };
    ["first", "migrate", "tell"].map(made).to_vec()
}

#[tokio::test]
async fn what_comes_after_a_hook_waits_until_it_has_succeeded() {
    let target = MemoryTarget::new("t");
    target.run_hooks();
    let wish = wish("1");
    let version = wish.entries[&app("web")].as_ref().map(|entry| entry.version).ok();
    let web = round(&wish, &target).await;
    assert_eq!(names(&target), ["settings", "first"]);
    assert_eq!(
        (web.state, web.reason, web.version),
        (EntryState::Progressing, EntryReason::ObjectUnhealthy, None)
    );
    let told = "hook Job.batch default/first: Starts: it starts now; what comes after it waits";
    assert!(web.message.starts_with(told), "{}", web.message);
    let web = round(&wish, &target).await;
    assert!(
        web.message.contains("Running: 0 of 1 completions; what comes after it waits"),
        "{}",
        web.message
    );
    target.set_health(&job("first"), Health::healthy());
    round(&wish, &target).await;
    assert_eq!(names(&target), ["settings", "first", "migrate"]);
    target.set_health(&job("migrate"), failed());
    let web = round(&wish, &target).await;
    assert_eq!((web.state, web.version), (EntryState::Degraded, None));
    assert!(
        web.message.contains("hook Job.batch default/migrate: BackoffLimitExceeded: it failed"),
        "{}",
        web.message
    );
    assert_eq!(names(&target), ["settings", "first", "migrate"], "nothing goes on after a failure");
    target.set_health(&job("migrate"), Health::healthy());
    let web = round(&wish, &target).await;
    assert_eq!(names(&target), ["a", "settings", "first", "migrate", "tell"]);
    assert_eq!(web.version, None, "the last has not run yet");
    target.set_health(&job("tell"), Health::healthy());
    let web = round(&wish, &target).await;
    assert_eq!((web.state, web.version, web.healthy), (EntryState::Healthy, version, 5));
    assert_eq!(made(&target), [1, 1, 1]);
}

#[tokio::test]
async fn a_version_that_is_complete_runs_nothing_again_whatever_becomes_of_its_hooks() {
    for drift in [Drift::Correct, Drift::Report] {
        let target = MemoryTarget::new("t");
        let wish = wish("1").change("web", |entry| entry.options.treatment.drift = drift);
        let web = round(&wish, &target).await;
        assert_eq!(web.state, EntryState::Healthy, "what is there at once holds nothing back: {web:#?}");
        target.run_hooks();
        target.remove(&job("migrate"));
        target.set_health(&job("tell"), failed());
        target.edit(&config_map_key("a"), config_map("a", "by hand"));
        let web = round(&wish, &target).await;
        let corrected = u64::from(drift == Drift::Correct);
        assert_eq!(
            (web.state, web.corrected, web.drifted),
            (EntryState::Healthy, corrected, 1 - corrected as u32)
        );
        assert_eq!(made(&target), [1, 1, 1]);
    }
}

#[tokio::test]
async fn an_upgrade_makes_its_hooks_anew_and_leaves_those_of_an_installation() {
    let target = MemoryTarget::new("t");
    round(&wish("1"), &target).await;
    target.run_hooks();
    let web = round(&wish("2"), &target).await;
    assert_eq!((web.state, made(&target)), (EntryState::Progressing, vec![1, 2, 1]));
    assert_eq!(target.objects()[&config_map_key("a")].live, config_map("a", "1"), "it waits");
    // The newer version meets the older one's run, which is under way.
    round(&wish("3"), &target).await;
    assert_eq!(made(&target), [1, 3, 1]);
    target.set_health(&job("migrate"), Health::healthy());
    round(&wish("3"), &target).await;
    assert_eq!(target.objects()[&config_map_key("a")].live, config_map("a", "3"));
    target.set_health(&job("tell"), Health::healthy());
    let web = round(&wish("3"), &target).await;
    assert_eq!((web.state, made(&target)), (EntryState::Healthy, vec![1, 3, 2]));
}

#[tokio::test]
async fn a_lost_inventory_or_a_new_name_makes_no_installation_of_an_upgrade() {
    let target = MemoryTarget::new("t");
    round(&wish("1"), &target).await;
    target.run_hooks();
    target.lose_inventory(&app("web"));
    round(&wish("2"), &target).await;
    assert_eq!(made(&target), [1, 2, 1], "rebuilt from what is there");
    let target = MemoryTarget::new("t");
    round(&wish("1"), &target).await;
    target.run_hooks();
    let objects = [hook("Job", "seed", "pre-install", 0), config_map("b", "1")];
    let renamed = Wish::none()
        .app("shop", &objects)
        .change("shop", |entry| entry.options.formerly = [app("web")].into());
    let outcome = renamed.reconcile(&target).await;
    let shop = &outcome.apps[&app("shop")];
    assert_eq!(shop.state, EntryState::Healthy, "{shop:#?}");
    assert!(!target.objects().contains_key(&job("seed")));
}

#[tokio::test]
async fn a_hook_is_not_begun_after_something_before_it_failed() {
    let target = MemoryTarget::new("t");
    target.refuse(&config_map_key("settings"), Some("no"));
    let web = round(&wish("1"), &target).await;
    assert_eq!((web.state, names(&target)), (EntryState::Failed, Vec::new()));
    target.refuse(&config_map_key("settings"), None);
    target.refuse(&config_map_key("a"), Some("no"));
    round(&wish("1"), &target).await;
    assert_eq!(names(&target), ["settings", "first", "migrate"]);
}

#[tokio::test]
async fn broken_off_at_any_write_each_hook_runs_once() {
    for writes in 0..12 {
        let target = MemoryTarget::new("t");
        round(&wish("1"), &target).await;
        target.run_hooks();
        wish("2").interrupted(&target, &After::writes(writes)).await;
        for _ in 0..3 {
            round(&wish("2"), &target).await;
            for hook in ["migrate", "tell"] {
                target.set_health(&job(hook), Health::healthy());
            }
        }
        let web = round(&wish("2"), &target).await;
        assert_eq!((web.state, made(&target)), (EntryState::Healthy, vec![1, 2, 2]), "{writes}");
        assert_eq!(target.objects()[&config_map_key("a")].live, config_map("a", "2"), "{writes}");
    }
}

#[tokio::test]
async fn a_renamed_app_takes_its_hooks_over_and_runs_none_again() {
    let target = MemoryTarget::new("t");
    round(&wish("1"), &target).await;
    target.run_hooks();
    // An installation's job that is gone by then is not missed.
    target.remove(&job("first"));
    let renamed = objects("1");
    let renamed = Wish::none()
        .app("shop", &renamed)
        .change("shop", |entry| entry.options.formerly = [app("web")].into());
    renamed.reconcile(&target).await;
    let outcome = renamed.reconcile(&target).await;
    let shop = &outcome.apps[&app("shop")];
    assert_eq!((shop.state, made(&target)), (EntryState::Healthy, vec![1, 1, 1]), "{shop:#?}");
    assert_eq!(target.stored().into_keys().collect::<Vec<_>>(), [app("shop")]);
}

#[tokio::test]
async fn a_hook_that_has_succeeded_or_was_touched_is_not_begun_again_before_its_version_is_complete() {
    let target = MemoryTarget::new("t");
    target.run_hooks();
    round(&wish("1"), &target).await;
    target.set_health(&job("first"), Health::healthy());
    round(&wish("1"), &target).await;
    target.remove(&job("first"));
    let mut live = target.objects()[&job("migrate")].live.clone();
    live["metadata"]["annotations"]["helm.sh/hook-weight"] = "7".into();
    target.edit_as("kubectl-edit", &job("migrate"), live);
    let web = round(&wish("1"), &target).await;
    assert!(web.message.contains("default/migrate: Running"), "{}", web.message);
    assert_eq!(made(&target), [1, 1, 0]);
}

#[tokio::test]
async fn what_returns_to_an_earlier_version_runs_no_hook() {
    let target = MemoryTarget::new("t");
    round(&wish("1"), &target).await;
    target.run_hooks();
    round(&wish("2"), &target).await;
    target.set_health(&job("migrate"), failed());
    round(&wish("2"), &target).await;
    let back = wish("1").change("web", |entry| entry.at_once = true);
    let web = round(&back, &target).await;
    assert_eq!((web.state, made(&target)), (EntryState::Healthy, vec![1, 2, 1]));
    assert_eq!(target.objects()[&job("migrate")].health, failed(), "what it says stays to be read");
    assert_eq!(target.objects()[&config_map_key("a")].live, config_map("a", "1"));
}

#[tokio::test]
async fn nothing_runs_while_it_is_not_known_what_was_here_or_as_if_nothing_had_been() {
    let target = MemoryTarget::new("t");
    round(&wish("1"), &target).await;
    target.run_hooks();
    target.lose_inventory(&app("web"));
    target.set_unlisted(&config_map_key("a"), true);
    let web = round(&wish("2"), &target).await;
    assert!(web.message.contains("it is not known yet what was here before"), "{}", web.message);
    assert_eq!(made(&target), [1, 1, 1]);

    let target = MemoryTarget::new("t");
    target.edit_as("Helm release web", &config_map_key("a"), config_map("a", "1"));
    let adopted = wish("1").change("web", |entry| entry.options.treatment.adopt = Adopt::Always);
    for _ in 0..2 {
        round(&adopted, &target).await;
    }
    assert_eq!(made(&target), [0, 1, 1], "what somebody else installed is upgraded");
}
