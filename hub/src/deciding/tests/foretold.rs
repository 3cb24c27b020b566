//! What a plan says is what the decider then does: random catalogs, one change each, by seed.
//!
//! In: a seed. Out: where plan and deed differ, if they do. Spokes carry everything out at once and are well.

use fastrand::Rng;

use super::*;
use crate::planning::view::PlanView;

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
}

/// A catalog before it is text.
#[derive(Clone)]
struct Draft {
    apps: BTreeMap<String, AppDraft>,
    /// By name: `env` and `size`.
    clusters: BTreeMap<String, (&'static str, &'static str)>,
    tier: u32,
    words: u32,
}

#[derive(Clone)]
struct AppDraft {
    objects: BTreeSet<u32>,
    text: u32,
    env: Option<&'static str>,
    pick: Option<u32>,
    prune: bool,
    protect: bool,
    uses: bool,
    careful: bool,
    group: bool,
    patch: Option<u32>,
}

const ENVS: [&str; 3] = ["prod", "dev", "test"];
const SIZES: [&str; 2] = ["big", "small"];

impl AppDraft {
    fn new(rng: &mut Rng) -> Self {
        Self {
            objects: (0..rng.u32(1..4)).collect(),
            text: rng.u32(..),
            env: rng.bool().then(|| ENVS[rng.usize(..2)]),
            pick: (rng.u32(..3) == 0).then(|| rng.u32(1..5)),
            prune: rng.u32(..5) > 0,
            protect: rng.u32(..8) == 0,
            uses: rng.bool(),
            careful: rng.bool(),
            group: rng.u32(..4) == 0,
            patch: rng.bool().then(|| rng.u32(..)),
        }
    }

    fn documents(&self, name: &str) -> String {
        let Self { prune, protect, careful, .. } = self;
        let group = if self.group { ", group: together" } else { "" };
        let rollout = if *careful { ", rollout: careful" } else { "" };
        let clusters = self.env.map_or("{selector: {}}".to_owned(), |env| {
            format!("{{selector: {{matchLabels: {{env: {env}}}}}}}")
        });
        let pick = self.pick.map(|count| format!(", pick: {{count: {count}}}")).unwrap_or_default();
        let patch = self.patch.map(|text| {
            format!(
                "---\napiVersion: nave.dev/v1alpha1\nkind: Override\nmetadata: {{name: {name}-big}}\nspec: {{apps: {{names: [{name}]}}, clusters: {{selector: {{matchLabels: {{size: big}}}}}}, patches: [{{target: {{kind: ConfigMap}}, patch: {{data: {{patch: \"{text}\"}}}}}}]}}\n"
            )
        });
        format!(
            "apiVersion: nave.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}}}\nspec: {{source: {{path: ./{name}}}, substitute: true, prune: {prune}, protect: {protect}{group}{rollout}}}\n---\n\
             apiVersion: nave.dev/v1alpha1\nkind: Placement\nmetadata: {{name: {name}}}\nspec: {{apps: {{names: [{name}]}}, clusters: {clusters}{pick}}}\n{}",
            patch.unwrap_or_default()
        )
    }

    fn manifests(&self, name: &str) -> String {
        let tier = if self.uses { ", tier: \"${parameters.tier}\"" } else { "" };
        let map = |number: &u32| {
            format!(
                "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}-{number}, namespace: default}}\ndata: {{text: \"{}\"{tier}}}\n",
                self.text
            )
        };
        self.objects.iter().map(map).collect()
    }
}

impl Draft {
    fn new(rng: &mut Rng) -> Self {
        let apps = ["alpha", "beta", "gamma"].into_iter().take(rng.usize(1..=3));
        let apps = apps.map(|name| (name.to_owned(), AppDraft::new(rng))).collect();
        let clusters = (0..rng.usize(2..15))
            .map(|number| (format!("c-{number:02}"), (ENVS[rng.usize(..2)], SIZES[rng.usize(..2)])))
            .collect();
        Self { apps, clusters, tier: rng.u32(..), words: 0 }
    }

    /// One thing that people do.
    fn change(&mut self, rng: &mut Rng) {
        let names: Vec<String> = self.apps.keys().cloned().collect();
        let Some(app) = names.get(rng.usize(..names.len().max(1))).and_then(|name| self.apps.get_mut(name))
        else {
            self.apps.insert("delta".to_owned(), AppDraft::new(rng));
            return;
        };
        match rng.u32(..14) {
            0 | 1 => app.text = rng.u32(..),
            2 => _ = app.objects.insert(rng.u32(..6)),
            3 => app.objects = app.objects.iter().copied().take(1).collect(),
            4 => app.env = (rng.bool()).then(|| ENVS[rng.usize(..3)]),
            5 => app.pick = rng.bool().then(|| rng.u32(1..6)),
            6 => app.patch = rng.bool().then(|| rng.u32(..)),
            7 => app.prune = !app.prune,
            8 => app.careful = !app.careful,
            9 => self.tier = rng.u32(..),
            10 => self.words += 1,
            11 => _ = self.apps.insert("delta".to_owned(), AppDraft::new(rng)),
            12 => _ = self.apps.remove(&names[rng.usize(..names.len())]),
            _ => {
                let env = ENVS[rng.usize(..3)];
                let size = SIZES[rng.usize(..2)];
                let some = rng.usize(1..6);
                self.clusters.values_mut().take(some).for_each(|labels| *labels = (env, size));
            }
        }
    }

    fn files(&self) -> BTreeMap<String, String> {
        let cluster = |(name, (env, size)): (&String, &(&str, &str))| {
            format!(
                "---\napiVersion: nave.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: {name}, labels: {{env: {env}, size: {size}}}}}\nspec: {{}}\n"
            )
        };
        let mut files = BTreeMap::from([
            ("clusters.yaml".to_owned(), self.clusters.iter().map(cluster).collect()),
            (
                "fleet.yaml".to_owned(),
                format!(
                    "apiVersion: nave.dev/v1alpha1\nkind: Fleet\nmetadata: {{name: fleet}}\nspec: {{parameters: {{tier: \"{}\"}}}}\n---\n\
                     apiVersion: nave.dev/v1alpha1\nkind: Rollout\nmetadata: {{name: careful}}\nspec: {{waves: [{{name: first, count: 2}}, {{name: half, share: 50%, maxUnavailable: 2}}]}}\n",
                    self.tier
                ),
            ),
            ("README.md".to_owned(), self.words.to_string()),
        ]);
        for (name, app) in &self.apps {
            files.insert(format!("{name}.yaml"), app.documents(name));
            files.insert(format!("{name}/all.yaml"), app.manifests(name));
        }
        files
    }
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

/// Plans a change, makes it, and compares. Gives how many entries changed, and how many holds came up.
async fn play(seed: u64, bug: Bug) -> Result<(usize, usize), String> {
    let mut rng = Rng::with_seed(seed);
    let mut draft = Draft::new(&mut rng);
    let mut world = World { obeys: true, files: draft.files(), ..World::default() };
    for name in draft.clusters.keys() {
        world.member(name, &[]);
    }
    world.commit("1111111111111111111111111111111111111111").await;
    // A second change comes while the first is under way, or after it.
    if rng.u32(..3) == 0 {
        draft.change(&mut rng);
        world.files = draft.files();
        world.commit("2222222222222222222222222222222222222222").await;
        world.now_ms += 3_700_000;
        world.decide().await;
    }
    (0..rng.u32(1..4)).for_each(|_| draft.change(&mut rng));
    world.files = draft.files();
    let view = planned(&mut world, bug).await;
    let before = told(&world);
    let (plans, holds): (BTreeSet<_>, BTreeSet<_>) =
        (world.state.plans.keys().cloned().collect(), world.state.holds.keys().cloned().collect());

    world.obeys = false;
    world.commit("9999999999999999999999999999999999999999").await;
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

    world.obeys = true;
    world.report();
    world.decide().await;
    let after = told(&world);
    let still: Entries = world.state.holds.values().flat_map(|held| held.hold.entries.clone()).collect();
    let (gained, lost, changed) = foretold(&view);
    let come = |key: &&(AppKey, ClusterName)| !before.contains_key(*key);
    differ("gained", &gained, &after.keys().filter(come).cloned().collect())?;
    let gone: Entries = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
    differ("lost", &lost.difference(&still).cloned().collect(), &gone)?;
    let other = after.iter().filter(|(key, new)| before.get(*key).is_some_and(|old| old.0 != new.0));
    let other: BTreeMap<_, _> = other.map(|(key, new)| (key.clone(), Some(new.1))).collect();
    differ("changed", &changed, &other)?;
    Ok((gained.len() + lost.len() + changed.len(), held.len()))
}

async fn planned(world: &mut World, bug: Bug) -> PlanView {
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
    let mut view = world.plan().await;
    world.files = files;
    match bug {
        Bug::NoHolds => view.holds.clear(),
        Bug::OneWave => view.apps.iter_mut().for_each(|app| app.waves.truncate(1)),
        Bug::NoLosses => view.apps.iter_mut().for_each(|app| app.lost.clear()),
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
    let (mut changes, mut holds, mut failures) = (0, 0, Vec::new());
    let is_all = seeds.end - seeds.start > 1;
    for seed in seeds {
        match Box::pin(play(seed, Bug::None)).await {
            Ok((changed, held)) => (changes, holds) = (changes + changed, holds + held),
            Err(failure) => failures.push(format!("seed {seed}: {failure}")),
        }
    }
    let count = failures.len();
    failures.truncate(10);
    assert!(failures.is_empty(), "{count} failures; NAVE_PLAN_SEED=N runs one:\n{}", failures.join("\n"));
    assert!(
        !is_all || (changes > 100 && holds > 10),
        "too little happened: {changes} changes, {holds} holds"
    );
}

#[tokio::test]
async fn a_bug_that_is_put_into_the_plan_is_found() {
    for bug in [Bug::NoOverrides, Bug::NoParameters, Bug::NoHolds, Bug::OneWave, Bug::NoLosses] {
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
