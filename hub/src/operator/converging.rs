//! Converging: how long clusters took to be healthy at a commit, and which are not at what they were told.
//!
//! In: a [`Look`]: what was told when, what was reported since when. Out: numbers, and clusters that are behind.
//! Never: takes a report about an earlier version for one about this.

use std::collections::BTreeMap;

use nave_placement::catalog::CommitId;
use nave_placement::report::{EntryReason, EntryState};
use nave_placement::{AppKey, ClusterName};

use super::look::{Look, Selection};
use super::service::OperatorService;
use super::views::{BehindView, ConvergeView, EntryView};

impl Look<'_> {
    /// How long the clusters of a selection took, from when the hub took a commit until all that it made of them was healthy
    /// first.
    fn converging(&self, selection: &Selection, commit: &CommitId, taken_ms: u64) -> ConvergeView {
        let mut took = Vec::new();
        let mut of = 0;
        for cluster in self.selected(selection) {
            let told = self.state.told(cluster);
            let heard = self.state.reports.get(cluster);
            let is_about = |app: &&AppKey| selection.app.as_ref().is_none_or(|about| about == *app);
            let mut healthy_ms: Option<Option<u64>> = None;
            for (app, entry) in told.assignment.entries.iter().filter(|(app, _)| is_about(app)) {
                let Ok(entry) = nave_proto::decode_entry(&entry.bytes) else { continue };
                if entry.commit != *commit {
                    continue;
                }
                let told_ms = told.changes.get(app).map_or(0, |change| change.at_ms);
                let well_ms = heard.and_then(|heard| heard.well_ms(app, entry.version, told_ms));
                healthy_ms = Some(match healthy_ms {
                    None => well_ms,
                    Some(others) => others.zip(well_ms).map(|(others, this)| others.max(this)),
                });
            }
            of += usize::from(healthy_ms.is_some());
            took.extend(healthy_ms.flatten().map(|at_ms| at_ms.saturating_sub(taken_ms)));
        }
        took.sort_unstable();
        ConvergeView {
            taken_ms,
            p50_ms: percentile(&took, 50),
            p99_ms: percentile(&took, 99),
            clusters: took.len(),
            of,
        }
    }

    /// What of a cluster is not as it was told, or could not be told because it was away, for longer than this.
    pub(super) fn behind(&self, cluster: &ClusterName, behind_ms: u64) -> Option<BehindView> {
        let mut late: Vec<(u64, AppKey, String)> = Vec::new();
        for entry in self.assigned(cluster) {
            let since_ms = self.unwell_since(cluster, &entry);
            late.extend(since_ms.map(|since_ms| (since_ms, entry.app.clone(), why(&entry))));
        }
        for (app, course) in &self.state.rollouts {
            let Some(done) = course.completed.as_ref().filter(|done| done.apart.contains(cluster)) else {
                continue;
            };
            if late.iter().all(|(_, other, _)| other != app) {
                let why = format!(
                    "app {app} waits since its turn came, when the cluster was offline; commit {} is everywhere else",
                    done.commit.short()
                );
                late.push((done.at_ms, app.clone(), why));
            }
        }
        late.retain(|(since_ms, _, _)| since_ms.saturating_add(behind_ms) < self.now_ms);
        late.sort();
        let (since_ms, _, why) = late.first()?.clone();
        Some(BehindView { since_ms, apps: late.into_iter().map(|(_, app, _)| app).collect(), why })
    }

    /// Since when an entry is not healthy at what it was told, if it is not; Unix milliseconds.
    fn unwell_since(&self, cluster: &ClusterName, entry: &EntryView) -> Option<u64> {
        let told = self.state.told(cluster);
        let change = told.changes.get(&entry.app)?;
        let heard = self.state.reports.get(cluster).map(|heard| &*heard.record);
        let current = heard.filter(|heard| (heard.epoch, heard.generation) >= change.since);
        let said = current.and_then(|heard| heard.entries.get(&entry.app));
        let is_well = said.is_some_and(|said| {
            // What only compares differs for as long as nobody applies it.
            (said.state == EntryState::Healthy && said.version == entry.version)
                || said.reason == EntryReason::Differs
        });
        if is_well {
            return None;
        }
        let was_well =
            heard.zip(entry.version).and_then(|(heard, at)| heard.well_ms(&entry.app, at, change.at_ms));
        let stood = current.and_then(|heard| heard.stood.get(&entry.app)).filter(|_| was_well.is_some());
        Some(stood.map_or(change.at_ms, |stood| stood.since_ms.max(change.at_ms)))
    }
}

/// How an entry stands, in a sentence.
fn why(entry: &EntryView) -> String {
    let reason = match entry.reason {
        EntryReason::None => String::new(),
        reason => format!(" ({reason:?})"),
    };
    let object = entry.unhealthy.first().map(|object| format!("{}: {}", object.key, object.message));
    let message = object.or_else(|| Some(entry.message.clone()).filter(|text| !text.is_empty()));
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("app {} is {:?}{reason}{message}", entry.app, entry.phase)
}

/// The smallest that so many of a hundred do not exceed; values are in order.
fn percentile(sorted: &[u64], of_hundred: usize) -> Option<u64> {
    let rank = (sorted.len() * of_hundred).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

impl OperatorService {
    /// How long clusters took to a commit, if it is known when the hub took it: with the first that has it, where it was not
    /// taken by itself.
    pub(super) async fn converge_view(&self, commit: &str, selection: &Selection) -> Option<ConvergeView> {
        let taken: BTreeMap<u64, CommitId> = {
            let state = self.rooms.ledger.state();
            let heads = state.heads.values().flat_map(|head| head.with_this());
            heads.map(|taken| (taken.at_ms, taken.commit)).collect()
        };
        let named = taken.iter().rev().find(|(_, taken)| taken.0.starts_with(commit));
        let (taken_ms, commit) = match named {
            Some((at_ms, commit)) => (*at_ms, commit.clone()),
            None => {
                let (name, wanted) = self.rooms.catalogs.resolve(commit).await?;
                let (_, repository) = self.rooms.catalogs.of(&name).ok()?;
                let own = self.rooms.ledger.state().heads.get(&name)?.with_this();
                let mut first = None;
                for taken in own.into_iter().rev() {
                    if !repository.is_descendant(&wanted, &taken.commit).await.unwrap_or(false) {
                        break;
                    }
                    first = Some((taken.at_ms, taken.commit));
                }
                first?
            }
        };
        Some(self.look(|look| look.converging(selection, &commit, taken_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn half_take_no_longer_than_the_median_and_all_but_one_of_a_hundred_than_p99() {
        let hundred: Vec<u64> = (1..=100).collect();
        let rows: [(&[u64], Option<u64>, Option<u64>); 5] = [
            (&[], None, None),
            (&[7], Some(7), Some(7)),
            (&[1, 9], Some(1), Some(9)),
            (&[1, 5, 9], Some(5), Some(9)),
            (&hundred, Some(50), Some(99)),
        ];
        for (sorted, p50, p99) in rows {
            assert_eq!((percentile(sorted, 50), percentile(sorted, 99)), (p50, p99), "{sorted:?}");
        }
    }
}
