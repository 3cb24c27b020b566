//! Pause: changes of a cluster, or of one app, rest for a while; said on the spot, without the hub.
//!
//! In: the value of an annotation, or of a file. Out: whether it holds at a time, and words for it.
//! Never: is an error; lasts beyond the end that it names.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use nave_placement::AppKey;
use serde::{Deserialize, Serialize};

/// The annotation on the spoke's namespace (everything) or on an app's inventory (that app): the end in RFC 3339, `true`
/// for no end, or a reason without an end.
pub const ANNOTATION: &str = "nave.dev/paused";
/// The annotation that says why, beside an end.
pub const REASON: &str = "nave.dev/paused-reason";
/// The file in a state directory: the value on its first line, the reason on the second.
pub const FILE: &str = "paused";

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// Its end, Unix milliseconds; none when somebody has to end it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Why; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Everything that is paused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pauses {
    /// The whole cluster.
    pub all: Option<Pause>,
    /// Single apps.
    pub apps: BTreeMap<AppKey, Pause>,
}

impl Pause {
    /// Reads a value and the reason beside it. `false` and nothing are no pause.
    pub fn read(value: &str, reason: &str) -> Option<Self> {
        let (value, reason) = (value.trim(), reason.trim().to_owned());
        match value {
            "" | "false" => None,
            "true" => Some(Self { until_ms: None, reason }),
            value => match value.parse::<Timestamp>() {
                Ok(end) => {
                    Some(Self { until_ms: Some(u64::try_from(end.as_millisecond()).unwrap_or(0)), reason })
                }
                // Somebody wrote why instead of until when.
                Err(_) => Some(Self { until_ms: None, reason: value.to_owned() }),
            },
        }
    }

    /// The value that [`Pause::read`] reads.
    pub fn value(&self) -> String {
        self.until_ms.map_or_else(|| "true".to_owned(), time)
    }

    /// Whether it holds at this time.
    pub fn holds(&self, now_ms: u64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until_ms {
            Some(until) => write!(f, "paused on the cluster until {}", time(until))?,
            None => f.write_str("paused on the cluster, until `spoke resume`")?,
        }
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// Seconds are enough for people, and what is written is read again as it is.
fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.map_or_else(|| "true".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_a_reason_or_a_word_pauses_and_an_end_that_is_over_does_not() {
        let end = Some(1_770_000_000_000);
        let rows = [
            ("", "", None),
            ("false", "x", None),
            ("true", "audit", Some((None, "audit"))),
            ("disk is being replaced", "", Some((None, "disk is being replaced"))),
            ("2026-02-02T02:40:00Z", "audit", Some((end, "audit"))),
            ("2026-02-02T03:40:00+01:00", "", Some((end, ""))),
        ];
        for (value, reason, expected) in rows {
            let expected = expected.map(|(until_ms, reason)| Pause { until_ms, reason: reason.to_owned() });
            assert_eq!(Pause::read(value, reason), expected, "{value:?}");
        }
        let pause = Pause::read("2026-02-02T02:40:00Z", "audit").expect("a pause");
        assert!(pause.holds(1_769_999_999_999) && !pause.holds(1_770_000_000_000));
        assert_eq!(Pause::read(&pause.value(), "audit"), Some(pause.clone()));
        assert_eq!(pause.to_string(), "paused on the cluster until 2026-02-02T02:40:00Z: audit");
    }
}
