//! What an app's source needs before it can be rendered.
//!
//! In: a source, the tree, the content of what an earlier call asked for. Out: the whole [`Needs`], or what has to be read
//! to know more: a kustomization names further files, a chart says which of its own do not count, and which others it needs.
//! Never: reads; names a file outside the repository, or behind a symbolic link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::kustomize::MAX_DEPTH;
use super::{Contents, Engine, Needs, helm, kustomize};
use crate::catalog::paths::{ancestors, is_below, parent};
use crate::catalog::{BlobId, FileKind, Position, Remote, Source, Tree, TreeEntry, What};

/// Most files that one source may name.
pub(super) const MAX_FILES: usize = 10_000;
/// Most bytes in the files that an engine gets: what becomes at most a bundle of 16 MiB has templates, values and files
/// that are not used beside it.
const MAX_BYTES: u64 = MAX_MIB << 20;
const MAX_MIB: u64 = 64;

/// For whom a source is rendered: what Helm calls a release.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The app: the release's name, where the source gives none.
    pub app: &'a str,
    /// Its namespace; absent: `default`.
    pub namespace: Option<&'a str>,
    /// A tenant's: what its charts depend on is reached without credentials.
    pub is_tenants: bool,
}

/// The files that a source may name.
#[derive(Clone, Copy, Debug)]
pub struct Trees<'t> {
    /// Of the catalog's commit.
    pub catalog: &'t Tree,
    /// Of the source's [`Remote`].
    pub remote: Option<&'t Tree>,
    /// Of charts elsewhere that a call before asked for ([`Needed::Charts`]).
    pub charts: &'t Charts<'t>,
}

/// Charts that stand elsewhere, and their files.
pub type Charts<'t> = BTreeMap<Remote, &'t Tree>;

/// None are known yet.
static NONE: Charts<'static> = Charts::new();

impl<'t> Trees<'t> {
    /// Those of a source without a remote.
    pub fn of_catalog(catalog: &'t Tree) -> Self {
        Self { catalog, remote: None, charts: &NONE }
    }

    /// The files that a source's paths are of.
    fn of(&self, source: &Source) -> Result<&'t Tree, NeedsError> {
        match &source.remote {
            None => Ok(self.catalog),
            Some(remote) => self.remote.ok_or_else(|| NeedsError::Elsewhere(remote.clone())),
        }
    }
}

/// What is known of the needs of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// All.
    Whole(Needs),
    /// These files, by path from the root of what the source's paths are of, have to be read first.
    More(BTreeSet<Arc<str>>),
    /// These charts have to be fetched first: a chart depends on them.
    Charts(BTreeSet<Remote>),
}

/// Why a source cannot be rendered. Every message says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedsError {
    /// The files of its remote are not at hand.
    #[error("it comes from {}, which is not at hand here", .0.shown())]
    Elsewhere(Arc<Remote>),
    /// Nothing is at the path.
    #[error("there is nothing at {0:?} in this commit; correct source.path or add the files")]
    Missing(Arc<str>),
    /// No manifest is below the path.
    #[error(
        "there is no .yaml, .yml or .json file below {0:?}; an app without objects would remove all it has"
    )]
    Empty(Arc<str>),
    /// A symbolic link stands where a file is expected.
    #[error("{0:?} is a symbolic link; links are not followed, put the file itself there")]
    Symlink(Arc<str>),
    /// Too many files.
    #[error("{0:?} needs more than {MAX_FILES} files; split the app")]
    TooMany(Arc<str>),
    /// Too many bytes.
    #[error(
        "the files of {0:?} are larger than {MAX_MIB} MiB together; split the app, or have .helmignore leave out what no template uses"
    )]
    TooLarge(Arc<str>),
    /// There is no kustomization in a directory that is to have one.
    #[error("there is no kustomization.yaml in {0:?}; correct the path, or add one")]
    NoKustomization(Arc<str>),
    /// There is no chart in a directory that is to have one.
    #[error("there is no Chart.yaml in {0:?}; name the directory of a chart that stands in this repository")]
    NoChart(Arc<str>),
    /// A file of values is not there, or cannot be one.
    #[error("source.helm.valuesFiles names {entry:?}, {why}")]
    Values {
        /// The file, from the repository's root.
        entry: Arc<str>,
        /// What is wrong with that, and how to mend it.
        why: &'static str,
    },
    /// Kustomizations lie too deep in each other.
    #[error(
        "{0:?} is the end of more than {MAX_DEPTH} kustomizations that name each other; make fewer layers"
    )]
    TooDeep(Arc<str>),
    /// Something that a file names is not there, or may not be used.
    #[error("{file}: {field} names {entry:?}, {why}")]
    Named {
        /// The file.
        file: Arc<str>,
        /// The field in it.
        field: &'static str,
        /// What it names.
        entry: String,
        /// What is wrong with that, and how to mend it.
        why: String,
    },
    /// A file uses what Nave does not run.
    #[error("{file}: {what}")]
    Refused {
        /// The file.
        file: Arc<str>,
        /// What, why not, and how to mend it.
        what: String,
    },
    /// A file that says what else is needed cannot be read.
    #[error("{file}:{at}: {why}")]
    Unread {
        /// The file.
        file: Arc<str>,
        /// Where.
        at: Position,
        /// Why.
        why: String,
    },
}

/// Whether a file can hold manifests.
pub(crate) fn is_manifest(path: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ext| path.ends_with(ext))
}

/// What a source needs. `contents` is what calls before asked for ([`Needed::More`]); each call asks for something that is not
/// in it, or ends.
///
/// # Errors
/// When something of the source is missing, too large, behind a link, outside the repository, or not for us to run.
pub fn needs(
    source: &Source,
    release: Release<'_>,
    trees: Trees<'_>,
    contents: &Contents,
) -> Result<Needed, NeedsError> {
    let tree = trees.of(source)?;
    if let Some(link) = link(tree, source.path()) {
        return Err(NeedsError::Symlink(link));
    }
    match &source.what {
        What::Path(path) => manifests(path, tree).map(Needed::Whole),
        What::Kustomize(source) => kustomize::needs(source, tree, contents),
        What::Helm(chart) => helm::needs(chart, release, tree, trees, contents),
    }
}

/// The closure of a directory or a file of manifests.
fn manifests(path: &Arc<str>, tree: &Tree) -> Result<Needs, NeedsError> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut files = BTreeMap::new();
    let mut found = false;
    if let Some(entry) = tree.get(path) {
        let name = path.rsplit('/').next().unwrap_or(path);
        files.insert(name.into(), entry.blob.clone());
        found = true;
    }
    for (file, entry) in below(tree, &prefix) {
        found = true;
        if !is_manifest(file) || entry.kind == FileKind::Submodule {
            continue;
        }
        if entry.kind == FileKind::Symlink {
            return Err(NeedsError::Symlink(file.clone()));
        }
        files.insert(file[prefix.len()..].into(), entry.blob.clone());
        if files.len() > MAX_FILES {
            return Err(NeedsError::TooMany(path.clone()));
        }
    }
    match (found, files.is_empty()) {
        (false, _) => Err(NeedsError::Missing(path.clone())),
        (true, true) => Err(NeedsError::Empty(path.clone())),
        (true, false) => Ok(Needs { engine: Engine::Manifests, files, source: path.clone() }),
    }
}

/// What stands below a directory; the prefix ends with `/`, or is empty for the root.
pub(crate) fn below<'t>(tree: &'t Tree, prefix: &str) -> impl Iterator<Item = (&'t Arc<str>, &'t TreeEntry)> {
    let from = (std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded);
    let prefix = prefix.to_owned();
    tree.range::<str, _>(from).take_while(move |(file, _)| file.starts_with(&prefix))
}

/// The symbolic link that a path is, or lies behind.
fn link(tree: &Tree, path: &str) -> Option<Arc<str>> {
    let is_link = |path: &&str| tree.get(*path).is_some_and(|entry| entry.kind == FileKind::Symlink);
    std::iter::once(path).chain(ancestors(path)).find(is_link).map(Into::into)
}

/// What a path of the repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    File,
    Directory,
    Nothing,
}

/// What stands at a path of a tree.
pub(super) fn place(tree: &Tree, path: &str) -> Result<Place, NeedsError> {
    if let Some(link) = link(tree, path) {
        return Err(NeedsError::Symlink(link));
    }
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    Ok(match tree.get(path).map(|entry| entry.kind) {
        Some(FileKind::File) => Place::File,
        None if below(tree, &prefix).next().is_some() => Place::Directory,
        _ => Place::Nothing,
    })
}

/// The files that an engine gets, within their budgets, by path from the repository's root.
pub(super) struct Closure<'t> {
    tree: &'t Tree,
    /// Where the files of the tree stand in the closure; empty unless others stand beside.
    under: &'static str,
    /// What it is of, for messages.
    of: Arc<str>,
    files: BTreeMap<Arc<str>, BlobId>,
    bytes: u64,
}

impl<'t> Closure<'t> {
    pub fn of(source: &Arc<str>, tree: &'t Tree) -> Self {
        Self { tree, under: "", of: source.clone(), files: BTreeMap::new(), bytes: 0 }
    }

    /// The same, with its files in a directory of their own, so that those of another tree have room beside it.
    #[must_use]
    pub fn under(self, directory: &'static str) -> Self {
        let of = format!("{directory}{}", self.of).into();
        Self { under: directory, of, ..self }
    }

    /// The path in the closure of a file of the tree.
    pub fn path_of(&self, path: &str) -> Arc<str> {
        format!("{}{path}", self.under).into()
    }

    /// What stands at a path.
    pub fn place(&self, path: &str) -> Result<Place, NeedsError> {
        place(self.tree, path)
    }

    /// Takes a file in. One that is not there, or no file, is left out.
    pub fn add(&mut self, path: &str) -> Result<(), NeedsError> {
        self.add_as(path, path)
    }

    /// Takes a file in, to be put at another path.
    pub fn add_as(&mut self, path: &str, put: &str) -> Result<(), NeedsError> {
        match self.tree.get_key_value(path) {
            Some((path, entry)) => self.take(self.path_of(put), path, entry),
            None => Ok(()),
        }
    }

    /// Takes a file of another tree in, below a directory that holds none of this one's.
    pub fn add_of(&mut self, tree: &Tree, directory: &str, path: &str) -> Result<(), NeedsError> {
        match tree.get_key_value(path) {
            Some((path, entry)) => self.take(format!("{directory}{path}").into(), path, entry),
            None => Ok(()),
        }
    }

    fn take(&mut self, into: Arc<str>, path: &Arc<str>, entry: &TreeEntry) -> Result<(), NeedsError> {
        match entry.kind {
            FileKind::Symlink => return Err(NeedsError::Symlink(path.clone())),
            FileKind::Submodule => return Ok(()),
            FileKind::File => {}
        }
        if self.files.insert(into, entry.blob.clone()).is_some() {
            return Ok(());
        }
        self.bytes += entry.size;
        if self.files.len() > MAX_FILES {
            return Err(NeedsError::TooMany(self.of.clone()));
        }
        if self.bytes > MAX_BYTES {
            return Err(NeedsError::TooLarge(self.of.clone()));
        }
        Ok(())
    }

    /// The needs: paths are relative to the directory that holds all, so that nothing changes where that is moved. `engine` is
    /// given how a path is then written.
    pub fn finish(self, engine: impl FnOnce(&dyn Fn(&str) -> Arc<str>) -> Engine) -> Needs {
        let mut top: &str = &self.of;
        for file in self.files.keys() {
            while !is_below(file, top) {
                top = parent(top);
            }
        }
        let relative = |path: &str| -> Arc<str> {
            path.strip_prefix(top).unwrap_or(path).trim_start_matches('/').into()
        };
        let engine = engine(&relative);
        let files = self.files.iter().map(|(path, blob)| (relative(path), blob.clone())).collect();
        Needs { engine, files, source: top.into() }
    }
}
