//! Catalog: the files of one commit become validated objects, or positioned problems.
//!
//! In: a [`Tree`] (what Git says is there, without content), the text of candidate files, the last good form of each object.
//! Out: a [`Catalog`]: every object in the form that is in effect, and every [`Problem`].
//! Never: lets an object disappear because something could not be read.

mod assemble;
mod candidates;
mod chart_name;
mod decode;
mod dependency;
mod divisions;
mod fields;
mod git_ref;
mod git_url;
mod joined;
mod objects;
mod overlaps;
mod override_fields;
mod overriding;
mod parse;
pub(crate) mod paths;
mod pick;
mod place;
mod problems;
mod references;
mod remote;
mod replicas;
mod rollout;
mod rollout_fields;
mod said;
mod schedule_fields;
pub mod schema;
mod source;
mod source_fields;
pub mod suggest;
mod template;
mod tenant;
mod tenant_fields;
mod treat;
mod treatment;
mod version_range;
pub(crate) mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use assemble::{Files, LastGood, assemble, object_of, paths_of};
pub use candidates::{
    MAX_FILE_BYTES, candidates, held_files, ignore_files, is_configured, may_hold_documents,
};
pub use chart_name::{BadChartName, ChartName};
pub use dependency::{Dependency, DependsOn, IfAbsent, Until};
pub use git_ref::{GitRef, ParseGitRefError};
pub use joined::{Joined, join};
pub use objects::{
    App, AppSelection, Cluster, ClusterSelection, ClusterSet, Defaults, Fleet, FreezeRule, Grants,
    GuardLimit, GuardLimits, NamespaceOptions, OnRemove, Percent, Placement, Spec, WindowRule,
};
pub use overriding::{Override, Patch, PatchTarget};
pub use parse::{Document, ParsedFile, parse_file};
pub use pick::{Count, Divide, Failover, OnReturn, Pick, Preference, Preferred, Replicas, Spread};
pub use problems::{CONSEQUENCE, Position, Problem, Severity};
pub use remote::{GitRemote, Remote, RemoteId, SourceAt, Sources};
pub use rollout::{Before, Failure, OnNewRevision, Pace, Rollout, Then, Wave};
pub use said::{GitSaid, HelmSaid, KustomizeSaid, Said, SourceChange, WhatSaid};
pub use source::{Helm, Kustomize, Source, SourceError, Sourced, ValuesFile, What};
pub(crate) use suggest::did_you_mean;
pub use tenant::{Grant, Granted, Tenant};
pub use treatment::{
    Adopt, Conflicts, Drift, HealthRule, Ignore, Mode, ObjectTarget, OnImmutable, Timeout, Treatment,
};
pub use version_range::{ParseRangeError, Range};

use template::Starred;

use crate::{CatalogName, ClusterName};

/// The API version of catalog documents.
pub const API_VERSION: &str = "nave.dev/v1alpha1";

/// A Git commit id, in lower-case hex (SHA-1 or SHA-256).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CommitId(pub Arc<str>);

impl CommitId {
    /// The first eight digits.
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A Git blob id, in lower-case hex. Two files with one id have the same content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlobId(pub Arc<str>);

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.get(..8).unwrap_or(&self.0))
    }
}

/// What stands at a path of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// A regular file, executable or not.
    File,
    /// A symbolic link; never followed.
    Symlink,
    /// Another repository; ignored.
    Submodule,
}

/// One path of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub kind: FileKind,
    /// The id of its content.
    pub blob: BlobId,
    /// Size of the content in bytes; 0 for submodules.
    pub size: u64,
}

/// All paths of a commit, relative to the repository's root, separated by '/'; no content.
pub type Tree = BTreeMap<Arc<str>, TreeEntry>;

/// The kinds of catalog objects that this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Defaults, parameters and guard of the whole fleet.
    Fleet,
    /// What Git says of a cluster.
    Cluster,
    /// A named group of clusters.
    ClusterSet,
    /// A deployable unit.
    App,
    /// A rule: these apps on those clusters.
    Placement,
    /// A change of apps on some clusters.
    Override,
    /// How a changed app moves through its clusters.
    Rollout,
    /// A tenant's catalog and what it may do.
    Catalog,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Kind and name: with the catalog's name, an object's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
}

impl ObjectId {
    /// Whether it is called so, or is a template that calls an app so.
    pub fn means(&self, name: &str) -> bool {
        *self.name == *name
            || Starred::parse(&self.name).is_some_and(|names| names.stands_for(name).is_some())
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Where a document stands. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// Path relative to the repository's root.
    pub file: Arc<str>,
    /// Line of the document's first token.
    pub line: u32,
    /// Column of the document's first token.
    pub column: u32,
}

impl Origin {
    /// Where in the file.
    pub fn position(&self) -> Position {
        Position { line: self.line, column: self.column }
    }
}

/// A catalog object that passed validation by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Kind and name.
    pub id: ObjectId,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub origin: Origin,
    /// What it says.
    pub spec: Spec,
}

/// An object in the form that is in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The object.
    pub object: Arc<Object>,
    /// The commit whose text is in effect: an older one where the newest text is invalid.
    pub commit: CommitId,
}

/// A catalog at one commit, parsed and validated, with the objects in the form that is in effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Catalog {
    /// Its name.
    pub name: CatalogName,
    /// The commit.
    pub commit: CommitId,
    /// All objects by identity.
    pub objects: BTreeMap<ObjectId, Effective>,
    /// What is wrong with it, by position.
    pub problems: Vec<Problem>,
    /// The commit holds not a single catalog document (wrong directory, emptied branch): nothing of it may be taken
    /// without approval.
    pub empty: bool,
    /// The tenants' catalogs that are joined to it.
    pub tenants: BTreeMap<CatalogName, Joined>,
}

impl Catalog {
    /// The `Fleet` object's specification, if there is one.
    pub fn fleet(&self) -> Option<&Fleet> {
        self.objects.values().find_map(|e| match &e.object.spec {
            Spec::Fleet(fleet) => Some(fleet),
            _ => None,
        })
    }

    /// An app by its name.
    pub fn app(&self, name: &str) -> Option<(&Effective, &App)> {
        let id = ObjectId { kind: Kind::App, name: name.into() };
        self.objects.get(&id).and_then(|e| match &e.object.spec {
            Spec::App(app) => Some((e, app)),
            _ => None,
        })
    }

    /// All apps in order of name.
    pub fn apps(&self) -> impl Iterator<Item = (&Effective, &App)> {
        self.objects.values().filter_map(|e| match &e.object.spec {
            Spec::App(app) => Some((e, app)),
            _ => None,
        })
    }

    /// All overrides in order of name.
    pub fn overrides(&self) -> impl Iterator<Item = (&Effective, &Override)> {
        let first = ObjectId { kind: Kind::Override, name: "".into() };
        self.objects.range(first..).map_while(|(_, e)| match &e.object.spec {
            Spec::Override(spec) => Some((e, spec)),
            _ => None,
        })
    }

    /// All placements in order of name.
    pub fn placements(&self) -> impl Iterator<Item = (&Effective, &Placement)> {
        self.objects.values().filter_map(|e| match &e.object.spec {
            Spec::Placement(placement) => Some((e, &**placement)),
            _ => None,
        })
    }

    /// A cluster set.
    pub fn set(&self, name: &str) -> Option<(&Effective, &ClusterSet)> {
        let id = ObjectId { kind: Kind::ClusterSet, name: name.into() };
        self.objects.get(&id).and_then(|e| match &e.object.spec {
            Spec::ClusterSet(set) => Some((e, set)),
            _ => None,
        })
    }

    /// What the catalog says of a cluster.
    pub fn cluster(&self, name: &ClusterName) -> Option<(&Effective, &Cluster)> {
        let id = ObjectId { kind: Kind::Cluster, name: name.as_str().into() };
        self.objects.get(&id).and_then(|e| match &e.object.spec {
            Spec::Cluster(cluster) => Some((e, cluster)),
            _ => None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests;
