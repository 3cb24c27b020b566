//! Shares: replicas divided over the chosen clusters.
//!
//! In: a total, clusters with weights. Out: so many for each, which sum up exactly.
//! Never: moves a share while clusters and rule are the same, whatever weights became.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pick::{Chosen, Situation};
use super::{Settled, lot};
use crate::ClusterName;
use crate::catalog::{Divide, Replicas};
use crate::fleet::Candidate;

/// How replicas are divided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shares {
    /// The rule by which they were.
    pub of: Replicas,
    /// So many for each cluster; a stand-in is not among them, it has the share of the cluster that it stands in for.
    pub by: BTreeMap<ClusterName, u32>,
}

/// Divides a placement's replicas over the places that were just settled.
pub(super) fn settle(
    replicas: Option<&Replicas>,
    situation: &Situation<'_>,
    chosen: &Chosen,
    settled: &Settled,
) -> Option<Shares> {
    let of = replicas?;
    let places: Vec<&ClusterName> = settled.places().collect();
    if let Some(before) = &situation.previous.shares
        && before.of == *of
        && before.by.keys().eq(places.iter().copied())
    {
        return Some(before.clone());
    }
    let member = |name: &ClusterName| {
        situation
            .members
            .binary_search_by(|member| member.name.cmp(name))
            .ok()
            .map(|at| (at, &situation.members[at]))
    };
    let known: Vec<Option<u64>> = places
        .iter()
        .map(|name| {
            let (at, member) = member(name)?;
            match of.divide {
                Divide::Even => Some(1),
                Divide::Weighted => Some(chosen.total(at)),
                Divide::Free => free(&situation.pick.fits, member.cluster),
            }
        })
        .collect();
    // What is not known counts as the others do on average.
    let sum: u128 = known.iter().flatten().map(|weight| u128::from(*weight)).sum();
    let average = sum.checked_div(known.iter().flatten().count() as u128).unwrap_or(0);
    let average = u64::try_from(average).unwrap_or(u64::MAX);
    let weights: Vec<(ClusterName, u64)> =
        places.into_iter().cloned().zip(known.into_iter().map(|weight| weight.unwrap_or(average))).collect();
    Some(Shares { of: of.clone(), by: divide(situation.placement, of.total, &weights) })
}

/// How often what `fits` asks for is free; without it, free processors.
fn free(fits: &BTreeMap<String, u64>, cluster: &Candidate) -> Option<u64> {
    let free = cluster.free.present()?;
    let often = |(resource, wanted): (&String, &u64)| {
        free.thousandths(resource).saturating_mul(1_000).checked_div(*wanted)
    };
    Some(fits.iter().filter_map(often).min().unwrap_or_else(|| free.thousandths("cpu")))
}

/// Divides a total by weights: each gets its share rounded down, and what remains goes one by one to those that lost most by
/// rounding, ties by lot. Without any weight all are alike.
pub(super) fn divide(
    placement: &str,
    total: u32,
    weights: &[(ClusterName, u64)],
) -> BTreeMap<ClusterName, u32> {
    let sum: u128 = weights.iter().map(|(_, weight)| u128::from(*weight)).sum();
    let even = sum == 0;
    let sum = if even { weights.len() as u128 } else { sum };
    let mut shares: Vec<(&ClusterName, u32, u128)> = Vec::with_capacity(weights.len());
    let mut left = total;
    for (name, weight) in weights {
        let part = u128::from(total) * if even { 1 } else { u128::from(*weight) };
        let share = u32::try_from(part / sum).unwrap_or(total);
        left -= share;
        shares.push((name, share, part % sum));
    }
    shares.sort_by_key(|(name, _, rest)| (std::cmp::Reverse(*rest), lot(placement, name)));
    let dealt = shares.into_iter().enumerate();
    let left = left as usize;
    dealt.map(|(n, (name, share, _))| (name.clone(), share + u32::from(n < left))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn weights(given: &[u64]) -> Vec<(ClusterName, u64)> {
        let name = |n: usize| format!("c{n}").parse().expect("a name");
        given.iter().enumerate().map(|(n, weight)| (name(n), *weight)).collect()
    }

    proptest! {
        #[test]
        fn shares_sum_exactly_and_no_two_of_one_weight_differ_by_more_than_one(
            total in 0_u32..5_000,
            given in prop::collection::vec(0_u64..1_000_000, 1..40),
        ) {
            let given = weights(&given);
            let shares = divide("web", total, &given);
            prop_assert_eq!(shares.values().sum::<u32>(), total);
            prop_assert_eq!(shares.len(), given.len());
            for (a, x) in &given {
                for (b, y) in &given {
                    prop_assert!(x > y || shares[a] <= shares[b] + 1, "{} {}", a, b);
                }
            }
            let mut reversed = given.clone();
            reversed.reverse();
            prop_assert_eq!(divide("web", total, &reversed), shares, "whatever the order");
        }
    }

    #[test]
    fn shares_are_dealt_by_weight_and_evenly_without_one() {
        let by =
            |total, given: &[u64]| divide("web", total, &weights(given)).into_values().collect::<Vec<_>>();
        assert_eq!(by(30, &[0, 0, 0]), [10, 10, 10]);
        assert_eq!(by(30, &[1, 2, 0]), [10, 20, 0]);
        assert_eq!(by(10, &[1, 1, 1]).iter().sum::<u32>(), 10);
        assert_eq!(by(0, &[1, 5]), [0, 0]);
        assert_eq!(
            by(u32::MAX, &[u64::MAX, u64::MAX]).iter().map(|n| u64::from(*n)).sum::<u64>(),
            u64::from(u32::MAX)
        );
    }
}
