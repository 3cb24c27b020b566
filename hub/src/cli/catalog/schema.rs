//! `hub catalog schema` and `hub catalog explain`: the reference of the catalog, for editors and for people.
//!
//! In: a kind, or a field's path. Out: JSON Schema; what a field says, as `kubectl explain` does.
//! Never: asks the hub; knows a field that this version does not read.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use nave_placement::catalog::API_VERSION;
use nave_placement::catalog::schema::{Choice, Fields, Found, Needs, find, json_schema, kind};

use crate::cli::Outcome;
use crate::cli::output::print;
use crate::cli::table::Table;

/// The arguments of `schema`.
#[derive(Args)]
pub struct Schema {
    /// Only this kind, e.g. App [default: all, told apart by their kind]
    kind: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// As editors take it
    #[default]
    Json,
    /// The same
    Yaml,
}

/// The arguments of `explain`.
#[derive(Args)]
pub struct Explain {
    /// A kind, or a field of it: App, App.spec.source, Placement.spec.pick.spread
    #[arg(value_name = "KIND[.FIELD]")]
    path: String,
}

/// Prints the schema.
pub fn schema(arguments: &Schema) -> anyhow::Result<Outcome> {
    let only = arguments.kind.as_deref().map(kind).transpose()?;
    let schema = json_schema(only);
    print(&match arguments.output {
        Form::Json => serde_json::to_string_pretty(&schema)? + "\n",
        Form::Yaml => serde_saphyr::to_string(&schema)?,
    })?;
    Ok(Outcome::Done)
}

/// Explains a field.
pub fn explain(arguments: &Explain) -> anyhow::Result<Outcome> {
    print(&text(&find(&arguments.path)?))?;
    Ok(Outcome::Done)
}

fn text(found: &Found) -> String {
    let Found { kind, path, rule } = found;
    let mut text = format!("KIND:     {kind}\nVERSION:  {API_VERSION}\n");
    if !path.is_empty() {
        let required = if rule.required { ", required" } else { "" };
        let _ = writeln!(text, "FIELD:    {path} <{}{required}>", rule.shape.word());
    }
    if let Some(words) = rule.shape.words() {
        let _ = writeln!(text, "ONE OF:   {}", words.join(", "));
    }
    if let Some(default) = rule.default {
        let _ = writeln!(text, "DEFAULT:  {default}");
    }
    let _ = writeln!(text, "\n{}", rule.about);
    if let Some(fields) = rule.shape.fields() {
        let _ = write!(text, "\n{}", table(fields));
    }
    text
}

fn table(fields: &Fields) -> String {
    let mut table = Table::new(["FIELD", "TYPE", "DEFAULT", "DESCRIPTION"]);
    for rule in fields.rules {
        let type_ = rule.shape.words().map_or_else(|| rule.shape.word(), |words| words.join("|"));
        let default = if rule.required { "(required)" } else { rule.default.unwrap_or_default() };
        table.row([rule.name.into(), type_.into(), default.into(), rule.about.into()]);
    }
    let needs = match fields.needs {
        Needs::Nothing => String::new(),
        Needs::Some(names) => format!("\nAt least one of {} is needed.\n", names.join(", ")),
        Needs::Apart(names, pairs) | Needs::Template(&Choice { some: names, apart: pairs, .. }) => {
            let pairs: Vec<String> = pairs.iter().map(|pair| pair.join(" with ")).collect();
            format!("\nAt least one of {} is needed; not {}.\n", names.join(", "), pairs.join(", "))
        }
        Needs::One(names) => format!("\nExactly one of {} is needed.\n", names.join(", ")),
    };
    format!("{table}{needs}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(path: &str) -> String {
        find(path).map_or_else(|error| error.to_string(), |found| text(&found))
    }

    #[test]
    fn a_field_is_explained_with_its_words_its_default_and_what_it_says() {
        assert_eq!(
            explained("app.spec.onRemove"),
            "KIND:     App\n\
             VERSION:  nave.dev/v1alpha1\n\
             FIELD:    spec.onRemove <word>\n\
             ONE OF:   Delete, Orphan\n\
             DEFAULT:  \"Delete\"\n\
             \n\
             What happens to its objects when the app leaves a cluster; Orphan: they stay, and are ours no longer.\n"
        );
    }

    #[test]
    fn an_object_is_explained_with_its_fields_and_what_it_needs() {
        assert_eq!(
            explained("Placement.spec.apps"),
            "KIND:     Placement\n\
             VERSION:  nave.dev/v1alpha1\n\
             FIELD:    spec.apps <object, required>\n\
             \n\
             Which apps of the same catalog; all given terms must hold.\n\
             \n\
             FIELD     TYPE          DEFAULT  DESCRIPTION\n\
             names     list of name           Apps by name.\n\
             selector  object                 Apps by their labels; {} is every app.\n\
             \n\
             At least one of names, selector is needed.\n"
        );
    }

    #[test]
    fn a_slip_names_what_was_meant() {
        let told = explained("App.spec.dirft");
        assert!(told.starts_with("App.spec has no field dirft; did you mean drift?"), "{told}");
    }
}
