//! The planner: from what is wanted and what was told to the next assignments.
//!
//! Two steps, with the guard between them: [`survey`] finds what would be lost, [`assign`] makes the assignments with what the
//! guard lets go.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{
    AllRules, Assignment, Cause, Change, EncodedEntry, Entry, Generation, Leaving, Options, PAST, Rules,
    Share, ShareOut, TRAIL, Told,
};
use crate::catalog::{CommitId, Grant, SourceAt};
use crate::decide::Wanted;
use crate::guard::{Counts, Losses, Verdict};
use crate::overrides::template::Values;
use crate::overrides::{Because, Shapes};
use crate::render::effective_objects;
use crate::report::{EntryReason, EntryReport, EntryState, Report};
use crate::{AppKey, ClusterName, Digest, Digester, Fingerprints, ObjectKey};

/// The form of an app that is in effect on some clusters: its newest that could be rendered, with their values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppForm {
    /// The rendered manifests.
    pub bundle: Digest,
    /// How it is treated.
    pub options: Options,
    /// The recipe digest.
    pub version: Digest,
    /// The commit that gave it this version.
    pub commit: CommitId,
    /// What the remote of its source was then, if it has one.
    pub source_at: Option<SourceAt>,
    /// Values for the bundle's `${…}`.
    pub values: Values,
}

impl AppForm {
    /// The form on a cluster that has a share of the app's replicas: another share is another version.
    pub fn with(&self, share: &Share) -> Self {
        let share_bytes = super::json(share);
        let version = Digester::new("nave.share.v1").field(&self.version.0).field(&share_bytes).finish();
        let options = Options { share: Some(share.clone()), ..self.options.clone() };
        Self { version, options, ..self.clone() }
    }

    /// The form on a cluster of a set that is granted to its tenant so: another grant is another version.
    pub fn granted(&self, grant: &Grant) -> Self {
        let mut options = Options { grant: Some(grant.granted()), ..self.options.clone() };
        if grant.service_account.is_some() {
            options.treatment.service_account.clone_from(&grant.service_account);
        }
        let bytes = super::json(&(&options.grant, &options.treatment.service_account));
        let version = Digester::new("nave.grant.v1").field(&self.version.0).field(&bytes).finish();
        Self { version, options, ..self.clone() }
    }
}

/// A member, as far as the planner looks at it.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// What it was told last.
    pub told: Arc<Told>,
    /// What it reported last.
    pub report: Option<&'a Report>,
    /// An operator ordered that everything leaves it.
    pub emptied_by: Option<String>,
}

/// How entries become bytes and back; lives at the wire's edge.
pub trait Codec {
    /// Encodes an entry.
    fn encode(&self, entry: &Entry) -> EncodedEntry;
    /// Reads an entry; `None` when a newer hub wrote it.
    fn decode(&self, entry: &EncodedEntry) -> Option<Entry>;
    /// The objects of a bundle, namespaces as the manifests give them; `None` when the bundle is not at hand.
    fn objects(&self, bundle: &Digest) -> Option<Arc<BTreeSet<ObjectKey>>>;
}

/// Everything that the planner looks at.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// What every cluster shall run.
    pub wanted: &'a Wanted,
    /// The form of every app that is in effect, by cluster.
    pub apps: &'a Shapes,
    /// Replicas that placements divide.
    pub shares: &'a ShareOut,
    /// When changes may start on clusters, in which order and which together; as they like where nothing is said.
    pub rules: &'a AllRules,
    /// The members that have enrolled.
    pub members: &'a BTreeMap<ClusterName, Member<'a>>,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
    /// Why entries of an app that are not wanted any more would go.
    pub cause: &'a dyn Fn(&AppKey) -> Cause,
    /// Whether a cluster said that an app was well at a version, since it was told that at this time, Unix milliseconds.
    pub was_well: &'a dyn Fn(&ClusterName, &AppKey, Digest, u64) -> bool,
    /// Reads and writes entries.
    pub codec: &'a dyn Codec,
}

/// What the next assignments would lose, and how much there is.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// What would go.
    pub losses: Losses,
    /// What there is.
    pub counts: Counts,
    /// Number of objects that each entry would drop.
    drops: BTreeMap<(AppKey, ClusterName), u32>,
}

/// Finds what the next assignments would lose.
pub fn survey(inputs: &Inputs<'_>) -> Survey {
    let mut survey = Survey::default();
    let mut dropped: BTreeMap<AppKey, BTreeSet<ObjectKey>> = BTreeMap::new();
    let mut objects: BTreeMap<AppKey, BTreeSet<ObjectKey>> = BTreeMap::new();
    for (cluster, member) in inputs.members {
        let entries = &member.told.assignment.entries;
        survey.counts.by_cluster.insert(cluster.clone(), entries.len());
        let next = Next::of(inputs, cluster, member);
        for app in entries.keys() {
            *survey.counts.by_app.entry(app.clone()).or_default() += 1;
            if next.leaves(app) {
                let cause = match &member.emptied_by {
                    Some(by) => Cause::Operator { by: by.clone() },
                    None => (inputs.cause)(app),
                };
                survey.losses.entries.insert((app.clone(), cluster.clone()), cause);
            }
        }
        let asked = next.leftovers().map(|(app, of)| ((app.clone(), cluster.clone()), of.clone()));
        survey.losses.leftovers.extend(asked);
        for (app, form) in &next.wanted {
            let before = next.before(app);
            if before.is_empty() {
                continue;
            }
            let lost = next.dropped(app, form, &before);
            objects.entry((*app).clone()).or_default().extend(before);
            let count = count(lost.len());
            if !lost.is_empty() && !next.granted(app, form, count) {
                survey.drops.insert(((*app).clone(), cluster.clone()), count);
                dropped.entry((*app).clone()).or_default().extend(lost);
            }
        }
    }
    survey.losses.objects = dropped.into_iter().map(|(app, lost)| (app, lost.len())).collect();
    survey.counts.objects = objects.into_iter().map(|(app, all)| (app, all.len())).collect();
    survey
}

/// Makes the assignments that differ from what was told.
pub fn assign(inputs: &Inputs<'_>, survey: &Survey, verdict: &Verdict) -> BTreeMap<ClusterName, Told> {
    let next = |(cluster, member): (&ClusterName, &Member<'_>)| {
        let told = Next::of(inputs, cluster, member).told(survey, verdict)?;
        Some((cluster.clone(), told))
    };
    inputs.members.iter().filter_map(next).collect()
}

/// One cluster on its way to the next assignment.
struct Next<'a> {
    inputs: &'a Inputs<'a>,
    cluster: &'a ClusterName,
    member: &'a Member<'a>,
    /// Apps that it shall run and that have a form.
    wanted: BTreeMap<&'a AppKey, Cow<'a, AppForm>>,
    /// Apps that it shall run, rendered or not.
    named: BTreeSet<&'a AppKey>,
    /// Former names, and the app that each is now.
    renamed: BTreeMap<&'a AppKey, &'a AppKey>,
    /// Former names of apps that it shall run and of which it is not known yet what they are: they stay until it is.
    awaiting: BTreeSet<&'a AppKey>,
}

impl<'a> Next<'a> {
    fn of(inputs: &'a Inputs<'a>, cluster: &'a ClusterName, member: &'a Member<'a>) -> Self {
        let apps = inputs.wanted.get(cluster).filter(|_| member.emptied_by.is_none());
        let named: BTreeSet<&AppKey> = apps.into_iter().flat_map(|apps| apps.keys()).collect();
        let share = |app: &AppKey| inputs.shares.get(cluster)?.get(app);
        let form = |app: &&'a AppKey| {
            let form = inputs.apps.get(app, cluster)?;
            // What returns has its share already.
            let share = share(app).filter(|_| inputs.apps.because(app, cluster) != Some(Because::Returns));
            let form = share.map_or(Cow::Borrowed(form), |share| Cow::Owned(form.with(share)));
            Some((*app, form))
        };
        let wanted: BTreeMap<&AppKey, Cow<'_, AppForm>> = named.iter().filter_map(form).collect();
        let told = &member.told.assignment;
        let is_here = |old: &AppKey| told.entries.contains_key(old) || told.leaving.contains_key(old);
        let forms = named.iter().filter_map(|app| Some((*app, inputs.apps.get(app, cluster)?)));
        let former = forms.flat_map(|(app, form)| form.options.formerly.iter().map(move |old| (old, app)));
        let renamed = former.filter(|(old, _)| is_here(old) && !named.contains(*old)).collect();
        let formless = named.iter().filter(|app| !wanted.contains_key(*app));
        let awaiting = formless.flat_map(|app| inputs.apps.former(app)).filter(|old| !named.contains(old));
        let awaiting = awaiting.filter(|old| !wanted.values().any(|f| f.options.formerly.contains(old)));
        let awaiting = awaiting.collect();
        Self { inputs, cluster, member, wanted, named, renamed, awaiting }
    }

    /// Whether an entry is not wanted any more, under this name or another.
    fn leaves(&self, app: &AppKey) -> bool {
        !self.named.contains(app) && !self.renamed.contains_key(app) && !self.awaiting.contains(app)
    }

    /// Earlier entries of an app, its former names' included, whose objects may be on the cluster.
    fn trail(&self, app: &AppKey) -> Vec<EncodedEntry> {
        let former = self.renamed.iter().filter(|(_, new)| **new == app).map(|(old, _)| *old);
        let told = &self.member.told;
        let mut trail = Vec::new();
        for name in former.chain([app]) {
            let Some(entry) = told.assignment.entries.get(name) else {
                // It comes back before it has left.
                let leaving = told.trail.get(name).filter(|_| told.assignment.leaving.contains_key(name));
                trail.extend(leaving.into_iter().flatten().cloned());
                continue;
            };
            let version = self.inputs.codec.decode(entry).map(|e| e.version);
            if !version.is_some_and(|v| self.confirmed(name, v)) {
                trail.extend(self.member.told.trail.get(name).into_iter().flatten().cloned());
            }
            trail.push(entry.clone());
        }
        trail
    }

    /// Former names of an app under which a spoke may still hold objects: those that unconfirmed entries name.
    fn unconfirmed_names(&self, app: &AppKey) -> BTreeSet<AppKey> {
        let former = self.renamed.iter().filter(|(_, new)| **new == app).map(|(old, _)| *old);
        let mut names = BTreeSet::new();
        for name in former.chain([app]) {
            let Some(entry) = self.member.told.assignment.entries.get(name) else { continue };
            let Some(entry) = self.inputs.codec.decode(entry) else { continue };
            if !self.confirmed(name, entry.version) {
                names.extend(entry.options.formerly);
            }
            if name != app {
                names.insert(name.clone());
            }
        }
        names.retain(|name| name != app && !self.named.contains(name));
        names
    }

    /// Whether the spoke said that it applied this version of the app and pruned what it had to.
    fn confirmed(&self, app: &AppKey, version: Digest) -> bool {
        let report =
            self.member.report.filter(|r| (r.epoch, r.generation) == self.member.told.assignment.order());
        report.and_then(|r| r.entries.get(app)).is_some_and(|entry| {
            let applied =
                matches!(entry.state, EntryState::Healthy | EntryState::Progressing | EntryState::Degraded);
            applied && entry.version == Some(version) && entry.reason != EntryReason::PruneRefused
        })
    }

    /// What the spoke would delete and may not, of entries that keep their version and of apps that leave, as far as its
    /// report is about what it was told last. What it may meanwhile is none.
    fn leftovers(&self) -> impl Iterator<Item = (&'a AppKey, &'a Fingerprints)> {
        let told: &'a Assignment = &self.member.told.assignment;
        let report = self.member.report.filter(|r| (r.epoch, r.generation) == told.order());
        let asks = |(app, entry): (&'a AppKey, &'a EntryReport)| Some((app, entry.asks.as_ref()?));
        let entries = report.into_iter().flat_map(|r| &r.entries).filter_map(asks).filter(|(app, asked)| {
            let form = self.wanted.get(*app);
            let entry = told.entries.get(*app).and_then(|entry| self.inputs.codec.decode(entry));
            entry.zip(form).is_some_and(|(entry, form)| {
                entry.version == form.version && !covers(entry.drops_of.as_ref(), entry.drops, asked)
            })
        });
        let leaving = report.into_iter().flat_map(|r| &r.leaving).filter_map(asks).filter(|(app, asked)| {
            let record = told.leaving.get(*app);
            record.is_some_and(|record| !covers(record.drops_of.as_ref(), record.objects, asked))
        });
        entries.chain(leaving)
    }

    /// What somebody approved of what the spoke asks to delete.
    fn approved<'v>(&self, app: &AppKey, verdict: &'v Verdict) -> Option<&'v (Fingerprints, Cause)> {
        verdict.leftovers.get(&(app.clone(), self.cluster.clone()))
    }

    /// Whether the entry already allows so many drops on the way to this form.
    fn granted(&self, app: &AppKey, form: &AppForm, count: u32) -> bool {
        let entry = self.member.told.assignment.entries.get(app).and_then(|e| self.inputs.codec.decode(e));
        entry.is_some_and(|e| e.version == form.version && e.drops >= count)
    }

    /// Objects of an app that may be on the cluster now.
    fn before(&self, app: &AppKey) -> BTreeSet<ObjectKey> {
        self.trail(app).iter().filter_map(|entry| self.objects_of(entry)).flatten().collect()
    }

    fn objects_of(&self, entry: &EncodedEntry) -> Option<BTreeSet<ObjectKey>> {
        let entry = self.inputs.codec.decode(entry)?;
        self.objects(&entry.bundle, &entry.options, &entry.values)
    }

    /// `None` while the bundle is not at hand.
    fn objects(&self, bundle: &Digest, options: &Options, values: &Values) -> Option<BTreeSet<ObjectKey>> {
        self.inputs.codec.objects(bundle).map(|objects| effective_objects(&objects, options, values))
    }

    fn objects_of_form(&self, form: &AppForm) -> Option<BTreeSet<ObjectKey>> {
        self.objects(&form.bundle, &form.options, &form.values)
    }

    /// Objects that would go with the app's next form: those that no app of this cluster claims any more. None, while it
    /// is not known what one of them claims.
    fn dropped(&self, app: &AppKey, form: &AppForm, before: &BTreeSet<ObjectKey>) -> BTreeSet<ObjectKey> {
        let Some(now) = self.objects_of_form(form) else { return BTreeSet::new() };
        let mut lost: BTreeSet<ObjectKey> = before.difference(&now).cloned().collect();
        for (_, form) in self.wanted.iter().filter(|(other, _)| **other != app) {
            if lost.is_empty() {
                break;
            }
            let Some(claimed) = self.objects_of_form(form) else { return BTreeSet::new() };
            lost.retain(|key| !claimed.contains(key));
        }
        lost
    }

    /// Entries that stay as they are: they cannot be rendered now, or their removal is held.
    fn kept(&self, verdict: &Verdict) -> BTreeMap<&'a AppKey, &'a EncodedEntry> {
        let goes = |app: &AppKey| verdict.entries.contains_key(&(app.clone(), self.cluster.clone()));
        let stays = |app: &AppKey| match self.leaves(app) {
            true => !goes(app),
            false => {
                self.awaiting.contains(app) || self.named.contains(app) && !self.wanted.contains_key(app)
            }
        };
        let member: &'a Member<'a> = self.member;
        member.told.assignment.entries.iter().filter(|(app, _)| stays(app)).collect()
    }

    /// The next assignment; `None` when nothing changes.
    fn told(&self, survey: &Survey, verdict: &Verdict) -> Option<Told> {
        let before = &self.member.told.assignment;
        let kept = self.kept(verdict);
        let mut trail = BTreeMap::new();
        let mut entries: BTreeMap<AppKey, EncodedEntry> =
            kept.iter().map(|(app, entry)| ((*app).clone(), (*entry).clone())).collect();
        for app in kept.keys() {
            trail.extend(self.member.told.trail.get(*app).map(|behind| ((*app).clone(), behind.clone())));
        }
        for (app, form) in &self.wanted {
            let (entry, behind) = self.entry(app, form, survey, verdict, &kept);
            if !behind.is_empty() {
                trail.insert((*app).clone(), behind);
            }
            entries.insert((*app).clone(), entry);
        }
        let mut leaving = self.still_leaving(&entries, verdict);
        for app in leaving.keys() {
            trail.extend(self.member.told.trail.get(app).map(|behind| (app.clone(), behind.clone())));
        }
        for (app, old) in before.entries.iter().filter(|(app, _)| self.leaves(app)) {
            let Some(cause) = verdict.entries.get(&(app.clone(), self.cluster.clone())) else { continue };
            let record = self.leaving(app, old, cause);
            // What its former names hold on a spoke that has not taken the rename over leaves too.
            for name in self.unconfirmed_names(app).into_iter().chain([app.clone()]) {
                // A former name that has an entry or a record of its own goes its own way.
                let listed = before.entries.contains_key(&name) || leaving.contains_key(&name);
                let own = name != *app && (listed || entries.contains_key(&name));
                if !own && !self.renamed.contains_key(&name) {
                    leaving.insert(name.clone(), record.clone());
                    trail.insert(name, self.trimmed_trail(app));
                }
            }
        }
        let rules = self.inputs.rules.get(self.cluster).cloned().unwrap_or_default();
        let Rules { schedule, relations } = rules;
        let same_rules = schedule == before.schedule && relations == before.relations;
        if entries == before.entries && leaving == before.leaving && same_rules {
            return None;
        }
        let generation = Generation(before.generation.0 + 1);
        let mut past = self.member.told.past.clone();
        past.push((before.epoch, before.generation, before.digest()));
        past.drain(..past.len().saturating_sub(PAST));
        let assignment =
            Assignment { epoch: before.epoch, generation, entries, leaving, schedule, relations };
        let changes = self.changes(&assignment);
        Some(Told { assignment, trail, past, changes })
    }

    /// How the entries of the next assignment came to have their version.
    fn changes(&self, next: &Assignment) -> BTreeMap<AppKey, Change> {
        let told = &self.member.told;
        let version = |entry: &EncodedEntry| self.inputs.codec.decode(entry).map(|entry| entry.version);
        let change = |(app, entry): (&AppKey, &EncodedEntry)| {
            let before = told.assignment.entries.get(app);
            let is_same = |before: &&EncodedEntry| *before == entry || version(before) == version(entry);
            if before.filter(is_same).is_some() {
                return Some((app.clone(), told.changes.get(app)?.clone()));
            }
            let returns = self.inputs.apps.because(app, self.cluster) == Some(Because::Returns);
            let previous = before.filter(|_| !returns).map(|before| self.to_return_to(app, before, entry));
            let since = next.order();
            Some((app.clone(), Change { since, at_ms: self.inputs.now_ms, previous }))
        };
        next.entries.iter().filter_map(change).collect()
    }

    /// What an app returns to, if the version that comes does not do: what it is, if that was well and another commit made it,
    /// otherwise what it would have returned to already.
    fn to_return_to(&self, app: &AppKey, before: &EncodedEntry, next: &EncodedEntry) -> EncodedEntry {
        let change = self.member.told.changes.get(app);
        let earlier = change.and_then(|change| change.previous.clone());
        let (was, is) = (self.inputs.codec.decode(before), self.inputs.codec.decode(next));
        let same_commit = was.as_ref().zip(is).is_some_and(|(was, is)| was.commit == is.commit);
        let since = change.map(|change| change.since);
        let report =
            self.member.report.filter(|r| since.is_none_or(|since| (r.epoch, r.generation) >= since));
        let is_well = report.and_then(|r| r.entries.get(app)).is_some_and(|said| {
            said.state == EntryState::Healthy && said.version == was.as_ref().map(|was| was.version)
        });
        // What fell sick later is no worse for that than what was before it.
        let told_ms = change.map_or(0, |change| change.at_ms);
        let was_well =
            is_well || was.is_some_and(|was| (self.inputs.was_well)(self.cluster, app, was.version, told_ms));
        earlier.filter(|_| same_commit || !was_well).unwrap_or_else(|| before.clone())
    }

    /// The entry of a wanted app, and the earlier ones that are not confirmed away.
    fn entry(
        &self,
        app: &AppKey,
        form: &AppForm,
        survey: &Survey,
        verdict: &Verdict,
        kept: &BTreeMap<&AppKey, &EncodedEntry>,
    ) -> (EncodedEntry, Vec<EncodedEntry>) {
        let key = (app.clone(), self.cluster.clone());
        let cause = verdict.objects.get(app).filter(|_| survey.drops.contains_key(&key));
        // Never more than was judged: what kept entries are to become was known then. Where more would go, one of them is to take
        // it, and nothing goes before that has.
        let judged = survey.drops.get(&key).copied().unwrap_or(0);
        let drops = cause.map_or(0, |_| self.drops(app, form, kept));
        let drops = if drops > judged { 0 } else { drops };
        let revision = || Cause::Revision { commit: form.commit.clone() };
        let drops_cause = cause.filter(|_| drops > 0).map(|cause| cause.clone().unwrap_or_else(revision));
        let old = self.member.told.assignment.entries.get(app);
        let told = old.and_then(|e| self.inputs.codec.decode(e));
        let same = told.filter(|told| told.version == form.version);
        let (drops, drops_cause, drops_of) = match self.approved(app, verdict).filter(|_| same.is_some()) {
            // What is approved is everything that would go: what may go anyway is a part of it.
            Some((of, cause)) => (count(of.len()), Some(cause.clone()), Some(of.clone())),
            None => (drops, drops_cause, None),
        };
        if let (Some(old), Some(told)) = (old, &same)
            && told.drops >= drops
            && (drops_of.is_none() || told.drops_of == drops_of)
        {
            return (old.clone(), self.member.told.trail.get(app).cloned().unwrap_or_default());
        }
        let objects = self.objects_of_form(form).map_or(0, |objects| objects.len());
        let fresh = || {
            let mut options = form.options.clone();
            options.formerly.extend(self.unconfirmed_names(app));
            (options, form.commit.clone(), form.source_at.clone())
        };
        // Of a version that was told before only the drops may change.
        let at_once = same.as_ref().is_some_and(|told| told.at_once);
        let (options, commit, source_at) =
            same.map_or_else(fresh, |told| (told.options, told.commit, told.source_at));
        let entry = Entry {
            bundle: form.bundle,
            values: form.values.clone(),
            options,
            version: form.version,
            commit,
            source_at,
            objects: count(objects),
            drops,
            drops_cause,
            drops_of,
            at_once: at_once
                || matches!(
                    self.inputs.apps.because(app, self.cluster),
                    Some(Because::Returns | Because::Pinned)
                ),
        };
        (self.inputs.codec.encode(&entry), self.trimmed_trail(app))
    }

    /// How many objects an entry may drop: what a kept entry claims it does not.
    fn drops(&self, app: &AppKey, form: &AppForm, kept: &BTreeMap<&AppKey, &EncodedEntry>) -> u32 {
        let mut lost = self.dropped(app, form, &self.before(app));
        for entry in kept.values() {
            let Some(claimed) = self.objects_of(entry) else { return 0 };
            lost.retain(|key| !claimed.contains(key));
        }
        count(lost.len())
    }

    /// The trail, bounded: first goes what the others cover, then the oldest.
    fn trimmed_trail(&self, app: &AppKey) -> Vec<EncodedEntry> {
        let mut trail = self.trail(app);
        // What runs while later versions wait for their window is what may be left over, whatever was told since.
        let report = self.member.report.and_then(|r| r.entries.get(app).or_else(|| r.leaving.get(app)));
        let runs = report.and_then(|entry| entry.version);
        let is_running = |entry: &EncodedEntry| {
            runs.is_some() && self.inputs.codec.decode(entry).map(|entry| entry.version) == runs
        };
        let mut at = 0;
        while trail.len() > TRAIL && at + 1 < trail.len() {
            if is_running(&trail[at]) {
                at += 1;
                continue;
            }
            let others = trail.iter().enumerate().filter(|(i, _)| *i != at);
            let others: BTreeSet<ObjectKey> =
                others.filter_map(|(_, e)| self.objects_of(e)).flatten().collect();
            if self.objects_of(&trail[at]).is_some_and(|objects| objects.is_subset(&others)) {
                trail.remove(at);
            } else {
                at += 1;
            }
        }
        // What nobody reports on may be the first of them.
        let first = (!trail.is_empty()).then_some(0);
        let running = trail.iter().position(is_running).or(first).map(|at| trail.remove(at));
        let room = TRAIL - usize::from(running.is_some());
        trail.drain(..trail.len().saturating_sub(room));
        running.into_iter().chain(trail).collect()
    }

    /// Leaving records that the spoke has not acknowledged and that no entry took back.
    fn still_leaving(
        &self,
        entries: &BTreeMap<AppKey, EncodedEntry>,
        verdict: &Verdict,
    ) -> BTreeMap<AppKey, Leaving> {
        let told = &self.member.told.assignment;
        let report = self.member.report.filter(|r| (r.epoch, r.generation) == told.order());
        let left = |app: &AppKey| report.is_some_and(|r| r.left.contains(app));
        let back = |app: &AppKey| entries.contains_key(app) || self.renamed.contains_key(app);
        let stays = |(app, _): &(&AppKey, &Leaving)| !left(app) && !back(app);
        let next = |(app, record): (&AppKey, &Leaving)| {
            let record = match self.approved(app, verdict) {
                Some((of, _)) => {
                    Leaving { objects: count(of.len()), drops_of: Some(of.clone()), ..record.clone() }
                }
                None => record.clone(),
            };
            (app.clone(), record)
        };
        told.leaving.iter().filter(stays).map(next).collect()
    }

    fn leaving(&self, app: &AppKey, old: &EncodedEntry, cause: &Cause) -> Leaving {
        let policy = self.inputs.codec.decode(old).map(|e| e.options.on_remove);
        // Of a bundle that is not at hand the entry at least says how many objects it has.
        let unknown = self.trail(app).into_iter().filter(|entry| self.objects_of(entry).is_none());
        let unknown =
            unknown.filter_map(|entry| self.inputs.codec.decode(&entry)).map(|entry| entry.objects as usize);
        let objects = self.before(app).len() + unknown.sum::<usize>();
        Leaving {
            // An entry that cannot be read says nothing about deleting.
            policy: policy.unwrap_or(crate::catalog::OnRemove::Orphan),
            cause: cause.clone(),
            objects: count(objects),
            drops_of: None,
        }
    }
}

/// Whether everything that is asked may be deleted already.
fn covers(drops_of: Option<&Fingerprints>, drops: u32, asked: &Fingerprints) -> bool {
    drops as usize >= asked.len() && drops_of.is_none_or(|of| asked.is_subset(of))
}

fn count(objects: usize) -> u32 {
    u32::try_from(objects).unwrap_or(u32::MAX)
}
