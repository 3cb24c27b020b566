//! Dependencies and groups: which apps an app waits for, and with which it switches.
//!
//! In: the fields `dependsOn` and `group`, the objects of a catalog. Out: [`Dependency`], and the apps that wait for each other in
//! a circle. Never: takes a dependency that could not be met.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::decode::selector;
use super::fields::{Field, Fields, Reader};
use super::objects::{App, Spec};
use super::references::{Reference, References};
use super::{Effective, Kind, ObjectId};
use crate::select::Selector;

/// The fields of one.
const FIELDS: &[&str] = &["app", "selector", "until", "ifAbsent", "clusters"];
/// So many hops of a circle are named.
const HOPS: usize = 6;

/// What comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Which apps.
    pub on: DependsOn,
    /// What has to be so of them.
    pub until: Until,
    /// What happens where a cluster is to run none of them; absent: it waits for one that is named, and not for one that is
    /// selected.
    pub if_absent: Option<IfAbsent>,
    /// On which other clusters; absent: on the same.
    pub clusters: Option<Selector>,
}

impl Dependency {
    /// What happens where none of the apps is.
    pub fn if_absent(&self) -> IfAbsent {
        let default = match self.on {
            DependsOn::App(_) => IfAbsent::Wait,
            DependsOn::Selected(_) => IfAbsent::Ignore,
        };
        self.if_absent.unwrap_or(default)
    }
}

/// Which apps come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependsOn {
    /// One, by its name.
    App(String),
    /// All that have these labels.
    Selected(Selector),
}

impl DependsOn {
    /// Whether it means an app.
    pub fn means(&self, app: &Effective) -> bool {
        match self {
            Self::App(name) => **name == *app.object.id.name,
            Self::Selected(selector) => selector.matches(&app.object.labels),
        }
    }
}

/// What has to be so of an app that comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// It is applied.
    Applied,
    /// It is healthy.
    #[default]
    Healthy,
}

/// What happens where an app that comes first is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IfAbsent {
    /// It is waited for.
    Wait,
    /// Nothing is waited for.
    Ignore,
    /// It cannot be, and that is told as a failure.
    Fail,
}

/// Reads `dependsOn`; `None` where it is absent. An empty list says that nothing comes first, whatever the fleet's default.
pub(super) fn depends_on(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
) -> Option<Vec<Dependency>> {
    let field = fields.get("dependsOn")?;
    let items = reader.list(&field);
    Some(items.iter().filter_map(|item| dependency(reader, references, item)).collect())
}

fn dependency(reader: &mut Reader<'_>, references: &mut References, item: &Field<'_>) -> Option<Dependency> {
    let fields = reader.fields(item, FIELDS, &[])?;
    let on = match (fields.get("app"), fields.get("selector")) {
        (Some(field), None) => named(reader, references, &field),
        (None, Some(field)) => some(reader, &field, "every app, its own too").map(DependsOn::Selected),
        (Some(field), Some(_)) => {
            let message =
                format!("{}: a dependency has app or selector, not both; remove one of them", field.path);
            reader.error(field.node.position, message);
            None
        }
        (None, None) => {
            let how = "say which app comes first, or by selector which apps";
            reader.missing(fields.position, &fields.path_of("app"), how);
            None
        }
    };
    let until = [("Applied", Until::Applied), ("Healthy", Until::Healthy)];
    let absent = [("Wait", IfAbsent::Wait), ("Ignore", IfAbsent::Ignore), ("Fail", IfAbsent::Fail)];
    let until = fields.get("until").and_then(|f| reader.choice(&f, &until)).unwrap_or_default();
    let if_absent = fields.get("ifAbsent").and_then(|f| reader.choice(&f, &absent));
    let clusters = fields.get("clusters").map(|field| {
        let given = reader.fields(&field, &["selector"], &[])?;
        let Some(given) = given.get("selector") else {
            let how = "say where it has to be first, e.g. {matchLabels: {env: staging}}";
            reader.missing(given.position, &given.path_of("selector"), how);
            return None;
        };
        some(reader, &given, "every cluster, so each would wait for all others")
    });
    let clusters = match clusters {
        Some(clusters) => Some(clusters?),
        None => None,
    };
    Some(Dependency { on: on?, until, if_absent, clusters })
}

fn named(reader: &mut Reader<'_>, references: &mut References, field: &Field<'_>) -> Option<DependsOn> {
    let name = reader.name(field, "app name")?;
    if reader.object.as_ref().is_some_and(|id| id.kind == Kind::App && *id.name == *name) {
        let message = format!(
            "{}: an app cannot wait for itself; for one cluster after the other use a Rollout with before.healthyOn",
            field.path
        );
        reader.error(field.node.position, message);
        return None;
    }
    references.add(Reference::App(name.clone()), field.node.position);
    Some(DependsOn::App(name))
}

/// A selector that does not mean all.
fn some(reader: &mut Reader<'_>, field: &Field<'_>, all: &str) -> Option<Selector> {
    let known = reader.problems.len();
    let selector = selector(reader, field);
    if reader.problems.len() > known {
        return None;
    }
    if selector == Selector::default() {
        let message = format!("{}: it means {all}; write e.g. {{matchLabels: {{tier: base}}}}", field.path);
        reader.error(field.node.position, message);
        return None;
    }
    Some(selector)
}

/// What comes before an app: what it says itself, or what the fleet's default says, which is not for those that it selects.
pub(super) fn of<'a>(app: &Effective, own: &'a App, defaults: &'a [Dependency]) -> &'a [Dependency] {
    match &own.depends_on {
        Some(own) => own,
        // Those that come first are the root's.
        None if app.object.id.tenant().is_none() && defaults.iter().any(|first| first.on.means(app)) => &[],
        None => defaults,
    }
}

/// Apps that wait for each other in a circle, with a sentence each. Where they wait for others on other clusters counts too: which
/// clusters those are, changes with a label.
pub(super) fn circles(objects: &BTreeMap<ObjectId, Effective>) -> Vec<(ObjectId, String)> {
    let defaults = objects.values().find_map(|effective| match &effective.object.spec {
        Spec::Fleet(fleet) => Some(&*fleet.defaults.depends_on),
        _ => None,
    });
    let defaults = defaults.unwrap_or_default();
    let apps: BTreeMap<&Arc<str>, (&Effective, &App)> = objects
        .values()
        .filter_map(|effective| match &effective.object.spec {
            Spec::App(app) => Some((&effective.object.id.name, (effective, app))),
            _ => None,
        })
        .collect();
    let mut next: BTreeMap<&Arc<str>, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for (name, (effective, app)) in &apps {
        let mut first = BTreeSet::new();
        for dependency in of(effective, app, defaults) {
            match &dependency.on {
                DependsOn::App(other) => {
                    first.extend(apps.get_key_value(&Arc::from(&**other)).map(|(n, _)| *n));
                }
                DependsOn::Selected(selector) => {
                    let selected = apps.iter().filter(|(other, (effective, _))| {
                        *other != name && selector.matches(&effective.object.labels)
                    });
                    first.extend(selected.map(|(other, _)| *other));
                }
            }
        }
        next.insert(name, first);
    }
    // Apps of a group begin together, so each waits for what any of them waits for outside of it.
    let group = |name: &Arc<str>| apps.get(name).and_then(|(_, app)| app.group.as_ref());
    let mut shared: BTreeMap<&String, BTreeSet<&Arc<str>>> = BTreeMap::new();
    for (name, first) in &next {
        if let Some(of) = group(name) {
            let outside = first.iter().copied().filter(|other| group(other) != Some(of));
            shared.entry(of).or_default().extend(outside);
        }
    }
    for (name, first) in &mut next {
        first.extend(group(name).and_then(|of| shared.get(of)).into_iter().flatten().copied());
    }
    next.retain(|_, first| !first.is_empty());
    let circle = |name: &Arc<str>| shortest(name, &next);
    let names = next.keys().filter_map(|name| Some((*name, circle(name)?)));
    let told = |(name, circle): (&Arc<str>, Vec<&Arc<str>>)| {
        let mut way: Vec<String> = circle.iter().take(HOPS).map(|app| format!("App/{app}")).collect();
        if circle.len() > HOPS {
            way.push("…".to_owned());
        }
        let grouped = circle.iter().any(|app| group(app).is_some());
        let how = if grouped { " (apps of a group wait for what any of them depends on)" } else { "" };
        let message = format!(
            "it waits for itself: App/{name} depends on {}{how}; remove one of these from dependsOn: until then they stay as they were",
            way.join(", which depends on ")
        );
        (ObjectId { kind: Kind::App, name: name.clone() }, message)
    };
    names.map(told).collect()
}

/// The shortest way from an app back to itself.
fn shortest<'a>(
    from: &Arc<str>,
    next: &BTreeMap<&'a Arc<str>, BTreeSet<&'a Arc<str>>>,
) -> Option<Vec<&'a Arc<str>>> {
    let mut came: BTreeMap<&Arc<str>, Option<&'a Arc<str>>> = BTreeMap::new();
    let mut open: Vec<&Arc<str>> = Vec::new();
    for first in &next[from] {
        came.insert(first, None);
        open.push(first);
    }
    let mut at = 0;
    while at < open.len() {
        let app = open[at];
        at += 1;
        if app == from {
            let mut way = vec![app];
            while let Some(Some(before)) = came.get(way[way.len() - 1]) {
                way.push(before);
            }
            way.reverse();
            return Some(way);
        }
        for other in next.get(app).into_iter().flatten() {
            if !came.contains_key(*other) {
                came.insert(other, Some(app));
                open.push(other);
            }
        }
    }
    None
}
