//! Reading the field `source` of an `App` and of an `Override`.
//!
//! In: the field. Out: a [`Source`], what a template has instead of one, or a [`SourceChange`]. Never: takes a path that leaves the repository, or two engines for one app.

use std::str::FromStr;
use std::sync::Arc;

use super::decode::parameters;
use super::fields::{Field, Fields, Reader};
use super::references::{Reference, References};
use super::said::{GitSaid, HelmSaid, KustomizeSaid, Said, SourceChange, WhatSaid};
use super::source::{Source, WITH_CHART};
use super::template::{Directories, Starred};
use super::yaml::{Map, Value};
use super::{ChartName, Range, git_url, paths};

/// The fields that say what the files are, of which at most one is given.
const ENGINES: [&str; 3] = ["path", "helm", "kustomize"];
const FIELDS: [&str; 4] = ["path", "git", "helm", "kustomize"];
/// What a template has instead of what says where its files are.
const DIRECTORIES: &str = "directories";
const OF_APP: [&str; 5] = ["path", "git", "helm", "kustomize", DIRECTORIES];
const GIT: [&str; 4] = ["url", "ref", "path", "credentials"];
const HELM: [&str; 6] = ["repository", "chart", "version", "releaseName", "valuesFiles", "values"];
const KUSTOMIZE: [&str; 2] = ["path", "components"];
/// The most characters of a release's name: Helm leaves room for what charts append.
const MOST_OF_RELEASE: usize = 53;

/// What an app says of its source.
pub(super) enum Sourcing {
    /// All of it.
    Of(Source),
    /// A template: each of its apps has one of these directories.
    Each(Directories),
}

/// The source of an app: all of it.
pub(super) fn source(
    reader: &mut Reader<'_>,
    references: &mut References,
    field: &Field<'_>,
    is_template: bool,
) -> Option<Sourcing> {
    let before = reader.problems.len();
    let fields = reader.fields(field, &OF_APP, &[])?;
    if let Some(given) = fields.get(DIRECTORIES) {
        if !is_template {
            let message = format!(
                "{} makes an app of each directory: write one * in the place of its name in metadata.name, e.g. name: \"svc-*\"",
                given.path
            );
            reader.error(given.node.position, message);
        }
        let directories = Saying { reader, references, is_remote: false }.directories(&fields, &given);
        return directories.map(Sourcing::Each);
    }
    if is_template {
        let message = format!(
            "{0}: metadata.name has a *, which stands for the name of a directory; say which ones, e.g. {0}.{DIRECTORIES}: ./services/*, or write a name without *",
            field.path
        );
        reader.error(field.node.position, message);
    }
    let change = said(reader, references, &fields, before)?;
    match Source::of(change) {
        Ok(source) => Some(Sourcing::Of(source)),
        Err(_) if reader.problems.len() > before => None,
        Err(error) => {
            reader.error(field.node.position, format!("{}.{error}", field.path));
            None
        }
    }
}

/// What an override says of a source.
pub(super) fn change(
    reader: &mut Reader<'_>,
    references: &mut References,
    field: &Field<'_>,
) -> Option<SourceChange> {
    let before = reader.problems.len();
    let is_of_app = |map: &Map| map.first(DIRECTORIES).is_some_and(|node| !matches!(node.value, Value::Null));
    let valid = if field.node.map().is_some_and(is_of_app) { &OF_APP[..] } else { &FIELDS };
    let fields = reader.fields(field, valid, &[])?;
    if let Some(given) = fields.get(DIRECTORIES) {
        let message = format!(
            "{} is for an App, which is made for each of them; an override changes those: remove it, or write path, helm or kustomize",
            given.path
        );
        reader.error(given.node.position, message);
    }
    said(reader, references, &fields, before)
}

/// What is said, of these fields.
fn said(
    reader: &mut Reader<'_>,
    references: &mut References,
    fields: &Fields<'_>,
    before: usize,
) -> Option<SourceChange> {
    let given: Vec<&str> = ENGINES.into_iter().filter(|name| fields.get(name).is_some()).collect();
    let mut said = Saying { reader, references, is_remote: fields.get("git").is_some() };
    let git = fields.get("git").and_then(|field| said.git(&field));
    let what = match given[..] {
        ["path"] => fields.get("path").and_then(|f| said.source_path(&f)).map(WhatSaid::Path),
        ["kustomize"] => {
            let fields = fields.get("kustomize").and_then(|f| said.said(&f, &KUSTOMIZE));
            fields.map(|fields| WhatSaid::Kustomize(said.kustomize(&fields)))
        }
        ["helm"] => {
            let fields = fields.get("helm").and_then(|f| said.said(&f, &HELM));
            fields.map(|fields| WhatSaid::Helm(said.helm(&fields)))
        }
        [] => None,
        _ => {
            let message = format!("{} has {}; keep one of them", fields.path, given.join(" and "));
            reader.error(fields.position, message);
            return None;
        }
    };
    if reader.problems.len() > before {
        return None;
    }
    if git.is_none() && what.is_none() {
        let how = "say where the manifests are: path: ./manifests, git: {url: https://…}, helm: {chart: ./chart} or kustomize: {path: ./overlay}";
        reader.error(fields.position, format!("{} is empty; {how}", fields.path));
        return None;
    }
    Some(SourceChange { git, what })
}

/// Reads what is said of one source.
struct Saying<'r, 'p> {
    reader: &'r mut Reader<'p>,
    references: &'r mut References,
    /// Its paths are of another repository than the catalog's.
    is_remote: bool,
}

impl Saying<'_, '_> {
    fn git(&mut self, field: &Field<'_>) -> Option<GitSaid> {
        let fields = self.said(field, &GIT)?;
        Some(GitSaid {
            url: fields.get("url").and_then(|f| self.url(&f)),
            reference: fields.get("ref").and_then(|f| self.parsed(&f)),
            path: fields.get("path").and_then(|f| self.path(&f)?.there()),
            credentials: fields
                .get("credentials")
                .and_then(|f| self.reader.name(&f, "name of credentials"))
                .map(Into::into),
        })
    }

    fn url(&mut self, field: &Field<'_>) -> Option<Arc<str>> {
        let url = self.reader.text(field)?;
        match git_url::check(&url) {
            Ok(()) => {
                self.in_clear(field, &url);
                Some(url.into())
            }
            Err(why) => {
                self.reader.error(field.node.position, format!("{}: {why}", field.path));
                None
            }
        }
    }

    /// Where charts are. Which one is meant may be said elsewhere.
    fn repository(&mut self, field: &Field<'_>) -> Option<Arc<str>> {
        let repository: Arc<str> = self.reader.text(field)?.into();
        self.in_clear(field, &repository);
        self.checked(field, &repository, &"any".into()).then_some(repository)
    }

    /// What is asked in clear is told, once all is read: it is no reason to take nothing.
    fn in_clear(&mut self, field: &Field<'_>, url: &str) {
        if git_url::is_in_clear(url) {
            self.references.add(Reference::InClear(field.path.to_string()), field.node.position);
        }
    }

    /// The name of a chart in a repository. What a registry wants of it is checked when both are known.
    fn chart_name(&mut self, field: &Field<'_>) -> Option<Said> {
        let name = self.reader.text(field)?;
        let repository = if name.contains('/') { "oci://any" } else { "https://any" }.into();
        self.checked(field, &repository, &name.as_str().into()).then(|| Said::by(self.reader.file, &name))
    }

    fn checked(&mut self, field: &Field<'_>, repository: &Arc<str>, chart: &Arc<str>) -> bool {
        let (repository, chart) = (repository.clone(), chart.clone());
        let checked = ChartName { repository, chart, version: Range::default(), is_strangers: false }.check();
        if let Err(error) = &checked {
            self.reader.error(field.node.position, format!("{}: {error}", field.path));
        }
        checked.is_ok()
    }

    fn parsed<T: FromStr<Err: std::fmt::Display>>(&mut self, field: &Field<'_>) -> Option<T> {
        let text = self.reader.text(field)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.reader.error(field.node.position, format!("{}: {error}", field.path));
                None
            }
        }
    }

    /// A path, where the source is to be found; its being there is checked with the commit's files at hand.
    fn source_path(&mut self, field: &Field<'_>) -> Option<Said> {
        let path = self.path(field)?;
        self.references.add(Reference::Source, field.node.position);
        Some(path)
    }

    fn path(&mut self, field: &Field<'_>) -> Option<Said> {
        let given = self.reader.text(field)?;
        let file = if self.is_remote { "" } else { self.reader.file };
        match paths::resolve(file, &given) {
            Ok(_) => Some(Said::by(self.reader.file, &given)),
            Err(error) => {
                self.reader.error(field.node.position, format!("{}: {error}", field.path));
                None
            }
        }
    }

    /// A list of paths; `None` where it is not given.
    fn paths(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        read: impl Fn(&mut Self, &Field<'_>) -> Option<Said>,
    ) -> Option<Vec<Said>> {
        let field = fields.get(name)?;
        let items = self.reader.list(&field);
        Some(items.iter().filter_map(|item| read(self, item)).collect())
    }

    /// The directories of a template, with what its apps say alike of their source.
    fn directories(&mut self, fields: &Fields<'_>, field: &Field<'_>) -> Option<Directories> {
        let before = self.reader.problems.len();
        for name in ["path", "git"] {
            if let Some(other) = fields.get(name) {
                let message = format!(
                    "{} says where one app's files are, {DIRECTORIES} where those of each are; keep one of them",
                    other.path
                );
                self.reader.error(other.node.position, message);
            }
        }
        let helm =
            fields.get("helm").and_then(|f| self.engine(&f, &HELM, &["repository", "chart", "version"]));
        let helm = helm.map(|fields| WhatSaid::Helm(self.helm(&fields)));
        let kustomize = fields.get("kustomize").and_then(|f| self.engine(&f, &KUSTOMIZE, &["path"]));
        let kustomize = kustomize.map(|fields| WhatSaid::Kustomize(self.kustomize(&fields)));
        if helm.is_some() && kustomize.is_some() {
            let message = format!("{} has helm and kustomize; keep one of them", fields.path);
            self.reader.error(fields.position, message);
        }
        let (parent, names, given) = self.starred_path(field)?;
        if self.reader.problems.len() > before {
            return None;
        }
        self.references.add(Reference::Source, field.node.position);
        Some(Directories { parent, names, given, at: field.node.position, engine: helm.or(kustomize) })
    }

    /// The fields of an engine of which each directory is, without those that say a place.
    fn engine<'n>(&mut self, field: &Field<'n>, names: &[&str], places: &[&str]) -> Option<Fields<'n>> {
        let fields = self.reader.fields(field, names, &[])?;
        for place in places.iter().filter_map(|name| fields.get(name)) {
            let message = format!(
                "{} says where one app's files are, {DIRECTORIES} where those of each are; remove one of them",
                place.path
            );
            self.reader.error(place.node.position, message);
        }
        Some(fields)
    }

    /// Where directories are, from the root, what their names are, and how that is written.
    fn starred_path(&mut self, field: &Field<'_>) -> Option<(Arc<str>, Starred, Arc<str>)> {
        let given = self.reader.text(field)?;
        let path = match paths::resolve(self.reader.file, &given) {
            Ok(path) => path,
            Err(error) => {
                self.reader.error(field.node.position, format!("{}: {error}", field.path));
                return None;
            }
        };
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", &path));
        let is_plain = given.matches('*').count() == 1 && !given.contains(['?', '[', ']', '{', '}']);
        let names = Starred::parse(last).filter(|_| is_plain);
        if names.is_none() {
            let message = format!(
                "{}: {given:?} needs one * in its last part, and no other wildcard: write e.g. ./services/* or ./services/web-*",
                field.path
            );
            self.reader.error(field.node.position, message);
        }
        Some((parent.into(), names?, given.as_str().into()))
    }

    fn kustomize(&mut self, fields: &Fields<'_>) -> KustomizeSaid {
        KustomizeSaid {
            path: fields.get("path").and_then(|f| self.source_path(&f)),
            components: self.paths(fields, "components", Self::path),
        }
    }

    fn helm(&mut self, fields: &Fields<'_>) -> HelmSaid {
        let is_named = fields.get("repository").is_some();
        HelmSaid {
            repository: fields.get("repository").and_then(|f| self.repository(&f)),
            version: fields.get("version").and_then(|f| self.parsed(&f)),
            chart: fields.get("chart").and_then(|f| match is_named {
                true => self.chart_name(&f),
                false => self.source_path(&f),
            }),
            release_name: fields.get("releaseName").and_then(|f| release_name(self.reader, &f)),
            values_files: self.paths(fields, "valuesFiles", Self::values_file),
            values: fields.get("values").map(|f| parameters(self.reader, &f)).unwrap_or_default(),
        }
    }

    /// A file of values: of the catalog's repository, wherever the chart is; or relative to the chart.
    fn values_file(&mut self, field: &Field<'_>) -> Option<Said> {
        let given = self.reader.text(field)?;
        if given.strip_prefix(WITH_CHART).is_some_and(|path| !path.is_empty()) {
            return Some(Said::by("", &given));
        }
        match paths::resolve(self.reader.file, &given) {
            Ok(_) => Some(Said::by(self.reader.file, &given)),
            Err(error) => {
                self.reader.error(field.node.position, format!("{}: {error}", field.path));
                None
            }
        }
    }

    /// The fields of one of them, of which at least one is given.
    fn said<'n>(&mut self, field: &Field<'n>, names: &[&str]) -> Option<Fields<'n>> {
        let before = self.reader.problems.len();
        let fields = self.reader.fields(field, names, &[])?;
        if names.iter().any(|name| fields.get(name).is_some()) {
            return Some(fields);
        }
        if self.reader.problems.len() == before {
            let message = format!("{} says nothing; give it {}", field.path, names.join(", "));
            self.reader.error(field.node.position, message);
        }
        None
    }
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
