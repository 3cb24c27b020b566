//! Facts: what the cluster says of itself, asked now and then.
//!
//! In: a target, its age identities. Out: the latest facts. Never: takes an answer that did not come for one that says no.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::fleet::Facts;
use nave_proto::backoff::jittered;
use nave_proto::limits::REQUEST_TIMEOUT;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::secrets::Secrets;
use crate::target::Target;

/// Between two looks: versions and numbers of nodes change slowly.
const PERIOD: Duration = Duration::from_secs(300);

/// While the key could not be looked at.
const KEYLESS: Duration = Duration::from_secs(10);

/// Asks until cancelled.
pub async fn run(
    target: Arc<dyn Target>,
    secrets: Arc<Secrets>,
    facts: watch::Sender<Facts>,
    cancel: CancellationToken,
) {
    loop {
        let look = async {
            secrets.refresh(&*target).await;
            if let Ok(mut seen) = timeout(REQUEST_TIMEOUT, target.facts()).await {
                seen.recipient = secrets.recipient();
                facts.send_if_modified(|last| {
                    let news = *last != seen;
                    *last = seen;
                    news
                });
            }
            let known = secrets.recipient().present().is_some();
            sleep(jittered(if known { PERIOD } else { KEYLESS }, fastrand::f64())).await;
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = look => {}
        }
    }
}
