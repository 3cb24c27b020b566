//! Ends: what every entry is and is to be, by both sides of a plan.
//!
//! In: what the decider comes to with base and revision. Out: for each entry that differs, its [`Fate`].
//! Never: takes an entry that waits for its wave for one that does not change; looks at what spokes report.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::Arc;

use nave_placement::assign::AppForm;
use nave_placement::overrides::Because;
use nave_placement::{AppKey, ClusterName};

use super::settle::Rest;
use crate::deciding::core::Decided;
use crate::deciding::granting::StayKind;
use crate::deciding::units::Units;
use crate::state::State;

/// What an entry is: many share a shape, few have one of their own.
#[derive(Clone, Debug)]
pub enum Form<'a> {
    /// As a side of the plan has it.
    Shape(&'a AppForm),
    /// With a share of replicas, or as it was told.
    Own(Arc<AppForm>),
}

impl Deref for Form<'_> {
    type Target = AppForm;
    fn deref(&self) -> &AppForm {
        match self {
            Self::Shape(form) => form,
            Self::Own(form) => form,
        }
    }
}

/// What happens to an entry.
#[derive(Clone, Debug)]
pub enum Fate<'a> {
    /// It comes.
    Gained(Form<'a>),
    /// It goes.
    Lost(Form<'a>),
    /// It becomes something else.
    Changed(Form<'a>, Form<'a>),
    /// What is on its way to the cluster does not come any more: it stays as it is, or away.
    Stays,
}

/// Entries that differ, by app and cluster.
pub type Fates<'a> = BTreeMap<&'a AppKey, BTreeMap<&'a ClusterName, Fate<'a>>>;

/// Finds them.
pub fn fates<'a>(base: &'a Rest, new: &'a Rest) -> Fates<'a> {
    let (before, after) = (End::of(base, &base.state), End::of(new, &base.state));
    let mut fates = Fates::new();
    let wanted = base.decided.wanted.keys().chain(new.decided.wanted.keys());
    let clusters: BTreeSet<&ClusterName> = wanted.chain(base.state.told.keys()).collect();
    for cluster in clusters {
        let apps = before.apps(cluster).chain(after.apps(cluster)).chain(let_go(base, new, cluster));
        for app in apps.collect::<BTreeSet<_>>() {
            if let Some(fate) = fate(&before, &after, app, cluster) {
                fates.entry(app).or_default().insert(cluster, fate);
            }
        }
    }
    fates
}

/// What a cluster is told no more: also what nobody wanted before, and a hold kept that is over now.
fn let_go<'a>(
    base: &'a Rest,
    new: &'a Rest,
    cluster: &ClusterName,
) -> impl Iterator<Item = &'a AppKey> + use<'a> {
    let told = |rest: &'a Rest| rest.state.told.get(cluster).map(|told| &told.assignment.entries);
    let now = told(new);
    let apps = told(base).into_iter().flat_map(|entries| entries.keys());
    apps.filter(move |app| now.is_none_or(|now| !now.contains_key(*app)))
}

fn fate<'a>(
    before: &End<'a>,
    after: &End<'a>,
    app: &'a AppKey,
    cluster: &'a ClusterName,
) -> Option<Fate<'a>> {
    let told = || before.told(app, cluster);
    match (before.wants(app, cluster), after.wants(app, cluster)) {
        (_, false) if after.is_renamed(app, cluster) => None,
        // What was not wanted before waits for an approval, or for the end of a pause, unless it goes now.
        (false, false) if after.has(app, cluster) => None,
        // What goes is what is there, also in the middle of a rollout.
        (_, false) => match told() {
            Some(form) => Some(Fate::Lost(form)),
            // What waited for a grant was on no way.
            None if before.is_beyond(app, cluster) => None,
            None => before.form(app, cluster).map(|_| Fate::Stays),
        },
        (_, true) => {
            let to = after.form(app, cluster)?;
            let is_same = |from: &Form<'_>| from.version == to.version;
            let meant = before.form(app, cluster).filter(|_| before.wants(app, cluster));
            let (was_beyond, is_beyond) = (before.is_beyond(app, cluster), after.is_beyond(app, cluster));
            if was_beyond && is_beyond && meant.as_ref().is_some_and(is_same) {
                return None;
            }
            // What is not granted did not come: what waits for a grant may come back to what is there.
            let without = meant.filter(|_| !was_beyond).or_else(told);
            if without.as_ref().is_some_and(is_same) {
                return None;
            }
            let former = || after.former(app, cluster).find_map(|old| before.told(old, cluster));
            match told().or_else(former) {
                None => Some(Fate::Gained(to)),
                Some(from) if is_same(&from) => Some(Fate::Stays),
                Some(from) => Some(Fate::Changed(from, to)),
            }
        }
    }
}

/// One side.
struct End<'a> {
    rest: &'a Rest,
    /// What clusters are told as long as nothing changes.
    state: &'a State,
    units: Units,
}

impl<'a> End<'a> {
    fn of(rest: &'a Rest, state: &'a State) -> Self {
        Self { rest, state, units: Units::of(&rest.revision.catalog) }
    }

    fn apps(&self, cluster: &ClusterName) -> impl Iterator<Item = &'a AppKey> + use<'a> {
        self.rest.decided.wanted.get(cluster).into_iter().flat_map(BTreeMap::keys)
    }

    fn wants(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        self.rest.decided.wanted.get(cluster).is_some_and(|apps| apps.contains_key(app))
    }

    /// What an entry is in the end. What nothing is known of stays as it was told.
    fn form(&self, app: &AppKey, cluster: &ClusterName) -> Option<Form<'a>> {
        let told = || self.told(app, cluster);
        if self.stays(app, cluster) {
            return told();
        }
        let decided = &self.rest.decided;
        let pinned = decided.shapes.because(app, cluster) == Some(Because::Pinned);
        let shapes = if pinned { &decided.shapes } else { &self.rest.shapes };
        let Some(form) = shapes.get(app, cluster) else { return told() };
        let share = decided.shares.get(cluster).and_then(|shares| shares.get(app));
        Some(share.map_or(Form::Shape(form), |share| Form::Own(Arc::new(form.with(share)))))
    }

    /// Whether an entry stays as it was told: its version is blocked, what it is pinned to is not known, or nothing is granted to its
    /// catalog there any more.
    fn stays(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        let course = self.rest.state.rollouts.get(self.units.lead(app));
        let is_blocked = course.is_some_and(|course| course.block.is_some() && course.current.is_none());
        let labels = || self.rest.decided.fleet.get(cluster).map(|candidate| &candidate.labels);
        let mut pins = self.rest.state.pins.values().filter(|pin| pin.app == *app);
        let is_pinned = pins.any(|pin| labels().is_some_and(|labels| pin.selector.matches(labels)));
        is_blocked
            || self.ungranted(app, cluster).is_some_and(|kind| kind != StayKind::Waits)
            || is_pinned && self.rest.decided.shapes.because(app, cluster) != Some(Because::Pinned)
    }

    /// Whether a change of an entry waits for a grant.
    fn is_beyond(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        self.ungranted(app, cluster) == Some(StayKind::Waits)
    }

    fn ungranted(&self, app: &AppKey, cluster: &ClusterName) -> Option<StayKind> {
        let Decided { withdrawn, beyond, .. } = &self.rest.decided;
        let key = (app.clone(), cluster.clone());
        withdrawn.get(&key).or_else(|| beyond.get(&key)).map(|stay| stay.kind)
    }

    /// Whether the cluster is told of it in the end.
    fn has(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        let told = self.rest.state.told.get(cluster);
        told.is_some_and(|told| told.assignment.entries.contains_key(app))
    }

    fn told(&self, app: &AppKey, cluster: &ClusterName) -> Option<Form<'a>> {
        let told = self.state.told.get(cluster)?;
        let entry = nave_proto::decode_entry(&told.assignment.entries.get(app)?.bytes).ok()?;
        Some(Form::Own(Arc::new(AppForm {
            bundle: entry.bundle,
            options: entry.options,
            version: entry.version,
            commit: entry.commit,
            source_at: entry.source_at,
            values: entry.values,
        })))
    }

    /// The names that an app had before, of those that the cluster has.
    fn former(&self, app: &AppKey, cluster: &ClusterName) -> impl Iterator<Item = &AppKey> {
        let told = self.state.told.get(cluster);
        let has = move |old: &&AppKey| told.is_some_and(|told| told.assignment.entries.contains_key(*old));
        self.rest.shapes.former(app).filter(has)
    }

    /// Whether an app goes on under another name.
    fn is_renamed(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        self.apps(cluster).any(|other| self.rest.shapes.former(other).any(|old| old == app))
    }
}
