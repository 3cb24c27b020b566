//! Plain scalars of YAML 1.1, as `kubectl` resolves them (go-yaml v2 under `sigs.k8s.io/yaml`), not as YAML 1.2 does.

use serde_json::Number;

/// What a plain (unquoted) scalar means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    /// `.inf`, `.nan`: numbers that JSON does not have.
    NotFinite,
    Text,
}

/// Resolves a plain scalar. Timestamps stay text, as in `kubectl`.
pub(super) fn resolve(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            Scalar::Bool(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            Scalar::Bool(false)
        }
        ".nan" | ".NaN" | ".NAN" => Scalar::NotFinite,
        _ if is_infinity(text) => Scalar::NotFinite,
        _ if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => number(text),
        _ => Scalar::Text,
    }
}

/// Whether a number is written with a leading zero, which YAML 1.1 takes for octal and people rarely mean.
pub(in crate::catalog) fn has_leading_zero(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']).as_bytes();
    digits.len() > 1 && digits[0] == b'0' && (digits[1].is_ascii_digit() || digits[1] == b'_')
}

fn is_infinity(text: &str) -> bool {
    matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF")
}

fn number(text: &str) -> Scalar {
    let plain = text.replace('_', "");
    if let Some(integer) = integer(&plain) {
        return Scalar::Number(integer);
    }
    if !is_float(&plain) {
        return Scalar::Text;
    }
    match plain.parse::<f64>() {
        Ok(value) if value.is_finite() => Scalar::Number(float(value)),
        _ => Scalar::Text,
    }
}

/// `strconv.ParseInt(s, 0, 64)`, then `ParseUint`: the base is told by the prefix, a lone leading zero is octal.
fn integer(plain: &str) -> Option<Number> {
    let (negative, digits) = match plain.strip_prefix(['+', '-']) {
        Some(rest) => (plain.starts_with('-'), rest),
        None => (false, plain),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // `from_str_radix` takes a sign, which must not stand behind a prefix.
    if !digits.starts_with(|c: char| c.is_digit(base)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, base).ok()?;
    if negative {
        0i64.checked_sub_unsigned(magnitude).map(Number::from)
    } else {
        Some(Number::from(magnitude))
    }
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`: what go-yaml takes for a float.
fn is_float(plain: &str) -> bool {
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let some_digits = !whole.is_empty() || !fraction.is_empty();
    some_digits
        && all_digits(whole)
        && all_digits(fraction)
        && exponent.is_none_or(|e| !e.is_empty() && all_digits(e))
}

/// Go writes a whole float without fraction, so `1.0` and `1e3` arrive at the API server as integers.
fn float(value: f64) -> Number {
    // 2^63: beyond it an i64 cannot hold the value.
    let whole = value.fract() == 0.0 && value.abs() < 9_223_372_036_854_775_808.0;
    if whole {
        Number::from(value as i64)
    } else {
        Number::from_f64(value).expect("only finite values come here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_kubectl_takes_them_for() {
        // (as written, as JSON)
        let rows = [
            ("0644", "420"),
            ("0o644", "420"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("-010", "-8"),
            ("08", "8"),
            ("1_000", "1000"),
            ("0_7", "7"),
            ("0x1_F", "31"),
            ("1.", "1"),
            ("0o8", "text"),
            ("0b", "text"),
            ("+1", "1"),
            ("1e3", "1000"),
            ("1.0", "1"),
            (".5", "0.5"),
            ("1.25", "1.25"),
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("yes", "true"),
            ("Off", "false"),
            ("y", "true"),
            ("~", "null"),
            ("yEs", "text"),
            ("2026-11-20", "text"),
            ("12:30:45", "text"),
            ("1.2.3", "text"),
            ("1e999", "text"),
            ("0x", "text"),
            ("0x-1", "text"),
            ("-", "text"),
            (".", "text"),
            ("5%", "text"),
            ("10m", "text"),
            ("inf", "text"),
            (".inf", "not finite"),
            ("-.INF", "not finite"),
        ];
        for (text, expected) in rows {
            let actual = match resolve(text) {
                Scalar::Null => "null".to_owned(),
                Scalar::Bool(value) => value.to_string(),
                Scalar::Number(number) => number.to_string(),
                Scalar::NotFinite => "not finite".to_owned(),
                Scalar::Text => "text".to_owned(),
            };
            assert_eq!(actual, expected, "{text}");
        }
    }
}
