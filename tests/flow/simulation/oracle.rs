//! The oracle: what must hold after each step, kept by somebody who sees everything and decides nothing.
//!
//! In: what hub and spokes did. Out: the first promise that was broken. Never: tells hub or spoke anything.

use std::collections::{BTreeMap, BTreeSet};

use nave_hub::deciding::core::Decided;
use nave_hub::state::records::Standing;
use nave_hub::state::{Audit, State, Step};
use nave_placement::assign::{Assignment, Codec, Epoch, Generation};
use nave_placement::catalog::OnRemove;
use nave_placement::overrides::Forms;
use nave_placement::{AppKey, ClusterName, Digest, ObjectKey};
use nave_proto::v1::{self, to_spoke};
use nave_spoke::target::memory::Event;

use super::git::Commit;
use super::order::Order;
use super::spoke::{Spoke, entries};
use super::waves::Waves;

/// A deletion that an order may ask for: under one assignment, of one app.
type Removal = (ClusterName, Epoch, Generation, AppKey);

/// What it remembers.
#[derive(Default)]
pub struct Oracle {
    /// Objects that every decision so far wanted on a cluster since they first were.
    wanted: BTreeMap<ClusterName, BTreeSet<ObjectKey>>,
    /// Objects that some decision did not want any more.
    dropped: BTreeMap<ClusterName, BTreeSet<ObjectKey>>,
    /// Entries that some hub decided.
    entries: BTreeMap<ClusterName, BTreeSet<(AppKey, Digest)>>,
    /// The newest that each spoke accepted.
    accepted: BTreeMap<ClusterName, (Epoch, Generation)>,
    /// Events of targets that were looked at.
    seen: BTreeMap<ClusterName, usize>,
    /// What was deleted under an order.
    deleted: BTreeMap<Removal, BTreeSet<ObjectKey>>,
    /// Who was told what of a rollout.
    waves: Waves,
    /// Who waits for whom on a cluster.
    order: Order,
    /// Number of deletions, so that a test can tell that there were any.
    pub deletions: usize,
    /// The hub's state was lost at least once.
    pub lost: bool,
    failure: Option<String>,
}

impl Oracle {
    /// A promise is broken. The first one is told.
    pub fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// What was broken, if anything.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The hub is about to decide, with these clusters away, at this time (Unix milliseconds).
    pub fn deciding(
        &mut self,
        state: &State,
        commit: &Commit,
        forms: &Forms,
        now: (&BTreeSet<ClusterName>, u64),
    ) {
        self.waves.deciding(state, commit, forms, now);
    }

    /// An operator has the rollout of an app tried again.
    pub fn retried(&mut self, app: &AppKey) {
        self.waves.retried(app);
    }

    /// A spoke begins a round.
    pub fn begins(&mut self, spoke: &Spoke) {
        self.order.begins(spoke);
    }

    /// A spoke's round is over.
    pub fn applied(&mut self, spoke: &Spoke) {
        let early = self.order.applied(spoke);
        self.check(early);
    }

    fn check(&mut self, what: Result<(), String>) {
        what.unwrap_or_else(|what| self.fail(what));
    }

    /// The hub decided: what it does not want any more on a cluster may go from there.
    pub fn decided(&mut self, state: &State, commit: &Commit, decided: &Decided, codec: &dyn Codec) {
        self.check(Order::decided(state, commit, decided));
        for (cluster, member) in &state.members {
            let emptied = member.standing == Standing::Emptying;
            let apps = decided.wanted.get(cluster).filter(|_| !emptied);
            let forms = apps.into_iter().flatten().filter_map(|(app, _)| decided.shapes.get(app, cluster));
            let objects = forms.filter_map(|form| codec.objects(&form.bundle));
            let now: BTreeSet<ObjectKey> = objects.flat_map(|objects| (*objects).clone()).collect();
            let wanted = self.wanted.entry(cluster.clone()).or_default();
            let dropped = self.dropped.entry(cluster.clone()).or_default();
            dropped.extend(wanted.difference(&now).cloned());
            wanted.extend(now);
        }
    }

    /// The hub committed something.
    pub fn committed(&mut self, step: Step, audits: &[Audit], state: &State) {
        for (cluster, told) in &state.told {
            let known = self.entries.entry(cluster.clone()).or_default();
            for (app, entry) in &told.assignment.entries {
                let new = known.insert((app.clone(), entry.digest));
                if new && step != Step::AssignmentsMade {
                    self.failure.get_or_insert(format!(
                        "{cluster}: {step:?} wrote an entry of {app} that nobody decided"
                    ));
                }
            }
        }
        if super::trace() {
            audits.iter().for_each(|audit| eprintln!("{} {}: {}", audit.what, audit.subject, audit.why));
        }
        let early = self.waves.wrote(step, audits, state);
        // Of a state that was lost nobody knows who was told what before.
        if !self.lost {
            self.check(early);
        }
        if step == Step::DoubtRaised && !self.lost {
            self.fail("the hub doubts its state, which was never lost".into());
        }
    }

    /// The hub sent something.
    pub fn sent(&mut self, state: &State, cluster: &ClusterName, messages: &[v1::ToSpoke]) {
        for message in messages {
            match &message.message {
                Some(to_spoke::Message::Assignment(sent)) => {
                    let told = state.told(cluster);
                    let kept = (told.assignment.epoch.0, told.assignment.generation.0);
                    if (sent.epoch, sent.generation) != kept {
                        self.fail(format!("{cluster} was sent an assignment that is not in the store"));
                    }
                }
                Some(to_spoke::Message::Detach(_)) => {}
                _ => continue,
            }
            if state.doubt.is_some() {
                self.fail(format!("{cluster} was sent something while the hub's state is in doubt"));
            }
        }
    }

    /// A spoke did something.
    pub fn look(&mut self, spoke: &Spoke) {
        let held = &spoke.disk.held.assignment;
        let name = &spoke.name;
        let order = self.accepted.entry(name.clone()).or_default();
        if held.order() < *order {
            let before = *order;
            self.fail(format!("{name} went back from {before:?} to {:?}", held.order()));
            return;
        }
        *order = held.order();
        let decided = self.entries.get(name);
        for (app, entry) in &held.entries {
            if !decided.is_some_and(|decided| decided.contains(&(app.clone(), entry.digest))) {
                self.fail(format!("{name} holds an entry of {app} that no hub decided"));
                return;
            }
        }
        if let Some(broken) = &spoke.broke_freeze {
            self.fail(format!("{name}: {broken}"));
        }
        self.order.look(spoke);
        let enforced = spoke.enforced().assignment;
        let events = spoke.target.events();
        let from = self.seen.insert(name.clone(), events.len()).unwrap_or(0);
        for event in &events[from..] {
            if let Event::Deleted(app, key) = event {
                self.deletion(spoke, &enforced, app, key);
            }
        }
    }

    fn deletion(&mut self, spoke: &Spoke, held: &Assignment, app: &AppKey, key: &ObjectKey) {
        self.deletions += 1;
        let name = &spoke.name;
        if !self.dropped.get(name).is_some_and(|dropped| dropped.contains(key)) {
            return self.fail(format!("{name}: {key} of {app} was deleted though every decision wanted it"));
        }
        let entries = entries(&held.entries);
        let decoded = || entries.iter().filter_map(|(app, entry)| Some((app, entry.as_ref().ok()?)));
        for (claims, entry) in decoded() {
            let bundle = spoke.disk.bundles.get(&entry.bundle).map(|bytes| bytes.to_vec());
            let claimed = bundle.and_then(|bytes| nave_placement::render::Bundle::read(bytes).ok());
            if claimed.is_some_and(|bundle| bundle.objects.contains(key)) {
                return self.fail(format!("{name}: {key} of {app} was deleted though {claims} claims it"));
            }
        }
        let own = decoded().find(|(name, _)| *name == app);
        let successor = || decoded().find(|(_, entry)| entry.options.formerly.contains(app));
        let leaving = held.leaving.get(app).filter(|leaving| leaving.policy == OnRemove::Delete);
        let (by, approved) = match (own, leaving, successor()) {
            (Some((by, entry)), _, _) => (by, entry.drops),
            (None, Some(leaving), _) => (app, leaving.objects),
            (None, None, Some((by, entry))) => (by, entry.drops),
            (None, None, None) => {
                return self.fail(format!("{name}: {key} of {app} was deleted and nobody ordered it"));
            }
        };
        let order = (name.clone(), held.epoch, held.generation, by.clone());
        let deleted = self.deleted.entry(order).or_default();
        deleted.insert(key.clone());
        if deleted.len() > approved as usize {
            let so_many = deleted.len();
            self.fail(format!("{name}: {by} deleted {so_many} objects, {approved} were approved"));
        }
    }
}
