//! Merge patches: the cases of RFC 7386 for kinds that are not built in, those of Kubernetes' documentation for those that are.

use proptest::prelude::{Just, any, prop, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy;
use serde_json::json;

use super::*;

#[track_caller]
fn check(kind: (&str, &str), object: &Value, patch: &Value, expected: &Value) {
    let mut patched = object.clone();
    let merged =
        merge(kind.0, kind.1, &mut patched, patch).unwrap_or_else(|error| panic!("{error}: {patch}"));
    assert_eq!((merged, &patched), (Merged::Kept, expected), "{patch} on {object}");
}

const CUSTOM: (&str, &str) = ("example.com", "Shop");
const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");
const POD: (&str, &str) = ("", "Pod");

#[test]
fn a_kind_that_is_not_built_in_is_patched_as_rfc_7386_says() {
    let rows = [
        (json!({"k": "v"}), json!({"k": "w"}), json!({"k": "w"})),
        (json!({"k": "v"}), json!({"l": "w"}), json!({"k": "v", "l": "w"})),
        (json!({"k": "v"}), json!({"k": null}), json!({})),
        (json!({"k": "v", "l": "w"}), json!({"k": null}), json!({"l": "w"})),
        (json!({"k": ["v"]}), json!({"k": "w"}), json!({"k": "w"})),
        (json!({"k": "w"}), json!({"k": ["v"]}), json!({"k": ["v"]})),
        (json!({"k": {"m": "w"}}), json!({"k": {"m": "x", "n": null}}), json!({"k": {"m": "x"}})),
        (json!({"k": [{"m": "w"}]}), json!({"k": [1]}), json!({"k": [1]})),
        (json!(["k", "l"]), json!(["m", "n"]), json!(["m", "n"])),
        (json!({"k": "v"}), json!(["m"]), json!(["m"])),
        (json!({"k": "x"}), json!(null), json!(null)),
        (json!({"k": "x"}), json!("l"), json!("l")),
        (json!({"k": null}), json!({"l": 1}), json!({"k": null, "l": 1})),
        (json!({}), json!({"k": [{"m": null}, null]}), json!({"k": [{"m": null}, null]})),
        (json!([1, 2]), json!({"k": "v", "m": null}), json!({"k": "v"})),
        (json!({}), json!({"k": {"mm": {"nnn": null}}}), json!({"k": {"mm": {}}})),
        (json!({"k": {"m": 1}}), json!({"k": {"m": {"n": 2}}}), json!({"k": {"m": {"n": 2}}})),
    ];
    for (object, patch, expected) in rows {
        let patch = match patch {
            // On something that is no map, a patch that is a map begins with an empty one.
            patch @ Value::Object(_) if !object.is_object() => {
                check(CUSTOM, &json!({}), &patch, &expected);
                continue;
            }
            patch => patch,
        };
        check(CUSTOM, &object, &patch, &expected);
    }
}

fn deployment(spec: Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

#[test]
fn lists_of_built_in_kinds_merge_by_their_keys() {
    let nginx = || json!({"name": "web", "image": "nginx"});
    let rows = [
        // A second container joins the first.
        (
            json!({"containers": [nginx()]}),
            json!({"containers": [{"name": "cache", "image": "redis"}]}),
            json!({"containers": [{"name": "cache", "image": "redis"}, nginx()]}),
        ),
        // The same container changes in place.
        (
            json!({"containers": [{"name": "a"}, nginx()]}),
            json!({"containers": [{"name": "web", "image": "nginx:2", "args": ["x"]}]}),
            json!({"containers": [{"name": "a"}, {"name": "web", "image": "nginx:2", "args": ["x"]}]}),
        ),
        // Tolerations have no key: the patch's are all there are.
        (
            json!({"tolerations": [{"key": "gpu"}]}),
            json!({"tolerations": [{"key": "disk"}]}),
            json!({"tolerations": [{"key": "disk"}]}),
        ),
        (
            json!({"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}),
            json!({"containers": [{"name": "web", "env": [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}]}]}),
            json!({"containers": [{"name": "web", "env": [{"name": "B", "value": "3"}]}]}),
        ),
        // One variable changes its source.
        (
            json!({"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}),
            json!({"containers": [{"name": "web", "env": [{"name": "A", "value": null, "valueFrom": {"x": 1}}]}]}),
            json!({"containers": [{"name": "web", "env": [{"name": "A", "valueFrom": {"x": 1}}]}]}),
        ),
        // Ports are told apart by protocol too, where that is needed.
        (
            json!({"containers": [{"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}]}]}),
            json!({"containers": [{"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP", "name": "u"}, {"containerPort": 53, "name": "t"}]}]}),
            json!({"containers": [{"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP", "name": "u"}, {"containerPort": 53, "protocol": "TCP", "name": "t"}]}]}),
        ),
        (
            json!({"containers": [{"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP"}]}]}),
            json!({"containers": [{"name": "dns", "ports": [{"containerPort": 53, "name": "u"}]}]}),
            json!({"containers": [{"name": "dns", "ports": [{"containerPort": 53, "protocol": "UDP", "name": "u"}]}]}),
        ),
        (
            json!({"containers": [nginx()]}),
            json!({"containers": [{"name": "web", "$patch": "delete"}, {"name": "none", "$patch": "delete"}]}),
            json!({"containers": []}),
        ),
        (
            json!({"containers": [nginx(), {"name": "b"}]}),
            json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
            json!({"containers": [{"name": "c"}]}),
        ),
        (
            json!({"containers": [nginx()]}),
            json!({"containers": [{"name": "web", "$patch": "replace", "image": "x"}]}),
            json!({"containers": [{"name": "web", "image": "x"}]}),
        ),
        // What a patch names twice it merges twice, whether it is there or new.
        (
            json!({"containers": [nginx()]}),
            json!({"containers": [
                {"name": "web", "args": ["x"]}, {"name": "new", "image": "y"},
                {"name": "web", "tty": true}, {"name": "new", "tty": true},
                {"name": "gone", "image": "z"}, {"name": "gone", "$patch": "delete"},
            ]}),
            json!({"containers": [
                {"name": "new", "image": "y", "tty": true},
                {"name": "web", "image": "nginx", "args": ["x"], "tty": true},
            ]}),
        ),
        (
            json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
            json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}),
            json!({"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}),
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]}),
            json!({"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}], "containers": [{"name": "c", "image": "x"}]}),
            json!({"containers": [{"name": "c", "image": "x"}, {"name": "a"}, {"name": "b"}]}),
        ),
        (
            json!({"nodeSelector": {"a": "1", "b": "2"}}),
            json!({"nodeSelector": {"$patch": "replace", "c": "3"}}),
            json!({"nodeSelector": {"c": "3"}}),
        ),
        (
            json!({"nodeSelector": {"a": "1"}, "x": 1}),
            json!({"nodeSelector": {"$patch": "delete"}}),
            json!({"x": 1}),
        ),
    ];
    for (object, patch, expected) in rows {
        check(DEPLOYMENT, &deployment(object), &deployment(patch), &deployment(expected));
    }
}

#[test]
fn the_rest_of_an_object_is_patched_by_its_kind() {
    let rows = [
        // Changing the strategy takes the settings of the other one with it.
        (
            DEPLOYMENT,
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
        ),
        (
            POD,
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["c", "a"], "$deleteFromPrimitiveList/finalizers": ["b"]}}),
            json!({"metadata": {"finalizers": ["a", "c"]}}),
        ),
        (
            ("", "Service"),
            json!({"spec": {"ports": [{"port": 80, "targetPort": 1}]}}),
            json!({"spec": {"ports": [{"port": 443}, {"port": 80, "targetPort": 2}]}}),
            json!({"spec": {"ports": [{"port": 443}, {"port": 80, "targetPort": 2}]}}),
        ),
        (
            ("policy", "PodDisruptionBudget"),
            json!({"spec": {"selector": {"matchLabels": {"a": "1"}}}}),
            json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}}),
            json!({"spec": {"selector": {"matchLabels": {"b": "2"}}}}),
        ),
    ];
    for (kind, object, patch, expected) in rows {
        check(kind, &object, &patch, &expected);
    }
}

#[test]
fn a_whole_object_may_be_deleted() {
    let merged = merge("apps", "Deployment", &mut json!({"a": 1}), &json!({"$patch": "delete"}));
    assert_eq!(merged, Ok(Merged::Deleted));
}

#[test]
fn what_no_patch_can_mean_is_told_with_its_place() {
    let rows = [
        (
            json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}),
            "spec.template.spec.containers: an item lacks name, by which the list is merged",
        ),
        (json!({"spec": {"$patch": "remove"}}), "spec: $patch takes merge, replace or delete"),
        (json!({"spec": {"$retainKeys": "a"}}), "spec: $retainKeys takes a list"),
        (json!({"$retain": []}), "the patch: $retain is no directive of a strategic merge patch"),
        (
            json!({"spec": {"template": {"spec": {"tolerations": [{"key": "gpu", "$patch": "delete"}]}}}}),
            "spec.template.spec.tolerations: $patch stands in a list that is replaced as a whole, and can do nothing there",
        ),
        (
            json!({"metadata": {"finalizers": [{"a": [{"$retainKeys": []}]}]}}),
            "metadata.finalizers: $retainKeys stands in a list that is replaced as a whole, and can do nothing there",
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": [{"$patch": "replace"}, {"name": "a", "$patch": "delete"}]}}}}),
            "spec.template.spec.containers: $patch stands in a list that is replaced as a whole, and can do nothing there",
        ),
    ];
    for (patch, expected) in rows {
        let error = merge("apps", "Deployment", &mut json!({}), &patch).expect_err("it is wrong");
        assert_eq!(error.to_string(), expected);
    }
}

/// Objects of few names, so that they meet; with keyed lists.
fn manifest() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), Just(json!(1)), Just(json!("x"))];
    let container = (prop_oneof![Just("a"), Just("b")], leaf.clone())
        .prop_map(|(name, image)| json!({"name": name, "image": image}));
    let containers = prop::collection::btree_map("[ab]", container, 0..3).prop_map(|containers| {
        let named = |(name, mut container): (String, Value)| {
            container["name"] = name.into();
            container
        };
        Value::Array(containers.into_iter().map(named).collect())
    });
    let fields = prop::collection::btree_map("[ab]", leaf, 0..3)
        .prop_map(|fields| Value::Object(fields.into_iter().collect()));
    (containers, fields)
        .prop_map(|(containers, fields)| json!({"spec": {"containers": containers, "other": fields}}))
}

proptest! {
    /// What was patched needs no patching: a rule that applies again changes nothing.
    #[test]
    fn a_patch_twice_is_a_patch_once(object in manifest(), patch in manifest(), custom in any::<bool>()) {
        let (group, kind) = if custom { CUSTOM } else { POD };
        let mut once = object;
        merge(group, kind, &mut once, &patch).expect("it has no directive, and every item its key");
        let mut twice = once.clone();
        merge(group, kind, &mut twice, &patch).expect("as before");
        prop_assert_eq!(twice, once);
    }
}
