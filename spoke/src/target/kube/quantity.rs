//! Quantities: amounts as Kubernetes writes them.
//!
//! In: `100m`, `1.5Gi`, `2e3`, `4`. Out: billionths, exact; what is finer is rounded up, as Kubernetes does.
//! Never: takes a text for an amount that an API server would refuse, other than a negative one, which is none.

use std::collections::BTreeMap;

use nave_placement::fleet::Resources;
use serde_json::Value;

/// Billionths of one.
const NANO: u32 = 9;
/// Digits that are read: with nine more behind the point they still fit 128 bits.
const DIGITS: usize = 28;

/// Reads a quantity: a decimal number, then nothing, a decimal suffix, a binary one, or an exponent.
pub(super) fn nanos(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || digits.len() > DIGITS || part.contains('.') {
        return None;
    }
    let digits: u128 = digits.parse().ok()?;
    let (ten, factor) = scale(suffix)?;
    let power = i64::from(ten) + i64::from(NANO) - i64::try_from(part.len()).ok()?;
    let amount = digits.checked_mul(factor)?;
    let shift = 10u128.checked_pow(u32::try_from(power.unsigned_abs()).ok()?);
    match (power >= 0, shift) {
        (true, Some(shift)) => amount.checked_mul(shift),
        (true, None) => (amount == 0).then_some(0),
        (false, Some(shift)) => Some(amount.div_ceil(shift)),
        (false, None) => Some(u128::from(amount > 0)),
    }
}

/// The power of ten and the factor that a suffix stands for.
fn scale(suffix: &str) -> Option<(i32, u128)> {
    let decimal = |ten| Some((ten, 1));
    let binary = |two: u32| Some((0, 1 << two));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        exponent => {
            let exponent = exponent.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            let plain = !digits.is_empty() && digits.len() <= 4 && digits.chars().all(|c| c.is_ascii_digit());
            decimal(exponent.parse().ok().filter(|_| plain)?)
        }
    }
}

/// Sums of resources by their names, in billionths.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Amounts(BTreeMap<String, u128>);

impl Amounts {
    /// Of an object whose fields are quantities; `None` where one cannot be read. An absent object is none.
    pub fn read(quantities: Option<&Value>) -> Option<Self> {
        let fields = quantities.and_then(Value::as_object).into_iter().flatten();
        // YAML that was never given quotes: a number is its own text.
        let amount = |value: &Value| match value {
            Value::String(text) => nanos(text),
            Value::Number(number) => nanos(&number.to_string()),
            _ => None,
        };
        fields.map(|(name, value)| Some((name.clone(), amount(value)?))).collect::<Option<_>>().map(Self)
    }

    /// So many of one thing.
    pub fn of(name: &str, count: u32) -> Self {
        Self(BTreeMap::from([(name.to_owned(), u128::from(count) * 10u128.pow(NANO))]))
    }

    /// Both together.
    pub fn add(&mut self, more: &Self) {
        for (name, amount) in &more.0 {
            let sum = self.0.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }

    /// The larger of both, each.
    pub fn at_least(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let most = self.0.entry(name.clone()).or_default();
            *most = (*most).max(*amount);
        }
    }

    /// What is left of these; nothing where more is taken than there is. What is not here is not missed.
    pub fn without(&mut self, taken: &Self) {
        for (name, amount) in &mut self.0 {
            *amount = amount.saturating_sub(taken.0.get(name).copied().unwrap_or_default());
        }
    }

    /// With these in the place of its own, by name.
    pub fn replace(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// In the units of the fleet, rounded down.
    pub fn resources(&self) -> Resources {
        let in_units = |name: &str, unit: u32| {
            let amount = self.0.get(name).copied().unwrap_or_default() / 10u128.pow(unit);
            u64::try_from(amount).unwrap_or(u64::MAX)
        };
        let others = self.0.keys().filter(|name| !["cpu", "memory"].contains(&name.as_str()));
        Resources {
            cpu_millis: in_units("cpu", NANO - 3),
            memory: in_units("memory", NANO),
            other: others.map(|name| (name.clone(), in_units(name, NANO))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        const ONE: u128 = 1_000_000_000;
        let rows = [
            ("0", Some(0)),
            ("4", Some(4 * ONE)),
            ("+4", Some(4 * ONE)),
            ("100m", Some(ONE / 10)),
            ("0.1", Some(ONE / 10)),
            (".5", Some(ONE / 2)),
            ("5.", Some(5 * ONE)),
            ("1500u", Some(1_500_000)),
            ("1n", Some(1)),
            ("0.1n", Some(1)),
            ("1.5Gi", Some(1_610_612_736 * ONE)),
            ("64Ki", Some(65_536 * ONE)),
            ("2Ei", Some((2 << 60) * ONE)),
            ("3k", Some(3_000 * ONE)),
            ("3M", Some(3_000_000 * ONE)),
            ("128974848000m", Some(128_974_848 * ONE)),
            ("1e3", Some(1_000 * ONE)),
            ("1E3", Some(1_000 * ONE)),
            ("12e-1", Some(1_200_000_000)),
            ("1E", Some(10u128.pow(18) * ONE)),
            ("0e999", Some(0)),
            ("1e-999", Some(1)),
            ("1e999", None),
            ("", None),
            (".", None),
            ("1.2.3", None),
            ("-1", None),
            ("1K", None),
            ("1ki", None),
            ("1 Gi", None),
            ("1e", None),
            ("1e+-3", None),
            ("one", None),
        ];
        for (text, expected) in rows {
            assert_eq!(nanos(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sums_are_exact_and_rounded_down_once() {
        let mut sum = Amounts::default();
        for amounts in
            [json!({"cpu": "100m", "memory": "1Gi"}), json!({"cpu": "1.9995", "nvidia.com/gpu": 2})]
        {
            sum.add(&Amounts::read(Some(&amounts)).unwrap());
        }
        sum.without(&Amounts::read(Some(&json!({"memory": "2Gi", "other": "1"}))).unwrap());
        let other = BTreeMap::from([("nvidia.com/gpu".to_owned(), 2)]);
        assert_eq!(sum.resources(), Resources { cpu_millis: 2_099, memory: 0, other });
        assert_eq!(Amounts::read(Some(&json!({"cpu": "lots"}))), None);
        assert_eq!(Amounts::read(None), Some(Amounts::default()));
    }
}
