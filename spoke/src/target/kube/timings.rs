//! Timings: how long the API server is waited for, and how often it is asked again.
//!
//! In: nothing. Out: numbers that suit a cluster; a test may take shorter ones. Never: zero.

use std::ops::RangeInclusive;
use std::time::Duration;

use nave_proto::backoff::Backoff;

/// How long the API server is waited for, and how often it is asked again.
#[derive(Clone, Debug)]
pub struct Timings {
    /// For an answer, or the beginning of a watch. An API server gives up a request after 60 s; one that has not answered
    /// in half of that is in trouble.
    pub answer: Duration,
    /// The server is asked to end a watch after so many seconds, by chance within these. A watch that has not ended a
    /// moment later is half open, and is taken up where it was: so nothing stays unheard for longer, whatever swallows
    /// packets. One small request a kind in that time.
    pub watch: RangeInclusive<u32>,
    /// A watch ends by itself within this time after it should.
    pub slack: Duration,
    /// Between attempts at a watch that fails: the first wait, and the longest.
    pub retry: (Duration, Duration),
    /// Between attempts at what is forbidden, or not served: rights change rarely and by hand, but an API server that
    /// has just started knows none for a moment, and a binding that is replaced is away for one.
    pub refused: (Duration, Duration),
}

impl Default for Timings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            answer: seconds(30),
            watch: 90..=120,
            slack: seconds(5),
            retry: (seconds(1), seconds(30)),
            refused: (seconds(4), seconds(300)),
        }
    }
}

impl Timings {
    pub(super) fn retry(&self) -> Backoff {
        Backoff::new(self.retry.0, self.retry.1)
    }

    pub(super) fn refused(&self) -> Backoff {
        Backoff::new(self.refused.0, self.refused.1)
    }
}
