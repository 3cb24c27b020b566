//! Health: how a cluster is doing with what it was told of an app.
//!
//! In: what it was told, its last report. Out: [`Health`]. Never: takes a report about something earlier for one about this.

use nave_placement::AppKey;
use nave_placement::assign::{Codec, Told};
use nave_placement::report::{EntryReason, EntryState, Report};
use nave_placement::rollout::Health;

/// What is so on a cluster now.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    /// Its spoke is heard.
    pub is_online: bool,
    /// Changes may start.
    pub may_start: &'a dyn Fn() -> bool,
}

/// How a cluster is doing with what it was told last of an app: by a report that is not older than that.
pub(super) fn health(
    app: &AppKey,
    told: &Told,
    report: Option<&Report>,
    Now { is_online, may_start }: Now<'_>,
    codec: &dyn Codec,
) -> Health {
    let since = told.changes.get(app).map(|change| change.since);
    let report = report.filter(|r| since.is_none_or(|since| (r.epoch, r.generation) >= since));
    let Some(said) = report.and_then(|r| r.entries.get(app)) else { return Health::NotYet };
    let version = told.assignment.entries.get(app).and_then(|entry| codec.decode(entry)).map(|e| e.version);
    if version.is_some_and(|version| said.is_well(version)) {
        return Health::Healthy;
    }
    match (said.state, said.reason) {
        _ if !is_online => Health::NotYet,
        (
            EntryState::Waiting,
            EntryReason::WindowClosed
            | EntryReason::Frozen
            | EntryReason::Paused
            | EntryReason::DependencyNotReady
            | EntryReason::GroupNotReady,
        ) => Health::Waits,
        // Together with its group it was tried, and did not come through.
        (EntryState::Failed, EntryReason::GroupReturned) => Health::Degraded,
        // What ails the version before it is told first, and no change starts yet.
        (EntryState::Degraded | EntryState::Failed, _) if said.version != version && !may_start() => {
            Health::Waits
        }
        (EntryState::Degraded | EntryState::Failed, _) => Health::Degraded,
        _ => Health::NotYet,
    }
}
