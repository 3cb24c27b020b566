//! Waiting for a condition, the only way in which tests let time pass.
//!
//! In: a sentence, a limit, and a closure that looks once. Out: the value that the closure came to, or a panic with the
//! sentence and the last state seen. It never waits longer than the limit plus one look, and never without looking.

use std::fmt::Display;
use std::panic::Location;
use std::time::{Duration, Instant};

/// The pause after the first look; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Short enough that a test loses little, long enough that ten waiting tests leave the processors to what they wait for.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// What one look saw: the value waited for, or the state that is not it yet.
///
/// A closure may answer `bool`, `Option<T>` or, best for whoever reads the failure, `Result<T, impl Display>`.
pub trait Look {
    /// What is waited for.
    type Value;

    /// The value, or the present state in words.
    fn seen(self) -> Result<Self::Value, String>;
}

impl Look for bool {
    type Value = ();

    fn seen(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it does not hold".into()) }
    }
}

impl<T> Look for Option<T> {
    type Value = T;

    fn seen(self) -> Result<T, String> {
        self.ok_or_else(|| "there is nothing".into())
    }
}

impl<T, E: Display> Look for Result<T, E> {
    type Value = T;

    fn seen(self) -> Result<T, String> {
        // The alternate form prints the whole chain of an `anyhow::Error`.
        self.map_err(|state| format!("{state:#}"))
    }
}

/// Looks until there is a value.
///
/// # Panics
/// When `limit` has passed, with `what` and the last state seen.
#[track_caller]
pub fn until<L: Look>(
    what: &str,
    limit: Duration,
    look: impl AsyncFnMut() -> L,
) -> impl Future<Output = L::Value> {
    let caller = Location::caller();
    async move {
        match within(limit, look).await {
            Ok(value) => value,
            Err(last) => panic!("{caller}: not within {limit:?}: {what}; last seen: {last}"),
        }
    }
}

/// Looks until there is a value or `limit` has passed; then the last state seen is the error.
pub async fn within<L: Look>(limit: Duration, mut look: impl AsyncFnMut() -> L) -> Result<L::Value, String> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let state = match look().await.seen() {
            Ok(value) => return Ok(value),
            Err(state) => state,
        };
        if start.elapsed() >= limit {
            return Err(state);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Looks, again and again for the whole of `period`, that something goes on to hold.
///
/// For what must *not* happen, where there is no event to wait for. The period is the strength of the claim.
///
/// # Panics
/// At the first look that sees it broken.
#[track_caller]
pub fn throughout<L: Look>(
    what: &str,
    period: Duration,
    mut look: impl AsyncFnMut() -> L,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        while start.elapsed() < period {
            if let Err(state) = look().await.seen() {
                panic!("{caller}: broken after {:?}: {what}; seen: {state}", start.elapsed());
            }
            tokio::time::sleep(LONGEST_PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_ends_the_waiting() {
        let mut looks = 0;
        let third = until("three looks", Duration::from_secs(5), async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(third.await, 3);
    }

    #[tokio::test]
    async fn the_error_is_the_last_state_seen() {
        let mut looks = 0;
        let last = within(Duration::from_millis(30), async || {
            looks += 1;
            Err::<(), _>(format!("look {looks}"))
        })
        .await;
        assert_eq!(last, Err(format!("look {looks}")));
        assert!(looks > 1);
    }

    #[tokio::test]
    #[should_panic(expected = "the sky is green; last seen: it is blue")]
    async fn a_time_out_panics_with_the_sentence_and_the_state() {
        until("the sky is green", Duration::ZERO, async || Err::<(), _>("it is blue")).await;
    }
}
