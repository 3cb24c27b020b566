//! Template: an `App` whose name has a `*`, which makes one app of each directory that it matches.
//!
//! In: what its document says; a directory and the files of the commit. Out: the app that it makes of the directory.
//! Never: chooses the directories (that is [`assemble`]'s part); reads a file.
//!
//! [`assemble`]: super::assemble

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use super::dependency::DependsOn;
use super::objects::{App, Spec};
use super::problems::Position;
use super::said::{HelmSaid, KustomizeSaid, Said, SourceChange, WhatSaid};
use super::source::{Source, SourceError};
use super::{FileKind, Kind, Object, ObjectId, Tree};
use crate::render::{CHART_FILE, KUSTOMIZATION_FILES, below};

/// A text with one `*`, which stands for something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Starred {
    before: Arc<str>,
    after: Arc<str>,
}

impl Starred {
    /// `None` where there is no `*`, or more than one.
    pub fn parse(text: &str) -> Option<Self> {
        let (before, after) = text.split_once('*')?;
        (!after.contains('*')).then(|| Self { before: before.into(), after: after.into() })
    }

    /// What a template calls its apps: a name, whatever name the `*` stands for.
    pub fn of_names(text: &str) -> Option<Self> {
        Self::parse(text).filter(|names| crate::check_name("app name", &names.filled("a")).is_ok())
    }

    /// The text with the `*` replaced.
    pub fn filled(&self, with: &str) -> String {
        format!("{}{with}{}", self.before, self.after)
    }

    /// What the `*` stands for in a text; `None` where it is none of these.
    pub fn stands_for<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.strip_prefix(&*self.before)?.strip_suffix(&*self.after)
    }
}

/// What a template says of the directories that it makes apps of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Directories {
    /// Where they are, from the repository's root; empty for the root itself.
    pub parent: Arc<str>,
    /// Their names.
    pub names: Starred,
    /// As it is said.
    pub given: Arc<str>,
    /// Where it is said.
    pub at: Position,
    /// By which engine they are rendered, and what that is given; absent: by what each holds.
    pub engine: Option<WhatSaid>,
}

impl Directories {
    /// The path of a directory.
    pub fn path(&self, name: &str) -> Arc<str> {
        if self.parent.is_empty() { name.into() } else { format!("{}/{name}", self.parent).into() }
    }

    /// Whether a directory of this name is meant. As in a shell, a `*` stands for no dot at the beginning.
    fn means(&self, name: &str) -> bool {
        let is_hidden = name.starts_with('.') && !self.names.before.starts_with('.');
        !is_hidden && self.names.stands_for(name).is_some()
    }

    /// The names of the directories of a commit that are meant, each with a file below it.
    pub fn found<'t>(&self, tree: &'t Tree) -> Vec<&'t str> {
        let prefix = if self.parent.is_empty() { String::new() } else { format!("{}/", self.parent) };
        let mut found = Vec::new();
        let mut from = prefix.clone();
        loop {
            let mut rest = tree.range::<str, _>((Bound::Included(&*from), Bound::Unbounded));
            let Some(path) = rest.next().and_then(|(path, _)| path.strip_prefix(&*prefix)) else { break };
            // Past all that is below the directory, or past the file: '0' follows on '/', and nothing comes before NUL.
            from = match path.split_once('/') {
                Some((name, _)) => {
                    if self.means(name) && file_below(tree, &format!("{prefix}{name}")).is_some() {
                        found.push(name);
                    }
                    format!("{prefix}{name}0")
                }
                None => format!("{prefix}{path}\0"),
            };
        }
        found
    }

    /// The names of what is meant and is no directory of files here: links, and repositories of their own.
    pub fn unfollowed<'t>(&self, tree: &'t Tree) -> BTreeSet<&'t str> {
        let prefix = if self.parent.is_empty() { String::new() } else { format!("{}/", self.parent) };
        let elsewhere = below(tree, &prefix).filter(|(_, entry)| entry.kind != FileKind::File);
        let names = elsewhere.filter_map(|(path, _)| path[prefix.len()..].split('/').next());
        let is_lacking = |name: &&str| self.means(name) && file_below(tree, &self.path(name)).is_none();
        names.filter(is_lacking).collect()
    }

    /// Whether a commit has this directory, and it is meant.
    fn has(&self, name: &str, tree: &Tree) -> bool {
        !name.contains('/') && self.means(name) && file_below(tree, &self.path(name)).is_some()
    }

    /// What the files of a directory are.
    fn source(&self, directory: &Arc<str>, tree: &Tree) -> Result<Source, SourceError> {
        let place = Said::of(directory);
        let helm = |said: &HelmSaid| WhatSaid::Helm(HelmSaid { chart: Some(place.clone()), ..said.clone() });
        let kustomize = |said: &KustomizeSaid| {
            WhatSaid::Kustomize(KustomizeSaid { path: Some(place.clone()), ..said.clone() })
        };
        let has = |file: &str| tree.contains_key(&*format!("{directory}/{file}"));
        let what = match &self.engine {
            Some(WhatSaid::Helm(said)) => helm(said),
            Some(WhatSaid::Kustomize(said)) => kustomize(said),
            _ if has(CHART_FILE) => helm(&HelmSaid::default()),
            _ if KUSTOMIZATION_FILES.into_iter().any(has) => kustomize(&KustomizeSaid::default()),
            _ => WhatSaid::Path(place.clone()),
        };
        Source::of(SourceChange { git: None, what: Some(what) })
    }
}

/// The first file below a directory.
fn file_below<'t>(tree: &'t Tree, directory: &str) -> Option<&'t Arc<str>> {
    let prefix = format!("{directory}/");
    below(tree, &prefix).find(|(_, entry)| entry.kind == FileKind::File).map(|(path, _)| path)
}

/// A template, beside what all its apps say alike.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    /// What its apps are called.
    pub names: Starred,
    /// What they are made of, as far as that could be read.
    pub directories: Option<Directories>,
}

impl Template {
    /// The app that it makes of a directory, `object` being what it says.
    ///
    /// # Errors
    /// What is said of its source does not go together there.
    pub fn make(
        &self,
        object: &Object,
        directories: &Directories,
        name: &str,
        tree: &Tree,
    ) -> Result<Option<Object>, SourceError> {
        let Spec::App(app) = &object.spec else { return Ok(None) };
        let id = ObjectId { kind: Kind::App, name: self.names.filled(name).into() };
        let former = app.formerly.iter().filter_map(|text| Some(Starred::parse(text)?.filled(name)));
        // What is no name was nobody's.
        let former = former.filter(|former| crate::check_name("app name", former).is_ok());
        let of_others = |all: &Vec<_>| all.iter().filter(|d| !is_on(d, &id)).cloned().collect();
        let app = App {
            source: directories.source(&directories.path(name), tree)?,
            formerly: former.filter(|former| **former != *id.name).collect(),
            // What all wait for does not wait for itself.
            depends_on: app.depends_on.as_ref().map(of_others),
            ..app.clone()
        };
        Ok(Some(Object { id, spec: Spec::App(app), ..object.clone() }))
    }

    /// The app of this name, `object` being what the template says.
    pub fn made(&self, object: &Object, name: &str, tree: &Tree) -> Option<Object> {
        let directories = self.directories.as_ref()?;
        let directory = self.names.stands_for(name).filter(|directory| directories.has(directory, tree))?;
        self.make(object, directories, directory, tree).ok().flatten()
    }

    /// The paths of a commit by which the app of this name is made as it is.
    pub fn paths(&self, name: &str, tree: &Tree) -> Vec<Arc<str>> {
        let Some(directories) = &self.directories else { return Vec::new() };
        let Some(directory) = self.names.stands_for(name).map(|name| directories.path(name)) else {
            return Vec::new();
        };
        let says = std::iter::once(CHART_FILE).chain(KUSTOMIZATION_FILES);
        let says = says.filter_map(|file| tree.get_key_value(&*format!("{directory}/{file}")));
        says.map(|(path, _)| path).chain(file_below(tree, &directory)).cloned().collect()
    }
}

fn is_on(dependency: &super::Dependency, id: &ObjectId) -> bool {
    matches!(&dependency.on, DependsOn::App(name) if **name == *id.name)
}
