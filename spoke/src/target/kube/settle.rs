//! Settle: after what we wrote had its time, somebody looks again.
//!
//! In: what was seen. Out: a change is counted once the settling time is over. Never: runs two timers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use nave_placement::ObjectKey;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::shared::Shared;
use crate::observe::health::{SETTLES, SETTLING};
use crate::target::{Seen, TargetError};

/// The one timer, which ends with it, and what it is for.
#[derive(Default)]
pub(super) struct Settling {
    timer: Mutex<Option<AbortOnDropHandle<()>>>,
    objects: Arc<Mutex<BTreeSet<ObjectKey>>>,
}

impl Settling {
    /// Tells of what settles after the settling time. What still settles then is seen so, and waits anew.
    pub fn after(
        &self,
        seen: &BTreeMap<ObjectKey, Result<Seen, TargetError>>,
        shared: &Arc<Shared>,
        runtime: &Handle,
    ) {
        let settles = |seen: &Result<Seen, TargetError>| matches!(seen, Ok(Seen::Ours { health, .. }) if health.reason == SETTLES);
        let settling: Vec<_> =
            seen.iter().filter(|(_, seen)| settles(seen)).map(|(key, _)| key.clone()).collect();
        if settling.is_empty() {
            return;
        }
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).extend(settling);
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let (shared, objects) = (shared.clone(), self.objects.clone());
            *timer = Some(AbortOnDropHandle::new(runtime.spawn(async move {
                sleep(SETTLING).await;
                let settled = std::mem::take(&mut *objects.lock().unwrap_or_else(PoisonError::into_inner));
                shared.tell(|changed| changed.objects.extend(settled));
            })));
        }
    }
}
