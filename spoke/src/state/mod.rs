//! State: what the spoke must not lose, in a directory or in Secrets of its namespace.
//!
//! In: identity, accepted assignments, bundles, the order to detach. Out: the same, after any crash.
//! Never: is shared by two spokes, forgets the last good form because a record is damaged.
//!
//! | module | in | out |
//! |---|---|---|
//! | `keep` | | what a place for records promises |
//! | `files`, `sealed` | a directory | such a place |
//! | `secrets` | a namespace | such a place |
//! | `bundles` | compressed bytes | bundles, checked |
//!
//! ```text
//! D/lock            held while a spoke runs; among Secrets, a record of who holds them
//! D/identity.json   key, certificate, CA, names, hub addresses; sealed, for the owner alone
//! D/joining.json    the key that a join token is being used with; sealed, for the owner alone
//! D/assignment      v1.Assignment, whole, with the hub's MAC; sealed
//! D/previous.json   per app the bundle of its previous entry; sealed
//! D/started         present while changes may wait: the entries that had begun before them; sealed
//! D/order.json      what is remembered of the order in which changes begin; sealed
//! D/bundles/DIGEST  zstd, as received; sealed
//! D/boot            number of starts; sealed
//! D/hub-time        the last hub time seen, Unix milliseconds; sealed
//! D/age-keys        the age identity that this spoke made; sealed, for the owner alone
//! D/digest-key      under which digests of Secrets are made; sealed, for the owner alone
//! D/removals        what was removed in the last hour, where the local policy limits it; sealed
//! D/detached        present: the order to detach was taken
//! D/status.json     what `spoke status` shows; may be lost
//! D/paused          present: everything is paused on the spot
//! D/target/         what a directory target keeps
//! ```

mod bundles;
pub mod contract;
pub mod files;
mod keep;
mod sealed;
pub mod secrets;
mod started;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Guard, PoisonError};

use nave_placement::assign::{Assignment, Entry, Epoch};
use nave_placement::{AppKey, Digest};
use nave_proto::{assignment_from_proto, assignment_to_proto, decode_entry, v1};
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

pub use bundles::{BundleError, unpack};
pub use files::Files;
pub use keep::{Found, Keep};

use crate::identity::{Identity, Joining};
use crate::policy::Removals;
use crate::session::core::Held;
use crate::started::{Entries, Memory, Started};

/// Where the status is, in a directory.
const STATUS: &str = "status.json";
/// Where bundles are.
const BUNDLES: &str = "bundles/";
/// Where a directory target keeps its own, in a directory.
pub const TARGET: &str = "target";
/// Any of them says that a directory is a spoke's.
const SIGNS: [&str; 3] = ["identity.json", "joining.json", "boot"];
/// The other files in it, but for the lock.
const OTHERS: [&str; 10] = [
    "assignment",
    started::STARTED,
    started::ORDER,
    "previous.json",
    "hub-time",
    "age-keys",
    "digest-key",
    "detached",
    STATUS,
    crate::pause::FILE,
];
/// Where a write costs others something, the hub's time is stored this often at most, in milliseconds: a clock that is set
/// back makes a certificate no older than an hour more than it is.
const HUB_TIME_EVERY: u64 = 3_600_000;

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The disk, or the cluster's API server.
    #[error("cannot {verb} {place}")]
    Failed {
        /// What failed.
        verb: &'static str,
        /// Of which record, and where.
        place: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another spoke has it; the text says who.
    #[error("{0}")]
    InUse(String),
    /// No spoke ever ran with it.
    #[error("{0} is no state directory of a spoke: it has neither identity.json nor boot; nothing was done")]
    NoState(String),
    /// The process is ending.
    #[error("the spoke is stopping")]
    Stopped,
    /// Without an identity nothing can be done, and a new one needs a token.
    #[error(
        "{0} is damaged; restore it from a backup, or join again: revoke the cluster (`hub cluster revoke NAME`), make a token (`hub cluster join NAME`), move the record away and run with --join. What runs on the cluster stays"
    )]
    Damaged(String),
}

/// The state of a running spoke.
pub struct State {
    keep: Arc<dyn Keep>,
    /// The bundles that are here; their content is checked when it is read.
    here: Guard<BTreeSet<Digest>>,
    /// What had begun before the accepted assignment, if some of that may wait.
    started: Guard<Option<Arc<Started>>>,
    /// What is remembered of the order in which changes begin.
    memory: Guard<Arc<Memory>>,
    /// The last hub time that is stored.
    hub_time: AtomicU64,
    /// One writer at a time: storing an assignment and clearing bundles away must not mix.
    writing: Mutex<()>,
}

/// The previous entry's bundle, per app.
type Previous = BTreeMap<AppKey, Digest>;

impl State {
    /// Opens a state directory, makes it where it is missing, and keeps others out of it while this lives.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub async fn open(dir: &Path) -> Result<Self, StateError> {
        let dir = dir.to_owned();
        Self::within(Arc::new(blocking(move || Files::open(&dir)).await?)).await
    }

    /// The state that is kept there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn within(keep: Arc<dyn Keep>) -> Result<Self, StateError> {
        let names = keep.list(BUNDLES).await?;
        let here = names.iter().filter_map(|name| name.strip_prefix(BUNDLES)?.parse().ok()).collect();
        let started = Guard::new(started::load(&*keep).await?.map(Arc::new));
        let (here, hub_time) = (Guard::new(here), AtomicU64::new(0));
        let memory = Guard::default();
        let state = Self { keep, here, started, memory, hub_time, writing: Mutex::new(()) };
        state.load_memory().await?;
        Ok(state)
    }

    /// Where it is kept.
    pub fn keep(&self) -> &Arc<dyn Keep> {
        &self.keep
    }

    fn here<T>(&self, look: impl FnOnce(&mut BTreeSet<Digest>) -> T) -> T {
        // Each change of the set is one step, so it is whole after a panic too.
        look(&mut self.here.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn store_json(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(value).expect("our records always serialize");
        self.keep.write(name, &bytes).await
    }

    /// Something that the spoke can do without, or get again: damage is told, and the record kept aside for whoever asks why.
    async fn or_set_aside(&self, name: &str, what: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(match self.keep.read(name).await? {
            Found::Missing => None,
            Found::Whole(bytes) => Some(bytes),
            Found::Damaged => {
                self.set_aside(name, what).await;
                None
            }
        })
    }

    async fn set_aside(&self, name: &str, what: &str) {
        let place = self.keep.place(name);
        match self.keep.set_aside(name).await {
            Ok(aside) => tracing::error!(place, kept_as = aside, "a record is damaged: {what}"),
            Err(error) => {
                tracing::error!(place, %error, "a record is damaged, and could not be put aside: {what}");
            }
        }
    }

    async fn must_be_whole<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let damaged = || StateError::Damaged(self.keep.place(name));
        match self.keep.read(name).await? {
            Found::Missing => Ok(None),
            Found::Damaged => Err(damaged()),
            Found::Whole(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged()),
        }
    }

    /// Who this spoke is, once it has joined.
    ///
    /// # Errors
    /// When the record is damaged: a spoke that does not know who it is cannot make it up.
    pub async fn identity(&self) -> Result<Option<Identity>, StateError> {
        self.must_be_whole("identity.json").await
    }

    /// Stores the identity.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.store_json("identity.json", identity).await
    }

    /// The key that a token is being used with. A damaged one counts as none: the token then was bound to a lost key, and
    /// the hub says that a new token is needed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn joining(&self) -> Result<Option<Joining>, StateError> {
        let bytes = self.or_set_aside("joining.json", "joining begins again with a new key").await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Stores the key before the token is used with it.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_joining(&self, joining: &Joining) -> Result<(), StateError> {
        self.store_json("joining.json", joining).await
    }

    /// Takes up a new membership: what an earlier one held is void, what runs stays. The identity comes last, so that a
    /// crash in between only joins again.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn joined(&self, identity: &Identity) -> Result<(), StateError> {
        for void in ["assignment", "previous.json", "detached"] {
            self.keep.remove(void).await?;
        }
        self.store_started(None).await?;
        self.store_memory(Memory::default()).await?;
        self.store_identity(identity).await?;
        self.keep.remove("joining.json").await
    }

    /// The accepted assignment. A damaged one counts as none: the target's inventory still says what is ours, an app that
    /// nothing assigns is kept, and the hub sends the assignment again.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn held(&self) -> Result<Held, StateError> {
        let what = "what runs is kept until the hub sends the assignment again";
        let Some(bytes) = self.or_set_aside("assignment", what).await? else { return Ok(Held::nothing()) };
        let none = Assignment::none(Epoch(0));
        let read = v1::Assignment::decode(&*bytes).ok().and_then(|message| {
            let mac = message.mac.clone();
            Some(Held { assignment: Arc::new(assignment_from_proto(message, &none).ok()?), mac })
        });
        match read {
            Some(held) => Ok(held),
            None => {
                self.set_aside("assignment", what).await;
                Ok(Held::nothing())
            }
        }
    }

    /// Stores an assignment and the bundles that came with it; durable when this returns. Bundles that are not what their
    /// digest says are told and left out: they will be fetched. Unless its changes may start now, what runs is kept beside it.
    ///
    /// # Errors
    /// When it cannot be stored; then what was held before is still held.
    pub async fn store_held(
        &self,
        held: &Held,
        inline: &[(Digest, Vec<u8>)],
        may_start: bool,
    ) -> Result<(), StateError> {
        let _writing = self.writing.lock().await;
        let before = self.held().await?;
        for (digest, zstd) in inline {
            match unpack(digest, zstd) {
                Ok(_) => self.put_bundle(digest, zstd).await?,
                Err(error) => tracing::warn!(%error, "a bundle that came with an assignment is not used"),
            }
        }
        // What waits goes on waiting until it begins.
        if !may_start || self.started().is_some() {
            self.hold_back(&before, &held.assignment).await?;
        }
        let previous = self.previous().await?;
        let next = match self.started() {
            // What runs stays the current one until the change begins.
            Some(_) => previous,
            None => {
                let next = previous_after(&previous, &before.assignment.entries, &held.assignment.entries);
                if next != previous {
                    self.store_json("previous.json", &next).await?;
                }
                next
            }
        };
        let mut message = assignment_to_proto(&held.assignment);
        message.mac.clone_from(&held.mac);
        self.keep.write("assignment", &message.encode_to_vec()).await?;
        self.clear_away(&held.assignment, &next).await;
        Ok(())
    }

    async fn previous(&self) -> Result<Previous, StateError> {
        let what = "bundles of earlier versions are fetched when needed";
        let bytes = self.or_set_aside("previous.json", what).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Removes bundles that neither the assignment, nor what had begun before it, nor a previous entry names. What cannot be removed is tried again with
    /// the next assignment.
    async fn clear_away(&self, assignment: &Assignment, previous: &Previous) {
        let started = self.started();
        let begun = started.iter().flat_map(|started| decoded(&started.entries));
        // What a group may return to.
        let memory = self.memory();
        let held = memory.switches.values().flat_map(|switch| switch.apps.values());
        let held =
            held.filter_map(|of| decode_entry(&of.held.as_ref()?.bytes).ok()).map(|entry| entry.bundle);
        let entries = decoded(&assignment.entries).into_iter().chain(begun);
        let current = entries.filter_map(|(_, entry)| Some(entry.ok()?.bundle));
        let wanted: BTreeSet<Digest> = current.chain(previous.values().copied()).chain(held).collect();
        let here = self.here(|here| here.clone());
        for digest in here.difference(&wanted) {
            match self.keep.remove(&bundle_name(digest)).await {
                Ok(()) => drop(self.here(|here| here.remove(digest))),
                Err(error) => {
                    tracing::warn!(%error, "bundles that are not needed any more could not be removed");
                    return;
                }
            }
        }
    }

    /// Whether a bundle is here.
    pub fn has_bundle(&self, digest: &Digest) -> bool {
        self.here(|here| here.contains(digest))
    }

    /// A bundle's bytes, checked. A damaged one is told, removed, and counts as missing: the hub has it still.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, StateError> {
        let name = bundle_name(digest);
        if !self.has_bundle(digest) {
            return Ok(None);
        }
        let why = match self.keep.read(&name).await? {
            Found::Whole(zstd) => match unpack(digest, &zstd) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) => error.to_string(),
            },
            Found::Damaged => "it is not what was stored".to_owned(),
            Found::Missing => "somebody removed it".to_owned(),
        };
        tracing::warn!(place = self.keep.place(&name), why, "a stored bundle is lost; it is fetched again");
        self.keep.remove(&name).await?;
        self.here(|here| here.remove(digest));
        Ok(None)
    }

    /// Stores a bundle that was fetched and checked.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_bundle(&self, digest: &Digest, zstd: &[u8]) -> Result<(), StateError> {
        let _writing = self.writing.lock().await;
        self.put_bundle(digest, zstd).await
    }

    async fn put_bundle(&self, digest: &Digest, zstd: &[u8]) -> Result<(), StateError> {
        if !self.has_bundle(digest) {
            self.keep.write(&bundle_name(digest), zstd).await?;
            self.here(|here| here.insert(*digest));
        }
        Ok(())
    }

    /// Counts this start. `now_ms` stands in for a damaged count: no spoke starts once a millisecond, so it is beyond every
    /// earlier one, and the hub takes none of this spoke's reports for old.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn next_boot(&self, now_ms: u64) -> Result<u64, StateError> {
        let boot = match self.keep.read("boot").await? {
            Found::Missing => 1,
            Found::Whole(bytes) => number(&bytes).unwrap_or(now_ms) + 1,
            Found::Damaged => {
                self.set_aside("boot", "counting on from the time of day").await;
                now_ms
            }
        };
        self.keep.write("boot", boot.to_string().as_bytes()).await?;
        Ok(boot)
    }

    /// The last hub time seen, Unix milliseconds.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn hub_time(&self) -> Result<u64, StateError> {
        let what = "only this machine's clock is known until the hub answers";
        let bytes = self.or_set_aside("hub-time", what).await?;
        let time_ms = bytes.and_then(|bytes| number(&bytes)).unwrap_or(0);
        self.hub_time.store(time_ms, Ordering::Relaxed);
        Ok(time_ms)
    }

    /// Stores the last hub time seen; not at every occasion where a write costs others something.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_hub_time(&self, time_ms: u64) -> Result<(), StateError> {
        let stored = self.hub_time.load(Ordering::Relaxed);
        if self.keep.is_shared() && stored > 0 && time_ms < stored.saturating_add(HUB_TIME_EVERY) {
            return Ok(());
        }
        self.keep.write("hub-time", time_ms.to_string().as_bytes()).await?;
        self.hub_time.store(time_ms, Ordering::Relaxed);
        Ok(())
    }

    /// The age identity that this spoke made, as `age-keygen` would write it. A damaged one is told and kept aside: what is
    /// encrypted to it stays as it is on the cluster, and is reported until it is encrypted to the new one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn age_keys(&self) -> Result<Option<Zeroizing<String>>, StateError> {
        let what = "a new age key is made; restore the old one, or encrypt this cluster's secrets again";
        let bytes = self.or_set_aside("age-keys", what).await?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new))
    }

    /// Stores the age identity.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_age_keys(&self, text: &str) -> Result<(), StateError> {
        self.keep.write("age-keys", text.as_bytes()).await
    }

    /// The key under which digests of Secrets are made; 32 random bytes, made at the first call. Another one only means that
    /// Secrets are written once more.
    ///
    /// # Errors
    /// When it can be neither read nor stored.
    pub async fn digest_key(&self) -> Result<Zeroizing<[u8; 32]>, StateError> {
        let found = self.or_set_aside("digest-key", "a new one is made").await?;
        if let Some(key) = found.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(Zeroizing::new(key));
        }
        let mut key = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *key).expect("the system gives random bytes");
        self.keep.write("digest-key", &*key).await?;
        Ok(key)
    }

    /// What was removed in the last hour, as far as the local policy limits it. A damaged record counts as none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn removals(&self) -> Result<Removals, StateError> {
        let what = "what was removed in the last hour is counted from nothing";
        let bytes = self.or_set_aside("removals", what).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Stores what was removed in the last hour.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn store_removals(&self, removals: &Removals) -> Result<(), StateError> {
        self.store_json("removals", removals).await
    }

    /// Whether the order to detach was taken. The record's presence says it, whatever is in it.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn is_detached(&self) -> Result<bool, StateError> {
        Ok(self.keep.read("detached").await? != Found::Missing)
    }

    /// Takes the order to detach.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn detach(&self) -> Result<(), StateError> {
        self.keep.write("detached", b"This spoke was told to let everything be as it is.\n").await
    }
}

fn bundle_name(digest: &Digest) -> String {
    format!("{BUNDLES}{digest}")
}

/// The entries of an assignment, decoded; the text says why one cannot be read.
pub fn entries(assignment: &Assignment) -> BTreeMap<AppKey, Result<Entry, String>> {
    decoded(&assignment.entries)
}

fn decoded(entries: &Entries) -> BTreeMap<AppKey, Result<Entry, String>> {
    let decoded = |bytes: &[u8]| decode_entry(bytes).map_err(|error| error.to_string());
    entries.iter().map(|(app, entry)| (app.clone(), decoded(&entry.bytes))).collect()
}

/// What is each app's previous bundle after an assignment follows another. Apps that left have none.
fn previous_after(previous: &Previous, before: &Entries, after: &Entries) -> Previous {
    let before = decoded(before);
    let of = |app: &AppKey, entry: &Result<Entry, String>| {
        let (Ok(entry), Some(Ok(old))) = (entry, before.get(app)) else { return previous.get(app).copied() };
        if old.bundle == entry.bundle { previous.get(app).copied() } else { Some(old.bundle) }
    };
    decoded(after).iter().filter_map(|(app, entry)| Some((app.clone(), of(app, entry)?))).collect()
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// Reads the status file of a spoke that runs, or ran.
///
/// # Errors
/// When there is none.
pub fn read_status(dir: &Path) -> io::Result<Vec<u8>> {
    fs::read(dir.join(STATUS))
}

/// Work on files, where it holds up nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, StateError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        // The runtime is shutting down; nothing was promised.
        Err(_) => Err(StateError::Stopped),
    })
}
