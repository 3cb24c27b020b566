//! Bundles on disk: one file per digest, compressed as they came.
//!
//! In: compressed bytes from the hub, a digest. Out: the bundle's bytes, checked against the digest at every reading.
//! Never: unpacks more than a bundle may have, hands out bytes that are not what their name says.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::render::MAX_BUNDLE_BYTES;

use super::sealed;

/// Why compressed bytes are not the bundle they are said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// They cannot be unpacked.
    #[error("bundle {}: it cannot be unpacked: {why}", digest.short())]
    Packed {
        /// Which.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// They unpack to more than a bundle may have.
    #[error("bundle {}: it is larger than {MAX_BUNDLE_BYTES} bytes", .0.short())]
    TooLarge(Digest),
    /// They are another bundle.
    #[error("bundle {}: its content is not what its digest says", .0.short())]
    Other(Digest),
}

/// Unpacks and checks a bundle.
///
/// # Errors
/// When it is not the one that `digest` names.
pub fn unpack(digest: &Digest, zstd: &[u8]) -> Result<Arc<[u8]>, BundleError> {
    let packed = |e: io::Error| BundleError::Packed { digest: *digest, why: e.to_string() };
    let mut bytes = Vec::new();
    let reader = zstd::stream::read::Decoder::with_buffer(zstd).map_err(packed)?;
    // One byte more than allowed tells too large from just fitting.
    let limit = MAX_BUNDLE_BYTES as u64 + 1;
    reader.take(limit).read_to_end(&mut bytes).map_err(packed)?;
    if bytes.len() > MAX_BUNDLE_BYTES {
        Err(BundleError::TooLarge(*digest))
    } else if Digest::of(&bytes) == *digest {
        Ok(bytes.into())
    } else {
        Err(BundleError::Other(*digest))
    }
}

/// The directory of bundles.
#[derive(Debug)]
pub struct Bundles {
    dir: PathBuf,
}

impl Bundles {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir.join(digest.to_string())
    }

    /// Whether a file of that name is there; its content is checked when it is read.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    pub(super) fn store(&self, digest: &Digest, zstd: &[u8]) -> io::Result<()> {
        if self.has(digest) {
            return Ok(());
        }
        sealed::replace(&self.path(digest), zstd)
    }

    /// A damaged file is told, removed, and counts as missing: the hub has it still.
    pub(super) fn read(&self, digest: &Digest) -> io::Result<Option<Arc<[u8]>>> {
        let path = self.path(digest);
        let zstd = match fs::read(&path) {
            Ok(zstd) => zstd,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match unpack(digest, &zstd) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a stored bundle is damaged; it is fetched again");
                sealed::remove(&path)?;
                Ok(None)
            }
        }
    }

    /// Removes all but these.
    pub(super) fn keep(&self, wanted: &BTreeSet<Digest>) -> io::Result<()> {
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let kept = name.parse().is_ok_and(|digest: Digest| wanted.contains(&digest));
            if !kept {
                sealed::remove(&path)?;
            }
        }
        Ok(())
    }
}
