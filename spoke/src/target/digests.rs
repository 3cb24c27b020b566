//! Digests of what was written: plain ones, and keyed ones for what holds secrets.
//!
//! In: an object's bytes, a key that only this spoke has. Out: a digest that tells whether it is the same object.
//! Never: gives a plain digest of a Secret: a short password is found again by trying.

use std::fmt;
use std::sync::OnceLock;

use nave_placement::Digest;
use nave_placement::render::is_secret;
use ring::hmac;
use serde_json::Value;

/// The key of one spoke. Without one, a random key: what it recognizes then ends with the process.
#[derive(Default)]
pub(super) struct DigestKey(OnceLock<hmac::Key>);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl DigestKey {
    /// Sets the key, once, before the first digest.
    pub fn set(&self, key: &[u8; 32]) {
        // A second call would be another spoke's; the first one stays.
        let _ = self.0.set(hmac::Key::new(hmac::HMAC_SHA256, key));
    }

    /// The digest of an object as it is written.
    pub fn of(&self, object: &Value, written: &[u8]) -> Digest {
        if !is_secret(object) {
            return Digest::of(written);
        }
        let key = self.0.get_or_init(|| {
            let random = ring::rand::SystemRandom::new();
            hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system gives random bytes")
        });
        Digest::from_bytes(hmac::sign(key, written).as_ref()).expect("it has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secrets_digest_cannot_be_computed_without_the_key() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"pin": "MTIzNA=="}});
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        let bytes = b"the same bytes";
        let with = |key: u8| {
            let keyed = DigestKey::default();
            keyed.set(&[key; 32]);
            keyed
        };
        assert_eq!(with(1).of(&secret, bytes), with(1).of(&secret, bytes));
        assert_ne!(with(1).of(&secret, bytes), with(2).of(&secret, bytes));
        assert_ne!(with(1).of(&secret, bytes), Digest::of(bytes));
        assert_ne!(DigestKey::default().of(&secret, bytes), Digest::of(bytes));
        assert_eq!(with(1).of(&map, bytes), Digest::of(bytes));
    }
}
