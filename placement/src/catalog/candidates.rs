//! Candidates: which files of a commit may hold catalog documents.
//!
//! In: the tree, and the content of the `.naveignore` files. Out: paths.
//! The hub lists [`ignore_files`] and reads them, lists [`candidates`], reads each one, skips those that are neither
//! [`may_hold_documents`] nor among [`held_files`], parses the rest (kept by path and blob id), and assembles.
//! Never: names a symbolic link or a submodule.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::{FileKind, LastGood, Tree, paths};
use crate::render::is_manifest;

/// Largest catalog file: some ten thousand objects, far more than people keep in one.
pub const MAX_FILE_BYTES: u64 = 4 << 20;

const IGNORE_FILE: &str = ".naveignore";
const CHART_FILE: &str = "Chart.yaml";

/// The `.naveignore` files that matter for a catalog directory: in it, below it, and above it.
pub fn ignore_files(tree: &Tree, directory: &str) -> BTreeSet<Arc<str>> {
    let directory = directory.trim_matches('/');
    let matters = |path: &str| {
        let parent = paths::parent(path);
        paths::is_below(parent, directory) || paths::is_below(directory, parent)
    };
    files_named(tree, IGNORE_FILE).filter(|path| matters(path)).cloned().collect()
}

/// The files below `directory` that may hold catalog documents: YAML and JSON outside Helm charts, not ignored.
/// `ignore` is the content of each of [`ignore_files`].
pub fn candidates(
    tree: &Tree,
    directory: &str,
    ignore: &BTreeMap<Arc<str>, Arc<[u8]>>,
) -> BTreeSet<Arc<str>> {
    let directory = directory.trim_matches('/');
    let charts: BTreeSet<&str> = files_named(tree, CHART_FILE).map(|path| paths::parent(path)).collect();
    let ignored: BTreeMap<&str, Gitignore> =
        ignore.iter().map(|(p, text)| (paths::parent(p), matcher(text))).collect();
    let below = tree.range::<str, _>((Bound::Included(directory), Bound::Unbounded));
    below
        .take_while(|(path, _)| path.starts_with(directory))
        .filter(|(path, entry)| {
            entry.kind == FileKind::File && is_manifest(path) && paths::is_below(path, directory)
        })
        .filter(|(path, _)| !paths::ancestors(path).any(|directory| charts.contains(directory)))
        .filter(|(path, _)| !is_ignored(&ignored, path))
        .map(|(path, _)| path.clone())
        .collect()
}

/// Whether a file has to be parsed although it held no object before. UTF-16 hides the group's name from a search, so
/// such a file is parsed, and refused with its position.
pub fn may_hold_documents(content: &[u8]) -> bool {
    let marker = b"nave.dev/";
    let utf16 = content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]);
    utf16 || content.windows(marker.len()).any(|window| window == marker)
}

/// The files that held an object in the last good revision: they are always parsed.
pub fn held_files(last_good: &LastGood) -> BTreeSet<Arc<str>> {
    last_good.values().map(|effective| effective.object.origin.file.clone()).collect()
}

/// Whether a file is of no tree: what it says of the root catalog stands in the hub's configuration.
pub fn is_configured(file: &str) -> bool {
    file.starts_with('/')
}

fn files_named<'a>(tree: &'a Tree, name: &'static str) -> impl Iterator<Item = &'a Arc<str>> {
    let named = move |path: &str| path.rsplit('/').next() == Some(name);
    tree.iter().filter(move |(path, entry)| entry.kind == FileKind::File && named(path)).map(|(path, _)| path)
}

fn matcher(text: &[u8]) -> Gitignore {
    let mut builder = GitignoreBuilder::new("");
    for line in String::from_utf8_lossy(text).lines() {
        // A pattern that is none is skipped, as Git does.
        _ = builder.add_line(None, line);
    }
    builder.build().unwrap_or_else(|_| Gitignore::empty())
}

/// As Git decides: the nearest file with an opinion wins, and what lies in an ignored directory is ignored.
fn is_ignored(matchers: &BTreeMap<&str, Gitignore>, file: &str) -> bool {
    if matchers.is_empty() {
        return false;
    }
    let mut directories: Vec<&str> = paths::ancestors(file).filter(|path| !path.is_empty()).collect();
    directories.reverse();
    let decide = |path: &str, is_directory: bool| {
        let opinions = paths::ancestors(path).filter_map(|directory| {
            let relative = path.strip_prefix(directory)?.trim_start_matches('/');
            match matchers.get(directory)?.matched(relative, is_directory) {
                Match::None => None,
                Match::Ignore(_) => Some(true),
                Match::Whitelist(_) => Some(false),
            }
        });
        opinions.into_iter().next().unwrap_or(false)
    };
    directories.into_iter().any(|directory| decide(directory, true)) || decide(file, false)
}
