//! Objects that a spoke found and the hub does not know, looked up again in its report and in what was approved.
//!
//! In: a cluster, an app, which objects it may delete. Out: how many these are, if exactly they were asked for and approved.
//! Never: takes a number for an approval.

use super::Change;
use crate::assign::Assignment;
use crate::guard::HoldCause;
use crate::{AppKey, ClusterName, Fingerprints};

pub(super) fn approved(
    change: &Change<'_>,
    cluster: &ClusterName,
    told: &Assignment,
    app: &AppKey,
    of: Option<&Fingerprints>,
) -> Option<usize> {
    let of = of?;
    let report = change.reports.get(cluster)?;
    if (report.epoch, report.generation) != (told.epoch, told.generation) {
        return None;
    }
    let said = report.entries.get(app).or_else(|| report.leaving.get(app))?;
    let key = (app.clone(), cluster.clone());
    let named = change.approvals.iter().any(|approval| match &approval.hold.cause {
        HoldCause::Leftovers { app: a, of: digest } => {
            a == app && *digest == of.digest() && approval.hold.entries.contains(&key)
        }
        _ => false,
    });
    (named && said.asks.as_ref() == Some(of)).then(|| of.len())
}
