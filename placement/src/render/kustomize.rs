//! Kustomize: the files that a kustomization names, and those that they name.
//!
//! In: a directory, the tree, the kustomizations read so far. Out: the closure. It follows resources, bases, components,
//! patches, generators' files and all else that is read from a file, anywhere in the repository.
//! Never: names what is in another repository or behind a URL, a plugin or a function: these are refused by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::needs::{Closure, Needed, NeedsError, Place};
use super::{Contents, Engine, Kustomization};
use crate::catalog::yaml;
use crate::catalog::{Kustomize, Tree, paths};

/// The names that a kustomization's file has.
pub(crate) const FILES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// Most kustomizations between an app and what it is made of; overlays of overlays have five.
pub(super) const MAX_DEPTH: usize = 32;
/// Fields that kustomize renders charts by, which takes a chart from the network.
const CHARTS: [&str; 3] = ["helmCharts", "helmChartInflationGenerator", "helmGlobals"];
/// What makes a container or a program of a plugin's configuration.
const FUNCTION: &str = "config.kubernetes.io/function";
const CHART_PLUGIN: &str = "HelmChartInflationGenerator";

const FROM_ELSEWHERE: &str = "which is not in this repository; copy it into this repository and name it there, so that a commit says what is deployed";
const NOT_THERE: &str = "which is not in this commit; correct the name, or add it";

/// What kustomize takes an entry for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    /// A file, or a directory with a kustomization.
    Resource,
    /// As a resource, or text that stands in its place; it configures a plugin.
    Plugin,
    /// A directory with a kustomization.
    Component,
    /// A file.
    File,
    /// A file if there is one of that name, otherwise text that stands in its place.
    FileOrText,
    /// A file if there is one of that name.
    FileIfAny,
}

/// Something that a kustomization names.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    field: &'static str,
    text: String,
    taken: As,
}

/// What a kustomization needs.
pub(super) fn needs(source: &Kustomize, tree: &Tree, contents: &Contents) -> Result<Needed, NeedsError> {
    let mut walk = Walk {
        closure: Closure::of(&source.path, tree),
        contents,
        more: BTreeSet::new(),
        seen: BTreeSet::new(),
        open: Vec::new(),
    };
    for directory in std::iter::once(&source.path).chain(&source.components) {
        walk.open.push((directory.clone(), 0));
    }
    while let Some((directory, depth)) = walk.open.pop() {
        if walk.seen.insert(directory.clone()) {
            walk.directory(&directory, depth)?;
        }
    }
    let Walk { closure, more, .. } = walk;
    if !more.is_empty() {
        return Ok(Needed::More(more));
    }
    Ok(Needed::Whole(closure.finish(|relative| {
        Engine::Kustomize(Kustomization {
            directory: relative(&source.path),
            components: source.components.iter().map(|path| relative(path)).collect(),
        })
    })))
}

struct Walk<'a> {
    closure: Closure<'a>,
    contents: &'a Contents,
    more: BTreeSet<Arc<str>>,
    seen: BTreeSet<Arc<str>>,
    /// Directories that are still to be looked at, and how deep they lie.
    open: Vec<(Arc<str>, usize)>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &Arc<str>, depth: usize) -> Result<(), NeedsError> {
        if depth > MAX_DEPTH {
            return Err(NeedsError::TooDeep(directory.clone()));
        }
        let mut is_one = false;
        for name in FILES {
            let path = join(directory, name);
            if self.closure.place(&path)? == Place::File {
                is_one = true;
                self.closure.add(&path)?;
                self.file(directory, &path.into(), depth)?;
            }
        }
        if is_one { Ok(()) } else { Err(NeedsError::NoKustomization(directory.clone())) }
    }

    fn file(&mut self, directory: &str, file: &Arc<str>, depth: usize) -> Result<(), NeedsError> {
        let Some(text) = self.text(file)? else { return Ok(()) };
        for kustomization in documents(file, text)? {
            let charts = CHARTS.into_iter().find(|field| !is_nothing(&kustomization[*field]));
            if let Some(field) = charts {
                let what = format!(
                    "{field} renders a chart by a plugin, which is not run; make the chart an app of its own with source.helm"
                );
                return Err(NeedsError::Refused { file: file.clone(), what });
            }
            for entry in entries(&kustomization) {
                self.entry(directory, file, entry, depth)?;
            }
        }
        Ok(())
    }

    /// The text of a file that says what else is needed; none before it was read.
    fn text(&mut self, file: &Arc<str>) -> Result<Option<&str>, NeedsError> {
        let Some(content) = self.contents.get(file) else {
            self.more.insert(file.clone());
            return Ok(None);
        };
        match std::str::from_utf8(content) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let at = crate::catalog::Position::after(&content[..error.valid_up_to()]);
                let why = "the file is not UTF-8; save it as UTF-8".to_owned();
                Err(NeedsError::Unread { file: file.clone(), at, why })
            }
        }
    }

    fn entry(
        &mut self,
        directory: &str,
        file: &Arc<str>,
        entry: Entry,
        depth: usize,
    ) -> Result<(), NeedsError> {
        let Entry { field, text, taken } = entry;
        let wrong = |why: &str| NeedsError::Named {
            file: file.clone(),
            field,
            entry: text.chars().take(200).collect(),
            why: why.to_owned(),
        };
        let is_text = text.contains('\n') || text.contains(": ") || text.starts_with('{');
        if is_text && matches!(taken, As::Plugin | As::FileOrText) {
            return if taken == As::Plugin { refuse_function(file, &text) } else { Ok(()) };
        }
        if is_remote(&text) {
            return Err(wrong(FROM_ELSEWHERE));
        }
        let path = match paths::resolve(file, &text) {
            Ok(path) => path,
            Err(_) if taken == As::FileIfAny => return Ok(()),
            Err(error) => return Err(wrong(&format!("but {error}"))),
        };
        match (self.closure.place(&path)?, taken) {
            (Place::File, As::Component) => Err(wrong("which is a file; name the component's directory")),
            (Place::File, As::Plugin) => {
                self.closure.add(&path)?;
                self.plugin(directory, &path.into(), depth)
            }
            (Place::File, _) => self.closure.add(&path),
            (Place::Directory, As::Resource | As::Plugin | As::Component) => {
                self.open.push((path.into(), depth + 1));
                Ok(())
            }
            (_, As::FileIfAny | As::FileOrText) => Ok(()),
            (Place::Directory, As::File) => Err(wrong("which is a directory; name a file")),
            (Place::Nothing, _) => Err(wrong(NOT_THERE)),
        }
    }

    /// The configuration of a plugin: the built-in ones read files too, relative to the kustomization.
    fn plugin(&mut self, directory: &str, file: &Arc<str>, depth: usize) -> Result<(), NeedsError> {
        let Some(text) = self.text(file)?.map(str::to_owned) else { return Ok(()) };
        refuse_function(file, &text)?;
        let within: Arc<str> = join(directory, FILES[0]).into();
        for configuration in documents(file, &text)? {
            for text in files_of_plugin(&configuration) {
                self.entry(directory, &within, Entry { field: "path", text, taken: As::FileIfAny }, depth)?;
            }
        }
        Ok(())
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// Whether kustomize would take it from another repository, or by a URL.
fn is_remote(entry: &str) -> bool {
    let begins = ["git::", "gh:", "github.com/", "github.com:", "git@"];
    let is_scp = entry.split_once(':').is_some_and(|(host, _)| host.contains('@') && !host.contains('/'));
    entry.contains("://")
        || entry.contains("?ref=")
        || entry.contains("?version=")
        || begins.iter().any(|begin| entry.to_ascii_lowercase().starts_with(begin))
        || is_scp
}

fn refuse_function(file: &Arc<str>, text: &str) -> Result<(), NeedsError> {
    let what = if text.contains(FUNCTION) {
        format!(
            "{FUNCTION} runs a container or a program, which is not run; use a built-in transformer or a patch"
        )
    } else if text.contains(CHART_PLUGIN) {
        format!(
            "{CHART_PLUGIN} is a plugin, which is not run; make the chart an app of its own with source.helm"
        )
    } else {
        return Ok(());
    };
    Err(NeedsError::Refused { file: file.clone(), what })
}

/// The documents of a file, as JSON.
fn documents(file: &Arc<str>, text: &str) -> Result<Vec<Value>, NeedsError> {
    let mut read = Vec::new();
    for document in yaml::read(text) {
        if let Some(yaml::Fault { position: at, message: why }) = document.faults.into_iter().next() {
            return Err(NeedsError::Unread { file: file.clone(), at, why });
        }
        read.extend(document.root.map(|root| root.to_json()));
    }
    Ok(read)
}

fn texts(value: &Value) -> impl Iterator<Item = String> + '_ {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

/// What a kustomization names.
fn entries(kustomization: &Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    let lists = [
        ("resources", As::Resource),
        ("bases", As::Resource),
        ("components", As::Component),
        ("crds", As::File),
        ("configurations", As::File),
        ("generators", As::Plugin),
        ("transformers", As::Plugin),
        ("validators", As::Plugin),
        ("patchesStrategicMerge", As::FileOrText),
    ];
    for (field, taken) in lists {
        entries.extend(texts(&kustomization[field]).map(|text| Entry { field, text, taken }));
    }
    for field in ["patches", "patchesJson6902", "replacements"] {
        let with_path = kustomization[field].as_array().into_iter().flatten();
        let paths = with_path.filter_map(|item| item["path"].as_str()).map(str::to_owned);
        entries.extend(paths.filter(|path| !path.is_empty()).map(|text| Entry {
            field,
            text,
            taken: As::File,
        }));
    }
    for field in ["configMapGenerator", "secretGenerator"] {
        let generators = kustomization[field].as_array().into_iter().flatten();
        let files = generators.flat_map(files_of_generator);
        entries.extend(files.map(|text| Entry { field, text, taken: As::File }));
    }
    let schema = kustomization["openapi"]["path"].as_str().map(str::to_owned);
    entries.extend(schema.map(|text| Entry { field: "openapi", text, taken: As::File }));
    entries
}

/// The files of a generator: `files` may give each a key, `envs` are lists of variables.
fn files_of_generator(generator: &Value) -> Vec<String> {
    let path = |text: String| text.split_once('=').map_or(text.clone(), |(_, path)| path.to_owned());
    let files = texts(&generator["files"]).map(path);
    let env = generator["env"].as_str().filter(|env| !env.is_empty()).map(str::to_owned);
    files.chain(texts(&generator["envs"])).chain(env).collect()
}

/// The files that the configuration of a built-in plugin names.
fn files_of_plugin(configuration: &Value) -> Vec<String> {
    let path = |value: &Value| value["path"].as_str().map(str::to_owned);
    let replacements = configuration["replacements"].as_array().into_iter().flatten().filter_map(path);
    let mut files = files_of_generator(configuration);
    files.extend(texts(&configuration["paths"]));
    files.extend(path(configuration));
    files.extend(replacements);
    files
}

#[cfg(test)]
#[path = "kustomize_tests.rs"]
mod tests;
