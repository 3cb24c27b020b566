//! Place: which agent a command is about, by its state directory or by its cluster and namespace.
//!
//! In: arguments. Out: a client of the cluster, a state to look at. Never: changes anything.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::kube::Client;
use anyhow::Context as _;
use clap::Args;
use nave_spoke::state::secrets::Secrets;
use nave_spoke::state::secrets::shelf::ClusterShelf;
use nave_spoke::state::{Files, State, TARGET};
use nave_spoke::target::dir::DirTarget;
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
    #[arg(long, value_name = "NAME", env = "NAVE_NAMESPACE", default_value = kube::DEFAULT_NAMESPACE)]
    pub namespace: String,
    /// The only namespaces that it may look at, where its rights do not cover all
    #[arg(long, value_name = "NAMES", env = "NAVE_NAMESPACES", value_delimiter = ',')]
    pub namespaces: Vec<String>,
}

impl Place {
    /// For the target. Nothing but `spoke run` makes the namespace.
    pub fn options(&self) -> kube::Options {
        kube::Options {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            namespaces: self.namespaces.clone(),
            create_namespace: false,
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

    /// A directory target has its state in a directory, apart from the manifests: whoever reads those would read keys too,
    /// and whoever removes the state would remove what runs.
    pub fn check(&self) -> anyhow::Result<()> {
        let To::Dir(path) = &self.target else { return Ok(()) };
        let state = self.state_dir.as_ref().context("--target dir:PATH needs --state-dir DIR")?;
        let (manifests, state) = (resolved(path)?, resolved(state)?);
        anyhow::ensure!(
            !manifests.starts_with(&state) && !state.starts_with(&manifests),
            "{} and {}: the manifests and the state directory must not be one within the other",
            manifests.display(),
            state.display()
        );
        Ok(())
    }
}

/// The target in a directory, with what it keeps in the state directory.
pub fn directory(path: &Path, state: &Path) -> anyhow::Result<DirTarget> {
    Ok(DirTarget::open(path, &state.join(TARGET))?)
}

/// A path without links, also where its end is not there yet.
fn resolved(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
    let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
    Ok(match there {
        Some((above, real)) => path.strip_prefix(above).map(|rest| real.join(rest)).unwrap_or(path),
        None => path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_and_state_are_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("state/within")).expect("made");
        std::os::unix::fs::symlink(at("state"), at("link")).expect("made");
        let rows = [
            ("manifests", "state", true),
            ("state-of-manifests", "state", true),
            ("state", "state", false),
            ("state/manifests", "state", false),
            ("state/within/new/er", "state", false),
            ("link/manifests", "state", false),
            ("state/../state/x", "state", false),
            ("manifests", "manifests/state", false),
        ];
        for (manifests, state, fine) in rows {
            let place = Place {
                state_dir: Some(at(state)),
                target: To::Dir(at(manifests)),
                kubeconfig: None,
                context: None,
                namespace: String::new(),
                namespaces: Vec::new(),
            };
            assert_eq!(place.check().is_ok(), fine, "{manifests} and {state}");
        }
    }
}
