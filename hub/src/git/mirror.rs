//! Our own copy of what we use: a bare repository in the data directory.
//!
//! In: a directory. Out: an opened mirror; `refs/nave/head` (the branch as last fetched) and `refs/nave/pin/<commit>`.
//! Never: is written by another process; loses an object that a pin reaches.

use std::path::{Path, PathBuf};

use gix::ObjectId;
use gix::refs::transaction::{PreviousValue, RefEdit};
use nave_placement::catalog::CommitId;

use super::errors::{Cause, FetchError};

/// Where the fetched branch's newest commit is kept.
pub(super) const HEAD: &str = "refs/nave/head";
/// Where the commit is kept that was fetched by its name last; nothing but its objects matters.
pub(super) const NAMED: &str = "refs/nave/named";
const PINS: &str = "refs/nave/pin/";

/// Above any pack count that `packs::consolidate` leaves behind, with room for those written meanwhile.
const PACK_SLOTS: u16 = 256;

/// Most bytes that are allocated at once for an object.
pub(super) const MOST_ALLOCATED: u64 = 1 << 30;

/// How every repository is opened: nothing outside its own directory is read (no user or system configuration, no
/// environment), and no object makes us allocate more than [`MOST_ALLOCATED`].
pub(super) fn open_options() -> gix::open::Options {
    let limit = format!("gitoxide.objects.allocLimit={MOST_ALLOCATED}");
    gix::open::Options::isolated()
        // Each thread that unpacks a pack holds an object.
        .config_overrides([limit, "gc.auto=0".to_owned(), "pack.threads=1".to_owned()])
        .cli_overrides(["user.name=nave", "user.email=nave@nave.invalid"])
        .object_store_slots(gix::odb::store::init::Slots::Given(PACK_SLOTS))
}

/// Opens the mirror if there is one, after clearing away what a killed process left half-written.
///
/// Assumes that this process is the only one that writes there; the hub's lock on its data directory sees to it.
pub(super) fn open(path: &Path) -> Result<Option<gix::ThreadSafeRepository>, FetchError> {
    if !path.join("HEAD").exists() {
        return Ok(None);
    }
    clear_leftovers(path, 0).map_err(|e| broken(path, e))?;
    reopen(path).map(Some)
}

/// Opens an existing mirror again, so that packs that came and went since are seen.
pub(super) fn reopen(path: &Path) -> Result<gix::ThreadSafeRepository, FetchError> {
    open_options().open_path_as_is(true).open(path).map_err(|e| broken(path, e))
}

/// Makes an empty mirror; it appears whole or not at all.
pub(super) fn create(path: &Path, hash: gix::hash::Kind) -> Result<gix::ThreadSafeRepository, FetchError> {
    let make = || -> Result<(), Cause> {
        let parent = path.parent().ok_or("it has no parent directory")?;
        std::fs::create_dir_all(parent)?;
        let scratch = tempfile::Builder::new().prefix(".new-").tempdir_in(parent)?;
        let object_hash = (hash != gix::hash::Kind::Sha1).then_some(hash);
        let options = gix::create::Options { object_hash, ..Default::default() };
        let bare = scratch.path().join("bare");
        gix::create::into(&bare, gix::create::Kind::Bare, options)?;
        std::fs::remove_dir_all(bare.join("hooks")).ok();
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
        Ok(std::fs::rename(&bare, path)?)
    };
    make().map_err(|e| broken(path, e))?;
    reopen(path)
}

pub(super) fn broken(path: &Path, cause: impl Into<Cause>) -> FetchError {
    FetchError::Mirror { path: path.to_owned(), cause: cause.into() }
}

/// Removes locks and temporary packs. A lock file of a process that was killed would stop every later fetch.
fn clear_leftovers(directory: &Path, depth: usize) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            // Loose objects (`objects/ab/`) hold no locks; refs/nave/pin is the deepest directory that does.
            if depth < 4 && name.len() > 2 {
                clear_leftovers(&entry.path(), depth + 1)?;
            }
        } else if name.ends_with(".lock") || name.ends_with(".keep") || name.starts_with(".tmp") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether the branch was ever fetched into it.
pub(super) fn has_head(mirror: &gix::Repository) -> bool {
    matches!(mirror.try_find_reference(HEAD), Ok(Some(_)))
}

/// Whether nothing was ever fetched into it that is to stay.
pub(super) fn is_empty(mirror: &gix::Repository) -> bool {
    !has_head(mirror) && pins(mirror).is_ok_and(|p| p.is_empty())
}

/// The commit of a reference.
pub(super) fn tip(mirror: &gix::Repository, name: &str) -> gix::Result<Option<ObjectId>> {
    match mirror.try_find_reference(name)? {
        Some(mut reference) => Ok(Some(reference.peel_to_id()?.detach())),
        None => Ok(None),
    }
}

pub(super) fn pin(mirror: &gix::Repository, commit: ObjectId) -> gix::Result<()> {
    edit(mirror, |name| RefEdit::update(name, commit, PreviousValue::Any, "pin"), commit)
}

pub(super) fn unpin(mirror: &gix::Repository, commit: ObjectId) -> gix::Result<()> {
    edit(mirror, |name| RefEdit::delete(name, PreviousValue::Any), commit)
}

fn edit(
    mirror: &gix::Repository,
    change: impl FnOnce(gix::refs::FullName) -> RefEdit,
    commit: ObjectId,
) -> gix::Result<()> {
    let name = gix::refs::FullName::try_from(format!("{PINS}{commit}")).map_err(gix::Error::from_error)?;
    mirror.edit_reference(change(name)).map(drop)
}

pub(super) fn pins(mirror: &gix::Repository) -> gix::Result<Vec<CommitId>> {
    let mut found = Vec::new();
    for reference in mirror.references()?.prefixed(PINS)? {
        let reference = reference?;
        let name = reference.name().as_bstr().to_string();
        found.extend(name.strip_prefix(PINS).map(|hex| CommitId(hex.into())));
    }
    found.sort();
    Ok(found)
}

/// The commits that are pinned in a mirror that is not open; none where there is no mirror.
///
/// # Errors
/// It cannot be read.
pub(crate) fn pinned_in(path: &Path) -> Result<Vec<CommitId>, FetchError> {
    if !path.join("HEAD").exists() {
        return Ok(Vec::new());
    }
    let mirror = reopen(path)?.to_thread_local();
    pins(&mirror).map_err(|error| broken(path, error))
}

/// Notes that the parents of `commit` are not here, as a shallow clone does; tools and walks then stop there.
pub(super) fn mark_shallow(mirror: &gix::Repository, commit: ObjectId) -> Result<(), Cause> {
    let file: PathBuf = mirror.shallow_file()?;
    let text = match std::fs::read_to_string(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let line = commit.to_string();
    if text.lines().any(|l| l == line) {
        return Ok(());
    }
    let mut scratch = tempfile::NamedTempFile::new_in(mirror.path())?;
    std::io::Write::write_all(&mut scratch, format!("{text}{line}\n").as_bytes())?;
    scratch.persist(&file)?;
    Ok(())
}
