//! What the planner asks of bundles: which objects are in them. Read once, kept by digest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use nave_placement::render::Bundle;
use nave_placement::{Digest, ObjectKey};

use crate::store::bundles::Bundles;

/// Bundles whose objects are kept: a catalog of a thousand apps with some versions under way each. Beyond it all are read
/// again when they are asked for next.
const KEPT: usize = 4096;

type Objects = Arc<BTreeSet<ObjectKey>>;

/// The objects of bundles, by digest.
pub struct BundleObjects {
    bundles: Arc<Bundles>,
    known: Mutex<HashMap<Digest, Option<Objects>>>,
}

impl BundleObjects {
    /// Over the bundle files.
    pub fn new(bundles: Arc<Bundles>) -> Self {
        Self { bundles, known: Mutex::default() }
    }

    /// The objects of a bundle; `None` when its file is missing.
    pub fn of(&self, digest: &Digest) -> Option<Objects> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some(objects)) = known.get(digest) {
            return Some(objects.clone());
        }
        let read = self.bundles.get_uncompressed(*digest).ok().flatten();
        let read = read.and_then(|bytes| Bundle::read(bytes.to_vec()).ok());
        let objects = read.map(|bundle| bundle.objects);
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(*digest, objects.clone());
        objects
    }
}
