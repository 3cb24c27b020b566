//! Planning for operators: what a revision of the hub's own repository would do.
//!
//! In: names of revisions. Out: a plan, in pieces; with what clusters say to it, where they are asked. One plan at a time is made, a few
//! more wait. Never: changes what is in effect, or what the hub watches; goes on for somebody who left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use nave_placement::catalog::{CommitId, Problem, Tree};
use nave_placement::guard::Hold;
use nave_placement::{CatalogName, ClusterName};
use nave_proto::limits::CHUNK;
use nave_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::service::{OperatorService, Rooms, argument};
use crate::catalogs::AndCatalogs;
use crate::deciding::commits::trailers;
use crate::deciding::core::{Revision, admit, json};
use crate::deciding::hearing::Hearing;
use crate::deciding::parts::Own;
use crate::deciding::revision::{Loader, Place};
use crate::deciding::run::{Picture, chain};
use crate::git::{FetchError, ReadError, Repository};
use crate::planning::live::answered;
use crate::planning::{PlanError, Planned, Shelf, Side, World, plan};
use crate::sources;

/// How long a plan may take, what it waits for included.
pub const LONGEST: Duration = Duration::from_secs(300);
/// As many wait for their turn.
const WAITING: usize = 8;

/// A document in pieces.
pub type Pieces = BoxStream<'static, Result<v1::Piece, Status>>;

/// Whose turn it is: a plan holds a copy of the state, and what it renders.
pub struct Turns {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// Of who asks clusters: what they are sent is held meanwhile.
    live: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(1 + WAITING)),
            live: Semaphore::new(1),
        }
    }
}

impl Turns {
    /// Waits for a turn, which goes with the work: that may end after the one who asked for it.
    pub(super) async fn take(&self) -> Result<Turn, Status> {
        let full = || Status::resource_exhausted(format!("{WAITING} plans wait already; try again later"));
        let place = self.places.clone().try_acquire_owned().map_err(|_| full())?;
        let closed = |_| Status::unavailable("the hub is ending");
        Ok([place, self.turn.clone().acquire_owned().await.map_err(closed)?])
    }
}

/// A turn, until it is dropped.
pub(super) type Turn = [OwnedSemaphorePermit; 2];

/// A revision to plan with, and the files of its catalogs.
struct Loaded {
    revision: Revision,
    trees: BTreeMap<CatalogName, Tree>,
    /// What does not show in its plan.
    problems: Vec<Problem>,
}

/// The catalog that is planned.
struct Meant {
    place: Place,
    repository: Repository,
}

impl Meant {
    /// The commit of it in a revision.
    fn commit_in(&self, revision: &Revision) -> Result<CommitId, Status> {
        let none =
            || Status::unavailable(format!("no commit of catalog {} is in effect yet", self.place.name));
        revision.catalog.commit_of(&self.place.name).cloned().ok_or_else(none)
    }
}

impl OperatorService {
    /// `hub plan`.
    pub(super) async fn planned(
        &self,
        request: v1::PlanRequest,
        asker: Option<v1::Asker>,
    ) -> Result<Pieces, Status> {
        let late =
            |_| Status::deadline_exceeded(format!("the plan was not made within {} s", LONGEST.as_secs()));
        let live = asker.as_ref().map(|_| self.rooms.sessions.live().into_keys().collect());
        let _turn = match asker {
            Some(_) => self.rooms.turns.live.acquire().await.ok(),
            None => None,
        };
        let made = tokio::time::timeout(LONGEST, self.make_plan(request, live)).await.map_err(late)??;
        let Planned { mut view, inquiries } = made;
        if let Some(asker) = asker {
            let answers = self.ask_live(inquiries, &asker).await;
            answered(&mut view, answers);
        }
        Ok(pieces(json(&view)))
    }

    async fn make_plan(
        &self,
        request: v1::PlanRequest,
        live: Option<BTreeSet<ClusterName>>,
    ) -> Result<Planned, Status> {
        let turn = self.rooms.turns.take().await?;
        let rooms = self.rooms.clone();
        let picture = rooms.picture.borrow().clone();
        let nothing = || Status::unavailable("no commit of the catalog is in effect yet");
        let in_effect = picture.revision.clone().ok_or_else(nothing)?;
        let meant = self.catalog_meant(&request.catalog)?;
        let commit = self.commit_of(&meant, &request.rev).await?;
        let taken = meant.commit_in(&in_effect)?;
        let base = match request.base.as_str() {
            "" => taken.clone(),
            rev => self.commit_of(&meant, rev).await?,
        };
        let is_base = base == taken;
        let base = self.loaded(&meant, &base, &in_effect, &in_effect).await?;
        let mut new = self.loaded(&meant, &commit, &in_effect, &base.revision).await?;
        let taken = meant.commit_in(&base.revision)?;
        let admission = self.admission(&meant, &taken, &new.revision).await?;
        if taken != commit {
            let said = trailers(&meant.repository, Some(&taken), &commit).await;
            let own = new.revision.owns.iter_mut().find(|own| own.catalog.name == meant.place.name);
            own.into_iter().for_each(|own| *own = own.clone().saying(said.clone(), &meant.place));
        }
        // Whoever waits no longer, or a hub that ends, ends it.
        let stop = rooms.sessions.closing().child_token();
        let _end = stop.clone().drop_guard();
        let state = rooms.ledger.state().clone();
        let (hearing, now_ms) = (hearing(&rooms, &picture), rooms.ledger.now_ms());
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let _turn = turn;
            let (catalogs, engines) = (&*rooms.catalogs, &*rooms.engines);
            let known = || sources::Once::of_known(&rooms.sources);
            let (remotes, elsewhere) = (&known(), &AndCatalogs { catalogs, others: known() });
            let places = &rooms.catalogs.places();
            let catalog = meant.place.name.clone();
            let world = World {
                catalog,
                places,
                trees: catalogs,
                remotes,
                elsewhere,
                engines,
                hearing,
                now_ms,
                stop,
                live,
            };
            let problems = if is_base { picture.problems.clone() } else { Vec::new() };
            let side = |loaded: Loaded, problems: Vec<Problem>| {
                let Loaded { revision, trees, problems: told } = loaded;
                let problems = told.into_iter().chain(problems).collect();
                Side { revision, trees, content: catalogs, problems }
            };
            let (base, new) = (side(base, problems), side(new, Vec::new()));
            let shelf = Shelf::new(&*rooms.bundles);
            runtime.block_on(plan(&world, shelf, state, base, new, admission))
        };
        let planned = tokio::task::spawn_blocking(work).await;
        planned.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())).map_err(|e| refused(&e))
    }

    /// The catalog of this name; empty: the root's.
    fn catalog_meant(&self, name: &str) -> Result<Meant, Status> {
        let catalogs = &self.rooms.catalogs;
        let name = match name {
            "" => catalogs.root().clone(),
            name => name.parse().map_err(argument)?,
        };
        let (place, repository) = catalogs.of(&name).map_err(Status::not_found)?;
        Ok(Meant { place, repository })
    }

    /// The commit that is meant, fetched; empty: the newest of the catalog's branch.
    async fn commit_of(&self, meant: &Meant, rev: &str) -> Result<CommitId, Status> {
        let fetched = match rev {
            "" => meant.repository.fetch().await.map(|head| head.commit),
            rev => meant.repository.fetch_named(rev).await,
        };
        fetched.map_err(|error| match error {
            FetchError::Unknown { .. } | FetchError::BadBranch { .. } => Status::not_found(chain(&error)),
            error => Status::unavailable(chain(&error)),
        })
    }

    /// The revision with this commit of a catalog, and all others as they are in effect; with what was valid before kept where it is not.
    async fn loaded(
        &self,
        meant: &Meant,
        commit: &CommitId,
        in_effect: &Revision,
        before: &Revision,
    ) -> Result<Loaded, Status> {
        let (name, catalogs) = (&meant.place.name, &self.rooms.catalogs);
        let is_in_effect = meant.commit_in(in_effect)? == *commit;
        let mut trees = BTreeMap::new();
        let mut owns = Vec::new();
        for own in &in_effect.owns {
            let of = if own.catalog.name == *name { commit } else { &own.catalog.commit };
            let tree = catalogs.tree(of).await.map_err(|error| unreadable(&error))?;
            // What trailers allowed was used when it was taken.
            let mut catalog = own.catalog.clone();
            if own.catalog.name == *name && !is_in_effect {
                let before = before.owns.iter().find(|before| before.catalog.name == *name);
                let last_good = before.map(|before| before.catalog.objects.clone()).unwrap_or_default();
                let mut loader = Loader::default();
                let read = loader.catalog(&**catalogs, &meant.place, commit, &tree, &last_good).await;
                catalog = Arc::new(read);
            }
            trees.insert(own.catalog.name.clone(), tree);
            owns.push(Own::of(catalog));
        }
        let nothing = || Status::unavailable("no commit of the catalog is in effect yet");
        let revision = match is_in_effect {
            true => Revision { owns, ..in_effect.clone() },
            false => Revision::of(owns).ok_or_else(nothing)?,
        };
        let problems = catalogs.unreachable(&revision.catalog);
        Ok(Loaded { revision, trees, problems })
    }

    /// The hold that a revision would wait for as a whole.
    async fn admission(
        &self,
        meant: &Meant,
        taken: &CommitId,
        new: &Revision,
    ) -> Result<Option<Hold>, Status> {
        let name = &meant.place.name;
        let Some(own) = new.owns.iter().map(|own| &own.catalog).find(|own| own.name == *name) else {
            return Ok(None);
        };
        let descends = match meant.repository.is_descendant(taken, &own.commit).await {
            Ok(descends) => descends,
            // History that cannot be seen proves nothing.
            Err(
                ReadError::HistoryCut { .. }
                | ReadError::Missing { .. }
                | ReadError::Fetch(FetchError::TooMuch { .. }),
            ) => false,
            Err(error) => return Err(unreadable(&error)),
        };
        let state = self.rooms.ledger.state();
        let approved = |id: &str| state.approvals.contains_key(id);
        let tenant = Some(name).filter(|_| !meant.place.is_root);
        Ok(admit(tenant, Some(taken), &own.commit, own.empty, descends, approved).err().map(|hold| *hold))
    }
}

/// What is known of members only now.
pub(super) fn hearing(rooms: &Rooms, picture: &Picture) -> Hearing {
    let mut hearing = rooms.sessions.hearing();
    hearing.remember(&picture.fleet);
    hearing
}

fn unreadable(error: &ReadError) -> Status {
    Status::unavailable(chain(error))
}

fn refused(error: &PlanError) -> Status {
    match error {
        PlanError::Cancelled => Status::cancelled(error.to_string()),
        PlanError::TooLarge { .. } => Status::resource_exhausted(error.to_string()),
        PlanError::Restless { .. } | PlanError::Batch(_) | PlanError::Record(_) => {
            Status::failed_precondition(chain(error))
        }
    }
}

/// In pieces that fit a message.
pub(super) fn pieces(whole: Vec<u8>) -> Pieces {
    let whole = bytes::Bytes::from(whole);
    let starts = (0..whole.len()).step_by(CHUNK);
    let piece = move |start: usize| {
        let end = whole.len().min(start + CHUNK);
        Ok(v1::Piece { data: whole[start..end].to_vec() })
    };
    // Each is copied when it is taken.
    stream::iter(starts.map(piece)).boxed()
}
