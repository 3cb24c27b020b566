//! Hooks of charts: objects that Helm applies at a time of their own.
//!
//! In: an object. Out: what becomes of it. The spoke knows an order of kinds and no times, so what a hook only means to be
//! earlier or later is an object like all others.
//! Never: runs a job or a pod that is meant to run at each upgrade; that is told by name.

use serde_json::Value;

/// Says when an object is applied, a list of words.
const HOOK: &str = "helm.sh/hook";
/// Says when it is deleted again, a list of words.
const DELETED: &str = "helm.sh/hook-delete-policy";

/// What becomes of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// It is an object of the app.
    Object,
    /// It is a test, which is run by hand, and no part of the app.
    Test,
    /// It is left out, with this to tell.
    Left(String),
}

/// What becomes of an object that is a hook; `None` if it is none.
pub(super) fn hook(object: &Value) -> Option<Hook> {
    let annotation =
        |name: &str| object.pointer("/metadata/annotations").and_then(|all| all.get(name)?.as_str());
    let times: Vec<&str> = annotation(HOOK)?.split(',').map(str::trim).collect();
    if times.iter().all(|time| matches!(*time, "test" | "test-success" | "test-failure")) {
        return Some(Hook::Test);
    }
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let runs = matches!(kind, "Job" | "Pod");
    let comes = times.iter().any(|time| {
        matches!(*time, "pre-install" | "post-install" | "pre-upgrade" | "post-upgrade" | "crd-install")
    });
    let passes = annotation(DELETED).is_some_and(|policy| policy.contains("hook-succeeded"));
    if comes && !runs && !passes {
        return Some(Hook::Object);
    }
    let why = if runs { "is not run" } else { "is left out" };
    Some(Hook::Left(format!(
        "hook {kind} {name} ({}) {why}: Nave applies what a chart wants there, and has no steps before or after; switch it off in the chart's values if it is not wanted, or run it by hand",
        times.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_runs_or_passes_is_left_out_and_told_and_what_stays_is_an_object() {
        // (kind, hook, deleted, what becomes of it)
        let rows = [
            ("Job", None, None, "none"),
            ("Job", Some("test"), None, "test"),
            ("Pod", Some("test-success,test-failure"), None, "test"),
            ("Job", Some("pre-install,pre-upgrade"), None, "left"),
            ("Pod", Some("test,post-install"), None, "left"),
            ("ConfigMap", Some("pre-install"), None, "object"),
            ("ConfigMap", Some("pre-install, pre-upgrade"), Some("before-hook-creation"), "object"),
            ("ServiceAccount", Some("pre-install"), Some("before-hook-creation,hook-succeeded"), "left"),
            ("ConfigMap", Some("pre-delete"), None, "left"),
        ];
        for (kind, hook_at, deleted, expected) in rows {
            let annotations = json!({HOOK: hook_at, DELETED: deleted});
            let object = json!({"kind": kind, "metadata": {"name": "x", "annotations": annotations}});
            let became = match hook(&object) {
                None => "none",
                Some(Hook::Object) => "object",
                Some(Hook::Test) => "test",
                Some(Hook::Left(_)) => "left",
            };
            assert_eq!(became, expected, "{kind} {hook_at:?} {deleted:?}");
        }
    }
}
