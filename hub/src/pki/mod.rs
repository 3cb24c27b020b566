//! PKI: the fleet's CA, the certificates it signs, and the key of the hub's MAC.
//!
//! In: public keys and names that the hub chose. Out: certificates, MACs.
//! Never: takes a name from a request; writes a key to the store. Keys live in `--ca-dir` alone.

mod authority;
mod mac;

pub use authority::{Authority, AuthorityError, Issued, admin_key};
pub use mac::MacKey;

/// Random bytes from the operating system.
///
/// # Panics
/// When the operating system has none, which Linux rules out once it has booted.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}
