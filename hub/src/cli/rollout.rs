//! `hub rollout`: how changed apps move through their clusters.
//!
//! In: [`RolloutRow`]s and [`RolloutView`]s. Out: what is under way, what it waits for, and who stops it.
//! Never: carries an order out itself.

use std::fmt::Write as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use nave_proto::v1::{self, rollout_order_request::Order as Kind};

use super::Outcome;
use super::client::{Client, Hub, document, request};
use super::output::{Document, Format, Output, Style, View, print, time};
use super::status::{count, redraw};
use super::table::{Cell, Colour, Table};
use crate::operator::views::{DoneView, RolloutPhase, RolloutRow, RolloutView, WaveState, WaveView};

/// How often a watched rollout is asked for.
const WATCH: Duration = Duration::from_secs(1);
/// Columns of a bar.
const BAR: usize = 24;
/// Clusters that a line of a wave names.
const NAMES: usize = 5;

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    order: Order,
}

/// What an order is about.
#[derive(Args)]
struct Of {
    /// The rollout, APP@VERSION.N, or the app whose rollout it is
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for the audit log and for whoever sees it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

#[derive(Subcommand)]
enum Order {
    /// List rollouts that are under way, worst first
    #[command(after_help = "Example: hub rollout list --all")]
    List {
        /// Those that ended too, the newest first
        #[arg(long)]
        all: bool,
        /// Only of this app
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        app: String,
        #[command(flatten)]
        format: Format,
    },
    /// Show a rollout, wave by wave
    #[command(after_help = "Example: hub rollout show web --watch")]
    Show {
        /// The rollout, APP@VERSION.N, or the app whose rollout it is
        #[arg(value_name = "ID")]
        id: String,
        /// Show it again whenever it changes, until it has ended
        #[arg(short, long)]
        watch: bool,
        #[command(flatten)]
        format: Format,
    },
    /// Send no further cluster the change
    #[command(after_help = "Example: hub rollout pause web --reason 'incident 812'")]
    Pause(Of),
    /// Go on after a pause
    #[command(after_help = "Example: hub rollout resume web")]
    Resume(Of),
    /// Let a wave begin that waits for it
    #[command(after_help = "Example: hub rollout approve web --reason 'looked at it'")]
    Approve {
        #[command(flatten)]
        of: Of,
        /// A wave that has its turn later
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        wave: String,
    },
    /// Go on after a halt, or try a blocked version again
    #[command(after_help = "Example: hub rollout retry web@1f2e3d4c.1 --reason 'quota was raised'")]
    Retry(Of),
    /// Take the change back from the clusters that have it, and block the version
    #[command(after_help = "Example: hub rollout abort web --reason 'wrong image'")]
    Abort(Of),
}

/// Does it.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let no_wave = String::new();
    match arguments.order {
        Order::List { all, app, format } => {
            let answer = document(client.rollout_list(request(v1::RolloutListRequest { app, all })).await)?;
            answer.print::<Vec<RolloutRow>>(format.output)?;
        }
        Order::Show { id, watch, format } => show(&mut client, id, watch, format.output).await?,
        Order::Pause(of) => order(&mut client, Kind::Pause, of, no_wave).await?,
        Order::Resume(of) => order(&mut client, Kind::Resume, of, no_wave).await?,
        Order::Approve { of, wave } => order(&mut client, Kind::Approve, of, wave).await?,
        Order::Retry(of) => order(&mut client, Kind::Retry, of, no_wave).await?,
        Order::Abort(of) => order(&mut client, Kind::Abort, of, no_wave).await?,
    }
    Ok(Outcome::Done)
}

async fn order(client: &mut Client, kind: Kind, of: Of, wave: String) -> anyhow::Result<()> {
    let Of { id, reason } = of;
    let asked = v1::RolloutOrderRequest { id, order: kind.into(), wave, reason };
    document(client.rollout_order(request(asked)).await)?.print::<DoneView>(Output::Table)
}

async fn show(client: &mut Client, id: String, watch: bool, output: Output) -> anyhow::Result<()> {
    let answer = ask(client, &id).await?;
    let mut shown = answer.render::<RolloutView>(output)?;
    if !watch {
        return print(&shown);
    }
    redraw(&shown, output)?;
    // From now on this one, whatever comes after it.
    let mut row = answer.view::<RolloutView>()?.row;
    while row.ended_ms.is_none() {
        tokio::time::sleep(WATCH).await;
        let answer = ask(client, &row.id).await?;
        let now = answer.render::<RolloutView>(output)?;
        if now != shown {
            redraw(&now, output)?;
            shown = now;
        }
        row = answer.view::<RolloutView>()?.row;
    }
    Ok(())
}

async fn ask(client: &mut Client, id: &str) -> anyhow::Result<Document> {
    document(client.rollout_show(request(v1::RolloutRequest { id: id.to_owned() })).await)
}

impl View for Vec<RolloutRow> {
    fn text(&self, style: Style) -> String {
        let mut table = Table::new(["ROLLOUT", "STATE", "WAVE", "HEALTHY", "SINCE", "COMMIT", "MESSAGE"]);
        for row in self {
            table.row([
                row.id.clone().into(),
                Cell::from(format!("{:?}", row.phase)).paint(style.colour(colour(row.phase))),
                row.wave.map(|wave| wave.to_string()).unwrap_or_default().into(),
                format!("{}/{}", row.healthy, row.clusters).into(),
                time(row.since_ms).into(),
                row.commit.short().into(),
                style.message(&row.message).into(),
            ]);
        }
        if table.is_empty() { "No rollout is under way.\n".to_owned() } else { table.to_string() }
    }

    fn names(&self) -> Vec<String> {
        self.iter().map(|row| row.id.clone()).collect()
    }
}

impl View for RolloutView {
    fn text(&self, style: Style) -> String {
        let row = &self.row;
        let mut text = format!("Rollout {}: {:?}", row.id, row.phase);
        let _ = match row.message.as_str() {
            "" => writeln!(text),
            message => writeln!(text, ": {message}"),
        };
        let clusters = count(row.clusters, "cluster", "clusters");
        let _ =
            writeln!(text, "Commit {}, because of {:?}, since {}", row.commit, row.cause, time(row.since_ms));
        let ended = row.ended_ms.map(|at| format!(", ended {}", time(at))).unwrap_or_default();
        let _ = writeln!(text, "{} of {clusters} healthy{ended}", row.healthy);
        if self.superseded > 0 {
            let _ = writeln!(
                text,
                "Rollouts before it that were superseded before their last wave: {}",
                self.superseded
            );
        }
        let bars = !style.is_piped;
        let heading = if bars { "" } else { "STATE" };
        let mut table = Table::new(["WAVE", heading, "HEALTHY", "AT ONCE", "UNDER WAY", "FAILED"]);
        for wave in &self.waves {
            let state = if bars { bar(wave.healthy, wave.clusters) } else { format!("{:?}", wave.state) };
            table.row([
                marked(wave).into(),
                state.into(),
                format!("{}/{}", wave.healthy, wave.clusters).into(),
                wave.max_unavailable.to_string().into(),
                names(&wave.underway).into(),
                names(&wave.failed).into(),
            ]);
        }
        if !table.is_empty() {
            let _ = write!(text, "\n{table}");
        }
        text
    }

    fn names(&self) -> Vec<String> {
        vec![self.row.id.clone()]
    }
}

fn marked(wave: &WaveView) -> String {
    let mark = if wave.state == WaveState::Current { "* " } else { "" };
    format!("{mark}{}", wave.name)
}

fn names(clusters: &[nave_placement::ClusterName]) -> String {
    let first: Vec<&str> = clusters.iter().take(NAMES).map(|name| name.as_str()).collect();
    let more = clusters.len().saturating_sub(NAMES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", first.join(","))
}

/// How far it is, drawn.
fn bar(done: usize, of: usize) -> String {
    let filled = (done.min(of) * BAR).checked_div(of).unwrap_or(BAR);
    format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR - filled))
}

fn colour(phase: RolloutPhase) -> Colour {
    match phase {
        RolloutPhase::Halted | RolloutPhase::RollingBack | RolloutPhase::Blocked => Colour::Red,
        RolloutPhase::Completed => Colour::Green,
        _ => Colour::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_when_all_is_done() {
        assert_eq!(bar(0, 10), format!("[{}]", ".".repeat(BAR)));
        assert_eq!(bar(5, 10), format!("[{}{}]", "#".repeat(BAR / 2), ".".repeat(BAR / 2)));
        assert!(bar(99, 100).contains('.'));
        assert_eq!(bar(10, 10), format!("[{}]", "#".repeat(BAR)));
        assert_eq!(bar(0, 0), format!("[{}]", "#".repeat(BAR)));
    }
}
