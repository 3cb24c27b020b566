//! `hub status`: the fleet on one screen, worst first.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;
use nave_proto::v1;

use super::Exit;
use super::client::{Client, view};
use super::output::{Format, few, moment, one_line, show, table};
use crate::operator::views::{Group, StatusView, WaitView};

/// Between two looks of `--watch`.
const WATCH: Duration = Duration::from_secs(1);

/// `hub status`.
#[derive(Args)]
pub struct Status {
    /// Look again every second
    #[arg(long)]
    watch: bool,
    /// Say whether this commit, or one that descends from it, is in effect
    #[arg(long, value_name = "C", default_value = "", hide_default_value = true)]
    commit: String,
    /// This app only
    #[arg(long, value_name = "A", default_value = "", hide_default_value = true)]
    app: String,
    /// Clusters with these labels only
    #[arg(short = 'l', long, value_name = "SEL", default_value = "", hide_default_value = true)]
    selector: String,
    /// How to show it
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Status {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        loop {
            let (status, note) = self.ask(client).await?;
            if self.watch && std::io::stdout().is_terminal() {
                print!("\x1b[2J\x1b[H");
            }
            let names = || status.groups.iter().map(|g| g.app.to_string()).collect();
            show(self.output, &status, |wide| render(&status, wide) + &note, names)?;
            if !self.watch {
                return Ok(Exit::Done);
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    async fn ask(&self, client: &mut Client) -> anyhow::Result<(StatusView, String)> {
        let filter = v1::Filter {
            app: self.app.clone(),
            selector: self.selector.clone(),
            commit: self.commit.clone(),
            ..v1::Filter::default()
        };
        if self.commit.is_empty() {
            let request = v1::StatusRequest { filter: Some(filter) };
            return Ok((view(client.status(request).await)?, String::new()));
        }
        let request = v1::WaitRequest { filter: Some(filter), timeout_ms: 1, include_offline: false };
        let waited: WaitView = view(client.wait(request).await)?;
        let note = format!("commit {}: {}\n", self.commit, waited.message);
        Ok((waited.status, note))
    }
}

/// The screen.
pub fn render(status: &StatusView, wide: bool) -> String {
    let mut text = String::new();
    let commit = status.catalog.commit.as_ref().map_or("none yet", |c| c.short());
    let _ = writeln!(text, "fleet {}, catalog {} at commit {commit}", status.fleet, status.catalog.name);
    if let Some(doubt) = &status.doubt {
        let _ = writeln!(text, "\nSTOPPED: {doubt}");
    }
    if !status.holds.is_empty() {
        let rows: Vec<Vec<String>> = status
            .holds
            .iter()
            .map(|h| vec![h.record.hold.id.clone(), moment(h.record.since_ms), h.message.clone()])
            .collect();
        let _ =
            write!(text, "\n{}", table(&["HOLD", "SINCE", "WHAT WAITS FOR `hub hold approve ID`"], &rows));
    }
    if let Some(obstacle) = status.catalog.obstacle.as_ref().filter(|_| status.holds.is_empty()) {
        let _ = writeln!(text, "\ncatalog: {obstacle}");
    }
    for (cluster, alarm) in &status.alarms {
        let _ = writeln!(text, "\nALARM {cluster}: {alarm:?}; it is told nothing and keeps what it has");
    }
    if !status.problems.is_empty() {
        text.push('\n');
        for problem in &status.problems {
            let _ = writeln!(text, "{problem}");
        }
    }
    if !status.groups.is_empty() {
        let rows: Vec<Vec<String>> = status.groups.iter().map(|g| row(g, wide)).collect();
        let headers = ["STATE", "APP", "REASON", "OBJECT", "CLUSTERS", "MESSAGE"];
        let _ = write!(text, "\n{}", table(&headers, &rows));
    }
    for (cluster, apps) in &status.unassigned {
        let apps: Vec<_> = apps.iter().collect();
        let _ = writeln!(text, "\n{cluster} keeps {}, which nothing assigns", few(&apps));
    }
    let converged = status.phases.get(&crate::operator::views::Phase::Converged).copied().unwrap_or(0);
    let _ = writeln!(
        text,
        "\n{converged} of {} entries converged, {} of {} clusters connected",
        status.entries, status.connected, status.clusters
    );
    text
}

fn row(group: &Group, wide: bool) -> Vec<String> {
    let clusters = match wide {
        true => group.clusters.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        false => few(&group.clusters),
    };
    let message = if wide { group.message.clone() } else { one_line(&group.message) };
    vec![
        format!("{:?}", group.phase),
        group.app.to_string(),
        group.reason.clone(),
        group.object.clone().unwrap_or_default(),
        clusters,
        message,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::views::Phase;

    #[test]
    fn what_is_wrong_comes_first_and_names_cluster_app_object_and_reason() {
        let mut status = StatusView {
            fleet: "acme".into(),
            entries: 3,
            clusters: 2,
            connected: 2,
            ..StatusView::default()
        };
        status.catalog.name = "main".into();
        status.phases = [(Phase::Converged, 2), (Phase::Progressing, 1)].into();
        status.groups = vec![Group {
            phase: Phase::Progressing,
            app: "web".parse().expect("valid"),
            reason: "Unschedulable".into(),
            object: Some("Deployment.apps web/web".into()),
            message: "0 of 1 replicas available".into(),
            clusters: vec!["fra-1".parse().expect("valid")],
        }];
        let expected = "\
fleet acme, catalog main at commit none yet

STATE        APP  REASON         OBJECT                   CLUSTERS  MESSAGE
Progressing  web  Unschedulable  Deployment.apps web/web  fra-1     0 of 1 replicas available

2 of 3 entries converged, 2 of 2 clusters connected
";
        assert_eq!(render(&status, false), expected);
    }
}
