//! Removals: how many objects were deleted in the last hour.
//!
//! In: what an app is about to delete, what came of it. Out: whether it may; a small record of it.
//! Never: counts one deletion twice, however long finalizers are at work; forgets one over a restart.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::{AppKey, ObjectKey};
use serde::{Deserialize, Serialize};

use crate::target::{Deleted, TargetError};

const MINUTE_MS: u64 = 60_000;
/// Removals count over an hour, and the minute in which it began.
const MINUTES: u64 = 60;
/// Deletions under way that a record names: some 150 bytes each. More of them are counted anew after a restart.
const NAMED: usize = 1_000;

/// Deletions, for as long as they count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removals {
    /// How many, by the minute since 1970: sixty numbers, however many objects.
    counts: BTreeMap<u64, u32>,
    /// What is counted and not gone yet, and when it was last asked for.
    going: BTreeMap<String, u64>,
    /// Of these, what nobody has tried to delete yet.
    #[serde(skip)]
    untried: BTreeSet<String>,
}

/// More would be deleted than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany {
    /// So many that are not counted yet.
    pub would: usize,
    /// So many are left.
    pub left: usize,
}

impl Removals {
    /// Counts what an app is about to delete: all of it, or nothing. False: it was counted before.
    ///
    /// # Errors
    /// [`TooMany`] when no more than `most` may be deleted in an hour.
    pub fn reserve(
        &mut self,
        app: &AppKey,
        keys: &[&ObjectKey],
        most: u32,
        now_ms: u64,
    ) -> Result<bool, TooMany> {
        let minute = now_ms / MINUTE_MS;
        self.counts.retain(|at, _| at.saturating_add(MINUTES) >= minute);
        self.going.retain(|_, at| at.saturating_add(MINUTES) >= minute);
        let names = keys.iter().map(|key| name(app, key));
        let (going, new): (Vec<_>, Vec<_>) = names.partition(|name| self.going.contains_key(name));
        let taken: u64 = self.counts.values().map(|count| u64::from(*count)).sum();
        let left = usize::try_from(u64::from(most).saturating_sub(taken)).unwrap_or(usize::MAX);
        if new.len() > left {
            return Err(TooMany { would: new.len(), left });
        }
        self.going.extend(going.into_iter().map(|name| (name, minute)));
        if new.is_empty() {
            return Ok(false);
        }
        *self.counts.entry(minute).or_default() += u32::try_from(new.len()).unwrap_or(u32::MAX);
        self.untried.extend(new.iter().cloned());
        self.going.extend(new.into_iter().map(|name| (name, minute)));
        Ok(true)
    }

    /// What came of a deletion that was counted; `None`: it was not tried.
    pub fn came_of(&mut self, app: &AppKey, key: &ObjectKey, deleted: Option<&Result<Deleted, TargetError>>) {
        let name = name(app, key);
        let first = self.untried.remove(&name);
        match deleted {
            // Under way; without an answer it may be.
            Some(Ok(Deleted::Terminating { .. }) | Err(TargetError::Unreachable(_))) => {}
            Some(Ok(Deleted::Gone)) => {
                self.going.remove(&name);
            }
            Some(Ok(Deleted::Absent | Deleted::NotOurs(_))) => {
                self.going.remove(&name);
                self.take_back(first);
            }
            Some(Err(_)) | None if first => {
                self.going.remove(&name);
                self.take_back(first);
            }
            Some(Err(_)) | None => {}
        }
    }

    fn take_back(&mut self, first: bool) {
        let last = self.counts.values_mut().rev().find(|count| **count > 0).filter(|_| first);
        if let Some(count) = last {
            *count -= 1;
        }
    }

    /// What a restart must not forget.
    pub fn record(&self) -> Self {
        let going = self.going.iter().take(NAMED).map(|(name, at)| (name.clone(), *at)).collect();
        Self { counts: self.counts.clone(), going, untried: BTreeSet::new() }
    }
}

/// Names have no spaces.
fn name(app: &AppKey, key: &ObjectKey) -> String {
    format!("{app} {} {} {} {}", key.group, key.kind, key.namespace, key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 3_600_000;

    fn key(name: &str) -> ObjectKey {
        let [kind, namespace] = ["ConfigMap", "d"].map(str::to_owned);
        ObjectKey { group: String::new(), kind, namespace, name: name.into() }
    }

    fn reserve(removals: &mut Removals, app: &str, names: &[&str], now_ms: u64) -> Result<bool, TooMany> {
        let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        removals.reserve(&app.parse().expect("valid"), &keys.iter().collect::<Vec<_>>(), 2, now_ms)
    }

    fn came_of(removals: &mut Removals, name: &str, deleted: Option<Result<Deleted, TargetError>>) {
        removals.came_of(&"a".parse().expect("valid"), &key(name), deleted.as_ref());
    }

    fn terminating() -> Result<Deleted, TargetError> {
        Ok(Deleted::Terminating { message: String::new(), stuck: false })
    }

    #[test]
    fn no_more_is_removed_in_an_hour_than_may_be_and_of_an_app_all_or_nothing() {
        let removals = &mut Removals::default();
        assert_eq!(reserve(removals, "a", &["1"], 0), Ok(true));
        assert_eq!(reserve(removals, "b", &["2", "3"], 0), Err(TooMany { would: 2, left: 1 }));
        assert_eq!(reserve(removals, "c", &["4"], 0), Ok(true));
        came_of(removals, "1", Some(Ok(Deleted::Gone)));
        assert_eq!(reserve(removals, "b", &["2"], HOUR_MS), Err(TooMany { would: 1, left: 0 }));
        assert_eq!(reserve(removals, "b", &["2", "3"], HOUR_MS + MINUTE_MS), Ok(true));
    }

    #[test]
    fn what_is_under_way_is_counted_once_even_over_a_restart() {
        let removals = &mut Removals::default();
        assert_eq!(reserve(removals, "a", &["1", "2"], 0), Ok(true));
        came_of(removals, "1", Some(terminating()));
        came_of(removals, "2", Some(Err(TargetError::Unreachable("no answer".into()))));
        let json = serde_json::to_vec(&removals.record()).expect("plain");
        let removals = &mut serde_json::from_slice::<Removals>(&json).expect("ours");
        assert_eq!(reserve(removals, "a", &["1", "2"], MINUTE_MS), Ok(false));
        assert_eq!(reserve(removals, "a", &["3"], MINUTE_MS), Err(TooMany { would: 1, left: 0 }));
        came_of(removals, "1", Some(Ok(Deleted::Absent)));
        // Another object of the same name is another removal.
        assert_eq!(reserve(removals, "a", &["1"], MINUTE_MS), Err(TooMany { would: 1, left: 0 }));
    }

    #[test]
    fn what_was_not_deleted_is_not_counted() {
        for came in [
            None,
            Some(Ok(Deleted::Absent)),
            Some(Ok(Deleted::NotOurs("theirs".into()))),
            Some(Err(TargetError::Forbidden("no".into()))),
        ] {
            let removals = &mut Removals::default();
            assert_eq!(reserve(removals, "a", &["1", "2"], 0), Ok(true));
            came_of(removals, "1", came);
            assert_eq!(reserve(removals, "a", &["3"], 0), Ok(true));
        }
    }
}
