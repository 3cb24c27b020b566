//! `hub init`, `hub serve`, `hub demo`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use nave_placement::CatalogName;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::Exit;
use super::arguments::{catalog, duration};
use super::client::clock;
use crate::serve::ServeError;
use crate::store::redb::OpenError;
use crate::{demo, init, serve};

/// `hub init`.
#[derive(Args)]
pub struct Init {
    /// Where the hub keeps everything
    #[arg(long, value_name = "D")]
    data_dir: PathBuf,
    /// The fleet's name, for ever [default: random]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
    /// Where the CA's keys are kept [default: D/ca]
    #[arg(long, value_name = "C")]
    ca_dir: Option<PathBuf>,
    /// Where spokes and operators reach the hub; may be given more than once
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<String>,
}

impl Init {
    pub(super) async fn run(self) -> anyhow::Result<Exit> {
        let there = self.data_dir.join("admin.yaml").exists();
        let data_dir = self.data_dir.clone();
        let options = init::Options {
            data_dir: self.data_dir,
            fleet: self.fleet,
            ca_dir: self.ca_dir,
            advertise: self.advertise,
            install_context: true,
        };
        let made = init::make(&options, clock()())?;
        let founding = serve::Options::local(data_dir.clone(), clock());
        match serve::found(&founding).await {
            Ok(()) => {}
            // The hub itself founded it.
            Err(ServeError::Store { source, .. })
                if matches!(source.downcast_ref(), Some(OpenError::InUse { .. })) => {}
            Err(error) => return Err(error.into()),
        }
        let done = if there { "is initialised already; nothing was changed" } else { "is initialised" };
        println!("fleet {} {done}", made.authority.fleet());
        println!("context of operator admin: {}", made.context.display());
        if made.is_default {
            println!("copied to {}", crate::context::default_path().display());
        }
        eprintln!("next: hub serve --data-dir {} --catalog URL", data_dir.display());
        Ok(Exit::Done)
    }
}

/// The formats of the log.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

/// `hub serve`.
#[derive(Args)]
pub struct Serve {
    /// What `hub init` made
    #[arg(long, value_name = "D")]
    data_dir: PathBuf,
    /// The root catalog's repository: https://, http://, file:// or a path
    #[arg(long, value_name = "[NAME=]URL", value_parser = catalog)]
    catalog: (CatalogName, String),
    /// The branch [default: the repository's]
    #[arg(long, value_name = "B", default_value = "", hide_default_value = true)]
    branch: String,
    /// The catalog's directory in the repository
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    path: String,
    /// How often Git is asked
    #[arg(long, default_value = "30s", value_parser = duration)]
    poll: Duration,
    /// Where gRPC over TLS listens
    #[arg(long, value_name = "A", default_value = "0.0.0.0:7443")]
    listen: SocketAddr,
    /// Where HTTP (/healthz, /readyz, /metrics) listens
    #[arg(long, value_name = "A", default_value = "127.0.0.1:7480")]
    http: SocketAddr,
    /// Where the state is kept: `redb`, or etcd://HOST:PORT[,HOST:PORT]/PREFIX
    #[arg(long, default_value = "redb")]
    store: String,
    /// How the log is written, on standard error; RUST_LOG filters it
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
}

impl Serve {
    pub(super) async fn run(self, cancel: CancellationToken) -> anyhow::Result<Exit> {
        log(self.log_format, "info");
        let (name, url) = self.catalog;
        let options = serve::Options {
            data_dir: self.data_dir,
            catalog: name,
            url,
            branch: self.branch,
            path: self.path,
            poll: self.poll,
            listen: self.listen,
            http: self.http,
            store: self.store,
            clock: clock(),
        };
        let (ready, listening) = oneshot::channel::<serve::Ready>();
        let announce = async {
            if let Ok(ready) = listening.await {
                println!("hub is ready: gRPC on {}, HTTP on {}", ready.grpc, ready.http);
            }
        };
        let (served, ()) = tokio::join!(serve::serve(options, cancel, ready), announce);
        served?;
        Ok(Exit::Done)
    }
}

/// `hub demo`.
#[derive(Args)]
pub struct Demo {
    /// End with 0 once everything was seen to happen
    #[arg(long)]
    exit: bool,
    /// Put everything into this directory, which is new or empty [default: a temporary one]
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Use real clusters of this kubeconfig
    #[arg(long, value_name = "F", requires = "kube_contexts")]
    kubeconfig: Option<PathBuf>,
    /// The contexts to use, one cluster each
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    kube_contexts: Vec<String>,
}

impl Demo {
    pub(super) async fn run(self, cancel: CancellationToken) -> anyhow::Result<Exit> {
        log(LogFormat::Text, "error");
        let options = demo::Options {
            exit: self.exit,
            dir: self.dir,
            kubeconfig: self.kubeconfig,
            contexts: self.kube_contexts,
        };
        demo::run(options, cancel).await?;
        Ok(Exit::Done)
    }
}

fn log(format: LogFormat, default: &str) {
    // That target says ERROR for every answer 5xx, which the caller handles and tells in its own words.
    let quiet = format!("{default},kube_client::client::builder=off");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
