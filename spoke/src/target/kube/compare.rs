//! Compare: where a live object is not what we sent.
//!
//! In: the object as we send it, the live one, the fields that our last apply owns (`fieldsV1`). Out: [`Difference`]s.
//! Never: needs a schema. The owned fields themselves tell which lists are keyed, which are sets, which are one piece.
//!
//! A field that somebody else set to another value leaves our fields: that is certain ([`Difference::lost`]). A field that
//! is still ours but reads differently was normalised by the server (`1000m` became `1`), or was changed on a way that
//! does not keep books (the scale subresource before v1.22); which of the two, only a write tells, so the caller
//! remembers what a write left.

use nave_placement::Digester;
use serde_json::{Map, Value};

#[cfg(test)]
mod tests;

/// One field that is not as we sent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Difference {
    /// JSON pointer in the object as we sent it.
    pub path: String,
    /// What is there now.
    pub live: Option<Value>,
    /// It is no longer ours: somebody else changed or removed it.
    pub lost: bool,
}

/// A short name of a set of differences of one wanted object, to recognise it by.
pub(super) fn fingerprint(wanted: &str, differences: &[Difference]) -> u64 {
    let mut digester = Digester::new("nave.differences.v1").field(wanted.as_bytes());
    for difference in differences {
        digester.add(difference.path.as_bytes());
        digester.add(difference.live.as_ref().map(Value::to_string).unwrap_or_default().as_bytes());
        digester.add(&[u8::from(difference.lost)]);
    }
    let bytes = digester.finish().0;
    bytes[..8].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Where `live` is not what was sent. `ours` is `None` when the server keeps no books for us.
pub(super) fn differences(sent: &Value, live: &Value, ours: Option<&Value>) -> Vec<Difference> {
    let mut walk = Walk { path: String::new(), found: Vec::new() };
    walk.value(sent, Some(live), ours);
    walk.found
}

/// Identity, what the server fills in, and our list of fields, which is only ever read: never different.
const NOT_COMPARED: &[&str] = &[
    "/apiVersion",
    "/kind",
    "/metadata/name",
    "/metadata/namespace",
    "/metadata/annotations/nave.dev~1fields",
];

struct Walk {
    path: String,
    found: Vec<Difference>,
}

impl Walk {
    fn differs(&mut self, live: Option<&Value>, lost: bool) {
        self.found.push(Difference { path: self.path.clone(), live: live.cloned(), lost });
    }

    /// Runs `f` one level deeper.
    fn below(&mut self, step: &str, f: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(&step.replace('~', "~0").replace('/', "~1"));
        f(self);
        self.path.truncate(length);
    }

    /// `ours`: the node of this field; `None` below a field that is owned as one piece, or without books.
    fn value(&mut self, sent: &Value, live: Option<&Value>, ours: Option<&Value>) {
        match (sent, live) {
            // The server drops a null, and often what says nothing: empty, zero or false.
            (Value::Null, _) => {}
            (s, None) if is_zero(s) => {}
            (_, None) => self.differs(None, false),
            (Value::Object(s), Some(Value::Object(l))) => self.object(s, l, ours),
            (Value::Array(s), Some(Value::Array(l))) => self.array(s, l, ours),
            (s, Some(l)) if equal(s, l) => {}
            (_, live) => self.differs(live, false),
        }
    }

    fn object(&mut self, sent: &Map<String, Value>, live: &Map<String, Value>, ours: Option<&Value>) {
        let children = ours.and_then(Value::as_object).filter(|c| c.keys().any(|k| k.starts_with("f:")));
        for (name, value) in sent {
            self.below(name, |walk| {
                if NOT_COMPARED.contains(&walk.path.as_str()) {
                    return;
                }
                let live = live.get(name);
                match children.map(|c| c.get(&format!("f:{name}"))) {
                    Some(None) if !is_nothing(value) => walk.lost(value, live),
                    node => walk.value(value, live, node.flatten()),
                }
            });
        }
    }

    /// A field of which nothing is ours any more. Of a map each field is named: whose it is now is told field by field.
    fn lost(&mut self, sent: &Value, live: Option<&Value>) {
        let (Value::Object(fields), Some(Value::Object(there))) = (sent, live) else {
            return self.differs(live, true);
        };
        for (name, value) in fields.iter().filter(|(_, value)| !is_nothing(value)) {
            self.below(name, |walk| {
                if !NOT_COMPARED.contains(&walk.path.as_str()) {
                    walk.lost(value, there.get(name));
                }
            });
        }
    }

    fn array(&mut self, sent: &[Value], live: &[Value], ours: Option<&Value>) {
        let keyed = ours
            .and_then(Value::as_object)
            .filter(|c| c.keys().any(|k| k.starts_with("k:") || k.starts_with("v:")));
        let Some(nodes) = keyed else {
            // Owned as one piece, so another length is another list.
            if sent.len() != live.len() {
                let all = Value::Array(live.to_vec());
                return self.differs(Some(&all), false);
            }
            for (at, (sent, live)) in sent.iter().zip(live).enumerate() {
                self.below(&at.to_string(), |walk| walk.value(sent, Some(live), None));
            }
            return;
        };
        for (at, sent) in sent.iter().enumerate() {
            self.below(&at.to_string(), |walk| match entry(sent, nodes) {
                Some((Key::Fields(key), node)) => {
                    let item =
                        live.iter().find(|l| key.iter().all(|(k, v)| l.get(k).is_some_and(|l| equal(v, l))));
                    walk.value(sent, item, Some(node));
                }
                Some((Key::Value, _)) if live.iter().any(|l| equal(sent, l)) => {}
                _ => walk.differs(None, true),
            });
        }
    }
}

enum Key {
    Fields(Map<String, Value>),
    Value,
}

/// The owned entry that is this item: `k:{"name":"web"}` for keyed lists, `v:"x"` for sets. A key field that the item
/// leaves out was filled in by the server; the entry with most key fields named wins.
fn entry<'a>(item: &Value, nodes: &'a Map<String, Value>) -> Option<(Key, &'a Value)> {
    let mut best: Option<(usize, Key, &Value)> = None;
    for (name, node) in nodes {
        if let Some(value) = name.strip_prefix("v:") {
            let value: Value = serde_json::from_str(value).ok()?;
            if equal(&value, item) {
                return Some((Key::Value, node));
            }
        }
        let Some(key) =
            name.strip_prefix("k:").and_then(|k| serde_json::from_str::<Map<String, Value>>(k).ok())
        else {
            continue;
        };
        let named = key.keys().filter(|k| item.get(k.as_str()).is_some()).count();
        let fits = key.iter().all(|(k, v)| item.get(k).is_none_or(|i| equal(v, i)));
        // Where the item leaves a key field out, a default decides: TCP is the only one that Kubernetes' own lists have.
        let default = key.iter().any(|(k, v)| item.get(k).is_none() && v == "TCP");
        let rank = 2 * named + usize::from(default);
        if fits && named > 0 && best.as_ref().is_none_or(|(most, ..)| rank > *most) {
            best = Some((rank, Key::Fields(key), node));
        }
    }
    best.map(|(_, key, node)| (key, node))
}

/// Equal, or equal once read as a number or a Kubernetes quantity (`1` = `"1"` = `"1000m"`).
fn equal(a: &Value, b: &Value) -> bool {
    if a == b {
        return true;
    }
    match (a, b) {
        (Value::String(_) | Value::Number(_), Value::String(_) | Value::Number(_)) => {
            matches!((quantity(a), quantity(b)), (Some(a), Some(b)) if (a - b).abs() <= a.abs() * 1e-12)
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|b| equal(v, b)))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        _ => false,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Whether two values can mean the same though they read differently: the server's own spelling of what was sent.
pub(super) fn may_mean_the_same(sent: &Value, live: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim().to_ascii_lowercase()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    match (text(sent), text(live)) {
        (Some(a), Some(b)) => {
            a == b
                || matches!((seconds(&a), seconds(&b)), (Some(a), Some(b)) if (a - b).abs() < 1e-6)
                || (equal(sent, live))
        }
        _ => equal(sent, live),
    }
}

/// A duration as Go writes it: `90s`, `1m30s`, `1.5h`.
fn seconds(text: &str) -> Option<f64> {
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        sum += value
            * match &rest[..unit] {
                "h" => 3_600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

/// What is not even owned once it was sent.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Suffixes of `resource.Quantity`.
const SUFFIXES: &[(&str, f64)] = &[
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("", 1.0),
];

fn quantity(value: &Value) -> Option<f64> {
    let Value::String(text) = value else { return value.as_f64() };
    // `inf`, `nan` and hexadecimal are numbers to Rust and none to Kubernetes.
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    SUFFIXES.iter().find_map(|(suffix, factor)| {
        let digits = text.strip_suffix(suffix)?;
        digits.parse::<f64>().ok().map(|v| v * factor).filter(|v| v.is_finite())
    })
}
