//! Find: a kind, or a field by its path, as people write it: `App`, `App.spec.source.path`.
//!
//! In: a path. Out: what the tables say of it, or what was meant. Never: minds the case of a kind.

use super::{Fields, Rule, document};
use crate::catalog::parse::KINDS;
use crate::catalog::{Kind, did_you_mean};

/// A kind, or a field of it.
#[derive(Clone, Debug)]
pub struct Found {
    /// The kind.
    pub kind: Kind,
    /// The field's path; empty for the kind itself.
    pub path: String,
    /// What is said of it.
    pub rule: &'static Rule,
}

/// Why there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages name the fields")]
pub enum NotFound {
    #[error("{given:?} is no known kind{suggestion} (kinds are {})", names().join(", "))]
    Kind { given: String, suggestion: String },
    #[error("{parent} has no field {given}{hint} (fields are {valid})")]
    Field { parent: String, given: String, hint: String, valid: String },
    #[error("{0} has no fields: it is a {1}")]
    Leaf(String, String),
}

fn names() -> Vec<String> {
    KINDS.iter().map(Kind::to_string).collect()
}

/// Finds it.
///
/// # Errors
/// When there is no such kind or field.
pub fn find(path: &str) -> Result<Found, NotFound> {
    let mut parts = path.split('.');
    let kind = kind(parts.next().unwrap_or_default())?;
    let mut found = Found { kind, path: String::new(), rule: document(kind) };
    for part in parts {
        // `taints[0]` and `taints[]` are `taints`.
        let name = part.split('[').next().unwrap_or(part);
        let parent = shown(kind, &found.path);
        let fields = found
            .rule
            .shape
            .fields()
            .ok_or_else(|| NotFound::Leaf(parent.clone(), found.rule.shape.word()))?;
        found.rule = fields.rule(name).ok_or_else(|| unknown(kind, parent, name, fields))?;
        found.path = if found.path.is_empty() { name.to_owned() } else { format!("{}.{name}", found.path) };
    }
    Ok(found)
}

/// A kind by its name, whatever its case.
///
/// # Errors
/// When this version has none of that name.
pub fn kind(given: &str) -> Result<Kind, NotFound> {
    let is = |name: &str| name.eq_ignore_ascii_case(given);
    if let Some(kind) = KINDS.into_iter().find(|kind| is(&kind.to_string())) {
        return Ok(kind);
    }
    let names = names();
    let suggestion = did_you_mean(given, names.iter().map(String::as_str));
    Err(NotFound::Kind { given: given.to_owned(), suggestion })
}

fn shown(kind: Kind, path: &str) -> String {
    if path.is_empty() { kind.to_string() } else { format!("{kind}.{path}") }
}

/// A slip, or a field that stands elsewhere in the kind.
fn unknown(kind: Kind, parent: String, given: &str, fields: &Fields) -> NotFound {
    let names: Vec<&str> = fields.rules.iter().map(|rule| rule.name).collect();
    let slip = did_you_mean(given, names.iter().copied());
    let hint = match elsewhere(given, &kind.to_string(), document(kind)) {
        Some(path) if slip.is_empty() => format!("; did you mean {path}?"),
        _ => slip,
    };
    let valid = names.join(", ");
    NotFound::Field { parent, given: given.to_owned(), hint, valid }
}

/// The first field of this name, from the top.
fn elsewhere(name: &str, path: &str, rule: &Rule) -> Option<String> {
    let rules = rule.shape.fields().map(|fields| fields.rules).unwrap_or_default();
    let below = |rule: &Rule| format!("{path}.{}", rule.name);
    rules
        .iter()
        .find(|rule| rule.name == name)
        .map(below)
        .or_else(|| rules.iter().find_map(|rule| elsewhere(name, &below(rule), rule)))
}
