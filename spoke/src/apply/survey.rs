//! A look at many: what the apps of a round claim, as a target asks for it.
//!
//! In: the index, what is desired. Out: an app with its objects, when one of them is met.
//! Never: holds more than a few apps' objects at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use nave_placement::render::Scopes;
use nave_placement::{AppKey, ObjectKey};

use super::Desired;
use crate::plan::{ClaimedObject, Index};
use crate::target::{Claims, Holder};

/// Apps whose objects are held: lists are sorted by namespace, so that an app's objects come close together.
const HELD: usize = 4;

/// The claims of the apps in focus.
pub(super) struct Survey<'a> {
    desired: &'a Desired<'a>,
    scopes: &'a (dyn Scopes + Send + Sync),
    objects: Vec<&'a ClaimedObject>,
    holders: BTreeMap<&'a ObjectKey, &'a AppKey>,
    held: Mutex<VecDeque<Arc<Holder>>>,
}

impl<'a> Survey<'a> {
    /// Of these apps. What two claim is left to those who settle it.
    pub fn new(
        desired: &'a Desired<'a>,
        scopes: &'a (dyn Scopes + Send + Sync),
        index: &'a Index,
        focus: &BTreeSet<AppKey>,
    ) -> Self {
        let mut objects = Vec::new();
        let mut holders = BTreeMap::new();
        for (app, claimed) in index.iter().filter(|(app, _)| focus.contains(*app)) {
            for object in claimed.objects.iter().flatten().filter(|object| object.served) {
                objects.push(object);
                holders.entry(&object.key).or_insert(app);
            }
        }
        Self { desired, scopes, objects, holders, held: Mutex::default() }
    }

    fn held(&self, app: &AppKey) -> Option<Arc<Holder>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|holder| holder.app == *app).cloned()
    }
}

#[async_trait]
impl Claims for Survey<'_> {
    fn objects(&self) -> Vec<&ClaimedObject> {
        self.objects.clone()
    }

    async fn holder(&self, key: &ObjectKey) -> Option<Arc<Holder>> {
        let app = *self.holders.get(key)?;
        if let Some(held) = self.held(app) {
            return Some(held);
        }
        let wanted = self.desired.resolve(app, self.scopes).await.ok()?;
        let treatment = wanted.entry.options.treatment;
        let holder = Arc::new(Holder { app: app.clone(), treatment, objects: wanted.objects });
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push_back(holder.clone());
        if held.len() > HELD {
            held.pop_front();
        }
        Some(holder)
    }
}
