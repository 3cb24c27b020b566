//! Bundles: one record per digest, compressed as they came.
//!
//! In: compressed bytes from the hub, a digest. Out: the bundle's bytes, checked against the digest at every reading.
//! Never: unpacks more than a bundle may have, hands out bytes that are not what their name says.

use std::io::{self, Read as _};
use std::sync::Arc;

use nave_placement::Digest;
use nave_placement::render::MAX_BUNDLE_BYTES;

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
