//! age: identities, and the little of the file format (age-encryption.org/v1) that wraps a data key.
//!
//! In: an armoured file to an X25519 recipient. Out: its content. Never: writes a file (tests do), knows passphrases,
//! plugins or SSH keys, shows a secret key.
//!
//! The crate `age` would do it with 137 crates, most of them translations; this does it with `ring` and `x25519-dalek`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::{hkdf, hmac};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::bech32;

const PUBLIC: &str = "age";
const SECRET: &str = "age-secret-key-";
/// The first line of a file.
const VERSION: &str = "age-encryption.org/v1";
/// A file key, 16 bytes, with its tag.
const WRAPPED: usize = 16 + 16;
/// The nonce before the payload.
const NONCE: usize = 16;
/// Longest payload taken: one chunk of the stream. A data key has 32 bytes.
const MAX_PAYLOAD: usize = 64 << 10;

/// A secret key, and the recipient that belongs to it.
#[derive(Clone)]
pub struct Identity {
    secret: StaticSecret,
    public: PublicKey,
}

/// Never the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

/// Why a wrapped key could not be unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// No recipient of the file is ours.
    #[error("it is encrypted to others")]
    NotOurs,
    /// It is no such file, or was changed.
    #[error("the key in it is damaged")]
    Damaged,
}

impl Identity {
    /// Of 32 random bytes.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Self {
        let secret = StaticSecret::from(*secret);
        Self { public: PublicKey::from(&secret), secret }
    }

    /// `AGE-SECRET-KEY-1…`
    pub fn parse(text: &str) -> Option<Self> {
        bech32::decode(SECRET, text).map(Self::new)
    }

    /// `AGE-SECRET-KEY-1…`, to be stored.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = bech32::encode(SECRET, self.secret.as_bytes());
        text.make_ascii_uppercase();
        text
    }

    /// `age1…`, for `.sops.yaml`.
    pub fn recipient(&self) -> String {
        bech32::encode(PUBLIC, self.public.as_bytes()).to_string()
    }

    /// The key between this identity and a file's ephemeral share.
    fn unwrap(&self, stanza: &Stanza) -> Option<Zeroizing<Vec<u8>>> {
        let share = self.secret.diffie_hellman(&PublicKey::from(stanza.share));
        if !share.was_contributory() {
            return None;
        }
        let salt = [stanza.share, *self.public.as_bytes()].concat();
        let key = derive(&salt, share.as_bytes(), b"age-encryption.org/v1/X25519");
        open(&key, [0; 12], &stanza.body)
    }
}

/// The identities in a text as `age-keygen` writes it: one a line, comments behind `#`. `None`: a line is neither.
pub fn identities(text: &str) -> Option<Vec<Identity>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Identity::parse).collect()
}

/// The content of an armoured file, by the first identity that fits.
///
/// # Errors
/// When none fits, or the file is not what its sender wrote.
pub fn decrypt(identities: &[Identity], armoured: &str) -> Result<Zeroizing<Vec<u8>>, UnwrapError> {
    let file = dearmour(armoured).ok_or(UnwrapError::Damaged)?;
    let header = Header::read(&file).ok_or(UnwrapError::Damaged)?;
    let unwrapped =
        header.stanzas.iter().find_map(|stanza| identities.iter().find_map(|one| one.unwrap(stanza)));
    let file_key = unwrapped.ok_or(UnwrapError::NotOurs)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*derive(&[], &file_key, b"header"));
    hmac::verify(&key, header.covered, &header.mac).map_err(|_| UnwrapError::Damaged)?;
    let (nonce, payload) = header.payload.split_at_checked(NONCE).ok_or(UnwrapError::Damaged)?;
    let key = derive(nonce, &file_key, b"payload");
    // The first chunk of the stream, and the last.
    let counter = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let short = payload.len() <= MAX_PAYLOAD;
    short.then(|| open(&key, counter, payload)).flatten().ok_or(UnwrapError::Damaged)
}

fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let info = [info];
    let expanded = pseudorandom.expand(&info, hkdf::HKDF_SHA256).expect("32 bytes are one block");
    expanded.fill(&mut *key).expect("32 bytes were asked for");
    key
}

fn open(key: &[u8; 32], nonce: [u8; 12], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes"));
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length =
        key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

fn dearmour(text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix("-----BEGIN AGE ENCRYPTED FILE-----")?;
    let body = body.strip_suffix("-----END AGE ENCRYPTED FILE-----")?;
    STANDARD.decode(body.lines().map(str::trim).collect::<String>()).ok()
}

/// `-> X25519 SHARE`, and the wrapped file key.
struct Stanza {
    share: [u8; 32],
    body: Vec<u8>,
}

struct Header<'a> {
    stanzas: Vec<Stanza>,
    /// What the MAC covers: up to and with `---`.
    covered: &'a [u8],
    mac: Vec<u8>,
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(file: &'a [u8]) -> Option<Self> {
        let mut at = 0;
        let mut next = || {
            let rest = &file[at..];
            let line = std::str::from_utf8(&rest[..rest.iter().position(|b| *b == b'\n')?]).ok()?;
            let start = at;
            at += line.len() + 1;
            Some((start, line, at))
        };
        if next()?.1 != VERSION {
            return None;
        }
        let mut stanzas = Vec::new();
        let (mut start, mut line, mut end) = next()?;
        loop {
            if let Some(mac) = line.strip_prefix("--- ") {
                let mac = STANDARD_NO_PAD.decode(mac).ok()?;
                return Some(Self { stanzas, covered: &file[..start + 3], mac, payload: &file[end..] });
            }
            let arguments = line.strip_prefix("-> ")?;
            let mut body = String::new();
            // A body ends with the first line that is not full, which may be empty.
            loop {
                let (_, text, _) = next()?;
                body.push_str(text);
                if text.len() < 64 {
                    break;
                }
            }
            if let Some(("X25519", share)) = arguments.split_once(' ') {
                let share = STANDARD_NO_PAD.decode(share).ok()?.try_into().ok()?;
                let body = STANDARD_NO_PAD.decode(body).ok().filter(|body| body.len() == WRAPPED)?;
                stanzas.push(Stanza { share, body });
            }
            (start, line, end) = next()?;
        }
    }
}
