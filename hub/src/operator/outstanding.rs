//! Outstanding: entries that are as their spokes were told, and are to become otherwise.
//!
//! In: what was decided. Out: for each such entry, what it waits for. Never: names an entry that only waits for its spoke.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::decide::Decision;
use nave_placement::fleet::Fleet;
use nave_placement::overrides::Lacking;
use nave_placement::{AppKey, ClusterName};

use super::views::Phase;
use crate::deciding::run::Picture;

/// Entries, how they stand, and what they wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outstanding(BTreeMap<ClusterName, BTreeMap<AppKey, (Phase, String)>>);

impl Outstanding {
    /// Of what was decided last.
    pub fn of(picture: &Picture) -> Self {
        let catalog = picture.revision.as_ref().map(|revision| &revision.catalog);
        let placements = catalog.into_iter().flat_map(|catalog| catalog.placements());
        let picks: BTreeSet<Arc<str>> = placements
            .filter(|(_, placement)| placement.pick.is_some() || placement.replicas.is_some())
            .map(|(effective, _)| effective.object.id.name.clone())
            .collect();
        let mut outstanding = Self::default();
        outstanding.add_drained(&picks, &picture.decisions, &picture.fleet);
        outstanding.add_lacking(&picture.lacking);
        outstanding
    }

    /// How an entry stands and what it waits for, if it waits.
    pub fn get(&self, cluster: &ClusterName, app: &AppKey) -> Option<&(Phase, String)> {
        self.0.get(cluster)?.get(app)
    }

    fn add(&mut self, cluster: &ClusterName, app: &AppKey, phase: Phase, message: String) {
        self.0.entry(cluster.clone()).or_default().insert(app.clone(), (phase, message));
    }

    /// What picking placements placed on clusters that are drained. Where a placement that takes all that match wants the app
    /// too, it stays.
    fn add_drained(&mut self, picks: &BTreeSet<Arc<str>>, decisions: &[Decision], fleet: &Fleet) {
        let stays = |cluster: &ClusterName, app: &AppKey| {
            let mut takes_all = decisions.iter().filter(|decision| !picks.contains(&decision.placement));
            takes_all.any(|other| other.apps.contains(app) && other.settled.chosen.contains_key(cluster))
        };
        let drained = fleet.iter().filter(|(_, candidate)| candidate.draining && !candidate.maintained);
        let drained: Vec<&ClusterName> = drained.map(|(name, _)| name).collect();
        for decision in decisions.iter().filter(|decision| picks.contains(&decision.placement)) {
            let chosen = &decision.settled.chosen;
            for cluster in drained.iter().copied().filter(|cluster| chosen.contains_key(*cluster)) {
                let stand_in = chosen
                    .iter()
                    .find(|(_, place)| place.stands_in.as_ref().is_some_and(|s| s.cluster == *cluster));
                let message = match stand_in {
                    Some((to, _)) => format!("it is drained; it leaves once {to} is healthy in its place"),
                    None => "it is drained, and no other cluster can stand in for it".to_owned(),
                };
                for app in decision.apps.iter().filter(|app| !stays(cluster, app)) {
                    self.add(cluster, app, Phase::Leaving, message.clone());
                }
            }
        }
    }

    /// What stays as it was, since a value lacks.
    fn add_lacking(&mut self, lacking: &BTreeSet<Lacking>) {
        for Lacking { app, lack, cluster } in lacking {
            let phase = if lack.passes() { Phase::Waiting } else { Phase::Behind };
            self.add(cluster, app, phase, format!("it stays as it was: {lack}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::decide::{Cause, Place, Settled, StandIn};
    use nave_placement::fleet::Candidate;
    use nave_placement::overrides::Lack;

    use super::*;

    fn cluster(name: &str) -> ClusterName {
        name.parse().expect("a name")
    }

    fn app(name: &str) -> AppKey {
        name.parse().expect("a name")
    }

    fn decision(placement: &str, apps: &[&str], chosen: &[(&str, Option<&str>)]) -> Decision {
        let place = |other: &str| Place {
            stands_in: Some(StandIn { cluster: cluster(other), cause: Cause::Drained }),
        };
        let chosen = chosen
            .iter()
            .map(|(name, other)| (cluster(name), other.map_or_else(Place::default, place)))
            .collect();
        Decision {
            placement: placement.into(),
            apps: apps.iter().map(|name| app(name)).collect(),
            settled: Settled { chosen, ..Settled::default() },
        }
    }

    #[test]
    fn what_is_to_leave_a_drained_cluster_says_what_it_waits_for() {
        let drained = |maintained| Candidate { draining: true, maintained, ..Candidate::default() };
        let fleet = Fleet::from([
            (cluster("moves"), drained(false)),
            (cluster("stuck"), drained(false)),
            (cluster("worked-on"), drained(true)),
            (cluster("new"), Candidate::default()),
        ]);
        let decisions = [
            decision(
                "picks",
                &["web", "both"],
                &[("moves", None), ("new", Some("moves")), ("worked-on", None)],
            ),
            decision("alone", &["db"], &[("stuck", None)]),
            decision("all", &["both"], &[("moves", None), ("stuck", None)]),
        ];
        let mut outstanding = Outstanding::default();
        outstanding.add_drained(&BTreeSet::from(["picks".into(), "alone".into()]), &decisions, &fleet);
        let rows = [
            ("moves", "web", Some("it is drained; it leaves once new is healthy in its place")),
            ("moves", "both", None),
            ("stuck", "db", Some("it is drained, and no other cluster can stand in for it")),
            ("stuck", "both", None),
            ("worked-on", "web", None),
            ("new", "web", None),
        ];
        for (name, of, expected) in rows {
            let said = outstanding.get(&cluster(name), &app(of));
            let expected = expected.map(|message| (Phase::Leaving, message.to_owned()));
            assert_eq!(said.cloned(), expected, "{of} on {name}");
        }
    }

    #[test]
    fn what_lacks_a_value_is_not_as_it_should_be() {
        let lacking = |lack| Lacking { app: app("web"), lack, cluster: cluster("fra-1") };
        let rows = [
            (Lack::UnknownFact("facts.region".into()), Phase::Waiting),
            (Lack::NoValue("labels.zone".into()), Phase::Behind),
        ];
        for (lack, phase) in rows {
            let mut outstanding = Outstanding::default();
            outstanding.add_lacking(&BTreeSet::from([lacking(lack.clone())]));
            let (said, message) = outstanding.get(&cluster("fra-1"), &app("web")).expect("it waits");
            assert_eq!(*said, phase, "{lack:?}");
            assert!(message.starts_with("it stays as it was: "), "{message}");
        }
    }
}
