//! Depending: changes that wait for apps on other clusters, and the rules that spokes keep to by themselves.
//!
//! In: the catalog's dependencies and groups, what clusters run and reported, what was rolled out to its end. Out: entries that stay
//! as they are until then; each cluster's rules. Never: waits again for what was met once, because it fell sick since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{AllRules, Codec, EncodedRelations, EncodedSchedule, Member, ShareOut};
use nave_placement::catalog::{Catalog, IfAbsent, Problem, Until};
use nave_placement::decide::Wanted;
use nave_placement::fleet::Fleet;
use nave_placement::guard::EntryKey;
use nave_placement::overrides::Shapes;
use nave_placement::relations::{self, Elsewhere, Relations};
use nave_placement::report::EntryState;
use nave_placement::{AppKey, ClusterName};
use nave_proto::encode_relations;

use super::core::Bases;
use super::pauses::Waiting;
use super::staying::OfCluster;
use super::units::Units;
use crate::state::State;

/// What waits for other clusters.
#[derive(Debug, Default)]
pub struct Depending {
    /// Entries that stay as they are, or do not come.
    pub stays: BTreeSet<EntryKey>,
    /// What they wait for.
    pub waiting: Waiting,
    /// Apps that depend on what is nowhere, where that is a failure.
    pub failing: BTreeMap<AppKey, String>,
}

/// What it is told from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// What is in the store.
    pub state: &'a State,
    /// What is in effect.
    pub catalog: &'a Catalog,
    /// What each app is as a whole.
    pub bases: &'a Bases,
    /// Which apps move as one.
    pub units: &'a Units,
    /// The clusters that placements could choose from.
    pub fleet: &'a Fleet,
    /// What every cluster shall run.
    pub wanted: &'a Wanted,
    /// What every app is on every cluster.
    pub shapes: &'a Shapes,
    /// Replicas that placements divide.
    pub shares: &'a ShareOut,
    /// Who is told anything.
    pub members: &'a BTreeMap<ClusterName, Member<'a>>,
    /// Reads entries.
    pub codec: &'a dyn Codec,
}

/// Finds them.
pub fn depending(given: Given<'_>) -> Depending {
    let mut depending = Depending::default();
    for (app, all) in relations::elsewhere(given.catalog) {
        let wanted = given.wanted.iter().filter(|(_, apps)| apps.contains_key(&app));
        let mut met = Met { given, known: BTreeMap::new() };
        for (cluster, _) in wanted.filter(|(cluster, _)| given.would_change(&app, cluster)) {
            let Some((why, fails)) = all.iter().find_map(|elsewhere| met.unmet(elsewhere, cluster)) else {
                continue;
            };
            if fails {
                depending.failing.entry(app.clone()).or_insert_with(|| why.clone());
            }
            depending.stays.insert((app.clone(), cluster.clone()));
            depending.waiting.insert((cluster.clone(), app.clone()), why.into());
        }
    }
    depending
}

/// What is known of apps on clusters.
struct Met<'a> {
    given: Given<'a>,
    known: BTreeMap<(AppKey, ClusterName, Until), bool>,
}

impl Met<'_> {
    /// What of a dependency is not met for a cluster, and whether that is a failure.
    fn unmet(&mut self, elsewhere: &Elsewhere, cluster: &ClusterName) -> Option<(String, bool)> {
        let Elsewhere { apps, until, if_absent, clusters } = elsewhere;
        let given = self.given;
        let is_meant = |name: &ClusterName| {
            name != cluster && given.fleet.get(name).is_some_and(|of| clusters.matches(&of.labels))
        };
        let mut on = 0;
        let mut open: Vec<(&AppKey, &ClusterName)> = Vec::new();
        for (name, wanted) in given.wanted.iter().filter(|(name, _)| is_meant(name)) {
            for app in apps.iter().filter(|app| wanted.contains_key(*app)) {
                on += 1;
                let key = (app.clone(), name.clone(), *until);
                if !*self.known.entry(key).or_insert_with(|| given.is_met(app, name, *until)) {
                    open.push((app, name));
                }
            }
        }
        let state = if *until == Until::Applied { "applied" } else { "healthy" };
        let named: Vec<String> = apps.iter().map(ToString::to_string).collect();
        match (open.as_slice(), on, if_absent) {
            ([], 0, IfAbsent::Ignore) => None,
            ([], 0, IfAbsent::Wait) => Some((
                format!(
                    "it waits for app {} on clusters {clusters}, where nobody runs it yet",
                    named.join(", ")
                ),
                false,
            )),
            ([], 0, IfAbsent::Fail) => Some((
                format!(
                    "it depends on app {} on clusters {clusters}, and no such cluster runs it (ifAbsent: Fail)",
                    named.join(", ")
                ),
                true,
            )),
            ([], ..) => None,
            ([(app, first), rest @ ..], ..) => {
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                Some((format!("it waits until app {app} is {state} on {first}{more}"), false))
            }
        }
    }
}

impl Given<'_> {
    fn would_change(self, app: &AppKey, cluster: &ClusterName) -> bool {
        let Self { wanted, shapes, shares, codec, .. } = self;
        let Some(member) = self.members.get(cluster) else { return false };
        let told = &*member.told;
        OfCluster { cluster, told, shall: wanted.get(cluster), shapes, shares, codec }.changes(app)
    }

    /// Whether an app is what it shall be on a cluster, and well; or was, when it was rolled out last.
    fn is_met(self, app: &AppKey, cluster: &ClusterName, until: Until) -> bool {
        let Some(member) = self.members.get(cluster) else { return false };
        let entry = member.told.assignment.entries.get(app).and_then(|entry| self.codec.decode(entry));
        let Some(entry) = entry.filter(|_| !self.would_change(app, cluster)) else { return false };
        let said = member.report.and_then(|report| report.entries.get(app));
        let is_now = said.is_some_and(|said| {
            said.version == Some(entry.version)
                && (until == Until::Applied || said.state == EntryState::Healthy)
        });
        let lead = self.units.lead(app);
        let course = || self.state.rollouts.get(lead).map(|course| &*course.record);
        let was = || {
            let basis = self.units.basis(lead, self.bases)?;
            let course = course().filter(|course| course.current.is_none())?;
            let completed = course.completed.as_ref()?;
            Some(completed.basis.is_same_version(&basis) && !completed.apart.contains(cluster))
        };
        // A first installation on few clusters is complete before anybody said that it is well.
        let has_said = said.is_some_and(|said| said.version == Some(entry.version));
        is_now || has_said && was().unwrap_or(false)
    }
}

/// Apps that depend on what is nowhere, as problems for people.
pub fn failing(catalog: &Catalog, failing: &BTreeMap<AppKey, String>) -> Vec<Problem> {
    let problem = |(app, why): (&AppKey, &String)| {
        let object = &catalog.app(app.name())?.0.object;
        Some(Problem::at(&object.origin, format!("{why}; there it stays as it is")).of(Some(&object.id)))
    };
    failing.iter().filter_map(problem).collect()
}

/// What each spoke keeps to: when changes may start, in which order and which together.
pub fn rules(
    catalog: &Catalog,
    wanted: &Wanted,
    schedules: impl IntoIterator<Item = (ClusterName, EncodedSchedule)>,
) -> AllRules {
    let mut rules = AllRules::new();
    for (cluster, schedule) in schedules {
        rules.entry(cluster).or_default().schedule = schedule;
    }
    // Clusters that run the same share what is said of it.
    let mut encoded: BTreeMap<*const Relations, EncodedRelations> = BTreeMap::new();
    for (cluster, relations) in relations::relations(catalog, wanted) {
        let bytes = encoded.entry(Arc::as_ptr(&relations)).or_insert_with(|| encode_relations(&relations));
        rules.entry(cluster).or_default().relations = bytes.clone();
    }
    rules
}
