//! What is desired, one entry at a time: its objects, or why they are not known.
//!
//! In: entries, bundles, scopes. Out: what a plan is made for. Never: takes an entry that it cannot read for one without
//! objects; holds a bundle longer than it takes to read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::assign::{Assignment, Entry, Options};
use nave_placement::render::{Bundle, ResolveError, Resolved, Scopes, Sealed, resolve_opened};
use nave_placement::report::EntryReport;
use nave_placement::{AppKey, Digest};
use serde_json::Value;

use crate::plan::{RUN, Unresolved, Wanted, runs};
use crate::report::Reason;

/// Where bundles are. Their bytes were checked against the digest when they came.
#[async_trait]
pub trait Bundles: Send + Sync {
    /// The bundle; `None` while it is not here.
    async fn bundle(&self, digest: &Digest) -> Option<Arc<[u8]>>;
}

#[async_trait]
impl<F: Fn(&Digest) -> Option<Arc<[u8]>> + Send + Sync> Bundles for F {
    async fn bundle(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        self(digest)
    }
}

/// What opens encrypted objects.
pub trait Opener: Send + Sync {
    /// The objects of documents of one MAC.
    ///
    /// # Errors
    /// Why not, in words that tell no value.
    fn open(&self, sealed: &Sealed) -> Result<Vec<Value>, String>;

    /// Takes what was opened out of a report: a target repeats what it refuses.
    fn scrub(&self, _report: &mut EntryReport) {}
}

/// Opens nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Closed;

impl Opener for Closed {
    fn open(&self, _: &Sealed) -> Result<Vec<Value>, String> {
        Err("nothing opens it here".to_owned())
    }
}

/// What shall be.
#[derive(Clone, Copy)]
pub struct Desired<'a> {
    /// The accepted assignment.
    pub assignment: &'a Assignment,
    /// Its entries decoded, or why one cannot be read. One that is missing here counts as unreadable.
    pub entries: &'a BTreeMap<AppKey, Result<Entry, String>>,
    /// The bundles that are here.
    pub bundles: &'a dyn Bundles,
    /// What opens encrypted objects.
    pub secrets: &'a dyn Opener,
}

impl Desired<'_> {
    /// Resolves one entry of the assignment.
    ///
    /// # Errors
    /// [`Unresolved`] when its objects are not known, with why.
    pub async fn resolve(
        &self,
        app: &AppKey,
        scopes: &(dyn Scopes + Send + Sync),
    ) -> Result<Wanted, Unresolved> {
        let entry = match self.entries.get(app) {
            Some(Ok(entry)) => entry,
            Some(Err(message)) => return Err(unreadable(message)),
            None => return Err(unreadable("it was not decoded")),
        };
        let Some(bytes) = self.bundles.bundle(&entry.bundle).await else {
            return Err(unresolved(entry, Reason::BundleMissing { bundle: entry.bundle }, None));
        };
        let open = |sealed: &Sealed| match entry.options.grant.is_none() || is_bound(sealed, &entry.options) {
            true => self.secrets.open(sealed),
            false => Err(UNBOUND.to_owned()),
        };
        match resolve_opened(&bytes, entry, scopes, &open) {
            Ok(mut objects) => match in_full(entry) {
                Ok(entry) => {
                    objects
                        .iter_mut()
                        .filter(|object| runs(object))
                        .for_each(|run| stamp(run, &entry.version));
                    Ok(Wanted { entry, objects })
                }
                Err(reason) => {
                    let claims = objects.into_iter().map(|object| object.key).collect();
                    Err(unresolved(entry, *reason, Some(claims)))
                }
            },
            Err(error @ ResolveError::Twice { .. }) => {
                // It cannot be applied, but what it claims is known by group, kind and name: the rest of the cluster goes on.
                // Not where names are filled in: then nothing is removed that it may want.
                let bundle = Some(bytes).filter(|_| !entry.options.substitute);
                let claims = bundle.and_then(|bytes| Bundle::read(bytes.to_vec()).ok());
                let claims = claims.map(|bundle| (*bundle.objects).clone());
                Err(unresolved(entry, Reason::DefinedTwice { message: error.to_string() }, claims))
            }
            Err(error @ ResolveError::Values { .. }) => {
                Err(unresolved(entry, Reason::EntryUnreadable { message: error.to_string() }, None))
            }
            Err(error) => Err(unresolved(entry, Reason::BundleDamaged { message: error.to_string() }, None)),
        }
    }
}

fn unreadable(message: &str) -> Unresolved {
    let reason = Box::new(Reason::EntryUnreadable { message: message.to_owned() });
    Unresolved { entry: None, reason, claims: None }
}

fn unresolved(
    entry: &Entry,
    reason: Reason,
    claims: Option<BTreeSet<nave_placement::ObjectKey>>,
) -> Unresolved {
    Unresolved { entry: Some(Box::new(entry.clone())), reason: Box::new(reason), claims }
}

/// Why an encrypted document of a tenant is not opened.
const UNBOUND: &str = "a tenant's encrypted document has to name its namespace itself, which nothing changes (no namespace.force, no patch) and its MAC covers (no mac_only_encrypted): it may be somebody else's";

/// Whether an encrypted document says itself, and under its MAC, where its objects belong: whoever has a copy of another's can put it
/// nowhere else.
fn is_bound(sealed: &Sealed, options: &Options) -> bool {
    let forced =
        options.namespace.as_ref().filter(|namespace| namespace.force).map(|namespace| &*namespace.name);
    let is_own = |object: &Value| {
        let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
        namespace.is_some_and(|own| !own.is_empty() && forced.is_none_or(|forced| forced == own))
    };
    sealed.changes.is_empty()
        && !sealed.text.contains("mac_only_encrypted")
        && sealed.objects.iter().all(is_own)
}

/// Writes on a hook which version it runs for, so that another version makes another run of it. It stays until then: one that the cluster
/// takes away by itself would be missed before it was seen to have succeeded.
fn stamp(run: &mut Resolved, version: &Digest) {
    let object = Arc::make_mut(&mut run.object);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("ttlSecondsAfterFinished");
    }
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.insert(RUN.to_owned(), version.to_string().into());
    }
}

/// The entry with its service account's namespace, which is the app's own where none is written.
fn in_full(entry: &Entry) -> Result<Entry, Box<Reason>> {
    let mut entry = entry.clone();
    if let Some(name) = entry.options.treatment.service_account.take() {
        let in_full = match &entry.options.namespace {
            _ if name.contains('/') => name,
            Some(namespace) => format!("{}/{name}", namespace.name),
            None => return Err(Box::new(Reason::AccountWithoutNamespace { name })),
        };
        entry.options.treatment.service_account = Some(in_full);
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::NamespaceOptions;
    use nave_placement::render::Format;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_encrypted_document_of_a_tenant_is_bound_to_the_namespace_that_it_names() {
        let named = json!({"kind": "Secret", "metadata": {"name": "s", "namespace": "team-a"}});
        let nameless = json!({"kind": "Secret", "metadata": {"name": "s"}});
        let forced = |name: &str| {
            let labels = BTreeMap::new();
            NamespaceOptions { name: name.to_owned(), labels, create: true, force: true }
        };
        // (object, text, namespace that is forced, whether it is opened)
        let rows = [
            (&named, "mac: x", None, true),
            (&nameless, "mac: x", None, false),
            (&named, "mac: x\nmac_only_encrypted: true", None, false),
            (&named, "mac: x", Some(forced("team-a")), true),
            (&named, "mac: x", Some(forced("team-b")), false),
        ];
        for (object, text, namespace, expected) in rows {
            let sealed = Sealed {
                format: Format::Yaml,
                objects: vec![object.clone()],
                text: text.into(),
                changes: Vec::new(),
            };
            let options = Options { namespace, ..crate::testing::options() };
            assert_eq!(is_bound(&sealed, &options), expected, "{object} {text}");
        }
    }
}
