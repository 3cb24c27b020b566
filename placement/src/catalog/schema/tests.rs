//! The tables say what the parser reads: it is asked for each field, each word, each number and each default.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::*;
use crate::catalog::parse::KINDS;
use crate::catalog::{ParsedFile, Spec, parse_file};

/// No field and no word has this name.
const UNKNOWN: &str = "quux";

/// Puts a value where it belongs in a document.
type Place<'a> = &'a dyn Fn(Value) -> Value;

fn example(shape: Shape) -> Value {
    match shape {
        Shape::Word(word) => json!(word),
        // `Exists` takes no values.
        Shape::Choice(words) => json!(words.iter().find(|word| **word == "Exists").unwrap_or(&words[0])),
        Shape::Text(form) => json!(text(form)),
        Shape::Flag | Shape::Affirmed => json!(true),
        Shape::Whole(least, _) => json!(least.unwrap_or(0)),
        Shape::Count(_) => json!("50%"),
        Shape::Amounts => json!({"cpu": 2, "memory": "4Gi"}),
        Shape::Labels => json!({"example.com/tier": "gold"}),
        Shape::Strings => json!({"note": "hello"}),
        Shape::Any => json!({"a": {"b": [1, null]}}),
        Shape::Patch => {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "b"}})
        }
        Shape::Object(fields) => with(fields, None),
        Shape::List(item) => json!([example(*item)]),
    }
}

fn text(form: Form) -> &'static str {
    match form {
        Form::Any => "Deployment",
        Form::Name | Form::AppName | Form::ServiceAccount => "fra-1.example",
        Form::Namespace => "shop",
        Form::LabelKey => "example.com/gpu",
        Form::LabelValue => "A100_x",
        Form::Path => "../web",
        Form::Inside => "deploy/web",
        Form::Directories => "./services/*",
        Form::Chart => "web",
        Form::Cel => "true",
        Form::Pointer => "/spec/replicas",
        Form::Selector => "tier in (web, api), !canary",
        Form::Image => "registry.example:5000/shop/web",
        Form::Tag => "1.29-alpine_x",
        Form::Digest => "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        Form::Duration => "1h30m",
        Form::Percent => "50%",
        Form::Look => "labels.region",
        Form::TimeZone => "Europe/Berlin",
        Form::Cron => "0 1 * * 1-5",
        Form::When => "2026-11-20",
        Form::Url => "https://git.example.com/shop",
        Form::Ref | Form::Versions => "^1.4",
        Form::Pattern => "team-a-*",
    }
}

/// An object with what it needs, and one field more; null is no more than absent.
fn with(fields: &Fields, more: Option<(&str, Value)>) -> Value {
    let (name, is_given) = more.as_ref().map_or(("", false), |(name, value)| (*name, !value.is_null()));
    let needed = match fields.needs {
        Needs::One(names) | Needs::Apart(names, _) | Needs::Template(&Choice { some: names, .. })
            if is_given && names.contains(&name) =>
        {
            None
        }
        Needs::Some(names)
        | Needs::One(names)
        | Needs::Apart(names, _)
        | Needs::Template(&Choice { some: names, .. }) => names.iter().find(|needed| **needed != name),
        Needs::Nothing => None,
    };
    let is_needed = |rule: &&Rule| rule.required || needed.is_some_and(|name| *name == rule.name);
    let mut object: Map<String, Value> = fields
        .rules
        .iter()
        .filter(is_needed)
        .map(|rule| (rule.name.to_owned(), example(rule.shape)))
        .collect();
    if let Some((name, value)) = more {
        // Values are for these operators.
        if name == "values" && fields.rule("operator").is_some() && !value.is_null() {
            object.insert("operator".to_owned(), json!("In"));
        }
        // A version is of a chart in a repository, where it has a name and no path.
        if ["version", "repository"].contains(&name) && fields.rule("chart").is_some() && !value.is_null() {
            object.insert("repository".to_owned(), json!(text(Form::Url)));
            object.insert("chart".to_owned(), json!("web"));
        }
        // A spread is of so many.
        if name == "spread" && !value.is_null() {
            object.insert("count".to_owned(), json!(1));
        }
        // `for` is how long what `healthyOn` says has been so, and is asked for beside it.
        if name == "for" {
            object.insert("healthyOn".to_owned(), json!({"selector": {"matchLabels": {"a": "b"}}}));
        }
        object.insert(name.to_owned(), value);
    }
    Value::Object(object)
}

/// Calls for every object of every kind: its path, its fields, and how to place one.
fn each_object(look: &mut dyn FnMut(&str, &'static Fields, Place<'_>)) {
    for kind in KINDS {
        let named = |mut document: Value| {
            // A template has a `*` in its name, and no other object has.
            let is_template = kind == Kind::App && !document["spec"]["source"]["directories"].is_null();
            if let Some(metadata) = document["metadata"].as_object_mut() {
                let name = if is_template { "sample-*" } else { "sample" };
                metadata.insert("name".to_owned(), json!(name));
            }
            document
        };
        walk("", document(kind).shape, &named, look);
    }
}

fn walk(path: &str, shape: Shape, place: Place<'_>, look: &mut dyn FnMut(&str, &'static Fields, Place<'_>)) {
    match shape {
        Shape::Object(fields) => {
            look(path, fields, place);
            for rule in fields.rules {
                let path =
                    if path.is_empty() { rule.name.to_owned() } else { format!("{path}.{}", rule.name) };
                let place = |value| place(with(fields, Some((rule.name, value))));
                walk(&path, rule.shape, &place, look);
            }
        }
        Shape::List(item) => walk(&format!("{path}[0]"), *item, &|value| place(json!([value])), look),
        _ => {}
    }
}

/// Calls for every field of every kind: its path, itself, and how to place a value of it.
fn each_field(look: &mut dyn FnMut(&str, &'static Rule, Place<'_>)) {
    each_object(&mut |path, fields, place| {
        for rule in fields.rules {
            let path = if path.is_empty() { rule.name.to_owned() } else { format!("{path}.{}", rule.name) };
            // Who the document is, is told without its name.
            if !["apiVersion", "kind", "metadata.name"].contains(&&*path) {
                look(&path, rule, &|value| place(with(fields, Some((rule.name, value)))));
            }
        }
    });
}

fn parse(document: &Value) -> ParsedFile {
    parse_file("fleet/sample.yaml", document.to_string().as_bytes())
}

fn told(document: &Value) -> Vec<String> {
    parse(document).problems.into_iter().map(|problem| problem.message).collect()
}

fn spec(document: &Value) -> Option<Spec> {
    parse(document).documents.first()?.object.as_ref().map(|object| object.spec.clone())
}

/// The words between two marks of a message.
fn listed<'a>(message: &'a str, before: &str, after: &str) -> Option<BTreeSet<&'a str>> {
    let (_, rest) = message.split_once(before)?;
    let words = rest.split(after).next()?;
    Some(words.split(", ").collect())
}

#[test]
fn the_tables_have_the_fields_that_the_parser_reads_and_no_others() {
    let mut objects = 0;
    each_object(&mut |path, fields, place| {
        let document = place(with(fields, Some((UNKNOWN, json!(1)))));
        let field = if path.is_empty() { UNKNOWN.to_owned() } else { format!("{path}.{UNKNOWN}") };
        let messages = told(&document);
        let message = messages.iter().find(|m| m.starts_with(&format!("{field} is no known field")));
        let message = message.unwrap_or_else(|| panic!("{field} is not refused: {messages:?}\n{document}"));
        let read = listed(message, "(valid fields are ", ")").unwrap_or_default();
        let known: BTreeSet<&str> = fields.rules.iter().map(|rule| rule.name).collect();
        assert_eq!(read, known, "{field}: the parser reads the left ones");
        objects += 1;
    });
    assert!(objects > 40, "{objects}");
}

#[test]
fn the_parser_takes_every_field_and_refuses_another_type_in_it() {
    each_field(&mut |path, rule, place| {
        let good = place(example(rule.shape));
        assert_eq!(told(&good), Vec::<String>::new(), "{path}\n{good}");
        let other = if matches!(rule.shape, Shape::List(_)) { json!("text") } else { json!([]) };
        assert!(spec(&place(other)).is_none(), "{path} is taken as another type");
        assert_eq!(spec(&place(Value::Null)).is_none(), rule.required, "{path} as null");
    });
}

#[test]
fn the_words_are_those_that_the_parser_takes() {
    each_field(&mut |path, rule, place| {
        let Some(words) = rule.shape.words() else { return };
        let messages = told(&place(json!(UNKNOWN)));
        let mark = format!("{path}: \"{UNKNOWN}\" is none of ");
        let message = messages.iter().find(|m| m.starts_with(&mark));
        let message = message.unwrap_or_else(|| panic!("{path} takes any word: {messages:?}"));
        assert_eq!(listed(message, &mark, ";"), Some(words.iter().copied().collect()), "{path}");
    });
}

#[test]
fn numbers_end_where_the_parser_ends_them() {
    each_field(&mut |path, rule, place| {
        let Shape::Whole(least, most) = rule.shape else { return };
        for (limit, beyond) in [(least, -1), (most, 1)] {
            let Some(limit) = limit else { continue };
            assert!(spec(&place(json!(limit))).is_some(), "{path}: {limit}");
            assert!(spec(&place(json!(limit + beyond))).is_none(), "{path}: {}", limit + beyond);
        }
    });
}

#[test]
fn a_default_is_what_holds_without_it() {
    let mut defaults = 0;
    each_field(&mut |path, rule, place| {
        let Some(default) = rule.default else { return };
        let given: Value = serde_json::from_str(default).expect(path);
        let without = spec(&place(Value::Null));
        assert!(without.is_some(), "{path}");
        assert_eq!(spec(&place(given)), without, "{path}");
        defaults += 1;
    });
    assert!(defaults > 15, "{defaults}");
}

#[test]
fn one_of_several_is_needed_where_the_tables_say_so() {
    each_object(&mut |path, fields, place| {
        let (Needs::Some(names)
        | Needs::One(names)
        | Needs::Apart(names, _)
        | Needs::Template(&Choice { some: names, .. })) = fields.needs
        else {
            return;
        };
        let object = |given: &[&str]| {
            let Value::Object(mut object) = with(fields, None) else { return Value::Null };
            names.iter().for_each(|name| _ = object.remove(*name));
            for name in given {
                let rule = fields.rule(name).expect("it is in the table");
                object.insert((*name).to_owned(), example(rule.shape));
            }
            Value::Object(object)
        };
        assert!(spec(&place(object(&[]))).is_none(), "{path}: none of {names:?}");
        for name in names {
            assert!(spec(&place(object(&[name]))).is_some(), "{path}: {name} alone");
        }
        let one = matches!(fields.needs, Needs::One(_) | Needs::Apart(..) | Needs::Template(_));
        assert_eq!(spec(&place(object(names))).is_none(), one, "{path}: all of {names:?}");
    });
}

/// What the JSON Schema says of documents.
struct Judge(boon::Schemas, boon::SchemaIndex);

impl Judge {
    fn new() -> Self {
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource("nave.json", json_schema(None)).expect("a schema");
        let index = compiler.compile("nave.json", &mut schemas).expect("a valid schema");
        Self(schemas, index)
    }

    fn takes(&self, document: &Value) -> bool {
        self.0.validate(document, self.1).is_ok()
    }
}

#[test]
fn the_json_schema_takes_and_refuses_what_the_parser_does() {
    let judge = Judge::new();
    each_object(&mut |path, fields, place| {
        let document = place(with(fields, Some((UNKNOWN, json!(1)))));
        assert!(!judge.takes(&document), "{path} with an unknown field");
    });
    each_field(&mut |path, rule, place| {
        let values = [
            json!(null),
            json!([]),
            json!({}),
            json!(true),
            json!(false),
            json!(0),
            json!(1),
            json!(-1),
            json!(101),
            json!(1.5),
            json!(""),
            json!(UNKNOWN),
            json!("A B"),
            json!("0%"),
            json!("100%"),
            json!("101%"),
            json!("5m"),
            json!("4Gi"),
            json!("/a"),
            json!("a/b"),
            json!("../a"),
            json!("facts.nodes"),
            json!([1]),
            json!([null]),
            json!({"a b": "c"}),
            json!({"a": 1}),
            json!({"a": null}),
            example(rule.shape),
        ];
        for value in values {
            let document = place(value.clone());
            if spec(&document).is_some() {
                assert!(judge.takes(&document), "{path}: the schema refuses {value}");
            }
        }
        assert!(judge.takes(&place(example(rule.shape))), "{path}");
        assert_eq!(judge.takes(&place(Value::Null)), !rule.required, "{path} as null");
        let other = if matches!(rule.shape, Shape::List(_)) { json!("text") } else { json!([]) };
        assert!(!judge.takes(&place(other)), "{path} as another type");
        if rule.shape.words().is_some() {
            assert!(!judge.takes(&place(json!(UNKNOWN))), "{path} as another word");
        }
    });
}

#[test]
fn every_line_is_a_sentence() {
    let mut lines: Vec<(String, &str)> = KINDS.map(|k| (k.to_string(), document(k).about)).to_vec();
    each_object(&mut |path, fields, _| {
        lines.extend(fields.rules.iter().map(|rule| (format!("{path}.{}", rule.name), rule.about)));
    });
    for (path, line) in lines {
        let begins_well = line.starts_with(|c: char| c.is_uppercase());
        assert!(begins_well && line.ends_with('.') && !line.contains('\n'), "{path}: {line}");
    }
}

/// Every object of a schema.
fn objects(schema: &Value, look: &mut dyn FnMut(&Value)) {
    match schema {
        Value::Object(map) => {
            if map.contains_key("properties") && map.contains_key("type") {
                look(schema);
            }
            map.values().for_each(|value| objects(value, look));
        }
        Value::Array(items) => items.iter().for_each(|item| objects(item, look)),
        _ => {}
    }
}

#[test]
fn the_json_schema_is_closed_and_described() {
    let all = json_schema(None);
    for kind in KINDS {
        let mut own = json_schema(Some(kind));
        own.as_object_mut().expect("an object").remove("$schema");
        assert_eq!(all["$defs"][kind.to_string()], own, "{kind}");
        objects(&own, &mut |object| {
            assert_eq!(object["additionalProperties"], json!(false), "{object}");
            let properties = object["properties"].as_object().expect("a mapping");
            assert!(properties.values().all(|p| p["description"].is_string()), "{object}");
        });
    }
    let adopt = &all["$defs"]["App"]["properties"]["spec"]["properties"]["adopt"];
    assert_eq!(adopt["enum"], json!(["Never", "IfEqual", "Always", null]));
    assert_eq!(adopt["default"], json!("IfEqual"));
}

#[test]
fn a_field_is_found_by_its_path_and_a_slip_is_told() {
    // (asked, the path and shape that are found, or the error)
    let rows: [(&str, Result<&str, &str>); 20] = [
        ("App", Ok(" object")),
        ("app.spec.source.path", Ok("spec.source.path path")),
        ("Placement.spec.tolerations[0].effect", Ok("spec.tolerations.effect word")),
        ("Cluster.spec.taints.key", Ok("spec.taints.key label key")),
        ("App.metadata.labels", Ok("metadata.labels labels")),
        ("Override.spec.priority", Ok("spec.priority whole number")),
        (
            "Placement.spec.pick.count",
            Ok("spec.pick.count whole number from 1, or percentage from 1% to 100%"),
        ),
        ("Placement.spec.pick.min", Ok("spec.pick.min whole number from 0")),
        ("Placement.spec.pick.spread.maxSkew", Ok("spec.pick.spread.maxSkew whole number from 1")),
        ("Placement.spec.pick.prefer.weight", Ok("spec.pick.prefer.weight whole number from 1 to 100")),
        ("rollout.spec.waves[0].pace.every", Ok("spec.waves.pace.every duration")),
        (
            "Rollout.spec.failure.max",
            Ok("spec.failure.max whole number from 0, or percentage from 0% to 100%"),
        ),
        ("Fleet.spec.guard.app.max", Ok("spec.guard.app.max percentage from 0% to 100%")),
        (
            "Ap",
            Err(
                "\"Ap\" is no known kind; did you mean App? (kinds are App, Catalog, Cluster, ClusterSet, Fleet, Override, Placement, Rollout)",
            ),
        ),
        ("catalog.spec.grants.maxClusters", Ok("spec.grants.maxClusters whole number from 1")),
        (
            "App.spec.source.paht",
            Err(
                "App.spec.source has no field paht; did you mean path? (fields are path, git, kustomize, helm, directories)",
            ),
        ),
        (
            "App.onRemove",
            Err(
                "App has no field onRemove; did you mean App.spec.onRemove? (fields are apiVersion, kind, metadata, spec)",
            ),
        ),
        ("ClusterSet.spec.x", Err("ClusterSet.spec has no field x (fields are parameters, windows, freeze)")),
        ("App.spec.adopt.x", Err("App.spec.adopt has no fields: it is a word")),
        (
            "",
            Err(
                "\"\" is no known kind (kinds are App, Catalog, Cluster, ClusterSet, Fleet, Override, Placement, Rollout)",
            ),
        ),
    ];
    for (asked, expected) in rows {
        let found = find(asked);
        let found = found.map(|found| format!("{} {}", found.path, found.rule.shape.word()));
        assert_eq!(
            found.map_err(|e| e.to_string()),
            expected.map(str::to_owned).map_err(str::to_owned),
            "{asked}"
        );
    }
}

#[test]
fn what_stands_beside_directories_says_no_place() {
    let judge = Judge::new();
    // (source, whether it is taken)
    let rows = [
        (json!({"directories": "../services/*"}), true),
        (json!({"directories": "../services/*", "helm": {}}), true),
        (
            json!({"directories": "web-*", "helm": {"chart": null, "valuesFiles": ["a.yaml"], "values": {"a": 1}}}),
            true,
        ),
        (json!({"directories": "./*/", "kustomize": {"components": ["c"]}}), true),
        (json!({"directories": "./*", "kustomize": {}, "helm": {}}), false),
        (json!({"directories": "./*", "helm": {"chart": "web"}}), false),
        (json!({"directories": "./*", "kustomize": {"path": "web"}}), false),
        (json!({"directories": "./*", "path": "web"}), false),
        (json!({"directories": "./*", "git": {"url": "https://git.example.com/shop"}}), false),
        (json!({"directories": "./*/*"}), false),
        (json!({"directories": "./**"}), false),
        (json!({"directories": "./web"}), false),
        (json!({"directories": "/services/*"}), false),
        (json!({"directories": "./[ab]*"}), false),
        (json!({"helm": {"values": {}}}), false),
        (json!({"kustomize": {"components": ["c"]}}), false),
    ];
    for (source, taken) in rows {
        let name = if source.get("directories").is_some() { "svc-*" } else { "svc" };
        let document = json!({"apiVersion": API_VERSION, "kind": "App", "metadata": {"name": name}, "spec": {"source": source}});
        assert_eq!(spec(&document).is_some(), taken, "{source}: {:?}", told(&document));
        assert_eq!(judge.takes(&document), taken, "{source}, by the schema");
    }
}
