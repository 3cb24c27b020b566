//! The audit log: append-only, each line chained to the one before by its hash.

use std::collections::BTreeMap;

use nave_placement::{Digest, Digester};

use super::records::AuditRecord;
use crate::store::Value;

/// What to write into the log; sequence and hashes are put on when it is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// Who.
    pub who: String,
    /// From where.
    pub from: String,
    /// What was done, CamelCase.
    pub what: &'static str,
    /// To what.
    pub subject: String,
    /// Why.
    pub why: String,
    /// More.
    pub details: BTreeMap<String, String>,
}

impl Audit {
    /// The name of who it is, without what they are.
    pub fn name(&self) -> &str {
        self.who.strip_prefix("operator ").unwrap_or(&self.who)
    }
}

/// A time of Unix milliseconds as RFC 3339 writes it; empty beyond the calendar.
pub fn rfc3339(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

/// The end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Sequence of the last line; 0 before the first.
    pub sequence: u64,
    /// Hash of the last line; zeros before the first.
    pub hash: Digest,
    /// Bytes of all lines that are kept.
    pub bytes: u64,
}

impl Tail {
    pub(super) fn fold(
        &mut self,
        value: Option<&Value>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if let Some(bytes) = value {
            let record: AuditRecord = serde_json::from_slice(bytes)?;
            if record.sequence > self.sequence {
                let bytes = self.bytes.saturating_add(bytes.len() as u64);
                *self = Self { sequence: record.sequence, hash: record.hash, bytes };
            }
        }
        Ok(())
    }

    /// So many bytes of it are no longer kept.
    pub(super) fn trimmed(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// The next line.
    pub(super) fn next(&self, audit: &Audit, at_ms: u64) -> AuditRecord {
        let mut record = AuditRecord {
            sequence: self.sequence + 1,
            at_ms,
            who: audit.who.clone(),
            from: audit.from.clone(),
            what: audit.what.to_owned(),
            subject: audit.subject.clone(),
            why: audit.why.clone(),
            details: audit.details.clone(),
            previous: self.hash,
            hash: Digest::default(),
        };
        record.hash = hash(&record);
        record
    }
}

/// The hash of a line: over all its fields but the hash itself.
fn hash(record: &AuditRecord) -> Digest {
    let mut digester = Digester::new("nave.audit.v1")
        .field(&record.sequence.to_be_bytes())
        .field(&record.at_ms.to_be_bytes())
        .field(record.who.as_bytes())
        .field(record.from.as_bytes())
        .field(record.what.as_bytes())
        .field(record.subject.as_bytes())
        .field(record.why.as_bytes());
    for (name, value) in &record.details {
        digester.add(name.as_bytes());
        digester.add(value.as_bytes());
    }
    digester.field(&record.previous.0).finish()
}

/// Checks a log from its first line on, or from one behind `start`: the sequence of the first line that is missing, changed or out of order.
///
/// # Errors
/// That sequence.
pub fn verify_chain(lines: &[AuditRecord], start: Tail) -> Result<Tail, u64> {
    lines.iter().try_fold(start, |tail, line| {
        let good =
            line.sequence == tail.sequence + 1 && line.previous == tail.hash && line.hash == hash(line);
        if good {
            Ok(Tail { sequence: line.sequence, hash: line.hash, ..tail })
        } else {
            Err(tail.sequence + 1)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<AuditRecord> {
        let mut tail = Tail::default();
        let line = |i: u64| {
            let audit = Audit {
                who: "operator ann".into(),
                what: "Joined",
                subject: format!("c{i}"),
                ..Audit::default()
            };
            let record = tail.next(&audit, i);
            tail = Tail { sequence: record.sequence, hash: record.hash, ..tail };
            record
        };
        (0..5).map(line).collect()
    }

    #[test]
    fn a_line_that_is_changed_missing_or_moved_is_found() {
        assert_eq!(verify_chain(&log(), Tail::default()).map(|t| t.sequence), Ok(5));
        let mut changed = log();
        changed[2].subject = "other".into();
        assert_eq!(verify_chain(&changed, Tail::default()), Err(3));
        let mut missing = log();
        missing.remove(1);
        assert_eq!(verify_chain(&missing, Tail::default()), Err(2));
        let mut moved = log();
        moved.swap(3, 4);
        assert_eq!(verify_chain(&moved, Tail::default()), Err(4));
    }
}
