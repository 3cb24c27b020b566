//! Copies objects between repositories, and keeps the number of packs small.
//!
//! In: a commit of a source repository; a mirror. Out: all objects of that commit's tree in one new pack of the mirror.
//! Never: removes a pack before another one holds all its objects; drops objects (garbage of rewritten branches stays).

use std::collections::HashSet;
use std::io::{BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use gix_pack as pack;
use gix_pack::data::output;

use super::errors::{Cause, ReadError};
use super::objects::{Objects, damaged};

/// More packs than this are made one: each lookup asks every pack's index in turn.
const MAX_PACKS: usize = 50;

/// Copies a commit, its trees and files into the mirror, as far as they are not there. Its history stays behind.
pub(super) fn copy_commit(
    objects: &Objects,
    mirror: &gix::Repository,
    commit: ObjectId,
) -> Result<(), ReadError> {
    let mut wanted = Vec::new();
    let mut seen = HashSet::new();
    let mut pending = vec![commit];
    while let Some(id) = pending.pop() {
        // What the mirror has, it has with everything below: packs are added whole, leaves and all.
        if !seen.insert(id) || mirror.has_object(id) {
            continue;
        }
        wanted.push(id);
        let kind = objects.header(id)?.kind();
        if kind == gix::objs::Kind::Commit {
            pending.push(objects.commit(id)?.tree_id().map_err(|e| damaged(id, e))?.detach());
        } else if kind == gix::objs::Kind::Tree {
            let tree = objects.object(id)?;
            for entry in gix::objs::TreeRefIter::from_bytes(&tree.data, id.kind()) {
                let entry = entry.map_err(|e| damaged(id, e))?;
                if !entry.mode.is_commit() {
                    pending.push(entry.oid.to_owned());
                }
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let source = objects.home(commit)?;
    write_pack(source, mirror, wanted).map(drop).map_err(|e| damaged(commit, e))
}

/// Makes one pack of the smaller ones once there are more than [`MAX_PACKS`]. A pack that outweighs all others stays,
/// so that the work is bounded by what came in since. Returns whether packs went away.
pub(super) fn consolidate(mirror: &gix::Repository) -> Result<bool, Cause> {
    let mut packs = list(mirror)?;
    if packs.len() <= MAX_PACKS {
        return Ok(false);
    }
    packs.sort_by_key(|(_, size)| *size);
    let total: u64 = packs.iter().map(|(_, size)| size).sum();
    packs.pop_if(|(_, size)| *size > total / 2);
    let mut ids = HashSet::new();
    for (index, _) in &packs {
        let index = pack::index::File::at(index, mirror.object_hash())?;
        ids.extend(index.iter().map(|entry| entry.oid));
    }
    let Some(written) = write_pack(mirror, mirror, ids.into_iter().collect())? else {
        return Ok(false);
    };
    for (index, _) in packs.iter().filter(|(index, _)| *index != written) {
        for extension in ["idx", "rev", "pack"] {
            match std::fs::remove_file(index.with_extension(extension)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
    }
    Ok(true)
}

/// The index files of all packs, with the packs' sizes.
fn list(mirror: &gix::Repository) -> std::io::Result<Vec<(PathBuf, u64)>> {
    let mut packs = Vec::new();
    for entry in std::fs::read_dir(pack_directory(mirror))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "idx") {
            let size = std::fs::metadata(path.with_extension("pack"))?.len();
            packs.push((path, size));
        }
    }
    Ok(packs)
}

fn pack_directory(mirror: &gix::Repository) -> PathBuf {
    mirror.objects.store_ref().path().join("pack")
}

/// Writes the objects into one pack, deltas copied where their base comes along; gives the new index file.
fn write_pack(
    from: &gix::Repository,
    into: &gix::Repository,
    ids: Vec<ObjectId>,
) -> Result<Option<PathBuf>, Cause> {
    let total = u32::try_from(ids.len())?;
    let located = output::count::PackLocation::NotLookedUp;
    let counts =
        ids.into_iter().map(|id| output::Count { id, entry_pack_location: located.clone() }).collect();
    let mut database = (*from.objects).clone();
    database.prevent_pack_unload();
    // One thread: this runs beside the hub's real work and is never waited for by it.
    let options = output::entry::iter_from_counts::Options { thread_limit: Some(1), ..Default::default() };
    let entries =
        output::entry::iter_from_counts(counts, database, Box::new(gix::progress::Discard), options)?;
    let mut scratch = tempfile::tempfile_in(into.path())?;
    let version = pack::data::Version::default();
    let ordered = gix::parallel::InOrderIter::from(entries);
    let mut writer = output::bytes::FromEntriesIter::new(
        ordered,
        BufWriter::new(&mut scratch),
        total,
        version,
        into.object_hash(),
    );
    for written in writer.by_ref() {
        written?;
    }
    writer.into_write().flush()?;
    scratch.rewind()?;
    let done = pack::Bundle::write_to_directory(
        &mut BufReader::new(scratch),
        Some(Path::new(&pack_directory(into))),
        &mut gix::progress::Discard,
        &AtomicBool::new(false),
        None::<gix::odb::Handle>,
        into.object_hash(),
        pack::bundle::write::Options { thread_limit: Some(1), ..Default::default() },
    )?;
    if let Some(keep) = done.keep_path {
        std::fs::remove_file(keep)?;
    }
    Ok(done.index_path)
}
