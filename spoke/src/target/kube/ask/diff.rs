//! Diff: what applying an app would change, and who manages what is there.
//!
//! In: the app's resolved objects. Out: [`DiffAnswer`], [`AdoptionAnswer`].
//! Never: writes: every apply is a dry-run; says of a Secret more than which of its keys differ.

use futures::StreamExt as _;
use kube::api::{Patch, PatchParams};
use nave_placement::AppKey;
use nave_placement::render::{Resolved, SECRET};
use serde_json::Value;

use super::super::autoscale::REPLICAS;
use super::super::compare::differences;
use super::super::listed::FIELDS;
use super::super::marks::{self, APP, APPLIED, CREATED, MANAGER, PART_OF};
use super::super::shared::Shared;
use super::super::wire::path;
use super::AT_ONCE;
use crate::target::ask::answers::{
    AdoptionAnswer, AdoptionState, DiffAnswer, DiffState, ObjectAdoption, ObjectDiff,
};
use crate::target::ask::changes::{Change, changes};
use crate::target::ask::managers::managers;
use crate::target::ask::redact::is_secret;
use crate::target::ask::{Answer, Budget, Inquiry, Refusal};
use crate::target::{Behalf, TargetError};

/// Our marks are no content.
const BOOKKEEPING: &[&str] = &[PART_OF, APP, APPLIED, CREATED, FIELDS, SECRET];

/// A live object next to what it would be.
struct Compared {
    live: Value,
    ours: bool,
    changes: Vec<Change>,
}

/// `None` where there is no live object; why it could not be compared.
type Found = Result<Option<Compared>, String>;

/// Objects that are compared before the next are begun.
const CHUNK: usize = 64;

impl Shared {
    pub(super) async fn diff(&self, app: &AppKey, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        let mut answer = DiffAnswer { objects: inquiry.wanted.len(), ..DiffAnswer::default() };
        let mut budget = Budget::default();
        for some in inquiry.wanted.chunks(CHUNK) {
            for (wanted, compared) in self.compare(inquiry, app, some).await {
                match differing(wanted, heeded(inquiry, wanted, compared)) {
                    None => answer.equal += 1,
                    Some(found) if budget.takes(&found) => answer.differing.push(found),
                    Some(_) => {}
                }
            }
        }
        budget.answer(&answer)
    }

    pub(super) async fn adoption(&self, app: &AppKey, inquiry: &Inquiry) -> Result<Answer, Refusal> {
        let mut answer = AdoptionAnswer::default();
        let mut budget = Budget::default();
        for some in inquiry.wanted.chunks(CHUNK) {
            for (wanted, compared) in self.compare(inquiry, app, some).await {
                let found = met(wanted, heeded(inquiry, wanted, compared));
                if budget.takes(&found) {
                    answer.objects.push(found);
                }
            }
        }
        budget.answer(&answer)
    }

    /// Some objects at a time, in their order, so that a large app is not in memory twice.
    async fn compare<'a>(
        &self,
        inquiry: &Inquiry,
        app: &AppKey,
        some: &'a [Resolved],
    ) -> Vec<(&'a Resolved, Found)> {
        let each: Vec<_> = some.iter().map(|wanted| self.compare_one(inquiry, app, wanted)).collect();
        futures::stream::iter(each).buffered(AT_ONCE).collect().await
    }

    async fn compare_one<'a>(
        &self,
        inquiry: &Inquiry,
        app: &AppKey,
        wanted: &'a Resolved,
    ) -> (&'a Resolved, Found) {
        (wanted, self.compared(inquiry, app, wanted).await)
    }

    /// The live object and what a dry-run makes of it; `None` where it is not there.
    async fn compared(&self, inquiry: &Inquiry, app: &AppKey, wanted: &Resolved) -> Found {
        let wire = self.wire.on_behalf(Behalf { app, treatment: &inquiry.treatment });
        let key = &wanted.key;
        let told = |error: TargetError| error.to_string();
        if let Some(why) = &wanted.sealed {
            return Err(format!("it could not be decrypted: {why}"));
        }
        self.permitted(key).map_err(told)?;
        let resource = self.resource_of(key, &wanted.object).map_err(told)?;
        let live = wire.get(&resource, &key.namespace, &key.name).await.map_err(|p| told(p.error))?;
        let Some(live) = live else { return Ok(None) };
        let ours = self.marks.is_ours(key, &live);
        let sent = self.marks.marked(app, key, &wanted.object, &[]);
        if ours && self.is_as_sent(&sent, &live) {
            return Ok(Some(Compared { live, ours, changes: Vec::new() }));
        }
        let params = PatchParams { force: true, dry_run: true, ..PatchParams::apply(MANAGER) };
        let request = path(&resource, &key.namespace).patch(&key.name, &params, &Patch::Apply(&sent));
        let after = wire.send(request).await.map_err(|problem| match is_secret(&wanted.object) {
            // An API server quotes what it cannot read.
            true => {
                format!("the API server does not take it ({}); its words may quote the Secret", problem.code)
            }
            false => told(problem.error),
        })?;
        let mut changes = changes(&live, &after.body, BOOKKEEPING);
        // What scales it has the say, as when it is applied.
        if changes.iter().any(|change| change.path == REPLICAS) && self.is_scaled(key).await.map_err(told)? {
            changes.retain(|change| change.path != REPLICAS);
        }
        Ok(Some(Compared { live, ours, changes }))
    }

    /// Just this was applied, and every field of it is still ours and reads so: a dry-run would say nothing else.
    fn is_as_sent(&self, sent: &Value, live: &Value) -> bool {
        let applied = |object: &Value| marks::annotation(object, APPLIED).map(str::to_owned);
        let ours = marks::our_fields(live);
        applied(sent) == applied(live) && ours.is_some() && differences(sent, live, ours).is_empty()
    }
}

/// Without the fields that the app leaves to others.
fn heeded(inquiry: &Inquiry, wanted: &Resolved, found: Found) -> Found {
    found.map(|found| found.map(|found| Compared { changes: inquiry.heeded(wanted, found.changes), ..found }))
}

/// How an object differs; `None` where it does not.
fn differing(wanted: &Resolved, found: Found) -> Option<ObjectDiff> {
    let (state, changes, problem) = match found {
        Ok(Some(compared)) if compared.changes.is_empty() => return None,
        Ok(Some(compared)) => (DiffState::Differs, compared.changes, None),
        Ok(None) => (DiffState::Absent, Vec::new(), None),
        Err(problem) => (DiffState::Unknown, Vec::new(), Some(problem)),
    };
    Some(ObjectDiff { object: wanted.key.clone(), state, changes, problem })
}

/// How an object stands at first contact.
fn met(wanted: &Resolved, found: Found) -> ObjectAdoption {
    let of = |state, problem| ObjectAdoption {
        object: wanted.key.clone(),
        state,
        changes: Vec::new(),
        managers: Vec::new(),
        problem,
    };
    match found {
        Ok(None) => of(AdoptionState::Absent, None),
        Err(problem) => of(AdoptionState::Unknown, Some(problem)),
        Ok(Some(Compared { live, ours, changes })) => {
            let state = match (ours, changes.is_empty()) {
                (true, _) => AdoptionState::Ours,
                (false, true) => AdoptionState::Equal,
                (false, false) => AdoptionState::Differs,
            };
            ObjectAdoption { changes, managers: managers(&live, MANAGER), ..of(state, None) }
        }
    }
}
