//! Sightings: what is known of objects before anybody asks: from a list of many, or from the answer to a write.
//!
//! In: what was seen. Out: the same to the next who asks, once; and which objects are known to be at rest.
//! Never: outlives an event of the object, even one that came while the object was being looked at, or half a minute.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nave_placement::render::Resolved;
use nave_placement::{Digest, ObjectKey};
use serde_json::Value;

use super::look::Look;
use super::shared::{Shared, text};
use crate::plan::digest;
use crate::target::{Behalf, Found, Health, HealthState, Seen};

/// A round over a thousand apps takes so long; events take a sighting away sooner.
const FRESH: Duration = Duration::from_secs(30);

/// So many events are told apart; what began to be looked at before that is not kept.
const EVENTS: usize = 1_024;

/// When a look began, counted in events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Since(u64);

#[derive(Default)]
pub(super) struct Sightings {
    seed: RandomState,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    seen: HashMap<ObjectKey, (Instant, Digest, Seen)>,
    /// Objects that a list showed not to be there, hashed: when, and what was wanted, hashed. At a first installation that
    /// is every object, and a sighting as it is kept above would be some 300 bytes of each.
    absent: HashMap<u64, (Instant, u64)>,
    /// When those that nobody asked for in time were last dropped.
    swept: Option<Instant>,
    /// By object, hashed: at this resource version it was at rest as this was wanted; both hashed.
    calm: HashMap<u64, (u64, u64)>,
    /// Objects that a list showed to be at rest still, hashed, and when.
    confirmed: HashMap<u64, Instant>,
    /// How many events there were.
    count: u64,
    /// The last event of each object, hashed: which it was, and the version that it told of, hashed.
    events: HashMap<u64, (u64, Option<u64>)>,
    /// Events up to this one are no longer told apart.
    forgotten: u64,
}

impl Known {
    /// Whether a look that began then, and saw this version, saw nothing older than what an event told since.
    fn is_true(&self, since: Since, at: u64, version: Option<u64>) -> bool {
        let event = self.events.get(&at).filter(|(number, _)| *number > since.0);
        since.0 >= self.forgotten && event.is_none_or(|(_, told)| *told == version)
    }
}

impl Sightings {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look begins.
    pub fn begin(&self) -> Since {
        Since(self.known().count)
    }

    /// What a look saw, at this version, hashed: somebody will ask soon.
    pub fn put(&self, since: Since, key: &ObjectKey, version: Option<u64>, wanted: Digest, seen: Seen) {
        self.put_at(Instant::now(), since, key, version, wanted, seen);
    }

    fn put_at(
        &self,
        now: Instant,
        since: Since,
        key: &ObjectKey,
        version: Option<u64>,
        wanted: Digest,
        seen: Seen,
    ) {
        let at = self.seed.hash_one(key);
        let mut known = self.known();
        if !known.is_true(since, at, version) {
            return;
        }
        if known.swept.is_none_or(|swept| now.duration_since(swept) >= FRESH) {
            known.seen.retain(|_, (at, ..)| now.duration_since(*at) < FRESH);
            known.absent.retain(|_, (at, _)| now.duration_since(*at) < FRESH);
            known.swept = Some(now);
        }
        if seen == Seen::Absent {
            known.seen.remove(key);
            known.confirmed.remove(&at);
            known.absent.insert(at, (now, self.seed.hash_one(wanted)));
            return;
        }
        known.absent.remove(&at);
        // Nearly all are at rest, and that takes no more than a few words to remember.
        if is_calm(&seen) && known.calm.get(&at).is_some_and(|rest| rest.1 == self.seed.hash_one(wanted)) {
            known.confirmed.insert(at, now);
            return;
        }
        known.seen.insert(key.clone(), (now, wanted, seen));
    }

    /// What was seen of an object that is wanted just so.
    pub fn take(&self, key: &ObjectKey, wanted: impl Fn() -> Digest) -> Option<Seen> {
        let (at, of, seen) = {
            let mut known = self.known();
            // Asked for each object of each look, and nearly always empty.
            if known.seen.is_empty() && known.confirmed.is_empty() && known.absent.is_empty() {
                return None;
            }
            let at = self.seed.hash_one(key);
            if let Some((when, of)) = known.absent.remove(&at) {
                if known.absent.is_empty() {
                    // The room of a thousand objects is not kept for the next ones.
                    known.absent = HashMap::new();
                }
                let holds = of == self.seed.hash_one(wanted()) && when.elapsed() < FRESH;
                return holds.then_some(Seen::Absent);
            }
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

    /// Something happened to the object: it has this version now, hashed, or is gone.
    pub fn happened(&self, key: &ObjectKey, version: Option<u64>) {
        let at = self.seed.hash_one(key);
        let mut known = self.known();
        known.seen.remove(key);
        known.confirmed.remove(&at);
        known.absent.remove(&at);
        known.count += 1;
        if known.events.len() >= EVENTS {
            known.events = HashMap::new();
            known.forgotten = known.count;
        }
        let event = (known.count, version);
        known.events.insert(at, event);
    }

    /// It is ours no more.
    pub fn left(&self, key: &ObjectKey) {
        self.happened(key, None);
        self.known().calm.remove(&self.seed.hash_one(key));
    }

    /// A list that began then shows that the object is at rest still, at this version, hashed.
    pub fn confirm(&self, since: Since, key: &ObjectKey, version: u64) {
        let at = self.seed.hash_one(key);
        let mut known = self.known();
        if known.is_true(since, at, Some(version)) {
            known.absent.remove(&at);
            known.confirmed.insert(at, Instant::now());
        }
    }

    /// What was put and nobody asked for.
    pub fn clear(&self) {
        let mut known = self.known();
        (known.seen, known.confirmed, known.absent) = <_>::default();
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
    pub fn sighted(&self, since: Since, of: Behalf<'_>, wanted: &Resolved, live: &Value) {
        let mut look = Look::under(of);
        self.judge(of, wanted, live, &mut look);
        if let Some(Ok(seen)) = look.seen.remove(&wanted.key).filter(|_| !look.is_open()) {
            let version = self.notes.version(text(live, "/metadata/resourceVersion"));
            self.sightings.put(since, &wanted.key, Some(version), digest(&wanted.object), seen);
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

    fn key(name: usize) -> ObjectKey {
        ObjectKey {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "d".into(),
            name: name.to_string(),
        }
    }

    fn calm() -> Seen {
        let (health, found) = (Health::healthy(), Found::default());
        Seen::Ours { differs: false, drifted: false, health, found }
    }

    #[test]
    fn what_was_seen_before_an_event_is_not_taken_for_true_after_it() {
        let sightings = Sightings::default();
        let wanted = Digest::default;
        sightings.judged(&key(0), "1", &wanted(), &calm());
        let taken = |event: Option<Option<u64>>, version: Option<u64>| {
            let since = sightings.begin();
            event.into_iter().for_each(|told| sightings.happened(&key(0), told));
            sightings.put(since, &key(0), version, wanted(), calm());
            sightings.take(&key(0), wanted).is_some()
        };
        assert!(taken(None, Some(1)));
        assert!(taken(Some(Some(1)), Some(1)), "the event of what was seen");
        assert!(!taken(Some(Some(2)), Some(1)), "a foreign write between the look and its end");
        assert!(!taken(Some(None), Some(1)), "a deletion");
        let confirmed = |event: Option<Option<u64>>| {
            let since = sightings.begin();
            event.into_iter().for_each(|told| sightings.happened(&key(0), told));
            sightings.confirm(since, &key(0), 1);
            sightings.take(&key(0), wanted).is_some()
        };
        assert!(confirmed(None) && confirmed(Some(Some(1))));
        assert!(!confirmed(Some(Some(2))) && !confirmed(Some(None)));

        let since = sightings.begin();
        (1..=EVENTS).for_each(|n| sightings.happened(&key(n), None));
        assert!(sightings.known().events.len() <= EVENTS);
        sightings.put(since, &key(0), Some(1), wanted(), calm());
        assert!(sightings.take(&key(0), wanted).is_none(), "among more events than are told apart");
        let since = sightings.begin();
        sightings.put(since, &key(0), Some(1), wanted(), calm());
        assert!(sightings.take(&key(0), wanted).is_some());
    }

    #[test]
    fn what_nobody_asks_for_in_time_is_dropped_by_the_next_that_is_put() {
        let sightings = Sightings::default();
        let start = Instant::now();
        let foreign = || Seen::Foreign(crate::target::Foreign::default());
        let put = |now, n, seen| {
            sightings.put_at(now, sightings.begin(), &key(n), None, Digest::default(), seen);
        };
        (0..100).for_each(|n| put(start, n, if n % 2 == 0 { Seen::Absent } else { foreign() }));
        let counts = |known: &Known| (known.absent.len(), known.seen.len());
        assert_eq!(counts(&sightings.known()), (50, 50));
        put(start + FRESH, 100, foreign());
        assert_eq!(sightings.known().seen.keys().collect::<Vec<_>>(), [&key(100)]);
        assert!(sightings.known().absent.is_empty());
    }

    #[test]
    fn what_is_absent_is_told_once_to_who_wants_just_that_and_nothing_of_it_is_kept() {
        let sightings = Sightings::default();
        let (wanted, other) = (|| Digest::of(b"wanted"), || Digest::of(b"other"));
        let absent = |n| sightings.put(sightings.begin(), &key(n), None, wanted(), Seen::Absent);
        (0..100).for_each(absent);
        assert_eq!(sightings.take(&key(0), wanted), Some(Seen::Absent));
        assert_eq!(sightings.take(&key(0), wanted), None, "once");
        assert_eq!(sightings.take(&key(1), other), None, "of other content");
        sightings.happened(&key(2), Some(1));
        assert_eq!(sightings.take(&key(2), wanted), None, "it came into being");
        (3..100).for_each(|n| assert_eq!(sightings.take(&key(n), wanted), Some(Seen::Absent)));
        assert_eq!(sightings.known().absent.capacity(), 0);

        // Whatever is seen last holds.
        absent(0);
        sightings.put(sightings.begin(), &key(0), None, wanted(), Seen::Foreign(<_>::default()));
        assert!(matches!(sightings.take(&key(0), wanted), Some(Seen::Foreign(_))));
        sightings.put(sightings.begin(), &key(0), None, wanted(), Seen::Foreign(<_>::default()));
        absent(0);
        assert_eq!(sightings.take(&key(0), wanted), Some(Seen::Absent));
        assert_eq!(sightings.take(&key(0), wanted), None);
    }
}
