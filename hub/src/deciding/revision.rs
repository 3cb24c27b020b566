//! Brings a revision: reads exactly the files that are needed, parses what changed, renders the variants whose recipe changed.
//!
//! In: a tree and a [`Content`] to read blobs from (a Git repository, or a directory for `hub catalog check`); the [`Remotes`] that
//! sources name.
//! Out: the [`Catalog`] in effect and the forms of its apps.
//! Never: parses a file twice, renders a variant whose recipe is as it was, or for each cluster anew.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use nave_placement::assign::{Entry, Options};
use nave_placement::catalog::{
    self, App, BlobId, Catalog, CommitId, Effective, LastGood, MAX_FILE_BYTES, Object, ParsedFile, Position,
    Problem, Remote, RemoteId, Source, SourceAt, Sources, Tenant, Tree,
};
use nave_placement::overrides::template::Uses;
use nave_placement::overrides::{self, Amendments, Form, Variant};
use nave_placement::render::{
    self, Bundle, Contents, Engine, MAX_BUNDLE_BYTES, Needed, Needs, Release, Trees,
};
use nave_placement::{AppKey, CatalogName};

use super::reading::read_of;
pub use super::rendered::{Asked, Files, Ground, Rendered, render, render_all};
use crate::engines::Engines;
use crate::sources::{Brought, Until};

/// Bytes of the charts that a chart depends on, unpacked: as many as an engine is given.
const MOST_OF_CHARTS: u64 = 64 << 20;

/// Where the content of files comes from.
#[async_trait]
pub trait Content: Send + Sync {
    /// The content of files, in order, each of at most `limit` bytes; or why it cannot be read.
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>>;
}

#[async_trait]
impl Content for crate::git::Repository {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let read = Self::read_all(self, blobs, limit).await;
        read.into_iter().map(|r| r.map_err(|e| e.to_string())).collect()
    }
}

/// Which catalog, and where it stands in its repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: CatalogName,
    /// Its directory, without slashes around it; empty for the repository's root.
    pub directory: String,
    /// Whether it is the root catalog.
    pub is_root: bool,
    /// What the hub's configuration adds to it.
    pub configured: Option<Configured>,
}

/// Documents of the root catalog that stand in the hub's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configured {
    /// The configuration, by its whole path: no file of a repository is called so.
    pub file: Arc<str>,
    /// The documents, each at its line.
    pub text: Arc<[u8]>,
}

/// What the configuration says is a last good form of itself: it keeps what it is where a commit does not fit it, after a restart too.
pub fn add_configured(last_good: &mut LastGood, parsed: &ParsedFile, tree: &Tree, commit: &CommitId) {
    for id in parsed.documents.iter().filter_map(|document| document.id.clone()) {
        if let Some(object) = catalog::object_of(parsed, tree, &id) {
            let own = || Effective { object, commit: commit.clone() };
            last_good.entry(id).or_insert_with(own);
        }
    }
}

/// A file that was parsed before: `None` where it holds no catalog document.
type Parsed = Option<Arc<ParsedFile>>;

/// Reads catalogs; keeps parsed files by path and blob id.
#[derive(Default)]
pub struct Loader {
    parsed: HashMap<(Arc<str>, BlobId), Parsed>,
    /// Files parsed since the start: a work counter.
    pub files_parsed: u64,
}

impl Loader {
    /// The catalog of a commit, with what was good before kept where the commit's text is not.
    pub async fn catalog(
        &mut self,
        content: &dyn Content,
        place: &Place,
        commit: &CommitId,
        tree: &Tree,
        last_good: &LastGood,
    ) -> Catalog {
        let ignore = read_files(content, tree, catalog::ignore_files(tree, &place.directory)).await;
        let mut files = BTreeMap::new();
        let mut rules = BTreeMap::new();
        for (path, text) in ignore {
            match text {
                Ok(text) => drop(rules.insert(path, text)),
                // What it would ignore is not known: nothing counts as removed.
                Err(message) => {
                    drop(files.insert(path.clone(), Arc::new(ParsedFile::unread(&path, message))))
                }
            }
        }
        let held = catalog::held_files(last_good);
        let mut unread = Vec::new();
        for path in catalog::candidates(tree, &place.directory, &rules) {
            let Some(entry) = tree.get(&path) else { continue };
            match self.parsed.get(&(path.clone(), entry.blob.clone())) {
                Some(Some(parsed)) => drop(files.insert(path, parsed.clone())),
                Some(None) if !held.contains(&path) => {}
                _ => unread.push(path),
            }
        }
        for (path, text) in read_files(content, tree, unread).await {
            let text = match text {
                Ok(text) => text,
                Err(message) => {
                    files.insert(path.clone(), Arc::new(ParsedFile::unread(&path, message)));
                    continue;
                }
            };
            let parsed = (held.contains(&path) || catalog::may_hold_documents(&text))
                .then(|| Arc::new(catalog::parse_file(&path, &text)));
            self.files_parsed += u64::from(parsed.is_some());
            if let Some(parsed) = &parsed {
                files.insert(path.clone(), parsed.clone());
            }
            if let Some(entry) = tree.get(&path) {
                self.parsed.insert((path, entry.blob.clone()), parsed);
            }
        }
        self.forget_other_trees(tree);
        let mut last_good = Cow::Borrowed(last_good);
        if let Some(Configured { file, text }) = &place.configured {
            let parsed = catalog::parse_file(file, text);
            add_configured(last_good.to_mut(), &parsed, tree, commit);
            files.insert(file.clone(), Arc::new(parsed));
        }
        let mut catalog = catalog::assemble(&place.name, commit, place.is_root, tree, &files, &last_good);
        if catalog.empty && !place.is_root {
            let directory = if place.directory.is_empty() { "." } else { &*place.directory };
            let message = format!(
                "no document of catalog {} stands in {directory} of this commit; correct git.path of its Catalog, or add some",
                place.name
            );
            catalog.problems.push(Problem::error(&directory.into(), Position::START, message).warning());
        }
        catalog
    }

    /// Keeps the cache as large as one tree.
    fn forget_other_trees(&mut self, tree: &Tree) {
        self.parsed.retain(|(path, blob), _| tree.get(path).is_some_and(|entry| entry.blob == *blob));
    }
}

/// Files of earlier commits. One that many objects stand in is parsed once.
#[derive(Default)]
pub struct Earlier(HashMap<(String, BlobId), ParsedFile>);

impl Earlier {
    /// The form of one object in an earlier commit.
    pub async fn object(
        &mut self,
        content: &dyn Content,
        tree: &Tree,
        file: &str,
        id: &catalog::ObjectId,
    ) -> Option<Arc<Object>> {
        let blob = tree.get(file)?.blob.clone();
        let key = (file.to_owned(), blob.clone());
        if !self.0.contains_key(&key) {
            let text = content.read_all(vec![blob], MAX_FILE_BYTES).await.pop()?.ok()?;
            self.0.insert(key.clone(), catalog::parse_file(file, &text));
        }
        catalog::object_of(self.0.get(&key)?, tree, id)
    }
}

type Texts = Vec<(Arc<str>, Result<Arc<[u8]>, String>)>;

async fn read_files(content: &dyn Content, tree: &Tree, paths: impl IntoIterator<Item = Arc<str>>) -> Texts {
    let paths: Vec<Arc<str>> = paths.into_iter().filter(|p| tree.contains_key(p)).collect();
    let blobs = paths.iter().filter_map(|p| tree.get(p)).map(|e| e.blob.clone()).collect();
    // Larger than a catalog file may be: a large manifest without catalog documents is no problem of the catalog.
    let texts = content.read_all(blobs, MAX_BUNDLE_BYTES as u64).await;
    paths.into_iter().zip(texts).collect()
}

/// The files that a variant is made of.
pub struct Found {
    /// Which they are.
    pub needs: Needs,
    /// The remote that they are of, in which state.
    at: Option<(RemoteId, SourceAt)>,
    /// And those of charts that its chart depends on.
    dependencies: Sources,
    /// What these have.
    brought: Vec<Arc<Brought>>,
}

/// What one variant of an app is made of.
pub struct Recipe<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) key: AppKey,
    pub(super) object: &'a Object,
    pub(super) app: &'a App,
    pub(super) variant: Variant,
    /// What its overrides do.
    pub amendments: Amendments,
    /// Whether an engine broke a limit with it.
    pub(super) broke_a_limit: AtomicBool,
    /// Whether it may come of this machine that an engine gave nothing.
    is_of_machine: AtomicBool,
    /// The remotes that it names, whether they are at hand or not.
    remotes: Mutex<BTreeSet<Remote>>,
    /// Whether its files are elsewhere and somebody has to answer first.
    is_awaiting: AtomicBool,
}

impl<'a> Recipe<'a> {
    /// Of a variant.
    pub fn of(
        catalog: &'a Catalog,
        key: &AppKey,
        effective: &'a Effective,
        app: &'a App,
        variant: &Variant,
    ) -> Self {
        let amendments = overrides::amendments(catalog, &overrides::of_variant(catalog, key, variant));
        let (object, variant, key) = (&*effective.object, variant.clone(), key.clone());
        let [broke_a_limit, is_of_machine, is_awaiting] = [(); 3].map(|()| AtomicBool::new(false));
        let remotes = Mutex::default();
        Self {
            catalog,
            key,
            object,
            app,
            variant,
            amendments,
            broke_a_limit,
            is_of_machine,
            remotes,
            is_awaiting,
        }
    }

    /// Whether this machine lacked something for it.
    pub(super) fn is_of_machine(&self) -> bool {
        self.is_of_machine.load(Ordering::Relaxed)
    }

    /// Whether somebody has to answer first who has its files.
    pub(super) fn is_awaiting(&self) -> bool {
        self.is_awaiting.load(Ordering::Relaxed)
    }

    pub(super) fn problem(&self, message: String) -> Vec<Problem> {
        vec![Problem::at(&self.object.origin, message).of(Some(&self.object.id))]
    }

    /// Where it comes from.
    ///
    /// # Errors
    /// What is wrong with that.
    pub fn source(&self) -> Result<Source, Vec<Problem>> {
        let name = self.key.name().into();
        let mut source = self.amendments.source(&name, &self.app.source).map_err(|problem| vec![problem])?;
        if let Some(joined) = self.catalog.tenants.get(&self.key.catalog) {
            as_tenants(&mut source, &joined.tenant).map_err(|message| self.problem(message))?;
        }
        Ok(source)
    }

    /// The files that it is made of. What says which those are is read: kustomizations, what a chart says of itself.
    ///
    /// # Errors
    /// What is wrong with its source; nothing, where the catalog tells it already, at the place of the path.
    pub async fn find(&self, ground: Ground<'_>) -> Result<Found, Vec<Problem>> {
        let (name, source) = (self.key.name(), self.source()?);
        let own = match &source.remote {
            Some(remote) => Some(self.brought(ground, remote, "source").await?),
            None => None,
        };
        let (tree, content) = match &own {
            Some((_, brought)) => (&brought.tree, &*brought.content),
            None => (ground.tree, ground.content),
        };
        let mut charts: BTreeMap<Remote, (SourceAt, Arc<Brought>)> = BTreeMap::new();
        let namespace = self.app.namespace.as_ref().map(|namespace| &*namespace.name);
        let is_tenants = self.catalog.tenants.contains_key(&self.key.catalog);
        let release = Release { app: name, namespace, is_tenants };
        let mut read = Contents::new();
        loop {
            let known = charts.iter().map(|(remote, (_, brought))| (remote.clone(), &brought.tree)).collect();
            let remote = own.as_ref().map(|(_, brought)| &brought.tree);
            let trees = Trees { catalog: ground.tree, remote, charts: &known };
            let needed = render::needs(&source, release, trees, &read).map_err(|error| {
                let message = error.to_string();
                let is_told =
                    || self.catalog.problems.iter().any(|problem| problem.message.contains(&message));
                // The catalog tells of its own repository alone.
                match own.is_none() && is_told() {
                    true => Vec::new(),
                    false => self.problem(message),
                }
            })?;
            let more = match needed {
                Needed::Whole(needs) => {
                    let needs = self.answered(needs)?;
                    let at = source.remote.as_ref().zip(own.as_ref());
                    let at = at.map(|(remote, (state, _))| (remote.id(), state.clone()));
                    let states = charts.iter().map(|(remote, (state, _))| (remote.id(), state.clone()));
                    let dependencies = states.collect();
                    let brought = own.into_iter().chain(charts.into_values()).map(|(_, brought)| brought);
                    return Ok(Found { needs, at, dependencies, brought: brought.collect() });
                }
                Needed::Charts(more) => {
                    // All are named, so that all are asked for, before one is missed.
                    self.named().extend(more.iter().cloned());
                    for remote in more {
                        let brought = self.brought(ground, &remote, "chart's dependency").await?;
                        charts.insert(remote, brought);
                        let files = charts.values().flat_map(|(_, brought)| brought.tree.values());
                        if files.map(|file| file.size).sum::<u64>() > MOST_OF_CHARTS {
                            let message = format!(
                                "the charts that its chart depends on have more than {} MiB; make them fewer",
                                MOST_OF_CHARTS >> 20
                            );
                            return Err(self.problem(message));
                        }
                    }
                    continue;
                }
                Needed::More(more) => more,
            };
            for (path, text) in read_files(content, tree, more).await {
                let told = |message: String| self.problem(format!("{path}: {message}"));
                let text = text.map_err(told)?;
                read.insert(path, text);
            }
        }
    }

    /// The state of a remote, and its files.
    async fn brought(
        &self,
        ground: Ground<'_>,
        remote: &Remote,
        what: &str,
    ) -> Result<(SourceAt, Arc<Brought>), Vec<Problem>> {
        self.named().insert(remote.clone());
        let files = ground.remotes.files(remote, ground.sources.get(&remote.id())).await;
        files.map_err(|error| {
            let is_of_machine = error.until == Until::Mended;
            let why = if is_of_machine { &self.is_of_machine } else { &self.is_awaiting };
            why.store(true, Ordering::Relaxed);
            let problems = self.problem(format!("its {what} is not at hand: {error}"));
            problems.into_iter().map(|p| if error.is_awaited { p.warning() } else { p }).collect()
        })
    }

    /// Adds the app to those that name its remotes.
    pub(super) fn tell(&self, app: &AppKey, remotes: &mut BTreeMap<Remote, BTreeSet<AppKey>>) {
        for remote in self.named().iter() {
            remotes.entry(remote.clone()).or_default().insert(app.clone());
        }
    }

    /// The remotes that it was found to name.
    fn named(&self) -> MutexGuard<'_, BTreeSet<Remote>> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The content of these files.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn files(&self, ground: Ground<'_>, found: &Found) -> Result<Contents, Vec<Problem>> {
        let Needs { files, .. } = &found.needs;
        let blobs: Vec<BlobId> = files.values().cloned().collect();
        let limit = MAX_BUNDLE_BYTES as u64;
        // A chart's files may be of several places.
        let elsewhere = found.brought.iter().map(|brought| &*brought.content);
        let places: Vec<&dyn Content> = elsewhere.chain([ground.content]).collect();
        let texts = read_of(&places, &blobs, limit).await;
        let read: Result<Contents, String> =
            files.keys().cloned().zip(texts).map(|(path, text)| Ok((path, text?))).collect();
        read.map_err(|message| self.problem(message))
    }

    /// What an engine writes of these files; without engines, nothing more is run for this app.
    ///
    /// # Errors
    /// Why it writes nothing; nothing, where that was told of another variant.
    pub async fn output(
        &self,
        engines: Option<&Engines>,
        needs: &Needs,
        files: &Contents,
    ) -> Result<Arc<[u8]>, Vec<Problem>> {
        let Some(engines) = engines else {
            self.is_of_machine.store(true, Ordering::Relaxed);
            return Err(Vec::new());
        };
        let output = engines.render(needs, files).await;
        output.map_err(|error| {
            self.broke_a_limit.fetch_or(error.is_of_limits(), Ordering::Relaxed);
            self.is_of_machine.fetch_or(!error.is_of_files(), Ordering::Relaxed);
            vec![self.told(&error, needs)]
        })
    }

    /// The form, and the bundle if it had to be made; warnings.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn render(
        &self,
        ground: Ground<'_>,
        engines: Option<&Engines>,
        before: Option<&Form>,
    ) -> Result<(Form, Option<Bundle>, Vec<Problem>), Vec<Problem>> {
        let Self { catalog, key, object, app, amendments, .. } = self;
        let found = self.find(ground).await?;
        let needs = &found.needs;
        let options = options(catalog, app);
        let source = amendments.digest(needs.digest());
        let version = Entry::recipe(source, &BTreeMap::new(), &options);
        if let Some(before) =
            before.filter(|before| before.version == version && Self::is_asked(needs, before))
        {
            // A record from before there were values lacks it.
            return Ok((Form { source, ..before.clone() }, None, Vec::new()));
        }
        let files = self.files(ground, &found).await?;
        let asked = self.asked(needs, &files).await?;
        if let Some(before) = before.filter(|before| before.version == version) {
            // Likewise, from before there were answers.
            return Ok((Form { source, asked, ..before.clone() }, None, Vec::new()));
        }
        let of_app = |problems: Vec<Problem>| -> Vec<Problem> {
            problems.into_iter().map(|problem| problem.of(Some(&object.id))).collect()
        };
        let made = match needs.engine {
            Engine::Manifests => render::finish(needs, &files, app.substitute)
                .map(|bundle| (bundle, render::plain_secrets(needs, &files))),
            Engine::Kustomize(_) | Engine::Helm(_) => {
                let output = self.output(engines, needs, &files).await?;
                render::finish_output(needs, &output, app.substitute)
            }
        };
        let (bundle, said) = made.map_err(|error| of_app(error.0))?;
        let (bundle, mut warnings) =
            render::amend(&object.id.name, bundle, amendments, app.substitute).map_err(|error| error.0)?;
        warnings.extend(of_app(said));
        let uses = if app.substitute { bundle.uses() } else { Uses::new() };
        let commit = catalog.commit_of(&key.catalog).unwrap_or(&catalog.commit).clone();
        let (bundle_digest, source_at, dependencies) = (bundle.digest, found.at, found.dependencies);
        let form = Form {
            bundle: bundle_digest,
            options,
            source,
            version,
            commit,
            source_at,
            dependencies,
            uses,
            asked,
            is_stale: false,
        };
        Ok((form, Some(bundle), warnings))
    }
}

/// As a tenant may reach it: with credentials that it is allowed to name, or with none.
fn as_tenants(source: &mut Source, tenant: &Tenant) -> Result<(), String> {
    match source.remote.as_mut().map(Arc::make_mut) {
        Some(Remote::Git(remote)) => match &remote.credentials {
            Some(name) if !tenant.may_use(name) => {
                return Err(format!(
                    "spec.source.git.credentials: {name} is not granted to this catalog; the root catalog has to name it in spec.credentials of its Catalog"
                ));
            }
            Some(_) => {}
            None => remote.is_strangers = true,
        },
        Some(Remote::Chart(chart)) => chart.is_strangers = true,
        None => {}
    }
    Ok(())
}

pub(super) fn options(catalog: &Catalog, app: &App) -> Options {
    let former = app.formerly.iter().filter_map(|name| catalog.key(name));
    Options {
        namespace: app.namespace.clone(),
        prune: app.prune,
        on_remove: app.on_remove,
        share: None,
        grant: None,
        formerly: former.collect(),
        substitute: app.substitute,
        treatment: app.treatment.clone(),
    }
}
