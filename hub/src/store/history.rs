//! The recent changes of a store that lives in this process, for its watchers.
//!
//! In: the changes of each batch, once they are durable. Out: a [`Watch`] per consumer, which reads from one
//! shared ring at its own pace. A slow consumer costs nothing and holds nobody up: it finds that its place was
//! given away, and ends. Nothing here is persisted, so a watch cannot start before the process did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::stream;
use tokio::sync::watch;

use super::{Change, Value, Version, Watch, WatchEnd};

/// Batches kept. A consumer that decides over the whole fleet takes a second or two; 4096 batches are some
/// seconds of the busiest hour, when 5000 spokes reconnect and each writes one.
pub(super) const KEPT_BATCHES: usize = 4096;

/// Bytes of values kept: four batches of the largest size. Records are some hundred bytes, so that the
/// count above is what limits in practice, at about 1 MB.
const KEPT_BYTES: usize = 4 << 20;

/// The ring, and the means to wake those who wait for it.
pub(super) struct History {
    ring: Arc<Mutex<Ring>>,
    /// The last version; dropping it ends every watch.
    last: watch::Sender<Version>,
}

#[derive(Default)]
struct Ring {
    /// Each with at least one change, all of the same version; versions grow.
    batches: VecDeque<Arc<[Change]>>,
    bytes: usize,
    /// Changes up to this version are no longer kept.
    floor: Version,
}

impl History {
    /// Of a store that is at this version now.
    pub fn starting_at(version: Version) -> Self {
        let ring = Ring { floor: version, ..Ring::default() };
        Self { ring: Arc::new(Mutex::new(ring)), last: watch::Sender::new(version) }
    }

    /// Adds the changes of one batch. They are durable, and later than all before.
    pub fn publish(&self, changes: Vec<Change>) {
        let Some(version) = changes.first().map(|change| change.version) else {
            return;
        };
        lock(&self.ring).push(changes.into());
        self.last.send_replace(version);
    }

    /// The changes under a prefix after a version.
    pub fn watch(&self, prefix: &str, after: Version) -> Watch {
        let kept = after >= lock(&self.ring).floor;
        let cursor = Cursor {
            ring: self.ring.clone(),
            last: self.last.subscribe(),
            prefix: prefix.to_owned(),
            seen: after,
            batch: None,
            when_gone: if kept { WatchEnd::Lagged } else { WatchEnd::Compacted },
        };
        Watch(stream::unfold(Some(cursor), Cursor::step).boxed())
    }
}

impl Ring {
    fn push(&mut self, batch: Arc<[Change]>) {
        self.bytes += bytes(&batch);
        self.batches.push_back(batch);
        while self.batches.len() > KEPT_BATCHES || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.batches.pop_front() else {
                return;
            };
            self.bytes -= bytes(&oldest);
            self.floor = oldest[0].version;
        }
    }

    /// The first batch after a version.
    fn after(&self, version: Version) -> Option<&Arc<[Change]>> {
        self.batches.get(self.batches.partition_point(|batch| batch[0].version <= version))
    }
}

fn bytes(batch: &[Change]) -> usize {
    batch.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Value::len)).sum()
}

fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    // A panic between the lines of `push` leaves at worst a wrong byte count.
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A consumer's place in the ring.
struct Cursor {
    ring: Arc<Mutex<Ring>>,
    last: watch::Receiver<Version>,
    prefix: String,
    /// Batches up to this version were taken.
    seen: Version,
    /// The batch being handed out, and how many of its changes were looked at.
    batch: Option<(Arc<[Change]>, usize)>,
    when_gone: WatchEnd,
}

impl Cursor {
    async fn step(cursor: Option<Self>) -> Option<(Result<Change, WatchEnd>, Option<Self>)> {
        let mut cursor = cursor?;
        let next = cursor.next().await;
        let rest = next.is_ok().then_some(cursor);
        Some((next, rest))
    }

    async fn next(&mut self) -> Result<Change, WatchEnd> {
        loop {
            while let Some((batch, at)) = &mut self.batch {
                let Some(change) = batch.get(*at) else {
                    self.batch = None;
                    break;
                };
                *at += 1;
                if change.key.starts_with(&self.prefix) {
                    return Ok(change.clone());
                }
            }
            // Marked as seen before the ring is read, so that what is published in between wakes us.
            self.last.borrow_and_update();
            if !self.take()? {
                self.last.changed().await.map_err(|_| WatchEnd::Interrupted)?;
            }
        }
    }

    /// Takes the next batch, if there is one.
    fn take(&mut self) -> Result<bool, WatchEnd> {
        let ring = lock(&self.ring);
        if self.seen < ring.floor {
            return Err(self.when_gone);
        }
        let Some(batch) = ring.after(self.seen) else {
            return Ok(false);
        };
        self.seen = batch[0].version;
        self.batch = Some((batch.clone(), 0));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, version: u64, size: usize) -> Change {
        Change { key: key.into(), version: Version(version), value: Some(vec![0; size].into()) }
    }

    #[tokio::test]
    async fn a_consumer_whose_place_was_given_away_is_told_so_and_an_idle_one_is_not() {
        let history = History::starting_at(Version(10));
        let mut slow = history.watch("", Version(10));
        let mut late = history.watch("", Version(9));
        history.publish(vec![change("a", 11, 1)]);
        assert_eq!(slow.next().await, Ok(change("a", 11, 1)));
        assert_eq!(late.next().await, Err(WatchEnd::Compacted));
        for version in 12..30 {
            history.publish(vec![change("a", version, 1 << 20)]);
        }
        assert_eq!(slow.next().await, Err(WatchEnd::Lagged));
        assert_eq!(slow.next().await, Err(WatchEnd::Interrupted));
        assert!(lock(&history.ring).bytes <= KEPT_BYTES);
    }

    #[tokio::test]
    async fn a_watch_ends_with_its_store() {
        let history = History::starting_at(Version::ZERO);
        let mut watch = history.watch("a/", Version::ZERO);
        history.publish(vec![change("a/1", 1, 1), change("b/1", 1, 1)]);
        drop(history);
        assert_eq!(watch.next().await, Ok(change("a/1", 1, 1)));
        assert_eq!(watch.next().await, Err(WatchEnd::Interrupted));
    }
}
