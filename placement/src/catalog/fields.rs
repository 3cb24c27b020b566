//! Strict reading of one document's fields: every field is known, of the right type, or a positioned problem.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::problems::{Position, Problem};
use super::suggest::{did_you_mean, nearest};
use super::yaml::{Map, Node, Value};
use super::{ObjectId, Percent};

/// What is wanted where something is counted.
const COUNT: &str = "a whole number from 0";
/// What is wanted where it may be below 0 as well.
const WHOLE: &str = "a whole number";

/// Collects what is wrong with one document while its fields are read.
pub(super) struct Reader<'a> {
    pub file: &'a Arc<str>,
    pub object: Option<ObjectId>,
    pub problems: Vec<Problem>,
    /// Paths of fields that are there, but misspelt: they are not missing as well.
    pub misspelt: BTreeSet<String>,
}

/// The entries of a mapping whose names were checked.
pub(super) struct Fields<'n> {
    map: &'n Map,
    pub path: String,
    pub position: Position,
}

/// A value and the path of its field, for messages.
pub(super) struct Field<'n> {
    pub node: &'n Node,
    pub path: String,
}

impl<'n> Fields<'n> {
    /// A field, unless it is absent or null, which is the same in the Kubernetes API.
    pub fn get(&self, name: &str) -> Option<Field<'n>> {
        let node = self.map.get(name).filter(|node| !matches!(node.value, Value::Null))?;
        Some(Field { node, path: self.path_of(name) })
    }

    pub fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

impl Reader<'_> {
    pub fn error(&mut self, at: Position, message: impl Into<String>) {
        self.problems.push(Problem::error(self.file, at, message).of(self.object.as_ref()));
    }

    /// Reads a mapping. `valid` fields are read by the caller, `later` ones are known words that this version does not
    /// act on: it says so instead of ignoring them.
    pub fn fields<'n>(&mut self, field: &Field<'n>, valid: &[&str], later: &[&str]) -> Option<Fields<'n>> {
        let Some(map) = field.node.map() else {
            self.mismatch(field, "a mapping");
            return None;
        };
        let fields = Fields { map, path: field.path.clone(), position: field.node.position };
        for entry in &map.0 {
            let path = fields.path_of(&entry.key);
            if later.contains(&entry.key.as_str()) {
                self.error(
                    entry.position,
                    format!("{path} is not supported by this version of Nave; remove it"),
                );
            } else if !valid.contains(&entry.key.as_str()) {
                let suggestion = did_you_mean(&entry.key, valid.iter().copied());
                let meant = nearest(&entry.key, valid.iter().copied());
                self.misspelt.extend(meant.map(|name| fields.path_of(name)));
                let fields = match valid {
                    [] => "no field is valid here".to_owned(),
                    _ => format!("valid fields are {}", valid.join(", ")),
                };
                self.error(entry.position, format!("{path} is no known field{suggestion} ({fields})"));
            }
        }
        Some(fields)
    }

    /// Whether it is a mapping, whatever its keys.
    pub fn fields_of_any_name(&mut self, field: &Field<'_>) -> bool {
        let is_map = field.node.map().is_some();
        if !is_map {
            self.mismatch(field, "a mapping");
        }
        is_map
    }

    pub fn text(&mut self, field: &Field<'_>) -> Option<String> {
        let text = field.node.text();
        if text.is_none() {
            self.mismatch(field, "a string");
        }
        text.map(str::to_owned)
    }

    pub fn flag(&mut self, field: &Field<'_>) -> Option<bool> {
        match field.node.value {
            Value::Bool(value, _) => Some(value),
            _ => {
                self.mismatch(field, "true or false");
                None
            }
        }
    }

    pub fn count(&mut self, field: &Field<'_>) -> Option<u32> {
        let count = match &field.node.value {
            Value::Number(number, _) => number.as_u64().and_then(|n| u32::try_from(n).ok()),
            _ => None,
        };
        if count.is_none() {
            self.mismatch(field, COUNT);
        }
        count
    }

    pub fn whole(&mut self, field: &Field<'_>) -> Option<i64> {
        let whole = match &field.node.value {
            Value::Number(number, _) => number.as_i64(),
            _ => None,
        };
        if whole.is_none() {
            self.mismatch(field, WHOLE);
        }
        whole
    }

    /// A word that only says that it is there.
    pub fn affirmed(&mut self, field: &Field<'_>) -> Option<()> {
        let given = matches!(field.node.value, Value::Bool(true, _));
        if !given {
            let message = format!("{}: write true, or remove it", field.path);
            self.error(field.node.position, message);
        }
        given.then_some(())
    }

    pub fn percent(&mut self, field: &Field<'_>) -> Option<Percent> {
        let digits = field.node.text().and_then(|text| text.strip_suffix('%'));
        let percent = digits.filter(|d| d.bytes().all(|b| b.is_ascii_digit())).and_then(|d| d.parse().ok());
        let percent = percent.and_then(Percent::new);
        if percent.is_none() {
            self.mismatch(field, "a whole percentage from 0% to 100%");
        }
        percent
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, field: &Field<'_>, values: &[(&str, T)]) -> Option<T> {
        let given = self.text(field)?;
        let found = values.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
            let suggestion = did_you_mean(&given, words.iter().copied());
            let message = format!("{}: {given:?} is none of {}{suggestion}", field.path, words.join(", "));
            self.error(field.node.position, message);
        }
        found
    }

    pub fn list<'n>(&mut self, field: &Field<'n>) -> Vec<Field<'n>> {
        let Value::List(items) = &field.node.value else {
            self.mismatch(field, "a list");
            return Vec::new();
        };
        let item = |(i, node)| Field { node, path: format!("{}[{i}]", field.path) };
        items.iter().enumerate().map(item).collect()
    }

    /// A list of names with their positions; `None` where the list is empty, which in the Kubernetes API is the same
    /// as no list.
    pub fn names(&mut self, field: &Field<'_>, what: &'static str) -> Option<BTreeMap<String, Position>> {
        let items = self.list(field);
        let given = !items.is_empty();
        let mut names = BTreeMap::new();
        for item in items {
            if let Some(name) = self.name(&item, what) {
                names.entry(name).or_insert(item.node.position);
            }
        }
        given.then_some(names)
    }

    /// A DNS-1123 subdomain.
    pub fn name(&mut self, field: &Field<'_>, what: &'static str) -> Option<String> {
        let name = self.text(field)?;
        match crate::check_name(what, &name) {
            Ok(()) => Some(name),
            Err(error) => {
                self.error(field.node.position, format!("{}: {error}", field.path));
                None
            }
        }
    }

    /// A mapping of strings.
    pub fn strings(&mut self, field: &Field<'_>) -> BTreeMap<String, (String, Position, Position)> {
        let Some(map) = field.node.map() else {
            self.mismatch(field, "a mapping");
            return BTreeMap::new();
        };
        let mut strings = BTreeMap::new();
        for entry in &map.0 {
            let path = format!("{}.{}", field.path, entry.key);
            if let Some(written) = &entry.written {
                let message = format!(
                    "{}: the key {written} is read as {}; write \"{written}\"",
                    field.path, entry.key
                );
                self.error(entry.position, message);
            }
            if let Some(value) = self.text(&Field { node: &entry.node, path }) {
                strings.insert(entry.key.clone(), (value, entry.position, entry.node.position));
            }
        }
        strings
    }

    /// Labels, valid as Kubernetes has them.
    pub fn labels(&mut self, field: &Field<'_>) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        for (key, (value, key_position, value_position)) in self.strings(field) {
            self.label_key(&key, key_position, &field.path);
            self.label_value(&value, value_position, &format!("{}.{key}", field.path));
            labels.insert(key, value);
        }
        labels
    }

    pub fn label_key(&mut self, key: &str, at: Position, path: &str) {
        if !crate::is_label_key(key) {
            self.error(
                at,
                format!(
                    "{path}: {key:?} is not a valid label key: use [DOMAIN/]NAME, NAME of at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
                ),
            );
        }
    }

    pub fn label_value(&mut self, value: &str, at: Position, path: &str) {
        if !crate::is_label_value(value) {
            self.error(
                at,
                format!(
                    "{path}: {value:?} is not a valid label value: use at most 63 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit"
                ),
            );
        }
    }

    /// Free content. A leading zero is refused even here: it would silently become another number.
    pub fn json(&mut self, field: &Field<'_>) -> serde_json::Value {
        self.refuse_leading_zeros(field.node, &field.path);
        field.node.to_json()
    }

    fn refuse_leading_zeros(&mut self, node: &Node, path: &str) {
        match &node.value {
            Value::Number(number, written) if super::yaml::has_leading_zero(written) => {
                let message = format!(
                    "{path}: {written} is read as the number {number}; write \"{written}\" or {number}"
                );
                self.error(node.position, message);
            }
            Value::List(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, n)| self.refuse_leading_zeros(n, &format!("{path}[{i}]")));
            }
            Value::Map(map) => {
                map.0.iter().for_each(|e| self.refuse_leading_zeros(&e.node, &format!("{path}.{}", e.key)));
            }
            _ => {}
        }
    }

    /// Something required is not there.
    pub fn missing(&mut self, at: Position, path: &str, how: &str) {
        if !self.misspelt.contains(path) {
            self.error(at, format!("{path} is missing; {how}"));
        }
    }

    /// The value is of another type. Where quotes would mend it, that is said.
    fn mismatch(&mut self, field: &Field<'_>, wanted: &str) {
        let Field { node, path } = field;
        let message = match &node.value {
            Value::Bool(value, written) if wanted == "a string" => {
                format!(
                    "{path}: {written} is read as the boolean {value}, a string is wanted; write \"{written}\""
                )
            }
            Value::Number(number, written) if wanted == "a string" => {
                format!(
                    "{path}: {written} is read as the number {number}, a string is wanted; write \"{written}\""
                )
            }
            Value::Text(text) if wanted == "true or false" && matches!(text.as_str(), "true" | "false") => {
                format!("{path}: \"{text}\" is a string; remove the quotes")
            }
            Value::Text(text) if is_quoted(text, wanted) => {
                format!("{path}: \"{text}\" is a string; write {text} without the quotes")
            }
            Value::Text(text) => format!("{path}: {text:?} is not {wanted}"),
            Value::Bool(_, written) | Value::Number(_, written) => {
                format!("{path}: {written} is not {wanted}")
            }
            Value::Null => format!("{path} is empty, {wanted} is wanted"),
            Value::List(_) => format!("{path} is a list, {wanted} is wanted"),
            Value::Map(_) => format!("{path} is a mapping, {wanted} is wanted"),
        };
        self.error(node.position, message);
    }
}

/// Whether a text is a whole number as it would be written without quotes; `007` would be another one.
pub(super) fn is_whole_number(text: &str) -> bool {
    text.parse::<i64>().is_ok_and(|number| number.to_string() == text)
}

/// Whether a text would be what is wanted, had it no quotes.
fn is_quoted(text: &str, wanted: &str) -> bool {
    is_whole_number(text) && (wanted == WHOLE || wanted == COUNT && !text.starts_with('-'))
}

/// Only the names of a list of names.
pub(super) fn only_names(names: &BTreeMap<String, Position>) -> BTreeSet<String> {
    names.keys().cloned().collect()
}

/// The items of a list, those that can be read.
pub(super) fn each<T>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: &str,
    read: impl Fn(&mut Reader<'_>, &Field<'_>) -> Option<T>,
) -> Vec<T> {
    let items = fields.get(name).map(|f| reader.list(&f)).unwrap_or_default();
    items.iter().filter_map(|item| read(reader, item)).collect()
}
