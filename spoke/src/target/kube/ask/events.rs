//! Events: what was said about one object.
//!
//! In: a kind, a namespace, a name. Out: the newest events about it, newest first.
//! Never: more than one page of them.

use kube::api::ListParams;
use serde_json::Value;

use super::super::kinds::core;
use super::super::shared::{Shared, text};
use super::super::wire::path;
use crate::target::ask::answers::{Event, EventsAnswer};
use crate::target::ask::{About, Answer, Budget, EVENTS, Refusal};

/// Events of one object that are looked at: the API server gives them in no order of time, and forgets them after an hour.
const LOOKED_AT: u32 = 500;

impl Shared {
    pub(super) async fn events(&self, about: &About) -> Result<Answer, Refusal> {
        let meant = self.meant(&about.kind).await?;
        if about.name.is_empty() || (meant.namespaced && about.namespace.is_empty()) {
            return Err(Refusal("events are about one object: name it, and its namespace".into()));
        }
        let namespace = meant.place(&about.namespace);
        let events = core("Event", "events");
        let fields =
            format!("involvedObject.kind={},involvedObject.name={}", meant.resource.kind, about.name);
        let params = ListParams::default().fields(&fields).limit(LOOKED_AT);
        // What lives in no namespace has its events in one that the writer chose.
        let listed = self.wire.send(path(&events, namespace).list(&params)).await;
        let mut listed = listed.map_err(|problem| Refusal::from(problem.error))?.body;
        let more = !text(&listed, "/metadata/continue").is_empty();
        let items = listed.get_mut("items").map(Value::take);
        let mut found: Vec<Event> =
            items.as_ref().and_then(Value::as_array).into_iter().flatten().map(event).collect();
        found.sort_by(|a, b| b.last.cmp(&a.last));
        let mut budget = Budget::default();
        let truncated = more || found.len() > EVENTS;
        let events: Vec<Event> =
            found.into_iter().take(EVENTS).take_while(|event| budget.takes(event)).collect();
        budget.truncated |= truncated;
        budget.answer(&EventsAnswer { events })
    }
}

fn event(event: &Value) -> Event {
    let first_of = |at: &[&str]| {
        at.iter().map(|at| text(event, at)).find(|t| !t.is_empty()).unwrap_or_default().to_owned()
    };
    let count = ["/series/count", "/count"].iter().find_map(|at| event.pointer(at).and_then(Value::as_u64));
    Event {
        last: first_of(&[
            "/series/lastObservedTime",
            "/lastTimestamp",
            "/eventTime",
            "/metadata/creationTimestamp",
        ]),
        r#type: first_of(&["/type"]),
        reason: first_of(&["/reason"]),
        message: first_of(&["/message"]),
        count: count.unwrap_or(1),
        source: first_of(&["/reportingComponent", "/source/component"]),
    }
}
