//! The hub's MAC over (cluster, epoch, generation, digest): proof that an assignment is one that this fleet's hub sent, even when
//! its store has forgotten.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use nave_placement::Digest;
use nave_placement::assign::{Epoch, Generation};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret of 32 bytes.
#[derive(Clone)]
pub struct MacKey(Arc<Zeroizing<[u8; 32]>>);

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(…)")
    }
}

impl MacKey {
    /// Takes the secret.
    pub fn new(secret: [u8; 32]) -> Self {
        Self(Arc::new(Zeroizing::new(secret)))
    }

    fn over(&self, label: &str, fields: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&**self.0).expect("HMAC takes keys of any length");
        for field in [label.as_bytes()].iter().chain(fields) {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
        mac
    }

    /// Signs an assignment.
    pub fn sign(&self, cluster: &str, epoch: Epoch, generation: Generation, digest: &Digest) -> Vec<u8> {
        let fields: [&[u8]; 4] =
            [cluster.as_bytes(), &epoch.0.to_be_bytes(), &generation.0.to_be_bytes(), &digest.0];
        self.over("nave.assignment.mac.v1", &fields).finalize().into_bytes().to_vec()
    }

    /// Whether `mac` is what [`MacKey::sign`] gives; in constant time.
    pub fn verify(
        &self,
        cluster: &str,
        epoch: Epoch,
        generation: Generation,
        digest: &Digest,
        mac: &[u8],
    ) -> bool {
        let fields: [&[u8]; 4] =
            [cluster.as_bytes(), &epoch.0.to_be_bytes(), &generation.0.to_be_bytes(), &digest.0];
        self.over("nave.assignment.mac.v1", &fields).verify_slice(mac).is_ok()
    }

    /// A nonce for a renewal: the time and its MAC, so that the hub need not remember it.
    pub fn nonce(&self, now_ms: u64) -> Vec<u8> {
        let time = now_ms.to_be_bytes();
        let mac = self.over("nave.nonce.v1", &[&time]).finalize().into_bytes();
        [&time[..], &mac[..]].concat()
    }

    /// Whether a nonce is one of ours, of the last minute.
    pub fn nonce_is_fresh(&self, nonce: &[u8], now_ms: u64) -> bool {
        const LIFE_MS: u64 = 60_000;
        let Some((time, mac)) = nonce.split_first_chunk::<8>() else { return false };
        let made = u64::from_be_bytes(*time);
        let ours = self.over("nave.nonce.v1", &[time]).verify_slice(mac).is_ok();
        ours && made <= now_ms && now_ms - made <= LIFE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_covers_every_field() {
        let key = MacKey::new([1; 32]);
        let digest = Digest::of(b"x");
        let mac = key.sign("a", Epoch(1), Generation(2), &digest);
        assert!(key.verify("a", Epoch(1), Generation(2), &digest, &mac));
        assert!(!key.verify("b", Epoch(1), Generation(2), &digest, &mac));
        assert!(!key.verify("a", Epoch(2), Generation(2), &digest, &mac));
        assert!(!key.verify("a", Epoch(1), Generation(3), &digest, &mac));
        assert!(!key.verify("a", Epoch(1), Generation(2), &Digest::of(b"y"), &mac));
        assert!(!MacKey::new([2; 32]).verify("a", Epoch(1), Generation(2), &digest, &mac));
        assert!(!key.verify("a", Epoch(1), Generation(2), &digest, &[]));
    }

    #[test]
    fn a_nonce_lives_a_minute_and_cannot_be_made_up() {
        let key = MacKey::new([1; 32]);
        let nonce = key.nonce(1_000_000);
        assert!(key.nonce_is_fresh(&nonce, 1_000_000) && key.nonce_is_fresh(&nonce, 1_060_000));
        assert!(!key.nonce_is_fresh(&nonce, 1_060_001));
        assert!(!key.nonce_is_fresh(&nonce, 999_999));
        assert!(!key.nonce_is_fresh(&MacKey::new([2; 32]).nonce(1_000_000), 1_000_000));
        assert!(!key.nonce_is_fresh(&nonce[..20], 1_000_000));
        assert!(!key.nonce_is_fresh(&[], 1_000_000));
    }
}
