//! Search: the objects of apps whose inventories are gone, found by their marks.
//!
//! In: apps without an inventory. Out: their inventories, as the objects themselves tell.
//! Never: looks through a cluster without a reason: once when a process begins, when an inventory is missing that was
//! there, and before such an app counts as gone; a kind that cannot be listed for good is passed over, one that does not answer is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;

use super::marks::{self, PART_OF};
use super::problem::Problem;
use super::shared::{Shared, text};
use crate::plan::terms::PRUNE;
use crate::target::{Inventory, Missing, TargetError};

/// Lists at once.
const AT_ONCE: usize = 4;

/// What needs no search.
#[derive(Default)]
pub(super) struct Searched {
    begun: AtomicBool,
    /// Apps that are known to have nothing here: searched for, or gone by our own hand.
    gone: Mutex<BTreeSet<AppKey>>,
}

impl Searched {
    /// From now on the app is known to have nothing here, or something.
    pub fn known(&self, app: &AppKey, gone: bool) {
        let mut apps = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        if gone {
            apps.insert(app.clone())
        } else {
            apps.remove(app)
        };
    }

    /// The apps that a search is for.
    fn wanted(&self, missing: &Missing) -> BTreeSet<AppKey> {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let mut apps: BTreeSet<_> = missing.leaving.difference(&gone).cloned().collect();
        apps.extend(missing.lost.difference(&gone).cloned());
        if !self.begun.load(Ordering::Relaxed) || !apps.is_empty() {
            apps.extend(missing.assigned.iter().cloned());
        }
        apps
    }
}

impl Shared {
    pub async fn search(&self, missing: &Missing) -> Result<BTreeMap<AppKey, Inventory>, TargetError> {
        let apps = self.searched.wanted(missing);
        let mut found = BTreeMap::<AppKey, Inventory>::new();
        if !apps.is_empty() {
            let by_mark: BTreeMap<String, &AppKey> =
                apps.iter().map(|app| (marks::app_mark(app), app)).collect();
            let kinds = self.kinds().all();
            let lists = kinds.into_iter().map(|kind| async move {
                let mut ours = Vec::new();
                let each = |live: Value| ours.extend(self.listed(&kind.group, &kind.kind, &live));
                let listed = self.wire.list(&kind, "", Some(PART_OF), true, each).await;
                listed.map(|()| ours).or_else(|problem| passed_over(problem).map(|()| Vec::new()))
            });
            let mut answers = futures::stream::iter(lists).buffer_unordered(AT_ONCE);
            while let Some(objects) = answers.next().await {
                for (mark, key, prune) in objects? {
                    let Some(app) = by_mark.get(&mark) else { continue };
                    let inventory = found.entry((*app).clone()).or_default();
                    match prune.as_deref() {
                        Some("false") => drop(inventory.kept.insert(key.clone())),
                        Some("true") => drop(inventory.expendable.insert(key.clone())),
                        _ => {}
                    }
                    inventory.objects.insert(key);
                }
            }
        }
        self.searched.begun.store(true, Ordering::Relaxed);
        for app in missing.leaving.iter().filter(|app| !found.contains_key(*app)) {
            self.searched.known(app, true);
        }
        for (app, inventory) in &found {
            tracing::warn!(%app, objects = inventory.objects.len(), "an inventory was lost, and is rebuilt from the app's objects");
        }
        Ok(found)
    }

    /// Whose the object is, its key, and what it says of its end; `None` for what is not ours, copies included.
    fn listed(&self, group: &str, kind: &str, live: &Value) -> Option<(String, ObjectKey, Option<String>)> {
        let key = ObjectKey {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: text(live, "/metadata/namespace").to_owned(),
            name: text(live, "/metadata/name").to_owned(),
        };
        let app = marks::annotation(live, marks::APP)?.to_owned();
        let parsed: AppKey = app.parse().ok()?;
        let is_its =
            marks::part_of(live) == Some(&self.marks.set_id(&parsed)) && self.marks.is_ours(&key, live);
        is_its.then(|| (app, key, marks::annotation(live, PRUNE).map(str::to_owned)))
    }
}

/// Kinds that nobody can list (reviews), or that are not served any more, have none of our objects; what we may not list
/// we could not have applied.
fn passed_over(problem: Problem) -> Result<(), Problem> {
    if matches!(problem.code, 403..=405) { Ok(()) } else { Err(problem) }
}
