//! The end of a simulation: everything is mended, time passes, and the fleet has to come to rest as it should be.
//!
//! In: a world in any state. Out: what is not as it should be. Never: approves a hold: what is held stays.

use std::collections::{BTreeMap, BTreeSet};

use nave_hub::state::State;
use nave_placement::assign::Generation;
use nave_placement::catalog::OnRemove;
use nave_placement::overrides::Variant;
use nave_placement::render::Bundle;
use nave_placement::report::EntryReason;
use nave_placement::rollout::Course;
use nave_placement::{AppKey, CatalogName, ObjectKey};

use super::spoke::{Spoke, entries};
use super::{Played, World, git, hub, trace};

/// Rounds of everything; more than any chain of causes is long.
const ROUNDS: usize = 200;
/// How often an operator tries again what was taken back or halted meanwhile.
const ATTEMPTS: usize = 4;
/// Rounds without a write of the hub after which nothing more comes.
const QUIET: usize = 3;
/// The same while a rollout is under way: longer than a cluster may take.
const DEADLINE: usize = 12;

impl World {
    /// Mends everything and lets time pass.
    pub(super) fn rest(&mut self) -> Result<Played, String> {
        for i in 0..self.spokes.len() {
            self.links[i].partitioned = false;
            self.spokes[i].target.set_unreachable(None);
            for object in 0..24 {
                self.spokes[i].target.refuse(&git::object_key(&format!("o{object}")), None);
            }
        }
        self.git.mend();
        for _ in 0..ATTEMPTS {
            self.pass()?;
            if !self.hub.retry(&mut self.oracle) {
                break;
            }
        }
        let state = self.hub.state().ok_or("the hub is down")?;
        if state.doubt.is_some() {
            return Err(format!("the doubt does not end: {:?}", state.doubt));
        }
        let mut objects = 0;
        for spoke in self.spokes.iter().filter(|spoke| !spoke.disk.detached) {
            converged(&state, spoke)?;
            objects += self.runs_what_is_wanted(&state, spoke)?;
        }
        self.hub.retold()?;
        let stuck = state.rollouts.values().filter(|course| is_stuck(course)).count();
        let apps = state.rollouts.len();
        let holds = state.holds.len();
        let losses = self.hub.lost;
        Ok(Played { deletions: self.oracle.deletions, losses, holds, objects, apps, stuck })
    }

    /// Time passes until nothing changes any more.
    fn pass(&mut self) -> Result<(), String> {
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let before = self.hub.written();
            self.everything()?;
            quiet = if self.hub.written() == before { quiet + 1 } else { 0 };
            // Time alone may bring a rollout further.
            let patience =
                if self.hub.state().is_some_and(|state| is_rolling(&state)) { DEADLINE } else { QUIET };
            if quiet >= patience {
                break;
            }
        }
        Ok(())
    }

    /// Everybody has a turn.
    fn everything(&mut self) -> Result<(), String> {
        self.now_ms += 60_000;
        self.hub.set_clock(self.now_ms);
        if !self.hub.is_up() {
            self.hub.start();
        }
        if self.hub.state().is_some_and(|state| state.doubt.is_some()) {
            while self.hub.write(&mut self.oracle) {}
            self.hub.accept_restore();
        } else {
            self.hub.decide(&mut self.git, &BTreeSet::new(), &mut self.oracle);
        }
        while self.hub.write(&mut self.oracle) {}
        for i in 0..self.spokes.len() {
            let mut said = vec![self.connect(i), self.connect(i), self.offer(i)];
            for _ in 0..12 {
                let ids: Vec<u64> = self.links[i].streams.iter().map(|stream| stream.id).collect();
                said.extend(ids.iter().map(|id| self.deliver_up(i, *id)));
                said.extend(ids.iter().map(|id| self.deliver_down(i, *id)));
                let actions = self.spokes[i].persist();
                self.act(i, actions);
            }
            said.push(self.fetch(i));
            self.apply(i, i64::MAX);
            said.push(format!("{}: {:?}", self.spokes[i].name, self.spokes[i].target.stored()));
            if trace() {
                said.iter().filter(|said| !said.is_empty()).for_each(|said| eprintln!("rest: {said}"));
            }
        }
        self.oracle.failure().map_or(Ok(()), |failure| Err(format!("at rest: {failure}")))
    }

    fn runs_what_is_wanted(&self, state: &State, spoke: &Spoke) -> Result<usize, String> {
        let name = &spoke.name;
        if !hub::members(state).contains(name) {
            return Ok(0);
        }
        let head = state.heads.get(&CatalogName::root()).ok_or("nothing was ever taken")?;
        let commit = &self.git.commits[self.git.find(&head.commit)];
        let env = state.members[name].membership.labels.get("env").cloned().unwrap_or_default();
        let held: BTreeSet<&AppKey> = state
            .holds
            .values()
            .flat_map(|hold| &hold.hold.entries)
            .filter(|(_, cluster)| cluster == name)
            .map(|(app, _)| app)
            .collect();
        let entries = entries(&spoke.disk.held.assignment.entries);
        let wanted: BTreeMap<AppKey, &git::Model> = commit
            .apps
            .iter()
            .filter(|(_, model)| model.env.is_empty() || model.env == env)
            .map(|(name, model)| (git::key(name), model))
            .collect();
        // What nobody gets well with stays at what it was: there is not much of that.
        let lead = |app: &AppKey| git::lead(commit, app);
        let is_stuck = |app: &AppKey| state.rollouts.get(&lead(app)).is_some_and(|course| is_stuck(course));
        for (app, model) in wanted.iter().filter(|(app, _)| !is_stuck(app)) {
            let form = state.forms.get(&((*app).clone(), Variant::default()));
            let entry = entries.get(app).and_then(|entry| entry.as_ref().ok());
            if form.is_some() && entry.is_none() || form.is_none() && !model.broken {
                let (form, entry) = (form.is_some(), entry.is_some());
                return Err(format!(
                    "{name}: {app} is wanted: form {form}, entry {entry}, {model:?}, {}",
                    course(state, &lead(app))
                ));
            }
            if form.zip(entry).is_some_and(|(form, entry)| form.record.version != entry.version) {
                return Err(format!(
                    "{name}: {app} is not at the version in effect: {}",
                    course(state, &lead(app))
                ));
            }
        }
        // An app under a new name of which nothing could be rendered yet: under its former name it stays as it is.
        let formless = |app: &AppKey| !state.forms.contains_key(&(app.clone(), Variant::default()));
        let awaiting: BTreeSet<AppKey> = wanted
            .iter()
            .filter(|(app, _)| formless(app) || is_stuck(app))
            .flat_map(|(_, model)| model.formerly.iter().map(|old| git::key(old)))
            .collect();
        // What a stuck app is to take over stays with who has it.
        let taken: BTreeSet<ObjectKey> = wanted
            .iter()
            .filter(|(app, _)| is_stuck(app))
            .flat_map(|(_, model)| model.objects.keys().map(|name| git::object_key(name)))
            .collect();
        let hands_over = |app: &AppKey| {
            let entry = entries.get(app).and_then(|entry| entry.as_ref().ok());
            let bytes = entry.and_then(|entry| spoke.disk.bundles.get(&entry.bundle));
            let bundle = bytes.and_then(|bytes| Bundle::read(bytes.to_vec()).ok());
            bundle.is_some_and(|bundle| !bundle.objects.is_disjoint(&taken))
        };
        let has_reason = |app: &AppKey| {
            let known = wanted.contains_key(app) || held.contains(app) || awaiting.contains(app);
            known || is_stuck(app) || hands_over(app)
        };
        if let Some(app) = entries.keys().find(|app| !has_reason(app)) {
            return Err(format!("{name}: {app} is neither wanted nor held: {}", course(state, &lead(app))));
        }
        self.objects(spoke, commit, &wanted, &held)
    }

    /// Compares the target with what the entries say, where nothing stands in their way.
    fn objects(
        &self,
        spoke: &Spoke,
        commit: &git::Commit,
        wanted: &BTreeMap<AppKey, &git::Model>,
        held: &BTreeSet<&AppKey>,
    ) -> Result<usize, String> {
        let name = &spoke.name;
        // An app whose newest text cannot be rendered claims what it did before.
        let rollouts = self.hub.state().map(|state| state.rollouts).unwrap_or_default();
        let stuck =
            |app: &AppKey| rollouts.get(&git::lead(commit, app)).is_some_and(|course| is_stuck(course));
        let any_stuck = rollouts.values().any(|course| is_stuck(course));
        let unrendered = commit.apps.values().any(|model| model.broken);
        let report = spoke.core.as_ref().map(|core| core.report().clone()).ok_or("the spoke is down")?;
        let is_well = |app: &AppKey| {
            let told = report.entries.get(app).map(|entry| entry.reason);
            told == Some(EntryReason::None)
        };
        // With its group it waits for what any of that waits for.
        let waits_for_others = |app: &AppKey| {
            let group = git::together(commit, app);
            let models = group.iter().filter_map(|app| commit.apps.get(app.name()));
            models.flat_map(|model| model.first.keys()).any(|first| !is_well(&git::key(first)))
        };
        let live = spoke.target.objects();
        // In a freeze what had begun before it is as it should be, and says that a change waits.
        let enforced = spoke.enforced();
        let mut claimed: BTreeMap<ObjectKey, AppKey> = BTreeMap::new();
        for (app, entry) in entries(&enforced.assignment.entries) {
            let entry = entry.map_err(|error| format!("{name}: {app}: {error}"))?;
            let bytes =
                spoke.disk.bundles.get(&entry.bundle).ok_or(format!("{name}: {app} lacks its bundle"))?;
            let bundle = Bundle::read(bytes.to_vec()).map_err(|error| error.to_string())?;
            let told = report.entries.get(&app).or_else(|| report.leaving.get(&app));
            let reason = told.map(|entry| entry.reason);
            let excused = match reason {
                Some(EntryReason::None) => false,
                // It waits for an app that is not well either, or has not come.
                Some(EntryReason::DependencyNotReady) if waits_for_others(&app) => true,
                // It hands objects over to an app that waits.
                Some(EntryReason::DependencyNotReady)
                    if told.is_some_and(|told| told.message.starts_with("it hands objects over to app "))
                        && enforced.waiting.iter().any(|other| *other != app && waits_for_others(other)) =>
                {
                    true
                }
                // Its group did not come through, and is tried again after hours.
                Some(EntryReason::GroupReturned) => true,
                Some(EntryReason::Frozen) | None if enforced.waiting.contains(&app) => true,
                // Held drops, a held app whose object moved away and then went, leftovers of what a lost state knew: all of
                // them wait for somebody, but for those of an app that cannot be rendered.
                Some(EntryReason::PruneRefused) => {
                    let broken = wanted.get(&app).is_none_or(|model| model.broken);
                    held.contains(&app) || self.drops_held(&app) || broken || stuck(&app)
                }
                Some(EntryReason::ClaimedTwice) => !held.is_empty() || unrendered || any_stuck,
                // Another owner's content on an object that we let go; and who hands an object to such an app waits for it.
                Some(EntryReason::Conflict | EntryReason::HandingOver) => true,
                other => return Err(format!("{name}: {app} is not at rest: {other:?} {report:#?}")),
            };
            if !excused && reason != Some(EntryReason::None) {
                return Err(format!("{name}: {app} is {reason:?}: {:?}", report.entries.get(&app)));
            }
            for key in bundle.objects.iter() {
                if !excused && live.get(key).and_then(|held| held.app.as_ref()) != Some(&app) {
                    return Err(format!("{name}: {key} of {app} is not there: {:?}", live.get(key)));
                }
                claimed.insert(key.clone(), app.clone());
            }
        }
        for (key, object) in &live {
            let Some(owner) = object.app.as_ref().filter(|_| !claimed.contains_key(key)) else { continue };
            let refused = report.entries.values().any(|entry| {
                matches!(
                    entry.reason,
                    EntryReason::PruneRefused
                        | EntryReason::ClaimedTwice
                        | EntryReason::Conflict
                        | EntryReason::GroupReturned
                )
            });
            let unassigned = report.unassigned.contains(owner) && self.oracle.lost;
            if !refused && !unassigned {
                let leaving =
                    spoke.disk.held.assignment.leaving.get(owner).map(|l| l.policy == OnRemove::Delete);
                return Err(format!(
                    "{name}: {key} of {owner} is left over (leaving: {leaving:?}): {report:#?}"
                ));
            }
        }
        let leaving = &enforced.assignment.leaving;
        if !leaving.is_empty() && !self.oracle.lost {
            return Err(format!("{name}: {leaving:?} does not leave: {report:#?}"));
        }
        Ok(claimed.len())
    }

    fn drops_held(&self, app: &AppKey) -> bool {
        use nave_placement::guard::HoldCause;
        let holds = self.hub.state().map(|state| state.holds).unwrap_or_default();
        holds.values().any(|hold| matches!(&hold.hold.cause, HoldCause::Objects { app: held } if held == app))
    }
}

/// How an app moves, for whoever reads a failure.
fn course(state: &State, app: &AppKey) -> String {
    state.rollouts.get(app).map_or("no course".to_owned(), |course| format!("{:?}", course.record))
}

/// Whether a rollout is under way.
fn is_rolling(state: &State) -> bool {
    state.rollouts.values().any(|course| course.current.is_some())
}

/// Whether, once all is quiet, only an operator or another version brings an app further.
pub(super) fn is_stuck(course: &Course) -> bool {
    course.block.is_some() || course.current.is_some()
}

/// The hub's view of a spoke is what the spoke holds.
fn converged(state: &State, spoke: &Spoke) -> Result<(), String> {
    let name = &spoke.name;
    if !hub::members(state).contains(name) {
        return Ok(());
    }
    let (told, held) = (&state.told(name).assignment.clone(), &spoke.disk.held.assignment);
    let never = told.generation == Generation(0) && held.generation == Generation(0);
    if !never && (told.order() != held.order() || told.digest() != held.digest()) {
        return Err(format!("{name} holds {:?}, the hub told {:?}", held.order(), told.order()));
    }
    let Some(core) = &spoke.core else { return Err(format!("{name} is down")) };
    let reported = state.reports.get(name).map(|report| report.digest());
    if reported != Some(core.report().digest()) {
        return Err(format!("{name}: the hub's report differs from the spoke's"));
    }
    Ok(())
}
