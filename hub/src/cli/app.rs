//! `hub app`: apps, and how they stand where.
//!
//! In: [`AppRow`]s and an [`AppView`]. Out: tables, worst first.
//! Never: decides an order of its own; the hub's is worst first.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use nave_proto::v1;

use super::Outcome;
use super::client::{Hub, document, request};
use super::output::{Format, Style, View};
use super::table::{Cell, Table};
use crate::operator::views::{AppRow, AppView, DependencyView, EntryView};

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand)]
enum Order {
    /// List apps, worst first
    #[command(after_help = "Example: hub app list -o wide")]
    List {
        #[command(flatten)]
        format: Format,
    },
    /// Show an app on each of its clusters
    #[command(after_help = "Example: hub app show web")]
    Show {
        /// The app
        name: String,
        #[command(flatten)]
        format: Format,
    },
}

/// Does it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    match arguments.order {
        Order::List { format } => {
            let answer = document(client.app_list(request(v1::AppListRequest {})).await)?;
            answer.print::<Vec<AppRow>>(format.output)?;
        }
        Order::Show { name, format } => {
            let answer = document(client.app_show(request(v1::AppRequest { app: name })).await)?;
            answer.print::<AppView>(format.output)?;
        }
    }
    Ok(Outcome::Done)
}

impl View for Vec<AppRow> {
    fn text(&self, style: Style) -> String {
        if self.is_empty() {
            return "There is no app in the catalog.\n".to_owned();
        }
        let mut table = Table::new(["APP", "STATE", "CONVERGED", "HELD", "VERSION", "COMMIT"]);
        for row in self {
            table.row([
                row.app.to_string().into(),
                Cell::from(format!("{:?}", row.phase)).paint(style.of(row.phase)),
                format!("{}/{}", row.converged, row.clusters).into(),
                row.held.to_string().into(),
                version(row.version.as_ref()).into(),
                row.commit.as_ref().map(|commit| commit.short()).unwrap_or_default().into(),
            ]);
        }
        table.to_string()
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|row| row.app.to_string()).collect()
    }
}

impl View for AppView {
    fn text(&self, style: Style) -> String {
        let row = &self.row;
        let state = Cell::from(format!("{:?}", row.phase)).paint(style.of(row.phase));
        let mut text = format!("App {}: {state}, {} of {} converged", row.app, row.converged, row.clusters);
        match (&row.version, &row.commit) {
            (Some(version), Some(commit)) => {
                let source = row.source.as_ref().map(|at| format!(" with its source {}", at.short()));
                let source = source.unwrap_or_default();
                let _ = writeln!(text, "; version {} of commit {}{source}", version.short(), commit.short());
            }
            _ => text.push_str("; not rendered\n"),
        }
        for DependencyView { chart, repository, at } in &self.dependencies {
            let _ = writeln!(text, "  with chart {chart} {} of {repository}", at.short());
        }
        let placements =
            if self.placements.is_empty() { "none".to_owned() } else { self.placements.join(", ") };
        let _ = writeln!(text, "Placements: {placements}");
        for pin in &self.pins {
            let _ = writeln!(text, "Pinned: {}", pin.message);
        }
        for pause in &self.pauses {
            let _ = writeln!(text, "Paused: {pause}");
        }
        if self.protected {
            let _ = writeln!(text, "Protected: it leaves no cluster before that is approved");
        }
        for problem in &self.problems {
            let _ = writeln!(text, "{problem}");
        }
        if !self.entries.is_empty() {
            let first = |entry: &EntryView| entry.cluster.to_string();
            let _ = write!(text, "\n{}", entries("CLUSTER", &self.entries, first, style));
            text.push_str(&details(&self.entries, style));
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.entries.iter().map(|entry| entry.cluster.to_string()).collect()
    }
}

fn version(version: Option<&nave_placement::Digest>) -> String {
    version.map(|version| version.short().to_string()).unwrap_or_default()
}

/// Every object that is not well, and every one of which something is to be said: which, why, and by whom.
fn details(entries: &[EntryView], style: Style) -> String {
    let mut table = Table::new(["CLUSTER", "OBJECT", "WHAT", "DETAILS"]);
    let mut any = false;
    for entry in entries {
        for object in entry.unhealthy.iter().chain(&entry.notes) {
            any = true;
            table.row([
                entry.cluster.to_string().into(),
                object.key.to_string().into(),
                object.reason.clone().into(),
                style.message(&object.message).into(),
            ]);
        }
    }
    if any { format!("\n{table}") } else { String::new() }
}

/// Entries, with a first column that tells them apart.
pub fn entries(
    header: &str,
    entries: &[EntryView],
    first: impl Fn(&EntryView) -> String,
    style: Style,
) -> String {
    let mut table = Table::new([
        header,
        "STATE",
        "HEALTHY",
        "VERSION",
        "RUNNING",
        "CORRECTED",
        "DRIFTED",
        "OBJECT",
        "MESSAGE",
    ]);
    for entry in entries {
        let worst = entry.unhealthy.first();
        let message =
            worst.map_or(entry.message.clone(), |object| format!("{}: {}", object.reason, object.message));
        table.row([
            first(entry).into(),
            Cell::from(format!("{:?}", entry.phase)).paint(style.of(entry.phase)),
            format!("{}/{}", entry.healthy, entry.objects).into(),
            version(entry.version.as_ref()).into(),
            version(entry.running.as_ref()).into(),
            entry.corrected.to_string().into(),
            entry.drifted.to_string().into(),
            worst.map(|object| object.key.to_string()).unwrap_or_default().into(),
            style.message(message.trim_start_matches(": ")).into(),
        ]);
    }
    table.to_string()
}
