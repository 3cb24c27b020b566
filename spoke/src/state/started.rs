//! What had begun before the accepted assignment: a record that is there while changes may wait.

use std::sync::{Arc, PoisonError};

use nave_placement::assign::{Assignment, Cause, EncodedEntry, Epoch, Generation};
use nave_proto::{assignment_from_proto, assignment_to_proto, decode_entry, v1};
use prost::Message as _;

use super::{Found, Keep, State, StateError, previous_after};
use crate::session::core::Held;
use crate::started::{Enforced, Entries, Memory, Started, Step};

/// The record: an assignment that has nothing but entries; its generation is 1 where they are all that runs.
pub(super) const STARTED: &str = "started";
/// What is remembered of the order in which changes begin.
pub(super) const ORDER: &str = "order.json";

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
        self.store_memory(Memory::default()).await?;
        self.clear_away(&held.assignment, &next).await;
        Ok(())
    }

    /// What is remembered of the order in which changes begin.
    pub fn memory(&self) -> Arc<Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes one step further with an assignment; durable when this returns. Nothing, where all has begun, or a newer assignment was
    /// accepted meanwhile: that one's turn comes next.
    ///
    /// # Errors
    /// When it cannot be stored; then nothing has begun.
    pub async fn advance(
        &self,
        given: &Assignment,
        step: impl Fn(&Started, &Memory) -> Step,
    ) -> Result<Option<Step>, StateError> {
        let next = self.started().map(|started| step(&started, &self.memory()));
        let is_same =
            |next: &Step, started: &Started| next.started == *started && next.memory == *self.memory();
        match (&next, self.started()) {
            (Some(next), Some(started)) if !is_same(next, &started) => {}
            _ => return Ok(next),
        }
        let _writing = self.writing.lock().await;
        let Some(started) = self.started() else { return Ok(None) };
        let held = self.held().await?;
        if held.assignment.order() > given.order() {
            return Ok(None);
        }
        let next = step(&started, &self.memory());
        let previous = self.previous().await?;
        let bundles = previous_after(&previous, &started.entries, &next.started.entries);
        if bundles != previous {
            self.store_json("previous.json", &bundles).await?;
        }
        // What a group returns to is stored before it goes anywhere, and that it returns before it does.
        if next.memory != *self.memory() {
            self.store_memory(next.memory.clone()).await?;
        }
        if next.started != *started {
            self.store_started(Some(next.started.clone())).await?;
            self.clear_away(&held.assignment, &bundles).await;
        }
        Ok(Some(next))
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

    pub(super) async fn store_memory(&self, memory: Memory) -> Result<(), StateError> {
        if memory == *self.memory() {
            return Ok(());
        }
        match memory == Memory::default() {
            true => self.keep.remove(ORDER).await?,
            false => self.store_json(ORDER, &memory).await?,
        }
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(memory);
        Ok(())
    }

    /// Reads what is remembered. Without it groups that are under way go on, and return to nothing.
    pub(super) async fn load_memory(&self) -> Result<(), StateError> {
        let what = "groups that were switching go on, and what was waited for is waited for again";
        let bytes = self.or_set_aside(ORDER, what).await?;
        let memory: Option<Memory> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(memory.unwrap_or_default());
        Ok(())
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
