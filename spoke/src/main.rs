//! The spoke's command line.
//!
//! In: arguments, signals. Out: a running spoke, or how one stands; exit code 0 done, 1 failed, 2 usage.
//! Never: does what the library could do for the hub's demo too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use nave_proto::backoff::Backoff;
use nave_spoke::run::{Exit, RunOptions, run};
use nave_spoke::status;
use nave_spoke::target::Target;
use nave_spoke::target::TargetError;
use nave_spoke::target::dir::DirTarget;
use nave_spoke::target::kube::{self, KubeTarget};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The agent of one cluster: applies what the hub assigns, keeps it so, reports what it sees.
#[derive(Parser)]
#[command(name = "spoke", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent. With --join the first time, with --state-dir alone later
    Run(Run),
    /// Show how the agent with this state directory stands
    Status(Status),
    /// Print the version
    Version,
}

#[derive(Args)]
struct Run {
    /// Join a fleet by this token (`hub cluster join NAME` prints it)
    #[arg(long, value_name = "TOKEN", env = "NAVE_JOIN", hide_env_values = true)]
    join: Option<String>,
    /// Where identity, assignment and bundles are kept; one directory per cluster
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// What to manage: `kube`, or `dir:PATH` for a directory of manifests
    #[arg(long, value_name = "TARGET", default_value = "kube", value_parser = target)]
    target: To,
    /// A kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's service account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig other than its current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The agent's own namespace, which no app may touch
    #[arg(long, value_name = "NAME", default_value = kube::DEFAULT_NAMESPACE)]
    namespace: String,
    /// A file of age identities that secrets for this cluster are encrypted to; default: the Secret nave-age of the
    /// agent's namespace, or a key that the agent makes and keeps
    #[arg(long, value_name = "FILE")]
    age_key_file: Option<PathBuf>,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Args)]
struct Status {
    /// The state directory of the agent
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// How to show it
    #[arg(long, short, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Clone)]
enum To {
    Kube,
    Dir(PathBuf),
}

fn target(text: &str) -> Result<To, String> {
    match text.strip_prefix("dir:") {
        Some("") => Err("dir: needs a path, as in dir:/srv/manifests".to_owned()),
        Some(path) => Ok(To::Dir(path.into())),
        None if text == "kube" => Ok(To::Kube),
        None => Err("it is neither kube nor dir:PATH".to_owned()),
    }
}

fn main() -> ExitCode {
    rustls::crypto::ring::default_provider().install_default().expect("nothing installed one before");
    let done = match Cli::parse().command {
        Command::Run(arguments) => agent(arguments),
        Command::Status(arguments) => show(&arguments),
        Command::Version => {
            println!("spoke {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spoke: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn log(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// One thread runs all tasks: they wait most of the time, and files are written on the blocking pool. It keeps the process
/// small.
fn agent(arguments: Run) -> anyhow::Result<()> {
    log(arguments.log_format);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let done = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let stopping = stop_on_signal(cancel.clone())?;
        let running = async {
            let Some(target) = connect(&arguments, &cancel).await? else { return Ok(Exit::Stopped) };
            let options = RunOptions {
                join: arguments.join,
                age_key_file: arguments.age_key_file,
                ..RunOptions::new(arguments.state_dir, target)
            };
            anyhow::Ok(run(options, cancel.clone()).await?)
        };
        tokio::select! {
            biased;
            done = running => done,
            () = stopping => Ok(Exit::Stopped),
        }
    });
    // Work that hangs on a disk holds up nobody.
    runtime.shutdown_timeout(Duration::from_millis(500));
    match done? {
        Exit::Stopped => tracing::info!("stopped"),
        Exit::Detached => tracing::info!("stopped; this spoke is detached, everything stays as it is"),
    }
    Ok(())
}

/// Cancels at the first signal; ends by itself only at the second, for those in a hurry.
fn stop_on_signal(cancel: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        for _ in 0..2 {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
            cancel.cancel();
        }
    })
}

/// The target; waits for a cluster that does not answer. `None`: cancelled meanwhile.
async fn connect(arguments: &Run, cancel: &CancellationToken) -> anyhow::Result<Option<Arc<dyn Target>>> {
    if let To::Dir(path) = &arguments.target {
        return Ok(Some(Arc::new(DirTarget::open(path, &arguments.state_dir.join("target"))?)));
    }
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let options = kube::Options {
            kubeconfig: arguments.kubeconfig.clone(),
            context: arguments.context.clone(),
            namespace: arguments.namespace.clone(),
        };
        let connected = tokio::select! {
            connected = KubeTarget::connect(options) => connected,
            () = cancel.cancelled() => return Ok(None),
        };
        let wait = match connected {
            Ok(target) => return Ok(Some(Arc::new(target))),
            Err(error @ TargetError::Unreachable(_)) => {
                let wait = backoff.after_failure(fastrand::f64());
                tracing::warn!(%error, retry_in_ms = wait.as_millis() as u64, "the cluster does not answer yet");
                wait
            }
            Err(error) => return Err(error.into()),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Ok(None),
        }
    }
}

fn show(arguments: &Status) -> anyhow::Result<()> {
    let dir: &Path = &arguments.state_dir;
    let status = status::read(dir)
        .with_context(|| format!("{}: no spoke has run with this state directory", dir.display()))?;
    match arguments.output {
        Output::Table => print!("{}", status.table()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&status)?),
    }
    Ok(())
}
