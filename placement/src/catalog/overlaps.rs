//! Overlaps: two overrides of one priority that set one thing differently, where only their names decide.
//!
//! In: the overrides that are in effect. Out: warnings. Never: warns of two that cannot meet: on no app, or on no cluster.

use std::collections::BTreeSet;

use serde_json::Value;

use super::problems::Problem;
use super::{Catalog, ClusterSelection, Document, Object, Override, PatchTarget, Spec};
use crate::overrides::{Change, Parameters};
use crate::select::{Operator, Selector};

pub(super) fn check(catalog: &Catalog, taken: &[&Document]) -> Vec<Problem> {
    let overrides = taken.iter().filter_map(|document| {
        let object = document.object.as_ref()?;
        match &object.spec {
            Spec::Override(spec) => Some((&**object, spec)),
            _ => None,
        }
    });
    let mut overrides: Vec<(&Object, &Override)> = overrides.collect();
    overrides.sort_by_key(|(object, _)| &object.id);
    let mut warnings = Vec::new();
    for (at, (weaker, below)) in overrides.iter().enumerate() {
        for (stronger, above) in &overrides[at + 1..] {
            if below.priority != above.priority || !meet(catalog, below, above) {
                continue;
            }
            for what in both_set(below, above) {
                let message = format!(
                    "{what} is set by {} too, differently and with the same priority, {}; {} wins by its name: give them different priorities",
                    weaker.id, above.priority, stronger.id
                );
                warnings.push(Problem::at(&stronger.origin, message).of(Some(&stronger.id)).warning());
            }
        }
    }
    warnings
}

/// Whether there is an app that both select, and a cluster may be.
fn meet(catalog: &Catalog, a: &Override, b: &Override) -> bool {
    let mut apps = catalog.apps();
    apps.any(|(app, _)| a.apps.selects(&app.object) && b.apps.selects(&app.object))
        && may_meet(&a.clusters, &b.clusters)
}

/// Whether a cluster may match both, as far as the selections themselves tell.
fn may_meet(a: &ClusterSelection, b: &ClusterSelection) -> bool {
    let both = |a: Option<bool>| a.unwrap_or(true);
    let sets = a.sets.as_ref().zip(b.sets.as_ref()).map(|(a, b)| !a.is_disjoint(b));
    let names = a.names.as_ref().zip(b.names.as_ref()).map(|(a, b)| !a.is_disjoint(b));
    let selectors = a.selector.as_ref().zip(b.selector.as_ref()).map(|(a, b)| !exclude_each_other(a, b));
    both(sets) && both(names) && both(selectors)
}

/// Whether an object may be the target of both.
fn may_target_one(a: &PatchTarget, b: &PatchTarget) -> bool {
    let fields = |target: &PatchTarget| {
        let PatchTarget { group, version, kind, namespace, name, .. } = target.clone();
        [group, version, kind, namespace, name]
    };
    let differ = |(a, b): (Option<String>, Option<String>)| a.zip(b).is_some_and(|(a, b)| a != b);
    let apart = |a: &Option<Selector>, b: &Option<Selector>| {
        a.as_ref().zip(b.as_ref()).is_some_and(|(a, b)| exclude_each_other(a, b))
    };
    !fields(a).into_iter().zip(fields(b)).any(differ)
        && !apart(&a.label_selector, &b.label_selector)
        && !apart(&a.annotation_selector, &b.annotation_selector)
}

/// Whether they want different values, or presence and absence, of one label.
fn exclude_each_other(a: &Selector, b: &Selector) -> bool {
    use Operator::{DoesNotExist, Exists, In, NotIn};
    let pairs = a.0.iter().flat_map(|a| b.0.iter().map(move |b| (a, b)));
    pairs.filter(|(a, b)| a.key == b.key).any(|(a, b)| match (&a.operator, &b.operator) {
        (In(a), In(b)) => a.is_disjoint(b),
        (In(wanted), NotIn(refused)) | (NotIn(refused), In(wanted)) => wanted.is_subset(refused),
        (In(_) | Exists, DoesNotExist) | (DoesNotExist, In(_) | Exists) => true,
        _ => false,
    })
}

/// What both set, and differently.
fn both_set(a: &Override, b: &Override) -> Vec<String> {
    let mut both = Vec::new();
    if a.source.is_some() && b.source.is_some() && a.source != b.source {
        both.push("source".to_owned());
    }
    parameters(&a.parameters, &b.parameters, "parameters", &mut both);
    for image in &a.images {
        if b.images.iter().any(|other| other.name == image.name && other != image) {
            both.push(format!("the image {}", image.name));
        }
    }
    for patch in &a.patches {
        let same = b.patches.iter().filter(|other| may_target_one(&patch.target, &other.target));
        let places = |change: &Change| places(change);
        let here = places(&patch.change);
        for place in same.flat_map(|other| places(&other.change)) {
            if here.iter().any(|(at, value)| *at == place.0 && *value != place.1) {
                both.push(format!("{} of {}", place.0, patch.target));
            }
        }
    }
    let unique: BTreeSet<String> = both.into_iter().collect();
    unique.into_iter().collect()
}

fn parameters(a: &Parameters, b: &Parameters, path: &str, both: &mut Vec<String>) {
    for (name, a) in a {
        let path = format!("{path}.{name}");
        match (a, b.get(name)) {
            (Value::Object(a), Some(Value::Object(b))) => parameters(a, b, &path, both),
            (a, Some(b)) if a != b => both.push(path),
            _ => {}
        }
    }
}

/// The places that a change sets outright, with what it sets there.
fn places(change: &Change) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    match change {
        Change::Json(patch) => {
            for operation in &patch.0 {
                match operation {
                    json_patch::PatchOperation::Replace(replace) => {
                        found.push((replace.path.to_string(), replace.value.clone()));
                    }
                    // At a list's index, two of them make two items.
                    json_patch::PatchOperation::Add(add) if !is_index(&add.path.to_string()) => {
                        found.push((add.path.to_string(), add.value.clone()));
                    }
                    _ => {}
                }
            }
        }
        Change::Merge(patch) => leaves(patch, String::new(), &mut found),
        Change::Images(_) => {}
    }
    found
}

fn is_index(pointer: &str) -> bool {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    last == "-" || last.bytes().all(|b| b.is_ascii_digit())
}

/// Scalars outside lists: what lists become, their merge keys decide.
fn leaves(value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            let own = ["apiVersion", "kind"].map(|name| format!("/{name}"));
            for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with('$')) {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                if !own.contains(&path) && path != "/metadata/name" && path != "/metadata/namespace" {
                    leaves(value, path, found);
                }
            }
        }
        Value::Array(_) => {}
        scalar => found.push((path, scalar.clone())),
    }
}
