//! Secrets: records among the Secrets of the spoke's own namespace.
//!
//! In: bytes under a name. Out: a [`Keep`]. Never: writes what is there already; shows a half of a record; reads "could
//! not see" as "is not there".
//!
//! A record is one Secret, its pointer, that says the digest of the content. Up to [`CHUNK`] the content is in the same
//! Secret, so that one write is one step. A larger one is in chunks, under names of their own that follow from the
//! content; they are written first, then the pointer, then the old chunks are removed. A crash anywhere leaves the old
//! pointer with the old chunks, or the new with the new; what nobody points to is removed at the next start.

pub mod owner;
pub mod shelf;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nave_placement::Digest;

use self::owner::Owner;
use self::shelf::{Item, Shelf, ShelfError};
use super::StateError;
use super::keep::{Found, Keep};

/// Bytes of a record in one Secret: 700 KiB is what the API server's limit of 1 MiB leaves after base64 takes a third, and
/// then some for what it keeps beside it.
pub const CHUNK: usize = 700 << 10;
/// Compressed bundles that are kept in memory, so that a round needs no request for them: a thousand apps of 4 KiB.
const RECENT: usize = 4 << 20;
/// Every Secret of a state begins so.
pub(super) const PREFIX: &str = "nave-state.";
const DAMAGED: &str = ".damaged";

/// What a pointer says: the digest of the content, and in how many chunks it is; none when it is in the pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pointer {
    digest: Digest,
    chunks: usize,
}

impl Pointer {
    fn to_text(self) -> String {
        format!("{} {}", self.digest, self.chunks)
    }

    fn read(text: &str) -> Option<Self> {
        let (digest, chunks) = text.split_once(' ')?;
        Some(Self { digest: digest.parse().ok()?, chunks: chunks.parse().ok()? })
    }

    fn chunk_names(self, pointer: &str) -> impl Iterator<Item = String> + use<> {
        let of = self.digest.to_string();
        let pointer = pointer.to_owned();
        // Sixteen digits tell two contents of one record apart.
        (0..self.chunks).map(move |at| format!("{pointer}.chunk-{}-{at}", &of[..16]))
    }
}

/// What is known of the Secrets without asking.
#[derive(Default)]
struct Known {
    /// The pointer under each name, where it is certain.
    pointers: BTreeMap<String, Pointer>,
    /// Names of all Secrets of the state, pointers and chunks.
    names: BTreeSet<String>,
    recent: Recent,
}

/// Records under `bundles/`, the latest last.
#[derive(Default)]
struct Recent {
    order: VecDeque<String>,
    content: BTreeMap<String, Arc<[u8]>>,
    bytes: usize,
}

impl Recent {
    fn forget(&mut self, name: &str) {
        if let Some(content) = self.content.remove(name) {
            self.bytes -= content.len();
            self.order.retain(|other| other != name);
        }
    }

    fn remember(&mut self, name: &str, content: &[u8]) {
        self.forget(name);
        // A single large one would push all others out.
        if content.len() > RECENT / 4 || !name.starts_with(super::BUNDLES) {
            return;
        }
        while self.bytes + content.len() > RECENT {
            let Some(oldest) = self.order.front().cloned() else { return };
            self.forget(&oldest);
        }
        self.bytes += content.len();
        self.order.push_back(name.to_owned());
        self.content.insert(name.to_owned(), content.into());
    }
}

/// Records among Secrets.
pub struct Secrets {
    shelf: Arc<dyn Shelf>,
    owner: Option<Owner>,
    known: Mutex<Known>,
    chunk: usize,
}

impl Secrets {
    /// Takes the state among these Secrets for this process, and removes what a crash left.
    ///
    /// # Errors
    /// When another spoke has it, or the Secrets cannot be seen.
    pub async fn open(shelf: Arc<dyn Shelf>, holder: owner::Holder) -> Result<Self, StateError> {
        let owner = Owner::take(shelf.clone(), holder).await?;
        Self::unowned(shelf, Some(owner), CHUNK).await
    }

    /// The state as it is, to look at beside a running spoke.
    ///
    /// # Errors
    /// When the Secrets cannot be seen.
    pub async fn to_look_at(shelf: Arc<dyn Shelf>) -> Result<Self, StateError> {
        Self::seen(shelf, None, CHUNK).await
    }

    async fn unowned(shelf: Arc<dyn Shelf>, owner: Option<Owner>, chunk: usize) -> Result<Self, StateError> {
        let keep = Self::seen(shelf, owner, chunk).await?;
        keep.sweep().await;
        Ok(keep)
    }

    async fn seen(shelf: Arc<dyn Shelf>, owner: Option<Owner>, chunk: usize) -> Result<Self, StateError> {
        let listed = shelf.list().await.map_err(failed("list", &shelf.place("")))?;
        let mut known = Known::default();
        for (secret, about) in listed {
            if let (Some(name), Some(pointer)) = (name_of(&secret), Pointer::read(&about)) {
                known.pointers.insert(name, pointer);
            }
            known.names.insert(secret);
        }
        Ok(Self { shelf, owner, known: Mutex::new(known), chunk })
    }

    /// Removes every Secret of the state, the owner's record last.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn clear(&self) -> Result<usize, StateError> {
        let last = owner::record();
        let names: Vec<String> = self.known().names.iter().filter(|name| **name != last).cloned().collect();
        for name in names.iter().chain([&last]) {
            self.shelf.delete(name).await.map_err(failed("remove", &self.shelf.place(name)))?;
        }
        Ok(names.len() + 1)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Whatever a panic left in it is checked against the Secrets when it is read.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes chunks that no pointer names. What cannot be removed is tried again at the next start.
    async fn sweep(&self) {
        let orphans: Vec<String> = {
            let known = self.known();
            let named: BTreeSet<String> = known
                .pointers
                .iter()
                .flat_map(|(name, pointer)| pointer.chunk_names(&secret_of(name)))
                .collect();
            let chunks = known.names.iter().filter(|name| name.contains(".chunk-"));
            chunks.filter(|name| !named.contains(*name)).cloned().collect()
        };
        self.remove_chunks(orphans).await;
    }

    async fn remove_chunks(&self, chunks: Vec<String>) {
        for chunk in chunks {
            match self.shelf.delete(&chunk).await {
                Ok(()) => drop(self.known().names.remove(&chunk)),
                Err(error) => {
                    tracing::debug!(chunk, %error, "an old chunk could not be removed yet");
                    return;
                }
            }
        }
    }

    async fn put(&self, secret: &str, about: String, content: &[u8]) -> Result<(), StateError> {
        let item = Item { about, content: content.to_vec() };
        self.shelf.put(secret, &item).await.map_err(failed("write", &self.shelf.place(secret)))?;
        self.known().names.insert(secret.to_owned());
        Ok(())
    }

    /// Before a write: nobody else has taken the state over meanwhile.
    async fn may_write(&self) -> Result<(), StateError> {
        match &self.owner {
            Some(owner) => owner.before_a_write().await,
            None => Ok(()),
        }
    }

    /// The chunks of a content that is not in its pointer; `None` when one is missing.
    async fn chunks(&self, secret: &str, pointer: Pointer) -> Result<Option<Vec<u8>>, StateError> {
        let mut content = Vec::new();
        for name in pointer.chunk_names(secret) {
            match self.shelf.get(&name).await.map_err(failed("read", &self.shelf.place(&name)))? {
                Some(chunk) => content.extend_from_slice(&chunk.content),
                None => return Ok(None),
            }
        }
        Ok(Some(content))
    }
}

fn secret_of(name: &str) -> String {
    format!("{PREFIX}{}", name.replace('/', "."))
}

/// The record whose pointer a Secret is. Records below a directory have names without a dot.
fn name_of(secret: &str) -> Option<String> {
    let name = secret.strip_prefix(PREFIX)?;
    let below = super::BUNDLES.trim_end_matches('/');
    let bundle = name.strip_prefix(below).and_then(|rest| rest.strip_prefix('.'));
    (!name.contains(".chunk-")).then(|| bundle.map_or_else(|| name.to_owned(), |b| format!("{below}/{b}")))
}

fn failed(verb: &'static str, place: &str) -> impl FnOnce(ShelfError) -> StateError {
    let place = place.to_owned();
    move |source| StateError::Failed { verb, place, source: Box::new(source) }
}

#[async_trait]
impl Keep for Secrets {
    fn place(&self, name: &str) -> String {
        self.shelf.place(&if name.is_empty() { String::new() } else { secret_of(name) })
    }

    async fn read(&self, name: &str) -> Result<Found, StateError> {
        if let Some(content) = self.known().recent.content.get(name) {
            return Ok(Found::Whole(content.to_vec()));
        }
        let secret = secret_of(name);
        let item = self.shelf.get(&secret).await.map_err(failed("read", &self.shelf.place(&secret)))?;
        let Some(item) = item else {
            self.known().pointers.remove(name);
            return Ok(Found::Missing);
        };
        let Some(pointer) = Pointer::read(&item.about) else { return Ok(Found::Damaged) };
        let content = match pointer.chunks {
            0 => Some(item.content),
            _ => self.chunks(&secret, pointer).await?,
        };
        match content.filter(|content| Digest::of(content) == pointer.digest) {
            Some(content) => {
                let mut known = self.known();
                known.pointers.insert(name.to_owned(), pointer);
                known.recent.remember(name, &content);
                Ok(Found::Whole(content))
            }
            None => {
                // Written again, it is written for certain.
                self.known().pointers.remove(name);
                Ok(Found::Damaged)
            }
        }
    }

    async fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let chunks = if bytes.len() <= self.chunk { 0 } else { bytes.len().div_ceil(self.chunk) };
        let pointer = Pointer { digest: Digest::of(bytes), chunks };
        let (secret, before) = (secret_of(name), self.known().pointers.get(name).copied());
        if before == Some(pointer) {
            return Ok(());
        }
        self.may_write().await?;
        for (chunk, content) in pointer.chunk_names(&secret).zip(bytes.chunks(self.chunk)) {
            self.put(&chunk, String::new(), content).await?;
        }
        // From here on it is not known which of the two is there, until the write is acknowledged.
        self.known().pointers.remove(name);
        let inline = if chunks == 0 { bytes } else { &[] };
        self.put(&secret, pointer.to_text(), inline).await?;
        let old: Vec<String> = {
            let mut known = self.known();
            known.pointers.insert(name.to_owned(), pointer);
            known.recent.remember(name, bytes);
            let new: BTreeSet<String> = pointer.chunk_names(&secret).collect();
            let of_this = format!("{secret}.chunk-");
            let chunks = known.names.iter().filter(|chunk| chunk.starts_with(&of_this));
            chunks.filter(|chunk| !new.contains(*chunk)).cloned().collect()
        };
        self.remove_chunks(old).await;
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), StateError> {
        let secret = secret_of(name);
        if !self.known().names.contains(&secret) {
            return Ok(());
        }
        self.may_write().await?;
        self.shelf.delete(&secret).await.map_err(failed("remove", &self.shelf.place(&secret)))?;
        let chunks: Vec<String> = {
            let mut known = self.known();
            known.pointers.remove(name);
            known.names.remove(&secret);
            known.recent.forget(name);
            let of_this = format!("{secret}.chunk-");
            known.names.iter().filter(|chunk| chunk.starts_with(&of_this)).cloned().collect()
        };
        self.remove_chunks(chunks).await;
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<BTreeSet<String>, StateError> {
        let known = self.known();
        Ok(known
            .names
            .iter()
            .filter_map(|secret| name_of(secret))
            .filter(|name| name.starts_with(prefix))
            .collect())
    }

    async fn set_aside(&self, name: &str) -> Result<String, StateError> {
        let (secret, aside) = (secret_of(name), secret_of(&format!("{name}{DAMAGED}")));
        self.may_write().await?;
        let found = self.shelf.get(&secret).await.map_err(failed("read", &self.shelf.place(&secret)))?;
        if let Some(item) = found {
            // What is left of it is in the pointer. Chunks are parts of nothing now, and go.
            self.put(&aside, format!("set aside: {}", item.about), &item.content).await?;
            self.known().names.insert(secret);
            self.remove(name).await?;
        }
        Ok(self.shelf.place(&aside))
    }

    async fn show(&self, status: &[u8]) -> Result<(), StateError> {
        self.shelf.show(status).await.map_err(failed("write", &self.shelf.place(shelf::STATUS)))
    }

    async fn still_held(&self) -> Result<(), StateError> {
        match &self.owner {
            Some(owner) => owner.look().await,
            None => Ok(()),
        }
    }

    fn is_shared(&self) -> bool {
        true
    }
}
