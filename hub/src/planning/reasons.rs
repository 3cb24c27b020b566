//! Reasons: what placements say of clusters that an app comes to, or leaves.
//!
//! In: what the decider comes to with base and revision, such clusters. Out: [`Why`]s, as `hub why` would tell them.
//! Never: decides; makes a placement's decision more than once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::decide::{Engine, Explanation, Moment, Reason, apps};
use nave_placement::{AppKey, ClusterName};

use super::settle::{Rest, World};
use super::view::{Told, Why};
use crate::deciding::decisions::is_healthy;

/// What the placements of one side say, as far as somebody asked.
pub struct Said(BTreeMap<Arc<str>, BTreeMap<ClusterName, Explanation>>);

/// Which placements are asked about which clusters.
pub type Asked<'a> = BTreeMap<&'a Arc<str>, BTreeSet<&'a ClusterName>>;

impl Said {
    /// Asks the placements of a side.
    pub fn of(world: &World<'_>, rest: &Rest, asked: &Asked<'_>) -> Self {
        if asked.is_empty() {
            return Self(BTreeMap::new());
        }
        let healthy = |cluster: &ClusterName, app: &AppKey| is_healthy(&rest.state, cluster, app);
        let moment = Moment { now_ms: world.now_ms, hub_since_ms: world.hearing.since_ms, healthy: &healthy };
        let mut engine = Engine::of(&rest.revision.catalog, &rest.decided.fleet, &rest.remembered);
        engine.settle(moment);
        let said = |(placement, clusters): (&&Arc<str>, &BTreeSet<&ClusterName>)| {
            let clusters = clusters.iter().copied();
            ((*placement).clone(), engine.explain_each(placement, clusters, moment, &rest.remembered))
        };
        Self(asked.iter().map(said).collect())
    }

    fn reasons(&self, placement: &str, cluster: &ClusterName) -> Option<Vec<Reason>> {
        Some(self.0.get(placement)?.get(cluster)?.reasons.clone())
    }
}

/// The placements that bring an app to a cluster.
pub fn placements<'a>(rest: &'a Rest, app: &AppKey, cluster: &ClusterName) -> Vec<&'a Arc<str>> {
    let found = rest.decided.wanted.get(cluster).and_then(|apps| apps.get(app));
    found.into_iter().flatten().collect()
}

/// Why an app comes to a cluster.
pub fn gained(
    rest: &Rest,
    base: (&Rest, &Said),
    said: &Said,
    app: &AppKey,
    cluster: &ClusterName,
) -> Vec<Told<Why>> {
    let why = |placement: &Arc<str>| {
        let before = base.1.reasons(placement, cluster).filter(|_| selects(base.0, placement, app));
        Told::new(Why::Chosen {
            placement: placement.to_string(),
            reasons: said.reasons(placement, cluster).unwrap_or_default(),
            before: before.unwrap_or_default(),
        })
    };
    placements(rest, app, cluster).into_iter().map(why).collect()
}

/// Why an app leaves a cluster.
pub fn lost(
    rest: &Rest,
    base: (&Rest, &Said),
    said: &Said,
    app: &AppKey,
    cluster: &ClusterName,
) -> Vec<Told<Why>> {
    if rest.revision.catalog.app_of(app).is_none() {
        return vec![Told::new(Why::AppGone)];
    }
    let why = |placement: &Arc<str>| {
        let name = placement.to_string();
        let is_there =
            rest.revision.catalog.placements().any(|(object, _)| object.object.id.name == *placement);
        Told::new(match said.reasons(placement, cluster) {
            _ if !is_there => Why::PlacementGone { placement: name },
            _ if !selects(rest, placement, app) => Why::NotSelected { placement: name },
            reasons => Why::NotChosen {
                placement: name,
                reasons: reasons.unwrap_or_default(),
                before: base.1.reasons(placement, cluster).unwrap_or_default(),
            },
        })
    };
    placements(base.0, app, cluster).into_iter().map(why).collect()
}

fn selects(rest: &Rest, placement: &str, app: &AppKey) -> bool {
    let catalog = &rest.revision.catalog;
    catalog
        .placements()
        .any(|(object, spec)| *object.object.id.name == *placement && apps(catalog, &spec.apps).contains(app))
}
