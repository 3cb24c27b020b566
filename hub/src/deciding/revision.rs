//! Brings a revision: reads exactly the files that are needed, parses what changed, renders the apps whose recipe changed.
//!
//! In: a tree and a [`Content`] to read blobs from (a Git repository, or a directory for `hub catalog check`).
//! Out: the [`Catalog`] in effect and the form of each app.
//! Never: parses a file twice, renders an app whose recipe is as it was.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use nave_placement::assign::{AppForm, Entry, Options};
use nave_placement::catalog::{
    self, App, BlobId, Catalog, CommitId, Effective, LastGood, MAX_FILE_BYTES, Object, ParsedFile, Problem,
    Tree,
};
use nave_placement::render::{self, Bundle, MAX_BUNDLE_BYTES, Needs};
use nave_placement::{AppKey, CatalogName};

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
#[derive(Clone, Debug)]
pub struct Place {
    /// Its name.
    pub name: CatalogName,
    /// Its directory, without slashes around it; empty for the repository's root.
    pub directory: String,
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
        catalog::assemble(&place.name, commit, true, tree, &files, last_good)
    }

    /// Keeps the cache as large as one tree.
    fn forget_other_trees(&mut self, tree: &Tree) {
        self.parsed.retain(|(path, blob), _| tree.get(path).is_some_and(|entry| entry.blob == *blob));
    }

    /// The form of one object in an older commit, where its file still reads as it did then.
    pub async fn object_at(
        content: &dyn Content,
        tree: &Tree,
        file: &str,
        id: &catalog::ObjectId,
    ) -> Option<Arc<Object>> {
        let entry = tree.get(file)?;
        let text = content.read_all(vec![entry.blob.clone()], MAX_FILE_BYTES).await.pop()?.ok()?;
        let parsed = catalog::parse_file(file, &text);
        let found = parsed.documents.iter().find(|d| d.id.as_ref() == Some(id));
        found.and_then(|d| d.object.clone())
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

/// What came of rendering a catalog's apps.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The form of each app that is in effect.
    pub forms: BTreeMap<AppKey, AppForm>,
    /// Bundles that are new.
    pub bundles: Vec<Bundle>,
    /// Why apps could not be rendered; they stay in their last good form. And warnings about those that were rendered now.
    pub problems: Vec<Problem>,
    /// Apps that were rendered: a work counter.
    pub apps_rendered: u64,
}

/// Renders the apps whose recipe differs from the form in effect, or whose bundle is not at hand.
pub async fn render(
    content: &dyn Content,
    catalog: &Catalog,
    tree: &Tree,
    in_effect: &BTreeMap<AppKey, AppForm>,
    at_hand: &(dyn Fn(&AppForm) -> bool + Sync),
) -> Rendered {
    let mut rendered = Rendered::default();
    for (effective, app) in catalog.apps() {
        let Ok(key) = AppKey::new(catalog.name.clone(), &effective.object.id.name) else { continue };
        let before = in_effect.get(&key);
        match render_app(content, catalog, tree, effective, app, before.filter(|f| at_hand(f))).await {
            Ok((form, bundle, warnings)) => {
                rendered.problems.extend(warnings);
                rendered.apps_rendered += u64::from(bundle.is_some());
                rendered.bundles.extend(bundle);
                rendered.forms.insert(key, form);
            }
            Err(problems) => {
                rendered.problems.extend(problems);
                rendered.forms.extend(before.map(|form| (key, form.clone())));
            }
        }
    }
    rendered
}

pub(super) async fn render_app(
    content: &dyn Content,
    catalog: &Catalog,
    tree: &Tree,
    effective: &Effective,
    app: &App,
    before: Option<&AppForm>,
) -> Result<(AppForm, Option<Bundle>, Vec<Problem>), Vec<Problem>> {
    let object = &effective.object;
    let problem = |message: String| vec![Problem::at(&object.origin, message).of(Some(&object.id))];
    // The catalog tells it at `source.path`, where the text of this commit is in effect.
    let told = |error: &str| {
        catalog.problems.iter().any(|p| p.object.as_ref() == Some(&object.id) && p.message.contains(error))
    };
    let needs = render::needs(&app.source, tree).map_err(|e| {
        let message = e.to_string();
        if told(&message) { Vec::new() } else { problem(message) }
    })?;
    let options = options(&catalog.name, app);
    let version = Entry::recipe(needs.digest(), &BTreeMap::new(), &options);
    if let Some(before) = before.filter(|before| before.version == version) {
        return Ok((before.clone(), None, Vec::new()));
    }
    let files = read_needs(content, &needs).await.map_err(problem)?;
    let bundle = render::finish(&needs, &files)
        .map_err(|e| e.0.into_iter().map(|p| p.of(Some(&object.id))).collect::<Vec<_>>())?;
    let form = AppForm { bundle: bundle.digest, options, version, commit: catalog.commit.clone() };
    let warnings =
        render::plain_secrets(&needs, &files).into_iter().map(|p| p.of(Some(&object.id))).collect();
    Ok((form, Some(bundle), warnings))
}

async fn read_needs(content: &dyn Content, needs: &Needs) -> Result<BTreeMap<Arc<str>, Arc<[u8]>>, String> {
    let texts = content.read_all(needs.files.values().cloned().collect(), MAX_BUNDLE_BYTES as u64).await;
    needs.files.keys().cloned().zip(texts).map(|(path, text)| Ok((path, text?))).collect()
}

fn options(catalog: &CatalogName, app: &App) -> Options {
    let former = app.formerly.iter().filter_map(|name| AppKey::new(catalog.clone(), name).ok());
    Options {
        namespace: app.namespace.clone(),
        prune: app.prune,
        on_remove: app.on_remove,
        share: None,
        formerly: former.collect(),
        treatment: app.treatment.clone(),
    }
}
