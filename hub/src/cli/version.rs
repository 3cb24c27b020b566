//! `hub version`: what this is, what it can talk to, and which engines it finds on this machine.

use clap::Args;
use nave_proto::limits::VERSIONS;
use serde::{Deserialize, Serialize};

use std::fmt::Write as _;

use super::Outcome;
use super::output::{Document, Format, Style, View};
use crate::engines::{Binary, Engines, Paths, Report};

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
    engines: Vec<EngineView>,
}

/// What renders charts and kustomizations on this machine.
#[derive(Serialize, Deserialize)]
struct EngineView {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What it is kept from while it renders.
    confinement: String,
}

#[derive(Serialize, Deserialize)]
struct ProtocolView {
    min: u32,
    max: u32,
}

/// Prints it.
pub async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let engines = Engines::new(std::env::temp_dir(), Paths::default());
    let confinement = engines.confinement().await;
    let engines = engines.report().await.into_iter().map(|report| EngineView::of(report, &confinement));

    let protocol = ProtocolView { min: *VERSIONS.start(), max: *VERSIONS.end() };
    let view =
        VersionView { version: env!("CARGO_PKG_VERSION").to_owned(), protocol, engines: engines.collect() };
    Document::of(&view)?.print::<VersionView>(arguments.format.output)?;
    Ok(Outcome::Done)
}

impl EngineView {
    fn of(report: Report, confinement: &str) -> Self {
        let (name, confinement) = (report.engine.to_owned(), confinement.to_owned());
        match report.binary {
            Ok(Binary { path, version, .. }) => Self {
                name,
                version: Some(version),
                path: Some(path.display().to_string()),
                problem: None,
                confinement,
            },
            Err(problem) => Self { name, version: None, path: None, problem: Some(problem), confinement },
        }
    }
}

impl View for VersionView {
    fn text(&self, _: Style) -> String {
        let mut text =
            format!("hub {} (protocol {}-{})\n", self.version, self.protocol.min, self.protocol.max);
        for EngineView { name, version, path, problem, confinement } in &self.engines {
            let _ = match (version, path) {
                (Some(version), Some(path)) => writeln!(text, "{name} {version} ({path}), {confinement}"),
                _ => writeln!(text, "no {name}: {}", problem.as_deref().unwrap_or_default()),
            };
        }
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.version.clone()]
    }
}
