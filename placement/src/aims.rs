//! Aims: what placements divide the replicas of, where there is no such object.
//!
//! In: a catalog, the forms of its apps, the objects of bundles. Out: a problem for each app that a placement misses.
//! Never: speaks of an app that could not be rendered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::assign::AppForm;
use crate::catalog::{Catalog, Problem};
use crate::render::effective_objects;
use crate::{AppKey, Digest, ObjectKey, decide};

/// The apps of which a placement divides the replicas of an object that they do not have: nothing is divided there.
pub fn missed(
    catalog: &Catalog,
    forms: &BTreeMap<AppKey, AppForm>,
    objects: impl Fn(&Digest) -> Option<Arc<BTreeSet<ObjectKey>>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (effective, placement) in catalog.placements() {
        let Some(replicas) = &placement.replicas else { continue };
        for app in decide::apps(catalog, &placement.apps) {
            let form = forms.get(&app).and_then(|form| Some((form, objects(&form.bundle)?)));
            let Some((form, objects)) = form else { continue };
            let objects = effective_objects(&objects, &form.options);
            if !objects.iter().any(|key| replicas.target.matches(key)) {
                let object = &effective.object;
                let message = format!(
                    "spec.replicas.target is no object of App/{}, so its replicas stay as its manifests say; name an object that has replicas, or select other apps",
                    app.name()
                );
                problems.push(Problem::at(&object.origin, message).of(Some(&object.id)));
            }
        }
    }
    problems
}
