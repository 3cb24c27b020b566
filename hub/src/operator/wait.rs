//! `hub wait`: until what was asked for is so, or can no longer become so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nave_placement::catalog::{Kind, Problem};
use nave_placement::guard::HoldCause;
use nave_placement::rollout::WaitsFor;
use nave_placement::{AppKey, CatalogName, ClusterName};
use tokio::time::{Instant, timeout_at};

use super::look::{Look, Selection, worked_on};
use super::service::OperatorService;
use super::views::{
    CatalogView, Group, HoldView, Phase, RolloutPhase, RolloutRow, StatusView, WaitOutcome, WaitView,
};
use crate::deciding::run::chain;

/// The longest wait: a day.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);

/// So long it is waited for repositories of sources that were asked anew; who answers later is seen later.
const SOURCES_ANSWER: Duration = Duration::from_secs(10);

/// After a look nothing is looked at for so many times as long: a large fleet says something all the time, and whoever
/// waits for it shall not keep the hub from listening.
const RESTS: u32 = 9;

/// The message of a wait that ended well, with nothing more to say.
pub const CONVERGED: &str = "converged";

/// What is waited for.
pub struct Wait {
    /// Which entries.
    pub selection: Selection,
    /// The commit that has to be in effect, or one that descends from it; as it was typed.
    pub commit: String,
    /// Whether spokes that are not connected count.
    pub include_offline: bool,
    /// How long.
    pub timeout: Duration,
}

impl OperatorService {
    /// Waits. Triggers a poll of Git first, so that what was pushed before is seen.
    pub(super) async fn wait(&self, wait: &Wait) -> WaitView {
        let deadline = Instant::now() + wait.timeout.min(MAX_WAIT);
        let mut observations = self.rooms.observations.clone();
        let fresh = observations.borrow().next_fresh();
        let asked = self.rooms.sources.asked_anew();
        let of = wait.selection.app.as_ref().map(|app| &app.catalog);
        let polled = self.rooms.catalogs.polled_anew(of);
        self.rooms.poke.send_replace(());
        let _ = timeout_at(deadline, observations.wait_for(|o| o.polls >= fresh)).await;
        let patience = deadline.min(Instant::now() + SOURCES_ANSWER);
        let _ = timeout_at(patience, asked).await;
        let _ = timeout_at(patience, polled).await;
        let mut state = self.rooms.ledger.changes();
        let mut sessions = self.rooms.sessions.changes();
        let mut picture = self.rooms.picture.clone();
        loop {
            state.mark_unchanged();
            sessions.mark_unchanged();
            picture.mark_unchanged();
            observations.mark_unchanged();
            let began = Instant::now();
            let view = self.judge(wait).await;
            let rest = began.elapsed() * RESTS;
            if view.outcome != WaitOutcome::TimedOut {
                return view;
            }
            let change = async {
                tokio::select! {
                    changed = state.changed() => changed.is_ok(),
                    changed = sessions.changed() => changed.is_ok(),
                    changed = picture.changed() => changed.is_ok(),
                    changed = observations.changed() => changed.is_ok(),
                }
            };
            if !timeout_at(deadline, change).await.unwrap_or(false) {
                return view;
            }
            let rested = (Instant::now() + rest).min(deadline);
            tokio::time::sleep_until(rested).await;
        }
    }

    /// How it stands now; `TimedOut` stands for not yet.
    async fn judge(&self, wait: &Wait) -> WaitView {
        let about = wait.selection.app.as_ref().map(|app| &app.catalog);
        let (reached, missing, of) = self.reached(&wait.commit, about).await;
        let scope = Scope::of(&wait.selection, of);
        let tenant = scope.one().filter(|name| *name != self.rooms.catalogs.root()).cloned();
        let view = |outcome, message, status| WaitView { outcome, message, catalog: tenant.clone(), status };
        let unsettled = self.unsettled(&scope);
        let (status, (decided, awaits), absent, problem) = self.look(|look| {
            let app = wait.selection.app.as_ref();
            let app = app.filter(|app| !look.app_keys().contains(*app)).map(|app| match &unsettled {
                Some(why) => why.clone(),
                None => format!("there is no app {app}"),
            });
            let git = look.observation.last_error.as_ref().filter(|_| wait.commit.is_empty());
            let git = git.map(|error| format!("what is in Git is not known: {}", chain(&**error)));
            let status = look.status(&wait.selection, wait.include_offline);
            let cluster = wait.selection.cluster.as_ref();
            let absent = cluster.filter(|cluster| !look.state.members.contains_key(*cluster));
            let absent = absent.map(|cluster| format!("cluster {cluster} has not joined")).or(app).or(git);
            let problems = look.problems_of(&wait.selection);
            let problem = problems.iter().find(|problem| fails(look, problem, &wait.selection, &scope));
            let awaits = look.picture.awaits_source.then(|| "a source is being fetched".to_owned());
            let decided = look.decided() && unsettled.is_none();
            (status, (decided, unsettled.or(awaits)), absent, problem.map(ToString::to_string))
        });
        // A hold that was just approved is still shown until it is decided again.
        let hold = status.holds.iter().find(|h| concerns(h, &wait.selection, &scope));
        if let Some(hold) = hold.filter(|_| decided) {
            let message = format!("hold {}: {}", hold.record.hold.id, hold.message);
            return view(WaitOutcome::Held, message, status);
        }
        if let (true, true, Some(failure)) =
            (decided, reached, problem.or_else(|| stopped(&status, &scope)).or_else(|| failure(&status)))
        {
            return view(WaitOutcome::Failed, failure, status);
        }
        // Nothing is wrong where there is nothing yet, or where nothing could be read, and nothing is as it should be either.
        if let Some(why) = absent {
            return view(WaitOutcome::TimedOut, why, status);
        }
        match (reached && decided, status.converged) {
            (true, true) => {
                let pinned: Vec<String> = status.pins.iter().map(|pin| pin.message.clone()).collect();
                let over = passed_over(&status).into_iter().chain(pinned).chain(ungranted(&status));
                let over = over.chain(unread(&status, &scope));
                let over = over.collect::<Vec<_>>().join("; ");
                let message = if over.is_empty() { CONVERGED.to_owned() } else { over };
                view(WaitOutcome::Converged, message, status)
            }
            (false, _) => {
                // A commit that nobody has may be of a catalog that cannot be asked.
                let unread = status.tenants.iter().find_map(|tenant| {
                    let is_meant = tenant.name.parse().is_ok_and(|name| scope.has(&name));
                    let why = tenant.obstacle.as_ref().filter(|_| is_meant && !reached)?;
                    Some(format!("{missing}; catalog {}: {why}", tenant.name))
                });
                let why = status.catalog.obstacle.clone().or(awaits.filter(|_| reached));
                let why = why.or(unread).unwrap_or(missing);
                view(WaitOutcome::TimedOut, why, status)
            }
            (true, false) => {
                let message = pending(&status);
                view(WaitOutcome::TimedOut, message, status)
            }
        }
    }

    /// Whether the commit in effect is the wanted one or descends from it, in each catalog whose repository has it; and which those are.
    /// Where none has it, what that of `about` has is told, or the root's.
    pub(super) async fn reached(
        &self,
        wanted: &str,
        about: Option<&CatalogName>,
    ) -> (bool, String, BTreeSet<CatalogName>) {
        let (root, in_effect) = self.look(|look| {
            let catalog = look.picture.revision.as_ref().map(|revision| revision.catalog.clone());
            let tenants = catalog.iter().flat_map(|catalog| &catalog.tenants);
            let tenants = tenants.map(|(name, joined)| (name.clone(), joined.commit.clone()));
            let root = catalog.as_ref().map(|catalog| (catalog.name.clone(), catalog.commit.clone()));
            (root.clone(), root.into_iter().chain(tenants).collect::<BTreeMap<_, _>>())
        });
        let Some((root, _)) = root else {
            return (false, "no commit was taken yet".to_owned(), BTreeSet::new());
        };
        if wanted.is_empty() {
            return (true, String::new(), BTreeSet::new());
        }
        let (mut of, mut lacking) = (BTreeSet::new(), None);
        for (name, taken) in &in_effect {
            let Ok((_, repository)) = self.rooms.catalogs.of(name) else { continue };
            if !taken.0.starts_with(wanted) {
                let Ok(wanted) = repository.resolve(wanted).await else { continue };
                if !repository.is_descendant(&wanted, taken).await.unwrap_or(false) {
                    lacking = lacking.or(Some(name));
                }
            }
            of.insert(name.clone());
        }
        if lacking.is_none() && !of.is_empty() {
            return (true, String::new(), of);
        }
        let name = lacking.or(about).unwrap_or(&root);
        let is = match in_effect.get(name) {
            Some(taken) if *name == root => format!("{} is", taken.short()),
            Some(taken) => format!("{} of catalog {name} is", taken.short()),
            None => format!("none of catalog {name} is"),
        };
        (false, format!("commit {wanted} is not in effect; {is}"), of)
    }

    /// Of which of these tenants' catalogs a newer commit was seen that is neither in effect nor held.
    fn unsettled(&self, scope: &Scope) -> Option<String> {
        let standing = self.look(|look| look.picture.tenants.clone());
        let mut tenants = standing.iter().filter(|(name, _)| scope.has(name));
        tenants.find_map(|(name, tenant)| {
            let seen = self.rooms.catalogs.observation(name)?;
            // Who waits for this catalog wants to know; who waits for all has its own to do.
            let unheard = || seen.last_error.as_ref().map(|error| chain(&**error));
            let unknown = self.rooms.catalogs.unopened(name).or_else(unheard);
            if let Some(why) = unknown.filter(|_| scope.0.is_some()) {
                return Some(format!("what is in the repository of catalog {name} is not known: {why}"));
            }
            let newest = seen.head?.commit;
            let is_told = tenant.newest.as_ref() == Some(&newest) && tenant.obstacle.is_some();
            let is_settled = tenant.commit.as_ref() == Some(&newest) || is_told;
            (!is_settled).then(|| format!("commit {} of catalog {name} is being taken", newest.short()))
        })
    }
}

/// Of which catalogs something is waited for.
struct Scope(Option<BTreeSet<CatalogName>>);

impl Scope {
    /// Of that of the app, or of those that have the commit; of all, where neither is said.
    fn of(selection: &Selection, commits: BTreeSet<CatalogName>) -> Self {
        match &selection.app {
            Some(app) => Self(Some(BTreeSet::from([app.catalog.clone()]))),
            None => Self(Some(commits).filter(|commits| !commits.is_empty())),
        }
    }

    /// If it is one alone.
    fn one(&self) -> Option<&CatalogName> {
        self.0.as_ref().filter(|catalogs| catalogs.len() == 1)?.first()
    }

    fn has(&self, catalog: &CatalogName) -> bool {
        self.0.as_ref().is_none_or(|catalogs| catalogs.contains(catalog))
    }
}

/// Whether a hold stops something of the selection.
fn concerns(held: &HoldView, selection: &Selection, scope: &Scope) -> bool {
    let hold = &held.record.hold;
    match &hold.cause {
        HoldCause::EmptyCatalog { .. } | HoldCause::NotDescendant { .. } => scope.has(&held.record.catalog),
        HoldCause::Objects { app } => selection.app.as_ref().is_none_or(|wanted| wanted == app),
        _ => hold.entries.iter().any(|(app, cluster)| {
            selection.app.as_ref().is_none_or(|wanted| wanted == app)
                && selection.cluster.as_ref().is_none_or(|wanted| wanted == cluster)
        }),
    }
}

/// Whether a problem keeps the selection from being as the catalog says.
fn fails(look: &Look<'_>, problem: &Problem, selection: &Selection, scope: &Scope) -> bool {
    let catalog = look.picture.revision.as_ref().map(|revision| &revision.catalog);
    if catalog.is_some_and(|catalog| !scope.has(&catalog.owner_of(problem))) {
        return false;
    }
    let name = |app: &AppKey| catalog.map_or_else(|| app.name().to_owned(), |catalog| catalog.name_of(app));
    let named = |app: &AppKey| problem.object.as_ref().is_none_or(|object| object.means(&name(app)));
    let about = |app: &AppKey| named(app) || look.concerns(problem, app);
    let elsewhere = selection.cluster.as_ref().is_some_and(|cluster| {
        let object = problem.object.as_ref();
        object.is_some_and(|id| id.kind == Kind::Cluster && *id.name != *cluster.as_str())
    });
    problem.is_error() && !elsewhere && selection.app.as_ref().is_none_or(about)
}

/// A rollout that halted, lacks a grant or was taken back, if there is one: nothing of it comes by itself.
fn stopped(status: &StatusView, scope: &Scope) -> Option<String> {
    let halted = status.rollouts.iter().find(|row| row.phase == RolloutPhase::Halted);
    // Of those that lack a grant, what is waited for may be elsewhere.
    let waits = |app: &AppKey| {
        let here = |group: &Group| group.phase == Phase::Waiting && group.app == *app;
        status.groups.iter().any(here)
    };
    let lacks = |row: &&RolloutRow| {
        matches!(row.waits_for, Some(WaitsFor::Granted { .. }))
            && scope.has(&row.app.catalog)
            && std::iter::once(&row.app).chain(&row.group).any(waits)
    };
    let halted = halted.or_else(|| status.rollouts.iter().find(lacks));
    let halted = halted.map(|row| format!("rollout {}: {}", row.id, row.message));
    let block = || status.blocks.first();
    halted.or_else(|| {
        block().map(|b| format!("rollout {} of app {} was taken back: {}", b.rollout, b.app, b.reason))
    })
}

/// What failed on a cluster of the selection, if anything did.
fn failure(status: &StatusView) -> Option<String> {
    let failed = status.groups.iter().find(|g| matches!(g.phase, Phase::Failed | Phase::Degraded))?;
    let clusters: Vec<&str> = failed.clusters.iter().take(3).map(|c| c.as_str()).collect();
    let object = failed.object.as_ref().map(|o| format!("{o}: ")).unwrap_or_default();
    Some(format!(
        "app {} on {}: {object}{}: {}",
        failed.app,
        clusters.join(", "),
        failed.reason,
        failed.message
    ))
}

fn pending(status: &StatusView) -> String {
    if let Some(doubt) = &status.doubt {
        return doubt.clone();
    }
    let mut groups = status.groups.iter().filter(|group| group.phase != Phase::Ungranted);
    match groups.next() {
        Some(group) => {
            let clusters: Vec<&str> = group.clusters.iter().take(3).map(|c| c.as_str()).collect();
            let message =
                if group.message.is_empty() { String::new() } else { format!(": {}", group.message) };
            let more = match groups.count() {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            format!("app {} on {} is {:?}{message}{more}", group.app, clusters.join(", "), group.phase)
        }
        None => absent(status).unwrap_or_else(|| "assignments are under way".to_owned()),
    }
}

/// Who is not there to be waited for, and why.
fn absent(status: &StatusView) -> Option<String> {
    let maintained = status.maintained.iter().next();
    let maintained =
        maintained.map(|(cluster, maintenance)| format!("cluster {cluster} is {}", worked_on(maintenance)));
    let offline = Some(&status.offline).filter(|offline| !offline.is_empty());
    let offline = offline.map(|offline| format!("not connected: {}", listed(offline.len(), offline)));
    joined([maintained, offline])
}

/// Who was not waited for.
fn passed_over(status: &StatusView) -> Option<String> {
    let StatusView { offline, maintained, .. } = status;
    let of = |what: &str, number: usize, names: String| {
        (number > 0).then(|| format!("{number} {what}, passed over: {names}"))
    };
    joined([
        of("not connected", offline.len(), listed(offline.len(), offline)),
        of("maintained", maintained.len(), listed(maintained.len(), maintained.keys())),
    ])
}

/// Of which tenants' catalogs it is not known what is in them, where nobody waits for just one.
fn unread(status: &StatusView, scope: &Scope) -> Option<String> {
    let is_known = |tenant: &CatalogView| tenant.newest.is_some() && tenant.commit != tenant.newest;
    let is_unread = |tenant: &&CatalogView| tenant.obstacle.is_some() && !is_known(tenant);
    let first = status.tenants.iter().find(is_unread).filter(|_| scope.0.is_none())?;
    let why = first.obstacle.as_deref().unwrap_or_default();
    Some(format!("what is in the repository of catalog {} is not known: {why}", first.name))
}

/// What takes no changes, as nobody grants them any more.
fn ungranted(status: &StatusView) -> Option<String> {
    let stay: Vec<&Group> = status.groups.iter().filter(|group| group.phase == Phase::Ungranted).collect();
    let first = stay.first()?;
    let on = listed(first.clusters.len(), &first.clusters);
    let more: usize = stay[1..].iter().map(|group| group.clusters.len()).sum();
    let more = match more {
        0 => String::new(),
        1 => " (and 1 more entry)".to_owned(),
        more => format!(" (and {more} more entries)"),
    };
    Some(format!("app {} on {on}: {}{more}", first.app, first.message))
}

fn joined(parts: [Option<String>; 2]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// The first few of so many names.
fn listed<'a>(number: usize, clusters: impl IntoIterator<Item = &'a ClusterName>) -> String {
    let names: Vec<&str> = clusters.into_iter().take(3).map(|c| c.as_str()).collect();
    let more = if number > names.len() { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}
