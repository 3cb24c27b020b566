//! Bech32, as far as age keys need it (BIP 173, without its length limit).
//!
//! In: a prefix and 32 bytes, or the text of them. Out: the other one. Never: takes a text with a wrong checksum.

use zeroize::{Zeroize as _, Zeroizing};

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
/// Characters of the checksum.
const CHECKSUM: usize = 6;

fn polymod(values: impl IntoIterator<Item = u8>) -> u32 {
    values.into_iter().fold(1, |checksum: u32, value| {
        let next = ((checksum & 0x01ff_ffff) << 5) ^ u32::from(value);
        let feedback = (0..5).filter(|i| (checksum >> 25 >> i) & 1 == 1);
        feedback.fold(next, |next, i| next ^ GENERATOR[i])
    })
}

fn expanded(prefix: &str) -> impl Iterator<Item = u8> + '_ {
    prefix.bytes().map(|b| b >> 5).chain([0]).chain(prefix.bytes().map(|b| b & 31))
}

/// Groups of `from` bits become groups of `to` bits; `None` when bits that fill up are not zero.
fn regroup(values: &[u8], from: u32, to: u32, pad: bool) -> Option<Vec<u8>> {
    let (mut bits, mut held, mut out) = (0u32, 0u32, Vec::with_capacity(64));
    for value in values {
        bits = (bits << from) | u32::from(*value);
        held += from;
        while held >= to {
            held -= to;
            out.push((bits >> held & ((1 << to) - 1)) as u8);
        }
        bits &= (1 << held) - 1;
    }
    let rest = (bits << (to - held.min(to))) & ((1 << to) - 1);
    match (pad, held) {
        (true, 1..) => out.push(rest as u8),
        (false, _) if held >= from || rest != 0 => return None,
        _ => {}
    }
    Some(out)
}

/// The text of 32 bytes, in lower case.
pub fn encode(prefix: &str, bytes: &[u8; 32]) -> Zeroizing<String> {
    let data = Zeroizing::new(regroup(bytes, 8, 5, true).expect("filling up never fails"));
    let checked = expanded(prefix).chain(data.iter().copied()).chain([0; CHECKSUM]);
    let checksum = polymod(checked) ^ 1;
    let checksum = (0..CHECKSUM).map(|i| (checksum >> (5 * (5 - i)) & 31) as u8);
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 1 + data.len() + CHECKSUM));
    text.push_str(prefix);
    text.push('1');
    data.iter()
        .copied()
        .chain(checksum)
        .for_each(|value| text.push(char::from(ALPHABET[usize::from(value)])));
    text
}

/// The 32 bytes of a text; upper or lower case, not both.
pub fn decode(prefix: &str, text: &str) -> Option<Zeroizing<[u8; 32]>> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase()) {
        return None;
    }
    let text = Zeroizing::new(text.to_ascii_lowercase());
    let rest = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let value = |b: u8| ALPHABET.iter().position(|a| *a == b).map(|at| at as u8);
    let values = Zeroizing::new(rest.bytes().map(value).collect::<Option<Vec<u8>>>()?);
    if polymod(expanded(prefix).chain(values.iter().copied())) != 1 {
        return None;
    }
    let mut bytes = regroup(values.get(..values.len().checked_sub(CHECKSUM)?)?, 5, 8, false)?;
    let key = <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new);
    bytes.zeroize();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_a_changed_character_is_noticed() {
        let bytes: [u8; 32] = std::array::from_fn(|i| (i * 37 % 251) as u8);
        let text = encode("age", &bytes);
        assert_eq!(*decode("age", &text).expect("a key"), bytes);
        assert_eq!(*decode("age", &text.to_ascii_uppercase()).expect("a key"), bytes);
        assert!(decode("age-secret-key-", &text).is_none());
        for at in 4..text.len() {
            let other = if &text[at..=at] == "q" { "p" } else { "q" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(decode("age", &changed).is_none(), "{changed}");
        }
        let mixed = text.replacen(|c: char| c.is_ascii_lowercase(), "A", 1);
        assert!(decode("age", &mixed).is_none());
    }
}
