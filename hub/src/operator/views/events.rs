//! What operators get of events, and of who is told of them.

use serde::{Deserialize, Serialize};

use crate::events::EventRecord;

/// An event, also as webhooks get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventView {
    /// The record.
    #[serde(flatten)]
    pub record: EventRecord,
    /// What it is about, for people.
    pub subject: String,
    /// Why, or what of it, for people.
    pub message: String,
}

impl EventView {
    /// Of a record.
    pub fn of(record: &EventRecord) -> Self {
        Self { record: record.clone(), subject: record.event.subject(), message: record.event.why() }
    }
}

/// A row of `hub events sinks`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkView {
    /// Its name.
    pub name: String,
    /// `webhook`, `slack`, `commitStatus`.
    pub kind: String,
    /// The host that it sends to.
    pub to: String,
    /// How many events it has not looked at yet, or of which that is not written down yet.
    pub behind: u64,
    /// How many were sent.
    pub sent: u64,
    /// How many were refused for good.
    pub refused: u64,
    /// How many were no longer kept when they could be sent.
    pub missed: u64,
    /// When one was taken last, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success_ms: Option<u64>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<SinkTrouble>,
}

/// What is wrong with a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SinkTrouble {
    /// When it was noticed last, Unix milliseconds.
    pub at_ms: u64,
    /// How often that event was sent.
    pub attempts: u64,
    /// Why it was not taken.
    pub message: String,
}
