//! Pick: how a placement chooses among the clusters that match, and how it divides replicas over them.
//!
//! In: nothing; these are the words. Out: [`Pick`] and [`Replicas`], which the catalog reads and `decide` acts on.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ObjectTarget, Percent};
use crate::select::{Condition, Look, Selector};

/// How a placement chooses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pick {
    /// How many; all where it is absent.
    pub count: Option<Count>,
    /// So many in each group of clusters that share this value.
    pub per: Option<Look>,
    /// With fewer, the previous decision stands.
    pub min: u32,
    /// Resources that have to be free when a cluster is chosen, in thousandths of their units.
    pub fits: BTreeMap<String, u64>,
    /// Over what the chosen clusters are spread.
    pub spread: Vec<Spread>,
    /// Which clusters come first.
    pub prefer: Vec<Preference>,
    /// What happens when the spoke of a chosen cluster is silent; absent: nothing.
    pub failover: Option<Failover>,
}

/// How many clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Count {
    /// So many.
    Clusters(u32),
    /// This share of the candidates, rounded up.
    Share(Percent),
}

impl Count {
    /// How many that is of so many candidates.
    pub fn of(self, candidates: usize) -> usize {
        match self {
            Self::Clusters(count) => count as usize,
            Self::Share(percent) => percent.ceil_of(candidates),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clusters(count) => count.fmt(f),
            Self::Share(percent) => percent.fmt(f),
        }
    }
}

/// The chosen clusters are spread evenly over the values of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// Of what.
    pub topology: Look,
    /// How many more one value may have than the one with the fewest.
    pub max_skew: u32,
    /// With fewer values than these, the one with the fewest counts as having none.
    pub min_domains: Option<u32>,
    /// A cluster that would break it is chosen after all others, instead of not at all.
    pub soft: bool,
}

/// What makes a cluster come first.
#[derive(Clone, Debug, PartialEq)]
pub struct Preference {
    /// How much: what it says of a cluster, 0 to 100, is multiplied by this.
    pub weight: u32,
    /// What.
    pub what: Preferred,
}

/// What is preferred.
#[derive(Clone, Debug, PartialEq)]
pub enum Preferred {
    /// Clusters with these labels.
    Selector(Selector),
    /// Clusters for which this holds.
    Cel(Condition),
    /// Clusters with more of it than others.
    Most(Look),
    /// Clusters with less of it than others.
    Least(Look),
    /// Clusters that fewer placements picked than others.
    Balance,
}

impl fmt::Display for Preferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Selector(selector) => write!(f, "selector {selector}"),
            Self::Cel(condition) => write!(f, "cel {condition}"),
            Self::Most(look) => write!(f, "most {look}"),
            Self::Least(look) => write!(f, "least {look}"),
            Self::Balance => f.write_str("balance"),
        }
    }
}

/// What happens when the spoke of a chosen cluster is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failover {
    /// After how many milliseconds another cluster takes its place.
    pub unreachable_ms: u64,
    /// Nothing fails over while more than this share of the members is silent.
    pub suspend_above: Percent,
    /// What happens once it is heard again.
    pub on_return: OnReturn,
}

/// Which of two clusters stays when one that was silent is heard again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReturn {
    /// The one that took its place.
    #[default]
    Keep,
    /// The one that was silent.
    Return,
}

/// Replicas that are divided over the chosen clusters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replicas {
    /// Whose replicas.
    pub target: ObjectTarget,
    /// How many in all.
    pub total: u32,
    /// How.
    pub divide: Divide,
}

/// How replicas are divided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Divide {
    /// The same for each.
    #[default]
    Even,
    /// By what `prefer` says of each.
    Weighted,
    /// By what is free on each.
    Free,
}
