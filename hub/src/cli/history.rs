//! `hub history`: who changed what and why, and what clusters were told at a moment.
//!
//! In: a [`HistoryView`] or a [`ThenView`]. Out: a line for each change, the newest first; or for each entry there was.
//! Never: says of a time before the records more than that it is not known.

use clap::Args;
use nave_proto::v1;

use super::Outcome;
use super::arguments::{Moment, moment};
use super::client::{Hub, document, request};
use super::output::{Format, Style, View, time};
use super::table::{Cell, Colour, Table};
use crate::operator::views::{HistoryLine, HistoryView, ThenView};
use crate::state::history::{Version, What};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "\
Every change of what a cluster is told has a line: what it was and became (the commits that changed it last), who wanted it and why.
With --at: what every cluster was told then. History reaches back 400 days, or 64 MiB; before that nothing is known.

Examples:
  hub history web
  hub history --cluster fra-1 --limit 200
  hub history web --at 2h
  hub history --at 2026-11-20T03:00:00Z -o json")]
pub struct Arguments {
    /// Only this app
    #[arg(default_value = "", hide_default_value = true)]
    app: String,
    /// Only this cluster; it need not be a member any more
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    cluster: String,
    /// What clusters were told at this time: RFC 3339, or so long ago, as `2h`
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Moment>,
    /// Lines
    #[arg(long, value_name = "NUMBER", default_value_t = 50, conflicts_with = "at")]
    limit: u32,
    #[command(flatten)]
    format: Format,
}

/// Prints it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let Arguments { app, cluster, at, limit, format } = arguments;
    let at_ms = at.map_or(0, Moment::millis);
    let asked = v1::HistoryRequest { app, cluster, at_ms, limit };
    let answer = document(client.history(request(asked)).await)?;
    match at {
        None => answer.print::<HistoryView>(format.output)?,
        Some(_) => answer.print::<ThenView>(format.output)?,
    }
    Ok(Outcome::Done)
}

/// From what to what: by commits, and where these are the same by versions.
fn change(line: &HistoryLine) -> String {
    let (from, to) = (line.change.from.as_ref(), line.change.to.as_ref());
    let same = from.zip(to).is_some_and(|(from, to)| from.commit == to.commit);
    let short = |version: &Version| match same {
        true => version.version.short().to_string(),
        false => version.commit.short().to_owned(),
    };
    match (from, to) {
        (Some(from), Some(to)) if from == to => short(to),
        (from, to) => {
            let side = |version: Option<&Version>| version.map_or_else(|| "-".to_owned(), short);
            format!("{} → {}", side(from), side(to))
        }
    }
}

fn colour(what: What) -> Option<Colour> {
    match what {
        What::Removed | What::Detached => Some(Colour::Red),
        What::Returned | What::Pruned => Some(Colour::Yellow),
        _ => None,
    }
}

impl View for HistoryView {
    fn text(&self, style: Style) -> String {
        let headers = ["WHEN", "APP", "CLUSTERS", "WHAT", "CHANGE", "WHO", "WHY"];
        let mut table = match style.is_wide {
            false => Table::new(headers),
            true => Table::of(headers.into_iter().chain(["PLACEMENTS", "VERSION"]).map(Cell::from).collect()),
        };
        for line in &self.lines {
            let what = &line.change;
            let mut cells: Vec<Cell> = vec![
                time(line.at_ms).into(),
                match &what.formerly {
                    Some(formerly) => format!("{} (was {formerly})", what.app).into(),
                    None => what.app.to_string().into(),
                },
                style.clusters(&what.clusters).into(),
                Cell::from(format!("{:?}", what.what))
                    .paint(colour(what.what).and_then(|colour| style.colour(colour))),
                change(line).into(),
                line.who.clone().into(),
                style.message(&line.why).into(),
            ];
            if style.is_wide {
                cells.push(what.placements.join(",").into());
                cells.push(what.to.as_ref().map(|to| to.version.to_string()).unwrap_or_default().into());
            }
            table.row_of(cells);
        }
        let mut text =
            if table.is_empty() { "No change is recorded.\n".to_owned() } else { table.to_string() };
        match self.begins_ms {
            _ if self.more => text += "There are older ones; --limit shows more.\n",
            Some(begins_ms) => text += &format!("History begins at {}.\n", time(begins_ms)),
            None => {}
        }
        text + &left_out(self.left_out)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.lines.iter().map(|line| line.change.app.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn left_out(count: usize) -> String {
    match count {
        0 => String::new(),
        count => format!("{count} more changes had no room when they were recorded.\n"),
    }
}

impl View for ThenView {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["APP", "CLUSTER", "VERSION", "COMMIT", "SINCE", "WHO", "WHY"]);
        for row in &self.entries {
            let since = match row.since_ms {
                Some(since_ms) => time(since_ms),
                None => format!("before {}", time(self.begins_ms)),
            };
            table.row([
                row.app.to_string().into(),
                row.cluster.as_str().into(),
                row.version.version.short().to_string().into(),
                row.version.commit.short().into(),
                since.into(),
                row.who.clone().into(),
                style.message(&row.why).into(),
            ]);
        }
        let text =
            if table.is_empty() { "Nothing was told to anybody.\n".to_owned() } else { table.to_string() };
        text + &left_out(self.left_out)
    }

    fn names(&self) -> Vec<String> {
        self.entries.iter().map(|row| format!("{}/{}", row.cluster, row.app)).collect()
    }
}
