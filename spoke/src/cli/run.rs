//! `spoke run`: the agent itself.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use nave_proto::backoff::Backoff;
use nave_spoke::run::{Exit, RunOptions, Storage, run as spoke};
use nave_spoke::state::StateError;
use nave_spoke::state::secrets::Secrets;
use nave_spoke::state::secrets::owner::Holder;
use nave_spoke::state::secrets::shelf::ClusterShelf;
use nave_spoke::target::kube::{self, KubeTarget};
use nave_spoke::target::{Target, TargetError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::place::{Place, To};

/// Its arguments.
#[derive(Args)]
pub struct Arguments {
    /// Join a fleet by this token (`hub cluster join NAME` prints it)
    #[arg(long, value_name = "TOKEN", env = "NAVE_JOIN", hide_env_values = true)]
    join: Option<String>,
    #[command(flatten)]
    place: Place,
    /// A local policy, which even the hub cannot override
    #[arg(long, value_name = "FILE", env = "NAVE_POLICY")]
    policy: Option<PathBuf>,
    /// A file of age identities that secrets for this cluster are encrypted to; default: the Secret nave-age of the
    /// agent's namespace, or a key that the agent makes and keeps
    #[arg(long, value_name = "FILE")]
    age_key_file: Option<PathBuf>,
    /// The pod it runs in, if it does
    #[arg(long, value_name = "NAME", env = "POD_NAME", hide = true)]
    pod: Option<String>,
    /// How the log is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
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
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    log(arguments.log_format);
    arguments.place.check()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build()?;
    let done = runtime.block_on(async {
        let cancel = CancellationToken::new();
        let stopping = stop_on_signal(cancel.clone())?;
        let running = async {
            let Some((target, storage)) = connect(&arguments, &cancel).await? else {
                return Ok(Exit::Stopped);
            };
            let options = RunOptions {
                storage,
                join: arguments.join.filter(|token| !token.is_empty()),
                policy: arguments.policy,
                age_key_file: arguments.age_key_file,
                ..RunOptions::new(PathBuf::new(), target)
            };
            anyhow::Ok(spoke(options, cancel.clone()).await?)
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

type Connected = (Arc<dyn Target>, Storage);

/// The target, and where the state is; waits for a cluster that does not answer, and for a pod that has the state. `None`:
/// cancelled meanwhile.
async fn connect(arguments: &Arguments, cancel: &CancellationToken) -> anyhow::Result<Option<Connected>> {
    let place = &arguments.place;
    if let (To::Dir(path), Some(state)) = (&place.target, &place.state_dir) {
        let target = super::place::directory(path, state)?;
        return Ok(Some((Arc::new(target), Storage::Directory(state.clone()))));
    }
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
    loop {
        let tried = tokio::select! {
            tried = try_connect(arguments) => tried,
            () = cancel.cancelled() => return Ok(None),
        };
        let wait = match tried? {
            Ok(connected) => return Ok(Some(connected)),
            Err(problem) => {
                let wait = backoff.after_failure(fastrand::f64());
                let retry_in_ms = wait.as_millis() as u64;
                tracing::warn!(problem, retry_in_ms, "the spoke cannot start yet");
                wait
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = cancel.cancelled() => return Ok(None),
        }
    }
}

/// One attempt; the inner error is one that may pass.
async fn try_connect(arguments: &Arguments) -> anyhow::Result<Result<Connected, String>> {
    let place = &arguments.place;
    let options = kube::Options { create_namespace: true, ..place.known_options().await };
    let target = match KubeTarget::connect(options).await {
        Ok(target) => target,
        Err(error @ TargetError::Unreachable(_)) => return Ok(Err(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let storage = match &place.state_dir {
        Some(dir) => Storage::Directory(dir.clone()),
        None => {
            let shelf = Arc::new(ClusterShelf::new(target.client(), &place.namespace));
            match Secrets::open(shelf, Holder::this_process(arguments.pod.clone())).await {
                Ok(secrets) => Storage::Kept(Arc::new(secrets)),
                // Of two pods the cluster ends one; ended by itself, this one would be started again, ever later.
                Err(error @ StateError::InUse(_)) if arguments.pod.is_none() => return Err(error.into()),
                // Rights that are missing may be given meanwhile, too.
                Err(error) => return Ok(Err(nave_spoke::link::chain(&error))),
            }
        }
    };
    Ok(Ok((Arc::new(target), storage)))
}
