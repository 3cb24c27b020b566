//! Why an engine gave nothing, in the words of who wrote the source.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nave_placement::catalog::{Position, Problem};
use nave_placement::render::{self, Needs, Uses};

use super::binaries::Binary;
use super::child::{ChildError, Limits};
use super::scratch::Scratch;

/// The most lines of an engine's own words that are shown.
const MOST_LINES: usize = 12;
/// The most letters of their beginning, and of their end.
const MOST_LETTERS: usize = 400;
/// What a program written in Go says when it gets no more memory.
const OUT_OF_MEMORY: [&str; 2] = ["out of memory", "cannot allocate memory"];

/// Why.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// It is not on this machine.
    #[error(
        "{engine} is not on the hub's machine: {looked_for}; install it there, or name it in the hub's configuration, engines: {{{engine}: /PATH}}"
    )]
    Missing {
        /// The engine.
        engine: &'static str,
        /// What was not found.
        looked_for: String,
    },
    /// It does not say what it is.
    #[error("{} does not tell its version, {why}; is it the right program?", path.display())]
    NoVersion {
        /// The program.
        path: PathBuf,
        /// What it did instead.
        why: String,
    },
    /// Its files cannot be written, or it cannot be started.
    #[error("the engine cannot be run: {0}")]
    Machine(String),
    /// The hub is about to end.
    #[error("the hub is about to end")]
    Ending,
    /// A chart that another one brings cannot be unpacked.
    #[error("{file}: {why}; build it anew: helm dependency build")]
    Archive {
        /// The archive, relative to the source.
        file: Arc<str>,
        /// Why.
        why: String,
    },
    /// A template uses what is refused.
    #[error("{}", .0.message())]
    Refused(Uses),
    /// It took too long.
    #[error("{engine} took longer than {} s; look for a loop in it, or split the app", limit.as_secs())]
    Time {
        /// The engine.
        engine: &'static str,
        /// How long it may take.
        limit: Duration,
    },
    /// It needed too much memory.
    #[error("{engine} needs more than {} MiB of memory; look for a loop in it, or split the app", limit >> 20)]
    Memory {
        /// The engine.
        engine: &'static str,
        /// Bytes that it may use.
        limit: u64,
    },
    /// It wrote too much.
    #[error("{engine} writes more than {} MiB; split the app", limit >> 20)]
    Output {
        /// The engine.
        engine: &'static str,
        /// Bytes that it may write.
        limit: usize,
    },
    /// It failed.
    #[error("{engine} {version} cannot render it: {said}")]
    Failed {
        /// The engine.
        engine: &'static str,
        /// Its version.
        version: String,
        /// What it said, with paths of the repository.
        said: String,
    },
    /// It gives something else each time.
    #[error(
        "it renders differently each time, so that every render would be a change; first where one has {first:?} and the other {second:?}: give the chart the value itself"
    )]
    Unsteady {
        /// A line of the first render.
        first: String,
        /// The line of the second.
        second: String,
    },
}

impl From<std::io::Error> for EngineError {
    fn from(error: std::io::Error) -> Self {
        Self::Machine(error.to_string())
    }
}

impl EngineError {
    /// What a child's end means for what was rendered.
    pub(super) fn of(error: ChildError, binary: &Binary, scratch: &Scratch, needs: &Needs) -> Self {
        let engine = binary.engine;
        match error {
            ChildError::Start(error) | ChildError::Read(error) => Self::Machine(error.to_string()),
            ChildError::Time(limit) => Self::Time { engine, limit },
            ChildError::Output(limit) => Self::Output { engine, limit },
            ChildError::Failed { said } if OUT_OF_MEMORY.iter().any(|words| said.contains(words)) => {
                Self::Memory { engine, limit: Limits::OF_RENDERS.memory }
            }
            ChildError::Failed { said } if is_of_machine(&said) => Self::Machine(said.trim().to_owned()),
            ChildError::Failed { said } => match render::refused(&said) {
                Some(uses) => Self::Refused(uses),
                None => {
                    let said = told(&said, &scratch.source().to_string_lossy(), &needs.source);
                    Self::Failed { engine, version: binary.version.clone(), said }
                }
            },
        }
    }

    /// As a problem of what was rendered.
    pub fn problem(&self, needs: &Needs) -> Problem {
        let said = match self {
            Self::Refused(uses) => return uses.problem(needs),
            Self::Failed { said, .. } => said,
            _ => "",
        };
        let (file, line) = render::spoken_of(needs, said).unwrap_or_else(|| (needs.place(), 1));
        Problem::error(&file, Position { line, column: 1 }, self.to_string())
    }

    /// Whether the same files give the same again, whatever this machine has to do besides.
    pub fn is_of_files(&self) -> bool {
        matches!(
            self,
            Self::Refused(_)
                | Self::Archive { .. }
                | Self::Failed { .. }
                | Self::Output { .. }
                | Self::Unsteady { .. }
        )
    }

    /// Whether it may be otherwise on a machine that has less to do.
    pub fn is_of_limits(&self) -> bool {
        matches!(self, Self::Time { .. } | Self::Memory { .. })
    }
}

/// Whether a child did not end well because this machine has nothing to give just now: another time it may.
fn is_of_machine(said: &str) -> bool {
    let lacks =
        ["No space left on device", "Resource temporarily unavailable", "failed to create new OS thread"];
    let confines = ["unshare: ", "prlimit: "];
    confines.iter().any(|program| said.starts_with(program)) || lacks.iter().any(|words| said.contains(words))
}

/// An engine's words: the last lines, paths as they are in the repository, none of this machine.
fn told(said: &str, scratch: &str, source: &str) -> String {
    let place = if source.is_empty() { String::new() } else { format!("{source}/") };
    let own = scratch.rsplit_once('/').map_or(scratch, |(directory, _)| directory);
    let said = said.replace(&format!("{scratch}/"), &place).replace(scratch, source).replace(own, "");
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_advice = |line: &str| line.starts_with("Use --debug flag") || line.starts_with("# Warning:");
    let lines: Vec<&str> = lines.into_iter().filter(|line| !is_advice(line)).collect();
    let last = &lines[lines.len().saturating_sub(MOST_LINES)..];
    let text = last.join(" ");
    let text = text.trim_start_matches("Error: ").trim_start_matches("error: ");
    let letters = text.chars().count();
    if letters <= 2 * MOST_LETTERS {
        return text.to_owned();
    }
    // Where it begins is what broke, where it ends is why; templates that include each other fill what is between.
    let begin: String = text.chars().take(MOST_LETTERS).collect();
    let end: String = text.chars().skip(letters - MOST_LETTERS).collect();
    format!("{begin} … {end}")
}

/// Whether two renders are the same.
pub(super) fn same(first: &[u8], second: &[u8]) -> Result<(), EngineError> {
    if first == second {
        return Ok(());
    }
    let [first, second] = [first, second].map(String::from_utf8_lossy);
    let mut pairs = first.lines().zip(second.lines());
    let (first, second) = pairs.find(|(first, second)| first != second).unwrap_or_default();
    let shown = |line: &str| line.trim().chars().take(80).collect();
    Err(EngineError::Unsteady { first: shown(first), second: shown(second) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_lacks_is_not_the_charts_fault() {
        // (what is said, whose fault it is)
        let rows = [
            ("unshare: unshare failed: Cannot allocate memory\n", true),
            ("Error: open /data/x: no space left on device: No space left on device", true),
            ("runtime: failed to create new OS thread (have 4 already; errno=11)", true),
            ("Error: chart says: unshare: no", false),
            ("Error: web/templates/a.yaml:1: wrong", false),
        ];
        for (said, expected) in rows {
            assert_eq!(is_of_machine(said), expected, "{said}");
        }
    }

    #[test]
    fn an_engine_is_told_in_the_repositorys_words() {
        let said = "Error: /data/render-x/source/web/templates/a.yaml: wrong\n\nUse --debug flag to render out invalid YAML\n";
        assert_eq!(told(said, "/data/render-x/source", "apps"), "apps/web/templates/a.yaml: wrong");
        assert_eq!(told("error: in '/s/source'", "/s/source", ""), "in ''");
        let long: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let endless = format!("Error: begin{}end", "x".repeat(9_000));
        let shown = told(&endless, "/s", "");
        assert!(shown.starts_with("begin") && shown.ends_with("end") && shown.len() < 1_000, "{shown}");
        assert!(told(&long, "/s", "").starts_with("line 28 ") && told(&long, "/s", "").ends_with("line 39"));
    }

    #[test]
    fn two_renders_that_differ_show_where() {
        assert!(same(b"a\nb\n", b"a\nb\n").is_ok());
        let told = same(b"a\n  b: 1\n", b"a\n  b: 2\n").expect_err("they differ").to_string();
        assert!(told.contains("one has \"b: 1\" and the other \"b: 2\""), "{told}");
    }
}
