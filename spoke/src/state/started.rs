//! What had begun before the accepted assignment: a record that is there while changes may wait.

use std::sync::{Arc, PoisonError};

use nave_placement::assign::{Assignment, Cause, EncodedEntry, Epoch, Generation};
use nave_proto::{assignment_from_proto, assignment_to_proto, decode_entry, v1};
use prost::Message as _;

use super::{Found, Keep, State, StateError, previous_after};
use crate::session::core::Held;
use crate::started::{Enforced, Entries, Started};

/// The record: an assignment that has nothing but entries; its generation is 1 where they are all that runs.
pub(super) const STARTED: &str = "started";

impl State {
    /// What had begun before the accepted assignment; absent: all of that has begun.
    pub fn started(&self) -> Option<Arc<Started>> {
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

    /// Lets every change of an assignment begin; durable when this returns. If a newer one was accepted meanwhile, nothing
    /// begins: that one's turn comes next.
    ///
    /// # Errors
    /// When it cannot be stored; then nothing has begun.
    pub async fn begin(&self, given: &Assignment) -> Result<(), StateError> {
        if self.started().is_none() {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        let Some(started) = self.started() else { return Ok(()) };
        let held = self.held().await?;
        if held.assignment.order() > given.order() {
            return Ok(());
        }
        let previous = self.previous().await?;
        let next = previous_after(&previous, &started.entries, &given.entries);
        if next != previous {
            self.store_json("previous.json", &next).await?;
        }
        self.store_started(None).await?;
        self.clear_away(&held.assignment, &next).await;
        Ok(())
    }

    /// Counts entries as begun: they were found on the target just so.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn found_begun(&self, found: Entries) -> Result<(), StateError> {
        let _writing = self.writing.lock().await;
        let Some(started) = self.started().filter(|_| !found.is_empty()) else { return Ok(()) };
        let mut entries = found;
        entries.extend(started.entries.clone());
        self.store_started(Some(Started { entries, ..*started })).await
    }

    /// Keeps what runs, before an assignment is stored of which something may have to wait.
    pub(super) async fn hold_back(&self, before: &Held, next: &Assignment) -> Result<(), StateError> {
        let mut started = match self.started() {
            Some(started) => (*started).clone(),
            // A spoke that holds nothing has just joined, or forgot.
            None => Started {
                entries: before.assignment.entries.clone(),
                is_all: before.assignment.generation != Generation(0),
            },
        };
        // What an operator ordered has begun.
        let ordered =
            next.leaving.iter().filter(|(_, record)| matches!(record.cause, Cause::Operator { .. }));
        ordered.for_each(|(app, _)| drop(started.entries.remove(app)));
        // So has what returns to what it was: it waits for no window.
        let returns = |entry: &&EncodedEntry| decode_entry(&entry.bytes).is_ok_and(|entry| entry.at_once);
        let returning = next.entries.iter().filter(|(_, entry)| returns(entry));
        started.entries.extend(returning.map(|(app, entry)| (app.clone(), entry.clone())));
        if self.started().is_some_and(|known| *known == started) {
            return Ok(());
        }
        self.store_started(Some(started)).await
    }

    pub(super) async fn store_started(&self, started: Option<Started>) -> Result<(), StateError> {
        match &started {
            None => self.keep.remove(STARTED).await?,
            Some(Started { entries, is_all }) => {
                let generation = Generation(u64::from(*is_all));
                let none = Assignment::none(Epoch(0));
                let record = Assignment { entries: entries.clone(), generation, ..none };
                self.keep.write(STARTED, &assignment_to_proto(&record).encode_to_vec()).await?;
            }
        }
        *self.started.lock().unwrap_or_else(PoisonError::into_inner) = started.map(Arc::new);
        Ok(())
    }
}

/// Reads the record. Of a damaged one it is only known that changes waited: what runs is looked for on the target, and nothing
/// else begins before it may.
pub(super) async fn load(keep: &dyn Keep) -> Result<Option<Started>, StateError> {
    let bytes = match keep.read(STARTED).await? {
        Found::Missing => return Ok(None),
        Found::Whole(bytes) => bytes,
        Found::Damaged => Vec::new(),
    };
    let none = Assignment::none(Epoch(0));
    let read = v1::Assignment::decode(&*bytes).ok().filter(|_| !bytes.is_empty());
    let Some(record) = read.and_then(|message| assignment_from_proto(message, &none).ok()) else {
        let place = keep.place(STARTED);
        tracing::error!(
            place,
            "a record is damaged: what runs is looked for, and changes wait for their window"
        );
        return Ok(Some(Started::default()));
    };
    Ok(Some(Started { entries: record.entries, is_all: record.generation == Generation(1) }))
}
