//! Conditions: what was told and still lasts, so that nothing is told twice and no end is forgotten, also by the next hub.
//!
//! In, out: one record of the store. Never: grows with apps times clusters.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::CommitId;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use serde::{Deserialize, Serialize};

use super::OfHold;

/// Commits of which it is awaited that everything is healthy. Older ones are given up: nobody looks at their status any more.
pub const OPEN: usize = 16;
/// Tenants that the root catalog names no more and that are remembered, in case it names them again: 50 KiB.
pub const GONE: usize = 32;

/// What was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Conditions {
    /// Since when events are told, Unix milliseconds: what ended before is history.
    pub begun_ms: u64,
    /// The number of the last event.
    pub sequence: u64,
    /// Of the root catalog's commits.
    #[serde(flatten)]
    pub root: OfCatalog,
    /// Of tenants' commits, with some of those that are no more.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<CatalogName, OfCatalog>,
    /// Of apps.
    pub apps: BTreeMap<AppKey, OfApp>,
    /// Holds, by their ids, as far as the end of one has to say what it was.
    pub holds: BTreeMap<String, OfHold>,
    /// Clusters that were told to be offline.
    pub offline: BTreeSet<ClusterName>,
    /// Connected clusters whose certificates were told to end soon.
    pub expiring: BTreeSet<ClusterName>,
    /// So was the fleet's CA.
    pub ca: bool,
}

/// What was told of a catalog's commits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfCatalog {
    /// The commit that was told as taken last.
    pub head: Option<CommitId>,
    /// Commits that were taken and are not converged, the oldest first, at most [`OPEN`].
    pub open: Vec<CommitId>,
    /// Of these, those of which something was taken back, or was a mistake: once others are in effect nobody waits for them.
    pub lost: BTreeSet<CommitId>,
    /// The commit whose mistakes were told.
    pub faulty: Option<CommitId>,
    /// The apps whose mistakes they were; none stands for what is no app's.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub faults: BTreeSet<Option<AppKey>>,
}

impl OfCatalog {
    /// Something of a commit is not well: that it is will be told (again).
    pub fn reopen(&mut self, commit: &CommitId) {
        if self.open.contains(commit) {
            return;
        }
        let is_newest = self.head.as_ref() == Some(commit);
        // How old one is that is not the newest is not known; it waits for nobody then.
        let place = if is_newest { self.open.len() } else { 0 };
        self.open.insert(place, commit.clone());
        let over = self.open.len().saturating_sub(OPEN);
        self.open.drain(..over);
    }
}

/// What was told of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OfApp {
    /// The version that was healthy everywhere last, and its commit; nothing once something failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converged: Option<(Digest, CommitId)>,
    /// Causes by which it fails, by their digests, and on how many clusters, as powers of ten. They stay until all is well,
    /// so that what comes and goes is told once.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failing: BTreeMap<String, u32>,
    /// Where its rollout stands, if that is worth telling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Stand>,
    /// When the last rollout that was told as rolled back ended, Unix milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub ended_ms: u64,
    /// On how many clusters it differs, as powers of ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<u32>,
    /// When it was told last that drift was put back, Unix milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub corrected_ms: u64,
    /// What of it is to come or to go and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
}

/// Entries of an app that are to come or to go, and wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Moving {
    /// How many.
    pub entries: usize,
    /// Commits that were new when some of them were seen first: of the root's catalog, or of a tenant's.
    pub commits: BTreeSet<(Option<CatalogName>, CommitId)>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Where a rollout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stand {
    /// Its id.
    pub rollout: String,
    /// What it does.
    pub stage: Stage,
}

/// What a rollout does that is worth telling.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Stage {
    /// It goes on.
    Goes,
    /// It halted.
    Halted,
    /// It rolls back.
    RollingBack,
    /// A wave waits for approval.
    AwaitsApproval {
        /// Which.
        wave: String,
    },
}

/// How large a number is: 0 below ten, 1 below a hundred, and so on.
pub fn magnitude(number: usize) -> u32 {
    number.checked_ilog10().unwrap_or_default()
}
