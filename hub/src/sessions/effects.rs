//! What a session's actions write.
use nave_placement::ClusterName;
use super::core::Action;
use crate::deciding::core::{Write, json};
use crate::state::records::key;
use crate::state::{State, Step, report_to_bytes};
use crate::store::Batch;

/// The writes of one action.
pub fn effects(state: &State, cluster: &ClusterName, action: &Action, _now_ms: u64) -> Vec<Write> {
    match action {
        Action::Report(report) => {
            let same = state.reports.get(cluster).is_some_and(|r| r.digest() == report.digest() && r.boot == report.boot);
            if same { return Vec::new() }
            let step = if report.left.is_empty() { Step::ReportTaken } else { Step::LeavingAcknowledged };
            vec![Write { step, batch: Batch::new().put(key::report(cluster), report_to_bytes(report)), audits: Vec::new() }]
        }
        Action::Facts(facts) => {
            if state.facts.get(cluster).is_some_and(|f| *f.record == *facts) { return Vec::new() }
            vec![Write { step: Step::FactsTaken, batch: Batch::new().put(key::facts(cluster), json(facts)), audits: Vec::new() }]
        }
        _ => Vec::new(),
    }
}

/// x
pub fn accept_restore(_state: &State, _audit: &crate::state::Audit, _now_ms: u64) -> Vec<Write> { Vec::new() }
