//! Git ref: what an author names of a repository: its default branch, a branch or tag, a commit, or a range over its tags.
//!
//! In: a text. Out: a [`GitRef`]. Nothing is the default branch; 40 or 64 hex digits are a commit; what begins with one of `^~<>=*` or holds
//! a space or one of `*,|` is a range of versions; all else is a name: `refs/…` in full, otherwise a tag, or a branch where no tag is called so.
//! Never: takes a name that Git does not allow.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::CommitId;
use super::version_range::{ParseRangeError, Range};

/// The longest name of a file on most machines, which references may become.
const LONGEST: usize = 255;

/// What is meant of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum GitRef {
    /// The newest commit of its default branch.
    #[default]
    Default,
    /// A tag, or the newest commit of a branch; `refs/…` in full.
    Name(Arc<str>),
    /// A commit.
    Commit(CommitId),
    /// The highest of its tags that is of a range.
    Range(Range),
}

/// A text that names nothing in a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseGitRefError {
    /// It looks like a range of versions.
    #[error(transparent)]
    Range(#[from] ParseRangeError),
    /// Git allows no such name.
    #[error(
        "{name:?} cannot be the name of a branch or tag: {why}; write a name as main or v1.2, a commit's 40 hex digits, or a range as ^1.2"
    )]
    Name {
        /// The text.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl GitRef {
    /// Whether it means the same for ever.
    pub fn is_fixed(&self) -> bool {
        matches!(self, Self::Commit(_))
    }
}

impl FromStr for GitRef {
    type Err = ParseGitRefError;

    fn from_str(text: &str) -> Result<Self, ParseGitRefError> {
        let text = text.trim();
        let is_commit = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_range =
            text.starts_with(['^', '~', '<', '>', '=', '*']) || text.contains([' ', '*', ',', '|']);
        match text {
            "" | "HEAD" => Ok(Self::Default),
            _ if is_commit => Ok(Self::Commit(CommitId(text.to_ascii_lowercase().into()))),
            _ if is_range => Ok(Self::Range(text.parse()?)),
            name => match wrong_in_name(name) {
                None => Ok(Self::Name(name.into())),
                Some(why) => Err(ParseGitRefError::Name { name: name.chars().take(LONGEST).collect(), why }),
            },
        }
    }
}

/// As `git check-ref-format` has it, and none that a program would take for an option.
fn wrong_in_name(name: &str) -> Option<&'static str> {
    let forbidden = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let any = |wrong: fn(&str) -> bool| name.split('/').any(wrong);
    let rules = [
        (name.len() > LONGEST, "it is longer than 255 bytes"),
        (name.starts_with('-'), "it begins with -"),
        (name.contains(forbidden), "it holds one of ~ ^ : ? [ \\ or a control character"),
        (name.contains(".."), "it holds .."),
        (name.contains("@{") || name == "@", "it holds @{ or is @"),
        (any(str::is_empty), "it begins or ends with /, or holds //"),
        (any(|part| part.starts_with('.')), "a part of it begins with a dot"),
        (any(|part| part.ends_with(".lock")), "a part of it ends with .lock"),
        (name.ends_with('.'), "it ends with a dot"),
        (name == "refs", "it is no whole reference"),
    ];
    rules.into_iter().find_map(|(is_wrong, why)| is_wrong.then_some(why))
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.pad(""),
            Self::Name(name) => f.pad(name),
            Self::Commit(commit) => commit.fmt(f),
            Self::Range(range) => range.fmt(f),
        }
    }
}

impl TryFrom<String> for GitRef {
    type Error = ParseGitRefError;
    fn try_from(text: String) -> Result<Self, ParseGitRefError> {
        text.parse()
    }
}

impl From<GitRef> for String {
    fn from(reference: GitRef) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_means_is_told_by_how_it_is_written() {
        let commit = "0123456789abcdef0123456789ABCDEF01234567";
        let name = |text: &str| GitRef::Name(text.into());
        let range = |text: &str| GitRef::Range(text.parse().expect("a range"));
        let rows = [
            ("", GitRef::Default),
            ("HEAD", GitRef::Default),
            ("main", name("main")),
            ("v1.2.3", name("v1.2.3")),
            ("1.x", name("1.x")),
            ("feature/x-1", name("feature/x-1")),
            ("refs/pull/7/head", name("refs/pull/7/head")),
            ("0123456", name("0123456")),
            (commit, GitRef::Commit(CommitId(commit.to_lowercase().into()))),
            (&commit[1..], name(&commit[1..])),
            ("^1.2", range("^1.2")),
            ("~1", range("~1")),
            ("*", range("*")),
            ("1.2.*", range("1.2.*")),
            (">=1.2 <2", range(">=1.2 <2")),
            ("1.2||2", range("1.2||2")),
        ];
        for (text, expected) in rows {
            let found: GitRef = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(found, expected, "{text}");
            assert_eq!(format!(" {text}\n").parse(), Ok(found.clone()), "{text}");
            assert_eq!(found.is_fixed(), text == commit, "{text}");
            assert_eq!(found.to_string().parse(), Ok(found), "{text}");
        }
    }

    #[test]
    fn names_that_git_does_not_allow_are_refused() {
        let long = "x".repeat(LONGEST + 1);
        let rows = [
            "-x", "a..b", "a:b", "a~1", "a^", "a?", "a[b", "a\\b", "a\u{7}b", "/a", "a/", "a//b", ".a",
            "a/.b", "a.lock", "a.lock/b", "a.", "@", "a@{1}", "refs", &long,
        ];
        for text in rows {
            let told = text.parse::<GitRef>().expect_err(text);
            assert!(matches!(told, ParseGitRefError::Name { .. }), "{text}: {told}");
            assert!(told.to_string().contains("cannot be the name"), "{told}");
        }
        let told = "^main".parse::<GitRef>().expect_err("it is no range").to_string();
        assert!(told.contains("\"main\" is no version"), "{told}");
    }
}
