//! What a revision gives the guard to watch over: limits, and what never leaves without approval.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{EntryKey, HoldCause};
use crate::catalog::{Catalog, Effective, GuardLimits, Kind, Spec};
use crate::{AppKey, ClusterName};

/// Limits and protected things. A revision is judged by those of the one before, so that it cannot free its own hands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Guarded {
    /// The limits.
    pub limits: GuardLimits,
    /// Apps that leave no cluster without approval.
    pub apps: BTreeSet<AppKey>,
    /// Clusters that nothing leaves without approval.
    pub clusters: BTreeSet<ClusterName>,
}

impl Guarded {
    /// What a revision says.
    pub fn of(catalog: &Catalog) -> Self {
        let limits = catalog.fleet().map(|fleet| fleet.guard).unwrap_or_default();
        let mut said = Self { limits, ..Self::default() };
        for Effective { object, .. } in catalog.objects.values() {
            let name = &object.id.name;
            match &object.spec {
                Spec::App(app) if app.protect => said.apps.extend(catalog.key(name)),
                Spec::Cluster(cluster) if cluster.protect => said.clusters.extend(ClusterName::new(name)),
                _ => {}
            }
        }
        // What is said of a cluster cannot be read, and never could: it may have been this.
        for id in
            catalog.problems.iter().filter(|problem| problem.is_error()).filter_map(|p| p.object.as_ref())
        {
            if id.kind == Kind::Cluster && !catalog.objects.contains_key(id) {
                said.clusters.extend(ClusterName::new(&id.name));
            }
        }
        said
    }

    /// With what was protected before and of which a revision says nothing any more, as long as it is there: a document that
    /// vanished takes back nothing.
    #[must_use]
    pub fn keeping(
        mut self,
        before: &Self,
        catalog: &Catalog,
        runs: impl Fn(&AppKey) -> bool,
        is_member: impl Fn(&ClusterName) -> bool,
    ) -> Self {
        let stays = |app: &&AppKey| catalog.app_of(app).is_none() && runs(app);
        self.apps.extend(before.apps.iter().filter(stays).cloned());
        let stays = |cluster: &&ClusterName| catalog.cluster(cluster).is_none() && is_member(cluster);
        self.clusters.extend(before.clusters.iter().filter(stays).cloned());
        self
    }

    /// With what another protects; the limits stay.
    pub fn protect(&mut self, other: &Self) {
        self.apps.extend(other.apps.iter().cloned());
        self.clusters.extend(other.clusters.iter().cloned());
    }

    /// With what a hold protects: what waits for approval does not go because a later revision protects it no more.
    pub fn add(&mut self, cause: &HoldCause) {
        match cause {
            HoldCause::ProtectedApp { app } => _ = self.apps.insert(app.clone()),
            HoldCause::ProtectedCluster { cluster } => _ = self.clusters.insert(cluster.clone()),
            _ => {}
        }
    }

    /// Why an entry waits for approval whatever the numbers say: each of these has to be approved.
    pub fn protections(&self, (app, cluster): &EntryKey) -> impl Iterator<Item = HoldCause> {
        let app = self.apps.get(app).map(|app| HoldCause::ProtectedApp { app: app.clone() });
        let cluster = self.clusters.get(cluster);
        let cluster = cluster.map(|cluster| HoldCause::ProtectedCluster { cluster: cluster.clone() });
        app.into_iter().chain(cluster)
    }
}
