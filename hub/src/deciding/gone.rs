//! Bundles whose files are gone: where they came from, and the same once more.
//!
//! In: digests that somebody looked for in vain, the forms and entries that name them. Out: bundles with these digests.
//! Never: changes what is in effect; gives a bundle for another.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use nave_placement::catalog::{Catalog, CommitId, LastGood, Tree};
use nave_placement::render::Bundle;
use nave_placement::{AppKey, Digest};

use super::revision::{Loader, Place, render_app};
use crate::git::{ReadError, Repository};
use crate::state::State;

/// A bundle and the commit that gave it to an app.
type Source = (Digest, AppKey, CommitId);

/// What each of these bundles was rendered from, as far as a form or an entry says.
pub(super) fn sources(state: &State, gone: &BTreeSet<Digest>) -> BTreeSet<Source> {
    let forms = state.forms.iter();
    let forms = forms.map(|(app, form)| (form.bundle, app.clone(), form.commit.clone()));
    let mut sources: BTreeSet<Source> = forms.filter(|(bundle, _, _)| gone.contains(bundle)).collect();
    // Clusters share entries: each is read once.
    let mut seen = HashSet::new();
    for (app, entry) in state.told.values().flat_map(|told| &told.assignment.entries) {
        if seen.insert((app, entry.digest))
            && let Ok(entry) = nave_proto::decode_entry(&entry.bytes)
            && gone.contains(&entry.bundle)
        {
            sources.insert((entry.bundle, app.clone(), entry.commit));
        }
    }
    sources
}

/// Renders what can still be rendered, from the commits that the sources name or else from the one in effect.
pub(super) async fn again(
    repository: &Repository,
    place: &Place,
    in_effect: &Catalog,
    sources: &BTreeSet<Source>,
) -> Vec<Bundle> {
    let mut by_commit: BTreeMap<&CommitId, Vec<(&AppKey, Digest)>> = BTreeMap::new();
    for (digest, app, commit) in sources {
        for commit in [commit, &in_effect.commit] {
            by_commit.entry(commit).or_default().push((app, *digest));
        }
    }
    let mut found: BTreeMap<Digest, Bundle> = BTreeMap::new();
    for (commit, apps) in by_commit {
        let read = match commit == &in_effect.commit {
            true => repository.tree(commit).await.map(|tree| (tree, in_effect.clone())),
            false => read(repository, place, commit).await,
        };
        // A commit that is not here any more renders nothing.
        let Ok((tree, catalog)) = read else { continue };
        for (app, digest) in apps {
            let Some((effective, spec)) = catalog.app(app.name()).filter(|_| !found.contains_key(&digest))
            else {
                continue;
            };
            let rendered = render_app(repository, &catalog, &tree, effective, spec, None).await;
            let bundle = rendered.ok().and_then(|(_, bundle, _)| bundle);
            found.extend(bundle.filter(|bundle| bundle.digest == digest).map(|bundle| (digest, bundle)));
        }
    }
    found.into_values().collect()
}

async fn read(
    repository: &Repository,
    place: &Place,
    commit: &CommitId,
) -> Result<(Tree, Catalog), ReadError> {
    let tree = repository.tree(commit).await?;
    let catalog = Loader::default().catalog(repository, place, commit, &tree, &LastGood::new()).await;
    Ok((tree, catalog))
}
