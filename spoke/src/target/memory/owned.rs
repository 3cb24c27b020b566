//! Owned: whose the fields of an object in memory are, by the rules that an API server has for server-side apply.
//!
//! In: an object as it is held, a wanted one, its [`Terms`]. Out: what is seen of it, what a write makes of it.
//! Never: knows keyed lists (a list is one field); reads a clock.

use std::collections::BTreeMap;

use nave_placement::AppKey;
use nave_placement::catalog::{Adopt, Conflicts};
use nave_placement::render::Resolved;
use serde_json::{Map, Value};

use super::Held;
use crate::observe::changes::{FieldChange, hide, leaves, steps, told, without};
use crate::plan::{Ignored, Terms, made_for};
use crate::target::{Contact, Foreign, Found, Seen, TargetError, Write};

/// Corrections of the same fields after which it is a fight.
const ROUNDS: u32 = 3;

impl Held {
    /// An object that we made.
    pub(super) fn created(app: &AppKey, object: &Value, terms: &Terms) -> Self {
        let mut held = Self::foreign();
        held.live = object.clone();
        held.own(app, object, leaves(&without(object, terms.ignored_fields())));
        held
    }

    /// An object without content that is nobody's.
    pub(super) fn foreign() -> Self {
        Self {
            live: Value::Null,
            applied: None,
            app: None,
            health: super::Health::healthy(),
            terminating: false,
            ours: Map::new(),
            others: BTreeMap::new(),
        }
    }

    fn own(&mut self, app: &AppKey, object: &Value, ours: Map<String, Value>) {
        self.others.retain(|pointer, _| !ours.contains_key(pointer));
        self.applied = Some(object.clone());
        self.app = Some(app.clone());
        self.ours = ours;
    }

    /// Somebody else makes the object what it is now.
    pub(super) fn edited(&mut self, manager: &str, live: Value) {
        let before = leaves(&self.live);
        let after = leaves(&live);
        let changed = after.iter().filter(|(pointer, value)| before.get(*pointer) != Some(value));
        for (pointer, _) in changed {
            self.others.insert(pointer.clone(), manager.to_owned());
        }
        self.others.retain(|pointer, _| after.contains_key(pointer));
        self.live = live;
    }

    /// What is seen of it by an app that wants it so.
    pub(super) fn seen(&self, app: &AppKey, wanted: &Resolved, terms: &Terms, corrections: u32) -> Seen {
        let differing =
            hide(&wanted.object, self.differing(&without(&wanted.object, terms.ignored_fields())));
        let Some(owner) = &self.app else {
            let mut managers: Vec<_> = self.others.values().cloned().collect();
            managers.sort();
            managers.dedup();
            let health = Some(self.health.clone());
            return Seen::Foreign(Foreign { managers, changes: Some(differing), health });
        };
        if self.terminating {
            return Seen::Terminating { message: "a finalizer is at work".to_owned(), stuck: false };
        }
        let stale = owner != app || self.applied.as_ref() != Some(&wanted.object);
        let yields = |change: &FieldChange| {
            terms.conflicts == Conflicts::Yield
                && !self.ours.contains_key(&change.path)
                && !change.manager.is_empty()
        };
        let (yielded, changes): (Vec<_>, Vec<_>) = differing.into_iter().partition(yields);
        let whole = terms.ignored == Ignored::Whole;
        let differs = (stale || !changes.is_empty()) && !(whole && owner == app);
        let drifted = differs && !stale;
        let fought = drifted && corrections >= ROUNDS;
        let found = Found { changes, fought, yielded, run: made_for(&self.live), ..Found::default() };
        Seen::Ours { differs, drifted, health: self.health.clone(), found }
    }

    fn differing(&self, wanted: &Value) -> Vec<FieldChange> {
        let live = leaves(&self.live);
        let wanted = leaves(wanted).into_iter().filter(|(pointer, value)| live.get(pointer) != Some(value));
        let change = |(path, wanted): (String, Value)| FieldChange {
            live: live.get(&path).cloned(),
            wanted: Some(wanted),
            manager: self.others.get(&path).cloned().unwrap_or_default(),
            path,
        };
        wanted.map(change).collect()
    }

    /// Writes it for an app, as an API server would; says whether anything changed.
    pub(super) fn write(
        &mut self,
        app: &AppKey,
        object: &Resolved,
        terms: &Terms,
        how: Write,
    ) -> Result<bool, TargetError> {
        let wanted = without(&object.object, terms.ignored_fields());
        let differing = self.differing(&wanted);
        if self.app.is_none() {
            may_adopt(terms, how, &hide(&object.object, differing))?;
            return Ok(self.become_so(app, object, leaves(&wanted)));
        }
        let is_theirs =
            |change: &FieldChange| !change.manager.is_empty() && !self.ours.contains_key(&change.path);
        let theirs: Vec<_> = differing.into_iter().filter(|change| is_theirs(change)).collect();
        let mut ours = leaves(&wanted);
        match terms.conflicts {
            Conflicts::Fail if !theirs.is_empty() && !how.take => {
                return Err(TargetError::Conflict(told(&hide(&object.object, theirs))));
            }
            Conflicts::Yield => theirs.iter().for_each(|change| drop(ours.remove(&change.path))),
            Conflicts::Fail | Conflicts::Force => {}
        }
        Ok(self.become_so(app, object, ours))
    }

    fn become_so(&mut self, app: &AppKey, object: &Resolved, ours: Map<String, Value>) -> bool {
        let before = self.live.clone();
        let dropped: Vec<_> =
            self.ours.keys().filter(|pointer| !ours.contains_key(*pointer)).cloned().collect();
        let still = leaves(&object.object);
        let dropped = dropped
            .into_iter()
            .filter(|pointer| !self.others.contains_key(pointer) && !still.contains_key(pointer));
        self.live = without(&self.live, &dropped.collect::<Vec<_>>());
        for (pointer, value) in &ours {
            set(&mut self.live, &steps(pointer), value.clone());
        }
        let same = self.live == before && self.app.as_ref() == Some(app);
        self.own(app, &object.object, ours);
        !same
    }
}

fn may_adopt(terms: &Terms, how: Write, differing: &[FieldChange]) -> Result<(), TargetError> {
    let no = |why: String| Err(TargetError::NotAdopted(why));
    match (how.contact, terms.adopt) {
        (Contact::Foreign, Adopt::Always) => Ok(()),
        (Contact::Foreign, Adopt::IfEqual) if differing.is_empty() => Ok(()),
        (Contact::Foreign, Adopt::IfEqual) => no(format!("it differs: {}", told(differing))),
        (Contact::Foreign, Adopt::Never) => no("`adopt: Never` leaves it alone".to_owned()),
        (Contact::Absent | Contact::Ours, _) => no("it exists, and Nave did not create it".to_owned()),
    }
}

fn set(value: &mut Value, steps: &[String], new: Value) {
    let Some((first, rest)) = steps.split_first() else {
        *value = new;
        return;
    };
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    if let Some(fields) = value.as_object_mut() {
        set(fields.entry(first.clone()).or_insert(Value::Null), rest, new);
    }
}
