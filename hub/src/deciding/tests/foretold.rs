//! What a plan says is what the decider then does: random catalogs, one change each, by seed.
//!
//! In: a seed. Out: where plan and deed differ, if they do. Spokes carry everything out at once and are well, but for a change that may
//! be under way when the next is planned.

use fastrand::Rng;

use super::draft::{Draft, Who, team};
use super::*;
use crate::planning::view::{AppPlan, PlanView};

/// Seeds of a run, unless `NAVE_PLAN_SEEDS` says otherwise.
const SEEDS: u64 = 120;
/// Seeds in which each bug that is put in has to be found.
const SEEDS_OF_A_BUG: u64 = 100;

/// A bug that is put into the plan, to see that the comparison finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    None,
    /// The plan does not see overrides.
    NoOverrides,
    /// The plan does not see the fleet's parameters.
    NoParameters,
    /// It tells of no hold.
    NoHolds,
    /// It takes all clusters for the first wave.
    OneWave,
    /// It takes a lost cluster for one that stays.
    NoLosses,
    /// It does not tell what does not come any more.
    NoStays,
}

/// What every cluster was told of every app: version and bundle.
fn told(world: &World) -> BTreeMap<(AppKey, ClusterName), (Digest, Digest)> {
    let entries = world.state.told.iter().flat_map(|(cluster, told)| {
        told.assignment.entries.iter().map(move |(app, entry)| ((app.clone(), cluster.clone()), entry))
    });
    let decoded = entries.filter_map(|(key, entry)| {
        let entry = nave_proto::decode_entry(&entry.bytes).ok()?;
        Some((key, (entry.version, entry.bundle)))
    });
    decoded.collect()
}

type Entries = BTreeSet<(AppKey, ClusterName)>;

/// What a plan says of entries: those that come, go, and become which bundle.
fn foretold(view: &PlanView) -> (Entries, Entries, BTreeMap<(AppKey, ClusterName), Option<Digest>>) {
    let (mut gained, mut lost, mut changed) = (Entries::new(), Entries::new(), BTreeMap::new());
    for app in &view.apps {
        gained.extend(app.gained.iter().map(|moved| (app.app.clone(), moved.cluster.clone())));
        lost.extend(app.lost.iter().map(|moved| (app.app.clone(), moved.cluster.clone())));
        for change in &app.changed {
            changed.extend(change.clusters.iter().map(|c| ((app.app.clone(), c.clone()), change.to)));
        }
    }
    (gained, lost, changed)
}

/// Apps of which a plan says that something waits for something else than its wave, or that a wave of them is held, and those that go
/// with them.
fn stuck(view: &PlanView) -> BTreeSet<AppKey> {
    let rollout = |app: &AppPlan| app.rollout.as_ref().map(|rollout| rollout.id.clone());
    // What is not granted to an app somewhere keeps it from nothing elsewhere.
    let waits = |app: &AppPlan| app.waits.iter().any(|wait| !wait.message.contains("takes no changes until"));
    let is_stuck = |app: &&AppPlan| waits(app) || app.rollout.is_some() && !app.holds.is_empty();
    let waits = || view.apps.iter().filter(is_stuck);
    let rollouts: BTreeSet<String> = waits().filter_map(rollout).collect();
    let with = view.apps.iter().filter(|app| rollout(app).is_some_and(|id| rollouts.contains(&id)));
    waits().chain(with).map(|app| app.app.clone()).collect()
}

/// The waves that a plan says, by the id of their rollout.
fn foretold_waves(view: &PlanView) -> BTreeMap<String, Vec<(String, Vec<ClusterName>)>> {
    let rollouts = view.apps.iter().filter_map(|app| Some((app.rollout.as_ref()?.id.clone(), &app.waves)));
    let wave = |wave: &crate::planning::view::WavePlan| (wave.name.clone(), wave.clusters.clone());
    rollouts.map(|(id, waves)| (id, waves.iter().map(wave).collect())).collect()
}

fn differ<T: PartialEq + std::fmt::Debug>(what: &str, said: &T, done: &T) -> Result<(), String> {
    if said == done {
        Ok(())
    } else {
        Err(format!("{what}: the plan says {said:?}, the decider does {done:?}"))
    }
}

/// A world in which something may be under way, by seed: then with whose it is, and what was before.
async fn prepared(seed: u64) -> (World, Draft, Option<(Who, Draft)>, Rng) {
    let mut rng = Rng::with_seed(seed);
    let mut draft = Draft::new(&mut rng);
    let mut world = World { obeys: true, files: draft.files(), ..World::default() };
    for name in draft.clusters.keys() {
        world.member(name, &[]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    if let Some(tenant) = &draft.tenant {
        world.tenants.insert(team(), (tenant.files(), Tree::new()));
        world.commit_of(&team(), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    }
    // A second change comes after the first, and is under way or done when the third does.
    let mut under_way = None;
    if rng.u32(..3) > 0 {
        world.obeys = rng.bool();
        let before = draft.clone();
        let who = whose(&draft, &mut rng);
        draft.change(who, &mut rng);
        take(&mut world, &draft, who, "2222222222222222222222222222222222222222").await;
        if world.obeys {
            world.now_ms += 3_700_000;
            world.decide().await;
        } else {
            under_way = Some((who, before));
        }
    }
    (world, draft, under_way, rng)
}

/// Lets spokes carry out whatever is decided.
async fn carried_out(world: &mut World) {
    world.obeys = true;
    world.report();
    world.decide().await;
}

/// What a seed brought about.
#[derive(Default)]
struct Played {
    /// Entries that changed.
    changes: usize,
    /// Holds that came up.
    holds: usize,
    /// Entries that stay though something was on its way to them.
    stays: usize,
}

/// Plans a change, makes it, and compares.
async fn play(seed: u64, bug: Bug) -> Result<Played, String> {
    // What comes without the change.
    let (mut world, ..) = prepared(seed).await;
    carried_out(&mut world).await;
    let without = told(&world);
    let (mut world, mut draft, under_way, mut rng) = prepared(seed).await;
    // What is under way is taken back, with more or without; or something else comes.
    let taken_back = under_way.filter(|_| rng.u32(..3) > 0);
    let least = u32::from(taken_back.is_none());
    let who = match taken_back {
        Some((who, before)) => {
            draft = before;
            who
        }
        None => whose(&draft, &mut rng),
    };
    (0..rng.u32(least..3 + least)).for_each(|_| draft.change(who, &mut rng));
    write(&mut world, &draft, who);
    let view = planned(&mut world, who, bug).await;
    let before = told(&world);
    let (plans, holds): (BTreeSet<_>, BTreeSet<_>) =
        (world.state.plans.keys().cloned().collect(), world.state.holds.keys().cloned().collect());

    world.obeys = false;
    take(&mut world, &draft, who, "9999999999999999999999999999999999999999").await;
    let held: BTreeMap<_, _> = world
        .state
        .holds
        .iter()
        .filter(|(id, _)| !holds.contains(*id))
        .map(|(id, held)| (id.clone(), held.hold.clone()))
        .collect();
    let said: BTreeSet<String> = view.holds.iter().map(|hold| hold.id.clone()).collect();
    differ("holds", &said, &held.keys().cloned().collect())?;
    let planned = world.state.plans.iter().filter(|(key, _)| !plans.contains(*key));
    let wave = |wave: &nave_placement::rollout::PlannedWave| (wave.name.clone(), wave.members.clone());
    let planned: BTreeMap<String, Vec<_>> =
        planned.map(|((_, id), plan)| (id.clone(), plan.waves.iter().map(wave).collect())).collect();
    differ("waves", &foretold_waves(&view), &planned)?;

    carried_out(&mut world).await;
    let after = told(&world);
    let still: Entries = world.state.holds.values().flat_map(|held| held.hold.entries.clone()).collect();
    let (mut gained, mut lost, mut changed) = foretold(&view);
    // What would have come to the same without it is none of its doing.
    let version = |told: &BTreeMap<(AppKey, ClusterName), (Digest, Digest)>, key: &(AppKey, ClusterName)| {
        told.get(key).map(|(version, _)| *version)
    };
    let is_by_it = |key: &&(AppKey, ClusterName)| version(&without, key) != version(&after, key);
    let come = |key: &&(AppKey, ClusterName)| !before.contains_key(*key) && is_by_it(key);
    let come: Entries = after.keys().filter(come).cloned().collect();
    // What has an object that is not granted waits for that, and its rollout with it; as one does of whose wave something is held.
    let stuck = stuck(&view);
    gained.retain(|entry| come.contains(entry) || !stuck.contains(&entry.0));
    differ("gained", &gained, &come)?;
    let gone = before.keys().filter(|key| !after.contains_key(*key)).filter(is_by_it);
    let gone: Entries = gone.cloned().collect();
    lost.retain(|entry| gone.contains(entry) || !stuck.contains(&entry.0));
    differ("lost", &lost.difference(&still).cloned().collect(), &gone)?;
    let other = after.iter().filter(|(key, new)| before.get(*key).is_some_and(|old| old.0 != new.0));
    let other = other.filter(|(key, _)| is_by_it(key));
    let other: BTreeMap<_, _> = other.map(|(key, new)| (key.clone(), Some(new.1))).collect();
    changed.retain(|entry, _| other.contains_key(entry) || !stuck.contains(&entry.0));
    differ("changed", &changed, &other)?;
    let stays = without.keys().chain(after.keys()).filter(is_by_it).filter(|key| !still.contains(*key));
    let stays = stays.filter(|key| version(&before, key) == version(&after, key)).cloned();
    let stays: Entries = stays.filter(|entry| !stuck.contains(&entry.0)).collect();
    let said = view.apps.iter().flat_map(|app| app.stays.iter().map(|on| (app.app.clone(), on.clone())));
    let said: Entries = said.filter(|entry| !stuck.contains(&entry.0)).collect();
    differ("stays", &said, &stays)?;
    let changes = gained.len() + lost.len() + changed.len();
    Ok(Played { changes, holds: held.len(), stays: stays.len() })
}

/// A tenant without a `Catalog` commits for nobody.
fn whose(draft: &Draft, rng: &mut Rng) -> Who {
    let is_there = draft.tenant.as_ref().is_some_and(|tenant| tenant.is_named);
    if is_there && rng.bool() { Who::Tenant } else { Who::Root }
}

/// Writes the files of one of the catalogs.
fn write(world: &mut World, draft: &Draft, who: Who) {
    match (who, &draft.tenant) {
        (Who::Tenant, Some(tenant)) => {
            world.tenants.get_mut(&team()).expect("it is there").0 = tenant.files()
        }
        _ => world.files = draft.files(),
    }
}

/// Commits them.
async fn take(world: &mut World, draft: &Draft, who: Who, id: &str) {
    write(world, draft, who);
    match who {
        Who::Root => world.commit(id).await,
        Who::Tenant => world.commit_of(&team(), id).await,
    }
}

async fn planned(world: &mut World, who: Who, bug: Bug) -> PlanView {
    let files = world.files.clone();
    let unseen = match bug {
        Bug::NoOverrides => Some("kind: Override\n"),
        Bug::NoParameters => Some("kind: Fleet\n"),
        _ => None,
    };
    if let Some(unseen) = unseen {
        for text in world.files.values_mut() {
            let kept = text.split("---\n").filter(|document| !document.contains(unseen));
            *text = kept.collect::<Vec<_>>().join("---\n");
        }
    }
    let mut view = match who {
        Who::Root => world.plan().await,
        Who::Tenant => world.plan_of(&team()).await,
    };
    world.files = files;
    match bug {
        Bug::NoHolds => view.holds.clear(),
        Bug::OneWave => view.apps.iter_mut().for_each(|app| app.waves.truncate(1)),
        Bug::NoLosses => view.apps.iter_mut().for_each(|app| app.lost.clear()),
        Bug::NoStays => view.apps.iter_mut().for_each(|app| app.stays.clear()),
        Bug::None | Bug::NoOverrides | Bug::NoParameters => {}
    }
    view
}

#[tokio::test]
async fn what_a_plan_says_is_what_the_decider_then_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("NAVE_PLAN_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("NAVE_PLAN_SEEDS").unwrap_or(SEEDS),
    };
    let (mut all, mut failures) = (Played::default(), Vec::new());
    let is_all = seeds.end - seeds.start > 1;
    for seed in seeds {
        match Box::pin(play(seed, Bug::None)).await {
            Ok(Played { changes, holds, stays }) => {
                all.changes += changes;
                all.holds += holds;
                all.stays += stays;
            }
            Err(failure) => failures.push(format!("seed {seed}: {failure}")),
        }
    }
    let count = failures.len();
    failures.truncate(10);
    assert!(failures.is_empty(), "{count} failures; NAVE_PLAN_SEED=N runs one:\n{}", failures.join("\n"));
    let Played { changes, holds, stays } = all;
    assert!(
        !is_all || (changes > 100 && holds > 10 && stays > 5),
        "too little happened: {changes} changes, {holds} holds, {stays} that stay"
    );
}

#[tokio::test]
async fn a_bug_that_is_put_into_the_plan_is_found() {
    for bug in [Bug::NoOverrides, Bug::NoParameters, Bug::NoHolds, Bug::OneWave, Bug::NoLosses, Bug::NoStays]
    {
        let mut found = false;
        for seed in 0..SEEDS_OF_A_BUG {
            if Box::pin(play(seed, bug)).await.is_err() {
                found = true;
                break;
            }
        }
        assert!(found, "{bug:?} was not found in {SEEDS_OF_A_BUG} seeds");
    }
}
