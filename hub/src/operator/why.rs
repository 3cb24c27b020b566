//! Why: what stands between Git and one cluster.
//!
//! In: a [`Look`]. Out: [`WhyView`]s. Never: is stored; leaves out what a placement or an override says.

use nave_placement::catalog::{Kind, ObjectId, Problem, Severity};
use nave_placement::decide::{self, Memory, Moment};
use nave_placement::explain::{Explainer, Verdict};
use nave_placement::overrides;
use nave_placement::report::EntryReason;
use nave_placement::{AppKey, ClusterName};

use super::look::{Look, worked_on};
use super::views::{EntryView, OverrideView, Phase, PlacementView, WhyView};
use crate::deciding::commits::REMOVE_CATALOG;
use crate::deciding::core::{Revision, maintained};
use crate::deciding::decisions::is_healthy;
use crate::sessions::core::Alarm;
use crate::state::records::Standing;

impl Look<'_> {
    /// `hub why APP [CLUSTER]`: one answer for each of these clusters.
    pub fn why(&self, app: &AppKey, clusters: &[ClusterName]) -> Vec<WhyView> {
        let decided: Memory =
            self.picture.decisions.iter().map(|d| (d.placement.clone(), d.settled.clone())).collect();
        let healthy = |cluster: &ClusterName, app: &AppKey| is_healthy(self.state, cluster, app);
        let moment = Moment { now_ms: self.now_ms, hub_since_ms: self.since_ms, healthy: &healthy };
        // A cluster that is no member is asked about as if it were one.
        let mut fleet = self.picture.fleet.clone();
        for cluster in clusters {
            fleet.entry(cluster.clone()).or_insert_with(|| self.candidate(cluster));
        }
        let revision = self.picture.revision.as_ref();
        let explainer = revision.map(|r| Explainer::new(&r.catalog, app, &fleet, &decided, moment));
        let verdicts = |cluster: &ClusterName| {
            explainer.as_ref().map(|explainer| explainer.verdicts(cluster)).unwrap_or_default()
        };
        clusters.iter().map(|cluster| self.why_of(app, cluster, verdicts(cluster))).collect()
    }

    fn why_of(&self, app: &AppKey, cluster: &ClusterName, mut verdicts: Vec<Verdict>) -> WhyView {
        // Those of other catalogs never can.
        let is_own = |verdict: &Verdict| {
            let revision = self.picture.revision.as_ref();
            let id = ObjectId { kind: Kind::Placement, name: verdict.placement.clone() };
            revision.is_none_or(|revision| revision.catalog.owner(&id) == app.catalog)
        };
        verdicts.retain(is_own);
        let wanted = verdicts.iter().any(Verdict::chooses);
        let replicas = |verdict: &Verdict| {
            let decision = self.picture.decisions.iter().find(|d| d.placement == verdict.placement)?;
            decision.settled.replicas(cluster).filter(|_| verdict.chooses())
        };
        let view = |verdict: Verdict| PlacementView {
            replicas: replicas(&verdict),
            message: match verdict.selects_app {
                true => verdict.reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
                false => format!("it does not select app {app}"),
            },
            remedies: verdict.remedies(),
            placement: verdict.placement.to_string(),
            selects_app: verdict.selects_app,
            chosen: verdict.chosen,
            reasons: verdict.reasons,
            checks: verdict.checks,
            rank: verdict.rank,
            score: verdict.score,
            parts: verdict.parts,
        };
        let placements: Vec<PlacementView> = verdicts.into_iter().map(view).collect();
        let overrides = self.overrides(app, cluster);
        let mut entries = self.assigned(cluster).into_iter().chain(self.leaving(cluster));
        let entry = entries.find(|e| e.app == *app);
        let obstacles = self.obstacles(app, cluster, entry.as_ref());
        let in_time = entry.as_ref().is_some_and(|entry| {
            matches!(entry.reason, EntryReason::WindowClosed | EntryReason::Frozen)
                && entry.phase == Phase::Waiting
                && obstacles.len() == 1
        });
        // What stays as it is has a reason before all that placements say.
        let stays = entry.is_some() && self.picture.stay(app, cluster).is_some();
        let mut remedy = match in_time {
            true => "nothing has to be done: it changes as soon as changes may start".to_owned(),
            false => remedy(app, cluster, wanted || stays, &placements, &obstacles),
        };
        if stays && self.is_of_nobody(app) {
            let name = &app.catalog;
            remedy.push_str(&format!(
                "; or it goes, by a commit of the root catalog with the trailer `{REMOVE_CATALOG}: {name}`"
            ));
        }
        WhyView {
            app: app.clone(),
            cluster: cluster.clone(),
            wanted,
            placements,
            overrides,
            obstacles,
            entry,
            remedy,
        }
    }

    /// What each override of an app says of a cluster, the weakest first.
    fn overrides(&self, app: &AppKey, cluster: &ClusterName) -> Vec<OverrideView> {
        let candidate = self.judged(cluster);
        let catalog = self.picture.revision.as_ref().map(|r| &r.catalog);
        let named = catalog.map(|catalog| overrides::of_app(catalog, app)).unwrap_or_default();
        let view = |(object, spec): overrides::Named<'_>| {
            let (_, reason) = overrides::applies(spec, cluster, &candidate);
            OverrideView {
                name: object.object.id.name.to_string(),
                priority: spec.priority,
                message: reason.to_string(),
                reason,
            }
        };
        named.into_iter().map(view).collect()
    }

    /// Whether nobody names the catalog of an app any more.
    fn is_of_nobody(&self, app: &AppKey) -> bool {
        let catalog = self.picture.revision.as_ref().map(|revision| &revision.catalog);
        catalog.is_some_and(|root| app.catalog != root.name && root.tenant(&app.catalog).is_none())
    }

    fn obstacles(&self, app: &AppKey, cluster: &ClusterName, entry: Option<&EntryView>) -> Vec<String> {
        let mut obstacles = Vec::new();
        let revision = self.picture.revision.as_ref();
        match self.state.members.get(cluster).map(|m| m.standing) {
            None => obstacles
                .push(format!("cluster {cluster} is no member; `hub cluster join {cluster}` makes it one")),
            Some(Standing::Member) => {}
            Some(standing) => obstacles.push(format!("cluster {cluster} is on its way out ({standing:?})")),
        }
        if let Some(stay) = self.picture.stay(app, cluster) {
            obstacles.push(stay.why.to_string());
        } else if revision.is_none_or(|r| r.catalog.app_of(app).is_none()) {
            obstacles.push(format!("the catalog has no app {app}"));
        } else if revision.is_some_and(|r| !r.forms.contains_key(app))
            && !self.picture.lacking.iter().any(|lacking| lacking.app == *app && lacking.cluster == *cluster)
        {
            obstacles.push(format!("app {app} could not be rendered yet{}", self.problems_told(app)));
        } else if let Some(revision) = revision
            && self.picture.wanted.get(cluster).is_some_and(|apps| apps.contains_key(app))
            && self.picture.shapes.get(app, cluster).is_none()
        {
            obstacles.extend(self.shapeless(revision, app, cluster));
        }
        let wrong = self.picture.problems.iter().filter(|problem| problem.severity == Severity::Error);
        obstacles.extend(wrong.filter(|problem| self.concerns(problem, app)).map(ToString::to_string));
        obstacles.extend(self.refused(app));
        let labels = self.candidate(cluster).labels;
        let pins = self.state.pins.values().filter(|pin| pin.app == *app && pin.selector.matches(&labels));
        obstacles
            .extend(pins.map(|pin| format!("{}; `hub pin remove {}` lets it go on", pin.record, pin.id)));
        if let Some(doubt) = &self.state.doubt {
            obstacles.push(format!(
                "nothing is sent to anybody: cluster {} proved that the hub lost state",
                doubt.cluster
            ));
        }
        for hold in
            self.holds().iter().filter(|h| h.record.hold.entries.contains(&(app.clone(), cluster.clone())))
        {
            obstacles.push(format!("hold {}: {}", hold.record.hold.id, hold.message));
        }
        if let Some(maintenance) = maintained(self.state, cluster, self.now_ms) {
            obstacles.push(format!(
                "cluster {cluster} is {}: its assignment does not change before",
                worked_on(maintenance)
            ));
        }
        let is_emptied = self.state.members.get(cluster).is_some_and(|m| m.standing != Standing::Member);
        let pauses = self.pauses(|scope| scope.covers(app, cluster) && !is_emptied);
        obstacles.extend(pauses.iter().map(|pause| format!("{pause}; `{}` ends it", pause.scope.resume())));
        // By the pause of another: the name that it goes on for, or whose objects it takes over.
        let waits = self.picture.waiting.get(&(cluster.clone(), app.clone())).filter(|_| pauses.is_empty());
        obstacles.extend(waits.map(|why| format!("a change waits: {why}")));
        if let Some(obstacle) = &self.picture.obstacle {
            obstacles.push(obstacle.clone());
        }
        let heard = self.live.contains_key(cluster);
        // An hour after a copy of its identity was turned away, the spoke itself is told everything.
        let told_nothing = |alarm: &&Alarm| match alarm {
            Alarm::ForeignAssignment | Alarm::AssignmentTooLarge => true,
            Alarm::ClusterChanged => !heard,
            Alarm::IdentityShared => false,
        };
        if let Some(alarm) = self.alarms.get(cluster).filter(told_nothing) {
            obstacles.push(format!("this spoke is told nothing: {alarm:?}"));
        }
        match self.state.members.get(cluster).filter(|_| !heard) {
            Some(member) if member.is_vacant() => obstacles.push(format!(
                "{cluster} waits for the cluster that is to replace its last one; install its spoke"
            )),
            Some(_) => {
                obstacles.push(format!("the spoke of {cluster} is not connected; it keeps what it has"))
            }
            None => {}
        }
        if let Some(entry) =
            entry.filter(|e| !matches!(e.phase, Phase::Converged | Phase::Held | Phase::Offline))
            // What it is to become otherwise for is told already, by placements or of its form.
            && self.outstanding.get(cluster, app).is_none_or(|(phase, _)| phase != entry.phase)
        {
            obstacles.push(format!("{:?}: {}", entry.phase, describe(entry)));
        }
        obstacles
    }

    /// Why it is not known what an app is on a cluster.
    fn shapeless(&self, revision: &Revision, app: &AppKey, cluster: &ClusterName) -> Vec<String> {
        let here = self.picture.lacking.iter().filter(|l| l.app == *app && l.cluster == *cluster);
        let lacks: Vec<String> = here.map(|l| format!("{}; it stays as it was", l.lack)).collect();
        if !lacks.is_empty() {
            return lacks;
        }
        let of_app = overrides::of_app(&revision.catalog, app);
        let applying = overrides::applying(&of_app, cluster, &self.judged(cluster), &overrides::judged)
            .unwrap_or_default();
        let names: Vec<&str> = applying.iter().map(|(effective, _)| &*effective.object.id.name).collect();
        let mut with = match names.as_slice() {
            [] => String::new(),
            names => format!(" with the overrides that apply here, {}", names.join(", ")),
        };
        let variant = overrides::variant(&applying);
        let answered = overrides::answered(&revision.asking, app, variant, &self.judged(cluster)).ok();
        if let Some(answers) = answered.as_ref().and_then(|variant| variant.answers()) {
            with.push_str(&format!(" for what this cluster has of what its chart asks, {}", answers.label()));
        }
        vec![format!("app {app} could not be rendered{with}, and stays as it was{}", self.problems_told(app))]
    }

    /// What is wrong with an app, at the end of a sentence.
    fn problems_told(&self, app: &AppKey) -> String {
        let problems = self.picture.problems.iter().filter(|problem| self.concerns(problem, app));
        problems.map(|problem| format!("; {problem}")).collect()
    }

    /// Placements that are not as Git has them and that mean this app, or may mean it.
    fn refused(&self, app: &AppKey) -> Vec<String> {
        let Some(revision) = &self.picture.revision else { return Vec::new() };
        let problems = self.picture.problems.iter().filter(|p| p.severity == Severity::Error);
        let told = |problem: &Problem| {
            let id = problem.object.as_ref().filter(|id| id.kind == Kind::Placement)?;
            let stands = revision.catalog.placements().find(|(object, _)| object.object.id == *id);
            match stands {
                Some((_, placement)) if !decide::apps(&revision.catalog, &placement.apps).contains(app) => {
                    None
                }
                Some(_) => Some(format!("placement {}, whose previous decision stands: {problem}", id.name)),
                None => {
                    Some(format!("placement {}, which is not valid and chooses nothing: {problem}", id.name))
                }
            }
        };
        problems.filter_map(told).collect()
    }
}

/// What an entry's trouble is, on one line.
fn describe(entry: &EntryView) -> String {
    match entry.unhealthy.first() {
        Some(object) => format!("{}: {}: {}", object.key, object.reason, object.message),
        None if entry.message.is_empty() && entry.phase == Phase::Leaving => {
            "the spoke is removing it".to_owned()
        }
        None if entry.message.is_empty() => "the spoke has not reported on it yet".to_owned(),
        None => entry.message.clone(),
    }
}

fn remedy(
    app: &AppKey,
    cluster: &ClusterName,
    wanted: bool,
    placements: &[PlacementView],
    obstacles: &[String],
) -> String {
    if wanted {
        return match obstacles.first() {
            None => format!("it runs there; it would leave if no placement chose {cluster} for it any more"),
            Some(obstacle) => format!("it would be as the catalog says once this is solved: {obstacle}"),
        };
    }
    match placements.iter().find(|p| p.selects_app) {
        None => format!("a placement that selects app {app} and cluster {cluster} would bring it there"),
        Some(p) => {
            let PlacementView { placement, message, remedies, .. } = p;
            let how = remedies.join("; ");
            format!(
                "placement {placement} would choose it if this were not so: {message} (to change it: {how})"
            )
        }
    }
}
