//! Exponential backoff with full jitter, as a value checked at construction.

use std::time::Duration;

/// How long to wait after each failure in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    /// From `min` after the first failure, doubling up to `max`.
    ///
    /// # Panics
    /// When `min` is zero or above `max`: a policy that makes a hot loop is a mistake of the program.
    pub fn new(min: Duration, max: Duration) -> Self {
        assert!(!min.is_zero() && min <= max, "a backoff needs 0 < min <= max");
        Self { min, max, failures: 0 }
    }

    /// The wait after one more failure, between half and the whole of the step; `random` is in 0..1.
    pub fn after_failure(&mut self, random: f64) -> Duration {
        let step = self.min.saturating_mul(1 << self.failures.min(20)).min(self.max);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
    }

    /// Back to the beginning.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A duration up to a fifth longer or shorter, so that many agents do not act at once; `random` is in 0..1.
pub fn jittered(duration: Duration, random: f64) -> Duration {
    duration.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_never_vanish() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<_> = (0..6).map(|_| backoff.after_failure(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.after_failure(0.0), Duration::from_secs(5));
        backoff.reset();
        assert_eq!(backoff.after_failure(0.0), Duration::from_millis(500));
    }
}
