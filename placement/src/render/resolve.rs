//! The spoke's half of rendering: a bundle and an entry become the objects to apply.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::finish::strip;
use super::sealed::mark;
use super::{Bundle, Sealed};
use crate::ObjectKey;
use crate::assign::{Entry, Share};
use crate::catalog::NamespaceOptions;
use crate::overrides::template::{self, SubstituteError, Values, substitute};

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
#[derive(Clone, PartialEq)]
pub struct Resolved {
    /// Its identity on the cluster. While the scope is unknown, the namespace is as the manifest gives it.
    pub key: ObjectKey,
    /// The whole object, shared: who plans, writes and remembers it would else each have a copy.
    pub object: Arc<Value>,
    /// False while the cluster does not serve the kind: it cannot be applied yet.
    pub served: bool,
    /// Why it is still encrypted: `object` then is no more than its head (apiVersion, kind, metadata) and must not be applied.
    pub sealed: Option<Box<str>>,
}

/// The content of an object may be a secret, so it is never printed.
impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, object: _, served, sealed } = self;
        f.debug_struct("Resolved")
            .field("key", key)
            .field("served", served)
            .field("sealed", sealed)
            .finish_non_exhaustive()
    }
}

/// Decrypts SOPS documents: one object for each head, in order, or why not. The reason names no content.
pub type Open<'a> = dyn Fn(&Sealed) -> Result<Vec<Value>, String> + Send + Sync + 'a;

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
    /// A `${…}` has no value: the hub made this entry with others than its bundle names.
    #[error("{key} cannot be filled in: {source}; the hub sends an entry with all values of its bundle")]
    Values {
        /// The object, as the manifest names it.
        key: Box<ObjectKey>,
        /// What is missing.
        source: SubstituteError,
    },
}

/// Puts the entry's values and options on a bundle's objects; encrypted ones stay so.
///
/// # Errors
/// When the bundle is damaged, a value is missing, or two of its objects fall together.
pub fn resolve(bundle: &[u8], entry: &Entry, scopes: &dyn Scopes) -> Result<Vec<Resolved>, ResolveError> {
    resolve_opened(bundle, entry, scopes, &|_| {
        Err("it is encrypted, and opened on its cluster only".to_owned())
    })
}

/// Puts the entry's values and options on a bundle's objects, after the encrypted ones were opened.
///
/// # Errors
/// As [`resolve`]. What cannot be opened is no error: the object says so itself.
pub fn resolve_opened(
    bundle: &[u8],
    entry: &Entry,
    scopes: &dyn Scopes,
    open: &Open<'_>,
) -> Result<Vec<Resolved>, ResolveError> {
    let namespace = entry.options.namespace.as_ref();
    let mut resolved: BTreeMap<ObjectKey, usize> = BTreeMap::new();
    let mut objects = Vec::new();
    if let Some(namespace) = namespace.filter(|n| n.create) {
        let object = Manifest { object: namespace_object(namespace), sealed: None };
        push(&mut objects, &mut resolved, object, None, scopes)?;
    }
    for (line, text) in lines(bundle) {
        let damaged = || ResolveError::Damaged { bundle: entry.bundle.to_string(), line };
        let line = Line::read(text).ok_or_else(damaged)?;
        let is_open = matches!(line, Line::Object(_));
        for mut manifest in line.manifests(open) {
            // What an encrypted document says is its author's secret, `${` and all.
            if entry.options.substitute && is_open {
                let key = object_key(&manifest.object).ok_or_else(damaged)?;
                fill(&mut manifest.object, &entry.values)
                    .map_err(|source| ResolveError::Values { key: Box::new(key), source })?;
            }
            let key = object_key(&manifest.object).ok_or_else(damaged)?;
            // A manifest of the app's own namespace replaces the one that the option would create.
            if let Some(at) = resolved.get(&key).copied().filter(|_| is_created_namespace(&key, namespace)) {
                (objects[at].object, objects[at].sealed) = (manifest.object.into(), manifest.sealed);
                continue;
            }
            push(&mut objects, &mut resolved, manifest, namespace, scopes)?;
        }
    }
    if let Some(share) = &entry.options.share {
        objects.iter_mut().filter(|object| share.target.matches(&object.key)).for_each(|o| o.take(share));
    }
    Ok(objects)
}

impl Resolved {
    /// Has so many replicas. What is still encrypted waits for being opened.
    fn take(&mut self, share: &Share) {
        if self.sealed.is_some() {
            return;
        }
        let fields = Arc::make_mut(&mut self.object).as_object_mut();
        let spec = fields.map(|fields| fields.entry("spec").or_insert_with(|| Value::Object(Map::new())));
        if let Some(spec) = spec.and_then(Value::as_object_mut) {
            spec.insert("replicas".into(), share.replicas.into());
        }
    }
}

/// Fills an object. Name and namespace stay text, whatever type their value has.
fn fill(object: &mut Value, values: &Values) -> Result<(), SubstituteError> {
    for field in IDENTITY {
        if let Some(Value::String(name)) = object.get_mut("metadata").and_then(|m| m.get_mut(field)) {
            // What was `$${` is `${` now, and must not be filled a second time.
            if name.contains("${") {
                let filled = template::text(name, values)?.into_owned();
                *name = filled.replace("${", "$${");
            }
        }
    }
    substitute(object, values)
}

/// The texts by which an object is known.
pub(super) const IDENTITY: [&str; 2] = ["name", "namespace"];

/// An object of a bundle, or the head of one that is still encrypted.
struct Manifest {
    object: Value,
    sealed: Option<Box<str>>,
}

/// A line of a bundle.
pub(super) enum Line {
    Object(Value),
    Sealed(Sealed),
}

impl Line {
    /// `None`: the hub did not write it.
    pub fn read(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        match value.get(Sealed::KEY) {
            Some(_) => Sealed::read(&value).map(Self::Sealed),
            None => Some(Self::Object(value)),
        }
    }

    /// What identifies each of its objects.
    pub fn heads(&self) -> &[Value] {
        match self {
            Self::Object(object) => std::slice::from_ref(object),
            Self::Sealed(sealed) => &sealed.objects,
        }
    }

    fn manifests(self, open: &Open<'_>) -> Vec<Manifest> {
        let sealed = match self {
            Self::Object(object) => return vec![Manifest { object, sealed: None }],
            Self::Sealed(sealed) => sealed,
        };
        let still = |why: &str| {
            let head = |object: &Value| Manifest { object: object.clone(), sealed: Some(why.into()) };
            sealed.objects.iter().map(head).collect()
        };
        let mut opened = match open(&sealed) {
            Ok(opened) => opened,
            Err(why) => return still(&why),
        };
        let keys = |objects: &[Value]| objects.iter().map(object_key).collect::<Vec<_>>();
        if keys(&opened) != keys(&sealed.objects) {
            return still("its apiVersion, kind and metadata are not what the hub read in them");
        }
        if let Err(why) = sealed.amend(&mut opened) {
            return still(&why);
        }
        for object in &mut opened {
            strip(object);
            mark(object);
        }
        opened.into_iter().map(|object| Manifest { object, sealed: None }).collect()
    }
}

fn push(
    objects: &mut Vec<Resolved>,
    seen: &mut BTreeMap<ObjectKey, usize>,
    manifest: Manifest,
    namespace: Option<&NamespaceOptions>,
    scopes: &dyn Scopes,
) -> Result<(), ResolveError> {
    let Manifest { mut object, sealed } = manifest;
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
    objects.push(Resolved { key, object: object.into(), served: scope.is_some(), sealed });
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
        let mut objects = BTreeSet::new();
        for (line, text) in lines(&bytes) {
            let keys = Line::read(text).and_then(|line| line.heads().iter().map(object_key).collect());
            let keys: Vec<ObjectKey> =
                keys.ok_or_else(|| ResolveError::Damaged { bundle: digest.to_string(), line })?;
            objects.extend(keys);
        }
        Ok(Self { digest, objects: Arc::new(objects), bytes: bytes.into() })
    }
}
