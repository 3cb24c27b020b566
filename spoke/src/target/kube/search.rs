//! Search: the objects of apps whose inventories are gone or damaged, found by their marks.
//!
//! In: apps without a whole inventory. Out: their inventories, as the objects themselves tell, and whether that is all.
//! Never: looks through a cluster without a reason: once when a process begins, when an inventory is missing that was
//! there, and before such an app counts as gone; takes what is refused, or does not answer, for what is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use kube::core::discovery::ApiResource;
use nave_placement::render::{Scope, Scopes as _};
use nave_placement::{AppKey, ObjectKey};
use serde_json::Value;

use super::marks::{self, PART_OF};
use super::shared::{Shared, text};
use crate::plan::terms::PRUNE;
use crate::target::{Missing, Rebuilt, TargetError};

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

/// An object of ours: the mark of its app, its key, and what it says of its end.
type Ours = (String, ObjectKey, Option<String>);

/// What listing a kind in all places came to.
enum Listed {
    /// It was listed.
    Whole,
    /// Nobody can list it (reviews), or it is not served any more: it has no objects of ours.
    Never,
    /// We may not list it in any place. What we may not list we could not have applied, as long as our rights are what
    /// they were.
    Refused(TargetError),
    /// It may have more.
    Unknown(TargetError),
}

impl Shared {
    pub async fn search(&self, missing: &Missing) -> Rebuilt {
        let apps = self.searched.wanted(missing);
        let mut found = Rebuilt::default();
        if !apps.is_empty() {
            let by_mark: BTreeMap<String, &AppKey> =
                apps.iter().map(|app| (marks::app_mark(app), app)).collect();
            let (ours, unknown) = self.marked().await;
            for (mark, key, prune) in ours {
                let Some(app) = by_mark.get(&mark) else { continue };
                let inventory = found.inventories.entry((*app).clone()).or_default();
                match prune.as_deref() {
                    Some("false") => drop(inventory.kept.insert(key.clone())),
                    Some("true") => drop(inventory.expendable.insert(key.clone())),
                    _ => {}
                }
                inventory.objects.insert(key);
            }
            found.unknown = unknown;
        }
        for (app, inventory) in &found.inventories {
            tracing::warn!(%app, objects = inventory.objects.len(), "an inventory was lost, and is rebuilt from the app's objects");
        }
        if found.unknown.is_none() {
            self.searched.begun.store(true, Ordering::Relaxed);
            for app in missing.leaving.iter().filter(|app| !found.inventories.contains_key(*app)) {
                self.searched.known(app, true);
            }
        }
        found
    }

    /// All that has our marks, and why there may be more.
    async fn marked(&self) -> (Vec<Ours>, Option<TargetError>) {
        let mut unknown = None;
        for group in self.kinds().silent() {
            if let Err(problem) = self.discover_group(&group).await {
                let why = format!("the API group {group:?} does not answer: {}", problem.error);
                unknown = Some(TargetError::Unreachable(why));
            }
        }
        let (mut ours, mut refused, mut whole) = (Vec::new(), Vec::new(), None);
        for (kind, found, listed) in self.list_all(self.kinds().all()).await {
            ours.extend(found);
            match listed {
                Listed::Whole => whole = Some(kind),
                Listed::Never => {}
                Listed::Refused(error) => refused.push((kind, error)),
                Listed::Unknown(error) => unknown = Some(error),
            }
        }
        // Rights that are away for a moment (a binding is replaced, a server has just started) refuse everything, or what
        // was asked for until they were back. So one kind that was listed must still be, when the others are asked again.
        match (refused.pop(), whole) {
            (None, _) => {}
            (Some((_, error)), None) => unknown = Some(error),
            (Some((last, _)), Some(witness)) => {
                let again = refused.into_iter().map(|(kind, _)| kind).chain([last, witness.clone()]);
                for (kind, found, listed) in self.list_all(again.collect()).await {
                    ours.extend(found);
                    match listed {
                        Listed::Refused(error) if kind == witness => unknown = Some(error),
                        Listed::Unknown(error) => unknown = Some(error),
                        Listed::Whole | Listed::Never | Listed::Refused(_) => {}
                    }
                }
            }
        }
        (ours, unknown)
    }

    async fn list_all(&self, kinds: Vec<ApiResource>) -> Vec<(ApiResource, Vec<Ours>, Listed)> {
        let lists = kinds.into_iter().map(|kind| async move {
            let (ours, listed) = self.list_marked(&kind).await;
            (kind, ours, listed)
        });
        futures::stream::iter(lists).buffer_unordered(AT_ONCE).collect().await
    }

    /// The objects of a kind that have our marks, in all places that we look at.
    async fn list_marked(&self, kind: &ApiResource) -> (Vec<Ours>, Listed) {
        let namespaced = self.kinds().scope(&kind.group, &kind.kind) == Some(Scope::Namespaced);
        let places = if namespaced { self.everywhere() } else { vec![""] };
        let (mut ours, mut refused, mut seen) = (Vec::new(), None, false);
        for place in places {
            let each = |live: Value| ours.extend(self.listed(&kind.group, &kind.kind, &live));
            match self.wire.list(kind, place, Some(PART_OF), true, each).await {
                Ok(()) => seen = true,
                Err(problem) => match problem.code {
                    404 | 405 => return (ours, Listed::Never),
                    403 => refused = Some(problem.error),
                    _ => return (ours, Listed::Unknown(problem.error)),
                },
            }
        }
        let listed = match refused {
            None => Listed::Whole,
            Some(error) if seen => Listed::Unknown(error),
            Some(error) => Listed::Refused(error),
        };
        (ours, listed)
    }

    /// Whose the object is, its key, and what it says of its end; `None` for what is not ours, copies included.
    fn listed(&self, group: &str, kind: &str, live: &Value) -> Option<Ours> {
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
