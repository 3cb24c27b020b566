//! Charts and kustomizations that other people publish: Nave gives what the engine gives by itself, or refuses by name.
//!
//! In: what `tests/setup/charts` put into the cache; rows that say what becomes of each. Out: objects, compared one by one.
//! Never: leaves a row out because its package is not there.

mod charts;
mod kustomizations;

use std::path::Path;
use std::time::Duration;

use harness::assets;
use harness::process::Program;
use nave_hub::deciding::revision::Rendered;
use serde_json::Value;

use crate::rendering::given::{Given, documents_of, sorted};

const LIMIT: Duration = Duration::from_secs(60);

/// What becomes of a row. What is told of it stands there by words of each problem, in their order.
enum Outcome {
    /// The engine's own objects, and nothing is told.
    Same,
    /// Nave refuses by design what the engine would render.
    Refused(&'static [&'static str]),
    /// The engine itself fails, and Nave tells its words.
    Fails(&'static [&'static str]),
}

/// How the rows came out.
#[derive(Debug, Default)]
struct Count {
    rendered: usize,
    refused: usize,
    failed: usize,
    objects: usize,
    faults: Vec<String>,
}

impl Count {
    /// Judges one row. `by_hand`: what the engine gives.
    fn judge(&mut self, row: &str, outcome: &Outcome, rendered: &Rendered, by_hand: Result<String, String>) {
        if let Err(fault) = self.judged(outcome, rendered, by_hand) {
            self.faults.push(format!("{row}: {fault}"));
        }
    }

    fn judged(
        &mut self,
        outcome: &Outcome,
        rendered: &Rendered,
        by_hand: Result<String, String>,
    ) -> Result<(), String> {
        let told: Vec<String> = rendered.problems.values().flatten().map(ToString::to_string).collect();
        let expected = match outcome {
            Outcome::Same => &[][..],
            Outcome::Refused(words) | Outcome::Fails(words) => words,
        };
        let is_said = told.iter().zip(expected).all(|(told, words)| told.contains(words));
        if !is_said || told.len() != expected.len() {
            return Err(format!("Nave tells {told:#?}; by hand: {:?}", by_hand.err()));
        }
        match (outcome, by_hand) {
            (Outcome::Same, by_hand) => {
                let (objects, by_hand) = (of(rendered), objects_of(&by_hand?));
                equal(&objects, &by_hand)?;
                self.rendered += 1;
                self.objects += objects.len();
            }
            _ if !rendered.bundles.is_empty() => return Err("it is rendered".to_owned()),
            (Outcome::Refused(_), Ok(_)) => self.refused += 1,
            (Outcome::Fails(_), Err(_)) => self.failed += 1,
            (Outcome::Refused(_), Err(error)) => return Err(format!("the engine fails: {error}")),
            (Outcome::Fails(_), Ok(_)) => return Err("the engine does not fail".to_owned()),
        }
        Ok(())
    }

    /// Asserts how many rows were rendered, with how many objects, how many Nave refused, and on how many the engine failed.
    fn assert(&self, rendered: usize, objects: usize, refused: usize, failed: usize) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        let counted = (self.rendered, self.objects, self.refused, self.failed);
        assert_eq!(counted, (rendered, objects, refused, failed));
    }
}

/// Says where two renders differ first.
fn equal(ours: &[Value], theirs: &[Value]) -> Result<(), String> {
    let names = |objects: &[Value]| objects.iter().map(name).collect::<Vec<_>>();
    let (named, by_hand) = (names(ours), names(theirs));
    if named.is_empty() || named != by_hand {
        return Err(format!("objects of Nave {named:#?}; by hand {by_hand:#?}"));
    }
    let mut objects = ours.iter().zip(theirs);
    objects.try_for_each(|(ours, theirs)| same(ours, theirs, &name(ours)))
}

fn same(ours: &Value, theirs: &Value, at: &str) -> Result<(), String> {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().try_for_each(|(key, value)| same(value, &theirs[key], &format!("{at}/{key}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).try_for_each(|(a, b)| same(a, b, &format!("{at}/-")))
        }
        _ if ours == theirs => Ok(()),
        _ => Err(format!("{at}: {ours}; by hand {theirs}")),
    }
}

fn name(object: &Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    format!("{} {} {}", text("/kind"), text("/metadata/namespace"), text("/metadata/name"))
}

/// The objects of the one bundle that was rendered.
fn of(rendered: &Rendered) -> Vec<Value> {
    let [bundle] = &rendered.bundles[..] else { panic!("{} bundles", rendered.bundles.len()) };
    let text = std::str::from_utf8(&bundle.bytes).expect("JSON");
    sorted(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// What an engine gives by itself in a directory with these files, or what it says.
async fn by_hand(given: &Given, engine: &str, arguments: &[&str]) -> Result<String, String> {
    let directory = tempfile::tempdir().expect("a directory");
    given.write(directory.path());
    let program = Program::at(assets::binary(engine).expect("tests/setup/kubectl provides it"));
    let program = program.args(arguments).env("HOME", directory.path()).directory(directory.path());
    program.output(LIMIT).await.map_err(|error| format!("{error:#}"))
}

/// The objects of what an engine wrote.
fn objects_of(said: &str) -> Vec<Value> {
    sorted(documents_of(said).into_iter().flat_map(items).map(asked_for).collect())
}

/// The objects of a list.
fn items(object: Value) -> Vec<Value> {
    match object["items"].as_array() {
        Some(items) if object["kind"] == "List" => items.clone(),
        _ => vec![object],
    }
}

/// Without what is the API server's to say, which generators of code leave in.
fn asked_for(mut object: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut()
        && metadata.get("creationTimestamp").is_some_and(Value::is_null)
    {
        metadata.remove("creationTimestamp");
    }
    object
}

/// The files below a directory of a package, put below another one.
fn published(package: &str, directory: &str, below: &str) -> Given {
    let top = assets::published(package).expect("tests/setup/charts provides it").join(directory);
    let (mut given, mut open) = (Given::of(&[]), vec![top.clone()]);
    while let Some(directory) = open.pop() {
        for path in listed(&directory) {
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let inner = path.strip_prefix(&top).expect("it is below").display();
            given = given.with(&format!("{below}/{inner}"), std::fs::read(&path).expect("it can be read"));
        }
    }
    given
}

fn listed(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries =
        std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    paths
}
