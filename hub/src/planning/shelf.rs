//! Shelf: the bundles of a plan.
//!
//! In: bundles that are stored, those that are rendered for the plan. Out: their bytes and objects, by digest.
//! Never: writes one to the disk; holds more than [`MAX_RENDERED`] bytes of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nave_placement::render::Bundle;
use nave_placement::{Digest, ObjectKey};

use super::PlanError;
use crate::store::bundles::Bundles;

/// Bytes of bundles that a plan may render: a thousand apps of 256 KiB.
pub const MAX_RENDERED: usize = 256 << 20;

/// Bundles that are stored.
pub trait Stock: Sync {
    /// The uncompressed bytes of one; `None` where it is not at hand.
    fn bytes(&self, digest: &Digest) -> Option<Bytes>;
    /// Whether it is there.
    fn has(&self, digest: &Digest) -> bool;
}

impl Stock for Bundles {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.get_uncompressed(*digest).ok().flatten()
    }

    fn has(&self, digest: &Digest) -> bool {
        self.contains(*digest)
    }
}

type Objects = Arc<BTreeSet<ObjectKey>>;

/// The bundles of a plan.
pub struct Shelf<'a> {
    stock: &'a dyn Stock,
    rendered: BTreeMap<Digest, Bundle>,
    size: usize,
    /// Objects of stored bundles, each read once.
    known: Mutex<HashMap<Digest, Option<Objects>>>,
}

impl<'a> Shelf<'a> {
    /// Over what is stored.
    pub fn new(stock: &'a dyn Stock) -> Self {
        Self { stock, rendered: BTreeMap::new(), size: 0, known: Mutex::default() }
    }

    /// Takes bundles that were rendered.
    ///
    /// # Errors
    /// [`PlanError::TooLarge`].
    pub fn put(&mut self, bundles: Vec<Bundle>) -> Result<(), PlanError> {
        for bundle in bundles {
            let size = bundle.bytes.len();
            if self.rendered.insert(bundle.digest, bundle).is_none() {
                self.size += size;
            }
        }
        if self.size > MAX_RENDERED { Err(PlanError::TooLarge { limit: MAX_RENDERED }) } else { Ok(()) }
    }

    /// Whether a bundle is at hand.
    pub fn has(&self, digest: &Digest) -> bool {
        self.rendered.contains_key(digest) || self.stock.has(digest)
    }

    /// The uncompressed bytes of a bundle.
    pub fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        match self.rendered.get(digest) {
            Some(bundle) => Some(Bytes::copy_from_slice(&bundle.bytes)),
            None => self.stock.bytes(digest),
        }
    }

    /// The objects of a bundle.
    pub fn objects(&self, digest: &Digest) -> Option<Objects> {
        if let Some(bundle) = self.rendered.get(digest) {
            return Some(bundle.objects.clone());
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Bundle::read(self.stock.bytes(digest)?.to_vec()).ok().map(|bundle| bundle.objects);
        known.entry(*digest).or_insert_with(read).clone()
    }
}
