//! Listed: which fields of an object our last write contained, in an annotation of the object itself.
//!
//! In: an object as it is sent. Out: a short list of its fields; whether a field is on such a list.
//! Never: forgets: managed fields lose what somebody else changed, and what was ours must still be told from what never was.
//!
//! A field's place is kept as 18 bits of a digest: three characters. Of an object with a hundred and fifty fields, one in
//! 1,700 others passes for one of them; that one would be corrected instead of being reported as a conflict.

use std::collections::BTreeSet;

use nave_placement::Digest;
use serde_json::Value;

use crate::observe::changes::steps;

/// Fields of our last write.
pub(super) const FIELDS: &str = "nave.dev/fields";

/// 2,000 places make 6 KB; annotations may have 256 KiB together. Larger objects (definitions, dashboards) have one
/// author, and all of them counts as ours.
const MOST: usize = 2_000;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The list of an object's fields; empty when there are too many.
pub(super) fn list(sent: &Value) -> String {
    let mut places = BTreeSet::new();
    gather(&mut String::new(), sent, &mut places);
    if places.len() > MOST { String::new() } else { places.into_iter().collect() }
}

/// Whether the field at this place of `sent` is on the list. Without a list, everything was ours.
pub(super) fn has(list: Option<&str>, sent: &Value, pointer: &str) -> bool {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return true };
    let mut place = String::new();
    let mut at = sent;
    for step in steps(pointer) {
        match at {
            Value::Array(items) => {
                at = step.parse::<usize>().ok().and_then(|n| items.get(n)).unwrap_or(&Value::Null);
                place.push_str(&item(at));
            }
            _ => {
                at = at.get(&step).unwrap_or(&Value::Null);
                place.push('/');
                place.push_str(&step);
            }
        }
    }
    let short = short(&place);
    list.as_bytes().chunks(3).any(|known| known == short.as_bytes())
}

fn gather(place: &mut String, value: &Value, places: &mut BTreeSet<String>) {
    if !place.is_empty() {
        places.insert(short(place));
    }
    if places.len() > MOST {
        return;
    }
    let length = place.len();
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                place.push('/');
                place.push_str(name);
                gather(place, value, places);
                place.truncate(length);
            }
        }
        Value::Array(items) => {
            for value in items {
                place.push_str(&item(value));
                gather(place, value, places);
                place.truncate(length);
            }
        }
        _ => {}
    }
}

/// An item is known by its name where it has one: its place in the list may change.
fn item(value: &Value) -> String {
    value.get("name").and_then(Value::as_str).map_or_else(|| "/*".to_owned(), |name| format!("/[{name}]"))
}

fn short(place: &str) -> String {
    let digest = Digest::of(place.as_bytes()).0;
    let bits = u32::from(digest[0]) << 16 | u32::from(digest[1]) << 8 | u32::from(digest[2]);
    let letter = |shift: u32| char::from(ALPHABET[(bits >> shift & 63) as usize]);
    [letter(18), letter(12), letter(6)].into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_written_is_told_from_what_never_was() {
        let before = json!({"spec": {"replicas": 1, "containers": [{"name": "a", "image": "x"}], "ports": [{"port": 1}]}});
        let known = list(&before);
        let now = json!({"spec": {
            "replicas": 2, "paused": true, "ports": [{"port": 2}],
            "containers": [{"name": "b", "image": "x"}, {"name": "a", "image": "y", "tty": true}],
        }});
        let rows = [
            ("/spec/replicas", true),
            ("/spec/containers", true),
            ("/spec/containers/1/image", true),
            ("/spec/ports/0/port", true),
            ("/spec/paused", false),
            ("/spec/containers/0/image", false),
            ("/spec/containers/1/tty", false),
        ];
        for (pointer, expected) in rows {
            assert_eq!(has(Some(&known), &now, pointer), expected, "{pointer}");
        }
        assert!(has(None, &now, "/spec/paused"));
    }

    #[test]
    fn a_very_large_object_is_ours_as_a_whole() {
        let items: serde_json::Map<String, Value> = (0..3_000).map(|n| (n.to_string(), n.into())).collect();
        assert_eq!(list(&Value::Object(items)), "");
    }
}
