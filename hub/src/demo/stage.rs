//! The stage: a hub, a catalog's repository and some spokes, all in this process, over real sockets and certificates.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use nave_placement::CatalogName;
use nave_proto::v1;
use nave_spoke::run::{RunOptions, system_clock};
use nave_spoke::target::Target;
use nave_spoke::target::dir::DirTarget;
use nave_spoke::target::kube::{self, KubeTarget};
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Options;
use super::catalog::CLUSTERS;
use crate::cli::client::{self, Client};
use crate::config::HubConfig;
use crate::context::Context;
use crate::{git, init, serve};

/// How often Git is asked; the demo's own waits ask at once.
const POLL: Duration = Duration::from_secs(2);
/// The loopback address, any free port.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Where a cluster's objects can be looked at.
pub enum Place {
    /// A directory of manifests.
    Directory(PathBuf),
    /// A real cluster.
    Cluster(::kube::Client),
}

/// One cluster of the demo.
pub struct DemoCluster {
    /// Its name in the fleet.
    pub name: String,
    /// Where its objects are.
    pub place: Place,
}

/// Everything that runs.
pub struct Stage {
    /// Everything is below this directory.
    pub dir: PathBuf,
    /// The clusters.
    pub clusters: Vec<DemoCluster>,
    /// The product's own way to the hub.
    pub client: Mutex<Client>,
    /// Removes the directory at the end.
    temporary: Option<tempfile::TempDir>,
    tasks: Mutex<JoinSet<anyhow::Error>>,
    end: CancellationToken,
}

impl Stage {
    /// Starts everything.
    pub async fn set(options: &Options) -> anyhow::Result<Self> {
        let (dir, temporary) = directory(options)?;
        let end = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let repository = dir.join("catalog");
        commit(&repository, super::catalog::files("hello").clone(), "Say hello").await?;
        let hub = init::Options {
            data_dir: dir.join("hub"),
            fleet: Some("demo".into()),
            ..init::Options::default()
        };
        let made = init::make(&hub, system_clock()())?;
        let grpc = start_hub(&hub.data_dir, &repository, &mut tasks, &end).await?;
        let mut context = Context::read(&made.context)?;
        context.hub = vec![grpc.to_string()];
        std::fs::remove_file(&made.context).context("rewriting the context")?;
        context.write_new(&made.context)?;
        let mut client = client::connect(&context).await?;
        let mut clusters = Vec::new();
        for (name, target, place) in targets(options, &dir).await? {
            let request =
                v1::ClusterJoinRequest { cluster: name.clone(), ..v1::ClusterJoinRequest::default() };
            let joined = client.cluster_join(request).await.map_err(|s| anyhow!("{}", s.message()))?;
            let joined: crate::operator::views::JoinView = serde_json::from_slice(&joined.into_inner().json)?;
            let mut spoke = RunOptions::new(dir.join("spokes").join(&name), target);
            spoke.join = Some(joined.token);
            let (cancel, spoke_name) = (end.clone(), name.clone());
            tasks.spawn(async move {
                match nave_spoke::run::run(spoke, cancel).await {
                    Ok(_) => anyhow!("spoke {spoke_name} ended"),
                    Err(error) => anyhow::Error::new(error).context(format!("spoke {spoke_name}")),
                }
            });
            clusters.push(DemoCluster { name, place });
        }
        Ok(Self { dir, clusters, client: Mutex::new(client), temporary, tasks: Mutex::new(tasks), end })
    }

    /// Waits for something that must not end to end.
    pub async fn broken(&self) -> anyhow::Error {
        match self.tasks.lock().await.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(error)) => error.into(),
            None => anyhow!("nothing runs"),
        }
    }

    /// Commits a catalog.
    pub async fn commit(&self, files: super::catalog::Files, message: &str) -> anyhow::Result<String> {
        commit(&self.dir.join("catalog"), files, message).await
    }

    /// What the user can type.
    pub fn say_what_next(&self) {
        let dir = self.dir.display();
        println!("\nThe fleet keeps running until you press Ctrl-C. In another terminal:\n");
        println!("  export HUB_CONTEXT={dir}/hub/admin.yaml");
        println!("  hub status");
        println!("  hub cluster list");
        let cluster = self.clusters.last().map_or("iad-2", |c| &c.name);
        println!("  hub why metrics {cluster}");
        if let Some(DemoCluster { place: Place::Directory(path), .. }) = self.clusters.last() {
            println!("  ls {}", path.display());
        }
        println!("  cd {dir}/catalog    # edit, git commit, hub wait");
    }

    /// Stops everything, spokes and hub.
    pub async fn strike(self) {
        self.end.cancel();
        let mut tasks = self.tasks.into_inner();
        let stopped = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), stopped).await.is_err() {
            tasks.shutdown().await;
        }
        drop(self.temporary);
    }
}

fn directory(options: &Options) -> anyhow::Result<(PathBuf, Option<tempfile::TempDir>)> {
    if let Some(dir) = &options.dir {
        let occupied = dir.read_dir().is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            bail!("{} is not empty; name a new directory", dir.display());
        }
        std::fs::create_dir_all(dir)?;
        return Ok((std::path::absolute(dir)?, None));
    }
    let made = tempfile::Builder::new().prefix("nave-demo-").tempdir()?;
    if options.exit { Ok((made.path().to_owned(), Some(made))) } else { Ok((made.keep(), None)) }
}

async fn commit(repository: &Path, files: super::catalog::Files, message: &str) -> anyhow::Result<String> {
    let (repository, message) = (repository.to_owned(), message.to_owned());
    let seconds = i64::try_from(system_clock()() / 1000)?;
    let made =
        tokio::task::spawn_blocking(move || git::author::commit(&repository, &files, &message, seconds))
            .await??;
    Ok(made.to_string())
}

async fn start_hub(
    data_dir: &Path,
    repository: &Path,
    tasks: &mut JoinSet<anyhow::Error>,
    end: &CancellationToken,
) -> anyhow::Result<SocketAddr> {
    let options = serve::Options {
        data_dir: data_dir.to_owned(),
        catalog: CatalogName::root(),
        url: format!("file://{}", repository.display()),
        branch: String::new(),
        path: String::new(),
        poll: POLL,
        listen: ANY_PORT,
        http: ANY_PORT,
        store: "redb".to_owned(),
        clock: system_clock(),
        config: HubConfig::default(),
    };
    let (ready, listening) = oneshot::channel();
    let cancel = end.clone();
    tasks.spawn(async move {
        match serve::serve(options, cancel, ready).await {
            Ok(()) => anyhow!("the hub ended"),
            Err(error) => error.into(),
        }
    });
    match listening.await {
        Ok(ready) => Ok(ready.grpc),
        // The hub's task knows why.
        Err(_) => match tasks.join_next().await {
            Some(Ok(error)) => Err(error),
            _ => Err(anyhow!("the hub did not start")),
        },
    }
}

type Target3 = (String, Arc<dyn Target>, Place);

/// Six directories, or the clusters that were named.
async fn targets(options: &Options, dir: &Path) -> anyhow::Result<Vec<Target3>> {
    let mut targets: Vec<Target3> = Vec::new();
    if options.contexts.is_empty() {
        for (name, ..) in CLUSTERS {
            let path = dir.join("clusters").join(name);
            std::fs::create_dir_all(&path)?;
            let target = DirTarget::open(&path, &dir.join("spokes").join(name))?;
            targets.push((name.to_owned(), Arc::new(target), Place::Directory(path)));
        }
        return Ok(targets);
    }
    // Real clusters take the names of the sample, so that its placements choose among them.
    if options.contexts.len() > CLUSTERS.len() {
        bail!("the sample has {} clusters; name at most as many contexts", CLUSTERS.len());
    }
    let names = ["fra-1", "dev-1", "iad-1", "fra-2", "dev-2", "iad-2"];
    for (context, name) in options.contexts.iter().zip(names) {
        let connect = kube::Options {
            kubeconfig: options.kubeconfig.clone(),
            context: Some(context.clone()),
            ..kube::Options::default()
        };
        let target = KubeTarget::connect(connect).await.with_context(|| format!("context {context}"))?;
        let client = stage_client(options.kubeconfig.as_deref(), context).await?;
        targets.push((name.to_owned(), Arc::new(target), Place::Cluster(client)));
    }
    Ok(targets)
}

/// A client of our own, to look at a real cluster as anybody else would.
async fn stage_client(kubeconfig: Option<&Path>, context: &str) -> anyhow::Result<::kube::Client> {
    use ::kube::config::{Config, KubeConfigOptions, Kubeconfig};
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    let file = match kubeconfig {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    Ok(::kube::Client::try_from(Config::from_custom_kubeconfig(file, &options).await?)?)
}
