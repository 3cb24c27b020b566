//! Reading the field `source` of an `App` and of an `Override`.
//!
//! In: the field. Out: a [`SourceChange`]. Never: takes a path that leaves the repository, or two engines for one app.

use std::sync::Arc;

use super::decode::parameters;
use super::fields::{Field, Fields, Reader};
use super::paths;
use super::references::{Reference, References};
use super::source::{HelmChange, KustomizeChange, Source, SourceChange};

/// The fields, of which exactly one is given.
const ENGINES: [&str; 3] = ["path", "helm", "kustomize"];
const HELM: [&str; 4] = ["chart", "releaseName", "valuesFiles", "values"];
const KUSTOMIZE: [&str; 2] = ["path", "components"];
/// The most characters of a release's name: Helm leaves room for what charts append.
const MOST_OF_RELEASE: usize = 53;

/// The source of an app: all of it.
pub(super) fn source(
    reader: &mut Reader<'_>,
    references: &mut References,
    field: &Field<'_>,
) -> Option<Source> {
    let before = reader.problems.len();
    let change = change(reader, references, field)?;
    let (path, how) = match &change {
        SourceChange::Helm(_) => ("helm.chart", "name the chart's directory, e.g. chart: ./chart"),
        _ => ("kustomize.path", "name the kustomization's directory, e.g. path: ./overlays/prod"),
    };
    let whole = change.whole();
    if whole.is_none() && reader.problems.len() == before {
        reader.missing(field.node.position, &format!("{}.{path}", field.path), how);
    }
    whole
}

/// What an override says of a source.
pub(super) fn change(
    reader: &mut Reader<'_>,
    references: &mut References,
    field: &Field<'_>,
) -> Option<SourceChange> {
    let before = reader.problems.len();
    let fields = reader.fields(field, &ENGINES, &["git", "directories"])?;
    let given: Vec<&str> = ENGINES.into_iter().filter(|name| fields.get(name).is_some()).collect();
    match given[..] {
        ["path"] => Some(SourceChange::Path(path(reader, references, &fields.get("path")?)?)),
        ["kustomize"] => {
            kustomize(reader, references, &fields.get("kustomize")?).map(SourceChange::Kustomize)
        }
        ["helm"] => helm(reader, references, &fields.get("helm")?).map(SourceChange::Helm),
        [] => {
            let how = "say where the manifests are: path: ./manifests, helm: {chart: ./chart} or kustomize: {path: ./overlay}";
            if reader.problems.len() == before {
                reader.error(fields.position, format!("{} is empty; {how}", field.path));
            }
            None
        }
        _ => {
            let message = format!("{} has {}; keep one of them", field.path, given.join(" and "));
            reader.error(fields.position, message);
            None
        }
    }
}

/// A path, where the source is to be found; its being there is checked with the commit's files at hand.
fn path(reader: &mut Reader<'_>, references: &mut References, field: &Field<'_>) -> Option<Arc<str>> {
    let path = any_path(reader, field)?;
    references.add(Reference::Source, field.node.position);
    Some(path)
}

fn any_path(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Arc<str>> {
    let given = reader.text(field)?;
    match paths::resolve(reader.file, &given) {
        Ok(resolved) => Some(resolved.into()),
        Err(error) => {
            reader.error(field.node.position, format!("{}: {error}", field.path));
            None
        }
    }
}

/// A list of paths; `None` where it is not given.
fn any_paths(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str) -> Option<Vec<Arc<str>>> {
    let field = fields.get(name)?;
    let items = reader.list(&field);
    Some(items.iter().filter_map(|item| any_path(reader, item)).collect())
}

fn kustomize(
    reader: &mut Reader<'_>,
    references: &mut References,
    field: &Field<'_>,
) -> Option<KustomizeChange> {
    let fields = said(reader, field, &KUSTOMIZE, &[])?;
    Some(KustomizeChange {
        path: fields.get("path").and_then(|f| path(reader, references, &f)),
        components: any_paths(reader, &fields, "components"),
    })
}

fn helm(reader: &mut Reader<'_>, references: &mut References, field: &Field<'_>) -> Option<HelmChange> {
    let fields = said(reader, field, &HELM, &["repository", "version"])?;
    Some(HelmChange {
        chart: fields.get("chart").and_then(|f| path(reader, references, &f)),
        release_name: fields.get("releaseName").and_then(|f| release_name(reader, &f)),
        values_files: any_paths(reader, &fields, "valuesFiles"),
        values: fields.get("values").map(|f| parameters(reader, &f)).unwrap_or_default(),
    })
}

/// The fields of an engine, of which at least one is given.
fn said<'n>(
    reader: &mut Reader<'_>,
    field: &Field<'n>,
    names: &[&str],
    later: &[&str],
) -> Option<Fields<'n>> {
    let before = reader.problems.len();
    let fields = reader.fields(field, names, later)?;
    if names.iter().any(|name| fields.get(name).is_some()) {
        return Some(fields);
    }
    if reader.problems.len() == before {
        reader
            .error(field.node.position, format!("{} says nothing; give it {}", field.path, names.join(", ")));
    }
    None
}

fn release_name(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<String> {
    let name = reader.name(field, "release name")?;
    if name.len() > MOST_OF_RELEASE {
        let message = format!("{}: a release's name has at most {MOST_OF_RELEASE} characters", field.path);
        reader.error(field.node.position, message);
        return None;
    }
    Some(name)
}
