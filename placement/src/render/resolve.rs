//! The spoke's half of rendering: a bundle and an entry become the objects to apply.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Bundle;
use crate::ObjectKey;
use crate::assign::Entry;
use crate::catalog::NamespaceOptions;

/// Whether a kind's objects live in namespaces. Only the cluster knows for kinds that are not built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// They do.
    Namespaced,
    /// They do not.
    Cluster,
}

/// What is known about scopes, by (group, kind).
pub trait Scopes {
    /// The scope of a kind; `None` while the cluster does not serve it.
    fn scope(&self, group: &str, kind: &str) -> Option<Scope>;
}

/// An object that is ready to be applied, or why it is not yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    /// Its identity on the cluster. While the scope is unknown, the namespace is as the manifest gives it.
    pub key: ObjectKey,
    /// The whole object.
    pub object: Value,
    /// False while the cluster does not serve the kind: it cannot be applied yet.
    pub served: bool,
}

/// Why a bundle cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The bundle's bytes are not what `finish` writes.
    #[error(
        "bundle {bundle}, line {line}, is no object; a bundle is written by the hub alone, so it was damaged"
    )]
    Damaged {
        /// Digest of the bundle.
        bundle: String,
        /// Line in it.
        line: usize,
    },
    /// Two objects of one app became the same object once the namespace was put on.
    #[error("{key} is defined twice once namespace {namespace:?} is put on; remove one of them")]
    Twice {
        /// The object.
        key: ObjectKey,
        /// The app's namespace.
        namespace: String,
    },
}

/// Puts the entry's options on a bundle's objects.
///
/// # Errors
/// When the bundle is damaged, or two of its objects fall together.
pub fn resolve(bundle: &[u8], entry: &Entry, scopes: &dyn Scopes) -> Result<Vec<Resolved>, ResolveError> {
    let namespace = entry.options.namespace.as_ref();
    let mut resolved: BTreeMap<ObjectKey, usize> = BTreeMap::new();
    let mut objects = Vec::new();
    if let Some(namespace) = namespace.filter(|n| n.create) {
        push(&mut objects, &mut resolved, namespace_object(namespace), None, scopes)?;
    }
    for (line, text) in lines(bundle) {
        let damaged = || ResolveError::Damaged { bundle: entry.bundle.to_string(), line };
        let object: Value = serde_json::from_slice(text).map_err(|_| damaged())?;
        let manifest = object_key(&object).ok_or_else(damaged)?;
        // A manifest of the app's own namespace replaces the one that the option would create.
        if let Some(at) =
            resolved.get(&manifest).copied().filter(|_| is_created_namespace(&manifest, namespace))
        {
            objects[at].object = object;
            continue;
        }
        push(&mut objects, &mut resolved, object, namespace, scopes)?;
    }
    Ok(objects)
}

fn push(
    objects: &mut Vec<Resolved>,
    seen: &mut BTreeMap<ObjectKey, usize>,
    mut object: Value,
    namespace: Option<&NamespaceOptions>,
    scopes: &dyn Scopes,
) -> Result<(), ResolveError> {
    let mut key = object_key(&object).expect("checked by the caller, or made by us");
    let scope = scopes.scope(&key.group, &key.kind);
    match scope {
        Some(Scope::Namespaced) => {
            let wanted = match namespace {
                Some(n) if n.force || key.namespace.is_empty() => Some(n.name.clone()),
                None if key.namespace.is_empty() => Some("default".to_owned()),
                _ => None,
            };
            if let Some(name) = wanted {
                metadata(&mut object).insert("namespace".into(), Value::String(name.clone()));
                key.namespace = name;
            }
        }
        Some(Scope::Cluster) => {
            metadata(&mut object).remove("namespace");
            key.namespace.clear();
        }
        None => {}
    }
    if seen.insert(key.clone(), objects.len()).is_some() {
        let namespace = namespace.map(|n| n.name.clone()).unwrap_or_default();
        return Err(ResolveError::Twice { key, namespace });
    }
    objects.push(Resolved { key, object, served: scope.is_some() });
    Ok(())
}

/// The object of `namespace.create`.
fn namespace_object(options: &NamespaceOptions) -> Value {
    let mut metadata = Map::from_iter([("name".to_owned(), Value::String(options.name.clone()))]);
    if !options.labels.is_empty() {
        let labels = options.labels.iter().map(|(k, v)| (k.clone(), Value::String(v.clone())));
        metadata.insert("labels".into(), Value::Object(labels.collect()));
    }
    serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
}

fn is_created_namespace(key: &ObjectKey, options: Option<&NamespaceOptions>) -> bool {
    key.group.is_empty() && key.kind == "Namespace" && options.is_some_and(|o| o.create && o.name == key.name)
}

fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    object.get_mut("metadata").and_then(Value::as_object_mut).expect("an object with a key has metadata")
}

/// The lines of a bundle with their numbers, from 1.
pub(super) fn lines(bundle: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    bundle.split(|b| *b == b'\n').enumerate().map(|(i, l)| (i + 1, l)).filter(|(_, l)| !l.is_empty())
}

/// The identity of a manifest; `None` when it has no kind, version or name.
pub(crate) fn object_key(object: &Value) -> Option<ObjectKey> {
    let text = |v: &Value| v.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
    let metadata = object.get("metadata")?;
    let version = object.get("apiVersion").and_then(text)?;
    Some(ObjectKey {
        group: version.split_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default(),
        kind: object.get("kind").and_then(text)?,
        namespace: metadata.get("namespace").and_then(text).unwrap_or_default(),
        name: metadata.get("name").and_then(text)?,
    })
}

impl Bundle {
    /// Reads a bundle's bytes back, as a spoke or a restarted hub finds them.
    ///
    /// # Errors
    /// When they are not what `finish` writes.
    pub fn read(bytes: Vec<u8>) -> Result<Self, ResolveError> {
        let digest = crate::Digest::of(&bytes);
        let keys = lines(&bytes).map(|(line, text)| {
            let object: Option<Value> = serde_json::from_slice(text).ok();
            let damaged = ResolveError::Damaged { bundle: digest.to_string(), line };
            object.as_ref().and_then(object_key).ok_or(damaged)
        });
        let objects = keys.collect::<Result<_, _>>()?;
        Ok(Self { digest, objects: std::sync::Arc::new(objects), bytes: bytes.into() })
    }
}
