//! Divisions: placements that divide the replicas of one app, and do not agree.
//!
//! In: objects that are valid by themselves. Out: those that contradict another one, and how. Never: says who is right.

use std::collections::BTreeMap;

use super::objects::{Placement, Spec};
use super::{Effective, Kind, ObjectId};

/// The placements that contradict another one, in order, with a sentence each.
pub(super) fn contradictions(objects: &BTreeMap<ObjectId, Effective>) -> Vec<(ObjectId, String)> {
    let dividing: Vec<(&ObjectId, &Placement)> = objects
        .iter()
        .filter_map(|(id, effective)| match &effective.object.spec {
            Spec::Placement(placement) if placement.replicas.is_some() => Some((id, &**placement)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for (id, placement) in &dividing {
        let other = dividing.iter().find_map(|(other, theirs)| {
            let differs = placement.replicas != theirs.replicas;
            let app = objects.iter().find(|(app, effective)| {
                let selects = |rule: &Placement| selects(rule, &app.name, effective);
                app.kind == Kind::App && selects(placement) && selects(theirs)
            });
            app.filter(|_| differs).map(|(app, _)| (*other, app))
        });
        if let Some((other, app)) = other {
            let message = format!(
                "{other} divides the replicas of {app} otherwise; give both the same spec.replicas, or only one of them: until then both stay as they were"
            );
            found.push(((*id).clone(), message));
        }
    }
    found
}

fn selects(placement: &Placement, name: &str, app: &Effective) -> bool {
    let named = placement.apps.names.as_ref().is_none_or(|names| names.contains(name));
    named && placement.apps.selector.as_ref().is_none_or(|selector| selector.matches(&app.object.labels))
}
