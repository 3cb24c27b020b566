//! Read: what the judges look at in an object, and the verdicts that they give.
//!
//! In: JSON of any shape. Out: texts, numbers, conditions; what is absent or of another type reads as absent.
//! Never: fails on an object that is not what its kind says.

use jiff::Timestamp;
use serde_json::Value;

use crate::target::{Health, HealthState};

/// One of an object's conditions.
#[derive(Clone, Copy)]
pub(super) struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
    pub observed: Option<i64>,
    pub since: &'a str,
    /// Cluster API: how bad it is that it is not true.
    pub severity: &'a str,
}

impl<'a> Condition<'a> {
    pub fn read(found: &'a Value) -> Self {
        Self {
            kind: text(found, "/type"),
            status: text(found, "/status"),
            reason: text(found, "/reason"),
            message: text(found, "/message"),
            observed: found.get("observedGeneration").and_then(Value::as_i64),
            since: text(found, "/lastTransitionTime"),
            severity: text(found, "/severity"),
        }
    }

    pub fn is_true(&self) -> bool {
        self.status == "True"
    }

    /// In its own words.
    pub fn verdict(&self, state: HealthState) -> Health {
        let message = match self.message {
            "" => format!("{} is {}", self.kind, or(self.status, "not set")),
            message => message.to_owned(),
        };
        Health { state, reason: or(self.reason, self.kind), message }
    }

    /// For how long it has been so, in seconds.
    pub fn age(&self, now: Timestamp) -> Option<i64> {
        age(self.since, now)
    }
}

/// Seconds since a time as the API server writes it.
pub(super) fn age(time: &str, now: Timestamp) -> Option<i64> {
    let time: Timestamp = time.parse().ok()?;
    Some(now.as_second() - time.as_second())
}

/// A condition of the object. Cluster API keeps those of its newer contract at a place of their own for a while.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    let places = ["/status/conditions", "/status/v1beta2/conditions"];
    places.iter().find_map(|place| condition_at(object, place, kind))
}

pub(super) fn condition_at<'a>(object: &'a Value, place: &str, kind: &str) -> Option<Condition<'a>> {
    let conditions = object.pointer(place)?.as_array()?;
    conditions.iter().find(|c| text(c, "/type") == kind).map(Condition::read)
}

pub(super) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn number(object: &Value, pointer: &str, absent: i64) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(absent)
}

pub(super) fn flag(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or_default()
}

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

pub(super) fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
}

pub(super) fn progressing(reason: &str, message: impl Into<String>) -> Health {
    Health { state: HealthState::Progressing, reason: reason.to_owned(), message: message.into() }
}

pub(super) fn degraded(reason: &str, message: impl Into<String>) -> Health {
    Health { state: HealthState::Degraded, reason: reason.to_owned(), message: message.into() }
}

pub(super) fn suspended(message: impl Into<String>) -> Health {
    Health { state: HealthState::Suspended, reason: "Suspended".into(), message: message.into() }
}
