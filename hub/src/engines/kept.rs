//! Kept: what was rendered last, so that variants which differ only in patches are rendered once.
//!
//! In: outcomes by needs and version. Out: the same again. Never: keeps more than its share of memory, or what another
//! attempt may mend for longer than ten minutes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nave_placement::Digest;

use super::EngineError;

/// Most bytes that are kept: four of the largest bundles.
const MOST_BYTES: usize = 64 << 20;
/// Most outcomes, whatever their size.
const MOST: usize = 1_000;
/// So long something that took too long is not tried again: each try costs the limit.
const TRIED_AGAIN: Duration = Duration::from_secs(600);

/// What was rendered, and by which version.
pub(super) type Key = (Digest, String);
type Outcome = Result<Arc<[u8]>, EngineError>;

#[derive(Default)]
pub(super) struct Kept(Mutex<Row>);

/// The oldest first.
#[derive(Default)]
struct Row {
    outcomes: VecDeque<(Key, Option<Instant>, Outcome)>,
    bytes: usize,
}

impl Kept {
    pub fn get(&self, key: &Key, now: Instant) -> Option<Outcome> {
        let row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found =
            row.outcomes.iter().find(|(of, until, _)| of == key && until.is_none_or(|until| now < until));
        found.map(|(_, _, outcome)| outcome.clone())
    }

    pub fn put(&self, key: Key, outcome: &Outcome, now: Instant) {
        let until = match outcome {
            Err(error) if error.is_of_limits() => Some(now + TRIED_AGAIN),
            Err(error) if !error.is_of_files() => return,
            _ => None,
        };
        let mut row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        row.bytes += size(outcome);
        row.outcomes.push_back((key, until, outcome.clone()));
        while row.bytes > MOST_BYTES || row.outcomes.len() > MOST {
            let Some((_, _, oldest)) = row.outcomes.pop_front() else { break };
            row.bytes -= size(&oldest);
        }
    }
}

fn size(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, |output| output.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        (Digest::of(&[n]), "v1".to_owned())
    }

    #[test]
    fn the_last_outcomes_are_kept_within_their_bounds() {
        let (kept, now) = (Kept::default(), Instant::now());
        let output: Outcome = Ok(vec![0; MOST_BYTES / 3].into());
        (0..4).for_each(|n| kept.put(key(n), &output, now));
        let is_kept = |key: Key, now| kept.get(&key, now).is_some();
        assert_eq!((0..4).map(|n| is_kept(key(n), now)).collect::<Vec<_>>(), [false, true, true, true]);
        assert!(!is_kept((key(3).0, "v2".to_owned()), now), "another version renders anew");
        kept.put(key(5), &Err(EngineError::Ending), now);
        assert!(!is_kept(key(5), now));
        kept.put(key(6), &Err(EngineError::Time { engine: "helm", limit: TRIED_AGAIN }), now);
        assert!(is_kept(key(6), now));
        assert!(!is_kept(key(6), now + TRIED_AGAIN), "it may have been the machine");
    }
}
