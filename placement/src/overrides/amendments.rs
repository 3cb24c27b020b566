//! Amendments: what the overrides of one variant do to an app's manifests.
//!
//! In: an app's overrides, in order. Out: one list of changes with their origins, which is part of the recipe.
//! Never: has an order of its own: overrides by priority, in each the patches as they are written, then its images, as in kustomize.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::variants::Named;
use super::{Change, Image};
use crate::Digest;
use crate::catalog::{Catalog, ObjectId, Origin, Patch, PatchTarget, Problem, Source, Sourced};
use crate::digest::Digester;

/// One change, for the objects that it targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Amendment {
    /// The override.
    pub by: ObjectId,
    /// Where it stands.
    pub origin: Origin,
    /// Which objects.
    pub target: PatchTarget,
    /// What is done.
    pub change: Change,
    /// The override means this app alone, so a change that finds nothing to change is an error.
    pub is_meant: bool,
}

/// All changes of one variant, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amendments {
    /// What overrides say of where the manifests come from, the weakest first.
    pub sources: Vec<Sourced>,
    /// The changes. Those of images come behind the patches of their override, and before those of the next.
    pub changes: Vec<Amendment>,
}

/// What the recipe has of a change: not where it stands.
#[derive(Serialize)]
struct Ingredient<'a> {
    target: &'a PatchTarget,
    change: &'a Change,
}

impl Amendments {
    /// Where the manifests of an app come from with them.
    ///
    /// # Errors
    /// An override changes a source of another kind than the app has, with its place.
    pub fn source(&self, app: &Arc<str>, source: &Source) -> Result<Source, Problem> {
        self.sources.iter().try_fold(source.clone(), |below, Sourced { by, origin, change }| {
            below.with(app, change).map_err(|error| Problem::at(origin, error.to_string()).of(Some(by)))
        })
    }

    /// The source's digest with what is done to it.
    pub fn digest(&self, source: Digest) -> Digest {
        if self.changes.is_empty() {
            return source;
        }
        let changes: Vec<Ingredient<'_>> =
            self.changes.iter().map(|a| Ingredient { target: &a.target, change: &a.change }).collect();
        let json = serde_json::to_vec(&changes).expect("changes always serialize");
        Digester::new("nave.amended.v2").field(&source.0).field(&json).finish()
    }
}

/// What some overrides, the weakest first, do to an app.
pub fn amendments(catalog: &Catalog, overrides: &[Named<'_>]) -> Amendments {
    let mut all = Amendments::default();
    for (effective, spec) in overrides {
        let object = &effective.object;
        let is_meant = catalog.apps().filter(|(app, _)| spec.apps.selects(&app.object)).count() == 1;
        all.sources.extend(spec.source.iter().map(|change| Sourced {
            by: object.id.clone(),
            origin: object.origin.clone(),
            change: change.clone(),
        }));
        all.changes.extend(spec.patches.iter().map(|Patch { target, change, position }| Amendment {
            by: object.id.clone(),
            origin: Origin { file: object.origin.file.clone(), line: position.line, column: position.column },
            target: target.clone(),
            change: change.clone(),
            is_meant,
        }));
        all.changes.extend(images(&spec.images).map(|change| Amendment {
            by: object.id.clone(),
            origin: object.origin.clone(),
            target: PatchTarget::default(),
            change,
            is_meant,
        }));
    }
    all
}

/// The rules of one override, one for each name.
fn images(images: &[Image]) -> Option<Change> {
    let mut rules: BTreeMap<&str, Image> = BTreeMap::new();
    for image in images {
        let rule = stacked(rules.get(&*image.name), image);
        rules.insert(&image.name, rule);
    }
    (!rules.is_empty()).then(|| Change::Images(rules.into_values().collect()))
}

/// A rule over an earlier one: a tag or a digest replaces both, a name that is not given stays.
fn stacked(below: Option<&Image>, image: &Image) -> Image {
    let Some(below) = below else { return image.clone() };
    let mut rule = image.clone();
    rule.new_name = rule.new_name.or_else(|| below.new_name.clone());
    if rule.new_tag.is_none() && rule.digest.is_none() {
        rule.new_tag.clone_from(&below.new_tag);
        rule.digest.clone_from(&below.digest);
    }
    rule
}
