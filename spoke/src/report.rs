//! Report: what came of an assignment on this cluster, in the domain's words.
//!
//! In: what [`crate::apply`] did and saw. Out: per app a state, a reason, counts, and details of unhealthy objects only.
//! Never: knows the wire; a closed enum says every reason, and its text is shown word for word.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::{AppKey, Digest, ObjectKey};
use serde::{Deserialize, Serialize};

use crate::target::{Health, HealthState};

/// How an app is on this cluster, from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AppState {
    /// All of it is applied, and healthy.
    Healthy,
    /// Applied; on its way to being healthy, or to being gone.
    Progressing,
    /// Its turn has not come.
    #[default]
    Pending,
    /// Something that is not its own is missing; it goes on by itself once that is there.
    Waiting,
    /// Applied, and an object of it is not healthy.
    Degraded,
    /// Some of it was refused. Somebody has to do something.
    Failed,
}

/// Why an app is not simply healthy. Closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Reason {
    /// The entry is not what this spoke can read.
    #[error("the entry cannot be read: {message}")]
    EntryUnreadable {
        /// What is wrong.
        message: String,
    },
    /// The bundle is not here yet.
    #[error("bundle {} is not here yet", .bundle.short())]
    BundleMissing {
        /// Which.
        bundle: Digest,
    },
    /// The bundle is not what the hub writes.
    #[error("{message}")]
    BundleDamaged {
        /// What is wrong.
        message: String,
    },
    /// Two of its objects fall together once the namespace is put on.
    #[error("{message}")]
    DefinedTwice {
        /// Which, and how to mend it.
        message: String,
    },
    /// The target does not serve the object's kind (yet).
    #[error("{object}: the kind is not served here; install its CustomResourceDefinition")]
    NotServed {
        /// Which object.
        object: ObjectKey,
    },
    /// The state of an object could not be seen, so nothing is done about it.
    #[error("{object} could not be seen: {message}")]
    NotSeen {
        /// Which object.
        object: ObjectKey,
        /// Why.
        message: String,
    },
    /// The target could not be reached.
    #[error("the target cannot be reached: {message}")]
    Unreachable {
        /// Why.
        message: String,
    },
    /// It is not known what another entry claims, so nothing is taken away meanwhile.
    #[error("nothing is removed until the objects of {app} are known")]
    ClaimsUnknown {
        /// Which entry.
        app: AppKey,
    },
    /// Another app claims the same object, and comes first.
    #[error("{object} is claimed by {by} too; remove it from one of the two apps")]
    ClaimedTwice {
        /// Which object.
        object: ObjectKey,
        /// The app that has it.
        by: AppKey,
    },
    /// The target refuses to write an object.
    #[error("{object}: {message}")]
    Refused {
        /// Which object.
        object: ObjectKey,
        /// The target's words.
        message: String,
    },
    /// Others own (fields of) an object that were never ours.
    #[error("{object}: {message}")]
    Conflict {
        /// Which object.
        object: ObjectKey,
        /// The target's words.
        message: String,
    },
    /// The target refuses to remove an object.
    #[error("{object} could not be removed: {message}")]
    RemovalFailed {
        /// Which object.
        object: ObjectKey,
        /// The target's words.
        message: String,
    },
    /// More objects would be deleted than were approved, so none was.
    #[error("{would} objects would be deleted, {approved} are approved; none was deleted")]
    PruneRefused {
        /// So many.
        would: u64,
        /// So many are allowed.
        approved: u32,
    },
    /// A plan would have broken a promise and was not carried out.
    #[error("not carried out, please report this: {message}")]
    PlanRefused {
        /// Which promise.
        message: String,
    },
    /// A deleted object is still there: its finalizers are at work.
    #[error("{object} is being deleted")]
    Terminating {
        /// Which object.
        object: ObjectKey,
    },
    /// An object is not healthy.
    #[error("{object}: {}{}{}", .health.reason, if .health.message.is_empty() || .health.reason.is_empty() { "" } else { ": " }, .health.message)]
    Unhealthy {
        /// Which object.
        object: ObjectKey,
        /// How it is.
        health: Health,
    },
    /// The round was broken off before the app's turn ended.
    #[error("not finished yet")]
    Interrupted,
}

impl Reason {
    /// The state that an app is in for this reason.
    pub fn state(&self) -> AppState {
        match self {
            Self::BundleMissing { .. }
            | Self::NotServed { .. }
            | Self::NotSeen { .. }
            | Self::Unreachable { .. }
            | Self::ClaimsUnknown { .. } => AppState::Waiting,
            Self::Terminating { .. } => AppState::Progressing,
            Self::Interrupted => AppState::Pending,
            Self::Unhealthy { health, .. } => match health.state {
                HealthState::Healthy | HealthState::Suspended => AppState::Healthy,
                HealthState::Progressing | HealthState::Unknown => AppState::Progressing,
                HealthState::Degraded => AppState::Degraded,
            },
            Self::EntryUnreadable { .. }
            | Self::BundleDamaged { .. }
            | Self::DefinedTwice { .. }
            | Self::ClaimedTwice { .. }
            | Self::Refused { .. }
            | Self::Conflict { .. }
            | Self::RemovalFailed { .. }
            | Self::PruneRefused { .. }
            | Self::PlanRefused { .. } => AppState::Failed,
        }
    }
}

/// An object that is not healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnhealthyObject {
    /// Which.
    pub object: ObjectKey,
    /// How it is, and why.
    pub health: Health,
}

/// What came of one app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppReport {
    /// The verdict.
    pub state: AppState,
    /// The worst thing that stands in the way.
    pub reason: Option<Reason>,
    /// `reason` for people, and how many more there are.
    pub message: String,
    /// The version that is applied and pruned completely.
    pub version: Option<Digest>,
    /// Number of objects that it has on the target, or shall have.
    pub objects: u32,
    /// How many of them are there and healthy.
    pub healthy: u32,
    /// Those that are there and are not, at most [`MAX_UNHEALTHY`].
    pub unhealthy: Vec<UnhealthyObject>,
    /// Foreign changes that were put back in this round.
    pub corrected: u32,
    /// Objects that left the app in this round and stay on the target as nobody's.
    pub kept: Vec<ObjectKey>,
}

/// Most unhealthy objects that an app's report names: a screenful, and a bounded message.
pub const MAX_UNHEALTHY: usize = 20;

/// What came of one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Every entry.
    pub apps: BTreeMap<AppKey, AppReport>,
    /// Leaving apps of which something remains.
    pub leaving: BTreeMap<AppKey, AppReport>,
    /// Leaving apps of which nothing remains: to be acknowledged.
    pub left: BTreeSet<AppKey>,
    /// Apps that are here and merely missing from the assignment: kept.
    pub unassigned: BTreeSet<AppKey>,
    /// Number of writes that were tried.
    pub writes: u64,
    /// The round was broken off.
    pub interrupted: bool,
}

impl Outcome {
    /// Whether another round may find more to do without anything changing meanwhile.
    pub fn unfinished(&self) -> bool {
        let open = |app: &AppReport| matches!(app.state, AppState::Pending | AppState::Waiting);
        let going = |app: &AppReport| app.state != AppState::Failed;
        self.interrupted || self.apps.values().any(open) || self.leaving.values().any(going)
    }
}
