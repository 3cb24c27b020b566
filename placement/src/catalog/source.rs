//! Source: where an app's manifests come from, and what an override changes of that.
//!
//! In: what an `App` or an `Override` says. Out: the [`Source`] of a variant. Paths are relative to the root of the repository that
//! they are in, without `.` and `..`; empty for the root itself.
//! Never: mixes two engines, or two repositories; a change of what the app does not have is told.

use std::sync::Arc;

use super::remote::{GitRemote, Remote};
use super::said::{HelmSaid, KustomizeSaid, Said, SourceChange, WhatSaid};
use super::{BadChartName, ChartName, GitRef, ObjectId, Origin, paths};
use crate::overrides::Parameters;

/// Where an app's manifests come from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where its files are, if not in the catalog's own repository.
    pub remote: Option<Arc<Remote>>,
    /// What they are.
    pub what: What,
    /// How it was said, for what an override changes of it.
    said: SourceChange,
}

impl PartialEq for Source {
    /// However it was said.
    fn eq(&self, other: &Self) -> bool {
        self.remote == other.remote && self.what == other.what
    }
}

/// What the files of a source are.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// Manifests: a directory or a file.
    Path(Arc<str>),
    /// A kustomization.
    Kustomize(Kustomize),
    /// A Helm chart.
    Helm(Helm),
}

/// A kustomization.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kustomize {
    /// Its directory.
    pub path: Arc<str>,
    /// Directories of components that are put on it, in order.
    pub components: Vec<Arc<str>>,
}

/// A Helm chart, and what it is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Helm {
    /// Its directory.
    pub chart: Arc<str>,
    /// The release's name; absent: the app's.
    pub release_name: Option<String>,
    /// Files of values, each over the ones before.
    pub values_files: Vec<ValuesFile>,
    /// Values over those of all files. A null deletes what the chart or a file sets.
    pub values: Parameters,
}

/// A file of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuesFile {
    /// Of the catalog's repository.
    Here(Arc<str>),
    /// Of the repository, or the archive, that the chart is in.
    WithChart(Arc<str>),
}

/// A change of a source, and who makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sourced {
    /// The override.
    pub by: ObjectId,
    /// Where it stands.
    pub origin: Origin,
    /// The change.
    pub change: SourceChange,
}

/// Why what is said makes no source. Messages begin with the field below `spec.source`, or say that none is given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// A change is of another engine than the source, and does not say all that a source of its own needs.
    #[error(
        "it changes spec.source.{change}, but the source of app {app} is {source_is}; add spec.source.{change}.{needed}, or select only apps of that kind"
    )]
    Mismatch {
        /// The app.
        app: Arc<str>,
        /// What its source is.
        source_is: &'static str,
        /// What is changed.
        change: &'static str,
        /// What lacks.
        needed: &'static str,
    },
    /// A field lacks.
    #[error("{field} is missing; {how}")]
    Missing {
        /// The field.
        field: &'static str,
        /// How to mend it.
        how: &'static str,
    },
    /// A field is given that does not go with the others.
    #[error("{field} {why}")]
    Beside {
        /// The field.
        field: &'static str,
        /// Why not, and how to mend it.
        why: &'static str,
    },
    /// A chart cannot be asked for.
    #[error("{field}: {why}")]
    Chart {
        /// The field.
        field: &'static str,
        /// Why, and how to mend it.
        why: BadChartName,
    },
    /// A path leaves the repository that it is in.
    #[error("{field}: {path:?} leaves the repository; name a path inside it")]
    Leaves {
        /// The field.
        field: &'static str,
        /// The path, as it was said.
        path: Arc<str>,
    },
}

impl Source {
    /// The source that is said, by an app or by what overrides make of it.
    ///
    /// # Errors
    /// Something lacks, or does not go together.
    pub fn of(said: SourceChange) -> Result<Self, SourceError> {
        let remote = remote(&said)?;
        let place = Place { is_remote: remote.is_some() };
        let what = match &said.what {
            None => {
                let path = said.git.as_ref().and_then(|git| git.path.clone()).unwrap_or_default();
                What::Path(path)
            }
            Some(WhatSaid::Path(path)) => What::Path(place.path("path", path)?),
            Some(WhatSaid::Kustomize(KustomizeSaid { path, components })) => {
                let missing = SourceError::Missing {
                    field: "kustomize.path",
                    how: "name the kustomization's directory, e.g. path: ./overlays/prod",
                };
                let components = components.iter().flatten();
                What::Kustomize(Kustomize {
                    path: place.path("kustomize.path", path.as_ref().ok_or(missing)?)?,
                    components: components
                        .map(|path| place.path("kustomize.components", path))
                        .collect::<Result<_, _>>()?,
                })
            }
            Some(WhatSaid::Helm(helm)) => What::Helm(place.helm(helm)?),
        };
        Ok(Self { remote: remote.map(Arc::new), what, said })
    }

    /// Manifests at a path of the catalog's repository.
    pub fn at(path: impl Into<Arc<str>>) -> Self {
        let path: Arc<str> = path.into();
        let said = SourceChange { git: None, what: Some(WhatSaid::Path(Said::of(&path))) };
        Self { remote: None, what: What::Path(path), said }
    }

    /// What is made of it by a change. Of the same engine it merges: values merge (maps merge, lists replace, a null stays and
    /// deletes what the chart or a file sets), all else replaces; a whole source of another engine takes its place.
    ///
    /// # Errors
    /// It is of another engine, and no whole source; or something does not go together.
    pub fn with(&self, app: &Arc<str>, change: &SourceChange) -> Result<Self, SourceError> {
        let is_other = match (&change.what, &self.what) {
            (Some(WhatSaid::Kustomize(_)), What::Kustomize(_)) | (Some(WhatSaid::Helm(_)), What::Helm(_)) => {
                false
            }
            (Some(_), _) => true,
            (None, _) => false,
        };
        Self::of(self.said.changed(change)).map_err(|error| match error {
            SourceError::Missing { field, .. } if is_other => {
                let (change, needed) = field.split_once('.').unwrap_or(("kustomize", "path"));
                SourceError::Mismatch { app: app.clone(), source_is: self.word(), change, needed }
            }
            error => error,
        })
    }

    /// The field of `spec.source` that it is given by.
    pub fn word(&self) -> &'static str {
        match (&self.what, &self.remote) {
            (What::Path(_), Some(_)) => "git",
            (What::Path(_), None) => "path",
            (What::Kustomize(_), _) => "kustomize",
            (What::Helm(_), _) => "helm",
        }
    }

    /// The field of its directory, for messages.
    pub fn field(&self) -> &'static str {
        match (&self.what, &self.remote) {
            (What::Path(_), Some(_)) => "git.path",
            (What::Path(_), None) => "path",
            (What::Kustomize(_), _) => "kustomize.path",
            (What::Helm(_), _) => "helm.chart",
        }
    }

    /// Its directory, or its file.
    pub fn path(&self) -> &Arc<str> {
        match &self.what {
            What::Path(path) => path,
            What::Kustomize(kustomize) => &kustomize.path,
            What::Helm(helm) => &helm.chart,
        }
    }
}

fn chart_field(bad: &BadChartName) -> &'static str {
    if matches!(bad, BadChartName::Chart(_)) { "helm.chart" } else { "helm.repository" }
}

/// Where the files are, if not in the catalog's repository.
fn remote(said: &SourceChange) -> Result<Option<Remote>, SourceError> {
    let helm = match &said.what {
        Some(WhatSaid::Helm(helm)) => Some(helm),
        _ => None,
    };
    let beside = |field, why| Err(SourceError::Beside { field, why });
    let chart = helm.and_then(|helm| Some((helm.repository.clone()?, helm)));
    match (&said.git, &said.what, chart) {
        (Some(_), _, Some(_)) => {
            beside("helm.repository", "and git both say where the chart is; keep one of them")
        }
        (Some(git), what, None) => {
            let how = "write the URL of the repository, e.g. url: https://git.example.com/shop/deploy";
            let url = git.url.clone().ok_or(SourceError::Missing { field: "git.url", how })?;
            if matches!(what, Some(WhatSaid::Path(_))) {
                return beside(
                    "path",
                    "is of the catalog's own repository; write git.path for one of the other repository",
                );
            }
            if what.is_some() && git.path.is_some() {
                return beside(
                    "git.path",
                    "is for manifests; helm.chart and kustomize.path are from that repository's root themselves",
                );
            }
            if helm.is_some_and(|helm| helm.version.is_some()) {
                return beside(
                    "helm.version",
                    "is for a chart of a Helm repository; git.ref says which commit",
                );
            }
            let reference = git.reference.clone().unwrap_or(GitRef::Default);
            Ok(Some(Remote::Git(GitRemote {
                url,
                reference,
                credentials: git.credentials.clone(),
                is_strangers: false,
            })))
        }
        (None, _, Some((repository, helm))) => {
            let how = "name the chart in that repository, e.g. chart: podinfo";
            let chart = helm.chart.as_ref().ok_or(SourceError::Missing { field: "helm.chart", how })?;
            let version = helm.version.clone().unwrap_or_default();
            let name = ChartName { repository, chart: chart.given().clone(), version, is_strangers: false };
            name.check().map_err(|why| SourceError::Chart { field: chart_field(&why), why })?;
            Ok(Some(Remote::Chart(name)))
        }
        (None, None, None) => Err(SourceError::Missing {
            field: "path",
            how: "say where the manifests are: path: ./manifests, git: {url: https://…}, helm: {chart: ./chart} or kustomize: {path: ./overlay}",
        }),
        (None, Some(_), None) if helm.is_some_and(|helm| helm.version.is_some()) => {
            beside("helm.version", "is for a chart of a Helm repository; add helm.repository, or remove it")
        }
        (None, Some(_), None) => Ok(None),
    }
}

/// Which of two repositories paths are in.
struct Place {
    is_remote: bool,
}

impl Place {
    fn path(&self, field: &'static str, said: &Said) -> Result<Arc<str>, SourceError> {
        let path = if self.is_remote { said.there() } else { said.here() };
        path.ok_or_else(|| SourceError::Leaves { field, path: said.given().clone() })
    }

    fn helm(&self, said: &HelmSaid) -> Result<Helm, SourceError> {
        let how = "name the chart's directory, e.g. chart: ./chart";
        let chart = said.chart.as_ref().ok_or(SourceError::Missing { field: "helm.chart", how })?;
        let chart = match said.repository {
            // Its archive holds nothing else.
            Some(_) => Arc::default(),
            None => self.path("helm.chart", chart)?,
        };
        let values_file = |file: &Said| {
            let field = "helm.valuesFiles";
            let leaves = || SourceError::Leaves { field, path: file.given().clone() };
            match file.given().strip_prefix(WITH_CHART) {
                None => file.here().map(ValuesFile::Here).ok_or_else(leaves),
                Some(relative) => {
                    let resolved = paths::resolve(&format!("{chart}/Chart.yaml"), relative);
                    resolved.map(|path| ValuesFile::WithChart(path.into())).map_err(|_| leaves())
                }
            }
        };
        Ok(Helm {
            values_files: said.values_files.iter().flatten().map(values_file).collect::<Result<_, _>>()?,
            chart,
            release_name: said.release_name.clone(),
            values: said.values.clone(),
        })
    }
}

/// What a file of values begins with that is relative to the chart, not to the file that names it.
pub(super) const WITH_CHART: &str = "chart:";
