//! Schema: every field of the catalog's kinds with its type and one line on what it says; the catalog's reference.
//!
//! In: nothing; these are tables. Out: [`json_schema`] for editors and CI, [`find`] for people who ask about a field.
//! Never: knows a field or a word that the parser does not read, or lacks one that it reads; a test asks the parser
//! for each. What this version refuses is left out.

mod app;
mod common;
mod find;
mod fleet;
mod form;
mod json;
mod overriding;
mod placement;
mod rollout;
mod source;
mod tenant;

use super::{API_VERSION, Kind};

pub use find::{Found, NotFound, find, kind};
pub use form::Form;
pub use json::json_schema;

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What stands in it.
    pub shape: Shape,
    /// One line: what it says.
    pub about: &'static str,
    /// Whether the object is invalid without it. One that is not required may be null, which is the same as absent.
    pub required: bool,
    /// What holds where it is absent, as JSON.
    pub default: Option<&'static str>,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// This word and no other.
    Word(&'static str),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Text.
    Text(Form),
    /// True or false.
    Flag,
    /// True; the way to say no is to leave it out.
    Affirmed,
    /// A whole number within these, where they are given.
    Whole(Option<i64>, Option<i64>),
    /// A number from this, or a percentage.
    Count(u8),
    /// Resources and how much of each.
    Amounts,
    /// Labels.
    Labels,
    /// A mapping of strings.
    Strings,
    /// A mapping of anything.
    Any,
    /// Operations, or a part of a manifest.
    Patch,
    /// Fields of its own.
    Object(&'static Fields),
    /// Any number of these.
    List(&'static Self),
}

/// The fields of a mapping.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// They.
    pub rules: &'static [Rule],
    /// What is needed beside those that are required.
    pub needs: Needs,
}

/// What is needed beside the fields that are required.
#[derive(Clone, Copy, Debug)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// At least one of these.
    Some(&'static [&'static str]),
    /// Exactly one of these.
    One(&'static [&'static str]),
    /// At least one of these, and none of these pairs.
    Apart(&'static [&'static str], &'static [[&'static str; 2]]),
    /// The same; and where the field of a template is given, it says what these fields of others would.
    Template(&'static Choice),
}

/// What an app's source is said by.
#[derive(Debug)]
pub struct Choice {
    /// At least one of these.
    pub some: &'static [&'static str],
    /// None of these pairs.
    pub apart: &'static [[&'static str; 2]],
    /// The field of a template.
    pub template: &'static str,
    /// An object beside it, and its fields that are required without it and refused with it.
    pub places: &'static [(&'static str, &'static str)],
}

/// So many, from none.
const NUMBER: Shape = Shape::Whole(Some(0), Some(u32::MAX as i64));
/// So many, at least one.
const SOME: Shape = Shape::Whole(Some(1), Some(u32::MAX as i64));

impl Rule {
    const fn new(name: &'static str, shape: Shape, about: &'static str) -> Self {
        Self { name, shape, about, required: false, default: None }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn or(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }
}

impl Fields {
    /// A field by its name.
    pub fn rule(&self, name: &str) -> Option<&'static Rule> {
        self.rules.iter().find(|rule| rule.name == name)
    }
}

impl Shape {
    /// What people call it.
    pub fn word(self) -> String {
        match self {
            Self::Word(word) => word.to_owned(),
            Self::Choice(_) => "word".to_owned(),
            Self::Text(form) => form.word().to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Affirmed => "true".to_owned(),
            Self::Whole(least, most) => whole(least, most),
            Self::Count(least) => format!("whole number from {least}, or percentage from {least}% to 100%"),
            Self::Amounts => "amounts by resource".to_owned(),
            Self::Labels => "labels".to_owned(),
            Self::Strings => "mapping of strings".to_owned(),
            Self::Any => "mapping of anything".to_owned(),
            Self::Patch => "list of operations, or part of a manifest".to_owned(),
            Self::Object(_) => "object".to_owned(),
            Self::List(item) => format!("list of {}", item.word()),
        }
    }

    /// Its fields, or those of its items.
    pub fn fields(self) -> Option<&'static Fields> {
        match self {
            Self::Object(fields) => Some(fields),
            Self::List(item) => item.fields(),
            _ => None,
        }
    }

    /// The words that it is one of, or its items are.
    pub fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Choice(words) => Some(words),
            Self::List(item) => item.words(),
            _ => None,
        }
    }
}

/// What people call a whole number within these. That it has to fit into 32 bits is no news to them.
fn whole(least: Option<i64>, most: Option<i64>) -> String {
    let from = least.map(|least| format!(" from {least}")).unwrap_or_default();
    let to = most.filter(|most| *most < i64::from(u32::MAX));
    let to = to.map(|most| format!(" to {most}")).unwrap_or_default();
    format!("whole number{from}{to}")
}

/// The whole document of a kind, as a field without a place.
pub fn document(kind: Kind) -> &'static Rule {
    match kind {
        Kind::Fleet => &fleet::FLEET,
        Kind::Cluster => &fleet::CLUSTER,
        Kind::ClusterSet => &fleet::CLUSTER_SET,
        Kind::App => &app::APP,
        Kind::Override => &overriding::OVERRIDE,
        Kind::Placement => &placement::PLACEMENT,
        Kind::Rollout => &rollout::ROLLOUT,
        Kind::Catalog => &tenant::CATALOG,
    }
}

/// What every document has, around its specification.
const fn around(kind: &'static str, spec: Rule) -> [Rule; 4] {
    around_named(kind, &common::METADATA, spec)
}

const fn around_named(kind: &'static str, metadata: &'static Fields, spec: Rule) -> [Rule; 4] {
    [
        Rule::new("apiVersion", Shape::Word(API_VERSION), "The version of the catalog's API.").required(),
        Rule::new("kind", Shape::Word(kind), "What the document is.").required(),
        Rule::new("metadata", Shape::Object(metadata), "What it is called.").required(),
        spec,
    ]
}

#[cfg(test)]
mod tests;
