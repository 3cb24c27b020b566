//! The samples of a catalog in the documents: people copy them, so they are what this version takes.

use std::collections::BTreeMap;

use boon::{Compiler, SchemaIndex, Schemas};
use nave_placement::CatalogName;
use nave_placement::catalog::schema::{Shape, find, json_schema};
use nave_placement::catalog::{API_VERSION, Catalog, CommitId, parse_file};
use nave_placement::offline;
use serde_json::{Map, Value};

use super::tree::files;

/// A document of ours in a file for people.
struct Sample {
    place: String,
    content: Value,
}

/// Documents begin with our `apiVersion` and end with the fence, the here-document or the file.
fn samples() -> Vec<Sample> {
    let head = format!("apiVersion: {API_VERSION}");
    let shown = |path: &str| path == "README.md" || path.starts_with("deploy/");
    let mut found = Vec::new();
    for source in ["md", "yaml", "yml"].into_iter().flat_map(files).filter(|source| shown(&source.path)) {
        let lines: Vec<&str> = source.text.lines().collect();
        for start in (0..lines.len()).filter(|start| lines[*start] == head) {
            let ends = |line: &&&str| !["---", "EOF", "```"].contains(*line);
            let text = lines[start..].iter().take_while(ends).copied().collect::<Vec<_>>().join("\n");
            let place = format!("{}:{}", source.path, start + 1);
            let content =
                serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{place}: {error}\n{text}"));
            found.push(Sample { place, content });
        }
    }
    assert!(found.len() >= 5, "only {} samples are found", found.len());
    found
}

/// What `hub catalog schema` prints, as a validator uses it.
struct Schema(Schemas, SchemaIndex);

impl Schema {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("nave.json", json_schema(None)).expect("a schema");
        let index = compiler.compile("nave.json", &mut schemas).expect("a valid schema");
        Self(schemas, index)
    }

    fn faults(&self, document: &Value) -> Option<String> {
        self.0.validate(document, self.1).err().map(|error| error.to_string())
    }
}

/// What the hub's parser says of it.
fn problems(document: &Value) -> Option<String> {
    let parsed = parse_file("sample.yaml", document.to_string().as_bytes());
    let is_taken = parsed.problems.is_empty() && parsed.documents.iter().all(|d| d.object.is_some());
    (!is_taken).then(|| format!("{:?}", parsed.problems))
}

/// A catalog with nothing in it.
fn empty() -> Catalog {
    Catalog {
        name: CatalogName::root(),
        commit: CommitId("0".repeat(40).into()),
        objects: BTreeMap::new(),
        problems: Vec::new(),
        empty: true,
        tenants: BTreeMap::new(),
    }
}

#[test]
fn what_documents_show_is_taken_by_the_schema_and_by_the_hub() {
    let schema = Schema::new();
    for Sample { place, mut content } in samples() {
        // Only `hub decide` reads what spokes would report.
        let status = content.as_object_mut().expect("a mapping").remove("status");
        assert_eq!(schema.faults(&content), None, "{place}");
        assert_eq!(problems(&content), None, "{place}");
        if let Some(status) = status {
            content["status"] = status;
            let read = offline::fleet(&place, &content.to_string(), &empty());
            assert!(read.is_ok(), "{place}: {:?}", read.err());
        }
    }
}

#[test]
fn a_misspelt_field_and_a_word_that_is_none_are_refused_by_both() {
    let schema = Schema::new();
    let (mut fields, mut words) = (0, 0);
    for Sample { place, mut content } in samples() {
        content.as_object_mut().expect("a mapping").remove("status");
        let kind = content["kind"].as_str().expect("a kind").to_owned();
        let mut slips = Vec::new();
        mutations(&content, &kind, &mut |slip| slips.push(slip));
        for (slip, is_word) in slips {
            *(if is_word { &mut words } else { &mut fields }) += 1;
            assert!(schema.faults(&slip).is_some(), "{place}: the schema takes {slip}");
            assert!(problems(&slip).is_some(), "{place}: the parser takes {slip}");
        }
    }
    assert!(fields >= 30 && words >= 1, "only {fields} fields and {words} words were misspelt");
}

/// The value with one slip, for each place where one can be made; true where it is in a word.
fn mutations(value: &Value, path: &str, take: &mut dyn FnMut((Value, bool))) {
    let shape = find(path).map(|found| found.rule.shape).expect("the table has it");
    match value {
        Value::Object(map) if shape.fields().is_some() => {
            for (key, inner) in map {
                let with = |key: String, inner: Value| {
                    let mut map: Map<String, Value> = map.clone();
                    map.insert(key, inner);
                    map
                };
                let mut misspelt = with(format!("{key}x"), inner.clone());
                misspelt.remove(key);
                take((Value::Object(misspelt), false));
                mutations(inner, &format!("{path}.{key}"), &mut |(inner, is_word)| {
                    take((Value::Object(with(key.clone(), inner)), is_word));
                });
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                mutations(item, path, &mut |(item, is_word)| {
                    let mut items = items.clone();
                    items[index] = item;
                    take((Value::Array(items), is_word));
                });
            }
        }
        Value::String(word) if matches!(shape, Shape::Word(_)) || shape.words().is_some() => {
            take((Value::String(format!("{word}x")), true));
        }
        _ => {}
    }
}
