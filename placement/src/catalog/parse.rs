//! Parse.
use std::sync::Arc;

use super::{Object, ObjectId, Origin, Problem};

/// One YAML document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it begins.
    pub origin: Origin,
    /// Whether its `apiVersion` is ours.
    pub ours: bool,
    /// Kind and name, as far as they could be read.
    pub id: Option<ObjectId>,
    /// The object, unless it has an error.
    pub object: Option<Arc<Object>>,
}

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedFile {
    /// Its documents.
    pub documents: Vec<Document>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// The text could not be parsed enough to know what it holds.
    pub unreadable: bool,
}

/// Reads one file.
pub fn parse_file(_path: &str, _text: &[u8]) -> ParsedFile {
    ParsedFile::default()
}
