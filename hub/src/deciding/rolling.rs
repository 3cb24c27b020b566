//! Rolling: which entries change now, and which wait for their wave.
//!
//! In: what every cluster shall run, what it was told and reported, the courses of apps. Out: entries that stay as they are or
//! return to what they were; records of what was decided so.
//! Never: takes a report for news that is older than what it would be about; keeps a cluster that was ordered to be emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{AppForm, Cause, Change, Codec, EncodedEntry, Member, ShareOut, Told};
use nave_placement::catalog::{Catalog, CommitId, Rollout, Sources, Treatment};
use nave_placement::decide::Wanted;
use nave_placement::fleet::{Contact, Fleet};
use nave_placement::guard::{EntryKey, Verdict};
use nave_placement::overrides::{self, Because, Forms, Instead, Shapes};
use nave_placement::render::effective_objects;
use nave_placement::rollout::{
    self, Basis, Course, Moment, Next, Obstacle, Phase, Plan, Seen, Target, ToDo, WaitsFor,
};
use nave_placement::{AppKey, ClusterName, Digest, ObjectKey};

use super::awaited::Awaited;
use super::core::{Write, maintained};
use super::courses::records;
use super::granting::{self, StayKind, Stays};
use super::grouped::moved_since;
use super::health::{Now, health};
use super::hearing::Hearing;
use super::history::Turns;
use super::older::{At, Olders, Wants};
use super::pauses::Waiting;
use super::staying::OfCluster;
use super::units::Units;
use super::waiting::why_it_waits;
use crate::state::State;

/// For so long after its start a hub waits for sessions before it lets a rollout advance: by then whoever is there was heard.
pub const SETTLING_MS: u64 = 45_000;

/// So often it is looked for whoever hands objects over to one who waits: each time somebody else may have to wait.
const HANDING: usize = 8;

/// What the waves leave of a step.
#[derive(Debug, Default)]
pub struct Rolling {
    /// Entries that stay as they are, or do not come, or do not go.
    pub stays: BTreeSet<EntryKey>,
    /// Entries that are something else than the catalog says.
    pub instead: Instead,
    /// What has to be brought first.
    pub wants: Wants,
    /// What entries wait for.
    pub waiting: Waiting,
    /// What each rollout waits for.
    pub waits_for: BTreeMap<AppKey, WaitsFor>,
    /// By which commit apps leave clusters, where a rollout takes them away.
    pub removed_by: BTreeMap<AppKey, CommitId>,
    /// By which rollouts entries change now.
    pub turns: Turns,
    /// When the time alone brings something further, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// What waits for what spokes say.
    pub awaited: Awaited,
    /// What has to be written, before any assignment.
    pub writes: Vec<Write>,
}

impl Rolling {
    /// Notes what of an app's rollout waits for what spokes say.
    fn await_words(&mut self, next: &Next, plan: Option<&Plan>, members: &[AppKey]) {
        let underway = next.course.current.as_ref().map(|current| &current.underway);
        self.awaited.anything |= next.course.completed.as_ref().is_some_and(|done| !done.apart.is_empty());
        match (&next.waits_for, next.course.current.as_ref().zip(plan)) {
            (None, None) => {}
            // An operator, or the time, brings these further.
            (
                Some(
                    WaitsFor::Approval { .. }
                    | WaitsFor::Resume { .. }
                    | WaitsFor::Retry { .. }
                    | WaitsFor::Pace { .. },
                ),
                _,
            ) if underway.is_none_or(BTreeMap::is_empty) => {}
            // Nobody takes the place of one that becomes healthy: all of the wave are under way. Of one that waits by its own rules it
            // matters that it has begun.
            (Some(WaitsFor::Health { .. }), Some((current, plan)))
                if current.phase == Phase::Progressing
                    && plan.is_at_once(current.wave)
                    && !current.underway.values().any(|underway| underway.waits) =>
            {
                let apps: BTreeSet<AppKey> = members.iter().cloned().collect();
                let underway = current.underway.keys().map(|cluster| (cluster.clone(), apps.clone()));
                self.awaited.all.push(underway.collect());
            }
            _ => self.awaited.anything = true,
        }
    }

    /// What leaves now, of what may: the rest has its turn later. Whatever leaves by a rollout does so by its commit.
    pub fn keep(&self, verdict: &mut Verdict) {
        verdict.entries.retain(|key, _| !self.stays.contains(key));
        for ((app, _), cause) in &mut verdict.entries {
            if let (Cause::Labels, Some(commit)) = (&*cause, self.removed_by.get(app)) {
                *cause = Cause::Revision { commit: commit.clone() };
            }
        }
    }
}

/// What the waves are decided from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// What is in the store.
    pub state: &'a State,
    /// What is in effect.
    pub catalog: &'a Catalog,
    /// Its forms.
    pub forms: &'a Forms,
    /// What each app is as a whole.
    pub bases: &'a BTreeMap<AppKey, Basis>,
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
    /// Entries that an operator paused.
    pub paused: &'a BTreeSet<EntryKey>,
    /// Entries of which a change waits for other clusters.
    pub depends: &'a BTreeSet<EntryKey>,
    /// Of these, those that have something which is not granted, and what.
    pub ungranted: &'a Stays,
    /// Entries of which nothing is granted, or whose catalog could not be read.
    pub withdrawn: &'a Stays,
    /// Whether changes may start on a cluster now.
    pub may_start: &'a dyn Fn(&ClusterName) -> bool,
    /// What apps were by earlier commits.
    pub older: &'a Olders,
    /// What sessions know.
    pub hearing: &'a Hearing,
    /// Reads entries.
    pub codec: &'a dyn Codec,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
}

/// Brings the courses of all apps one step further.
pub fn rolling(given: Given<'_>) -> Rolling {
    let mut rolling = pass(given);
    // Whoever hands objects over to an app that waits waits with it, and so does its group; none of them goes ahead.
    let mut paused = given.paused.clone();
    for _ in 0..HANDING {
        let handing = given.who_hands_over(&rolling);
        if handing.keys().all(|key| paused.contains(key)) {
            break;
        }
        paused.extend(handing.keys().cloned());
        rolling = pass(Given { paused: &paused, ..given });
    }
    for (key, because) in given.who_hands_over(&rolling) {
        let (app, cluster) = key.clone();
        rolling.stays.insert(key);
        if let Some(because) = because {
            let why = format!("it hands objects over to app {because}, which waits");
            rolling.waiting.insert((cluster, app), why.into());
        }
    }
    rolling
}

fn pass(given: Given<'_>) -> Rolling {
    let mut rolling = Rolling::default();
    let settles_ms = settles(given.state, given.hearing, given.now_ms);
    let moment = Moment { now_ms: given.now_ms, settles_ms, since_ms: given.hearing.since_ms };
    let mut writes = Vec::new();
    for (app, clusters) in given.concerned() {
        let course = given.state.rollouts.get(app).map(|course| &*course.record);
        if given.units.lead(app) != app {
            writes.push((app, given.moves_elsewhere(app)));
            continue;
        }
        // Of a catalog that was not read yet nothing goes on, and nothing ends.
        if given.is_unread(app) {
            continue;
        }
        let known = given.course(app);
        let before = &*known;
        let plan = before.current.as_ref().and_then(|progress| given.plan(app, &progress.plan));
        if clusters.is_empty() && given.catalog.app_of(app).is_none() {
            // An app that is no more, and runs nowhere any more.
            writes.push((app, Next::default()));
            continue;
        }
        let Some((basis, rule, timeout_ms)) = given.target(app, before) else { continue };
        let (commit, sources) = given.said(app);
        let is_gone = given.catalog.app_of(app).is_none();
        let target =
            Target { app, basis: &basis, commit, sources: &sources, rule: &rule, timeout_ms, is_gone };
        let plans = plan.is_none_or(|plan| !plan.basis.is_same(&basis));
        let since_ms = plan.map(|plan| moved_since(before, plan));
        let seen = clusters
            .into_iter()
            .filter_map(|cluster| {
                Some((cluster.clone(), given.seen_together(app, cluster, plans, since_ms)?))
            })
            .collect();
        let mut next = rollout::step(before, plan, target, &seen, moment);
        let plan = next.plan.as_ref().or(plan);
        if let Some(missed) = granting::missed(given.ungranted, given.units.members(app), &seen, &next, plan)
        {
            next.waits_for = Some(missed);
        }
        let current = next.course.current.as_ref().zip(plan);
        let is_due = |cluster: &ClusterName| seen.get(cluster).is_some_and(|seen| seen.to_do.is_due());
        let members = given.units.members(app);
        for (plan, app) in plan.into_iter().flat_map(|plan| members.iter().map(move |app| (plan, app))) {
            rolling.turns.note(app, plan, &next, is_due);
        }
        for (cluster, seen) in seen.iter().filter(|(_, seen)| seen.to_do.is_due()) {
            // One of several that may not go keeps the others.
            let due: Vec<&AppKey> = given.due(app, cluster).collect();
            let kept = due.iter().find(|app| given.is_kept(&((**app).clone(), cluster.clone())));
            let kept = kept.filter(|_| due.len() > 1);
            if !next.go.contains(cluster) || kept.is_some() {
                let why: Arc<str> = match kept {
                    Some(kept) => format!("it waits with app {kept} of its group").into(),
                    None => why_it_waits(&next, current, cluster, seen).into(),
                };
                for app in due {
                    rolling.stays.insert((app.clone(), cluster.clone()));
                    rolling.waiting.insert((cluster.clone(), app.clone()), why.clone());
                }
            }
        }
        members.iter().for_each(|app| given.meanwhile(app, &basis, &seen, &next, &mut rolling));
        for (app, cluster) in members.iter().flat_map(|app| next.back.iter().map(move |c| (app, c))) {
            let key = (app.clone(), cluster.clone());
            let moved = members.len() == 1 || since_ms.is_none_or(|since| given.moved(app, cluster, since));
            match given.before(app, cluster).filter(|_| moved) {
                Some(form)
                    if !given.paused.contains(&key) && !given.gave_away(app, cluster, &form, members) =>
                {
                    rolling.instead.insert(key, (form, Because::Returns));
                }
                _ => _ = rolling.stays.insert(key),
            }
        }
        if let Some((_, plan)) = current.filter(|(_, plan)| plan.cause == rollout::Cause::Placement) {
            rolling.removed_by.extend(members.iter().map(|app| (app.clone(), plan.commit.clone())));
        }
        rolling.await_words(&next, plan, members);
        rolling.due_ms = rolling.due_ms.into_iter().chain(next.due_ms).min();
        rolling.waits_for.extend(next.waits_for.clone().map(|waits_for| (app.clone(), waits_for)));
        if course != Some(&next.course) || next.plan.is_some() {
            writes.push((app, next));
        }
    }
    rolling.writes = records(given.state, &writes);
    rolling
}

/// The version that an app shall have on a cluster, with its share of replicas.
pub fn version(shapes: &Shapes, shares: &ShareOut, app: &AppKey, cluster: &ClusterName) -> Option<Digest> {
    let form = shapes.get(app, cluster)?;
    let share = shares.get(cluster).and_then(|shares| shares.get(app));
    Some(share.map_or(form.version, |share| form.with(share).version))
}

/// Until when a hub that has just started waits for sessions; none once all members are heard, or it waited long enough.
fn settles(state: &State, hearing: &Hearing, now_ms: u64) -> Option<u64> {
    let until_ms = hearing.since_ms.saturating_add(SETTLING_MS);
    let is_heard =
        |name: &ClusterName| hearing.connected.contains_key(name) || hearing.seen.contains_key(name);
    let all = state.members.iter().filter(|(_, member)| !member.is_vacant());
    let all = all.filter(|(_, member)| member.standing == crate::state::records::Standing::Member);
    (now_ms < until_ms && !all.map(|(name, _)| name).all(is_heard)).then_some(until_ms)
}

impl<'a> Given<'a> {
    /// Apps of which something may have to be decided, each with the clusters that shall run it or were told to.
    fn concerned(&self) -> BTreeMap<&'a AppKey, BTreeSet<&'a ClusterName>> {
        let mut due: BTreeSet<&AppKey> = BTreeSet::new();
        let mut on: BTreeMap<&AppKey, BTreeSet<&ClusterName>> = BTreeMap::new();
        for (cluster, member) in self.members.iter().filter(|(_, member)| member.emptied_by.is_none()) {
            let assignment = &member.told.assignment;
            let wanted = self.wanted.get(cluster).into_iter().flat_map(|apps| apps.keys());
            for app in wanted.chain(assignment.entries.keys()).chain(assignment.leaving.keys()) {
                let unit = self.units.lead(app);
                let is_new =
                    on.entry(unit).or_default().insert(cluster) || self.units.members(unit).len() > 1;
                if is_new
                    && !due.contains(unit)
                    && self.to_do(app, cluster, &member.told).is_some_and(ToDo::is_due)
                {
                    due.insert(unit);
                }
            }
        }
        on.retain(|app, _| due.contains(app) || self.is_moving(app));
        // An app that runs nowhere any more ends its rollout, and one that is no more what was remembered of it.
        let ours =
            self.state.rollouts.iter().filter(|(app, _)| self.catalog.commit_of(&app.catalog).is_some());
        for (app, course) in ours {
            let is_led = self.units.lead(app) != app;
            if course.current.is_some() || is_led || self.catalog.app_of(app).is_none() {
                on.entry(app).or_default();
            }
        }
        on
    }

    /// Whether an app's course is more than that all is done.
    fn is_moving(&self, app: &AppKey) -> bool {
        let Some(course) = self.state.rollouts.get(app) else { return true };
        let Course { completed, current, block, retry, versions: _, past: _ } = &*course.record;
        let is_done = |basis: &Basis| {
            completed
                .as_ref()
                .is_some_and(|done| done.basis.with(basis) == done.basis && done.apart.is_empty())
        };
        let basis = self.units.basis(app, self.bases);
        current.is_some() || block.is_some() || retry.is_some() || !basis.as_ref().is_some_and(is_done)
    }

    /// Entries that hand objects over to an app that waits, and to which; to none, where nothing of them would change.
    fn who_hands_over(&self, rolling: &Rolling) -> BTreeMap<EntryKey, Option<AppKey>> {
        let mut by_cluster: BTreeMap<&ClusterName, Vec<&AppKey>> = BTreeMap::new();
        // Who returns, or has an earlier version meanwhile, takes nothing over either.
        let waits = rolling.stays.iter().chain(rolling.instead.keys());
        waits.for_each(|(app, cluster)| by_cluster.entry(cluster).or_default().push(app));
        let mut handing = BTreeMap::new();
        for (cluster, apps) in by_cluster {
            let Some(member) = self.members.get(cluster) else { continue };
            let (told, shall) = (&*member.told, self.wanted.get(cluster));
            let Self { shapes, shares, codec, .. } = *self;
            let of = OfCluster { cluster, told, shall, shapes, shares, codec };
            let mut stays: BTreeMap<&AppKey, &AppKey> =
                of.apps().into_iter().filter(|app| apps.contains(app)).map(|app| (app, app)).collect();
            of.with_who_hands_over(&mut stays);
            for (app, because) in stays.into_iter().filter(|(app, because)| app != because) {
                let because = of.changes(app).then(|| because.clone());
                handing.insert((app.clone(), cluster.clone()), because);
            }
        }
        handing
    }

    fn plan(&self, app: &AppKey, id: &rollout::RolloutId) -> Option<&'a Plan> {
        self.state.plans.get(&(app.clone(), id.as_str().to_owned())).map(|plan| &*plan.record)
    }

    /// What an app is to become and how it moves. One that has left the catalog goes as it would without a rule of its own.
    fn target(&self, app: &AppKey, course: &Course) -> Option<(Basis, Rollout, u64)> {
        let Some((_, own)) = self.catalog.app_of(app) else {
            let basis = course.current.as_ref().and_then(|p| self.plan(app, &p.plan)).map(|p| &p.basis);
            let basis = basis.or(course.completed.as_ref().map(|done| &done.basis));
            return Some((
                basis.cloned().unwrap_or_default(),
                Rollout::default(),
                Treatment::default().timeout.0,
            ));
        };
        // What it is cannot be told before it is rendered.
        let basis = self.units.basis(app, self.bases)?;
        let members = self.units.members(app).iter();
        let timeouts = members.filter_map(|app| Some(self.catalog.app_of(app)?.1.treatment.timeout.0));
        Some((basis, self.catalog.rollout_of(own), timeouts.max().unwrap_or(own.treatment.timeout.0)))
    }

    /// By which commit an app is what it is to become, and what its remotes are with that: those of a pin that means all of its
    /// clusters, or the ones in effect.
    fn said(&self, app: &AppKey) -> (&'a CommitId, Sources) {
        let pins = self.state.pins.range((app.clone(), String::new())..).take_while(|((of, _), _)| of == app);
        let whole = pins.map(|(_, pin)| &*pin.record).filter(|pin| pin.selector.0.is_empty());
        match whole.max_by_key(|pin| pin.at_ms) {
            Some(pin) => (&pin.commit, pin.sources.clone()),
            None => {
                let mut sources = overrides::sources(self.forms, self.units.members(app));
                // What did not change with its remote has the state in which it changed last: the newest gives the same.
                let forms = self.units.members(app).iter().filter_map(|app| self.forms.get(app));
                let is_stale = forms.flat_map(BTreeMap::values).any(|form| form.is_stale);
                for (remote, at) in sources.iter_mut().filter(|_| !is_stale) {
                    if let Some(now) = self.state.sources.get(remote) {
                        *at = now.at.clone();
                    }
                }
                (self.catalog.commit_of(&app.catalog).unwrap_or(&self.catalog.commit), sources)
            }
        }
    }

    /// The form that an app shall have on a cluster.
    fn version(&self, app: &AppKey, cluster: &ClusterName) -> Option<Digest> {
        version(self.shapes, self.shares, app, cluster)
    }

    fn wants(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        self.wanted.get(cluster).is_some_and(|apps| apps.contains_key(app))
    }

    fn is_at_rest(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        let stay = || self.ungranted.get(&(app.clone(), cluster.clone()));
        !self.ungranted.is_empty() && stay().is_some_and(|stay| stay.kind == StayKind::AtRest)
    }

    /// What is to happen to an app on a cluster; none where it goes on under another name, or has gone.
    pub(super) fn to_do(self, app: &AppKey, cluster: &ClusterName, told: &Told) -> Option<ToDo> {
        let assignment = &told.assignment;
        let former = || self.shapes.former(app).filter(|old| !self.wants(old, cluster));
        let entry = assignment.entries.get(app);
        if !self.wants(app, cluster) {
            let is_renamed = || {
                let wanted = self.wanted.get(cluster).into_iter().flat_map(|apps| apps.keys());
                wanted.into_iter().any(|new| self.shapes.former(new).any(|old| old == app))
            };
            return match (entry.is_some(), assignment.leaving.contains_key(app)) {
                (true, _) => (!is_renamed()).then_some(ToDo::Remove),
                (false, true) => Some(ToDo::Leaving),
                (false, false) => None,
            };
        }
        // What it shall be is not known, or it is that but for what is granted: it stays as it is.
        if self.is_at_rest(app, cluster) {
            return Some(ToDo::Nothing);
        }
        let Some(version) = self.version(app, cluster) else { return Some(ToDo::Nothing) };
        let runs = |entry: &EncodedEntry| self.codec.decode(entry).is_some_and(|e| e.version == version);
        match entry {
            Some(entry) if runs(entry) => Some(ToDo::Nothing),
            Some(_) => Some(ToDo::Change),
            None if former().any(|old| assignment.entries.contains_key(old)) => Some(ToDo::Change),
            None => Some(ToDo::Install),
        }
    }

    /// The same; what takes a removal back disturbs nothing.
    pub(super) fn task(&self, app: &AppKey, cluster: &ClusterName, told: &Told) -> Option<ToDo> {
        let to_do = self.to_do(app, cluster, told)?;
        let comes_back = |name: &AppKey| told.assignment.leaving.contains_key(name);
        let takes_back = || comes_back(app) || self.shapes.former(app).any(comes_back);
        Some(if to_do == ToDo::Install && takes_back() { ToDo::Nothing } else { to_do })
    }

    /// A cluster; when changes may start there matters only to whoever plans.
    pub(super) fn seen(&self, app: &AppKey, cluster: &ClusterName, plans: bool) -> Option<Seen<'a>> {
        let member = self.members.get(cluster)?;
        let candidate = self.fleet.get(cluster)?;
        let told = &member.told;
        let key = (app.clone(), cluster.clone());
        let is_withdrawn = !self.withdrawn.is_empty() && self.withdrawn.contains_key(&key);
        let to_do = match is_withdrawn {
            true if self.misses(app, cluster) => ToDo::Change,
            true => ToDo::Nothing,
            false => self.task(app, cluster, told)?,
        };
        let is_online = candidate.contact == Contact::Connected;
        let is_worked_on = maintained(self.state, cluster, self.now_ms).is_some();
        let is_held = self.state.holds.values().any(|hold| hold.hold.is_of_entry(&key));
        let obstacle = if !is_online || is_worked_on || is_held || is_withdrawn {
            Some(Obstacle::Away)
        } else {
            self.is_kept(&key).then_some(Obstacle::Paused)
        };
        let change = told.changes.get(app);
        let may_start = || (self.may_start)(cluster);
        let now = Now { is_online, may_start: &may_start };
        Some(Seen {
            candidate,
            to_do,
            health: health(app, told, member.report, now, self.codec),
            obstacle,
            may_start: !plans || (self.may_start)(cluster),
            has_just_joined: told.assignment.generation.0 == 0,
            can_return: !is_withdrawn && change.is_some_and(|change| change.previous.is_some()),
            is_withdrawn,
            is_pinned: self.shapes.because(app, cluster) == Some(Because::Pinned),
            told_ms: change.map_or(0, |change| change.at_ms),
        })
    }

    /// Whether the catalog of an app is named and could not be read yet.
    fn is_unread(&self, app: &AppKey) -> bool {
        let catalog = self.catalog;
        catalog.commit_of(&app.catalog).is_none() && catalog.tenant(&app.catalog).is_some()
    }

    /// Whether a cluster did not have its turn in the rollout that is under way, or in the one before: it does not count as done, and
    /// catches up.
    fn misses(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        let lead = self.units.lead(app);
        let Some(course) = self.state.rollouts.get(lead) else { return false };
        match course.current.as_ref().and_then(|progress| Some((progress, self.plan(lead, &progress.plan)?)))
        {
            Some((progress, plan)) => plan.has(cluster) && !progress.had(cluster),
            None => course.completed.as_ref().is_some_and(|done| done.apart.contains(cluster)),
        }
    }

    /// Whether an entry may not change now, whatever its rollout says.
    pub(super) fn is_kept(&self, key: &EntryKey) -> bool {
        self.paused.contains(key) || self.depends.contains(key)
    }

    /// Who joins while a newer version is on its way, or blocked, has the one that was rolled out last until its turn.
    fn meanwhile(
        &self,
        app: &AppKey,
        basis: &Basis,
        seen: &BTreeMap<ClusterName, Seen<'_>>,
        next: &Next,
        rolling: &mut Rolling,
    ) {
        let completed = next.course.completed.as_ref().filter(|done| !done.basis.is_same_version(basis));
        let Some(completed) = completed else { return };
        let plan = next.plan.as_ref();
        let plan = plan.or(next.course.current.as_ref().and_then(|progress| self.plan(app, &progress.plan)));
        let is_planned = |name: &ClusterName| plan.is_some_and(|plan| plan.has(name));
        let joins = seen.iter().filter(|(name, seen)| {
            seen.to_do == ToDo::Install && !next.go.contains(*name) && !is_planned(name)
        });
        let joins = joins.map(|(name, _)| (app.clone(), name.clone()));
        let joins: BTreeSet<ClusterName> =
            joins.filter(|key| !self.paused.contains(key)).map(|(_, name)| name).collect();
        if joins.is_empty() {
            return;
        }
        let (catalog, commit) = (app.catalog.clone(), completed.commit.clone());
        let at = At { catalog, commit, sources: completed.sources.clone() };
        let forms = self.older.at(&at, app, &joins, self.fleet, &mut rolling.wants);
        for (cluster, form) in forms {
            let key = (app.clone(), cluster);
            rolling.stays.remove(&key);
            rolling.instead.insert(key, (form, Because::Meanwhile));
        }
    }

    /// Whether objects that an app would let go by returning are such as another app of the cluster gave it: nobody would have them
    /// then.
    fn gave_away(&self, app: &AppKey, cluster: &ClusterName, form: &AppForm, with: &[AppKey]) -> bool {
        let Some(member) = self.members.get(cluster) else { return false };
        let told = &*member.told;
        let objects = |entry: &EncodedEntry| {
            let entry = self.codec.decode(entry)?;
            let objects = self.codec.objects(&entry.bundle)?;
            Some(effective_objects(&objects, &entry.options, &entry.values))
        };
        let back = self.codec.objects(&form.bundle);
        let back =
            back.map(|objects| effective_objects(&objects, &form.options, &form.values)).unwrap_or_default();
        let Some(now) = told.assignment.entries.get(app).and_then(objects) else { return false };
        let lost: BTreeSet<ObjectKey> = now.difference(&back).cloned().collect();
        if lost.is_empty() {
            return false;
        }
        let had = |(other, change): (&AppKey, &Change)| {
            // Those that move with it return with it.
            let before = change.previous.as_ref().filter(|_| !with.contains(other)).and_then(objects);
            let still = || told.assignment.entries.get(other).and_then(objects).unwrap_or_default();
            before.is_some_and(|before| lost.intersection(&before).any(|key| !still().contains(key)))
        };
        told.changes.iter().any(had)
    }

    /// What an app was on a cluster before.
    fn before(&self, app: &AppKey, cluster: &ClusterName) -> Option<Arc<AppForm>> {
        let change = self.members.get(cluster)?.told.changes.get(app)?;
        let entry = self.codec.decode(change.previous.as_ref()?)?;
        Some(Arc::new(AppForm {
            bundle: entry.bundle,
            options: entry.options,
            version: entry.version,
            commit: entry.commit,
            source_at: entry.source_at,
            values: entry.values,
        }))
    }
}
