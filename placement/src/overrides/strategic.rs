//! Strategic: a merge patch, which for built-in kinds merges lists by their keys.
//!
//! In: an object and a patch. Out: the object, patched. For kinds that are not built in it is RFC 7386, as in kustomize.
//! Never: leaves a directive (`$patch`, `$retainKeys`, …) in an object.

use serde_json::{Map, Value};

use super::merge_keys::{Strategy, strategy};

type Fields = Map<String, Value>;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVE: &str = "$deleteFromPrimitiveList/";

/// Why a patch cannot be applied. Names places, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A directive with something else than it takes.
    #[error("{0}: {1} takes {2}")]
    Directive(String, String, &'static str),
    /// A directive that nobody knows.
    #[error("{0}: {1} is no directive of a strategic merge patch")]
    UnknownDirective(String, String),
    /// An item of a keyed list without its key.
    #[error("{0}: an item lacks {1}, by which the list is merged")]
    NoKey(String, &'static str),
    /// A directive in a list that is replaced.
    #[error("{0}: {1} stands in a list that is replaced as a whole, and can do nothing there")]
    InList(String, String),
}

/// What becomes of the patched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// It stays.
    Kept,
    /// `$patch: delete`.
    Deleted,
}

/// Patches an object of a kind.
///
/// # Errors
/// Where the patch says what no patch can.
pub fn merge(group: &str, kind: &str, object: &mut Value, patch: &Value) -> Result<Merged, MergeError> {
    let merge = Merge { group, kind };
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => merge.map(object, patch, ""),
        (object, patch) => {
            *object = merge.clean(patch, "")?;
            Ok(Merged::Kept)
        }
    }
}

struct Merge<'a> {
    group: &'a str,
    kind: &'a str,
}

impl Merge<'_> {
    fn strategy(&self, path: &str) -> Option<Strategy> {
        strategy(self.group, self.kind, path)
    }

    fn map(&self, target: &mut Fields, patch: &Fields, path: &str) -> Result<Merged, MergeError> {
        match directive(patch, path)? {
            Some("delete") => return Ok(Merged::Deleted),
            Some("replace") => target.clear(),
            _ => {}
        }
        for (key, value) in patch {
            let at = join(path, key);
            match value {
                _ if key.starts_with('$') => continue,
                Value::Null => drop(target.remove(key)),
                Value::Object(fields) => self.field(target, key, fields, &at)?,
                Value::Array(items) => {
                    let list = match target.remove(key) {
                        Some(Value::Array(list)) => list,
                        _ => Vec::new(),
                    };
                    target.insert(key.clone(), Value::Array(self.list(list, items, &at)?));
                }
                scalar => drop(target.insert(key.clone(), scalar.clone())),
            }
        }
        // Once everything is merged: what they say is of the outcome.
        self.directives(target, patch, path)?;
        Ok(Merged::Kept)
    }

    fn field(&self, target: &mut Fields, key: &str, patch: &Fields, at: &str) -> Result<(), MergeError> {
        let replaced = self.strategy(at) == Some(Strategy::Replace);
        let mut inner = match target.remove(key) {
            Some(Value::Object(inner)) if !replaced => inner,
            _ => Fields::new(),
        };
        if self.map(&mut inner, patch, at)? == Merged::Kept {
            target.insert(key.to_owned(), Value::Object(inner));
        }
        Ok(())
    }

    fn directives(&self, target: &mut Fields, patch: &Fields, path: &str) -> Result<(), MergeError> {
        for (key, value) in patch.iter().filter(|(key, _)| key.starts_with('$') && *key != PATCH) {
            let list = || {
                let wrong = || MergeError::Directive(shown(path), key.clone(), "a list");
                value.as_array().ok_or_else(wrong)
            };
            if key == RETAIN {
                let kept = list()?;
                target.retain(|name, _| kept.iter().any(|keep| keep == name));
            } else if let Some(field) = key.strip_prefix(ORDER) {
                let order = list()?;
                let keys = match self.strategy(&join(path, field)) {
                    Some(Strategy::Keys(keys)) => keys,
                    _ => &[],
                };
                if let Some(Value::Array(items)) = target.get_mut(field) {
                    let place = |item: &Value| order.iter().position(|ordered| is_same(ordered, item, keys));
                    arrange(items, place);
                }
            } else if let Some(field) = key.strip_prefix(DELETE_PRIMITIVE) {
                let gone = list()?;
                if let Some(Value::Array(items)) = target.get_mut(field) {
                    items.retain(|item| !gone.contains(item));
                }
            } else {
                return Err(MergeError::UnknownDirective(shown(path), key.clone()));
            }
        }
        Ok(())
    }

    fn list(&self, list: Vec<Value>, patch: &[Value], path: &str) -> Result<Vec<Value>, MergeError> {
        let replaces = |item: &Value| {
            item.as_object()
                .is_some_and(|map| map.len() == 1 && map.get(PATCH).is_some_and(|p| p == "replace"))
        };
        let replaced = patch.iter().any(replaces);
        match self.strategy(path) {
            Some(Strategy::Keys(keys)) if !replaced => self.keyed(list, patch, keys, path),
            Some(Strategy::Set) if !replaced => {
                plain(patch, path)?;
                let mut list = list;
                list.extend(patch.iter().filter(|item| !list.contains(item)).cloned().collect::<Vec<_>>());
                Ok(list)
            }
            // RFC 7386: the items of a list are values, not patches.
            _ => {
                let items: Vec<Value> = patch.iter().filter(|item| !replaces(item)).cloned().collect();
                plain(&items, path)?;
                Ok(items)
            }
        }
    }

    /// Merges by key. What is new comes first, in the patch's order, as in kustomize. A key that the patch names again is merged
    /// onto what became of it the first time.
    fn keyed(
        &self,
        mut list: Vec<Value>,
        patch: &[Value],
        keys: &'static [&'static str],
        path: &str,
    ) -> Result<Vec<Value>, MergeError> {
        let mut fresh: Vec<Value> = Vec::new();
        for item in patch {
            let no_key = || MergeError::NoKey(shown(path), keys[0]);
            let fields = item.as_object().filter(|fields| fields.contains_key(keys[0])).ok_or_else(no_key)?;
            let place = |list: &[Value]| {
                let like: Vec<usize> =
                    (0..list.len()).filter(|at| list[*at].get(keys[0]) == fields.get(keys[0])).collect();
                let exact = like.iter().copied().find(|at| is_same(item, &list[*at], keys));
                // One that names only the first key means the only one that has it.
                let only = keys.get(1).is_some_and(|second| !fields.contains_key(*second)) && like.len() == 1;
                exact.or(if only { like.first().copied() } else { None })
            };
            match (directive(fields, path)?, place(&list)) {
                (Some("delete"), Some(at)) => drop(list.remove(at)),
                (Some("delete"), None) => drop(place(&fresh).map(|at| fresh.remove(at))),
                (_, Some(at)) => {
                    if let Value::Object(target) = &mut list[at] {
                        self.map(target, fields, path)?;
                    }
                }
                (_, None) => match place(&fresh) {
                    Some(at) => {
                        if let Value::Object(target) = &mut fresh[at] {
                            self.map(target, fields, path)?;
                        }
                    }
                    None => fresh.push(self.clean(item, path)?),
                },
            }
        }
        fresh.append(&mut list);
        Ok(fresh)
    }

    /// A map of the patch that stands for itself: without nulls, without directives.
    fn clean(&self, value: &Value, path: &str) -> Result<Value, MergeError> {
        let Value::Object(fields) = value else { return Ok(value.clone()) };
        let mut clean = Fields::new();
        self.map(&mut clean, fields, path)?;
        Ok(Value::Object(clean))
    }
}

/// Refuses directives in values, however deep: they would get into the object.
fn plain(values: &[Value], path: &str) -> Result<(), MergeError> {
    let is_directive = |key: &str| {
        key == PATCH || key == RETAIN || key.starts_with(ORDER) || key.starts_with(DELETE_PRIMITIVE)
    };
    values.iter().try_for_each(|value| match value {
        Value::Object(fields) => fields.iter().try_for_each(|(key, value)| match is_directive(key) {
            true => Err(MergeError::InList(shown(path), key.clone())),
            false => plain(std::slice::from_ref(value), path),
        }),
        Value::Array(items) => plain(items, path),
        _ => Ok(()),
    })
}

fn directive<'a>(patch: &'a Fields, path: &str) -> Result<Option<&'a str>, MergeError> {
    match patch.get(PATCH).map(|value| value.as_str()) {
        None => Ok(None),
        Some(Some(word @ ("merge" | "replace" | "delete"))) => Ok(Some(word)),
        Some(_) => Err(MergeError::Directive(shown(path), PATCH.to_owned(), "merge, replace or delete")),
    }
}

/// Whether two items are the same by their keys; by themselves where there are none.
fn is_same(a: &Value, b: &Value, keys: &[&str]) -> bool {
    const PROTOCOL: &str = "TCP";
    match keys {
        [] => a == b,
        [first, rest @ ..] => {
            let second = |item: &Value, key: &str| item.get(key).cloned().unwrap_or_else(|| PROTOCOL.into());
            a.get(first) == b.get(first) && rest.iter().all(|key| second(a, key) == second(b, key))
        }
    }
}

/// Puts those items that have a place in its order; each other one stays behind the one it followed.
fn arrange(items: &mut Vec<Value>, place: impl Fn(&Value) -> Option<usize>) {
    let mut last = 0;
    let mut ranked: Vec<(usize, Value)> = Vec::new();
    for item in items.drain(..) {
        last = place(&item).map_or(last, |at| at + 1);
        ranked.push((last, item));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    items.extend(ranked.into_iter().map(|(_, item)| item));
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn shown(path: &str) -> String {
    if path.is_empty() { "the patch".to_owned() } else { path.to_owned() }
}

#[cfg(test)]
#[path = "strategic_tests.rs"]
mod tests;
