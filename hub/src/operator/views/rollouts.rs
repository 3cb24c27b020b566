//! What operators get of rollouts.

use nave_placement::catalog::CommitId;
use nave_placement::rollout::{Cause, Order, WaitsFor};
use nave_placement::{AppKey, ClusterName};
use serde::{Deserialize, Serialize};

use crate::state::records::PinRecord;

/// How a rollout stands; worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RolloutPhase {
    /// More clusters failed than may: it waits for an operator.
    Halted,
    /// Clusters return to what they had.
    RollingBack,
    /// It was rolled back; its version is blocked.
    Blocked,
    /// It was superseded so often before its last wave that most clusters never see a change.
    Starved,
    /// An operator paused it.
    Paused,
    /// It waits for something other than clusters becoming healthy.
    Waiting,
    /// It goes from wave to wave.
    Progressing,
    /// It was rolled back.
    RolledBack,
    /// Another version took its place.
    Superseded,
    /// All of its waves had their turn.
    Completed,
}

/// A row of `hub rollout list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutRow {
    /// `APP@SHORTVERSION.N`.
    pub id: String,
    /// The app.
    pub app: AppKey,
    /// All apps that move by it, where it is the first of a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<AppKey>,
    /// How it stands.
    pub phase: RolloutPhase,
    /// Why there is one.
    pub cause: Cause,
    /// The commit of its version.
    pub commit: CommitId,
    /// When it began, Unix milliseconds.
    pub since_ms: u64,
    /// When it ended, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
    /// The wave that has its turn, from 1; absent once it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<usize>,
    /// Its clusters.
    pub clusters: usize,
    /// Of these, healthy after the change.
    pub healthy: usize,
    /// Of these, sent the change and not healthy yet.
    #[serde(default)]
    pub underway: usize,
    /// Of these, not healthy in time.
    #[serde(default)]
    pub failed: usize,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
    /// For people.
    pub message: String,
}

/// `hub rollout show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// The row of the list.
    #[serde(flatten)]
    pub row: RolloutRow,
    /// Its waves, in order; none once it ended.
    pub waves: Vec<WaveView>,
    /// Who paused it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Order>,
    /// How often a rollout of the app was superseded before its last wave.
    #[serde(default)]
    pub superseded: u32,
}

/// A wave of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaveView {
    /// Its name.
    pub name: String,
    /// How it stands.
    pub state: WaveState,
    /// How many clusters it has.
    pub clusters: usize,
    /// Of these, healthy after the change.
    pub healthy: usize,
    /// How many may be unavailable at once.
    pub max_unavailable: u32,
    /// Clusters that were sent the change and are not healthy yet.
    pub underway: Vec<ClusterName>,
    /// Clusters that were not healthy in time.
    pub failed: Vec<ClusterName>,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// How a wave stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaveState {
    /// It had its turn.
    Done,
    /// It has its turn.
    Current,
    /// It has its turn later.
    Next,
}

/// A pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinView {
    /// The record.
    #[serde(flatten)]
    pub record: PinRecord,
    /// How many clusters shall run what is pinned.
    pub clusters: usize,
    /// Why they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// For people.
    pub message: String,
}

/// A version that an app does not go to, because it was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockView {
    /// The app.
    pub app: AppKey,
    /// The rollout that was rolled back.
    pub rollout: String,
    /// Since when, Unix milliseconds.
    pub since_ms: u64,
    /// Why, for people.
    pub reason: String,
}
