//! SOPS: from encrypted documents to objects, if nobody changed them.
//!
//! In: documents of one MAC, identities. Out: the objects in clear, without `sops`.
//! Never: gives a part of what it could not check whole; says a value, or a part of one, in an error.
//!
//! The format, as SOPS writes it: every value is `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` under one random data key, with
//! the keys above it (`a:b:`, list indices left out) as additional data. The data key is wrapped for each recipient. The
//! MAC is the SHA-512 of all values in order, in capital hex digits, encrypted like a value with `lastmodified` as
//! additional data. Keys, comments and null are not under the MAC.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nave_placement::render::{Sealed, Tree};
use regex::Regex;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

use super::age::{self, Identity, UnwrapError};

/// AES-256-GCM with the nonce of 32 bytes that SOPS uses; `ring` has it with 12 only.
type Cipher = AesGcm<Aes256, U32>;

/// What begins the MAC of a document whose clear values are not under it: SHA-256 of `sops`.
const ONLY_ENCRYPTED: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b,
    0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// Why documents could not be opened. None of it tells a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The text is not what the hub took it for.
    #[error("it cannot be read any more")]
    Unreadable,
    /// No identity of ours fits.
    #[error(
        "it is encrypted to {}, and this cluster's recipient is {}; add that to .sops.yaml and run `sops updatekeys`",
        .recipients.join(", "),
        .own.as_deref().unwrap_or("not made yet")
    )]
    NotOurs {
        /// Whom it is encrypted to.
        recipients: Vec<String>,
        /// Who we are.
        own: Option<String>,
    },
    /// What wraps the data key was changed.
    #[error("the data key for {recipient} is damaged; encrypt it again")]
    DataKey {
        /// Whose.
        recipient: String,
    },
    /// A value was changed, moved to another key, or cut off.
    #[error("{path} was changed after it was encrypted, or is no encrypted value; encrypt it again")]
    Value {
        /// The keys above it.
        path: String,
    },
    /// A rule of `sops` cannot be read.
    #[error("sops.{rule} is no regular expression that can be used")]
    Rule {
        /// Which.
        rule: &'static str,
    },
    /// A value in clear was changed, or something was added, left out or moved.
    #[error(
        "its MAC does not fit: it was changed without SOPS; open it with `sops edit` and encrypt it again"
    )]
    Mac,
}

/// Objects in clear. It has no `Debug`.
pub struct Opened {
    /// In the order of the documents.
    pub objects: Vec<Value>,
    /// What was encrypted in them.
    pub values: Vec<Zeroizing<String>>,
}

/// Opens documents of one MAC.
///
/// # Errors
/// When they cannot be decrypted whole, or are not as they were encrypted.
pub fn open(sealed: &Sealed, identities: &[Identity]) -> Result<Opened, OpenError> {
    let mut documents = sealed.documents().ok_or(OpenError::Unreadable)?;
    let header = documents.iter_mut().map(take_header).collect::<Option<Vec<_>>>();
    let header = header.and_then(|headers| headers.into_iter().next()).ok_or(OpenError::Unreadable)?;
    let key = data_key(&header, identities)?;
    let mut opening = Opening {
        cipher: Cipher::new_from_slice(&key).map_err(|_| OpenError::Unreadable)?,
        rule: Rule::read(&header)?,
        only_encrypted: matches!(field(&header, "mac_only_encrypted"), Some(Tree::Bool(true))),
        mac: Sha512::new(),
        values: Vec::new(),
    };
    if opening.only_encrypted {
        opening.mac.update(ONLY_ENCRYPTED);
    }
    let objects = documents.into_iter().map(|document| opening.value(document, &mut Vec::new()));
    let objects = objects.collect::<Result<Vec<_>, _>>()?;
    let (mac, modified) = (text(&header, "mac"), text(&header, "lastmodified"));
    let expected = decrypt(&opening.cipher, mac, modified).ok_or(OpenError::Mac)?;
    let mut actual: String = opening.mac.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
    let fits = bool::from(actual.as_bytes().ct_eq(&expected.bytes));
    actual.zeroize();
    if fits { Ok(Opened { objects, values: opening.values }) } else { Err(OpenError::Mac) }
}

/// Takes `sops` out of a document.
fn take_header(document: &mut Tree) -> Option<Tree> {
    let Tree::Map(entries) = document else { return None };
    let at = entries.iter().position(|(key, _)| key == "sops")?;
    Some(entries.remove(at).1)
}

fn field<'a>(tree: &'a Tree, name: &str) -> Option<&'a Tree> {
    let Tree::Map(entries) = tree else { return None };
    entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

fn text<'a>(tree: &'a Tree, name: &str) -> &'a str {
    match field(tree, name) {
        Some(Tree::Text(text)) => text,
        _ => "",
    }
}

/// The data key, by whichever recipient is ours.
fn data_key(header: &Tree, identities: &[Identity]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let wrapped: &[Tree] = match field(header, "age") {
        Some(Tree::List(wrapped)) => wrapped,
        _ => &[],
    };
    let mut damaged = None;
    for one in wrapped {
        match age::decrypt(identities, text(one, "enc")) {
            Ok(key) if key.len() == 32 => return Ok(key),
            Err(UnwrapError::NotOurs) => {}
            Ok(_) | Err(UnwrapError::Damaged) => damaged = Some(text(one, "recipient").to_owned()),
        }
    }
    let own = identities.first().map(Identity::recipient);
    let recipients: Vec<String> = wrapped.iter().map(|one| text(one, "recipient").to_owned()).collect();
    Err(match damaged {
        Some(recipient) => OpenError::DataKey { recipient },
        None => OpenError::NotOurs { recipients, own },
    })
}

/// Which values are encrypted, by the keys above them.
enum Rule {
    /// Those with a key that matches.
    Matching(Pattern),
    /// All others.
    Except(Pattern),
}

enum Pattern {
    Suffix(String),
    Regex(Regex),
}

impl Pattern {
    fn fits(&self, key: &str) -> bool {
        match self {
            Self::Suffix(suffix) => key.ends_with(suffix),
            Self::Regex(regex) => regex.is_match(key),
        }
    }
}

impl Rule {
    fn read(header: &Tree) -> Result<Self, OpenError> {
        let given = |name| Some(text(header, name)).filter(|text| !text.is_empty());
        let regex =
            |rule, text: &str| Regex::new(text).map(Pattern::Regex).map_err(|_| OpenError::Rule { rule });
        let suffix = |text: &str| Pattern::Suffix(text.to_owned());
        // SOPS takes one of them; where several stand, the last of its checks decides.
        if let Some(text) = given("encrypted_regex") {
            return regex("encrypted_regex", text).map(Self::Matching);
        }
        if let Some(text) = given("unencrypted_regex") {
            return regex("unencrypted_regex", text).map(Self::Except);
        }
        if let Some(text) = given("encrypted_suffix") {
            return Ok(Self::Matching(suffix(text)));
        }
        Ok(Self::Except(suffix(given("unencrypted_suffix").unwrap_or("_unencrypted"))))
    }

    fn encrypts(&self, path: &[String]) -> bool {
        match self {
            Self::Matching(pattern) => path.iter().any(|key| pattern.fits(key)),
            Self::Except(pattern) => !path.iter().any(|key| pattern.fits(key)),
        }
    }
}

/// A walk through documents in the order of their MAC.
struct Opening {
    cipher: Cipher,
    rule: Rule,
    only_encrypted: bool,
    mac: Sha512,
    values: Vec<Zeroizing<String>>,
}

impl Opening {
    fn value(&mut self, tree: Tree, path: &mut Vec<String>) -> Result<Value, OpenError> {
        let (bytes, value) = match tree {
            Tree::Null => return Ok(Value::Null),
            Tree::List(items) => return items.into_iter().map(|item| self.value(item, path)).collect(),
            Tree::Map(entries) => {
                let mut map = Map::new();
                for (key, tree) in entries {
                    path.push(key);
                    let value = self.value(tree, path)?;
                    map.extend(path.pop().map(|key| (key, value)));
                }
                return Ok(Value::Object(map));
            }
            leaf if self.rule.encrypts(path) => {
                let opened = self.decrypted(&leaf, path);
                let (text, value) = opened.ok_or_else(|| OpenError::Value { path: path.join(".") })?;
                self.mac.update(text.as_bytes());
                self.values.push(text);
                return Ok(value);
            }
            Tree::Bool(value) => (if value { "True" } else { "False" }.to_owned(), value.into()),
            Tree::Number(number) => (digits(&number), Value::Number(number)),
            Tree::Text(text) => (text.clone(), Value::String(text)),
        };
        if !self.only_encrypted {
            self.mac.update(bytes);
        }
        Ok(value)
    }

    /// An encrypted value: what the MAC covers of it, and what it is.
    fn decrypted(&self, leaf: &Tree, path: &[String]) -> Option<(Zeroizing<String>, Value)> {
        let Tree::Text(text) = leaf else { return None };
        // SOPS leaves what is empty as it is.
        if text.is_empty() {
            return Some((Zeroizing::default(), Value::String(String::new())));
        }
        let above = path.iter().map(|key| format!("{key}:")).collect::<String>();
        let Plain { bytes, kind } = decrypt(&self.cipher, text, if path.is_empty() { ":" } else { &above })?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let value = match kind.as_str() {
            "str" | "bytes" | "time" => Value::String(text.to_owned()),
            "int" | "int64" => Value::Number(text.parse::<i64>().ok()?.into()),
            "float" => Value::Number(float(text.parse().ok()?)?),
            "bool" => Value::Bool(text.to_ascii_lowercase().parse().ok()?),
            _ => return None,
        };
        Some((Zeroizing::new(text.to_owned()), value))
    }
}

/// A float as the API server would get it: whole ones without a fraction.
fn float(value: f64) -> Option<serde_json::Number> {
    // 2^63: beyond it an i64 cannot hold the value.
    let whole = value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0;
    if whole { Some((value as i64).into()) } else { serde_json::Number::from_f64(value) }
}

/// A number without exponent, as the MAC covers it.
fn digits(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(number), ..) => number.to_string(),
        (_, Some(number), _) => number.to_string(),
        (.., Some(number)) => number.to_string(),
        _ => number.to_string(),
    }
}

/// A decrypted value and its type.
struct Plain {
    bytes: Zeroizing<Vec<u8>>,
    kind: String,
}

fn decrypt(cipher: &Cipher, text: &str, above: &str) -> Option<Plain> {
    let fields = text.strip_prefix("ENC[AES256_GCM,data:")?.strip_suffix(']')?;
    let (data, rest) = fields.split_once(",iv:")?;
    let (iv, rest) = rest.split_once(",tag:")?;
    let (tag, kind) = rest.split_once(",type:")?;
    let decoded = |text: &str| STANDARD.decode(text).ok();
    let (mut sealed, iv, tag) = (decoded(data)?, decoded(iv)?, decoded(tag)?);
    let iv = <[u8; 32]>::try_from(iv).ok()?;
    if tag.len() != 16 {
        return None;
    }
    sealed.extend(tag);
    let payload = Payload { msg: &sealed, aad: above.as_bytes() };
    let bytes = cipher.decrypt(&Nonce::<U32>::from(iv), payload).ok()?;
    Some(Plain { bytes: Zeroizing::new(bytes), kind: kind.to_owned() })
}

#[cfg(test)]
#[path = "sops_tests.rs"]
mod tests;
