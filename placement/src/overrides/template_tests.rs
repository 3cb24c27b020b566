//! What `${…}` becomes.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn values() -> Values {
    let rows = [
        ("cluster.name", json!("fra-1")),
        ("parameters.replicas", json!(6)),
        ("parameters.share", json!(0.5)),
        ("parameters.debug", json!(false)),
        ("parameters.number", json!("0417")),
        ("parameters.empty", json!("")),
        ("parameters.hosts", json!(["a", "b"])),
        ("parameters.store", json!({"n": 1})),
        ("labels.topology.kubernetes.io/zone", json!("b")),
    ];
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn a_text_is_filled_and_one_that_is_a_name_alone_keeps_the_type() {
    let rows = [
        ("plain", json!("plain")),
        ("$HOME costs 5$", json!("$HOME costs 5$")),
        ("${cluster.name}", json!("fra-1")),
        ("${parameters.replicas}", json!(6)),
        ("${parameters.share}", json!(0.5)),
        ("${parameters.debug}", json!(false)),
        ("${parameters.number}", json!("0417")),
        ("${parameters.hosts}", json!(["a", "b"])),
        ("${parameters.store}", json!({"n": 1})),
        ("web-${cluster.name}-${parameters.replicas}.x", json!("web-fra-1-6.x")),
        (" ${parameters.replicas}", json!(" 6")),
        ("${labels.topology.kubernetes.io/zone}", json!("b")),
        ("${parameters.absent:-eu}", json!("eu")),
        ("${parameters.absent:-}", json!("")),
        ("${parameters.absent:-3}", json!(3)),
        ("${parameters.absent:-\"3\"}", json!("3")),
        ("${parameters.absent:-03}", json!("03")),
        ("n=${parameters.absent:-3}", json!("n=3")),
        ("${parameters.replicas:-3}", json!(6)),
        ("${parameters.empty}", json!("")),
        ("${parameters.empty:-x}", json!("x")),
        ("[${parameters.empty}]", json!("[]")),
        ("$${HOME}", json!("${HOME}")),
        ("$${a}${cluster.name}$${b}", json!("${a}fra-1${b}")),
        ("$$${cluster.name}", json!("$${cluster.name}")),
    ];
    for (text, expected) in rows {
        let mut value = json!({"k": [text]});
        substitute(&mut value, &values()).expect(text);
        assert_eq!(value, json!({"k": [expected]}), "{text}");
    }
}

#[test]
fn a_sample_has_defaults_and_a_stand_in_where_values_will_be() {
    let rows = [
        ("1.29", Ok("1.29")),
        ("v${parameters.major}.${parameters.minor:-0}", Ok("vx.0")),
        ("${parameters.tag:-}", Ok("")),
        ("$${a}", Ok("${a}")),
        ("1.${parameters.tag", Err(TemplateError::Open)),
    ];
    for (text, expected) in rows {
        assert_eq!(sample(text, "x"), expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn keys_are_filled_too_and_stay_apart() {
    let mut value = json!({"${cluster.name}/x": {"$${n}": 1}});
    substitute(&mut value, &values()).expect("it can be filled");
    assert_eq!(value, json!({"fra-1/x": {"${n}": 1}}));
    let mut value = json!({"${cluster.name}": 1, "fra-1": 2});
    assert_eq!(substitute(&mut value, &values()), Err(SubstituteError::KeyTwice("fra-1".into())));
}

#[test]
fn what_cannot_be_filled_is_named() {
    let rows = [
        ("${parameters.absent}", "${parameters.absent} has no value"),
        ("a ${parameters.absent}", "${parameters.absent} has no value"),
        ("a ${parameters.hosts}", "${parameters.hosts} is a list or a map, which cannot stand amid text"),
    ];
    for (text, expected) in rows {
        let error = substitute(&mut json!(text), &values()).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_no_template_is_told_with_how_to_write_it() {
    let unknown = |name: &str, more: &str| {
        format!(
            "${{{name}}} is no name that Nave knows (parameters.…, cluster.name, labels.…, facts.…){more}; for a literal ${{ write $${{"
        )
    };
    let rows = [
        ("${HOME}", unknown("HOME", "")),
        ("${}", unknown("", "")),
        ("${parameters}", unknown("parameters", "")),
        ("${parameters.}", unknown("parameters.", "")),
        ("${ parameters.a }", unknown(" parameters.a ", "; did you mean parameters?")),
        ("${cluster.uid}", unknown("cluster.uid", "")),
        ("${parameter.a}", unknown("parameter.a", "; did you mean parameters?")),
        ("${facts.provide}", unknown("facts.provide", "; did you mean provider?")),
        (
            "${facts.free.cpu}",
            unknown("facts.free.cpu", "; what is free changes all the time and is for placements alone"),
        ),
        ("a ${parameters.x", "`${` is not closed by `}`; for a literal ${ write $${".to_owned()),
        (
            "${parameters.a:-${parameters.b}}",
            "${parameters.a:-…}: a default cannot hold a ${…} itself; set the parameter in a lower layer instead"
                .to_owned(),
        ),
    ];
    for (text, expected) in rows {
        let error = uses(&json!([text]), &mut Uses::new()).expect_err(text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn names_are_collected_with_how_they_are_used() {
    let mut found = Uses::new();
    let manifest = json!({
        "a": "${parameters.a}",
        "b": ["${parameters.b:-1}", "x ${parameters.b:-2}", "$${parameters.none}"],
        "${labels.c}": "${parameters.a:-3}",
    });
    uses(&manifest, &mut found).expect("it is one");
    let used = |required, in_text| Use { required, in_text };
    let expected = [
        ("labels.c", used(true, true)),
        ("parameters.a", used(true, false)),
        ("parameters.b", used(false, true)),
    ];
    assert_eq!(found, expected.into_iter().map(|(name, used)| (name.to_owned(), used)).collect());
}

/// Texts of the pieces that matter here.
fn template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("${parameters.a}"),
        Just("${parameters.b:-d}"),
        Just("$${"),
        Just("$"),
        Just("{"),
        Just("}"),
        Just("x"),
        Just(":-"),
        Just("é"),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    /// With a value for every name that is used, everything is filled, and nothing that is left was a name.
    #[test]
    fn with_values_for_all_names_nothing_stays_unresolved(text in template(), key in template()) {
        let mut found = Uses::new();
        let manifest = json!({ key: [text.clone()] });
        if uses(&manifest, &mut found).is_ok() {
            let values: Values =
                found.keys().map(|name| (name.clone(), Value::from("value"))).collect();
            let mut filled = manifest.clone();
            substitute(&mut filled, &values).expect("all names have values");
            let literal = manifest.to_string().matches("$${").count();
            prop_assert!(filled.to_string().matches("${").count() <= literal, "{}", filled);
            let mut again = manifest;
            substitute(&mut again, &values).expect("as before");
            prop_assert_eq!(again, filled);
        }
    }
}
