//! The command line: one file per command.
//!
//! In: arguments. Out: text or documents on standard output, hints on standard error, an exit code.
//! Never: decides; what it shows is what the hub said.

mod app;
mod arguments;
mod audit;
mod catalog;
pub mod client;
mod cluster;
mod hold;
mod output;
mod server;
mod status;
mod wait;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use nave_proto::limits::VERSIONS;
use nave_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::operator::views::DoneView;
use output::Format;

/// How a command ended that did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed, or held.
    Failed = 1,
    /// Differences, or not converged in time.
    Differs = 3,
}

/// Nave: keeps a fleet of Kubernetes clusters at what a Git repository says
#[derive(Parser)]
#[command(name = "hub", version, max_term_width = 110)]
pub struct Cli {
    /// The context file of the hub to ask [default: ~/.config/nave/context.yaml]
    #[arg(long, global = true, value_name = "FILE", env = "HUB_CONTEXT")]
    context: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a fleet: its CA, its store, the first operator's context. Doing it twice changes nothing
    Init(server::Init),
    /// Run the hub
    Serve(server::Serve),
    /// Show a whole fleet on this machine, and a change to watch
    Demo(server::Demo),
    /// The fleet on one screen: what is held, what is wrong, what is under way
    Status(status::Status),
    /// Wait until everything is as the catalog says. Exit code 1: held or failed; 3: not in time
    Wait(wait::Wait),
    /// Members of the fleet
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Apps
    #[command(subcommand)]
    App(app::App),
    /// Why an app runs on a cluster, or does not
    Why(why::Why),
    /// Changes that wait for approval
    #[command(subcommand)]
    Hold(hold::Hold),
    /// Take this hub's store for the truth after it was restored from an old copy
    AcceptRestore {
        /// For the audit log
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Who did what, when and why
    Audit(audit::Audit),
    /// The catalog, offline
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Places where a test build can end the process
    Failpoints,
    /// The version
    Version {
        /// How to show it
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
}

/// Runs the command line.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match run(cli).await {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(Exit::Failed as u8)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let connect = client::connect_by(cli.context);
    match cli.command {
        Command::Init(command) => command.run().await,
        Command::Serve(command) => command.run(signalled()?).await,
        Command::Demo(command) => command.run(signalled()?).await,
        Command::Status(command) => command.run(&mut connect.await?).await,
        Command::Wait(command) => command.run(&mut connect.await?).await,
        Command::Cluster(command) => command.run(&mut connect.await?).await,
        Command::App(command) => command.run(&mut connect.await?).await,
        Command::Why(command) => command.run(&mut connect.await?).await,
        Command::Hold(command) => command.run(&mut connect.await?).await,
        Command::AcceptRestore { reason } => {
            let answer = connect.await?.accept_restore(v1::AcceptRestoreRequest { reason }).await;
            done(&client::view(answer)?)
        }
        Command::Audit(command) => command.run(&mut connect.await?).await,
        Command::Catalog(command) => command.run().await,
        Command::Failpoints => failpoints(),
        Command::Version { output } => version(output),
    }
}

/// Says what was done.
fn done(view: &DoneView) -> anyhow::Result<Exit> {
    println!("{}", view.message);
    Ok(Exit::Done)
}

#[cfg(feature = "failpoints")]
fn failpoints() -> anyhow::Result<Exit> {
    for name in crate::state::failpoints() {
        println!("{name}");
    }
    Ok(Exit::Done)
}

#[cfg(not(feature = "failpoints"))]
fn failpoints() -> anyhow::Result<Exit> {
    anyhow::bail!("this build has no failpoints; build with `--features failpoints`, for tests only")
}

fn version(format: Format) -> anyhow::Result<Exit> {
    let version = env!("CARGO_PKG_VERSION");
    let document = serde_json::json!({
        "version": version,
        "protocol": {"min": VERSIONS.start(), "max": VERSIONS.end()},
    });
    let line = format!("hub {version} (protocol {}-{})", VERSIONS.start(), VERSIONS.end());
    output::show(format, &document, |_| format!("{line}\n"), || vec![version.to_owned()])?;
    Ok(Exit::Done)
}

/// Cancelled by SIGINT or SIGTERM.
fn signalled() -> anyhow::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let cancel = CancellationToken::new();
    let ended = cancel.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        ended.cancel();
    });
    Ok(cancel)
}
