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
