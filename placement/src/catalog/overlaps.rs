//! Overlaps: two overrides of one priority that set one thing differently, where only their names decide.
//!
//! In: the overrides that are in effect. Out: warnings. Never: warns of two that cannot meet: on no app, or on no cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::assemble::Defined;
use super::problems::Problem;
use super::{Catalog, ClusterSelection, Object, Override, PatchTarget, Spec};
use crate::overrides::{Change, Parameters, Strategy, strategy_of_kind};
use crate::select::{Operator, Selector};

/// The places that a patch sets outright, with what it sets there.
type Places = BTreeMap<String, Value>;

/// An override, with what its patches set.
struct Setting<'a> {
    object: &'a Object,
    spec: &'a Override,
    patches: Vec<(&'a PatchTarget, Places)>,
}

pub(super) fn check(catalog: &Catalog, taken: &[Defined<'_>]) -> Vec<Problem> {
    let settings = taken.iter().filter_map(|defined| {
        let object: &Object = defined.object.as_ref()?;
        let Spec::Override(spec) = &object.spec else { return None };
        let patches = spec.patches.iter().map(|patch| (&patch.target, places(&patch.target, &patch.change)));
        Some(Setting { object, spec, patches: patches.collect() })
    });
    let mut settings: Vec<Setting<'_>> = settings.collect();
    settings.sort_by_key(|setting| &setting.object.id);
    let mut warnings = Vec::new();
    for (weaker, stronger) in pairs(catalog, &settings) {
        let (below, above) = (&settings[weaker], &settings[stronger]);
        if !may_meet(&below.spec.clusters, &above.spec.clusters) {
            continue;
        }
        for what in both_set(below, above) {
            let message = format!(
                "{what} is set by {} too, differently and with the same priority, {}; {} wins by its name: give them different priorities",
                below.object.id, above.spec.priority, above.object.id
            );
            let problem = Problem::at(&above.object.origin, message).of(Some(&above.object.id));
            warnings.push(problem.warning());
        }
    }
    warnings
}

/// Those of one priority that an app has both, the weaker first. Each is asked once for each app, and lists that many apps
/// share are gone through once: most overrides mean few apps, or all.
fn pairs(catalog: &Catalog, settings: &[Setting<'_>]) -> BTreeSet<(usize, usize)> {
    let mut together: BTreeSet<Vec<usize>> = BTreeSet::new();
    for (app, _) in catalog.apps() {
        let mut by_priority: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (at, setting) in settings.iter().enumerate() {
            if setting.spec.apps.selects(&app.object) {
                by_priority.entry(setting.spec.priority).or_default().push(at);
            }
        }
        together.extend(by_priority.into_values());
    }
    let mut pairs = BTreeSet::new();
    for list in &together {
        for (at, weaker) in list.iter().enumerate() {
            pairs.extend(list[at + 1..].iter().map(|stronger| (*weaker, *stronger)));
        }
    }
    pairs
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
fn both_set(a: &Setting<'_>, b: &Setting<'_>) -> BTreeSet<String> {
    let mut both = Vec::new();
    let (below, above) = (a.spec, b.spec);
    if below.source.is_some() && above.source.is_some() && below.source != above.source {
        both.push("source".to_owned());
    }
    parameters(&below.parameters, &above.parameters, "parameters", &mut both);
    for image in &below.images {
        if above.images.iter().any(|other| other.name == image.name && other != image) {
            both.push(format!("the image {}", image.name));
        }
    }
    for (target, here) in &a.patches {
        for (_, there) in b.patches.iter().filter(|(other, _)| may_target_one(target, other)) {
            let differs = |(place, value): &(&String, &Value)| there.get(*place).is_some_and(|v| v != *value);
            both.extend(here.iter().filter(differs).map(|(place, _)| format!("{place} of {target}")));
        }
    }
    both.into_iter().collect()
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

fn places(target: &PatchTarget, change: &Change) -> Places {
    let mut found = Places::new();
    match change {
        Change::Json(patch) => {
            for operation in &patch.0 {
                match operation {
                    json_patch::PatchOperation::Replace(replace) => {
                        found.insert(replace.path.to_string(), replace.value.clone());
                    }
                    // At a list's index, two of them make two items.
                    json_patch::PatchOperation::Add(add) if !is_index(&add.path.to_string()) => {
                        found.insert(add.path.to_string(), add.value.clone());
                    }
                    _ => {}
                }
            }
        }
        Change::Merge(patch) => Leaves { target, found: &mut found }.of(patch, String::new(), ""),
        Change::Images(_) => {}
    }
    found
}

fn is_index(pointer: &str) -> bool {
    let last = pointer.rsplit('/').next().unwrap_or_default();
    last == "-" || last.bytes().all(|b| b.is_ascii_digit())
}

/// What a merge patch sets: scalars, and lists that it replaces.
struct Leaves<'a> {
    target: &'a PatchTarget,
    found: &'a mut Places,
}

impl Leaves<'_> {
    /// Of the value at a place; `fields` are the names on the way there, joined by dots.
    fn of(&mut self, value: &Value, place: String, fields: &str) {
        let own = ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"];
        match value {
            _ if own.contains(&&*place) => {}
            Value::Object(map) => {
                for (name, value) in map.iter().filter(|(name, _)| !name.starts_with('$')) {
                    let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                    let dot = if fields.is_empty() { "" } else { "." };
                    self.of(value, place, &format!("{fields}{dot}{name}"));
                }
            }
            Value::Array(items) => self.list(items, place, fields),
            scalar => drop(self.found.insert(place, scalar.clone())),
        }
    }

    /// Items that are merged are places of their own, by their keys.
    fn list(&mut self, items: &[Value], place: String, fields: &str) {
        let kind = self.target.kind.as_deref().unwrap_or_default();
        match strategy_of_kind(self.target.group.as_deref(), kind, fields) {
            // Each adds its own.
            Some(Strategy::Set) => {}
            Some(Strategy::Keys(keys)) if items.iter().all(|item| item.get(keys[0]).is_some()) => {
                for item in items {
                    self.of(item, format!("{place}[{}]", key(item, keys)), fields);
                }
            }
            _ => drop(self.found.insert(place, Value::Array(items.to_vec()))),
        }
    }
}

/// `containerPort=80,protocol=TCP`: an item by its keys, the second one `TCP` where it is absent.
fn key(item: &Value, keys: &[&str]) -> String {
    let text = |key: &&str| match item.get(*key) {
        Some(Value::String(text)) => format!("{key}={text}"),
        Some(value) => format!("{key}={value}"),
        None => format!("{key}=TCP"),
    };
    keys.iter().map(text).collect::<Vec<_>>().join(",")
}
