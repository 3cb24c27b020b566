//! Keep: a place for records, each under a name, whole or not there.
//!
//! In: bytes under a name. Out: the same bytes, after any crash, or the news that they are damaged.
//! Never: knows what a record means; shows half of one; takes damaged for missing.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::StateError;

/// What is under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing is stored, as far as can be told for certain.
    Missing,
    /// Something is there, and is not what was stored.
    Damaged,
    /// What was stored.
    Whole(Vec<u8>),
}

/// A place for records. Names are lower-case letters, digits, `.` and `-`, with at most one `/`.
///
/// # Guarantees
/// What [`Keep::write`] acknowledged is there after any crash; one that was cut off leaves the old record or the new one,
/// whole. One holder at a time.
#[async_trait]
pub trait Keep: Send + Sync + 'static {
    /// Where a record is, for people; of the whole place when the name is empty.
    fn place(&self, name: &str) -> String;

    /// What is under a name.
    async fn read(&self, name: &str) -> Result<Found, StateError>;

    /// Stores a record; durable when this returns.
    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError>;

    /// Removes a record; one that is not there is removed already.
    async fn remove(&self, name: &str) -> Result<(), StateError>;

    /// The names that begin so.
    async fn list(&self, prefix: &str) -> Result<BTreeSet<String>, StateError>;

    /// Puts a damaged record aside for whoever asks why; says where it is then.
    async fn set_aside(&self, name: &str) -> Result<String, StateError>;

    /// Shows the status to whoever looks; not worth more than the latest.
    async fn show(&self, status: &[u8]) -> Result<(), StateError>;

    /// Whether this process still is the one holder. A cheap look; called now and then.
    async fn still_held(&self) -> Result<(), StateError>;

    /// Whether a write costs others something, so that what can wait is not written at every occasion.
    fn is_shared(&self) -> bool;
}
