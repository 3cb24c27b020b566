//! Encrypts a manifest as SOPS does, to age recipients: what an author's machine would do.
//!
//! In: a manifest, recipients. Out: the text for Git. It encrypts `data` and `stringData`, one level deep, as the rule
//! `^(data|stringData)$` says; everything else stays in clear and is under the MAC.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::{hkdf, hmac};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};
use x25519_dalek::{PublicKey, StaticSecret};

/// When it was encrypted.
const MODIFIED: &str = "2026-11-20T10:00:00Z";

fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|_| fastrand::u8(..))
}

/// The manifest as JSON with `sops` in it, readable for these recipients only.
///
/// # Errors
/// When a recipient is none, or the manifest has values that this does not encrypt.
pub fn encrypt(manifest: &Value, recipients: &[String]) -> Result<String> {
    let key = random::<32>();
    let mut mac = Sha512::new();
    let mut sealed = manifest.clone();
    walk(&mut sealed, &mut Vec::new(), &key, &mut mac)?;
    let mac: String = mac.finalize().iter().map(|byte| format!("{byte:02X}")).collect();
    let age = recipients.iter().map(|to| Ok(json!({"recipient": to, "enc": wrap(&key, to)?})));
    sealed["sops"] = json!({
        "age": age.collect::<Result<Vec<_>>>()?,
        "lastmodified": MODIFIED,
        "mac": value(&key, &mac, "str", MODIFIED)?,
        "encrypted_regex": "^(data|stringData)$",
        "version": "3.11.0",
    });
    Ok(serde_json::to_string_pretty(&sealed)? + "\n")
}

fn walk(tree: &mut Value, path: &mut Vec<String>, key: &[u8; 32], mac: &mut Sha512) -> Result<()> {
    let (text, kind) = match tree {
        Value::Null => return Ok(()),
        Value::Object(map) => {
            for (name, below) in map {
                path.push(name.clone());
                walk(below, path, key, mac)?;
                path.pop();
            }
            return Ok(());
        }
        Value::String(text) => (text.clone(), "str"),
        Value::Number(number) if number.is_i64() => (number.to_string(), "int"),
        other => bail!("{other} is not encrypted by this"),
    };
    mac.update(&text);
    if path.iter().any(|name| name == "data" || name == "stringData") {
        let above: String = path.iter().map(|name| format!("{name}:")).collect();
        *tree = value(key, &text, kind, &above)?.into();
    }
    Ok(())
}

fn value(key: &[u8; 32], text: &str, kind: &str, above: &str) -> Result<String> {
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(key).context("a key has 32 bytes")?;
    let iv = random::<32>();
    let payload = Payload { msg: text.as_bytes(), aad: above.as_bytes() };
    let sealed = cipher.encrypt(&Nonce::<U32>::from(iv), payload).ok().context("encrypts")?;
    let (data, tag) = sealed.split_at(text.len());
    let [data, iv, tag] = [data, &iv, tag].map(|bytes| STANDARD.encode(bytes));
    Ok(format!("ENC[AES256_GCM,data:{data},iv:{iv},tag:{tag},type:{kind}]"))
}

/// An armoured age file with the data key.
fn wrap(key: &[u8; 32], recipient: &str) -> Result<String> {
    let public = public(recipient).with_context(|| format!("{recipient} is no recipient"))?;
    let (file_key, nonce) = (random::<16>(), random::<16>());
    let ephemeral = StaticSecret::from(random::<32>());
    let share = *PublicKey::from(&ephemeral).as_bytes();
    let shared = ephemeral.diffie_hellman(&PublicKey::from(public));
    let wrapping = derive(&[share, public].concat(), shared.as_bytes(), b"age-encryption.org/v1/X25519");
    let body = STANDARD_NO_PAD.encode(seal(&wrapping, [0; 12], &file_key));
    let share = STANDARD_NO_PAD.encode(share);
    let header = format!("age-encryption.org/v1\n-> X25519 {share}\n{body}\n---");
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], &file_key, b"header"));
    let mac = STANDARD_NO_PAD.encode(hmac::sign(&mac_key, header.as_bytes()));
    let last = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let payload = seal(&derive(&nonce, &file_key, b"payload"), last, key);
    let file = [format!("{header} {mac}\n").as_bytes(), &nonce, &payload].concat();
    let lines = STANDARD.encode(file);
    let lines: Vec<&str> =
        lines.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!(
        "-----BEGIN AGE ENCRYPTED FILE-----\n{}\n-----END AGE ENCRYPTED FILE-----\n",
        lines.join("\n")
    ))
}

fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let info = [info];
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    let expanded = extracted.expand(&info, hkdf::HKDF_SHA256).expect("32 bytes are one block");
    expanded.fill(&mut key).expect("32 bytes were asked for");
    key
}

fn seal(key: &[u8; 32], nonce: [u8; 12], plain: &[u8]) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes"));
    let mut buffer = plain.to_vec();
    let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut buffer).expect("it is short");
    buffer
}

/// The 32 bytes of `age1…`; its checksum is the spoke's to check.
fn public(recipient: &str) -> Option<[u8; 32]> {
    let data = recipient.strip_prefix("age1")?;
    let alphabet = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let bits = data
        .bytes()
        .filter_map(|c| alphabet.iter().position(|a| *a == c))
        .flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1 == 1));
    let bits: Vec<bool> = bits.take(256).collect();
    let bytes = bits.chunks(8).map(|byte| byte.iter().fold(0u8, |byte, bit| byte << 1 | u8::from(*bit)));
    bytes.collect::<Vec<_>>().try_into().ok()
}
