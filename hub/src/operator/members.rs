//! Members: clusters as they are shown, and as Git would say what operators said of them.
//!
//! In: a [`Look`]. Out: views. Never: says of a cluster that is away more than was last observed.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::catalog::{API_VERSION, Kind, Problem};
use nave_placement::fleet::{Fact, Facts};
use nave_placement::guard::Guarded;
use nave_placement::select::Selector;
use nave_placement::{AppKey, ClusterName};

use super::look::{Look, Selection};
use super::views::{
    ClusterDocument, ClusterMetadata, ClusterRow, ClusterSpec, ClusterView, ExportView, FactsView, Phase,
    RecipientRow,
};
use crate::deciding::core::maintained;
use crate::deciding::decisions::is_healthy;
use crate::deciding::guarding::{binding, remembered};
use crate::members::Declared;
use crate::sessions::stale::is_stale;
use crate::state::records::{PauseRecord, PauseScope, Standing};

impl Look<'_> {
    /// `hub cluster list`.
    pub fn clusters(&self, selector: &Selector) -> Vec<ClusterRow> {
        let declared = self.picture.revision.iter().flat_map(|r| r.catalog.objects.values());
        let declared = declared.filter(|e| e.object.id.kind == Kind::Cluster);
        let mut names: BTreeSet<ClusterName> =
            declared.filter_map(|e| e.object.id.name.parse().ok()).collect();
        names.extend(self.state.members.keys().cloned());
        let rows = names.iter().map(|name| self.cluster_row(name));
        let mut rows: Vec<_> =
            rows.filter(|row| selector.0.is_empty() || selector.matches(&row.labels)).collect();
        rows.sort_by(|a, b| {
            (a.phase.unwrap_or(Phase::Converged), &a.name)
                .cmp(&(b.phase.unwrap_or(Phase::Converged), &b.name))
        });
        rows
    }

    /// Those that for longer than this have not what they were told, the longest first; all where it is 0.
    pub fn clusters_behind(&self, selector: &Selector, behind_ms: u64) -> Vec<ClusterRow> {
        let mut rows = self.clusters(selector);
        if behind_ms > 0 {
            rows.iter_mut().for_each(|row| row.behind = self.behind(&row.name, behind_ms));
            rows.retain(|row| row.behind.is_some());
            rows.sort_by_key(|row| row.behind.as_ref().map(|behind| behind.since_ms));
        }
        rows
    }

    fn cluster_row(&self, name: &ClusterName) -> ClusterRow {
        let member = self.state.members.get(name);
        let candidate = self.candidate(name);
        let entries = self.entries(name);
        let connected = self.live.contains_key(name);
        let worst = entries.iter().map(|e| e.phase).min();
        let unsettled = if self.settled(name) { Phase::Converged } else { Phase::Behind };
        let own = if connected { unsettled } else { Phase::Offline };
        ClusterRow {
            name: name.clone(),
            phase: member.map(|_| worst.map_or(own, |w| w.min(own))),
            connected,
            seen_ms: self.live.get(name).map(|l| l.since_ms).or_else(|| self.seen.get(name).copied()),
            standing: member.map(|m| m.standing),
            set: candidate.set,
            hidden_labels: self.hidden_labels(name),
            labels: candidate.labels,
            taints: candidate.taints.into_keys().collect(),
            cordoned: candidate.cordoned,
            draining: candidate.draining,
            maintenance: maintained(self.state, name, self.now_ms).cloned(),
            awaits_replacement: member.is_some_and(|m| m.standing == Standing::Member && m.is_vacant()),
            converged: entries.iter().filter(|e| e.phase == Phase::Converged).count(),
            entries: entries.len(),
            behind: None,
            facts: self.facts(name, FactsView::brief),
        }
    }

    /// Labels that an operator set and the catalog sets otherwise.
    fn hidden_labels(&self, name: &ClusterName) -> BTreeMap<String, String> {
        let declared = self.declared_labels(name);
        let own = self.state.members.get(name).map(|m| &m.membership.labels).into_iter().flatten();
        let hidden = own.filter(|(key, value)| declared.get(*key).is_some_and(|theirs| theirs != *value));
        hidden.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    fn healthy(&self, name: &ClusterName) -> Vec<AppKey> {
        let told = self.state.told(name);
        let apps = told.assignment.entries.keys();
        apps.filter(|app| is_healthy(self.state, name, app)).cloned().collect()
    }

    /// What the catalog says of a cluster, if it says anything.
    pub fn declared(&self, name: &ClusterName) -> Option<Declared> {
        let (object, cluster) = self.picture.revision.as_ref()?.catalog.cluster(name)?;
        let (labels, taints) = (object.object.labels.clone(), cluster.taints.clone());
        Some(Declared { labels, taints, cordoned: cluster.cordoned })
    }

    /// Labels that the catalog sets.
    pub fn declared_labels(&self, name: &ClusterName) -> BTreeMap<String, String> {
        self.declared(name).map(|declared| declared.labels).unwrap_or_default()
    }

    /// What a cluster said of itself, as `of` shows it, and what it has left.
    fn facts(&self, name: &ClusterName, of: fn(&Facts) -> FactsView) -> FactsView {
        let live = self.live.get(name);
        let free = live.and_then(|live| live.free.as_ref());
        let facts = self.state.facts.get(name);
        FactsView {
            free: free.map_or(Fact::Unknown, |(free, _)| Fact::Present((**free).clone())),
            free_ms: free.map(|(_, at)| *at),
            stale: facts.is_some()
                && is_stale(live.is_some(), self.seen.get(name).copied(), self.since_ms, self.now_ms),
            ..facts.map_or_else(FactsView::default, |facts| of(&facts.record))
        }
    }

    /// `hub cluster export`: what operators said of clusters and Git does not say yet.
    pub fn export(&self, clusters: &BTreeSet<ClusterName>) -> Vec<ExportView> {
        let document = |name: &ClusterName| {
            let said = &self.state.members.get(name)?.membership;
            let declared = self.picture.revision.as_ref().and_then(|r| r.catalog.cluster(name));
            let in_git = self.declared_labels(name);
            let labels = said.labels.iter().filter(|(key, _)| !in_git.contains_key(*key));
            let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.clone(), value.clone())).collect();
            let set_in_git = declared.is_some_and(|(_, cluster)| cluster.set.is_some());
            let spec =
                ClusterSpec { set: said.set.clone().filter(|_| !set_in_git), taints: said.taints.clone() };
            if labels.is_empty() && spec == ClusterSpec::default() {
                return None;
            }
            let file = declared.map(|(object, _)| object.object.origin.file.to_string());
            let document = ClusterDocument {
                api_version: API_VERSION.to_owned(),
                kind: Kind::Cluster.to_string(),
                metadata: ClusterMetadata { name: name.clone(), labels },
                spec,
            };
            Some(ExportView { file, document })
        };
        clusters.iter().filter_map(document).collect()
    }

    /// `hub secret recipients`: from the store, so that a cluster that is offline has one too.
    pub fn recipients(&self, selection: &Selection) -> Vec<RecipientRow> {
        let rows = self.selected(selection).map(|name| {
            let facts = self.state.facts.get(name);
            let recipient = facts.and_then(|facts| facts.record.recipient.present().cloned());
            RecipientRow { cluster: name.clone(), recipient }
        });
        rows.collect()
    }

    /// What of a cluster is protected, if anything is: it, or an app that it runs.
    pub fn protected_on(&self, cluster: &ClusterName) -> Option<String> {
        let guarded = match &self.picture.revision {
            Some(revision) => binding(self.state, &revision.catalog),
            // What is in effect cannot be read now: what was said of it counts.
            None => remembered(self.state),
        };
        let told = self.state.told(cluster);
        if guarded.clusters.contains(cluster) && !told.assignment.entries.is_empty() {
            return Some(format!("cluster {cluster}"));
        }
        let app = told.assignment.entries.keys().find(|app| guarded.apps.contains(*app))?;
        Some(format!("app {app}, which runs on cluster {cluster},"))
    }

    /// What is wrong with a set that a cluster is in.
    pub fn set_problem(&self, set: &str) -> Option<String> {
        let catalog = &self.picture.revision.as_ref()?.catalog;
        if catalog.set(set).is_some() {
            return None;
        }
        let about = |problem: &&Problem| {
            let object = problem.object.as_ref();
            problem.is_error() && object.is_some_and(|id| id.kind == Kind::ClusterSet && *id.name == *set)
        };
        Some(match catalog.problems.iter().find(about) {
            Some(problem) => format!("it is not valid, so no change starts before it is: {problem}"),
            None => {
                "the catalog does not have it: its parameters, windows and freezes are nobody's".to_owned()
            }
        })
    }

    /// The pauses of these scopes.
    pub fn pauses(&self, of: impl Fn(&PauseScope) -> bool) -> Vec<PauseRecord> {
        self.state.paused(self.now_ms).filter(|pause| of(&pause.scope)).cloned().collect()
    }

    /// `hub cluster show`.
    pub fn cluster(&self, name: &ClusterName) -> Option<ClusterView> {
        let revision = self.picture.revision.as_ref();
        let catalog = revision.and_then(|r| r.catalog.cluster(name));
        let member = self.state.members.get(name);
        if member.is_none() && catalog.is_none() {
            return None;
        }
        let (row, told) = (self.cluster_row(name), self.state.told(name));
        let set_problem = row.set.as_deref().and_then(|set| self.set_problem(set));
        let mut apps = self.entries(name);
        apps.sort_by(|a, b| (a.phase, &a.app).cmp(&(b.phase, &b.app)));
        let live = self.live.get(name);
        let report = self.state.reports.get(name);
        Some(ClusterView {
            row: ClusterRow { facts: self.facts(name, FactsView::of), ..row },
            operator_labels: member.map(|m| m.membership.labels.clone()).unwrap_or_default(),
            catalog_labels: self.declared_labels(name),
            said: member.map(|m| m.membership.clone()).unwrap_or_default(),
            healthy: self.healthy(name),
            address: live.map(|l| l.address.clone()),
            certificate_until_ms: member.map_or(0, |m| m.certificate_until_ms),
            epoch: told.assignment.epoch,
            generation: told.assignment.generation,
            accepted: live.and_then(|l| l.accepted).or_else(|| report.map(|r| (r.epoch, r.generation))),
            apps,
            set_problem,
            protected: revision.is_some_and(|r| Guarded::of(&r.catalog).clusters.contains(name)),
            pauses: self.pauses(|scope| scope.is_on(name)),
            closed: nave_proto::closed(&told.assignment.schedule, self.now_ms)
                .map(|closed| closed.to_string()),
            schedule: nave_proto::decode_schedule(&told.assignment.schedule).unwrap_or_default(),
            leaving: told.assignment.leaving.keys().cloned().collect(),
            unassigned: report.map(|r| r.unassigned.clone()).unwrap_or_default(),
            alarm: self.alarms.get(name).copied(),
        })
    }
}
