//! JSON Schema (2020-12) from the tables, for editors and for CI.
//!
//! In: a kind, or none for all. Out: the schema. Never: refuses what the parser takes. (The parser refuses more: what a
//! pattern cannot say, and what depends on other objects.)

use serde_json::{Map, Value, json};

use super::form::AMOUNT;
use super::{Choice, Fields, Form, Needs, Rule, Shape, document};
use crate::catalog::parse::KINDS;
use crate::catalog::{API_VERSION, Kind};

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of one kind's documents, or of a document of any kind.
pub fn json_schema(kind: Option<Kind>) -> Value {
    if let Some(kind) = kind {
        let mut schema = titled(kind);
        schema["$schema"] = json!(DIALECT);
        return schema;
    }
    let of_kind = |kind: &Kind| {
        json!({
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"$ref": format!("#/$defs/{kind}")},
        })
    };
    let schemas: Map<String, Value> = KINDS.iter().map(|kind| (kind.to_string(), titled(*kind))).collect();
    json!({
        "$schema": DIALECT,
        "title": "Nave catalog",
        "description": format!("A document of a catalog: apiVersion {API_VERSION}."),
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"enum": KINDS, "description": "What the document is."},
        },
        // One by one, so that what is wrong is told of the kind that was meant.
        "allOf": KINDS.iter().map(of_kind).collect::<Vec<_>>(),
        "$defs": schemas,
    })
}

fn titled(kind: Kind) -> Value {
    let rule = document(kind);
    let mut schema = field(&Rule { required: true, ..*rule });
    schema["title"] = json!(rule.name);
    schema
}

/// Of a field: null, where it may be absent, is the same as absent.
fn field(rule: &Rule) -> Value {
    let mut schema = value(rule.shape);
    if !rule.required {
        let kinds = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().chain([&json!("null")]).cloned().collect(),
            kind => json!([kind, "null"]),
        };
        schema["type"] = kinds;
        if let Some(Value::Array(ways)) = schema.get_mut("oneOf") {
            ways.push(json!({"type": "null"}));
        }
        if let Some(Value::Array(words)) = schema.get_mut("enum") {
            words.push(Value::Null);
        }
    }
    schema["description"] = json!(rule.about);
    if let Some(default) = rule.default {
        schema["default"] = serde_json::from_str(default).unwrap_or(Value::Null);
    }
    schema
}

fn value(shape: Shape) -> Value {
    match shape {
        Shape::Word(word) => json!({"type": "string", "const": word}),
        Shape::Choice(words) => json!({"type": "string", "enum": words}),
        Shape::Text(form) => text(form),
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Affirmed => json!({"type": "boolean", "enum": [true]}),
        Shape::Whole(least, most) => {
            let mut schema = json!({"type": "integer"});
            for (name, limit) in [("minimum", least), ("maximum", most)] {
                if let Some(limit) = limit {
                    schema[name] = json!(limit);
                }
            }
            schema
        }
        Shape::Count(least) => json!({
            "type": ["integer", "string"], "minimum": least, "maximum": u32::MAX, "pattern": Form::Percent.pattern(),
        }),
        Shape::Amounts => {
            json!({
                "type": "object",
                "additionalProperties": {"type": ["number", "string"], "minimum": 0, "pattern": AMOUNT},
            })
        }
        Shape::Labels => json!({
            "type": "object",
            "propertyNames": text(Form::LabelKey),
            "additionalProperties": text(Form::LabelValue),
        }),
        Shape::Strings => json!({"type": "object", "additionalProperties": {"type": "string"}}),
        Shape::Any => json!({"type": "object"}),
        Shape::Patch => json!({
            "type": ["array", "object", "string"], "items": {"type": "object"}, "minItems": 1, "minProperties": 1,
        }),
        Shape::Object(fields) => object(fields),
        Shape::List(item) => json!({"type": "array", "items": value(*item)}),
    }
}

fn text(form: Form) -> Value {
    let mut schema = json!({"type": "string"});
    if let Some(pattern) = form.pattern() {
        schema["pattern"] = json!(pattern);
    }
    if let Some(longest) = form.longest() {
        schema["maxLength"] = json!(longest);
    }
    schema
}

fn object(fields: &Fields) -> Value {
    let properties: Map<String, Value> =
        fields.rules.iter().map(|rule| (rule.name.to_owned(), field(rule))).collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    let required: Vec<&str> = fields.rules.iter().filter(|r| r.required).map(|r| r.name).collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    // One that is null is as absent, so it has to be something.
    let given = |name: &&str| json!({"required": [name], "properties": {*name: {"not": {"type": "null"}}}});
    match fields.needs {
        Needs::Nothing => {}
        Needs::Some(names) => schema["anyOf"] = names.iter().map(given).collect(),
        Needs::Apart(names, pairs) => {
            let pair = |pair: &[&str; 2]| json!({"allOf": pair.iter().map(given).collect::<Vec<_>>()});
            schema["anyOf"] = names.iter().map(given).collect();
            schema["not"] = json!({"type": "object", "anyOf": pairs.iter().map(pair).collect::<Vec<_>>()});
        }
        Needs::Template(&Choice { some, apart, template, places }) => {
            let pair = |pair: &[&str; 2]| json!({"allOf": pair.iter().map(given).collect::<Vec<_>>()});
            schema["anyOf"] = some.iter().map(given).collect();
            schema["not"] = json!({"type": "object", "anyOf": apart.iter().map(pair).collect::<Vec<_>>()});
            let (mut with, mut without) = (Map::new(), Map::new());
            for (engine, place) in places {
                let object = &mut schema["properties"][*engine];
                if let Some(required) = object["required"].as_array_mut() {
                    required.retain(|name| name != place);
                }
                object["properties"][*place]["type"] = json!(["string", "null"]);
                without.insert((*engine).to_owned(), given(place));
                with.insert((*engine).to_owned(), json!({"properties": {*place: {"type": "null"}}}));
            }
            schema["if"] = given(&template);
            schema["then"] = json!({"properties": with});
            schema["else"] = json!({"properties": without});
        }
        Needs::One(names) => {
            // What is no object has, to a schema, all of them.
            let one = |name: &&str| {
                let mut given = given(name);
                given["not"] = json!({"type": "null"});
                given
            };
            schema["oneOf"] = names.iter().map(one).collect();
        }
    }
    schema
}
