//! What time and rules make of an object: settling, patience, and the app's own word.

use std::time::Duration;

use jiff::Timestamp;
use nave_placement::catalog::{HealthRule, ObjectTarget};
use serde_json::{Value, json};

use super::super::{Given, Rules};
use super::{check, conditions, judged, object};

fn now() -> Timestamp {
    "2026-01-01T00:10:00Z".parse().expect("a time")
}

#[test]
fn a_custom_resource_without_a_generation_settles_before_it_is_believed() {
    let ready = || json!({"conditions": conditions(&[("Ready", "True", "", "")])});
    let since = |ms: u64| Given { applied: Some(Duration::from_millis(ms)), ..Given::default() };
    let widget = |status: Value| object("example.com/v1", "Widget", json!({}), status);
    let settling = "Progressing Settling: its status names no generation; it is believed";
    judged("at once", &widget(ready()), &since(0), &format!("{settling} 5 s from now"));
    judged("late", &widget(ready()), &since(4_001), &format!("{settling} 1 s from now"));
    judged("after it", &widget(ready()), &since(5_000), "Healthy");
    judged("long ago", &widget(ready()), &Given::default(), "Healthy");
    judged("no conditions", &widget(json!({"phase": "x"})), &since(0), "Healthy");
    let mut observed = ready();
    observed["observedGeneration"] = json!(2);
    judged("of this generation", &widget(observed), &since(0), "Healthy");
    let each = json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]});
    judged("of this generation", &widget(each), &since(0), "Healthy");
    let failed = json!({"conditions": conditions(&[("Stalled", "True", "No", "never")])});
    judged("failed", &widget(failed), &since(0), "Degraded No: never");
    let pod = object(
        "v1",
        "Pod",
        json!({}),
        json!({"phase": "Running", "conditions": conditions(&[("Ready", "True", "", "")])}),
    );
    judged("no custom resource", &pod, &since(0), "Healthy");
    let service = object(
        "apiregistration.k8s.io/v1",
        "APIService",
        json!({}),
        json!({"conditions": conditions(&[("Available", "True", "", "")])}),
    );
    judged("no custom resource", &service, &since(0), "Healthy");
}

#[test]
fn what_lasts_is_a_failure() {
    let later = Given { now: Some(now()), ..Given::default() };
    let unschedulable = json!({"phase": "Pending", "conditions": conditions(&[("PodScheduled", "False", "Unschedulable", "0/1 nodes are available: 1 Insufficient cpu. preemption: not helpful")])});
    let mut pod = object("v1", "Pod", json!({}), unschedulable);
    let why = "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.";
    check("without the time", pod.clone(), &format!("Progressing {why}"));
    pod["metadata"]["creationTimestamp"] = json!("2026-01-01T00:09:50Z");
    judged("ten seconds old", &pod, &later, &format!("Progressing {why}"));
    pod["metadata"]["creationTimestamp"] = json!("2026-01-01T00:09:40Z");
    judged("twenty seconds old", &pod, &later, &format!("Degraded {why}"));

    let mut secret = object(
        "external-secrets.io/v1",
        "ExternalSecret",
        json!({}),
        json!({"conditions": [{"type": "Ready", "status": "False", "reason": "SecretSyncedError"}]}),
    );
    judged("undated", &secret, &later, "Degraded SecretSyncedError: Ready is False");
    secret["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:09:30Z");
    judged("a first attempt", &secret, &later, "Progressing SecretSyncedError: Ready is False");
    secret["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:08:30Z");
    judged("many attempts", &secret, &later, "Degraded SecretSyncedError: Ready is False");
}

fn rules(kind: &str, healthy: Option<&str>, failed: Option<&str>) -> Rules {
    let target = ObjectTarget { kind: Some(kind.to_owned()), ..ObjectTarget::default() };
    Rules::read(&[HealthRule {
        target,
        healthy: healthy.map(str::to_owned),
        failed: failed.map(str::to_owned),
    }])
}

#[test]
fn a_rule_of_the_app_decides_alone() {
    let healthy = Some("object.status.phase == 'Ready'");
    let failed = Some("has(object.status.phase) && object.status.phase == 'Broken'");
    let both = rules("Database", healthy, failed);
    let rows = [
        (json!({"phase": "Ready", "conditions": conditions(&[("Ready", "False", "No", "")])}), "Healthy"),
        (
            json!({"phase": "Starting"}),
            "Progressing RuleNotMet: healthy is not true yet: object.status.phase == 'Ready'",
        ),
        (
            json!({"phase": "Broken"}),
            "Degraded RuleFailed: failed is true: has(object.status.phase) && object.status.phase == 'Broken'",
        ),
        (
            json!({}),
            "Progressing RuleUndecided: healthy: there is no field phase; ask has(…) first where it may be absent",
        ),
    ];
    let given = |rules| Given { rules: Some(rules), ..Given::default() };
    for (status, expected) in rows {
        judged("Database", &object("example.com/v1", "Database", json!({}), status), &given(&both), expected);
    }
    let not_ready = || json!({"conditions": conditions(&[("Ready", "False", "No", "not yet")])});
    let other = object("example.com/v1", "Widget", json!({}), not_ready());
    judged("another kind", &other, &given(&both), "Progressing No: not yet");
    let only_failed = rules("Widget", None, Some("object.status.conditions.exists(c, c.reason == 'Never')"));
    judged("only what failure is", &other, &given(&only_failed), "Progressing No: not yet");
    let undecided = rules("Widget", Some("true"), Some("object.nothing"));
    judged(
        "never healthy",
        &other,
        &given(&undecided),
        "Progressing RuleUndecided: failed: there is no field nothing; ask has(…) first where it may be absent",
    );
    let unreadable = rules("Widget", Some("objekt"), None);
    judged(
        "of another version",
        &other,
        &given(&unreadable),
        "Progressing RuleUndecided: healthy: objekt is no known variable; did you mean object?; valid is object",
    );
    let mut dying = object("example.com/v1", "Database", json!({}), json!({"phase": "Ready"}));
    dying["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    judged("being deleted", &dying, &given(&both), "Progressing Terminating: it is being deleted");
}
