//! One step of deciding, as a function of the state and a revision: the batches that bring the store to what is wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{self, AllRules, Cause, Codec, EncodedEntry, Inputs, ShareOut, Told};
use nave_placement::catalog::{self, Catalog, CommitId, Problem};
use nave_placement::decide::{self, Decision, Moment, Settling, Wanted};
use nave_placement::fleet::{Candidate, Fleet, Maintenance, Resources};
use nave_placement::guard::{self, Allowance, Approval, EntryKey, Hold, HoldCause, Question};
use nave_placement::overrides::{self, Asking, Forms, Lacking, Named, Shapes, Variant};
use nave_placement::render::effective_objects;
use nave_placement::rollout::WaitsFor;
use nave_placement::schedule::schedules;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use nave_proto::encode_schedule;

use super::awaited::Awaited;
use super::granting::{StayKind, Stays};
use super::guarding::{binding, without_paused};
use super::hearing::{Hearing, candidates};
use super::holding::{holds, spent_approvals};
pub use super::kept::{Bases, Kept};
use super::older::{Olders, Overlay, Wants, overlay};
use super::parts::Own;
use super::pauses::{self, Paused};
use super::rolling::{self, rolling};
use super::units::Units;
use super::{assignments, decisions, depending, granting, heads, history};
use crate::state::history::Authors;
use crate::state::records::{MemberRecord, Standing, key};
use crate::state::{Audit, State, Step};
use crate::store::{Batch, MAX_BATCH_BYTES};

/// Records of one batch.
const RECORDS_PER_BATCH: usize = 100;

/// A revision, rendered: what is in effect of it.
#[derive(Clone, Debug)]
pub struct Revision {
    /// Its objects: those of all catalogs, joined.
    pub catalog: Arc<Catalog>,
    /// The catalogs by themselves, the root's first.
    pub owns: Vec<Own>,
    /// The forms of its apps that are in effect, as far as somebody asked for them.
    pub forms: Forms,
    /// What the charts of its apps ask of clusters, likewise.
    pub asking: Asking,
}

impl Revision {
    /// Of these catalogs, the root's first; nothing of it is rendered. What the root does not name is none of it.
    pub fn of(mut owns: Vec<Own>) -> Option<Self> {
        let (root, tenants) = owns.split_first()?;
        let catalog = catalog::join(&root.catalog, tenants.iter().map(|own| &*own.catalog));
        owns.retain(|own| catalog.commit_of(&own.catalog.name).is_some());
        Some(Self { catalog: Arc::new(catalog), owns, forms: Forms::new(), asking: Asking::new() })
    }

    /// The catalogs whose commits the store does not have yet.
    fn new_in(&self, state: &State) -> BTreeSet<CatalogName> {
        let is_new = |own: &&Own| {
            state.heads.get(&own.catalog.name).is_none_or(|head| head.commit != own.catalog.commit)
        };
        self.owns.iter().filter(is_new).map(|own| own.catalog.name.clone()).collect()
    }
}

/// A batch, the step that it is, and the audit lines that go with it.
#[derive(Debug)]
pub struct Write {
    /// Which step.
    pub step: Step,
    /// What to write.
    pub batch: Batch,
    /// What to say of it.
    pub audits: Vec<Audit>,
}

/// What was decided.
#[derive(Debug, Default)]
pub struct Decided {
    /// The clusters that placements could choose from.
    pub fleet: Fleet,
    /// What each placement chose.
    pub decisions: Vec<Decision>,
    /// Decisions that the checker objects to: these placements keep what they had.
    pub refused: Vec<Problem>,
    /// What every cluster shall run, and by which placements.
    pub wanted: Wanted,
    /// What was taken of what is free.
    pub taken: BTreeMap<ClusterName, Resources>,
    /// When the time alone changes a decision, Unix milliseconds.
    pub due_ms: Option<u64>,
    /// Whether a placement waits for a cluster to become healthy, to be heard, or to have something free.
    pub open: bool,
    /// Variants that some cluster shall run and that have no form: they have to be rendered before anything is written.
    pub missing: BTreeMap<AppKey, BTreeSet<Variant>>,
    /// What every app is on every cluster.
    pub shapes: Shapes,
    /// Entries that stay as they are: they wait for the end of a pause, or for their wave.
    pub stays: BTreeSet<EntryKey>,
    /// Replicas that placements divide.
    pub shares: ShareOut,
    /// When changes may start on clusters, in which order and which together.
    pub rules: AllRules,
    /// Apps that depend on what is nowhere, where that is a failure.
    pub failing: BTreeMap<AppKey, String>,
    /// Entries of which a change waits: for the end of a pause, or for their wave.
    pub waiting: pauses::Waiting,
    /// Of these, what waits for another app, or for a grant.
    pub held_back: pauses::Waiting,
    /// Entries of tenants that stay as they are since an object of them is not granted there.
    pub beyond: Stays,
    /// Entries of tenants that stay as they are since nothing is granted there any more, or their catalog could not be read.
    pub withdrawn: Stays,
    /// What each rollout waits for.
    pub waits_for: BTreeMap<AppKey, WaitsFor>,
    /// What has to be brought of earlier commits before anything is written.
    pub wants: Wants,
    /// Apps that cannot be as they are pinned, and why.
    pub unpinnable: BTreeMap<AppKey, String>,
    /// What waits for what spokes say.
    pub awaited: Awaited,
    /// Where a value lacks.
    pub lacking: BTreeSet<Lacking>,
    /// Clusters whose assignment is larger than the store takes: they keep what they have.
    pub too_large: BTreeSet<ClusterName>,
    /// What has to be written, in order. Empty: nothing changes.
    pub writes: Vec<Write>,
}

/// Whether a commit may be taken after the one that was taken last. `tenant` is whose it is, if not the root's.
///
/// # Errors
/// The hold that it waits for.
pub fn admit(
    tenant: Option<&CatalogName>,
    taken: Option<&CommitId>,
    commit: &CommitId,
    empty: bool,
    descends: bool,
    approved: impl Fn(&str) -> bool,
) -> Result<(), Box<Hold>> {
    let Some(taken) = taken.filter(|taken| *taken != commit) else { return Ok(()) };
    let causes = [
        (
            !descends,
            HoldCause::NotDescendant {
                commit: commit.clone(),
                taken: taken.clone(),
                tenant: tenant.cloned(),
            },
        ),
        (empty, HoldCause::EmptyCatalog { commit: commit.clone(), tenant: tenant.cloned() }),
    ];
    for (applies, cause) in causes {
        let hold = Hold::new(cause, 0, 0, 0, BTreeSet::new());
        if applies && !approved(&hold.id) {
            return Err(Box::new(hold));
        }
    }
    Ok(())
}

/// What a step is decided from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// What is in the store.
    pub state: &'a State,
    /// What is in effect.
    pub revision: &'a Revision,
    /// The holds of newer commits that wait, by catalog.
    pub waiting: &'a BTreeMap<CatalogName, Hold>,
    /// How entries and bundles are read.
    pub codec: &'a dyn Codec,
    /// What sessions know.
    pub hearing: &'a Hearing,
    /// What apps were by earlier commits, as far as that was brought.
    pub older: &'a Olders,
    /// Who wrote the commits that history may name.
    pub authors: &'a Authors,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
}

/// Decides.
pub fn step(given: Given<'_>, kept: &mut Kept) -> Decided {
    let Given { state, revision, waiting: newer, codec, hearing, older, authors, now_ms } = given;
    let catalog = &revision.catalog;
    let bases = kept.bases(revision);
    let mut grants = std::mem::take(&mut kept.grants);
    let fleet = candidates(state, catalog, hearing, now_ms);
    let healthy = |cluster: &ClusterName, app: &AppKey| decisions::is_healthy(state, cluster, app);
    let moment = Moment { now_ms, hub_since_ms: hearing.since_ms, healthy: &healthy };
    let remembered = decisions::remembered(state, catalog);
    let engine = kept.engine(catalog, &fleet, &remembered);
    let Settling { taken, due_ms, open } = engine.settle(moment);
    // What overrides select is in the index already.
    let judge = |(effective, _): &Named<'_>, cluster: &ClusterName, _: &Candidate| {
        engine.selects(&effective.object.id.name, cluster)
    };
    let (decisions, refused) = decisions::checked(catalog, &fleet, &remembered, engine.decisions(), moment);
    let mut wanted = decide::wanted(&decisions);
    let members = members(state);
    let let_go = heads::let_go(state, revision);
    let withdrawn = granting::withdrawn(&mut wanted, catalog, &fleet, &members, &let_go);
    let new = revision.new_in(state);
    let removed = removed_by_revision(catalog, &members);
    let cause = |app: &AppKey| match catalog.commit_of(&app.catalog) {
        Some(commit) if new.contains(&app.catalog) || removed.contains(&app.catalog) => {
            Cause::Revision { commit: commit.clone() }
        }
        // The root says of clusters what tenants' placements look at, and what is granted.
        Some(_) if new.contains(&catalog.name) => Cause::Revision { commit: catalog.commit.clone() },
        None if let_go.contains(&app.catalog) => Cause::Revision { commit: catalog.commit.clone() },
        _ => Cause::Labels,
    };
    let (shapes, lacking) =
        overrides::shapes(catalog, &fleet, &wanted, &revision.forms, &revision.asking, &judge);
    let units = Units::of(catalog);
    let Overlay { instead, mut unknown, bases, mut wants, problems } =
        overlay(state, (&bases, &units), &fleet, &wanted, older);
    let shapes = shapes.with(instead).granted(catalog, &fleet, &wanted);
    let beyond = granting::beyond(catalog, &fleet, &wanted, &shapes, &members, codec);
    unknown.extend(withdrawn.stays.keys().cloned());
    let shapes = if unknown.is_empty() { shapes } else { shapes.without(&unknown) };
    let shares = shares(state, &decisions, &shapes, codec);
    let mut schedules = schedules(catalog, &fleet);
    for cluster in fleet.keys() {
        if let Some(freeze) = pauses::freeze(state, cluster, now_ms) {
            schedules.entry(cluster.clone()).or_default().freezes.push(freeze);
        }
    }
    let encoded = schedules.iter().map(|(cluster, schedule)| (cluster.clone(), encode_schedule(schedule)));
    let rules = depending::rules(catalog, &wanted, encoded);
    let is_done = |(app, cluster): &EntryKey, entry: &EncodedEntry| {
        let version = rolling::version(&shapes, &shares, app, cluster);
        version.is_some() && codec.decode(entry).map(|entry| entry.version) == version
    };
    grants.note(catalog, &new, [&withdrawn.stays, &beyond.stays], &members, is_done);
    let may_start = |cluster: &ClusterName| {
        schedules.get(cluster).is_none_or(|schedule| schedule.closed(now_ms).is_none())
    };
    let was_well = |cluster: &ClusterName, app: &AppKey, version: Digest, told_ms: u64| {
        state.reports.get(cluster).is_some_and(|heard| heard.well_ms(app, version, told_ms).is_some())
    };
    let inputs = Inputs {
        wanted: &wanted,
        apps: &shapes,
        shares: &shares,
        rules: &rules,
        members: &members,
        now_ms,
        cause: &cause,
        was_well: &was_well,
        codec,
    };
    let Paused { stays: mut paused, mut waiting } =
        pauses::paused(state, &members, &wanted, (&shapes, &shares), codec, now_ms);
    let mut depends = depending::depending(depending::Given {
        state,
        catalog,
        fleet: &fleet,
        wanted: &wanted,
        shapes: &shapes,
        shares: &shares,
        members: &members,
        codec,
    });
    let is_open = !depends.stays.is_empty();
    // What is not granted waits as what waits for others does, and returns as that does.
    depends.stays.extend(beyond.stays.keys().cloned());
    let ungranted = beyond.stays.iter().filter(|(_, stay)| stay.kind == StayKind::Waits);
    let ungranted =
        ungranted.map(|((app, cluster), stay)| ((cluster.clone(), app.clone()), stay.why.clone()));
    let mut held_back = pauses::Waiting::new();
    for (entry, why) in depends.waiting.into_iter().chain(ungranted) {
        held_back.entry(entry.clone()).or_insert_with(|| why.clone());
        waiting.entry(entry).or_insert(why);
    }
    let mut rolling = rolling(rolling::Given {
        state,
        catalog,
        forms: &revision.forms,
        bases: &bases,
        units: &units,
        fleet: &fleet,
        wanted: &wanted,
        shapes: &shapes,
        shares: &shares,
        members: &members,
        paused: &paused,
        depends: &depends.stays,
        ungranted: &beyond.stays,
        withdrawn: &withdrawn.stays,
        may_start: &may_start,
        older,
        hearing,
        codec,
        now_ms,
    });
    // What returns is judged as what it is to be. What waits for its wave is judged with all else, before the first goes.
    wants.extend(std::mem::take(&mut rolling.wants));
    let instead = overrides::bound(std::mem::take(&mut rolling.instead), catalog, &fleet);
    // Who returns waits for nobody elsewhere.
    paused.extend(depends.stays.into_iter().filter(|key| !instead.contains_key(key)));
    let shapes_now = shapes.with(instead);
    let inputs = Inputs { apps: &shapes_now, ..inputs };
    let survey = assign::survey(&inputs);
    let approvals: Vec<Approval> = state.approvals.values().map(|a| (*a.record).clone()).collect();
    let allowances: Vec<Allowance> = revision
        .owns
        .iter()
        .filter(|own| new.contains(&own.catalog.name))
        .flat_map(|own| own.allowances.clone())
        .collect();
    let guarded = binding(state, catalog);
    let question = Question {
        losses: &survey.losses,
        counts: &survey.counts,
        guarded: &guarded,
        window: state.losses(),
        now_ms,
        approvals: &approvals,
        allowances: &allowances,
    };
    let verdict = guard::judge(&question);
    let mut verdict = if paused.is_empty() { verdict } else { without_paused(&question, verdict, &paused) };
    rolling.keep(&mut verdict);
    let stays: BTreeSet<EntryKey> = paused.union(&rolling.stays).chain(&unknown).cloned().collect();
    // What is decided for a cluster that is worked on is written when that is over. It is judged all the same: its losses
    // count with those of the others, and what was approved for it stays approved.
    let planned = (!stays.is_empty()).then(|| shapes_now.without(&stays));
    let inputs = Inputs { apps: planned.as_ref().unwrap_or(&shapes_now), ..inputs };
    let mut next = assign::assign(&inputs, &survey, &verdict);
    next.retain(|cluster, _| maintained(state, cluster, now_ms).is_none());
    let mut writes = heads::take(state, revision, &verdict, &guarded, now_ms);
    writes.extend(heads::forms(state, revision));
    writes.extend(heads::forgotten(state, catalog));
    writes.extend(decisions::records(state, catalog, &decisions));
    // Before what follows from it: whoever is cut off in between sends the same again.
    writes.extend(rolling.writes);
    let shapes = inputs.apps;
    let (forms, turns) = (&revision.forms, &rolling.turns);
    let told = history::Given {
        state,
        now_ms,
        catalog,
        forms,
        is_new: &new,
        fleet: &fleet,
        decisions: &decisions,
        wanted: &wanted,
        shapes,
        turns,
        grants: &grants,
        allowances: &allowances,
        codec,
    };
    let changes = |cluster: &ClusterName, next: &Told| told.changes(cluster, next);
    let (assigned, too_large) =
        assignments::assignments((state, catalog), next, &verdict, &changes, authors, now_ms);
    writes.extend(assigned);
    let newer = newer.iter().map(|(catalog, hold)| (hold, Some(catalog)));
    let all_holds = verdict.holds.iter().map(|hold| (hold, None)).chain(newer);
    writes.extend(holds(state, catalog, &new, all_holds, now_ms));
    writes.extend(spent_approvals(state, &approvals, &survey, &verdict));
    writes.extend(emptied(state));
    writes.extend(pauses::over(state, now_ms));
    let missing = missing(revision, overrides::needed(catalog, &fleet, &wanted, &revision.asking, &judge));
    kept.grants = grants;
    Decided {
        fleet,
        decisions,
        refused: refused.into_iter().chain(beyond.problems).chain(withdrawn.problems).collect(),
        beyond: beyond.stays,
        withdrawn: withdrawn.stays,
        wanted,
        missing,
        shapes: shapes_now,
        stays,
        shares,
        rules,
        failing: depends.failing,
        waiting: rolling.waiting.into_iter().chain(waiting).collect(),
        held_back,
        waits_for: rolling.waits_for,
        wants,
        unpinnable: problems,
        awaited: Awaited { anything: rolling.awaited.anything || is_open, ..rolling.awaited },
        lacking,
        too_large,
        taken,
        due_ms: due_ms.into_iter().chain(rolling.due_ms).min(),
        open,
        writes,
    }
}

/// Replicas that placements divide. Where the target is none of an app's objects, what was told before stands.
fn shares(state: &State, decisions: &[Decision], shapes: &Shapes, codec: &dyn Codec) -> ShareOut {
    let mut shares = decide::share_out(decisions);
    for (cluster, apps) in &mut shares {
        for (app, share) in std::mem::take(apps) {
            let objects = shapes.get(&app, cluster).and_then(|form| {
                let objects = codec.objects(&form.bundle)?;
                Some(effective_objects(&objects, &form.options, &form.values))
            });
            let share =
                match objects.is_none_or(|objects| objects.iter().any(|key| share.target.matches(key))) {
                    true => Some(share),
                    false => {
                        let told = state.told(cluster);
                        let entry = told.assignment.entries.get(&app).and_then(|entry| codec.decode(entry));
                        entry.and_then(|entry| entry.options.share)
                    }
                };
            apps.extend(share.map(|share| (app, share)));
        }
    }
    shares
}

/// What of the variants that are needed is not rendered.
fn missing(
    revision: &Revision,
    mut needed: BTreeMap<AppKey, BTreeSet<Variant>>,
) -> BTreeMap<AppKey, BTreeSet<Variant>> {
    for (app, variants) in &mut needed {
        let there = revision.forms.get(app);
        variants.retain(|variant| there.is_none_or(|forms| !forms.contains_key(variant)));
    }
    needed.retain(|_, variants| !variants.is_empty());
    needed
}

/// The maintenance that a member is in. Whoever is ordered out goes, worked on or not.
pub fn maintained<'a>(state: &'a State, cluster: &ClusterName, now_ms: u64) -> Option<&'a Maintenance> {
    let member = state.members.get(cluster).filter(|m| m.standing == Standing::Member)?;
    member.membership.maintained(now_ms)
}

/// When the next maintenance or pause ends, and assignments may change that could not before; Unix milliseconds.
pub fn next_end(state: &State, now_ms: u64) -> Option<u64> {
    let ends = state.members.keys().filter_map(|cluster| maintained(state, cluster, now_ms));
    let pauses = state.paused(now_ms).map(|pause| pause.until_ms);
    ends.map(|maintenance| maintenance.until_ms).chain(pauses).min()
}

fn members(state: &State) -> BTreeMap<ClusterName, assign::Member<'_>> {
    let planned =
        state.members.iter().filter(|(_, m)| matches!(m.standing, Standing::Member | Standing::Emptying));
    let member = |(name, m): (&ClusterName, &crate::state::Versioned<Arc<MemberRecord>>)| {
        let emptied_by = (m.standing == Standing::Emptying).then(|| m.ordered_by.clone().unwrap_or_default());
        let report = state.reports.get(name).map(|r| &*r.report);
        (name.clone(), assign::Member { told: state.told(name), report, emptied_by })
    };
    planned.map(member).collect()
}

/// The catalogs that no longer have an app which somebody runs: then it is their revision that removes it, also when the removal was
/// interrupted or held after the revision was taken.
fn removed_by_revision(
    catalog: &Catalog,
    members: &BTreeMap<ClusterName, assign::Member<'_>>,
) -> BTreeSet<CatalogName> {
    let entries = members.values().flat_map(|member| member.told.assignment.entries.keys());
    let gone =
        entries.filter(|app| catalog.commit_of(&app.catalog).is_some() && catalog.app_of(app).is_none());
    gone.map(|app| app.catalog.clone()).collect()
}

/// The same operations in batches that the store takes.
pub(super) fn chunked(step: Step, operations: Vec<(String, Option<Vec<u8>>)>) -> Vec<Write> {
    let mut batches: Vec<Batch> = Vec::new();
    let mut count = 0;
    for (key, value) in operations {
        let bytes = key.len() + value.as_ref().map_or(0, Vec::len);
        let last = batches.pop().unwrap_or_default();
        let batch = if count == RECORDS_PER_BATCH || last.bytes() + bytes > MAX_BATCH_BYTES / 2 {
            batches.extend((count > 0).then_some(last));
            count = 0;
            Batch::new()
        } else {
            last
        };
        count += 1;
        batches.push(match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        });
    }
    batches.into_iter().map(|batch| Write { step, batch, audits: Vec::new() }).collect()
}

/// Members whose workloads are gone: they are told to detach.
fn emptied(state: &State) -> Vec<Write> {
    let is_empty = |name: &ClusterName| {
        let told = state.told(name);
        told.assignment.entries.is_empty() && told.assignment.leaving.is_empty()
    };
    let done = state.members.iter().filter(|(name, m)| m.standing == Standing::Emptying && is_empty(name));
    let detach = |(name, member): (&ClusterName, &crate::state::Versioned<Arc<MemberRecord>>)| {
        let record = MemberRecord { standing: Standing::Detaching, ..(*member.record).clone() };
        let key = key::member(name);
        let batch = Batch::new().require_at(key.clone(), member.version).put(key, json(&record));
        Write { step: Step::MemberOrderedOut, batch, audits: Vec::new() }
    };
    done.map(detach).collect()
}

pub(crate) fn json(record: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record always serializes")
}

#[cfg(test)]
mod tests {
    use nave_placement::fleet::Membership;

    use super::*;
    use crate::state::Versioned;
    use crate::store::Version;

    #[test]
    fn operations_are_cut_by_number_and_by_bytes() {
        // (number, bytes of each value, batches)
        let rows = [
            (0, 1, 0),
            (1, 1, 1),
            (100, 1, 1),
            (101, 1, 2),
            (3, MAX_BATCH_BYTES / 2 - 2, 3),
            (8, MAX_BATCH_BYTES / 8, 3),
        ];
        for (number, bytes, batches) in rows {
            let operations = (0..number).map(|n| (format!("{n}"), Some(vec![0; bytes]))).collect();
            let writes = chunked(Step::FormsTaken, operations);
            assert_eq!(writes.len(), batches, "{number} of {bytes}");
            assert!(writes.iter().all(|write| write.batch.bytes() <= MAX_BATCH_BYTES), "{number} of {bytes}");
        }
    }

    #[test]
    fn a_maintenance_ends_by_itself_and_never_holds_up_who_is_ordered_out() {
        let member = |until_ms: Option<u64>, standing| {
            let maintenance = until_ms.map(|until_ms| Maintenance { until_ms, reason: String::new() });
            let membership = Membership { maintenance, ..Membership::default() };
            let record = MemberRecord { membership, standing, ..MemberRecord::default() };
            Versioned { record: Arc::new(record), version: Version(1) }
        };
        let name = |name: &str| name.parse::<ClusterName>().expect("valid");
        let mut state = State::default();
        state.members.insert(name("none"), member(None, Standing::Member));
        state.members.insert(name("short"), member(Some(100), Standing::Member));
        state.members.insert(name("long"), member(Some(200), Standing::Member));
        state.members.insert(name("leaves"), member(Some(50), Standing::Emptying));
        // (now, maintained, the next end)
        let rows: [(u64, &[&str], Option<u64>); 3] =
            [(0, &["long", "short"], Some(100)), (100, &["long"], Some(200)), (200, &[], None)];
        for (now_ms, expected, end) in rows {
            let seen: Vec<_> = state
                .members
                .keys()
                .filter(|cluster| maintained(&state, cluster, now_ms).is_some())
                .collect();
            assert_eq!(seen.iter().map(|c| c.as_str()).collect::<Vec<_>>(), expected, "{now_ms}");
            assert_eq!(next_end(&state, now_ms), end, "{now_ms}");
        }
    }
}
