//! Reading the fields of an `App` that say how its objects are treated.
//!
//! In: the fields of its `spec`. Out: [`Treatment`]. Never: takes a pointer or a limit that would never match anything.

use super::fields::{Field, Fields, Reader, each};
use super::treatment::{
    Adopt, Conflicts, Drift, HealthRule, Ignore, Mode, ObjectTarget, OnImmutable, Timeout, Treatment,
};
use super::yaml::Value;
use crate::expression::Expression;

/// The fields.
pub(super) const FIELDS: &[&str] =
    &["mode", "adopt", "onImmutable", "conflicts", "drift", "ignore", "health", "serviceAccount", "timeout"];

/// Identity, and what an object is: nobody can leave these to others.
const NEVER_IGNORED: &[&str] =
    &["/apiVersion", "/kind", "/metadata", "/metadata/name", "/metadata/namespace"];
/// A limit beyond this was meant otherwise.
const MOST_TIMEOUT_MS: u64 = 7 * 86_400_000;

/// Reads them.
pub(super) fn treatment(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Treatment {
    let mode = [("Apply", Mode::Apply), ("Observe", Mode::Observe)];
    let adopt = [("Never", Adopt::Never), ("IfEqual", Adopt::IfEqual), ("Always", Adopt::Always)];
    let on_immutable = [("Fail", OnImmutable::Fail), ("Recreate", OnImmutable::Recreate)];
    let conflicts = [("Fail", Conflicts::Fail), ("Force", Conflicts::Force), ("Yield", Conflicts::Yield)];
    let drift = [("Correct", Drift::Correct), ("Report", Drift::Report)];
    Treatment {
        mode: choice(reader, fields, "mode", &mode),
        adopt: choice(reader, fields, "adopt", &adopt),
        on_immutable: choice(reader, fields, "onImmutable", &on_immutable),
        conflicts: choice(reader, fields, "conflicts", &conflicts),
        drift: choice(reader, fields, "drift", &drift),
        ignore: each(reader, fields, "ignore", ignore),
        health: each(reader, fields, "health", health),
        service_account: fields.get("serviceAccount").and_then(|f| service_account(reader, &f)),
        timeout: fields.get("timeout").and_then(|f| timeout(reader, &f)).unwrap_or_default(),
    }
}

fn choice<T: Copy + Default>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: &str,
    values: &[(&str, T)],
) -> T {
    fields.get(name).and_then(|f| reader.choice(&f, values)).unwrap_or_default()
}

fn ignore(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Ignore> {
    let fields = reader.fields(field, &["target", "fields"], &[])?;
    let target = target(reader, &fields)?;
    let mut pointers = Vec::new();
    for item in fields.get("fields").map(|f| reader.list(&f)).unwrap_or_default() {
        let Some(pointer) = reader.text(&item) else { continue };
        match pointer_problem(&pointer) {
            Some(problem) => reader.error(item.node.position, format!("{}: {problem}", item.path)),
            None => pointers.push(pointer),
        }
    }
    if pointers.is_empty() && fields.get("fields").is_none() {
        reader.missing(fields.position, &fields.path_of("fields"), "name them: fields: [/spec/replicas]");
    }
    (!pointers.is_empty()).then_some(Ignore { target, fields: pointers })
}

fn pointer_problem(pointer: &str) -> Option<String> {
    let escapes = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if !pointer.starts_with('/') || pointer.len() < 2 || !escapes {
        return Some(format!(
            "{pointer:?} is no JSON pointer; write it as /spec/replicas (`~1` stands for a `/` in a name)"
        ));
    }
    NEVER_IGNORED
        .contains(&pointer)
        .then(|| format!("{pointer} says which object it is, and cannot be ignored"))
}

fn health(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<HealthRule> {
    let fields = reader.fields(field, &["target", "healthy", "failed"], &[])?;
    let target = target(reader, &fields)?;
    let [healthy, failed] =
        ["healthy", "failed"].map(|name| fields.get(name).and_then(|f| expression(reader, &f)));
    if fields.get("healthy").is_none() && fields.get("failed").is_none() {
        reader
            .error(fields.position, format!("{} needs healthy or failed, in CEL over `object`", field.path));
        return None;
    }
    Some(HealthRule { target, healthy, failed })
}

/// An expression that a spoke can evaluate.
fn expression(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let given = reader.text(field)?;
    match Expression::parse(&given, &HealthRule::VARIABLES) {
        Ok(_) => Some(given),
        Err(error) => {
            reader.error(field.node.position, format!("{}: {error}", field.path));
            None
        }
    }
}

/// A target names at least a kind: without one, a rule would mean things that its author never saw.
pub(super) fn target(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<ObjectTarget> {
    let Some(field) = fields.get("target") else {
        reader.missing(
            fields.position,
            &fields.path_of("target"),
            "say of which objects: target: {kind: Deployment}",
        );
        return None;
    };
    let given = reader.fields(&field, &["group", "kind", "namespace", "name"], &[])?;
    let mut text = |name: &str| given.get(name).and_then(|f| reader.text(&f));
    let [group, kind, namespace, name] = ["group", "kind", "namespace", "name"].map(&mut text);
    if given.get("kind").is_none() {
        reader.missing(given.position, &given.path_of("kind"), "name the kind, e.g. kind: Deployment");
        return None;
    }
    Some(ObjectTarget { group, kind, namespace, name })
}

/// `NAME`, or `NAMESPACE/NAME`.
pub(super) fn service_account(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let given = reader.text(field)?;
    let (namespace, name) = given.split_once('/').map_or((None, &*given), |(ns, name)| (Some(ns), name));
    let valid = |name: &str| crate::check_name("service account", name);
    match namespace.map_or(Ok(()), valid).and_then(|()| valid(name)) {
        Ok(()) => Some(given),
        Err(error) => {
            reader.error(field.node.position, format!("{}: {error}", field.path));
            None
        }
    }
}

fn timeout(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Timeout> {
    milliseconds(reader, field, 1, "1ms").map(Timeout)
}

/// A duration from `least`, which people write `written`, to a week.
pub(super) fn milliseconds(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    least: u64,
    written: &str,
) -> Option<u64> {
    milliseconds_within(reader, field, (least, written), (MOST_TIMEOUT_MS, "7d"))
}

/// A duration between two, each as people write it.
pub(super) fn milliseconds_within(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    (least, least_written): (u64, &str),
    (most, most_written): (u64, &str),
) -> Option<u64> {
    if let Value::Number(_, written) = &field.node.value {
        let message =
            format!("{}: {written} has no unit; write {written}s, {written}m or {written}h", field.path);
        reader.error(field.node.position, message);
        return None;
    }
    let given = reader.text(field)?;
    let limit = match crate::duration(&given) {
        Ok(limit) => u64::try_from(limit.as_millis()).unwrap_or(u64::MAX),
        Err(error) => {
            reader.error(field.node.position, format!("{}: {error}", field.path));
            return None;
        }
    };
    if !(least..=most).contains(&limit) {
        let message = format!("{}: {given} is not between {least_written} and {most_written}", field.path);
        reader.error(field.node.position, message);
        return None;
    }
    Some(limit)
}
