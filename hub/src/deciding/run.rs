//! The task that decides: woken by a new commit or a changed member, an approval, an acknowledgement.

mod rendering;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nave_placement::aims;
use nave_placement::catalog::{CommitId, Effective, LastGood, ObjectId, Problem, Tree};
use nave_placement::claims::Shared;
use nave_placement::decide::Wanted;
use nave_placement::guard::Hold;
use nave_placement::overrides::{Asking, Form, Forms, Shapes, Variant};
use nave_placement::render::Bundle;
use nave_placement::{AppKey, Digest};
use nave_proto::backoff::Backoff;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::awaited::{AT_LEAST, Awaited, TOGETHER};
use super::bundles::BundleObjects;
use super::commits::{Commits, named, trailers};
use super::core::{self, Given, Kept, Revision};
use super::decisions::short;
use super::depending::failing;
use super::gone::Left;
use super::hearing::Claims;
use super::lacking::{clashing, lacks};
use super::moves::moves;
use super::older::{Grounds, Olders};
pub use super::picture::Picture;
use super::retrying::{Retrying, Unable};
use super::revision::{Asked, Earlier, Ground, Loader, Place, Rendered, render};
use super::taking::{Following, forget, take};
use crate::engines::Engines;
use crate::git::{ReadError, Repository, poller::Observation};
use crate::sessions::service::Sessions;
use crate::sources::{Followed, Sources};
use crate::state::{CommitError, Ledger, State, Step, WireCodec};
use crate::store::Version;
use crate::store::bundles::{BundleError, Bundles};

/// Steps in a row before somebody else's change is waited for: each either writes something or is the last.
const STEPS: usize = 64;

/// While a rollout waits for it, so many times as long as a step took is rested after one.
const RESTS: u32 = 4;

/// Why a round of deciding ended early.
#[derive(Debug, thiserror::Error)]
enum DecideError {
    #[error("cannot read the catalog's repository")]
    Read(#[from] ReadError),
    #[error(
        "the last good form of {0} cannot be read, and nothing newer is valid; it is not taken for removed"
    )]
    LastGood(ObjectId),
    #[error("cannot keep a bundle")]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

/// The task and what it needs.
pub struct Deciding {
    ledger: Arc<Ledger>,
    sessions: Arc<Sessions>,
    repository: Repository,
    sources: Arc<Sources>,
    engines: Arc<Engines>,
    place: Place,
    bundles: Arc<Bundles>,
    objects: Arc<BundleObjects>,
    loader: Loader,
    picture: watch::Sender<Arc<Picture>>,
    revision: Option<Revision>,
    kept: Kept,
    /// What apps were by earlier commits.
    older: Olders,
    /// Who wrote the commits that history may name.
    commits: Commits,
    /// The files of its commit.
    tree: Tree,
    /// Variants of it that were rendered, or could not be.
    tried: BTreeSet<(AppKey, Variant)>,
    /// Those of them that are tried again.
    retrying: Retrying,
    /// Those of them whose files are elsewhere and not at hand.
    awaiting: Unable,
    /// How often something that was lost had been brought again, or could not be, when it was looked at last.
    brought_again: u64,
    /// The remotes that its apps name.
    following: Following,
    problems: Vec<Problem>,
    /// What was said of its apps while they were rendered.
    rendering: BTreeMap<AppKey, Vec<Problem>>,
    /// Objects that several apps of the revision define; made anew with each revision.
    shared: Option<Shared>,
    waiting: Option<Hold>,
    /// Objects in effect whose last good form could not be read since the start.
    unread: BTreeSet<ObjectId>,
    /// Bundles that are gone and were tried to be made again.
    left: Left,
    /// What decisions took of what is free.
    claims: Claims,
    /// When the time alone changes a decision, Unix milliseconds.
    due_ms: Option<u64>,
    /// Whether a placement waits for a cluster to become healthy, to be heard, or to have something free.
    open: bool,
    /// What waits for what spokes say.
    awaited: Awaited,
    /// For how long their words are collected.
    rest: Duration,
}

impl Deciding {
    /// Over these rooms; `picture` is where the outcome is shown.
    pub fn new(
        ledger: Arc<Ledger>,
        sessions: Arc<Sessions>,
        (repository, sources): (Repository, Arc<Sources>),
        engines: Arc<Engines>,
        place: Place,
        bundles: Arc<Bundles>,
        picture: watch::Sender<Arc<Picture>>,
    ) -> Self {
        let objects = Arc::new(BundleObjects::new(bundles.clone()));
        Self {
            ledger,
            sessions,
            repository,
            sources,
            engines,
            place,
            bundles,
            objects,
            loader: Loader::default(),
            picture,
            revision: None,
            kept: Kept::default(),
            older: Olders::default(),
            commits: Commits::default(),
            tree: Tree::new(),
            tried: BTreeSet::new(),
            retrying: Retrying::default(),
            awaiting: Unable::new(),
            brought_again: 0,
            following: Following::default(),
            problems: Vec::new(),
            rendering: BTreeMap::new(),
            shared: None,
            waiting: None,
            unread: BTreeSet::new(),
            left: Left::default(),
            claims: Claims::default(),
            due_ms: None,
            open: false,
            awaited: Awaited::default(),
            rest: TOGETHER,
        }
    }

    /// Decides until cancelled.
    pub async fn run(mut self, mut observations: watch::Receiver<Observation>, cancel: CancellationToken) {
        let mut inputs = self.ledger.inputs();
        let mut gone = self.bundles.gone();
        let (mut contacts, mut freed) = (self.sessions.contacts(), self.sessions.freed());
        let mut changes = self.ledger.changes();
        let (mut observed, mut again) = (self.sources.observed(), self.sources.brought_again());
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        loop {
            let seen = *inputs.borrow_and_update();
            contacts.mark_unchanged();
            freed.mark_unchanged();
            changes.mark_unchanged();
            observed.mark_unchanged();
            again.mark_unchanged();
            let head = observations.borrow_and_update().head.clone().map(|h| h.commit);
            let retry = match self.round(head.as_ref()).await {
                Ok(()) => {
                    self.show(head.as_ref(), None, seen);
                    backoff.reset();
                    None
                }
                Err(DecideError::Commit(error)) if error.is_conflict() => {
                    Some(backoff.after_failure(fastrand::f64()))
                }
                Err(error) => {
                    error!(error = chain(&error), "could not decide; everything stays as it is");
                    self.show(None, Some(chain(&error)), 0);
                    Some(backoff.after_failure(fastrand::f64()))
                }
            };
            let pause = async {
                match retry {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            let now_ms = self.ledger.now_ms();
            // What failed is tried again after its pause, not whenever something is still due.
            let end = core::next_end(&self.ledger.state(), now_ms).into_iter().chain(self.due_ms);
            let end = end.chain(self.retrying.due_ms()).chain(self.following.due_ms()).min();
            let end = end.filter(|_| retry.is_none());
            // What is due at once was decided just now, and is looked at again after a pause.
            let rest = end.map(|due| due.checked_sub(now_ms).filter(|rest| *rest > 0));
            let rest = rest.map(|rest| rest.map_or(TOGETHER, Duration::from_millis));
            let due = async {
                match rest {
                    Some(rest) => tokio::time::sleep(rest).await,
                    None => std::future::pending().await,
                }
            };
            // Placements that take all that match take silent clusters too, whatever these have free.
            let (rolls, open) = (!self.awaited.is_nothing(), self.open);
            let picks = rolls || self.picks();
            let rest = if rolls { self.rest } else { TOGETHER };
            let (ledger, awaited) = (&self.ledger, &mut self.awaited);
            let heard = async {
                awaited.anything |= open;
                let is_first = tokio::select! {
                    Ok(()) = contacts.changed(), if picks => true,
                    Ok(()) = freed.changed(), if open => true,
                    Ok(is_first) = awaited.words(ledger, &mut changes), if open || rolls => is_first,
                    else => std::future::pending().await,
                };
                if is_first {
                    tokio::time::sleep(rest).await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                changed = observations.changed() => if changed.is_err() { return },
                changed = inputs.changed() => if changed.is_err() { return },
                Ok(()) = gone.changed() => {}
                Ok(()) = observed.changed() => {}
                Ok(()) = again.changed() => {}
                () = pause => {}
                () = due => {}
                () = heard => {}
            }
        }
    }

    /// One round: takes the newest commit if it may be taken, then decides until nothing is left to write.
    async fn round(&mut self, head: Option<&CommitId>) -> Result<(), DecideError> {
        let taken = self.taken();
        if self.revision.is_none()
            && let Some(taken) = &taken
        {
            let last_good = self.last_good().await;
            match self.load(taken, &last_good).await {
                Ok((revision, tree)) => self.replace(revision, tree),
                // It is not at hand before Git answers; what the spokes were told stays.
                Err(error) => {
                    warn!(commit = %taken, error = chain(&error), "the commit in effect cannot be read now")
                }
            }
        }
        if let Some(head) = head
            && self.revision.as_ref().is_none_or(|r| r.catalog.commit != *head)
        {
            self.incoming(taken.as_ref(), head).await?;
        } else if head.is_some() {
            self.waiting = None;
        }
        self.take_sources().await?;
        self.try_again();
        let mut is_settled = false;
        for _ in 0..STEPS {
            is_settled = !self.step().await?;
            if is_settled {
                break;
            }
        }
        self.retrying.settled();
        self.following.earlier(self.older.remotes());
        self.sources.want(self.following.remotes(), &self.ledger.state().sources());
        if is_settled && self.revision.is_some() {
            forget(&self.ledger, &self.sources, &mut self.following).await?;
        }
        self.render_again().await
    }

    /// Whether a placement picks: then it matters who is heard.
    fn picks(&self) -> bool {
        let catalog = self.revision.as_ref().map(|revision| &revision.catalog);
        catalog.is_some_and(|catalog| catalog.placements().any(|(_, placement)| placement.pick.is_some()))
    }

    fn taken(&self) -> Option<CommitId> {
        self.ledger.state().heads.get(&self.place.name).map(|h| h.commit.clone())
    }

    /// Looks at a commit that is not in effect: takes it, or says what it waits for.
    async fn incoming(&mut self, taken: Option<&CommitId>, head: &CommitId) -> Result<(), DecideError> {
        let last_good = match &self.revision {
            Some(revision) => revision.catalog.objects.clone(),
            None => self.last_good().await,
        };
        let descends = match taken {
            None => true,
            Some(taken) => match self.repository.is_descendant(taken, head).await {
                Ok(descends) => descends,
                // History that cannot be seen proves nothing.
                Err(ReadError::HistoryCut { .. } | ReadError::Missing { .. }) => false,
                Err(error) => return Err(error.into()),
            },
        };
        // Nothing of a branch that was rewritten counts as known to be a removal, before somebody approved it.
        let (mut revision, tree) = self.load(head, &last_good).await?;
        let approved = |id: &str| self.ledger.state().approvals.contains_key(id);
        match core::admit(taken, head, revision.catalog.empty, descends, approved) {
            Err(hold) => {
                info!(commit = %head, hold = hold.id, "{hold}");
                self.waiting = Some(*hold);
                Ok(())
            }
            Ok(()) => {
                (revision.allowances, revision.unpins) = trailers(&self.repository, taken, head).await;
                self.repository.pin(head).await?;
                info!(commit = %head, problems = revision.catalog.problems.len(), "taking the commit");
                self.waiting = None;
                self.replace(revision, tree);
                Ok(())
            }
        }
    }

    fn replace(&mut self, revision: Revision, tree: Tree) {
        self.problems.clone_from(&revision.catalog.problems);
        self.warn(&self.problems);
        self.rendering.clear();
        self.tree = tree;
        self.tried.clear();
        self.retrying.forget();
        self.awaiting.clear();
        self.older.try_again();
        self.following.clear();
        self.revision = Some(revision);
        self.shared = None;
        self.unread.clear();
        self.left = Left::default();
    }

    fn warn(&self, problems: &[Problem]) {
        for problem in problems {
            warn!(catalog = %self.place.name, "{problem}");
        }
    }

    /// A commit's catalog and its files. Nothing of it is rendered yet: that waits until it may be taken.
    async fn load(
        &mut self,
        commit: &CommitId,
        last_good: &LastGood,
    ) -> Result<(Revision, Tree), DecideError> {
        let tree = self.repository.tree(commit).await?;
        let catalog = self.loader.catalog(&self.repository, &self.place, commit, &tree, last_good).await;
        if let Some(id) = self.unread.iter().find(|id| !catalog.objects.contains_key(id)) {
            return Err(DecideError::LastGood(id.clone()));
        }
        let author = match self.repository.commit_info(commit).await {
            Ok(info) => format!("{} <{}>: {}", info.author, info.email, info.subject),
            Err(_) => String::new(),
        };
        let catalog = Arc::new(catalog);
        Ok((
            Revision {
                catalog,
                forms: Forms::new(),
                asking: Asking::new(),
                allowances: Vec::new(),
                unpins: BTreeSet::new(),
                author,
            },
            tree,
        ))
    }

    /// The last good form of every object, read again from the commits that the store names.
    async fn last_good(&mut self) -> LastGood {
        let records: Vec<_> = {
            let state = self.ledger.state();
            let ours = state.good.iter().filter(|((catalog, _, _), _)| *catalog == self.place.name);
            ours.map(|((_, kind, name), record)| (kind.clone(), name.clone(), record.record.clone()))
                .collect()
        };
        self.unread.clear();
        let mut trees: BTreeMap<CommitId, Option<Tree>> = BTreeMap::new();
        let mut earlier = Earlier::default();
        let mut last_good = LastGood::new();
        for (kind, name, record) in records {
            let Ok(kind) = serde_json::from_value(serde_json::Value::String(kind)) else { continue };
            let id = ObjectId { kind, name: name.as_str().into() };
            if !trees.contains_key(&record.commit) {
                trees.insert(record.commit.clone(), self.repository.tree(&record.commit).await.ok());
            }
            let object = match trees.get(&record.commit) {
                Some(Some(tree)) => earlier.object(&self.repository, tree, &record.file, &id).await,
                _ => None,
            };
            match object {
                Some(object) => {
                    last_good.insert(id, Effective { object, commit: record.commit.clone() });
                }
                None => {
                    self.unread.insert(id);
                }
            }
        }
        last_good
    }

    /// One step; true if it wrote something.
    async fn step(&mut self) -> Result<bool, DecideError> {
        let Some(revision) = self.revision.clone() else { return Ok(false) };
        // Who reports from here on may be looked at twice, but not too late.
        self.ledger.take_reported();
        let objects = self.objects.clone();
        let codec = WireCodec(move |digest: &Digest| objects.of(digest));
        let named = named(&self.ledger.state(), &revision);
        self.commits.learn(&self.repository, named).await;
        let now_ms = self.ledger.now_ms();
        let mut hearing = self.sessions.hearing();
        hearing.claims = self.claims.clone();
        hearing.remember(&self.picture.borrow().fleet);
        let began = Instant::now();
        let (decided, given_pauses) = {
            let state = self.ledger.state();
            let waiting = self.waiting.as_ref();
            let (codec, hearing, older, authors) = (&codec, &hearing, &self.older, &self.commits.authors);
            let (state, revision) = (&*state, &revision);
            let given = Given { state, revision, waiting, codec, hearing, older, authors, now_ms };
            (core::step(given, &mut self.kept), pauses(state))
        };
        let mut missing = decided.missing;
        for (app, variants) in &mut missing {
            variants.retain(|variant| !self.tried.contains(&(app.clone(), variant.clone())));
        }
        missing.retain(|_, variants| !variants.is_empty());
        if !missing.is_empty() {
            self.render(missing).await?;
            return Ok(true);
        }
        if !decided.wants.is_empty() {
            let sources = self.ledger.state().sources();
            let remotes = &Followed(&self.sources);
            let grounds = Grounds { trees: &self.repository, remotes, sources: &sources };
            let brought = self.older.bring(grounds, &self.engines, &self.place, decided.wants).await;
            self.retrying.add(self.older.unable(), self.ledger.now_ms(), fastrand::f64());
            for bundle in brought {
                self.keep(bundle).await?;
            }
            return Ok(true);
        }
        self.older.keep(&self.ledger.state());
        for problem in
            decided.refused.iter().filter(|problem| !self.picture.borrow().refused.contains(problem))
        {
            error!(catalog = %self.place.name, "{problem}");
        }
        let wrote = !decided.writes.is_empty();
        for cluster in decided.too_large.difference(&self.picture.borrow().too_large) {
            error!(%cluster, "its assignment is larger than the store takes; it keeps what it has: run fewer apps there");
        }
        let mut clashes = self.clashes(&revision, &decided.wanted, &decided.shapes);
        clashes.extend(lacks(&revision.catalog, &decided.lacking));
        clashes.extend(failing(&revision.catalog, &decided.failing));
        clashes.extend(short(&revision.catalog, &decided.decisions));
        let end = core::next_end(&self.ledger.state(), now_ms);
        let moves = moves(&revision.catalog, &decided.fleet, &decided.decisions, &decided.wanted);
        for write in decided.writes {
            // Who was told that nothing changes was told the truth: it is decided anew.
            if write.step == Step::AssignmentsMade && pauses(&self.ledger.state()) != given_pauses {
                return Ok(true);
            }
            self.ledger.commit_audited(write.step, write.batch, &write.audits).await?;
        }
        self.claims.add(decided.taken, now_ms);
        (self.due_ms, self.open) = (decided.due_ms, decided.open);
        // A large fleet says something all the time: for longer than a step takes is rested, too.
        let took = began.elapsed();
        let rest = (took * RESTS).clamp(AT_LEAST, TOGETHER.max(took));
        (self.awaited, self.rest) = (decided.awaited, rest);
        self.picture.send_modify(|picture| {
            let mut next = Picture::clone(picture);
            next.fleet = decided.fleet;
            next.decisions = decided.decisions;
            next.refused = decided.refused;
            next.wanted = decided.wanted;
            next.clashes = clashes;
            next.shapes = Arc::new(decided.shapes);
            next.shares = Arc::new(decided.shares);
            next.lacking = decided.lacking;
            next.moves = Arc::new(moves);
            next.waiting = Arc::new(decided.waiting);
            next.waits_for = Arc::new(decided.waits_for);
            next.unpinnable = Arc::new(decided.unpinnable);
            next.due_ms = decided.due_ms.into_iter().chain(end).min();
            next.too_large = decided.too_large;
            *picture = Arc::new(next);
        });
        Ok(wrote)
    }

    /// Objects that two apps of one cluster define, as problems of the app that does not get them; and those whose replicas
    /// are divided and that are not there.
    fn clashes(&mut self, revision: &Revision, wanted: &Wanted, shapes: &Shapes) -> Vec<Problem> {
        let objects = &self.objects;
        let shared =
            self.shared.get_or_insert_with(|| Shared::of(&revision.forms, |digest| objects.of(digest)));
        let mut clashes = clashing(&revision.catalog, shared.clashes(wanted, shapes));
        clashes.extend(aims::missed(&revision.catalog, &revision.forms, |digest| objects.of(digest)));
        let told = &self.picture.borrow().clashes;
        for problem in clashes.iter().filter(|problem| !told.contains(problem)) {
            warn!(catalog = %self.place.name, "{problem}");
        }
        clashes
    }

    fn show(&self, head: Option<&CommitId>, obstacle: Option<String>, inputs: u64) {
        self.picture.send_modify(|picture| {
            let mut next = Picture::clone(picture);
            next.revision.clone_from(&self.revision);
            // What its last valid form lacks is nothing that anybody wrote now.
            let is_invalid = |other: &Problem| other.is_error() && other.object.is_some();
            let invalid: BTreeSet<_> =
                self.problems.iter().filter(|p| is_invalid(p)).map(|p| &p.object).collect();
            let rendering =
                self.rendering.values().flatten().filter(|problem| !invalid.contains(&problem.object));
            let problems = self.problems.iter().chain(rendering);
            next.problems = problems.chain(&next.clashes).chain(&next.refused).cloned().collect();
            if let Some(revision) = &self.revision {
                let sources = self.ledger.state().sources();
                next.problems.extend(self.following.complaints(&revision.catalog, &sources));
            }
            next.problems.sort();
            next.settled = head.cloned();
            next.inputs = inputs;
            (next.observed, next.awaits_source) = self.following.looked_at();
            next.awaits_source |= self.awaits_lost();
            next.obstacle = obstacle.or_else(|| self.waiting.as_ref().map(ToString::to_string));
            *picture = Arc::new(next);
        });
    }
}

/// Which pauses there are.
fn pauses(state: &State) -> Vec<Version> {
    state.pauses.values().map(|pause| pause.version).collect()
}

/// An error and what it came from, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
