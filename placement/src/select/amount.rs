//! Amounts as people write them in Kubernetes: `500m`, `4Gi`, `8`, `1.5`.
//!
//! In: text. Out: thousandths. Never: rounds down what is asked for.

use std::fmt;

/// Suffixes, as factors of one thousandth.
const SUFFIXES: [(&str, i128); 14] = [
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("Pi", 1_000 << 50),
    ("Ei", 1_000 << 60),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("E", 1_000_000_000_000_000_000_000),
    ("", 1_000),
];
/// More digits than any amount needs, and few enough for 128 bits with any suffix.
const MOST_DIGITS: usize = 15;

/// Text that is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount; write 8, 500m, 1.5 or 4Gi")]
pub struct AmountError(pub String);

/// Reads an amount in thousandths, rounded up.
///
/// # Errors
/// When it is something else, negative, or more than 64 bits of thousandths.
pub fn thousandths(text: &str) -> Result<u64, AmountError> {
    let wrong = || AmountError(text.to_owned());
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > MOST_DIGITS || fraction.contains('.') {
        return Err(wrong());
    }
    let value: i128 = digits.parse().map_err(|_| wrong())?;
    let factor = SUFFIXES.iter().find(|(known, _)| *known == suffix).ok_or_else(wrong)?.1;
    let divisor = 10_i128.pow(u32::try_from(fraction.len()).map_err(|_| wrong())?);
    let scaled = value.checked_mul(factor).ok_or_else(wrong)?;
    u64::try_from((scaled + divisor - 1) / divisor).map_err(|_| wrong())
}

/// Shows thousandths as a decimal number.
pub struct Shown(pub u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1_000, self.0 % 1_000) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, rest) => f.write_str(format!("{whole}.{rest:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        let rows = [
            ("8", Some(8_000)),
            ("500m", Some(500)),
            ("1.5", Some(1_500)),
            ("0.0001", Some(1)),
            (".5", Some(500)),
            ("4Gi", Some(4_294_967_296_000)),
            ("1.5Ki", Some(1_536_000)),
            ("2k", Some(2_000_000)),
            ("0", Some(0)),
            ("", None),
            ("-1", None),
            ("Gi", None),
            ("4gi", None),
            ("1..5", None),
            ("1e3", None),
            ("9999999999999999", None),
            ("999999999999999Ei", None),
        ];
        for (text, expected) in rows {
            assert_eq!(thousandths(text).ok(), expected, "{text:?}");
        }
        assert_eq!(Shown(1_500).to_string(), "1.5");
        assert_eq!(Shown(8_000).to_string(), "8");
    }
}
