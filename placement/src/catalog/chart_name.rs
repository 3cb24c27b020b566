//! Chart name: a chart that stands elsewhere, as the catalog names it.
//!
//! In: what an author wrote. Out: whether it can be asked for. Never: asks anybody.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::version_range::Range;

/// A chart of a Helm repository or an OCI registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartName {
    /// `https://HOST/PATH` (or `http://`), where `index.yaml` is; or `oci://HOST/PATH`, below which the chart is.
    pub repository: Arc<str>,
    /// Its name there; in a registry the rest of its path.
    pub chart: Arc<str>,
    /// Which versions are meant: the highest is taken.
    pub version: Range,
    /// It is named by somebody whom nobody gave the hub's credentials: a chart from elsewhere, of what it depends on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_strangers: bool,
}

/// Why a chart cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChartName {
    /// Of its repository.
    #[error(
        "{0:?} is no repository of charts; write https://HOST/PATH, or oci://HOST/PATH for a registry, whose paths are in small letters"
    )]
    Repository(Arc<str>),
    /// Of its repository, which is not repeated.
    #[error(
        "the repository's URL holds a user or password, which everybody sees; name it in `credentials` of the hub's configuration"
    )]
    Secret,
    /// Of its repository, which is not repeated.
    #[error("the repository's URL holds ? or #; write it up to there")]
    Query,
    /// Of the chart.
    #[error(
        "{0:?} is no name of a chart; it has letters, digits and -._, in a registry also / between parts, in small letters"
    )]
    Chart(Arc<str>),
}

impl ChartName {
    /// Whether it is in a registry, not in a Helm repository.
    pub fn is_oci(&self) -> bool {
        self.repository.starts_with("oci://")
    }

    /// Checks what can be seen in its text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), BadChartName> {
        let bad = || BadChartName::Repository(self.repository.clone());
        let (scheme, rest) = self.repository.split_once("://").ok_or_else(bad)?;
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if host.contains('@') {
            return Err(BadChartName::Secret);
        }
        if path.contains(['?', '#']) {
            return Err(BadChartName::Query);
        }
        let is_plain = |c: char| c.is_ascii_graphic() && !"\\\"<>^`{}|".contains(c);
        let leads_up = path.split('/').any(|part| matches!(part, "." | ".."));
        let is_oci = scheme == "oci";
        let is_known = is_oci || matches!(scheme, "https" | "http");
        let is_path = !is_oci || path.split('/').all(|part| part.is_empty() || is_part(part));
        if !is_known || host.is_empty() || !rest.chars().all(is_plain) || leads_up || !is_path {
            return Err(bad());
        }
        let is_chart = if is_oci { self.chart.split('/').all(is_part) } else { is_name(&self.chart) };
        if is_chart { Ok(()) } else { Err(BadChartName::Chart(self.chart.clone())) }
    }
}

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= 250 && name.chars().all(legal) && !name.starts_with('.')
}

/// Of a repository's path in a registry, as the distribution specification has it.
fn is_part(part: &str) -> bool {
    let has_ends = part.starts_with(|c: char| c.is_ascii_alphanumeric())
        && part.ends_with(|c: char| c.is_ascii_alphanumeric());
    is_name(part) && has_ends && !part.chars().any(|c| c.is_ascii_uppercase())
}

impl fmt::Display for ChartName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.chart, self.repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_chart_is_told_before_anybody_is_asked() {
        // (repository, chart, what is told)
        let rows = [
            ("https://charts.example.com", "web", None),
            ("https://charts.example.com:8443/stable/", "Web_1.x", None),
            ("http://charts.lan/a", "web", None),
            ("oci://registry.example.com", "web", None),
            ("oci://registry.example.com:5000/a/b/", "c/web", None),
            ("", "web", Some("no repository of charts")),
            ("stable", "web", Some("no repository of charts")),
            ("file:///srv/charts", "web", Some("no repository of charts")),
            ("https://", "web", Some("no repository of charts")),
            ("https://h/a b", "web", Some("no repository of charts")),
            ("https://h/a/../b", "web", Some("no repository of charts")),
            ("https://me:secret@h/a", "web", Some("name it in `credentials`")),
            ("https://h/a?token=secret", "web", Some("holds ? or #")),
            ("https://h?token=secret", "web", Some("holds ? or #")),
            ("https://h/a", "a/web", Some("no name of a chart")),
            ("https://h/a", "..", Some("no name of a chart")),
            ("https://h/a", "", Some("no name of a chart")),
            ("oci://h/Team", "web", Some("no repository of charts")),
            ("oci://h/a", "Web", Some("no name of a chart")),
            ("oci://h/a", "../web", Some("no name of a chart")),
            ("oci://h/a", "a//web", Some("no name of a chart")),
            ("oci://h/a", "web:1.2.3", Some("no name of a chart")),
        ];
        for (repository, chart, expected) in rows {
            let name = ChartName {
                repository: repository.into(),
                chart: chart.into(),
                version: Range::default(),
                is_strangers: false,
            };
            let told = name.check().err().map(|error| error.to_string());
            let is_so = match (&told, expected) {
                (None, None) => true,
                (Some(told), Some(expected)) => told.contains(expected) && !told.contains("secret"),
                _ => false,
            };
            assert!(is_so, "{repository} {chart}: {told:?}");
        }
    }
}
