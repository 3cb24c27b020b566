//! `hub app`.

use clap::Subcommand;
use nave_placement::Digest;
use nave_proto::v1;

use super::Exit;
use super::client::{Client, view};
use super::cluster::trouble;
use super::output::{Format, show, table};
use crate::operator::views::{AppRow, AppView, EntryView};

/// `hub app`.
#[derive(Subcommand)]
pub enum App {
    /// List apps, worst first
    List {
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show one app, per cluster
    Show {
        /// Which; CATALOG/APP for one of another catalog
        name: String,
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

impl App {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        match self {
            Self::List { output } => {
                let rows: Vec<AppRow> = view(client.app_list(v1::AppListRequest {}).await)?;
                show(output, &rows, |_| list(&rows), || rows.iter().map(|r| r.app.to_string()).collect())?;
            }
            Self::Show { name, output } => {
                let app: AppView = view(client.app_show(v1::AppRequest { app: name }).await)?;
                show(output, &app, |_| one(&app), || vec![app.row.app.to_string()])?;
            }
        }
        Ok(Exit::Done)
    }
}

fn short(version: Option<Digest>) -> String {
    version.map(|v| v.short()).unwrap_or_default()
}

fn list(rows: &[AppRow]) -> String {
    let cells = |row: &AppRow| {
        vec![
            row.app.to_string(),
            format!("{:?}", row.phase),
            short(row.version),
            row.commit.as_ref().map(|c| c.short().to_owned()).unwrap_or_default(),
            format!("{}/{}", row.converged, row.clusters),
            row.held.to_string(),
        ]
    };
    table(
        &["NAME", "STATE", "VERSION", "COMMIT", "CONVERGED", "HELD"],
        &rows.iter().map(cells).collect::<Vec<_>>(),
    )
}

fn one(app: &AppView) -> String {
    let mut text = list(std::slice::from_ref(&app.row));
    text += &format!(
        "\nplaced by {}\n",
        if app.placements.is_empty() { "nothing".into() } else { app.placements.join(", ") }
    );
    for problem in &app.problems {
        text += &format!("{problem}\n");
    }
    let rows: Vec<Vec<String>> = app
        .entries
        .iter()
        .map(|e| {
            let mut row = entry_row(e);
            row[0] = e.cluster.to_string();
            row
        })
        .collect();
    text + "\n" + &table(&["CLUSTER", "STATE", "VERSION", "RUNNING", "COMMIT", "OBJECTS", "MESSAGE"], &rows)
}

/// The cells of an entry; the first is the app.
pub(super) fn entry_row(entry: &EntryView) -> Vec<String> {
    vec![
        entry.app.to_string(),
        format!("{:?}", entry.phase),
        short(entry.version),
        short(entry.running),
        entry.commit.as_ref().map(|c| c.short().to_owned()).unwrap_or_default(),
        format!("{}/{}", entry.healthy, entry.objects),
        trouble(entry),
    ]
}
