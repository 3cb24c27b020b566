//! Older: what apps were by earlier commits, where they have to be that again.
//!
//! In: pins, the versions that were rolled out last, their commits. Out: forms instead of the newest; what has to be read and
//! rendered first.
//! Never: takes a commit that cannot be read for one without the app: what it would be is then not known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::assign::AppForm;
use nave_placement::catalog::{self, Catalog, CommitId, LastGood, OnNewRevision, Remote, Sources, Tree};
use nave_placement::decide::Wanted;
use nave_placement::fleet::Fleet;
use nave_placement::guard::EntryKey;
use nave_placement::overrides::{self, Asking, Because, Form, Forms, Instead, Variant, judged};
use nave_placement::render::Bundle;
use nave_placement::rollout::{Basis, Phase};
use nave_placement::{AppKey, CatalogName, ClusterName};

use super::core::Bases;
use super::retrying::Unable;
use super::revision::{Asked, Content, Ground, Loader, Place, render};
use super::units::Units;
use crate::engines::Engines;
use crate::sources::Remotes;
use crate::state::State;
use crate::state::records::PinRecord;

/// Where the files of commits come from.
#[async_trait]
pub trait Trees: Content {
    /// The files of a commit; or why they cannot be told.
    async fn tree_of(&self, commit: &CommitId) -> Result<Tree, String>;
}

/// To what an app returns: a commit of its catalog, and what the remotes of its sources were then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The catalog.
    pub catalog: CatalogName,
    /// The commit.
    pub commit: CommitId,
    /// The remotes; one that is not named is taken as it is now.
    pub sources: Sources,
}

/// Catalogs of earlier commits, as far as somebody asked for them.
#[derive(Debug, Default)]
pub struct Olders(BTreeMap<At, Older>);

/// What is asked for: of each commit, variants of apps; none: its catalog.
pub type Wants = BTreeMap<At, Asked>;

/// Where the files of earlier commits come from.
#[derive(Clone, Copy)]
pub struct Grounds<'a> {
    /// Those of catalogs.
    pub trees: &'a dyn Trees,
    /// Where these stand.
    pub places: &'a Places,
    /// The root catalog, which is taken as it is now where a tenant's is an earlier one.
    pub root: &'a Catalog,
    /// Those of remotes.
    pub remotes: &'a dyn Remotes,
    /// In which states these are now.
    pub sources: &'a Sources,
}

/// Where each catalog stands in its repository.
pub type Places = BTreeMap<CatalogName, Place>;

#[derive(Debug)]
struct Older {
    catalog: Arc<Catalog>,
    tree: Tree,
    forms: Forms,
    asking: Asking,
    /// What was rendered, or could not be.
    tried: BTreeSet<(AppKey, Variant)>,
    /// The remotes that are taken as they are now, and the apps that name them.
    remotes: BTreeMap<Remote, BTreeSet<AppKey>>,
    /// Those of it that this machine could not render.
    unable: Unable,
    /// Those of it whose files were not at hand.
    awaiting: Unable,
    /// Why it cannot be read.
    problem: Option<String>,
}

/// What is something else than the catalog says.
#[derive(Debug, Default)]
pub struct Overlay {
    /// The entries.
    pub instead: Instead,
    /// Entries that are pinned to what is not known: they stay as they are.
    pub unknown: BTreeSet<EntryKey>,
    /// What each app is as a whole, with its pins.
    pub bases: Bases,
    /// What has to be brought first.
    pub wants: Wants,
    /// What cannot be as it was pinned, for people.
    pub problems: BTreeMap<AppKey, String>,
}

impl Olders {
    /// What an app was by a commit on these clusters, as far as that is known; what is not is wanted.
    pub fn at(
        &self,
        at: &At,
        app: &AppKey,
        clusters: &BTreeSet<ClusterName>,
        fleet: &Fleet,
        wants: &mut Wants,
    ) -> BTreeMap<ClusterName, Arc<AppForm>> {
        let Some(older) = self.0.get(at) else {
            wants.entry(at.clone()).or_default();
            return BTreeMap::new();
        };
        let shall = || BTreeMap::from([(app.clone(), BTreeSet::new())]);
        let wanted: Wanted = clusters.iter().map(|cluster| (cluster.clone(), shall())).collect();
        let mut needed = overrides::needed(&older.catalog, fleet, &wanted, &older.asking, &judged)
            .remove(app)
            .unwrap_or_default();
        needed.retain(|variant| !older.tried.contains(&(app.clone(), variant.clone())));
        if !needed.is_empty() {
            wants.entry(at.clone()).or_default().insert(app.clone(), needed);
        }
        let asking: Asking =
            older.asking.get(app).map(|asks| (app.clone(), asks.clone())).into_iter().collect();
        let forms: Forms =
            older.forms.get(app).map(|forms| (app.clone(), forms.clone())).into_iter().collect();
        let (shapes, _) = overrides::shapes(&older.catalog, fleet, &wanted, &forms, &asking, &judged);
        let form =
            |cluster: &ClusterName| Some((cluster.clone(), Arc::new(shapes.get(app, cluster)?.clone())));
        clusters.iter().filter_map(form).collect()
    }

    /// What an app was as a whole by a commit, once it is rendered.
    fn basis(&self, at: &At, app: &AppKey) -> Option<Basis> {
        let older = self.0.get(at)?;
        Some(Basis::of(&older.catalog, app, older.forms.get(app)?))
    }

    /// Why an app cannot be what it was by a commit.
    fn problem(&self, at: &At, app: &AppKey) -> Option<String> {
        let older = self.0.get(at)?;
        let said = |why: String| {
            Some(format!("it is pinned to commit {}, {why}; it stays as it is", at.commit.short()))
        };
        match &older.problem {
            Some(why) => said(format!("which cannot be read: {why}")),
            None if older.catalog.app_of(app).is_none() => said("which has no such app".to_owned()),
            None if older.tried.iter().any(|(of, _)| of == app) && !older.forms.contains_key(app) => {
                said("where it could not be rendered".to_owned())
            }
            None => None,
        }
    }

    /// Reads and renders what is wanted; gives the bundles.
    pub async fn bring(&mut self, grounds: Grounds<'_>, engines: &Engines, wants: Wants) -> Vec<Bundle> {
        let Grounds { trees, remotes, sources, .. } = grounds;
        let mut bundles = Vec::new();
        for (at, asked) in wants {
            let older = match self.0.remove(&at) {
                Some(older) => older,
                None => Older::read(grounds, &at).await,
            };
            let mut meant = sources.clone();
            meant.extend(at.sources.clone());
            let stated = at.sources.clone();
            let older = self.0.entry(at).or_insert(older);
            let (tree, sources) = (&older.tree, &meant);
            let ground = Ground { content: trees, tree, remotes, sources };
            let never = |_: &Form| false;
            let rendered = render(ground, engines, &older.catalog, &asked, &Forms::new(), &never).await;
            bundles.extend(rendered.bundles);
            for (remote, apps) in rendered.remotes {
                if !stated.contains_key(&remote.id()) {
                    older.remotes.entry(remote).or_default().extend(apps);
                }
            }
            older.unable.extend(rendered.unable);
            older.awaiting.extend(rendered.awaiting);
            for (app, variants) in rendered.forms {
                older.forms.entry(app).or_default().extend(variants);
            }
            for (app, variants) in rendered.asking {
                older.asking.entry(app).or_default().extend(variants);
            }
            let tried = asked
                .into_iter()
                .flat_map(|(app, variants)| variants.into_iter().map(move |variant| (app.clone(), variant)));
            older.tried.extend(tried);
        }
        bundles
    }

    /// The remotes that are taken as they are now, and by which apps. Whose state is known is asked by nobody.
    pub(super) fn remotes(&self) -> BTreeMap<Remote, BTreeSet<AppKey>> {
        let mut remotes = BTreeMap::<Remote, BTreeSet<AppKey>>::new();
        for (remote, apps) in self.0.values().flat_map(|older| &older.remotes) {
            remotes.entry(remote.clone()).or_default().extend(apps.iter().cloned());
        }
        remotes
    }

    /// What this machine could not render.
    pub(super) fn unable(&self) -> Unable {
        self.0.values().flat_map(|older| older.unable.iter().cloned()).collect()
    }

    /// Lets that be asked for anew.
    pub(super) fn try_again(&mut self) {
        for older in self.0.values_mut() {
            let (unable, awaiting) = (std::mem::take(&mut older.unable), std::mem::take(&mut older.awaiting));
            older.tried.retain(|tried| !unable.contains(tried) && !awaiting.contains(tried));
        }
    }

    /// The root catalog is another one: what tenants' apps were with it is read anew.
    pub(super) fn forget_tenants(&mut self, root: &CatalogName) {
        self.0.retain(|at, _| at.catalog == *root);
    }

    /// Forgets commits that nobody asks for any more.
    pub fn keep(&mut self, state: &State) {
        let pinned = state.pins.values().map(|pin| (&pin.commit, &pin.sources));
        let completed = state.rollouts.values().filter_map(|course| course.completed.as_ref());
        let completed = completed.map(|completed| (&completed.commit, &completed.sources));
        let planned = state.plans.values().map(|plan| (&plan.commit, &plan.sources));
        let used: BTreeSet<(&CommitId, &Sources)> = pinned.chain(completed).chain(planned).collect();
        // What could not be read is tried again.
        self.0.retain(|at, older| used.contains(&(&at.commit, &at.sources)) && older.problem.is_none());
    }
}

impl Older {
    async fn read(Grounds { trees, places, root, .. }: Grounds<'_>, at: &At) -> Self {
        let found = match places.get(&at.catalog) {
            Some(place) => trees.tree_of(&at.commit).await.map(|tree| (place.clone(), tree)),
            None => Err(format!("catalog {} is not at hand", at.catalog)),
        };
        let nowhere =
            || Place { name: at.catalog.clone(), directory: String::new(), is_root: false, configured: None };
        let ((place, tree), problem) = match found {
            Ok(found) => (found, None),
            Err(why) => ((nowhere(), Tree::new()), Some(why)),
        };
        let own = Loader::default().catalog(trees, &place, &at.commit, &tree, &LastGood::new()).await;
        let catalog = if place.is_root { own } else { catalog::join(root, [&own]) };
        let (forms, asking, catalog) = (Forms::new(), Asking::new(), Arc::new(catalog));
        let [tried, unable, awaiting] = [(); 3].map(|()| BTreeSet::new());
        let remotes = BTreeMap::new();
        Self { catalog, tree, forms, asking, tried, remotes, unable, awaiting, problem }
    }
}

/// Entries that are what they were by an earlier commit: because an operator pinned them, or because a rollout comes to its end
/// first.
pub fn overlay(
    state: &State,
    (bases, units): (&Bases, &Units),
    fleet: &Fleet,
    wanted: &Wanted,
    olders: &Olders,
) -> Overlay {
    let mut overlay = Overlay { bases: bases.clone(), ..Overlay::default() };
    let on = |app: &AppKey| {
        let clusters = wanted.iter().filter(|(_, apps)| apps.contains_key(app));
        clusters.map(|(cluster, _)| cluster.clone()).collect::<BTreeSet<ClusterName>>()
    };
    for (app, course) in &state.rollouts {
        let Some(progress) = course.current.as_ref().filter(|p| p.phase == Phase::Progressing) else {
            continue;
        };
        let plan = state.plans.get(&(app.clone(), progress.plan.as_str().to_owned()));
        let Some(plan) = plan.filter(|plan| plan.on_new_revision == OnNewRevision::Finish) else { continue };
        if units.basis(app, bases).is_none_or(|basis| plan.basis.is_same_version(&basis)) {
            continue;
        }
        let (catalog, commit) = (app.catalog.clone(), plan.commit.clone());
        let at = At { catalog, commit, sources: plan.sources.clone() };
        let (mut instead, mut known, mut all) = (Instead::new(), Vec::new(), 0);
        let is_group = units.members(app).len() > 1;
        for app in units.members(app) {
            // One that came to the group since is none of the plan's.
            let Some(basis) = plan.basis.member(app).or((!is_group).then_some(&plan.basis)) else { continue };
            let clusters = on(app);
            let forms = olders.at(&at, app, &clusters, fleet, &mut overlay.wants);
            all += clusters.len();
            known.push((app, basis));
            let form = |(cluster, form)| ((app.clone(), cluster), (form, Because::Meanwhile));
            instead.extend(forms.into_iter().map(form));
        }
        if instead.len() == all {
            overlay.bases.extend(known.into_iter().map(|(app, basis)| (app.clone(), basis.clone())));
            overlay.instead.extend(instead);
        }
    }
    let mut pins: Vec<&PinRecord> = state.pins.values().map(|pin| &*pin.record).collect();
    // Where two are for one entry the newer one counts.
    pins.sort_by_key(|pin| pin.at_ms);
    for pin in pins {
        let app = &pin.app;
        let is_meant = |cluster: &ClusterName| {
            fleet.get(cluster).is_some_and(|candidate| pin.selector.matches(&candidate.labels))
        };
        let clusters: BTreeSet<ClusterName> = on(app).into_iter().filter(is_meant).collect();
        let (catalog, commit) = (app.catalog.clone(), pin.commit.clone());
        let at = At { catalog, commit, sources: pin.sources.clone() };
        let forms = olders.at(&at, app, &clusters, fleet, &mut overlay.wants);
        if let Some(problem) = olders.problem(&at, app) {
            overlay.problems.insert(app.clone(), problem);
        }
        // All of it is that, whatever Git says meanwhile.
        if pin.selector.0.is_empty()
            && let Some(basis) = olders.basis(&at, app)
        {
            overlay.bases.insert(app.clone(), basis);
        }
        let unknown = clusters.iter().filter(|cluster| !forms.contains_key(*cluster));
        overlay.unknown.extend(unknown.map(|cluster| (app.clone(), cluster.clone())));
        overlay.instead.extend(
            forms.into_iter().map(|(cluster, form)| ((app.clone(), cluster), (form, Because::Pinned))),
        );
    }
    for (app, basis) in &mut overlay.bases {
        let pins = state.pins.range((app.clone(), String::new())..).take_while(|((of, _), _)| of == app);
        *basis =
            basis.pinned(pins.map(|((_, id), pin)| (id.clone(), (pin.commit.clone(), pin.sources.clone()))));
    }
    overlay
}
