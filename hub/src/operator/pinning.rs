//! Pinning: operators take an app back to an earlier version, without Git, and let it go on.
//!
//! In: requests whose role was checked. Out: records of pins, and what to say.
//! Never: pins to a commit that cannot be read, or that has no such app.

use std::collections::{BTreeMap, BTreeSet};

use nave_placement::AppKey;
use nave_placement::catalog::{CommitId, LastGood, Sources};
use nave_placement::overrides;
use nave_placement::rollout::{Course, Version};
use nave_placement::select::Selector;
use nave_proto::v1;
use tonic::Status;

use super::look::Look;
use super::service::{Answer, OperatorService, argument, commit_status, document};
use super::views::{DoneView, PinView};
use crate::deciding::core::json;
use crate::deciding::revision::Loader;
use crate::deciding::run::chain;
use crate::state::records::{PinRecord, key};
use crate::state::{Audit, Step};
use crate::store::Batch;

impl Look<'_> {
    /// `hub pin list`.
    pub fn pins(&self, app: Option<&AppKey>) -> Vec<PinView> {
        let pins = self.state.pins.values().filter(|pin| app.is_none_or(|app| *app == pin.app));
        let view = |pin: &PinRecord| PinView {
            clusters: self.clusters_of(pin),
            problem: self.picture.unpinnable.get(&pin.app).cloned(),
            message: pin.to_string(),
            record: pin.clone(),
        };
        pins.map(|pin| view(&pin.record)).collect()
    }

    /// How many clusters shall run what is pinned.
    fn clusters_of(&self, pin: &PinRecord) -> usize {
        let wanted = self.picture.wanted.iter().filter(|(_, apps)| apps.contains_key(&pin.app));
        let is_meant = |name: &nave_placement::ClusterName| {
            self.picture.fleet.get(name).is_some_and(|candidate| pin.selector.matches(&candidate.labels))
        };
        wanted.filter(|(name, _)| is_meant(name)).count()
    }
}

/// A commit, and what the remotes of an app's source were with it.
type Point = (CommitId, Sources);

/// Where the version before the one is that an app is at, or on its way to.
fn previous(course: &Course, pinned: Option<Point>) -> Option<Point> {
    let versions = &course.versions;
    let point = |version: &Version| (version.commit.clone(), version.sources.clone());
    if pinned.is_none() && (course.current.is_some() || course.block.is_some()) {
        return versions.last().map(point);
    }
    let completed = course.completed.as_ref().map(|now| (now.commit.clone(), now.sources.clone()));
    let now = pinned.or(completed)?;
    let at = versions.iter().position(|version| point(version) == now).unwrap_or(versions.len());
    versions[..at].last().map(point)
}

/// What the remotes of an app's source were with a commit: as the newest version of it tells that is not the one of now. Where none
/// does, they are taken as they are now, and stay so.
fn sources_of(course: &Course, commit: &CommitId, now: Sources) -> Sources {
    let with = || course.versions.iter().rev().filter(|version| version.commit == *commit);
    let other = with().find(|version| version.sources != now);
    other.or_else(|| with().next()).map_or(now, |version| version.sources.clone())
}

impl OperatorService {
    pub(super) async fn roll_back(&self, request: v1::RollbackRequest, audit: Audit) -> Answer {
        let v1::RollbackRequest { app, to, selector, reason } = request;
        let app: AppKey = app.parse().map_err(argument)?;
        let selector: Selector = selector.parse().map_err(argument)?;
        if reason.trim().is_empty() {
            return Err(argument("say why with --reason: it stands in the audit log and in `hub status`"));
        }
        let units = self.look(|look| look.units());
        let lead = units.lead(&app);
        let course = self.rooms.ledger.state().rollouts.get(lead).map(|course| course.record.clone());
        if course.is_none() && !self.look(|look| look.app_keys().contains(&app)) {
            return Err(self.no_app(&app));
        }
        let course = course.unwrap_or_default();
        let pinned = self.pinned_to(&app);
        if let Some(block) = course.block.as_ref().filter(|_| !selector.0.is_empty()) {
            return Err(Status::failed_precondition(format!(
                "a version of app {app} is blocked, since rollout {} was rolled back: leave -l out, or change the app first",
                block.rollout
            )));
        }
        if let Some(current) = course.current.as_ref().filter(|_| !selector.0.is_empty()) {
            return Err(Status::failed_precondition(format!(
                "rollout {id} of app {app} is under way: leave -l out, or end it first with `hub rollout abort {id}`",
                id = current.plan
            )));
        }
        let (commit, sources) = match to.as_str() {
            "" => previous(&course, pinned).ok_or_else(|| {
                Status::failed_precondition(format!(
                    "no earlier version of app {app} is known here; name a commit with --to"
                ))
            })?,
            to => {
                let (_, repository) = self.rooms.catalogs.of(&app.catalog).map_err(Status::not_found)?;
                let commit = repository.resolve(to).await.map_err(|error| {
                    Status::not_found(format!("commit {to} cannot be read here: {}", chain(&error)))
                })?;
                let now = self.look(|look| {
                    let forms = look.picture.revision.as_ref().map(|revision| &revision.forms);
                    forms.map(|forms| overrides::sources(forms, units.members(lead))).unwrap_or_default()
                });
                let sources = sources_of(&course, &commit, now);
                (commit, sources)
            }
        };
        let there = self.apps_at(&commit, &app).await?;
        let meant = |record: &PinRecord| self.look(|look| look.clusters_of(record));
        let at_ms = self.rooms.ledger.now_ms();
        let record = |app: &AppKey| PinRecord {
            id: PinRecord::id_of(app, &selector),
            app: app.clone(),
            commit: commit.clone(),
            sources: sources.clone(),
            selector: selector.clone(),
            at_ms,
            by: audit.name().to_owned(),
            reason: reason.clone(),
        };
        if !selector.0.is_empty() && meant(&record(&app)) == 0 {
            return Err(Status::failed_precondition(format!(
                "no cluster that shall run app {app} has the labels {selector}; `hub cluster list -l {selector}` shows who has"
            )));
        }
        // Apps of a group go back together, as far as the commit has them.
        let (mut batch, mut audits) = (Batch::new(), Vec::new());
        for app in units.members(lead).iter().filter(|app| there.contains(*app)) {
            let record = record(app);
            let mut details = BTreeMap::from([
                ("commit".to_owned(), commit.to_string()),
                ("pin".to_owned(), record.id.clone()),
            ]);
            if !selector.0.is_empty() {
                details.insert("selector".to_owned(), selector.to_string());
            }
            let (subject, why) = (format!("app {app}"), reason.clone());
            audits.push(Audit { what: "Pinned", subject, why, details, ..audit.clone() });
            let place = key::pin(app, &record.id);
            let held =
                self.rooms.ledger.state().pins.get(&(app.clone(), record.id.clone())).map(|pin| pin.version);
            batch = batch.require_same(place.clone(), held).put(place, json(&record));
        }
        let others = audits.len() - 1;
        let committed = self.rooms.ledger.commit_audited(Step::PinOrdered, batch, &audits).await;
        committed.map_err(|e| commit_status(&e))?;
        let record = record(&app);
        let on = self.look(|look| look.clusters_of(&record));
        let clusters = if on == 1 { "1 cluster".to_owned() } else { format!("{on} clusters") };
        let paused = self.look(|look| {
            look.state.paused(look.now_ms).find(|p| p.scope.is_of(&app)).map(ToString::to_string)
        });
        let paused = paused.map(|pause| format!("; it begins when that ends: {pause}")).unwrap_or_default();
        let with = match others {
            0 => "",
            1 => "; the other app of its group goes with it",
            _ => "; the other apps of its group go with it",
        };
        let message = format!(
            "{record}: {clusters}, within the budgets of its rollout and without waiting for windows; `hub rollout show {app} --watch` \
             shows it, `hub pin remove {}` lets it go on{with}{paused}",
            record.id
        );
        document(&DoneView { message })
    }

    /// To what all of an app is pinned, if it is.
    fn pinned_to(&self, app: &AppKey) -> Option<Point> {
        let state = self.rooms.ledger.state();
        let pins = state.pins.values().filter(|pin| pin.app == *app && pin.selector.0.is_empty());
        pins.max_by_key(|pin| pin.at_ms).map(|pin| (pin.commit.clone(), pin.sources.clone()))
    }

    /// The apps that a commit has, if it can be read and has this one.
    async fn apps_at(&self, commit: &CommitId, app: &AppKey) -> Result<BTreeSet<AppKey>, Status> {
        let (place, repository) = self.rooms.catalogs.of(&app.catalog).map_err(Status::not_found)?;
        let unread = |error: &dyn std::error::Error| {
            Status::failed_precondition(format!(
                "commit {} cannot be read here: {}",
                commit.short(),
                chain(error)
            ))
        };
        repository.pin(commit).await.map_err(|error| unread(&error))?;
        let tree = repository.tree(commit).await.map_err(|error| unread(&error))?;
        let catalog = Loader::default().catalog(&repository, &place, commit, &tree, &LastGood::new()).await;
        if catalog.app_of(app).is_some() {
            let keys = catalog.apps().filter_map(|(effective, _)| catalog.key(&effective.object.id.name));
            return Ok(keys.collect());
        }
        Err(Status::failed_precondition(format!("commit {} has no valid app {app}", commit.short())))
    }

    pub(super) async fn remove_pin(&self, request: v1::PinRemoveRequest, audit: Audit) -> Answer {
        let v1::PinRemoveRequest { pin, reason } = request;
        let (found, known) = {
            let state = self.rooms.ledger.state();
            let is_meant = |record: &PinRecord| record.id == pin || record.app.to_string() == pin;
            let found: Vec<_> = state.pins.values().filter(|held| is_meant(&held.record)).cloned().collect();
            let known: Vec<String> =
                state.pins.values().map(|pin| format!("{} of app {}", pin.id, pin.app)).collect();
            (found, known)
        };
        let held = match found.as_slice() {
            [one] => one,
            [] => {
                let known = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
                return Err(Status::not_found(format!("there is no pin {pin}; pins: {known}")));
            }
            several => {
                let ids: Vec<&str> = several.iter().map(|pin| pin.id.as_str()).collect();
                return Err(argument(format!("app {pin} has several pins; name one of {}", ids.join(", "))));
            }
        };
        let units = self.look(|look| look.units());
        // What was pinned with it, as a group, goes on with it.
        let with = |other: &PinRecord| {
            let PinRecord { app, commit, selector, at_ms, .. } = &*held.record;
            let same = (&other.commit, &other.selector, other.at_ms) == (commit, selector, *at_ms);
            same && units.lead(&other.app) == units.lead(app)
        };
        let (mut batch, mut audits) = (Batch::new(), Vec::new());
        for pin in self.rooms.ledger.state().pins.values().filter(|pin| with(&pin.record)) {
            let PinRecord { id, app, .. } = &*pin.record;
            let (subject, why) = (format!("app {app}"), reason.clone());
            let details = BTreeMap::from([("pin".to_owned(), id.clone())]);
            audits.push(Audit { what: "Unpinned", subject, why, details, ..audit.clone() });
            let place = key::pin(app, id);
            batch = batch.require_at(place.clone(), pin.version).delete(place);
        }
        let committed = self.rooms.ledger.commit_audited(Step::PinOrdered, batch, &audits).await;
        committed.map_err(|e| commit_status(&e))?;
        document(&DoneView {
            message: format!(
                "{}; it is pinned no longer, and goes on through the waves of its rollout",
                held.record
            ),
        })
    }
}
