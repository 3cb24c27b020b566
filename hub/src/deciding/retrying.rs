//! Retrying: variants that could not be rendered for want of the machine, and when they are tried again.
//!
//! In: what came of rendering, the time. Out: what is to be tried anew. Never: tries again what the files themselves make
//! impossible, or sooner the longer nothing came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use nave_placement::AppKey;
use nave_placement::overrides::Variant;
use nave_proto::backoff::Backoff;

/// A program that is missing is soon there, where somebody works on the machine.
const FIRST: Duration = Duration::from_secs(5);
/// What takes too long costs a processor each time.
const LONGEST: Duration = Duration::from_secs(1_200);

/// Variants that the machine lacked something for.
pub type Unable = BTreeSet<(AppKey, Variant)>;

/// What is tried again, and when.
pub(super) struct Retrying {
    backoff: Backoff,
    unable: Unable,
    /// Unix milliseconds.
    due_ms: Option<u64>,
}

impl Default for Retrying {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST, LONGEST), unable: Unable::default(), due_ms: None }
    }
}

impl Retrying {
    /// When something is to be tried again.
    pub fn due_ms(&self) -> Option<u64> {
        self.due_ms
    }

    /// Remembers what could not be rendered.
    pub fn add(&mut self, unable: Unable, now_ms: u64, random: f64) {
        if unable.is_empty() {
            return;
        }
        self.unable.extend(unable);
        let backoff = &mut self.backoff;
        self.due_ms.get_or_insert_with(|| {
            let pause = backoff.after_failure(random);
            now_ms.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
        });
    }

    /// What is to be tried again now.
    pub fn take(&mut self, now_ms: u64) -> Option<Unable> {
        self.due_ms.take_if(|due_ms| *due_ms <= now_ms)?;
        Some(std::mem::take(&mut self.unable))
    }

    /// Whatever was to be tried again was, or is another now.
    pub fn settled(&mut self) {
        if self.due_ms.is_none() {
            self.backoff.reset();
        }
    }

    /// Nothing of it is asked for any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unable() -> Unable {
        let app = "web".parse().expect("a name");
        Unable::from([(app, Variant::default())])
    }

    #[test]
    fn what_the_machine_lacked_is_tried_again_after_pauses_that_grow() {
        let mut retrying = Retrying::default();
        retrying.add(Unable::default(), 0, 1.0);
        assert_eq!(retrying.due_ms(), None, "nothing failed");
        let mut now_ms = 0;
        for pause_ms in [5_000, 10_000, 20_000] {
            retrying.add(unable(), now_ms, 1.0);
            retrying.add(unable(), now_ms + 1, 1.0);
            assert_eq!(retrying.due_ms(), Some(now_ms + pause_ms));
            assert!(retrying.take(now_ms + pause_ms - 1).is_none());
            now_ms += pause_ms;
            let again = retrying.take(now_ms).expect("it is time");
            assert_eq!((again.len(), retrying.due_ms()), (1, None));
        }
        for _ in 0..20 {
            retrying.add(unable(), 0, 1.0);
            assert!(retrying.take(1_200_000).is_some(), "never rarer than that");
        }
        retrying.settled();
        retrying.add(unable(), 0, 0.0);
        assert_eq!(retrying.due_ms(), Some(2_500), "it went well meanwhile; and jitter");
        retrying.settled();
        retrying.forget();
        assert!(retrying.take(u64::MAX).is_none());
    }
}
