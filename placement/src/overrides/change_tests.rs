//! What one change does to one object: the cases of RFC 6902, images, what no change may do.

use serde_json::json;

use super::*;

/// A custom object with this `spec`.
fn object(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Shop", "metadata": {"name": "web"}, "spec": spec})
}

fn changed(spec: Value, change: &Change) -> Result<Value, String> {
    let mut object = object(spec);
    let before = object.clone();
    match change.apply(&mut object, &mut Images::default()) {
        Ok(_) => Ok(object["spec"].clone()),
        Err(error) => {
            assert_eq!(object, before, "a change that fails changes nothing");
            Err(error.to_string())
        }
    }
}

fn operations(operations: Value) -> Change {
    Change::Json(serde_json::from_value(operations).expect("operations"))
}

#[test]
fn operations_do_what_rfc_6902_says() {
    let rows = [
        (json!({"a": 1}), json!([{"op": "add", "path": "/spec/b", "value": 2}]), Ok(json!({"a": 1, "b": 2}))),
        (
            json!(["x", "y"]),
            json!([{"op": "add", "path": "/spec/1", "value": "z"}]),
            Ok(json!(["x", "z", "y"])),
        ),
        (json!(["x"]), json!([{"op": "add", "path": "/spec/-", "value": ["y"]}]), Ok(json!(["x", ["y"]]))),
        (json!({"a": 1}), json!([{"op": "add", "path": "/spec/a", "value": null}]), Ok(json!({"a": null}))),
        (json!({"a": 1, "b": 2}), json!([{"op": "remove", "path": "/spec/a"}]), Ok(json!({"b": 2}))),
        (json!(["x", "y", "z"]), json!([{"op": "remove", "path": "/spec/1"}]), Ok(json!(["x", "z"]))),
        (
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/spec/a", "value": {"b": 2}}]),
            Ok(json!({"a": {"b": 2}})),
        ),
        (
            json!({"a": {"x": 1, "y": 2}, "b": {}}),
            json!([{"op": "move", "from": "/spec/a/x", "path": "/spec/b/z"}]),
            Ok(json!({"a": {"y": 2}, "b": {"z": 1}})),
        ),
        (
            json!(["a", "b", "c", "d"]),
            json!([{"op": "move", "from": "/spec/1", "path": "/spec/3"}]),
            Ok(json!(["a", "c", "d", "b"])),
        ),
        (
            json!({"a": [1]}),
            json!([{"op": "copy", "from": "/spec/a", "path": "/spec/b"}]),
            Ok(json!({"a": [1], "b": [1]})),
        ),
        (
            json!({"a": ["x", 2]}),
            json!([{"op": "test", "path": "/spec/a/1", "value": 2}, {"op": "remove", "path": "/spec/a/0"}]),
            Ok(json!({"a": [2]})),
        ),
        (
            json!({"a/b": 1, "m~n": 2}),
            json!([{"op": "test", "path": "/spec/a~1b", "value": 1}, {"op": "replace", "path": "/spec/m~0n", "value": 3}]),
            Ok(json!({"a/b": 1, "m~n": 3})),
        ),
        (json!({"~1": 10}), json!([{"op": "test", "path": "/spec/~01", "value": 10}]), Ok(json!({"~1": 10}))),
        (
            json!({"a": "secret"}),
            json!([{"op": "remove", "path": "/spec/a"}, {"op": "test", "path": "/spec/b", "value": 1}]),
            Err("operation 2 (/spec/b) names a place that is not there"),
        ),
        (
            json!({"a": "secret"}),
            json!([{"op": "test", "path": "/spec/a", "value": "other"}]),
            Err("operation 1 (/spec/a) finds another value than it tests for"),
        ),
        (
            json!({"a": "10"}),
            json!([{"op": "test", "path": "/spec/a", "value": 10}]),
            Err("operation 1 (/spec/a) finds another value than it tests for"),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "add", "path": "/spec/b/c", "value": 1}]),
            Err("operation 1 (/spec/b/c) names a place that is not there"),
        ),
        (
            json!([1]),
            json!([{"op": "add", "path": "/spec/8", "value": 1}]),
            Err("operation 1 (/spec/8) names a place that is not there"),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/spec/b", "value": 1}]),
            Err("operation 1 (/spec/b) names a place that is not there"),
        ),
    ];
    for (spec, patch, expected) in rows {
        assert_eq!(changed(spec, &operations(patch.clone())), expected.map_err(str::to_owned), "{patch}");
    }
}

#[test]
fn no_change_makes_another_object_of_it() {
    let identity = "it changes apiVersion, kind, name or namespace, and with that which object it is";
    for (path, value) in [
        ("/kind", "Y"),
        ("/apiVersion", "example.com/v2"),
        ("/metadata/name", "b"),
        ("/metadata/namespace", "n"),
    ] {
        let change = operations(json!([{"op": "add", "path": path, "value": value}]));
        assert_eq!(changed(json!({}), &change), Err(identity.to_owned()), "{path}");
    }
    let whole = operations(json!([{"op": "replace", "path": "", "value": 1}]));
    assert_eq!(changed(json!({}), &whole), Err(identity.to_owned()));
    // A merge patch may say whose it is.
    let named =
        json!({"apiVersion": "example.com/v1", "kind": "Shop", "metadata": {"name": "other"}, "spec": 1});
    assert_eq!(changed(json!({}), &Change::Merge(named)), Ok(json!(1)));
}

#[test]
fn images_are_set_as_kustomize_sets_them() {
    let rule = |name: &str, new_name: Option<&str>, new_tag: Option<&str>, digest: Option<&str>| Image {
        name: name.into(),
        new_name: new_name.map(Into::into),
        new_tag: new_tag.map(Into::into),
        digest: digest.map(Into::into),
    };
    // (image, rule, becomes)
    let rows = [
        ("nginx:1", rule("nginx", None, Some("2"), None), "nginx:2"),
        ("nginx", rule("nginx", None, Some("2"), None), "nginx:2"),
        ("nginx@sha256:ab", rule("nginx", None, Some("2"), None), "nginx:2"),
        ("nginx:1", rule("nginx", None, None, Some("sha256:cd")), "nginx@sha256:cd"),
        ("nginx:1@sha256:ab", rule("nginx", None, Some("2"), Some("sha256:cd")), "nginx:2@sha256:cd"),
        (
            "nginx:1@sha256:ab",
            rule("nginx", Some("r.io:5000/nginx"), None, None),
            "r.io:5000/nginx:1@sha256:ab",
        ),
        ("r.io:5000/a/nginx:1", rule("r.io:5000/a/nginx", None, Some("2"), None), "r.io:5000/a/nginx:2"),
        ("r.io:5000/nginx", rule("r.io:5000/nginx", None, Some("2"), None), "r.io:5000/nginx:2"),
        ("r.io/nginx:1", rule("nginx", None, Some("2"), None), "r.io/nginx:1"),
        ("nginx-extra:1", rule("nginx", None, Some("2"), None), "nginx-extra:1"),
    ];
    for (image, rule, expected) in rows {
        let pod = |image: &str| {
            json!({"template": {"spec": {
                "containers": [{"name": "a", "image": image}],
                "initContainers": [{"name": "b", "image": image}, {"name": "c"}],
                "ephemeralContainers": [{"image": image}],
                "image": image,
            }}})
        };
        let mut expected = pod(expected);
        expected["template"]["spec"]["image"] = image.into();
        assert_eq!(changed(pod(image), &Change::Images(vec![rule])), Ok(expected), "{image}");
    }
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"},
        "spec": {"containers": [{"image": "nginx"}]},
    });
    let before = definition.clone();
    let rule = rule("nginx", None, Some("2"), None);
    Change::Images(vec![rule]).apply(&mut definition, &mut Images::default()).expect("it can be changed");
    assert_eq!(definition, before, "a schema has no images");
}
