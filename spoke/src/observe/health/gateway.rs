//! Gateway: statuses that are lists of statuses.
//!
//! In: a Gateway with its listeners, a route with its parents, an object of Cluster API. Out: the first trouble, named.
//! Never: takes a route that no gateway has looked at for accepted.

use serde_json::Value;

use super::read::{Condition, condition_at, items, or, progressing, text};
use super::signs::Moment;
use crate::target::{Health, HealthState};

/// A listener that cannot work.
pub(super) fn listeners(gateway: &Value, moment: &Moment) -> Option<Health> {
    items(gateway, "/status/listeners").iter().find_map(|listener| {
        let of = |kind: &str| condition_at(listener, "/conditions", kind).filter(|c| !moment.is_old(c));
        let no = |kind: &str| of(kind).filter(|c| c.status == "False" && c.reason != "Pending");
        let bad = no("Accepted")
            .or_else(|| no("ResolvedRefs"))
            .or_else(|| of("Conflicted").filter(Condition::is_true));
        bad.map(|condition| named("listener", text(listener, "/name"), moment.failed(&condition)))
    })
}

/// Each parent that a route names has to take it.
pub(super) fn parents(route: &Value, moment: &Moment) -> Option<Health> {
    let wanted = items(route, "/spec/parentRefs").len();
    let taken = items(route, "/status/parents");
    for parent in taken {
        let name = text(parent, "/parentRef/name");
        for kind in ["Accepted", "ResolvedRefs"] {
            let Some(condition) = condition_at(parent, "/conditions", kind) else {
                continue;
            };
            if condition.status == "False" && condition.reason != "Pending" && !moment.is_old(&condition) {
                return Some(named("parent", name, moment.failed(&condition)));
            }
            if let Some(lack) = moment.lacks(&condition) {
                return Some(named("parent", name, lack));
            }
        }
    }
    if wanted == 0 && taken.is_empty() {
        // It is attached to nothing, and says so itself.
        return None;
    }
    let accepted = taken.iter().filter(|p| condition_at(p, "/conditions", "Accepted").is_some()).count();
    (accepted == 0 || accepted < wanted)
        .then(|| progressing("NotAccepted", format!("{accepted} of {wanted} parents have taken it")))
}

fn named(what: &str, name: &str, health: Health) -> Health {
    Health { message: format!("{what} {}: {}", or(name, "?"), health.message), ..health }
}

/// Conditions of Cluster API's older contract say how bad it is that they are not true.
pub(super) fn severe(object: &Value, moment: &Moment) -> Option<Health> {
    let conditions = items(object, "/status/conditions").iter().map(Condition::read);
    let mut bad = conditions.filter(|c| c.status == "False" && c.severity == "Error" && !moment.is_old(c));
    // `Ready` repeats another; that one says what it is.
    let first = bad.next()?;
    let told = if first.kind == "Ready" { bad.next().unwrap_or(first) } else { first };
    Some(told.verdict(HealthState::Degraded))
}
