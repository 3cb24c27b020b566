//! Answering: the variants of apps whose charts ask something of the cluster.
//!
//! In: what charts ask, a cluster's facts. Out: the variant that it has, which every cluster with the same answers shares.
//! Never: takes a fact that is not known for one that is absent.

use std::collections::BTreeMap;

use super::{Lack, Variant};
use crate::AppKey;
use crate::fleet::{Candidate, Facts};
use crate::render::{Asks, Capabilities};

/// What charts ask: of every app that has one that asks, by the variant without answers.
pub type Asking = BTreeMap<AppKey, BTreeMap<Variant, Asks>>;

/// Most clusters whose answers are remembered: fleets have few versions, each on many clusters.
const REMEMBERED: usize = 16;

/// Finds the variants of one app.
pub(super) struct Answering<'a> {
    asks: Option<&'a BTreeMap<Variant, Asks>>,
    known: Vec<(Variant, &'a Facts, Result<Variant, Lack>)>,
}

impl<'a> Answering<'a> {
    pub fn of(asking: &'a Asking, app: &AppKey) -> Self {
        Self { asks: asking.get(app), known: Vec::new() }
    }

    /// Whether every cluster has the same.
    pub fn is_nothing(&self) -> bool {
        self.asks.is_none_or(BTreeMap::is_empty)
    }

    /// A variant with what a cluster answers.
    ///
    /// # Errors
    /// A fact that is asked for is not known.
    pub fn variant(&mut self, variant: Variant, candidate: &'a Candidate) -> Result<Variant, Lack> {
        let Some(asks) = self.asks.and_then(|asks| asks.get(&variant)) else { return Ok(variant) };
        let facts = &candidate.facts;
        let known = self.known.iter().find(|(of, known, _)| *of == variant && asks.is_same(known, facts));
        if let Some((_, _, answered)) = known {
            return answered.clone();
        }
        let answered = match asks.answers(facts) {
            Ok(answers) => Ok(variant.with(answers)),
            Err(fact) => Err(Lack::Unanswered(fact.to_string())),
        };
        if self.known.len() < REMEMBERED {
            self.known.push((variant, facts, answered.clone()));
        }
        answered
    }

    /// A variant with what is assumed, where no cluster answers.
    pub fn assumed(&self, variant: Variant) -> Variant {
        let asks = self.asks.is_some_and(|asks| asks.contains_key(&variant));
        if asks { variant.with(Capabilities::default()) } else { variant }
    }
}

/// The variant of an app with what a cluster answers.
///
/// # Errors
/// A fact that is asked for is not known.
pub fn answered(
    asking: &Asking,
    app: &AppKey,
    variant: Variant,
    candidate: &Candidate,
) -> Result<Variant, Lack> {
    Answering::of(asking, app).variant(variant, candidate)
}
