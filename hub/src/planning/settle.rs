//! Settle: what the decider comes to with a revision, on a copy of the state.
//!
//! In: a copy of the state, a revision and its files. Out: the same after everything that the decider would write before a spoke
//! says anything. Never: writes to a store, sends anything, decides otherwise than the decider: it *is* the decider.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::aims;
use nave_placement::catalog::{Problem, Tree};
use nave_placement::claims::Shared;
use nave_placement::decide::Memory;
use nave_placement::overrides::{self, Form, Shapes, Variant};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use tokio_util::sync::CancellationToken;

use super::PlanError;
use super::shelf::Shelf;
use crate::deciding::core::{self, Decided, Given, Kept, Revision, Write};
use crate::deciding::decisions::{remembered, short};
use crate::deciding::depending::failing;
use crate::deciding::hearing::Hearing;
use crate::deciding::lacking::{clashing, lacks};
use crate::deciding::older::{Grounds, Olders, Places, Trees};
use crate::deciding::revision::{Asked, Content, Files, Rendered, render_all};
use crate::engines::Engines;
use crate::sources::Remotes;
use crate::state::history::Authors;
use crate::state::{State, WireCodec};
use crate::store::Version;

/// Steps of one side: a decider at rest has rendered, brought and written everything in fewer than ten.
const STEPS: usize = 64;

/// Above any version that a store gives: what is written here is newer than what was loaded.
const FIRST_VERSION: u64 = 1 << 62;

/// What both sides of a plan share.
pub struct World<'a> {
    /// The catalog that is planned.
    pub catalog: CatalogName,
    /// The catalogs, and where they stand in their repositories.
    pub places: &'a Places,
    /// The files of earlier commits.
    pub trees: &'a dyn Trees,
    /// The files of remotes.
    pub remotes: &'a dyn Remotes,
    /// The files of tenants' catalogs that are somewhere else than before.
    pub elsewhere: &'a dyn Remotes,
    /// What runs Kustomize and Helm.
    pub engines: &'a Engines,
    /// What is known of members only now.
    pub hearing: Hearing,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
    /// Ends the plan early.
    pub stop: CancellationToken,
    /// The clusters that may be asked about the plan; absent: nobody is.
    pub live: Option<BTreeSet<ClusterName>>,
}

impl World<'_> {
    /// What comes of it, unless the plan is ended before.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, PlanError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(PlanError::Cancelled),
            done = work => Ok(done),
        }
    }
}

/// A revision and its files.
pub struct Side<'a> {
    /// The revision, with the forms that are known already.
    pub revision: Revision,
    /// The files of the commit of each of its catalogs.
    pub trees: BTreeMap<CatalogName, Tree>,
    /// What is in them.
    pub content: &'a dyn Content,
    /// What is known to be wrong with it beside what its catalog says.
    pub problems: Vec<Problem>,
}

/// What the decider comes to.
pub struct Rest {
    /// The state that it leaves.
    pub state: State,
    /// The revision, rendered.
    pub revision: Revision,
    /// The last step, which wrote nothing.
    pub decided: Decided,
    /// What every app is on every cluster by the catalog alone: what waits for its wave is what it will be.
    pub shapes: Shapes,
    /// What was decided before.
    pub remembered: Memory,
    /// What is wrong with the revision.
    pub problems: Vec<Problem>,
}

/// What the sides of a plan leave each other.
pub struct Desk<'a> {
    /// Bundles.
    pub shelf: Shelf<'a>,
    olders: Olders,
    version: u64,
}

impl<'a> Desk<'a> {
    /// With nothing rendered yet.
    pub fn new(shelf: Shelf<'a>) -> Self {
        Self { shelf, olders: Olders::default(), version: FIRST_VERSION }
    }

    /// Folds what would be written into the copy.
    fn write(&mut self, state: &mut State, writes: Vec<Write>) -> Result<(), PlanError> {
        for write in writes {
            self.version += 1;
            for (key, value) in write.batch.checked()?.writes() {
                state.fold(key, Version(self.version), value.as_ref())?;
            }
        }
        Ok(())
    }
}

/// Lets the decider take a revision, until nothing is left for it to do.
///
/// # Errors
/// [`PlanError::Cancelled`], [`PlanError::TooLarge`], [`PlanError::Restless`]; [`PlanError::Batch`] and [`PlanError::Record`] as
/// the hub itself would meet them.
pub async fn settle(
    world: &World<'_>,
    desk: &mut Desk<'_>,
    mut state: State,
    side: Side<'_>,
) -> Result<Rest, PlanError> {
    let Side { mut revision, trees, content, mut problems } = side;
    problems.extend(revision.catalog.problems.iter().cloned());
    let before = remembered(&state, &revision.catalog);
    let (mut kept, authors) = (Kept::default(), Authors::default());
    let mut tried: BTreeSet<(AppKey, Variant)> = BTreeSet::new();
    for _ in 0..STEPS {
        if world.stop.is_cancelled() {
            return Err(PlanError::Cancelled);
        }
        let decided = {
            let shelf = &desk.shelf;
            let codec = WireCodec(|digest: &Digest| shelf.objects(digest));
            let (hearing, older, authors) = (&world.hearing, &desk.olders, &authors);
            let (state, revision, codec, now_ms) = (&state, &revision, &codec, world.now_ms);
            core::step(
                Given { state, revision, waiting: &BTreeMap::new(), codec, hearing, older, authors, now_ms },
                &mut kept,
            )
        };
        let asked = untried(&decided.missing, &tried);
        if !asked.is_empty() {
            let in_effect = state.forms();
            let shelf = &desk.shelf;
            let at_hand = |form: &Form| shelf.has(&form.bundle);
            let catalog = revision.catalog.clone();
            let (trees, remotes, sources) = (trees.iter().collect(), world.remotes, &state.sources());
            let files = Files { content, trees, remotes, sources };
            let rendered = render_all(&files, world.engines, &catalog, &asked, &in_effect, &at_hand);
            let Rendered { forms, asking, bundles, problems: told, .. } =
                world.unless_stopped(rendered).await?;
            desk.shelf.put(bundles)?;
            // What a tenant commits makes nobody else's app another.
            let is_root = world.catalog == revision.catalog.name;
            let is_meant = |app: &AppKey| is_root || app.catalog == world.catalog;
            let told = told.into_iter().filter(|(app, _)| is_meant(app));
            problems.extend(told.flat_map(|(_, problems)| problems));
            for (app, variants) in forms {
                revision.forms.entry(app).or_default().extend(variants);
            }
            for (app, variants) in asking {
                revision.asking.entry(app).or_default().extend(variants);
            }
            let pairs =
                asked.into_iter().flat_map(|(app, all)| all.into_iter().map(move |v| (app.clone(), v)));
            tried.extend(pairs);
        } else if !decided.wants.is_empty() {
            let sources = &state.sources();
            let (trees, places, remotes) = (world.trees, world.places, world.remotes);
            let Some(root) = revision.owns.first().map(|own| own.catalog.clone()) else { break };
            let grounds = Grounds { trees, places, root: &root, remotes, sources };
            let brought = desk.olders.bring(grounds, world.engines, decided.wants);
            let bundles = world.unless_stopped(brought).await?;
            desk.shelf.put(bundles)?;
        } else if !decided.writes.is_empty() {
            desk.write(&mut state, decided.writes)?;
        } else {
            problems.extend(of_clusters(&desk.shelf, &revision, &decided));
            problems.sort();
            problems.dedup();
            let (shapes, _) = overrides::shapes(
                &revision.catalog,
                &decided.fleet,
                &decided.wanted,
                &revision.forms,
                &revision.asking,
                &overrides::judged,
            );
            let shapes = shapes.granted(&revision.catalog, &decided.fleet, &decided.wanted);
            return Ok(Rest { state, revision, decided, shapes, remembered: before, problems });
        }
    }
    Err(PlanError::Restless { steps: STEPS })
}

/// What of the missing variants nobody tried to render.
fn untried(missing: &BTreeMap<AppKey, BTreeSet<Variant>>, tried: &BTreeSet<(AppKey, Variant)>) -> Asked {
    let mut asked = missing.clone();
    for (app, variants) in &mut asked {
        variants.retain(|variant| !tried.contains(&(app.clone(), variant.clone())));
    }
    asked.retain(|_, variants| !variants.is_empty());
    asked
}

/// What is wrong with a revision on these clusters.
fn of_clusters(shelf: &Shelf<'_>, revision: &Revision, decided: &Decided) -> Vec<Problem> {
    let catalog: &Arc<_> = &revision.catalog;
    let clashes = Shared::of(&revision.forms, |digest| shelf.objects(digest));
    let mut problems = clashing(catalog, clashes.clashes(&decided.wanted, &decided.shapes));
    problems.extend(aims::missed(catalog, &revision.forms, |digest| shelf.objects(digest)));
    problems.extend(lacks(catalog, &decided.lacking));
    problems.extend(failing(catalog, &decided.failing));
    problems.extend(short(catalog, &decided.decisions));
    problems.extend(decided.refused.iter().cloned());
    problems
}
