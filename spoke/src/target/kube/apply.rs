//! Apply: one object is written by server-side apply.
//!
//! In: an app, an object, as what it was seen and what may be done to it. Out: [`Applied`].
//! Never: takes over an object that Nave did not create, unless its terms allow it; takes fields that we never owned,
//! unless `conflicts` allows it; returns from a definition before its kinds can be used.
//!
//! Fields that are left to others are written once, with the object, and then let go: their values stay and nobody owns
//! them, because a field that merely leaves an apply would be removed.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use nave_placement::catalog::Conflicts;
use nave_placement::render::Resolved;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::autoscale::REPLICAS;
use super::books;
use super::compare::{differences, fingerprint};
use super::listed::{self, FIELDS};
use super::marks::{self, CREATED, MANAGER};
use super::notes::Note;
use super::places::place;
use super::problem::Problem;
use super::recreate::{is_stuck, waits_for};
use super::sent::sent;
use super::shared::{Shared, text};
use super::sightings::Since;
use super::wire::{Answer, Wire, path};
use crate::observe::health;
use crate::plan::{Terms, is_kept};
use crate::target::{Applied, Behalf, Contact, HealthState, TargetError, Write};

/// A definition is established within a second or two; where several API servers run, they wait 5 s for each other.
const ESTABLISH: Duration = Duration::from_secs(15);
const ESTABLISH_POLL: Duration = Duration::from_millis(50);
/// Attempts at one object: one as it is, one without what others own, one that takes back what is ours; one more for
/// somebody who writes meanwhile.
const ATTEMPTS: usize = 4;

/// One object to be written, and all that is known of how.
pub(super) struct Work<'a> {
    pub of: Behalf<'a>,
    pub wire: Wire,
    pub wanted: &'a Resolved,
    pub resource: ApiResource,
    pub terms: Terms,
    pub how: Write,
    /// When it began.
    pub since: Since,
}

impl Shared {
    pub async fn apply(&self, of: Behalf<'_>, wanted: &Resolved, how: Write) -> Result<Applied, TargetError> {
        let work = self.work(of, wanted, how)?;
        match how.contact {
            Contact::Absent => self.create(&work).await,
            Contact::Foreign => self.adopt(&work).await,
            Contact::Ours => self.write(&work).await,
        }
    }

    pub fn work<'a>(
        &self,
        of: Behalf<'a>,
        wanted: &'a Resolved,
        how: Write,
    ) -> Result<Work<'a>, TargetError> {
        self.permitted(&wanted.key)?;
        let terms = Terms::of(of.treatment, wanted).map_err(TargetError::Refused)?;
        let resource = self.resource_of(&wanted.key, &wanted.object)?;
        let since = self.sightings.begin();
        Ok(Work { of, wire: self.wire.on_behalf(of), wanted, resource, terms, how, since })
    }

    /// The object as it is now.
    pub async fn live(&self, work: &Work<'_>) -> Result<Option<Value>, TargetError> {
        let key = &work.wanted.key;
        Ok(work.wire.get(&work.resource, &key.namespace, &key.name).await?)
    }

    /// What is sent.
    pub fn body(&self, work: &Work<'_>, left_out: &[String]) -> Value {
        self.marks.marked(work.of.app, &work.wanted.key, &work.wanted.object, left_out)
    }

    /// Writes what is thought to be absent.
    pub async fn create(&self, work: &Work<'_>) -> Result<Applied, TargetError> {
        let key = &work.wanted.key;
        let before = match self.notes.get(key) {
            Some(note) => note,
            None => self.first_look(work).await?,
        };
        if before.ours {
            return self.write(work).await;
        }
        let mut body = self.body(work, &[]);
        let ignored = work.terms.ignored_fields();
        if !ignored.is_empty() {
            let kept = self.body(work, ignored);
            body["metadata"]["annotations"][FIELDS] = kept["metadata"]["annotations"][FIELDS].clone();
        }
        let mut answer = match self.patch(work, &body, false).await {
            Ok(answer) => answer,
            Err(problem) => return Err(self.failed(work, problem).await),
        };
        if answer.code != 201 {
            return Err(self.met(work).await);
        }
        if !ignored.is_empty() {
            if let Some(released) = self.release(work, &answer.body).await? {
                answer.body = released;
            }
            body = self.body(work, ignored);
        }
        self.written(work, before, &body, answer).await
    }

    /// Writes what is ours already.
    pub async fn write(&self, work: &Work<'_>) -> Result<Applied, TargetError> {
        let key = &work.wanted.key;
        let before = self.notes.get(key).unwrap_or_default();
        let mut ignored = work.terms.ignored_fields().to_vec();
        let is_scalable = work.wanted.object.pointer(REPLICAS).is_some();
        if is_scalable && !ignored.iter().any(|field| field == REPLICAS) && self.is_scaled(key).await? {
            ignored.push(REPLICAS.to_owned());
        }
        let mut left_out = ignored.clone();
        let yields = work.terms.conflicts == Conflicts::Yield;
        if yields || !ignored.is_empty() {
            let Some(live) = self.live(work).await? else { return self.vanished(key) };
            if self.release_fields(work, &live, &ignored).await?.is_some() {
                tracing::debug!(object = %key, ?ignored, "fields were let go");
            }
            if yields {
                let body = self.body(work, &ignored);
                left_out.extend(self.yielded(&body, &live));
            }
        }
        let mut take = work.how.take;
        for _ in 0..ATTEMPTS {
            let body = self.body(work, &left_out);
            let problem = match self.patch(work, &body, take).await {
                Ok(answer) => {
                    if let (true, Some(drift)) = (work.how.corrects, before.drift) {
                        self.notes.corrected(key, drift, Instant::now());
                    }
                    return self.written(work, before, &body, answer).await;
                }
                Err(problem) => problem,
            };
            if work.how.recreate && matches!(problem.error, TargetError::Immutable(_)) {
                return Err(problem.error);
            }
            if problem.contested.is_empty() || take {
                return Err(self.failed(work, problem).await);
            }
            let Some(live) = self.live(work).await? else { return self.vanished(key) };
            let theirs = self.theirs(work, &problem, &live);
            match work.terms.conflicts {
                _ if theirs.is_empty() => take = true,
                Conflicts::Force => take = true,
                Conflicts::Fail => return Err(conflict(&theirs)),
                Conflicts::Yield => {
                    let places = theirs.iter().filter_map(|(place, ..)| place.clone());
                    let before = left_out.len();
                    left_out.extend(places);
                    if left_out.len() == before {
                        return Err(conflict(&theirs));
                    }
                }
            }
        }
        Err(TargetError::Unreachable(format!("{key} changed under each of {ATTEMPTS} attempts to write it")))
    }

    fn vanished(&self, key: &ObjectKey) -> Result<Applied, TargetError> {
        self.notes.forget(key);
        Err(TargetError::Unreachable(format!("{key} was deleted meanwhile")))
    }

    /// Of the fields that a write met as another manager's, those that our last write did not have: place, name, manager.
    fn theirs(
        &self,
        work: &Work<'_>,
        problem: &Problem,
        live: &Value,
    ) -> Vec<(Option<String>, String, String)> {
        let known = marks::annotation(live, FIELDS);
        let object = sent(&work.wanted.object);
        let contested = problem
            .contested
            .iter()
            .map(|(field, manager)| (place(&object, field), field.clone(), manager.clone()));
        contested.filter(|(at, ..)| at.as_ref().is_none_or(|at| !listed::has(known, &object, at))).collect()
    }

    /// Fields that are another's and never were ours: `conflicts: Yield` leaves them as they are.
    pub fn yielded(&self, body: &Value, live: &Value) -> Vec<String> {
        let known = marks::annotation(live, FIELDS);
        let lost = differences(body, live, marks::our_fields(live)).into_iter().filter(|found| found.lost);
        let theirs = lost.filter(|found| {
            !listed::has(known, body, &found.path) && !books::owner(body, &found.path, live).is_empty()
        });
        theirs.map(|found| found.path).collect()
    }

    /// Lets ignored fields go, so that they are nobody's and stay; the object as it is then, if there was anything to do.
    async fn release(&self, work: &Work<'_>, live: &Value) -> Result<Option<Value>, TargetError> {
        self.release_fields(work, live, work.terms.ignored_fields()).await
    }

    async fn release_fields(
        &self,
        work: &Work<'_>,
        live: &Value,
        fields: &[String],
    ) -> Result<Option<Value>, TargetError> {
        let Some(books) = books::released(live, &work.wanted.object, fields) else { return Ok(None) };
        Ok(Some(self.rewrite(work, live, books).await?))
    }

    /// Writes an object's books anew, unless it has changed since.
    pub(super) async fn rewrite(
        &self,
        work: &Work<'_>,
        live: &Value,
        books: Value,
    ) -> Result<Value, TargetError> {
        let key = &work.wanted.key;
        let patch = Patch::Merge(books::rewritten(live, books));
        let request = path(&work.resource, &key.namespace).patch(&key.name, &PatchParams::default(), &patch);
        Ok(work.wire.send(request).await?.body)
    }

    pub async fn patch(&self, work: &Work<'_>, body: &Value, take: bool) -> Result<Answer, Problem> {
        let key = &work.wanted.key;
        // Without it a current server drops fields that it does not know, and the object would never be as wanted.
        let params = PatchParams { force: take, ..PatchParams::apply(MANAGER).validation_strict() };
        work.wire
            .send(path(&work.resource, &key.namespace).patch(&key.name, &params, &Patch::Apply(body)))
            .await
    }

    /// A write that failed; it may have been done all the same.
    pub async fn failed(&self, work: &Work<'_>, problem: Problem) -> TargetError {
        let key = &work.wanted.key;
        self.notes.forget(key);
        if problem.is_not_served()
            && let Err(again) = self.discover_group(&key.group).await
        {
            return again.into();
        }
        match problem.error {
            TargetError::Terminating { message, .. } => self.namespace_ends(work, message).await,
            TargetError::Immutable(why) => stays(key, &why),
            error => error,
        }
    }

    /// The object's namespace is on its way out: what it waits for itself.
    async fn namespace_ends(&self, work: &Work<'_>, message: String) -> TargetError {
        let name = &work.wanted.key.namespace;
        match self.wire.get(&super::namespaces(), "", name).await {
            Ok(Some(live)) => {
                let stuck = is_stuck(&live, work.of.treatment.timeout.0);
                let message = format!("its namespace {name} is being deleted: {}", waits_for(&live));
                TargetError::Terminating { message, stuck }
            }
            _ => TargetError::Terminating { message, stuck: false },
        }
    }

    /// Nothing is known of the object: looks whether it is there, and whose it is.
    async fn first_look(&self, work: &Work<'_>) -> Result<Note, TargetError> {
        let key = &work.wanted.key;
        match self.live(work).await? {
            None => Ok(Note::default()),
            Some(live) if self.marks.is_ours(key, &live) => {
                let version = self.notes.version(text(&live, "/metadata/resourceVersion"));
                Ok(Note { ours: true, version, ..Note::default() })
            }
            Some(_) => Err(foreign()),
        }
    }

    /// The object was thought to be absent, and was there: somebody else made it meanwhile. What we put there goes again:
    /// an apply without fields removes what only we own. The next look is first contact.
    async fn met(&self, work: &Work<'_>) -> TargetError {
        let key = &work.wanted.key;
        self.notes.forget(key);
        let mut nothing = json!({"metadata": {"name": key.name}});
        for field in ["apiVersion", "kind"] {
            nothing[field] = work.wanted.object[field].clone();
        }
        if !key.namespace.is_empty() {
            nothing["metadata"]["namespace"] = key.namespace.clone().into();
        }
        match self.patch(work, &nothing, false).await {
            Ok(_) => foreign(),
            Err(problem) => problem.into(),
        }
    }

    /// After a write: nobody who handed the object over owns what is ours; what the write left is remembered.
    pub async fn written(
        &self,
        work: &Work<'_>,
        before: Note,
        body: &Value,
        mut answer: Answer,
    ) -> Result<Applied, TargetError> {
        let key = &work.wanted.key;
        if let Some(books) = books::taken_over(&answer.body) {
            self.notes.forget(key);
            answer.body = self.rewrite(work, &answer.body, books).await?;
        }
        let applied = self.settle(key, before, body, &answer);
        self.sighted(work.since, work.of, work.wanted, &answer.body);
        if key.group == "apiextensions.k8s.io" && key.kind == "CustomResourceDefinition" {
            self.established(&work.resource, &answer.body, applied == Applied::Unchanged).await?;
        }
        Ok(applied)
    }

    /// Remembers what the write left, and says what came of it.
    fn settle(&self, key: &ObjectKey, before: Note, sent: &Value, answer: &Answer) -> Applied {
        let live = &answer.body;
        let version = self.notes.version(text(live, "/metadata/resourceVersion"));
        let left = differences(sent, live, marks::our_fields(live));
        // What was sent carries the digest of what was wanted.
        let settled = Some(fingerprint(marks::annotation(sent, marks::APPLIED).unwrap_or_default(), &left));
        let unchanged = before.ours && before.version == version;
        let written = if unchanged { before.written } else { version };
        let applied = if unchanged { before.applied } else { Some(std::time::Instant::now()) };
        self.notes
            .set(key, Note { ours: true, version, written, settled, applied, open: false, drift: None });
        match answer.code {
            201 => Applied::Created,
            _ if unchanged => Applied::Unchanged,
            _ if before.drift.is_some_and(|drift| settled == Some(drift.values)) => Applied::Undone,
            _ => Applied::Changed,
        }
    }

    /// Waits until the definition's kinds are served, and learns them.
    async fn established(
        &self,
        resource: &ApiResource,
        definition: &Value,
        unchanged: bool,
    ) -> Result<(), TargetError> {
        let (name, group) = (text(definition, "/metadata/name"), text(definition, "/spec/group"));
        let kind = text(definition, "/spec/names/kind");
        let versions = definition.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
        let served: Vec<_> = versions
            .filter(|v| v.get("served") == Some(&Value::Bool(true)))
            .map(|v| format!("{group}/{}", text(v, "/name")))
            .collect();
        let known = || served.iter().all(|version| self.kinds().exactly(version, kind).is_some());
        if unchanged && known() {
            return Ok(());
        }
        let until = Instant::now() + ESTABLISH;
        loop {
            let live = self.wire.get(resource, "", name).await?;
            let health = live.as_ref().map(|live| health::judge(live, &health::Given::default()));
            match health {
                Some(health) if health.state == HealthState::Healthy => {
                    self.discover_group(group).await?;
                    if known() {
                        return Ok(());
                    }
                }
                Some(health) if health.state == HealthState::Degraded => {
                    return Err(TargetError::Refused(format!("{name}: {}", health.message)));
                }
                _ => {}
            }
            if Instant::now() >= until {
                let waited = ESTABLISH.as_secs();
                return Err(TargetError::NotServed(format!("{name} is not established after {waited} s")));
            }
            sleep(ESTABLISH_POLL).await;
        }
    }
}

fn foreign() -> TargetError {
    TargetError::NotAdopted(format!(
        "it exists, and Nave did not create it (it has no mark {CREATED} of its own)"
    ))
}

fn conflict(theirs: &[(Option<String>, String, String)]) -> TargetError {
    let fields: Vec<_> = theirs.iter().map(|(_, field, manager)| format!("{field} by {manager:?}")).collect();
    TargetError::Conflict(format!(
        "owned by another manager: {}; `conflicts: Force` takes these fields, `Yield` leaves them",
        fields.join("; ")
    ))
}

/// How a field that cannot be changed is to be mended.
fn stays(key: &ObjectKey, why: &str) -> TargetError {
    let mend = if is_kept(key) {
        "an object of this kind is never made anew by Nave; change the manifest back, or delete it by hand"
    } else {
        "change the manifest back, delete the object by hand, or set `onImmutable: Recreate`"
    };
    TargetError::Immutable(format!("{why}; {mend}"))
}
