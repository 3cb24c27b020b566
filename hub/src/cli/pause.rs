//! `hub pause` and `hub resume`: nothing of an app, a cluster or all changes for a while.

use std::time::Duration;

use clap::Args;
use nave_proto::v1;

use super::Outcome;
use super::arguments::{interval, millis};
use super::client::{Hub, document, request};
use super::output::Output;
use crate::operator::views::DoneView;

/// What is meant.
#[derive(Args)]
#[group(required = true, multiple = true)]
struct Scope {
    /// The app
    app: Option<String>,
    /// The cluster; with an app, that app there
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Every app on every cluster
    #[arg(long, conflicts_with_all = ["app", "cluster"])]
    all: bool,
}

impl Scope {
    fn asked(self) -> Option<v1::Scope> {
        let Self { app, cluster, all } = self;
        Some(v1::Scope { app: app.unwrap_or_default(), cluster: cluster.unwrap_or_default(), all })
    }
}

/// Arguments of `hub pause`.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  hub pause web --for 2h --reason 'incident 812'\n  hub pause --cluster eu-1 --for 30m\n  hub pause --all --for 1h"
)]
pub struct Pausing {
    #[command(flatten)]
    scope: Scope,
    /// How long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "DURATION", value_parser = interval)]
    lasts: Duration,
    /// Why, for the audit log and for whoever sees it
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Arguments of `hub resume`.
#[derive(Args)]
#[command(after_help = "Examples:\n  hub resume web\n  hub resume --all")]
pub struct Resuming {
    #[command(flatten)]
    scope: Scope,
    /// Why, for the audit log
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
}

/// Pauses.
pub async fn pause(Pausing { scope, lasts, reason }: Pausing, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let asked = v1::PauseRequest { scope: scope.asked(), for_ms: millis(lasts), reason };
    document(client.pause(request(asked)).await)?.print::<DoneView>(Output::Table)?;
    Ok(Outcome::Done)
}

/// Ends a pause.
pub async fn resume(Resuming { scope, reason }: Resuming, hub: &Hub) -> anyhow::Result<Outcome> {
    let mut client = hub.connect().await?;
    let asked = v1::ResumeRequest { scope: scope.asked(), reason };
    document(client.resume(request(asked)).await)?.print::<DoneView>(Output::Table)?;
    Ok(Outcome::Done)
}
