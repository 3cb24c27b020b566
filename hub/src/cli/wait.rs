//! `hub wait`: until everything is as the catalog says, or cannot become so.
//!
//! In: what to wait for, and how long. Out: how it ended; exit code 0 converged, 1 held or failed, 3 not in time.
//! Never: polls; the hub answers when it knows.

use std::time::Duration;

use clap::Args;
use nave_proto::limits::REQUEST_TIMEOUT;
use nave_proto::v1;
use tonic::Request;

use super::Outcome;
use super::arguments::{Selecting, duration, millis};
use super::client::{Hub, document};
use super::output::{Format, Style, View};
use super::status::count;
use crate::operator::CONVERGED;
use crate::operator::views::{WaitOutcome, WaitView};

/// Its arguments.
#[derive(Args)]
#[command(after_help = "Example, after a push: hub wait --commit \"$(git rev-parse HEAD)\" --timeout 5m")]
pub struct Arguments {
    #[command(flatten)]
    selecting: Selecting,
    /// Only this cluster
    #[arg(long, value_name = "CLUSTER")]
    cluster: Option<String>,
    /// How long
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Wait for clusters that are not connected, or maintained, too; the one that --cluster names is waited for anyway
    #[arg(long)]
    include_offline: bool,
    #[command(flatten)]
    format: Format,
}

/// Waits.
pub async fn run(arguments: Arguments, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let mut request = Request::new(v1::WaitRequest {
        filter: Some(arguments.selecting.filter(arguments.cluster.as_deref())),
        timeout_ms: millis(arguments.timeout),
        include_offline: arguments.include_offline,
    });
    // The hub answers in time, unless it is not well.
    request.set_timeout(arguments.timeout.saturating_add(REQUEST_TIMEOUT));
    let answer = document(client.wait(request).await)?;
    answer.print::<WaitView>(arguments.format.output)?;
    Ok(match answer.view::<WaitView>()?.outcome {
        WaitOutcome::Converged => Outcome::Done,
        WaitOutcome::Held | WaitOutcome::Failed => Outcome::Failed,
        WaitOutcome::TimedOut => Outcome::Different,
    })
}

impl View for WaitView {
    fn text(&self, _: Style) -> String {
        let message = super::table::one_line(&self.message);
        match self.outcome {
            WaitOutcome::Converged => {
                let name = self.catalog.as_ref().map(ToString::to_string);
                let tenant = self.status.tenants.iter().find(|tenant| name.as_ref() == Some(&tenant.name));
                let catalog = tenant.unwrap_or(&self.status.catalog);
                let commit = catalog.commit.as_ref().map_or("?", |commit| commit.short());
                let of = tenant.map(|tenant| format!(" of catalog {}", tenant.name)).unwrap_or_default();
                let entries = count(self.status.entries, "entry", "entries");
                let more = if message == CONVERGED { String::new() } else { format!("; {message}") };
                format!("converged at commit {commit}{of}: {entries}{more}\n")
            }
            WaitOutcome::Held => format!("held: {message}\n"),
            WaitOutcome::Failed => format!("failed: {message}\n"),
            WaitOutcome::TimedOut => format!("not converged in time: {message}\n"),
        }
    }

    fn names(&self) -> Vec<String> {
        self.status.names()
    }
}
