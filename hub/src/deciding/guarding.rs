//! Guarding: what binds a revision, and what of a judgement counts while something is paused.
//!
//! In: the head's record, holds, a catalog; a judgement. Out: limits and protections; what may go now.
//! Never: lets a revision free itself of what was said before it.

use std::collections::BTreeSet;

use nave_placement::CatalogName;
use nave_placement::catalog::{Catalog, CommitId};
use nave_placement::guard::{self, Approval, EntryKey, Guarded, Question, Verdict};

use crate::state::State;

/// What binds a revision: limits of the one before; what that, and those before it, protected; what waits because it was
/// protected; and what it protects itself.
pub fn binding(state: &State, catalog: &Catalog) -> Guarded {
    let said = |name: &CatalogName, commit: &CommitId| match state.heads.get(name) {
        Some(head) if head.commit == *commit => head.guarded.clone(),
        Some(head) => head.next.clone(),
        None => Guarded::default(),
    };
    let mut guarded = said(&catalog.name, &catalog.commit);
    for (name, joined) in &catalog.tenants {
        guarded.protect(&said(name, &joined.commit));
    }
    state.holds.values().for_each(|hold| guarded.add(&hold.hold.cause));
    guarded.protect(&Guarded::of(catalog));
    guarded
}

/// What bound and will bind every catalog, as far as the store says it.
pub fn remembered(state: &State) -> Guarded {
    let mut guarded = Guarded::default();
    for head in state.heads.values() {
        guarded.protect(&head.guarded);
        guarded.protect(&head.next);
    }
    state.holds.values().for_each(|hold| guarded.add(&hold.hold.cause));
    guarded
}

/// What may go now: what is paused uses nothing up of that. What was held, approved or announced of it stays so.
pub(super) fn without_paused(question: &Question<'_>, all: Verdict, stays: &BTreeSet<EntryKey>) -> Verdict {
    let mut losses = question.losses.clone();
    losses.entries.retain(|key, _| !stays.contains(key));
    let approvals: Vec<Approval> = question.approvals.iter().chain(&all.used).cloned().collect();
    let now =
        guard::judge(&Question { losses: &losses, approvals: &approvals, allowances: &[], ..*question });
    let mut holds = now.holds;
    for hold in all.holds {
        let is_paused = !hold.entries.is_empty() && hold.entries.iter().all(|key| stays.contains(key));
        if is_paused && holds.iter().all(|other| other.id != hold.id) {
            holds.push(hold);
        }
    }
    Verdict { entries: now.entries, holds, ..all }
}
