//! Aims: what placements divide the replicas of, where there is no such object.
//!
//! In: a catalog, the forms of its apps, the objects of bundles. Out: a problem for each app that a placement misses.
//! Never: speaks of an app that could not be rendered, or of an object whose name each cluster fills in for itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Catalog, Problem};
use crate::overrides::template::Values;
use crate::overrides::{Form, Forms};
use crate::render::effective_objects;
use crate::{Digest, ObjectKey, decide};

/// The apps of which a placement divides the replicas of an object that they do not have: what was divided there stays.
pub fn missed(
    catalog: &Catalog,
    forms: &Forms,
    objects: impl Fn(&Digest) -> Option<Arc<BTreeSet<ObjectKey>>>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (effective, placement) in catalog.placements() {
        let Some(replicas) = &placement.replicas else { continue };
        for app in decide::apps(catalog, &placement.apps) {
            let misses = |form: &Form| {
                let objects = objects(&form.bundle)?;
                let objects = effective_objects(&objects, &form.options, &Values::new());
                let may_be = |key: &ObjectKey| {
                    let is_filled =
                        form.options.substitute && format!("{}{}", key.namespace, key.name).contains("${");
                    let is_kind = replicas.target.kind.as_ref().is_none_or(|kind| *kind == key.kind);
                    replicas.target.matches(key) || is_filled && is_kind
                };
                Some(!objects.iter().any(may_be))
            };
            let mut variants = forms.get(&app).into_iter().flatten();
            if let Some((variant, _)) = variants.find(|(_, form)| misses(form) == Some(true)) {
                let object = &effective.object;
                let by = match variant.as_str() {
                    "" => String::new(),
                    overrides => format!(" as {overrides} makes it"),
                };
                let message = format!(
                    "spec.replicas.target is no object of App/{}{by}, so its replicas stay as they are; name an object that has replicas, or select other apps",
                    app.name()
                );
                problems.push(Problem::at(&object.origin, message).of(Some(&object.id)));
            }
        }
    }
    problems
}
