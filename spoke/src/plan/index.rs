//! Index: what every entry claims, without its objects: so much is held of each at all times.
//!
//! In: an entry's objects, or why they are not known. Out: a [`Claimed`]: keys, scopes, digests.
//! Never: holds an object's content.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::Entry;
use nave_placement::render::{Scope, Scopes};
use nave_placement::{AppKey, Digest, ObjectKey};
use serde_json::Value;

use super::{Unresolved, Wanted};

/// What every entry of the assignment claims.
pub type Index = BTreeMap<AppKey, Claimed>;

/// What one entry claims.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claimed {
    /// The names that the app had before.
    pub formerly: BTreeSet<AppKey>,
    /// Its objects; of an entry that cannot be resolved, what it claims at least. `None`: not known, which stops every
    /// removal on the cluster.
    pub objects: Option<Vec<ClaimedObject>>,
    /// It is a tenant's: what the root's claim too is none of it where neither has it yet.
    pub is_tenants: bool,
    /// The entry was resolved: `objects` is all that it wants, under the keys that it wants them.
    pub resolved: bool,
}

/// One object that an entry claims.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedObject {
    /// Which.
    pub key: ObjectKey,
    /// In which version of its kind it is written.
    pub api_version: String,
    /// Its kind is served, so that its namespace is known.
    pub served: bool,
    /// Digest of the object; of one that could not be resolved, nothing.
    pub digest: Digest,
}

/// The digest of an object, by which two are told to be the same.
pub(crate) fn digest(object: &Value) -> Digest {
    Digest::of(object.to_string().as_bytes())
}

impl Claimed {
    /// What an entry claims.
    pub fn of(wanted: &Result<Wanted, Unresolved>) -> Self {
        let formerly = |entry: &Entry| entry.options.formerly.clone();
        let is_tenants = |entry: &Entry| entry.options.grant.is_some();
        match wanted {
            Ok(wanted) => {
                let objects = wanted.objects.iter().map(|object| ClaimedObject {
                    key: object.key.clone(),
                    api_version: object.object["apiVersion"].as_str().unwrap_or_default().to_owned(),
                    served: object.served,
                    digest: digest(&object.object),
                });
                let objects = Some(objects.collect());
                let (formerly, is_tenants) = (formerly(&wanted.entry), is_tenants(&wanted.entry));
                Self { formerly, objects, is_tenants, resolved: true }
            }
            Err(unresolved) => {
                let claimed = |key: &ObjectKey| ClaimedObject {
                    key: key.clone(),
                    api_version: String::new(),
                    served: false,
                    digest: Digest::default(),
                };
                Self {
                    formerly: unresolved.entry.as_deref().map(formerly).unwrap_or_default(),
                    objects: unresolved.claims.as_ref().map(|keys| keys.iter().map(claimed).collect()),
                    is_tenants: unresolved.entry.as_deref().is_some_and(is_tenants),
                    resolved: false,
                }
            }
        }
    }

    /// Whether the entry could still turn out to want the object: it is not resolved.
    pub fn may_want(&self, key: &ObjectKey) -> bool {
        let same = |k: &ObjectKey| (&k.group, &k.kind, &k.name) == (&key.group, &key.kind, &key.name);
        !self.resolved && self.objects.as_ref().is_none_or(|objects| objects.iter().any(|o| same(&o.key)))
    }

    /// Whether it still says the same under these scopes.
    pub fn holds_under(&self, scopes: &dyn Scopes) -> bool {
        let same = |object: &ClaimedObject| match scopes.scope(&object.key.group, &object.key.kind) {
            None => !object.served,
            Some(scope) => object.served && (scope == Scope::Cluster) == object.key.namespace.is_empty(),
        };
        self.resolved && self.objects.iter().flatten().all(same)
    }
}
