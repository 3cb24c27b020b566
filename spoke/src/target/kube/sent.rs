//! Sent: a wanted object as it is sent.
//!
//! In: an object as the manifest has it. Out: the same object, in the form in which the API server keeps it.
//! Never: changes what the object means.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// What the server fills in; a manifest that was read from a cluster carries them along.
const FILLED_IN: &[&str] =
    &["creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"];

/// The object without status (that is its controller's) and without what the server fills in.
pub(super) fn sent(wanted: &Value) -> Value {
    let mut object = wanted.clone();
    let kind = (text(wanted, "apiVersion"), text(wanted, "kind"));
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
        let metadata = child(fields, "metadata");
        FILLED_IN.iter().for_each(|name| drop(metadata.remove(*name)));
        match kind {
            ("v1", "Secret") => readable_to_data(fields),
            ("v1", "Service") => name_protocols(fields),
            _ => {}
        }
        let group = kind.0.split_once('/').map_or("", |(group, _)| group);
        if matches!(group, "" | "apps" | "batch") {
            fields.values_mut().for_each(write_quantities);
        }
    }
    object
}

/// `stringData` is written and never read back, so that nobody could tell whether it is as wanted, and a key that was
/// dropped would stay.
fn readable_to_data(secret: &mut Map<String, Value>) {
    let Some(Value::Object(readable)) = secret.remove("stringData") else { return };
    let data = child(secret, "data");
    for (name, value) in readable {
        // Anything else than text the server shall refuse with its own words.
        let encoded = value.as_str().map_or(value.clone(), |text| STANDARD.encode(text).into());
        data.insert(name, encoded);
    }
}

/// The protocol is a part of a port's key, and the schema of v1.20 knows no default for it: the server would refuse.
fn name_protocols(service: &mut Map<String, Value>) {
    let ports = service.get_mut("spec").and_then(|spec| spec.get_mut("ports")).and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
        port.entry("protocol").or_insert_with(|| "TCP".into());
    }
}

/// `cpu: 2` is a number in YAML and a string to the schema of v1.20, which would refuse it. Only below `resources` of
/// the kinds that have pods or claims: elsewhere a number may be a number.
fn write_quantities(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(write_quantities),
        Value::Object(fields) => {
            let resources = fields.get_mut("resources").and_then(Value::as_object_mut);
            let lists = resources
                .into_iter()
                .flatten()
                .filter(|(name, _)| matches!(name.as_str(), "limits" | "requests"));
            for quantity in lists.filter_map(|(_, list)| list.as_object_mut()).flat_map(Map::values_mut) {
                if quantity.is_number() {
                    *quantity = quantity.to_string().into();
                }
            }
            fields.values_mut().for_each(write_quantities);
        }
        _ => {}
    }
}

/// The map under a key, made where there is none (a manifest may say `labels:` and nothing more).
pub(super) fn child<'a>(fields: &'a mut Map<String, Value>, name: &str) -> &'a mut Map<String, Value> {
    let slot = fields.entry(name).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    slot.as_object_mut().expect("just made one")
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_server_keeps_otherwise_is_sent_as_it_keeps_it() {
        let head = |kind: &str, rest: Value| {
            let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}});
            object.as_object_mut().expect("a map").extend(rest.as_object().expect("a map").clone());
            object
        };
        let rows = [
            ("ConfigMap", json!({"data": {"a": "1"}, "status": {}}), json!({"data": {"a": "1"}})),
            (
                "ConfigMap",
                json!({"metadata": {"name": "a", "uid": "1", "creationTimestamp": null}}),
                json!({}),
            ),
            (
                "Secret",
                json!({"data": {"b": "eA=="}, "stringData": {"a": "1"}}),
                json!({"data": {"a": "MQ==", "b": "eA=="}}),
            ),
            (
                "Pod",
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1Gi"}}, "ports": [1]}]}}),
                json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "0.5", "memory": "1Gi"}}, "ports": [1]}]}}),
            ),
            ("Secret", json!({"stringData": {"a": 1}}), json!({"data": {"a": 1}})),
            (
                "Service",
                json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}}),
                json!({"spec": {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}}),
            ),
        ];
        for (kind, wanted, expected) in rows {
            assert_eq!(sent(&head(kind, wanted.clone())), head(kind, expected), "{kind} {wanted}");
        }
    }
}
