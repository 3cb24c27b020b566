//! Batches and the one place that measures them.
//!
//! In: what a caller wants written, and under which conditions. Out: a [`Checked`] batch, the only kind that a
//! backend can be given. Nothing here reads or writes a store.

use std::collections::BTreeMap;

use super::{Key, StoreError, Value, Version};

/// Puts, deletes and preconditions in one batch, together. etcd's default limit of a transaction.
pub const MAX_OPERATIONS: usize = 128;

/// Bytes of keys and values in one batch. etcd's default limit of a request is 1.5 MiB; a third is left for
/// its framing and for the prefix that every key gets there.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// What must hold of a record for a batch to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such record.
    Absent,
    /// The record is there, and was last written by the batch of this version.
    At(Version),
}

impl Precondition {
    /// Whether it holds of a record with this version, or of none.
    pub fn holds(self, version: Option<Version>) -> bool {
        match self {
            Self::Absent => version.is_none(),
            Self::At(expected) => version == Some(expected),
        }
    }
}

/// Changes that are made together or not at all. Of several changes to one key the last counts.
///
/// ```
/// # use nave_hub::store::{Batch, Version};
/// let batch = Batch::new()
///     .require_absent("member/paris")
///     .require_at("epoch", Version(7))
///     .put("member/paris", "…")
///     .delete("pending/4711");
/// # assert_eq!(batch.operations(), 4);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Batch {
    require: Vec<(Key, Precondition)>,
    writes: BTreeMap<Key, Option<Value>>,
}

impl Batch {
    /// A batch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a precondition.
    pub fn require(mut self, key: impl Into<Key>, precondition: Precondition) -> Self {
        self.require.push((key.into(), precondition));
        self
    }

    /// Requires that there is no such record.
    pub fn require_absent(self, key: impl Into<Key>) -> Self {
        self.require(key, Precondition::Absent)
    }

    /// Requires that the record was last written by the batch of this version.
    pub fn require_at(self, key: impl Into<Key>, version: Version) -> Self {
        self.require(key, Precondition::At(version))
    }

    /// Requires that the record is as it was read: at its version, or absent.
    pub fn require_same(self, key: impl Into<Key>, read: Option<Version>) -> Self {
        self.require(key, read.map_or(Precondition::Absent, Precondition::At))
    }

    /// Writes a record.
    pub fn put(mut self, key: impl Into<Key>, value: impl Into<Value>) -> Self {
        self.writes.insert(key.into(), Some(value.into()));
        self
    }

    /// Deletes a record, if it is there.
    pub fn delete(mut self, key: impl Into<Key>) -> Self {
        self.writes.insert(key.into(), None);
        self
    }

    /// Whether it holds nothing at all.
    pub fn is_empty(&self) -> bool {
        self.require.is_empty() && self.writes.is_empty()
    }

    /// Puts, deletes and preconditions: what [`MAX_OPERATIONS`] limits.
    pub fn operations(&self) -> usize {
        self.require.len() + self.writes.len()
    }

    /// Bytes of keys and values: what [`MAX_BATCH_BYTES`] limits.
    pub fn bytes(&self) -> usize {
        let conditions: usize = self.require.iter().map(|(key, _)| key.len()).sum();
        let writes: usize = self.writes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Value::len)).sum();
        conditions + writes
    }

    /// Measures the batch.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`].
    pub fn checked(self) -> Result<Checked, StoreError> {
        let (operations, bytes) = (self.operations(), self.bytes());
        if operations > MAX_OPERATIONS || bytes > MAX_BATCH_BYTES {
            return Err(StoreError::TooLarge { operations, bytes });
        }
        Ok(Checked(self))
    }
}

/// A batch within the limits; made by [`Batch::checked`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked(Batch);

impl Checked {
    /// The preconditions, in the order in which they were added.
    pub fn require(&self) -> &[(Key, Precondition)] {
        &self.0.require
    }

    /// The value to put under each key, or `None` to delete it, in the order of the keys.
    pub fn writes(&self) -> &BTreeMap<Key, Option<Value>> {
        &self.0.writes
    }

    /// As [`Batch::bytes`].
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }

    /// The first key whose precondition does not hold, given a way to look up a record's version.
    ///
    /// # Errors
    /// What the look-up says.
    pub fn conflict<E>(
        &self,
        mut version_of: impl FnMut(&str) -> Result<Option<Version>, E>,
    ) -> Result<Option<&Key>, E> {
        for (key, precondition) in self.require() {
            if !precondition.holds(version_of(key)?) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preconditions_count_as_operations_and_their_keys_as_bytes() {
        let batch =
            Batch::new().require_absent("ab").require_at("c", Version(1)).put("de", "xyz").delete("f");
        assert_eq!((batch.operations(), batch.bytes()), (4, 2 + 1 + 5 + 1));
    }

    #[test]
    fn of_several_changes_to_one_key_the_last_counts() {
        let batch = Batch::new().put("a", "1").delete("a").put("a", "2");
        assert_eq!(batch, Batch::new().put("a", "2"));
    }

    #[test]
    fn the_first_failing_precondition_is_named() {
        let batch = Batch::new().require_absent("a").require_at("b", Version(2)).require_absent("c");
        let batch = batch.checked().expect("small");
        let versions = |key: &str| Ok::<_, ()>((key != "a").then_some(Version(3)));
        assert_eq!(batch.conflict(versions), Ok(Some(&"b".to_owned())));
    }
}
