//! Gather: what of a hub goes into a snapshot.
//!
//! In: records, the catalog in effect, its repository. Out: the parts of a snapshot.
//! Never: lets through a kind of record that is not in [`RECORDS`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::catalog::{self, Catalog, MAX_FILE_BYTES, ObjectId, Tree, parse_file};
use nave_placement::render::MAX_BUNDLE_BYTES;

use super::Good;
use crate::deciding::core::json;
use crate::deciding::older::Trees;
use crate::deciding::revision::{Content, Place};
use crate::state::State;
use crate::state::records::{FleetRecord, MemberRecord};

/// The beginnings of the keys of records that a decision needs.
pub const RECORDS: [&str; 18] = [
    "fleet",
    "doubt",
    "window",
    "member/",
    "head/",
    "good/",
    "form/",
    "decision/",
    "assignment/",
    "report/",
    "facts/",
    "hold/",
    "approval/",
    "rejection/",
    "pause/",
    "pin/",
    "rollout/",
    "plan/",
];

/// What stands for the key of a member.
const SOME_KEY: &str = "-";

/// A record as it goes into a snapshot: without keys, and without where the hub is.
pub fn record(key: &str, value: &[u8]) -> Option<Vec<u8>> {
    if key == crate::state::records::key::FLEET {
        let fleet: FleetRecord = serde_json::from_slice(value).ok()?;
        return Some(json(&FleetRecord { advertise: Vec::new(), ..fleet }));
    }
    if key.starts_with("member/") {
        let member: MemberRecord = serde_json::from_slice(value).ok()?;
        // Whether it has a key is all that decisions ask.
        let public_key = if member.is_vacant() { String::new() } else { SOME_KEY.to_owned() };
        return Some(json(&MemberRecord { public_key, cluster_uid: String::new(), ..member }));
    }
    Some(value.to_vec())
}

/// The files of the commit in effect that hold catalog documents, or whose text cannot be told from one that does.
pub async fn documents(
    content: &dyn Content,
    place: &Place,
    tree: &Tree,
    in_effect: &Catalog,
) -> BTreeMap<Arc<str>, Arc<[u8]>> {
    let ignore = read(content, tree, catalog::ignore_files(tree, &place.directory)).await;
    let held = catalog::held_files(&in_effect.objects);
    let mut documents = read(content, tree, catalog::candidates(tree, &place.directory, &ignore)).await;
    documents.retain(|path, text| held.contains(path) || catalog::may_hold_documents(text));
    documents
}

async fn read(
    content: &dyn Content,
    tree: &Tree,
    paths: BTreeSet<Arc<str>>,
) -> BTreeMap<Arc<str>, Arc<[u8]>> {
    let known: Vec<_> =
        paths.into_iter().filter_map(|path| Some((path.clone(), tree.get(&path)?.blob.clone()))).collect();
    let blobs = known.iter().map(|(_, blob)| blob.clone()).collect();
    // As many bytes as the catalog's reader takes: a large manifest without catalog documents is none of its problems.
    let texts = content.read_all(blobs, MAX_BUNDLE_BYTES as u64).await;
    known.into_iter().zip(texts).filter_map(|((path, _), text)| Some((path, text.ok()?))).collect()
}

/// Where objects in effect stand that are not valid in the files of the commit any more.
pub async fn good(
    trees: &dyn Trees,
    in_effect: &Catalog,
    documents: &BTreeMap<Arc<str>, Arc<[u8]>>,
) -> Vec<Good> {
    let mut valid: BTreeSet<ObjectId> = BTreeSet::new();
    for (path, text) in documents {
        let parsed = parse_file(path, text);
        valid.extend(parsed.documents.iter().filter(|d| d.object.is_some()).filter_map(|d| d.id.clone()));
    }
    let older = in_effect.objects.iter().filter(|(id, _)| !valid.contains(id));
    let places: BTreeSet<_> = older
        .map(|(_, effective)| (effective.commit.clone(), effective.object.origin.file.clone()))
        .collect();
    let mut good = Vec::new();
    for (commit, file) in places {
        let Ok(tree) = trees.tree_of(&commit).await else { continue };
        let Some(entry) = tree.get(&file) else { continue };
        let text = trees.read_all(vec![entry.blob.clone()], MAX_FILE_BYTES).await.pop();
        good.extend(text.and_then(Result::ok).map(|text| Good { commit, file, text }));
    }
    good
}

/// The bundles of everything that clusters are told, and of the forms in effect.
pub fn needed_bundles(state: &State) -> BTreeSet<Digest> {
    let told = state.told.values().flat_map(|told| told.assignment.entries.values());
    let told = told.filter_map(|entry| nave_proto::decode_entry(&entry.bytes).ok()).map(|entry| entry.bundle);
    told.chain(state.forms.values().map(|form| form.bundle)).collect()
}
