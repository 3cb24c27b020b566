//! Look: how clusters stood when the hub decided, for somebody who decides nothing.
//!
//! In: the commit in effect, what clusters were told, the reports that arrived. Out: what each cluster shall run, what is to happen to
//! an app there, how that is doing. Never: takes a report that is older than what it would be about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_hub::state::records::{MemberRecord, Standing};
use nave_hub::state::{State, Versioned};
use nave_placement::assign::{Epoch, Generation};
use nave_placement::overrides::{Forms, Variant};
use nave_placement::report::{EntryReason, EntryState, Report};
use nave_placement::{AppKey, ClusterName, Digest};

use super::git::{self, Commit};

/// What every cluster was told, by app.
pub type AllTold = BTreeMap<ClusterName, BTreeMap<AppKey, Told>>;

/// What a cluster was told of an app, and with which assignment that came.
#[derive(Clone, Copy)]
pub struct Told {
    /// What.
    pub version: Digest,
    /// The order of that assignment.
    pub since: (Epoch, Generation),
}

/// A cluster, when the hub decided last.
pub struct Member {
    /// Its label.
    pub env: String,
    /// It was never told anything.
    pub joins: bool,
    /// Changes may not start there.
    pub frozen: bool,
    /// The network cuts it off.
    pub away: bool,
    /// What it was told.
    pub told: BTreeMap<AppKey, Told>,
    /// What leaves it.
    pub leaving: BTreeSet<AppKey>,
    /// What it shall run; without a version what cannot be rendered.
    pub wanted: BTreeMap<AppKey, Option<Digest>>,
    /// Apps of which a change is held here.
    pub held: BTreeSet<AppKey>,
    /// What it said last.
    pub report: Option<Arc<Report>>,
}

/// How an app is with what it was told; the worst is the largest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// It said of just this that it is well.
    Well,
    /// It waits by a rule that it was told.
    Waits,
    /// It has not said so.
    Open,
    /// It said that something failed.
    Sick,
}

/// What is to happen to an app on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Another version comes, or another name.
    Change,
    /// It comes.
    Install,
    /// It leaves.
    Remove,
}

/// All, when the hub decided last.
pub struct Look {
    /// What is in effect.
    pub commit: Commit,
    /// Unix milliseconds, by the hub's clock.
    pub now_ms: u64,
    /// Clusters, but for those that are ordered out.
    pub members: BTreeMap<ClusterName, Member>,
}

impl Member {
    /// How an app is there.
    pub fn health(&self, app: &AppKey) -> Health {
        let Some(told) = self.told.get(app) else {
            return if self.leaving.contains(app) { Health::Open } else { Health::Well };
        };
        let report = self.report.as_ref().filter(|report| (report.epoch, report.generation) >= told.since);
        let Some(said) = report.and_then(|report| report.entries.get(app)) else { return Health::Open };
        let has_it = said.version == Some(told.version);
        let is_left_over = said.reason == EntryReason::PruneRefused && said.healthy == said.objects;
        let waits = [
            EntryReason::Frozen,
            EntryReason::WindowClosed,
            EntryReason::Paused,
            EntryReason::DependencyNotReady,
            EntryReason::GroupNotReady,
        ];
        match said.state {
            EntryState::Healthy if has_it => Health::Well,
            _ if is_left_over => Health::Well,
            // What was heard before that says nothing of now.
            _ if self.away => Health::Open,
            EntryState::Waiting if waits.contains(&said.reason) => Health::Waits,
            EntryState::Degraded | EntryState::Failed if said.reason == EntryReason::GroupReturned => {
                Health::Sick
            }
            // What ails the version before is told first.
            EntryState::Degraded | EntryState::Failed if self.frozen && !has_it => Health::Waits,
            EntryState::Degraded | EntryState::Failed => Health::Sick,
            _ => Health::Open,
        }
    }

    /// How these are, by the one that is worst.
    pub fn worst<'a>(&self, apps: impl IntoIterator<Item = &'a AppKey>) -> Health {
        apps.into_iter().map(|app| self.health(app)).max().unwrap_or(Health::Well)
    }

    /// What is to happen to an app.
    pub fn task(&self, app: &AppKey, commit: &Commit) -> Option<Task> {
        let mut had = former(commit, app).filter(|old| !self.wanted.contains_key(old));
        match (self.told.get(app), self.wanted.get(app)) {
            (Some(told), Some(Some(version))) => (told.version != *version).then_some(Task::Change),
            (None, Some(Some(_))) if had.any(|old| self.told.contains_key(&old)) => Some(Task::Change),
            (None, Some(Some(_))) => (!self.comes_back(app, commit)).then_some(Task::Install),
            (Some(_), None) => {
                let goes_on = self.wanted.keys().any(|new| former(commit, new).any(|old| old == *app));
                (!goes_on).then_some(Task::Remove)
            }
            _ => None,
        }
    }

    /// Whether it takes a removal back, which disturbs nothing.
    pub fn comes_back(&self, app: &AppKey, commit: &Commit) -> bool {
        let had = former(commit, app).filter(|old| !self.wanted.contains_key(old));
        had.chain([app.clone()]).any(|app| self.leaving.contains(&app))
    }

    /// What is to happen to apps that move as one; the one thing that matters most.
    pub fn due(&self, apps: &[AppKey], commit: &Commit) -> Option<Task> {
        let tasks: Vec<Task> = apps.iter().filter_map(|app| self.task(app, commit)).collect();
        [Task::Change, Task::Install, Task::Remove].into_iter().find(|task| tasks.contains(task))
    }

    /// Whether it has anything to do with these apps.
    pub fn has(&self, apps: &[AppKey]) -> bool {
        apps.iter().any(|app| {
            self.told.contains_key(app) || self.leaving.contains(app) || self.wanted.contains_key(app)
        })
    }
}

/// The former names of an app.
pub fn former<'a>(commit: &'a Commit, app: &AppKey) -> impl Iterator<Item = AppKey> + 'a {
    let model = commit.apps.get(app.name());
    model.into_iter().flat_map(|model| model.formerly.iter().map(|old| git::key(old)))
}

impl Look {
    /// By the state from which the hub decides.
    pub fn of(
        state: &State,
        commit: &Commit,
        forms: &Forms,
        told: &AllTold,
        (away, now_ms): (&BTreeSet<ClusterName>, u64),
    ) -> Self {
        let is_member = |standing: &Standing| *standing == Standing::Member;
        let members = state.members.iter().filter(|(_, member)| is_member(&member.standing));
        let held = |cluster: &ClusterName| {
            let of = state.holds.values().flat_map(|hold| hold.hold.entries.iter());
            of.filter(|(_, name)| name == cluster).map(|(app, _)| app.clone()).collect()
        };
        let member = |(name, member): (&ClusterName, &Versioned<Arc<MemberRecord>>)| {
            let env = member.membership.labels.get("env").cloned().unwrap_or_default();
            let wanted = commit.apps.iter().filter(|(_, model)| model.env.is_empty() || model.env == env);
            let wanted = wanted.map(|(app, _)| {
                let form = forms.get(&git::key(app)).and_then(|forms| forms.get(&Variant::default()));
                (git::key(app), form.map(|form| form.version))
            });
            let assignment = &state.told(name).assignment;
            let member = Member {
                joins: assignment.generation == Generation(0),
                away: away.contains(name),
                frozen: commit.frozen && member.membership.set.is_some(),
                told: told.get(name).cloned().unwrap_or_default(),
                leaving: assignment.leaving.keys().cloned().collect(),
                wanted: wanted.collect(),
                held: held(name),
                report: state.reports.get(name).map(|report| report.report.clone()),
                env,
            };
            (name.clone(), member)
        };
        Self { commit: commit.clone(), now_ms, members: members.map(member).collect() }
    }
}
