//! Rows of catalogs: what is written, what is in effect, what is said about it.

mod dependency;
mod directories;
mod last_good;
mod mutations;
mod overriding;
mod problems;
mod read;
mod rollout;
mod source;
mod templates;
mod tenants;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;

/// A commit as rows of path and content. A content that begins with `-> ` is a symbolic link.
pub(crate) type Commit<'a> = &'a [(&'a str, &'a str)];

pub(super) fn tree(commit: Commit<'_>) -> Tree {
    let entry = |(path, text): &(&str, &str)| {
        let kind = if text.starts_with("-> ") { FileKind::Symlink } else { FileKind::File };
        let blob = BlobId(crate::Digest::of(text.as_bytes()).to_string().into());
        (Arc::from(*path), TreeEntry { kind, blob, size: text.len() as u64 })
    };
    commit.iter().map(entry).collect()
}

/// What the hub's driver does: candidates, then only what may hold documents or held one before, then assemble.
pub(super) fn revision(id: &str, files: &[(&str, &[u8])], tree: &Tree, last_good: &LastGood) -> Catalog {
    let content: BTreeMap<&str, &[u8]> = files.iter().copied().collect();
    let ignore =
        ignore_files(tree, "").into_iter().map(|path| (path.clone(), Arc::from(content[&*path]))).collect();
    let held = held_files(last_good);
    let mut parsed = Files::new();
    for path in candidates(tree, "", &ignore) {
        let bytes = content[&*path];
        if held.contains(&path) || may_hold_documents(bytes) {
            parsed.insert(path.clone(), Arc::new(parse_file(&path, bytes)));
        }
    }
    assemble(&CatalogName::root(), &CommitId(id.into()), true, tree, &parsed, last_good)
}

pub(crate) fn assembled(id: &str, commit: Commit<'_>, last_good: &LastGood) -> Catalog {
    let files: Vec<(&str, &[u8])> = commit.iter().map(|(path, text)| (*path, text.as_bytes())).collect();
    revision(id, &files, &tree(commit), last_good)
}

/// `Kind/name@commit` of everything in effect.
pub(super) fn effective(catalog: &Catalog) -> Vec<String> {
    catalog.objects.iter().map(|(id, effective)| format!("{id}@{}", effective.commit)).collect()
}

pub(super) fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// A file that begins with our `apiVersion`, so that line 2 is the first of `rest`.
pub(super) fn document(rest: &str) -> String {
    format!("apiVersion: {API_VERSION}\n{rest}")
}

pub(super) const WEB: &str =
    "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec: {source: {path: ./web}}\n";
pub(super) const DB: &str =
    "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: db}\nspec: {source: {path: ./db}}\n";
pub(super) const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
