//! Offline: the plan of a directory, from a snapshot alone.
//!
//! In: a [`Snapshot`], a directory as if it were a commit. Out: a plan, by the same function as the hub's.
//! Never: asks a hub; knows the commits before the one in effect: what is pinned to one stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::{
    BlobId, Catalog, Effective, FileKind, LastGood, ObjectId, Tree, TreeEntry, assemble, object_of,
    parse_file,
};
use nave_placement::overrides::{Asking, Forms};
use tokio_util::sync::CancellationToken;

use super::{Good, Snapshot};
use crate::deciding::commits::said;
use crate::deciding::core::{Revision, admit};
use crate::deciding::revision::{Content, Loader};
use crate::engines::Engines;
use crate::git::trailers_of;
use crate::planning::view::PlanView;
use crate::planning::{PlanError, Shelf, Side, World, no_commit};
use crate::sources::Nowhere;

/// Plans what stands in a directory. `message` is that of the commit that it will be, for its trailers.
///
/// # Errors
/// [`PlanError`].
pub async fn plan(
    snapshot: &Snapshot,
    content: &dyn Content,
    tree: Tree,
    message: &str,
    engines: &Engines,
) -> Result<PlanView, PlanError> {
    let place = snapshot.place();
    let base = in_effect(snapshot);
    let last_good = &base.catalog.objects;
    let catalog = Loader::default().catalog(content, &place, &no_commit(), &tree, last_good).await;
    let approved = |id: &str| snapshot.state.approvals.contains_key(id);
    // What is in no commit descends from whatever it was made of.
    let admission = admit(Some(&snapshot.header.commit), &no_commit(), catalog.empty, true, approved).err();
    let mut new = Side { revision: revision(catalog), tree, content, problems: Vec::new() };
    (new.revision.allowances, new.revision.unpins) = said(&no_commit(), &trailers_of(message));
    let problems = snapshot.header.problems.clone();
    let base = Side { revision: base, tree: snapshot.tree.clone(), content: snapshot, problems };
    let world = World {
        place: &place,
        trees: snapshot,
        remotes: &Nowhere,
        engines,
        hearing: (&snapshot.header.heard).into(),
        now_ms: snapshot.header.taken_ms,
        stop: CancellationToken::new(),
        live: None,
    };
    let shelf = Shelf::new(snapshot);
    let admission = admission.map(|hold| *hold);
    let planned = crate::planning::plan(&world, shelf, snapshot.state.clone(), base, new, admission).await?;
    Ok(planned.view)
}

/// The revision in effect, with the forms that its records have: the files that engines read are not in a snapshot.
fn in_effect(snapshot: &Snapshot) -> Revision {
    let files = snapshot.documents.iter();
    let files: BTreeMap<_, _> =
        files.map(|(path, text)| (path.clone(), Arc::new(parse_file(path, text)))).collect();
    let header = &snapshot.header;
    let good = last_good(snapshot);
    let catalog = assemble(&header.catalog, &header.commit, true, &snapshot.tree, &files, &good);
    Revision { forms: snapshot.state.forms(), ..revision(catalog) }
}

/// Objects in effect that the commit's files do not give any more.
fn last_good(snapshot: &Snapshot) -> LastGood {
    let mut files = BTreeMap::new();
    for Good { commit, file, text, paths } in &snapshot.good {
        let entry = TreeEntry { kind: FileKind::File, blob: BlobId("".into()), size: 0 };
        let tree: Tree = paths.iter().map(|path| (path.clone(), entry.clone())).collect();
        files.insert((commit, &**file), (parse_file(file, text), tree));
    }
    let mut good = LastGood::new();
    let ours = snapshot.state.good.iter().filter(|((owner, _, _), _)| *owner == snapshot.header.catalog);
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

fn revision(catalog: Catalog) -> Revision {
    Revision {
        catalog: Arc::new(catalog),
        forms: Forms::new(),
        asking: Asking::new(),
        allowances: Vec::new(),
        unpins: BTreeSet::new(),
        author: String::new(),
    }
}
