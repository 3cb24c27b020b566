//! What had begun before the accepted assignment: a record that is there while changes may wait.

use std::sync::{Arc, PoisonError};

use nave_placement::assign::{Assignment, Epoch};
use nave_proto::{assignment_from_proto, assignment_to_proto, v1};
use prost::Message as _;

use super::{Found, Keep, State, StateError, previous_after};
use crate::started::{Enforced, Entries};

/// The record: an assignment that has nothing but entries.
pub(super) const STARTED: &str = "started";

impl State {
    /// Entries that had begun before the accepted assignment; absent: all of that has begun.
    pub fn started(&self) -> Option<Arc<Entries>> {
        // Each change is one step, so it is whole after a panic too.
        self.started.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is enforced of the accepted assignment.
    pub fn enforced(&self, accepted: &Arc<Assignment>) -> Enforced {
        match self.started() {
            None => Enforced::all(accepted),
            Some(started) => Enforced::of(accepted, &started),
        }
    }

    /// Lets every change of an assignment begin; durable when this returns. What was accepted since begins later.
    ///
    /// # Errors
    /// When it cannot be stored; then nothing has begun.
    pub async fn begin(&self, given: &Assignment) -> Result<(), StateError> {
        let _writing = self.writing.lock().await;
        let Some(started) = self.started() else { return Ok(()) };
        let previous = self.previous().await?;
        let next = previous_after(&previous, &started, &given.entries);
        if next != previous {
            self.store_json("previous.json", &next).await?;
        }
        let held = self.held().await?;
        let later = (held.assignment.order() > given.order()).then(|| given.entries.clone());
        self.store_started(later).await?;
        self.clear_away(&held.assignment, &next).await;
        Ok(())
    }

    /// Counts entries as begun: they were found on the target just so.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn found_begun(&self, found: Entries) -> Result<(), StateError> {
        let _writing = self.writing.lock().await;
        let Some(started) = self.started() else { return Ok(()) };
        let mut all = found;
        all.extend((*started).clone());
        self.store_started(Some(all)).await
    }

    pub(super) async fn store_started(&self, entries: Option<Entries>) -> Result<(), StateError> {
        match &entries {
            None => self.keep.remove(STARTED).await?,
            Some(entries) => {
                let record = Assignment { entries: entries.clone(), ..Assignment::none(Epoch(0)) };
                self.keep.write(STARTED, &assignment_to_proto(&record).encode_to_vec()).await?;
            }
        }
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = entries.map(Arc::new);
        Ok(())
    }
}

/// Reads the record. Of a damaged one it is only known that changes waited: then nothing counts as begun but what is found on
/// the target.
pub(super) async fn load(keep: &dyn Keep) -> Result<Option<Entries>, StateError> {
    let bytes = match keep.read(STARTED).await? {
        Found::Missing => return Ok(None),
        Found::Whole(bytes) => bytes,
        Found::Damaged => Vec::new(),
    };
    let none = Assignment::none(Epoch(0));
    let read = v1::Assignment::decode(&*bytes).ok().filter(|_| !bytes.is_empty());
    let read = read.and_then(|message| assignment_from_proto(message, &none).ok());
    if read.is_none() {
        let place = keep.place(STARTED);
        tracing::error!(place, "a record is damaged: changes wait for their window but of what runs just so");
    }
    Ok(Some(read.map(|record| record.entries).unwrap_or_default()))
}
