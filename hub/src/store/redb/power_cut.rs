//! The store over a disk that loses power.
//!
//! What was written since the last sync survives a cut sector by sector, at random. Whatever is left: no commit that
//! was acknowledged is lost, none is torn, and the file can be opened.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use ::redb::StorageBackend;
use fastrand::Rng;
use futures::future::join_all;

use super::*;
use crate::store::Batch;

const SECTOR: usize = 512;
const CUTS: usize = 600;
const WRITERS: usize = 4;
/// Keys that each batch of a writer overwrites: enough that a batch spans pages.
const SLOTS: u64 = 6;

/// A disk that dies after a number of operations.
#[derive(Debug, Default)]
struct Disk {
    /// What a read sees.
    now: Vec<u8>,
    /// What a cut cannot take.
    synced: Vec<u8>,
    unsynced: Vec<Write>,
    operations_left: usize,
}

#[derive(Debug)]
enum Write {
    Sectors(usize, Vec<u8>),
    Length(usize),
}

impl Write {
    fn apply(&self, image: &mut Vec<u8>, mut kept: impl FnMut() -> bool) {
        match self {
            Self::Length(length) if kept() => image.resize(*length, 0),
            Self::Length(_) => {}
            Self::Sectors(offset, data) => {
                let (mut at, end) = (*offset, offset + data.len());
                while at < end {
                    let next = ((at / SECTOR + 1) * SECTOR).min(end);
                    if next <= image.len() && kept() {
                        image[at..next].copy_from_slice(&data[at - offset..next - offset]);
                    }
                    at = next;
                }
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Socket(Arc<Mutex<Disk>>);

impl Socket {
    fn disk<T>(&self, operation: impl FnOnce(&mut Disk) -> T) -> io::Result<T> {
        let mut disk = self.0.lock().expect("no test panics while it holds the disk");
        disk.operations_left =
            disk.operations_left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        Ok(operation(&mut disk))
    }

    /// Cuts the power, and gives it back for some operations.
    fn cut(&self, rng: &mut Rng, operations: usize) {
        let mut disk = self.0.lock().expect("no test panics while it holds the disk");
        let disk = &mut *disk;
        // Some cuts take nearly all of what was not synced, some nearly nothing.
        let kept = rng.f64();
        for write in disk.unsynced.drain(..) {
            write.apply(&mut disk.synced, || rng.f64() < kept);
        }
        disk.now.clone_from(&disk.synced);
        disk.operations_left = operations;
    }
}

impl Disk {
    fn write(&mut self, write: Write) {
        write.apply(&mut self.now, || true);
        self.unsynced.push(write);
    }
}

impl StorageBackend for Socket {
    fn len(&self) -> io::Result<u64> {
        self.disk(|disk| disk.now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = offset as usize;
        self.disk(|disk| disk.now.get(from..from + out.len()).map(|data| out.copy_from_slice(data)))?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk(|disk| disk.write(Write::Length(len as usize)))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk(|disk| {
            for write in disk.unsynced.drain(..) {
                write.apply(&mut disk.synced, || true);
            }
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.disk(|disk| disk.write(Write::Sectors(offset as usize, data.to_vec())))
    }
}

/// The batch with which a writer goes from `count - 1` to `count`.
fn batch(writer: usize, count: u64) -> Batch {
    let value = |size: usize| count.to_be_bytes().repeat(size);
    let mut batch = Batch::new().put(format!("{writer}/count"), value(1));
    for slot in 0..SLOTS {
        // Every third batch deletes half of the slots.
        let key = format!("{writer}/slot/{slot}");
        let gone = count.is_multiple_of(3) && slot.is_multiple_of(2);
        batch = if gone { batch.delete(key) } else { batch.put(key, value(1 + 40 * slot as usize)) };
    }
    batch
}

/// What a writer finds: its count, after having checked that all of the batch is there that made it.
async fn found(store: &RedbStore, writer: usize) -> u64 {
    let listing = store.list(&format!("{writer}/")).await.expect("an opened store can be read");
    let records: BTreeMap<Key, Value> = listing.records.into_iter().map(|(k, r)| (k, r.value)).collect();
    let count = records
        .get(&format!("{writer}/count"))
        .map_or(0, |value| u64::from_be_bytes(value.as_ref().try_into().expect("a count is eight bytes")));
    let expected = match count {
        0 => BTreeMap::new(),
        _ => {
            let batch = batch(writer, count).checked().expect("small");
            batch.writes().iter().filter_map(|(k, v)| Some((k.clone(), v.clone()?))).collect()
        }
    };
    assert_eq!(records, expected, "the batch that made {count} is torn");
    count
}

/// Commits until the power goes; gives the last count that was acknowledged.
async fn write_until_dark(store: &RedbStore, writer: usize, mut acknowledged: u64) -> u64 {
    while store.commit(batch(writer, acknowledged + 1)).await.is_ok() {
        acknowledged += 1;
    }
    acknowledged
}

#[tokio::test]
async fn no_power_cut_loses_or_tears_an_acknowledged_commit() {
    let seed = std::env::var("NAVE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_105);
    let mut rng = Rng::with_seed(seed);
    let socket = Socket::default();
    socket.cut(&mut rng, usize::MAX);
    let mut acknowledged = [0u64; WRITERS];
    let (mut commits, mut dark_at_opening, mut groups) = (0, 0, Work::default());
    for cut in 0..CUTS {
        let context = format!("cut {cut} of seed {seed} (NAVE_SEED)");
        // First with power for as long as it takes: it must open, and hold what was acknowledged.
        let store = RedbStore::over(socket.clone())
            .unwrap_or_else(|error| panic!("{context}: cannot be opened: {error:?}"));
        for (writer, acknowledged) in acknowledged.iter_mut().enumerate() {
            let found = found(&store, writer).await;
            // The one in flight at the cut may have been written.
            assert!(
                (*acknowledged..=*acknowledged + 1).contains(&found),
                "{context}: {found} != {acknowledged}"
            );
            *acknowledged = found;
        }
        if rng.u8(..) < 64 {
            // The process dies without closing the file, and the next one has little time even to repair it.
            socket.cut(&mut rng, 0);
            drop(store);
            let operations = 10 + rng.usize(..40);
            socket.cut(&mut rng, operations);
            dark_at_opening += usize::from(RedbStore::over(socket.clone()).is_err());
        } else {
            socket.0.lock().expect("not poisoned").operations_left = rng.usize(..400);
            let writers = (0..WRITERS).map(|writer| write_until_dark(&store, writer, acknowledged[writer]));
            let now = join_all(writers).await;
            commits += now.iter().sum::<u64>() - acknowledged.iter().sum::<u64>();
            acknowledged.copy_from_slice(&now);
            let work = store.work();
            groups.batches += work.batches;
            groups.transactions += work.transactions;
            drop(store);
        }
        socket.cut(&mut rng, usize::MAX);
    }
    println!("{CUTS} cuts, {dark_at_opening} while opening, {commits} acknowledged commits, {groups:?}");
    assert!(
        commits > 1000 && dark_at_opening > 50,
        "the cuts must hit something: {commits}, {dark_at_opening}"
    );
}
