//! The script: a first commit, a change, a foreign change put back, a revert; each seen on the clusters themselves.

use std::time::{Duration, Instant};

use ::kube::api::{Api, DynamicObject, Patch, PatchParams};
use ::kube::core::{ApiResource, GroupVersionKind};
use anyhow::{anyhow, bail};
use nave_proto::v1;

use super::catalog::files;
use super::stage::{DemoCluster, Place, Stage};
use crate::operator::views::{StatusView, WaitOutcome, WaitView};

/// How long each act may take; a local one takes well under a second.
const ACT: Duration = Duration::from_secs(60);
/// Between two looks at a cluster.
const LOOK: Duration = Duration::from_millis(20);

/// Plays on a stage.
pub struct Script<'a> {
    stage: &'a Stage,
}

impl<'a> Script<'a> {
    /// On this stage.
    pub fn new(stage: &'a Stage) -> Self {
        Self { stage }
    }

    /// All acts.
    ///
    /// # Errors
    /// When something did not happen.
    pub async fn play(&self) -> anyhow::Result<()> {
        let count = self.stage.clusters.len();
        println!("A hub, a catalog in Git and {count} spokes, all below {}\n", self.stage.dir.display());
        let begun = Instant::now();
        let status = self.converge("").await?;
        self.all_say("hello").await?;
        println!("1. first commit: {}", told(&status, begun));

        let begun = Instant::now();
        let commit = self.stage.commit(files("good morning"), "Say good morning").await?;
        let status = self.converge(&commit).await?;
        self.all_say("good morning").await?;
        println!("2. a commit changes app web: {}", told(&status, begun));

        let cluster = self.stage.clusters.first().ok_or_else(|| anyhow!("there is no cluster"))?;
        let begun = Instant::now();
        cluster.meddle().await?;
        self.until(cluster, "good morning").await?;
        println!(
            "3. somebody changes web on {} by hand: put back after {} ms",
            cluster.name,
            begun.elapsed().as_millis()
        );

        let begun = Instant::now();
        let commit = self.stage.commit(files("hello"), "Revert \"Say good morning\"").await?;
        let status = self.converge(&commit).await?;
        self.all_say("hello").await?;
        println!("4. the commit is reverted: {}", told(&status, begun));
        Ok(())
    }

    /// `hub wait --commit C`.
    async fn converge(&self, commit: &str) -> anyhow::Result<StatusView> {
        let deadline = Instant::now() + ACT;
        loop {
            let filter = v1::Filter { commit: commit.to_owned(), ..v1::Filter::default() };
            let timeout_ms = u64::try_from(ACT.as_millis())?;
            let request = v1::WaitRequest { filter: Some(filter), timeout_ms, include_offline: true };
            let answer = self.stage.client.lock().await.wait(request).await;
            let answer = answer.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
            let view: WaitView = serde_json::from_slice(&answer.json)?;
            // Before the first spoke has enrolled, an empty fleet is as wanted.
            let joined = view.status.connected == self.stage.clusters.len();
            match view.outcome {
                WaitOutcome::Converged if joined => return Ok(view.status),
                WaitOutcome::Converged if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                _ => bail!("the fleet did not converge: {}", view.message),
            }
        }
    }

    async fn all_say(&self, greeting: &str) -> anyhow::Result<()> {
        for cluster in &self.stage.clusters {
            self.until(cluster, greeting).await?;
        }
        Ok(())
    }

    async fn until(&self, cluster: &DemoCluster, greeting: &str) -> anyhow::Result<()> {
        let deadline = Instant::now() + ACT;
        loop {
            let seen = cluster.greeting().await;
            if seen.as_deref().ok() == Some(greeting) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("web on {} should say {greeting:?}; last seen: {seen:?}", cluster.name);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn told(status: &StatusView, begun: Instant) -> String {
    let commit = status.catalog.commit.as_ref().map_or("none", |c| c.short());
    format!(
        "{} entries on {} clusters converged at commit {commit} after {} ms",
        status.entries,
        status.clusters,
        begun.elapsed().as_millis()
    )
}

impl DemoCluster {
    /// What `web` says on the cluster: read from the cluster, not from Nave.
    async fn greeting(&self) -> anyhow::Result<String> {
        match &self.place {
            Place::Directory(_) => {
                let text = std::fs::read_to_string(self.file()?)?;
                let object: serde_json::Value = serde_saphyr::from_str(&text)?;
                object["data"]["greeting"].as_str().map(str::to_owned).ok_or_else(|| anyhow!("no greeting"))
            }
            Place::Cluster(client) => {
                let object = config_maps(client).get("web").await?;
                object.data["data"]["greeting"]
                    .as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| anyhow!("no greeting"))
            }
        }
    }

    /// Changes it behind Nave's back.
    async fn meddle(&self) -> anyhow::Result<()> {
        match &self.place {
            Place::Directory(_) => {
                let file = self.file()?;
                let text = std::fs::read_to_string(&file)?.replace("good morning", "somebody was here");
                std::fs::write(file, text)?;
            }
            Place::Cluster(client) => {
                let patch = serde_json::json!({"data": {"greeting": "somebody was here"}});
                config_maps(client).patch("web", &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
        }
        Ok(())
    }

    /// The file of `web`'s ConfigMap.
    fn file(&self) -> anyhow::Result<std::path::PathBuf> {
        let Place::Directory(dir) = &self.place else { bail!("{} is no directory", self.name) };
        let files = std::fs::read_dir(dir)?.filter_map(Result::ok).map(|entry| entry.path());
        let named = |path: &std::path::PathBuf| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            name.starts_with("configmap") && name.contains("web")
        };
        files.into_iter().find(named).ok_or_else(|| anyhow!("app web has no file in {}", dir.display()))
    }
}

fn config_maps(client: &::kube::Client) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
    Api::namespaced_with(client.clone(), "web", &resource)
}
