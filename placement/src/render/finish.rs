//! The pure end of rendering: an engine's output becomes a bundle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::resolve::object_key;
use super::sealed::{self, Group};
use super::{Bundle, Engine, Format, MAX_BUNDLE_BYTES, MAX_OBJECTS, Needs};
use crate::catalog::yaml::{self, Node};
use crate::catalog::{Position, Problem};
use crate::overrides::template::{self, Uses};
use crate::{Digest, ObjectKey};

/// An encrypted document where it cannot be.
const THROUGH_ENGINE: &str =
    "a SOPS document comes from a path source only: an engine would break its MAC; make it an app of its own";

/// Why an app's files do not make a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.first().map(ToString::to_string).unwrap_or_default())]
pub struct FinishError(pub Vec<Problem>);

/// Reads manifests and makes the bundle of them. `substitute`: their `${…}` will be filled in.
///
/// # Errors
/// Every document that cannot be read or is no Kubernetes object, with its position; then there is no bundle at all,
/// since one that lacks an object would remove it.
pub fn finish(
    needs: &Needs,
    files: &BTreeMap<Arc<str>, Arc<[u8]>>,
    substitute: bool,
) -> Result<Bundle, FinishError> {
    let mut manifests = Manifests::of_files(substitute);
    for relative in needs.files.keys() {
        let file = path_of(needs, relative);
        match files.get(relative) {
            Some(content) => manifests.read(&file, content),
            None => manifests.problem(
                &file,
                Position::START,
                "the file is not at hand; this is a fault of the hub",
            ),
        }
        if manifests.is_full {
            break;
        }
    }
    manifests.finish(&needs.source)
}

/// The path of a file from the repository's root: a source is a directory, or the file itself.
pub(crate) fn path_of(needs: &Needs, relative: &str) -> Arc<str> {
    let source = &*needs.source;
    if let Engine::Helm(chart) = &needs.engine {
        // The innermost stands last.
        let inside = |(put, from): (&Arc<str>, &Arc<str>)| {
            let inner = relative.strip_prefix(&**put)?.strip_prefix('/')?;
            Some(if from.is_empty() { inner.into() } else { format!("{from}/{inner}").into() })
        };
        if let Some(path) = chart.placed.iter().rev().find_map(inside) {
            return path;
        }
    }
    if needs.engine != Engine::Manifests {
        return if source.is_empty() { relative.into() } else { format!("{source}/{relative}").into() };
    }
    let is_itself = needs.files.len() == 1 && source.rsplit('/').next() == Some(relative);
    match source {
        _ if is_itself => source.into(),
        "" => relative.into(),
        directory => format!("{directory}/{relative}").into(),
    }
}

/// The objects read so far.
#[derive(Default)]
pub(super) struct Manifests {
    bytes: Vec<u8>,
    objects: BTreeMap<ObjectKey, (Arc<str>, Position)>,
    problems: Vec<Problem>,
    is_full: bool,
    /// The files are as they stand in Git, so that the MAC of a SOPS document still fits.
    verbatim: bool,
    /// `${…}` will be filled in.
    substitute: bool,
}

impl Manifests {
    /// Of files as they stand in Git.
    fn of_files(substitute: bool) -> Self {
        Self { verbatim: true, substitute, ..Self::default() }
    }

    /// Of what an engine wrote.
    pub(super) fn of_output(substitute: bool) -> Self {
        Self { substitute, ..Self::default() }
    }

    pub(super) fn problem(&mut self, file: &Arc<str>, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::error(file, at, message));
    }

    fn read(&mut self, file: &Arc<str>, content: &[u8]) {
        if content.len() > MAX_BUNDLE_BYTES {
            let message = format!(
                "the file is larger than a whole bundle may be, {} MiB; split the app",
                MAX_BUNDLE_BYTES >> 20
            );
            return self.problem(file, Position::START, message);
        }
        let text = match std::str::from_utf8(content) {
            Ok(text) => text,
            Err(error) => {
                let at = Position::after(&content[..error.valid_up_to()]);
                return self.problem(file, at, "the file is not UTF-8; save it as UTF-8");
            }
        };
        let format = if file.ends_with(".json") { Format::Json } else { Format::Yaml };
        let mut group: Option<Group> = None;
        for part in yaml::parts(text) {
            let alone = part.documents.len() == 1;
            for document in part.documents {
                let faulty = !document.faults.is_empty();
                for fault in document.faults {
                    self.problem(file, fault.position, fault.message);
                }
                let Some(root) = document.root.filter(|_| !faulty) else { continue };
                if !sealed::is_sealed(&root) || is_catalogs(&root) {
                    self.seal(group.take());
                    self.document(file, &root);
                } else if !alone {
                    self.problem(file, root.position, "an encrypted document ends with ---, not with ...");
                } else if let Some(head) = self.sealed(file, &root) {
                    let mac = sealed::mac(&root);
                    if group.as_ref().is_some_and(|group| group.mac != mac) {
                        self.seal(group.take());
                    }
                    group.get_or_insert_with(|| Group::new(mac, format)).add(part.text, head);
                }
            }
        }
        self.seal(group);
    }

    /// A SOPS document: what may be known of it, if it can be deployed.
    fn sealed(&mut self, file: &Arc<str>, root: &Node) -> Option<Value> {
        let checked = sealed::check(root).and_then(|()| check(root));
        if let Err((position, message)) = checked {
            self.problem(file, position, message);
            return None;
        }
        let head = sealed::head(root);
        if self.substitute && head.to_string().contains("${") {
            let message = "an encrypted document is not filled in; write the value itself, or take it apart";
            self.problem(file, root.position, message);
            return None;
        }
        let key = object_key(&head).expect("check found apiVersion, kind and name");
        self.enter(key, file, root.position).then_some(head)
    }

    /// Writes SOPS documents of one MAC.
    fn seal(&mut self, group: Option<Group>) {
        let Some(group) = group else { return };
        serde_json::to_writer(&mut self.bytes, &group.line()).expect("writing JSON to memory does not fail");
        self.bytes.push(b'\n');
    }

    pub(super) fn document(&mut self, file: &Arc<str>, root: &Node) {
        let Some(map) = root.map() else {
            return self.problem(
                file,
                root.position,
                "this document is no Kubernetes object; it has to be a mapping",
            );
        };
        let text = |key: &str| map.get(key).and_then(Node::text);
        if is_catalogs(root) {
            return;
        }
        if text("apiVersion") == Some("v1") && text("kind") == Some("List") {
            match map.get("items").map(|node| &node.value) {
                Some(yaml::Value::List(items)) => items.iter().for_each(|item| self.document(file, item)),
                None | Some(yaml::Value::Null) => {}
                Some(_) => self.problem(file, root.position, "items of a List has to be a list"),
            }
            return;
        }
        match check(root).and_then(|()| self.templates(root)) {
            Ok(()) if sealed::is_sealed(root) && !self.verbatim => {
                self.problem(file, root.position, THROUGH_ENGINE)
            }
            Ok(()) if sealed::is_sealed(root) => {
                let message = "an encrypted object stands in a List; make it a document of its own";
                self.problem(file, root.position, message);
            }
            Ok(()) => self.object(file, root),
            Err((position, message)) => self.problem(file, position, message),
        }
    }

    /// Whether its `${…}` can be filled in. What kind of object it is, the hub has to know.
    fn templates(&self, root: &Node) -> Result<(), (Position, String)> {
        if !self.substitute {
            return Ok(());
        }
        for key in ["apiVersion", "kind"] {
            let node = root.map().and_then(|map| map.get(key));
            if let Some(node) = node.filter(|node| node.text().is_some_and(|text| text.contains("${"))) {
                return Err((node.position, format!("{key} cannot be filled in; write it out")));
            }
        }
        templates(root)
    }

    fn object(&mut self, file: &Arc<str>, root: &Node) {
        let mut object = root.to_json();
        strip(&mut object);
        let key = object_key(&object).expect("check found apiVersion, kind and name");
        if !self.enter(key, file, root.position) {
            return;
        }
        serde_json::to_writer(&mut self.bytes, &object).expect("writing JSON to memory does not fail");
        self.bytes.push(b'\n');
        if self.bytes.len() > MAX_BUNDLE_BYTES {
            self.is_full = true;
            let message =
                format!("the app's manifests are larger than {} MiB; split it", MAX_BUNDLE_BYTES >> 20);
            self.problem(file, root.position, message);
        }
    }

    /// Takes an object in, unless it stands there already, or there are too many.
    fn enter(&mut self, key: ObjectKey, file: &Arc<str>, at: Position) -> bool {
        let message = if let Some((other, at)) = self.objects.get(&key) {
            format!("{key} stands at {other}:{at} too; remove one of them")
        } else if self.objects.len() == MAX_OBJECTS {
            self.is_full = true;
            format!("the app has more than {MAX_OBJECTS} objects; split it")
        } else {
            self.objects.insert(key, (file.clone(), at));
            return true;
        };
        self.problem(file, at, message);
        false
    }

    pub(super) fn finish(mut self, source: &Arc<str>) -> Result<Bundle, FinishError> {
        if self.objects.is_empty() && self.problems.is_empty() {
            let message =
                "there is no Kubernetes object in it; an app without objects would remove all it has";
            self.problem(source, Position::START, message);
        }
        if !self.problems.is_empty() {
            self.problems.sort();
            return Err(FinishError(self.problems));
        }
        let objects: BTreeSet<ObjectKey> = self.objects.into_keys().collect();
        Ok(Bundle { digest: Digest::of(&self.bytes), bytes: self.bytes.into(), objects: Arc::new(objects) })
    }
}

/// Whether a document is the catalog's, which may stand beside an app's manifests.
pub(crate) fn is_catalogs(root: &Node) -> bool {
    let version = root.map().and_then(|map| map.get("apiVersion")).and_then(Node::text);
    version.is_some_and(|version| version.starts_with("nave.dev/"))
}

/// Whether a document is a Kubernetes object that can be applied by name.
pub(super) fn check(root: &Node) -> Result<(), (Position, String)> {
    let none = yaml::Map::default();
    let map = root.map().unwrap_or(&none);
    for key in ["apiVersion", "kind"] {
        required(map, root.position, key, key)?;
    }
    let Some(node) = map.get("metadata") else {
        return Err((root.position, "metadata is missing; give the object metadata.name".to_owned()));
    };
    let Some(metadata) = node.map() else {
        return Err((node.position, "metadata has to be a mapping with a name".to_owned()));
    };
    if let Some(generate) = metadata.get("generateName").filter(|_| metadata.get("name").is_none()) {
        let message = "generateName makes a new object each time; give the object metadata.name";
        return Err((generate.position, message.to_owned()));
    }
    required(metadata, node.position, "name", "metadata.name")?;
    match metadata.get("namespace") {
        Some(namespace) if namespace.text().is_none() && !matches!(namespace.value, yaml::Value::Null) => {
            Err((namespace.position, text_wanted(namespace, "metadata.namespace")))
        }
        _ => Ok(()),
    }
}

fn required(map: &yaml::Map, at: Position, key: &str, path: &str) -> Result<(), (Position, String)> {
    match map.get(key) {
        None => Err((
            at,
            format!("{path} is missing; every Kubernetes object has apiVersion, kind and metadata.name"),
        )),
        Some(node) if node.text().is_none_or(str::is_empty) => Err((node.position, text_wanted(node, path))),
        Some(_) => Ok(()),
    }
}

fn text_wanted(node: &Node, path: &str) -> String {
    match &node.value {
        yaml::Value::Bool(value, written) => {
            format!("{path}: {written} is read as {value}; write \"{written}\"")
        }
        yaml::Value::Number(value, written) => {
            format!("{path}: {written} is read as the number {value}; write \"{written}\"")
        }
        _ => format!("{path} has to be a string that is not empty"),
    }
}

/// The first text that is no template.
fn templates(node: &Node) -> Result<(), (Position, String)> {
    let told = |at: Position| move |error: template::TemplateError| (at, error.to_string());
    let mut uses = Uses::new();
    match &node.value {
        yaml::Value::Text(text) => template::uses_of_text(text, &mut uses).map_err(told(node.position)),
        yaml::Value::List(items) => items.iter().try_for_each(templates),
        yaml::Value::Map(map) => map.0.iter().try_for_each(|entry| {
            template::uses_of_key(&entry.key, &mut uses).map_err(told(entry.position))?;
            templates(&entry.node)
        }),
        _ => Ok(()),
    }
}

/// Drops what a dump of a live object carries and nobody may apply.
pub(crate) fn strip(object: &mut Value) {
    let Some(map) = object.as_object_mut() else { return };
    map.remove("status");
    if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut)
        && metadata.get("creationTimestamp").is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
}

#[cfg(test)]
#[path = "finish_tests.rs"]
mod tests;
