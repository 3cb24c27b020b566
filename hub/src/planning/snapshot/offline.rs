//! Offline: the plan of a directory, from a snapshot alone.
//!
//! In: a [`Snapshot`], a directory as if it were a commit. Out: a plan, by the same function as the hub's.
//! Never: asks a hub; knows the commits before the one in effect: what is pinned to one stays as it is.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::CatalogName;
use nave_placement::catalog::{
    BlobId, Effective, FileKind, LastGood, ObjectId, Tree, TreeEntry, assemble, is_configured, object_of,
    parse_file,
};
use tokio_util::sync::CancellationToken;

use super::{Good, Snapshot};
use crate::deciding::commits::said;
use crate::deciding::core::{Revision, admit};
use crate::deciding::older::Places;
use crate::deciding::parts::Own;
use crate::deciding::revision::{Content, Loader, add_configured};
use crate::engines::Engines;
use crate::git::trailers_of;
use crate::planning::view::PlanView;
use crate::planning::{PlanError, Shelf, Side, World, no_commit};
use crate::sources::Remotes;

/// Plans what stands in a directory, as a commit of a catalog. `message` is that of the commit that it will be, for its trailers.
///
/// # Errors
/// [`PlanError`].
pub async fn plan(
    snapshot: &Snapshot,
    catalog: &CatalogName,
    (content, tree): (&dyn Content, Tree),
    message: &str,
    (engines, remotes): (&Engines, &dyn Remotes),
) -> Result<PlanView, PlanError> {
    let places = snapshot.places();
    let owns = in_effect(snapshot, &places);
    let trees: BTreeMap<CatalogName, Tree> =
        snapshot.owns.iter().map(|(name, own)| (name.clone(), own.tree.clone())).collect();
    let mut new = Vec::new();
    let mut admission = None;
    for own in &owns {
        let Some(place) = places.get(catalog).filter(|_| own.catalog.name == *catalog) else {
            new.push(own.clone());
            continue;
        };
        let last_good = &own.catalog.objects;
        let planned = Loader::default().catalog(content, place, &no_commit(), &tree, last_good).await;
        let approved = |id: &str| snapshot.state.approvals.contains_key(id);
        // What is in no commit descends from whatever it was made of.
        let taken = snapshot.commit_of(catalog);
        let tenant = Some(catalog).filter(|_| !place.is_root);
        admission = admit(tenant, taken, &no_commit(), planned.empty, true, approved).err().map(|hold| *hold);
        let trailers = said(&no_commit(), &trailers_of(message));
        new.push(Own::of(Arc::new(planned)).saying(trailers, place));
    }
    let of = |owns: Vec<Own>| Revision::of(owns).expect("every snapshot has a root catalog");
    let forms = snapshot.state.forms();
    let base = Side {
        revision: Revision { forms, ..of(owns) },
        trees: trees.clone(),
        content: snapshot,
        problems: snapshot.header.problems.clone(),
    };
    let mut planned_trees = trees;
    planned_trees.insert(catalog.clone(), tree);
    let new = of(new);
    let new = Side { revision: new, trees: planned_trees, content, problems: Vec::new() };
    let world = World {
        catalog: catalog.clone(),
        places: &places,
        trees: snapshot,
        remotes,
        elsewhere: remotes,
        engines,
        hearing: (&snapshot.header.heard).into(),
        now_ms: snapshot.header.taken_ms,
        stop: CancellationToken::new(),
        live: None,
    };
    let shelf = Shelf::new(snapshot);
    let planned = crate::planning::plan(&world, shelf, snapshot.state.clone(), base, new, admission).await?;
    Ok(planned.view)
}

/// The catalogs in effect, the root's first: the files that engines read are not in a snapshot.
fn in_effect(snapshot: &Snapshot, places: &Places) -> Vec<Own> {
    let root = &snapshot.header.catalog;
    let mut owns = Vec::new();
    for (name, own) in &snapshot.owns {
        let (Some(place), Some(commit)) = (places.get(name), snapshot.commit_of(name)) else { continue };
        let files = own.documents.iter();
        let files: BTreeMap<_, _> =
            files.map(|(path, text)| (path.clone(), Arc::new(parse_file(path, text)))).collect();
        let mut good = last_good(snapshot, name, own);
        for (_, parsed) in files.iter().filter(|(file, _)| is_configured(file)) {
            add_configured(&mut good, parsed, &own.tree, commit);
        }
        let catalog = assemble(name, commit, place.is_root, &own.tree, &files, &good);
        let at = if name == root { 0 } else { owns.len() };
        owns.insert(at, Own::of(Arc::new(catalog)));
    }
    owns
}

/// Objects in effect that the commit's files do not give any more.
fn last_good(snapshot: &Snapshot, name: &CatalogName, own: &super::Own) -> LastGood {
    let mut files = BTreeMap::new();
    for Good { commit, file, text, paths } in &own.good {
        let entry = TreeEntry { kind: FileKind::File, blob: BlobId("".into()), size: 0 };
        let tree: Tree = paths.iter().map(|path| (path.clone(), entry.clone())).collect();
        files.insert((commit, &**file), (parse_file(file, text), tree));
    }
    let mut good = LastGood::new();
    let ours = snapshot.state.good.iter().filter(|((owner, _, _), _)| *owner == *name);
    for ((_, kind, name), record) in ours {
        let Ok(kind) = serde_json::from_value(serde_json::Value::String(kind.clone())) else { continue };
        let Some((parsed, tree)) = files.get(&(&record.commit, &*record.file)) else { continue };
        let id = ObjectId { kind, name: name.as_str().into() };
        if let Some(object) = object_of(parsed, tree, &id) {
            good.insert(id, Effective { object, commit: record.commit.clone() });
        }
    }
    good
}
