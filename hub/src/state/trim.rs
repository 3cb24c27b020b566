//! Trimming: what is too old, or too much, leaves the beginning of the audit log.
//!
//! In: how long it is kept. Out: batches of deleted lines; an anchor, from which the rest can still be verified; a line of the
//! log that says so.
//! Never: takes the newest lines; trims without a line that names the last one that went.

use std::collections::BTreeMap;

use super::records::{AnchorRecord, AuditRecord, TrimRule, key};
use super::{Audit, CommitError, Ledger, Step, rfc3339};
use crate::store::Batch;

/// Lines of one batch: with the anchor, and the line that tells of it and its precondition, 103 of the store's 128 operations.
const LINES: usize = 100;
/// Fewer lines are not worth a line that tells of it: a log that is trimmed does not grow by that alone.
const LEAST: usize = 10;
/// So many of the newest lines stay, however old or large.
pub const NEWEST: u64 = 20;

/// How long the log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Lines that are older go, milliseconds.
    pub age_ms: u64,
    /// Above so many bytes the oldest lines go.
    pub bytes: u64,
}

impl Default for Keep {
    /// A year with a month to look at it, and what a small disk bears.
    fn default() -> Self {
        Self { age_ms: 400 * 24 * 3_600_000, bytes: 1 << 30 }
    }
}

/// Trims, batch by batch, until nothing is too old or too much.
///
/// # Errors
/// When the store cannot be read or written.
pub async fn trim(ledger: &Ledger, keep: Keep) -> Result<(), CommitError> {
    while step(ledger, keep).await? {}
    Ok(())
}

/// One batch; whether there may be more.
async fn step(ledger: &Ledger, keep: Keep) -> Result<bool, CommitError> {
    let (tail, anchor) = {
        let state = ledger.state();
        (state.audit, state.anchor.clone())
    };
    let first = anchor.as_ref().map_or(0, |anchor| anchor.sequence) + 1;
    let last = tail.sequence.saturating_sub(NEWEST);
    let now_ms = ledger.now_ms();
    let mut over = tail.bytes.saturating_sub(keep.bytes);
    let mut gone: Vec<String> = Vec::new();
    let mut next: Option<AnchorRecord> = None;
    for sequence in (first..=last).take(LINES) {
        let place = key::audit(sequence);
        // A line that is missing or cannot be read is what `hub audit verify` is there to find: nothing is trimmed over it.
        let Some(found) = ledger.store().get(&place).await? else { break };
        let Ok(line) = serde_json::from_slice::<AuditRecord>(&found.value) else { break };
        let rule = match (line.at_ms.saturating_add(keep.age_ms) < now_ms, over > 0) {
            (true, _) => TrimRule::Age,
            (false, true) => TrimRule::Size,
            (false, false) => break,
        };
        let size = found.value.len() as u64;
        over = over.saturating_sub(size);
        let bytes = next.as_ref().map_or(0, |next| next.bytes) + size;
        next = Some(AnchorRecord { sequence, hash: line.hash, at_ms: now_ms, rule, bytes });
        gone.push(place);
    }
    let Some(next) = next.filter(|_| gone.len() >= LEAST) else { return Ok(false) };
    let is_full = gone.len() == LINES;
    let batch = Batch::new()
        .require_same(key::ANCHOR, anchor.map(|anchor| anchor.version))
        .put(key::ANCHOR, serde_json::to_vec(&next).expect("an anchor always serializes"));
    let batch = gone.into_iter().fold(batch, Batch::delete);
    let audit = Audit {
        who: "hub".to_owned(),
        what: "AuditTrimmed",
        subject: format!("lines {first} to {}", next.sequence),
        why: match next.rule {
            TrimRule::Age => format!("older than {}", rfc3339(now_ms.saturating_sub(keep.age_ms))),
            TrimRule::Size => format!("the log is larger than {} bytes", keep.bytes),
        },
        details: BTreeMap::from([
            (THROUGH.to_owned(), next.sequence.to_string()),
            (HASH.to_owned(), next.hash.to_string()),
        ]),
        ..Audit::default()
    };
    ledger.commit_audited(Step::AuditTrimmed, batch, &[audit]).await?;
    Ok(is_full)
}

/// The detail that names the last line that went.
const THROUGH: &str = "through";
/// The detail that has its hash.
const HASH: &str = "hash";

/// Whether a line of the log tells of this anchor. The log vouches for it so, as it does for its lines.
pub fn tells_of(line: &AuditRecord, anchor: &AnchorRecord) -> bool {
    let detail = |name: &str| line.details.get(name).map(String::as_str);
    line.what == "AuditTrimmed"
        && detail(THROUGH) == Some(anchor.sequence.to_string().as_str())
        && detail(HASH) == Some(anchor.hash.to_string().as_str())
}
