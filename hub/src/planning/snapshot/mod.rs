//! Snapshot: everything that a plan needs of a hub, in one file, for machines that may not or cannot ask it.
//!
//! In: the hub's records, the catalog in effect, bundles. Out: a file, and a [`Snapshot`] read from it.
//! Never: holds a value of a Secret's manifest, a token, a certificate, a key, the audit log, history or events.
//!
//! | file | what it knows |
//! |---|---|
//! | `file` | how it is written: a line that names the version, then lines of JSON, compressed |
//! | `gather` | what of a hub goes into it |
//! | `strip` | how bundles lose the values of Secrets |
//! | `offline` | the plan of a directory, from a snapshot alone |

mod file;
mod gather;
mod offline;
mod strip;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use nave_placement::catalog::{BlobId, CommitId, Problem, Tree, is_configured};
use nave_placement::fleet::{Resources, Taint};
use nave_placement::{CatalogName, ClusterName, Digest};
use serde::{Deserialize, Serialize};

pub use file::{ReadError, VERSION, Writer, read};
pub use gather::{RECORDS, documents, good, needed_bundles, record};
pub use offline::plan;
pub use strip::stripped;

use super::shelf::Stock;
use crate::deciding::hearing::Hearing;
use crate::deciding::older::{Places, Trees};
use crate::deciding::revision::{Configured, Content, Place};
use crate::state::State;

/// What a snapshot says of itself, and of what is in no record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// The fleet.
    pub fleet: String,
    /// The catalog.
    pub catalog: CatalogName,
    /// Its directory in the repository, without slashes around it.
    pub directory: String,
    /// The commit in effect.
    pub commit: CommitId,
    /// When it was taken, Unix milliseconds.
    pub taken_ms: u64,
    /// What sessions know.
    pub heard: Heard,
    /// What is wrong with the commit in effect.
    pub problems: Vec<Problem>,
    /// The catalogs of tenants that are in effect.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tenants: BTreeMap<CatalogName, Standing>,
}

/// Where a tenant's catalog stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Its directory in its repository.
    pub directory: String,
    /// The commit in effect.
    pub commit: CommitId,
}

/// What sessions know of members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heard {
    /// Since when the hub listens, Unix milliseconds.
    pub since_ms: u64,
    /// Clusters with a session; what they have free, and since when that is known.
    pub connected: BTreeMap<ClusterName, Option<(Resources, u64)>>,
    /// When others were heard last, Unix milliseconds.
    pub seen: BTreeMap<ClusterName, u64>,
    /// Taints, and since when they are there.
    pub tainted: BTreeMap<ClusterName, Vec<(Taint, Option<u64>)>>,
}

impl From<&Hearing> for Heard {
    fn from(hearing: &Hearing) -> Self {
        let free = |free: &crate::deciding::hearing::Free| {
            free.as_ref().map(|(resources, at_ms)| (Resources::clone(resources), *at_ms))
        };
        let connected = hearing.connected.iter().map(|(name, known)| (name.clone(), free(known)));
        let taints = |taints: &BTreeMap<Taint, Option<u64>>| {
            taints.iter().map(|(taint, since)| (taint.clone(), *since)).collect()
        };
        Self {
            since_ms: hearing.since_ms,
            connected: connected.collect(),
            seen: hearing.seen.clone(),
            tainted: hearing.tainted.iter().map(|(name, of)| (name.clone(), taints(of))).collect(),
        }
    }
}

impl From<&Heard> for Hearing {
    fn from(heard: &Heard) -> Self {
        let free = |free: &Option<(Resources, u64)>| {
            free.as_ref().map(|(resources, at_ms)| (Arc::new(resources.clone()), *at_ms))
        };
        let connected = heard.connected.iter().map(|(name, known)| (name.clone(), free(known)));
        let taints = |taints: &Vec<(Taint, Option<u64>)>| taints.iter().cloned().collect();
        Self {
            since_ms: heard.since_ms,
            connected: connected.collect(),
            seen: heard.seen.clone(),
            tainted: heard.tainted.iter().map(|(name, of)| (name.clone(), taints(of))).collect(),
            ..Self::default()
        }
    }
}

/// The text of a file at an earlier commit, in which an object stands that is in effect and not what the commit's files give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Good {
    /// The commit.
    pub commit: CommitId,
    /// The file in it.
    pub file: Arc<str>,
    /// Its text.
    pub text: Arc<[u8]>,
    /// Paths of that commit that tell what its templates made.
    pub paths: Vec<Arc<str>>,
}

/// The files of a catalog.
#[derive(Default)]
pub struct Own {
    /// Those of the commit in effect, without content.
    pub tree: Tree,
    /// Those of it that hold catalog documents.
    pub documents: BTreeMap<Arc<str>, Arc<[u8]>>,
    /// Files of earlier commits.
    pub good: Vec<Good>,
}

/// A snapshot, read.
pub struct Snapshot {
    /// What it says of itself.
    pub header: Header,
    /// The records.
    pub state: State,
    /// The files of each catalog.
    pub owns: BTreeMap<CatalogName, Own>,
    bundles: HashMap<Digest, Bytes>,
}

impl Snapshot {
    /// Where each catalog stands in its repository.
    pub fn places(&self) -> Places {
        let Header { catalog, directory, tenants, .. } = &self.header;
        let mut documents = self.owns.get(catalog).into_iter().flat_map(|own| &own.documents);
        let configured = documents
            .find(|(file, _)| is_configured(file))
            .map(|(file, text)| Configured { file: file.clone(), text: text.clone() });
        let root = Place { name: catalog.clone(), directory: directory.clone(), is_root: true, configured };
        let place = |(name, standing): (&CatalogName, &Standing)| {
            let (name, directory) = (name.clone(), standing.directory.clone());
            (name.clone(), Place { name, directory, is_root: false, configured: None })
        };
        tenants.iter().map(place).chain([(catalog.clone(), root)]).collect()
    }

    /// The commit in effect of a catalog.
    pub fn commit_of(&self, catalog: &CatalogName) -> Option<&CommitId> {
        match *catalog == self.header.catalog {
            true => Some(&self.header.commit),
            false => self.header.tenants.get(catalog).map(|standing| &standing.commit),
        }
    }

    /// The bundles that it has.
    pub fn bundles(&self) -> BTreeSet<Digest> {
        self.bundles.keys().copied().collect()
    }
}

impl Stock for Snapshot {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.bundles.get(digest).cloned()
    }

    fn has(&self, digest: &Digest) -> bool {
        self.bundles.contains_key(digest)
    }
}

#[async_trait]
impl Content for Snapshot {
    async fn read_all(&self, blobs: Vec<BlobId>, _: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let lacks = |_| Err("a snapshot has the files of no manifests".to_owned());
        blobs.into_iter().map(lacks).collect()
    }
}

#[async_trait]
impl Trees for Snapshot {
    async fn tree_of(&self, commit: &CommitId) -> Result<Tree, String> {
        let mut owns = self.owns.iter();
        match owns.find(|(name, _)| self.commit_of(name) == Some(commit)) {
            Some((_, own)) => Ok(own.tree.clone()),
            None => Err("a snapshot has the files of the commit in effect alone".to_owned()),
        }
    }
}
