//! Makes commits without a `git` binary, for `hub demo` and tests.
//!
//! In: a directory, all files of the next commit, a message. Out: the commit's id; work tree, index and branch `main` agree.
//! Never: is used on a catalog that somebody else writes; touches files that no earlier commit of it holds.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use gix::bstr::BStr;
use gix::index::entry::{Flags, Mode, Stat};
use gix::objs::tree::EntryKind;
use nave_placement::catalog::CommitId;

use super::errors::Cause;

const NAME: &str = "Nave demo";
const EMAIL: &str = "demo@nave.invalid";

/// Why a commit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorError {
    /// A path that would leave the directory or touch Git's own files.
    #[error("{path:?} is not a path inside a repository")]
    BadPath {
        /// The path.
        path: String,
    },
    /// The disk or the repository refused.
    #[error("no commit could be made in {directory}")]
    Failed {
        /// The repository's directory.
        directory: String,
        /// What happened.
        #[source]
        cause: Cause,
    },
}

/// Commits exactly `files` to branch `main` of the repository at `directory`, which is made when there is none. Files of
/// the previous commit that are not among them are removed. `time` is in seconds since 1970.
///
/// # Errors
/// When a path is refused, nothing was written; after another error a new call puts everything right.
pub fn commit(
    directory: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    message: &str,
    time: i64,
) -> Result<CommitId, AuthorError> {
    if let Some(path) = files.keys().find(|path| !is_inside(path)) {
        return Err(AuthorError::BadPath { path: path.clone() });
    }
    write(directory, files, message, time)
        .map_err(|cause| AuthorError::Failed { directory: directory.display().to_string(), cause })
}

fn is_inside(path: &str) -> bool {
    let normal = |c| matches!(c, Component::Normal(name) if !name.eq_ignore_ascii_case(".git"));
    !path.is_empty()
        && !path.ends_with('/')
        && !path.contains("//")
        && Path::new(path).components().all(normal)
}

fn write(
    directory: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    message: &str,
    time: i64,
) -> Result<CommitId, Cause> {
    let options = gix::open::Options::isolated().config_overrides(["init.defaultBranch=main"]);
    let repository = if directory.join(".git").exists() {
        options.open(directory)?
    } else {
        std::fs::create_dir_all(directory)?;
        let kind = gix::create::Kind::WithWorktree;
        gix::ThreadSafeRepository::init_opts(directory, kind, gix::create::Options::default(), options)?
    };
    let repository = repository.to_thread_local();
    remove_vanished(&repository, directory, files)?;

    let mut tree = repository.edit_tree(repository.empty_tree().id)?;
    let mut index = gix::index::State::new(repository.object_hash());
    for (path, content) in files {
        let file = directory.join(path);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&file, content)?;
        let blob = repository.write_blob(content)?.detach();
        tree.upsert(path.as_str(), EntryKind::Blob, blob)?;
        let stat = Stat::from_fs(&gix::index::fs::Metadata::from_path_no_follow(&file)?)?;
        index.dangerously_push_entry(stat, blob, Flags::empty(), Mode::FILE, BStr::new(path));
    }
    index.sort_entries();
    let tree = tree.write()?.detach();

    let stamp = gix::date::Time::new(time, 0).to_string();
    let author = gix::actor::SignatureRef { name: NAME.into(), email: EMAIL.into(), time: &stamp };
    let parent = repository.head_id().ok().map(gix::Id::detach);
    let commit = repository.commit_as(author, author, "HEAD", message, tree, parent)?.detach();
    gix::index::File::from_state(index, repository.index_path()).write(Default::default())?;
    Ok(CommitId(commit.to_string().into()))
}

/// Removes what the previous commit has and the next has not, with the directories that this empties.
fn remove_vanished(
    repository: &gix::Repository,
    directory: &Path,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<(), Cause> {
    let Ok(tree) = repository.head_tree_id() else {
        return Ok(());
    };
    let old = repository.index_from_tree(&tree)?;
    for entry in old.entries() {
        let path = entry.path(&old).to_string();
        if files.contains_key(&path) || !is_inside(&path) {
            continue;
        }
        std::fs::remove_file(directory.join(&path)).ok();
        for parent in Path::new(&path).ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()) {
            if std::fs::remove_dir(directory.join(parent)).is_err() {
                break;
            }
        }
    }
    Ok(())
}
