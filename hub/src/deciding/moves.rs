//! Moves: what is to leave a drained cluster as soon as another one is healthy in its place.
//!
//! In: what was decided. Out: the apps, from where and where to.
//! Never: names what cannot leave now: where no other cluster stands in, or that one is not heard, things stay as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::Catalog;
use nave_placement::decide::{Cause, Decision, Wanted};
use nave_placement::fleet::{Contact, Fleet};
use nave_placement::{AppKey, ClusterName};

use super::decisions::is_recorded;

/// By the cluster that is to be left, the apps, and the cluster that stands in.
pub type Moves = BTreeMap<ClusterName, BTreeMap<AppKey, ClusterName>>;

/// Finds them.
pub fn moves(catalog: &Catalog, fleet: &Fleet, decisions: &[Decision], wanted: &Wanted) -> Moves {
    let placements = catalog.placements();
    let picks: BTreeSet<Arc<str>> = placements
        .filter(|(_, placement)| is_recorded(placement))
        .map(|(effective, _)| effective.object.id.name.clone())
        .collect();
    of(&picks, fleet, decisions, wanted)
}

fn of(picks: &BTreeSet<Arc<str>>, fleet: &Fleet, decisions: &[Decision], wanted: &Wanted) -> Moves {
    let mut moves = Moves::new();
    let is_heard = |name: &ClusterName| {
        fleet.get(name).is_some_and(|c| !c.maintained && c.contact == Contact::Connected)
    };
    // Where a placement that takes all that match wants the app too, it stays.
    let stays = |cluster: &ClusterName, app: &AppKey| {
        let placements = wanted.get(cluster).and_then(|apps| apps.get(app));
        placements.into_iter().flatten().any(|placement| !picks.contains(placement))
    };
    for decision in decisions {
        let stand_ins = decision.settled.chosen.iter().filter_map(|(to, place)| {
            let stand_in = place.stands_in.as_ref().filter(|s| s.cause == Cause::Drained)?;
            (is_heard(to) && is_heard(&stand_in.cluster)).then_some((&stand_in.cluster, to))
        });
        for (from, to) in stand_ins {
            for app in decision.apps.iter().filter(|app| !stays(from, app)) {
                moves.entry(from.clone()).or_default().insert(app.clone(), to.clone());
            }
        }
    }
    moves
}

#[cfg(test)]
mod tests {
    use nave_placement::decide::{Place, Settled, StandIn, wanted};
    use nave_placement::fleet::Candidate;

    use super::*;

    fn cluster(name: &str) -> ClusterName {
        name.parse().expect("a name")
    }

    fn decision(placement: &str, apps: &[&str], chosen: &[(&str, Option<(&str, Cause)>)]) -> Decision {
        let place = |stands_in: Option<(&str, Cause)>| Place {
            stands_in: stands_in.map(|(other, cause)| StandIn { cluster: cluster(other), cause }),
        };
        Decision {
            placement: placement.into(),
            apps: apps.iter().map(|name| name.parse().expect("a name")).collect(),
            settled: Settled {
                chosen: chosen.iter().map(|(name, stands_in)| (cluster(name), place(*stands_in))).collect(),
                ..Settled::default()
            },
        }
    }

    #[test]
    fn what_a_connected_cluster_stands_in_for_moves_and_nothing_else() {
        let heard = Candidate { contact: Contact::Connected, ..Candidate::default() };
        let drained = Candidate { draining: true, ..heard.clone() };
        let fleet = Fleet::from([
            (cluster("moves"), drained.clone()),
            (cluster("stuck"), drained.clone()),
            (cluster("worked-on"), Candidate { maintained: true, ..drained.clone() }),
            (cluster("waits"), drained),
            (cluster("back"), heard.clone()),
            (cluster("new"), heard),
            (
                cluster("silent"),
                Candidate { contact: Contact::Silent { since_ms: 1 }, ..Candidate::default() },
            ),
        ]);
        let for_ = |other: &'static str| Some((other, Cause::Drained));
        let decisions = [
            decision("picks", &["web", "both"], &[("moves", None), ("new", for_("moves"))]),
            decision("alone", &["db"], &[("stuck", None)]),
            decision("repair", &["db"], &[("worked-on", None), ("new", for_("worked-on"))]),
            decision("silent", &["db"], &[("waits", None), ("silent", for_("waits"))]),
            decision("failed-over", &["db"], &[("back", None), ("new", Some(("back", Cause::Unreachable)))]),
            decision("all", &["both"], &[("moves", None), ("stuck", None)]),
        ];
        let picks = ["picks", "alone", "repair", "silent", "failed-over"].map(Arc::from).into();
        let moves = of(&picks, &fleet, &decisions, &wanted(&decisions));
        let web: AppKey = "web".parse().expect("a name");
        assert_eq!(moves, Moves::from([(cluster("moves"), BTreeMap::from([(web, cluster("new"))]))]));
    }
}
