//! Template: `${…}` in the texts of a manifest, found and filled.
//!
//! In: a parsed manifest, values by name. Out: the names that it uses; the manifest with values in their places.
//! Never: looks at a text before it was parsed (a value cannot change the structure around it), looks for `${…}` in a value.
//!
//! `${NAME}`, `${NAME:-DEFAULT}` where there is no value or an empty text, `$${` for a literal `${`. A scalar that is exactly
//! one `${…}` becomes the value whatever its type; its default is a JSON scalar where it reads as one, text otherwise.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::did_you_mean;

/// Values by name.
pub type Values = BTreeMap<String, Value>;

/// How a name is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Use {
    /// Somewhere without a default.
    pub required: bool,
    /// Somewhere amid other text, where a list or a map cannot stand.
    pub in_text: bool,
}

/// The names that a bundle uses.
pub type Uses = BTreeMap<String, Use>;

/// What stands in a text and is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No `}` follows.
    #[error("`${{` is not closed by `}}`; for a literal ${{ write $${{")]
    Open,
    /// A name of nobody's.
    #[error(
        "${{{0}}} is no name that Nave knows (parameters.…, cluster.name, labels.…, facts.…){1}; for a literal ${{ write $${{"
    )]
    NoName(String, String),
    /// `${a:-${b}}`.
    #[error("${{{0}:-…}}: a default cannot hold a ${{…}} itself; set the parameter in a lower layer instead")]
    Nested(String),
}

/// What cannot be filled in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubstituteError {
    /// The text is none that the hub let pass.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// There is no value.
    #[error("${{{0}}} has no value")]
    NoValue(String),
    /// A list or a map amid text.
    #[error("${{{0}}} is a list or a map, which cannot stand amid text")]
    NoText(String),
    /// Two keys of one map became the same.
    #[error("two keys of a map are both {0:?} once values are filled in")]
    KeyTwice(String),
}

/// A piece of a text.
enum Part<'a> {
    Text(&'a str),
    Name { name: &'a str, default: Option<&'a str> },
}

/// Facts that a name may begin with; what is free changes all the time.
const FACTS: [&str; 10] = [
    "kubernetes",
    "nodes",
    "architectures",
    "capacity",
    "provider",
    "region",
    "zones",
    "apis",
    "properties",
    "custom",
];

fn parts(text: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(found) = text[at..].find('$') {
        at += found;
        let rest = &text[at..];
        if rest.starts_with("$${") {
            parts.push(Part::Text(&text[start..at]));
            start = at + 1;
            at += 3;
        } else if let Some(inner) = rest.strip_prefix("${") {
            let end = inner.find('}').ok_or(TemplateError::Open)?;
            parts.push(Part::Text(&text[start..at]));
            parts.push(name(&inner[..end])?);
            at += 2 + end + 1;
            start = at;
        } else {
            at += 1;
        }
    }
    parts.push(Part::Text(&text[start..]));
    parts.retain(|part| !matches!(part, Part::Text("")));
    Ok(parts)
}

fn name(inner: &str) -> Result<Part<'_>, TemplateError> {
    let (name, default) =
        inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    if default.is_some_and(|default| default.contains("${")) {
        return Err(TemplateError::Nested(name.to_owned()));
    }
    let known = match name.split_once('.') {
        _ if name.contains(char::is_whitespace) => false,
        Some(("parameters" | "labels", rest)) => !rest.is_empty(),
        Some(("cluster", rest)) => rest == "name",
        Some(("facts", rest)) => FACTS.contains(&rest.split('.').next().unwrap_or_default()),
        _ => false,
    };
    if !known {
        return Err(TemplateError::NoName(name.to_owned(), suggestion(name)));
    }
    Ok(Part::Name { name, default })
}

fn suggestion(name: &str) -> String {
    match name.split_once('.') {
        Some(("facts", rest)) if rest.starts_with("free") => {
            "; what is free changes all the time and is for placements alone".to_owned()
        }
        Some(("facts", rest)) => did_you_mean(rest.split('.').next().unwrap_or_default(), FACTS),
        _ => {
            let roots = ["parameters", "cluster", "labels", "facts"];
            let root = name.split('.').next().unwrap_or_default();
            // What lacks is what follows it.
            if roots.contains(&root) { String::new() } else { did_you_mean(root, roots) }
        }
    }
}

/// Collects the names that one text uses.
///
/// # Errors
/// What is no template in it.
pub fn uses_of_text(text: &str, uses: &mut Uses) -> Result<(), TemplateError> {
    if !text.contains("${") {
        return Ok(());
    }
    let parts = parts(text)?;
    let alone = parts.len() == 1;
    for part in parts {
        if let Part::Name { name, default } = part {
            let known = uses.entry(name.to_owned()).or_default();
            known.required |= default.is_none();
            known.in_text |= !alone;
        }
    }
    Ok(())
}

/// A text as it could become: each name gives its default, or `stand_in` where it has none.
///
/// # Errors
/// What is no template in it.
pub fn sample(text: &str, stand_in: &str) -> Result<String, TemplateError> {
    let mut sample = String::new();
    for part in parts(text)? {
        sample.push_str(match part {
            Part::Text(text) => text,
            Part::Name { default, .. } => default.unwrap_or(stand_in),
        });
    }
    Ok(sample)
}

/// Collects the names that a manifest uses, in values and in keys.
///
/// # Errors
/// The first text that is no template.
pub fn uses(value: &Value, found: &mut Uses) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => uses_of_text(text, found),
        Value::Array(items) => items.iter().try_for_each(|item| uses(item, found)),
        Value::Object(map) => map.iter().try_for_each(|(key, value)| {
            uses_of_key(key, found)?;
            uses(value, found)
        }),
        _ => Ok(()),
    }
}

/// A key is always text.
pub fn uses_of_key(key: &str, found: &mut Uses) -> Result<(), TemplateError> {
    let mut here = Uses::new();
    uses_of_text(key, &mut here)?;
    for (name, used) in here {
        let known = found.entry(name).or_default();
        known.required |= used.required;
        known.in_text = true;
    }
    Ok(())
}

/// Fills a manifest.
///
/// # Errors
/// The first place that cannot be filled.
pub fn substitute(value: &mut Value, values: &Values) -> Result<(), SubstituteError> {
    match value {
        Value::String(text) if text.contains("${") => {
            *value = filled(text, values)?;
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(|item| substitute(item, values)),
        Value::Object(map) => {
            map.values_mut().try_for_each(|value| substitute(value, values))?;
            if map.keys().any(|key| key.contains("${")) {
                *map = keys_filled(std::mem::take(map), values)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn keys_filled(map: Map<String, Value>, values: &Values) -> Result<Map<String, Value>, SubstituteError> {
    let mut filled = Map::new();
    for (key, value) in map {
        let key = text(&key, values)?.into_owned();
        if filled.insert(key.clone(), value).is_some() {
            return Err(SubstituteError::KeyTwice(key));
        }
    }
    Ok(filled)
}

fn filled(text: &str, values: &Values) -> Result<Value, SubstituteError> {
    if let [Part::Name { name, default }] = parts(text)?.as_slice() {
        let value = value_of(name, *default, values).cloned();
        let value = value.or(default.map(scalar));
        return value.ok_or_else(|| SubstituteError::NoValue((*name).to_owned()));
    }
    self::text(text, values).map(|text| Value::String(text.into_owned()))
}

/// Fills a text, which stays one.
///
/// # Errors
/// As [`substitute`].
pub fn text<'a>(text: &'a str, values: &Values) -> Result<Cow<'a, str>, SubstituteError> {
    if !text.contains("${") {
        return Ok(Cow::Borrowed(text));
    }
    let mut filled = String::with_capacity(text.len());
    for part in parts(text)? {
        match part {
            Part::Text(text) => filled.push_str(text),
            Part::Name { name, default } => match (value_of(name, default, values), default) {
                (Some(Value::Array(_) | Value::Object(_)), _) => {
                    return Err(SubstituteError::NoText(name.to_owned()));
                }
                (Some(Value::String(value)), _) => filled.push_str(value),
                (Some(value), _) => filled.push_str(&value.to_string()),
                (None, Some(default)) => filled.push_str(default),
                (None, None) => return Err(SubstituteError::NoValue(name.to_owned())),
            },
        }
    }
    Ok(Cow::Owned(filled))
}

/// A value; where there is a default an empty text counts as none, as in a shell.
fn value_of<'a>(name: &str, default: Option<&str>, values: &'a Values) -> Option<&'a Value> {
    values.get(name).filter(|value| default.is_none() || value.as_str() != Some(""))
}

/// `3`, `true`, `"3"` are what JSON says; anything else is text.
fn scalar(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => value,
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
