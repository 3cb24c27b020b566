//! Lacking: values that lack on some clusters, and objects that several apps define there, as problems for people.
//!
//! In: what lacks where, what clashes. Out: a problem for each name, one for each clash. Never: takes what comes with the spoke's next report for an error.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::{Catalog, Problem};
use nave_placement::claims::Clash;
use nave_placement::overrides::{Lack, Lacking};
use nave_placement::{AppKey, ClusterName};

/// Values that lack, as problems of the app: one for each name, with the clusters.
pub fn lacks(catalog: &Catalog, lacking: &BTreeSet<Lacking>) -> Vec<Problem> {
    let mut clusters: BTreeMap<_, Vec<&ClusterName>> = BTreeMap::new();
    for Lacking { app, lack, cluster } in lacking {
        clusters.entry((app, lack)).or_default().push(cluster);
    }
    let problem = |((app, lack), clusters): ((&AppKey, &Lack), Vec<&ClusterName>)| {
        let object = &catalog.app_of(app)?.0.object;
        let named: Vec<&str> = clusters.iter().take(3).map(|cluster| cluster.as_str()).collect();
        let more = match clusters.len() {
            0..=3 => String::new(),
            all => format!(" and {} more", all - 3),
        };
        let message = format!("on {}{more}: {lack}. There it stays as it was", named.join(", "));
        let problem = Problem::at(&object.origin, message).of(Some(&object.id));
        // Facts come with the spoke's next report: that is waiting, not an error.
        Some(if lack.passes() { problem.warning() } else { problem })
    };
    clusters.into_iter().filter_map(problem).collect()
}

/// Objects that two apps of one cluster define, as problems of the app that does not get them.
pub fn clashing(catalog: &Catalog, clashes: Vec<Clash>) -> Vec<Problem> {
    let problem = |clash: Clash| {
        let object = &catalog.app_of(&clash.other)?.0.object;
        Some(Problem::at(&object.origin, clash.to_string()).of(Some(&object.id)))
    };
    clashes.into_iter().filter_map(problem).collect()
}
