//! From the parser's events to one document, within its budgets.

use std::collections::BTreeMap;

use granit_parser::{ErrorKind, Event, ScalarStyle, ScanError, Span, Tag};

use super::scalar::{Scalar, resolve};
use super::{Document, Entry, Fault, Map, Node, Value};
use crate::catalog::problems::Position;

/// Deepest nesting. Bundles are read back by serde_json, which stops at 128.
pub(crate) const MAX_DEPTH: u32 = 100;
/// Most nodes of one document, and as many again that its aliases and anchors copy; a long scalar counts as one node
/// for each 32 bytes.
pub(crate) const MAX_WEIGHT: usize = 1_000_000;

/// A node with what it costs.
struct Built {
    node: Node,
    weight: usize,
    height: u32,
}

/// A collection that is being read.
struct Frame {
    position: Position,
    anchor: usize,
    weight: usize,
    height: u32,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<Node>, merges: Vec<Node> },
}

/// Builds one document of events.
pub(super) struct Builder {
    first_line: u32,
    frames: Vec<Frame>,
    /// Finished nodes that an alias may name.
    anchors: BTreeMap<usize, Built>,
    root: Option<Node>,
    pub faults: Vec<Fault>,
    /// Weight of the nodes that the text itself has.
    written: usize,
    /// Weight of the copies made for anchors and aliases.
    copied: usize,
}

impl Builder {
    pub fn new(first_line: u32) -> Self {
        let (frames, anchors, faults) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { first_line, frames, anchors, root: None, faults, written: 0, copied: 0 }
    }

    fn position(&self, marker: &granit_parser::Marker) -> Position {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Position {
            line: self.first_line.saturating_add(number(marker.line())),
            column: number(marker.col() + 1),
        }
    }

    pub fn fault_of(&self, error: &ScanError) -> Fault {
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => too_deep(),
            _ => format!("this is not valid YAML: {}", error.info()),
        };
        Fault { position: self.position(error.marker()), message }
    }

    fn fault(&mut self, position: Position, message: impl Into<String>) {
        self.faults.push(Fault { position, message: message.into() });
    }

    /// Takes an event; gives the document when it is complete.
    pub fn take(&mut self, event: Event<'_>, span: Span) -> Result<Option<Document>, Fault> {
        let position = self.position(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let absent = span.is_empty() && style == ScalarStyle::Plain;
                let position = if absent { self.key_position().unwrap_or(position) } else { position };
                let value = self.scalar(&text, style, tag.as_deref(), position);
                let weight = 1 + text.len() / 32;
                self.charge(weight, position)?;
                self.put(Built { node: Node { position, value }, weight, height: 0 }, anchor);
            }
            Event::Alias(anchor) => self.alias(anchor, position),
            Event::UnresolvedAlias(name) => {
                self.fault(
                    position,
                    format!(
                        "*{name} names no anchor; define &{name} before it in this document, or write \"*{name}\" where it is a text"
                    ),
                );
                self.put_null(position);
            }
            Event::SequenceStart(_, anchor, _) => self.open(position, anchor, Content::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: None, merges: Vec::new() };
                self.open(position, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::DocumentEnd => {
                let faults = std::mem::take(&mut self.faults);
                return Ok(Some(Document { root: self.root.take(), faults }));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Where an absent value is said to stand: at its key.
    fn key_position(&self) -> Option<Position> {
        match self.frames.last().map(|f| &f.content) {
            Some(Content::Map { key: Some(key), .. }) => Some(key.position),
            _ => None,
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, position: Position) -> Value {
        let core = tag.and_then(Tag::core_suffix);
        if tag.is_some_and(|t| t.suffix_in_namespace("tag:yaml.org,2002:").is_some_and(|n| n == "binary")) {
            self.fault(position, "!!binary is not supported; write the text that is meant");
        }
        let typed = matches!(core, Some("int" | "float" | "bool" | "null"));
        if !typed && (tag.is_some() || style != ScalarStyle::Plain) {
            return Value::Text(text.to_owned());
        }
        let resolved = resolve(text);
        let kind = match &resolved {
            Scalar::Null => "null",
            Scalar::Bool(_) => "bool",
            Scalar::Number(number) if number.is_f64() => "float",
            Scalar::Number(_) => "int",
            Scalar::NotFinite => "float",
            Scalar::Text => "str",
        };
        if let Some(wanted) = core.filter(|core| *core != kind && (*core, kind) != ("float", "int")) {
            self.fault(position, format!("{text:?} is no !!{wanted}; remove the tag or correct the value"));
        }
        match resolved {
            Scalar::Null => Value::Null,
            Scalar::Bool(value) => Value::Bool(value, text.into()),
            Scalar::Number(number) => Value::Number(number, text.into()),
            Scalar::Text => Value::Text(text.to_owned()),
            Scalar::NotFinite => {
                self.fault(
                    position,
                    format!("{text} is a number that JSON does not have; quote it if text is meant"),
                );
                Value::Text(text.to_owned())
            }
        }
    }

    /// Puts a copy of an anchored node. What would break a budget becomes a fault and null: the rest of the document,
    /// and with it the object's name, stays readable.
    fn alias(&mut self, anchor: usize, position: Position) {
        let Some(built) = self.anchors.get(&anchor) else {
            self.fault(position, "this alias stands inside the node that it names; write the content out");
            return self.put_null(position);
        };
        if self.copied + built.weight > MAX_WEIGHT {
            let message = format!(
                "aliases expand this document to more than {MAX_WEIGHT} nodes; write it without them"
            );
            if !self.faults.iter().any(|f| f.message == message) {
                self.fault(position, message);
            }
            return self.put_null(position);
        }
        if self.depth() + built.height > MAX_DEPTH {
            self.fault(
                position,
                format!("aliases nest this document more than {MAX_DEPTH} deep; flatten it"),
            );
            return self.put_null(position);
        }
        self.copied += built.weight;
        let copy = Built { node: built.node.clone(), weight: built.weight, height: built.height };
        self.put(copy, 0);
    }

    fn put_null(&mut self, position: Position) {
        self.put(Built { node: Node { position, value: Value::Null }, weight: 1, height: 0 }, 0);
    }

    /// Pays for a node of the text.
    fn charge(&mut self, weight: usize, position: Position) -> Result<(), Fault> {
        self.written += weight;
        if self.written <= MAX_WEIGHT {
            return Ok(());
        }
        Err(Fault { position, message: format!("this document has more than {MAX_WEIGHT} nodes; split it") })
    }

    /// Keeps a copy for the aliases of a node. A node that is too large for that gets one that no alias can pay.
    fn anchor(&mut self, anchor: usize, built: &Built) {
        let Built { node, weight, height } = built;
        let fits = self.copied + weight <= MAX_WEIGHT;
        self.copied += if fits { *weight } else { 0 };
        let copy = if fits { node.clone() } else { Node { position: node.position, value: Value::Null } };
        let weight = if fits { *weight } else { MAX_WEIGHT + 1 };
        self.anchors.insert(anchor, Built { node: copy, weight, height: *height });
    }

    fn depth(&self) -> u32 {
        u32::try_from(self.frames.len()).unwrap_or(u32::MAX)
    }

    fn open(&mut self, position: Position, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.depth() >= MAX_DEPTH {
            return Err(Fault { position, message: too_deep() });
        }
        self.charge(1, position)?;
        self.frames.push(Frame { position, anchor, weight: 1, height: 0, content });
        Ok(())
    }

    fn close(&mut self) {
        let frame = self.frames.pop().expect("the parser ends only what it began");
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, merges, .. } => Value::Map(self.map(entries, merges)),
        };

        let node = Node { position: frame.position, value };
        self.put(Built { node, weight: frame.weight, height: frame.height + 1 }, frame.anchor);
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, built: Built, anchor: usize) {
        if anchor != 0 {
            self.anchor(anchor, &built);
        }
        let Built { node, weight, height } = built;
        let Some(frame) = self.frames.last_mut() else {
            self.root = Some(node);
            return;
        };
        frame.weight += weight;
        frame.height = frame.height.max(height);
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, key, merges } => match key.take() {
                None => *key = Some(node),
                Some(key) if key.text() == Some("<<") => merges.push(node),
                Some(key) => match entry(key, node) {
                    Ok(entry) => entries.push(entry),
                    Err(fault) => self.faults.push(fault),
                },
            },
        }
    }

    /// A mapping of its own entries and those that `<<` merges: its own win, then the first merged, as YAML has it
    /// (`kubectl` lets a `<<` win over what stands before it).
    fn map(&mut self, mut entries: Vec<Entry>, merges: Vec<Node>) -> Map {
        let mut first: BTreeMap<String, Position> = BTreeMap::new();
        for entry in &entries {
            if let Some(other) = first.get(&entry.key) {
                let message = format!("key {:?} stands at {other} already; remove one of them", entry.key);
                self.faults.push(Fault { position: entry.position, message });
            } else {
                first.insert(entry.key.clone(), entry.position);
            }
        }
        let flat = merges.into_iter().flat_map(|node| match node.value {
            Value::List(items) => items,
            _ => vec![node],
        });
        for node in flat {
            let Value::Map(merged) = node.value else {
                self.fault(node.position, "<< merges mappings only; name an anchor of a mapping");
                continue;
            };
            for entry in merged.0 {
                if !first.contains_key(&entry.key) {
                    first.insert(entry.key.clone(), entry.position);
                    entries.push(entry);
                }
            }
        }
        Map(entries)
    }
}

fn too_deep() -> String {
    format!("this document is nested more than {MAX_DEPTH} deep; flatten it")
}

/// Keys that are no text become text as `kubectl` makes it.
fn entry(key: Node, node: Node) -> Result<Entry, Fault> {
    let position = key.position;
    let (key, written) = match key.value {
        Value::Text(text) => (text, None),
        Value::Bool(value, written) => (value.to_string(), Some(written)),
        Value::Number(value, written) => (value.to_string(), Some(written)),
        Value::Null | Value::List(_) | Value::Map(_) => {
            return Err(Fault { position, message: "a key must be text; quote it".to_owned() });
        }
    };
    Ok(Entry { key, position, written, node })
}
