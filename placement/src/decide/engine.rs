//! Engine: every placement over the whole fleet, once, and from then on only what a change concerns.
//!
//! In: rules and clusters as they come, change and go; the time. Out: what each rule chose, and which changed.
//! Never: decides differently for having been told of changes one by one: a new engine over the same rules, clusters and
//! previous decisions settles the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::bits::Bits;
use super::index::{Flips, Index, Posting};
use super::pick::{Entry, Member, Situation, choose};
use super::rule::{Away, Guard, Matcher, Rule};
use super::{Decision, Memory, Moment, Outcome, Settled, apps, shares};
use crate::catalog::{Catalog, ClusterSelection, Placement};
use crate::fleet::{Candidate, Fleet, Resources};
use crate::select::Reads;
use crate::{AppKey, ClusterName};

/// How much was done, in things that do not depend on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Rules that were evaluated over the whole fleet.
    pub rules: u64,
    /// Words of bitmap that this took.
    pub words: u64,
    /// Pairs of a rule and a cluster that were looked at one by one.
    pub pairs: u64,
    /// Clusters that rules chose among.
    pub pool: u64,
    /// Evaluations of expressions.
    pub evaluations: u64,
}

/// What settling did, apart from what it [changed](Engine::changed).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    /// What they took of what was free. Until a cluster's spoke reports again, it has so much less.
    pub taken: BTreeMap<ClusterName, Resources>,
    /// When the time alone would change something, in Unix milliseconds.
    pub due_ms: Option<u64>,
    /// Whether a rule waits for clusters to become healthy, to be heard, or to have something free.
    pub open: bool,
}

/// A rule that makes a statement.
struct Maker {
    rule: usize,
    /// Other statements of the rule of which one has to be true for it to match, whatever becomes of this one.
    guard: Option<Guard>,
}

/// Decides.
#[derive(Default)]
pub struct Engine {
    index: Index,
    rules: Vec<Option<Rule>>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// What else selects clusters, by name: overrides.
    selections: BTreeMap<Arc<str>, Matcher>,
    /// By statement, the rules that make it.
    makers: Vec<Vec<Maker>>,
    /// By what is looked at, the rules that pick by it.
    pickers: BTreeMap<Reads, BTreeSet<usize>>,
    /// Rules that fail over.
    failing_over: BTreeSet<usize>,
    /// Rules that pick and have open wishes.
    open: BTreeSet<usize>,
    /// When the time changes something, and for which rule.
    timed: BTreeSet<(u64, usize)>,
    /// Rules that have to be evaluated over the whole fleet.
    dirty: BTreeSet<usize>,
    /// Rules that do not pick, and a cluster that they have to look at.
    pairs: Vec<(usize, u32)>,
    /// What rules had settled that do not pick any more, until they are settled themselves: the rule may change once more.
    unsettled: BTreeMap<usize, Settled>,
    /// By cluster, how many rules picked it.
    load: Vec<u64>,
    /// Rules that are gone, and have not been told as changed.
    gone: BTreeSet<Arc<str>>,
    /// What the last settling changed: rules, and names of those that were gone.
    changed: (Vec<usize>, BTreeSet<Arc<str>>),
    /// The statements that are true of the cluster that is being looked at; empty in between.
    here: Bits,
    work: Work,
}

impl Engine {
    /// An engine over a fleet, without rules.
    pub fn new(fleet: &Fleet) -> Self {
        Self { index: Index::new(fleet), ..Self::default() }
    }

    /// An engine for a catalog: everything is still to be settled.
    pub fn of(catalog: &Catalog, fleet: &Fleet, previous: &Memory) -> Self {
        let mut engine = Self::new(fleet);
        for (effective, spec) in catalog.overrides() {
            engine.set_selection(&effective.object.id.name, &spec.clusters);
        }
        for (object, placement) in catalog.placements() {
            let name = &object.object.id.name;
            let settled = previous.get(name).cloned().unwrap_or_default();
            engine.set_rule(name, Arc::new(placement.clone()), apps(catalog, &placement.apps), settled);
        }
        engine
    }

    /// An override selects these clusters.
    pub fn set_selection(&mut self, name: &Arc<str>, clusters: &ClusterSelection) {
        let matcher = Matcher::new(clusters, &mut self.index);
        self.selections.insert(name.clone(), matcher);
    }

    /// A rule is new or has changed. `previous` is what it had settled, where the engine does not know it.
    pub fn set_rule(
        &mut self,
        name: &Arc<str>,
        placement: Arc<Placement>,
        apps: BTreeSet<AppKey>,
        previous: Settled,
    ) {
        let known = self.take_rule(name);
        let at = match known {
            Some((at, _)) => at,
            None => self.rules.iter().position(Option::is_none).unwrap_or(self.rules.len()),
        };
        let previous = known.map_or(previous, |(_, settled)| settled);
        if placement.pick.is_none() && !previous.is_plain() {
            self.unsettled.insert(at, previous.clone());
        }
        let rule = Rule::new(name, placement, apps, previous, &mut self.index);
        if at == self.rules.len() {
            self.rules.push(None);
        }
        for posting in rule.matcher.postings().collect::<BTreeSet<_>>() {
            let posting = posting as usize;
            if self.makers.len() <= posting {
                self.makers.resize_with(posting + 1, Vec::new);
            }
            let guard = rule.matcher.guard(posting as Posting);
            self.makers[posting].push(Maker { rule: at, guard });
        }
        for reads in rule.groups_by.iter().chain(&rule.chooses_by) {
            self.pickers.entry(reads.clone()).or_default().insert(at);
        }
        if rule.pick.as_ref().is_some_and(|pick| pick.failover.is_some()) {
            self.failing_over.insert(at);
        }
        if rule.pick.is_some() {
            carry(&mut self.load, &rule.chosen, true);
        }
        self.rules[at] = Some(rule);
        self.by_name.insert(name.clone(), at);
        self.gone.remove(name);
        self.dirty.insert(at);
    }

    /// A rule is gone.
    pub fn remove_rule(&mut self, name: &Arc<str>) {
        if self.take_rule(name).is_some() {
            self.by_name.remove(name);
            self.gone.insert(name.clone());
        }
    }

    fn take_rule(&mut self, name: &Arc<str>) -> Option<(usize, Settled)> {
        let at = *self.by_name.get(name)?;
        let rule = self.rules[at].take()?;
        for posting in rule.matcher.postings() {
            self.makers[posting as usize].retain(|maker| maker.rule != at);
        }
        self.pickers.values_mut().for_each(|rules| _ = rules.remove(&at));
        for rules in [&mut self.failing_over, &mut self.open, &mut self.dirty] {
            rules.remove(&at);
        }
        self.timed.retain(|(_, rule)| *rule != at);
        self.pairs.retain(|(rule, _)| *rule != at);
        self.changed.0.clear();
        if rule.pick.is_some() {
            carry(&mut self.load, &rule.chosen, false);
        }
        let settled = self.unsettled.remove(&at).unwrap_or_else(|| rule.settled(&self.index));
        Some((at, settled))
    }

    /// A cluster is new, has changed, or is gone.
    pub fn set_cluster(&mut self, name: &ClusterName, candidate: Option<Candidate>) {
        let Flips { postings, everyone, contact, reads } = self.index.set(name, candidate);
        let Some(id) = self.index.id(name) else { return };
        let mut concerned: Vec<usize> = match everyone {
            true => self.by_name.values().copied().collect(),
            false => {
                let mark = |here: &mut Bits, on| {
                    let marked = self.index.row(id).iter().chain(&postings);
                    marked.for_each(|posting| _ = here.set(*posting, on));
                };
                mark(&mut self.here, true);
                let makers = postings.iter().filter_map(|posting| self.makers.get(*posting as usize));
                // What does not match before and after, whatever flipped, is not looked at.
                let may_match = |guard: &Guard| guard.iter().any(|posting| self.here.has(*posting));
                let concerned = |maker: &&Maker| maker.guard.as_ref().is_none_or(may_match);
                let concerned = makers.flatten().filter(concerned).map(|maker| maker.rule).collect();
                mark(&mut self.here, false);
                concerned
            }
        };
        concerned.sort_unstable();
        concerned.dedup();
        for at in concerned {
            match self.rules[at].as_ref().is_some_and(|rule| rule.pick.is_some()) {
                true => _ = self.dirty.insert(at),
                false => self.pairs.push((at, id)),
            }
        }
        for reads in &reads {
            for at in self.pickers.get(reads).into_iter().flatten() {
                let groups_by = self.rules[*at].as_ref().and_then(|rule| rule.groups_by.as_ref());
                if self.open.contains(at) || groups_by == Some(reads) {
                    self.dirty.insert(*at);
                }
            }
        }
        if contact || everyone {
            self.dirty.extend(self.open.iter().chain(&self.failing_over));
        }
    }

    /// Another fleet, and what is remembered of the rules: only what differs is looked at. Compared is with what the index
    /// has, in which what decisions took is not free any more.
    pub fn refresh(&mut self, fleet: &Fleet, previous: &Memory) {
        let here = self.index.clusters().map(|(_, name, _)| name);
        let gone: Vec<ClusterName> = here.filter(|name| !fleet.contains_key(*name)).cloned().collect();
        gone.iter().for_each(|name| self.set_cluster(name, None));
        for (name, candidate) in fleet {
            let known = self.index.id(name).and_then(|id| self.index.candidate(id));
            if known != Some(candidate) {
                self.set_cluster(name, Some(candidate.clone()));
            }
        }
        let nothing = Settled::default();
        for (name, at) in &self.by_name {
            let previous = previous.get(name).unwrap_or(&nothing);
            let Some(rule) = self.rules[*at].as_mut().filter(|rule| !rule.has_settled(previous, &self.index))
            else {
                continue;
            };
            let picks = rule.pick.is_some();
            if picks {
                carry(&mut self.load, &rule.chosen, false);
            }
            rule.resume(previous, &mut self.index);
            if picks {
                carry(&mut self.load, &rule.chosen, true);
            }
            self.dirty.insert(*at);
        }
        self.touch_health();
    }

    /// Apps somewhere became healthy, or no longer are: whoever waits for that looks again.
    pub fn touch_health(&mut self) {
        self.dirty.extend(&self.open);
    }

    /// Settles what changed, rules by name: what one takes of what is free, the next ones do not find.
    pub fn settle(&mut self, moment: Moment<'_>) -> Settling {
        while let Some((due, at)) = self.timed.pop_first() {
            if due > moment.now_ms {
                self.timed.insert((due, at));
                break;
            }
            self.dirty.insert(at);
        }
        let mut settling = Settling::default();
        self.changed.0.clear();
        self.changed.1 = std::mem::take(&mut self.gone);
        self.settle_pairs(moment);
        let mut ordered: Vec<Rule> =
            std::mem::take(&mut self.dirty).into_iter().filter_map(|at| self.rules[at].take()).collect();
        ordered.sort_by(|a, b| a.name.cmp(&b.name));
        let mut buffers = Buffers::default();
        let mut again: Vec<usize> = Vec::new();
        for mut rule in ordered {
            let due = rule.due_ms;
            if self.evaluate(&mut rule, moment, &mut settling.taken, &mut buffers) {
                let at = self.by_name.get(&rule.name);
                self.changed.0.extend(at);
                // A stand-in may be healthy already, where another rule runs the app: nothing would tell.
                again.extend(at.filter(|_| rule.has_stand_ins()));
            }
            self.put_back(rule, due);
        }
        self.unsettled.clear();
        let now = (!again.is_empty()).then_some(moment.now_ms);
        self.dirty.extend(again);
        settling.taken.iter().for_each(|(name, taken)| self.index.take(name, taken));
        settling.due_ms = now.or(self.timed.first().map(|(due, _)| *due));
        settling.open = !self.open.is_empty();
        settling
    }

    fn put_back(&mut self, rule: Rule, due_before: Option<u64>) {
        let Some(&at) = self.by_name.get(&rule.name) else { return };
        if rule.due_ms != due_before {
            due_before.map(|due| self.timed.remove(&(due, at)));
            rule.due_ms.map(|due| self.timed.insert((due, at)));
        }
        match rule.pick.is_some() && rule.open {
            true => self.open.insert(at),
            false => self.open.remove(&at),
        };
        self.rules[at] = Some(rule);
    }

    /// Rules that take all that match look at single clusters.
    fn settle_pairs(&mut self, moment: Moment<'_>) {
        let pairs = std::mem::take(&mut self.pairs);
        // Each lies somewhere else in memory: asked for in one go, they come together.
        let was = |(at, id): &(usize, u32)| self.rules[*at].as_ref().is_some_and(|rule| rule.chosen.has(*id));
        let before: Vec<bool> = pairs.iter().map(was).collect();
        for ((at, id), was) in pairs.into_iter().zip(before) {
            let Some(rule) = &mut self.rules[at] else { continue };
            self.work.pairs += 1;
            let (changed, due) = look(&self.index, rule, id, was, moment.now_ms);
            self.changed.0.extend(changed.then_some(at));
            if let Some(due) = due.filter(|due| rule.due_ms.is_none_or(|before| *due < before)) {
                rule.due_ms.map(|before| self.timed.remove(&(before, at)));
                rule.due_ms = Some(due);
                self.timed.insert((due, at));
            }
        }
    }

    /// Evaluates a rule over the whole fleet; says whether it chooses otherwise.
    fn evaluate(
        &mut self,
        rule: &mut Rule,
        moment: Moment<'_>,
        taken: &mut BTreeMap<ClusterName, Resources>,
        buffers: &mut Buffers,
    ) -> bool {
        self.work.rules += 1;
        let (words, due_ms) = stand(&self.index, rule, moment.now_ms, buffers);
        self.work.words += words;
        rule.due_ms = due_ms;
        let Buffers { kept, open, .. } = buffers;
        if rule.pick.is_some() {
            return self.pick(rule, kept, open, moment, taken);
        }
        kept.or(open);
        let changed = !kept.same(&rule.chosen);
        if changed {
            rule.chosen.copy(kept);
        }
        changed
    }

    /// Chooses among those that are kept and those that are open.
    fn pick(
        &mut self,
        rule: &mut Rule,
        kept: &Bits,
        open: &Bits,
        moment: Moment<'_>,
        taken: &mut BTreeMap<ClusterName, Resources>,
    ) -> bool {
        let Some(mut situation) = situation(&self.index, &self.load, rule, kept, open, moment, taken) else {
            return false;
        };
        self.work.pool += situation.members.len() as u64;
        let chosen = choose(&mut situation);
        let mut settled = chosen.settled(&situation);
        settled.shares = shares::settle(rule.placement.replicas.as_ref(), &situation, &chosen, &settled);
        rule.open = chosen.open;
        rule.due_ms = rule.due_ms.into_iter().chain(chosen.due_ms).min();
        let ids: Bits = settled.chosen.keys().filter_map(|name| self.index.id(name)).collect();
        carry(&mut self.load, &rule.chosen, false);
        carry(&mut self.load, &ids, true);
        let changed = settled != *rule.settled;
        (rule.chosen, *rule.settled) = (ids, settled);
        changed
    }

    /// What the terms of an override say of a cluster. It costs no evaluation: the index has the answer.
    pub fn selects(&self, name: &str, cluster: &ClusterName) -> Outcome {
        let matches = self.selections.get(name).zip(self.index.id(cluster));
        match matches.map_or(Some(false), |(selection, id)| selection.one(&self.index, id)) {
            Some(true) => Outcome::Holds,
            Some(false) => Outcome::Breaks,
            None => Outcome::Unknown,
        }
    }

    /// The placements that the last settling changed, until a rule is set or removed.
    pub fn changed(&self) -> BTreeSet<Arc<str>> {
        let (rules, gone) = &self.changed;
        let rules = rules.iter().filter_map(|at| self.rules[*at].as_ref());
        rules.map(|rule| &rule.name).chain(gone).cloned().collect()
    }

    /// What every placement chose.
    pub fn decisions(&self) -> Vec<Decision> {
        let decision = |rule: &Rule| Decision {
            placement: rule.name.clone(),
            apps: rule.apps.clone(),
            settled: rule.settled(&self.index),
        };
        self.rules().map(decision).collect()
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.by_name.values().filter_map(|at| self.rules[*at].as_ref())
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn load(&self) -> &[u64] {
        &self.load
    }

    /// What was done so far.
    pub fn work(&self) -> Work {
        Work { evaluations: self.index.evaluations, ..self.work }
    }
}

/// Whether a cluster is chosen by a rule that takes all that match; says whether that is new, and until when it holds.
fn look(index: &Index, rule: &mut Rule, id: u32, was: bool, now_ms: u64) -> (bool, Option<u64>) {
    let matches = rule.matcher.one(index, id);
    let tainted = index.candidate(id).filter(|cluster| !cluster.taints.is_empty());
    let away = tainted.map(|cluster| Away::from_one(rule, cluster, now_ms)).unwrap_or_default();
    let is = match was {
        true => {
            index.states.present.has(id)
                && (index.states.maintained.has(id) || (matches != Some(false) && !away.breaks))
        }
        false => {
            matches == Some(true)
                && !index.states.closed.has(id)
                && !away.bars
                && rule.matcher.is_granted(index, id)
        }
    };
    (rule.chosen.set(id, is), away.due_ms)
}

/// What a rule chooses among.
pub(super) fn situation<'a>(
    index: &'a Index,
    load: &[u64],
    rule: &'a Rule,
    kept: &Bits,
    open: &Bits,
    moment: Moment<'a>,
    taken: &'a mut BTreeMap<ClusterName, Resources>,
) -> Option<Situation<'a>> {
    let entry = |id: u32| match (kept.has(id), open.has(id)) {
        (true, _) => Entry::Kept,
        (false, true) => Entry::Open,
        (false, false) => Entry::Broken,
    };
    let mut pool = rule.chosen.clone();
    pool.or(open);
    pool.and(&index.states.present);
    let member = |id: u32| {
        let own = u64::from(rule.chosen.has(id));
        let load = load.get(id as usize).copied().unwrap_or(0).saturating_sub(own);
        let (name, cluster) = (index.name(id), index.candidate(id)?);
        Some(Member { name, cluster, entry: entry(id), anew: open.has(id), load })
    };
    let mut members: Vec<Member<'_>> = pool.iter().filter_map(member).collect();
    members.sort_by_key(|member| member.name);
    Some(Situation {
        placement: &rule.name,
        pick: rule.pick.as_deref()?,
        tolerations: &rule.placement.tolerations,
        apps: &rule.apps,
        members,
        previous: &rule.settled,
        moment,
        silent: index.silent(),
        taken,
    })
}

/// Memory that evaluations share.
#[derive(Default)]
pub(super) struct Buffers {
    /// Clusters that were chosen and may stay.
    pub kept: Bits,
    /// Clusters that may be chosen, whether they are or not.
    pub open: Bits,
    unknown: Bits,
    scratch: Bits,
}

/// Which clusters a rule keeps and which it may choose, as [`super::judge`] says it of each; gives the words looked at, and
/// when the time changes something.
pub(super) fn stand(index: &Index, rule: &Rule, now_ms: u64, buffers: &mut Buffers) -> (u64, Option<u64>) {
    let Buffers { kept, open, unknown, scratch } = buffers;
    let words = rule.matcher.all(index, open, unknown, scratch);
    let away = Away::of(rule, index, now_ms);
    // What was chosen stays where the terms hold or cannot be told, and under maintenance in any case.
    kept.copy(open);
    kept.or(unknown);
    kept.without(&away.breaks);
    kept.or(&index.states.maintained);
    kept.and(&rule.chosen);
    kept.and(&index.states.present);
    open.without(&index.states.closed);
    open.without(&away.bars);
    rule.matcher.grant(index, open, scratch);
    (words as u64, away.due_ms)
}

/// Counts a rule's choice, or takes it out of the count.
fn carry(load: &mut Vec<u64>, chosen: &Bits, more: bool) {
    for id in chosen.iter() {
        let at = id as usize;
        if load.len() <= at {
            load.resize(at + 1, 0);
        }
        load[at] = if more { load[at] + 1 } else { load[at].saturating_sub(1) };
    }
}
