//! Explain: what each placement says of an app on a cluster, computed when somebody asks.
//!
//! In: the catalog, an app, a cluster. Out: one [`Verdict`] a placement, those that matter first.
//! Never: is stored; reasons are cheap to find again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::decide::{Reason, apps, judge};
use crate::fleet::Candidate;
use crate::{AppKey, ClusterName};

/// What a placement says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The placement.
    pub placement: Arc<str>,
    /// Whether it selects the app.
    pub selects_app: bool,
    /// Whether it chose the cluster, and if not, the first term that failed.
    pub reason: Reason,
}

impl Verdict {
    /// Whether this placement brings the app to the cluster.
    pub fn chooses(&self) -> bool {
        self.selects_app && self.reason == Reason::Matches
    }
}

/// Asks every placement.
pub fn explain(
    catalog: &Catalog,
    app: &AppKey,
    cluster: &ClusterName,
    candidate: &Candidate,
) -> Vec<Verdict> {
    let verdict = |(object, placement): (&crate::catalog::Effective, &crate::catalog::Placement)| Verdict {
        placement: object.object.id.name.clone(),
        selects_app: apps(catalog, &placement.apps).contains(app),
        reason: judge(&placement.clusters, cluster, candidate),
    };
    let mut verdicts: Vec<Verdict> = catalog.placements().map(verdict).collect();
    verdicts.sort_by_key(|v| (!v.selects_app, v.reason != Reason::Matches));
    verdicts
}
