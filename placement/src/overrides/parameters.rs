//! Parameters: layers become one map.
//!
//! In: the layers, the lowest first. Out: their merge: maps merge, lists replace, null deletes.
//! Never: keeps a null, which would be a value that nobody set.

use serde_json::{Map, Value};

/// Parameters by name.
pub type Parameters = Map<String, Value>;

/// Puts a layer over those below it.
pub fn merge(below: &mut Parameters, layer: &Parameters) {
    for (name, value) in layer {
        match (value, below.get_mut(name)) {
            (Value::Null, _) => drop(below.remove(name)),
            (Value::Object(layer), Some(Value::Object(below))) => merge(below, layer),
            // What lies below is no map: of this one the nulls delete nothing, and stay out.
            (Value::Object(layer), _) => {
                let mut fresh = Parameters::new();
                merge(&mut fresh, layer);
                below.insert(name.clone(), Value::Object(fresh));
            }
            (value, _) => drop(below.insert(name.clone(), value.clone())),
        }
    }
}

/// All layers, the lowest first.
pub fn merged<'a>(layers: impl IntoIterator<Item = &'a Parameters>) -> Parameters {
    let mut all = Parameters::new();
    layers.into_iter().for_each(|layer| merge(&mut all, layer));
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Parameters {
        value.as_object().cloned().expect("a mapping")
    }

    #[test]
    fn maps_merge_lists_replace_and_null_deletes() {
        let rows = [
            (vec![json!({"a": 1}), json!({"b": 2})], json!({"a": 1, "b": 2})),
            (vec![json!({"a": 1}), json!({"a": 2})], json!({"a": 2})),
            (vec![json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 3}})], json!({"a": {"b": 1, "c": 3}})),
            (vec![json!({"a": [1, 2]}), json!({"a": [3]})], json!({"a": [3]})),
            (vec![json!({"a": {"b": 1}}), json!({"a": {"b": null}})], json!({"a": {}})),
            (vec![json!({"a": {"b": 1}}), json!({"a": null})], json!({})),
            (vec![json!({"a": null})], json!({})),
            (vec![json!({"a": 1}), json!({"a": {"b": null, "c": 1}})], json!({"a": {"c": 1}})),
            (vec![json!({"a": {"b": 1}}), json!({"a": "x"}), json!({"a": {"c": 2}})], json!({"a": {"c": 2}})),
            (vec![json!({"a": 1}), json!({"a": null}), json!({"a": 3})], json!({"a": 3})),
        ];
        for (layers, expected) in rows {
            let layers: Vec<Parameters> = layers.into_iter().map(map).collect();
            assert_eq!(Value::Object(merged(&layers)), expected, "{layers:?}");
        }
    }

    fn layer() -> impl Strategy<Value = Parameters> {
        let leaf = prop_oneof![any::<bool>().prop_map(Value::from), (0..3).prop_map(Value::from)];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[ab]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[abc]", value, 0..4).prop_map(|map| map.into_iter().collect())
    }

    /// Whether a scalar or list of the middle layer lies between two maps: merged with the upper one first, it would be gone.
    fn separates(a: &Parameters, b: &Parameters, c: &Parameters) -> bool {
        a.iter().any(|(name, a)| match (a, b.get(name), c.get(name)) {
            (Value::Object(a), Some(Value::Object(b)), Some(Value::Object(c))) => separates(a, b, c),
            (Value::Object(_), Some(_), Some(Value::Object(_))) => true,
            _ => false,
        })
    }

    proptest! {
        /// Whoever merges some layers first gets the same. A null deletes what lies below it, so there is none here.
        #[test]
        fn layers_may_be_merged_in_any_grouping(a in layer(), b in layer(), c in layer()) {
            prop_assume!(!separates(&a, &b, &c));
            let upper = merged([&b, &c]);
            prop_assert_eq!(merged([&a, &b, &c]), merged([&a, &upper]));
        }

        #[test]
        fn a_layer_over_itself_changes_nothing(a in layer()) {
            prop_assert_eq!(merged([&a, &a]), a);
        }
    }
}
