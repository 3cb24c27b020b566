//! Claims: which app of the assignment an object belongs to.
//!
//! In: every entry's objects. Out: for every object the one app that holds it.
//! Never: lets an object fall through because its namespace is not known yet.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use nave_placement::render::Resolved;
use nave_placement::{AppKey, ObjectKey};

use super::{Unresolved, Wanted};

/// (group, kind, name): what is known of an object whose kind is not served, so that its namespace may still change.
type Loose<'a> = (&'a str, &'a str, &'a str);

fn loose(key: &ObjectKey) -> Loose<'_> {
    (&key.group, &key.kind, &key.name)
}

/// Who holds what. The first app by key holds what two claim.
#[derive(Clone, Debug, Default)]
pub struct Claims<'a> {
    exact: BTreeMap<&'a ObjectKey, (&'a AppKey, &'a Resolved)>,
    loose: BTreeMap<Loose<'a>, &'a AppKey>,
    unknown: Option<&'a AppKey>,
}

impl<'a> Claims<'a> {
    /// Gathers the claims of all entries.
    pub fn of(wanted: &'a BTreeMap<AppKey, Result<Wanted, Unresolved>>) -> Self {
        let mut claims = Self::default();
        for (app, wanted) in wanted {
            match wanted {
                Ok(wanted) => wanted.objects.iter().for_each(|object| claims.add(app, object)),
                Err(Unresolved {
                    claims: Some(keys), ..
                }) => {
                    keys.iter().for_each(|key| claims.add_loose(app, key));
                }
                Err(Unresolved { claims: None, .. }) => claims.unknown = claims.unknown.or(Some(app)),
            }
        }
        claims
    }

    fn add(&mut self, app: &'a AppKey, object: &'a Resolved) {
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
    pub fn held(&self, key: &ObjectKey) -> Option<(&'a AppKey, &'a Resolved)> {
        self.exact.get(key).copied()
    }

    /// An entry whose claims are not known; while there is one, any object may be claimed.
    pub fn unknown(&self) -> Option<&'a AppKey> {
        self.unknown
    }
}
