//! Report: what a spoke observed, in the words that hub and spoke share.
//!
//! In: per app, what came of applying and looking. Out: one [`Report`] whose digest proves in O(1) that two ends hold the same.
//! Never: lists healthy objects; details are of unhealthy ones only.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::assign::{Epoch, Generation};
use crate::{AppKey, Digest, Digester, Fingerprints, ObjectKey};

/// Most unhealthy objects that one entry's report details.
pub const MAX_UNHEALTHY: usize = 20;
/// Most notes about healthy objects in one entry's report.
pub const MAX_NOTES: usize = 20;
/// The reason of a note about an object that would be deleted once that is approved.
pub const WOULD_PRUNE: &str = "WouldPrune";
/// Stands where [`Report::without_details`] took something away.
const TOO_MUCH: &str = "(details are left out: this cluster has more to say than the hub can keep)";

/// State of an entry on its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryState {
    /// Everything is as wanted and healthy.
    Healthy,
    /// Applied; not healthy yet.
    Progressing,
    /// Accepted; not applied yet.
    Pending,
    /// Waits for something that is named.
    Waiting,
    /// Applied; an object failed or is stuck.
    Degraded,
    /// Could not be applied.
    Failed,
}

/// Why an entry is in its state. Closed, so that a screen can group by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EntryReason {
    /// Nothing to explain.
    #[default]
    None,
    /// An object is not healthy (yet); it is named.
    ObjectUnhealthy,
    /// The target refuses an object.
    ApplyRefused,
    /// Another manager owns fields that we never owned.
    Conflict,
    /// A kind is not served yet.
    NotServed,
    /// The target could not be reached.
    TargetUnreachable,
    /// The bundle is not here yet.
    BundleMissing,
    /// The entry or its bundle cannot be read by this version of the spoke.
    Unreadable,
    /// More objects would be pruned than are approved; none is.
    PruneRefused,
    /// Another app of this cluster claims an object too.
    ClaimedTwice,
    /// Objects are being deleted; finalizers are at work.
    Terminating,
    /// What another entry claims is not known, so nothing is removed meanwhile.
    ClaimsUnknown,
    /// The target refuses to remove an object.
    RemovalRefused,
    /// A plan would have broken a promise and was not carried out.
    PlanRefused,
    /// The spoke had not finished with the app.
    Interrupted,
    /// `mode: Observe`: the cluster is not as the app says.
    Differs,
    /// Somebody sets a field of ours back each time it is corrected; it is left as it is.
    Fought,
    /// An object exists that Nave did not create, and `adopt` does not allow to take it.
    AdoptionRefused,
    /// A field cannot be changed in place, and `onImmutable` is `Fail`.
    ImmutableField,
    /// The cluster's local policy forbids it.
    Denied,
    /// The cluster does not allow it to the spoke, or to the app's service account.
    Forbidden,
    /// A secret could not be decrypted.
    Undecryptable,
    /// Changes are paused on the spot.
    Paused,
    /// A webhook of the cluster that is asked about an object does not answer.
    WebhookDown,
    /// Another app claims an object and has not taken it yet.
    HandingOver,
    /// A change waits until a window of its cluster set opens.
    WindowClosed,
    /// A change waits until a freeze of its cluster set ends.
    Frozen,
    /// A change waits until an app that comes first is applied, or healthy.
    DependencyNotReady,
    /// An app that comes first shall not run here, and `ifAbsent` is `Fail`.
    DependencyMissing,
    /// A change waits until all apps of its group can begin.
    GroupNotReady,
    /// An app of its group was not healthy in time; all of them returned to what they held.
    GroupReturned,
    /// A reason that this version does not know; the message says it.
    Other,
}

/// An unhealthy object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReport {
    /// Which.
    #[serde(flatten)]
    pub key: ObjectKey,
    /// Healthy | Progressing | Degraded | Suspended | Unknown.
    pub state: String,
    /// CamelCase, e.g. `Unschedulable`.
    pub reason: String,
    /// What is missing, for people.
    pub message: String,
}

/// What came of one entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryReport {
    /// The version that was applied, and pruned, completely last; absent before the first.
    pub version: Option<Digest>,
    /// Its state.
    pub state: EntryState,
    /// Why.
    pub reason: EntryReason,
    /// For people; empty when healthy.
    pub message: String,
    /// Objects that the entry has.
    pub objects: u32,
    /// Of these, healthy ones.
    pub healthy: u32,
    /// The worst of the others, at most [`MAX_UNHEALTHY`].
    pub unhealthy: Vec<ObjectReport>,
    /// Foreign changes that were put back since the spoke started.
    pub corrected: u64,
    /// Objects with foreign changes that stay: `drift: Report`, `mode: Observe`, a lost fight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drifted: u32,
    /// What is worth saying of objects that are well, at most [`MAX_NOTES`]: `Adopted`, `Yielded`, `Drifted`, `Corrected`, `Kept`,
    /// `WouldPrune`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<ObjectReport>,
    /// Everything that would be deleted, where that is more than is approved and none was; each with the app that had it.
    /// The first are named in `notes`, as [`WOULD_PRUNE`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asks: Option<Fingerprints>,
    /// Of all the fields above, by the spoke that wrote them ([`EntryReport::seal`]). A hub of another version, which may
    /// know fewer fields, takes it as it comes.
    #[serde(skip)]
    pub digest: Digest,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl EntryReport {
    /// Sets the digest of a report that was just made.
    #[must_use]
    pub fn seal(mut self) -> Self {
        let json = serde_json::to_vec(&self).expect("an entry's report always serializes");
        self.digest = Digest::of(&json);
        self
    }
}

/// Everything that a spoke reports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Counts the starts of the spoke; orders reports before `sequence`.
    pub boot: u64,
    /// Counts the reports of one boot.
    pub sequence: u64,
    /// Of the assignment that it is about.
    pub epoch: Epoch,
    /// Of the assignment that it is about.
    pub generation: Generation,
    /// Every entry of that assignment.
    pub entries: BTreeMap<AppKey, EntryReport>,
    /// Leaving records that are done.
    pub left: BTreeSet<AppKey>,
    /// Leaving records that are not done, and why.
    pub leaving: BTreeMap<AppKey, EntryReport>,
    /// Apps that are kept though nothing assigns them.
    pub unassigned: BTreeSet<AppKey>,
}

impl Report {
    /// The digest of what is reported. Boot and sequence are order, not content, and stay out.
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::new("nave.report.v1");
        digester.add(&self.epoch.0.to_be_bytes());
        digester.add(&self.generation.0.to_be_bytes());
        for (part, entries) in [(&b"entries"[..], &self.entries), (b"leaving", &self.leaving)] {
            digester.add(part);
            for (app, entry) in entries {
                digester.add(app.to_string().as_bytes());
                digester.add(&entry.digest.0);
            }
        }
        for (part, apps) in [(&b"left"[..], &self.left), (b"unassigned", &self.unassigned)] {
            digester.add(part);
            apps.iter().for_each(|app| digester.add(app.to_string().as_bytes()));
        }
        digester.finish()
    }

    /// The same report where there is no room for all of it: of each entry so many unhealthy objects, texts of at most so
    /// many bytes, no notes, and a word on it where something is missing. The digests stay those of the whole.
    #[must_use]
    pub fn without_details(&self, objects: usize, text: usize) -> Self {
        let mut brief = self.clone();
        for entry in brief.entries.values_mut().chain(brief.leaving.values_mut()) {
            let mut lost = entry.unhealthy.len() > objects || !entry.notes.is_empty();
            entry.unhealthy.truncate(objects);
            entry.notes.clear();
            let details = entry.unhealthy.iter_mut().map(|object| &mut object.message);
            for message in details.chain([&mut entry.message]) {
                lost |= message.len() > text;
                message.truncate(message.floor_char_boundary(text));
            }
            if lost {
                let space = if entry.message.is_empty() { "" } else { " " };
                entry.message += space;
                entry.message += TOO_MUCH;
            }
        }
        brief
    }

    /// (boot, sequence): an older report never replaces a newer one.
    pub fn order(&self) -> (u64, u64) {
        (self.boot, self.sequence)
    }
}
