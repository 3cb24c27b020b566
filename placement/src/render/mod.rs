//! Render: an app's files become a bundle; on the spoke, a bundle and an entry's values become objects.
//!
//! In: a [`Tree`] for [`needs`], with the content of what it asks for on the way; the content of exactly the files it names
//! for [`finish`], or what an engine made of them for [`finish_output`]; the bundle and an entry for [`resolve`]. Out: [`Needs`],
//! [`Bundle`], objects.
//! SOPS documents pass through as raw bytes ([`Sealed`]); what opens them is given to [`resolve_opened`] on the spoke.
//! Never: reads a file that [`Needs`] does not name, follows a symbolic link, runs an engine (the hub does).
//!
//! [`Tree`]: crate::catalog::Tree

mod amend;
mod finish;
mod helm;
mod hooks;
mod kustomize;
mod live;
mod needs;
mod output;
mod resolve;
mod sealed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

pub use amend::amend;
pub use finish::{FinishError, finish};
pub(crate) use finish::{is_catalogs, path_of, strip};
pub(crate) use helm::CHART as CHART_FILE;
pub use helm::{Asks, Capabilities, MOMENTS, Part, Uses, asks, guarded, guarded_at, refused, spoken_of};
pub use hooks::{Side, Timing};
pub(crate) use kustomize::FILES as KUSTOMIZATION_FILES;
pub use live::live_objects;
pub use needs::{Charts, Needed, NeedsError, Release, Trees, needs};
pub(crate) use needs::{below, is_manifest};
pub use output::finish_output;
pub(crate) use output::origins;
pub(crate) use resolve::object_key;
pub use resolve::{Open, ResolveError, Resolved, Scope, Scopes, resolve, resolve_opened};
pub(crate) use sealed::is_sealed;
pub use sealed::{Format, SECRET, Sealed, Tree, is_secret, plain_secrets};

use crate::catalog::BlobId;
use crate::overrides::Parameters;
use crate::overrides::template::{self, Values};
use crate::{Digest, ObjectKey};

/// Most bytes in one bundle, uncompressed.
pub const MAX_BUNDLE_BYTES: usize = 16 << 20;
/// Most objects in one bundle.
pub const MAX_OBJECTS: usize = 10_000;

/// The content of files, by path.
pub type Contents = BTreeMap<Arc<str>, Arc<[u8]>>;

/// The engine that turns source files into manifests, and its arguments. Paths are relative to [`Needs::source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// None: the files are manifests.
    Manifests,
    /// `kustomize build`.
    Kustomize(Kustomization),
    /// `helm template`.
    Helm(Chart),
}

/// What is built of a kustomization.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Kustomization {
    /// Its directory.
    pub directory: Arc<str>,
    /// Directories of components that are put on it, in order.
    pub components: Vec<Arc<str>>,
}

/// What is made of a chart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chart {
    /// Its directory.
    pub directory: Arc<str>,
    /// The release's name.
    pub release: String,
    /// The release's namespace.
    pub namespace: String,
    /// Files of values, each over the ones before.
    pub values_files: Vec<Arc<str>>,
    /// Values over those of all files.
    pub values: Parameters,
    /// What it is told of the cluster; absent where it asks for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// Charts in it that stand elsewhere in the repository: by their directory here, that in the repository. No part of the digest.
    #[serde(skip)]
    pub placed: BTreeMap<Arc<str>, Arc<str>>,
}

impl Engine {
    /// What people call it; `None` where there is none.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Manifests => None,
            Self::Kustomize(_) => Some("kustomize"),
            Self::Helm(_) => Some("helm"),
        }
    }

    /// Feeds it to a digest: its name, and its arguments with sorted keys.
    fn digested(&self, digester: &mut crate::Digester) {
        digester.add(self.name().unwrap_or("manifests").as_bytes());
        let arguments = match self {
            Self::Manifests => return,
            Self::Kustomize(kustomization) => serde_json::to_value(kustomization),
            Self::Helm(chart) => serde_json::to_value(chart),
        };
        let arguments = arguments.expect("text and JSON always serialize");
        digester.add(amend::sorted(arguments).to_string().as_bytes());
    }
}

/// What has to be at hand before an app can be rendered: an engine, exactly the files it reads, its arguments.
/// Two apps with equal `Needs` render to equal bytes, so its digest is the cache key and part of the recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// What runs.
    pub engine: Engine,
    /// The closure of files, by path relative to the source, in the order they are read.
    pub files: BTreeMap<Arc<str>, BlobId>,
    /// The path that the files are relative to, from the repository's root; no part of the digest. An engine's is the directory
    /// that holds all of them.
    pub source: Arc<str>,
}

impl Needs {
    /// The digest of engine, files and arguments: the source's part of the recipe digest.
    pub fn digest(&self) -> Digest {
        let mut digester = crate::Digester::new("nave.needs.v1");
        self.engine.digested(&mut digester);
        for (path, blob) in &self.files {
            digester.add(path.as_bytes());
            digester.add(blob.0.as_bytes());
        }
        digester.finish()
    }
}

/// The rendered manifests of one app, named by the digest of its bytes. Stored once however many clusters use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// SHA-256 of `bytes`.
    pub digest: Digest,
    /// JSON lines in the order of the source: one object a line, or SOPS documents as they stand in Git ([`Sealed`]).
    pub bytes: Arc<[u8]>,
    /// The objects in it, namespaces as the manifests give them.
    pub objects: Arc<BTreeSet<ObjectKey>>,
}

/// The objects of an app as they will stand on a cluster, as far as that can be told without knowing the scopes of its
/// kinds: an object that names no namespace counts under the app's. Values fill the `${…}` of names; without a value one
/// stays as it is written.
pub fn effective_objects(
    objects: &BTreeSet<ObjectKey>,
    options: &crate::assign::Options,
    values: &Values,
) -> BTreeSet<ObjectKey> {
    let fill = |text: &String| {
        let filled = template::text(text, values).map(std::borrow::Cow::into_owned);
        filled.unwrap_or_else(|_| text.clone())
    };
    let filled = |key: &ObjectKey| match options.substitute {
        true => ObjectKey { name: fill(&key.name), namespace: fill(&key.namespace), ..key.clone() },
        false => key.clone(),
    };
    let Some(namespace) = &options.namespace else { return objects.iter().map(filled).collect() };
    let put_on = |key: ObjectKey| match namespace.force || key.namespace.is_empty() {
        true if key.kind != "Namespace" => ObjectKey { namespace: namespace.name.clone(), ..key },
        _ => key,
    };
    let mut effective: BTreeSet<ObjectKey> = objects.iter().map(filled).map(put_on).collect();
    if namespace.create {
        let name = namespace.name.clone();
        let namespace =
            ObjectKey { group: String::new(), kind: "Namespace".into(), namespace: String::new(), name };
        effective.insert(namespace);
    }
    effective
}
