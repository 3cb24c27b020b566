//! `hub status`: the fleet on one screen.
//!
//! In: a [`StatusView`]. Out: what needs somebody first, then what is under way, then one line that sums up.
//! Never: hides a hold or a doubt below something else.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use nave_placement::catalog::{CONSEQUENCE, Problem};
use nave_proto::v1;

use super::Outcome;
use super::arguments::Selecting;
use super::client::{Client, Hub, document, request};
use super::output::{Document, Format, Output, Style, View, print, time};
use super::table::{Cell, Colour, Table};
use crate::operator::views::{BlockView, CatalogView, Group, Phase, RolloutRow, StatusView};
use crate::operator::worked_on;
use crate::sessions::core::Alarm;

/// Lines of problems, of groups and of left-over apps that one screen has room for, each.
const LINES: usize = 20;
/// How often a watched status is asked for.
const WATCH: Duration = Duration::from_secs(1);

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example: hub status --watch -l env=prod")]
pub struct Arguments {
    /// Show it again whenever it changes
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    selecting: Selecting,
    #[command(flatten)]
    format: Format,
}

/// Prints the status, once or until interrupted.
pub async fn run(arguments: &Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let output = arguments.format.output;
    let mut shown = ask(&mut client, arguments).await?.render::<StatusView>(output)?;
    if !arguments.watch {
        print(&shown)?;
        return Ok(Outcome::Done);
    }
    redraw(&shown, output)?;
    loop {
        tokio::time::sleep(WATCH).await;
        // A hub that is restarted is asked again; the channel connects by itself.
        let now = match ask(&mut client, arguments).await {
            Ok(status) => status.render::<StatusView>(output)?,
            Err(error) if output == Output::Json || output == Output::Yaml => return Err(error),
            Err(error) => format!("{error:#}\n"),
        };
        if now != shown {
            redraw(&now, output)?;
            shown = now;
        }
    }
}

async fn ask(client: &mut Client, arguments: &Arguments) -> anyhow::Result<Document> {
    let asked = v1::StatusRequest { filter: Some(arguments.selecting.filter(None)) };
    document(client.status(request(asked)).await)
}

pub(super) fn redraw(text: &str, output: Output) -> anyhow::Result<()> {
    let people = matches!(output, Output::Table | Output::Wide);
    match people && io::stdout().is_terminal() {
        // Home, and clear what follows.
        true => print(&format!("\x1b[H\x1b[2J{text}")),
        false if people => print(&format!("{text}\n")),
        false => print(text),
    }
}

impl View for StatusView {
    fn text(&self, style: Style) -> String {
        let mut text = format!("Fleet {}, {}", self.fleet, head(&self.catalog));
        for tenant in &self.tenants {
            let _ = write!(text, "Tenant's {}", head(tenant));
        }
        if let Some(asked) = &self.commit {
            let _ = match asked.in_effect {
                true => writeln!(text, "Commit {} is in effect.", asked.commit),
                false => writeln!(text, "NOT YET: {}", asked.message),
            };
            if let Some(took) = asked.time_to_converge.as_ref().filter(|took| took.of > 0) {
                let seconds = |ms: Option<u64>| {
                    ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{} s", ms / 1000, ms % 1000 / 100))
                };
                let (p50, p99) = (seconds(took.p50_ms), seconds(took.p99_ms));
                let of = count(took.of, "cluster", "clusters");
                let _ = writeln!(
                    text,
                    "Time to converge: p50 {p50}, p99 {p99}; {} of {of} that it changed are healthy at it.",
                    took.clusters
                );
            }
        }
        if let Some(doubt) = &self.doubt {
            let _ = writeln!(text, "\nDOUBT: {doubt}");
        }
        paragraph(&mut text, &holds(self, style));
        paragraph(&mut text, &lines(self.pauses.iter().map(|pause| format!("PAUSED: {pause}")), style));
        let pins = self.pins.iter().map(|pin| {
            let problem = pin.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
            format!("PINNED: {}{problem}; `hub pin remove {}` lets it go on", pin.message, pin.record.id)
        });
        paragraph(&mut text, &lines(pins, style));
        let blocks = self.blocks.iter().map(|block| {
            let BlockView { app, rollout, reason, .. } = block;
            format!("BLOCKED: app {app} does not go to the version of rollout {rollout}: {reason}; change the app, or `hub rollout retry {rollout}`")
        });
        paragraph(&mut text, &lines(blocks, style));
        let rollouts = self.rollouts.iter().map(|row| {
            let RolloutRow { id, phase, healthy, clusters, message, .. } = row;
            format!("ROLLOUT: {id} is {phase:?}, {healthy} of {clusters} healthy: {message}")
        });
        paragraph(&mut text, &lines(rollouts, style));
        let alarms =
            self.alarms.iter().map(|(cluster, alarm)| format!("ALARM: cluster {cluster}: {}", told(*alarm)));
        paragraph(&mut text, &lines(alarms, style));
        let maintained = self.maintained.iter().map(|(cluster, maintenance)| {
            format!("MAINTAINED: cluster {cluster} is {}", worked_on(maintenance))
        });
        paragraph(&mut text, &lines(maintained, style));
        paragraph(&mut text, &lines(self.problems.iter().map(ToString::to_string), style));
        if self.problems.iter().any(Problem::is_error) {
            let _ = writeln!(text, "{CONSEQUENCE}");
        }
        paragraph(&mut text, &groups(&self.groups, style));
        let unassigned = self.unassigned.iter().map(|(cluster, apps)| {
            let apps = apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("UNASSIGNED: cluster {cluster} keeps {apps}, which nothing assigns to it")
        });
        paragraph(&mut text, &lines(unassigned, style));
        let _ = writeln!(text, "\n{}", self.summary());
        text
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.groups.iter().map(|g| g.app.to_string()).collect();
        names.sort();
        names.dedup();
        names
    }
}

impl StatusView {
    /// One line.
    pub(super) fn summary(&self) -> String {
        let of = |phase: Phase| self.phases.get(&phase).copied().unwrap_or(0);
        let (converged, ungranted) = (of(Phase::Converged), of(Phase::Ungranted));
        let entries = count(self.entries, "entry", "entries");
        let clusters = count(self.clusters, "cluster", "clusters");
        let mut line =
            format!("{converged} of {entries} converged on {clusters}, {} connected", self.connected);
        if ungranted > 0 {
            let _ = write!(line, "; {ungranted} granted no more, as before");
        }
        if !self.converged && converged + ungranted == self.entries && self.connected > 0 {
            line.push_str("; changes are under way");
        }
        line
    }
}

/// `1 entry`, `2 entries`.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

fn head(catalog: &CatalogView) -> String {
    let CatalogView { name, url, commit, newest, obstacle } = catalog;
    let at = match commit {
        Some(commit) => format!("at {} of {url}", commit.short()),
        None => format!("of {url}: no commit is in effect yet"),
    };
    let mut text = format!("catalog {name} {at}\n");
    let newer = newest.as_ref().filter(|newest| commit.as_ref() != Some(newest));
    let _ = match (newer, obstacle) {
        (Some(newest), Some(obstacle)) => {
            writeln!(text, "Commit {} is not in effect: {obstacle}", newest.short())
        }
        (Some(newest), None) => writeln!(text, "Commit {} is being taken", newest.short()),
        (None, Some(obstacle)) => writeln!(text, "Git: {obstacle}"),
        (None, None) => Ok(()),
    };
    text
}

/// What an alarm says, and how to end it.
pub(super) fn told(alarm: Alarm) -> &'static str {
    match alarm {
        Alarm::ForeignAssignment => {
            "it holds an assignment that this hub never sent; it is told nothing. Remove or revoke it, and let it join again"
        }
        Alarm::ClusterChanged => {
            "within the last hour a spoke with its identity ran on another cluster than the one that enrolled; it was told nothing. \
             If nobody moved it, revoke it, and let it join again"
        }
        Alarm::AssignmentTooLarge => {
            "its assignment is larger than the hub's store takes; it keeps what it has. Place fewer apps on it"
        }
        Alarm::IdentityShared => {
            "sessions with its identity keep taking each other's place. If its connection is well, two spokes use one identity: \
             revoke it, and let the right one join again"
        }
    }
}

fn holds(status: &StatusView, style: Style) -> String {
    let mut table = Table::new(["HOLD", "SINCE", "WHAT"]);
    for hold in &status.holds {
        let id = Cell::from(hold.record.hold.id.clone()).paint(style.colour(Colour::Red));
        table.row([id, time(hold.record.since_ms).into(), style.message(&hold.message).into()]);
    }
    if table.is_empty() {
        return String::new();
    }
    format!("{table}Approve with `hub hold approve ID`; `hub hold show ID` lists what would go.\n")
}

fn groups(groups: &[Group], style: Style) -> String {
    let mut table = Table::new(["STATE", "APP", "REASON", "OBJECT", "CLUSTERS", "MESSAGE"]);
    let shown = if style.is_wide { groups.len() } else { groups.len().min(LINES) };
    for group in &groups[..shown] {
        table.row([
            Cell::from(format!("{:?}", group.phase)).paint(style.of(group.phase)),
            group.app.to_string().into(),
            group.reason.clone().into(),
            group.object.clone().unwrap_or_default().into(),
            style.clusters(&group.clusters).into(),
            style.message(&group.message).into(),
        ]);
    }
    if table.is_empty() {
        return String::new();
    }
    table.to_string() + &more(groups.len() - shown)
}

fn lines(lines: impl ExactSizeIterator<Item = String>, style: Style) -> String {
    let left = if style.is_wide { 0 } else { lines.len().saturating_sub(LINES) };
    let shown = lines.len() - left;
    let text: String = lines.take(shown).map(|line| super::table::one_line(&line) + "\n").collect();
    text + &more(left)
}

fn more(left: usize) -> String {
    if left == 0 { String::new() } else { format!("… and {left} more; `-o wide` shows them\n") }
}

fn paragraph(text: &mut String, block: &str) {
    if !block.is_empty() {
        text.push('\n');
        text.push_str(block);
    }
}

#[cfg(test)]
mod tests;
