//! The task that decides: woken by a new commit or a changed member, an approval, an acknowledgement.

mod parts;
mod rendering;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use nave_placement::aims;
use nave_placement::catalog::{CommitId, ObjectId, Problem};
use nave_placement::claims::Shared;
use nave_placement::decide::Wanted;
use nave_placement::guard::Hold;
use nave_placement::overrides::{Form, Shapes, Variant};
use nave_placement::render::Bundle;
use nave_placement::{AppKey, CatalogName, Digest};
use nave_proto::backoff::Backoff;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::awaited::{AT_LEAST, Awaited, TOGETHER};
use super::bundles::BundleObjects;
use super::commits::{Commits, named};
use super::core::{self, Given, Kept, Revision};
use super::decisions::short;
use super::depending::failing;
use super::gone::Left;
use super::hearing::Claims;
use super::lacking::{clashing, lacks};
use super::moves::moves;
use super::older::{Grounds, Olders};
use super::parts::{Own, Part};
pub use super::picture::Picture;
use super::retrying::{Retrying, Unable};
use super::revision::{Asked, Files, Place, Rendered, render_all};
use super::taking::{Following, forget, take};
use crate::catalogs::{Catalogs, Meant};
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
pub(super) enum DecideError {
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
    catalogs: Arc<Catalogs>,
    sources: Arc<Sources>,
    engines: Arc<Engines>,
    /// The root catalog.
    root: Part,
    /// Those of tenants.
    tenants: BTreeMap<CatalogName, Part>,
    /// Those that look at their newest commits.
    away: JoinSet<parts::Back>,
    /// Those that did.
    back: Vec<parts::Back>,
    cancel: CancellationToken,
    bundles: Arc<Bundles>,
    objects: Arc<BundleObjects>,
    picture: watch::Sender<Arc<Picture>>,
    revision: Option<Revision>,
    kept: Kept,
    /// What apps were by earlier commits.
    older: Olders,
    /// Who wrote the commits that history may name.
    commits: Commits,
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
        (catalogs, root, sources): (Arc<Catalogs>, (Place, Repository), Arc<Sources>),
        engines: Arc<Engines>,
        bundles: Arc<Bundles>,
        picture: watch::Sender<Arc<Picture>>,
    ) -> Self {
        let objects = Arc::new(BundleObjects::new(bundles.clone()));
        Self {
            ledger,
            sessions,
            catalogs,
            sources,
            engines,
            root: Part::new(root),
            tenants: BTreeMap::new(),
            away: JoinSet::new(),
            back: Vec::new(),
            cancel: CancellationToken::new(),
            bundles,
            objects,
            picture,
            revision: None,
            kept: Kept::default(),
            older: Olders::default(),
            commits: Commits::default(),
            tried: BTreeSet::new(),
            retrying: Retrying::default(),
            awaiting: Unable::new(),
            brought_again: 0,
            following: Following::default(),
            problems: Vec::new(),
            rendering: BTreeMap::new(),
            shared: None,
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
        self.cancel = cancel.clone();
        let mut inputs = self.ledger.inputs();
        let mut gone = self.bundles.gone();
        let (mut contacts, mut freed) = (self.sessions.contacts(), self.sessions.freed());
        let mut changes = self.ledger.changes();
        let (mut observed, mut again) = (self.sources.observed(), self.sources.brought_again());
        let mut tenants = self.catalogs.observed();
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        loop {
            let seen = *inputs.borrow_and_update();
            contacts.mark_unchanged();
            freed.mark_unchanged();
            changes.mark_unchanged();
            observed.mark_unchanged();
            again.mark_unchanged();
            tenants.mark_unchanged();
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
            let end = end.chain(self.retrying.due_ms()).chain(self.following.due_ms());
            let end = end.chain(self.again_ms()).min();
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
            let (ledger, awaited, away) = (&self.ledger, &mut self.awaited, &mut self.away);
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
                Ok(()) = tenants.changed() => {}
                Some(Ok(back)) = away.join_next() => self.back.push(back),
                () = pause => {}
                () = due => {}
                () = heard => {}
            }
        }
    }

    /// One round: takes the newest commit if it may be taken, then decides until nothing is left to write.
    async fn round(&mut self, head: Option<&CommitId>) -> Result<(), DecideError> {
        self.take_catalogs(head).await?;
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

    /// Another revision is in effect, in which these catalogs are others than before. Apps of all others are as they were.
    fn replace(&mut self, revision: Revision, others: &BTreeSet<CatalogName>) {
        let is_root = others.contains(self.catalogs.root());
        let stays = |app: &AppKey| !is_root && !others.contains(&app.catalog);
        let known = self.revision.take();
        let mut revision = revision;
        if let Some(Revision { forms, asking, .. }) = known.filter(|_| !is_root) {
            revision.forms.extend(forms.into_iter().filter(|(app, _)| stays(app)));
            revision.asking.extend(asking.into_iter().filter(|(app, _)| stays(app)));
        }
        self.problems.clone_from(&revision.catalog.problems);
        self.warn(&self.problems);
        self.rendering.retain(|app, _| stays(app));
        self.tried.retain(|(app, _)| stays(app));
        self.awaiting.retain(|(app, _)| stays(app));
        if is_root {
            self.retrying.forget();
            self.following.clear();
            self.older.forget_tenants(self.catalogs.root());
        } else {
            self.following.without(|app| others.contains(&app.catalog));
        }
        self.kept.forget_bases();
        self.older.try_again();
        self.revision = Some(revision);
        self.shared = None;
        self.left = Left::default();
    }

    fn warn(&self, problems: &[Problem]) {
        for problem in problems {
            warn!("{problem}");
        }
    }

    /// One step; true if it wrote something.
    async fn step(&mut self) -> Result<bool, DecideError> {
        let Some(revision) = self.revision.clone() else { return Ok(false) };
        // Who reports from here on may be looked at twice, but not too late.
        self.ledger.take_reported();
        let objects = self.objects.clone();
        let codec = WireCodec(move |digest: &Digest| objects.of(digest));
        let named = named(&self.ledger.state(), &revision);
        self.commits.learn(&self.catalogs, named).await;
        let now_ms = self.ledger.now_ms();
        let mut hearing = self.sessions.hearing();
        hearing.claims = self.claims.clone();
        hearing.remember(&self.picture.borrow().fleet);
        let began = Instant::now();
        let (mut decided, given_pauses) = {
            let state = self.ledger.state();
            let waiting = &self.waiting();
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
            let Some(root) = self.root.own.as_ref().map(|own| own.catalog.clone()) else { return Ok(false) };
            let (places, root) = (&self.places(), &*root);
            let grounds = Grounds { trees: &*self.catalogs, places, root, remotes, sources: &sources };
            let brought = self.older.bring(grounds, &self.engines, decided.wants).await;
            self.retrying.add(self.older.unable(), self.ledger.now_ms(), fastrand::f64());
            for bundle in brought {
                self.keep(bundle).await?;
            }
            return Ok(true);
        }
        self.older.keep(&self.ledger.state());
        decided.refused.retain(|problem| !self.is_early(problem));
        for problem in
            decided.refused.iter().filter(|problem| !self.picture.borrow().refused.contains(problem))
        {
            if problem.is_error() { error!("{problem}") } else { warn!("{problem}") }
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
            let ungranted = decided.withdrawn.into_iter().chain(decided.beyond).collect();
            // Who compares with what it knew sees at once that nothing is new.
            if *next.ungranted != ungranted {
                next.ungranted = Arc::new(ungranted);
            }
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
            warn!("{problem}");
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
                next.problems.extend(self.catalogs.unreachable(&revision.catalog));
            }
            next.problems.sort();
            next.settled = head.cloned();
            next.inputs = inputs;
            (next.observed, next.awaits_source) = self.following.looked_at();
            next.awaits_source |= self.awaits_lost();
            next.obstacle = obstacle.or_else(|| self.root.waiting.as_ref().map(ToString::to_string));
            next.tenants = self.tenants_view();
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
