//! Further catalogs in the hub's configuration: what a `Catalog` of the root catalog says, and its name.
//!
//! In: `catalogs`. Out: the documents that the root catalog is read with. Never: takes one that is not whole.

use std::collections::BTreeSet;
use std::path::Path;

use nave_placement::catalog::{API_VERSION, parse_file};
use serde_json::{Map, Value, json};
use serde_saphyr::Spanned;

use super::{Wrong, wrong};
use crate::deciding::revision::Configured;

/// Each of them stands at its line of the configuration, so that what is said of it later leads there.
pub(super) fn checked(catalogs: &[Spanned<Value>], file: &Path) -> Result<Option<Configured>, Wrong> {
    if catalogs.is_empty() {
        return Ok(None);
    }
    let file = file.to_string_lossy();
    let (mut text, mut lines) = (String::new(), 1);
    let mut names = BTreeSet::new();
    for written in catalogs {
        let Value::Object(fields) = &written.value else {
            return wrong(written, "a catalog has name, git and grants");
        };
        let mut spec: Map<String, Value> = fields.clone();
        let Some(Value::String(name)) = spec.remove("name") else {
            return wrong(written, "a catalog needs a name: write name: team-a");
        };
        if !names.insert(name.clone()) {
            return wrong(written, format!("there are two catalogs {name:?}; give one another name"));
        }
        let document =
            json!({"apiVersion": API_VERSION, "kind": "Catalog", "metadata": {"name": name}, "spec": spec});
        let line = written.referenced.line();
        while lines < line {
            text.push('\n');
            lines += 1;
        }
        text.push_str(&format!("--- {document}\n"));
        lines += 1;
    }
    let parsed = parse_file(&file, text.as_bytes());
    if let Some(problem) = parsed.problems.iter().find(|problem| problem.is_error()) {
        // The document is made here: its fields are named as they stand in the configuration.
        let at = catalogs.iter().rposition(|written| written.referenced.line() <= u64::from(problem.line));
        let message = problem.message.replace("spec.", &format!("catalogs[{}].", at.unwrap_or_default()));
        return Err(Wrong { line: problem.line.into(), message });
    }
    Ok(Some(Configured { file: (&*file).into(), text: text.into_bytes().into() }))
}
