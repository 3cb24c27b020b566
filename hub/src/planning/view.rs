//! View: a plan as people and programs get it.
//!
//! In: nothing; these are the shapes. Out: [`PlanView`], the document of `hub plan -o json`.
//! Never: holds the value of a Secret.

use nave_placement::catalog::{CommitId, Problem};
use nave_placement::decide::Reason;
use nave_placement::guard::HoldCause;
use nave_placement::rollout::Cause;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::live::LivePlan;

/// What a revision would do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// The commit that it is compared with.
    pub base: CommitId,
    /// The commit that is planned; absent for files that are in no commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitId>,
    /// Why nothing is sent to anybody now, whatever is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
    /// All of it in numbers.
    pub summary: Summary,
    /// What the guard would stop, each once.
    pub holds: Vec<HoldPlan>,
    /// What is said of tenants' catalogs otherwise than before, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catalogs: Vec<CatalogPlan>,
    /// Apps of which something changes, by name.
    pub apps: Vec<AppPlan>,
    /// What is wrong with the revision and was not with its base.
    pub problems: Vec<Problem>,
}

/// A plan in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Entries (one app on one cluster) that come, go or become something else.
    pub changes: usize,
    /// Of these, that come.
    pub gained: usize,
    /// Of these, that go.
    pub lost: usize,
    /// Of these, that become something else.
    pub changed: usize,
    /// Others, to which something is on its way that does not come any more.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stays: usize,
    /// Apps of which something changes.
    pub apps: usize,
    /// Tenants' catalogs of which something else is said.
    #[serde(default)]
    pub catalogs: usize,
    /// Clusters on which something changes.
    pub clusters: usize,
    /// Holds that would come up.
    pub held: usize,
    /// New problems that are errors.
    pub errors: usize,
    /// New problems that are warnings.
    pub warnings: usize,
}

/// What the root catalog says otherwise of a tenant's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogPlan {
    /// The tenant's catalog.
    pub catalog: CatalogName,
    /// What happens to it.
    pub change: CatalogChange,
    /// Fields of its `Catalog` that differ, named as they are written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// What comes of it, for people.
    pub message: String,
}

/// What happens to a tenant's catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogChange {
    /// The root catalog names it.
    Added,
    /// Something else is said of it.
    Changed,
    /// The root catalog names it no more.
    Removed,
}

/// What changes of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppPlan {
    /// The app.
    pub app: AppKey,
    /// Clusters that it comes to, by name.
    pub gained: Vec<Moved>,
    /// Clusters that it leaves, by name.
    pub lost: Vec<Moved>,
    /// Clusters to which something is on its way that does not come any more: there it stays as it is, or away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<ClusterName>,
    /// Clusters that it is to leave already, and does so in the waves that begin with this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaving: Vec<ClusterName>,
    /// What it becomes where it stays, clusters with the same change together.
    pub changed: Vec<Change>,
    /// What comes to the clusters that gain it.
    pub installed: Vec<Change>,
    /// What goes from the clusters that lose it.
    pub removed: Vec<Change>,
    /// How it moves.
    pub moves: Moves,
    /// The rollout that would begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutPlan>,
    /// Its waves, in order; none where it moves at once.
    pub waves: Vec<WavePlan>,
    /// What would not happen yet, and why.
    pub waits: Vec<Wait>,
    /// Holds that concern it.
    pub holds: Vec<HoldPlan>,
}

/// A cluster that an app comes to, or leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Moved {
    /// The cluster.
    pub cluster: ClusterName,
    /// What placements say of it.
    pub why: Vec<Told<Why>>,
}

/// A thing of a closed list, and the same in words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Told<T> {
    /// The thing.
    #[serde(flatten)]
    pub what: T,
    /// For people.
    pub message: String,
}

impl<T: std::fmt::Display> Told<T> {
    /// With its words.
    pub fn new(what: T) -> Self {
        Self { message: what.to_string(), what }
    }
}

/// Why an app comes to a cluster, or leaves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Why {
    /// A placement chooses the cluster.
    Chosen {
        /// Which.
        placement: String,
        /// What it says.
        reasons: Vec<Reason>,
        /// What it said before; none where it did not select the app, or was not there.
        before: Vec<Reason>,
    },
    /// A placement that chose the cluster does not choose it any more.
    NotChosen {
        /// Which.
        placement: String,
        /// What it says.
        reasons: Vec<Reason>,
        /// What it said before.
        before: Vec<Reason>,
    },
    /// A placement that chose the cluster does not select the app any more.
    NotSelected {
        /// Which.
        placement: String,
    },
    /// A placement that chose the cluster is gone.
    PlacementGone {
        /// Which.
        placement: String,
    },
    /// The catalog has no such app any more.
    AppGone,
}

/// One change of entries, and where it happens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The bundle that it is now; absent where it comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// The bundle that it becomes; absent where it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Digest>,
    /// The clusters, by name.
    pub clusters: Vec<ClusterName>,
    /// Its objects that differ, `${…}` as they are written.
    pub objects: Vec<ObjectPlan>,
    /// How it is treated, where that differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<FieldChange>,
    /// Values of its `${…}` that differ, as they are on the first of the clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<FieldChange>,
    /// Its share of divided replicas, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<FieldChange>,
    /// Why its objects are not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_compared: Option<String>,
    /// What some of the clusters say to it, where they were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub live: Vec<LivePlan>,
    /// Of the clusters, those that were not asked although some were: they are offline, or too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub not_asked: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A field, before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldChange {
    /// Its name.
    pub name: String,
    /// What it was; absent where it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it becomes; absent where it is not there any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

/// What happens to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectChange {
    /// It comes.
    Created,
    /// It becomes something else.
    Changed,
    /// It is deleted.
    Deleted,
    /// It leaves the app and stays on the cluster: by `prune: false`, `onRemove: Orphan`, its annotation, or its kind.
    Left,
    /// Nobody knows whether it changes: a snapshot has no values of Secrets.
    Unknown,
}

/// An object that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPlan {
    /// What happens to it.
    pub change: ObjectChange,
    /// Its API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty where it is in none.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// A unified diff of its YAML, without the names of files; empty where it goes, or comes with an app that is there already.
    /// Of a Secret it says which keys change, and no value.
    pub diff: String,
}

/// How an app moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Moves {
    /// Nothing of it moves now: it is held, or waits.
    NotYet,
    /// All clusters at once.
    AtOnce,
    /// It is new, and comes to its clusters at once.
    FirstInstallation,
    /// Wave by wave.
    InWaves,
    /// In the waves of the rollout that is under way, which goes on; until then with what was rolled out before.
    UnderWay,
}

/// The rollout that would begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPlan {
    /// `APP@SHORTVERSION.N`, as the hub would name it.
    pub id: String,
    /// Why there would be one.
    pub cause: Cause,
}

/// A wave of the rollout that would begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WavePlan {
    /// Its name.
    pub name: String,
    /// Its clusters, by name.
    pub clusters: Vec<ClusterName>,
    /// What it waits for.
    pub waits_for: Vec<Told<WaveWaits>>,
}

/// What a wave waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum WaveWaits {
    /// All of the wave before it is healthy.
    Healthy {
        /// The wave before it.
        wave: String,
    },
    /// The wave before it stays healthy for a while.
    Soak {
        /// The wave before it.
        wave: String,
        /// For so long, milliseconds.
        ms: u64,
    },
    /// An operator approves it.
    Approval,
    /// The version is healthy elsewhere.
    HealthyOn {
        /// On clusters with these labels.
        selector: String,
        /// For so long, milliseconds; 0: at one moment.
        for_ms: u64,
    },
    /// So many of its clusters change each time.
    Pace {
        /// So many.
        step: u32,
        /// After how long the next do, milliseconds.
        every_ms: u64,
    },
    /// No more of its clusters are under way at once.
    AtOnce {
        /// So many.
        clusters: u32,
    },
}

/// A change that would not happen yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// Where.
    pub clusters: Vec<ClusterName>,
    /// What it waits for, and how to end that.
    pub message: String,
}

/// What the guard would stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldPlan {
    /// Its id, which it will have if nothing else changes meanwhile.
    pub id: String,
    /// Which limit it breaks.
    pub cause: HoldCause,
    /// How many would go, those of the last hour included.
    pub losing: usize,
    /// Of how many.
    pub of: usize,
    /// How many may go without approval.
    pub limit: usize,
    /// Apps that it concerns.
    pub apps: Vec<AppKey>,
    /// Clusters that it concerns, by name.
    pub clusters: Vec<ClusterName>,
    /// For people.
    pub message: String,
    /// What would let it go: a trailer of the commit, or an order afterwards. Each by itself is enough.
    pub allow: Vec<String>,
}

impl PlanView {
    /// Whether the guard would stop something of it, or it is wrong.
    pub fn is_stopped(&self) -> bool {
        self.summary.held > 0 || self.summary.errors > 0
    }

    /// Whether anything changes.
    pub fn changes(&self) -> bool {
        !(self.apps.is_empty() && self.catalogs.is_empty())
    }
}
