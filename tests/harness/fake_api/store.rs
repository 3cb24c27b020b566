//! Store: objects, whose fields they are, and everything that happened to them.
//!
//! In: writes. Out: the object as it is then, or how the API server says no. Pure; its clock stands still.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fields::{self, Breach, Set};
use super::kinds::{KINDS, Kind};

/// The clock stands still: no test asks it.
const NOW: &str = "2026-01-01T00:00:00Z";

/// Which object: plural and group, namespace, name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub group: String,
    pub plural: String,
    pub namespace: String,
    pub name: String,
}

/// Who owns fields: a manager, by `Apply` or `Update`.
type Owner = (String, &'static str);

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    /// Without managed fields and version, which are added when it is shown.
    object: Value,
    owners: BTreeMap<Owner, Set>,
    version: u64,
}

/// Something that happened to an object.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub version: u64,
    /// What to.
    pub key: Key,
    /// How it was before, if it was.
    pub before: Option<Value>,
    /// How it was then, or how it was when it was deleted.
    pub object: Value,
    /// Whether that is its end.
    pub deleted: bool,
}

/// How the server says no.
#[derive(Debug)]
pub struct No {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// (reason, message, field)
    pub causes: Vec<(&'static str, String, String)>,
    /// Of an object: its key, for the details.
    pub of: Option<(String, String)>,
}

/// How an apply is meant.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    pub manager: String,
    pub force: bool,
    pub strict: bool,
    pub dry_run: bool,
}

/// What came of a write.
pub struct Written {
    pub object: Value,
    pub created: bool,
    /// Fields that the server did not know and dropped.
    pub dropped: Vec<String>,
}

/// All of it.
#[derive(Debug, Default)]
pub struct Store {
    objects: BTreeMap<Key, Stored>,
    pub events: Vec<Event>,
    version: u64,
    made: u64,
}

impl Key {
    fn kind(&self) -> &'static Kind {
        Kind::of(&self.group, &self.plural).unwrap_or(&KINDS[0])
    }

    fn no(&self, code: u16, reason: &'static str, message: &str) -> No {
        let of = Some((self.plural.clone(), self.name.clone()));
        No { code, reason, message: message.to_owned(), causes: Vec::new(), of }
    }

    /// The object is not there.
    pub fn not_found(&self) -> No {
        self.no(404, "NotFound", &format!("{} {:?} not found", self.kind().in_messages(), self.name))
    }

    fn invalid(&self, breaches: &[Breach]) -> No {
        let cause = |b: &Breach| ("FieldValueInvalid", b.message.clone(), b.field.clone());
        let told: Vec<_> = breaches.iter().map(|b| format!("{}: {}", b.field, b.message)).collect();
        let kind = self.kind();
        let of = if kind.group.is_empty() {
            kind.kind.to_owned()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let message = format!("{of} {:?} is invalid: {}", self.name, told.join(", "));
        No { causes: breaches.iter().map(cause).collect(), ..self.no(422, "Invalid", &message) }
    }
}

impl Stored {
    fn shown(&self) -> Value {
        let mut object = self.object.clone();
        let entry = |((manager, operation), set): (&Owner, &Set)| {
            json!({
                "manager": manager, "operation": operation, "apiVersion": object["apiVersion"], "time": NOW,
                "fieldsType": "FieldsV1", "fieldsV1": fields::to_json(set),
            })
        };
        let managed: Vec<_> = self.owners.iter().filter(|(_, set)| !set.is_empty()).map(entry).collect();
        object["metadata"]["managedFields"] = managed.into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object
    }
}

impl Store {
    /// The version of the last change.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// An object as it is.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.objects.get(key).map(Stored::shown)
    }

    /// All objects of a kind in a namespace (or in all, `""`), in the order of their keys.
    pub fn list(&self, group: &str, plural: &str, namespace: &str) -> Vec<(Key, Value)> {
        let of = |key: &Key| {
            key.group == group && key.plural == plural && (namespace.is_empty() || key.namespace == namespace)
        };
        let found = self.objects.iter().filter(|(key, _)| of(key));
        found.map(|(key, stored)| (key.clone(), stored.shown())).collect()
    }

    /// Server-side apply.
    pub fn apply(&mut self, key: &Key, applied: &Value, terms: &Terms) -> Result<Written, No> {
        let kind = key.kind();
        self.admit(key)?;
        let (applied, dropped) = checked(key, applied, terms.strict)?;
        let before = self.objects.get(key).cloned();
        let mut stored = before.clone().unwrap_or_else(|| self.fresh(key));
        let me: Owner = (terms.manager.clone(), "Apply");
        let wanted = fields::of_object(kind, &applied);
        let contested = contested(&stored, &me, &wanted, &applied);
        if !contested.is_empty() && !terms.force {
            return Err(conflicts(key, &contested));
        }
        for (owner, path) in contested {
            if let Some(set) = stored.owners.get_mut(&owner) {
                set.remove(&path);
            }
        }
        let mine = stored.owners.insert(me, wanted.clone()).unwrap_or_default();
        for path in wanted.iter().filter(|path| fields::get(&applied, path).is_some()) {
            let value = fields::get(&applied, path).expect("just seen");
            fields::set(&mut stored.object, path, value);
        }
        for path in mine.difference(&wanted) {
            // An item stays, with its key, for as long as somebody owns a field of it.
            let item = path.iter().rposition(|step| step.starts_with("k:")).map_or(path.len(), |at| at + 1);
            let is_key = item + 1 == path.len() && fields::is_key(&path[item - 1], &path[item]);
            let base = if is_key { &path[..item] } else { &path[..] };
            let kept = stored.owners.values().any(|set| set.iter().any(|other| other.starts_with(base)));
            if !kept {
                fields::remove(&mut stored.object, path);
            }
        }
        let (object, created) = self.finish(key, before, stored, terms.dry_run)?;
        Ok(Written { object, created, dropped })
    }

    /// A merge patch, by somebody who does not apply.
    pub fn merge(&mut self, key: &Key, patch: &Value, manager: &str) -> Result<Value, No> {
        let before = self.objects.get(key).cloned().ok_or_else(|| key.not_found())?;
        let meta = &patch["metadata"];
        let other = |field: &str, now: &str| meta[field].as_str().is_some_and(|wanted| wanted != now);
        let uid = before.object["metadata"]["uid"].as_str().unwrap_or_default();
        if other("uid", uid) || other("resourceVersion", &before.version.to_string()) {
            return Err(key.no(
                409,
                "Conflict",
                "the object has been modified; please apply your changes to the latest version and try again",
            ));
        }
        let mut stored = before.clone();
        let mut patch = patch.clone();
        if let Some(fields) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
            fields.retain(|name, _| name != "uid" && name != "resourceVersion");
        }
        merge(&mut stored.object, &patch);
        own(key.kind(), &mut stored, &before, manager);
        Ok(self.finish(key, Some(before), stored, false)?.0)
    }

    /// A whole object, new.
    pub fn create(&mut self, key: &Key, object: &Value, manager: &str) -> Result<Value, No> {
        self.admit(key)?;
        if self.objects.contains_key(key) {
            let message = format!("{} {:?} already exists", key.kind().in_messages(), key.name);
            return Err(key.no(409, "AlreadyExists", &message));
        }
        let (object, _) = checked(key, object, false)?;
        let mut stored = self.fresh(key);
        let nothing = stored.clone();
        merge(&mut stored.object, &object);
        own(key.kind(), &mut stored, &nothing, manager);
        Ok(self.finish(key, None, stored, false)?.0)
    }

    /// Deletes, if the object is the one that is meant. With finalizers it stays, as terminating.
    pub fn delete(&mut self, key: &Key, options: &Value) -> Result<Value, No> {
        let before = self.objects.get(key).cloned().ok_or_else(|| key.not_found())?;
        let shown = before.shown();
        for field in ["uid", "resourceVersion"] {
            let wanted = &options["preconditions"][field];
            if !wanted.is_null() && *wanted != shown["metadata"][field] {
                let message = format!(
                    "Precondition failed: {field} in precondition: {wanted}, {field} in object meta: {}",
                    shown["metadata"][field]
                );
                return Err(key.no(409, "Conflict", &message));
            }
        }
        if shown["metadata"]["finalizers"].as_array().is_some_and(|names| !names.is_empty()) {
            let mut stored = before.clone();
            stored.object["metadata"]["deletionTimestamp"] = NOW.into();
            return Ok(self.finish(key, Some(before), stored, false)?.0);
        }
        self.version += 1;
        self.objects.remove(key);
        let (version, key) = (self.version, key.clone());
        let mut object = shown.clone();
        object["metadata"]["resourceVersion"] = version.to_string().into();
        self.events.push(Event { version, key, before: Some(shown), object: object.clone(), deleted: true });
        Ok(object)
    }

    /// The namespace has to be there.
    fn admit(&self, key: &Key) -> Result<(), No> {
        let named = |name: &str| Key {
            group: String::new(),
            plural: "namespaces".into(),
            namespace: String::new(),
            name: name.into(),
        };
        let namespace = named(&key.namespace);
        if key.kind().namespaced && !self.objects.contains_key(&namespace) {
            return Err(namespace.not_found());
        }
        Ok(())
    }

    fn fresh(&mut self, key: &Key) -> Stored {
        self.made += 1;
        let mut metadata = json!({"name": key.name, "creationTimestamp": NOW, "generation": 1});
        metadata["uid"] = format!("00000000-0000-4000-8000-{:012x}", self.made).into();
        if key.kind().namespaced {
            metadata["namespace"] = key.namespace.clone().into();
        }
        let object =
            json!({"apiVersion": key.kind().api_version(), "kind": key.kind().kind, "metadata": metadata});
        Stored { object, owners: BTreeMap::new(), version: 0 }
    }

    /// What every write ends with: what may not change has not, and what has not changed keeps its version.
    fn finish(
        &mut self,
        key: &Key,
        before: Option<Stored>,
        mut stored: Stored,
        dry_run: bool,
    ) -> Result<(Value, bool), No> {
        default(key, &mut stored.object);
        if let Some(before) = &before {
            let moved = |at: &&&str| before.object.pointer(at) != stored.object.pointer(at);
            let breach = |at: &&str| Breach {
                field: at.trim_start_matches('/').replace('/', "."),
                message: format!(
                    "Invalid value: {}: field is immutable",
                    stored.object.pointer(at).unwrap_or(&Value::Null)
                ),
                unknown: false,
            };
            let breaches: Vec<_> = key.kind().immutable.iter().filter(moved).map(breach).collect();
            if !breaches.is_empty() {
                return Err(key.invalid(&breaches));
            }
            if *before == stored {
                return Ok((before.shown(), false));
            }
            if before.object["spec"] != stored.object["spec"] {
                let generation = before.object["metadata"]["generation"].as_u64().unwrap_or_default();
                stored.object["metadata"]["generation"] = (generation + 1).into();
            }
        }
        stored.version = self.version + 1;
        let shown = stored.shown();
        if !dry_run {
            self.version += 1;
            let (version, before) = (self.version, before.as_ref().map(Stored::shown));
            let terminated = stored.object["metadata"]["deletionTimestamp"].is_string()
                && stored.object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
            if terminated {
                self.objects.remove(key);
            } else {
                self.objects.insert(key.clone(), stored);
            }
            self.events.push(Event {
                version,
                key: key.clone(),
                before: before.clone(),
                object: shown.clone(),
                deleted: terminated,
            });
            return Ok((shown, before.is_none()));
        }
        Ok((shown, before.is_none()))
    }
}

/// What the server itself fills in.
fn default(key: &Key, object: &mut Value) {
    if key.plural == "deployments" && object["spec"]["replicas"].is_null() {
        object["spec"]["replicas"] = 1.into();
    }
}

/// The object without the fields that the schema does not know, unless they are to be refused.
fn checked(key: &Key, object: &Value, strict: bool) -> Result<(Value, Vec<String>), No> {
    let breaches = fields::breaches(key.kind(), object);
    if breaches.iter().any(|breach| strict || !breach.unknown) {
        return Err(key.invalid(&breaches));
    }
    let mut object = object.clone();
    let mut dropped = Vec::new();
    for breach in breaches {
        let pointer = format!("/{}", breach.field.replace(['.', '['], "/").replace(']', ""));
        if let Some((parent, name)) = pointer.rsplit_once('/')
            && let Some(fields) = object.pointer_mut(parent).and_then(Value::as_object_mut)
        {
            fields.remove(name);
            dropped.push(breach.field);
        }
    }
    Ok((object, dropped))
}

/// Fields that others own and that are to become something else.
fn contested(stored: &Stored, me: &Owner, wanted: &Set, applied: &Value) -> BTreeSet<(Owner, fields::Path)> {
    let mut found = BTreeSet::new();
    for (owner, set) in stored.owners.iter().filter(|(owner, _)| *owner != me) {
        for path in set.intersection(wanted).filter(|path| !path.last().is_some_and(|s| s.starts_with("k:")))
        {
            if fields::get(&stored.object, path) != fields::get(applied, path) {
                found.insert((owner.clone(), path.clone()));
            }
        }
    }
    found
}

fn conflicts(key: &Key, contested: &BTreeSet<(Owner, fields::Path)>) -> No {
    let version = key.kind().api_version();
    let cause = |((manager, operation), path): &(Owner, fields::Path)| {
        let how = if *operation == "Update" {
            format!(" with {manager:?} using {version} at {NOW}")
        } else {
            format!(" with {manager:?}")
        };
        ("FieldManagerConflict", format!("conflict{how}"), fields::in_words(path))
    };
    let causes: Vec<_> = contested.iter().map(cause).collect();
    let said: Vec<_> = causes.iter().map(|(_, message, field)| format!("{message}: {field}")).collect();
    let message = format!("Apply failed with {} conflict(s): {}", causes.len(), said.join("; "));
    No { causes, ..key.no(409, "Conflict", &message) }
}

/// Whoever updates owns what is new or other than before, and nobody owns what is gone.
fn own(kind: &Kind, stored: &mut Stored, before: &Stored, manager: &str) {
    let now = fields::of_object(kind, &stored.object);
    let changed =
        |path: &&fields::Path| fields::get(&stored.object, path) != fields::get(&before.object, path);
    let changed: Set = now.iter().filter(changed).cloned().collect();
    for set in stored.owners.values_mut() {
        set.retain(|path| now.contains(path) && !changed.contains(path));
    }
    stored.owners.entry((manager.to_owned(), "Update")).or_default().extend(changed);
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in patch {
        match value {
            Value::Null => drop(object.as_object_mut().map(|fields| fields.remove(name))),
            value => merge(&mut object[name.as_str()], value),
        }
    }
}
