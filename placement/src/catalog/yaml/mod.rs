//! YAML and JSON as `kubectl` reads them, keeping the position of every key and value.
//!
//! In: text. Out: one [`Document`] for each that is not empty; what is wrong with it as positioned [`Fault`]s.
//! Never: lets one document spoil another, grows beyond its budgets, guesses at text that it could not read.

mod builder;
mod scalar;

use std::collections::BTreeMap;

use granit_parser::Parser;
use serde_json::Number;

use super::problems::Position;
use builder::Builder;
pub(crate) use builder::{MAX_DEPTH, MAX_WEIGHT};
pub(super) use scalar::has_leading_zero;

/// Something wrong at a position of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub position: Position,
    pub message: String,
}

/// One document.
#[derive(Debug)]
pub(crate) struct Document {
    /// Its content; `None` where the text could not be parsed.
    pub root: Option<Node>,
    /// What is wrong with it. With a `root`, it is known well enough to be identified.
    pub faults: Vec<Fault>,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub position: Position,
    pub value: Value,
}

/// A value. Scalars that are no text keep how they were written, to tell the author what to quote.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool, Box<str>),
    Number(Number, Box<str>),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// The entries of a mapping in the order of the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map(pub Vec<Entry>);

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub key: String,
    pub position: Position,
    /// The key as written, where that is no text (`no:`, `1:`).
    pub written: Option<Box<str>>,
    pub node: Node,
}

impl Map {
    /// The first value of a key, for reading on after a key that stands there twice was reported.
    pub fn first(&self, key: &str) -> Option<&Node> {
        self.0.iter().find(|e| e.key == key).map(|e| &e.node)
    }

    /// The value of a key, unless the key stands there twice.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let mut found = self.0.iter().filter(|e| e.key == key);
        let first = found.next()?;
        if found.next().is_none() { Some(&first.node) } else { None }
    }
}

impl Node {
    /// Its text, where it is text.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its entries, where it is a mapping.
    pub fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// As JSON, keys sorted.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value, _) => (*value).into(),
            Value::Number(value, _) => value.clone().into(),
            Value::Text(text) => text.clone().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(map) => {
                // Sorted here, since another crate of the build may switch serde_json's maps to insertion order.
                let sorted: BTreeMap<&String, &Node> = map.0.iter().map(|e| (&e.key, &e.node)).collect();
                sorted.into_iter().map(|(key, node)| (key.clone(), node.to_json())).collect()
            }
        }
    }
}

/// Reads every document of a text.
pub(crate) fn read(text: &str) -> Vec<Document> {
    parts(text).into_iter().flat_map(|part| part.documents).collect()
}

/// A piece of a text that begins a document, as it stands there.
pub(crate) struct Part<'a> {
    /// The piece itself; all pieces in a row are the text.
    pub text: &'a str,
    /// What stands in it; more than one where `...` ends a document.
    pub documents: Vec<Document>,
}

/// Reads every document of a text, and keeps the text of each.
pub(crate) fn parts(text: &str) -> Vec<Part<'_>> {
    let read = |(first_line, text)| {
        let mut documents = Vec::new();
        read_part(text, first_line, &mut documents);
        Part { text, documents }
    };
    split(text).into_iter().map(read).collect()
}

/// Splits at `---`. At the start of a line it begins a document wherever it stands (YAML 1.2.2, c-forbidden), so an
/// error before it cannot reach beyond it.
fn split(text: &str) -> Vec<(u32, &str)> {
    let (mut parts, mut start, mut offset, mut first_line, mut has_content) = (Vec::new(), 0, 0, 0, false);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        let marker =
            line.strip_prefix("---").is_some_and(|rest| !rest.starts_with(|c: char| !c.is_whitespace()));
        // Directives belong to the document whose marker follows them.
        if marker && has_content {
            parts.push((first_line, &text[start..offset]));
            (start, first_line) = (offset, number);
        }
        has_content |= marker || !matches!(line.trim_start().as_bytes().first(), None | Some(b'#' | b'%'));
        offset += line.len();
    }
    parts.push((first_line, &text[start..]));
    parts
}

fn read_part(part: &str, first_line: u32, documents: &mut Vec<Document>) {
    let options = granit_parser::options! { emit_comments: false, emit_unresolved_aliases: true };
    let mut builder = Builder::new(first_line);
    for event in Parser::new_from_str_with_options(part, options) {
        let outcome = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(builder.fault_of(&error)),
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(document)) => {
                documents.extend(Some(document).filter(|d| !is_empty(d)));
                builder = Builder::new(first_line);
            }
            Err(fault) => {
                let mut faults = std::mem::take(&mut builder.faults);
                faults.push(fault);
                documents.push(Document { root: None, faults });
                return;
            }
        }
    }
}

fn is_empty(document: &Document) -> bool {
    document.faults.is_empty() && document.root.as_ref().is_none_or(|root| matches!(root.value, Value::Null))
}
