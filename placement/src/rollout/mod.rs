//! Rollout: moves a changed app through its clusters, wave by wave.
//!
//! In: how an app moves ([`crate::catalog::Rollout`]), what it is to become, what is seen of its clusters, the time. Out: which
//! clusters may change now, which return to what they had, and what is remembered of it.
//! Never: lets more of a wave be unavailable than its rule allows; advances on a report that is older than what was sent; knows
//! what a change consists of.
//!
//! A [`Plan`] is made once and never changes. A [`Course`] is what is remembered of an app: which version is complete, which
//! plan is under way and how far, which version is blocked. [`step`] is a function of both and of the moment; whoever is cut off
//! between two steps does the same again.

mod advance;
mod back;
mod basis;
mod hear;
mod plan;
#[cfg(test)]
mod tests;
mod waves;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::{Before, CommitId, OnNewRevision, Rollout, Sources, Then};
use crate::fleet::Candidate;
use crate::{AppKey, ClusterName, Digest};

pub use advance::{Moment, step};
pub use basis::Basis;

/// As many clusters have an app installed first at once.
pub const AT_ONCE: usize = 10;
/// Versions that a course remembers.
pub const VERSIONS: usize = 10;
/// Ended rollouts that a course remembers.
pub const PAST: usize = 10;
/// So often superseded before its last wave, an app is starved.
pub const STARVED: u32 = 3;

/// `APP@SHORTVERSION.N`: the Nth rollout of this version of the app.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutId(String);

impl RolloutId {
    /// Of a version of an app, so many-th.
    pub fn new(app: &AppKey, version: &Digest, number: u32) -> Self {
        Self(format!("{app}@{}.{number}", version.short()))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why there is a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The app's version changed.
    Version,
    /// Rules or labels put the app on many clusters, take it from many, or change it on many.
    Placement,
    /// The app is new, and on many clusters.
    FirstInstallation,
    /// An operator pinned it.
    Pin,
    /// An operator wants it tried again.
    Retry,
}

/// How an app moves to one version. Made once; never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Its id.
    pub id: RolloutId,
    /// The rollout before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RolloutId>,
    /// Why there is one.
    pub cause: Cause,
    /// What the app becomes.
    pub basis: Basis,
    /// The commit that says so.
    pub commit: CommitId,
    /// What the remotes of its sources were, where it has any.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub sources: Sources,
    /// When it was made, Unix milliseconds.
    pub made_ms: u64,
    /// Its waves, in order; none is empty.
    pub waves: Vec<PlannedWave>,
    /// For how long a cluster may take, milliseconds.
    pub deadline_ms: u64,
    /// What happens when more failed than may.
    pub then: Then,
    /// What happens when the version changes again.
    pub on_new_revision: OnNewRevision,
}

impl Plan {
    /// The wave in which a cluster has its turn; whoever came later has it in the last one.
    pub fn wave_of(&self, cluster: &ClusterName) -> usize {
        let of = self.waves.iter().position(|wave| wave.members.binary_search(cluster).is_ok());
        of.unwrap_or(self.waves.len().saturating_sub(1))
    }

    /// Whether all members of a wave may be under way together.
    pub fn is_at_once(&self, wave: usize) -> bool {
        self.waves.get(wave).is_some_and(|wave| wave.max_unavailable as usize >= wave.members.len())
    }

    /// How many clusters it has.
    pub fn size(&self) -> usize {
        self.waves.iter().map(|wave| wave.members.len()).sum()
    }

    /// Whether a cluster is in one of its waves.
    pub fn has(&self, cluster: &ClusterName) -> bool {
        self.waves.iter().any(|wave| wave.members.binary_search(cluster).is_ok())
    }
}

/// A wave with its clusters, and its numbers worked out for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedWave {
    /// Its name.
    pub name: String,
    /// Its clusters, by name.
    pub members: Vec<ClusterName>,
    /// How many may be unavailable at once.
    pub max_unavailable: u32,
    /// How many may fail.
    pub max_failed: u32,
    /// For how long all of it has to be healthy before the next begins, milliseconds.
    #[serde(default)]
    pub soak_ms: u64,
    /// So many more each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<PlannedPace>,
    /// What must be so before it begins.
    #[serde(default)]
    pub before: Before,
}

/// So many more of a wave's clusters each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlannedPace {
    /// So many.
    pub step: u32,
    /// After how long, milliseconds.
    pub every_ms: u64,
}

/// What is remembered of how an app moves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Course {
    /// The version that was rolled out last to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Completed>,
    /// The rollout that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Progress>,
    /// The version that the app does not go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// An operator wants the version in effect tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Order>,
    /// Versions that were rolled out to their end, the newest last, at most [`VERSIONS`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<Version>,
    /// Rollouts that ended, the newest last, at most [`PAST`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<Ended>,
}

/// A version that an app had on all of its clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Names it.
    pub digest: Digest,
    /// The commit that said so.
    pub commit: CommitId,
    /// What the remotes of its sources were.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub sources: Sources,
    /// Since when, Unix milliseconds.
    pub at_ms: u64,
}

/// The version that was rolled out last to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completed {
    /// What the app is.
    pub basis: Basis,
    /// The commit that said so.
    pub commit: CommitId,
    /// What the remotes of its sources were.
    #[serde(default, skip_serializing_if = "Sources::is_empty")]
    pub sources: Sources,
    /// Since when, Unix milliseconds.
    pub at_ms: u64,
    /// Clusters that were offline when they had their turn, and catch up.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub apart: BTreeSet<ClusterName>,
    /// How many of these may be unavailable at once.
    #[serde(default)]
    pub apart_at_once: u32,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The plan.
    pub plan: RolloutId,
    /// What it does.
    pub phase: Phase,
    /// The number of the wave that has its turn.
    pub wave: usize,
    /// Since when, Unix milliseconds; absent until it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave_since_ms: Option<u64>,
    /// Since when all of it is healthy, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaking_since_ms: Option<u64>,
    /// Since when the version is healthy where the wave wants it to be, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_on_since_ms: Option<u64>,
    /// Waves that were approved, and by whom.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approved: BTreeMap<String, String>,
    /// Clusters that were sent the change and are not healthy yet.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub underway: BTreeMap<ClusterName, Underway>,
    /// Clusters that were healthy after the change.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub healthy: BTreeSet<ClusterName>,
    /// Clusters that were not in time.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub failed: BTreeSet<ClusterName>,
    /// Clusters that were not in time in an earlier wave, or that an operator let pass.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub excused: BTreeSet<ClusterName>,
    /// Clusters that the app has left.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<ClusterName>,
    /// An operator paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Order>,
    /// How often a rollout of this app was superseded before its last wave, without one in between that came so far.
    #[serde(default)]
    pub superseded: u32,
}

impl Progress {
    /// Whether a cluster had its turn.
    pub fn had(&self, cluster: &ClusterName) -> bool {
        self.underway.contains_key(cluster)
            || self.healthy.contains(cluster)
            || self.failed.contains(cluster)
            || self.excused.contains(cluster)
            || self.gone.contains(cluster)
    }
}

/// What a rollout does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Phase {
    /// It goes from wave to wave.
    Progressing,
    /// More clusters failed than may: it waits for an operator.
    Halted {
        /// Why, for people.
        reason: String,
    },
    /// The clusters that changed return to what they had.
    RollingBack {
        /// Why, for people.
        reason: String,
        /// Who ordered it; absent: its own rule.
        by: Option<String>,
        /// Clusters that were told to return, and when, Unix milliseconds.
        returned: BTreeMap<ClusterName, u64>,
    },
}

/// A cluster that was sent the change and is not healthy yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Underway {
    /// Since when it could be at work, Unix milliseconds.
    pub since_ms: u64,
    /// It was not healthy before, and costs no budget.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sick: bool,
    /// It waits by its own rules, e.g. for a window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// The app leaves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

/// A version that an app does not go to, because it was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Block {
    /// The version.
    pub basis: Basis,
    /// The rollout that was rolled back.
    pub rollout: RolloutId,
    /// Since when, Unix milliseconds.
    pub at_ms: u64,
    /// Why, for people.
    pub reason: String,
    /// Clusters that the app was to leave then: it leaves them no sooner than it goes on.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<ClusterName>,
}

/// An operator said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Who.
    pub by: String,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All of its waves had their turn.
    Completed,
    /// It was rolled back.
    RolledBack,
    /// Another version took its place.
    Superseded,
}

/// A rollout that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// Which.
    pub id: RolloutId,
    /// Why there was one.
    pub cause: Cause,
    /// The commit of its version.
    pub commit: CommitId,
    /// How.
    pub outcome: Outcome,
    /// When it began, Unix milliseconds.
    pub made_ms: u64,
    /// When it ended, Unix milliseconds.
    pub at_ms: u64,
    /// How many clusters it had, and how many of them were healthy after it.
    pub clusters: u32,
    /// Of these, so many were healthy after the change.
    pub healthy: u32,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// What an app is to become, and how it moves.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Which app.
    pub app: &'a AppKey,
    /// What it is by the revision in effect.
    pub basis: &'a Basis,
    /// The commit in effect.
    pub commit: &'a CommitId,
    /// What the remotes of its sources are.
    pub sources: &'a Sources,
    /// How it moves.
    pub rule: &'a Rollout,
    /// From apply until it counts as failed, milliseconds.
    pub timeout_ms: u64,
    /// The catalog has no such app any more.
    pub is_gone: bool,
}

/// A cluster, as far as an app is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// What is known of it.
    pub candidate: &'a Candidate,
    /// What is to happen to the app there.
    pub to_do: ToDo,
    /// How it is doing with what it was told last.
    pub health: Health,
    /// Why it cannot be sent a change now.
    pub obstacle: Option<Obstacle>,
    /// Nothing is granted to the app's catalog there any more: nobody waits for it, and it catches up once something is.
    pub is_withdrawn: bool,
    /// Changes may start there now, by its windows and freezes.
    pub may_start: bool,
    /// It was never told anything: it has just joined.
    pub has_just_joined: bool,
    /// It has something to return to.
    pub can_return: bool,
    /// What it is to become is what an operator pinned.
    pub is_pinned: bool,
    /// When it was told what it runs of the app, Unix milliseconds.
    pub told_ms: u64,
}

/// What is to happen to an app on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToDo {
    /// Nothing: it was told what it shall run.
    Nothing,
    /// Another version comes.
    Change,
    /// It comes.
    Install,
    /// It leaves.
    Remove,
    /// It is on its way out, as it was told.
    Leaving,
}

impl ToDo {
    /// Whether something has to be sent.
    pub fn is_due(self) -> bool {
        matches!(self, Self::Change | Self::Install | Self::Remove)
    }
}

/// How a cluster is doing with what it was told last of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It said, of just this, that it is healthy.
    Healthy,
    /// It has not said so.
    NotYet,
    /// It waits by its own rules, e.g. for a window.
    Waits,
    /// It said that something failed.
    Degraded,
}

/// Why a cluster cannot be sent a change now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It is offline, or worked on: it is set apart, and catches up later.
    Away,
    /// It waits for something that ends: it keeps its place.
    Paused,
}

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum WaitsFor {
    /// Sessions, after the hub started.
    Sessions {
        /// At most until then, Unix milliseconds.
        until_ms: u64,
    },
    /// An operator, who paused it.
    Resume {
        /// Who and why.
        order: Order,
    },
    /// An operator, because more clusters failed than may.
    Retry {
        /// Why.
        reason: String,
    },
    /// An operator, who has to approve a wave.
    Approval {
        /// Which wave.
        wave: String,
    },
    /// The version being healthy elsewhere.
    HealthyOn {
        /// Which wave waits.
        wave: String,
        /// Clusters that are healthy.
        healthy: usize,
        /// Of so many.
        of: usize,
        /// Until when they have to stay so, Unix milliseconds; absent while they are not.
        #[serde(skip_serializing_if = "Option::is_none")]
        until_ms: Option<u64>,
    },
    /// Clusters becoming healthy.
    Health {
        /// Of which wave.
        wave: String,
        /// So many.
        clusters: usize,
        /// One of them.
        first: ClusterName,
    },
    /// The wave's soak.
    Soak {
        /// Which wave.
        wave: String,
        /// Until when, Unix milliseconds.
        until_ms: u64,
    },
    /// The wave's pace.
    Pace {
        /// Which wave.
        wave: String,
        /// Until when, Unix milliseconds.
        until_ms: u64,
    },
    /// A cluster of the wave that can be reached and is not paused.
    Reachable {
        /// Which wave.
        wave: String,
        /// So many are away or paused.
        clusters: usize,
    },
    /// A grant: the version has something that is not granted to its tenant's catalog.
    Granted {
        /// Which wave.
        wave: String,
        /// On so many of its clusters.
        clusters: usize,
        /// What it is, for people.
        why: String,
    },
    /// Clusters returning to what they had.
    Return {
        /// So many have not yet.
        clusters: usize,
    },
}

/// What comes of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// What is to be remembered.
    pub course: Course,
    /// A plan that was made now: it is `course.current`'s.
    pub plan: Option<Plan>,
    /// Clusters that may change now. All others stay as they are.
    pub go: BTreeSet<ClusterName>,
    /// Clusters that return to what they had.
    pub back: BTreeSet<ClusterName>,
    /// What it waits for.
    pub waits_for: Option<WaitsFor>,
    /// When the time alone brings it further, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// What happened, for the audit log.
    pub events: Vec<Event>,
}

/// Something that the audit log tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened, CamelCase.
    pub what: &'static str,
    /// To which rollout.
    pub id: RolloutId,
    /// Why, or what of it.
    pub why: String,
}
