//! Report: what came of an assignment on this cluster, in the domain's words.
//!
//! In: what [`crate::apply`] did and saw. Out: an [`Outcome`] per round, and the [`Report`] that hub and spoke share.
//! Never: knows the wire; a closed enum says every reason, and its text is shown word for word.

mod size;

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{Epoch, Generation};
use nave_placement::report::{EntryReason, EntryReport, EntryState, Report};
use nave_placement::{AppKey, CatalogName, Digest, Fingerprints, ObjectKey};

pub(crate) use size::cut;

use crate::target::{Health, HealthState, TargetError};

/// An entry before anything is known of it.
pub(crate) fn pending() -> EntryReport {
    EntryReport {
        version: None,
        state: EntryState::Pending,
        reason: EntryReason::None,
        message: String::new(),
        objects: 0,
        healthy: 0,
        unhealthy: Vec::new(),
        corrected: 0,
        drifted: 0,
        notes: Vec::new(),
        asks: None,
        digest: Digest::default(),
    }
}

/// Longest message of a report, in bytes: a target repeats what it refuses, and that may be a whole manifest.
const MAX_MESSAGE: usize = 512;

/// Cuts what a report says. Only after values of Secrets were taken out of it: half a value is not found any more.
pub(crate) fn short(mut report: EntryReport) -> EntryReport {
    cut(&mut report.message, MAX_MESSAGE);
    for object in report.unhealthy.iter_mut().chain(&mut report.notes) {
        cut(&mut object.message, MAX_MESSAGE);
    }
    report
}

/// Why an app is not simply healthy, with the details that its message tells. Closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// An object exists that Nave did not create, and its terms do not allow to take it.
    #[error("{object}: {message}")]
    AdoptionRefused {
        /// Which object.
        object: ObjectKey,
        /// Who manages it, and what would have to change.
        message: String,
    },
    /// A field cannot be changed in place.
    #[error("{object}: {message}")]
    Immutable {
        /// Which object.
        object: ObjectKey,
        /// Which fields, and how to mend it.
        message: String,
    },
    /// The cluster does not allow it to us.
    #[error("{object}: {message}")]
    Forbidden {
        /// Which object.
        object: ObjectKey,
        /// Who may not do what, in the cluster's words.
        message: String,
    },
    /// Somebody sets back what is corrected.
    #[error("{object}: {message}")]
    Fought {
        /// Which object.
        object: ObjectKey,
        /// Which fields, and who.
        message: String,
    },
    /// An object that is only observed is not as wanted.
    #[error("{object}: {message}")]
    Differs {
        /// Which object.
        object: ObjectKey,
        /// In what.
        message: String,
    },
    /// A webhook of the cluster that is asked about an object does not answer.
    #[error("{object}: {message}")]
    WebhookDown {
        /// Which object.
        object: ObjectKey,
        /// Which webhook, in the cluster's words.
        message: String,
    },
    /// Another app claims an object and does not have it yet, so this app still has it.
    #[error("{object} goes to {to}, which has not taken it yet: see there")]
    HandingOver {
        /// Which object.
        object: ObjectKey,
        /// The app that claims it.
        to: AppKey,
    },
    /// The service account is named without its namespace, and the app has none.
    #[error("serviceAccount {name} needs a namespace: set `namespace` of the app, or write NAMESPACE/{name}")]
    AccountWithoutNamespace {
        /// As it is written.
        name: String,
    },
    /// An encrypted object could not be opened.
    #[error("{object} cannot be decrypted: {message}")]
    Undecryptable {
        /// Which object.
        object: ObjectKey,
        /// Why; no value of it.
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
    /// More objects, or others, would be deleted than were approved, so none was.
    #[error(
        "{would} objects would be deleted, {} approved; none was deleted; `hub hold list` shows them for approval",
        if *.would > u64::from(*.approved) { format!("{} are", .approved) } else { "others are".to_owned() }
    )]
    PruneRefused {
        /// So many.
        would: u64,
        /// So many are allowed.
        approved: u32,
        /// All that would be deleted.
        prints: Fingerprints,
        /// The first of them, by name.
        first: Vec<ObjectKey>,
    },
    /// A plan would have broken a promise and was not carried out.
    #[error("not carried out, please report this: {message}")]
    PlanRefused {
        /// Which promise.
        message: String,
    },
    /// A deleted object is still there: its finalizers are at work.
    #[error("{object} is being deleted{}{message}", if .message.is_empty() { "" } else { ": " })]
    Terminating {
        /// Which object.
        object: ObjectKey,
        /// What it waits for; may be empty.
        message: String,
        /// Longer than the app's time limit.
        stuck: bool,
    },
    /// An object is not healthy.
    #[error("{object}: {}{}{}", .health.reason, if .health.message.is_empty() || .health.reason.is_empty() { "" } else { ": " }, .health.message)]
    Unhealthy {
        /// Which object.
        object: ObjectKey,
        /// How it is.
        health: Health,
    },
    /// A hook has not run to its end, so that what comes after it is not written.
    #[error("hook {object}: {}{}{}; what comes after it waits", .health.reason, if .health.message.is_empty() || .health.reason.is_empty() { "" } else { ": " }, .health.message)]
    Runs {
        /// The job or pod.
        object: ObjectKey,
        /// How it is.
        health: Health,
    },
    /// The round was broken off before the app's turn ended.
    #[error("not finished yet")]
    Interrupted,
    /// The local policy forbids to write or remove an object.
    #[error("{object}: the cluster's local policy forbids it: {rule}")]
    Denied {
        /// Which object.
        object: ObjectKey,
        /// By which rule.
        rule: String,
    },
    /// It is beyond what is granted to the app's catalog.
    #[error("{object}: {why}; the root catalog grants more in spec.grants of Catalog/{catalog}")]
    NotGranted {
        /// Which object.
        object: ObjectKey,
        /// The tenant's catalog.
        catalog: CatalogName,
        /// Why.
        why: String,
    },
    /// The local policy allows no more removals for now, or cannot be read: nothing that it is about is done.
    #[error("{message}")]
    Unpermitted {
        /// Why, and how to mend it.
        message: String,
    },
    /// Changes are paused on the spot.
    #[error("{pause}")]
    Paused {
        /// By whom it is told, and until when.
        pause: crate::pause::Pause,
        /// There is something to do once it ends.
        waits: bool,
    },
}

impl Reason {
    /// Why a target did not do something about an object.
    pub fn of(key: &ObjectKey, error: &TargetError) -> Self {
        let object = key.clone();
        match error.clone() {
            TargetError::Refused(message) => Self::Refused { object, message },
            TargetError::Conflict(message) => Self::Conflict { object, message },
            TargetError::NotAdopted(message) => Self::AdoptionRefused { object, message },
            TargetError::Immutable(message) => Self::Immutable { object, message },
            TargetError::Forbidden(message) => Self::Forbidden { object, message },
            TargetError::Terminating { message, stuck } => Self::Terminating { object, message, stuck },
            TargetError::NotServed(_) => Self::NotServed { object },
            TargetError::WebhookDown(message) => Self::WebhookDown { object, message },
            TargetError::Unreachable(message) => Self::NotSeen { object, message },
        }
    }

    /// The reason without its details, as screens group by it.
    pub fn kind(&self) -> EntryReason {
        match self {
            Self::EntryUnreadable { .. } | Self::BundleDamaged { .. } | Self::DefinedTwice { .. } => {
                EntryReason::Unreadable
            }
            Self::AdoptionRefused { .. } => EntryReason::AdoptionRefused,
            Self::Immutable { .. } => EntryReason::ImmutableField,
            Self::Forbidden { .. } => EntryReason::Forbidden,
            Self::Fought { .. } => EntryReason::Fought,
            Self::Differs { .. } => EntryReason::Differs,
            Self::WebhookDown { .. } => EntryReason::WebhookDown,
            Self::HandingOver { .. } => EntryReason::HandingOver,
            Self::AccountWithoutNamespace { .. } => EntryReason::ApplyRefused,
            Self::BundleMissing { .. } => EntryReason::BundleMissing,
            Self::NotServed { .. } => EntryReason::NotServed,
            Self::NotSeen { .. } | Self::Unreachable { .. } => EntryReason::TargetUnreachable,
            Self::ClaimsUnknown { .. } => EntryReason::ClaimsUnknown,
            Self::ClaimedTwice { .. } => EntryReason::ClaimedTwice,
            Self::Refused { .. } => EntryReason::ApplyRefused,
            Self::Conflict { .. } => EntryReason::Conflict,
            Self::Undecryptable { .. } => EntryReason::Undecryptable,
            Self::RemovalFailed { .. } => EntryReason::RemovalRefused,
            Self::PruneRefused { .. } => EntryReason::PruneRefused,
            Self::PlanRefused { .. } => EntryReason::PlanRefused,
            Self::Terminating { .. } => EntryReason::Terminating,
            Self::Unhealthy { .. } | Self::Runs { .. } => EntryReason::ObjectUnhealthy,
            Self::Interrupted => EntryReason::Interrupted,
            Self::Denied { .. } | Self::NotGranted { .. } | Self::Unpermitted { .. } => EntryReason::Denied,
            Self::Paused { .. } => EntryReason::Paused,
        }
    }

    /// The wanted object that it stands in the way of, if it is about one, in words that do not name it again.
    pub fn trouble(&self) -> Option<(ObjectKey, Health)> {
        let (object, message) = match self {
            Self::Refused { object, message }
            | Self::Conflict { object, message }
            | Self::Undecryptable { object, message }
            | Self::AdoptionRefused { object, message }
            | Self::Immutable { object, message }
            | Self::Forbidden { object, message }
            | Self::Fought { object, message }
            | Self::WebhookDown { object, message }
            | Self::Differs { object, message } => (object, message.clone()),
            Self::Terminating { object, message, .. } => {
                let for_what = if message.is_empty() { "" } else { ": " };
                (object, format!("it is being deleted{for_what}{message}"))
            }
            Self::ClaimedTwice { object, by } => {
                (object, format!("it is claimed by {by} too; remove it from one of the two apps"))
            }
            Self::NotServed { object } => {
                (object, "the kind is not served here; install its CustomResourceDefinition".to_owned())
            }
            Self::Runs { object, health } => return Some((object.clone(), health.clone())),
            Self::NotGranted { object, why, .. } => (object, why.clone()),
            Self::Denied { object, rule } => (object, format!("the local policy forbids it: {rule}")),
            // How it is nobody knows: that stands before whatever was seen of it earlier.
            Self::NotSeen { object, message } => {
                let (state, reason) = (HealthState::Unknown, format!("{:?}", self.kind()));
                return Some((object.clone(), Health { state, reason, message: message.clone() }));
            }
            _ => return None,
        };
        let failed = matches!(self.state(), EntryState::Failed | EntryState::Degraded);
        let state = if failed { HealthState::Degraded } else { HealthState::Progressing };
        Some((object.clone(), Health { state, reason: format!("{:?}", self.kind()), message }))
    }

    /// The state that an app is in for this reason.
    pub fn state(&self) -> EntryState {
        match self {
            Self::BundleMissing { .. }
            | Self::NotServed { .. }
            | Self::NotSeen { .. }
            | Self::Unreachable { .. }
            | Self::Differs { .. }
            | Self::WebhookDown { .. }
            | Self::HandingOver { .. }
            | Self::ClaimsUnknown { .. } => EntryState::Waiting,
            Self::Terminating { stuck: false, .. } => EntryState::Progressing,
            Self::Terminating { stuck: true, .. } | Self::Fought { .. } => EntryState::Degraded,
            Self::Runs { health, .. } if health.state == HealthState::Degraded => EntryState::Degraded,
            Self::Runs { .. } => EntryState::Progressing,
            Self::Interrupted => EntryState::Pending,
            Self::Paused { waits: true, .. } => EntryState::Waiting,
            Self::Paused { waits: false, .. } => EntryState::Healthy,
            Self::Unhealthy { health, .. } => match health.state {
                HealthState::Healthy | HealthState::Suspended => EntryState::Healthy,
                HealthState::Progressing | HealthState::Unknown => EntryState::Progressing,
                HealthState::Degraded => EntryState::Degraded,
            },
            Self::EntryUnreadable { .. }
            | Self::BundleDamaged { .. }
            | Self::DefinedTwice { .. }
            | Self::ClaimedTwice { .. }
            | Self::Refused { .. }
            | Self::Conflict { .. }
            | Self::AdoptionRefused { .. }
            | Self::Immutable { .. }
            | Self::Forbidden { .. }
            | Self::AccountWithoutNamespace { .. }
            | Self::Undecryptable { .. }
            | Self::RemovalFailed { .. }
            | Self::Denied { .. }
            | Self::NotGranted { .. }
            | Self::Unpermitted { .. }
            | Self::PruneRefused { .. }
            | Self::PlanRefused { .. } => EntryState::Failed,
        }
    }
}

/// What came of one round, before it is a report: an entry's `corrected` counts this round alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Every entry.
    pub apps: BTreeMap<AppKey, EntryReport>,
    /// Leaving apps of which something remains.
    pub leaving: BTreeMap<AppKey, EntryReport>,
    /// Leaving apps of which nothing remains: to be acknowledged.
    pub left: BTreeSet<AppKey>,
    /// Apps that are here and merely missing from the assignment: kept.
    pub unassigned: BTreeSet<AppKey>,
    /// Objects that left their app in this round and stay on the target as nobody's.
    pub kept: BTreeMap<AppKey, Vec<ObjectKey>>,
    /// Number of writes that were tried.
    pub writes: u64,
    /// The round was broken off.
    pub interrupted: bool,
}

impl Outcome {
    /// Whether a later round may find more to do, or to see, without anything that a target tells.
    pub fn unsettled(&self) -> bool {
        let open = |entry: &EntryReport| entry.state != EntryState::Healthy;
        self.interrupted || self.apps.values().any(open) || !self.leaving.is_empty()
    }
}

/// Makes reports of outcomes: adds up, over the rounds since the spoke started, what was put back.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    corrected: BTreeMap<AppKey, u64>,
}

impl Reporter {
    /// The report after one more round for an assignment of this order. Boot and sequence are the session's.
    pub fn report(&mut self, order: (Epoch, Generation), outcome: Outcome) -> Report {
        let (epoch, generation) = order;
        let mut sealed = |entries: BTreeMap<AppKey, EntryReport>| -> BTreeMap<AppKey, EntryReport> {
            let seal = |(app, mut entry): (AppKey, EntryReport)| {
                let total = self.corrected.entry(app.clone()).or_default();
                *total += entry.corrected;
                entry.corrected = *total;
                (app, entry.seal())
            };
            entries.into_iter().map(seal).collect()
        };
        let (mut apps, mut leaving) = (outcome.apps, outcome.leaving);
        size::shorten(apps.values_mut().chain(leaving.values_mut()).collect(), size::MAX_REPORT);
        let (entries, leaving) = (sealed(apps), sealed(leaving));
        let here = |app: &AppKey| entries.contains_key(app) || leaving.contains_key(app);
        self.corrected.retain(|app, _| here(app));
        let (left, unassigned) = (outcome.left, outcome.unassigned);
        Report { epoch, generation, entries, left, leaving, unassigned, ..Report::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_back_adds_up_until_the_app_is_gone() {
        let app: AppKey = "web".parse().expect("valid");
        let mut reporter = Reporter::default();
        let mut after = |corrected: Option<u64>| {
            let entry = |corrected| EntryReport { corrected, ..pending() };
            let apps = corrected.map(|corrected| (app.clone(), entry(corrected))).into_iter().collect();
            let report = reporter.report((Epoch(1), Generation(1)), Outcome { apps, ..Outcome::default() });
            report.entries.get(&app).map(|entry| entry.corrected)
        };
        assert_eq!([Some(2), Some(0), Some(1)].map(&mut after), [Some(2), Some(2), Some(3)]);
        assert_eq!([None, Some(1)].map(after), [None, Some(1)]);
    }
}
