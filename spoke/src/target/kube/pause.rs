//! Pauses on the spot: the annotation on the spoke's namespace, and on the inventories of single apps.
//!
//! In: what the API server shows. Out: what is paused. Never: takes what cannot be seen for what is not paused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nave_placement::AppKey;
use nave_proto::backoff::jittered;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::inventory::{SELECTOR, app_of, config_maps};
use super::marks::annotation;
use super::namespaces;
use super::shared::{Shared, text};
use super::stream::{Event, Stream};
use crate::pause::{ANNOTATION, Pause, Pauses, REASON};
use crate::target::TargetError;

/// The inventories of all apps are listed so often at most, unless one of them tells of a pause.
const FRESH: Duration = Duration::from_secs(4);
/// How often the spoke's namespace is looked at for a pause of everything: one small request.
const LOOK: Duration = Duration::from_secs(15);

/// Apps that are paused, as the last look at the inventories showed, and when that was.
#[derive(Default)]
pub(super) struct PausedApps(Mutex<Option<(Instant, BTreeMap<AppKey, Pause>)>>);

impl PausedApps {
    fn fresh(&self) -> Option<BTreeMap<AppKey, Pause>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, apps)| apps.clone())
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn set(&self, apps: BTreeMap<AppKey, Pause>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), apps));
    }
}

/// What an object's annotations say.
fn pause_of(object: &Value) -> Option<Pause> {
    Pause::read(annotation(object, ANNOTATION)?, annotation(object, REASON).unwrap_or_default())
}

/// Follows what pauses on the spot, so that it holds at once; ends with the handles.
pub(super) fn follow(shared: &Arc<Shared>, runtime: &Handle) -> [AbortOnDropHandle<()>; 2] {
    let (of_apps, of_all) = (follow_apps(shared.clone()), follow_all(shared.clone()));
    [runtime.spawn(of_apps), runtime.spawn(of_all)].map(AbortOnDropHandle::new)
}

/// The annotations of the inventories, by a watch of their metadata.
async fn follow_apps(shared: Arc<Shared>) {
    let maps = Arc::new(config_maps());
    let mut events = Stream::of(&shared.wire, &maps, &shared.marks.namespace, Some(SELECTOR));
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    loop {
        let (object, said) = match events.next().await {
            Ok(Event::Changed(object) | Event::Listed(object)) => {
                let said = annotation(&object, ANNOTATION).map(str::to_owned);
                (object, said)
            }
            Ok(Event::Deleted(object)) => (object, None),
            Ok(Event::Begun | Event::Complete) => continue,
            Err(problem) => {
                tracing::debug!(error = %problem.error, "pauses of apps are heard of a little later");
                continue;
            }
        };
        let name = text(&object, "/metadata/name");
        if known.get(name) != said.as_ref() {
            match said {
                Some(said) => drop(known.insert(name.to_owned(), said)),
                None => drop(known.remove(name)),
            }
            shared.paused.forget();
            shared.tell(|_| {});
        }
    }
}

/// The annotation of the spoke's namespace. Not by a watch: narrow rights allow to get it, and no more.
async fn follow_all(shared: Arc<Shared>) {
    let mut known = None;
    loop {
        if let Ok(namespace) = shared.wire.get(&namespaces(), "", &shared.marks.namespace).await {
            let said = namespace.as_ref().and_then(|n| annotation(n, ANNOTATION)).map(str::to_owned);
            if known.replace(said.clone()).is_some_and(|known| known != said) {
                shared.tell(|_| {});
            }
        }
        sleep(jittered(LOOK, fastrand::f64())).await;
    }
}

impl Shared {
    /// One request, and now and then a list of the inventories' metadata.
    pub async fn pauses(&self) -> Result<Pauses, TargetError> {
        let own = &self.marks.namespace;
        // Also where it is forbidden: what cannot be seen is not absent, and rights that are away for a moment lift no pause.
        let namespace = self.wire.get(&namespaces(), "", own).await?;
        let all = namespace.as_ref().and_then(pause_of);
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
