//! What operators see of history: who changed what and why, what was told at a moment, which images there are.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::CommitId;
use nave_placement::{AppKey, ClusterName};
use serde::{Deserialize, Serialize};

use crate::state::history::{Author, Cause, Changed, Turn, Version};

/// `hub history`: what changed, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryView {
    /// The changes.
    pub lines: Vec<HistoryLine>,
    /// Since when everything is told, Unix milliseconds; absent where nothing is yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begins_ms: Option<u64>,
    /// There are older ones.
    #[serde(default)]
    pub more: bool,
    /// Changes, of those that were looked through, for which there was no room when they were recorded.
    #[serde(default)]
    pub left_out: usize,
}

/// What changed on some clusters at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryLine {
    /// When it was told, Unix milliseconds.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub change: Changed,
    /// Who, for people.
    pub who: String,
    /// Why, for people.
    pub why: String,
    /// Who wrote the commits that are named, as far as Git said so then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: BTreeMap<CommitId, Author>,
}

/// `hub history --at`: what clusters were told then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThenView {
    /// The moment, Unix milliseconds.
    pub at_ms: u64,
    /// Since when everything is told, Unix milliseconds.
    pub begins_ms: u64,
    /// Every entry there was.
    pub entries: Vec<ThenRow>,
    /// Changes for which there was no room when they were recorded: as many entries may have been others.
    #[serde(default)]
    pub left_out: usize,
}

/// An entry as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThenRow {
    /// The app.
    pub app: AppKey,
    /// The cluster.
    pub cluster: ClusterName,
    /// What it was.
    #[serde(flatten)]
    pub version: Version,
    /// Since when, Unix milliseconds; absent where that was before everything that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Why it became that, if that is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// By which rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// Who, for people.
    #[serde(default)]
    pub who: String,
    /// Why, for people.
    #[serde(default)]
    pub why: String,
}

/// How long clusters took from when the hub took a commit until they were healthy at what it made of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConvergeView {
    /// When the hub took the commit, Unix milliseconds.
    pub taken_ms: u64,
    /// Half of the clusters took no longer, milliseconds; absent while none is healthy.
    pub p50_ms: Option<u64>,
    /// Of a hundred, 99 took no longer, milliseconds.
    pub p99_ms: Option<u64>,
    /// Clusters that are healthy at all that the commit made of them.
    pub clusters: usize,
    /// Of so many of which it made anything, and no later one did since.
    pub of: usize,
}

/// What a cluster was told and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BehindView {
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Of which apps.
    pub apps: Vec<AppKey>,
    /// Why, for people.
    pub why: String,
}

/// A row of `hub images`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRow {
    /// The image, as manifests have it, or as containers say.
    pub image: String,
    /// What it is by its content, where a cluster says so.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub digests: BTreeSet<String>,
    /// Apps whose manifests have it; of what runs, namespaces.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub apps: BTreeSet<AppKey>,
    /// Namespaces in which it runs.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub namespaces: BTreeSet<String>,
    /// Containers that run it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub containers: u64,
    /// Clusters.
    pub clusters: BTreeSet<ClusterName>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// `hub images`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImagesView {
    /// The images, by name.
    pub images: Vec<ImageRow>,
    /// Apps whose manifests could not be read, or clusters that did not answer, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}
