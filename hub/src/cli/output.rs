//! Output: one document, in the form that was asked for.
//!
//! In: the hub's documents. Out: tables for people; JSON, YAML or names for scripts, on stdout.
//! Never: prints JSON that lacks a field of the document, colours what is not a terminal.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nave_placement::ClusterName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::table::{Colour, one_line};
use crate::operator::views::Phase;

/// Characters of a message in a table that is not wide.
const MESSAGE: usize = 120;

/// The forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// For people, with everything
    Wide,
    /// The whole document
    Json,
    /// The whole document
    Yaml,
    /// One name a line
    Name,
}

/// `-o`.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// How to print it
    #[arg(short, long, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Output,
}

/// How text for people is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Everything, however long.
    pub is_wide: bool,
    /// With colours.
    pub is_coloured: bool,
    /// No terminal: a program reads it, and long lines do no harm.
    pub is_piped: bool,
}

impl Style {
    /// The colour of a phase.
    pub fn of(self, phase: Phase) -> Option<Colour> {
        self.is_coloured.then_some(match phase {
            Phase::Failed | Phase::Degraded | Phase::Held => Colour::Red,
            Phase::Converged => Colour::Green,
            _ => Colour::Yellow,
        })
    }

    /// A colour, if there are any.
    pub fn colour(self, colour: Colour) -> Option<Colour> {
        self.is_coloured.then_some(colour)
    }

    /// A message, shortened where there is no room.
    pub fn message(self, text: &str) -> String {
        let text = one_line(text);
        if self.is_wide || self.is_piped || text.chars().count() <= MESSAGE {
            return text;
        }
        text.chars().take(MESSAGE - 1).chain(['…']).collect()
    }

    /// Names of clusters: `a, b, +3`, or all of them.
    pub fn clusters(self, names: &[ClusterName]) -> String {
        let shown = if self.is_wide || names.len() <= 3 { names.len() } else { 2 };
        let mut text = names[..shown].iter().map(|n| n.as_str()).collect::<Vec<_>>().join(", ");
        if shown < names.len() {
            text.push_str(&format!(", +{}", names.len() - shown));
        }
        text
    }
}

/// A document that people can read.
pub trait View: DeserializeOwned {
    /// As text, ending with a new line.
    fn text(&self, style: Style) -> String;
    /// The names in it.
    fn names(&self) -> Vec<String>;
}

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct Document(Value);

impl Document {
    /// Reads what a hub sent.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn read(json: &[u8]) -> anyhow::Result<Self> {
        Ok(Self(serde_json::from_slice(json).context("the hub's answer cannot be read")?))
    }

    /// Of something that was made here.
    ///
    /// # Errors
    /// When it cannot be JSON.
    pub fn of(view: &impl Serialize) -> anyhow::Result<Self> {
        Ok(Self(serde_json::to_value(view)?))
    }

    /// With another value of a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        if let Value::Object(fields) = &mut self.0 {
            fields.insert(field.to_owned(), value.into());
        }
        self
    }

    /// Typed.
    ///
    /// # Errors
    /// When it has another shape, since the hub is newer than this program.
    pub fn view<V: DeserializeOwned>(&self) -> anyhow::Result<V> {
        V::deserialize(&self.0)
            .context("the hub's answer has another shape; is the hub newer than this program?")
    }

    /// As JSON in one line.
    ///
    /// # Errors
    /// When it cannot be JSON.
    pub fn line(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(&self.0)?)
    }

    /// As JSON for people, ending with a new line.
    ///
    /// # Errors
    /// When it cannot be JSON.
    pub fn pretty(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(&self.0)? + "\n")
    }

    /// In the form that was asked for.
    ///
    /// # Errors
    /// When a table is asked for and the shape is another.
    pub fn render<V: View>(&self, output: Output) -> anyhow::Result<String> {
        Ok(match output {
            Output::Json => self.pretty()?,
            Output::Yaml => serde_saphyr::to_string(&self.0).context("cannot write it as YAML")?,
            Output::Name => self.view::<V>()?.names().iter().map(|name| format!("{name}\n")).collect(),
            Output::Table | Output::Wide => {
                let is_piped = !io::stdout().is_terminal();
                let (is_wide, is_coloured) = (output == Output::Wide, is_coloured());
                self.view::<V>()?.text(Style { is_wide, is_coloured, is_piped })
            }
        })
    }

    /// Prints it.
    ///
    /// # Errors
    /// As [`Document::render`], or when stdout cannot be written.
    pub fn print<V: View>(&self, output: Output) -> anyhow::Result<()> {
        print(&self.render::<V>(output)?)
    }
}

/// Whether stdout is a terminal that wants colours.
pub fn is_coloured() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Writes text to stdout.
///
/// # Errors
/// When it cannot be written.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Whether the reader of our stdout went away.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// A time of Unix milliseconds, to the second.
pub fn time(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).ok().and_then(|s| jiff::Timestamp::from_second(s).ok());
    seconds.map(|t| t.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clusters_are_shortened_to_what_fits() {
        let names: Vec<ClusterName> =
            ["a", "b", "c", "d", "e"].iter().map(|n| n.parse().expect("a name")).collect();
        let (narrow, wide) = (Style::default(), Style { is_wide: true, ..Style::default() });
        assert_eq!(narrow.clusters(&names), "a, b, +3");
        assert_eq!(narrow.clusters(&names[..3]), "a, b, c");
        assert_eq!(narrow.clusters(&names[..1]), "a");
        assert_eq!(narrow.clusters(&[]), "");
        assert_eq!(wide.clusters(&names), "a, b, c, d, e");
    }

    #[test]
    fn times_are_utc_to_the_second() {
        assert_eq!(time(1_700_000_000_999), "2023-11-14T22:13:20Z");
    }
}
