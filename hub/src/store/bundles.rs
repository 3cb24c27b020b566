//! Rendered content, kept as files named by its digest.
//!
//! In: the bytes of a bundle and their SHA-256. Out: the same bytes, compressed as they travel or as they were. A file
//! appears whole or not at all, and bytes that do not have their digest are never given out: a damaged file is
//! missing, and what is missing is rendered again. Nothing here knows what a bundle contains, or which are still
//! needed. All calls block on the disk; call them from a blocking thread.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nave_placement::Digest;
use tokio::sync::watch;

/// zstd's default, also used on the wire: 5 to 10 times smaller on manifests, at some 200 MB/s.
const LEVEL: i32 = 3;

/// The largest bundle, uncompressed. Kubernetes refuses objects of more than 1.5 MiB; this is forty of those, and
/// what a damaged file can make a reader unpack.
pub const MAX_CONTENT_BYTES: usize = 64 << 20;

const SUFFIX: &str = ".zst";
const TEMPORARY_PREFIX: &str = ".new-";

/// Why a bundle was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The bytes are not those of the digest; nothing was written.
    #[error("the content of bundle {expected} has the digest {found}")]
    WrongDigest {
        /// What the caller said.
        expected: Digest,
        /// What the bytes say.
        found: Digest,
    },
    /// The content is larger than [`MAX_CONTENT_BYTES`]; nothing was written.
    #[error("bundle {digest} has {bytes} bytes: at most {MAX_CONTENT_BYTES} are taken")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size.
        bytes: usize,
    },
    /// The disk refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A directory of bundles. One process uses it.
#[derive(Debug)]
pub struct Bundles {
    directory: PathBuf,
    gone: watch::Sender<BTreeSet<Digest>>,
}

impl Bundles {
    /// Uses this directory, making it where there is none; files half written by a process that died are removed.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn open(directory: &Path) -> Result<Self, BundleError> {
        let bundles = Self { directory: directory.to_owned(), gone: watch::Sender::default() };
        let failed = |source| BundleError::Io { path: directory.to_owned(), source };
        fs::create_dir_all(directory).map_err(failed)?;
        for name in bundles.names()? {
            if name.starts_with(TEMPORARY_PREFIX) {
                fs::remove_file(directory.join(name)).map_err(failed)?;
            }
        }
        Ok(bundles)
    }

    /// Keeps a bundle, durably when it returns. Keeping it again costs a read, and repairs a damaged file.
    ///
    /// # Errors
    /// [`BundleError`].
    pub fn put(&self, digest: Digest, content: &[u8]) -> Result<(), BundleError> {
        if content.len() > MAX_CONTENT_BYTES {
            return Err(BundleError::TooLarge { digest, bytes: content.len() });
        }
        let found = Digest::of(content);
        if found != digest {
            return Err(BundleError::WrongDigest { expected: digest, found });
        }
        if self.read(digest)?.is_none() {
            let failed = |source| BundleError::Io { path: self.path(digest), source };
            self.write(digest, content).map_err(failed)?;
        }
        // Nobody waits for a bundle to be there: whoever lacks it asks again.
        self.gone.send_if_modified(|gone| {
            gone.remove(&digest);
            false
        });
        Ok(())
    }

    /// Bundles that somebody wanted to send and that are not here; it changes when there is one more.
    pub fn gone(&self) -> watch::Receiver<BTreeSet<Digest>> {
        self.gone.subscribe()
    }

    /// The bundle as zstd wrote it, which is also how it is sent.
    ///
    /// # Errors
    /// [`BundleError::Io`]. A damaged file is removed, with a warning, and `None`.
    pub fn get(&self, digest: Digest) -> Result<Option<Bytes>, BundleError> {
        let found = self.read(digest)?.map(|(compressed, _)| compressed);
        if found.is_none() {
            self.gone.send_if_modified(|gone| gone.insert(digest));
        }
        Ok(found)
    }

    /// The bundle as it was put.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_uncompressed(&self, digest: Digest) -> Result<Option<Bytes>, BundleError> {
        Ok(self.read(digest)?.map(|(_, content)| content))
    }

    /// Whether there is a file of that name; what is in it is seen by [`get`](Self::get) only.
    pub fn contains(&self, digest: Digest) -> bool {
        self.path(digest).exists()
    }

    /// Removes a bundle, if it is there.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn remove(&self, digest: Digest) -> Result<(), BundleError> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(BundleError::Io { path, source }),
            _ => Ok(()),
        }
    }

    /// The digests of all files, in their order. Files of other names are not ours.
    ///
    /// # Errors
    /// [`BundleError::Io`].
    pub fn list(&self) -> Result<Vec<Digest>, BundleError> {
        let mut digests: Vec<Digest> =
            self.names()?.iter().filter_map(|name| name.strip_suffix(SUFFIX)?.parse().ok()).collect();
        digests.sort();
        Ok(digests)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(format!("{digest}{SUFFIX}"))
    }

    /// The names of the files that are text, as all of ours are.
    fn names(&self) -> Result<Vec<String>, BundleError> {
        let names = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(&self.directory)?.collect::<io::Result<Vec<_>>>()?;
            Ok(entries.iter().filter_map(|entry| entry.file_name().to_str().map(str::to_owned)).collect())
        };
        names().map_err(|source| BundleError::Io { path: self.directory.clone(), source })
    }

    /// The compressed bytes and the content, whose digest was compared.
    fn read(&self, digest: Digest) -> Result<Option<(Bytes, Bytes)>, BundleError> {
        let path = self.path(digest);
        let compressed = match fs::read(&path) {
            Ok(compressed) => compressed,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(BundleError::Io { path, source }),
        };
        let damage = match decompress(&compressed) {
            Ok(content) if Digest::of(&content) == digest => {
                return Ok(Some((compressed.into(), content.into())));
            }
            Ok(content) => format!("its content has the digest {}", Digest::of(&content)),
            Err(error) => error.to_string(),
        };
        tracing::warn!(path = %path.display(), damage, "a damaged bundle was removed; it will be rendered again");
        self.remove(digest)?;
        Ok(None)
    }

    /// Content, then name, then the directory that holds the name: in this order a power cut leaves either nothing
    /// or all of it.
    fn write(&self, digest: Digest, content: &[u8]) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(&self.directory)?;
        file.write_all(&compress(content)?)?;
        file.as_file().sync_all()?;
        file.persist(self.path(digest))?;
        File::open(&self.directory)?.sync_all()
    }
}

/// Compresses content as bundles are kept and sent.
///
/// # Errors
/// When zstd runs out of memory.
pub fn compress(content: &[u8]) -> io::Result<Vec<u8>> {
    zstd::bulk::compress(content, LEVEL)
}

/// Gives back what was compressed, up to [`MAX_CONTENT_BYTES`].
///
/// # Errors
/// When the bytes are not what zstd wrote, or say that they unpack to more.
pub fn decompress(compressed: &[u8]) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read =
        zstd::Decoder::new(compressed)?.take(MAX_CONTENT_BYTES as u64 + 1).read_to_end(&mut content)?;
    if read > MAX_CONTENT_BYTES {
        return Err(io::Error::other("it unpacks to more than a bundle may have"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    type Tested = Result<(), Box<dyn Error>>;

    #[test]
    fn a_bundle_is_kept_once_and_given_back_in_both_forms() -> Tested {
        let directory = tempfile::tempdir()?;
        let bundles = Bundles::open(directory.path())?;
        let content = b"kind: ConfigMap\n".repeat(1000);
        let digest = Digest::of(&content);
        assert_eq!((bundles.get(digest)?, bundles.contains(digest)), (None, false));
        assert!(bundles.gone().borrow().contains(&digest));
        bundles.put(digest, &content)?;
        assert!(bundles.gone().borrow().is_empty());
        let made = fs::metadata(bundles.path(digest))?.modified()?;
        bundles.put(digest, &content)?;
        assert_eq!(fs::metadata(bundles.path(digest))?.modified()?, made, "it was not written again");
        assert_eq!(bundles.get_uncompressed(digest)?.as_deref(), Some(&content[..]));
        let compressed = bundles.get(digest)?.ok_or("it was put")?;
        assert!(compressed.len() < content.len() / 10);
        assert_eq!(decompress(&compressed)?, content);
        assert_eq!(bundles.list()?, [digest]);
        bundles.remove(digest)?;
        bundles.remove(digest)?;
        assert_eq!((bundles.contains(digest), bundles.list()?), (false, vec![]));
        Ok(())
    }

    #[test]
    fn bytes_of_another_digest_are_refused() -> Tested {
        let directory = tempfile::tempdir()?;
        let bundles = Bundles::open(directory.path())?;
        let error = bundles.put(Digest::of(b"a"), b"b").expect_err("another digest");
        assert!(matches!(error, BundleError::WrongDigest { .. }), "{error}");
        assert_eq!(bundles.list()?, []);
        Ok(())
    }

    #[test]
    fn a_damaged_file_is_missing_and_can_be_put_again() -> Tested {
        let directory = tempfile::tempdir()?;
        let bundles = Bundles::open(directory.path())?;
        let digest = Digest::of(b"content");
        let whole = compress(b"content")?;
        let mut flipped = whole.clone();
        *flipped.last_mut().ok_or("not empty")? ^= 1;
        let bomb = compress(&vec![0; MAX_CONTENT_BYTES + 1])?;
        for damaged in [&b""[..], &whole[..whole.len() - 1], &flipped, &compress(b"another")?, &bomb] {
            fs::write(bundles.path(digest), damaged)?;
            assert_eq!(bundles.get(digest)?, None);
            assert!(!bundles.contains(digest));
            fs::write(bundles.path(digest), damaged)?;
            bundles.put(digest, b"content")?;
            assert_eq!(bundles.get_uncompressed(digest)?.as_deref(), Some(&b"content"[..]));
        }
        Ok(())
    }

    #[test]
    fn what_a_dead_process_left_half_written_is_removed_and_nothing_else() -> Tested {
        let directory = tempfile::tempdir()?;
        fs::write(directory.path().join(".new-Xy12"), "half")?;
        fs::write(directory.path().join("README"), "of somebody else")?;
        let bundles = Bundles::open(directory.path())?;
        bundles.put(Digest::of(b"x"), b"x")?;
        assert_eq!(bundles.list()?, [Digest::of(b"x")]);
        assert!(!directory.path().join(".new-Xy12").exists() && directory.path().join("README").exists());
        Ok(())
    }
}
