//! The command line: what people and scripts type.
//!
//! In: arguments. Out: text on stdout, hints and errors on stderr, an exit code: 0 done, 1 failed or held, 2 usage,
//! 3 differences or not converged in time.
//! Never: knows more than the hub's documents say; renames a flag.

mod adopt;
mod app;
mod arguments;
mod asking;
mod audit;
mod catalog;
pub mod client;
mod cluster;
mod decide;
mod demo;
mod directory;
mod drift;
mod events;
mod failpoints;
mod fetching;
mod get;
mod health;
mod history;
mod hold;
mod images;
mod init;
mod logs;
mod output;
mod pause;
mod pin;
mod plan;
mod render;
mod restore;
mod rollout;
mod secret;
mod serve;
mod snapshot;
mod status;
mod table;
mod trace;
mod version;
mod wait;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Hub;

/// How a command ended, if not with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 0: done.
    Done,
    /// 1: failed or held; why is told already.
    Failed,
    /// 3: differences, or not converged in time.
    Different,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Failed => Self::FAILURE,
            Outcome::Different => Self::from(3),
        }
    }
}

/// Brings what a Git repository says to every cluster of a fleet, and tells how it stands there.
///
/// Exit codes: 0 done, 1 failed or held, 2 usage, 3 differences or not converged in time.
#[derive(Parser)]
#[command(name = "hub", version, disable_help_subcommand = true)]
struct Cli {
    /// The context file that says where the hub is and who asks
    /// [default: $HUB_CONTEXT, then ~/.config/nave/context.yaml]
    #[arg(long, global = true, value_name = "FILE")]
    context: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a fleet: its CA, its store, the first operator's context
    Init(init::Arguments),
    /// Run the hub
    Serve(serve::Arguments),
    /// Show a whole fleet on this machine: a hub, a catalog, six spokes, a change to watch
    Demo(demo::Arguments),
    /// Show the fleet on one screen, worst first
    Status(status::Arguments),
    /// Wait until everything is as the catalog says
    Wait(wait::Arguments),
    /// Members of the fleet
    Cluster(cluster::Arguments),
    /// Apps, and where they run
    App(app::Arguments),
    /// Tell why an app runs on a cluster, or does not
    Why(why::Arguments),
    /// Show the manifests that a spoke gets, and who set each value
    Render(render::Arguments),
    /// Tell what a change would do before it is merged: clusters gained and lost, manifests, waves, holds
    Plan(plan::Arguments),
    /// Write everything that a plan needs of the hub into one file, for pipelines that cannot ask it
    Snapshot(snapshot::Arguments),
    /// Show live objects of all clusters, as kubectl shows those of one
    Get(get::Arguments),
    /// Show the last lines of logs of pods on any cluster
    Logs(logs::Arguments),
    /// Tell field by field what is not as wanted on the clusters, and who changed it
    Drift(drift::Arguments),
    /// First contact with objects that Nave did not create
    Adopt(adopt::Arguments),
    /// Changes that wait for approval
    Hold(hold::Arguments),
    /// How changed apps move through their clusters
    Rollout(rollout::Arguments),
    /// Take an app back to an earlier version, without Git, and keep it there
    Rollback(pin::Rollback),
    /// Apps that operators keep at a version
    Pin(pin::Arguments),
    /// Let nothing of an app, a cluster or all change for a while
    Pause(pause::Pausing),
    /// End a pause
    Resume(pause::Resuming),
    /// Whom secrets are encrypted to
    Secret(secret::Arguments),
    /// Go on with a store that was restored from an older copy
    AcceptRestore(restore::Arguments),
    /// Show what happened to the fleet, and who is told of it
    Events(events::Arguments),
    /// Tell from an object on a cluster who wanted it, and why
    Trace(trace::Arguments),
    /// List the images that clusters are told to run, or run
    Images(images::Arguments),
    /// Tell who changed what and why, or what clusters were told at a time
    History(history::Arguments),
    /// Show or verify the audit log
    Audit(audit::Arguments),
    /// Check a catalog before it is pushed; its schema, and what its fields say
    Catalog(catalog::Arguments),
    /// Tell what a field of the catalog says: hub catalog explain, in short
    Explain(catalog::schema::Explain),
    /// Tell what placements choose for a given fleet, and why
    Decide(decide::Arguments),
    /// Judge the health of objects in a file, as a spoke would
    Health(health::Arguments),
    /// List where a test can end the process
    Failpoints,
    /// Print the version, and the protocol versions that it speaks
    Version(version::Arguments),
}

/// Reads the arguments, does what they say, tells errors once.
pub fn main() -> ExitCode {
    let Cli { context, command } = Cli::parse();
    let hub = Hub::new(context);
    let done = match command {
        Command::Serve(arguments) => serving(serve::run(arguments)),
        Command::Demo(arguments) => serving(demo::run(arguments)),
        command => asking(ask(command, &hub)),
    };
    match done {
        Ok(outcome) => outcome.into(),
        // Somebody closed the pipe: `hub audit | head`.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", crate::deciding::run::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn ask(command: Command, hub: &Hub) -> anyhow::Result<Outcome> {
    match command {
        Command::Init(arguments) => init::run(arguments).await,
        Command::Status(arguments) => status::run(&arguments, hub).await,
        Command::Wait(arguments) => wait::run(arguments, hub).await,
        Command::Cluster(arguments) => cluster::run(arguments, hub).await,
        Command::App(arguments) => app::run(arguments, hub).await,
        Command::Why(arguments) => why::run(arguments, hub).await,
        Command::Render(arguments) => render::run(arguments, hub).await,
        Command::Plan(arguments) => plan::run(arguments, hub).await,
        Command::Snapshot(arguments) => snapshot::run(arguments, hub).await,
        Command::Get(arguments) => get::run(arguments, hub).await,
        Command::Logs(arguments) => logs::run(arguments, hub).await,
        Command::Drift(arguments) => drift::run(arguments, hub).await,
        Command::Adopt(arguments) => adopt::run(arguments, hub).await,
        Command::Hold(arguments) => hold::run(arguments, hub).await,
        Command::Rollout(arguments) => rollout::run(arguments, hub).await,
        Command::Rollback(arguments) => pin::rollback(arguments, hub).await,
        Command::Pin(arguments) => pin::run(arguments, hub).await,
        Command::Pause(arguments) => pause::pause(arguments, hub).await,
        Command::Resume(arguments) => pause::resume(arguments, hub).await,
        Command::Secret(arguments) => secret::run(arguments, hub).await,
        Command::AcceptRestore(arguments) => restore::run(arguments, hub).await,
        Command::Events(arguments) => events::run(arguments, hub).await,
        Command::Trace(arguments) => trace::run(arguments, hub).await,
        Command::Images(arguments) => images::run(arguments, hub).await,
        Command::History(arguments) => history::run(arguments, hub).await,
        Command::Audit(arguments) => audit::run(&arguments, hub).await,
        Command::Catalog(arguments) => catalog::run(arguments).await,
        Command::Explain(arguments) => catalog::schema::explain(&arguments),
        Command::Decide(arguments) => decide::run(arguments).await,
        Command::Health(arguments) => health::run(&arguments),
        Command::Failpoints => failpoints::run(),
        Command::Version(arguments) => version::run(&arguments).await,
        Command::Serve(_) | Command::Demo(_) => unreachable!("they have a runtime of their own"),
    }
}

/// A server's work goes to all processors.
fn serving(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// A question needs one thread.
fn asking(work: impl Future<Output = anyhow::Result<Outcome>>) -> anyhow::Result<Outcome> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_arguments_are_well_formed() {
        super::Cli::command().debug_assert();
    }
}
