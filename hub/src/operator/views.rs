//! The documents that operators get: the JSON of `-o json`, of the API and of the page. Fields are added, never renamed.

mod events;
mod history;
mod members;
mod rollouts;
mod trace;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Epoch, Generation};
use nave_placement::catalog::{CommitId, Problem, SourceAt};
use nave_placement::decide::{Check, Part, Reason};
use nave_placement::fleet::{Maintenance, Membership, Taint};
use nave_placement::overrides::Provenance;
use nave_placement::report::{EntryReason, ObjectReport};
use nave_placement::schedule::Schedule;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest, ObjectKey};
use serde::{Deserialize, Serialize};

pub use self::events::{EventView, SinkTrouble, SinkView};
pub use self::history::{
    BehindView, ConvergeView, HistoryLine, HistoryView, ImageRow, ImagesView, ThenRow, ThenView,
};
pub use self::members::{ClusterDocument, ClusterMetadata, ClusterSpec, ExportView, FactsView, OrderView};
pub use self::rollouts::{BlockView, PinView, RolloutPhase, RolloutRow, RolloutView, WaveState, WaveView};
pub use self::trace::{TraceView, WrittenView};
use crate::sessions::core::Alarm;
use crate::state::records::{AnchorRecord, AuditRecord, HoldRecord, PauseRecord, Rejection, Standing};

/// How an entry, a cluster or an app stands; worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// It could not be applied.
    Failed,
    /// Applied; an object failed or is stuck.
    Degraded,
    /// A removal, of all of it or of what is left over, waits for approval.
    Held,
    /// Waits for something that is named.
    Waiting,
    /// The spoke has not been heard since the change.
    Offline,
    /// Sent or about to be sent; not stored by the spoke yet.
    Behind,
    /// Applied; not healthy yet.
    Progressing,
    /// On its way out.
    Leaving,
    /// Healthy, and as it was: it is granted to its catalog no more, and takes no changes.
    Ungranted,
    /// As wanted, and healthy.
    Converged,
}

/// One app on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryView {
    /// The app.
    pub app: AppKey,
    /// The cluster.
    pub cluster: ClusterName,
    /// How it stands.
    pub phase: Phase,
    /// Why, as the spoke says.
    pub reason: EntryReason,
    /// For people.
    pub message: String,
    /// The version that is assigned.
    pub version: Option<Digest>,
    /// The version that the spoke applied last.
    pub running: Option<Digest>,
    /// The last commit that changed the entry.
    pub commit: Option<CommitId>,
    /// What its source was then, where that is not in the catalog's repository: NAME@ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceAt>,
    /// Objects.
    pub objects: u32,
    /// Healthy objects.
    pub healthy: u32,
    /// The worst of the others.
    pub unhealthy: Vec<ObjectReport>,
    /// Foreign changes that were put back since the spoke started.
    pub corrected: u64,
    /// Objects with foreign changes that stay.
    #[serde(default)]
    pub drifted: u32,
    /// What is worth saying of objects that are well: `Adopted`, `Yielded`, `Drifted`, `Corrected`, `Mutated`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<ObjectReport>,
}

/// Entries with one state and one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// How they stand.
    pub phase: Phase,
    /// The app.
    pub app: AppKey,
    /// Why.
    pub reason: String,
    /// The worst object, if one is named.
    pub object: Option<String>,
    /// For people.
    pub message: String,
    /// Where.
    pub clusters: Vec<ClusterName>,
}

/// `hub status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The fleet.
    pub fleet: String,
    /// The root catalog.
    pub catalog: CatalogView,
    /// Those of tenants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<CatalogView>,
    /// How the commit that was asked for stands, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitView>,
    /// Why nothing is sent to anybody, while that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
    /// What waits for approval.
    pub holds: Vec<HoldView>,
    /// What is wrong with the catalog, as `FILE:LINE:COLUMN: …` and by field.
    pub problems: Vec<Problem>,
    /// What is wrong with single spokes.
    pub alarms: BTreeMap<ClusterName, Alarm>,
    /// Clusters of the selection that are worked on: their assignments do not change, they raise no alarms.
    #[serde(default)]
    pub maintained: BTreeMap<ClusterName, Maintenance>,
    /// What operators paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseRecord>,
    /// What operators pinned of the selection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<PinView>,
    /// Versions that apps of the selection do not go to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<BlockView>,
    /// Rollouts of apps of the selection that are under way, worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollouts: Vec<RolloutRow>,
    /// Members.
    pub clusters: usize,
    /// Of these, connected.
    pub connected: usize,
    /// Clusters of the selection that are not connected, and not maintained. `converged` speaks of those that are in neither
    /// list, and is false where there is none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub offline: BTreeSet<ClusterName>,
    /// Entries of the selection.
    pub entries: usize,
    /// Entries by state.
    pub phases: BTreeMap<Phase, usize>,
    /// What is not converged, worst first.
    pub groups: Vec<Group>,
    /// Apps that spokes keep though nothing assigns them.
    pub unassigned: BTreeMap<ClusterName, BTreeSet<AppKey>>,
    /// Everything of the selection is as wanted.
    pub converged: bool,
}

/// How the catalog stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogView {
    /// Its name.
    pub name: String,
    /// Its URL, without credentials.
    pub url: String,
    /// The commit in effect.
    pub commit: Option<CommitId>,
    /// The newest commit that was seen.
    pub newest: Option<CommitId>,
    /// Why the newest is not in effect, or Git does not answer.
    pub obstacle: Option<String>,
}

/// Whether a commit is in effect, or one that descends from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommitView {
    /// The commit, as it was typed.
    pub commit: String,
    /// Whether it is.
    pub in_effect: bool,
    /// Why not, for people.
    pub message: String,
    /// How long clusters took; absent where it is not known any more when the hub took the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_converge: Option<ConvergeView>,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldView {
    /// The record.
    #[serde(flatten)]
    pub record: HoldRecord,
    /// For people.
    pub message: String,
    /// Who decided that it stays so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Rejection>,
    /// Of a commit that has no document at all: how many entries would leave once it is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_leave: Option<usize>,
    /// The first objects that would be deleted, where a cluster says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectKey>,
}

/// `hub wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitView {
    /// How it ended.
    pub outcome: WaitOutcome,
    /// Why, for people.
    pub message: String,
    /// The tenant's catalog that was waited for, if it was one alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogName>,
    /// The status then.
    pub status: StatusView,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitOutcome {
    /// Everything is as wanted.
    Converged,
    /// Something waits for approval.
    Held,
    /// Something failed.
    Failed,
    /// Not in time.
    TimedOut,
}

/// A row of `hub cluster list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRow {
    /// Its name.
    pub name: ClusterName,
    /// How it stands; absent for one that only the catalog names.
    pub phase: Option<Phase>,
    /// Whether its spoke is connected.
    pub connected: bool,
    /// When it was seen last, Unix milliseconds, since the hub started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms: Option<u64>,
    /// Where it stands as a member; absent for one that only the catalog names.
    pub standing: Option<Standing>,
    /// Its set.
    pub set: Option<String>,
    /// Effective labels.
    pub labels: BTreeMap<String, String>,
    /// Labels that an operator set and the catalog sets otherwise: the catalog wins.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hidden_labels: BTreeMap<String, String>,
    /// Taints that Git or operators put on it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub taints: BTreeSet<Taint>,
    /// Nothing new is placed on it.
    #[serde(default)]
    pub cordoned: bool,
    /// What `pick` placed on it moves away.
    #[serde(default)]
    pub draining: bool,
    /// It is worked on: its assignment does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Its name waits for the cluster that replaces the last one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaits_replacement: bool,
    /// Entries.
    pub entries: usize,
    /// Of these, converged.
    pub converged: usize,
    /// What it was told and is not, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<BehindView>,
    /// Facts.
    pub facts: FactsView,
}

/// `hub secret recipients`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecipientRow {
    /// The cluster.
    pub cluster: ClusterName,
    /// The age recipient that secrets for it are encrypted to; absent until its spoke has reported one.
    pub recipient: Option<String>,
}

/// `hub cluster show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterView {
    /// The row of the list.
    #[serde(flatten)]
    pub row: ClusterRow,
    /// Labels that operators set; the catalog wins per key.
    pub operator_labels: BTreeMap<String, String>,
    /// Labels that the catalog sets.
    pub catalog_labels: BTreeMap<String, String>,
    /// All that operators said of it, as if Git said nothing.
    #[serde(default)]
    pub said: Membership,
    /// Apps that are healthy here, as placements see it that wait for that.
    #[serde(default)]
    pub healthy: Vec<AppKey>,
    /// From where its spoke is connected.
    pub address: Option<String>,
    /// Until when its certificate is valid, Unix milliseconds.
    pub certificate_until_ms: u64,
    /// The newest assignment.
    pub epoch: Epoch,
    /// The newest assignment.
    pub generation: Generation,
    /// What the spoke has stored.
    pub accepted: Option<(Epoch, Generation)>,
    /// Its apps.
    pub apps: Vec<EntryView>,
    /// Nothing leaves it before somebody approved that.
    #[serde(default)]
    pub protected: bool,
    /// What is wrong with its set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_problem: Option<String>,
    /// What operators paused of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseRecord>,
    /// When changes may start on it, as it was told.
    #[serde(default, skip_serializing_if = "Schedule::is_empty")]
    pub schedule: Schedule,
    /// Why no change may start on it now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Apps on their way out.
    pub leaving: Vec<AppKey>,
    /// Apps that it keeps though nothing assigns them.
    pub unassigned: BTreeSet<AppKey>,
    /// What is wrong with this spoke.
    pub alarm: Option<Alarm>,
}

impl EntryView {
    /// Of an app that a cluster shall run and was never told to.
    pub fn untold(app: &AppKey, cluster: &ClusterName, phase: Phase, message: String) -> Self {
        Self {
            app: app.clone(),
            cluster: cluster.clone(),
            phase,
            reason: EntryReason::None,
            message,
            version: None,
            running: None,
            commit: None,
            source: None,
            objects: 0,
            healthy: 0,
            unhealthy: Vec::new(),
            corrected: 0,
            drifted: 0,
            notes: Vec::new(),
        }
    }
}

/// A row of `hub app list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRow {
    /// The app.
    pub app: AppKey,
    /// How it stands.
    pub phase: Phase,
    /// The version in effect; absent for one that was never rendered, or is no longer in the catalog.
    pub version: Option<Digest>,
    /// The commit that gave it this version.
    pub commit: Option<CommitId>,
    /// What its source was then, where that is not in the catalog's repository: NAME@ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceAt>,
    /// Clusters that have it.
    pub clusters: usize,
    /// Of these, converged.
    pub converged: usize,
    /// Clusters whose removal is held.
    pub held: usize,
}

/// `hub app show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppView {
    /// The row of the list.
    #[serde(flatten)]
    pub row: AppRow,
    /// Placements that select it.
    pub placements: Vec<String>,
    /// It leaves no cluster before somebody approved that.
    #[serde(default)]
    pub protected: bool,
    /// What operators paused of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pauses: Vec<PauseRecord>,
    /// What operators pinned of it: there it is not what the row says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pins: Vec<PinView>,
    /// Charts of repositories that its chart depends on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<DependencyView>,
    /// Per cluster, worst first.
    pub entries: Vec<EntryView>,
    /// Problems of its catalog object or its files.
    pub problems: Vec<Problem>,
}

/// A chart of a repository that an app's chart depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyView {
    /// Its name.
    pub chart: Arc<str>,
    /// Where it is.
    pub repository: Arc<str>,
    /// The version that was fetched, and its archive.
    pub at: SourceAt,
}

/// `hub why APP CLUSTER`, and a row of `hub why APP`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyView {
    /// The app.
    pub app: AppKey,
    /// The cluster.
    pub cluster: ClusterName,
    /// Whether it shall run there.
    pub wanted: bool,
    /// What each placement says; one that chose it suffices.
    pub placements: Vec<PlacementView>,
    /// The app's overrides, the weakest first; those that match apply here.
    #[serde(default)]
    pub overrides: Vec<OverrideView>,
    /// Why it is not what the catalog says, as far as the hub knows: not a member, not rendered, held, …
    pub obstacles: Vec<String>,
    /// How it stands there.
    pub entry: Option<EntryView>,
    /// What would change the answer.
    pub remedy: String,
}

/// What a placement says of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementView {
    /// The placement.
    pub placement: String,
    /// Whether it selects the app.
    pub selects_app: bool,
    /// Whether it chose the cluster.
    pub chosen: bool,
    /// Why it did, or everything that speaks against it.
    pub reasons: Vec<Reason>,
    /// Every predicate with what it saw, those that hold too.
    pub checks: Vec<Check>,
    /// The cluster's rank among those that could be chosen, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
    /// Its score, and what that is made of.
    #[serde(default)]
    pub score: u64,
    /// The parts of the score.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// How many of the replicas that it divides the cluster has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// What would change what it says, one thing for each reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedies: Vec<String>,
    /// For people.
    pub message: String,
}

/// What an override of an app says of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideView {
    /// The override.
    pub name: String,
    /// Its priority.
    pub priority: i64,
    /// The first term that failed, or that all hold.
    pub reason: Reason,
    /// For people.
    pub message: String,
}

/// `hub render`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenderView {
    /// The app.
    pub app: AppKey,
    /// The cluster, if one was named.
    pub cluster: Option<ClusterName>,
    /// The overrides that apply, the weakest first.
    pub overrides: Vec<String>,
    /// Its version there.
    pub version: Digest,
    /// The bundle that it is made of.
    pub bundle: Digest,
    /// The commit that changed it last.
    pub commit: CommitId,
    /// The values of its `${…}`.
    pub values: BTreeMap<String, serde_json::Value>,
    /// The objects, without the values of Secrets.
    pub objects: Vec<serde_json::Value>,
    /// Those of which only the head is known here.
    pub encrypted: Vec<ObjectKey>,
    /// Who set each value, if that was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provenance: Vec<Provenance>,
}

/// `hub cluster join`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinView {
    /// The cluster.
    pub cluster: ClusterName,
    /// The join token.
    pub token: String,
    /// Until when it is valid, RFC 3339.
    pub expires: String,
    /// The one command that installs the spoke.
    pub command: String,
    /// What is odd about the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// `hub audit`: some lines, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// The lines.
    pub lines: Vec<AuditRecord>,
    /// The sequence of the last line that there is.
    pub last: u64,
    /// Where the log begins, if not with its first line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchor: Option<AnchorRecord>,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoneView {
    /// What was done, for people.
    pub message: String,
}
