//! Helm: the files of a chart, and what it is given.
//!
//! In: a chart's directory, files of values, the trees. Out: the closure: what Helm itself would read of the chart, its
//! dependencies in `charts/`, by `file://` elsewhere in the repository or of repositories of charts, and the files of values.
//! Never: lets a chart that another depends on lack without telling.

mod asks;
mod capabilities;
mod dependencies;
mod functions;
mod ignore;
mod words;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

pub use asks::{Asks, Part, asks};
pub use capabilities::Capabilities;
pub use functions::{MOMENTS, Uses, guarded, guarded_at, refused, spoken_of};

use super::needs::{Closure, Needed, NeedsError, Place, Release, Trees, below, place};
use super::{Chart, Contents, Engine};
use crate::catalog::{FileKind, Helm, Position, Tree, ValuesFile};
use dependencies::{Dependencies, Known, dependencies};
use ignore::Rules;

/// What describes a chart.
pub(crate) const CHART: &str = "Chart.yaml";
/// Where charts of Helm 2 say what they depend on.
const REQUIREMENTS: &str = "requirements.yaml";
/// Which versions `helm dependency update` found, of either.
const LOCK: &str = "Chart.lock";
const REQUIREMENTS_LOCK: &str = "requirements.lock";
const IGNORE: &str = ".helmignore";
/// What says of a chart which files are its own and what else it needs.
const SAYS: [&str; 5] = [CHART, REQUIREMENTS, LOCK, REQUIREMENTS_LOCK, IGNORE];
/// Where a chart is installed that is given no namespace, as Helm has it.
const NAMESPACE: &str = "default";
/// Where a chart's files stand whose values are in another repository than it is, and where those do.
const REMOTE: &str = "remote/";
const CATALOG: &str = "catalog/";

/// What a chart needs that is in a tree, the catalog's or another one.
pub(super) fn needs(
    source: &Helm,
    release: Release<'_>,
    tree: &Tree,
    trees: Trees<'_>,
    contents: &Contents,
) -> Result<Needed, NeedsError> {
    let catalog = trees.catalog;
    let chart = &source.chart;
    let prefix = if chart.is_empty() { String::new() } else { format!("{chart}/") };
    let is_apart = !std::ptr::eq(tree, catalog);
    let brings = source.values_files.iter().any(|file| matches!(file, ValuesFile::Here(_)));
    let mut closure = Closure::of(chart, tree);
    if is_apart && brings {
        closure = closure.under(REMOTE);
    }
    if closure.place(&format!("{prefix}{CHART}"))? != Place::File {
        return Err(NeedsError::NoChart(chart.clone()));
    }
    for file in &source.values_files {
        let (file, of) = match file {
            ValuesFile::Here(file) => (file, catalog),
            ValuesFile::WithChart(file) => (file, tree),
        };
        let why = match place(of, file)? {
            Place::File if !file.contains(',') => continue,
            // Helm takes it for several, each a path or a URL.
            Place::File => "whose name holds a comma, which Helm takes for the end of a name; rename it",
            _ => "which is no file in this commit; correct the name, or add it",
        };
        return Err(NeedsError::Values { entry: file.clone(), why });
    }
    let said = SAYS.map(|name| -> Arc<str> { format!("{prefix}{name}").into() });
    no_links(tree, &said)?;
    let unread: BTreeSet<Arc<str>> =
        said.into_iter().filter(|path| tree.contains_key(path) && !contents.contains_key(path)).collect();
    if !unread.is_empty() {
        return Ok(Needed::More(unread));
    }
    let text = |name: &str| text(contents, &format!("{prefix}{name}").into());
    let rules = Rules::read(text(IGNORE)?);
    let known = Known { tree, contents, charts: trees.charts, is_strangers: is_apart || release.is_tenants };
    let Dependencies { placed, unread, lacking } = dependencies(chart, known, &mut closure)?;
    if !unread.is_empty() {
        return Ok(Needed::More(unread));
    }
    if !lacking.is_empty() {
        return Ok(Needed::Charts(lacking));
    }
    for (path, _) in below(tree, &prefix) {
        let inner = &path[prefix.len()..];
        // Its rules are none for charts that are put into it.
        if !rules.ignores(inner) && (inner != IGNORE || placed.is_empty()) {
            closure.add(path)?;
        }
    }
    let mut values_files: Vec<Arc<str>> = Vec::new();
    for file in &source.values_files {
        match file {
            ValuesFile::Here(file) if is_apart => {
                closure.add_of(catalog, CATALOG, file)?;
                values_files.push(format!("{CATALOG}{file}").into());
            }
            ValuesFile::Here(file) | ValuesFile::WithChart(file) => {
                closure.add(file)?;
                values_files.push(closure.path_of(file));
            }
        }
    }
    let directory = closure.path_of(chart);
    let placed: Vec<(Arc<str>, Arc<str>)> =
        placed.iter().map(|(put, from)| (closure.path_of(put), from.clone())).collect();
    Ok(Needed::Whole(closure.finish(|relative| {
        Engine::Helm(Chart {
            directory: relative(directory.trim_end_matches('/')),
            release: source.release_name.clone().unwrap_or_else(|| release.app.to_owned()),
            namespace: release.namespace.unwrap_or(NAMESPACE).to_owned(),
            values_files: values_files.iter().map(|path| relative(path)).collect(),
            values: source.values.clone(),
            capabilities: None,
            placed: placed.iter().map(|(put, from)| (relative(put), from.clone())).collect(),
        })
    })))
}

/// What says of a chart what it is, is a file itself.
fn no_links(tree: &Tree, said: &[Arc<str>]) -> Result<(), NeedsError> {
    let is_link = |path: &&Arc<str>| tree.get(*path).is_some_and(|entry| entry.kind == FileKind::Symlink);
    said.iter().find(is_link).map_or(Ok(()), |link| Err(NeedsError::Symlink(link.clone())))
}

/// The text of a file; empty where it is not there.
fn text<'c>(contents: &'c Contents, file: &Arc<str>) -> Result<&'c str, NeedsError> {
    let content = contents.get(file).map(|content| &**content).unwrap_or_default();
    std::str::from_utf8(content).map_err(|error| NeedsError::Unread {
        file: file.clone(),
        at: Position::after(&content[..error.valid_up_to()]),
        why: "the file is not UTF-8; save it as UTF-8".to_owned(),
    })
}

impl Chart {
    /// The values that go over those of all files, as Helm reads them.
    pub fn values_document(&self) -> String {
        Value::Object(self.values.clone()).to_string()
    }
}

#[cfg(test)]
mod tests;
