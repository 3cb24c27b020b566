//! A repository in memory: catalogs that change at random, and what the hub would make of a commit.
//!
//! In: a seed's randomness. Out: commits, revisions, bundles. Never: lets two apps of one commit claim one object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use nave_hub::deciding::core::Revision;
use nave_hub::deciding::parts::Own;
use nave_hub::state::State;
use nave_placement::assign::{Entry, Options};
use nave_placement::catalog::{
    App, AppSelection, Catalog, ClusterSelection, ClusterSet, CommitId, Defaults, Effective, Fleet,
    FreezeRule, GuardLimit, GuardLimits, Kind, Object, ObjectId, OnRemove, Origin, Placement, Source, Spec,
    Treatment,
};
use nave_placement::guard::{Allowance, AllowanceScope};
use nave_placement::overrides::{Asking, Form, Forms, Variant};
use nave_placement::render::Bundle;
use nave_placement::schedule::{When, Zone};
use nave_placement::select::Selector;
use nave_placement::{AppKey, CatalogName, Digest, ObjectKey};

use super::rules::{Awaits, Rule, Rules, requirement};

/// Names of objects that apps share out among themselves.
const OBJECTS: u32 = 24;
/// The set that every other cluster is in.
pub const SET: &str = "odd";
/// Most apps of a catalog.
const APPS: usize = 7;

/// An app as a commit has it.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Its objects with their values.
    pub objects: BTreeMap<String, u32>,
    /// Its former names.
    pub formerly: BTreeSet<String>,
    /// It is for clusters with this label `env`; for all where empty.
    pub env: String,
    /// Its objects stay when it leaves.
    pub orphan: bool,
    /// Its text is there but cannot be rendered.
    pub broken: bool,
    /// The apps that it waits for.
    pub first: BTreeMap<String, Awaits>,
}

/// A commit.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// The one before.
    pub parent: Option<usize>,
    /// Its apps.
    pub apps: BTreeMap<String, Model>,
    /// It holds no document at all.
    pub empty: bool,
    /// What its trailer allows.
    pub allows: Option<usize>,
    /// The set's clusters are frozen.
    pub frozen: bool,
    /// How its apps move.
    pub rules: Rules,
}

/// The repository.
pub struct Git {
    /// All commits ever made.
    pub commits: Vec<Commit>,
    /// Where the branch stands.
    pub tip: usize,
    /// Every bundle that was ever rendered.
    pub bundles: BTreeMap<Digest, Bundle>,
    /// Catalogs, by commit.
    catalogs: BTreeMap<usize, Arc<Catalog>>,
    named: u32,
    /// Where its catalogs say how apps move and who waits for whom; a third of the repositories say nothing of it. By itself, so
    /// that all else is the same with and without.
    says: Option<Rng>,
}

/// An app's key.
pub fn key(name: &str) -> AppKey {
    name.parse().expect("a valid name")
}

/// The key of an object.
pub fn object_key(name: &str) -> ObjectKey {
    let (kind, namespace) = ("ConfigMap".to_owned(), "default".to_owned());
    ObjectKey { group: String::new(), kind, namespace, name: name.to_owned() }
}

impl Git {
    /// A repository with a first commit of some apps.
    pub fn new(rng: &mut Rng) -> Self {
        let mut own = Rng::with_seed(rng.clone().u64(..));
        let mut says = (own.u32(0..3) > 0).then_some(own);
        let first = Commit {
            id: id(0),
            parent: None,
            apps: BTreeMap::new(),
            empty: false,
            allows: None,
            frozen: false,
            rules: says.as_mut().map(Rules::random).unwrap_or_default(),
        };
        let mut git = Self {
            commits: vec![first],
            tip: 0,
            bundles: BTreeMap::new(),
            catalogs: BTreeMap::new(),
            named: 0,
            says,
        };
        let mut apps = BTreeMap::new();
        for _ in 0..rng.usize(2..=5) {
            git.add(&mut apps, rng);
        }
        git.commits[0].apps = apps;
        for _ in 0..3 {
            let mut first = git.commits[0].clone();
            git.say(&mut first);
            git.commits[0] = first;
        }
        git
    }

    /// Says something else of how apps move, and of who waits for whom.
    fn say(&mut self, commit: &mut Commit) {
        let Some(rng) = &mut self.says else { return };
        let names: Vec<String> = commit.apps.keys().cloned().collect();
        let units: BTreeSet<&str> = names.iter().map(|name| unit(name)).collect();
        if rng.bool() {
            commit.rules.change(&units.into_iter().collect::<Vec<_>>(), rng);
        }
        if let (0, Some(name)) = (rng.u32(0..3), rng.choice(&names)) {
            let mut others = names.clone();
            // One that is not there, or no more.
            others.push("a0".into());
            let first = rng.choice(others).filter(|other| comes_before(other, name));
            let awaits = Awaits::random(rng);
            if let Some(model) = commit.apps.get_mut(name) {
                let gone = first.as_ref().is_some_and(|first| model.first.remove(first).is_some());
                model.first.extend(first.filter(|_| !gone).map(|first| (first, awaits)));
            }
        }
        // Under another name an app may have another place in the order.
        for (name, model) in &mut commit.apps {
            model.first.retain(|other, _| comes_before(other, name));
        }
    }

    fn add(&mut self, apps: &mut BTreeMap<String, Model>, rng: &mut Rng) {
        let mut model = Model { orphan: rng.u32(0..6) == 0, ..Model::default() };
        model.env = rng.choice(["", "", "prod", "dev"]).unwrap_or_default().to_owned();
        for _ in 0..rng.usize(1..=5) {
            let object = format!("o{}", rng.u32(..OBJECTS));
            if !apps.values().any(|other| other.objects.contains_key(&object)) {
                model.objects.insert(object, rng.u32(..4));
            }
        }
        self.named += 1;
        // Sometimes a name comes back.
        let name =
            if rng.u32(0..4) == 0 { format!("a{}", rng.u32(0..4)) } else { format!("n{}", self.named) };
        apps.entry(name).or_insert(model);
    }

    /// Commits something at random on top of the branch.
    pub fn commit(&mut self, rng: &mut Rng) {
        let parent = self.tip;
        let mut apps = self.commits[parent].apps.clone();
        let empty = rng.u32(0..40) == 0;
        if empty {
            apps.clear();
        } else {
            for _ in 0..rng.usize(1..=3) {
                self.change(&mut apps, rng);
            }
        }
        let allows = (rng.u32(0..8) == 0).then(|| rng.usize(1..20));
        // Three in a row, then three that are not.
        let frozen = self.commits.len() % 6 > 2;
        let id = id(self.commits.len());
        let rules = self.commits[parent].rules.clone();
        let mut commit = Commit { id, parent: Some(parent), apps, empty, allows, frozen, rules };
        self.say(&mut commit);
        self.commits.push(commit);
        self.tip = self.commits.len() - 1;
    }

    fn change(&mut self, apps: &mut BTreeMap<String, Model>, rng: &mut Rng) {
        let names: Vec<String> = apps.keys().cloned().collect();
        let Some(name) = rng.choice(&names).cloned() else { return self.add(apps, rng) };
        let taken: BTreeSet<String> = apps.values().flat_map(|model| model.objects.keys().cloned()).collect();
        let Some(model) = apps.get_mut(&name) else { return };
        let some = rng.choice(model.objects.keys().cloned().collect::<Vec<_>>());
        match (rng.u32(0..14), some) {
            (0, _) if names.len() < APPS => self.add(apps, rng),
            (0..=2, _) => {
                let object = format!("o{}", rng.u32(..OBJECTS));
                if !taken.contains(&object) {
                    model.objects.insert(object, 0);
                }
            }
            (3 | 4, Some(object)) => drop(model.objects.remove(&object)),
            (5, Some(object)) => *model.objects.entry(object).or_default() += 1,
            (6 | 7, Some(object)) => {
                let value = model.objects.remove(&object).unwrap_or_default();
                let to = rng.choice(&names).cloned().unwrap_or_default();
                apps.entry(to).or_default().objects.insert(object, value);
            }
            (8 | 9, _) => {
                let mut model = apps.remove(&name).unwrap_or_default();
                model.formerly.insert(name);
                self.named += 1;
                apps.insert(format!("n{}", self.named), model);
            }
            (10, _) => drop(apps.remove(&name)),
            (11, _) => model.env = rng.choice(["", "prod", "dev"]).unwrap_or_default().to_owned(),
            (12, _) => model.broken = !model.broken,
            _ => model.orphan = !model.orphan,
        }
    }

    /// Moves the branch back to an older commit.
    pub fn rewind(&mut self, rng: &mut Rng) {
        self.tip = rng.usize(0..self.commits.len());
    }

    /// Mends what is broken or empty, and waits for nothing that does not come, so that a fleet can come to rest.
    pub fn mend(&mut self) {
        let parent = self.tip;
        let mut apps = self.commits[parent].apps.clone();
        apps.values_mut().for_each(|model| model.broken = false);
        apps.values_mut().flat_map(|model| model.first.values_mut()).for_each(|first| first.absent = false);
        let id = id(self.commits.len());
        let rules = self.commits[parent].rules.clone();
        let (parent, allows) = (Some(parent), None);
        self.commits.push(Commit { id, parent, apps, empty: false, allows, frozen: false, rules });
        self.tip = self.commits.len() - 1;
    }

    /// The commit of an id.
    pub fn find(&self, id: &CommitId) -> usize {
        self.commits.iter().position(|commit| commit.id == *id).expect("a commit of this repository")
    }

    /// Whether `commit` is `of` or comes after it.
    pub fn descends(&self, commit: usize, of: usize) -> bool {
        commit == of || self.commits[commit].parent.is_some_and(|parent| self.descends(parent, of))
    }

    /// What the hub makes of a commit: what cannot be rendered keeps the form that is in effect.
    pub fn revision(&mut self, at: usize, state: &State) -> Revision {
        let commit = self.commits[at].clone();
        let mut forms = Forms::new();
        for (name, model) in &commit.apps {
            let in_effect = state.forms.get(&(key(name), Variant::default()));
            let in_effect = in_effect.map(|record| Form::from(&*record.record));
            let form = if model.broken { in_effect } else { Some(self.render(&commit.id, model, in_effect)) };
            forms.extend(form.map(|form| (key(name), BTreeMap::from([(Variant::default(), form)]))));
        }
        let allow = |count| Allowance { commit: commit.id.clone(), scope: AllowanceScope::Anything, count };
        let allowances = commit.allows.map(allow).into_iter().collect();
        let catalog = self.catalogs.entry(at).or_insert_with(|| Arc::new(catalog(&commit))).clone();
        let asking = Asking::new();
        let own = Own { allowances, author: "ann".into(), ..Own::of(catalog.clone()) };
        Revision { catalog, owns: vec![own], forms, asking }
    }

    fn render(&mut self, commit: &CommitId, model: &Model, in_effect: Option<Form>) -> Form {
        let lines = model.objects.iter().map(|(name, value)| {
            format!(
                r#"{{"apiVersion":"v1","data":{{"value":"{value}"}},"kind":"ConfigMap","metadata":{{"name":"{name}","namespace":"default"}}}}"#
            )
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let bundle = Bundle::read(text.into_bytes()).expect("written just so");
        let digest = bundle.digest;
        self.bundles.insert(digest, bundle);
        let options = Options {
            namespace: None,
            prune: true,
            on_remove: on_remove(model),
            share: None,
            grant: None,
            formerly: model.formerly.iter().map(|name| key(name)).collect(),
            substitute: false,
            treatment: Treatment::default(),
        };
        let version = Entry::recipe(digest, &BTreeMap::new(), &options);
        let unchanged = in_effect.filter(|form| form.version == version);
        unchanged.unwrap_or(Form {
            bundle: digest,
            options,
            source: digest,
            source_at: None,
            dependencies: BTreeMap::new(),
            version,
            commit: commit.clone(),
            uses: BTreeMap::new(),
            asked: None,
            is_stale: false,
        })
    }
}

fn id(number: usize) -> CommitId {
    CommitId(format!("{number:040x}").into())
}

fn on_remove(model: &Model) -> OnRemove {
    if model.orphan { OnRemove::Orphan } else { OnRemove::Delete }
}

/// Two of three that were made are in a group, each with whoever else is.
fn group(name: &str) -> Option<&'static str> {
    let number = name.trim_start_matches('n').parse::<u32>().ok()?;
    [None, Some("group-1"), Some("group-2")][number as usize % 3]
}

/// What apps are named by that move together: their group, or the one's own name.
fn unit(name: &str) -> &str {
    group(name).unwrap_or(name)
}

/// Whether an app may wait for another: by names, those of a group side by side, so that no circle comes of it.
fn comes_before(first: &str, name: &str) -> bool {
    (unit(first), first) < (unit(name), name)
}

/// The apps of a commit that move with one: those of its group. One that has left it moves by itself.
pub fn together(commit: &Commit, app: &AppKey) -> Vec<AppKey> {
    let of = |name: &str| commit.apps.contains_key(name).then(|| group(name)).flatten();
    let members = commit.apps.keys().filter(|name| of(name).is_some() && of(name) == of(app.name()));
    let members: Vec<AppKey> = members.map(|name| key(name)).collect();
    if members.is_empty() { vec![app.clone()] } else { members }
}

/// The app of a commit under whose name one moves: the first of its group.
pub fn lead(commit: &Commit, app: &AppKey) -> AppKey {
    together(commit, app).swap_remove(0)
}

/// How an app moves by a commit.
pub fn rule(commit: &Commit, app: &AppKey) -> Rule {
    commit.rules.of(unit(app.name()))
}

fn app(rules: &Rules, name: &str, model: &Model) -> Spec {
    // Every fifth that was made is protected, also under its later names.
    let number = name.trim_start_matches('n').parse::<u32>();
    let protect = number.is_ok_and(|number| number % 5 == 0);
    Spec::App(App {
        source: Source::at("app"),
        parameters: Default::default(),
        namespace: None,
        prune: true,
        on_remove: on_remove(model),
        protect,
        formerly: model.formerly.clone(),
        rollout: rules.named.get(unit(name)).cloned(),
        depends_on: Some(model.first.iter().map(|(name, awaits)| awaits.written(name)).collect()),
        group: group(name).map(str::to_owned),
        substitute: false,
        treatment: Treatment::default(),
    })
}

fn placement(name: &str, model: &Model) -> Spec {
    let selector = if model.env.is_empty() { Vec::new() } else { vec![requirement(&model.env)] };
    let selector = Selector(selector);
    Spec::Placement(Box::new(Placement {
        apps: AppSelection { names: Some(BTreeSet::from([name.to_owned()])), selector: None, within: None },
        clusters: ClusterSelection { selector: Some(selector), ..ClusterSelection::default() },
        ..Placement::default()
    }))
}

fn first() -> When {
    "1970-01-01".parse().expect("a date")
}

fn last() -> When {
    "9999-12-31".parse().expect("a date")
}

fn catalog(commit: &Commit) -> Catalog {
    let mut objects = BTreeMap::new();
    let mut add = |kind, name: &str, spec| {
        let id = ObjectId { kind, name: name.into() };
        let origin = Origin { file: format!("{name}.yaml").into(), line: 1, column: 1 };
        let object = Object { id: id.clone(), labels: BTreeMap::new(), origin, spec };
        objects.insert(id, Effective { object: Arc::new(object), commit: commit.id.clone() });
    };
    // Tighter than built in, so that these small apps come to it.
    let limits =
        GuardLimits { objects: GuardLimit { max: None, at_most: Some(1) }, ..GuardLimits::default() };
    let defaults = Defaults { rollout: commit.rules.default.clone(), ..Defaults::default() };
    let fleet = Fleet { guard: limits, defaults, ..Fleet::default() };
    add(Kind::Fleet, "fleet", Spec::Fleet(fleet));
    let zone = Zone::utc();
    let freeze = FreezeRule { from: first(), to: last(), timezone: Some(zone) };
    let freezes = if commit.frozen { vec![freeze] } else { Vec::new() };
    let set = ClusterSet { freezes, ..ClusterSet::default() };
    add(Kind::ClusterSet, SET, Spec::ClusterSet(set));
    for (name, rule) in &commit.rules.rollouts {
        add(Kind::Rollout, name, Spec::Rollout(Box::new(rule.written())));
    }
    for (name, model) in &commit.apps {
        add(Kind::App, name, app(&commit.rules, name, model));
        add(Kind::Placement, name, placement(name, model));
    }
    Catalog {
        name: CatalogName::root(),
        commit: commit.id.clone(),
        objects,
        problems: Vec::new(),
        empty: commit.empty,
        tenants: BTreeMap::new(),
    }
}
