//! Looks: the state, the picture and the sessions of one moment become views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::Told;
use nave_placement::catalog::CommitId;
use nave_placement::decide::{Memory, Moment};
use nave_placement::explain::{Explainer, Verdict};
use nave_placement::fleet::{self, Candidate, Maintenance};
use nave_placement::guard::{Hold, HoldCause};
use nave_placement::report::{EntryReason, EntryState, Report, WOULD_PRUNE};
use nave_placement::select::Selector;
use nave_placement::{AppKey, ClusterName, ObjectKey};

use super::views::{
    AppRow, AppView, CatalogView, EntryView, Group, HoldView, Phase, PlacementView, StatusView, WhyView,
};
use crate::deciding::core::maintained;
use crate::deciding::decisions::is_healthy;
use crate::deciding::run::Picture;
use crate::git::poller::Observation;
use crate::sessions::core::Alarm;
use crate::sessions::service::Live;
use crate::state::records::{MemberRecord, Standing};
use crate::state::{State, rfc3339};

/// Which entries are looked at.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// One app.
    pub app: Option<AppKey>,
    /// One cluster.
    pub cluster: Option<ClusterName>,
    /// Clusters by label.
    pub selector: Selector,
}

/// One moment of the hub.
pub struct Look<'a> {
    /// The state.
    pub state: &'a State,
    /// What was decided.
    pub picture: &'a Picture,
    /// What Git says.
    pub observation: &'a Observation,
    /// Open sessions.
    pub live: &'a BTreeMap<ClusterName, Live>,
    /// What is wrong with single spokes.
    pub alarms: &'a BTreeMap<ClusterName, Alarm>,
    /// When clusters were seen last.
    pub seen: &'a BTreeMap<ClusterName, u64>,
    /// The catalog's name and URL.
    pub catalog: (&'a str, &'a str),
    /// When the hub began to serve, Unix milliseconds.
    pub since_ms: u64,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
    /// How many changes deciding has to have looked at ([`crate::state::Ledger::inputs`]).
    pub inputs: u64,
}

impl Look<'_> {
    /// A cluster's merged labels and set.
    pub fn candidate(&self, name: &ClusterName) -> Candidate {
        let membership = self.state.members.get(name).map(|m| m.membership.clone()).unwrap_or_default();
        let catalog = self.picture.revision.as_ref().map(|r| &*r.catalog);
        fleet::candidate(catalog, name, &membership, self.now_ms)
    }

    fn members(&self) -> impl Iterator<Item = (&ClusterName, &MemberRecord)> {
        self.state
            .members
            .iter()
            .filter(|(_, m)| m.standing != Standing::Revoked)
            .map(|(n, m)| (n, &*m.record))
    }

    pub(super) fn selected<'b>(&'b self, selection: &'b Selection) -> impl Iterator<Item = &'b ClusterName> {
        self.members().map(|(name, _)| name).filter(|name| {
            selection.cluster.as_ref().is_none_or(|c| c == *name)
                && (selection.selector.0.is_empty()
                    || selection.selector.matches(&self.candidate(name).labels))
        })
    }

    /// The clusters of a selection; with an app, those that are assigned it.
    pub fn chosen(&self, selection: &Selection) -> Vec<ClusterName> {
        let has = |cluster: &&ClusterName| {
            let app = selection.app.as_ref();
            app.is_none_or(|app| self.state.told(cluster).assignment.entries.contains_key(app))
        };
        self.selected(selection).filter(has).cloned().collect()
    }

    /// The entries of a cluster.
    pub fn entries(&self, cluster: &ClusterName) -> Vec<EntryView> {
        let told = self.state.told(cluster);
        let report = self.state.reports.get(cluster).map(|r| r.record.clone());
        let held: BTreeSet<&AppKey> = self.held(cluster);
        let entries = told.assignment.entries.keys();
        entries.map(|app| self.entry(app, cluster, &told, report.as_ref(), held.contains(app))).collect()
    }

    /// Apps on their way out of a cluster, and what they wait for.
    fn leaving(&self, cluster: &ClusterName) -> Vec<EntryView> {
        let told = self.state.told(cluster);
        let assignment = &told.assignment;
        let report = self.state.reports.get(cluster).map(|r| &r.record);
        let current = report.filter(|r| (r.epoch, r.generation) == assignment.order());
        let held = self.held(cluster);
        let view = |app: &AppKey| {
            let said = current.and_then(|r| r.leaving.get(app));
            let phase = match said.map(|s| s.state) {
                _ if held.contains(app) => Phase::Held,
                _ if !self.live.contains_key(cluster) => Phase::Offline,
                Some(EntryState::Failed) => Phase::Failed,
                Some(EntryState::Degraded) => Phase::Degraded,
                _ => Phase::Leaving,
            };
            EntryView {
                app: app.clone(),
                cluster: cluster.clone(),
                phase,
                reason: said.map_or(EntryReason::None, |s| s.reason),
                message: said.map(|s| s.message.clone()).unwrap_or_default(),
                version: None,
                running: said.and_then(|s| s.version),
                commit: None,
                objects: said.map_or(assignment.leaving[app].objects, |s| s.objects),
                healthy: 0,
                unhealthy: said.map(|s| s.unhealthy.clone()).unwrap_or_default(),
                corrected: said.map_or(0, |s| s.corrected),
                drifted: 0,
                notes: said.map(|s| s.notes.clone()).unwrap_or_default(),
            }
        };
        assignment.leaving.keys().filter(|app| !assignment.entries.contains_key(*app)).map(view).collect()
    }

    /// Apps of which something on a cluster waits for approval before it goes.
    fn held(&self, cluster: &ClusterName) -> BTreeSet<&AppKey> {
        let entries = self.state.holds.values().flat_map(|h| &h.hold.entries);
        entries.filter(|(_, c)| c == cluster).map(|(app, _)| app).collect()
    }

    fn entry(
        &self,
        app: &AppKey,
        cluster: &ClusterName,
        told: &Arc<Told>,
        report: Option<&Arc<Report>>,
        held: bool,
    ) -> EntryView {
        let bytes = told.assignment.entries.get(app);
        let entry = bytes.and_then(|e| nave_proto::decode_entry(&e.bytes).ok());
        let said = report.and_then(|r| r.entries.get(app));
        let current = report.is_some_and(|r| (r.epoch, r.generation) == told.assignment.order());
        let connected = self.live.contains_key(cluster);
        let fresh = said.filter(|_| current);
        let phase = match fresh.map(|s| s.state) {
            _ if held => Phase::Held,
            _ if !connected => Phase::Offline,
            None => Phase::Behind,
            Some(EntryState::Healthy) => Phase::Converged,
            Some(EntryState::Progressing | EntryState::Pending) => Phase::Progressing,
            Some(EntryState::Waiting) => Phase::Waiting,
            Some(EntryState::Degraded) => Phase::Degraded,
            Some(EntryState::Failed) => Phase::Failed,
        };
        EntryView {
            app: app.clone(),
            cluster: cluster.clone(),
            phase,
            reason: fresh.map_or(EntryReason::None, |s| s.reason),
            message: fresh.map(|s| s.message.clone()).unwrap_or_default(),
            version: entry.as_ref().map(|e| e.version),
            running: said.and_then(|s| s.version),
            commit: entry.as_ref().map(|e| e.commit.clone()),
            objects: entry.as_ref().map_or(0, |e| e.objects),
            healthy: fresh.map_or(0, |s| s.healthy),
            unhealthy: fresh.map(|s| s.unhealthy.clone()).unwrap_or_default(),
            corrected: said.map_or(0, |s| s.corrected),
            drifted: fresh.map_or(0, |s| s.drifted),
            notes: fresh.map(|s| s.notes.clone()).unwrap_or_default(),
        }
    }

    /// Whether a cluster has nothing under way: its spoke holds and reports the newest assignment, nothing leaves.
    pub(super) fn settled(&self, cluster: &ClusterName) -> bool {
        let told = self.state.told(cluster);
        let nothing = told.assignment.generation.0 == 0;
        let report = self.state.reports.get(cluster);
        let current = report.is_some_and(|r| (r.epoch, r.generation) == told.assignment.order());
        (nothing || current) && told.assignment.leaving.is_empty()
    }

    /// Whether everything that is known to the hub is decided.
    pub fn decided(&self) -> bool {
        let head = self.observation.head.as_ref().map(|h| &h.commit);
        head.is_some() && self.picture.settled.as_ref() == head && self.picture.inputs >= self.inputs
    }

    /// `hub status`.
    pub fn status(&self, selection: &Selection, include_offline: bool) -> StatusView {
        let mut view = StatusView {
            fleet: self.state.fleet.as_ref().map(|f| f.name.clone()).unwrap_or_default(),
            catalog: self.catalog_view(),
            doubt: self.state.doubt.as_ref().map(|d| {
                format!(
                    "cluster {} holds assignment {}.{}, which this hub's store does not know: the store is older than what was \
                     sent. Nothing is sent to anybody until `hub accept-restore`",
                    d.cluster, d.epoch.0, d.generation.0
                )
            }),
            holds: self.holds(),
            problems: self.picture.problems.clone(),
            alarms: self.alarms.clone(),
            maintained: self.maintained(selection),
            clusters: self.members().count(),
            connected: self.members().filter(|(name, _)| self.live.contains_key(*name)).count(),
            converged: self.state.doubt.is_none() && self.decided(),
            ..StatusView::default()
        };
        let mut groups: BTreeMap<(Phase, AppKey, String, Option<String>), Group> = BTreeMap::new();
        view.alarms.retain(|cluster, _| maintained(self.state, cluster, self.now_ms).is_none());
        // Who is offline, or worked on, is passed over, unless it was named, or nobody would be left to look at.
        let named = include_offline || selection.cluster.is_some();
        let offline = |cluster: &&ClusterName| {
            !self.live.contains_key(*cluster) && !view.maintained.contains_key(*cluster)
        };
        view.offline = self.selected(selection).filter(offline).cloned().collect();
        let passed_over = view.offline.len() + view.maintained.len();
        view.converged &= passed_over == 0 || passed_over < self.selected(selection).count();
        for cluster in self.selected(selection) {
            let is_maintained = view.maintained.contains_key(cluster);
            let is_passed_over = is_maintained || view.offline.contains(cluster);
            let counts = named || !is_passed_over;
            if counts && (is_passed_over || !self.settled(cluster)) {
                view.converged = false;
            }
            if let Some(report) = self.state.reports.get(cluster).filter(|r| !r.unassigned.is_empty()) {
                view.unassigned.insert(cluster.clone(), report.unassigned.clone());
            }
            for entry in self.entries(cluster) {
                if selection.app.as_ref().is_some_and(|app| *app != entry.app) {
                    continue;
                }
                view.entries += 1;
                *view.phases.entry(entry.phase).or_default() += 1;
                if entry.phase == Phase::Converged {
                    continue;
                }
                view.converged &= !counts;
                if !is_maintained {
                    add(&mut groups, entry);
                }
            }
            for entry in self.leaving(cluster) {
                if selection.app.as_ref().is_some_and(|app| *app != entry.app) {
                    continue;
                }
                *view.phases.entry(entry.phase).or_default() += 1;
                add(&mut groups, entry);
            }
        }
        view.groups = groups.into_values().collect();
        view
    }

    fn maintained(&self, selection: &Selection) -> BTreeMap<ClusterName, Maintenance> {
        let of = |name: &ClusterName| maintained(self.state, name, self.now_ms).cloned();
        self.selected(selection).filter_map(|name| Some((name.clone(), of(name)?))).collect()
    }

    fn catalog_view(&self) -> CatalogView {
        let git = self.observation.last_error.as_ref().map(|e| crate::deciding::run::chain(&**e));
        CatalogView {
            name: self.catalog.0.to_owned(),
            url: self.catalog.1.to_owned(),
            commit: self.picture.revision.as_ref().map(|r| r.catalog.commit.clone()),
            newest: self.observation.head.as_ref().map(|h| h.commit.clone()),
            obstacle: self.picture.obstacle.clone().or(git),
        }
    }

    /// Holds, oldest first.
    pub fn holds(&self) -> Vec<HoldView> {
        let view = |h: &crate::state::Versioned<Arc<crate::state::records::HoldRecord>>| HoldView {
            record: (*h.record).clone(),
            message: h.hold.to_string(),
            objects: self.leftovers(&h.hold),
        };
        let mut holds: Vec<HoldView> = self.state.holds.values().map(view).collect();
        holds.sort_by_key(|h| h.record.since_ms);
        holds
    }

    /// The objects that a hold of leftovers is about, as far as a spoke named them: all its clusters have the same.
    fn leftovers(&self, hold: &Hold) -> Vec<ObjectKey> {
        let (HoldCause::Leftovers { .. }, Some((app, cluster))) = (&hold.cause, hold.entries.first()) else {
            return Vec::new();
        };
        let report = self.state.reports.get(cluster);
        let said = report.and_then(|r| r.entries.get(app).or_else(|| r.leaving.get(app)));
        let notes = said.into_iter().flat_map(|entry| &entry.notes).filter(|note| note.reason == WOULD_PRUNE);
        notes.map(|note| note.key.clone()).collect()
    }

    /// Every app that the catalog has or somebody runs.
    pub fn app_keys(&self) -> BTreeSet<AppKey> {
        let told = self.state.told.values().map(|t| &t.assignment);
        let told = told.flat_map(|a| a.entries.keys().chain(a.leaving.keys()).cloned());
        let catalog = self.picture.revision.iter().flat_map(|r| {
            r.catalog.apps().filter_map(|(e, _)| AppKey::new(r.catalog.name.clone(), &e.object.id.name).ok())
        });
        told.chain(catalog).collect()
    }

    fn app_entries(&self, app: &AppKey) -> Vec<EntryView> {
        let clusters = self.members().map(|(name, _)| name);
        let entries = clusters
            .flat_map(|name| [self.entries(name), self.leaving(name)])
            .flatten()
            .filter(|e| e.app == *app);
        let mut entries: Vec<EntryView> = entries.collect();
        entries.sort_by(|a, b| (a.phase, &a.cluster).cmp(&(b.phase, &b.cluster)));
        entries
    }

    /// A row of `hub app list`.
    pub fn app_row(&self, app: &AppKey) -> AppRow {
        let entries = self.app_entries(app);
        let form = self.picture.revision.as_ref().and_then(|r| r.forms.get(app));
        let broken = self
            .picture
            .problems
            .iter()
            .any(|p| p.object.as_ref().is_some_and(|o| names(o, app)) && p.is_error());
        let worst = entries.iter().map(|e| e.phase).min().unwrap_or(Phase::Converged);
        AppRow {
            app: app.clone(),
            phase: if broken { Phase::Failed } else { worst },
            version: form.map(|f| f.version),
            commit: form.map(|f| f.commit.clone()),
            clusters: entries.len(),
            converged: entries.iter().filter(|e| e.phase == Phase::Converged).count(),
            held: entries.iter().filter(|e| e.phase == Phase::Held).count(),
        }
    }

    /// `hub app show`.
    pub fn app(&self, app: &AppKey) -> Option<AppView> {
        if !self.app_keys().contains(app) {
            return None;
        }
        let decisions = self.picture.decisions.iter().filter(|d| d.apps.contains(app));
        let problems = self.picture.problems.iter();
        Some(AppView {
            row: self.app_row(app),
            placements: decisions.map(|d| d.placement.to_string()).collect(),
            entries: self.app_entries(app),
            problems: problems
                .filter(|p| p.object.as_ref().is_some_and(|o| names(o, app)))
                .cloned()
                .collect(),
        })
    }

    /// `hub why APP [CLUSTER]`: one answer for each of these clusters.
    pub fn why(&self, app: &AppKey, clusters: &[ClusterName]) -> Vec<WhyView> {
        let decided: Memory =
            self.picture.decisions.iter().map(|d| (d.placement.clone(), d.settled.clone())).collect();
        let healthy = |cluster: &ClusterName, app: &AppKey| is_healthy(self.state, cluster, app);
        let moment = Moment { now_ms: self.now_ms, hub_since_ms: self.since_ms, healthy: &healthy };
        // A cluster that is no member is asked about as if it were one.
        let mut fleet = self.picture.fleet.clone();
        for cluster in clusters {
            fleet.entry(cluster.clone()).or_insert_with(|| self.candidate(cluster));
        }
        let revision = self.picture.revision.as_ref();
        let explainer = revision.map(|r| Explainer::new(&r.catalog, app, &fleet, &decided, moment));
        let verdicts = |cluster: &ClusterName| {
            explainer.as_ref().map(|explainer| explainer.verdicts(cluster)).unwrap_or_default()
        };
        clusters.iter().map(|cluster| self.why_of(app, cluster, verdicts(cluster))).collect()
    }

    fn why_of(&self, app: &AppKey, cluster: &ClusterName, verdicts: Vec<Verdict>) -> WhyView {
        let wanted = verdicts.iter().any(Verdict::chooses);
        let view = |verdict: Verdict| PlacementView {
            message: match verdict.selects_app {
                true => verdict.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                false => format!("it does not select app {app}"),
            },
            remedies: verdict.remedies(),
            placement: verdict.placement.to_string(),
            selects_app: verdict.selects_app,
            chosen: verdict.chosen,
            reasons: verdict.reasons,
            checks: verdict.checks,
            rank: verdict.rank,
            score: verdict.score,
            parts: verdict.parts,
        };
        let placements: Vec<PlacementView> = verdicts.into_iter().map(view).collect();
        let mut entries = self.entries(cluster).into_iter().chain(self.leaving(cluster));
        let entry = entries.find(|e| e.app == *app);
        let obstacles = self.obstacles(app, cluster, entry.as_ref());
        let remedy = remedy(app, cluster, wanted, &placements, &obstacles);
        WhyView { app: app.clone(), cluster: cluster.clone(), wanted, placements, obstacles, entry, remedy }
    }

    fn obstacles(&self, app: &AppKey, cluster: &ClusterName, entry: Option<&EntryView>) -> Vec<String> {
        let mut obstacles = Vec::new();
        let revision = self.picture.revision.as_ref();
        match self.state.members.get(cluster).map(|m| m.standing) {
            None => obstacles
                .push(format!("cluster {cluster} is no member; `hub cluster join {cluster}` makes it one")),
            Some(Standing::Member) => {}
            Some(standing) => obstacles.push(format!("cluster {cluster} is on its way out ({standing:?})")),
        }
        if revision.is_none_or(|r| app.catalog != r.catalog.name || r.catalog.app(app.name()).is_none()) {
            obstacles.push(format!("the catalog has no app {app}"));
        } else if revision.is_some_and(|r| !r.forms.contains_key(app)) {
            obstacles.push(format!(
                "app {app} could not be rendered yet; see its problems in `hub app show {app}`"
            ));
        }
        if let Some(doubt) = &self.state.doubt {
            obstacles.push(format!(
                "nothing is sent to anybody: cluster {} proved that the hub lost state",
                doubt.cluster
            ));
        }
        for hold in
            self.holds().iter().filter(|h| h.record.hold.entries.contains(&(app.clone(), cluster.clone())))
        {
            obstacles.push(format!("hold {}: {}", hold.record.hold.id, hold.message));
        }
        if let Some(maintenance) = maintained(self.state, cluster, self.now_ms) {
            obstacles.push(format!(
                "cluster {cluster} is {}: its assignment does not change before",
                worked_on(maintenance)
            ));
        }
        if let Some(obstacle) = &self.picture.obstacle {
            obstacles.push(obstacle.clone());
        }
        let heard = self.live.contains_key(cluster);
        // An hour after a copy of its identity was turned away, the spoke itself is told everything.
        let told_nothing = |alarm: &&Alarm| match alarm {
            Alarm::ForeignAssignment | Alarm::AssignmentTooLarge => true,
            Alarm::ClusterChanged => !heard,
            Alarm::IdentityShared => false,
        };
        if let Some(alarm) = self.alarms.get(cluster).filter(told_nothing) {
            obstacles.push(format!("this spoke is told nothing: {alarm:?}"));
        }
        if self.state.members.contains_key(cluster) && !self.live.contains_key(cluster) {
            obstacles.push(format!("the spoke of {cluster} is not connected; it keeps what it has"));
        }
        if let Some(entry) =
            entry.filter(|e| !matches!(e.phase, Phase::Converged | Phase::Held | Phase::Offline))
        {
            obstacles.push(format!("{:?}: {}", entry.phase, describe(entry)));
        }
        obstacles
    }

    /// Whether the commit in effect is the one that is looked for.
    pub fn commit(&self) -> Option<CommitId> {
        self.picture.revision.as_ref().map(|r| r.catalog.commit.clone())
    }
}

/// What a maintenance is, for people.
pub fn worked_on(maintenance: &Maintenance) -> String {
    let Maintenance { until_ms, reason } = maintenance;
    let because = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("maintained until {}{because}", rfc3339(*until_ms))
}

fn names(object: &nave_placement::catalog::ObjectId, app: &AppKey) -> bool {
    object.kind == nave_placement::catalog::Kind::App && *object.name == *app.name()
}

/// What an entry's trouble is, on one line.
fn describe(entry: &EntryView) -> String {
    match entry.unhealthy.first() {
        Some(object) => format!("{}: {}: {}", object.key, object.reason, object.message),
        None if entry.message.is_empty() && entry.phase == Phase::Leaving => {
            "the spoke is removing it".to_owned()
        }
        None if entry.message.is_empty() => "the spoke has not reported on it yet".to_owned(),
        None => entry.message.clone(),
    }
}

fn add(groups: &mut BTreeMap<(Phase, AppKey, String, Option<String>), Group>, entry: EntryView) {
    // The worst object tells more than that one is not well; any other reason is told by the object that it is about.
    let of_object = matches!(entry.reason, EntryReason::None | EntryReason::ObjectUnhealthy);
    let why = format!("{:?}", entry.reason);
    let worst = entry.unhealthy.iter().find(|object| of_object || object.reason == why);
    let object = worst.map(|o| o.key.to_string());
    let reason = match worst.map(|o| o.reason.clone()).filter(|r| !r.is_empty()) {
        Some(reason) => reason,
        None if entry.reason == EntryReason::None => String::new(),
        None => why,
    };
    let message = worst.map_or_else(|| entry.message.clone(), |o| o.message.clone());
    let key = (entry.phase, entry.app.clone(), reason.clone(), object.clone());
    let group = groups.entry(key).or_insert_with(|| Group {
        phase: entry.phase,
        app: entry.app.clone(),
        reason,
        object,
        message,
        clusters: Vec::new(),
    });
    group.clusters.push(entry.cluster);
}

fn remedy(
    app: &AppKey,
    cluster: &ClusterName,
    wanted: bool,
    placements: &[PlacementView],
    obstacles: &[String],
) -> String {
    if wanted {
        return match obstacles.first() {
            None => format!("it runs there; it would leave if no placement chose {cluster} for it any more"),
            Some(obstacle) => format!("it would be as the catalog says once this is solved: {obstacle}"),
        };
    }
    match placements.iter().find(|p| p.selects_app) {
        None => format!("a placement that selects app {app} and cluster {cluster} would bring it there"),
        Some(p) => {
            let PlacementView { placement, message, remedies, .. } = p;
            let how = remedies.join("; ");
            format!(
                "placement {placement} would choose it if this were not so: {message} (to change it: {how})"
            )
        }
    }
}
