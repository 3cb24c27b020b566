//! The store of tests and of the seeded simulation: an ordered map that keeps the contract.
//!
//! In and out as [`Store`] says. It never waits, uses no clock, no thread and no randomness, and never outlives the
//! process; a simulated hub that loses its state or gets an old copy back is made by [`Memory::copy`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::history::History;
use super::{Change, Checked, Key, Listing, Record, Store, StoreError, Version, Watch};

/// A store in memory.
pub struct Memory {
    state: Mutex<State>,
    history: History,
}

#[derive(Clone, Default)]
struct State {
    records: BTreeMap<Key, Record>,
    version: Version,
}

impl Default for Memory {
    fn default() -> Self {
        Self::holding(State::default())
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another store with the same records and version, and no watchers: what a backup of this moment restores,
    /// or what a hub finds when it starts again.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self::holding(self.state().clone())
    }

    fn holding(state: State) -> Self {
        Self { history: History::starting_at(state.version), state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing between taking and releasing it can panic halfway through a batch.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &str) -> Result<Option<Record>, StoreError> {
        Ok(self.state().records.get(key).cloned())
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        let state = self.state();
        let from = state.records.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        let records = from.take_while(|(key, _)| key.starts_with(prefix));
        let records = records.map(|(key, record)| (key.clone(), record.clone())).collect();
        Ok(Listing { records, version: state.version })
    }

    async fn write(&self, batch: Checked) -> Result<Version, StoreError> {
        let mut state = self.state();
        let version_of = |key: &str| Ok::<_, Infallible>(state.records.get(key).map(|record| record.version));
        let Ok(conflict) = batch.conflict(version_of);
        if let Some(key) = conflict {
            return Err(StoreError::Conflict { key: key.clone() });
        }
        let version = Version(state.version.0 + 1);
        let mut changes = Vec::with_capacity(batch.writes().len());
        for (key, value) in batch.writes() {
            let changed = match value {
                Some(value) => {
                    state.records.insert(key.clone(), Record { value: value.clone(), version });
                    true
                }
                None => state.records.remove(key).is_some(),
            };
            if changed {
                changes.push(Change { key: key.clone(), version, value: value.clone() });
            }
        }
        if !changes.is_empty() {
            state.version = version;
            // Still under the lock: the history wants versions in order.
            self.history.publish(changes);
        }
        Ok(state.version)
    }

    async fn watch(&self, prefix: &str, after: Version) -> Result<Watch, StoreError> {
        Ok(self.history.watch(prefix, after))
    }
}
