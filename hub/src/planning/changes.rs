//! Changes: what entries of an app become, those with the same change together.
//!
//! In: the fates of an app's entries. Out: [`Change`]s. Never: shows a value that a Secret uses.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::AppForm;
use nave_placement::{ClusterName, Digest};
use nave_spoke::target::ask::HIDDEN;
use serde_json::Value;

use super::objects::{self, Budget};
use super::shelf::Shelf;
use super::view::{Change, FieldChange};

/// What entries with one change have in common: bundles, the names of options and values that differ, replicas.
type Common = (Option<Digest>, Option<Digest>, Vec<String>, Vec<String>, Option<(Option<u32>, Option<u32>)>);

/// An entry before and after.
pub type Entry<'e> = (&'e ClusterName, Option<&'e AppForm>, Option<&'e AppForm>);

/// Puts entries with the same change together.
pub fn changes(
    shelf: &Shelf<'_>,
    entries: &[Entry<'_>],
    with_created: bool,
    budget: &mut Budget,
) -> Vec<Change> {
    let mut groups: BTreeMap<Common, Vec<&Entry<'_>>> = BTreeMap::new();
    for entry in entries {
        groups.entry(common(entry)).or_default().push(entry);
    }
    let change = |(_, members): (Common, Vec<&Entry<'_>>)| {
        let (_, from, to) = *members.first()?;
        let (objects, not_compared) = match objects::compare(shelf, *from, *to, with_created, budget) {
            Ok(objects) => (objects, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        Some(Change {
            from: from.map(|form| form.bundle),
            to: to.map(|form| form.bundle),
            clusters: members.iter().map(|(cluster, _, _)| (*cluster).clone()).collect(),
            objects,
            options: options(*from, *to),
            values: values(shelf, *from, *to),
            replicas: replicas(*from, *to),
            not_compared,
            live: Vec::new(),
            not_asked: 0,
        })
    };
    let mut changes: Vec<Change> = groups.into_iter().filter_map(change).collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.clusters.len()));
    changes
}

fn common(&(_, from, to): &Entry<'_>) -> Common {
    let names = |fields: Vec<FieldChange>| fields.into_iter().map(|field| field.name).collect();
    let share = |form: Option<&AppForm>| form.and_then(|form| Some(form.options.share.as_ref()?.replicas));
    let shares = (share(from) != share(to)).then(|| (share(from), share(to)));
    let bundle = |form: Option<&AppForm>| form.map(|form| form.bundle);
    let differing = match (from, to) {
        (Some(from), Some(to)) => differ(&from.values, &to.values).into_iter().cloned().collect(),
        _ => Vec::new(),
    };
    (bundle(from), bundle(to), names(options(from, to)), differing, shares)
}

/// Options that differ, but for the share of replicas, which is told apart.
fn options(from: Option<&AppForm>, to: Option<&AppForm>) -> Vec<FieldChange> {
    let (Some(old), Some(new)) = (from, to) else { return Vec::new() };
    if old.options == new.options {
        return Vec::new();
    }
    let mapping = |form: &AppForm| -> BTreeMap<String, Value> {
        let mut fields: BTreeMap<String, Value> = match serde_json::to_value(&form.options) {
            Ok(Value::Object(fields)) => fields.into_iter().collect(),
            _ => BTreeMap::new(),
        };
        fields.remove("share");
        fields
    };
    fields(&mapping(old), &mapping(new))
}

/// Fields that differ.
fn fields(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Vec<FieldChange> {
    let field = |name: &String| FieldChange {
        name: name.clone(),
        from: before.get(name).cloned(),
        to: after.get(name).cloned(),
    };
    differ(before, after).into_iter().map(field).collect()
}

/// Names whose values differ.
fn differ<'v>(
    before: &'v BTreeMap<String, Value>,
    after: &'v BTreeMap<String, Value>,
) -> BTreeSet<&'v String> {
    before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect()
}

/// Values of `${…}` that differ. Those that a Secret uses are hidden; all are where that cannot be told.
fn values(shelf: &Shelf<'_>, from: Option<&AppForm>, to: Option<&AppForm>) -> Vec<FieldChange> {
    let (Some(old), Some(new)) = (from, to) else { return Vec::new() };
    let mut fields = fields(&old.values, &new.values);
    if fields.is_empty() {
        return fields;
    }
    let secret = [old, new].into_iter().map(|form| objects::used_by_secrets(shelf, form));
    let secret = secret.collect::<Option<Vec<_>>>();
    for field in &mut fields {
        let is_hidden =
            secret.as_ref().is_none_or(|all| all.iter().any(|names| names.contains_key(&field.name)));
        if is_hidden {
            [&mut field.from, &mut field.to].into_iter().flatten().for_each(|value| *value = HIDDEN.into());
        }
    }
    fields
}

fn replicas(from: Option<&AppForm>, to: Option<&AppForm>) -> Option<FieldChange> {
    let share = |form: Option<&AppForm>| Some(form?.options.share.as_ref()?.replicas);
    let (before, after) = (share(from), share(to));
    let name = || {
        let target = &to.or(from)?.options.share.as_ref().or(from?.options.share.as_ref())?.target;
        let words = [target.kind.as_deref(), target.name.as_deref()].into_iter().flatten();
        Some(words.collect::<Vec<_>>().join(" "))
    };
    (before != after && from.is_some() && to.is_some()).then(|| FieldChange {
        name: name().unwrap_or_else(|| "replicas".to_owned()),
        from: before.map(Value::from),
        to: after.map(Value::from),
    })
}
