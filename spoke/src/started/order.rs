//! Order: which changes begin, which wait for others, and which are taken back because their group did not come through.
//!
//! In: the accepted assignment, what had begun, what is remembered, how apps are doing. Out: the same one step further, and why the
//! rest waits. Never: begins an app of a group without the others, waits again for what was met once, takes an app back that held
//! nothing before, lets an app go or change that would delete what an app that still waits claims.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nave_placement::assign::{Assignment, EncodedEntry, Entry};
use nave_placement::catalog::Until;
use nave_placement::relations::Relations;
use nave_placement::report::{EntryReason, EntryReport};
use nave_placement::{AppKey, Digest, ObjectKey};
use nave_proto::backoff::jittered;
use nave_proto::{decode_entry, encode_entry};
use serde::{Deserialize, Serialize};

use super::{Started, Wait, encoded, is_same};

/// What is remembered beside what had begun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// What apps came to that others wait for: falling sick later stops nothing.
    pub met: BTreeMap<AppKey, Met>,
    /// Groups on their way to other versions, or back from them, by name.
    pub switches: BTreeMap<String, Switch>,
    /// Apps that came to a target on which nothing ran, and have not begun: no window is waited for.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unbound: BTreeSet<AppKey>,
}

/// What an app came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Met {
    /// The version that was applied.
    pub version: Digest,
    /// It was healthy.
    pub healthy: bool,
}

/// Apps of a group that change together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Those that change.
    pub apps: BTreeMap<AppKey, Switching>,
    /// They may begin; each does in its turn.
    #[serde(default)]
    pub is_open: bool,
    /// All of them returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<Returned>,
    /// How often they did.
    #[serde(default)]
    pub times: u32,
}

/// A group that returned to what it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Returned {
    /// Why.
    pub why: String,
    /// When it is tried again, Unix milliseconds.
    pub retry_ms: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Switching {
    /// The version that it is to become.
    pub to: Digest,
    /// The entry that it held; none where it comes.
    #[serde(with = "encoded", default, skip_serializing_if = "Option::is_none")]
    pub held: Option<EncodedEntry>,
    /// When it began, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

impl Returned {
    fn of(name: &str, switch: &Switch, late: &AppKey, stand: &Stand<'_>) -> Self {
        let pause = RETRY.saturating_mul(1 << switch.times.min(8)).min(RETRY_MAX);
        let hours = pause.as_secs() / 3_600;
        let apps = match switch.apps.len() {
            1 => "1 app".to_owned(),
            n => format!("{n} apps"),
        };
        let pause = u64::try_from(jittered(pause, stand.random).as_millis()).unwrap_or(u64::MAX);
        Self {
            why: format!(
                "group {name} returned to what it held, {apps}: {late} was not healthy in time; it is tried again about {hours} h later"
            ),
            retry_ms: stand.now_ms.saturating_add(pause),
        }
    }
}

/// How things stand.
#[derive(Clone, Copy)]
pub struct Stand<'a> {
    /// What shall be.
    pub accepted: &'a Assignment,
    /// Who waits for whom, who switches with whom.
    pub relations: &'a Relations,
    /// Why no change may start.
    pub closed: Option<&'a Wait>,
    /// Nothing runs on the target.
    pub is_empty: bool,
    /// What apps are doing, by the last round.
    pub doing: &'a BTreeMap<AppKey, Met>,
    /// Since when each app is at work without a break, as far as this process knows, Unix milliseconds.
    pub since: &'a BTreeMap<AppKey, u64>,
    /// Whether a bundle is here.
    pub has_bundle: &'a (dyn Fn(&Digest) -> bool + Sync),
    /// The objects of an entry; nothing where its bundle is not here.
    pub objects: &'a (dyn Fn(&Entry) -> Option<BTreeSet<ObjectKey>> + Sync),
    /// Unix milliseconds.
    pub now_ms: u64,
    /// From 0 to 1: spreads what is tried again.
    pub random: f64,
}

/// A group that returned is tried again after an hour, then after two, four and so on, at last once a day: who tries more often
/// disturbs what runs.
const RETRY: Duration = Duration::from_secs(3_600);
const RETRY_MAX: Duration = Duration::from_secs(86_400);

/// One step further.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What has begun.
    pub started: Started,
    /// What is remembered.
    pub memory: Memory,
    /// Why the rest waits.
    pub waits: BTreeMap<AppKey, Wait>,
    /// When the time alone brings something further, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// Apps that may not change or go yet, since they hand objects over to these, which wait.
    handing: BTreeMap<AppKey, AppKey>,
}

/// What came of a round for what is enforced, as far as order goes by it.
pub fn met(enforced: &Assignment, apps: &BTreeMap<AppKey, EntryReport>) -> BTreeMap<AppKey, Met> {
    let doing = |(app, report): (&AppKey, &EntryReport)| {
        let shall = version(enforced.entries.get(app)?)?;
        let healthy = report.is_well(shall);
        Some((app.clone(), Met { version: if healthy { shall } else { report.version? }, healthy }))
    };
    apps.iter().filter_map(doing).collect()
}

/// Since when each app is at work without a break: not while it is paused, nothing is seen of it, or the round did not come to it.
pub fn at_work(since: &mut BTreeMap<AppKey, u64>, apps: &BTreeMap<AppKey, EntryReport>, now_ms: u64) {
    let works = |report: &EntryReport| {
        let stops = [EntryReason::Paused, EntryReason::TargetUnreachable, EntryReason::Interrupted]
            .contains(&report.reason);
        !stops
    };
    since.retain(|app, _| apps.get(app).is_some_and(works));
    for (app, _) in apps.iter().filter(|(_, report)| works(report)) {
        since.entry(app.clone()).or_insert(now_ms);
    }
}

/// Goes one step further. Whoever hands objects over to one who waits, waits with it.
pub fn step(started: &Started, memory: &Memory, stand: &Stand<'_>) -> Step {
    let mut handing = BTreeMap::new();
    loop {
        let step = attempt(started, memory, stand, handing.clone());
        let more = step.who_hands_over(started, stand);
        if more.keys().all(|app| handing.contains_key(app)) {
            return step;
        }
        // Each time at least one more: there are as many attempts as apps, at most.
        handing.extend(more);
    }
}

fn attempt(started: &Started, memory: &Memory, stand: &Stand<'_>, handing: BTreeMap<AppKey, AppKey>) -> Step {
    let mut step = Step { started: started.clone(), memory: memory.clone(), handing, ..Step::default() };
    if stand.is_empty {
        step.memory.unbound = stand.accepted.entries.keys().cloned().collect();
    }
    step.remember(stand);
    step.leave(stand);
    step.look_after(stand);
    step.begin(stand);
    let waiting = step.waiting(stand).into_keys().cloned().collect();
    step.memory.unbound = step.memory.unbound.intersection(&waiting).cloned().collect();
    step
}

fn decoded(entry: &EncodedEntry) -> Option<Entry> {
    decode_entry(&entry.bytes).ok()
}

fn version(entry: &EncodedEntry) -> Option<Digest> {
    decoded(entry).map(|entry| entry.version)
}

impl Step {
    /// Apps whose assigned entry has not begun.
    fn waiting<'a>(&self, stand: &Stand<'a>) -> BTreeMap<&'a AppKey, &'a EncodedEntry> {
        let has_begun = |app: &AppKey, entry: &EncodedEntry| {
            self.started.entries.get(app).is_some_and(|before| is_same(before, entry))
        };
        stand.accepted.entries.iter().filter(|(app, entry)| !has_begun(app, entry)).collect()
    }

    /// What others wait for is remembered once it was so.
    fn remember(&mut self, stand: &Stand<'_>) {
        let first: BTreeSet<&AppKey> =
            stand.relations.first.values().flatten().map(|first| &first.app).collect();
        self.memory.met.retain(|app, _| first.contains(app));
        for app in first {
            let Some(doing) = stand.doing.get(app) else { continue };
            let known = self.memory.met.get(app).filter(|met| met.version == doing.version);
            let healthy = doing.healthy || known.is_some_and(|met| met.healthy);
            self.memory.met.insert(app.clone(), Met { version: doing.version, healthy });
        }
    }

    /// What leaves begins to leave, and what is merely missing is nobody's any more.
    fn leave(&mut self, stand: &Stand<'_>) {
        if stand.closed.is_some() && !stand.is_empty {
            return;
        }
        let former: BTreeSet<AppKey> = self
            .waiting(stand)
            .values()
            .filter_map(|entry| decoded(entry))
            .flat_map(|entry| entry.options.formerly)
            .collect();
        let stays = |app: &AppKey| {
            stand.accepted.entries.contains_key(app) || former.contains(app) || self.handing.contains_key(app)
        };
        self.started.entries.retain(|app, _| stays(app));
        self.started.is_all = true;
    }

    /// Groups under way: they come through, go on, or return.
    fn look_after(&mut self, stand: &Stand<'_>) {
        let assigned = |app: &AppKey| stand.accepted.entries.get(app).and_then(version);
        for (name, mut switch) in std::mem::take(&mut self.memory.switches) {
            // What has left the cluster, or the group, goes its own way.
            let group = stand.relations.groups.get(&name);
            let is_of = |app: &AppKey| group.is_some_and(|group| group.contains(app));
            switch.apps.retain(|app, _| is_of(app) && stand.accepted.entries.contains_key(app));
            let is_meant = switch.apps.iter().all(|(app, of)| assigned(app) == Some(of.to));
            if switch.apps.is_empty() {
                continue;
            }
            // A window that has closed meanwhile lets nothing new begin; what had begun goes on, and may yet fail.
            let has_returned = switch.failed.is_some();
            if !is_meant && (stand.closed.is_none() || has_returned || self.is_over(stand, &switch)) {
                self.turn(stand, name, switch);
                continue;
            }
            if let Some(returned) = &switch.failed {
                let retry_ms = returned.retry_ms;
                if stand.now_ms >= retry_ms && stand.closed.is_none() {
                    self.turn(stand, name, switch);
                    continue;
                }
                // Beyond that, a window is waited for.
                if stand.now_ms < retry_ms {
                    self.due_at(retry_ms);
                }
                self.give_back(&switch);
                self.memory.switches.insert(name, switch);
                continue;
            }
            let is_well = |app: &AppKey, of: &Switching| {
                stand.doing.get(app) == Some(&Met { version: of.to, healthy: true })
            };
            if switch.apps.iter().all(|(app, of)| is_well(app, of)) {
                continue;
            }
            let timeout = |app: &AppKey| {
                let entry = self.started.entries.get(app).and_then(decoded)?;
                Some(entry.options.treatment.timeout.0)
            };
            let open = switch.apps.iter().filter(|(app, of)| !is_well(app, of));
            // Time in which nothing could be done, or seen, is nobody's fault.
            let since = |app: &AppKey, of: &Switching| Some(of.since_ms?.max(*stand.since.get(app)?));
            let late =
                open.filter_map(|(app, of)| Some((since(app, of)?.saturating_add(timeout(app)?), app)));
            match late.min() {
                Some((due_ms, app)) if due_ms <= stand.now_ms => {
                    let returned = Returned::of(&name, &switch, app, stand);
                    self.due_at(returned.retry_ms);
                    (switch.failed, switch.times) = (Some(returned), switch.times + 1);
                    self.give_back(&switch);
                }
                Some((due_ms, _)) => self.due_at(due_ms),
                None => {}
            }
            self.memory.switches.insert(name, switch);
        }
    }

    fn due_at(&mut self, due_ms: u64) {
        self.due_ms = self.due_ms.into_iter().chain([due_ms]).min();
    }

    /// Whether a group goes back to what it held, or to what an operator wants at once.
    fn is_over(&self, stand: &Stand<'_>, switch: &Switch) -> bool {
        let returns = |app: &AppKey, of: &Switching| {
            let Some(entry) = stand.accepted.entries.get(app) else { return true };
            let is_held = of.held.as_ref().is_none_or(|held| is_same(held, entry));
            is_held || decoded(entry).is_some_and(|entry| entry.at_once)
        };
        switch.apps.iter().all(|(app, of)| returns(app, of))
    }

    /// Something else is assigned than a group is on its way to: it goes there, or back, from what it held before.
    fn turn(&mut self, stand: &Stand<'_>, name: String, mut switch: Switch) {
        if self.is_over(stand, &switch) {
            // Back, all of it: that waits for nothing.
            for app in switch.apps.keys() {
                if let Some(entry) = stand.accepted.entries.get(app) {
                    self.begins(app, entry);
                }
            }
            return;
        }
        let before: Vec<Digest> = switch.apps.values().map(|of| of.to).collect();
        for (app, of) in &mut switch.apps {
            of.to = stand.accepted.entries.get(app).and_then(version).unwrap_or(of.to);
            let is_there = self.started.entries.get(app).and_then(version) == Some(of.to);
            of.since_ms = is_there.then_some(stand.now_ms);
        }
        if !switch.apps.values().map(|of| of.to).eq(before) {
            switch.times = 0;
        }
        (switch.failed, switch.is_open) = (None, false);
        self.memory.switches.insert(name, switch);
    }

    /// All apps of a group have what they held. What they brought stays until the hub lets it go: it knows who else may be in need of
    /// it.
    fn give_back(&mut self, switch: &Switch) {
        for (app, of) in &switch.apps {
            if let Some(held) = &of.held {
                self.started.entries.insert(app.clone(), held.clone());
            }
        }
    }

    /// What may begin begins.
    fn begin(&mut self, stand: &Stand<'_>) {
        let waiting = self.waiting(stand);
        let mut grouped: BTreeMap<&str, Vec<(&AppKey, &EncodedEntry)>> = BTreeMap::new();
        for (app, entry) in &waiting {
            match stand.relations.group_of(app) {
                Some((group, _)) => grouped.entry(group).or_default().push((app, entry)),
                None => match self
                    .closed(stand, [*app])
                    .cloned()
                    .or_else(|| self.unmet(stand, app, &BTreeSet::new()))
                {
                    Some(wait) => _ = self.waits.insert((*app).clone(), wait),
                    None => self.begins(app, entry),
                },
            }
        }
        for (group, apps) in grouped {
            self.begin_group(stand, group, &apps);
        }
        let leaving = stand.accepted.leaving.keys();
        let waits = leaving.filter_map(|app| Some((app.clone(), self.hands_over(app)?)));
        self.waits.extend(waits.collect::<Vec<_>>());
        // Beyond that, removals wait for a window alone.
        if let Some(closed) = stand.closed {
            let stays = |app: &&AppKey| self.started.entries.contains_key(*app) || !self.started.is_all;
            let leaving: Vec<&AppKey> = stand.accepted.leaving.keys().filter(stays).collect();
            self.waits.extend(leaving.into_iter().map(|app| (app.clone(), closed.clone())));
        }
    }

    /// Why these may not start.
    fn closed<'a>(&self, stand: &Stand<'a>, apps: impl IntoIterator<Item = &'a AppKey>) -> Option<&'a Wait> {
        let is_bound = apps.into_iter().any(|app| !self.memory.unbound.contains(app));
        stand.closed.filter(|_| is_bound)
    }

    fn begin_group(&mut self, stand: &Stand<'_>, group: &str, apps: &[(&AppKey, &EncodedEntry)]) {
        let switch = self.memory.switches.get(group);
        let wait = |reason, message, fails| Wait { reason, message, until_ms: None, fails };
        let returned = switch.and_then(|switch| switch.failed.clone());
        let is_open = switch.is_some_and(|switch| switch.is_open);
        let own: BTreeSet<&AppKey> = apps.iter().map(|(app, _)| *app).collect();
        let missing = |entry: &EncodedEntry| decoded(entry).is_some_and(|e| !(stand.has_bundle)(&e.bundle));
        let obstacle = if let Some(Returned { why, retry_ms }) = returned {
            let opens = || stand.closed.and_then(|closed| closed.until_ms);
            let until_ms = Some(retry_ms).filter(|at| *at > stand.now_ms).or_else(opens);
            Some(Wait { until_ms, ..wait(EntryReason::GroupReturned, why, true) })
        } else if is_open {
            None
        } else if let Some(closed) = self.closed(stand, own.iter().copied()) {
            Some(closed.clone())
        } else if let Some((of, unmet)) =
            apps.iter().find_map(|(app, _)| Some((*app, self.unmet(stand, app, &own)?)))
        {
            let others = apps.iter().map(|(app, _)| *app).filter(|app| *app != of);
            let message = format!("group {group} waits for its app {of}: {}", unmet.message);
            self.waits
                .extend(others.map(|app| (app.clone(), Wait { message: message.clone(), ..unmet.clone() })));
            self.waits.insert(of.clone(), unmet);
            return;
        } else {
            let app = apps.iter().find(|(_, entry)| missing(entry)).map(|(app, _)| *app);
            app.map(|app| {
                let message =
                    format!("group {group} begins once all of its bundles are here, also that of {app}");
                wait(EntryReason::GroupNotReady, message, false)
            })
        };
        if let Some(obstacle) = obstacle {
            return self.waits.extend(apps.iter().map(|(app, _)| ((*app).clone(), obstacle.clone())));
        }
        if !is_open {
            self.open_switch(group, apps);
        }
        for (app, entry) in apps {
            let of = self.memory.switches.get(group);
            let first = stand.relations.first.get(*app).into_iter().flatten().map(|first| &first.app);
            // What began waits for nobody but those that began with it.
            let others = first.filter(|first| of.is_some_and(|of| !of.apps.contains_key(*first))).collect();
            if let Some(of) = of.filter(|of| !of.apps.contains_key(*app)) {
                let is_well = |(app, of): &(&AppKey, &Switching)| {
                    stand.doing.get(*app) == Some(&Met { version: of.to, healthy: true })
                };
                let late = of.apps.iter().find(|of| !is_well(of)).map(|(app, _)| app.to_string());
                let late = late.map(|app| format!(", and waits for app {app}")).unwrap_or_default();
                let message = format!("group {group} is on its way to another version{late}");
                self.waits.insert((*app).clone(), wait(EntryReason::GroupNotReady, message, false));
            } else if let Some(unmet) = self.unmet(stand, app, &others) {
                self.waits.insert((*app).clone(), unmet);
            } else {
                self.begins(app, entry);
                let of = self.memory.switches.get_mut(group).and_then(|of| of.apps.get_mut(*app));
                if let Some(of) = of {
                    of.since_ms = Some(stand.now_ms);
                    self.due_at(stand.now_ms + decoded(entry).map_or(0, |e| e.options.treatment.timeout.0));
                }
            }
        }
    }

    /// A group begins to change: what it holds is what it returns to. Where nobody holds anything there is nothing to return to.
    fn open_switch(&mut self, group: &str, apps: &[(&AppKey, &EncodedEntry)]) {
        // What takes another name cannot be given back by the spoke; the hub can.
        let is_renamed = apps
            .iter()
            .filter_map(|(_, entry)| decoded(entry))
            .any(|entry| entry.options.formerly.iter().any(|old| self.started.entries.contains_key(old)));
        if is_renamed {
            self.memory.switches.remove(group);
            return;
        }
        let none = Switch { apps: BTreeMap::new(), is_open: true, failed: None, times: 0 };
        let mut switch = Switch { is_open: true, ..self.memory.switches.remove(group).unwrap_or(none) };
        for (app, entry) in apps {
            let Some(to) = version(entry) else { continue };
            // What may be deleted was meant for another way.
            let held = self.started.entries.get(*app).map(|held| match decoded(held) {
                Some(entry) => encode_entry(&Entry { drops: 0, drops_cause: None, drops_of: None, ..entry }),
                None => held.clone(),
            });
            let of =
                switch.apps.entry((*app).clone()).or_insert_with(|| Switching { to, held, since_ms: None });
            of.to = to;
        }
        if switch.apps.values().any(|of| of.held.is_some()) {
            self.memory.switches.insert(group.to_owned(), switch);
        }
    }

    /// An app becomes what is assigned. What it was called before ends with that.
    fn begins(&mut self, app: &AppKey, entry: &EncodedEntry) {
        let former = decoded(entry).map(|entry| entry.options.formerly).unwrap_or_default();
        former.iter().for_each(|old| drop(self.started.entries.remove(old)));
        self.started.entries.insert(app.clone(), entry.clone());
    }

    fn hands_over(&self, app: &AppKey) -> Option<Wait> {
        let to = self.handing.get(app)?;
        let message = format!("it hands objects over to app {to}, which waits");
        Some(Wait { reason: EntryReason::DependencyNotReady, message, until_ms: None, fails: false })
    }

    /// Apps that this step lets go or change, and that would lose objects by it which an app that waits claims, and to which one.
    /// What is not known may be claimed.
    fn who_hands_over(&self, started: &Started, stand: &Stand<'_>) -> BTreeMap<AppKey, AppKey> {
        let waiting = self.waiting(stand);
        let objects = |entry: &EncodedEntry| decoded(entry).and_then(|entry| (stand.objects)(&entry));
        let renamed = |app: &AppKey| {
            let named =
                |entry: &&EncodedEntry| decoded(entry).is_some_and(|e| e.options.formerly.contains(app));
            self.started.entries.values().find(named)
        };
        let mut handing = BTreeMap::new();
        for (app, before) in &started.entries {
            let after = self.started.entries.get(app).or_else(|| renamed(app));
            let others = || waiting.iter().filter(|(other, _)| **other != app);
            if after == Some(before) || others().next().is_none() {
                continue;
            }
            let lost = objects(before).map(|mut lost| {
                let kept = after.map_or_else(|| Some(BTreeSet::new()), objects).unwrap_or_default();
                lost.retain(|key| !kept.contains(key));
                lost
            });
            let takes = |entry: &EncodedEntry| match (&lost, objects(entry)) {
                (Some(lost), Some(claimed)) => !lost.is_disjoint(&claimed),
                (Some(lost), None) => !lost.is_empty(),
                (None, _) => true,
            };
            let to = others().find(|(_, entry)| takes(entry));
            handing.extend(to.map(|(to, _)| (app.clone(), (*to).clone())));
        }
        handing
    }

    /// What an app waits for, but for these.
    fn unmet(&self, stand: &Stand<'_>, app: &AppKey, but: &BTreeSet<&AppKey>) -> Option<Wait> {
        if let Some(wait) = self.hands_over(app) {
            return Some(wait);
        }
        let first = stand.relations.first.get(app)?.iter().filter(|first| !but.contains(&first.app));
        first.into_iter().find_map(|first| {
            let of = &first.app;
            let wait = |reason, message, fails| Some(Wait { reason, message, until_ms: None, fails });
            if first.is_missing {
                let message = format!("it depends on app {of}, which does not run here (ifAbsent: Fail)");
                return wait(EntryReason::DependencyMissing, message, true);
            }
            let Some(assigned) = stand.accepted.entries.get(of).and_then(version) else {
                let message = format!("it waits for app {of}, which is not assigned to this cluster yet");
                return wait(EntryReason::DependencyNotReady, message, false);
            };
            let met = self.memory.met.get(of).filter(|met| met.version == assigned);
            let is_met = met.is_some_and(|met| met.healthy || first.until == Until::Applied);
            let state = if first.until == Until::Applied { "applied" } else { "healthy" };
            let message = format!("it waits until app {of} is {state}");
            if is_met { None } else { wait(EntryReason::DependencyNotReady, message, false) }
        })
    }
}
