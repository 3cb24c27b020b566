//! Reading when changes may start: a cluster's time zone, a set's windows and freezes.
//!
//! In: fields. Out: their rules. Never: takes a rule that never holds, or for a time zone that no table has.

use super::fields::{Field, Fields, Reader, each};
use super::objects::{FreezeRule, WindowRule};
use super::treat::milliseconds;
use crate::schedule::{When, Zone};

/// What stands for the time zone of each cluster.
const OF_CLUSTER: &str = "cluster";

/// `spec.windows`.
pub(super) fn windows(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<WindowRule> {
    each(reader, fields, "windows", |reader, field| {
        let fields = reader.fields(field, &["cron", "duration", "timezone"], &[])?;
        let cron = match fields.get("cron") {
            Some(field) => parsed(reader, &field),
            None => {
                reader.missing(
                    fields.position,
                    &fields.path_of("cron"),
                    "say when it opens, e.g. \"0 1 * * *\"",
                );
                None
            }
        };
        let duration = match fields.get("duration") {
            Some(field) => milliseconds(reader, &field, 60_000, "1m"),
            None => {
                reader.missing(
                    fields.position,
                    &fields.path_of("duration"),
                    "say how long it is open, e.g. 4h",
                );
                None
            }
        };
        let timezone = rule_zone(reader, &fields);
        Some(WindowRule { cron: cron?, duration_ms: duration?, timezone: timezone? })
    })
}

/// `spec.freeze`.
pub(super) fn freezes(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Vec<FreezeRule> {
    each(reader, fields, "freeze", |reader, field| {
        let fields = reader.fields(field, &["from", "to", "timezone"], &[])?;
        let mut end = |name: &str, how: &str| match fields.get(name) {
            Some(field) => parsed::<When>(reader, &field),
            None => {
                reader.missing(fields.position, &fields.path_of(name), how);
                None
            }
        };
        let from = end("from", "say when it begins, e.g. 2026-11-20");
        let to = end("to", "say when it ends, e.g. 2026-12-01, which is still frozen");
        let timezone = rule_zone(reader, &fields);
        let (from, to, timezone) = (from?, to?, timezone?);
        if !from.is_before(to) {
            let message = format!("{}: it ends before it lasts at all; from comes before to", field.path);
            reader.error(fields.position, message);
            return None;
        }
        Some(FreezeRule { from, to, timezone })
    })
}

/// An IANA name.
pub(super) fn zone(reader: &mut Reader<'_>, field: &Field<'_>) -> Option<Zone> {
    parsed(reader, field)
}

/// `None` within: that of each cluster.
fn rule_zone(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Option<Zone>> {
    match fields.get("timezone") {
        None => Some(None),
        Some(field) => match field.node.text() {
            Some(OF_CLUSTER) => Some(None),
            _ => zone(reader, &field).map(Some),
        },
    }
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    reader: &mut Reader<'_>,
    field: &Field<'_>,
) -> Option<T> {
    let given = reader.text(field)?;
    match given.parse() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            reader.error(field.node.position, format!("{}: {error}", field.path));
            None
        }
    }
}
