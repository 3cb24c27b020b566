//! Reasons: why a placement chose a cluster, or did not.
//!
//! In: nothing; these are the words. Out: [`Reason`]s, told word for word by CLI, API and page.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ClusterName;
use crate::catalog::Count;
use crate::fleet::Taint;
use crate::select::{FactName, Look, Shown};

/// Why a placement chose a cluster, or did not. Closed; with the values that were seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
pub enum Reason {
    /// All terms hold, and the placement takes all that match.
    Matches,
    /// It was chosen among those that match.
    Picked {
        /// Its rank among them, from 1.
        rank: usize,
        /// How many there are.
        of: usize,
    },
    /// It was chosen before, and nothing that moves anything happened.
    Kept {
        /// Its rank today; nothing moves for that.
        rank: usize,
        /// Among so many.
        of: usize,
    },
    /// It was chosen before, by a placement that takes all that match, and stays though it would not be chosen now.
    Stays,
    /// It stands in for a cluster that is to be left.
    StandsIn {
        /// Which.
        cluster: ClusterName,
        /// Why that one is left.
        cause: Cause,
    },
    /// It leaves as soon as the cluster that stands in for it is healthy.
    Leaves {
        /// Which does.
        to: ClusterName,
        /// Why.
        cause: Cause,
    },
    /// It was left: another cluster is healthy in its place.
    Replaced {
        /// Which.
        by: ClusterName,
    },
    /// It stood in for a cluster that needs no stand-in any more.
    NoLongerNeeded {
        /// For which.
        cluster: ClusterName,
    },
    /// It should be left, and no other cluster can stand in for it.
    NoStandIn {
        /// Why it should.
        cause: Cause,
    },
    /// Nothing fails over now: too many members are silent, or the hub has not been up for long enough.
    FailoverSuspended {
        /// Silent members.
        silent: usize,
        /// Of so many.
        of: usize,
    },
    /// `clusters.exclude` names it.
    Excluded,
    /// `clusters.names` does not name it.
    NotNamed,
    /// Its set is none of `clusters.sets`.
    SetDiffers {
        /// The set that it is in.
        set: Option<String>,
        /// The sets that would do.
        wanted: BTreeSet<String>,
    },
    /// A requirement of `clusters.selector` does not hold.
    LabelDiffers {
        /// The requirement, as `kubectl -l` writes it.
        requirement: String,
        /// The label's value on the cluster.
        value: Option<String>,
    },
    /// `clusters.where` does not hold.
    ConditionFails {
        /// The expression.
        expression: String,
        /// What it reads and is not there.
        absent: Option<String>,
    },
    /// `clusters.where` reads a fact that is not known: the answer stays what it was.
    FactUnknown {
        /// The expression.
        expression: String,
        /// The fact.
        fact: FactName,
    },
    /// `clusters.where` could not be evaluated: the answer stays what it was.
    ConditionUndecided {
        /// The expression.
        expression: String,
        /// Why.
        error: String,
    },
    /// It has a taint that is not tolerated.
    NotTolerated {
        /// Which.
        taint: Taint,
    },
    /// It has a taint that is tolerated for a while.
    ToleratedUntil {
        /// Which.
        taint: Taint,
        /// Until when, in Unix milliseconds.
        until_ms: u64,
    },
    /// It is cordoned: nothing new is placed on it.
    Cordoned,
    /// It is drained: nothing new is placed on it, and what `pick` placed moves away.
    Draining,
    /// It is under maintenance: nothing changes there.
    Maintained,
    /// Its spoke never connected.
    NeverConnected,
    /// Its spoke has been silent for too long.
    Silent {
        /// Since when, in Unix milliseconds.
        since_ms: u64,
    },
    /// It has no value of `pick.per`, so it is in no group.
    InNoGroup {
        /// What groups are made of.
        per: Look,
    },
    /// A resource of `pick.fits` is not free there.
    DoesNotFit {
        /// Which.
        resource: String,
        /// How much is wanted, in thousandths.
        wanted: u64,
        /// How much is free, in thousandths; `None` where it is not known.
        free: Option<u64>,
    },
    /// It would break `pick.spread`.
    SpreadRefuses {
        /// Over what is spread.
        topology_key: Look,
        /// Its value there.
        value: Option<String>,
        /// How many clusters with that value are chosen.
        chosen: usize,
        /// How many the value with the fewest has.
        fewest: usize,
        /// How many more there may be.
        max_skew: u32,
    },
    /// Others come first.
    Outranked {
        /// Its rank, from 1.
        rank: usize,
        /// Among so many.
        of: usize,
        /// How many are chosen.
        count: Option<Count>,
    },
    /// Fewer than `pick.min` could be chosen, so the previous decision stands.
    BelowMin {
        /// How many could be.
        found: usize,
        /// How many have to be.
        min: u32,
    },
}

/// Why a cluster is to be left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Cause {
    /// An operator drains it.
    Drained,
    /// Its spoke is silent.
    Unreachable,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drained => "drained",
            Self::Unreachable => "silent",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches => f.write_str("all terms hold"),
            Self::Picked { rank, of } => write!(f, "it was picked as number {rank} of {of}"),
            Self::Kept { rank, of } => {
                write!(f, "it was chosen before and stays; today it would be number {rank} of {of}")
            }
            Self::Stays => f.write_str("it was chosen before and stays"),
            Self::StandsIn { cluster, cause } => write!(f, "it stands in for {cluster}, which is {cause}"),
            Self::Leaves { to, cause } => {
                write!(f, "it is {cause}; it leaves once {to} is healthy in its place")
            }
            Self::Replaced { by } => write!(f, "it was left, {by} is healthy in its place"),
            Self::NoLongerNeeded { cluster } => {
                write!(f, "it stood in for {cluster}, which needs no stand-in any more")
            }
            Self::NoStandIn { cause } => write!(f, "it is {cause}, and no other cluster can stand in for it"),
            Self::FailoverSuspended { silent, of } => {
                write!(
                    f,
                    "it is silent, but nothing fails over now: {silent} of {of} members are silent, or the hub has just started"
                )
            }
            Self::Excluded => f.write_str("clusters.exclude names it"),
            Self::NotNamed => f.write_str("clusters.names does not name it"),
            Self::SetDiffers { set, wanted } => {
                let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                match set {
                    Some(set) => write!(f, "its set is {set}, clusters.sets wants {wanted}"),
                    None => write!(f, "it is in no set, clusters.sets wants {wanted}"),
                }
            }
            Self::LabelDiffers { requirement, value: Some(value) } => {
                let key = requirement.split(['=', '!', ' ']).find(|k| !k.is_empty()).unwrap_or(requirement);
                write!(f, "its label {key} is {value:?}, clusters.selector wants {requirement}")
            }
            Self::LabelDiffers { requirement, value: None } => {
                write!(f, "it has no such label, clusters.selector wants {requirement}")
            }
            Self::ConditionFails { expression, absent: None } => {
                write!(f, "clusters.where does not hold: {expression}")
            }
            Self::ConditionFails { expression, absent: Some(absent) } => {
                write!(f, "clusters.where does not hold, since there is no {absent}: {expression}")
            }
            Self::FactUnknown { expression, fact } => {
                write!(
                    f,
                    "{fact} is not known, so the answer stays what it was; clusters.where is {expression}"
                )
            }
            Self::ConditionUndecided { expression, error } => write!(
                f,
                "clusters.where could not be evaluated, so the answer stays what it was: {error}; it is {expression}"
            ),
            Self::NotTolerated { taint } => write!(f, "its taint {taint} is not tolerated"),
            Self::ToleratedUntil { taint, until_ms } => {
                write!(f, "its taint {taint} is tolerated until {until_ms} ms")
            }
            Self::Cordoned => f.write_str("it is cordoned, so nothing new is placed on it"),
            Self::Draining => f.write_str("it is drained, so nothing new is placed on it"),
            Self::Maintained => f.write_str("it is under maintenance, so nothing changes there"),
            Self::NeverConnected => f.write_str("its spoke never connected"),
            Self::Silent { .. } => f.write_str("its spoke has been silent for too long"),
            Self::InNoGroup { per } => write!(f, "it has no {per}, so it is in no group of pick.per"),
            Self::DoesNotFit { resource, wanted, free: Some(free) } => {
                write!(f, "{} of {resource} is free, pick.fits wants {}", Shown(*free), Shown(*wanted))
            }
            Self::DoesNotFit { resource, wanted, free: None } => {
                write!(f, "how much {resource} is free is not known, pick.fits wants {}", Shown(*wanted))
            }
            Self::SpreadRefuses { topology_key, value: Some(value), chosen, fewest, max_skew } => write!(
                f,
                "{topology_key} {value} has {chosen} of the chosen, others have {fewest}, and pick.spread allows {max_skew} more"
            ),
            Self::SpreadRefuses { topology_key, value: None, .. } => {
                write!(f, "it has no {topology_key}, over which pick.spread spreads")
            }
            Self::Outranked { rank, of, count: Some(count) } => {
                write!(f, "it is number {rank} of {of}, and pick.count is {count}")
            }
            Self::Outranked { rank, of, count: None } => write!(f, "it is number {rank} of {of}"),
            Self::BelowMin { found, min } => {
                write!(
                    f,
                    "{found} could be chosen, fewer than pick.min {min}, so the previous decision stands"
                )
            }
        }
    }
}

impl Reason {
    /// What would change the answer.
    pub fn remedy(&self) -> String {
        match self {
            Self::Matches | Self::Picked { .. } | Self::StandsIn { .. } => {
                "exclude it, or change a label that the selector names".into()
            }
            Self::Stays => "exclude it, or change a label that the selector names".into(),
            Self::Kept { .. } => {
                "exclude it, lower pick.count, or drain the cluster; a better rank moves nothing".into()
            }
            Self::Leaves { to, .. } => format!("it leaves by itself once {to} is healthy"),
            Self::Replaced { .. } | Self::NoLongerNeeded { .. } => {
                "raise pick.count, or prefer it more: a place that is free goes by rank".into()
            }
            Self::NoStandIn { .. } => "let another cluster match, or make room on one".into(),
            Self::FailoverSuspended { .. } => {
                "it fails over once fewer members are silent; see hub cluster list --behind".into()
            }
            Self::Excluded => "take it out of clusters.exclude".into(),
            Self::NotNamed => "add it to clusters.names".into(),
            Self::SetDiffers { wanted, .. } => {
                let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(" or ");
                format!("put the cluster into set {wanted}")
            }
            Self::LabelDiffers { requirement, .. } => {
                format!("label the cluster so that {requirement} holds, or change clusters.selector")
            }
            Self::ConditionFails { .. } => "change clusters.where, or what it looks at".into(),
            Self::FactUnknown { fact, .. } => format!("its spoke has to report {fact}"),
            Self::ConditionUndecided { .. } => "simplify clusters.where".into(),
            Self::NotTolerated { taint } => {
                format!("remove the taint {taint}, or tolerate it in the placement")
            }
            Self::ToleratedUntil { taint, .. } => format!("remove the taint {taint}"),
            Self::Cordoned | Self::Draining => "uncordon the cluster".into(),
            Self::Maintained => "end the maintenance".into(),
            Self::NeverConnected => "install its spoke: hub cluster join".into(),
            Self::Silent { .. } => "its spoke has to connect again".into(),
            Self::InNoGroup { per } => format!("give the cluster {per}"),
            Self::DoesNotFit { resource, wanted, free } => match free {
                Some(free) => {
                    format!("free {} more of {resource} there", Shown(wanted.saturating_sub(*free)))
                }
                None => format!("its spoke has to report what is free of {resource}"),
            },
            Self::SpreadRefuses { topology_key, .. } => {
                format!("choose more clusters with another {topology_key}, or raise maxSkew")
            }
            Self::Outranked { rank, .. } => {
                format!("raise pick.count so that {rank} are chosen, or prefer it more")
            }
            Self::BelowMin { min, .. } => format!("let {min} clusters match, or lower pick.min"),
        }
    }
}
