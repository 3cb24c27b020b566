//! Staying: what has to stay with an entry that stays as it is.
//!
//! In: one cluster's entries and what they are to become. Out: apps that would change, apps that hand objects over.
//! Never: lets go an object that somebody is to take who may not take it yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Codec, Options, ShareOut, Told};
use nave_placement::overrides::Shapes;
use nave_placement::overrides::template::Values;
use nave_placement::render::effective_objects;
use nave_placement::{AppKey, ClusterName, Digest, ObjectKey};

/// One cluster.
pub struct OfCluster<'a> {
    /// Its name.
    pub cluster: &'a ClusterName,
    /// What it was told.
    pub told: &'a Told,
    /// What it shall run.
    pub shall: Option<&'a BTreeMap<AppKey, BTreeSet<Arc<str>>>>,
    /// What every app is.
    pub shapes: &'a Shapes,
    /// Replicas that placements divide.
    pub shares: &'a ShareOut,
    /// Reads entries.
    pub codec: &'a dyn Codec,
}

impl<'a> OfCluster<'a> {
    fn wants(&self, app: &AppKey) -> bool {
        self.shall.is_some_and(|apps| apps.contains_key(app))
    }

    /// Apps that it shall run or was told to.
    pub fn apps(&self) -> BTreeSet<&'a AppKey> {
        let shall = self.shall.into_iter().flat_map(|apps| apps.keys());
        shall.chain(self.told.assignment.entries.keys()).collect()
    }

    /// Former names that an app goes on for. A name that somebody else has now is that one's.
    pub fn former(&self, app: &AppKey) -> impl Iterator<Item = &'a AppKey> {
        self.shapes.former(app).filter(|old| !self.wants(old))
    }

    /// The app that goes on for a name.
    fn successor(&self, app: &AppKey) -> Option<&'a AppKey> {
        let wanted = self.shall.into_iter().flat_map(|apps| apps.keys());
        wanted.into_iter().find(|new| self.former(new).any(|old| old == app))
    }

    /// Whether an app comes back that is on its way out: that takes a removal back, and changes nothing.
    pub fn comes_back(&self, app: &AppKey) -> bool {
        let leaving = &self.told.assignment.leaving;
        leaving.contains_key(app) || self.former(app).any(|old| leaving.contains_key(old))
    }

    /// Adds those whose objects one that stays is to take over: they would let go what nobody takes.
    pub fn with_who_hands_over<R: Copy>(&self, stays: &mut BTreeMap<&'a AppKey, R>) {
        let mut open: Vec<&AppKey> = stays.keys().copied().collect();
        while let Some(app) = open.pop() {
            let comes = self.comes(app);
            if comes.is_empty() {
                continue;
            }
            for other in self.apps().into_iter().filter(|other| !self.comes_back(other)) {
                if self.present(other).is_disjoint(&comes) {
                    continue;
                }
                // Under its other name, if it goes on under one.
                let name = self.successor(other).unwrap_or(other);
                if name != app && !stays.contains_key(name) {
                    stays.insert(name, stays[app]);
                    open.push(name);
                }
            }
        }
    }

    /// Objects that an app is to have and was not told to.
    fn comes(&self, app: &AppKey) -> BTreeSet<ObjectKey> {
        let entry = self.told.assignment.entries.get(app).and_then(|entry| self.codec.decode(entry));
        let form = self.shapes.get(app, self.cluster).filter(|_| self.wants(app));
        // Most changes are of what objects say, not of which there are.
        if let (Some(entry), Some(form)) = (&entry, form)
            && entry.options.namespace == form.options.namespace
            && entry.values == form.values
            && self.codec.objects(&entry.bundle) == self.codec.objects(&form.bundle)
        {
            return BTreeSet::new();
        }
        self.coming(app).difference(&self.present(app)).cloned().collect()
    }

    /// Objects that an app was told to have.
    fn present(&self, app: &AppKey) -> BTreeSet<ObjectKey> {
        let entry = self.told.assignment.entries.get(app).and_then(|entry| self.codec.decode(entry));
        entry.map(|entry| self.objects(&entry.bundle, &entry.options, &entry.values)).unwrap_or_default()
    }

    /// Objects that it is to have.
    fn coming(&self, app: &AppKey) -> BTreeSet<ObjectKey> {
        let form = self.shapes.get(app, self.cluster).filter(|_| self.wants(app));
        form.map(|form| self.objects(&form.bundle, &form.options, &form.values)).unwrap_or_default()
    }

    fn objects(&self, bundle: &Digest, options: &Options, values: &Values) -> BTreeSet<ObjectKey> {
        let objects = self.codec.objects(bundle);
        objects.map(|objects| effective_objects(&objects, options, values)).unwrap_or_default()
    }

    /// Whether it would change, come or leave.
    pub fn changes(&self, app: &AppKey) -> bool {
        let share = self.shares.get(self.cluster).and_then(|shares| shares.get(app));
        let form = self.shapes.get(app, self.cluster);
        let version = form.map(|form| share.map_or(form.version, |share| form.with(share).version));
        let entry = self.told.assignment.entries.get(app);
        match (entry.map(|entry| self.codec.decode(entry).map(|entry| entry.version)), self.wants(app)) {
            (Some(entry), true) => version.is_some() && entry != version,
            (None, true) => version.is_some(),
            // One that goes on under another name says so under that.
            (Some(_), false) => self.successor(app).is_none(),
            (None, false) => false,
        }
    }
}
