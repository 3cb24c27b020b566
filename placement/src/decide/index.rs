//! Index: the fleet turned around, from what can be said of a cluster to the clusters of which it is true.
//!
//! In: candidates as they come and change. Out: for each statement that some rule or cluster makes, a set of clusters; for
//! each change, the statements whose answer flipped.
//! Never: evaluates an expression again for a cluster on which nothing changed that it reads.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::bits::Bits;
use crate::ClusterName;
use crate::fleet::{Candidate, Contact, Effect, Fact, Fleet, Resources, Taint};
use crate::select::{Condition, Reads, Truth, values};

/// Something that is true of some clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Statement {
    /// The label has this value.
    Label(String, String),
    /// The label is there.
    HasLabel(String),
    /// It is in this set.
    Set(String),
    /// It has this name.
    Name(ClusterName),
    /// The expression holds.
    Holds(Arc<str>),
    /// The expression cannot be told.
    Unknown(Arc<str>),
}

/// A statement's number.
pub(super) type Posting = u32;

/// A state that concerns every rule.
#[derive(Clone, Debug, Default)]
pub(super) struct States {
    /// Members.
    pub present: Bits,
    /// Nothing new is placed, whatever is tolerated: cordoned, drained, under maintenance, or never heard.
    pub closed: Bits,
    /// Nothing changes.
    pub maintained: Bits,
    /// By taint.
    pub taints: BTreeMap<Taint, Bits>,
}

/// What a change of a cluster did.
#[derive(Debug, Default)]
pub(super) struct Flips {
    /// Statements whose answer flipped.
    pub postings: Vec<Posting>,
    /// It is new, or gone, or its states or taints changed: every rule has to look at it.
    pub everyone: bool,
    /// Whether its spoke is heard changed.
    pub contact: bool,
    /// What changed of it.
    pub reads: BTreeSet<Reads>,
}

/// The fleet, turned around.
#[derive(Debug, Default)]
pub(super) struct Index {
    ids: HashMap<ClusterName, u32>,
    names: Vec<ClusterName>,
    candidates: Vec<Option<Candidate>>,
    numbers: HashMap<Statement, Posting>,
    postings: Vec<Bits>,
    /// The same by cluster: the statements that are true of it, in order. Who asks much of one cluster finds it in one place.
    rows: Vec<Vec<Posting>>,
    conditions: BTreeMap<Arc<str>, Condition>,
    pub states: States,
    /// Evaluations of expressions.
    pub evaluations: u64,
    /// Members that were ever heard and are not under maintenance, and how many of them are silent.
    heard: usize,
    silent: usize,
}

impl Index {
    pub fn new(fleet: &Fleet) -> Self {
        let mut index = Self::default();
        fleet.iter().for_each(|(name, candidate)| _ = index.set(name, Some(candidate.clone())));
        index
    }

    pub fn id(&self, name: &ClusterName) -> Option<u32> {
        self.ids.get(name).copied()
    }

    pub fn name(&self, id: u32) -> &ClusterName {
        &self.names[id as usize]
    }

    pub fn candidate(&self, id: u32) -> Option<&Candidate> {
        self.candidates.get(id as usize)?.as_ref()
    }

    pub fn bits(&self, posting: Posting) -> &Bits {
        &self.postings[posting as usize]
    }

    /// Whether a statement is true of a cluster.
    pub fn has(&self, id: u32, posting: Posting) -> bool {
        self.rows[id as usize].binary_search(&posting).is_ok()
    }

    /// Silent members, and all that were ever heard.
    pub fn silent(&self) -> (usize, usize) {
        (self.silent, self.heard)
    }

    /// The clusters, in no order that means anything.
    pub fn clusters(&self) -> impl Iterator<Item = (u32, &ClusterName, &Candidate)> {
        let known = (0_u32..).zip(&self.names).zip(&self.candidates);
        known.filter_map(|((id, name), candidate)| Some((id, name, candidate.as_ref()?)))
    }

    /// The statements that are true of a cluster, in order.
    pub fn row(&self, id: u32) -> &[Posting] {
        &self.rows[id as usize]
    }

    /// What is free on a cluster is so much less until its spoke reports again.
    pub fn take(&mut self, name: &ClusterName, taken: &Resources) {
        let candidate = self.id(name).and_then(|id| self.candidates[id as usize].as_mut());
        if let Some(Fact::Present(free)) = candidate.map(|candidate| &mut candidate.free) {
            free.take(taken);
        }
    }

    /// The number of a cluster that is, was, or may come to be a member.
    pub fn intern(&mut self, name: &ClusterName) -> u32 {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = u32::try_from(self.names.len()).expect("there are fewer clusters than 2^32");
        self.ids.insert(name.clone(), id);
        self.names.push(name.clone());
        self.candidates.push(None);
        self.rows.push(Vec::new());
        id
    }

    /// The number of a statement that a rule makes. That of a label is known for every cluster already.
    pub fn posting(&mut self, statement: Statement) -> Posting {
        if let Some(posting) = self.numbers.get(&statement) {
            return *posting;
        }
        let bits = match &statement {
            Statement::Name(name) => {
                self.id(name).filter(|id| self.candidate(*id).is_some()).into_iter().collect()
            }
            _ => Bits::default(),
        };
        self.add(statement, bits)
    }

    fn add(&mut self, statement: Statement, bits: Bits) -> Posting {
        let posting = Posting::try_from(self.postings.len()).expect("there are fewer statements than 2^32");
        self.numbers.insert(statement, posting);
        // It is the highest number so far.
        bits.iter().for_each(|id| self.rows[id as usize].push(posting));
        self.postings.push(bits);
        posting
    }

    /// The numbers of what an expression says: that it holds, and that it cannot be told. It is evaluated for every cluster
    /// once, however many rules use it.
    pub fn condition(&mut self, condition: &Condition) -> (Posting, Posting) {
        let text = condition.text();
        let holds = Statement::Holds(text.clone());
        let unknown = Statement::Unknown(text.clone());
        if !self.conditions.contains_key(text) {
            self.conditions.insert(text.clone(), condition.clone());
            let (mut yes, mut untold) = (Bits::default(), Bits::default());
            for (id, name, candidate) in self.clusters() {
                match condition.judge(name, candidate) {
                    Truth::Holds => _ = yes.set(id, true),
                    Truth::Unknown { .. } | Truth::Undecided { .. } => _ = untold.set(id, true),
                    Truth::Fails { .. } => {}
                }
            }
            self.evaluations += self.ids.len() as u64;
            self.add(holds.clone(), yes);
            self.add(unknown.clone(), untold);
        }
        (self.numbers[&holds], self.numbers[&unknown])
    }

    /// A cluster is new, has changed, or is gone.
    pub fn set(&mut self, name: &ClusterName, candidate: Option<Candidate>) -> Flips {
        let id = self.intern(name);
        let before = self.candidates[id as usize].take();
        let after = candidate;
        let nothing = Candidate::default();
        let (was, is) = (before.as_ref().unwrap_or(&nothing), after.as_ref().unwrap_or(&nothing));
        let labels = differing(&was.labels, &is.labels);
        let mut flips = Flips::default();
        if before.is_some() && after.is_some() {
            flips.reads = reads(was, is, &labels);
        }
        self.labels(id, &labels, &mut flips);
        if was.set != is.set {
            let statement = |set: &String| Statement::Set(set.clone());
            was.set.iter().map(statement).for_each(|s| self.flip(s, id, false, &mut flips));
            is.set.iter().map(statement).for_each(|s| self.flip(s, id, true, &mut flips));
        }
        if before.is_some() != after.is_some() {
            let statement = Statement::Name(name.clone());
            if self.numbers.contains_key(&statement) {
                self.flip(statement, id, after.is_some(), &mut flips);
            }
            flips.everyone = true;
        }
        self.evaluate(id, after.as_ref(), &mut flips);
        self.state(id, before.as_ref(), after.as_ref(), &mut flips);
        let changes = |(key, _, is): (&String, _, Option<&String>)| (key.clone(), is.cloned());
        let changes: Vec<_> = labels.into_iter().map(changes).collect();
        self.candidates[id as usize] = match (before, after) {
            (Some(before), Some(after)) => {
                Some(Candidate { labels: changed(before.labels, changes), ..after })
            }
            (_, after) => after,
        };
        flips
    }

    fn labels(&mut self, id: u32, labels: &[Differing<'_>], flips: &mut Flips) {
        for (key, was, is) in labels {
            for (value, on) in [(was, false), (is, true)] {
                if let Some(value) = value {
                    self.flip(Statement::Label((*key).clone(), (*value).clone()), id, on, flips);
                }
            }
            if was.is_some() != is.is_some() {
                self.flip(Statement::HasLabel((*key).clone()), id, is.is_some(), flips);
            }
        }
    }

    fn flip(&mut self, statement: Statement, id: u32, on: bool, flips: &mut Flips) {
        let posting = self.posting(statement);
        self.write(posting, id, on, flips);
    }

    fn write(&mut self, posting: Posting, id: u32, on: bool, flips: &mut Flips) {
        if !self.postings[posting as usize].set(id, on) {
            return;
        }
        let row = &mut self.rows[id as usize];
        match row.binary_search(&posting) {
            Ok(at) => drop(row.remove(at)),
            Err(at) => row.insert(at, posting),
        }
        flips.postings.push(posting);
    }

    /// Expressions that read something that changed.
    fn evaluate(&mut self, id: u32, after: Option<&Candidate>, flips: &mut Flips) {
        if flips.reads.is_empty() && !flips.everyone {
            return;
        }
        let name = self.names[id as usize].clone();
        let mut shared = None;
        let mut said = Vec::new();
        for (text, condition) in &self.conditions {
            if !flips.everyone && condition.reads().is_disjoint(&flips.reads) {
                continue;
            }
            let truth = after.map(|candidate| {
                self.evaluations += 1;
                match condition.unknown(candidate) {
                    Some(fact) => Truth::Unknown { fact },
                    None => condition.evaluate(shared.get_or_insert_with(|| values(&name, candidate))),
                }
            });
            let holds = truth == Some(Truth::Holds);
            let untold = matches!(truth, Some(Truth::Unknown { .. } | Truth::Undecided { .. }));
            let statements = [Statement::Holds(text.clone()), Statement::Unknown(text.clone())];
            said.extend(statements.map(|s| self.numbers[&s]).into_iter().zip([holds, untold]));
        }
        said.into_iter().for_each(|(posting, on)| self.write(posting, id, on, flips));
    }

    fn state(&mut self, id: u32, before: Option<&Candidate>, after: Option<&Candidate>, flips: &mut Flips) {
        let closed = |c: &Candidate| c.cordoned || c.draining || c.maintained || c.contact == Contact::Never;
        let heard = |c: Option<&Candidate>| {
            let counted = c.filter(|c| !c.maintained && c.contact != Contact::Never);
            (
                usize::from(counted.is_some()),
                usize::from(counted.is_some_and(|c| c.contact != Contact::Connected)),
            )
        };
        let ((was_heard, was_silent), (is_heard, is_silent)) = (heard(before), heard(after));
        self.heard = self.heard + is_heard - was_heard;
        self.silent = self.silent + is_silent - was_silent;
        flips.contact = before.map(|c| c.contact) != after.map(|c| c.contact) || was_silent != is_silent;
        let states = &mut self.states;
        let mut everyone = states.present.set(id, after.is_some());
        everyone |= states.closed.set(id, after.is_some_and(closed));
        everyone |= states.maintained.set(id, after.is_some_and(|c| c.maintained));
        everyone |= before.is_some_and(|c| c.draining) != after.is_some_and(|c| c.draining);
        let taints = |c: Option<&Candidate>| c.map(|c| c.taints.clone()).unwrap_or_default();
        let (was, is) = (taints(before), taints(after));
        if was != is {
            everyone = true;
            for taint in was.keys() {
                states.taints.entry(taint.clone()).or_default().set(id, false);
            }
            for taint in is.keys() {
                states.taints.entry(taint.clone()).or_default().set(id, true);
            }
            states.taints.retain(|_, bits| !bits.is_empty());
        }
        flips.everyone |= everyone;
    }
}

impl States {
    /// Taints that keep anything away from clusters.
    pub fn hard_taints(&self) -> impl Iterator<Item = (&Taint, &Bits)> {
        self.taints.iter().filter(|(taint, _)| taint.effect != Effect::PreferNoSchedule)
    }
}

/// A label, its value before and after.
type Differing<'a> = (&'a String, Option<&'a String>, Option<&'a String>);

/// The labels that differ, by one walk over both.
fn differing<'a>(was: &'a BTreeMap<String, String>, is: &'a BTreeMap<String, String>) -> Vec<Differing<'a>> {
    let (mut was, mut is) = (was.iter().peekable(), is.iter().peekable());
    let mut differing = Vec::new();
    loop {
        let order = match (was.peek(), is.peek()) {
            (None, None) => return differing,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let before = if order == Ordering::Greater { None } else { was.next() };
        let after = if order == Ordering::Less { None } else { is.next() };
        let (old, new) = (before.map(|(_, value)| value), after.map(|(_, value)| value));
        if let Some((key, _)) = before.or(after).filter(|_| old != new) {
            differing.push((key, old, new));
        }
    }
}

/// The labels with these changes. That is cheaper than freeing them all for others of which most are the same.
fn changed(
    mut labels: BTreeMap<String, String>,
    changes: Vec<(String, Option<String>)>,
) -> BTreeMap<String, String> {
    for (key, value) in changes {
        match value {
            Some(value) => labels.insert(key, value),
            None => labels.remove(&key),
        };
    }
    labels
}

/// What changed of a cluster that was there and still is. Of one that is new or gone, everything did, and every rule looks at
/// it anyway.
fn reads(was: &Candidate, is: &Candidate, labels: &[Differing<'_>]) -> BTreeSet<Reads> {
    let mut reads: BTreeSet<Reads> = labels.iter().map(|(key, _, _)| Reads::Label((*key).clone())).collect();
    if !labels.is_empty() {
        reads.insert(Reads::Labels);
    }
    if was.set != is.set {
        reads.insert(Reads::Set);
    }
    if was.facts != is.facts || was.free != is.free {
        let facts = crate::select::FACTS.iter().map(|(fact, _)| *fact);
        let differs = |fact: &crate::select::FactName| fact.of(was) != fact.of(is);
        reads.extend(facts.filter(differs).map(Reads::Fact));
    }
    reads
}
