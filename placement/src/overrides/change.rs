//! Change: what an override does to one object.
//!
//! In: an object, a [`Change`]. Out: the object, changed. Pure, and the same on the hub and, for an encrypted object, on the
//! spoke after it was opened. Never: changes which object it is; tells a value in an error.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::operations::{OperationError, operate};
use super::strategic::{MergeError, Merged, merge};
use crate::ObjectKey;
use crate::render::object_key;

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Operations of RFC 6902, all or none.
    Json(json_patch::Patch),
    /// A strategic merge patch for built-in kinds, a JSON merge patch (RFC 7386) for all others.
    Merge(Value),
    /// Images in pod templates.
    Images(Vec<Image>),
}

/// A rule about images: as kustomize's `images`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// The image that is meant, without tag and digest.
    pub name: String,
    /// What it is called instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_name: Option<String>,
    /// Its tag, instead of tag and digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_tag: Option<String>,
    /// Its digest, instead of tag and digest; with a new tag, beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What is kept of one object's images from change to change.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// The names of rules that meant something.
    pub used: BTreeSet<String>,
    /// What rules wrote, with the name that the manifest or a patch gave. What a patch writes after them is not here.
    names: BTreeMap<String, String>,
}

/// Why a change cannot be made. Names places, never values.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// An operation of RFC 6902 failed.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// A merge patch failed.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// It would be another object.
    #[error("it changes apiVersion, kind, name or namespace, and with that which object it is")]
    Identity,
}

impl Change {
    /// Makes the change. `seen` is what earlier changes of the same object left.
    ///
    /// # Errors
    /// Why it cannot be made; then the object is as it was.
    pub fn apply(&self, object: &mut Value, seen: &mut Images) -> Result<Merged, ChangeError> {
        let Some(before) = object_key(object) else { return Err(ChangeError::Identity) };
        let version = object.get("apiVersion").cloned();
        let mut changed = object.clone();
        let merged = match self {
            Self::Json(patch) => {
                operate(&mut changed, patch)?;
                Merged::Kept
            }
            Self::Merge(patch) => merge(&before.group, &before.kind, &mut changed, &nameless(patch))?,
            Self::Images(images) => {
                set_images(&mut changed, images, seen);
                Merged::Kept
            }
        };
        if merged == Merged::Kept
            && (object_key(&changed) != Some(before) || changed.get("apiVersion") != version.as_ref())
        {
            return Err(ChangeError::Identity);
        }
        *object = changed;
        Ok(merged)
    }

    /// Which object a merge patch names by itself.
    pub fn names(&self) -> Option<ObjectKey> {
        match self {
            Self::Merge(patch) => object_key(patch),
            Self::Json(_) | Self::Images(_) => None,
        }
    }
}

/// A merge patch without what says whose it is, which may stand in it and changes nothing.
fn nameless(patch: &Value) -> Value {
    let mut patch = patch.clone();
    if let Some(fields) = patch.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("name");
            metadata.remove("namespace");
        }
    }
    patch
}

/// Lists of containers in pods and pod templates, wherever they are.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

fn set_images(object: &mut Value, images: &[Image], seen: &mut Images) {
    // Its schema may well have a property of that name.
    if object.get("kind").is_some_and(|kind| kind == "CustomResourceDefinition") {
        return;
    }
    // Apart from what is written now: two rules may exchange two names.
    let before = std::mem::take(&mut seen.names);
    walk(object, images, &before, seen);
}

fn walk(value: &mut Value, images: &[Image], before: &BTreeMap<String, String>, seen: &mut Images) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields.iter_mut() {
                if let (true, Value::Array(containers)) = (CONTAINERS.contains(&key.as_str()), &mut *value) {
                    for image in containers.iter_mut().filter_map(|container| container.get_mut("image")) {
                        set_image(image, images, before, seen);
                    }
                }
                walk(value, images, before, seen);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, images, before, seen)),
        _ => {}
    }
}

fn set_image(value: &mut Value, images: &[Image], before: &BTreeMap<String, String>, seen: &mut Images) {
    let Some(text) = value.as_str() else { return };
    let (name, tag, digest) = split(text);
    let given = before.get(text).map_or(name, String::as_str).to_owned();
    let Some(image) = images.iter().find(|image| image.name == given) else {
        if before.contains_key(text) {
            seen.names.insert(text.to_owned(), given);
        }
        return;
    };
    seen.used.insert(given.clone());
    let name = image.new_name.as_deref().unwrap_or(name);
    let (tag, digest) = match (&image.new_tag, &image.digest) {
        (None, None) => (tag, digest),
        (tag, digest) => (tag.as_deref(), digest.as_deref()),
    };
    let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    let written = format!("{name}{tag}{digest}");
    seen.names.insert(written.clone(), given);
    *value = Value::String(written);
}

/// Name, tag, digest. A colon before the last slash is that of a registry's port.
fn split(image: &str) -> (&str, Option<&str>, Option<&str>) {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let last = rest.rfind('/').map_or(0, |slash| slash + 1);
    match rest[last..].find(':') {
        Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..]), digest),
        None => (rest, None, digest),
    }
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
