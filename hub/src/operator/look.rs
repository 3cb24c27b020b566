//! Looks: the state, the picture and the sessions of one moment become views.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::Told;
use nave_placement::catalog::{CommitId, Kind, Problem, Remote, RemoteId, SourceAt};
use nave_placement::fleet::{self, Candidate, Maintenance};
use nave_placement::guard::{Hold, HoldCause};
use nave_placement::overrides::{self, Lacking};
use nave_placement::report::{EntryReason, EntryState, ObjectReport, Report, WOULD_PRUNE};
use nave_placement::select::Selector;
use nave_placement::{AppKey, ClusterName, ObjectKey};

use super::outstanding::Outstanding;
use super::views::{
    AppRow, AppView, CatalogView, DependencyView, EntryView, Group, HoldView, Phase, StatusView,
};
use crate::deciding::core::maintained;
use crate::deciding::lacking::lacks;
use crate::deciding::run::Picture;
use crate::git::poller::Observation;
use crate::sessions::core::Alarm;
use crate::sessions::service::Live;
use crate::sources::Observed;
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
    /// What is known of the remotes of sources.
    pub observed: &'a Arc<Observed>,
    /// What is to become otherwise than it was told.
    pub outstanding: &'a Outstanding<'a>,
}

impl Look<'_> {
    /// A cluster's merged labels and set.
    pub fn candidate(&self, name: &ClusterName) -> Candidate {
        let membership = self.state.members.get(name).map(|m| m.membership.clone()).unwrap_or_default();
        let catalog = self.picture.revision.as_ref().map(|r| &*r.catalog);
        fleet::candidate(catalog, name, &membership, self.now_ms)
    }

    /// What rules looked at in a cluster; of one that is no member, what is known of it.
    pub fn judged(&self, name: &ClusterName) -> Candidate {
        let facts = || self.state.facts.get(name).map(|facts| (*facts.record).clone()).unwrap_or_default();
        let outside = || Candidate { facts: facts(), ..self.candidate(name) };
        self.picture.fleet.get(name).cloned().unwrap_or_else(outside)
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

    /// The entries of a cluster, and what it shall run and cannot be told to.
    pub fn entries(&self, cluster: &ClusterName) -> Vec<EntryView> {
        let told = self.state.told(cluster);
        let mut views = self.assigned(cluster);
        let untold = self.outstanding.untold(cluster);
        let untold = untold.filter(|app| !told.assignment.entries.contains_key(*app));
        views.extend(untold.filter_map(|app| {
            let (phase, message) = self.outstanding.get(cluster, app)?;
            Some(EntryView::untold(app, cluster, phase, message))
        }));
        views
    }

    /// The entries of a cluster.
    pub(super) fn assigned(&self, cluster: &ClusterName) -> Vec<EntryView> {
        let told = self.state.told(cluster);
        let report = self.state.reports.get(cluster).map(|r| r.report.clone());
        let held: BTreeSet<&AppKey> = self.held(cluster);
        let entries = told.assignment.entries.keys();
        entries.map(|app| self.entry(app, cluster, &told, report.as_ref(), held.contains(app))).collect()
    }

    /// Apps on their way out of a cluster, and what they wait for.
    pub(super) fn leaving(&self, cluster: &ClusterName) -> Vec<EntryView> {
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
                Some(EntryState::Waiting) => Phase::Waiting,
                _ => Phase::Leaving,
            };
            EntryView {
                app: app.clone(),
                cluster: cluster.clone(),
                phase,
                reason: said.map_or(EntryReason::None, |s| s.reason),
                message: match phase {
                    Phase::Held => self.held_by(app, cluster),
                    _ => said.map(|s| s.message.clone()).unwrap_or_default(),
                },
                version: None,
                running: said.and_then(|s| s.version),
                commit: None,
                source: None,
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

    /// Which hold it is that something of an app on a cluster waits for.
    fn held_by(&self, app: &AppKey, cluster: &ClusterName) -> String {
        let key = (app.clone(), cluster.clone());
        let hold = self.state.holds.values().find(|hold| hold.hold.entries.contains(&key));
        hold.map(|hold| format!("{}: {}", hold.hold.id, hold.hold)).unwrap_or_default()
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
        let message = match phase {
            Phase::Held => self.held_by(app, cluster),
            _ => fresh.map(|s| s.message.clone()).unwrap_or_default(),
        };
        let outstanding = self.outstanding.get(cluster, app).filter(|_| phase == Phase::Converged);
        let (phase, message) = outstanding.unwrap_or((phase, message));
        EntryView {
            app: app.clone(),
            cluster: cluster.clone(),
            phase,
            reason: fresh.map_or(EntryReason::None, |s| s.reason),
            message,
            version: entry.as_ref().map(|e| e.version),
            running: said.and_then(|s| s.version),
            commit: entry.as_ref().map(|e| e.commit.clone()),
            source: entry.as_ref().and_then(|e| e.source_at.clone()),
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
        let is_due = self.picture.due_ms.is_some_and(|due| due <= self.now_ms);
        head.is_some()
            && self.picture.settled.as_ref() == head
            && self.picture.inputs >= self.inputs
            && !self.picture.awaits_source
            && (Arc::ptr_eq(&self.picture.observed, self.observed) || self.picture.observed == *self.observed)
            && !is_due
    }

    /// `hub status`.
    pub fn status(&self, selection: &Selection, include_offline: bool) -> StatusView {
        let mut view = StatusView {
            fleet: self.state.fleet.as_ref().map(|f| f.name.clone()).unwrap_or_default(),
            catalog: self.catalog_view(),
            tenants: self.picture.tenants.iter().map(|(name, tenant)| tenant.view(name)).collect(),
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
            pauses: self.state.paused(self.now_ms).cloned().collect(),
            pins: self.pins(selection.app.as_ref()),
            blocks: self.blocks(selection.app.as_ref()),
            rollouts: self.rollouts(selection.app.as_ref(), false),
            clusters: self.members().count(),
            connected: self.members().filter(|(name, _)| self.live.contains_key(*name)).count(),
            converged: self.state.doubt.is_none() && self.decided(),
            ..StatusView::default()
        };
        let mut groups: BTreeMap<GroupKey, Group> = BTreeMap::new();
        view.alarms.retain(|cluster, _| maintained(self.state, cluster, self.now_ms).is_none());
        // Who is offline, or worked on, is passed over, unless it was named, or nobody would be left to look at.
        let named = include_offline || selection.cluster.is_some();
        let offline = |cluster: &&ClusterName| {
            !self.live.contains_key(*cluster) && !view.maintained.contains_key(*cluster)
        };
        view.offline = self.selected(selection).filter(offline).cloned().collect();
        let passed_over = view.offline.len() + view.maintained.len();
        view.converged &= passed_over == 0 || passed_over < self.selected(selection).count();
        let about = |app: &AppKey| selection.app.as_ref().is_none_or(|selected| selected == app);
        let lacking = self.picture.lacking.iter().filter(|lacking| about(&lacking.app));
        let lacking: BTreeSet<&ClusterName> = lacking.map(|lacking| &lacking.cluster).collect();
        for cluster in self.selected(selection) {
            let is_maintained = view.maintained.contains_key(cluster);
            let is_passed_over = is_maintained || view.offline.contains(cluster);
            let counts = named || !is_passed_over;
            if counts && (is_passed_over || lacking.contains(cluster) || !self.settled(cluster)) {
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
                view.converged &= !counts || entry.phase == Phase::Ungranted;
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
            rejected: self.state.rejections.get(&h.hold.id).map(|rejection| (*rejection.record).clone()),
            message: match self.state.rejections.get(&h.hold.id) {
                Some(rejection) => format!("{}: {}", rejection.record, h.hold),
                None => h.hold.to_string(),
            },
            would_leave: matches!(h.hold.cause, HoldCause::EmptyCatalog { .. }).then(|| {
                let entries = self.state.told.values().flat_map(|told| told.assignment.entries.keys());
                entries.filter(|app| app.catalog == h.catalog).count()
            }),
            objects: self.leftovers(&h.hold),
        };
        let mut holds: Vec<HoldView> = self.state.holds.values().map(view).collect();
        // What somebody has yet to decide comes first.
        holds.sort_by_key(|h| (h.rejected.is_some(), h.record.since_ms));
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
            r.catalog.apps().filter_map(|(effective, _)| r.catalog.key(&effective.object.id.name))
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
        let forms = self.picture.revision.as_ref().and_then(|r| r.forms.get(app));
        let form = forms.and_then(|variants| variants.values().next());
        let broken = self.picture.problems.iter().any(|p| self.concerns(p, app) && p.is_error());
        let worst = entries.iter().map(|e| e.phase).min().unwrap_or(Phase::Converged);
        AppRow {
            app: app.clone(),
            phase: if broken { Phase::Failed } else { worst },
            version: form.map(|f| f.version),
            commit: form.map(|f| f.commit.clone()),
            source: form.and_then(|f| f.source_at.clone()).map(|(_, at)| at),
            clusters: entries.len(),
            converged: entries.iter().filter(|e| e.phase == Phase::Converged).count(),
            held: entries.iter().filter(|e| e.phase == Phase::Held).count(),
        }
    }

    /// The charts that an app's variants depend on.
    fn dependencies(&self, app: &AppKey) -> BTreeSet<DependencyView> {
        let forms = self.picture.revision.as_ref().and_then(|revision| revision.forms.get(app));
        let states = forms.into_iter().flat_map(BTreeMap::values).flat_map(|form| &form.dependencies);
        let view = |(remote, at): (&RemoteId, &SourceAt)| {
            let Remote::Chart(chart) = &self.state.sources.get(remote)?.remote else { return None };
            let (chart, repository) = (chart.chart.clone(), chart.repository.clone());
            Some(DependencyView { chart, repository, at: at.clone() })
        };
        states.filter_map(view).collect()
    }

    /// `hub app show`.
    pub fn app(&self, app: &AppKey) -> Option<AppView> {
        if !self.app_keys().contains(app) {
            return None;
        }
        let decisions = self.picture.decisions.iter().filter(|d| d.apps.contains(app));
        let catalog = self.picture.revision.as_ref().and_then(|revision| revision.catalog.app_of(app));
        let problems = self.picture.problems.iter();
        Some(AppView {
            row: self.app_row(app),
            placements: decisions.map(|d| d.placement.to_string()).collect(),
            protected: catalog.is_some_and(|(_, app)| app.protect),
            pauses: self.pauses(|scope| scope.is_of(app)),
            pins: self.pins(Some(app)),
            dependencies: self.dependencies(app).into_iter().collect(),
            entries: self.app_entries(app),
            problems: problems.filter(|p| self.concerns(p, app)).cloned().collect(),
        })
    }

    /// What is wrong with the catalog. That a value lacks concerns the clusters where it does, and nobody else.
    pub fn problems_of(&self, selection: &Selection) -> Vec<Problem> {
        let lacks = |lacking: &BTreeSet<Lacking>| {
            let revision = self.picture.revision.as_ref();
            revision.map(|revision| lacks(&revision.catalog, lacking)).unwrap_or_default()
        };
        let selected: BTreeSet<&ClusterName> = self.selected(selection).collect();
        let here = self.picture.lacking.iter().filter(|lacking| selected.contains(&lacking.cluster));
        let (all, here) = (lacks(&self.picture.lacking), lacks(&here.cloned().collect()));
        let problems = self.picture.problems.iter().filter(|problem| !all.contains(problem)).cloned();
        problems.chain(here).collect()
    }

    /// Whether a problem is one of an app: of its object, its files, or an override that selects it.
    pub fn concerns(&self, problem: &Problem, app: &AppKey) -> bool {
        let Some(object) = &problem.object else { return false };
        match object.kind {
            Kind::App => self
                .picture
                .revision
                .as_ref()
                .is_some_and(|revision| object.means(&revision.catalog.name_of(app))),
            Kind::Override => self.picture.revision.as_ref().is_some_and(|revision| {
                let named = overrides::of_app(&revision.catalog, app);
                named.iter().any(|(effective, _)| effective.object.id == *object)
            }),
            _ => false,
        }
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

/// What the entries of a group have in common: where no reason tells them apart, or not enough, the message does.
type GroupKey = (Phase, AppKey, String, Option<String>, String);

/// In one word why an entry is not well, and the object that shows it.
pub fn cause(reason: EntryReason, unhealthy: &[ObjectReport]) -> (String, Option<&ObjectReport>) {
    // The worst object tells more than that one is not well; any other reason is told by the object that it is about.
    let of_object = matches!(reason, EntryReason::None | EntryReason::ObjectUnhealthy);
    let why = format!("{reason:?}");
    let worst = unhealthy.iter().find(|object| of_object || object.reason == why);
    let word = match worst.map(|o| o.reason.clone()).filter(|r| !r.is_empty()) {
        Some(word) => word,
        None if reason == EntryReason::None => String::new(),
        None => why,
    };
    (word, worst)
}

fn add(groups: &mut BTreeMap<GroupKey, Group>, entry: EntryView) {
    let (reason, worst) = cause(entry.reason, &entry.unhealthy);
    let object = worst.map(|o| o.key.to_string());
    let message = worst.map_or_else(|| entry.message.clone(), |o| o.message.clone());
    // Each cluster has its own time at which changes may start.
    let is_timed = matches!(entry.reason, EntryReason::WindowClosed | EntryReason::Frozen);
    let apart = if reason.is_empty() || is_timed { message.clone() } else { String::new() };
    let key = (entry.phase, entry.app.clone(), reason.clone(), object.clone(), apart);
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
