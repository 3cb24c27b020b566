//! What operators see of one object: from what runs to who wanted it.

use nave_placement::catalog::{CommitId, SourceAt};
use nave_placement::{AppKey, ClusterName, Digest, ObjectKey};
use nave_spoke::target::ask::managers::Manager;
use serde::{Deserialize, Serialize};

use super::{EntryView, HistoryLine};
use crate::state::history::Author;

/// `hub trace`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TraceView {
    /// The cluster.
    pub cluster: ClusterName,
    /// The object; absent where neither the cluster nor what it was told has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// Whether the cluster has it; absent where it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
    /// Why the cluster did not say, or did not say who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_problem: Option<String>,
    /// The objects that own it, from itself upwards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<ObjectKey>,
    /// Who else looks after it, or after the last of its owners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<Manager>,
    /// The app that it is of; absent where it is none's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// What is odd about it, or that it is no app's, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// How the app stands on the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryView>,
    /// The manifests that it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Digest>,
    /// When it was told this version, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_ms: Option<u64>,
    /// When this version was healthy first, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_ms: Option<u64>,
    /// Placements that want the app there, and where they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placements: Vec<WrittenView>,
    /// Where the app is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<WrittenView>,
    /// How it came to have this version: rollout, wave, approvals; absent where that is older than history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<HistoryLine>,
    /// The last commit that changed the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// What its source was then, where that is not in the catalog's repository: NAME@ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceAt>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<Author>,
    /// When, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author_time: Option<i64>,
}

/// An object of the catalog, and where it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WrittenView {
    /// Its name.
    pub name: String,
    /// The file.
    pub file: String,
    /// The commit that changed it last.
    pub commit: CommitId,
}
