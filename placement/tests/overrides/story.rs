//! A story's world: files and clusters become a catalog, forms, and the objects of each cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use nave_placement::assign::{AppForm, Entry, Options};
use nave_placement::catalog::{
    BlobId, Catalog, CommitId, FileKind, Files, LastGood, Problem, Tree, TreeEntry, assemble, parse_file,
};
use nave_placement::decide::{Memory, Moment, Wanted, decide, wanted};
use nave_placement::fleet::{Fleet, Membership, candidate};
use nave_placement::overrides::{self, Asking, Form, Forms, Shapes, Variant};
use nave_placement::render::{
    Bundle, Contents, Needed, Release, Scope, Scopes, Trees, amend, finish, needs, resolve,
};
use nave_placement::{AppKey, CatalogName, ClusterName, Digest};

#[derive(Default)]
pub struct World {
    files: BTreeMap<Arc<str>, Arc<[u8]>>,
    pub clusters: BTreeMap<ClusterName, Membership>,
    catalog: Option<Catalog>,
    forms: Forms,
    bundles: BTreeMap<Digest, Bundle>,
    shapes: Shapes,
    wanted: Wanted,
    problems: BTreeSet<String>,
    /// Variants that were rendered: a counter of work.
    pub rendered: usize,
}

/// Every kind of a story lives in a namespace.
struct Everywhere;

impl Scopes for Everywhere {
    fn scope(&self, _: &str, _: &str) -> Option<Scope> {
        Some(Scope::Namespaced)
    }
}

pub fn play(told: &str) -> String {
    let (mut world, mut went, mut section) = (World::default(), String::new(), None::<(String, String)>);
    for line in told.lines().filter(|line| !line.starts_with('>')) {
        writeln!(went, "{line}").expect("a string takes it");
        let Some(name) = line.strip_prefix("== ") else {
            if let Some((_, text)) = &mut section {
                writeln!(text, "{line}").expect("a string takes it");
            }
            continue;
        };
        if let Some((name, text)) = section.replace((name.to_owned(), String::new())) {
            world.section(&name, &text);
        }
        if let Some(commit) = name.strip_prefix("commit ") {
            section = None;
            world.commit(commit);
            world.told().lines().for_each(|line| writeln!(went, "> {line}").expect("a string takes it"));
        }
    }
    went
}

impl World {
    fn section(&mut self, name: &str, text: &str) {
        match name {
            "clusters" => {
                self.clusters.clear();
                for line in text.lines().filter(|line| !line.is_empty()) {
                    let mut words = line.split_whitespace();
                    let name = words.next().expect("a name");
                    let labels: Vec<_> = words.filter_map(|word| word.split_once('=')).collect();
                    self.cluster(name, &labels);
                }
            }
            path => self.file(path, text),
        }
    }

    pub fn file(&mut self, path: &str, text: &str) {
        self.files.insert(path.into(), Arc::from(text.as_bytes()));
    }

    pub fn cluster(&mut self, name: &str, labels: &[(&str, &str)]) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.clusters.insert(name.parse().expect("a name"), Membership { labels, ..Membership::default() });
    }

    pub fn catalog(&self) -> &Catalog {
        self.catalog.as_ref().expect("a commit was made")
    }

    fn tree(&self) -> Tree {
        let entry = |(path, text): (&Arc<str>, &Arc<[u8]>)| {
            let blob = BlobId(Digest::of(text).to_string().into());
            (path.clone(), TreeEntry { kind: FileKind::File, blob, size: text.len() as u64 })
        };
        self.files.iter().map(entry).collect()
    }

    pub fn commit(&mut self, id: &str) {
        let parsed: Files = self
            .files
            .iter()
            .filter(|(path, _)| !path.contains('/'))
            .map(|(path, text)| (path.clone(), Arc::new(parse_file(path, text))))
            .collect();
        let last_good: LastGood = self.catalog.take().map(|catalog| catalog.objects).unwrap_or_default();
        let commit = CommitId(id.into());
        let catalog = assemble(&CatalogName::root(), &commit, true, &self.tree(), &parsed, &last_good);
        self.problems = catalog.problems.iter().map(Problem::to_string).collect();
        self.catalog = Some(catalog);
        self.decide();
        self.render();
        self.decide();
    }

    fn fleet(&self) -> Fleet {
        let merged = |(name, member): (&ClusterName, &Membership)| {
            (name.clone(), candidate(self.catalog.as_ref(), name, member, 0))
        };
        self.clusters.iter().map(merged).collect()
    }

    pub fn decide(&mut self) {
        let fleet = self.fleet();
        self.wanted = wanted(&decide(self.catalog(), &fleet, &Memory::new(), Moment::at(0)));
        let (shapes, lacking) = overrides::shapes(
            self.catalog(),
            &fleet,
            &self.wanted,
            &self.forms,
            &Asking::new(),
            &overrides::judged,
        );
        self.shapes = shapes;
        self.problems.retain(|problem| !problem.starts_with("on "));
        self.problems.extend(lacking.iter().map(|l| format!("on {}: {}: {}", l.cluster, l.app, l.lack)));
    }

    /// Every variant that is asked for; what cannot be rendered keeps its form.
    fn render(&mut self) {
        let mut forms = Forms::new();
        for (app, variants) in
            overrides::needed(self.catalog(), &self.fleet(), &self.wanted, &Asking::new(), &overrides::judged)
        {
            for variant in variants {
                let before = self.forms.get(&app).and_then(|forms| forms.get(&variant)).cloned();
                let form = match self.variant(&app, &variant, before.as_ref()) {
                    Ok(form) => Some(form),
                    Err(problems) => {
                        self.problems.extend(problems.iter().map(Problem::to_string));
                        before.map(|form| Form { is_stale: true, ..form })
                    }
                };
                if let Some(form) = form {
                    forms.entry(app.clone()).or_default().insert(variant, form);
                }
            }
        }
        self.forms = forms;
    }

    fn variant(
        &mut self,
        key: &AppKey,
        variant: &Variant,
        before: Option<&Form>,
    ) -> Result<Form, Vec<Problem>> {
        let catalog = self.catalog.as_ref().expect("a commit was made");
        let (_, app) = catalog.app(key.name()).expect("it is asked for");
        let overrides = overrides::of_variant(catalog, key, variant);
        let amendments = overrides::amendments(catalog, &overrides);
        let source = amendments.source(&key.name().into(), &app.source).map_err(|problem| vec![problem])?;
        let release = Release { app: key.name(), namespace: None, is_tenants: false };
        // The catalog tells what is wrong with a source.
        let needed = needs(&source, release, Trees::of_catalog(&self.tree()), &Contents::new())
            .map_err(|_| Vec::new())?;
        let Needed::Whole(needs) = needed else { panic!("stories are of manifests") };
        let options = Options {
            namespace: app.namespace.clone(),
            prune: app.prune,
            on_remove: app.on_remove,
            formerly: BTreeSet::new(),
            substitute: app.substitute,
            treatment: app.treatment.clone(),
            share: None,
            grant: None,
        };
        let source = amendments.digest(needs.digest());
        let version = Entry::recipe(source, &BTreeMap::new(), &options);
        if let Some(before) = before.filter(|before| before.version == version) {
            return Ok(before.clone());
        }
        let content = |relative: &Arc<str>| {
            let path: Arc<str> = format!("{}/{relative}", needs.source).into();
            (relative.clone(), self.files[&path].clone())
        };
        let files = needs.files.keys().map(content).collect();
        let bundle = finish(&needs, &files, app.substitute).map_err(|error| error.0)?;
        let (bundle, warnings) =
            amend(key.name(), bundle, &amendments, app.substitute).map_err(|error| error.0)?;
        self.rendered += 1;
        self.problems.extend(warnings.iter().map(Problem::to_string));
        let uses = if app.substitute { bundle.uses() } else { BTreeMap::new() };
        let form = Form {
            bundle: bundle.digest,
            options,
            source,
            version,
            commit: catalog.commit.clone(),
            source_at: None,
            dependencies: BTreeMap::new(),
            uses,
            asked: None,
            is_stale: false,
        };
        self.bundles.insert(bundle.digest, bundle);
        Ok(form)
    }

    /// What every cluster gets of the only app.
    pub fn entries(&self) -> BTreeMap<ClusterName, AppForm> {
        let form = |(cluster, apps): (&ClusterName, &BTreeMap<AppKey, _>)| {
            let app = apps.keys().next()?;
            Some((cluster.clone(), self.shapes.get(app, cluster)?.clone()))
        };
        self.wanted.iter().filter_map(form).collect()
    }

    fn told(&self) -> String {
        let mut said = String::new();
        let mut numbers: BTreeMap<Digest, usize> = BTreeMap::new();
        for (cluster, apps) in &self.wanted {
            for app in apps.keys() {
                let Some(form) = self.shapes.get(app, cluster) else {
                    writeln!(said, "{cluster} {app}: stays as it was").expect("a string takes it");
                    continue;
                };
                let next = numbers.len() + 1;
                let number = *numbers.entry(form.bundle).or_insert(next);
                let values = serde_json::to_string(&form.values).expect("JSON");
                writeln!(said, "{cluster} {app}: bundle {number} of commit {}, values {values}", form.commit)
                    .expect("a string takes it");
                let entry = Entry {
                    bundle: form.bundle,
                    values: form.values.clone(),
                    options: form.options.clone(),
                    version: form.version,
                    commit: form.commit.clone(),
                    objects: 0,
                    drops: 0,
                    drops_cause: None,
                    drops_of: None,
                    at_once: false,
                    source_at: None,
                };
                let objects = resolve(&self.bundles[&form.bundle].bytes, &entry, &Everywhere);
                for object in objects.expect("all values are there") {
                    let mut object = (*object.object).clone();
                    object["metadata"].as_object_mut().expect("it has one").remove("namespace");
                    writeln!(said, "  {object}").expect("a string takes it");
                }
            }
        }
        writeln!(said, "rendered so far: {}", self.rendered).expect("a string takes it");
        for problem in &self.problems {
            writeln!(said, "{problem}").expect("a string takes it");
        }
        said
    }
}
