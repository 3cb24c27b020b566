//! Pauses on the spot: the annotation on the spoke's namespace, and on the inventories of single apps.
//!
//! In: what the API server shows. Out: what is paused. Never: takes what cannot be seen for what is not paused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nave_placement::AppKey;
use serde_json::Value;

use super::inventory::{SELECTOR, app_of, config_maps};
use super::marks::annotation;
use super::namespaces;
use super::shared::Shared;
use crate::pause::{ANNOTATION, Pause, Pauses, REASON};
use crate::target::TargetError;

/// The inventories of all apps are looked at so often at most: whoever pauses one waits no longer.
const FRESH: Duration = Duration::from_secs(4);

/// Apps that are paused, as the last look at the inventories showed, and when that was.
#[derive(Default)]
pub(super) struct PausedApps(Mutex<Option<(Instant, BTreeMap<AppKey, Pause>)>>);

impl PausedApps {
    fn fresh(&self) -> Option<BTreeMap<AppKey, Pause>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, apps)| apps.clone())
    }

    fn set(&self, apps: BTreeMap<AppKey, Pause>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), apps));
    }
}

/// What an object's annotations say.
fn pause_of(object: &Value) -> Option<Pause> {
    Pause::read(annotation(object, ANNOTATION)?, annotation(object, REASON).unwrap_or_default())
}

impl Shared {
    /// One request, and now and then a list of the inventories' metadata.
    pub async fn pauses(&self) -> Result<Pauses, TargetError> {
        let own = &self.marks.namespace;
        let all = match self.wire.get(&namespaces(), "", own).await {
            Ok(namespace) => namespace.as_ref().and_then(pause_of),
            // Rights that leave this out leave pausing to the apps' own annotations; `spoke doctor` says so.
            Err(problem) if problem.code == 403 => None,
            Err(problem) => return Err(problem.into()),
        };
        if let Some(apps) = self.paused.fresh() {
            return Ok(Pauses { all, apps });
        }
        let mut apps = BTreeMap::new();
        let each = |parent: Value| {
            if let (Some(pause), Ok(app)) = (pause_of(&parent), app_of(&parent)) {
                apps.insert(app, pause);
            }
        };
        self.wire.list(&config_maps(), own, Some(SELECTOR), true, each).await?;
        self.paused.set(apps.clone());
        Ok(Pauses { all, apps })
    }
}
