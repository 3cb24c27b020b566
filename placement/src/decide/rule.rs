//! Rule: a placement, compiled to the numbers of the statements that it makes.
//!
//! In: a placement, the index. Out: the clusters that it matches, all at once or one by one.
//! Never: looks at a label's text once it is compiled.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bits::Bits;
use super::index::{Index, Posting, Statement};
use super::{Numbers, Settled};
use crate::AppKey;
use crate::catalog::{ClusterSelection, Grants, Pick, Placement, Preferred};
use crate::fleet::{Candidate, Effect};
use crate::select::{FactName, Look, Operator, Reads, Tolerance, tolerance};

/// A placement, and what it chose.
pub(super) struct Rule {
    pub name: Arc<str>,
    pub placement: Arc<Placement>,
    /// How it picks, where it has to be told cluster by cluster.
    pub pick: Option<Box<Pick>>,
    pub apps: BTreeSet<AppKey>,
    pub matcher: Matcher,
    /// What it looks at when it groups.
    pub groups_by: Option<Reads>,
    /// What it looks at when it chooses.
    pub chooses_by: BTreeSet<Reads>,
    /// What it chose.
    pub chosen: Bits,
    /// The same in names, where it picks.
    pub settled: Box<Settled>,
    /// It has wishes that something else than a flipped statement could fulfil.
    pub open: bool,
    /// When the time changes something.
    pub due_ms: Option<u64>,
}

/// Statements of which one has to be true; two of them may be the same.
pub(super) type Guard = [Posting; 2];

/// The terms of `clusters`, in one piece of memory: who looks at one cluster looks at many rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Matcher {
    /// How many statements a term has, and these, for each term that needs one of them; then all that may not be true.
    statements: Box<[Posting]>,
    /// Where the latter begin.
    none: usize,
    /// What `where` says: that it holds, that it cannot be told.
    condition: Option<(Posting, Posting)>,
    /// Of which one has to be true where something is placed newly.
    grants: Option<Box<[Posting]>>,
}

impl Rule {
    pub fn new(
        name: &Arc<str>,
        placement: Arc<Placement>,
        apps: BTreeSet<AppKey>,
        previous: Settled,
        index: &mut Index,
    ) -> Self {
        let pick = match (&placement.pick, &placement.replicas) {
            (Some(pick), _) => Some(Box::new(pick.clone())),
            (None, Some(_)) => Some(Box::default()),
            (None, None) => None,
        };
        let looks = pick.iter().flat_map(|pick| looks(pick));
        let mut chooses_by: BTreeSet<Reads> = looks.collect();
        let conditions = pick.iter().flat_map(|pick| &pick.prefer).filter_map(|prefer| match &prefer.what {
            Preferred::Cel(condition) => Some(condition.reads()),
            _ => None,
        });
        conditions.for_each(|reads| chooses_by.extend(reads.iter().cloned()));
        let mut rule = Self {
            name: name.clone(),
            matcher: Matcher::new(&placement.clusters, index).granted(placement.grants.as_ref(), index),
            groups_by: pick.as_ref().and_then(|pick| pick.per.as_ref()).map(read),
            chooses_by,
            chosen: Bits::default(),
            settled: Box::default(),
            open: true,
            due_ms: None,
            placement,
            pick,
            apps,
        };
        rule.resume(&previous, index);
        rule
    }

    /// Whether a cluster stands in for another.
    pub fn has_stand_ins(&self) -> bool {
        self.settled.chosen.values().any(|place| place.stands_in.is_some())
    }

    /// Begins with what was settled before.
    pub fn resume(&mut self, previous: &Settled, index: &mut Index) {
        self.chosen = previous.chosen.keys().map(|name| index.intern(name)).collect();
        *self.settled = self.pick.as_ref().map(|_| previous.clone()).unwrap_or_default();
        self.open = true;
    }

    /// Whether this is what is settled.
    pub fn has_settled(&self, other: &Settled, index: &Index) -> bool {
        if self.pick.is_some() {
            return *self.settled == *other;
        }
        let is_chosen = |name| index.id(name).is_some_and(|id| self.chosen.has(id));
        other.is_plain()
            && other.chosen.len() == self.chosen.iter().count()
            && other.chosen.keys().all(is_chosen)
    }

    /// What is settled.
    pub fn settled(&self, index: &Index) -> Settled {
        match self.pick {
            Some(_) => Settled::clone(&self.settled),
            None => Settled {
                numbers: Some(Numbers::default()),
                chosen: self
                    .chosen
                    .iter()
                    .map(|id| (index.name(id).clone(), super::Place::default()))
                    .collect(),
                shares: None,
            },
        }
    }
}

fn read(look: &Look) -> Reads {
    match look {
        Look::Label(key) => Reads::Label(key.clone()),
        Look::Fact(fact, _) => Reads::Fact(*fact),
    }
}

/// What choosing looks at, conditions apart.
fn looks(pick: &Pick) -> Vec<Reads> {
    let mut looks: Vec<Reads> = pick.spread.iter().map(|spread| read(&spread.topology)).collect();
    if !pick.fits.is_empty() {
        looks.push(Reads::Fact(FactName::Free));
    }
    for preference in &pick.prefer {
        match &preference.what {
            Preferred::Selector(selector) => {
                looks.extend(selector.0.iter().map(|requirement| Reads::Label(requirement.key.clone())));
            }
            Preferred::Most(look) | Preferred::Least(look) => looks.push(read(look)),
            Preferred::Cel(_) | Preferred::Balance => {}
        }
    }
    looks
}

impl Matcher {
    pub fn new(selection: &ClusterSelection, index: &mut Index) -> Self {
        let mut posting = |statement| index.posting(statement);
        let (mut any, mut none): (Vec<Vec<Posting>>, Vec<Posting>) = Default::default();
        if let Some(names) = &selection.names {
            any.push(names.iter().map(|name| posting(Statement::Name(name.clone()))).collect());
        }
        if let Some(sets) = &selection.sets {
            any.push(sets.iter().map(|set| posting(Statement::Set(set.clone()))).collect());
        }
        none.extend(selection.exclude.iter().map(|name| posting(Statement::Name(name.clone()))));
        for requirement in selection.selector.iter().flat_map(|selector| &selector.0) {
            let key = &requirement.key;
            let mut each = |values: &BTreeSet<String>| -> Vec<Posting> {
                values.iter().map(|value| posting(Statement::Label(key.clone(), value.clone()))).collect()
            };
            match &requirement.operator {
                Operator::In(values) => any.push(each(values)),
                Operator::NotIn(values) => none.extend(each(values)),
                Operator::Exists => any.push(vec![posting(Statement::HasLabel(key.clone()))]),
                Operator::DoesNotExist => none.push(posting(Statement::HasLabel(key.clone()))),
            }
        }
        let mut statements = Vec::new();
        for term in any {
            statements.push(Posting::try_from(term.len()).expect("a term is a part of a file"));
            statements.extend(term);
        }
        let matcher = Self { none: statements.len(), ..Self::default() };
        statements.extend(none);
        let condition = selection.condition.as_ref().map(|condition| index.condition(condition));
        Self { statements: statements.into(), condition, ..matcher }
    }

    /// The same, where nothing is placed newly but on clusters of these sets.
    fn granted(self, grants: Option<&Grants>, index: &mut Index) -> Self {
        let sets = |grants: &Grants| {
            grants.sets.iter().map(|set| index.posting(Statement::Set(set.clone()))).collect()
        };
        Self { grants: grants.map(sets), ..self }
    }

    /// Leaves those on which something may be placed newly.
    pub fn grant(&self, index: &Index, open: &mut Bits, scratch: &mut Bits) {
        let Some(grants) = &self.grants else { return };
        scratch.clear();
        grants.iter().for_each(|posting| scratch.or(index.bits(*posting)));
        open.and(scratch);
    }

    /// Whether something may be placed newly on one.
    pub fn is_granted(&self, index: &Index, id: u32) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.iter().any(|posting| index.has(id, *posting)))
    }

    /// Terms of which each needs one of its statements.
    fn any(&self) -> impl Iterator<Item = &[Posting]> {
        let mut rest = &self.statements[..self.none];
        std::iter::from_fn(move || {
            let (count, statements) = rest.split_first()?;
            let term;
            (term, rest) = statements.split_at(*count as usize);
            Some(term)
        })
    }

    /// What may not be true.
    fn none(&self) -> &[Posting] {
        &self.statements[self.none..]
    }

    /// The statements that it is made of.
    pub fn postings(&self) -> impl Iterator<Item = Posting> {
        let condition = self.condition.iter().flat_map(|(holds, unknown)| [*holds, *unknown]);
        let grants = self.grants.iter().flatten();
        self.any().flatten().chain(self.none()).chain(grants).copied().chain(condition)
    }

    /// A term without this statement by which most clusters are told not to match: one with few statements.
    pub fn guard(&self, posting: Posting) -> Option<Guard> {
        let others = self.any().filter(|term| !term.contains(&posting));
        let guards = others.filter_map(|term| match *term {
            [one] => Some([one, one]),
            [one, other] => Some([one, other]),
            _ => None,
        });
        guards.min_by_key(|[one, other]| one != other)
    }

    /// The clusters that match, and those of which it cannot be told; says how many words it looked at.
    pub fn all(&self, index: &Index, matching: &mut Bits, unknown: &mut Bits, scratch: &mut Bits) -> usize {
        let mut words = 0;
        matching.copy(&index.states.present);
        for term in self.any() {
            match term {
                [one] => matching.and(index.bits(*one)),
                several => {
                    scratch.clear();
                    several.iter().for_each(|posting| scratch.or(index.bits(*posting)));
                    matching.and(scratch);
                }
            }
            words += term.len() * matching.words();
        }
        for posting in self.none() {
            matching.without(index.bits(*posting));
            words += matching.words();
        }
        unknown.clear();
        if let Some((holds, untold)) = self.condition {
            unknown.copy(matching);
            unknown.and(index.bits(untold));
            matching.and(index.bits(holds));
            words += 2 * matching.words();
        }
        words
    }

    /// Whether one cluster matches; `None` where it cannot be told.
    pub fn one(&self, index: &Index, id: u32) -> Option<bool> {
        let has = |posting: &Posting| index.has(id, *posting);
        let terms = index.states.present.has(id)
            && self.any().all(|term| term.iter().any(has))
            && !self.none().iter().any(has);
        match &self.condition {
            Some((holds, untold)) if terms => {
                if has(untold) {
                    None
                } else {
                    Some(has(holds))
                }
            }
            _ => Some(terms),
        }
    }
}

/// What taints keep away from clusters, for one rule.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// Where nothing new is placed.
    pub bars: Bits,
    /// Where what is there goes.
    pub breaks: Bits,
    /// When a toleration runs out.
    pub due_ms: Option<u64>,
}

/// The same for one cluster.
#[derive(Debug, Default)]
pub(super) struct AwayFromOne {
    pub bars: bool,
    pub breaks: bool,
    pub due_ms: Option<u64>,
}

impl Away {
    pub fn of(rule: &Rule, index: &Index, now_ms: u64) -> Self {
        let mut away = Self::default();
        let tainted = index.states.hard_taints().fold(Bits::default(), |mut all, (_, bits)| {
            all.or(bits);
            all
        });
        for id in tainted.iter() {
            let Some(cluster) = index.candidate(id) else { continue };
            let one = Self::from_one(rule, cluster, now_ms);
            away.bars.set(id, one.bars);
            away.breaks.set(id, one.breaks);
            away.due_ms = away.due_ms.into_iter().chain(one.due_ms).min();
        }
        away
    }

    pub fn from_one(rule: &Rule, cluster: &Candidate, now_ms: u64) -> AwayFromOne {
        let mut away = AwayFromOne::default();
        for (taint, since) in cluster.taints.iter().filter(|(t, _)| t.effect != Effect::PreferNoSchedule) {
            match tolerance(&rule.placement.tolerations, taint, *since, now_ms) {
                Tolerance::Always => {}
                Tolerance::Until(until) => away.due_ms = away.due_ms.into_iter().chain([until]).min(),
                Tolerance::None => {
                    away.bars = true;
                    away.breaks |= taint.effect == Effect::NoExecute;
                }
            }
        }
        away
    }
}
