//! Live: objects as a cluster returns them, from a file.
//!
//! In: the text of a file: YAML or JSON, several documents, lists of objects. Out: the objects with all that they carry, or
//! every problem with its place. Never: drops a status, as reading manifests does.

use std::sync::Arc;

use serde_json::Value;

use crate::catalog::yaml::{self, Node};
use crate::catalog::{Position, Problem};

/// Reads every object of a file.
///
/// # Errors
/// Everything that is wrong with it, by position.
pub fn live_objects(file: &str, content: &[u8]) -> Result<Vec<Value>, Vec<Problem>> {
    let file: Arc<str> = file.into();
    let text = std::str::from_utf8(content).map_err(|error| {
        let at = Position::after(&content[..error.valid_up_to()]);
        vec![Problem::error(&file, at, "the file is not UTF-8; save it as UTF-8")]
    })?;
    let mut read = Read { file, objects: Vec::new(), problems: Vec::new() };
    for document in yaml::read(text) {
        let is_faulty = !document.faults.is_empty();
        for fault in document.faults {
            read.problem(fault.position, fault.message);
        }
        if let Some(root) = document.root.filter(|_| !is_faulty) {
            read.document(&root, None);
        }
    }
    if read.objects.is_empty() && read.problems.is_empty() {
        read.problem(Position::START, "there is no Kubernetes object in it");
    }
    if read.problems.is_empty() { Ok(read.objects) } else { Err(read.problems) }
}

struct Read {
    file: Arc<str>,
    objects: Vec<Value>,
    problems: Vec<Problem>,
}

impl Read {
    fn problem(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::error(&self.file, at, message));
    }

    /// A document, or an item of a list: those of a `PodList` do not say that they are pods.
    fn document(&mut self, node: &Node, of: Option<(&str, &str)>) {
        let Some(map) = node.map() else {
            // Nothing but a comment between two `---` is nothing.
            if !matches!(node.value, yaml::Value::Null) {
                self.problem(node.position, "this is no Kubernetes object; it has to be a mapping");
            }
            return;
        };
        let text = |key: &str| map.get(key).and_then(Node::text).filter(|text| !text.is_empty());
        let version = text("apiVersion").or(of.map(|(version, _)| version));
        let kind = text("kind").or(of.map(|(_, kind)| kind).filter(|kind| !kind.is_empty()));
        if let (Some(version), Some(of_kind)) = (version, kind.and_then(|kind| kind.strip_suffix("List")))
            && let Some(items) = map.get("items")
        {
            return match &items.value {
                yaml::Value::List(items) => {
                    items.iter().for_each(|item| self.document(item, Some((version, of_kind))))
                }
                yaml::Value::Null => {}
                _ => self.problem(items.position, "items of a list of objects has to be a list"),
            };
        }
        let name = map.get("metadata").and_then(Node::map).and_then(|m| m.get("name")).and_then(Node::text);
        let (Some(version), Some(kind), Some(_)) = (version, kind, name.filter(|name| !name.is_empty()))
        else {
            let message = "apiVersion, kind or metadata.name is missing; every Kubernetes object has all three, as text";
            return self.problem(node.position, message);
        };
        let mut object = node.to_json();
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        self.objects.push(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_lists_are_read_with_their_status() {
        let text = "\
apiVersion: v1
kind: Pod
metadata: {name: a}
status: {phase: Running}
---
# nothing
---
apiVersion: v1
kind: List
items:
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: b}}
- {apiVersion: v1, kind: PodList, items: [{metadata: {name: c}, status: {phase: Failed}}]}
---
{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"d\"}}
";
        let objects = live_objects("a.yaml", text.as_bytes()).expect("nothing is wrong");
        let short = |o: &Value| {
            format!("{} {} {}", o["kind"], o["metadata"]["name"], o["status"]["phase"]).replace('"', "")
        };
        let read: Vec<_> = objects.iter().map(short).collect();
        assert_eq!(read, ["Pod a Running", "Deployment b null", "Pod c Failed", "Service d null"]);
    }

    #[test]
    fn what_is_no_object_is_told_with_its_place() {
        let rows: [(&[u8], &str); 7] = [
            (b"", "x:1:1: error: there is no Kubernetes object in it"),
            (b"a: 1\nb: [", "x:"),
            (b"- a\n", "x:1:1: error: this is no Kubernetes object; it has to be a mapping"),
            (
                b"kind: Pod\n---\nkind: Pod\napiVersion: v1\n",
                "x:1:1: error: apiVersion, kind or metadata.name is missing",
            ),
            (
                b"apiVersion: v1\nkind: Pod\nmetadata: {name: 7}\n",
                "x:1:1: error: apiVersion, kind or metadata.name",
            ),
            (
                b"apiVersion: v1\nkind: List\nitems: 7\n",
                "x:3:8: error: items of a list of objects has to be a list",
            ),
            (b"apiVersion: v1\nkind: P\xff\n", "x:2:8: error: the file is not UTF-8"),
        ];
        for (text, expected) in rows {
            let problems = live_objects("x", text).expect_err("it is wrong");
            let first = problems[0].to_string();
            assert!(first.starts_with(expected), "{}: {first}", String::from_utf8_lossy(text));
        }
    }
}
