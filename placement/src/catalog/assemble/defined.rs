//! Defined: the objects that documents define; a template defines one for each of its directories.
//!
//! In: documents, the tree of their commit. Out: what they define, and what is wrong with the directories.
//! Never: takes a template that makes nothing, or too much, for one that dropped its apps.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::template::{Directories, Template};
use crate::catalog::{Document, Kind, Object, ObjectId, ParsedFile, Problem, Tree};

/// Directories of one template. Some fleets have a thousand services; a pattern that meets more is a slip.
const MOST: usize = 1_000;

/// An object as a document defines it.
#[derive(Clone, Debug)]
pub(in crate::catalog) struct Defined<'a> {
    /// Who it is.
    pub id: ObjectId,
    /// It, unless it has an error.
    pub object: Option<Arc<Object>>,
    /// By which document.
    pub document: &'a Document,
    /// The directory that a template makes it of.
    pub directory: Option<Arc<str>>,
}

impl Defined<'_> {
    /// Where it stands, for another one that is called the same.
    pub fn place(&self) -> String {
        let origin = &self.document.origin;
        match (&self.directory, &self.document.id) {
            (Some(directory), Some(template)) => {
                format!("{template} at {}:{} makes it of {directory} too", origin.file, origin.position())
            }
            _ => format!("it stands at {}:{} too", origin.file, origin.position()),
        }
    }
}

/// What a document defines.
#[derive(Debug, Default)]
pub(super) struct Definition<'a> {
    pub defined: Vec<Defined<'a>>,
    pub problems: Vec<Problem>,
    /// A template of which it is not known what all it means: any app that it may call so.
    pub open: Option<&'a ObjectId>,
}

/// What documents define, in effect or not.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Named<'a> {
    pub ids: BTreeSet<ObjectId>,
    /// Templates that may mean more than that.
    pub open: Vec<&'a ObjectId>,
}

impl Named<'_> {
    /// Whether a document defines this object, or may.
    pub fn has(&self, id: &ObjectId) -> bool {
        let may_be = |template: &&ObjectId| template.kind == id.kind && template.means(&id.name);
        self.ids.contains(id) || self.open.iter().any(may_be)
    }
}

/// What a document defines in this commit.
pub(super) fn of<'a>(document: &'a Document, tree: &Tree) -> Definition<'a> {
    let Some(id) = &document.id else { return Definition::default() };
    let Some(template) = &document.template else {
        let own = Defined { id: id.clone(), object: document.object.clone(), document, directory: None };
        return Definition { defined: vec![own], ..Definition::default() };
    };
    let is_open = document.object.is_none() || template.directories.is_none();
    let mut definition = Definition { open: is_open.then_some(id), ..Definition::default() };
    let Some(directories) = &template.directories else { return definition };
    let problem =
        |message: String| Problem::error(&document.origin.file, directories.at, message).of(Some(id));
    let names = directories.found(tree);
    if let Some(message) = amiss(directories, names.len()) {
        if document.object.is_some() {
            definition.problems.push(problem(message));
        }
        return Definition { open: Some(id), ..definition };
    }
    for name in directories.unfollowed(tree) {
        let (directory, called) = (directories.path(name), template.names.filled(name));
        if crate::check_name("app name", &called).is_err() {
            continue;
        }
        let id = ObjectId { kind: Kind::App, name: called.into() };
        let message = format!(
            "spec.source.directories: {directory} is a link or a repository of its own, which are not followed; where it was a directory its app stays as it is: put its files there, or remove it"
        );
        definition.problems.push(problem(message).of(Some(&id)).warning());
        definition.defined.push(Defined { id, object: None, document, directory: Some(directory) });
    }
    for name in names {
        let directory = directories.path(name);
        let called = template.names.filled(name);
        if let Err(error) = crate::check_name("app name", &called) {
            let message = format!(
                "spec.source.directories: no app is made of {directory}: {error}; rename the directory, or have the pattern leave it out"
            );
            definition.problems.push(problem(message));
            continue;
        }
        let id = ObjectId { kind: Kind::App, name: called.into() };
        let made = document.object.as_ref().map(|object| template.make(object, directories, name, tree));
        let object = match made.transpose() {
            Ok(made) => made.flatten().map(Arc::new),
            Err(error) => {
                let message = format!("spec.source.{error}");
                definition.problems.push(problem(message).of(Some(&id)));
                None
            }
        };
        definition.defined.push(Defined { id, object, document, directory: Some(directory) });
    }
    definition
}

/// Why so many directories are not taken for what is meant.
fn amiss(directories: &Directories, found: usize) -> Option<String> {
    let given = &directories.given;
    match found {
        0 => Some(format!(
            "spec.source.directories: no directory of this commit is {given:?}; its apps stay as they are: correct it, or remove the document to remove them all"
        )),
        1..=MOST => None,
        _ => Some(format!(
            "spec.source.directories: {found} directories are {given:?}, and {MOST} are the most; its apps stay as they are: make two templates of it, e.g. with ./services/a* and ./services/b*"
        )),
    }
}

/// The object of this identity that a file defines, in the commit of this tree.
pub fn object_of(file: &ParsedFile, tree: &Tree, id: &ObjectId) -> Option<Arc<Object>> {
    let mut meaning = file.documents.iter().filter(|document| means(document, id));
    meaning.find_map(|document| {
        let object = document.object.as_ref()?;
        match &document.template {
            None => Some(object.clone()),
            Some(template) => template.made(object, &id.name, tree).map(Arc::new),
        }
    })
}

/// The paths of a commit that tell, with a file, what these objects are: with a tree of them alone, [`object_of`] gives the same.
pub fn paths_of(file: &ParsedFile, tree: &Tree, ids: &BTreeSet<ObjectId>) -> BTreeSet<Arc<str>> {
    let templates =
        file.documents.iter().filter_map(|document| Some((document, document.template.as_ref()?)));
    let of = |(document, template): (&Document, &Template)| {
        let meant = ids.iter().filter(|id| means(document, id));
        meant.flat_map(|id| template.paths(&id.name, tree)).collect::<Vec<_>>()
    };
    templates.flat_map(of).collect()
}

fn means(document: &Document, id: &ObjectId) -> bool {
    document.ours && document.id.as_ref().is_some_and(|own| own.kind == id.kind && own.means(&id.name))
}
