//! What an app's source needs before it can be rendered, from the tree alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Engine, Needs};
use crate::catalog::{FileKind, Source, Tree};

/// Most files that one source may name.
const MAX_FILES: usize = 10_000;

/// Why a source cannot be rendered. Every message says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NeedsError {
    /// Nothing is at the path.
    #[error("there is nothing at {0:?} in this commit; correct source.path or add the files")]
    Missing(Arc<str>),
    /// No manifest is below the path.
    #[error(
        "there is no .yaml, .yml or .json file below {0:?}; an app without objects would remove all it has"
    )]
    Empty(Arc<str>),
    /// A symbolic link stands where a manifest is expected.
    #[error("{0:?} is a symbolic link; links are not followed, put the file itself there")]
    Symlink(Arc<str>),
    /// Too many files.
    #[error("{0:?} holds more than {MAX_FILES} manifests; split the app")]
    TooMany(Arc<str>),
}

/// Whether a file can hold manifests.
pub(crate) fn is_manifest(path: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|ext| path.ends_with(ext))
}

/// The closure of files of a source.
///
/// # Errors
/// When the source is missing, empty, too large, or holds a link where a manifest is expected.
pub fn needs(source: &Source, tree: &Tree) -> Result<Needs, NeedsError> {
    let Source::Path(path) = source;
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut files = BTreeMap::new();
    let mut found = false;
    if let Some(entry) = tree.get(path) {
        if entry.kind == FileKind::Symlink {
            return Err(NeedsError::Symlink(path.clone()));
        }
        let name = path.rsplit('/').next().unwrap_or(path);
        files.insert(name.into(), entry.blob.clone());
        found = true;
    }
    let below =
        tree.range::<str, _>((std::ops::Bound::Included(prefix.as_str()), std::ops::Bound::Unbounded));
    for (file, entry) in below.take_while(|(file, _)| file.starts_with(&prefix)) {
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
