//! What SOPS encrypted is read as it was, and nothing else is read at all.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use nave_placement::render::Format;
use serde::Deserialize;

use super::*;
use crate::secrets::age::identities;

#[derive(Deserialize)]
struct Row {
    name: String,
    format: Format,
    text: String,
    objects: Vec<Value>,
}

fn made() -> Vec<Row> {
    serde_json::from_str(include_str!("vectors/made.json")).expect("rows")
}

fn row(name: &str) -> Row {
    made().into_iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

/// The cluster's key, and another one.
fn keys() -> [Identity; 2] {
    static KEYS: LazyLock<Vec<Identity>> =
        LazyLock::new(|| identities(include_str!("vectors/keys.txt")).expect("identities"));
    KEYS.clone().try_into().expect("two of them")
}

fn sealed(text: &str, format: Format, documents: usize) -> Sealed {
    Sealed { format, objects: vec![Value::Null; documents], text: text.into(), changes: Vec::new() }
}

fn opened(row: &Row, text: &str) -> Result<Vec<Value>, OpenError> {
    let [own, _] = keys();
    open(&sealed(text, row.format, row.objects.len()), &[own]).map(|opened| opened.objects)
}

#[test]
fn what_sops_itself_encrypted_is_opened() {
    let all: Vec<Row> = serde_json::from_str(include_str!("vectors/by_sops.json")).expect("rows");
    assert_eq!(all.len(), 11);
    for row in all {
        let found = opened(&row, &row.text).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(found, row.objects, "{}", row.name);
        assert!(row.text.contains("ENC["), "{}", row.text);
    }
}

#[test]
fn every_kind_of_value_and_rule_is_read_as_it_was() {
    let all = made();
    assert_eq!(all.len(), 10);
    for row in all.iter().filter(|row| row.name != "for others") {
        let found = opened(row, &row.text).unwrap_or_else(|error| panic!("{}: {error}", row.name));
        assert_eq!(found, row.objects, "{}", row.name);
    }
}

#[test]
fn other_recipients_are_named_next_to_ours() {
    let theirs = row("for others");
    let error = opened(&theirs, &theirs.text).expect_err("not ours").to_string();
    for key in keys() {
        assert!(error.contains(&key.recipient()), "{error}");
    }
    let sealed = sealed(&theirs.text, Format::Yaml, 1);
    assert!(open(&sealed, &[]).err().expect("no key").to_string().contains("not made yet"));
    // An older identity still opens it.
    assert!(open(&sealed, &keys()).is_ok());
}

/// Changes one place, and says what that is found to be.
#[track_caller]
fn check_changed(name: &str, change: impl Fn(&str) -> String, expected: &str) {
    let row = row(name);
    let changed = change(&row.text);
    assert_ne!(changed, row.text, "{name}: nothing changed");
    let error = opened(&row, &changed).expect_err("changed").to_string();
    assert!(error.contains(expected), "{name}: {error}");
}

#[test]
fn a_changed_document_is_not_opened() {
    let shared = "documents that share a MAC";
    // The first encrypted value of the text, without the first character of its data.
    let cut = |text: &str| text.replacen(",data:", ",data:A", 1);
    check_changed("a MAC of encrypted values only", cut, "stringData.a was changed");
    check_changed("JSON", |text| text.replacen(",type:str", ",type:int", 1), "stringData.a was changed");
    check_changed("JSON", |text| text.replacen("\"n\": 12", "\"n\": 13", 1), "MAC");
    let clear = |text: &str| text.replacen("name: \"one\"", "name: \"other\"", 1);
    check_changed(shared, clear, "MAC");
    // The end of the wrapped data key, which is its payload.
    let gone = |text: &str| {
        let end = text.find("\\n-----END AGE").expect("an armoured key");
        format!("{}AAAA{}", &text[..end - 4], &text[end..])
    };
    check_changed(shared, gone, "is damaged");
}

#[test]
fn values_that_change_places_do_not_pass() {
    let row = row("documents that share a MAC");
    let value = |from: usize| {
        let start = from + row.text[from..].find("a: ENC[").expect("a value") + 3;
        let end = start + row.text[start..].find('\n').expect("a line");
        start..end
    };
    let first = value(0);
    let second = value(row.text.find("\n---\n").expect("two documents"));
    let (one, two) = (row.text[first.clone()].to_owned(), row.text[second.clone()].to_owned());
    // Same key in both documents: each value decrypts, the order of the MAC does not fit.
    let mut swapped = row.text.clone();
    swapped.replace_range(second, &one);
    swapped.replace_range(first, &two);
    assert_eq!(opened(&row, &swapped), Err(OpenError::Mac));
    // Under another key it does not even decrypt.
    let renamed = row.text.replacen("a: ENC[", "b: ENC[", 1);
    assert_eq!(opened(&row, &renamed), Err(OpenError::Value { path: "stringData.b".into() }));
    // One document less, or an empty value in place of one.
    let alone = sealed(&row.text[..=row.text.find("\n---\n").expect("two documents")], Format::Yaml, 1);
    assert_eq!(open(&alone, &keys()).err(), Some(OpenError::Mac));
    let emptied = row.text.replacen(&one, "\"\"", 1);
    assert_eq!(opened(&row, &emptied), Err(OpenError::Mac));
}

#[test]
fn wherever_a_document_is_changed_it_does_not_open_as_something_else() {
    let row = row("a MAC of encrypted values only");
    // A sample: an opening costs milliseconds without optimization. 13 shares no factor with the 64 of a line.
    let places = row.text.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).step_by(13);
    let mut outcomes = BTreeSet::new();
    for (at, c) in places {
        let other = if c == 'A' { 'B' } else { 'A' };
        let mut text = row.text.clone();
        text.replace_range(at..=at, &other.to_string());
        match opened(&row, &text) {
            // What is in clear is not under this MAC, nor are names of recipients, versions and unused fields.
            Ok(objects) => assert_eq!(objects[0]["stringData"], row.objects[0]["stringData"], "{text}"),
            Err(error) => drop(outcomes.insert(error.to_string().split(' ').next().map(str::to_owned))),
        }
    }
    assert!(outcomes.len() >= 4, "{outcomes:?}");
}

#[test]
fn a_document_that_is_cut_off_anywhere_opens_nowhere() {
    let row = row("JSON");
    let end = row.text.trim_end().len();
    for at in (0..end).step_by(13).filter(|at| row.text.is_char_boundary(*at)) {
        assert!(opened(&row, &row.text[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn no_error_and_no_debug_output_tells_a_value() {
    let [own, other] = keys();
    let secret = own.to_text();
    assert!(!format!("{own:?}").contains(&secret[20..]));
    assert_ne!(own, other);
    let row = row("comments, unicode, empty and long values");
    let values = ["hunter2", "xxxxxxxx", "a:b:c", "one\ntwo"];
    for (from, to) in [("gold", "lead"), (",type:str", ",type:int"), ("tag:", "tag:A"), ("Opaque", "other")] {
        let error = opened(&row, &row.text.replace(from, to)).expect_err(from);
        let said = format!("{error} {error:?}");
        assert!(!values.iter().any(|value| said.contains(value)), "{said}");
    }
    let debug = format!("{:?}", sealed(&row.text, Format::Yaml, 1));
    assert!(!debug.contains("ENC["), "{debug}");
}
