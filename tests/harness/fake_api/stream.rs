//! Stream: lists and watches, in the forms that clients ask for.
//!
//! In: what is stored and what happened to it. Out: pages, tables, metadata alone, and events as they come.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::kinds::Kind;
use super::store::{Event, No};
use super::{Shared, lock, refusal};
use crate::faults::Asked;

/// In which form objects are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Metadata,
    Table,
}

impl Form {
    pub fn of(accept: &str) -> Self {
        // The first that is named is the one that is liked best.
        let at = |name: &str| accept.find(name);
        match (at("as=PartialObjectMetadata"), at("as=Table")) {
            (Some(_), None) => Self::Metadata,
            (_, Some(_)) => Self::Table,
            _ => Self::Whole,
        }
    }

    pub fn one(self, mut object: Value) -> Value {
        match self {
            Self::Whole => object,
            Self::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"].take(),
            }),
            Self::Table => table(vec![object], json!({})),
        }
    }

    fn list(self, kind: &Kind, items: Vec<Value>, metadata: Value) -> Value {
        let (of, version, items) = match self {
            Self::Table => return table(items, metadata),
            Self::Whole => (format!("{}List", kind.kind), kind.api_version(), items),
            Self::Metadata => {
                let items = items.into_iter().map(|item| self.one(item)).collect();
                ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned(), items)
            }
        };
        json!({"kind": of, "apiVersion": version, "metadata": metadata, "items": items})
    }
}

fn table(items: Vec<Value>, metadata: Value) -> Value {
    let row = |object: Value| {
        let about = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
        json!({"cells": [object["metadata"]["name"], object["metadata"]["creationTimestamp"]], "object": about})
    };
    let column = |name: &str, format: &str| json!({"name": name, "type": "string", "format": format, "description": name, "priority": 0});
    let rows: Vec<_> = items.into_iter().map(row).collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": [column("Name", "name"), column("Created", "")], "rows": rows,
    })
}

/// A label selector of equalities and existences, and `metadata.name=` as a field selector.
fn selected(asked: &Asked, object: &Value) -> bool {
    let labels = asked.parameter("labelSelector").unwrap_or_default();
    let fields = asked.parameter("fieldSelector").unwrap_or_default();
    let has = |term: &str| {
        let (name, wanted) =
            term.split_once('=').map_or((term, None), |(n, w)| (n, Some(w.trim_start_matches('='))));
        let is = object["metadata"]["labels"][name].as_str();
        is.is_some() && wanted.is_none_or(|wanted| is == Some(wanted))
    };
    let named = |term: &str| {
        term.strip_prefix("metadata.name=").is_some_and(|name| object["metadata"]["name"] == name)
    };
    labels.split(',').filter(|t| !t.is_empty()).all(has)
        && fields.split(',').filter(|t| !t.is_empty()).all(named)
}

/// One page; the `continue` token is the number of what was shown, at a version.
pub(super) fn list(shared: &Shared, kind: &Kind, asked: &Asked, form: Form) -> Value {
    let store = lock(&shared.store);
    let version = store.version().to_string();
    let all = store.list(kind.group, kind.plural, &asked.namespace);
    let mut items: Vec<_> =
        all.into_iter().map(|(_, o)| o).filter(|object| selected(asked, object)).collect();
    let number = |name: &str| asked.parameter(name).and_then(|n| n.parse::<usize>().ok()).unwrap_or_default();
    let (limit, begin) = (number("limit"), number("continue"));
    items.drain(..begin.min(items.len()));
    let mut metadata = json!({"resourceVersion": version});
    if limit > 0 && items.len() > limit {
        metadata["remainingItemCount"] = (items.len() - limit).into();
        metadata["continue"] = (begin + limit).to_string().into();
        items.truncate(limit);
    }
    form.list(kind, items, metadata)
}

/// Events from a version on, and with `sendInitialEvents` what there is first.
pub(super) fn watch(shared: &Arc<Shared>, kind: &'static Kind, asked: &Asked, form: Form) -> Response {
    let initial = asked.parameter("sendInitialEvents").as_deref() == Some("true");
    if initial && asked.parameter("resourceVersionMatch").as_deref() != Some("NotOlderThan") {
        let message = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        return refusal(&No {
            code: 422,
            reason: "Invalid",
            message: message.to_owned(),
            causes: Vec::new(),
            of: None,
        });
    }
    let changed = shared.changed.subscribe();
    let mut lines = VecDeque::new();
    let from = {
        let store = lock(&shared.store);
        let asked_for =
            asked.parameter("resourceVersion").and_then(|v| v.parse::<u64>().ok()).unwrap_or_default();
        let from = if initial || asked_for == 0 { store.version() } else { asked_for };
        if initial || asked_for == 0 {
            let all = store.list(kind.group, kind.plural, &asked.namespace);
            let there = all.into_iter().map(|(_, object)| object).filter(|object| selected(asked, object));
            lines.extend(there.map(|object| line("ADDED", form.one(object))));
        }
        if initial && asked.parameter("allowWatchBookmarks").as_deref() == Some("true") {
            lines.push_back(line("BOOKMARK", bookmark(kind, from, form)));
        }
        from
    };
    let watching =
        Watching { shared: shared.clone(), kind, asked: asked.clone(), form, seen: from, lines, changed };
    streamed(Body::from_stream(futures::stream::unfold(watching, async |mut watching| {
        let line = watching.next().await;
        Some((Ok::<_, std::convert::Infallible>(line), watching))
    })))
}

struct Watching {
    shared: Arc<Shared>,
    kind: &'static Kind,
    asked: Asked,
    form: Form,
    /// Everything up to this version was said.
    seen: u64,
    lines: VecDeque<Bytes>,
    changed: tokio::sync::watch::Receiver<u64>,
}

impl Watching {
    async fn next(&mut self) -> Bytes {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return line;
            }
            self.changed.borrow_and_update();
            let news: Vec<Event> = {
                let store = lock(&self.shared.store);
                store.events.iter().filter(|event| event.version > self.seen).cloned().collect()
            };
            for event in news {
                self.seen = event.version;
                self.lines.extend(self.said(event));
            }
            if self.lines.is_empty() && self.changed.changed().await.is_err() {
                // The sender lives as long as the server, and with the server goes this stream.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What an event is to somebody who sees only what is selected.
    fn said(&self, event: Event) -> Option<Bytes> {
        let Event { key, before, object, deleted, .. } = event;
        let in_place = key.group == self.kind.group
            && key.plural == self.kind.plural
            && (self.asked.namespace.is_empty() || self.asked.namespace == key.namespace);
        let was = before.is_some_and(|before| selected(&self.asked, &before));
        let is = !deleted && selected(&self.asked, &object);
        let what = match (was, is) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        in_place.then(|| line(what, self.form.one(object)))
    }
}

fn bookmark(kind: &Kind, version: u64, form: Form) -> Value {
    let metadata = json!({
        "resourceVersion": version.to_string(), "creationTimestamp": null,
        "annotations": {"k8s.io/initial-events-end": "true"},
    });
    let (of, api_version) = match form {
        Form::Metadata => ("PartialObjectMetadata".to_owned(), "meta.k8s.io/v1".to_owned()),
        Form::Whole | Form::Table => (kind.kind.to_owned(), kind.api_version()),
    };
    json!({"kind": of, "apiVersion": api_version, "metadata": metadata})
}

fn line(what: &str, object: Value) -> Bytes {
    format!("{}\n", json!({"type": what, "object": object})).into()
}

fn streamed(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
