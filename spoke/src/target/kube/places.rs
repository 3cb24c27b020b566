//! Places: a field's name in an API server's answer becomes a JSON pointer in the object that was sent.
//!
//! In: `.spec.template.spec.containers[name="web"].image`, the object. Out: `/spec/template/spec/containers/0/image`.
//! Never: guesses: names may hold dots, so the object itself tells where one ends.

use serde_json::Value;

/// The place of a field; `None` when the object has no such field.
pub(super) fn place(object: &Value, field: &str) -> Option<String> {
    if field.is_empty() {
        return Some(String::new());
    }
    if let Some(rest) = field.strip_prefix('.') {
        let fields = object.as_object()?;
        let ends = |name: &str| rest[name.len()..].is_empty() || rest[name.len()..].starts_with(['.', '[']);
        let mut names: Vec<_> = fields.keys().filter(|name| rest.starts_with(*name) && ends(name)).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        return names.into_iter().find_map(|name| {
            let below = place(&fields[name], &rest[name.len()..])?;
            Some(format!("/{}{below}", name.replace('~', "~0").replace('/', "~1")))
        });
    }
    let (inside, rest) = bracket(field)?;
    let items = object.as_array()?;
    let at = match inside.split_once('=') {
        None => inside.parse().ok().filter(|at| *at < items.len())?,
        Some(("", value)) => {
            let value: Value = serde_json::from_str(value).ok()?;
            items.iter().position(|item| *item == value)?
        }
        Some(_) => {
            let keys = keys(inside)?;
            // A key that was left out was filled in.
            let is = |item: &Value| keys.iter().all(|(k, v)| item.get(k).map_or(v == "TCP", |own| own == v));
            items.iter().position(is)?
        }
    };
    Some(format!("/{at}{}", place(&items[at], rest)?))
}

/// What is between the brackets that a field begins with, and what comes after; quotes may hold brackets.
fn bracket(field: &str) -> Option<(&str, &str)> {
    let rest = field.strip_prefix('[')?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ']' if !quoted => return Some((&rest[..at], &rest[at + 1..])),
            _ => {}
        }
    }
    None
}

/// `name="a",port=1`, as names and values.
fn keys(text: &str) -> Option<Vec<(String, Value)>> {
    let mut rest = text;
    let mut keys = Vec::new();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let mut values = serde_json::Deserializer::from_str(value).into_iter::<Value>();
        let read = values.next()?.ok()?;
        keys.push((name.to_owned(), read));
        rest = value[values.byte_offset()..].trim_start_matches(',');
    }
    Some(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_of_an_answer_is_found_in_the_object() {
        let object = json!({
            "data": {"a.b": "x", "a": {"b": 1}, "with/slash": 1},
            "spec": {"list": [{"name": "x]y", "port": 2}, {"name": "web", "port": 1, "image": "i"}], "set": ["a", "b"], "plain": [1, 2]},
        });
        let rows = [
            (".data.a.b", Some("/data/a.b")),
            (".data.with/slash", Some("/data/with~1slash")),
            (".spec.list[name=\"web\"].image", Some("/spec/list/1/image")),
            (".spec.list[name=\"web\",port=1].image", Some("/spec/list/1/image")),
            (".spec.list[name=\"x]y\",protocol=\"TCP\"].port", Some("/spec/list/0/port")),
            (".spec.list[name=\"none\"].image", None),
            (".spec.set[=\"b\"]", Some("/spec/set/1")),
            (".spec.plain[1]", Some("/spec/plain/1")),
            (".spec", Some("/spec")),
            (".spec.none", None),
        ];
        for (field, expected) in rows {
            assert_eq!(place(&object, field).as_deref(), expected, "{field}");
        }
    }
}
