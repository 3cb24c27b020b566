//! A round that is broken off after any write, and begun again, ends as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use nave_placement::catalog::OnRemove;
use nave_placement::report::EntryState;
use nave_placement::{AppKey, ObjectKey};

use crate::apply::{Engine, Interrupt, Look, Uninterrupted};
use crate::report::Outcome;
use crate::target::memory::{Event, Held, MemoryTarget};
use crate::target::{Inventory, Target as _};
use crate::testing::{After, Wish, app, config_map, config_map_key};

/// An app of a random catalog: objects with their values, former names.
#[derive(Clone, Default)]
struct Model {
    objects: BTreeMap<String, u32>,
    formerly: BTreeSet<String>,
}

/// A catalog that changes at random. An object has at most one app.
struct Catalog {
    rng: Rng,
    apps: BTreeMap<String, Model>,
    leaving: BTreeMap<String, OnRemove>,
    named: u32,
}

impl Catalog {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::with_seed(seed), apps: BTreeMap::new(), leaving: BTreeMap::new(), named: 0 }
    }

    fn some_app(&mut self) -> Option<String> {
        self.rng.choice(self.apps.keys().cloned().collect::<Vec<_>>())
    }

    fn some_object(&mut self, app: &str) -> Option<String> {
        self.rng.choice(self.apps[app].objects.keys().cloned().collect::<Vec<_>>())
    }

    fn new_app(&mut self, model: Model) -> String {
        self.named += 1;
        let name = format!("{}{}", self.rng.lowercase(), self.named);
        self.apps.insert(name.clone(), model);
        name
    }

    /// One commit: one to three changes.
    fn commit(&mut self) -> Wish {
        for _ in 0..self.rng.u32(1..=3) {
            self.change();
        }
        let mut wish = Wish::none();
        for (name, model) in &self.apps {
            let objects: Vec<_> =
                model.objects.iter().map(|(name, value)| config_map(name, &value.to_string())).collect();
            wish = wish.app(name, &objects).change(name, |entry| {
                entry.options.formerly = model.formerly.iter().map(|name| app(name)).collect();
            });
        }
        for (name, policy) in &self.leaving {
            wish = wish.leaving(name, *policy);
        }
        wish
    }

    fn change(&mut self) {
        let Some(name) = self.some_app() else {
            self.new_app(Model::default());
            return;
        };
        match self.rng.u32(0..10) {
            0..=2 => {
                let object = format!("o{}", self.rng.u32(0..8));
                if !self.apps.values().any(|model| model.objects.contains_key(&object)) {
                    let value = self.rng.u32(..3);
                    self.app(&name).objects.insert(object, value);
                }
            }
            3 => {
                if let Some(object) = self.some_object(&name) {
                    self.app(&name).objects.remove(&object);
                }
            }
            4 => {
                if let Some(object) = self.some_object(&name) {
                    *self.app(&name).objects.entry(object).or_default() += 1;
                }
            }
            5..=6 => {
                if let Some((object, to)) = self.some_object(&name).zip(self.some_app()) {
                    let value = self.app(&name).objects.remove(&object).expect("chosen from it");
                    self.app(&to).objects.insert(object, value);
                }
            }
            7 => {
                let mut model = self.apps.remove(&name).expect("chosen from them");
                model.formerly.insert(name);
                self.new_app(model);
            }
            8 => {
                let policy = if self.rng.bool() { OnRemove::Delete } else { OnRemove::Orphan };
                let model = self.apps.remove(&name).expect("chosen from them");
                // The rename may not have reached the target: what stands under a former name leaves as well.
                let former = model.formerly.into_iter().filter(|name| !self.apps.contains_key(name));
                self.leaving.extend(former.chain([name]).map(|name| (name, policy)));
            }
            _ => {
                // One that is leaving comes back, or a new one comes.
                let back = self.leaving.pop_first().map(|(name, _)| name);
                match back {
                    Some(name) => drop(self.apps.insert(name, Model::default())),
                    None => drop(self.new_app(Model::default())),
                }
            }
        }
    }

    fn app(&mut self, name: &str) -> &mut Model {
        self.apps.get_mut(name).expect("chosen from them")
    }

    fn acknowledged(&mut self, outcome: &Outcome) {
        self.leaving.retain(|name, _| !outcome.left.contains(&app(name)));
    }
}

/// Whatever carries our mark stands in an inventory, so that it can be found again.
fn nothing_is_lost(target: &MemoryTarget, seed: u64) {
    let stored = target.stored();
    let listed: BTreeSet<_> = stored.values().flat_map(|inventory| &inventory.objects).collect();
    for (key, held) in target.objects() {
        assert!(
            held.app.is_none() || listed.contains(&key),
            "seed {seed}: {key} is {held:?} and in no inventory"
        );
    }
}

/// No object that an entry claims is deleted while it does.
fn nothing_claimed_was_deleted(target: &MemoryTarget, before: usize, wish: &Wish, seed: u64) {
    let claimed = wish.claimed();
    for event in &target.events()[before..] {
        if let Event::Deleted(app, key) = event {
            assert!(
                !claimed.contains(key),
                "seed {seed}: {key} was deleted as {app}'s although it is claimed"
            );
        }
    }
}

/// What a spoke keeps in mind from one round to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mind {
    /// Nothing: it looks at everything.
    None,
    /// What an engine keeps: it looks at what is new, changed or open. Its apps are worked on in turns that chance decides.
    Kept,
}

/// A spoke that lives until it is killed.
struct Spoke {
    mind: Mind,
    engine: Engine,
    open: BTreeSet<AppKey>,
}

impl Spoke {
    fn new(mind: Mind) -> Self {
        Self { mind, engine: Engine::default(), open: BTreeSet::new() }
    }

    async fn round(&mut self, target: &MemoryTarget, wish: &Wish, interrupt: &dyn Interrupt) -> Outcome {
        if self.mind == Mind::None {
            return wish.interrupted(target, interrupt).await;
        }
        let look = Look::At { changed: &target.changed(), due: &self.open };
        let outcome = wish.round(&mut self.engine, target, look, interrupt).await;
        let reports = outcome.apps.iter().chain(&outcome.leaving);
        let open = reports.filter(|(_, report)| report.state != EntryState::Healthy);
        self.open = open.map(|(app, _)| app.clone()).collect();
        if outcome.interrupted {
            *self = Self::new(self.mind);
        }
        outcome
    }
}

/// Rounds until one changes nothing.
async fn settle(spoke: &mut Spoke, target: &MemoryTarget, wish: &Wish, seed: u64) -> Outcome {
    for _ in 0..6 {
        let before = (target.objects(), target.stored());
        let outcome = spoke.round(target, wish, &Uninterrupted).await;
        nothing_is_lost(target, seed);
        if before == (target.objects(), target.stored()) {
            return outcome;
        }
    }
    panic!("seed {seed}: does not come to rest: {:?} {:?}", target.objects(), target.stored());
}

type End = (BTreeMap<ObjectKey, Held>, BTreeMap<AppKey, Inventory>);

/// Something that goes wrong for one round.
enum Fault {
    None,
    Refused(ObjectKey),
    Hidden(ObjectKey),
    Finalized(ObjectKey),
}

impl Fault {
    fn inject(target: &MemoryTarget, rng: &mut Rng) -> Self {
        let key = config_map_key(&format!("o{}", rng.u32(0..8)));
        match rng.u32(0..6) {
            0 => {
                target.refuse(&key, Some("no"));
                Self::Refused(key)
            }
            1 => {
                target.hide(&key, true);
                Self::Hidden(key)
            }
            2 => {
                target.finalize(&key, true);
                Self::Finalized(key)
            }
            _ => Self::None,
        }
    }

    fn end(self, target: &MemoryTarget) {
        match self {
            Self::None => {}
            Self::Refused(key) => target.refuse(&key, None),
            Self::Hidden(key) => target.hide(&key, false),
            Self::Finalized(key) => target.finalize(&key, false),
        }
    }
}

const COMMITS: usize = 8;

/// Plays a random history; after `stop` writes in all, the spoke is killed once. Returns the end, and the writes made.
async fn play(seed: u64, stop: Option<u64>, mind: Mind) -> (End, u64) {
    let target = MemoryTarget::new("t");
    target.dawdle((mind == Mind::Kept).then_some(seed));
    let mut spoke = Spoke::new(mind);
    let mut catalog = Catalog::new(seed);
    let mut writes = 0;
    let mut stop = stop;
    for _ in 0..COMMITS {
        let wish = catalog.commit();
        let before = target.events().len();
        let left = stop.map_or(i64::MAX, |stop| i64::try_from(stop.saturating_sub(writes)).expect("few"));
        let outcome = spoke.round(&target, &wish, &After::writes(left)).await;
        nothing_is_lost(&target, seed);
        writes += outcome.writes;
        stop = stop.filter(|_| !outcome.interrupted);
        let outcome = settle(&mut spoke, &target, &wish, seed).await;
        nothing_claimed_was_deleted(&target, before, &wish, seed);
        catalog.acknowledged(&outcome);
    }
    ((target.objects(), target.stored()), writes)
}

#[tokio::test]
async fn killed_after_any_write_it_ends_as_if_it_had_not_been() {
    for seed in 0..40 {
        let (expected, writes) = play(seed, None, Mind::None).await;
        for stop in 0..writes {
            let (end, _) = play(seed, Some(stop), Mind::None).await;
            assert_eq!(end, expected, "seed {seed}, killed after {stop} writes");
        }
    }
}

#[tokio::test]
async fn what_is_kept_between_rounds_and_who_comes_first_changes_nothing_in_the_end() {
    for seed in 0..40 {
        let (expected, _) = play(seed, None, Mind::None).await;
        let (end, writes) = play(seed, None, Mind::Kept).await;
        assert_eq!(end, expected, "seed {seed}");
        for stop in (0..writes).step_by(3) {
            let (end, _) = play(seed, Some(stop), Mind::Kept).await;
            assert_eq!(end, expected, "seed {seed}, killed after {stop} writes");
        }
    }
}

#[tokio::test]
async fn killed_again_and_again_under_changing_assignments_it_loses_and_deletes_nothing() {
    for seed in 1000..1400 {
        let target = MemoryTarget::new("t");
        let mut catalog = Catalog::new(seed);
        let mut stops = Rng::with_seed(seed);
        let mut wish = Wish::none();
        let mind = if seed % 2 == 0 { Mind::None } else { Mind::Kept };
        target.dawdle((mind == Mind::Kept).then_some(seed));
        let mut spoke = Spoke::new(mind);
        for _ in 0..COMMITS {
            wish = catalog.commit();
            let before = target.events().len();
            for _ in 0..stops.u32(0..4) {
                let fault = Fault::inject(&target, &mut stops);
                let outcome = spoke.round(&target, &wish, &After::writes(stops.i64(0..10))).await;
                fault.end(&target);
                nothing_is_lost(&target, seed);
                if !outcome.interrupted {
                    catalog.acknowledged(&outcome);
                }
            }
            nothing_claimed_was_deleted(&target, before, &wish, seed);
        }
        let outcome = settle(&mut spoke, &target, &wish, seed).await;
        for (key, held) in target.objects() {
            // An app prunes nothing while it fails: here, where it wants what was orphaned on the way, with other content.
            let fails = |app| outcome.apps.get(app).is_some_and(|report| report.state == EntryState::Failed);
            let accounted = held.app.as_ref().is_none_or(fails) || wish.claimed().contains(&key);
            assert!(accounted, "seed {seed}: {key} is left over: {held:?} {outcome:#?}");
        }
        assert!(wish.claimed().iter().all(|key| target.objects().contains_key(key)), "seed {seed}");
    }
}

#[test]
fn the_random_catalogs_do_everything() {
    let mut moved = 0;
    let mut renamed = 0;
    let mut left = 0;
    for seed in 0..40 {
        let mut catalog = Catalog::new(seed);
        let mut owner: BTreeMap<ObjectKey, String> = BTreeMap::new();
        for _ in 0..COMMITS {
            catalog.commit();
            for (name, model) in &catalog.apps {
                renamed += usize::from(!model.formerly.is_empty());
                for object in model.objects.keys() {
                    let before = owner.insert(config_map_key(object), name.clone());
                    moved += usize::from(before.is_some_and(|before| before != *name));
                }
            }
            left += catalog.leaving.len();
        }
    }
    assert!(moved > 20 && renamed > 20 && left > 20, "{moved} moved, {renamed} renamed, {left} left");
}
