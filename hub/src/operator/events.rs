//! Events for operators: the row of what happened, and what comes.
//!
//! In: a filter, from where. Out: a stream of documents, one an event, oldest first.
//! Never: keeps anything for a reader: one that is slower than the row is told how many it missed; outlives the hub's sessions.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use nave_placement::ClusterName;
use nave_placement::select::Selector;
use nave_proto::v1;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::look::Selection;
use super::service::{OperatorService, Rooms, argument};
use super::views::{EventView, SinkView};
use crate::deciding::core::json;
use crate::events::follow::{self, Next};
use crate::events::{EventRecord, Filter};

/// Events, one after another.
pub type Following = BoxStream<'static, Result<v1::Document, Status>>;

/// A reader of the row.
struct Reader {
    operator: OperatorService,
    filter: Filter,
    selector: Selector,
    since_ms: u64,
    /// The last event that was looked at.
    after: u64,
    /// Whether it goes on with what comes.
    follows: bool,
    changes: watch::Receiver<u64>,
    closing: CancellationToken,
}

impl OperatorService {
    /// How the receivers of events stand.
    pub fn sinks(&self) -> Vec<SinkView> {
        self.rooms.sinks.views(&self.rooms.ledger.state())
    }

    pub(super) fn follow(&self, request: v1::EventsRequest) -> Result<Following, Status> {
        let v1::EventsRequest { filter, since_ms, follow, after } = request;
        let asked = filter.unwrap_or_default();
        let named = |name: String| if name.is_empty() { Vec::new() } else { vec![name] };
        let filter = Filter { apps: named(asked.app), clusters: named(asked.cluster), ..Filter::default() };
        let Rooms { ledger, sessions, .. } = &*self.rooms;
        // Who asks for no number gets what is kept, and has missed nothing before it.
        let first = ledger.state().events.keys().next().copied();
        let begin = first.map_or(0, |first| first - 1);
        let reader = Reader {
            operator: self.clone(),
            filter,
            selector: asked.selector.parse().map_err(argument)?,
            since_ms,
            after: if after == 0 { begin } else { after },
            follows: follow,
            changes: ledger.changes(),
            closing: sessions.closing(),
        };
        let events = stream::unfold(reader, |mut reader| async {
            let record = reader.next().await?;
            Some((Ok(v1::Document { json: json(&EventView::of(&record)) }), reader))
        });
        Ok(events.boxed())
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Arc<EventRecord>> {
        loop {
            while let Some(next) = self.look() {
                match next {
                    Next::Event(record) => {
                        self.after = record.sequence;
                        if self.takes(&record) {
                            return Some(record);
                        }
                    }
                    Next::Missed { count, through } => {
                        self.after = through;
                        let now_ms = self.operator.rooms.ledger.now_ms();
                        return Some(Arc::new(follow::missed(count, through, now_ms)));
                    }
                }
            }
            if !self.follows {
                return None;
            }
            tokio::select! {
                () = self.closing.cancelled() => return None,
                changed = self.changes.changed() => changed.ok()?,
            }
        }
    }

    fn look(&self) -> Option<Next> {
        follow::next(&self.operator.rooms.ledger.state(), self.after)
    }

    fn takes(&self, record: &EventRecord) -> bool {
        if record.at_ms < self.since_ms
            || !self.filter.takes(&record.event, self.operator.rooms.catalogs.root())
        {
            return false;
        }
        if self.selector.0.is_empty() {
            return true;
        }
        let of = |cluster: &ClusterName| Selection {
            cluster: Some(cluster.clone()),
            selector: self.selector.clone(),
            ..Selection::default()
        };
        let Some(clusters) = record.event.clusters() else { return false };
        let is_meant =
            |cluster: &ClusterName| self.operator.look(|look| !look.chosen(&of(cluster)).is_empty());
        clusters.may_have(is_meant)
    }
}
