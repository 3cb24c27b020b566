//! Problems: what is wrong, where, and how to mend it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{ObjectId, Origin};

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl Position {
    /// The beginning of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The position of the character that follows `text`, which is a file's UTF-8 up to there.
    pub(crate) fn after(text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text);
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let last = text.rsplit('\n').next().unwrap_or_default();
        Self { line: number(1 + text.matches('\n').count()), column: number(1 + last.chars().count()) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Severity {
    /// It has to be mended. An invalid document is not taken and its last good form stays; a reference to something
    /// that is missing has no effect, and the rest of its document is taken.
    Error,
    /// Nothing is lost by it.
    Warning,
}

/// One thing wrong with a catalog. Ordered by position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Path relative to the repository's root.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// How bad it is.
    pub severity: Severity,
    /// The object, where it could be identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// What is wrong, and how to mend it.
    pub message: String,
}

/// What follows from errors, for people.
pub const CONSEQUENCE: &str = "What is invalid is not taken: its last valid form stays, and what was decided by it. A reference to something that is missing has no effect.";

impl Problem {
    /// Something that has to be mended.
    pub fn error(file: &Arc<str>, at: Position, message: impl Into<String>) -> Self {
        let Position { line, column } = at;
        Self {
            file: file.clone(),
            line,
            column,
            severity: Severity::Error,
            object: None,
            message: message.into(),
        }
    }

    /// Something that has to be mended and concerns a whole document.
    pub fn at(origin: &Origin, message: impl Into<String>) -> Self {
        Self::error(&origin.file, origin.position(), message)
    }

    /// Names the object that it concerns.
    #[must_use]
    pub fn of(mut self, object: Option<&ObjectId>) -> Self {
        self.object = object.cloned();
        self
    }

    /// Makes a warning of it.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Whether it has to be mended.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    /// `FILE:LINE:COLUMN: error: Kind/name: message`, as compilers write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {severity}: ", self.file, self.line, self.column)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        f.write_str(&self.message)
    }
}
