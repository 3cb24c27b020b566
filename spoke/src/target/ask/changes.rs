//! Changes: what leads from a live object to the wanted one, field by field, and who owns what is touched.
//!
//! In: both objects as the cluster would have them. Out: [`Change`]s, which are the operations of a JSON patch (RFC 6902).
//! Never: compares what the server counts or a controller says (`status`), shows a Secret's value.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::CHANGED;
use super::redact::{LAST_APPLIED, hide_within, is_secret, may_show};

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The field is not there, and shall be.
    Add,
    /// It is there, and shall not be.
    Remove,
    /// It is there with another value.
    Replace,
}

/// A field that is not as wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What puts it right.
    pub op: Operation,
    /// JSON pointer, at the moment at which the changes before this one are made.
    pub path: String,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<Value>,
    /// What shall be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Value>,
    /// The field manager that owns the live field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

impl Change {
    /// As an operation of a JSON patch.
    pub fn to_patch(&self) -> Value {
        let mut operation = json!({"op": self.op, "path": self.path});
        if let (Some(wanted), Some(fields)) = (&self.wanted, operation.as_object_mut()) {
            fields.insert("value".into(), wanted.clone());
        }
        operation
    }
}

/// What the server fills in and counts.
const COUNTED: &[&str] =
    &["managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink"];

/// What leads from `live` to `wanted`. `bookkeeping` names labels and annotations that are nobody's content.
pub fn changes(live: &Value, wanted: &Value, bookkeeping: &[&str]) -> Vec<Change> {
    let mut walk = Walk { path: String::new(), found: Vec::new() };
    walk.value(&content(live, bookkeeping), &content(wanted, bookkeeping));
    for change in &mut walk.found {
        change.manager = manager_of(live, &change.path).map(str::to_owned);
        if is_secret(live) || is_secret(wanted) {
            hide(change);
        }
    }
    walk.found
}

/// The object as people mean it.
fn content(object: &Value, bookkeeping: &[&str]) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            COUNTED.iter().for_each(|name| drop(metadata.remove(*name)));
            for marks in ["labels", "annotations"] {
                if let Some(Value::Object(map)) = metadata.get_mut(marks) {
                    map.retain(|name, _| name != LAST_APPLIED && !bookkeeping.contains(&name.as_str()));
                    if map.is_empty() {
                        metadata.remove(marks);
                    }
                }
            }
        }
    }
    object
}

/// A Secret's content: that it differs may be told, what it is may not.
fn hide(change: &mut Change) {
    let mut steps = change.path.splitn(4, '/').skip(1);
    let steps = [steps.next(), steps.next(), steps.next()];
    for value in [&mut change.live, &mut change.wanted].into_iter().flatten() {
        match (steps, &mut *value) {
            ([Some("metadata"), Some("annotations"), None], Value::Object(all)) => {
                let hidden = all.iter_mut().filter(|(name, _)| !may_show(name));
                hidden.for_each(|(_, value)| *value = CHANGED.into());
            }
            ([Some("metadata"), Some("annotations"), Some(name)], _)
                if may_show(&name.replace("~1", "/").replace("~0", "~")) => {}
            ([Some("metadata"), Some(field), _], _) if field != "annotations" => {}
            ([Some("type" | "immutable"), ..], _) => {}
            // A change of the whole object has the content within.
            ([None, ..], value) => *value = CHANGED.into(),
            (_, value) => hide_within(value, CHANGED),
        }
    }
}

struct Walk {
    path: String,
    found: Vec<Change>,
}

impl Walk {
    fn note(&mut self, op: Operation, live: Option<&Value>, wanted: Option<&Value>) {
        let (live, wanted) = (live.cloned(), wanted.cloned());
        self.found.push(Change { op, path: self.path.clone(), live, wanted, manager: None });
    }

    fn below(&mut self, step: &str, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        f(self);
        self.path.truncate(length);
    }

    fn value(&mut self, live: &Value, wanted: &Value) {
        match (live, wanted) {
            (live, wanted) if live == wanted => {}
            (Value::Object(live), Value::Object(wanted)) => self.object(live, wanted),
            (Value::Array(live), Value::Array(wanted)) => self.array(live, wanted),
            _ => self.note(Operation::Replace, Some(live), Some(wanted)),
        }
    }

    fn object(&mut self, live: &Map<String, Value>, wanted: &Map<String, Value>) {
        for (name, value) in live {
            self.below(name, |walk| match wanted.get(name) {
                Some(wanted) => walk.value(value, wanted),
                None => walk.note(Operation::Remove, Some(value), None),
            });
        }
        for (name, value) in wanted.iter().filter(|(name, _)| !live.contains_key(*name)) {
            self.below(name, |walk| walk.note(Operation::Add, None, Some(value)));
        }
    }

    /// What both lists begin and end with stays. Between, items are compared in pairs; what is left over is removed from
    /// the end or added to it, so that every index is right when its turn comes.
    fn array(&mut self, live: &[Value], wanted: &[Value]) {
        let common = live.len().min(wanted.len());
        let head = live.iter().zip(wanted).take_while(|(l, w)| l == w).count();
        let tail = live.iter().rev().zip(wanted.iter().rev());
        let tail = tail.take(common - head).take_while(|(l, w)| l == w).count();
        let (live, wanted) = (&live[head..live.len() - tail], &wanted[head..wanted.len() - tail]);
        let pairs = live.len().min(wanted.len());
        for (at, (live, wanted)) in live.iter().zip(wanted).enumerate() {
            self.below(&(head + at).to_string(), |walk| walk.value(live, wanted));
        }
        for (at, item) in live.iter().enumerate().skip(pairs).rev() {
            self.below(&(head + at).to_string(), |walk| walk.note(Operation::Remove, Some(item), None));
        }
        for (at, item) in wanted.iter().enumerate().skip(pairs) {
            self.below(&(head + at).to_string(), |walk| walk.note(Operation::Add, None, Some(item)));
        }
    }
}

/// Our own field manager is named only where nobody else owns the field.
const OURS: &str = "nave";

/// Who owns a field, by the server's books: the last who wrote it, where several do.
pub fn manager_of<'a>(live: &'a Value, pointer: &str) -> Option<&'a str> {
    let text = |entry: &'a Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let owners = entries.iter().filter(|entry| entry.get("fieldsV1").is_some_and(|f| owns(f, live, pointer)));
    let last = owners.max_by_key(|entry| (text(entry, "manager") != OURS, text(entry, "time")))?;
    Some(text(last, "manager")).filter(|name| !name.is_empty())
}

/// Whether a set of owned fields has this one, or a part of it.
fn owns(fields: &Value, live: &Value, pointer: &str) -> bool {
    let (mut node, mut value) = (fields, Some(live));
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let Some(children) = node.as_object() else { return false };
        // A field without children is owned as one piece.
        if children.is_empty() {
            return true;
        }
        let (next, child) = match value {
            Some(Value::Array(items)) => {
                let item = step.parse::<usize>().ok().and_then(|at| items.get(at));
                (item.and_then(|item| entry_of(children, item)), item)
            }
            value => (children.get(&format!("f:{step}")), value.and_then(|value| value.get(&step))),
        };
        let Some(next) = next else { return false };
        (node, value) = (next, child);
    }
    true
}

/// The owned entry of a list's item: by its key fields, or by itself.
fn entry_of<'a>(children: &'a Map<String, Value>, item: &Value) -> Option<&'a Value> {
    let is = |name: &str| {
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        if let Some(key) = name.strip_prefix("k:").and_then(value) {
            return key.as_object().is_some_and(|key| key.iter().all(|(k, v)| item.get(k) == Some(v)));
        }
        name.strip_prefix("v:").and_then(value).is_some_and(|value| value == *item)
    };
    children.iter().find(|(name, _)| is(name)).map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Applies operations as RFC 6902 says.
    fn patched(live: &Value, changes: &[Change]) -> Value {
        let mut object = live.clone();
        for change in changes {
            let (parent, last) = change.path.rsplit_once('/').expect("below the root");
            let last = last.replace("~1", "/").replace("~0", "~");
            let wanted = change.wanted.clone();
            match object.pointer_mut(parent).expect("the parent is there") {
                Value::Object(fields) => match change.op {
                    Operation::Remove => drop(fields.remove(&last).expect("was there")),
                    _ => drop(fields.insert(last, wanted.expect("a value"))),
                },
                Value::Array(items) => match (change.op, last.parse::<usize>().expect("an index")) {
                    (Operation::Remove, at) => drop(items.remove(at)),
                    (Operation::Add, at) => items.insert(at, wanted.expect("a value")),
                    (Operation::Replace, at) => items[at] = wanted.expect("a value"),
                },
                other => panic!("{other}"),
            }
        }
        object
    }

    #[test]
    fn the_changes_are_a_patch_that_leads_from_live_to_wanted() {
        let rows = [
            (json!({"a": 1}), json!({"a": 2, "b": {"c": [1]}}), vec!["replace /a", "add /b"]),
            (
                json!({"a": {"x/y": 1, "z~": 2}}),
                json!({"a": {"x/y": 2}}),
                vec!["replace /a/x~1y", "remove /a/z~0"],
            ),
            (json!({"a": [1, 2, 3]}), json!({"a": [1, 3]}), vec!["remove /a/1"]),
            (json!({"a": [1, 3]}), json!({"a": [1, 2, 2, 3]}), vec!["add /a/1", "add /a/2"]),
            (
                json!({"a": [1, 2, 3, 4]}),
                json!({"a": [9]}),
                vec!["replace /a/0", "remove /a/3", "remove /a/2", "remove /a/1"],
            ),
            (json!({"a": [{"n": "x", "v": 1}]}), json!({"a": [{"n": "x", "v": 2}]}), vec!["replace /a/0/v"]),
            (json!({"a": []}), json!({"a": []}), vec![]),
            (json!({"metadata": {"uid": "1"}, "status": 1}), json!({"metadata": {"uid": "2"}}), vec![]),
        ];
        for (live, wanted, expected) in rows {
            let found = changes(&live, &wanted, &[]);
            let told: Vec<String> = found
                .iter()
                .map(|c| format!("{} {}", json!(c.op).as_str().unwrap_or_default(), c.path))
                .collect();
            assert_eq!(told, expected, "{live} {wanted}");
            if !expected.is_empty() {
                assert_eq!(patched(&live, &found), wanted);
            }
        }
    }

    #[test]
    fn a_secret_differs_without_being_shown() {
        let secret =
            |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": data});
        let live = secret(json!({"a": "canary", "b": "canary"}));
        for wanted in [
            secret(json!({"a": "other-canary", "c": "canary"})),
            json!({"apiVersion": "v1", "kind": "Secret"}),
        ] {
            let found = changes(&live, &wanted, &[]);
            let told = serde_json::to_string(&found).expect("JSON");
            assert!(!told.contains("canary") && told.contains(CHANGED), "{told}");
        }
        let bare = json!({"apiVersion": "v1", "kind": "Secret"});
        let told = serde_json::to_string(&changes(&bare, &live, &[])).expect("JSON");
        assert!(!told.contains("canary") && told.contains("\"a\""), "the keys are shown: {told}");
    }

    #[test]
    fn neither_an_annotation_nor_another_kind_shows_a_secret() {
        let secret = |annotations: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": annotations, "labels": {"a": "b"}}});
        let db = |mark: Value, pin: u64| json!({"apiVersion": "x/v1", "kind": "Db", "metadata": {"annotations": mark}, "spec": {"pin": pin, "of": ["canary"]}});
        let marked = json!({"nave.dev/secret": "true"});
        let rows = [
            // What is there, what shall be there, what is told of it.
            (
                secret(json!({"kapp.k14s.io/original": "canary", "nave.dev/app": "main/web"})),
                secret(json!({"nave.dev/app": "main/shop"})),
                vec![
                    ("/metadata/annotations/kapp.k14s.io~1original", json!(CHANGED), Value::Null),
                    ("/metadata/annotations/nave.dev~1app", json!("main/web"), json!("main/shop")),
                ],
            ),
            (
                secret(Value::Null),
                secret(json!({"a": "canary"})),
                vec![("/metadata/annotations", Value::Null, json!({"a": CHANGED}))],
            ),
            (
                db(marked.clone(), 17),
                db(marked.clone(), 42),
                vec![("/spec/pin", json!(CHANGED), json!(CHANGED))],
            ),
            // The value that it had while it was encrypted.
            (
                db(marked, 17),
                db(json!({"nave.dev/app": "x"}), 42),
                vec![
                    ("/metadata/annotations/nave.dev~1secret", json!("true"), Value::Null),
                    ("/metadata/annotations/nave.dev~1app", Value::Null, json!("x")),
                    ("/spec/pin", json!(CHANGED), json!(CHANGED)),
                ],
            ),
            (db(json!({}), 17), db(json!({}), 42), vec![("/spec/pin", json!(17), json!(42))]),
        ];
        for (live, wanted, expected) in rows {
            let found = changes(&live, &wanted, &[]);
            let told: Vec<_> = found
                .iter()
                .map(|c| (&*c.path, c.live.clone().unwrap_or_default(), c.wanted.clone().unwrap_or_default()))
                .collect();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn a_field_has_the_manager_that_wrote_it_last() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let live = json!({
            "metadata": {"managedFields": [
                entry("nave", "2024-01-03T00:00:00Z", json!({"f:spec": {"f:replicas": {}, "f:paused": {}}})),
                entry("kubectl-edit", "2024-01-01T00:00:00Z", json!({"f:spec": {"f:replicas": {}, "f:list": {"k:{\"name\":\"b\"}": {".": {}, "f:image": {}}}}})),
                entry("hpa", "2024-01-02T00:00:00Z", json!({"f:spec": {"f:replicas": {}, "f:atomic": {}, "f:set": {"v:\"x\"": {}}}})),
            ]},
            "spec": {"replicas": 3, "paused": true, "atomic": {"deep": [1]}, "set": ["w", "x"],
                "list": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]},
        });
        let rows = [
            ("/spec/replicas", Some("hpa")),
            ("/spec/paused", Some("nave")),
            ("/spec/atomic/deep/0", Some("hpa")),
            ("/spec/set/1", Some("hpa")),
            ("/spec/set/0", None),
            ("/spec/list/1/image", Some("kubectl-edit")),
            ("/spec/list/0/image", None),
            ("/spec/absent", None),
        ];
        for (path, expected) in rows {
            assert_eq!(manager_of(&live, path), expected, "{path}");
        }
    }
}
