//! Signatures of webhooks: HMAC-SHA256 over the time and the body, in the form that Stripe's webhooks made known.
//!
//! In: a key, a time, a body. Out: `t=UNIX,v1=HEX`; the receiver computes the same over `UNIX.BODY`, and refuses old times, so that
//! nobody can send again what they have overheard.
//! Never: signs the body alone.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header's name.
pub const HEADER: &str = "Nave-Signature";

/// The header's value.
pub fn sign(key: &[u8], unix_seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(unix_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut value = format!("t={unix_seconds},v1=");
    for byte in mac.finalize().into_bytes() {
        let _ = write!(value, "{byte:02x}");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// printf '1790000000.{"type":"Taken"}' | openssl dgst -sha256 -hmac 'a key of a test'
    #[test]
    fn the_signature_is_that_of_openssl() {
        let signed = sign(b"a key of a test", 1_790_000_000, br#"{"type":"Taken"}"#);
        assert_eq!(
            signed,
            "t=1790000000,v1=dd6293591d668833fc2e30090fdd3fcf1e13b011d97e133777d0c56bb452ab49"
        );
    }
}
