//! Marks: by what a server can be asked whether its index is still the one that is here (`ETag`).
//!
//! In: marks and digests of indexes. Out: the mark of a URL; which indexes stay. Never: outlives the process: then the index comes once more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nave_placement::Digest;
use reqwest::Url;
use reqwest::header::HeaderValue;

/// Those of all repositories that are asked.
#[derive(Default)]
pub(super) struct Marks(Mutex<BTreeMap<Url, Mark>>);

struct Mark {
    mark: HeaderValue,
    digest: Digest,
    /// Since the last look at what is used.
    is_asked: bool,
}

impl Marks {
    /// Of a URL, and the digest of what it gave.
    pub fn of(&self, url: &Url) -> Option<(HeaderValue, Digest)> {
        let mut marks = self.lock();
        let mark = marks.get_mut(url)?;
        mark.is_asked = true;
        Some((mark.mark.clone(), mark.digest))
    }

    /// A URL gave this; without a mark it is not kept.
    pub fn set(&self, url: Url, given: Option<(HeaderValue, Digest)>) {
        let mut marks = self.lock();
        match given {
            Some((mark, digest)) => drop(marks.insert(url, Mark { mark, digest, is_asked: true })),
            None => drop(marks.remove(&url)),
        }
    }

    /// What was asked for since this was called last; all else is forgotten.
    pub fn used(&self) -> BTreeSet<Digest> {
        let mut marks = self.lock();
        marks.retain(|_, mark| std::mem::take(&mut mark.is_asked));
        marks.values().map(|mark| mark.digest).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Url, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
