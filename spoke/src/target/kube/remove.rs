//! Remove: an object is deleted, or given away.
//!
//! In: an app and the key of an object of its inventory. Out: [`Deleted`].
//! Never: deletes what does not carry every one of our marks at the moment of deletion; deletes what holds other things
//! (namespaces, definitions) or data (volumes and their claims).

use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use nave_placement::ObjectKey;

use super::marks::{self, Marks};
use super::shared::{Shared, text};
use super::wire::path;
use crate::plan::terms::PRUNE;
use crate::target::{Behalf, Deleted, TargetError};

/// What is kept unless it says `nave.dev/prune: "true"`, and why: deleting one of these deletes what no inventory lists.
const KEPT: &[(&str, &str, &str)] = &[
    ("", "Namespace", "deleting a Namespace deletes everything in it"),
    (
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "deleting a CustomResourceDefinition deletes all its objects",
    ),
    ("", "PersistentVolumeClaim", "deleting a PersistentVolumeClaim may delete its data"),
    ("", "PersistentVolume", "deleting a PersistentVolume may delete its data"),
];

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
            let Some(resource) = self.resource_now(key).await? else { return Ok(Deleted::Gone) };
            let live = match wire.get(&resource, &key.namespace, &key.name).await {
                Ok(Some(live)) => live,
                Ok(None) => return Ok(self.gone(key)),
                Err(problem) if problem.is_not_served() => {
                    self.discover_group(&key.group).await?;
                    last = Some(problem);
                    continue;
                }
                Err(problem) => return Err(problem.into()),
            };
            if let Some((_, _, why)) =
                KEPT.iter().find(|(group, kind, _)| *group == key.group && *kind == key.kind)
                && marks::annotation(&live, PRUNE) != Some("true")
            {
                return Ok(Deleted::NotOurs(format!("kept: {why}")));
            }
            if marks::annotation(&live, PRUNE) == Some("false") {
                self.orphan(of, key).await?;
                return Ok(Deleted::NotOurs(format!("kept: its annotation {PRUNE} says so")));
            }
            if let Some(why) = self.marks.not_ours(app, key, &live) {
                return Ok(Deleted::NotOurs(why));
            }
            if live.pointer("/metadata/deletionTimestamp").is_some() {
                return Ok(Deleted::Terminating);
            }
            let field = |name: &str| Some(text(&live, &format!("/metadata/{name}")).to_owned());
            let exactly = Preconditions { uid: field("uid"), resource_version: field("resourceVersion") };
            let params = DeleteParams::background().preconditions(exactly);
            match wire.send(path(&resource, &key.namespace).delete(&key.name, &params)).await {
                // Without finalizers or grace the answer is a `Status`, or the object as it last was.
                Ok(answer) if answer.body.pointer("/metadata/deletionTimestamp").is_some() => {
                    self.notes.forget(key);
                    return Ok(Deleted::Terminating);
                }
                Ok(_) => return Ok(self.gone(key)),
                Err(problem) if problem.is_absent() => return Ok(self.gone(key)),
                Err(problem) if problem.code == 409 => last = Some(problem),
                Err(problem) => return Err(problem.into()),
            }
        }
        let why = last.map(|problem| problem.error.to_string()).unwrap_or_default();
        Err(TargetError::Unreachable(format!("{key} could not be deleted in {TRIES} tries: {why}")))
    }

    fn gone(&self, key: &ObjectKey) -> Deleted {
        self.notes.forget(key);
        Deleted::Gone
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
        self.notes.forget(key);
        match wire.send(request).await {
            Ok(_) => Ok(()),
            Err(problem) if problem.is_absent() => Ok(()),
            Err(problem) => Err(problem.into()),
        }
    }
}
