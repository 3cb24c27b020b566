//! The files of the checkout, and where in them something stands.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A text file, by its path from the top of the checkout.
pub struct Source {
    pub path: String,
    pub text: String,
}

/// A breach of a rule.
pub struct Breach {
    place: String,
    why: String,
}

impl Source {
    /// The breach at a line, counted from one.
    pub fn breach(&self, line: usize, why: impl Into<String>) -> Breach {
        Breach { place: format!("{}:{line}", self.path), why: why.into() }
    }

    /// A breach for each line that the rule finds fault with.
    pub fn lines_where(&self, fault: impl Fn(&str) -> Option<String>) -> Vec<Breach> {
        let faults =
            self.text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, fault(line)?)));
        faults.map(|(line, why)| self.breach(line, why)).collect()
    }

    /// The same file up to its tests, which by custom stand last.
    pub fn without_tests(&self) -> Self {
        let end = self.text.find("#[cfg(test)]").unwrap_or(self.text.len());
        Self { path: self.path.clone(), text: self.text[..end].to_owned() }
    }

    /// Whether it is in one of the directories.
    pub fn is_in(&self, directories: &[&str]) -> bool {
        directories.iter().any(|directory| self.path.starts_with(&format!("{directory}/")))
    }

    /// Whether all of it is tests.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("tests/") || self.path.ends_with("tests.rs")
    }

    /// Whether a tool wrote it.
    pub fn is_generated(&self) -> bool {
        self.path.starts_with("proto/src/gen/")
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.why)
    }
}

/// The top of the checkout.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package is below the top").to_owned()
}

/// The files with that extension, in order of their paths.
pub fn files(extension: &str) -> Vec<Source> {
    let top = top();
    let mut found = Vec::new();
    // Only cargo's own directory: a module may well be called target.
    let built = top.join("target");
    walk(&top, &built, &mut |path| {
        if path.extension().is_some_and(|ending| ending == extension) {
            let below = path.strip_prefix(&top).expect("we walk below the top");
            let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            found.push(Source { path: below.to_string_lossy().into_owned(), text });
        }
    });
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn walk(directory: &Path, built: &Path, visit: &mut impl FnMut(&Path)) {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        let name = entry.file_name();
        let kind = entry.file_type().unwrap_or_else(|error| panic!("{}: {error}", entry.path().display()));
        if kind.is_dir() {
            let hidden = name.to_string_lossy().starts_with('.');
            if !hidden && name != "node_modules" && entry.path() != built {
                walk(&entry.path(), built, visit);
            }
        } else if kind.is_file() {
            visit(&entry.path());
        }
    }
}

/// Passes when there is none.
///
/// # Panics
/// With all of them.
pub fn assert_none(breaches: impl Iterator<Item = Breach>) {
    let list: Vec<String> = breaches.map(|breach| breach.to_string()).collect();
    assert!(list.is_empty(), "{} breaches:\n{}", list.len(), list.join("\n"));
}
