//! Following: the events after a place in the row, as they come.
//!
//! In: the state, the number of the last event that was taken. Out: the next one, or how many are no longer kept.
//! Never: keeps an event for a slow reader: what is no longer in the row is counted.

use std::sync::Arc;

use super::{Event, EventRecord};
use crate::state::State;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// An event.
    Event(Arc<EventRecord>),
    /// So many are no longer kept; it goes on after this number.
    Missed {
        /// How many.
        count: u64,
        /// The number of the last of them.
        through: u64,
    },
}

/// The number of the last event.
pub fn last(state: &State) -> u64 {
    let kept = state.events.keys().next_back().copied().unwrap_or_default();
    kept.max(state.conditions.as_ref().map_or(0, |conditions| conditions.sequence))
}

/// What comes after an event.
pub fn next(state: &State, after: u64) -> Option<Next> {
    let (sequence, record) = state.events.range(after.saturating_add(1)..).next()?;
    match sequence - after - 1 {
        0 => Some(Next::Event(record.record.clone())),
        count => Some(Next::Missed { count, through: sequence - 1 }),
    }
}

/// The record of a [`Next::Missed`], for a reader.
pub fn missed(count: u64, through: u64, now_ms: u64) -> EventRecord {
    EventRecord::new(through, now_ms, Event::Missed { count })
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::CommitId;

    use super::*;
    use crate::deciding::core::json;
    use crate::state::records::key;
    use crate::store::Version;

    #[test]
    fn a_reader_gets_what_is_kept_and_is_told_of_what_is_not() {
        let mut state = State::default();
        assert_eq!((next(&state, 0), last(&state)), (None, 0));
        for sequence in 4..=6 {
            let record =
                EventRecord::new(sequence, 1, Event::Taken { commit: CommitId("c".into()), catalog: None });
            state
                .fold(&key::event(sequence), Version(sequence), Some(&json(&record).into()))
                .expect("it is so");
        }
        let number = |after| match next(&state, after) {
            Some(Next::Event(record)) => Ok(record.sequence),
            Some(Next::Missed { count, through }) => Err((count, through)),
            None => Ok(0),
        };
        let rows = [(0, Err((3, 3))), (2, Err((1, 3))), (3, Ok(4)), (5, Ok(6)), (6, Ok(0)), (9, Ok(0))];
        for (after, expected) in rows {
            assert_eq!(number(after), expected, "after {after}");
        }
        assert_eq!(last(&state), 6);
    }
}
