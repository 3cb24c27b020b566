//! Gather: what of a hub goes into a snapshot.
//!
//! In: records, the catalog in effect, its repository. Out: the parts of a snapshot.
//! Never: lets through a kind of record that is not in [`RECORDS`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::catalog::{
    self, Catalog, Effective, LastGood, MAX_FILE_BYTES, ObjectId, Tree, assemble, parse_file,
};
use nave_placement::render::MAX_BUNDLE_BYTES;

use super::Good;
use crate::deciding::core::json;
use crate::deciding::older::Trees;
use crate::deciding::revision::{Content, Place};
use crate::state::State;
use crate::state::records::{FleetRecord, MemberRecord};

/// The beginnings of the keys of records that a decision needs.
pub const RECORDS: [&str; 19] = [
    "fleet",
    "doubt",
    "window",
    "member/",
    "head/",
    "good/",
    "form/",
    "source/",
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
    let of_tree = documents.into_iter().map(|(path, text)| (path.clone(), ours(&path, &text)));
    let configured = place.configured.iter().map(|of| (of.file.clone(), of.text.clone()));
    of_tree.chain(configured).collect()
}

/// A file's text with nothing but line ends where it holds no document of the catalog: a Secret may stand beside an app, and the
/// places of what is left stay as they were.
fn ours(path: &str, text: &[u8]) -> Arc<[u8]> {
    let mut kept = Vec::with_capacity(text.len());
    let mut document = Vec::new();
    let mut close = |document: &mut Vec<u8>| match parse_file(path, document)
        .documents
        .iter()
        .any(|document| document.id.is_some())
    {
        true => kept.append(document),
        false => kept.extend(document.drain(..).filter(|byte| *byte == b'\n')),
    };
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let rest = line.strip_prefix(b"---");
        if rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace)) {
            close(&mut document);
        }
        document.extend_from_slice(line);
    }
    close(&mut document);
    kept.into()
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

/// Where objects in effect stand that the files of the commit do not give any more.
pub async fn good(
    trees: &dyn Trees,
    (place, tree): (&Place, &Tree),
    in_effect: &Catalog,
    documents: &BTreeMap<Arc<str>, Arc<[u8]>>,
) -> Vec<Good> {
    let files = documents.iter().map(|(path, text)| (path.clone(), Arc::new(parse_file(path, text))));
    let (name, commit) = (&in_effect.name, &in_effect.commit);
    let given = assemble(name, commit, place.is_root, tree, &files.collect(), &LastGood::new()).objects;
    let is_given = |id: &ObjectId, effective: &Effective| {
        let given = given.get(id).map(|given| &given.object);
        given.is_some_and(|g| g.spec == effective.object.spec && g.labels == effective.object.labels)
    };
    let mut places: BTreeMap<_, BTreeSet<ObjectId>> = BTreeMap::new();
    for (id, effective) in in_effect.objects.iter().filter(|(id, effective)| !is_given(id, effective)) {
        let place = (effective.commit.clone(), effective.object.origin.file.clone());
        places.entry(place).or_default().insert(id.clone());
    }
    let mut good = Vec::new();
    for ((commit, file), ids) in places {
        let Ok(tree) = trees.tree_of(&commit).await else { continue };
        let Some(entry) = tree.get(&file) else { continue };
        let text = trees.read_all(vec![entry.blob.clone()], MAX_FILE_BYTES).await.pop();
        let Some(text) = text.and_then(Result::ok).map(|text| ours(&file, &text)) else { continue };
        let paths = catalog::paths_of(&parse_file(&file, &text), &tree, &ids).into_iter().collect();
        good.push(Good { commit, file, text, paths });
    }
    good
}

/// The bundles of everything that clusters are told, and of the forms in effect.
pub fn needed_bundles(state: &State) -> BTreeSet<Digest> {
    let told = state.told.values().flat_map(|told| told.assignment.entries.values());
    let told = told.filter_map(|entry| nave_proto::decode_entry(&entry.bytes).ok()).map(|entry| entry.bundle);
    told.chain(state.forms.values().map(|form| form.bundle)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_catalogs_leaves_only_its_lines() {
        let app = "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {name: web}\nspec: {source: {path: ./web}}\n";
        let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {nave.dev/prune: Never}}\nstringData: {p: canary}\n";
        let comment = "# canary\n";
        // (file, what is left of it)
        let rows = [
            (app.to_owned(), app.to_owned()),
            (secret.to_owned(), "\n".repeat(4)),
            (format!("{secret}---\n{app}"), format!("{}---\n{app}", "\n".repeat(4))),
            (format!("{app}--- # two\n{secret}---\n{app}"), format!("{app}{}---\n{app}", "\n".repeat(5))),
            (format!("{comment}---\n{app}"), format!("\n---\n{app}")),
            ("{\"kind\": \"Secret\", \"data\": {\"p\": \"canary\"}}".to_owned(), String::new()),
        ];
        for (file, left) in rows {
            assert_eq!(String::from_utf8_lossy(&ours("a.yaml", file.as_bytes())), left, "{file}");
        }
    }
}
