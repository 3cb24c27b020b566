//! Settle: after what we wrote had its time, somebody looks again.
//!
//! In: what was seen. Out: a change is counted once the settling time is over. Never: runs two timers at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nave_placement::ObjectKey;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::shared::Shared;
use crate::observe::health::{SETTLES, SETTLING};
use crate::target::{Seen, TargetError};

/// The one timer; it ends with it.
#[derive(Default)]
pub(super) struct Settling(Mutex<Option<AbortOnDropHandle<()>>>);

impl Settling {
    /// Counts a change after the settling time, if something settles. What still settles then is seen so, and waits anew.
    pub fn after(
        &self,
        seen: &BTreeMap<ObjectKey, Result<Seen, TargetError>>,
        shared: &Arc<Shared>,
        runtime: &Handle,
    ) {
        let settles = |seen: &Result<Seen, TargetError>| matches!(seen, Ok(Seen::Ours { health, .. }) if health.reason == SETTLES);
        if !seen.values().any(settles) {
            return;
        }
        let mut timer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let shared = shared.clone();
            *timer = Some(AbortOnDropHandle::new(runtime.spawn(async move {
                sleep(SETTLING).await;
                shared.bump();
            })));
        }
    }
}
