//! Claims: which app of the assignment an object belongs to, and which inventories it stands in.
//!
//! In: every entry's objects, every inventory. Out: for every object the one app that holds it, and those that list it.
//! Never: lets an object fall through because its namespace is not known yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use nave_placement::{AppKey, ObjectKey};

use super::{ClaimedObject, Index};
use crate::target::Inventory;

/// (group, kind, name): what is known of an object whose kind is not served, so that its namespace may still change.
type Loose<'a> = (&'a str, &'a str, &'a str);

fn loose(key: &ObjectKey) -> Loose<'_> {
    (&key.group, &key.kind, &key.name)
}

/// Who holds what. The first app by key holds what two claim.
#[derive(Clone, Debug, Default)]
pub struct Claims<'a> {
    exact: BTreeMap<&'a ObjectKey, (&'a AppKey, &'a ClaimedObject)>,
    loose: BTreeMap<Loose<'a>, &'a AppKey>,
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
        if let Slot::Vacant(slot) = self.exact.entry(&object.key) {
            slot.insert((app, object));
        }
    }

    fn add_loose(&mut self, app: &'a AppKey, key: &'a ObjectKey) {
        self.loose.entry(loose(key)).or_insert(app);
    }

    /// The app that holds an object.
    pub fn holder(&self, key: &ObjectKey) -> Option<&'a AppKey> {
        let loosely = || self.loose.get(&loose(key)).copied();
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
