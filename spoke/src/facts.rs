//! Facts: what the cluster says of itself, asked now and then.
//!
//! In: a target, its age identities. Out: the latest facts, sooner where other kinds came to be served.
//! Never: takes an answer that did not come for one that says no.

use std::sync::Arc;
use std::time::Duration;

use nave_placement::fleet::{Fact, Facts};
use nave_proto::backoff::jittered;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::secrets::Secrets;
use crate::target::Target;

/// Between two looks: versions and nodes change slowly.
const PERIOD: Duration = Duration::from_secs(300);

/// While the key could not be looked at, or the cluster did not even say its version, which everybody may ask.
const SOON: Duration = Duration::from_secs(10);

/// After new kinds were discovered: whoever installs one installs more.
const SETTLE: Duration = Duration::from_secs(10);

/// Each request of a look has its own limit; this one is for the pages of the largest cluster, 5,000 nodes.
const LOOK: Duration = Duration::from_secs(300);

/// Asks until cancelled.
pub async fn run(
    target: Arc<dyn Target>,
    secrets: Arc<Secrets>,
    facts: watch::Sender<Facts>,
    cancel: CancellationToken,
) {
    let mut discoveries = target.discoveries();
    let ask = async {
        loop {
            discoveries.mark_unchanged();
            secrets.refresh(&*target).await;
            let mut answered = false;
            if let Ok(mut seen) = timeout(LOOK, target.facts()).await {
                answered = seen.kubernetes != Fact::Unknown;
                seen.recipient = secrets.recipient();
                facts.send_if_modified(|last| {
                    let news = *last != seen;
                    *last = seen;
                    news
                });
            }
            let known = answered && secrets.recipient().present().is_some();
            let discovered = async {
                if discoveries.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                sleep(jittered(SETTLE, fastrand::f64())).await;
            };
            tokio::select! {
                () = sleep(jittered(if known { PERIOD } else { SOON }, fastrand::f64())) => {}
                () = discovered => {}
            }
        }
    };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = ask => {}
    }
}
