//! `hub version`: what this is, and what it can talk to.

use clap::Args;
use nave_proto::limits::VERSIONS;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::output::{Document, Format, Style, View};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub version -o json")]
pub struct Arguments {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize, Deserialize)]
struct VersionView {
    version: String,
    protocol: ProtocolView,
}

#[derive(Serialize, Deserialize)]
struct ProtocolView {
    min: u32,
    max: u32,
}

/// Prints it.
pub fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let protocol = ProtocolView { min: *VERSIONS.start(), max: *VERSIONS.end() };
    let view = VersionView { version: env!("CARGO_PKG_VERSION").to_owned(), protocol };
    Document::of(&view)?.print::<VersionView>(arguments.format.output)?;
    Ok(Outcome::Done)
}

impl View for VersionView {
    fn text(&self, _: Style) -> String {
        format!("hub {} (protocol {}-{})\n", self.version, self.protocol.min, self.protocol.max)
    }

    fn names(&self) -> Vec<String> {
        vec![self.version.clone()]
    }
}
