//! Assign: decisions and bundles become each cluster's next assignment.
//!
//! In: what every cluster shall run, what it was told last, what the guard allows to leave. Out: the next [`Assignment`].
//! Never: drops an entry without a [`Leaving`] record or a successor that was `formerly` it; changes an entry whose version
//! did not change.

mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use plan::{AppForm, Codec, Inputs, Member, Survey, assign, survey};

use serde::{Deserialize, Serialize};

use crate::catalog::{CommitId, Granted, NamespaceOptions, ObjectTarget, OnRemove, SourceAt, Treatment};
use crate::{AppKey, ClusterName, Digest, Digester, Fingerprints};

/// Orders assignments across losses of the hub's state; raised by an operator's `accept-restore` alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// Orders the assignments of one cluster within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// How a spoke treats an app; a part of the recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The namespace to put on.
    pub namespace: Option<NamespaceOptions>,
    /// Whether objects that left the app are deleted.
    pub prune: bool,
    /// What happens when the app leaves the cluster.
    pub on_remove: OnRemove,
    /// Former names whose objects are handed over to this app.
    pub formerly: BTreeSet<AppKey>,
    /// Whether `${…}` in its manifests are filled in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub substitute: bool,
    /// How its objects are applied and watched over.
    #[serde(flatten)]
    pub treatment: Treatment,
    /// The cluster's share of replicas that a placement divides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    /// What the app may do, if it is a tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<Granted>,
}

/// How many replicas some objects of an app have on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Share {
    /// Which objects.
    pub target: ObjectTarget,
    /// So many.
    pub replicas: u32,
}

/// The shares of clusters, by app.
pub type ShareOut = BTreeMap<ClusterName, BTreeMap<AppKey, Share>>;

/// One app on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The rendered manifests.
    pub bundle: Digest,
    /// Values for the bundle's `${…}`, by name.
    pub values: BTreeMap<String, serde_json::Value>,
    /// How the app is treated.
    pub options: Options,
    /// The recipe digest: source tree, parameters, overrides and options.
    pub version: Digest,
    /// The last commit that changed this entry.
    pub commit: CommitId,
    /// What the remote of its source was then, if it has one.
    pub source_at: Option<SourceAt>,
    /// Number of objects in the bundle.
    pub objects: u32,
    /// Number of objects that the spoke may prune on its way to this entry.
    pub drops: u32,
    /// Why it may: shown in the audit log.
    pub drops_cause: Option<Cause>,
    /// Which it may, where somebody approved exactly these; otherwise any.
    pub drops_of: Option<Fingerprints>,
    /// The app returns to this: it waits for no window, and no freeze.
    pub at_once: bool,
}

impl Entry {
    /// The recipe digest of an app's source (with what overrides change of it), values and options.
    pub fn recipe(source: Digest, values: &BTreeMap<String, serde_json::Value>, options: &Options) -> Digest {
        Digester::new("nave.recipe.v1").field(&source.0).field(&json(values)).field(&json(options)).finish()
    }
}

/// The bytes of a part of the recipe.
fn json(part: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(part).expect("ordered maps with string keys always serialize")
}

/// An entry as it travels: encoded once by the hub, then opaque bytes. The digest is that of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedEntry {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// SHA-256 of the bytes.
    pub digest: Digest,
}

impl EncodedEntry {
    /// Names the bytes by their digest.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        Self { bytes, digest }
    }
}

/// A schedule as it travels: encoded once by the hub, then opaque bytes. None at all: changes may start at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedSchedule(pub Arc<[u8]>);

impl EncodedSchedule {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Who waits for whom and who switches together, as it travels: encoded once by the hub, then opaque bytes. None at all: every app
/// goes by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedRelations(pub Arc<[u8]>);

impl EncodedRelations {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a spoke goes by when it lets changes begin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// When they may start.
    pub schedule: EncodedSchedule,
    /// In which order, and which together.
    pub relations: EncodedRelations,
}

/// The rules of clusters that have some.
pub type AllRules = BTreeMap<ClusterName, Rules>;

/// Why something may be removed. Closed: whatever is not listed here deletes nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Cause {
    /// A validated revision no longer has it.
    Revision {
        /// The commit that dropped it.
        commit: CommitId,
    },
    /// The cluster's labels or set changed.
    Labels,
    /// An operator commanded it.
    Operator {
        /// The operator's name.
        by: String,
    },
    /// A hold that an operator approved.
    Approved {
        /// The hold's id.
        hold: String,
        /// Who approved it: an operator's name, or `trailer COMMIT`.
        by: String,
    },
}

/// An explicit order to remove an app, repeated until it is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Leaving {
    /// Delete its objects, or leave them.
    pub policy: OnRemove,
    /// Why.
    pub cause: Cause,
    /// Number of objects that may be deleted; a spoke that would delete more deletes none.
    pub objects: u32,
    /// Which may, where somebody approved exactly these; otherwise any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drops_of: Option<Fingerprints>,
}

/// Everything one cluster shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its order, first part.
    pub epoch: Epoch,
    /// Its order, second part.
    pub generation: Generation,
    /// Entries by app.
    pub entries: BTreeMap<AppKey, EncodedEntry>,
    /// Apps on their way out.
    pub leaving: BTreeMap<AppKey, Leaving>,
    /// When changes of what runs may start; the spoke keeps it.
    pub schedule: EncodedSchedule,
    /// In which order they start, and which together; the spoke keeps it.
    pub relations: EncodedRelations,
}

impl Assignment {
    /// The assignment of a cluster that was never told anything.
    pub fn none(epoch: Epoch) -> Self {
        Self {
            epoch,
            generation: Generation(0),
            entries: BTreeMap::new(),
            leaving: BTreeMap::new(),
            schedule: EncodedSchedule::default(),
            relations: EncodedRelations::default(),
        }
    }

    /// (epoch, generation), the order of assignments.
    pub fn order(&self) -> (Epoch, Generation) {
        (self.epoch, self.generation)
    }

    /// The digest over (key, digest) of its entries in order, then its leaving records, then its schedule and its relations if it
    /// has some.
    pub fn digest(&self) -> Digest {
        let mut digester = Digester::new("nave.assignment.v1");
        let key = |digester: &mut Digester, app: &AppKey| {
            digester.add(app.catalog.as_str().as_bytes());
            digester.add(app.name().as_bytes());
        };
        for (app, entry) in &self.entries {
            key(&mut digester, app);
            digester.add(&entry.digest.0);
        }
        digester.add(b"leaving");
        for (app, leaving) in &self.leaving {
            key(&mut digester, app);
            digester.add(match leaving.policy {
                OnRemove::Delete => b"delete",
                OnRemove::Orphan => b"orphan",
            });
            digester.add(&leaving.objects.to_be_bytes());
            if let Some(only) = &leaving.drops_of {
                digester.add(&only.digest().0);
            }
        }
        if !self.schedule.is_empty() {
            digester.add(b"schedule");
            digester.add(&self.schedule.0);
        }
        if !self.relations.is_empty() {
            digester.add(b"relations");
            digester.add(&self.relations.0);
        }
        digester.finish()
    }
}

/// What a cluster was told: the unit that the hub stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The assignment.
    pub assignment: Assignment,
    /// Earlier entries of apps whose objects may still be on the cluster, because the spoke has not confirmed the newest.
    pub trail: BTreeMap<AppKey, Vec<EncodedEntry>>,
    /// The order and digest of assignments before this one, the newest last: they tell what this hub sent from what a
    /// hub sent whose state was lost.
    pub past: Vec<(Epoch, Generation, Digest)>,
    /// How entries came to have their version.
    pub changes: BTreeMap<AppKey, Change>,
}

/// Since when an entry has its version, and what it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The assignment that brought it.
    pub since: (Epoch, Generation),
    /// When that was, Unix milliseconds.
    pub at_ms: u64,
    /// What it can return to; none after a first installation, and after a return.
    pub previous: Option<EncodedEntry>,
}

/// Assignments that [`Told::past`] remembers. A spoke that is further behind counts as ours if its order is lower.
pub const PAST: usize = 16;
/// Unconfirmed versions that [`Told::trail`] remembers of an app. An object that only older ones had is not approved to
/// be pruned; the spoke then says so.
pub const TRAIL: usize = 8;

/// Whether the hub sent an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is the newest.
    Current,
    /// It is an older one.
    Past,
    /// Somebody else sent it: this hub's state is older than what was sent.
    Lost,
}

impl Told {
    /// A cluster that was never told anything.
    pub fn nothing(epoch: Epoch) -> Self {
        Self {
            assignment: Assignment::none(epoch),
            trail: BTreeMap::new(),
            past: Vec::new(),
            changes: BTreeMap::new(),
        }
    }

    /// Whether this hub sent the assignment that a spoke with a valid MAC holds.
    pub fn knows(&self, epoch: Epoch, generation: Generation, digest: &Digest) -> Known {
        let order = (epoch, generation);
        if order == self.assignment.order() {
            return if *digest == self.assignment.digest() { Known::Current } else { Known::Lost };
        }
        if order > self.assignment.order() {
            return Known::Lost;
        }
        // A number can stand here twice: this store's own, made while it was in doubt, and the one that a spoke held.
        let mut same =
            self.past.iter().filter(|(e, g, _)| (*e, *g) == order).map(|(_, _, sent)| sent == digest);
        match same.next() {
            Some(first) if first || same.any(|other| other) => Known::Past,
            Some(_) => Known::Lost,
            // An epoch ends with a restore: what the restored state does not remember of it may be somebody else's.
            None if epoch < self.assignment.epoch => Known::Lost,
            // Older than what is remembered.
            None if self.past.first().is_none_or(|(e, g, _)| order < (*e, *g)) => Known::Past,
            // A number that was never given out, between numbers that were.
            None => Known::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_two_histories_gave_out_is_known_with_either_content() {
        let (ours, theirs, other) = (Digest::of(b"ours"), Digest::of(b"theirs"), Digest::of(b"other"));
        let number = (Epoch(1), Generation(2));
        let mut told = Told::nothing(Epoch(2));
        told.past = vec![(number.0, number.1, ours), (number.0, number.1, theirs)];
        for (digest, known) in [(ours, Known::Past), (theirs, Known::Past), (other, Known::Lost)] {
            assert_eq!(told.knows(number.0, number.1, &digest), known);
        }
    }
}
