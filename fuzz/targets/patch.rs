//! Overrides: what one does to manifests is made whole or not at all, and leaves the objects that they were.
//!
//! An input is Overrides, a line `===`, manifests.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use nave_placement::catalog::{BlobId, PatchTarget, Spec, parse_file};
use nave_placement::overrides::{Amendment, Amendments, Change, Images, Merged};
use nave_placement::render::{Bundle, Engine, MAX_BUNDLE_BYTES, Needs, amend, finish};
use serde_json::{Map, Value, json};

fuzz_target!(|text: &str| {
    let Some((overrides, manifests)) = text.split_once("\n===\n") else { return };
    let amendments = amendments(overrides);
    let Some(bundle) = bundle(manifests) else { return };
    for line in bundle.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let object: Value = serde_json::from_slice(line).expect("a bundle has lines of JSON");
        amendments.changes.iter().for_each(|amendment| check(&amendment.change, &object));
    }
    if let Ok((amended, _)) = amend("web", bundle, &amendments, true) {
        assert!(amended.bytes.len() <= MAX_BUNDLE_BYTES);
        assert_eq!(Bundle::read(amended.bytes.to_vec()).ok().as_ref(), Some(&amended));
    }
});

fn amendments(text: &str) -> Amendments {
    let mut all = Amendments::default();
    let parsed = parse_file("fleet/a.yaml", text.as_bytes());
    for object in parsed.documents.iter().filter_map(|document| document.object.as_ref()) {
        let Spec::Override(spec) = &object.spec else { continue };
        all.changes.extend(spec.patches.iter().map(|patch| Amendment {
            by: object.id.clone(),
            origin: object.origin.clone(),
            target: patch.target.clone(),
            change: patch.change.clone(),
            is_meant: false,
        }));
        all.changes.push(Amendment {
            by: object.id.clone(),
            origin: object.origin.clone(),
            target: PatchTarget::default(),
            change: Change::Images(spec.images.clone()),
            is_meant: false,
        });
    }
    all
}

fn bundle(text: &str) -> Option<Bundle> {
    let file: Arc<str> = "a.yaml".into();
    let needs = Needs {
        engine: Engine::Manifests,
        files: BTreeMap::from([(file.clone(), BlobId("0".into()))]),
        source: "web".into(),
    };
    finish(&needs, &BTreeMap::from([(file, Arc::from(text.as_bytes()))]), true).ok()
}

/// What holds of every change of every object.
fn check(change: &Change, object: &Value) {
    let apply = |object: &mut Value| change.apply(object, &mut Images::default());
    let mut once = object.clone();
    match apply(&mut once) {
        Err(_) => assert_eq!(once, *object, "a change that fails changes nothing"),
        Ok(Merged::Deleted) => assert!(matches!(change, Change::Merge(_))),
        Ok(Merged::Kept) => {
            for place in ["/apiVersion", "/kind", "/metadata/name"] {
                assert_eq!(once.pointer(place), object.pointer(place), "{change:?}");
            }
            let Change::Merge(patch) = change else { return };
            // A list of a built-in kind may merge by key; a directive is of a strategic merge patch.
            if is_built_in(object) || has_directive(patch) {
                return;
            }
            let mut expected = object.clone();
            merge(&mut expected, patch);
            for place in ["apiVersion", "kind"] {
                expected[place] = object[place].clone();
            }
            for place in ["name", "namespace"] {
                match object["metadata"].get(place) {
                    Some(value) => expected["metadata"][place] = value.clone(),
                    None => {
                        drop(expected["metadata"].as_object_mut().and_then(|fields| fields.remove(place)))
                    }
                }
            }
            assert_eq!(once, expected, "{object} patched by {patch}");
            let mut twice = once.clone();
            assert!(apply(&mut twice).is_ok());
            assert_eq!(twice, once, "{object} patched by {patch}");
        }
    }
}

/// Every kind of a group without a domain, and those of Kubernetes itself.
fn is_built_in(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    !group.contains('.') || group.ends_with(".k8s.io")
}

fn has_directive(value: &Value) -> bool {
    match value {
        Value::Object(fields) => {
            fields.iter().any(|(key, value)| key.starts_with('$') || has_directive(value))
        }
        Value::Array(items) => items.iter().any(has_directive),
        _ => false,
    }
}

/// The pseudo-code of RFC 7386, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let fields: &mut Map<String, Value> = target.as_object_mut().expect("just made one");
    for (key, value) in patch {
        match value {
            Value::Null => drop(fields.remove(key)),
            value => merge(fields.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}
