//! Changes: fields that are not as they are wanted, one by one, for a person.
//!
//! In: two forms of one object. Out: [`FieldChange`]s, in few words.
//! Never: shows what a Secret holds, or decides whether a change is allowed.

use nave_placement::render::is_secret;
use serde_json::{Map, Value};

/// Most fields that a sentence names.
const NAMED: usize = 5;
/// A longer value is cut in a sentence.
const SHOWN: usize = 60;
/// What stands for a value that nobody may see.
const HIDDEN: &str = "<changed>";

/// One field of a live object that is not as it is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldChange {
    /// JSON pointer (RFC 6901).
    pub path: String,
    /// What is there; `None` when nothing is.
    pub live: Option<Value>,
    /// What is wanted; `None` when nothing is.
    pub wanted: Option<Value>,
    /// Who owns the field now, as the cluster's books say; empty when they do not.
    pub manager: String,
}

/// Every field in which `wanted` differs from `live`; a list of another length is one field.
pub fn changes(live: &Value, wanted: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    walk(&mut String::new(), Some(live), Some(wanted), &mut found);
    found
}

fn walk(path: &mut String, live: Option<&Value>, wanted: Option<&Value>, found: &mut Vec<FieldChange>) {
    match (live, wanted) {
        (live, wanted) if live == wanted => {}
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            for name in a.keys().chain(b.keys().filter(|name| !a.contains_key(*name))) {
                below(path, name, |path| walk(path, a.get(name), b.get(name), found));
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                below(path, &at.to_string(), |path| walk(path, Some(a), Some(b), found));
            }
        }
        (live, wanted) => found.push(FieldChange {
            path: path.clone(),
            live: live.cloned(),
            wanted: wanted.cloned(),
            manager: String::new(),
        }),
    }
}

fn below(path: &mut String, step: &str, f: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&step.replace('~', "~0").replace('/', "~1"));
    f(path);
    path.truncate(length);
}

/// The steps of a JSON pointer.
pub fn steps(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// Takes fields out of an object; what is not there stays out.
pub fn without(object: &Value, pointers: &[String]) -> Value {
    let mut object = object.clone();
    // Later items of a list first, so that the places of the others stay what they are.
    let mut sorted: Vec<_> = pointers.iter().map(|pointer| steps(pointer)).collect();
    sorted.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| numbered(b).cmp(&numbered(a))));
    for mut steps in sorted {
        let Some(last) = steps.pop() else { continue };
        let parent = steps.iter().try_fold(&mut object, |value, step| match value {
            Value::Object(fields) => fields.get_mut(step),
            Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
            _ => None,
        });
        match parent {
            Some(Value::Object(fields)) => drop(fields.remove(&last)),
            Some(Value::Array(items)) => {
                if let Some(at) = last.parse::<usize>().ok().filter(|at| *at < items.len()) {
                    items.remove(at);
                }
            }
            _ => {}
        }
    }
    object
}

fn numbered(steps: &[String]) -> Vec<(usize, &str)> {
    steps.iter().map(|step| (step.parse().unwrap_or_default(), step.as_str())).collect()
}

/// Hides the values of a Secret, and of whatever else was encrypted in Git. Names stay: they are in the catalog too.
pub fn hide(wanted: &Value, mut changes: Vec<FieldChange>) -> Vec<FieldChange> {
    if is_secret(wanted) {
        for change in &mut changes {
            for value in [&mut change.live, &mut change.wanted].into_iter().flatten() {
                *value = HIDDEN.into();
            }
        }
    }
    changes
}

/// The changes as a sentence, with who made them: `/spec/replicas is 5, not 2 (by "kubectl-edit")`.
pub fn told(changes: &[FieldChange]) -> String {
    let mut parts: Vec<String> = changes.iter().take(NAMED).map(one).collect();
    if changes.len() > NAMED {
        parts.push(format!("and {} more fields", changes.len() - NAMED));
    }
    parts.join("; ")
}

fn one(change: &FieldChange) -> String {
    let what = match (&change.live, &change.wanted) {
        (Some(live), Some(wanted)) if live == wanted && wanted == HIDDEN => "has another value".to_owned(),
        (Some(live), Some(wanted)) if live == wanted => format!("is {}, and no longer ours", short(live)),
        (Some(live), Some(wanted)) => format!("is {}, not {}", short(live), short(wanted)),
        (None, Some(wanted)) => format!("is missing, not {}", short(wanted)),
        (Some(live), None) => format!("is {}, and not wanted", short(live)),
        (None, None) => "is changed".to_owned(),
    };
    let by = if change.manager.is_empty() { String::new() } else { format!(" (by {:?})", change.manager) };
    format!("{} {what}{by}", change.path)
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= SHOWN { text } else { text.chars().take(SHOWN).chain("…".chars()).collect() }
}

/// The scalars (and empty or listed values) of an object by pointer: the smallest fields that one can own.
pub fn leaves(object: &Value) -> Map<String, Value> {
    let mut found = Map::new();
    fn walk(path: &mut String, value: &Value, found: &mut Map<String, Value>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    below(path, name, |path| walk(path, value, found));
                }
            }
            value => drop(found.insert(path.clone(), value.clone())),
        }
    }
    walk(&mut String::new(), object, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_told_with_what_is_there_what_is_wanted_and_who_did_it() {
        let live = json!({"a": 1, "b": {"c/d": "x"}, "list": [1, 2], "same": true, "theirs": 1});
        let wanted = json!({"a": 2, "b": {"c/d": "y"}, "list": [1], "same": true, "more": {}});
        let mut found = changes(&live, &wanted);
        found[0].manager = "kubectl-edit".into();
        let lines = [
            r#"/a is 1, not 2 (by "kubectl-edit")"#,
            r#"/b/c~1d is "x", not "y""#,
            "/list is [1,2], not [1]",
            "/theirs is 1, and not wanted",
            "/more is missing, not {}",
        ];
        assert_eq!(told(&found), lines.join("; "));
    }

    #[test]
    fn what_a_secret_holds_is_not_shown() {
        let wanted = |kind: &str, annotations: Value| json!({"apiVersion": "v1", "kind": kind, "metadata": {"annotations": annotations}});
        let rows = [
            (wanted("Secret", json!({})), "/spec/a has another value"),
            (wanted("ConfigMap", json!({"nave.dev/secret": "true"})), "/spec/a has another value"),
            (wanted("ConfigMap", json!({})), "/spec/a is 17, not 42"),
        ];
        for (wanted, expected) in rows {
            let found = changes(&json!({"spec": {"a": 17}}), &json!({"spec": {"a": 42}}));
            assert_eq!(told(&hide(&wanted, found)), expected, "{wanted}");
        }
    }

    #[test]
    fn fields_are_taken_out_wherever_they_stand() {
        let object = json!({"spec": {"replicas": 1, "list": [{"a": 1, "b": 2}, 2, 3]}});
        let rows: [(&[&str], Value); 4] = [
            (&["/spec/replicas"], json!({"spec": {"list": [{"a": 1, "b": 2}, 2, 3]}})),
            (
                &["/spec/list/0/a", "/spec/none", "/x/y"],
                json!({"spec": {"replicas": 1, "list": [{"b": 2}, 2, 3]}}),
            ),
            (&["/spec/list/0", "/spec/list/1"], json!({"spec": {"replicas": 1, "list": [3]}})),
            (&["/spec/list", "/spec/list/1"], json!({"spec": {"replicas": 1}})),
        ];
        for (pointers, expected) in rows {
            let pointers: Vec<_> = pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
            assert_eq!(without(&object, &pointers), expected, "{pointers:?}");
        }
    }
}
