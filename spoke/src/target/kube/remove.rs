//! Remove: an object is deleted, or given away.
//!
//! In: an app and the key of an object of its inventory. Out: [`Deleted`].
//! Never: deletes what does not carry every one of our marks at the moment of deletion; deletes what holds other things
//! (namespaces, definitions) or data (volumes and their claims).

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::discovery::ApiResource;
use nave_placement::ObjectKey;
use serde_json::Value;

use super::marks::{self, Marks};
use super::problem::Problem;
use super::recreate::{is_stuck, waits_for};
use super::shared::{Shared, text};
use super::wire::{Wire, path};
use crate::plan::is_kept;
use crate::plan::terms::PRUNE;
use crate::target::{Behalf, Deleted, TargetError};

/// How often a deletion is tried when the object changes between the look and the deletion.
const TRIES: usize = 3;

impl Shared {
    pub async fn delete(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<Deleted, TargetError> {
        let app = of.app;
        let wire = self.wire.on_behalf(of);
        self.permitted(key)?;
        let mut last = None;
        for _ in 0..TRIES {
            // Somebody may look the kind up for the first time here: a kind that is not served has no objects.
            let Some(resource) = self.resource_now(key).await? else { return Ok(Deleted::Absent) };
            let live = match wire.get(&resource, &key.namespace, &key.name).await {
                Ok(Some(live)) => live,
                Ok(None) => {
                    self.left(key);
                    return Ok(Deleted::Absent);
                }
                Err(problem) if problem.is_not_served() => {
                    self.discover_group(&key.group).await?;
                    last = Some(problem);
                    continue;
                }
                Err(problem) => return Err(problem.into()),
            };
            if is_kept(key) && marks::annotation(&live, PRUNE) != Some("true") {
                let kind = &key.kind;
                return Ok(Deleted::NotOurs(format!("kept: with a {kind} goes what is in it, or its data")));
            }
            if marks::annotation(&live, PRUNE) == Some("false") {
                self.orphan(of, key).await?;
                return Ok(Deleted::NotOurs(format!("kept: its annotation {PRUNE} says so")));
            }
            if let Some(why) = self.marks.not_ours(app, key, &live) {
                return Ok(Deleted::NotOurs(why));
            }
            match self.delete_exactly(of, (&wire, &resource), key, &live, DeleteParams::background()).await {
                Err(problem) if problem.code == 409 => last = Some(problem),
                done => return Ok(done?),
            }
        }
        let why = last.map(|problem| problem.error.to_string()).unwrap_or_default();
        Err(TargetError::Unreachable(format!("{key} could not be deleted in {TRIES} tries: {why}")))
    }

    /// Deletes an object that is still just so.
    pub async fn delete_exactly(
        &self,
        of: Behalf<'_>,
        (wire, resource): (&Wire, &ApiResource),
        key: &ObjectKey,
        live: &Value,
        params: DeleteParams,
    ) -> Result<Deleted, Problem> {
        let terminating = |live: &Value| Deleted::Terminating {
            message: waits_for(live),
            stuck: is_stuck(live, of.treatment.timeout.0),
        };
        if live.pointer("/metadata/deletionTimestamp").is_some() {
            return Ok(terminating(live));
        }
        let field = |name: &str| Some(text(live, &format!("/metadata/{name}")).to_owned());
        let exactly = Preconditions { uid: field("uid"), resource_version: field("resourceVersion") };
        let params = params.preconditions(exactly);
        let answer = wire.send(path(resource, &key.namespace).delete(&key.name, &params)).await;
        self.left(key);
        match answer {
            // Without finalizers or grace the answer is a `Status`, or the object as it last was.
            Ok(answer) if answer.body.pointer("/metadata/deletionTimestamp").is_some() => {
                Ok(terminating(&answer.body))
            }
            Ok(_) => Ok(Deleted::Gone),
            Err(problem) if problem.is_absent() => Ok(Deleted::Absent),
            Err(problem) => Err(problem),
        }
    }

    fn left(&self, key: &ObjectKey) {
        self.notes.left(key);
        self.sightings.left(key);
    }

    pub async fn orphan(&self, of: Behalf<'_>, key: &ObjectKey) -> Result<(), TargetError> {
        let app = of.app;
        let wire = self.wire.on_behalf(of);
        self.permitted(key)?;
        let Some(resource) = self.resource_now(key).await? else { return Ok(()) };
        let Some(live) = wire.get(&resource, &key.namespace, &key.name).await? else { return Ok(()) };
        // Another app took it over: its marks stay.
        if marks::part_of(&live) != Some(&self.marks.set_id(app)) {
            return Ok(());
        }
        let mut patch = Marks::unmarked();
        patch["metadata"]["uid"] = text(&live, "/metadata/uid").into();
        patch["metadata"]["resourceVersion"] = text(&live, "/metadata/resourceVersion").into();
        let request =
            path(&resource, &key.namespace).patch(&key.name, &PatchParams::default(), &Patch::Merge(patch));
        self.left(key);
        match wire.send(request).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.is_absent() => Ok(()),
            Err(problem) => Err(problem.into()),
        }
    }
}
