//! Reading the fields of an `Override`.
//!
//! In: the fields of its `spec`. Out: [`Override`]. Never: takes a patch that it cannot read whole, or one that means nothing.

use serde_json::Value as Json;

use super::decode::parameters;
use super::fields::{Field, Fields, Reader, each};
use super::overriding::{Override, Patch, PatchTarget};
use super::place::{apps, clusters};
use super::references::References;
use super::source_fields;
use super::yaml;
use crate::overrides::{Change, Image, template};
use crate::select::Selector;

/// The fields.
pub(super) const FIELDS: &[&str] =
    &["apps", "clusters", "priority", "source", "parameters", "images", "patches"];

/// The most characters of a tag, from the OCI's distribution specification.
const MOST_OF_TAG: usize = 128;
/// For a value that is not known yet, where the text around it is judged.
const STAND_IN: &str = "x";

/// Reads them.
pub(super) fn overriding(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
) -> Override {
    let read = Override {
        apps: apps(reader, references, fields),
        clusters: clusters(reader, references, fields),
        priority: fields.get("priority").and_then(|f| reader.whole(&f)).unwrap_or_default(),
        source: fields.get("source").and_then(|f| source_fields::change(reader, references, &f)),
        parameters: fields.get("parameters").map(|f| parameters(reader, &f)).unwrap_or_default(),
        images: each(reader, fields, "images", image),
        patches: each(reader, fields, "patches", patch),
    };
    let given = |name: &&str| fields.get(name).is_some();
    if !["source", "parameters", "images", "patches"].iter().any(given) {
        reader.error(fields.position, "spec changes nothing; give it source, parameters, images or patches");
    }
    read
}

fn image(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Image> {
    let fields = reader.fields(field, &["name", "newName", "newTag", "digest"], &[])?;
    let mut text = |name: &str| fields.get(name).and_then(|f| Some((reader.text(&f)?, f.node.position)));
    let [name, new_name, new_tag, digest] = ["name", "newName", "newTag", "digest"].map(&mut text);
    let path = |name: &str| fields.path_of(name);
    for (field, given) in [("name", &name), ("newName", &new_name)] {
        if let Some((text, at)) = given
            && (text.is_empty()
                || text.contains('@')
                || text.rsplit('/').next().is_some_and(|n| n.contains(':')))
        {
            let message =
                format!("{}: {text:?} is not an image's name alone; give its tag as newTag", path(field));
            reader.error(*at, message);
        }
    }
    if let Some((text, at)) = &new_name
        && let Err(error) = template::sample(text, STAND_IN)
    {
        reader.error(*at, format!("{}: {text:?} cannot be filled in: {error}", path("newName")));
    }
    if let Some((tag, at)) = &new_tag
        && let Some(problem) = tag_problem(tag)
    {
        reader.error(*at, format!("{}: {tag:?} {problem}", path("newTag")));
    }
    if let Some((digest, at)) = &digest
        && !is_digest(digest)
    {
        let message = format!(
            "{}: {digest:?} is no digest; write it as sha256:… with all its 64 digits, 0-9 and a-f",
            path("digest")
        );
        reader.error(*at, message);
    }
    if name.is_none() && fields.get("name").is_none() {
        reader.missing(
            fields.position,
            &path("name"),
            "name the image as the manifest does, without its tag",
        );
    } else if [&new_name, &new_tag, &digest].iter().all(|given| given.is_none()) {
        reader.error(
            fields.position,
            format!("{} changes nothing; give it newName, newTag or digest", field.path),
        );
    }
    let text = |given: Option<(String, _)>| given.map(|(text, _)| text);
    Some(Image { name: name?.0, new_name: text(new_name), new_tag: text(new_tag), digest: text(digest) })
}

/// What is wrong with a tag. It is one as the OCI's distribution specification has it, and `${…}` may stand in it: an
/// app's manifests are filled in after its images were set.
fn tag_problem(tag: &str) -> Option<String> {
    let sample = match template::sample(tag, STAND_IN) {
        Ok(sample) => sample,
        Err(error) => return Some(format!("cannot be filled in: {error}")),
    };
    let begins = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let valid = sample.len() <= MOST_OF_TAG
        && sample.starts_with(begins)
        && sample.chars().all(|c| begins(c) || ".-".contains(c));
    (!valid).then(|| {
        format!(
            "is no tag; write at most {MOST_OF_TAG} letters, digits, '_', '.' and '-', the first one no '.' or '-'"
        )
    })
}

/// As the OCI's image specification has it, for the algorithms that it registers.
fn is_digest(text: &str) -> bool {
    let hex = |digits: &str, count: usize| {
        digits.len() == count && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match text.split_once(':') {
        Some(("sha256", digits)) => hex(digits, 64),
        Some(("sha512", digits)) => hex(digits, 128),
        _ => false,
    }
}

fn patch(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Patch> {
    let fields = reader.fields(field, &["target", "patch"], &[])?;
    let target = fields.get("target").and_then(|f| target(reader, &f));
    let Some(content) = fields.get("patch") else {
        reader.missing(
            fields.position,
            &fields.path_of("patch"),
            "give it operations (a list) or a part of a manifest (a mapping)",
        );
        return None;
    };
    let change = change(reader, &content)?;
    let target = match (fields.get("target").is_some(), change.names()) {
        (true, _) => target?,
        (false, Some(key)) => PatchTarget {
            group: Some(key.group),
            kind: Some(key.kind),
            namespace: Some(key.namespace).filter(|namespace| !namespace.is_empty()),
            name: Some(key.name),
            ..PatchTarget::default()
        },
        (false, None) => {
            reader.missing(
                fields.position,
                &fields.path_of("target"),
                "say of which objects: target: {kind: Deployment, name: web}",
            );
            return None;
        }
    };
    Some(Patch { target, change, position: field.node.position })
}

fn target(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<PatchTarget> {
    let plain = ["group", "version", "kind", "namespace", "name"];
    let valid = [&plain[..], &["labelSelector", "annotationSelector"]].concat();
    let fields = reader.fields(field, &valid, &[])?;
    if valid.iter().all(|name| fields.get(name).is_none()) {
        reader.error(field.node.position, format!("{} means no object; name at least a kind", field.path));
        return None;
    }
    let mut text = |name: &str| {
        let field = fields.get(name)?;
        let given = reader.text(&field)?;
        if given.contains(|c: char| "*?|()[]^$+\\".contains(c)) {
            let message = format!(
                "{}: {given:?} is a pattern; a target is exact: name one object, or use labelSelector",
                field.path
            );
            reader.error(field.node.position, message);
        }
        Some(given)
    };
    let [group, version, kind, namespace, name] = plain.map(&mut text);
    let mut selector = |name: &str| {
        let field = fields.get(name)?;
        let given = reader.text(&field)?;
        match given.parse::<Selector>() {
            Ok(selector) => Some(selector),
            Err(error) => {
                reader.error(field.node.position, format!("{}: {error}", field.path));
                None
            }
        }
    };
    let [label_selector, annotation_selector] = ["labelSelector", "annotationSelector"].map(&mut selector);
    Some(PatchTarget { group, version, kind, namespace, name, label_selector, annotation_selector })
}

/// What a patch does: a list or a mapping, or a text that holds one.
fn change(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Change> {
    let Some(text) = field.node.text() else {
        let content = reader.json(field);
        return read_change(reader, field, content);
    };
    let mut documents = yaml::read(text);
    let faults = documents.iter().flat_map(|document| &document.faults);
    let faults: Vec<String> = faults.map(|fault| format!("{}: {}", fault.position, fault.message)).collect();
    if let Some(fault) = faults.first() {
        reader.error(field.node.position, format!("{}: line {fault}", field.path));
        return None;
    }
    match (documents.len(), documents.pop().and_then(|document| document.root)) {
        (1, Some(root)) => read_change(reader, field, root.to_json()),
        (count, _) => {
            let message = format!("{}: the text holds {count} documents; a patch is one", field.path);
            reader.error(field.node.position, message);
            None
        }
    }
}

fn read_change(reader: &mut Reader<'_>, field: &Field<'_>, content: Json) -> Option<Change> {
    let wrong = |reader: &mut Reader<'_>, message: String| {
        reader.error(field.node.position, message);
        None
    };
    match content {
        Json::Array(operations) if operations.is_empty() => {
            wrong(reader, format!("{} has no operation", field.path))
        }
        Json::Array(operations) => {
            let mut read = Vec::new();
            for (index, operation) in operations.into_iter().enumerate() {
                match serde_json::from_value::<json_patch::PatchOperation>(operation) {
                    Ok(operation) => read.push(operation),
                    Err(error) => {
                        let message = format!(
                            "{}[{index}] is no operation of RFC 6902: {error}; write {{op: replace, path: /spec/replicas, value: 3}}",
                            field.path
                        );
                        return wrong(reader, message);
                    }
                }
            }
            Some(Change::Json(json_patch::Patch(read)))
        }
        Json::Object(fields) if fields.is_empty() => wrong(reader, format!("{} changes nothing", field.path)),
        patch @ Json::Object(_) => Some(Change::Merge(patch)),
        _ => wrong(
            reader,
            format!("{} is neither operations (a list) nor a part of a manifest (a mapping)", field.path),
        ),
    }
}
