//! The fields of each kind. `design.md` section 4 lists them all; those that this version does not act on are `later`.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Field, Fields, Reader, only_names};
use super::objects::{
    App, Cluster, ClusterSet, Defaults, Fleet, GuardLimit, GuardLimits, NamespaceOptions, OnRemove, Spec,
};
use super::problems::Position;
use super::references::{Reference, References};
use super::source_fields::Sourcing;
use super::template::{Directories, Starred};
use super::{
    Kind, Source, dependency, override_fields, place, rollout_fields, schedule_fields, source_fields,
    tenant_fields, treat,
};
use crate::overrides::Parameters;
use crate::select::{Operator, Requirement, Selector};

const APP: &[&str] = &[
    "source",
    "parameters",
    "substitute",
    "namespace",
    "protect",
    "prune",
    "onRemove",
    "formerly",
    "rollout",
    "dependsOn",
    "group",
];

/// What a specification says.
pub(super) struct Decoded {
    pub spec: Spec,
    /// Of what a template makes its apps.
    pub directories: Option<Directories>,
}

impl From<Spec> for Decoded {
    fn from(spec: Spec) -> Self {
        Self { spec, directories: None }
    }
}

/// Reads the specification of one document. `spec` is absent where the document has none; `at` is where it would be.
pub(super) fn decode(
    reader: &mut Reader<'_>,
    references: &mut References,
    kind: Kind,
    spec: Option<&Field<'_>>,
    at: Position,
) -> Option<Decoded> {
    let app_fields = [APP, treat::FIELDS].concat();
    let (valid, later): (&[&str], &[&str]) = match kind {
        Kind::Fleet => (&["defaults", "parameters", "guard"], &["trust"]),
        Kind::Cluster => (&["set", "taints", "cordoned", "timezone", "parameters", "protect"], &[]),
        Kind::ClusterSet => (&["parameters", "windows", "freeze"], &[]),
        Kind::App => (&app_fields, &[]),
        Kind::Placement => (place::FIELDS, &[]),
        Kind::Override => (override_fields::FIELDS, &[]),
        Kind::Rollout => (rollout_fields::FIELDS, &[]),
        Kind::Catalog => (tenant_fields::FIELDS, &[]),
    };
    let Some(spec) = spec else {
        let spec = match kind {
            Kind::Fleet => Some(Spec::Fleet(Fleet::default())),
            Kind::Cluster => Some(Spec::Cluster(Cluster::default())),
            Kind::ClusterSet => Some(Spec::ClusterSet(ClusterSet::default())),
            Kind::App | Kind::Placement | Kind::Override | Kind::Rollout | Kind::Catalog => {
                reader.missing(at, "spec", &format!("give it {}", valid.join(", ")));
                None
            }
        };
        return spec.map(Decoded::from);
    };
    let fields = reader.fields(spec, valid, later)?;
    let spec = match kind {
        Kind::App => return app(reader, references, &fields),
        Kind::Fleet => Some(Spec::Fleet(fleet(reader, references, &fields))),
        Kind::Cluster => Some(Spec::Cluster(cluster(reader, references, &fields))),
        Kind::ClusterSet => {
            let parameters = fields.get("parameters").map(|f| parameters(reader, &f)).unwrap_or_default();
            let windows = schedule_fields::windows(reader, &fields);
            let freezes = schedule_fields::freezes(reader, &fields);
            Some(Spec::ClusterSet(ClusterSet { parameters, windows, freezes }))
        }
        Kind::Override => Some(Spec::Override(override_fields::overriding(reader, references, &fields))),
        Kind::Placement => Some(Spec::Placement(Box::new(place::placement(reader, references, &fields)))),
        Kind::Rollout => Some(Spec::Rollout(Box::new(rollout_fields::rollout(reader, references, &fields)))),
        Kind::Catalog => tenant_fields::tenant(reader, references, &fields).map(Spec::Catalog),
    };
    spec.map(Decoded::from)
}

fn fleet(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Fleet {
    let mut fleet = Fleet::default();
    if let Some(defaults) =
        fields.get("defaults").and_then(|f| reader.fields(&f, &["rollout", "dependsOn"], &[]))
    {
        fleet.defaults = Defaults {
            rollout: rollout(reader, references, &defaults),
            depends_on: dependency::depends_on(reader, references, &defaults).unwrap_or_default(),
        };
    }
    fleet.parameters = fields.get("parameters").map(|f| parameters(reader, &f)).unwrap_or_default();
    let names = ["fleet", "app", "cluster", "objects"];
    if let Some(guard) = fields.get("guard").and_then(|f| reader.fields(&f, &names, &[])) {
        let mut limit = |name: &str| guard.get(name).map(|f| guard_limit(reader, &f)).unwrap_or_default();
        let [fleet_limit, app, cluster, objects] = names.map(&mut limit);
        fleet.guard = GuardLimits { fleet: fleet_limit, app, cluster, objects };
    }
    fleet
}

/// The name of a `Rollout` of the same catalog.
fn rollout(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Option<String> {
    let field = fields.get("rollout")?;
    let name = reader.name(&field, "rollout name")?;
    references.add(Reference::Rollout(name.clone()), field.node.position);
    Some(name)
}

/// A layer of parameters.
pub(super) fn parameters(reader: &mut Reader<'_>, field: &Field<'_>) -> Parameters {
    if !reader.fields_of_any_name(field) {
        return Parameters::new();
    }
    match reader.json(field) {
        serde_json::Value::Object(map) => map,
        _ => Parameters::new(),
    }
}

fn guard_limit(reader: &mut Reader<'_>, field: &Field<'_>) -> GuardLimit {
    let Some(fields) = reader.fields(field, &["max", "atMost"], &[]) else {
        return GuardLimit::default();
    };
    GuardLimit {
        max: fields.get("max").and_then(|f| reader.percent(&f)),
        at_most: fields.get("atMost").and_then(|f| reader.count(&f)),
    }
}

fn cluster(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Cluster {
    let field = fields.get("set");
    let set = field.as_ref().and_then(|f| reader.name(f, "cluster set name"));
    if let (Some(field), Some(set)) = (field, &set) {
        references.add(Reference::Set(set.clone()), field.node.position);
    }
    Cluster {
        set,
        taints: place::taints(reader, fields),
        cordoned: fields.get("cordoned").and_then(|f| reader.flag(&f)).unwrap_or(false),
        timezone: fields.get("timezone").and_then(|f| schedule_fields::zone(reader, &f)),
        parameters: fields.get("parameters").map(|f| parameters(reader, &f)).unwrap_or_default(),
        protect: fields.get("protect").and_then(|f| reader.flag(&f)).unwrap_or(false),
    }
}

fn app(reader: &mut Reader<'_>, references: &mut References, fields: &Fields<'_>) -> Option<Decoded> {
    let is_template = reader.object.as_ref().is_some_and(|id| id.name.contains('*'));
    let source = match fields.get("source") {
        Some(field) => source_fields::source(reader, references, &field, is_template),
        None => {
            reader.missing(
                fields.position,
                "spec.source",
                "say where the manifests are: source: {path: ./manifests}",
            );
            None
        }
    };
    let namespace = fields.get("namespace").and_then(|f| namespace(reader, &f));
    let choices = [("Delete", OnRemove::Delete), ("Orphan", OnRemove::Orphan)];
    let formerly = fields.get("formerly").and_then(|f| match is_template {
        true => Some(former_names(reader, &f)),
        false => reader.names(&f, "app name"),
    });
    let formerly = formerly.unwrap_or_default();
    for (name, position) in &formerly {
        if reader.object.as_ref().is_some_and(|id| *id.name == **name) {
            reader.error(*position, "spec.formerly names the app itself; remove the name");
        }
        references.add(Reference::Formerly(name.clone()), *position);
    }
    let (source, directories) = match source? {
        Sourcing::Of(source) => (source, None),
        // Each of its apps has one of its own.
        Sourcing::Each(directories) => (Source::at(directories.parent.clone()), Some(directories)),
    };
    let app = App {
        source,
        parameters: fields.get("parameters").map(|f| parameters(reader, &f)).unwrap_or_default(),
        substitute: fields.get("substitute").and_then(|f| reader.flag(&f)).unwrap_or(false),
        namespace,
        protect: fields.get("protect").and_then(|f| reader.flag(&f)).unwrap_or(false),
        prune: fields.get("prune").and_then(|f| reader.flag(&f)).unwrap_or(true),
        on_remove: fields.get("onRemove").and_then(|f| reader.choice(&f, &choices)).unwrap_or_default(),
        formerly: only_names(&formerly),
        rollout: rollout(reader, references, fields),
        depends_on: dependency::depends_on(reader, references, fields),
        group: fields.get("group").and_then(|f| reader.name(&f, "group name")),
        treatment: treat::treatment(reader, fields),
    };
    Some(Decoded { spec: Spec::App(app), directories })
}

/// The former names of a template's apps: with a `*`, as their names.
fn former_names(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, Position> {
    let mut names = BTreeMap::new();
    for item in reader.list(field) {
        let Some(name) = reader.text(&item) else { continue };
        if Starred::of_names(&name).is_some() {
            names.entry(name).or_insert(item.node.position);
            continue;
        }
        let message = format!(
            "{}: {name:?} would be a former name of all apps of this template; write one * in the place of the directory's name, or remove it",
            item.path
        );
        reader.error(item.node.position, message);
    }
    names
}

fn namespace(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<NamespaceOptions> {
    let fields = reader.fields(field, &["name", "labels", "create", "force"], &[])?;
    let name = match fields.get("name") {
        Some(field) => {
            let name = reader.name(&field, "namespace name");
            if name.as_ref().is_some_and(|n| n.len() > 63 || n.contains('.')) {
                let message =
                    format!("{}: a namespace's name has at most 63 characters and no '.'", field.path);
                reader.error(field.node.position, message);
            }
            name
        }
        None => {
            reader.missing(fields.position, "spec.namespace.name", "name the namespace");
            None
        }
    };
    Some(NamespaceOptions {
        labels: fields.get("labels").map(|f| reader.labels(&f)).unwrap_or_default(),
        create: fields.get("create").and_then(|f| reader.flag(&f)).unwrap_or(true),
        force: fields.get("force").and_then(|f| reader.flag(&f)).unwrap_or(false),
        name: name?,
    })
}

/// Reads a selector of labels.
pub(super) fn selector(reader: &mut Reader<'_>, field: &Field<'_>) -> Selector {
    let mut requirements = Vec::new();
    let Some(fields) = reader.fields(field, &["matchLabels", "matchExpressions"], &[]) else {
        return Selector::default();
    };
    let labels: BTreeMap<String, String> =
        fields.get("matchLabels").map(|f| reader.labels(&f)).unwrap_or_default();
    for (key, value) in labels {
        requirements.push(Requirement { key, operator: Operator::In(BTreeSet::from([value])) });
    }
    for item in fields.get("matchExpressions").map(|f| reader.list(&f)).unwrap_or_default() {
        requirements.extend(expression(reader, &item));
    }
    Selector(requirements)
}

fn expression(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Requirement> {
    let fields = reader.fields(field, &["key", "operator", "values"], &[])?;
    let (Some(key), Some(operator)) = (fields.get("key"), fields.get("operator")) else {
        reader.error(fields.position, format!("{} needs key and operator", field.path));
        return None;
    };
    let (text, position) = (reader.text(&key)?, key.node.position);
    reader.label_key(&text, position, &key.path);
    let given = fields.get("values");
    let mut values = BTreeSet::new();
    for item in given.as_ref().map(|f| reader.list(f)).unwrap_or_default() {
        if let Some(value) = reader.text(&item) {
            reader.label_value(&value, item.node.position, &item.path);
            values.insert(value);
        }
    }
    let words = [("In", 0), ("NotIn", 1), ("Exists", 2), ("DoesNotExist", 3)];
    let choice = reader.choice(&operator, &words)?;
    let empty = place::is_absent(&fields, "values");
    if (choice < 2) == empty {
        let at = given.as_ref().map_or(fields.position, |f| f.node.position);
        let how = if empty { "needs values" } else { "takes no values; remove them" };
        reader.error(at, format!("{}: {} {how}", field.path, words[choice].0));
        return None;
    }
    let operator = match choice {
        0 => Operator::In(values),
        1 => Operator::NotIn(values),
        2 => Operator::Exists,
        _ => Operator::DoesNotExist,
    };
    Some(Requirement { key: text, operator })
}
