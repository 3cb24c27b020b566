//! Notes: what is remembered of each object between two looks; a few words each.
//!
//! In: what was seen and what a write left. Out: whether a look or an event shows anything new.
//! Never: holds objects, and is never the only place of anything: without it, the same is found by asking.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use nave_placement::ObjectKey;

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
    pub applied: Option<Instant>,
}

/// Notes by object. Keys and versions are kept as hashes with a random seed: 64 bits do not meet by accident, and a
/// meeting costs one needless write or one late look.
#[derive(Default)]
pub(super) struct Notes {
    seed: RandomState,
    by_object: Mutex<HashMap<u64, Note>>,
}

impl Notes {
    /// A resource version as notes keep it.
    pub fn version(&self, resource_version: &str) -> u64 {
        self.seed.hash_one(resource_version)
    }

    /// What is known of an object.
    pub fn get(&self, key: &ObjectKey) -> Option<Note> {
        self.lock().get(&self.seed.hash_one(key)).copied()
    }

    /// Remembers.
    pub fn set(&self, key: &ObjectKey, note: Note) {
        let at = self.seed.hash_one(key);
        self.lock().insert(at, note);
    }

    /// Forgets: the next write looks first.
    pub fn forget(&self, key: &ObjectKey) {
        let at = self.seed.hash_one(key);
        self.lock().remove(&at);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Note>> {
        self.by_object.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
