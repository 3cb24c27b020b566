//! `${…}` in manifests: whoever knows the names that are used can fill them in, and a value is never read as a template.
//!
//! An input is a manifest in JSON, or else each of its lines is a text of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nave_placement::overrides::template::{SubstituteError, Use, Uses, Values, substitute, text, uses};
use serde_json::{Value, json};

/// A value that is a template itself, and a text that stands for it.
const TEMPLATE: &str = "${parameters.again}$${x";
const PLACE: &str = "\u{e000}";

fuzz_target!(|input: &str| {
    if input.contains(PLACE) {
        return;
    }
    let manifest = serde_json::from_str(input).unwrap_or_else(|_| json!(input.lines().collect::<Vec<_>>()));
    let mut found = Uses::new();
    let read = uses(&manifest, &mut found);
    unfilled(&manifest);

    let all = |value: Value| found.keys().map(|name| (name.clone(), value.clone())).collect::<Values>();
    let required = found.iter().filter(|(_, used)| used.required);
    let required: Values = required.map(|(name, _)| (name.clone(), json!(7))).collect();
    for values in [Values::new(), required.clone(), all(json!("")), all(json!([1])), all(json!(TEMPLATE))] {
        let filled = filled(&manifest, &values);
        match &filled {
            // Which of some faults is told first is nobody's business.
            _ if read.is_err() => assert!(filled.is_err(), "{manifest} is refused, and can be filled in"),
            Ok(_) | Err(SubstituteError::KeyTwice(_)) => {}
            Err(SubstituteError::Template(error)) => panic!("{manifest} is no template: {error}"),
            Err(SubstituteError::NoValue(name)) => {
                assert!(!values.contains_key(name), "{manifest}: {name} has a value");
                assert!(used(&found, name).required, "{manifest}: {name} is required, and nobody said so");
            }
            Err(SubstituteError::NoText(name)) => {
                assert!(used(&found, name).in_text, "{manifest}: {name} stands in text, and nobody said so");
            }
        }
        // What nobody asked for changes nothing.
        let mut more = values.clone();
        more.entry("parameters.nobody's".to_owned()).or_insert_with(|| json!(TEMPLATE));
        if !found.contains_key("parameters.nobody's") {
            assert_eq!(self::filled(&manifest, &more), filled);
        }
    }
    if let (Ok(template), Ok(place)) =
        (filled(&manifest, &all(json!(TEMPLATE))), filled(&manifest, &all(json!(PLACE))))
    {
        assert_eq!(template, replaced(place), "a value was read as a template");
    }
});

fn used(uses: &Uses, name: &str) -> Use {
    *uses.get(name).unwrap_or_else(|| panic!("{name} is asked for and not among the uses"))
}

fn filled(manifest: &Value, values: &Values) -> Result<Value, SubstituteError> {
    let mut filled = manifest.clone();
    substitute(&mut filled, values).map(|()| filled)
}

/// What has no `${` stays, byte for byte.
fn unfilled(manifest: &Value) {
    match manifest {
        Value::String(written) if !written.contains("${") => {
            assert_eq!(text(written, &Values::new()).as_deref(), Ok(written.as_str()));
            assert_eq!(filled(manifest, &Values::new()).as_ref(), Ok(manifest));
        }
        Value::Array(items) => items.iter().for_each(unfilled),
        Value::Object(fields) => fields.values().for_each(unfilled),
        _ => {}
    }
}

/// The template where its place is.
fn replaced(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(PLACE, TEMPLATE)),
        Value::Array(items) => items.into_iter().map(replaced).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key.replace(PLACE, TEMPLATE), replaced(value))).collect()
        }
        scalar => scalar,
    }
}
