//! Place: which agent a command is about, by its state directory or by its cluster and namespace.
//!
//! In: arguments. Out: a client of the cluster, a state to look at. Never: changes anything.

use std::path::PathBuf;
use std::sync::Arc;

use ::kube::Client;
use anyhow::Context as _;
use clap::Args;
use nave_spoke::state::secrets::Secrets;
use nave_spoke::state::secrets::shelf::ClusterShelf;
use nave_spoke::state::{Files, State};
use nave_spoke::target::kube;

/// What to manage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// A Kubernetes cluster.
    Kube,
    /// A directory of manifests.
    Dir(PathBuf),
}

/// Reads `kube` or `dir:PATH`.
pub fn target(text: &str) -> Result<To, String> {
    match text.strip_prefix("dir:") {
        Some("") => Err("dir: needs a path, as in dir:/srv/manifests".to_owned()),
        Some(path) => Ok(To::Dir(path.into())),
        None if text == "kube" => Ok(To::Kube),
        None => Err("it is neither kube nor dir:PATH".to_owned()),
    }
}

/// Where an agent is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The agent's state directory; without one its state is in Secrets of its namespace
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What it manages: `kube`, or `dir:PATH` for a directory of manifests
    #[arg(long, value_name = "TARGET", default_value = "kube", value_parser = target)]
    pub target: To,
    /// A kubeconfig file; default: $KUBECONFIG, ~/.kube/config, or the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig other than its current one
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The agent's own namespace, which no app may touch
    #[arg(long, value_name = "NAME", default_value = kube::DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// The only namespaces that it may look at, where its rights do not cover all
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
}

impl Place {
    /// For the target.
    pub fn options(&self) -> kube::Options {
        kube::Options {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            namespaces: self.namespaces.clone(),
            ..kube::Options::default()
        }
    }

    /// The same, with the UID by which the spoke knows the cluster, where it has joined.
    pub async fn known_options(&self) -> kube::Options {
        let identity = match self.state_to_look_at().await {
            Ok(state) => state.identity().await.ok().flatten(),
            Err(_) => None,
        };
        kube::Options { uid: identity.map(|identity| identity.cluster_uid), ..self.options() }
    }

    /// A client of the cluster.
    pub async fn client(&self) -> anyhow::Result<Client> {
        Ok(kube::client(&self.options()).await?.0)
    }

    /// The state, beside a spoke that may be running.
    pub async fn state_to_look_at(&self) -> anyhow::Result<State> {
        match &self.state_dir {
            Some(dir) => {
                anyhow::ensure!(dir.is_dir(), "{}: there is no such state directory", dir.display());
                Ok(State::within(Arc::new(Files::to_look_at(dir))).await?)
            }
            None => {
                let shelf = ClusterShelf::new(self.client().await?, &self.namespace);
                let secrets = Secrets::to_look_at(Arc::new(shelf)).await;
                let secrets = secrets.context("the state cannot be looked at")?;
                Ok(State::within(Arc::new(secrets)).await?)
            }
        }
    }

    /// A directory target has its state in a directory.
    pub fn check(&self) -> anyhow::Result<()> {
        let directory_without_state = matches!(self.target, To::Dir(_)) && self.state_dir.is_none();
        anyhow::ensure!(!directory_without_state, "--target dir:PATH needs --state-dir DIR");
        Ok(())
    }
}
