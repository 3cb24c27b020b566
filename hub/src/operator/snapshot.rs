//! A snapshot for operators: what a plan needs of this hub, in pieces of one file.
//!
//! In: nothing. Out: a snapshot of the commit in effect. Never: holds more than [`MAX_SNAPSHOT`] bytes of it.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use nave_placement::CatalogName;
use nave_placement::catalog::Catalog;
use tonic::{Code, Status};

use super::planning::{LONGEST, Pieces, hearing, pieces};
use super::service::{OperatorService, Rooms};
use crate::deciding::run::chain;
use crate::planning::Stock;
use crate::planning::snapshot::{
    Header, Own, RECORDS, Standing, Writer, documents, good, needed_bundles, record, stripped,
};
use crate::state::State;
use crate::store::{Key, StoreError, Value, Version};

/// Bytes of a snapshot, compressed: ten thousand clusters with fifty apps each have some 40 MiB.
const MAX_SNAPSHOT: usize = 512 << 20;
/// While a commit is being taken it is tried again so many times, after so long.
const ATTEMPTS: usize = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// What is written, before it is.
struct Gathered {
    header: Header,
    records: Vec<(Key, Value)>,
    /// The root's first.
    owns: Vec<(CatalogName, Own)>,
    state: State,
}

impl OperatorService {
    /// `hub snapshot`.
    pub(super) async fn snapshot_taken(&self) -> Result<Pieces, Status> {
        let late = |_| {
            Status::deadline_exceeded(format!("the snapshot was not taken within {} s", LONGEST.as_secs()))
        };
        let taken = tokio::time::timeout(LONGEST, self.take_snapshot()).await.map_err(late)??;
        Ok(pieces(taken))
    }

    async fn take_snapshot(&self) -> Result<Vec<u8>, Status> {
        let turn = self.rooms.turns.take().await?;
        let mut gathered = self.gathered().await;
        for _ in 0..ATTEMPTS {
            match &gathered {
                Err(status) if status.code() == Code::Aborted => {}
                _ => break,
            }
            tokio::time::sleep(PAUSE).await;
            gathered = self.gathered().await;
        }
        let gathered = gathered?;
        let rooms = self.rooms.clone();
        let work = move || {
            let _turn = turn;
            written(&rooms, &gathered)
        };
        let written = tokio::task::spawn_blocking(work).await;
        let written = written.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        written.map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => Status::resource_exhausted(error.to_string()),
            _ => Status::internal(error.to_string()),
        })
    }

    async fn gathered(&self) -> Result<Gathered, Status> {
        let Rooms { ledger, catalogs, place, .. } = &*self.rooms;
        let picture = self.rooms.picture.borrow().clone();
        let nothing = || Status::unavailable("no commit of the catalog is in effect yet");
        let revision = picture.revision.as_ref().ok_or_else(nothing)?;
        let commit = revision.catalog.commit.clone();
        let (mut records, mut state) = (Vec::new(), State::default());
        for prefix in RECORDS {
            let listed = ledger.store().list(prefix).await.map_err(|error| unavailable(&error))?;
            for (key, found) in listed.records {
                let Some(value) = record(&key, &found.value).map(Value::from) else { continue };
                let folded = state.fold(&key, Version(1), Some(&value));
                folded.map_err(|error| Status::internal(chain(&error)))?;
                records.push((key, value));
            }
        }
        let is_taken =
            |own: &Catalog| state.heads.get(&own.name).is_some_and(|head| head.commit == own.commit);
        if !revision.owns.iter().all(|own| is_taken(&own.catalog)) {
            return Err(Status::aborted("another commit is being taken just now; try again"));
        }
        let (mut owns, mut tenants) = (Vec::new(), BTreeMap::new());
        for own in revision.owns.iter().map(|own| &own.catalog) {
            let unread = |error| Status::unavailable(chain(&error));
            let tree = catalogs.tree(&own.commit).await.map_err(unread)?;
            let (place, _) = catalogs.of(&own.name).map_err(Status::unavailable)?;
            let documents = documents(&**catalogs, &place, &tree, own).await;
            let good = good(&**catalogs, (&place, &tree), own, &documents).await;
            if !place.is_root {
                let standing = Standing { directory: place.directory, commit: own.commit.clone() };
                tenants.insert(own.name.clone(), standing);
            }
            owns.push((own.name.clone(), Own { tree, documents, good }));
        }
        let header = Header {
            fleet: self.rooms.fleet.clone(),
            catalog: place.name.clone(),
            directory: place.directory.clone(),
            commit,
            taken_ms: ledger.now_ms(),
            heard: (&hearing(&self.rooms, &picture)).into(),
            problems: picture.problems.clone(),
            tenants,
        };
        Ok(Gathered { header, records, owns, state })
    }
}

fn unavailable(error: &StoreError) -> Status {
    Status::unavailable(chain(error))
}

fn written(rooms: &Rooms, gathered: &Gathered) -> io::Result<Vec<u8>> {
    let mut writer = Writer::new(&gathered.header)?;
    let room = |writer: &Writer| match writer.written() > MAX_SNAPSHOT {
        true => Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("the snapshot has more than {} MiB", MAX_SNAPSHOT >> 20),
        )),
        false => Ok(()),
    };
    for (key, value) in &gathered.records {
        writer.record(key, value)?;
        room(&writer)?;
    }
    for (name, own) in &gathered.owns {
        if *name != gathered.header.catalog {
            writer.catalog(name)?;
        }
        writer.tree(&own.tree)?;
        for (path, text) in &own.documents {
            writer.document(path, text)?;
        }
        for good in &own.good {
            writer.good(good)?;
        }
    }
    for digest in needed_bundles(&gathered.state) {
        // One that is gone cannot be compared with; the plan says so.
        if let Some(stripped) = rooms.bundles.bytes(&digest).and_then(|bytes| stripped(&bytes)) {
            writer.bundle(digest, &stripped)?;
            room(&writer)?;
        }
    }
    writer.finish()
}
