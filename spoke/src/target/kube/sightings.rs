//! Sightings: what is known of objects before anybody asks: from a list of many, or from the answer to a write.
//!
//! In: what was seen. Out: the same to the next who asks, once; and which objects are known to be at rest.
//! Never: outlives an event of the object, or half a minute.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nave_placement::render::Resolved;
use nave_placement::{Digest, ObjectKey};
use serde_json::Value;

use super::look::Look;
use super::shared::Shared;
use crate::plan::digest;
use crate::target::{Behalf, Found, Health, HealthState, Seen};

/// A round over a thousand apps takes so long; events take a sighting away sooner.
const FRESH: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Sightings {
    seed: RandomState,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    seen: HashMap<ObjectKey, (Instant, Digest, Seen)>,
    /// When those that nobody asked for in time were last dropped.
    swept: Option<Instant>,
    /// By object, hashed: at this resource version it was at rest as this was wanted; both hashed.
    calm: HashMap<u64, (u64, u64)>,
    /// Objects that a list showed to be at rest still, hashed, and when.
    confirmed: HashMap<u64, Instant>,
}

impl Sightings {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody will ask soon.
    pub fn put(&self, key: &ObjectKey, wanted: Digest, seen: Seen) {
        self.put_at(Instant::now(), key, wanted, seen);
    }

    fn put_at(&self, now: Instant, key: &ObjectKey, wanted: Digest, seen: Seen) {
        let mut known = self.known();
        if known.swept.is_none_or(|swept| now.duration_since(swept) >= FRESH) {
            known.seen.retain(|_, (at, ..)| now.duration_since(*at) < FRESH);
            known.swept = Some(now);
        }
        known.seen.insert(key.clone(), (now, wanted, seen));
    }

    /// What was seen of an object that is wanted just so.
    pub fn take(&self, key: &ObjectKey, wanted: impl Fn() -> Digest) -> Option<Seen> {
        let (at, of, seen) = {
            let mut known = self.known();
            // Asked for each object of each look, and nearly always empty.
            if known.seen.is_empty() && known.confirmed.is_empty() {
                return None;
            }
            let at = self.seed.hash_one(key);
            if let Some(when) = known.confirmed.remove(&at) {
                let rests = known.calm.get(&at).is_some_and(|rest| rest.1 == self.seed.hash_one(wanted()));
                let seen = Seen::Ours {
                    differs: false,
                    drifted: false,
                    health: Health::healthy(),
                    found: Found::default(),
                };
                return (rests && when.elapsed() < FRESH).then_some(seen);
            }
            known.seen.remove(key)?
        };
        (at.elapsed() < FRESH && of == wanted()).then_some(seen)
    }

    /// Something happened to the object.
    pub fn forget(&self, key: &ObjectKey) {
        let mut known = self.known();
        known.seen.remove(key);
        known.confirmed.remove(&self.seed.hash_one(key));
    }

    /// It is ours no more.
    pub fn left(&self, key: &ObjectKey) {
        self.forget(key);
        self.known().calm.remove(&self.seed.hash_one(key));
    }

    /// A list shows that the object is at rest still.
    pub fn confirm(&self, key: &ObjectKey) {
        self.known().confirmed.insert(self.seed.hash_one(key), Instant::now());
    }

    /// What was put and nobody asked for.
    pub fn clear(&self) {
        let mut known = self.known();
        known.seen.clear();
        known.seen.shrink_to_fit();
        known.confirmed.clear();
    }

    /// Remembers whether the object, at this version, is as wanted and well.
    pub fn judged(&self, key: &ObjectKey, version: &str, wanted: &Digest, seen: &Seen) {
        let at = self.seed.hash_one(key);
        if is_calm(seen) {
            let rest = (self.seed.hash_one(version), self.seed.hash_one(wanted));
            self.known().calm.insert(at, rest);
        } else {
            self.known().calm.remove(&at);
        }
    }

    /// Whether the object is known to be as wanted and well at this version.
    pub fn is_calm(&self, key: &ObjectKey, version: &str, wanted: &Digest) -> bool {
        let rest = self.known().calm.get(&self.seed.hash_one(key)).copied();
        rest == Some((self.seed.hash_one(version), self.seed.hash_one(wanted)))
    }

    /// Whether anything is known to be at rest.
    pub fn knows_any(&self) -> bool {
        !self.known().calm.is_empty()
    }
}

impl Shared {
    /// The answer to a write shows the object: who asks for it next needs no request.
    pub fn sighted(&self, of: Behalf<'_>, wanted: &Resolved, live: &Value) {
        let mut look = Look::under(of);
        self.judge(of, wanted, live, &mut look);
        if let Some(Ok(seen)) = look.seen.remove(&wanted.key).filter(|_| !look.is_open()) {
            self.sightings.put(&wanted.key, digest(&wanted.object), seen);
        }
    }
}

fn is_calm(seen: &Seen) -> bool {
    matches!(seen, Seen::Ours { differs: false, drifted: false, health, found }
        if health.state == HealthState::Healthy && *found == Found::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_asks_for_in_time_is_dropped_by_the_next_that_is_put() {
        let sightings = Sightings::default();
        let key = |name: usize| ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "d".into(),
            name: name.to_string(),
        };
        let start = Instant::now();
        (0..100).for_each(|n| sightings.put_at(start, &key(n), Digest::default(), Seen::Absent));
        sightings.put_at(start + FRESH, &key(100), Digest::default(), Seen::Absent);
        assert_eq!(sightings.known().seen.keys().collect::<Vec<_>>(), [&key(100)]);
    }
}
