//! Reasons: why a placement chose a cluster, or did not.
//!
//! In: nothing; these are the words. Out: [`Reason`]s, told word for word by CLI, API and page.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::Count;
use crate::fleet::Taint;
use crate::select::{FactName, Look, Shown};
use crate::{CatalogName, ClusterName};

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
        /// The group that it is ranked in, with `pick.per`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Group>,
    },
    /// It was chosen before, and nothing that moves anything happened.
    Kept {
        /// Its rank today; nothing moves for that.
        rank: usize,
        /// Among so many.
        of: usize,
        /// The group that it is ranked in, with `pick.per`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Group>,
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
        /// It is silent, and is left only when it is heard again.
        #[serde(default)]
        unheard: bool,
        /// It keeps its place once it is healthy again: `onReturn: Return`.
        #[serde(default)]
        returns: bool,
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
        /// While more than so many percent are, nothing fails over.
        #[serde(default)]
        suspend_above: u8,
        /// Until then the hub has not listened for long enough, Unix milliseconds; absent where it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until_ms: Option<u64>,
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
    /// The root catalog does not grant the placement's catalog the cluster's set.
    NotGranted {
        /// The tenant's catalog.
        catalog: CatalogName,
        /// The set that the cluster is in.
        set: Option<String>,
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
        /// What it looks at, and the values, for people.
        #[serde(default)]
        saw: String,
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
        /// After how many milliseconds it is not chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_ms: Option<u64>,
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
        /// A cluster of a lower rank that is taken before it for that; the numbers are those of that moment.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instead: Option<ClusterName>,
        /// How many have to be chosen for it to be among them; absent where no number does it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needs: Option<usize>,
    },
    /// It would be chosen if all were chosen anew; clusters that were chosen before have the places.
    PlacesHeld {
        /// Its rank, from 1.
        rank: usize,
        /// Among so many.
        of: usize,
        /// How many are chosen.
        count: Option<Count>,
        /// The group that it is ranked in, with `pick.per`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Group>,
        /// Some of those that have the places, by name.
        by: Vec<ClusterName>,
        /// How many more have.
        others: usize,
        /// How many places there are.
        places: usize,
        /// How many have to be chosen for it to be among them; absent where no number does it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needs: Option<usize>,
    },
    /// Others come first.
    Outranked {
        /// Its rank, from 1.
        rank: usize,
        /// Among so many.
        of: usize,
        /// How many are chosen.
        count: Option<Count>,
        /// The group that it is ranked in, with `pick.per`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Group>,
        /// How many have to be chosen for it to be among them, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needs: Option<usize>,
    },
    /// Fewer than `pick.min` could be chosen, so the previous decision stands.
    BelowMin {
        /// How many could be.
        found: usize,
        /// How many have to be.
        min: u32,
    },
}

/// Clusters that share a value of `pick.per`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Of what.
    pub per: Look,
    /// The value.
    pub value: String,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.per, self.value)
    }
}

/// A rank in words: `3 of 7`, or `1 of 3 in labels.region=eu`.
struct Ranked<'a>(usize, usize, &'a Option<Group>);

impl fmt::Display for Ranked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(rank, of, group) = self;
        match group {
            Some(group) => write!(f, "{rank} of {of} in {group}"),
            None => write!(f, "{rank} of {of}"),
        }
    }
}

/// Names in words: `a`, `a and b`, `a, b and 3 others`.
fn listed(names: &[ClusterName], others: usize) -> String {
    let mut words: Vec<String> = names.iter().map(ToString::to_string).collect();
    match others {
        0 => {}
        1 => words.push("1 other".to_owned()),
        _ => words.push(format!("{others} others")),
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => "others".to_owned(),
    }
}

/// Unix milliseconds as a date and a time: `2027-01-15T08:00:00Z`.
fn moment(ms: u64) -> String {
    let time = i64::try_from(ms / 1_000).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    time.map_or_else(|| format!("{ms} ms after 1970"), |time| time.to_string())
}

/// The number of chosen clusters that would do.
fn raise(needs: usize, group: &Option<Group>) -> String {
    let each = if group.is_some() { " in each group" } else { "" };
    format!("raise pick.count so that {needs} are chosen{each}")
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
            Self::Picked { rank, of, group } => {
                write!(f, "it was picked as number {}", Ranked(*rank, *of, group))
            }
            Self::Kept { rank, of, group } => {
                let ranked = Ranked(*rank, *of, group);
                write!(f, "it was chosen before and stays; today it would be number {ranked}")
            }
            Self::Stays => f.write_str("it was chosen before and stays"),
            Self::StandsIn { cluster, cause } => write!(f, "it stands in for {cluster}, which is {cause}"),
            Self::Leaves { to, cause: Cause::Unreachable, returns: true, .. } => {
                write!(f, "it is silent; {to} stands in for it until it is heard again and healthy")
            }
            Self::Leaves { to, cause: Cause::Unreachable, unheard: true, .. } => {
                write!(f, "it is silent; it leaves once it is heard again and {to} is healthy in its place")
            }
            Self::Leaves { to, cause: Cause::Unreachable, .. } => {
                write!(f, "it was silent; it leaves once {to} is healthy in its place")
            }
            Self::Leaves { to, cause, .. } => {
                write!(f, "it is {cause}; it leaves once {to} is healthy in its place")
            }
            Self::Replaced { by } => write!(f, "it was left, {by} is healthy in its place"),
            Self::NoLongerNeeded { cluster } => {
                write!(f, "it stood in for {cluster}, which needs no stand-in any more")
            }
            Self::NoStandIn { cause } => write!(f, "it is {cause}, and no other cluster can stand in for it"),
            Self::FailoverSuspended { until_ms: Some(until_ms), .. } => write!(
                f,
                "it is silent, but nothing fails over before {}: the hub has not listened for long enough",
                moment(*until_ms)
            ),
            Self::FailoverSuspended { silent, of, suspend_above, until_ms: None } => write!(
                f,
                "it is silent, but nothing fails over while more than {suspend_above}% of the members are: {silent} of {of} are"
            ),
            Self::Excluded => f.write_str("clusters.exclude names it"),
            Self::NotNamed => f.write_str("clusters.names does not name it"),
            Self::SetDiffers { set, wanted } => {
                let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                match set {
                    Some(set) => write!(f, "its set is {set}, clusters.sets wants {wanted}"),
                    None => write!(f, "it is in no set, clusters.sets wants {wanted}"),
                }
            }
            Self::NotGranted { catalog, set: Some(set) } => {
                write!(f, "its set is {set}, which is not granted to catalog {catalog}")
            }
            Self::NotGranted { catalog, set: None } => {
                write!(f, "it is in no set, and catalog {catalog} is granted sets alone")
            }
            Self::LabelDiffers { requirement, value: Some(value) } => {
                let key = requirement.split(['=', '!', ' ']).find(|k| !k.is_empty()).unwrap_or(requirement);
                write!(f, "its label {key} is {value:?}, clusters.selector wants {requirement}")
            }
            Self::LabelDiffers { requirement, value: None } => {
                write!(f, "it has no such label, clusters.selector wants {requirement}")
            }
            Self::ConditionFails { expression, absent, saw } => {
                f.write_str("clusters.where does not hold")?;
                match absent {
                    Some(absent) => write!(f, ", since there is no {absent}: {expression}")?,
                    None => write!(f, ": {expression}")?,
                }
                if saw.is_empty() { Ok(()) } else { write!(f, "; {saw}") }
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
            Self::Silent { since_ms, limit_ms: Some(limit_ms) } => write!(
                f,
                "its spoke has been silent since {}, for longer than {}",
                moment(*since_ms),
                crate::duration::written(*limit_ms)
            ),
            Self::Silent { since_ms, limit_ms: None } => {
                write!(f, "its spoke has been silent for too long, since {}", moment(*since_ms))
            }
            Self::InNoGroup { per } => write!(f, "it has no {per}, so it is in no group of pick.per"),
            Self::DoesNotFit { resource, wanted, free: Some(free) } => {
                write!(f, "{} of {resource} is free, pick.fits wants {}", Shown(*free), Shown(*wanted))
            }
            Self::DoesNotFit { resource, wanted, free: None } => {
                write!(f, "how much {resource} is free is not known, pick.fits wants {}", Shown(*wanted))
            }
            Self::SpreadRefuses {
                topology_key,
                value: Some(value),
                chosen,
                fewest,
                max_skew,
                instead: Some(instead),
                ..
            } => write!(
                f,
                "{instead} comes before it: {topology_key} {value} has {chosen} of the chosen by then, others have {fewest}, and pick.spread allows {max_skew} more"
            ),
            Self::SpreadRefuses { topology_key, value: Some(value), chosen, fewest, max_skew, .. } => write!(
                f,
                "{topology_key} {value} has {chosen} of the chosen, others have {fewest}, and pick.spread allows {max_skew} more"
            ),
            Self::SpreadRefuses { topology_key, value: None, .. } => {
                write!(f, "it has no {topology_key}, over which pick.spread spreads")
            }
            Self::PlacesHeld { rank, of, count, group, by, others, .. } => {
                write!(f, "it is number {}", Ranked(*rank, *of, group))?;
                if let Some(count) = count {
                    write!(f, ", and pick.count is {count}")?;
                }
                let by_one = by.len() + others == 1;
                let (places, were) = match by_one {
                    true => ("place is", "was chosen before and stays"),
                    false => ("places are", "were chosen before and stay"),
                };
                write!(f, "; the {places} held by {}, which {were}", listed(by, *others))
            }
            Self::Outranked { rank, of, count: Some(count), group, .. } => {
                write!(f, "it is number {}, and pick.count is {count}", Ranked(*rank, *of, group))
            }
            Self::Outranked { rank, of, count: None, group, .. } => {
                write!(f, "it is number {}", Ranked(*rank, *of, group))
            }
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
    /// The same without what was seen of the one cluster, so that clusters with the same reason can be told together.
    pub fn without_values(&self) -> Self {
        match self.clone() {
            Self::ConditionFails { expression, absent, .. } => {
                Self::ConditionFails { expression, absent, saw: String::new() }
            }
            other => other,
        }
    }

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
            Self::Leaves { returns: true, .. } => {
                "its spoke has to connect again; exclude it to have it leave".into()
            }
            Self::Leaves { to, unheard: true, .. } => {
                format!("it leaves by itself once its spoke connects again and {to} is healthy")
            }
            Self::Leaves { to, .. } => format!("it leaves by itself once {to} is healthy"),
            Self::Replaced { .. } | Self::NoLongerNeeded { .. } => {
                "raise pick.count, or prefer it more: a place that is free goes by rank".into()
            }
            Self::NoStandIn { .. } => "let another cluster match, or make room on one".into(),
            Self::FailoverSuspended { until_ms: Some(_), .. } => "it fails over by itself then".into(),
            Self::FailoverSuspended { .. } => {
                "have fewer members silent, or raise pick.failover.suspendAbove".into()
            }
            Self::Excluded => "take it out of clusters.exclude".into(),
            Self::NotNamed => "add it to clusters.names".into(),
            Self::SetDiffers { wanted, .. } => {
                let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>().join(" or ");
                format!("put the cluster into set {wanted}")
            }
            Self::NotGranted { catalog, set } => {
                let set = set.as_deref().unwrap_or("a set");
                format!("the root catalog has to grant it: {set} in spec.grants of Catalog/{catalog}")
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
            Self::SpreadRefuses { needs: Some(needs), .. } => {
                format!("{}; a better rank alone moves nothing", raise(*needs, &None))
            }
            Self::SpreadRefuses { topology_key, value: None, .. } => {
                format!("give the cluster {topology_key}")
            }
            Self::SpreadRefuses { topology_key, .. } => {
                format!("choose more clusters with another {topology_key}, or raise maxSkew")
            }
            Self::PlacesHeld { group, by, others, places, needs, .. } => {
                let one = if by.len() + others == 1 { "" } else { "one of " };
                let leave = || format!("drain or exclude {one}{}", listed(by, *others));
                match needs {
                    Some(needs) if *needs == places + 1 => {
                        format!("{}, or {}", raise(*needs, group), leave())
                    }
                    Some(needs) => raise(*needs, group),
                    None => leave(),
                }
            }
            Self::Outranked { rank, group, needs, .. } => {
                format!("{}; a better rank alone moves nothing", raise(needs.unwrap_or(*rank), group))
            }
            Self::BelowMin { min, .. } => format!("let {min} clusters match, or lower pick.min"),
        }
    }
}

#[cfg(test)]
#[path = "reasons_tests.rs"]
mod tests;
