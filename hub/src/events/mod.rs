//! Events: what happened to the fleet that somebody may want to be told of.
//!
//! In: what the state, the sessions and the picture of deciding show. Out: a bounded row of events in the store, each told once;
//! deliveries to receivers outside.
//! Never: stands in the way of deciding or of sessions: whoever is slow or down only delays itself.

pub mod conditions;
pub mod follow;
pub mod seen;
pub mod sinks;
pub mod tally;
pub mod tell;
pub mod text;
pub mod watcher;

use std::collections::BTreeSet;

use nave_placement::catalog::CommitId;
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};
use serde::{Deserialize, Serialize};

/// Events that are kept. Mostly 300 bytes each, a third of a megabyte; in a storm up to 8 KiB, with 100 names of 63 letters.
pub const KEPT: usize = 1000;
/// Clusters that an event names; the others are counted.
pub const NAMED: usize = 100;

/// Some clusters: how many, and the names of the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clusters {
    /// How many.
    pub total: usize,
    /// The first of them, at most [`NAMED`].
    pub names: Vec<ClusterName>,
}

impl Clusters {
    /// Of these.
    pub fn of<'a>(clusters: impl IntoIterator<Item = &'a ClusterName>) -> Self {
        let mut these = Self::default();
        for cluster in clusters {
            these.total += 1;
            if these.names.len() < NAMED {
                these.names.push(cluster.clone());
            }
        }
        these
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// Whether one of them is meant. Of those that are not named it is not known, so it may be.
    pub fn may_have(&self, is_meant: impl Fn(&ClusterName) -> bool) -> bool {
        self.total > self.names.len() || self.names.iter().any(is_meant)
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Event {
    /// A commit is in effect, as far as it is valid.
    Taken {
        /// The commit.
        commit: CommitId,
        /// The tenant's catalog that it is of; absent: the root's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalog: Option<CatalogName>,
    },
    /// A version of an app is healthy wherever it shall be; without an app: so is everything that a commit changed.
    Converged {
        /// The app.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<AppKey>,
        /// Its version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<Digest>,
        /// The commit.
        commit: CommitId,
        /// Without an app, the tenant's catalog that the commit is of; absent: the root's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalog: Option<CatalogName>,
        /// How many clusters have it, and of a commit the first of them. Those that are offline or maintained are not counted.
        clusters: Clusters,
    },
    /// An app fails on clusters, for one cause; without clusters: the catalog has a mistake.
    Failed {
        /// The app.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<AppKey>,
        /// The commit that it is about.
        commit: CommitId,
        /// The catalog that the commit is of, where that is not the app's, or without an app not the root's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        catalog: Option<CatalogName>,
        /// Where.
        #[serde(default, skip_serializing_if = "Clusters::is_empty")]
        clusters: Clusters,
        /// CamelCase.
        reason: String,
        /// The worst object.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        object: Option<String>,
        /// For people.
        detail: String,
    },
    /// A rollout is being taken back.
    RollingBack(OfRollout),
    /// A rollout was taken back; its version is blocked.
    RolledBack(OfRollout),
    /// More clusters of a rollout failed than may: it waits for an operator.
    RolloutHalted(OfRollout),
    /// A wave of a rollout waits for its approval.
    AwaitsApproval(OfRollout),
    /// A change waits for approval, since it would lose more than may be lost.
    Held(OfHold),
    /// It was approved, or is no longer wanted.
    HoldEnded(OfHold),
    /// Somebody changed fields of ours.
    Drifted {
        /// The app.
        app: AppKey,
        /// Where.
        clusters: Clusters,
        /// It was put back. Otherwise it stays, since the app says so.
        corrected: bool,
    },
    /// Nothing of an app differs any more.
    DriftEnded {
        /// The app.
        app: AppKey,
    },
    /// Clusters have not been heard for a while.
    ClusterOffline {
        /// Which.
        clusters: Clusters,
    },
    /// They are heard again.
    ClusterBack {
        /// Which.
        clusters: Clusters,
    },
    /// Connected spokes did not renew their certificates in time; without clusters: the fleet's CA ends soon.
    CertificateNearExpiry {
        /// Whose.
        #[serde(default, skip_serializing_if = "Clusters::is_empty")]
        clusters: Clusters,
        /// The first of them is valid until then, Unix milliseconds.
        until_ms: u64,
    },
    /// So many events are no longer kept, and were not told to this receiver.
    Missed {
        /// How many.
        count: u64,
    },
}

/// What a rollout's event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfRollout {
    /// The app.
    pub app: AppKey,
    /// All apps that move by it, where it is of a group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<AppKey>,
    /// `APP@SHORTVERSION.N`.
    pub rollout: String,
    /// The commit of its version.
    pub commit: CommitId,
    /// The catalog of the commit, where that is not the app's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogName>,
    /// The wave that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// What a hold's event says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OfHold {
    /// Its id.
    pub hold: String,
    /// The commit that it is about.
    pub commit: CommitId,
    /// The app, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<AppKey>,
    /// Without an app, the tenant's catalog that it is about; absent: the root's, or several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogName>,
    /// Where.
    #[serde(default, skip_serializing_if = "Clusters::is_empty")]
    pub clusters: Clusters,
    /// For people.
    pub detail: String,
}

/// The kinds of events, by their names in the configuration.
pub const KINDS: [&str; 14] = [
    "Taken",
    "Converged",
    "Failed",
    "RollingBack",
    "RolledBack",
    "RolloutHalted",
    "AwaitsApproval",
    "Held",
    "HoldEnded",
    "Drifted",
    "DriftEnded",
    "ClusterOffline",
    "ClusterBack",
    "CertificateNearExpiry",
];

impl Event {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "Taken",
            Self::Converged { .. } => "Converged",
            Self::Failed { .. } => "Failed",
            Self::RollingBack(_) => "RollingBack",
            Self::RolledBack(_) => "RolledBack",
            Self::RolloutHalted(_) => "RolloutHalted",
            Self::AwaitsApproval(_) => "AwaitsApproval",
            Self::Held(_) => "Held",
            Self::HoldEnded(_) => "HoldEnded",
            Self::Drifted { .. } => "Drifted",
            Self::DriftEnded { .. } => "DriftEnded",
            Self::ClusterOffline { .. } => "ClusterOffline",
            Self::ClusterBack { .. } => "ClusterBack",
            Self::CertificateNearExpiry { .. } => "CertificateNearExpiry",
            Self::Missed { .. } => "Missed",
        }
    }

    /// The app that it is about, if it is about one.
    pub fn app(&self) -> Option<&AppKey> {
        match self {
            Self::Converged { app, .. } | Self::Failed { app, .. } => app.as_ref(),
            Self::RollingBack(of)
            | Self::RolledBack(of)
            | Self::RolloutHalted(of)
            | Self::AwaitsApproval(of) => Some(&of.app),
            Self::Held(of) | Self::HoldEnded(of) => of.app.as_ref(),
            Self::Drifted { app, .. } | Self::DriftEnded { app } => Some(app),
            _ => None,
        }
    }

    /// The apps that it is about: those of a group with the one under whose name they move.
    pub fn apps(&self) -> impl Iterator<Item = &AppKey> {
        let group = match self {
            Self::RollingBack(of)
            | Self::RolledBack(of)
            | Self::RolloutHalted(of)
            | Self::AwaitsApproval(of) => of.group.as_slice(),
            _ => &[],
        };
        self.app().into_iter().chain(group)
    }

    /// The catalog whose commit it is about, or else whose app, if it is about one; `root` is the root catalog's name.
    pub fn catalog<'a>(&'a self, root: &'a CatalogName) -> Option<&'a CatalogName> {
        let said = match self {
            Self::Taken { catalog, .. }
            | Self::Converged { catalog, .. }
            | Self::Failed { catalog, .. }
            | Self::Held(OfHold { catalog, .. })
            | Self::HoldEnded(OfHold { catalog, .. })
            | Self::RollingBack(OfRollout { catalog, .. })
            | Self::RolledBack(OfRollout { catalog, .. })
            | Self::RolloutHalted(OfRollout { catalog, .. })
            | Self::AwaitsApproval(OfRollout { catalog, .. }) => catalog.as_ref(),
            _ => None,
        };
        let of_app = self.app().map(|app| &app.catalog);
        said.or(of_app).or_else(|| self.commit().map(|_| root))
    }

    /// The clusters that it names.
    pub fn clusters(&self) -> Option<&Clusters> {
        match self {
            Self::Failed { clusters, .. }
            | Self::Drifted { clusters, .. }
            | Self::ClusterOffline { clusters }
            | Self::ClusterBack { clusters }
            | Self::CertificateNearExpiry { clusters, .. } => Some(clusters),
            Self::Converged { clusters, .. } => Some(clusters).filter(|clusters| !clusters.names.is_empty()),
            Self::Held(of) | Self::HoldEnded(of) => Some(&of.clusters),
            _ => None,
        }
    }

    /// The commit that it is about.
    pub fn commit(&self) -> Option<&CommitId> {
        match self {
            Self::Taken { commit, .. } | Self::Converged { commit, .. } | Self::Failed { commit, .. } => {
                Some(commit)
            }
            Self::RollingBack(of)
            | Self::RolledBack(of)
            | Self::RolloutHalted(of)
            | Self::AwaitsApproval(of) => Some(&of.commit),
            Self::Held(of) | Self::HoldEnded(of) => Some(&of.commit),
            _ => None,
        }
    }
}

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventRecord {
    /// Counts from 1.
    pub sequence: u64,
    /// When it was noticed, Unix milliseconds.
    pub at_ms: u64,
    /// Names it, also where a restored store counts the same again: receivers know by it what they have.
    pub id: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl EventRecord {
    /// The next of a row.
    pub fn new(sequence: u64, at_ms: u64, event: Event) -> Self {
        let json = serde_json::to_vec(&event).expect("an event always serializes");
        let named = [&sequence.to_be_bytes()[..], &at_ms.to_be_bytes(), &json].concat();
        let id = format!("e-{}", &Digest::of(&named).to_string()[..16]);
        Self { sequence, at_ms, id, event }
    }
}

/// Which events are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Kinds; empty: all.
    pub kinds: BTreeSet<String>,
    /// Apps, as [`matches`] reads them; empty: all, and what is about no app.
    pub apps: Vec<String>,
    /// Clusters, as [`matches`] reads them; empty: all, and what names no cluster.
    pub clusters: Vec<String>,
    /// Catalogs, as [`matches`] reads them; empty: all, and what is about none.
    pub catalogs: Vec<String>,
}

impl Filter {
    /// Whether an event is meant; `root` is the root catalog's name.
    pub fn takes(&self, event: &Event, root: &CatalogName) -> bool {
        let named = |patterns: &[String], name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        let of_app = || event.apps().any(|app| named(&self.apps, &app.to_string()));
        let on = |cluster: &ClusterName| named(&self.clusters, cluster.as_str());
        (self.kinds.is_empty() || self.kinds.contains(event.kind()))
            && (self.apps.is_empty() || of_app())
            && (self.catalogs.is_empty()
                || event.app().is_some_and(|app| named(&self.catalogs, app.catalog.as_str()))
                || self.takes_commit(event, root))
            && (self.clusters.is_empty() || event.clusters().is_some_and(|clusters| clusters.may_have(on)))
    }

    /// Whether the commit that an event is about is of a catalog that is meant.
    pub fn takes_commit(&self, event: &Event, root: &CatalogName) -> bool {
        let is_meant = |catalog: &CatalogName| self.catalogs.iter().any(|p| matches(p, catalog.as_str()));
        event.catalog(root).is_some_and(is_meant)
    }
}

/// Whether a name is meant: the same, or it begins with what stands before a `*`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str) -> ClusterName {
        name.parse().expect("a name")
    }

    #[test]
    fn an_event_is_the_same_after_it_was_stored() {
        let commit = CommitId("c".into());
        let web: AppKey = "web".parse().expect("a name");
        let clusters = Clusters::of([&cluster("fra-1")]);
        let rollout = OfRollout {
            group: Vec::new(),
            app: web.clone(),
            rollout: "web@1.1".into(),
            commit: commit.clone(),
            catalog: None,
            wave: Some("rest".into()),
            detail: String::new(),
        };
        let events = [
            Event::Taken { commit: commit.clone(), catalog: None },
            Event::Converged {
                app: None,
                version: None,
                commit,
                catalog: Some("team-a".parse().expect("a name")),
                clusters: Clusters { total: 3, names: Vec::new() },
            },
            Event::AwaitsApproval(rollout),
            Event::ClusterOffline { clusters },
            Event::CertificateNearExpiry { clusters: Clusters::default(), until_ms: 7 },
            Event::Missed { count: 3 },
        ];
        for (sequence, event) in (1..).zip(events) {
            let record = EventRecord::new(sequence, 5, event);
            let json = serde_json::to_string(&record).expect("it is so");
            assert!(json.contains(&format!("\"type\":\"{}\"", record.event.kind())), "{json}");
            assert_eq!(serde_json::from_str::<EventRecord>(&json).expect("it is so"), record);
        }
    }

    #[test]
    fn a_filter_takes_what_it_names() {
        let event = |names: &[&str], total| {
            let names: Vec<ClusterName> = names.iter().map(|name| cluster(name)).collect();
            Event::Drifted {
                app: "web".parse().expect("a name"),
                clusters: Clusters { total, names },
                corrected: false,
            }
        };
        let texts = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let filter = |kinds: &[&str], apps: &[&str], clusters: &[&str]| Filter {
            kinds: texts(kinds).into_iter().collect(),
            apps: texts(apps),
            clusters: texts(clusters),
            catalogs: Vec::new(),
        };
        let root: CatalogName = "main".parse().expect("a name");
        let rows = [
            (filter(&[], &[], &[]), true),
            (filter(&["Drifted"], &["web"], &["fra-1"]), true),
            (filter(&["Failed"], &[], &[]), false),
            (filter(&[], &["w*"], &["fra-*"]), true),
            (filter(&[], &["api"], &[]), false),
            (filter(&[], &[], &["ams-*"]), false),
        ];
        for (filter, expected) in rows {
            assert_eq!(filter.takes(&event(&["fra-1"], 1), &root), expected, "{filter:?}");
        }
        let converged = |total, names: &[&str]| Event::Converged {
            app: None,
            version: None,
            commit: CommitId("c".into()),
            catalog: None,
            clusters: Clusters { total, names: names.iter().map(|name| cluster(name)).collect() },
        };
        // Of one that names none nothing is known; such were told once.
        for (event, expected) in
            [(converged(1, &["fra-1"]), true), (converged(1, &["ams-1"]), false), (converged(2, &[]), false)]
        {
            assert_eq!(filter(&[], &[], &["fra-*"]).takes(&event, &root), expected, "{event:?}");
        }
        // Who is only counted may be meant.
        assert!(filter(&[], &[], &["ams-*"]).takes(&event(&["fra-1"], 2), &root));
        let taken = |catalog: Option<&str>| Event::Taken {
            commit: CommitId("c".into()),
            catalog: catalog.map(|name| name.parse().expect("a name")),
        };
        for filter in [filter(&[], &["web"], &[]), filter(&[], &[], &["*"])] {
            assert!(!filter.takes(&taken(None), &root), "{filter:?}");
        }
        let of_app = Event::DriftEnded { app: "team-a/web".parse().expect("a name") };
        let offline = Event::ClusterOffline { clusters: Clusters::of([&cluster("fra-1")]) };
        let rows = [
            (&["main"][..], [true, false, false, false]),
            (&["team-*"], [false, true, true, false]),
            (&["*"], [true, true, true, false]),
            (&[], [true, true, true, true]),
        ];
        for (catalogs, expected) in rows {
            let filter = Filter { catalogs: texts(catalogs), ..Filter::default() };
            let events = [&taken(None), &taken(Some("team-a")), &of_app, &offline];
            assert_eq!(events.map(|event| filter.takes(event, &root)), expected, "{catalogs:?}");
        }
    }
}
