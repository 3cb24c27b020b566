//! What each kind of catalog object says, after validation. `design.md` section 4 is the reference for every field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Dependency, Override, Pick, Replicas, Rollout, Source, Tenant, Treatment};
use crate::fleet::Taint;
use crate::overrides::Parameters;
use crate::schedule::{Cron, When, Zone};
use crate::select::{Condition, Selector, Toleration};
use crate::{CatalogName, ClusterName};

/// The specification of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Spec {
    /// Fleet-wide defaults and limits.
    Fleet(Fleet),
    /// What Git says of a cluster.
    Cluster(Cluster),
    /// A group of clusters.
    ClusterSet(ClusterSet),
    /// A deployable unit.
    App(App),
    /// A rule.
    Placement(Box<Placement>),
    /// What differs on some clusters.
    Override(Override),
    /// How a changed app moves.
    Rollout(Box<Rollout>),
    /// A tenant's catalog.
    Catalog(Tenant),
}

/// Defaults, parameters and guard of the whole fleet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fleet {
    /// What apps do that say nothing themselves.
    pub defaults: Defaults,
    /// Lowest layer of every app's parameters.
    pub parameters: Parameters,
    /// Limits of what one change may remove.
    pub guard: GuardLimits,
}

/// What apps do that say nothing themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Defaults {
    /// Name of a `Rollout`.
    pub rollout: Option<String>,
    /// What comes first.
    pub depends_on: Vec<Dependency>,
}

/// Limits of what one change may remove; a limit that is not given is the built-in one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardLimits {
    /// Of all entries of the fleet.
    pub fleet: GuardLimit,
    /// Of the clusters of one app.
    pub app: GuardLimit,
    /// Of the apps of one cluster.
    pub cluster: GuardLimit,
    /// Of the distinct objects of one app.
    pub objects: GuardLimit,
}

/// One limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardLimit {
    /// Share of the count at the window's start.
    pub max: Option<Percent>,
    /// Absolute bound.
    pub at_most: Option<u32>,
}

/// A whole percentage, 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Percent(u8);

impl Percent {
    /// `None` above 100.
    pub const fn new(value: u8) -> Option<Self> {
        if value <= 100 { Some(Self(value)) } else { None }
    }

    /// 0%.
    pub const NONE: Self = Self(0);

    /// The number before the sign.
    pub const fn value(self) -> u8 {
        self.0
    }

    /// The share of `of`, rounded up.
    pub fn ceil_of(self, of: usize) -> usize {
        (of * usize::from(self.0)).div_ceil(100)
    }

    /// The share of `of`, rounded down.
    pub fn floor_of(self, of: usize) -> usize {
        of * usize::from(self.0) / 100
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// What Git says of a cluster. Its labels are the object's labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// The set that it belongs to.
    pub set: Option<String>,
    /// What it puts before what does not tolerate it.
    pub taints: Vec<Taint>,
    /// Nothing new is placed on it.
    pub cordoned: bool,
    /// Its time zone, for windows and freezes.
    pub timezone: Option<Zone>,
    /// Highest layer of the parameters of every app on it.
    pub parameters: Parameters,
    /// Nothing leaves it without approval.
    pub protect: bool,
}

/// A named group of clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterSet {
    /// A layer of the parameters of every app on its clusters.
    pub parameters: Parameters,
    /// When changes may start on its clusters; at any time where there is none.
    pub windows: Vec<WindowRule>,
    /// When they may not.
    pub freezes: Vec<FreezeRule>,
}

/// A window, before it is known on which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowRule {
    /// When it opens.
    pub cron: Cron,
    /// How long it is open.
    pub duration_ms: u64,
    /// Whose clock it goes by; absent: each cluster's own.
    pub timezone: Option<Zone>,
}

/// A freeze, before it is known on which cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreezeRule {
    /// When it begins.
    pub from: When,
    /// When it ends; a date is its whole day.
    pub to: When,
    /// Whose clock it goes by; absent: each cluster's own.
    pub timezone: Option<Zone>,
}

/// A deployable unit.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Where its manifests come from.
    pub source: Source,
    /// A layer of its parameters.
    pub parameters: Parameters,
    /// Whether `${…}` in its manifests are filled in.
    pub substitute: bool,
    /// The namespace of namespaced objects that name none.
    pub namespace: Option<NamespaceOptions>,
    /// It leaves no cluster without approval.
    pub protect: bool,
    /// Whether objects that left the app are deleted.
    pub prune: bool,
    /// What happens to its objects when the app leaves a cluster.
    pub on_remove: OnRemove,
    /// Names that this app had before; what they own is handed over.
    pub formerly: BTreeSet<String>,
    /// Name of the `Rollout` by which it moves; absent: the fleet's.
    pub rollout: Option<String>,
    /// What comes first; absent: the fleet's default.
    pub depends_on: Option<Vec<Dependency>>,
    /// The group of apps with which it switches.
    pub group: Option<String>,
    /// How its objects are applied and watched over.
    pub treatment: Treatment,
}

/// The namespace that the spoke puts on; it knows which kinds are namespaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceOptions {
    /// Its name.
    pub name: String,
    /// Labels of the namespace, where Nave creates it.
    pub labels: BTreeMap<String, String>,
    /// Whether it is created when absent.
    pub create: bool,
    /// Whether it is put on all namespaced objects, not only on those that name none.
    pub force: bool,
}

/// What happens to an app's objects when the app leaves a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OnRemove {
    /// They are deleted.
    #[default]
    Delete,
    /// They stay, and are ours no longer.
    Orphan,
}

/// A rule: these apps, on those clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placement {
    /// Which apps of the same catalog.
    pub apps: AppSelection,
    /// Which clusters.
    pub clusters: ClusterSelection,
    /// The taints that it puts up with.
    pub tolerations: Vec<Toleration>,
    /// How it chooses among them; absent: all.
    pub pick: Option<Pick>,
    /// Replicas that are divided over those that are chosen.
    pub replicas: Option<Replicas>,
    /// Where it may place anything at all, if it is a tenant's.
    pub grants: Option<Grants>,
}

/// Where placements of a tenant may place something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grants {
    /// The tenant's catalog.
    pub catalog: CatalogName,
    /// On clusters of these sets.
    pub sets: BTreeSet<String>,
}

/// Which apps: by name, by labels, or both (all given terms must hold).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppSelection {
    /// By name.
    pub names: Option<BTreeSet<String>>,
    /// By labels.
    pub selector: Option<Selector>,
    /// Of this tenant's catalog, where several are joined; absent: the root's.
    pub within: Option<CatalogName>,
}

/// Which clusters: all given terms must hold. At least one term is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterSelection {
    /// By labels; `{}` is every cluster.
    pub selector: Option<Selector>,
    /// By labels and slow facts (`where`).
    pub condition: Option<Condition>,
    /// By set.
    pub sets: Option<BTreeSet<String>>,
    /// By name.
    pub names: Option<BTreeSet<ClusterName>>,
    /// Never these.
    pub exclude: BTreeSet<ClusterName>,
}
