//! Notes: what is remembered of each object between two looks; a few words each.
//!
//! In: what was seen and what a write left. Out: whether a look or an event shows anything new; whether a correction is a
//! part of a fight. Never: holds objects, and is never the only place of anything: without it, the same is found by asking.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nave_placement::ObjectKey;
use tokio::time::Instant;

use crate::observe::changes::FieldChange;

/// Corrections of the same fields to the same values, undone each time, after which it is a fight.
const SAME_VALUES: u8 = 3;
/// Corrections of the same fields, whatever they were changed to: a person may change a mind some times.
const SAME_FIELDS: u8 = 8;
/// Within this: a controller answers within seconds; who comes once an hour is put right each time.
const WITHIN: Duration = Duration::from_secs(600);
/// Then it is tried again, for the other side may have been mended.
const REST: Duration = Duration::from_secs(3_600);

/// What is remembered of one object.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Note {
    /// It was ours when last seen; otherwise it was absent.
    pub ours: bool,
    /// Its resource version when last seen, hashed.
    pub version: u64,
    /// Its resource version as our last write left it, hashed; 0 when we did not write it.
    pub written: u64,
    /// The differences that our last write left: the server wants it so.
    pub settled: Option<u64>,
    /// When our last write that changed it was answered; `None` where that was another process.
    pub applied: Option<std::time::Instant>,
    /// It was not as wanted when last seen: who saw it may have been too late to do something about it.
    pub open: bool,
    /// The foreign change that was seen last.
    pub drift: Option<Drift>,
}

/// A foreign change, to recognise it by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drift {
    /// Of which fields of which wanted content.
    pub fields: u64,
    /// And to what.
    pub values: u64,
}

#[derive(Clone, Copy, Debug)]
struct Fight {
    drift: Drift,
    same_fields: u8,
    same_values: u8,
    since: Instant,
}

/// A comparison by the API server itself: of which version with which content, and what it found.
type Compared = (u64, u64, Arc<Vec<FieldChange>>);

/// Notes by object. Keys and versions are kept as hashes with a random seed: 64 bits do not meet by accident, and a
/// meeting costs one needless write or one late look.
#[derive(Default)]
pub(super) struct Notes {
    seed: RandomState,
    by_object: Mutex<HashMap<u64, Note>>,
    fights: Mutex<HashMap<u64, Fight>>,
    compared: Mutex<HashMap<u64, Compared>>,
    adopted: Mutex<HashMap<u64, Box<str>>>,
}

impl Notes {
    /// A resource version as notes keep it.
    pub fn version(&self, resource_version: &str) -> u64 {
        self.seed.hash_one(resource_version)
    }

    fn at(&self, key: &ObjectKey) -> u64 {
        self.seed.hash_one(key)
    }

    /// What is known of an object.
    pub fn get(&self, key: &ObjectKey) -> Option<Note> {
        locked(&self.by_object).get(&self.at(key)).copied()
    }

    /// Whether an object of this version is another than was last written, or seen to be as wanted.
    pub fn is_news(&self, key: &ObjectKey, version: u64) -> bool {
        self.get(key).is_none_or(|note| note.open || (note.written != version && note.version != version))
    }

    /// Remembers.
    pub fn set(&self, key: &ObjectKey, note: Note) {
        locked(&self.by_object).insert(self.at(key), note);
    }

    /// Forgets: the next write looks first.
    pub fn forget(&self, key: &ObjectKey) {
        locked(&self.by_object).remove(&self.at(key));
    }

    /// It is ours no more: nothing of it is needed again.
    pub fn left(&self, key: &ObjectKey) {
        let at = self.at(key);
        locked(&self.by_object).remove(&at);
        locked(&self.fights).remove(&at);
        locked(&self.compared).remove(&at);
        locked(&self.adopted).remove(&at);
    }

    /// A foreign change is put back now.
    pub fn corrected(&self, key: &ObjectKey, drift: Drift, now: Instant) {
        let mut fights = locked(&self.fights);
        fights.retain(|_, fight| now.duration_since(fight.since) < REST);
        let new = Fight { drift, same_fields: 0, same_values: 0, since: now };
        let fight = fights.entry(self.at(key)).or_insert(new);
        if fight.drift.fields != drift.fields || now.duration_since(fight.since) > WITHIN {
            *fight = new;
        } else if fight.drift.values != drift.values {
            (fight.drift, fight.same_values) = (drift, 0);
        }
        fight.same_fields = fight.same_fields.saturating_add(1);
        fight.same_values = fight.same_values.saturating_add(1);
    }

    /// Whether putting this change back once more would go on with a fight.
    pub fn fought(&self, key: &ObjectKey, drift: Drift, now: Instant) -> bool {
        locked(&self.fights).get(&self.at(key)).is_some_and(|fight| {
            let same = fight.drift == drift && fight.same_values >= SAME_VALUES;
            let goes_on = same || (fight.drift.fields == drift.fields && fight.same_fields >= SAME_FIELDS);
            goes_on && now.duration_since(fight.since) < REST
        })
    }

    /// What the API server found when it last compared this version of the object with this content.
    pub fn compared(&self, key: &ObjectKey, version: u64, content: u64) -> Option<Arc<Vec<FieldChange>>> {
        let compared = locked(&self.compared);
        compared
            .get(&self.at(key))
            .filter(|(v, c, _)| (*v, *c) == (version, content))
            .map(|(_, _, found)| found.clone())
    }

    /// Remembers what it found.
    pub fn compare(&self, key: &ObjectKey, version: u64, content: u64, found: Arc<Vec<FieldChange>>) {
        locked(&self.compared).insert(self.at(key), (version, content, found));
    }

    /// From whom it was adopted by this process.
    pub fn adopted(&self, key: &ObjectKey) -> Option<String> {
        locked(&self.adopted).get(&self.at(key)).map(|from| from.to_string())
    }

    /// It was just adopted.
    pub fn adopt(&self, key: &ObjectKey, from: &str) {
        locked(&self.compared).remove(&self.at(key));
        locked(&self.adopted).insert(self.at(key), from.into());
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ObjectKey {
        ObjectKey { group: String::new(), kind: "ConfigMap".into(), namespace: "d".into(), name: "a".into() }
    }

    #[test]
    fn of_what_is_ours_no_more_nothing_is_kept() {
        let notes = Notes::default();
        notes.set(&key(), Note { ours: true, ..Note::default() });
        notes.adopt(&key(), "kubectl");
        notes.compare(&key(), 1, 1, Arc::default());
        notes.corrected(&key(), Drift { fields: 1, values: 1 }, Instant::now());
        notes.left(&key());
        assert!(locked(&notes.by_object).is_empty() && locked(&notes.fights).is_empty());
        assert!(locked(&notes.compared).is_empty() && locked(&notes.adopted).is_empty());
    }

    #[test]
    fn an_event_of_what_was_seen_is_news_for_as_long_as_something_is_to_be_done() {
        let notes = Notes::default();
        let seen = Note { ours: true, version: 7, open: true, ..Note::default() };
        assert!(notes.is_news(&key(), 7));
        notes.set(&key(), seen);
        assert!(notes.is_news(&key(), 7), "the look that saw it may have come after the writes of its round");
        notes.set(&key(), Note { open: false, ..seen });
        assert!(!notes.is_news(&key(), 7) && notes.is_news(&key(), 8));
        notes.set(&key(), Note { written: 9, open: false, ..seen });
        assert!(!notes.is_news(&key(), 9));
    }

    #[test]
    fn who_sets_a_field_back_each_time_fights_and_who_does_it_now_and_then_does_not() {
        let start = Instant::now();
        let drift = |values| Drift { fields: 1, values };
        let after = |corrections: &[(u64, u64)], asked: u64, at: u64| {
            let notes = Notes::default();
            for (second, values) in corrections {
                notes.corrected(&key(), drift(*values), start + Duration::from_secs(*second));
            }
            notes.fought(&key(), drift(asked), start + Duration::from_secs(at))
        };
        assert!(!after(&[(0, 1), (1, 1)], 1, 2));
        assert!(after(&[(0, 1), (1, 1), (2, 1)], 1, 3));
        assert!(!after(&[(0, 1), (1, 1), (2, 1)], 2, 3), "another value");
        assert!(!after(&[(0, 1), (1, 1), (2, 1)], 1, 3_700), "tried again after an hour");
        assert!(!after(&[(0, 1), (700, 1), (1_400, 1)], 1, 1_500), "now and then");
        let mut changing: Vec<_> = (0..7).map(|n| (n, n)).collect();
        assert!(!after(&changing, 9, 20));
        changing.push((8, 8));
        assert!(after(&changing, 9, 20), "whatever the value");
        let notes = Notes::default();
        (0..3).for_each(|_| notes.corrected(&key(), drift(1), start));
        assert!(
            !notes.fought(&key(), Drift { fields: 2, values: 1 }, start),
            "other fields, or other content"
        );
    }
}
