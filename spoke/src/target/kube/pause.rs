//! Pauses on the spot: the annotation on the spoke's namespace, and on the inventories of single apps.
//!
//! In: what the API server shows. Out: what is paused. Never: takes a namespace that cannot be seen for one without the
//! annotation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use nave_placement::AppKey;
use serde_json::Value;

use super::inventory::config_maps;
use super::marks::{Marks, annotation};
use super::namespaces;
use super::shared::Shared;
use crate::pause::{ANNOTATION, Pause, Pauses, REASON};
use crate::target::TargetError;

/// Apps that are paused, as the last look at the inventories showed.
#[derive(Default)]
pub(super) struct PausedApps(Mutex<BTreeMap<AppKey, Pause>>);

impl PausedApps {
    pub fn set(&self, apps: BTreeMap<AppKey, Pause>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = apps;
    }

    pub fn get(&self) -> BTreeMap<AppKey, Pause> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What an object's annotations say.
pub(super) fn pause_of(object: &Value) -> Option<Pause> {
    Pause::read(annotation(object, ANNOTATION)?, annotation(object, REASON).unwrap_or_default())
}

impl Shared {
    /// One request, and one more for each app that is paused.
    pub async fn pauses(&self) -> Result<Pauses, TargetError> {
        let own = &self.marks.namespace;
        let all = match self.wire.get(&namespaces(), "", own).await {
            Ok(namespace) => namespace.as_ref().and_then(pause_of),
            // Rights that leave this out leave pausing to the apps' own annotations; `spoke doctor` says so.
            Err(problem) if problem.code == 403 => None,
            Err(problem) => return Err(problem.into()),
        };
        let mut apps = self.paused.get();
        for app in apps.clone().into_keys() {
            let parent = self.wire.get(&config_maps(), own, &Marks::parent_name(&app)).await?;
            match parent.as_ref().and_then(pause_of) {
                Some(pause) => drop(apps.insert(app, pause)),
                None => drop(apps.remove(&app)),
            }
        }
        self.paused.set(apps.clone());
        Ok(Pauses { all, apps })
    }
}
