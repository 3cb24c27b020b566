//! Kept: what a step leaves for the next one, which looks only at what changed since.
//!
//! In: a revision, the fleet, what is remembered. Out: the engine, brought up to date; what apps are as a whole.
//! Never: keeps anything that a new hub would need: without it a step comes to the same, and history may name one commit for another.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::AppKey;
use nave_placement::catalog::Catalog;
use nave_placement::decide::{Engine, Memory, Work};
use nave_placement::fleet::Fleet;
use nave_placement::overrides::{Form, Variant};
use nave_placement::rollout::Basis;

use super::core::Revision;
use super::granting::Grants;

/// The engine of the steps before: the next one looks only at what changed since. A new one decides the same.
#[derive(Default)]
pub struct Kept {
    engine: Option<(Arc<Catalog>, Engine)>,
    /// What each app is as a whole, by which catalog and so many forms.
    bases: Option<(Arc<Catalog>, usize, Arc<Bases>)>,
    /// What waited for a grant.
    pub grants: Grants,
}

/// What each app is as a whole.
pub type Bases = BTreeMap<AppKey, Basis>;

impl Kept {
    /// The engine, brought up to date. Another revision makes a new one, which forgets what no rule says any more.
    pub fn engine(&mut self, catalog: &Arc<Catalog>, fleet: &Fleet, remembered: &Memory) -> &mut Engine {
        match self.engine.take().filter(|(of, _)| Arc::ptr_eq(of, catalog)) {
            Some((_, mut engine)) => {
                engine.refresh(fleet, remembered);
                &mut self.engine.insert((catalog.clone(), engine)).1
            }
            None => &mut self.engine.insert((catalog.clone(), Engine::of(catalog, fleet, remembered))).1,
        }
    }

    /// What its engine has done.
    pub fn work(&self) -> Work {
        self.engine.as_ref().map(|(_, engine)| engine.work()).unwrap_or_default()
    }

    /// Forms of the catalog are made anew.
    pub fn forget_bases(&mut self) {
        self.bases = None;
    }

    /// What each app is as a whole. Of one catalog forms are only added, or made anew.
    pub fn bases(&mut self, revision: &Revision) -> Arc<Bases> {
        let forms = revision.forms.values().map(BTreeMap::len).sum();
        if let Some((of, count, bases)) = &self.bases
            && Arc::ptr_eq(of, &revision.catalog)
            && *count == forms
        {
            return bases.clone();
        }
        let basis = |(app, variants): (&AppKey, &BTreeMap<Variant, Form>)| {
            (app.clone(), Basis::of(&revision.catalog, app, variants))
        };
        let bases = Arc::new(revision.forms.iter().map(basis).collect());
        self.bases = Some((revision.catalog.clone(), forms, Arc::clone(&bases)));
        bases
    }
}
