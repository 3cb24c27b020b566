//! Heard: what a spoke reported last, and since when its entries are as it says.
//!
//! In: reports as they come, what the cluster was told. Out: moments by the hub's clock, stored with the report.
//! Never: is a reason to store a report that says nothing new.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use nave_placement::assign::Told;
use nave_placement::report::{EntryReport, EntryState, Report};
use nave_placement::{AppKey, Digest};

/// A report, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The report.
    pub report: Arc<Report>,
    /// Since when entries are as it says.
    pub stood: BTreeMap<AppKey, Stood>,
}

/// Since when an entry is as its spoke says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stood {
    /// Since when its state and version are what they are, Unix milliseconds.
    pub since_ms: u64,
    /// The version at which it was healthy last, and when it was that first, Unix milliseconds.
    pub well: Option<(Digest, u64)>,
}

impl Deref for Heard {
    type Target = Report;
    fn deref(&self) -> &Report {
        &self.report
    }
}

impl Heard {
    /// A report that was just taken.
    pub fn of(report: Report, before: Option<&Self>, told: &Told, now_ms: u64) -> Self {
        let stood = report.entries.iter().map(|(app, said)| {
            let earlier = before.and_then(|before| Some((before.entries.get(app)?, before.stood.get(app)?)));
            let same = |(was, stood): (&EntryReport, &Stood)| {
                ((was.state, was.version) == (said.state, said.version)).then_some(stood.since_ms)
            };
            let since_ms = earlier.and_then(same).unwrap_or(now_ms);
            let mut well = earlier.and_then(|(_, stood)| stood.well);
            let change = told.changes.get(app);
            let is_news = change.is_none_or(|change| (report.epoch, report.generation) >= change.since);
            if let (EntryState::Healthy, Some(version), true) = (said.state, said.version, is_news) {
                // A version to which it came back is healthy anew.
                let told_ms = change.map_or(0, |change| change.at_ms);
                well = well.filter(|(at, ms)| *at == version && *ms >= told_ms).or(Some((version, now_ms)));
            }
            (app.clone(), Stood { since_ms, well })
        });
        let stood = stood.collect();
        Self { report: Arc::new(report), stood }
    }

    /// When an entry was healthy first at the version that was told at this moment, Unix milliseconds.
    pub fn well_ms(&self, app: &AppKey, version: Digest, told_ms: u64) -> Option<u64> {
        let (at, ms) = self.stood.get(app)?.well?;
        (at == version && ms >= told_ms).then_some(ms)
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::assign::{Change, Epoch, Generation};
    use nave_placement::report::EntryReason;

    use super::*;

    #[test]
    fn an_entry_is_well_since_its_first_healthy_report_of_the_version_that_it_was_told() {
        let app: AppKey = "web".parse().expect("a name");
        let (old, new) = (Digest::of(b"1"), Digest::of(b"2"));
        let told = |generation, at_ms| {
            let mut told = Told::nothing(Epoch(1));
            let since = (Epoch(1), Generation(generation));
            told.changes.insert(app.clone(), Change { since, at_ms, previous: None });
            told
        };
        use EntryState::{Degraded, Healthy, Progressing};
        // (now, told in, told at, of generation, state, version) -> (since, well)
        let rows = [
            ((10, 1, 5, 1, Progressing, None), (10, None)),
            ((20, 1, 5, 1, Healthy, Some(old)), (20, Some((old, 20)))),
            ((30, 1, 5, 1, Degraded, Some(old)), (30, Some((old, 20)))),
            ((40, 1, 5, 1, Healthy, Some(old)), (40, Some((old, 20)))),
            // The next version is told; what is said before it was heard is about the old one.
            ((50, 2, 45, 1, Healthy, Some(old)), (40, Some((old, 20)))),
            ((60, 2, 45, 2, Progressing, Some(old)), (60, Some((old, 20)))),
            ((70, 2, 45, 2, Healthy, Some(new)), (70, Some((new, 70)))),
            // And back.
            ((90, 3, 80, 3, Healthy, Some(old)), (90, Some((old, 90)))),
            ((91, 3, 80, 3, Healthy, Some(old)), (90, Some((old, 90)))),
        ];
        let mut heard: Option<Heard> = None;
        for ((now_ms, told_in, told_ms, generation, state, version), (since_ms, well)) in rows {
            let entry = EntryReport {
                version,
                state,
                reason: EntryReason::None,
                message: String::new(),
                objects: 1,
                healthy: 1,
                unhealthy: Vec::new(),
                corrected: 0,
                drifted: 0,
                notes: Vec::new(),
                asks: None,
                digest: Digest::default(),
            };
            let report = Report {
                epoch: Epoch(1),
                generation: Generation(generation),
                entries: BTreeMap::from([(app.clone(), entry)]),
                ..Report::default()
            };
            let next = Heard::of(report, heard.as_ref(), &told(told_in, told_ms), now_ms);
            assert_eq!(next.stood[&app], Stood { since_ms, well }, "{now_ms}");
            heard = Some(next);
        }
        let heard = heard.expect("rows");
        assert_eq!((heard.well_ms(&app, old, 80), heard.well_ms(&app, new, 80)), (Some(90), None));
    }
}
