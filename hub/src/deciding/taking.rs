//! Taking: the states of remotes come into effect.
//!
//! In: what was observed of remotes, in which states they are in effect. Out: records, and which apps are something else now.
//! Never: takes a commit that its mirror does not keep; lets go of one that an app may return to.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::catalog::{Catalog, Problem, Remote, RemoteId, SourceAt, Sources as States};
use tracing::info;

use super::core::json;
use super::unkept::Unkept;
use crate::sources::{Observed, SourceRecord, Sources};
use crate::state::records::key;
use crate::state::{CommitError, Ledger, State, Step};
use crate::store::{Batch, MAX_OPERATIONS};

/// The remotes that the apps of a revision name.
#[derive(Debug, Default)]
pub(super) struct Following {
    apps: BTreeMap<Remote, BTreeSet<AppKey>>,
    /// And of what apps were by earlier commits, as long as something is to be that.
    earlier: BTreeMap<Remote, BTreeSet<AppKey>>,
    /// What was known of them when it was looked at last.
    observed: Arc<Observed>,
    /// The states that are known to be pinned.
    pinned: BTreeMap<Remote, SourceAt>,
    /// Those that cannot be.
    unkept: Unkept,
    /// Apps that are to be rendered again: what was taken of their remotes is written, or about to be.
    owed: BTreeSet<AppKey>,
    /// Why a remote that was never brought is not there, as its apps say it.
    told: BTreeMap<Remote, String>,
    /// What nothing names was removed since the start.
    is_cleared: bool,
}

impl Following {
    /// With these beside them.
    pub fn add(&mut self, remotes: BTreeMap<Remote, BTreeSet<AppKey>>) {
        for (remote, apps) in remotes {
            self.apps.entry(remote).or_default().extend(apps);
        }
    }

    /// Without what these apps name.
    pub fn without(&mut self, gone: impl Fn(&AppKey) -> bool) {
        self.apps.retain(|_, apps| {
            apps.retain(|app| !gone(app));
            !apps.is_empty()
        });
    }

    /// These and no others are named beside the revision's.
    pub fn earlier(&mut self, remotes: BTreeMap<Remote, BTreeSet<AppKey>>) {
        self.earlier = remotes;
    }

    /// Another revision is in effect.
    pub fn clear(&mut self) {
        let Self { earlier, observed, pinned, unkept, is_cleared, .. } = std::mem::take(self);
        *self = Self { earlier, observed, pinned, unkept, is_cleared, ..Self::default() };
    }

    /// When what could not be kept is tried again, Unix milliseconds.
    pub fn due_ms(&self) -> Option<u64> {
        self.unkept.due_ms
    }

    /// The apps that name it are to be rendered again.
    fn owe(&mut self, remote: &Remote) {
        let apps = [&self.apps, &self.earlier].into_iter().filter_map(|apps| apps.get(remote));
        self.owed.extend(apps.flatten().cloned());
    }

    /// What was known of them when it was looked at last, and whether one was not asked yet.
    pub fn looked_at(&self) -> (Arc<Observed>, bool) {
        let is_awaited = self.all().any(|remote| !self.observed.0.contains_key(remote));
        (self.observed.clone(), is_awaited)
    }

    /// All of them.
    pub fn remotes(&self) -> BTreeSet<Remote> {
        self.all().cloned().collect()
    }

    fn all(&self) -> impl Iterator<Item = &Remote> {
        self.apps.keys().chain(self.earlier.keys())
    }

    /// Those that cannot be asked now, where apps keep what they have of them; and those whose state cannot be kept.
    pub fn complaints(&self, catalog: &Catalog, in_effect: &States) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (remote, apps) in &self.apps {
            let at = in_effect.get(&remote.id());
            let seen = self.observed.0.get(remote).and_then(|seen| seen.error.as_ref());
            let stays =
                at.zip(seen).map(|(at, error)| format!("its source stays at {}: {error}", at.short()));
            let unkept = self.unkept.complaint(remote, at);
            for (effective, _) in apps.iter().filter_map(|app| catalog.app_of(app)) {
                let object = &effective.object;
                let problem =
                    |message: &String| Problem::at(&object.origin, message.clone()).of(Some(&object.id));
                problems.extend(stays.as_ref().map(|stays| problem(stays).warning()));
                problems.extend(unkept.as_ref().map(problem));
            }
        }
        problems
    }
}

/// Takes what was observed into effect; gives the apps that have to be rendered again.
pub(super) async fn take(
    ledger: &Ledger,
    sources: &Sources,
    following: &mut Following,
) -> Result<BTreeSet<AppKey>, CommitError> {
    let (observed, now_ms) = (sources.observed().borrow().clone(), ledger.now_ms());
    following.observed = observed.clone();
    let is_due = following.unkept.begin(now_ms);
    let mut moved = Vec::new();
    for (remote, seen) in &observed.0 {
        let held = ledger.state().sources.get(&remote.id()).map(|record| record.at.clone());
        match &seen.at {
            // A mirror may be another one than when it was taken.
            Some(at) if held.as_ref() != Some(at) || following.pinned.get(remote) != Some(at) => {
                if !is_due && following.unkept.waits(remote, at) {
                    continue;
                }
                if let Err(error) = sources.pin(remote, at).await {
                    following.unkept.add(remote, at, error, now_ms);
                    continue;
                }
                following.unkept.remove(remote);
                following.pinned.insert(remote.clone(), at.clone());
                if held.as_ref() == Some(at) {
                    continue;
                }
                info!(remote = remote.shown(), state = %at, "the source moved");
                moved.push((remote.clone(), at.clone()));
                following.owe(remote);
            }
            Some(_) => following.unkept.remove(remote),
            None => {
                let told = seen.error.as_ref().filter(|error| following.told.get(remote) != Some(error));
                if let Some(error) = told {
                    following.told.insert(remote.clone(), error.clone());
                    following.owe(remote);
                }
            }
        }
    }
    following.unkept.settled();
    for moved in moved.chunks(MAX_OPERATIONS) {
        let put = |batch: Batch, (remote, at): &(Remote, SourceAt)| {
            let record = SourceRecord { remote: remote.clone(), at: at.clone(), since_ms: now_ms };
            batch.put(key::source(&remote.id()), json(&record))
        };
        ledger.commit(Step::SourcesTaken, moved.iter().fold(Batch::new(), put)).await?;
    }
    if !moved.is_empty() {
        let used = used(&ledger.state());
        sources.keep(&used).await;
    }
    Ok(std::mem::take(&mut following.owed))
}

/// Forgets in which states remotes are that nobody names any more. `following` has all that are named.
pub(super) async fn forget(
    ledger: &Ledger,
    sources: &Sources,
    following: &mut Following,
) -> Result<(), CommitError> {
    let followed = following.remotes();
    following.pinned.retain(|remote, _| followed.contains(remote));
    following.unkept.retain(&followed);
    let mut named: BTreeSet<RemoteId> = followed.iter().map(Remote::id).collect();
    // What could not be rendered now may have named what it depends on before, and a tenant's catalog may not be at hand.
    {
        let state = ledger.state();
        for form in state.forms.values() {
            named.extend(
                form.source_at.iter().map(|(remote, _)| remote).chain(form.dependencies.keys()).cloned(),
            );
        }
    }
    let gone: Vec<RemoteId> =
        ledger.state().sources.keys().filter(|remote| !named.contains(*remote)).cloned().collect();
    for gone in gone.chunks(MAX_OPERATIONS) {
        let delete = |batch: Batch, remote: &RemoteId| batch.delete(key::source(remote));
        ledger.commit(Step::SourcesTaken, gone.iter().fold(Batch::new(), delete)).await?;
    }
    // What the last hub left, too.
    if !gone.is_empty() || !std::mem::replace(&mut following.is_cleared, true) {
        let used = used(&ledger.state());
        sources.keep(&used).await;
        sources.clear(&used).await;
    }
    Ok(())
}

/// The states that something names: what is in effect, what runs, and all that an app may return to.
pub(super) fn used(state: &State) -> BTreeSet<Arc<str>> {
    let courses = state.rollouts.values().map(|course| &*course.record);
    let completed = courses.clone().filter_map(|course| course.completed.as_ref()).map(|one| &one.sources);
    let versions = courses.flat_map(|course| &course.versions).map(|version| &version.sources);
    let pins = state.pins.values().map(|pin| &pin.sources);
    let plans = state.plans.values().map(|plan| &plan.sources);
    let named = completed.chain(versions).chain(pins).chain(plans).flat_map(BTreeMap::values);
    let in_effect = state.sources.values().map(|record| &record.at);
    let forms = state.forms.values();
    let forms =
        forms.flat_map(|form| form.source_at.iter().map(|(_, at)| at).chain(form.dependencies.values()));
    let mut used: BTreeSet<Arc<str>> = named.chain(in_effect).chain(forms).map(|at| at.id.clone()).collect();
    // A cluster that is offline for long has what nothing else names. Clusters share entries: each is read once.
    let mut seen = HashSet::new();
    for told in state.told.values() {
        let previous = told.changes.values().filter_map(|change| change.previous.as_ref());
        for entry in told.assignment.entries.values().chain(previous) {
            if seen.insert(entry.digest)
                && let Some(at) =
                    nave_proto::decode_entry(&entry.bytes).ok().and_then(|entry| entry.source_at)
            {
                used.insert(at.id);
            }
        }
    }
    used
}
