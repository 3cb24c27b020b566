//! Policy: what this cluster's owner forbids, whatever the hub says.
//!
//! In: a policy file, plans, questions. Out: plans without what is forbidden, each with the object and the rule; whether a
//! question may be asked. Never: reads a file or a clock; lets a later rule allow what an earlier denies.

mod parse;
mod removals;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::pattern::matches;
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;

pub use parse::PolicyError;
pub use removals::{Removals, TooMany};

use crate::plan::{AppPlan, Plan, Step};
use crate::report::Reason;
use crate::target::Inventory;
use rules::images;

/// Patterns that allow, and patterns that deny: what a denying one matches is denied; where there are allowing ones, so is
/// what none of them matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rule {
    allow: Option<Vec<String>>,
    deny: Vec<String>,
}

impl Rule {
    /// Why a word is denied. `fits` says whether a pattern is about it.
    fn denies(&self, what: &str, word: &str, fits: impl Fn(&str) -> bool) -> Option<String> {
        if let Some(pattern) = self.deny.iter().find(|pattern| fits(pattern)) {
            return Some(format!("{what} {word} is denied by {pattern:?} of deny.{what}"));
        }
        let allow = self.allow.as_ref()?;
        let none = !allow.iter().any(|pattern| fits(pattern));
        none.then(|| format!("{what} {word} is not in allow.{what}"))
    }
}

/// Leaves in the plan of an app what is not refused: what it writes is looked at with the object, what it removes without.
fn leave(
    steps: &mut AppPlan,
    stored: &Inventory,
    refused: &dyn Fn(&ObjectKey, Option<&Value>) -> Option<Reason>,
) {
    let AppPlan { raise, settle, blocked, withheld, .. } = steps;
    let mut unlisted = BTreeSet::new();
    raise.retain(|step| {
        let Step::Apply { object, .. } = step else { return true };
        let Some(reason) = refused(&object.key, Some(&object.object)) else { return true };
        blocked.push(reason);
        if !stored.objects.contains(&object.key) {
            unlisted.insert(object.key.clone());
        }
        false
    });
    raise.retain_mut(|step| {
        let Step::Widen(widened) = step else { return true };
        widened.retain(|key| !unlisted.contains(key));
        if widened.objects == stored.objects {
            widened.version = stored.version;
        }
        widened != stored
    });
    settle.retain(|step| {
        let (Step::Prune { key, .. } | Step::Orphan { key, .. }) = step else { return true };
        let Some(reason) = refused(key, None) else { return true };
        withheld.push(reason);
        false
    });
}

/// Leaves in a plan what is granted to the catalogs of its apps. An object that is as it should be and is not granted does not become
/// theirs either.
pub fn keep_to_grants(plan: &mut Plan, inventories: &BTreeMap<AppKey, Inventory>) {
    let none = Inventory::default();
    for (app, steps) in &mut plan.apps {
        let Some(grant) = steps.grant.clone() else { continue };
        let stored = inventories.get(app).unwrap_or(&none);
        let not_granted = |key: &ObjectKey| {
            let why = grant.objects_to(&app.catalog, key, None)?;
            Some(Reason::NotGranted { object: key.clone(), catalog: app.catalog.clone(), why })
        };
        let new = steps.rest.iter().filter(|key| !stored.objects.contains(*key));
        let taken: BTreeMap<ObjectKey, Reason> =
            new.filter_map(|key| Some((key.clone(), not_granted(key)?))).collect();
        for step in &mut steps.raise {
            if let Step::Widen(widened) = step {
                widened.retain(|key| !taken.contains_key(key));
            }
        }
        steps.blocked.extend(taken.into_values());
        leave(steps, stored, &|key, _| not_granted(key));
    }
}

/// A cluster's local policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    namespaces: Rule,
    kinds: Rule,
    registries: Rule,
    max_removals: Option<u32>,
    /// Per kind of question the roles that may ask it; one that is not named may be asked by whom the hub lets.
    questions: BTreeMap<String, BTreeSet<String>>,
}

impl Policy {
    /// Reads a policy file.
    ///
    /// # Errors
    /// When anything in it is not understood: a policy that is half read allows what its author forbids.
    pub fn read(text: &str) -> Result<Self, PolicyError> {
        parse::read(text)
    }

    /// Why an object may not be touched, whatever is in it.
    fn denies_key(&self, key: &ObjectKey) -> Option<String> {
        let is_namespace = key.group.is_empty() && key.kind == "Namespace";
        let namespace = if is_namespace { &key.name } else { &key.namespace };
        let by_namespace = || {
            let named = Some(namespace).filter(|namespace| !namespace.is_empty())?;
            self.namespaces.denies("namespaces", named, |pattern| matches(pattern, named))
        };
        let kind = match key.group.as_str() {
            "" => key.kind.clone(),
            group => format!("{}.{group}", key.kind),
        };
        by_namespace().or_else(|| self.kinds.denies("kinds", &kind, |pattern| matches(pattern, &kind)))
    }

    /// Why an object may not be written.
    fn denies(&self, key: &ObjectKey, object: &Value) -> Option<String> {
        let by_image = || {
            let images = images(object);
            images.iter().find_map(|image| {
                self.registries.denies("registries", image, |pattern| rules::is_from(image, pattern))
            })
        };
        self.denies_key(key).or_else(by_image)
    }

    /// Leaves in a plan what is allowed. What may not be written does not enter an inventory either; what may not be removed
    /// stops nothing else.
    pub fn allow(&self, plan: &mut Plan, inventories: &BTreeMap<AppKey, Inventory>) {
        let none = Inventory::default();
        for (app, steps) in &mut plan.apps {
            let denied = |key: &ObjectKey, object: Option<&Value>| {
                let rule = object.map_or_else(|| self.denies_key(key), |object| self.denies(key, object))?;
                Some(Reason::Denied { object: key.clone(), rule })
            };
            leave(steps, inventories.get(app).unwrap_or(&none), &denied);
        }
    }

    /// Counts what an app is about to delete, if so much may be deleted. False: there is nothing to count.
    ///
    /// # Errors
    /// Why nothing of it may be deleted now.
    pub fn may_delete(
        &self,
        app: &AppKey,
        keys: &[&ObjectKey],
        removals: &mut Removals,
        now_ms: u64,
    ) -> Result<bool, String> {
        let Some(most) = self.max_removals else { return Ok(false) };
        removals.reserve(app, keys, most, now_ms).map_err(|TooMany { would, left }| {
            format!(
                "{would} objects would be deleted; the local policy allows {most} an hour, of which {left} are left: none was deleted"
            )
        })
    }

    /// Whether somebody of this role may ask a question of this kind (`objects`, `diff`, `events`, `logs`, `adoption`, `plan`).
    pub fn may_ask(&self, question: &str, role: &str) -> bool {
        self.questions.get(question).is_none_or(|roles| roles.contains(role))
    }
}
