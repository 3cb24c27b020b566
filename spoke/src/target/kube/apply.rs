//! Apply: one object is written by server-side apply.
//!
//! In: an app, an object, whether to take fields that somebody else changed. Out: [`Applied`].
//! Never: takes over an object that Nave did not create; returns from a definition before its kinds can be used.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use nave_placement::render::Resolved;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::compare::{differences, fingerprint};
use super::marks::{self, CREATED, MANAGER, Marks};
use super::notes::Note;
use super::problem::Problem;
use super::shared::{Shared, text};
use super::wire::{Answer, path};
use crate::observe::health;
use crate::target::{Applied, Behalf, HealthState, TargetError};

/// A definition is established within a second or two; where several API servers run, they wait 5 s for each other.
const ESTABLISH: Duration = Duration::from_secs(15);
const ESTABLISH_POLL: Duration = Duration::from_millis(50);

impl Shared {
    pub async fn apply(&self, of: Behalf<'_>, wanted: &Resolved, take: bool) -> Result<Applied, TargetError> {
        let app = of.app;
        let key = &wanted.key;
        self.permitted(key)?;
        let resource = self.resource_of(key, &wanted.object)?;
        let before = match self.notes.get(key) {
            Some(note) => note,
            None => self.first_look(key, &resource).await?,
        };
        let sent = self.marks.marked(app, key, &wanted.object);
        let answer = match self.patch(key, &resource, &sent, take).await {
            Ok(answer) => answer,
            Err(problem) => {
                // It may have been written all the same.
                self.notes.forget(key);
                if problem.is_not_served() {
                    self.discover_group(&key.group).await?;
                }
                return Err(problem.into());
            }
        };
        if answer.code != 201 && !before.ours {
            return Err(self.met(key, &resource).await);
        }
        let applied = self.settle(key, before, &wanted.object, &sent, &answer);
        if key.group == "apiextensions.k8s.io" && key.kind == "CustomResourceDefinition" {
            self.established(&resource, &answer.body, applied == Applied::Unchanged).await?;
        }
        Ok(applied)
    }

    async fn patch(
        &self,
        key: &ObjectKey,
        resource: &ApiResource,
        body: &Value,
        take: bool,
    ) -> Result<Answer, Problem> {
        let params = PatchParams { force: take, ..PatchParams::apply(MANAGER) };
        self.wire.send(path(resource, &key.namespace).patch(&key.name, &params, &Patch::Apply(body))).await
    }

    /// Nothing is known of the object: looks whether it is there, and whose it is.
    async fn first_look(&self, key: &ObjectKey, resource: &ApiResource) -> Result<Note, TargetError> {
        match self.wire.get(resource, &key.namespace, &key.name).await? {
            None => Ok(Note::default()),
            Some(live) if self.marks.is_ours(key, &live) => {
                let version = self.notes.version(text(&live, "/metadata/resourceVersion"));
                Ok(Note { ours: true, version, ..Note::default() })
            }
            Some(_) => Err(foreign()),
        }
    }

    /// The object was thought to be absent, and was there: somebody else made it meanwhile. Our marks come off again.
    async fn met(&self, key: &ObjectKey, resource: &ApiResource) -> TargetError {
        self.notes.forget(key);
        let patch = Patch::Merge(Marks::unmarked());
        let request = path(resource, &key.namespace).patch(&key.name, &PatchParams::default(), &patch);
        match self.wire.send(request).await {
            Ok(_) => foreign(),
            Err(problem) if problem.is_absent() => foreign(),
            Err(problem) => problem.into(),
        }
    }

    /// Remembers what the write left, and says what came of it.
    fn settle(
        &self,
        key: &ObjectKey,
        before: Note,
        wanted: &Value,
        sent: &Value,
        answer: &Answer,
    ) -> Applied {
        let live = &answer.body;
        let version = self.notes.version(text(live, "/metadata/resourceVersion"));
        let left = differences(sent, live, marks::our_fields(live));
        let settled = Some(fingerprint(&self.marks.digest(wanted).to_string(), &left));
        let unchanged = before.ours && before.version == version;
        let written = if unchanged { before.written } else { version };
        let applied = if unchanged { before.applied } else { Some(std::time::Instant::now()) };
        self.notes.set(key, Note { ours: true, version, written, settled, applied });
        match answer.code {
            201 => Applied::Created,
            _ if unchanged => Applied::Unchanged,
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
    TargetError::Conflict(format!(
        "it exists, and Nave did not create it (it has no mark {CREATED} of its own)"
    ))
}
