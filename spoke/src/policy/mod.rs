//! Policy: what this cluster's owner forbids, whatever the hub says.
//!
//! In: a policy file, plans, questions. Out: plans without what is forbidden, each with the object and the rule; whether a
//! question may be asked. Never: reads a file or a clock; lets a later rule allow what an earlier denies.

mod parse;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;

pub use parse::PolicyError;

use crate::plan::{AppPlan, Plan, Step};
use crate::report::Reason;
use rules::{images, matches};

/// Removals are counted over this time.
const HOUR_MS: u64 = 3_600_000;

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

/// When objects were removed, for as long as it counts, and what apps were promised in this round.
#[derive(Clone, Debug, Default)]
pub struct Removals {
    /// Unix milliseconds.
    at: VecDeque<u64>,
    /// Several apps are planned before the first of them removes anything.
    promised: BTreeMap<AppKey, usize>,
}

impl Removals {
    /// A round begins: what was promised in the last one and not done is promised anew.
    pub fn begin(&mut self) {
        self.promised.clear();
    }

    /// One is about to be removed.
    pub fn count(&mut self, app: &AppKey, now_ms: u64) {
        self.forget(now_ms);
        self.at.push_back(now_ms);
        if let Some(promised) = self.promised.get_mut(app) {
            *promised = promised.saturating_sub(1);
        }
    }

    fn forget(&mut self, now_ms: u64) {
        while self.at.front().is_some_and(|at| at.saturating_add(HOUR_MS) <= now_ms) {
            self.at.pop_front();
        }
    }

    /// How many were removed in the last hour, or are about to be by others than this app.
    fn taken(&mut self, app: &AppKey, now_ms: u64) -> usize {
        self.forget(now_ms);
        let others = self.promised.iter().filter(|(other, _)| *other != app);
        self.at.len() + others.map(|(_, count)| count).sum::<usize>()
    }
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

    /// Leaves in a plan what is allowed. The removals of an app happen all or not at all.
    pub fn allow(&self, plan: &mut Plan, removals: &mut Removals, now_ms: u64) {
        for (app, steps) in &mut plan.apps {
            self.allow_app(steps);
            let Some(most) = self.max_removals else { continue };
            let left =
                usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(removals.taken(app, now_ms));
            let would = steps.settle.iter().filter(|step| matches!(step, Step::Prune { .. })).count();
            if would > left {
                steps.settle.retain(|step| !matches!(step, Step::Prune { .. }));
                steps.blocked.push(too_many(would, left, most));
                removals.promised.remove(app);
            } else {
                removals.promised.insert(app.clone(), would);
            }
        }
    }

    fn allow_app(&self, steps: &mut AppPlan) {
        let AppPlan { raise, settle, blocked, .. } = steps;
        let mut allowed = |step: &Step| {
            let denied = match step {
                Step::Apply { object, .. } => {
                    self.denies(&object.key, &object.object).map(|rule| (&object.key, rule))
                }
                Step::Prune { key, .. } | Step::Orphan { key, .. } => {
                    self.denies_key(key).map(|rule| (key, rule))
                }
                Step::Widen(_) | Step::HandOver { .. } | Step::Narrow { .. } | Step::Forget { .. } => None,
            };
            let Some((object, rule)) = denied else { return true };
            blocked.push(Reason::Denied { object: object.clone(), rule });
            false
        };
        raise.retain(&mut allowed);
        settle.retain(&mut allowed);
    }

    /// Whether somebody of this role may ask a question of this kind (`objects`, `diff`, `events`, `logs`, `adoption`).
    pub fn may_ask(&self, question: &str, role: &str) -> bool {
        self.questions.get(question).is_none_or(|roles| roles.contains(role))
    }
}

fn too_many(would: usize, left: usize, most: u32) -> Reason {
    Reason::Unpermitted {
        message: format!(
            "{would} objects would be deleted; the local policy allows {most} an hour, of which {left} are left: none of the app was deleted"
        ),
    }
}
