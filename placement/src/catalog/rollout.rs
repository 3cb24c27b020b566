//! Rollout: how a changed app moves through its clusters.
//!
//! In: nothing; these are the words. Out: [`Rollout`], which the catalog reads and `rollout` acts on.

use serde::{Deserialize, Serialize};

use super::{
    App, Catalog, ClusterSelection, Count, Dependency, Effective, Kind, ObjectId, Percent, Spec, dependency,
};
use crate::select::{Look, Selector};

/// How a changed app moves through its clusters.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// One after the other. What is in none of them makes an implied last one.
    pub waves: Vec<Wave>,
    /// When it stops, and what happens then.
    pub failure: Failure,
    /// What happens to it when the app's version changes again.
    pub on_new_revision: OnNewRevision,
}

/// Clusters that change together, as far as its budget allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wave {
    /// Its name, unique in its rollout.
    pub name: String,
    /// Which clusters; absent: any.
    pub clusters: Option<ClusterSelection>,
    /// So many of them at most.
    pub count: Option<u32>,
    /// So many that with all waves before it this share of the rollout's clusters has its turn, rounded up.
    pub share: Option<Percent>,
    /// What its clusters are spread over evenly, as far as that is possible, where it does not take all.
    pub spread: Vec<Look>,
    /// How many of its clusters may be unavailable at once, rounded down, but at least one; absent: all.
    pub max_unavailable: Option<Count>,
    /// For how long all of it has to be healthy before the next begins.
    pub soak_ms: u64,
    /// How fast its clusters have their turns; absent: as fast as its budget allows.
    pub pace: Option<Pace>,
    /// What must be so before it begins.
    pub before: Before,
}

/// So many more of a wave's clusters each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pace {
    /// How many: of the wave's members, rounded up.
    pub step: Count,
    /// After how long, milliseconds.
    pub every_ms: u64,
}

/// What must be so before a wave begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Before {
    /// An operator approved it.
    pub approval: bool,
    /// The version is healthy on all clusters of the app with these labels.
    pub healthy_on: Option<Selector>,
    /// For so long without a break, milliseconds.
    pub for_ms: u64,
}

/// When a rollout stops, and what happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How many clusters of a wave may fail; a share is of its members, rounded down.
    pub max: Count,
    /// How long after it was sent the change a cluster that is not healthy counts as failed; absent: the app's `timeout`.
    pub deadline_ms: Option<u64>,
    /// What happens when more failed.
    pub then: Then,
}

/// What happens when more clusters failed than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Then {
    /// It stops, and waits for an operator.
    Pause,
    /// The clusters that changed return to what they had, and the version is blocked.
    #[default]
    Rollback,
}

/// What happens to a rollout when the app's version changes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnNewRevision {
    /// The new version takes its place, from the first wave on.
    #[default]
    Supersede,
    /// It goes on to its end first.
    Finish,
}

impl Default for Rollout {
    /// What holds without a `Rollout`: one cluster, a quarter, all; each wave healthy before the next.
    fn default() -> Self {
        let wave = |name: &str, count, share| Wave { name: name.to_owned(), count, share, ..Wave::default() };
        Self {
            waves: vec![
                wave("canary", Some(1), None),
                wave("quarter", None, Percent::new(25)),
                wave("all", None, None),
            ],
            failure: Failure::default(),
            on_new_revision: OnNewRevision::default(),
        }
    }
}

impl Default for Failure {
    fn default() -> Self {
        Self { max: Count::Clusters(0), deadline_ms: None, then: Then::default() }
    }
}

impl Catalog {
    /// A rollout by its name.
    pub fn rollout(&self, name: &str) -> Option<&Rollout> {
        let id = ObjectId { kind: Kind::Rollout, name: name.into() };
        self.objects.get(&id).and_then(|e| match &e.object.spec {
            Spec::Rollout(rollout) => Some(&**rollout),
            _ => None,
        })
    }

    /// How an app moves: as it says, else as the fleet says, else as holds without.
    pub fn rollout_of(&self, app: &App) -> Rollout {
        self.rollout_of_named(app.rollout.as_deref())
    }

    /// The same by what it says.
    pub(super) fn rollout_of_named(&self, name: Option<&str>) -> Rollout {
        let default = || self.fleet().and_then(|fleet| fleet.defaults.rollout.as_deref());
        let named = name.or_else(default).and_then(|name| self.rollout(name));
        named.cloned().unwrap_or_default()
    }

    /// The apps of a group, in order of name.
    pub fn group(&self, name: &str) -> impl Iterator<Item = (&Effective, &App)> {
        self.apps().filter(move |(_, app)| app.group.as_deref() == Some(name))
    }

    /// What comes before an app.
    pub fn dependencies_of<'a>(&'a self, effective: &Effective, app: &'a App) -> &'a [Dependency] {
        let defaults = self.fleet().map(|fleet| &*fleet.defaults.depends_on).unwrap_or_default();
        dependency::of(effective, app, defaults)
    }
}
