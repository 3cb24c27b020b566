//! Planning: what a revision would do, before it is in effect.
//!
//! In: the state, the revision in effect (or another one to compare with), a revision. Out: a [`PlanView`].
//! Never: writes to the store or to the bundle directory, tells anybody anything, decides by other code than the hub itself.
//!
//! | file | what it knows |
//! |---|---|
//! | `settle` | runs the decider with a revision on a copy of the state until nothing is left to write |
//! | `shelf` | bundles, stored and rendered for the plan |
//! | `ends` | which entries differ |
//! | `reasons` | what placements say of those that come and go |
//! | `changes`, `objects` | what those that stay become |
//! | `moves` | waves, waits and holds |
//! | `tenants` | what is said of tenants' catalogs otherwise than before, and what these have where they are now |
//! | `live` | what clusters are asked about it |
//! | `view`, `words` | the document, and its closed lists in words |
//! | `snapshot` | what all of it needs of a hub, in a file |

mod changes;
mod ends;
pub mod live;
mod moves;
mod objects;
mod reasons;
mod settle;
mod shelf;
pub mod snapshot;
mod tenants;
pub mod view;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::{CommitId, Problem};
use nave_placement::guard::Hold;
use nave_placement::{AppKey, ClusterName};

use ends::{Fate, Fates, fates};
use live::{Asking, Inquiry};
use objects::Budget;
use reasons::{Asked, Said};
use settle::{Desk, settle};
use view::{AppPlan, CatalogPlan, Moved, PlanView, Summary};

pub use settle::{Rest, Side, World};
pub use shelf::{MAX_RENDERED, Shelf, Stock};

use crate::deciding::units::Units;
use crate::state::{RecordError, State};
use crate::store::StoreError;

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Nobody waits for it any more.
    #[error("the plan was cancelled")]
    Cancelled,
    /// It renders more than fits.
    #[error("the revision renders more than {} MiB of manifests; plan it in parts", .limit >> 20)]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The decider does not come to an end.
    #[error("deciding did not come to rest within {steps} steps")]
    Restless {
        /// Steps.
        steps: usize,
    },
    /// It would write more at once than a store takes.
    #[error("the store would not take what the revision writes")]
    Batch(#[from] StoreError),
    /// It would write what cannot be read again.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A plan, and what clusters are to be asked about it.
#[derive(Debug)]
pub struct Planned {
    /// The plan.
    pub view: PlanView,
    /// What is to be asked.
    pub inquiries: Vec<Inquiry>,
}

/// Plans a revision: what it changes from `base` on. `admission` is the hold that it waits for as a whole; what it would do once
/// that is approved is told all the same.
///
/// # Errors
/// [`PlanError`].
pub async fn plan(
    world: &World<'_>,
    shelf: Shelf<'_>,
    state: State,
    base: Side<'_>,
    new: Side<'_>,
    admission: Option<Hold>,
) -> Result<Planned, PlanError> {
    let mut desk = Desk::new(shelf);
    let base = settle(world, &mut desk, state, base).await?;
    let mut new = new;
    let joining = tenants::join(world, (&base.revision, &base.state), &mut new);
    let elsewhere = world.unless_stopped(joining).await?;
    let joined = tenants::Joined::new(new.content, &elsewhere);
    let new = Side { content: &joined, ..new };
    let new = settle(world, &mut desk, base.state.clone(), new).await?;
    let admissions: Vec<Hold> = admission.into_iter().chain(elsewhere.holds.iter().cloned()).collect();
    let catalogs = tenants::changes(&base, &new, &elsewhere);
    Ok(compare(world, &desk.shelf, (&base, &new), &admissions, catalogs))
}

/// Compares what the decider comes to.
fn compare(
    world: &World<'_>,
    shelf: &Shelf<'_>,
    (base, new): (&Rest, &Rest),
    admissions: &[Hold],
    catalogs: Vec<CatalogPlan>,
) -> Planned {
    let fates = fates(base, new);
    let asked = asked(base, new, &fates);
    let said = (Said::of(world, base, &asked), Said::of(world, new, &asked));
    let holds = moves::holds(&base.state, &new.state, admissions);
    let units = Units::of(&new.revision.catalog);
    let (mut budget, mut asking) = (Budget::default(), Asking::of(world.live.as_ref()));
    let pinned: BTreeSet<&AppKey> = new.state.pins.values().map(|pin| &pin.app).collect();
    let ungranted: BTreeSet<&AppKey> = new.decided.withdrawn.keys().map(|(app, _)| app).collect();
    let names: BTreeSet<&AppKey> = fates.keys().copied().chain(pinned).chain(ungranted).collect();
    // What is on its way may begin anew, and come to the same.
    let is_listed = |lead: &AppKey| names.iter().any(|app| units.lead(app) == lead);
    let anew = new.state.rollouts.keys().filter(|app| moves::begins(&base.state, new, &units, app).is_some());
    let anew: Vec<&AppKey> = anew.filter(|lead| !is_listed(lead)).collect();
    let names: BTreeSet<&AppKey> = names.into_iter().chain(anew).collect();
    let nothing = BTreeMap::new();
    let mut apps = Vec::new();
    for app in names {
        let fates = fates.get(app).unwrap_or(&nothing);
        let comparing = Comparing { world, shelf, base, new, said: (&said.0, &said.1), units: &units };
        let mut plan = comparing.app(app, fates, &mut budget, &mut asking);
        plan.holds = holds.iter().filter(|hold| hold.apps.contains(app)).cloned().collect();
        if !fates.is_empty() || !plan.waits.is_empty() || plan.rollout.is_some() {
            apps.push(plan);
        }
    }
    let problems = added(&base.problems, &new.problems);
    let summary = Summary { catalogs: catalogs.len(), ..summary(&fates, &apps, holds.len(), &problems) };
    let commit_in = |rest: &Rest| {
        let catalog = &rest.revision.catalog;
        catalog.commit_of(&world.catalog).unwrap_or(&catalog.commit).clone()
    };
    let commit = commit_in(new);
    let view = PlanView {
        base: commit_in(base),
        commit: (!is_of_no_commit(&commit)).then_some(commit),
        obstacle: new.state.doubt.as_ref().map(|doubt| {
            let cluster = &doubt.cluster;
            format!("nothing is sent to anybody before `hub accept-restore`: cluster {cluster} proved that the hub lost state")
        }),
        summary,
        holds,
        catalogs,
        apps,
        problems,
    };
    Planned { view, inquiries: asking.inquiries }
}

/// The commit that stands for files that are in none.
pub fn no_commit() -> CommitId {
    CommitId("0000000000000000000000000000000000000000".into())
}

fn is_of_no_commit(commit: &CommitId) -> bool {
    *commit == no_commit()
}

/// Which placements have to be asked about which clusters.
fn asked<'a>(base: &'a Rest, new: &'a Rest, fates: &Fates<'a>) -> Asked<'a> {
    let mut asked = Asked::new();
    for (app, clusters) in fates {
        for (cluster, fate) in clusters {
            let by = match fate {
                Fate::Gained(_) => reasons::placements(new, app, cluster),
                Fate::Lost(_) => reasons::placements(base, app, cluster),
                Fate::Changed(..) | Fate::Stays => continue,
            };
            by.into_iter().for_each(|placement| _ = asked.entry(placement).or_default().insert(*cluster));
        }
    }
    asked
}

/// Problems that the base does not have. That a file has more lines is no other problem.
fn added(base: &[Problem], new: &[Problem]) -> Vec<Problem> {
    let known: BTreeSet<_> = base.iter().map(of_what).collect();
    new.iter().filter(|problem| !known.contains(&of_what(problem))).cloned().collect()
}

fn of_what(problem: &Problem) -> (&str, Option<&nave_placement::catalog::ObjectId>, &str) {
    (&problem.file, problem.object.as_ref(), &problem.message)
}

fn summary(fates: &Fates<'_>, apps: &[AppPlan], held: usize, problems: &[Problem]) -> Summary {
    let all = || fates.values().flat_map(BTreeMap::iter);
    let count = |is: fn(&Fate<'_>) -> bool| all().filter(|(_, fate)| is(fate)).count();
    let changing = all().filter(|(_, fate)| !matches!(fate, Fate::Stays));
    let clusters: BTreeSet<&ClusterName> = changing.map(|(cluster, _)| *cluster).collect();
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    Summary {
        changes: count(|fate| !matches!(fate, Fate::Stays)),
        gained: count(|fate| matches!(fate, Fate::Gained(_))),
        lost: count(|fate| matches!(fate, Fate::Lost(_))),
        changed: count(|fate| matches!(fate, Fate::Changed(..))),
        stays: count(|fate| matches!(fate, Fate::Stays)),
        apps: apps.len(),
        catalogs: 0,
        clusters: clusters.len(),
        held,
        errors,
        warnings: problems.len() - errors,
    }
}

/// What the plan of an app is made of.
struct Comparing<'a> {
    world: &'a World<'a>,
    shelf: &'a Shelf<'a>,
    base: &'a Rest,
    new: &'a Rest,
    said: (&'a Said, &'a Said),
    units: &'a Units,
}

impl Comparing<'_> {
    fn app(
        &self,
        app: &AppKey,
        fates: &BTreeMap<&ClusterName, Fate<'_>>,
        budget: &mut Budget,
        asking: &mut Asking<'_>,
    ) -> AppPlan {
        let Self { world, shelf, base, new, said, units } = *self;
        let (mut gained, mut lost) = (Vec::new(), Vec::new());
        let (mut come, mut go, mut becoming, mut stays) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (cluster, fate) in fates {
            let moved = |why| Moved { cluster: (*cluster).clone(), why };
            match fate {
                Fate::Gained(to) => {
                    gained.push(moved(reasons::gained(new, (base, said.0), said.1, app, cluster)));
                    come.push((*cluster, None, Some(&**to)));
                }
                Fate::Lost(from) => {
                    lost.push(moved(reasons::lost(new, (base, said.0), said.1, app, cluster)));
                    go.push((*cluster, Some(&**from), None));
                }
                Fate::Changed(from, to) => becoming.push((*cluster, Some(&**from), Some(&**to))),
                Fate::Stays => stays.push((*cluster).clone()),
            }
        }
        let is_new = !base.decided.wanted.values().any(|apps| apps.contains_key(app));
        let plan = moves::begins(&base.state, new, units, app);
        let changing = fates.iter().filter(|(_, fate)| !matches!(fate, Fate::Stays));
        let clusters: Vec<&ClusterName> = changing.map(|(cluster, _)| *cluster).collect();
        let of = (app, units);
        let mut waits = moves::waits((&base.state, new), of, &clusters, plan.is_some(), world.now_ms);
        waits.extend(moves::pinned(base, new, app));
        waits.extend(moves::ungranted(base, new, app));
        let mut changed = changes::changes(shelf, &becoming, true, budget);
        // Who has the app already knows what it is.
        let mut installed = changes::changes(shelf, &come, is_new, budget);
        let becomes = |cluster: &ClusterName| match fates.get(cluster)? {
            Fate::Gained(to) | Fate::Changed(_, to) => Some(&**to),
            Fate::Lost(_) | Fate::Stays => None,
        };
        for change in changed.iter_mut().chain(&mut installed) {
            asking.ask(shelf, app, change, becomes);
        }
        AppPlan {
            app: app.clone(),
            gained,
            lost,
            stays,
            leaving: plan.map(|plan| moves::leaving((base, new), plan, app)).unwrap_or_default(),
            changed,
            installed,
            removed: changes::changes(shelf, &go, false, budget),
            moves: moves::how((&base.state, &new.state), (plan, units), app, is_new, &clusters),
            rollout: plan.map(moves::rollout),
            waves: plan.map(moves::waves).unwrap_or_default(),
            waits,
            holds: Vec::new(),
        }
    }
}
