//! Bundles whose files are gone: where they came from, and the same once more.
//!
//! In: digests that somebody looked for in vain, the forms and entries that name them. Out: bundles with these digests; which
//! of the others may be made another time.
//! Never: changes what is in effect; gives a bundle for another.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use nave_placement::catalog::{self, Catalog, CommitId, LastGood, RemoteId, SourceAt, Sources};
use nave_placement::fleet::Fleet;
use nave_placement::overrides::{self, Variant};
use nave_placement::render::{Asks, Bundle, Capabilities};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

use super::older::{Places, Trees};
use super::retrying::Unable;
use super::revision::{Ground, Loader, Recipe};
use crate::engines::Engines;
use crate::sources::Remotes;
use crate::state::State;

/// A bundle, and the commit that gave it to an app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub bundle: Digest,
    pub app: AppKey,
    commit: CommitId,
    /// What the remote of its source was, if it has one; an entry does not say which remote that is.
    at: Option<(Option<RemoteId>, SourceAt)>,
    /// And what the charts were that its chart depends on, as far as that is known.
    dependencies: Sources,
    of: Of,
}

/// Which variant of the app it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    Variant(Variant),
    /// The one that this cluster had, by overrides of that commit.
    Cluster(ClusterName),
}

/// Of bundles that are gone, those that are not tried now.
#[derive(Default)]
pub(super) struct Left {
    /// Nothing gives them again, as far as this revision's apps are tried.
    hopeless: BTreeSet<Digest>,
    /// What they are made of is not at hand, or this machine lacks something.
    postponed: BTreeSet<Digest>,
}

impl Left {
    /// Those that are tried now.
    pub fn due(&self, gone: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        gone.iter()
            .filter(|gone| !self.hopeless.contains(gone) && !self.postponed.contains(gone))
            .copied()
            .collect()
    }

    /// These were tried.
    pub fn tried(&mut self, due: BTreeSet<Digest>, again: &Again) {
        let is_made = |digest: &Digest| again.bundles.iter().any(|bundle| bundle.digest == *digest);
        let left = due.into_iter().filter(|digest| !is_made(digest));
        let (postponed, hopeless): (Vec<_>, Vec<_>) =
            left.partition(|digest| again.postponed.contains(digest));
        self.postponed.extend(postponed);
        self.hopeless.extend(hopeless);
    }

    /// Whether nothing gives it again.
    pub fn is_hopeless(&self, bundle: &Digest) -> bool {
        self.hopeless.contains(bundle)
    }

    /// What was postponed may be made now.
    pub fn try_again(&mut self) {
        self.postponed.clear();
    }
}

/// What came of rendering them again.
#[derive(Default)]
pub(super) struct Again {
    pub bundles: Vec<Bundle>,
    /// Those that may be made another time.
    pub postponed: BTreeSet<Digest>,
    /// Variants that this machine could not render.
    pub unable: Unable,
}

/// What each of these bundles was rendered from, as far as a form or an entry says.
pub(super) fn sources(state: &State, gone: &BTreeSet<Digest>) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for ((app, variant), form) in state.forms.iter().filter(|(_, form)| gone.contains(&form.bundle)) {
        let (app, of) = (app.clone(), Of::Variant(variant.clone()));
        let at = form.source_at.as_ref().map(|(remote, at)| (Some(remote.clone()), at.clone()));
        let (bundle, commit, dependencies) = (form.bundle, form.commit.clone(), form.dependencies.clone());
        sources.insert(Source { bundle, app, commit, at, dependencies, of });
    }
    // Clusters share entries: each is read once.
    let mut seen = HashSet::new();
    for (cluster, told) in state.told.iter() {
        for (app, entry) in &told.assignment.entries {
            if seen.insert((app, entry.digest))
                && let Ok(entry) = nave_proto::decode_entry(&entry.bytes)
                && gone.contains(&entry.bundle)
            {
                let (app, of) = (app.clone(), Of::Cluster(cluster.clone()));
                let at = entry.source_at.map(|at| (None, at));
                let (bundle, commit, dependencies) = (entry.bundle, entry.commit, Sources::new());
                sources.insert(Source { bundle, app, commit, at, dependencies, of });
            }
        }
    }
    sources
}

/// Renders what can still be rendered, from the commits that the sources name or else from the one in effect.
pub(super) async fn again(
    (trees, places): (&dyn Trees, &Places),
    (remotes, sources_now): (&dyn Remotes, &Sources),
    engines: &Engines,
    (root, in_effect): (&Catalog, &Catalog),
    fleet: &Fleet,
    sources: &BTreeSet<Source>,
) -> Again {
    let mut again = Again::default();
    let mut by_commit: BTreeMap<(&CatalogName, &CommitId), Vec<&Source>> = BTreeMap::new();
    for source in sources {
        let of = &source.app.catalog;
        for commit in [Some(&source.commit), in_effect.commit_of(of)].into_iter().flatten() {
            by_commit.entry((of, commit)).or_default().push(source);
        }
    }
    let mut found: BTreeMap<Digest, Bundle> = BTreeMap::new();
    for ((of, commit), sources) in by_commit {
        // A commit that is not here any more renders nothing.
        let Some((place, tree)) = places.get(of).zip(trees.tree_of(commit).await.ok()) else { continue };
        let catalog = match in_effect.commit_of(of) == Some(commit) {
            true => in_effect.clone(),
            false => {
                let own = Loader::default().catalog(trees, place, commit, &tree, &LastGood::new()).await;
                if place.is_root { own } else { catalog::join(root, [&own]) }
            }
        };
        let mut tried: BTreeSet<(&AppKey, Variant)> = BTreeSet::new();
        for source in sources {
            if found.contains_key(&source.bundle) {
                continue;
            }
            let Some((effective, spec)) = catalog.app_of(&source.app) else { continue };
            let mut next = variants(&catalog, fleet, source);
            next.reverse();
            while let Some(variant) = next.pop() {
                if found.contains_key(&source.bundle) {
                    break;
                }
                if !tried.insert((&source.app, variant.clone())) {
                    continue;
                }
                let recipe = Recipe::of(&catalog, &source.app, effective, spec, &variant);
                let mut states = sources_now.clone();
                states.extend(source.dependencies.clone());
                // By another commit it may come from elsewhere, where nobody knows of that state.
                if let (Ok(of), Some((stated, at))) = (recipe.source(), &source.at)
                    && let Some(remote) = of.remote
                    && stated.as_ref().is_none_or(|stated| *stated == remote.id())
                {
                    states.insert(remote.id(), at.clone());
                }
                let ground = Ground { content: trees, tree: &tree, remotes, sources: &states };
                if !variant.has_answers() {
                    let asks = recipe.asks(ground, None).await.unwrap_or_default();
                    next.extend(answered(&asks, &variant, fleet));
                }
                let rendered = recipe.render(ground, Some(engines), None).await;
                if recipe.is_of_machine() {
                    again.unable.insert((source.app.clone(), variant));
                }
                if recipe.is_of_machine() || recipe.is_awaiting() {
                    again.postponed.insert(source.bundle);
                }
                found.extend(
                    rendered.ok().and_then(|(_, bundle, _)| Some((bundle.as_ref()?.digest, bundle?))),
                );
            }
        }
    }
    let wanted = |digest: &Digest| sources.iter().any(|source| source.bundle == *digest);
    again.bundles =
        found.into_iter().filter(|(digest, _)| wanted(digest)).map(|(_, bundle)| bundle).collect();
    again
}

/// The variants that a bundle may be, by a commit's catalog. The labels of its cluster may have changed since, so that all single
/// overrides are tried too.
fn variants(catalog: &Catalog, fleet: &Fleet, source: &Source) -> Vec<Variant> {
    let cluster = match &source.of {
        Of::Variant(variant) => return vec![variant.unanswered()],
        Of::Cluster(cluster) => cluster,
    };
    let of_app = overrides::of_app(catalog, &source.app);
    let here = fleet
        .get(cluster)
        .and_then(|candidate| overrides::applying(&of_app, cluster, candidate, &overrides::judged).ok());
    let mut variants: Vec<Variant> = here.iter().map(|applying| overrides::variant(applying)).collect();
    variants.push(Variant::default());
    variants.extend(of_app.iter().map(|named| overrides::variant(&[*named])));
    variants
}

/// A variant with all that clusters answer.
fn answered(asks: &Asks, variant: &Variant, fleet: &Fleet) -> BTreeSet<Variant> {
    if asks.is_nothing() {
        return BTreeSet::new();
    }
    let answers = fleet.values().filter_map(|candidate| asks.answers(&candidate.facts).ok());
    answers.chain([Capabilities::default()]).map(|answers| variant.with(answers)).collect()
}
