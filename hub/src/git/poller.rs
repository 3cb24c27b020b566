//! Watches a branch.
//!
//! In: a [`Repository`], an interval, pokes (webhooks, `hub wait`). Out: a `watch` of [`Observation`]s.
//! Never: ends by itself, spawns, or forgets the last head because a fetch failed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{FetchError, Head, Repository};

/// The longest pause after repeated errors, unless the interval itself is longer.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// What the poller knows.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    /// The newest commit, as of the last success.
    pub head: Option<Head>,
    /// Why the last poll failed; `None` when it succeeded.
    pub last_error: Option<Arc<FetchError>>,
    /// End of the last successful poll, in milliseconds since 1970.
    pub last_success: Option<u64>,
    /// End of the last poll, in milliseconds since 1970.
    pub last_attempt: Option<u64>,
    /// How many polls have ended.
    pub polls: u64,
    /// A poll is under way. Changes of this alone do not wake the watchers.
    pub polling: bool,
}

impl Observation {
    /// The value of `polls` from which on a poll has ended that began after now. Read it, then poke, then wait for it:
    /// that poll has seen whatever was pushed before.
    pub fn next_fresh(&self) -> u64 {
        self.polls + 1 + u64::from(self.polling)
    }
}

/// Polls until cancelled: every `interval` ± 20 %, at once when poked, more and more rarely while it fails. Each poll that
/// ends is published, also when nothing changed; `now` gives milliseconds since 1970.
pub async fn run(
    repository: Repository,
    interval: Duration,
    mut poke: watch::Receiver<()>,
    cancel: CancellationToken,
    out: watch::Sender<Observation>,
    now: impl Fn() -> u64 + Send,
) {
    let mut failures = 0;
    loop {
        out.send_if_modified(|seen| {
            seen.polling = true;
            false
        });
        let result = tokio::select! {
            result = repository.fetch() => result,
            () = cancel.cancelled() => return,
        };
        failures = if result.is_ok() { 0 } else { failures + 1 };
        out.send_modify(|seen| seen.take(result, now()));
        tokio::select! {
            () = tokio::time::sleep(pause(interval, failures, fastrand::f64())) => {}
            Ok(()) = poke.changed() => {}
            () = cancel.cancelled() => return,
        }
    }
}

impl Observation {
    fn take(&mut self, result: Result<Head, FetchError>, now: u64) {
        self.polls += 1;
        self.polling = false;
        self.last_attempt = Some(now);
        match result {
            Ok(head) => {
                self.last_success = Some(now);
                self.last_error = None;
                self.head = Some(head);
            }
            Err(error) => self.last_error = Some(Arc::new(error)),
        }
    }
}

/// Doubles with each failure after the first; `random` in 0..1 moves it by a fifth either way.
pub(crate) fn pause(interval: Duration, failures: u32, random: f64) -> Duration {
    let factor = 1u32 << failures.saturating_sub(1).min(16);
    let base = interval.saturating_mul(factor).min(MAX_BACKOFF.max(interval));
    base.mul_f64(0.8 + 0.4 * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_failures_to_a_bound_and_vary_by_a_fifth() {
        for (interval, failures, random, expected) in [
            (30, 0, 0.5, 30.0),
            (30, 0, 0.0, 24.0),
            (30, 0, 1.0, 36.0),
            (30, 1, 0.5, 30.0),
            (30, 3, 0.5, 120.0),
            (30, 9, 0.5, 300.0),
            (30, 999, 1.0, 360.0),
            (3600, 9, 0.5, 3600.0),
        ] {
            let found = pause(Duration::from_secs(interval), failures, random).as_secs_f64();
            assert!((found - expected).abs() < 1e-6, "{interval} s after {failures} failures: {found}");
        }
    }
}
