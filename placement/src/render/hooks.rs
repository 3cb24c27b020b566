//! Hooks: objects that have their turn before or after all others, as charts of Helm say it.
//!
//! In: an object. Out: when it has its turn, or what else becomes of it. Any source may use the annotations, not charts alone.
//! Never: drops one that has no turn here without telling its name.

use serde_json::Value;

/// Says when an object has its turn, a list of words.
const HOOK: &str = "helm.sh/hook";
/// Says which of a time come first: the lowest number.
const WEIGHT: &str = "helm.sh/hook-weight";

/// On which side of all other objects a hook has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Before them; only namespaces and definitions of kinds are there.
    Before,
    /// Once they were written.
    After,
}

/// When a hook has its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// When the app is installed.
    install: Option<Side>,
    /// When it gets another version.
    upgrade: Option<Side>,
    /// Lower ones come first.
    pub weight: i64,
    /// It is a job or a pod: it runs once for each version, and what comes after it waits until it has succeeded.
    pub runs: bool,
}

impl Timing {
    /// Of an object; `None` where it is an object like all others.
    pub fn of(object: &Value) -> Option<Self> {
        let times = times(object)?;
        let side = |before: &str, after: &str| {
            let has = |time: &str| times.contains(&time);
            if has(before) { Some(Side::Before) } else { has(after).then_some(Side::After) }
        };
        let (install, upgrade) = (side("pre-install", "post-install"), side("pre-upgrade", "post-upgrade"));
        install.or(upgrade)?;
        // As Helm reads it: what is no number is none.
        let weight = annotation(object, WEIGHT).and_then(|weight| weight.trim().parse().ok()).unwrap_or(0);
        Some(Self { install, upgrade, weight, runs: runs(object) })
    }

    /// Its side, `None` where it has no turn: in an upgrade, or a first installation.
    pub fn side(&self, is_upgrade: bool) -> Option<Side> {
        match (self.runs, is_upgrade) {
            (true, true) => self.upgrade,
            (true, false) => self.install,
            // What stays is written each time, and earlier rather than later.
            (false, _) => self.install.into_iter().chain(self.upgrade).min(),
        }
    }
}

/// What becomes of a hook in what an engine wrote.
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
    let times = times(object)?;
    if times.iter().all(|time| matches!(*time, "test" | "test-success" | "test-failure")) {
        return Some(Hook::Test);
    }
    if Timing::of(object).is_some() || (times.contains(&"crd-install") && !runs(object)) {
        return Some(Hook::Object);
    }
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    Some(Hook::Left(format!(
        "hook {} {} ({}) is left out: Nave runs hooks before and after an installation or an upgrade, and none when something is deleted or goes back; switch it off in the chart's values if it is not wanted, or run it by hand",
        text("/kind"),
        text("/metadata/name"),
        times.join(", ")
    )))
}

fn times(object: &Value) -> Option<Vec<&str>> {
    Some(annotation(object, HOOK)?.split(',').map(str::trim).collect())
}

fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// Whether an object is something that runs to its end.
fn runs(object: &Value) -> bool {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let api = text("/apiVersion");
    matches!(
        (api.split_once('/').map_or("", |(group, _)| group), text("/kind")),
        ("", "Pod") | ("batch", "Job")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, hook_at: Option<&str>, weight: Option<&str>) -> Value {
        let api = if kind == "Job" { "batch/v1" } else { "v1" };
        let annotations = json!({HOOK: hook_at, WEIGHT: weight});
        json!({"apiVersion": api, "kind": kind, "metadata": {"name": "x", "annotations": annotations}})
    }

    #[test]
    fn hooks_around_an_upgrade_are_objects_tests_are_none_and_others_are_told() {
        // (kind, hook, what becomes of it)
        let rows = [
            ("Job", None, "none"),
            ("Job", Some("test"), "test"),
            ("Pod", Some("test-success,test-failure"), "test"),
            ("Job", Some("pre-install,pre-upgrade"), "object"),
            ("Pod", Some("test,post-install"), "object"),
            ("ConfigMap", Some("pre-install, pre-delete"), "object"),
            ("ConfigMap", Some("crd-install"), "object"),
            ("ConfigMap", Some("pre-delete"), "left"),
            ("Job", Some("pre-rollback,post-delete"), "left"),
        ];
        for (kind, hook_at, expected) in rows {
            let became = match hook(&object(kind, hook_at, None)) {
                None => "none",
                Some(Hook::Object) => "object",
                Some(Hook::Test) => "test",
                Some(Hook::Left(told)) => {
                    let named = hook_at.unwrap_or_default().replace(',', ", ");
                    assert!(told.starts_with(&format!("hook {kind} x ({named}) is left out")), "{told}");
                    "left"
                }
            };
            assert_eq!(became, expected, "{kind} {hook_at:?}");
        }
    }

    #[test]
    fn what_runs_does_at_its_times_and_what_stays_is_always_there() {
        use Side::{After, Before};
        // (kind, hook, side at an installation, at an upgrade)
        let rows = [
            ("Job", "pre-install", Some(Before), None),
            ("Job", "post-upgrade", None, Some(After)),
            ("Job", "post-install,pre-upgrade", Some(After), Some(Before)),
            ("Pod", "pre-install,post-install", Some(Before), None),
            ("Secret", "pre-install", Some(Before), Some(Before)),
            ("Secret", "post-install,pre-upgrade", Some(Before), Some(Before)),
            ("Secret", "post-upgrade", Some(After), Some(After)),
        ];
        for (kind, hook_at, install, upgrade) in rows {
            let timing = Timing::of(&object(kind, Some(hook_at), None)).expect(hook_at);
            assert_eq!((timing.side(false), timing.side(true)), (install, upgrade), "{kind} {hook_at}");
            assert_eq!(timing.runs, kind != "Secret");
        }
        for (weight, expected) in [(None, 0), (Some("-5"), -5), (Some("soon"), 0)] {
            assert_eq!(
                Timing::of(&object("Job", Some("pre-install"), weight)).expect("a hook").weight,
                expected
            );
        }
        assert_eq!(Timing::of(&object("Job", Some("pre-delete"), None)), None);
        let widget = json!({"apiVersion": "example.com/v1", "kind": "Job", "metadata": {"annotations": {HOOK: "pre-install"}}});
        assert!(!Timing::of(&widget).expect("a hook").runs, "a kind of another group is no job");
    }
}
