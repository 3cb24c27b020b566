//! A repository in memory, rendered as the hub does; and the same files on disk, for the engines themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::assets;
use harness::process::Program;
use nave_hub::deciding::revision::{Asked, Content, Ground, Loader, Place, Rendered, render};
use nave_hub::engines::{Engines, Paths};
use nave_hub::sources::Nowhere;
use nave_placement::catalog::{BlobId, CommitId, FileKind, LastGood, Sources, Tree, TreeEntry};
use nave_placement::fleet::Facts;
use nave_placement::overrides::{Forms, Variant};
use nave_placement::render::{Asks, Capabilities};
use nave_placement::{CatalogName, Digest};
use serde_json::Value;

pub const HEAD: &str = "apiVersion: nave.dev/v1alpha1\n";
const LIMIT: Duration = Duration::from_secs(60);

/// Where the engines of the tests are.
pub fn paths() -> Paths {
    with_helm("helm")
}

/// With one of the two helms: `helm`, `helm3`.
fn with_helm(helm: &str) -> Paths {
    let path = |name| Some(assets::binary(name).expect("tests/setup/kubectl provides it"));
    Paths { helm: path(helm), kustomize: path("kubectl") }
}

/// Files by path; what begins with `-> ` is a symbolic link.
pub struct Given(BTreeMap<Arc<str>, Arc<[u8]>>);

#[async_trait]
impl Content for Given {
    async fn read_all(&self, blobs: Vec<BlobId>, limit: u64) -> Vec<Result<Arc<[u8]>, String>> {
        let known: BTreeMap<BlobId, &Arc<[u8]>> =
            self.0.values().map(|content| (id(content), content)).collect();
        let read = |blob: &BlobId| {
            let content = known.get(blob).ok_or_else(|| format!("{blob:?} is not there"))?;
            if content.len() as u64 > limit {
                Err("it is too large".to_owned())
            } else {
                Ok(Arc::clone(content))
            }
        };
        blobs.iter().map(read).collect()
    }
}

/// Where no cluster answers.
fn nothing(_: &Asks) -> Capabilities {
    Capabilities::default()
}

fn id(content: &[u8]) -> BlobId {
    BlobId(Digest::of(content).to_string().into())
}

impl Given {
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).into(), Arc::from(text.as_bytes()))).collect())
    }

    /// With one more file, or another one.
    pub fn with(mut self, path: &str, content: Vec<u8>) -> Self {
        self.0.insert(path.into(), content.into());
        self
    }

    /// Without the files below a directory.
    pub fn without(mut self, directory: &str) -> Self {
        self.0.retain(|path, _| !path.starts_with(directory));
        self
    }

    fn tree(&self) -> Tree {
        let entry = |(path, content): (&Arc<str>, &Arc<[u8]>)| {
            let kind = if content.starts_with(b"-> ") { FileKind::Symlink } else { FileKind::File };
            (path.clone(), TreeEntry { kind, blob: id(content), size: content.len() as u64 })
        };
        self.0.iter().map(entry).collect()
    }

    /// Renders a variant of app `web`.
    pub async fn rendered(&self, engines: &Engines, overrides: &[&str]) -> Rendered {
        self.rendered_all(engines, &[overrides], &nothing).await
    }

    /// What app `web` is on a cluster with these facts.
    pub async fn rendered_for(&self, engines: &Engines, facts: &Facts) -> Rendered {
        let answers = |asks: &Asks| asks.answers(facts).expect("what is asked is known");
        self.rendered_all(engines, &[&[]], &answers).await
    }

    /// Renders variants of app `web`.
    async fn rendered_all(
        &self,
        engines: &Engines,
        variants: &[&[&str]],
        answers: &(dyn Fn(&Asks) -> Capabilities + Sync),
    ) -> Rendered {
        let (tree, commit) = (self.tree(), CommitId("0".repeat(40).into()));
        let place =
            Place { name: CatalogName::root(), directory: String::new(), is_root: true, configured: None };
        let catalog = Loader::default().catalog(self, &place, &commit, &tree, &LastGood::new()).await;
        let variants = variants.iter().map(|names| Variant::of(names.iter().copied()));
        let variants: BTreeSet<Variant> = variants.collect();
        let asked = Asked::from([("web".parse().expect("a name"), variants)]);
        let (content, sources) = (self, &Sources::new());
        let ground = Ground { content, tree: &tree, remotes: &Nowhere, sources };
        let mut rendered = render(ground, engines, &catalog, &asked, &Forms::new(), &|_| false).await;
        // What a chart asks is known only now.
        let answered = |(variant, asks): (&Variant, &Asks)| variant.with(answers(asks));
        let asked = rendered.asking.iter();
        let asked: Asked =
            asked.map(|(app, asks)| (app.clone(), asks.iter().map(answered).collect())).collect();
        if !asked.is_empty() {
            let more = render(ground, engines, &catalog, &asked, &Forms::new(), &|_| false).await;
            rendered.forms.extend(more.forms);
            rendered.bundles.extend(more.bundles);
            for (app, problems) in more.problems {
                rendered.problems.entry(app).or_default().extend(problems);
            }
        }
        if !catalog.problems.is_empty() {
            let told = rendered.problems.entry("web".parse().expect("a name")).or_default();
            told.extend(catalog.problems);
        }
        rendered
    }

    /// The objects of a variant.
    ///
    /// # Panics
    /// With the problems, where there are any.
    pub async fn objects(&self, engines: &Engines, overrides: &[&str]) -> Vec<Value> {
        objects_of(&self.rendered(engines, overrides).await)
    }

    /// What is told of app `web`, one line each.
    pub async fn problems(&self, engines: &Engines, overrides: &[&str]) -> Vec<String> {
        self.problems_of(engines, &[overrides]).await
    }

    /// What is told of several variants.
    pub async fn problems_of(&self, engines: &Engines, variants: &[&[&str]]) -> Vec<String> {
        let rendered = self.rendered_all(engines, variants, &nothing).await;
        rendered.problems.values().flatten().map(ToString::to_string).collect()
    }

    /// Writes it.
    pub fn write(&self, directory: &Path) {
        for (path, content) in &self.0 {
            let path = directory.join(&**path);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            std::fs::write(path, content).expect("a file");
        }
    }
}

/// The objects that were rendered.
///
/// # Panics
/// With the problems, where there are any.
pub fn objects_of(rendered: &Rendered) -> Vec<Value> {
    assert!(rendered.problems.is_empty(), "{:#?}", rendered.problems);
    let bundle = rendered.bundles.first().expect("it was rendered");
    let text = std::str::from_utf8(&bundle.bytes).expect("JSON");
    sorted(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// What an engine says by itself, in a directory with these files.
pub async fn by_hand(files: &[(&str, &str)], engine: &str, arguments: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().expect("a directory");
    Given::of(files).write(directory.path());
    let program = Program::at(assets::binary(engine).expect("tests/setup/kubectl provides it"));
    let said = program.args(arguments).directory(directory.path()).output(LIMIT).await.expect("it renders");
    documents_of(&said)
}

/// The objects of what Helm wrote, without tests; read as kubectl reads it, to which `0400` is octal.
pub fn documents_of(said: &str) -> Vec<Value> {
    let as_kubectl = serde_saphyr::options! { legacy_octal_numbers: true };
    let read: Vec<Value> = serde_saphyr::from_multiple_with_options(said, as_kubectl)
        .unwrap_or_else(|error| panic!("{error}\n{said}"));
    let is_test = |object: &Value| object["metadata"]["annotations"]["helm.sh/hook"] == "test";
    sorted(read.into_iter().filter(|object| !object.is_null() && !is_test(object)).collect())
}

pub fn sorted(mut objects: Vec<Value>) -> Vec<Value> {
    let key = |object: &Value| {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
    };
    objects.sort_by_key(key);
    objects
}

/// An app `web` of this source.
pub fn app(source: &str) -> String {
    format!(
        "{HEAD}kind: App\nmetadata: {{name: web}}\nspec: {{source: {source}, namespace: {{name: shop}}}}\n"
    )
}

/// An override of it.
pub fn overriding(name: &str, rest: &str) -> String {
    format!(
        "{HEAD}kind: Override\nmetadata: {{name: {name}}}\nspec: {{apps: {{names: [web]}}, clusters: {{selector: {{}}}}, {rest}}}\n"
    )
}

pub fn engines() -> (Engines, tempfile::TempDir) {
    engines_with("helm")
}

/// With one of the two helms.
pub fn engines_with(helm: &str) -> (Engines, tempfile::TempDir) {
    let room = tempfile::tempdir().expect("a directory");
    (Engines::new(room.path().to_owned(), with_helm(helm)), room)
}

/// The text files below a directory of this workspace, by path below `prefix`.
pub fn of_workspace(directory: &str, prefix: &str) -> Vec<(String, String)> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
    let (mut files, mut open) = (Vec::new(), vec![top.clone()]);
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("it is there") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(&top).expect("it is below").display();
            files.push((format!("{prefix}/{name}"), std::fs::read_to_string(&path).expect("text")));
        }
    }
    files
}
