//! Adopt: first contact with an object that Nave did not create, and comparing without writing.
//!
//! In: a wanted object, the live one. Out: what writing it would change; the object with our marks, if its terms allow it.
//! Never: changes a field that the manifest does not have; takes over an object in another version than the one compared.

use std::sync::Arc;

use kube::api::{Patch, PatchParams};
use nave_placement::catalog::Adopt;
use serde_json::Value;

use super::apply::Work;
use super::books;
use super::compare::differences;
use super::marks::{MANAGER, bare};
use super::problem::Problem;
use super::shared::{Shared, text};
use super::wire::{Answer, path};
use crate::observe::changes::{FieldChange, changes, hide, told};
use crate::target::{Applied, TargetError};

impl Shared {
    /// Takes over an object that is not ours.
    pub async fn adopt(&self, work: &Work<'_>) -> Result<Applied, TargetError> {
        let key = &work.wanted.key;
        let Some(mut live) = self.live(work).await? else { return self.create(work).await };
        if self.marks.is_ours(key, &live) {
            return self.write(work).await;
        }
        let managers = books::managers(&live).join(", ");
        let by = if managers.is_empty() { "nobody who says so".to_owned() } else { managers };
        let refused = |why: String| {
            TargetError::NotAdopted(format!("it exists, and Nave does not manage it, {by} does; {why}"))
        };
        match work.terms.adopt {
            Adopt::Always => {}
            Adopt::Never => return Err(refused("`adopt: Never` leaves it alone".to_owned())),
            Adopt::IfEqual => {
                let found = self.foretold(work, &live).await?;
                if !found.is_empty() {
                    return Err(refused(format!(
                        "`adopt: IfEqual` takes it once it is as wanted: {}",
                        told(&found)
                    )));
                }
            }
        }
        let mut body = self.body(work, work.terms.ignored_fields());
        if work.terms.adopt == Adopt::Always
            && let Some(books) = books::given_over(&live, &body)
        {
            // An item whose key is another in the manifest would stay beside it.
            live = self.rewrite(work, &live, books).await?;
        }
        for name in ["uid", "resourceVersion"] {
            body["metadata"][name] = live["metadata"][name].clone();
        }
        let answer = match self.patch(work, &body, true).await {
            Ok(answer) => answer,
            Err(problem) => return Err(self.failed(work, problem).await),
        };
        let applied = self.written(work, Default::default(), &body, answer).await?;
        tracing::info!(app = %work.of.app, object = %key, from = by, "adopted");
        self.notes.adopt(key, &by);
        Ok(applied)
    }

    /// What writing the object would change of the live one, apart from our marks.
    pub async fn foretold(
        &self,
        work: &Work<'_>,
        live: &Value,
    ) -> Result<Arc<Vec<FieldChange>>, TargetError> {
        let key = &work.wanted.key;
        if is_bare(&work.wanted.object) {
            return Ok(Arc::default());
        }
        let version = self.notes.version(text(live, "/metadata/resourceVersion"));
        let ignored = work.terms.ignored_fields();
        let content =
            self.notes.version(&format!("{} {}", self.marks.digest(&work.wanted.object), ignored.join(",")));
        if let Some(found) = self.notes.compared(key, version, content) {
            return Ok(found);
        }
        let body = self.body(work, ignored);
        let mut found = match self.tried(work, &body).await {
            Ok(answer) => changes(&bare(live), &bare(&answer.body)),
            Err(problem) => match problem.error {
                // Nobody knows what would come of it: what was asked for, next to what is there, has to do.
                TargetError::Refused(_) | TargetError::Forbidden(_) | TargetError::Immutable(_) => {
                    apart(&body, live)
                }
                error => return Err(error),
            },
        };
        for change in &mut found {
            change.manager = books::owner(live, &change.path, live);
        }
        let found = Arc::new(hide(&work.wanted.object, found));
        self.notes.compare(key, version, content, found.clone());
        Ok(found)
    }

    /// A write that only pretends.
    async fn tried(&self, work: &Work<'_>, body: &Value) -> Result<Answer, Problem> {
        let key = &work.wanted.key;
        let params =
            PatchParams { force: true, dry_run: true, ..PatchParams::apply(MANAGER).validation_strict() };
        work.wire
            .send(path(&work.resource, &key.namespace).patch(&key.name, &params, &Patch::Apply(body)))
            .await
    }
}

/// Nothing but a name: whatever is there is as wanted.
fn is_bare(object: &Value) -> bool {
    let is_named =
        |m: &serde_json::Map<String, Value>| m.keys().all(|name| name == "name" || name == "namespace");
    let fields = object
        .as_object()
        .map(|fields| fields.keys().all(|f| ["apiVersion", "kind", "metadata"].contains(&&**f)));
    fields == Some(true) && object.get("metadata").and_then(Value::as_object).is_some_and(is_named)
}

fn apart(body: &Value, live: &Value) -> Vec<FieldChange> {
    let body = bare(body);
    let found = differences(&body, live, None).into_iter().map(|difference| FieldChange {
        wanted: body.pointer(&difference.path).cloned(),
        live: difference.live,
        path: difference.path,
        manager: String::new(),
    });
    found.collect()
}
