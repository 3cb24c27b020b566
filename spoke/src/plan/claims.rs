//! Claims: which app of the assignment an object belongs to, and which inventories it stands in.
//!
//! In: every entry's objects, every inventory. Out: for every object the one app that holds it, and those that list it.
//! Never: lets an object fall through because its namespace is not known yet.

use std::collections::BTreeMap;

use nave_placement::{AppKey, ObjectKey};

use super::{ClaimedObject, Index, holds};
use crate::target::Inventory;

/// (group, kind, name): what is known of an object whose kind is not served, so that its namespace may still change.
type Loose<'a> = (&'a str, &'a str, &'a str);

fn loose(key: &ObjectKey) -> Loose<'_> {
    (&key.group, &key.kind, &key.name)
}

/// What an app without an entry is called now; the first by key, where two say so.
pub fn successor<'a>(index: &'a Index, app: &AppKey) -> Option<&'a AppKey> {
    let mut successors = index.iter().filter(|(_, claimed)| claimed.formerly.contains(app));
    successors.next().map(|(now, _)| now).filter(|_| !index.contains_key(app))
}

/// Who holds what. What two claim holds the one in whose inventory it stands, or else the first by key, tenants' apps last: nobody takes an
/// object by its name from an app that runs it.
#[derive(Clone, Debug, Default)]
pub struct Claims<'a> {
    exact: BTreeMap<&'a ObjectKey, (&'a AppKey, &'a ClaimedObject)>,
    loose: BTreeMap<Loose<'a>, (&'a AppKey, &'a ObjectKey)>,
    listed: BTreeMap<&'a ObjectKey, Vec<&'a AppKey>>,
    renamed: BTreeMap<&'a AppKey, &'a AppKey>,
    unknown: Option<&'a AppKey>,
}

impl<'a> Claims<'a> {
    /// Gathers the claims of all entries.
    pub fn of(index: &'a Index, inventories: &'a BTreeMap<AppKey, Inventory>) -> Self {
        let mut claims = Self::default();
        for (app, inventory) in inventories {
            for key in &inventory.objects {
                claims.listed.entry(key).or_default().push(app);
            }
        }
        for (app, claimed) in index {
            for former in claimed.formerly.iter().filter(|former| !index.contains_key(former)) {
                claims.renamed.entry(former).or_insert(app);
            }
        }
        // What a tenant claims comes last.
        let roots = index.iter().filter(|(_, claimed)| !claimed.is_tenants);
        let tenants = index.iter().filter(|(_, claimed)| claimed.is_tenants);
        for (app, claimed) in roots.chain(tenants) {
            match &claimed.objects {
                Some(objects) => objects.iter().for_each(|object| claims.add(app, object)),
                None => claims.unknown = claims.unknown.or(Some(app)),
            }
        }
        claims
    }

    fn add(&mut self, app: &'a AppKey, object: &'a ClaimedObject) {
        if !object.served {
            return self.add_loose(app, &object.key);
        }
        let (listed, renamed) = (&self.listed, &self.renamed);
        let has = |app: &AppKey| {
            let mut listing = listed.get(&object.key).into_iter().flatten();
            listing.any(|has| *has == app || renamed.get(has).is_some_and(|now| *now == app))
        };
        let holder = self.exact.entry(&object.key).or_insert((app, object));
        if holder.0 != app && has(app) && !has(holder.0) {
            *holder = (app, object);
        }
    }

    fn add_loose(&mut self, app: &'a AppKey, key: &'a ObjectKey) {
        self.loose.entry(loose(key)).or_insert((app, key));
    }

    /// The app that holds an object.
    pub fn holder(&self, key: &ObjectKey) -> Option<&'a AppKey> {
        let loosely = || self.loose.get(&loose(key)).map(|(app, _)| *app);
        self.exact.get(key).map(|(app, _)| *app).or_else(loosely)
    }

    /// What the holder of an object wants it to be.
    pub fn held(&self, key: &ObjectKey) -> Option<(&'a AppKey, &'a ClaimedObject)> {
        self.exact.get(key).copied()
    }

    /// Every app that is to hand an object over, and the app that it is handed to.
    pub fn moves(&self) -> impl Iterator<Item = (&'a AppKey, &'a AppKey)> {
        self.listed.iter().flat_map(|(key, apps)| {
            let holder = self.holder(key);
            apps.iter().filter_map(move |from| holder.filter(|to| to != from).map(|to| (*from, to)))
        })
    }

    /// The apps in whose inventories an object stands, and the one that claims it.
    pub fn concerned(&self, key: &ObjectKey) -> impl Iterator<Item = &'a AppKey> {
        self.listed.get(key).into_iter().flatten().copied().chain(self.holder(key))
    }

    /// Whether more would go with an object than an app has: somebody claims, or another app lists, what is in that
    /// namespace or of that definition.
    pub fn is_needed(&self, of: &AppKey, key: &ObjectKey) -> bool {
        let claimed = self.exact.keys().chain(self.loose.values().map(|(_, key)| key));
        let mut listed = self.listed.iter().filter(|(_, apps)| apps.iter().any(|app| *app != of));
        claimed.into_iter().any(|inner| holds(key, inner)) || listed.any(|(inner, _)| holds(key, inner))
    }

    /// Another app in whose inventory an object stands.
    pub fn elsewhere(&self, app: &AppKey, key: &ObjectKey) -> Option<&'a AppKey> {
        self.listed.get(key).into_iter().flatten().copied().find(|other| *other != app)
    }

    /// What an app without an entry is called now; the first by key, where two say so.
    pub fn successor(&self, app: &AppKey) -> Option<&'a AppKey> {
        self.renamed.get(app).copied()
    }

    /// An entry whose claims are not known; while there is one, any object may be claimed.
    pub fn unknown(&self) -> Option<&'a AppKey> {
        self.unknown
    }
}
