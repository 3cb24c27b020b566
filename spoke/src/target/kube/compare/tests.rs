//! Rows: what was sent, what is there, what we own, and the differences (`path`, with `!` when the field is lost).

#![expect(clippy::needless_pass_by_value, reason = "rows of literals read better without `&`")]

use serde_json::{Value, json};

use super::{differences, equal, fingerprint};

fn check(name: &str, sent: Value, live: Value, ours: Value, expected: &[&str]) {
    let found = differences(&sent, &live, Some(&ours));
    let found: Vec<_> =
        found.iter().map(|d| format!("{}{}", d.path, if d.lost { "!" } else { "" })).collect();
    assert_eq!(found, expected, "{name}");
}

#[test]
fn only_what_was_sent_is_compared() {
    let ours = json!({"f:spec": {"f:replicas": {}}});
    check(
        "equal",
        json!({"spec": {"replicas": 1}}),
        json!({"spec": {"replicas": 1, "x": 2}, "status": {}}),
        ours.clone(),
        &[],
    );
    check(
        "identity",
        json!({"apiVersion": "v2", "kind": "A", "metadata": {"name": "a"}}),
        json!({"apiVersion": "v1", "metadata": {}}),
        json!({"f:metadata": {"f:labels": {}}}),
        &[],
    );
    check("nothing sent", json!({"spec": null, "data": {}, "list": []}), json!({}), ours, &[]);
}

#[test]
fn a_field_that_left_our_fields_is_lost_even_if_it_reads_the_same() {
    let owned = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
    let lost = json!({"f:spec": {"f:paused": {}}});
    let sent = json!({"spec": {"replicas": 1, "paused": false}});
    check(
        "changed by another",
        sent.clone(),
        json!({"spec": {"replicas": 3, "paused": false}}),
        lost,
        &["/spec/replicas!"],
    );
    check(
        "changed without books",
        sent,
        json!({"spec": {"replicas": 3, "paused": false}}),
        owned,
        &["/spec/replicas"],
    );
    let labels = json!({"f:metadata": {"f:labels": {"f:a/b": {}}}});
    check(
        "pointer",
        json!({"metadata": {"labels": {"a/b": "1", "c": "2"}}}),
        json!({"metadata": {"labels": {"a/b": "1"}}}),
        labels,
        &["/metadata/labels/c!"],
    );
}

#[test]
fn what_says_nothing_may_be_dropped_by_the_server_but_not_by_others() {
    let sent = json!({"a": "", "b": false, "c": 0, "d": []});
    check("owned", sent.clone(), json!({}), json!({"f:a": {}, "f:b": {}, "f:c": {}, "f:d": {}}), &[]);
    check("lost", sent, json!({"b": true}), json!({"f:a": {}, "f:c": {}, "f:d": {}}), &["/b!"]);
}

#[test]
fn keyed_lists_are_matched_by_their_keys() {
    let ours = json!({"f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:name": {}, "f:image": {}}}});
    let sent = json!({"containers": [{"name": "web", "image": "a"}]});
    check(
        "injected sidecar",
        sent.clone(),
        json!({"containers": [{"name": "proxy"}, {"name": "web", "image": "a", "x": 1}]}),
        ours.clone(),
        &[],
    );
    let image_lost = json!({"f:containers": {r#"k:{"name":"web"}"#: {".": {}, "f:name": {}}}});
    check(
        "image",
        sent.clone(),
        json!({"containers": [{"name": "web", "image": "b"}]}),
        image_lost,
        &["/containers/0/image!"],
    );
    check(
        "item removed",
        sent,
        json!({"containers": []}),
        json!({"f:containers": {r#"k:{"name":"other"}"#: {}}}),
        &["/containers/0!"],
    );
    let ports = json!({"f:ports": {
        r#"k:{"port":53,"protocol":"TCP"}"#: {".": {}, "f:port": {}},
        r#"k:{"port":53,"protocol":"UDP"}"#: {".": {}, "f:port": {}, "f:protocol": {}},
    }});
    let live = json!({"ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]});
    check("default", json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}]}), live, ports, &[]);
}

#[test]
fn sets_by_value_and_other_lists_as_one_piece() {
    let set = json!({"f:finalizers": {r#"v:"a""#: {}, r#"v:"b""#: {}}});
    check("set", json!({"finalizers": ["b", "a"]}), json!({"finalizers": ["z", "a", "b"]}), set.clone(), &[]);
    check(
        "set item",
        json!({"finalizers": ["c"]}),
        json!({"finalizers": ["a", "b"]}),
        set,
        &["/finalizers/0!"],
    );
    let piece = json!({"f:args": {}});
    check(
        "piece",
        json!({"args": ["a", {"x": 1}]}),
        json!({"args": ["a", {"x": 1, "default": 2}]}),
        piece.clone(),
        &[],
    );
    check("longer", json!({"args": ["a"]}), json!({"args": ["a", "b"]}), piece, &["/args"]);
}

#[test]
fn quantities_are_equal_however_they_are_written() {
    let rows = [
        (json!("1000m"), json!("1"), true),
        (json!(1), json!("1"), true),
        (json!("0.5"), json!("500m"), true),
        (json!("1024Mi"), json!("1Gi"), true),
        (json!("1G"), json!("1Gi"), false),
        (json!("1e3"), json!("1k"), true),
        (json!("nan"), json!("NaN"), false),
        (json!("10"), json!("a"), false),
        (json!(true), json!("true"), false),
    ];
    for (a, b, expected) in rows {
        assert_eq!(equal(&a, &b), expected, "{a} {b}");
    }
}

#[test]
fn a_fingerprint_knows_the_wanted_object_and_each_difference() {
    let found = |live: i32| differences(&json!({"a": 1}), &json!({"a": live}), Some(&json!({"f:a": {}})));
    assert_eq!(fingerprint("w", &found(2)), fingerprint("w", &found(2)));
    assert_ne!(fingerprint("w", &found(2)), fingerprint("w", &found(3)));
    assert_ne!(fingerprint("w", &found(2)), fingerprint("v", &found(2)));
    assert_ne!(fingerprint("w", &found(1)), fingerprint("w", &found(2)));
}
