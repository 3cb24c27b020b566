//! Reading the fields of a `Placement`, the taints of a `Cluster`, and what other kinds have in common with them.
//!
//! In: the fields of its `spec`. Out: [`Placement`]. Never: takes a number that contradicts another one beside it.

use std::collections::{BTreeMap, BTreeSet};

use super::decode::selector;
use super::fields::{Field, Fields, Reader, each, is_whole_number, only_names};
use super::objects::{AppSelection, ClusterSelection, Placement};
use super::pick::{Count, Failover, OnReturn, Pick, Preference, Preferred, Spread};
use super::references::{Reference, References};
use super::replicas::replicas;
use super::yaml::Value;
use super::{Percent, treat};
use crate::ClusterName;
use crate::fleet::{Effect, Taint};
use crate::select::{Condition, Look, Toleration, thousandths};

/// The fields.
pub(super) const FIELDS: &[&str] = &["apps", "clusters", "tolerations", "pick", "replicas"];

/// How to say that all are meant.
const EVERY_CLUSTER: &str = "write `clusters: {selector: {}}` for every cluster";
/// What a weight may be: with a value of at most 100 and a few preferences, a score stays readable.
const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=100;
/// From a silent spoke to another cluster in its place, where `failover` does not say.
const UNREACHABLE_MS: u64 = 5 * 60_000;
/// A shorter period would take every restart of a spoke for a loss.
const LEAST_UNREACHABLE_MS: u64 = 30_000;
/// Of the members that are silent, where `failover` does not say.
const SUSPEND_ABOVE: Percent = Percent::new(20).expect("below 100");
/// A placement that spreads over more would be a puzzle.
const MOST_SPREADS: usize = 8;

/// Reads a placement.
pub(super) fn placement(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
) -> Placement {
    Placement {
        apps: apps(reader, references, fields),
        clusters: clusters(reader, references, fields),
        tolerations: each(reader, fields, "tolerations", toleration),
        pick: fields.get("pick").and_then(|f| pick(reader, &f)),
        replicas: fields.get("replicas").and_then(|f| replicas(reader, &f)),
        grants: None,
    }
}

pub(super) fn apps(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
) -> AppSelection {
    let mut apps = AppSelection::default();
    let given = fields.get("apps");
    let at = given.as_ref().map_or(fields.position, |f| f.node.position);
    if let Some(fields) = given.and_then(|f| reader.fields(&f, &["names", "selector"], &[])) {
        let names = fields.get("names").and_then(|f| reader.names(&f, "app name"));
        for (name, position) in names.iter().flatten() {
            references.add(Reference::App(name.clone()), *position);
        }
        apps.names = names.as_ref().map(only_names);
        apps.selector = fields.get("selector").map(|f| selector(reader, &f));
        if apps == AppSelection::default() {
            reader.error(at, "spec.apps names no app; give it names, or a selector");
        }
    } else if fields.get("apps").is_none() {
        reader.missing(at, "spec.apps", "give it names, or a selector");
    }
    apps
}

pub(super) fn clusters(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
) -> ClusterSelection {
    match fields.get("clusters") {
        Some(given) => cluster_terms(reader, references, &given),
        None => {
            reader.missing(fields.position, "spec.clusters", EVERY_CLUSTER);
            ClusterSelection::default()
        }
    }
}

/// Which clusters, where they are given.
pub(super) fn cluster_terms(
    reader: &mut Reader<'_>,
    references: &mut References,
    given: &Field<'_>,
) -> ClusterSelection {
    let mut selection = ClusterSelection::default();
    let valid = ["selector", "where", "sets", "names", "exclude"];
    let Some(fields) = reader.fields(given, &valid, &[]) else {
        return selection;
    };
    let sets = fields.get("sets").and_then(|f| reader.names(&f, "cluster set name"));
    for (name, position) in sets.iter().flatten() {
        references.add(Reference::Set(name.clone()), *position);
    }
    selection.sets = sets.as_ref().map(only_names);
    selection.selector = fields.get("selector").map(|f| selector(reader, &f));
    selection.condition = fields.get("where").and_then(|f| condition(reader, &f, false));
    selection.names = fields.get("names").and_then(|f| cluster_names(reader, &f));
    selection.exclude = fields.get("exclude").and_then(|f| cluster_names(reader, &f)).unwrap_or_default();
    let absent = |name: &&str| is_absent(&fields, name);
    if ["selector", "where", "sets", "names"].iter().all(absent) {
        let message = format!("{} has no term that chooses clusters; {EVERY_CLUSTER}", given.path);
        reader.error(given.node.position, message);
    }
    selection
}

/// An empty list chooses nothing and excludes nothing: it is as if it were absent.
pub(super) fn is_absent(fields: &Fields<'_>, name: &str) -> bool {
    fields.get(name).is_none_or(|f| matches!(&f.node.value, Value::List(items) if items.is_empty()))
}

fn cluster_names(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<BTreeSet<ClusterName>> {
    let names = reader.names(field, "cluster name")?;
    Some(names.keys().filter_map(|name| ClusterName::new(name).ok()).collect())
}

fn condition(reader: &mut Reader<'_>, field: &Field<'_>, volatile: bool) -> Option<Condition> {
    let text = reader.text(field)?;
    told(reader, field, Condition::parse(&text, volatile))
}

fn look(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Look> {
    let text = reader.text(field)?;
    told(reader, field, text.parse())
}

/// Something of which a cluster can have the most or the least.
fn measure(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Look> {
    let look = look(reader, field)?;
    told(reader, field, look.measurable())
}

/// The value, or a problem at the field.
fn told<T, E: std::fmt::Display>(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    read: Result<T, E>,
) -> Option<T> {
    let wrong = |error: &E| reader.error(field.node.position, format!("{}: {error}", field.path));
    read.inspect_err(wrong).ok()
}

const EFFECTS: [(&str, Effect); 3] = [
    ("NoSchedule", Effect::NoSchedule),
    ("PreferNoSchedule", Effect::PreferNoSchedule),
    ("NoExecute", Effect::NoExecute),
];

/// The taints of a `Cluster`.
pub(super) fn taints(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<Taint> {
    let mut taints: Vec<Taint> = Vec::new();
    for item in fields.get("taints").map(|f| reader.list(&f)).unwrap_or_default() {
        let Some(taint) = taint(reader, &item) else { continue };
        if taints.iter().any(|t| (&t.key, t.effect) == (&taint.key, taint.effect)) {
            let message = format!("{}: {taint} stands there twice; remove one of them", item.path);
            reader.error(item.node.position, message);
        }
        taints.push(taint);
    }
    taints
}

fn taint(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Taint> {
    let fields = reader.fields(field, &["key", "value", "effect"], &[])?;
    let key = fields.get("key").and_then(|f| label_key(reader, &f));
    let value = fields.get("value").and_then(|f| label_value(reader, &f)).unwrap_or_default();
    let effect = fields.get("effect").and_then(|f| reader.choice(&f, &EFFECTS));
    for name in ["key", "effect"] {
        if fields.get(name).is_none() {
            let how = "write e.g. {key: gpu, effect: NoSchedule}";
            reader.missing(fields.position, &fields.path_of(name), how);
        }
    }
    Some(Taint { key: key?, value, effect: effect? })
}

fn label_key(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let key = reader.text(field)?;
    reader.label_key(&key, field.node.position, &field.path);
    Some(key)
}

fn label_value(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let value = reader.text(field)?;
    reader.label_value(&value, field.node.position, &field.path);
    Some(value)
}

fn toleration(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Toleration> {
    let valid = ["key", "operator", "value", "effect", "tolerationSeconds"];
    let fields = reader.fields(field, &valid, &[])?;
    let key = fields.get("key").and_then(|f| label_key(reader, &f)).unwrap_or_default();
    let operators = [("Equal", false), ("Exists", true)];
    let exists = fields.get("operator").and_then(|f| reader.choice(&f, &operators)).unwrap_or_default();
    let value = fields.get("value").and_then(|f| label_value(reader, &f)).unwrap_or_default();
    let effect = fields.get("effect").and_then(|f| reader.choice(&f, &EFFECTS));
    let seconds = fields.get("tolerationSeconds").and_then(|f| reader.whole(&f));
    let mut wrong = |message: &str| {
        reader.error(fields.position, format!("{}: {message}", field.path));
    };
    if key.is_empty() && !exists {
        wrong("without a key it tolerates every taint; say so with operator: Exists, or name the key");
    }
    if exists && !value.is_empty() {
        wrong("operator Exists takes no value; remove it, or write operator: Equal");
    }
    if seconds.is_some() && effect.is_some_and(|effect| effect != Effect::NoExecute) {
        wrong("tolerationSeconds is for effect NoExecute alone; remove it, or the effect");
    }
    Some(Toleration { key, value: (!exists).then_some(value), effect, seconds })
}

fn pick(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Pick> {
    let valid = ["count", "per", "min", "fits", "spread", "prefer", "failover"];
    let fields = reader.fields(field, &valid, &[])?;
    let nothing = "chooses nothing; write at least 1, or remove the placement";
    let count = fields.get("count").and_then(|f| count(reader, &f, Some(nothing)));
    let min = fields.get("min").and_then(|f| reader.count(&f)).unwrap_or(0);
    if let (Some(Count::Clusters(count)), Some(given)) = (count, fields.get("min"))
        && min > count
    {
        let message = format!("{}: {min} is above count, {count}; lower it, or raise count", given.path);
        reader.error(given.node.position, message);
    }
    Some(Pick {
        count,
        per: fields.get("per").and_then(|f| look(reader, &f)).and_then(|l| slow(reader, &fields, "per", l)),
        min,
        fits: fields.get("fits").map(|f| fits(reader, &f)).unwrap_or_default(),
        spread: spreads(reader, &fields, spread),
        prefer: each(reader, &fields, "prefer", preference),
        failover: fields.get("failover").and_then(|f| failover(reader, &f)),
    })
}

/// What groups are made of must not change all the time.
fn slow(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str, look: Look) -> Option<Look> {
    if !matches!(look, Look::Fact(crate::select::FactName::Free, _)) {
        return Some(look);
    }
    let field = fields.get(name)?;
    let message = format!("{}: {look} changes all the time; name a label, or a slow fact", field.path);
    reader.error(field.node.position, message);
    None
}

/// A number or a share. `nothing` says what is wrong with 0 of it, and how to mend it; without it, 0 may be meant.
pub(super) fn count(reader: &mut Reader<'_>, field: &Field<'_>, nothing: Option<&str>) -> Option<Count> {
    let least = if nothing.is_some() { 1 } else { 0 };
    let count = match &field.node.value {
        Value::Text(text) if is_whole_number(text) && text.parse().is_ok_and(|n: i64| n >= least) => {
            let message = format!("{}: \"{text}\" is a string; write {text} without the quotes", field.path);
            reader.error(field.node.position, message);
            return None;
        }
        Value::Text(_) => Count::Share(reader.percent(field)?),
        _ => Count::Clusters(reader.count(field)?),
    };
    let is_none = count == Count::Clusters(0) || count == Count::Share(Percent::NONE);
    if let Some(nothing) = nothing.filter(|_| is_none) {
        reader.error(field.node.position, format!("{}: {count} {nothing}", field.path));
        return None;
    }
    Some(count)
}

fn fits(reader: &mut Reader<'_>, field: &Field<'_>) -> BTreeMap<String, u64> {
    let mut fits = BTreeMap::new();
    for entry in field.node.map().map(|map| &*map.0).unwrap_or_default() {
        let item = Field { node: &entry.node, path: format!("{}.{}", field.path, entry.key) };
        let text = match &entry.node.value {
            Value::Number(number, _) => number.to_string(),
            Value::Text(text) => text.clone(),
            _ => String::new(),
        };
        fits.extend(told(reader, &item, thousandths(&text)).map(|amount| (entry.key.clone(), amount)));
    }
    if field.node.map().is_none() {
        reader.error(field.node.position, format!("{} is no mapping; write e.g. {{cpu: 2}}", field.path));
    }
    fits
}

/// The items of `spread`, a few.
pub(super) fn spreads<T>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    read: impl Fn(&mut Reader<'_>, &Field<'_>) -> Option<T>,
) -> Vec<T> {
    let spread = each(reader, fields, "spread", read);
    if let Some(given) = fields.get("spread").filter(|_| spread.len() > MOST_SPREADS) {
        let message = format!("{}: {} are given, {MOST_SPREADS} are allowed", given.path, spread.len());
        reader.error(given.node.position, message);
    }
    spread
}

/// Over what something is spread.
pub(super) fn topology(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Look> {
    let Some(key) = fields.get("topologyKey") else {
        let how = "say over what, e.g. topologyKey: labels.region";
        reader.missing(fields.position, &fields.path_of("topologyKey"), how);
        return None;
    };
    let topology = look(reader, &key)?;
    slow(reader, fields, "topologyKey", topology)
}

fn spread(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Spread> {
    let valid = ["topologyKey", "maxSkew", "minDomains", "whenUnsatisfiable"];
    let fields = reader.fields(field, &valid, &[])?;
    let topology = topology(reader, &fields);
    let choices = [("Refuse", false), ("Prefer", true)];
    let soft = fields.get("whenUnsatisfiable").and_then(|f| reader.choice(&f, &choices)).unwrap_or_default();
    let max_skew = fields.get("maxSkew").and_then(|f| at_least_one(reader, &f)).unwrap_or(1);
    let min_domains = fields.get("minDomains").and_then(|f| at_least_one(reader, &f));
    if let Some(given) = fields.get("minDomains").filter(|_| soft) {
        let message = format!("{}: it has no effect with whenUnsatisfiable: Prefer; remove it", given.path);
        reader.error(given.node.position, message);
    }
    Some(Spread { topology: topology?, max_skew, min_domains, soft })
}

fn at_least_one(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<u32> {
    let count = reader.count(field)?;
    if count == 0 {
        reader.error(field.node.position, format!("{}: 0 is not allowed; write at least 1", field.path));
    }
    (count > 0).then_some(count)
}

fn preference(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Preference> {
    const KINDS: [&str; 5] = ["selector", "cel", "most", "least", "balance"];
    let fields = reader.fields(field, &[&["weight"], &KINDS[..]].concat(), &[])?;
    let weight = fields.get("weight").and_then(|f| {
        let weight = reader.count(&f)?;
        let valid = WEIGHTS.contains(&weight);
        if !valid {
            let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
            let message = format!("{}: {weight} is not between {least} and {most}", f.path);
            reader.error(f.node.position, message);
        }
        valid.then_some(weight)
    });
    if fields.get("weight").is_none() {
        reader.missing(fields.position, &fields.path_of("weight"), "say how much it counts, 1 to 100");
    }
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| fields.get(kind).is_some()).collect();
    let [kind] = given[..] else {
        let kinds = KINDS.join(", ");
        let message = format!("{} needs one of {kinds}, {} are given", field.path, given.len());
        reader.error(fields.position, message);
        return None;
    };
    let value = fields.get(kind)?;
    let what = match kind {
        "selector" => Preferred::Selector(selector(reader, &value)),
        "cel" => Preferred::Cel(condition(reader, &value, true)?),
        "most" => Preferred::Most(measure(reader, &value)?),
        "least" => Preferred::Least(measure(reader, &value)?),
        _ => reader.affirmed(&value).map(|()| Preferred::Balance)?,
    };
    Some(Preference { weight: weight?, what })
}

fn failover(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Failover> {
    let fields = reader.fields(field, &["unreachable", "suspendAbove", "onReturn"], &[])?;
    let choices = [("Keep", OnReturn::Keep), ("Return", OnReturn::Return)];
    let unreachable_ms = match fields.get("unreachable") {
        Some(field) => treat::milliseconds(reader, &field, LEAST_UNREACHABLE_MS, "30s")?,
        None => UNREACHABLE_MS,
    };
    Some(Failover {
        unreachable_ms,
        suspend_above: fields.get("suspendAbove").and_then(|f| reader.percent(&f)).unwrap_or(SUSPEND_ABOVE),
        on_return: fields.get("onReturn").and_then(|f| reader.choice(&f, &choices)).unwrap_or_default(),
    })
}
