//! Seen: what there is to tell at this moment, put together from the state, the picture of deciding and the [`Tally`].
//!
//! In: a [`Look`], the tally, what was told. Out: [`Seen`], which [`super::tell`] compares with what was told.
//! Never: takes for offline whom a hub that has just started could not have heard yet; looks at single entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::catalog::{Catalog, CommitId, Kind, Problem, is_configured};
use nave_placement::guard::HoldCause;
use nave_placement::rollout::{Course, Outcome, Phase, WaitsFor};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

use super::conditions::{Conditions, Stage, Stand};
use super::tally::{Cause, OfCommit, Tally};
use super::{Clusters, OfHold, OfRollout};
use crate::deciding::core::maintained;
use crate::deciding::rolling::SETTLING_MS;
use crate::operator::Look;
use crate::state::records::{HoldRecord, Standing};
use crate::state::{State, Versioned};

/// A spoke renews at half the life of its certificate, which is a day; one that has less than a quarter left tried in vain for
/// six hours.
const SPOKE_MARGIN_MS: u64 = 6 * 3_600_000;
/// A new CA has to reach every spoke and every operator first.
const CA_MARGIN_MS: u64 = 90 * 24 * 3_600_000;
/// Apps of a catalog whose mistakes are told: with more of them it is one mistake that they share.
pub const FAULTS: usize = 20;

/// Whether a cluster can be told to be well or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// It is connected.
    Here,
    /// It is not, but not for long: nothing is said of it.
    Unsure,
    /// It is offline: it is passed over.
    Away,
    /// It is worked on: it is passed over, and silent.
    Maintained,
}

/// Everything that may be told at a moment.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The time, Unix milliseconds.
    pub now_ms: u64,
    /// The name of the root catalog, once a commit of it is in effect.
    pub root_name: Option<CatalogName>,
    /// The root catalog.
    pub root: CatalogSeen,
    /// Catalogs of tenants: all that the root catalog names.
    pub tenants: BTreeMap<CatalogName, CatalogSeen>,
    /// Everything that is known to the hub is decided.
    pub is_decided: bool,
    /// Some cluster can be looked at, or there is none.
    pub is_lit: bool,
    /// Apps.
    pub apps: BTreeMap<AppKey, AppSeen>,
    /// Commits of which something is not as it shall be, by whose apps or mistakes.
    pub unfinished: BTreeSet<OfCommit>,
    /// Clusters that have an app of a catalog and are not passed over.
    pub having: BTreeMap<CatalogName, Clusters>,
    /// Holds.
    pub holds: BTreeMap<String, OfHold>,
    /// How members are in contact.
    pub contacts: BTreeMap<ClusterName, Contact>,
    /// Connected spokes whose certificates end soon, and when, Unix milliseconds.
    pub expiring: BTreeMap<ClusterName, u64>,
    /// When the fleet's CA ends, if that is soon, Unix milliseconds.
    pub ca_until_ms: Option<u64>,
}

impl Seen {
    /// The root's, and then those of tenants with their names.
    pub fn catalogs(&self) -> impl Iterator<Item = (Option<&CatalogName>, &CatalogSeen)> {
        let tenants = self.tenants.iter().map(|(name, seen)| (Some(name), seen));
        std::iter::once((None, &self.root)).chain(tenants)
    }

    /// The tenant whose app it is; none of the root's.
    pub fn tenant_of<'a>(&self, app: &'a AppKey) -> Option<&'a CatalogName> {
        let is_roots = |root: &CatalogName| app.catalog == *root;
        Some(&app.catalog).filter(|_| !self.root_name.as_ref().is_none_or(is_roots))
    }

    /// The tenant whose commit it is that an app has come by; none of the root's: its parameters make versions of tenants' apps, too.
    pub fn tenant_by<'a>(&self, app: &'a AppKey, commit: &CommitId) -> Option<&'a CatalogName> {
        let own = |tenant: &CatalogName| self.tenants.get(tenant).and_then(|seen| seen.commit.as_ref());
        let is_roots =
            |tenant: &&CatalogName| self.root.commit.as_ref() == Some(commit) && own(tenant) != Some(commit);
        self.tenant_of(app).filter(|tenant| !is_roots(tenant))
    }

    /// The catalog whose commit it is that an app has come by, where that is another's than the app.
    pub fn other_by(&self, app: &AppKey, commit: &CommitId) -> Option<CatalogName> {
        let is_others = self.tenant_of(app).is_some() && self.tenant_by(app, commit).is_none();
        self.root_name.clone().filter(|_| is_others)
    }

    /// Whether a catalog has a mistake of an app.
    pub fn is_faulty(&self, app: &AppKey) -> bool {
        let of = std::iter::once(&self.root).chain(self.tenants.get(&app.catalog));
        of.flat_map(|seen| &seen.faults).any(|fault| fault.app.as_ref() == Some(app))
    }
}

/// What is seen of a catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CatalogSeen {
    /// The commit in effect.
    pub commit: Option<CommitId>,
    /// The first mistake of each app, and of all else; at most [`FAULTS`].
    pub faults: Vec<Fault>,
}

/// A mistake of a catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The app, if it is one's.
    pub app: Option<AppKey>,
    /// For people.
    pub detail: String,
}

/// What is seen of an app.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppSeen {
    /// The version that it has, and its commit.
    pub version: Option<(Digest, CommitId)>,
    /// Clusters that have it and are not passed over.
    pub clusters: usize,
    /// It is healthy on all of them, and nothing of it waits or is under way, but for a version that was taken back.
    pub is_well: bool,
    /// By what it fails, and where.
    pub failing: BTreeMap<Cause, (Clusters, String)>,
    /// Where it differs.
    pub drifting: Clusters,
    /// Where drift was put back since the last look.
    pub corrected: Clusters,
    /// Where its rollout stands; `None` where there is none.
    pub rollout: Option<RolloutSeen>,
    /// Rollouts that were taken back, with when they ended.
    pub ended: Vec<(u64, OfRollout)>,
    /// Entries of it that are to come or to go, and wait.
    pub moving: usize,
}

/// What is seen of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutSeen {
    /// Where it stands; without a stage: it is not known yet what it waits for.
    pub stand: (String, Option<Stage>),
    /// What an event says of it.
    pub of: OfRollout,
}

impl RolloutSeen {
    /// As it is remembered.
    pub fn told(&self) -> Option<Stand> {
        let (rollout, stage) = &self.stand;
        Some(Stand { rollout: rollout.clone(), stage: stage.clone()? })
    }
}

/// How members are in contact, and when the next of them counts as offline (Unix milliseconds).
pub fn contacts(
    look: &Look<'_>,
    told: &Conditions,
    offline_after_ms: u64,
) -> (BTreeMap<ClusterName, Contact>, Option<u64>) {
    let mut due: Option<u64> = None;
    let mut contacts = BTreeMap::new();
    let members = look.state.members.iter().filter(|(_, m)| m.standing == Standing::Member && !m.is_vacant());
    for (name, member) in members {
        let heard = Heard {
            is_connected: look.live.contains_key(name),
            seen_ms: look.seen.get(name).copied(),
            enrolled_ms: member.enrolled_ms,
            since_ms: look.since_ms,
            is_maintained: maintained(look.state, name, look.now_ms).is_some(),
            is_told: told.offline.contains(name),
        };
        let contact = heard.contact(look.now_ms, offline_after_ms);
        if contact == Contact::Unsure {
            due = due.into_iter().chain([heard.away_ms(offline_after_ms)]).min();
        }
        contacts.insert(name.clone(), contact);
    }
    (contacts, due)
}

/// What is known of where a member is. Times are Unix milliseconds.
#[derive(Clone, Copy, Debug)]
struct Heard {
    is_connected: bool,
    /// When it was heard last, since this hub started.
    seen_ms: Option<u64>,
    enrolled_ms: u64,
    /// When this hub started.
    since_ms: u64,
    is_maintained: bool,
    /// It was told to be offline.
    is_told: bool,
}

impl Heard {
    /// From when on it is offline, if it is not heard.
    fn away_ms(&self, after_ms: u64) -> u64 {
        match self.seen_ms {
            Some(seen_ms) => seen_ms.saturating_add(after_ms),
            // This hub has not heard it yet, and waits for it at least as long as rollouts do.
            None => {
                let settled_ms = self.since_ms.saturating_add(after_ms.max(SETTLING_MS));
                settled_ms.max(self.enrolled_ms.saturating_add(after_ms))
            }
        }
    }

    fn contact(&self, now_ms: u64, after_ms: u64) -> Contact {
        if self.is_maintained {
            Contact::Maintained
        } else if self.is_connected {
            Contact::Here
        } else if self.is_told || now_ms >= self.away_ms(after_ms) {
            Contact::Away
        } else {
            Contact::Unsure
        }
    }
}

/// Looks.
pub fn seen(
    look: &Look<'_>,
    tally: &mut Tally,
    contacts: BTreeMap<ClusterName, Contact>,
    ca_until_ms: Option<u64>,
) -> Seen {
    let root_name = look.picture.revision.as_ref().map(|revision| revision.catalog.name.clone());
    let holds =
        look.state.holds.iter().map(|(id, held)| (id.clone(), of_hold(&held.record, root_name.as_ref())));
    let (root, tenants) = catalogs(look);
    let is_lit = contacts.is_empty() || contacts.values().any(|contact| *contact == Contact::Here);
    let mut seen = Seen {
        now_ms: look.now_ms,
        holds: holds.collect(),
        root_name,
        root,
        tenants,
        is_decided: look.decided(),
        is_lit,
        having: tally.having().map(|(name, on)| (name.clone(), Clusters::of(on))).collect(),
        expiring: expiring(look.state, &contacts, look.now_ms),
        contacts,
        ca_until_ms: ca_until_ms.filter(|until_ms| *until_ms < look.now_ms.saturating_add(CA_MARGIN_MS)),
        ..Seen::default()
    };
    let waiting = waiting(look);
    seen.unfinished = unfinished(look, tally, &waiting, &seen);
    seen.apps = apps(look, tally, &waiting, seen.is_decided);
    for (cluster, app) in look.picture.waiting.keys() {
        let wanted = look.picture.wanted.get(cluster).is_some_and(|apps| apps.contains_key(app));
        let told = look.state.told.get(cluster);
        let is_there = told.is_some_and(|told| told.assignment.entries.contains_key(app));
        if wanted != is_there {
            seen.apps.entry(app.clone()).or_default().moving += 1;
        }
    }
    let units = look.units();
    for (app, course) in &look.state.rollouts {
        let mut of = seen.apps.remove(app).unwrap_or_default();
        let commits = follow(look, app, units.group(app), &course.record, (&seen, &mut of));
        seen.unfinished.extend(commits.into_iter().map(|commit| (app.catalog.clone(), commit)));
        seen.apps.insert(app.clone(), of);
    }
    seen
}

/// Commits of which something is not healthy, waits, is held or is a mistake.
fn unfinished(look: &Look<'_>, tally: &Tally, waiting: &BTreeSet<AppKey>, seen: &Seen) -> BTreeSet<OfCommit> {
    let mut unfinished: BTreeSet<OfCommit> = tally.unfinished().cloned().collect();
    let forms = look.picture.revision.as_ref().map(|revision| &revision.forms);
    for app in waiting {
        let forms = forms.and_then(|forms| forms.get(app)).into_iter().flat_map(BTreeMap::values);
        unfinished.extend(forms.map(|form| (app.catalog.clone(), form.commit.clone())));
    }
    let holds = look.state.holds.iter();
    let of_hold = |(id, held): (&String, &Versioned<Arc<HoldRecord>>)| {
        Some((held.catalog.clone(), seen.holds.get(id)?.commit.clone()))
    };
    unfinished.extend(holds.filter_map(of_hold));
    let faulty = seen.catalogs().filter(|(_, catalog)| !catalog.faults.is_empty());
    let of_fault = |(tenant, catalog): (Option<&CatalogName>, &CatalogSeen)| {
        Some((tenant.or(seen.root_name.as_ref())?.clone(), catalog.commit.clone()?))
    };
    unfinished.extend(faulty.filter_map(of_fault));
    unfinished
}

/// Apps, as far as clusters say how they stand.
fn apps(
    look: &Look<'_>,
    tally: &mut Tally,
    waiting: &BTreeSet<AppKey>,
    is_decided: bool,
) -> BTreeMap<AppKey, AppSeen> {
    let corrected = tally.corrected();
    let mut apps = BTreeMap::new();
    for (app, counted) in tally.apps() {
        let is_well = is_decided && counted.clusters > 0 && counted.healthy == counted.clusters;
        let course = look.state.rollouts.get(app);
        // Once all have what they had before, it is well with that: what waits is the version that is blocked.
        let is_back = course.is_some_and(|course| course.block.is_some() && course.current.is_none());
        let failing = counted.failing.iter().map(|(cause, on)| {
            let detail = on.values().next().cloned().unwrap_or_default();
            (cause.clone(), (Clusters::of(on.keys()), detail))
        });
        let seen = AppSeen {
            clusters: counted.clusters,
            is_well: is_well && (is_back || !waiting.contains(app)),
            failing: failing.collect(),
            drifting: Clusters::of(&counted.drifting),
            corrected: corrected.get(app).map(Clusters::of).unwrap_or_default(),
            ..AppSeen::default()
        };
        apps.insert(app.clone(), seen);
    }
    apps
}

/// Apps of which something waits: for a wave, the end of a pause, a value.
fn waiting(look: &Look<'_>) -> BTreeSet<AppKey> {
    let waiting = look.picture.waiting.keys().map(|(_, app)| app);
    waiting.chain(look.picture.lacking.iter().map(|lacking| &lacking.app)).cloned().collect()
}

/// Adds what an app's course shows; gives the commits that are not finished for it.
fn follow(
    look: &Look<'_>,
    app: &AppKey,
    group: Vec<AppKey>,
    course: &Course,
    (all, seen): (&Seen, &mut AppSeen),
) -> Vec<CommitId> {
    let mut unfinished = Vec::new();
    seen.version = course.versions.last().map(|version| (version.digest, version.commit.clone()));
    if let Some(progress) = &course.current
        && let Some(plan) = look.state.plans.get(&(app.clone(), progress.plan.as_str().to_owned()))
    {
        seen.is_well = false;
        unfinished.push(plan.commit.clone());
        let (stage, detail, wave) = match (&progress.phase, look.picture.waits_for.get(app)) {
            (Phase::Halted { reason }, _) => (Some(Stage::Halted), reason.clone(), None),
            (Phase::RollingBack { reason, .. }, _) => (Some(Stage::RollingBack), reason.clone(), None),
            (Phase::Progressing, Some(WaitsFor::Approval { wave })) => {
                let stage = Stage::AwaitsApproval { wave: wave.clone() };
                (Some(stage), String::new(), Some(wave.clone()))
            }
            (Phase::Progressing, Some(_)) => (Some(Stage::Goes), String::new(), None),
            (Phase::Progressing, None) => (None, String::new(), None),
        };
        let rollout = plan.id.to_string();
        let of = OfRollout {
            app: app.clone(),
            group: group.clone(),
            rollout: rollout.clone(),
            commit: plan.commit.clone(),
            catalog: all.other_by(app, &plan.commit),
            wave,
            detail,
        };
        seen.rollout = Some(RolloutSeen { stand: (rollout, stage), of });
    }
    for ended in course.past.iter().filter(|ended| ended.outcome == Outcome::RolledBack) {
        let of = OfRollout {
            app: app.clone(),
            group: group.clone(),
            rollout: ended.id.to_string(),
            commit: ended.commit.clone(),
            catalog: all.other_by(app, &ended.commit),
            wave: None,
            detail: ended.reason.clone(),
        };
        seen.ended.push((ended.at_ms, of));
        if course.block.as_ref().is_some_and(|block| block.rollout == ended.id) {
            unfinished.push(ended.commit.clone());
        }
    }
    unfinished
}

fn of_hold(record: &HoldRecord, root: Option<&CatalogName>) -> OfHold {
    let HoldRecord { hold, commit, .. } = record;
    let mut catalog = None;
    let (app, commit) = match &hold.cause {
        HoldCause::EmptyCatalog { commit, tenant, .. } | HoldCause::NotDescendant { commit, tenant, .. } => {
            catalog.clone_from(tenant);
            (None, commit)
        }
        HoldCause::ProtectedApp { app }
        | HoldCause::App { app }
        | HoldCause::Objects { app }
        | HoldCause::Leftovers { app, .. } => (Some(app.clone()), commit),
        HoldCause::ProtectedCluster { .. }
        | HoldCause::Cluster { .. }
        | HoldCause::LastEntries
        | HoldCause::Fleet => {
            catalog = Some(record.catalog.clone()).filter(|of| root.is_some_and(|root| of != root));
            (None, commit)
        }
    };
    let on: BTreeSet<&ClusterName> = hold.entries.iter().map(|(_, cluster)| cluster).collect();
    OfHold {
        hold: hold.id.clone(),
        commit: commit.clone(),
        app,
        catalog,
        clusters: Clusters::of(on),
        detail: hold.to_string(),
    }
}

/// The root catalog, and those of tenants.
fn catalogs(look: &Look<'_>) -> (CatalogSeen, BTreeMap<CatalogName, CatalogSeen>) {
    let Some(revision) = look.picture.revision.as_ref() else { return Default::default() };
    let mut faults = faults(&revision.catalog, &look.picture.problems);
    let mut of = |name: &CatalogName| CatalogSeen {
        commit: revision.catalog.commit_of(name).cloned(),
        faults: faults.remove(name).unwrap_or_default(),
    };
    let tenants = revision.catalog.tenants_named().map(|(name, ..)| (name.clone(), of(&name))).collect();
    (of(&revision.catalog.name), tenants)
}

/// The mistakes of catalogs. What stands in the hub's configuration is no commit's.
fn faults(catalog: &Catalog, problems: &[Problem]) -> BTreeMap<CatalogName, Vec<Fault>> {
    let mut found: BTreeMap<(CatalogName, Option<AppKey>), Vec<&Problem>> = BTreeMap::new();
    for problem in problems.iter().filter(|problem| problem.is_error() && !is_configured(&problem.file)) {
        let app = problem.object.as_ref().filter(|object| object.kind == Kind::App);
        let app = app.and_then(|object| catalog.key(&object.name));
        found.entry((catalog.owner_of(problem), app)).or_default().push(problem);
    }
    let mut faults: BTreeMap<CatalogName, Vec<Fault>> = BTreeMap::new();
    for ((owner, app), all) in found {
        let more = match all.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more)"),
        };
        let of_owner = faults.entry(owner).or_default();
        if of_owner.len() < FAULTS {
            of_owner.push(Fault { app, detail: format!("{}{more}", all[0]) });
        }
    }
    faults
}

fn expiring(
    state: &State,
    contacts: &BTreeMap<ClusterName, Contact>,
    now_ms: u64,
) -> BTreeMap<ClusterName, u64> {
    let here = contacts.iter().filter(|(_, contact)| **contact == Contact::Here);
    here.filter_map(|(name, _)| {
        let until_ms = state.members.get(name)?.certificate_until_ms;
        (until_ms < now_ms.saturating_add(SPOKE_MARGIN_MS)).then(|| (name.clone(), until_ms))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use nave_placement::catalog::{Files, LastGood, ObjectId, Position, Tree, assemble};

    use super::*;

    #[test]
    fn mistakes_are_told_by_app_and_those_of_the_configuration_are_no_commits() {
        let commit = CommitId("c".into());
        let catalog =
            assemble(&CatalogName::root(), &commit, true, &Tree::new(), &Files::new(), &LastGood::new());
        let problem = |file: &str, object: Option<&str>| {
            let object = object.map(|name| ObjectId { kind: Kind::App, name: name.into() });
            Problem { object, ..Problem::error(&file.into(), Position::START, "no") }
        };
        let warning = problem("web.yaml", Some("db")).warning();
        let told = |problems: &[Problem]| {
            let found = faults(&catalog, problems).remove(&catalog.name).unwrap_or_default();
            let text = |fault: Fault| {
                let app = fault.app.map_or_else(String::new, |app| app.to_string());
                format!("{app} {}", fault.detail.matches("and 1 more").count())
            };
            found.into_iter().map(text).collect::<Vec<_>>()
        };
        assert!(told(&[problem("/etc/nave/hub.yaml", None), warning]).is_empty());
        let all =
            [("a.yaml", None), ("a.yaml", Some("web")), ("b.yaml", Some("web")), ("b.yaml", Some("api"))];
        let all = all.map(|(file, object)| problem(file, object));
        assert_eq!(told(&all), [" 0", "api 0", "web 1"]);
        let many: Vec<Problem> = (0..99).map(|n| problem("a.yaml", Some(&format!("app-{n}")))).collect();
        assert_eq!(told(&many).len(), FAULTS);
    }

    #[test]
    fn a_cluster_is_offline_after_a_while_and_a_new_hub_waits_for_it_first() {
        const AFTER: u64 = 10_000;
        let heard = |seen_ms: Option<u64>, enrolled_ms: u64| Heard {
            is_connected: false,
            seen_ms,
            enrolled_ms,
            since_ms: 100_000,
            is_maintained: false,
            is_told: false,
        };
        let seen = heard(Some(200_000), 0);
        let settled = 100_000 + SETTLING_MS;
        let rows = [
            (Heard { is_connected: true, ..seen }, 900_000, Contact::Here),
            (seen, 209_999, Contact::Unsure),
            (seen, 210_000, Contact::Away),
            (Heard { is_maintained: true, ..seen }, 900_000, Contact::Maintained),
            // Not heard by this hub: it may be about to connect, unless the hub before it told of it.
            (heard(None, 0), settled - 1, Contact::Unsure),
            (heard(None, 0), settled, Contact::Away),
            (Heard { is_told: true, ..heard(None, 0) }, 100_000, Contact::Away),
            (heard(None, settled), settled + AFTER - 1, Contact::Unsure),
        ];
        for (heard, now_ms, expected) in rows {
            assert_eq!(heard.contact(now_ms, AFTER), expected, "{heard:?} at {now_ms}");
        }
    }
}
