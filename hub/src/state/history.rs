//! History: how entries came to be what they are, and who wanted it.
//!
//! In: changes of entries, and their causes. Out: one record for each batch that tells clusters of them, in that batch; where the
//! records stand.
//! Never: keeps in memory what a record says; lets the records grow beyond what is kept.

use std::collections::BTreeMap;

use nave_placement::catalog::{CommitId, SourceAt};
use nave_placement::rollout;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use serde::{Deserialize, Serialize};

use crate::store::{Batch, MAX_BATCH_BYTES, Value};

/// Records are kept for so long: a year, and some weeks to look back at it.
const KEPT_MS: u64 = 400 * 86_400_000;
/// And no more bytes of them: a change of an app on ten thousand clusters takes about a third of one MiB.
const KEPT_BYTES: u64 = 64 << 20;
/// Old records that go with each new one. More than one, so that the records become fewer again where they were too many.
pub const TRIMMED: usize = 3;
/// Bytes of one record at most. What a cluster changes beyond that at once is counted, and not told of one by one.
pub const RECORD_BYTES: usize = MAX_BATCH_BYTES / 4;
/// Characters of what a commit says of itself.
const SUBJECT: usize = 120;

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum What {
    /// It came.
    Installed,
    /// It got another version.
    Changed,
    /// It went back to what it was before.
    Returned,
    /// It got another name.
    Renamed,
    /// Objects that are left over of it may be deleted.
    Pruned,
    /// It was told to go.
    Removed,
    /// The cluster left the fleet; what runs there stays.
    Detached,
    /// After a restore: this is what the cluster was found to hold.
    Found,
}

/// What an entry was, or became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// The recipe digest.
    pub version: Digest,
    /// The last commit that changed it.
    pub commit: CommitId,
}

/// Why an entry changed. Closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Cause {
    /// A commit of the catalog says so.
    Commit {
        /// Which.
        commit: CommitId,
    },
    /// What is granted to its catalog changed.
    Granted {
        /// The catalog.
        catalog: CatalogName,
        /// The commit of the root catalog that says so; absent: the hub's configuration does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitId>,
    },
    /// What its source names in another repository moved.
    Source {
        /// To which state.
        at: SourceAt,
    },
    /// The cluster was told for the first time.
    Joined,
    /// Labels, the set, taints or facts of the cluster changed.
    Labels,
    /// A placement chooses it: by a commit or by what is known of the cluster, that cannot be told apart any more.
    Placed,
    /// Replicas are divided otherwise.
    Replicas,
    /// The cluster stands in for another one.
    StandsIn {
        /// For which.
        cluster: ClusterName,
        /// What is wrong with that: `drained`, `silent`.
        because: String,
    },
    /// A rollout went back.
    RolledBack {
        /// Why, for people.
        reason: String,
        /// The operator who ordered it; absent: its own rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// An operator pinned it.
    Pin {
        /// The pin.
        pin: String,
        /// The commit whose version it gets.
        commit: CommitId,
        /// Who.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// It has the version that was rolled out last, until it is its turn for the newest.
    Meanwhile,
    /// An operator ordered everything off the cluster, or the cluster out of the fleet.
    Operator {
        /// Who.
        by: String,
    },
    /// A hold was approved.
    Approved {
        /// The hold.
        hold: String,
        /// Who approved it: an operator, or `trailer COMMIT`.
        by: String,
        /// What it held, for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        what: String,
        /// The commit that wanted it; of a trailer, the commit that has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        commit: Option<CommitId>,
    },
    /// The hub's store was restored from an older copy.
    Restored,
}

/// The rollout by which an entry moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Turn {
    /// Its id.
    pub rollout: String,
    /// Why there was one.
    pub cause: rollout::Cause,
    /// The commit that it is of.
    pub commit: CommitId,
    /// The wave.
    pub wave: String,
    /// Who approved the wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
}

/// Clusters on which an app changed in the same way for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// The app.
    pub app: AppKey,
    /// What happened.
    pub what: What,
    /// What it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// What it became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// The name that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formerly: Option<AppKey>,
    /// Objects that it may delete on the way.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub drops: u32,
    /// Why.
    pub cause: Cause,
    /// By which rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<Turn>,
    /// The placements that want it there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placements: Vec<String>,
    /// Where.
    pub clusters: Vec<ClusterName>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Changed {
    /// Every commit that it names.
    pub fn commits(&self) -> impl Iterator<Item = &CommitId> {
        let own = match &self.cause {
            Cause::Commit { commit } | Cause::Pin { commit, .. } => Some(commit),
            Cause::Approved { commit, .. } | Cause::Granted { commit, .. } => commit.as_ref(),
            _ => None,
        };
        let versions = self.from.iter().chain(&self.to).map(|version| &version.commit);
        own.into_iter().chain(self.turn.iter().map(|turn| &turn.commit)).chain(versions)
    }
}

/// Who wrote a commit, and what they say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// The first line.
    pub subject: String,
}

impl Author {
    /// As the commit has it, no longer than a line.
    pub fn of(info: crate::git::CommitInfo) -> Self {
        let cut = |text: String| text.chars().take(SUBJECT).collect();
        Self { name: cut(info.author), email: cut(info.email), subject: cut(info.subject) }
    }
}

/// Who wrote the commits that may be named.
pub type Authors = BTreeMap<CommitId, Author>;

/// What one batch told clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryRecord {
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// What changed.
    pub changes: Vec<Changed>,
    /// The commits that are named, as far as Git says who wrote them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub commits: Authors,
    /// Changes for which there was no room.
    #[serde(default, skip_serializing_if = "is_none_left")]
    pub left_out: usize,
}

fn is_none_left(count: &usize) -> bool {
    *count == 0
}

impl HistoryRecord {
    /// A record of single changes: those that differ in nothing but where become one.
    pub fn of(at_ms: u64, single: Vec<Changed>, authors: &Authors) -> Self {
        let mut groups: BTreeMap<String, Changed> = BTreeMap::new();
        let (mut bytes, mut left_out) = (0, 0);
        for change in single {
            let key = key_of(&change);
            let more: usize = change.clusters.iter().map(|cluster| cluster.as_str().len() + 3).sum();
            let own = if groups.contains_key(&key) { 0 } else { key.len() };
            if bytes + own + more > RECORD_BYTES {
                left_out += change.clusters.len();
                continue;
            }
            bytes += own + more;
            match groups.get_mut(&key) {
                Some(group) => group.clusters.extend(change.clusters),
                None => _ = groups.insert(key, change),
            }
        }
        let changes: Vec<Changed> = groups.into_values().collect();
        let named = changes.iter().flat_map(Changed::commits);
        let known = named.filter_map(|commit| Some((commit.clone(), authors.get(commit)?.clone())));
        // Hundreds of apps may each have a commit of their own; who wrote them Git still knows.
        let commits = known.take(COMMITS).collect();
        Self { at_ms, changes, commits, left_out }
    }
}

/// Commits of which one record says who wrote them: at most 40 KiB.
const COMMITS: usize = 100;

/// Everything but where.
fn key_of(change: &Changed) -> String {
    let bare = Changed { clusters: Vec::new(), ..change.clone() };
    serde_json::to_string(&bare).expect("a change always serializes")
}

/// How many bytes of a record a change takes at most.
pub fn size_of(change: &Changed) -> usize {
    key_of(change).len() + change.clusters.iter().map(|cluster| cluster.as_str().len() + 3).sum::<usize>()
}

/// Names a record: when, or later where the clock was set back meanwhile, and the how-manieth of that moment. It orders records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64, pub u32);

impl Place {
    /// The key of its record: fifteen digits last until the year 33658.
    pub fn key(self) -> String {
        format!("history/{:015}-{:06}", self.0, self.1)
    }

    fn from_key(rest: &str) -> Result<Self, Failure> {
        let (at_ms, number) = rest.split_once('-').ok_or("the key of history has two numbers")?;
        Ok(Self(at_ms.parse()?, number.parse()?))
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where the records stand, and how large they are.
#[derive(Clone, Debug, Default)]
pub struct Index {
    sizes: BTreeMap<Place, u32>,
    bytes: u64,
}

impl Index {
    pub(super) fn fold(&mut self, rest: &str, value: Option<&Value>) -> Result<(), Failure> {
        let place = Place::from_key(rest)?;
        let gone = self.sizes.remove(&place).unwrap_or(0);
        self.bytes -= u64::from(gone);
        if let Some(value) = value {
            let size = u32::try_from(value.len())?;
            self.bytes += u64::from(size);
            self.sizes.insert(place, size);
        }
        Ok(())
    }

    /// All records, the oldest first.
    pub fn places(&self) -> impl DoubleEndedIterator<Item = Place> {
        self.sizes.keys().copied()
    }

    /// Those of one moment.
    pub fn of_moment(&self, at_ms: u64) -> Vec<Place> {
        self.sizes.range(Place(at_ms, 0)..=Place(at_ms, u32::MAX)).map(|(place, _)| *place).collect()
    }

    /// Since when everything is told, Unix milliseconds.
    pub fn begins_ms(&self) -> Option<u64> {
        self.sizes.keys().next().map(|place| place.0)
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The oldest ones, that are kept no longer.
    fn over(&self, now_ms: u64, kept_bytes: u64) -> impl Iterator<Item = Place> {
        let mut left = self.bytes;
        self.sizes.iter().map_while(move |(place, size)| {
            let is_over = place.0.saturating_add(KEPT_MS) < now_ms || left > kept_bytes;
            left -= u64::from(*size);
            is_over.then_some(*place)
        })
    }
}

/// Puts records into the batches of one step.
pub struct Writer<'a> {
    over: std::vec::IntoIter<Place>,
    next: Place,
    now_ms: u64,
    authors: &'a Authors,
}

impl<'a> Writer<'a> {
    /// Of the records that there are.
    pub fn new(index: &Index, authors: &'a Authors, now_ms: u64) -> Self {
        // A clock that was set back does not change what came after what.
        let latest = index.sizes.keys().next_back().filter(|latest| latest.0 >= now_ms);
        let next = latest.map_or(Place(now_ms, 0), |latest| Place(latest.0, latest.1 + 1));
        let over: Vec<Place> = index.over(now_ms, KEPT_BYTES).collect();
        Self { over: over.into_iter(), next, now_ms, authors }
    }

    /// Adds what a batch tells: at most two operations, and [`TRIMMED`] for the oldest records, which go.
    pub fn put(&mut self, batch: Batch, changes: Vec<Changed>) -> Batch {
        if changes.is_empty() {
            return batch;
        }
        let record = HistoryRecord::of(self.now_ms, changes, self.authors);
        let key = self.next.key();
        self.next.1 += 1;
        let value = serde_json::to_vec(&record).expect("a record always serializes");
        // What another replica wrote in the same moment stays: this one decides again.
        let batch = batch.require_absent(key.clone()).put(key, value);
        let old = self.over.by_ref().take(TRIMMED);
        old.fold(batch, |batch, place| batch.delete(place.key()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(app: &str, cluster: &str) -> Changed {
        let version =
            |text: &[u8]| Version { version: Digest::of(text), commit: CommitId("c".repeat(40).into()) };
        Changed {
            app: app.parse().expect("a name"),
            what: What::Changed,
            from: Some(version(b"1")),
            to: Some(version(b"2")),
            formerly: None,
            drops: 0,
            cause: Cause::Labels,
            turn: None,
            placements: vec!["all".to_owned()],
            clusters: vec![cluster.parse().expect("a name")],
        }
    }

    #[test]
    fn what_changes_alike_is_one_change_and_what_has_no_room_is_counted() {
        let record =
            HistoryRecord::of(1, vec![change("a", "x"), change("b", "x"), change("a", "y")], &Authors::new());
        let told: Vec<(String, usize)> =
            record.changes.iter().map(|change| (change.app.to_string(), change.clusters.len())).collect();
        assert_eq!(told, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        let many = (0..2_000).map(|n| change(&format!("app-{n}"), "x")).collect();
        let record = HistoryRecord::of(1, many, &Authors::new());
        assert!(record.left_out > 0 && record.changes.len() + record.left_out == 2_000);
        assert!(serde_json::to_vec(&record).expect("JSON").len() < RECORD_BYTES + 100);
    }

    #[test]
    fn the_oldest_records_go_when_they_are_too_old_or_all_are_too_large_a_few_with_each_new_one() {
        let mut index = Index::default();
        for at_ms in 1..=10 {
            let place = Place(at_ms, 0).key();
            let rest = place.strip_prefix("history/").expect("its kind");
            index.fold(rest, Some(&vec![0; 100].into())).expect("it can be read");
        }
        assert_eq!((index.bytes(), index.begins_ms()), (1_000, Some(1)));
        // (now, bytes that are kept, how many go)
        let rows =
            [(10, 1_000, 0), (10, 999, 1), (10, 750, 3), (5 + KEPT_MS, 1_000, 4), (5 + KEPT_MS, 0, 10)];
        for (now_ms, kept, gone) in rows {
            assert_eq!(index.over(now_ms, kept).count(), gone, "{now_ms} {kept}");
        }
        let authors = Authors::new();
        let mut writer = Writer::new(&index, &authors, 8 + KEPT_MS);
        let sizes = [TRIMMED, TRIMMED, 1, 0].map(|gone| gone + 2);
        for expected in sizes {
            let batch = writer.put(Batch::new(), vec![change("a", "x")]);
            assert_eq!(batch.operations(), expected);
        }
    }

    #[test]
    fn two_records_of_one_moment_or_of_an_earlier_one_come_after_what_there_is() {
        let mut index = Index::default();
        index.fold("000000000000007-000004", Some(&vec![0; 1].into())).expect("it can be read");
        let authors = Authors::new();
        let rows = [
            (7, ["history/000000000000007-000005", "history/000000000000007-000006"]),
            // The clock was set back.
            (5, ["history/000000000000007-000005", "history/000000000000007-000006"]),
            (8, ["history/000000000000008-000000", "history/000000000000008-000001"]),
        ];
        for (now_ms, keys) in rows {
            let mut writer = Writer::new(&index, &authors, now_ms);
            for key in keys {
                let batch = writer.put(Batch::new(), vec![change("a", "x")]).checked().expect("small");
                assert_eq!(batch.writes().keys().collect::<Vec<_>>(), [key]);
                let record = batch.writes()[key].as_ref().expect("a record");
                let record: HistoryRecord = serde_json::from_slice(record).expect("its shape");
                assert_eq!(record.at_ms, now_ms);
            }
        }
        assert!(index.fold("7", None).is_err());
    }
}
