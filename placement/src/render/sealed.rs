//! Sealed: SOPS documents of an app's files, carried as they stand in Git.
//!
//! In: a parsed document and its text. Out: whether it can be deployed, its head, and a line of the bundle; for who opens
//! it, the values in the order that its MAC covers them.
//! Never: encodes an encrypted document anew, decrypts anything (the spoke does), takes one whose name is encrypted.
//!
//! The MAC of a SOPS file covers the values of all its documents in order. So documents of one MAC, and only they, share
//! a line of the bundle:
//!
//! ```text
//! {"nave.dev/sops":{"format":"yaml","objects":[{"apiVersion":…,"kind":…,"metadata":{…}}],"text":"…"}}
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Number, json};

use super::amend::sorted;
use super::finish::path_of;
use super::{Engine, Needs};
use crate::catalog::yaml::{self, Entry, Map, Node};
use crate::catalog::{Position, Problem};
use crate::overrides::Change;

/// How to mend a document that hides what it is.
const IN_CLEAR: &str =
    "a cluster has to know which object it is; in .sops.yaml set encrypted_regex: ^(data|stringData)$";

/// SOPS documents of one MAC.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    /// How the text is written.
    pub format: Format,
    /// apiVersion, kind and metadata of each object, in the order of the text.
    pub objects: Vec<serde_json::Value>,
    /// The documents, as they stand in Git.
    pub text: Arc<str>,
    /// What overrides change in them, in order, once they are opened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Later>,
}

/// A change that waits until an object is opened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Later {
    /// Which of the objects, from 0.
    pub object: usize,
    /// The change.
    pub change: Change,
}

/// The text is as public as the repository it comes from, and as long.
impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("objects", &self.objects).finish_non_exhaustive()
    }
}

/// How a SOPS document is written. SOPS reads every number of JSON as a floating-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// A value of a document, its keys in the order of the text.
pub enum Tree {
    /// Neither encrypted nor under the MAC.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text, encrypted or not.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping.
    Map(Vec<(String, Tree)>),
}

/// The annotation that an object gets that was encrypted in Git and is no Secret: what it holds may not be told either.
pub const SECRET: &str = "nave.dev/secret";

/// Whether what an object holds may not be told: it is a Secret of the core group, or says so itself.
pub fn is_secret(object: &serde_json::Value) -> bool {
    let text = |field: &str| object.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
    let of_core = text("kind").eq_ignore_ascii_case("Secret") && !text("apiVersion").contains('/');
    of_core || object.pointer("/metadata/annotations").is_some_and(|all| all.get(SECRET).is_some())
}

/// Puts [`SECRET`] on an object that was just opened.
pub(super) fn mark(object: &mut serde_json::Value) {
    if !is_secret(object)
        && let Some(metadata) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut)
    {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(SECRET.into(), "true".into());
        }
    }
}

impl Sealed {
    /// The one key of its line.
    pub(super) const KEY: &'static str = "nave.dev/sops";

    pub(super) fn line(&self) -> serde_json::Value {
        json!({Self::KEY: sorted(json!(self))})
    }

    pub(super) fn read(line: &serde_json::Value) -> Option<Self> {
        Self::deserialize(line.get(Self::KEY)?).ok().filter(|sealed| !sealed.objects.is_empty())
    }

    /// The documents, parsed as SOPS does. `None`: the text is not what the hub found it to be.
    pub fn documents(&self) -> Option<Vec<Tree>> {
        let documents = yaml::read(&self.text);
        let trees = documents.iter().map(|document| {
            let root = document.root.as_ref().filter(|_| document.faults.is_empty())?;
            Some(self.tree(root))
        });
        trees.collect::<Option<Vec<_>>>().filter(|trees| trees.len() == self.objects.len())
    }

    fn tree(&self, node: &Node) -> Tree {
        match &node.value {
            yaml::Value::Null => Tree::Null,
            // SOPS reads YAML 1.2: `yes` is text to it.
            yaml::Value::Bool(value, written) => match written.to_ascii_lowercase().as_str() {
                "true" | "false" => Tree::Bool(*value),
                _ => Tree::Text(written.to_string()),
            },
            yaml::Value::Number(number, _) => Tree::Number(match (self.format, number.as_f64()) {
                (Format::Json, Some(float)) if float.abs() > MAX_EXACT => {
                    Number::from_f64(float).unwrap_or_else(|| number.clone())
                }
                _ => number.clone(),
            }),
            yaml::Value::Text(text) => Tree::Text(text.clone()),
            yaml::Value::List(items) => Tree::List(items.iter().map(|item| self.tree(item)).collect()),
            yaml::Value::Map(map) => {
                // A key is what was written: SOPS takes no other for text.
                let key = |entry: &Entry| entry.written.as_deref().unwrap_or(&entry.key).to_owned();
                Tree::Map(map.0.iter().map(|entry| (key(entry), self.tree(&entry.node))).collect())
            }
        }
    }
}

/// 2^53: up to here a floating-point number holds every integer.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The documents of one MAC, as they are read.
pub(super) struct Group {
    pub mac: String,
    format: Format,
    text: String,
    heads: Vec<serde_json::Value>,
}

impl Group {
    pub fn new(mac: String, format: Format) -> Self {
        Self { mac, format, text: String::new(), heads: Vec::new() }
    }

    pub fn add(&mut self, text: &str, head: serde_json::Value) {
        self.text.push_str(text);
        self.heads.push(head);
    }

    pub fn line(self) -> serde_json::Value {
        let Self { format, text, heads, .. } = self;
        json!({Sealed::KEY: {"format": format, "objects": heads, "text": text}})
    }
}

fn metadata_of(root: &Node) -> Option<(&Node, &Map)> {
    let node = root.map()?.get("sops")?;
    Some((node, node.map()?))
}

fn text<'a>(map: &'a Map, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Node::text).filter(|text| !text.is_empty())
}

/// Whether SOPS wrote this document.
pub(crate) fn is_sealed(root: &Node) -> bool {
    let marks = ["mac", "lastmodified", "version", "age", "pgp", "kms", "key_groups"];
    metadata_of(root).is_some_and(|(_, sops)| marks.iter().any(|mark| sops.get(mark).is_some()))
}

/// The encrypted MAC, which the documents of one file share.
pub(super) fn mac(root: &Node) -> String {
    metadata_of(root).and_then(|(_, sops)| text(sops, "mac")).unwrap_or_default().to_owned()
}

/// apiVersion, kind and metadata.
pub(super) fn head(root: &Node) -> serde_json::Value {
    let of = |key: &str| root.map().and_then(|map| map.get(key)).map(Node::to_json).unwrap_or_default();
    json!({"apiVersion": of("apiVersion"), "kind": of("kind"), "metadata": of("metadata")})
}

/// Whether a spoke could open it and knows which object it is.
pub(super) fn check(root: &Node) -> Result<(), (Position, String)> {
    let Some((at, sops)) = metadata_of(root) else { return Ok(()) };
    for key in ["apiVersion", "kind", "metadata"] {
        if let Some(hidden) = root.map().and_then(|map| map.get(key)).and_then(hidden) {
            return Err((hidden, format!("{key} is encrypted; {IN_CLEAR}")));
        }
    }
    let says = |message: &str| Err((at.position, message.to_owned()));
    if root.map().and_then(|map| text(map, "kind")) == Some("List") {
        return says("a List cannot be deployed encrypted; encrypt its items as documents of their own");
    }
    if sops.get("key_groups").is_some_and(|groups| !is_empty(groups)) {
        return says("key groups are not supported; encrypt it to one list of age recipients");
    }
    if ["encrypted_comment_regex", "unencrypted_comment_regex"].iter().any(|key| text(sops, key).is_some()) {
        return says("rules about comments are not supported; use encrypted_regex");
    }
    let recipients = match sops.get("age").map(|age| &age.value) {
        Some(yaml::Value::List(recipients)) => recipients.as_slice(),
        _ => &[],
    };
    let usable =
        |one: &Node| one.map().is_some_and(|map| text(map, "recipient").and(text(map, "enc")).is_some());
    if !recipients.iter().any(usable) {
        return says(
            "it is encrypted to no age recipient, so no cluster can open it; add the clusters' recipients \
             (`hub secret recipients` prints them) to .sops.yaml and run `sops updatekeys`",
        );
    }
    for key in ["mac", "lastmodified"] {
        if text(sops, key).is_none() {
            return says(&format!(
                "sops.{key} is missing, so nobody could tell whether it was changed; encrypt it again"
            ));
        }
    }
    Ok(())
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        yaml::Value::Null => true,
        yaml::Value::List(items) => items.is_empty(),
        _ => false,
    }
}

/// Where an encrypted value stands in a part that has to be in clear.
fn hidden(node: &Node) -> Option<Position> {
    match &node.value {
        yaml::Value::Text(text) => text.starts_with("ENC[").then_some(node.position),
        yaml::Value::List(items) => items.iter().find_map(hidden),
        yaml::Value::Map(map) => map.0.iter().find_map(|entry| hidden(&entry.node)),
        _ => None,
    }
}

/// Warnings for Secrets that everybody who may read the repository can read. They stop nothing.
pub fn plain_secrets(needs: &Needs, files: &BTreeMap<Arc<str>, Arc<[u8]>>) -> Vec<Problem> {
    let mut warnings = Vec::new();
    // What an engine reads may be a part of an object, or a template of one.
    let is_manifests = needs.engine == Engine::Manifests;
    for relative in needs.files.keys().filter(|_| is_manifests) {
        let text = files.get(relative).and_then(|content| std::str::from_utf8(content).ok());
        // Most files have none, and need not be parsed for that.
        let Some(text) = text.filter(|text| text.contains("Secret")) else { continue };
        let file = path_of(needs, relative);
        for root in yaml::read(text).into_iter().filter_map(|document| document.root) {
            warnings.extend(plain_secret(&root).map(|at| Problem::error(&file, at, PLAIN).warning()));
        }
    }
    warnings
}

const PLAIN: &str = "a Secret in plain text: everybody who can read the repository, or the hub, can read it; \
                     encrypt it with SOPS to the clusters' age recipients (`hub secret recipients`)";

fn plain_secret(root: &Node) -> Option<Position> {
    let map = root.map()?;
    let is = |key: &str, value: &str| text(map, key) == Some(value);
    let holds = |key: &str| map.get(key).and_then(Node::map).is_some_and(|data| !data.0.is_empty());
    let plain = is("apiVersion", "v1") && is("kind", "Secret") && (holds("data") || holds("stringData"));
    (plain && !is_sealed(root)).then_some(root.position)
}

#[cfg(test)]
#[path = "sealed_tests.rs"]
mod tests;
