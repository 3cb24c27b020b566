//! Bookless: an object without the books of who manages which of its fields. They are most of an object's metadata, and
//! read they are some ten times as large as written: a small tree of maps for each field.
//!
//! In: an object's JSON. Out: the object without `metadata.managedFields`. Never: holds them, even while it reads.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

/// An object, read without its books.
#[derive(Clone, Debug)]
pub(super) struct Bookless(pub Value);

impl<'de> Deserialize<'de> for Bookless {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Part::Object.deserialize(deserializer).map(Self)
    }
}

/// Which part of it is read.
#[derive(Clone, Copy)]
enum Part {
    Object,
    Metadata,
}

impl<'de> DeserializeSeed<'de> for Part {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Part {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Metadata => "an object's metadata",
        })
    }

    /// What is null is as good as absent.
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            match (self, name.as_str()) {
                (Self::Object, "metadata") => {
                    fields.insert(name, map.next_value_seed(Self::Metadata)?);
                }
                (Self::Metadata, "managedFields") => drop(map.next_value::<IgnoredAny>()?),
                _ => drop(fields.insert(name, map.next_value()?)),
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_the_books_is_read() {
        let rows = [
            (
                r#"{"kind":"A","metadata":{"name":"a","managedFields":[{"fieldsV1":{"f:data":{}}}],"labels":{"b":"c"}}}"#,
                json!({"kind": "A", "metadata": {"name": "a", "labels": {"b": "c"}}}),
            ),
            // Only there are they books.
            (
                r#"{"managedFields":1,"spec":{"metadata":{"managedFields":2}},"metadata":{"annotations":{"managedFields":"3"}}}"#,
                json!({"managedFields": 1, "spec": {"metadata": {"managedFields": 2}}, "metadata": {"annotations": {"managedFields": "3"}}}),
            ),
            (r#"{"metadata":null}"#, json!({"metadata": null})),
        ];
        for (text, expected) in rows {
            let Bookless(read) = serde_json::from_str(text).expect(text);
            assert_eq!(read, expected, "{text}");
        }
        for text in ["[]", "1", r#"{"metadata":[]}"#, r#"{"metadata":{"managedFields":[}}"#] {
            assert!(serde_json::from_str::<Bookless>(text).is_err(), "{text}");
        }
    }
}
