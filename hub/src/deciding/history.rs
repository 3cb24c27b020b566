//! History: what is told of the changes of a step.
//!
//! In: what a cluster was told before and is told now, and what that was decided from. Out: each change of an entry, with its cause.
//! Never: decides anything; guesses a cause that the step does not know.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::assign::{self, Codec, Entry, Leaving, Options, Told};
use nave_placement::catalog::{Catalog, CommitId, Kind, ObjectId, RemoteId, SourceAt, is_configured};
use nave_placement::decide::{Decision, Wanted};
use nave_placement::fleet::Fleet;
use nave_placement::guard::{Allowance, BY_TRAILER, EntryKey};
use nave_placement::overrides::{self, Because, Forms, Shapes};
use nave_placement::rollout;
use nave_placement::{AppKey, CatalogName, ClusterName};

use super::granting::{self, Grants};
use crate::state::State;
use crate::state::history::{Cause, Changed, Turn, Version, What};
use crate::state::records::PinRecord;

/// For so long after it enrolled a cluster is new. It is decided for at once; a hub that is down meanwhile is back by then.
const JOINING_MS: u64 = 600_000;

/// By which rollouts entries move in this step.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// Entries that change now.
    pub by: BTreeMap<EntryKey, Turn>,
    /// Apps that go back: why, and who ordered it.
    pub back: BTreeMap<AppKey, (String, Option<String>)>,
}

impl Turns {
    /// Notes what a rollout lets happen now.
    pub fn note(
        &mut self,
        app: &AppKey,
        plan: &rollout::Plan,
        next: &rollout::Next,
        is_due: impl Fn(&ClusterName) -> bool,
    ) {
        let Some(progress) = &next.course.current else { return };
        if let rollout::Phase::RollingBack { reason, by, .. } = &progress.phase {
            self.back.insert(app.clone(), (reason.clone(), by.clone()));
        }
        let go = next.go.iter().filter(|cluster| is_due(cluster));
        for cluster in go.chain(&next.back) {
            let Some(wave) = plan.waves.get(plan.wave_of(cluster)) else { continue };
            let turn = Turn {
                rollout: plan.id.to_string(),
                cause: plan.cause,
                commit: plan.commit.clone(),
                wave: wave.name.clone(),
                approved_by: progress.approved.get(&wave.name).cloned(),
            };
            self.by.insert((app.clone(), cluster.clone()), turn);
        }
    }
}

/// What a step was decided from.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// What is in the store.
    pub state: &'a State,
    /// The catalog in effect.
    pub catalog: &'a Catalog,
    /// The forms in effect.
    pub forms: &'a Forms,
    /// The time, Unix milliseconds.
    pub now_ms: u64,
    /// Whether its commit is taken by this step.
    pub is_new: &'a BTreeSet<CatalogName>,
    /// The clusters that placements could choose from.
    pub fleet: &'a Fleet,
    /// What placements chose.
    pub decisions: &'a [Decision],
    /// What every cluster shall run.
    pub wanted: &'a Wanted,
    /// What every app is on every cluster.
    pub shapes: &'a Shapes,
    /// By which rollouts entries move.
    pub turns: &'a Turns,
    /// What waited for a grant.
    pub grants: &'a Grants,
    /// What trailers of new commits allow.
    pub allowances: &'a [Allowance],
    /// Reads entries.
    pub codec: &'a dyn Codec,
}

/// A change of an entry, before its cause is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The app.
    pub app: AppKey,
    /// What happened, as far as that can be seen.
    pub what: What,
    /// What it was.
    pub from: Option<Entry>,
    /// What it becomes.
    pub to: Option<Entry>,
    /// The name that it had.
    pub formerly: Option<AppKey>,
    /// The order to leave.
    pub leaving: Option<Leaving>,
}

/// Finds what differs in what a cluster is told. An entry that nobody here can read changes when its bytes do.
pub fn differences(before: &Told, next: &Told, codec: &dyn Codec) -> Vec<Difference> {
    let (before, next) = (&before.assignment, &next.assignment);
    let mut found = Vec::new();
    let mut renamed: Vec<AppKey> = Vec::new();
    for (app, now) in &next.entries {
        let old = before.entries.get(app);
        if old == Some(now) {
            continue;
        }
        let to = codec.decode(now);
        let mut from = old.and_then(|old| codec.decode(old));
        let mut formerly = None;
        let mut what = if old.is_none() { What::Installed } else { What::Changed };
        if let Some(to) = &to
            && old.is_none()
        {
            let names = to.options.formerly.iter();
            let mut gone = names.filter(|name| {
                before.entries.contains_key(*name)
                    && !next.entries.contains_key(*name)
                    && !next.leaving.contains_key(*name)
            });
            if let Some(name) = gone.next() {
                what = What::Renamed;
                from = codec.decode(&before.entries[name]);
                formerly = Some(name.clone());
                renamed.push(name.clone());
            }
        }
        if what == What::Changed
            && let (Some(was), Some(is)) = (&from, &to)
            && was.version == is.version
        {
            if is.drops <= was.drops && is.drops_of == was.drops_of {
                continue;
            }
            what = What::Pruned;
        }
        found.push(Difference { app: app.clone(), what, from, to, formerly, leaving: None });
    }
    for (app, old) in &before.entries {
        if !next.entries.contains_key(app) && !renamed.contains(app) {
            let (what, from) = (What::Removed, codec.decode(old));
            let leaving = next.leaving.get(app).cloned();
            found.push(Difference { app: app.clone(), what, from, to: None, formerly: None, leaving });
        }
    }
    found
}

impl Given<'_> {
    /// The changes of a cluster, each with its cause.
    pub fn changes(&self, cluster: &ClusterName, next: &Told) -> Vec<Changed> {
        let before = self.state.told(cluster);
        let changed = |difference: Difference| self.changed(cluster, &before, difference);
        differences(&before, next, self.codec).into_iter().map(changed).collect()
    }

    fn changed(&self, cluster: &ClusterName, before: &Told, of: Difference) -> Changed {
        let key = (of.app.clone(), cluster.clone());
        let turn = self.turns.by.get(&key);
        let cause = match of.what {
            What::Removed => self.leaves(&of.app, of.leaving.as_ref().map(|leaving| &leaving.cause)),
            What::Pruned => self.leaves(&of.app, of.to.as_ref().and_then(|entry| entry.drops_cause.as_ref())),
            What::Installed => self.comes(&key, before, turn),
            _ => self.becomes(&key, &of, turn),
        };
        let back = self.shapes.because(&of.app, cluster) == Some(Because::Returns);
        let placements = self.wanted.get(cluster).and_then(|apps| apps.get(&of.app));
        Changed {
            what: if back && of.what == What::Changed { What::Returned } else { of.what },
            from: of.from.as_ref().map(version),
            drops: of.to.as_ref().map_or(0, |entry| entry.drops),
            to: of.to.as_ref().map(version),
            formerly: of.formerly,
            cause,
            turn: turn.filter(|_| of.what != What::Pruned).cloned(),
            placements: placements.into_iter().flatten().map(ToString::to_string).collect(),
            clusters: vec![cluster.clone()],
            app: of.app,
        }
    }

    /// Why something goes. What stands there without a cause goes by the commit in effect.
    fn leaves(&self, app: &AppKey, cause: Option<&assign::Cause>) -> Cause {
        match cause {
            Some(assign::Cause::Revision { commit }) => Cause::Commit { commit: commit.clone() },
            Some(assign::Cause::Labels) => Cause::Labels,
            Some(assign::Cause::Operator { by }) => Cause::Operator { by: by.clone() },
            Some(assign::Cause::Approved { hold, by }) => Cause::Approved {
                hold: hold.clone(),
                by: by.clone(),
                what: self.state.approvals.get(hold).map(|a| a.hold.to_string()).unwrap_or_default(),
                commit: match by.strip_prefix(BY_TRAILER) {
                    Some(short) => self.of_trailer(short),
                    None => self.state.holds.get(hold).map(|held| held.commit.clone()),
                },
            },
            None => Cause::Commit { commit: self.at(app).clone() },
        }
    }

    /// The commit whose trailer allowed something, if it is a new one or still in effect.
    fn of_trailer(&self, short: &str) -> Option<CommitId> {
        let new = self.allowances.iter().map(|allowance| &allowance.commit);
        let mut all = new.chain(self.state.heads.values().map(|head| &head.commit));
        all.find(|commit| commit.short() == short).cloned()
    }

    /// That it was said what is granted to a tenant, by whichever commit of the root that was.
    fn granted(&self, tenant: &CatalogName) -> Option<Cause> {
        let id = ObjectId { kind: Kind::Catalog, name: tenant.as_str().into() };
        let said = self.catalog.objects.get(&id).filter(|_| self.catalog.tenants.contains_key(tenant))?;
        let commit = Some(said.commit.clone()).filter(|_| !is_configured(&said.object.origin.file));
        Some(Cause::Granted { catalog: tenant.clone(), commit })
    }

    /// The same, where the commit of the root in effect says it, and was taken after the tenant's.
    fn newly_granted(&self, tenant: &CatalogName) -> Option<Cause> {
        let root = self.catalog;
        let taken_ms = |name: &CatalogName| match self.is_new.contains(name) {
            true => Some(u64::MAX),
            false => self.state.heads.get(name).map(|head| head.taken_ms),
        };
        let commit = granting::said_by(root, tenant).filter(|_| taken_ms(&root.name) > taken_ms(tenant))?;
        Some(Cause::Granted { catalog: tenant.clone(), commit: Some(commit) })
    }

    /// Whether a tenant has such a grant on clusters of some set: then it is the cluster that has another one.
    fn is_granted(&self, app: &AppKey, options: &Options) -> bool {
        let grants = self.catalog.tenants.get(&app.catalog).map(|joined| &joined.tenant.grants);
        let own = self.catalog.app_of(app).and_then(|(_, app)| app.treatment.service_account.as_ref());
        grants.into_iter().flatten().any(|grant| {
            options.grant.as_ref() == Some(&grant.granted())
                && options.treatment.service_account.as_ref() == grant.service_account.as_ref().or(own)
        })
    }

    /// The commit in effect of an app's catalog.
    fn at(&self, app: &AppKey) -> &CommitId {
        self.catalog.commit_of(&app.catalog).unwrap_or(&self.catalog.commit)
    }

    /// Why it is something else than the catalog says, if it is.
    fn instead(&self, (app, cluster): &EntryKey) -> Option<Cause> {
        Some(match self.shapes.because(app, cluster)? {
            Because::Returns => {
                let (reason, by) = self.turns.back.get(app).cloned().unwrap_or_default();
                Cause::RolledBack { reason, by }
            }
            Because::Pinned => {
                let pin = self.pin(app, cluster)?;
                Cause::Pin {
                    pin: pin.id.clone(),
                    commit: pin.commit.clone(),
                    by: pin.by.clone(),
                    reason: pin.reason.clone(),
                }
            }
            Because::Meanwhile => Cause::Meanwhile,
        })
    }

    /// The pin that counts: the newest that is for the entry.
    fn pin(&self, app: &AppKey, cluster: &ClusterName) -> Option<&PinRecord> {
        let labels = &self.fleet.get(cluster)?.labels;
        let of = self.state.pins.range((app.clone(), String::new())..).take_while(|((of, _), _)| of == app);
        let meant = of.map(|(_, pin)| &*pin.record).filter(|pin| pin.selector.matches(labels));
        meant.max_by_key(|pin| pin.at_ms)
    }

    /// Why an entry comes.
    fn comes(&self, key: &EntryKey, before: &Told, turn: Option<&Turn>) -> Cause {
        let (app, cluster) = key;
        if let Some(cause) = self.instead(key) {
            return cause;
        }
        let stands_in = self.decisions.iter().filter(|decision| decision.apps.contains(app));
        let mut stands_in =
            stands_in.filter_map(|decision| decision.settled.chosen.get(cluster)?.stands_in.as_ref());
        if let Some(stand_in) = stands_in.next() {
            return Cause::StandsIn {
                cluster: stand_in.cluster.clone(),
                because: stand_in.cause.to_string(),
            };
        }
        if before.assignment.generation.0 == 0 && self.has_joined(cluster) {
            return Cause::Joined;
        }
        let at = self.at(app);
        let of_commit = |commit: &CommitId| Cause::Commit { commit: commit.clone() };
        let granted = self.newly_granted(&app.catalog);
        match turn {
            Some(turn) if turn.cause != rollout::Cause::Placement => return of_commit(&turn.commit),
            _ if self.is_new.contains(&app.catalog) => return of_commit(at),
            // The root granted it, or said something of the cluster.
            _ if self.is_new.contains(&self.catalog.name) => {
                return granted.unwrap_or_else(|| of_commit(&self.catalog.commit));
            }
            _ => {}
        }
        // A pause, a maintenance or a wave may have held it up since the commit.
        let by = if granted.is_some() { &self.catalog.name } else { &app.catalog };
        let says_so = granted.is_some() || self.says_so_now(app, cluster);
        match (says_so, self.changed_since(by, cluster)) {
            (true, false) => granted.unwrap_or_else(|| of_commit(at)),
            (false, true) => Cause::Labels,
            _ => Cause::Placed,
        }
    }

    /// Whether a cluster enrolled a moment ago, and after the commit in effect was taken: then that it is there is what is new.
    fn has_joined(&self, cluster: &ClusterName) -> bool {
        let taken_ms = self.state.heads.get(&self.catalog.name).map(|head| head.taken_ms);
        let enrolled_ms = self.state.members.get(cluster).map(|member| member.enrolled_ms);
        self.is_new.is_empty()
            && enrolled_ms >= taken_ms
            && enrolled_ms.is_some_and(|enrolled_ms| enrolled_ms + JOINING_MS > self.now_ms)
    }

    /// Whether something was said of a cluster since the commit in effect was taken.
    fn changed_since(&self, catalog: &CatalogName, cluster: &ClusterName) -> bool {
        let head = self.state.heads.get(catalog).map(|head| head.version);
        let member = self.state.members.get(cluster).map(|member| member.version);
        let facts = self.state.facts.get(cluster).map(|facts| facts.version);
        member.max(facts) > head
    }

    /// Whether the commit in effect wrote the app, or a placement that wants it there.
    fn says_so_now(&self, app: &AppKey, cluster: &ClusterName) -> bool {
        let at = self.at(app);
        let placements = self.wanted.get(cluster).and_then(|apps| apps.get(app));
        let mut named = self
            .catalog
            .placements()
            .filter(|(rule, _)| placements.is_some_and(|names| names.contains(&rule.object.id.name)));
        self.catalog.app_of(app).is_some_and(|(object, _)| object.commit == *at)
            || named.any(|(rule, _)| rule.commit == *at)
    }

    /// The chart that an entry's chart depends on and that moved, if one did after the commit in effect was taken.
    fn moved_dependency(&self, app: &AppKey, (from, to): (&Entry, &Entry)) -> Option<SourceAt> {
        let forms = || self.forms.get(app).into_iter().flat_map(BTreeMap::values);
        if forms().any(|form| form.bundle == from.bundle) {
            return None;
        }
        let taken_ms = self.state.heads.get(&app.catalog).map(|head| head.taken_ms);
        let form = forms().find(|form| form.bundle == to.bundle)?;
        let since_ms = |remote: &RemoteId| Some(self.state.sources.get(remote)?.since_ms);
        let moved = form.dependencies.iter().filter(|(remote, _)| since_ms(remote) > taken_ms);
        moved.max_by_key(|(remote, _)| since_ms(remote)).map(|(_, at)| at.clone())
    }

    /// Whether a commit wrote the app, or an override of it.
    fn is_written_by(&self, app: &AppKey, commit: &CommitId) -> bool {
        let own = self.catalog.app_of(app).map(|(object, _)| object);
        let overrides = overrides::of_app(self.catalog, app).into_iter().map(|(object, _)| object);
        own.into_iter().chain(overrides).any(|object| object.commit == *commit)
    }

    /// Why another grant binds an entry, if one does and it is not the cluster that changed.
    fn granted_otherwise(&self, app: &AppKey, (from, to): (&Entry, &Entry)) -> Option<Cause> {
        let bound =
            |entry: &Entry| (entry.options.grant.clone(), entry.options.treatment.service_account.clone());
        if to.options.grant.is_none() || bound(from) == bound(to) {
            return None;
        }
        match self.is_granted(app, &from.options) {
            false => self.granted(&app.catalog),
            // The root put it into another set.
            true => self
                .is_new
                .contains(&self.catalog.name)
                .then(|| Cause::Commit { commit: self.catalog.commit.clone() }),
        }
    }

    /// Why an entry gets another version.
    fn becomes(&self, key: &EntryKey, of: &Difference, turn: Option<&Turn>) -> Cause {
        let same_commit =
            of.from.as_ref().zip(of.to.as_ref()).is_some_and(|(from, to)| from.commit == to.commit);
        match self.instead(key) {
            // What was pinned before stays pinned; it is the cluster that changed.
            Some(Cause::Pin { .. }) if same_commit => {}
            Some(cause) => return cause,
            None => {}
        }
        let (Some(from), Some(to)) = (&of.from, &of.to) else {
            return Cause::Commit { commit: self.at(&key.0).clone() };
        };
        if let Some(commit) = self.grants.given_by(key) {
            return Cause::Granted { catalog: key.0.catalog.clone(), commit: Some(commit.clone()) };
        }
        let by_commit = Cause::Commit { commit: to.commit.clone() };
        if let (Some(was), Some(at)) = (&from.source_at, &to.source_at)
            && was != at
            && (same_commit || !self.is_written_by(&key.0, &to.commit))
        {
            return Cause::Source { at: at.clone() };
        }
        if let Some(at) = self.moved_dependency(&key.0, (from, to)) {
            return Cause::Source { at };
        }
        if same_commit {
            if let Some(cause) = self.granted_otherwise(&key.0, (from, to)) {
                return cause;
            }
            let shares = from.options.share != to.options.share;
            return if shares { Cause::Replicas } else { Cause::Labels };
        }
        let moves = turn.is_some_and(|turn| turn.cause != rollout::Cause::Placement);
        // A variant that some cluster may still have was left for another one.
        let forms = self.forms.get(&key.0).into_iter().flat_map(|forms| forms.values());
        let is_in_effect = || forms.into_iter().any(|form| form.bundle == from.bundle);
        if moves || from.bundle == to.bundle || !is_in_effect() { by_commit } else { Cause::Labels }
    }
}

fn version(entry: &Entry) -> Version {
    Version { version: entry.version, commit: entry.commit.clone() }
}

/// What is told of all entries of a cluster at once, by whom it is not decided.
pub fn all(before: &Told, next: &Told, cluster: &ClusterName, (what, cause): (What, &Cause)) -> Vec<Changed> {
    let codec = crate::state::WireCodec(|_: &nave_placement::Digest| None);
    let changed = |of: Difference| Changed {
        app: of.app,
        what,
        from: of.from.as_ref().map(version),
        to: of.to.as_ref().map(version),
        formerly: of.formerly,
        drops: 0,
        cause: cause.clone(),
        turn: None,
        placements: Vec::new(),
        clusters: vec![cluster.clone()],
    };
    differences(before, next, &codec).into_iter().map(changed).collect()
}
