//! Offline: the plan of a directory, from a snapshot alone.
//!
//! In: a [`Snapshot`], a directory as if it were a commit. Out: a plan, by the same function as the hub's.
//! Never: asks a hub; knows the commits before the one in effect: what is pinned to one stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::{Catalog, Effective, LastGood, Tree, assemble, parse_file};
use nave_placement::overrides::{Asking, Forms};
use tokio_util::sync::CancellationToken;

use super::Snapshot;
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

/// Objects in effect that are not valid in the commit's files any more.
fn last_good(snapshot: &Snapshot) -> LastGood {
    let mut good = LastGood::new();
    for file in &snapshot.good {
        for document in parse_file(&file.file, &file.text).documents {
            let (Some(id), Some(object)) = (document.id, document.object) else { continue };
            let key = crate::state::State::good_key(&snapshot.header.catalog, id.kind, &id.name);
            let is_in_effect =
                snapshot.state.good.get(&key).is_some_and(|record| record.commit == file.commit);
            if is_in_effect {
                good.insert(id, Effective { object, commit: file.commit.clone() });
            }
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
