//! Picture: what the rest of the hub sees of deciding.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::ShareOut;
use nave_placement::catalog::{CommitId, Problem};
use nave_placement::decide::{Decision, Wanted};
use nave_placement::fleet::Fleet;
use nave_placement::overrides::{Lacking, Shapes};
use nave_placement::rollout::WaitsFor;
use nave_placement::{AppKey, CatalogName, ClusterName};

use super::core::Revision;
use super::granting::{Stay, StayKind, Stays};
use super::moves::Moves;
use super::pauses::Waiting;
use crate::operator::views::CatalogView;
use crate::sources::Observed;

/// A tenant's catalog, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantStanding {
    /// Its repository.
    pub url: String,
    /// The commit in effect, if one was taken.
    pub commit: Option<CommitId>,
    /// The newest that was seen.
    pub newest: Option<CommitId>,
    /// Why that is not in effect, or nothing newer can be read.
    pub obstacle: Option<String>,
}

impl TenantStanding {
    /// For people.
    pub fn view(&self, name: &CatalogName) -> CatalogView {
        let Self { url, commit, newest, obstacle } = self.clone();
        CatalogView { name: name.to_string(), url, commit, newest, obstacle }
    }
}

/// What the rest of the hub sees of deciding; replaced whole.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// What is in effect; `None` before the first commit was taken.
    pub revision: Option<Revision>,
    /// The clusters that placements could choose from.
    pub fleet: Fleet,
    /// What each placement chose.
    pub decisions: Vec<Decision>,
    /// What every cluster shall run, and by which placements.
    pub wanted: Wanted,
    /// What every app is on every cluster.
    pub shapes: Arc<Shapes>,
    /// Replicas that placements divide.
    pub shares: Arc<ShareOut>,
    /// Where a value lacks, so that an entry stays as it was.
    pub lacking: BTreeSet<Lacking>,
    /// Entries of which a change waits: for the end of a pause, or for their wave.
    pub waiting: Arc<Waiting>,
    /// Entries of tenants that stay as they are for want of a grant, or of their catalog.
    pub ungranted: Arc<Stays>,
    /// Apps that cannot be as they are pinned, and why.
    pub unpinnable: Arc<BTreeMap<AppKey, String>>,
    /// What each rollout waits for.
    pub waits_for: Arc<BTreeMap<AppKey, WaitsFor>>,
    /// What is to leave drained clusters.
    pub moves: Arc<Moves>,
    /// From then on the time alone may have changed what was decided, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// What is wrong with the catalog.
    pub problems: Vec<Problem>,
    /// Clusters whose assignment is larger than the store takes: they keep what they have.
    pub too_large: BTreeSet<ClusterName>,
    /// Of these, those that are of clusters: objects that two apps of one define, values that lack, objects that are not there
    /// to have their replicas divided, fewer clusters than a placement wants.
    pub clashes: Vec<Problem>,
    /// Of these, decisions that the checker objects to.
    pub refused: Vec<Problem>,
    /// The newest commit that was seen and can be acted upon is acted upon: taken, or held.
    pub settled: Option<CommitId>,
    /// Why the newest commit is not in effect, if it is not.
    pub obstacle: Option<String>,
    /// Tenants' catalogs.
    pub tenants: Arc<BTreeMap<CatalogName, TenantStanding>>,
    /// What was known of the remotes of sources.
    pub observed: Arc<Observed>,
    /// One of them was never asked yet, or something that was lost is being brought again.
    pub awaits_source: bool,
    /// How many changes of the ledger ([`Ledger::inputs`]) are looked at.
    pub inputs: u64,
}

impl Picture {
    /// Why an entry stays as it is, for want of a grant or of its catalog; where a change of it waits for a grant, that is what waits.
    pub fn stay(&self, app: &AppKey, cluster: &ClusterName) -> Option<&Stay> {
        let here = || self.ungranted.get(&(app.clone(), cluster.clone()));
        if self.ungranted.is_empty() { None } else { here().filter(|stay| stay.kind != StayKind::Waits) }
    }
}
