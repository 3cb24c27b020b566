//! State: what the spoke must not lose, in one directory.
//!
//! In: identity, accepted assignments, bundles, the order to detach. Out: the same, after any crash.
//! Never: is shared by two spokes, forgets the last good form because a file is damaged, writes a file in place.
//!
//! ```text
//! D/lock            held while a spoke runs
//! D/identity.json   key, certificate, CA, names, hub addresses; sealed, for the owner alone
//! D/joining.json    the key that a join token is being used with; sealed, for the owner alone
//! D/assignment      v1.Assignment, whole, with the hub's MAC; sealed
//! D/previous.json   per app the bundle of its previous entry; sealed
//! D/bundles/DIGEST  zstd, as received
//! D/boot            number of starts; sealed
//! D/hub-time        the last hub time seen, Unix milliseconds; sealed
//! D/age-keys        the age identity that this spoke made; sealed, for the owner alone
//! D/digest-key      under which digests of Secrets are made; sealed, for the owner alone
//! D/detached        present: the order to detach was taken
//! D/status.json     what `spoke status` shows; may be lost
//! ```

mod bundles;
mod sealed;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nave_placement::assign::{Assignment, Entry, Epoch};
use nave_placement::{AppKey, Digest};
use nave_proto::{assignment_from_proto, assignment_to_proto, decode_entry, v1};
use prost::Message as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

pub use bundles::{BundleError, unpack};

use crate::identity::{Identity, Joining};
use crate::session::core::Held;
use sealed::Found;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system.
    #[error("cannot {verb} {}", path.display())]
    File {
        /// What failed.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another spoke has it.
    #[error("{} is in use by another spoke; every cluster needs a state directory of its own", .0.display())]
    InUse(PathBuf),
    /// The process is ending.
    #[error("the spoke is stopping")]
    Stopped,
    /// Without an identity nothing can be done, and a new one needs a token.
    #[error(
        "{} is damaged; restore it from a backup, or join again: revoke the cluster (`hub cluster revoke NAME`), make a token (`hub cluster join NAME`), move the file away and run with --join. What runs on the cluster stays",
        .0.display()
    )]
    Damaged(PathBuf),
}

/// The state directory of a running spoke.
#[derive(Debug)]
pub struct State {
    dir: PathBuf,
    bundles: bundles::Bundles,
    /// One writer at a time: storing an assignment and clearing bundles away must not mix.
    writing: Mutex<()>,
    _lock: File,
}

/// The previous entry's bundle, per app.
type Previous = BTreeMap<AppKey, Digest>;

impl State {
    /// Opens a state directory, makes it where it is missing, and keeps others out of it while this lives.
    ///
    /// # Errors
    /// When it cannot be made or locked.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        let bundles_dir = dir.join("bundles");
        let bundles = bundles::Bundles::open(&bundles_dir).map_err(file("create", &bundles_dir))?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(file("create", &path))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => StateError::InUse(dir.to_owned()),
            fs::TryLockError::Error(source) => file("lock", &path)(source),
        })?;
        Ok(Self { dir: dir.to_owned(), bundles, writing: Mutex::new(()), _lock: lock })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        // It guards files, which are whole after a panic too.
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self, name: &str) -> Result<Found, StateError> {
        let path = self.dir.join(name);
        sealed::read(&path).map_err(file("read", &path))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let path = self.dir.join(name);
        sealed::write(&path, bytes).map_err(file("write", &path))
    }

    fn store_json(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        self.store(name, &serde_json::to_vec(value).expect("our records always serialize"))
    }

    fn remove(&self, name: &str) -> Result<(), StateError> {
        let path = self.dir.join(name);
        sealed::remove(&path).map_err(file("remove", &path))
    }

    /// Something that the spoke can do without, or get again: damage is told, and the file kept aside for whoever asks why.
    fn or_set_aside(&self, name: &str, found: Found, what: &str) -> Option<Vec<u8>> {
        match found {
            Found::Missing => None,
            Found::Whole(bytes) => Some(bytes),
            Found::Damaged => {
                self.set_aside(name, what);
                None
            }
        }
    }

    fn set_aside(&self, name: &str, what: &str) {
        let (path, aside) = (self.dir.join(name), self.dir.join(format!("{name}.damaged")));
        tracing::error!(path = %path.display(), kept_as = %aside.display(), "the file is damaged: {what}");
        if let Err(error) = fs::rename(&path, &aside) {
            tracing::warn!(path = %path.display(), %error, "the damaged file could not be moved aside");
        }
    }

    fn must_be_whole<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let damaged = || StateError::Damaged(self.dir.join(name));
        match self.found(name)? {
            Found::Missing => Ok(None),
            Found::Damaged => Err(damaged()),
            Found::Whole(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| damaged()),
        }
    }

    /// Who this spoke is, once it has joined.
    ///
    /// # Errors
    /// When the file is damaged: a spoke that does not know who it is cannot make it up.
    pub fn identity(&self) -> Result<Option<Identity>, StateError> {
        self.must_be_whole("identity.json")
    }

    /// Stores the identity.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn store_identity(&self, identity: &Identity) -> Result<(), StateError> {
        self.store_json("identity.json", identity)
    }

    /// The key that a token is being used with. A damaged one counts as none: the token then was bound to a lost key, and
    /// the hub says that a new token is needed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn joining(&self) -> Result<Option<Joining>, StateError> {
        let found = self.found("joining.json")?;
        let bytes = self.or_set_aside("joining.json", found, "joining begins again with a new key");
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Stores the key before the token is used with it.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn store_joining(&self, joining: &Joining) -> Result<(), StateError> {
        self.store_json("joining.json", joining)
    }

    /// Takes up a new membership: what an earlier one held is void, what runs stays. The identity comes last, so that a
    /// crash in between only joins again.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn joined(&self, identity: &Identity) -> Result<(), StateError> {
        for void in ["assignment", "previous.json", "detached"] {
            self.remove(void)?;
        }
        self.store_identity(identity)?;
        self.remove("joining.json")
    }

    /// The accepted assignment. A damaged one counts as none: the target's inventory still says what is ours, an app that
    /// nothing assigns is kept, and the hub sends the assignment again.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn held(&self) -> Result<Held, StateError> {
        let what = "what runs is kept until the hub sends the assignment again";
        let found = self.found("assignment")?;
        let Some(bytes) = self.or_set_aside("assignment", found, what) else { return Ok(Held::nothing()) };
        let none = Assignment::none(Epoch(0));
        let read = v1::Assignment::decode(&*bytes).ok().and_then(|message| {
            let mac = message.mac.clone();
            Some(Held { assignment: Arc::new(assignment_from_proto(message, &none).ok()?), mac })
        });
        Ok(read.unwrap_or_else(|| {
            self.set_aside("assignment", what);
            Held::nothing()
        }))
    }

    /// Stores an assignment and the bundles that came with it; durable when this returns. Bundles that are not what their
    /// digest says are told and left out: they will be fetched.
    ///
    /// # Errors
    /// When the disk says no; then what was held before is still held.
    pub fn store_held(&self, held: &Held, inline: &[(Digest, Vec<u8>)]) -> Result<(), StateError> {
        let _writing = self.writing();
        let before = self.held()?;
        for (digest, zstd) in inline {
            match unpack(digest, zstd) {
                Ok(_) => {
                    self.bundles.store(digest, zstd).map_err(file("write", &self.dir.join("bundles")))?
                }
                Err(error) => tracing::warn!(%error, "a bundle that came with an assignment is not used"),
            }
        }
        let previous = self.previous()?;
        let next = previous_after(&previous, &before.assignment, &held.assignment);
        if next != previous {
            self.store_json("previous.json", &next)?;
        }
        let mut message = assignment_to_proto(&held.assignment);
        message.mac.clone_from(&held.mac);
        self.store("assignment", &message.encode_to_vec())?;
        self.clear_away(&held.assignment, &next);
        Ok(())
    }

    fn previous(&self) -> Result<Previous, StateError> {
        let found = self.found("previous.json")?;
        let bytes =
            self.or_set_aside("previous.json", found, "bundles of earlier versions are fetched when needed");
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Removes bundles that neither the assignment nor a previous entry names. What cannot be removed is tried again with
    /// the next assignment.
    fn clear_away(&self, assignment: &Assignment, previous: &Previous) {
        let current = entries(assignment).into_values().flatten().map(|entry| entry.bundle);
        let wanted: BTreeSet<Digest> = current.chain(previous.values().copied()).collect();
        if let Err(error) = self.bundles.keep(&wanted) {
            tracing::warn!(%error, "bundles that are not needed any more could not be removed");
        }
    }

    /// Whether a bundle is here.
    pub fn has_bundle(&self, digest: &Digest) -> bool {
        self.bundles.has(digest)
    }

    /// A bundle's bytes, checked. A damaged one is removed and counts as missing.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn bundle(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, StateError> {
        self.bundles.read(digest).map_err(file("read", &self.dir.join("bundles")))
    }

    /// Stores a bundle that was fetched and checked.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn store_bundle(&self, digest: &Digest, zstd: &[u8]) -> Result<(), StateError> {
        let _writing = self.writing();
        self.bundles.store(digest, zstd).map_err(file("write", &self.dir.join("bundles")))
    }

    /// Counts this start. `now_ms` stands in for a damaged count: no spoke starts once a millisecond, so it is beyond every
    /// earlier one, and the hub takes none of this spoke's reports for old.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn next_boot(&self, now_ms: u64) -> Result<u64, StateError> {
        let boot = match self.found("boot")? {
            Found::Missing => 1,
            Found::Whole(bytes) => number(&bytes).unwrap_or(now_ms) + 1,
            Found::Damaged => {
                self.set_aside("boot", "counting on from the time of day");
                now_ms
            }
        };
        self.store("boot", boot.to_string().as_bytes())?;
        Ok(boot)
    }

    /// The last hub time seen, Unix milliseconds.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn hub_time(&self) -> Result<u64, StateError> {
        let found = self.found("hub-time")?;
        let bytes =
            self.or_set_aside("hub-time", found, "only this machine's clock is known until the hub answers");
        Ok(bytes.and_then(|bytes| number(&bytes)).unwrap_or(0))
    }

    /// Stores the last hub time seen.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn store_hub_time(&self, time_ms: u64) -> Result<(), StateError> {
        self.store("hub-time", time_ms.to_string().as_bytes())
    }

    /// The age identity that this spoke made, as `age-keygen` would write it. A damaged one is told and kept aside: what is
    /// encrypted to it stays as it is on the cluster, and is reported until it is encrypted to the new one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn age_keys(&self) -> Result<Option<Zeroizing<String>>, StateError> {
        let what = "a new age key is made; restore the old one, or encrypt this cluster's secrets again";
        let bytes = self.or_set_aside("age-keys", self.found("age-keys")?, what);
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes).ok()).map(Zeroizing::new))
    }

    /// Stores the age identity.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn store_age_keys(&self, text: &str) -> Result<(), StateError> {
        self.store("age-keys", text.as_bytes())
    }

    /// The key under which digests of Secrets are made; 32 random bytes, made at the first call. Another one only means that
    /// Secrets are written once more.
    ///
    /// # Errors
    /// When it can be neither read nor stored.
    pub fn digest_key(&self) -> Result<Zeroizing<[u8; 32]>, StateError> {
        let found = self.or_set_aside("digest-key", self.found("digest-key")?, "a new one is made");
        if let Some(key) = found.and_then(|bytes| bytes.try_into().ok()) {
            return Ok(Zeroizing::new(key));
        }
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).expect("the system gives random bytes");
        self.store("digest-key", &*key)?;
        Ok(key)
    }

    /// Whether the order to detach was taken. The file's presence says it, whatever is in it.
    pub fn is_detached(&self) -> bool {
        self.dir.join("detached").exists()
    }

    /// Takes the order to detach.
    ///
    /// # Errors
    /// When the disk says no.
    pub fn detach(&self) -> Result<(), StateError> {
        self.store("detached", b"The hub ordered this spoke to let everything be as it is.\n")
    }
}

/// The entries of an assignment, decoded; the text says why one cannot be read.
pub fn entries(assignment: &Assignment) -> BTreeMap<AppKey, Result<Entry, String>> {
    let decoded = |bytes: &[u8]| decode_entry(bytes).map_err(|error| error.to_string());
    assignment.entries.iter().map(|(app, entry)| (app.clone(), decoded(&entry.bytes))).collect()
}

/// What is each app's previous bundle after an assignment follows another. Apps that left have none.
fn previous_after(previous: &Previous, before: &Assignment, after: &Assignment) -> Previous {
    let before = entries(before);
    let of = |app: &AppKey, entry: &Result<Entry, String>| {
        let (Ok(entry), Some(Ok(old))) = (entry, before.get(app)) else { return previous.get(app).copied() };
        if old.bundle == entry.bundle { previous.get(app).copied() } else { Some(old.bundle) }
    };
    entries(after).iter().filter_map(|(app, entry)| Some((app.clone(), of(app, entry)?))).collect()
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

fn file(verb: &'static str, path: &Path) -> impl Fn(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::File { verb, path: path.clone(), source }
}

/// Writes the status file: whole or not at all, and not worth more.
///
/// # Errors
/// When the disk says no.
pub fn write_status(dir: &Path, json: &[u8]) -> io::Result<()> {
    let aside = dir.join("status.json.new");
    fs::write(&aside, json)?;
    fs::rename(aside, dir.join("status.json"))
}

/// Reads the status file of a spoke that runs, or ran.
///
/// # Errors
/// When there is none.
pub fn read_status(dir: &Path) -> io::Result<Vec<u8>> {
    fs::read(dir.join("status.json"))
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
