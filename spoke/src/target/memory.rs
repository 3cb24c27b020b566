//! A target in memory: for the simulator, and for tests that play what a real one does rarely.
//!
//! In: what every target is told, and switches that a test flips. Out: the same answers as from a real target, and
//! everything that happened. Never: reads a clock, does I/O, forgets what happened to an object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fastrand::Rng;
use nave_placement::fleet::Facts;
use nave_placement::render::{Resolved, Scope, Scopes};
use nave_placement::{AppKey, ObjectKey};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, watch};

use super::ask::images::Running;
use super::ask::plain::{self, There};
use super::ask::{Answer, Inquiry, Question, Refusal};
use super::{
    Applied, Behalf, Changed, Claims, Deleted, Health, HealthState, Inventory, Missing, Owned, Rebuilt, Seen,
    Target, TargetError, Write, builtin,
};
use crate::pause::Pauses;
use crate::plan::{ClaimedObject, Terms, digest, runs};

mod owned;

/// Answers that are on their way at once while it dawdles.
const ROOM: usize = 4;

/// An object in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// What it is now.
    pub live: Value,
    /// What we wrote last, if we ever did.
    pub applied: Option<Value>,
    /// Our mark: whose it is.
    pub app: Option<AppKey>,
    /// How it is.
    pub health: Health,
    /// It was deleted, and a finalizer holds it.
    pub terminating: bool,
    /// The fields that our last write made ours, as it wrote them; by JSON pointer.
    pub ours: Map<String, Value>,
    /// Who else set which field last.
    pub others: BTreeMap<String, String>,
}

/// How often the target was asked what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `inventories`.
    pub inventories: u64,
    /// `observe`.
    pub observe: u64,
    /// `apply`.
    pub apply: u64,
    /// `delete`.
    pub delete: u64,
    /// `orphan`.
    pub orphan: u64,
    /// `store_inventory` and `forget_inventory`.
    pub inventory_writes: u64,
    /// `discover`.
    pub discover: u64,
    /// `answer`.
    pub answer: u64,
}

/// What happened to an object, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was created for an app.
    Created(AppKey, ObjectKey),
    /// It was written for an app.
    Changed(AppKey, ObjectKey),
    /// It was deleted as an app's.
    Deleted(AppKey, ObjectKey),
    /// It became nobody's.
    Orphaned(ObjectKey),
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<ObjectKey, Held>,
    inventories: BTreeMap<AppKey, Inventory>,
    served: BTreeMap<(String, String), Scope>,
    events: Vec<Event>,
    calls: Calls,
    unreachable: Option<String>,
    refused: BTreeMap<ObjectKey, TargetError>,
    hidden: BTreeSet<ObjectKey>,
    unlisted: BTreeSet<ObjectKey>,
    finalized: BTreeSet<ObjectKey>,
    overdue: BTreeSet<ObjectKey>,
    immutable: BTreeMap<ObjectKey, String>,
    /// Manager, what it makes of the object, and how often that was put back.
    fighters: BTreeMap<ObjectKey, (String, Value, u32)>,
    watched: BTreeSet<(String, String)>,
    changed: Changed,
    dawdle: Option<Rng>,
    /// Hooks take their time.
    runs: bool,
}

/// A target in memory. Clones of its `Arc` see the same objects; dropping what uses it and going on with the same
/// target is a restart.
#[derive(Debug)]
pub struct MemoryTarget {
    uid: String,
    state: Mutex<State>,
    room: Semaphore,
    changes: watch::Sender<u64>,
    /// Questions get no answer while this is set.
    silent: watch::Sender<bool>,
}

impl MemoryTarget {
    /// An empty one.
    pub fn new(uid: impl Into<String>) -> Self {
        let (changes, silent) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { uid: uid.into(), state: Mutex::default(), room: Semaphore::new(ROOM), changes, silent }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while holding it says more than the poison would.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watchers, as a real target would after a change of what is ours.
    fn tell(&self, what: impl FnOnce(&mut Changed)) {
        what(&mut self.state().changed);
        self.changes.send_modify(|count| *count += 1);
    }

    fn tell_of(&self, key: &ObjectKey) {
        self.tell(|changed| changed.objects.extend([key.clone()]));
    }

    /// From now on answers come in an order that chance decides, a few at once, as a server with little room gives them;
    /// `None` ends it.
    pub fn dawdle(&self, seed: Option<u64>) {
        self.state().dawdle = seed.map(Rng::with_seed);
    }

    async fn take_time(&self) {
        let Some(turns) = self.state().dawdle.as_mut().map(|rng| rng.u32(0..4)) else { return };
        // It is never closed.
        let _room = self.room.acquire().await;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    /// From now on every call fails with these words; `None` ends it.
    pub fn set_unreachable(&self, why: Option<&str>) {
        self.state().unreachable = why.map(str::to_owned);
        self.tell(|changed| changed.all = true);
    }

    /// From now on a hook that is created is under way until it is told how it is ([`MemoryTarget::set_health`]).
    pub fn run_hooks(&self) {
        self.state().runs = true;
    }

    /// Whether questions wait, unanswered; everything else goes on.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// Whether a search for lost inventories cannot see this object, and says so.
    pub fn set_unlisted(&self, key: &ObjectKey, unlisted: bool) {
        let mut state = self.state();
        if unlisted {
            state.unlisted.insert(key.clone())
        } else {
            state.unlisted.remove(key)
        };
    }

    /// Refuses every write of this object with these words; `None` ends it.
    pub fn refuse(&self, key: &ObjectKey, why: Option<&str>) {
        self.refuse_with(key, why.map(|why| TargetError::Refused(why.to_owned())));
    }

    /// Every write of this object fails so; `None` ends it.
    pub fn refuse_with(&self, key: &ObjectKey, why: Option<TargetError>) {
        let mut state = self.state();
        match why {
            Some(why) => state.refused.insert(key.clone(), why),
            None => state.refused.remove(key),
        };
    }

    /// Whether this object's state can be seen.
    pub fn hide(&self, key: &ObjectKey, hidden: bool) {
        let mut state = self.state();
        if hidden {
            state.hidden.insert(key.clone())
        } else {
            state.hidden.remove(key)
        };
    }

    /// Whether a finalizer holds this object when it is deleted. Taking it away ends a deletion that waits for it.
    pub fn finalize(&self, key: &ObjectKey, held: bool) {
        let mut state = self.state();
        if held {
            state.finalized.insert(key.clone());
        } else {
            state.finalized.remove(key);
            if state.objects.get(key).is_some_and(|held| held.terminating) {
                state.objects.remove(key);
            }
        }
        drop(state);
        self.tell_of(key);
    }

    /// From now on this object has been on its way out for longer than its app allows.
    pub fn keep_waiting(&self, key: &ObjectKey) {
        self.state().overdue.insert(key.clone());
    }

    /// Somebody else changes an object, marks untouched; or makes one that is not ours.
    pub fn edit(&self, key: &ObjectKey, live: Value) {
        self.edit_as("somebody", key, live);
    }

    /// As [`MemoryTarget::edit`], by a manager with this name.
    pub fn edit_as(&self, manager: &str, key: &ObjectKey, live: Value) {
        self.state().objects.entry(key.clone()).or_insert_with(Held::foreign).edited(manager, live);
        self.tell_of(key);
    }

    /// From now on this manager makes the object so after each of our writes.
    pub fn fight_as(&self, manager: &str, key: &ObjectKey, live: Value) {
        self.state().fighters.insert(key.clone(), (manager.to_owned(), live.clone(), 0));
        self.edit_as(manager, key, live);
    }

    /// From now on a change of this field (a JSON pointer) is refused.
    pub fn fix(&self, key: &ObjectKey, pointer: &str) {
        self.state().immutable.insert(key.clone(), pointer.to_owned());
    }

    /// Somebody deletes an app's inventory.
    pub fn lose_inventory(&self, app: &AppKey) {
        self.state().inventories.remove(app);
    }

    /// Somebody else deletes an object.
    pub fn remove(&self, key: &ObjectKey) {
        self.state().objects.remove(key);
        self.tell_of(key);
    }

    /// How an object is from now on.
    pub fn set_health(&self, key: &ObjectKey, health: Health) {
        if let Some(held) = self.state().objects.get_mut(key) {
            held.health = health;
        }
        self.tell_of(key);
    }

    /// All objects.
    pub fn objects(&self) -> BTreeMap<ObjectKey, Held> {
        self.state().objects.clone()
    }

    /// All inventories, without counting as a call.
    pub fn stored(&self) -> BTreeMap<AppKey, Inventory> {
        self.state().inventories.clone()
    }

    /// Everything that happened.
    pub fn events(&self) -> Vec<Event> {
        self.state().events.clone()
    }

    /// How often it was asked what.
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// Which kinds are watched.
    pub fn watched(&self) -> BTreeSet<(String, String)> {
        self.state().watched.clone()
    }
}

/// Kubernetes' own kinds, and those that were defined when it was last asked.
#[derive(Debug)]
struct Served(BTreeMap<(String, String), Scope>);

impl Scopes for Served {
    fn scope(&self, group: &str, kind: &str) -> Option<Scope> {
        let defined = || self.0.get(&(group.to_owned(), kind.to_owned())).copied();
        builtin::scope(group, kind).or_else(defined)
    }
}

/// Group, kind and scope that a CustomResourceDefinition defines.
fn definition(object: &Value) -> Option<((String, String), Scope)> {
    let spec = object.get("spec")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let kind = text(spec.get("names").and_then(|names| names.get("kind")))?;
    let scope = if text(spec.get("scope"))? == "Cluster" { Scope::Cluster } else { Scope::Namespaced };
    Some(((text(spec.get("group"))?, kind), scope))
}

impl State {
    fn reached(&self) -> Result<(), TargetError> {
        self.unreachable.as_ref().map_or(Ok(()), |why| Err(TargetError::Unreachable(why.clone())))
    }

    fn accepts(&self, key: &ObjectKey) -> Result<(), TargetError> {
        self.reached()?;
        self.refused.get(key).map_or(Ok(()), |why| Err(why.clone()))
    }

    fn look(&self, of: Behalf<'_>, wanted: &Resolved) -> Result<Seen, TargetError> {
        self.reached()?;
        let terms = Terms::of(of.treatment, wanted).map_err(TargetError::Refused)?;
        if self.hidden.contains(&wanted.key) {
            return Err(TargetError::Unreachable("no answer in time".into()));
        }
        let Some(held) = self.objects.get(&wanted.key) else {
            return Ok(Seen::Absent);
        };
        let corrections = self.fighters.get(&wanted.key).map_or(0, |(.., corrections)| *corrections);
        Ok(held.seen(of.app, wanted, &terms, corrections))
    }

    fn apply(&mut self, of: Behalf<'_>, object: &Resolved, how: Write) -> Result<Applied, TargetError> {
        let (app, key) = (of.app, &object.key);
        self.accepts(key)?;
        let terms = Terms::of(of.treatment, object).map_err(TargetError::Refused)?;
        if let Some(pointer) = self.immutable.get(key)
            && let Some(held) = self.objects.get(key)
            && held.live.pointer(pointer) != object.object.pointer(pointer)
        {
            return Err(TargetError::Immutable(format!("{pointer} cannot be changed")));
        }
        let Some(held) = self.objects.get_mut(key) else {
            let mut held = Held::created(app, &object.object, &terms);
            if self.runs && runs(object) {
                let (state, reason) = (HealthState::Progressing, "Running".to_owned());
                held.health = Health { state, reason, message: "0 of 1 completions".to_owned() };
            }
            self.objects.insert(key.clone(), held);
            self.events.push(Event::Created(app.clone(), key.clone()));
            return Ok(Applied::Created);
        };
        if !held.write(app, object, &terms, how)? {
            return Ok(Applied::Unchanged);
        }
        if let Some((manager, live, corrections)) = self.fighters.get_mut(key) {
            *corrections = if how.corrects { *corrections + 1 } else { 0 };
            held.edited(manager, live.clone());
        }
        self.events.push(Event::Changed(app.clone(), key.clone()));
        Ok(Applied::Changed)
    }

    fn delete(&mut self, app: &AppKey, key: &ObjectKey) -> Result<Deleted, TargetError> {
        self.accepts(key)?;
        let Some(held) = self.objects.get_mut(key) else {
            return Ok(Deleted::Absent);
        };
        if held.app.as_ref() != Some(app) {
            return Ok(Deleted::NotOurs(format!("it is not {app}'s")));
        }
        if self.finalized.contains(key) {
            held.terminating = true;
            let stuck = self.overdue.contains(key);
            return Ok(Deleted::Terminating { message: "a finalizer is at work".to_owned(), stuck });
        }
        self.objects.remove(key);
        self.events.push(Event::Deleted(app.clone(), key.clone()));
        Ok(Deleted::Gone)
    }

    fn orphan(&mut self, app: &AppKey, key: &ObjectKey) -> Result<(), TargetError> {
        self.accepts(key)?;
        if let Some(held) = self.objects.get_mut(key).filter(|held| held.app.as_ref() == Some(app)) {
            held.app = None;
            held.applied = None;
            held.ours.clear();
            self.events.push(Event::Orphaned(key.clone()));
        }
        Ok(())
    }
}

#[async_trait]
impl Target for MemoryTarget {
    fn describe(&self) -> String {
        format!("memory:{}", self.uid)
    }

    async fn uid(&self) -> Result<String, TargetError> {
        self.state().reached().map(|()| self.uid.clone())
    }

    async fn facts(&self) -> Facts {
        Facts::default()
    }

    fn scopes(&self) -> Arc<dyn Scopes + Send + Sync> {
        Arc::new(Served(self.state().served.clone()))
    }

    async fn discover(&self) -> Result<(), TargetError> {
        let mut state = self.state();
        state.calls.discover += 1;
        state.reached()?;
        let definitions = state.objects.iter().filter(|(key, _)| key.kind == "CustomResourceDefinition");
        state.served = definitions.filter_map(|(_, held)| definition(&held.live)).collect();
        Ok(())
    }

    async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        let mut state = self.state();
        state.calls.inventories += 1;
        state.reached().map(|()| state.inventories.clone())
    }

    async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError> {
        self.take_time().await;
        let mut state = self.state();
        state.calls.inventory_writes += 1;
        state.reached()?;
        state.inventories.insert(app.clone(), inventory.clone());
        Ok(())
    }

    async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError> {
        let mut state = self.state();
        state.calls.inventory_writes += 1;
        state.reached()?;
        state.inventories.remove(app);
        Ok(())
    }

    async fn survey(&self, claims: &dyn Claims) -> BTreeSet<ObjectKey> {
        let state = self.state();
        let calm = |object: &&ClaimedObject| {
            let held = state.objects.get(&object.key).filter(|_| state.reached().is_ok());
            held.is_some_and(|held| {
                held.app.is_some()
                    && held.health == Health::healthy()
                    && held.applied.as_ref() == Some(&held.live)
                    && digest(&held.live) == object.digest
            })
        };
        claims.objects().into_iter().filter(calm).map(|object| object.key.clone()).collect()
    }

    async fn observe(
        &self,
        of: Behalf<'_>,
        wanted: &[Resolved],
    ) -> BTreeMap<ObjectKey, Result<Seen, TargetError>> {
        self.take_time().await;
        let mut state = self.state();
        state.calls.observe += 1;
        wanted.iter().map(|object| (object.key.clone(), state.look(of, object))).collect()
    }

    async fn apply(&self, of: Behalf<'_>, object: &Resolved, how: Write) -> Result<Applied, TargetError> {
        self.take_time().await;
        let mut state = self.state();
        state.calls.apply += 1;
        state.apply(of, object, how)
    }

    async fn rebuild(&self, apps: &Missing) -> Rebuilt {
        let state = self.state();
        let mut found = Rebuilt { unknown: state.reached().err(), ..Rebuilt::default() };
        let wanted = |app: &AppKey| {
            [&apps.assigned, &apps.leaving, &apps.lost].into_iter().any(|apps| apps.contains(app))
        };
        for (key, held) in &state.objects {
            match held.app.as_ref().filter(|app| wanted(app)) {
                Some(_) if state.unlisted.contains(key) => {
                    found.unknown = Some(TargetError::Unreachable(format!("{key} is not listed")));
                }
                Some(app) => {
                    found.inventories.entry(app.clone()).or_default().objects.insert(key.clone());
                }
                None => {}
            }
        }
        found
    }

    async fn delete(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<Deleted, TargetError> {
        self.take_time().await;
        let mut state = self.state();
        state.calls.delete += 1;
        state.delete(of.app, key)
    }

    fn runs(&self) -> bool {
        self.state().runs
    }

    async fn make_way(&self, of: Behalf<'_>, object: &Resolved) -> Result<Deleted, TargetError> {
        self.take_time().await;
        let mut state = self.state();
        state.calls.delete += 1;
        state.delete(of.app, &object.key)
    }

    async fn orphan(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<(), TargetError> {
        self.take_time().await;
        let mut state = self.state();
        state.calls.orphan += 1;
        state.orphan(of.app, key)
    }

    async fn pauses(&self) -> Result<Pauses, TargetError> {
        self.state().reached()?;
        Ok(Pauses::default())
    }

    async fn answer(&self, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        self.state().calls.answer += 1;
        let mut silent = self.silent.subscribe();
        silent.wait_for(|silent| !silent).await.map_err(|_| Refusal("the target is gone".into()))?;
        let objects = {
            let state = self.state();
            state.reached()?;
            state.objects.clone()
        };
        let look = |wanted: &Resolved| {
            let held = objects.get(&wanted.key);
            Ok(held.map(|held| There { live: held.live.clone(), ours: held.app.is_some() }))
        };
        match &inquiry.question {
            Question::Objects(asked) => {
                let live = objects.iter().map(|(key, held)| (key.clone(), held.live.clone())).collect();
                plain::objects(asked, &inquiry.asker, live)
            }
            Question::Images => {
                let mut running = Running::default();
                let pods = objects.iter().filter(|(key, _)| key.group.is_empty() && key.kind == "Pod");
                pods.for_each(|(_, held)| running.take(&held.live));
                running.answer()
            }
            Question::Diff(_) => plain::diff(inquiry, look),
            Question::Adoption(_) => plain::adoption(inquiry, look),
            Question::Events(_) => Err(Refusal("nothing happens here that would be an event".into())),
            Question::Logs(_) => Err(Refusal("nothing runs here that would write a log".into())),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn changed(&self) -> Changed {
        std::mem::take(&mut self.state().changed)
    }

    fn watch_kinds(&self, owned: &Owned) {
        self.state().watched = owned.keys().cloned().collect();
    }
}
