//! Explain: what each placement says of an app on a cluster, computed when somebody asks.
//!
//! In: the catalog, an app, the fleet, what is decided. Out: one [`Verdict`] a placement and cluster, those that matter first.
//! Never: is stored; reasons are cheap to find again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalog::Catalog;
use crate::decide::{Check, Engine, Explanation, Memory, Moment, Part, Reason, apps};
use crate::fleet::Fleet;
use crate::{AppKey, ClusterName};

/// What a placement says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The placement.
    pub placement: Arc<str>,
    /// Whether it selects the app.
    pub selects_app: bool,
    /// Whether it chose the cluster.
    pub chosen: bool,
    /// Why it did, or everything that speaks against it.
    pub reasons: Vec<Reason>,
    /// Every predicate with what it saw, those that hold too.
    pub checks: Vec<Check>,
    /// The cluster's rank, where there is one, from 1.
    pub rank: Option<usize>,
    /// Its score.
    pub score: u64,
    /// What the score is made of.
    pub parts: Vec<Part>,
}

impl Verdict {
    /// Whether this placement brings the app to the cluster.
    pub fn chooses(&self) -> bool {
        self.selects_app && self.chosen
    }

    /// What would change what it says: for each reason, one thing.
    pub fn remedies(&self) -> Vec<String> {
        let mut remedies: Vec<String> = self.reasons.iter().map(Reason::remedy).collect();
        remedies.dedup();
        remedies
    }
}

/// Answers questions about one app.
pub struct Explainer<'a> {
    engine: Engine,
    placements: Vec<(Arc<str>, bool)>,
    moment: Moment<'a>,
    decided: &'a Memory,
}

impl<'a> Explainer<'a> {
    /// Looks at every placement. `decided` is what is in effect.
    pub fn new(
        catalog: &Catalog,
        app: &AppKey,
        fleet: &Fleet,
        decided: &'a Memory,
        moment: Moment<'a>,
    ) -> Self {
        let mut engine = Engine::of(catalog, fleet, decided);
        engine.settle(moment);
        let selects = |placement: &crate::catalog::Placement| apps(catalog, &placement.apps).contains(app);
        let placements = catalog
            .placements()
            .map(|(object, placement)| (object.object.id.name.clone(), selects(placement)))
            .collect();
        Self { engine, placements, moment, decided }
    }

    /// What each placement says of a cluster.
    pub fn verdicts(&self, cluster: &ClusterName) -> Vec<Verdict> {
        let verdict = |(placement, selects_app): &(Arc<str>, bool)| {
            let Explanation { chosen, checks, reasons, rank } =
                self.engine.explain(placement, cluster, self.moment, self.decided)?;
            let (rank, score, parts) = rank.map_or((None, 0, Vec::new()), |(r, s, p)| (Some(r), s, p));
            let (placement, selects_app) = (placement.clone(), *selects_app);
            Some(Verdict { placement, selects_app, chosen, reasons, checks, rank, score, parts })
        };
        let mut verdicts: Vec<Verdict> = self.placements.iter().filter_map(verdict).collect();
        verdicts.sort_by_key(|v| (!v.selects_app, !v.chosen));
        verdicts
    }
}
