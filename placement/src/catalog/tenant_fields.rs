//! Reading the specification of a `Catalog`.
//!
//! In: the fields. Out: a [`Tenant`]. Never: takes a grant that names no set: it would be one of nothing, or of all.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fields::{Field, Fields, Reader, each, only_names};
use super::references::{Reference, References};
use super::tenant::{Grant, Tenant};
use super::{GitRef, GitRemote, git_url, paths, treat};

pub(super) const FIELDS: &[&str] = &["git", "credentials", "grants"];
const GIT: [&str; 4] = ["url", "branch", "path", "credentials"];
const GRANT: [&str; 5] = ["sets", "namespaces", "clusterScoped", "serviceAccount", "maxClusters"];

pub(super) fn tenant(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
) -> Option<Tenant> {
    let place = match fields.get("git") {
        Some(field) => git(reader, references, &field),
        None => {
            let how = "say where the catalog is: git: {url: https://HOST/PATH, branch: main}";
            reader.missing(fields.position, "spec.git", how);
            None
        }
    };
    let credentials = fields.get("credentials").and_then(|f| reader.names(&f, "name of credentials"));
    let items = fields.get("grants").map(|f| reader.list(&f)).unwrap_or_default();
    let grants: Vec<Grant> = items.iter().filter_map(|item| grant(reader, item)).collect();
    if grants.is_empty() {
        references.add(Reference::Ungranted, fields.position);
    }
    if let Some(name) = reader.object.as_ref().map(|id| id.name.clone()) {
        references.add(Reference::Tenant(name.to_string()), fields.position);
    }
    let (git, path) = place?;
    Some(Tenant { git, path, credentials: credentials.as_ref().map(only_names).unwrap_or_default(), grants })
}

fn git(
    reader: &mut Reader<'_>,
    references: &mut References,
    field: &Field<'_>,
) -> Option<(GitRemote, Arc<str>)> {
    let fields = reader.fields(field, &GIT, &[])?;
    let url = match fields.get("url") {
        Some(field) => checked(reader, &field, |text| git_url::check(text).map(|()| Arc::from(text))),
        None => {
            reader.missing(
                fields.position,
                &fields.path_of("url"),
                "name the repository, e.g. https://HOST/PATH",
            );
            None
        }
    };
    if let (Some(url), Some(field)) = (&url, fields.get("url"))
        && git_url::is_in_clear(url)
    {
        references.add(Reference::InClear(field.path.clone()), field.node.position);
    }
    let reference = match fields.get("branch") {
        Some(field) => {
            checked(reader, &field, |text| text.parse::<GitRef>().map_err(|error| error.to_string()))?
        }
        None => GitRef::Default,
    };
    let path = match fields.get("path") {
        Some(field) => checked(reader, &field, |text| {
            paths::resolve("", text).map(Arc::from).map_err(|error| error.to_string())
        })?,
        None => "".into(),
    };
    let credentials = fields.get("credentials").and_then(|f| reader.name(&f, "name of credentials"));
    Some((
        GitRemote { url: url?, reference, credentials: credentials.map(Into::into), is_strangers: false },
        path,
    ))
}

fn grant(reader: &mut Reader<'_>, item: &Field<'_>) -> Option<Grant> {
    let fields = reader.fields(item, &GRANT, &[])?;
    let sets = fields.get("sets").and_then(|f| reader.names(&f, "cluster set name")).unwrap_or_default();
    if sets.is_empty() && !reader.problems.iter().any(|problem| problem.message.contains("sets")) {
        reader.missing(fields.position, &fields.path_of("sets"), "name the cluster sets that it is for");
    }
    let max_clusters = fields.get("maxClusters").and_then(|f| reader.count(&f).map(|count| (f, count)));
    if let Some((field, 0)) = &max_clusters {
        let message = format!("{}: 0 grants nothing; remove the grant, or write at least 1", field.path);
        reader.error(field.node.position, message);
    }
    Some(Grant {
        sets: only_names(&sets),
        namespaces: patterns(reader, &fields, "namespaces"),
        cluster_scoped: patterns(reader, &fields, "clusterScoped"),
        service_account: fields.get("serviceAccount").and_then(|f| treat::service_account(reader, &f)),
        max_clusters: max_clusters.map(|(_, count)| count),
    })
}

/// Names with any number of `*`.
fn patterns(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str) -> BTreeSet<String> {
    let pattern = |reader: &mut Reader<'_>, item: &Field<'_>| {
        let text = reader.text(item)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-.*".contains(c);
        if !text.is_empty() && text.chars().all(allowed) {
            return Some(text);
        }
        let message =
            format!("{}: {text:?} is no name, nor one with *, which stands for any letters", item.path);
        reader.error(item.node.position, message);
        None
    };
    each(reader, fields, name, pattern).into_iter().collect()
}

fn checked<T>(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let text = reader.text(field)?;
    read(&text).map_err(|why| reader.error(field.node.position, format!("{}: {why}", field.path))).ok()
}
