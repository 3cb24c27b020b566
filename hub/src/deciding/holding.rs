//! Holding: the records of holds, and of approvals of which nothing is left to do.
//!
//! In: the holds of a step, approvals, what would be lost. Out: records. Never: decides what is held.

use std::collections::BTreeSet;

use nave_placement::CatalogName;
use nave_placement::assign;
use nave_placement::catalog::Catalog;
use nave_placement::guard::{Approval, Hold, HoldCause, Verdict};

use super::core::{Write, chunked, json};
use crate::state::records::{HoldRecord, key};
use crate::state::{State, Step};

/// For how long a rejection outlives its hold.
const REJECTIONS_MS: u64 = 7 * 86_400_000;

/// Shows the holds there are, and takes back those that are no more.
pub(super) fn holds<'a>(
    state: &State,
    catalog: &Catalog,
    new: &BTreeSet<CatalogName>,
    holds: impl Iterator<Item = (&'a Hold, Option<&'a CatalogName>)>,
    now_ms: u64,
) -> Vec<Write> {
    let mut operations: Vec<(String, Option<Vec<u8>>)> = Vec::new();
    let mut current = BTreeSet::new();
    for (hold, of) in holds {
        current.insert(hold.id.as_str());
        if !state.holds.contains_key(&hold.id) {
            let of = of.unwrap_or_else(|| whose(hold, catalog, new));
            let commit = match &hold.cause {
                HoldCause::EmptyCatalog { commit, .. } | HoldCause::NotDescendant { commit, .. } => commit,
                _ => catalog.commit_of(of).unwrap_or(&catalog.commit),
            };
            let record = HoldRecord {
                hold: hold.clone(),
                since_ms: now_ms,
                commit: commit.clone(),
                catalog: of.clone(),
            };
            operations.push((key::hold(&hold.id), Some(json(&record))));
        }
    }
    let stale = state.holds.keys().filter(|id| !current.contains(id.as_str()));
    operations.extend(stale.map(|id| (key::hold(id), None)));
    // A hold may come back as it was: what was said of it is forgotten later.
    let old = state.rejections.iter().filter(|(id, rejection)| {
        !current.contains(id.as_str()) && rejection.at_ms + REJECTIONS_MS <= now_ms
    });
    operations.extend(old.map(|(id, _)| (key::rejection(id), None)));
    chunked(Step::HoldsShown, operations)
}

/// The catalog by which something would go: that of its only app, or the only one that is new.
fn whose<'a>(hold: &'a Hold, catalog: &'a Catalog, new: &'a BTreeSet<CatalogName>) -> &'a CatalogName {
    let mut of: BTreeSet<&CatalogName> = hold.entries.iter().map(|(app, _)| &app.catalog).collect();
    if let HoldCause::App { app } | HoldCause::Objects { app } | HoldCause::ProtectedApp { app } = &hold.cause
    {
        of.insert(&app.catalog);
    }
    match (of.into_iter().collect::<Vec<_>>().as_slice(), new.iter().collect::<Vec<_>>().as_slice()) {
        ([one], _) => one,
        (_, [one]) => one,
        _ => &catalog.name,
    }
}

/// Approvals of which nothing is left to do: they are valid once.
pub(super) fn spent_approvals(
    state: &State,
    approvals: &[Approval],
    survey: &assign::Survey,
    verdict: &Verdict,
) -> Vec<Write> {
    let spent = |approval: &&Approval| match &approval.hold.cause {
        HoldCause::EmptyCatalog { commit, tenant } | HoldCause::NotDescendant { commit, tenant, .. } => {
            let mut heads = state.heads.iter().filter(|(_, head)| head.commit == *commit);
            heads.any(|(name, _)| tenant.as_ref().is_none_or(|tenant| tenant == name))
        }
        HoldCause::Objects { app } => {
            !survey.losses.objects.contains_key(app) && !verdict.objects.contains_key(app)
        }
        HoldCause::Leftovers { of, .. } => !approval.hold.entries.iter().any(|key| {
            let (app, cluster) = key;
            let told = &state.told(cluster).assignment;
            let reported = state.reports.get(cluster).map(|r| (r.epoch, r.generation));
            let here = told.entries.contains_key(app) || told.leaving.contains_key(app);
            // Until the spoke has said what came of the newest, it may still ask for the same.
            here && (reported != Some(told.order())
                || survey.losses.leftovers.get(key).is_some_and(|asked| asked.digest() == *of))
        }),
        _ => !approval.hold.entries.iter().any(|e| survey.losses.entries.contains_key(e)),
    };
    let operations = approvals.iter().filter(spent).map(|a| (key::approval(&a.hold.id), None));
    chunked(Step::HoldsShown, operations.collect())
}
