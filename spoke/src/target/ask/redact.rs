//! Redact: an object without what must stay on the cluster, or says nothing.
//!
//! In: an object of any kind, in any version. Out: the same object; the keys of a Secret stay, its values do not; nor do
//! those of another object that was encrypted in Git.
//! Never: trusts that a list's items say what they are (the caller puts their kind on).

use nave_placement::render;
use serde_json::Value;

use super::HIDDEN;

/// kubectl's copy of what was applied: for a Secret it has the values once more.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Annotations of a Secret that are shown: they name something. Any other may have the whole Secret once more, as kapp's
/// `original` and Rancher's `applied` do.
const SHOWN: &[&str] = &[
    "kubernetes.io/service-account.name",
    "kubernetes.io/service-account.uid",
    "meta.helm.sh/release-name",
    "meta.helm.sh/release-namespace",
];
/// Our own: names, lists of fields, and digests under a key.
const OURS: &str = "nave.dev/";

/// Whether the value of a Secret's annotation may be shown.
pub fn may_show(annotation: &str) -> bool {
    annotation.starts_with(OURS) || SHOWN.contains(&annotation)
}

/// Whether what an object holds may not be shown: a Secret of the core group, whatever its version is called, or what was
/// encrypted in Git.
pub fn is_secret(object: &Value) -> bool {
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or_default();
    // Without a kind nobody knows what it is, and its fields shall speak.
    let unknown = kind.is_empty() && (object.get("data").is_some() || object.get("stringData").is_some());
    unknown || render::is_secret(object)
}

/// Takes away what may not be shown, and what nobody wants to read.
pub fn redact(object: &mut Value) {
    let secret = is_secret(object);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(LAST_APPLIED);
            if secret {
                let hidden = annotations.iter_mut().filter(|(name, _)| !may_show(name));
                hidden.for_each(|(_, value)| *value = HIDDEN.into());
            }
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    if let Some(fields) = object.as_object_mut().filter(|_| secret) {
        let content = fields.iter_mut().filter(|(name, _)| !IN_CLEAR.contains(&name.as_str()));
        content.for_each(|(_, value)| hide_within(value, HIDDEN));
    }
}

/// Fields that say what an object is.
const IN_CLEAR: &[&str] = &["apiVersion", "kind", "metadata", "type", "immutable"];

/// Puts something else in the place of every value; the keys stay.
pub fn hide_within(value: &mut Value, by: &str) {
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.values_mut().for_each(|value| hide_within(value, by)),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_within(item, by)),
        value => *value = by.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_keys_of_a_secret_stay_and_its_values_do_not() {
        let copy = "{\"data\":{\"a\":\"canary\"}}";
        let annotations = json!({
            LAST_APPLIED: copy,
            "kapp.k14s.io/original": copy,
            "objectset.rio.cattle.io/applied": "H4sIAAAA",
            "meta.helm.sh/release-name": "web",
            "nave.dev/app": "main/web",
        });
        let shown = json!({
            "kapp.k14s.io/original": HIDDEN,
            "objectset.rio.cattle.io/applied": HIDDEN,
            "meta.helm.sh/release-name": "web",
            "nave.dev/app": "main/web",
        });
        let encrypted = json!({render::SECRET: "true", "x": "y"});
        let told = json!({render::SECRET: "true", "x": HIDDEN});
        let rows = [
            (
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": annotations}, "type": "Opaque", "data": {"a": "canary"}, "immutable": true}),
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"annotations": shown}, "type": "Opaque", "data": {"a": HIDDEN}, "immutable": true}),
            ),
            (
                json!({"apiVersion": "x/v1", "kind": "Db", "metadata": {"annotations": encrypted}, "spec": {"pin": 17, "of": ["canary", null]}, "status": "canary"}),
                json!({"apiVersion": "x/v1", "kind": "Db", "metadata": {"annotations": told}, "spec": {"pin": HIDDEN, "of": [HIDDEN, null]}, "status": HIDDEN}),
            ),
            (
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": {"x": "y"}}}),
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": {"x": "y"}}}),
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
