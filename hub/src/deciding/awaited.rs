//! Awaited: whether what spokes said since the last step makes another one worth while.
//!
//! In: whom a step left under way, who has reported since. Out: whether to decide now rather than a little later.
//! Never: decides whether a rollout advances. Where it is wrong, a step comes for nothing, or as late as one comes anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nave_placement::report::EntryState;
use nave_placement::{AppKey, ClusterName};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::state::{Ledger, State};

/// What many clusters say at once (a link that comes back, reports while an app starts) is looked at together.
pub const TOGETHER: Duration = Duration::from_secs(1);
/// At least for so long words are collected.
pub const AT_LEAST: Duration = Duration::from_millis(10);

/// Apps of one rollout that clusters were told and are not known to be healthy with.
pub type Underway = BTreeMap<ClusterName, BTreeSet<AppKey>>;

/// What a step left that waits for what spokes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Awaited {
    /// Whatever is said may bring something further.
    pub anything: bool,
    /// Rollouts of which nothing comes before all that are under way are healthy, or one fails.
    pub all: Vec<Underway>,
}

/// What became of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// They bring nothing further.
    Nothing,
    /// They bring something further; others may, too.
    Something,
    /// All that were waited for have spoken.
    All,
}

/// What a report says of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// Nothing that counts yet.
    Nothing,
    /// It is healthy.
    Well,
    /// It is something that has to be looked at.
    Else,
}

impl Awaited {
    /// Whether nothing waits for a word.
    pub fn is_nothing(&self) -> bool {
        !self.anything && self.all.is_empty()
    }

    /// Waits for a word that makes a step worth while; whether it is the first, and others are to be collected. Of those who are
    /// under way it collects itself, after the first for no longer than words are: what is shown of a rollout is what the last
    /// step saw.
    ///
    /// # Errors
    /// When the ledger is gone.
    pub async fn words(
        &mut self,
        ledger: &Ledger,
        changes: &mut watch::Receiver<u64>,
    ) -> Result<bool, watch::error::RecvError> {
        changes.changed().await?;
        if self.anything {
            return Ok(true);
        }
        let until = Instant::now() + TOGETHER;
        loop {
            sleep(AT_LEAST).await;
            changes.mark_unchanged();
            let reported = ledger.take_reported();
            match self.hear(&ledger.state(), &reported) {
                Worth::Nothing => {}
                worth => return Ok(worth == Worth::Something),
            }
            match timeout_at(until, changes.changed()).await {
                Ok(changed) => changed?,
                Err(_) => return Ok(false),
            }
        }
    }

    /// Takes in that these clusters reported; whether a step is worth while.
    pub fn hear(&mut self, state: &State, reported: &BTreeSet<ClusterName>) -> Worth {
        let is_news = self.anything && !reported.is_empty();
        let mut worth = if is_news { Worth::Something } else { Worth::Nothing };
        for underway in &mut self.all {
            for cluster in reported {
                let Some(apps) = underway.get_mut(cluster) else { continue };
                apps.retain(|app| {
                    let said = said(state, cluster, app);
                    if said == Said::Else {
                        worth = worth.max(Worth::Something);
                    }
                    said == Said::Nothing
                });
                if apps.is_empty() {
                    underway.remove(cluster);
                }
            }
            if underway.is_empty() {
                worth = Worth::All;
            }
        }
        worth
    }
}

fn said(state: &State, cluster: &ClusterName, app: &AppKey) -> Said {
    let Some((told, report)) = state.told.get(cluster).zip(state.reports.get(cluster)) else {
        return Said::Nothing;
    };
    let since = told.changes.get(app).map(|change| change.since);
    if since.is_some_and(|since| (report.epoch, report.generation) < since) {
        return Said::Nothing;
    }
    match report.entries.get(app).map(|entry| entry.state) {
        Some(EntryState::Healthy) => Said::Well,
        Some(EntryState::Progressing | EntryState::Pending) => Said::Nothing,
        Some(EntryState::Waiting | EntryState::Degraded | EntryState::Failed) | None => Said::Else,
    }
}
