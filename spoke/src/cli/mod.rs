//! The spoke's command line, one file per command.
//!
//! In: arguments, signals. Out: a running spoke, or how one stands; exit code 0 done, 1 failed, 2 usage.
//! Never: does what the library could do for the hub's demo too.

mod doctor;
mod pause;
mod place;
mod run;
mod status;
mod uninstall;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The agent of one cluster: applies what the hub assigns, keeps it so, reports what it sees.
#[derive(Parser)]
#[command(name = "spoke", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent. With --join the first time, without it later
    Run(run::Arguments),
    /// Show how the agent stands; works without the hub
    Status(status::Arguments),
    /// Let everything be as it is for a while; works without the hub
    #[command(after_help = "Example: spoke pause --for 2h --reason 'storage is being replaced'")]
    Pause(pause::Arguments),
    /// End a pause; works without the hub
    Resume(pause::ResumeArguments),
    /// Take the agent off this cluster; what runs stays, unless told otherwise; works without the hub
    Uninstall(uninstall::Arguments),
    /// Check what the agent needs, and say how to mend what it lacks
    Doctor(doctor::Arguments),
    /// Print the version
    Version,
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(arguments) => run::run(arguments).map(|()| true),
        Command::Status(arguments) => now(status::run(&arguments)).map(|()| true),
        Command::Pause(arguments) => now(pause::pause(&arguments)).map(|()| true),
        Command::Resume(arguments) => now(pause::resume(&arguments)).map(|()| true),
        Command::Uninstall(arguments) => now(uninstall::run(&arguments)).map(|()| true),
        Command::Doctor(arguments) => now(doctor::run(&arguments)),
        Command::Version => {
            println!("spoke {}", env!("CARGO_PKG_VERSION"));
            Ok(true)
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spoke: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that ends by itself.
fn now<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command)
}
