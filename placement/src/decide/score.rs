//! Score: how much a placement prefers each of several clusters.
//!
//! In: preferences, clusters, how many placements picked each. Out: for each a sum of weighted parts, 0 to 100 times their
//! weights. Never: divides what it does not multiply first; a fact that is not known counts nothing.

use serde::{Deserialize, Serialize};

use crate::ClusterName;
use crate::catalog::{Preference, Preferred};
use crate::fleet::{Candidate, Resources};
use crate::select::{FactName, Look, Truth};

/// The most that one preference says of a cluster.
const MOST: u64 = 100;

/// A score, and what it is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// The sum.
    pub total: u64,
    /// Its parts, in the order of `pick.prefer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
}

/// What one preference adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// What is preferred.
    pub prefer: String,
    /// Its weight.
    pub weight: u32,
    /// What it says of the cluster, 0 to 100.
    pub value: u64,
    /// What was seen, in thousandths, where it is a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saw: Option<u64>,
}

/// A cluster that is scored.
pub(super) struct Scored<'a> {
    pub name: &'a ClusterName,
    pub cluster: &'a Candidate,
    /// How many placements picked it.
    pub load: u64,
    /// What was taken of what is free there.
    pub taken: Option<&'a Resources>,
}

/// Scores clusters, in their order.
pub(super) fn scores(preferences: &[Preference], clusters: &[Scored<'_>]) -> Vec<Score> {
    let mut scores = vec![Score::default(); clusters.len()];
    for preference in preferences {
        let said = said(&preference.what, clusters);
        for (score, (value, saw)) in scores.iter_mut().zip(said) {
            let Preference { weight, what } = preference;
            score.total += u64::from(*weight) * value;
            score.parts.push(Part { prefer: what.to_string(), weight: *weight, value, saw });
        }
    }
    scores
}

fn said(what: &Preferred, clusters: &[Scored<'_>]) -> Vec<(u64, Option<u64>)> {
    let yes_or_no = |holds: bool| (if holds { MOST } else { 0 }, None);
    match what {
        Preferred::Selector(selector) => {
            clusters.iter().map(|c| yes_or_no(selector.matches(&c.cluster.labels))).collect()
        }
        Preferred::Cel(condition) => {
            clusters.iter().map(|c| yes_or_no(condition.judge(c.name, c.cluster) == Truth::Holds)).collect()
        }
        Preferred::Most(look) => among(numbers(look, clusters), false),
        Preferred::Least(look) => among(numbers(look, clusters), true),
        Preferred::Balance => among(clusters.iter().map(|c| Some(c.load)).collect(), true),
    }
}

fn numbers(look: &Look, clusters: &[Scored<'_>]) -> Vec<Option<u64>> {
    let number = |c: &Scored<'_>| {
        let number = look.number(c.cluster).present().copied()?;
        let taken = match (look, c.taken) {
            (Look::Fact(FactName::Free, Some(resource)), Some(taken)) => taken.thousandths(resource),
            _ => 0,
        };
        Some(number.saturating_sub(taken))
    };
    clusters.iter().map(number).collect()
}

/// Where each number stands between the least and the most of all; in the middle of nothing, everywhere the most.
fn among(numbers: Vec<Option<u64>>, least_is_best: bool) -> Vec<(u64, Option<u64>)> {
    let known = || numbers.iter().copied().flatten();
    let (least, most) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    let place = |number: u64| {
        let above = if least_is_best { most - number } else { number - least };
        let share = u128::from(above) * u128::from(MOST);
        match most - least {
            0 => MOST,
            range => u64::try_from(share / u128::from(range)).unwrap_or(MOST),
        }
    };
    numbers.iter().map(|number| (number.map_or(0, place), *number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_between_the_least_and_the_most_and_the_unknown_counts_nothing() {
        let values = |numbers: &[Option<u64>], least| {
            among(numbers.to_vec(), least).into_iter().map(|(value, _)| value).collect::<Vec<_>>()
        };
        assert_eq!(values(&[Some(0), Some(5), Some(10), None], false), [0, 50, 100, 0]);
        assert_eq!(values(&[Some(0), Some(5), Some(10), None], true), [100, 50, 0, 0]);
        assert_eq!(values(&[Some(7), Some(7)], false), [100, 100]);
        assert_eq!(values(&[None], false), [0]);
        assert_eq!(values(&[Some(u64::MAX), Some(0)], false), [100, 0]);
    }
}
