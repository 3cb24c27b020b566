//! Source: where an app's manifests come from, and what an override changes of that.
//!
//! In: what an `App` or an `Override` says. Out: the [`Source`] of a variant. Paths are relative to the repository's root,
//! without `.` and `..`; empty for the root itself.
//! Never: mixes two engines; a change of one that the app does not have is told.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::{ObjectId, Origin};
use crate::overrides::Parameters;

/// Where an app's manifests come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Manifests: a directory or a file of the catalog's own repository.
    Path(Arc<str>),
    /// A kustomization.
    Kustomize(Kustomize),
    /// A Helm chart.
    Helm(Helm),
}

/// A kustomization of the catalog's own repository.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kustomize {
    /// Its directory.
    pub path: Arc<str>,
    /// Directories of components that are put on it, in order.
    pub components: Vec<Arc<str>>,
}

/// A Helm chart of the catalog's own repository, and what it is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Helm {
    /// Its directory.
    pub chart: Arc<str>,
    /// The release's name; absent: the app's.
    pub release_name: Option<String>,
    /// Files of values, each over the ones before.
    pub values_files: Vec<Arc<str>>,
    /// Values over those of all files. A null deletes what the chart or a file sets.
    pub values: Parameters,
}

/// What somebody says of a source: an `App` all of it, an `Override` what differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum SourceChange {
    /// Manifests.
    Path(Arc<str>),
    /// A kustomization.
    Kustomize(KustomizeChange),
    /// A Helm chart.
    Helm(HelmChange),
}

/// What is said of a kustomization.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KustomizeChange {
    /// Another directory.
    pub path: Option<Arc<str>>,
    /// Other components.
    pub components: Option<Vec<Arc<str>>>,
}

/// What is said of a chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HelmChange {
    /// Another directory.
    pub chart: Option<Arc<str>>,
    /// Another name of the release.
    pub release_name: Option<String>,
    /// Other files of values.
    pub values_files: Option<Vec<Arc<str>>>,
    /// Values to merge.
    pub values: Parameters,
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

/// A change is of another engine than the source, and does not say all that a source of its own needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it changes spec.source.{change}, but the source of app {app} is {source_is}; add spec.source.{change}.{needed}, or select only apps of that kind"
)]
pub struct Mismatch {
    /// The app.
    pub app: Arc<str>,
    source_is: &'static str,
    change: &'static str,
    needed: &'static str,
}

impl Source {
    /// The field of `spec.source` that it is given by.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::Kustomize(_) => "kustomize",
            Self::Helm(_) => "helm",
        }
    }

    /// The field of its directory, for messages.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Path(_) => "path",
            Self::Kustomize(_) => "kustomize.path",
            Self::Helm(_) => "helm.chart",
        }
    }

    /// Its directory, or its file.
    pub fn path(&self) -> &Arc<str> {
        match self {
            Self::Path(path) => path,
            Self::Kustomize(kustomize) => &kustomize.path,
            Self::Helm(helm) => &helm.chart,
        }
    }
}

impl SourceChange {
    /// The source that it gives by itself; `None` where it does not say where that is.
    pub fn whole(self) -> Option<Source> {
        match self {
            Self::Path(path) => Some(Source::Path(path)),
            Self::Kustomize(change) => {
                let path = change.path.clone()?;
                Some(Source::Kustomize(Kustomize { path, components: Vec::new() }.changed(&change)))
            }
            Self::Helm(change) => {
                let chart = change.chart.clone()?;
                Some(Source::Helm(Helm { chart, ..Helm::default() }.changed(&change)))
            }
        }
    }

    /// A source with this change. Of the same engine it merges: values merge (maps merge, lists replace, a null stays and
    /// deletes what the chart or a file sets), all else replaces; a whole source of another engine takes its place.
    ///
    /// # Errors
    /// It is of another engine, and no whole source.
    pub fn over(&self, app: &Arc<str>, source: Source) -> Result<Source, Mismatch> {
        match (self, source) {
            (Self::Kustomize(change), Source::Kustomize(below)) => {
                Ok(Source::Kustomize(below.changed(change)))
            }
            (Self::Helm(change), Source::Helm(below)) => Ok(Source::Helm(below.changed(change))),
            (change, source) => change.clone().whole().ok_or_else(|| {
                let is_helm = matches!(change, Self::Helm(_));
                let (change, needed) = if is_helm { ("helm", "chart") } else { ("kustomize", "path") };
                Mismatch { app: app.clone(), source_is: source.word(), change, needed }
            }),
        }
    }
}

impl Kustomize {
    fn changed(self, change: &KustomizeChange) -> Self {
        let KustomizeChange { path, components } = change.clone();
        Self { path: path.unwrap_or(self.path), components: components.unwrap_or(self.components) }
    }
}

impl Helm {
    fn changed(mut self, change: &HelmChange) -> Self {
        let HelmChange { chart, release_name, values_files, values } = change.clone();
        lay_over(&mut self.values, values);
        Self {
            chart: chart.unwrap_or(self.chart),
            release_name: release_name.or(self.release_name),
            values_files: values_files.unwrap_or(self.values_files),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn values(value: Value) -> Parameters {
        value.as_object().cloned().expect("a mapping")
    }

    fn chart() -> Source {
        Source::Helm(Helm {
            chart: "charts/web".into(),
            release_name: None,
            values_files: vec!["base.yaml".into()],
            values: values(json!({"a": {"b": 1, "c": [1, 2]}, "d": 1})),
        })
    }

    #[test]
    fn what_an_override_says_of_the_same_engine_merges() {
        let change = SourceChange::Helm(HelmChange {
            values_files: Some(vec!["prod.yaml".into()]),
            values: values(json!({"a": {"c": [3], "e": 1}, "d": null})),
            ..HelmChange::default()
        });
        let expected = Source::Helm(Helm {
            chart: "charts/web".into(),
            release_name: None,
            values_files: vec!["prod.yaml".into()],
            values: values(json!({"a": {"b": 1, "c": [3], "e": 1}, "d": null})),
        });
        assert_eq!(change.over(&"web".into(), chart()), Ok(expected));
        let below = Kustomize { path: "base".into(), components: vec!["a".into()] };
        let change = KustomizeChange { path: Some("prod".into()), components: None };
        let expected = Kustomize { path: "prod".into(), components: vec!["a".into()] };
        let changed = SourceChange::Kustomize(change).over(&"web".into(), Source::Kustomize(below));
        assert_eq!(changed, Ok(Source::Kustomize(expected)));
    }

    #[test]
    fn a_whole_source_of_another_engine_replaces_and_a_part_of_one_is_told() {
        let path = SourceChange::Path("manifests".into());
        assert_eq!(path.over(&"web".into(), chart()), Ok(Source::Path("manifests".into())));
        let part = SourceChange::Kustomize(KustomizeChange { path: None, components: Some(Vec::new()) });
        let told = part.over(&"web".into(), chart()).expect_err("it has no path").to_string();
        assert_eq!(
            told,
            "it changes spec.source.kustomize, but the source of app web is helm; add spec.source.kustomize.path, or select only apps of that kind"
        );
    }
}
