//! Binaries: where the engines are on this machine, and of which version.
//!
//! In: paths of the configuration, the search path. Out: a [`Binary`]. Never: asks a program twice for its version, unless the
//! file changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use nave_placement::render::Contents;
use tracing::info;

use super::EngineError;
use super::child::{self, Limits};
use super::confinement::Confinement;
use super::scratch::Scratch;

/// Where engines are, if not in the search path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Paths {
    /// Of helm, version 3 or 4.
    pub helm: Option<PathBuf>,
    /// Of kustomize, or of a kubectl, which holds one.
    pub kustomize: Option<PathBuf>,
}

/// A program that is an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// The engine.
    pub engine: &'static str,
    /// Where it is.
    pub path: PathBuf,
    /// What it says that it is, e.g. `v4.2.3+g43e8b7f`.
    pub version: String,
    /// It is a kubectl, with kustomize as a command.
    pub is_kubectl: bool,
}

/// A file as it is: another one at the same path has another.
type Stamp = (PathBuf, Option<SystemTime>, u64);

pub(super) struct Binaries {
    paths: Paths,
    known: Mutex<BTreeMap<Stamp, Binary>>,
}

impl Binaries {
    pub fn new(paths: Paths) -> Self {
        Self { paths, known: Mutex::default() }
    }

    /// Finds an engine and asks it for its version.
    pub async fn find(
        &self,
        engine: &'static str,
        room: &Path,
        confinement: &Confinement,
    ) -> Result<Binary, EngineError> {
        let (given, names): (_, &[&str]) = match engine {
            "helm" => (&self.paths.helm, &["helm"]),
            _ => (&self.paths.kustomize, &["kustomize", "kubectl"]),
        };
        let found = match given {
            Some(path) => Some(path.clone()).filter(|path| path.is_file()),
            None => names.iter().find_map(|name| in_search_path(name)),
        };
        let path =
            found.ok_or_else(|| EngineError::Missing { engine, looked_for: looked_for(given, names) })?;
        let metadata = std::fs::metadata(&path).ok();
        let changed = metadata.as_ref().and_then(|metadata| metadata.modified().ok());
        let stamp = (path.clone(), changed, metadata.map_or(0, |metadata| metadata.len()));
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&stamp).cloned();
        if let Some(binary) = known {
            return Ok(binary);
        }
        let binary = ask(engine, path, room, confinement).await?;
        info!(engine, path = %binary.path.display(), version = binary.version, "found the engine, run {confinement}");
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(stamp, binary.clone());
        Ok(binary)
    }
}

fn looked_for(given: &Option<PathBuf>, names: &[&str]) -> String {
    match given {
        Some(path) => format!("{} is not there", path.display()),
        None => format!("no {} is in the search path", names.join(" and no ")),
    }
}

/// A program of the search path.
pub(super) fn in_search_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

async fn ask(
    engine: &'static str,
    path: PathBuf,
    room: &Path,
    confinement: &Confinement,
) -> Result<Binary, EngineError> {
    let is_kubectl = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("kubectl"));
    let arguments: &[&str] = match engine {
        "helm" => &["version", "--short"],
        _ if is_kubectl => &["version", "--client", "-o", "json"],
        _ => &["version"],
    };
    let arguments: Vec<_> = arguments.iter().map(Into::into).collect();
    let scratch = Scratch::new(room, Contents::new(), Contents::new()).await?;
    let command = confinement.command(&path, &arguments, &scratch, &Limits::OF_QUESTIONS);
    let said = child::run(command, &Limits::OF_QUESTIONS).await;
    let said = said.map_err(|error| EngineError::NoVersion { path: path.clone(), why: error.to_string() })?;
    let version = version(&String::from_utf8_lossy(&said), is_kubectl);
    let version = version.ok_or_else(|| unclear(&path))?;
    Ok(Binary { engine, path, version, is_kubectl })
}

fn unclear(path: &Path) -> EngineError {
    EngineError::NoVersion { path: path.to_owned(), why: "what it says is no version".to_owned() }
}

/// The version in what a program says of itself.
fn version(said: &str, is_kubectl: bool) -> Option<String> {
    if is_kubectl {
        let said: serde_json::Value = serde_json::from_str(said).ok()?;
        return Some(said["kustomizeVersion"].as_str()?.to_owned());
    }
    let word = said.split_whitespace().next()?;
    // kustomize before v5: {Version:kustomize/v4.5.7 …
    let word = word.rsplit(['/', ':']).next()?.trim_end_matches(['}', ',']);
    word.contains(|c: char| c.is_ascii_digit()).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        let kubectl = "{\"clientVersion\": {\"gitVersion\": \"v1.36.3\"}, \"kustomizeVersion\": \"v5.8.1\"}";
        let rows = [
            ("v4.2.3+g43e8b7f\n", false, Some("v4.2.3+g43e8b7f")),
            ("v5.8.1\n", false, Some("v5.8.1")),
            ("{Version:kustomize/v4.5.7 GitCommit:56d82a8}", false, Some("v4.5.7")),
            (kubectl, true, Some("v5.8.1")),
            ("hello", false, None),
            ("", false, None),
            ("{}", true, None),
        ];
        for (said, is_kubectl, expected) in rows {
            assert_eq!(version(said, is_kubectl).as_deref(), expected, "{said}");
        }
    }
}
