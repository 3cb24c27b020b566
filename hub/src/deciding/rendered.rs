//! Rendered: variants of apps, rendered from the files of their catalogs.
//!
//! In: a catalog, which variants are wanted, the forms in effect. Out: the forms of these, and bundles that are new.
//! Never: renders a variant whose recipe is as it was, or for each cluster anew; lets one app that is wrong cost the others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use nave_placement::catalog::{Catalog, Problem, Remote, Sources, Tree, What};
use nave_placement::overrides::{Asking, Form, Forms, Variant};
use nave_placement::render::Bundle;
use nave_placement::{AppKey, CatalogName};

use super::asking::{first_commit, last_asked};
use super::retrying::Unable;
use super::revision::{Content, Recipe};
use crate::engines::Engines;
use crate::sources::Remotes;

/// The variants of apps that are asked for.
pub type Asked = BTreeMap<AppKey, BTreeSet<Variant>>;

/// What variants are rendered from.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The content of the files of the catalog's commit.
    pub content: &'a dyn Content,
    /// These files.
    pub tree: &'a Tree,
    /// Files that are elsewhere.
    pub remotes: &'a dyn Remotes,
    /// In which state these are meant, as far as that was said.
    pub sources: &'a Sources,
}

/// What variants of apps of several catalogs are rendered from.
pub struct Files<'a> {
    /// The content of files, of whichever catalog they are.
    pub content: &'a dyn Content,
    /// The files of each catalog's commit.
    pub trees: BTreeMap<&'a CatalogName, &'a Tree>,
    /// Files that are elsewhere.
    pub remotes: &'a dyn Remotes,
    /// In which state these are meant, as far as that was said.
    pub sources: &'a Sources,
}

/// What came of rendering variants.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The form of each variant that is in effect.
    pub forms: Forms,
    /// What charts ask of clusters, of the variants without answers that were asked for. What clusters answer has to be asked for.
    pub asking: Asking,
    /// Bundles that are new.
    pub bundles: Vec<Bundle>,
    /// Why variants of an app could not be rendered; they stay in their last good form. And warnings about those that were.
    pub problems: BTreeMap<AppKey, Vec<Problem>>,
    /// The remotes that are named, and the apps that do.
    pub remotes: BTreeMap<Remote, BTreeSet<AppKey>>,
    /// Variants that this machine could not render; another time it may.
    pub unable: Unable,
    /// Variants whose files are elsewhere and not at hand; they are once somebody answers.
    pub awaiting: Unable,
    /// Variants that were rendered: a work counter.
    pub variants_rendered: u64,
}

impl Rendered {
    /// With what came of other apps.
    pub fn add(&mut self, others: Self) {
        self.forms.extend(others.forms);
        self.asking.extend(others.asking);
        self.bundles.extend(others.bundles);
        self.problems.extend(others.problems);
        for (remote, apps) in others.remotes {
            self.remotes.entry(remote).or_default().extend(apps);
        }
        self.unable.extend(others.unable);
        self.awaiting.extend(others.awaiting);
        self.variants_rendered += others.variants_rendered;
    }
}

/// Renders the variants whose recipe differs from the form in effect, or whose bundle is not at hand.
pub async fn render(
    ground: Ground<'_>,
    engines: &Engines,
    catalog: &Catalog,
    asked: &Asked,
    in_effect: &Forms,
    at_hand: &(dyn Fn(&Form) -> bool + Sync),
) -> Rendered {
    let mut rendered = Rendered::default();
    for (key, variants) in asked {
        let Some((effective, app)) = catalog.app_of(key) else { continue };
        let mut is_over = false;
        let mut problems = Vec::new();
        for variant in variants {
            let before = in_effect.get(key).and_then(|variants| variants.get(variant));
            // One that broke a limit cost all of it; its app's other variants are not to cost the other apps as much again.
            let engines = Some(engines).filter(|_| !is_over);
            let recipe = Recipe::of(catalog, key, effective, app, variant);
            let source = recipe.source().ok();
            let is_chart = source.is_some_and(|source| matches!(source.what, What::Helm(_)));
            if is_chart && !variant.has_answers() {
                let forms = in_effect.get(key);
                let asks = match Box::pin(recipe.asks(ground, forms)).await {
                    // Why it cannot be told is told when it is rendered, or tried to.
                    Err(_) if before.is_none() => last_asked(forms, variant),
                    asks => asks.ok(),
                };
                recipe.tell(key, &mut rendered.remotes);
                if let Some(asks) = asks.filter(|asks| !asks.is_nothing()) {
                    rendered.asking.entry(key.clone()).or_default().insert(variant.clone(), asks);
                    continue;
                }
            }
            let outcome = recipe.render(ground, engines, before.filter(|form| at_hand(form)));
            let outcome = Box::pin(outcome).await;
            recipe.tell(key, &mut rendered.remotes);
            is_over |= recipe.broke_a_limit.load(Ordering::Relaxed);
            let form = match outcome {
                Ok((mut form, bundle, warnings)) => {
                    form.commit = first_commit(in_effect.get(key), &form);
                    problems.extend(warnings);
                    rendered.variants_rendered += u64::from(bundle.is_some());
                    rendered.bundles.extend(bundle);
                    Some(form)
                }
                Err(told) => {
                    if recipe.is_of_machine() {
                        rendered.unable.insert((key.clone(), variant.clone()));
                    }
                    if recipe.is_awaiting() {
                        rendered.awaiting.insert((key.clone(), variant.clone()));
                    }
                    problems.extend(told);
                    before.map(|form| Form { is_stale: true, ..form.clone() })
                }
            };
            if let Some(form) = form {
                rendered.forms.entry(key.clone()).or_default().insert(variant.clone(), form);
            }
        }
        if !problems.is_empty() {
            // What its files are called in its own repository.
            if let Some(catalog) = effective.object.id.tenant() {
                let of = format!("{catalog}:");
                for problem in problems.iter_mut().filter(|problem| !problem.file.starts_with(&of)) {
                    problem.file = format!("{of}{}", problem.file).into();
                }
            }
            rendered.problems.insert(key.clone(), problems);
        }
    }
    rendered
}

/// The same for apps of several catalogs. One whose files are not at hand is left out.
pub async fn render_all(
    files: &Files<'_>,
    engines: &Engines,
    catalog: &Catalog,
    asked: &Asked,
    in_effect: &Forms,
    at_hand: &(dyn Fn(&Form) -> bool + Sync),
) -> Rendered {
    let mut by_catalog: BTreeMap<&CatalogName, Asked> = BTreeMap::new();
    for (app, variants) in asked {
        by_catalog.entry(&app.catalog).or_default().insert(app.clone(), variants.clone());
    }
    let mut all = Rendered::default();
    for (name, asked) in by_catalog {
        let Some(tree) = files.trees.get(name) else { continue };
        let Files { content, remotes, sources, .. } = *files;
        let ground = Ground { content, tree, remotes, sources };
        all.add(Box::pin(render(ground, engines, catalog, &asked, in_effect, at_hand)).await);
    }
    all
}
