//! What a revision gives the guard to watch over: limits, and what never leaves without approval.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{EntryKey, HoldCause};
use crate::catalog::{Catalog, Effective, GuardLimits, Spec};
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
                Spec::App(app) if app.protect => said.apps.extend(AppKey::new(catalog.name.clone(), name)),
                Spec::Cluster(cluster) if cluster.protect => said.clusters.extend(ClusterName::new(name)),
                _ => {}
            }
        }
        said
    }

    /// With what was protected before and of which a revision says nothing any more: a document that vanished takes back
    /// nothing.
    #[must_use]
    pub fn keeping(mut self, before: &Self, catalog: &Catalog) -> Self {
        let silent = |app: &&AppKey| catalog.app(app.name()).is_none();
        self.apps.extend(before.apps.iter().filter(silent).cloned());
        let silent = |cluster: &&ClusterName| catalog.cluster(cluster).is_none();
        self.clusters.extend(before.clusters.iter().filter(silent).cloned());
        self
    }

    /// With what a hold protects: what waits for approval does not go because a later revision protects it no more.
    pub fn add(&mut self, cause: &HoldCause) {
        match cause {
            HoldCause::ProtectedApp { app } => _ = self.apps.insert(app.clone()),
            HoldCause::ProtectedCluster { cluster } => _ = self.clusters.insert(cluster.clone()),
            _ => {}
        }
    }

    /// Why an entry waits for approval whatever the numbers say, if it does.
    pub fn protects(&self, (app, cluster): &EntryKey) -> Option<HoldCause> {
        if self.apps.contains(app) {
            return Some(HoldCause::ProtectedApp { app: app.clone() });
        }
        let cluster = self.clusters.get(cluster)?;
        Some(HoldCause::ProtectedCluster { cluster: cluster.clone() })
    }
}
