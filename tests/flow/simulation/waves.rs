//! Waves: what a `Rollout` promises, checked by somebody who knows what clusters were told and what they said.
//!
//! In: the commits of the repository, what every cluster is told, the reports that arrived, what the audit log says of the beginning
//! and end of a rollout, and which clusters a new plan puts into which wave. Out: the first cluster that was told something too early.
//! Never: reads how far the hub believes a rollout to be; shares numbers with it.
//!
//! After each batch that the hub writes, it checks:
//!
//! - A plan has everybody in it whose version changes, and its waves are as large as the `Rollout` says, of whom it says: counts, and
//!   shares of all with those before, rounded up.
//! - The clusters of a wave that were well before they were sent the change, and have not been well with it, are never more than
//!   its `maxUnavailable`, rounded down, but at least one. One that was not in time keeps its slot; as many as may fail do not stop the
//!   others, who then go one by one. A cluster that is in no wave is in the last one, unless it has just joined.
//! - Nobody of a wave is sent the change before those of each earlier one were: all but who is away or held, and they are well, or not
//!   in time and no more than may fail, at least one of them well, and all of it for as long as the soak. Who left counts no longer.
//! - With more failures than may be nobody else is sent it until an operator lets these pass.
//! - While it is taken back nobody is sent it any more, and of those who were well at most `maxUnavailable` return at once.
//! - An app that ran on a cluster changes by a rollout only; one that was away or held catches up under the last wave's budget.

use std::collections::{BTreeMap, BTreeSet};

use nave_hub::state::{Audit, State, Step};
use nave_placement::assign::Entry;
use nave_placement::overrides::Forms;
use nave_placement::{AppKey, ClusterName};

use super::git::{self, Commit};
use super::look::{AllTold, Health, Look, Member, Task, Told, former};
use super::rules::{Number, Rule, WaveRule};
use super::spoke::entries;

/// How long an app may take where nobody says otherwise, milliseconds.
const TIMEOUT_MS: u64 = 600_000;

/// A cluster that was sent the change, or back.
struct Sent {
    /// Unix milliseconds.
    at_ms: u64,
    wave: usize,
    /// It was not well before: it costs nothing.
    free: bool,
    /// What changed.
    apps: BTreeSet<AppKey>,
    well: bool,
    waits: bool,
    late: bool,
    /// It was not in time by the clock as it stands now, which somebody may have set back.
    overdue: bool,
    /// An operator let it pass.
    passed: bool,
}

impl Sent {
    fn is_open(&self) -> bool {
        !self.well && !self.passed
    }
}

struct Wave {
    members: BTreeSet<ClusterName>,
    budget: usize,
    failures: usize,
    soak_ms: u64,
    /// Since when all that were sent the change are well, Unix milliseconds; the earliest where the clock was set back.
    well_since_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Going,
    Returning,
    Over,
}

/// A rollout.
struct Movement {
    id: String,
    waves: Vec<Wave>,
    deadline_ms: u64,
    phase: Phase,
    sent: BTreeMap<ClusterName, Sent>,
    returned: BTreeMap<ClusterName, Sent>,
    /// Who had not been sent the change in the end.
    apart: BTreeSet<ClusterName>,
    retried: bool,
}

/// What it remembers.
#[derive(Default)]
pub struct Waves {
    look: Option<Look>,
    told: AllTold,
    movements: BTreeMap<AppKey, Movement>,
    /// Entries that were to leave when they were last looked at: if a label brings them back, that moves this cluster alone.
    astray: BTreeSet<(AppKey, ClusterName)>,
}

impl Waves {
    /// The hub is about to decide from this, with these clusters away, at this time (Unix milliseconds).
    pub fn deciding(
        &mut self,
        state: &State,
        commit: &Commit,
        forms: &Forms,
        now: (&BTreeSet<ClusterName>, u64),
    ) {
        self.learn(state);
        let look = Look::of(state, commit, forms, &self.told, now);
        let lives = |lead: &AppKey| commit.apps.contains_key(lead.name()) && git::lead(commit, lead) == *lead;
        self.movements.retain(|lead, _| lives(lead));
        for (lead, movement) in &mut self.movements {
            movement.hear(&git::together(commit, lead), &look);
        }
        for (name, member) in &look.members {
            let gone = member.told.keys().filter(|app| !member.wanted.contains_key(*app));
            self.astray.extend(gone.map(|app| (app.clone(), name.clone())));
        }
        let told = &self.told;
        self.astray.retain(|(app, name)| told.get(name).is_some_and(|told| told.contains_key(app)));
        self.look = Some(look);
    }

    /// Takes in what clusters are told.
    fn learn(&mut self, state: &State) {
        for (cluster, told) in &state.told {
            let known = self.told.remove(cluster).unwrap_or_default();
            let entry = |(app, entry): (AppKey, Result<Entry, String>)| {
                let version = entry.ok()?.version;
                let same = known.get(&app).filter(|known| known.version == version);
                let told = same.copied().unwrap_or(Told { version, since: told.assignment.order() });
                Some((app, told))
            };
            let now = entries(&told.assignment.entries).into_iter().filter_map(entry).collect();
            self.told.insert(cluster.clone(), now);
        }
        self.told.retain(|cluster, _| state.told.contains_key(cluster));
    }

    /// An operator has a rollout tried again.
    pub fn retried(&mut self, lead: &AppKey) {
        if let Some(movement) = self.movements.get_mut(lead) {
            movement.retried = true;
            movement.let_pass();
        }
    }

    /// The hub wrote something.
    ///
    /// # Errors
    /// What it should not have done.
    pub fn wrote(&mut self, step: Step, audits: &[Audit], state: &State) -> Result<(), String> {
        match step {
            Step::RolloutAdvanced => audits.iter().try_for_each(|audit| self.heard(audit, state)),
            Step::AssignmentsMade => self.assigned(state),
            _ => Ok(()),
        }
    }

    /// The audit log says something of a rollout.
    fn heard(&mut self, audit: &Audit, state: &State) -> Result<(), String> {
        let Some(id) = audit.subject.strip_prefix("rollout ") else { return Ok(()) };
        let Some((lead, look)) = id.split_once('@').zip(self.look.as_ref()) else { return Ok(()) };
        let lead: AppKey = git::key(lead.0);
        let apps = git::together(&look.commit, &lead);
        let movement = self.movements.get_mut(&lead).filter(|movement| movement.id == id);
        match (audit.what, movement) {
            ("RolloutStarted", _) => {
                let plan = state.plans.get(&(lead.clone(), id.to_owned()));
                let Some(plan) = plan else { return Err(format!("rollout {id} has no plan")) };
                let waves = plan.record.waves.iter().map(|wave| wave.members.iter().cloned().collect());
                let movement = Movement::begin(id, waves.collect(), &lead, look)?;
                self.movements.insert(lead, movement);
            }
            ("RollingBack", Some(movement)) => movement.phase = Phase::Returning,
            ("RolloutCompleted" | "RolledBack" | "RolloutSuperseded", Some(movement)) => {
                movement.phase = Phase::Over;
                let is_due = |name: &&ClusterName| look.members[*name].due(&apps, &look.commit).is_some();
                movement.apart = look.members.keys().filter(is_due).cloned().collect();
            }
            _ => {}
        }
        Ok(())
    }

    /// Clusters are told something else.
    fn assigned(&mut self, state: &State) -> Result<(), String> {
        let before = self.told.clone();
        self.learn(state);
        let Some(look) = &self.look else { return Ok(()) };
        // Who moves as one, where, and what changed of it.
        let mut moved: BTreeMap<(AppKey, ClusterName), BTreeMap<AppKey, Task>> = BTreeMap::new();
        for (cluster, member) in &look.members {
            let none = BTreeMap::new();
            let (old, new) = (before.get(cluster).unwrap_or(&none), self.told.get(cluster).unwrap_or(&none));
            let is_astray = |app: &AppKey| self.astray.contains(&(app.clone(), cluster.clone()));
            for app in old.keys().chain(new.keys()) {
                let (was, is) = (old.get(app), new.get(app));
                let has = |names: &BTreeMap<AppKey, Told>, new: &AppKey| {
                    former(&look.commit, new).any(|old| names.contains_key(&old))
                };
                let task = match (was, is) {
                    (Some(was), Some(is)) if was.version == is.version => continue,
                    (Some(_), Some(_)) => Task::Change,
                    (None, _) if has(old, app) => Task::Change,
                    (None, _) if member.comes_back(app, &look.commit) => continue,
                    (None, _) => Task::Install,
                    // It goes on under another name.
                    (Some(_), None)
                        if new.keys().any(|new| former(&look.commit, new).any(|old| old == *app)) =>
                    {
                        continue;
                    }
                    (Some(_), None) => Task::Remove,
                };
                let lead = git::lead(&look.commit, app);
                let own = is_astray(app) || former(&look.commit, app).any(|old| is_astray(&old));
                if own && !self.movements.get(&lead).is_some_and(|movement| movement.phase != Phase::Over) {
                    continue;
                }
                moved.entry((lead, cluster.clone())).or_default().insert(app.clone(), task);
            }
        }
        for ((lead, cluster), tasks) in moved {
            if !look.commit.apps.contains_key(lead.name()) {
                continue;
            }
            let apps = git::together(&look.commit, &lead);
            if super::trace() {
                eprintln!("{cluster} is told {tasks:?} of {lead}");
            }
            let changes = tasks.values().any(|task| *task == Task::Change);
            match self.movements.get_mut(&lead) {
                Some(movement) => movement.told(&cluster, &apps, &tasks, look),
                None if changes => Err("without any rollout".to_owned()),
                None => Ok(()),
            }
            .map_err(|why| {
                // For whoever reads it.
                let course = state.rollouts.get(&lead).map(|course| &course.record.current);
                format!("{lead} was changed on {cluster} {why}; the hub has it at {course:?}")
            })?;
        }
        Ok(())
    }
}

impl Movement {
    /// Works out the numbers, and compares them with the waves of the hub's plan.
    fn begin(
        id: &str,
        planned: Vec<BTreeSet<ClusterName>>,
        lead: &AppKey,
        look: &Look,
    ) -> Result<Self, String> {
        let rule: Rule = git::rule(&look.commit, lead);
        let apps = git::together(&look.commit, lead);
        let all: BTreeSet<ClusterName> = planned.iter().flatten().cloned().collect();
        let count = planned.iter().map(BTreeSet::len).sum::<usize>();
        let mut left = all.clone();
        let mut planned = planned.into_iter();
        let mut waves = Vec::new();
        for wave in rule.waves.iter().chain([&WaveRule::default()]) {
            let is_meant = |name: &&ClusterName| {
                let env = look.members.get(*name).map(|member| member.env.as_str());
                wave.env.is_none() || env == wave.env
            };
            let pool: BTreeSet<ClusterName> = left.iter().filter(is_meant).cloned().collect();
            let most = match wave.size {
                None => pool.len(),
                Some(Number::Of(of)) => of,
                Some(share) => share.up(count).saturating_sub(count - left.len()),
            };
            let size = most.min(pool.len());
            if size == 0 {
                continue;
            }
            let members = planned.next().unwrap_or_default();
            if members.len() != size || !members.is_subset(&pool) {
                return Err(format!("rollout {id} has {members:?} in a wave of {size} of {pool:?}"));
            }
            left.retain(|name| !members.contains(name));
            let budget = wave.unavailable.map_or(size, |most| most.down(size).max(1));
            let (failures, soak_ms) = (rule.failed.down(size), wave.soak_ms);
            waves.push(Wave { members, budget, failures, soak_ms, well_since_ms: None });
        }
        for (name, member) in &look.members {
            if member.due(&apps, &look.commit) == Some(Task::Change) && !all.contains(name) {
                return Err(format!("rollout {id} leaves {name} out"));
            }
        }
        let mut movement = Self {
            id: id.to_owned(),
            waves,
            deadline_ms: rule.deadline_ms.unwrap_or(TIMEOUT_MS),
            phase: Phase::Going,
            sent: BTreeMap::new(),
            returned: BTreeMap::new(),
            apart: BTreeSet::new(),
            retried: false,
        };
        // Who has it already and is not well has its place in it, too.
        for (name, member) in look.members.iter().filter(|(name, _)| all.contains(*name)) {
            if member.due(&apps, &look.commit).is_none() {
                let sent = Sent::new(movement.wave_of(name), apps.iter().cloned().collect(), look.now_ms);
                movement.sent.insert(name.clone(), sent);
            }
        }
        movement.hear(&apps, look);
        Ok(movement)
    }

    fn wave_of(&self, cluster: &ClusterName) -> usize {
        let of = self.waves.iter().position(|wave| wave.members.contains(cluster));
        of.unwrap_or(self.waves.len().saturating_sub(1))
    }

    /// Takes what clusters say.
    fn hear(&mut self, apps: &[AppKey], look: &Look) {
        // Who has left, or is left by the app.
        let is_here = |name: &ClusterName| look.members.get(name).is_some_and(|member| member.has(apps));
        self.sent.retain(|name, _| is_here(name));
        self.returned.retain(|name, _| is_here(name));
        for (name, sent) in self.sent.iter_mut().chain(&mut self.returned) {
            let health = look.members[name].worst(&sent.apps);
            sent.well |= health == Health::Well;
            if sent.waits && health != Health::Waits {
                sent.at_ms = look.now_ms;
            }
            sent.waits = health == Health::Waits;
            sent.overdue = !sent.waits && look.now_ms >= sent.at_ms.saturating_add(self.deadline_ms);
            sent.late |= sent.overdue;
        }
        if std::mem::take(&mut self.retried) {
            self.let_pass();
        }
        for (number, wave) in self.waves.iter_mut().enumerate() {
            let mut of = self.sent.values().filter(|sent| sent.wave == number);
            let all = of.all(|sent| !sent.is_open() || sent.late);
            let since_ms = wave.well_since_ms.map_or(look.now_ms, |since_ms| since_ms.min(look.now_ms));
            wave.well_since_ms = all.then_some(since_ms);
        }
    }

    fn let_pass(&mut self) {
        self.sent.values_mut().filter(|sent| sent.late && !sent.well).for_each(|sent| sent.passed = true);
    }

    /// A cluster was told something else.
    fn told(
        &mut self,
        cluster: &ClusterName,
        apps: &[AppKey],
        tasks: &BTreeMap<AppKey, Task>,
        look: &Look,
    ) -> Result<(), String> {
        let member = &look.members[cluster];
        let changes = tasks.values().any(|task| *task == Task::Change);
        let changed: BTreeSet<AppKey> = tasks.keys().cloned().collect();
        let known = self.sent.contains_key(cluster);
        match self.phase {
            Phase::Returning => self.returns(cluster, changed, look),
            Phase::Over if self.apart.contains(cluster) => {
                self.apart.remove(cluster);
                let last = self.waves.len().saturating_sub(1);
                self.sent.insert(cluster.clone(), Sent::new(last, changed, look.now_ms));
                self.keeps_budget(last)
            }
            Phase::Over if changes => Err(format!("after rollout {}", self.id)),
            Phase::Over => Ok(()),
            // What is its own moves it alone.
            Phase::Going if known || member.joins => Ok(()),
            Phase::Going => {
                let wave = self.wave_of(cluster);
                let is_planned = self.waves[wave].members.contains(cluster);
                if tasks.values().all(|task| *task == Task::Remove) && !is_planned {
                    return Ok(());
                }
                let mut sent = Sent::new(wave, changed, look.now_ms);
                sent.free = member.worst(apps) == Health::Sick;
                let free = sent.free;
                self.sent.insert(cluster.clone(), sent);
                self.comes_in_turn(wave, apps, look)?;
                if free { Ok(()) } else { self.keeps_budget(wave) }
            }
        }
    }

    fn keeps_budget(&self, number: usize) -> Result<(), String> {
        let wave = &self.waves[number];
        let open = self.sent.iter().filter(|(_, sent)| sent.wave == number && sent.is_open() && !sent.free);
        let (late, open): (Vec<_>, Vec<_>) = open.partition(|(_, sent)| sent.late);
        // As many as may fail do not stop it.
        if open.len() + late.len() <= wave.budget || open.len() <= 1 {
            return Ok(());
        }
        let names = |of: &[(&ClusterName, &Sent)]| {
            of.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(", ")
        };
        Err(format!(
            "in wave {number} of {:?} of rollout {}, of which {} may be unavailable: {} are, and {} were late",
            wave.members,
            self.id,
            wave.budget,
            names(&open),
            names(&late)
        ))
    }

    fn comes_in_turn(&self, number: usize, apps: &[AppKey], look: &Look) -> Result<(), String> {
        let early = |of: usize, why: String| {
            Err(format!("in wave {number} of rollout {}, and of wave {of} {why}", self.id))
        };
        for (of, wave) in self.waves.iter().enumerate().take(number + 1) {
            let sent = || self.sent.iter().filter(|(_, sent)| sent.wave == of);
            let late = sent().filter(|(_, sent)| sent.overdue && sent.is_open()).count();
            if late > wave.failures {
                return early(of, format!("{late} failed, {} may", wave.failures));
            }
            if of == number {
                break;
            }
            if let Some((name, _)) = sent().find(|(_, sent)| sent.is_open() && !sent.late) {
                return early(of, format!("{name} is not well"));
            }
            let here = wave.members.iter().filter_map(|name| Some((name, look.members.get(name)?)));
            let left: Vec<_> = here
                .filter(|(name, member)| {
                    !self.sent.contains_key(*name) && member.due(apps, &look.commit).is_some()
                })
                .collect();
            let is_apart = |member: &Member| member.away || apps.iter().any(|app| member.held.contains(app));
            if let Some((name, _)) = left.iter().find(|(_, member)| !is_apart(member)) {
                return early(of, format!("{name} was not told"));
            }
            let any = sent().next().is_some() || !left.is_empty();
            if any && !sent().any(|(_, sent)| !sent.is_open()) {
                return early(of, "nobody is well".to_owned());
            }
            let since_ms = wave.well_since_ms.unwrap_or(look.now_ms);
            if any && look.now_ms < since_ms.saturating_add(wave.soak_ms) {
                return early(of, format!("all are well for {} ms", look.now_ms.saturating_sub(since_ms)));
            }
        }
        Ok(())
    }

    fn returns(&mut self, cluster: &ClusterName, apps: BTreeSet<AppKey>, look: &Look) -> Result<(), String> {
        let Some(sent) = self.sent.get(cluster) else {
            return Err(format!("while rollout {} was taken back", self.id));
        };
        let well = look.members[cluster].worst(&sent.apps) == Health::Well;
        let back = Sent { free: !well, ..Sent::new(sent.wave, apps, look.now_ms) };
        self.returned.entry(cluster.clone()).or_insert(back);
        let wave = self.sent.values().map(|sent| sent.wave).max().unwrap_or_default();
        let open = self.returned.iter().filter(|(_, back)| !back.free && !back.well && !back.late);
        let open: Vec<&ClusterName> = open.map(|(name, _)| name).collect();
        let budget = self.waves[wave].budget;
        if well && open.len() > budget {
            return Err(format!(
                "while rollout {} was taken back, at most {budget} at once: {open:?}",
                self.id
            ));
        }
        Ok(())
    }
}

impl Sent {
    fn new(wave: usize, apps: BTreeSet<AppKey>, at_ms: u64) -> Self {
        Self {
            at_ms,
            wave,
            free: false,
            apps,
            well: false,
            waits: false,
            late: false,
            overdue: false,
            passed: false,
        }
    }
}
