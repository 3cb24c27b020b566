//! Planning for operators: what a revision of the hub's own repository would do.
//!
//! In: names of revisions. Out: a plan, in pieces; with what clusters say to it, where they are asked. One plan at a time is made, a few
//! more wait. Never: changes what is in effect, or what the hub watches; goes on for somebody who left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use nave_placement::ClusterName;
use nave_placement::catalog::{CommitId, Tree};
use nave_placement::guard::Hold;
use nave_placement::overrides::{Asking, Forms};
use nave_proto::limits::CHUNK;
use nave_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::service::{OperatorService, Rooms};
use crate::deciding::commits::trailers;
use crate::deciding::core::{Revision, admit, json};
use crate::deciding::hearing::Hearing;
use crate::deciding::revision::Loader;
use crate::deciding::run::{Picture, chain};
use crate::git::{FetchError, ReadError};
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

/// A revision to plan with, as it was read.
struct Loaded {
    revision: Revision,
    tree: Tree,
}

impl OperatorService {
    /// `hub plan`.
    pub(super) async fn planned(
        &self,
        request: v1::PlanRequest,
        asker: Option<v1::Asker>,
    ) -> Result<Pieces, Status> {
        let own = &self.rooms.place.name;
        if !request.catalog.is_empty() && request.catalog != own.as_str() {
            let message = format!("there is no catalog {}; this hub has {own} alone", request.catalog);
            return Err(Status::not_found(message));
        }
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
        let commit = self.commit_of(&request.rev).await?;
        let base = match request.base.as_str() {
            "" => in_effect.catalog.commit.clone(),
            rev => self.commit_of(rev).await?,
        };
        let base = self.loaded(&base, &in_effect, &in_effect).await?;
        let mut new = self.loaded(&commit, &in_effect, &base.revision).await?;
        let admission = self.admission(&base.revision, &new.revision).await?;
        let taken = Some(&base.revision.catalog.commit).filter(|taken| **taken != commit);
        if taken.is_some() {
            (new.revision.allowances, new.revision.unpins) =
                trailers(&rooms.repository, taken, &commit).await;
        }
        // Whoever waits no longer, or a hub that ends, ends it.
        let stop = rooms.sessions.closing().child_token();
        let _end = stop.clone().drop_guard();
        let state = rooms.ledger.state().clone();
        let (hearing, now_ms) = (hearing(&rooms, &picture), rooms.ledger.now_ms());
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let _turn = turn;
            let repository = &rooms.repository;
            let (place, engines) = (&rooms.place, &*rooms.engines);
            let remotes = &sources::Planned::new(&rooms.sources);
            let world = World { place, trees: repository, remotes, engines, hearing, now_ms, stop, live };
            let is_base = base.revision.catalog.commit == in_effect.catalog.commit;
            let problems = if is_base { picture.problems.clone() } else { Vec::new() };
            let base = Side { revision: base.revision, tree: base.tree, content: repository, problems };
            let new =
                Side { revision: new.revision, tree: new.tree, content: repository, problems: Vec::new() };
            let shelf = Shelf::new(&*rooms.bundles);
            runtime.block_on(plan(&world, shelf, state, base, new, admission))
        };
        let planned = tokio::task::spawn_blocking(work).await;
        planned.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic())).map_err(|e| refused(&e))
    }

    /// The commit that is meant, fetched; empty: the newest of the catalog's branch.
    async fn commit_of(&self, rev: &str) -> Result<CommitId, Status> {
        let repository = &self.rooms.repository;
        let fetched = match rev {
            "" => repository.fetch().await.map(|head| head.commit),
            rev => repository.fetch_named(rev).await,
        };
        fetched.map_err(|error| match error {
            FetchError::Unknown { .. } | FetchError::BadBranch { .. } => Status::not_found(chain(&error)),
            error => Status::unavailable(chain(&error)),
        })
    }

    /// A commit's catalog and its files, with what was valid before kept where it is not.
    async fn loaded(
        &self,
        commit: &CommitId,
        in_effect: &Revision,
        before: &Revision,
    ) -> Result<Loaded, Status> {
        let Rooms { repository, place, .. } = &*self.rooms;
        let tree = repository.tree(commit).await.map_err(|error| unreadable(&error))?;
        if *commit == in_effect.catalog.commit {
            // What trailers allowed was used when it was taken.
            let revision = Revision { allowances: Vec::new(), unpins: BTreeSet::new(), ..in_effect.clone() };
            return Ok(Loaded { revision, tree });
        }
        let last_good = &before.catalog.objects;
        let catalog = Loader::default().catalog(repository, place, commit, &tree, last_good).await;
        let revision = Revision {
            catalog: Arc::new(catalog),
            forms: Forms::new(),
            asking: Asking::new(),
            allowances: Vec::new(),
            unpins: BTreeSet::new(),
            author: String::new(),
        };
        Ok(Loaded { revision, tree })
    }

    /// The hold that a revision would wait for as a whole.
    async fn admission(&self, base: &Revision, new: &Revision) -> Result<Option<Hold>, Status> {
        let (taken, commit) = (&base.catalog.commit, &new.catalog.commit);
        let descends = match self.rooms.repository.is_descendant(taken, commit).await {
            Ok(descends) => descends,
            // History that cannot be seen proves nothing.
            Err(ReadError::HistoryCut { .. } | ReadError::Missing { .. }) => false,
            Err(error) => return Err(unreadable(&error)),
        };
        let state = self.rooms.ledger.state();
        let approved = |id: &str| state.approvals.contains_key(id);
        Ok(admit(Some(taken), commit, new.catalog.empty, descends, approved).err().map(|hold| *hold))
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
