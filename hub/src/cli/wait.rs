//! `hub wait`.

use std::time::Duration;

use clap::Args;
use nave_proto::v1;

use super::Exit;
use super::arguments::duration;
use super::client::{Client, view};
use crate::operator::views::{WaitOutcome, WaitView};

/// `hub wait`.
#[derive(Args)]
pub struct Wait {
    /// Until this commit, or one that descends from it, is in effect
    #[arg(long, value_name = "C", default_value = "", hide_default_value = true)]
    commit: String,
    /// This app only
    #[arg(long, value_name = "A", default_value = "", hide_default_value = true)]
    app: String,
    /// This cluster only
    #[arg(long, value_name = "N", default_value = "", hide_default_value = true)]
    cluster: String,
    /// Clusters with these labels only
    #[arg(short = 'l', long, value_name = "SEL", default_value = "", hide_default_value = true)]
    selector: String,
    /// How long
    #[arg(long, value_name = "T", default_value = "10m", value_parser = duration)]
    timeout: Duration,
    /// Wait for clusters that are not connected too
    #[arg(long)]
    include_offline: bool,
}

impl Wait {
    pub(super) async fn run(self, client: &mut Client) -> anyhow::Result<Exit> {
        let request = v1::WaitRequest {
            filter: Some(v1::Filter {
                app: self.app,
                cluster: self.cluster,
                selector: self.selector,
                commit: self.commit,
            }),
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            include_offline: self.include_offline,
        };
        let waited: WaitView = view(client.wait(request).await)?;
        match waited.outcome {
            WaitOutcome::Converged => {
                let commit = waited.status.catalog.commit.as_ref().map_or("none", |c| c.short());
                let entries = waited.status.entries;
                let noun = if entries == 1 { "entry" } else { "entries" };
                println!("converged at commit {commit}: {entries} {noun}");
                Ok(Exit::Done)
            }
            WaitOutcome::Held => {
                println!("held: {}", waited.message);
                Ok(Exit::Failed)
            }
            WaitOutcome::Failed => {
                println!("failed: {}", waited.message);
                Ok(Exit::Failed)
            }
            WaitOutcome::TimedOut => {
                println!("not converged in time: {}", waited.message);
                Ok(Exit::Differs)
            }
        }
    }
}
