//! Books: what an object's managed fields say of who owns what, and how they are written anew.
//!
//! In: live objects with their `managedFields`. Out: owners, names of managers, managed fields in which something moved.
//! Never: sends anything. Books are changed only by a patch that names the resource version they were read at.

use serde_json::{Map, Value, json};

use super::marks::{APP, MANAGER, annotation, our_fields};
use crate::observe::changes::steps;

/// Managers that wrote an object on behalf of somebody who now lets Nave do it. What we write too becomes ours alone, so
/// that a field that leaves our manifest leaves the object. Everything else they own stays theirs.
fn hands_over(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.starts_with("kubectl") || ["helm", "before-first-apply", "go-http-client"].contains(&lower.as_str())
}

/// The entries of an object's books.
fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten()
}

fn word<'a>(entry: &'a Value, field: &str) -> &'a str {
    entry.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn is_ours(entry: &Value) -> bool {
    word(entry, "manager") == MANAGER
        && word(entry, "operation") == "Apply"
        && word(entry, "subresource").is_empty()
}

/// Who else owns the field at this place of `object`; empty when nobody does.
pub(super) fn owner(object: &Value, pointer: &str, live: &Value) -> String {
    let steps = steps(pointer);
    let owns = |entry: &&Value| entry.get("fieldsV1").is_some_and(|tree| holds(tree, object, &steps));
    // The one that wrote last did it, where several own the same.
    let others = entries(live).filter(|entry| !is_ours(entry)).filter(owns);
    others
        .max_by_key(|entry| word(entry, "time"))
        .map(|entry| word(entry, "manager").to_owned())
        .unwrap_or_default()
}

fn holds(tree: &Value, object: &Value, steps: &[String]) -> bool {
    let Some((first, rest)) = steps.split_first() else { return true };
    let Some(nodes) = tree.as_object() else { return false };
    // Owned as one piece, from here down.
    if nodes.is_empty() {
        return true;
    }
    let (name, below) = match object {
        Value::Array(items) => {
            let Some(item) = first.parse::<usize>().ok().and_then(|at| items.get(at)) else { return false };
            match node_of(item, first, nodes) {
                Some(name) => (name.clone(), item),
                None => return false,
            }
        }
        object => (format!("f:{first}"), object.get(first).unwrap_or(&Value::Null)),
    };
    nodes.get(&name).is_some_and(|tree| holds(tree, below, rest))
}

/// The node of a list's item: `k:{"name":"web"}`, `v:"x"` or `i:0`.
fn node_of<'a>(item: &Value, at: &str, nodes: &'a Map<String, Value>) -> Option<&'a String> {
    nodes.keys().find(|name| match name.split_once(':') {
        Some(("k", key)) => serde_json::from_str::<Map<String, Value>>(key).is_ok_and(|key| {
            // A key field that the item leaves out was filled in: TCP is the only default that such keys have.
            key.iter().all(|(name, value)| item.get(name).map_or(value == "TCP", |own| own == value))
        }),
        Some(("v", value)) => serde_json::from_str::<Value>(value).is_ok_and(|value| value == *item),
        Some(("i", index)) => index == at,
        _ => false,
    })
}

/// The books without our hold on these fields of `object`, whose values stay; `None` when we hold none of them.
pub(super) fn released(live: &Value, object: &Value, pointers: &[String]) -> Option<Value> {
    let ours = our_fields(live)?;
    let held: Vec<_> =
        pointers.iter().map(|pointer| steps(pointer)).filter(|steps| holds(ours, object, steps)).collect();
    if held.is_empty() {
        return None;
    }
    let mut tree = ours.clone();
    held.iter().for_each(|steps| release(&mut tree, object, steps));
    Some(with_trees(live, |entry, _| if is_ours(entry) { Some(tree.clone()) } else { None }))
}

fn release(tree: &mut Value, object: &Value, steps: &[String]) {
    let (Some((first, rest)), Some(nodes)) = (steps.split_first(), tree.as_object_mut()) else { return };
    let (name, below) = match object {
        Value::Array(items) => {
            let Some(item) = first.parse::<usize>().ok().and_then(|at| items.get(at)) else { return };
            let Some(name) = node_of(item, first, nodes).cloned() else { return };
            (name, item)
        }
        object => (format!("f:{first}"), object.get(first).unwrap_or(&Value::Null)),
    };
    if rest.is_empty() {
        nodes.remove(&name);
        return;
    }
    let Some(child) = nodes.get_mut(&name) else { return };
    release(child, below, rest);
    // An empty node would mean that we own all of it.
    if child.as_object().is_some_and(Map::is_empty) {
        nodes.remove(&name);
    }
}

/// Whether an entry is of a tool that hands over.
fn shares(entry: &Value) -> bool {
    hands_over(word(entry, "manager")) && word(entry, "subresource").is_empty()
}

/// The books once those who hand over no longer own what we own; `None` when they own none of it.
pub(super) fn taken_over(live: &Value) -> Option<Value> {
    let ours = our_fields(live)?.as_object()?;
    let mut any = false;
    let books = with_trees(live, |entry, tree| {
        if is_ours(entry) || !shares(entry) {
            return None;
        }
        let mut left = tree.as_object().cloned().unwrap_or_default();
        any |= subtract(&mut left, ours);
        Some(Value::Object(left))
    });
    any.then_some(books)
}

/// Takes away what `ours` has; whether there was any.
fn subtract(theirs: &mut Map<String, Value>, ours: &Map<String, Value>) -> bool {
    let mut any = false;
    for (name, node) in ours {
        let Some(their_node) = theirs.get_mut(name) else { continue };
        let (Some(their_children), Some(children)) = (their_node.as_object_mut(), node.as_object()) else {
            continue;
        };
        if their_children.is_empty() {
            // The same leaf. Where only theirs is one piece, it is more than we have, and stays.
            if children.is_empty() {
                theirs.remove(name);
                any = true;
            }
            continue;
        }
        let found = subtract(their_children, children);
        any |= found;
        if found && their_children.keys().all(|name| name == ".") {
            theirs.remove(name);
        }
    }
    any
}

/// The books in which items of lists are ours that `body` does not have, though it has the list, and that only tools which
/// hand over put there: to them the list was all of it, and an apply of `body` then takes them off the object. `None` when
/// there are no such items.
pub(super) fn given_over(live: &Value, body: &Value) -> Option<Value> {
    let mut ours = our_fields(live).and_then(Value::as_object).cloned().unwrap_or_default();
    let same_version = |entry: &Value| entry.get("apiVersion") == body.get("apiVersion");
    let mut any = false;
    let books = with_trees(live, |entry, tree| {
        if is_ours(entry) || !shares(entry) || !same_version(entry) {
            return None;
        }
        let mut left = tree.as_object().cloned().unwrap_or_default();
        any |= give(&mut left, &mut ours, body);
        Some(Value::Object(left))
    });
    let others = books.as_array().into_iter().flatten().filter(|entry| !is_ours(entry)).cloned();
    let entry = json!({"manager": MANAGER, "operation": "Apply", "apiVersion": body.get("apiVersion"),
        "fieldsType": "FieldsV1", "fieldsV1": ours});
    any.then(|| others.chain([entry]).collect())
}

/// Moves what of the lists in `body` no item of them is; whether there was any.
fn give(theirs: &mut Map<String, Value>, ours: &mut Map<String, Value>, body: &Value) -> bool {
    let below: Vec<(String, &Value)> = match body {
        Value::Object(fields) => fields.iter().map(|(name, value)| (format!("f:{name}"), value)).collect(),
        Value::Array(items) => {
            let known = items.iter().enumerate();
            let known = known.filter_map(|(at, item)| Some((node_of(item, &at.to_string(), theirs)?, item)));
            known.map(|(node, item)| (node.clone(), item)).collect()
        }
        _ => return false,
    };
    let mut any = false;
    if body.is_array() {
        let is_item = |name: &str| name.starts_with("k:") || name.starts_with("v:");
        let gone = |name: &&String| is_item(name) && below.iter().all(|(known, _)| known != *name);
        for name in theirs.keys().filter(gone).cloned().collect::<Vec<_>>() {
            if let Some(node) = theirs.remove(&name) {
                unite(ours.entry(name).or_insert_with(|| json!({})), node);
                any = true;
            }
        }
    }
    for (name, value) in below {
        let Some(Value::Object(their_node)) = theirs.get_mut(&name) else { continue };
        let mut our_node = ours.get(&name).and_then(Value::as_object).cloned().unwrap_or_default();
        if give(their_node, &mut our_node, value) {
            // An empty node would mean that they own all of it.
            if their_node.keys().all(|name| name == ".") {
                theirs.remove(&name);
            }
            ours.insert(name, Value::Object(our_node));
            any = true;
        }
    }
    any
}

/// Adds the fields of another tree.
fn unite(tree: &mut Value, other: Value) {
    let (Some(fields), Value::Object(more)) = (tree.as_object_mut(), other) else { return };
    for (name, node) in more {
        unite(fields.entry(name).or_insert_with(|| json!({})), node);
    }
}

/// The books with other trees for some entries; an entry that is left with nothing goes.
fn with_trees(live: &Value, mut tree: impl FnMut(&Value, &Value) -> Option<Value>) -> Value {
    let empty = json!({});
    let entry = |entry: &Value| {
        let Some(tree) = tree(entry, entry.get("fieldsV1").unwrap_or(&empty)) else {
            return Some(entry.clone());
        };
        let mut entry = entry.clone();
        entry["fieldsV1"] = tree.clone();
        (tree.as_object().is_some_and(|tree| !tree.is_empty())).then_some(entry)
    };
    entries(live).filter_map(entry).collect()
}

/// A merge patch that writes these books, unless the object has changed since.
pub(super) fn rewritten(live: &Value, books: Value) -> Value {
    json!({"metadata": {"managedFields": books, "resourceVersion": live.pointer("/metadata/resourceVersion")}})
}

/// Who manages an object that is not ours, as far as it shows; the tools first, then what only the books name.
pub(super) fn managers(live: &Value) -> Vec<String> {
    let label =
        |name: &str| live.pointer("/metadata/labels").and_then(|l| l.get(name)).and_then(Value::as_str);
    let note = |name: &str| annotation(live, name);
    let mut found = Vec::new();
    let place = |namespace: Option<&str>, name: &str| match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    };
    if let Some(release) = note("meta.helm.sh/release-name") {
        found.push(format!("Helm release {}", place(note("meta.helm.sh/release-namespace"), release)));
    }
    let tracked = note("argocd.argoproj.io/tracking-id").and_then(|id| id.split(':').next());
    if let Some(app) = tracked.or_else(|| label("argocd.argoproj.io/instance")) {
        found.push(format!("Argo CD application {app}"));
    }
    for (prefix, kind) in [("kustomize", "Kustomization"), ("helm", "HelmRelease")] {
        if let Some(name) = label(&format!("{prefix}.toolkit.fluxcd.io/name")) {
            let namespace = label(&format!("{prefix}.toolkit.fluxcd.io/namespace"));
            found.push(format!("Flux {kind} {}", place(namespace, name)));
        }
    }
    if let Some(id) = note("objectset.rio.cattle.io/id") {
        found.push(format!("Rancher Fleet bundle {id}"));
    }
    if let Some(app) = note(APP) {
        found.push(format!("Nave app {app} of another cluster or spoke, or a copy of its object"));
    }
    let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    for owner in owners.filter(|owner| owner.get("controller") == Some(&Value::Bool(true))) {
        found.push(format!("{} {}", word(owner, "kind"), word(owner, "name")));
    }
    let mut names: Vec<_> = entries(live)
        .filter(|entry| word(entry, "subresource") != "status" && word(entry, "manager") != MANAGER)
        .map(|entry| word(entry, "manager").to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names.dedup();
    found.extend(names);
    found
}

#[cfg(test)]
mod tests;
