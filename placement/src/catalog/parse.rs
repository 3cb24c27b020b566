//! Parse: one file becomes objects and problems.
//!
//! In: the path and bytes of one file; nothing else, so the outcome can be kept by (path, blob id). Out: [`ParsedFile`].
//! Never: looks at other files (that is [`assemble`]'s part), stops at the first problem.
//!
//! [`assemble`]: super::assemble

use std::collections::BTreeSet;
use std::sync::Arc;

use super::decode::decode;
use super::fields::{Field, Reader};
use super::problems::{Position, Problem};
use super::references::References;
use super::suggest::{did_you_mean, distance};
use super::template::{Starred, Template};
use super::yaml::{self, Map, Node, Value};
use super::{API_VERSION, Kind, MAX_FILE_BYTES, Object, ObjectId, Origin};

/// The group of our API, with the separator.
const GROUP: &str = "nave.dev/";
pub(super) const KINDS: [Kind; 8] = [
    Kind::App,
    Kind::Catalog,
    Kind::Cluster,
    Kind::ClusterSet,
    Kind::Fleet,
    Kind::Override,
    Kind::Placement,
    Kind::Rollout,
];

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Where it begins.
    pub origin: Origin,
    /// Whether its `apiVersion` is ours.
    pub ours: bool,
    /// Kind and name, as far as they could be read; also of a document that is not ours but has a kind of our names. The name of a
    /// template has a `*`.
    pub id: Option<ObjectId>,
    /// The object, unless it has an error; of a template what all its apps say alike.
    pub object: Option<Arc<Object>>,
    /// Not ours, and not plainly somebody else's either: without `apiVersion` or kind, or with an `apiVersion` that
    /// differs from ours by a slip. Where an object stood before, it may be that object, spoiled.
    pub stray: bool,
    /// What it makes of directories, if it is ours and a template.
    pub(super) template: Option<Template>,
    pub(super) references: References,
}

/// A file, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ParsedFile {
    /// Its documents.
    pub documents: Vec<Document>,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
    /// Some of it could not be read enough to know which objects it holds. Then no object of the catalog counts as
    /// removed.
    pub unreadable: bool,
}

impl ParsedFile {
    /// A file that could not be read at all; `message` says why and how to mend it.
    pub fn unread(path: &str, message: impl Into<String>) -> Self {
        let problem = Problem::error(&path.into(), Position::START, message);
        Self { documents: Vec::new(), problems: vec![problem], unreadable: true }
    }

    /// A file of `size` bytes that is too large to be read.
    pub fn too_large(path: &str, size: u64) -> Self {
        let limit = MAX_FILE_BYTES >> 20;
        Self::unread(path, format!("the file has {size} bytes, a catalog file at most {limit} MiB; split it"))
    }
}

/// Reads one file.
pub fn parse_file(path: &str, bytes: &[u8]) -> ParsedFile {
    let size = bytes.len() as u64;
    if size > MAX_FILE_BYTES {
        return ParsedFile::too_large(path, size);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return not_utf8(path, bytes, error),
    };
    let mut parsed = ParsedFile::default();
    let file: Arc<str> = path.into();
    for document in yaml::read(text) {
        match document.root {
            Some(root) => take_document(&file, &root, document.faults, &mut parsed),
            None => {
                parsed.unreadable = true;
                parsed.problems.extend(problems(&file, document.faults, None));
            }
        }
    }
    parsed
}

fn not_utf8(path: &str, bytes: &[u8], error: std::str::Utf8Error) -> ParsedFile {
    let mut parsed = ParsedFile::unread(path, "the file is not UTF-8; save it as UTF-8");
    let position = Position::after(&bytes[..error.valid_up_to()]);
    for problem in &mut parsed.problems {
        (problem.line, problem.column) = (position.line, position.column);
    }
    parsed
}

fn problems(file: &Arc<str>, faults: Vec<yaml::Fault>, id: Option<&ObjectId>) -> Vec<Problem> {
    faults.into_iter().map(|f| Problem::error(file, f.position, f.message).of(id)).collect()
}

/// What a document says it is.
struct Identity {
    ours: bool,
    id: Option<ObjectId>,
    stray: bool,
    /// It says directories somewhere, and none of its names could be theirs: unless it is whole, it may be a template of any name.
    is_torn: bool,
}

fn identify(root: &Node) -> Identity {
    let none = Map::default();
    let map = root.map().unwrap_or(&none);
    let text = |key: &str| map.get(key).and_then(Node::text);
    // A key that stands there twice still tells whose document it is.
    let ours =
        map.0.iter().any(|e| e.key == "apiVersion" && e.node.text().is_some_and(|v| v.starts_with(GROUP)));
    let name = map.get("metadata").and_then(Node::map).and_then(|m| m.get("name")).and_then(Node::text);
    let kind = KINDS.into_iter().find(|k| text("kind") == Some(&k.to_string()));
    let is_app = kind == Some(Kind::App);
    let is_template = name.is_some_and(|name| is_app && Starred::of_names(name).is_some());
    let name = name.filter(|name| is_template || crate::check_name("name", name).is_ok());
    let id = kind.zip(name).map(|(kind, name)| ObjectId { kind, name: name.into() });
    // Three slips: more is another word.
    let near = text("apiVersion").is_none_or(|version| distance(version, API_VERSION) <= 3);
    let is_torn = is_app && !is_template && says_directories(root, DEEP);
    Identity { ours, id, stray: !ours && (near || text("kind").is_none()), is_torn }
}

/// So deep a field may have slipped.
const DEEP: usize = 6;

/// Whether `directories` is said of anything in a document: whatever it is below may be misspelt.
fn says_directories(node: &Node, depth: usize) -> bool {
    let Some(map) = node.map().filter(|_| depth > 0) else { return false };
    map.0.iter().any(|entry| {
        let is_said = entry.key == "directories" && !matches!(entry.node.value, Value::Null);
        is_said || says_directories(&entry.node, depth - 1)
    })
}

fn take_document(file: &Arc<str>, root: &Node, faults: Vec<yaml::Fault>, parsed: &mut ParsedFile) {
    let Identity { ours, id, stray, is_torn } = identify(root);
    let Position { line, column } = root.position;
    let origin = Origin { file: file.clone(), line, column };
    let names = id.as_ref().filter(|id| ours && id.kind == Kind::App).and_then(|id| Starred::parse(&id.name));
    let template = names.map(|names| Template { names, directories: None });
    let references = References::default();
    let mut document = Document { origin, ours, id, object: None, stray, template, references };
    if ours {
        let mut reader =
            Reader { file, object: document.id.clone(), problems: Vec::new(), misspelt: BTreeSet::new() };
        reader.problems = problems(file, faults, document.id.as_ref());
        take_object(&mut reader, root, &mut document);
        parsed.unreadable |= is_torn && document.object.is_none() || document.id.is_none();
        parsed.problems.append(&mut reader.problems);
    }
    parsed.documents.push(document);
}

/// Reads a document of ours.
fn take_object(reader: &mut Reader<'_>, root: &Node, document: &mut Document) {
    let root = Field { node: root, path: String::new() };
    let at = root.node.position;
    let version = root.node.map().and_then(|m| m.first("apiVersion"));
    if let Some(node) = version
        && let Some(given) = node.text()
        && given != API_VERSION
    {
        let message =
            format!("apiVersion {given} is not supported by this version of Nave; write {API_VERSION}");
        reader.error(node.position, message);
        return;
    }
    let Some(kind) = kind(reader, &root) else { return };
    let Some(fields) = reader.fields(&root, &["apiVersion", "kind", "metadata", "spec"], &[]) else {
        return;
    };
    let mut labels = std::collections::BTreeMap::new();
    match fields.get("metadata") {
        None => reader.missing(at, "metadata.name", "name the object"),
        Some(field) => {
            if let Some(metadata) = reader.fields(&field, &["name", "labels", "annotations"], &[]) {
                match metadata.get("name") {
                    Some(name) => check_name(reader, &name, kind),
                    None => reader.missing(metadata.position, "metadata.name", "name the object"),
                }
                labels = metadata.get("labels").map(|f| reader.labels(&f)).unwrap_or_default();
                metadata.get("annotations").iter().for_each(|f| _ = reader.strings(f));
            }
        }
    }
    let decoded = decode(reader, &mut document.references, kind, fields.get("spec").as_ref(), at);
    let (spec, directories) =
        decoded.map_or((None, None), |decoded| (Some(decoded.spec), decoded.directories));
    if let Some(template) = &mut document.template {
        template.directories = directories;
    }
    let valid = !reader.problems.iter().any(Problem::is_error);
    if let (Some(id), Some(spec), true) = (&document.id, spec, valid) {
        let origin = document.origin.clone();
        document.object = Some(Arc::new(Object { id: id.clone(), labels, origin, spec }));
    }
}

fn check_name(reader: &mut Reader<'_>, field: &Field<'_>, kind: Kind) {
    let Some(name) = reader.text(field) else { return };
    let stars = if kind == Kind::App { name.matches('*').count() } else { 0 };
    if stars > 1 {
        let message = format!(
            "{}: {name:?} has {stars} *; the name of a template has one, which stands for the directory's name",
            field.path
        );
        reader.error(field.node.position, message);
    } else if stars == 0 || Starred::of_names(&name).is_none() {
        reader.name(field, what(kind));
    }
}

/// The document's kind, or a problem.
fn kind(reader: &mut Reader<'_>, root: &Field<'_>) -> Option<Kind> {
    let words = KINDS.map(|kind| kind.to_string());
    let Some(node) = root.node.map().and_then(|m| m.first("kind")) else {
        reader.missing(root.node.position, "kind", &format!("write one of {}", words.join(", ")));
        return None;
    };
    let given = reader.text(&Field { node, path: "kind".to_owned() })?;
    if let Some(kind) = KINDS.into_iter().find(|k| k.to_string() == given) {
        return Some(kind);
    }
    let suggestion = did_you_mean(&given, words.iter().map(String::as_str));
    reader.error(
        node.position,
        format!("{given:?} is no known kind{suggestion} (valid kinds are {})", words.join(", ")),
    );
    None
}

fn what(kind: Kind) -> &'static str {
    match kind {
        Kind::Fleet => "fleet name",
        Kind::Cluster => "cluster name",
        Kind::ClusterSet => "cluster set name",
        Kind::App => "app name",
        Kind::Placement => "placement name",
        Kind::Override => "override name",
        Kind::Rollout => "rollout name",
        Kind::Catalog => "catalog name",
    }
}
