//! Strip: a bundle without the values of Secrets.
//!
//! In: a bundle. Out: the same objects; of a Secret the keys stay, and the names that its `${…}` use.
//! Never: opens or changes what is encrypted.

use nave_placement::overrides::template::{Uses, uses_of_text};
use nave_spoke::target::ask::HIDDEN;
use nave_spoke::target::ask::redact::{is_secret, redact};
use serde_json::Value;

use super::super::objects::NOT_COMPARED;

/// The bundle's bytes, stripped; `None` where they are no bundle's.
pub fn stripped(bundle: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bundle.len());
    for line in bundle.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let object: Value = serde_json::from_slice(line).ok()?;
        if is_secret(&object) {
            out.extend(serde_json::to_vec(&without_values(object)).ok()?);
        } else {
            out.extend_from_slice(line);
        }
        out.push(b'\n');
    }
    Some(out)
}

fn without_values(secret: Value) -> Value {
    let mut shown = secret.clone();
    redact(&mut shown);
    replace(&mut shown, &secret);
    shown
}

/// Puts in the place of hidden values that nobody knows them, and what they are filled with.
fn replace(shown: &mut Value, secret: &Value) {
    match shown {
        Value::Object(fields) => {
            for (name, field) in fields {
                replace(field, secret.get(name).unwrap_or(&Value::Null));
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                replace(item, secret.get(index).unwrap_or(&Value::Null));
            }
        }
        Value::String(text) if text == HIDDEN => {
            let mut uses = Uses::new();
            // What is no template was refused when the bundle was made.
            _ = uses_of_text(secret.as_str().unwrap_or_default(), &mut uses);
            *text = NOT_COMPARED.to_owned();
            uses.keys().for_each(|name| text.push_str(&format!("${{{name}}}")));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_secrets_go_and_everything_else_stays_byte_for_byte() {
        let map = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m"},"data":{"a":"canary"}}"#;
        let secret = r#"{"apiVersion":"v1","data":{"a":"canary"},"kind":"Secret","metadata":{"annotations":{"x":"canary"},"name":"s"},"stringData":{"b":"x${parameters.pw:-canary}"}}"#;
        let sealed = r#"{"nave.dev/sops":{"format":"yaml","objects":[],"text":"ENC"}}"#;
        let bundle = format!("{map}\n{secret}\n{sealed}\n");
        let text = String::from_utf8(stripped(bundle.as_bytes()).expect("a bundle")).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[2]), (map, sealed));
        assert!(!lines[1].contains("canary"), "{text}");
        let object: Value = serde_json::from_str(lines[1]).expect("JSON");
        assert_eq!(object["data"]["a"], NOT_COMPARED);
        assert_eq!(object["stringData"]["b"], "<not compared>${parameters.pw}");
    }
}
