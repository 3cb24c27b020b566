//! Holds: what is stopped, by which limit, in words for people.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::EntryKey;
use crate::catalog::CommitId;
use crate::{AppKey, CatalogName, ClusterName, Digest, Digester};

/// Which limit a hold is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum HoldCause {
    /// The commit holds not a single catalog document.
    EmptyCatalog {
        /// The commit.
        commit: CommitId,
        /// The tenant whose catalog it is, if not the root's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<CatalogName>,
    },
    /// The commit does not descend from the one that was taken last.
    NotDescendant {
        /// The commit.
        commit: CommitId,
        /// The one that was taken last.
        taken: CommitId,
        /// The tenant whose catalog it is, if not the root's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<CatalogName>,
    },
    /// The app is protected, and would leave clusters.
    ProtectedApp {
        /// The app.
        app: AppKey,
    },
    /// The cluster is protected, and would lose apps.
    ProtectedCluster {
        /// The cluster.
        cluster: ClusterName,
    },
    /// The app would leave too many of its clusters.
    App {
        /// The app.
        app: AppKey,
    },
    /// The cluster would lose too many of its apps.
    Cluster {
        /// The cluster.
        cluster: ClusterName,
    },
    /// Too many clusters would lose their last entry.
    LastEntries,
    /// The fleet would lose too many entries.
    Fleet,
    /// The app would drop too many of its objects.
    Objects {
        /// The app.
        app: AppKey,
    },
    /// Clusters have objects of the app that no version of it that is remembered had: none goes without approval.
    Leftovers {
        /// The app.
        app: AppKey,
        /// Which objects: the digest of their fingerprints.
        of: Digest,
    },
}

/// A change that is stopped until it is approved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// Digest of cause and content: the same hold keeps its id, another content is another hold.
    pub id: String,
    /// Which limit it broke.
    pub cause: HoldCause,
    /// How many would go, the last hour's included.
    pub losing: usize,
    /// Of how many.
    pub of: usize,
    /// How many may go without approval.
    pub limit: usize,
    /// The entries that wait; empty for holds of objects and of whole revisions.
    pub entries: BTreeSet<EntryKey>,
}

impl Hold {
    /// A hold, named by what it says.
    pub fn new(
        cause: HoldCause,
        losing: usize,
        of: usize,
        limit: usize,
        entries: BTreeSet<EntryKey>,
    ) -> Self {
        let json = serde_json::to_vec(&cause).expect("a cause always serializes");
        let mut digester = Digester::new("nave.hold.v1").field(&json);
        for (app, cluster) in &entries {
            digester.add(app.to_string().as_bytes());
            digester.add(cluster.as_str().as_bytes());
        }
        if entries.is_empty() {
            digester.add(&losing.to_be_bytes());
        }
        let id = format!("h-{}", digester.finish().short());
        Self { id, cause, losing, of, limit, entries }
    }

    /// How many would go now, where others went within the last hour, which count too.
    fn now(&self) -> Option<usize> {
        let now = match &self.cause {
            HoldCause::App { .. } | HoldCause::Cluster { .. } | HoldCause::Fleet => self.entries.len(),
            HoldCause::LastEntries => {
                self.entries.iter().map(|(_, cluster)| cluster).collect::<BTreeSet<_>>().len()
            }
            _ => return None,
        };
        (0 < now && now < self.losing).then_some(now)
    }

    /// Whether it is this entry as a whole that waits.
    pub fn is_of_entry(&self, key: &EntryKey) -> bool {
        !matches!(self.cause, HoldCause::Leftovers { .. }) && self.entries.contains(key)
    }
}

/// Whose a commit is, if not the root catalog's.
fn whose(tenant: Option<&CatalogName>) -> String {
    tenant.map(|tenant| format!(" of catalog {tenant}")).unwrap_or_default()
}

/// What joins the number of those that would go now to that with those that went.
const EARLIER: &str = "with those of the last hour";

/// So many of them, now.
fn counted(now: usize, one: &str, many: &str) -> String {
    format!("{now} {} now", if now == 1 { one } else { many })
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { losing, of, limit, .. } = self;
        match &self.cause {
            HoldCause::EmptyCatalog { commit, tenant } => {
                write!(
                    f,
                    "commit {}{} holds no catalog document; it is not taken without approval",
                    commit.short(),
                    whose(tenant.as_ref())
                )
            }
            HoldCause::NotDescendant { commit, taken, tenant } => write!(
                f,
                "commit {}{} does not descend from {}, which was taken last; it is not taken without approval",
                commit.short(),
                whose(tenant.as_ref()),
                taken.short()
            ),
            HoldCause::ProtectedApp { app } => write!(
                f,
                "app {app} is protected and would leave {losing} of its {of} clusters; none may go without approval"
            ),
            HoldCause::ProtectedCluster { cluster } => write!(
                f,
                "cluster {cluster} is protected and would lose {losing} of its {of} apps; none may go without approval"
            ),
            HoldCause::App { app } => {
                write!(f, "app {app} would leave ")?;
                match self.now() {
                    Some(now) => {
                        write!(f, "{}, {EARLIER} {losing} of {of}", counted(now, "cluster", "clusters"))?
                    }
                    None => write!(f, "{losing} of its {of} clusters")?,
                }
                write!(f, "; {limit} may go without approval")
            }
            HoldCause::Cluster { cluster } => {
                write!(f, "cluster {cluster} would lose ")?;
                match self.now() {
                    Some(now) => write!(f, "{}, {EARLIER} {losing} of {of}", counted(now, "app", "apps"))?,
                    None => write!(f, "{losing} of its {of} apps")?,
                }
                write!(f, "; {limit} may go without approval")
            }
            HoldCause::LastEntries => {
                match self.now() {
                    Some(now) => {
                        let now = counted(now, "cluster", "clusters");
                        write!(f, "{now}, {EARLIER} {losing}, would lose their last app")?;
                    }
                    None => write!(f, "{losing} clusters would lose their last app")?,
                }
                write!(f, "; {limit} may without approval")
            }
            HoldCause::Fleet => {
                write!(f, "the fleet would lose ")?;
                match self.now() {
                    Some(now) => {
                        write!(f, "{}, {EARLIER} {losing} of {of}", counted(now, "entry", "entries"))?
                    }
                    None => write!(f, "{losing} of its {of} entries")?,
                }
                write!(f, "; {limit} may go without approval")
            }
            HoldCause::Objects { app } => {
                write!(
                    f,
                    "app {app} would drop {losing} of its {of} objects; {limit} may go without approval"
                )
            }
            HoldCause::Leftovers { app, .. } => {
                let clusters: BTreeSet<&str> = self.entries.iter().map(|(_, c)| c.as_str()).collect();
                let names: Vec<&str> = clusters.iter().take(3).copied().collect();
                let more = match clusters.len() - names.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                write!(
                    f,
                    "app {app} would delete {losing} objects on {}{more}, which is more than is known to be left over; \
                     none may go without approval",
                    names.join(", ")
                )
            }
        }
    }
}
