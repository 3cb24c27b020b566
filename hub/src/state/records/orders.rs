//! Orders that last: what operators paused, and what they pinned.

use nave_placement::catalog::{CommitId, Sources};
use nave_placement::select::Selector;
use nave_placement::{AppKey, ClusterName, Digest};
use serde::{Deserialize, Serialize};

use crate::state::rfc3339;

/// What is paused: an app, a cluster, an app on a cluster; all, where neither is named.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseScope {
    /// The app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// The cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
}

impl PauseScope {
    /// Whether an entry is meant.
    pub fn covers(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        self.is_of(app) && self.is_on(cluster)
    }

    /// Whether an app is meant, wherever it is.
    pub fn is_of(&self, app: &AppKey) -> bool {
        self.app.as_ref().is_none_or(|paused| paused == app)
    }

    /// Whether something of a cluster is meant.
    pub fn is_on(&self, cluster: &ClusterName) -> bool {
        self.cluster.as_ref().is_none_or(|paused| paused == cluster)
    }

    /// What ends its pause.
    pub fn resume(&self) -> String {
        let app = self.app.as_ref().map(|app| format!(" {app}")).unwrap_or_default();
        let cluster =
            self.cluster.as_ref().map(|cluster| format!(" --cluster {cluster}")).unwrap_or_default();
        let all = if app.is_empty() && cluster.is_empty() { " --all" } else { "" };
        format!("hub resume{app}{cluster}{all}")
    }

    /// As the key of its record has it, behind the kind.
    pub(in crate::state) fn from_key(key: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let (cluster, app) = key.split_once('/').ok_or("the key of a pause has a cluster and an app")?;
        let named = |part: &str| (part != "*").then(|| part.to_owned());
        let app = named(app).map(|app| app.parse()).transpose()?;
        Ok(Self { app, cluster: named(cluster).map(|cluster| cluster.parse()).transpose()? })
    }
}

impl std::fmt::Display for PauseScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.app, &self.cluster) {
            (Some(app), Some(cluster)) => write!(f, "app {app} on cluster {cluster}"),
            (Some(app), None) => write!(f, "app {app}"),
            (None, Some(cluster)) => write!(f, "cluster {cluster}"),
            (None, None) => write!(f, "everything"),
        }
    }
}

/// An operator lets nothing of something change for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseRecord {
    /// Of what.
    pub scope: PauseScope,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Until when, Unix milliseconds.
    pub until_ms: u64,
    /// Who ordered it.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl std::fmt::Display for PauseRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { scope, until_ms, by, reason, .. } = self;
        write!(f, "{scope} is paused until {} by {by}", rfc3339(*until_ms))?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}

/// An operator decided that an app stays at a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinRecord {
    /// Names it.
    pub id: String,
    /// Which app.
    pub app: AppKey,
    /// What it is by this commit.
    pub commit: CommitId,
    /// What the remotes of its source were.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub sources: Sources,
    /// On clusters with these labels.
    #[serde(default)]
    pub selector: Selector,
    /// Since when, Unix milliseconds.
    pub at_ms: u64,
    /// Who.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

impl PinRecord {
    /// The id of a pin of an app on clusters with these labels: one app has one of it.
    pub fn id_of(app: &AppKey, selector: &Selector) -> String {
        let of = format!("{app} {selector}");
        format!("p-{}", Digest::of(of.as_bytes()).short())
    }
}

impl std::fmt::Display for PinRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { app, commit, sources, selector, at_ms, by, reason, .. } = self;
        write!(f, "app {app} is pinned to commit {}", commit.short())?;
        for at in sources.values() {
            write!(f, " with its source {}", at.short())?;
        }
        if !selector.0.is_empty() {
            write!(f, " on clusters with {selector}")?;
        }
        write!(f, " by {by} since {}", rfc3339(*at_ms))?;
        if reason.is_empty() { Ok(()) } else { write!(f, ": {reason}") }
    }
}
