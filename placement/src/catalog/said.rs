//! Said: a source as somebody says it, an `App` all of it, an `Override` what differs.
//!
//! In: the fields. Out: one laid over another, still as said. Which repository a path is in is known only when all is said, so
//! paths are kept both ways. Never: decides whether it is whole.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{GitRef, Range, paths};
use crate::overrides::Parameters;

/// A source as it is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceChange {
    /// Another repository.
    pub git: Option<GitSaid>,
    /// What the files are.
    pub what: Option<WhatSaid>,
}

/// What is said of another repository.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitSaid {
    /// Its URL.
    pub url: Option<Arc<str>>,
    /// Which of its commits.
    #[serde(rename = "ref")]
    pub reference: Option<GitRef>,
    /// The manifests in it.
    pub path: Option<Arc<str>>,
    /// The entry of the hub's `credentials`.
    pub credentials: Option<Arc<str>>,
}

/// What is said of what the files are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum WhatSaid {
    /// Manifests.
    Path(Said),
    /// A kustomization.
    Kustomize(KustomizeSaid),
    /// A Helm chart.
    Helm(HelmSaid),
}

/// What is said of a kustomization.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KustomizeSaid {
    /// Its directory.
    pub path: Option<Said>,
    /// Its components.
    pub components: Option<Vec<Said>>,
}

/// What is said of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelmSaid {
    /// The Helm repository or OCI registry that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<Arc<str>>,
    /// Its version there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Range>,
    /// Its directory, or its name there.
    pub chart: Option<Said>,
    /// The release's name.
    pub release_name: Option<String>,
    /// Files of values.
    pub values_files: Option<Vec<Said>>,
    /// Values to merge.
    pub values: Parameters,
}

/// A path as it is said, and what it means in either repository; `None` where it would leave that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    given: Arc<str>,
    /// In the catalog's, where it is relative to the file that says it.
    here: Option<Arc<str>>,
    /// In another one, where it is relative to the root.
    there: Option<Arc<str>>,
}

impl Said {
    /// A path that a file says.
    pub(super) fn by(file: &str, given: &str) -> Self {
        let resolved = |file: &str| paths::resolve(file, given).ok().map(Into::into);
        Self { given: given.into(), here: resolved(file), there: resolved("") }
    }

    /// A path from the root.
    pub(crate) fn of(path: &Arc<str>) -> Self {
        Self { given: path.clone(), here: Some(path.clone()), there: Some(path.clone()) }
    }

    /// As it is said.
    pub fn given(&self) -> &Arc<str> {
        &self.given
    }

    /// In the catalog's repository.
    pub fn here(&self) -> Option<Arc<str>> {
        self.here.clone()
    }

    /// In another one.
    pub fn there(&self) -> Option<Arc<str>> {
        self.there.clone()
    }
}

impl Serialize for Said {
    /// What it means in the catalog's repository: moving the file that says it changes nothing.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.here.as_ref().unwrap_or(&self.given))
    }
}

impl Serialize for SourceChange {
    /// What the files are stands for itself where nothing else is said.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.git {
            None => self.what.serialize(serializer),
            Some(git) => (git, &self.what).serialize(serializer),
        }
    }
}

impl SourceChange {
    /// What is said with what is said over it. Who names another place takes the place of the one before, and what is of
    /// another engine that of the engine before.
    #[must_use]
    pub(super) fn changed(&self, over: &Self) -> Self {
        let Self { mut git, what } = self.clone();
        let in_chart_repository = |what: &Option<WhatSaid>| {
            matches!(what, Some(WhatSaid::Helm(HelmSaid { repository: Some(_), .. })))
        };
        // A path of manifests is of the catalog's repository, and a chart with a repository is of that.
        if matches!(over.what, Some(WhatSaid::Path(_))) || in_chart_repository(&over.what) {
            git = None;
        }
        let mut what = match (what, &over.what) {
            (Some(WhatSaid::Kustomize(below)), Some(WhatSaid::Kustomize(over))) => {
                Some(WhatSaid::Kustomize(below.changed(over)))
            }
            (Some(WhatSaid::Helm(below)), Some(WhatSaid::Helm(over))) => {
                Some(WhatSaid::Helm(below.changed(over)))
            }
            (below, over) => over.clone().or(below),
        };
        if let Some(over) = &over.git {
            if git.is_none() && over.url.is_some() {
                // Where it was before is no more, and what that was is not what is there.
                match &mut what {
                    Some(WhatSaid::Helm(helm)) => (helm.repository, helm.version) = (None, None),
                    Some(WhatSaid::Path(_)) => what = None,
                    _ => {}
                }
            }
            git = Some(git.unwrap_or_default().changed(over));
        }
        Self { git, what }
    }
}

impl GitSaid {
    fn changed(self, over: &Self) -> Self {
        let Self { url, reference, path, credentials } = over.clone();
        // Credentials are of the URL that they are said with.
        let kept = if url.is_some() { None } else { self.credentials };
        Self {
            url: url.or(self.url),
            reference: reference.or(self.reference),
            path: path.or(self.path),
            credentials: credentials.or(kept),
        }
    }
}

impl KustomizeSaid {
    fn changed(self, over: &Self) -> Self {
        let Self { path, components } = over.clone();
        Self { path: path.or(self.path), components: components.or(self.components) }
    }
}

impl HelmSaid {
    fn changed(mut self, over: &Self) -> Self {
        let Self { repository, version, chart, release_name, values_files, values } = over.clone();
        lay_over(&mut self.values, values);
        // A version is of the chart that it is said with.
        let kept = if chart.is_some() || repository.is_some() { None } else { self.version };
        Self {
            repository: repository.or(self.repository),
            version: version.or(kept),
            chart: chart.or(self.chart),
            release_name: release_name.or(self.release_name),
            values_files: values_files.or(self.values_files),
            values: self.values,
        }
    }
}

/// As Helm lays one file of values over another: maps merge, all else replaces, and a null stays one.
fn lay_over(below: &mut Parameters, values: Parameters) {
    for (name, value) in values {
        match (value, below.get_mut(&name)) {
            (Value::Object(values), Some(Value::Object(below))) => lay_over(below, values),
            (value, _) => drop(below.insert(name, value)),
        }
    }
}
