//! Starting: lets changes begin when they may, and finds out what runs where that was forgotten.
//!
//! In: the accepted assignment, the time, how apps are doing, the target. Out: what is enforced. Never: enforces a change before its
//! beginning is stored, takes what it could not see for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nave_placement::assign::{Assignment, EncodedEntry, Entry, Epoch, Generation};
use nave_placement::render::{Bundle, effective_objects};
use nave_placement::report::EntryReason;
use nave_placement::schedule::{Closed, ClosedBy};
use nave_placement::{AppKey, Digest, ObjectKey};
use nave_proto::tls::Clock;

use super::order::{self, Met, Stand};
use super::{Enforced, Entries};
use crate::link;
use crate::report::Outcome;
use crate::state::State;
use crate::target::{Missing, Target};

/// What is needed for it.
pub struct Starting {
    state: Arc<State>,
    target: Arc<dyn Target>,
    clock: Clock,
    /// For which assignment the target was asked what runs.
    asked: Option<(Epoch, Generation)>,
    /// What apps are doing, by the last round.
    doing: BTreeMap<AppKey, Met>,
    /// Since when each app is at work without a break, Unix milliseconds.
    since: BTreeMap<AppKey, u64>,
    /// The objects of bundles that something waits for, or is waited for with.
    objects: BTreeMap<Digest, Arc<BTreeSet<ObjectKey>>>,
}

/// Why a change waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// As screens group by it.
    pub reason: EntryReason,
    /// For people.
    pub message: String,
    /// When it ends, if that is to be seen, Unix milliseconds.
    pub until_ms: Option<u64>,
    /// It is a failure: it does not end by itself.
    pub fails: bool,
}

impl From<Closed> for Wait {
    fn from(closed: Closed) -> Self {
        let reason = match closed.by {
            ClosedBy::Windows => EntryReason::WindowClosed,
            ClosedBy::Freeze => EntryReason::Frozen,
            ClosedBy::Unreadable => EntryReason::Unreadable,
        };
        Self { reason, message: closed.to_string(), until_ms: closed.until_ms, fails: false }
    }
}

/// What is enforced of an accepted assignment, and why the rest of it waits.
pub struct Now {
    /// What is enforced.
    pub enforced: Enforced,
    /// Why changes do not start, by app.
    pub waits: BTreeMap<AppKey, Wait>,
    /// When the time alone lets something begin, or ends it, Unix milliseconds.
    pub due_ms: Option<u64>,
}

impl Starting {
    /// Over these.
    pub fn new(state: Arc<State>, target: Arc<dyn Target>, clock: Clock) -> Self {
        let (doing, since, objects) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { state, target, clock, asked: None, doing, since, objects }
    }

    /// What came of a round for what is enforced; true where that may let something begin, or end.
    pub fn heard(&mut self, accepted: &Assignment, enforced: &Enforced, outcome: &Outcome) -> bool {
        if accepted.relations.is_empty() {
            self.doing.clear();
            self.since.clear();
            return false;
        }
        let now_ms = (self.clock)();
        order::at_work(&mut self.since, &outcome.apps, now_ms);
        let doing = order::met(&enforced.assignment, &outcome.apps);
        let news = doing != self.doing;
        self.doing = doing;
        news && self.state.started().is_some()
    }

    /// What of the accepted assignment may be enforced now. Where nothing runs, nothing can be disturbed: no window is waited for.
    pub async fn now(&mut self, accepted: &Arc<Assignment>) -> Now {
        // Before the first assignment nothing is known of what shall be, so nothing begins.
        if accepted.generation == Generation(0) {
            return Now { enforced: Enforced::all(accepted), waits: BTreeMap::new(), due_ms: None };
        }
        let closed: Option<Wait> = nave_proto::closed(&accepted.schedule, (self.clock)()).map(Into::into);
        if closed.is_none() && accepted.relations.is_empty() {
            return self.begin(accepted).await;
        }
        let is_known = self.state.started().is_none_or(|s| s.is_all && !s.entries.is_empty());
        let is_open = !self.state.enforced(accepted).waiting.is_empty();
        let mut is_empty = false;
        if is_open && !is_known && self.asked != Some(accepted.order()) {
            match self.found(accepted).await {
                Found::Nothing => is_empty = true,
                Found::Unknown => return self.all_wait(accepted, closed, "what runs here is not known yet"),
                Found::Running(entries) => {
                    self.asked = Some(accepted.order());
                    if let Err(error) = self.state.found_begun(entries).await {
                        tracing::error!(error = link::chain(&error), "what runs here cannot be stored");
                    }
                }
            }
        }
        if accepted.relations.is_empty() {
            return match closed.filter(|_| !is_empty) {
                Some(closed) => self.all_wait(accepted, Some(closed), ""),
                None => self.begin(accepted).await,
            };
        }
        self.in_order(accepted, closed, is_empty).await
    }

    /// Everything that has not begun waits.
    fn all_wait(&self, accepted: &Arc<Assignment>, closed: Option<Wait>, why: &str) -> Now {
        let enforced = self.state.enforced(accepted);
        let wait = closed.unwrap_or_else(|| Wait {
            reason: EntryReason::TargetUnreachable,
            message: why.to_owned(),
            until_ms: None,
            fails: false,
        });
        let due_ms = wait.until_ms.filter(|_| !enforced.waiting.is_empty());
        let waits = enforced.waiting.iter().map(|app| (app.clone(), wait.clone())).collect();
        Now { enforced, waits, due_ms }
    }

    /// Lets everything begin that has its turn, and takes back what did not come through.
    async fn in_order(&mut self, accepted: &Arc<Assignment>, closed: Option<Wait>, is_empty: bool) -> Now {
        let relations = match nave_proto::decode_relations(&accepted.relations) {
            Ok(relations) => relations,
            Err(error) => {
                let wait = Wait {
                    reason: EntryReason::Unreadable,
                    message: format!("what comes before what cannot be read here: {error}"),
                    until_ms: None,
                    fails: false,
                };
                return self.all_wait(accepted, Some(wait), "");
            }
        };
        self.learn_objects(accepted).await;
        let objects = |entry: &Entry| {
            let objects = self.objects.get(&entry.bundle)?;
            Some(effective_objects(objects, &entry.options, &entry.values))
        };
        let stand = Stand {
            accepted,
            relations: &relations,
            closed: closed.as_ref(),
            is_empty,
            doing: &self.doing,
            since: &self.since,
            has_bundle: &|digest| self.state.has_bundle(digest),
            objects: &objects,
            now_ms: (self.clock)(),
            random: fastrand::f64(),
        };
        let stored =
            self.state.advance(accepted, |started, memory| order::step(started, memory, &stand)).await;
        let enforced = self.state.enforced(accepted);
        let (mut waits, due_ms) = match stored {
            Ok(Some(step)) => {
                if is_empty {
                    self.asked = Some(accepted.order());
                }
                (step.waits, step.due_ms)
            }
            Ok(None) => (BTreeMap::new(), None),
            Err(error) => {
                tracing::error!(error = link::chain(&error), "changes cannot begin: that cannot be stored");
                let message = format!("it cannot be stored that it begins: {}", link::chain(&error));
                return self.all_wait(accepted, Some(interrupted(message)), "");
            }
        };
        for app in &enforced.waiting {
            let is_told = accepted.entries.contains_key(app) || accepted.leaving.contains_key(app);
            if is_told && !waits.contains_key(app) {
                waits.insert(app.clone(), interrupted("a newer assignment was accepted".to_owned()));
            }
        }
        let opens = waits.values().filter_map(|wait| wait.until_ms);
        Now { due_ms: opens.chain(due_ms).min(), enforced, waits }
    }

    /// Reads which objects are in the bundles of what runs and of what shall run, where they differ.
    async fn learn_objects(&mut self, accepted: &Assignment) {
        let started = self.state.started().map(|started| started.entries.clone()).unwrap_or_default();
        let differs = started != accepted.entries;
        let entries = started.values().chain(accepted.entries.values()).filter(|_| differs);
        let bundles = entries.filter_map(|entry| nave_proto::decode_entry(&entry.bytes).ok());
        let bundles: BTreeSet<Digest> = bundles.map(|entry| entry.bundle).collect();
        self.objects.retain(|digest, _| bundles.contains(digest));
        for digest in bundles {
            if self.objects.contains_key(&digest) {
                continue;
            }
            // One that is not here, or cannot be read, counts as unknown.
            if let Ok(Some(bytes)) = self.state.bundle(&digest).await
                && let Ok(bundle) = Bundle::read(bytes.to_vec())
            {
                self.objects.insert(digest, bundle.objects);
            }
        }
    }

    /// Lets everything begin, if that can be stored.
    async fn begin(&self, accepted: &Arc<Assignment>) -> Now {
        let begun = self.state.begin(accepted).await;
        if let Err(error) = &begun {
            tracing::error!(error = link::chain(error), "changes cannot begin: that cannot be stored");
        }
        let wait = interrupted(match &begun {
            Ok(()) => "a newer assignment was accepted".to_owned(),
            Err(error) => format!("it cannot be stored that it begins: {}", link::chain(error)),
        });
        self.all_wait(accepted, Some(wait), "")
    }
    /// Asks the target what runs: inventories, and objects that carry marks without one.
    async fn found(&self, accepted: &Assignment) -> Found {
        let stored = match self.target.inventories().await {
            Ok(stored) => stored,
            Err(error) => {
                tracing::warn!(%error, "what runs here cannot be told; changes wait");
                return Found::Unknown;
            }
        };
        if stored.values().all(|inventory| inventory.objects.is_empty()) {
            let apps =
                || accepted.entries.keys().chain(accepted.leaving.keys()).chain(stored.keys()).cloned();
            let missing =
                Missing { assigned: apps().collect(), lost: apps().collect(), leaving: apps().collect() };
            let rebuilt = self.target.rebuild(&missing).await;
            if let Some(error) = rebuilt.unknown {
                tracing::warn!(%error, "what runs here cannot be told; changes wait");
                return Found::Unknown;
            }
            if rebuilt.inventories.values().all(|inventory| inventory.objects.is_empty()) {
                return Found::Nothing;
            }
        }
        let runs = |(app, entry): &(&AppKey, &EncodedEntry)| {
            let version = stored.get(*app).and_then(|inventory| inventory.version);
            let wanted = nave_proto::decode_entry(&entry.bytes).map(|entry| entry.version);
            version.is_some_and(|version| wanted == Ok(version))
        };
        let found = accepted.entries.iter().filter(runs);
        Found::Running(found.map(|(app, entry)| (app.clone(), entry.clone())).collect())
    }
}

/// What runs on the target.
enum Found {
    /// Nothing.
    Nothing,
    /// Something; these entries do just as they are assigned.
    Running(Entries),
    /// It did not say.
    Unknown,
}

fn interrupted(message: String) -> Wait {
    Wait { reason: EntryReason::Interrupted, message, until_ms: None, fails: false }
}
