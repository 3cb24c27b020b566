//! Target: the place where a cluster's objects live, behind one trait.
//!
//! In: objects to write, keys to delete. Out: what was seen there.
//! Never: decides. What to write or delete is [`crate::plan`]'s, which is pure; a target only does it, and tells apart
//! what is *absent* from what it *could not see*.

pub mod ask;
pub mod builtin;
mod digests;
pub mod dir;
pub mod kube;
pub mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::catalog::Treatment;
use nave_placement::fleet::{Facts, Resources};
use nave_placement::render::{Resolved, Scopes};
use nave_placement::{AppKey, Digest, ObjectKey};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use zeroize::Zeroizing;

pub use crate::observe::changes::FieldChange;
use crate::pause::Pauses;
use crate::plan::ClaimedObject;

/// Health of an object, in the words of `kstatus` as Nave spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HealthState {
    /// It is what was asked for.
    Healthy,
    /// Deliberately stopped; counts as healthy.
    Suspended,
    /// On its way.
    Progressing,
    /// Nothing is known yet.
    Unknown,
    /// It failed, or is stuck.
    Degraded,
}

/// How an object is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The verdict.
    pub state: HealthState,
    /// CamelCase, e.g. `Unschedulable`; empty when healthy.
    pub reason: String,
    /// What is missing, for people, e.g. `0 of 1 replicas available; pod web-7f: Unschedulable, 0/1 nodes …`.
    pub message: String,
}

impl Health {
    /// Nothing to say.
    pub fn healthy() -> Self {
        Self { state: HealthState::Healthy, reason: String::new(), message: String::new() }
    }
}

/// What was seen of one object that an app wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// It is not there: observed, not guessed.
    Absent,
    /// It is there and not ours: nobody of us ever wrote it.
    Foreign(Foreign),
    /// It is being deleted, and waits for its finalizers.
    Terminating {
        /// What it waits for, for people.
        message: String,
        /// It has waited longer than the app's time limit.
        stuck: bool,
    },
    /// It is ours.
    Ours {
        /// It differs from what is wanted: our fields were changed, the wanted content is newer, or it is marked as
        /// another app's. False means that this very app wrote just this: then an old owner may let it go.
        differs: bool,
        /// Our own fields, as we last wrote them, were changed by somebody else.
        drifted: bool,
        /// How it is.
        health: Health,
        /// What else there is to say of it.
        found: Found,
    },
}

/// An object that is not ours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Foreign {
    /// Who manages it, as far as it shows: `Helm release web`, `kubectl-client-side-apply`.
    pub managers: Vec<String>,
    /// In what it differs from what writing it would make of it; `None` where that was not asked for, or could not be told.
    pub changes: Option<Vec<FieldChange>>,
    /// How it is; `None` where that was not asked for.
    pub health: Option<Health>,
}

/// What was found out about an object of ours, beyond whether it differs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Its fields that are not as wanted.
    pub changes: Vec<FieldChange>,
    /// Somebody set these very fields back each time they were corrected: correcting goes on only once the wanted content
    /// changes, or after a long time.
    pub fought: bool,
    /// Fields left to another manager, who owned them before: `conflicts: Yield`.
    pub yielded: Vec<FieldChange>,
    /// Fields that the cluster (a webhook, for one) makes something else of in the very request that writes them.
    pub mutated: Vec<FieldChange>,
    /// From whom it was adopted, if this process did it.
    pub adopted: Option<String>,
    /// Of a hook, for which version it was made.
    pub run: Option<Box<str>>,
}

/// What an app has on the target: written before its objects are (widened), and again after pruning (narrowed), so that
/// nothing that was ever written is forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inventory {
    /// Every object that the app may have written and that was not deleted or handed over since.
    pub objects: BTreeSet<ObjectKey>,
    /// Of these, the ones that say that they outlive the app (`nave.dev/prune: "false"`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kept: BTreeSet<ObjectKey>,
    /// Of these, the ones of a kind that is kept, which say that they are deleted all the same (`nave.dev/prune: "true"`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub expendable: BTreeSet<ObjectKey>,
    /// As whom (`NAMESPACE/NAME`) the app was applied, so that it is removed as the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The version that was applied and pruned completely, if the last one was.
    pub version: Option<Digest>,
    /// Whether what comes is an upgrade, no first installation. A record from before there were hooks does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<bool>,
    /// Hooks that have succeeded, and for which version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", with = "pairs")]
    pub ran: BTreeMap<ObjectKey, Digest>,
    /// The app may have more: an inventory was lost, and it is not known yet of everything whether it was in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

impl Inventory {
    /// Whether the app was installed before. Where nothing says it, that it has something does.
    pub fn was_installed(&self) -> bool {
        self.version.is_some() || self.installed.unwrap_or(!self.objects.is_empty())
    }

    /// Adds what was found of a lost inventory.
    pub fn unite(&mut self, found: Self) {
        self.objects.extend(found.objects);
        self.kept.extend(found.kept);
        self.expendable.extend(found.expendable);
    }

    /// Keeps the objects for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&ObjectKey) -> bool) {
        let Self { objects, kept, expendable, service_account, ran, .. } = self;
        objects.retain(|key| keep(key));
        ran.retain(|key, _| objects.contains(key));
        kept.retain(|key| objects.contains(key));
        expendable.retain(|key| objects.contains(key));
        if objects.is_empty() {
            *service_account = None;
        }
    }
}

/// A map whose keys are no text, as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use nave_placement::{Digest, ObjectKey};
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub fn serialize<S: Serializer>(map: &BTreeMap<ObjectKey, Digest>, to: S) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<ObjectKey, Digest>, D::Error> {
        Ok(Vec::<(ObjectKey, Digest)>::deserialize(from)?.into_iter().collect())
    }
}

/// How an object is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// As what it was seen.
    pub contact: Contact,
    /// Fields that others own are taken from them. Where not, fields that we applied last are, and of all others
    /// `conflicts` decides.
    pub take: bool,
    /// If a field cannot be changed, it may be deleted and made anew: by whoever asked for the write, after
    /// [`Target::make_way`].
    pub recreate: bool,
    /// It is a correction: what somebody else changed is put back.
    pub corrects: bool,
    /// A hook runs again: what is there from its last run is deleted first, by whoever asked for the write, where
    /// [`Target::runs`] anything.
    pub anew: bool,
}

/// As what an object was seen before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contact {
    /// Absent: only if the write creates it, it is created by us.
    #[default]
    Absent,
    /// There, and not ours: it is adopted, if its terms allow it.
    Foreign,
    /// Ours.
    Ours,
}

/// What came of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The object was not there before.
    Created,
    /// It was changed.
    Changed,
    /// It was as wanted already.
    Unchanged,
    /// What was to be put back is as it was before: the cluster (a webhook, for one) undid it in the very request.
    Undone,
}

/// What came of a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was there, and is gone by this.
    Gone,
    /// It was gone already.
    Absent,
    /// Accepted, now or earlier; finalizers are still at work.
    Terminating {
        /// What it waits for, for people.
        message: String,
        /// It has waited longer than the app's time limit.
        stuck: bool,
    },
    /// It is there, but is not ours to delete; says why. It leaves the inventory and stays on the cluster.
    NotOurs(String),
}

/// What may have changed on a target since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// It is not known what: anything.
    pub all: bool,
    /// Objects, whosever they are.
    pub objects: BTreeSet<ObjectKey>,
    /// Group and name of kinds of which any object may have changed.
    pub kinds: BTreeSet<(String, String)>,
    /// Kinds that were listed anew: what is ours and was not there is gone.
    pub relisted: Vec<Relisted>,
}

/// What a new list of a kind showed of what carries our label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relisted {
    /// The kind's group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// Listed in this namespace; empty: everywhere.
    pub namespace: String,
    /// What was there.
    pub present: BTreeSet<ObjectKey>,
}

impl Relisted {
    /// Whether the list should have shown this object, and did not.
    pub fn lacks(&self, key: &ObjectKey) -> bool {
        (&self.group, &self.kind) == (&key.group, &key.kind)
            && (self.namespace.is_empty() || self.namespace == key.namespace)
            && !self.present.contains(key)
    }
}

impl Changed {
    /// Anything may have changed.
    pub fn anything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Nothing that was noticed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The namespaces among the objects: with one come and go all that is in it.
    pub fn namespaces(&self) -> impl Iterator<Item = &str> {
        let namespaces = self.objects.iter().filter(|key| key.group.is_empty() && key.kind == "Namespace");
        namespaces.map(|key| key.name.as_str())
    }
}

/// Why a target could not do something.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TargetError {
    /// The target refuses this object: the same request will fail again.
    #[error("{0}")]
    Refused(String),
    /// Another manager owns fields that we never owned.
    #[error("{0}")]
    Conflict(String),
    /// The object is not ours, and must not become it.
    #[error("{0}")]
    NotAdopted(String),
    /// A field cannot be changed once it is set.
    #[error("{0}")]
    Immutable(String),
    /// We, or the app's service account, must not do this.
    #[error("{0}")]
    Forbidden(String),
    /// The object, or the namespace it shall be in, is being deleted.
    #[error("{message}")]
    Terminating {
        /// What it waits for.
        message: String,
        /// It has waited longer than the app's time limit.
        stuck: bool,
    },
    /// The kind is not served (yet).
    #[error("{0}")]
    NotServed(String),
    /// A webhook that is asked about the object does not answer. The same request may work later; others may work now.
    #[error("{0}")]
    WebhookDown(String),
    /// Nothing is known: the target could not be reached or did not answer in time. The same request may work later.
    #[error("{0}")]
    Unreachable(String),
}

/// The kinds (group and name) of all that is ours, and the namespaces in which it is.
pub type Owned = BTreeMap<(String, String), BTreeSet<String>>;

/// An app and its objects, for a look at many.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Which app.
    pub app: AppKey,
    /// How its objects are treated.
    pub treatment: Treatment,
    /// Its objects.
    pub objects: Vec<Resolved>,
}

/// What all apps claim, for a look at many.
#[async_trait]
pub trait Claims: Send + Sync {
    /// Every served object that an app in question wants.
    fn objects(&self) -> Vec<&ClaimedObject>;

    /// The app that wants an object; `None` when its objects are not known.
    async fn holder(&self, key: &ObjectKey) -> Option<Arc<Holder>>;
}

/// Apps of which no inventory is there, or one that is not whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Assigned: most have simply never been applied.
    pub assigned: BTreeSet<AppKey>,
    /// The ones that had an inventory when it was last read, so that it is lost, or they have just left; and those whose
    /// inventory is not whole.
    pub lost: BTreeSet<AppKey>,
    /// On their way out: most have left.
    pub leaving: BTreeSet<AppKey>,
}

/// What a search for lost inventories came to.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// What was found of them.
    pub inventories: BTreeMap<AppKey, Inventory>,
    /// Why there may be more.
    pub unknown: Option<TargetError>,
}

/// For whom something is done on a target: an app, and how its objects are treated.
#[derive(Clone, Copy, Debug)]
pub struct Behalf<'a> {
    /// Which app.
    pub app: &'a AppKey,
    /// How. Of an app without an entry, the default.
    pub treatment: &'a Treatment,
}

/// What a target has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    /// As it is, not rounded.
    pub amounts: Resources,
    /// How many objects were looked at to tell: what it costs to ask.
    pub objects: usize,
}

/// The place where objects live.
#[async_trait]
pub trait Target: Send + Sync + 'static {
    /// What it is, for people: `kube https://…`, `dir:/srv/x`.
    fn describe(&self) -> String;

    /// A name that is never another cluster's: the UID of the namespace `kube-system`, or what stands for it.
    async fn uid(&self) -> Result<String, TargetError>;

    /// What it says of itself.
    async fn facts(&self) -> Facts;

    /// What it has left now; `None` where that cannot be told.
    async fn free(&self) -> Option<Free> {
        None
    }

    /// Counts when other kinds came to be served, which facts tell.
    fn discoveries(&self) -> watch::Receiver<u64> {
        watch::Sender::new(0).subscribe()
    }

    /// The age identities that the cluster itself gives its spoke, as `age-keygen` writes them; `None` where it gives none.
    async fn age_keys(&self) -> Result<Option<Zeroizing<String>>, TargetError> {
        Ok(None)
    }

    /// From now on digests of Secrets are made under this key, so that nobody finds a value by trying.
    fn key_digests(&self, _key: &[u8; 32]) {}

    /// What is known about kinds now.
    fn scopes(&self) -> Arc<dyn Scopes + Send + Sync>;

    /// Whether a group is served of which nothing could be learned: its kinds are unknown then, not absent, and
    /// [`Target::observe`] is asked about its objects too.
    fn is_silent(&self, _group: &str) -> bool {
        false
    }

    /// Learns again which kinds are served.
    async fn discover(&self) -> Result<(), TargetError>;

    /// All inventories.
    async fn inventories(&self) -> Result<BTreeMap<AppKey, Inventory>, TargetError>;

    /// Stores an app's inventory durably; returns when it is.
    async fn store_inventory(&self, app: &AppKey, inventory: &Inventory) -> Result<(), TargetError>;

    /// Stores inventories that are stored already but for their version: what is complete, of many apps at once. Where it
    /// fails, some of them may be stored.
    async fn complete(&self, inventories: &BTreeMap<AppKey, Inventory>) -> Result<(), TargetError> {
        for (app, inventory) in inventories {
            self.store_inventory(app, inventory).await?;
        }
        Ok(())
    }

    /// Forgets an app's inventory, once it has no objects.
    async fn forget_inventory(&self, app: &AppKey) -> Result<(), TargetError>;

    /// Looks ahead at the objects of many apps, where that is cheaper than app by app: what it sees it may tell at the
    /// next [`Target::observe`]. Returns the objects that are known to be as wanted and well.
    async fn survey(&self, _claims: &dyn Claims) -> BTreeSet<ObjectKey> {
        BTreeSet::new()
    }

    /// Looks at the objects that an app wants. An error for an object whose state could not be seen.
    async fn observe(
        &self,
        of: Behalf<'_>,
        wanted: &[Resolved],
    ) -> BTreeMap<ObjectKey, Result<Seen, TargetError>>;

    /// Writes an object for an app.
    async fn apply(&self, of: Behalf<'_>, object: &Resolved, how: Write) -> Result<Applied, TargetError>;

    /// Of apps without a whole inventory, what carries their marks: an inventory may have been deleted by hand. A target
    /// may leave the search out where nothing points to a loss.
    async fn rebuild(&self, apps: &Missing) -> Rebuilt {
        let _ = apps;
        Rebuilt::default()
    }

    /// Deletes an object of an app, if it is (still) that app's: the app in whose inventory it stands.
    async fn delete(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<Deleted, TargetError>;

    /// Deletes an object of an app, if it is still that app's, so that it can be made anew: only once it is known that the
    /// target would take it as it is wanted now. An error: nothing was deleted.
    async fn make_way(&self, of: Behalf<'_>, object: &Resolved) -> Result<Deleted, TargetError> {
        let _ = of;
        Ok(Deleted::NotOurs(format!(
            "{} makes nothing anew: {} can be changed there",
            self.describe(),
            object.key
        )))
    }

    /// Whether what is written runs there, so that a hook has to be made anew to run again.
    fn runs(&self) -> bool {
        false
    }

    /// Makes an object somebody else's: it stays as it is, without our marks.
    async fn orphan(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<(), TargetError>;

    /// Answers somebody's question. Writes nothing, and shows no Secret's value.
    async fn answer(&self, inquiry: &ask::Inquiry) -> Result<ask::Answer, ask::Refusal>;

    /// Counts up whenever something that is ours may have changed. Spurious wake-ups are allowed, lost ones are not.
    fn changes(&self) -> watch::Receiver<u64>;

    /// What somebody paused on the spot, as far as the target has a place for it. Where that cannot be seen, an error: then
    /// what was known holds.
    async fn pauses(&self) -> Result<Pauses, TargetError> {
        Ok(Pauses::default())
    }

    /// What may have changed since the last call.
    fn changed(&self) -> Changed {
        Changed::anything()
    }

    /// What to watch from now on; called with the kinds of all inventories whenever they change.
    fn watch_kinds(&self, owned: &Owned);
}
