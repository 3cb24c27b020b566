//! Gate: how many requests are under way, and for how long none may be.
//!
//! In: what came of each request. Out: leave to send the next, or why not.
//! Never: lets a server that does not answer be asked by every app of every round; forgets what a server asked for.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nave_proto::backoff::Backoff;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use super::problem::Problem;

/// Requests at once: enough to keep a small API server busy, few enough for the fair share of one client.
const AT_ONCE: usize = 16;
/// Lists and watches that nobody waits for, at once beside these: that one group hangs holds up nobody's turn.
const STREAMS_AT_ONCE: usize = 4;
/// A server that does not answer is asked again so much later, by whoever comes first.
const CLOSED_MIN: Duration = Duration::from_millis(250);
const CLOSED_MAX: Duration = Duration::from_secs(15);
/// A wait up to this is waited out, a longer one is told to the caller: his app has its own backoff.
const PATIENCE: Duration = Duration::from_secs(2);
/// No more is granted to a server that asks to be left alone.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

pub(super) struct Gate {
    calls: Semaphore,
    streams: Semaphore,
    closed: Mutex<Closed>,
}

struct Closed {
    until: Instant,
    backoff: Backoff,
    why: String,
}

/// For whom a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// For somebody who waits for the answer.
    Calls,
    /// For a stream.
    Streams,
}

/// How it stands with the gate.
#[derive(Debug, PartialEq)]
enum Now {
    Open,
    Wait(Instant),
    Closed(String),
}

impl Default for Gate {
    fn default() -> Self {
        let backoff = Backoff::new(CLOSED_MIN, CLOSED_MAX);
        let closed = Closed { until: Instant::now(), backoff, why: String::new() };
        let (calls, streams) = (Semaphore::new(AT_ONCE), Semaphore::new(STREAMS_AT_ONCE));
        Self { calls, streams, closed: Mutex::new(closed) }
    }
}

impl Gate {
    fn closed(&self) -> std::sync::MutexGuard<'_, Closed> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to send one request, held while it is under way.
    pub async fn enter(&self, lane: Lane) -> Result<SemaphorePermit<'_>, Problem> {
        let lane = match lane {
            Lane::Calls => &self.calls,
            Lane::Streams => &self.streams,
        };
        let permit = lane.acquire().await.map_err(Problem::unanswered)?;
        loop {
            match self.now(Instant::now()) {
                Now::Open => return Ok(permit),
                Now::Wait(until) => sleep_until(until).await,
                Now::Closed(why) => return Err(Problem::unanswered(why)),
            }
        }
    }

    fn now(&self, now: Instant) -> Now {
        let closed = self.closed();
        match closed.until.saturating_duration_since(now) {
            Duration::ZERO => Now::Open,
            wait if wait > PATIENCE => Now::Closed(closed.why.clone()),
            _ => Now::Wait(closed.until),
        }
    }

    /// The server answered. With `retry_after` it asked to be left alone for so long.
    pub fn answered(&self, now: Instant, retry_after: Option<Duration>, why: &str) {
        let mut closed = self.closed();
        closed.backoff.reset();
        if let Some(after) = retry_after {
            let until = now + after.clamp(CLOSED_MIN, RETRY_AFTER_MAX);
            closed.until = closed.until.max(until);
            why.clone_into(&mut closed.why);
        }
    }

    /// The server did not answer.
    pub fn unanswered(&self, now: Instant, why: &str) {
        let mut closed = self.closed();
        // Requests that were under way together fail together: that is one failure.
        if closed.until <= now {
            closed.until = now + closed.backoff.after_failure(fastrand::f64());
            why.clone_into(&mut closed.why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_asks_to_be_left_alone_is() {
        let (gate, now) = (Gate::default(), Instant::now());
        let second = Duration::from_secs(1);
        gate.answered(now, Some(second), "busy");
        assert_eq!(gate.now(now), Now::Wait(now + second));
        assert_eq!(gate.now(now + second), Now::Open);
        gate.answered(now, Some(20 * second), "busy");
        assert_eq!(gate.now(now), Now::Closed("busy".into()), "who would wait long is told at once");
        assert_eq!(gate.now(now + 19 * second), Now::Wait(now + 20 * second));
        gate.answered(now, Some(3_600 * second), "go away");
        assert_eq!(gate.now(now + RETRY_AFTER_MAX), Now::Open, "but not for ever");
    }

    #[test]
    fn the_longer_a_server_is_silent_the_more_rarely_it_is_asked() {
        let (gate, begun) = (Gate::default(), Instant::now());
        let mut asked = 0;
        for tenths in 0..6_000 {
            let now = begun + Duration::from_millis(100 * tenths);
            if gate.now(now) == Now::Open {
                asked += 1;
                gate.unanswered(now, "no route");
                gate.unanswered(now, "a second one that failed together with it");
            }
        }
        // Within ten minutes: 15 s apart after a few tries, less up to half by chance.
        assert!((40..=90).contains(&asked), "{asked}");
    }
}
