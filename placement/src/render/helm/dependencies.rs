//! Dependencies of a chart: those that it brings, those that stand elsewhere in its repository, and those of repositories of charts.
//!
//! In: a chart's directory, the tree, what charts say of themselves, charts that were fetched. Out: the files of charts that
//! `file://` or a repository's URL names, put where `helm dependency build` would put them; what has to be read or fetched first.
//! Of those that lie in `charts/` nothing is looked at. What `Chart.lock` says is the version; without one the range is followed.
//! Never: fetches; takes a chart that is part of itself; lets one lack without telling.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::super::Contents;
use super::super::needs::{Charts, Closure, NeedsError, Place, below};
use super::ignore::Rules;
use super::{CHART, IGNORE, LOCK, REQUIREMENTS, REQUIREMENTS_LOCK, SAYS, no_links, text};
use crate::catalog::{ChartName, Range, Remote, Tree, paths, yaml};

/// A chart that stands in the same repository.
const FILE: &str = "file://";
/// How many charts may be part of each other.
const DEEPEST: usize = 5;
/// How many charts of repositories may be part of one: each has a server asked.
const MOST: usize = 64;

/// What a chart says that it depends on.
struct Dependency {
    name: String,
    version: String,
    repository: String,
}

/// Charts from elsewhere in the repository: the directory where each is put, and where it stands.
pub(super) type Placed = BTreeMap<Arc<str>, Arc<str>>;

/// What became of a chart's dependencies.
#[derive(Default)]
pub(super) struct Dependencies {
    /// What was put into the closure.
    pub placed: Placed,
    /// What has to be read to know more.
    pub unread: BTreeSet<Arc<str>>,
    /// What has to be fetched.
    pub lacking: BTreeSet<Remote>,
}

/// What is known of a chart and of those that it depends on.
#[derive(Clone, Copy)]
pub(super) struct Known<'k> {
    /// The files that it stands among.
    pub tree: &'k Tree,
    /// What was read of them.
    pub contents: &'k Contents,
    /// Charts that were fetched.
    pub charts: &'k Charts<'k>,
    /// It is no part of the catalog's repository.
    pub is_strangers: bool,
}

/// Adds charts that are named by `file://` or by their repository to the closure. All that says of the chart itself what it is was read.
///
/// # Errors
/// A dependency is not there, is itself part of what it depends on, or lies too deep.
pub(super) fn dependencies(
    chart: &Arc<str>,
    known: Known<'_>,
    closure: &mut Closure<'_>,
) -> Result<Dependencies, NeedsError> {
    let mut walk = Walk { known, closure, found: Dependencies::default(), fetched: 0 };
    walk.chart(&mut vec![chart.clone()], chart)?;
    Ok(walk.found)
}

struct Walk<'w, 't> {
    known: Known<'w>,
    closure: &'w mut Closure<'t>,
    found: Dependencies,
    fetched: usize,
}

impl Walk<'_, '_> {
    /// Looks at the last of some charts that are part of each other; it is put into a directory.
    fn chart(&mut self, open: &mut Vec<Arc<str>>, put: &str) -> Result<(), NeedsError> {
        let Some(directory) = open.last().cloned() else { return Ok(()) };
        let Known { tree, contents, .. } = self.known;
        let brought = brought(tree, &directory);
        let mut taken: BTreeMap<String, Arc<str>> = BTreeMap::new();
        let mut fetched: BTreeSet<Remote> = BTreeSet::new();
        for (name, lock) in [(CHART, LOCK), (REQUIREMENTS, REQUIREMENTS_LOCK)] {
            let file: Arc<str> = within(&directory, name).into();
            let lock: Arc<str> = within(&directory, lock).into();
            let locked = match tree.contains_key(&lock) {
                true => Some((&lock, said(&lock, text(contents, &lock)?)?)),
                false => None,
            };
            let mut missing = Vec::new();
            for dependency in said(&file, text(contents, &file)?)? {
                if is_brought(&brought, &dependency.name) {
                    continue;
                }
                let Some(path) = dependency.repository.strip_prefix(FILE) else {
                    match dependency.repository.is_empty() {
                        true => missing.push(dependency.name),
                        false => {
                            let remote =
                                remote(&file, &dependency, locked.as_ref(), self.known.is_strangers)?;
                            if fetched.insert(remote.clone()) {
                                let is_second =
                                    fetched.iter().filter(|r| is_named(r, &dependency.name)).count() > 1
                                        || taken.contains_key(&dependency.name);
                                self.fetched(&dependency, remote, is_second, put)?;
                            }
                        }
                    }
                    continue;
                };
                let from = self.local(&file, &dependency, path)?;
                if let Some(other) = taken.get(&dependency.name) {
                    if *other != from {
                        let name = &dependency.name;
                        return Err(refused(
                            &file,
                            format!(
                                "two charts that it depends on, {other:?} and {from:?}, are called {name}; rename one of them"
                            ),
                        ));
                    }
                    continue;
                }
                taken.insert(dependency.name.clone(), from.clone());
                self.add(&file, &dependency, from, open, put)?;
            }
            if !missing.is_empty() {
                let what = format!(
                    "the chart depends on {}, which its charts directory does not hold; run helm dependency build, and commit what it brings",
                    missing.join(", ")
                );
                return Err(refused(&file, what));
            }
        }
        Ok(())
    }

    /// Puts a chart of a repository into the `charts` directory of the one that depends on it, once it was fetched. What it depends
    /// on itself is in its archive, as it was when that was packed.
    fn fetched(
        &mut self,
        dependency: &Dependency,
        remote: Remote,
        is_second: bool,
        put: &str,
    ) -> Result<(), NeedsError> {
        self.fetched += 1;
        if self.fetched > MOST {
            let chart = within(put, CHART).into();
            return Err(refused(
                &chart,
                format!("more than {MOST} charts of repositories are part of it; make it fewer"),
            ));
        }
        let Some(tree) = self.known.charts.get(&remote) else {
            self.found.lacking.insert(remote);
            return Ok(());
        };
        // Helm goes by what charts say of themselves, whatever their directories are called.
        let name = &dependency.name;
        let apart = if is_second { format!("{name}-{}", remote.id().as_str()) } else { name.clone() };
        let put = within(put, &format!("charts/{apart}"));
        let into = self.closure.path_of(&within(&put, ""));
        for path in tree.keys() {
            self.closure.add_of(tree, &into, path)?;
        }
        self.found.placed.insert(put.into(), within(&dependency.repository, name).into());
        Ok(())
    }

    /// Where a chart stands that a path names.
    fn local(&self, file: &Arc<str>, dependency: &Dependency, path: &str) -> Result<Arc<str>, NeedsError> {
        let named = |why: String| NeedsError::Named {
            file: file.clone(),
            field: "dependencies",
            entry: dependency.repository.clone(),
            why,
        };
        let from = paths::resolve(file, path).map_err(|error| named(error.to_string()))?;
        match self.closure.place(&within(&from, CHART))? {
            Place::File => Ok(from.into()),
            _ => Err(named(
                "where this commit has no Chart.yaml; correct the path, or add the chart".to_owned(),
            )),
        }
    }

    /// Puts a chart into the `charts` directory of the one that depends on it, once all is read that says what it is.
    fn add(
        &mut self,
        file: &Arc<str>,
        dependency: &Dependency,
        from: Arc<str>,
        open: &mut Vec<Arc<str>>,
        put: &str,
    ) -> Result<(), NeedsError> {
        if open.contains(&from) {
            let way: Vec<&str> = open.iter().chain([&from]).map(|chart| &**chart).collect();
            return Err(refused(
                file,
                format!("the chart is part of itself: {}; break the circle", way.join(" → ")),
            ));
        }
        if open.len() > DEEPEST {
            return Err(refused(
                file,
                format!(
                    "it is the end of more than {DEEPEST} charts that depend on each other; make fewer layers"
                ),
            ));
        }
        let Known { tree, contents, .. } = self.known;
        let said = SAYS.map(|name| -> Arc<str> { within(&from, name).into() });
        no_links(tree, &said)?;
        let unread: Vec<Arc<str>> =
            said.into_iter().filter(|path| tree.contains_key(path) && !contents.contains_key(path)).collect();
        if !unread.is_empty() {
            self.found.unread.extend(unread);
            return Ok(());
        }
        let says: Arc<str> = within(&from, CHART).into();
        let chart = document(&says, text(contents, &says)?)?;
        check(file, dependency, &chart)?;
        let put = within(put, &format!("charts/{}", dependency.name));
        let rules = Rules::read(text(contents, &within(&from, IGNORE).into())?);
        let prefix = within(&from, "");
        for (path, _) in below(tree, &prefix) {
            let inner = &path[prefix.len()..];
            if !rules.ignores(inner) {
                self.closure.add_as(path, &within(&put, inner))?;
            }
        }
        self.found.placed.insert(put.as_str().into(), from.clone());
        open.push(from);
        self.chart(open, &put)?;
        open.pop();
        Ok(())
    }
}

/// The chart of a repository that is meant: in the version of the lock, or else in any that is asked for.
fn remote(
    file: &Arc<str>,
    dependency: &Dependency,
    locked: Option<&(&Arc<str>, Vec<Dependency>)>,
    is_strangers: bool,
) -> Result<Remote, NeedsError> {
    let Dependency { name, version, repository } = dependency;
    let named = |field: &'static str, entry: &str, why: String| NeedsError::Named {
        file: file.clone(),
        field,
        entry: entry.to_owned(),
        why,
    };
    if repository.starts_with('@') || repository.starts_with("alias:") {
        let why = "a name that is known on somebody's machine alone; write the repository's URL".to_owned();
        return Err(named("dependencies", repository, why));
    }
    let range: Range = version
        .parse()
        .map_err(|error| named("dependencies", name, format!("whose version is none: {error}")))?;
    let range = match locked {
        None => range,
        Some((lock, entries)) => {
            let same = |other: &&Dependency| other.name == *name && other.repository == *repository;
            let holds = |other: &Dependency| {
                let exact: Range = other.version.parse().ok()?;
                let is_meant = *version == other.version || range.holds(exact.exact()?);
                is_meant.then_some(exact)
            };
            entries.iter().filter(same).find_map(holds).ok_or_else(|| {
                refused(file, format!("the chart depends on {name} {version}, and {lock} names no such version of {repository}; run helm dependency update, and commit it"))
            })?
        }
    };
    let (repository, chart) = (repository.as_str().into(), name.as_str().into());
    let chart = ChartName { repository, chart, version: range, is_strangers };
    chart
        .check()
        .map_err(|error| named("dependencies", name, format!("which cannot be fetched: {error}")))?;
    Ok(Remote::Chart(chart))
}

fn is_named(remote: &Remote, name: &str) -> bool {
    matches!(remote, Remote::Chart(chart) if *chart.chart == *name)
}

/// Whether a chart is the one that is meant. Helm leaves one of another name or version out without a word.
fn check(file: &Arc<str>, dependency: &Dependency, chart: &Value) -> Result<(), NeedsError> {
    let Dependency { name, version, repository } = dependency;
    let of = |field: &str| chart[field].as_str().unwrap_or_default().trim_start_matches('v').to_owned();
    if of("name") != name.trim_start_matches('v') {
        let own = chart["name"].as_str().unwrap_or_default();
        return Err(refused(
            file,
            format!("the chart depends on {name}, and the one at {repository} is called {own}; use one name"),
        ));
    }
    // A range is Helm's to judge; a whole version is that one.
    let is_whole =
        version.split('.').count() == 3 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_whole && of("version") != *version {
        let own = of("version");
        return Err(refused(
            file,
            format!(
                "the chart depends on {name} {version}, and the one at {repository} is {own}; name its version"
            ),
        ));
    }
    Ok(())
}

fn refused(file: &Arc<str>, what: String) -> NeedsError {
    NeedsError::Refused { file: file.clone(), what }
}

/// A path in a directory, which is empty for the root.
fn within(directory: &str, path: &str) -> String {
    if directory.is_empty() { path.to_owned() } else { format!("{directory}/{path}") }
}

/// What lies in a chart's own `charts` directory.
fn brought<'t>(tree: &'t Tree, chart: &str) -> BTreeSet<&'t str> {
    let charts = within(chart, "charts/");
    below(tree, &charts).filter_map(|(path, _)| path[charts.len()..].split('/').next()).collect()
}

fn is_brought(brought: &BTreeSet<&str>, name: &str) -> bool {
    let is_packed = |brought: &str| brought.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'));
    brought.contains(name) || brought.iter().any(|brought| brought.ends_with(".tgz") && is_packed(brought))
}

/// What a file says that its chart depends on.
fn said(file: &Arc<str>, text: &str) -> Result<Vec<Dependency>, NeedsError> {
    let said = document(file, text)?;
    let field = |dependency: &Value, name: &str| dependency[name].as_str().unwrap_or_default().to_owned();
    let named = said["dependencies"].as_array().into_iter().flatten();
    let named = named.filter(|dependency| dependency["name"].is_string()).map(|dependency| Dependency {
        name: field(dependency, "name"),
        version: field(dependency, "version"),
        repository: field(dependency, "repository"),
    });
    Ok(named.collect())
}

fn document(file: &Arc<str>, text: &str) -> Result<Value, NeedsError> {
    let Some(document) = yaml::read(text).into_iter().next() else { return Ok(Value::Null) };
    if let Some(yaml::Fault { position: at, message: why }) = document.faults.into_iter().next() {
        return Err(NeedsError::Unread { file: file.clone(), at, why });
    }
    Ok(document.root.map(|root| root.to_json()).unwrap_or_default())
}
