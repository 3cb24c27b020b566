//! A repository in memory: catalogs that change at random, and what the hub would make of a commit.
//!
//! In: a seed's randomness. Out: commits, revisions, bundles. Never: lets two apps of one commit claim one object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fastrand::Rng;
use nave_hub::deciding::core::Revision;
use nave_hub::state::State;
use nave_placement::assign::{Entry, Options};
use nave_placement::catalog::{
    App, AppSelection, Catalog, ClusterSelection, ClusterSet, CommitId, Effective, Fleet, FreezeRule,
    GuardLimit, GuardLimits, Kind, Object, ObjectId, OnRemove, Origin, Placement, Source, Spec, Treatment,
};
use nave_placement::guard::{Allowance, AllowanceScope};
use nave_placement::overrides::{Form, Forms, Variant};
use nave_placement::render::Bundle;
use nave_placement::schedule::{When, Zone};
use nave_placement::select::{Operator, Requirement, Selector};
use nave_placement::{AppKey, CatalogName, Digest, ObjectKey};

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
        let first = Commit {
            id: id(0),
            parent: None,
            apps: BTreeMap::new(),
            empty: false,
            allows: None,
            frozen: false,
        };
        let mut git = Self {
            commits: vec![first],
            tip: 0,
            bundles: BTreeMap::new(),
            catalogs: BTreeMap::new(),
            named: 0,
        };
        let mut apps = BTreeMap::new();
        for _ in 0..rng.usize(2..=5) {
            git.add(&mut apps, rng);
        }
        git.commits[0].apps = apps;
        git
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
        self.commits.push(Commit { id, parent: Some(parent), apps, empty, allows, frozen });
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

    /// Mends what is broken or empty, so that a fleet can come to rest.
    pub fn mend(&mut self) {
        let parent = self.tip;
        let mut apps = self.commits[parent].apps.clone();
        apps.values_mut().for_each(|model| model.broken = false);
        let id = id(self.commits.len());
        self.commits.push(Commit {
            id,
            parent: Some(parent),
            apps,
            empty: false,
            allows: None,
            frozen: false,
        });
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
        Revision { catalog, forms, allowances, unpins: BTreeSet::new(), author: "ann".into() }
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
            version,
            commit: commit.clone(),
            uses: BTreeMap::new(),
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
fn group(name: &str) -> Option<String> {
    let number = name.trim_start_matches('n').parse::<u32>().ok().filter(|number| number % 3 > 0)?;
    Some(format!("group-{}", number % 3))
}

/// The app of a commit under whose name one moves: the first of its group.
pub fn lead(commit: &Commit, app: &AppKey) -> AppKey {
    let of = |name: &str| commit.apps.contains_key(name).then(|| group(name)).flatten();
    let mut members = commit.apps.keys().filter(|name| of(name).is_some() && of(name) == of(app.name()));
    members.next().map_or_else(|| app.clone(), |name| key(name))
}

fn app(name: &str, model: &Model) -> Spec {
    // Every fifth that was made is protected, also under its later names.
    let number = name.trim_start_matches('n').parse::<u32>();
    let protect = number.is_ok_and(|number| number % 5 == 0);
    Spec::App(App {
        source: Source::Path("app".into()),
        parameters: Default::default(),
        namespace: None,
        prune: true,
        on_remove: on_remove(model),
        protect,
        formerly: model.formerly.clone(),
        rollout: None,
        depends_on: None,
        group: group(name),
        substitute: false,
        treatment: Treatment::default(),
    })
}

fn placement(name: &str, model: &Model) -> Spec {
    let operator = Operator::In(BTreeSet::from([model.env.clone()]));
    let requirement = Requirement { key: "env".into(), operator };
    let selector = Selector(if model.env.is_empty() { Vec::new() } else { vec![requirement] });
    Spec::Placement(Box::new(Placement {
        apps: AppSelection { names: Some(BTreeSet::from([name.to_owned()])), selector: None },
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
    let fleet = Fleet { guard: limits, ..Fleet::default() };
    add(Kind::Fleet, "fleet", Spec::Fleet(fleet));
    let zone = Zone::utc();
    let freeze = FreezeRule { from: first(), to: last(), timezone: Some(zone) };
    let freezes = if commit.frozen { vec![freeze] } else { Vec::new() };
    let set = ClusterSet { freezes, ..ClusterSet::default() };
    add(Kind::ClusterSet, SET, Spec::ClusterSet(set));
    for (name, model) in &commit.apps {
        add(Kind::App, name, app(name, model));
        add(Kind::Placement, name, placement(name, model));
    }
    Catalog {
        name: CatalogName::root(),
        commit: commit.id.clone(),
        objects,
        problems: Vec::new(),
        empty: commit.empty,
    }
}
