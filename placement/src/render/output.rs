//! The pure end of an engine's work: what it wrote becomes a bundle.
//!
//! In: the needs, the engine's output. Out: a bundle with its objects in the order of their keys, so that no engine's version
//! decides the order; warnings about hooks.
//! Never: passes on a document that is no object, or an encrypted one, whose MAC an engine breaks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::finish::{FinishError, Manifests, path_of};
use super::hooks::{Hook, hook};
use super::{Bundle, Engine, MAX_BUNDLE_BYTES, Needs, object_key};
use crate::ObjectKey;
use crate::catalog::yaml::{self, Node};
use crate::catalog::{Position, Problem};

/// What Helm writes before each document.
const SOURCE: &str = "# Source: ";

/// Makes the bundle of what an engine wrote. `substitute`: its `${…}` will be filled in.
///
/// # Errors
/// Every document that cannot be read or is no Kubernetes object, at the template that it comes from, or else at the source.
pub fn finish_output(
    needs: &Needs,
    output: &[u8],
    substitute: bool,
) -> Result<(Bundle, Vec<Problem>), FinishError> {
    let mut manifests = Manifests::of_output(substitute);
    let mut warnings = Vec::new();
    let top = needs.place();
    if output.len() > MAX_BUNDLE_BYTES {
        let message = format!("the app's manifests are larger than {} MiB; split it", MAX_BUNDLE_BYTES >> 20);
        return Err(FinishError(vec![Problem::error(&top, Position::START, message)]));
    }
    let mut roots: Vec<(ObjectKey, Arc<str>, Node)> = Vec::new();
    for (file, document) in documents(needs, &String::from_utf8_lossy(output)) {
        for yaml::Fault { position, message } in document.faults {
            manifests.problem(
                &file,
                Position::START,
                format!("what it renders, line {}: {message}", position.line),
            );
        }
        for root in document.root.into_iter().flat_map(flat) {
            match hook(&root.to_json()) {
                None | Some(Hook::Object) => {}
                Some(Hook::Test) => continue,
                Some(Hook::Left(message)) => {
                    warnings.push(Problem::error(&file, Position::START, message).warning());
                    continue;
                }
            }
            // One without a key is no object, and refused below.
            let none = || ObjectKey {
                group: String::new(),
                kind: String::new(),
                namespace: String::new(),
                name: String::new(),
            };
            roots.push((object_key(&root.to_json()).unwrap_or_else(none), file.clone(), root));
        }
    }
    roots.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    for (_, file, mut root) in roots {
        // Where it stands in the output is nobody's file.
        root.position = Position::START;
        manifests.document(&file, &root);
    }
    Ok((manifests.finish(&top)?, warnings))
}

/// The file that each object of an output comes from, as far as the engine says.
pub(crate) fn origins(needs: &Needs, output: &[u8]) -> BTreeMap<ObjectKey, Arc<str>> {
    let mut origins = BTreeMap::new();
    for (file, document) in documents(needs, &String::from_utf8_lossy(output)) {
        let roots = document.root.into_iter().flat_map(flat);
        origins.extend(roots.filter_map(|root| Some((object_key(&root.to_json())?, file.clone()))));
    }
    origins
}

/// The documents of an output, each with its file.
fn documents(needs: &Needs, output: &str) -> Vec<(Arc<str>, yaml::Document)> {
    let top = needs.place();
    let parts = yaml::parts(output).into_iter();
    let of = |part: yaml::Part<'_>| {
        let file = origin(needs, part.text).unwrap_or_else(|| top.clone());
        part.documents.into_iter().map(move |document| (file.clone(), document)).collect::<Vec<_>>()
    };
    parts.flat_map(of).collect()
}

/// The items of a list of objects, or the object.
fn flat(root: Node) -> Vec<Node> {
    let text = |key: &str| root.map().and_then(|map| map.get(key)).and_then(Node::text);
    let is_list = text("apiVersion") == Some("v1") && text("kind") == Some("List");
    match root.map().and_then(|map| map.get("items")).map(|items| &items.value) {
        Some(yaml::Value::List(items)) if is_list => items.iter().cloned().flat_map(flat).collect(),
        _ => vec![root],
    }
}

impl Needs {
    /// Where the source stands, from the repository's root, for what is said of the whole.
    pub fn place(&self) -> Arc<str> {
        let directory = match &self.engine {
            Engine::Manifests => return self.source.clone(),
            Engine::Kustomize(kustomization) => &kustomization.directory,
            Engine::Helm(chart) => &chart.directory,
        };
        if directory.is_empty() { self.source.clone() } else { path_of(self, directory) }
    }
}

/// The template that a document of Helm's comes from. Helm writes the chart's name, where the path has its directory.
fn origin(needs: &Needs, text: &str) -> Option<Arc<str>> {
    let template = text.lines().find_map(|line| line.strip_prefix(SOURCE))?;
    template_file(needs, template.trim())
}

/// The file of a template that Helm names.
pub(super) fn template_file(needs: &Needs, template: &str) -> Option<Arc<str>> {
    let Engine::Helm(chart) = &needs.engine else { return None };
    let (_, inner) = template.split_once('/')?;
    let relative = match &*chart.directory {
        "" => inner.to_owned(),
        directory => format!("{directory}/{inner}"),
    };
    needs.files.contains_key(&*relative).then(|| path_of(needs, &relative))
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
