//! Depending: changes that wait for apps on other clusters, and the rules that spokes keep to by themselves.
//!
//! In: the catalog's dependencies and groups, what clusters were told and reported, since when they were well. Out: entries that stay
//! as they are until then; each cluster's rules. Never: waits again for what was met once, because it fell sick since.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{AllRules, Codec, EncodedRelations, EncodedSchedule, Member, ShareOut};
use nave_placement::catalog::{Catalog, IfAbsent, Problem, Until};
use nave_placement::decide::Wanted;
use nave_placement::fleet::{Contact, Fleet};
use nave_placement::guard::EntryKey;
use nave_placement::overrides::{Because, Shapes};
use nave_placement::relations::{self, Elsewhere, Relations};
use nave_placement::{AppKey, ClusterName};
use nave_proto::encode_relations;

use super::pauses::Waiting;
use super::staying::OfCluster;
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

/// What is not met, for people, and whether that is a failure.
type Unmet = (Arc<str>, bool);

/// Finds them.
pub fn depending(given: Given<'_>) -> Depending {
    let mut depending = Depending::default();
    // Many apps wait for the same.
    let mut known: Vec<(Elsewhere, Option<Unmet>)> = Vec::new();
    for (app, all) in relations::elsewhere(given.catalog) {
        let mut unmet = all.into_iter().filter_map(|elsewhere| {
            if let Some((_, unmet)) = known.iter().find(|(of, _)| *of == elsewhere) {
                return unmet.clone();
            }
            let unmet = given.unmet(&elsewhere);
            known.push((elsewhere, unmet.clone()));
            unmet
        });
        let Some((why, fails)) = unmet.next() else { continue };
        if fails {
            depending.failing.insert(app.clone(), why.to_string());
        }
        let wanted = given.wanted.iter().filter(|(_, apps)| apps.contains_key(&app));
        for (cluster, _) in wanted.filter(|(cluster, _)| given.would_change(&app, cluster)) {
            // What an operator takes back waits for nobody.
            if given.shapes.because(&app, cluster) != Some(Because::Pinned) {
                depending.stays.insert((app.clone(), cluster.clone()));
                depending.waiting.insert((cluster.clone(), app.clone()), why.clone());
            }
        }
    }
    depending
}

impl Given<'_> {
    /// What of a dependency is not met, and whether that is a failure.
    fn unmet(self, elsewhere: &Elsewhere) -> Option<Unmet> {
        let Elsewhere { apps, until, if_absent, clusters } = elsewhere;
        let is_meant =
            |name: &ClusterName| self.fleet.get(name).is_some_and(|of| clusters.matches(&of.labels));
        let (mut on, mut open): (usize, Vec<(&AppKey, &ClusterName)>) = (0, Vec::new());
        for (name, wanted) in self.wanted.iter().filter(|(name, _)| is_meant(name)) {
            for app in apps.iter().filter(|app| wanted.contains_key(*app)) {
                on += 1;
                if !self.is_met(app, name, *until) {
                    open.push((app, name));
                }
            }
        }
        let state = if *until == Until::Applied { "applied" } else { "healthy" };
        let named = || apps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let (why, fails) = match (open.as_slice(), on, if_absent) {
            ([], 0, IfAbsent::Wait) => (
                format!("it waits for app {} on clusters {clusters}, where nobody runs it yet", named()),
                false,
            ),
            ([], 0, IfAbsent::Fail) => (
                format!(
                    "it depends on app {} on clusters {clusters}, and no such cluster runs it (ifAbsent: Fail)",
                    named()
                ),
                true,
            ),
            ([], ..) => return None,
            ([(app, first), rest @ ..], ..) => {
                let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
                let contact = self.fleet.get(*first).map(|of| of.contact);
                let away = if contact == Some(Contact::Connected) { "" } else { ", which is offline" };
                (format!("it waits until app {app} is {state} on {first}{away}{more}"), false)
            }
        };
        Some((why.into(), fails))
    }

    fn would_change(self, app: &AppKey, cluster: &ClusterName) -> bool {
        let Self { wanted, shapes, shares, codec, .. } = self;
        let Some(member) = self.members.get(cluster) else { return false };
        let told = &*member.told;
        OfCluster { cluster, told, shall: wanted.get(cluster), shapes, shares, codec }.changes(app)
    }

    /// Whether an app is what it shall be on a cluster, and well, or was once since it was told.
    fn is_met(self, app: &AppKey, cluster: &ClusterName, until: Until) -> bool {
        let Some(member) = self.members.get(cluster) else { return false };
        let entry = member.told.assignment.entries.get(app).and_then(|entry| self.codec.decode(entry));
        let Some(entry) = entry.filter(|_| !self.would_change(app, cluster)) else { return false };
        let said = member.report.and_then(|report| report.entries.get(app));
        let is_applied = said.is_some_and(|said| said.version == Some(entry.version));
        let is_well = said.is_some_and(|said| said.is_well(entry.version));
        let is_now = is_well || is_applied && until == Until::Applied;
        let told_ms = member.told.changes.get(app).map_or(0, |change| change.at_ms);
        let heard = self.state.reports.get(cluster);
        let was = || heard.and_then(|heard| heard.well_ms(app, entry.version, told_ms)).is_some();
        is_now || is_applied && was()
    }
}

/// Apps that depend on what is nowhere, as problems for people.
pub fn failing(catalog: &Catalog, failing: &BTreeMap<AppKey, String>) -> Vec<Problem> {
    let problem = |(app, why): (&AppKey, &String)| {
        let object = &catalog.app_of(app)?.0.object;
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
