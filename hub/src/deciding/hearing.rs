//! Hearing: what sessions know of members at this moment, and the fleet that placements choose from by it.
//!
//! In: the state, a catalog, what sessions heard. Out: candidates with everything merged that is known of them.
//! Never: takes for silent since long whom this hub, which has just begun, could not have heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use nave_placement::ClusterName;
use nave_placement::catalog::Catalog;
use nave_placement::fleet::{self, Candidate, Contact, Fact, Facts, Fleet, Resources, Taint};

use crate::sessions::stale::is_stale;
use crate::state::State;
use crate::state::records::{MemberRecord, Standing};

/// For how long what a decision took of what is free counts beside what spokes say: pods have to be made and bound, and a
/// spoke says at most once a minute, and only if it differs by much, what is free.
const CLAIM_MS: u64 = 5 * 60_000;

/// What a connected cluster has free, and when its spoke said so, Unix milliseconds.
pub type Free = Option<(Arc<Resources>, u64)>;

/// What is known of members only now: nothing of it is in the store, and a new hub begins without it.
#[derive(Clone, Debug, Default)]
pub struct Hearing {
    /// Since when the hub listens, Unix milliseconds.
    pub since_ms: u64,
    /// Clusters with a session, and what they have free.
    pub connected: BTreeMap<ClusterName, Free>,
    /// When others were heard last since then, Unix milliseconds.
    pub seen: BTreeMap<ClusterName, u64>,
    /// Taints, and since when they are there. A new hub counts from its beginning: nothing leaves earlier for it.
    pub tainted: BTreeMap<ClusterName, BTreeMap<Taint, Option<u64>>>,
    /// What decisions took of what is free, and when.
    pub claims: Claims,
}

/// What decisions took of what is free, each with when that was (Unix milliseconds), oldest first.
#[derive(Clone, Debug, Default)]
pub struct Claims(Vec<(u64, BTreeMap<ClusterName, Resources>)>);

impl Claims {
    /// Something was taken now.
    pub fn add(&mut self, taken: BTreeMap<ClusterName, Resources>, now_ms: u64) {
        self.0.retain(|(at_ms, _)| now_ms < at_ms.saturating_add(CLAIM_MS));
        if !taken.is_empty() {
            self.0.push((now_ms, taken));
        }
    }

    /// What is left of what is free.
    fn left(&self, cluster: &ClusterName, free: &Resources, now_ms: u64) -> Resources {
        let mut left = free.clone();
        let valid = self.0.iter().filter(|(at_ms, _)| now_ms < at_ms.saturating_add(CLAIM_MS));
        valid.filter_map(|(_, taken)| taken.get(cluster)).for_each(|taken| left.take(taken));
        left
    }
}

impl Hearing {
    /// Remembers since when the taints of a fleet are there.
    pub fn remember(&mut self, fleet: &Fleet) {
        let tainted = fleet.iter().filter(|(_, candidate)| !candidate.taints.is_empty());
        self.tainted = tainted.map(|(name, candidate)| (name.clone(), candidate.taints.clone())).collect();
    }
}

/// The members that placements may choose, with everything merged.
pub fn candidates(state: &State, catalog: &Catalog, hearing: &Hearing, now_ms: u64) -> Fleet {
    let enrolled = state.members.iter().filter(|(_, m)| m.standing == Standing::Member);
    enrolled
        .map(|(name, member)| (name.clone(), candidate(state, catalog, hearing, name, member, now_ms)))
        .collect()
}

fn candidate(
    state: &State,
    catalog: &Catalog,
    hearing: &Hearing,
    name: &ClusterName,
    member: &MemberRecord,
    now_ms: u64,
) -> Candidate {
    let mut candidate = fleet::candidate(Some(catalog), name, &member.membership, now_ms);
    let known = hearing.tainted.get(name);
    for (taint, since) in &mut candidate.taints {
        *since = known.and_then(|known| known.get(taint).copied().flatten()).or(Some(now_ms));
    }
    let (live, seen) = (hearing.connected.get(name), hearing.seen.get(name).copied());
    candidate.contact = match live {
        Some(_) => Contact::Connected,
        // It was heard when it enrolled.
        None => Contact::Silent { since_ms: seen.unwrap_or(member.enrolled_ms) },
    };
    if let Some(facts) = state.facts.get(name)
        && !is_stale(live.is_some(), seen, hearing.since_ms, now_ms)
    {
        candidate.facts = Facts::clone(&facts.record);
    }
    if let Some((free, _)) = live.and_then(Option::as_ref) {
        candidate.free = Fact::Present(hearing.claims.left(name, free, now_ms));
    }
    candidate
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use nave_placement::catalog::{CommitId, LastGood, Tree, assemble};
    use nave_placement::fleet::{Effect, Maintenance, Membership};

    use super::*;
    use crate::state::Versioned;
    use crate::store::Version;

    const HOUR: u64 = 3_600_000;

    fn catalog() -> Catalog {
        let (root, commit) = (nave_placement::CatalogName::root(), CommitId("0".repeat(40).into()));
        assemble(&root, &commit, true, &Tree::default(), &BTreeMap::new(), &LastGood::new())
    }

    fn state(membership: Membership) -> State {
        let mut state = State::default();
        let member = MemberRecord { membership, enrolled_ms: 7, ..MemberRecord::default() };
        let facts = Facts { nodes: Fact::Present(3), ..Facts::default() };
        let name: ClusterName = "fra-1".parse().expect("valid");
        let version = Version(1);
        state.members.insert(name.clone(), Versioned { record: Arc::new(member), version });
        state.facts.insert(name, Versioned { record: Arc::new(facts), version });
        state
    }

    fn of(state: &State, hearing: &Hearing, now_ms: u64) -> Candidate {
        candidates(state, &catalog(), hearing, now_ms).into_values().next().expect("one member")
    }

    #[test]
    fn who_is_silent_is_so_since_it_was_heard_and_its_facts_become_unknown_after_a_day() {
        let name: ClusterName = "fra-1".parse().expect("valid");
        let state = state(Membership::default());
        let connected = BTreeMap::from([(name.clone(), None)]);
        let seen = BTreeMap::from([(name, HOUR)]);
        let rows = [
            (connected, BTreeMap::new(), 90 * HOUR, Contact::Connected, true),
            (BTreeMap::new(), seen.clone(), 2 * HOUR, Contact::Silent { since_ms: HOUR }, true),
            (BTreeMap::new(), seen, 25 * HOUR, Contact::Silent { since_ms: HOUR }, false),
            (BTreeMap::new(), BTreeMap::new(), 2 * HOUR, Contact::Silent { since_ms: 7 }, true),
        ];
        for (connected, seen, now_ms, contact, known) in rows {
            let hearing = Hearing { connected, seen, ..Hearing::default() };
            let candidate = of(&state, &hearing, now_ms);
            assert_eq!(candidate.contact, contact);
            assert_eq!(candidate.facts.nodes == Fact::Present(3), known, "{contact:?} at {now_ms}");
        }
    }

    #[test]
    fn what_was_taken_is_not_free_for_a_while() {
        let name: ClusterName = "fra-1".parse().expect("valid");
        let cpu = |cpu_millis| Resources { cpu_millis, ..Resources::default() };
        let state = state(Membership::default());
        let connected = BTreeMap::from([(name.clone(), Some((Arc::new(cpu(5_000)), 1)))]);
        let mut hearing = Hearing { connected, ..Hearing::default() };
        hearing.claims.add(BTreeMap::from([(name, cpu(2_000))]), 10);
        for (now_ms, left) in [(10, 3_000), (9 + CLAIM_MS, 3_000), (10 + CLAIM_MS, 5_000)] {
            assert_eq!(of(&state, &hearing, now_ms).free, Fact::Present(cpu(left)), "{now_ms}");
        }
    }

    #[test]
    fn what_operators_said_counts_and_a_taint_is_as_old_as_it_was_seen() {
        let taint = Taint { key: "gpu".into(), value: String::new(), effect: Effect::NoExecute };
        let state = state(Membership {
            taints: BTreeSet::from([taint.clone()]),
            cordoned: true,
            draining: true,
            maintenance: Some(Maintenance { until_ms: 50, reason: String::new() }),
            ..Membership::default()
        });
        let mut hearing = Hearing::default();
        let first = of(&state, &hearing, 20);
        assert!(first.cordoned && first.draining && first.maintained);
        hearing.remember(&candidates(&state, &catalog(), &hearing, 20));
        let later = of(&state, &hearing, 60);
        assert_eq!((later.taints.get(&taint), later.maintained), (Some(&Some(20)), false));
    }
}
