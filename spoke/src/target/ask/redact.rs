//! Redact: an object without what must stay on the cluster, or says nothing.
//!
//! In: an object of any kind, in any version. Out: the same object; the keys of a Secret stay, its values do not.
//! Never: trusts that a list's items say what they are (the caller puts their kind on).

use serde_json::{Map, Value};

use super::HIDDEN;

/// kubectl's copy of what was applied: for a Secret it has the values once more.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether an object is a Secret of the core group, whatever its version is called.
pub fn is_secret(object: &Value) -> bool {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    // Without a kind nobody knows what it is, and its fields shall speak.
    let unknown =
        text("kind").is_empty() && (object.get("data").is_some() || object.get("stringData").is_some());
    unknown || (text("kind").eq_ignore_ascii_case("Secret") && !text("apiVersion").contains('/'))
}

/// Takes away what may not be shown, and what nobody wants to read.
pub fn redact(object: &mut Value) {
    let secret = is_secret(object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    if secret {
        for field in ["data", "stringData"] {
            match object.get_mut(field) {
                None | Some(Value::Null) => {}
                Some(Value::Object(values)) => hide(values),
                Some(other) => *other = HIDDEN.into(),
            }
        }
    }
}

fn hide(values: &mut Map<String, Value>) {
    values.values_mut().for_each(|value| *value = HIDDEN.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_keys_of_a_secret_stay_and_its_values_do_not() {
        let annotations = json!({LAST_APPLIED: "{\"data\":{\"a\":\"canary\"}}", "x": "y"});
        let rows = [
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": annotations}, "data": {"a": "canary"}}),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": {"x": "y"}}, "data": {"a": HIDDEN}}),
            ),
            (
                json!({"apiVersion": "v2", "kind": "Secret", "stringData": {"a": "canary"}}),
                json!({"apiVersion": "v2", "kind": "Secret", "stringData": {"a": HIDDEN}}),
            ),
            (json!({"kind": "Secret", "data": "canary"}), json!({"kind": "Secret", "data": HIDDEN})),
            (json!({"data": {"a": "canary"}}), json!({"data": {"a": HIDDEN}})),
            (
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"managedFields": [1]}, "data": {"a": "b"}}),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"a": "b"}}),
            ),
            (
                json!({"apiVersion": "example.com/v1", "kind": "Secret", "data": {"a": "b"}}),
                json!({"apiVersion": "example.com/v1", "kind": "Secret", "data": {"a": "b"}}),
            ),
        ];
        for (mut object, expected) in rows {
            redact(&mut object);
            assert_eq!(object, expected);
        }
    }
}
