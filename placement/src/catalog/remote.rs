//! Remotes: places of files that are not the catalog's repository.
//!
//! In: what a source names. Out: a [`Remote`], and which state of it is meant ([`SourceAt`]). A state is found by the hub, kept with
//! what was rendered from it, and named again where an app returns to that.
//! Never: asks anybody.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ChartName, GitRef};
use crate::Digester;

/// A place of files that is not the catalog's repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Remote {
    /// Another repository of Git.
    Git(GitRemote),
    /// A chart of a Helm repository or an OCI registry: its files are those of its archive.
    Chart(ChartName),
}

/// Another repository of Git.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GitRemote {
    /// Its URL, without a secret.
    pub url: Arc<str>,
    /// Which of its commits.
    #[serde(rename = "ref")]
    pub reference: GitRef,
    /// The entry of the hub's `credentials` that it is reached by; absent: the one that is for its URL, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Arc<str>>,
    /// A tenant names it, and no credentials: it is reached without any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_strangers: bool,
}

/// A remote's name in records: a digest of what it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoteId(Arc<str>);

/// A state of a remote: its commit, or the archive of a chart. Written `NAME@ID`, `v1.4.2@6f3e…` or `6.5.2@sha256:9b1c…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SourceAt {
    /// What it was found by: the branch, the tag, the version of the chart.
    pub name: Arc<str>,
    /// What it is, for ever.
    pub id: Arc<str>,
}

/// States of the remotes of some apps.
pub type Sources = BTreeMap<RemoteId, SourceAt>;

/// A text names no state of a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it names no state of a source; one is written NAME@ID")]
pub struct ParseSourceAtError;

impl Remote {
    /// Its name in records.
    pub fn id(&self) -> RemoteId {
        let bytes = serde_json::to_vec(self).expect("text always serializes");
        let digest = Digester::new("nave.remote.v1").field(&bytes).finish().to_string();
        RemoteId(digest[..16].into())
    }

    /// Whether what it names is meant to be the same for ever: a commit, or one version of a chart.
    pub fn is_fixed(&self) -> bool {
        match self {
            Self::Git(remote) => remote.reference.is_fixed(),
            Self::Chart(name) => name.version.exact().is_some(),
        }
    }

    /// For people: where it is, and what of it is meant.
    pub fn shown(&self) -> String {
        match self {
            Self::Git(GitRemote { url, reference: GitRef::Default, .. }) => url.to_string(),
            Self::Git(GitRemote { url, reference, .. }) => format!("{url} at {reference}"),
            Self::Chart(ChartName { repository, chart, version, is_strangers: _ }) => {
                let version = if version.as_str().is_empty() { "*" } else { version.as_str() };
                format!("chart {chart} {version} of {repository}")
            }
        }
    }
}

impl From<&str> for RemoteId {
    /// As it is written.
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl RemoteId {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SourceAt {
    /// Its name, and as much of its id as people read.
    pub fn short(&self) -> String {
        let id = self.id.strip_prefix("sha256:").unwrap_or(&self.id);
        format!("{}@{}", self.name, id.get(..12).unwrap_or(id))
    }
}

impl fmt::Display for SourceAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.id)
    }
}

impl FromStr for SourceAt {
    type Err = ParseSourceAtError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A branch may hold an @; no id does.
        let (name, id) = text.rsplit_once('@').ok_or(ParseSourceAtError)?;
        if id.is_empty() {
            return Err(ParseSourceAtError);
        }
        Ok(Self { name: name.into(), id: id.into() })
    }
}

impl TryFrom<String> for SourceAt {
    type Error = ParseSourceAtError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SourceAt> for String {
    fn from(at: SourceAt) -> Self {
        at.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_and_one_version_are_the_same_for_ever() {
        let git = |reference: &str| {
            let reference = reference.parse().expect("a reference");
            Remote::Git(GitRemote {
                url: "https://h/a".into(),
                reference,
                credentials: None,
                is_strangers: false,
            })
        };
        let chart = |version: &str| {
            let (repository, chart) = ("https://h/a".into(), "web".into());
            Remote::Chart(ChartName {
                repository,
                chart,
                version: version.parse().expect("a range"),
                is_strangers: false,
            })
        };
        let rows = [
            (git(&"0".repeat(40)), true),
            (git("v1.2.3"), false),
            (git(""), false),
            (git("=1.2.3"), false),
            (chart("1.2.3"), true),
            (chart("1.2"), false),
            (chart(""), false),
        ];
        for (remote, is_fixed) in rows {
            assert_eq!(remote.is_fixed(), is_fixed, "{}", remote.shown());
        }
    }

    #[test]
    fn a_state_is_its_name_and_its_id() {
        for (text, name, id) in
            [("main@6f3e", "main", "6f3e"), ("a@b@6f3e", "a@b", "6f3e"), ("@6f3e", "", "6f3e")]
        {
            let at: SourceAt = text.parse().expect("a state");
            assert_eq!((&*at.name, &*at.id, at.to_string()), (name, id, text.to_owned()));
        }
        for text in ["", "main", "main@"] {
            assert_eq!(text.parse::<SourceAt>(), Err(ParseSourceAtError), "{text}");
        }
        let chart = SourceAt { name: "6.5.2".into(), id: format!("sha256:{}", "9b1c".repeat(16)).into() };
        assert_eq!(chart.short(), "6.5.2@9b1c9b1c9b1c");
    }
}
