//! History: who changed what and why, and what clusters were told at a moment.
//!
//! In: records of history, read when somebody asks; what clusters are told now. Out: views.
//! Never: says of a time before the records more than that it is not known.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use nave_placement::guard::{BY_TRAILER, TRAILER};
use nave_placement::{AppKey, ClusterName};
use nave_proto::v1;
use tonic::Status;

use super::service::{Answer, OperatorService, argument, document};
use super::views::{HistoryLine, HistoryView, ThenRow, ThenView};
use crate::deciding::run::chain;
use crate::state::history::{Authors, Cause, Changed, HistoryRecord, Place, Turn, Version, What};
use crate::state::{Ledger, rfc3339};

/// Lines of an answer, unless another number is asked for.
const LINES: usize = 50;
/// And at most.
const MOST_LINES: usize = 10_000;
/// Records that are read at once: over a network their round trips add up otherwise.
const AT_ONCE: usize = 32;

/// Reads records in this order. One that is trimmed meanwhile is no more.
pub(super) fn records(
    ledger: &Ledger,
    places: Vec<Place>,
) -> impl futures::Stream<Item = Result<Option<HistoryRecord>, Status>> + '_ {
    let read = move |place: Place| async move {
        let record = ledger.store().get(&place.key()).await;
        let record = record.map_err(|error| Status::unavailable(chain(&error)))?;
        let read = |bytes: &[u8]| {
            serde_json::from_slice(bytes).map_err(|error| {
                Status::internal(format!("the record {} of history cannot be read: {error}", place.key()))
            })
        };
        record.map(|record| read(&record.value)).transpose()
    };
    futures::stream::iter(places).map(read).buffered(AT_ONCE)
}

impl OperatorService {
    pub(super) async fn history_of(&self, asked: v1::HistoryRequest) -> Answer {
        let app = (!asked.app.is_empty()).then(|| asked.app.parse::<AppKey>());
        let app = app.transpose().map_err(argument)?;
        let cluster = (!asked.cluster.is_empty()).then(|| asked.cluster.parse::<ClusterName>());
        let cluster = cluster.transpose().map_err(argument)?;
        let limit = if asked.limit == 0 { LINES } else { (asked.limit as usize).min(MOST_LINES) };
        match asked.at_ms {
            0 => document(&self.changes(app.as_ref(), cluster.as_ref(), limit).await?),
            at_ms => document(&self.then(app.as_ref(), cluster.as_ref(), at_ms).await?),
        }
    }

    /// The newest changes.
    pub(super) async fn changes(
        &self,
        app: Option<&AppKey>,
        cluster: Option<&ClusterName>,
        limit: usize,
    ) -> Result<HistoryView, Status> {
        let (places, begins_ms) = {
            let state = self.rooms.ledger.state();
            (state.history.places().rev().collect::<Vec<_>>(), state.history.begins_ms())
        };
        let mut view = HistoryView { begins_ms, ..HistoryView::default() };
        let mut records = std::pin::pin!(records(&self.rooms.ledger, places));
        while let Some(record) = records.next().await {
            let Some(record) = record? else { continue };
            view.left_out += record.left_out;
            for line in lines(record, app, cluster) {
                if view.lines.len() == limit {
                    view.more = true;
                    return Ok(view);
                }
                view.lines.push(line);
            }
        }
        Ok(view)
    }

    /// What was told at a moment.
    async fn then(
        &self,
        app: Option<&AppKey>,
        cluster: Option<&ClusterName>,
        at_ms: u64,
    ) -> Result<ThenView, Status> {
        // The second that is not over yet is now.
        if at_ms > self.rooms.ledger.now_ms() + 1_000 {
            return Err(argument(format!("{} lies ahead", rfc3339(at_ms))));
        }
        let (places, now) = {
            let state = self.rooms.ledger.state();
            let told = state.told.iter().flat_map(|(cluster, told)| {
                let entry = |(app, entry): (&AppKey, &nave_placement::assign::EncodedEntry)| {
                    let entry = nave_proto::decode_entry(&entry.bytes).ok()?;
                    let version = Version { version: entry.version, commit: entry.commit };
                    let since_ms = told.changes.get(app).map(|change| change.at_ms);
                    Some(((app.clone(), cluster.clone()), (version, since_ms)))
                };
                told.assignment.entries.iter().filter_map(entry).collect::<Vec<_>>()
            });
            (state.history.places().collect::<Vec<_>>(), told.collect::<BTreeMap<_, _>>())
        };
        let Some(begins_ms) = places.first().map(|place| place.0) else {
            return Err(Status::failed_precondition(
                "no change is recorded yet: what was told before is not known",
            ));
        };
        if at_ms < begins_ms {
            return Err(Status::failed_precondition(format!(
                "history reaches back to {}; what was told before is not known",
                rfc3339(begins_ms)
            )));
        }
        let mut past = Past::default();
        let mut records = std::pin::pin!(records(&self.rooms.ledger, places));
        while let Some(record) = records.next().await {
            past.take(record?.unwrap_or_default(), at_ms);
        }
        let (entries, left_out) = past.entries(now, at_ms);
        let is_meant = |row: &ThenRow| {
            app.is_none_or(|app| *app == row.app) && cluster.is_none_or(|cluster| *cluster == row.cluster)
        };
        let entries = entries.into_iter().filter(is_meant).collect();
        Ok(ThenView { at_ms, begins_ms, entries, left_out })
    }
}

/// The lines of a record that are meant, as the newest of it comes first.
pub(super) fn lines(
    record: HistoryRecord,
    app: Option<&AppKey>,
    cluster: Option<&ClusterName>,
) -> Vec<HistoryLine> {
    let HistoryRecord { at_ms, changes, commits, .. } = record;
    let meant = changes.into_iter().filter_map(|mut change| {
        let names = [Some(&change.app), change.formerly.as_ref()];
        if app.is_some_and(|app| !names.contains(&Some(app))) {
            return None;
        }
        if let Some(cluster) = cluster {
            change.clusters.retain(|of| of == cluster);
        }
        (!change.clusters.is_empty()).then_some(change)
    });
    let line = |change: Changed| {
        let named: Authors = change
            .commits()
            .filter_map(|commit| Some((commit.clone(), commits.get(commit)?.clone())))
            .collect();
        let (who, why) = said(&change.cause, change.turn.as_ref(), &named);
        HistoryLine { at_ms, change, who, why, commits: named }
    };
    meant.map(line).collect()
}

/// Who did it and why, for people.
pub(super) fn said(cause: &Cause, turn: Option<&Turn>, authors: &Authors) -> (String, String) {
    let author = |commit| authors.get(commit).map(|author| format!("{} <{}>", author.name, author.email));
    let of_commit = |commit: &nave_placement::catalog::CommitId| {
        let subject = authors.get(commit).map(|author| format!(": {}", author.subject)).unwrap_or_default();
        format!("commit {}{subject}", commit.short())
    };
    let because = |reason: &str| if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let hub = || "hub".to_owned();
    let (who, why) = match cause {
        Cause::Commit { commit } => {
            (author(commit).unwrap_or_else(|| format!("commit {}", commit.short())), of_commit(commit))
        }
        Cause::Granted { catalog, commit } => {
            let by = commit.as_ref().map_or_else(|| "the hub's configuration".to_owned(), of_commit);
            let who = commit.as_ref().and_then(author).unwrap_or_else(hub);
            (who, format!("what is granted to catalog {catalog} changed, by {by}"))
        }
        Cause::Source { at } => (hub(), format!("its source moved to {}", at.short())),
        Cause::Joined => (hub(), "the cluster joined".to_owned()),
        Cause::Labels => (hub(), "labels, set, taints or facts of the cluster changed".to_owned()),
        Cause::Placed => (hub(), "a placement chooses the cluster".to_owned()),
        Cause::Replicas => (hub(), "replicas are divided otherwise".to_owned()),
        Cause::StandsIn { cluster, because } => {
            (hub(), format!("it stands in for cluster {cluster}, which is {because}"))
        }
        Cause::RolledBack { reason, by } => {
            let who = by.as_ref().map_or_else(hub, |by| format!("operator {by}"));
            (who, format!("the rollout went back{}", because(reason)))
        }
        Cause::Pin { pin, commit, by, reason } => {
            (format!("operator {by}"), format!("pin {pin} to {}{}", of_commit(commit), because(reason)))
        }
        Cause::Meanwhile => {
            (hub(), "it has the version that was rolled out last until its turn for the newest".to_owned())
        }
        Cause::Operator { by } => {
            (format!("operator {by}"), "the operator ordered the cluster out".to_owned())
        }
        Cause::Approved { by, what, commit, .. } if by.starts_with(BY_TRAILER) => {
            let commit = commit.as_ref();
            let who = commit.and_then(author).unwrap_or_else(|| by.clone());
            let of = commit.map_or_else(|| by.replacen(BY_TRAILER, "commit ", 1), of_commit);
            (who, format!("{of}, allowed by its trailer {TRAILER}{}", because(what)))
        }
        Cause::Approved { hold, by, what, commit } => {
            let who = format!("operator {by}");
            let wanted = commit.as_ref().map(|commit| format!("; wanted by {}", of_commit(commit)));
            (who, format!("hold {hold} is approved{}{}", because(what), wanted.unwrap_or_default()))
        }
        Cause::Restored => (hub(), "after a restore, this is what the cluster was found to hold".to_owned()),
    };
    let Some(turn) = turn else { return (who, why) };
    let Turn { rollout, wave, approved_by, .. } = turn;
    let approved = approved_by.as_ref().map(|by| format!(", approved by {by}")).unwrap_or_default();
    (who, format!("{why}; rollout {rollout}, wave {wave}{approved}"))
}

type Entries = BTreeMap<(AppKey, ClusterName), (Version, Option<u64>)>;

/// What is known of a moment.
#[derive(Debug, Default)]
struct Past {
    /// Of each entry that some record names: what it was then.
    known: BTreeMap<(AppKey, ClusterName), Option<ThenRow>>,
    /// Changes that no record names.
    left_out: usize,
}

impl Past {
    /// Takes the next record; the oldest comes first.
    fn take(&mut self, record: HistoryRecord, at_ms: u64) {
        let HistoryRecord { at_ms: when, changes, commits, left_out } = record;
        self.left_out += left_out;
        for change in changes {
            let (who, why) = said(&change.cause, change.turn.as_ref(), &commits);
            for cluster in &change.clusters {
                let row = |version: &Version, app: &AppKey| ThenRow {
                    app: app.clone(),
                    cluster: cluster.clone(),
                    version: version.clone(),
                    since_ms: None,
                    cause: None,
                    turn: None,
                    who: String::new(),
                    why: String::new(),
                };
                let key = |app: &AppKey| (app.clone(), cluster.clone());
                if when > at_ms {
                    // Whatever was first changed later was, until then, what it was before that.
                    let before = change.formerly.as_ref().unwrap_or(&change.app);
                    if change.formerly.is_some() {
                        self.known.entry(key(&change.app)).or_insert(None);
                    }
                    let was = || change.from.as_ref().map(|version| row(version, before));
                    self.known.entry(key(before)).or_insert_with(was);
                    continue;
                }
                if let Some(formerly) = &change.formerly {
                    self.known.insert(key(formerly), None);
                }
                let mut earlier = None;
                if change.what == What::Pruned {
                    earlier = self.known.get(&key(&change.app)).cloned().flatten();
                }
                let now = change.to.as_ref().map(|version| ThenRow {
                    since_ms: Some(when),
                    cause: Some(change.cause.clone()),
                    turn: change.turn.clone(),
                    who: who.clone(),
                    why: why.clone(),
                    ..row(version, &change.app)
                });
                self.known.insert(key(&change.app), earlier.or(now));
            }
        }
    }

    /// All that there was, with what no record names: it is as it was before all of them. And how much may be wrong.
    fn entries(mut self, now: Entries, at_ms: u64) -> (Vec<ThenRow>, usize) {
        for ((app, cluster), (version, since_ms)) in now {
            // What came since and is not told of had no room.
            let since_ms = since_ms.filter(|since| *since <= at_ms);
            let row = || ThenRow {
                app: app.clone(),
                cluster: cluster.clone(),
                version,
                since_ms,
                cause: None,
                turn: None,
                who: String::new(),
                why: String::new(),
            };
            self.known.entry((app.clone(), cluster.clone())).or_insert_with(|| Some(row()));
        }
        (self.known.into_values().flatten().collect(), self.left_out)
    }
}

#[cfg(test)]
mod tests {
    use nave_placement::Digest;
    use nave_placement::catalog::CommitId;

    use super::*;

    fn version(text: &str) -> Version {
        Version { version: Digest::of(text.as_bytes()), commit: CommitId(text.into()) }
    }

    fn change(what: What, app: &str, from: &str, to: &str) -> Changed {
        let some = |text: &str| (!text.is_empty()).then(|| version(text));
        Changed {
            app: app.parse().expect("a name"),
            what,
            from: some(from),
            to: some(to),
            formerly: None,
            drops: 0,
            cause: Cause::Labels,
            turn: None,
            placements: Vec::new(),
            clusters: vec!["x".parse().expect("a name")],
        }
    }

    #[test]
    fn what_was_is_what_the_last_record_before_says_or_the_first_one_after() {
        let renamed = Changed {
            formerly: Some("old".parse().expect("a name")),
            ..change(What::Renamed, "new", "o1", "n1")
        };
        let history = [
            (10, change(What::Installed, "a", "", "a1")),
            (20, change(What::Changed, "a", "a1", "a2")),
            (30, change(What::Changed, "b", "b0", "b1")),
            (40, change(What::Removed, "a", "a2", "")),
            (50, renamed),
            (60, change(What::Pruned, "b", "b1", "b1")),
        ];
        let now = || {
            let entry = |app: &str, at: &str| {
                ((app.parse().expect("a name"), "x".parse().expect("a name")), (version(at), Some(5)))
            };
            Entries::from([entry("b", "b1"), entry("new", "n1"), entry("still", "s0")])
        };
        // (at, what was told: app, commit, since)
        type Told<'a> = (&'a str, &'a str, Option<u64>);
        let rows: [(u64, &[Told<'_>]); 6] = [
            (10, &[("a", "a1", Some(10)), ("b", "b0", None), ("old", "o1", None), ("still", "s0", Some(5))]),
            (25, &[("a", "a2", Some(20)), ("b", "b0", None), ("old", "o1", None), ("still", "s0", Some(5))]),
            (
                30,
                &[
                    ("a", "a2", Some(20)),
                    ("b", "b1", Some(30)),
                    ("old", "o1", None),
                    ("still", "s0", Some(5)),
                ],
            ),
            (40, &[("b", "b1", Some(30)), ("old", "o1", None), ("still", "s0", Some(5))]),
            (50, &[("b", "b1", Some(30)), ("new", "n1", Some(50)), ("still", "s0", Some(5))]),
            (99, &[("b", "b1", Some(30)), ("new", "n1", Some(50)), ("still", "s0", Some(5))]),
        ];
        for (at_ms, expected) in rows {
            let mut past = Past::default();
            for (when, change) in &history {
                past.take(HistoryRecord::of(*when, vec![change.clone()], &Authors::new()), at_ms);
            }
            let (entries, left_out) = past.entries(now(), at_ms);
            let told: Vec<(String, String, Option<u64>)> = entries
                .into_iter()
                .map(|row| (row.app.to_string(), row.version.commit.0.to_string(), row.since_ms))
                .collect();
            let told: Vec<Told<'_>> = told.iter().map(|(app, commit, ms)| (&**app, &**commit, *ms)).collect();
            assert_eq!(told, expected, "{at_ms}");
            assert_eq!(left_out, 0);
        }
    }

    #[test]
    fn the_reason_names_who_it_was() {
        let commit = CommitId("abcdef0123456789".into());
        let author = crate::state::history::Author {
            name: "Ann".into(),
            email: "ann@example.com".into(),
            subject: "Raise it".into(),
        };
        let authors = Authors::from([(commit.clone(), author)]);
        let by = |text: &str| text.to_owned();
        let turn = Turn {
            rollout: "web@1.1".into(),
            cause: nave_placement::rollout::Cause::Version,
            commit: commit.clone(),
            wave: "rest".into(),
            approved_by: Some("bob".into()),
        };
        let rows = [
            (
                Cause::Commit { commit: commit.clone() },
                Some(&turn),
                "Ann <ann@example.com>",
                "Raise it; rollout web@1.1, wave rest, approved by bob",
            ),
            (
                Cause::Pin { pin: by("p-1"), commit: commit.clone(), by: by("eve"), reason: by("incident") },
                None,
                "operator eve",
                "Raise it: incident",
            ),
            (
                Cause::Approved {
                    hold: by("h-1"),
                    by: by("eve"),
                    what: by("3 of 4"),
                    commit: Some(commit.clone()),
                },
                None,
                "operator eve",
                "Raise it",
            ),
            (
                Cause::Approved {
                    hold: by("h-1"),
                    by: by("trailer cccccccc"),
                    what: String::new(),
                    commit: Some(commit.clone()),
                },
                None,
                "Ann <ann@example.com>",
                "Raise it, allowed by its trailer Nave-Allow-Removal",
            ),
            (
                Cause::Approved {
                    hold: by("h-1"),
                    by: by("trailer 12345678"),
                    what: String::new(),
                    commit: None,
                },
                None,
                "trailer 12345678",
                "commit 12345678, allowed by its trailer Nave-Allow-Removal",
            ),
            (
                Cause::Granted { catalog: "team-a".parse().expect("a name"), commit: Some(commit) },
                None,
                "Ann <ann@example.com>",
                "Raise it",
            ),
            (
                Cause::Granted { catalog: "team-a".parse().expect("a name"), commit: None },
                None,
                "hub",
                "what is granted to catalog team-a changed, by the hub's configuration",
            ),
            (Cause::RolledBack { reason: by("2 failed"), by: None }, None, "hub", "went back: 2 failed"),
        ];
        for (cause, turn, who, why) in rows {
            let told = said(&cause, turn, &authors);
            assert!(told.0 == who && told.1.ends_with(why), "{told:?}");
        }
    }
}
