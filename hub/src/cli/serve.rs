//! `hub serve`: runs the hub until it is told to stop.
//!
//! In: options, SIGINT, SIGTERM. Out: one line on stdout once it listens, the log on stderr.
//! Never: prints anything else on stdout.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nave_spoke::run::system_clock;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::Outcome;
use super::arguments::{CatalogSource, catalog, interval};
use super::output::print;
use crate::config;
use crate::serve::{self, Ready};

/// Its arguments.
#[derive(Args)]
#[command(
    after_help = "Example: hub serve --data-dir /var/lib/nave/hub --catalog https://git.example.com/fleet.git --branch main\n\
The log's level is taken from $RUST_LOG, as in RUST_LOG=info,nave_hub=debug."
)]
pub struct Arguments {
    /// What `hub init` made
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// The catalog's Git repository: https://, http://, file:// or a path
    #[arg(long, value_name = "[NAME=]URL", value_parser = catalog)]
    catalog: CatalogSource,
    /// What of it is followed: a branch or a tag, a range of versions over its tags as ">=1.0 <2", or a commit [default: its own branch]
    #[arg(long, value_name = "REF", default_value = "", hide_default_value = true)]
    branch: String,
    /// The catalog's directory in the repository [default: all of it]
    #[arg(long, value_name = "PATH", default_value = "", hide_default_value = true)]
    path: String,
    /// How often Git is asked
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = interval)]
    poll: Duration,
    /// Where spokes and operators connect
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:7443")]
    listen: SocketAddr,
    /// Where health and metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7480")]
    http: SocketAddr,
    /// `redb`, a file in the data directory, or etcd://HOST:PORT[,HOST:PORT]/PREFIX
    #[arg(long, value_name = "STORE", default_value = "redb")]
    store: String,
    /// A `HubConfig`: credentials, catalogs of tenants, engines, webhooks, who is told of events, how long the audit log is kept
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How the log is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON document a line
    Json,
}

/// Serves.
pub async fn run(arguments: Arguments) -> anyhow::Result<Outcome> {
    log(arguments.log_format, "info");
    // Before anything is opened: with a wrong file nothing shall seem to run.
    let config = arguments.config.as_deref().map(config::read).transpose()?.unwrap_or_default();
    let options = serve::Options {
        data_dir: arguments.data_dir,
        catalog: arguments.catalog.name,
        url: arguments.catalog.url,
        branch: arguments.branch,
        path: arguments.path,
        poll: arguments.poll,
        listen: arguments.listen,
        http: arguments.http,
        store: arguments.store,
        clock: system_clock(),
        config,
    };
    let cancel = cancelled_by_signals()?;
    let (ready, is_ready) = oneshot::channel::<Ready>();
    let announce = async {
        match is_ready.await {
            Ok(ready) => print(&format!("hub is ready: gRPC on {}, HTTP on {}\n", ready.grpc, ready.http)),
            // It ended before; `serve` says why.
            Err(_) => Ok(()),
        }
    };
    let (served, announced) = tokio::join!(Box::pin(serve::serve(options, cancel, ready)), announce);
    served?;
    announced?;
    Ok(Outcome::Done)
}

/// Sends the log to stderr.
fn log(format: LogFormat, level: &str) {
    let default = || EnvFilter::new(format!("{level},kube_client::client::builder=off"));
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// The log of a command that talks to people itself: only what went wrong.
pub fn quiet_log() {
    log(LogFormat::Text, "error");
}

/// A token that SIGINT and SIGTERM cancel.
///
/// # Errors
/// When signals cannot be listened to.
pub fn cancelled_by_signals() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        cancel.cancel();
    });
    Ok(token)
}
