//! Facts: what the cluster says of itself, asked now and then.
//!
//! In: a target. Out: the latest facts. Never: takes an answer that did not come for one that says no.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::fleet::Facts;
use nave_proto::backoff::jittered;
use nave_proto::limits::REQUEST_TIMEOUT;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::target::Target;

/// Between two looks: versions and numbers of nodes change slowly.
const PERIOD: Duration = Duration::from_secs(300);

/// Asks until cancelled.
pub async fn run(target: Arc<dyn Target>, facts: watch::Sender<Facts>, cancel: CancellationToken) {
    loop {
        let look = async {
            if let Ok(seen) = timeout(REQUEST_TIMEOUT, target.facts()).await {
                facts.send_if_modified(|last| {
                    let news = *last != seen;
                    *last = seen;
                    news
                });
            }
            sleep(jittered(PERIOD, fastrand::f64())).await;
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = look => {}
        }
    }
}
