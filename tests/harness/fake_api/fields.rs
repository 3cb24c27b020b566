//! Fields: which fields an object sets, and where they are.
//!
//! In: a schema, an object. Out: sets of paths, in the steps of `fieldsV1` (`f:spec`, `k:{"name":"web"}`). Pure.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::kinds::{Kind, METADATA, Schema};

/// Where a field is.
pub type Path = Vec<String>;
/// Fields of one manager.
pub type Set = BTreeSet<Path>;

/// A field that is not as the schema has it.
#[derive(Debug, PartialEq, Eq)]
pub struct Breach {
    /// As `spec.template.spec.containers[0].image`.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// The schema does not have it.
    pub unknown: bool,
}

/// The fields that belong to those who write the object: not its name, and not what the server sets.
pub fn of_object(kind: &Kind, object: &Value) -> Set {
    let mut found = Set::new();
    each_root(kind, |name, schema| {
        if let Some(value) = object.get(name).filter(|value| !value.is_null()) {
            let mut path = vec![format!("f:{name}")];
            walk(schema, value, &mut path, &mut found);
        }
    });
    found
}

fn each_root(kind: &Kind, mut f: impl FnMut(&str, &Schema)) {
    f("metadata", &METADATA);
    kind.schema.iter().for_each(|(name, schema)| f(name, schema));
}

fn walk(schema: &Schema, value: &Value, path: &mut Path, found: &mut Set) {
    match (schema, value) {
        (Schema::Map, Value::Object(fields)) if !fields.is_empty() => {
            for name in fields.keys() {
                below(path, format!("f:{name}"), |path| {
                    found.insert(path.clone());
                });
            }
        }
        (Schema::Fields(known), Value::Object(fields)) => {
            for (name, schema) in *known {
                if let Some(value) = fields.get(*name).filter(|value| !value.is_null()) {
                    below(path, format!("f:{name}"), |path| walk(schema, value, path, found));
                }
            }
        }
        (Schema::List(keys, of), Value::Array(items)) => {
            for item in items {
                below(path, key(keys, item), |path| {
                    found.insert(path.clone());
                    walk(of, item, path, found);
                });
            }
        }
        _ => {
            found.insert(path.clone());
        }
    }
}

fn below(path: &mut Path, step: String, f: impl FnOnce(&mut Path)) {
    path.push(step);
    f(path);
    path.pop();
}

fn key(keys: &[&str], item: &Value) -> String {
    let default = |name: &str| if name == "protocol" { json!("TCP") } else { Value::Null };
    let value = |name: &str| item.get(name).cloned().unwrap_or_else(|| default(name));
    let fields: Map<String, Value> = keys.iter().map(|name| ((*name).to_owned(), value(name))).collect();
    format!("k:{}", Value::Object(fields))
}

/// What stands at a path.
pub fn get<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |at, step| match step.strip_prefix("f:") {
        Some(name) => at.get(name),
        None => at.as_array()?.iter().find(|item| is_item(item, step)),
    })
}

/// Sets what stands at a path; makes what leads there.
pub fn set(object: &mut Value, path: &[String], value: &Value) {
    let Some((step, rest)) = path.split_first() else {
        *object = value.clone();
        return;
    };
    if let Some(name) = step.strip_prefix("f:") {
        if !object.is_object() {
            *object = json!({});
        }
        set(&mut object[name], rest, value);
        return;
    }
    if !object.is_array() {
        *object = json!([]);
    }
    let items = object.as_array_mut().expect("just made one");
    let at = items.iter().position(|item| is_item(item, step)).unwrap_or_else(|| {
        items.push(item_of(step));
        items.len() - 1
    });
    // That the item is there is all that its own path says.
    if !rest.is_empty() {
        set(&mut items[at], rest, value);
    }
}

/// Removes what stands at a path, and what is empty without it.
pub fn remove(object: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (step.strip_prefix("f:"), object) {
        (Some(name), Value::Object(fields)) => {
            let Some(value) = fields.get_mut(name) else { return };
            remove(value, rest);
            let empty = matches!(value, Value::Object(f) if f.is_empty())
                || matches!(value, Value::Array(i) if i.is_empty());
            if rest.is_empty() || empty {
                fields.remove(name);
            }
        }
        (None, Value::Array(items)) => {
            let Some(at) = items.iter().position(|item| is_item(item, step)) else { return };
            if rest.is_empty() {
                items.remove(at);
            } else {
                remove(&mut items[at], rest);
            }
        }
        _ => {}
    }
}

/// Whether a field is a part of what tells its item apart.
pub fn is_key(item: &str, field: &str) -> bool {
    field.strip_prefix("f:").is_some_and(|name| item_of(item).get(name).is_some())
}

fn item_of(step: &str) -> Value {
    step.strip_prefix("k:").and_then(|key| serde_json::from_str(key).ok()).unwrap_or_default()
}

fn is_item(item: &Value, step: &str) -> bool {
    let key = item_of(step);
    let keys: Vec<&str> = key.as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
    self::key(&keys, item) == step
}

/// A set as managed fields carry it.
pub fn to_json(set: &Set) -> Value {
    let mut tree = json!({});
    for path in set {
        let mut at = &mut tree;
        for step in path {
            at = &mut at[step];
            if at.is_null() {
                *at = json!({});
            }
        }
        if path.last().is_some_and(|step| step.starts_with("k:")) {
            at["."] = json!({});
        }
    }
    tree
}

/// A path as messages write it: `.spec.template.spec.containers[name="web"].image`.
pub fn in_words(path: &[String]) -> String {
    let step = |step: &String| match step.strip_prefix("f:") {
        Some(name) => format!(".{name}"),
        None => {
            let key = item_of(step);
            let pairs = key.as_object().into_iter().flatten().map(|(name, value)| format!("{name}={value}"));
            format!("[{}]", pairs.collect::<Vec<_>>().join(","))
        }
    };
    path.iter().map(step).collect()
}

/// Everything in which an object breaks its kind's schema.
pub fn breaches(kind: &Kind, object: &Value) -> Vec<Breach> {
    let mut found = Vec::new();
    for (name, value) in object.as_object().into_iter().flatten() {
        let schema = kind.schema.iter().find(|(known, _)| known == name).map(|(_, schema)| schema);
        match schema {
            Some(schema) => breach(schema, value, name, &mut found),
            None if matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status") => {}
            None => found.push(unknown(name)),
        }
    }
    found
}

fn breach(schema: &Schema, value: &Value, at: &str, found: &mut Vec<Breach>) {
    let wrong = |expected: &str| Breach {
        field: at.to_owned(),
        message: format!("Invalid value: {value}: must be {expected}"),
        unknown: false,
    };
    match (schema, value) {
        (_, Value::Null) | (Schema::Any, _) | (Schema::Text, Value::String(_)) => {}
        (Schema::Number, Value::Number(number)) if number.is_i64() => {}
        (Schema::Text, _) => found.push(wrong("a string")),
        (Schema::Number, _) => found.push(wrong("an integer")),
        (Schema::Map, Value::Object(fields)) => {
            for (name, value) in fields {
                breach(&Schema::Text, value, &format!("{at}.{name}"), found);
            }
        }
        (Schema::Fields(known), Value::Object(fields)) => {
            for (name, value) in fields {
                let path = format!("{at}.{name}");
                match known.iter().find(|(known, _)| known == name) {
                    Some((_, schema)) => breach(schema, value, &path, found),
                    None => found.push(unknown(&path)),
                }
            }
        }
        (Schema::List(_, of), Value::Array(items)) => {
            for (n, item) in items.iter().enumerate() {
                breach(of, item, &format!("{at}[{n}]"), found);
            }
        }
        (Schema::List(..), _) => found.push(wrong("a list")),
        (Schema::Map | Schema::Fields(_), _) => found.push(wrong("an object")),
    }
}

fn unknown(field: &str) -> Breach {
    let name = field.rsplit('.').next().unwrap_or(field);
    Breach {
        field: field.to_owned(),
        message: format!("Invalid value: unknown field {name:?}"),
        unknown: true,
    }
}
