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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::state::{Tail, verify_chain};
    use crate::store::memory::Memory;

    const HOUR: u64 = 3_600_000;

    /// A ledger whose time is the test's.
    async fn ledger(memory: &Arc<Memory>, now_ms: &Arc<AtomicU64>) -> Ledger {
        let now_ms = now_ms.clone();
        let clock: nave_proto::tls::Clock = Arc::new(move || now_ms.load(Ordering::Relaxed));
        Ledger::load(memory.clone(), clock).await.expect("it can be read")
    }

    async fn write(ledger: &Ledger, lines: usize) {
        for number in 0..lines {
            let audit = Audit { who: "hub".into(), subject: format!("{number}"), ..Audit::default() };
            let committed = ledger.commit_audited(Step::MemberLabelled, Batch::new(), &[audit]).await;
            committed.expect("it is taken");
        }
    }

    /// The lines that are kept, verified from where the log says it begins.
    async fn verified(ledger: &Ledger) -> (u64, Vec<AuditRecord>) {
        let kept = ledger.store().list("audit/").await.expect("it can be read").records;
        let lines: Vec<AuditRecord> =
            kept.iter().map(|(_, record)| serde_json::from_slice(&record.value).expect("a line")).collect();
        let bytes: u64 = kept.iter().map(|(_, record)| record.value.len() as u64).sum();
        let (anchor, tail) = {
            let state = ledger.state();
            (state.anchor.as_ref().map(|anchor| (*anchor.record).clone()), state.audit)
        };
        let start = anchor.as_ref().map_or_else(Tail::default, |anchor| Tail {
            sequence: anchor.sequence,
            hash: anchor.hash,
            ..Tail::default()
        });
        let end = verify_chain(&lines, start).expect("all as they were written");
        assert_eq!((end.sequence, bytes), (tail.sequence, tail.bytes));
        let told = anchor.as_ref().is_none_or(|anchor| lines.iter().any(|line| tells_of(line, anchor)));
        assert!(told, "{anchor:?}");
        (start.sequence, lines)
    }

    #[tokio::test]
    async fn old_lines_go_in_batches_and_the_newest_stay_however_old() {
        let (memory, now_ms) = (Arc::new(Memory::new()), Arc::new(AtomicU64::new(HOUR)));
        let keep = Keep { age_ms: HOUR, ..Keep::default() };
        let before = ledger(&memory, &now_ms).await;
        write(&before, 250).await;
        trim(&before, keep).await.expect("it is so");
        assert_eq!(verified(&before).await.0, 0);
        now_ms.store(2 * HOUR + 1, Ordering::Relaxed);
        write(&before, 5).await;
        trim(&before, keep).await.expect("it is so");
        // Two whole batches; then there are 257 lines, of which 20 stay, and those of this hour.
        let (anchor, lines) = verified(&before).await;
        assert_eq!((anchor, lines.len()), (237, 21), "{lines:#?}");
        // A hub that is started again knows what is kept, and has nothing to do: that it trimmed is no reason to trim.
        let after = ledger(&memory, &now_ms).await;
        now_ms.store(9 * HOUR, Ordering::Relaxed);
        trim(&after, keep).await.expect("it is so");
        assert_eq!(verified(&after).await, (anchor, lines));
    }

    #[tokio::test]
    async fn a_log_that_is_too_large_loses_its_oldest_lines() {
        let (memory, now_ms) = (Arc::new(Memory::new()), Arc::new(AtomicU64::new(HOUR)));
        let ledger = ledger(&memory, &now_ms).await;
        write(&ledger, 100).await;
        let all = ledger.state().audit.bytes;
        let keep = Keep { bytes: all / 2, ..Keep::default() };
        trim(&ledger, keep).await.expect("it is so");
        let (anchor, _) = verified(&ledger).await;
        let rule = ledger.state().anchor.as_ref().map(|anchor| anchor.rule);
        assert!((49..=52).contains(&anchor) && rule == Some(TrimRule::Size), "{anchor} {rule:?}");
        write(&ledger, 60).await;
        trim(&ledger, keep).await.expect("it is so");
        assert!(verified(&ledger).await.0 > 100);
    }
}
