//! The engine: which apps a round looks at, and in which order they have their turns.
//!
//! In: what is desired, what has changed since the last round. Out: an [`Outcome`] of all apps, whether this round looked
//! at them or an earlier one. Never: holds an app's objects longer than the app's turn; needs what it keeps: a new engine
//! finds the same by looking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use nave_placement::render::Scopes;
use nave_placement::{AppKey, Digest};

use super::kept::{Keeping, Turns};
use super::pass::Pass;
use super::round::Round;
use super::survey::Survey;
use super::{Desired, Interrupt, judge};
use crate::plan::{Claimed, Claims, Index, Rank, rank};
use crate::report::{Outcome, Reason};
use crate::target::{Changed, Inventory, Missing, Owned, Target};

/// Apps that are worked on at once, so many small ones. Each writes the objects of one rank at once; the target bounds its
/// requests.
const APPS_AT_ONCE: usize = 16;
/// Objects of all of them together, which are held meanwhile; but a few apps have their turn whatever their size.
const OBJECTS_AT_ONCE: usize = 128;
const A_FEW: usize = 4;
/// From so many apps on, the target is asked for a look at all of their objects at once.
const MANY_APPS: usize = 8;
/// Completed versions that are stored by one write while a long round goes on.
const COMPLETED_AT_ONCE: usize = 250;

/// What a round looks at, beside what it has never looked at as it is wanted now.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// Every app, and the inventories as they are stored.
    Everything,
    /// What has changed, and apps whose time has come to be looked at again.
    At {
        /// What has changed on the target.
        changed: &'a Changed,
        /// Whose time has come.
        due: &'a BTreeSet<AppKey>,
    },
}

/// Makes rounds, and keeps what spares the next one work.
#[derive(Default)]
pub struct Engine {
    index: Index,
    /// The entries that the index was made of.
    indexed: BTreeMap<AppKey, Digest>,
    scopes: Option<Arc<dyn Scopes + Send + Sync>>,
    inventories: Option<BTreeMap<AppKey, Inventory>>,
    kept: Keeping,
    /// The last round did not come to its end: what it was told of changes is lost.
    blind: bool,
}

impl Engine {
    /// One round: makes the target what is desired, as far as it can be now.
    ///
    /// # Guarantees
    /// Apps are independent: what one cannot do is in its own report, the others go on. A round that was broken off at
    /// any write, or ran into an error, is completed by the next. In a target that is as desired nothing is written. An
    /// object that moves has its new owner before the old one lets go.
    pub async fn round(
        &mut self,
        target: &dyn Target,
        desired: &Desired<'_>,
        look: Look<'_>,
        interrupt: &dyn Interrupt,
    ) -> Outcome {
        let look = if std::mem::replace(&mut self.blind, true) { Look::Everything } else { look };
        let everything = match look {
            Look::Everything => true,
            Look::At { changed, .. } => changed.all,
        };
        // Taken, so that a round that is dropped on its way leaves nothing behind that may not be true.
        let (known, before) = match self.inventories.take() {
            Some(known) if !everything && !self.must_search(&known, desired, look) => (Some(known), None),
            before => (None, before),
        };
        let fresh = known.is_none();
        let mut inventories = match known {
            Some(known) => known,
            None => match target.inventories().await {
                Ok(stored) => self.recovered(target, desired, stored, before.as_ref()).await,
                Err(error) => {
                    let version = |app: &AppKey| match self.kept.apps.get(app) {
                        Some(kept) => kept.report.version,
                        None => before.as_ref()?.get(app)?.version,
                    };
                    let outcome = judge::unreachable(desired, version, &error);
                    self.inventories = before;
                    return outcome;
                }
            },
        };
        self.reindex(target, desired).await;
        let round = Round::new(target, interrupt);
        let mut outcome = Outcome::default();
        let mut again = None;
        loop {
            let first = again.is_none();
            let claims = Claims::of(&self.index, &inventories);
            let mut focus = match again.take() {
                Some(waiting) => waiting,
                None => self.focus(&claims, &inventories, desired, look),
            };
            self.with_moves(&claims, &mut focus);
            if first && focus.len() >= MANY_APPS {
                self.survey(target, desired, &inventories, &mut focus).await;
            }
            let turns = self.pass(&round, desired, &claims, &inventories, focus, look).await;
            drop(claims);
            round.merge(&mut inventories);
            let prepared = turns.done.iter().any(|app| app.progress.prepared);
            self.kept.keep(turns, desired, &inventories, &mut outcome);
            if !prepared || !first || round.stopped() {
                break;
            }
            // What this very round brought may be what others waited for: once more, for those.
            let (waiting, for_kinds) = self.kept.waiting();
            if waiting.is_empty() || (for_kinds && target.discover().await.is_err()) {
                break;
            }
            self.reindex(target, desired).await;
            again = Some(waiting);
        }
        if fresh || round.writes() > 0 {
            target.watch_kinds(&owned(&inventories));
        }
        (outcome.writes, outcome.interrupted) = (round.writes(), round.stopped());
        self.kept.tell(desired, &self.index, &inventories, &mut outcome);
        self.inventories = Some(inventories);
        self.blind = false;
        outcome
    }

    /// Whether an app is on its way out of which it is not known what it has here, and its time has come.
    fn must_search(
        &self,
        known: &BTreeMap<AppKey, Inventory>,
        desired: &Desired<'_>,
        look: Look<'_>,
    ) -> bool {
        let Look::At { due, .. } = look else { return true };
        let assignment = desired.assignment;
        let mut leaving = assignment.leaving.keys().filter(|app| !assignment.entries.contains_key(*app));
        let in_doubt = |app: &AppKey| known.get(app).is_some_and(|inventory| inventory.partial);
        leaving.any(in_doubt) || due.iter().any(|app| self.kept.unsure.contains(app))
    }

    /// The inventories that are stored, and those that are missing though their apps have objects here. Where a search
    /// for them does not see everything, assigned apps go on, and what they turn out to have had is theirs again once it
    /// is found.
    async fn recovered(
        &mut self,
        target: &dyn Target,
        desired: &Desired<'_>,
        mut stored: BTreeMap<AppKey, Inventory>,
        before: Option<&BTreeMap<AppKey, Inventory>>,
    ) -> BTreeMap<AppKey, Inventory> {
        self.kept.unsure.clear();
        let assignment = desired.assignment;
        let missing = |app: &&AppKey| stored.get(*app).is_none_or(|inventory| inventory.partial);
        let assigned: BTreeSet<_> = assignment.entries.keys().filter(missing).cloned().collect();
        let leaving = assignment.leaving.keys().filter(|app| !assignment.entries.contains_key(*app));
        let leaving: BTreeSet<_> = leaving.filter(missing).cloned().collect();
        let partial = stored.iter().filter(|(_, inventory)| inventory.partial).map(|(app, _)| app.clone());
        let was_there = |app: &&AppKey| before.is_some_and(|before| before.contains_key(*app));
        let mut lost: BTreeSet<_> = assigned.iter().chain(&leaving).filter(was_there).cloned().collect();
        lost.extend(partial);
        if assigned.is_empty() && leaving.is_empty() && lost.is_empty() {
            return stored;
        }
        let missing = Missing { assigned, lost, leaving };
        let found = target.rebuild(&missing).await;
        for (app, inventory) in found.inventories {
            stored.entry(app).or_default().unite(inventory);
        }
        if let Some(error) = found.unknown {
            tracing::warn!(%error, "it cannot be told which objects apps without an inventory have here");
            for app in missing.assigned {
                stored.entry(app).or_default().partial = true;
            }
            stored.retain(|app, _| !missing.leaving.contains(app));
            self.kept.unsure = missing.leaving;
            return stored;
        }
        for (app, inventory) in stored.iter_mut().filter(|(_, inventory)| inventory.partial) {
            inventory.partial = false;
            if let Err(error) = target.store_inventory(app, inventory).await {
                tracing::warn!(%app, %error, "a rebuilt inventory could not be stored; it is tried again");
                inventory.partial = true;
            }
        }
        stored
    }

    /// Whether the last round could not even begin, so that the next looks at everything.
    pub fn is_blind(&self) -> bool {
        self.blind
    }

    /// Brings the index up to date: reads the bundles of the entries that are new, changed, or could not be resolved.
    async fn reindex(&mut self, target: &dyn Target, desired: &Desired<'_>) {
        let scopes = target.scopes();
        let same_scopes = self.scopes.as_ref().is_some_and(|known| Arc::ptr_eq(known, &scopes));
        let entries = &desired.assignment.entries;
        self.index.retain(|app, _| entries.contains_key(app));
        self.indexed.retain(|app, _| entries.contains_key(app));
        self.kept.apps.retain(|app, _| entries.contains_key(app));
        for (app, entry) in entries {
            let same_entry = self.indexed.get(app) == Some(&entry.digest);
            let holds =
                |claimed: &Claimed| claimed.resolved && (same_scopes || claimed.holds_under(&*scopes));
            if same_entry && self.index.get(app).is_some_and(holds) {
                continue;
            }
            let claimed = Claimed::of(&desired.resolve(app, &*scopes).await);
            if self.index.get(app) != Some(&claimed)
                && let Some(kept) = self.kept.apps.get_mut(app)
            {
                kept.stale = true;
            }
            self.index.insert(app.clone(), claimed);
            self.indexed.insert(app.clone(), entry.digest);
        }
        self.scopes = Some(scopes);
    }

    /// The apps that a round looks at.
    fn focus(
        &self,
        claims: &Claims<'_>,
        inventories: &BTreeMap<AppKey, Inventory>,
        desired: &Desired<'_>,
        look: Look<'_>,
    ) -> BTreeSet<AppKey> {
        let entries = &desired.assignment.entries;
        let Look::At { changed, due } = look else { return entries.keys().cloned().collect() };
        if changed.all {
            return entries.keys().cloned().collect();
        }
        let is_known = |app: &AppKey, entry: &Digest| {
            self.kept.apps.get(app).is_some_and(|kept| kept.entry == *entry && !kept.stale)
        };
        let unknown = entries.iter().filter(|(app, entry)| !is_known(app, &entry.digest));
        let mut focus: BTreeSet<AppKey> = unknown.map(|(app, _)| app.clone()).collect();
        focus.extend(due.iter().filter(|app| entries.contains_key(*app)).cloned());
        for relisted in &changed.relisted {
            let lacks = |inventory: &&Inventory| inventory.objects.iter().any(|key| relisted.lacks(key));
            let apps = inventories.iter().filter(|(_, inventory)| lacks(inventory));
            focus.extend(apps.map(|(app, _)| app).filter(|app| entries.contains_key(*app)).cloned());
        }
        let concerned = changed.objects.iter().flat_map(|key| claims.concerned(key));
        focus.extend(concerned.filter(|app| entries.contains_key(*app)).cloned());
        let namespaces: BTreeSet<&str> = changed.namespaces().collect();
        if !changed.kinds.is_empty() || !namespaces.is_empty() {
            for (app, claimed) in &self.index {
                let touched = claimed.objects.iter().flatten().any(|object| {
                    changed.kinds.iter().any(|(g, k)| *g == object.key.group && *k == object.key.kind)
                        || namespaces.contains(object.key.namespace.as_str())
                });
                if touched {
                    focus.insert(app.clone());
                }
            }
        }
        focus
    }

    /// Has the target look at the objects of many apps at once, and takes those out of the focus of which nothing changed.
    async fn survey(
        &self,
        target: &dyn Target,
        desired: &Desired<'_>,
        inventories: &BTreeMap<AppKey, Inventory>,
        focus: &mut BTreeSet<AppKey>,
    ) {
        let Some(scopes) = &self.scopes else { return };
        let survey = Survey::new(desired, &**scopes, &self.index, focus);
        let calm = target.survey(&survey).await;
        let rests = |app: &AppKey| {
            let kept = self.kept.apps.get(app).zip(desired.assignment.entries.get(app));
            let settled = kept.is_some_and(|(kept, entry)| kept.rests(&entry.digest));
            let claimed = self.index.get(app).and_then(|claimed| claimed.objects.as_ref());
            let inventory = inventories.get(app);
            settled
                && claimed.is_some_and(|objects| objects.iter().all(|object| calm.contains(&object.key)))
                && inventory.is_some_and(|inventory| {
                    inventory.objects.len() == claimed.map_or(0, Vec::len)
                        && claimed.into_iter().flatten().all(|o| inventory.objects.contains(&o.key))
                })
        };
        focus.retain(|app| !rests(app));
    }

    /// Who hands over and who takes do it in one round.
    fn with_moves(&self, claims: &Claims<'_>, focus: &mut BTreeSet<AppKey>) {
        if focus.is_empty() || self.index.keys().all(|app| focus.contains(app)) {
            return;
        }
        let pairs: BTreeSet<_> = claims.moves().collect();
        for (from, to) in pairs {
            // What a former name has is settled by its successor.
            let from = if self.index.contains_key(from) { Some(from) } else { claims.successor(from) };
            if from.is_some_and(|from| focus.contains(from)) || focus.contains(to) {
                focus.extend(from.cloned());
                focus.insert(to.clone());
            }
        }
    }

    /// Has every app in focus its turn, several at once.
    async fn pass(
        &self,
        round: &Round<'_>,
        desired: &Desired<'_>,
        claims: &Claims<'_>,
        inventories: &BTreeMap<AppKey, Inventory>,
        focus: BTreeSet<AppKey>,
        look: Look<'_>,
    ) -> Turns {
        let Some(scopes) = self.scopes.clone() else { return Turns::default() };
        let pass = Pass { round, desired, scopes: &*scopes, index: &self.index, claims, inventories };
        let (mut done, mut deferred) = (Vec::new(), Vec::new());
        let mut unstored: BTreeMap<AppKey, Reason> = BTreeMap::new();
        let defines = |app: &&AppKey| {
            let objects = self.index.get(*app).and_then(|claimed| claimed.objects.as_ref());
            objects.into_iter().flatten().any(|object| rank(&object.key) == Rank::Definition)
        };
        // Who defines kinds goes first: others may need them.
        let mut queue = focus.iter().filter(defines).chain(focus.iter().filter(|app| !defines(app)));
        let size = |app: &AppKey| {
            let objects = self.index.get(app).and_then(|claimed| claimed.objects.as_ref());
            objects.map_or(1, Vec::len)
        };
        let mut running = FuturesUnordered::new();
        let mut held = 0;
        let mut completing = None;
        loop {
            let has_room =
                |apps: usize, held: usize| apps < A_FEW || (apps < APPS_AT_ONCE && held < OBJECTS_AT_ONCE);
            while has_room(running.len(), held) && !round.stopped() {
                let Some(app) = queue.next() else { break };
                held += size(app);
                running.push(pass.entry(app));
            }
            if completing.is_none() && round.completed() >= COMPLETED_AT_ONCE {
                completing = Some(Box::pin(round.complete()));
            }
            // All of them share the target's room: whoever is not polled keeps what room it has from the others.
            let stored = async {
                match &mut completing {
                    Some(storing) => storing.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                app = running.next() => {
                    let Some(app) = app else { break };
                    held -= size(&app.app);
                    if app.steps.hands_over() {
                        deferred.push(app)
                    } else {
                        done.push(app)
                    }
                }
                why = stored => {
                    completing = None;
                    unstored.extend(why);
                }
            }
        }
        drop(running);
        if let Some(storing) = completing {
            unstored.extend(storing.await);
        }
        let not_looked_at: Vec<_> = queue.cloned().collect();
        deferred.extend(pass.others(&focus, look, &self.kept.leaving));
        let mut waiting = deferred.into_iter();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < APPS_AT_ONCE {
                let Some(app) = waiting.next() else { break };
                running.push(pass.settle(app));
            }
            let Some(app) = running.next().await else { break };
            done.push(app);
        }
        drop(running);
        unstored.extend(round.complete().await);
        Turns { done, unstored, not_looked_at }
    }
}

/// The kinds of all that is ours, and where it is.
fn owned(inventories: &BTreeMap<AppKey, Inventory>) -> Owned {
    let mut owned = Owned::new();
    for key in inventories.values().flat_map(|inventory| &inventory.objects) {
        let namespaces = owned.entry((key.group.clone(), key.kind.clone())).or_default();
        if !namespaces.contains(&key.namespace) {
            namespaces.insert(key.namespace.clone());
        }
    }
    owned
}
